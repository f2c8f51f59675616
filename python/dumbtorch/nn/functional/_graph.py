"""Graphs: what arrives at the nodes along edges. `edge_index` is (2, E) of int64: sources, then targets."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["add_self_loops", "aggregate", "edge_softmax", "gather_neighbors", "gcn_norm"]

_MODES = {"sum": 0, "mean": 1, "max": 2}


def _check_edges(op: str, edge_index: Tensor) -> None:
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
        raise ValueError(
            f"{op}: edge_index must be (2, E) of integers, the sources and the targets of the edges; got "
            f"{tuple(edge_index.shape)} of {edge_index.dtype}"
        )


def _mode(op: str, reduce: str) -> int:
    if reduce not in _MODES:
        raise ValueError(f"{op}: reduce must be one of {', '.join(_MODES)}, got {reduce!r}")
    return _MODES[reduce]


def add_self_loops(
    edge_index: Tensor, edge_weight: Tensor | None, count: int, fill_value: float = 1.0
) -> tuple[Tensor, Tensor | None]:
    """The edges and one from each of `count` nodes to itself, of weight `fill_value`; loops that are there give way."""
    _check_edges("add_self_loops", edge_index)
    kept = edge_index[0] != edge_index[1]
    loops = ops.arange(count, dtype=edge_index.dtype, device=edge_index.device)
    edges = ops.cat([edge_index[:, kept], ops.stack([loops, loops])], 1)
    if edge_weight is None:
        return edges, None
    return edges, ops.cat([edge_weight[kept], edge_weight.new_full((count,), fill_value)])


def gcn_norm(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    count: int,
    improved: bool = False,
    add_loops: bool = True,
    dtype: Any = None,
) -> tuple[Tensor, Tensor]:
    """Edges and weights of D^-1/2 (A + I) D^-1/2, D the weights that arrive at each node (Kipf and Welling, 2017).

    `improved` makes it A + 2 I. Nodes that nothing arrives at keep weights of zero.
    """
    _check_edges("gcn_norm", edge_index)
    if edge_weight is None:
        edge_weight = ops.ones(edge_index.shape[1], dtype=dtype, device=edge_index.device)
    if add_loops:
        edge_index, weights = add_self_loops(edge_index, edge_weight, count, 2.0 if improved else 1.0)
        edge_weight = edge_weight if weights is None else weights
    source, target = edge_index[0], edge_index[1]
    degree = edge_weight.new_zeros((count,)).index_add(0, target, edge_weight)
    factor = ops.where(degree > 0, degree.clamp(min=1e-30).rsqrt(), ops.zeros_like(degree))
    return edge_index, factor[source] * edge_weight * factor[target]


def aggregate(messages: Tensor, index: Tensor, count: int, reduce: str = "sum") -> Tensor:
    """Messages (E, ...) added, averaged or compared at the nodes that `index` (E,) names: (count, ...).

    A node that no message names gets zeros. ValueError for another `reduce`, RuntimeError for nodes out of range.

        >>> F.aggregate(dumbtorch.tensor([1.0, 2.0, 4.0]), dumbtorch.tensor([0, 2, 2]), 3)
        tensor([1., 0., 6.])
    """
    mode = _mode("aggregate", reduce)
    if mode == 2:
        shape = (count, *messages.shape[1:])
        to = index.reshape(-1, *(1 for _ in messages.shape[1:])).expand_as(messages)
        return messages.new_zeros(shape).scatter_reduce(0, to, messages, "amax", include_self=False)
    total: Tensor = messages.new_zeros((count, *messages.shape[1:])).index_add(0, index, messages)
    if mode == 0:
        return total
    sizes = ops.bincount(index, minlength=count).clamp(min=1).to(messages.dtype)
    return total / sizes.reshape(-1, *(1 for _ in messages.shape[1:]))


def gather_neighbors(
    x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, count: int | None = None, reduce: str = "sum"
) -> Tensor:
    """The rows of `x` (N, D) at the sources, each times its edge's weight, brought together at the targets: (count, D).

    What `aggregate(x[source] * weight, target)` gives, without the rows in between: memory is that of the edges.
    `edge_weight` needs `reduce="sum"`.
    """
    mode = _mode("gather_neighbors", reduce)
    _check_edges("gather_neighbors", edge_index)
    if edge_weight is not None and reduce != "sum":
        raise ValueError(f"gather_neighbors: edge_weight needs reduce='sum', got {reduce!r}")
    nodes = x.shape[0] if count is None else count
    source, target = edge_index[0], edge_index[1]
    if x.device.type != "cpu" or x.ndim != 2:
        rows = x[source]
        if edge_weight is not None:
            rows = rows * edge_weight.reshape(-1, *(1 for _ in x.shape[1:]))
        return aggregate(rows, target, nodes, reduce)
    if target.numel() and int(target.max()) >= nodes:
        raise RuntimeError(f"gather_neighbors: an edge ends at node {int(target.max())} of {nodes}")
    order = target.argsort(stable=True)
    sizes = ops.bincount(target, minlength=nodes)
    offsets = sizes.cumsum(0) - sizes
    weight = None if edge_weight is None else edge_weight[order]
    made: Tensor = ops.TABLE["bags_of_rows"].op(x, source[order], offsets, weight, mode, -1, False)
    return made


def edge_softmax(scores: Tensor, index: Tensor, count: int) -> Tensor:
    """Softmax of the scores (E, ...) among the edges that `index` (E,) brings to one node.

    >>> F.edge_softmax(dumbtorch.zeros(3), dumbtorch.tensor([0, 2, 2]), 3)
    tensor([1.0000, 0.5000, 0.5000])
    """
    highest = aggregate(scores.detach(), index, count, "max")
    weights = ops.exp(scores - highest[index])
    return weights / aggregate(weights, index, count)[index]
