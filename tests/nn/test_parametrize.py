"""Parametrizations, weight and spectral norms, pruning, fusion and stateless calls, beside PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.fusion
import torch.nn.utils.prune

import dumbtorch
from tests.nn.support import as_numpy, assert_close, copy_state, random, same_outcome, tensor_of


def _symmetric(T: Any) -> Any:
    class Symmetric(T.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    return Symmetric()


def _scaled(T: Any) -> Any:
    class Scaled(T.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = T.nn.Parameter(T.tensor(2.0))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    return Scaled()


def _pair(make: Any, seed: int = 0) -> tuple[Any, Any]:
    """The same parametrized module in both, with PyTorch's numbers in ours."""
    torch.manual_seed(seed)
    theirs, mine = make(torch).double(), make(dumbtorch).double()
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    copy_state(mine, theirs)
    return mine, theirs


def _same_step(mine: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    x = random(shape, 3)
    for module, T in ((mine, dumbtorch), (theirs, torch)):
        module.zero_grad()
        module(tensor_of(T, x)).square().sum().backward()
    assert_close(mine(tensor_of(dumbtorch, x)), theirs(tensor_of(torch, x)))
    for (name, p), (_, q) in zip(mine.named_parameters(), theirs.named_parameters(), strict=True):
        assert_close(p.grad, q.grad, what=name)
    for (name, p), (_, q) in zip(mine.named_buffers(), theirs.named_buffers(), strict=True):
        assert_close(p, q, what=name)


PARAMETRIZED = {
    "symmetric": (lambda T: _with(T, T.nn.Linear(4, 4), _symmetric), (5, 4)),
    "two": (lambda T: _with(T, _with(T, T.nn.Linear(4, 4), _symmetric), _scaled), (5, 4)),
    "weight_norm": (lambda T: T.nn.utils.parametrizations.weight_norm(T.nn.Linear(4, 3)), (5, 4)),
    "weight_norm of all": (lambda T: T.nn.utils.parametrizations.weight_norm(T.nn.Linear(4, 3), dim=None), (5, 4)),
    "weight_norm dim 1": (lambda T: T.nn.utils.parametrizations.weight_norm(T.nn.Conv1d(2, 3, 3), dim=1), (2, 2, 7)),
    "spectral_norm": (lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.Linear(4, 3)), (5, 4)),
    "spectral_norm conv": (
        lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.Conv2d(2, 3, 3), n_power_iterations=3),
        (2, 2, 5, 5),
    ),
    "spectral_norm transposed": (
        lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.ConvTranspose1d(2, 3, 3)),
        (2, 2, 5),
    ),
    "spectral_norm of a bias": (
        lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.Linear(4, 3), "bias"),
        (5, 4),
    ),
    "orthogonal": (lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(4, 4)), (5, 4)),
    "orthogonal tall": (lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(3, 5)), (5, 3)),
    "orthogonal wide": (
        lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(5, 3), orthogonal_map="cayley"),
        (5, 5),
    ),
    "orthogonal plain": (
        lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(3, 5), use_trivialization=False),
        (5, 3),
    ),
    "older weight_norm": (lambda T: T.nn.utils.weight_norm(T.nn.Linear(4, 3)), (5, 4)),
    "older spectral_norm": (lambda T: T.nn.utils.spectral_norm(T.nn.Linear(4, 3), n_power_iterations=2), (5, 4)),
}


def _with(T: Any, module: Any, part: Any) -> Any:
    return T.nn.utils.parametrize.register_parametrization(module, "weight", part(T))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARAMETRIZED)
def test_parametrized_layers(name: str) -> None:
    make, shape = PARAMETRIZED[name]
    mine, theirs = _pair(make)
    _same_step(mine, theirs, shape)
    if "older" in name:
        return  # they hold what they computed, which cannot be copied: in PyTorch neither
    copied = copy.deepcopy(mine)
    x = tensor_of(dumbtorch, random(shape, 4))
    assert_close(copied.eval()(x), mine.eval()(x))


def test_assigning_caching_and_removing() -> None:
    parametrize = dumbtorch.nn.utils.parametrize
    layer = _with(dumbtorch, dumbtorch.nn.Linear(4, 4), _symmetric)
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, dumbtorch.nn.Linear)
    value = dumbtorch.rand(4, 4)
    value = value + value.mT
    layer.weight = value
    assert dumbtorch.equal(layer.weight, value)
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight
    original = layer.parametrizations.weight.original
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is dumbtorch.nn.Linear
    assert layer.weight is original
    assert dumbtorch.equal(layer.weight, value)
    assert not parametrize.is_parametrized(layer)
    source = _with(dumbtorch, dumbtorch.nn.Linear(4, 4), _scaled)
    target = dumbtorch.nn.Linear(4, 4)
    parametrize.transfer_parametrizations_and_params(source, target)
    assert dumbtorch.equal(target.weight, source.weight)
    assert parametrize.type_before_parametrizations(target) is dumbtorch.nn.Linear


