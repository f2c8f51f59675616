"""The multinomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import int64
from dumbtorch._size import Size
from dumbtorch.distributions import constraints
from dumbtorch.distributions.binomial import Binomial
from dumbtorch.distributions.categorical import Categorical
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.utils import broadcast_all

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """How often each category comes in ``total_count`` (one int) draws. The others as :class:`Categorical`.

    Reference: ``torch.distributions.Multinomial``.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    total_count: int
    _expands = {"_categorical": 0}

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> Any:
        """Probabilities of the categories."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """Their normalized logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        """The shape of ``probs`` and ``logits``."""
        return self._categorical.param_shape

    @property
    def mean(self) -> Any:
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = self.probs.new_zeros(self._extended_shape(sample_shape))
        return counts.scatter_add_(-1, drawn, ops.ones_like(drawn, dtype=counts.dtype))

    def entropy(self) -> Any:
        count = self.probs.new_full((), self.total_count)
        binomials = Binomial(self.total_count, self.probs)
        values = ops.arange(1, self.total_count + 1, dtype=int64, device=self.probs.device).to(self.probs.dtype)
        values = values.view((-1,) + (1,) * self.probs.dim())
        weights = binomials.log_prob(values).exp()
        return (
            count * self._categorical.entropy() - (count + 1).lgamma() + (weights * (values + 1).lgamma()).sum((0, -1))
        )

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        impossible = (value == 0) & (logits == -float("inf"))  # 0 * log(0)
        powers = (ops.where(impossible, 0.0, logits) * value).sum(-1)
        return (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1) + powers
