"""Several tensors as one: cat, stack and their kin; grids and products of vectors."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import expand, narrow, reshape, wrap_dim
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row


def _cat_back(g: Any, shapes: Any, dtypes: Any, dim: int) -> tuple[Any, ...]:
    made, start = [], 0
    for shape, dtype in zip(shapes, dtypes, strict=True):
        if len(shape) == 1 and shape[0] == 0 and g.ndim != 1:  # the old empty tensor that fits everywhere
            made.append(g.new_zeros(shape))
            continue
        part = narrow(g, dim, start, shape[dim])
        start += shape[dim]
        if part.dtype is not dtype:
            part = (part.real if part.is_complex() and not dtype.is_complex else part).to(dtype)
        made.append(part)
    return tuple(made)


row("cat", "tensors, dim=0", lists="tensors", method=False, dtypes="any", aliases=("concat", "concatenate"), grad={
        "tensors": lambda g, tensors_shape, tensors_dtype, dim: _cat_back(g, tensors_shape, tensors_dtype, dim),
    }, samples=lambda: (S([T(2, 3), T(1, 3), T(4, 3)]), S([T(2, 3), T(2, 1)], 1), S([T(2, 3)], -1),
                        S([T(0, 3), T(2, 3)]), S([T(0), T(2, 3)])),
    errors=lambda: (S([T(2, 3), T(2, 4)], error="RuntimeError"), S([], error="ValueError")),
    doc="Tensors one after the other along a dimension.")  # fmt: skip
_CAT: Any = TABLE["cat"].op
_RESHAPE: Any = TABLE["reshape"].op


def _cat(parts: Sequence[Any], dim: int, out: Any) -> Any:
    return _CAT(parts, dim) if out is None else _CAT(parts, dim, out=out)


@composite("stack", method=False, numpy=False)
def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None, axis: int | None = None) -> Any:
    """Tensors of one shape side by side in a new dimension. Reference: ``torch.stack``."""
    if isinstance(tensors, _C.TensorBase):
        raise TypeError("stack(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    if not len(tensors):
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]
    shape: Any = first.shape if isinstance(first, _C.TensorBase) else None
    for tensor in tensors:
        if not isinstance(tensor, _C.TensorBase) or tensor.shape != shape:
            raise _unstackable(tensors)
    ndim = len(shape)
    if not 0 <= dim <= ndim:
        dim = wrap_dim(dim, ndim + 1)
    if dim == ndim or out is not None or first.is_sparse:
        return _cat([tensor.unsqueeze(dim) for tensor in tensors], dim, out)
    # the same elements as along the dimension that is there
    wanted = list(shape)
    wanted.insert(dim, len(tensors))
    return _RESHAPE(_CAT(tensors, dim), wanted)


def _unstackable(tensors: Sequence[Any]) -> Exception:
    """Why ``stack`` refuses them."""
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, _C.TensorBase):
            return TypeError(f"expected Tensor as element {place} in argument 0, but got {type(tensor).__name__}")
    shape = tensors[0].shape
    place = next(place for place, tensor in enumerate(tensors) if tensor.shape != shape)
    return RuntimeError(
        f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
        f"{list(tensors[place].shape)} at entry {place}"
    )


def raised(ndim: int, name: str, doc: str) -> Any:
    """Makes ``atleast_1d`` and the like."""

    def one(t: Any) -> Any:
        if not isinstance(t, _C.TensorBase):
            raise TypeError(f"{name}(): argument 'tensors' must be Tensors, not {type(t).__name__}")
        if t.ndim >= ndim:
            return t
        if t.ndim == 0:
            return reshape(t, (1,) * ndim)
        return t.unsqueeze(0) if ndim == 2 else t.unsqueeze(0).unsqueeze(-1) if t.ndim == 1 else t.unsqueeze(-1)

    def made(*tensors: Any) -> Any:
        if len(tensors) == 1:
            given = tensors[0]
            return tuple(map(one, given)) if isinstance(given, (tuple, list)) else one(given)
        return tuple(map(one, tensors))

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"{doc} Several tensors, or a sequence of them, give a tuple. Reference: ``torch.{name}``."
    return composite(name, method=False)(made)


atleast_1d = raised(1, "atleast_1d", "The tensor with at least one dimension.")
atleast_2d = raised(2, "atleast_2d", "The tensor with at least two dimensions: a vector as a row.")
atleast_3d = raised(3, "atleast_3d", "The tensor with at least three dimensions: a vector along the middle one.")


def _raised(name: str, tensors: Sequence[Any], raise_: Any) -> list[Any]:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f"{type(tensors).__name__}")  # fmt: skip
    if not len(tensors):
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return list(raise_(list(tensors)))


@composite("hstack", method=False)
def hstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors side by side: along dimension 1, vectors along 0. Reference: ``torch.hstack``."""
    parts = _raised("hstack", tensors, atleast_1d)
    return _cat(parts, 0 if parts[0].ndim == 1 else 1, out)


