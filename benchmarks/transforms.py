"""Functional transforms beside PyTorch: gradients of each sample, Jacobians, Hessians, ensembles, forward mode."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case, integers, normal


def _samples(t: Any, *layers: Any, shape: tuple[int, ...], batch: int, one: bool) -> dict[str, Any]:
    net = t.nn.Sequential(*layers)
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        x, y = (x.unsqueeze(0), y.unsqueeze(0)) if one else (x, y)
        return t.nn.functional.cross_entropy(t.func.functional_call(net, parameters, (x,)), y)

    each = t.func.vmap(t.func.grad(loss), (None, 0, 0))
    return {"each": each, "p": parameters, "x": normal(t, batch, *shape), "y": integers(t, 10, batch)}


def _mlp(t: Any) -> dict[str, Any]:
    nn = t.nn
    return _samples(t, nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10), shape=(784,), batch=128, one=False)


def _cnn(t: Any) -> dict[str, Any]:
    nn = t.nn
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)]
    return _samples(t, *layers, shape=(1, 28, 28), batch=64, one=True)


def _derivative(name: str, scalar: bool = False) -> Any:
    def setup(t: Any) -> dict[str, Any]:
        w = normal(t, 64, 64)

        def function(x: Any) -> Any:
            y = (w @ (w @ x).tanh()).tanh()
            return y.sum() if scalar else y

        return {"f": getattr(t.func, name)(function), "x": normal(t, 64, seed=1)}

    return setup


def _ensemble(t: Any) -> dict[str, Any]:
    models = [t.nn.Sequential(t.nn.Linear(64, 64), t.nn.Tanh(), t.nn.Linear(64, 8)) for _ in range(10)]

    def call(parameters: Any, buffers: Any, x: Any) -> Any:
        return t.func.functional_call(models[0], (parameters, buffers), (x,))

    parameters, buffers = t.func.stack_module_state(models)
    return {"f": t.func.vmap(call, (0, 0, None)), "p": parameters, "b": buffers, "x": normal(t, 128, 64)}


def _push(t: Any) -> dict[str, Any]:
    w = normal(t, 256, 256)
    return {
        "jvp": t.func.jvp, "f": lambda x: ((x @ w).tanh() @ w).softmax(1), "x": normal(t, 64, 256, seed=1),
        "v": normal(t, 64, 256, seed=2),
    }  # fmt: skip


def cases() -> list[Case]:
    """The rows of this family."""
    return [
        Case("gradients of each of 128 samples, MLP", "each(p, x, y)", _mlp),
        Case("gradients of each of 64 samples, CNN", "each(p, x, y)", _cnn),
        Case("jacrev, 64 x 64", "f(x)", _derivative("jacrev")),
        Case("jacfwd, 64 x 64", "f(x)", _derivative("jacfwd")),
        Case("hessian, 64 x 64", "f(x)", _derivative("hessian", True)),
        Case("ensemble of 10 models", "f(p, b, x)", _ensemble),
        Case("jvp of two products and softmax", "jvp(f, (x,), (v,))", _push),
    ]
