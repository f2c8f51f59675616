"""Optimizer steps over many tensors in one call. They write in place, record nothing, and are no rows of the table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dumbtorch import _C
from dumbtorch.ops.table import FUNCTIONS


def _kinds(params: list[Any]) -> Iterable[list[int]]:
    """The places of parameters of several dtypes or devices, together what one call can do."""
    kinds: dict[Any, list[int]] = {}
    for n, param in enumerate(params):
        kinds.setdefault((param.dtype, param.device), []).append(n)
    return kinds.values()


def real(x: Any) -> Any:
    """A complex tensor as pairs of real numbers, which is how the steps see it."""
    return FUNCTIONS["view_as_real"](x) if x.is_complex() else x


def _tensors(arg: Any) -> bool:
    return isinstance(arg, list) and bool(arg) and isinstance(arg[0], _C.TensorBase)


def _step(name: str, params: str, doc: str) -> Any:
    names = tuple(params.split(", "))
    doc = f"{name}({params})\n\n{doc}"
    kernel = _C.make_op(name, name, names, (_C.required,) * len(names), len(names), "." * len(names), 0, doc)

    def step(params: list[Any], *rest: Any) -> None:
        if any(param.is_complex() for param in params):
            params = [real(x) for x in params]
            rest = tuple([real(x) for x in arg] if _tensors(arg) else arg for arg in rest)
        if kernel(params, *rest):
            return
        for chosen in _kinds(params):
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
#: The rules that `fused_rule` knows (mojo/kernels/optim_rules.mojo).
RULES = {"rmsprop": 2, "adagrad": 3, "adadelta": 4, "adamax": 5, "nadam": 6, "radam": 7, "rprop": 8, "asgd": 9}
_NAMES = ("rule", "params", "grads", "first", "second", "third", "numbers", "settings")
_fused_rule = _C.make_op(
    "fused_rule", "fused_rule", _NAMES, (_C.required,) * len(_NAMES), len(_NAMES), "." * len(_NAMES), 0,
    f"fused_rule({', '.join(_NAMES)})\n\nOne step of a rule over lists of tensors.",
)  # fmt: skip


def fused_rule(
    rule: str,
    params: list[Any],
    grads: list[Any],
    states: list[list[Any] | None],
    numbers: list[float],
    settings: list[float],
) -> None:
    """One step of `rule` in place: up to three lists of state tensors, three numbers a parameter, the settings."""
    if _fused_rule(RULES[rule], params, grads, *states, numbers, settings):
        return
    for chosen in _kinds(params):
        mine = [states_ and [states_[n] for n in chosen] for states_ in states]
        own = [x for n in chosen for x in numbers[3 * n : 3 * n + 3]]
        _fused_rule(RULES[rule], [params[n] for n in chosen], [grads[n] for n in chosen], *mine, own, settings)
