"""safetensors files: a header in JSON, then the bytes of the tensors, one after the other.

Reference: https://github.com/huggingface/safetensors (its format description).
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from dumbtorch import _dtypes, _files, ops
from dumbtorch._tensor import Tensor

__all__ = ["load_safetensors", "save_safetensors"]

_KINDS = {
    "BOOL": _dtypes.bool, "U8": _dtypes.uint8, "I8": _dtypes.int8, "U16": _dtypes.uint16, "I16": _dtypes.int16,
    "F16": _dtypes.float16, "BF16": _dtypes.bfloat16, "U32": _dtypes.uint32, "I32": _dtypes.int32,
    "F32": _dtypes.float32, "C64": _dtypes.complex64, "F64": _dtypes.float64, "I64": _dtypes.int64,
    "U64": _dtypes.uint64, "F8_E4M3": _dtypes.float8_e4m3fn, "F8_E5M2": _dtypes.float8_e5m2,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _KINDS.items()}
_HEADER_LIMIT = 100_000_000  # as the format says
_LIMIT = 1 << 62


def save_safetensors(
    tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors by name to a safetensors file, in one step as ``save``; ``metadata`` is text by name.

    Raises RuntimeError for tensors that share memory, which the format cannot say, and TypeError for what is no tensor
    and for complex types but complex64.

        >>> dumbtorch.save_safetensors(model.state_dict(), "model.safetensors")
    """
    header: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise TypeError("save_safetensors(): metadata must be text by name")
        header["__metadata__"] = dict(metadata)
    _check(tensors)
    # the widest elements first: each tensor then starts at a multiple of its element size
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    place = 0
    for name in order:
        t = tensors[name]
        end = place + t.numel() * t.itemsize
        header[name] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with _files.atomic(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            t = tensors[name].detach().resolve_conj().resolve_neg().cpu().contiguous()
            if t.numel():
                file.write(memoryview(t.view(_dtypes.uint8) if t.ndim else t.reshape(1).view(_dtypes.uint8)))


def _check(tensors: Any) -> None:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save_safetensors(): tensors must be a dict of tensors by name, got {type(tensors).__name__}")
    spans: dict[int, list[tuple[int, int, str]]] = {}
    for name, t in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"save_safetensors(): a tensor's name must be text (and not '__metadata__'), got {name!r}")
        if not isinstance(t, Tensor):
            raise TypeError(f"save_safetensors(): {name!r} must be a tensor, got {type(t).__name__}")
        if t.dtype not in _NAMES:
            raise TypeError(f"save_safetensors(): {name!r} is of {t.dtype!r}, which the format has not; use save()")
        if t.numel():
            reach = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True)) + 1
            start = t._offset * t.itemsize
            spans.setdefault(t._storage_id, []).append((start, start + reach * t.itemsize, name))
    for ranges in spans.values():
        ranges.sort()
        for (_, end, first), (start, _, second) in zip(ranges, ranges[1:], strict=False):
            if start < end:
                raise RuntimeError(
                    f"save_safetensors(): {first!r} and {second!r} share memory, which the format cannot say: they "
                    "would be loaded as two tensors. Leave one of them out (and tie them again after loading), clone() "
                    "one, or use save()"
                )


def load_safetensors(path: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Any]:
    """Reads the tensors of a safetensors file by name. On the CPU they lie on a map of the file, read when used.

    Writing into them is private: the file stays. Raises RuntimeError for a file that breaks the format's rules.

        >>> model.load_state_dict(dumbtorch.load_safetensors("model.safetensors"))
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise RuntimeError(f"load_safetensors(): {os.fspath(path)!r} has {size} bytes, fewer than a header")
        # private pages: what is written stays here
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    try:
        # all of the header is checked before the first tensor is made
        found = {name: _tensor(memory, *entry) for name, *entry in list(_entries(memory))}
    except _FormatError as error:
        raise RuntimeError(f"load_safetensors(): {os.fspath(path)!r}: {error}") from None
    return {name: t.to(device) for name, t in found.items()}


class _FormatError(ValueError):
    pass


def _header(memory: memoryview) -> tuple[dict[str, Any], int]:
    (length,) = struct.unpack("<Q", memory[:8])
    if length > min(len(memory) - 8, _HEADER_LIMIT):
        raise _FormatError(f"the header would have {length} bytes, the file has {len(memory)}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise _FormatError("a name stands twice in the header")
        return table

    try:
        header = json.loads(bytes(memory[8 : 8 + length]).decode("utf-8"), object_pairs_hook=once)
    except _FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise _FormatError(f"the header is no JSON: {str(error)[:100]}") from None
    if not isinstance(header, dict):
        raise _FormatError("the header is no table")
    return header, 8 + length


def _entries(memory: memoryview) -> Iterator[tuple[str, Any, tuple[int, ...], int, int]]:
    """The name, dtype, shape and range of bytes of each tensor; the ranges fill the file without gaps."""
    header, base = _header(memory)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _FormatError("__metadata__ is no table of text")
    found = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise _FormatError(f"the entry of {name[:80]!r} must have dtype, shape and data_offsets")
        kind = _KINDS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if kind is None:
            raise _FormatError(f"{name[:80]!r} is of the dtype {str(entry['dtype'])[:20]}, which dumbtorch has not")
        shape, offsets = entry["shape"], entry["data_offsets"]
        for numbers in (shape, offsets):
            if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < _LIMIT for n in numbers):
                raise _FormatError(f"the shape and offsets of {name[:80]!r} must be lists of numbers")
        if len(offsets) != 2 or prod(n for n in shape if n) >= _LIMIT:
            raise _FormatError(f"the shape or the offsets of {name[:80]!r} are impossible")
        begin, end = offsets
        if end - begin != prod(shape) * kind.itemsize:
            raise _FormatError(f"{name[:80]!r} of shape {shape} has {end - begin} bytes in the file")
        found.append((begin, end, name, kind, tuple(shape)))
    place = 0
    for begin, end, name, kind, shape in sorted(found, key=lambda entry: entry[:3]):
        if begin != place:
            raise _FormatError(f"the bytes of {name[:80]!r} begin at {begin}, not at {place}")
        place = end
        yield name, kind, shape, base + begin, base + end
    if base + place != len(memory):
        raise _FormatError(f"the tensors have {place} bytes, the file has {len(memory) - base} for them")


def _tensor(memory: memoryview, kind: Any, shape: tuple[int, ...], begin: int, end: int) -> Any:
    if begin == end:
        return ops.empty(shape, dtype=kind)
    part = memory[begin:end]
    if begin % kind.itemsize:  # kernels want whole elements at their places
        part = memoryview(bytearray(part))
    return ops.frombuffer(part, dtype=kind).view(shape)
