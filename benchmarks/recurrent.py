"""Recurrent layers and the loss of sequences: PyTorch computes LSTMs of float32 by oneDNN, the others step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal


def _layer(name: str, steps: int, batch: int, inputs: int, hidden: int, **options: Any) -> Callable[[Any], Any]:
    def setup(t: Any) -> dict[str, Any]:
        layer = getattr(t.nn, name)(inputs, hidden, **options)
        with t.no_grad():
            for seed, weight in enumerate(layer.parameters()):
                weight.copy_(normal(t, *weight.shape, seed=seed) / hidden**0.5)
        x = normal(t, steps, batch, inputs)
        weights = list(layer.parameters())

        def step() -> Any:
            return t.autograd.grad(layer(x)[0].sum(), weights)

        def forward() -> Any:
            with t.no_grad():
                return layer(x)

        return {"step": step, "forward": forward}

    return setup


def _cell(name: str, batch: int, inputs: int, hidden: int) -> Callable[[Any], Any]:
    def setup(t: Any) -> dict[str, Any]:
        cell = getattr(t.nn, name)(inputs, hidden)
        x = normal(t, batch, inputs)
        weights = list(cell.parameters())

        def step() -> Any:
            out = cell(x)
            return t.autograd.grad((out[0] if isinstance(out, tuple) else out).sum(), weights)

        return {"step": step}

    return setup


def _ctc(steps: int, batch: int, classes: int, longest: int) -> Callable[[Any], Any]:
    def setup(t: Any) -> dict[str, Any]:
        x = normal(t, steps, batch, classes).log_softmax(2).requires_grad_()
        targets = integers(t, classes - 1, batch, longest) + 1
        lengths = (steps,) * batch, (longest,) * batch
        return {"step": lambda: t.autograd.grad(t.nn.functional.ctc_loss(x, targets, *lengths), x)}

    return setup


def _both(title: str, *arguments: Any, **options: Any) -> list[Case]:
    setup = _layer(*arguments, **options)
    return [
        Case(f"{title}, forward", "forward()", setup),
        Case(f"{title}, forward and backward", "step()", setup),
    ]


def cases() -> list[Case]:
    """The rows of this family."""
    return [
        *_both("LSTM, 128 steps, 32 x 256 -> 256", "LSTM", 128, 32, 256, 256),
        *_both("LSTM, 16 steps, 4 x 32 -> 32", "LSTM", 16, 4, 32, 32),
        *_both("LSTM of two layers and directions, 32 steps, 16 x 64 -> 128", "LSTM", 32, 16, 64, 128, num_layers=2,
               bidirectional=True),
        *_both("GRU, 128 steps, 32 x 256 -> 256", "GRU", 128, 32, 256, 256),
        *_both("RNN, 128 steps, 32 x 256 -> 256", "RNN", 128, 32, 256, 256),
        Case("LSTMCell, 32 x 128 -> 256, forward and backward", "step()", _cell("LSTMCell", 32, 128, 256)),
        Case("GRUCell, 8 x 32 -> 32, forward and backward", "step()", _cell("GRUCell", 8, 32, 32)),
        Case("ctc_loss, 200 steps, 32 x 64, 40 labels, forward and backward", "step()", _ctc(200, 32, 64, 40)),
    ]  # fmt: skip
