"""equal, isclose, allclose and their kin beside PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch

import dumbtorch

NAN, INF = float("nan"), float("inf")
VALUES = [
    [1.0, 2.0], [1.0, 2.00001], [1.0, NAN], [INF, -INF], [-INF, INF], [INF, 1.0], [1.0, 2.1], [0.0, -0.0], [1e-9, 0.0],
]  # fmt: skip
OPTIONS = [{}, {"rtol": 0.1}, {"atol": 0.2, "rtol": 0.0}, {"equal_nan": True}, {"rtol": 0.0, "atol": 0.0}]


def outcome(call):
    try:
        result = call()
        return result.tolist() if hasattr(result, "tolist") else result
    except (RuntimeError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize(
    ("name", "options"), [("equal", {}), *itertools.product(["isclose", "allclose"], OPTIONS)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(name: str, options: dict, dtype: str) -> None:
    def results(T, a, b):
        x, y = (T.tensor(v, dtype=getattr(T, dtype)) for v in (a, b))
        return [outcome(lambda: getattr(T, name)(x, y, **options)), outcome(lambda: getattr(x, name)(y, **options))]

    for a, b in itertools.product(VALUES, repeat=2):
        assert results(dumbtorch, a, b) == results(torch, a, b), (a, b)


@pytest.mark.parametrize("name", ["equal", "isclose", "allclose"])
def test_kinds_shapes_and_errors(name: str) -> None:
    def cases(T):
        f = getattr(T, name)
        return [
            outcome(lambda: f(T.ones(2), T.ones(2, dtype=T.float64))),
            outcome(lambda: f(T.ones(2), T.ones(3))),
            outcome(lambda: f(T.ones(2, 3), T.ones(3))),
            outcome(lambda: f(T.zeros(0), T.zeros(0))),
            outcome(lambda: f(T.zeros(0, 2), T.zeros(0, 2))),
            outcome(lambda: f(T.tensor(1.0), T.tensor(1.0))),
            outcome(lambda: f(T.arange(6).view(2, 3).t(), T.arange(6).view(2, 3).t().contiguous())),
            outcome(lambda: f(T.tensor([True, False]), T.tensor([True, True]))),
            outcome(lambda: f(T.tensor([200], dtype=T.uint8), T.tensor([201], dtype=T.uint8))),
            outcome(lambda: f(T.ones(2, requires_grad=True), T.ones(2))),
            outcome(lambda: f(T.ones(2), 1.0)),
        ]

    assert cases(dumbtorch) == cases(torch)


def test_tolerances() -> None:
    def cases(T):
        small, large = T.tensor([200, 3], dtype=T.uint8), T.tensor([201, 9], dtype=T.uint8)
        return [
            outcome(lambda: T.isclose(small, large, rtol=0.1)),
            outcome(lambda: T.isclose(large, small, atol=7.0)),
            outcome(lambda: T.isclose(T.ones(2), T.ones(2), rtol=-1.0)),
            outcome(lambda: T.allclose(T.ones(2), T.ones(2), atol=-1.0)),
        ]

    assert cases(dumbtorch) == cases(torch)


def test_is_nonzero_and_is_tensor() -> None:
    def cases(T):
        tensors = (T.zeros(0), T.ones(2), T.tensor([0.0]), T.tensor(3), T.tensor([True]))
        return [outcome(lambda t=t: T.is_nonzero(t)) for t in tensors] + [T.is_tensor(T.ones(1)), T.is_tensor(1.0)]

    assert cases(dumbtorch) == cases(torch)
