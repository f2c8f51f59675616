"""Running results along a dimension, and differences: cumprod, cummax, cummin, logcumsumexp, diff, trapezoid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.results import done, named
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite, row


def _errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")
    yield S("text", error="TypeError")


def _samples() -> Any:
    yield S(T(3, 4), 1)
    yield S(T(3, 20, 2), 0)
    yield S(T(3, 37), -1)
    yield S(T(), 0)
    yield S(T(0, 3), 0)
    yield S(T(3, 0), 0)


# ---------------------------------------------------------------- running products, extremes, log-sum-exps


def _cumprod(g: Any, input: Any, out: Any, dim: int) -> Any:
    """Without zeros the running sum from the end of ``g * out``, over ``input``.

    With zeros each product without one of its factors is written out, so that it differentiates.
    """
    if not input.ndim:
        return g
    if not (input == 0).any().item():
        return (g * out.conj()).flip(dim).cumsum(dim).flip(dim) / input.conj()
    count = input.shape[dim]
    last = input.movedim(dim, -1)
    index = FUNCTIONS["arange"](count, device=input.device)
    factor, product = index.unsqueeze(1), index.unsqueeze(0)
    # [..., i, j]: the product of the first j + 1 factors without the i-th
    others = last.unsqueeze(-2).expand(*last.shape[:-1], count, count).masked_fill(factor == product, 1).cumprod(-1)
    others = others.masked_fill(product < factor, 0)
    return (g.movedim(dim, -1).unsqueeze(-2) * others.conj()).sum(-1).movedim(-1, dim)


row("cumprod", "input, dim, *, dtype=None", dtypes="any", casts=True, inplace=True, grad={
        "input": lambda g, input, out, input_dtype, dim: _cumprod(g, input.to(g.dtype), out, dim).to(input_dtype),
    }, samples=lambda: (*_samples(), S(T(values=[[1.5, 0.0, 2.0, 3.0], [0.0, 0.0, 3.0, 1.0]]), 1, only="single")),
    errors=_errors, doc="The running product along a dimension; integers and bool give int64.")  # fmt: skip


def _scattered(g: Any, indices: Any, shape: Any, dim: int) -> Any:
    return g[0].new_zeros(shape).scatter_add(dim, indices, g[0]) if shape else g[0]


for _name, _word in (("cummax", "largest"), ("cummin", "smallest")):
    _op = row(_name, "input, dim", outputs=("values", "indices"), differentiable=(0,), out=False, function=False,
        method=False, dtypes="real", samples=_samples, errors=_errors,
        grad={"input": lambda g, indices, input_shape, dim: _scattered(g, indices, input_shape, dim)},
        doc=f"The {_word} element so far along a dimension, and where it is (the last of equals); NaN stays.",
    )  # fmt: skip

    def _running(along: Any, name: str, word: str) -> None:
        def running(input: Any, dim: int, *, out: Any = None) -> Any:
            return along(input, dim, out)

        running.__name__ = running.__qualname__ = name
        running.__doc__ = f"""The {word} element so far along a dimension: a pair (values, indices).

        Of equal elements the last counts; a NaN stays. Reference: ``torch.{name}``.
        """
        composite(name)(running)

    _running(named(_name, _op), _name, _word)


def _logcumsumexp(g: Any, input: Any, out: Any, dim: int) -> Any:
    """Positive and negative gradients apart, since both are summed as logarithms; complex ones have them all."""
    if not input.ndim:
        return g
    if input.is_complex():
        return ((g.conj().log() - out).flip(dim).logcumsumexp(dim).flip(dim) + input).exp().conj()

    def back(positive: Any, part: Any) -> Any:
        # where a part has nothing its logarithm is -inf, and neither it nor `out` is asked for a derivative
        safe, total = FUNCTIONS["where"](positive, part, 1.0), FUNCTIONS["where"](positive, out, 0.0)
        logs = (safe.log() - total).masked_fill(positive.logical_not(), float("-inf"))
        return (logs.flip(dim).logcumsumexp(dim).flip(dim) + input).exp()

    return back(g > 0, g) - back(g < 0, -g)


row("logcumsumexp", "input, dim", dtypes="float+complex",
    grad={"input": lambda g, input, out, dim: _logcumsumexp(g, input, out, dim)},
    samples=_samples, errors=_errors,
    doc="``log(cumsum(exp(input)))`` along a dimension, without overflow.")  # fmt: skip


# ---------------------------------------------------------------- differences


@composite("diff")
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *, out: Any = None) -> Any:
    """The ``n``-th differences of neighbours along a dimension, of ``prepend``, ``input`` and ``append`` joined.

    Those of bool are "differs". Reference: ``torch.diff``.
    """
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = wrap_dim(dim, input.ndim)
    for name, extra in (("prepend", prepend), ("append", append)):
        if extra is None:
            continue
        if extra.ndim != input.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        for place, size in enumerate(extra.shape):
            if place != dim and size != input.shape[place]:
                raise RuntimeError(
                    f"diff expects the shape of tensor to prepend or append to match that of input except along the "
                    f"differencing dimension; input.size({place}) = {input.shape[place]}, but got "
                    f"{name}.size({place}) = {size}"
                )
    if n:
        parts = [part for part in (prepend, input, append) if part is not None]
        if len(parts) > 1:
            input = FUNCTIONS["cat"](parts, dim)
    else:
        return done(FUNCTIONS["zeros_like"](input) if input.shape[dim] == 0 else input.clone(), out, "diff")
    for _ in range(min(n, input.shape[dim])):
        size = input.shape[dim]
        later, earlier = input.narrow(dim, 1, size - 1), input.narrow(dim, 0, size - 1)
        input = later.logical_xor(earlier) if input.dtype is _dtypes.bool else later - earlier
    return done(input, out, "diff")


def _spacing(y: Any, x: Any, dim: int, name: str) -> Any:
    """The distances between sample points ``x``, shaped to multiply neighbours of ``y`` along ``dim``."""
    if x.ndim == 1:
        if x.shape[0] != y.shape[dim]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        return x.diff().reshape(-1, *(1,) * (y.ndim - 1 - dim))
    if x.ndim == y.ndim and dim < x.ndim and x.shape[dim] == y.shape[dim]:
        return x.diff(dim=dim)
    if x.ndim < y.ndim:
        x = x.reshape(*(1,) * (y.ndim - x.ndim), *x.shape)
    return x.diff(dim=dim)


def _trapezoids(y: Any, x: Any, dx: Any, dim: int, name: str) -> tuple[Any, int]:
    """Twice the areas between neighbours along a dimension."""
    dim = wrap_dim(dim, y.ndim)
    size = y.shape[dim] if y.ndim else 1
    sums = y.narrow(dim, 1, size - 1) + y.narrow(dim, 0, size - 1)
    if x is not None:
        return _spacing(y, x, dim, name) * sums, dim
    return sums * dx, dim


def _integral_arguments(name: str, y: Any, x: Any, dx: Any) -> tuple[Any, Any, Any]:
    if x is not None and not isinstance(x, _C.TensorBase):
        raise TypeError(f"{name}(): argument 'x' must be Tensor, not {type(x).__name__}")
    if x is not None and dx is not None:
        raise TypeError(f"{name}() received an invalid combination of arguments: either x or dx, not both")
    kind = y.dtype
    if kind is _dtypes.bool or (x is not None and x.dtype is _dtypes.bool):
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if isinstance(dx, (complex, bool)):
        raise RuntimeError(f"{name}: Currently, we only support dx as a real number.")
    return y, x, 1.0 if dx is None else dx


@composite("trapezoid", "trapz", method=False)
def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral along a dimension by the trapezoid rule, over points ``x`` or steps of ``dx``.

    Reference: ``torch.trapezoid``.
    """
    y, x, dx = _integral_arguments("trapezoid", y, x, dx)
    if not y.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    size = y.shape[wrap_dim(dim, y.ndim)]
    if size == 0:
        return y.sum(dim) * 1.0
    areas, dim = _trapezoids(y, x, dx, dim, "trapezoid")
    return areas.sum(dim - y.ndim) / 2.0


