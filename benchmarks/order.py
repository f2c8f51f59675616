"""Sorting, selecting, running results, searching and counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal

SIZES = {"1e3": 1000, "1e6": 1_000_000, "1e7": 10_000_000}


def _vector(size: int, kind: str = "float32") -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        values = integers(t, 1 << 30, size) if kind == "int64" else normal(t, size, dtype=kind)
        return {"t": t, "a": values}

    return setup


def _matrix(rows: int, columns: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"t": t, "a": normal(t, rows, columns)}


def _bounds(size: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"t": t, "a": normal(t, size), "bounds": normal(t, 1000, seed=1).sort()[0]}


def _small(size: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"t": t, "a": integers(t, 1000, size)}


def order() -> list[Case]:
    """Sorting and selecting."""
    cases = []
    for label, size in SIZES.items():
        for kind in ("float32", "int64", "float64"):
            cases.append(Case(f"sort {kind}, {label}", "a.sort()", _vector(size, kind)))
        cases += [
            Case(f"topk 10, {label}", "a.topk(10)", _vector(size)),
            Case(f"topk 10 int64, {label}", "a.topk(10)", _vector(size, "int64")),
            Case(f"topk of a tenth, {label}", f"a.topk({size // 10})", _vector(size)),
            Case(f"median, {label}", "a.median()", _vector(size)),
            Case(f"kthvalue, {label}", f"a.kthvalue({size // 3})", _vector(size)),
            Case(f"unique, {label}", "a.unique()", _vector(size)),
            Case(f"unique with inverse of int64, {label}", "a.unique(return_inverse=True)", _small(size)),
        ]
        if size > 1000:
            cases += [
                Case(f"sort of rows, {label}", "a.sort(1)", _matrix(1000, size // 1000)),
                Case(f"sort of columns, {label}", "a.sort(0)", _matrix(1000, size // 1000)),
                Case(f"topk of columns, {label}", "a.topk(5, 0)", _matrix(1000, size // 1000)),
            ]
    return cases


def scans() -> list[Case]:
    """Running results along a dimension."""
    cases = []
    for label, size in SIZES.items():
        columns = max(size // 1000, 10)
        shape = (size // columns, columns)
        for name in ("cumsum", "cumprod", "cummax", "logcumsumexp"):
            cases += [
                Case(f"{name}, {label}", f"a.{name}(0)", _vector(size)),
                Case(f"{name} of columns, {label}", f"a.{name}(0)", _matrix(*shape)),
            ]
        cases += [
            Case(f"cumsum of rows, {label}", "a.cumsum(1)", _matrix(*shape)),
            Case(f"diff, {label}", "a.diff()", _vector(size)),
            Case(f"nansum, {label}", "a.nansum()", _vector(size)),
            Case(f"count_nonzero, {label}", "a.count_nonzero()", _vector(size)),
            Case(f"aminmax, {label}", "a.aminmax()", _vector(size)),
        ]
    return cases


def counting() -> list[Case]:
    """Searching sorted values, and counting in bins."""
    cases = []
    for label, size in SIZES.items():
        cases += [
            Case(f"searchsorted, {label}", "t.searchsorted(bounds, a)", _bounds(size)),
            Case(f"isin, {label}", "t.isin(a, bounds)", _bounds(size)),
            Case(f"bincount, {label}", "a.bincount()", _small(size)),
            Case(f"histc, {label}", "a.histc(100, -3, 3)", _vector(size)),
            Case(f"histogram, {label}", "a.histogram(100)", _vector(size)),
            Case(f"quantile, {label}", "a.quantile(0.3)", _vector(size)),
        ]
    return cases
