"""Losses and bags of embeddings, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal

#: Losses of an element and its target: one pass forwards, one backwards. The floor is one read of both operands.
ELEMENTS = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "soft_margin_loss", "poisson_nll_loss", "hinge_embedding_loss", "multilabel_soft_margin_loss",
)  # fmt: skip


def _elements(name: str, grad: bool) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        x = normal(t, 1024, 1024).sigmoid()
        x = x.detach().requires_grad_() if grad else x
        y = normal(t, 1024, 1024, seed=1).sigmoid()
        options = {"reduction": "sum"} if name == "kl_div" else {}

        def call() -> Any:
            return getattr(t.nn.functional, name)(x, y, **options)

        return {"call": call, "out": call(), "x": x, "grad": t.autograd.grad}

    return setup


def _classes(name: str, shape: tuple[int, ...], grad: bool, **options: Any) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        x = normal(t, *shape, grad=grad)
        y = integers(t, shape[1], shape[0], *shape[2:])
        weight = {"weight": normal(t, shape[1], seed=3).abs()} if name != "multi_margin_loss" else {}

        def call() -> Any:
            return getattr(t.nn.functional, name)(x, y, **weight, **options)

        return {"call": call, "out": call(), "x": x, "grad": t.autograd.grad}

    return setup


def _bags(mode: str, grad: bool) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        x = normal(t, 10_000, 128, grad=grad)
        rows = integers(t, 10_000, 256, 32)

        def call() -> Any:
            return t.nn.functional.embedding_bag(rows, x, mode=mode)

        return {"call": call, "out": call().sum(), "x": x, "grad": t.autograd.grad}

    return setup


def cases() -> list[Case]:
    """The rows of this family."""
    rows: list[Case] = []
    setups: list[tuple[str, Callable[[bool], Any]]] = [
        (f"{name}, 1024 x 1024", lambda grad, name=name: _elements(name, grad)) for name in ELEMENTS
    ]
    for name, shape in (("nll_loss", (1024, 1000)), ("nll_loss", (8, 21, 64, 64)), ("cross_entropy", (1024, 1000)),
                        ("cross_entropy", (8, 21, 64, 64)), ("multi_margin_loss", (1024, 1000))):  # fmt: skip
        setups.append((f"{name} with weights, {' x '.join(map(str, shape))}",
                       lambda grad, name=name, shape=shape: _classes(name, shape, grad)))  # fmt: skip
    setups.append(("cross_entropy with smoothing, 1024 x 1000",
                   lambda grad: _classes("cross_entropy", (1024, 1000), grad, label_smoothing=0.1)))  # fmt: skip
    for mode in ("sum", "mean", "max"):
        setups.append((f"embedding_bag {mode}, 256 bags of 32 rows of 128", lambda grad, mode=mode: _bags(mode, grad)))
    for title, setup in setups:
        rows.append(Case(f"{title}, forward", "call()", setup(False)))
        rows.append(Case(f"{title}, backward", "grad(out, x, retain_graph=True)", setup(True)))
    return rows
