"""Cross-entropy of a linear map's result, which need not be in memory as a whole: vocabularies of language models."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import Function
from dumbtorch.nn.functional._linear import linear
from dumbtorch.nn.functional._loss import cross_entropy

__all__ = ["LinearCrossEntropyOptions", "linear_cross_entropy"]

_HALVES = (_dtypes.float16, _dtypes.bfloat16)
_rows_loss = ops.TABLE["cross_entropy"].op
_rows_gradient = ops.TABLE["cross_entropy_backward"].op


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` goes through the batch in chunks, so that never all logits are in memory.

    `batch_chunk_size` rows at a time, or as many as `chunking_method` finds: "aspect_ratio" makes a chunk's logits
    about as large as the input, "aspect_ratio:N" a share of that, "auto" chooses. `acc_dtype` is what is computed and
    added up in, with `acc_policy` "accurate" also the products of the gradients, with "balanced" only their sums, with
    "compact" neither.
    `allow_retain_graph` keeps the gradients for another backward. ValueError for other values.
    Reference: `torch.nn.LinearCrossEntropyOptions`.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = str(self.chunking_method).partition(":")
            if name != "aspect_ratio" or (colon and not (factor.isdigit() and int(factor) > 0)):
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        allowed = (None, _dtypes.float16, _dtypes.bfloat16, _dtypes.float32, _dtypes.float64)
        if self.acc_dtype not in allowed:
            raise ValueError(
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, torch.float64}, got "
                f"{self.acc_dtype!r}. Pass acc_dtype=None to let the op pick automatically."
            )

    def _chunk(self, rows: int, features: int, classes: int, dtype: Any) -> int:
        """How many rows are done at a time."""
        method = self.chunking_method
        own = self.batch_chunk_size
        if method == "auto":
            method = None if own is not None else "aspect_ratio" if dtype in _HALVES else "aspect_ratio:2"
        if method is None:
            return max(1, rows if own is None else min(own, rows))
        factor = int(method.partition(":")[2] or 1)
        wide = -(-classes // max(features, 1))
        target = -(-rows // max(wide, 1))
        size = min((1 << max(target - 1, 0).bit_length()) // factor, rows)
        if own is not None and min(own, rows) != size:
            raise ValueError(
                f"batch_chunk_size (={own}) and chunking_method ('{method}') give different chunk sizes "
                f"({min(own, rows)} vs {size}); pass only one."
            )
        return max(1, size)

    def _accumulation(self, dtype: Any) -> tuple[Any, str]:
        """The dtype to add up in, and the policy."""
        policy = self.acc_policy
        if policy == "auto":
            policy = "accurate" if dtype in _HALVES else "compact"
        wide = self.acc_dtype
        if wide is None:
            wide = _dtypes.float32 if self.acc_policy == "auto" and dtype in _HALVES else dtype
        return wide, policy


class _Chunked(Function):
    """Loss and gradients of one chunk of rows after the other; both at once where the loss is one number."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        class_weight: Tensor | None,
        reduction: str,
        ignore_index: int,
        options: LinearCrossEntropyOptions,
    ) -> Tensor:
        kept = target != ignore_index
        factors = kept.to(input.dtype)
        if class_weight is not None:
            factors = factors * class_weight[target.masked_fill(~kept, 0)]
        wide, _ = options._accumulation(input.dtype)
        ctx.options, ctx.ignore_index, ctx.scalar = options, ignore_index, reduction != "none"
        ctx.used = False
        if not ctx.scalar:
            ctx.save_for_backward(input, weight, bias, target, factors)
            parts = [loss for _, loss, _ in _chunks(input, weight, bias, target, ignore_index, options, wide)]
            return (ops.cat(parts) * factors.to(wide)).to(input.dtype)
        scale = factors.to(wide)
        if reduction == "mean":
            scale = scale / scale.sum()
        ctx.gradients, loss = _gradients(
            input, weight, bias, target, scale, ignore_index, options, ctx.needs_input_grad[:3]
        )
        return loss.to(input.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        nothing = (None,) * 5
        if not ctx.scalar:
            input, weight, bias, target, factors = ctx.saved_tensors
            wide, _ = ctx.options._accumulation(input.dtype)
            found, _ = _gradients(
                input, weight, bias, target, (g * factors).to(wide), ctx.ignore_index, ctx.options,
                ctx.needs_input_grad[:3],
            )  # fmt: skip
            return (*found, *nothing)
        if ctx.used:
            raise RuntimeError(
                "linear_cross_entropy: its gradients were used by an earlier backward; for another one give "
                "LinearCrossEntropyOptions(allow_retain_graph=True)"
            )
        if ctx.options.allow_retain_graph:
            return (*(None if x is None else x * g for x in ctx.gradients), *nothing)
        ctx.used = True
        return (*(None if x is None else x.mul_(g) for x in ctx.gradients), *nothing)


def _chunks(
    input: Tensor, weight: Tensor, bias: Any, target: Tensor, ignore: int, options: LinearCrossEntropyOptions, wide: Any
) -> Any:
    """For each chunk of rows: the rows, their losses, their logits."""
    rows, features = input.shape
    size = options._chunk(rows, features, weight.shape[0], input.dtype)
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        logits = linear(input[part], weight, bias).to(wide)
        yield part, _rows_loss(logits, target[part], ignore, "none"), logits


def _gradients(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    scale: Tensor,
    ignore: int,
    options: LinearCrossEntropyOptions,
    needed: Any,
) -> tuple[list[Any], Tensor]:
    """The gradients of input, weight and bias, for the losses of the rows times `scale`, and the sum of those."""
    wide, policy = options._accumulation(input.dtype)
    # products of the gradients are of this dtype, sums of the other
    narrow = wide if policy == "accurate" else input.dtype
    total = ops.zeros((), dtype=wide)
    sums = input.dtype if policy == "compact" else wide
    of_input = ops.empty_like(input) if needed[0] else None
    of_weight = ops.zeros(weight.shape, dtype=sums) if needed[1] else None
    of_bias = ops.zeros(weight.shape[:1], dtype=sums) if needed[2] else None
    for part, losses, logits in _chunks(input, weight, bias, target, ignore, options, wide):
        total = total + (losses * scale[part]).sum()
        if not any(needed):
            continue
        slopes = _rows_gradient(scale[part], logits, target[part], ignore, "none").to(narrow)
        if of_input is not None:
            of_input[part] = (slopes @ weight.to(narrow)).to(input.dtype)
        if of_weight is not None:
            of_weight.add_((slopes.t() @ input[part].to(narrow)).to(sums))
        if of_bias is not None:
            of_bias.add_(slopes.sum(0).to(sums))
    found = [x if x is None else x.to(input.dtype) for x in (of_input, of_weight, of_bias)]
    return found, total


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`, with `options` in chunks of the batch.

    `input` is (N, in) or (in,), `linear_weight` (C, in) or (C, d1, ..., in) for targets (N, d1, ...). Chunks need class
    indices without smoothing; else a warning says that they are left out. RuntimeError for shapes that do not fit and
    for `ignore_index` with probabilities. Reference: `torch.nn.functional.linear_cross_entropy`.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}")
    features, classes, out = input.shape[-1], linear_weight.shape[0], tuple(linear_weight.shape[1:-1])
    if features != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {features} and {linear_weight.shape[-1]}, respectively"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *out):
        raise RuntimeError(f"expected linear_bias shape {(classes, *out)}, got {tuple(linear_bias.shape)}")
    if out and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], classes, *out)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignored = -100 if ignore_index is None else ignore_index
    if options is not None:
        if (
            reduction in ("mean", "sum", "none")
            and label_smoothing == 0.0
            and target.dtype is _dtypes.int64
            and not out
        ):
            batched = input.ndim == 2
            rows, wanted = (input, target) if batched else (input.unsqueeze(0), target.unsqueeze(0))
            loss: Tensor = _Chunked.apply(rows, linear_weight, linear_bias, wanted, weight, reduction, ignored, options)
            return loss if batched or reduction != "none" else loss.squeeze(0)
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in {'mean','sum','none'}, "
            f"label_smoothing == 0, target.dtype == int64, out_features == (). Got reduction={reduction!r}, "
            f"label_smoothing={label_smoothing}, target.dtype={target.dtype}, out_features={out}.",
            stacklevel=2,
        )
    if out:
        count = math.prod(out, start=classes)
        linear_weight = linear_weight.reshape(count, features)
        linear_bias = None if linear_bias is None else linear_bias.reshape(count)
    logits = linear(input, linear_weight, linear_bias).reshape(shape)
    return cross_entropy(
        logits, target, weight=weight, reduction=reduction, ignore_index=ignored, label_smoothing=label_smoothing
    )
