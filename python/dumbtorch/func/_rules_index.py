"""Batching rules of indexing and scattering."""

from __future__ import annotations

from typing import Any

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
    """``index_add`` and ``index_copy``; a sample without dimensions is one of one element."""
    args, place = list(call.args), call.place("source")
    rank = call.rank(0)
    x, values = call.whole(0), call.whole(place)
    x = x if rank else x.unsqueeze(1)
    d = wrapped(args[1], rank)
    index = args[2] if call.rank(2) else args[2].unsqueeze(-1)
    values = values if values.ndim == x.ndim else values.unsqueeze(d)
    if not call.is_whole[2]:
        args[:3], args[place] = (x, d, index), values
        made = call.run(args)
        return made if rank or call.inplace else made.squeeze(1)
    if call.row.name == "index_add" and args[4] != 1:
        values = values * args[4]
    put = _PUT_ if call.inplace else _PUT
    key = (_numbers(call, 1, index.device), index)
    made = put(x.movedim(d, 1), key, values.movedim(d, 1), call.row.name == "index_add").movedim(1, d)
    return made if rank or call.inplace else made.squeeze(1)


RULES.update(index=_index, index_put=_index_put, index_select=_index_select, index_add=_index_add,
             index_copy=_index_add)  # fmt: skip


def _searchsorted(call: Call) -> Any:
    boundaries, values, sorter, *rest = call.args
    if not call.is_whole[0] and not call.is_whole[2] and call.rank(0) == 1:
        return call.run()
    values = call.whole(1)
    rows = values if call.rank(0) > 1 else values.reshape(call.size, -1)
    made = call.run((call.whole(0), rows, None if sorter is None else call.whole(2), *rest))
    return made.reshape(values.shape)


def _masked_scatter(call: Call) -> Any:
    """Each element that is written takes the source's element of its place among them."""
    rank = max(call.rank(0), call.rank(1))
    x, mask = aligned(call.whole(0), rank), aligned(call.whole(1), rank)
    source = call.whole(2).flatten(1) if call.rank(2) else call.whole(2).unsqueeze(1)
    mask = mask.expand(FUNCTIONS["broadcast_shapes"](x.shape, mask.shape))
    if not source.shape[1] and mask.numel():
        return loop(call)
    flat = mask.flatten(1) if rank else mask.unsqueeze(1)
    picked = source.gather(1, (flat.cumsum(1) - 1).clamp(min=0)).reshape(mask.shape) if mask.numel() else x
    made = FUNCTIONS["where"](mask, picked, x)
    return call.args[0].copy_(made) if call.inplace else made


RULES.update(searchsorted=_searchsorted, masked_scatter=_masked_scatter)


def _copied(call: Call) -> Any:
    """Sample by sample, each with a storage of its own, for what reads the storage itself."""
    call.args[:] = [a.contiguous() if f is True else a for a, f in zip(call.args, call.is_whole, strict=True)]
    results = [
        call.run([a.select(0, n).clone() if f is True else a for a, f in zip(call.args, call.is_whole, strict=True)])
        for n in range(call.size)
    ]
    return FUNCTIONS["stack"](results)


RULES["as_strided_scatter"] = _copied
