"""The transforms beside PyTorch's, and their compositions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as reference

import dumbtorch


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _flat(value[key])]
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, (tuple, list)) else [value]


class Setting:
    """One framework with the same numbers."""

    def __init__(self, m: Any) -> None:
        self.m, self.F = m, m.func
        self.rng = np.random.default_rng(0)
        self.x, self.W, self.X = self.t(4), self.t(3, 4), self.t(5, 4)
        self.img, self.K, self.b = self.t(6, 2, 5, 5), self.t(3, 2, 3, 3), self.t(3)

    def t(self, *shape: int) -> Any:
        return self.m.tensor(self.rng.standard_normal(shape).tolist(), dtype=self.m.float64)

    @staticmethod
    def f(x: Any) -> Any:
        return (x.sin() * x).sum()

    def layer(self, x: Any) -> Any:
        return (self.W @ x).tanh()

    def conv(self, p: Any, x: Any) -> Any:
        return self.m.nn.functional.conv2d(x.unsqueeze(0), p[0], p[1], padding=1).relu().pow(2).sum()


CASES: dict[str, Any] = {
    "grad": lambda s: s.F.grad(s.f)(s.x),
    "grad of grad": lambda s: s.F.grad(lambda x: s.F.grad(s.f)(x).pow(2).sum())(s.x),
    "vmap of grad": lambda s: s.F.vmap(s.F.grad(s.f))(s.X),
    "grad of vmap": lambda s: s.F.grad(lambda X: s.F.vmap(s.f)(X).sum())(s.X),
    "gradients of each sample": lambda s: s.F.vmap(s.F.grad(lambda W, x: (W @ x).tanh().sum()), (None, 0))(s.W, s.X),
    "jacrev": lambda s: s.F.jacrev(s.layer)(s.x),
    "jacfwd": lambda s: s.F.jacfwd(s.layer)(s.x),
    "jacrev in chunks": lambda s: s.F.jacrev(s.layer, chunk_size=2)(s.x),
    "jacobians of several": lambda s: s.F.jacrev(lambda x, y: (x * y.sum(), y.outer(x)), (0, 1))(s.x, s.b),
    "jacfwd of several": lambda s: s.F.jacfwd(lambda x, y: (x * y.sum(), y.outer(x)), (0, 1))(s.x, s.b),
    "hessian": lambda s: s.F.hessian(s.f)(s.x),
    "hessian of several": lambda s: s.F.hessian(lambda x, y: (x.outer(y)).sin().sum(), (0, 1))(s.x, s.b),
    "jacfwd of jacrev": lambda s: s.F.jacfwd(s.F.jacrev(s.f))(s.x),
    "jacfwd of jacfwd": lambda s: s.F.jacfwd(s.F.jacfwd(s.f))(s.x),
    "jacrev of jacfwd": lambda s: s.F.jacrev(s.F.jacfwd(s.f))(s.x),
    "vmap of hessian": lambda s: s.F.vmap(s.F.hessian(s.f))(s.X),
    "vmap of jacfwd of jacrev": lambda s: s.F.vmap(s.F.jacfwd(s.F.jacrev(s.f)))(s.X),
    "jacrev of vmap": lambda s: s.F.jacrev(s.F.vmap(s.layer))(s.X),
    "jvp": lambda s: s.F.jvp(lambda x, W: (W @ x).exp(), (s.x, s.W), (s.x * 2, s.W * 3)),
    "jvp of grad": lambda s: s.F.jvp(s.F.grad(s.f), (s.x,), (s.x * 2,)),
    "grad of jvp": lambda s: s.F.grad(lambda x: s.F.jvp(s.f, (x,), (x * 2,))[1])(s.x),
    "jvp of vmap of grad": lambda s: s.F.jvp(s.F.vmap(s.F.grad(lambda x: s.layer(x).pow(3).sum())), (s.X,), (s.X * 2,)),
    "vmap of jvp": lambda s: s.F.vmap(lambda x: s.F.jvp(s.layer, (x,), (x * 2,)))(s.X),
    "vjp with containers": lambda s: s.F.vjp(lambda x: {"a": s.layer(x), "b": x.sum()}, s.x)[1](
        {"a": s.b, "b": s.b.sum()}),
    "aux": lambda s: s.F.grad(lambda x: (s.f(x), {"twice": x * 2}), has_aux=True)(s.x),
    "value": lambda s: s.F.grad_and_value(lambda x, k: s.f(x) * k["k"], argnums=1)(s.x, {"k": s.b.sum()}),
    "chunks": lambda s: s.F.vmap(s.f, chunk_size=2)(s.X),
    "places": lambda s: s.F.vmap(lambda x, y: (x * 2, y), in_dims=(1, None), out_dims=(1, 0))(s.W, s.x),
    "nested places": lambda s: s.F.vmap(lambda d: d["a"] + d["b"], in_dims=({"a": 0, "b": 1},))(
        {"a": s.W, "b": s.W.t()}),
    "nested vmap": lambda s: s.F.vmap(s.F.vmap(lambda x, y: x * y + 1, (None, 0)), (0, None))(s.x, s.x),
    "keywords": lambda s: s.F.vmap(lambda x, y=None: x + y)(s.X, y=s.x * 2),
    "loss": lambda s: s.F.vmap(s.F.grad(lambda W, x: s.m.nn.functional.cross_entropy(W @ x, s.m.tensor(1))), (None, 0))(
        s.W, s.X),
    "convolution of each sample": lambda s: s.F.vmap(s.F.grad(s.conv), (None, 0))((s.K, s.b), s.img),
    "ensemble of convolutions": lambda s: s.F.vmap(lambda k, x: s.m.nn.functional.conv2d(x, k), (0, None))(
        s.m.stack([s.K, s.K * 2]), s.img),
    "hessian of a convolution": lambda s: s.F.hessian(
        lambda k: s.m.nn.functional.conv2d(s.img, k, s.b).tanh().sum())(s.K),
    "in place": lambda s: s.F.vmap(lambda x: x.clone().mul_(x).add_(1))(s.X),
    "in place, differentiated": lambda s: s.F.jacfwd(lambda x: x.clone().mul_(x)[1:].add_(x[:-1]))(s.x),
    "written views": lambda s: s.F.vmap(_written)(s.X),
    "linear solve": lambda s: s.F.jacrev(lambda A: s.m.linalg.solve(A, s.x))(s.m.eye(4, dtype=s.m.float64) + s.t(4, 4)),
    "sort": lambda s: s.F.vmap(lambda x: s.m.sort(x, descending=True).values)(s.X),
    "norm": lambda s: s.F.jacrev(lambda x: s.m.nn.functional.layer_norm(x, (4,)))(s.X),
    "normalized weights": lambda s: s.F.vmap(
        s.F.grad(lambda w, x: (s.m.nn.functional.layer_norm(x, (4,), w) ** 3).sum()), (None, 0))(s.x, s.X),
    "softmax": lambda s: s.F.jacfwd(lambda x: s.m.softmax(x, 0))(s.x),
    "index": lambda s: s.F.vmap(lambda x, i: x[i])(s.X, s.m.tensor([[0, 1], [1, 1], [3, 2], [0, 0], [2, 3]])),
    "embedding": lambda s: s.F.vmap(s.F.grad(lambda w, i: s.m.nn.functional.embedding(i, w).pow(2).sum()), (None, 0))(
        s.W, s.m.tensor([[0, 1], [1, 1], [2, 2]])),
    "scalars that promote": lambda s: s.F.vmap(lambda x, y: x * y)(s.X.float(), s.X[:, 0]),
    "third order": lambda s: s.F.grad(s.F.grad(s.F.grad(lambda x: x.sin() * x.exp())))(s.x[0]),
}  # fmt: skip


def _written(x: Any) -> Any:
    z = x.new_zeros(4)
    z[1:] = x[:-1]
    z[0] = x.sum()
    return z


@pytest.mark.filterwarnings("ignore:`torch.jit")  # PyTorch's own forward mode compiles with it
@pytest.mark.parametrize("name", sorted(CASES))
def test_like_pytorch(name: str) -> None:
    ours, theirs = (_flat(CASES[name](Setting(m))) for m in (dumbtorch, reference))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and str(a.dtype) == str(b.dtype)
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(np.asarray(a.tolist()), np.asarray(b.tolist()), rtol=1e-9, atol=1e-12)


def test_linearize() -> None:
    s = Setting(dumbtorch)
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return s.layer(x)

    value, push = s.F.linearize(f, s.x)
    for factor in (1, 3):
        expected = s.F.jvp(s.layer, (s.x,), (s.x * factor,))
        assert dumbtorch.allclose(value, expected[0]) and dumbtorch.allclose(push(s.x * factor), expected[1])
    assert len(calls) == 1


def test_what_the_function_closes_over_is_recorded() -> None:
    w = dumbtorch.tensor(3.0, requires_grad=True)
    g = dumbtorch.func.grad(lambda x: (w * x).sin())(dumbtorch.tensor(2.0))
    g.backward()
    assert abs(w.grad.item() - (np.cos(6) - 6 * np.sin(6))) < 1e-5
    with dumbtorch.no_grad():
        assert not dumbtorch.func.grad(lambda x: (w * x).sin())(dumbtorch.tensor(2.0)).requires_grad
    assert not dumbtorch.func.grad(lambda x: (w.detach() * x).sin())(dumbtorch.tensor(2.0)).requires_grad


def test_randomness() -> None:
    x = dumbtorch.zeros(3, 4)
    with pytest.raises(RuntimeError, match="randomness"):
        dumbtorch.vmap(lambda x: x + dumbtorch.rand(4))(x)
    different = dumbtorch.vmap(lambda x: x + dumbtorch.rand(4), randomness="different")(x)
    assert len({tuple(row) for row in different.tolist()}) == 3
    same = dumbtorch.vmap(lambda x: x + dumbtorch.rand(4), randomness="same")(x)
    assert len({tuple(row) for row in same.tolist()}) == 1
    for mode, count in (("different", 3), ("same", 1)):
        dropped = dumbtorch.vmap(lambda x: dumbtorch.nn.functional.dropout(x + 1, 0.5), randomness=mode)(
            dumbtorch.zeros(3, 64)
        )
        assert len({tuple(row) for row in dropped.tolist()}) == count
        shuffled = dumbtorch.vmap(lambda x: x[dumbtorch.randperm(64)], randomness=mode)(
            dumbtorch.arange(64).expand(3, 64)
        )
        assert len({tuple(row) for row in shuffled.tolist()}) == count
    nested = dumbtorch.vmap(
        dumbtorch.vmap(lambda x: x + dumbtorch.rand(()), randomness="same"), randomness="different"
    )(x)
    assert [len(set(row)) for row in nested.tolist()] == [1, 1, 1] and len(set(nested[:, 0].tolist())) == 3


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: t.vmap(lambda x: x.item())(t.ones(2)), RuntimeError, "item"),
        (lambda t: t.vmap(lambda x: x if x > 0 else -x)(t.ones(2)), RuntimeError, "control flow"),
        (lambda t: t.vmap(lambda x: x.nonzero())(t.ones(2, 3)), RuntimeError, "dynamic shape"),
        (lambda t: t.vmap(lambda x, y: x.add_(y), (None, 0))(t.ones(3), t.ones(2, 3)), RuntimeError, "inplace"),
        (lambda t: t.vmap(lambda x: x)(1.0), ValueError, "in_dim"),
        (lambda t: t.vmap(lambda x, y: x)(t.ones(2), t.ones(3)), ValueError, "same size"),
        (lambda t: t.vmap(lambda x: 1)(t.ones(2)), ValueError, "must only return Tensors"),
        (lambda t: t.vmap(lambda x: x, in_dims=3)(t.ones(2)), ValueError, "in_dim"),
        (lambda t: t.vmap(lambda x: x, randomness="none")(t.ones(2)), RuntimeError, "randomness"),
        (lambda t: t.func.grad(lambda x: x)(t.ones(2)), RuntimeError, "scalar"),
        (lambda t: t.func.grad(lambda x: x.sum(), argnums=2)(t.ones(2)), RuntimeError, "argnum"),
        (lambda t: t.func.vjp(lambda x: x * 2, t.ones(2))[1](t.ones(3)), RuntimeError, "shape"),
        (lambda t: t.func.jvp(lambda x: x * 2, (t.ones(2),), (t.ones(3),)), RuntimeError, "size"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_errors(call: Any, error: Any, text: str) -> None:
    for framework in (reference, dumbtorch):
        with pytest.raises(error) as caught:
            call(framework)
        if framework is dumbtorch:
            assert text in str(caught.value)


def test_what_escapes_shows_nothing() -> None:
    kept: list[Any] = []
    dumbtorch.vmap(lambda x: (kept.append(x * 2), x)[1])(dumbtorch.ones(3, 4))
    assert kept[0].shape == (0,) and "ended" in repr(kept[0])
    duals: list[Any] = []
    dumbtorch.func.jvp(lambda x: (duals.append(x * 2), x)[1], (dumbtorch.ones(2),), (dumbtorch.ones(2),))
    assert (duals[0] + 1).tolist() == [3.0, 3.0]


def test_modules() -> None:
    results = []
    for t in (reference, dumbtorch):
        layer = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 2)).double()
        rng = np.random.default_rng(1)
        with t.no_grad():
            for p in layer.parameters():
                p.copy_(t.tensor(rng.standard_normal(tuple(p.shape)).tolist()))
        x = t.tensor(rng.standard_normal((5, 3)).tolist(), dtype=t.float64)
        parameters = {name: p.detach() for name, p in layer.named_parameters()}

        def loss(p: Any, x: Any, t: Any = t, layer: Any = layer) -> Any:
            return t.func.functional_call(layer, p, (x,)).pow(2).sum()

        each = t.func.vmap(t.func.grad(loss), (None, 0))(parameters, x)
        stacked = t.func.stack_module_state([layer, layer, layer])
        ensemble = t.func.vmap(lambda p, b, t=t, layer=layer, x=x: t.func.functional_call(layer, (p, b), (x,)))(
            *stacked
        )
        results.append([*each.values(), ensemble])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(np.asarray(a.tolist()), np.asarray(b.tolist()), rtol=1e-12)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        dumbtorch.func.functional_call(dumbtorch.nn.Linear(1, 1), ({"weight": 1}, {"weight": 2}), ())


def test_integers_have_no_tangent() -> None:
    """What is cast to integers does not move, in place neither."""

    def fraction(x: Any) -> Any:
        whole = dumbtorch.zeros(3, dtype=dumbtorch.int64)
        whole.copy_(x)
        return x - x.to(dumbtorch.int64) + (x - whole)

    x, v = dumbtorch.tensor([1.25, -2.5, 3.0]), dumbtorch.tensor([1.5, 2.5, -3.5])
    value, tangent = dumbtorch.func.jvp(fraction, (x,), (v,))
    assert value.tolist() == [0.5, -1.0, 0.0] and tangent.tolist() == [3.0, 5.0, -7.0]
