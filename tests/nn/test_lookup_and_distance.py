"""Bags of embeddings, distances, losses of margins, the adaptive softmax and lazy layers, beside PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import (
    as_numpy,
    assert_close,
    compare_function,
    compare_module,
    copy_state,
    random,
    same_outcome,
    tensor_of,
)

INDICES = np.array([1, 2, 4, 5, 4, 3, 2, 9, 4], dtype="int64")
OFFSETS = np.array([0, 4, 4, 8], dtype="int64")


def _bags(T: Any, weights: bool = False, **options: Any) -> Any:
    def call(weight: Any, *more: Any) -> Any:
        given = {"per_sample_weights": more[0]} if weights else {}
        return T.nn.functional.embedding_bag(
            tensor_of(T, INDICES), weight, tensor_of(T, OFFSETS), **given, **options
        )  # fmt: skip

    return call


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "sum"},
        {"mode": "max"},
        {"mode": "sum", "padding_idx": 4},
        {"mode": "mean", "padding_idx": -6},
        {"mode": "max", "padding_idx": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("width", [1, 3, 70])
def test_bags(options: dict[str, Any], width: int) -> None:
    compare_function(lambda T: _bags(T, **options), [random((10, width))])


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_scaled_by_frequency(mode: str) -> None:
    # beside plain lookups: of rows of equal count and bag PyTorch's embedding_bag scales some otherwise than others
    weights = [tensor_of(dumbtorch, random((10, 3)), True) for _ in range(2)]
    F = dumbtorch.nn.functional
    bags = _bags(dumbtorch, mode=mode, scale_grad_by_freq=True)(weights[0])
    rows = F.embedding(dumbtorch.from_numpy(INDICES), weights[1], scale_grad_by_freq=True)
    parts = [rows[start:stop] for start, stop in ((0, 4), (4, 8), (8, 9))]
    plain = dumbtorch.stack([getattr(part, mode)(0) for part in parts])
    upstream = tensor_of(dumbtorch, random((3, 3), 5))
    bags[[0, 2, 3]].backward(upstream)
    plain.backward(upstream)
    assert_close(weights[0].grad, weights[1].grad)


def test_bags_with_weights_and_of_matrices() -> None:
    compare_function(lambda T: _bags(T, weights=True, mode="sum"), [random((10, 3)), random((9,), 1)])
    rows = np.array([[1, 2, 2], [4, 0, 1]])
    for mode in ("sum", "mean", "max"):
        compare_function(
            lambda T, mode=mode: lambda w: T.nn.functional.embedding_bag(tensor_of(T, rows), w, mode=mode),
            [random((5, 4))],
        )
    ends = np.array([0, 4, 9])
    compare_function(
        lambda T: (
            lambda w: T.nn.functional.embedding_bag(
                tensor_of(T, INDICES), w, tensor_of(T, ends), include_last_offset=True
            )
        ),
        [random((10, 3))],
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_differentiate_twice(mode: str) -> None:
    weight = tensor_of(dumbtorch, random((10, 3)), True)
    assert dumbtorch.autograd.gradcheck(_bags(dumbtorch, mode=mode), [weight])
    assert dumbtorch.autograd.gradgradcheck(_bags(dumbtorch, mode=mode), [weight])


def test_bags_of_many_columns_and_threads() -> None:
    before = dumbtorch.get_num_threads()
    rows = np.random.default_rng(0).integers(0, 500, (200, 30))
    results = []
    try:
        for threads in (1, 2):
            dumbtorch.set_num_threads(threads)
            weight = tensor_of(dumbtorch, random((500, 100), 2, "float32"), True)
            out = dumbtorch.nn.functional.embedding_bag(dumbtorch.from_numpy(rows), weight)
            out.backward(dumbtorch.ones(200, 100))
            results.append((as_numpy(out), as_numpy(weight.grad)))
    finally:
        dumbtorch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.functional.embedding_bag(T.tensor([1]), T.zeros(3, 2)),
        lambda T: T.nn.functional.embedding_bag(T.tensor([[1]]), T.zeros(3, 2), T.tensor([0])),
        lambda T: T.nn.functional.embedding_bag(T.tensor([[1]]), T.zeros(3, 2), mode="median"),
        lambda T: T.nn.functional.embedding_bag(T.tensor([[1]]), T.zeros(3)),
        lambda T: T.nn.functional.embedding_bag(T.tensor([1]), T.zeros(3, 2), T.tensor([1])),
        lambda T: T.nn.functional.embedding_bag(T.tensor([[1, 7]]), T.zeros(3, 2)),
        lambda T: T.nn.functional.embedding_bag(T.tensor([[1, 2]]), T.zeros(3, 2), per_sample_weights=T.ones(1, 2)),
        lambda T: T.nn.EmbeddingBag(3, 2, padding_idx=3),
        lambda T: T.nn.TripletMarginLoss(margin=0),
        lambda T: T.nn.MultiMarginLoss(p=3),
        lambda T: T.nn.functional.multi_margin_loss(T.zeros(2, 3), T.tensor([0, 3])),
        lambda T: T.nn.functional.multi_margin_loss(T.zeros(2, 3), T.tensor([0])),
        lambda T: T.nn.functional.multilabel_margin_loss(T.zeros(2, 3), T.tensor([0, 1])),
        lambda T: T.nn.functional.gaussian_nll_loss(T.zeros(2), T.zeros(2), T.tensor([1.0, -1.0])),
        lambda T: T.nn.functional.gaussian_nll_loss(T.zeros(2, 3), T.zeros(2, 3), T.ones(3)),
        lambda T: T.nn.functional.cosine_embedding_loss(T.zeros(2), T.zeros(2), T.ones(2)),
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 3]),
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(4, 10, []),
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [3, 5])(T.zeros(2, 4), T.tensor([1, 12])),
        lambda T: T.nn.LazyLinear(3).weight.shape,
        lambda T: repr(T.nn.LazyLinear(3).weight),
        lambda T: T.nn.SyncBatchNorm(3)(T.zeros(3)),
        lambda T: T.nn.functional.cosine_similarity(T.ones(2, dtype=T.int64), T.ones(2, dtype=T.int64), 0),
    ],
)
def test_errors(scenario: Any) -> None:
    same_outcome(scenario, message=False)


MODULES = {
    "bag": (lambda T: T.nn.EmbeddingBag(10, 3), [INDICES, OFFSETS]),
    "bag with all options": (
        lambda T: T.nn.EmbeddingBag(10, 3, 1.0, 1.5, False, "sum", padding_idx=2),
        [INDICES.reshape(3, 3)],
    ),
    "distance": (lambda T: T.nn.PairwiseDistance(3, keepdim=True), [(4, 5), (4, 5)]),
    "cosine": (lambda T: T.nn.CosineSimilarity(), [(4, 5), (4, 5)]),
    "cosine broadcast": (lambda T: T.nn.CosineSimilarity(-1, 1e-3), [(4, 1, 5), (3, 5)]),
    "triplet": (lambda T: T.nn.TripletMarginLoss(), [(4, 5), (4, 5), (4, 5)]),
    "triplet swap": (lambda T: T.nn.TripletMarginLoss(0.5, 1, swap=True, reduction="none"), [(4, 5), (4, 5), (4, 5)]),
    "triplet distance": (
        lambda T: T.nn.TripletMarginWithDistanceLoss(
            distance_function=lambda a, b: (a - b).abs().amax(-1), reduction="sum", swap=True
        ),
        [(4, 5), (4, 5), (4, 5)],
    ),
    "adaptive": (
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 9], 2.0, True),
        [(6, 8), np.array([0, 5, 3, 19, 9, 4])],
    ),
    "adaptive of one": (lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 9], 2), [(8,), np.array(11)]),
    "sync batch norm": (lambda T: T.nn.SyncBatchNorm(3).eval(), [(4, 3, 5)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    make, given = MODULES[name]
    arrays = [random(a, i) if isinstance(a, tuple) else a for i, a in enumerate(given)]
    compare_module(make, arrays, training=name != "sync batch norm")


def test_adaptive_predictions() -> None:
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 9], 2).double()
    mine = dumbtorch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 9], 2).double()
    copy_state(mine, theirs)
    for scale in (0.01, 10.0):
        x = random((30, 8)) * scale
        a, b = tensor_of(dumbtorch, x), tensor_of(torch, x)
        assert_close(mine.log_prob(a), theirs.log_prob(b))
        assert as_numpy(mine.predict(a)).tolist() == as_numpy(theirs.predict(b)).tolist()


def test_pretrained_bags_are_frozen() -> None:
    table = dumbtorch.rand(4, 3)
    bags = dumbtorch.nn.EmbeddingBag.from_pretrained(table)
    assert not bags.weight.requires_grad
    assert dumbtorch.nn.EmbeddingBag.from_pretrained(table, freeze=False).weight.requires_grad


def test_batch_norms_become_synchronized() -> None:
    for T in (dumbtorch, torch):
        network = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4), T.nn.Sequential(T.nn.BatchNorm2d(2)))
        weight = network[1].weight
        made = T.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert made is network
        assert [type(m).__name__ for m in made.modules()].count("SyncBatchNorm") == 2
        assert made[1].weight is weight


LAZY = {
    "linear": (lambda T: T.nn.LazyLinear(3), (4, 5)),
    "linear without bias": (lambda T: T.nn.LazyLinear(3, bias=False), (4, 5)),
    "batch_norm1d": (lambda T: T.nn.LazyBatchNorm1d(), (4, 5)),
    "batch_norm2d": (lambda T: T.nn.LazyBatchNorm2d(affine=False), (4, 5, 2, 3)),
    "batch_norm3d": (lambda T: T.nn.LazyBatchNorm3d(track_running_stats=False), (4, 5, 2, 3, 2)),
    "instance_norm1d": (lambda T: T.nn.LazyInstanceNorm1d(), (4, 5, 3)),
    "instance_norm2d": (lambda T: T.nn.LazyInstanceNorm2d(), (4, 5, 2, 3)),
    "conv1d": (lambda T: T.nn.LazyConv1d(4, 3, padding=1), (2, 5, 8)),
    "conv2d": (lambda T: T.nn.LazyConv2d(4, 3, groups=2, bias=False), (2, 6, 8, 7)),
    "conv3d": (lambda T: T.nn.LazyConv3d(4, 2), (5, 4, 4, 4)),
    "conv_transpose1d": (lambda T: T.nn.LazyConvTranspose1d(4, 3, stride=2), (2, 5, 8)),
    "conv_transpose2d": (lambda T: T.nn.LazyConvTranspose2d(4, 3, output_padding=1, stride=2), (2, 5, 4, 4)),
    "conv_transpose3d": (lambda T: T.nn.LazyConvTranspose3d(4, 2), (2, 5, 3, 3, 3)),
    "instance_norm3d": (lambda T: T.nn.LazyInstanceNorm3d(bias=False), (4, 5, 2, 3, 2)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers(name: str) -> None:
    make, shape = LAZY[name]
    mine, theirs = make(dumbtorch), make(torch)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    x = random(shape, 0, "float32")
    parameters = list(mine.parameters())
    theirs(tensor_of(torch, x))
    loaded = make(dumbtorch)
    copy_state(loaded, theirs)  # the shapes come with the state
    assert_close(loaded.eval()(tensor_of(dumbtorch, x)), theirs.eval()(tensor_of(torch, x)), "float32")
    mine(tensor_of(dumbtorch, x))
    assert type(mine).__name__ == type(theirs).__name__ == type(loaded).__name__
    assert repr(mine) == repr(theirs)
    assert all(p is q for p, q in zip(parameters, mine.parameters(), strict=True)), "an optimizer keeps them"
    assert [tuple(p.shape) for p in mine.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert all(isinstance(p, dumbtorch.nn.Parameter) for p in mine.parameters())


def test_lazy_layers_are_copied_and_pickled() -> None:
    layer = dumbtorch.nn.LazyLinear(3).double()
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert made(dumbtorch.rand(4, 5).double()).dtype is dumbtorch.float64
        assert made.weight.shape == (3, 5)
    assert dumbtorch.nn.parameter.is_lazy(layer.weight)
