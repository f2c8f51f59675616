"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters flattened into one vector, differentiably. TypeError if they are on different devices."""
    params = list(parameters)
    if any(p.device != params[0].device for p in params):
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
    return ops.cat([p.reshape(-1) for p in params])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let each parameter be its piece of the vector (sharing its memory), in order. TypeError unless a tensor."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected dumbtorch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for param in parameters:
        count = param.numel()
        param.data = vec[start : start + count].view(param.shape).data
        start += count
