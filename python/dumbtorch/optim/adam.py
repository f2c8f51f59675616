"""Adam: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.ops.steps import fused_adam
from dumbtorch.optim.optimizer import Optimizer, Params, check_fused, refuse_sparse, scalar

__all__ = ["Adam"]


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p - lr * m' / (sqrt(v') + eps).

    m' and v' are corrected for their start at zero. `weight_decay` is added to the gradient, or taken from the
    parameter directly if `decoupled_weight_decay`; `amsgrad` divides by the largest v so far; `maximize` climbs. One
    fused kernel updates all parameters of a group, so `foreach`, `fused` and `capturable` change nothing;
    `differentiable` records the step instead. ValueError for options out of range.
    Reference: `torch.optim.Adam` (Kingma and Ba, 2014).

        >>> optimizer = optim.Adam(model.parameters(), lr=1e-3)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor):
            if foreach and not capturable:
                raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
            if lr.numel() != 1:
                raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if len({isinstance(beta, Tensor) for beta in betas}) > 1:
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor) and foreach and not capturable:
                raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            if isinstance(beta, Tensor) and beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in (
                ("amsgrad", False),
                ("maximize", False),
                ("foreach", None),
                ("capturable", False),
                ("differentiable", False),
                ("decoupled_weight_decay", False),
                ("fused", None),
            ):
                group.setdefault(name, default)
            for param in group["params"]:
                own = self.state.get(param)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = ops.tensor(float(own["step"]))

    def _state_of(self, param: Tensor, amsgrad: bool) -> dict[str, Any]:
        own: dict[str, Any] = self.state[param]
        if not own:
            own["step"] = ops.tensor(0.0)
            own["exp_avg"] = ops.zeros_like(param)
            own["exp_avg_sq"] = ops.zeros_like(param)
            if amsgrad:
                own["max_exp_avg_sq"] = ops.zeros_like(param)
        return own

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        for group in self.param_groups:
            if group["differentiable"]:
                self._recorded_step(group)
                continue
            amsgrad = group["amsgrad"]
            params: list[Tensor] = []
            grads: list[Tensor] = []
            averages: list[Tensor] = []
            squares: list[Tensor] = []
            largest: list[Tensor] | None = [] if amsgrad else None
            steps: list[int] = []
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                refuse_sparse("Adam", grad, ", please consider SparseAdam instead")
                own = self._state_of(param, amsgrad)
                params.append(param)
                grads.append(grad)
                averages.append(own["exp_avg"])
                squares.append(own["exp_avg_sq"])
                if largest is not None:
                    largest.append(own["max_exp_avg_sq"])
                steps.append(int(own["step"].add_(1).item()))
            if not params:
                continue
            beta1, beta2 = group["betas"]
            fused_adam(
                params,
                grads,
                averages,
                squares,
                largest,
                steps,
                scalar(group["lr"]),
                scalar(beta1),
                scalar(beta2),
                group["eps"],
                scalar(group["weight_decay"]),
                amsgrad,
                group["maximize"],
                group["decoupled_weight_decay"],
            )
        return loss

    def _recorded_step(self, group: dict[str, Any]) -> None:
        """The same step in ops, through which gradients flow (to the gradients, a tensor `lr` and tensor betas)."""
        lr, decay = group["lr"], group["weight_decay"]
        beta1, beta2 = group["betas"]
        with set_grad_enabled(True):
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                refuse_sparse("Adam", grad, ", please consider SparseAdam instead")
                own = self._state_of(param, group["amsgrad"])
                step = int(own["step"].add_(1).item())
                if group["maximize"]:
                    grad = -grad
                if isinstance(decay, Tensor) or decay != 0:
                    if group["decoupled_weight_decay"]:
                        param.mul_(1 - lr * decay)
                    else:
                        grad = grad + param.clone() * decay
                average = own["exp_avg"] = own["exp_avg"] * beta1 + grad * (1 - beta1)
                square = own["exp_avg_sq"] = own["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
                if group["amsgrad"]:
                    square = own["max_exp_avg_sq"] = ops.maximum(own["max_exp_avg_sq"], square)
                scale = (1 - beta2**step) ** 0.5 * (lr / (1 - beta1**step))
                # sqrt(v) / c + eps, with c folded into the other side, as the kernel does.
                param.sub_(average * scale / (ops.sqrt(square) + group["eps"] * (1 - beta2**step) ** 0.5))
