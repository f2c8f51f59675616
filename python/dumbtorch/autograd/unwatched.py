"""Writes that the graph does not mind: those through what `Tensor.data` gave.

A storage counts all writes to it. What `.data` gives shares the storage, so its writes are counted too, and the checks
of kept tensors would take them for ones that spoil a derivative. Here stands which of the counted writes were made
while such an alias was there; only a check that is about to fail asks.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from dumbtorch import _C

Span = tuple[int, int]  # versions before and after some writes

_LIMIT = 1024  # storages to remember; the oldest is forgotten
_past: dict[int, list[Span]] = {}  # by the storages' identities
_present: dict[int, tuple[Any, Any, int, int]] = {}  # aliases: two weak references, the storage, its version back then


def alias_of(tensor: Any) -> Any:
    """The same memory outside of the graph, writes through which the graph does not mind."""
    alias = tensor._alias()
    number = next(_numbers)

    def gone(_: Any) -> None:
        _, owner, storage, before = _present.pop(number)
        tensor = owner()
        if tensor is not None and tensor._storage_id == storage and tensor._version != before:
            _note(storage, before, tensor._version)

    _present[number] = (weakref.ref(alias, gone), weakref.ref(tensor), alias._storage_id, alias._version)
    return alias


_numbers = itertools.count()


def _note(storage: int, before: int, after: int) -> None:
    spans = _past.setdefault(storage, [])
    if spans and max(spans)[1] > after:  # the storage of that identity has gone, this is another one
        spans.clear()
    if spans and spans[-1][1] == before:
        before = spans.pop()[0]
    spans.append((before, after))
    if len(_past) > _LIMIT:
        del _past[next(iter(_past))]


def excused(tensor: Any, version: int) -> bool:
    """Whether all writes to a tensor since it was kept at this version were ones that the graph does not mind."""
    if not isinstance(tensor, _C.TensorBase):
        return False
    storage, now = tensor._storage_id, tensor._version
    spans = list(_past.get(storage, ()))
    spans += [(before, now) for _, _, key, before in list(_present.values()) if key == storage]
    for before, after in sorted(spans):
        if before <= version < after:
            version = after
    return version >= now
