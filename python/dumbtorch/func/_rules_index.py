"""Batching rules of indexing and scattering."""

from __future__ import annotations

from typing import Any

from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func._batching import RULES, Call, loop
from dumbtorch.func._rules import aligned, wrapped
from dumbtorch.ops.table import FUNCTIONS, TABLE

_INDEX, _PUT, _PUT_ = TABLE["index"].op, TABLE["index_put"].op, TABLE["index_put"].inplace_op


def _numbers(call: Call, rank: int, device: Any) -> Any:
    """The numbers of the samples, as an index of a rank beside the batch."""
    return FUNCTIONS["arange"](call.size, device=device).reshape(-1, *(1,) * rank)


class _Key:
    """Indices of a sample as indices of its whole."""

    def __init__(self, call: Call) -> None:
        picks = list(call.args[1])
        flags = call.is_whole[1] or [False] * len(picks)
        places = [n for n, pick in enumerate(picks) if pick is not None]
        self.rank = max((picks[n].ndim - bool(flags[n]) for n in places), default=0)
        self.batched = any(flags[n] for n in places)
        together = places == list(range(places[0], places[-1] + 1)) if places else True
        #: where a sample's result has the dimensions of the indices
        self.first = places[0] if places and together else 0
        self.together = together
        if self.batched:
            rank = self.rank
            number = _numbers(call, rank, call.args[0].device)
            wide = [
                pick if pick is None else aligned(pick, rank) if flag else pick
                for pick, flag in zip(picks, flags, strict=True)
            ]
            self.picks: tuple[Any, ...] = (number, *wide)
            # the number and the indices stand together only where those start at once
            self.moves = not (together and self.first == 0)
            self.moved_from = 1
        else:
            self.picks = (None, *picks)
            self.moves = not together
            self.moved_from = 0

    def out(self, made: Any) -> Any:
        """What indexing the whole gave, with the batch first and the indices where a sample has them."""
        if not self.moves:
            return made
        rank = self.rank
        if self.batched:  # (B, indices, rest): a sample has its indices at `first`
            return made if self.first == 0 else made.movedim(
                tuple(range(1, rank + 1)), tuple(range(1 + self.first, 1 + self.first + rank)))  # fmt: skip
        return made.movedim(rank, 0)  # (indices, B, rest)

    def back(self, value: Any) -> Any:
        """The reverse: values shaped as `out` gives them, as indexing the whole takes them."""
        if not self.moves:
            return value
        rank = self.rank
        if self.batched:
            return value if self.first == 0 else value.movedim(
                tuple(range(1 + self.first, 1 + self.first + rank)), tuple(range(1, rank + 1)))  # fmt: skip
        return value.movedim(0, rank)


def _index(call: Call) -> Any:
    key = _Key(call)
    if not call.is_whole[0] and key.together and all(p is not None for p in call.args[1]):
        # one tensor for all samples: indices of any shape pick from it
        flags = call.is_whole[1] or [False] * len(call.args[1])
        wide = [aligned(p, key.rank) if f else p for p, f in zip(call.args[1], flags, strict=True)]
        return _INDEX(call.args[0], tuple(wide))
    return key.out(_INDEX(call.whole(0), key.picks))


def _index_put(call: Call) -> Any:
    key = _Key(call)
    whole = call.whole(0)
    values, accumulate = call.args[2:]
    indexed = sum(p is not None for p in call.args[1])
    rank = key.rank + whole.ndim - 1 - indexed
    if call.is_whole[2]:
        values = aligned(values, rank)
    elif key.moves:
        values = values.unsqueeze(0)
    if key.moves:
        values = key.back(aligned(values, rank))
    return (_PUT_ if call.inplace else _PUT)(whole, key.picks, values, accumulate)


def _index_select(call: Call) -> Any:
    x, dim, index = call.args
    rank = call.rank(0)
    if not call.is_whole[2]:
        if not rank:
            wrapped(dim, 0)
            return x.unsqueeze(1).index_select(1, index).reshape(call.size, *index.shape[:0])
        return x.index_select(wrapped(dim, rank), index)
    if not rank:
        return call.whole(0)
    d = wrapped(dim, rank)
    vector = call.rank(2) == 1
    index = index if vector else index.unsqueeze(1)
    front = call.whole(0).movedim(d, 1)
    made = _INDEX(front, (_numbers(call, 1, index.device), index)).movedim(1, d)
    return made if vector else made.select(d, 0) if call.args[2].ndim == 1 and rank == 0 else made


def _index_add(call: Call) -> Any:
    args = list(call.args)
    rank = call.rank(0)
    if call.is_whole[2] and (not rank or call.row.name == "index_copy" and not rank):
        return loop(call)
    source = call.place("source")
    if not rank:
        return loop(call)
    d = wrapped(args[1], rank)
    x, values = call.whole(0), call.whole(source)
    if not call.is_whole[2]:
        if values.ndim < x.ndim:
            return loop(call)
        args[0], args[1], args[source] = x, d, values
        return call.run(args)
    index = args[2]
    if call.rank(2) != 1 or values.ndim != x.ndim:
        return loop(call)
    if call.row.name == "index_add":
        values = values if args[4] == 1 else values * args[4]
        accumulate = True
    else:
        accumulate = False
    key = (_numbers(call, 1, index.device), index)
    front = x.movedim(d, 1)
    if call.inplace:
        return _PUT_(front, key, values.movedim(d, 1), accumulate)
    return _PUT(front, key, values.movedim(d, 1), accumulate).movedim(1, d)


RULES.update(index=_index, index_put=_index_put, index_select=_index_select, index_add=_index_add,
             index_copy=_index_add)  # fmt: skip


def _searchsorted(call: Call) -> Any:
    boundaries, values, sorter, *rest = call.args
    if not call.is_whole[0] and not call.is_whole[2] and isinstance(values, TensorBase) and call.rank(0) == 1:
        return call.run()
    return loop(call)


RULES["searchsorted"] = _searchsorted


def _copied(call: Call) -> Any:
    """Sample by sample, each with a storage of its own, for what reads the storage itself."""
    call.args[:] = [a.contiguous() if f is True else a for a, f in zip(call.args, call.is_whole, strict=True)]
    results = [
        call.run([a.select(0, n).clone() if f is True else a for a, f in zip(call.args, call.is_whole, strict=True)])
        for n in range(call.size)
    ]
    return FUNCTIONS["stack"](results)


RULES["as_strided_scatter"] = _copied
