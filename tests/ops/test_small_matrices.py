"""Batches of small matrices, which go in groups, and QR by rows, beside PyTorch: values, pivots, status, errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

SIZES = (1, 2, 3, 5, 8, 13, 16, 17, 31, 32)
BATCHES = ((16,), (3, 7), (5,))
DTYPES = ("float32", "float64")


def matrices(*shape: int, dtype: str, shift: float = 0.0, seed: int = 0) -> tuple[Any, Any]:
    values = np.random.default_rng(seed).standard_normal(shape)
    values = (values + shift * np.eye(*shape[-2:])).astype(dtype)
    return dumbtorch.from_numpy(values), torch.from_numpy(values)


def close(mine: Any, its: Any) -> None:
    if isinstance(its, tuple):
        for a, b in zip(mine, its, strict=True):
            close(a, b)
        return
    assert str(mine.dtype) == str(its.dtype)
    assert tuple(mine.shape) == tuple(its.shape)
    if not its.is_floating_point():
        assert mine.tolist() == its.tolist()
        return
    limit = 1e-4 if its.dtype == torch.float32 else 1e-11
    if its.numel():
        assert np.abs(mine.numpy() - its.numpy()).max() <= limit * max(1.0, its.abs().max().item())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_square(n: int, dtype: str) -> None:
    for batch in BATCHES:
        # far from singular, and with rows that have to be exchanged
        a, b = matrices(*batch, n, n, dtype=dtype, shift=2 * n)
        a, b = a.flip(-2), b.flip(-2)
        c, d = matrices(*batch, n, 5, dtype=dtype, seed=1)
        for mine, its in ((a, b), (a.mT, b.mT), (a.mT.contiguous().mT, b)):
            close(tuple(dumbtorch.linalg.lu_factor(mine)), tuple(torch.linalg.lu_factor(its)))
            close(dumbtorch.linalg.solve(mine, c), torch.linalg.solve(its, d))
            close(dumbtorch.linalg.solve(mine, c[0]), torch.linalg.solve(its, d[0]))
            close(dumbtorch.linalg.inv(mine), torch.linalg.inv(its))
            close(dumbtorch.linalg.slogdet(mine), torch.linalg.slogdet(its))
            scale = 2 * n
            close(dumbtorch.linalg.det(mine / scale), torch.linalg.det(its / scale))
            spd, theirs = (x @ x.mT / n for x in (mine, its))
            for upper in (False, True):
                close(dumbtorch.linalg.cholesky(spd, upper=upper), torch.linalg.cholesky(theirs, upper=upper))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_triangles_and_factors(n: int, dtype: str) -> None:
    for batch in BATCHES:
        a, b = matrices(*batch, n, n, dtype=dtype)
        a, b = ((x / (4 * n) + t.eye(n, dtype=x.dtype)) for x, t in ((a, dumbtorch), (b, torch)))
        c, d = matrices(*batch, n, 9, dtype=dtype, seed=1)
        for upper, left, unit, turned in itertools.product((False, True), repeat=4):
            settings = {"upper": upper, "left": left, "unitriangular": unit}
            mine, its = (a.mT, b.mT) if turned else (a, b)
            right, theirs = (c, d) if left else (c.mT, d.mT)
            close(
                dumbtorch.linalg.solve_triangular(mine, right, **settings),
                torch.linalg.solve_triangular(its, theirs, **settings),
            )
        factors, pivots = torch.linalg.lu_factor(b.flip(-2))
        own = dumbtorch.from_numpy(factors.numpy()), dumbtorch.from_numpy(pivots.numpy())
        for left, adjoint in itertools.product((False, True), repeat=2):
            close(
                dumbtorch.linalg.lu_solve(*own, c if left else c.mT, left=left, adjoint=adjoint),
                torch.linalg.lu_solve(factors, pivots, d if left else d.mT, left=left, adjoint=adjoint),
            )
        # exchanges that no factorization makes are exchanges all the same
        pivots = torch.from_numpy(np.random.default_rng(2).integers(1, n + 1, pivots.shape).astype("int32"))
        close(
            dumbtorch.linalg.lu_solve(own[0], dumbtorch.from_numpy(pivots.numpy()), c),
            torch.linalg.lu_solve(factors, pivots, d),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 8), (8, 3), (3, 8), (1, 5), (5, 1), (32, 17), (17, 32), (32, 32)])
def test_rectangles(shape: tuple[int, int], dtype: str) -> None:
    for batch in BATCHES:
        a, b = matrices(*batch, *shape, dtype=dtype, shift=3)
        for mode in ("reduced", "complete", "r"):
            close(tuple(dumbtorch.linalg.qr(a, mode)), tuple(torch.linalg.qr(b, mode)))
            close(tuple(dumbtorch.linalg.qr(a.mT, mode)), tuple(torch.linalg.qr(b.mT, mode)))
        close(tuple(dumbtorch.linalg.lu_factor(a)), tuple(torch.linalg.lu_factor(b)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_status_and_errors(dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal((40, 4, 4))
    values[7, 2] = values[7, 1]
    values[9] = 0
    values[11, :, 0] = 0
    values[13] = values[13] @ values[13].T + np.eye(4)
    values = values.astype(dtype)
    for name in ("inv_ex", "lu_factor_ex", "cholesky_ex"):
        mine = getattr(dumbtorch.linalg, name)(dumbtorch.from_numpy(values))
        its = getattr(torch.linalg, name)(torch.from_numpy(values))
        assert mine.info.tolist() == its.info.tolist()
    for name in ("inv", "cholesky"):
        with pytest.raises(torch.linalg.LinAlgError) as theirs:
            getattr(torch.linalg, name)(torch.from_numpy(values))
        with pytest.raises(dumbtorch.linalg.LinAlgError) as mine:
            getattr(dumbtorch.linalg, name)(dumbtorch.from_numpy(values))
        assert str(mine.value) == str(theirs.value)
    assert (dumbtorch.linalg.det(dumbtorch.from_numpy(values))[[9, 11]] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_do_not_touch_each_other(dtype: str) -> None:
    a, _ = matrices(40, 6, 6, dtype=dtype, shift=4)
    b, _ = matrices(40, 6, 2, dtype=dtype, seed=1)
    rest = [i for i in range(40) if i not in (3, 20)]

    def results(a: Any) -> list[Any]:
        spd = a @ a.mT
        made = [*dumbtorch.linalg.qr(a), dumbtorch.linalg.solve_ex(a, b)[0], dumbtorch.linalg.inv_ex(a)[0]]
        return [*made, *dumbtorch.linalg.lu_factor_ex(a), *dumbtorch.linalg.cholesky_ex(spd)]

    before = results(a)
    a[3] = float("nan")
    a[20] = 0
    for x, y in zip(before, results(a), strict=True):
        assert dumbtorch.equal(x[rest], y[rest])


@pytest.mark.parametrize("factor", [1e-30, 1e30, 0.0])
def test_reflectors_of_extreme_numbers(factor: float) -> None:
    a, b = matrices(20, 5, 5, dtype="float32")
    q, r = dumbtorch.linalg.qr(a * factor)
    its = torch.linalg.qr(b * factor)
    assert np.abs(q.numpy() - its[0].numpy()).max() < 1e-5
    assert np.abs(r.numpy() - its[1].numpy()).max() <= 1e-5 * factor * 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [
    (1, 1), (2, 2), (1, 7), (7, 1), (16, 16), (17, 17), (33, 40), (40, 33), (64, 64), (100, 30), (30, 100), (128, 128),
    (129, 131), (3, 50, 45), (2, 2, 34, 34), (200, 200),
])  # fmt: skip
def test_one_matrix(shape: tuple[int, ...], dtype: str) -> None:
    a, b = matrices(*shape, dtype=dtype, shift=3)
    for mode in ("reduced", "complete", "r"):
        for view in (lambda x: x, lambda x: x.mT, lambda x: x[..., ::2, 1:] if min(shape[-2:]) > 4 else x):
            mine, its = dumbtorch.linalg.qr(view(a), mode), torch.linalg.qr(view(b), mode)
            close(tuple(mine), tuple(its))
            assert [x.stride() for x in mine if x.numel()] == [x.stride() for x in its if x.numel()]


@pytest.mark.parametrize("factor", [1e-30, 1e30, 0.0])
def test_one_matrix_of_extreme_numbers(factor: float) -> None:
    a, b = matrices(40, 40, dtype="float32")
    a[:, 3], b[:, 3] = 0, 0
    q, r = dumbtorch.linalg.qr(a * factor)
    its = torch.linalg.qr(b * factor)
    assert np.abs((q @ r).numpy() - (b * factor).numpy()).max() <= 1e-5 * factor * 10
    assert np.abs((q.mT @ q).numpy() - np.eye(40)).max() < 1e-5
    assert np.abs(r.numpy() - its[1].numpy()).max() <= 1e-4 * factor * 10
    a[2, 2] = float("nan")
    assert dumbtorch.linalg.qr(a)[1].isnan().any()


def _symmetric(kind: str, n: int, count: int) -> Any:
    rng = np.random.default_rng(n)
    q, _ = np.linalg.qr(rng.standard_normal((count, n, n)))
    if kind == "random":
        a = rng.standard_normal((count, n, n))
    elif kind == "graded":
        a = (q * 10.0 ** -np.linspace(0, 12, n)) @ q.swapaxes(1, 2)
    elif kind == "repeated":
        a = (q * np.repeat([1.0, 2.0], [n // 2, n - n // 2])) @ q.swapaxes(1, 2)
    elif kind == "ones":
        a = np.ones((count, n, n))
    elif kind == "tridiagonal":
        a = np.broadcast_to(np.diag(np.ones(n - 1), 1), (count, n, n))
    else:
        a = np.broadcast_to(np.diag(np.arange(n)[::-1].astype(float)), (count, n, n))
    return (a + a.swapaxes(1, 2)) / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["random", "graded", "repeated", "ones", "tridiagonal", "diagonal"])
def test_symmetric(kind: str, dtype: str) -> None:
    eps = np.finfo(dtype).eps
    for n in (1, 2, 3, 7, 16, 17, 40, 100):
        a = _symmetric(kind, n, 5).astype(dtype)
        whole, size = a.astype("float64"), np.abs(a).max() * n + 1e-300
        for side in "LU":
            triangle = np.tril(a) if side == "L" else np.triu(a)
            for scale in (1.0, 1e-20, 1e20):
                for part in (slice(None), slice(1)):
                    given = dumbtorch.from_numpy((triangle[part] * scale).astype(dtype))
                    values, vectors = (x.numpy().astype("float64") for x in dumbtorch.linalg.eigh(given, side))
                    values = values / scale
                    assert (np.diff(values) >= 0).all()
                    exact = np.linalg.eigvalsh(whole[part])
                    assert np.abs(values - exact).max() <= 30 * eps * size
                    assert np.abs(whole[part] @ vectors - vectors * values[:, None, :]).max() <= 30 * eps * size
                    assert np.abs(vectors.swapaxes(1, 2) @ vectors - np.eye(n)).max() <= 150 * eps


def test_symmetric_failures() -> None:
    a, _ = matrices(4, 6, 6, dtype="float32")
    a = a + a.mT
    its = dumbtorch.linalg.eigh(a)
    a[2] = float("nan")
    with pytest.raises(dumbtorch.linalg.LinAlgError, match="Batch element 2"):
        dumbtorch.linalg.eigh(a)
    a[2] = 0
    values, vectors = dumbtorch.linalg.eigh(a)
    assert dumbtorch.equal(values[:2], its[0][:2])
    assert (values[2] == 0).all()
    assert dumbtorch.equal(vectors[2], dumbtorch.eye(6))
