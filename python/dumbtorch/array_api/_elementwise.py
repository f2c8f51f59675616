"""Elementwise functions of the standard."""

from __future__ import annotations

import builtins
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.array_api._array import given, made, pair

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "conj", "copysign", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot", "imag",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "nextafter", "not_equal",
    "positive", "pow", "real", "reciprocal", "remainder", "round", "sign", "signbit", "sin", "sinh", "sqrt", "square",
    "subtract", "tan", "tanh", "trunc",
]  # fmt: skip


def _unary(name: str, op: Any = None) -> Any:
    compute = ops.FUNCTIONS[name] if op is None else op

    def function(x: Any, /) -> Any:
        return made(compute(given(x)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{name}`` of every element, as the array API standard has it."
    return function


def _binary(name: str, op: str | None = None) -> Any:
    compute = ops.FUNCTIONS[op or name]

    def function(x1: Any, x2: Any, /) -> Any:
        return made(compute(*pair(x1, x2)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{name}`` of elements of two arrays, or of an array and a number, in their common dtype."
    return function


acos, acosh, asin, asinh, atan, atanh = map(_unary, ("acos", "acosh", "asin", "asinh", "atan", "atanh"))
cos, cosh, sin, sinh, tan, tanh = map(_unary, ("cos", "cosh", "sin", "sinh", "tan", "tanh"))
exp, log, log10, log1p, log2 = map(_unary, ("exp", "log", "log10", "log1p", "log2"))
isfinite, isinf, isnan, signbit = map(_unary, ("isfinite", "isinf", "isnan", "signbit"))
logical_not, reciprocal, sqrt, square = map(_unary, ("logical_not", "reciprocal", "sqrt", "square"))
bitwise_invert = _unary("bitwise_invert", ops.FUNCTIONS["bitwise_not"])
abs = _unary("abs", lambda x: x.clone() if x.dtype is _dtypes.bool else ops.FUNCTIONS["abs"](x))
negative = _unary("negative", ops.FUNCTIONS["neg"])
positive = _unary("positive", lambda x: x.clone())
conj = _unary("conj", lambda x: ops.FUNCTIONS["conj_physical"](x) if x.is_complex() else x.clone())
real = _unary("real", lambda x: ops.FUNCTIONS["real"](x).clone())
imag = _unary("imag", lambda x: ops.FUNCTIONS["imag"](x).clone() if x.is_complex() else ops.zeros_like(x))


def _rounding(name: str) -> Any:
    op = ops.FUNCTIONS[name]
    return _unary(name, lambda x: op(x) if x.is_floating_point() else x.clone())


ceil, floor, trunc = map(_rounding, ("ceil", "floor", "trunc"))

add, multiply, copysign, hypot, logaddexp, maximum, minimum, nextafter, atan2 = map(
    _binary, ("add", "mul", "copysign", "hypot", "logaddexp", "maximum", "minimum", "nextafter", "atan2")
)
subtract, divide, pow = _binary("subtract", "sub"), _binary("divide", "div"), _binary("pow")
logical_and, logical_or, logical_xor = map(_binary, ("logical_and", "logical_or", "logical_xor"))
bitwise_and, bitwise_or, bitwise_xor = map(_binary, ("bitwise_and", "bitwise_or", "bitwise_xor"))
bitwise_left_shift, bitwise_right_shift = _binary("bitwise_left_shift"), _binary("bitwise_right_shift")
equal, not_equal = _binary("equal", "eq"), _binary("not_equal", "ne")
less, less_equal = _binary("less", "lt"), _binary("less_equal", "le")
greater, greater_equal = _binary("greater", "gt"), _binary("greater_equal", "ge")


def expm1(x: Any, /) -> Any:
    """``exp(x) - 1``, exact near 0; a zero real part of a complex result is positive."""
    result = ops.expm1(given(x))
    return made(ops.FUNCTIONS["complex"](result.real + 0.0, result.imag) if result.is_complex() else result)


def round(x: Any, /) -> Any:
    """The nearest integers, halves to the even one; of complex numbers, of both parts."""
    x = given(x)
    if x.is_complex():
        return made(ops.FUNCTIONS["complex"](x.real.round(), x.imag.round()))
    return made(x.round() if x.is_floating_point() else x.clone())


def sign(x: Any, /) -> Any:
    """-1, 0 or 1; NaN stays; of a complex number, its direction."""
    x = given(x)
    if x.is_complex():
        return made(ops.sgn(x))
    result = x.sign()
    return made(ops.where(x.isnan(), x, result) if x.is_floating_point() else result)


def remainder(x1: Any, x2: Any, /) -> Any:
    """What floor division leaves, with the sign of the divisor, that of zeros among it."""
    x1, x2 = pair(x1, x2)
    result = ops.remainder(x1, x2)
    return made(ops.where(result == 0, ops.copysign(result, x2), result) if x1.is_floating_point() else result)


def floor_divide(x1: Any, x2: Any, /) -> Any:
    """The quotient rounded down; infinite where the quotient is, and a zero has its sign."""
    x1, x2 = pair(x1, x2)
    result = ops.floor_divide(x1, x2)
    if not x1.is_floating_point():
        return made(result)
    quotient = x1 / x2
    special = ops.isinf(x1) | ops.isinf(x2) | (quotient == 0)
    return made(ops.where(special, ops.floor(quotient), result))


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """The elements held between two bounds, in the dtype of ``x``; None leaves a side open."""
    x = given(x)
    result = x
    for bound, op in ((min, ops.maximum), (max, ops.minimum)):
        if bound is None:
            continue
        if not isinstance(bound, Tensor):
            if not (x.is_floating_point() or x.dtype is _dtypes.bool):
                limits = _dtypes.iinfo(x.dtype)
                bound = builtins.min(builtins.max(bound, limits.min), limits.max)
            bound = ops.full((), bound, dtype=x.dtype, device=x.device)
        result = op(result, bound.to(x.dtype))
    return made(result.clone() if result is x else result)
