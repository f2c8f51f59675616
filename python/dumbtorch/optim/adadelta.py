"""Adadelta: steps whose size follows the steps before, so that no rate need be chosen."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_rate
from dumbtorch.optim.optimizer import Params

__all__ = ["Adadelta"]


class Adadelta(RuleOptimizer):
    """v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2;  p = p - lr d.

    ValueError for options out of range. Reference: `torch.optim.Adadelta` (Zeiler, 2012).

        >>> optimizer = optim.Adadelta(model.parameters())
    """

    rule = "adadelta"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero(eps=eps, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": ops.tensor(0.0), "square_avg": ops.zeros_like(param), "acc_delta": ops.zeros_like(param)}

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("square_avg", "acc_delta", None)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"beta2": group["rho"], "eps": group["eps"]}

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        square = own["square_avg"] = own["square_avg"] * rho + grad * grad * (1 - rho)
        delta = (own["acc_delta"] + eps).sqrt() / (square + eps).sqrt() * grad
        own["acc_delta"] = own["acc_delta"] * rho + delta * delta * (1 - rho)
        param.sub_(delta * group["lr"])
