"""Putting elements in order, and selecting by order: sort, topk, kthvalue, median, mode, unique."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.reduce import scatter_back
from dumbtorch.ops.results import named, write_out
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite, row

_PAIR: dict[str, Any] = {"outputs": ("values", "indices"), "differentiable": (0,), "out": False}
_HIDDEN: dict[str, Any] = {"function": False, "method": False}


def _back(g: Any, indices: Any, input_shape: Any, dim: int) -> Any:
    return scatter_back(g[0], indices, input_shape, dim, True)


def _picked(g: Any, indices: Any, input_shape: Any, dim: int, keepdim: bool) -> Any:
    return scatter_back(g[0], indices, input_shape, dim, keepdim)


def _dim_errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")
    yield S("text", error="TypeError")


# ---------------------------------------------------------------- sort


def _sort_samples() -> Any:
    for descending in (False, True):
        yield S(T(3, 4, distinct=True), -1, descending)
        yield S(T(4, 3, 2, distinct=True), 0, descending)
        yield S(T(2, 40, low=0, high=3, grad=False), 1, descending)
    yield S(T(300, distinct=True), 0, True)
    yield S(
        T(values=[2.0, -0.0, float("nan"), 0.0, float("-inf"), -1.0, float("inf"), 0.0], grad=False), 0, only="float"
    )
    yield S(T(), 0)
    yield S(T(2, 0), 1)


_SORT = row("sort", "input, dim=-1, descending=False", **_PAIR, **_HIDDEN, dtypes="real",
    grad={"input": lambda g, indices, input_shape, dim: _back(g, indices, input_shape, dim)},
    samples=_sort_samples, errors=_dim_errors,
    doc="The elements along a dimension in order, and where they were; equal ones keep their order, NaN comes last.",
)  # fmt: skip
_ARGSORT = row("argsort", "input, dim=-1, descending=False", **_HIDDEN, out=False, dtypes="real", samples=_sort_samples,
    errors=_dim_errors, doc="Where the elements in order are.")  # fmt: skip


_sorted = named("sort", _SORT)


@composite("sort")
def sort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool | None = None, out: Any = None) -> Any:
    """The elements along a dimension in order: a pair (values, indices).

    Always stable: equal elements keep their order. NaN is the largest element. Reference: ``torch.sort``.
    """
    return _sorted(input, dim, descending, out)


@composite("argsort")
def argsort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = True, out: Any = None) -> Any:
    """The indices (int64) that put a dimension in order; always stable. Reference: ``torch.argsort``."""
    result = _ARGSORT(input, dim, descending)
    return result if out is None else write_out("argsort", (out,), (result,))[0]


@composite("msort")
def msort(input: Any, *, out: Any = None) -> Any:
    """The elements along the first dimension in order. Reference: ``torch.msort``."""
    values = _SORT(input, 0, False)[0]
    return values if out is None else write_out("msort", (out,), (values,))[0]


# ---------------------------------------------------------------- selecting


def _topk_samples() -> Any:
    for largest in (True, False):
        yield S(T(5, 6, distinct=True), 2, -1, largest)
        yield S(T(5, 6, distinct=True), 3, 0, largest)
        yield S(T(2, 300, distinct=True, low=-9, high=9), 4, 1, largest, only="single")
    yield S(T(7, distinct=True), 7)
    yield S(T(7, distinct=True), 0)
    yield S(T(), 1)


_TOPK = row("topk", "input, k, dim=-1, largest=True", **_PAIR, **_HIDDEN, dtypes="number",
    grad={"input": lambda g, indices, input_shape, dim: _back(g, indices, input_shape, dim)},
    samples=_topk_samples, errors=lambda: (S(T(3, 4), 5, error="RuntimeError"), S(T(3, 4), 1, 2, error="IndexError")),
    doc="The k largest (or smallest) elements along a dimension in order, and where they are.")  # fmt: skip


_top = named("topk", _TOPK)


@composite("topk")
def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None) -> Any:
    """The ``k`` largest (or smallest) elements along a dimension: a pair (values, indices), in order.

    Of equal elements the first are taken. NaN is the largest element. Reference: ``torch.topk``.
    """
    return _top(input, k, dim, largest, out)


def _selection(name: str, signature: str, doc: str, samples: Any, errors: Any, dtypes: str = "number") -> Any:
    return row(name, signature, **_PAIR, **_HIDDEN, dtypes=dtypes, samples=samples, errors=errors, doc=doc, grad={
        "input": lambda g, indices, input_shape, dim, keepdim: _picked(g, indices, input_shape, dim, keepdim),
    })  # fmt: skip


def _one_samples(*before: Any) -> Any:
    def make() -> Any:
        yield S(T(3, 5, distinct=True), *before, 1, False)
        yield S(T(3, 5, distinct=True), *before, 0, True)
        yield S(T(2, 500, distinct=True), *before, -1, False, only="single")
        yield S(T(2, 3000, distinct=True, grad=False), *before, -1, False, only="single")
        yield S(T(), *before[:0], *(1 for _ in before), 0)

    return make


_KTHVALUE = _selection("kthvalue", "input, k, dim=-1, keepdim=False",
    "The k-th smallest element along a dimension, and where it is.", _one_samples(2),
    lambda: (S(T(3, 4), 5, error="RuntimeError"), S(T(3, 4), 1, 2, error="IndexError")))  # fmt: skip
_MEDIAN = _selection("median", "input, dim=-1, keepdim=False",
    "The median along a dimension (the lower of two), and where it is; NaN if there is one.", _one_samples(),
    _dim_errors)  # fmt: skip
_NANMEDIAN = _selection("nanmedian", "input, dim=-1, keepdim=False",
    "The median of the elements along a dimension that are not NaN, and where it is.", _one_samples(),
    _dim_errors)  # fmt: skip
_MODE = _selection("mode", "input, dim=-1, keepdim=False",
    "The smallest of the most frequent elements along a dimension, and where it comes last.", _one_samples(),
    _dim_errors, dtypes="real")  # fmt: skip


_kth = named("kthvalue", _KTHVALUE)
_most = named("mode", _MODE)


@composite("kthvalue")
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The ``k``-th smallest element along a dimension (from 1): a pair (values, indices).

    Reference: ``torch.kthvalue``.
    """
    if out is not None and out[0]._storage_id == input._storage_id:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
            "memory location. Please clone() the tensor before performing the operation."
        )
    return _kth(input, k, dim, keepdim, out)


