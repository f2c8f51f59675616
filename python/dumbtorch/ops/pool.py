"""Pooling of signals, images and volumes (N, C, [[D,] H,] W): maxima and means of windows and of adaptive regions.

The kernels pool planes. A signal is a plane of height 1; the windows of a volume are pooled in their planes first and
along the depth then.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from dumbtorch._dtypes import float64, int64
from dumbtorch._formats import channels_last
from dumbtorch.ops.conv import sizes
from dumbtorch.ops.resample import MODES, resample
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, primitive, row

AREA = MODES["area"]

_POSITIONS = T(1, 2, 2, 2, dtype="int64", values=[[[[0, 3], [9, 9]], [[5, 2], [12, 15]]]])


def _at_maxima(g: Any, indices: Any) -> Any:
    return g.flatten(-2).gather(-1, indices.flatten(-2)).reshape(indices.shape)


_MAX = row("max_pool2d_with_indices", "input, kernel_size, stride, padding, dilation, ceil_mode", method=False,
    out=False, function=False, outputs=("values", "indices"), differentiable=(0,),
    ref="nn.functional.max_pool2d_with_indices", grad={
        "input": lambda g, indices, input_shape: FUNCTIONS["max_pool2d_backward"](g[0], indices, input_shape),
    }, samples=lambda: (S(T(2, 3, 6, 5, distinct=True), (2, 2), (2, 2), (0, 0), (1, 1), False),
                        S(T(1, 2, 7, 7, distinct=True), (3, 2), (2, 1), (1, 0), (1, 2), False),
                        S(T(1, 2, 7, 7, distinct=True), (2, 2), (2, 2), (0, 0), (1, 1), True)),
    errors=lambda: (S(T(1, 2, 2, 2), (3, 3), (1, 1), (0, 0), (1, 1), False, error="RuntimeError"),),
    doc="The largest value of each window, and where it stands in its plane (int64).")  # fmt: skip


_MAX_BACK = row("max_pool2d_backward", "grad_output, indices:i, input_shape", method=False, out=False, ref=None, grad={
        "grad_output": lambda g, indices: _at_maxima(g, indices),
    }, samples=lambda: (S(T(1, 2, 2, 2), _POSITIONS, (1, 2, 4, 4)),),
    errors=lambda: (S(T(1, 2, 2, 2), _POSITIONS, (1, 2, 3, 3), error="RuntimeError"),),
    doc="The derivative of max_pool2d: each gradient goes to where the maximum was.")  # fmt: skip
_AVG = row("avg_pool2d",
    "input, kernel_size, stride, padding=(), ceil_mode=False, count_include_pad=True, divisor_override=None",
    method=False, out=False, function=False, ref="nn.functional.avg_pool2d", grad={
        "input": lambda g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override:
            FUNCTIONS["avg_pool2d_backward"](
                g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
    }, samples=lambda: (S(T(2, 3, 6, 5), (2, 2), (2, 2), (0, 0), False, True, None),
                        S(T(1, 2, 7, 7), (3, 2), (2, 1), (1, 1), False, False, None),
                        S(T(1, 2, 7, 7), (2, 2), (2, 2), (0, 0), True, True, 3)),
    errors=lambda: (S(T(1, 2, 2, 2), (3, 3), (1, 1), (0, 0), False, True, None, error="RuntimeError"),),
    doc="The mean of each window.")  # fmt: skip
row("avg_pool2d_backward",
    "grad_output, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override",
    method=False, out=False, ref=None, grad={
        "grad_output": lambda g, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: _AVG(
            g, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
    }, samples=lambda: (S(T(2, 3, 3, 2), (2, 3, 6, 5), (2, 2), (2, 2), (0, 0), False, True, None),),
    doc="The derivative of avg_pool2d.")  # fmt: skip


def _windows(name: str, count: int, kernel_size: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel and stride, which is the kernel where none is given."""
    kernel = sizes(name, kernel_size, count)
    return kernel, kernel if stride is None or stride == () or stride == [] else sizes(name, stride, count)


def _channels_last(input: Any) -> bool:
    """Whether the channels of a batch of images run fastest: then they do so in the result."""
    return input.ndim == 4 and not input.is_contiguous() and input.is_contiguous(memory_format=channels_last)


