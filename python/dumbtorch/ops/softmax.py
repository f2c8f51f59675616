"""Softmax and the losses made of it."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.index import index
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, row


def _samples() -> Any:
    yield S(T(3, 5), 1)
    yield S(T(3, 5), 0)
    yield S(T(2, 3, 4), -2)
    yield S(T(), 0)
    yield S(T(0, 3), 1)


def _errors() -> Any:
    yield S(T(3, 4), 2, error="IndexError")


row("softmax", "input, dim, dtype=None", casts=True, samples=_samples, errors=_errors, grad={
        "input": lambda g, out, dim, input_dtype: FUNCTIONS["softmax_backward"](g, out, dim).to(input_dtype),
    }, doc="``exp(x) / sum(exp(x))`` along a dimension, without overflow.")  # fmt: skip
row("log_softmax", "input, dim, dtype=None", casts=True, samples=_samples, errors=_errors, grad={
        "input": lambda g, out, dim, input_dtype: FUNCTIONS["log_softmax_backward"](g, out, dim).to(input_dtype),
    }, doc="``log(softmax(x))`` along a dimension, without overflow.")  # fmt: skip


def _softmax_back_output(g: Any, grad_output: Any, output: Any, dim: int) -> Any:
    """d / d output of ``output * (grad - sum(grad * output))``."""
    inner = (grad_output * output).sum(dim, True)
    return g * (grad_output - inner) - grad_output * (g * output).sum(dim, True)


row("softmax_backward", "grad_output, output, dim", method=False, out=False, ref=None, grad={
        "grad_output": lambda g, output, dim: FUNCTIONS["softmax_backward"](g, output, dim),
        "output": lambda g, grad_output, output, dim: _softmax_back_output(g, grad_output, output, dim),
    }, samples=lambda: (S(T(3, 5), T(3, 5, low=0.1, high=0.9), 1), S(T(3, 5), T(3, 5, low=0.1, high=0.9), 0)),
    doc="The derivative of softmax: ``output * (grad_output - sum(grad_output * output))``.")  # fmt: skip
row("log_softmax_backward", "grad_output, output, dim", method=False, out=False, ref=None, grad={
        "grad_output": lambda g, output, dim: g - (g * output.exp()).sum(dim, True),
        "output": lambda g, grad_output, output, dim: -g * output.exp() * grad_output.sum(dim, True),
    }, samples=lambda: (S(T(3, 5), T(3, 5, low=-3, high=-0.1), 1), S(T(3, 5), T(3, 5, low=-3, high=-0.1), 0)),
    doc="The derivative of log_softmax: ``grad_output - exp(output) * sum(grad_output)``.")  # fmt: skip


def _scaled(g: Any, target: Any, ignore_index: int, reduction: str) -> Any:
    """The gradient of each row of the loss, as a column: zero where ignored, divided for a mean."""
    kept = target != ignore_index
    if reduction == "mean":
        g = g / kept.sum().to(g.dtype)
    return FUNCTIONS["where"](kept, g, 0).unsqueeze(1)


def _minus_target(input: Any, target: Any, ignore_index: int) -> Any:
    """``softmax(input)`` less one at each row's class."""
    rows = target.masked_fill(target == ignore_index, 0).unsqueeze(1).to(FUNCTIONS["arange"](0).dtype)
    return input.softmax(1).scatter_add(1, rows, input.new_full(rows.shape, -1.0))


def _cross_entropy_grad_input(
    g: Any, grad_output: Any, input: Any, target: Any, ignore_index: int, reduction: str
) -> Any:
    soft = input.softmax(1)
    g = g * _scaled(grad_output, target, ignore_index, reduction)
    return soft * (g - (soft * g).sum(1, True))


def _cross_entropy_grad_g(g: Any, input: Any, target: Any, ignore_index: int, reduction: str) -> Any:
    kept = target != ignore_index
    rows = FUNCTIONS["where"](kept, (g * _minus_target(input, target, ignore_index)).sum(1), 0)
    if reduction == "none":
        return rows
    return rows.sum() / kept.sum().to(g.dtype) if reduction == "mean" else rows.sum()


def _cross_entropies() -> Any:
    for reduction in ("mean", "sum", "none"):
        yield S(T(4, 5), index(4, below=5), -100, reduction)
    yield S(T(4, 5), T(4, dtype="int64", values=[1, 2, 0, 2]), 2, "mean")


row("cross_entropy", "input, target:i, ignore_index=-100, reduction='mean'", method=False, out=False, function=False,
    dtypes="full", ref=None, grad={
        "input": lambda g, input, target, ignore_index, reduction: FUNCTIONS["cross_entropy_backward"](
            g, input, target, ignore_index, reduction),
    }, samples=_cross_entropies, doc="Cross-entropy of logits (N, C) and class indices (N,), in one pass.")  # fmt: skip
row("cross_entropy_backward", "grad_output, input, target:i, ignore_index, reduction", method=False, out=False,
    dtypes="full", ref=None, grad={
        "grad_output": lambda g, input, target, ignore_index, reduction: _cross_entropy_grad_g(
            g, input, target, ignore_index, reduction),
        "input": lambda g, grad_output, input, target, ignore_index, reduction: _cross_entropy_grad_input(
            g, grad_output, input, target, ignore_index, reduction),
    }, samples=lambda: (S(T(), T(4, 5), index(4, below=5), -100, "mean"),
                        S(T(4), T(4, 5), index(4, below=5), -100, "none")),
    doc="The derivative of cross_entropy with respect to the logits.")  # fmt: skip
