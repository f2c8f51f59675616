"""Apple's devices, for which there are no kernels yet: none is available. Reference: ``torch.mps``."""

from __future__ import annotations

from dumbtorch.backends.mps import is_available

__all__ = ["device_count", "is_available"]


def device_count() -> int:
    """0: see `is_available`."""
    return 0
