"""Approximations of low rank by random projections; distances within a set."""

from __future__ import annotations

from typing import Any

from dumbtorch.ops.decompose import qr, svd
from dumbtorch.ops.products import cdist
from dumbtorch.ops.random import randn
from dumbtorch.ops.table import FUNCTIONS, composite

__all__ = ["pca_lowrank", "pdist", "svd_lowrank"]


def _range_of(A: Any, q: int, niter: int) -> Any:
    """An orthonormal basis of about the range of ``A``: Halko, Martinsson, Tropp (2011), algorithm 4.4."""
    basis = qr(A @ randn(A.shape[-1], q, dtype=A.dtype, device=A.device))[0]
    for _ in range(niter):
        basis = qr(A.mH @ basis)[0]
        basis = qr(A @ basis)[0]
    return basis


@composite(method=False)
def svd_lowrank(A: Any, q: int | None = 6, niter: int = 2, M: Any = None) -> tuple[Any, Any, Any]:
    """About the first ``q`` singular vectors and values of ``A - M``: ``(U, S, V)`` with ``A`` near ``U diag(S) V^H``.

    ``niter`` more passes over the matrix make them more exact. Reference: ``torch.svd_lowrank``; Halko, Martinsson,
    Tropp, "Finding structure with randomness" (2011), algorithm 5.1.
    """
    q = 6 if q is None else q
    rows, columns = A.shape[-2:]
    if M is not None:
        A = A - M.expand(A.shape)
    if rows < columns:
        A = A.mH
    basis = _range_of(A, q, niter)
    U, S, Vh = svd(basis.mH @ A, full_matrices=False)
    left, right = basis @ U, Vh.mH
    return (right, S, left) if rows < columns else (left, S, right)


@composite(method=False)
def pca_lowrank(A: Any, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Any, Any, Any]:
    """About the first ``q`` (default: 6) principal directions of the rows of ``A``, as ``svd_lowrank`` gives them.

    ``center`` takes the mean of the columns off first. Raises ValueError for a ``q`` beyond the rank or a negative
    ``niter``. Reference: ``torch.pca_lowrank``.
    """
    rows, columns = A.shape[-2:]
    rank = min(rows, columns)
    if q is None:
        q = min(6, rank)
    elif not 0 <= q <= rank:
        raise ValueError(f"pca_lowrank: q(={q}) must be non-negative integer and not greater than min(m, n)={rank}")
    if niter < 0:
        raise ValueError(f"pca_lowrank: niter(={niter}) must be non-negative integer")
    found: tuple[Any, Any, Any] = svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)
    return found


@composite(method=False)
def pdist(input: Any, p: float = 2.0) -> Any:
    """The distances between any two rows of a matrix, in the order of the upper triangle. Reference: ``torch.pdist``.

    Raises RuntimeError for what is no matrix and for a negative ``p``.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.is_floating_point():
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {input.dtype}")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    count = input.shape[0]
    upper = FUNCTIONS["ones"](count, count, dtype=input.dtype, device=input.device).triu(1) != 0
    return cdist(input, input, p, "donot_use_mm_for_euclid_dist").masked_select(upper)
