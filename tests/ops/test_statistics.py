"""Running results, quantiles, searching and counting, where samples of the rows do not reach."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)


def both(values: Any, dtype: str = "float64") -> tuple[Any, Any]:
    array = np.asarray(values, dtype=dtype)
    return dumbtorch.from_numpy(array.copy()), torch.from_numpy(array.copy())


def close(mine: Any, its: Any) -> None:
    assert str(mine.dtype) == str(its.dtype)
    assert tuple(mine.shape) == tuple(its.shape)
    np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["cummax", "cummin", "logcumsumexp", "cumsum", "cumprod"])
@pytest.mark.parametrize("shape", [(5,), (3, 100), (100, 3), (2, 50, 17), (20000,)])
def test_running(name: str, shape: tuple[int, ...]) -> None:
    values = np.round(RNG.standard_normal(shape), 1)
    values[RNG.random(shape) < 0.01] = np.inf
    mine, its = both(values if name != "cumprod" else 1 + values.clip(-1, 1) * 0.01)
    for dim in range(len(shape)):
        got, want = getattr(mine, name)(dim), getattr(its, name)(dim)
        for a, b in zip(got, want, strict=True) if name.startswith("cumm") else [(got, want)]:
            close(a, b)


def test_running_nan() -> None:
    mine, its = both([1.0, np.nan, 3.0, 2.0, np.nan, 5.0])
    for name in ("cummax", "cummin"):
        got, want = getattr(mine, name)(0), getattr(its, name)(0)
        close(got.values, want.values)
        close(got.indices, want.indices)
    close(mine.logcumsumexp(0), its.logcumsumexp(0))
    infinite, theirs = both([-np.inf, -np.inf, 1.0, np.inf, np.inf, -np.inf])
    close(infinite.logcumsumexp(0), theirs.logcumsumexp(0))


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile(interpolation: str) -> None:
    values = RNG.standard_normal((4, 7, 3))
    values[0, 0, 0] = values[2, 3, 1] = np.nan
    mine, its = both(values)
    for name in ("quantile", "nanquantile"):
        for q in (0.0, 0.3, 1.0):
            close(
                getattr(mine, name)(q, interpolation=interpolation), getattr(its, name)(q, interpolation=interpolation)
            )
        qs = [0.1, 0.5, 0.99]
        for dim in (0, 1, -1, None):
            for keepdim in (False, True):
                got = getattr(mine, name)(both(qs)[0], dim, keepdim, interpolation=interpolation)
                close(got, getattr(its, name)(both(qs)[1], dim, keepdim, interpolation=interpolation))


@pytest.mark.parametrize("op", [
    lambda t, x: t.quantile(x, 0.3, 1),
    lambda t, x: t.nanquantile(x, 0.3, 1),
    lambda t, x: t.cov(x),
    lambda t, x: t.corrcoef(x),
    lambda t, x: t.diff(x, 2, 1),
    lambda t, x: t.trapezoid(x, dx=0.5),
    lambda t, x: t.cumulative_trapezoid(x, dim=0),
    lambda t, x: t.gradient(x, spacing=2.0)[1],
    lambda t, x: t.renorm(x, 2, 0, 1.0),
    lambda t, x: t.cdist(x, x[:2] * 2, 1.5),
    lambda t, x: t.dist(x, x.flip(0), 3),
    lambda t, x: t.std_mean(x, 1)[0],
    lambda t, x: t.aminmax(x, dim=1)[1],
    lambda t, x: t.nanmean(x, 1),
])  # fmt: skip
def test_composites_and_their_gradients(op: Any) -> None:
    mine, its = both(RNG.standard_normal((4, 6)))
    close(op(dumbtorch, mine), op(torch, its))
    mine.requires_grad_()
    assert gradcheck(lambda x: op(dumbtorch, x), (mine,), check_undefined_grad=False)
    assert gradgradcheck(lambda x: op(dumbtorch, x), (mine,), check_undefined_grad=False)


def test_cdist_by_product() -> None:
    mine, its = both(RNG.standard_normal((40, 5)))
    got, want = dumbtorch.cdist(mine, mine[:30]), torch.cdist(its, its[:30])
    np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64"])
def test_searchsorted(dtype: str) -> None:
    bounds, their_bounds = both(np.sort(RNG.integers(0, 50, 37)), dtype)
    values, theirs = both(RNG.integers(0, 55, (5, 13)), dtype)
    for right in (False, True):
        close(
            dumbtorch.searchsorted(bounds, values, right=right), torch.searchsorted(their_bounds, theirs, right=right)
        )
        close(dumbtorch.bucketize(values, bounds, right=right), torch.bucketize(theirs, their_bounds, right=right))
    sorter = RNG.permutation(37)
    shuffled, their_shuffled = both(their_bounds.numpy()[sorter], dtype)
    back = np.argsort(their_shuffled.numpy(), kind="stable")
    mine, its = both(back, "int64")
    close(dumbtorch.searchsorted(shuffled, values, sorter=mine), torch.searchsorted(their_shuffled, theirs, sorter=its))


def test_searchsorted_rows_and_nan() -> None:
    bounds, their_bounds = both([[1.0, 2.0, np.nan], [0.0, 5.0, 6.0]])
    values, theirs = both([[np.nan, 2.0, 1.5, 9.0], [5.0, np.nan, -1.0, 6.0]])
    for right in (False, True):
        close(
            dumbtorch.searchsorted(bounds, values, right=right), torch.searchsorted(their_bounds, theirs, right=right)
        )
    assert dumbtorch.searchsorted(dumbtorch.tensor([1, 3, 5]), 4).item() == 2
    with pytest.raises(RuntimeError, match="sorter index out of range"):
        dumbtorch.searchsorted(bounds[0], values, sorter=dumbtorch.tensor([0, 1, 3]))


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize("count", [0, 3, 40])
def test_isin(dtype: str, count: int) -> None:
    mine, its = both(RNG.integers(0, 60, (4, 9)), dtype)
    test, theirs = both(RNG.integers(0, 60, count), dtype)
    for invert in (False, True):
        close(dumbtorch.isin(mine, test, invert=invert), torch.isin(its, theirs, invert=invert))
    close(dumbtorch.isin(mine, 5), torch.isin(its, 5))


def test_isin_nan() -> None:
    mine, its = both([1.0, np.nan, 2.0])
    test, theirs = both([np.nan, 2.0, 3.0, 4.0, 5.0, np.nan])
    close(dumbtorch.isin(mine, test), torch.isin(its, theirs))


def test_histograms() -> None:
    values = RNG.standard_normal(200_000)
    values[:3] = np.nan, 3.0, -3.0
    for dtype in ("float32", "float64"):
        mine, its = both(values, dtype)
        close(mine.histc(50, -3, 3), its.histc(50, -3, 3))
        for got, want in zip(mine[3:].histogram(37), its[3:].histogram(37), strict=True):
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5)
        edges, theirs = both([-2.0, -0.5, 0.0, 0.1, 2.5], dtype)
        weight, its_weight = both(RNG.random(values.size), dtype)
        got, want = mine.histogram(edges, weight=weight, density=True), its.histogram(
            theirs, weight=its_weight, density=True
        )  # fmt: skip
        np.testing.assert_allclose(got.hist.numpy(), want.hist.numpy(), rtol=1e-4)
    mine, its = both(RNG.standard_normal((1000, 3)))
    got, want = dumbtorch.histogramdd(mine, [3, 4, 5]), torch.histogramdd(its, [3, 4, 5])
    close(got.hist, want.hist)
    for a, b in zip(got.bin_edges, want.bin_edges, strict=True):
        close(a, b)


def test_bincount() -> None:
    mine, its = both(RNG.integers(0, 100, 5000), "int64")
    close(mine.bincount(), its.bincount())
    weights, theirs = both(RNG.random(5000), "float32")
    np.testing.assert_allclose(mine.bincount(weights).numpy(), its.bincount(theirs).numpy(), rtol=1e-4)
    with pytest.raises(NotImplementedError):
        dumbtorch.bincount(weights)


@pytest.mark.parametrize("name", ["nansum", "count_nonzero"])
def test_reductions_of_many(name: str) -> None:
    values = RNG.standard_normal((300, 70, 11))
    values[RNG.random(values.shape) < 0.3] = np.nan
    values[RNG.random(values.shape) < 0.3] = 0
    for dtype in ("float32", "float64", "int64", "bool"):
        mine, its = both(np.nan_to_num(values) if dtype in ("int64", "bool") else values, dtype)
        for dim in (None, 0, 1, 2, (0, 2), (1, 2)):
            got, want = getattr(mine, name)(dim), getattr(its, name)(dim)
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-4, atol=1e-4)


def test_sum_in_a_small_integer_dtype() -> None:
    mine, its = both([100, 100, 100], "int64")
    for dtype in ("int8", "int32", "bool", "uint8"):
        close(mine.sum(dtype=getattr(dumbtorch, dtype)), its.sum(dtype=getattr(torch, dtype)))
        close(mine.prod(dtype=getattr(dumbtorch, dtype)), its.prod(dtype=getattr(torch, dtype)))


def test_cov_without_freedom_warns() -> None:
    with pytest.warns(UserWarning, match="degrees of freedom"):
        got = dumbtorch.cov(dumbtorch.tensor([[1.0], [2.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = torch.cov(torch.tensor([[1.0], [2.0]]))
    np.testing.assert_array_equal(np.isnan(got.numpy()), np.isnan(want.numpy()))
