"""Pointwise operations of one tensor."""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

from dumbtorch import _C
from dumbtorch.ops.samples import S, T, unary, unary_errors
from dumbtorch.ops.table import FUNCTIONS, row

_LN2, _LN10 = log(2.0), log(10.0)
_2_SQRTPI = 2 / sqrt(pi)


def zero(g: Any) -> Any:
    """The gradient of a step function."""
    return g.new_zeros(g.shape)


def conj(value: Any) -> Any:
    """The conjugate of a tensor or a Python number; a real one itself."""
    return value.conj() if isinstance(value, _C.TensorBase) else value.conjugate()


def _unary(
    name: str,
    grad: Any = None,
    low: float = -2.0,
    high: float = 2.0,
    dtypes: str = "real+float",
    inplace: bool = True,
    **kwargs: Any,
) -> Any:
    return row(
        name, "input", grad={"input": grad} if grad else None, inplace=inplace, dtypes=dtypes,
        samples=unary(low, high), errors=unary_errors, **kwargs,
    )  # fmt: skip


def _tanh(g: Any, out: Any) -> Any:
    return g * (1 - out * out).conj() if out.is_complex() else FUNCTIONS["tanh_backward"](g, out)


def _sigmoid(g: Any, out: Any) -> Any:
    return g * (out * (1 - out)).conj() if out.is_complex() else FUNCTIONS["sigmoid_backward"](g, out)


def _acosh(input: Any) -> Any:
    """Roots one by one: the branch cut of the root of their product is elsewhere for complex numbers."""
    return (input * input - 1).rsqrt() if not input.is_complex() else (input - 1).rsqrt() * (input + 1).rsqrt()


def _sgn(g: Any, input: Any, out: Any) -> Any:
    """What is perpendicular to the direction, over the size; 0 for real numbers."""
    if not input.is_complex():
        return zero(g)
    along = (g * out.conj()).real * out
    return ((g - along) / input.abs()).masked_fill(input == 0, 0)


_unary(
    "abs", lambda g, input: g * input.sgn(), dtypes="number+complex", aliases=("absolute",), doc="The absolute value."
)
_unary(
    "neg", lambda g: -g, dtypes="number+complex", aliases=("negative",), doc="The negative. bool raises RuntimeError."
)
_unary(
    "exp",
    lambda g, out: g * out.conj(),
    dtypes="any",
    doc="e to the power of each element; integers give the default float.",
)
_unary("exp2", lambda g, out: g * (out.conj() * _LN2), dtypes="any", doc="2 to the power of each element.")
_unary("expm1", lambda g, out: g * (out.conj() + 1), dtypes="any", doc="``exp(x) - 1``, exact near 0.")
_unary("log", lambda g, input: g / input.conj(), 0.1, 3.0, dtypes="any", doc="The natural logarithm; NaN below 0.")
_unary("log2", lambda g, input: g / (input.conj() * _LN2), 0.1, 3.0, dtypes="any", doc="The logarithm to base 2.")
_unary("log10", lambda g, input: g / (input.conj() * _LN10), 0.1, 3.0, dtypes="any", doc="The logarithm to base 10.")
_unary("log1p", lambda g, input: g / (input.conj() + 1), -0.5, 3.0, dtypes="any", doc="``log(1 + x)``, exact near 0.")
_unary("sqrt", lambda g, out: g / (2 * out.conj()), 0.1, 3.0, dtypes="any", doc="The square root; NaN below 0.")
_unary("rsqrt", lambda g, out: -0.5 * g * (out * out * out).conj(), 0.1, 3.0, dtypes="any", doc="``1 / sqrt(x)``.")
_unary("sin", lambda g, input: g * input.cos().conj(), dtypes="any", doc="The sine of radians.")
_unary("cos", lambda g, input: g * -input.sin().conj(), dtypes="any", doc="The cosine of radians.")
_unary("tan", lambda g, out: g * (1 + out * out).conj(), -1.2, 1.2, dtypes="any", doc="The tangent of radians.")
_unary("asin", lambda g, input: g * (1 - input * input).rsqrt().conj(), -0.9, 0.9, dtypes="any", aliases=("arcsin",),
       doc="The inverse sine; NaN outside -1 .. 1.")  # fmt: skip
_unary("acos", lambda g, input: g * -(1 - input * input).rsqrt().conj(), -0.9, 0.9, dtypes="any", aliases=("arccos",),
       doc="The inverse cosine; NaN outside -1 .. 1.")  # fmt: skip
