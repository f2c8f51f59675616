"""Second derivatives and forward mode over the whole op table.

    python -m tests.conformance.second_order [--ops mul,softmax] [--forward] [--limit N] [-v]

Every sample of every row that has a derivative is put through `gradgradcheck` in float64 (complex128 for rows of
complex numbers alone), with ``--forward`` through `gradcheck` in forward mode, forward over reverse and under vmap.
What may fail is listed, with the reason, in second_order.toml; a row that fails and is not listed, or that is listed
and passes, ends the run with status 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dumbtorch
from dumbtorch import ops
from dumbtorch.autograd import gradcheck, gradgradcheck, watch
from dumbtorch.ops.samples import DTYPES
from tests.ops.harness import Pair

LISTED = Path(__file__).with_suffix(".toml")


def rows() -> list[str]:
    """The rows with a derivative and samples, that are no in-place operations alone."""
    return sorted(name for name, row in ops.TABLE.items() if row.grad and row.samples and row.op is not None)


def expected(forward: bool) -> dict[str, str]:
    """What may fail and why."""
    listed: dict[str, str] = tomllib.loads(LISTED.read_text(encoding="utf-8"))["forward" if forward else "reverse"]
    return listed


def _dtype(row: Any) -> str:
    return "float64" if "float64" in DTYPES[row.dtypes] else "complex128"


def _prepared(row: Any, sample: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The row as a function of its differentiable tensors alone, and these."""
    pair = Pair(sample, _dtype(row), grad=True)
    values = dict(zip(row.params, row.defaults, strict=True))
    values.update(zip(row.params, pair.ours, strict=False))
    values.update(pair.kwargs)
    args = [values[p] for p in row.params]
    leaves: list[Any] = []

    def collect(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(collect(v) for v in value)
        if isinstance(value, dumbtorch.Tensor) and value.requires_grad:
            leaves.append(value)
            return len(leaves) - 1, _PLACE
        return value

    # inputs without a derivative are constants
    shape = [
        collect(a) if p in row.grad else a.detach() if isinstance(a, dumbtorch.Tensor) else a
        for p, a in zip(row.params, args, strict=True)
    ]

    def function(*tensors: Any) -> Any:
        def put(value: Any) -> Any:
            if type(value) is tuple and len(value) == 2 and value[1] is _PLACE:
                return tensors[value[0]]
            return type(value)(put(v) for v in value) if isinstance(value, (list, tuple)) else value

        result = watch.invoke(row, False, [put(s) for s in shape])
        if not isinstance(result, (tuple, list)):
            return result
        places = range(len(result)) if row.outputs == ("*",) else row.differentiable
        return tuple(result[n] for n in places)

    return function, leaves


_PLACE = object()


def check(name: str, number: int, forward: bool) -> str:
    """What is wrong with a sample of a row: empty if nothing is, or if there is nothing to differentiate."""
    row = ops.TABLE[name]
    sample = list(row.samples() if row.samples else ())[number]
    dtype = _dtype(row)
    if not sample.smooth or (sample.only and dtype not in DTYPES[sample.only]):
        return ""
    function, leaves = _prepared(row, sample)
    if not leaves or not any(t.numel() for t in leaves):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if forward:
                gradcheck(function, tuple(leaves), check_backward_ad=False, check_forward_ad=True,
                          check_batched_forward_grad=True, rtol=1e-3, atol=1e-4)  # fmt: skip
                gradgradcheck(function, tuple(leaves), check_rev_over_rev=False, check_fwd_over_rev=True,
                              check_undefined_grad=False, rtol=1e-3, atol=1e-4)  # fmt: skip
            else:
                gradgradcheck(function, tuple(leaves), check_undefined_grad=False, rtol=1e-3, atol=1e-4)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def run(name: str, forward: bool, limit: int = 0) -> list[str]:
    """What is wrong with the samples of a row."""
    row = ops.TABLE[name]
    count = len(list(row.samples() if row.samples else ()))
    found = [(n, check(name, n, forward)) for n in range(min(count, limit) if limit else count)]
    return [f"sample {n}: {text}" for n, text in found if text]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Second derivatives and forward mode over the op table.")
    parser.add_argument("--ops", default="", help="names, separated by commas")
    parser.add_argument("--forward", action="store_true", help="forward mode, over reverse mode and under vmap")
    parser.add_argument("--limit", type=int, default=0, help="samples of each row")
    parser.add_argument("-v", "--verbose", action="store_true", help="every failing sample")
    options = parser.parse_args()
    names = options.ops.split(",") if options.ops else rows()
    listed, failing = expected(options.forward), {}
    start = time.perf_counter()
    for name in names:
        wrong = run(name, options.forward, options.limit)
        if wrong:
            failing[name] = wrong
            print(f"FAIL {name:<28} {len(wrong)}: {wrong[0][:160]}", flush=True)
            for text in wrong[1:] if options.verbose else ():
                print(f"     {'':<28} {text[:160]}")
    unknown = sorted(set(failing) - set(listed))
    passing = sorted(set(listed) & set(names) - set(failing)) if not options.limit else []
    print(f"{len(names) - len(failing)} of {len(names)} rows pass, {len(failing)} fail, {len(unknown)} unlisted;"
          f" {time.perf_counter() - start:.0f} s")  # fmt: skip
    if passing:
        print(f"listed, but they pass: {', '.join(passing)}")
    return 1 if unknown or passing else 0


if __name__ == "__main__":
    sys.exit(main())
