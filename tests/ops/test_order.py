"""What the samples of the rows do not show: the order of special values, every way to sort, several results, out=."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
#: By length a row is sorted by insertion, by merging, by the highest bits, by all bits, by several threads.
LENGTHS = (1, 2, 17, 32, 33, 150, 193, 1000, 5000, 40000, 70000)
SPECIAL = [2.0, float("nan"), -0.0, 0.0, float("inf"), -1.0, float("-inf"), float("nan"), 0.0, -0.0]


def pair(values: np.ndarray, dtype: str) -> tuple[Any, Any]:
    """The same numbers for both frameworks."""
    theirs = torch.from_numpy(values).to(getattr(torch, dtype))
    if dtype == "bfloat16":
        return dumbtorch.from_numpy(theirs.float().numpy()).to(dumbtorch.bfloat16), theirs
    return dumbtorch.from_numpy(theirs.numpy().copy()), theirs


def same(mine: Any, its: Any) -> None:
    """Equal bit for bit, NaN and the signs of zeros as well."""
    if its.dtype is torch.bfloat16:
        mine, its = mine.to(dumbtorch.float32), its.float()
    a, b = mine.numpy(), its.numpy()
    np.testing.assert_array_equal(a, b)
    if a.dtype.kind == "f":
        numbers = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a)[numbers], np.signbit(b)[numbers])


def numbers(kind: str, n: int, dtype: str) -> np.ndarray:
    """Rows that are hard to sort in different ways."""
    rng = np.random.default_rng(n)
    if kind == "normal":
        values = rng.standard_normal(n) * (50 if dtype.startswith(("int", "uint")) else 1)
    elif kind == "few":
        values = rng.integers(0, 4, n).astype(np.float64)
    elif kind == "close":  # equal but for the lowest bits of a float64
        values = 1 + rng.integers(0, 1000, n) * 2.0**-50
    else:
        values = rng.standard_normal(n)
        values[rng.random(n) < 0.3] = 0.0
        values[rng.random(n) < 0.3] = -0.0
        values[rng.random(n) < 0.2] = np.nan if dtype.startswith(("float", "bfloat")) else 1
    return np.abs(values) if dtype == "uint8" else values


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "few", "close", "special"])
def test_sort(kind: str, dtype: str, descending: bool) -> None:
    for n in LENGTHS:
        mine, its = pair(numbers(kind, n, dtype), dtype)
        got, want = mine.sort(descending=descending), torch.sort(its, descending=descending, stable=True)
        same(got.values, want.values)
        same(got.indices, want.indices)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("kind", ["normal", "few", "close", "special"])
def test_selection(kind: str, dtype: str) -> None:
    """topk and kthvalue pick what the sorted tensor has there."""
    for n in (1, 40, 129, 1000, 9000, 70000):
        mine, its = pair(numbers(kind, n, dtype), dtype)
        for largest in (False, True):
            values, indices = torch.sort(its, descending=largest, stable=True)
            for k in {1, min(n, 10), min(n, 40), n // 9 + 1, n}:
                got = mine.topk(k, largest=largest)
                same(got.values, values[:k])
                same(got.indices, indices[:k])
        values, indices = torch.sort(its, stable=True)
        for k in {1, n // 3 + 1, n // 2 + 1, n}:
            got = mine.kthvalue(k)
            same(got.values, values[k - 1])
            same(got.indices, indices[k - 1])


def test_extreme_int64() -> None:
    ends = np.array([2**63 - 1, -(2**63), 0, -1, 1, 2**63 - 2, -(2**63) + 1] * 40, dtype=np.int64)
    mine, its = dumbtorch.from_numpy(ends), torch.from_numpy(ends)
    same(mine.sort().indices, torch.sort(its, stable=True).indices)
    same(mine.unique(), torch.unique(its))
    same(mine.median(), its.median())


def test_every_stride() -> None:
    """The result is dense in the order of the input's dimensions, as PyTorch's."""
    base = np.random.default_rng(0).standard_normal((4, 5, 6))
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        mine, its = dumbtorch.from_numpy(base).permute(order), torch.from_numpy(base).permute(order)
        for dim in range(3):
            got, want = mine.sort(dim), its.sort(dim)
            same(got.values, want.values)
            assert got.values.stride() == want.values.stride()
            same(mine.topk(2, dim).values, its.topk(2, dim).values)


def test_median_and_nan() -> None:
    values = np.array(SPECIAL)
    mine, its = pair(values, "float32")
    assert mine.median().isnan().item()
    assert mine.median(0).indices.item() == its.median(0).indices.item() == 1
    assert mine.nanmedian().item() == its.nanmedian().item() == 0  # of zeros of either sign
    only_nan = dumbtorch.full((3,), float("nan"))
    assert only_nan.nanmedian().isnan().item()
    assert dumbtorch.zeros(0).median().isnan().item()


def test_mode() -> None:
    mine, its = pair(np.random.default_rng(0).integers(0, 5, (7, 12)), "int64")
    for dim in (0, 1):
        got, want = mine.mode(dim), its.mode(dim)
        same(got.values, want.values)
        same(got.indices, want.indices)


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique(dtype: str) -> None:
    for n in (0, 1, 7, 300, 70000):
        mine, its = pair(numbers("few", n, dtype), dtype)
        for got, want in zip(mine.unique(True, True, True), its.unique(True, True, True), strict=True):
            same(got, want)
        for got, want in zip(
            mine.unique_consecutive(True, True), torch.unique_consecutive(its, True, True), strict=True
        ):
            same(got, want)


def test_unique_of_nan_and_shape() -> None:
    mine, its = pair(np.array(SPECIAL * 2).reshape(4, 5), "float64")
    got, want = mine.unique(return_inverse=True), its.unique(return_inverse=True)
    np.testing.assert_array_equal(got[0].numpy(), want[0].numpy())
    assert got[1].shape == want[1].shape


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_unique_slices(dim: int) -> None:
    values = np.random.default_rng(0).integers(-1, 2, (5, 40, 2))
    for dtype in ("int64", "float32"):
        mine, its = pair(values, dtype)
        for got, want in zip(mine.unique(True, True, True, dim), its.unique(True, True, True, dim), strict=True):
            same(got, want)
        for got, want in zip(
            mine.unique_consecutive(True, True, dim), torch.unique_consecutive(its, True, True, dim), strict=True
        ):
            same(got, want)


def test_named_results() -> None:
    result = dumbtorch.sort(dumbtorch.tensor([3.0, 1.0]))
    assert isinstance(result, dumbtorch.return_types.sort)
    assert isinstance(result, tuple)
    assert repr(result) == repr(torch.sort(torch.tensor([3.0, 1.0])))
    values, indices = result
    assert values is result.values
    assert indices is result.indices
    assert pickle.loads(pickle.dumps(result)).values.tolist() == [1.0, 3.0]
    with pytest.raises(TypeError, match="takes a 2-sequence"):
        dumbtorch.return_types.sort((1,))


def test_out() -> None:
    x = dumbtorch.tensor([3.0, 1.0, 2.0])
    values, indices = dumbtorch.empty(0), dumbtorch.empty(0, dtype=dumbtorch.int64)
    result = dumbtorch.topk(x, 2, out=(values, indices))
    assert result[0] is values
    assert values.tolist() == [3.0, 2.0]
    assert indices.tolist() == [0, 2]
    with pytest.raises(RuntimeError, match="dtype"):
        dumbtorch.sort(x, out=(dumbtorch.empty(0, dtype=dumbtorch.int32), indices))
    with pytest.raises(TypeError):
        dumbtorch.sort(x, out=values)
    with pytest.raises(RuntimeError, match="differentiation"):
        dumbtorch.sort(x, out=(dumbtorch.empty(0, requires_grad=True), indices))
    with pytest.warns(UserWarning, match="resized"):
        dumbtorch.sort(x, out=(dumbtorch.empty(2), indices))


def test_refusals() -> None:
    with pytest.raises(RuntimeError, match="complex"):
        dumbtorch.sort(dumbtorch.zeros(2, dtype=dumbtorch.complex64))
    with pytest.raises(RuntimeError, match="bool"):
        dumbtorch.topk(dumbtorch.zeros(2, dtype=dumbtorch.bool), 1)
    with pytest.raises(NotImplementedError, match="median_cpu"):
        dumbtorch.median(dumbtorch.zeros(2, dtype=dumbtorch.bool))


@pytest.mark.parametrize("kind", ["normal", "few", "special"])
def test_threads_change_nothing(kind: str) -> None:
    values = dumbtorch.from_numpy(numbers(kind, 200_000, "float64"))
    before = dumbtorch.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        dumbtorch.set_num_threads(threads)
        results.append(values.sort())
    dumbtorch.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result.indices.numpy(), results[0].indices.numpy())
