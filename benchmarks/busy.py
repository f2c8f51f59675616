"""A training step on a busy machine: its time while other processes keep every core busy, over its time alone.

    python -m benchmarks.busy                 # both libraries
    python -m benchmarks.busy time torch 3    # one measurement, as the table's rows start it

Shared fairly, a step takes twice its time alone: the step and as many others as there are cores share the cores. What
takes longer waits for a thread that the kernel has put aside, or spins on a core that somebody else needs. The
mean over all steps is taken: a median would not see the steps that waited.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cases import Figure
from benchmarks.measure import duration

ROOT = Path(__file__).resolve().parent.parent
TARGET = 2.5
SECONDS = 3.0
_SPIN = "while True: pass"


def mean_step(library: str, seconds: float) -> float:
    """Seconds of one step of the MLP (batch 64, SGD), the mean over so many seconds of steps."""
    from benchmarks.steps import training_step

    module = importlib.import_module(library)
    step = training_step(module, "mlp", 64, "SGD")
    for _ in range(20):
        step()
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    return (time.perf_counter() - start) / count


@contextmanager
def others(count: int) -> Iterator[None]:
    """Keeps so many cores busy with a process each."""
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _measure(library: str, seconds: float) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.busy", "time", library, str(seconds)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
    return float(done.stdout)


def slowdown(library: str, seconds: float = SECONDS) -> tuple[float, float]:
    """Seconds of a step alone, and beside as many busy processes as there are cores."""
    alone = _measure(library, seconds)
    with others(len(os.sched_getaffinity(0))):
        return alone, _measure(library, seconds)


def busy(ours: Any, theirs: Any, rounds: int) -> list[Figure]:
    """How much longer a step takes on a busy machine; the figures are times as long as alone."""
    figures = []
    try:
        for library, target in (("dumbtorch", TARGET), ("torch", None)):
            alone, beside = slowdown(library)
            name = f"MLP step of {library}, alone and beside {len(os.sched_getaffinity(0))} busy processes"
            figures.append(Figure(name, duration(alone), duration(beside), beside / alone, target))
    except RuntimeError as error:
        return [Figure("MLP step beside busy processes", "", "", None, TARGET, str(error))]
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["time"]:
        print(mean_step(sys.argv[2], float(sys.argv[3])))
    else:
        for figure in busy(None, None, 1):
            print(f"{figure.name}: {figure.ours}, {figure.theirs}: {figure.ratio or 0:.2f} times {figure.error}")
