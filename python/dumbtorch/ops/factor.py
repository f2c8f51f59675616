"""Factorizations that solve linear systems, on LAPACK: Cholesky, LU, LDL, triangular systems, inverses, determinants.

The rows are the kernels with their derivatives; ops/linalg.py gives them PyTorch's names and checks. References for the
derivatives: Giles, "An extended collection of matrix derivative results", and PyTorch's FunctionsManual.cpp.
"""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops.linalg_base import diag, eye_like, recording, unbroadcast
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import TABLE, primitive, row

DTYPES = "single+complex"
_POSITIVE = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]
_LOWER = [[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [-1.0, 0.3, 1.2]]
_GENERAL = [[1.0, 2.0, -1.0], [0.5, -3.0, 1.0], [2.0, 0.3, 1.5]]
_WIDE = [[1.0, 2.0, -1.0, 0.3], [3.0, -1.0, 1.0, 0.7]]
_TALL = [[1.0, 3.0], [2.0, -1.0], [-1.0, 0.5], [0.3, 0.7]]


def _internal(name: str, signature: str, **kwargs: Any) -> Any:
    """A row that ops/linalg.py wraps."""
    return row(name, signature, function=False, method=False, out=False, dtypes=DTYPES, **kwargs)


# ---------------------------------------------------------------- Cholesky


def _cholesky(gs: Any, out: Any, upper: bool) -> Any:
    if gs[0] is None:
        return None
    lower = out.mH if upper else out
    g = gs[0].mH if upper else gs[0]
    phi = (lower.mH @ g).tril()
    phi = (phi + phi.tril(-1).mH) * 0.5
    phi = triangular(lower.mH, phi, True, True, False)
    return triangular(lower, phi, False, False, False)


cholesky_ex = _internal(
    "linalg_cholesky_ex", "input, upper=False", outputs=("L", "info"), differentiable=(0,), ref="linalg.cholesky_ex",
    grad={"input": lambda gs, L, upper: _cholesky(gs, L, upper)},
    # a derivative by differences would see that only one triangle is read
    samples=lambda: (S(T(values=_POSITIVE), smooth=False), S(T(0, 0), smooth=False), S(T(2, 0, 0), smooth=False)),
    doc="The Cholesky factor, and the order of the first minor that is not positive definite (or 0).")  # fmt: skip


# ---------------------------------------------------------------- triangular systems


def _triangular_matrix(g: Any, A: Any, out: Any, upper: bool, left: bool, unitriangular: bool) -> Any:
    gb = triangular(A.mH, g, not upper, left, unitriangular)
    ga = -(gb @ out.mH) if left else -(out.mH @ gb)
    shift = 1 if unitriangular else 0
    return unbroadcast(ga.triu(shift) if upper else ga.tril(-shift), A.shape)


triangular: Any = _internal(
    "linalg_solve_triangular", "A, B, upper, left=True, unitriangular=False", ref="linalg.solve_triangular", grad={
        "A": lambda g, A, out, upper, left, unitriangular: _triangular_matrix(g, A, out, upper, left, unitriangular),
        "B": lambda g, A, B_shape, upper, left, unitriangular: unbroadcast(
            triangular(A.mH, g, not upper, left, unitriangular), B_shape),
    }, samples=lambda: (S(T(values=_POSITIVE), T(3, 2), upper=True),
                        S(T(values=_POSITIVE), T(2, 3), upper=False, left=False),
                        S(T(values=_POSITIVE), T(2, 3, 2), upper=False, unitriangular=True),
                        S(T(0, 0), T(0, 2), upper=True)),
    errors=lambda: (S(T(3, 3), T(4, 2), upper=True, error="RuntimeError"),),
    doc="X with ``A X = B``, or ``X A = B``, for a triangular A.")  # fmt: skip


# ---------------------------------------------------------------- what follows from a Cholesky factor


def _cholesky_solve(input: Any, L: Any, upper: bool) -> Any:
    lower = L.mH if upper else L
    return triangular(lower.mH, triangular(lower, input, False, True, False), True, True, False)


def _cholesky_solve_factor(g: Any, L: Any, out: Any, upper: bool) -> Any:
    product = cholesky_solve(g, L, upper) @ out.mH
    product = product + product.mH
    return unbroadcast(-(L @ product) if upper else -(product @ L), L.shape)


cholesky_solve: Any = primitive(
    "cholesky_solve", "input, L, upper=False", _cholesky_solve, {
        "input": lambda g, L, upper, input_shape: unbroadcast(cholesky_solve(g, L, upper), input_shape),
        "L": lambda g, L, out, upper: _cholesky_solve_factor(g, L, out, upper),
    }, dtypes=DTYPES, doc="X with ``A X = input`` from the Cholesky factor of A.",
    samples=lambda: (S(T(3, 2), T(values=_LOWER), smooth=False), S(T(2, 3, 1), T(values=_LOWER), smooth=False),
                     S(T(3, 2), T(values=_LOWER), False, smooth=False)),
)  # fmt: skip


def _cholesky_inverse_back(g: Any, L: Any, out: Any, upper: bool) -> Any:
    product = out @ ((g + g.mH) @ out)
    return -(L @ product) if upper else -(product @ L)


cholesky_inverse = primitive(
    "cholesky_inverse", "L, upper=False", lambda L, upper: _cholesky_solve(eye_like(L), L, upper),
    {"L": _cholesky_inverse_back}, dtypes=DTYPES, doc="The inverse of A from its Cholesky factor.",
    samples=lambda: (S(T(values=_LOWER), smooth=False), S(T(2, 0, 0))),
)  # fmt: skip


# ---------------------------------------------------------------- LU


def lu_parts(lu: Any, pivots: Any | None) -> tuple[Any, Any, Any]:
    """P (None without pivots), L and U of a factorization in one matrix."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    lower = lu.narrow(-1, 0, k).tril(-1) + F["eye"](m, k, dtype=lu.dtype, device=lu.device)
    return None if pivots is None else permutation(pivots, m, lu.dtype), lower, lu.narrow(-2, 0, k).triu()


def permutation(pivots: Any, m: int, dtype: Any) -> Any:
    """The permutation matrices that LAPACK's row exchanges stand for."""
    order = F["arange"](m, device=pivots.device).expand(*pivots.shape[:-1], m).contiguous()
    index = pivots.long() - 1
    for step in range(pivots.shape[-1]):
        other = index.narrow(-1, step, 1)
        here, there = order.narrow(-1, step, 1).clone(), order.gather(-1, other)
        order = order.scatter(-1, other, here)
        order.narrow(-1, step, 1).copy_(there)
    rows = F["arange"](m, device=pivots.device)
    return (order.unsqueeze(-2) == rows.unsqueeze(-1)).to(dtype)


def lu_backward(gl: Any, gu: Any, p: Any, lower: Any, upper: Any) -> Any:
    """The gradient of A from those of its factors, for square, wide and tall matrices."""
    m, n = lower.shape[-2], upper.shape[-1]
    k = min(m, n)
    if m == n:
        ga = (lower.mH @ gl).tril(-1) + (gu @ upper.mH).triu()
        ga = triangular(upper.mH, ga, False, False, False)
        ga = triangular(lower.mH, ga, True, True, True)
    elif m < n:
        ga = (lower.mH @ gl - gu.triu() @ upper.mH).tril(-1)
        ga = triangular(upper.narrow(-1, 0, k).mH, ga, False, False, False) + gu.narrow(-1, 0, k).triu()
        ga = F["cat"]([ga, gu.narrow(-1, k, n - k)], -1)
        ga = triangular(lower.mH, ga, True, True, True)
    else:
        ga = (gu @ upper.mH - lower.mH @ gl.tril(-1)).triu()
        ga = triangular(lower.narrow(-2, 0, k).mH, ga, True, True, True) + gl.narrow(-2, 0, k).tril(-1)
        ga = F["cat"]([ga, gl.narrow(-2, k, m - k)], -2)
        ga = triangular(upper.mH, ga, False, False, False)
    return ga if p is None else p @ ga


def _lu_factor(gs: Any, out: Any, pivots: Any) -> Any:
    if gs[0] is None:
        return None
    k = min(out.shape[-2:])
    p, lower, upper = lu_parts(out, pivots)
    return lu_backward(gs[0].narrow(-1, 0, k), gs[0].narrow(-2, 0, k), p, lower, upper)


lu_factor_ex = _internal(
    "linalg_lu_factor_ex", "input", outputs=("LU", "pivots", "info"), differentiable=(0,), ref="linalg.lu_factor_ex",
    grad={"input": lambda gs, LU, pivots: _lu_factor(gs, LU, pivots)},
    samples=lambda: (S(T(values=_GENERAL)), S(T(values=_WIDE)), S(T(values=_TALL)), S(T(2, 0, 3)), S(T(2, 0, 0))),
    errors=lambda: (S(T(3), error="RuntimeError"),),
    doc="L and U in one matrix, the row exchanges, the place of the first zero pivot (or 0).")  # fmt: skip


def _lu_solve_factors(g: Any, LU: Any, pivots: Any, out: Any, adjoint: bool) -> Any:
    p, lower, upper = lu_parts(LU, pivots)
    if not adjoint:
        gr = triangular(upper.mH, -(g @ out.mH), False, True, False)
        gl = triangular(lower.mH, gr @ upper.mH, True, True, True).tril(-1)
        return unbroadcast(gl + gr.triu(), LU.shape)
    gr = -(p.mT @ out) @ (g.mH @ p)
    gr = triangular(lower.mH, gr, True, False, True)
    gu = triangular(upper.mH, lower.mH @ gr, False, False, False).triu()
    return unbroadcast(gr.tril(-1) + gu, LU.shape)


_LU_SOLVE = row(
    "linalg_lu_solve", "LU, pivots:i, B, adjoint=False", function=False, method=False, out=False, dtypes=DTYPES,
    grad={
        "LU": lambda g, LU, pivots, out, adjoint: _lu_solve_factors(g, LU, pivots, out, adjoint),
        "B": lambda g, LU, pivots, B_shape, adjoint: unbroadcast(lu_solve_left(LU, pivots, g, not adjoint), B_shape),
    }, samples=lambda: (S(T(values=_POSITIVE), T(3, dtype="int32", values=[1, 3, 3]), T(3, 2)),
                        S(T(values=_POSITIVE), T(3, dtype="int32", values=[2, 2, 3]), T(3, 1), True)),
    errors=lambda: (S(T(values=_POSITIVE), T(3, dtype="int32", values=[1, 4, 3]), T(3, 2), error="RuntimeError"),),
    doc="X with ``A X = B``, or with the adjoint of A, from the LU factors of A.")  # fmt: skip


def lu_solve_left(LU: Any, pivots: Any, B: Any, adjoint: bool = False) -> Any:
    """X of ``A X = B`` from factors that broadcast with B."""
    if LU.shape[:-2] != B.shape[:-2]:
        batch = F["broadcast_shapes"](LU.shape[:-2], B.shape[:-2])
        LU, pivots = LU.expand(*batch, *LU.shape[-2:]), pivots.expand(*batch, pivots.shape[-1])
    return _LU_SOLVE(LU, pivots, B, adjoint)


# ---------------------------------------------------------------- solve, inverse, determinant


def _solve_right(g: Any, A: Any, LU: Any, pivots: Any) -> Any:
    """The gradient of B: by the factors there are, or by the matrix where the gradient may be differentiated again."""
    return solve_ex(A.mH, g)[0] if recording() else lu_solve_left(LU, pivots, g, True)


solve_ex = _internal(
    "linalg_solve_ex", "A, B", outputs=("result", "LU", "pivots", "info"), differentiable=(0,), grad={
        "A": lambda g, A, LU, pivots, result: unbroadcast(-(_solve_right(g[0], A, LU, pivots) @ result.mH), A.shape),
        "B": lambda g, A, LU, pivots, B_shape: unbroadcast(_solve_right(g[0], A, LU, pivots), B_shape),
    }, samples=lambda: (S(T(values=_GENERAL), T(3, 2)), S(T(values=_GENERAL), T(2, 3, 2)), S(T(2, 0, 0), T(0, 3))),
    errors=lambda: (S(T(3, 3), T(4, 2), error="RuntimeError"),),
    doc="X with ``A X = B``, the LU factors of A, their pivots, the place of the first zero pivot (or 0).")  # fmt: skip


inv_ex = _internal(
    "linalg_inv_ex", "A", outputs=("inverse", "info"), differentiable=(0,), ref="linalg.inv_ex",
    grad={"A": lambda g, inverse: -(inverse.mH @ (g[0] @ inverse.mH))},
    samples=lambda: (S(T(values=_GENERAL)), S(T(values=[_GENERAL, _POSITIVE])), S(T(2, 0, 0))),
    doc="The inverses of matrices, and the place of the first zero pivot (or 0).")  # fmt: skip


def _parity(pivots: Any) -> Any:
    """Whether the number of row exchanges is odd."""
    places = F["arange"](1, pivots.shape[-1] + 1, device=pivots.device)
    return (pivots != places).sum(-1) % 2 == 1


def _det_backward(g: Any, A: Any, result: Any, LU: Any, pivots: Any) -> Any:
    """The adjugate: det(A) A^-H where A is regular; elsewhere by the singular values, whose products without one of
    them are exact where it is zero."""
    scale = (g[0] * result.conj()).unsqueeze(-1).expand(*pivots.shape)
    if not recording():
        d = LU.diagonal(0, -2, -1)
        eps = _dtypes.finfo(LU.dtype).eps
        # a nearby regular matrix: the adjugate is continuous
        LU = LU + diag((d == 0).to(LU.dtype) * eps)
        if beneath(d == 0).any().item():
            products = F["where"](_parity(pivots), -1.0, 1.0).to(LU.dtype) * LU.diagonal(0, -2, -1).prod(-1)
            scale = (g[0] * products.conj()).unsqueeze(-1).expand(*pivots.shape)
        return lu_solve_left(LU, pivots, diag(scale), True)
    singular = result.abs() < 100 * _dtypes.finfo(result.dtype).eps
    if not beneath(singular).any().item():
        return solve_ex(A.mH, diag(scale))[0]
    u, s, vh, _ = TABLE["linalg_svd"].op(A, False, True)
    phase = det(u)[0] * det(vh)[0]
    n = A.shape[-1]
    itself = F["eye"](n, dtype=_dtypes.bool, device=A.device)
    others = s.unsqueeze(-2).expand(*s.shape[:-1], n, n).masked_fill(itself, 1).prod(-1)
    cofactors = (u * (others * (phase.conj() * g[0]).unsqueeze(-1)).unsqueeze(-2)) @ vh
    if beneath(singular).all().item():
        return cofactors
    regular = F["where"](singular.unsqueeze(-1).unsqueeze(-1), eye_like(A), A)
    return F["where"](singular.unsqueeze(-1).unsqueeze(-1), cofactors, solve_ex(regular.mH, diag(scale))[0])


det = _internal(
    "linalg_det", "A", outputs=("result", "LU", "pivots"), differentiable=(0,), grad={"A": _det_backward},
    samples=lambda: (S(T(values=_GENERAL)), S(T(values=[_GENERAL, _POSITIVE])), S(T(2, 0, 0))),
    doc="The determinants of matrices, their LU factors and pivots.",
)  # fmt: skip


def _slogdet(A: Any) -> tuple[Any, Any, Any, Any]:
    lu, pivots, _ = lu_factor_ex(A)
    d = lu.diagonal(0, -2, -1)
    sign = d.sgn().prod(-1)
    return F["where"](_parity(pivots), -sign, sign), d.abs().log().sum(-1), lu, pivots


def _slogdet_backward(gs: Any, A: Any, sign: Any, LU: Any, pivots: Any) -> Any:
    """``c A^-H``, where c gathers the gradients of the absolute value's logarithm and of the phase."""
    g_sign, g_log = gs[0], gs[1]
    factor = None if g_log is None else g_log.to(LU.dtype)
    if g_sign is not None and LU.is_complex():
        turn = g_sign.conj() * sign
        turn = (turn - turn.conj()) * -0.5
        factor = turn if factor is None else factor + turn
    if factor is None:
        return None
    d = diag(factor.unsqueeze(-1).expand(*pivots.shape))
    return solve_ex(A.mH, d)[0] if recording() else lu_solve_left(LU, pivots, d, True)


slogdet = primitive(
    "linalg_slogdet", "A", _slogdet, {"A": _slogdet_backward}, outputs=("sign", "logabsdet", "LU", "pivots"),
    differentiable=(0, 1), dtypes=DTYPES,
    samples=lambda: (S(T(values=_GENERAL)), S(T(values=[_GENERAL, _POSITIVE])), S(T(2, 0, 0))),
    doc="Sign and logarithm of the absolute value of determinants, LU factors and pivots.",
)  # fmt: skip


# ---------------------------------------------------------------- LDL, least squares, pseudoinverse


ldl_factor_ex = _internal(
    "linalg_ldl_factor_ex", "input, hermitian=False", outputs=("LD", "pivots", "info"), ref="linalg.ldl_factor_ex",
    samples=lambda: (S(T(values=_POSITIVE), only="single"), S(T(2, 0, 0), only="single")),
    doc="L and D of ``L D L^T`` in one matrix, the pivots, the place of the first zero of D (or 0).")  # fmt: skip
ldl_solve: Any = _internal(
    "linalg_ldl_solve", "LD:i, pivots:i, B, hermitian=False", ref="linalg.ldl_solve", grad={
        "B": lambda g, LD, pivots, hermitian: ldl_solve(
            LD if hermitian else LD.conj(), pivots, g, hermitian)},
    doc="X with ``A X = B`` from the LDL factors of A.")  # fmt: skip

DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _lstsq(A: Any, B: Any, rcond: float, driver: int) -> tuple[Any, ...]:
    m, n = A.shape[-2:]
    room = B
    if n > m:  # the solution has more rows than the right-hand side
        batch = B.shape[:-2]
        room = F["cat"]([B, B.new_zeros((*batch, n - m, B.shape[-1]))], -2)
    whole, rank, singular, info = TABLE["linalg_lstsq_lapack"].op(A, room, rcond, driver)
    return whole.narrow(-2, 0, n), whole.narrow(-2, n, max(m - n, 0)), rank, singular, info


_internal("linalg_lstsq_lapack", "A, B, rcond, driver", kernel="linalg_lstsq",
          outputs=("whole", "rank", "singular_values", "info"), ref="linalg.lstsq",
          doc="Least squares by the LAPACK driver of this number; B has max(m, n) rows.")  # fmt: skip


def pinv_backward(g: Any, pinv: Any, A: Any) -> Any:
    """The gradient of a pseudoinverse of constant rank (Golub, Pereyra 1973)."""
    m, n = A.shape[-2:]
    ph, gh = pinv.mH, g.mH
    if m <= n:
        k = gh @ pinv
        kp = k @ ph
        return -(pinv @ k).mH + kp - (A @ pinv) @ kp + (ph @ pinv) @ (gh - k @ A)
    k = pinv @ gh
    pk = ph @ k
    return -(k @ pinv).mH + (gh - A @ k) @ pinv @ ph + pk - (pk @ pinv) @ A


def _lstsq_matrix(g: Any, A: Any, B: Any) -> Any:
    inverse = F["pinverse"](A)
    return unbroadcast(pinv_backward(g[0] @ B.mH, inverse, A), A.shape)


lstsq = primitive(
    "linalg_lstsq", "A, B, rcond, driver", _lstsq, {
        "A": _lstsq_matrix,
        "B": lambda g, A, B_shape: unbroadcast(F["pinverse"](A).mH @ g[0], B_shape),
    }, outputs=("solution", "rest", "rank", "singular_values", "info"), differentiable=(0,),
    doc="The solution of least squares, the rows below it, ranks, singular values, the status.",
)  # fmt: skip


def cut_of(values: Any, A: Any, atol: Any, rtol: Any) -> Any:
    """The bounds up to which singular values count as zero: the larger of the absolute and the relative one."""
    top = values.amax(-1) if values.shape[-1] else values.sum(-1)
    eps = _dtypes.finfo(A.dtype).eps * max(A.shape[-2:])
    if isinstance(atol, _C.TensorBase):
        if rtol is None:
            rtol = F["where"](atol > 0, 0.0, eps)
        return F["maximum"](top * rtol, atol.to(values.dtype))
    if rtol is None:
        rtol = 0.0 if atol else eps
    return (top * rtol).to(values.dtype) if atol is None else (top * rtol).to(values.dtype).clamp(min=atol)


def _pinv(A: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    if hermitian:
        s, u, _ = TABLE["linalg_eigh"].op(A, True, True)
        size, vh = s.abs(), u.mH
    else:
        u, s, vh, _ = TABLE["linalg_svd"].op(A, False, True)
        size = s
    keep = size > cut_of(size, A, atol, rtol).unsqueeze(-1)
    return (vh.mH * F["where"](keep, 1 / s, 0.0).unsqueeze(-2)) @ u.mH


pinv = primitive(
    "linalg_pinv", "A, atol, rtol, hermitian", _pinv, {"A": lambda g, A, out: pinv_backward(g, out, A)},
    doc="The pseudoinverses of matrices: singular values (or eigenvalues) up to a bound count as zero.",
)  # fmt: skip
