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
    "layer_norm": (lambda T: T.nn.LayerNorm(5), [(4, 5)]),
    "layer_norm of planes": (lambda T: T.nn.LayerNorm((3, 70), eps=1e-3), [(4, 2, 3, 70)]),
    "layer_norm without bias": (lambda T: T.nn.LayerNorm(5, bias=False), [(2, 4, 5)]),
    "layer_norm plain": (lambda T: T.nn.LayerNorm([5], elementwise_affine=False), [(4, 5)]),
    "layer_norm of nothing": (lambda T: T.nn.LayerNorm(5), [(0, 5)]),
    "rms_norm": (lambda T: T.nn.RMSNorm(33), [(4, 33)]),
    "rms_norm plain": (lambda T: T.nn.RMSNorm((3, 5), eps=1e-2, elementwise_affine=False), [(2, 3, 5)]),
    "group_norm": (lambda T: T.nn.GroupNorm(2, 6), [(3, 6, 5, 7)]),
    "group_norm of rows": (lambda T: T.nn.GroupNorm(3, 6), [(4, 6)]),
    "group_norm plain": (lambda T: T.nn.GroupNorm(6, 6, affine=False), [(3, 6, 5)]),
    "batch_norm1d": (lambda T: T.nn.BatchNorm1d(35), [(6, 35)]),
    "batch_norm1d of lines": (lambda T: T.nn.BatchNorm1d(5, momentum=None), [(6, 5, 9)]),
    "batch_norm1d in evaluation": (lambda T: T.nn.BatchNorm1d(5), [(6, 5)]),
    "batch_norm2d": (lambda T: T.nn.BatchNorm2d(5), [(6, 5, 4, 9)]),
    "batch_norm2d in evaluation": (lambda T: T.nn.BatchNorm2d(5, eps=1e-2), [(6, 5, 4, 9)]),
    "batch_norm2d untracked": (lambda T: T.nn.BatchNorm2d(5, track_running_stats=False), [(6, 5, 4, 9)]),
    "batch_norm2d plain": (lambda T: T.nn.BatchNorm2d(5, affine=False), [(6, 5, 4, 9)]),
    "batch_norm3d": (lambda T: T.nn.BatchNorm3d(3, bias=False), [(2, 3, 4, 2, 5)]),
    "instance_norm1d": (lambda T: T.nn.InstanceNorm1d(5), [(3, 5, 9)]),
    "instance_norm1d unbatched": (lambda T: T.nn.InstanceNorm1d(5, affine=True), [(5, 9)]),
    "instance_norm2d": (lambda T: T.nn.InstanceNorm2d(5, affine=True, track_running_stats=True), [(3, 5, 4, 9)]),
    "instance_norm2d in evaluation": (lambda T: T.nn.InstanceNorm2d(5, track_running_stats=True), [(3, 5, 4, 9)]),
    "instance_norm3d": (lambda T: T.nn.InstanceNorm3d(2), [(3, 2, 4, 2, 3)]),
    "local_response_norm": (lambda T: T.nn.LocalResponseNorm(3, alpha=0.1), [(2, 7, 4, 3)]),
    "local_response_norm, even": (lambda T: T.nn.LocalResponseNorm(2, beta=0.5, k=2), [(2, 7, 4)]),
    "dropout in evaluation": (lambda T: T.nn.Dropout(0.3), [(4, 5)]),
    "dropout of nothing": (lambda T: T.nn.Dropout(0.0), [(4, 5)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_pytorch(name: str, dtype: str) -> None:
    make, shapes = LAYERS[name]
    arrays = [random(shape, i, dtype) for i, shape in enumerate(shapes)]
    compare_module(make, arrays, training="evaluation" not in name)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics(momentum: float | None) -> None:
    mine, reference = (T.nn.BatchNorm2d(3, momentum=momentum).double() for T in (dumbtorch, torch))
    for seed in range(3):
        for T, layer in ((dumbtorch, mine), (torch, reference)):
            layer(tensor_of(T, random((4, 3, 2, 5), seed) * (seed + 1)))
    for (name, a), (_, b) in zip(mine.named_buffers(), reference.named_buffers(), strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-9, err_msg=name)
    x = random((2, 3, 4, 4), 9)
    a, b = mine.eval()(tensor_of(dumbtorch, x)), reference.eval()(tensor_of(torch, x))
    np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "batch_norm"])
