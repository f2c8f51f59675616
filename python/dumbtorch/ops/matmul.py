"""Matrix products."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import row


def _matmul_input(g: Any, other: Any, shape: Any) -> Any:
    if len(shape) == 1:
        if other.ndim == 1:
            return g * other.conj()
        return (other.conj() @ g.unsqueeze(-1)).squeeze(-1).sum_to_size(shape)
    if other.ndim == 1:
        return (g.unsqueeze(-1) * other.conj()).sum_to_size(shape)
    if other.ndim == 2:
        return g @ other.t().conj()
    return (g @ other.mT.conj()).sum_to_size(shape)


def _matmul_other(g: Any, input: Any, shape: Any) -> Any:
    if len(shape) == 1:
        if input.ndim == 1:
            return g * input.conj()
        return (input.mT.conj() @ g.unsqueeze(-1)).squeeze(-1).sum_to_size(shape)
    if input.ndim == 1:
        return (input.conj().unsqueeze(-1) * g.unsqueeze(-2)).sum_to_size(shape)
    if len(shape) == 2:
        if input.ndim == 2:
            return input.t().conj() @ g
        return input.flatten(0, -2).t().conj() @ g.flatten(0, -2)
    return (input.mT.conj() @ g).sum_to_size(shape)


def _matmuls() -> Any:
    yield S(T(3, 4), T(4, 5))
    yield S(T(4), T(4))
    yield S(T(3, 4), T(4))
    yield S(T(4), T(4, 5))
    yield S(T(2, 3, 4), T(4, 5))
    yield S(T(2, 1, 3, 4), T(3, 4, 2))
    yield S(T(2, 3, 4), T(4))
    yield S(T(4), T(2, 4, 3))
    yield S(T(0, 4), T(4, 5))
    yield S(T(3, 0), T(0, 5))


row("matmul", "input, other", lazy=True, dtypes="full+complex", grad={
        "input": lambda g, other, input_shape: _matmul_input(g, other, input_shape),
        "other": lambda g, input, other_shape: _matmul_other(g, input, other_shape),
    }, samples=_matmuls, errors=lambda: (
        S(T(3, 4), T(3, 4), error="RuntimeError"), S(T(), T(3), error="RuntimeError"), S(T(3), 2, error="TypeError")),
    doc="The matrix product: vectors, matrices, and batches of them that broadcast.")  # fmt: skip
row("mm", "input, mat2", lazy=True, dtypes="full+complex",
    grad={"input": lambda g, mat2: g @ mat2.t().conj(), "mat2": lambda g, input: input.t().conj() @ g},
    samples=lambda: (S(T(3, 4), T(4, 5)), S(T(3, 0), T(0, 2)), S(T(1, 1), T(1, 1))),
    errors=lambda: (S(T(3, 4), T(3, 4), error="RuntimeError"), S(T(3), T(3, 4), error="RuntimeError")),
    doc="The product of two matrices.")  # fmt: skip
row("bmm", "input, mat2", lazy=True, dtypes="full+complex",
    grad={"input": lambda g, mat2: g @ mat2.mT.conj(), "mat2": lambda g, input: input.mT.conj() @ g},
    samples=lambda: (S(T(2, 3, 4), T(2, 4, 5)), S(T(0, 3, 4), T(0, 4, 2)), S(T(2, 3, 0), T(2, 0, 2))),
    errors=lambda: (S(T(2, 3, 4), T(3, 4, 5), error="RuntimeError"), S(T(3, 4), T(4, 5), error="RuntimeError")),
    doc="The products of two batches of matrices.")  # fmt: skip
row("mv", "input, vec", lazy=True, dtypes="full+complex",
    grad={"input": lambda g, vec: g.unsqueeze(1) * vec.conj(), "vec": lambda g, input: input.t().conj() @ g},
    samples=lambda: (S(T(3, 4), T(4)), S(T(0, 4), T(4)), S(T(3, 0), T(0))),
    errors=lambda: (S(T(3, 4), T(3), error="RuntimeError"), S(T(3), T(3), error="RuntimeError")),
    doc="The product of a matrix and a vector.")  # fmt: skip
row("dot", "input, tensor", lazy=True, dtypes="full+complex",
    grad={"input": lambda g, tensor: g * tensor.conj(), "tensor": lambda g, input: g * input.conj()},
    samples=lambda: (S(T(4), T(4)), S(T(0), T(0))),
    errors=lambda: (S(T(3), T(4), error="RuntimeError"), S(T(3, 1), T(3), error="RuntimeError")),
    doc="The inner product of two vectors.")  # fmt: skip
row("outer", "input, vec2", dtypes="full+complex", function=False, method=False,
    grad={"input": lambda g, vec2: g @ vec2.conj(), "vec2": lambda g, input: g.t() @ input.conj()},
    samples=lambda: (S(T(3), T(4)), S(T(0), T(4))),
    errors=lambda: (S(T(3, 1), T(4), error="RuntimeError"),), doc="The outer product of two vectors.")  # fmt: skip


def _times(g: Any, factor: Any) -> Any:
    return g if factor == 1 else g * factor.conjugate()


row("addmm", "input, mat1, mat2, *, beta=1, alpha=1", broadcast=True, dtypes="full+complex", inplace=True, grad={
        "input": lambda g, beta: _times(g, beta),
        "mat1": lambda g, mat2, alpha: _times(g @ mat2.t().conj(), alpha),
        "mat2": lambda g, mat1, alpha: _times(mat1.t().conj() @ g, alpha),
    }, samples=lambda: (S(T(3, 5), T(3, 4), T(4, 5)), S(T(5), T(3, 4), T(4, 5), beta=2, alpha=0.5),
                        S(T(), T(3, 0), T(0, 2)), S(T(3, 1), T(3, 4), T(4, 5))),
    errors=lambda: (S(T(3, 4), T(3, 4), T(4, 5), error="RuntimeError"),
                    S(T(5), T(3, 4), T(3, 5), error="RuntimeError")),
    doc="``beta * input + alpha * (mat1 @ mat2)``; ``input`` broadcasts.")  # fmt: skip
row("baddbmm", "input, batch1, batch2, *, beta=1, alpha=1", broadcast=True, dtypes="full+complex", inplace=True, grad={
        "input": lambda g, beta: _times(g, beta),
        "batch1": lambda g, batch2, alpha: _times(g @ batch2.mT.conj(), alpha),
        "batch2": lambda g, batch1, alpha: _times(batch1.mT.conj() @ g, alpha),
    }, samples=lambda: (S(T(2, 3, 5), T(2, 3, 4), T(2, 4, 5)), S(T(5), T(2, 3, 4), T(2, 4, 5), beta=2, alpha=0.5)),
    errors=lambda: (S(T(2, 3, 5), T(2, 3, 4), T(3, 4, 5), error="RuntimeError"),),
    doc="``beta * input + alpha * (batch1 @ batch2)`` for batches of matrices.")  # fmt: skip


def _flat(t: Any) -> Any:
    return t if t.ndim == 2 else t.flatten(0, -2)


def _linear_weight(g: Any, input: Any) -> Any:
    if input.ndim == 1:
        return g.unsqueeze(1) * input.conj()
    return _flat(g).t() @ _flat(input).conj()


row("linear", "input, weight, bias=None", method=False, out=False, dtypes="full+complex", ref="nn.functional.linear",
    grad={
        "input": lambda g, weight: g @ weight.conj(),
        "weight": lambda g, input: _linear_weight(g, input),
        "bias": lambda g: g if g.ndim == 1 else _flat(g).sum(0),
    }, samples=lambda: (S(T(3, 4), T(5, 4), T(5)), S(T(3, 4), T(5, 4)), S(T(2, 3, 4), T(5, 4), T(5)), S(T(4), T(5, 4)),
                        S(T(4), T(5, 4), T(5)), S(T(0, 4), T(5, 4), T(5))),
    errors=lambda: (S(T(3, 4), T(4, 5), error="RuntimeError"),),
    doc="``input @ weight.T + bias``, weight of shape (out, in).")  # fmt: skip
