"""Convolution layers of one to three dimensions, and transposed ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn import init
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.modules.utils import _pair, _reverse_repeat_tuple, _single, _triple
from dumbtorch.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode='{padding_mode}'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # What `pad` is told where the padding is not zeros.
        self._reversed_padding_repeated_twice = self._pad_amounts()
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *kernel_size)
        self.weight = Parameter(ops.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(ops.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _pad_amounts(self) -> tuple[int, ...]:
        if not isinstance(self.padding, str):
            return _reverse_repeat_tuple(self.padding, 2)
        if self.padding == "valid":
            return (0, 0) * len(self.kernel_size)
        totals = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        return tuple(side for total in reversed(totals) for side in (total // 2, total - total // 2))

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: uniform in +-1/sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input and the padding still to be done: modes other than zeros are done here."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return F.pad(input, self._reversed_padding_repeated_twice, self.padding_mode), 0

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._padded(input)
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel_size) - 1]
        made: Tensor = convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return made

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        if isinstance(self.padding, str) or any(self.padding):
            parts.append(f"padding={self.padding}")
        if any(d != 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if any(self.output_padding):
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _ConvForward(_ConvNd):
    """The convolutions; `_tuple` of each makes a size for each of its dimensions out of one."""

    _tuple: Callable[[Any], tuple[Any, ...]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        each = self._tuple
        super().__init__(
            in_channels, out_channels, each(kernel_size), each(stride),
            padding if isinstance(padding, str) else each(padding), each(dilation), False, each(0), groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_ConvForward):
    """1-D convolution: (N, in, L) or (in, L) -> (N, out, L'); arguments as in `Conv2d`.

    Reference: `torch.nn.Conv1d`.
    """

    _tuple = staticmethod(_single)


class Conv2d(_ConvForward):
    """2-D convolution: (N, in, H, W) or (in, H, W) -> (N, out, H', W').

    `kernel_size`, `stride`, `padding` and `dilation` are integers or pairs; `padding` may be "same" or "valid", and
    `padding_mode` "zeros", "reflect", "replicate" or "circular". `weight` (out, in / groups, kH, kW) and `bias` (out,)
    start uniform in +-1/sqrt(fan_in). Reference: `torch.nn.Conv2d`.

        >>> nn.Conv2d(1, 16, 3, padding=1)(dumbtorch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 16, 28, 28])
    """

    _tuple = staticmethod(_pair)


class Conv3d(_ConvForward):
    """3-D convolution: (N, in, D, H, W) or (in, D, H, W) -> (N, out, D', H', W'); arguments as in `Conv2d`.

    Reference: `torch.nn.Conv3d`.
    """

    _tuple = staticmethod(_triple)


class _ConvTransposeNd(_ConvNd):
    """The transposed convolutions; `_tuple` as in `_ConvForward`."""

    _tuple: Callable[[Any], tuple[Any, ...]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        each = self._tuple
        super().__init__(
            in_channels, out_channels, each(kernel_size), each(stride), each(padding), each(dilation), True,
            each(output_padding), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _extra(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """What is to be added at the end for an output of this size."""
        if output_size is None:
            return self.output_padding
        axes = len(self.kernel_size)
        lead = 2 if input.ndim == axes + 2 else 1
        wanted = list(output_size)
        if len(wanted) == lead + axes:
            wanted = wanted[lead:]
        if len(wanted) != axes:
            raise ValueError(
                f"ConvTranspose{axes}D: for {input.ndim}D input, output_size must have {axes} or {lead + axes} "
                f"elements (got {len(wanted)})"
            )
        padding: Any = self.padding
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                input.shape[lead:], self.stride, padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if any(not a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to {most} (for an input of "
                f"{input.shape[2:]})"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(self.kernel_size) - 1]
        made: Tensor = convolve(
            input, self.weight, self.bias, self.stride, self.padding, self._extra(input, output_size), self.groups,
            self.dilation,
        )  # fmt: skip
        return made


class ConvTranspose1d(_ConvTransposeNd):
    """1-D transposed convolution: (N, in, L) or (in, L) -> (N, out, L'); see `ConvTranspose2d`.

    Reference: `torch.nn.ConvTranspose1d`.
    """

    _tuple = staticmethod(_single)


class ConvTranspose2d(_ConvTransposeNd):
    """2-D transposed convolution: (N, in, H, W) or (in, H, W) -> (N, out, H', W').

    The derivative of `Conv2d` by its input: a size n becomes (n - 1) stride - 2 padding + dilation (k - 1) +
    output_padding + 1. `weight` is (in, out / groups, kH, kW); `forward` also takes an `output_size`, which
    stands in place of `output_padding`. Reference: `torch.nn.ConvTranspose2d`.

        >>> nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)(dumbtorch.rand(1, 16, 7, 7)).shape
        torch.Size([1, 8, 14, 14])
    """

    _tuple = staticmethod(_pair)


class ConvTranspose3d(_ConvTransposeNd):
    """3-D transposed convolution: (N, in, D, H, W) or (in, D, H, W) -> (N, out, D', H', W'); see `ConvTranspose2d`.

    Reference: `torch.nn.ConvTranspose3d`.
    """

    _tuple = staticmethod(_triple)
