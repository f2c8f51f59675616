"""Images resized, warped and rearranged."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.ops import pool
from dumbtorch.ops.resample import MODES, resample

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "native_channel_shuffle",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]

channel_shuffle = ops.channel_shuffle
native_channel_shuffle = ops.native_channel_shuffle
pixel_shuffle = ops.pixel_shuffle
pixel_unshuffle = ops.pixel_unshuffle

_DIMENSIONS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}
_SMOOTH = {"bilinear": "bilinear smooth", "bicubic": "bicubic smooth", "lanczos": "lanczos smooth"}


def _given(input: Tensor, name: str, value: Any, axes: int) -> list[Any]:
    """A size or a factor for each axis."""
    if not isinstance(value, list | tuple):
        return [value] * axes
    if len(value) != axes:
        what = "output size of" if name == "size" else "scale_factor of shape"
        raise ValueError(
            f"Input and {'output' if name == 'size' else name} must have the same number of spatial dimensions, but "
            f"got input with spatial dimensions of {list(input.shape[2:])} and {what} {value}. Please provide input "
            f"tensor in (N, C, d1, d2, ...,dK) format and {'output size' if name == 'size' else name} in "
            "(o1, o2, ...,oK) format."
        )
    return list(value)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize (N, C, L), (N, C, H, W) or (N, C, D, H, W) to `size` or by `scale_factor`.

    Modes: "nearest", "nearest-exact", "area"; "linear" (3-D input), "bilinear", "bicubic" (4-D), "trilinear" (5-D);
    "lanczos" (4-D, with `antialias`). `align_corners` lets the centres of the corners meet; `antialias` filters before
    images get smaller. Reference: `torch.nn.functional.interpolate`; Keys (1981) for the cubic.

    >>> F.interpolate(dumbtorch.tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    axes = input.ndim - 2
    factors: Sequence[float] | None = None
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        wanted = _given(input, "size", size, axes)
        if not all(hasattr(n, "__index__") for n in wanted):
            raise TypeError(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size "
                f"with types {[type(n) for n in wanted]}"
            )
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    elif scale_factor is not None:
        factors = _given(input, "scale_factor", scale_factor, axes)
        wanted = [int(n * factor) for n, factor in zip(input.shape[2:], factors, strict=True)]
        if mode == "area" or recompute_scale_factor:
            factors = None
    else:
        raise ValueError("either size or scale_factor should be defined")
    if antialias and not (mode in _SMOOTH and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and input.ndim == 4:
        if align_corners:
            raise ValueError("Lanczos mode does not support align_corners=True")
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
    if not 1 <= axes <= 3 or (mode not in MODES and mode != "lanczos"):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if input.ndim != _DIMENSIONS.get(mode, input.ndim):
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {_DIMENSIONS[mode]}D input")
    if mode == "area":
        pools = (ops.adaptive_avg_pool1d, pool.adaptive_avg_pool2d, pool.adaptive_avg_pool3d)
        made: Tensor = pools[axes - 1](input, wanted)
        return made
    if any(n < 1 for n in (*input.shape[1:], *wanted)):
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"({', '.join(map(str, input.shape[1:]))}) output ({', '.join(map(str, wanted))})"
        )
    code = MODES[_SMOOTH[mode] if antialias else mode]
    return resample(input, wanted, code, bool(align_corners), factors or (0.0,) * axes)


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Deprecated: `interpolate`."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: `interpolate`."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: `interpolate` with the mode "bilinear" and aligned corners."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _deprecated(name: str) -> None:
    warnings.warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=3)


_GRID_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
_GRID_PADDING = {"zeros": 0, "border": 1, "reflection": 2}


def _aligned(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=3,
        )
    return bool(align_corners)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """`input` (N, C, [D,] H, W) read at the points of `grid` (N, [D',] H', W', 2 or 3): (x, y[, z]) from -1 to 1.

    Modes "bilinear", "nearest", "bicubic" (images only); outside "zeros", "border" or "reflection".
    Reference: Jaderberg et al., "Spatial Transformer Networks" (2015); `torch.nn.functional.grid_sample`.
    """
    if mode not in _GRID_MODES:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in _GRID_PADDING:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    made: Tensor = ops.grid_sampler(
        input, grid, _GRID_MODES[mode], _GRID_PADDING[padding_mode], _aligned(align_corners)
    )
    return made


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid that affine maps `theta` (N, 2, 3) or (N, 3, 4) give an output of `size` (N, C, [D,] H, W).

    Reference: `torch.nn.functional.affine_grid`.
    """
    aligned = _aligned(align_corners)
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    axes = len(size) - 2
    if axes not in (2, 3):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{size}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (axes, axes + 1):
        raise ValueError(
            f"Expected a batch of {axes}D affine matrices of shape Nx{axes}x{axes + 1} for size {size}. "
            f"Got {theta.shape}."
        )
    if aligned and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This "
            "is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    made: Tensor = ops.affine_grid_generator(theta, size, aligned)
    return made
