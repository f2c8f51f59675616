"""Gamma numbers that carry gradients."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import finfo, float64
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import Function


class _StandardGamma(Function):
    @staticmethod
    def forward(ctx: Any, shape: Tensor) -> Any:
        x = ops._standard_gamma(shape)
        ctx.save_for_backward(shape, x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        shape, x = ctx.saved_tensors
        return grad * _slope(shape.detach(), x.detach())


def standard_gamma(shape: Tensor) -> Any:
    """Gamma numbers of the given shapes with scale 1, differentiable once."""
    return _StandardGamma.apply(shape)


def _slope(shape: Tensor, x: Tensor) -> Tensor:
    """How a number of the distribution moves with its shape at a constant quantile: -dP/da over the density.

    (Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", NeurIPS 2018.) P(a, x) is the sum of the terms
    x^(a + n) e^-x / Gamma(a + n + 1), and a term's derivative is the term times log x - digamma(a + n + 1). Over the
    density x^(a - 1) e^-x / Gamma(a), the first term is x / a, and each further one x / (a + n) of the one before.
    """
    a = shape.to(float64)
    x64 = x.to(float64).clamp(min=finfo(x.dtype).tiny)
    term = x64 / a
    psi = (a + 1).digamma()
    log_x = x64.log()
    total = term * (log_x - psi)
    n = 1
    while True:
        # Terms grow as long as a + n < x, and fall ever faster afterwards.
        for _ in range(16):
            step = a + n
            term = term * x64 / step
            psi = psi + 1 / step
            total = total + term * (log_x - psi)
            n += 1
        done = (term * (psi - log_x).abs() <= 1e-15 * total.abs()) & (a + n > x64)
        if done.all() or not total.isfinite().all():
            return (-total).to(shape.dtype)
