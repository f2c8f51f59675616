"""Transforms of functions: derivatives and batching that compose. Reference: ``torch.func``."""

from __future__ import annotations

from dumbtorch.func import _function  # noqa: F401  # custom Functions inside of the transforms
from dumbtorch.func._grad import (
    debug_unwrap,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from dumbtorch.func._modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from dumbtorch.func._rearrange import rearrange
from dumbtorch.func._vmap import vmap

__all__ = [
    "debug_unwrap",
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "rearrange",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
