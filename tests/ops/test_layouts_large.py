"""Operands that run along different dimensions, and results too large for the caches: other ways through the loop."""

from __future__ import annotations

import numpy as np
import pytest

import dumbtorch as torch


@pytest.fixture(params=[1, 2])
def threads(request):
    """The number of threads during a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("float64", "float32"), ("int8", "int8"), ("int16", "float64")]
)
@pytest.mark.parametrize("shape", [(64, 64), (17, 300), (300, 17), (1000, 257), (1025, 64)])
def test_transposed_operand(threads, shape, dtypes):
    rows, columns = shape
    random = np.random.default_rng(0)
    a = random.integers(0, 50, (rows, columns)).astype(dtypes[0])
    b = random.integers(0, 50, (columns, rows)).astype(dtypes[1])
    ours = torch.from_numpy(a) + torch.from_numpy(b).t()
    np.testing.assert_array_equal(ours.numpy(), a + b.T)
    ours = torch.from_numpy(b).t() * 2 - torch.from_numpy(a)
    np.testing.assert_array_equal(ours.numpy(), b.T * 2 - a)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_permuted_operand(threads, order):
    random = np.random.default_rng(0)
    a = random.standard_normal((19, 40, 70), dtype=np.float32)
    shape = [0, 0, 0]
    for place, dim in enumerate(order):
        shape[dim] = a.shape[place]
    b = random.standard_normal(shape, dtype=np.float32)
    row = random.standard_normal((40, 1), dtype=np.float32)
    ours = torch.where(
        torch.from_numpy(a) > torch.from_numpy(row), torch.from_numpy(b).permute(*order), torch.from_numpy(a)
    )
    np.testing.assert_array_equal(ours.numpy(), np.where(a > row, b.transpose(order), a))


def test_result_in_a_transposed_tensor(threads):
    random = np.random.default_rng(0)
    a = random.standard_normal((200, 130), dtype=np.float32)
    b = random.standard_normal((200, 130), dtype=np.float32)
    out = torch.zeros(130, 200).t()
    torch.mul(torch.from_numpy(a), torch.from_numpy(b), out=out)
    np.testing.assert_array_equal(out.numpy(), a * b)


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_results_larger_than_the_caches(threads, offset):
    n = 4_200_000
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(n + offset, dtype=np.float32) for _ in range(2))
    x, y = torch.from_numpy(a)[offset:], torch.from_numpy(b)
    out = torch.zeros(n + offset + 3)
    torch.add(x, y[:n], out=out[offset : offset + n])
    expected = np.zeros(n + offset + 3, np.float32)
    expected[offset : offset + n] = a[offset:] + b[:n]
    np.testing.assert_array_equal(out.numpy(), expected)
    torch.add(out, out, out=out)  # in place
    np.testing.assert_array_equal(out.numpy(), 2 * expected)


@pytest.mark.parametrize("offset", [0, 3])
def test_large_copies(threads, offset):
    n = 4_200_000
    a = np.random.default_rng(0).standard_normal(n + offset, dtype=np.float32)
    x = torch.from_numpy(a)
    out = torch.ones(n + 8)
    out[offset : n + offset].copy_(x[offset:])
    np.testing.assert_array_equal(out.numpy()[offset : n + offset], a[offset:])
    assert out[n + offset :].sum().item() == 8 - offset
    np.testing.assert_array_equal(x.to(torch.float64).numpy(), a.astype(np.float64))
    np.testing.assert_array_equal((x * 1000).to(torch.int32).numpy(), (a * np.float32(1000)).astype(np.int32))
    out[1:].fill_(3)
    assert (out[1:] == 3).all().item() and out[0].item() == (a[0] if offset == 0 else 1)
