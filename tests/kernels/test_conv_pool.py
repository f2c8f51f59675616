"""Convolution and pooling against PyTorch: strides, paddings, dilations, groups, dtypes, memory layouts, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dumbtorch as dt
from dumbtorch import _C, ops

torch = pytest.importorskip("torch")

TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "bfloat16": 2e-2, "float16": 2e-3}

# N, C, H, W, out channels, kernel, stride, padding, dilation, groups
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "first layer of MNIST": (3, 1, 28, 28, 16, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "second layer of MNIST": (5, 16, 14, 14, 32, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "uneven": (2, 3, 6, 5, 4, (3, 2), (1, 1), (0, 0), (1, 1), 1),
    "uneven stride and padding": (2, 3, 6, 5, 4, (3, 3), (2, 1), (1, 2), (1, 1), 1),
    "dilated groups": (1, 4, 7, 7, 6, (2, 2), (1, 2), (1, 0), (2, 2), 2),
    "pointwise": (2, 8, 9, 40, 20, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "pointwise with stride": (2, 8, 9, 33, 20, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    "stem": (2, 3, 23, 21, 17, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    "depthwise": (2, 6, 10, 37, 6, (3, 3), (1, 1), (1, 1), (1, 1), 6),
    "depthwise doubled with stride": (2, 6, 10, 37, 12, (3, 3), (2, 2), (1, 1), (1, 1), 6),
    "depthwise dilated": (2, 6, 10, 11, 6, (3, 3), (3, 2), (1, 1), (2, 1), 6),
    "a deep block": (1, 70, 12, 13, 45, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stride beyond the kernel": (1, 4, 9, 9, 3, (2, 3), (3, 4), (1, 0), (1, 1), 1),
    "padding beyond the kernel": (1, 4, 5, 5, 3, (2, 3), (3, 4), (4, 5), (2, 3), 1),
    "many channels on few pixels": (2, 40, 7, 7, 36, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "vectors of channels": (2, 48, 9, 17, 64, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "vectors of channels with stride": (2, 32, 15, 29, 94, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "vectors of channels of dilated groups": (1, 64, 12, 23, 64, (3, 3), (1, 1), (2, 1), (2, 2), 2),
    "vectors of channels on few pixels": (9, 32, 7, 7, 32, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "vectors of channels in place": (1, 64, 10, 18, 63, (2, 2), (1, 1), (0, 0), (1, 1), 1),
    "one pixel": (1, 3, 1, 1, 2, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "wide": (1, 2, 4, 300, 3, (1, 5), (1, 1), (0, 2), (1, 1), 1),
    "tall": (2, 2, 300, 3, 3, (5, 1), (2, 1), (2, 0), (1, 1), 1),
    "no images": (0, 3, 5, 5, 2, (3, 3), (1, 1), (0, 0), (1, 1), 1),
}


def tensor(x: Any) -> Any:
    """A PyTorch tensor as ours, strides kept where NumPy has the dtype."""
    if x is None:
        return None
    if x.dtype == torch.bfloat16:
        return dt.from_numpy(x.detach().float().numpy()).to(dt.bfloat16)
    return dt.from_numpy(x.detach().numpy())


def array(x: Any) -> Any:
    return torch.from_numpy(np.array((x.to(dt.float32) if x.dtype == dt.bfloat16 else x).numpy()))


def random(shape: tuple[int, ...], dtype: str, layout: str, seed: int) -> Any:
    """Values that the dtype holds exactly, in a memory layout."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(getattr(torch, dtype))
    if layout == "channels last" and x.ndim == 4:
        return x.to(memory_format=torch.channels_last)
    if layout == "every second" and x.ndim == 4:
        return torch.cat([x, x], -1)[..., ::2] if x.shape[-1] % 2 else torch.stack([x, x], -1).flatten(-2)[..., ::2]
    return x


