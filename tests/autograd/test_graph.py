"""Hooks on what the graph keeps, anomaly mode, edges: beside PyTorch where it has the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch as reference

import dumbtorch
from dumbtorch.autograd import graph

BOTH = (dumbtorch, reference)


def _leaf(t: Any, *values: float) -> Any:
    return t.tensor(values or (0.5, -1.0, 2.0), dtype=t.float64, requires_grad=True)


@pytest.mark.parametrize("t", BOTH)
def test_packing(t: Any) -> None:
    x, y = _leaf(t), _leaf(t, 3.0, 1.0, 2.0)
    seen: list[Any] = []

    def pack(tensor: Any) -> Any:
        seen.append(tensor)
        return tensor.tolist()

    opened: list[int] = []

    def unpack(values: Any) -> Any:
        opened.append(1)
        return t.tensor(values, dtype=t.float64)

    with t.autograd.graph.saved_tensors_hooks(pack, unpack):
        out = (x * y).exp().sum()
    assert len(seen) == 3 and seen[0] is x or seen[1] is x or seen[0] is y
    out.backward(retain_graph=True)
    assert len(opened) == 3
    expected = (y.detach() * (x.detach() * y.detach()).exp(), x.detach() * (x.detach() * y.detach()).exp())
    assert t.allclose(x.grad, expected[0]) and t.allclose(y.grad, expected[1])
    out.backward()
    assert t.allclose(x.grad, 2 * expected[0])
    with pytest.raises(RuntimeError, match="second time"):
        out.backward()


@pytest.mark.parametrize("t", BOTH)
def test_packing_through_derivatives_and_functions(t: Any) -> None:
    class Twice(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

    x = _leaf(t)
    names: list[Any] = []
    with t.autograd.graph.saved_tensors_hooks(lambda v: (names.append(1), v.detach().clone())[1], lambda v: v):
        out = Twice.apply(x).sin().sum()
    (g,) = t.autograd.grad(out, x, create_graph=True)
    (h,) = t.autograd.grad(g.sum(), x)
    square = x.detach() ** 2
    assert len(names) == 2
    assert t.allclose(g, 2 * x.detach() * square.cos())
    assert t.allclose(h, 2 * square.cos() - 4 * square * square.sin())


@pytest.mark.parametrize("t", BOTH)
def test_hooks_that_misbehave(t: Any) -> None:
    x = _leaf(t)
    hooks = t.autograd.graph.saved_tensors_hooks
    with pytest.raises(RuntimeError, match="in place"), hooks(lambda v: v.add_(1), lambda v: v):
        (x * 2).exp()
    with t.autograd.graph.saved_tensors_hooks(lambda v: v, lambda v: 1):
        out = x.exp().sum()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        out.backward()
    disabled, raises = t.autograd.graph.disable_saved_tensors_hooks, pytest.raises(RuntimeError, match="not here")
    with disabled("not here"), raises, t.autograd.graph.save_on_cpu():
        pass
    with t.autograd.graph.save_on_cpu():
        x.exp().sum().backward()
    assert t.allclose(x.grad, x.detach().exp())


@pytest.mark.parametrize("t", BOTH)
def test_writes_to_kept_tensors(t: Any) -> None:
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        a = _leaf(t)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        b.mul_(2)
        out.backward()
        assert t.allclose(a.grad, 2 * a.detach())
        with pytest.raises(RuntimeError, match="nested"), t.autograd.graph.allow_mutation_on_saved_tensors():
            pass
    b = a.clone()
    out = (b**2).sum()
    b.sin_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


@pytest.mark.parametrize("t", BOTH)
@pytest.mark.parametrize("write", ["put", "select", "pair"])
def test_indices_are_guarded(t: Any, write: str) -> None:
    x = _leaf(t)
    index = t.tensor([0, 2])
    if write == "put":
        out = x.index_put((index,), x[:2])
    elif write == "select":
        out = x.index_select(0, index)
    else:
        out = x[index]
    index.add_(-1).clamp_(min=0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("t", BOTH)
def test_anomaly_mode(t: Any) -> None:
    x = _leaf(t, -1.0, 2.0)
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"), t.autograd.detect_anomaly():
        y = x.sqrt()  # the line to be named
        with pytest.warns(UserWarning, match="the line to be named"), pytest.raises(RuntimeError, match="Sqrt.*nan"):
            y.sum().backward()
    with t.autograd.set_detect_anomaly(True, check_nan=False):
        x.sqrt().sum().backward()
    with t.autograd.set_detect_anomaly(True):
        assert t.is_anomaly_enabled() and t.is_anomaly_check_nan_enabled()
    assert not t.is_anomaly_enabled()

    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ValueError("broken")

    with t.autograd.set_detect_anomaly(True):
        z = Bad.apply(x)  # where the broken one is called
        with (
            pytest.warns(UserWarning, match="where the broken one is called"),
            pytest.raises(ValueError, match="broken"),
        ):
            z.sum().backward()


@pytest.mark.parametrize("t", BOTH)
def test_hooks_on_several_tensors(t: Any) -> None:
    a, b = _leaf(t), _leaf(t)
    c, d = a * b, a * b
    seen: list[Any] = []
    handle = t.autograd.graph.register_multi_grad_hook(
        (a, b, c, d), lambda grads: seen.append([g is not None for g in grads])
    )
    c.sum().backward(retain_graph=True)
    c.sum().backward(inputs=(a,), retain_graph=True)
    assert seen == [[True, True, True, False], [True, False, True, False]]
    handle.remove()
    c.sum().backward(retain_graph=True)
    assert len(seen) == 2
    firsts: list[Any] = []
    t.autograd.graph.register_multi_grad_hook((a, b, c), firsts.append, mode="any")
    c.sum().backward()
    assert len(firsts) == 1
    with pytest.raises(ValueError, match="mode"):
        t.autograd.graph.register_multi_grad_hook((a,), print, mode="some")


@pytest.mark.parametrize("t", BOTH)
def test_edges(t: Any) -> None:
    x = _leaf(t)
    y = x * 2
    edge = t.autograd.graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0
    assert t.autograd.graph.get_gradient_edge(x).node.name() == "torch::autograd::AccumulateGrad"
    assert y.grad_fn.next_functions[0][0] is t.autograd.graph.get_gradient_edge(x).node
    assert isinstance(y.grad_fn, t.autograd.graph.Node)
    z = (y * y).sum()
    (g,) = t.autograd.grad(z, edge)
    assert t.allclose(g, 2 * y.detach())
    out = t.autograd.grad(t.autograd.graph.get_gradient_edge(y), x, t.ones(3, dtype=t.float64))
    assert t.allclose(out[0], t.full((3,), 2.0, dtype=t.float64))
    y.grad_fn.metadata["note"] = 1
    assert y.grad_fn.metadata == {"note": 1}
    w = x * 2
    u = w * w
    t.autograd.graph.increment_version(w)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        u.sum().backward()


def test_threads_into_shared_leaves() -> None:
    """Eight threads, forward and backward, into the same parameters: the sum of all gradients."""
    t = dumbtorch
    model = t.nn.Sequential(t.nn.Linear(16, 32), t.nn.Tanh(), t.nn.Linear(32, 4)).double()
    inputs = [t.randn(8, 16, dtype=t.float64) for _ in range(8)]
    rounds = 25
    expected = []
    for p in model.parameters():
        p.grad = None
    for x in inputs:
        model(x).pow(2).sum().backward()
    expected = [p.grad * rounds for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    errors: list[BaseException] = []

    def work(x: Any) -> None:
        try:
            for _ in range(rounds):
                model(x).pow(2).sum().backward()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(x,)) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for p, e in zip(model.parameters(), expected, strict=True):
        assert t.allclose(p.grad, e, rtol=1e-9)


def test_names() -> None:
    for ours, theirs in ((dumbtorch.autograd.graph, reference.autograd.graph), (dumbtorch.func, reference.func)):
        wanted = getattr(theirs, "__all__", None) or [n for n in dir(theirs) if n[0] != "_"]
        missing = [n for n in wanted if not hasattr(ours, n)]
        assert missing == (["region_activation_memory_budget"] if ours is graph else [])
