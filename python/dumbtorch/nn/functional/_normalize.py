"""Normalization: batch, instance, layer, group, RMS, local response."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize the channels of (N, C, ...) by the batch's statistics in training, else by the running ones.

    ValueError for a training batch with one value a channel. Reference: `torch.nn.functional.batch_norm`.
    """
    if training:
        _more_than_one(input.shape)
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    elif eps < 0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    return ops.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def _more_than_one(shape: Sequence[int]) -> None:
    if shape[0] * math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each sample of (N, C, ...), or all by the running statistics.

    ValueError for samples of one value a channel. Reference: `torch.nn.functional.instance_norm`.
    """
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    return ops.instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize over the last dimensions, of shape `normalized_shape`. Reference: `torch.nn.functional.layer_norm`."""
    return ops.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root mean square over the last dimensions. Reference: `torch.nn.functional.rms_norm`."""
    return ops.rms_norm(input, normalized_shape, weight, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize groups of channels of (N, C, ...). Reference: `torch.nn.functional.group_norm`."""
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    shape = input.shape
    if num_groups > 0:
        _more_than_one([shape[0] * shape[1] // num_groups, num_groups, *shape[2:]])
    return ops.group_norm(input, num_groups, weight, bias, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide each element by (k + alpha times the mean square of the `size` channels around it) to the power beta.

    `input` is (N, C, L ...). Reference: `torch.nn.functional.local_response_norm` (Krizhevsky et al., 2012).
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = (input * input).transpose(1, -1)
    windows = ops.pad(squares, (size // 2, (size - 1) // 2)).unfold(-1, size, 1)
    real = input.is_floating_point() or input.is_complex()
    squares = (windows.mean(-1) if real else windows.sum(-1) // size).transpose(1, -1)
    return input / (squares * alpha + k) ** beta
