"""Layers of which each token uses a few: a mixture of experts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.container import ModuleList
from dumbtorch.nn.modules.linear import Linear
from dumbtorch.nn.modules.module import Module


class MixtureOfExperts(Module):
    """Sends each token (..., dim) to the `top_k` experts its router likes best: (their weighted sum, the balance loss).

    `experts` are modules from (n, dim) to (n, dim). The weights are the router's probabilities of the chosen experts,
    divided by their sum where there are several. The balance loss, to be added to the training loss times about 0.01,
    is experts * sum over experts of (share of the choices that fall on it) * (mean of its probability): 1 where all
    are used alike. With a `capacity_factor` an expert takes at most that many times the even share of the choices,
    the first ones in order; the others count as zero. Reference: Fedus et al., "Switch transformers", 2021 (top_k 1);
    Shazeer et al., 2017.

        >>> moe = nn.blocks.MixtureOfExperts(16, [nn.Linear(16, 16) for _ in range(4)])
        >>> y, balance = moe(dumbtorch.rand(2, 5, 16))
        >>> y.shape, balance.shape
        (torch.Size([2, 5, 16]), torch.Size([]))
    """

    def __init__(
        self, dim: int, experts: Iterable[Module], top_k: int = 1, capacity_factor: float | None = None
    ) -> None:
        super().__init__()
        self.experts = ModuleList(experts)
        if not 1 <= top_k <= len(self.experts):
            raise ValueError(f"MixtureOfExperts: top_k must be within 1 and {len(self.experts)}, not {top_k}")
        self.router = Linear(dim, len(self.experts), bias=False)
        self.top_k = top_k
        self.capacity_factor = capacity_factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.reshape(-1, x.shape[-1])
        count = len(self.experts)
        probabilities = F.softmax(self.router(tokens), -1)
        weights, chosen = probabilities.topk(self.top_k, -1)
        if self.top_k > 1:
            weights = weights / weights.sum(-1, True)
        capacity = len(tokens)
        if self.capacity_factor is not None:
            capacity = math.ceil(self.capacity_factor * self.top_k * len(tokens) / count)
        out = ops.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, place = (index[:capacity] for index in (chosen == number).nonzero(as_tuple=True))
            if len(token):
                made = expert(tokens[token]) * weights[token, place].unsqueeze(-1)
                out = out.index_add(0, token, made)
        share = F.one_hot(chosen, count).to(probabilities.dtype).mean((0, 1))
        return out.reshape(x.shape), count * (share * probabilities.mean(0)).sum()

    def extra_repr(self) -> str:
        return f"top_k={self.top_k}, capacity_factor={self.capacity_factor}"
