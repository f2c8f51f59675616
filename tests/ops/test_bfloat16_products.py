"""Products of bfloat16: blocks of every shape at the edges, layouts, alpha, beta and bias."""

from __future__ import annotations

import numpy as np
import pytest

import dumbtorch as torch

SIZES = [(64, 64, 64), (33, 40, 65), (100, 31, 70), (17, 300, 33), (96, 128, 256), (512, 48, 31), (40, 17, 1000)]


def _matrix(seed, *shape):
    """Small integers, so that sums are exact in float32."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def _check(ours, expected):
    assert ours.dtype is torch.bfloat16
    expected = torch.from_numpy(np.ascontiguousarray(expected)).to(torch.bfloat16)
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_layouts(size, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    m, n, k = size
    a, b, bias = _matrix(0, m, k), _matrix(1, k, n), _matrix(2, n)
    x, y = torch.from_numpy(a).to(torch.bfloat16), torch.from_numpy(b).to(torch.bfloat16)
    across_x, across_y = x.t().contiguous().t(), y.t().contiguous().t()
    for left in (x, across_x):
        for right in (y, across_y):
            _check(left @ right, a @ b)
    z = torch.from_numpy(bias).to(torch.bfloat16)
    _check(torch.nn.functional.linear(x, y.t(), z), a @ b + bias)
    c = _matrix(3, m, n)
    _check(torch.addmm(torch.from_numpy(c).to(torch.bfloat16), x, y, beta=2, alpha=0.5), 0.5 * (a @ b) + 2 * c)
    out = torch.zeros(n, m, dtype=torch.bfloat16).t()
    torch.matmul(x, y, out=out)
    _check(out, a @ b)
    torch.set_num_threads(before)


def test_batches():
    a, b = _matrix(0, 5, 48, 64), _matrix(1, 5, 64, 33)
    _check(torch.bmm(torch.from_numpy(a).to(torch.bfloat16), torch.from_numpy(b).to(torch.bfloat16)), a @ b)


def test_not_finite():
    x = torch.ones(64, 64, dtype=torch.bfloat16)
    x[3, 5] = float("inf")
    x[7, 9] = float("nan")
    r = (x @ torch.ones(64, 64, dtype=torch.bfloat16)).to(torch.float32).numpy()
    assert np.isinf(r[3]).all() and np.isnan(r[7]).all() and (r[0] == 64).all()
