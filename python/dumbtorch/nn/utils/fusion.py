"""A batch norm in evaluation mode is a scale and a shift: folded into the convolution or linear map before it."""

from __future__ import annotations

import copy
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    scale: Tensor | None,
    shift: Tensor | None,
    dim: int,
) -> tuple[Parameter, Parameter]:
    """Weight and bias with the batch norm in them; the channels lie in dimension `dim` of the weight."""
    start = ops.zeros_like(mean) if bias is None else bias
    factor = ops.rsqrt(var + eps)
    if scale is not None:
        factor = factor * scale
    moved = (start - mean) * factor
    if shift is not None:
        moved = moved + shift
    shape = [1] * weight.ndim
    shape[dim] = -1
    scaled = (weight * factor.reshape(shape)).to(dtype=weight.dtype)
    kind = weight.dtype if bias is None else bias.dtype
    grad = weight.requires_grad
    return (
        Parameter(scaled.detach(), grad),
        Parameter(moved.to(dtype=kind).detach(), grad if bias is None else bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that does the batch norm as well.

    Reference: `torch.nn.utils.fusion.fuse_conv_bn_weights`.
    """
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear map that does the batch norm as well."""
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _check(layer: Module, bn: Any, what: str) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError(f"fuse_{what}_bn_eval: the batch norm has no running statistics to fold in")


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution that does the batch norm as well; both in evaluation mode, else AssertionError.

    Reference: `torch.nn.utils.fusion.fuse_conv_bn_eval`.
    """
    _check(conv, bn, "conv")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the linear map that does the batch norm as well; both in evaluation mode, else AssertionError.

    Reference: `torch.nn.utils.fusion.fuse_linear_bn_eval`.
    """
    _check(linear, bn, "linear")
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1")
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
