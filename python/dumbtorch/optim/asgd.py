"""ASGD: gradient descent that averages the parameters of its last steps."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_rate
from dumbtorch.optim.optimizer import Params, scalar

__all__ = ["ASGD"]


class ASGD(RuleOptimizer):
    """p = (1 - lambd eta) p - eta g, with eta = lr / (1 + lambd lr t)^alpha; the state `ax` averages p from step t0 on.

    ValueError for options out of range. Reference: `torch.optim.ASGD` (Polyak and Juditsky, 1992).

        >>> optimizer = optim.ASGD(model.parameters(), lr=0.01)
    """

    rule = "asgd"

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_at_least_zero(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for own in self.state.values():
            for name in ("eta", "mu"):
                if own and not isinstance(own[name], Tensor):
                    own[name] = ops.tensor(float(own[name]))

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.tensor(0.0),
            "eta": ops.tensor(float(scalar(group["lr"]))),
            "mu": ops.tensor(1.0),
            "ax": ops.zeros_like(param),
        }

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("ax", None, None)

    def _advance(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float]:
        """This step's eta and mu; leaves the next one's in the state."""
        eta, mu = own["eta"].item(), own["mu"].item()
        lr = scalar(group["lr"])
        own["eta"].fill_(lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        own["mu"].fill_(1 / max(1, step - group["t0"]))
        return eta, mu

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        eta, mu = self._advance(own, step, group)
        return (1 - group["lambd"] * eta, eta, mu)

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        eta, mu = self._advance(own, step, group)
        param.mul_(1 - group["lambd"] * eta)
        param.sub_(grad * eta)
        own["ax"] = param.clone() if mu == 1 else own["ax"] + (param.clone() - own["ax"]) * mu