@composite("mode")
def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along a dimension, the smallest of several: a pair (values, indices).

    Reference: ``torch.mode``.
    """
    return _most(input, dim, keepdim, out)


def _evenly(g: Any, input: Any, out: Any) -> Any:
    """The gradient of one value picked from all elements: equal parts for those that have it."""
    mask = input == out
    if input.dtype.is_floating_point:
        mask = mask | (input.isnan() & out.isnan())
    mask = mask.to(g.dtype)
    return g * (mask / mask.sum())


_ALL = {
    name: row(f"_{name}", "input", **_HIDDEN, out=False, dtypes="number",
              grad={"input": lambda g, input, out: _evenly(g, input, out)},
              samples=lambda: (
                  S(T(3, 5, distinct=True)), S(T(2, 3, 50, distinct=True), only="single"), S(T()), S(T(0))),
              doc=f"The median of all elements{text}, the lower of two.")
    for name, text in (("median", ""), ("nanmedian", " that are not NaN"))
}  # fmt: skip


def _whole(name: str, op: Callable[..., Any]) -> Any:
    """``median(input)`` of all elements, and ``median(input, dim, keepdim)``."""

    along = named(name, op)

    def middle(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
        if dim is not None:
            return along(input, dim, keepdim, out)
        result = _ALL[name](input)
        return result if out is None else write_out(name, (out,), (result,))[0]

    middle.__name__ = middle.__qualname__ = name
    middle.__doc__ = f"""The median{" of the elements that are not NaN" if name != "median" else ""}, the lower of two.

    Of all elements, or with ``dim`` along a dimension: a pair (values, indices). Reference: ``torch.{name}``.
    """
    return composite(name)(middle)


_whole("median", _MEDIAN)
_whole("nanmedian", _NANMEDIAN)


# ---------------------------------------------------------------- unique

_UNIQUE = row("_unique", "input, inverse, counts", outputs=("values", "inverse", "counts"), out=False, **_HIDDEN,
    dtypes="real", samples=lambda: (S(T(3, 4), True, True), S(T(0, 3), True, True), S(T(), True, True)),
    doc="The sorted different elements; where each element went; how often each came.")  # fmt: skip
_LEXSORT = row("_lexsort", "input", out=False, **_HIDDEN, dtypes="real", samples=lambda: (S(T(40, 2)), S(T(3, 0))),
    doc="The order that sorts the rows of a matrix.")  # fmt: skip


def _results(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    if not return_inverse and not return_counts:
        return values
    return (values, *((inverse,) if return_inverse else ()), *((counts,) if return_counts else ()))


@composite("unique", numpy=False)
def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements, in order; with ``dim`` the different slices of a dimension.

    ``return_inverse`` adds where each element went, ``return_counts`` how often each came. ``sorted=False`` is sorted
    as well. A NaN differs from every other. Reference: ``torch.unique``.
    """
    if dim is None:
        values, inverse, counts = _UNIQUE(input.detach(), return_inverse, return_counts)
        return _results(values, inverse, counts, return_inverse, return_counts)
    rows, dim = _slices("unique", input.detach(), dim)
    order = _LEXSORT(rows)
    return _runs(rows.index_select(0, order), order, input, dim, return_inverse, return_counts)


