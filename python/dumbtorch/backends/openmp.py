"""OpenMP, which dumbtorch does not use. Reference: ``torch.backends.openmp``."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """False: the threads are our own, see `set_num_threads`."""
    return False
