"""What takes a process of its own: the peak memory of training steps, the time of the import.

python -m benchmarks.processes memory torch "MLP steps, batch 64, Adam" import     # one measurement
"""

from __future__ import annotations

import importlib
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.cases import Figure

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("dumbtorch", "torch")
STEPS = 10
IMPORTS = 5
Work = Callable[[Any], Callable[[], Any]]
BASELINES = {"import": "the import", "step": "a first small step"}


def _steps(network: str, batch: int) -> tuple[Work, Work]:
    """Training steps of a network, and of the same with two pictures."""
    from benchmarks.steps import training_step

    return lambda t: training_step(t, network, batch, "Adam"), lambda t: training_step(t, network, 2, "Adam")


def _setup(setup: Any, small: Any) -> tuple[Work, Work]:
    return lambda t: setup(t)["step"], lambda t: small(t)["step"]


def memory_rows() -> dict[str, tuple[Work, Work]]:
    """What is measured by name: the work, and the same work in small."""
    from benchmarks.transformers import attention, block_step

    rows = {
        f"{network.upper()} steps, batch {batch}, Adam": _steps(network, batch)
        for network in ("mlp", "cnn")
        for batch in (64, 512)
    }
    rows["GPT block steps, 8 x 128 x 256"] = _setup(block_step(8, 128, 256, 8), block_step(1, 8, 256, 8))
    for length in (2048, 8192):
        rows[f"attention 1 x 4 x {length} x 64, causal, both passes"] = _setup(
            attention(1, 4, length, 64, True, True, "float32"), attention(1, 4, 16, 64, True, True, "float32")
        )
    return rows


def _status(field: str) -> int | None:
    """A field of /proc/self/status in bytes; None where there is no such file."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def peak() -> int:
    """The most resident memory so far, in bytes."""
    measured = _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if measured is None else measured


def forget_peak() -> int:
    """Starts the peak anew at what is resident now (Linux); returns the new baseline."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return _status("VmRSS") or peak()


def measure_memory(library: str, row: str, baseline: str) -> int:
    """Bytes above the baseline that some steps of a row needed at their peak.

    The baseline is what is resident after the import or, with "step", after a step in small: without the code that is
    read from disk when it first runs, which for PyTorch is tens of megabytes.
    """
    import numpy  # noqa: F401  # part of the baseline of both

    work, small = memory_rows()[row]
    module = importlib.import_module(library)
    if baseline == "step":
        small(module)()
    start = forget_peak()
    step = work(module)
    for _ in range(STEPS):
        step()
    return peak() - start


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def memory(ours: Any, theirs: Any, rounds: int) -> Iterator[Figure]:
    """Peak memory of steps, each in a process of its own."""
    for baseline, words in BASELINES.items():
        for row in memory_rows():
            name = f"{row}: peak above {words}"
            try:
                values = [
                    int(_python("-m", "benchmarks.processes", "memory", library, row, baseline))
                    for library in LIBRARIES
                ]
            except RuntimeError as error:
                yield Figure(name, "", "", None, 1.0, str(error))
                continue
            texts = [f"{value / 1e6:.1f} MB" for value in values]
            yield Figure(name, *texts, values[0] / values[1], 1.0)


_IMPORT = "import time; start = time.perf_counter(); import {0}; print(time.perf_counter() - start)"
_BRINGS = "import sys, {0}; print('numpy' in sys.modules)"


def imports(ours: Any, theirs: Any, rounds: int) -> list[Figure]:
    """The time of the import, and whether it needs NumPy."""
    try:
        times = {
            library: statistics.median(float(_python("-c", _IMPORT.format(library))) for _ in range(IMPORTS))
            for library in LIBRARIES
        }
        numpy = {library: _python("-c", _BRINGS.format(library)).strip() for library in LIBRARIES}
    except RuntimeError as error:
        return [Figure("import", "", "", None, None, str(error))]
    texts = [f"{times[library]:.3f} s" for library in LIBRARIES]
    ratio = times["dumbtorch"] / times["torch"]
    # The target is 0.2 s, whatever PyTorch takes.
    figures = [Figure("import (target: 0.2 s)", *texts, ratio, 0.2 / times["torch"])]
    brings = ["yes" if numpy[library] == "True" else "no" for library in LIBRARIES]
    figures.append(Figure("import brings NumPy", *brings, None, None, "it must not" if brings[0] == "yes" else ""))
    return figures


if __name__ == "__main__":
    _, _, library, row, baseline = sys.argv
    print(measure_memory(library, row, baseline))
