"""The half-normal distribution."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch.distributions.location_scale import Half
from dumbtorch.distributions.normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Half):
    """The absolute value of a normal number of mean 0 and deviation ``scale`` > 0.

    Reference: ``torch.distributions.HalfNormal``.
    """

    _whole = Normal

    @property
    def mean(self) -> Any:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Any:
        return self.scale.pow(2) * (1 - 2 / math.pi)
