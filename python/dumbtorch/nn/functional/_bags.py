"""Bags of embeddings, and similarities of vectors."""

from __future__ import annotations

import warnings

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn.functional._linear import _renormalise

__all__ = ["cosine_similarity", "embedding_bag", "pdist"]

_MODES = ("sum", "mean", "max")

cosine_similarity = ops.cosine_similarity
pdist = ops.pdist


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum over each bag of rows of `weight` (count, dim): (bags, dim).

    `input` is (bags, size), or (n,) with `offsets` (bags,), where each bag begins (`include_last_offset`: and the last
    one ends). An empty bag gives zeros, and `padding_idx` does not count. `per_sample_weights`, of input's shape,
    weighs the rows of sums; with `sparse` the gradient of `weight` is a sparse tensor. ValueError for other shapes and
    modes; `max_norm`, `norm_type` and `scale_grad_by_freq` as in `embedding`.
    Reference: `torch.nn.functional.embedding_bag`.

        >>> F.embedding_bag(dumbtorch.tensor([[0, 1], [2, 2]]), dumbtorch.eye(3), mode="sum")
        tensor([[1., 1., 0.],
                [0., 0., 2.]])
    """
    if weight.dtype is _dtypes.int64 and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is "
            "deprecated, and should now be `embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        weight, input = input, weight
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            f"same shape as the input ({input.shape})"
        )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags, size = input.shape
        offsets = ops.arange(bags, dtype=input.dtype, device=input.device) * size
        include_last_offset = False
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    elif offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    elif offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    _check_mode(mode, scale_grad_by_freq, sparse, per_sample_weights)
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise RuntimeError(f"padding_idx must be within the number of embeddings, but got {padding_idx}")
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    if include_last_offset:
        if offsets.shape[0] == 0:
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        input = input[: int(offsets[-1])]
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights[: input.shape[0]]
        offsets = offsets[:-1]
    bags_of = ops.TABLE["bags_of_rows"].op
    pad = -1 if padding_idx is None else padding_idx
    kind = _MODES.index(mode)
    result: Tensor = bags_of(weight, input, offsets, per_sample_weights, kind, pad, scale_grad_by_freq, sparse)
    return result


def _check_mode(mode: str, scale_grad_by_freq: bool, sparse: bool, per_sample_weights: Tensor | None) -> None:
    if mode not in _MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}')."
        )
