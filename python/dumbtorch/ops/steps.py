"""Optimizer steps over many tensors in one call. They write in place, record nothing, and are no rows of the table."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C


def _step(name: str, params: str, doc: str) -> Any:
    names = tuple(params.split(", "))
    doc = f"{name}({params})\n\n{doc}"
    kernel = _C.make_op(name, name, names, (_C.required,) * len(names), len(names), "." * len(names), 0, doc)

    def step(params: list[Any], *rest: Any) -> None:
        if kernel(params, *rest):
            return
        # Parameters of several dtypes or devices: one call for each.
        kinds: dict[Any, list[int]] = {}
        for n, param in enumerate(params):
            kinds.setdefault((param.dtype, param.device), []).append(n)
        for chosen in kinds.values():
            kernel(*([arg[n] for n in chosen] if isinstance(arg, list) else arg for arg in (params, *rest)))

    step.__name__ = step.__qualname__ = name
    step.__doc__ = doc
    return step


#: Lists of parameters, gradients and momentum buffers (or None), then the numbers of `torch.optim.SGD`.
fused_sgd = _step(
    "fused_sgd",
    "params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, maximize, first_step",
    "One SGD step over lists of tensors.",
)
#: Lists of parameters, gradients, moments (and their maxima or None) and step counts, then the numbers of Adam(W).
fused_adam = _step(
    "fused_adam",
    "params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, lr, beta1, beta2, eps, weight_decay, amsgrad, "
    "maximize, decoupled",
    "One Adam step over lists of tensors; `decoupled` makes it AdamW.",
)
