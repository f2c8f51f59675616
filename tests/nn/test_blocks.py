"""The building blocks of transformers against formulas of their papers, written out element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dumbtorch as torch
from dumbtorch.nn import functional as F
from dumbtorch.nn.blocks import (
    ALiBi,
    FeedForward,
    GeGLU,
    KVCache,
    LearnedPositions,
    MixtureOfExperts,
    Parallel,
    RelativePositionBias,
    Residual,
    RotaryEmbedding,
    SinusoidalPositions,
    SwiGLU,
)


def normal(*shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_learned_positions() -> None:
    layer = LearnedPositions(10, 4)
    x = normal(2, 3, 4).float()
    np.testing.assert_array_equal(layer(x, 5).detach().numpy(), (x + layer.weight[5:8]).detach().numpy())
    layer(x, 5).sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [0] * 5 + [8] * 3 + [0] * 2
    with pytest.raises(IndexError, match="places 8 to 10"):
        layer(x, 8)
    assert repr(layer) == "LearnedPositions(10, 4)" and list(layer.state_dict()) == ["weight"]


def test_sinusoidal_positions() -> None:
    made = SinusoidalPositions(6)(torch.zeros(2, 5, 6), offset=3)
    for place in range(5):
        for i in range(3):
            angle = (place + 3) / 10000 ** (2 * i / 6)
            assert made[1, place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert made[1, place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(ValueError, match="even"):
        SinusoidalPositions(5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(interleaved: bool) -> None:
    rotary = RotaryEmbedding(8, base=100.0, interleaved=interleaved)
    x = normal(2, 3, 5, 8)
    made = rotary(x, offset=2).numpy()
    values = x.numpy()
    for place in range(5):
        for i in range(4):
            a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + 4)
            turn = np.exp(1j * (place + 2) / 100 ** (2 * i / 8))
            expected = (values[:, :, place, a] + 1j * values[:, :, place, b]) * turn
            np.testing.assert_allclose(made[:, :, place, a], expected.real, atol=1e-5)
            np.testing.assert_allclose(made[:, :, place, b], expected.imag, atol=1e-5)
    # products depend on the distance only
    q, k = normal(1, 8, seed=1), normal(1, 8, seed=2)
    products = [(rotary(q, i + 3) * rotary(k, i)).sum().item() for i in (0, 7, 50)]
    assert products == pytest.approx([products[0]] * 3, abs=1e-4)
    with pytest.raises(ValueError, match="must be 8"):
        rotary(normal(2, 6))
    with pytest.raises(ValueError, match="even"):
        RotaryEmbedding(7)


@pytest.mark.parametrize("heads", [1, 4, 6, 12])
def test_alibi(heads: int) -> None:
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]
    made = ALiBi(heads)(3, offset=2)
    assert made.shape == (1, heads, 3, 5)
    for h in range(heads):
        for i in range(3):
            expected = [-slopes[h] * abs(i + 2 - j) for j in range(5)]
            assert made[0, h, i].tolist() == pytest.approx(expected, rel=1e-6)
    q = normal(1, heads, 3, 4).float()
    k = normal(1, heads, 5, 4, seed=1).float()
    expected = ((q @ k.mT / 2 + made).softmax(-1) @ k).numpy()
    np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, k, made).numpy(), expected, atol=1e-5)
    assert not ALiBi(heads).state_dict()


def bucket(distance: int, buckets: int, most: int, bidirectional: bool) -> int:
    """T5's bucket of a key that stands `distance` after the query."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    far = exact + int(math.log(distance / exact) / math.log(most / exact) * (buckets - exact) + 1e-6)
    return first + min(far, buckets - 1)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_position_bias(bidirectional: bool) -> None:
    layer = RelativePositionBias(3, 16, 50, bidirectional)
    made = layer(40, 90, offset=20)
    assert made.shape == (1, 3, 40, 90)
    places = [[bucket(j - i - 20, 16, 50, bidirectional) for j in range(90)] for i in range(40)]
    assert layer.buckets(40, 90, 20).tolist() == places
    np.testing.assert_array_equal(made[0].detach().numpy(), layer.weight.detach().numpy()[places].transpose(2, 0, 1))
    q, k = normal(2, 3, 40, 8).float(), normal(2, 3, 90, 8, seed=1).float()
    F.scaled_dot_product_attention(q, k, k, made).sum().backward()
    mine = layer.weight.grad.clone()
    layer.zero_grad()
    ((q @ k.mT / math.sqrt(8) + layer(40, 90, offset=20)).softmax(-1) @ k).sum().backward()
    np.testing.assert_allclose(mine.numpy(), layer.weight.grad.numpy(), atol=2e-4)


