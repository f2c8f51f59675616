"""Rows of every length: whole vectors, the elements after them, NaN and infinities; softmax along other dimensions."""

from __future__ import annotations

import numpy as np
import pytest

import dumbtorch as torch

LENGTHS = [1, 3, 15, 16, 17, 63, 64, 65, 130, 1000]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_reductions_of_rows(n, dtype):
    a = (np.random.default_rng(n).standard_normal((7, n)) * 50).astype(dtype)
    x = torch.from_numpy(a)
    np.testing.assert_array_equal(x.amax(1).numpy(), a.max(1))
    np.testing.assert_array_equal(x.amin(1).numpy(), a.min(1))
    np.testing.assert_allclose(x.sum(1).numpy(), a.sum(1, dtype="float64"), rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal((x != 0).all(1).numpy(), (a != 0).all(1))
    np.testing.assert_array_equal((x[:, : n // 2] > 40).any(1).numpy(), (a[:, : n // 2] > 40).any(1))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("where", [0, -1])
def test_nan_and_infinity_in_extremes(n, where):
    x = torch.full((3, n), float("-inf"))
    assert x.amax(1).tolist() == [float("-inf")] * 3
    x[1, where] = float("nan")
    x[2, where] = float("inf")
    high, low = x.amax(1), x.amin(1)
    assert high[1].isnan().item() and low[1].isnan().item()
    assert high[0].item() == float("-inf") and high[2].item() == float("inf")


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_softmax_of_rows_and_columns(n, dtype):
    a = np.random.default_rng(n).standard_normal((5, n)).astype(np.float32) * 4
    kind = getattr(torch, dtype)
    x = torch.from_numpy(a).to(kind)
    e = np.exp(x.to(torch.float64).numpy() - a.max(1, keepdims=True))
    expected = e / e.sum(1, keepdims=True)
    bound = {"float32": 5e-6, "float64": 1e-12, "bfloat16": 1e-2, "float16": 2e-3}[dtype]
    for row, column in ((x.softmax(1), x.t().contiguous().softmax(0).t()),):
        for made in (row, column):
            np.testing.assert_allclose(made.to(torch.float64).numpy(), expected, rtol=bound, atol=bound / 10)
    logs = x.t().contiguous().log_softmax(0).t().to(torch.float64).numpy()
    np.testing.assert_allclose(logs, np.log(expected), rtol=bound, atol=20 * bound)


@pytest.mark.parametrize("n", [3, 16, 40])
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_of_special_rows(n, dim):
    x = torch.zeros(4, n)
    x[0] = float("-inf")
    x[1, 1] = float("nan")
    x[2, 2] = float("inf")
    x[3, 0] = float("-inf")
    y = x.softmax(1) if dim else x.t().contiguous().softmax(0).t()
    assert y[:3].isnan().any(1).all().item() and y[0].isnan().all().item() and y[1].isnan().all().item()
    assert y[3, 0].item() == 0 and abs(y[3].sum().item() - 1) < 1e-6
