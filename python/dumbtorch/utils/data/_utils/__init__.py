"""Where PyTorch's programs find how samples are collated and pinned: `collate` and `pin_memory`."""

from . import collate, pin_memory

__all__ = ["collate", "pin_memory"]
