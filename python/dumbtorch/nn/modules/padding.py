"""Layers that add room around their input."""

from __future__ import annotations

from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.modules.utils import _ntuple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _PadNd(Module):
    """Room by `padding`: a number, or (left, right, top, bottom, front, back) as far as there are dimensions."""

    _mode: str
    _axes: int

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self._axes, "_padding")(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ValueError(f"expected {self._axes + 1}D or {self._axes + 2}D input (got {input.ndim}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return super().forward(input)


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class CircularPad1d(_CircularPadNd):
    """Room around ([N,] C, L) filled from the other end. Reference: `torch.nn.CircularPad1d`."""

    _axes = 1


class CircularPad2d(_CircularPadNd):
    """Room around ([N,] C, H, W) filled from the other end. Reference: `torch.nn.CircularPad2d`."""

    _axes = 2


class CircularPad3d(_CircularPadNd):
    """Room around ([N,] C, D, H, W) filled from the other end. Reference: `torch.nn.CircularPad3d`."""

    _axes = 3


class ConstantPad1d(_ConstantPadNd):
    """Room around ([N,] C, L) filled with `value`. Reference: `torch.nn.ConstantPad1d`."""

    _axes = 1


class ConstantPad2d(_ConstantPadNd):
    """Room around ([N,] C, H, W) filled with `value`. Reference: `torch.nn.ConstantPad2d`."""

    _axes = 2


class ConstantPad3d(_ConstantPadNd):
    """Room around ([N,] C, D, H, W) filled with `value`. Reference: `torch.nn.ConstantPad3d`."""

    _axes = 3


class ReflectionPad1d(_ReflectionPadNd):
    """Room around ([N,] C, L) filled with its reflection at the edges. Reference: `torch.nn.ReflectionPad1d`."""

    _axes = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Room around ([N,] C, H, W) filled with its reflection at the edges. Reference: `torch.nn.ReflectionPad2d`."""

    _axes = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Room around ([N,] C, D, H, W) filled with its reflection at the edges. Reference: `torch.nn.ReflectionPad3d`."""

    _axes = 3


class ReplicationPad1d(_ReplicationPadNd):
    """Room around ([N,] C, L) filled with the edges. Reference: `torch.nn.ReplicationPad1d`."""

    _axes = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Room around ([N,] C, H, W) filled with the edges. Reference: `torch.nn.ReplicationPad2d`."""

    _axes = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Room around ([N,] C, D, H, W) filled with the edges. Reference: `torch.nn.ReplicationPad3d`."""

    _axes = 3


class ZeroPad1d(ConstantPad1d):
    """Room around ([N,] C, L) filled with zeros. Reference: `torch.nn.ZeroPad1d`."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Room around ([N,] C, H, W) filled with zeros. Reference: `torch.nn.ZeroPad2d`."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Room around ([N,] C, D, H, W) filled with zeros. Reference: `torch.nn.ZeroPad3d`."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
