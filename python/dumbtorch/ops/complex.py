"""Complex numbers: their parts as views, pending conjugation and negation, and making them of parts.

``conj`` is a view of the same memory that is marked; whatever reads it sees the conjugate. The imaginary part of such a
view has its negation pending.
"""

from __future__ import annotations

from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import graph
from dumbtorch.autograd.views import CONJUGATE_FLAG, NEGATIVE_FLAG
from dumbtorch.ops.samples import S, T, unary_errors
from dumbtorch.ops.table import FUNCTIONS, METHODS, TABLE, composite, row

# ---------------------------------------------------------------- parts


def _as_real(g: Any) -> Any:
    return FUNCTIONS["view_as_real"](g.resolve_conj())


def _as_complex(g: Any) -> Any:
    return FUNCTIONS["view_as_complex"](g.contiguous())


graph.parts_of, graph.complex_of = _as_real, _as_complex

row("view_as_real", "input", view=True, method=False, dtypes="complex", grad={"input": _as_complex},
    samples=lambda: (S(T(3, 4)), S(T()), S(T(0, 2))), errors=lambda: (S(T(3, dtype="float32"), error="RuntimeError"),),
    doc="The parts of complex numbers as a view with a new last dimension of size 2.")  # fmt: skip
row("view_as_complex", "input", view=True, method=False, dtypes="single", grad={"input": _as_real},
    samples=lambda: (S(T(3, 4, 2)), S(T(2)), S(T(0, 2))),
    errors=lambda: (S(T(3), error="RuntimeError"), S(T(), error="RuntimeError"), S(T(2, dtype="int64"),
                    error="RuntimeError")),
    doc="Pairs in the last dimension (of size 2) as a view of complex numbers.")  # fmt: skip


def _both(real: Any, imag: Any) -> Any:
    return FUNCTIONS["complex"](real, imag)


def _three() -> Any:
    yield S(T(3, 4))
    yield S(T())
    yield S(T(0, 2))


_REAL = row("real", "input", view=True, method=False, function=False, dtypes="complex", samples=_three, grad={
        "input": lambda g: _both(g, g.new_zeros(g.shape)),
    }, errors=unary_errors, doc="The real parts as a view; a real tensor itself.")  # fmt: skip
_IMAG = row("imag", "input", view=True, method=False, function=False, dtypes="complex", samples=_three, grad={
        "input": lambda g: _both(g.new_zeros(g.shape), g),
    }, errors=lambda: (S(T(3, dtype="float32"), error="RuntimeError"), *unary_errors()),
    doc="The imaginary parts as a view. RuntimeError for a real tensor.")  # fmt: skip


@composite("real", method=False)
def real(input: Any) -> Any:
    """The real parts as a view; a real tensor itself. Reference: ``torch.real``."""
    return _REAL(input) if input.is_complex() else input


FUNCTIONS["imag"] = _IMAG
METHODS["real"] = property(real, lambda self, value: real(self).copy_(value))
METHODS["imag"] = property(lambda self: _IMAG(self), lambda self, value: _IMAG(self).copy_(value))

row("complex", "real, imag", method=False, dtypes="single", broadcast=True, grad={
        "real": lambda g: g.real,
        "imag": lambda g: g.imag,
    }, samples=lambda: (S(T(3, 4), T(3, 4)), S(T(3, 1), T(4)), S(T(), T()), S(T(0, 2), T(2))),
    errors=lambda: (S(T(3), T(4), error="RuntimeError"), S(T(3, dtype="int64"), T(3), error="RuntimeError"),
                    S(T(3, dtype="float64"), T(3, dtype="float32"), error="RuntimeError")),
    doc="Complex numbers of real and imaginary parts, which broadcast.")  # fmt: skip


