"""Resizing signals, images and volumes, and reading them at the points of a grid."""

from __future__ import annotations

from typing import Any

from dumbtorch.autograd.graph import only_once
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row

#: The kernel's modes; the smooth ones filter before they pick (antialiasing).
MODES = {
    "nearest": 0, "nearest-exact": 1, "linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 3, "bilinear smooth": 4,
    "bicubic smooth": 5, "area": 6, "lanczos smooth": 7,
}  # fmt: skip
_SIZES = ((7,), (3,)), ((5, 4), (8, 6)), ((4, 6), (3, 9)), ((3, 4, 2), (5, 2, 4))


def _samples(adjoint: bool) -> Any:
    for mode in range(8):
        for given, wanted in _SIZES:
            if mode in (3, 4, 5, 7) and len(given) != 2:
                continue
            shape, size = (wanted, given) if adjoint else (given, wanted)
            align = mode in (2, 3)
            yield S(T(2, 3, *shape), size, mode, align, *(0.0,) * len(given))
    yield S(T(2, 3, 8 if adjoint else 4), (4,) if adjoint else (8,), 2, False, 2.1)


_RESAMPLE: Any = row("resample",
    "input, output_size, mode, align_corners, first=0.0, second=0.0, third=0.0", method=False,
    function=False, out=False, grad={
        "input": lambda g, input_shape, output_size, mode, align_corners, first, second, third: _ADJOINT(
            g, tuple(input_shape[-len(output_size):]), mode, align_corners, first, second, third),
    }, samples=lambda: _samples(False),
    errors=lambda: (S(T(2, 3, 4), (0,), 0, False, error="RuntimeError"),),
    doc="The last dimensions resized: modes 0 nearest, 1 nearest-exact, 2 linear, 3 cubic, 4 and 5 these antialiased, "
        "6 area, 7 Lanczos; factors that are not 0 take the place of the sizes' ratios.")  # fmt: skip
_ADJOINT: Any = row("resample_adjoint",
    "grad_output, input_size, mode, align_corners, first=0.0, second=0.0, third=0.0",
    method=False, function=False, out=False, ref=None, grad={
        "grad_output": lambda g, grad_output_shape, input_size, mode, align_corners, first, second, third: _RESAMPLE(
            g, tuple(grad_output_shape[-len(input_size):]), mode, align_corners, first, second, third),
    }, samples=lambda: _samples(True), doc="The derivative of resample.")  # fmt: skip


def resample(input: Any, output_size: Any, mode: int, align_corners: bool, factors: Any) -> Any:
    """The last ``len(output_size)`` dimensions resized (see the row)."""
    return _RESAMPLE(input, tuple(output_size), mode, bool(align_corners), *factors)


def _grids() -> Any:
    for mode in (0, 1, 2):
        for padding in (0, 1, 2):
            yield S(T(2, 2, 4, 5), T(2, 3, 4, 2, low=-1.3, high=1.3), mode, padding, padding == 1)
            if mode < 2:
                yield S(T(1, 2, 3, 4, 5), T(1, 2, 3, 2, 3, low=-1.3, high=1.3), mode, padding, padding == 2)


def _sampler_back(
    g: Any, input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    made = _SAMPLER_BACK(g, input, grid, interpolation_mode, padding_mode, align_corners)
    return only_once("grid_sampler", made, (g, input, grid))


_SAMPLER = row("grid_sampler", "input, grid, interpolation_mode, padding_mode, align_corners", method=False,
    function=False, out=False, dtypes="single", grad={
        "input": _sampler_back, "grid": _sampler_back,
    }, samples=_grids, errors=lambda: (S(T(2, 2, 4, 5), T(2, 3, 4, 3), 0, 0, False, error="RuntimeError"),),
    doc="An image read at the points of a grid.")  # fmt: skip
_SAMPLER_BACK = row("grid_sampler_backward",
    "grad_output, input, grid, interpolation_mode, padding_mode, align_corners", method=False, function=False,
    out=False, outputs=("grad_input", "grad_grid"), dtypes="single", ref=None,
    samples=lambda: (S(T(2, 2, 3, 4), T(2, 2, 4, 5), T(2, 3, 4, 2, low=-1.3, high=1.3), 0, 0, False),),
    doc="The derivatives of grid_sampler by the image and by the grid.")  # fmt: skip


@composite("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", method=False)
def grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    """``input`` (N, C, [D,] H, W) read at ``grid`` (N, [D',] H', W', 2 or 3), whose coordinates reach from -1 to 1.

    Interpolation 0 linear, 1 nearest, 2 cubic; padding 0 zeros, 1 border, 2 reflection.
    Reference: ``torch.grid_sampler``.
    """
    if grid.ndim != input.ndim or grid.shape[:1] != input.shape[:1]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size and number of dimensions, but got input "
            f"with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    return _SAMPLER(input, grid, interpolation_mode, padding_mode, bool(align_corners))


@composite("affine_grid_generator", method=False)
def affine_grid_generator(theta: Any, size: Any, align_corners: bool) -> Any:
    """The grid that affine maps ``theta`` (N, 2, 3) or (N, 3, 4) give an output of this size.

    Reference: ``torch.affine_grid_generator``.
    """
    axes = len(size) - 2
    if axes not in (2, 3):
        raise RuntimeError(
            f"affine_grid_generator needs 4d (spatial) or 5d (volumetric) size tensor; got size of shape {list(size)}"
        )
    parts = []
    for count in size[2:]:
        line = FUNCTIONS["linspace"](-1, 1, count, dtype=theta.dtype, device=theta.device)
        if count <= 1:
            line = line * 0
        elif not align_corners:
            line = line * (count - 1) / count
        parts.append(line)
    mesh = FUNCTIONS["meshgrid"](*parts, indexing="ij")
    base = FUNCTIONS["stack"]([*reversed(mesh), FUNCTIONS["ones_like"](mesh[0])], -1)
    flat = base.reshape(1, -1, axes + 1).expand(size[0], -1, -1)
    return flat.bmm(theta.transpose(1, 2)).reshape(size[0], *size[2:], axes)
