"""Functions that rearrange, select and join elements."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch.array_api._array import given, made, result_type

__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis", "permute_dims",
    "repeat", "reshape", "roll", "squeeze", "stack", "take", "take_along_axis", "tile", "unstack",
]  # fmt: skip


def _axes(axis: Any) -> tuple[int, ...]:
    return (axis,) if isinstance(axis, int) else tuple(axis)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that these shapes broadcast to. Raises ValueError where they do not."""
    try:
        return tuple(ops.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """Views of the arrays in the shape that they broadcast to."""
    shape = broadcast_shapes(*(a.shape for a in arrays))
    return tuple(broadcast_to(a, shape) for a in arrays)


def broadcast_to(x: Any, /, shape: Any) -> Any:
    """A view of the array in a shape that it broadcasts to."""
    return made(given(x).expand(tuple(shape)))


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """The arrays one after the other along an axis, in their common dtype; flattened for ``axis=None``."""
    dtype = result_type(*arrays)
    parts = [given(a).to(dtype) for a in arrays]
    if axis is None:
        parts, axis = [p.flatten() for p in parts], 0
    return made(ops.cat(parts, axis))


def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """The arrays side by side along a new axis, in their common dtype."""
    dtype = result_type(*arrays)
    return made(ops.stack([given(a).to(dtype) for a in arrays], axis))


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of an axis."""
    return tuple(made(given(x).unbind(axis)))


def expand_dims(x: Any, /, axis: Any) -> Any:
    """The array with new dimensions of size 1. Raises IndexError for places that are not in the result."""
    x = given(x)
    places = _axes(axis)
    rank = x.ndim + len(places)
    places = tuple(sorted(a + rank if a < 0 else a for a in places))
    if len(set(places)) < len(places):
        raise ValueError(f"expand_dims: axes {axis} name a dimension twice")
    for place in places:
        if not 0 <= place < rank:
            raise IndexError(f"expand_dims: axis {axis} is out of range for a result of {rank} dimensions")
        x = x.unsqueeze(place)
    return made(x)


def squeeze(x: Any, /, axis: Any) -> Any:
    """The array without these dimensions of size 1. Raises ValueError for a dimension of another size."""
    x = given(x)
    for a in _axes(axis):
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: dimension {a} of shape {tuple(x.shape)} is not of size 1")
    return made(x.squeeze(_axes(axis)))


def flip(x: Any, /, *, axis: Any = None) -> Any:
    """The array with the order of elements reversed along these axes, along all for None."""
    x = given(x)
    return made(x.flip(tuple(range(x.ndim)) if axis is None else _axes(axis)))


def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """A view with some axes in other places."""
    return made(given(x).movedim(source, destination))


def permute_dims(x: Any, /, axes: Any) -> Any:
    """A view with the axes in this order."""
    return made(given(x).permute(axes))


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """The elements in another shape. ``copy=False`` raises ValueError where no view can show it."""
    x = given(x)
    if copy is False:
        try:
            return made(x.view(shape))
        except RuntimeError as error:
            raise ValueError(f"reshape: {error}") from None
    result = x.reshape(shape)
    return made(result.clone() if copy and result.data_ptr() == x.data_ptr() else result.view(result.shape))


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    """The elements moved along axes, those pushed out coming in again on the other side."""
    x = given(x)
    return made(x.roll(shift, axis) if axis is not None else x.flatten().roll(shift).reshape(x.shape))


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Each element (or slice of an axis) as often as ``repeats`` says; flattened first for ``axis=None``."""
    if not isinstance(repeats, int):
        repeats = given(repeats).long()
    return made(ops.repeat_interleave(given(x), repeats, axis))


def tile(x: Any, repetitions: Any, /) -> Any:
    """Copies of the array side by side along each axis."""
    x = given(x)
    result = x.tile(tuple(repetitions))
    return made(result.clone() if result is x else result)


def _wrapped(indices: Any, size: int) -> Any:
    indices = given(indices).long()
    return ops.where(indices < 0, indices + size, indices)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """The slices of an axis at these indices, negative ones counting from its end."""
    x = given(x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: an axis is required for an array of {x.ndim} dimensions")
        axis = 0
    return made(x.index_select(axis, _wrapped(indices, x.shape[axis])))


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """The elements of an axis at an array of indices that broadcasts with ``x`` in the other dimensions."""
    x = given(x)
    return made(ops.take_along_dim(x, _wrapped(indices, x.shape[axis]), axis))
