"""Pointwise operations of two and three tensors."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.samples import S, T, binary, binary_errors
from dumbtorch.ops.table import FUNCTIONS, composite, row
from dumbtorch.ops.unary import conj, zero


def where_(condition: Any, yes: Any, no: Any) -> Any:
    """The row `where`, which stands further down."""
    return _where_op(condition, yes, no)


def _binary(name: str, signature: str, grad: Any = None, *, doc: str, **kwargs: Any) -> Any:
    kwargs.setdefault("samples", binary())
    kwargs.setdefault("errors", binary_errors)
    kwargs.setdefault("inplace", True)
    return row(name, signature, grad=grad, broadcast=True, doc=doc, **kwargs)


def _alpha() -> Any:
    yield from binary()()
    yield S(T(3, 4), T(3, 4), alpha=2)
    yield S(T(3, 4), 2)
    yield S(T(3, 4), T(4), alpha=1 - 2j, only="complex")


def _scaled(g: Any, alpha: Any) -> Any:
    return g if alpha == 1 else g * alpha.conjugate()


_binary("add", "input, other, *, alpha=1", {"input": lambda g: g, "other": lambda g, alpha: _scaled(g, alpha)},
        dtypes="any", samples=_alpha, doc="``input + alpha * other``.")  # fmt: skip
_binary("sub", "input, other, *, alpha=1", {"input": lambda g: g, "other": lambda g, alpha: _scaled(-g, alpha)},
        dtypes="number+complex", samples=_alpha, aliases=("subtract",), doc="``input - alpha * other``.")  # fmt: skip
_binary("mul", "input, other", {"input": lambda g, other: g * conj(other), "other": lambda g, input: g * conj(input)},
        dtypes="any", aliases=("multiply",), doc="``input * other``.")  # fmt: skip


def _div_input(g: Any, other: Any, rounding_mode: Any) -> Any:
    return g / conj(other) if rounding_mode is None else zero(g)


def _div_other(g: Any, input: Any, other: Any, rounding_mode: Any) -> Any:
    return -g * ((input / other) / other).conj() if rounding_mode is None else zero(g)


def _div() -> Any:
    yield from binary(-2, 2, 0.5, 3)()
    yield S(T(3, 4, low=-9, high=9), T(3, 4, low=1, high=4), rounding_mode="floor", only="number")
    yield S(T(3, 4, low=-9, high=9), T(3, 4, low=1, high=4), rounding_mode="trunc", only="number")
    yield S(T(3, 4), 2)


_binary("div", "input, other, *, rounding_mode=None", {"input": _div_input, "other": _div_other},
        dtypes="any", samples=_div, aliases=("divide", "true_divide"),
        doc="``input / other``: a float; with ``rounding_mode`` 'floor' or 'trunc' rounded, in the common dtype.",
    )  # fmt: skip
_binary("floor_divide", "input, other", dtypes="number", samples=binary(-9, 9, 1, 4),
        doc="``floor(input / other)`` in the common dtype.")  # fmt: skip
_binary("remainder", "input, other",
        {"input": lambda g: g, "other": lambda g, input, other: -g * input.div(other, rounding_mode="floor")},
        dtypes="number", samples=binary(-9, 9, 1, 4),
        doc="The remainder with the sign of ``other``, as Python's ``%``.")  # fmt: skip
_binary("fmod", "input, other",
        {"input": lambda g: g, "other": lambda g, input, other: -g * input.div(other, rounding_mode="trunc")},
        dtypes="number", samples=binary(-9, 9, 1, 4), doc="The remainder with the sign of ``input``, as C's.",
    )  # fmt: skip


def _pow_input(g: Any, input: Any, other: Any) -> Any:
    if isinstance(other, (int, float, complex)):
        if other == 0:
            return zero(g)
        return g * ((input if other == 2 else input.pow(other - 1)) * other).conj()
    base = input if hasattr(input, "pow") else other.new_full((), input)
    return where_(other == 0, 0, g * (other * base.pow(other - 1)).conj())


def _not_negative(exponent: Any) -> Any:
    return (exponent.imag == 0).logical_and(exponent.real >= 0) if exponent.is_complex() else exponent >= 0


def _pow_other(g: Any, input: Any, other: Any, out: Any) -> Any:
    if isinstance(input, (int, float, complex)):
        base = out.new_full((), input)
        if input == 0:
            return where_(_not_negative(other), 0, g * (out * base.log()).conj())
        return g * (out * base.log()).conj()
    return where_((input == 0).logical_and(_not_negative(other)), 0, g * (out * input.log()).conj())


def _pow() -> Any:
    yield from binary(0.3, 2.0, -2.0, 3.0)()
    yield S(T(3, 4, low=-2), 2)
    yield S(T(3, 4, low=0.3), 3)
    yield S(T(3, 4, low=0.3), 0.5, only="single")
    yield S(T(3, 4, low=0.3), 0)
    yield S(T(3, 4), -2, only="complex")
    yield S(T(3, 4), 0.5 - 1.5j, only="complex")
    yield S(T(3, 4), -0.5, only="complex")


_binary("pow", "input, exponent", {
            "input": lambda g, input, exponent: _pow_input(g, input, exponent),
            "exponent": lambda g, input, exponent, out: _pow_other(g, input, exponent, out),
        }, dtypes="float+complex", samples=_pow, doc="``input`` to the power of ``exponent``.")  # fmt: skip
_binary("atan2", "input, other", {
            "input": lambda g, input, other: g * (other / (input * input + other * other)),
            "other": lambda g, input, other: g * (-input / (input * input + other * other)),
        }, samples=binary(0.3, 2.0), aliases=("arctan2",), doc="The angle of the point (other, input).")  # fmt: skip


def _distinct() -> Any:
    yield S(T(3, 4, distinct=True), T(3, 4, low=-1.9))
    yield S(T(3, 1), T(4, low=-1.9, high=1.8))
    yield S(T(2, 3), T())
    yield S(T(0, 3), T(3))


def _pick(g: Any, mine: Any, theirs: Any, larger: bool) -> Any:
    """The gradient of one of two operands of a maximum or minimum."""
    wins = mine > theirs if larger else mine < theirs
    return where_(mine == theirs, g * 0.5, where_(wins, g, 0))


_binary("maximum", "input, other", {
            "input": lambda g, input, other: _pick(g, input, other, True),
            "other": lambda g, input, other: _pick(g, other, input, True),
        }, dtypes="real", samples=_distinct, inplace=False, doc="The larger of two; NaN if one is NaN.")  # fmt: skip
_binary("minimum", "input, other", {
            "input": lambda g, input, other: _pick(g, input, other, False),
            "other": lambda g, input, other: _pick(g, other, input, False),
        }, dtypes="real", samples=_distinct, inplace=False, doc="The smaller of two; NaN if one is NaN.")  # fmt: skip
_binary("fmax", "input, other", {
            "input": lambda g, input, other: where_((input >= other).logical_or(other.isnan()), g, 0),
            "other": lambda g, input, other: where_((input >= other).logical_or(other.isnan()), 0, g),
        }, dtypes="real", samples=_distinct, inplace=False, doc="The larger of two, a number rather than NaN.",
    )  # fmt: skip
_binary("fmin", "input, other", {
            "input": lambda g, input, other: where_((input <= other).logical_or(other.isnan()), g, 0),
            "other": lambda g, input, other: where_((input <= other).logical_or(other.isnan()), 0, g),
        }, dtypes="real", samples=_distinct, inplace=False, doc="The smaller of two, a number rather than NaN.",
    )  # fmt: skip
_binary("hypot", "input, other", {
            "input": lambda g, input, out: g * (input / out),
            "other": lambda g, other, out: g * (other / out),
        }, samples=binary(0.3, 2.0), doc="``sqrt(input**2 + other**2)`` without overflow.")  # fmt: skip
_binary("copysign", "input, other", {
            "input": lambda g, input, out: where_(input == 0, 0, g * (out / input)),
            "other": lambda g: zero(g),
        }, dtypes="real+float", doc="``input`` with the sign of ``other``.")  # fmt: skip

for _name, _doc, _alias in (
    ("eq", "Which elements are equal.", ()),
    ("ne", "Which elements differ.", ("not_equal",)),
    ("lt", "Where ``input < other``.", ("less",)),
    ("le", "Where ``input <= other``.", ("less_equal",)),
    ("gt", "Where ``input > other``.", ("greater",)),
    ("ge", "Where ``input >= other``.", ("greater_equal",)),
):
    _binary(_name, "input, other", dtypes="any" if _name in ("eq", "ne") else "real", aliases=_alias,
            doc=_doc + " The result is bool.")  # fmt: skip
for _name, _doc in (
    ("logical_and", "Where both are nonzero."),
    ("logical_or", "Where at least one is nonzero."),
    ("logical_xor", "Where exactly one is nonzero."),
):
    _binary(_name, "input, other", dtypes="any", doc=_doc + " The result is bool.")
for _name, _doc in (
    ("bitwise_and", "The bits set in both."),
    ("bitwise_or", "The bits set in either."),
    ("bitwise_xor", "The bits set in exactly one."),
):
    _binary(_name, "input, other", dtypes="integral", doc=_doc + " Integers and bool only.")
_binary("bitwise_left_shift", "input, other", dtypes="int", samples=binary(0, 5, 0, 3), doc="``input << other``.")
_binary("bitwise_right_shift", "input, other", dtypes="int", samples=binary(0, 50, 0, 3), doc="``input >> other``.")


# ---------------------------------------------------------------- three operands

row("where", "condition:i, input, other", broadcast=True, method=False, dtypes="any",
    grad={"input": lambda g, condition: where_(condition, g, 0), "other": lambda g, condition: where_(condition, 0, g)},
    samples=lambda: (S(T(3, 4, dtype="bool"), T(3, 4), T(3, 4)), S(T(3, 1, dtype="bool"), T(4), T()),
                     S(T(3, 4, dtype="bool"), T(3, 4), 1), S(T(0, 4, dtype="bool"), T(4), T(1, 4))),
    errors=lambda: (S(T(3, dtype="bool"), T(4), T(5), error="RuntimeError"),),
    doc="``input`` where ``condition`` (bool) holds, else ``other``.")  # fmt: skip
_where_op: Any = FUNCTIONS["where"]


@composite("where", function=False)
def _where_method(self: Any, condition: Any, other: Any) -> Any:
    """``self`` where ``condition`` holds, else ``other``. Reference: ``torch.Tensor.where``."""
    return where_(condition, self, other)


@composite("where", method=False)
def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """``input`` where ``condition`` (bool) holds, else ``other``; with the condition alone the indices of what holds.

    All three broadcast. Reference: ``torch.where``.
    """
    if input is None and other is None:
        return FUNCTIONS["nonzero"](condition, as_tuple=True)
    return _where_op(condition, input, other) if out is None else _where_op(condition, input, other, out=out)


def _clamp_samples() -> Any:
    yield S(T(3, 5), -0.5, 0.7)
    yield S(T(3, 5), min=-0.25)
    yield S(T(3, 5), max=0.3)
    yield S(T(3, 5), T(5, low=-1, high=-0.5), T(3, 1, low=0.5, high=1))
    yield S(T(), -0.5, 0.7)
    yield S(T(0, 3), 0, 1)


def _one_limit() -> Any:
    yield S(T(3, 5), 0.3, only="float")
    yield S(T(3, 5), 1)
    yield S(T(3, 5), T(5, low=-1, high=1))
    yield S(T(2, 3), T())
    yield S(T(0, 3), 0)


def _inside(input: Any, low: Any, high: Any) -> Any:
    if low is None:
        return input <= high
    if high is None:
        return input >= low
    return (input >= low).logical_and(input <= high)


def _clamped_low(g: Any, input: Any, min: Any, max: Any) -> Any:
    below = input < min
    return where_(below if max is None else below.logical_and(min < max), g, 0)


def _clamped_high(g: Any, input: Any, min: Any, max: Any) -> Any:
    above = input > max
    return where_(above if min is None else above.logical_or(max < min), g, 0)


row("clamp", "input, min=None, max=None", broadcast=True, inplace=True, dtypes="number", aliases=("clip",), grad={
        "input": lambda g, input, min, max: where_(_inside(input, min, max), g, 0),
        "min": lambda g, input, min, max: _clamped_low(g, input, min, max),
        "max": lambda g, input, min, max: _clamped_high(g, input, min, max),
    }, samples=_clamp_samples, errors=lambda: (S(T(3), error="RuntimeError"),),
    doc="Each element limited to ``min`` .. ``max`` (numbers or tensors; None: no limit).")  # fmt: skip


_binary("clamp_min", "input, min", {
            "input": lambda g, input, min: where_(input >= min, g, 0),
            "min": lambda g, input, min: where_(input < min, g, 0),
        }, dtypes="number", samples=_one_limit, doc="Each element at least ``min``, a number or a tensor.")  # fmt: skip
_binary("clamp_max", "input, max", {
            "input": lambda g, input, max: where_(input <= max, g, 0),
            "max": lambda g, input, max: where_(input > max, g, 0),
        }, dtypes="number", samples=_one_limit, doc="Each element at most ``max``, a number or a tensor.")  # fmt: skip
row("lerp", "input, end, weight", broadcast=True, inplace=True, dtypes="float+complex", grad={
        "input": lambda g, weight: g * (1 - conj(weight)),
        "end": lambda g, weight: g * conj(weight),
        "weight": lambda g, input, end: g * (end - input).conj(),
    }, samples=lambda: (S(T(3, 4), T(3, 4), 0.3), S(T(3, 4), T(4), T(3, 1)), S(T(), T(), 0.7), S(T(0, 2), T(2), 0.5)),
    errors=lambda: (S(T(3), T(4), 0.5, error="RuntimeError"),),
    doc="``input + weight * (end - input)``.")  # fmt: skip
row("addcmul", "input, tensor1, tensor2, *, value=1", broadcast=True, inplace=True, dtypes="float+complex", grad={
        "input": lambda g: g,
        "tensor1": lambda g, tensor2, value: g * conj(tensor2 * value),
        "tensor2": lambda g, tensor1, value: g * conj(tensor1 * value),
    }, samples=lambda: (S(T(3, 4), T(3, 4), T(3, 4)), S(T(3, 4), T(4), T(3, 1), value=2), S(T(0, 2), T(2), T(1, 2))),
    errors=lambda: (S(T(3), T(4), T(3), error="RuntimeError"),),
    doc="``input + value * tensor1 * tensor2``.")  # fmt: skip
row("addcdiv", "input, tensor1, tensor2, *, value=1", broadcast=True, inplace=True, dtypes="float+complex", grad={
        "input": lambda g: g,
        "tensor1": lambda g, tensor2, value: g * conj(value / tensor2),
        "tensor2": lambda g, tensor1, tensor2, value: -g * conj(value * tensor1 / (tensor2 * tensor2)),
    }, samples=lambda: (S(T(3, 4), T(3, 4), T(3, 4, low=0.5)), S(T(3, 4), T(4), T(3, 1, low=0.5), value=2)),
    errors=lambda: (S(T(3), T(4), T(3), error="RuntimeError"),),
    doc="``input + value * tensor1 / tensor2``.")  # fmt: skip
row("masked_fill", "input, mask:i, value", broadcast=True, inplace=True, dtypes="any", out=False, grad={
        "input": lambda g, mask: g.masked_fill(mask, 0),
        "value": lambda g, mask: where_(mask, g, 0).sum(),
    }, samples=lambda: (S(T(3, 4), T(3, 4, dtype="bool"), 1), S(T(3, 4), T(4, dtype="bool"), T()),
                        S(T(), T(dtype="bool"), 0), S(T(0, 2), T(2, dtype="bool"), 1)),
    errors=lambda: (S(T(3), T(4, dtype="bool"), 1, error="RuntimeError"),),
    doc="``value`` (a number or 0-dim tensor) where ``mask`` (bool, broadcast) holds, else ``input``.")  # fmt: skip
