"""Functions that no layer test reaches, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nn.support import compare_function, random, same_outcome

FUNCTIONS = {
    "conv2d with integers": (lambda F: lambda x, w: F.conv2d(x, w, None, 2, 1, 1), [(2, 3, 7, 6), (4, 3, 3, 3)]),
    "conv2d with one-element lists": (lambda F: lambda x, w: F.conv2d(x, w, stride=[2]), [(2, 3, 7, 6), (4, 3, 3, 3)]),
    "conv2d with a text": (lambda F: lambda x, w: F.conv2d(x, w, padding="same"), [(2, 3, 7, 6), (4, 3, 3, 5)]),
    "conv1d": (lambda F: lambda x, w, b: F.conv1d(x, w, b, padding=2), [(2, 3, 9), (4, 3, 3), (4,)]),
    "max_pool2d with an empty stride": (lambda F: lambda x: F.max_pool2d(x, 2, []), [(2, 3, 7, 6)]),
    "max_pool2d_with_indices": (lambda F: lambda x: F.max_pool2d_with_indices(x, 2), [(2, 3, 7, 6)]),
    "avg_pool1d": (lambda F: lambda x: F.avg_pool1d(x, 3, ceil_mode=True, count_include_pad=False), [(2, 3, 8)]),
    "pad": (lambda F: lambda x: F.pad(x, (1, 2), value=3.5), [(2, 3)]),
    "pad crops": (lambda F: lambda x: F.pad(x, (-1, 2, 1, -1)), [(4, 5)]),
    "pad reflect": (lambda F: lambda x: F.pad(x, (1, 2), "reflect"), [(2, 3, 4)]),
    "pad replicate": (lambda F: lambda x: F.pad(x, (1, 2, 0, 1), "replicate"), [(2, 3, 4)]),
    "pad circular": (lambda F: lambda x: F.pad(x, (1, 2), mode="circular"), [(2, 3, 4)]),
    "linear with a vector weight": (lambda F: lambda x, w: F.linear(x, w), [(2, 3), (3,)]),
    "normalize": (lambda F: lambda x: F.normalize(x, dim=0), [(4, 3)]),
    "normalize 1": (lambda F: lambda x: F.normalize(x, p=1.0, dim=-1), [(2, 4, 3)]),
    "pairwise_distance": (lambda F: lambda x, y: F.pairwise_distance(x, y), [(4, 3), (4, 3)]),
    "pairwise_distance 1": (lambda F: lambda x, y: F.pairwise_distance(x, y, 1.0, keepdim=True), [(4, 3), (4, 3)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_pytorch(name: str) -> None:
    make, shapes = FUNCTIONS[name]
    compare_function(lambda T: make(T.nn.functional), [random(s, i) for i, s in enumerate(shapes)])


def test_normalize_of_zeros() -> None:
    same_outcome(lambda T: T.nn.functional.normalize(T.zeros(2, 3)).tolist())


@pytest.mark.parametrize("classes", [-1, 5])
@pytest.mark.parametrize("values", [[1, 0, 3], [[2, 2], [0, 1]], 2])
def test_one_hot(values, classes: int) -> None:
    compare_function(lambda T: lambda t: T.nn.functional.one_hot(t, classes), [np.array(values)], grad=False)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.functional.one_hot(T.tensor([-1]), 3),
        lambda T: T.nn.functional.one_hot(T.tensor([3]), 3),
        lambda T: T.nn.functional.one_hot(T.tensor([], dtype=T.int64)),
        lambda T: T.nn.functional.dropout(T.ones(2), 2.0),
        lambda T: T.nn.functional.dropout1d(T.ones(2)),
        lambda T: T.nn.functional.dropout2d(T.ones(2, 3)).shape[0],
        lambda T: T.nn.functional.dropout2d(T.ones(2, 3, 4)).shape[0],
        lambda T: T.nn.functional.conv2d(T.ones(1, 1, 4, 4), T.ones(1, 1, 2, 2), stride=2, padding="same"),
        lambda T: T.nn.functional.conv2d(T.ones(1, 1, 4, 4), T.ones(1, 1, 2, 2), padding="odd"),
        lambda T: T.nn.functional.avg_pool2d(T.ones(1, 1, 4, 4), 2, divisor_override=0),
        lambda T: T.nn.functional.adaptive_avg_pool2d(T.ones(1, 4, 4), (1, 2, 3)),
        lambda T: T.nn.functional.embedding(T.tensor([0]), T.ones(2, 2), padding_idx=5),
        lambda T: T.nn.functional.alpha_dropout(T.ones(2), -1.0),
    ],
)
def test_errors_and_warnings_are_of_the_same_type(scenario) -> None:
    same_outcome(scenario, message=False)


def test_no_dropout_in_evaluation() -> None:
    def scenario(T):
        F = T.nn.functional
        x = T.ones(2, 3, 4, 4)
        names = ("dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
        return [getattr(F, name)(x, 0.5, training=False).sum().item() for name in names]

    same_outcome(scenario)
