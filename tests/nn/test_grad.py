"""The derivatives of convolutions as functions, beside PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.grad

import dumbtorch
from tests.nn.support import assert_close, random, tensor_of


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}], ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_derivatives(axes: int, options: dict[str, int]) -> None:
    groups = options.get("groups", 1)
    input_size, weight_size = (2, 4, *(7,) * axes), (6, 4 // groups, *(3,) * axes)
    out = getattr(torch.nn.functional, f"conv{axes}d")(torch.zeros(input_size), torch.zeros(weight_size), **options)
    x, w, g = random(input_size), random(weight_size, 1), random(tuple(out.shape), 2)
    for T in (dumbtorch, torch):
        by_input = getattr(T.nn.grad, f"conv{axes}d_input")
        by_weight = getattr(T.nn.grad, f"conv{axes}d_weight")
        results = [
            by_input(input_size, tensor_of(T, w), tensor_of(T, g), **options),
            by_weight(tensor_of(T, x), weight_size, tensor_of(T, g), **options),
        ]
        if T is dumbtorch:
            mine = results
    assert_close(mine, results)