_unary(
    "atan",
    lambda g, input: g / (input * input + 1).conj(),
    dtypes="any",
    aliases=("arctan",),
    doc="The inverse tangent.",
)
_unary("sinh", lambda g, input: g * input.cosh().conj(), dtypes="any", doc="The hyperbolic sine.")
_unary("cosh", lambda g, input: g * input.sinh().conj(), dtypes="any", doc="The hyperbolic cosine.")
_unary("tanh", lambda g, out: _tanh(g, out), dtypes="any", doc="The hyperbolic tangent.")
_unary("asinh", lambda g, input: g * (input * input + 1).rsqrt().conj(), dtypes="any", aliases=("arcsinh",),
       doc="The inverse hyperbolic sine.")  # fmt: skip
_unary("acosh", lambda g, input: g * _acosh(input).conj(), 1.2, 4.0, dtypes="any", aliases=("arccosh",),
       doc="The inverse hyperbolic cosine; NaN below 1.")  # fmt: skip
_unary("atanh", lambda g, input: g / (1 - input * input).conj(), -0.9, 0.9, dtypes="any", aliases=("arctanh",),
       doc="The inverse hyperbolic tangent; NaN outside -1 .. 1.")  # fmt: skip
_unary("sigmoid", lambda g, out: _sigmoid(g, out), dtypes="any", doc="``1 / (1 + exp(-x))``.")
_unary("erf", lambda g, input: g * (input * input).neg().exp() * _2_SQRTPI, doc="The error function.")
_unary("erfc", lambda g, input: g * (input * input).neg().exp() * -_2_SQRTPI, doc="``1 - erf(x)``, exact for large x.")
_unary("erfinv", lambda g, out: g * (out * out).exp() / _2_SQRTPI, -0.9, 0.9, doc="The inverse of ``erf``.")
_unary("lgamma", lambda g, input: g * input.digamma(), 0.3, 4.0, doc="The logarithm of the absolute gamma function.")
_unary("digamma", lambda g, input: g * input.polygamma(1), 0.3, 4.0, doc="The derivative of ``lgamma``.")
_unary("reciprocal", lambda g, out: -g * (out * out).conj(), 0.3, 3.0, dtypes="any", doc="``1 / x``.")
_unary("square", lambda g, input: g * (2 * input.conj()), dtypes="number+complex", doc="``x * x``.")
_unary("floor", zero, dtypes="number", doc="The largest integer not above x.")
_unary("ceil", zero, dtypes="number", doc="The smallest integer not below x.")
_unary("trunc", zero, dtypes="number", aliases=("fix",), doc="x without its fraction.")
_unary("frac", lambda g: g, dtypes="float", doc="The fraction of x, with its sign.")
_unary("sign", zero, dtypes="real", doc="-1, 0 or 1.")
_unary("isnan", dtypes="any", inplace=False, out=False, doc="Which elements are NaN.")
_unary("isinf", dtypes="any", inplace=False, out=False, doc="Which elements are infinite.")
_unary("isfinite", dtypes="any", inplace=False, out=False, doc="Which elements are neither NaN nor infinite.")
_unary("logical_not", dtypes="any", doc="Which elements are zero (False).")
_unary("bitwise_not", dtypes="integral", doc="Each bit inverted; for bool the logical not. Integers and bool only.")
_unary("relu", lambda g, out: FUNCTIONS["threshold_backward"](g, out, 0), dtypes="number", out=False,
       doc="``max(x, 0)``; NaN stays.")  # fmt: skip
_unary(
    "positive",
    lambda g: g,
    dtypes="number+complex",
    inplace=False,
    out=False,
    doc="The tensor itself. bool raises RuntimeError.",
)
_unary(
    "sgn",
    lambda g, input, out: _sgn(g, input, out),
    dtypes="any",
    doc="-1, 0 or 1 (the direction, for complex numbers).",
)
_unary("signbit", dtypes="real", inplace=False, doc="Which elements have their sign bit set (-0.0 too).")
_unary("isposinf", dtypes="real", inplace=False, doc="Which elements are positive infinity.")
_unary("isneginf", dtypes="real", inplace=False, doc="Which elements are negative infinity.")


row("round", "input, *, decimals=0", grad={"input": zero}, inplace=True, dtypes="number",
    samples=lambda: (S(T(3, 5, low=-9, high=9)), S(T(4, low=-9, high=9), decimals=1, only="single"),
                     S(T(4, values=[0.5, 1.5, 2.5, -0.5]), only="single", smooth=False), S(T(0, 2))),
    errors=unary_errors,
    doc="The nearest integer, halves to even; with ``decimals`` the nearest multiple of its power of ten.")  # fmt: skip
