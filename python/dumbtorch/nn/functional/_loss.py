"""Loss functions. `input` is what the network says, `target` what is true; `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn.functional._activation import logsigmoid
from dumbtorch.ops.losses import FUSED, NLL

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
]

_fused_cross_entropy = ops.TABLE["cross_entropy"].op


def legacy_reduction(size_average: bool | None, reduce: bool | None) -> str:
    """What the old pair of flags means as a reduction, with the warning PyTorch gives."""
    mean = size_average is None or size_average
    name = "none" if reduce is not None and not reduce else "mean" if mean else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{name}' instead.", stacklevel=3
    )
    return name


def _choose_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'mean', 'sum' or 'none'")
    return reduction


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return ops.mean(loss)
    return ops.sum(loss) if reduction == "sum" else loss


def _fused(name: str, input: Tensor, target: Tensor, number: float, reduction: str) -> Tensor | None:
    """The loss in one pass, where a kernel has it: for floats of one dtype and shape, in host memory."""
    if (
        input.dtype is target.dtype
        and input.shape == target.shape
        and input.is_floating_point()
        and input.device.type == target.device.type == "cpu"
    ):
        made: Tensor = FUSED[name](input, target, number, reduction)
        return made
    return None


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _weighted(loss: Tensor, weight: Tensor | None, input: Tensor) -> Tensor:
    if weight is None:
        return loss
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return loss * weight


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2. With `weight`, the mean divides by the weights' sum."""
    _warn_sizes(input, target)
    reduction = _choose_reduction(size_average, reduce, reduction)
    if weight is None and (fused := _fused("mse_loss", input, target, 0.0, reduction)) is not None:
        return fused
    loss = _weighted(ops.square(input - target), weight, input)
    if weight is not None and reduction == "mean":
        return ops.sum(loss) / ops.sum(weight)
    return _reduce(loss, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|. With `weight`, the mean divides by the weights' sum."""
    _warn_sizes(input, target)
    reduction = _choose_reduction(size_average, reduce, reduction)
    if weight is None and (fused := _fused("l1_loss", input, target, 0.0, reduction)) is not None:
        return fused
    loss = _weighted(ops.abs(input - target), weight, input)
    if weight is not None and reduction == "mean":
        return ops.sum(loss) / ops.sum(weight)
    return _reduce(loss, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Half the square over `beta` where |input - target| < beta, beyond it the distance less beta / 2."""
    _warn_sizes(input, target)
    reduction = _choose_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    name = "l1_loss" if beta == 0 else "smooth_l1_loss"
    if (fused := _fused(name, input, target, beta, reduction)) is not None:
        return fused
    distance = ops.abs(input - target)
    if beta != 0:
        distance = ops.where(distance < beta, ops.square(distance) * (0.5 / beta), distance - 0.5 * beta)
    return _reduce(distance, reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the square where |input - target| < delta, beyond it delta * (distance - delta / 2)."""
    _warn_sizes(input, target)
    reduction = _choose_reduction(None, None, reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    if weight is None and (fused := _fused("huber_loss", input, target, delta, reduction)) is not None:
        return fused
    distance = ops.abs(input - target)
    loss = ops.where(distance < delta, ops.square(distance) * 0.5, (distance - 0.5 * delta) * delta)
    return _reduce(_weighted(loss, weight, input), reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log target - input), with `input` (and, if `log_target`, `target`) given as logarithms.

    "batchmean" divides the sum by the batch size, which is the mathematical definition.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    elif reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' "
            "divides only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    batches = reduction == "batchmean"
    reduction = "sum" if batches else _choose_reduction(None, None, reduction)
    fused = _fused("kl_div_log_target" if log_target else "kl_div", input, target, 0.0, reduction)
    if fused is not None:
        return fused / input.shape[0] if batches and input.ndim else fused
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        # 0 * log(0) is 0 here.
        positive = target.masked_fill(target == 0, 1.0)
        loss = target * (ops.log(positive) - input)
    total = _reduce(loss, reduction)
    return total / input.shape[0] if batches and input.ndim else total


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target * log(input) + (1 - target) * log(1 - input)) for probabilities in [0, 1] of the same shape."""
    reduction = _choose_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    whole = reduction if weight is None else "none"
    loss = _fused("binary_cross_entropy", input, target, 0.0, whole)
    if loss is None:
        if input.numel() and not bool(ops.logical_and(input >= 0, input <= 1).all()):
            raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
        loss = _reduce(
            (target - 1) * ops.log1p(-input).clamp(min=-100) - target * ops.log(input).clamp(min=-100), whole
        )
    return loss if weight is None else _reduce(loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), computed without overflow; `pos_weight` weighs the positive class."""
    reduction = _choose_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        fused = _fused("binary_cross_entropy_with_logits", input, target, 0.0, reduction if weight is None else "none")
        if fused is not None:
            return fused if weight is None else _reduce(fused * weight, reduction)
    log_yes: Any = logsigmoid(input)
    if pos_weight is not None:
        log_yes = log_yes * ((pos_weight - 1) * target + 1)
    loss: Any = (1 - target) * input - log_yes
    return _reduce(loss if weight is None else loss * weight, reduction)


# -- classification ------------------------------------------------------------------------------------------------


def _check_classes(op: str, input: Tensor, target: Tensor, weight: Tensor | None) -> int:
    """Check class-index shapes; return the number of classes."""
    if input.ndim == 0:
        raise ValueError(f"{op}: Expected 1 or more dimensions (got 0)")
    class_dim = 0 if input.ndim == 1 else 1
    classes: int = input.shape[class_dim]
    if input.ndim > 1 and target.ndim > 0 and input.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        )
    wanted = tuple(input.shape[:class_dim]) + tuple(input.shape[class_dim + 1 :])
    if tuple(target.shape) != wanted:
        raise RuntimeError(f"{op}: Expected target size {list(wanted)}, got {list(target.shape)}")
    if target.dtype not in (_dtypes.int64, _dtypes.uint8):
        raise RuntimeError(f"{op}: expected scalar type Long for class indices, but found {target.dtype}")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"{op}: weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight tensor of shape: {list(weight.shape)}"
        )
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"{op}: expected scalar type {input.dtype} for the weight but found {weight.dtype}")
    return classes


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the right class.

    `input` (N, C), (C,) or (N, C, d1, ...) holds log-probabilities, `target` (N,), () or (N, d1, ...) class indices.
    Targets equal to `ignore_index` count for nothing; the mean is over the rest, weighed by `weight` (C,) if given.
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    classes = _check_classes("nll_loss", input, target, weight)
    return _nll(
        input, target if target.dtype is _dtypes.int64 else target.long(), weight, ignore_index, reduction, classes
    )


