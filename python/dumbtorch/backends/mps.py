"""Apple's devices, for which there are no kernels yet. Reference: ``torch.backends.mps``."""

from __future__ import annotations

__all__ = ["is_available", "is_built", "is_macos13_or_newer"]


def is_available() -> bool:
    """False: there are no kernels for Apple's devices."""
    return False


def is_built() -> bool:
    """False: there are no kernels for Apple's devices."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """False: the builds are for Linux."""
    return False
