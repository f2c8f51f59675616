"""Losses in one pass: large and strided operands, half types, any number of threads, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, random, same_outcome, tensor_of

LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "soft_margin_loss", "poisson_nll_loss",
)  # fmt: skip


def _call(T: Any, name: str, x: Any, y: Any, reduction: str) -> Any:
    return getattr(T.nn.functional, name)(x, y, reduction=reduction)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_large_and_strided_for_any_number_of_threads(name: str, reduction: str) -> None:
    x, y = (1 / (1 + np.exp(-random((130, 301), seed, "float32"))) for seed in (0, 1))
    before = dumbtorch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            dumbtorch.set_num_threads(threads)
            a, b = tensor_of(dumbtorch, x, True), tensor_of(dumbtorch, y)
            out = _call(dumbtorch, name, a.t()[1:], b.t()[1:], reduction)
            out.backward(tensor_of(dumbtorch, random(tuple(out.shape), 3, "float32")))
            results.append((as_numpy(out), as_numpy(a.grad)))
    finally:
        dumbtorch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
    a, b = tensor_of(torch, x, True), tensor_of(torch, y)
    out = _call(torch, name, a.t()[1:], b.t()[1:], reduction)
    out.backward(tensor_of(torch, random(tuple(out.shape), 3, "float32")))
    for mine, reference in zip(results[0], (as_numpy(out), as_numpy(a.grad)), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=2e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LOSSES)
def test_half_types(name: str, dtype: str) -> None:
    x, y = (1 / (1 + np.exp(-random((40, 7), seed, "float32"))) for seed in (0, 1))
    given = [tensor_of(torch, v).to(getattr(torch, dtype)).float() for v in (x, y)]  # what the half type holds
    exact = float(_call(torch, name, *given, "mean"))
    half = _call(dumbtorch, name, *(tensor_of(dumbtorch, v).to(getattr(dumbtorch, dtype)) for v in (x, y)), "mean")
    assert str(half.dtype).endswith(dtype)
    assert abs(float(half) - exact) < 0.01 * max(abs(exact), 0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LOSSES)
def test_operands_that_are_not_alike(name: str) -> None:
    """Broadcast targets and targets of another dtype are computed in operations."""
    x, y = (1 / (1 + np.exp(-random((5, 4), seed))) for seed in (0, 1))
    for cut in (lambda v: v, lambda v: v[:1]):
        if name.startswith("binary") and cut(y).shape != x.shape:
            continue  # refused, here as there
        if name == "soft_margin_loss" and cut(y).shape != x.shape:
            continue
        mine = _call(dumbtorch, name, tensor_of(dumbtorch, x), tensor_of(dumbtorch, cut(y)).clone(), "sum")
        assert_close(mine, _call(torch, name, tensor_of(torch, x), tensor_of(torch, cut(y)), "sum"))


@pytest.mark.parametrize("name", LOSSES)
def test_specials_and_nothing(name: str) -> None:
    specials = np.array([0.0, 1.0, 0.5, 1.0, 0.0], dtype="float32")
    targets = np.array([0.0, 1.0, 1.0, 0.0, 1.0], dtype="float32")
    mine = _call(dumbtorch, name, tensor_of(dumbtorch, specials), tensor_of(dumbtorch, targets), "none")
    assert_close(mine, _call(torch, name, tensor_of(torch, specials), tensor_of(torch, targets), "none"), "float32")
    for reduction in ("sum", "none"):
        nothing = _call(dumbtorch, name, dumbtorch.zeros(0, 3), dumbtorch.zeros(0, 3), reduction)
        assert nothing.shape == (() if reduction == "sum" else (0, 3))


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.functional.binary_cross_entropy(T.tensor([1.5]), T.tensor([1.0])),
        lambda T: T.nn.functional.binary_cross_entropy(T.tensor([float("nan")]), T.tensor([1.0])),
        lambda T: T.nn.functional.binary_cross_entropy(T.full((9000,), -0.1), T.ones(9000)),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([0, 3])),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([0, -1])),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([0, 1]), weight=T.ones(2)),
        lambda T: str(T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([-100, -100]))),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([5, 5]), ignore_index=5, reduction="sum").item(),
        lambda T: str(T.nn.functional.mse_loss(T.zeros(0), T.zeros(0))),
    ],
)
def test_refusals_and_edges(scenario: Any) -> None:
    same_outcome(scenario, message=False)
