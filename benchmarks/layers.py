"""The operations that networks are made of, forwards and backwards, at the shapes of the MNIST networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal


def _call(name: str, *shapes: tuple[int, ...], grad: bool, **options: Any) -> Callable[[Any], dict[str, Any]]:
    """A function of `nn.functional` on operands of these shapes; with `grad`, what its backward needs too."""

    def setup(t: Any) -> dict[str, Any]:
        function = getattr(t.nn.functional, name)
        operands = [normal(t, *shape, seed=seed, grad=grad) for seed, shape in enumerate(shapes)]

        def call() -> Any:
            return function(*operands, **options)

        names: dict[str, Any] = {"call": call}
        if grad:
            out = call()
            names |= {"out": out, "operands": operands, "grad": t.autograd.grad, "g": normal(t, *out.shape, seed=9)}
        return names

    return setup


def both(title: str, name: str, *shapes: tuple[int, ...], **options: Any) -> list[Case]:
    """A function of `nn.functional` on such operands, forwards and backwards."""
    return [
        Case(f"{title}, forward", "call()", _call(name, *shapes, grad=False, **options)),
        Case(
            f"{title}, backward",
            "grad(out, operands, g, retain_graph=True)",
            _call(name, *shapes, grad=True, **options),
        ),
    ]


def _loss(batch: int, classes: int, grad: bool) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        x = normal(t, batch, classes, grad=grad)
        y = integers(t, classes, batch)
        loss = t.nn.functional.cross_entropy
        return {"x": x, "y": y, "loss": loss, "out": loss(x, y), "grad": t.autograd.grad}

    return setup


def _embedding(grad: bool) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        weight = normal(t, 10_000, 256, grad=grad)
        rows = integers(t, 10_000, 64, 128)
        look_up = t.nn.functional.embedding
        out = look_up(rows, weight)
        return {"look_up": look_up, "rows": rows, "weight": weight, "out": out, "grad": t.autograd.grad,
                "g": normal(t, *out.shape, seed=9)}  # fmt: skip

    return setup


def cases() -> list[Case]:
    """The rows of this family."""
    return [
        *both("linear, 64 x 784 -> 256", "linear", (64, 784), (256, 784), (256,)),
        *both("linear, 512 x 784 -> 256", "linear", (512, 784), (256, 784), (256,)),
        *both("softmax, 64 x 10", "softmax", (64, 10), dim=1),
        *both("softmax, 1024 x 1024", "softmax", (1024, 1024), dim=1),
        *both("log_softmax, 1024 x 1024", "log_softmax", (1024, 1024), dim=1),
        Case("cross_entropy, 64 x 10, forward", "loss(x, y)", _loss(64, 10, False)),
        Case("cross_entropy, 64 x 10, backward", "grad(out, x, retain_graph=True)", _loss(64, 10, True)),
        Case("cross_entropy, 1024 x 10000, forward", "loss(x, y)", _loss(1024, 10_000, False)),
        Case("cross_entropy, 1024 x 10000, backward", "grad(out, x, retain_graph=True)", _loss(1024, 10_000, True)),
        *both("conv2d, 64 x 1 x 28 x 28, 16 of 3 x 3", "conv2d", (64, 1, 28, 28), (16, 1, 3, 3), (16,), padding=1),
        *both("conv2d, 64 x 16 x 14 x 14, 32 of 3 x 3", "conv2d", (64, 16, 14, 14), (32, 16, 3, 3), (32,), padding=1),
        *both("conv2d, 16 x 64 x 32 x 32, 64 of 3 x 3", "conv2d", (16, 64, 32, 32), (64, 64, 3, 3), (64,), padding=1),
        *both("max_pool2d, 64 x 16 x 28 x 28, 2 x 2", "max_pool2d", (64, 16, 28, 28), kernel_size=2),
        *both("avg_pool2d, 64 x 16 x 28 x 28, 2 x 2", "avg_pool2d", (64, 16, 28, 28), kernel_size=2),
        Case("embedding, 64 x 128 of 10000 x 256, forward", "look_up(rows, weight)", _embedding(False)),
        Case("embedding, 64 x 128 of 10000 x 256, backward", "grad(out, weight, g, retain_graph=True)",
             _embedding(True)),
        Case("dropout, 512 x 256", "call()", _call("dropout", (512, 256), grad=False)),
    ]  # fmt: skip