def test_orthogonal_matrices_stay_orthogonal() -> None:
    for features, orthogonal_map in ((4, "matrix_exp"), (7, "cayley"), (2, "householder")):
        layer = dumbtorch.nn.utils.parametrizations.orthogonal(
            dumbtorch.nn.Linear(features, 4), orthogonal_map=orthogonal_map
        )
        optimizer = dumbtorch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(dumbtorch.ones(2, features)).square().sum().backward()
            optimizer.step()
        q = layer.weight if features < 4 else layer.weight.mT
        gram = q.mT @ q
        assert dumbtorch.allclose(gram, dumbtorch.eye(gram.shape[0]), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_norms_are_removed() -> None:
    utils = dumbtorch.nn.utils
    for add, remove in (
        (utils.weight_norm, utils.remove_weight_norm),
        (utils.spectral_norm, utils.remove_spectral_norm),
    ):
        layer = dumbtorch.nn.Linear(3, 2)
        names = list(layer.state_dict())
        x = dumbtorch.rand(4, 3)
        add(layer).eval()
        before = layer(x)
        remove(layer)
        assert dumbtorch.allclose(layer(x), before, atol=1e-6)
        assert sorted(layer.state_dict()) == sorted(names)
        with pytest.raises(ValueError, match="not found"):
            remove(layer)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.utils.parametrize.register_parametrization(T.nn.Linear(2, 2), "width", T.nn.Identity()),
        lambda T: T.nn.utils.parametrize.register_parametrization(T.nn.Linear(2, 2), "weight", T.nn.Flatten(0)),
        lambda T: T.nn.utils.parametrize.remove_parametrizations(T.nn.Linear(2, 2), "weight"),
        lambda T: T.nn.utils.parametrize.ParametrizationList([], T.zeros(2)),
        lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(2, 2), "bias"),
        lambda T: T.nn.utils.parametrizations.orthogonal(T.nn.Linear(2, 2), orthogonal_map="qr"),
        lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.Linear(2, 2), dim=2),
        lambda T: T.nn.utils.parametrizations.spectral_norm(T.nn.Linear(2, 2), "width"),
        lambda T: T.nn.utils.prune.remove(T.nn.Linear(2, 2), "weight"),
        lambda T: T.nn.utils.prune.l1_unstructured(T.nn.Linear(2, 2), "weight", 5),
        lambda T: T.nn.utils.prune.l1_unstructured(T.nn.Linear(2, 2), "weight", 1.5),
        lambda T: T.nn.utils.prune.random_structured(T.nn.Linear(2, 2), "bias", 1, 0),
        lambda T: T.nn.utils.prune.PruningContainer(T.nn.utils.prune.L1Unstructured(2)),
        lambda T: T.nn.utils.fusion.fuse_linear_bn_eval(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3)),
        lambda T: T.nn.utils.skip_init(T.nn.ReLU),
    ],
)
def test_errors(scenario: Any) -> None:
    same_outcome(scenario, message=False)


