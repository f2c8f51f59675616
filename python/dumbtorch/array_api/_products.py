"""Products of arrays, of the standard's main namespace."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch.array_api._array import given, made, pair
from dumbtorch.array_api._reduce import sum

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


def matmul(x1: Any, x2: Any, /) -> Any:
    """The matrix product, batched and broadcast over leading dimensions."""
    return made(ops.FUNCTIONS["matmul"](*pair(x1, x2)))


def matrix_transpose(x: Any, /) -> Any:
    """The transposes of the matrices of the last two dimensions."""
    return given(x).mT


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """The sums of products over axes of both arrays: the last and first ``axes``, or two sequences of them."""
    return made(ops.tensordot(*pair(x1, x2), dims=axes))


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The dot products of vectors, the first conjugated, along an axis counted from the end."""
    x1, x2 = pair(x1, x2)
    if axis >= 0:
        raise ValueError(f"vecdot: the axis must be negative, got {axis}")
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vecdot: axis {axis} differs: {tuple(x1.shape)} and {tuple(x2.shape)}")
    product = (ops.conj_physical(x1) if x1.is_complex() else x1) * x2
    return sum(product, axis=axis, dtype=product.dtype)
