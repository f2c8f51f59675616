"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch.distributions import constraints
from dumbtorch.distributions.distribution import Distribution

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """What exceeds a high threshold ``loc``; ``concentration`` 0 is exponential, below 0 bounded.

    Reference: ``torch.distributions.GeneralizedPareto``.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True
    _expands = {"loc": 0, "scale": 0, "concentration": 0}
    loc: Any
    scale: Any
    concentration: Any

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        shape = self._take(loc=loc, scale=scale, concentration=concentration)
        super().__init__(shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        upper = ops.where(self.concentration < 0, self.loc - self.scale / self.concentration, math.inf)
        return constraints.interval(self.loc, upper)

    def _choose(self, exponential: Any, other: Any) -> Any:
        """``exponential`` where the concentration is 0, else ``other`` of it."""
        zero = self.concentration.abs() <= 1e-8
        return ops.where(zero, exponential, other(ops.where(zero, 1.0, self.concentration)))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(self.loc.new_empty(self._extended_shape(sample_shape)).uniform_())

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        z = (value - self.loc) / self.scale

        def other(c: Any) -> Any:
            y = 1 / c + 1
            return ops.where(y == 0, 0.0, y * (c * z).log1p())

        return -self.scale.log() - self._choose(z, other)

    def log_survival_function(self, value: Any) -> Any:
        """The logarithm of the probability of more than ``value``."""
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        return self._choose(-z, lambda c: -(c * z).log1p() / c)

    def log_cdf(self, value: Any) -> Any:
        """The logarithm of :meth:`cdf`."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Any:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Any:
        log_rest = (-value).log1p()
        return self.loc + self.scale * self._choose(-log_rest, lambda c: (-c * log_rest).expm1() / c)

    @property
    def mean(self) -> Any:
        c = self.concentration
        return ops.where(c < 1, self.loc + self.scale / (1 - ops.where(c < 1, c, 0.5)), math.nan)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        valid = self.concentration < 0.5
        c = ops.where(valid, self.concentration, 0.25)
        return ops.where(valid, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), math.nan)

    def entropy(self) -> Any:
        return self.scale.log() + self.concentration + 1
