"""Intel's math library, which dumbtorch does not use. Reference: ``torch.backends.mkl``."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """False: products of matrices are our own kernels."""
    return False
