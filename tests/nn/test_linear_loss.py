"""Cross-entropy of a linear map in chunks: values and gradients of the whole, and what chunks refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import assert_close, random, same_outcome, tensor_of

Options = dumbtorch.nn.LinearCrossEntropyOptions
TARGET = np.array([0, 6, 3, -100, 2, 2, 5])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_chunk_size": 2, "chunking_method": None},
        {"chunking_method": "aspect_ratio:2", "acc_policy": "balanced"},
        {"acc_policy": "accurate", "allow_retain_graph": True},
    ],
    ids=str,
)
def test_chunks_are_the_whole(reduction: str, weighted: bool, options: dict[str, Any]) -> None:
    def run(T: Any, chunks: Any) -> list[Any]:
        x, w, b = (tensor_of(T, random(s, i), True) for i, s in enumerate([(7, 4), (8, 4), (8,)]))
        weight = tensor_of(T, np.abs(random((8,), 5))) if weighted else None
        loss = T.nn.functional.linear_cross_entropy(
            x, w, tensor_of(T, TARGET), linear_bias=b, weight=weight, reduction=reduction, options=chunks
        )
        loss.backward(tensor_of(T, random(tuple(loss.shape), 9)))
        return [loss, x.grad, w.grad, b.grad]

    assert_close(run(dumbtorch, Options(**options)), run(torch, None))


def test_chunks_of_half_types() -> None:
    x, w = (dumbtorch.from_numpy(random(s, i, "float32")) for i, s in enumerate([(64, 16), (300, 16)]))
    target = dumbtorch.from_numpy(np.random.default_rng(0).integers(0, 300, 64))
    exact = dumbtorch.nn.functional.linear_cross_entropy(x, w, target)
    half = dumbtorch.nn.functional.linear_cross_entropy(x.bfloat16(), w.bfloat16(), target, options=Options())
    assert half.dtype is dumbtorch.bfloat16
    assert abs(float(half) - float(exact)) < 0.03 * float(exact)


def test_another_backward() -> None:
    for keep in (False, True):
        x = dumbtorch.rand(4, 3, requires_grad=True)
        loss = dumbtorch.nn.functional.linear_cross_entropy(
            x, dumbtorch.rand(5, 3), dumbtorch.tensor([0, 1, 2, 3]), options=Options(allow_retain_graph=keep)
        )
        loss.backward(retain_graph=True)
        first = x.grad.clone()
        if keep:
            loss.backward()
            assert dumbtorch.allclose(x.grad, 2 * first)
        else:
            with pytest.raises(RuntimeError, match="allow_retain_graph"):
                loss.backward()


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.LinearCrossEntropyOptions(acc_policy="fast"),
        lambda T: T.nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio:0"),
        lambda T: T.nn.LinearCrossEntropyOptions(batch_chunk_size=0),
        lambda T: repr(T.nn.LinearCrossEntropyOptions(batch_chunk_size=3)),
        lambda T: T.nn.functional.linear_cross_entropy(T.zeros(2, 3), T.zeros(4, 2), T.tensor([0, 1])),
        lambda T: T.nn.functional.linear_cross_entropy(T.zeros(3), T.zeros(4, 2, 3), T.tensor([0, 1])),
        lambda T: T.nn.functional.linear_cross_entropy(
            T.zeros(2, 3), T.zeros(4, 3), T.tensor([0, 1]), linear_bias=T.zeros(3)
        ),
        lambda T: T.nn.functional.linear_cross_entropy(T.zeros(2, 3), T.zeros(4, 3), T.zeros(2, 4), ignore_index=1),
        lambda T: T.nn.LinearCrossEntropyLoss(3, 4, label_smoothing=2.0),
        lambda T: T.nn.LinearCrossEntropyLoss(3, 4, weight=T.ones(3)),
        lambda T: (
            float(
                T.nn.functional.linear_cross_entropy(
                    T.zeros(2, 3),
                    T.zeros(4, 3),
                    T.tensor([0, 1]),
                    label_smoothing=0.1,
                    options=T.nn.LinearCrossEntropyOptions(),
                )
            )
            > 1
        ),
    ],
)
def test_refusals(scenario: Any) -> None:
    same_outcome(scenario, message=False)
