"""Grad modes under PyTorch's name of their module, and whether a backward may use several threads."""

from __future__ import annotations

from typing import Any

from dumbtorch.autograd.modes import _Mode, enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "enable_grad", "inference_mode", "is_multithreading_enabled", "no_grad", "set_grad_enabled",
    "set_multithreading_enabled",
]  # fmt: skip

_threads = [True]


def is_multithreading_enabled() -> bool:
    """What `set_multithreading_enabled` was told last; True at first."""
    return _threads[-1]


class set_multithreading_enabled(_Mode):
    """Takes PyTorch's setting, at once; as a context manager the earlier one returns at the end.

    A backward of dumbtorch walks the graph in the thread that calls it, so nothing else changes.
    Reference: ``torch.autograd.grad_mode.set_multithreading_enabled``.
    """

    __slots__ = ("mode", "prev")

    def __init__(self, mode: bool) -> None:
        self.prev, self.mode = _threads[-1], bool(mode)
        _threads[-1] = self.mode

    def _again(self) -> _Mode:
        return set_multithreading_enabled(self.mode)

    def __enter__(self) -> None:
        _threads[-1] = self.mode

    def __exit__(self, *exc: Any) -> None:
        _threads[-1] = self.prev
