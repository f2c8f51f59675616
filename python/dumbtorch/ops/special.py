"""Special functions. Those that are only in ``torch.special`` are rows with its name before theirs."""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.binary import where_
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T, binary, unary, unary_errors
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row

_2_SQRTPI = 2 / sqrt(pi)
_SQRT_2PI = sqrt(2 * pi)


def _special(
    name: str, grad: Any = None, low: float = -2.0, high: float = 2.0, dtypes: str = "integral+single",
    operand: str = "input", **kwargs: Any,
) -> Any:  # fmt: skip
    """A row of one operand that is public only as ``special.NAME``."""
    return row(
        f"special_{name}", operand, grad={operand: grad} if grad else None, function=False, method=False,
        dtypes=dtypes, ref=f"special.{name}", errors=unary_errors, **{"samples": unary(low, high), **kwargs},
    )  # fmt: skip


def _unary(name: str, signature: str, grad: Any, *, doc: str, dtypes: str = "real+float", **kwargs: Any) -> Any:
    return row(
        name, signature, grad={"input": grad}, inplace=True, dtypes=dtypes, errors=unary_errors, doc=doc, **kwargs
    )


# ---------------------------------------------------------------- around the error function


def _erfcx(g: Any, input: Any, out: Any) -> Any:
    return g * (2 * input * out - _2_SQRTPI)


def _ndtri(g: Any, out: Any) -> Any:
    return g * ((out * out * 0.5).exp() * _SQRT_2PI)


def _log_ndtr(g: Any, input: Any, out: Any) -> Any:
    return g * ((out + input * input * 0.5).neg().exp() / _SQRT_2PI)


_special("erfcx", _erfcx, doc="``exp(x * x) * erfc(x)``, which does not underflow.")
_special("ndtr", lambda g, input: g * ((input * input * -0.5).exp() / _SQRT_2PI), -3, 3, dtypes="real+float",
         doc="The distribution function of the standard normal distribution.")  # fmt: skip
_special("log_ndtr", _log_ndtr, -6, 3, doc="The logarithm of ``ndtr``, accurate far below 0.")
_special("ndtri", _ndtri, 0.02, 0.98, doc="The inverse of ``ndtr``: infinite at 0 and 1, NaN outside.")
_special("entr", lambda g, input: g * -(input.log() + 1), 0.1, 2, dtypes="real+float",
         doc="``-x * log(x)``: 0 at 0, minus infinity below.")  # fmt: skip


def _logit(g: Any, input: Any, eps: Any) -> Any:
    slope = g / (input * (1 - input))
    if eps is None or eps < 0:
        return where_((input >= 0) & (input <= 1), slope, float("nan"))
    return where_((input >= eps) & (input <= 1 - eps), slope, 0)


_unary("logit", "input, eps=None", _logit,
       samples=lambda: (S(T(3, 5, low=0.05, high=0.95)), S(T(low=0.1, high=0.9)), S(T(2, 0)),
                        S(T(3, 5, low=0.05, high=0.95), 0.2), S(T(3, 5, low=-0.5, high=1.5), eps=0.3)),
       doc="``log(x / (1 - x))``; with ``eps`` x is limited to ``eps .. 1 - eps``.")  # fmt: skip


def _sinc(g: Any, input: Any) -> Any:
    zero = input == 0
    x = where_(zero, 1, input)
    angle = x * pi
    return where_(zero, 0, g * ((angle * angle.cos() - angle.sin()) / (angle * x)).conj())


_unary("sinc", "input", _sinc, dtypes="any", samples=unary(0.2, 2.3), doc="``sin(pi x) / (pi x)``, 1 at 0.")


# ---------------------------------------------------------------- around the gamma function


