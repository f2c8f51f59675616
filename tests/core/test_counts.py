"""Poisson, binomial, gamma and Dirichlet numbers: goodness of fit, reproducibility, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import dumbtorch as dt

N = 40_000


@pytest.fixture(autouse=True)
def _seeded() -> None:
    dt.manual_seed(20260102)


def fits(values: Any, distribution: Any) -> None:
    """Chi-square over the values that are expected at least ten times; 1e-6 is the chance of a false alarm."""
    drawn = np.asarray(values.tolist())
    assert (drawn == np.floor(drawn)).all()
    low, high = int(distribution.ppf(1e-4)), int(distribution.ppf(1 - 1e-4))
    edges = np.arange(low, high + 1)
    expected = distribution.pmf(edges) * N
    inner = expected >= 10
    counts = np.array([(drawn == k).sum() for k in edges])[inner]
    rest = max(N - expected[inner].sum(), 1e-9)
    counts, expected = np.append(counts, N - counts.sum()), np.append(expected[inner], rest)
    if rest < 10:
        counts, expected = counts[:-1], expected[:-1] * counts[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(counts, expected).pvalue > 1e-6


@pytest.mark.parametrize("rate", [0.3, 4.0, 9.9, 10.0, 60.0, 3000.0])
def test_poisson(rate: float) -> None:
    drawn = dt.poisson(dt.full((N,), rate, dtype=dt.float64))
    if rate > 100:  # too many values to count: its root mean square deviations
        values = np.asarray(drawn.tolist())
        assert abs(values.mean() - rate) < 5 * (rate / N) ** 0.5
        assert abs(values.var() / rate - 1) < 5 * (2 / N) ** 0.5
        return
    fits(drawn, stats.poisson(rate))


@pytest.mark.parametrize(("count", "p"), [(1, 0.3), (20, 0.2), (20, 0.8), (100, 0.5), (400, 0.1), (1000, 0.95)])
def test_binomial(count: int, p: float) -> None:
    drawn = dt.binomial(dt.full((N,), float(count)), dt.full((N,), p))
    fits(drawn, stats.binom(count, float(np.float32(p))))


@pytest.mark.parametrize("shape", [0.05, 0.7, 1.0, 3.5, 200.0])
def test_gamma(shape: float) -> None:
    drawn = np.asarray(dt._standard_gamma(dt.full((N,), shape, dtype=dt.float64)).tolist())
    assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > 1e-6


def test_dirichlet() -> None:
    alpha = dt.tensor([0.5, 1.0, 3.0], dtype=dt.float64).expand(N, 3)
    drawn = np.asarray(dt._sample_dirichlet(alpha).tolist())
    assert np.allclose(drawn.sum(1), 1)
    for k, a in enumerate((0.5, 1.0, 3.0)):
        assert stats.kstest(drawn[:, k], stats.beta(a, 4.5 - a).cdf).pvalue > 1e-6


def test_same_numbers_for_any_number_of_threads() -> None:
    before = dt.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 4):
            dt.set_num_threads(threads)
            g = dt.Generator().manual_seed(5)
            rates = dt.full((20_001,), 7.0)
            results.append(
                [
                    dt.poisson(rates, g).tolist(),
                    dt.binomial(rates * 5, rates * 0 + 0.4, g).tolist(),
                    dt._standard_gamma(rates, g).tolist(),
                ]
            )
    finally:
        dt.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_ends_and_layouts() -> None:
    assert dt.poisson(dt.zeros(3)).tolist() == [0, 0, 0]
    assert dt.poisson(dt.empty(0, 2)).shape == (0, 2)
    assert dt.poisson(dt.tensor(4.0, dtype=dt.float16)).dtype is dt.float16
    counts, p = dt.tensor([5.0, 5.0, 0.0, -1.0, float("nan")]), dt.tensor([0.0, 1.0, 0.5, 0.5, 0.5])
    assert dt.binomial(counts, p).tolist()[:4] == [0, 5, 0, 0]
    assert dt.binomial(counts, p).isnan().tolist() == [False] * 4 + [True]
    assert dt.binomial(dt.full((2, 1), 3.0), dt.full((4,), 1.0)).tolist() == [[3.0] * 4] * 2
    rates = dt.arange(12.0).reshape(3, 4)
    assert dt.poisson(rates.t(), dt.Generator().manual_seed(1)).tolist() == (
        dt.poisson(rates.t().contiguous(), dt.Generator().manual_seed(1)).tolist()
    )
    x = dt.ones(3, requires_grad=True)
    dt.poisson(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="expected rate to be non-negative"):
        dt.poisson(dt.tensor([1.0, -1.0]))
    with pytest.raises(NotImplementedError, match="poisson_cpu"):
        dt.poisson(dt.ones(2, dtype=dt.int64))
    with pytest.raises(ValueError, match="floating-point dtypes for count"):
        dt.binomial(dt.ones(2, dtype=dt.int64), dt.ones(2))
    with pytest.raises(RuntimeError, match="Found dtype Double"):
        dt.binomial(dt.ones(2), dt.ones(2, dtype=dt.float64))
