"""Multi-head attention: projections, masks as layers have them (True hides), and weights where they are asked for."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn.functional._attention import scaled_dot_product_attention
from dumbtorch.nn.functional._linear import linear

__all__ = ["multi_head_attention_forward"]


def _canonical_mask(
    mask: Tensor | None, mask_name: str, other_type: Any, other_name: str, target_type: Any, check_other: bool = True
) -> Tensor | None:
    """The mask as numbers to be added: True becomes -inf. Warns where two masks are of different types."""
    if mask is None:
        return None
    floating = mask.dtype.is_floating_point
    if mask.dtype is not _dtypes.bool and not floating:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if floating:
        return mask
    numbers: Tensor = ops.zeros_like(mask, dtype=target_type).masked_fill_(mask, -math.inf)
    return numbers


def _check_dimensions(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int
) -> bool:
    """Whether there is a batch dimension; AssertionError where the others do not go with it."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    kind = f"For {'' if batched else 'un'}batched ({query.ndim}-D) `query`, expected"
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"{kind} `key` and `value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors "
            "respectively"
        )
    if padding is not None and padding.ndim != query.ndim - 1:
        raise AssertionError(
            f"{kind} `key_padding_mask` to be `None` or {query.ndim - 1}-D but found {padding.ndim}-D tensor instead"
        )
    if mask is not None and mask.ndim not in (2, 3):
        raise AssertionError(f"{kind} `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor instead")
    if not batched and mask is not None and mask.ndim == 3:
        wanted = (heads, query.shape[0], key.shape[0])
        if mask.shape != wanted:
            raise AssertionError(f"Expected `attn_mask` shape to be {wanted} but got {mask.shape}")
    return batched


def _project(
    query: Tensor, key: Tensor, value: Tensor, weights: tuple[Tensor, Tensor, Tensor] | Tensor, bias: Tensor | None
) -> list[Tensor]:
    """Queries, keys and values from one matrix of weights or three; the same input is projected in one product."""
    width = query.shape[-1]
    if isinstance(weights, tuple):
        wanted = (width, width), (width, key.shape[-1]), (width, value.shape[-1])
        for name, weight, shape in zip(("query", "key", "value"), weights, wanted, strict=True):
            if weight.shape != shape:
                raise AssertionError(f"expecting {name} weights shape of {shape}, but got {weight.shape}")
        biases = [None] * 3 if bias is None else bias.chunk(3)
        return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    if query is key is value:
        return list(linear(query, weights, bias).split(width, -1))
    if key is value:
        parts = weights.split((width, 2 * width))
        biases = [None] * 2 if bias is None else bias.split((width, 2 * width))
        return [linear(query, parts[0], biases[0]), *linear(key, parts[1], biases[1]).split(width, -1)]
    return _project(query, key, value, tuple(weights.chunk(3)), bias)


def _longer(x: Tensor, more: Tensor, dim: int) -> Tensor:
    """The sequence with one more element for every member of the batch."""
    shape = list(x.shape)
    shape[dim] = 1
    made: Tensor = ops.cat((x, more.expand(shape)), dim)
    return made


