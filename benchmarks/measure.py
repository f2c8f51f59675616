"""Times two libraries fairly in one process: short blocks of calls, alternating, with a pause between them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, Figure

PAUSE = 0.008
"""Seconds between two blocks. PyTorch's OpenMP threads spin after each call for some 300,000 pause instructions (5 ms
on Zen 5), ours for 30 us; with a shorter pause whichever library comes second would share the processor with the
other's idle threads."""

BLOCK = 0.01
"""Seconds of calls in a block, at least one call. Longer blocks let the clock drift between the two."""

Timer = Callable[[int], float]


def timer(case: Case, library: Any) -> Timer:
    """A function that runs the statement so many times and returns the seconds that took."""
    names = case.setup(library)
    source = (
        f"def run(_count{''.join(f', {name}={name}' for name in names)}):\n"
        "    _loop = _repeat(None, _count)\n"
        "    _start = _clock()\n"
        "    for _ in _loop:\n"
        f"        {case.statement}\n"
        "    return _clock() - _start\n"
    )
    from itertools import repeat

    scope = {"_repeat": repeat, "_clock": time.perf_counter, **names}
    exec(compile(source, f"<{case.name}>", "exec"), scope)
    run: Timer = scope["run"]
    return run


def calls_in(run: Timer, seconds: float) -> int:
    """How many calls fill a block; runs the statement a few times to find out (and to warm it up)."""
    run(1)
    count = 1
    while True:
        took = run(count)
        if took * 4 >= seconds or count >= 1 << 20:
            return max(1, min(1 << 20, round(count * seconds / max(took, 1e-9))))
        count *= 4


def block(run: Timer, count: int) -> float:
    """Seconds for one call, of a block of them, after one call that wakes the threads and warms the caches."""
    run(1)
    return run(count) / count


def compare(case: Case, ours: Any, theirs: Any, rounds: int) -> Figure:
    """Runs a case with both libraries."""
    try:
        first, second = timer(case, ours), timer(case, theirs)
        counts = calls_in(first, BLOCK), calls_in(second, BLOCK)
    except Exception as error:
        return Figure(case.name, "", "", None, case.target, f"{type(error).__name__}: {error}".splitlines()[0])
    gc.collect()
    gc.disable()
    ratios, ours_times, theirs_times = [], [], []
    try:
        for number in range(rounds):
            order = (first, second) if number % 2 == 0 else (second, first)
            times = {}
            for run in order:
                time.sleep(PAUSE)
                times[run] = block(run, counts[0] if run is first else counts[1])
            ours_times.append(times[first])
            theirs_times.append(times[second])
            ratios.append(times[first] / times[second])
    finally:
        gc.enable()
    return Figure(
        case.name,
        duration(statistics.median(ours_times) / case.inner),
        duration(statistics.median(theirs_times) / case.inner),
        statistics.median(ratios),
        case.target,
    )


def duration(seconds: float) -> str:
    """A time with three digits and its unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
