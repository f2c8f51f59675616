"""Distances and similarities as layers: `CosineSimilarity`, `PairwiseDistance`."""

from __future__ import annotations

from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension. Reference: `torch.nn.PairwiseDistance`.

    >>> nn.PairwiseDistance()(dumbtorch.zeros(4, 3), dumbtorch.ones(4, 3)).shape
    torch.Size([4])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between x1 and x2 along `dim`. Reference: `torch.nn.CosineSimilarity`.

    >>> nn.CosineSimilarity()(dumbtorch.ones(4, 3), dumbtorch.ones(4, 3)).shape
    torch.Size([4])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
