"""`LinearCrossEntropyLoss`: the last linear layer of a classifier and its loss in one."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.functional._linear_loss import LinearCrossEntropyOptions
from dumbtorch.nn.modules.linear import Linear
from dumbtorch.nn.modules.loss import _WeightedLoss

__all__ = ["LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of `Linear(in_features, num_classes)` and a target; `options` does it in chunks of the batch.

    `out_features` are the further dimensions of the target. Reference: `torch.nn.LinearCrossEntropyLoss`.

        >>> loss = nn.LinearCrossEntropyLoss(16, 1000, options=nn.LinearCrossEntropyOptions())
        >>> loss(dumbtorch.rand(4, 16), dumbtorch.tensor([1, 2, 3, 999])).shape
        torch.Size([])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1.0:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, None, None, reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(self.num_classes, *self.out_features, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(self.num_classes, *self.out_features),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, "
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )
