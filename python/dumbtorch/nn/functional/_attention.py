"""Attention: `scaled_dot_product_attention`, and the sliding window that PyTorch has no name for."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.ops.attention import ATTENTION, FAR

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale * query @ key.mT + attn_mask) @ value: (..., L, E), (..., S, E), (..., S, Ev) -> (..., L, Ev).

    `attn_mask` broadcasts to (..., L, S): numbers are added, bools say who may be seen; a row that sees nothing gives
    zeros. `is_causal` lets query i see the keys up to i only. Each weight is dropped with probability `dropout_p`
    (always, not only in training). `scale` is 1 / sqrt(E) by default. With `enable_gqa` the heads of queries
    (..., H, L, E) share out fewer heads of keys and values. The weights never exist as a whole: memory grows with
    L + S. RuntimeError for shapes and dtypes that do not fit. Reference:
    `torch.nn.functional.scaled_dot_product_attention` (Vaswani et al., 2017; Dao et al., 2022).

        >>> q, k, v = (dumbtorch.rand(2, 4, 10, 16) for _ in range(3))
        >>> F.scaled_dot_product_attention(q, k, v, is_causal=True).shape
        torch.Size([2, 4, 10, 16])
    """
    if attn_mask is not None and not isinstance(attn_mask, Tensor):
        bounds = getattr(attn_mask, "_bounds", None)
        if bounds is None:
            raise TypeError(
                "scaled_dot_product_attention(): argument 'attn_mask' must be Tensor, not " + type(attn_mask).__name__
            )
        if is_causal:
            raise ValueError("CausalBias should not be used with causal=True")
        low, high = bounds()
        return _attention(query, key, value, None, dropout_p, low, high, scale, enable_gqa)
    return _attention(query, key, value, attn_mask, dropout_p, -FAR, 0 if is_causal else FAR, scale, enable_gqa)


def sliding_window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    *,
    is_causal: bool = True,
    dropout_p: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention` in which a query sees only the `window` keys up to itself.

    Query i of L stands at key i + S - L, so that queries may be the last ones of a longer sequence. Without
    `is_causal` it sees as many keys after itself too: those at a distance below `window`. Keys out of sight cost
    nothing. ValueError for a window below 1. Reference: Beltagy et al., "Longformer", 2020; Jiang et al., "Mistral 7B",
    2023.
    """
    if window < 1:
        raise ValueError(f"sliding_window_attention: window must be at least 1, not {window}")
    here = key.shape[-2] - query.shape[-2]
    high = here if is_causal else here + window - 1
    return _attention(query, key, value, None, dropout_p, here - window + 1, high, scale, enable_gqa)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, low: int, high: int,
    scale: float | None, shared: bool,
) -> Tensor:  # fmt: skip
    """Attention of any number of dimensions, in terms of the kernel's (batch, heads, length, depth)."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            raise TypeError(f"scaled_dot_product_attention(): argument '{name}' must be Tensor, not {type(x).__name__}")
    if query.ndim < 2 or key.ndim < 2 or value.ndim < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype} "
            f"key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    depth = query.shape[-1]
    if scale is None:
        scale = 1 / math.sqrt(depth) if depth else 1.0
    if mask is not None:
        if mask.dtype not in (_dtypes.bool, query.dtype, _dtypes.float32):
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{mask.dtype} and  query.dtype: {query.dtype} instead."
            )
        if mask.ndim < 2:
            raise IndexError("Dimension out of range: attn_mask must have at least 2 dimensions")
        if mask.dtype != query.dtype and mask.dtype != _dtypes.bool:
            mask = mask.to(query.dtype)
    if depth != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} do not fit: they are (..., L, E), (..., S, E) and (..., S, Ev)"
        )
    lead = query.shape[:-2]
    if (
        len(lead) != 2
        or lead[0] != key.shape[0]
        or key.shape[:-2] != value.shape[:-2]
        or (lead[1] != key.shape[1] and not (shared and key.shape[1] and lead[1] % key.shape[1] == 0))
    ):
        return _spread(query, key, value, mask, dropout, low, high, scale, shared)
    if mask is not None and mask.ndim != 4:
        if mask.ndim > 4:
            raise _no_mask(mask, query, key)
        mask = mask[(None,) * (4 - mask.ndim)]
    if mask is not None:
        wanted = (*query.shape[:3], key.shape[2])
        if any(size not in (1, want) for size, want in zip(mask.shape, wanted, strict=True)):
            raise _no_mask(mask, query, key)
    result: Tensor = ATTENTION(query, key, value, mask, dropout, low, high, scale)[0]
    return result


def _no_mask(mask: Tensor, query: Tensor, key: Tensor) -> RuntimeError:
    return RuntimeError(
        f"scaled_dot_product_attention: attn_mask of shape {tuple(mask.shape)} does not broadcast to the scores "
        f"{(*query.shape[:-1], key.shape[-2])}"
    )


def _spread(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, low: int, high: int, scale: float,
    shared: bool,
) -> Tensor:  # fmt: skip
    """Brings leading dimensions that are missing, many, or to be broadcast to (batch, heads)."""
    if shared:
        if min(query.ndim, key.ndim, value.ndim) < 3:
            raise RuntimeError("enable_gqa: query, key and value must have at least 3 dimensions")
        heads = query.shape[-3]
        if not all(x.shape[-3] and heads % x.shape[-3] == 0 for x in (key, value)):
            raise RuntimeError(
                "Number of heads in key and value must divide the number of heads in query, but got "
                f"{heads}, {key.shape[-3]} and {value.shape[-3]}"
            )
        if key.shape[-3] != value.shape[-3]:
            key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
        if key.shape[-3] != heads and query.ndim == 3 == key.ndim == value.ndim:
            mask = None if mask is None else mask[(None,) * (4 - mask.ndim)]
            made = _attention(
                query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), mask, dropout, low, high, scale, True
            )
            return made.squeeze(0)
        if key.shape[-3] != heads:
            key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
    lead = ops.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    query, key, value = (x if x.shape[:-2] == lead else x.expand(*lead, *x.shape[-2:]) for x in (query, key, value))
    if len(lead) == 2:
        return _attention(query, key, value, mask, dropout, low, high, scale, False)
    if mask is not None:
        if mask.ndim > query.ndim:
            raise _no_mask(mask, query, key)
        try:
            mask = mask.expand(*lead, query.shape[-2], key.shape[-2])
        except RuntimeError:
            raise _no_mask(mask, query, key) from None
    count = math.prod(lead)
    flat = [x.reshape(count, 1, *x.shape[-2:]) for x in (query, key, value)]
    flat_mask = None if mask is None else mask.reshape(count, 1, *mask.shape[-2:])
    made = _attention(flat[0], flat[1], flat[2], flat_mask, dropout, low, high, scale, False)
    return made.reshape(*lead, *made.shape[-2:])
