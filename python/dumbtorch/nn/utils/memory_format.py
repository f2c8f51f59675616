"""The weights of convolutions in another memory format."""

from __future__ import annotations

from typing import Any

from dumbtorch.nn.modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module: Module, memory_format: Any, kinds: tuple[str, ...]) -> Module:
    for child in module.modules():
        if any(base.__name__ in kinds for base in type(child).__mro__):
            child.weight.data = child.weight.detach().clone().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """Give the weights of all Conv2d and ConvTranspose2d this memory format; returns the module.

    Reference: `torch.nn.utils.convert_conv2d_weight_memory_format`.
    """
    return _convert(module, memory_format, ("Conv2d", "ConvTranspose2d"))


def convert_conv3d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """Give the weights of all Conv3d and ConvTranspose3d this memory format; returns the module.

    Reference: `torch.nn.utils.convert_conv3d_weight_memory_format`.
    """
    return _convert(module, memory_format, ("Conv3d", "ConvTranspose3d"))
