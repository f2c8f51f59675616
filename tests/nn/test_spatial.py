"""Convolution, pooling and resizing in one to three dimensions, beside PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, compare_module, random, run, same_outcome, tensor_of

MODULES = {
    "conv1d": (lambda T: T.nn.Conv1d(4, 6, 3, 2, 1, groups=2), [(2, 4, 9)]),
    "conv1d circular": (lambda T: T.nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular"), [(4, 9)]),
    "conv3d": (lambda T: T.nn.Conv3d(3, 4, (3, 2, 3), stride=(1, 2, 1), padding=1), [(2, 3, 5, 4, 6)]),
    "conv3d unbatched": (lambda T: T.nn.Conv3d(2, 4, 2, dilation=2, bias=False), [(2, 5, 4, 6)]),
    "conv3d depthwise": (lambda T: T.nn.Conv3d(4, 4, 3, padding=1, groups=4), [(2, 4, 3, 5, 4)]),
    "conv3d pointwise": (lambda T: T.nn.Conv3d(5, 3, 1), [(2, 5, 3, 4, 4)]),
    "conv3d strided": (lambda T: T.nn.Conv3d(2, 3, 3, stride=(3, 1, 2)), [(1, 2, 9, 4, 5)]),
    "conv3d reflect": (lambda T: T.nn.Conv3d(2, 3, 3, padding=1, padding_mode="reflect"), [(1, 2, 4, 4, 5)]),
    "conv3d same": (lambda T: T.nn.Conv3d(2, 3, (2, 3, 4), padding="same"), [(1, 2, 4, 4, 5)]),
    "conv_transpose1d": (lambda T: T.nn.ConvTranspose1d(4, 6, 5, 3, 1, output_padding=2), [(2, 4, 5)]),
    "conv_transpose1d gaps": (lambda T: T.nn.ConvTranspose1d(2, 3, 2, 4, output_padding=1), [(2, 2, 5)]),
    "conv_transpose2d": (lambda T: T.nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), [(2, 4, 5, 3)]),
    "conv_transpose2d unbatched": (lambda T: T.nn.ConvTranspose2d(4, 2, (2, 3), bias=False), [(4, 5, 3)]),
    "conv_transpose2d depthwise": (lambda T: T.nn.ConvTranspose2d(3, 3, 3, 2, groups=3), [(2, 3, 5, 3)]),
    "conv_transpose2d dilated": (
        lambda T: T.nn.ConvTranspose2d(2, 3, 2, 1, dilation=3, output_padding=2), [(1, 2, 4, 3)]),
    "conv_transpose3d": (lambda T: T.nn.ConvTranspose3d(2, 3, 3, 2, 1, 1), [(2, 2, 3, 4, 2)]),
    "max_pool3d": (lambda T: T.nn.MaxPool3d(2, ceil_mode=True), [(2, 2, 5, 4, 5)]),
    "max_pool3d indices": (lambda T: T.nn.MaxPool3d((3, 2, 2), 1, 1, return_indices=True), [(2, 3, 4, 5)]),
    "avg_pool3d": (lambda T: T.nn.AvgPool3d(3, 2, 1, ceil_mode=True, count_include_pad=False), [(2, 2, 6, 4, 5)]),
    "avg_pool3d divisor": (lambda T: T.nn.AvgPool3d((2, 3, 1), divisor_override=5), [(2, 6, 4, 5)]),
    "adaptive_avg_pool1d": (lambda T: T.nn.AdaptiveAvgPool1d(4), [(2, 3, 7)]),
    "adaptive_avg_pool3d": (lambda T: T.nn.AdaptiveAvgPool3d((2, None, 3)), [(2, 2, 5, 4, 7)]),
    "adaptive_max_pool1d": (lambda T: T.nn.AdaptiveMaxPool1d(4, return_indices=True), [(2, 3, 7)]),
    "adaptive_max_pool2d": (lambda T: T.nn.AdaptiveMaxPool2d((3, None)), [(2, 3, 7, 5)]),
    "adaptive_max_pool3d": (lambda T: T.nn.AdaptiveMaxPool3d(2, return_indices=True), [(2, 3, 5, 4)]),
    "lp_pool1d": (lambda T: T.nn.LPPool1d(3, 2), [(2, 3, 7)]),
    "lp_pool2d": (lambda T: T.nn.LPPool2d(2, (2, 3), stride=1, ceil_mode=True), [(2, 3, 7, 5)]),
    "lp_pool3d": (lambda T: T.nn.LPPool3d(2, 2), [(2, 4, 7, 5)]),
    "upsample": (lambda T: T.nn.Upsample(scale_factor=2), [(2, 3, 4, 5)]),
    "upsample trilinear": (lambda T: T.nn.Upsample((5, 3, 8), mode="trilinear"), [(1, 2, 4, 5, 3)]),
    "upsampling nearest": (lambda T: T.nn.UpsamplingNearest2d(scale_factor=3), [(2, 3, 4, 5)]),
    "upsampling bilinear": (lambda T: T.nn.UpsamplingBilinear2d((7, 9)), [(2, 3, 4, 5)]),
    "pixel_shuffle": (lambda T: T.nn.PixelShuffle(2), [(2, 8, 3, 4)]),
    "pixel_unshuffle": (lambda T: T.nn.PixelUnshuffle(3), [(2, 6, 9)]),
    "channel_shuffle": (lambda T: T.nn.ChannelShuffle(3), [(2, 6, 4)]),
    "unfold": (lambda T: T.nn.Unfold((2, 3), padding=1, stride=(2, 1)), [(2, 3, 5, 4)]),
    "fold": (lambda T: T.nn.Fold((4, 5), (2, 3), dilation=(1, 2), padding=1), [(2, 18, 15)]),
    **{
        f"{kind}_pad{n}d": (
            lambda T, kind=kind, n=n: getattr(T.nn, f"{kind}Pad{n}d")(
                tuple(range(1, 2 * n + 1))[::-1] if kind == "Zero" else 1, *((2.5,) if kind == "Constant" else ())
            ),
            [(2, 3, *(4, 5, 3)[:n])],
        )
        for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
        for n in (1, 2, 3)
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_module_equals_pytorch(name: str, dtype: str) -> None:
    make, shapes = MODULES[name]
    compare_module(make, [random(shape, i, dtype) for i, shape in enumerate(shapes)])


SIZES = [{"size": 5}, {"size": 12}, {"scale_factor": 1.7}, {"scale_factor": 0.6, "recompute_scale_factor": True}]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", SIZES, ids=str)
@pytest.mark.parametrize(
    ("mode", "shape", "more"),
    [
        *((mode, (2, 3, *(9, 7, 6)[:n]), {}) for mode in ("nearest", "nearest-exact", "area") for n in (1, 2, 3)),
        *((mode, (2, 2, *(8, 7, 6)[:n]), {"align_corners": align})
          for mode, n in (("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3)) for align in (False, True)),
        *((mode, (2, 2, 9, 11), {"antialias": True}) for mode in ("bilinear", "bicubic", "lanczos")),
    ],
    ids=str,
)  # fmt: skip
def test_interpolate(mode: str, shape: tuple, more: dict, options: dict, dtype: str) -> None:
    x = random(shape, 1, dtype)
    mine, its = (
        run(T, lambda x, T=T: T.nn.functional.interpolate(x, mode=mode, **options, **more), [x], True)
        for T in (dumbtorch, torch)
    )
    assert_close(mine, its, dtype)


def test_interpolate_of_large_images_and_channels_last() -> None:
    x = random((2, 3, 40, 67), 2, "float32")
    for mode in ("nearest", "bilinear", "bicubic"):
        for size in ((80, 134), (20, 33), (121, 30)):
            for last in (False, True):
                made = []
                for T in (dumbtorch, torch):
                    t = tensor_of(T, x)
                    t = t.contiguous(memory_format=T.channels_last) if last else t
                    t.requires_grad_()
                    y = T.nn.functional.interpolate(t, size, mode=mode)
                    assert not last or y.is_contiguous(memory_format=T.channels_last)
                    y.mul(y).sum().backward()
                    made.append((y, t.grad))
                assert_close(*made, "float32", f"{mode} {size} {last}")


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolate_of_bytes(mode: str) -> None:
    x = np.random.default_rng(1).integers(0, 256, (2, 3, 9, 7)).astype("uint8")
    mine = dumbtorch.nn.functional.interpolate(dumbtorch.from_numpy(x), (14, 5), mode=mode)
    # PyTorch cuts off what a cubic overshoots after each axis: its floats are the better reference
    its = torch.nn.functional.interpolate(torch.from_numpy(x).double(), (14, 5), mode=mode).round().clamp(0, 255)
    assert mine.dtype is dumbtorch.uint8
    assert abs(as_numpy(mine).astype(int) - as_numpy(its)).max() <= (0 if mode == "nearest" else 1)


def test_infinities_stay_where_they_are() -> None:
    x = np.zeros((1, 1, 3, 20), "float32")
    x[..., 1, 7] = np.inf
    for mode in ("area", "nearest", "bilinear"):
        made = [T.nn.functional.interpolate(tensor_of(T, x), (4, 9), mode=mode) for T in (dumbtorch, torch)]
        np.testing.assert_array_equal(np.isfinite(as_numpy(made[0])), np.isfinite(as_numpy(made[1])), mode)


@pytest.mark.parametrize("spatial", [2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_channels_last_gives_channels_last(spatial: int, transposed: bool) -> None:
    name = f"conv_transpose{spatial}d" if transposed else f"conv{spatial}d"
    x, w = random((2, 4, 5, 6, 4)[: spatial + 2], 1, "float32"), random((4, 4, 3, 3, 3)[: spatial + 2], 2, "float32")
    made = []
    for T in (dumbtorch, torch):
        form = T.channels_last if spatial == 2 else T.channels_last_3d
        t = tensor_of(T, x).contiguous(memory_format=form).requires_grad_()
        weight = tensor_of(T, w, True)
        y = getattr(T.nn.functional, name)(t, weight, padding=1)
        assert y.is_contiguous(memory_format=form)
        y.mul(y).sum().backward()
        made.append((y, t.grad, weight.grad))
    assert_close(*made, "float32")


@pytest.mark.parametrize(
    "pool",
    [
        lambda F, x: F.max_pool2d(x, 2),
        lambda F, x: F.avg_pool2d(x, 3, 1, 1),
        lambda F, x: F.adaptive_avg_pool2d(x, (4, 3)),
        lambda F, x: F.adaptive_avg_pool2d(x, (3, 2)),
    ],
)
def test_pools_keep_channels_last(pool) -> None:
    x = random((2, 3, 8, 6), 1, "float32")
    made = []
    for T in (dumbtorch, torch):
        t = tensor_of(T, x).contiguous(memory_format=T.channels_last).requires_grad_()
        y = pool(T.nn.functional, t)
        assert y.is_contiguous(memory_format=T.channels_last)
        y.mul(y).sum().backward()
        made.append((y, t.grad))
    assert_close(*made, "float32")


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_complex_and_integer_convolutions(spatial: int) -> None:
    shapes = (2, 4, 5, 6, 4)[: spatial + 2], (4, 2, 3, 3, 3)[: spatial + 2]
    for transposed in (False, True):
        name = f"conv_transpose{spatial}d" if transposed else f"conv{spatial}d"
        arrays = [random(s, 1) + 1j * random(s, 2) for s in shapes]
        bias = random((4,), 3) + 0j
        made = [
            getattr(T.nn.functional, name)(*(T.from_numpy(a) for a in (*arrays, bias)), padding=1, groups=2)
            for T in (dumbtorch, torch)
        ]
        np.testing.assert_allclose(as_numpy(made[0].resolve_conj()), as_numpy(made[1]), rtol=1e-9, atol=1e-9)
        whole = [np.random.default_rng(4).integers(-9, 9, s) for s in shapes]
        made = [getattr(T.nn.functional, name)(*map(T.from_numpy, whole), groups=2) for T in (dumbtorch, torch)]
        np.testing.assert_array_equal(as_numpy(made[0]), as_numpy(made[1]))


@pytest.mark.parametrize(
    "function",
    [
        lambda F, x, w: F.conv3d(x, w, padding=1, stride=(1, 2, 1)),
        lambda F, x, w: F.conv_transpose3d(x, w, padding=1, stride=2),
        lambda F, x, w: F.avg_pool3d(x, 2, padding=1),
        lambda F, x, w: F.max_pool3d(x, 2),
        lambda F, x, w: F.adaptive_avg_pool3d(x, (2, 2, 1)),
        lambda F, x, w: F.interpolate(x, (2, 5, 4), mode="trilinear"),
    ],
)
def test_differentiates_twice(function) -> None:
    x = dumbtorch.from_numpy(random((1, 2, 3, 4, 3), 1)).requires_grad_()
    w = dumbtorch.from_numpy(random((2, 2, 2, 3, 2), 2)).requires_grad_()
    call = lambda x, w: function(dumbtorch.nn.functional, x, w) ** 2 + 0 * w.sum()  # noqa: E731
    assert dumbtorch.autograd.gradcheck(call, (x, w))
    assert dumbtorch.autograd.gradgradcheck(call, (x, w))


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_unpooling_undoes_pooling(spatial: int) -> None:
    x = random((2, 3, *(7, 6, 4)[:spatial]), 5)
    made = []
    for T in (dumbtorch, torch):
        t = tensor_of(T, x, True)
        values, places = getattr(T.nn, f"MaxPool{spatial}d")(2, return_indices=True)(t)
        back = getattr(T.nn, f"MaxUnpool{spatial}d")(2)(values, places, output_size=t.shape)
        back.mul(back).sum().backward()
        made.append((places, back, t.grad))
    for mine, its in zip(*made, strict=True):
        np.testing.assert_allclose(as_numpy(mine), as_numpy(its))


@pytest.mark.parametrize("spatial", [2, 3])
def test_fractional_pooling(spatial: int) -> None:
    x = random((2, 3, *(9, 8, 7)[:spatial]), 6)
    samples = np.random.default_rng(7).random((2, 3, spatial))
    for size in ({"output_size": 4}, {"output_ratio": 0.5}):
        made = []
        for T in (dumbtorch, torch):
            t = tensor_of(T, x, True)
            pool = getattr(T.nn, f"FractionalMaxPool{spatial}d")(
                2, **size, return_indices=True, _random_samples=tensor_of(T, samples)
            )
            values, places = pool(t)
            values.sum().backward()
            made.append((values, places, t.grad))
        for mine, its in zip(*made, strict=True):
            np.testing.assert_allclose(as_numpy(mine), as_numpy(its))
    drawn = getattr(dumbtorch.nn.functional, f"fractional_max_pool{spatial}d")(dumbtorch.from_numpy(x), 2, 3)
    assert drawn.shape[2:] == (3,) * spatial


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    ("mode", "spatial"), [("bilinear", 2), ("nearest", 2), ("bicubic", 2), ("bilinear", 3), ("nearest", 3)]
)
def test_grid_sample(mode: str, padding: str, align: bool, spatial: int) -> None:
    x = random((2, 3, *(6, 5, 4)[:spatial]), 1)
    grid = random((2, *(5, 7, 3)[:spatial], spatial), 2) * 1.1
    mine, its = (
        run(T, lambda x, g, T=T: T.nn.functional.grid_sample(x, g, mode, padding, align), [x, grid], True)
        for T in (dumbtorch, torch)
    )
    assert_close(mine, its)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("spatial", [2, 3])
def test_affine_grid(align: bool, spatial: int) -> None:
    theta = random((2, spatial, spatial + 1), 3)
    mine, its = (
        run(T, lambda t, T=T: T.nn.functional.affine_grid(t, (2, 1, *(4, 5, 3)[:spatial]), align), [theta], True)
        for T in (dumbtorch, torch)
    )
    assert_close(mine, its)


@pytest.mark.parametrize(
    "program",
    [
        lambda T: T.nn.functional.conv3d(T.ones(1, 2, 2, 2, 2), T.ones(1, 2, 3, 3, 3)),
        lambda T: T.nn.functional.conv1d(T.ones(1, 2, 4, 4), T.ones(1, 2, 3)),
        lambda T: T.nn.functional.conv_transpose2d(T.ones(1, 2, 4, 4), T.ones(3, 2, 3, 3)),
        lambda T: T.nn.functional.conv_transpose2d(T.ones(1, 2, 4, 4), T.ones(2, 2, 3, 3), output_padding=1),
        lambda T: T.nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect"),
        lambda T: T.nn.ConvTranspose2d(2, 2, 3, 2)(T.ones(1, 2, 4, 4), output_size=(20, 20)),
        lambda T: T.nn.functional.interpolate(T.ones(1, 2, 4), 3, 2.0),
        lambda T: T.nn.functional.interpolate(T.ones(1, 2, 4), mode="bilinear", size=3),
        lambda T: T.nn.functional.interpolate(T.ones(1, 2, 4), size=3, align_corners=True),
        lambda T: T.nn.functional.interpolate(T.ones(1, 2, 4), size=0),
        lambda T: T.nn.functional.interpolate(T.ones(1, 2, 4, 4), size=3, mode="lanczos"),
        lambda T: T.nn.functional.pixel_shuffle(T.ones(1, 3, 4, 4), 2),
        lambda T: T.nn.functional.fold(T.ones(1, 5, 4), (3, 3), 2),
        lambda T: T.nn.functional.unfold(T.ones(1, 1, 2, 2), 3),
        lambda T: T.nn.functional.max_unpool2d(T.ones(1, 1, 2, 2), T.full((1, 1, 2, 2), 99), 2),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(2, 2, 2, 2), align_corners=False),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(1, 2, 2, 2), "cubic", align_corners=False),
        lambda T: T.nn.functional.adaptive_max_pool2d(T.ones(1, 1, 0, 2), 2),
        lambda T: T.nn.CircularPad2d(1)(T.ones(3, 3)),
        lambda T: T.nn.FractionalMaxPool2d(2),
    ],
)
def test_errors(program) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same_outcome(program, message=False)


def test_padding_of_one_side_of_a_strided_transposed_convolution_on_views() -> None:
    x, w = random((2, 5, 6, 8), 1), random((8, 3, 3, 3), 2)
    made = []
    for T in (dumbtorch, torch):
        a, b = tensor_of(T, x).permute(0, 3, 1, 2), tensor_of(T, w)[:, :, ::2, 1:]
        made.append(T.nn.functional.conv_transpose2d(a, b, tensor_of(T, random((3,), 3)), stride=(3, 2)))
    assert_close(*made)


@pytest.mark.parametrize("name", ["adaptive_max_pool2d", "adaptive_avg_pool2d"])
@pytest.mark.parametrize("size", [10**30, 2**62])
def test_adaptive_sizes_beyond_all_memory(name: str, size: int) -> None:
    with pytest.raises(RuntimeError):
        getattr(dumbtorch.nn.functional, name)(dumbtorch.ones(3, 1, 3), size)


@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d",
                                  "adaptive_max_pool3d"])  # fmt: skip
def test_too_few_dimensions_for_the_sizes(name: str) -> None:
    sizes = (1,) * int(name[-2])
    for framework in (dumbtorch, torch):
        with pytest.raises(ValueError, match=f"Input dimension should be at least {len(sizes) + 1}"):
            getattr(framework.nn.functional, name)(framework.ones(2, 3), sizes)
