"""Adam for sparse gradients: only the rows that a gradient has are read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._sparse import elements_at
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.ops.steps import fused_adam
from dumbtorch.optim._rule import check_betas
from dumbtorch.optim.optimizer import Optimizer, Params, scalar

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """`Adam` on the elements of sparse gradients; the moments of all others stay as they are.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p - lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps),
    where g has elements. Steps count for the whole parameter. RuntimeError for dense gradients, ValueError for sparse
    or complex parameters and for options out of range. Reference: `torch.optim.SparseAdam`.

        >>> optimizer = optim.SparseAdam(nn.Embedding(10, 3, sparse=True).parameters())
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        places = [(g, n, p) for g, group in enumerate(self.param_groups) for n, p in enumerate(group["params"])]
        if sparse := [[g, n] for g, n, p in places if p.is_sparse]:
            raise ValueError(f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors")
        if complex_ := [[g, n] for g, n, p in places if p.is_complex()]:
            raise ValueError(f"Complex params at indices {complex_}: SparseAdam does not support complex parameters")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the elements that gradients have; returns what `closure` returns, if given."""
        loss = self._run_closure(closure)
        with set_grad_enabled(False):
            for group in self.param_groups:
                for param, grad in self._with_gradient(group):
                    self._update(param, grad.coalesce(), self.state[param], group)
        return loss

    def _with_gradient(self, group: dict[str, Any]) -> list[tuple[Tensor, Any]]:
        found = []
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if not grad.is_sparse:
                raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
            own = self.state[param]
            if not own:
                own.update(step=0, exp_avg=ops.zeros_like(param), exp_avg_sq=ops.zeros_like(param))
            own["step"] += 1
            found.append((param, grad))
        return found

    def _update(self, param: Tensor, grad: Any, own: dict[str, Any], group: dict[str, Any]) -> None:
        if not grad._values().numel():
            return
        indices, step = grad._indices(), own["step"]
        beta1, beta2 = map(scalar, group["betas"])
        tables = (param, own["exp_avg"], own["exp_avg_sq"])
        rows, average, square = (elements_at(table, indices) for table in tables)
        # PyTorch adds eps to sqrt(v) itself, the kernel to sqrt(v / (1 - b2^t)).
        eps = group["eps"] / (1 - beta2**step) ** 0.5
        values = grad._values().to(param.dtype)
        fused_adam(
            [rows], [values], [average], [square], None, [step], scalar(group["lr"]), beta1, beta2, eps, 0.0, False,
            group.get("maximize", False), False,
        )  # fmt: skip
        for table, changed in zip(tables, (rows, average, square), strict=True):
            _write(table, indices, changed)


def _write(table: Tensor, indices: Tensor, rows: Tensor) -> None:
    if indices.shape[0] == 1:
        table.index_copy_(0, indices[0], rows)
    elif not indices.shape[0]:
        table.copy_(rows[0])
    else:
        table.index_put_(tuple(indices), rows)
