"""Convolution of signals, images and volumes (N, C, [[D,] H,] W), and transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row


def sizes(name: str, value: Any, count: int) -> tuple[int, ...]:
    """One number for each spatial dimension, of one or of as many."""
    if isinstance(value, int):
        return (value,) * count
    made = tuple(value)
    if len(made) == 1:
        return made * count
    if len(made) != count:
        raise RuntimeError(f"{name}: expected one integer or {count} of them, got {list(made)}")
    return made


def _convolutions() -> Any:
    yield S(T(2, 3, 6, 5), T(4, 3, 3, 2), T(4), (1, 1), (0, 0), (1, 1), 1)
    yield S(T(2, 3, 6, 5), T(4, 3, 3, 3), None, (2, 1), (1, 2), (1, 1), 1)
    yield S(T(1, 4, 7, 7), T(6, 2, 2, 2), T(6), (1, 2), (1, 0), (2, 2), 2)
    yield S(T(0, 3, 5, 5), T(2, 3, 3, 3), T(2), (1, 1), (0, 0), (1, 1), 1)
    yield S(T(2, 3, 9), T(4, 3, 3), T(4), (2,), (1,), (2,), 1)
    yield S(T(3, 9), T(3, 1, 3), T(3), (1,), (1,), (1,), 3)
    yield S(T(2, 2, 4, 5, 3), T(3, 2, 2, 3, 2), T(3), (1, 2, 1), (1, 1, 0), (1, 1, 2), 1)
    yield S(T(2, 4, 5, 4), T(2, 1, 3, 2, 2), None, (2, 1, 1), (1, 1, 1), (2, 1, 1), 2)


def _errors() -> Any:
    yield S(T(2, 3, 6, 5), T(4, 2, 3, 2), None, (1, 1), (0, 0), (1, 1), 1, error="RuntimeError")
    yield S(T(2, 3, 2, 2), T(4, 3, 3, 3), None, (1, 1), (0, 0), (1, 1), 1, error="RuntimeError")
    yield S(T(2, 3, 2, 2), T(4, 3, 3), None, (1,), (0,), (1,), 1, error="RuntimeError")
    yield S(T(2, 3), T(4, 3), None, (1,), (0,), (1,), 1, error="RuntimeError")


def _by_bias(g: Any, weight_shape: Any) -> Any:
    channels = g.ndim - len(weight_shape) + 1
    return g.sum([d for d in range(g.ndim) if d != channels])


_CONV: Any = row("convolution", "input, weight, bias, stride, padding, dilation, groups", method=False, function=False,
    out=False, dtypes="full", grad={
        "input": lambda g, weight, input_shape, stride, padding, dilation, groups: _BY_INPUT(
            g, weight, input_shape, stride, padding, dilation, groups),
        "weight": lambda g, input, weight_shape, stride, padding, dilation, groups: _BY_WEIGHT(
            g, input, weight_shape, stride, padding, dilation, groups),
        "bias": _by_bias,
    }, samples=_convolutions, errors=_errors,
    doc="Convolution of ([N,] C, [[D,] H,] W) with weights (out, C / groups, ...) and an optional bias.")  # fmt: skip
_BY_INPUT: Any = row("convolution_input",
    "grad_output, weight, input_shape, stride, padding, dilation, groups, bias=None",
    method=False, function=False, out=False, dtypes="full", ref=None, grad={
        "grad_output": lambda g, weight, stride, padding, dilation, groups: _CONV(
            g, weight, None, stride, padding, dilation, groups),
        "weight": lambda g, grad_output, weight_shape, stride, padding, dilation, groups: _BY_WEIGHT(
            grad_output, g, weight_shape, stride, padding, dilation, groups),
        "bias": _by_bias,
    }, samples=lambda: (S(T(2, 4, 4, 4), T(4, 3, 3, 2), (2, 3, 6, 5), (1, 1), (0, 0), (1, 1), 1),
                        S(T(2, 4, 3, 7), T(4, 3, 3, 3), (2, 3, 6, 5), (2, 1), (1, 2), (1, 1), 1, T(3)),
                        S(T(2, 4, 3), T(4, 3, 2), (2, 3, 11), (4,), (0,), (1,), 1, T(3)),
                        S(T(2, 2, 3, 2), T(2, 1, 2, 2, 3), (2, 3, 5, 5), (2, 2, 3), (1, 1, 1), (1, 1, 1), 2, T(2))),
    doc="The derivative of a convolution with respect to its input; with a bias a transposed one.")  # fmt: skip
_BY_WEIGHT: Any = row("convolution_weight", "grad_output, input, weight_shape, stride, padding, dilation, groups",
    method=False, function=False, out=False, dtypes="full", ref=None, grad={
        "grad_output": lambda g, input, stride, padding, dilation, groups: _CONV(
            input, g, None, stride, padding, dilation, groups),
        "input": lambda g, grad_output, input_shape, stride, padding, dilation, groups: _BY_INPUT(
            grad_output, g, input_shape, stride, padding, dilation, groups),
    }, samples=lambda: (S(T(2, 4, 4, 4), T(2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
                        S(T(2, 4, 3, 7), T(2, 3, 6, 5), (4, 3, 3, 3), (2, 1), (1, 2), (1, 1), 1),
                        S(T(2, 4, 5), T(2, 4, 7), (4, 1, 3), (1,), (0,), (1,), 4),
                        S(T(2, 3, 2, 2, 2), T(2, 2, 4, 4, 3), (3, 2, 2, 3, 2), (2, 2, 1), (0, 1, 0), (1, 1, 1), 1)),
    doc="The derivative of a convolution with respect to its weight.")  # fmt: skip


def _check(name: str, input: Any, weight: Any, spatial: int) -> None:
    if input.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )
    if weight.ndim != spatial + 2:
        raise RuntimeError(
            f"{name}: expected a weight of {spatial + 2} dimensions for an input of size {list(input.shape)}, but got "
            f"weight of size {list(weight.shape)}"
        )


def _split_complex(function: Any, input: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    """A bilinear function of complex numbers, from four of real ones."""
    of_real, of_imag = (None, None) if bias is None else (bias.real, bias.imag)
    real = function(input.real, weight.real, of_real, *rest) - function(input.imag, weight.imag, None, *rest)
    imag = function(input.real, weight.imag, of_imag, *rest) + function(input.imag, weight.real, None, *rest)
    return FUNCTIONS["complex"](real, imag)


def _same(name: str, input: Any, kernel: Sequence[int], stride: Any, padding: str, dilation: Any) -> Any:
    """The input and the padding that "same" or "valid" stand for; what one side needs more is added here."""
    count = len(kernel)
    if padding == "valid":
        return input, 0
    if padding != "same":
        raise RuntimeError(f"{name}: Invalid padding string: '{padding}' (use 'valid', 'same' or integers)")
    if any(n != 1 for n in sizes(name, stride, count)):
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for k, d in zip(kernel, sizes(name, dilation, count), strict=True)]
    if any(total % 2 for total in totals):
        input = FUNCTIONS["pad"](input, [side for total in reversed(totals) for side in (0, total % 2)])
    return input, tuple(total // 2 for total in totals)


def _convolve(
    name: str, spatial: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    _check(name, input, weight, spatial)
    if isinstance(padding, str):
        input, padding = _same(name, input, weight.shape[2:], stride, padding, dilation)
    if input.is_complex() and weight.is_complex():
        return _split_complex(_CONV, input, weight, bias, stride, padding, dilation, groups)
    return _CONV(input, weight, bias, stride, padding, dilation, groups)


@composite("conv1d", method=False)
def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """1-D convolution: ``input`` ([N,] C, L), ``weight`` (out, C / groups, k), ``bias`` (out,); see ``conv2d``.

    Reference: ``torch.conv1d``.
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@composite("conv2d", method=False)
def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """2-D convolution: ``input`` ([N,] C, H, W), ``weight`` (out, C / groups, kH, kW), ``bias`` (out,).

    ``stride``, ``padding`` and ``dilation`` are a number or one for each dimension; ``padding`` may be "valid" or
    "same" (stride 1). Raises RuntimeError for shapes that do not fit. Reference: ``torch.conv2d``.
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@composite("conv3d", method=False)
def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """3-D convolution: ``input`` ([N,] C, D, H, W), ``weight`` (out, C / groups, kD, kH, kW); see ``conv2d``.

    Reference: ``torch.conv3d``.
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _transpose(
    name: str, spatial: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    groups: int, dilation: Any,
) -> Any:  # fmt: skip
    _check(name, input, weight, spatial)
    channels = input.shape[input.ndim - spatial - 1]
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight.shape[0] != channels:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[0]} channels, but got {channels} channels instead"
        )
    strides, paddings = sizes(name, stride, spatial), sizes(name, padding, spatial)
    spread, extra = sizes(name, dilation, spatial), sizes(name, output_padding, spatial)
    if any(n <= 0 for n in strides):
        raise RuntimeError("non-positive stride is not supported")
    if any(n < 0 for n in extra):
        raise RuntimeError("negative output_padding is not supported")
    if any(e >= s and e >= d for e, s, d in zip(extra, strides, spread, strict=True)):
        raise RuntimeError(
            f"output padding must be smaller than either stride or dilation, but got output_padding={list(extra)}, "
            f"stride={list(strides)}, dilation={list(spread)}"
        )
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        # As if the input went on with zeros.
        more = [e // s for e, s in zip(extra, strides, strict=True)]
        input = FUNCTIONS["pad"](input, [side for n in reversed(more) for side in (0, n)])
        extra = tuple(e % s for e, s in zip(extra, strides, strict=True))
    given, kernel = input.shape[-spatial:], weight.shape[2:]
    wanted = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(given, strides, paddings, spread, kernel, extra, strict=True)
    )
    if any(n < 1 for n in wanted):
        raise RuntimeError(
            f"Given input size per channel: ({' x '.join(map(str, given))}). Calculated output size per channel: "
            f"({' x '.join(map(str, wanted))}). Output size is too small"
        )
    shape = (*input.shape[: input.ndim - spatial - 1], weight.shape[1] * groups, *wanted)
    if input.is_complex() and weight.is_complex():
        return _split_complex(
            lambda x, w, b: _plus_bias(x, w, shape, strides, paddings, spread, groups, b), input, weight, bias
        )
    return _plus_bias(input, weight, shape, strides, paddings, spread, groups, bias)