def _nll(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, classes: int
) -> Tensor:
    class_dim = 0 if input.ndim == 1 else 1
    if input.device.type == "cpu":
        loss: Tensor = NLL(input, target, weight, ignore_index, reduction)
        return loss
    target = target.long()
    ignored = target == ignore_index
    # Ignored places look up class 0 and are blanked afterwards.
    safe = target.masked_fill(ignored, 0)
    _check_range(safe, classes)
    picked = ops.gather(input, class_dim, safe.unsqueeze(class_dim)).squeeze(class_dim)
    loss = -picked.masked_fill(ignored, 0.0)
    if weight is not None:
        chosen = weight[safe].masked_fill(ignored, 0.0)
        loss = loss * chosen
    if reduction == "none":
        return loss
    total = ops.sum(loss)
    if reduction == "sum":
        return total
    return total / (ops.sum(~ignored) if weight is None else ops.sum(chosen))


def _check_range(target: Tensor, classes: int) -> None:
    if not target.numel():
        return
    for worst in (int(target.min()), int(target.max())):
        if not 0 <= worst < classes:
            raise IndexError(f"Target {worst} is out of bounds: there are {classes} classes")


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between logits and class indices or class probabilities.

    `input` (N, C), (C,) or (N, C, d1, ...) holds logits; `target` is either class indices, (N,), () or (N, d1, ...),
    or probabilities of the same shape as `input`. `weight` (C,) weighs the classes, `label_smoothing` in [0, 1] mixes
    in the uniform distribution. Reference: `torch.nn.functional.cross_entropy`.

        >>> F.cross_entropy(model(x), labels)
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input.shape == target.shape:
        return _probability_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    classes = _check_classes("cross_entropy", input, target, weight)
    if weight is None and label_smoothing == 0.0 and input.ndim == 2:
        return _fused_cross_entropy(input, target, ignore_index, reduction)
    target = target.long()
    class_dim = 0 if input.ndim == 1 else 1
    logs = ops.log_softmax(input, class_dim)
    loss = _nll(logs, target, weight, ignore_index, reduction, classes)
    if label_smoothing == 0.0:
        return loss
    ignored = target == ignore_index
    smooth = -ops.sum(logs if weight is None else logs * _per_class(weight, logs, class_dim), class_dim)
    smooth = smooth.masked_fill(ignored, 0.0)
    if reduction == "mean":
        if weight is None:
            count = ops.sum(~ignored)
        else:
            count = ops.sum(weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0))
        smooth = ops.sum(smooth) / count
    elif reduction == "sum":
        smooth = ops.sum(smooth)
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / classes)


