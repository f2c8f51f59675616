"""Switches of the whole process that programs set and read."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch import _C

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_warn_always",
    "use_deterministic_algorithms",
]

_FLUSH = _C.make_op("set_flush_denormal", "_set_flush_denormal", ("mode",), (_C.required,), 1, ".", 0, "Denormals.")
_PRECISIONS = ("highest", "high", "medium")
_state: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "precision": "highest",
    "always": False,
    "inter": 1,
}


def set_flush_denormal(mode: bool) -> bool:
    """Whether this thread takes denormal numbers for zeros; False if the CPU cannot. ``torch.set_flush_denormal``."""
    return bool(_FLUSH(bool(mode)))


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted and remembered. Every operation of dumbtorch gives the same numbers for the same seed on one device.

    Reference: ``torch.use_deterministic_algorithms``.
    """
    _state["deterministic"], _state["warn_only"] = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What ``use_deterministic_algorithms`` was last told."""
    return bool(_state["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether ``use_deterministic_algorithms`` was told only to warn."""
    return bool(_state["warn_only"])


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``use_deterministic_algorithms`` by a mode: 0 or "default", 1 or "warn", 2 or "error"."""
    modes = {"default": 0, "warn": 1, "error": 2}
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    mode = modes.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, 2, `default`, `warn` or `error`, but got {debug_mode}"
        )
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: see ``set_deterministic_debug_mode``."""
    if not _state["deterministic"]:
        return 0
    return 1 if _state["warn_only"] else 2


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted and remembered: products of float32 are always computed in float32, "highest".

    Warns for what is not "highest", "high" or "medium". Reference: ``torch.set_float32_matmul_precision``.
    """
    if precision not in _PRECISIONS:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setFloat32MatmulPrecision call has "
            "no effect.",
            UserWarning,
            stacklevel=2,
        )
        return
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was last told."""
    return str(_state["precision"])


def set_warn_always(b: bool) -> None:
    """Accepted and remembered: warnings that are given once stay so. Reference: ``torch.set_warn_always``."""
    _state["always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` was last told."""
    return bool(_state["always"])


def get_num_interop_threads() -> int:
    """Operations that run at the same time: 1 unless set. Reference: ``torch.get_num_interop_threads``."""
    return int(_state["inter"])


def set_num_interop_threads(num_threads: int) -> None:
    """Accepted and remembered: dumbtorch runs one operation after the other on a thread."""
    if num_threads < 1:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _state["inter"] = int(num_threads)
