"""Elementwise operations and reductions on arrays in memory, casts and copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, normal

SIZES = {"1e6": 1_000_000, "1e7": 10_000_000}
UNARY = ("relu", "exp", "tanh", "sigmoid", "log", "sin")
BINARY = ("add", "mul", "div", "maximum")


def _operands(size: int, count: int) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        names = {name: normal(t, size, seed=seed) for seed, name in enumerate("ab"[:count])}
        # log of a negative number is a special case that data seldom has
        names["a"] = names["a"].abs() + 0.01
        return {"t": t, "out": t.zeros(size), **names}

    return setup


def _elementwise(size: int, label: str) -> list[Case]:
    rows = []
    for name in BINARY + UNARY:
        count = 2 if name in BINARY else 1
        arguments = ", ".join("ab"[:count])
        if name != "relu":  # torch.relu has no out=
            reused = f"t.{name}({arguments}, out=out)"
            rows.append(Case(f"{name}, {label}, reused memory", reused, _operands(size, count), 1.0))
        rows.append(Case(f"{name}, {label}, fresh memory", f"t.{name}({arguments})", _operands(size, count), 0.5))
    rows += [
        Case(f"add_, {label}, in place", "a.add_(b)", _operands(size, 2), 1.0),
        Case(f"where, {label}, fresh memory", "t.where(c, a, b)", _masked(size), 0.5),
    ]
    return rows


def _masked(size: int) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        names = _operands(size, 2)(t)
        return {**names, "c": names["b"] > 0}

    return setup


def _matrix(rows: int, columns: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"t": t, "a": normal(t, rows, columns), "out": t.zeros(rows, columns)}


def elementwise() -> list[Case]:
    """Elementwise rows: results into memory that is there (`out=`), and into new tensors."""
    return [case for label, size in SIZES.items() for case in _elementwise(size, label)] + _repeated()


def _repeated() -> list[Case]:
    """Operands that repeat an element along each row, or one row for all."""
    shapes = {
        "a column": ((512, 128), (512, 1)),
        "a row": ((512, 128), (128,)),
        "pairs by a column": ((100_000, 2), (100_000, 1)),
        "planes by channels": ((8, 64, 56, 56), (64, 1, 1)),
        "a large column": ((1024, 1024), (1024, 1)),
    }

    def setup(first: tuple[int, ...], second: tuple[int, ...]) -> Callable[[Any], dict[str, Any]]:
        return lambda t: {"a": normal(t, *first), "b": normal(t, *second, seed=1)}

    return [
        Case(f"mul, {name}: {' x '.join(map(str, first))}", "a * b", setup(first, second), 1.0)
        for name, (first, second) in shapes.items()
    ]


def reductions() -> list[Case]:
    """Reductions of everything, of rows and of columns."""
    cases = []
    for label, size in SIZES.items():
        side = 1000
        for name in ("sum", "mean", "amax", "var", "argmax"):
            cases.append(Case(f"{name} of all, {label}", f"a.{name}()", _matrix(side, size // side), 1.0))
        cases += [
            Case(f"sum of rows, {label}", "a.sum(1)", _matrix(side, size // side), 1.0),
            Case(f"sum of columns, {label}", "a.sum(0)", _matrix(side, size // side), 1.0),
            Case(f"amax of rows, {label}", "a.amax(1)", _matrix(side, size // side), 1.0),
            Case(f"logsumexp of rows, {label}", "a.logsumexp(1)", _matrix(side, size // side), 1.0),
        ]
    return cases


def copies() -> list[Case]:
    """Casts, and copies between layouts."""
    cases = []
    for label, size in SIZES.items():
        shape = (1000, size // 1000)
        operands = _matrix(*shape)
        cases += [
            Case(f"contiguous to contiguous, {label}", "out.copy_(a)", operands, 1.0),
            Case(f"transposed, {label}", "a.t().contiguous()", operands, 1.0),
            Case(f"every second column, {label}", "a[:, ::2].contiguous()", operands, 1.0),
            Case(f"add of a transposed matrix, {label}", "t.add(a, b, out=out)", _transposed(*shape), 1.0),
            Case(f"float32 to float64, {label}", "a.to(t.float64)", operands, 1.0),
            Case(f"float32 to bfloat16, {label}", "a.to(t.bfloat16)", operands, 1.0),
            Case(f"float32 to int32, {label}", "a.to(t.int32)", operands, 1.0),
        ]
    return cases


def _transposed(rows: int, columns: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {
        "t": t,
        "a": normal(t, rows, columns),
        "b": normal(t, columns, rows).t(),
        "out": t.zeros(rows, columns),
    }
