"""Layers with weights and layers of shape, beside PyTorch: repr, state, values, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, compare_module, copy_state, random, same_outcome, tensor_of

LAYERS = {
    "linear": (lambda T: T.nn.Linear(5, 3), [(4, 5)]),
    "linear 1-d": (lambda T: T.nn.Linear(5, 3), [(5,)]),
    "linear 3-d": (lambda T: T.nn.Linear(5, 3), [(2, 4, 5)]),
    "linear without bias": (lambda T: T.nn.Linear(5, 3, bias=False), [(4, 5)]),
    "linear of an empty batch": (lambda T: T.nn.Linear(5, 3), [(0, 5)]),
    "bilinear": (lambda T: T.nn.Bilinear(3, 4, 2), [(5, 3), (5, 4)]),
    "bilinear 3-d without bias": (lambda T: T.nn.Bilinear(3, 4, 2, bias=False), [(2, 5, 3), (2, 5, 4)]),
    "identity": (lambda T: T.nn.Identity(54, unused=1), [(4, 5)]),
    "flatten": (lambda T: T.nn.Flatten(), [(2, 3, 4, 5)]),
    "flatten some": (lambda T: T.nn.Flatten(1, 2), [(2, 3, 4, 5)]),
    "unflatten": (lambda T: T.nn.Unflatten(1, (2, -1)), [(3, 8)]),
    "conv2d": (lambda T: T.nn.Conv2d(3, 4, 3), [(2, 3, 7, 6)]),
    "conv2d unbatched": (lambda T: T.nn.Conv2d(3, 4, 3), [(3, 7, 6)]),
    "conv2d stride padding": (lambda T: T.nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2)), [(2, 3, 7, 6)]),
    "conv2d dilation": (lambda T: T.nn.Conv2d(2, 4, 3, dilation=2, bias=False), [(2, 2, 9, 8)]),
    "conv2d groups": (lambda T: T.nn.Conv2d(4, 6, 3, groups=2), [(2, 4, 6, 6)]),
    "conv2d depthwise": (lambda T: T.nn.Conv2d(4, 4, 3, padding=1, groups=4), [(2, 4, 6, 6)]),
    "conv2d same": (lambda T: T.nn.Conv2d(2, 3, 3, padding="same"), [(2, 2, 6, 5)]),
    "conv2d same, even kernel": (lambda T: T.nn.Conv2d(2, 3, (4, 2), padding="same", dilation=(1, 3)), [(2, 2, 6, 7)]),
    "conv2d valid": (lambda T: T.nn.Conv2d(2, 3, 3, padding="valid"), [(2, 2, 6, 5)]),
    "conv2d reflect": (lambda T: T.nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), [(2, 2, 6, 5)]),
    "conv2d replicate": (lambda T: T.nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), [(2, 2, 6, 5)]),
    "conv2d circular": (lambda T: T.nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"), [(2, 2, 6, 5)]),
    "conv1d": (lambda T: T.nn.Conv1d(3, 4, 3), [(2, 3, 9)]),
    "conv1d unbatched": (lambda T: T.nn.Conv1d(3, 4, 3, stride=2, padding=1), [(3, 9)]),
    "conv1d groups": (lambda T: T.nn.Conv1d(4, 4, 3, groups=2, dilation=2, bias=False), [(2, 4, 9)]),
    "conv1d same": (lambda T: T.nn.Conv1d(2, 3, 4, padding="same"), [(2, 2, 9)]),
    "conv1d reflect": (lambda T: T.nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"), [(2, 2, 9)]),
    "max_pool2d": (lambda T: T.nn.MaxPool2d(2), [(2, 3, 6, 8)]),
    "max_pool2d odd": (lambda T: T.nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)), [(2, 3, 7, 6)]),
    "max_pool2d ceil": (lambda T: T.nn.MaxPool2d(2, ceil_mode=True), [(2, 3, 7, 5)]),
    "max_pool2d dilation": (lambda T: T.nn.MaxPool2d(2, stride=1, dilation=2), [(2, 3, 7, 5)]),
    "max_pool2d unbatched": (lambda T: T.nn.MaxPool2d(2), [(3, 6, 8)]),
    "max_pool2d with indices": (lambda T: T.nn.MaxPool2d(2, return_indices=True), [(2, 3, 6, 8)]),
    "max_pool1d": (lambda T: T.nn.MaxPool1d(3, stride=2, padding=1), [(2, 3, 9)]),
    "max_pool1d with indices": (lambda T: T.nn.MaxPool1d(2, return_indices=True), [(3, 9)]),
    "avg_pool2d": (lambda T: T.nn.AvgPool2d(2), [(2, 3, 6, 8)]),
    "avg_pool2d padding": (lambda T: T.nn.AvgPool2d(3, stride=2, padding=1), [(2, 3, 7, 6)]),
    "avg_pool2d without pad": (lambda T: T.nn.AvgPool2d(3, 2, 1, count_include_pad=False), [(2, 3, 7, 6)]),
    "avg_pool2d ceil": (lambda T: T.nn.AvgPool2d(2, ceil_mode=True), [(2, 3, 7, 5)]),
    "avg_pool2d divisor": (lambda T: T.nn.AvgPool2d(2, divisor_override=3), [(3, 6, 8)]),
    "avg_pool1d": (lambda T: T.nn.AvgPool1d(3, 2, 1), [(2, 3, 9)]),
    "adaptive_avg_pool2d divides": (lambda T: T.nn.AdaptiveAvgPool2d((3, 2)), [(2, 3, 6, 8)]),
    "adaptive_avg_pool2d uneven": (lambda T: T.nn.AdaptiveAvgPool2d((3, 5)), [(2, 3, 7, 8)]),
    "adaptive_avg_pool2d grows": (lambda T: T.nn.AdaptiveAvgPool2d((9, None)), [(3, 7, 8)]),
    "adaptive_avg_pool2d to one": (lambda T: T.nn.AdaptiveAvgPool2d(1), [(2, 3, 7, 8)]),
    "adaptive_avg_pool1d": (lambda T: T.nn.AdaptiveAvgPool1d(4), [(2, 3, 10)]),
    "dropout in evaluation": (lambda T: T.nn.Dropout(0.3), [(4, 5)]),
    "dropout of nothing": (lambda T: T.nn.Dropout(0.0), [(4, 5)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_pytorch(name: str, dtype: str) -> None:
    make, shapes = LAYERS[name]
    arrays = [random(shape, i, dtype) for i, shape in enumerate(shapes)]
    compare_module(make, arrays, training="evaluation" not in name)


@pytest.mark.parametrize(
    "make",
    [
        lambda T: T.nn.Embedding(7, 3),
        lambda T: T.nn.Embedding(7, 3, padding_idx=2),
        lambda T: T.nn.Embedding(7, 3, padding_idx=-1),
        lambda T: T.nn.Embedding(7, 3, max_norm=1.0),
        lambda T: T.nn.Embedding(7, 3, max_norm=0.5, norm_type=1.0, padding_idx=0),
        lambda T: T.nn.Embedding(7, 3, scale_grad_by_freq=True),
    ],
)
@pytest.mark.parametrize("indices", [[[1, 2, 2], [6, 0, 2]], [3], []])
def test_embedding_equals_pytorch(make, indices) -> None:
    compare_module(make, [np.array(indices, dtype=np.int64)])


def test_embedding_max_norm_changes_the_rows_looked_up_only() -> None:
    mine, reference = dumbtorch.nn.Embedding(5, 4, max_norm=0.1), torch.nn.Embedding(5, 4, max_norm=0.1)
    copy_state(mine, reference)
    indices = np.array([1, 3, 3])
    mine(tensor_of(dumbtorch, indices))
    reference(tensor_of(torch, indices))
    np.testing.assert_allclose(as_numpy(mine.weight), as_numpy(reference.weight), rtol=1e-5)


def test_embedding_from_pretrained() -> None:
    def scenario(T):
        table = T.ones(4, 2)
        layer = T.nn.Embedding.from_pretrained(table, padding_idx=1)
        trained = T.nn.Embedding.from_pretrained(table, freeze=False)
        return repr(layer), layer.weight.requires_grad, trained.weight.requires_grad, layer.weight.tolist()

    same_outcome(scenario)


def test_padding_row_starts_at_zero() -> None:
    assert as_numpy(dumbtorch.nn.Embedding(4, 3, padding_idx=2).weight)[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.Conv2d(3, 4, 3, groups=2),
        lambda T: T.nn.Conv2d(4, 3, 3, groups=2),
        lambda T: T.nn.Conv2d(4, 4, 3, groups=0),
        lambda T: T.nn.Conv2d(4, 4, 3, stride=2, padding="same"),
        lambda T: T.nn.Dropout(1.5),
        lambda T: T.nn.Dropout(-0.1),
        lambda T: T.nn.Embedding(3, 2, padding_idx=3),
        lambda T: T.nn.Bilinear(0, 2, 2),
        lambda T: T.nn.Linear(3, 2, True, None, None, 7),
    ],
)
def test_bad_settings_raise_as_in_pytorch(scenario) -> None:
    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.Conv2d(4, 4, 3, padding="some"),
        lambda T: T.nn.Conv2d(4, 4, 3, padding_mode="mirror"),
        lambda T: T.nn.Unflatten(0, 3),
        lambda T: T.nn.Unflatten(0, (3, "a")),
        lambda T: T.nn.Conv2d(1, 1, 3)(T.zeros(4, 4)),
        lambda T: T.nn.MaxPool2d(2)(T.zeros(4)),
        lambda T: T.nn.Linear(3, 2)(T.zeros(2, 4)),
        lambda T: T.nn.Bilinear(3, 2, 2)(T.zeros(2, 3), T.zeros(2, 3)),
    ],
)
def test_bad_input_raises_the_same_type(scenario) -> None:
    same_outcome(scenario, message=False)


def test_device_and_dtype_of_new_layers() -> None:
    def scenario(T):
        layer = T.nn.Conv2d(1, 2, 3, dtype=T.float64, device="cpu")
        return str(layer.weight.dtype).split(".")[1], str(layer.bias.device), T.nn.Linear(2, 2).weight.is_leaf

    same_outcome(scenario)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_zeroes_that_many_and_scales_the_rest(p: float, inplace: bool) -> None:
    count = 20000
    x = dumbtorch.ones(count)
    out = as_numpy(dumbtorch.nn.Dropout(p, inplace=inplace)(x))
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - p), rtol=1e-6)
    # Six standard deviations of a binomial.
    assert abs(kept.mean() - (1 - p)) < 6 * np.sqrt(p * (1 - p) / count)
    assert bool((x == 1).all()) is not inplace


def test_dropout_gradient_is_its_mask() -> None:
    x = dumbtorch.ones(1000).requires_grad_()
    out = dumbtorch.nn.Dropout(0.5)(x)
    out.sum().backward()
    np.testing.assert_array_equal(as_numpy(x.grad), as_numpy(out))


@pytest.mark.parametrize("layer", ["Dropout1d", "Dropout2d", "Dropout3d"])
@pytest.mark.parametrize("inplace", [False, True])
def test_channel_dropout_drops_whole_channels(layer: str, inplace: bool) -> None:
    shape = (40, 50) + (3,) * int(layer[-2])
    out = as_numpy(getattr(dumbtorch.nn, layer)(0.25, inplace=inplace)(dumbtorch.ones(shape))).reshape(2000, -1)
    assert (out == out[:, :1]).all()
    assert set(np.unique(out[:, 0]).round(5)) == {0.0, np.float32(1 / 0.75).round(5)}
    assert abs((out[:, 0] == 0).mean() - 0.25) < 6 * np.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.parametrize("layer", ["AlphaDropout", "FeatureAlphaDropout"])
def test_alpha_dropout_keeps_mean_and_variance(layer: str) -> None:
    dumbtorch.manual_seed(0)
    x = dumbtorch.randn(400, 500)
    out = as_numpy(getattr(dumbtorch.nn, layer)(0.3)(x))
    assert abs(out.mean()) < 0.02
    assert abs(out.std() - 1) < 0.02


def test_dropout_of_everything_is_zero() -> None:
    for layer in ("Dropout", "Dropout2d", "AlphaDropout"):
        x = dumbtorch.ones(2, 3, 4, 4).requires_grad_()
        out = getattr(dumbtorch.nn, layer)(1.0)(x)
        out.sum().backward()
        assert not as_numpy(out).any()
        assert not as_numpy(x.grad).any()
