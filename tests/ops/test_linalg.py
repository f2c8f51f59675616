"""torch.linalg: what is unique only up to signs or phases, errors, named results, out=, shapes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch.autograd import gradcheck, gradgradcheck
from tests.ops.harness import listed

L, TL = dumbtorch.linalg, torch.linalg
SHAPES = ((3, 3), (4, 3), (3, 5), (2, 4, 4), (2, 1, 3, 2), (0, 3), (3, 0), (0, 2, 2))


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def pair(values: np.ndarray) -> tuple[Any, Any]:
    return dumbtorch.tensor(values.tolist(), dtype=dumbtorch.float64).reshape(values.shape), torch.tensor(values)


def close(a: Any, b: Any, **kwargs: Any) -> None:
    np.testing.assert_allclose(listed(a), listed(b), **{"rtol": 1e-8, "atol": 1e-9, **kwargs})


def positive(n: int = 3) -> np.ndarray:
    a = numbers(n, n)
    return a @ a.T + np.eye(n)


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_multiply_to_the_matrix(shape: tuple[int, ...]) -> None:
    a = pair(numbers(*shape))[0]
    for mode in ("reduced", "complete"):
        q, r = L.qr(a, mode)
        close(q @ r, a)
        close(q.mT @ q, dumbtorch.eye(q.shape[-1], dtype=q.dtype).expand(*q.shape[:-2], *2 * q.shape[-1:]))
        assert not listed(r.tril(-1)).any()
        assert (q.shape, r.shape) == tuple(tuple(t.shape) for t in TL.qr(pair(numbers(*shape))[1], mode))
    for full in (False, True):
        u, s, vh = L.svd(a, full)
        k = s.shape[-1]
        close((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a)
        close(u.mT @ u, dumbtorch.eye(u.shape[-1], dtype=u.dtype).expand(*u.shape[:-2], *2 * u.shape[-1:]))
        close(vh @ vh.mT, dumbtorch.eye(vh.shape[-2], dtype=u.dtype).expand(*u.shape[:-2], *2 * vh.shape[-2:-1]))
        close(s, TL.svdvals(pair(numbers(*shape))[1]))
    p, lower, upper = L.lu(a)
    close(p @ lower @ upper, a)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[-1] == s[-2]])
def test_eigenvectors(shape: tuple[int, ...]) -> None:
    values = numbers(*shape)
    values = values + np.swapaxes(values, -1, -2)
    a, its = pair(values)
    for uplo in ("L", "U"):
        w, v = L.eigh(a, uplo)
        close(a @ v, v * w.unsqueeze(-2))
        close(w, TL.eigh(its, uplo)[0])
        close(L.eigvalsh(a, uplo), w)
    lower = dumbtorch.tensor(np.tril(values).tolist(), dtype=a.dtype).reshape(values.shape)
    close(L.eigvalsh(lower), L.eigvalsh(a))


#: functions that do not depend on signs: the derivative of each factor is in them
FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = {
    "qr": (lambda t, a: t.linalg.qr(a), (3, 3)),
    "qr of a tall matrix": (lambda t, a: t.linalg.qr(a), (4, 2)),
    "qr of a wide matrix": (lambda t, a: t.linalg.qr(a), (2, 4)),
    "svd": (lambda t, a: _parts(t.linalg.svd(a, full_matrices=False)), (3, 3)),
    "svd of a tall matrix": (lambda t, a: _parts(t.linalg.svd(a, full_matrices=False)), (4, 3)),
    "svd of a wide matrix": (lambda t, a: _parts(t.linalg.svd(a, full_matrices=False)), (2, 4)),
    "svdvals": (lambda t, a: t.linalg.svdvals(a), (4, 3)),
    "eigh": (lambda t, a: _eigh_parts(t.linalg.eigh(a + a.mT)), (3, 3)),
    "eigvalsh": (lambda t, a: t.linalg.eigvalsh(a + a.mT), (3, 3)),
    "lu": (lambda t, a: t.linalg.lu(a)[1:], (3, 3)),
    "lu of a tall matrix": (lambda t, a: t.linalg.lu(a)[1:], (4, 2)),
    "lu of a wide matrix": (lambda t, a: t.linalg.lu(a)[1:], (2, 4)),
    "cholesky": (lambda t, a: t.linalg.cholesky(a @ a.mT + t.eye(3, dtype=a.dtype)), (3, 3)),
    "cholesky, upper": (lambda t, a: t.linalg.cholesky(a @ a.mT + t.eye(3, dtype=a.dtype), upper=True), (3, 3)),
    "pinv": (lambda t, a: t.linalg.pinv(a), (4, 2)),
    "pinv of a wide matrix": (lambda t, a: t.linalg.pinv(a), (2, 4)),
    "pinv, hermitian": (lambda t, a: t.linalg.pinv(a + a.mT, hermitian=True), (3, 3)),
    "lstsq": (lambda t, a: t.linalg.lstsq(a, (a[..., :1] * 2).sin())[0], (4, 2)),
    "solve": (lambda t, a: t.linalg.solve(a, a.sin()), (3, 3)),
    "solve from the right": (lambda t, a: t.linalg.solve(a, a.sin(), left=False), (3, 3)),
    "lu_solve": (lambda t, a: t.linalg.lu_solve(*t.linalg.lu_factor(a), a.sin()), (3, 3)),
    "lu_solve, adjoint": (lambda t, a: t.linalg.lu_solve(*t.linalg.lu_factor(a), a.sin(), adjoint=True), (3, 3)),
    "lu_solve, right": (lambda t, a: t.linalg.lu_solve(*t.linalg.lu_factor(a), a.sin(), left=False), (3, 3)),
    "matrix_exp": (lambda t, a: t.linalg.matrix_exp(a), (3, 3)),
    "householder_product": (lambda t, a: t.linalg.householder_product(a, a[0, :2]), (3, 2)),
    "ormqr": (lambda t, a: t.ormqr(a, a[0, :2], a.sin(), True, True), (3, 2)),
    "cond": (lambda t, a: t.linalg.cond(a), (3, 3)),
    "nuclear norm": (lambda t, a: t.linalg.matrix_norm(a, "nuc"), (4, 3)),
    "slogdet": (lambda t, a: t.linalg.slogdet(a)[1], (3, 3)),
    "det": (lambda t, a: t.linalg.det(a), (3, 3)),
    "multiple powers": (lambda t, a: t.linalg.matrix_power(a, -3), (3, 3)),
}  # fmt: skip


def _parts(factors: Any) -> Any:
    u, s, vh = factors
    return s, (u * (s + 1).unsqueeze(-2)) @ vh, u @ u.mT


def _eigh_parts(factors: Any) -> Any:
    w, v = factors
    return w, (v * (w * w * 0.3).unsqueeze(-2)) @ v.mT


def _tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradient(name: str, batch: tuple[int, ...]) -> None:
    function, shape = FUNCTIONS[name]
    if batch and ("householder" in name or name == "ormqr"):
        batch = ()
    a, its = (t.requires_grad_() for t in pair(numbers(*batch, *shape, seed=3)))
    mine, theirs = _tuple(function(dumbtorch, a)), _tuple(function(torch, its))
    for x, y in zip(mine, theirs, strict=True):
        close(x, y)
    seeds = [numbers(*y.shape, seed=5) for y in theirs]
    ours = dumbtorch.autograd.grad(mine, a, [pair(s)[0] for s in seeds])[0]
    close(ours, torch.autograd.grad(theirs, its, [torch.tensor(s) for s in seeds])[0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_gradient(name: str) -> None:
    function, shape = FUNCTIONS[name]
    a = pair(numbers(*shape, seed=3))[0].requires_grad_()

    def call(x: Any) -> Any:
        return _tuple(function(dumbtorch, x))

    assert gradcheck(call, (a,), check_undefined_grad=False)
    assert gradgradcheck(call, (a,), fast_mode=True, check_undefined_grad=False, atol=1e-4)


def test_values_alone_have_a_gradient_where_vectors_do_not() -> None:
    a = dumbtorch.eye(3, dtype=dumbtorch.float64).requires_grad_()
    L.eigh(a)[0].sum().backward()
    close(a.grad, dumbtorch.eye(3))
    b = dumbtorch.eye(3, dtype=dumbtorch.float64).requires_grad_()
    L.svd(b)[1].sum().backward()
    close(b.grad, dumbtorch.eye(3))


@pytest.mark.parametrize("create", [False, True])
def test_determinant_of_singular_matrices(create: bool) -> None:
    """The gradient is the adjugate, which exists there too (PyTorch gives 0 for a determinant of exactly 0)."""
    for values, adjugate in (
        ([[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
        ([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 4.0]], [[-2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    ):
        a = dumbtorch.tensor(values, dtype=dumbtorch.float64, requires_grad=True)
        dumbtorch.autograd.backward(L.det(a), create_graph=create)
        close(a.grad.detach(), dumbtorch.tensor(adjugate), atol=1e-6)


def _zeros(*shape: int) -> Any:
    return dumbtorch.zeros(*shape)


ERRORS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda t: t.linalg.inv(t.zeros(3, 3)), "linalg.inv: The diagonal element 1 is zero"),
    (lambda t: t.inverse(t.zeros(2, 3, 3)), r"linalg.inv: \(Batch element 0\): The diagonal element 1 is zero"),
    (lambda t: t.linalg.solve(t.zeros(3, 3), t.ones(3)), "torch.linalg.solve: The solver failed because"),
    (lambda t: t.linalg.cholesky(-t.eye(3)), r"linalg.cholesky: The factorization could not .* order 1 is not"),
    (lambda t: t.linalg.svd(t.full((3, 3), float("nan"))), "linalg.svd: The algorithm failed to converge"),
    (lambda t: t.linalg.svdvals(t.full((3, 3), float("nan"))), "linalg.svd: The algorithm failed to converge"),
    (lambda t: t.linalg.eigh(t.full((3, 3), float("nan"))), "linalg.eigh: The algorithm failed to converge"),
    (lambda t: t.cholesky_inverse(t.zeros(3, 3)), "cholesky_inverse: The diagonal element 1 is zero"),
]


@pytest.mark.parametrize(("call", "words"), ERRORS)
def test_singular_matrices_raise_linalgerror(call: Callable[[Any], Any], words: str) -> None:
    assert issubclass(L.LinAlgError, RuntimeError)
    with pytest.raises(L.LinAlgError, match=words):
        call(dumbtorch)
    with pytest.raises(TL.LinAlgError, match=words):
        call(torch)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.linalg.inv(t.zeros(3)),
        lambda t: t.linalg.inv(t.zeros(3, 4)),
        lambda t: t.linalg.inv(t.ones(3, 3, dtype=t.int64)),
        lambda t: t.linalg.det(t.ones(3, 3, dtype=t.int64)),
        lambda t: t.linalg.eigh(t.zeros(3, 4)),
        lambda t: t.linalg.qr(t.zeros(3, 3), "other"),
        lambda t: t.linalg.solve(t.eye(3), t.ones(4)),
        lambda t: t.linalg.solve(t.eye(3), t.ones(3, dtype=t.float64)),
        lambda t: t.linalg.eig(t.full((2, 2), float("inf"))),
        lambda t: t.linalg.lu_factor(t.zeros(3, 3)),
        lambda t: t.linalg.lstsq(t.ones(3, 2), t.ones(4, 1)),
        lambda t: t.linalg.cholesky(t.eye(3).half()),
        lambda t: t.linalg.svd(t.eye(3).half()),
        lambda t: t.linalg.matrix_norm(t.eye(3), 3),
        lambda t: t.linalg.vector_norm(t.ones(0), float("inf")),
        lambda t: t.linalg.lu_factor(t.eye(3), pivot=False),
        lambda t: t.lu_unpack(t.eye(3), t.ones(3, dtype=t.int64)),
    ],
)
def test_errors_are_those_of_pytorch(call: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(theirs.type) as mine:
        call(dumbtorch)
    assert str(mine.value)[:24] == str(theirs.value)[:24]


def test_the_ex_forms_report_and_do_not_raise() -> None:
    assert L.inv_ex(_zeros(3, 3)).info.item() == 1
    assert L.cholesky_ex(_zeros(2, 3, 3)).info.tolist() == [1, 1]
    assert L.solve_ex(_zeros(3, 3), dumbtorch.ones(3)).info.item() == 1
    assert L.lu_factor_ex(_zeros(3, 3)).info.item() == 1


def test_named_results() -> None:
    made = L.svd(dumbtorch.eye(2))
    assert repr(made) == repr(TL.svd(torch.eye(2))).replace("-0.", "0.")
    assert made.S is made[1]
    assert isinstance(made, tuple)
    assert dumbtorch.slogdet(dumbtorch.eye(2)).logabsdet.item() == 0


def test_out() -> None:
    a = pair(positive())[0]
    out = dumbtorch.empty(0, dtype=a.dtype)
    assert L.inv(a, out=out) is out
    close(out, L.inv(a))
    parts = [dumbtorch.empty(3, 3, dtype=a.dtype), dumbtorch.empty(3, 3, dtype=a.dtype)]
    q, r = L.qr(a, out=parts)
    assert q is parts[0] and r is parts[1]
    with pytest.raises(RuntimeError, match="safely castable"):
        L.inv(a, out=dumbtorch.empty(0, dtype=dumbtorch.int64))
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        L.inv(a.requires_grad_(), out=out)


def test_batches_broadcast() -> None:
    a, its = pair(numbers(2, 1, 3, 3))
    b, theirs = pair(numbers(4, 3, 2, seed=1))
    close(L.solve(a, b), TL.solve(its, theirs))
    close(L.solve(a, b.mT, left=False), TL.solve(its, theirs.mT, left=False))
    close(L.solve_triangular(a, b, upper=True), TL.solve_triangular(its, theirs, upper=True))
    close(L.lu_solve(*L.lu_factor(a), b), TL.lu_solve(*TL.lu_factor(its), theirs))
    vectors, its_vectors = pair(numbers(2, 1, 3, seed=2))
    close(L.solve(a, vectors), TL.solve(its, its_vectors))


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (40, 30), (2, 4, 4), (0, 3), (3, 0)])
def test_least_squares(driver: str, shape: tuple[int, ...]) -> None:
    a, its = pair(numbers(*shape))
    b, theirs = pair(numbers(*shape[:-1], 2, seed=1))
    mine, expected = L.lstsq(a, b, driver=driver), TL.lstsq(its, theirs, driver=driver)
    for x, y in zip(mine, expected, strict=True):
        assert tuple(x.shape) == tuple(y.shape)
        if 0 not in shape:  # PyTorch's residuals of no columns depend on the driver
            close(x, y)


def test_rank_deficient_least_squares() -> None:
    values = np.outer(numbers(5), numbers(3, seed=1))
    a, its = pair(values)
    b, theirs = pair(numbers(5, 1, seed=2))
    for driver in ("gelsy", "gelsd", "gelss"):
        mine, expected = L.lstsq(a, b, driver=driver), TL.lstsq(its, theirs, driver=driver)
        close(mine.solution, expected.solution)
        assert mine.rank.item() == expected.rank.item() == 1


def test_many_small_matrices_and_strided_ones() -> None:
    values = numbers(500, 6, 6)
    a, its = pair(values)
    close(L.inv(a), TL.inv(its), rtol=1e-6)
    close(L.det(a.mT[::3]), TL.det(its.mT[::3]))
    close(L.svdvals(a[:, ::2]), TL.svdvals(its[:, ::2]))
    assert L.inv(a[0]).stride() == TL.inv(its[0]).stride()


def test_ldl() -> None:
    values = numbers(2, 4, 4)
    values = values + np.swapaxes(values, -1, -2)
    a, _ = pair(values)
    b, _ = pair(numbers(2, 4, 3, seed=1))
    factors, pivots = L.ldl_factor(a)
    close(a @ L.ldl_solve(factors, pivots, b), b)
    b.requires_grad_()
    assert gradcheck(lambda right: L.ldl_solve(factors, pivots, right), (b,), check_undefined_grad=False)
    bad = dumbtorch.full_like(pivots, 99)
    with pytest.raises(RuntimeError, match="pivots"):
        L.ldl_solve(factors, bad, b)


def test_importing_does_not_open_lapack() -> None:
    code = (
        "import dumbtorch as t, sys; assert 'scipy_openblas64' not in sys.modules; t.linalg.inv(t.eye(2));"
        "assert 'scipy_openblas64' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
