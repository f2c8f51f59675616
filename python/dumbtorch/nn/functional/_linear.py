"""Linear maps, embeddings, dropout and distances."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad

__all__ = [
    "alpha_dropout",
    "bilinear",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "embedding",
    "feature_alpha_dropout",
    "linear",
    "normalize",
    "one_hot",
    "pairwise_distance",
]

_linear = ops.TABLE["linear"].op  # bound once: it is called in every step
_ALPHA = 1.7580993408473766  # minus SELU's limit for x -> -inf: what alpha dropout puts in place of dropped values


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: `input` (..., in), `weight` (out, in) or (in,), `bias` (out,) or absent."""
    if weight.ndim == 1:
        product = input @ weight
        return product if bias is None else product + bias
    return _linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T W_k x2 for each output k: inputs (..., in1) and (..., in2), `weight` (out, in1, in2)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: all but the last dimensions must match, got {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    out, in1, in2 = weight.shape
    if input1.shape[-1] != in1 or input2.shape[-1] != in2:
        raise RuntimeError(
            f"bilinear: weight {tuple(weight.shape)} wants last sizes {in1} and {in2}, "
            f"got {input1.shape[-1]} and {input2.shape[-1]}"
        )
    left = input1.reshape(-1, in1) @ weight.permute(1, 0, 2).reshape(in1, out * in2)
    result = (left.reshape(-1, out, in2) @ input2.reshape(-1, in2, 1)).reshape(*input1.shape[:-1], out)
    return result if bias is None else result + bias


def _renormalise(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    with no_grad():
        rows = indices.reshape(-1)
        looked_up = ops.index_select(weight, 0, rows)
        norms = ops.norm(looked_up, norm_type, 1, True)
        scale = ops.where(norms > max_norm, max_norm / (norms + 1e-7), ops.ones_like(norms))
        # A row that is looked up twice is written twice with the same values.
        weight.index_copy_(0, rows, looked_up * scale)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` (count, dim) looked up by the integers in `input`; the result is (*input.shape, dim).

    The row at `padding_idx` gets no gradient; `max_norm` first shrinks, in place, the rows looked up whose
    `norm_type`-norm exceeds it; `scale_grad_by_freq` divides gradients by how often a row occurs. With `sparse` the
    gradient of `weight` is a sparse tensor of the rows looked up, which `scale_grad_by_freq` does not go with
    (RuntimeError in the backward). Reference: `torch.nn.functional.embedding`.
    """
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    return ops.embedding(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 vectors of zeros with a one at the class: the result is (*tensor.shape, num_classes).

    With `num_classes=-1` there are max + 1 of them. RuntimeError for negative classes and for ones too large.
    """
    if not tensor.numel():
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return ops.zeros(*tensor.shape, num_classes, dtype=tensor.dtype)
    if int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = int(tensor.max())
    if num_classes == -1:
        num_classes = largest + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif largest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    empty = tensor.new_zeros((*tensor.shape, num_classes))
    filled: Tensor = empty.scatter_(-1, tensor.unsqueeze(-1), 1)
    return filled


# -- dropout -------------------------------------------------------------------------------------------------------


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zero each element with probability `p` and scale the rest by 1 / (1 - p)."""
    _check_probability(p)
    if inplace:
        return input.copy_(ops.dropout(input, p, training)) if training and p else input
    return ops.dropout(input, p, training)


def _scaled(input: Tensor, noise: Tensor, inplace: bool) -> Tensor:
    return input.mul_(noise) if inplace else input * noise


def _channel_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0 or not input.numel():
        return input
    with no_grad():
        noise = input.new_empty((*input.shape[:2], *(1 for _ in input.shape[2:])))
        noise = noise.zero_() if p == 1 else noise.bernoulli_(1 - p).div_(1 - p)
    return _scaled(input, noise, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L)."""
    _check_probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input.")
    if input.ndim == 2:
        return _channel_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _channel_dropout(input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W)."""
    _check_probability(p)
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated. Use dropout instead.",
            stacklevel=2,
        )
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
            "desired - input is interpreted as shape (N, C, L). Use dropout1d for that.",
            stacklevel=2,
        )
    return _channel_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check_probability(p)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated. Use dropout instead.",
            stacklevel=2,
        )
    if input.ndim == 4:
        return _channel_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _channel_dropout(input, p, training, inplace)


def _alpha_dropout(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check_probability(p)
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        return input.mul_(0) if inplace else input.mul(0)
    scale = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    with no_grad():
        kept = input.new_empty(shape).bernoulli_(1 - p)
        shift = (kept - 1) * (_ALPHA * scale) + _ALPHA * scale * p
    if inplace:
        return input.mul_(kept * scale).add_(shift)
    return input * (kept * scale) + shift


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps zero mean and unit variance behind SELU."""
    return _alpha_dropout(input, p, training, inplace, tuple(input.shape))


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels."""
    shape = (*input.shape[:2], *(1 for _ in input.shape[2:]))
    return _alpha_dropout(input, p, training, inplace, shape)


# -- distances -----------------------------------------------------------------------------------------------------


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x divided by its p-norm along `dim`, the norm held at `eps` and above."""
    norm = ops.norm(input, p, dim, True).clamp(min=eps)
    return input / norm if out is None else ops.div(input, norm, out=out)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """p-norm of x1 - x2 + eps along the last dimension."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)
