"""Convolution, pooling and padding over (N, C, L) and (N, C, H, W), each also without the batch dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool2d_with_indices",
    "pad",
]

Size = int | Sequence[int]

_conv2d = ops.TABLE["conv2d"].op  # bound once: it is called in every step


def _sizes(name: str, value: Any, count: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * count
    sizes = tuple(value)
    if len(sizes) == 1:
        return sizes * count
    if len(sizes) != count:
        raise RuntimeError(f"{name}: expected one integer or {count} of them, got {list(sizes)}")
    return sizes


def _check_ndim(name: str, input: Tensor, spatial: int) -> bool:
    """Whether the input lacks its batch dimension; RuntimeError if it fits neither way."""
    if input.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )
    return bool(input.ndim == spatial + 1)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Extend the last dimensions by (left, right, top, bottom, ...): "constant", "reflect", "replicate", "circular"."""
    return ops.pad(input, tuple(pad), mode, value)


def _same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) for each dimension so that the output is as large as the input."""
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _resolve_padding(
    name: str, input: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Any, dilation: Sequence[int]
) -> tuple[Tensor, tuple[int, ...]]:
    """The input (padded here if one side needs more than the other) and the padding left for the kernel."""
    if not isinstance(padding, str):
        return input, _sizes(name, padding, len(kernel))
    if padding == "valid":
        return input, (0,) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"{name}: Invalid padding string: '{padding}' (use 'valid', 'same' or integers)")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
    sides = _same_padding(kernel, dilation)
    shared = tuple(before for before, _ in sides)
    if any(before != after for before, after in sides):
        extra = [amount for before, after in reversed(sides) for amount in (0, after - before)]
        input = ops.pad(input, tuple(extra), "constant", 0.0)
    return input, shared


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution: `input` ([N,] C, H, W), `weight` (out, C / groups, kH, kW), `bias` (out,).

    `padding` is an integer, a pair, "valid" or "same". Reference: `torch.nn.functional.conv2d`.
    """
    unbatched = _check_ndim("conv2d", input, 2)
    strides, dilations = _sizes("conv2d", stride, 2), _sizes("conv2d", dilation, 2)
    if unbatched:
        input = input.unsqueeze(0)
    input, paddings = _resolve_padding("conv2d", input, weight.shape[2:], strides, padding, dilations)
    result: Any = _conv2d(input, weight, bias, strides, paddings, dilations, groups)
    return result.squeeze(0) if unbatched else result


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution: `input` ([N,] C, L), `weight` (out, C / groups, k), `bias` (out,); padding as in `conv2d`."""
    unbatched = _check_ndim("conv1d", input, 1)
    (step,), (spread,) = _sizes("conv1d", stride, 1), _sizes("conv1d", dilation, 1)
    if unbatched:
        input = input.unsqueeze(0)
    input, (padded,) = _resolve_padding("conv1d", input, weight.shape[2:], (step,), padding, (spread,))
    # A signal is an image one pixel high.
    flat: Any = _conv2d(
        input.unsqueeze(2), weight.unsqueeze(2), bias, (1, step), (0, padded), (1, spread), groups
    ).squeeze(2)
    return flat.squeeze(0) if unbatched else flat


# -- pooling -------------------------------------------------------------------------------------------------------


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` together with the flat position in its (H, W) plane where each maximum was found."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of ([N,] C, H, W); `stride` defaults to the kernel size.

    `return_indices` adds the int64 positions of the maxima. Reference: `torch.nn.functional.max_pool2d`.
    """
    kernel = _sizes("max_pool2d", kernel_size, 2)
    steps = kernel if stride is None or stride == () or stride == [] else _sizes("max_pool2d", stride, 2)
    return _max_pool(
        "max_pool2d",
        input,
        kernel,
        steps,
        _sizes("max_pool2d", padding, 2),
        _sizes("max_pool2d", dilation, 2),
        ceil_mode,
        return_indices,
    )


