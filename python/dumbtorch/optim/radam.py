"""RAdam: Adam that holds its scaling back until the average square can be trusted."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_betas, check_rate
from dumbtorch.optim.optimizer import Params, scalar

__all__ = ["RAdam"]


class RAdam(RuleOptimizer):
    """Adam with the variance of its step size rectified; plain momentum in the first steps.

    `decoupled_weight_decay` takes the decay from the parameter directly. ValueError for options out of range.
    Reference: `torch.optim.RAdam` (Liu et al., 2019).

        >>> optimizer = optim.RAdam(model.parameters(), lr=1e-3)
    """

    rule = "radam"
    later = RuleOptimizer.later | {"decoupled_weight_decay": False}

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": ops.tensor(0.0), "exp_avg": ops.zeros_like(param), "exp_avg_sq": ops.zeros_like(param)}

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("exp_avg", "exp_avg_sq", None)

    def _rates(self, step: int, group: dict[str, Any]) -> tuple[Any, Any]:
        """The rate to divide by the root of the average square, and the plain one; one of them is zero."""
        beta2, lr = group["betas"][1], group["lr"]
        left = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / left
        if length <= 5.0:
            return 0.0, lr
        rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        return lr * (rectified * left) ** 0.5, 0.0

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        scaled, plain = self._rates(step, group)
        return (1 - group["betas"][0] ** step, scalar(scaled), scalar(plain))

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "beta1": beta1, "beta2": beta2, "eps": group["eps"], "decoupled": group["decoupled_weight_decay"],
        }  # fmt: skip

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        average = own["exp_avg"] = own["exp_avg"] + (grad - own["exp_avg"]) * (1 - beta1)
        square = own["exp_avg_sq"] = own["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
        scaled, plain = self._rates(step, group)
        rate = plain if isinstance(scaled, float) and scaled == 0.0 else scaled / (square.sqrt() + group["eps"])
        param.sub_(average / (1 - beta1**step) * rate)
