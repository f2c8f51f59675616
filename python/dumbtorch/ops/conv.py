"""Convolution and pooling of images (N, C, H, W)."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    pair = tuple(value)
    return (pair[0], pair[0]) if len(pair) == 1 else (pair[0], pair[1])


def _convolutions() -> Any:
    yield S(T(2, 3, 6, 5), T(4, 3, 3, 2), T(4), (1, 1), (0, 0), (1, 1), 1)
    yield S(T(2, 3, 6, 5), T(4, 3, 3, 3), None, (2, 1), (1, 2), (1, 1), 1)
    yield S(T(1, 4, 7, 7), T(6, 2, 2, 2), T(6), (1, 2), (1, 0), (2, 2), 2)
    yield S(T(0, 3, 5, 5), T(2, 3, 3, 3), T(2), (1, 1), (0, 0), (1, 1), 1)


def _errors() -> Any:
    yield S(T(2, 3, 6, 5), T(4, 2, 3, 2), None, (1, 1), (0, 0), (1, 1), 1, error="RuntimeError")
    yield S(T(2, 3, 2, 2), T(4, 3, 3, 3), None, (1, 1), (0, 0), (1, 1), 1, error="RuntimeError")


_CONV = row("conv2d", "input, weight, bias, stride, padding, dilation, groups", method=False, function=False, out=False,
    dtypes="full", ref="nn.functional.conv2d", grad={
        "input": lambda g, weight, input_shape, stride, padding, dilation, groups: FUNCTIONS["conv2d_input"](
            g, weight, input_shape, stride, padding, dilation, groups),
        "weight": lambda g, input, weight_shape, stride, padding, dilation, groups: FUNCTIONS["conv2d_weight"](
            g, input, weight_shape, stride, padding, dilation, groups),
        "bias": lambda g: g.sum((0, 2, 3) if g.ndim == 4 else (1, 2)),
    }, samples=_convolutions, errors=_errors,
    doc="2-D convolution of (N, C, H, W) with weights (out, C / groups, kH, kW) and an optional bias.")  # fmt: skip
row("conv2d_input", "grad_output, weight, input_shape, stride, padding, dilation, groups", method=False, out=False,
    kernel="conv2d_input_grad", dtypes="full", ref=None, grad={
        "grad_output": lambda g, weight, stride, padding, dilation, groups: _CONV(
            g, weight, None, stride, padding, dilation, groups),
        "weight": lambda g, grad_output, weight_shape, stride, padding, dilation, groups: FUNCTIONS["conv2d_weight"](
            grad_output, g, weight_shape, stride, padding, dilation, groups),
    }, samples=lambda: (S(T(2, 4, 4, 4), T(4, 3, 3, 2), (2, 3, 6, 5), (1, 1), (0, 0), (1, 1), 1),
                        S(T(2, 4, 3, 7), T(4, 3, 3, 3), (2, 3, 6, 5), (2, 1), (1, 2), (1, 1), 1)),
    doc="The derivative of conv2d with respect to its input; also a transposed convolution.")  # fmt: skip
row("conv2d_weight", "grad_output, input, weight_shape, stride, padding, dilation, groups", method=False, out=False,
    kernel="conv2d_weight_grad", dtypes="full", ref=None, grad={
        "grad_output": lambda g, input, stride, padding, dilation, groups: _CONV(
            input, g, None, stride, padding, dilation, groups),
        "input": lambda g, grad_output, input_shape, stride, padding, dilation, groups: FUNCTIONS["conv2d_input"](
            grad_output, g, input_shape, stride, padding, dilation, groups),
    }, samples=lambda: (S(T(2, 4, 4, 4), T(2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
                        S(T(2, 4, 3, 7), T(2, 3, 6, 5), (4, 3, 3, 3), (2, 1), (1, 2), (1, 1), 1)),
    doc="The derivative of conv2d with respect to its weight.")  # fmt: skip


@composite("conv2d", method=False)
def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """2-D convolution: ``input`` (N, C, H, W), ``weight`` (out, C / groups, kH, kW), ``bias`` (out,).

    ``padding`` is a number, a pair, "valid" or "same" (stride 1). Raises RuntimeError for shapes that do not fit.
    Reference: ``torch.conv2d``.
    """
    dilation = _pair(dilation)
    if isinstance(padding, str):
        if padding == "valid":
            padding = 0
        elif padding == "same":
            if _pair(stride) != (1, 1):
                raise RuntimeError("conv2d: padding='same' is not supported for strided convolutions")
            total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = [n // 2 for n in total]
            if total[0] % 2 or total[1] % 2:
                input = FUNCTIONS["pad"](input, (0, total[1] % 2, 0, total[0] % 2))
        else:
            raise RuntimeError(f"conv2d: padding must be a number, a pair, 'valid' or 'same', got {padding!r}")
    return _CONV(input, weight, bias, _pair(stride), _pair(padding), dilation, groups)


_POSITIONS = T(1, 2, 2, 2, dtype="int64", values=[[[[0, 3], [9, 9]], [[5, 2], [12, 15]]]])


def _at_maxima(g: Any, indices: Any) -> Any:
    return g.flatten(-2).gather(-1, indices.flatten(-2)).reshape(indices.shape)


row("max_pool2d_with_indices", "input, kernel_size, stride, padding, dilation, ceil_mode", method=False, out=False,
    function=False, outputs=("values", "indices"), differentiable=(0,),
    ref="nn.functional.max_pool2d_with_indices", grad={
        "input": lambda g, indices, input_shape: FUNCTIONS["max_pool2d_backward"](g[0], indices, input_shape),
    }, samples=lambda: (S(T(2, 3, 6, 5, distinct=True), (2, 2), (2, 2), (0, 0), (1, 1), False),
                        S(T(1, 2, 7, 7, distinct=True), (3, 2), (2, 1), (1, 0), (1, 2), False),
                        S(T(1, 2, 7, 7, distinct=True), (2, 2), (2, 2), (0, 0), (1, 1), True)),
    errors=lambda: (S(T(1, 2, 2, 2), (3, 3), (1, 1), (0, 0), (1, 1), False, error="RuntimeError"),),
    doc="The largest value of each window, and where it stands in its plane (int64).")  # fmt: skip


row("max_pool2d_backward", "grad_output, indices, input_shape", method=False, out=False, ref=None, grad={
        "grad_output": lambda g, indices: _at_maxima(g, indices),
    }, samples=lambda: (S(T(1, 2, 2, 2), _POSITIONS, (1, 2, 4, 4)),),
    errors=lambda: (S(T(1, 2, 2, 2), _POSITIONS, (1, 2, 3, 3), error="RuntimeError"),),
    doc="The derivative of max_pool2d: each gradient goes to where the maximum was.")  # fmt: skip


@composite("max_pool2d_with_indices", method=False)
def max_pool2d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of (N, C, H, W), and its index in the flattened plane."""
    kernel = _pair(kernel_size)
    step = kernel if stride is None or stride == () or stride == [] else _pair(stride)
    return TABLE["max_pool2d_with_indices"].op(input, kernel, step, _pair(padding), _pair(dilation), ceil_mode)


