"""Index tensors, masks and targets that a derivative keeps: written to before backward, they raise as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import dumbtorch


def _with(tensor: Any, function: Callable[[Any], Any]) -> tuple[Any, Any]:
    return function(tensor), tensor


def _assigned(x: Any, i: Any) -> tuple[Any, Any]:
    y = x * 1
    y[i] = x[:2] * 3
    return y, i


#: Of the module, a matrix (3, 3), an index (2,) and a mask (3, 3): a result, and the tensor that is written to.
CASES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "gather": lambda t, x, i, m: (t.gather(x, 0, i.unsqueeze(1)), i),
    "index_select": lambda t, x, i, m: (t.index_select(x, 0, i), i),
    "x[i]": lambda t, x, i, m: (x[i], i),
    "x[:, i]": lambda t, x, i, m: (x[:, i], i),
    "x[i, i]": lambda t, x, i, m: (x[i, i], i),
    "x[mask]": lambda t, x, i, m: (x[m], m),
    "x[i] = y": lambda t, x, i, m: _assigned(x, i),
    "take": lambda t, x, i, m: (t.take(x, i), i),
    "put": lambda t, x, i, m: (x.put(i, x[0, :2]), i),
    "scatter": lambda t, x, i, m: (t.scatter(x, 0, i.unsqueeze(1), x[:2, :1]), i),
    "scatter of a number": lambda t, x, i, m: (t.scatter(x, 0, i.unsqueeze(1), 2.0), i),
    "scatter_add": lambda t, x, i, m: (t.scatter_add(x, 0, i.unsqueeze(1), x[:2, :1]), i),
    "scatter_reduce": lambda t, x, i, m: (t.scatter_reduce(x, 0, i.unsqueeze(1), x[:2, :1], "amax"), i),
    "index_add": lambda t, x, i, m: (t.index_add(x, 0, i, x[:2]), i),
    "index_copy": lambda t, x, i, m: (t.index_copy(x, 0, i, x[:2]), i),
    "index_fill": lambda t, x, i, m: (t.index_fill(x, 0, i, 2.0), i),
    "index_put": lambda t, x, i, m: (t.index_put(x, (i,), x[:2]), i),
    "masked_fill": lambda t, x, i, m: (t.masked_fill(x, m, 2.0), m),
    "masked_select": lambda t, x, i, m: (t.masked_select(x, m), m),
    "masked_scatter": lambda t, x, i, m: (t.masked_scatter(x, m, x.flatten()), m),
    "where": lambda t, x, i, m: (t.where(m, x, 2 * x), m),
    "embedding": lambda t, x, i, m: (t.nn.functional.embedding(i, x), i),
    "embedding_bag": lambda t, x, i, m: (t.nn.functional.embedding_bag(i, x, t.tensor([0])), i),
    "offsets": lambda t, x, i, m: _with(t.tensor([0]), lambda o: t.nn.functional.embedding_bag(i, x, o)),
    "nll_loss": lambda t, x, i, m: (t.nn.functional.nll_loss(x[:2], i), i),
    "cross_entropy": lambda t, x, i, m: (t.nn.functional.cross_entropy(x[:2], i), i),
    "multi_margin_loss": lambda t, x, i, m: (t.nn.functional.multi_margin_loss(x[:2], i), i),
    "ctc_loss": lambda t, x, i, m: _with(
        t.tensor([[1, 2]]),
        lambda y: t.nn.functional.ctc_loss(x.unsqueeze(1).log_softmax(-1), y, t.tensor([3]), t.tensor([2])),
    ),
    "max_unpool1d": lambda t, x, i, m: _with(
        t.tensor([[[0, 2], [1, 3], [0, 3]]]), lambda j: t.nn.functional.max_unpool1d(x.unsqueeze(0)[:, :, :2], j, 2)
    ),
    "max_pool1d": lambda t, x, i, m: t.nn.functional.max_pool1d(x.unsqueeze(0), 2, return_indices=True),
    "sort": lambda t, x, i, m: t.sort(x),
    "topk": lambda t, x, i, m: t.topk(x, 2),
    "max": lambda t, x, i, m: t.max(x, 1),
    "median": lambda t, x, i, m: t.median(x, 1),
    "mode": lambda t, x, i, m: t.mode(x, 1),
    "kthvalue": lambda t, x, i, m: t.kthvalue(x, 2, 1),
    "cummax": lambda t, x, i, m: t.cummax(x, 1),
    "mul": lambda t, x, i, m: (x[:2, 0] * i, i),
    "pow": lambda t, x, i, m: (t.pow(x[:2, 0], i), i),
}  # fmt: skip


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_written_before_backward(name: str, written: bool) -> None:
    """Both raise after the write, and neither without it."""
    for t in (torch, dumbtorch):
        x: Any = t.tensor([[1.0, 2.0, 3.0], [4.0, 1.0, 6.0], [7.0, 8.0, 2.0]], requires_grad=True)
        out, kept = CASES[name](t, x, t.tensor([0, 2]), t.tensor([[True, False, True]] * 3))[:2]
        if not written:
            out.sum().backward()
            assert x.grad is not None
            continue
        if kept.dtype is t.bool:
            kept.logical_not_()
        else:
            kept.mul_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()
