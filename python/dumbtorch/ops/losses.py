"""Losses of an element and its target, reduced in the same pass: what nn.functional's losses call for equal shapes.

The derivative by the input is a kernel too; where it is to be differentiated again, and by the target, it is written in
operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd.modes import NO_GRAD
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import row

_Slope = Callable[[Any, Any, float], Any]

#: The losses, by their names in `fused`.
FUSED: dict[str, Any] = {}


def _apart(x: Any, y: Any, p: float, square: Callable[[Any], Any], far: float) -> Any:
    """The slope of what is a square below p and an absolute value beyond."""
    d = x - y
    return F["where"](d.abs() < p, square(d), d.sign() * far)


def _log(x: Any) -> Any:
    return F["log"](x).clamp(min=-100)


#: Of each loss the derivatives by the input x and by the target y, where p is its number.
_SLOPES: dict[str, tuple[_Slope, _Slope | None]] = {
    "mse_loss": (lambda x, y, p: (x - y) * 2, None),
    "l1_loss": (lambda x, y, p: (x - y).sign(), None),
    "smooth_l1_loss": (lambda x, y, p: _apart(x, y, p, lambda d: d / p, 1.0), None),
    "huber_loss": (lambda x, y, p: _apart(x, y, p, lambda d: d, p), None),
    "binary_cross_entropy": (
        lambda x, y, p: (x - y) / ((1 - x) * x).clamp(min=1e-12),
        lambda x, y, p: F["log1p"](-x).clamp(min=-100) - _log(x),
    ),
    "binary_cross_entropy_with_logits": (lambda x, y, p: F["sigmoid"](x) - y, lambda x, y, p: -x),
    "kl_div": (lambda x, y, p: -y, lambda x, y, p: F["log"](y).masked_fill(y == 0, -1.0) + 1 - x),
    "kl_div_log_target": (lambda x, y, p: -y.exp(), lambda x, y, p: y.exp() * (y - x + 1)),
    "soft_margin_loss": (
        lambda x, y, p: -y * F["sigmoid"](-y * x),
        lambda x, y, p: -x * F["sigmoid"](-y * x),
    ),
    "poisson_nll_log_input": (lambda x, y, p: x.exp() - y, lambda x, y, p: -x),
    "poisson_nll": (lambda x, y, p: 1 - y / (x + p), lambda x, y, p: -F["log"](x + p)),
}


def _times(g: Any, slope: Any, reduction: str) -> Any:
    if reduction == "mean":
        g = g / slope.numel() if slope.numel() else g
    return g * slope


def _derivatives(
    name: str, by_input: _Slope, by_target: _Slope | None, samples: Callable[[], Any]
) -> dict[str, Callable[..., Any]]:
    kernel: Any = row(
        f"fused_{name}_backward", "grad_output, input, target, number, reduction", method=False, function=False,
        out=False, samples=lambda: with_gradient(samples), doc=f"The gradient of ``fused_{name}`` by its input.",
    )  # fmt: skip

    def of_input(g: Any, input: Any, target: Any, number: float, reduction: str) -> Any:
        if _C.get_mode() & NO_GRAD:
            return kernel(g, input, target, number, reduction)
        return _times(g, by_input(input, target, number), reduction)

    def of_target(g: Any, input: Any, target: Any, number: float, reduction: str) -> Any:
        if by_target is None:  # a loss of the difference
            return -of_input(g, input, target, number, reduction)
        return _times(g, by_target(input, target, number), reduction)

    return {"input": of_input, "target": of_target}


def with_gradient(samples: Callable[[], Any]) -> Any:
    """A loss's samples with a gradient of the result before them."""
    for sample in samples():
        shape = sample.args[1].shape if sample.args[-1] == "none" else ()
        yield S(T(*shape, grad=False), *sample.args)


def _samples(low: float, high: float, target: float) -> Callable[[], Any]:
    def make() -> Any:
        for reduction in ("mean", "sum", "none"):
            yield S(T(3, 5, low=low, high=high), T(3, 5, low=target, high=0.9), 0.7, reduction)
        yield S(T(low=low, high=high), T(low=target, high=0.9), 0.7, "mean")
        yield S(T(0, 2, low=low, high=high), T(0, 2, low=target, high=0.9), 0.7, "sum")

    return make


for _name, (_by_input, _by_target) in _SLOPES.items():
    _unit = _name == "binary_cross_entropy"
    _positive = _unit or "poisson" in _name
    _made = _samples(0.1 if _positive else -2.0, 0.9 if _unit else 2.0, -0.9 if "log_target" in _name else 0.1)
    FUSED[_name] = row(
        f"fused_{_name}", "input, target, number, reduction", method=False, function=False, out=False,
        grad=_derivatives(_name, _by_input, _by_target, _made), samples=_made,
        doc=f"``nn.functional.{_name}`` of equal shapes: loss and reduction ('mean', 'sum', 'none') in one pass.",
    )  # fmt: skip


def _nll_grad(g: Any, input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    if _C.get_mode() & NO_GRAD:
        return _NLL_BACKWARD(g, input, target, weight, ignore_index, reduction)
    kept = target != ignore_index
    place = target.masked_fill(~kept, 0)
    each = kept.to(g.dtype) if weight is None else F["where"](kept, weight[place], 0.0).to(g.dtype)
    if reduction == "mean":
        g = g / each.sum()
    dim = min(input.ndim - 1, 1)
    return g.new_zeros(input.shape).scatter(dim, place.unsqueeze(dim), -(g * each).unsqueeze(dim))


def _nll_samples() -> Any:
    target = T(2, 3, dtype="int64", values=[[0, 3, 1], [2, 3, 0]])
    for reduction in ("mean", "sum", "none"):
        yield S(T(2, 4, 3), target, None, 3, reduction)
        yield S(T(2, 4, 3), target, T(4, low=0.5, high=2.0, grad=False), -100, reduction)
    yield S(T(4), T(dtype="int64", values=2), None, -100, "mean")
    yield S(T(2, 4), T(2, dtype="int64", values=[0, 3]), None, -100, "none")


_NLL_BACKWARD: Any = row(
    "nll_backward", "grad_output, input, target:i, weight:i, ignore_index, reduction", method=False, function=False,
    out=False, samples=lambda: with_gradient(_nll_samples), doc="The gradient of ``nll`` by its input.",
)  # fmt: skip
NLL: Any = row(
    "nll", "input, target:i, weight:i, ignore_index, reduction", method=False, function=False, out=False,
    grad={"input": _nll_grad}, samples=_nll_samples,
    doc="Minus the log-likelihoods (N, C, ...) at the classes (N, ...), weighed by class and reduced.",
)  # fmt: skip
