"""Optimizer steps over many tensors in one call. They write in place, record nothing, and are no rows of the table."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C


def _step(name: str, params: str, doc: str) -> Any:
    names = tuple(params.split(", "))
    return _C.make_op(
        name, name, names, (_C.required,) * len(names), len(names), "." * len(names), 0, f"{name}({params})\n\n{doc}"
    )


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
