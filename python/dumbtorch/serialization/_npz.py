"""NumPy archives (``.npz``) of tensors."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any

from dumbtorch import _files, ops
from dumbtorch._tensor import Tensor

__all__ = ["load_npz", "save_npz"]


def save_npz(tensors: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes tensors by name to a NumPy archive, in one step as ``save``; ``numpy.load`` reads it.

    Raises TypeError for element types that NumPy lacks (bfloat16, float8, half complex): safetensors has them.

        >>> dumbtorch.save_npz(model.state_dict(), "model.npz")
    """
    import numpy  # only those who have it use its files

    arrays = {}
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise TypeError(f"save_npz(): {name!r} must be a tensor, got {type(t).__name__}")
        arrays[name] = t.detach().numpy(force=True)
    with _files.atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                numpy.lib.format.write_array(stream, array, allow_pickle=False)


def load_npz(path: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Any]:
    """Reads the arrays of a NumPy archive as tensors by name. Arrays of Python objects are refused: they are pickles.

    Raises RuntimeError for a damaged archive and one whose arrays are not of the size they say.

        >>> model.load_state_dict(dumbtorch.load_npz("model.npz"))
    """
    import numpy  # only those who have it use its files

    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                with archive.open(info) as stream:
                    array = _array(numpy, stream, info.file_size)
                found[info.filename.removesuffix(".npy")] = array
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise RuntimeError(f"load_npz(): {os.fspath(path)!r} is no archive of arrays: {str(error)[:200]}") from None
    return {name: ops.from_numpy(array).to(device) for name, array in found.items()}


def _array(numpy: Any, stream: Any, size: int) -> Any:
    """One array; it must be as large as its record, so that a few bytes cannot ask for all memory."""
    form = numpy.lib.format
    version = form.read_magic(stream)
    read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of the format {version}")
    try:
        shape, fortran, dtype = read(stream)
    except Exception as error:  # NumPy parses it as Python, and lets out whatever that raises
        raise ValueError(f"an array without a header that can be read ({error})") from None
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which only unpickling could make")
    left = size - stream.tell()
    if prod(shape) * dtype.itemsize != left:
        raise ValueError(f"an array of shape {shape} and {dtype} in a record with {left} bytes for it")
    data = bytearray()
    while len(data) < left:
        part = stream.read(min(left - len(data), 1 << 24))
        if not part:
            raise ValueError("an array that ends early")
        data += part
    array = numpy.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))
