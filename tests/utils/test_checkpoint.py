"""Activation checkpointing: the same numbers, less memory, the same random numbers, errors where runs differ."""

from __future__ import annotations

import contextlib
import functools
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


# ---------------------------------------------------------------- selective


def _network(t: Any) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    w, v, x = (t.tensor(rng.standard_normal((4, 4)), requires_grad=True) for _ in range(3))

    def part(x: Any) -> Any:
        h = t.sigmoid(t.matmul(t.matmul(x, w), v)) * x
        a, b = t.split(h.reshape(2, 8).t(), [3, 5])
        h = t.cat([a.softmax(0), b], 0).t().reshape(4, 4)
        h = t.nn.functional.linear(h * 2.0, w, v[0])
        return (t.nn.functional.layer_norm(h, (4,)).max(1)[0] + t.nn.functional.dropout(h, 0.0).sum(1)).tanh()

    return part, (w, v, x), x


def _policies(t: Any, c: Any) -> dict[str, Any]:
    aten, policy = t.ops.aten, c.CheckpointPolicy
    return {
        "products": [aten.mm.default, aten.addmm.default],
        "nothing": [],
        "all": lambda ctx, op, *args, **kwargs: policy.PREFER_SAVE,
        "all but products": lambda ctx, op, *args, **kwargs: op not in (aten.mm.default,),
        "activations": lambda ctx, op, *args, **kwargs: op in (aten.tanh.default, aten.sigmoid.default),
        "offloaded": lambda ctx, op, *args, **kwargs: policy.MUST_CPU_OFFLOAD,
        "recomputed": lambda ctx, op, *args, **kwargs: policy.MUST_RECOMPUTE,
    }


@pytest.mark.parametrize("name", _policies(dumbtorch, our_checkpoint))
@pytest.mark.parametrize("early", [True, False])
def test_selective_gradients(name: str, early: bool) -> None:
    part, leaves, x = _network(dumbtorch)
    expected = dumbtorch.autograd.grad(part(x).sum(), leaves)
    contexts = functools.partial(
        our_checkpoint.create_selective_checkpoint_contexts, _policies(dumbtorch, our_checkpoint)[name]
    )
    out = our_checkpoint.checkpoint(part, x, use_reentrant=False, context_fn=contexts, early_stop=early)
    found = dumbtorch.autograd.grad(out.sum(), leaves)
    for a, b in zip(expected, found, strict=True):
        assert dumbtorch.equal(a, b)


@pytest.mark.parametrize(("t", "c"), BOTH, ids=["dumbtorch", "torch"])
def test_what_a_policy_is_asked(t: Any, c: Any) -> None:
    """Products that are kept are computed once; the policy names and sees each operation, once."""
    asked: list[str] = []

    def policy(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> Any:
        assert not ctx.is_recompute and ctx.op_output.shape == (4, 4)
        asked.append(str(op).split(".")[1])
        return c.CheckpointPolicy.MUST_SAVE if op == t.ops.aten.mm.default else c.CheckpointPolicy.PREFER_RECOMPUTE

    x = t.ones(4, 4, requires_grad=True)
    out = c.checkpoint(
        lambda x: ((x @ x).sin() @ x).exp(), x, use_reentrant=False,
        context_fn=functools.partial(c.create_selective_checkpoint_contexts, policy),
    )  # fmt: skip
    out.sum().backward()
    assert asked == ["mm", "sin", "mm", "exp"]


def _kept(t: Any, c: Any, part: Any, x: Any, **options: Any) -> Any:
    make = functools.partial(c.create_selective_checkpoint_contexts, [t.ops.aten.exp.default], **options)
    return c.checkpoint(part, x, use_reentrant=False, context_fn=make)


@pytest.mark.parametrize(("t", "c"), BOTH, ids=["dumbtorch", "torch"])
def test_selective_errors(t: Any, c: Any) -> None:
    x = t.ones(3, requires_grad=True)
    out = _kept(t, c, lambda x: x.exp().sin(), x).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward an extra time"):
        out.backward()
    hold: list[Any] = []

    def kept(x: Any) -> Any:
        y = x.exp()
        hold.append(y.detach())
        return y.sin()

    out = _kept(t, c, kept, x)
    hold[0].add_(1)
    with pytest.raises(RuntimeError, match="has been mutated"):
        out.sum().backward()
    hold.clear()
    out = _kept(t, c, kept, x, allow_cache_entry_mutation=True)
    hold[0].zero_()
    (g,) = t.autograd.grad(out.sum(), x)
    assert g.tolist() == [0, 0, 0]
    turns = iter([1, 2])
    out = _kept(t, c, lambda x: [x.exp() for _ in range(next(turns))][-1].sin(), x)
    with pytest.raises(RuntimeError):
        out.sum().backward()
    for wrong, error in (([t.ops.aten.exp], ValueError), (["exp"], ValueError), ("exp", TypeError)):
        with pytest.raises(error):
            c.create_selective_checkpoint_contexts(wrong)


def test_selective_in_threads_and_nested() -> None:
    t, c = dumbtorch, our_checkpoint
    part, leaves, x = _network(t)
    make = functools.partial(c.create_selective_checkpoint_contexts, [t.ops.aten.mm.default])
    expected = t.autograd.grad(part(part(x) * x).sum(), leaves)
    out = c.checkpoint(
        lambda x: part(c.checkpoint(part, x, use_reentrant=False, context_fn=make) * x), x, use_reentrant=False
    )
    for a, b in zip(expected, t.autograd.grad(out.sum(), leaves), strict=True):
        assert t.equal(a, b)