def _plus_bias(
    input: Any, weight: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int, bias: Any
) -> Any:
    if bias is not None and input.device.type != "cpu":
        made = _BY_INPUT(input, weight, shape, stride, padding, dilation, groups)
        return made + bias.view(-1, *(1,) * (weight.ndim - 2))
    return _BY_INPUT(input, weight, shape, stride, padding, dilation, groups, bias)


@composite("conv_transpose1d", method=False)
def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """1-D transposed convolution: ``input`` ([N,] C, L), ``weight`` (C, out / groups, k); see ``conv_transpose2d``.

    Reference: ``torch.conv_transpose1d``.
    """
    return _transpose("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite("conv_transpose2d", method=False)
def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """2-D transposed convolution: ``input`` ([N,] C, H, W), ``weight`` (C, out / groups, kH, kW), ``bias`` (out,).

    The derivative of ``conv2d`` by its input: a size n becomes (n - 1) stride - 2 padding + dilation (k - 1) +
    output_padding + 1. Reference: ``torch.conv_transpose2d``.
    """
    return _transpose("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite("conv_transpose3d", method=False)
def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """3-D transposed convolution: ``input`` ([N,] C, D, H, W), ``weight`` (C, out / groups, kD, kH, kW).

    See ``conv_transpose2d``. Reference: ``torch.conv_transpose3d``.
    """
    return _transpose("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite("convolution", method=False)
def convolution(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    """Any of the six convolutions, by the dimensions of ``weight`` and ``transposed``.

    Reference: ``torch.convolution``.
    """
    spatial = weight.ndim - 2
    if not 1 <= spatial <= 3:
        raise RuntimeError(f"convolution: expected a weight of 3 to 5 dimensions, got {weight.ndim}")
    if transposed:
        name = f"conv_transpose{spatial}d"
        return _transpose(name, spatial, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _convolve(f"conv{spatial}d", spatial, input, weight, bias, stride, padding, dilation, groups)


@composite("conv_tbc", method=False)
def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """1-D convolution of (L, N, C) with ``weight`` (k, C, out) and ``bias`` (out,). Reference: ``torch.conv_tbc``."""
    if input.ndim != 3 or weight.ndim != 3:
        raise RuntimeError("conv_tbc: Input and weight must have 3 dims: time, batch, in_channel")
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)
