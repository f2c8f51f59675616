"""Gradient clipping and parameter vectors, beside PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, copy_state, random, same_outcome, tensor_of


def pair():
    def make(T):
        layers = [T.nn.Linear(3, 4), T.nn.Tanh(), T.nn.Linear(4, 2)]
        return T.nn.Sequential(*layers, T.nn.Linear(2, 2)).double()

    mine, reference = make(dumbtorch), make(torch)
    copy_state(mine, reference)
    x = random((5, 3))
    for T, model in ((dumbtorch, mine), (torch, reference)):
        # The last layer is left without gradients.
        (model[:-1](tensor_of(T, x)) ** 2).sum().backward()
    return mine, reference


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3, math.inf, "inf"])
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_clip_grad_norm(norm_type, max_norm: float) -> None:
    mine, reference = pair()
    total = dumbtorch.nn.utils.clip_grad_norm_(mine.parameters(), max_norm, norm_type)
    assert_close(total, torch.nn.utils.clip_grad_norm_(reference.parameters(), max_norm, norm_type))
    for a, b in zip(mine.parameters(), reference.parameters(), strict=True):
        assert_close(a.grad, b.grad)


def test_clip_one_tensor_and_none() -> None:
    def scenario(T):
        p = T.nn.Parameter(T.tensor([3.0, 4.0]))
        empty = T.nn.utils.clip_grad_norm_(p, 1.0).item()
        p.grad = T.tensor([3.0, 4.0])
        total = T.nn.utils.clip_grad_norm_(p, 1.0).item()
        return empty, round(total, 5), [round(v, 5) for v in p.grad.tolist()]

    same_outcome(scenario)


def test_non_finite_norm() -> None:
    def scenario(T):
        p = T.nn.Parameter(T.ones(2))
        p.grad = T.tensor([float("inf"), 1.0])
        T.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)

    same_outcome(scenario, message=False)


def test_clip_grad_value() -> None:
    mine, reference = pair()
    dumbtorch.nn.utils.clip_grad_value_(mine.parameters(), 0.05)
    torch.nn.utils.clip_grad_value_(reference.parameters(), 0.05)
    for a, b in zip(mine.parameters(), reference.parameters(), strict=True):
        assert_close(a.grad, b.grad)


def test_parameters_to_vector_and_back() -> None:
    mine, reference = pair()
    vector = dumbtorch.nn.utils.parameters_to_vector(mine.parameters())
    assert_close(vector, torch.nn.utils.parameters_to_vector(reference.parameters()))
    assert vector.requires_grad
    weight = mine[0].weight
    dumbtorch.nn.utils.vector_to_parameters(vector.detach() * 2, mine.parameters())
    assert mine[0].weight is weight
    np.testing.assert_allclose(as_numpy(weight), 2 * as_numpy(reference[0].weight))
    same_outcome(lambda T: T.nn.utils.vector_to_parameters([1.0], T.nn.Linear(1, 1).parameters()))
