"""The memory of CPU tensors: how much is in use, what the pool keeps for reuse, and the limit on it."""

from __future__ import annotations

from collections import OrderedDict
from operator import index

from dumbtorch import _C

__all__ = [
    "OutOfMemoryError",
    "empty_cache",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_memory_limit",
]

_EMPTY, _LIMIT, _KEEP, _RESET = range(4)
_MACHINE_LIMIT: int = _C.memory_counters()[7]


class OutOfMemoryError(RuntimeError):
    """An allocation that did not fit. Everything stays usable: free something and try again.

    Reference: ``torch.OutOfMemoryError``.
    """


def memory_stats() -> OrderedDict[str, int]:
    """The pool's counters, in bytes and blocks. Reference: ``torch.cuda.memory_stats``.

    ``allocated_bytes`` are held by tensors, rounded up to the pool's block sizes; ``cached_bytes`` were freed and kept
    for reuse; ``reserved_bytes`` are both. ``num_allocs`` counts requests since the start, ``num_hits`` those answered
    from the cache, ``active_blocks`` and ``live_tensors`` what exists now.

    >>> memory_stats()["allocated_bytes.current"] <= memory_stats()["allocated_bytes.peak"]
    True
    """
    allocated, peak, cached, reserved_peak, requests, hits, blocks, limit, keep, tensors = _C.memory_counters()
    return OrderedDict(
        {
            "allocated_bytes.current": allocated,
            "allocated_bytes.peak": peak,
            "cached_bytes.current": cached,
            "reserved_bytes.current": allocated + cached,
            "reserved_bytes.peak": max(reserved_peak, allocated + cached),
            "num_allocs": requests,
            "num_hits": hits,
            "active_blocks.current": blocks,
            "live_tensors.current": tensors,
            "limit_bytes": limit,
            "cache_limit_bytes": keep,
        }
    )


def memory_allocated() -> int:
    """Bytes that tensors hold now. Reference: ``torch.cuda.memory_allocated``."""
    return memory_stats()["allocated_bytes.current"]


def max_memory_allocated() -> int:
    """The most bytes that tensors held since the start or ``reset_peak_memory_stats``."""
    return memory_stats()["allocated_bytes.peak"]


def memory_reserved() -> int:
    """Bytes in use and kept for reuse. Reference: ``torch.cuda.memory_reserved``."""
    return memory_stats()["reserved_bytes.current"]


def _bytes_text(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def memory_summary() -> str:
    """The counters of ``memory_stats`` as a table to print. Reference: ``torch.cuda.memory_summary``.

    >>> print(memory_summary().splitlines()[0])
    | CPU memory             |       now |      peak |
    """
    stats = memory_stats()
    hits, allocs = stats["num_hits"], stats["num_allocs"]
    rows = [
        ("CPU memory", "now", "peak"),
        *(
            (name, _bytes_text(stats[f"{key}.current"]), _bytes_text(stats[f"{key}.peak"]))
            for name, key in (("in use by tensors", "allocated_bytes"), ("reserved", "reserved_bytes"))
        ),
        ("kept for reuse", _bytes_text(stats["cached_bytes.current"]), ""),
        ("limit", _bytes_text(stats["limit_bytes"]), ""),
        ("limit of what is kept", _bytes_text(stats["cache_limit_bytes"]), ""),
        ("tensors", str(stats["live_tensors.current"]), ""),
        ("blocks in use", str(stats["active_blocks.current"]), ""),
        ("requests", str(allocs), ""),
        ("answered from the cache", f"{100 * hits / allocs:.1f} %" if allocs else "-", ""),
    ]
    lines = [f"| {name:<23}| {now:>9} | {peak:>9} |" for name, now, peak in rows]
    lines.insert(1, "|" + "-" * 24 + "|" + ("-" * 11 + "|") * 2)
    return "\n".join(lines)


def empty_cache() -> None:
    """Gives the memory that is kept for reuse back to the system. Reference: ``torch.cuda.empty_cache``."""
    _C.memory_control(_EMPTY, 0)


def reset_peak_memory_stats() -> None:
    """Counts the peaks anew from what is in use now. Reference: ``torch.cuda.reset_peak_memory_stats``."""
    _C.memory_control(_RESET, 0)


def set_memory_limit(bytes: int | None) -> None:
    """The most memory that CPU tensors may use; past it an op raises ``OutOfMemoryError``. None: the machine's memory.

    Raises TypeError for what is no integer, ValueError for a limit below 1 or below what is in use.

    >>> set_memory_limit(4 << 30)
    >>> set_memory_limit(None)
    """
    if bytes is None:
        _C.memory_control(_LIMIT, _MACHINE_LIMIT)
        return
    if isinstance(bytes, bool):
        raise TypeError("set_memory_limit: expected a number of bytes, got bool")
    try:
        limit = index(bytes)
    except TypeError:
        raise TypeError(f"set_memory_limit: expected a number of bytes, got {type(bytes).__name__}") from None
    in_use = memory_allocated()
    if limit < 1 or limit < in_use:
        raise ValueError(
            f"set_memory_limit: {limit} bytes is less than the {max(in_use, 1)} in use; free tensors first"
        )
    _C.memory_control(_LIMIT, min(limit, 1 << 62))