@composite("max_pool2d", method=False)
def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of (N, C, H, W); ``stride`` defaults to the kernel.

    Reference: ``torch.max_pool2d``.
    """
    return max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)[0]


_AVG = row("avg_pool2d",
    "input, kernel_size, stride, padding=(), ceil_mode=False, count_include_pad=True, divisor_override=None",
    method=False, out=False, function=False, ref="nn.functional.avg_pool2d", grad={
        "input": lambda g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override:
            FUNCTIONS["avg_pool2d_backward"](
                g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
    }, samples=lambda: (S(T(2, 3, 6, 5), (2, 2), (2, 2), (0, 0), False, True, None),
                        S(T(1, 2, 7, 7), (3, 2), (2, 1), (1, 1), False, False, None),
                        S(T(1, 2, 7, 7), (2, 2), (2, 2), (0, 0), True, True, 3)),
    errors=lambda: (S(T(1, 2, 2, 2), (3, 3), (1, 1), (0, 0), False, True, None, error="RuntimeError"),),
    doc="The mean of each window.")  # fmt: skip
row("avg_pool2d_backward",
    "grad_output, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override",
    method=False, out=False, ref=None, grad={
        "grad_output": lambda g, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: _AVG(
            g, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
    }, samples=lambda: (S(T(2, 3, 3, 2), (2, 3, 6, 5), (2, 2), (2, 2), (0, 0), False, True, None),),
    doc="The derivative of avg_pool2d.")  # fmt: skip


@composite("avg_pool2d", method=False)
def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of (N, C, H, W); ``stride`` defaults to the kernel.

    Padding counts as zeros unless ``count_include_pad=False``. Reference: ``torch.nn.functional.avg_pool2d``.
    """
    kernel = _pair(kernel_size)
    step = kernel if stride is None or stride == () or stride == [] else _pair(stride)
    return _AVG(input, kernel, step, _pair(padding), ceil_mode, count_include_pad, divisor_override)
