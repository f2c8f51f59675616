"""Batching rules of losses that reduce: the losses of elements once for all samples, then a sum for each sample."""

from __future__ import annotations

from typing import Any

from dumbtorch.func._batching import RULES, Call
from dumbtorch.func._rules import aligned
from dumbtorch.ops.losses import FUSED
from dumbtorch.ops.table import FUNCTIONS

# ---------------------------------------------------------------- of elements and their targets


def _per_sample(whole: Any) -> Any:
    return whole.reshape(whole.shape[0], -1)


def _reduced(each: Any, reduction: str) -> Any:
    if reduction == "none":
        return each
    return _per_sample(each).sum(1) if reduction == "sum" else _per_sample(each).mean(1)


def _spread(g: Any, like: Any, reduction: str) -> Any:
    """The gradient of a sample's result as that of its elements."""
    if reduction == "none":
        return g
    if reduction == "mean":
        g = g / max(1, like[0].numel() if like.shape[0] else 1)
    return aligned(g, like.ndim - 1).expand(like.shape)


def _fused(call: Call) -> Any:
    rank = max(call.rank(0), call.rank(1))
    x, y = (aligned(call.whole(n), rank) for n in (0, 1))
    return _reduced(call.run((x, y, call.args[2], "none")), call.args[3])


def _fused_backward(call: Call) -> Any:
    x, y, (number, reduction) = call.whole(1), call.whole(2), call.args[3:]
    return call.run((_spread(call.whole(0), x, reduction), x, y, number, "none"))


for _name in FUSED:
    RULES[f"fused_{_name}"] = _fused
    RULES[f"fused_{_name}_backward"] = _fused_backward


# ---------------------------------------------------------------- of classes


def _rows(call: Call, scores: int, target: int) -> tuple[Any, Any, bool]:
    """Scores (B * N, C, ...), targets (B, N, ...), and whether samples are without N."""
    x, y = call.whole(scores), call.whole(target)
    one = call.rank(scores) == 1
    if one:
        x, y = x.unsqueeze(1), y.unsqueeze(1)
    return x.flatten(0, 1), y, one


def _counts(y: Any, ignore: int, weight: Any, call: Call, place: int, like: Any) -> Any:
    """What each sample's elements weigh together."""
    kept = y != ignore
    if weight is None:
        return _per_sample(kept).sum(1).to(like.dtype)
    return _per_sample(FUNCTIONS["where"](kept, _weights(y, ignore, call, place), 0.0)).sum(1).to(like.dtype)


def _weights(y: Any, ignore: int, call: Call, place: int) -> Any:
    """The weights of the targets' classes, where each sample may have its own."""
    classes = y.masked_fill(y == ignore, 0)
    weight = call.args[place]
    if not call.is_whole[place]:
        return weight[classes]
    return weight.gather(1, _per_sample(classes)).reshape(y.shape)


def _classes(call: Call) -> Any:
    """``cross_entropy`` and ``nll``."""
    *given, ignore, reduction = call.args
    weight = given[2] if len(given) > 2 else None
    x, y, one = _rows(call, 0, 1)
    own = weight is not None and call.is_whole[2]
    extra = [] if len(given) < 3 else [None if own else weight]
    each = call.run((x, y.flatten(0, 1), *extra, ignore, "none")).reshape(y.shape)
    if own:
        each = each * _weights(y, ignore, call, 2)
    if reduction == "none":
        return each.squeeze(1) if one else each
    total = _per_sample(each).sum(1)
    return total / _counts(y, ignore, weight, call, 2, total) if reduction == "mean" else total


def _classes_backward(call: Call) -> Any:
    _, _, *given, ignore, reduction = call.args
    weight = given[1] if len(given) > 1 else None
    shape = call.whole(1).shape
    x, y, one = _rows(call, 1, 2)
    g = call.whole(0)
    if reduction == "none":
        g = g.unsqueeze(1) if one else g
    else:
        if reduction == "mean":
            g = g / _counts(y, ignore, weight, call, 3, g)
        g = aligned(g, y.ndim - 1).expand(y.shape)
        g = g.masked_fill(y == ignore, 0)  # where nothing counts, the mean is NaN and its derivative 0
    own = weight is not None and call.is_whole[3]
    if own:
        g = g * _weights(y, ignore, call, 3)
    extra = [] if len(given) < 2 else [None if own else weight]
    return call.run((g.flatten(0, 1), x, y.flatten(0, 1), *extra, ignore, "none")).reshape(shape)


RULES.update(cross_entropy=_classes, cross_entropy_backward=_classes_backward, nll=_classes,
             nll_backward=_classes_backward)  # fmt: skip
