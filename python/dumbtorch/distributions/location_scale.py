"""What the families of a location and a scale share, and their halves."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import ops
from dumbtorch.distributions import constraints
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.transformed_distribution import TransformedDistribution
from dumbtorch.distributions.transforms import AbsTransform

__all__ = ["Half", "LocationScale"]


class LocationScale(Distribution):
    """A distribution around ``loc`` of the width ``scale`` > 0."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _expands = {"loc": 0, "scale": 0}
    loc: Any
    scale: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._take(loc=loc, scale=scale), validate_args=validate_args)

    @property
    def mode(self) -> Any:
        return self.loc


class Half(TransformedDistribution):
    """The absolute value of a number that `_whole` draws around 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    _whole: type[Any]

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._whole(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> Any:
        """The scale of the whole distribution."""
        return self.base_dist.scale

    @property
    def mode(self) -> Any:
        return ops.zeros_like(self.scale)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return ops.where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, prob: Any) -> Any:
        return self.base_dist.icdf((prob + 1) / 2)

    def entropy(self) -> Any:
        return self.base_dist.entropy() - math.log(2)
