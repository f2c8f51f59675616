"""DLPack under the names of PyTorch: `to_dlpack`, `from_dlpack`, `DLDeviceType`."""

from __future__ import annotations

from typing import Any

from dumbtorch._interop import _TO_DLPACK, DLDeviceType, from_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Any) -> Any:
    """A capsule of the legacy form that shares the tensor's memory; it can be consumed once.

    Reference: ``torch.utils.dlpack.to_dlpack``.
    """
    return _TO_DLPACK(tensor, False, False)
