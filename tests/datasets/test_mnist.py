"""How dumbtorch.datasets.MNIST finds, checks and refuses files."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dumbtorch
from dumbtorch.datasets import MNIST, DataError, FashionMNIST, NoNetworkError, _files, read_idx
from dumbtorch.utils.data import DataLoader

REAL = Path(os.environ.get("DUMBTORCH_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist")
FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing answers


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(MNIST, "mirrors", (NOWHERE,))
    monkeypatch.setattr(_files, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("DUMBTORCH_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
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
        monkeypatch.setattr(MNIST, "mirrors", (NOWHERE, f"http://127.0.0.1:{server.server_port}/"))
        sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in small_mnist.iterdir()}
        monkeypatch.setattr(MNIST, "md5", sums)
        yield asked
        server.shutdown()
        thread.join()


def test_order_of_places(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUMBTORCH_DATA", str(small_mnist))
    assert MNIST().root == small_mnist
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        MNIST("elsewhere")


def test_content(small_mnist: Path) -> None:
    train, test = MNIST(small_mnist), MNIST(small_mnist, train=False)
    assert train.data.shape == (200, 12, 10) and train.data.dtype == dumbtorch.uint8
    assert test.targets.shape == (40,) and test.targets.dtype == dumbtorch.int64
    assert (train.data.float().mean(1).argmax(1) == train.targets).all()
    picture, label = train[3]
    assert picture.shape == (1, 12, 10) and label == train.targets[3].item() and type(label) is int
    assert (picture * 255).round().to(dumbtorch.uint8)[0].tolist() == train.data[3].tolist()
    assert repr(train) == "MNIST(train: 200 pictures of 12 x 10)" and len(test) == 40
    changed = MNIST(small_mnist, transform=lambda x: x.flatten(), target_transform=lambda y: -y)[3]
    assert changed[0].shape == (120,) and changed[1] == -label
    x, y = next(iter(DataLoader(train, 5)))
    assert x.shape == (5, 1, 12, 10) and y.tolist() == train.targets[:5].tolist()
    x, y = train.tensors().tensors
    expected = (train.data.numpy()[:, None] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert y.tolist() == train.targets.tolist() and train.data.dtype == dumbtorch.uint8


def test_layout_of_torchvision(small_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.parent.mkdir(parents=True)
    small_mnist.rename(raw)
    assert len(MNIST(tmp_path / "root")) == 200


@pytest.mark.skipif(not REAL.is_dir(), reason="needs MNIST in DUMBTORCH_DATA or beside the repository")
def test_real_files() -> None:
    for name, md5 in MNIST.md5.items():
        assert hashlib.md5((REAL / name).read_bytes()).hexdigest() == md5
    train, test = MNIST(REAL), MNIST(REAL, train=False)
    assert train.data.shape == (60_000, 28, 28) and test.data.shape == (10_000, 28, 28)
    assert np.bincount(train.targets.numpy()).tolist()[:3] == [5923, 6742, 5958]
    pixels = train.data.numpy() / 255
    assert (round(pixels.mean(), 4), round(pixels.std(), 4)) == (MNIST.mean, MNIST.deviation)


def test_without_network() -> None:
    with pytest.raises(NoNetworkError, match=NOWHERE):
        MNIST()
    FashionMNIST.mirrors, kept = (NOWHERE,), FashionMNIST.mirrors
    try:
        with pytest.raises(NoNetworkError, match=NOWHERE):
            FashionMNIST()
    finally:
        FashionMNIST.mirrors = kept


def test_download(mirror: list[str], tmp_path: Path) -> None:
    assert MNIST().data.shape == (200, 12, 10) and len(mirror) == 4
    cached = tmp_path / "cache" / "mnist"
    assert sorted(file.name for file in cached.iterdir()) == sorted(MNIST.md5)
    MNIST(train=False)
    assert len(mirror) == 4  # from the cache
    assert len(MNIST(tmp_path / "other", download=True)) == 200 and len(mirror) == 8


def test_damaged_cache_is_downloaded_again(mirror: list[str], tmp_path: Path) -> None:
    MNIST()
    damaged = tmp_path / "cache" / "mnist" / f"{FILES[1]}.gz"
    damaged.write_bytes(b"half a file")
    assert len(MNIST().targets) == 200
    assert mirror[4:] == [f"/{FILES[1]}.gz"]


def test_damaged_cache_without_network(mirror: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MNIST()
    damaged = tmp_path / "cache" / "mnist" / f"{FILES[1]}.gz"
    damaged.write_bytes(b"half a file")
    monkeypatch.setattr(MNIST, "mirrors", (NOWHERE,))
    with pytest.raises(DataError, match=FILES[1]):
        MNIST()


def test_without_the_packages_that_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"needs pooch: pip install 'dumbtorch\[datasets\]'"):
        MNIST()


def test_mirror_with_another_file(mirror: list[str], small_mnist: Path, tmp_path: Path) -> None:
    for file in small_mnist.iterdir():
        file.write_bytes(b"something else")
    with pytest.raises(NoNetworkError, match="sent a damaged"):
        _files.fill(tmp_path / "empty", MNIST.md5, MNIST.mirrors)
    assert mirror and not list((tmp_path / "empty").glob("*"))


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_named(small_mnist: Path, name: str) -> None:
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
        with pytest.raises(DataError, match=message) as caught:
            MNIST(small_mnist, train=name.startswith("train"))
        assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(DataError, match=f"{name}.gz: no such file"):
        MNIST(small_mnist, train=name.startswith("train"))
    file.write_bytes(good)
    MNIST(small_mnist, train=name.startswith("train"))


def test_files_that_do_not_fit_together(small_mnist: Path) -> None:
    labels = small_mnist / "train-labels-idx1-ubyte.gz"
    good = labels.read_bytes()
    labels.write_bytes((small_mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="40 labels for the 200 pictures"):
        MNIST(small_mnist)
    labels.write_bytes(gzip.compress(gzip.decompress(good)[:-1] + b"\x0a"))
    with pytest.raises(DataError, match="labels from 0 to 9"):
        MNIST(small_mnist)


def test_idx_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.gz"
    file.write_bytes(gzip.compress(bytes([0, 0, 8, 2]) + bytes(8)))
    assert read_idx(file, 2).shape == (0, 0)
