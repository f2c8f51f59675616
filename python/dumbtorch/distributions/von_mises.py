"""The von Mises distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops, special
from dumbtorch._dtypes import bool as _bool
from dumbtorch._dtypes import float64
from dumbtorch.autograd import no_grad
from dumbtorch.distributions import constraints
from dumbtorch.distributions.distribution import Distribution

__all__ = ["VonMises"]


class VonMises(Distribution):
    """Angles around ``loc``, the closer the larger ``concentration`` > 0.

    Reference: ``torch.distributions.VonMises``.
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    _expands = {"loc": 0, "concentration": 0}
    loc: Any
    concentration: Any

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._take(loc=loc, concentration=concentration), validate_args=validate_args)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        # log I0(k) = log(i0e(k)) + k, without overflow
        normalizer = math.log(2 * math.pi) + special.i0e(self.concentration).log() + self.concentration
        return self.concentration * (value - self.loc).cos() - normalizer

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """By rejection from a wrapped Cauchy distribution (Best and Fisher, 1979), in float64."""
        with no_grad():
            shape = self._extended_shape(sample_shape)
            loc, k = self.loc.to(float64).expand(shape), self.concentration.to(float64).expand(shape)
            tau = 1 + (1 + 4 * k**2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = ops.where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))
            angle = ops.zeros_like(k)
            done = ops.zeros(shape, dtype=_bool, device=k.device)
            while not done.all():
                u1, u2, u3 = ops.rand((3, *shape), dtype=float64, device=k.device).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = ((c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)) & ~done
                angle = ops.where(accept, (u3 - 0.5).sign() * f.clamp(-1, 1).acos(), angle)
                done = done | accept
            return ((angle + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        """The circular variance."""
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)
