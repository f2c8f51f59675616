"""Rprop: a step size for each element, which grows while the gradient keeps its sign."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_rate
from dumbtorch.optim.optimizer import Params, scalar

__all__ = ["Rprop"]


class Rprop(RuleOptimizer):
    """p = p - sign(g) * s, where s grows by etas[1] when g keeps its sign and shrinks by etas[0] when it turns.

    s starts at `lr` and stays within `step_sizes`; after a turn one step is left out. For full batches. ValueError for
    options out of range. Reference: `torch.optim.Rprop` (Riedmiller and Braun, 1993).

        >>> optimizer = optim.Rprop(model.parameters(), lr=0.01)
    """

    rule = "rprop"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        lr = scalar(group["lr"])
        size = ops.full_like(param, complex(lr, lr) if param.is_complex() else lr)
        return {"step": ops.tensor(0.0), "prev": ops.zeros_like(param), "step_size": size}

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("prev", "step_size", None)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        (shrink, stretch), (low, high) = group["etas"], group["step_sizes"]
        return {"beta1": shrink, "beta2": stretch, "low": low, "high": high}

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        (shrink, stretch), (low, high) = group["etas"], group["step_sizes"]
        turn = (grad * own["prev"]).detach()
        factor = ops.ones_like(turn).masked_fill(turn > 0, stretch).masked_fill(turn < 0, shrink)
        size = own["step_size"] = (own["step_size"] * factor).clamp(low, high)
        grad = own["prev"] = grad.masked_fill(turn < 0, 0.0)
        param.sub_(grad.sign() * size)
