"""Statistics made of reductions: NaN-skipping ones, quantiles, covariance, distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.linalg_base import recording
from dumbtorch.ops.reduce import spread, spread_arguments
from dumbtorch.ops.results import done, named, write_out
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row

Dims = int | Sequence[int] | None

_NAN = float("nan")


# ---------------------------------------------------------------- counts, and reductions that skip NaN


def _samples() -> Any:
    yield S(T(3, 4, 2))
    yield S(T(3, 4, 2), 1)
    yield S(T(3, 4, 2), (0, 2))
    yield S(T(3, 70), -1)
    yield S(T())
    yield S(T(0, 3), 0)


def _nan_samples() -> Any:
    yield from _samples()
    yield S(T(3, 4, 2), (0, 2), True)
    yield S(T(values=[[1.0, _NAN, 2.0], [_NAN, _NAN, _NAN]], grad=False), 1, only="float")


def _errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")
    yield S("text", error="TypeError")


row("nansum", "input, dim=None, keepdim=False, *, dtype=None", dtypes="real", casts=True, grad={
        "input": lambda g, input, dim, keepdim: (
            spread(g, input.shape, dim, keepdim).to(input.dtype) * input.isnan().logical_not()),
    }, samples=_nan_samples, errors=_errors,
    doc="The sum over all or the given dimensions, of what is not NaN; integers and bool give int64.")  # fmt: skip
_COUNT = row("count_nonzero", "input, dim=None", out=False, function=False, method=False, dtypes="real",
    samples=_samples, errors=_errors,
    doc="How many elements (int64) are not zero, over all or the given dimensions.")  # fmt: skip


@composite("count_nonzero")
def count_nonzero(input: Any, dim: Dims = None) -> Any:
    """How many elements (int64) are not zero, over all or the given dimensions. Reference: ``torch.count_nonzero``."""
    return _COUNT(input != 0 if input.dtype.is_complex else input, dim)


@composite("nanmean")
def nanmean(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The mean over all or the given dimensions of what is not NaN; NaN where nothing is.

    Reference: ``torch.nanmean``.
    """
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}")
    numbers = input.isnan().logical_not()
    count = numbers.sum(dim, keepdim) if dim is not None else numbers.sum()
    return done(FUNCTIONS["nansum"](input, dim, keepdim, dtype=dtype) / count, out, "nanmean")


row("aminmax_all", "input", outputs=("min", "max"), out=False, function=False, method=False, dtypes="real",
    ref="aminmax", samples=lambda: (S(T(3, 4)), S(T()), S(T(2, 20000))),
    errors=lambda: (S(T(0), error="RuntimeError"),),
    doc="The smallest and the largest element, in one pass.")  # fmt: skip
_EXTREMES_OF_ALL: Any = TABLE["aminmax_all"].op
_ONE_PASS = 1 << 18  # elements from which the memory that is read counts


def _extremes(input: Any, dim: Any, keepdim: bool) -> Any:
    plain = dim == () and not keepdim and not input.is_cuda and input._level is None
    plain = plain and not (input.requires_grad and recording())
    if plain and input.numel() >= _ONE_PASS and input.is_contiguous():
        return _EXTREMES_OF_ALL(input)
    return input.amin(dim, keepdim), input.amax(dim, keepdim)


_EXTREMES = named("aminmax", _extremes)


