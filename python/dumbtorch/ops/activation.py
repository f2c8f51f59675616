"""Activation functions, and their derivatives as rows of their own: one pass each."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

from dumbtorch.ops.binary import where_
from dumbtorch.ops.samples import S, T, unary, unary_errors
from dumbtorch.ops.table import FUNCTIONS, row
from dumbtorch.ops.unary import zero


def _pair(
    name: str,
    numbers: str,
    second: Callable[..., Any],
    doc: str,
    samples: Any,
    *,
    kernel: str | None = None,
    inplace: bool = False,
    dtypes: str = "float",
) -> None:
    """An activation and its derivative, a row each.

    ``numbers`` is the rest of the signature after ``input``; ``second(x, *numbers)`` is the second derivative, or None
    where it is zero. The lambdas are written out by their parameter names, which say what is kept.
    """
    names = [part.partition("=")[0] for part in numbers.replace("*, ", "").split(", ") if part]
    rest = "".join(f", {n}" for n in names)
    scope: dict[str, Any] = {"FUNCTIONS": FUNCTIONS, "second": second, "zero": zero}
    back = f"FUNCTIONS['{name}_backward']"
    exec(
        f"def first(g, input{rest}): return {back}(g, input{rest})\n"
        f"def linear(g, input{rest}): return {back}(g, input{rest})\n"
        + (
            f"def curved(g, grad_output, input{rest}): return g * grad_output * second(input{rest})"
            if second is not zero
            else "def curved(g): return zero(g)"
        ),
        scope,
    )
    separator = ", " if numbers else ""
    row(name, f"input{separator}{numbers}", kernel=kernel, grad={"input": scope["first"]}, samples=samples,
        errors=unary_errors, method=False, out=False, inplace=inplace, dtypes=dtypes, ref=f"nn.functional.{name}",
        doc=doc)  # fmt: skip
    plain = ", ".join(names)
    row(f"{name}_backward", f"grad_output, input{', ' if plain else ''}{plain}", kernel=kernel and f"{kernel}_backward",
        grad={"grad_output": scope["linear"], "input": scope["curved"]}, method=False, out=False,
        samples=lambda: _backward_samples(samples, names, numbers),
        doc=f"The derivative of ``{name}``: ``grad_output`` times its slope at ``input``.")  # fmt: skip


def _backward_samples(samples: Any, names: list[str], numbers: str) -> Any:
    """The forward op's samples with a gradient before them and every number given."""
    defaults = dict(part.split("=") for part in numbers.replace("*, ", "").split(", ") if part)
    for sample in samples():
        first = sample.args[0]
        given = dict(zip(names, sample.args[1:], strict=False)) | sample.kwargs
        values = [given.get(n, _number(defaults[n])) for n in names]
        yield S(T(*first.shape), first, *values)


def _number(text: str) -> Any:
    return text.strip("'") if text[0] == "'" else float(text)


_K, _C3 = sqrt(2 / pi), 0.044715


def _gelu_second(x: Any, approximate: str) -> Any:
    if approximate == "none":
        return (x * x * -0.5).exp() * (2 - x * x) * (1 / sqrt(2 * pi))
    t = ((x + _C3 * x * x * x) * _K).tanh()
    slope, bend = _K * (1 + 3 * _C3 * x * x), _K * 6 * _C3 * x
    return (1 - t * t) * (slope + 0.5 * x * (bend - 2 * t * slope * slope))


def _silu_second(x: Any) -> Any:
    s = x.sigmoid()
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _mish_second(x: Any) -> Any:
    s, t = x.sigmoid(), FUNCTIONS["softplus"](x).tanh()
    u = 1 - t * t
    return u * s * (2 + x * (1 - s) - 2 * x * t * s)


def _log_sigmoid_second(x: Any) -> Any:
    s = x.sigmoid()
    return s * (s - 1)


def _softplus_second(x: Any, beta: float, threshold: float) -> Any:
    z = x * beta
    s = z.sigmoid()
    return where_(z > threshold, 0, s * (1 - s) * beta)


