"""Gradient clipping, in place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from dumbtorch import ops
from dumbtorch._sparse import unsupported
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _as_list(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in _as_list(parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The `norm_type`-norm of all tensors as if they were one vector: a 0-d tensor.

    RuntimeError for NaN or infinity if `error_if_nonfinite`, NotImplementedError for sparse tensors. `foreach` is
    accepted and has no effect. Reference: `torch.nn.utils.get_total_norm`.
    """
    given = _as_list(tensors)
    norm_type = float(norm_type)
    with no_grad():
        if not given:
            return ops.tensor(0.0)
        if any(t.is_sparse for t in given):
            raise unsupported("linalg_vector_norm")
        norms = [ops.norm(t.detach(), norm_type).to(given[0].device) for t in given]
        total = norms[0] if len(norms) == 1 else ops.norm(ops.stack(norms), norm_type)
        if error_if_nonfinite and not bool(ops.isfinite(total)):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
                "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
                "`error_if_nonfinite=False`"
            )
        return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by max_norm / total_norm where that is below 1. `foreach` has no effect."""
    with no_grad():
        # Always multiplied, also by 1, so that no value has to be waited for.
        factor = ops.mul(ops.reciprocal(total_norm + 1e-6), float(max_norm)).clamp(max=1.0)
        for grad in _grads(parameters):
            grad.mul_(factor.to(grad.device))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their total norm is at most `max_norm`; returns the norm before.

    RuntimeError for a norm of NaN or infinity if `error_if_nonfinite`. Reference: `torch.nn.utils.clip_grad_norm_`.

        >>> nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    """
    params = _as_list(parameters)
    total = get_total_norm(_grads(params), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(params, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Older name of `clip_grad_norm_`, with a warning."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clip every gradient's elements to [-clip_value, clip_value]. Reference: `torch.nn.utils.clip_grad_value_`."""
    bound = float(clip_value)
    with no_grad():
        for grad in _grads(parameters):
            grad.clamp_(-bound, bound)