def _mask_heads(mask: Tensor, batch: int, heads: int, length: int, source: int) -> Tensor:
    """attn_mask as (1, 1, length, source) or (batch, heads, length, source)."""
    wanted = (length, source) if mask.ndim == 2 else (batch * heads, length, source)
    if mask.shape != wanted:
        raise RuntimeError(f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {wanted}.")
    return mask[None, None] if mask.ndim == 2 else mask.reshape(batch, heads, length, source)


def _one_more(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else ops.cat((mask, mask.new_zeros((*mask.shape[:-1], 1))), -1)


def _static(name: str, given: Tensor, batch: int, heads: int, depth: int) -> Tensor:
    if given.shape[0] != batch * heads:
        raise AssertionError(f"expecting {name}.size(0) of {batch * heads}, but got {given.shape[0]}")
    if given.shape[2] != depth:
        raise AssertionError(f"expecting {name}.size(2) of {depth}, but got {given.shape[2]}")
    return given.reshape(batch, heads, given.shape[1], depth)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, from its weights: query (L, N, E), key and value (S, N, E) or without N.

    Returns the output, of the query's shape, and the weights (N, L, S) or, not averaged over the heads, (N, H, L, S);
    None for them without `need_weights`, which is faster and needs memory for L + S only. In bool masks True hides a
    key; numbers are added: `key_padding_mask` (N, S), `attn_mask` (L, S) or (N * H, L, S). `is_causal` says that
    `attn_mask` is the causal one. AssertionError and RuntimeError for shapes that do not fit. Reference:
    `torch.nn.functional.multi_head_attention_forward`.
    """
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights: Any = in_proj_weight
    if use_separate_proj_weight:
        for name, weight in zip("qkv", separate, strict=True):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        weights = separate
    elif in_proj_weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    return attend(
        query, key, value, embed_dim_to_check, num_heads, weights, in_proj_bias, bias_k, bias_v, add_zero_attn,
        dropout_p if training else 0.0, out_proj_weight, out_proj_bias, key_padding_mask, need_weights, attn_mask,
        static_k, static_v, average_attn_weights, is_causal, 0,
    )  # fmt: skip


def attend(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, weights: Any, in_bias: Tensor | None,
    bias_k: Tensor | None, bias_v: Tensor | None, add_zero: bool, dropout: float, out_weight: Tensor,
    out_bias: Tensor | None, padding: Tensor | None, need_weights: bool, mask: Tensor | None, static_k: Tensor | None,
    static_v: Tensor | None, average: bool, is_causal: bool, time: int,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`multi_head_attention_forward` for sequences along dimension `time` (0 or 1) of inputs with a batch."""
    batched = _check_dimensions(query, key, value, padding, mask, heads)
    if not batched:
        time = 0
        same_key, same_query = key is value, query is key
        query = query.unsqueeze(1)
        key = query if same_query else key.unsqueeze(1)
        value = key if same_key else value.unsqueeze(1)
        padding = None if padding is None else padding.unsqueeze(0)
    length, batch, width = query.shape[time], query.shape[1 - time], query.shape[2]
    source = key.shape[time]
    padding = _canonical_mask(
        padding, "key_padding_mask", None if mask is None else mask.dtype, "attn_mask", query.dtype
    )
    if is_causal and mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        mask = None
    else:
        mask = _canonical_mask(mask, "attn_mask", None, "", query.dtype, False)
        is_causal = False
    if width != embed_dim:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim}, but got {width}")
    depth = width // heads
    if depth * heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if isinstance(weights, tuple):
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
    elif key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    q, k, v = _project(query, key, value, weights, in_bias)
    if mask is not None:
        mask = _mask_heads(mask, batch, heads, length, source)
    if bias_k is not None and bias_v is not None:
        if static_k is not None:
            raise AssertionError("bias cannot be added to static key.")
        if static_v is not None:
            raise AssertionError("bias cannot be added to static value.")
        k, v = _longer(k, bias_k, time), _longer(v, bias_v, time)
        mask, padding = _one_more(mask), _one_more(padding)
    elif bias_k is not None:
        raise AssertionError("bias_k is set but bias_v is None")
    elif bias_v is not None:
        raise AssertionError("bias_v is set but bias_k is None")
    order = (1, 2, 0, 3) if time == 0 else (0, 2, 1, 3)
    q, k, v = (x.unflatten(2, (heads, depth)).permute(order) for x in (q, k, v))
    if static_k is not None:
        k = _static("static_k", static_k, batch, heads, depth)
    if static_v is not None:
        v = _static("static_v", static_v, batch, heads, depth)
    if add_zero:
        k, v = (ops.cat((x, x.new_zeros((batch, heads, 1, depth))), 2) for x in (k, v))
        mask, padding = _one_more(mask), _one_more(padding)
    source = k.shape[2]
    if padding is not None:
        if padding.shape[0] != batch:
            raise AssertionError(f"Expected key_padded_mask.shape[0] to be {batch}, but got {padding.shape[0]}")
        if padding.shape[1] != source:
            raise AssertionError(f"Expected key_padded_mask.shape[1] to be {source}, but got {padding.shape[1]}")
        padding = padding[:, None, None]
        mask = padding if mask is None else mask + padding
    used: Tensor | None = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / depth)) @ k.transpose(-2, -1)
        used = (scores if mask is None else scores + mask).softmax(-1)
        if dropout > 0:
            used = ops.dropout(used, dropout)
        out = used @ v
        if average:
            used = used.mean(1)
        used = used if batched else used.squeeze(0)
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
    out = out.permute((2, 0, 1, 3) if time == 0 else (0, 2, 1, 3)).reshape(*query.shape)
    out = linear(out, out_weight, out_bias)
    return out if batched else out.squeeze(1), used