def check_ndim(name: str, input: Any, spatial: int) -> None:
    """RuntimeError for an input that is neither one sample nor a batch."""
    if input.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"{name}(): Expected {spatial + 1}D or {spatial + 2}D input tensor, but got {list(input.shape)}"
        )


# -- maxima --------------------------------------------------------------------------------------------------------


@composite("max_pool2d_with_indices", method=False)
def max_pool2d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, H, W), and its index in the flattened plane."""
    name = "max_pool2d"
    kernel, step = _windows(name, 2, kernel_size, stride)
    made = _MAX(input, kernel, step, sizes(name, padding, 2), sizes(name, dilation, 2), ceil_mode)
    if _channels_last(input):
        return tuple(t.contiguous(memory_format=channels_last) for t in made)
    return made


@composite("max_pool2d", method=False)
def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, H, W); ``stride`` defaults to the kernel.

    Reference: ``torch.max_pool2d``.
    """
    return max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)[0]


@composite("max_pool1d_with_indices", method=False)
def max_pool1d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, L), and where it is.

    Reference: ``torch.max_pool1d_with_indices``.
    """
    name = "max_pool1d"
    check_ndim(name, input, 1)
    (kernel,), (step,) = _windows(name, 1, kernel_size, stride)
    (padded,), (spread,) = sizes(name, padding, 1), sizes(name, dilation, 1)
    values, indices = _MAX(input.unsqueeze(-2), (1, kernel), (1, step), (0, padded), (1, spread), ceil_mode)
    return values.squeeze(-2), indices.squeeze(-2)


@composite("max_pool1d", method=False)
def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, L). Reference: ``torch.max_pool1d``."""
    return max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)[0]


def scatter_maxima(g: Any, indices: Any, input_shape: Any, spatial: int) -> Any:
    """The derivative of pooling by maxima: each gradient where its maximum was in the last ``spatial`` dimensions."""
    planes, size = math.prod(input_shape[:-spatial]), math.prod(input_shape[-spatial:])
    count = math.prod(g.shape[-spatial:])
    if not planes or not size or not count:
        return g.new_zeros(input_shape)
    shape = (planes, 1, count)
    return _MAX_BACK(g.reshape(shape), indices.reshape(shape), (planes, 1, size)).reshape(input_shape)


def _volume_maxima(input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    lead, (depth, height, width) = input.shape[:-3], input.shape[-3:]
    planes = input.reshape(-1, depth, height, width)
    values, inside = _MAX(planes, kernel[1:], stride[1:], padding[1:], dilation[1:], ceil_mode)
    rows, columns = values.shape[-2:]
    values, indices = _MAX(
        values.reshape(-1, 1, depth, rows * columns), (kernel[0], 1), (stride[0], 1), (padding[0], 0), (dilation[0], 1),
        ceil_mode,
    )  # fmt: skip
    shape = (*lead, values.shape[-2], rows, columns)
    # Where a maximum was in the volume: in its plane, and which plane that was.
    flat = indices.reshape(len(planes), -1)
    place = inside.reshape(len(planes), depth * rows * columns).gather(1, flat)
    place = place + flat.div(rows * columns, rounding_mode="floor") * (height * width)
    return values.reshape(shape), place.reshape(shape)


_VOLUME_MAX = primitive("max_pool3d_with_indices", "input, kernel_size, stride, padding, dilation, ceil_mode",
    _volume_maxima, {"input": lambda g, indices, input_shape: scatter_maxima(g[0], indices, input_shape, 3)},
    outputs=("values", "indices"), differentiable=(0,), ref="nn.functional.max_pool3d_with_indices",
    samples=lambda: (
        S(T(1, 2, 4, 5, 4, distinct=True), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
        S(T(2, 5, 4, 6, distinct=True), (3, 2, 2), (1, 2, 2), (1, 1, 0), (1, 1, 2), True)),
    doc="The largest value of each window of a volume, and where it stands there (int64).")  # fmt: skip


def max_pool3d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, D, H, W), and its index in the flattened volume."""
    name = "max_pool3d"
    check_ndim(name, input, 3)
    if 0 in input.shape[-4:]:
        raise RuntimeError(
            f"max_pool3d_with_indices(): Expected input's non-batch dimensions to have non-zero size, but got input of "
            f"size {list(input.shape)}"
        )
    kernel, step = _windows(name, 3, kernel_size, stride)
    return _VOLUME_MAX(input, kernel, step, sizes(name, padding, 3), sizes(name, dilation, 3), ceil_mode)


@composite("max_pool3d", method=False)
def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest value of each window of ([N,] C, D, H, W). Reference: ``torch.max_pool3d``."""
    return max_pool3d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)[0]


