"""Orthogonal and spectral factorizations on LAPACK, with their derivatives: QR, singular values, eigenvalues.

References for the derivatives: Townsend, "Differentiating the singular value decomposition"; Boeddeker et al., "On the
computation of complex-valued gradients with application to statistically optimum beamforming"; Walter and Lehmann,
"Algorithmic differentiation of linear algebra functions"; PyTorch's FunctionsManual.cpp.
"""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops.factor import DTYPES, solve_ex, triangular
from dumbtorch.ops.linalg_base import constant_eye, diag, halved_diagonal, recording
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import row


def _internal(name: str, signature: str, **kwargs: Any) -> Any:
    kwargs.setdefault("dtypes", DTYPES)
    return row(name, signature, function=False, method=False, out=False, **kwargs)


def _ones_on_diagonal(differences: Any) -> Any:
    """Differences of values by pairs; those of a value and itself are 1."""
    mask = F["eye"](differences.shape[-1], dtype=_dtypes.bool, device=differences.device)
    return differences.masked_fill(mask, 1)


def _skew(x: Any) -> Any:
    return x - x.mH


# ---------------------------------------------------------------- QR


def _qr(gs: Any, Q: Any, R: Any, mode: int) -> Any:
    gq, gr = gs[0], gs[1]
    if mode == 2:
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, "
            "mode='reduced') if you are going to require its derivative."
        )
    m, n = Q.shape[-2], R.shape[-1]
    if mode == 1 and m > n:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols")
    if gq is None and gr is None:
        return None
    if m >= n:
        inner: Any = gr @ R.mH if gr is not None else None
        if gq is not None:
            inner = -(Q.mH @ gq) if inner is None else inner - Q.mH @ gq
        inner = inner.triu()
        g = Q @ halved_diagonal(inner + inner.mH, "real")
        return triangular(R.mH, g if gq is None else g + gq, False, False, False)
    inner = None if gq is None else Q.mH @ gq
    if gr is not None:
        inner = -(gr @ R.mH) if inner is None else inner - gr @ R.mH
    inner = halved_diagonal(_skew(inner).tril(), "imag")
    inner = triangular(R.narrow(-1, 0, m).mH, inner, False, False, False)
    g = F["cat"]([inner, inner.new_zeros((*inner.shape[:-1], n - m))], -1)
    return Q @ (g if gr is None else g + gr)


qr = _internal(
    "linalg_qr", "A, mode", outputs=("Q", "R"), grad={"A": lambda gs, Q, R, mode: _qr(gs, Q, R, mode)},
    doc="Q and R; mode 0 is reduced, 1 complete, 2 R alone.")  # fmt: skip
geqrf = _internal(
    "geqrf", "input", outputs=("a", "tau"), samples=lambda: (S(T(3, 3)), S(T(2, 4, 3)), S(T(2, 3)), S(T(2, 0, 3))),
    doc="R on and above the diagonal, the Householder vectors below it; their factors.")  # fmt: skip
_HOUSEHOLDER = _internal(
    "linalg_householder_product", "input, tau", ref="linalg.householder_product",
    samples=lambda: (S(T(4, 3), T(3)), S(T(2, 3, 3), T(2, 2)), S(T(2, 3, 0), T(2, 0))),
    doc="The first columns of a product of Householder reflectors.")  # fmt: skip
_ORMQR = _internal(
    "ormqr", "input, tau, other, left=True, transpose=False",
    samples=lambda: (S(T(4, 3), T(3), T(4, 2)), S(T(3, 3), T(3), T(2, 3), False),
                     S(T(4, 3), T(3), T(4, 2), True, True)),
    doc="A product of Householder reflectors times a matrix.")  # fmt: skip


def _apply(input: Any, tau: Any, c: Any, adjoint: bool) -> Any:
    """The product of reflectors (or its adjoint) times a matrix, one reflector after the other."""
    k = tau.shape[-1]
    ones = F["eye"](input.shape[-2], input.shape[-1], dtype=input.dtype, device=input.device)
    vectors = input.tril(-1) + ones
    for i in range(k) if adjoint else reversed(range(k)):
        v, factor = vectors.narrow(-1, i, 1), tau.narrow(-1, i, 1).unsqueeze(-1)
        c = c - (factor.conj() if adjoint else factor) * (v @ (v.mH @ c))
    return c


def _differentiated(*tensors: Any) -> bool:
    """Whether a derivative is wanted: of what is recorded, or, by a transform that wraps the tensors, in any mode."""
    return any(t._level is not None or (t.requires_grad and recording()) for t in tensors)


def householder_product(input: Any, tau: Any) -> Any:
    """By LAPACK, or reflector by reflector where the product is differentiated."""
    if not _differentiated(input, tau):
        return _HOUSEHOLDER(input, tau)
    return _apply(input, tau, constant_eye(input), False)


def ormqr(input: Any, tau: Any, other: Any, left: bool, transpose: bool) -> Any:
    """By LAPACK, or reflector by reflector where the product is differentiated."""
    if not _differentiated(input, tau, other):
        return _ORMQR(input, tau, other, left, transpose)
    if left:
        return _apply(input, tau, other, transpose)
    return _apply(input, tau, other.mH, not transpose).mH


# ---------------------------------------------------------------- singular values


def _phase_error(name: str) -> RuntimeError:
    return RuntimeError(
        f"{name}: The singular vectors in the complex case are specified up to multiplication by e^{{i phi}}. The "
        "specified loss function depends on this phase term, making it ill-defined."
    )


