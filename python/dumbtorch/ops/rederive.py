"""Derivatives of kernels by recording, where they are to be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import autograd
from dumbtorch.autograd.modes import enable_grad, is_grad_enabled


def _source(x: Any) -> Any:
    made = x.view(x.shape)
    return made if made.requires_grad else made.requires_grad_()


def through_graph(function: Callable[..., Sequence[Any]], inputs: Any, grads: Any, needed: Sequence[bool]) -> list[Any]:
    """The gradients of those inputs that need one, by recording the function once more.

    For the second derivative of a kernel: ``function`` computes the same in differentiable operations. ``grads`` are
    the gradients of its results, None where there is none. The gradients are differentiable where gradients are
    recorded.
    """
    create = is_grad_enabled()
    with enable_grad():
        # in forward mode the inputs themselves need not be recorded
        given = [_source(x) if need else x for x, need in zip(inputs, needed, strict=True)]
        pairs = zip(function(*given), grads, strict=False)
        chosen = [(out, g) for out, g in pairs if g is not None and out is not None and out.requires_grad]
        wanted = [x for x, need in zip(given, needed, strict=True) if need]
        if not chosen or not wanted:
            return [None] * len(needed)
        outputs, seeds = zip(*chosen, strict=True)
        found = iter(autograd.grad(outputs, wanted, seeds, create_graph=create, allow_unused=True))
    return [next(found) if need else None for need in needed]
