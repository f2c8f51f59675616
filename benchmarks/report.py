"""Shows figures as a table, on the terminal or as a page of the documentation."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

from benchmarks.cases import Figure

Section = tuple[str, tuple[str, str], list[Figure]]

METHOD = """\
# Benchmarks

Written by `python -m benchmarks --markdown docs/benchmarks.md` (`./pixiw run bench`); do not edit. A ratio is the time
of dumbtorch over that of PyTorch: below 1 dumbtorch is faster. The target stands beside it, and a miss is marked.

## Method

- Both libraries run in one process with the same number of threads, the same statement (shown in `benchmarks/`) and
  the same data.
- They take turns in blocks of about {block:.0f} ms, in an order that changes from round to round. The figure is the
  median over {rounds} rounds of the ratio of two neighbouring blocks, so a slow moment of the machine hits both; the
  times beside it are medians of their own.
- Before each block there is a pause of {pause:.0f} ms and one call that does not count. Without the pause the idle
  threads of one library, which spin for a while after a call, would take the core from the other.
- "Reused memory" writes into a tensor that is there (`out=`); "fresh memory" makes a new one in each call and drops
  it. PyTorch gives large blocks back to the system each time, and the system clears their pages anew. Blocks of a few
  megabytes it reuses, as dumbtorch does: at 1e6 (4 MB) "fresh" is the same work as "reused" for both, and the target of
  half of PyTorch's time, which is about memory that is new, cannot be met there by anything bound by memory.
- Peak memory is measured in a process of its own for each row, from the highest resident size above the baseline, over
  {steps} training steps. One baseline is the size after the import, the other the size after a first step of two
  pictures, without the library's own code that is loaded when it first runs.
- The busy machine: as many processes as there are cores run an endless loop; the figures are means, not medians, over
  {busy:.0f} seconds of steps.

Machine: {machine}, {threads} threads; Python {python}; PyTorch {torch}.
"""


def processor() -> str:
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cells(figure: Figure) -> tuple[str, str, str, str, str]:
    """What stands in the columns after the name: two figures, ratio, target, mark."""
    if figure.error:
        return "", "", "", _number(figure.target), f"FAILED: {figure.error}"
    return figure.ours, figure.theirs, _number(figure.ratio), _number(figure.target), "MISS" if figure.missed else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def header(title: str, columns: tuple[str, str]) -> str:
    """The head of a family's table on the terminal."""
    return f"\n{title:<66} {columns[0]:>10} {columns[1]:>10} {'ratio':>6} {'target':>6}"


def line(figure: Figure) -> str:
    """A row on the terminal."""
    ours, theirs, ratio, target, mark = cells(figure)
    return f"  {figure.name:<64} {ours:>10} {theirs:>10} {ratio:>6} {target:>6}  {mark}".rstrip()


def markdown(sections: Iterable[Section], facts: dict[str, object]) -> str:
    """The page of all families."""
    parts = [METHOD.format(**facts)]
    for title, columns, figures in sections:
        parts.append(
            f"\n## {title}\n\n| | {columns[0]} | {columns[1]} | ratio | target | |\n|---|---:|---:|---:|---:|---|\n"
        )
        parts += [f"| {' | '.join((figure.name, *cells(figure)))} |\n" for figure in figures]
    return "".join(parts)
