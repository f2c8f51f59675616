"""Pointwise operations beyond arithmetic: of integers, of the parts of numbers, of logarithms and powers."""

from __future__ import annotations

from math import pi
from typing import Any

from dumbtorch import _C, _dtypes, return_types
from dumbtorch.ops.binary import where_
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T, binary, binary_errors, unary, unary_errors
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row
from dumbtorch.ops.unary import zero


def _binary(name: str, grad: Any = None, *, doc: str, **kwargs: Any) -> Any:
    kwargs.setdefault("samples", binary())
    kwargs.setdefault("errors", binary_errors)
    return row(name, "input, other", grad=grad, broadcast=True, doc=doc, **kwargs)


# ---------------------------------------------------------------- integers

_binary("gcd", inplace=True, dtypes="int", samples=binary(-30, 30), doc="The greatest common divisor of integers.")
_binary("lcm", inplace=True, dtypes="int", samples=binary(-9, 9), doc="The least common multiple of integers.")
row("rsub", "input, other, *, alpha=1", broadcast=True, method=False, out=False, dtypes="number",
    grad={"input": lambda g, alpha: -g if alpha == 1 else -g * alpha, "other": lambda g: g},
    samples=lambda: (*binary()(), S(T(3, 4), T(3, 4), alpha=2), S(T(3, 4), 2)), errors=binary_errors,
    doc="``other - alpha * input``.")  # fmt: skip


# ---------------------------------------------------------------- logarithms and powers


def _log_of_product(name: str, at: float, slope: Any) -> dict[str, Any]:
    """The derivatives of ``x * log(y - at)``, which is 0 for x = 0 even where the logarithm is none."""

    def of_input(g: Any, input: Any, other: Any) -> Any:
        return TABLE[name].op(g, other).masked_fill((input == 0) & (other <= at), 0)

    return {"input": of_input, "other": lambda g, input, other: g * (input / slope(other))}


_binary("xlogy", _log_of_product("xlogy", 0, lambda y: y), inplace=True, dtypes="real+float",
        samples=lambda: (*binary(-2, 2, 0.3, 3)(), S(T(3, 4), 2.5), S(1.5, T(3, 4, low=0.3, high=3)),
                         S(T(3, values=[0.0, 0.0, 0.0]), T(3, values=[0.0, -1.0, 2.0]), only="float", smooth=False)),
        errors=lambda: (S(T(3, 4), T(3, 5), error="RuntimeError"), S(T(3), "text", error="TypeError")),
        doc="``input * log(other)``, 0 where ``input`` is 0 unless ``other`` is NaN.")  # fmt: skip
_binary("special_xlog1py", _log_of_product("special_xlog1py", -1, lambda y: y + 1), function=False, method=False,
        dtypes="real+float", ref="special.xlog1py",
        samples=lambda: (*binary(-2, 2, -0.6, 3)(), S(T(3, 4), 2.5), S(1.5, T(3, 4, low=-0.6, high=3))),
        errors=lambda: (S(T(3, 4), T(3, 5), error="RuntimeError"), S(T(3), "text", error="TypeError")),
        doc="``input * log1p(other)``, 0 where ``input`` is 0 unless ``other`` is NaN.")  # fmt: skip
_binary("logaddexp", {
            "input": lambda g, input, other: g / ((other - input).exp() + 1).conj(),
            "other": lambda g, input, other: g / ((input - other).exp() + 1).conj(),
        }, dtypes="float+complex", doc="``log(exp(input) + exp(other))`` without overflow.")  # fmt: skip
_binary("logaddexp2", {
            "input": lambda g, input, other: g / ((other - input).exp2() + 1),
            "other": lambda g, input, other: g / ((input - other).exp2() + 1),
        }, doc="``log2(2**input + 2**other)`` without overflow.")  # fmt: skip


def _float_power_dtype(*operands: Any) -> Any:
    for operand in operands:
        inexact = operand.dtype.is_complex if isinstance(operand, _C.TensorBase) else isinstance(operand, complex)
        if inexact:
            return _dtypes.complex128
    return _dtypes.float64


