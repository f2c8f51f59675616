"""Linear algebra: the standard's extension, and its functions of the main namespace."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch import linalg as _linalg
from dumbtorch.array_api._array import given, made, pair
from dumbtorch.array_api._products import matmul, matrix_transpose, tensordot, vecdot
from dumbtorch.array_api._reduce import sum

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip

eig_result = namedtuple("eig_result", ("eigenvalues", "eigenvectors"))
eigh_result = namedtuple("eigh_result", ("eigenvalues", "eigenvectors"))
qr_result = namedtuple("qr_result", ("Q", "R"))
slogdet_result = namedtuple("slogdet_result", ("sign", "logabsdet"))
svd_result = namedtuple("svd_result", ("U", "S", "Vh"))


def outer(x1: Any, x2: Any, /) -> Any:
    """The outer product of two vectors."""
    x1, x2 = pair(x1, x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer: expected two vectors, got {tuple(x1.shape)} and {tuple(x2.shape)}")
    return made(ops.mul(x1.unsqueeze(1), x2))  # a product of matrices would lose the sign of zeros


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross products of vectors of three elements."""
    return made(_linalg.cross(*ops.broadcast_tensors(*pair(x1, x2)), dim=axis))


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """A view of the diagonals of the matrices of the last two dimensions."""
    return made(ops.diagonal(given(x), offset, -2, -1))


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of matrices."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The triangular factors of Hermitian positive definite matrices."""
    return made(_linalg.cholesky(given(x), upper=upper))


def det(x: Any, /) -> Any:
    """The determinants of square matrices."""
    return made(_linalg.det(given(x)))


def slogdet(x: Any, /) -> Any:
    """The signs and the logarithms of the absolute values of determinants."""
    return slogdet_result(*made(_linalg.slogdet(given(x))))


def inv(x: Any, /) -> Any:
    """The inverses of square matrices."""
    return made(_linalg.inv(given(x)))


def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The pseudo-inverses; singular values below ``rtol`` times the largest count as zero."""
    return made(_linalg.pinv(given(x), rtol=rtol))


def solve(x1: Any, x2: Any, /) -> Any:
    """The solutions ``x`` of ``x1 @ x = x2``; a 1-dim ``x2`` is one vector for all matrices."""
    x1, x2 = pair(x1, x2)
    if x2.ndim == 1:
        return made(_linalg.solve(x1, x2.unsqueeze(-1)).squeeze(-1))
    shape = ops.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    return made(_linalg.solve(x1.expand(*shape, *x1.shape[-2:]), x2.expand(*shape, *x2.shape[-2:])))


def eig(x: Any, /) -> Any:
    """The eigenvalues and eigenvectors of square matrices, complex."""
    return eig_result(*made(_linalg.eig(given(x))))


def eigvals(x: Any, /) -> Any:
    """The eigenvalues of square matrices, complex."""
    return made(_linalg.eigvals(given(x)))


def eigh(x: Any, /) -> Any:
    """The eigenvalues and eigenvectors of Hermitian matrices."""
    return eigh_result(*made(_linalg.eigh(given(x))))


def eigvalsh(x: Any, /) -> Any:
    """The eigenvalues of Hermitian matrices."""
    return made(_linalg.eigvalsh(given(x)))


def qr(x: Any, /, *, mode: str = "reduced") -> Any:
    """The orthogonal and triangular factors of matrices; ``mode`` is "reduced" or "complete"."""
    return qr_result(*made(_linalg.qr(given(x), mode=mode)))


def svd(x: Any, /, *, full_matrices: bool = True) -> Any:
    """The singular vectors and values of matrices."""
    return svd_result(*made(_linalg.svd(given(x), full_matrices=full_matrices)))


def svdvals(x: Any, /) -> Any:
    """The singular values of matrices."""
    return made(_linalg.svdvals(given(x)))


def matrix_power(x: Any, n: int, /) -> Any:
    """The ``n``-th powers of square matrices."""
    result = _linalg.matrix_power(given(x), n)
    return made(result.clone() if result is x else result)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Any:
    """The numbers of singular values above ``rtol`` times the largest."""
    x = given(x)
    values = _linalg.svdvals(x)
    if rtol is None:
        rtol = max(x.shape[-2:]) * _dtypes.finfo(x.dtype).eps
    elif not isinstance(rtol, float):
        rtol = given(rtol).unsqueeze(-1)
    largest = ops.amax(values, -1, True) if values.shape[-1] else values.sum(-1, True)
    return made((values > largest * rtol).sum(-1))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norms of matrices: "fro", "nuc", 1, 2, inf or their negatives."""
    return made(_linalg.matrix_norm(given(x), ord=ord, keepdim=keepdims))


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norms of vectors, over several axes, all for None."""
    x = given(x)
    if axis == ():
        return made((x != 0).to(x.abs().dtype) if ord == 0 else x.abs())
    return made(_linalg.vector_norm(x, ord=ord, dim=axis, keepdim=keepdims))