@composite("vstack", "row_stack", method=False)
def vstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors below each other: along dimension 0, vectors as rows. Reference: ``torch.vstack``."""
    return _cat(_raised("vstack", tensors, atleast_2d), 0, out)


@composite("dstack", method=False)
def dstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors behind each other: along dimension 2. Reference: ``torch.dstack``."""
    return _cat(_raised("dstack", tensors, atleast_3d), 2, out)


@composite("column_stack", method=False)
def column_stack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors side by side, vectors as columns. Reference: ``torch.column_stack``."""
    parts = _raised("column_stack", tensors, list)
    return hstack([reshape(t, (t.numel(), 1)) if t.ndim <= 1 else t for t in parts], out=out)


# ---------------------------------------------------------------- grids and products


@composite("meshgrid", method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """The coordinates of the grid of some vectors, a tensor for each. Views.

    ``indexing="ij"`` (default) lets the n-th vector run along dimension n; "xy" exchanges the first two. Vectors must
    have one dtype. Reference: ``torch.meshgrid``.
    """
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.", stacklevel=2
        )
        indexing = "ij"
    given = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if not given:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in given:
        if t.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t!r}")
        if t.dtype is not given[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
        if t.device != given[0].device:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same device")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(given) >= 2
    if swap:
        given[0], given[1] = given[1], given[0]
    shape = [t.numel() for t in given]
    grids = []
    for place, t in enumerate(given):
        own = [1] * len(given)
        own[place] = t.numel()
        grids.append(expand(t.reshape(own), shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@composite("cartesian_prod", method=False)
def cartesian_prod(*tensors: Any) -> Any:
    """All combinations of an element of each vector, as rows. Reference: ``torch.cartesian_prod``."""
    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([grid.flatten() for grid in meshgrid(*tensors, indexing="ij")], 1)


@composite("combinations", method=False)
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of ``r`` elements of a vector in their order, as rows. Reference: ``torch.combinations``."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = [place for choice in choose(range(input.numel()), r) for place in choice]
    index = FUNCTIONS["tensor"](places, dtype=_dtypes.int64, device=input.device)
    return input.index_select(0, index).reshape((len(places) // r, r))


@composite("block_diag", method=False)
def block_diag(*tensors: Any) -> Any:
    """A matrix with the given ones along its diagonal and zeros elsewhere; dtypes are promoted.

    Vectors are rows, scalars 1 x 1. Reference: ``torch.block_diag``.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if not given:
        return FUNCTIONS["empty"](1, 0)
    for place, t in enumerate(given):
        if t.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {place} has {t.ndim} "
                "dimensions"
            )
    blocks = [atleast_2d(t) for t in given]
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        right = width - left - b.shape[1]
        sides = [b.new_zeros((b.shape[0], n)) for n in (left, right)]
        rows.append(_CAT([sides[0], b, sides[1]], 1))
        left += b.shape[1]
    return _CAT(rows, 0)
