"""Reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.ops.results import named
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row

Dims = int | Sequence[int] | None


def spread(t: Any, shape: Any, dim: Dims, keepdim: bool) -> Any:
    """A reduction's result stretched back over the dimensions that it reduced."""
    ndim = len(shape)
    if not keepdim and ndim and dim is not None and dim != ():
        for d in sorted(d % ndim for d in ((dim,) if isinstance(dim, int) else dim)):
            t = t.unsqueeze(d)
    return t.expand(shape)


def reduced_count(shape: Any, dim: Dims) -> int:
    """How many elements go into each element of a reduction's result."""
    if not shape:
        return 1
    dims = range(len(shape)) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    count = 1
    for d in dims:
        count *= shape[d]
    return count


def _reductions(*extra: Any, low: float = -2.0, empty: bool = True) -> Any:
    def make() -> Any:
        yield S(T(3, 4, 2, low=low))
        yield S(T(3, 4, 2, low=low), 1)
        yield S(T(3, 4, 2, low=low), -1, True)
        yield S(T(3, 4, 2, low=low), (0, 2), keepdim=True)
        yield S(T(3, 4, 2, low=low), (2, 0))
        yield S(T(low=low))
        yield S(T(low=low), 0)
        if empty:
            yield S(T(0, 3, low=low), 0)
        yield S(T(0, 3, low=low), 1)
        yield from extra

    return make


def _errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")
    yield S(T(3, 4), (0, 0), error="RuntimeError")
    yield S("text", error="TypeError")


def _single_errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")
    yield S("text", error="TypeError")


def _back(g: Any, shape: Any, dim: Dims, keepdim: bool, dtype: Any) -> Any:
    g = spread(g, shape, dim, keepdim)
    if g.dtype is dtype:
        return g
    return (g.real if g.is_complex() and not dtype.is_complex else g).to(dtype)


row("sum", "input, dim=None, keepdim=False, *, dtype=None", dtypes="any", casts=True,
    grad={"input": lambda g, input_shape, input_dtype, dim, keepdim: _back(g, input_shape, dim, keepdim, input_dtype)},
    samples=_reductions(S(T(0, 3))), errors=_errors,
    doc="The sum over all or the given dimensions; integers and bool give int64.")  # fmt: skip
row("mean", "input, dim=None, keepdim=False, *, dtype=None", dtypes="float+complex", casts=True, grad={
        "input": lambda g, input_shape, input_dtype, dim, keepdim: _back(
            g, input_shape, dim, keepdim, input_dtype) / max(1, reduced_count(input_shape, dim)),
    }, samples=_reductions(), errors=_errors,
    doc="The mean over all or the given dimensions. Floating-point inputs only, unless ``dtype`` is given.",
)  # fmt: skip


def _prod(g: Any, input: Any, out: Any, dim: int | None, keepdim: bool) -> Any:
    """Without zeros ``out / input``; with zeros the product of the others, written out so that it differentiates."""
    shape = input.shape
    if dim is None:
        if input.ndim == 0:
            return g
        return _prod(g, input.reshape(-1), out, 0, False).reshape(shape)
    if input.ndim == 0:
        return g
    g = spread(g, shape, dim, keepdim)
    if not (input == 0).any().item():
        return g * (spread(out, shape, dim, keepdim) / input).conj()
    count = shape[dim]
    last = input.transpose(dim, -1)
    index = FUNCTIONS["arange"](count, device=input.device)
    itself = index.unsqueeze(0) == index.unsqueeze(1)
    others = last.unsqueeze(-2).expand(*last.shape[:-1], count, count).masked_fill(itself, 1).prod(-1)
    return g * others.transpose(dim, -1).conj()


row("prod", "input, dim=None, keepdim=False, *, dtype=None", dtypes="any", casts=True, grad={
        "input": lambda g, input, out, dim, keepdim: _prod(g, input, out, dim, keepdim),
    }, samples=lambda: (S(T(3, 4)), S(T(3, 4), 1), S(T(3, 4), 0, True), S(T()), S(T(0, 3), 0), S(T(0, 3)),
                        S(T(values=[[1.5, 0.0, 2.0], [0.0, 0.0, 3.0], [1.0, 2.0, -1.0]]), 1, only="single")),
    errors=_single_errors,
    doc="The product of all elements or over one dimension; integers and bool give int64.")  # fmt: skip


def _shared(g: Any, input: Any, out: Any, dim: Dims, keepdim: bool) -> Any:
    """The gradient of an extreme value: equal parts for all elements that have it."""
    mask = (input == spread(out, input.shape, dim, keepdim)).to(g.dtype)
    every = dim is None or dim == ()
    count = mask.sum() if every else mask.sum(dim, True)
    return spread(g, input.shape, dim, keepdim) * (mask / count)


