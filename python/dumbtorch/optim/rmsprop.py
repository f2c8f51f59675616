"""RMSprop: steps scaled by a running average of the gradient's square."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_rate
from dumbtorch.optim.optimizer import Params

__all__ = ["RMSprop"]


class RMSprop(RuleOptimizer):
    """v = alpha v + (1 - alpha) g^2;  p = p - lr * g / (sqrt(v) + eps).

    `centered` takes the square of the average gradient from v, `momentum` adds up the steps. ValueError for options out
    of range. Reference: `torch.optim.RMSprop` (Tieleman and Hinton, 2012; centred: Graves, 2013).

        >>> optimizer = optim.RMSprop(model.parameters(), lr=0.01, momentum=0.9)
    """

    rule = "rmsprop"
    later = RuleOptimizer.later | {"momentum": 0, "centered": False}

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_at_least_zero(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        own = {"step": ops.tensor(0.0), "square_avg": ops.zeros_like(param)}
        if group["momentum"] > 0:
            own["momentum_buffer"] = ops.zeros_like(param)
        if group["centered"]:
            own["grad_avg"] = ops.zeros_like(param)
        return own

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        momentum = "momentum_buffer" if group["momentum"] > 0 else None
        return ("square_avg", momentum, "grad_avg" if group["centered"] else None)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "momentum": group["momentum"], "beta2": group["alpha"], "eps": group["eps"], "centered": group["centered"],
        }  # fmt: skip

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        alpha = group["alpha"]
        square = own["square_avg"] = own["square_avg"] * alpha + grad * grad * (1 - alpha)
        if group["centered"]:
            average = own["grad_avg"] = own["grad_avg"] + (grad - own["grad_avg"]) * (1 - alpha)
            square = square - average * average
        change = grad / (square.sqrt() + group["eps"])
        if group["momentum"] > 0:
            change = own["momentum_buffer"] = own["momentum_buffer"] * group["momentum"] + change
        param.sub_(change * group["lr"])
