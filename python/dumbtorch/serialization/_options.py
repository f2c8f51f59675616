"""What programs set for all calls of ``save`` and ``load``."""

from __future__ import annotations

import mmap
from types import TracebackType

__all__ = ["get_crc32_options", "get_default_mmap_options", "set_crc32_options", "set_default_mmap_options"]

_options = {"mmap": mmap.MAP_PRIVATE, "crc32": True}


def get_default_mmap_options() -> int:
    """How ``load(..., mmap=True)`` maps files: ``mmap.MAP_PRIVATE`` unless set."""
    return int(_options["mmap"])


class set_default_mmap_options:
    """Sets how ``load(..., mmap=True)`` maps files, for good or for the time of a ``with`` block.

    ``mmap.MAP_SHARED``: what is written into tensors goes into the file. Raises ValueError for other flags than this
    and ``mmap.MAP_PRIVATE``. Reference: ``torch.serialization.set_default_mmap_options``.
    """

    def __init__(self, flags: int) -> None:
        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self.prev = get_default_mmap_options()
        _options["mmap"] = flags

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _options["mmap"] = self.prev


def get_crc32_options() -> bool:
    """What `set_crc32_options` was last told."""
    return bool(_options["crc32"])


def set_crc32_options(compute_crc32: bool) -> None:
    """Accepted and remembered: checksums are always written, and looked at where a file has them."""
    _options["crc32"] = bool(compute_crc32)
