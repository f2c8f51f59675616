"""Muon: momentum whose matrices are made orthogonal before they are followed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.optim.optimizer import Optimizer, Params, refuse_sparse, scalar

__all__ = ["Muon"]


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """A matrix near U V^T of the singular value decomposition, by Newton and Schulz's iteration of degree five.

    In bfloat16, as the method's author has it: the singular values end somewhere between 0.7 and 1.2.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.bfloat16()
    x = x.t() if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        x = ops.addmm(x, ops.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


def _rate(lr: float, how: str | None, rows: int, columns: int) -> float:
    if how == "match_rms_adamw":
        return lr * 0.2 * math.sqrt(max(rows, columns))
    return lr * math.sqrt(max(1, rows / columns))


class Muon(Optimizer):
    """m = momentum m + (1 - momentum) g;  p = (1 - lr decay) p - lr' orthogonal(m).

    For matrices only: ValueError for parameters of other ranks (leave embeddings, heads and biases to AdamW).
    `nesterov` looks one step ahead; `adjust_lr_fn` scales lr with the shape: "original" (the default) by
    sqrt(max(1, rows / columns)), "match_rms_adamw" by 0.2 sqrt(max(rows, columns)).
    Reference: `torch.optim.Muon` (Jordan et al., 2024).

        >>> optimizer = optim.Muon([p for p in model.parameters() if p.ndim == 2], lr=1e-3)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {tuple(param.shape)}"
                    )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        with set_grad_enabled(False):
            self._update_all()
        return loss

    def _update_all(self) -> None:
        for group in self.param_groups:
            lr, momentum = scalar(group["lr"]), group["momentum"]
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                refuse_sparse("Muon", grad)
                if param.is_complex():
                    raise RuntimeError("Muon does not support complex parameters")
                own = self.state[param]
                if not own:
                    own["momentum_buffer"] = ops.zeros_like(grad)
                average = own["momentum_buffer"].lerp_(grad, 1 - momentum)
                update = grad.lerp(average, momentum) if group["nesterov"] else average
                update = _orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                param.mul_(1 - lr * group["weight_decay"])
                param.add_(update, alpha=-_rate(lr, group["adjust_lr_fn"], *param.shape))
