"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.ops.steps import fused_sgd
from dumbtorch.optim.optimizer import Optimizer, Params, check_fused, scalar

__all__ = ["SGD"]


class SGD(Optimizer):
    """g = grad + weight_decay * p;  v = momentum * v + (1 - dampening) * g;  p = p - lr * v.

    The first v is g itself. `nesterov` steps along g + momentum * v (needs a momentum and no dampening), `maximize`
    climbs instead. One fused kernel updates all parameters of a group, so `foreach` and `fused` change nothing;
    `differentiable` records the step instead. A sparse gradient changes only the elements that it has, and goes with
    neither `weight_decay` nor `fused` (RuntimeError). ValueError for options out of range.
    Reference: `torch.optim.SGD`.

        >>> optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in (
                ("nesterov", False),
                ("maximize", False),
                ("foreach", None),
                ("differentiable", False),
                ("fused", False),
            ):
                group.setdefault(name, default)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        for group in self.param_groups:
            if group["differentiable"]:
                self._recorded_step(group)
                continue
            params: list[Tensor] = []
            grads: list[Tensor] = []
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if grad.is_sparse:
                    self._sparse_step(group, param, grad)
                    continue
                params.append(param)
                grads.append(grad)
            if not params:
                continue
            if group["momentum"] == 0:
                self._fused(group, params, grads, None, False)
            else:
                self._momentum_step(group, params, grads)
        return loss

    def _momentum_step(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        # Parameters that meet their first gradient take it as their momentum; usually that is all of them or none.
        state = self.state
        started: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        fresh: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for param, grad in zip(params, grads, strict=True):
            own = state[param]
            buffer = own.get("momentum_buffer")
            lists = started
            if buffer is None:
                buffer = own["momentum_buffer"] = ops.empty_like(param)
                lists = fresh
            lists[0].append(param)
            lists[1].append(grad)
            lists[2].append(buffer)
        if started[0]:
            self._fused(group, *started, False)
        if fresh[0]:
            self._fused(group, *fresh, True)

    def _sparse_step(self, group: dict[str, Any], param: Tensor, grad: Tensor) -> None:
        """The step of a sparse gradient: the momentum is sparse too, so that other elements do not move on."""
        if group["fused"]:
            raise RuntimeError("`_fused_sgd` does not support sparse gradients")
        with set_grad_enabled(False):
            if group["maximize"]:
                grad = -grad
            if group["weight_decay"] != 0:
                grad = grad.add(param, alpha=group["weight_decay"])  # raises: it would make the gradient dense
            if group["momentum"] != 0:
                own = self.state[param]
                buffer = own.get("momentum_buffer")
                if buffer is None:
                    buffer = own["momentum_buffer"] = grad.detach().clone()
                else:
                    buffer.mul_(group["momentum"]).add_(grad, alpha=1 - group["dampening"])
                grad = grad.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
            param.add_(grad, alpha=-scalar(group["lr"]))

    def _fused(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        buffers: list[Tensor] | None,
        first_step: bool,
    ) -> None:
        fused_sgd(
            params,
            grads,
            buffers,
            scalar(group["lr"]),
            group["momentum"],
            group["dampening"],
            scalar(group["weight_decay"]),
            group["nesterov"],
            group["maximize"],
            first_step,
        )

    def _recorded_step(self, group: dict[str, Any]) -> None:
        """The same step in ops, through which gradients flow (to the gradients and to a tensor `lr`)."""
        with set_grad_enabled(True):
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if group["maximize"]:
                    grad = -grad
                if isinstance(group["weight_decay"], Tensor) or group["weight_decay"] != 0:
                    grad = grad + param.clone() * group["weight_decay"]
                if group["momentum"] != 0:
                    own = self.state[param]
                    buffer = own.get("momentum_buffer")
                    if buffer is None:
                        buffer = grad.detach().clone()  # PyTorch starts the momentum outside the recording
                    else:
                        buffer = buffer * group["momentum"] + grad * (1 - group["dampening"])
                    own["momentum_buffer"] = buffer
                    grad = grad + buffer * group["momentum"] if group["nesterov"] else buffer
                param.sub_(grad * group["lr"])
