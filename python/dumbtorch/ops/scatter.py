"""Values written and folded by index: scatter with its reductions, scatter_reduce, index_reduce."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.index import index
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row

_SCATTER, _SCATTER_ = TABLE["scatter"].op, TABLE["scatter"].inplace_op


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return FUNCTIONS["where"](condition, yes, no)


def _input_back(g: Any, input: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool, out: Any) -> Any:
    """The gradient of what was there before."""
    if reduce == "sum":
        grad = g
    elif reduce == "prod":
        nonzero = input.masked_fill(input == 0, 1)
        grad = g * (FOLD(nonzero, dim, index, src, reduce, include_self=include_self) / nonzero).conj()
    elif reduce == "mean":
        grad = g / _counts(g, dim, index, src, include_self)
    else:
        grad = (input == out) * (g / _ties(input, dim, index, _reached(src, index), out, g))
    return grad if include_self else grad.scatter(dim, index, 0)


def _src_back(g: Any, input: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool, out: Any) -> Any:
    """The gradient of the values; those that the index does not reach have none."""
    given, src = src, _reached(src, index)
    if reduce == "sum":
        grad = g.gather(dim, index)
    elif reduce == "prod":
        # with one zero among the factors, its gradient is the product of the others
        zero = src == 0
        zeros = g.new_zeros(input.shape).scatter_add(dim, index, zero.to(g.dtype)).gather(dim, index)
        alone = zero & (zeros == 1)
        others = FOLD(input, dim, index, src.masked_fill(alone, 1), reduce, include_self=include_self)
        grad = _where(
            alone, (g * others.conj()).gather(dim, index),
            (g * out.conj()).gather(dim, index) / src.masked_fill(zero, 1).conj(),
        )  # fmt: skip
    elif reduce == "mean":
        grad = (g / _counts(g, dim, index, src, include_self)).gather(dim, index)
    else:
        grad = (src == out.gather(dim, index)) * (g / _ties(input, dim, index, src, out, g)).gather(dim, index)
    if grad.shape == given.shape:
        return grad
    whole = g.new_zeros(given.shape)
    whole[tuple(slice(0, n) for n in grad.shape)] = grad
    return whole


def _reached(src: Any, index: Any) -> Any:
    """The part of the values that an index of a smaller shape reaches."""
    return src if src.shape == index.shape else src[tuple(slice(0, n) for n in index.shape)]


def _counts(g: Any, dim: int, index: Any, src: Any, include_self: bool) -> Any:
    """How many values went into each element of a mean."""
    start = g.new_ones(g.shape) if include_self else g.new_zeros(g.shape)
    count = start.scatter_add(dim, index, g.new_ones(index.shape))
    return count.masked_fill(count == 0, 1)


def _ties(input: Any, dim: int, index: Any, src: Any, out: Any, g: Any) -> Any:
    """Over how many equal extremes the gradient of each is spread."""
    hit = (src == out.gather(dim, index)).to(g.dtype)
    count = (input == out).to(g.dtype).scatter_add(dim, index, hit)
    return count.masked_fill(count == 0, 1)


def _samples() -> Any:
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        kinds = "number"  # PyTorch differentiates no complex ones
        yield S(T(4, 3), 0, index(5, 3, below=4), T(5, 3, distinct=True), reduce, only=kinds)
        yield S(T(4, 3), 1, index(2, 2, below=3), T(2, 2, distinct=True), reduce, include_self=False, only=kinds)
        yield S(T(4), 0, index(0, below=4), T(0), reduce, only=kinds)
        yield S(T(), 0, index(below=1), T(), reduce, only=kinds)


row("scatter_reduce", "input, dim, index:i, src, reduce, *, include_self=True", dtypes="any", inplace=True, grad={
        "input": _input_back, "src": _src_back,
    }, samples=_samples, errors=lambda: (
        S(T(4, 3), 2, index(3, 4, below=3), T(3, 4), "sum", error="IndexError"),
        S(T(4, 3), 0, index(3, below=3), T(3, 4), "sum", error="RuntimeError"),
        S(T(4, 3), 0, index(1, 3, below=3), T(1, 3), "most", error="RuntimeError")),
    doc="``input`` with the values of ``src`` folded (sum, prod, mean, amax, amin) into the places of ``index``. "
        "Without ``include_self`` what stood there does not count.")  # fmt: skip
FOLD: Any = TABLE["scatter_reduce"].op
_FOLD_: Any = TABLE["scatter_reduce"].inplace_op


# ---------------------------------------------------------------- scatter


def _by_fold(name: str, input: Any, index: Any, src: Any, reduce: str) -> tuple[Any, str]:
    """The values as a tensor, and the fold that ``reduce`` names."""
    kinds = {"add": "sum", "multiply": "prod"}
    if reduce not in kinds:
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(src, _C.TensorBase):
        return input.new_full((), src).expand(index.shape), kinds[reduce]
    warnings.warn(
        "The reduce argument of torch.scatter with Tensor src is deprecated and will be removed in a future PyTorch "
        "release. Use torch.scatter_reduce instead for more reduction options.",
        stacklevel=3,
    )
    return src, kinds[reduce]


@composite("scatter")
def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None, out: Any = None
) -> Any:
    """``input`` with ``src`` (a tensor, or a number, also as ``value=``) written at ``index`` along a dimension.

    With ``reduce`` ("add" or "multiply") it is added to, or multiplied with, what stands there. Raises RuntimeError for
    an index out of bounds or of more elements than ``input`` or ``src``. Reference: ``torch.scatter``.
    """
    src = value if src is None else src
    if reduce is None:
        return _SCATTER(input, dim, index, src) if out is None else _SCATTER(input, dim, index, src, out=out)
    values, fold = _by_fold("scatter", input, index, src, reduce)
    return FOLD(input, dim, index, values, fold) if out is None else FOLD(input, dim, index, values, fold, out=out)


@composite("scatter_", function=False)
def scatter_(self: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    """``scatter`` in place."""
    src = value if src is None else src
    if reduce is None:
        return _SCATTER_(self, dim, index, src)
    values, fold = _by_fold("scatter_", self, index, src, reduce)
    return _FOLD_(self, dim, index, values, fold)


# ---------------------------------------------------------------- index_reduce


def _vector(self: Any, dim: int, index: Any, source: Any, reduce: str) -> tuple[int, Any]:
    """Checks the arguments of index_reduce; the dimension, and the index for every element of the source."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    dim = wrap_dim(dim, self.ndim)
    if index.ndim > 1:
        raise IndexError(
            f"index_reduce_(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
            f"{_dtypes.TYPE_NAMES[index.dtype]} and size: {list(index.shape)}"
        )
    if index.dtype not in (_dtypes.int64, _dtypes.int32):
        raise RuntimeError("index_reduce_(): Expected dtype int32/int64 for index")
    if self.dtype is not source.dtype:
        raise RuntimeError(
            f"index_reduce_(): self ({_dtypes.TYPE_NAMES[self.dtype]}) and source "
            f"({_dtypes.TYPE_NAMES[source.dtype]}) must have the same scalar type"
        )
    if self.dtype is _dtypes.bool or self.is_complex():
        raise NotImplementedError(f"\"index_func_\" not implemented for '{_dtypes.TYPE_NAMES[self.dtype]}'")
    size = (source.shape[dim] if source.ndim else 1) if dim < max(source.ndim, 1) else -1
    if size != index.numel():
        raise RuntimeError(
            f"index_reduce_(): Number of indices ({index.numel()}) should be equal to source.size(dim): ({size}), for "
            f"dim: {dim}"
        )
    mine, its = list(self.shape), list(source.shape)
    if mine and its:
        del mine[dim], its[dim]
    if self.ndim == source.ndim and mine != its:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(self.shape)} source.shape = {list(source.shape)}"
        )
    shape = [1] * source.ndim
    if shape:
        shape[dim] = index.numel()
    return dim, index.reshape(shape).expand(source.shape)


@composite("index_reduce")
def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """``input`` with the slices of ``source`` folded (prod, mean, amax, amin) into the given indices of a dimension.

    Reference: ``torch.index_reduce``.
    """
    dim, places = _vector(input, dim, index, source, reduce)
    more = {} if out is None else {"out": out}
    return FOLD(input, dim, places, source, reduce, include_self=include_self, **more)


@composite("index_reduce_", function=False)
def index_reduce_(self: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Any:
    """``index_reduce`` in place."""
    dim, places = _vector(self, dim, index, source, reduce)
    return _FOLD_(self, dim, places, source, reduce, include_self)
