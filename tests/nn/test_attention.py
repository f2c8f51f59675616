"""scaled_dot_product_attention beside PyTorch's: values, gradients, masks, layouts, dropout, memory, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch import ops
from dumbtorch.autograd import gradcheck, gradgradcheck
from dumbtorch.nn import functional as F
from dumbtorch.nn.functional._attention import sliding_window_attention

TOLERANCE = {"float32": 1e-5, "float64": 1e-10, "bfloat16": 6e-2, "float16": 8e-3}
#: queries, keys, depth, depth of the values: single ones, less than a vector, few queries, more than a block
SIZES = [(1, 1, 1, 1), (5, 7, 8, 6), (3, 300, 16, 16), (64, 64, 64, 64), (130, 257, 32, 20), (300, 520, 33, 64)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def both(
    shapes: list[tuple[int, ...]], dtype: str, mask: np.ndarray | None = None, inside: bool = False, **options: Any
) -> None:
    """Compares output and all gradients; `inside`: the heads lie inside of the rows."""
    results = []
    for T in (dumbtorch, torch):
        leaves, inputs = [], []
        for seed, shape in enumerate(shapes):
            a = normal(*shape, seed=seed)
            a = np.ascontiguousarray(a.swapaxes(-2, -3)) if inside else a
            leaves.append(T.from_numpy(a).to(getattr(T, dtype)).requires_grad_())
            inputs.append(leaves[-1].transpose(-2, -3) if inside else leaves[-1])
        if mask is not None:
            m = T.from_numpy(mask)
            if mask.dtype != bool:
                m = m.to(getattr(T, dtype)).requires_grad_()
                leaves.append(m)
            options["attn_mask"] = m
        y = T.nn.functional.scaled_dot_product_attention(*inputs, **options)
        y.backward(T.from_numpy(normal(*y.shape, seed=9)).to(y.dtype))
        assert y.dtype == getattr(T, dtype)
        results.append([x.to(T.float64).numpy() for x in (y.detach(), *(leaf.grad for leaf in leaves))])
    for mine, other in zip(*results, strict=True):
        assert mine.shape == other.shape
        bound = TOLERANCE[dtype] * (1 + np.abs(other).max(initial=0))
        np.testing.assert_allclose(mine, other, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("queries", "keys", "depth", "width"), SIZES)
def test_sizes(queries: int, keys: int, depth: int, width: int, dtype: str) -> None:
    for heads in (2, 4):
        for causal in (False, True):
            shapes = [(2, heads, queries, depth), (2, 2, keys, depth), (2, 2, keys, width)]
            both(shapes, dtype, inside=causal, is_causal=causal, enable_gqa=heads > 2, scale=0.3 if causal else None)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(150, 70), (2, 1, 150, 70), (1, 2, 1, 70), (2, 2, 150, 70), (1, 1, 150, 1)])
def test_masks(shape: tuple[int, ...], dtype: str) -> None:
    shapes = [(2, 2, 150, 16), (2, 2, 70, 16), (2, 2, 70, 16)]
    both(shapes, dtype, normal(*shape))
    bools = normal(*shape) > 0.3
    bools[..., :3, :] = shape[-2] == 1  # rows that see nothing
    both(shapes, dtype, bools)
    both(shapes, dtype, bools, is_causal=True)
    holes = normal(*shape)
    holes[..., shape[-2] // 2, :] = 0 if shape[-2] == 1 else -np.inf
    both(shapes, dtype, holes)


def test_mask_of_another_layout() -> None:
    q, k, v = (dumbtorch.from_numpy(normal(1, 2, n, 8, seed=n)) for n in (33, 40, 40))
    for mask in (dumbtorch.from_numpy(normal(40, 33)), dumbtorch.from_numpy(normal(40, 33) > 0)):
        straight = F.scaled_dot_product_attention(q, k, v, mask.t().contiguous())
        assert dumbtorch.equal(F.scaled_dot_product_attention(q, k, v, mask.t()), straight)


@pytest.mark.parametrize(
    "shapes",
    [
        [(5, 8), (7, 8), (7, 6)],
        [(3, 5, 8), (3, 7, 8), (3, 7, 6)],
        [(2, 3, 4, 5, 8), (2, 3, 4, 7, 8), (2, 3, 4, 7, 6)],
        [(2, 4, 5, 8), (1, 1, 7, 8), (2, 1, 7, 6)],
        [(2, 4, 5, 8), (4, 7, 8), (4, 7, 6)],
        [(2, 1, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)],
        [(2, 4, 0, 8), (2, 4, 7, 8), (2, 4, 7, 6)],
        [(2, 4, 5, 8), (2, 4, 0, 8), (2, 4, 0, 6)],
        [(0, 4, 5, 8), (0, 4, 7, 8), (0, 4, 7, 8)],
        [(2, 0, 5, 8), (2, 0, 7, 8), (2, 0, 7, 8)],
        [(2, 4, 5, 0), (2, 4, 7, 0), (2, 4, 7, 6)],
        [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 0)],
    ],
    ids=str,
)
def test_dimensions(shapes: list[tuple[int, ...]]) -> None:
    both(shapes, "float64")
    both(shapes, "float64", normal(shapes[0][-2], shapes[1][-2]) > -0.5)


def test_shared_heads() -> None:
    both([(4, 5, 8), (2, 7, 8), (2, 7, 6)], "float64", enable_gqa=True)
    both([(2, 4, 5, 8), (2, 2, 7, 8), (2, 1, 7, 6)], "float64", enable_gqa=True)
    both([(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)], "float64", normal(4, 5, 7), enable_gqa=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_strides(dtype: str) -> None:
    base = dumbtorch.from_numpy(normal(2, 3, 40, 2 * 24)).to(getattr(dumbtorch, dtype))
    views = [base[..., ::2], base[:, :1].expand(2, 3, 40, 48)[..., 5:29], base.flip(2)[..., 24:]]
    straight = F.scaled_dot_product_attention(*(x.contiguous() for x in views))
    assert dumbtorch.equal(F.scaled_dot_product_attention(*views), straight)
    leaf = views[0].detach().requires_grad_()
    (gradient,) = dumbtorch.autograd.grad(F.scaled_dot_product_attention(leaf, *views[1:]).sum(), leaf)
    reference = views[0].contiguous().requires_grad_()
    y = F.scaled_dot_product_attention(reference, *(x.contiguous() for x in views[1:]))
    assert dumbtorch.equal(gradient, dumbtorch.autograd.grad(y, reference, dumbtorch.ones_like(y).contiguous())[0])


def test_result_lies_as_the_query_does() -> None:
    x = dumbtorch.from_numpy(normal(2, 9, 4, 8)).transpose(1, 2)
    assert F.scaled_dot_product_attention(x, x, x).stride() == (288, 8, 32, 1)
    assert F.scaled_dot_product_attention(x.contiguous(), x, x).stride() == (288, 72, 8, 1)


def inputs64(*shapes: tuple[int, ...]) -> list[Any]:
    return [dumbtorch.from_numpy(normal(*s, seed=i).astype("float64")).requires_grad_() for i, s in enumerate(shapes)]


@pytest.mark.parametrize("kind", ["plain", "added", "bools", "causal", "dropout", "window"])
def test_derivatives_of_derivatives(kind: str) -> None:
    q, k, v, m = inputs64((1, 4, 4, 3), (1, 2, 5, 3), (1, 2, 5, 2), (1, 4, 4, 5))
    bools = m.detach() > 0
    bools[:, :, 2] = False

    def function(q: Any, k: Any, v: Any, m: Any) -> Any:
        dumbtorch.manual_seed(3)
        if kind == "window":
            return sliding_window_attention(q, k, v, 2, enable_gqa=True) + 0 * m.sum()
        mask = {"added": m, "bools": bools}.get(kind)
        dropout = 0.4 if kind == "dropout" else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, kind == "causal", enable_gqa=True)
        return y + 0 * m.sum()

    assert gradcheck(function, (q, k, v, m))
    assert gradgradcheck(function, (q, k, v, m))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropout_by_its_formula(p: float, dtype: str) -> None:
    q, k, v = (
        dumbtorch.from_numpy(normal(2, 3, n, 16, seed=n)).to(getattr(dumbtorch, dtype)).requires_grad_()
        for n in (140, 300, 301)
    )
    v = v.detach()[:, :, :300].requires_grad_()
    dumbtorch.manual_seed(1)
    y, _, stream = ops.TABLE["attention"].op(q, k, v, None, p, -ops.attention.FAR, 0, 0.25)
    kept = ops.attention_kept(stream, 2, 3, 140, 300, p)
    assert abs(kept.double().mean().item() - (1 - p)) < 0.01
    scores = (q @ k.mT * 0.25).masked_fill(~dumbtorch.ones(140, 300, dtype=dumbtorch.bool).tril(), -np.inf)
    weights = scores.float().softmax(-1) if dtype == "bfloat16" else scores.softmax(-1)
    expected = (weights * kept / max(1 - p, 1e-9)).to(q.dtype) @ v
    g = dumbtorch.from_numpy(normal(2, 3, 140, 16, seed=5)).to(q.dtype)
    mine, other = (dumbtorch.autograd.grad(x, (q, k, v), g) for x in (y, expected))
    for a, b in zip((y, *mine), (expected, *other), strict=True):
        a, b = a.detach().double().numpy(), b.detach().double().numpy()
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * (1 + np.abs(b).max()))


def test_dropout_draws_from_the_generator() -> None:
    q = dumbtorch.from_numpy(normal(1, 2, 50, 8))
    made = []
    for seed in (1, 1, 2):
        dumbtorch.manual_seed(seed)
        made.append(F.scaled_dot_product_attention(q, q, q, dropout_p=0.5))
    assert dumbtorch.equal(made[0], made[1]) and not dumbtorch.equal(made[0], made[2])
    assert not dumbtorch.equal(made[2], F.scaled_dot_product_attention(q, q, q, dropout_p=0.5))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 3, 40, 1000])
def test_sliding_window(window: int, causal: bool) -> None:
    for queries, keys in ((300, 300), (7, 200)):
        arrays = [normal(1, 2, n, 16, seed=i) for i, n in enumerate((queries, keys, keys))]
        distance = np.arange(keys) - np.arange(keys - queries, keys)[:, None]
        seen = (distance > -window) & (distance <= 0 if causal else distance < window)
        q, k, v = (dumbtorch.from_numpy(a).requires_grad_() for a in arrays)
        y = sliding_window_attention(q, k, v, window, is_causal=causal)
        y.sum().backward()
        p, r, s = (torch.from_numpy(a).requires_grad_() for a in arrays)
        z = torch.nn.functional.scaled_dot_product_attention(p, r, s, torch.from_numpy(seen))
        z.sum().backward()
        for a, b in ((y.detach(), z.detach()), (q.grad, p.grad), (k.grad, r.grad), (v.grad, s.grad)):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match="window must be at least 1"):
        sliding_window_attention(q, k, v, 0)


def test_nan_and_infinity() -> None:
    arrays = [normal(1, 1, 20, 8, seed=i) for i in range(3)]
    arrays[0][0, 0, 3, 2] = np.nan
    arrays[1][0, 0, 5] = np.inf
    arrays[2][0, 0, 6, 1] = np.inf
    mine, other = (
        T.nn.functional.scaled_dot_product_attention(*(T.from_numpy(a) for a in arrays)).numpy()
        for T in (dumbtorch, torch)
    )
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(other))


@pytest.mark.parametrize("shape", [(300, 300), (1, 4, 300, 300), (3, 1, 1, 300)], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_threads_do_not_change_results(batch: int, shape: tuple[int, ...]) -> None:
    shape = (batch, *shape[1:]) if shape[0] == 3 else shape
    threads = dumbtorch.get_num_threads()
    made = []
    try:
        for count in (1, 2, 5):
            dumbtorch.set_num_threads(count)
            dumbtorch.manual_seed(0)
            q, k, v = (dumbtorch.from_numpy(normal(batch, 4, 300, 24, seed=i)).requires_grad_() for i in range(3))
            m = dumbtorch.from_numpy(normal(*shape)).requires_grad_()
            y = F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], m, 0.2, enable_gqa=True)
            y.backward(dumbtorch.from_numpy(normal(*y.shape, seed=7)))
            made.append([x.detach().numpy().tobytes() for x in (y, q.grad, k.grad, v.grad, m.grad)])
    finally:
        dumbtorch.set_num_threads(threads)
    assert made[0] == made[1] == made[2]


_PEAK = """
import resource, dumbtorch
from dumbtorch.nn import functional as F
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def step(length):
    q, k, v = (dumbtorch.rand(1, 2, length, 32, requires_grad=True) for _ in range(3))
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
step(64)
before = peak()
step(4096)
print(peak() - before)
"""


def test_memory_grows_with_the_length_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    # the weights would be 128 MiB, inputs, output and gradients are 8
    assert float(done.stdout) < 32, done.stdout


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ([(8,), (8,), (8,)], {}),
        ([(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)], {}),
        ([(2, 4, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6)], {"enable_gqa": True}),
        ([(2, 4, 5, 8), (2, 4, 7, 5), (2, 4, 7, 8)], {}),
        ([(3, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)], {}),
        ([(2, 4, 5, 8)] * 3, {"dropout_p": 2.0}),
        ([(2, 4, 5, 8)] * 3, {"dropout_p": -0.1}),
        ([(2, 4, 5, 8)] * 3, {"attn_mask": ((5, 5), "int64")}),
        ([(2, 4, 5, 8)] * 3, {"attn_mask": ((5, 5), "float64")}),
        ([(2, 4, 5, 8)] * 3, {"attn_mask": ((5, 6), "bool")}),
        ([(2, 4, 5, 8)] * 3, {"attn_mask": ((5,), "bool")}),
        ([(2, 4, 5, 8)] * 3, {"attn_mask": ((1, 1, 1, 5, 5), "float32")}),
        ([(1, 4, 5, 8)] * 3, {"attn_mask": ((2, 1, 5, 5), "bool")}),
    ],
)
def test_errors(shapes: list[tuple[int, ...]], options: dict[str, Any]) -> None:
    raised = []
    for T in (dumbtorch, torch):
        given = dict(options)
        if "attn_mask" in given:
            given["attn_mask"] = T.ones(given["attn_mask"][0], dtype=getattr(T, given["attn_mask"][1]))
        with pytest.raises(Exception) as caught:
            T.nn.functional.scaled_dot_product_attention(*(T.ones(s) for s in shapes), **given)
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_errors_of_dtypes() -> None:
    x = dumbtorch.ones(2, 4, 5, 8)
    with pytest.raises(RuntimeError, match="same dtype"):
        F.scaled_dot_product_attention(x, x.double(), x)
    with pytest.raises(RuntimeError, match="not implemented for"):
        F.scaled_dot_product_attention(x.long(), x.long(), x.long())
    with pytest.raises(RuntimeError, match="do not fit"):
        F.scaled_dot_product_attention(x, x, x[:, :, :4])  # PyTorch reads past the end
    with pytest.raises(TypeError, match="'value' must be Tensor, not list"):
        F.scaled_dot_product_attention(x, x, [1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        F.scaled_dot_product_attention(x, x, x, attn_mask=3)
    with pytest.raises(TypeError):
        F.scaled_dot_product_attention(x, x, x, None, 0.0, False, 0.1)
