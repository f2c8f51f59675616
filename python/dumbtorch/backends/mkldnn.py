"""oneDNN, which dumbtorch does not use. Reference: ``torch.backends.mkldnn``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["flags", "is_acl_available", "is_available", "set_flags"]

enabled = True
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def is_available() -> bool:
    """False: convolutions are our own kernels."""
    return False


def is_acl_available() -> bool:
    """False: the Arm Compute Library is not used."""
    return False


def set_flags(
    _enabled: bool | None = None, _deterministic: bool | None = None, _allow_tf32: bool | None = None,
    _fp32_precision: str = "none",
) -> tuple[bool, bool, bool, str]:  # fmt: skip
    """Sets the switches that are given and returns what they were."""
    global enabled, deterministic, allow_tf32, fp32_precision
    before = enabled, deterministic, allow_tf32, fp32_precision
    enabled = enabled if _enabled is None else _enabled
    deterministic = deterministic if _deterministic is None else _deterministic
    allow_tf32 = allow_tf32 if _allow_tf32 is None else _allow_tf32
    fp32_precision = _fp32_precision
    return before


@contextmanager
def flags(
    enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True, fp32_precision: str = "none"
) -> Iterator[None]:
    """`set_flags` for the time of a ``with`` block."""
    before = set_flags(enabled, deterministic, allow_tf32, fp32_precision)
    try:
        yield
    finally:
        set_flags(*before)
