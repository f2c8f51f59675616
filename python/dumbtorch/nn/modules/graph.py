"""Layers over graphs: message passing, graph convolution, graph attention."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn import init
from dumbtorch.nn.modules.linear import Linear
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.parameter import Parameter

__all__ = ["GATConv", "GCNConv", "MessagePassing"]


class MessagePassing(Module):
    """Base of layers in which each edge sends a message from its source to its target, where they are brought together.

    Subclasses define `message(x_j, x_i, **edge_data)` (the features of the sources and of the targets, one row an edge;
    by default the sources') and may define `update(out, x)`; forward calls `propagate`. `aggr` is "sum", "mean" or
    "max". Gilmer et al., 2017.

        >>> class Sage(nn.MessagePassing):
        ...     def __init__(self, width):
        ...         super().__init__("mean")
        ...         self.own, self.others = nn.Linear(width, width), nn.Linear(width, width)
        ...
        ...     def forward(self, x, edge_index):
        ...         return self.own(x) + self.others(self.propagate(edge_index, x))
        >>> Sage(4)(dumbtorch.rand(3, 4), dumbtorch.tensor([[0, 1], [1, 2]])).shape
        torch.Size([3, 4])
    """

    def __init__(self, aggr: str = "sum") -> None:
        super().__init__()
        if aggr not in ("sum", "mean", "max"):
            raise ValueError(f"MessagePassing: aggr must be sum, mean or max, got {aggr!r}")
        self.aggr = aggr

    def message(self, x_j: Tensor, x_i: Tensor, **edge_data: Any) -> Tensor:
        """What goes along each edge; by default the source's features."""
        return x_j

    def update(self, out: Tensor, x: Tensor) -> Tensor:
        """What a node makes of what arrived; by default that."""
        return out

    def propagate(self, edge_index: Tensor, x: Tensor, **edge_data: Any) -> Tensor:
        """Messages along all edges (2, E), aggregated at their targets: (N, ...) for features (N, ...)."""
        if type(self).message is MessagePassing.message and not edge_data:
            return self.update(F.gather_neighbors(x, edge_index, reduce=self.aggr), x)
        source, target = edge_index[0], edge_index[1]
        messages = self.message(x[source], x[target], **edge_data)
        return self.update(F.aggregate(messages, target, x.shape[0], self.aggr), x)


class GCNConv(Module):
    """Graph convolution: D^-1/2 (A + I) D^-1/2 X W + b, of features (N, in) and edges (2, E): (N, out).

    `edge_weight` (E,) are the entries of A (default: ones), `improved` adds 2 I. `add_self_loops=False` adds none,
    `normalize=False` leaves A as it is. Kipf and Welling, 2017.

        >>> layer = nn.GCNConv(16, 4)
        >>> layer(dumbtorch.rand(3, 16), dumbtorch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.improved = improved
        self.add_self_loops = add_self_loops
        self.normalize = normalize
        self.lin = Linear(in_channels, out_channels, False, device, dtype)
        made = Parameter(ops.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew (Glorot), and set the bias to zero."""
        init.xavier_uniform_(self.lin.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        if self.normalize:
            edge_index, edge_weight = F.gcn_norm(
                edge_index, edge_weight, x.shape[0], self.improved, self.add_self_loops, x.dtype
            )
        elif self.add_self_loops:
            edge_index, edge_weight = F.add_self_loops(edge_index, edge_weight, x.shape[0])
        # the product first if it makes the rows shorter, else what they are gathered from stays short
        if self.in_channels <= self.out_channels:
            out = self.lin(F.gather_neighbors(x, edge_index, edge_weight))
        else:
            out = F.gather_neighbors(self.lin(x), edge_index, edge_weight)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"


class GATConv(Module):
    """Graph attention: of its neighbours' features, each node takes a mean weighed by learned scores, once a head.

    Features (N, in) and edges (2, E) give (N, heads * out), or the heads' mean (N, out) if not `concat`. `dropout`
    leaves out weights in training. A self-loop is added to each node unless `add_self_loops=False`.
    Velickovic et al., 2018.

        >>> layer = nn.GATConv(16, 4, heads=2)
        >>> layer(dumbtorch.rand(3, 16), dumbtorch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.heads = heads
        self.concat = concat
        self.negative_slope = negative_slope
        self.dropout = dropout
        self.add_self_loops = add_self_loops
        self.lin = Linear(in_channels, heads * out_channels, False, device, dtype)
        for name in ("att_src", "att_dst"):
            shape = (1, heads, out_channels)
            self.register_parameter(name, Parameter(ops.empty(shape, device=device, dtype=dtype)))
        width = heads * out_channels if concat else out_channels
        self.register_parameter("bias", Parameter(ops.empty(width, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew (Glorot), and set the bias to zero."""
        for weight in (self.lin.weight, self.att_src, self.att_dst):
            init.xavier_uniform_(weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor, edge_index: Tensor, return_attention_weights: bool = False) -> Any:
        """With `return_attention_weights` also the edges, with their loops, and their weights (E, heads)."""
        count = x.shape[0]
        if self.add_self_loops:
            edge_index, _ = F.add_self_loops(edge_index, None, count)
        source, target = edge_index[0], edge_index[1]
        h = self.lin(x).reshape(count, self.heads, self.out_channels)
        from_, to = (h * self.att_src).sum(-1), (h * self.att_dst).sum(-1)
        scores = F.leaky_relu(from_[source] + to[target], self.negative_slope)
        weights = F.edge_softmax(scores, target, count)
        used = F.dropout(weights, self.dropout, self.training)
        heads = [F.gather_neighbors(h[:, k], edge_index, used[:, k]) for k in range(self.heads)]
        out = ops.cat(heads, -1) if self.concat else ops.stack(heads).mean(0)
        out = out if self.bias is None else out + self.bias
        return (out, (edge_index, weights)) if return_attention_weights else out

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"