@composite("unique_consecutive", numpy=False)
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of each run of equal elements; with ``dim`` of equal slices of a dimension.

    ``return_inverse`` adds to which run each element belongs, ``return_counts`` how long each is.
    Reference: ``torch.unique_consecutive``.
    """
    if dim is not None:
        rows, dim = _slices("unique_consecutive", input.detach(), dim)
        return _runs(rows, None, input, dim, return_inverse, return_counts)
    flat = input.detach().reshape(-1)
    values, inverse, counts = _run_parts(flat, flat[1:] != flat[:-1])
    return _results(values, inverse.reshape(input.shape), counts, return_inverse, return_counts)


def _slices(name: str, input: Any, dim: int) -> tuple[Any, int]:
    """The slices of a dimension as rows of a matrix."""
    dim = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return input.reshape(1, 1), 0
    if 0 in input.shape:
        if input.shape[dim]:
            raise RuntimeError(
                f"{name}: the number of dimensions with zero size must be none but dim, got {list(input.shape)}"
            )
        return input.new_empty((0, 1)), dim
    return input.movedim(dim, 0).reshape(input.shape[dim], -1), dim


def _runs(rows: Any, order: Any, input: Any, dim: int, return_inverse: bool, return_counts: bool) -> Any:
    """What is unique among consecutive rows; `order` is where they were."""
    changed = (rows[1:] != rows[:-1]).any(1)
    places, inverse, counts = _run_parts(FUNCTIONS["arange"](rows.shape[0]), changed)
    if order is not None:
        inverse = inverse.new_empty(inverse.shape).scatter(0, order, inverse)
        places = order.index_select(0, places)
    values = input.detach().index_select(dim, places) if input.ndim else input.detach()
    return _results(values, inverse, counts, return_inverse, return_counts)


def _run_parts(values: Any, changed: Any) -> tuple[Any, Any, Any]:
    """Of values, and whether each but the first begins a run: the first of each run, run numbers, lengths."""
    n = values.shape[0]
    if not n:
        none = FUNCTIONS["zeros"](0, dtype=_dtypes.int64)
        return values, none, none
    inverse = FUNCTIONS["cat"]([changed.new_zeros(1), changed]).cumsum(0)
    starts = FUNCTIONS["cat"]([inverse.new_zeros(1), changed.nonzero().reshape(-1) + 1])
    ends = FUNCTIONS["cat"]([starts[1:], starts.new_full((1,), n)])
    return values.index_select(0, starts), inverse, ends - starts
