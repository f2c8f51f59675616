"""Functional transforms beside PyTorch: gradients of each sample, Jacobians, Hessians, ensembles, forward mode."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case, integers, normal


def _samples(t: Any, *layers: Any, shape: tuple[int, ...], batch: int, one: bool, loop: bool = False) -> dict[str, Any]:
    net = t.nn.Sequential(*layers).eval()
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        x, y = (x.unsqueeze(0), y.unsqueeze(0)) if one else (x, y)
        return t.nn.functional.cross_entropy(t.func.functional_call(net, parameters, (x,)), y)

    each = t.func.vmap(t.func.grad(loss), (None, 0, 0))
    if loop and t.__name__ == "torch":  # what PyTorch's vmap cannot do

        def each(parameters: Any, x: Any, y: Any) -> Any:
            made = [t.func.grad(loss)(parameters, a, b) for a, b in zip(x, y, strict=True)]
            return {name: t.stack([one[name] for one in made]) for name in parameters}

    return {"each": each, "p": parameters, "x": normal(t, batch, *shape), "y": integers(t, 10, batch)}


def _mlp(t: Any) -> dict[str, Any]:
    nn = t.nn
    return _samples(t, nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10), shape=(784,), batch=128, one=False)


def _cnn(t: Any) -> dict[str, Any]:
    nn = t.nn
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)]
    return _samples(t, *layers, shape=(1, 28, 28), batch=64, one=True)


def _normalized(t: Any) -> dict[str, Any]:
    nn = t.nn
    layers = [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 10)]
    return _samples(t, *layers, shape=(8, 16, 16), batch=32, one=True)


def _transformer(t: Any) -> dict[str, Any]:
    nn = t.nn
    layers = [nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True), nn.Flatten(), nn.Linear(32 * 64, 10)]
    return _samples(t, *layers, shape=(32, 64), batch=32, one=True)


def _lstm(t: Any) -> dict[str, Any]:
    class Last(t.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x[0][:, -1]

    layers = [t.nn.LSTM(32, 64, batch_first=True), Last(), t.nn.Linear(64, 10)]
    return _samples(t, *layers, shape=(20, 32), batch=32, one=True, loop=True)


def _losses(t: Any) -> dict[str, Any]:
    F = t.nn.functional

    def loss(x: Any, y: Any) -> Any:
        return F.mse_loss(x, y) + F.smooth_l1_loss(x, y) + F.binary_cross_entropy_with_logits(x, y)

    return {"f": t.func.vmap(t.func.grad(loss)), "x": normal(t, 256, 1000), "y": normal(t, 256, 1000, seed=1)}


def _resized(t: Any) -> dict[str, Any]:
    def resize(x: Any) -> Any:
        return t.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")

    return {"f": t.func.vmap(resize), "x": normal(t, 32, 1, 3, 64, 64)}


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
        Case("gradients of each of 32 samples, CNN with batch norm", "each(p, x, y)", _normalized),
        Case("gradients of each of 32 samples, transformer block", "each(p, x, y)", _transformer),
        Case("gradients of each of 32 samples, LSTM (PyTorch: a loop)", "each(p, x, y)", _lstm),
        Case("gradients of three losses of each of 256 samples", "f(x, y)", _losses),
        Case("vmap of interpolate, 32 images", "f(x)", _resized),
        Case("jacrev, 64 x 64", "f(x)", _derivative("jacrev")),
        Case("jacfwd, 64 x 64", "f(x)", _derivative("jacfwd")),
        Case("hessian, 64 x 64", "f(x)", _derivative("hessian", True)),
        Case("ensemble of 10 models", "f(p, b, x)", _ensemble),
        Case("jvp of two products and softmax", "jvp(f, (x,), (v,))", _push),
    ]
