"""Windows of images as columns (im2col), and their sum (col2im); rearranged pixels and channels."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.conv import sizes
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, primitive, row


def _counts(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, ...]:
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )


def _im2col(input: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    n, c, height, width = input.shape
    rows, columns = _counts((height, width), kernel, dilation, padding, stride)
    if any(padding):
        input = FUNCTIONS["constant_pad_nd"](input, (padding[1], padding[1], padding[0], padding[0]))
    by_n, by_c, by_h, by_w = input.stride()
    windows = input.as_strided(
        (n, c, *kernel, rows, columns),
        (by_n, by_c, by_h * dilation[0], by_w * dilation[1], by_h * stride[0], by_w * stride[1]),
    )
    return windows.reshape(n, c * kernel[0] * kernel[1], rows * columns)


_SUM: Any = row("sum_columns", "input, output_size, kernel_size, dilation, padding, stride", method=False,
    function=False, out=False, ref="nn.functional.fold", samples=lambda: (
        S(T(2, 18, 8), (5, 4), (2, 3), (1, 1), (0, 0), (1, 1)),
        S(T(1, 12, 21), (7, 6), (3, 2), (2, 1), (1, 1), (2, 1)),
        S(T(2, 8, 12), (5, 6), (2, 2), (1, 1), (1, 1), (2, 2))),
    errors=lambda: (S(T(2, 18, 9), (5, 4), (2, 3), (1, 1), (0, 0), (1, 1), error="RuntimeError"),),
    doc="The sum of windows given as columns: col2im of floating types.")  # fmt: skip


def _col2im(columns: Any, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    if columns.is_floating_point() and columns.device.type == "cpu":
        return _SUM(columns, size, kernel, dilation, padding, stride)
    rows, cols = _counts(size, kernel, dilation, padding, stride)
    n, c = columns.shape[0], columns.shape[1] // (kernel[0] * kernel[1])
    height, width = (s + 2 * p for s, p in zip(size, padding, strict=True))
    windows = columns.reshape(n, c, *kernel, rows, cols)
    out = columns.new_zeros((n, c, height, width))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            y, x = i * dilation[0], j * dilation[1]
            out[:, :, y : y + stride[0] * rows : stride[0], x : x + stride[1] * cols : stride[1]].add_(
                windows[:, :, i, j]
            )
    return out[:, :, padding[0] : height - padding[0], padding[1] : width - padding[1]].contiguous()


IM2COL: Any = primitive("im2col", "input, kernel_size, dilation, padding, stride", _im2col, {
        "input": lambda g, input_shape, kernel_size, dilation, padding, stride: COL2IM(
            g, tuple(input_shape[2:]), kernel_size, dilation, padding, stride),
    }, dtypes="float+complex", ref="nn.functional.unfold", samples=lambda: (
        S(T(2, 3, 5, 4), (2, 3), (1, 1), (0, 0), (1, 1)), S(T(1, 2, 7, 6), (3, 2), (2, 1), (1, 2), (2, 1))),
    doc="The windows of (N, C, H, W) as columns (N, C kH kW, windows).")  # fmt: skip
COL2IM: Any = primitive("col2im", "input, output_size, kernel_size, dilation, padding, stride", _col2im, {
        "input": lambda g, kernel_size, dilation, padding, stride: IM2COL(g, kernel_size, dilation, padding, stride),
    }, dtypes="float+complex", ref="nn.functional.fold", samples=lambda: (
        S(T(2, 18, 8), (5, 4), (2, 3), (1, 1), (0, 0), (1, 1)),
        S(T(1, 12, 21), (7, 6), (3, 2), (2, 1), (1, 1), (2, 1))),
    doc="The sum of windows given as columns: the derivative of im2col.")  # fmt: skip


def _pairs(name: str, **values: Any) -> list[tuple[int, ...]]:
    made = []
    for key, value in values.items():
        pair = sizes(name, value, 2)
        least = 0 if key == "padding" else 1
        if min(pair) < least:
            word = "" if least else "or equal to "
            raise RuntimeError(f"{name}: {key} should be greater than {word}zero, but got {key}={pair}")
        made.append(pair)
    return made


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """See ``nn.functional.unfold``."""
    kernel, spread, padded, step = _pairs(
        "unfold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    shape = input.shape
    if input.ndim not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(shape)}"
        )
    counts = _counts(shape[-2:], kernel, spread, padded, step)
    if min(counts) < 1:
        raise RuntimeError(
            f"Given input with spatial size ({shape[-2]}, {shape[-1]}), kernel_size={kernel}, dilation={spread}, "
            f"padding={padded}, stride={step}, calculated shape of the array of sliding blocks as {counts}, but its "
            "components must be at least one."
        )
    if input.ndim == 3:
        return IM2COL(input.unsqueeze(0), kernel, spread, padded, step).squeeze(0)
    return IM2COL(input, kernel, spread, padded, step)


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """See ``nn.functional.fold``."""
    size, kernel, spread, padded, step = _pairs(
        "fold", output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    shape = input.shape
    if input.ndim not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    if shape[-2] % (kernel[0] * kernel[1]):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={shape[-2]} and kernel_size={kernel}."
        )
    rows, columns = counts = _counts(size, kernel, spread, padded, step)
    if min(counts) < 1 or shape[-1] != rows * columns:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={spread}, padding={padded}, stride={step}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks {rows} * {columns} "
            f"= {rows * columns}, but got input.size(2)={shape[-1]}."
        )
    if input.ndim == 2:
        return COL2IM(input.unsqueeze(0), size, kernel, spread, padded, step).squeeze(0)
    return COL2IM(input, size, kernel, spread, padded, step)


# -- rearranged ----------------------------------------------------------------------------------------------------


@composite("pixel_shuffle", method=False)
def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., C r r, H, W) -> (..., C, H r, W r). Reference: Shi et al. (2016), ``torch.pixel_shuffle``."""
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
    parts = input.reshape(*lead, channels // (r * r), r, r, height, width)
    n = len(lead)
    order = (*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return parts.permute(order).reshape(*lead, channels // (r * r), height * r, width * r)


@composite("pixel_unshuffle", method=False)
def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(..., C, H r, W r) -> (..., C r r, H, W), the way back. Reference: ``torch.pixel_unshuffle``."""
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for which, size, place in (("height", height, -2), ("width", width, -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {which} to be divisible by downscale_factor, but input.size({place})={size} "
                f"is not divisible by {r}"
            )
    parts = input.reshape(*lead, channels, height // r, r, width // r, r)
    n = len(lead)
    order = (*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return parts.permute(order).reshape(*lead, channels * r * r, height // r, width // r)


@composite("channel_shuffle", "native_channel_shuffle", method=False)
def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels (N, C, ...) dealt out anew: the first of each group, the second of each, ...

    Reference: Zhang et al., "ShuffleNet" (2018); ``torch.channel_shuffle``.
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    channels = input.shape[1]
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    if not input.numel():
        return input.clone()
    parts = input.reshape(input.shape[0], groups, channels // groups, -1)
    return parts.transpose(1, 2).reshape(input.shape)
