"""Elements moved round, tensors repeated and joined: what is made of views, `flip` and `cat`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.ops.shape import flip, narrow, sizes, wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite


@composite("roll")
def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """Elements moved along ``dims`` by ``shifts``; what falls off one end comes in at the other.

    Without ``dims`` the tensor is rolled as if it were flat. Raises RuntimeError when there is not one shift for each
    dimension. Reference: ``torch.roll``.
    """
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    places = [] if dims is None else [dims] if isinstance(dims, int) else list(dims)
    if not moves:
        raise RuntimeError("`shifts` required")
    if not places and len(moves) == 1:
        return roll(input.reshape(-1), moves, [0]).reshape(input.shape)
    if len(moves) != len(places):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(places)}")
    result = input
    for shift, place in zip(moves, places, strict=True):
        dim = wrap_dim(place, input.ndim)
        size = input.shape[dim] if input.ndim else 1
        cut = -shift % size if size else 0
        if cut:
            result = FUNCTIONS["cat"]([narrow(result, dim, cut, size - cut), narrow(result, dim, 0, cut)], dim)
    return result.clone() if result is input else result


@composite("repeat", function=False)
def repeat(self: Any, *repeats: Any) -> Any:
    """The tensor repeated that many times along each dimension. Reference: ``torch.Tensor.repeat``.

    Raises RuntimeError for fewer repeats than dimensions.
    """
    times = sizes(repeats)
    times = (times,) if isinstance(times, int) else tuple(times)
    lead = len(times) - self.ndim
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + tuple(self.shape)
    # every size n becomes (times, n), stretched without a copy, then joined by one
    spread = [part for n in shape for part in (1, n)]
    wide = [part for k, n in zip(times, shape, strict=True) for part in (k, n)]
    made = self.reshape(spread).expand(wide)
    result = made.reshape([k * n for k, n in zip(times, shape, strict=True)])
    return result if result.numel() == 0 or result.data_ptr() != self.data_ptr() else result.clone()


@composite("tile")
def tile(input: Any, *dims: Any) -> Any:
    """As ``repeat``, with missing leading repeats taken as 1. Reference: ``torch.tile``."""
    times = sizes(dims)
    times = (times,) if isinstance(times, int) else tuple(times)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@composite("rot90")
def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """A quarter turn ``k`` times in the plane of two dimensions. Reference: ``torch.rot90``."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    first, second = (wrap_dim(d, input.ndim) for d in dims)
    if first == second:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, (first, second))
    return flip(input, (second if turns == 1 else first,)).transpose(first, second)


def _raised(tensors: Sequence[Any], ndim: int) -> list[Any]:
    return [t.reshape([1] * (ndim - t.ndim) + list(t.shape)) if t.ndim < ndim else t for t in tensors]


@composite("hstack", method=False)
def hstack(tensors: Sequence[Any]) -> Any:
    """Tensors side by side: along dimension 1, vectors along 0. Reference: ``torch.hstack``."""
    parts = _raised(tensors, 1)
    return FUNCTIONS["cat"](parts, 0 if parts[0].ndim == 1 else 1)


@composite("vstack", "row_stack", method=False)
def vstack(tensors: Sequence[Any]) -> Any:
    """Tensors below each other: along dimension 0, vectors as rows. Reference: ``torch.vstack``."""
    return FUNCTIONS["cat"](_raised(tensors, 2), 0)
