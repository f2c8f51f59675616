"""``torch.linalg``: least squares, pseudoinverses, QR, singular values, eigenvalues, and their older forms."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes, return_types
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops import factor, spectral
from dumbtorch.ops.linalg_base import check_info, check_kind, check_lapack, check_matrix, check_square, type_name
from dumbtorch.ops.results import done
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite

_LSTSQ = return_types.linalg_lstsq
_QR = return_types.linalg_qr
_SVD = return_types.linalg_svd
_EIG = return_types.linalg_eig
_EIGH = return_types.linalg_eigh


def lstsq(input: Any, b: Any, rcond: Any = None, *, driver: Any = None) -> Any:
    """X that makes ``|A X - B|`` least: solution, residuals, ranks and singular values.

    ``driver`` names the LAPACK routine: gels (A of full rank), gelsy (default), gelsd, gelss. ``rcond`` is the share of
    the largest singular value below which others count as zero. Residuals are given where A has more rows than columns
    and full rank (not by gelsy). Reference: ``torch.linalg.lstsq``.
    """
    name = "torch.linalg.lstsq"
    for what, t in (("input", input), ("other", b)):
        if t.ndim < (2 if what == "input" else 1):
            least = 2 if what == "input" else 1
            raise RuntimeError(f"{name}: {what} must have at least {least} dimensions")
    if input.ndim - b.ndim not in (0, 1) and b.ndim < input.ndim:
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1"
        )
    check_lapack(input, "linalg_lstsq_cpu")
    if input.dtype is not b.dtype:
        raise RuntimeError(f"{name}: Expected input and other to have the same dtype, but got input's dtype "
                           f"{type_name(input)} and other's dtype {type_name(b)}")  # fmt: skip
    if driver is None:
        driver = "gelsy"
    if driver not in factor.DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    m, n = input.shape[-2:]
    vector = input.ndim - 1 == b.ndim and input.shape[:-1] == b.shape
    right = b.unsqueeze(-1) if vector else b
    if right.ndim < 2 or right.shape[-2] != m:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size(-2)")
    batch = F["broadcast_shapes"](input.shape[:-2], right.shape[:-2])
    if right.shape[:-2] != batch:
        right = right.expand(*batch, *right.shape[-2:])
    matrix = input if input.shape[:-2] == batch else input.expand(*batch, m, n)
    if rcond is None:
        rcond = _dtypes.finfo(input.dtype).eps * max(m, n)
    x, rest, rank, singular, info = factor.lstsq(matrix, right, float(rcond), factor.DRIVERS.index(driver))
    if input.numel() == 0:
        x, rest, rank = x * 0, rest * 0, rank * 0
    elif driver == "gels":
        check_info(info, name)
    # no residuals: an empty vector, which carries gradient where the solution does
    none = x.reshape(-1).narrow(0, 0, 0)
    residuals = none.real if input.is_complex() else none
    if m > n and driver != "gelsy" and (driver == "gels" or (beneath(rank) == n).all().item()):
        if x.requires_grad or x._level is not None:
            missed = matrix @ x - right
            residuals = (missed * missed.conj()).sum(-2)
            residuals = residuals.real if input.is_complex() else residuals
        else:
            residuals = rest.abs().square().sum(-2)
    none = none.detach()
    return _LSTSQ((
        x.squeeze(-1) if vector else x,
        residuals,
        input.new_empty((0,), dtype=_dtypes.int64) if driver == "gels" else rank.long(),
        singular if driver in ("gelsd", "gelss") else (none.real if input.is_complex() else none),
    ))  # fmt: skip


def _with_tolerances(first: Any, second: Any, atol: Any, rtol: Any, name: str) -> tuple[Any, Any]:
    """The tolerances of functions that also take one older argument in their place."""
    tolerance = first if first is not None else second
    if tolerance is not None:
        return None if name == "pinv" else tolerance, tolerance if name == "pinv" else 0.0
    return atol, rtol


def _check_tolerance(t: Any, which: str, name: str) -> None:
    if isinstance(t, _C.TensorBase) and t.is_complex():
        raise RuntimeError(f"torch.linalg.{name}: {which} tensor of complex type is not supported. Got {type_name(t)}")


def pinv(
    input: Any, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None
) -> Any:
    """The Moore-Penrose inverses of matrices, by their singular values (eigenvalues if ``hermitian``).

    Singular values up to ``max(atol, rtol * largest)`` count as zero; ``rtol`` defaults to ``max(m, n) * eps`` unless
    there is an ``atol``. Reference: ``torch.linalg.pinv``.
    """
    if input.ndim < 2 or input.dtype not in (_dtypes.float32, _dtypes.float64, _dtypes.complex64, _dtypes.complex128):
        raise RuntimeError(
            f"linalg.pinv({type_name(input)}{{{list(input.shape)}}}): expected a tensor with 2 or more dimensions "
            "of float, double, cfloat or cdouble types"
        )
    if hermitian:
        check_square(input, "linalg.pinv")
    atol, rtol = _with_tolerances(rcond, None, atol, rtol, "pinv")
    _check_tolerance(atol, "atol", "pinv")
    _check_tolerance(rtol, "rtol", "pinv")
    if input.numel() == 0:
        return done(input.mH.clone(), out, "linalg.pinv")
    return done(factor.pinv(input, atol, rtol, bool(hermitian)), out, "linalg.pinv")


@composite()
def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """The pseudoinverse, as `linalg.pinv`. Reference: ``torch.pinverse``."""
    return pinv(input, rcond)


def matrix_rank(
    input: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None
) -> Any:
    """How many singular values are above ``max(atol, rtol * largest)``, int64. Defaults as those of `pinv`.

    Reference: ``torch.linalg.matrix_rank``.
    """
    check_matrix(input, "linalg.matrix_rank", "input")
    atol, rtol = _with_tolerances(tol, None, atol, rtol, "matrix_rank")
    _check_tolerance(atol, "atol", "matrix_rank")
    _check_tolerance(rtol, "rtol", "matrix_rank")
    a = input.detach()
    values = eigvalsh(a).abs() if hermitian else svdvals(a)
    cut = factor.cut_of(values, a, atol, rtol)
    return done((values > cut.unsqueeze(-1)).sum(-1), out, "linalg.matrix_rank")


# ---------------------------------------------------------------- orthogonal and spectral


_MODES = {"reduced": 0, "complete": 1, "r": 2}


def qr(A: Any, mode: str = "reduced", *, out: Any = None) -> Any:
    """Q with orthonormal columns and R upper triangular; ``mode``: "reduced", "complete", or "r" for R alone.

    Reference: ``torch.linalg.qr``.
    """
    check_matrix(A, "linalg.qr")
    check_kind(A, "linalg.qr", low=True)
    if mode not in _MODES:
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    check_lapack(A, "geqrf_cpu")
    return done(_QR(spectral.qr(A, _MODES[mode])), out, "linalg.qr")


_OLD_QR = return_types.qr


@composite("qr")
def _qr(input: Any, some: bool = True, *, out: Any = None) -> Any:
    """The older form of `linalg.qr`. Reference: ``torch.qr``."""
    return done(_OLD_QR(qr(input, "reduced" if some else "complete")), out, "qr")


_GEQRF = return_types.geqrf


@composite()
def geqrf(input: Any, *, out: Any = None) -> Any:
    """R on and above the diagonal, Householder vectors below it, and their factors. Reference: ``torch.geqrf``."""
    check_matrix(input, "torch.geqrf", "input")
    check_lapack(input, "geqrf_cpu")
    return done(_GEQRF(spectral.geqrf(input)), out, "geqrf")


def householder_product(input: Any, tau: Any, *, out: Any = None) -> Any:
    """The first columns of a product of Householder reflectors. Reference: ``torch.linalg.householder_product``."""
    name = "torch.linalg.householder_product"
    check_matrix(input, name, "input")
    m, n = input.shape[-2:]
    if m < n:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if tau.ndim < 1 or tau.shape[-1] > n:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if input.ndim - tau.ndim != 1 or input.shape[:-2] != tau.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input and the same batch "
            f"dimensions, but got tau of shape {list(tau.shape)} and input of shape {list(input.shape)}"
        )
    if tau.dtype is not input.dtype:
        raise RuntimeError(f"{name}: tau dtype {type_name(tau)} does not match input dtype {type_name(input)}")
    check_lapack(input, "orgqr_cpu")
    return done(spectral.householder_product(input, tau), out, "linalg.householder_product")


@composite()
def orgqr(input: Any, input2: Any, *, out: Any = None) -> Any:
    """As `linalg.householder_product`. Reference: ``torch.orgqr``."""
    return householder_product(input, input2, out=out)


@composite()
def ormqr(input: Any, input2: Any, input3: Any, left: bool = True, transpose: bool = False, *, out: Any = None) -> Any:
    """A product of Householder reflectors (or its adjoint) times a matrix. Reference: ``torch.ormqr``."""
    check_matrix(input, "torch.ormqr", "input")
    check_matrix(input3, "torch.ormqr", "other")
    side = -2 if left else -1
    if input2.ndim < 1 or input3.shape[side] < input2.shape[-1]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]")
    if input3.shape[side] != input.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    if input2.shape[-1] != min(input3.shape[side], input.shape[-1]):
        raise RuntimeError(f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])")
    if input.ndim - input2.ndim != 1 or input.shape[:-2] != input2.shape[:-1] or input.shape[:-2] != input3.shape[:-2]:
        raise RuntimeError(
            f"torch.ormqr: batch dimensions of tau {list(input2.shape)}, other {list(input3.shape)} and input "
            f"{list(input.shape)} must be equal"
        )
    for what, t in (("tau", input2), ("other", input3)):
        if t.dtype is not input.dtype:
            raise RuntimeError(
                f"torch.ormqr: Expected input and {what} to have the same dtype, but input has dtype "
                f"{type_name(input)} and {what} has dtype {type_name(t)}"
            )
    check_lapack(input, "ormqr_cpu")
    return done(spectral.ormqr(input, input2, input3, bool(left), bool(transpose)), out, "ormqr")


def _svd(A: Any, full: bool, vectors: bool) -> Any:
    check_matrix(A, "linalg.svd")
    check_kind(A, "linalg.svd", low=True)
    check_lapack(A, "linalg_svd_cpu")
    u, s, vh, info = spectral.svd(A, full, vectors)
    check_info(info, "linalg.svd")
    return u, s, vh


def svd(A: Any, full_matrices: bool = True, *, driver: Any = None, out: Any = None) -> Any:
    """U, S and Vh with ``A = U diag(S) Vh``, S descending. Only ``S`` and the first columns carry gradient.

    Raises `LinAlgError` if the algorithm does not converge; ``driver`` is for CUDA. Reference: ``torch.linalg.svd``.
    """
    if driver is not None:
        raise RuntimeError(
            "linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )
    return done(_SVD(_svd(A, bool(full_matrices), True)), out, "linalg.svd")


def svdvals(A: Any, *, driver: Any = None, out: Any = None) -> Any:
    """The singular values of matrices, descending. Reference: ``torch.linalg.svdvals``."""
    return done(_svd(A, False, _wants_grad(A))[1], out, "linalg.svdvals")


_OLD_SVD = return_types.svd


@composite("svd")
def _old_svd(input: Any, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """The older form of `linalg.svd`, with V instead of Vh. Reference: ``torch.svd``."""
    if not compute_uv:
        check_matrix(input, "svd", "input")
        m, n = input.shape[-2:]
        u, s, v = (
            input.new_zeros((*input.shape[:-2], m, m)),
            svdvals(input),
            input.new_zeros((*input.shape[:-2], n, n)),
        )
    else:
        u, s, vh = _svd(input, not some, True)
        v = vh.mH
    return done(_OLD_SVD((u, s, v)), out, "svd")


def _wants_grad(A: Any) -> bool:
    """Whether vectors are needed for the derivative of values."""
    return bool(A.requires_grad)


def _eigh(A: Any, uplo: str, vectors: bool) -> Any:
    check_square(A, "linalg.eigh")
    if not isinstance(uplo, str) or uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    check_lapack(A, "linalg_eigh_cpu")
    values, v, info = spectral.eigh(A, uplo.upper() == "L", vectors)
    check_info(info, "linalg.eigh")
    return values, v


def eigh(input: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """Ascending real eigenvalues and the eigenvectors of Hermitian matrices, of which one triangle is read.

    Raises `LinAlgError` if the algorithm does not converge. Reference: ``torch.linalg.eigh``.
    """
    return done(_EIGH(_eigh(input, UPLO, True)), out, "linalg.eigh")


def eigvalsh(input: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """The eigenvalues of Hermitian matrices, ascending. Reference: ``torch.linalg.eigvalsh``."""
    return done(_eigh(input, UPLO, _wants_grad(input))[0], out, "linalg.eigvalsh")


def _eig(A: Any, vectors: bool) -> Any:
    check_square(A, "linalg.eig")
    if not (A.dtype.is_floating_point or A.dtype.is_complex):
        raise RuntimeError(f"Unknown Complex ScalarType for {type_name(A)}")
    check_lapack(A, "linalg_eig_out_cpu")
    if A.numel() and not F["isfinite"](beneath(A.detach())).all().item():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    values, v, info = spectral.eig(A, vectors)
    check_info(info, "torch.linalg.eig")
    return values, v


def eig(input: Any, *, out: Any = None) -> Any:
    """The complex eigenvalues and eigenvectors (of norm 1) of square matrices. Reference: ``torch.linalg.eig``."""
    return done(_EIG(_eig(input, True)), out, "linalg.eig")


def eigvals(input: Any, *, out: Any = None) -> Any:
    """The eigenvalues of square matrices, complex. Reference: ``torch.linalg.eigvals``."""
    return done(_eig(input, _wants_grad(input))[0], out, "linalg.eigvals")


__all__ = [
    "eig", "eigh", "eigvals", "eigvalsh", "householder_product", "lstsq", "matrix_rank", "pinv", "qr", "svd", "svdvals",
]  # fmt: skip
