"""The half-Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import ops
from dumbtorch.distributions.cauchy import Cauchy
from dumbtorch.distributions.location_scale import Half

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """The absolute value of a Cauchy number around 0 of half width ``scale`` > 0.

    Reference: ``torch.distributions.HalfCauchy``.
    """

    _whole = Cauchy

    @property
    def mean(self) -> Any:
        return ops.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Any:
        return self.base_dist.variance
