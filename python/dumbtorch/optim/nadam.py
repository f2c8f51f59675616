"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.optim._rule import RuleOptimizer, check_at_least_zero, check_betas, check_rate
from dumbtorch.optim.optimizer import Params, scalar

__all__ = ["NAdam"]


class NAdam(RuleOptimizer):
    """Adam whose step looks ahead: along the new gradient and the average of the next step, weighted by mu_t.

    mu_t = b1 (1 - 0.5 * 0.96^(t momentum_decay)); `decoupled_weight_decay` takes the decay from the parameter directly.
    ValueError for options out of range. Reference: `torch.optim.NAdam` (Dozat, 2016).

        >>> optimizer = optim.NAdam(model.parameters(), lr=2e-3)
    """

    rule = "nadam"
    later = RuleOptimizer.later | {"decoupled_weight_decay": False}

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_at_least_zero(weight_decay=weight_decay, momentum_decay=momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for own in self.state.values():
            if own and not isinstance(own["mu_product"], Tensor):
                own["mu_product"] = ops.tensor(float(own["mu_product"]))

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.tensor(0.0),
            "mu_product": ops.tensor(1.0),
            "exp_avg": ops.zeros_like(param),
            "exp_avg_sq": ops.zeros_like(param),
        }

    def _slots(self, group: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        return ("exp_avg", "exp_avg_sq", None)

    def _rates(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[Any, Any]:
        """The rates of the gradient and of its average; steps the product of all mu."""
        beta1, decay, lr = group["betas"][0], group["momentum_decay"], group["lr"]
        mu, following = (beta1 * (1.0 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        product = own["mu_product"].mul_(mu).item()
        return lr * (1.0 - mu) / (1.0 - product), lr * following / (1.0 - product * following)

    def _numbers(self, own: dict[str, Any], step: int, group: dict[str, Any]) -> tuple[float, float, float]:
        of_gradient, of_average = self._rates(own, step, group)
        return (scalar(of_gradient), scalar(of_average), 1 - group["betas"][1] ** step)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "beta1": beta1, "beta2": beta2, "eps": group["eps"], "decoupled": group["decoupled_weight_decay"],
        }  # fmt: skip

    def _record(self, param: Tensor, grad: Tensor, own: dict[str, Any], step: int, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        average = own["exp_avg"] = own["exp_avg"] + (grad - own["exp_avg"]) * (1 - beta1)
        square = own["exp_avg_sq"] = own["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
        below = (square / (1 - beta2**step)).sqrt() + group["eps"]
        of_gradient, of_average = self._rates(own, step, group)
        param.sub_(grad * of_gradient / below)
        param.sub_(average * of_average / below)
