"""What the optimizers that run a rule of mojo/kernels/optim_rules.mojo have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.ops.steps import fused_rule, real
from dumbtorch.optim.optimizer import Optimizer, refuse_sparse, scalar

__all__ = ["RuleOptimizer", "check_at_least_zero", "check_betas", "check_rate"]


def check_rate(lr: float | Tensor) -> None:
    """ValueError for a learning rate that is negative or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_at_least_zero(**options: float) -> None:
    """ValueError for a negative option; the message names it (``eps`` as epsilon)."""
    for name, value in options.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {'epsilon' if name == 'eps' else name} value: {value}")


def check_betas(betas: Sequence[float]) -> None:
    """ValueError for a weight of a running average outside [0, 1)."""
    for place, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {place}: {beta}")


class RuleOptimizer(Optimizer):
    """One fused kernel updates all parameters of a group by the rule that the subclass names.

    So `foreach`, `fused` and `capturable` change nothing; `differentiable` records the step in ops instead.
    """

    #: The kernel's rule, by its name in `ops.steps.RULES`.
    rule = ""
    #: Whether there is a step for sparse gradients too.
    takes_sparse = False
    #: What groups of older state dicts may lack.
    later: dict[str, Any] = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in self.later.items():
                group.setdefault(name, default)
            for param in group["params"]:
                own = self.state.get(param)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = ops.tensor(float(own["step"]))

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter that meets its first gradient."""
        raise NotImplementedError

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        """The names of the state tensors that the kernel updates."""
        raise NotImplementedError

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        """What the kernel needs of each parameter's count of steps."""
        return (0.0, 0.0, 0.0)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """The numbers that all parameters share, by the kernel's names."""
        return {}

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        """The same step in ops, through which gradients flow."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        for group in self.param_groups:
            if group["differentiable"]:
                self._recorded_step(group)
            else:
                self._fused_step(group)
        return loss

    def _with_gradient(
        self, group: dict[str, Any], sparse: bool = False
    ) -> list[tuple[Tensor, Tensor, dict[str, Any], int]]:
        """The parameters with a dense gradient, or those with a sparse one, which only some rules take."""
        found = []
        for param in group["params"]:
            grad = param.grad
            if grad is not None:
                if not self.takes_sparse:
                    refuse_sparse(type(self).__name__, grad)
                if grad.is_sparse is not sparse:
                    continue
                own = self.state[param]
                if not own:
                    own.update(self._start(param, group))
                found.append((param, grad, own, int(own["step"].add_(1).item())))
        return found

    def _fused_step(self, group: dict[str, Any]) -> None:
        found = self._with_gradient(group)
        if not found:
            return
        states = [None if slot is None else [real(own[slot]) for _, _, own, _ in found] for slot in self._slots(group)]
        numbers = [number for _, _, own, step in found for number in self._numbers(own, step, group)]
        values = {
            "lr": scalar(group["lr"]), "momentum": 0.0, "weight_decay": group.get("weight_decay", 0.0),
            "maximize": group["maximize"], "decoupled": False, "beta1": 0.0, "beta2": 0.0, "eps": 0.0,
            "centered": False, "low": 0.0, "high": 0.0,
        } | self._settings(group)  # fmt: skip
        fused_rule(
            self.rule,
            [real(param) for param, _, _, _ in found],
            [real(grad) for _, grad, _, _ in found],
            states,
            numbers,
            [float(value) for value in values.values()],
        )

    def _recorded_step(self, group: dict[str, Any]) -> None:
        with set_grad_enabled(True):
            for param, grad, own, step in self._with_gradient(group):
                if group["maximize"]:
                    grad = -grad
                decay = group.get("weight_decay", 0.0)
                if decay != 0:
                    if group.get("decoupled_weight_decay"):
                        param.mul_(1 - group["lr"] * decay)
                    else:
                        grad = grad + param.clone() * decay
                self._record(param, grad, own, step, group)
