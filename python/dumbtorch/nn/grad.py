"""The derivatives of convolutions as functions: of the input for its size, of the weight for its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.ops.conv import sizes

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _by_input(axes: int) -> Callable[..., Tensor]:
    name = f"conv{axes}d_input"

    def derivative(
        input_size: Sequence[int],
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        numbers = [sizes(name, value, axes) for value in (stride, padding, dilation)]
        made: Tensor = ops.TABLE["convolution_input"].op(grad_output, weight, tuple(input_size), *numbers, groups)
        return made

    derivative.__name__ = derivative.__qualname__ = name
    derivative.__doc__ = (
        f"The gradient of `conv{axes}d`'s input, of `input_size`, from that of its result.\n\n"
        f"Reference: `torch.nn.grad.{name}`."
    )
    return derivative


def _by_weight(axes: int) -> Callable[..., Tensor]:
    name = f"conv{axes}d_weight"

    def derivative(
        input: Tensor,
        weight_size: Sequence[int],
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        numbers = [sizes(name, value, axes) for value in (stride, padding, dilation)]
        made: Tensor = ops.TABLE["convolution_weight"].op(grad_output, input, tuple(weight_size), *numbers, groups)
        return made

    derivative.__name__ = derivative.__qualname__ = name
    derivative.__doc__ = (
        f"The gradient of `conv{axes}d`'s weight, of `weight_size`, from that of its result.\n\n"
        f"Reference: `torch.nn.grad.{name}`."
    )
    return derivative


conv1d_input, conv2d_input, conv3d_input = (_by_input(axes) for axes in (1, 2, 3))
conv1d_weight, conv2d_weight, conv3d_weight = (_by_weight(axes) for axes in (1, 2, 3))