def assert_close(got: Any, want: Any, dtype: str) -> None:
    result = array(got).double()
    assert result.shape == want.shape
    scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
    assert torch.allclose(result, want.double(), rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "every second"])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, dtype: str, layout: str) -> None:
    n, c, h, w, out, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    x, weight = random((n, c, h, w), dtype, layout, 1), random((out, c // groups, *kernel), dtype, layout, 2)
    bias = random((out,), dtype, layout, 3) if layout != "channels last" else None
    X, W, B = (None if t is None else t.double().requires_grad_() for t in (x, weight, bias))
    want = torch.nn.functional.conv2d(X, W, B, stride, padding, dilation, groups)
    grad = random(tuple(want.shape), dtype, layout, 4)
    want.backward(grad.double())

    ours = [None if t is None else tensor(t).requires_grad_() for t in (x, weight, bias)]
    got = dt.nn.functional.conv2d(*ours, stride, padding, dilation, groups)
    got.backward(tensor(grad))
    assert_close(got.detach(), want.detach(), dtype)
    assert_close(ours[0].grad, X.grad, dtype)
    assert_close(ours[1].grad, W.grad, dtype)
    if bias is not None and dtype in ("float32", "float64"):
        assert_close(ours[2].grad, B.grad, dtype)


def test_convolution_of_one_image() -> None:
    x, w = random((3, 6, 5), "float32", "", 1), random((4, 3, 2, 2), "float32", "", 2)
    a, b = tensor(x).requires_grad_(), tensor(w).requires_grad_()
    got = ops.TABLE["convolution"].op(a, b, None, (1, 1), (1, 1), (1, 1), 1)
    got.sum().backward()
    X, W = x.clone().requires_grad_(), w.clone().requires_grad_()
    want = torch.nn.functional.conv2d(X, W, padding=1)
    want.sum().backward()
    assert_close(got.detach(), want.detach(), "float32")
    assert_close(a.grad, X.grad, "float32")
    assert_close(b.grad, W.grad, "float32")


@pytest.mark.parametrize("sizes", [(9, 5, 17, 19, 21), (3, 40, 17, 19, 64)])
def test_convolution_does_not_depend_on_the_threads(sizes: tuple[int, ...]) -> None:
    n, c, height, width, out_channels = sizes
    x, w = random((n, c, height, width), "float32", "", 1), random((out_channels, c, 3, 3), "float32", "", 2)
    results = []
    before = _C.get_num_threads()
    try:
        for threads in (1, 2, 3):
            _C.set_num_threads(threads)
            a, b = tensor(x).requires_grad_(), tensor(w).requires_grad_()
            out = dt.nn.functional.conv2d(a, b, padding=1)
            (out * out).sum().backward()
            results.append([t.numpy().copy() for t in (out.detach(), a.grad, b.grad)])
    finally:
        _C.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(p, q) for p, q in zip(results[0], other, strict=True))


def error_of(function: Callable[[], Any]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:
        function()
    return caught.type, str(caught.value).split("\n")[0]


@pytest.mark.parametrize(
    ("shape", "weight", "bias", "arguments"),
    [
        ((1, 3, 2, 2), (4, 3, 3, 3), None, {}),
        ((1, 4, 5, 5), (4, 3, 3, 3), None, {}),
        ((4, 5, 5), (4, 3, 3, 3), None, {}),
        ((1, 4, 5, 5), (5, 2, 3, 3), None, {"groups": 2}),
        ((1, 4, 5, 5), (1, 2, 3, 3), None, {"groups": 2}),
        ((1, 3, 5, 5), (4, 3, 3, 3), (5,), {}),
        ((1, 3, 5, 5), (4, 3, 3, 3), (4, 1), {}),
        ((3, 5), (4, 3, 3, 3), None, {}),
        ((1, 3, 5, 5), (4, 3, 3, 3), None, {"stride": 0}),
        ((1, 3, 5, 5), (4, 3, 3, 3), None, {"padding": -1}),
        ((1, 3, 5, 5), (4, 3, 3, 3), None, {"dilation": 0}),
        ((1, 3, 5, 5), (4, 3, 3, 3), None, {"groups": 0}),
        ((2, 3, 0, 5), (4, 3, 3, 3), None, {"padding": 2}),
        ((2, 3, 5, 5), (0, 3, 3, 3), None, {}),
    ],
)
def test_errors_of_convolution(shape: Any, weight: Any, bias: Any, arguments: Any) -> None:
    x, w, b = (None if s is None else torch.zeros(s) for s in (shape, weight, bias))
    want = error_of(lambda: torch.nn.functional.conv2d(x, w, b, **arguments))
    got = error_of(lambda: dt.nn.functional.conv2d(tensor(x), tensor(w), tensor(b), **arguments))
    assert got == want


def test_dtypes_of_convolution_must_agree() -> None:
    x, w = dt.zeros(1, 3, 5, 5), dt.zeros(4, 3, 3, 3)
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        dt.nn.functional.conv2d(x, w.double())
    with pytest.raises(RuntimeError, match=r"Input type \(float\) and bias type \(double\) should be the same"):
        dt.nn.functional.conv2d(x, w, dt.zeros(4).double())


def test_wrong_gradient_is_refused() -> None:
    op = ops.TABLE["convolution_input"].op
    with pytest.raises(RuntimeError, match="expected grad_output of size"):
        op(dt.zeros(1, 4, 3, 4), dt.zeros(4, 3, 3, 3), (1, 3, 5, 5), 1, 0, 1, 1)


# kernel, stride, padding, dilation
WINDOWS = [
    ((2, 2), (2, 2), (0, 0), (1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((3, 2), (1, 3), (1, 0), (1, 2)),
    ((1, 4), (2, 1), (0, 2), (1, 1)),
    ((2, 3), (3, 2), (1, 1), (2, 1)),
]
SHAPES = [(2, 3, 14, 14), (3, 2, 28, 37), (1, 1, 7, 9), (2, 9, 50), (0, 3, 8, 8)]


@pytest.mark.parametrize("dtype", [*TOLERANCE, "uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_max_pool(window: Any, dtype: str) -> None:
    for seed, (shape, ceil_mode) in enumerate(itertools.product(SHAPES, [False, True])):
        x = random(shape, "float64", "channels last" if seed % 3 == 0 else "", seed).mul(9)
        x = x.to(getattr(torch, dtype))
        if x.is_floating_point() and window[2] == (0, 0):
            noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
            x[noise < 0.3] = -float("inf")
            x[noise > 0.95] = float("nan")
        # PyTorch counts the elements of a plane in the dtype, which overflows in bytes.
        counted = x.int() if dtype in ("uint8", "int8") else x
        values, indices = torch.ops.aten.max_pool2d_with_indices(counted, *window, ceil_mode)
        a = tensor(x).requires_grad_() if x.is_floating_point() else tensor(x)
        got, at = ops.TABLE["max_pool2d_with_indices"].op(a, *window, ceil_mode)
        assert np.array_equal(array(got.detach()), values.float() if dtype == "bfloat16" else values, equal_nan=True)
        assert at.dtype == dt.int64
        assert np.array_equal(at.numpy(), indices)
        if x.is_floating_point():
            grad = random(tuple(values.shape), dtype, "", seed)
            got.backward(tensor(grad))
            flat = torch.zeros(shape, dtype=torch.float64).flatten(-2)
            want = flat.scatter_add(-1, indices.flatten(-2), grad.double().flatten(-2)).reshape(shape)
            assert_close(a.grad, want, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("window", [w for w in WINDOWS if w[3] == (1, 1)], ids=str)
def test_avg_pool(window: Any, dtype: str) -> None:
    kernel, stride, padding, _ = window
    cases = itertools.product(SHAPES, [False, True], [False, True], [None, 3])
    for seed, (shape, ceil_mode, count_padding, divisor) in enumerate(cases):
        x = random(shape, dtype, "every second" if seed % 3 == 0 else "", seed)
        X = x.double().requires_grad_()
        want = torch.nn.functional.avg_pool2d(X, kernel, stride, padding, ceil_mode, count_padding, divisor)
        grad = random(tuple(want.shape), dtype, "", seed)
        want.backward(grad.double())
        a = tensor(x).requires_grad_()
        got = ops.TABLE["avg_pool2d"].op(a, kernel, stride, padding, ceil_mode, count_padding, divisor)
        got.backward(tensor(grad))
        assert_close(got.detach(), want.detach(), dtype)
        assert_close(a.grad, X.grad, dtype)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((1, 3, 5, 5), {"kernel_size": 3, "padding": 2}),
        ((1, 3, 5, 5), {"kernel_size": 7}),
        ((1, 3, 5, 5), {"kernel_size": 2, "stride": 0}),
        ((1, 3, 5, 5), {"kernel_size": 2, "padding": -1}),
        ((1, 0, 5, 5), {"kernel_size": 2}),
        ((1, 3, 0, 5), {"kernel_size": 2}),
    ],
)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_errors_of_pooling(name: str, shape: Any, arguments: Any) -> None:
    want = error_of(lambda: getattr(torch.nn.functional, name)(torch.zeros(shape), **arguments))
    got = error_of(lambda: getattr(dt.nn.functional, name)(dt.zeros(*shape), **arguments))
    assert got == want


def test_index_outside_of_the_plane_is_refused() -> None:
    with pytest.raises(RuntimeError, match="found an index outside of its plane"):
        ops.TABLE["max_pool2d_backward"].op(dt.zeros(1, 1, 1, 1), dt.full((1, 1, 1, 1), 4).long(), (1, 1, 2, 2))