def _elu_second(x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    return where_(x > 0, 0, (x * input_scale).exp() * (alpha * scale * input_scale * input_scale))


def _hardswish_second(x: Any) -> Any:
    return where_((x > -3).logical_and(x < 3), x.new_full((), 1 / 3), 0)


_pair("gelu", "*, approximate='none'", _gelu_second,
      "``x * Phi(x)``, Phi the normal distribution; ``approximate='tanh'`` its usual approximation.",
      lambda: (S(T(3, 5, low=-4, high=4)), S(T(3, 5, low=-4, high=4), approximate="tanh"), S(T()), S(T(0, 2))),
  )  # fmt: skip
_pair("silu", "", _silu_second, "``x * sigmoid(x)``.", unary(-4, 4), inplace=True)
_pair("mish", "", _mish_second, "``x * tanh(softplus(x))``.", unary(-4, 4), inplace=True)
_pair("logsigmoid", "", _log_sigmoid_second, "``log(sigmoid(x))``.", unary(-4, 4), kernel="log_sigmoid")
_pair("hardsigmoid", "", zero, "``clamp(x / 6 + 1 / 2, 0, 1)``.", unary(-5, 5), inplace=True)
_pair("hardswish", "", _hardswish_second, "``x * hardsigmoid(x)``.", unary(-5, 5), inplace=True)
_pair("softplus", "beta=1.0, threshold=20.0", _softplus_second,
      "``log(1 + exp(beta x)) / beta``, and x itself where ``beta x > threshold``.",
      lambda: (S(T(3, 5, low=-4, high=4)), S(T(4), beta=2.0, threshold=1.0), S(T()), S(T(0, 2))))  # fmt: skip
_pair("elu", "alpha=1.0, scale=1.0, input_scale=1.0", _elu_second, "x above 0, else ``alpha * (exp(x) - 1)``.",
      lambda: (S(T(3, 5)), S(T(4), alpha=0.5), S(T()), S(T(0, 2))), inplace=True)  # fmt: skip
_pair("leaky_relu", "negative_slope=0.01", zero, "x above 0, else ``negative_slope * x``.",
      lambda: (S(T(3, 5)), S(T(4), negative_slope=0.3), S(T()), S(T(0, 2))), inplace=True)  # fmt: skip
_pair("hardtanh", "min_val=-1.0, max_val=1.0", zero, "x clamped to ``min_val`` .. ``max_val``.",
      lambda: (S(T(3, 5)), S(T(4), min_val=-0.5, max_val=0.3), S(T()), S(T(0, 2))), inplace=True)  # fmt: skip
_pair("softshrink", "lambd=0.5", zero, "x moved towards 0 by ``lambd``.",
      lambda: (S(T(3, 5)), S(T(4), lambd=0.3), S(T()), S(T(0, 2))))  # fmt: skip
_pair("hardshrink", "lambd=0.5", zero, "x, and 0 where ``|x| <= lambd``.",
      lambda: (S(T(3, 5)), S(T(4), lambd=0.3), S(T()), S(T(0, 2))))  # fmt: skip


def _from_output(name: str, slope: str, doc: str) -> None:
    """The derivative of an activation from its result: ``slope`` is the slope's own derivative by the result."""
    scope: dict[str, Any] = {"FUNCTIONS": FUNCTIONS}
    exec(
        f"def linear(g, output): return FUNCTIONS['{name}'](g, output)\n"
        f"def curved(g, grad_output, output): return g * grad_output * ({slope})",
        scope,
    )
    row(name, "grad_output, output", grad={"grad_output": scope["linear"], "output": scope["curved"]}, method=False,
        out=False, samples=lambda: (S(T(3, 5), T(3, 5, low=-0.9, high=0.9)), S(T(), T()), S(T(0, 2), T(0, 2))),
        doc=doc)  # fmt: skip


_from_output("tanh_backward", "output * -2", "The derivative of tanh: ``grad_output * (1 - output**2)``.")
_from_output(
    "sigmoid_backward", "1 - output * 2", "The derivative of sigmoid: ``grad_output * output * (1 - output)``."
)
row("threshold_backward", "grad_output, input, threshold", method=False, out=False, dtypes="float", grad={
        "grad_output": lambda g, input, threshold: FUNCTIONS["threshold_backward"](g, input, threshold),
        "input": zero,
    }, samples=lambda: (S(T(3, 5), T(3, 5), 0), S(T(3, 5), T(3, 5), 0.5), S(T(0, 2), T(0, 2), 0)),
    doc="``grad_output`` where ``input > threshold``, else 0: the derivative of relu from its input or result.",
)  # fmt: skip
