"""Indexing, joining and moving elements round, from 1e3 to 1e7 of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal

SIZES = {"1e3": 1_000, "1e6": 1_000_000, "1e7": 10_000_000}


def _operands(size: int) -> Callable[[Any], dict[str, Any]]:
    side = min(1000, size // 25)

    def setup(t: Any) -> dict[str, Any]:
        a = normal(t, size)
        m = a.reshape(side, size // side)
        return {
            "t": t, "a": a, "m": m, "image": a.reshape(1, size // (20 * 10), 20, 10), "v": normal(t, size, seed=1),
            "i": integers(t, size, size), "rows": integers(t, side, side), "columns": integers(t, size // side, side),
            "mask": normal(t, size, seed=2) > 0, "zeros": t.zeros(size), "parts": list(m.chunk(5, 1)),
            "halves": [a[: size // 2], a[size // 2 :]],
        }  # fmt: skip

    return setup


STATEMENTS = {
    "index_select": "m.index_select(0, rows)",
    "index_select of columns": "m.index_select(1, columns)",
    "x[i]": "a[i]",
    "x[i, j]": "m[rows, columns]",
    "x[:, j]": "m[:, columns]",
    "x[mask]": "a[mask]",
    "x[mask] = 0": "v[mask] = 0.0",
    "gather": "a.gather(0, i)",
    "scatter_add": "zeros.scatter_add_(0, i, v)",
    "scatter_reduce, amax": "zeros.scatter_reduce_(0, i, v, 'amax')",
    "index_add": "m.index_add(0, rows, m)",
    "masked_select": "t.masked_select(a, mask)",
    "masked_fill": "a.masked_fill(mask, 1.0)",
    "nonzero": "mask.nonzero()",
    "index_put_": "zeros.index_put_((i,), v)",
    "index_put_, accumulate": "zeros.index_put_((i,), v, accumulate=True)",
    "take": "t.take(a, i)",
    "cat, dimension 0": "t.cat(halves)",
    "cat, dimension 1": "t.cat(parts, 1)",
    "stack": "t.stack(halves)",
    "stack, last dimension": "t.stack(halves, -1)",
    "flip, last dimension": "m.flip(1)",
    "flip, first dimension": "m.flip(0)",
    "roll": "m.roll((3, 5), (0, 1))",
    "repeat": "m.repeat(1, 2)",
    "repeat_interleave": "m.repeat_interleave(2, 1)",
    "tril": "m.tril()",
    "pad, constant": "pad(image, (1, 2, 3, 4))",
    "pad, reflect": "pad(image, (1, 2, 3, 4), mode='reflect')",
    "pad, circular": "pad(image, (1, 2, 3, 4), mode='circular')",
}


def cases() -> list[Case]:
    """Every statement at every size."""
    made = []
    for label, size in SIZES.items():
        for name, statement in STATEMENTS.items():
            operands = _operands(size)
            if "pad" in statement:
                made.append(Case(f"{name}, {label}", statement, _with_pad(operands)))
            else:
                made.append(Case(f"{name}, {label}", statement, operands))
    return made


def _with_pad(operands: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {**operands(t), "pad": t.nn.functional.pad}