def _absent(name: str) -> Any:
    """For a derivative that PyTorch does not have either."""

    def raising(g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return raising


def _density(g: Any, input: Any, other: Any) -> Any:
    """The derivative of the lower incomplete gamma function by its bound."""
    return g * ((input - 1) * other.log() - other - input.lgamma()).exp()


def _incomplete() -> Any:
    yield S(T(3, 4, low=0.3, high=4, grad=False), T(3, 4, low=0.3, high=6))
    yield S(T(3, 1, low=25, high=40, grad=False), T(4, low=20, high=45))
    yield S(T(low=0.3, high=4, grad=False), T(2, 3, low=0.3, high=6))
    yield S(T(0, 3, low=0.3, grad=False), T(3, low=0.3))


for _name, _doc, _slope in (
    ("igamma", "lower", lambda g, input, other: _density(g, input, other)),
    ("igammac", "upper", lambda g, input, other: -_density(g, input, other)),
):
    row(_name, "input, other", broadcast=True, inplace=True, dtypes="float", samples=_incomplete,
        grad={"input": _absent(f"{_name}: input"), "other": _slope},
        errors=lambda: (S(T(3, 4), T(3, 5), error="RuntimeError"), S(T(3), 2.0, error="TypeError")),
        doc=f"The regularised {_doc} incomplete gamma function of ``input`` at ``other``.")  # fmt: skip
row("special_zeta", "input, other", broadcast=True, function=False, method=False, dtypes="integral+single",
    ref="special.zeta", grad={
        "input": _absent("zeta"),
        "other": lambda g, input, other: g * -input * _ZETA(input + 1, other),
    }, samples=lambda: (S(T(3, 4, low=1.3, high=5, grad=False), T(3, 4, low=0.5, high=4)),
                        S(T(4, low=1.3, high=5, grad=False), T(3, 1, low=0.5, high=4)), S(T(3, low=2, grad=False), 2.0),
                        S(2.5, T(3, low=0.5, high=4)), S(T(0, 3, grad=False), T(3, low=1))),
    errors=lambda: (S(T(3, 4), T(3, 5), error="RuntimeError"), S(T(3), "text", error="TypeError")),
    doc="Hurwitz's zeta function: the sum of ``(other + k)**-input`` over k >= 0.")  # fmt: skip
_ZETA: Any = TABLE["special_zeta"].op

_POLYGAMMA: Any = row(
    "polygamma", "input, n", kernel="polygamma", function=False, method=False, out=False, inplace=True,
    dtypes="real+float", grad={"input": lambda g, input, n: g * polygamma_of(input, n + 1)},
    samples=lambda: (S(T(3, 4, low=0.5, high=4.0), 1), S(T(low=0.5, high=4.0), 2),
                     S(T(5, low=-2.7, high=-2.3), 1, only="single"), S(T(0, 2), 1)),
    doc="The n-th derivative of ``digamma``, n >= 1.")  # fmt: skip


def polygamma_of(input: Any, n: int) -> Any:
    """The n-th derivative of ``digamma``."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return input.digamma() if n == 0 else _POLYGAMMA(input, n)


@composite("polygamma", function=False)
def _polygamma_method(self: Any, n: int) -> Any:
    """The n-th derivative of ``digamma``, for n >= 0. Reference: ``torch.Tensor.polygamma``."""
    return polygamma_of(self, n)


@composite("polygamma_", function=False)
def _polygamma_in_place(self: Any, n: int) -> Any:
    """``polygamma`` in place."""
    if n < 1:
        return self.copy_(polygamma_of(self, n))
    return TABLE["polygamma"].inplace_op(self, n)


@composite("polygamma", method=False)
def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The n-th derivative of ``digamma``, for n >= 0. Reference: ``torch.polygamma``."""
    result = polygamma_of(input, n)
    return result if out is None else _written(result, out)


def _written(result: Any, out: Any) -> Any:
    """A result in an ``out=`` tensor, with PyTorch's check of its dtype."""
    if not _dtypes.can_cast(result.dtype, out.dtype):
        names = [_dtypes.TYPE_NAMES[t.dtype] for t in (result, out)]
        raise RuntimeError(f"result type {names[0]} can't be cast to the desired output type {names[1]}")
    return write(out, result)


@composite()
def mvlgamma(input: Any, p: int, *, out: Any = None) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``p``. Reference: ``torch.mvlgamma``."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    inexact = input.dtype.is_floating_point or input.dtype.is_complex
    kind = input.dtype if inexact else _dtypes.get_default_dtype()
    halves = FUNCTIONS["arange"](-p / 2 + 0.5, 0.5, 0.5, dtype=kind, device=input.device)
    result = (input.unsqueeze(-1) + halves).lgamma().sum(-1) + p * (p - 1) / 4 * log(pi)
    return result if out is None else _written(result, out)


@composite("mvlgamma_", function=False)
def mvlgamma_(self: Any, p: int) -> Any:
    """``mvlgamma`` in place."""
    return _written(mvlgamma(self, p), self)


# ---------------------------------------------------------------- Bessel functions


def _i1(g: Any, input: Any, out: Any) -> Any:
    zero = input == 0
    return where_(zero, g * 0.5, g * (FUNCTIONS["i0"](input) - out / where_(zero, 1, input)))


def _i1e(g: Any, input: Any, out: Any) -> Any:
    zero = input == 0
    rest = out * (input.sgn() + where_(zero, 1, input).reciprocal())
    return where_(zero, g * 0.5, g * (TABLE["special_i0e"].op(input) - rest))


_unary("i0", "input", lambda g, input: g * TABLE["special_i1"].op(input), samples=unary(0.3, 9),
       doc="The modified Bessel function of the first kind of order 0.")  # fmt: skip
_special("i0e", lambda g, input, out: g * (TABLE["special_i1e"].op(input) - input.sgn() * out), 0.3, 9,
         dtypes="real+float", doc="``exp(-|x|) * i0(x)``.")  # fmt: skip


def _i1_samples() -> Any:
    """PyTorch has the values for half types, but not the derivatives."""
    yield from unary(0.3, 9, only="integral+single")()
    yield S(T(3, 5, low=0.3, high=9, grad=False))


_special("i1", _i1, dtypes="real+float", samples=_i1_samples,
         doc="The modified Bessel function of the first kind of order 1.")  # fmt: skip
_special("i1e", _i1e, dtypes="real+float", samples=_i1_samples, doc="``exp(-|x|) * i1(x)``.")
for _order in (0, 1):
    _kind = f"of order {_order}. No derivative, as in PyTorch."
    _special(f"bessel_j{_order}", None, -4, 4, doc=f"The Bessel function of the first kind {_kind}")
    _special(f"bessel_y{_order}", None, 0.3, 4, doc=f"The Bessel function of the second kind {_kind}")
    _special(f"modified_bessel_i{_order}", None, -9, 9, doc=f"The modified Bessel function of the first kind {_kind}")
    _special(f"modified_bessel_k{_order}", None, 0.3, 9, doc=f"The modified Bessel function of the second kind {_kind}")
    _special(f"scaled_modified_bessel_k{_order}", None, 0.3, 9, operand="x",
             doc=f"``exp(x) * modified_bessel_k{_order}(x)``.")  # fmt: skip
_special("spherical_bessel_j0", None, -4, 4, operand="x", doc="``sin(x) / x``, 1 at 0. No derivative, as in PyTorch.")
_special("airy_ai", None, -2, 4, operand="x", doc="Airy's function Ai. No derivative, as in PyTorch.")


# ---------------------------------------------------------------- orthogonal polynomials

for _name, _text in (
    *((f"chebyshev_polynomial_{n}", f"The Chebyshev polynomial of the {k} kind") for n, k in (
        ("t", "first"), ("u", "second"), ("v", "third"), ("w", "fourth"))),
    *((f"shifted_chebyshev_polynomial_{n}", f"The Chebyshev polynomial of the {k} kind of ``2 x - 1``") for n, k in (
        ("t", "first"), ("u", "second"), ("v", "third"), ("w", "fourth"))),
    ("hermite_polynomial_h", "The physicists' Hermite polynomial"),
    ("hermite_polynomial_he", "The probabilists' Hermite polynomial"),
    ("laguerre_polynomial_l", "The Laguerre polynomial"),
    ("legendre_polynomial_p", "The Legendre polynomial"),
):  # fmt: skip
    row(f"special_{_name}", "x, n", broadcast=True, function=False, method=False, dtypes="integral+single",
        ref=f"special.{_name}",
        samples=lambda: (*binary(-2, 2, 0, 8)(), S(T(3, 4), 5), S(1.5, T(3, low=0, high=9)),
                         S(T(9, low=-0.9, high=0.9), 40)),
        errors=lambda: (S(T(3, 4), T(3, 5), error="RuntimeError"), S(T(3), "text", error="TypeError")),
        doc=f"{_text} of degree ``n`` (0 for n < 0). No derivative, as in PyTorch.")  # fmt: skip