@composite()
def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input ** exponent`` in float64 (complex128), whatever the dtypes; one of them may be a number.

    Reference: ``torch.float_power``.
    """
    if not isinstance(input, _C.TensorBase) and not isinstance(exponent, _C.TensorBase):
        raise TypeError("float_power(): one of the arguments 'input' and 'exponent' must be Tensor")
    kind = _float_power_dtype(input, exponent)
    if out is not None and out.dtype is not kind:
        raise RuntimeError(
            f"the output given to float_power has dtype {_name(out.dtype)} but the operation's result requires dtype "
            f"{_name(kind)}"
        )
    base, power = (v.to(kind) if isinstance(v, _C.TensorBase) else v for v in (input, exponent))
    named = {} if out is None else {"out": out}
    return FUNCTIONS["pow"](base, power, **named)


@composite("float_power_", function=False)
def float_power_(self: Any, exponent: Any) -> Any:
    """``float_power`` in place: RuntimeError unless the tensor has the dtype of the result."""
    kind = _float_power_dtype(self, exponent)
    if self.dtype is not kind:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {_name(self.dtype)} but the operation's result requires dtype "
            f"{_name(kind)}"
        )
    return self.pow_(exponent.to(kind) if isinstance(exponent, _C.TensorBase) else exponent)


def _name(kind: Any) -> str:
    return _dtypes.TYPE_NAMES[kind]


def _tensors(name: str, input: Any, other: Any) -> None:
    for position, (what, value) in enumerate((("input", input), ("other", other)), 1):
        if not isinstance(value, _C.TensorBase):
            kind = type(value).__name__
            raise TypeError(f"{name}(): argument '{what}' (position {position}) must be Tensor, not {kind}")


@composite()
def ldexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * 2**other``. Reference: ``torch.ldexp``."""
    _tensors("ldexp", input, other)
    named = {} if out is None else {"out": out}
    return FUNCTIONS["mul"](input, FUNCTIONS["pow"](2.0, other), **named)


@composite("ldexp_")
def ldexp_(self: Any, other: Any) -> Any:
    """``ldexp`` in place."""
    return self.mul_(FUNCTIONS["pow"](2.0, other))


def _scaling(name: str, factor: float, doc: str) -> None:
    def check(input: Any) -> None:
        if input.dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")

    def scaled(input: Any, *, out: Any = None) -> Any:
        check(input)
        return input.mul(factor) if out is None else FUNCTIONS["mul"](input, factor, out=out)

    def scaled_(self: Any) -> Any:
        check(self)
        return self.mul_(factor)

    scaled.__name__ = scaled.__qualname__ = name
    scaled.__doc__ = f"{doc} Reference: ``torch.{name}``."
    composite(name)(scaled)
    scaled_.__name__ = scaled_.__qualname__ = name + "_"
    scaled_.__doc__ = f"``{name}`` in place."
    composite(name + "_")(scaled_)


_scaling("deg2rad", pi / 180, "Degrees as radians.")
_scaling("rad2deg", 180 / pi, "Radians as degrees.")


@composite("__rdiv__", function=False)
def _divided(self: Any, other: Any) -> Any:
    """``other / self``, by the name that Python 2 had for it."""
    return self.reciprocal() * other


# ---------------------------------------------------------------- the parts of numbers

_binary("nextafter", {
            "input": lambda g, input, other: where_(input != other, g, 0), "other": lambda g: zero(g),
        }, inplace=True, dtypes="single", doc="The next number after ``input`` towards ``other``.")  # fmt: skip
row("heaviside", "input, values", broadcast=True, inplace=True, dtypes="real", errors=binary_errors,
    samples=lambda: (*binary()(), S(T(4, values=[0, 1, 0, 0]), T(4))),
    doc="0 where ``input`` is negative, 1 where it is positive, ``values`` where it is 0.")  # fmt: skip
_FREXP: Any = row(
    "frexp", "input", outputs=("mantissa", "exponent"), differentiable=(0,), out=False, function=False, method=False,
    grad={"input": lambda g, exponent: g[0] / exponent.to(g[0].dtype).exp2()}, samples=unary(), errors=unary_errors,
    doc="A mantissa in (-1, -1/2], [1/2, 1) or 0, and an exponent (int32): ``input == mantissa * 2**exponent``.",
)  # fmt: skip


@composite()
def frexp(input: Any, *, out: Any = None) -> Any:
    """The mantissa and the exponent (int32) of floating-point numbers: ``(mantissa, exponent)``.

    Raises RuntimeError for other dtypes. Reference: ``torch.frexp``.
    """
    result = _FREXP(input)
    if out is not None:
        result = tuple(write(o, r) for r, o in zip(result, out, strict=True))
    made: tuple[Any, Any] = tuple.__new__(return_types.frexp, result)
    return made


row("nan_to_num", "input, nan=None, posinf=None, neginf=None", inplace=True, dtypes="real",
    grad={"input": lambda g, input: where_(input.isfinite(), g, 0)},
    samples=lambda: (S(T(3, 5)), S(T(2, 3), 1.0, 2.0, -3.0), S(T(0, 2)),
                     S(T(4, values=[float("nan"), float("inf"), -float("inf"), 1.0]), only="float", smooth=False),
                     S(T(4, values=[float("nan"), float("inf"), -float("inf"), 1.0]), nan=0.5, neginf=-7.0,
                       only="float", smooth=False)),
    errors=unary_errors,
    doc="NaN as ``nan`` (0), infinities as ``posinf`` and ``neginf`` (the dtype's largest numbers).")  # fmt: skip


@composite()
def isreal(input: Any) -> Any:
    """Which elements have no imaginary part: all of a real tensor. Reference: ``torch.isreal``."""
    if input.dtype.is_complex:
        return FUNCTIONS["imag"](input) == 0
    return FUNCTIONS["ones_like"](input, dtype=_dtypes.bool)
