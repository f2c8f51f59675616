"""make_tensor: random inputs for tests."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dumbtorch import _dtypes, ops

__all__ = ["make_tensor"]


def _range(dtype: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """The limits of the values: those given, held inside of what the dtype can be. ValueError: none is inside."""
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if dtype is _dtypes.bool:
        lowest, highest, defaults = 0, 2, (0, 2)
    elif whole:
        limits: Any = _dtypes.iinfo(dtype)
        # randint's bounds are int64
        lowest, highest = limits.min, limits.max + (dtype is not _dtypes.int64)
        defaults = (-9, 10)
    else:
        limits = _dtypes.finfo(dtype)
        lowest, highest, defaults = limits.min, limits.max, (-9, 9)
    low = defaults[0] if low is None else low
    high = defaults[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and not whole:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated since 2.1 "
            "and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < lowest or low >= highest:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only supports "
            f"[{lowest}, {highest})"
        )
    low, high = (min(max(value, lowest), highest) for value in (low, high))
    return (math.ceil(low), math.ceil(high)) if whole else (low, high)


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any,
    low: Any = None,
    high: Any = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor of uniform random values in ``[low, high)``, by default from -9 to 9 (10 for integers; 0 or 1 for bool).

    ``noncontiguous`` leaves gaps between the elements, ``exclude_zero`` puts the smallest positive number in the place
    of zeros. Raises ValueError for an empty range and for integers that shall require a gradient.
    Reference: ``torch.testing.make_tensor``.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
            f"but got {noncontiguous=} and {memory_format=}"
        )
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if requires_grad and whole:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}")
    noncontiguous = noncontiguous and math.prod(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    low, high = _range(dtype, low, high)
    if whole:
        result = ops.randint(low, high, sizes, device=device, dtype=dtype)
    else:
        parts = dtype.to_real()
        kind = parts if parts.itemsize > 1 else _dtypes.float32
        drawn = ops.rand((*sizes, 2) if dtype.is_complex else sizes, dtype=kind, device=device)
        # halves first: the distance of the limits may be beyond the largest number
        drawn = drawn * (high / 2 - low / 2) * 2 + low
        drawn = drawn.clamp(low, high)
        result = ops.view_as_complex(drawn) if dtype.is_complex else drawn.to(dtype)
    if noncontiguous:
        result = result[..., ::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        tiny = 1 if whole else _dtypes.finfo(dtype).tiny
        result[result == 0] = complex(tiny, tiny) if dtype.is_complex else tiny
    return result.requires_grad_() if requires_grad else result
