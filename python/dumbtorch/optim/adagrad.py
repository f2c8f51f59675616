"""Adagrad: steps that shrink with the sum of all squared gradients."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_rate
from dumbtorch.optim.optimizer import Params, check_fused, scalar

__all__ = ["Adagrad"]


class Adagrad(RuleOptimizer):
    """s = s + g^2;  p = p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).

    `initial_accumulator_value` is where s starts. A sparse gradient changes only the elements that it has; it goes with
    neither `weight_decay` nor `fused` (RuntimeError). ValueError for options out of range.
    Reference: `torch.optim.Adagrad` (Duchi, Hazan and Singer, 2011).

        >>> optimizer = optim.Adagrad(model.parameters(), lr=0.1)
    """

    rule = "adagrad"
    takes_sparse = True
    later = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_at_least_zero(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].update(self._start(param, group))

    def share_memory(self) -> None:
        """Move the sums into memory that other processes can share."""
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["sum"].share_memory_()

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        value = self.defaults["initial_accumulator_value"]
        start = complex(value, value) if param.is_complex() else value
        return {"step": ops.tensor(0.0), "sum": ops.full_like(param, start)}

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("sum", None, None)

    def _rate(self, step: int, group: dict[str, Any]) -> Any:
        return group["lr"] / (1 + (step - 1) * group["lr_decay"])

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        return (scalar(self._rate(step, group)), 0.0, 0.0)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"eps": group["eps"]}

    def _fused_step(self, group: dict[str, Any]) -> None:
        super()._fused_step(group)
        with set_grad_enabled(False):
            for param, grad, own, step in self._with_gradient(group, sparse=True):
                self._sparse_step(param, grad, own["sum"], self._rate(step, group), group)

    def _recorded_step(self, group: dict[str, Any]) -> None:
        super()._recorded_step(group)
        with set_grad_enabled(True):
            for param, grad, own, step in self._with_gradient(group, sparse=True):
                self._sparse_step(param, grad, own["sum"], self._rate(step, group), group)

    def _sparse_step(self, param: Tensor, grad: Any, total: Tensor, rate: Any, group: dict[str, Any]) -> None:
        if group["fused"]:
            raise RuntimeError("`fused` does not support sparse grad or complex param")
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        grad = (-grad if group["maximize"] else grad).coalesce()
        total.add_(grad * grad)
        param.add_(grad._with(grad._val / (total.sparse_mask(grad)._val.sqrt() + group["eps"])), alpha=-scalar(rate))

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        total = own["sum"] = own["sum"] + grad * grad
        param.sub_(grad / (total.sqrt() + group["eps"]) * self._rate(step, group))