def test_cache() -> None:
    cache = KVCache()
    keys, values = normal(2, 3, 20, 4), normal(2, 3, 20, 5, seed=1)
    at = 0
    for count in (3, 1, 1, 6, 1, 8):
        k, v = cache.add(keys[:, :, at : at + count], values[:, :, at : at + count])
        at += count
        assert len(cache) == at
        assert torch.equal(k, keys[:, :, :at]) and torch.equal(v, values[:, :, :at])
    for bad in ((keys[:1], values[:1]), (keys.float(), values), (keys, values[:, :, :2]), (values, keys)):
        with pytest.raises(RuntimeError, match="KVCache"):
            cache.add(*bad)
    assert len(cache) == 20
    cache.clear()
    assert len(cache) == 0 and cache.add(keys, values)[0].shape == keys.shape
    with pytest.raises(RuntimeError, match="KVCache"):
        cache.add(keys[..., :2], values)


def test_cached_attention_is_attention() -> None:
    q, k, v = (normal(1, 2, 9, 8, seed=i) for i in range(3))
    rotary = RotaryEmbedding(8)
    whole = F.scaled_dot_product_attention(rotary(q), rotary(k), v, is_causal=True)
    cache = KVCache(room=4)
    for i in range(9):
        keys, values = cache.add(rotary(k[:, :, i : i + 1], i), v[:, :, i : i + 1])
        step = F.scaled_dot_product_attention(rotary(q[:, :, i : i + 1], i), keys, values)
        np.testing.assert_allclose(step[:, :, 0].numpy(), whole[:, :, i].numpy(), atol=1e-6)


def test_feed_forwards() -> None:
    x = normal(2, 3, 6).float()
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    gelu = np.vectorize(lambda a: a * 0.5 * (1 + math.erf(a / math.sqrt(2))))
    for layer, activation in ((SwiGLU(6), lambda a: a * sigmoid(a)), (GeGLU(6, 5, bias=True), gelu)):
        with torch.no_grad():
            weights = [
                (w.weight.double().numpy(), 0 if w.bias is None else w.bias.double().numpy())
                for w in (layer.gate, layer.up, layer.down)
            ]
            gate, up, down = ((lambda a, w=w, b=b: a @ w.T + b) for w, b in weights)
            a = x.double().numpy()
            np.testing.assert_allclose(layer(x).numpy(), down(activation(gate(a)) * up(a)), atol=1e-5)
    assert SwiGLU(6).up.out_features == 16
    plain = FeedForward(6)
    assert torch.equal(plain(x), plain.down(F.gelu(plain.up(x)))) and plain.up.out_features == 24


def test_residual_and_parallel() -> None:
    x = normal(4, 6).float()
    inner, norm = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6)
    assert torch.equal(Residual(inner)(x), x + inner(x))
    assert torch.equal(Residual(inner, norm)(x), x + inner(norm(x)))
    dropped = Residual(inner, norm, dropout=1.0)
    assert torch.equal(dropped(x), x) and torch.equal(dropped.eval()(x), x + inner(norm(x)))
    assert torch.equal(Parallel(inner, norm)(x), inner(x) + norm(x))
    with pytest.raises(ValueError, match="at least one"):
        Parallel()


@pytest.mark.parametrize(("top_k", "capacity"), [(1, None), (2, None), (1, 0.5), (4, 1.0)])
def test_mixture_of_experts(top_k: int, capacity: float | None) -> None:
    torch.manual_seed(0)
    experts = [torch.nn.Linear(6, 6).double() for _ in range(4)]
    layer = MixtureOfExperts(6, experts, top_k, capacity).double()
    x = normal(3, 7, 6)
    made, balance = layer(x)
    tokens = x.reshape(-1, 6)
    scores = tokens @ layer.router.weight.detach().T
    room = [math.ceil(capacity * top_k * 21 / 4) if capacity else 21] * 4
    chosen = [0] * 4
    expected = []
    for token, row in zip(tokens, scores, strict=True):
        chances = [math.exp(s) / sum(math.exp(t) for t in row.tolist()) for s in row.tolist()]
        best = sorted(range(4), key=lambda e: -chances[e])[:top_k]
        total = sum(chances[e] for e in best) if top_k > 1 else 1.0
        out = torch.zeros(6, dtype=torch.float64)
        for e in best:
            chosen[e] += 1
            if room[e] > 0:
                out = out + experts[e](token).detach() * (chances[e] / total)
            room[e] -= 1
        expected.append(out)
    np.testing.assert_allclose(made.detach().numpy(), torch.stack(expected).reshape(3, 7, 6).numpy(), atol=1e-12)
    means = scores.softmax(-1).mean(0).tolist()
    wanted = 4 * sum(c / (21 * top_k) * m for c, m in zip(chosen, means, strict=True))
    assert balance.item() == pytest.approx(wanted, abs=1e-12)
    (made.sum() + balance).backward()
    assert layer.router.weight.grad.abs().sum().item() > 0
    assert len(list(layer.parameters())) == 9


def test_mixture_of_bad_experts() -> None:
    with pytest.raises(ValueError, match="top_k must be within 1 and 2"):
        MixtureOfExperts(4, [torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)], 3)
