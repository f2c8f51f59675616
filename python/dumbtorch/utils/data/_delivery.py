"""Between the fetched batch and the caller: counting, and the check of a promised length."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dumbtorch.random import Generator


@dataclass
class Position:
    """Where a pass stands: the generators' states from before it began, and how many batches were handed out."""

    generators: list[Any]
    batches: int = 0
    ended: bool = False

    def state_dict(self) -> dict[str, Any]:
        """As plain numbers and tensors."""
        return {"batches": self.batches, "generators": list(self.generators)}


class Delivery(Iterator[Any]):
    """The batches of one pass."""

    def __init__(self, batches: Iterator[Any], position: Position, expected: int | None) -> None:
        self._batches = batches
        self._position = position
        self._expected = expected

    def __next__(self) -> Any:
        try:
            batch = next(self._batches)
        except StopIteration:
            self._position.ended = True
            raise
        self._position.batches += 1
        if self._expected is not None and self._position.batches == self._expected + 1:
            warnings.warn(
                f"Length of IterableDataset was reported to be {self._expected} batches, but more have been fetched. "
                "With worker processes, each must take its own share of the stream (see get_worker_info).",
                stacklevel=2,
            )
        return batch


def skip(items: Iterable[Any], count: int) -> Iterator[Any]:
    """What comes after the first ``count`` items. RuntimeError if there are fewer."""
    rest = iter(items)
    found = sum(1 for _ in itertools.islice(rest, count))
    if found < count:
        raise RuntimeError(
            f"DataLoader.load_state_dict: {count} batches had been handed out, but this loader has only {found} in a "
            "pass; load the state into a loader with the same dataset and options"
        )
    return rest


def generators_of(*holders: Any) -> list[Generator]:
    """The different generators that loaders and samplers hold in their attribute ``generator``."""
    found: dict[int, Generator] = {}
    for holder in holders:
        generator = getattr(holder, "generator", None)
        if isinstance(generator, Generator):
            found[id(generator)] = generator
    return list(found.values())
