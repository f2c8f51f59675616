"""Intel's devices, for which there are no kernels: none is available. Reference: ``torch.xpu``."""

from __future__ import annotations

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: there are no kernels for Intel's devices."""
    return False


def device_count() -> int:
    """0: see `is_available`."""
    return 0
