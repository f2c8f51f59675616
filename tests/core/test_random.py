"""Random numbers: known answers, reproducibility, distributions, generators, dropout.

Statistics are computed with fixed seeds, so that they pass or fail for ever; the limits are far in the tails (a false
alarm has a chance of about 1e-6).
"""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import dumbtorch as dt
from dumbtorch import ops
from dumbtorch.autograd import gradcheck
from dumbtorch.random import default_generator, fork_rng

FLOATS = (dt.float16, dt.bfloat16, dt.float32, dt.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    dt.manual_seed(20260101)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = dt.get_num_threads()
    yield
    dt.set_num_threads(before)


def array(t: Any) -> np.ndarray:
    return np.asarray(t.to(dt.float64).tolist())


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.asarray([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def kolmogorov(values: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """The distance of the samples from a distribution, times sqrt(n): 2.7 has a chance of 1e-6."""
    x = np.sort(values)
    n = len(x)
    at = cdf(x)
    steps = np.arange(n)
    return float(max(np.max(at - steps / n), np.max((steps + 1) / n - at)) * math.sqrt(n))


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """Standard deviations above the mean of chi-square (Wilson and Hilferty)."""
    k = len(counts) - 1
    value = float(((counts - expected) ** 2 / expected).sum())
    return float(((value / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k)))


# ---------------------------------------------------------------- Philox


def philox_block(seed: int, block: int) -> list[int]:
    """Philox4x32-10 as its authors define it, one word at a time."""
    word = 2**32
    c = [block % word, block // word, 0, 0]
    k = [seed % word, seed // word]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 // word) ^ c[1] ^ k[0], p1 % word, (p0 // word) ^ c[3] ^ k[1], p0 % word]
        k = [(k[0] + 0x9E3779B9) % word, (k[1] + 0xBB67AE85) % word]
    return c


def raw_words(generator: Any, n: int) -> list[int]:
    t = dt.empty(n, dtype=dt.int64).random_(-(2**63), None, generator=generator)
    return [(v + 2**63) % 2**64 for v in t.tolist()]


def test_known_answers() -> None:
    """The vectors published with the algorithm, and an independent implementation."""
    assert philox_block(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    for seed in (0, 1, 0x1BD11BDAA9FC1A22, 2**64 - 1):
        generator = dt.Generator().manual_seed(seed)
        words = raw_words(generator, 16) + raw_words(generator, 16)
        for call in range(2):
            for lane in range(8):
                c = philox_block(seed, 8 * call + lane)
                assert words[16 * call + lane] == c[0] | c[1] << 32
                assert words[16 * call + 8 + lane] == c[2] | c[3] << 32


def test_counter_past_32_bits() -> None:
    generator = dt.Generator().manual_seed(5)
    generator._set(5, 2**32 - 4)
    words = raw_words(generator, 16)
    for lane in range(8):
        c = philox_block(5, 2**32 - 4 + lane)
        assert words[lane] == c[0] | c[1] << 32


def test_uniform_comes_from_the_words() -> None:
    x = dt.rand(40, generator=dt.Generator().manual_seed(9)).tolist()
    for i in range(40):
        c = philox_block(9, 8 * (i // 32) + i % 16 // 2)
        assert x[i] == (c[2 * (i % 32 // 16) + i % 2] >> 8) / 2**24


# ---------------------------------------------------------------- reproducibility


def everything() -> list[Any]:
    """One draw of each kind, large enough for several threads."""
    n = 100_003
    p = dt.full((n,), 0.3)
    drawn = [dt.rand(n), dt.randn(n), dt.rand(n, dtype=dt.float64), dt.randn(n, dtype=dt.bfloat16), dt.randperm(n)]
    drawn += [dt.randint(-5, 1000, (n,)), dt.bernoulli(p), dt.empty(n).bernoulli_(0.2), dt.empty(n).exponential_()]
    drawn += [dt.dropout(p, 0.4, True), dt.multinomial(p[:50], 20), dt.multinomial(p[:50], 100, True)]
    drawn += [dt.empty(n).cauchy_(), dt.empty(n).log_normal_(), dt.empty(n).geometric_(0.1), dt.randint(2**40, (n,))]
    return [t.tolist() for t in drawn]


def test_same_numbers_for_any_number_of_threads(restored_threads: None) -> None:
    results = []
    for threads in (1, 2, 4):
        dt.set_num_threads(threads)
        dt.manual_seed(3)
        results.append(everything())
    assert results[0] == results[1]
    assert results[0] == results[2]
    assert results[0][0] != results[0][2]


def test_same_numbers_in_another_process() -> None:
    code = "import dumbtorch as t; t.manual_seed(11); "
    code += "print(t.rand(5).tolist(), t.randn(5).tolist(), t.randperm(9).tolist())"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    dt.manual_seed(11)
    assert out.strip() == f"{dt.rand(5).tolist()} {dt.randn(5).tolist()} {dt.randperm(9).tolist()}"


def test_layout_does_not_matter() -> None:
    """Element i of a tensor gets number i, whatever its strides."""
    generator = dt.Generator()
    plain = dt.empty(30, 40).normal_(generator=generator.manual_seed(1))
    turned = dt.empty(40, 30).t().normal_(generator=generator.manual_seed(1))
    spread = dt.empty(30, 80)[:, ::2].normal_(generator=generator.manual_seed(1))
    assert plain.tolist() == turned.tolist() == spread.tolist()


def test_calls_go_on_and_seeds_differ() -> None:
    a, b = dt.rand(100).tolist(), dt.rand(100).tolist()
    dt.manual_seed(20260102)
    assert len({*a, *b, *dt.rand(100).tolist()}) > 290


# ---------------------------------------------------------------- generators


def test_generator_state() -> None:
    g = dt.Generator()
    assert g.device == dt.device("cpu")
    assert g.initial_seed() == dt.Generator().initial_seed()
    assert g.manual_seed(-1) is g
    assert g.initial_seed() == 2**64 - 1
    dt.rand(1000, generator=g)
    state = g.get_state()
    assert state.dtype is dt.uint8
    first = dt.randn(7, generator=g).tolist()
    g.set_state(state)
    assert dt.randn(7, generator=g).tolist() == first
    for twin in (pickle.loads(pickle.dumps(g)), copy.deepcopy(g), g.clone_state()):
        assert twin.get_state().tolist() == g.get_state().tolist()
    other = g.clone_state()
    dt.rand(5, generator=g)
    assert other.get_state().tolist() != g.get_state().tolist()
    assert g.seed() == g.initial_seed()


def test_generator_errors() -> None:
    g = dt.Generator()
    with pytest.raises(ValueError, match="Overflow"):
        g.manual_seed(2**64)
    with pytest.raises(ValueError, match="invalid literal"):
        dt.manual_seed("a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state(dt.zeros(16))
    with pytest.raises(RuntimeError, match="size"):
        g.set_state(dt.zeros(3, dtype=dt.uint8))
    for wrong in (3, "cpu", dt.zeros(2)):
        with pytest.raises(TypeError, match="Generator"):
            dt.rand(2, generator=wrong)


def test_default_generator() -> None:
    assert dt.manual_seed(4) is default_generator
    assert dt.initial_seed() == 4
    state = dt.get_rng_state()
    a = dt.rand(3).tolist()
    dt.set_rng_state(state)
    assert dt.rand(3, generator=default_generator).tolist() == a
    dt.rand(5, generator=dt.Generator())  # another generator leaves the default one alone
    dt.set_rng_state(state)
    with fork_rng():
        dt.manual_seed(1)
        dt.rand(10)
    assert dt.rand(3).tolist() == a
    assert dt.seed() == dt.initial_seed()


# ---------------------------------------------------------------- distributions


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform(dtype: Any) -> None:
    x = array(dt.rand(50_000, dtype=dtype))
    assert x.min() >= 0
    assert x.max() < 1
    if dtype in (dt.float32, dt.float64):
        assert kolmogorov(x, lambda v: v) < 2.7
    else:
        counts = np.histogram(x, 64, (0, 1))[0]
        assert abs(chi_square(counts, np.full(64, 50_000 / 64))) < 5
    y = array(dt.empty(50_000, dtype=dtype).uniform_(-3, 5))
    assert y.min() >= -3
    assert y.max() < 5
    assert abs(y.mean() - 1) < 5 * 8 / math.sqrt(12 * 50_000)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform_never_reaches_the_upper_end(dtype: Any) -> None:
    """Where rounding would."""
    x = dt.empty(100_000, dtype=dtype).uniform_(1, 1 + 2 * dt.finfo(dtype).eps)
    assert set(array(x).tolist()) <= {1.0, 1 + dt.finfo(dtype).eps}
    assert array(dt.empty(10, dtype=dtype).uniform_(2, 2)).tolist() == [2.0] * 10


def test_double_has_53_bits() -> None:
    x = array(dt.rand(1000, dtype=dt.float64)) * 2**53
    assert (x == np.floor(x)).all()
    assert (x % 2 == 1).sum() > 400
    assert len(set(x.tolist())) == 1000


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normal(dtype: Any) -> None:
    x = array(dt.randn(60_000, dtype=dtype))
    if dtype in (dt.float32, dt.float64):
        assert kolmogorov(x, normal_cdf) < 2.7
    edges = np.linspace(-3, 3, 25) + 1 / 512  # between the numbers of the half types
    counts = np.histogram(x, edges)[0]
    expected = np.diff(normal_cdf(edges)) * len(x)
    assert chi_square(counts, expected) < 5
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / len(x))
    y = array(dt.empty(60_000, dtype=dtype).normal_(5, 0.5))
    assert abs(y.mean() - 5) < 0.02
    assert abs(y.std() - 0.5) < 0.02


def test_normal_tails_and_pairs() -> None:
    """Box and Muller's two numbers are independent, and the tails are there."""
    x = array(dt.randn(2_000_000))
    for limit in (3.0, 4.0):
        expected = len(x) * math.erfc(limit / math.sqrt(2))
        assert abs((abs(x) > limit).sum() - expected) < 6 * math.sqrt(expected)
    assert abs(x).max() < 6.8
    pairs = x.reshape(-1, 2, 16)
    for shift in range(3):
        other = np.roll(pairs[:, 1], shift, axis=1)
        assert abs(np.corrcoef(pairs[:, 0].ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(1e6)
        assert abs(np.corrcoef(pairs[:, 0].ravel() ** 2, other.ravel() ** 2)[0, 1]) < 5 / math.sqrt(1e6)


def test_complex_normal() -> None:
    x = np.asarray(dt.randn(50_000, dtype=dt.complex64).tolist())
    assert abs((abs(x) ** 2).mean() - 1) < 0.03
    assert abs((x.real * x.imag).mean()) < 0.02


def test_other_distributions() -> None:
    n = 50_000
    e = array(dt.empty(n, dtype=dt.float64).exponential_(2.5))
    assert e.min() > 0
    assert kolmogorov(e, lambda v: 1 - np.exp(-2.5 * v)) < 2.7
    e = array(dt.empty(n).exponential_())
    assert e.min() > 0
    assert kolmogorov(e, lambda v: 1 - np.exp(-v)) < 2.7
    c = array(dt.empty(n, dtype=dt.float64).cauchy_(1, 2))
    assert kolmogorov(c, lambda v: np.arctan((v - 1) / 2) / np.pi + 0.5) < 2.7
    logs = np.log(array(dt.empty(n, dtype=dt.float64).log_normal_(0.5, 0.25)))
    assert kolmogorov((logs - 0.5) / 0.25, normal_cdf) < 2.7
    for dtype in (dt.int64, dt.float32):
        g = array(dt.empty(n, dtype=dtype).geometric_(0.3))
        assert g.min() == 1
        counts = np.asarray([(g == k).sum() for k in range(1, 12)])
        expected = np.asarray([n * 0.3 * 0.7 ** (k - 1) for k in range(1, 12)])
        assert chi_square(counts, expected) < 5


def test_streams_are_independent() -> None:
    """Neighbouring seeds, and one seed's calls."""
    draws = [array(dt.rand(4096, generator=dt.Generator().manual_seed(s))) for s in range(20)]
    generator = dt.Generator().manual_seed(0)
    dt.rand(4096, generator=generator)
    draws += [array(dt.rand(4096, generator=generator)) for _ in range(10)]
    r = np.corrcoef(draws)
    assert abs(r[np.triu_indices(len(draws), 1)]).max() < 5.5 / math.sqrt(4096)


@pytest.mark.parametrize("dtype", [dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64, dt.float32, dt.bfloat16], ids=str)
def test_integers(dtype: Any) -> None:
    low = 0 if dtype is dt.uint8 else -7
    x = array(dt.randint(low, low + 21, (42_000,), dtype=dtype))
    counts = np.asarray([(x == low + k).sum() for k in range(21)])
    assert counts.sum() == 42_000
    assert abs(chi_square(counts, np.full(21, 2000.0))) < 5


def test_wide_integers() -> None:
    n = 40_000
    for low, high in ((0, 2**33), (-(2**62), 2**62), (0, 3 * 2**61), (-(2**63), 2**63)):
        t = dt.empty(n, dtype=dt.int64)
        t = t.random_(low, None) if high == 2**63 else t.random_(low, high)
        x = np.asarray([(v - low) / (high - low) for v in t.tolist()])
        assert x.min() >= 0
        assert x.max() < 1
        assert kolmogorov(x, lambda v: v) < 2.7
    assert set(dt.empty(100, dtype=dt.bool).random_().tolist()) == {True, False}
    assert dt.empty(10_000, dtype=dt.uint8).random_().max().item() == 255
    assert dt.empty(10_000, dtype=dt.float16).random_().max().item() <= 2048
    assert 2**62 < dt.empty(100, dtype=dt.int64).random_().max().item() < 2**63


def test_bernoulli() -> None:
    for p in (0.0, 0.25, 0.999, 1.0):
        for dtype in (dt.bool, dt.uint8, dt.int64, *FLOATS):
            x = array(dt.empty(20_000, dtype=dtype).bernoulli_(p))
            assert set(x.tolist()) <= {0.0, 1.0}
            assert abs(x.mean() - p) <= 5 * math.sqrt(p * (1 - p) / 20_000)
    p = dt.tensor([0.0, 0.1, 0.5, 1.0], dtype=dt.float64)
    x = array(dt.bernoulli(p.expand(20_000, 4))).mean(0)
    assert x[0] == 0
    assert x[3] == 1
    assert abs(x[1] - 0.1) < 0.011
    assert abs(x[2] - 0.5) < 0.018
    mixed = array(dt.empty(20_000, 4, dtype=dt.int32).bernoulli_(p))
    assert abs(mixed.mean(0) - array(p)).max() < 0.018
    assert dt.bernoulli(dt.rand(3, requires_grad=True)).requires_grad is False


# ---------------------------------------------------------------- permutations and sampling


def test_every_permutation_is_as_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(12_000):
        order = tuple(dt.randperm(4).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert abs(chi_square(np.asarray(list(counts.values())), np.full(24, 500.0))) < 5


def test_randperm() -> None:
    for n in (0, 1, 15, 16, 17, 1000):
        assert sorted(dt.randperm(n).tolist()) == list(range(n))
    x = np.asarray(dt.randperm(50_000).tolist())
    assert (x == np.arange(50_000)).sum() < 12  # fixed points: 1 on average
    assert abs(np.corrcoef(x, np.arange(50_000))[0, 1]) < 5 / math.sqrt(50_000)
    assert dt.randperm(5, dtype=dt.float32).dtype is dt.float32
    with pytest.raises(RuntimeError, match="negative dimension"):
        dt.randperm(-1)
    with pytest.raises(RuntimeError, match="Half"):
        dt.randperm(3000, dtype=dt.float16)
    with pytest.raises(RuntimeError, match="overflow"):
        dt.randperm(300, dtype=dt.uint8)


def test_multinomial() -> None:
    weights = dt.tensor([[1.0, 0.0, 3.0, 6.0], [2.0, 2.0, 0.0, 1.0]])
    drawn = np.asarray(dt.multinomial(weights, 20_000, True).tolist())
    for row, w in zip(drawn, weights.tolist(), strict=True):
        p = np.asarray(w) / sum(w)
        counts = np.bincount(row, minlength=4)
        assert (counts[p == 0] == 0).all()
        assert chi_square(counts[p > 0], p[p > 0] * 20_000) < 5
    # without replacement: all different, and the first one follows the weights
    many = dt.tensor([1.0, 2.0, 3.0, 4.0]).expand(20_000, 4)
    drawn = np.asarray(dt.multinomial(many, 3).tolist())
    assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
    assert chi_square(np.bincount(drawn[:, 0], minlength=4), np.asarray([0.1, 0.2, 0.3, 0.4]) * 20_000) < 5
    second = np.bincount(drawn[drawn[:, 0] == 3, 1], minlength=4)[:3]
    assert chi_square(second, np.asarray([1, 2, 3]) / 6 * second.sum()) < 5
    # zero weights come last
    assert dt.multinomial(dt.tensor([0.0, 5.0, 0.0]), 3).tolist()[0] == 1
    assert dt.multinomial(dt.ones(3, dtype=dt.float16), 2).dtype is dt.int64


def test_normal_of_tensors() -> None:
    mean, std = dt.tensor([0.0, 100.0]), dt.tensor([1.0, 0.5])
    x = array(dt.normal(mean.expand(5000, 2), std.expand(5000, 2)))
    assert abs(x.mean(0) - [0, 100]).max() < 0.08
    assert abs(x.std(0) - [1, 0.5]).max() < 0.06
    assert dt.normal(mean, 2.0).shape == (2,)
    assert dt.normal(1.0, std).shape == (2,)
    assert dt.normal(1.0, 2.0, (3, 4)).shape == (3, 4)


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_dropout(dtype: Any) -> None:
    x = dt.full((40_000,), 3.0, dtype=dtype)
    for p in (0.1, 0.5, 0.9):
        y = array(ops.dropout(x, p, True))
        kept = y != 0
        assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / 40_000)
        np.testing.assert_allclose(y[kept], 3 / (1 - p), rtol=4 * dt.finfo(dtype).eps)
    assert ops.dropout(x, 0.0, True) is x
    assert ops.dropout(x, 0.7, False) is x
    assert not ops.dropout(x, 1.0, True).any()


def test_dropout_gradient() -> None:
    x = dt.randn(1000, requires_grad=True)
    y = ops.dropout(x, 0.3, True)
    y.sum().backward()
    kept = array(y.detach()) != 0
    np.testing.assert_allclose(array(x.grad), kept / 0.7, rtol=1e-6)
    state = dt.get_rng_state()

    def same_mask(t: Any) -> Any:
        dt.set_rng_state(state)
        return ops.dropout(t, 0.4, True)

    assert gradcheck(same_mask, (dt.randn(40, dtype=dt.float64).requires_grad_(),))
    z = dt.ones(5, requires_grad=True)
    ops.dropout(z, 1.0, True).sum().backward()
    assert z.grad.tolist() == [0.0] * 5


def test_dropout_of_views_and_empties() -> None:
    state = dt.get_rng_state()
    x = dt.randn(30, 20)
    plain = ops.dropout(x.t().contiguous(), 0.5, True)
    dt.set_rng_state(state)
    x2 = x.clone()
    dt.set_rng_state(state)
    dt.randn(30, 20)
    dt.manual_seed(1)
    plain = ops.dropout(x2.t().contiguous(), 0.5, True)
    dt.manual_seed(1)
    assert ops.dropout(x2.t(), 0.5, True).tolist() == plain.tolist()
    assert ops.dropout(dt.empty(0, 3), 0.5, True).shape == (0, 3)
    out, mask = dt.native_dropout(x, 0.25, True)
    assert mask.dtype is dt.bool
    np.testing.assert_allclose(array(out), array(x) * array(mask) / 0.75, rtol=1e-6)


# ---------------------------------------------------------------- factories and errors


def test_factories() -> None:
    for made in (dt.rand, dt.randn):
        assert made(2, 3).shape == (2, 3)
        assert made((2, 3), dtype=dt.float64).dtype is dt.float64
        assert made(()).shape == ()
        assert made(0, 3).shape == (0, 3)
        assert made(2, requires_grad=True).requires_grad
        out = dt.empty(0)
        assert made(4, out=out) is out
        assert out.shape == (4,)
    like = dt.zeros(2, 3, dtype=dt.float64)
    assert dt.rand_like(like).dtype is dt.float64
    assert dt.randn_like(like, dtype=dt.float32).dtype is dt.float32
    assert dt.randint_like(like, 5).dtype is dt.float64
    assert dt.randint(5, (3,)).dtype is dt.int64
    assert dt.randint(low=3, high=4, size=(2,)).tolist() == [3, 3]


ERRORS: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (RuntimeError, "from=2 > to=1", lambda: dt.zeros(2).uniform_(2, 1)),
    (RuntimeError, "to is out of bounds for float", lambda: dt.zeros(2).uniform_(0, float("inf"))),
    (RuntimeError, "from is out of bounds for float", lambda: dt.zeros(2).uniform_(float("nan"), 1)),
    (NotImplementedError, "for 'Int'", lambda: dt.zeros(2, dtype=dt.int32).uniform_()),
    (NotImplementedError, "for 'Int'", lambda: dt.rand(2, dtype=dt.int32)),
    (RuntimeError, "std >= 0.0, but found std -1", lambda: dt.zeros(2).normal_(0, -1)),
    (RuntimeError, "std >= 0.0", lambda: dt.normal(dt.zeros(2), -1.0)),
    (RuntimeError, "all elements of std >= 0.0", lambda: dt.normal(0.0, -dt.ones(2))),
    (RuntimeError, "lambda > 0.0, but found lambda=0", lambda: dt.zeros(2).exponential_(0)),
    (RuntimeError, r"p to be in \[0, 1\], but got p=1.5", lambda: dt.zeros(2).bernoulli_(1.5)),
    (RuntimeError, "p_in >= 0", lambda: dt.bernoulli(dt.tensor([1.5]))),
    (RuntimeError, "p_in >= 0", lambda: dt.bernoulli(dt.tensor([float("nan")]))),
    (NotImplementedError, "Long", lambda: dt.bernoulli(dt.tensor([1]))),
    (RuntimeError, "from=5 >= to=5", lambda: dt.zeros(2).random_(5, 5)),
    (RuntimeError, "from=0 >= to=0", lambda: dt.randint(0, (2,))),
    (RuntimeError, "to - 1 is out of bounds for unsigned char", lambda: dt.randint(0, 300, (2,), dtype=dt.uint8)),
    (RuntimeError, r"p to be in \(0, 1\), but got p=2", lambda: dt.zeros(2).geometric_(2)),
    (RuntimeError, "between 0 and 1, but got 1.5", lambda: dt.dropout(dt.zeros(2), 1.5, True)),
    (RuntimeError, "can't be cast", lambda: dt.dropout(dt.ones(2, dtype=dt.int64), 0.5, True)),
    (RuntimeError, "sum of probabilities <= 0", lambda: dt.multinomial(dt.zeros(3), 1)),
    (RuntimeError, "element < 0", lambda: dt.multinomial(dt.tensor([1.0, -1.0]), 1)),
    (RuntimeError, "element < 0", lambda: dt.multinomial(dt.tensor([1.0, float("inf")]), 1)),
    (RuntimeError, "without replacement", lambda: dt.multinomial(dt.ones(3), 4)),
    (RuntimeError, "n_sample <= 0", lambda: dt.multinomial(dt.ones(3), 0)),
    (RuntimeError, "1 or 2 dim", lambda: dt.multinomial(dt.ones(3, 1, 1), 1)),
    (RuntimeError, "floating-point", lambda: dt.multinomial(dt.ones(3, dtype=dt.int64), 1)),
    (RuntimeError, "single memory location", lambda: dt.zeros(1).expand(3).uniform_()),
]


@pytest.mark.parametrize(("kind", "text", "function"), ERRORS, ids=[f"{n}-{e[1][:20]}" for n, e in enumerate(ERRORS)])
def test_errors(kind: type[Exception], text: str, function: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=text):
        function()


def test_fills_and_autograd() -> None:
    leaf = dt.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.uniform_()
    with dt.no_grad():
        leaf.uniform_()
    assert leaf.is_leaf
    x = dt.ones(3, requires_grad=True)
    y = x * 2
    y.normal_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    saved = dt.ones(3, requires_grad=True)
    z = saved.exp()
    z.detach().uniform_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
