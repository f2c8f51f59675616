"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch.distributions import constraints
from dumbtorch.distributions._weighted import Binary
from dumbtorch.distributions.exp_family import ExponentialFamily
from dumbtorch.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs
from dumbtorch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Binary, ExponentialFamily):
    """Numbers of [0, 1] with a density proportional to ``probs^x (1 - probs)^(1 - x)``; ``logits`` are log odds.

    Between the ``lims`` around 1/2, where the formulas lose all digits, series take their place.
    Reference: ``torch.distributions.ContinuousBernoulli`` (Loaiza-Ganem and Cunningham, NeurIPS 2019).
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        shape = self._take_either(probs, logits)
        if probs is not None:
            if validate_args is not None and not constraints.unit_interval.check(self.probs).all():
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Any:
        """The parameter in (0, 1)."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> Any:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _choose(self, formula: Any, series: Any) -> Any:
        """``formula`` of the probabilities where that is stable, else ``series`` of their distance from 1/2."""
        stable = self._stable()
        # kept away from 1/2, so that gradients are finite where the formula is not taken
        return ops.where(stable, formula(ops.where(stable, self.probs, self._lims[0])), series(self.probs - 0.5))

    def _log_norm(self) -> Any:
        """The logarithm of what makes the density integrate to 1."""
        return self._choose(
            lambda p: ((-p).log1p() - p.log()).abs().log() - (1 - 2 * p).abs().log(),
            lambda d: math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * d**2) * d**2,
        )

    @property
    def mean(self) -> Any:
        return self._choose(
            lambda p: p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log()),
            lambda d: 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * d**2) * d,
        )

    @property
    def variance(self) -> Any:
        return self._choose(
            lambda p: p * (p - 1.0) / (1.0 - 2.0 * p) ** 2 + 1.0 / ((-p).log1p() - p.log()) ** 2,
            lambda d: 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * d**2) * d**2,
        )

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(self.probs.new_empty(self._extended_shape(sample_shape)).uniform_())

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_norm()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        inner = self._choose(
            lambda p: (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0), lambda d: value
        )
        return ops.where(value <= 0.0, 0.0, ops.where(value >= 1.0, 1.0, inner))

    def icdf(self, value: Any) -> Any:
        return self._choose(
            lambda p: ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p()),
            lambda d: value,
        )

    def entropy(self) -> Any:
        zero, one = (-self.probs).log1p(), self.probs.log()
        return self.mean * (zero - one) - self._log_norm() - zero

    @property
    def _natural_params(self) -> tuple[Any, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Any) -> Any:
        stable = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        kept = ops.where(stable, x, self._lims[0] - 0.5)
        series = 0.5 * x + x**2 / 24.0 - x**4 / 2880.0
        return ops.where(stable, kept.expm1().abs().log() - kept.abs().log(), series)