def test_half_types_are_normalized_in_float32(name: str, dtype: str) -> None:
    x = random((6, 8, 5), 3) * 3 + 2

    def norm(T, x):
        f = T.nn.functional
        if name == "batch_norm":
            return f.batch_norm(x, None, None, training=True)
        return f.layer_norm(x, (5,)) if name == "layer_norm" else f.group_norm(x, 2)

    half = norm(dumbtorch, tensor_of(dumbtorch, x).to(getattr(dumbtorch, dtype)))
    assert str(half.dtype).endswith(dtype)
    exact = norm(torch, tensor_of(torch, x))
    np.testing.assert_allclose(
        as_numpy(half.double()), as_numpy(exact), atol={"float16": 5e-3, "bfloat16": 4e-2}[dtype]
    )


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "group_norm", "batch_norm", "batch_norm_eval"])
def test_norms_differentiate_twice(name: str) -> None:
    functions = {
        "layer_norm": lambda x, w, b: dumbtorch.layer_norm(x, (4,), w, b),
        "rms_norm": lambda x, w, b: dumbtorch.rms_norm(x, (4,), w) + b,
        "group_norm": lambda x, w, b: dumbtorch.group_norm(x, 2, w, b),
        "batch_norm": lambda x, w, b: dumbtorch.batch_norm(x, w, b, None, None, True, 0.1, 1e-5),
        "batch_norm_eval": lambda x, w, b: dumbtorch.batch_norm(
            x, w, b, dumbtorch.ones(4).double(), dumbtorch.ones(4).double(), False, 0.1, 1e-5
        ),
    }
    inputs = [tensor_of(dumbtorch, random(shape, i), True) for i, shape in enumerate([(3, 4), (4,), (4,)])]
    assert dumbtorch.autograd.gradcheck(functions[name], inputs)
    assert dumbtorch.autograd.gradgradcheck(functions[name], inputs)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.BatchNorm1d(3)(T.zeros(1, 3)),
        lambda T: T.nn.BatchNorm1d(3)(T.zeros(2, 3, 4, 5)),
        lambda T: T.nn.BatchNorm2d(3)(T.zeros(2, 3)),
        lambda T: T.nn.BatchNorm3d(3)(T.zeros(2, 3)),
        lambda T: T.nn.InstanceNorm1d(3)(T.zeros(2, 3, 1)),
        lambda T: T.nn.InstanceNorm2d(3, affine=True)(T.zeros(2, 4, 2, 2)),
        lambda T: T.nn.GroupNorm(4, 6),
        lambda T: T.nn.functional.group_norm(T.zeros(1, 2), 2),
        lambda T: T.nn.functional.local_response_norm(T.zeros(2, 3), 2),
    ],
)
def test_what_cannot_be_normalized(scenario) -> None:
    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.functional.layer_norm(T.zeros(2, 3), (4,)),
        lambda T: T.nn.functional.layer_norm(T.zeros(2, 3), ()),
        lambda T: T.nn.functional.layer_norm(T.zeros(2, 3), (3,), T.zeros(2)),
        lambda T: T.nn.functional.group_norm(T.zeros(2, 3), 2),
        lambda T: T.nn.functional.batch_norm(T.zeros(2, 3), T.zeros(4), T.zeros(3)),
        lambda T: T.nn.functional.batch_norm(T.zeros(2, 3), None, None),
    ],
)
def test_shapes_that_norms_refuse(scenario) -> None:
    same_outcome(scenario, message=False)


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
