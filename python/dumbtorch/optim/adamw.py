"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.optim.adam import Adam
from dumbtorch.optim.optimizer import Params

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself: p = p * (1 - lr * weight_decay) before the step.

    Arguments as `Adam`, with a default decay of 1e-2. Reference: `torch.optim.AdamW` (Loshchilov and Hutter, 2019).
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # States saved before the option existed, or by Adam, still mean decoupled decay here.
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
