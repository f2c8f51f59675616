"""Normalization by the mean and the deviation of rows (layer, group, instance, RMS) or of channels (batch)."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch._dtypes import finfo
from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row

# ---------------------------------------------------------------- rows


def _spread_weight(weight: Any, shape: Any, n: int, inner: int) -> Any:
    """The weights beside the rows of (rows, n / inner, inner)."""
    rows = math.prod(shape) // n
    per_row = n // inner
    return weight.reshape(-1, per_row).repeat(rows * per_row // max(1, weight.numel()), 1).unsqueeze(-1)


def _rows_backward(
    g: Any, input: Any, weight: Any, bias: Any, mean: Any, rstd: Any, n: int, inner: int, weights: int, eps: float,
    rms: bool, needed: list[bool],
) -> Any:  # fmt: skip
    """All gradients in one pass; written in differentiable operations where they are to be differentiated again."""
    g = g[0]
    if not is_grad_enabled() or not input.numel():
        d_input, d_weight, d_bias = FUNCTIONS["row_norm_backward"](
            g, input, mean, rstd, weight, n, inner, weights, rms, needed[1] or needed[2]
        )
        return (
            d_input if needed[0] else None,
            d_weight.reshape(weight.shape).to(weight.dtype) if needed[1] else None,
            d_bias.reshape(bias.shape).to(bias.dtype) if needed[2] else None,
        )
    x, h = input.reshape(-1, n // inner, inner), g.reshape(-1, n // inner, inner)
    centred = x if rms else x - x.mean((1, 2), True)
    scale = ((centred * centred).mean((1, 2), True) + eps).rsqrt()
    z = centred * scale
    d_weight = (h * z).sum(2).reshape(-1, weights).sum(0).reshape(weight.shape).to(weight.dtype) if needed[1] else None
    d_bias = h.sum(2).reshape(-1, weights).sum(0).reshape(bias.shape).to(bias.dtype) if needed[2] else None
    if weight is not None:
        h = h * _spread_weight(weight, input.shape, n, inner)
    back = h - z * (h * z).mean((1, 2), True)
    back = back if rms else back - h.mean((1, 2), True)
    return (back * scale).reshape(input.shape).to(input.dtype) if needed[0] else None, d_weight, d_bias


_ROWS = row("row_norm", "input, weight, bias, n, inner, weights, eps, rms", outputs=("result", "mean", "rstd"),
    differentiable=(0,), method=False, function=False, out=False, ref=None,
    grad=dict.fromkeys(("input", "weight", "bias"), _rows_backward),
    samples=lambda: (S(T(3, 8), T(8), T(8), 8, 1, 8, 1e-5, False), S(T(3, 8), T(8), None, 8, 1, 8, 1e-5, True),
                     S(T(2, 6, 5), T(6), T(6), 15, 5, 6, 1e-5, False),
                     S(T(2, 6, 5), None, None, 15, 5, 6, 1e-3, False)),
    errors=lambda: (S(T(3, 8), T(7), None, 8, 1, 8, 1e-5, False, error="RuntimeError"),
                    S(T(3, 8), None, None, 7, 1, 7, 1e-5, False, error="RuntimeError")),
    doc="Rows of ``n`` elements less their mean, over their deviation; every ``inner`` of them share a weight.",
)  # fmt: skip
row("row_norm_backward", "grad_output, input, mean, rstd, weight, n, inner, weights, rms, affine",
    outputs=("d_input", "d_weight", "d_bias"), method=False, out=False, ref=None, samples=lambda: (
        S(T(3, 8), T(3, 8), T(3), T(3, low=0.5, high=1), T(8), 8, 1, 8, False, True),
        S(T(3, 8), T(3, 8), T(3, low=0, high=0), T(3, low=0.5, high=1), None, 8, 1, 8, True, False),
        S(T(2, 6, 5), T(2, 6, 5), T(4), T(4, low=0.5, high=1), T(6), 15, 5, 6, False, True),
    ), errors=lambda: (S(T(3, 8), T(2, 8), T(2), T(2), None, 8, 1, 8, False, True, error="RuntimeError"),),
    doc="The derivative of row_norm with respect to input, weight and bias.")  # fmt: skip


def _affine(name: str, input: Any, shape: tuple[int, ...], **given: Any) -> None:
    for what, tensor in given.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise RuntimeError(
                f"{name}(): Expected {what} to be of same shape as normalized_shape, but got {what} of shape "
                f"{list(tensor.shape)} and normalized_shape = {list(shape)}"
            )


def _normalized(name: str, input: Any, normalized_shape: Any) -> tuple[int, ...]:
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            f"{name}(): Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            f"but got normalized_shape = {list(shape)}"
        )
    if input.ndim < len(shape) or tuple(input.shape[-len(shape) :]) != shape:
        wanted = ", ".join(["*", *map(str, shape)])
        raise RuntimeError(
            f"{name}(): Given normalized_shape={list(shape)}, expected input with shape [{wanted}], but got input of "
            f"size{list(input.shape)}"
        )
    return shape


@composite("layer_norm", method=False)
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:  # fmt: skip
    """The last dimensions less their mean, over their standard deviation, times ``weight`` plus ``bias``.

    ``weight`` and ``bias`` have the shape ``normalized_shape``. Raises RuntimeError for shapes that do not fit.
    Reference: ``torch.layer_norm`` (Ba et al., 2016).
    """
    shape = _normalized("layer_norm", input, normalized_shape)
    _affine("layer_norm", input, shape, weight=weight, bias=bias)
    n = math.prod(shape)
    return _ROWS(input, weight, bias, n, 1, n, eps, False)[0]


@composite("rms_norm", method=False)
def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """The last dimensions over their root mean square, times ``weight``. ``eps`` is by default the dtype's epsilon.

    Raises RuntimeError for shapes that do not fit. Reference: ``torch.rms_norm`` (Zhang and Sennrich, 2019).
    """
    shape = _normalized("rms_norm", input, normalized_shape)
    _affine("rms_norm", input, shape, weight=weight)
    if input.is_complex():
        mean = (input * input).mean(list(range(input.ndim - len(shape), input.ndim)), True)
        result = input * (mean + (finfo(input.dtype).eps if eps is None else eps)).rsqrt()
        return result if weight is None else result * weight
    n = math.prod(shape)
    return _ROWS(input, weight, None, n, 1, n, finfo(input.dtype).eps if eps is None else eps, True)[0]


@composite("group_norm", method=False)
def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """Groups of channels of (N, C, ...) less their mean, over their standard deviation; a weight and a bias a channel.

    Raises RuntimeError where the channels cannot be shared out. Reference: ``torch.group_norm`` (Wu and He, 2018).
    """
    if input.ndim < 2:
        raise RuntimeError(f"group_norm(): Expected at least 2 dimensions for input tensor but received {input.ndim}")
    channels = input.shape[1]
    if num_groups <= 0:
        raise RuntimeError(f"group_norm(): Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError(
            "group_norm(): Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    for what, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise RuntimeError(
                f"group_norm(): Expected {what} to be a vector of size equal to the number of channels in input, "
                f"but got {what} of shape {list(tensor.shape)} and input of shape {list(input.shape)}"
            )
    inner = math.prod(input.shape[2:])
    if not input.numel():
        # recorded all the same: weight and bias get gradients of zeros
        out = input * 1
        out = out if weight is None else out * weight.reshape(_channel_shape(input))
        return out if bias is None else out + bias.reshape(_channel_shape(input))
    return _ROWS(input, weight, bias, channels // num_groups * inner, inner, channels, eps, False)[0]


# ---------------------------------------------------------------- channels

row("channel_statistics", "input, channels, inner", outputs=("mean", "variance"), method=False, out=False, ref=None,
    samples=lambda: (S(T(4, 3, 2, 2), 3, 4), S(T(5, 3), 3, 1), S(T(2, 20), 20, 1)),
    errors=lambda: (S(T(4, 3), 5, 1, error="RuntimeError"),),
    doc="Mean and variance of each channel of (outer, channels, inner), in the type that is computed in.")  # fmt: skip


def _channel_shape(x: Any) -> tuple[int, ...]:
    return (1, -1, *(1,) * (x.ndim - 2))


def _channels_backward(
    g: Any, input: Any, weight: Any, bias: Any, mean: Any, rstd: Any, channels: int, inner: int, own: bool, eps: float,
    needed: list[bool],
) -> Any:  # fmt: skip
    if not is_grad_enabled() or not input.numel():
        d_input, d_weight, d_bias = FUNCTIONS["channel_norm_backward"](
            g, input, mean, rstd, weight, channels, inner, own
        )
        return (
            d_input if needed[0] else None,
            d_weight.to(weight.dtype) if needed[1] else None,
            d_bias.to(bias.dtype) if needed[2] else None,
        )
    shape = _channel_shape(input)
    dims = (0, *range(2, input.ndim))
    if own:
        centred = input - input.mean(dims, True)
        scale = ((centred * centred).mean(dims, True) + eps).rsqrt()
    else:
        centred, scale = input - mean.reshape(shape), rstd.reshape(shape)
    z = centred * scale
    d_weight = (g * z).sum(dims).to(weight.dtype) if needed[1] else None
    d_bias = g.sum(dims).to(bias.dtype) if needed[2] else None
    h = g if weight is None else g * weight.reshape(shape)
    if own:
        h = h - h.mean(dims, True) - z * (h * z).mean(dims, True)
    return (h * scale).to(input.dtype) if needed[0] else None, d_weight, d_bias


_VECTOR = T(3, low=0.5, high=2.0, grad=False)
_CHANNELS = row("channel_norm", "input, mean:i, rstd:i, weight, bias, channels, inner, own, eps", method=False,
    dtypes="single", samples=lambda: (
        S(T(4, 3, 2, 2), _VECTOR, _VECTOR, T(3), T(3), 3, 4, False, 1e-5),
        S(T(4, 3), _VECTOR, _VECTOR, None, None, 3, 1, False, 1e-5),
    ), errors=lambda: (S(T(4, 3), T(4), _VECTOR, None, None, 3, 1, False, 1e-5, error="RuntimeError"),),
    function=False, out=False, ref=None, grad=dict.fromkeys(("input", "weight", "bias"), _channels_backward),
    doc="(x - mean) * rstd * weight + bias for each channel; ``own``: the statistics are those of the input.",
)  # fmt: skip
row("channel_norm_backward", "grad_output, input, mean, rstd, weight, channels, inner, own",
    outputs=("d_input", "d_weight", "d_bias"), method=False, out=False, ref=None, dtypes="single", samples=lambda: (
        S(T(4, 3, 2, 2), T(4, 3, 2, 2), _VECTOR, _VECTOR, T(3), 3, 4, True),
        S(T(4, 3), T(4, 3), _VECTOR, _VECTOR, None, 3, 1, False),
    ), errors=lambda: (S(T(4, 3), T(4, 4), _VECTOR, _VECTOR, None, 3, 1, True, error="RuntimeError"),),
    doc="The derivative of channel_norm with respect to input, weight and bias.")  # fmt: skip


def _moved(running: Any, value: Any, momentum: float) -> None:
    """Moves a running statistic, which no graph knows of."""
    running.mul_(1 - momentum).add_(value.to(running.dtype), alpha=momentum)


@composite("batch_norm", method=False)
def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """Each channel of (N, C, ...) less its mean, over its standard deviation, times ``weight`` plus ``bias``.

    In training, or without running statistics, mean and deviation are the batch's, and the running ones move by
    ``momentum``. Raises RuntimeError for vectors that do not fit the channels. Reference: ``torch.batch_norm``
    (Ioffe and Szegedy, 2015).
    """
    if input.ndim == 1 and not input.numel():
        result = input.clone() if weight is None else input * weight
        return result if bias is None else result + bias
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm(): Expected at least 2 dimensions for input tensor but received {input.ndim}")
    channels, inner = input.shape[1], math.prod(input.shape[2:])
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, vector in vectors.items():
        if vector is not None and vector.numel() != channels:
            raise RuntimeError(f"batch_norm(): {name} should contain {channels} elements not {vector.numel()}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("batch_norm(): Expected running_mean and running_var to be defined when training=False")
    if training:
        mean, variance = FUNCTIONS["channel_statistics"](input.detach(), channels, inner)
        if input.numel():
            count = input.numel() // channels
            if running_mean is not None:
                _moved(running_mean, mean, momentum)
            if running_var is not None:
                _moved(running_var, variance * (count / (count - 1) if count > 1 else math.nan), momentum)
    else:
        mean, variance = running_mean.detach(), running_var.detach()
    wide = mean if mean.dtype.itemsize >= 4 else mean.float()
    rstd = (variance.to(wide.dtype) + eps).rsqrt()
    return _CHANNELS(input, wide, rstd, weight, bias, channels, inner, training, eps)


@composite("instance_norm", method=False)
def instance_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool, momentum: float,
    eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """Each channel of each sample of (N, C, ...) less its mean, over its standard deviation.

    Without ``use_input_stats`` the running statistics serve instead. Reference: ``torch.instance_norm`` (Ulyanov et
    al., 2016).
    """
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError(
            "instance_norm(): Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    if not use_input_stats:
        return batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)
    batch, channels, inner = input.shape[0], input.shape[1], math.prod(input.shape[2:])
    if running_mean is not None or running_var is not None:
        mean, variance = FUNCTIONS["channel_statistics"](
            input.detach().reshape(1, batch * channels, *input.shape[2:]), batch * channels, inner
        )
        if running_mean is not None:
            _moved(running_mean, mean.reshape(batch, channels).mean(0), momentum)
        if running_var is not None:
            unbiased = variance.reshape(batch, channels).mean(0) * (inner / max(1, inner - 1))
            _moved(running_var, unbiased, momentum)
    return group_norm(input, channels, weight, bias, eps)
