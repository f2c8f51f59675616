"""Memory formats: in which order the elements of a tensor lie."""

from __future__ import annotations

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format"]


class memory_format:
    """An order of dimensions in memory; there are four, see below. Reference: ``torch.memory_format``."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
"""The last dimension runs fastest."""
preserve_format = memory_format("preserve_format")
"""As in the input, where that has no gaps."""
channels_last = memory_format("channels_last")
"""(N, C, H, W) with the channels running fastest."""
channels_last_3d = memory_format("channels_last_3d")
"""(N, C, D, H, W) with the channels running fastest."""
