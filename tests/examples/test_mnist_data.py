"""How examples/mnist_data.py finds, checks and refuses files."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MNIST = Path(os.environ.get("DUMBTORCH_DATA") or EXAMPLES.parents[1] / "shared" / "data" / "mnist")
FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing answers


@pytest.fixture
def mnist_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mnist_data", EXAMPLES / "mnist_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mnist_data", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MIRRORS", (NOWHERE,))
    monkeypatch.setattr(module.platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("DUMBTORCH_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return module


@pytest.fixture
def mirror(mnist_data: ModuleType, small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mirror of the small data set; the list fills with what is asked of it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(small_mnist))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(mnist_data, "MIRRORS", (NOWHERE, f"http://127.0.0.1:{server.server_port}/"))
        sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in small_mnist.iterdir()}
        monkeypatch.setattr(mnist_data, "MD5", sums)
        yield asked
        server.shutdown()
        thread.join()


def test_order_of_places(mnist_data: ModuleType, small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUMBTORCH_DATA", str(small_mnist))
    assert str(small_mnist) in mnist_data.load().source
    with pytest.raises(mnist_data.DataError, match="elsewhere: no such folder"):
        mnist_data.load(Path("elsewhere"))


def test_content(mnist_data: ModuleType, small_mnist: Path) -> None:
    digits = mnist_data.load(small_mnist)
    assert digits.train_images.shape == (200, 12, 10) and digits.test_labels.shape == (40,)
    assert (digits.train_images.mean(1).argmax(1) == digits.train_labels).all()


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST in DUMBTORCH_DATA or beside the repository")
def test_real_files(mnist_data: ModuleType) -> None:
    for name, md5 in mnist_data.MD5.items():
        assert hashlib.md5((MNIST / name).read_bytes()).hexdigest() == md5
    digits = mnist_data.load(MNIST)
    assert digits.train_images.shape == (60_000, 28, 28) and digits.test_images.shape == (10_000, 28, 28)
    assert np.bincount(digits.train_labels).tolist()[:3] == [5923, 6742, 5958]


def test_without_network(mnist_data: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    digits = mnist_data.load()
    assert digits.train_images.shape == (1437, 8, 8) and digits.test_images.shape == (360, 8, 8)
    assert digits.train_images.max() == 255 and set(digits.test_labels) == set(range(10))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("No network") and NOWHERE in line


def test_download(mnist_data: ModuleType, mirror: list[str], tmp_path: Path) -> None:
    assert mnist_data.load().train_images.shape == (200, 12, 10) and len(mirror) == 4
    cached = tmp_path / "cache" / "dumbtorch" / "mnist"
    assert sorted(file.name for file in cached.iterdir()) == sorted(mnist_data.MD5)
    mnist_data.load()
    assert len(mirror) == 4  # from the cache


def test_damaged_cache_is_downloaded_again(mnist_data: ModuleType, mirror: list[str], tmp_path: Path) -> None:
    mnist_data.load()
    damaged = tmp_path / "cache" / "dumbtorch" / "mnist" / f"{FILES[1]}.gz"
    damaged.write_bytes(b"half a file")
    assert len(mnist_data.load().train_labels) == 200
    assert mirror[4:] == [f"/{FILES[1]}.gz"]


def test_damaged_cache_without_network(
    mnist_data: ModuleType, mirror: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist_data.load()
    damaged = tmp_path / "cache" / "dumbtorch" / "mnist" / f"{FILES[1]}.gz"
    damaged.write_bytes(b"half a file")
    monkeypatch.setattr(mnist_data, "MIRRORS", (NOWHERE,))
    with pytest.raises(mnist_data.DataError, match=FILES[1]):
        mnist_data.load()


def test_mirror_with_another_file(mnist_data: ModuleType, mirror: list[str], small_mnist: Path, tmp_path: Path) -> None:
    for file in small_mnist.iterdir():
        file.write_bytes(b"something else")
    with pytest.raises(mnist_data.NoNetworkError, match="sent a damaged"):
        mnist_data.fill_cache(tmp_path / "empty")
    assert mirror and not list((tmp_path / "empty").glob("*"))


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_named(mnist_data: ModuleType, small_mnist: Path, name: str) -> None:
    file = small_mnist / f"{name}.gz"
    good = file.read_bytes()
    raw = gzip.decompress(good)
    flipped = bytearray(good)
    flipped[-6] ^= 0x10  # in the checksum at the end
    cases: list[tuple[str, bytes]] = [
        ("damaged", good[: len(good) // 2]),
        ("damaged", bytes(flipped)),
        ("not a gzip file", raw),
        ("not a gzip file", b"<html>not found</html>"),
        ("starts with", b""),
        ("starts with", gzip.compress(b"\0\0")),
        ("starts with", gzip.compress(b"\0\0\x0d" + raw[3:])),
        ("starts with", gzip.compress(raw[:3] + b"\2" + raw[4:])),
        ("its header promises", gzip.compress(raw[:4])),
        ("its header promises", gzip.compress(raw[:-1])),
        ("its header promises", gzip.compress(raw + b"\0")),
        ("its header promises", gzip.compress(raw[:4] + b"\xff" * 12 + raw[16:])),
    ]
    for message, data in cases:
        file.write_bytes(data)
        with pytest.raises(mnist_data.DataError, match=message) as caught:
            mnist_data.load(small_mnist)
        assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(mnist_data.DataError, match=f"{name}.gz: no such file"):
        mnist_data.load(small_mnist)
    file.write_bytes(good)
    mnist_data.load(small_mnist)


def test_files_that_do_not_fit_together(mnist_data: ModuleType, small_mnist: Path) -> None:
    labels = small_mnist / "train-labels-idx1-ubyte.gz"
    good = labels.read_bytes()
    labels.write_bytes((small_mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(mnist_data.DataError, match="40 labels for the 200 pictures"):
        mnist_data.load(small_mnist)
    labels.write_bytes(gzip.compress(gzip.decompress(good)[:-1] + b"\x0a"))
    with pytest.raises(mnist_data.DataError, match="labels from 0 to 9"):
        mnist_data.load(small_mnist)
