"""``torch.linalg``: factorizations that solve, inverses, determinants, under PyTorch's names, and their older forms."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _dtypes, return_types
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops import factor
from dumbtorch.ops.linalg_base import (
    LinAlgError,
    check_equation,
    check_info,
    check_kind,
    check_lapack,
    check_matrix,
    check_same,
    check_square,
    type_name,
)
from dumbtorch.ops.results import done
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite

_CHOLESKY_EX = return_types.linalg_cholesky_ex
_INV_EX = return_types.linalg_inv_ex
_SOLVE_EX = return_types.linalg_solve_ex
_LU = return_types.linalg_lu
_LU_FACTOR = return_types.linalg_lu_factor
_LU_FACTOR_EX = return_types.linalg_lu_factor_ex
_LDL_FACTOR = return_types.linalg_ldl_factor
_LDL_FACTOR_EX = return_types.linalg_ldl_factor_ex
_SLOGDET = return_types.linalg_slogdet


# ---------------------------------------------------------------- Cholesky


def cholesky_ex(
    input: Any, *, upper: bool = False, check_errors: bool = False, out: Any = None, name: str = "linalg.cholesky_ex"
) -> Any:
    """The Cholesky factor and, for each matrix, the order of the first minor that is not positive definite (or 0).

    Only one triangle of A is read. Reference: ``torch.linalg.cholesky_ex``.
    """
    check_square(input, name.replace("_ex", ""))
    check_kind(input, name.replace("_ex", ""), low=True)
    check_lapack(input, "cholesky_cpu")
    made = _CHOLESKY_EX(factor.cholesky_ex(input, bool(upper)))
    if check_errors:
        check_info(made[1], name)
    return done(made, out, name)


def cholesky(input: Any, *, upper: bool = False, out: Any = None) -> Any:
    """L with ``A = L L^H`` (or U with ``A = U^H U``) of Hermitian positive-definite matrices.

    Raises `LinAlgError` if one is not. Reference: ``torch.linalg.cholesky``.
    """
    made = cholesky_ex(input, upper=upper, check_errors=True, name="linalg.cholesky")[0]
    return done(made, out, "linalg.cholesky")


@composite("cholesky")
def _cholesky(input: Any, upper: bool = False, *, out: Any = None) -> Any:
    """The older form of `linalg.cholesky`. Reference: ``torch.cholesky``."""
    if input.ndim < 2:
        raise RuntimeError(f"b should have at least 2 dimensions, but has {input.ndim} dimensions instead")
    return done(cholesky_ex(input, upper=upper, check_errors=True, name="cholesky")[0], out, "cholesky")


def _check_pair(b: Any, a: Any, name: str) -> None:
    """Checks of the older solvers."""
    for letter, t in (("b", b), ("u", a)):
        if t.ndim < 2:
            raise RuntimeError(f"{letter} should have at least 2 dimensions, but has {t.ndim} dimensions instead")
    check_square(a, name)
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"Expected b and A to have the same dtype, but found b of type {type_name(b)} and A of type "
            f"{type_name(a)} instead."
        )
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {a.shape[-1]} by {a.shape[-1]} but each b matrix "
            f"is {b.shape[-2]} by {b.shape[-1]}"
        )


@composite()
def cholesky_solve(input: Any, input2: Any, upper: bool = False, *, out: Any = None) -> Any:
    """X with ``A X = input`` from the Cholesky factor of A. Reference: ``torch.cholesky_solve``."""
    _check_pair(input, input2, "cholesky_solve")
    check_lapack(input2, "cholesky_solve_cpu")
    return done(factor.cholesky_solve(input, input2, bool(upper)), out, "cholesky_solve")


@composite()
def cholesky_inverse(input: Any, upper: bool = False, *, out: Any = None) -> Any:
    """The inverse of A from its Cholesky factor. Reference: ``torch.cholesky_inverse``."""
    check_square(input, "cholesky_inverse")
    check_lapack(input, "cholesky_inverse_out_cpu")
    info = (input.detach().diagonal(0, -2, -1) == 0).any(-1)
    if input.numel() and beneath(info).any().item():
        places = (input.detach().diagonal(0, -2, -1) == 0).to(_dtypes.int64).argmax(-1) + 1
        check_info(places * info, "cholesky_inverse")
    return done(factor.cholesky_inverse(input, bool(upper)), out, "cholesky_inverse")


# ---------------------------------------------------------------- triangular systems


def solve_triangular(
    input: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Any = None
) -> Any:
    """X with ``A X = B`` (``X A = B`` with ``left=False``) for triangular A; batches broadcast.

    Reference: ``torch.linalg.solve_triangular``.
    """
    name = "linalg.solve_triangular"
    check_same(input, B, name)
    check_square(input, name)
    check_matrix(B, name, "B")
    check_equation(input, B, left, name)
    check_lapack(input, "triangular_solve_cpu")
    return done(factor.triangular(input, B, bool(upper), bool(left), bool(unitriangular)), out, name)


_TRIANGULAR = return_types.triangular_solve


@composite()
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *, out: Any = None
) -> Any:
    """The older form of `linalg.solve_triangular`, with a copy of A. Reference: ``torch.triangular_solve``."""
    _check_pair(input, A, "triangular_solve")
    check_lapack(A, "triangular_solve_cpu")
    matrix = A.mT if transpose else A
    x = factor.triangular(matrix, input, upper != transpose, True, unitriangular)
    return done(_TRIANGULAR((x, A.expand(*x.shape[:-2], *A.shape[-2:]).clone())), out, "triangular_solve")


# ---------------------------------------------------------------- LU


def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """L and U in one matrix, the row exchanges (from 1) and the place of the first zero pivot (or 0).

    Reference: ``torch.linalg.lu_factor_ex``.
    """
    if A.ndim < 2:
        raise RuntimeError(
            f"torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead"
        )
    check_lapack(A, "lu_cpu")
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    made = _LU_FACTOR_EX(factor.lu_factor_ex(A))
    if check_errors:
        check_info(made[2], "torch.linalg.lu_factor")
    return done(made, out, "linalg.lu_factor_ex")


def lu_factor(A: Any, *, pivot: bool = True, out: Any = None) -> Any:
    """The LU factorization as `lu_solve` takes it. Raises RuntimeError for a zero pivot.

    Reference: ``torch.linalg.lu_factor``.
    """
    made = lu_factor_ex(A, pivot=pivot, check_errors=True)
    return done(_LU_FACTOR((made[0], made[1])), out, "linalg.lu_factor")


def lu(A: Any, *, pivot: bool = True, out: Any = None) -> Any:
    """P, L and U with ``A = P L U``. Reference: ``torch.linalg.lu``."""
    if A.ndim < 2:
        raise RuntimeError(f"linalg.lu: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    factors, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return done(_LU(factor.lu_parts(factors, pivots)), out, "linalg.lu")


def lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False, out: Any = None) -> Any:
    """X with ``A X = B`` (``X A = B``, or the adjoint of A) from the LU factors of A; batches broadcast.

    Reference: ``torch.linalg.lu_solve``.
    """
    name = "linalg.lu_solve"
    check_lapack(LU, "linalg_lu_solve_cpu")
    if LU.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected LU and B to have the same dtype, but found LU of type {type_name(LU)} and B of type "
            f"{type_name(B)} instead"
        )
    if pivots.dtype is not _dtypes.int32:
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type torch.int32. Got {type_name(pivots)}")
    check_square(LU, "torch.linalg.lu_solve", "LU")
    check_matrix(B, name, "B")
    check_equation(LU, B, left, name)
    if LU.shape[:-1] != pivots.shape:
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix: expected "
            f"{list(LU.shape[:-1])}, got {list(pivots.shape)}"
        )
    if left:
        return done(factor.lu_solve_left(LU, pivots, B, adjoint), out, name)
    return done(factor.lu_solve_left(LU, pivots, B.mH, not adjoint).mH, out, name)


@composite("lu_solve")
def _lu_solve(input: Any, LU_data: Any, LU_pivots: Any, *, out: Any = None) -> Any:
    """The older form of `linalg.lu_solve`. Reference: ``torch.lu_solve``."""
    return lu_solve(LU_data, LU_pivots, input, out=out)


@composite("lu")
def _lu(A: Any, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """The older form of `linalg.lu_factor`: LU, pivots and, if wanted, the status. Reference: ``torch.lu``."""
    made = tuple(lu_factor_ex(A, pivot=pivot, check_errors=not get_infos))
    return done(made if get_infos else made[:2], out, "lu")


_UNPACKED = return_types.lu_unpack


@composite(method=False)
def lu_unpack(
    LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True, *, out: Any = None
) -> Any:
    """P, L and U of a factorization by `lu_factor`; what is not wanted is empty. Reference: ``torch.lu_unpack``."""
    check_matrix(LU_data, "torch.lu_unpack", "LU_data")
    if unpack_pivots and LU_pivots.dtype is not _dtypes.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\nNote: this "
            "function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    none = LU_data.new_empty((0,))
    m, n = LU_data.shape[-2:]
    if unpack_pivots and LU_pivots.shape != (*LU_data.shape[:-2], min(m, n)):
        raise RuntimeError(
            f"torch.lu_unpack: pivots of shape {list(LU_pivots.shape)} do not belong to LU_data of shape "
            f"{list(LU_data.shape)}"
        )
    lower, upper = factor.lu_parts(LU_data, None)[1:] if unpack_data else (none, none)
    p = factor.permutation(LU_pivots, m, LU_data.dtype) if unpack_pivots else none
    return done(_UNPACKED((p, lower, upper)), out, "lu_unpack")


# ---------------------------------------------------------------- solve, inverse, determinant


def _is_vector(A: Any, B: Any) -> bool:
    """Whether the right-hand side is a vector for each matrix."""
    return bool(B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1]))


def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """The solution and, for each matrix, the place of the first zero pivot (or 0). Reference: ``linalg.solve_ex``."""
    name = "linalg.solve"
    check_square(A, name)
    check_kind(A, name)
    check_same(A, B, name)
    vector = _is_vector(A, B)
    if vector:
        if not left:
            raise RuntimeError(
                "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False."
            )
        B = B.unsqueeze(-1)
    check_matrix(B, name, "B")
    check_equation(A, B, left, name)
    batch = F["broadcast_shapes"](A.shape[:-2], B.shape[:-2])
    if B.shape[:-2] != batch:
        B = B.expand(*batch, *B.shape[-2:])
    if left:
        x, _, _, info = factor.solve_ex(A, B)
    else:
        x, _, _, info = factor.solve_ex(A.mH, B.mH)
        x = x.mH
    if check_errors:
        check_info(info, "torch.linalg.solve")
    return done(_SOLVE_EX((x.squeeze(-1) if vector else x, info)), out, "linalg.solve_ex")


def solve(A: Any, B: Any, *, left: bool = True, out: Any = None) -> Any:
    """X with ``A X = B`` (``X A = B`` with ``left=False``); B may be a vector for each matrix, batches broadcast.

    Raises `LinAlgError` for a singular matrix. Reference: ``torch.linalg.solve``.
    """
    return done(solve_ex(A, B, left=left, check_errors=True)[0], out, "linalg.solve")


def inv_ex(A: Any, *, check_errors: bool = False, out: Any = None) -> Any:
    """The inverse and the place of the first zero pivot (or 0). Reference: ``torch.linalg.inv_ex``."""
    check_kind(A, "linalg.inv")
    check_square(A, "linalg.inv")
    made = _INV_EX(factor.inv_ex(A))
    if check_errors:
        check_info(made[1], "linalg.inv")
    return done(made, out, "linalg.inv_ex")


def inv(A: Any, *, out: Any = None) -> Any:
    """The inverse of square matrices. Raises `LinAlgError` for a singular one. Reference: ``torch.linalg.inv``."""
    return done(inv_ex(A, check_errors=True)[0], out, "linalg.inv")


@composite()
def inverse(input: Any, *, out: Any = None) -> Any:
    """The inverse of square matrices, as `linalg.inv`. Reference: ``torch.inverse``."""
    return inv(input, out=out)


def _check_det(A: Any, name: str) -> None:
    check_square(A, name)
    check_kind(A, name, low=True)
    check_lapack(A, "lu_cpu")


def det(A: Any, *, out: Any = None) -> Any:
    """The determinant of square matrices. Reference: ``torch.linalg.det``."""
    _check_det(A, "linalg.det")
    return done(factor.det(A)[0], out, "linalg.det")


@composite("det")
def _det(input: Any) -> Any:
    """As `linalg.det`. Reference: ``torch.det``."""
    return det(input)


def slogdet(A: Any, *, out: Any = None) -> Any:
    """Sign (or phase) and logarithm of the absolute value of determinants. Reference: ``torch.linalg.slogdet``."""
    _check_det(A, "linalg.slogdet")
    return done(_SLOGDET(factor.slogdet(A)[:2]), out, "linalg.slogdet")


_OLD_SLOGDET = return_types.slogdet


@composite("slogdet")
def _slogdet(input: Any, *, out: Any = None) -> Any:
    """As `linalg.slogdet`. Reference: ``torch.slogdet``."""
    return done(_OLD_SLOGDET(slogdet(input)), out, "slogdet")


@composite()
def logdet(input: Any) -> Any:
    """The logarithm of determinants: NaN for negative ones. Reference: ``torch.logdet``."""
    _check_det(input, "logdet")
    sign, size = factor.slogdet(input)[:2]
    if input.is_complex():
        return sign.log() + size
    return F["where"](sign == -1, math.nan, size)


# ---------------------------------------------------------------- LDL


def ldl_factor_ex(input: Any, *, hermitian: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """The LDL factorization of symmetric (or Hermitian) matrices, its pivots and status.

    Reference: ``torch.linalg.ldl_factor_ex``.
    """
    name = "torch.linalg.ldl_factor_ex"
    check_square(input, name)
    check_kind(input, name, low=True)
    check_lapack(input, "ldl_factor_kernel_cpu")
    made = _LDL_FACTOR_EX(factor.ldl_factor_ex(input, bool(hermitian)))
    if check_errors:
        info = beneath(made[2])
        if info.any().item():
            raise RuntimeError(f"{name}: D has a zero on its diagonal: status {info.tolist()}")
    return done(made, out, "linalg.ldl_factor_ex")


def ldl_factor(input: Any, *, hermitian: bool = False, out: Any = None) -> Any:
    """The LDL factorization as `ldl_solve` takes it. Reference: ``torch.linalg.ldl_factor``."""
    made = ldl_factor_ex(input, hermitian=hermitian, check_errors=True)
    return done(_LDL_FACTOR(made[:2]), out, "linalg.ldl_factor")


def ldl_solve(LD: Any, pivots: Any, B: Any, *, hermitian: bool = False, out: Any = None) -> Any:
    """X with ``A X = B`` from the LDL factorization of A. Reference: ``torch.linalg.ldl_solve``."""
    name = "torch.linalg.ldl_solve"
    check_square(LD, name, "LD")
    check_matrix(B, name, "B")
    check_lapack(LD, "ldl_solve_kernel_cpu")
    check_equation(LD, B, True, name)
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
                           f"{list(pivots.shape)} instead")  # fmt: skip
    if pivots.dtype is not _dtypes.int32 and not (
        pivots.dtype.is_floating_point or pivots.dtype.is_complex or pivots.dtype is _dtypes.bool
    ):
        pivots = pivots.to(_dtypes.int32)
    if pivots.dtype is not _dtypes.int32:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {type_name(pivots)}")
    if LD.dtype is not B.dtype:
        raise RuntimeError(f"{name}: LD dtype {type_name(LD)} does not match b dtype {type_name(B)}")
    batch = F["broadcast_shapes"](LD.shape[:-2], B.shape[:-2])
    LD, pivots = LD.expand(*batch, *LD.shape[-2:]), pivots.expand(*batch, pivots.shape[-1])
    return done(factor.ldl_solve(LD, pivots, B, bool(hermitian)), out, "linalg.ldl_solve")


__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "det", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lu",
    "lu_factor", "lu_factor_ex", "lu_solve", "slogdet", "solve", "solve_ex", "solve_triangular",
]  # fmt: skip
