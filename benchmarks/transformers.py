"""Attention by itself, and what transformers are made of: layers, a step of training, a new token."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal

Setup = Callable[[Any], dict[str, Any]]


def attention(batch: int, heads: int, length: int, depth: int, backward: bool, causal: bool, dtype: str) -> Setup:
    """Attention as models call it: heads inside of the rows."""

    def setup(t: Any) -> dict[str, Any]:
        kind = getattr(t, dtype)
        leaves = [normal(t, batch, length, heads, depth, seed=seed).to(kind) for seed in range(4)]
        attend, grad = t.nn.functional.scaled_dot_product_attention, t.autograd.grad
        inputs = [x.requires_grad_() if backward else x for x in leaves[:3]]
        g = leaves[3].transpose(1, 2)

        def step() -> Any:
            out = attend(*(x.transpose(1, 2) for x in inputs), is_causal=causal)
            return grad(out, inputs, g) if backward else out

        return {"step": step}

    return setup


def _token(heads: int, length: int, depth: int) -> Setup:
    """One new query and the keys of all tokens before it."""

    def setup(t: Any) -> dict[str, Any]:
        q, k, v = (normal(t, 1, heads, n, depth, seed=n) for n in (1, length, length))
        return {"attend": t.nn.functional.scaled_dot_product_attention, "q": q, "k": k, "v": v}

    return setup


class _Block:
    """A decoder block of a GPT as most write it; of whichever library."""

    def __init__(self, t: Any, dim: int, heads: int) -> None:
        nn = t.nn
        self.t, self.heads = t, heads
        self.parts = nn.ModuleList(
            [nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), nn.LayerNorm(dim),
             nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)]
        )  # fmt: skip

    def __call__(self, x: Any) -> Any:
        norm1, qkv, out, norm2, up, down = self.parts
        F = self.t.nn.functional
        batch, length, dim = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)
            for part in qkv(norm1(x)).split(dim, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + out(mixed.transpose(1, 2).reshape(batch, length, dim))
        return x + down(F.gelu(up(norm2(x))))


def block_step(batch: int, length: int, dim: int, heads: int) -> Setup:
    def setup(t: Any) -> dict[str, Any]:
        block = _Block(t, dim, heads)
        x, y = normal(t, batch, length, dim), normal(t, batch, length, dim, seed=1)
        update = t.optim.AdamW(block.parts.parameters(), lr=1e-3)

        def step() -> Any:
            update.zero_grad()
            loss = t.nn.functional.mse_loss(block(x), y)
            loss.backward()
            update.step()
            return loss

        return {"step": step}

    return setup


def _encoder_step(batch: int, length: int, dim: int, heads: int) -> Setup:
    """A training step of PyTorch's encoder, with padding."""

    def setup(t: Any) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = t.nn.TransformerEncoderLayer(dim, heads, 4 * dim, batch_first=True)
            model = t.nn.Sequential(layer, t.nn.Linear(dim, 10))
        x, y = normal(t, batch, length, dim), integers(t, 10, batch, length).flatten()
        padding = t.zeros(batch, length, dtype=t.bool)
        padding[:, length - length // 8 :] = True
        update = t.optim.AdamW(model.parameters(), lr=1e-3)

        def step() -> Any:
            update.zero_grad()
            made = model[1](layer(x, src_key_padding_mask=padding)).flatten(0, 1)
            loss = t.nn.functional.cross_entropy(made, y)
            loss.backward()
            update.step()
            return loss

        return {"step": step}

    return setup


def cases() -> list[Case]:
    """The rows of this family."""
    rows = []
    for length, batch in ((128, 8), (256, 4), (512, 2), (1024, 1), (2048, 1)):
        for causal in (False, True):
            for backward in (False, True):
                name = f"attention {batch} x 4 x {length} x 64{', causal' if causal else ''}"
                setup = attention(batch, 4, length, 64, backward, causal, "float32")
                rows.append(Case(f"{name}, {'both passes' if backward else 'forward'}", "step()", setup, 0.9))
    setup = attention(4, 4, 256, 64, True, True, "bfloat16")
    return [
        *rows,
        Case("attention 4 x 4 x 256 x 64, causal, both passes, bfloat16", "step()", setup, None),
        Case("attention of a new token to 1024, 8 heads", "attend(q, k, v)", _token(8, 1024, 64), 0.9),
        Case("GPT block step, 8 x 128 x 256", "step()", block_step(8, 128, 256, 8), 0.9),
        Case("encoder layer step, 8 x 128 x 256", "step()", _encoder_step(8, 128, 256, 8), 0.9),
    ]
