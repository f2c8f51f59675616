"""Attention: the row of the fused kernel and its derivative. `nn.functional` has the functions that users call."""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes
from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, TABLE, row

#: A distance between query and key that no tensor reaches: no bound.
FAR = 1 << 40
_BOUNDS = f"dropout=0.0, low={-FAR}, high={FAR}, scale=1.0"


def _kernel(
    g: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float, low: int, high: int, scale: float, out: Any,
    lse: Any, stream: Any, needed: list[bool],
) -> Any:  # fmt: skip
    *gradients, by_mask = FUNCTIONS["attention_backward"](
        g, query, key, value, mask, dropout, low, high, scale, out, lse, stream, needed[3]
    )
    if needed[3]:
        by_mask = by_mask.sum_to_size(mask.shape).to(mask.dtype)
    return *gradients, by_mask


def hidden_by(queries: int, keys: int, low: int, high: int) -> Any:
    """True where a query does not see a key for their distance; None where all see all."""
    if low <= -queries and high >= keys:
        return None
    distance = FUNCTIONS["arange"](keys) - FUNCTIONS["arange"](queries).unsqueeze(1)
    return (distance < low) | (distance > high)


def _composed(
    g: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float, low: int, high: int, scale: float,
    stream: Any, needed: list[bool],
) -> Any:  # fmt: skip
    """The derivative in differentiable operations, which hold all weights."""
    batch, heads, queries, _ = query.shape
    owners, keys = key.shape[1:3]
    groups = (owners, heads // max(1, owners))
    q, h = query.unflatten(1, groups), g.unflatten(1, groups)
    k, v = key.unsqueeze(2), value.unsqueeze(2)
    scores = ((q * scale) @ k.mT).flatten(1, 2)
    hidden = hidden_by(queries, keys, low, high)
    if mask is not None and mask.dtype is not _dtypes.bool:
        scores = scores + mask
        unseen = mask == -float("inf")
    else:
        unseen = None if mask is None else ~mask
    if unseen is not None:
        hidden = unseen if hidden is None else hidden | unseen
    if hidden is not None:
        # a row that sees nothing has no weights; its softmax must not be NaN on the way there
        seen = ~hidden
        scores = FUNCTIONS["where"](seen.any(-1, True), scores, 0.0).masked_fill(
            hidden & seen.any(-1, True), -float("inf")
        )
        weights = scores.softmax(-1) * seen
    else:
        weights = scores.softmax(-1)
    kept = None
    if dropout > 0:
        kept = FUNCTIONS["attention_kept"](stream, batch, heads, queries, keys, dropout).to(query.dtype)
        kept = kept * (1 / (1 - dropout) if dropout < 1 else 0.0)
    used = (weights if kept is None else weights * kept).unflatten(1, groups)
    d_value = (used.mT @ h).sum(2)
    by = (h @ v.mT).flatten(1, 2)
    by = by if kept is None else by * kept
    slopes = weights * (by - (weights * by).sum(-1, True))
    d_mask = slopes.sum_to_size(mask.shape).to(mask.dtype) if needed[3] else None
    slopes = slopes.unflatten(1, groups) * scale
    return (slopes @ k).flatten(1, 2), (slopes.mT @ q).sum(2), d_value, d_mask


def _attention_backward(
    g: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float, low: int, high: int, scale: float, out: Any,
    lse: Any, stream: Any, needed: list[bool],
) -> Any:  # fmt: skip
    if is_grad_enabled():
        return _composed(g[0], query, key, value, mask, dropout, low, high, scale, stream, needed)
    return _kernel(g[0], query, key, value, mask, dropout, low, high, scale, out, lse, stream, needed)


_Q, _K, _V = T(2, 4, 5, 6), T(2, 2, 7, 6), T(2, 2, 7, 3)
row("attention", f"query, key, value, mask=None, {_BOUNDS}, generator=None", outputs=("out", "lse", "stream"),
    differentiable=(0,), method=False, function=False, out=False, ref=None,
    grad=dict.fromkeys(("query", "key", "value", "mask"), _attention_backward),
    samples=lambda: (S(_Q, _K, _V, None, 0.0, -FAR, FAR, 0.4), S(_Q, _K, _V, T(2, 1, 5, 7), 0.0, -FAR, 0, 0.4),
                     S(_Q, _K, _V, T(1, 4, 1, 7, dtype="bool"), 0.0, -2, 1, 0.4)),
    errors=lambda: (S(_Q, _K, T(2, 2, 6, 3), error="RuntimeError"), S(_Q, _K, _V, None, 1.5, error="RuntimeError"),
                    S(_Q, T(2, 3, 7, 6), T(2, 3, 7, 3), error="RuntimeError"),
                    S(_Q, _K, _V, T(2, 3, 5, 7), error="RuntimeError")),
    doc="softmax(scale * query @ key.mT + mask) @ value, where query i sees the keys i + low .. i + high; heads of "
        "queries share heads of keys. Also the log of each row's sum, and the stream that dropout drew from.",
)  # fmt: skip
row("attention_backward", "grad, query, key, value, mask, dropout, low, high, scale, result, lse, stream, mask_grad",
    outputs=("d_query", "d_key", "d_value", "d_mask"), method=False, out=False, ref=None, function=True,
    doc="The derivative of attention with respect to query, key, value and a mask that is added.")  # fmt: skip
row("attention_kept", "stream, batch, heads, queries, keys, dropout", method=False, out=False, ref=None,
    doc="Which of the weights dropout keeps.")  # fmt: skip
ATTENTION: Any = TABLE["attention"].op
