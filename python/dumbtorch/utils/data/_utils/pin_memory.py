"""Batches in page-locked memory."""

from __future__ import annotations

from typing import Any

from dumbtorch._tensor import Tensor

from .collate import map_structure


def pin_memory(data: Any, device: Any = None) -> Any:
    """The tensors inside of a batch in page-locked memory, also what has a method ``pin_memory`` of its own.

    Mappings and sequences keep their types; other data comes back as it is.
    Reference: ``torch.utils.data._utils.pin_memory.pin_memory``.
    """
    if isinstance(data, Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    if type(data) is tuple:
        return tuple(pin_memory(value, device) for value in data)
    return map_structure(pin_memory, data)
