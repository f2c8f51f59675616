"""Copies, conversions, and writes."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch import _C, _dtypes, _formats, _pinned
from dumbtorch._device import device as Device
from dumbtorch._device import named
from dumbtorch.ops.layout import suggested_format
from dumbtorch.ops.samples import S, T, unary
from dumbtorch.ops.table import TABLE, composite, row
from dumbtorch.ops.unary import zero

row("clone", "input, *, memory_format=None", grad={"input": lambda g: g}, dtypes="any", samples=unary(), out=False,
    doc="A copy, made when either is first written to.")  # fmt: skip
row("to_copy", "input, dtype=None, device=None", casts=True, method=False, function=False, out=False, dtypes="any",
    grad={
        "input": lambda g, input_dtype, input_device: _CAST(
            g.real if g.is_complex() and not input_dtype.is_complex else g, input_dtype, input_device),
    }, samples=lambda: (), doc="A copy of another dtype or on another device.")  # fmt: skip
_CAST: Any = TABLE["to_copy"].op
row("copy", "input, src, non_blocking=False", only_inplace=True, dtypes="any", broadcast=True, lazy=True,
    grad={"input": zero, "src": lambda g: g}, samples=lambda: (
        S(T(3, 4), T(3, 4)), S(T(3, 4), T(4)), S(T(), T()), S(T(3, 4), T(3, 4, dtype="float64"))),
    errors=lambda: (S(T(3), T(4), error="RuntimeError"), S(T(3), "text", error="TypeError")),
    doc="Writes ``src`` (broadcast, cast) into the tensor.")  # fmt: skip
row("fill", "input, value", only_inplace=True, dtypes="any", broadcast=True,
    grad={"input": zero, "value": lambda g: g.sum()},
    samples=lambda: (S(T(3, 4), 2), S(T(3, 4), T()), S(T(), 1), S(T(0, 2), 1)),
    errors=lambda: (S(T(3), T(2), error="RuntimeError"), S(T(3), "text", error="TypeError")),
    doc="Writes one number (or a 0-dim tensor) into every element.")  # fmt: skip


@composite("fill", method=False)
def fill(input: Any, value: Any) -> Any:
    """A tensor like the input with one number (or 0-dim tensor) in every element. Reference: ``torch.fill``."""
    return input.clone().fill_(value)


@composite("zero_")
def zero_(input: Any) -> Any:
    """Writes 0 into every element. Reference: ``torch.Tensor.zero_``."""
    return input.fill_(0)


@composite("to", function=False)
def to(
    self: Any,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    tensor: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Any:
    """The tensor in another dtype or on another device: ``to(dtype)``, ``to(device, dtype)``, ``to(other)``.

    Itself when nothing changes, unless ``copy``. With ``non_blocking`` a copy from page-locked memory to a device goes
    on while the program does; other copies are over when this returns. Raises RuntimeError for a device that is not
    there.
    Reference: ``torch.Tensor.to``.
    """
    first = type(args[0]) if len(args) == 1 else None
    if first is _dtypes.dtype and device is None and dtype is None:  # by far the most calls are of these two kinds
        dtype = args[0]
    elif first is str or first is Device:
        device = args[0]
    elif args:
        dtype, device, flags = _placed(args, dtype, device)
        non_blocking, copy = (*flags, *(non_blocking, copy)[len(flags) :])
    elif tensor is not None:
        dtype, device = tensor.dtype, tensor.device
    elif isinstance(dtype, type):
        dtype = _dtypes.PYTHON[dtype]
    same_dtype = dtype is None or dtype is self.dtype
    if device is not None:
        wanted = device if isinstance(device, Device) else named(device)
        here = self.device
        same_device = wanted.type == here.type and (wanted.index is None or wanted.index == (here.index or 0))
    else:
        wanted, same_device = None, True
    kept = memory_format is None or memory_format is _formats.preserve_format
    if same_dtype and same_device:
        if not copy and (kept or suggested_format(self) is memory_format):
            return self
        return self.clone(memory_format=memory_format)
    if not same_dtype and self.dtype.is_complex:
        _warn_discard(dtype)
    if non_blocking and same_dtype and kept and wanted is not None:
        made = _pinned.uploaded(self, wanted)
        if made is not None:
            return made
    made = _CAST(self, None if same_dtype else dtype, None if same_device else wanted)
    return made if kept else made.contiguous(memory_format=memory_format)


def _placed(args: tuple[Any, ...], dtype: Any, device: Any) -> tuple[Any, Any, list[bool]]:
    """What the arguments of ``to`` without names mean: ([device,] [dtype]) or (other), then non_blocking and copy."""
    first, *rest = args
    if isinstance(first, _C.TensorBase):
        found = [first.dtype, first.device]
    elif isinstance(first, (_dtypes.dtype, type)):
        found = [first, device]
        if device is not None or dtype is not None:
            raise _wrong(args)
    elif first is None or isinstance(first, (str, Device)) or (isinstance(first, int) and not isinstance(first, bool)):
        found = [dtype, first]
        if rest and not isinstance(rest[0], bool):
            found[0] = rest.pop(0)
            if dtype is not None:
                raise _wrong(args)
    else:
        raise _wrong(args)
    kind = _dtypes.PYTHON.get(found[0], found[0]) if isinstance(found[0], type) else found[0]
    if not (kind is None or isinstance(kind, _dtypes.dtype)) or len(rest) > 2:
        raise _wrong(args)
    if not all(isinstance(flag, bool) for flag in rest):
        raise _wrong(args)
    return kind, found[1], rest


def _wrong(args: tuple[Any, ...]) -> TypeError:
    given = ", ".join(type(argument).__name__ for argument in args)
    return TypeError(
        f"to() received an invalid combination of arguments - got ({given}), but expected (device, dtype), (dtype) or "
        "(other), then non_blocking and copy, and memory_format by name"
    )


def _warn_discard(kind: Any) -> None:
    if not kind.is_complex and kind is not _dtypes.bool:
        warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=3)


def _caster(name: str, kind: Any) -> None:
    def cast(self: Any, memory_format: Any = None) -> Any:
        return to(self, kind, memory_format=memory_format)

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"The tensor as {kind!r}; itself if it is already."
    composite(name, function=False)(cast)


for _name in ("bool", "half", "bfloat16", "float", "double", "short", "int", "long", "cfloat", "cdouble", "chalf"):
    _caster(_name, getattr(_dtypes, _name))
_caster("byte", _dtypes.uint8)
_caster("char", _dtypes.int8)


@composite("type_as", function=False)
def type_as(self: Any, other: Any) -> Any:
    """The tensor in the dtype (and on the device) of another. Reference: ``torch.Tensor.type_as``."""
    return to(self, other)


@composite("sum_to_size", function=False)
def sum_to_size(self: Any, *args: Any, size: Any = None) -> Any:
    """The sum over what broadcasting to this shape had added. Reference: ``torch.Tensor.sum_to_size``."""
    size = args if size is None else (size,)
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    mine = self.shape
    lead = len(mine) - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, mine[lead:], strict=True)):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(mine)}}}.")
    dims = [*range(lead), *(lead + d for d, n in enumerate(shape) if n == 1 and mine[lead + d] != 1)]
    if not shape:
        return self.sum()
    if not dims:
        return self
    result = self.sum(dims, True)
    return result.reshape(shape) if lead else result
