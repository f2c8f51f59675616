"""Pooling over (N, C, L), (N, C, H, W) and (N, C, D, H, W), each also without the batch dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops import pool
from dumbtorch.ops.conv import sizes

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

Size = int | Sequence[int]

avg_pool1d = ops.avg_pool1d
avg_pool2d = pool.avg_pool2d
avg_pool3d = pool.avg_pool3d
adaptive_avg_pool1d = ops.adaptive_avg_pool1d


def _check_dims(input: Tensor, output_size: Any) -> None:
    if not isinstance(output_size, int) and input.ndim <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Average ([N,] C, H, W) down (or up) to `output_size`, an integer or a pair; None keeps a dimension's size."""
    _check_dims(input, output_size)
    made: Tensor = pool.adaptive_avg_pool2d(input, output_size)
    return made


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Average ([N,] C, D, H, W) down (or up) to `output_size`, an integer or three; None keeps a dimension's size."""
    _check_dims(input, output_size)
    made: Tensor = pool.adaptive_avg_pool3d(input, output_size)
    return made


def _max_pools(with_indices: Callable[..., Any], name: str, what: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def with_both(
        input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        return with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)

    def values(
        input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        made = with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
        return made if return_indices else made[0]

    return _named(values, with_both, name, f"The largest value of each window of {what}; `stride` defaults to the "
        f"kernel size.\n\n`return_indices` adds the int64 positions of the maxima. Reference: "
        f"`torch.nn.functional.{name}`.")  # fmt: skip


def _named(values: Any, both: Any, name: str, text: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    values.__name__ = values.__qualname__ = name
    both.__name__ = both.__qualname__ = f"{name}_with_indices"
    values.__doc__ = text
    both.__doc__ = f"`{name}` together with the flat position where each maximum was found."
    return values, both


max_pool1d, max_pool1d_with_indices = _max_pools(ops.max_pool1d_with_indices, "max_pool1d", "([N,] C, L)")
max_pool2d, max_pool2d_with_indices = _max_pools(pool.max_pool2d_with_indices, "max_pool2d", "([N,] C, H, W)")
max_pool3d, max_pool3d_with_indices = _max_pools(pool.max_pool3d_with_indices, "max_pool3d", "([N,] C, D, H, W)")


def _adaptive_max_pools(pooled: Callable[..., Any], name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def with_both(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        if not name.endswith("1d"):
            _check_dims(input, output_size)
        return pooled(input, output_size)

    def values(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        made = with_both(input, output_size)
        return made if return_indices else made[0]

    return _named(values, with_both, name, "The largest value of each of `output_size` regions; None keeps a size.\n\n"
        f"Reference: `torch.nn.functional.{name}`.")  # fmt: skip


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max_pools(
    ops.adaptive_max_pool1d, "adaptive_max_pool1d"
)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max_pools(
    pool.adaptive_max_pool2d, "adaptive_max_pool2d"
)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max_pools(
    pool.adaptive_max_pool3d, "adaptive_max_pool3d"
)


def _fractional(
    spatial: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> Any:
    name = f"fractional_max_pool{spatial}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    pool.check_ndim(name, input, spatial)
    kernel = sizes(name, kernel_size, spatial)
    if output_size is None:
        ratios = (output_ratio,) * spatial if isinstance(output_ratio, float | int) else tuple(output_ratio)
        if len(ratios) == 1:
            ratios *= spatial
        output_size = [int(n * ratio) for n, ratio in zip(input.shape[-spatial:], ratios, strict=True)]
    wanted = sizes(name, output_size, spatial)
    for n, k, m in zip(input.shape[-spatial:], kernel, wanted, strict=True):
        if m < 1 or k < 1 or m + k - 1 > n:
            raise RuntimeError(f"{name}(): pool size {k} and output size {m} too large relative to input size {n}")
    if samples is None:
        batch = 1 if input.ndim == spatial + 1 else input.shape[0]
        samples = ops.rand(batch, input.shape[-spatial - 1], spatial, dtype=input.dtype, device=input.device)
    if samples.ndim != 3 or samples.shape[-1] != spatial:
        raise RuntimeError(f"{name}(): expected samples of size (N, C, {spatial}), got {list(samples.shape)}")
    return pool.fractional_max_pool(input, kernel, wanted, samples, spatial)


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """`fractional_max_pool2d` together with the flat position where each maximum was found."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """Maxima of windows of one size whose steps chance decides, to `output_size` or a share of the input's size.

    Reference: Graham, "Fractional Max-Pooling" (2014); `torch.nn.functional.fractional_max_pool2d`.
    """
    made = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return made if return_indices else made[0]


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """`fractional_max_pool3d` together with the flat position where each maximum was found."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The same for ([N,] C, D, H, W). Reference: `torch.nn.functional.fractional_max_pool3d`."""
    made = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return made if return_indices else made[0]


def _lp_pool(averaged: Callable[..., Any], input: Tensor, norm_type: float, size: int, *window: Any) -> Tensor:
    # A mean times the size of the window is the sum of powers; without negative sums no power is complex.
    out = averaged(input.pow(norm_type), *window)
    return (ops.sign(out) * ops.relu(ops.abs(out))).mul(size).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of ([N,] C, L). Reference: `torch.nn.functional.lp_pool1d`."""
    (size,) = sizes("lp_pool1d", kernel_size, 1)
    return _lp_pool(avg_pool1d, input, norm_type, size, kernel_size, stride, 0, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of ([N,] C, H, W). Reference: `torch.nn.functional.lp_pool2d`."""
    height, width = sizes("lp_pool2d", kernel_size, 2)
    return _lp_pool(avg_pool2d, input, norm_type, height * width, kernel_size, stride, 0, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of ([N,] C, D, H, W). Reference: `torch.nn.functional.lp_pool3d`."""
    depth, height, width = sizes("lp_pool3d", kernel_size, 3)
    return _lp_pool(avg_pool3d, input, norm_type, depth * height * width, kernel_size, stride, 0, ceil_mode)


def _unpool(
    spatial: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{spatial}d"
    kernel = sizes(name, kernel_size, spatial)
    steps = kernel if stride is None else sizes(name, stride, spatial)
    padded = sizes(name, padding, spatial)
    default = [(n - 1) * s + k - 2 * p for n, s, k, p in
               zip(input.shape[-spatial:], steps, kernel, padded, strict=True)]  # fmt: skip
    if output_size is None:
        wanted = default
    else:
        wanted = list(output_size)[-spatial:] if len(output_size) == spatial + 2 else list(output_size)
        if len(wanted) != spatial:
            raise ValueError(
                f"output_size should be a sequence containing {spatial} or {spatial + 2} elements, but it has a length "
                f"of '{len(output_size)}'"
            )
        least = [d - s for d, s in zip(default, steps, strict=True)]
        most = [d + s for d, s in zip(default, steps, strict=True)]
        if not all(a < n < b for a, n, b in zip(least, wanted, most, strict=True)):
            raise ValueError(f"invalid output_size {wanted} (must be between {least} and {most} (both exclusive))")
    pool.check_ndim(name, input, spatial)
    if indices.dtype != ops.arange(0).dtype:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    if any(n == 0 for n in input.shape[-spatial - 1 :]):
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, got {input.shape}"
        )
    size = 1
    for n in wanted:
        size *= n
    flat = indices.flatten(-spatial)
    places = beneath(flat)
    if places.numel() and (int(places.max()) >= size or int(places.min()) < 0):
        raise RuntimeError(
            f"Found an invalid max index: {int(places.max())} (output volumes are of size {'x'.join(map(str, wanted))})"
        )
    room = input.new_zeros((*input.shape[:-spatial], size))
    made: Tensor = room.scatter(-1, flat, input.flatten(-spatial)).reshape(*input.shape[:-spatial], *wanted)
    return made


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros, and the maxima of `max_pool1d` where they were. Reference: `torch.nn.functional.max_unpool1d`."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros, and the maxima of `max_pool2d` where they were. Reference: `torch.nn.functional.max_unpool2d`."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Any = None,
) -> Tensor:  # fmt: skip
    """Zeros, and the maxima of `max_pool3d` where they were. Reference: `torch.nn.functional.max_unpool3d`."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