def _per_class(weight: Tensor, like: Tensor, class_dim: int) -> Tensor:
    shape = [1] * like.ndim
    shape[class_dim] = weight.shape[0]
    return weight.reshape(shape)


def _probability_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"cross_entropy: Expected floating point type for target with class probabilities, got {target.dtype}"
        )
    if ignore_index >= 0:
        raise RuntimeError("cross_entropy: ignore_index is not supported for floating point target")
    class_dim = 0 if input.ndim == 1 else 1
    classes = input.shape[class_dim]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight tensor of shape: {list(weight.shape)}"
        )
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = ops.log_softmax(input, class_dim) * target
    if weight is not None:
        terms = terms * _per_class(weight, terms, class_dim)
    if reduction == "none":
        return -ops.sum(terms, class_dim)
    total = -ops.sum(terms)
    if reduction == "sum":
        return total
    places = input.numel() // classes if classes else 0  # nothing to average gives NaN, as 0 / 0
    return total / places


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-likelihood of counts `target` under a Poisson of rate exp(input), or `input` itself.

    `full` adds Stirling's approximation of log(target!).
    """
    reduction = _choose_reduction(size_average, reduce, reduction)
    if not full:
        fused = _fused("poisson_nll_log_input" if log_input else "poisson_nll", input, target, eps, reduction)
        if fused is not None:
            return fused
    loss = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        above = target.masked_fill(target <= 1, 1.0)
        stirling = above * ops.log(above) - above + 0.5 * ops.log(2 * math.pi * above)
        loss = loss + stirling.masked_fill(target <= 1, 0.0)
    return _reduce(loss, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    reduction = _choose_reduction(size_average, reduce, reduction)
    apart = ops.relu(margin - input).masked_fill(target == 1, 0.0)
    return _reduce(apart + input.masked_fill(target == -1, 0.0), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)) for targets of 1 and -1."""
    reduction = _choose_reduction(size_average, reduce, reduction)
    fused = _fused("soft_margin_loss", input, target, 0.0, reduction)
    return _reduce(-logsigmoid(target * input), reduction) if fused is None else fused


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin): target 1 wants input1 the greater, -1 input2."""
    reduction = _choose_reduction(size_average, reduce, reduction)
    if input1.ndim != input2.ndim or input1.ndim != target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return _reduce(ops.relu(-target * (input1 - input2) + margin), reduction)