def _svd(gs: Any, U: Any, S: Any, Vh: Any) -> Any:
    gu, g_s, gvh = gs[0], gs[1], gs[2]
    k = S.shape[-1]
    m, n = U.shape[-2], Vh.shape[-1]
    if gu is None and gvh is None:
        if g_s is None:
            return None
        U, Vh = U.narrow(-1, 0, k), Vh.narrow(-2, 0, k)
        return U @ (g_s.unsqueeze(-1) * Vh) if m >= n else (U * g_s.unsqueeze(-2)) @ Vh
    U, Vh = U.narrow(-1, 0, k), Vh.narrow(-2, 0, k)
    gu = None if gu is None else gu.narrow(-1, 0, k)
    gvh = None if gvh is None else gvh.narrow(-2, 0, k)
    squares = S * S
    e = _ones_on_diagonal(squares.unsqueeze(-2) - squares.unsqueeze(-1))
    left = None if gu is None else _skew(U.mH @ gu)
    right = None if gvh is None else _skew(Vh @ gvh.mH)
    if U.is_complex():
        turn = sum(x.diagonal(0, -2, -1).imag for x in (left, right) if x is not None)
        scale = max(1.0, *(beneath(x).abs().max().item() for x in (left, right) if x is not None and x.numel()), 1.0)
        if turn.numel() and beneath(turn).abs().max().item() > 1e-2 * scale:
            raise _phase_error("svd_backward")
    g: Any = None
    if left is not None:
        g = (left / e) * S.unsqueeze(-2)
    if right is not None:
        other = S.unsqueeze(-1) * (right / e)
        g = other if g is None else g + other
    if g_s is not None:
        g = g + diag(g_s.to(g.dtype))
    if U.is_complex() and left is not None and right is not None:
        g = g + diag(left.diagonal(0, -2, -1) / (2 * S))
    if m > k and gu is not None:
        part = gu / S.unsqueeze(-2)
        g = U @ g + part - U @ (U.mH @ part)
        return g @ Vh
    if n > k and gvh is not None:
        part = gvh / S.unsqueeze(-1)
        g = g @ Vh + part - (part @ Vh.mH) @ Vh
        return U @ g
    return U @ (g @ Vh) if m >= n else (U @ g) @ Vh


svd = _internal(
    "linalg_svd", "A, full_matrices, compute_uv", outputs=("U", "S", "Vh", "info"), differentiable=(0, 1, 2),
    grad={"A": lambda gs, U, S, Vh: _svd(gs, U, S, Vh)},
    doc="Singular vectors and values, and LAPACK's status.")  # fmt: skip


# ---------------------------------------------------------------- eigenvalues


def _check_phase(g: Any, name: str) -> None:
    turn = g.diagonal(0, -2, -1).imag
    if turn.numel() and beneath(turn).abs().max().item() > 1e-2 * max(1.0, beneath(g).abs().max().item()):
        raise RuntimeError(
            f"{name}: The eigenvectors in the complex case are specified up to multiplication by e^{{i phi}}. The "
            "specified loss function depends on this quantity, so it is ill-defined."
        )


def _eigh(gs: Any, L: Any, V: Any) -> Any:
    gl, gv = gs[0], gs[1]
    if gv is None:
        return None if gl is None else (V * gl.unsqueeze(-2)) @ V.mH
    inner = V.mH @ gv
    if V.is_complex():
        _check_phase(inner, "linalg_eigh_backward")
    inner = _skew(inner) * 0.5
    inner = inner / _ones_on_diagonal(L.unsqueeze(-2) - L.unsqueeze(-1))
    if V.is_complex():
        inner = inner - diag(inner.diagonal(0, -2, -1))
    if gl is not None:
        inner = inner + diag(gl.to(inner.dtype))
    return V @ (inner @ V.mH)


eigh = _internal(
    "linalg_eigh", "A, lower, compute_v", outputs=("L", "V", "info"), differentiable=(0, 1),
    grad={"A": lambda gs, L, V: _eigh(gs, L, V)},
    doc="Ascending eigenvalues and eigenvectors of Hermitian matrices, and LAPACK's status.")  # fmt: skip


def _eig(gs: Any, L: Any, V: Any, A_dtype: Any) -> Any:
    gl, gv = gs[0], gs[1]
    if gl is None and gv is None:
        return None
    if gv is None:
        inner = gl.unsqueeze(-1) * V.mH
        g = solve_ex(V.mH, inner)[0]
    else:
        inner = V.mH @ gv
        _check_phase(inner, "linalg_eig_backward")
        d = inner.diagonal(0, -2, -1).real
        inner = inner - V.mH @ (V * d.unsqueeze(-2))
        inner = inner / _ones_on_diagonal((L.unsqueeze(-2) - L.unsqueeze(-1)).conj())
        inner = inner - diag(inner.diagonal(0, -2, -1))
        if gl is not None:
            inner = inner + diag(gl)
        g = solve_ex(V.mH, inner @ V.mH)[0]
    return g if A_dtype.is_complex else g.real


eig = _internal(
    "linalg_eig", "A, compute_v", outputs=("L", "V", "info"), differentiable=(0, 1),
    grad={"A": lambda gs, L, V, A_dtype: _eig(gs, L, V, A_dtype)},
    doc="Complex eigenvalues and eigenvectors, and LAPACK's status.")  # fmt: skip
