"""Batching rules of ops that have a dimension of samples already: the batch folds into it, and unfolds in the results.

Attention, normalization of channels, grids, windows as columns, bags of embeddings, labels of sequences.
"""

from __future__ import annotations

import math
from typing import Any

from dumbtorch.func._batching import RULES, Call, Rule, loop
from dumbtorch.func._rules import aligned
from dumbtorch.func._rules_random import check, shared_draw
from dumbtorch.ops.table import FUNCTIONS


def fold(whole: Any, dim: int = 0) -> Any:
    """A whole (B, ...) with its batch in front of a dimension of its samples, merged with it."""
    return whole.movedim(0, dim).flatten(dim, dim + 1)


def unfold(made: Any, size: int, dim: int = 0) -> Any:
    """The reverse: the batch in front of all."""
    return made.unflatten(dim, (size, made.shape[dim] // max(1, size))).movedim(dim, 0)


def folding(given: dict[str, int], made: tuple[int, ...]) -> Rule:
    """The rule of an op that has samples along the named dimensions of its tensors, and of its results."""

    def rule(call: Call) -> Any:
        if not call.size:
            return loop(call)
        args = list(call.args)
        for n in call.tensors():
            args[n] = fold(call.whole(n), given[call.row.params[n]])
        result = call.run(args)
        if not isinstance(result, tuple):
            return unfold(result, call.size, made[0])
        return tuple(unfold(r, call.size, dim) for r, dim in zip(result, made, strict=True))

    return rule


RULES.update(
    im2col=folding({"input": 0}, (0,)), col2im=folding({"input": 0}, (0,)), sum_columns=folding({"input": 0}, (0,)),
    grid_sampler=folding({"input": 0, "grid": 0}, (0,)),
    grid_sampler_backward=folding({"grad_output": 0, "input": 0, "grid": 0}, (0, 0)),
)  # fmt: skip

# what is computed for each of a batch is so for each of a batch of batches
RULES.update(
    batched_product=folding({"input": 0, "other": 0}, (0,)), convolution_each=folding({"input": 0, "weight": 0}, (0,)),
    convolution_each_input=folding({"grad_output": 0, "weight": 0}, (0,)),
    convolution_each_weight=folding({"grad_output": 0, "input": 0}, (0,)),
)  # fmt: skip

_LABELS = {"log_probs": 1, "targets": 0, "input_lengths": 0, "target_lengths": 0}
RULES["ctc_forward"] = folding(_LABELS, (0, 0))
RULES["ctc_loss"] = folding(_LABELS, (0, 0))
RULES["ctc_backward"] = folding(_LABELS | {"grad_output": 0, "losses": 0, "alphas": 0}, (1,))


# ---------------------------------------------------------------- attention


def _masked(call: Call, place: int, batch: int) -> Any:
    """A mask (..., queries, keys) for the folded heads: of one entry where all samples share it."""
    mask = call.args[place]
    if mask is None or not call.is_whole[place]:
        if mask is None or mask.ndim < 4 or mask.shape[0] == 1:
            return mask
        return fold(call.whole(place))
    mask = aligned(mask, 4)
    return fold(mask.expand(call.size, batch, *mask.shape[2:]))


def _attention(call: Call) -> Any:
    query, dropout = call.args[0], call.args[4]
    batch = query.shape[1] if call.is_whole[0] else query.shape[0]
    if dropout > 0:
        check(call.level)
        if call.level.randomness == "same":
            return shared_draw(call)
    if not call.size:
        return loop(call)
    args = list(call.args)
    args[:3] = [fold(call.whole(n)) for n in range(3)]
    args[3] = _masked(call, 3, batch)
    out, lse, stream = call.run(args)
    return unfold(out, call.size), unfold(lse, call.size), stream.unsqueeze(0).expand(call.size, *stream.shape)


def _attention_backward(call: Call) -> Any:
    if not call.size or call.args[5] > 0:  # what dropout drew belongs to the batch as it was
        return loop(call)
    args = list(call.args)
    batch = call.whole(0).shape[1]
    for n in (0, 1, 2, 3, 9, 10):
        args[n] = fold(call.whole(n))
    args[4] = _masked(call, 4, batch)
    args[11] = call.whole(11).select(0, 0)
    *gradients, by_mask = call.run(args)
    by_mask = unfold(by_mask, call.size) if args[12] else by_mask.unsqueeze(0).expand(call.size, *by_mask.shape)
    return (*(unfold(g, call.size) for g in gradients), by_mask)


RULES.update(attention=_attention, attention_backward=_attention_backward)


# ---------------------------------------------------------------- normalization of channels


def _channels(x: Any, channels: int) -> Any:
    """(B, outer, channels, ...) as (outer, B * channels, inner)."""
    return fold(x.reshape(*x.shape[:2], channels, -1), 1)


def _statistics(call: Call) -> Any:
    x, channels, inner = call.args
    made = call.run((_channels(x, channels), channels * call.size, inner))
    return tuple(m.reshape(call.size, channels) for m in made)


def _norm(call: Call) -> Any:
    """Where the vectors are one for all samples, more samples; else more channels."""
    channels, inner, own, eps = call.args[5:]
    if not any(call.is_whole[1:5]) and not own:
        x = call.args[0]
        return call.run((x.flatten(0, 1), *call.args[1:])).reshape(x.shape)
    x = call.whole(0)
    vectors = [None if call.args[n] is None else fold(call.whole(n)) for n in range(1, 5)]
    made = call.run((_channels(x, channels), *vectors, channels * call.size, inner, own, eps))
    return unfold(made, call.size, 1).reshape(x.shape)


def _norm_backward(call: Call) -> Any:
    g, x = call.whole(0), call.whole(1)
    channels, inner, own = call.args[5:]
    vectors = [None if call.args[n] is None else fold(call.whole(n)) for n in range(2, 5)]
    back, *slopes = call.run(
        (_channels(g, channels), _channels(x, channels), *vectors, channels * call.size, inner, own)
    )
    return (unfold(back, call.size, 1).reshape(x.shape), *(s.reshape(call.size, -1) for s in slopes))


RULES.update(channel_statistics=_statistics, channel_norm=_norm, channel_norm_backward=_norm_backward)


# ---------------------------------------------------------------- bags of embeddings


def _bags(call: Call) -> Any:
    """Bags of all samples, in one table or, where samples have their own, in their tables one after the other."""
    backward = call.row.name == "bags_of_rows_backward"
    args = list(call.args)
    first = 1 if backward else 0
    weight, factors, padding = args[first], args[first + 3], call.place("padding_idx")
    own = call.is_whole[first] or backward
    indices, offsets = call.whole(first + 1), call.whole(first + 2)
    starts = FUNCTIONS["arange"](call.size, device=indices.device, dtype=indices.dtype).unsqueeze(1)
    if own:
        weight = call.whole(first)
        rows = weight.shape[1]
        table = weight.flatten(0, 1)
        shifted = indices + starts * rows
        if args[padding] >= 0:  # one row for all that do not count
            table = FUNCTIONS["cat"]([table, table.new_zeros((1, table.shape[1]))])
            shifted = shifted.masked_fill(indices == args[padding], rows * call.size)
            args[padding] = rows * call.size
        args[first], indices = table, shifted
    args[first + 1] = indices.flatten()
    args[first + 2] = (offsets + starts.to(offsets.dtype) * indices.shape[1]).flatten()
    args[first + 3] = None if factors is None else call.whole(first + 3).flatten()
    if not backward:
        return unfold(call.run(args), call.size)
    args[0] = call.whole(0).flatten(0, 1)
    return call.run(args)[: rows * call.size].unflatten(0, (call.size, rows))


RULES.update(bags_of_rows=_bags, bags_of_rows_backward=_bags)


# ---------------------------------------------------------------- regions of pooling


def _regions(call: Call) -> Any:
    """Planes of any leading dimensions; intervals of their own for each plane fold as the planes do."""
    x, starts, ends, size = call.args
    if not (call.is_whole[1] or call.is_whole[2]) and starts.shape[0] == 1:
        return call.run()
    x, spatial = call.whole(0), len(size)
    planes = math.prod(x.shape[1:-spatial])
    bounds = [call.whole(n).expand(call.size, planes, starts.shape[-1]).flatten(0, 1) for n in (1, 2)]
    made = call.run((x.reshape(1, -1, *x.shape[-spatial:]), *bounds, size))
    return tuple(m.reshape(*x.shape[:-spatial], *size) for m in made)


RULES["max_regions"] = _regions
