"""What distributions with ``probs`` or ``logits`` share."""

from __future__ import annotations

from typing import Any

from dumbtorch._size import Size
from dumbtorch._tensor import Tensor
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


def check_either(probs: Any, logits: Any) -> None:
    """ValueError unless one of the two is given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class Binary(Distribution):
    """The probability of success as ``probs`` or, in log odds, as ``logits``: each is made from the other."""

    _expands = {"probs": 0, "logits": 0}

    def _take_either(self, probs: Any, logits: Any, **others: Any) -> Size:
        """Sets the one that is given, and other parameters in its dtype; returns their shape."""
        check_either(probs, logits)
        name, given = ("probs", probs) if probs is not None else ("logits", logits)
        value, *rest = broadcast_all(given, *others.values())
        setattr(self, name, value)
        for other, tensor in zip(others, rest, strict=True):
            setattr(self, other, tensor.type_as(value))
        return Size(value.shape)

    @property
    def _param(self) -> Tensor:
        given: Tensor = self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]
        return given

    @lazy_property
    def logits(self) -> Any:
        """The log odds of success."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Any:
        """The probability of success."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of ``probs`` and ``logits``."""
        return Size(self._param.shape)
