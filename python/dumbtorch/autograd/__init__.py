"""Automatic differentiation: the recorded graph and what walks it. Reference: ``torch.autograd``."""

from __future__ import annotations

from dumbtorch.autograd import graph
from dumbtorch.autograd.backward import backward, grad
from dumbtorch.autograd.function import Function
from dumbtorch.autograd.gradcheck import gradcheck, gradgradcheck
from dumbtorch.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]
