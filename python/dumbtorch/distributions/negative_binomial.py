"""The negative binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch.autograd import no_grad
from dumbtorch.distributions import constraints
from dumbtorch.distributions._weighted import Binary
from dumbtorch.nn.functional import logsigmoid

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Binary):
    """Successes, each with the probability ``probs``, before ``total_count`` (a real number >= 0) failures.

    Reference: ``torch.distributions.NegativeBinomial``.
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _expands = {"total_count": 0, "probs": 0, "logits": 0}
    total_count: Any

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(self._take_either(probs, logits, total_count=total_count), validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        # A mixture of Poisson distributions whose rates have a gamma distribution.
        with no_grad():
            shape = self._extended_shape(sample_shape)
            rate = ops._standard_gamma(self.total_count.expand(shape)) * self.logits.exp()
            return rate.poisson() if hasattr(rate, "poisson") else ops.poisson(rate)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        count = self.total_count
        unnormalized = count * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        normalizer = (1.0 + value).lgamma() + count.lgamma() - (count + value).lgamma()
        # no failure awaited: all of the probability is at 0
        return unnormalized - ops.where(count + value == 0.0, 0.0, normalizer)
