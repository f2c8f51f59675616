"""Complex numbers: their parts as views, conjugation, and making them of parts."""

from __future__ import annotations

from typing import Any

from dumbtorch.autograd import graph
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row


def _as_real(g: Any) -> Any:
    return FUNCTIONS["view_as_real"](g)


def _as_complex(g: Any) -> Any:
    return FUNCTIONS["view_as_complex"](g.contiguous())


row("view_as_real", "input", view=True, method=False, dtypes="complex", grad={"input": _as_complex},
    samples=lambda: (S(T(3, 4)), S(T()), S(T(0, 2))), errors=lambda: (S(T(3, dtype="float32"), error="RuntimeError"),),
    doc="The parts of complex numbers as a view with a new last dimension of size 2.")  # fmt: skip
row("view_as_complex", "input", view=True, method=False, dtypes="single", grad={"input": _as_real},
    samples=lambda: (S(T(3, 4, 2)), S(T(2)), S(T(0, 2))),
    errors=lambda: (S(T(3), error="RuntimeError"), S(T(), error="RuntimeError"), S(T(2, dtype="int64"),
                    error="RuntimeError")),
    doc="Pairs in the last dimension (of size 2) as a view of complex numbers.")  # fmt: skip


@composite("conj")
def conj(input: Any) -> Any:
    """The complex conjugate; a real tensor itself. Reference: ``torch.conj``."""
    if not input.is_complex():
        return input
    parts = _as_real(input).unbind(-1)
    return _as_complex(FUNCTIONS["stack"]([parts[0], -parts[1]], -1))


@composite("resolve_conj")
def resolve_conj(input: Any) -> Any:
    """The tensor without a pending conjugation. Reference: ``torch.resolve_conj``."""
    return input


@composite("is_conj")
def is_conj(input: Any) -> bool:
    """Whether a conjugation of this tensor is pending. Reference: ``torch.is_conj``."""
    return False


graph.parts_of = lambda t: FUNCTIONS["view_as_real"](resolve_conj(t))
graph.complex_of = _as_complex
