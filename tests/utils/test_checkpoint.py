"""Activation checkpointing: the same numbers, less memory, the same random numbers, errors where runs differ."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch as reference
from torch.utils import checkpoint as their_checkpoint

import dumbtorch
from dumbtorch.utils import checkpoint as our_checkpoint

BOTH = ((dumbtorch, our_checkpoint), (reference, their_checkpoint))


def _setup(t: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    w = t.tensor(rng.standard_normal((4, 4)).tolist(), dtype=t.float64, requires_grad=True)
    x = t.tensor(rng.standard_normal((3, 4)).tolist(), dtype=t.float64, requires_grad=True)
    return w, x


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients(reentrant: bool) -> None:
    results = []
    for t, c in BOTH:
        w, x = _setup(t)
        calls: list[int] = []

        def part(x: Any, w: Any = w, calls: Any = calls) -> Any:
            calls.append(1)
            return (x @ w).tanh() * x, x.exp()

        a, b = c.checkpoint(part, x, use_reentrant=reentrant)
        (a.sum() + (b * 2).sum()).backward()
        assert len(calls) == 2
        results.append([w.grad, x.grad])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-12)


def test_all_ways_of_differentiating() -> None:
    t = dumbtorch
    w, x = _setup(t)

    def part(x: Any, power: int = 2) -> Any:
        return ((x @ w).tanh() ** power).sum()

    (g,) = t.autograd.grad(our_checkpoint.checkpoint(part, x, power=3, use_reentrant=False), x, create_graph=True)
    (e,) = t.autograd.grad(part(x, 3), x, create_graph=True)
    assert t.allclose(g, e)
    assert t.allclose(*(t.autograd.grad(v.pow(2).sum(), w)[0] for v in (g, e)))
    out = our_checkpoint.checkpoint(part, x, use_reentrant=False)
    first = t.autograd.grad(out, x, retain_graph=True)
    assert t.allclose(first[0], t.autograd.grad(out, x)[0])
    nested = our_checkpoint.checkpoint(
        lambda x: our_checkpoint.checkpoint(part, x.sin(), use_reentrant=False) * 2, x, use_reentrant=False
    )
    assert t.allclose(t.autograd.grad(nested, x)[0], t.autograd.grad(part(x.sin()) * 2, x)[0])
    out = our_checkpoint.checkpoint(part, x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=True"):
        t.autograd.grad(out, x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_random_numbers(reentrant: bool) -> None:
    t = dumbtorch
    x = t.ones(1000, requires_grad=True)
    t.manual_seed(3)
    out = our_checkpoint.checkpoint(lambda x: t.nn.functional.dropout(x, 0.5) * x, x, use_reentrant=reentrant)
    later = t.rand(3)
    out.sum().backward()
    assert t.equal(x.grad != 0, out.detach() != 0)
    t.manual_seed(3)
    t.nn.functional.dropout(t.ones(1000), 0.5)
    assert t.equal(later, t.rand(3))


@pytest.mark.parametrize(("t", "c"), BOTH)
def test_early_stop(t: Any, c: Any) -> None:
    _, x = _setup(t)
    ends: list[int] = []

    def part(x: Any) -> Any:
        y = x.exp()
        ends.append(1)
        return y + 1

    c.checkpoint(part, x, use_reentrant=False).sum().backward()
    assert len(ends) == 1  # the second run stopped at exp
    with c.set_checkpoint_early_stop(False):
        c.checkpoint(part, x, use_reentrant=False).sum().backward()
    assert len(ends) == 3


@pytest.mark.parametrize(("t", "c"), BOTH)
def test_runs_that_differ(t: Any, c: Any) -> None:
    _, x = _setup(t)
    state = {"n": 0}

    def shapes(x: Any) -> Any:
        state["n"] += 1
        return x[: state["n"]].exp().sum()

    with pytest.raises(c.CheckpointError, match="different metadata"):
        c.checkpoint(shapes, x, use_reentrant=False).backward()
    state["n"] = 0

    def fewer(x: Any) -> Any:
        state["n"] += 1
        return x.exp().sin().sum() if state["n"] == 1 else x.exp().sum()

    with pytest.raises(c.CheckpointError, match="different number of tensors"):
        c.checkpoint(fewer, x, use_reentrant=False).backward()
    with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
        c.checkpoint(fewer, x, use_reentrant=True, debug=True)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed"):
        c.checkpoint(lambda x: x.exp(), x)


def test_contexts_and_sequences() -> None:
    t = dumbtorch
    entered: list[str] = []

    @contextlib.contextmanager
    def note(name: str) -> Any:
        entered.append(name)
        yield

    _, x = _setup(t)
    our_checkpoint.checkpoint(
        lambda x: x.exp(), x, use_reentrant=False, context_fn=lambda: (note("first"), note("second"))
    ).sum().backward()
    assert entered == ["first", "second"]
    model = t.nn.Sequential(*[t.nn.Sequential(t.nn.Linear(4, 4), t.nn.Tanh()) for _ in range(6)]).double()
    for reentrant in (True, False):
        out = our_checkpoint.checkpoint_sequential(model, 3, x, use_reentrant=reentrant)
        (got,) = t.autograd.grad(out.sum(), model[0][0].weight) if not reentrant else (None,)
        if reentrant:
            out.sum().backward()
            got = model[0][0].weight.grad
        assert t.allclose(got, t.autograd.grad(model(x).sum(), model[0][0].weight)[0])


def _peak(t: Any, kept: bool) -> int:
    layers = [t.nn.Linear(256, 256) for _ in range(16)]
    x = t.randn(2048, 256, requires_grad=True)

    def block(x: Any, start: int) -> Any:
        for layer in layers[start : start + 4]:
            x = layer(x).tanh()
        return x

    t.reset_peak_memory_stats()
    base = t.memory_stats()["allocated_bytes.current"]
    y = x
    for start in range(0, 16, 4):
        y = block(y, start) if kept else our_checkpoint.checkpoint(block, y, start, use_reentrant=False)
    y.sum().backward()
    return int(t.memory_stats()["allocated_bytes.peak"] - base)


def test_memory_falls() -> None:
    t = dumbtorch
    full, less = _peak(t, True), _peak(t, False)
    assert less < 0.6 * full, f"{less / 2**20:.1f} MiB with checkpoints, {full / 2**20:.1f} without"