def _max_pool(
    name: str,
    input: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    unbatched = _check_ndim(name, input, 2)
    if unbatched:
        input = input.unsqueeze(0)
    if return_indices:
        values, indices = ops.max_pool2d_with_indices(input, kernel, stride, padding, dilation, ceil_mode)
        return (values.squeeze(0), indices.squeeze(0)) if unbatched else (values, indices)
    values = ops.max_pool2d(input, kernel, stride, padding, dilation, ceil_mode)
    return values.squeeze(0) if unbatched else values


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of ([N,] C, L); arguments as in `max_pool2d`."""
    _check_ndim("max_pool1d", input, 1)
    (kernel,) = _sizes("max_pool1d", kernel_size, 1)
    (step,) = (kernel,) if stride is None or stride == () or stride == [] else _sizes("max_pool1d", stride, 1)
    (padded,), (spread,) = _sizes("max_pool1d", padding, 1), _sizes("max_pool1d", dilation, 1)
    result = _max_pool(
        "max_pool1d",
        input.unsqueeze(-2),
        (1, kernel),
        (1, step),
        (0, padded),
        (1, spread),
        ceil_mode,
        return_indices,
    )
    return (result[0].squeeze(-2), result[1].squeeze(-2)) if return_indices else result.squeeze(-2)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of ([N,] C, H, W); `stride` defaults to the kernel size.

    Padding counts as zeros unless `count_include_pad=False`; `divisor_override` replaces the window's size.
    """
    unbatched = _check_ndim("avg_pool2d", input, 2)
    kernel = _sizes("avg_pool2d", kernel_size, 2)
    steps = kernel if stride is None or stride == () or stride == [] else _sizes("avg_pool2d", stride, 2)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if unbatched:
        input = input.unsqueeze(0)
    result = ops.avg_pool2d(
        input, kernel, steps, _sizes("avg_pool2d", padding, 2), ceil_mode, count_include_pad, divisor_override
    )
    return result.squeeze(0) if unbatched else result


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of ([N,] C, L); arguments as in `avg_pool2d`."""
    _check_ndim("avg_pool1d", input, 1)
    (kernel,) = _sizes("avg_pool1d", kernel_size, 1)
    (step,) = (kernel,) if stride is None or stride == () or stride == [] else _sizes("avg_pool1d", stride, 1)
    (padded,) = _sizes("avg_pool1d", padding, 1)
    flat = avg_pool2d(input.unsqueeze(-2), (1, kernel), (1, step), (0, padded), ceil_mode, count_include_pad)
    return flat.squeeze(-2)


def _averaging_matrix(size: int, out: int, like: Tensor) -> Tensor:
    """(out, size): row i averages the window that adaptive pooling gives output i."""
    like.new_empty((out, size))  # refuses what memory cannot hold before the loop over it
    rows = []
    for i in range(out):
        start, end = i * size // out, math.ceil((i + 1) * size / out)
        rows.append([1.0 / (end - start) if start <= j < end else 0.0 for j in range(size)])
    return ops.tensor(rows, dtype=like.dtype, device=like.device)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Average ([N,] C, H, W) down (or up) to `output_size`, an integer or a pair; None keeps a dimension's size."""
    unbatched = _check_ndim("adaptive_avg_pool2d", input, 2)
    height, width = input.shape[-2], input.shape[-1]
    wanted = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(wanted) != 2:
        raise ValueError(f"adaptive_avg_pool2d: output_size must be one integer or two, got {list(wanted)}")
    out_h = height if wanted[0] is None else wanted[0]
    out_w = width if wanted[1] is None else wanted[1]
    if out_h < 0 or out_w < 0:
        raise RuntimeError(
            f"adaptive_avg_pool2d: elements of output_size must be greater than or equal to 0, got {wanted}"
        )
    if not height or not width:
        raise RuntimeError(
            "adaptive_avg_pool2d: Expected input to have non-zero size for non-batch dimensions, "
            f"got {tuple(input.shape)}"
        )
    if out_h and out_w and height % out_h == 0 and width % out_w == 0:
        if unbatched:
            input = input.unsqueeze(0)
        window = (height // out_h, width // out_w)
        pooled = ops.avg_pool2d(input, window, window, (0, 0), False, True, None)
        return pooled.squeeze(0) if unbatched else pooled
    # Windows of different sizes: averaging is linear along each axis, so two small matrices do it.
    rows, columns = _averaging_matrix(height, out_h, input), _averaging_matrix(width, out_w, input)
    if not out_h or not out_w:
        return input.new_empty((*input.shape[:-2], out_h, out_w))
    return rows @ input @ columns.t()


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Average ([N,] C, L) down (or up) to `output_size` values."""
    _check_ndim("adaptive_avg_pool1d", input, 1)
    (size,) = _sizes("adaptive_avg_pool1d", output_size, 1)
    return adaptive_avg_pool2d(input.unsqueeze(-2), (1, size)).squeeze(-2)
