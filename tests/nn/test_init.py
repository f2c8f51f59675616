"""Initialisers: exact where there is nothing random, statistics of PyTorch's distribution where there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, same_outcome

init = dumbtorch.nn.init
SHAPES = [(40, 60), (8, 6, 5, 5), (20, 30, 7)]


def same_distribution(mine: np.ndarray, reference: np.ndarray) -> None:
    """Mean, deviation, extremes and quantiles agree within sampling error (both from some thousand values)."""
    scale = reference.std()
    n = min(mine.size, reference.size)
    slack = 6 * scale * math.sqrt(2 / n)
    assert abs(mine.mean() - reference.mean()) <= slack
    assert abs(mine.std() - scale) <= slack
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert abs(np.quantile(mine, q) - np.quantile(reference, q)) <= 3 * slack


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -2.0, "b": 0.5}),
        ("normal_", {"mean": 1.0, "std": 3.0}),
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}),
        ("trunc_normal_", {}),
        ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 4.0}),
        ("trunc_normal_", {"std": 1.0, "a": -0.1, "b": 0.1}),
        ("trunc_normal_", {"std": 1.0, "a": 1.0, "b": 2.0}),
    ],
)
def test_same_distribution(name: str, options: dict, shape: tuple[int, ...]) -> None:
    dumbtorch.manual_seed(3)
    torch.manual_seed(4)
    tensor = dumbtorch.empty(shape)
    assert getattr(init, name)(tensor, **options) is tensor
    values = as_numpy(tensor)
    reference = as_numpy(getattr(torch.nn.init, name)(torch.empty(shape), **options))
    same_distribution(values, reference)
    if name == "trunc_normal_":
        assert values.min() >= options.get("a", -2.0) and values.max() <= options.get("b", 2.0)


@pytest.mark.parametrize(
    "fill",
    [
        lambda T: T.nn.init.ones_(T.empty(2, 3)),
        lambda T: T.nn.init.zeros_(T.empty(2, 3)),
        lambda T: T.nn.init.constant_(T.empty(3), 0.3),
        lambda T: T.nn.init.eye_(T.empty(3, 5)),
        lambda T: T.nn.init.eye_(T.empty(5, 3)),
        lambda T: T.nn.init.dirac_(T.empty(3, 2, 3)),
        lambda T: T.nn.init.dirac_(T.empty(4, 2, 3, 4), groups=2),
        lambda T: T.nn.init.dirac_(T.empty(2, 3, 3, 3, 2)),
        lambda T: T.nn.init.eye_(T.empty(3)),
        lambda T: T.nn.init.dirac_(T.empty(3, 3)),
        lambda T: T.nn.init.dirac_(T.empty(3, 3, 3), groups=2),
        lambda T: T.nn.init.xavier_normal_(T.empty(3)),
        lambda T: T.nn.init.kaiming_normal_(T.empty(3)),
        lambda T: T.nn.init.kaiming_normal_(T.empty(0, 3)),
        lambda T: T.nn.init.kaiming_uniform_(T.empty(3, 3), mode="fan"),
        lambda T: T.nn.init.kaiming_uniform_(T.empty(3, 3), nonlinearity="swish"),
        lambda T: T.nn.init.orthogonal_(T.empty(3)),
        lambda T: T.nn.init.sparse_(T.empty(3), 0.5),
        lambda T: T.nn.init.orthogonal_(T.empty(0, 3)),
        lambda T: T.nn.init.constant(T.empty(3), 1.0),
    ],
)
def test_exact_values_and_errors(fill) -> None:
    same_outcome(lambda T: fill(T).tolist())


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (1, 6), (4, 2, 3, 3), (40, 40)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    values = as_numpy(init.orthogonal_(dumbtorch.empty(shape), gain)).reshape(shape[0], -1) / gain
    product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    np.testing.assert_allclose(product, np.eye(len(product)), atol=2e-6)


def test_orthogonal_is_uniform() -> None:
    # Over the rotations and reflections of the plane, the first entry is the cosine of a uniform angle, and the
    # determinant is as often -1 as 1.
    drawn = np.stack([as_numpy(init.orthogonal_(dumbtorch.empty(2, 2))) for _ in range(600)])
    angles = np.sort(np.arctan2(drawn[:, 0, 1], drawn[:, 0, 0])) / (2 * np.pi) + 0.5
    assert np.abs(angles - (np.arange(600) + 0.5) / 600).max() < 0.08
    assert abs(np.linalg.det(drawn).mean()) < 0.25


def test_sparse() -> None:
    values = as_numpy(init.sparse_(dumbtorch.empty(50, 30), 0.3, std=2.0))
    assert ((values == 0).sum(0) == 15).all()
    assert abs(values[values != 0].std() - 2.0) < 0.25


@pytest.mark.parametrize(
    "arguments",
    [("linear",), ("conv2d",), ("sigmoid",), ("tanh",), ("relu",), ("selu",), ("leaky_relu",), ("leaky_relu", 0.2)]
    + [("leaky_relu", 1), ("leaky_relu", True), ("leaky_relu", "x"), ("gelu",)],
)
def test_gain(arguments) -> None:
    same_outcome(lambda T: T.nn.init.calculate_gain(*arguments))


@pytest.mark.parametrize(
    "make",
    [
        lambda T: T.nn.Linear(50, 60),
        lambda T: T.nn.Conv2d(8, 30, 5),
        lambda T: T.nn.Conv2d(8, 32, 5, groups=4),
        lambda T: T.nn.Conv1d(16, 40, 5),
        lambda T: T.nn.Embedding(50, 60),
        lambda T: T.nn.Bilinear(20, 20, 10),
        lambda T: T.nn.PReLU(5),
    ],
)
def test_layers_start_as_pytorchs(make) -> None:
    mine = {n: [] for n, _ in make(dumbtorch).named_parameters()}
    reference = {n: [] for n in mine}
    for _ in range(8):
        for T, into in ((dumbtorch, mine), (torch, reference)):
            for name, value in make(T).named_parameters():
                into[name].append(as_numpy(value).ravel())
    for name in mine:
        same_distribution(np.concatenate(mine[name]), np.concatenate(reference[name]))


def test_init_is_outside_autograd() -> None:
    weight = dumbtorch.nn.Parameter(dumbtorch.zeros(3, 3))
    init.orthogonal_(init.trunc_normal_(init.sparse_(weight, 0.5)))
    assert weight.grad_fn is None and weight.requires_grad


def test_generator_makes_it_repeatable() -> None:
    first, second = (
        as_numpy(init.kaiming_normal_(dumbtorch.empty(4, 4), generator=dumbtorch.Generator().manual_seed(5)))
        for _ in range(2)
    )
    assert (first == second).all()
