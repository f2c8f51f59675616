"""The accelerator of this machine, whichever it is: ``cuda`` or none. Reference: ``torch.accelerator``."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from dumbtorch import _device, cuda

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "is_available",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]

_NONE = "Cannot access accelerator device when none is available."


def is_available() -> bool:
    """Whether there is a device that tensors can go to."""
    return cuda.is_available()


def device_count() -> int:
    """The number of devices."""
    return cuda.device_count() if cuda.is_available() else 0


def current_accelerator(check_available: bool = False) -> _device.device | None:
    """``device("cuda")`` where there is one, else None."""
    return _device.device("cuda") if cuda.is_available() else None


def _needed() -> None:
    if not cuda.is_available():
        raise RuntimeError(_NONE)


def current_device_index() -> int:
    """The index of the current device. Raises RuntimeError without one."""
    _needed()
    return cuda.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Makes a device the current one. Raises RuntimeError without one."""
    _needed()
    cuda.set_device(device)


set_device_idx = set_device_index


class device_index:
    """A device as the current one for the time of a ``with`` block; None changes nothing."""

    def __init__(self, device: int | None) -> None:
        self.idx = device
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx is not None:
            self.prev_idx = current_device_index()
            set_device_index(self.idx)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.idx is not None:
            set_device_index(self.prev_idx)


def current_stream(device: Any = None) -> cuda.Stream:
    """The current stream of a device. Raises RuntimeError without one."""
    _needed()
    return cuda.current_stream(device)


def set_stream(stream: cuda.Stream) -> None:
    """Makes a stream the current one. Raises RuntimeError without a device."""
    _needed()
    cuda.set_stream(stream)


def synchronize(device: Any = None) -> None:
    """Waits until a device has done all that was queued. Raises RuntimeError without one."""
    _needed()
    cuda.synchronize(device)


def empty_cache() -> None:
    """Gives memory that is kept for reuse back to the device; nothing without one."""
    if cuda.is_available():
        cuda.empty_cache()
