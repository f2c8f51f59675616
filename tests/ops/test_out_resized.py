"""An ``out=`` tensor that has elements and another shape is resized with a warning, where PyTorch warns."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import dumbtorch

CALLS: dict[str, Any] = {
    "sum": lambda m, a: m.sum(a, 0, out=m.empty(2)),
    "amax": lambda m, a: m.amax(a, 0, out=m.empty(2)),
    "cat": lambda m, a: m.cat([a, a], out=m.empty(2)),
    "stack": lambda m, a: m.stack([a, a], out=m.empty(2)),
    "add": lambda m, a: m.add(a, a, out=m.empty(2)),
    "exp": lambda m, a: m.exp(a, out=m.empty(2)),
    "mm": lambda m, a: m.mm(a, a.T, out=m.empty(2)),
    "matmul": lambda m, a: m.matmul(a, a.T, out=m.empty(2)),
    "softmax": lambda m, a: m.softmax(a, 0, out=m.empty(2)),
    "cumsum": lambda m, a: m.cumsum(a, 0, out=m.empty(2)),
    "tril": lambda m, a: m.tril(a, out=m.empty(2)),
    "take": lambda m, a: m.take(a, m.tensor([[0]]), out=m.empty(2)),
    "take_along_dim": lambda m, a: m.take_along_dim(a, m.tensor([[0]]), 0, out=m.empty(2)),
    "gather": lambda m, a: m.gather(a, 0, m.tensor([[0]]), out=m.empty(2)),
    "index_select": lambda m, a: m.index_select(a, 0, m.tensor([0]), out=m.empty(2)),
    "masked_select": lambda m, a: m.masked_select(a, a > 2, out=m.empty(2)),
    "view_copy": lambda m, a: m.view_copy(a, (6,), out=m.empty(2)),
    "diagonal_copy": lambda m, a: m.diagonal_copy(a, out=m.empty(7)),
    "nonzero": lambda m, a: m.nonzero(a, out=m.empty(2, dtype=m.int64)),
    "sort": lambda m, a: m.sort(a, 0, out=(m.empty(2), m.empty(3, dtype=m.int64))),
    "max": lambda m, a: m.max(a, 0, out=(m.empty(2), m.empty(2, dtype=m.int64))),
    "zeros": lambda m, a: m.zeros(3, out=m.empty(2)),
    "linspace": lambda m, a: m.linspace(0, 1, 5, out=m.empty(2)),
    "rand": lambda m, a: m.rand(5, out=m.empty(2)),
    "diag": lambda m, a: m.diag(a, out=m.empty(3)),
    "of the same shape": lambda m, a: m.add(a, a, out=m.empty(2, 3)),
    "empty": lambda m, a: m.add(a, a, out=m.empty(0)),
}


def warned(module: Any, call: Any) -> list[str]:
    """The warnings of the call, without the line of PyTorch's source that it appends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(module, module.arange(6.0).reshape(2, 3))
    return [str(w.message).split(" (Triggered")[0] for w in caught if w.category is UserWarning]


@pytest.mark.parametrize("name", CALLS)
def test_warns_as_pytorch(name: str) -> None:
    """The same warnings with the same text, or none."""
    assert warned(dumbtorch, CALLS[name]) == warned(torch, CALLS[name])


def test_warning_as_error_leaves_out_alone() -> None:
    """Filters that make an error of the warning stop the call before anything has changed."""
    out = dumbtorch.zeros(2)
    with warnings.catch_warnings(), pytest.raises(UserWarning, match=r"had shape \[2\]"):
        warnings.simplefilter("error")
        dumbtorch.add(dumbtorch.ones(3), 1, out=out)
    assert out.tolist() == [0, 0]
