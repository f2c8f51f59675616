"""safetensors files and NumPy archives; broken and hostile files of every kind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dumbtorch

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16",
          "float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2")  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent.parent


def tensors(m: Any) -> dict[str, Any]:
    found = {name: m.tensor([0, 1, 1]).to(getattr(m, name)) for name in DTYPES}
    return found | {"scalar": m.tensor(2.0), "empty": m.empty(0, 3), "\u00e9": m.arange(6.0).reshape(2, 3)}


def same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert set(theirs) == set(ours)
    for name, t in theirs.items():
        other = ours[name]
        assert (str(t.dtype), tuple(t.shape)) == (str(other.dtype), tuple(other.shape))
        assert (
            t.to(torch.complex64).tolist()
            == (other.float() if "float8" in name else other).to(dumbtorch.complex64).tolist()
        )


def test_safetensors_are_exchanged(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    save_file(tensors(torch), path)
    same(tensors(torch), dumbtorch.load_safetensors(path))
    dumbtorch.save_safetensors(tensors(dumbtorch), path, metadata={"made": "here"})
    same(load_file(path), tensors(dumbtorch))
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"made": "here"}
    mapped = dumbtorch.load_safetensors(path)
    mapped["float32"].zero_()
    assert dumbtorch.load_safetensors(path)["float32"].tolist() == [0, 1, 1]


def test_any_layout_is_saved_and_shared_memory_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    x = dumbtorch.arange(6.0).reshape(2, 3)
    dumbtorch.save_safetensors({"t": x.t(), "e": dumbtorch.ones(1).expand(3), "c": dumbtorch.tensor([1j]).conj()}, path)
    found = dumbtorch.load_safetensors(path)
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 5]] and found["e"].tolist() == [1, 1, 1]
    assert found["c"].tolist() == [-1j]
    dumbtorch.save_safetensors({"first": x[0], "second": x[1]}, path)  # apart
    before = path.read_bytes()
    for bad, error, text in (
        ({"a": x, "b": x[1]}, RuntimeError, "share memory"), ({"a": 1}, TypeError, "must be a tensor"),
        ({1: x}, TypeError, "must be text"), ({"a": x.to(dumbtorch.complex128)}, TypeError, "complex128"),
        ([x], TypeError, "dict"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            dumbtorch.save_safetensors(bad, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]


def test_numpy_archives_are_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    ours = {name: t for name, t in tensors(dumbtorch).items() if "float8" not in name and name != "bfloat16"}
    dumbtorch.save_npz(ours, path)
    with np.load(path) as arrays:
        assert all(arrays[name].tolist() == t.tolist() for name, t in ours.items())
    found = dumbtorch.load_npz(path)
    assert all((found[n].dtype, found[n].tolist()) == (t.dtype, t.tolist()) for n, t in ours.items())
    np.savez_compressed(path, f=np.asfortranarray(np.arange(6.0).reshape(2, 3)), b=np.arange(3, dtype=">i4"))
    found = dumbtorch.load_npz(path)
    assert found["f"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="BFloat16"):
        dumbtorch.save_npz({"a": dumbtorch.ones(2, dtype=dumbtorch.bfloat16)}, path)
    np.savez(path, a=np.array([object()]))
    with pytest.raises(RuntimeError, match="Python objects"):
        dumbtorch.load_npz(path)


def test_a_file_is_the_memory_of_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    for shared in (True, False):
        mine = dumbtorch.from_file(str(path), shared=shared, size=3)
        mine.copy_(dumbtorch.arange(3.0) + shared)
        assert torch.from_file(str(path), size=3).tolist() == [1, 2, 3]
    assert dumbtorch.from_file(path, dtype=dumbtorch.int16).shape == (6,)
    assert len(dumbtorch.UntypedStorage.from_file(str(path), False, 5)) == 5
    with pytest.raises(RuntimeError, match="12 bytes, fewer than the 16"):
        dumbtorch.from_file(path, size=4)


def test_broken_and_hostile_files_do_no_harm() -> None:
    """1,000 files of each kind with DUMBTORCH_FUZZ=1000."""
    count = os.environ.get("DUMBTORCH_FUZZ", "50")
    command = [sys.executable, "-W", "ignore", "-m", "tests.serialization.fuzz", count]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
