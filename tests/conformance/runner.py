"""What the runs of PyTorch's databases of modules and optimizers share: entries, a declared list, a summary."""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.conformance.opinfo import Result, describe, forked

Entry = tuple[str, Callable[[], dict[str, Result]]]


def options(what: str, names: str) -> argparse.Namespace:
    """The command line: which entries, how many samples of each, how much to print."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument(f"--{names}", dest="names", default="", help="names, separated by commas")
    parser.add_argument("--limit", type=int, default=0, help="samples of each entry")
    parser.add_argument("--errors", action="store_true", help="run the error inputs instead")
    parser.add_argument("-v", "--verbose", action="store_true", help="every failing sample")
    return parser.parse_args()


def listed(path: Path) -> dict[str, str]:
    """What may fail: the name of an entry (or entry.kind) and why."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def count(
    samples: Iterable[Any], run: Callable[[Any], str], label: str, limit: int = 0, verbose: bool = False
) -> Result:
    """Runs samples: `run` says why one fails, or raises."""
    passed, failed, first = 0, 0, ""
    for number, sample in enumerate(samples):
        if limit and number >= limit:
            break
        try:
            problem = run(sample)
        except BaseException as raised:  # a failure of whatever kind is this entry's
            problem = describe(raised)
        if problem:
            failed += 1
            first = first or f"#{number} {problem}"
            if verbose:
                print(f"    {label} #{number}: {problem}", flush=True)
        else:
            passed += 1
    return Result(passed, failed, first)


def run(entries: Iterable[Entry], path: Path, whole: bool) -> int:
    """Runs each entry in a forked process, prints what fails and a summary; 1 if the list at `path` is not met.

    Only a `whole` run says that something listed does not fail any more.
    """
    passed = total = 0
    failing: dict[str, str] = {}
    expected = listed(path)
    start = time.perf_counter()
    for name, work in entries:
        results = forked(work)
        if isinstance(results, str):
            results = {"-": Result(0, 1, results)}
        for kind, result in results.items():
            passed += result.passed
            total += result.passed + result.failed
            if result.failed:
                failing[f"{name}.{kind}"] = result.first
                print(f"FAIL {name:<28} {kind:<10} {result.failed:4d} of {result.passed + result.failed:4d}  "
                      f"{result.first}", flush=True)  # fmt: skip
    share = 100 * passed / max(1, total)
    print(f"{passed} of {total} samples pass ({share:.2f} %), {len(failing)} entries fail; "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    unknown = [name for name in failing if not _known(name, expected)]
    fixed = [name for name in expected if not any(f == name or f.rpartition(".")[0] == name for f in failing)]
    if unknown:
        print(f"not listed in {path.name}: {len(unknown)}")
    if fixed and whole:
        print(f"listed, but nothing of it fails: {', '.join(fixed)}")
    return 1 if unknown or (fixed and whole) else 0


def _known(name: str, expected: dict[str, str]) -> bool:
    return name in expected or name.rpartition(".")[0] in expected
