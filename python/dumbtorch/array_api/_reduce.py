"""Sums and searches: statistical, searching, sorting and set functions."""

from __future__ import annotations

import builtins
from collections import namedtuple
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.array_api._array import given, made, pair, result_type

__all__ = [
    "all", "any", "argmax", "argmin", "argsort", "count_nonzero", "cumulative_prod", "cumulative_sum", "diff", "isin",
    "max", "mean", "min", "nonzero", "prod", "searchsorted", "sort", "std", "sum", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "var", "where",
]  # fmt: skip


def _dims(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes as a tuple, all for None. Raises IndexError or ValueError for wrong ones."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    dims = tuple(ops.shape.wrap_dim(a, x.ndim) for a in axes)
    if len(set(dims)) < len(dims):
        raise ValueError(f"axis {axis} names a dimension twice")
    return dims


def _folded(op: Any, x: Any, axis: Any, keepdims: bool, **options: Any) -> Any:
    """A reduction of one dimension, over several: they become one first."""
    dims = _dims(x, axis)
    kept = [d for d in range(x.ndim) if d not in dims]
    merged = x.permute(*kept, *dims).reshape(*(x.shape[d] for d in kept), -1) if x.numel() else None
    if merged is None:
        merged = x.permute(*kept, *dims).flatten(len(kept)) if dims else x.unsqueeze(-1)
    result = op(merged, -1, **options)
    return made(result.reshape([1 if d in dims else n for d, n in enumerate(x.shape)]) if keepdims else result)


# ---------------------------------------------------------------- statistics


def _wide(x: Any, dtype: Any) -> Any:
    """The dtype of a sum: at least 64 bits for integers."""
    if dtype is not None:
        return dtype
    if x.is_floating_point() or x.is_complex():
        return x.dtype
    return _dtypes.int64


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sums over axes, in at least 64 bits for integers."""
    x = given(x)
    dims, dtype = _dims(x, axis), _wide(x, dtype)
    return made(x.sum(dims, keepdims, dtype=dtype).to(dtype) if dims else x.to(dtype, copy=True))


def prod(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The products over axes, in at least 64 bits for integers."""
    x = given(x)
    dtype = _wide(x, dtype)
    return made(_folded(lambda t, d: ops.prod(t, d), x.to(dtype), axis, keepdims).to(dtype))


def mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The means over axes."""
    x = given(x)
    dims = _dims(x, axis)
    return made(x.mean(dims, keepdims) if dims else x.clone())


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variances over axes: squared deviations divided by their number minus ``correction``."""
    x = given(x)
    dims = _dims(x, axis)
    if not dims:
        return made(x * 0 if correction == 0 else x * 0 / (1 - correction))
    return made(ops.var(x, dims, correction=correction, keepdim=keepdims))


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The square roots of `var`."""
    return made(ops.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims)))


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest elements over axes; NaN where there is one."""
    x = given(x)
    dims = _dims(x, axis)
    return made(ops.amax(x, dims, keepdims) if dims else x.clone())


def min(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest elements over axes; NaN where there is one."""
    x = given(x)
    dims = _dims(x, axis)
    return made(ops.amin(x, dims, keepdims) if dims else x.clone())


def _cumulative(op: Any, neutral: int, x: Any, axis: int | None, dtype: Any, include_initial: bool) -> Any:
    x = given(x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"an axis is required for an array of {x.ndim} dimensions")
        axis = 0
    result = op(x, axis, dtype=_wide(x, dtype))
    if include_initial:
        first = list(x.shape)
        first[axis] = 1
        result = ops.cat([result.new_full(first, neutral), result], axis)
    return made(result)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """The sums up to each element of an axis, after a 0 with ``include_initial``."""
    return _cumulative(ops.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """The products up to each element of an axis, after a 1 with ``include_initial``."""
    return _cumulative(ops.cumprod, 1, x, axis, dtype, include_initial)


def all(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements over axes are non-zero."""
    x = given(x)
    dims = _dims(x, axis)
    return made(ops.all(x, dims, keepdims).to(_dtypes.bool) if dims else x != 0)


def any(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element over axes is non-zero."""
    x = given(x)
    dims = _dims(x, axis)
    return made(ops.any(x, dims, keepdims).to(_dtypes.bool) if dims else x != 0)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements over axes are not zero."""
    return sum(given(x) != 0, axis=axis, keepdims=keepdims)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """The ``n``-th differences of neighbours along an axis, with arrays put before and after it first."""
    x = given(x)
    result = ops.diff(x, n, axis, prepend, append)
    return made(result.clone() if result is x else result)


# ---------------------------------------------------------------- searching


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The indices of the largest elements, the first of equal ones."""
    x = given(x)
    result = ops.argmax(x, axis, keepdims)
    return made(result.reshape([1] * x.ndim) if axis is None and keepdims else result)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The indices of the smallest elements, the first of equal ones."""
    x = given(x)
    result = ops.argmin(x, axis, keepdims)
    return made(result.reshape([1] * x.ndim) if axis is None and keepdims else result)


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, an array for each axis. Raises ValueError for a 0-dim array."""
    x = given(x)
    if x.ndim == 0:
        raise ValueError("nonzero: an array of at least one dimension is required")
    return tuple(made(x.nonzero(as_tuple=True)))


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where elements would go in a sorted vector, before or (``side="right"``) after equal ones."""
    x1, x2 = pair(x1, x2)
    if sorter is not None:
        x1 = x1.index_select(0, given(sorter).long())
    return made(ops.searchsorted(x1.contiguous(), x2.contiguous(), side=side))


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """``x1`` where the condition holds, else ``x2``, in their common dtype."""
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        condition = given(condition)
        dtype = result_type(x1, ops.full((), x2))
        x1, x2 = (ops.full((), v, dtype=dtype, device=condition.device) for v in (x1, x2))
    return made(ops.where(given(condition), *pair(x1, x2)))


# ---------------------------------------------------------------- sorting and sets


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements in order along an axis."""
    return made(ops.sort(given(x), dim=axis, descending=descending, stable=stable)[0])


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort an axis."""
    return made(ops.argsort(given(x), dim=axis, descending=descending, stable=stable))


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    """Which elements of ``x1`` are among those of ``x2``."""
    return made(ops.isin(*pair(x1, x2), invert=invert))


unique_all_result = namedtuple("unique_all_result", ("values", "indices", "inverse_indices", "counts"))
unique_counts_result = namedtuple("unique_counts_result", ("values", "counts"))
unique_inverse_result = namedtuple("unique_inverse_result", ("values", "inverse_indices"))


def _order(flat: Any) -> Any:
    """The stable order of a vector; complex numbers by their real, then their imaginary parts."""
    if flat.is_complex():
        order = ops.argsort(flat.imag, stable=True)
        return order[ops.argsort(flat.real[order], stable=True)]
    return ops.argsort(flat, stable=True)


def unique_all(x: Any, /) -> Any:
    """The different elements in order, the first place of each, the place among them of every element, their counts.

    Every NaN is an element of its own.
    """
    x = given(x)
    flat = x.flatten()
    order = _order(flat)
    ordered = flat[order]
    first = ops.ones(ordered.shape, dtype=_dtypes.bool, device=x.device)
    if ordered.numel() > 1:
        first[1:] = ordered[1:] != ordered[:-1]
    starts = first.nonzero().flatten()
    ends = ops.cat([starts[1:], starts.new_full((builtins.min(1, starts.numel()),), ordered.numel())])
    inverse = ops.empty_like(order)
    inverse[order] = first.cumsum(0) - 1
    return unique_all_result(
        made(ordered[starts]), made(order[starts]), made(inverse.reshape(x.shape)), made(ends - starts)
    )


def unique_counts(x: Any, /) -> Any:
    """The different elements in order and their counts."""
    found = unique_all(x)
    return unique_counts_result(found.values, found.counts)


def unique_inverse(x: Any, /) -> Any:
    """The different elements in order and the place among them of every element."""
    found = unique_all(x)
    return unique_inverse_result(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Any:
    """The different elements in order."""
    return unique_all(x).values
