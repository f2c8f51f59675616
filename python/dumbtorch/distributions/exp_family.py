"""The base of exponential families."""

from dumbtorch.distributions.distribution import ExponentialFamily

__all__ = ["ExponentialFamily"]
