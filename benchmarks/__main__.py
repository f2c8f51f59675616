"""dumbtorch beside PyTorch: `python -m benchmarks [FAMILY ...]`. The method is explained in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import (
    busy,
    data,
    indexing,
    layers,
    linalg,
    losses,
    measure,
    overhead,
    pointwise,
    processes,
    products,
    recurrent,
    report,
    spatial,
    special,
    steps,
    transformers,
    transforms,
)
from benchmarks.cases import Case, Figure
from benchmarks.order import counting, order, scans

TIMED: dict[str, tuple[str, Callable[[], list[Case]]]] = {
    "overhead": ("Overhead of an operation", overhead.cases),
    "elementwise": ("Elementwise operations", pointwise.elementwise),
    "reductions": ("Reductions", pointwise.reductions),
    "order": ("Sorting and selecting", order),
    "scans": ("Running results", scans),
    "counting": ("Searching and counting", counting),
    "copies": ("Copies and casts", pointwise.copies),
    "special": ("Special functions", special.special),
    "random": ("Random numbers and creation", special.random),
    "indexing": ("Indexing, joining, padding", indexing.cases),
    "matmul": ("Matrix products", products.cases),
    "linalg": ("Linear algebra", linalg.cases),
    "einsum": ("Sums of products", linalg.sums),
    "fft": ("Fourier transforms", linalg.fourier),
    "layers": ("Layers", layers.cases),
    "recurrent": ("Recurrent layers", recurrent.cases),
    "transformers": ("Attention and transformers", transformers.cases),
    "spatial": ("Convolution, pooling, resizing", spatial.cases),
    "transforms": ("Functional transforms", transforms.cases),
    "losses": ("Losses", losses.cases),
    "steps": ("Training steps", steps.cases),
    "data": ("Data and distributions", data.cases),
}
PROCESSES: dict[str, tuple[str, Callable[[Any, Any, int], Iterable[Figure]]]] = {
    "memory": ("Peak memory", processes.memory),
    "import": ("Import", processes.imports),
    "busy": ("On a busy machine", busy.busy),
}
LIBRARIES = ("dumbtorch", "PyTorch")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a row failed, or with --strict if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"default: all of {', '.join([*TIMED, *PROCESSES])}"
    )
    parser.add_argument("-k", metavar="TEXT", help="only the timed rows with this text in their name")
    parser.add_argument(
        "--rounds", type=int, default=11, metavar="N", help="rounds for each row (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of both libraries (default: dumbtorch's)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args(arguments)
    chosen = options.families or [*TIMED, *PROCESSES]
    for name in chosen:
        if name not in TIMED and name not in PROCESSES:
            parser.error(f"there is no family {name!r}; there are: {', '.join([*TIMED, *PROCESSES])}")
    try:
        import torch
    except ImportError:
        parser.exit(2, "PyTorch is not installed here: pip install torch==2.13.0, or use ./pixiw run bench\n")
    import dumbtorch

    if options.threads:
        dumbtorch.set_num_threads(options.threads)
    threads = dumbtorch.get_num_threads()
    torch.set_num_threads(threads)
    print(f"dumbtorch beside PyTorch {torch.__version__}, {threads} threads, {report.processor()}")
    if os.getloadavg()[0] > 0.5:
        print(
            f"The machine is busy (load {os.getloadavg()[0]:.1f}): the figures mean little, those of one thread "
            "(--threads 1) more than others."
        )
    sections: list[report.Section] = []
    for name in chosen:
        if name in TIMED:
            title, cases = TIMED[name]
            columns = LIBRARIES
            figures = (
                measure.compare(case, dumbtorch, torch, options.rounds)
                for case in cases()
                if options.k is None or options.k in case.name
            )
        else:
            title, run = PROCESSES[name]
            columns = ("alone", "busy") if name == "busy" else LIBRARIES
            figures = (figure for figure in run(dumbtorch, torch, options.rounds))
        print(report.header(title, columns))
        done = []
        for figure in figures:
            print(report.line(figure), flush=True)
            done.append(figure)
        sections.append((title, columns, done))
    everything = [figure for _, _, figures in sections for figure in figures]
    missed = [figure for figure in everything if figure.missed]
    failed = [figure for figure in everything if figure.error]
    print(f"\n{len(everything)} rows, {len(missed)} miss their target, {len(failed)} of them failed")
    if options.markdown:
        facts = {
            "block": measure.BLOCK * 1e3, "pause": measure.PAUSE * 1e3, "rounds": options.rounds,
            "steps": processes.STEPS, "busy": busy.SECONDS,
            "machine": report.processor(), "threads": threads, "python": sys.version.split()[0],
            "torch": torch.__version__,
        }  # fmt: skip
        options.markdown.write_text(report.markdown(sections, facts))
    return 1 if failed or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
