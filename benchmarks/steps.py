"""Whole training steps: the MNIST networks, and an optimizer over many parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal


def mlp(t: Any) -> Any:
    """The perceptron of examples/mnist.py."""
    nn = t.nn
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def cnn(t: Any) -> Any:
    """The convolutional network of examples/mnist.py."""
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


NETWORKS = {"mlp": mlp, "cnn": cnn}


def training_step(t: Any, network: str, batch: int, optimizer: str) -> Callable[[], Any]:
    """A function that does one step of training on random pictures and returns the loss."""
    model = NETWORKS[network](t)
    x = normal(t, batch, 1, 28, 28)
    y = integers(t, 10, batch)
    loss_function = t.nn.CrossEntropyLoss()
    rate = {"SGD": 1e-2, "Adam": 1e-3, "AdamW": 1e-3}[optimizer]
    update = getattr(t.optim, optimizer)(model.parameters(), lr=rate)

    def step() -> Any:
        update.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        update.step()
        return loss

    return step


def _step(network: str, batch: int, optimizer: str) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"step": training_step(t, network, batch, optimizer)}


def optimizer_step(t: Any, name: str, parameters: int, pieces: int, **options: Any) -> Callable[[], Any]:
    """The step of an optimizer over so many parameters, spread over some tensors."""
    weights = []
    for seed in range(pieces):
        weight = normal(t, parameters // pieces, seed=seed, grad=True)
        weight.grad = normal(t, parameters // pieces, seed=seed + 1000)
        weights.append(weight)
    made = getattr(t.optim, name)(weights, lr=1e-3, **options)
    step: Callable[[], Any] = made.step
    return step


def _update(name: str, parameters: int, pieces: int, **options: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"step": optimizer_step(t, name, parameters, pieces, **options)}


def _embedding(name: str) -> Callable[[Any], dict[str, Any]]:
    """A step of a table of 50,000 rows with sparse gradients: 4096 rows are looked up, some of them several times."""

    def setup(t: Any) -> dict[str, Any]:
        table = t.nn.Embedding(50_000, 256, sparse=True)
        optimizer = getattr(t.optim, name)(table.parameters(), lr=1e-3)
        indices = integers(t, 50_000, 32, 128) // 4
        weights = normal(t, 32, 128, 256)

        def step() -> None:
            optimizer.zero_grad()
            (table(indices) * weights).sum().backward()
            optimizer.step()

        return {"step": step}

    return setup


#: Every optimizer of elements that has no row of its own.
OPTIMIZERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {}), ("AdamW", {}), ("Adagrad", {}), ("Adadelta", {}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}),
    ("RMSprop", {}), ("Rprop", {}), ("ASGD", {}),
)  # fmt: skip


def _matrices(name: str, size: int) -> Callable[[Any], dict[str, Any]]:
    """The step of an optimizer over ten square matrices."""

    def setup(t: Any) -> dict[str, Any]:
        weights = [normal(t, size, size, seed=seed, grad=True) for seed in range(10)]
        for seed, weight in enumerate(weights):
            weight.grad = normal(t, size, size, seed=seed + 1000)
        return {"step": getattr(t.optim, name)(weights, lr=1e-3).step}

    return setup


def cases() -> list[Case]:
    """The rows of this family."""
    rows = [
        Case(f"MLP step, batch {batch}, {optimizer}", "step()", _step("mlp", batch, optimizer), 0.8)
        for batch in (64, 512)
        for optimizer in ("SGD", "Adam")
    ]
    rows += [
        Case("CNN step, batch 64, SGD", "step()", _step("cnn", 64, "SGD"), 1.0),
        Case("CNN step, batch 64, Adam", "step()", _step("cnn", 64, "Adam"), 1.0),
        Case("Adam step, 10M parameters in 10 tensors", "step()", _update("Adam", 10_000_000, 10), 0.8),
        Case("Adam step, 10M parameters, PyTorch's with fused=True", "step()", _update(
            "Adam", 10_000_000, 10, fused=True), None),
        Case("AdamW step, 1M parameters in 100 tensors", "step()", _update("AdamW", 1_000_000, 100), 0.8),
        Case("SGD step with momentum, 10M parameters in 10 tensors", "step()", _update(
            "SGD", 10_000_000, 10, momentum=0.9), 0.8),
    ]  # fmt: skip
    rows += [
        Case(f"{name} step, 10M parameters in 10 tensors", "step()", _update(name, 10_000_000, 10, **options), 1.2)
        for name, options in OPTIMIZERS
    ]
    rows += [
        Case(f"Embedding 50k x 256 with sparse gradients, 4096 rows, {name}", "step()", _embedding(name), 1.0)
        for name in ("SGD", "SparseAdam", "Adagrad")
    ]
    rows.append(Case("Muon step, 10 matrices of 500 x 500", "step()", _matrices("Muon", 500), 1.2))
    rows.append(Case("Adafactor step, 10 matrices of 1000 x 1000", "step()", _matrices("Adafactor", 1000), 1.2))
    return rows