def _prunings(T: Any) -> dict[str, Any]:
    prune = T.nn.utils.prune
    scores = tensor_of(T, random((4, 6), 9, "float32"))
    mask = tensor_of(T, (random((4, 6), 8) > 0).astype("float32"))
    return {
        "l1": lambda m: prune.l1_unstructured(m, "weight", 0.4),
        "l1 scores": lambda m: prune.l1_unstructured(m, "weight", 7, importance_scores=scores),
        "ln": lambda m: prune.ln_structured(m, "weight", 2, n=2, dim=1),
        "ln inf": lambda m: prune.ln_structured(m, "weight", 0.5, n=float("inf"), dim=0),
        "mask": lambda m: prune.custom_from_mask(m, "weight", mask),
        "identity": lambda m: prune.identity(m, "weight"),
        "twice": lambda m: prune.ln_structured(prune.l1_unstructured(m, "weight", 5), "weight", 1, n=1, dim=0),
        "thrice": lambda m: prune.l1_unstructured(
            prune.l1_unstructured(prune.custom_from_mask(m, "weight", mask), "weight", 3), "weight", 0.25
        ),
        "global": lambda m: prune.global_unstructured(
            [(m, "weight"), (m, "bias")], prune.L1Unstructured, amount=0.5
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(_prunings(torch)))
def test_pruning(name: str) -> None:
    torch.manual_seed(3)
    theirs, mine = torch.nn.Linear(6, 4), dumbtorch.nn.Linear(6, 4)
    copy_state(mine, theirs)
    _prunings(torch)[name](theirs)
    _prunings(dumbtorch)[name](mine)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert_close(mine.state_dict()[key], value, "float32", key)
    x = random((3, 6), 0, "float32")
    assert_close(mine(tensor_of(dumbtorch, x)), theirs(tensor_of(torch, x)), "float32")
    assert dumbtorch.nn.utils.prune.is_pruned(mine)
    dumbtorch.nn.utils.prune.remove(mine, "weight")
    torch.nn.utils.prune.remove(theirs, "weight")
    assert_close(mine.weight, theirs.weight, "float32")


def test_random_pruning() -> None:
    prune = dumbtorch.nn.utils.prune
    layer = prune.random_unstructured(dumbtorch.nn.Linear(10, 10), "weight", 0.3)
    assert int((layer.weight_mask == 0).sum()) == 30
    layer = prune.random_structured(dumbtorch.nn.Linear(10, 8), "weight", 3, dim=1)
    assert int((layer.weight_mask.sum(0) == 0).sum()) == 3


@pytest.mark.parametrize("kind", ["linear", "conv", "transposed"])
def test_fusion(kind: str) -> None:
    nn = dumbtorch.nn
    makes = {"linear": lambda: nn.Linear(3, 4), "conv": lambda: nn.Conv2d(3, 4, 2, bias=False),
             "transposed": lambda: nn.ConvTranspose2d(3, 4, 2)}  # fmt: skip
    layer = makes[kind]()
    norm = nn.BatchNorm1d(4) if kind == "linear" else nn.BatchNorm2d(4)
    shape = (6, 3) if kind == "linear" else (6, 3, 4, 4)
    for seed in range(3):
        norm(layer(tensor_of(dumbtorch, random(shape, seed, "float32") * 2 + 1)))
    layer.eval(), norm.eval()
    fused = (
        nn.utils.fuse_linear_bn_eval(layer, norm)
        if kind == "linear"
        else nn.utils.fuse_conv_bn_eval(layer, norm, transpose=kind == "transposed")
    )
    x = tensor_of(dumbtorch, random(shape, 5, "float32"))
    assert dumbtorch.allclose(fused(x), norm(layer(x)), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_stateless_calls() -> None:
    call = dumbtorch.nn.utils.stateless.functional_call
    model = dumbtorch.nn.Sequential(dumbtorch.nn.Linear(3, 3), dumbtorch.nn.BatchNorm1d(3))
    model[0].tied = model[0].weight
    before = {k: v.clone() for k, v in model.state_dict().items()}
    weight = dumbtorch.rand(3, 3, requires_grad=True)
    x = dumbtorch.rand(4, 3)
    mean = dumbtorch.zeros(3)
    out = call(model, {"0.weight": weight, "1.running_mean": mean}, x)
    out.square().sum().backward()
    assert weight.grad is not None and model[0].weight.grad is None
    assert bool(mean.abs().sum() > 0), "statistics go into what was given"
    for key, value in model.state_dict().items():
        assert key == "1.num_batches_tracked" or key == "1.running_var" or dumbtorch.equal(value, before[key])
    assert model[0].tied is model[0].weight
    with pytest.raises(RuntimeError, match="Missing key"):
        call(model, {"0.weight": weight}, x, strict=True)
    with pytest.raises(ValueError, match="tied"):
        call(model, {"0.weight": weight, "0.tied": dumbtorch.rand(3, 3)}, x)
    call(model, {"0.width": weight}, x)  # for the time of the call, as in PyTorch
    assert not hasattr(model[0], "width")
    with pytest.raises(AttributeError):
        call(model, {"7.weight": weight}, x)


def test_skipped_initialization_and_memory_formats() -> None:
    layer = dumbtorch.nn.utils.skip_init(dumbtorch.nn.Linear, 3, 2)
    assert layer.weight.shape == (2, 3)
    assert not np.array_equal(as_numpy(dumbtorch.nn.Linear(3, 2).weight), np.zeros((2, 3))), "others are drawn"
    model = dumbtorch.nn.Sequential(dumbtorch.nn.Conv2d(3, 4, 3), dumbtorch.nn.Linear(2, 2))
    dumbtorch.nn.utils.convert_conv2d_weight_memory_format(model, dumbtorch.channels_last)
    assert model[0].weight.is_contiguous(memory_format=dumbtorch.channels_last)


def test_summary() -> None:
    nn = dumbtorch.nn
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Sequential(nn.Linear(4 * 36, 10), nn.GELU()))
    model[0].bias.requires_grad_(False)
    table = nn.utils.summary(model, (2, 1, 8, 8), depth=1)
    assert table.total_params == 4 * 9 + 4 + 1440 + 10
    assert table.trainable_params == table.total_params - 4
    assert table.total_flops == 2 * 4 * 36 * 19 + 2 * 10 * 289
    assert [layer.kind for layer in table.layers] == ["Sequential", "Conv2d", "ReLU", "Flatten", "Sequential"]
    assert table.layers[1].output_shape == (2, 4, 6, 6)
    assert "Conv2d" in str(table) and "1,490" in str(table)
    assert "input 512 B" in str(table) and "parameters 5.82 KiB" in str(table)
    assert model.training and not any(m._forward_hooks for m in model.modules())
    with pytest.raises(ValueError, match="input_size"):
        nn.utils.summary(model)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
    layer = 10 * (4 * 2 * 16 * 16 + 2 * 16 * 32 * 2 + 32 + 16 + 2 * 4 * 16) + 4 * 10 * 5 * 16
    assert nn.utils.summary(encoder, (2, 5, 16)).total_flops == 2 * layer
    lstm = nn.Sequential(nn.Embedding(10, 8), nn.LSTM(8, 6))
    assert nn.utils.summary(lstm, (2, 5), dtypes=dumbtorch.int64).total_flops == 10 * 2 * 24 * (8 + 6)
