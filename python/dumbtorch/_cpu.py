"""The levels of CPU that an extension is built for, and which of them this machine can run.

tools/build.py reads this file too, before there is an extension: it imports nothing of dumbtorch.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Level(NamedTuple):
    """A level of CPU: its name, the extension built for it, and the flags of /proc/cpuinfo that it needs."""

    name: str
    module: str
    flags: frozenset[str]


_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

#: The levels of each architecture, best first.
LEVELS: dict[str, tuple[Level, ...]] = {
    "x86_64": (Level("x86-64-v4", "_C_v4", _V4), Level("x86-64-v3", "_C_v3", _V3)),
    "aarch64": (Level("neon", "_C_neon", frozenset()),),
}


def cpu_flags(path: str = "/proc/cpuinfo") -> frozenset[str]:
    """Return what the first CPU listed in `path` can do; nothing if the file or its line of flags is missing."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def candidates(machine: str, flags: Iterable[str], wanted: str | None = None) -> list[Level]:
    """Return the levels to try, best first: those that `machine` with `flags` can run, or only the one `wanted`.

    Raises ImportError if there is none.
    """
    known = LEVELS.get(machine)
    if known is None:
        raise ImportError(f"dumbtorch: no build for the processor {machine!r}; there are {', '.join(LEVELS)}")
    flags = frozenset(flags)
    if wanted:
        known = tuple(level for level in known if level.name == wanted)
        if not known:
            names = ", ".join(level.name for level in LEVELS[machine])
            raise ImportError(f"dumbtorch: DUMBTORCH_CPU={wanted!r} is unknown on {machine}; use one of: {names}")
    usable = [level for level in known if level.flags <= flags]
    if not usable:
        missing = " ".join(sorted(known[-1].flags - flags))
        raise ImportError(f"dumbtorch needs a processor of the level {known[-1].name}; this one lacks: {missing}")
    return usable
