"""Pointwise operations of one tensor."""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

from dumbtorch.ops.samples import S, T, unary, unary_errors
from dumbtorch.ops.table import FUNCTIONS, row

_LN2, _LN10 = log(2.0), log(10.0)
_2_SQRTPI = 2 / sqrt(pi)


def zero(g: Any) -> Any:
    """The gradient of a step function."""
    return g.new_zeros(g.shape)


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


_unary("abs", lambda g, input: g * input.sign(), dtypes="number", aliases=("absolute",), doc="The absolute value.")
_unary("neg", lambda g: -g, dtypes="number", aliases=("negative",), doc="The negative. bool raises RuntimeError.")
_unary("exp", lambda g, out: g * out, doc="e to the power of each element; integers give the default float.")
_unary("exp2", lambda g, out: g * out * _LN2, doc="2 to the power of each element.")
_unary("expm1", lambda g, out: g * (out + 1), doc="``exp(x) - 1``, exact near 0.")
_unary("log", lambda g, input: g / input, 0.1, 3.0, doc="The natural logarithm; NaN below 0.")
_unary("log2", lambda g, input: g / (input * _LN2), 0.1, 3.0, doc="The logarithm to base 2.")
_unary("log10", lambda g, input: g / (input * _LN10), 0.1, 3.0, doc="The logarithm to base 10.")
_unary("log1p", lambda g, input: g / (input + 1), -0.5, 3.0, doc="``log(1 + x)``, exact near 0.")
_unary("sqrt", lambda g, out: g / (2 * out), 0.1, 3.0, doc="The square root; NaN below 0.")
_unary("rsqrt", lambda g, out: -0.5 * g * out * out * out, 0.1, 3.0, doc="``1 / sqrt(x)``.")
_unary("sin", lambda g, input: g * input.cos(), doc="The sine of radians.")
_unary("cos", lambda g, input: g * -input.sin(), doc="The cosine of radians.")
_unary("tan", lambda g, out: g * (1 + out * out), -1.2, 1.2, doc="The tangent of radians.")
_unary("asin", lambda g, input: g * (1 - input * input).rsqrt(), -0.9, 0.9, aliases=("arcsin",),
       doc="The inverse sine; NaN outside -1 .. 1.")  # fmt: skip
_unary("acos", lambda g, input: g * -(1 - input * input).rsqrt(), -0.9, 0.9, aliases=("arccos",),
       doc="The inverse cosine; NaN outside -1 .. 1.")  # fmt: skip
_unary("atan", lambda g, input: g / (input * input + 1), aliases=("arctan",), doc="The inverse tangent.")
_unary("sinh", lambda g, input: g * input.cosh(), doc="The hyperbolic sine.")
_unary("cosh", lambda g, input: g * input.sinh(), doc="The hyperbolic cosine.")
_unary("tanh", lambda g, out: g * (1 - out * out), doc="The hyperbolic tangent.")
_unary("asinh", lambda g, input: g * (input * input + 1).rsqrt(), aliases=("arcsinh",),
       doc="The inverse hyperbolic sine.")  # fmt: skip
_unary("acosh", lambda g, input: g * (input * input - 1).rsqrt(), 1.2, 4.0, aliases=("arccosh",),
       doc="The inverse hyperbolic cosine; NaN below 1.")  # fmt: skip
_unary("atanh", lambda g, input: g / (1 - input * input), -0.9, 0.9, aliases=("arctanh",),
       doc="The inverse hyperbolic tangent; NaN outside -1 .. 1.")  # fmt: skip
_unary("sigmoid", lambda g, out: g * (out * (1 - out)), doc="``1 / (1 + exp(-x))``.")
_unary("erf", lambda g, input: g * (input * input).neg().exp() * _2_SQRTPI, doc="The error function.")
_unary("erfc", lambda g, input: g * (input * input).neg().exp() * -_2_SQRTPI, doc="``1 - erf(x)``, exact for large x.")
_unary("erfinv", lambda g, out: g * (out * out).exp() / _2_SQRTPI, -0.9, 0.9, doc="The inverse of ``erf``.")
_unary("lgamma", lambda g, input: g * input.digamma(), 0.3, 4.0, doc="The logarithm of the absolute gamma function.")
_unary("digamma", lambda g, input: g * input.polygamma(1), 0.3, 4.0, doc="The derivative of ``lgamma``.")
_unary("reciprocal", lambda g, out: -g * out * out, 0.3, 3.0, doc="``1 / x``.")
_unary("square", lambda g, input: g * (2 * input), dtypes="number", doc="``x * x``.")
_unary("floor", zero, dtypes="number", doc="The largest integer not above x.")
_unary("ceil", zero, dtypes="number", doc="The smallest integer not below x.")
_unary("trunc", zero, dtypes="number", aliases=("fix",), doc="x without its fraction.")
_unary("frac", lambda g: g, dtypes="float", doc="The fraction of x, with its sign.")
_unary("sign", zero, dtypes="real", doc="-1, 0 or 1.")
_unary("isnan", dtypes="real", inplace=False, out=False, doc="Which elements are NaN.")
_unary("isinf", dtypes="real", inplace=False, out=False, doc="Which elements are infinite.")
_unary("isfinite", dtypes="real", inplace=False, out=False, doc="Which elements are neither NaN nor infinite.")
_unary("logical_not", dtypes="real", doc="Which elements are zero (False).")
_unary("bitwise_not", dtypes="integral", doc="Each bit inverted; for bool the logical not. Integers and bool only.")
_unary("relu", lambda g, out: FUNCTIONS["where"](out > 0, g, 0), dtypes="number", out=False,
       doc="``max(x, 0)``; NaN stays.")  # fmt: skip

