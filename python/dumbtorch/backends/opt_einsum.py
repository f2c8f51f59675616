"""opt_einsum, which orders contractions where it is installed. Reference: ``torch.backends.opt_einsum``."""

from __future__ import annotations

import importlib.util

__all__ = ["is_available"]

enabled = True
strategy = "auto"


def is_available() -> bool:
    """Whether opt_einsum is installed."""
    return importlib.util.find_spec("opt_einsum") is not None
