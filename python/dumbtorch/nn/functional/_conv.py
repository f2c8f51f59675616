"""Convolution, padding, and images taken apart into columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.ops import columns

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "pad",
    "unfold",
]

# As in PyTorch the same functions as torch.conv2d and so on.
conv1d = ops.conv1d
conv2d = ops.conv2d
conv3d = ops.conv3d
conv_tbc = ops.conv_tbc
conv_transpose1d = ops.conv_transpose1d
conv_transpose2d = ops.conv_transpose2d
conv_transpose3d = ops.conv_transpose3d


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Extend the last dimensions by (left, right, top, bottom, ...): "constant", "reflect", "replicate", "circular"."""
    return ops.pad(input, tuple(pad), mode, value)


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of ([N,] C, H, W) as columns ([N,] C kH kW, windows). Reference: `torch.nn.functional.unfold`.

    >>> F.unfold(dumbtorch.ones(1, 3, 4, 4), 2).shape
    torch.Size([1, 12, 9])
    """
    return columns.unfold(input, kernel_size, dilation, padding, stride)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The sum of windows, given as columns ([N,] C kH kW, windows), where they were in ([N,] C, H, W).

    The derivative of `unfold`. Reference: `torch.nn.functional.fold`.
    """
    return columns.fold(input, output_size, kernel_size, dilation, padding, stride)
