"""Kernels with a fast way for what is usual, against PyTorch where they leave it and at the edges of their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

Pair = tuple[Any, Any]
DTYPES = ("float32", "float64", "int64", "int16", "uint8", "bool", "complex64", "complex128")


def pair(values: Any) -> Pair:
    """The same tensor of both libraries."""
    return dumbtorch.from_numpy(values.copy()), torch.from_numpy(values.copy())


def check(ours: Any, theirs: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal shapes, dtypes and values."""
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol)


def numbers(*shape: int, dtype: str = "float32", scale: float = 1.0, seed: int = 0) -> Any:
    """Normal numbers, cast."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_repeated(dtype: str) -> None:
    ours, theirs = pair(numbers(3, 37, dtype=dtype, scale=50))
    for times in (0, 1, 2, 3, 4, 5, 8, 9, 16, 17):
        for dim in (0, 1, None):
            check(ours.repeat_interleave(times, dim), theirs.repeat_interleave(times, dim))
        check(ours.t().repeat_interleave(times, 1), theirs.t().repeat_interleave(times, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 17, 1000])
def test_running_logarithms_of_sums(n: int, dtype: str) -> None:
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for scale in (1, 30, 300):
        values = numbers(n, dtype=dtype, scale=scale)
        for special in (None, np.inf, -np.inf, np.nan):
            if special is not None and n > 9:
                values[9] = special
            ours, theirs = pair(values)
            check(ours.logcumsumexp(0), theirs.logcumsumexp(0), tolerance, tolerance)
    values = np.full(n, -np.inf, dtype)
    ours, theirs = pair(values)
    check(ours.logcumsumexp(0), theirs.logcumsumexp(0))
    steep = np.linspace(-700, 700, n).astype(dtype)
    ours, theirs = pair(steep)
    check(ours.logcumsumexp(0), theirs.logcumsumexp(0), tolerance, tolerance)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.startswith("complex")])
@pytest.mark.parametrize("n", [0, 1, 16, 17, 1000])
def test_running_extremes_of_a_line(n: int, dtype: str) -> None:
    for kind in ("random", "ascending", "few", "nan"):
        values = numbers(n, dtype=dtype, scale=3)
        if kind == "ascending":
            values = np.sort(values)
        elif kind == "few":
            values = values.astype("int8").astype(dtype)
        elif kind == "nan" and dtype.startswith("float") and n > 40:
            values[40] = np.nan
        ours, theirs = pair(values)
        for name in ("cummax", "cummin"):
            for a, b in zip(getattr(ours, name)(0), getattr(theirs, name)(0), strict=True):
                check(a, b)


@pytest.mark.parametrize("n", [0, 1, 65536, 65537, 150000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_masks(n: int, share: float) -> None:
    rng = np.random.default_rng(n)
    ours, theirs = pair(rng.random(n) < share)
    check(ours.nonzero(), theirs.nonzero())
    for dtype in ("uint8", "int16", "float32", "float64", "complex128"):
        mine, its = pair(numbers(n, dtype=dtype, scale=9))
        check(mine[ours], its[theirs])
        mine[ours] = 7
        its[theirs] = 7
        check(mine, its)


def test_places_of_a_matrix_lie_as_in_pytorch() -> None:
    ours, theirs = pair(np.random.default_rng(0).random((40, 50)) < 0.3)
    check(ours.nonzero(), theirs.nonzero())
    assert ours.nonzero().stride() == theirs.nonzero().stride()
    assert ours.reshape(-1).nonzero().stride() == theirs.reshape(-1).nonzero().stride()


@pytest.mark.parametrize("n", [0, 1, 4096, 4097, 60000])
@pytest.mark.parametrize("high", [1, 10, 100000])
def test_counts(n: int, high: int) -> None:
    rng = np.random.default_rng(n)
    ours, theirs = pair(rng.integers(0, high, n))
    weights, their_weights = pair(numbers(n, dtype="float64"))
    for least in (0, 30):
        check(ours.bincount(minlength=least), theirs.bincount(minlength=least))
        check(ours.bincount(weights, least), theirs.bincount(their_weights, least), 1e-12, 1e-12)
    check(ours.bincount(weights.float()), theirs.bincount(their_weights.float()), 1e-4, 1e-4)


def test_counts_of_negative_numbers_are_refused() -> None:
    for place in (0, 9, 5000):
        values = np.ones(6000, "int64")
        values[place] = -1
        with pytest.raises(RuntimeError, match="non-negative"):
            dumbtorch.from_numpy(values).bincount()


@pytest.mark.parametrize("m", [1, 2, 16, 17, 33, 1000])
@pytest.mark.parametrize("kind", ["sorted", "nan", "unsorted"])
def test_searches(m: int, kind: str) -> None:
    bounds = np.sort(numbers(m)).round(1)
    if kind == "nan":
        bounds[-1] = np.nan
    elif kind == "unsorted":
        np.random.default_rng(m).shuffle(bounds)
    values = numbers(777, seed=1).round(1)
    values[:3] = [np.nan, np.inf, -np.inf]
    (ours, theirs), (mine, its) = pair(bounds), pair(values)
    for right in (False, True):
        check(dumbtorch.searchsorted(ours, mine, right=right), torch.searchsorted(theirs, its, right=right))


@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 4, 10), (2, 3, 70, 90), (2, 3, 4, 5, 6)])
def test_padding(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    for dtype in ("float32", "uint8", "int16", "complex128"):
        ours, theirs = pair(numbers(*shape, dtype=dtype, scale=9))
        for count in range(1, len(shape) + 1):
            for low in (-1, 0):
                pad = [int(n) for n in rng.integers(low, 3, 2 * count)]
                for a, b in (
                    ((ours, theirs), (ours.mT.contiguous().mT, theirs.mT.contiguous().mT))
                    if ours.ndim > 1
                    else ((ours, theirs),)
                ):
                    mine = dumbtorch.nn.functional.pad(a, pad, value=3)
                    check(mine, torch.nn.functional.pad(b, pad, value=3))


def test_logit_is_exact_about_one_half() -> None:
    # there it is 4 (x - 1/2) but for a relative error of the square
    distance = np.arange(-1000, 1000) * 2.0**-53
    values = dumbtorch.from_numpy(0.5 + distance).logit().numpy()
    np.testing.assert_allclose(values, 4 * distance, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool", "bfloat16"])
def test_both_extremes_in_one_pass(dtype: str) -> None:
    values = torch.from_numpy(numbers(3, 200_001, scale=40)).to(getattr(torch, dtype))
    mine = dumbtorch.from_dlpack(values) if dtype != "bool" else dumbtorch.from_numpy(values.numpy())
    for a, b in zip(mine.aminmax(), values.aminmax(), strict=True):
        assert a.item() == b.item()
    if dtype == "float32":
        mine[2, 5] = float("nan")
        assert all(x.isnan().item() for x in mine.aminmax())


SPECIAL = (0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 0.5, 800.0, -800.0)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_sums_of_complex_exponentials(dtype: str) -> None:
    rtol, atol = (1e-4, 1e-5) if dtype == "complex64" else (1e-10, 1e-10)
    values = numbers(5, 70, dtype="float64", scale=3) + 1j * numbers(5, 70, dtype="float64", scale=3, seed=1)
    ours, theirs = pair(values.astype(dtype))
    for dim in (0, 1):
        check(ours.logcumsumexp(dim), theirs.logcumsumexp(dim), rtol, atol)
    for dims in (0, 1, (0, 1)):
        check(ours.logsumexp(dims), theirs.logsumexp(dims), rtol, atol)
    check(dumbtorch.logaddexp(ours, ours.flip(1)), torch.logaddexp(theirs, theirs.flip(1)), rtol, atol)
    check(dumbtorch.sinc(ours / 3), torch.sinc(theirs / 3), rtol, atol)
    shifted, its = ours - 2000, theirs - 2000
    check(shifted.logsumexp(1), its.logsumexp(1), rtol, atol)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_logaddexp_of_special_complex_numbers(dtype: str) -> None:
    table = np.array([complex(a, b) for a in SPECIAL for b in SPECIAL]).astype(dtype)
    x, y = (part.ravel() for part in np.meshgrid(table, table))
    (a, b), (c, d) = pair(x), pair(y)
    ours, theirs = dumbtorch.logaddexp(a, c).numpy(), torch.logaddexp(b, d).numpy()
    finite = np.isfinite(x) & np.isfinite(y)
    np.testing.assert_allclose(ours[finite], theirs[finite], rtol=1e-5, atol=1e-5)
    lost = np.isnan(x) | np.isnan(y)
    assert np.isnan(ours[lost].real).all() and np.isnan(ours[lost].imag).all()


def test_parts_of_numbers_keep_the_order_of_dimensions() -> None:
    ours, theirs = pair(numbers(6, 5, 4, scale=9))
    views = [
        lambda x: x,
        lambda x: x.permute(2, 0, 1),
        lambda x: x[::2].transpose(0, 2),
        lambda x: x[:1].expand(3, 5, 4),
        lambda x: x[0, 0, 0],
        lambda x: x[:0].mT,
    ]
    for view in views:
        for a, b in zip(dumbtorch.frexp(view(ours)), torch.frexp(view(theirs)), strict=True):
            check(a, b)
            assert a.stride() == b.stride()
