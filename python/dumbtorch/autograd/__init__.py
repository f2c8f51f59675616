"""Automatic differentiation: the recorded graph and what walks it. Reference: ``torch.autograd``."""

from __future__ import annotations

from dumbtorch.autograd import anomaly_mode, edges, forward_ad, functional, grad_mode, graph, saved, variable
from dumbtorch.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from dumbtorch.autograd.backward import backward, grad
from dumbtorch.autograd.function import Function
from dumbtorch.autograd.grad_mode import is_multithreading_enabled, set_multithreading_enabled
from dumbtorch.autograd.gradcheck import gradcheck, gradgradcheck
from dumbtorch.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from dumbtorch.autograd.variable import Variable

# The public names of this package's `graph` that are made above it.
for _source, _names in (
    (saved, "allow_mutation_on_saved_tensors disable_saved_tensors_hooks save_on_cpu saved_tensors_hooks"),
    (edges, "GradientEdge get_gradient_edge increment_version register_multi_grad_hook "
            "set_override_stale_capture_stream set_warn_on_accumulate_grad_stream_mismatch"),
):  # fmt: skip
    for _name in _names.split():
        setattr(graph, _name, getattr(_source, _name))

__all__ = [
    "Variable",
    "grad_mode",
    "is_multithreading_enabled",
    "set_multithreading_enabled",
    "variable",
    "anomaly_mode",
    "detect_anomaly",
    "set_detect_anomaly",
    "Function",
    "backward",
    "enable_grad",
    "forward_ad",
    "functional",
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