# -- means ---------------------------------------------------------------------------------------------------------


def _mean_windows(
    input: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor: int | None
) -> Any:
    """The means of windows of planes."""
    height, width = input.shape[-2:]
    plain = kernel == stride and padding == (0, 0) and divisor is None and min(kernel) > 0 and min(input.shape) > 0
    if plain and kernel != (2, 2) and not (height % kernel[0] or width % kernel[1] or input.device.type != "cpu"):
        # Windows side by side: the bands of `resample` are faster than windows that may overlap.
        return resample(input, (height // kernel[0], width // kernel[1]), AREA, False, (0.0, 0.0))
    return _AVG(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor)


def _of_integers(pool: Any, input: Any, spatial: int, window: Any, count_include_pad: bool, divisor: int | None) -> Any:
    """The means of windows of integers, rounded towards zero: sums, divided by how many elements a window counts."""
    sums = pool(input.double(), *window, True, 1).long()
    if divisor is None:
        ones = FUNCTIONS["ones"]((1, *input.shape[-spatial:]), dtype=float64)
        divisor = (pool(ones, *window, True, 1) / pool(ones, *window, count_include_pad, None)).round().long()
    return sums.div(divisor, rounding_mode="trunc")


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of ([N,] C, H, W); ``stride`` defaults to the kernel.

    Padding counts as zeros unless ``count_include_pad=False``; ``divisor_override`` replaces the window's size.
    Reference: ``torch.nn.functional.avg_pool2d``.
    """
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if input.dtype is int64:
        window = (kernel_size, stride, padding, ceil_mode)
        return _of_integers(avg_pool2d, input, 2, window, count_include_pad, divisor_override)
    kernel, step = _windows("avg_pool2d", 2, kernel_size, stride)
    made = _mean_windows(
        input, kernel, step, sizes("avg_pool2d", padding, 2), ceil_mode, count_include_pad, divisor_override
    )
    return made.contiguous(memory_format=channels_last) if _channels_last(input) else made


@composite("avg_pool1d", method=False)
def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The mean of each window of ([N,] C, L); see ``avg_pool2d``. Reference: ``torch.avg_pool1d``."""
    check_ndim("avg_pool1d", input, 1)
    (kernel,), (step,) = _windows("avg_pool1d", 1, kernel_size, stride)
    (padded,) = sizes("avg_pool1d", padding, 1)
    rows = avg_pool2d(input.unsqueeze(-2), (1, kernel), (1, step), (0, padded), ceil_mode, count_include_pad)
    return rows.squeeze(-2)


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window of ([N,] C, D, H, W); see ``avg_pool2d``.

    Reference: ``torch.nn.functional.avg_pool3d``.
    """
    name = "avg_pool3d"
    check_ndim(name, input, 3)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if input.dtype is int64:
        window = (kernel_size, stride, padding, ceil_mode)
        return _of_integers(avg_pool3d, input, 3, window, count_include_pad, divisor_override)
    kernel, step = _windows(name, 3, kernel_size, stride)
    padded = sizes(name, padding, 3)
    if 0 in input.shape[-4:]:
        raise RuntimeError(
            f"avg_pool3d(): Expected input's non-batch dimensions to have non-zero size, but got input of size "
            f"{list(input.shape)}"
        )
    lead, depth = input.shape[:-3], input.shape[-3]
    # Half precision would be rounded twice.
    narrow = input.dtype.itemsize == 2
    wide = input.float() if narrow else input
    # A window counts the elements of its planes times those along the depth: two divisions, one after the other.
    planes = _mean_windows(
        wide.reshape(-1, *input.shape[-3:]), kernel[1:], step[1:], padded[1:], ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip
    rows, columns = planes.shape[-2:]
    made = _mean_windows(
        planes.reshape(-1, 1, depth, rows * columns), (kernel[0], 1), (step[0], 1), (padded[0], 0), ceil_mode,
        count_include_pad, None if divisor_override is None else 1,
    )  # fmt: skip
    made = made.reshape(*lead, made.shape[-2], rows, columns)
    return made.to(input.dtype) if narrow else made


# -- adaptive regions ----------------------------------------------------------------------------------------------

_STARTS, _ENDS = T(1, 7, dtype="int64", values=[[0, 0, 2, 4, 0, 1, 3]]), T(1, 7, dtype="int64",
    values=[[1, 2, 4, 6, 2, 3, 4]])  # fmt: skip
_REGIONS = row("max_regions", "input, starts, ends, output_size", method=False, out=False, function=False,
    outputs=("values", "indices"), differentiable=(0,), grad={
        "input": lambda g, indices, input_shape, output_size: scatter_maxima(
            g[0], indices, input_shape, len(output_size)),
    }, samples=lambda: (S(T(2, 3, 6, 4, distinct=True), _STARTS, _ENDS, (3, 3)),),
    errors=lambda: (S(T(2, 3, 6, 3), _STARTS, _ENDS, (3, 3), error="RuntimeError"),),
    doc="The largest value of each region, a product of the intervals [start, end) of each axis, and where it stands "
        "(int64).")  # fmt: skip


def _bounds(size: int, count: int) -> tuple[Any, Any]:
    """The intervals [start, end) of an axis of `size` that make `count` results."""
    number = FUNCTIONS["arange"](count)
    return number * size // max(count, 1), -(-(number + 1) * size // max(count, 1))


@functools.lru_cache(maxsize=256)
def _adaptive_regions(given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[Any, Any]:
    """The intervals of each axis, those along the depth first, as rows of integers."""
    one = [_bounds(1, 1)] * (3 - len(given))
    axes = one + [_bounds(size, count) for size, count in zip(given, wanted, strict=True)]
    starts, ends = (FUNCTIONS["cat"](bounds).unsqueeze(0) for bounds in zip(*axes, strict=True))
    return starts, ends


def _wanted(name: str, input: Any, output_size: Any, spatial: int) -> tuple[int, ...]:
    """The output's sizes: None stands for the input's."""
    if spatial > 1 and not isinstance(output_size, int) and output_size is not None and input.ndim <= len(output_size):
        raise ValueError(f"{name}(): Input dimension should be at least {len(output_size) + 1}, but got {input.ndim}")
    check_ndim(name, input, spatial)
    given = input.shape[-spatial:]
    if output_size is None or isinstance(output_size, int):
        output_size = (output_size,) * spatial
    wanted = tuple(output_size)
    if len(wanted) == 1 and spatial == 1:
        wanted = (wanted[0],)
    if len(wanted) != spatial:
        raise (ValueError if len(wanted) > spatial else RuntimeError)(
            f"{name}: output_size must be one integer or {spatial}, got {list(wanted)}"
        )
    made = tuple(n if size is None else size for n, size in zip(given, wanted, strict=True))
    if any(n < 0 for n in made):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {made}")
    if 0 in input.shape[-spatial - (0 if input.ndim == spatial + 2 else 1) :] or 0 in given:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
            f"{list(input.shape)}"
        )
    return made


def _adaptive_max(name: str, input: Any, output_size: Any, spatial: int) -> Any:
    wanted = _wanted(name, input, output_size, spatial)
    given = tuple(input.shape[-spatial:])
    if 0 not in wanted and all(n % m == 0 for n, m in zip(given, wanted, strict=True)):
        kernel = tuple(n // m for n, m in zip(given, wanted, strict=True))
        if spatial == 1:
            return max_pool1d_with_indices(input, kernel)
        zeros, ones = (0,) * spatial, (1,) * spatial
        return (_MAX if spatial == 2 else _VOLUME_MAX)(input, kernel, kernel, zeros, ones, False)
    starts, ends = _adaptive_regions(given, wanted)
    return _REGIONS(input, starts.to(input.device), ends.to(input.device), wanted)


@composite("adaptive_max_pool1d", method=False)
def adaptive_max_pool1d(input: Any, output_size: Any) -> Any:
    """The largest value of each of ``output_size`` parts of ([N,] C, L), and where it is.

    Reference: ``torch.adaptive_max_pool1d``.
    """
    return _adaptive_max("adaptive_max_pool1d", input, output_size, 1)


def adaptive_max_pool2d(input: Any, output_size: Any) -> Any:
    """The same for ([N,] C, H, W); an index counts in the flattened plane."""
    return _adaptive_max("adaptive_max_pool2d", input, output_size, 2)


def adaptive_max_pool3d(input: Any, output_size: Any) -> Any:
    """The same for ([N,] C, D, H, W); an index counts in the flattened volume."""
    return _adaptive_max("adaptive_max_pool3d", input, output_size, 3)


def _by_matrices(input: Any, wanted: tuple[int, ...]) -> Any:
    """Adaptive means on a device that has no kernel for them: a small product along each axis."""
    for axis, count in zip(range(-len(wanted), 0), wanted, strict=True):
        size = input.shape[axis]
        starts, ends = (bound.unsqueeze(1) for bound in _bounds(size, count))
        place = FUNCTIONS["arange"](size)
        inside = (starts <= place) & (place < ends)
        weights = (inside.double() / (ends - starts)).to(input.dtype).to(input.device)
        input = (input.movedim(axis, -1) @ weights.t()).movedim(-1, axis)
    return input.contiguous()


def _adaptive_avg(name: str, input: Any, output_size: Any, spatial: int) -> Any:
    fits = input.ndim >= spatial if spatial > 1 else input.ndim in (2, 3)
    if output_size == 1 and fits and input.numel():
        return input.mean(tuple(range(-spatial, 0)), keepdim=True)
    wanted = _wanted(name, input, output_size, spatial)
    given = input.shape[-spatial:]
    if 0 in wanted:
        return input.new_empty((*input.shape[:-spatial], *wanted))
    if all(n == 1 for n in wanted):
        return input.mean(tuple(range(-spatial, 0)), keepdim=True)
    if spatial == 2 and all(n == 2 * m for n, m in zip(given, wanted, strict=True)):
        return avg_pool2d(input, 2)
    if input.device.type != "cpu":
        if spatial == 2 and all(n % m == 0 for n, m in zip(given, wanted, strict=True)):
            return avg_pool2d(input, tuple(n // m for n, m in zip(given, wanted, strict=True)))
        return _by_matrices(input, wanted)
    return resample(input, wanted, AREA, False, (0.0,) * spatial)


@composite("adaptive_avg_pool1d", method=False)
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """The mean of each of ``output_size`` parts of ([N,] C, L). Reference: ``torch.adaptive_avg_pool1d``."""
    return _adaptive_avg("adaptive_avg_pool1d", input, output_size, 1)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The same for ([N,] C, H, W) and two sizes."""
    return _adaptive_avg("adaptive_avg_pool2d", input, output_size, 2)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """The same for ([N,] C, D, H, W) and three sizes."""
    return _adaptive_avg("adaptive_avg_pool3d", input, output_size, 3)


# -- regions that chance places ------------------------------------------------------------------------------------


def fractional_max_pool(input: Any, kernel: Any, wanted: Any, samples: Any, spatial: int) -> Any:
    """Maxima of windows of one size at steps that ``samples`` (N, C, spatial) in [0, 1) place, and where they are.

    Reference: Graham, "Fractional Max-Pooling" (2014).
    """
    order = (1, 0) if spatial == 2 else (0, 1, 2)  # as PyTorch reads the samples
    flat = samples.reshape(-1, spatial)[: math.prod(input.shape[:-spatial])]  # without a batch those of its first
    parts = [flat.new_zeros((len(flat), 1)).long()] * (3 - spatial)
    lengths = [flat.new_ones((len(flat), 1)).long()] * (3 - spatial)
    for axis in range(spatial):
        size, count, window = input.shape[axis - spatial], wanted[axis], kernel[axis]
        u = flat[:, order[axis] : order[axis] + 1]
        steps = FUNCTIONS["arange"](count - 1, dtype=flat.dtype, device=flat.device)
        alpha = (size - window) / (count - 1) if count > 1 else 0.0
        starts = ((steps + u) * alpha).long() - (u * alpha).long()
        last = FUNCTIONS["full"]((len(flat), 1), size - window, dtype=starts.dtype, device=flat.device)
        parts.append(FUNCTIONS["cat"]([starts, last], 1))
        lengths.append(FUNCTIONS["full_like"](parts[-1], window))
    starts = FUNCTIONS["cat"](parts, 1)
    return _REGIONS(input, starts, starts + FUNCTIONS["cat"](lengths, 1), tuple(wanted))