@composite("cumulative_trapezoid", method=False)
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The running integral along a dimension by the trapezoid rule. Reference: ``torch.cumulative_trapezoid``."""
    y, x, dx = _integral_arguments("cumulative_trapezoid", y, x, dx)
    areas, dim = _trapezoids(y, x, dx, dim, "cumulative_trapezoid")
    return areas.cumsum(dim - y.ndim) / 2.0


# ---------------------------------------------------------------- gradients of sampled functions


@composite("gradient", method=False)
def gradient(input: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    """The derivatives of a sampled function along dimensions: second-order differences, of ``edge_order`` at the ends.

    ``spacing`` is a number (1), or a number or a vector of coordinates for each dimension.
    Reference: ``torch.gradient``.
    """
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [wrap_dim(d, input.ndim) for d in dims]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim {dims} appears multiple times in the list of dims")
    if input.dtype is _dtypes.uint8 or input.dtype is _dtypes.bool:
        raise RuntimeError(f"torch.gradient does not support {input.dtype} input.")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    spacing = 1 if spacing is None else spacing
    steps = list(spacing) if isinstance(spacing, Sequence) else [spacing] * len(dims)
    if isinstance(spacing, _C.TensorBase):
        steps = [spacing]
    if len(steps) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = "
            f"{input.ndim}' or 'dim', but got a list of length {len(steps)}"
        )
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                f"torch.gradient expected each dimension size to be at least edge_order+1 ({edge_order + 1})"
            )
    return tuple(_gradient(input, step, d, edge_order) for step, d in zip(steps, dims, strict=True))


def _gradient(y: Any, step: Any, dim: int, edge_order: int) -> Any:
    """One of them: https://numpy.org/doc/stable/reference/generated/numpy.gradient.html has the formulas."""
    n = y.shape[dim]

    def part(start: int, count: int) -> Any:
        return y.narrow(dim, start, count)

    if not isinstance(step, _C.TensorBase):
        inner = (part(2, n - 2) - part(0, n - 2)) / (2 * step)
        if edge_order == 1:
            first, last = (part(1, 1) - part(0, 1)) / step, (part(n - 1, 1) - part(n - 2, 1)) / step
        else:
            first = (-1.5 * part(0, 1) + 2.0 * part(1, 1) - 0.5 * part(2, 1)) / step
            last = (1.5 * part(n - 1, 1) - 2.0 * part(n - 2, 1) + 0.5 * part(n - 3, 1)) / step
        return FUNCTIONS["cat"]([first, inner, last], dim)
    if step.ndim != 1 or step.shape[0] != n:
        raise RuntimeError(
            f"torch.gradient expected each tensor in spacing to have one dimension and the size of the dimension of "
            f"input that it corresponds to, {n}, but got {list(step.shape)}"
        )
    if not y.is_floating_point() and not y.is_complex():
        y = y.to(_dtypes.get_default_dtype())
    gaps = step.diff().to(y.dtype)
    shape = (-1, *(1,) * (y.ndim - 1 - dim))
    before, after = gaps[:-1].reshape(shape), gaps[1:].reshape(shape)
    a = -after / (before * (before + after))
    b = (after - before) / (before * after)
    c = before / (after * (before + after))
    inner = a * part(0, n - 2) + b * part(1, n - 2) + c * part(2, n - 2)
    if edge_order == 1:
        first, last = (part(1, 1) - part(0, 1)) / gaps[0], (part(n - 1, 1) - part(n - 2, 1)) / gaps[-1]
    else:
        p, q = gaps[0], gaps[1]
        first = (-(2 * p + q) / (p * (p + q)) * part(0, 1) + (p + q) / (p * q) * part(1, 1)
                 - p / (q * (p + q)) * part(2, 1))  # fmt: skip
        p, q = gaps[-2], gaps[-1]
        last = (q / (p * (p + q)) * part(n - 3, 1) - (q + p) / (p * q) * part(n - 2, 1)
                + (2 * q + p) / (q * (p + q)) * part(n - 1, 1))  # fmt: skip
    return FUNCTIONS["cat"]([first, inner, last], dim)
