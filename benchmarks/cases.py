"""What a benchmark case is: one statement, run by both libraries on equal data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Setup = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A statement and the names it uses.

    `setup` gets the library (the module `dumbtorch` or `torch`) and returns the names. `target` is the highest time
    wanted, as a share of PyTorch's; None for a row that only informs. `inner` is how many operations one run of the
    statement does: times are shown for one of them.
    """

    name: str
    statement: str
    setup: Setup
    target: float | None = 1.0
    inner: int = 1


@dataclass(frozen=True)
class Figure:
    """A row of the result: two figures, their ratio, and what the ratio should at most be."""

    name: str
    ours: str
    theirs: str
    ratio: float | None
    target: float | None
    error: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a target and it is not met."""
        return bool(self.error) or (self.target is not None and self.ratio is not None and self.ratio > self.target)


def normal(library: Any, *shape: int, seed: int = 0, dtype: str = "float32", grad: bool = False) -> Any:
    """A tensor of the library with the same standard normal numbers for both."""
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32).astype(dtype)
    made = library.from_numpy(values)
    return made.requires_grad_() if grad else made


def integers(library: Any, high: int, *shape: int, seed: int = 0) -> Any:
    """An int64 tensor of numbers below `high`, the same for both libraries."""
    return library.from_numpy(np.random.default_rng(seed).integers(0, high, shape))


def named(prefix: str, cases: Iterable[Case]) -> list[Case]:
    """The cases with a prefix before their names."""
    return [Case(f"{prefix}{c.name}", c.statement, c.setup, c.target, c.inner) for c in cases]
