"""Losses of margins and distances between vectors, and of distributions with a variance."""

from __future__ import annotations

import math
from collections.abc import Callable

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.autograd.watch import beneath
from dumbtorch.nn.functional._activation import logsigmoid
from dumbtorch.nn.functional._linear import pairwise_distance
from dumbtorch.nn.functional._loss import _choose_reduction, _reduce

__all__ = [
    "cosine_embedding_loss",
    "gaussian_nll_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where -1.

    Inputs are (N, D) with a target (N,), or (D,) with a target (); RuntimeError for others.
    Reference: `torch.nn.functional.cosine_embedding_loss`.
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    ranks = target.ndim
    if ranks > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input1.ndim != ranks + 1 or input2.ndim != ranks + 1:
        raise RuntimeError(
            f"{ranks}D target tensor expects {ranks + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    lengths = (ops.square(input1).sum(-1) + 1e-12) * (ops.square(input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / ops.sqrt(lengths)
    zero = ops.zeros_like(cosine)
    near = ops.where(target == 1, 1 - cosine, zero)
    return _reduce(near + ops.where(target == -1, (cosine - margin).clamp(min=0), zero), reduction)


def _check_ranks(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    ranks = anchor.ndim, positive.ndim, negative.ndim
    if len(set(ranks)) > 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {ranks[0]}D, positive {ranks[1]}D, and negative {ranks[2]}D inputs"
        )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + |anchor - positive| - |anchor - negative|) with the p-norm along the last dimension.

    `swap` takes |positive - negative| where that is smaller. ValueError for a margin that is not positive.
    Reference: `torch.nn.functional.triplet_margin_loss` (Balntas et al., 2016).
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    reduction = _choose_reduction(size_average, reduce, reduction)
    _check_ranks(anchor, positive, negative)
    return _triplet(lambda a, b: pairwise_distance(a, b, p, eps), anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of the caller's (default: `pairwise_distance`)."""
    reduction = _choose_reduction(None, None, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_ranks(anchor, positive, negative)
    return _triplet(distance_function or pairwise_distance, anchor, positive, negative, margin, swap, reduction)


def _triplet(
    distance: Callable[[Tensor, Tensor], Tensor],
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    far = distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return _reduce((margin + distance(anchor, positive) - far).clamp(min=0), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the wrong classes' max(0, margin - x[right] + x[wrong])^p, and over all classes of it.

    `input` is (N, C) or (C,), `target` (N,) or () of class indices, `p` 1 or 2, `weight` (C,) by the right class.
    Reference: `torch.nn.functional.multi_margin_loss`.
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    _check_scores("multi_margin_loss", input)
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    right = target.reshape(-1)
    count, classes = rows.shape
    if target.ndim > 1 or right.shape[0] != count:
        raise RuntimeError(f"inconsistent target size, expected {count} but got {list(target.shape)}")
    if weight is not None and weight.shape[0] != classes:
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    _check_classes(right, 0, classes)
    place = right.unsqueeze(1)
    over = (margin - rows.gather(1, place) + rows).clamp(min=0)
    if p == 2:
        over = ops.square(over)
    loss = over.scatter(1, place, 0.0).sum(1) / classes
    if weight is not None:
        loss = loss * weight[right]
    return _reduce(loss if target.ndim else loss.squeeze(0), reduction)


def _check_scores(op: str, input: Tensor) -> None:
    if input.ndim > 2 or (input.ndim and input.shape[-1] == 0):
        raise RuntimeError(
            f"{op}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )


def _check_classes(target: Tensor, low: int, classes: int) -> None:
    target = beneath(target)
    if target.numel() and not low <= int(target.min()) <= int(target.max()) < classes:
        raise RuntimeError(f"target out of range: classes are {low} to {classes - 1}")


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, 1 - x[right] + x[wrong]) over all pairs of a right and a wrong class, over the classes.

    `input` is (N, C) or (C,); `target`, of the same shape, holds the right classes and then -1.
    Reference: `torch.nn.functional.multilabel_margin_loss`.
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    _check_scores("multilabel_margin_loss", input)
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    rows, chosen = (input, target) if input.ndim == 2 else (input.reshape(1, -1), target.reshape(1, -1))
    classes = rows.shape[1]
    _check_classes(chosen, -1, classes)
    # what comes after the first -1 does not count
    counts = ops.cumsum((chosen < 0).long(), 1) == 0
    place = ops.where(counts, chosen, 0)
    is_right = ops.zeros_like(chosen).scatter_add(1, place, counts.to(chosen.dtype)) > 0
    gaps = 1 - rows.gather(1, place).unsqueeze(2) + rows.unsqueeze(1)  # (N, right, wrong)
    gaps = gaps.clamp(min=0).masked_fill(~counts.unsqueeze(2) | is_right.unsqueeze(1), 0.0)
    loss = gaps.sum((1, 2)) / classes
    return _reduce(loss if input.ndim == 2 else loss.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The binary cross-entropy of sigmoid(input), averaged over the classes in the last dimension, weighed by `weight`.

    Reference: `torch.nn.functional.multilabel_soft_margin_loss`.
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduce(loss.sum(-1) / input.shape[-1], reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-likelihood of `target` under Gaussians of mean `input` and variance `var`, held at `eps` and above.

    `var` is a number, or a tensor of input's shape, of it with one size of 1, or of it without the last dimension;
    `full` adds log(2 pi) / 2. ValueError for negative variances. Reference: `torch.nn.functional.gaussian_nll_loss`.
    """
    variance: Tensor = ops.full_like(input, var) if isinstance(var, float) else var
    if bool((variance < 0).any()):
        raise ValueError("var has negative entry/entries")
    if variance.shape != input.shape:
        if input.shape[:-1] == variance.shape:
            variance = variance.unsqueeze(-1)
        elif input.ndim != variance.ndim or [b for a, b in zip(input.shape, variance.shape, strict=True) if a != b] != [
            1
        ]:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    variance = variance.clone()
    with no_grad():
        variance.clamp_(min=eps)
    loss = 0.5 * (ops.log(variance) + ops.square(input - target) / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)
