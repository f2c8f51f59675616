"""Layers over graphs beside products with dense matrices of neighbours, in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, random, tensor_of

F = dumbtorch.nn.functional
NODES = 6
#: With a loop, a node that nothing arrives at (5), and an edge that comes twice.
EDGES = np.array([[0, 1, 1, 2, 3, 4, 4, 0, 0], [1, 0, 2, 1, 3, 2, 0, 2, 2]])


def _dense(weights: Any) -> torch.Tensor:
    """A[target, source], in PyTorch."""
    matrix = torch.zeros(NODES, NODES, dtype=torch.float64)
    for source, target, weight in zip(*EDGES, weights, strict=True):
        matrix[target, source] += float(weight)
    return matrix


def _gradients(out: Any, *inputs: Any) -> list[Any]:
    out.backward(tensor_of(dumbtorch if isinstance(out, dumbtorch.Tensor) else torch, random(tuple(out.shape), 8)))
    return [x.grad for x in inputs]


@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [(3, 5), (5, 3)])
def test_convolution(improved: bool, weighted: bool, sizes: tuple[int, int]) -> None:
    layer = dumbtorch.nn.GCNConv(*sizes, improved=improved).double()
    weights = np.abs(random((EDGES.shape[1],), 4)) if weighted else np.ones(EDGES.shape[1])
    adjacency = _dense(weights)
    adjacency.fill_diagonal_(0)  # the loop that is there gives way
    adjacency = adjacency + (2 if improved else 1) * torch.eye(NODES)
    scale = adjacency.sum(1).rsqrt()
    x = random((NODES, sizes[0]))
    theirs = tensor_of(torch, x, True)
    w = tensor_of(torch, as_numpy(layer.lin.weight), True)
    expected = scale[:, None] * adjacency * scale @ theirs @ w.T
    mine = tensor_of(dumbtorch, x, True)
    out = layer(mine, tensor_of(dumbtorch, EDGES), tensor_of(dumbtorch, weights) if weighted else None)
    assert_close(out, expected)
    assert_close(_gradients(out, mine, layer.lin.weight), _gradients(expected, theirs, w))


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention(concat: bool, heads: int) -> None:
    layer = dumbtorch.nn.GATConv(4, 2, heads, concat).double()
    x = tensor_of(torch, random((NODES, 4)))
    w, source, target = (tensor_of(torch, as_numpy(p), True) for p in (layer.lin.weight, layer.att_src, layer.att_dst))
    counts = _dense(np.ones(EDGES.shape[1]))
    counts.fill_diagonal_(1)
    h = (x @ w.T).reshape(NODES, heads, 2)
    scores = (h * target).sum(-1)[:, None] + (h * source).sum(-1)[None]  # [target, source, head]
    scores = torch.nn.functional.leaky_relu(scores, 0.2).exp() * counts[..., None]
    weights = scores / scores.sum(1, keepdim=True)
    out = torch.einsum("tsh,shd->thd", weights, h)
    expected = out.reshape(NODES, -1) if concat else out.mean(1)
    mine = layer(tensor_of(dumbtorch, as_numpy(x)), tensor_of(dumbtorch, EDGES))
    assert_close(mine, expected)
    found = _gradients(mine, layer.lin.weight, layer.att_src, layer.att_dst)
    assert_close(found, _gradients(expected, w, source, target))
    _, (edges, attention) = layer(
        tensor_of(dumbtorch, as_numpy(x)), tensor_of(dumbtorch, EDGES), return_attention_weights=True
    )
    assert dumbtorch.allclose(F.aggregate(attention, edges[1], NODES), dumbtorch.ones(NODES, heads).double())


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_aggregation(reduce: str) -> None:
    x = random((NODES, 4))
    rows = tensor_of(dumbtorch, x, True)
    edges = tensor_of(dumbtorch, EDGES)
    gathered = F.gather_neighbors(rows, edges, reduce=reduce)
    plain = F.aggregate(rows[edges[0]], edges[1], NODES, reduce)
    expected = np.zeros((NODES, 4))
    for node in range(NODES):
        arriving = x[EDGES[0][EDGES[1] == node]]
        if len(arriving):
            expected[node] = getattr(arriving, reduce)(0)
    for out in (gathered, plain):
        np.testing.assert_allclose(as_numpy(out), expected, atol=1e-12)

    def both(rows: Any) -> Any:
        return F.gather_neighbors(rows, edges, reduce=reduce)

    assert dumbtorch.autograd.gradcheck(both, [rows])
    assert dumbtorch.autograd.gradgradcheck(both, [rows])


def test_own_messages() -> None:
    class Weighted(dumbtorch.nn.MessagePassing):
        def message(self, x_j: Any, x_i: Any, strength: Any) -> Any:
            return (x_j - x_i) * strength[:, None]

        def update(self, out: Any, x: Any) -> Any:
            return x + out

    x, strength = random((NODES, 3)), random((EDGES.shape[1],), 2)
    expected = x.copy()
    for source, target, by in zip(*EDGES, strength, strict=True):
        expected[target] += (x[source] - x[target]) * by
    out = Weighted().propagate(
        tensor_of(dumbtorch, EDGES), tensor_of(dumbtorch, x), strength=tensor_of(dumbtorch, strength)
    )
    np.testing.assert_allclose(as_numpy(out), expected, atol=1e-12)


def test_graphs_without_edges() -> None:
    none = dumbtorch.zeros(2, 0, dtype=dumbtorch.int64)
    x = dumbtorch.rand(4, 3)
    for reduce in ("sum", "mean", "max"):
        assert dumbtorch.equal(F.gather_neighbors(x, none, reduce=reduce), dumbtorch.zeros(4, 3))
    layer = dumbtorch.nn.GCNConv(3, 2)
    assert dumbtorch.allclose(layer(x, none), layer.lin(x) + layer.bias, atol=1e-6)
    assert dumbtorch.nn.GATConv(3, 2)(x, none).shape == (4, 2)


def test_refusals() -> None:
    x = dumbtorch.rand(4, 3)
    with pytest.raises(ValueError, match="edge_index"):
        dumbtorch.nn.GCNConv(3, 2)(x, dumbtorch.zeros(3, 2, dtype=dumbtorch.int64))
    with pytest.raises(ValueError, match="reduce"):
        F.aggregate(x, dumbtorch.tensor([0, 0, 1, 1]), 2, "median")
    with pytest.raises(ValueError, match="aggr"):
        dumbtorch.nn.MessagePassing("median")
    for edges in ([[0], [4]], [[4], [0]], [[-1], [0]], [[0], [-1]]):
        with pytest.raises((RuntimeError, IndexError)):
            F.gather_neighbors(x, dumbtorch.tensor(edges))
    with pytest.raises(ValueError, match="sum"):
        F.gather_neighbors(x, dumbtorch.tensor([[0], [1]]), dumbtorch.ones(1), reduce="max")
