"""Adafactor: Adam's scaling from row and column averages, so that its state is small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import finfo
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.optim.optimizer import Optimizer, Params, refuse_sparse, scalar

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """The average square of a matrix's gradient is kept as a row times a column; steps are relative to the parameter.

    `beta2_decay` is the exponent of the averages' weight t^beta2_decay, `eps` a floor of the average square (None: the
    dtype's epsilon) and one of the parameter's size, `d` the largest root mean square of a step. ValueError for options
    out of range. Reference: `torch.optim.Adafactor` (Shazeer and Stern, 2018).

        >>> optimizer = optim.Adafactor(model.parameters(), lr=1e-2)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            for param in group["params"]:
                own = self.state.get(param)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = ops.tensor(float(own["step"]))

    def _start(self, grad: Tensor) -> dict[str, Any]:
        own: dict[str, Any] = {"step": ops.tensor(0.0)}
        if grad.ndim > 1:
            own["row_var"] = grad.new_zeros((*grad.shape[:-1], 1))
            own["col_var"] = grad.new_zeros((*grad.shape[:-2], 1, grad.shape[-1]))
        else:
            own["variance"] = ops.zeros_like(grad)
        return own

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        with set_grad_enabled(False):
            self._update_all()
        return loss

    def _update_all(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                refuse_sparse("Adafactor", grad)
                if param.is_complex():
                    raise RuntimeError("Adafactor does not support complex parameters")
                own = self.state[param]
                if not own:
                    own.update(self._start(grad))
                self._update(param, -grad if group["maximize"] else grad, own, group)

    def _update(self, param: Tensor, grad: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (floor, least) = scalar(group["lr"]), group["eps"]
        floor = finfo(param.dtype).eps if floor is None else floor
        step = own["step"].add_(1).item()
        weight = step ** group["beta2_decay"]
        size = param.norm(2).item() / param.numel() ** 0.5
        rate = max(least, size) * min(lr, 1 / step**0.5)
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        if grad.ndim > 1:
            row, column = own["row_var"], own["col_var"]
            row.lerp_(grad.norm(dim=-1, keepdim=True).square() / grad.shape[-1], weight)
            column.lerp_(grad.norm(dim=-2, keepdim=True).square() / grad.shape[-2], weight)
            square = row @ column / row.mean(dim=-2, keepdim=True).clamp(min=floor)
        else:
            square = own["variance"].lerp_(grad * grad, weight)
        update = square.clamp(min=floor * floor).rsqrt() * grad
        longest = max(1.0, update.norm(2).item() / (update.numel() ** 0.5 * group["d"]))
        param.add_(update, alpha=-rate / longest)
