"""Adamax: Adam with the largest gradient in place of the average square."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_betas, check_rate
from dumbtorch.optim.optimizer import Params, scalar

__all__ = ["Adamax"]


class Adamax(RuleOptimizer):
    """m = b1 m + (1 - b1) g;  u = max(b2 u, |g| + eps);  p = p - lr / (1 - b1^t) * m / u.

    ValueError for options out of range. Reference: `torch.optim.Adamax` (Kingma and Ba, 2014).

        >>> optimizer = optim.Adamax(model.parameters(), lr=2e-3)
    """

    rule = "adamax"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_at_least_zero(eps=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": ops.tensor(0.0), "exp_avg": ops.zeros_like(param), "exp_inf": ops.zeros_like(param)}

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("exp_avg", "exp_inf", None)

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        return (scalar(group["lr"]) / (1 - group["betas"][0] ** step), 0.0, 0.0)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"beta1": group["betas"][0], "beta2": group["betas"][1], "eps": group["eps"]}

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        average = own["exp_avg"] = own["exp_avg"] + (grad - own["exp_avg"]) * (1 - beta1)
        norm = own["exp_inf"] = ops.maximum(own["exp_inf"] * beta2, grad.abs() + group["eps"])
        param.sub_(average / norm * (group["lr"] / (1 - beta1**step)))