row("polar", "abs, angle", method=False, dtypes="single", broadcast=True, grad={
        "abs": lambda g, angle: g.real * angle.cos() + g.imag * angle.sin(),
        "angle": lambda g, out: g.imag * out.real - g.real * out.imag,
    }, samples=lambda: (S(T(3, 4, low=0.1), T(3, 4)), S(T(3, 1, low=0.1), T(4)), S(T(low=0.1), T()), S(T(0, 2), T(2))),
    errors=lambda: (S(T(3), T(4), error="RuntimeError"), S(T(3, dtype="int64"), T(3), error="RuntimeError")),
    doc="Complex numbers of absolute values and angles, which broadcast.")  # fmt: skip


def _angle(g: Any, input: Any) -> Any:
    if not input.is_complex():
        return g.new_zeros(g.shape)
    size = input.abs()
    # perpendicular to the number, and over its size; nothing at 0
    return (input * (g / (size * size)).masked_fill(size == 0, 0)) * 1j


row("angle", "input", dtypes="any", grad={"input": _angle}, samples=_three, errors=unary_errors,
    doc="The angle with the positive real axis: 0 or pi for real numbers; integers give the default float.",
)  # fmt: skip


# ---------------------------------------------------------------- conjugation


row("conj", "input", view=True, dtypes="any", grad={"input": lambda g: g.conj()}, samples=_three, errors=unary_errors,
    doc="The complex conjugate, as a view; a real tensor itself.")  # fmt: skip
row("neg_view", "input", view=True, method=False, function=False, dtypes="single+complex", ref="neg",
    grad={"input": lambda g: -g}, samples=_three, errors=unary_errors, doc="The negative, as a view.")  # fmt: skip
METHODS["_neg_view"] = METHODS.pop("neg_view", None) or _C.as_method(TABLE["neg_view"].op)
row("conj_physical", "input", inplace=True, dtypes="any", samples=_three, errors=unary_errors,
    grad={"input": lambda g: g.conj()}, doc="The complex conjugate, computed; a real tensor itself.")  # fmt: skip
row("resolve_conj", "input", lazy=True, out=False, dtypes="any", samples=_three, errors=unary_errors,
    grad={"input": lambda g: g}, doc="The tensor with a pending conjugation computed; else itself.")  # fmt: skip
row("resolve_neg", "input", lazy=True, out=False, dtypes="any", samples=_three, errors=unary_errors,
    grad={"input": lambda g: g}, doc="The tensor with a pending negation computed; else itself.")  # fmt: skip


@composite("is_conj")
def is_conj(input: Any) -> bool:
    """Whether a conjugation of this tensor is pending. Reference: ``torch.is_conj``."""
    return bool(input._flags & CONJUGATE_FLAG)


@composite("is_neg")
def is_neg(input: Any) -> bool:
    """Whether a negation of this tensor is pending. Reference: ``torch.is_neg``."""
    return bool(input._flags & NEGATIVE_FLAG)


@composite("adjoint")
def adjoint(input: Any) -> Any:
    """The conjugate transpose of the last two dimensions, as a view. Reference: ``torch.adjoint``."""
    if input.ndim < 2 and input.ndim:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {input.ndim}-D tensor."
        )
    return input.transpose(-2, -1).conj() if input.ndim else input.conj()


@composite("is_complex", method=False)
def is_complex(input: Any) -> bool:
    """Whether the dtype is a complex one. Reference: ``torch.is_complex``."""
    return bool(input.dtype.is_complex)


def _mh(self: Any) -> Any:
    """The conjugate transpose of a matrix or a batch of them, as a view. Reference: ``torch.Tensor.mH``."""
    if self.ndim < 2:
        raise RuntimeError(f"tensor.mH is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor.")
    return self.transpose(-2, -1).conj()


def _h(self: Any) -> Any:
    """The conjugate transpose of a matrix, as a view. Reference: ``torch.Tensor.H``."""
    if self.ndim != 2:
        hint = " For batches of matrices, consider using tensor.mH" if self.ndim > 2 else ""
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.{hint}")
    return self.transpose(0, 1).conj()


METHODS["mH"], METHODS["H"] = property(_mh), property(_h)