for _name, _word in (("amax", "largest"), ("amin", "smallest")):
    row(_name, "input, dim=(), keepdim=False", dtypes="real",
        grad={"input": lambda g, input, out, dim, keepdim: _shared(g, input, out, dim, keepdim)},
        samples=_reductions(empty=False), errors=_errors,
        doc=f"The {_word} element over all or the given dimensions; ties share the gradient. NaN if one is NaN.",
    )  # fmt: skip


def scatter_back(g: Any, indices: Any, shape: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of values picked by index along a dimension."""
    if not shape:
        return g
    if not keepdim:
        g = g.unsqueeze(dim)
        indices = indices.unsqueeze(dim)
    return g.new_zeros(shape).scatter(dim, indices, g)


_ALONG: dict[str, Any] = {}
for _name, _word in (("max", "largest"), ("min", "smallest")):
    _ALONG[_name] = row(
        f"{_name}_dim", "input, dim, keepdim=False", outputs=("values", "indices"), differentiable=(0,), dtypes="real",
        out=False, function=False, method=False, ref=_name,
        grad={"input": lambda g, indices, input_shape, dim, keepdim: scatter_back(
            g[0], indices, input_shape, dim, keepdim)},
        samples=lambda: (S(T(3, 4, distinct=True), 1), S(T(3, 4, distinct=True), -2, True), S(T(), 0),
                         S(T(0, 3), 1), S(T(3, 4, dtype="bool"), 0)),
        errors=_single_errors,
        doc=f"The {_word} element along a dimension and its index (the first of equals).")  # fmt: skip


def _extreme(name: str, word: str) -> Any:
    whole, pair = f"a{name}", f"{name}imum"
    along = named(name, _ALONG[name])

    def extreme(
        input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None, axis: Any = None,
        keepdims: Any = None,
    ) -> Any:  # fmt: skip
        if axis is not None or keepdims is not None:
            dim, keepdim = dim if axis is None else axis, keepdim or keepdims or False
        if other is None and dim is not None and not isinstance(dim, int):
            other, dim = dim, None
        if not isinstance(input, _C.TensorBase):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        if other is not None:
            return FUNCTIONS[pair](input, other) if out is None else FUNCTIONS[pair](input, other, out=out)
        if dim is None:
            if not input.numel():
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                    "dim with the 'dim' argument."
                )
            return FUNCTIONS[whole](input) if out is None else FUNCTIONS[whole](input, out=out)
        return along(input, dim, keepdim, out)

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = f"""The {word} element; with ``dim`` a pair (values, indices); with a second tensor pairwise.

    Raises RuntimeError for an empty tensor without ``dim``. Reference: ``torch.{name}``.
    """
    composite(name, numpy=False)(extreme)
    return extreme


_extreme("max", "largest")
_extreme("min", "smallest")

for _name, _word in (("argmax", "largest"), ("argmin", "smallest")):
    row(_name, "input, dim=None, keepdim=False", dtypes="number",
        samples=lambda: (S(T(3, 4, distinct=True)), S(T(3, 4, distinct=True), 1), S(T(3, 4), 0, True), S(T()),
                         S(T(0, 3), 1)),
        errors=_single_errors, doc=f"The index (int64) of the {_word} element of all or along a dimension.",
    )  # fmt: skip
for _name, _doc in (("any", "Whether some element is nonzero."), ("all", "Whether every element is nonzero.")):
    row(_name, "input, dim=None, keepdim=False", dtypes="any", samples=_reductions(), errors=_single_errors,
        doc=_doc + " Over all or the given dimensions; the result is bool.")  # fmt: skip


def _var(g: Any, input: Any, dim: Dims, correction: Any, keepdim: bool) -> Any:
    freedom = reduced_count(input.shape, dim) - (1 if correction is None else correction)
    every = dim is None or dim == ()
    centred = input - (input.mean() if every else input.mean(dim, True))
    factor = 2.0 / freedom if freedom > 0 else float("nan") if freedom == 0 else float("inf")
    return spread(g, input.shape, dim, keepdim) * (factor * centred)


def _std(g: Any, input: Any, out: Any, dim: Dims, correction: Any, keepdim: bool) -> Any:
    return _var((g / (out * 2)).masked_fill(out == 0, 0), input, dim, correction, keepdim)


_VAR = row("var", "input, dim=None, *, correction=1, keepdim=False", function=False, method=False, dtypes="float",
    grad={"input": lambda g, input, dim, correction, keepdim: _var(g, input, dim, correction, keepdim)},
    samples=lambda: (S(T(3, 4, 2)), S(T(3, 4, 2), 1), S(T(3, 4, 2), (0, 2), correction=0),
                     S(T(3, 4, 2), -1, keepdim=True), S(T(5), correction=2)),
    errors=_errors, doc="The variance; ``correction`` is taken from the number of elements.")  # fmt: skip
_STD = row("std", "input, dim=None, *, correction=1, keepdim=False", function=False, method=False, dtypes="float",
    grad={"input": lambda g, input, out, dim, correction, keepdim: _std(g, input, out, dim, correction, keepdim)},
    samples=lambda: (S(T(3, 4, 2)), S(T(3, 4, 2), 1), S(T(3, 4, 2), (0, 2), correction=0),
                     S(T(3, 4, 2), -1, keepdim=True), S(T(5), correction=2)),
    errors=_errors, doc="The standard deviation; ``correction`` is taken from the number of elements.")  # fmt: skip


def spread_arguments(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, Any]:
    """The dimensions and the correction, of the two ways to call `var` and what is like it."""
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def _spread_of(name: str, word: str, op: Any) -> None:
    def deviation(
        input: Any,
        dim: Any = None,
        unbiased: Any = None,
        keepdim: bool = False,
        *,
        correction: Any = None,
        out: Any = None,
    ) -> Any:
        dim, correction = spread_arguments(dim, unbiased, correction)
        if isinstance(input, _C.TensorBase) and input.is_complex():
            parts = (_VAR(part, dim, correction=correction, keepdim=keepdim) for part in (input.real, input.imag))
            result = sum(parts)
            if name == "std":  # a root whose derivative is 0 at 0
                zero = result == 0
                result = result.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
            return result if out is None else out.copy_(result)
        if out is None:
            return op(input, dim, correction=correction, keepdim=keepdim)
        return op(input, dim, correction=correction, keepdim=keepdim, out=out)

    deviation.__name__ = deviation.__qualname__ = name
    deviation.__doc__ = f"""The {word} over all or the given dimensions.

    ``correction`` (default 1, Bessel's) is subtracted from the number of elements; ``unbiased=False`` means 0.
    Floating-point inputs only. Reference: ``torch.{name}``.
    """
    composite(name)(deviation)


_spread_of("var", "variance", _VAR)
_spread_of("std", "standard deviation", _STD)


row("logsumexp", "input, dim, keepdim=False", dtypes="float+complex", grad={
        "input": lambda g, input, out, dim, keepdim: spread(g, input.shape, dim, keepdim) * (
            input - spread(out, input.shape, dim, keepdim)).exp().conj(),
    }, samples=lambda: (S(T(3, 4), 1), S(T(3, 4), (0, 1)), S(T(3, 4), 0, True), S(T(), 0), S(T(2, 0, 3), 2),
                        S(T(2, 0), 1)),
    errors=_errors, doc="``log(sum(exp(input)))`` over the given dimensions, without overflow.")  # fmt: skip


def _norm(g: Any, input: Any, out: Any, p: float, dim: Dims, keepdim: bool) -> Any:
    g, out = spread(g, input.shape, dim, keepdim), spread(out, input.shape, dim, keepdim)
    if p == 0:
        return g.new_zeros(g.shape)
    if p == 1:
        return g * input.sign()
    zero = out == 0  # there the derivative is 0, and so is its own
    if p == 2:
        return input * (g / out.masked_fill(zero, 1)).masked_fill(zero, 0)
    size = input.abs()
    if p in (float("inf"), float("-inf")):
        mask = (size == out).to(g.dtype)
        count = mask.sum() if dim is None else mask.sum(dim, True)
        return input.sign() * (g * mask / count)
    power = size.pow(p - 2).masked_fill(size == 0, 0) if p < 2 else size.pow(p - 2)
    return input * power * (g / out.masked_fill(zero, 1).pow(p - 1)).masked_fill(zero, 0)


row("norm", "input, p=2.0, dim=None, keepdim=False, dtype=None", function=False, method=False, dtypes="float",
    casts=True, grad={
        "input": lambda g, input, out, p, dim, keepdim: _norm(g, input, out, p, dim, keepdim).to(input.dtype),
    }, samples=lambda: (S(T(3, 4)), S(T(3, 4), 2, 1), S(T(3, 4), 1, 0, True), S(T(3, 4), 3.0, (0, 1)), S(T(3, 4), 1.5),
                        S(T(3, 4, low=0.5, high=3, distinct=True), float("inf"), 1), S(T(3, 4), 0), S(T()),
                        S(T(2, 0), 2, 1)),
    errors=lambda: (S(T(3, 4), 2, 2, error="IndexError"),), doc="The vector norm of order ``p``.")  # fmt: skip


row("cumsum", "input, dim, *, dtype=None", dtypes="any", casts=True, inplace=True, grad={
        "input": lambda g, input_dtype, dim: g.flip(dim).cumsum(dim).flip(dim).to(input_dtype),
    }, samples=lambda: (S(T(3, 4), 1), S(T(3, 4), 0), S(T(), 0), S(T(0, 3), 0)), errors=_single_errors,
    doc="The running sum along a dimension; integers and bool give int64.")  # fmt: skip
