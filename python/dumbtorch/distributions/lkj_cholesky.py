"""Random correlation matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import finfo
from dumbtorch.autograd import no_grad
from dumbtorch.distributions import constraints
from dumbtorch.distributions.beta import Beta
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.utils import broadcast_all, standard_normal

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Triangular factors of ``dim`` x ``dim`` correlation matrices, density ~ ``det ^ (concentration - 1)``.

    By the onion method. ValueError for ``dim`` below 2. Reference: ``torch.distributions.LKJCholesky`` (Lewandowski,
    Kurowicka and Joe, "Generating random correlation matrices based on vines and extended onion method", 2009).
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _expands = {"concentration": 0}

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            # How much of each row's length lies before the diagonal, and in which direction.
            row = ops.arange(self.dim - 1, dtype=self.concentration.dtype, device=self.concentration.device)
            row = ops.cat([row.new_zeros((1,)), row])
            rest = (self.concentration + 0.5 * (self.dim - 2)).unsqueeze(-1) - 0.5 * row
            share = Beta(row + 0.5, rest).sample(sample_shape).unsqueeze(-1)
            direction = standard_normal(self._extended_shape(sample_shape), share).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            factor = share.sqrt() * direction
            diagonal = (1 - (factor**2).sum(-1)).clamp(min=finfo(factor.dtype).tiny).sqrt()
            return factor + diagonal.diag_embed()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        place = ops.arange(2, self.dim + 1, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - place
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        normalizer = 0.5 * less * math.log(math.pi) + (alpha - 0.5).mvlgamma(less) - alpha.lgamma() * less
        return (order * diagonal.log()).sum(-1) - normalizer