row("polygamma", "input, n", grad={"input": lambda g, input, n: g * input.polygamma(n + 1)}, dtypes="single",
    function=False, inplace=True, out=False, ref="Tensor.polygamma",
    samples=lambda: (S(T(3, 4, low=0.5, high=4.0), 1), S(T(low=0.5, high=4.0), 2)),
    doc="The n-th derivative of ``digamma``.")  # fmt: skip


def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The n-th derivative of ``digamma``, for n >= 0. Reference: ``torch.polygamma``."""
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    result = input.digamma() if n == 0 else input.polygamma(n)
    return result if out is None else out.copy_(result)


FUNCTIONS["polygamma"] = polygamma

row("round", "input, *, decimals=0", grad={"input": zero}, inplace=True, dtypes="number",
    samples=lambda: (S(T(3, 5, low=-9, high=9)), S(T(4, low=-9, high=9), decimals=1, only="single"),
                     S(T(4, values=[0.5, 1.5, 2.5, -0.5]), only="single", smooth=False), S(T(0, 2))),
    errors=unary_errors,
    doc="The nearest integer, halves to even; with ``decimals`` the nearest multiple of its power of ten.")  # fmt: skip


# ---------------------------------------------------------------- activations

_GELU_A, _GELU_B = sqrt(2 / pi), 0.044715
_SQRT1_2, _1_SQRT2PI = 1 / sqrt(2.0), 1 / sqrt(2 * pi)


def _gelu(g: Any, input: Any, approximate: str) -> Any:
    if approximate == "none":
        return g * (0.5 * (1 + (input * _SQRT1_2).erf()) + input * _1_SQRT2PI * (-0.5 * input * input).exp())
    t = (_GELU_A * (input + _GELU_B * input * input * input)).tanh()
    return g * (0.5 * (1 + t) + 0.5 * input * (1 - t * t) * _GELU_A * (1 + 3 * _GELU_B * input * input))


def _silu(g: Any, input: Any) -> Any:
    s = input.sigmoid()
    return g * (s * (1 + input * (1 - s)))


def _mish(g: Any, input: Any) -> Any:
    s = input.sigmoid()
    t = FUNCTIONS["softplus"](input).tanh()
    return g * (t + input * s * (1 - t * t))


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return FUNCTIONS["where"](condition, yes, no)


def _activation(name: str, signature: str, grad: Any, samples: Any, doc: str, **kwargs: Any) -> None:
    row(name, signature, grad={"input": grad}, samples=samples, errors=unary_errors, method=False, out=False,
        ref=f"nn.functional.{name}", doc=doc, **kwargs)  # fmt: skip


_activation("gelu", "input, *, approximate='none'", _gelu,
            lambda: (S(T(3, 5, low=-4, high=4)), S(T(3, 5, low=-4, high=4), approximate="tanh"), S(T()), S(T(0, 2))),
            "``x * Phi(x)``, Phi the normal distribution; ``approximate='tanh'`` its usual approximation.")  # fmt: skip
_activation("silu", "input", _silu, unary(-4, 4), "``x * sigmoid(x)``.", inplace=True)
_activation("mish", "input", _mish, unary(-4, 4), "``x * tanh(softplus(x))``.", inplace=True)
_activation("logsigmoid", "input", lambda g, input: g * (-input).sigmoid(), unary(-4, 4), "``log(sigmoid(x))``.")
_activation("softplus", "input, beta=1.0, threshold=20.0",
            lambda g, input, beta, threshold: _where(input * beta > threshold, g, g * (input * beta).sigmoid()),
            lambda: (S(T(3, 5, low=-4, high=4)), S(T(4), beta=2.0, threshold=1.0), S(T()), S(T(0, 2))),
            "``log(1 + exp(beta x)) / beta``, and x itself where ``beta x > threshold``.")  # fmt: skip
_activation("elu", "input, alpha=1.0, scale=1.0, input_scale=1.0",
            lambda g, input, alpha, scale, input_scale: _where(
                input > 0, g * scale, g * (input * input_scale).exp() * (alpha * scale * input_scale)),
            lambda: (S(T(3, 5)), S(T(4), alpha=0.5), S(T()), S(T(0, 2))),
            "x above 0, else ``alpha * (exp(x) - 1)``.", inplace=True)  # fmt: skip
_activation("leaky_relu", "input, negative_slope=0.01",
            lambda g, input, negative_slope: _where(input > 0, g, g * negative_slope),
            lambda: (S(T(3, 5)), S(T(4), negative_slope=0.3), S(T()), S(T(0, 2))),
            "x above 0, else ``negative_slope * x``.", inplace=True)  # fmt: skip
_activation("hardtanh", "input, min_val=-1.0, max_val=1.0",
            lambda g, input, min_val, max_val: _where((input > min_val).logical_and(input < max_val), g, 0),
            lambda: (S(T(3, 5)), S(T(4), min_val=-0.5, max_val=0.3), S(T()), S(T(0, 2))),
            "x clamped to ``min_val`` .. ``max_val``.", inplace=True)  # fmt: skip