@composite("aminmax")
def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along a dimension: a pair (min, max).

    Reference: ``torch.aminmax``.
    """
    if dim is None:
        if not input.numel():
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
            )
        dim_: Any = ()
    else:
        dim_ = wrap_dim(dim, input.ndim)
        if input.ndim and not input.shape[dim_]:
            raise IndexError(f"aminmax(): Expected reduction dim {dim_} to have non-zero size.")
    return _EXTREMES(input, dim_, keepdim, out)


def _with_mean(name: str, word: str) -> None:
    part = name.removesuffix("_mean")

    def both(
        input: Any,
        dim: Any = None,
        unbiased: Any = None,
        keepdim: bool = False,
        *,
        correction: Any = None,
        out: Any = None,
    ) -> Any:
        dim, correction = spread_arguments(dim, unbiased, correction)
        first = FUNCTIONS[part](input, dim, None, keepdim, correction=correction)
        mean = input.mean(dim, keepdim) if dim is not None else input.mean(dim=None, keepdim=keepdim)
        return (first, mean) if out is None else write_out(name, out, (first, mean))

    both.__name__ = both.__qualname__ = name
    both.__doc__ = f"""The {word} and the mean over all or the given dimensions: a pair.

    The arguments are those of `{part}`. Reference: ``torch.{name}``.
    """
    composite(name, method=False)(both)


_with_mean("var_mean", "variance")
_with_mean("std_mean", "standard deviation")


# ---------------------------------------------------------------- quantiles

_LARGEST = 1 << 24  # PyTorch refuses larger inputs: ranks are computed in the input's dtype


def _quantile(name: str, input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool) -> Any:
    """Sorts, and takes the two neighbours of each rank."""
    if not isinstance(input, _C.TensorBase):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if not input.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (_dtypes.float32, _dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if isinstance(q, _C.TensorBase):
        if q.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        if not ((q >= 0) & (q <= 1)).all().item():
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = input.new_full((), q)
    ndim = input.ndim
    if dim is None:
        shape: list[int] = [1] * ndim
        lines = input.reshape(-1)
    else:
        dim = wrap_dim(dim, ndim)
        shape = [1 if d == dim else n for d, n in enumerate(input.shape)]
        lines = input.movedim(dim, -1) if ndim else input.reshape(1)
    if lines.numel() > _LARGEST:
        raise RuntimeError(f"{name}() input tensor is too large")
    lines = FUNCTIONS["sort"](lines, -1)[0]
    points = q.reshape(-1)
    if skip_nan:
        valid = lines.isnan().logical_not().sum(-1, True)
        ranks = points * (valid - 1)
        ranks = ranks.masked_fill(ranks < 0, 0)
    else:
        last = lines.shape[-1] - 1
        # a line with NaN has it last: every quantile of it is that
        ranks = FUNCTIONS["where"](lines.narrow(-1, last, 1).isnan(), float(last), points * last)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.to(_dtypes.int64)
    values = lines.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        weights = FUNCTIONS["full_like"](ranks, 0.5) if interpolation == "midpoint" else ranks - below
        above = ranks.ceil().to(_dtypes.int64)
        values = FUNCTIONS["lerp"](values, lines.gather(-1, above), weights)
    # the points of q come first
    values = values.movedim(-1, 0)
    if not keepdim:
        shape = [n for d, n in enumerate(input.shape) if d != dim] if dim is not None else []
    if q.ndim == 0:
        return values.reshape(shape)
    return values.reshape([q.shape[0], *shape])


@composite("quantile")
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear", out: Any = None
) -> Any:
    """The ``q``-th quantiles (``q`` in 0 .. 1, a number or a vector) of all elements or along a dimension.

    ``interpolation``: linear, lower, higher, midpoint or nearest, between the two elements beside the rank. float32 and
    float64 only; NaN if there is one. Reference: ``torch.quantile``.
    """
    return done(_quantile("quantile", input, q, dim, keepdim, interpolation, False), out, "quantile")


@composite("nanquantile")
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear", out: Any = None
) -> Any:
    """`quantile` of what is not NaN. Reference: ``torch.nanquantile``."""
    return done(_quantile("nanquantile", input, q, dim, keepdim, interpolation, True), out, "nanquantile")


# ---------------------------------------------------------------- covariance


@composite("cov")
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariance matrix of variables in rows, observations in columns.

    ``fweights`` are how often each observation counts (integers), ``aweights`` their importance. ``correction`` is
    taken from the number of observations. Reference: ``torch.cov``.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim}")
    if input.dtype is _dtypes.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    count = rows.shape[1]
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        _check_weights(name, given, count)
        weights = given if weights is None else weights * given
    total: Any = count if weights is None else weights.sum()
    if weights is None:
        mean = rows.sum(1) / total
    else:
        mean = (rows * weights).sum(1) / total
        if not total.item():
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    if weights is not None and aweights is not None and correction:
        freedom = total - correction * (weights * aweights).sum() / total
    else:
        freedom = total - correction
    low = freedom <= 0 if not isinstance(freedom, _C.TensorBase) else (freedom <= 0).item()
    if low:
        import warnings

        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
                      "observations.", stacklevel=2)  # fmt: skip
        freedom = 0 if not isinstance(freedom, _C.TensorBase) else freedom * 0
    centred = rows - mean.unsqueeze(1)
    other = centred if weights is None else centred * weights
    return (FUNCTIONS["mm"](centred, other.t().conj()) / freedom).squeeze()


def _check_weights(name: str, weights: Any, count: int) -> None:
    kind = "integral" if name == "fweights" else "floating point"
    if weights.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.ndim}")
    floating = weights.is_floating_point()
    if weights.dtype is _dtypes.bool or weights.is_complex() or floating is (kind == "integral"):
        raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {weights.dtype} dtype")
    if weights.numel() != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {count}"
        )
    if count and weights.min().item() < 0:
        raise RuntimeError(f"cov(): {name} cannot be negative")


@composite("corrcoef")
def corrcoef(input: Any) -> Any:
    """Pearson's correlation coefficients of variables in rows. Reference: ``torch.corrcoef``."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    c = cov(input)
    if not c.ndim:
        return c / c  # of one variable: 1, or NaN
    deviation = c.diagonal().sqrt()
    if deviation.is_complex():
        deviation = deviation.real
    c = c / deviation.unsqueeze(0) / deviation.unsqueeze(1)
    if c.is_complex():
        return FUNCTIONS["complex"](c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


# ---------------------------------------------------------------- distances


@composite("dist")
def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The ``p``-norm of ``input - other``. Reference: ``torch.dist``."""
    return FUNCTIONS["norm"](input - other, p)


@composite("renorm")
def renorm(input: Any, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Any:
    """``input`` with the slices along ``dim`` whose ``p``-norm is above ``maxnorm`` scaled down to it.

    Reference: ``torch.renorm``.
    """
    if isinstance(p, complex) or p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported" if not isinstance(p, complex) else
                           "renorm: p must be real-valued")  # fmt: skip
    if isinstance(maxnorm, complex) or maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    dim = wrap_dim(dim, input.ndim)
    dims = tuple(d for d in range(input.ndim) if d != dim)
    half = input.dtype in (_dtypes.float16, _dtypes.bfloat16)
    norms = FUNCTIONS["norm"](input, p, dims, True, dtype=_dtypes.float32 if half else None)
    factors = FUNCTIONS["where"](norms > maxnorm, maxnorm / (norms + 1e-7), norms.new_ones(()))
    return done(input * factors.to(input.dtype), out, "renorm")


@composite("renorm_", function=False)
def renorm_(self: Any, p: float, dim: int, maxnorm: float) -> Any:
    """`renorm` in place."""
    return self.copy_(renorm(self, p, dim, maxnorm))
