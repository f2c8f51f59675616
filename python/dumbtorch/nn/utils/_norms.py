"""What the weight normalizations compute."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["norm_except", "normed"]


def norm_except(v: Tensor, dim: int, power: float = 2) -> Tensor:
    """The norm over all dimensions but `dim`, which stays (-1: over all of them)."""
    if dim == -1:
        return ops.norm(v, power)
    others: Any = [d for d in range(v.ndim) if d != dim % v.ndim]
    return ops.norm(v, power, others, True) if others else v.abs()


def normed(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """`g` times `v` over its norm."""
    return v * (g / norm_except(v, dim))


def singular_dim(module: Any) -> int:
    """The dimension of a layer's weight that its outputs lie in: the rows of the matrix that spectral norms look at."""
    return 1 if type(module).__name__.removeprefix("Parametrized").startswith("ConvTranspose") else 0
