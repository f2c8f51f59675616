"""Evenly spaced numbers: ``arange``, ``linspace``, ``logspace``."""

from __future__ import annotations

import warnings
from math import isfinite
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.creation import _place, into, made, maker
from dumbtorch.ops.table import FUNCTIONS, composite

_LINSPACE = maker(
    "linspace", "start, end, steps, dtype=None, device=None", "Evenly spaced numbers from ``start`` to ``end``."
)
_ARANGE = maker("arange", "start, end, step, dtype=None, device=None", "``start, start + step, ...`` below ``end``.")


def _numbers(*values: Any) -> Any:
    return (v.item() if isinstance(v, _C.TensorBase) else v for v in values)


@composite(method=False)
def arange(
    start: Any = None, end: Any = None, step: Any = 1, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """``start, start + step, ...`` below ``end`` (``arange(end)`` starts at 0). Reference: ``torch.arange``.

    int64 when all three are integers, else the default dtype. Raises RuntimeError for a step of 0 or in the wrong
    direction.
    """
    if end is None:
        if start is None:
            raise TypeError('arange() missing 1 required positional arguments: "end"')
        start, end = 0, start
    start, end, step = _numbers(0 if start is None else start, end, step)
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: upper bound and lower bound inconsistent with step sign: {start}, {end}, {step}")
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        dtype = (_dtypes.int64 if whole else _dtypes.get_default_dtype()) if out is None else out.dtype
    t = _ARANGE(start, end, step, dtype, _place(device))
    return made(t if out is None else into(out, t.shape, dtype).copy_(t), requires_grad, layout, pin_memory)


@composite("range", method=False)
def range_(
    start: Any = 0, end: Any = None, step: Any = 1, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """``start, start + step, ...`` up to ``end``, which is included; the default dtype. Deprecated for ``arange``.

    Reference: ``torch.range``.
    """
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    if end is None:
        raise TypeError('range() missing 1 required positional arguments: "end"')
    start, end, step = _numbers(start, end, step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    kind = dtype or (_dtypes.get_default_dtype() if out is None else out.dtype)
    count = int((end - start) / step)
    whole = all(isinstance(v, int) for v in (start, end, step))
    last = start + (count + 1) * step if whole else start + (count + 0.5) * step
    t = _ARANGE(start, last, step, kind, _place(device))
    return made(t if out is None else into(out, t.shape, dtype).copy_(t), requires_grad, layout, pin_memory)


def _ends(name: str, start: Any, end: Any, steps: int, dtype: Any, out: Any) -> tuple[Any, Any, Any]:
    """The ends of a space as numbers, and its dtype: whole numbers for an integer dtype."""
    if steps < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative")
    for what, value in (("start", start), ("end", end)):
        if isinstance(value, _C.TensorBase) and value.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {what} with {value.ndim} "
                "dimension(s)."
            )
    start, end = _numbers(start, end)
    kind = dtype or (None if out is None else out.dtype)
    if kind is not None and not (kind.is_floating_point or kind.is_complex or kind is _dtypes.bool):
        start, end = (int(v) if isinstance(v, float) and isfinite(v) else v for v in (start, end))
    return start, end, kind


@composite(method=False)
def linspace(
    start: Any, end: Any, steps: int, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """``steps`` numbers evenly spaced from ``start`` to ``end``, both included. Reference: ``torch.linspace``."""
    start, end, kind = _ends("linspace", start, end, steps, dtype, out)
    t = _LINSPACE(start, end, steps, kind, _place(device))
    return made(t if out is None else into(out, t.shape, dtype).copy_(t), requires_grad, layout, pin_memory)


@composite(method=False)
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """``base`` to the powers ``linspace(start, end, steps)``. Reference: ``torch.logspace``."""
    first, last, kind = _ends("logspace", start, end, steps, dtype, out)
    if steps == 1:  # PyTorch keeps the fraction of a lone power
        first, last = _numbers(start, end)
    inexact = isinstance(first, complex) or isinstance(last, complex)
    wide = _dtypes.complex128 if inexact or (kind is not None and kind.is_complex) else _dtypes.float64
    powers = _LINSPACE(first, last, steps, wide, _place(device))
    default = _dtypes.get_default_dtype()
    t = FUNCTIONS["pow"](base, powers).to((default.to_complex() if inexact else default) if kind is None else kind)
    return made(t if out is None else into(out, t.shape, dtype).copy_(t), requires_grad, layout, pin_memory)
