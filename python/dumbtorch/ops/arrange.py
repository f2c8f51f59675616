"""Elements moved round and repeated: flip, roll, rot90, repeat, tile, repeat_interleave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import sizes, wrap_dim
from dumbtorch.ops.table import TABLE, composite, row

_FLIP: Any = row("flip", "input, dims", method=False, function=False, out=False, dtypes="any",
    grad={"input": lambda g, dims: _FLIP(g, dims)}, samples=lambda: (
        S(T(3, 4), (0,)), S(T(3, 4), (0, -1)), S(T(2, 3, 2), (1,)), S(T(5), (0,)), S(T(0, 3), (0,)), S(T(2, 3), ())),
    errors=lambda: (S(T(2, 3), (2,), error="IndexError"), S(T(2, 3), (0, 0), error="RuntimeError")),
    doc="A copy with the order of elements reversed along the given dimensions.")  # fmt: skip
_ROLL: Any = row("roll", "input, shifts, dims", method=False, function=False, out=False, dtypes="any",
    grad={"input": lambda g, shifts, dims: _ROLL(g, [-n for n in shifts], dims)}, samples=lambda: (
        S(T(5), [2], [0]), S(T(3, 4), [-1, 6], [0, 1]), S(T(3, 4), [1, 1], [1, 1]), S(T(0, 3), [2], [1])),
    errors=lambda: (S(T(2, 3), [1], [2], error="IndexError"), S(T(2, 3), [1, 2], [0], error="RuntimeError")),
    doc="A copy with elements moved along dimensions; what falls off one end comes in at the other.")  # fmt: skip
row("repeat_index", "repeats, output_size=None", method=False, function=False, out=False, dtypes="single",
    samples=lambda: (S(T(4, low=0, high=3, dtype="int64")), S(T(0, dtype="int64"))), errors=lambda: (
        S(T(2, dtype="int64", values=[1, -1]), error="RuntimeError"), S(T(2, 2, dtype="int64"), error="RuntimeError")),
    ref="repeat_interleave", doc="Every place of a vector, repeated as often as the vector says.")  # fmt: skip
_REPEAT_INDEX: Any = TABLE["repeat_index"].op


@composite("flip")
def flip(input: Any, *places: Any, dims: Any = None) -> Any:
    """A copy with the order of elements reversed along the given dimensions. Reference: ``torch.flip``."""
    return _FLIP(input, sizes(places, dims))


@composite("fliplr")
def fliplr(input: Any) -> Any:
    """A copy with the columns reversed. Reference: ``torch.fliplr``."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _FLIP(input, (1,))


@composite("flipud")
def flipud(input: Any) -> Any:
    """A copy with the rows reversed. Reference: ``torch.flipud``."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _FLIP(input, (0,))


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
        return _ROLL(input.reshape(-1), moves, [0]).reshape(input.shape)
    if places and not input.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return _ROLL(input, moves, places)


@composite("rot90")
def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """A quarter turn ``k`` times in the plane of two dimensions. Reference: ``torch.rot90``."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == input.ndim:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    for name, d in zip(("0", "1"), dims, strict=True):
        if not -input.ndim <= d < input.ndim:
            raise RuntimeError(f"Rotation dim{name} out of range, dim{name} = {d}")
    first, second = (wrap_dim(d, input.ndim) for d in dims)
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return _FLIP(input, (first, second))
    return _FLIP(input, (second if turns == 1 else first,)).transpose(first, second)


# ---------------------------------------------------------------- repeated


@composite("repeat", function=False)
def repeat(self: Any, *times: Any, repeats: Any = None) -> Any:
    """The tensor repeated that many times along each dimension. Reference: ``torch.Tensor.repeat``.

    Raises RuntimeError for fewer repeats than dimensions.
    """
    given = sizes(times, repeats)
    times = (given,) if isinstance(given, int) else tuple(given)
    lead = len(times) - self.ndim
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(k < 0 for k in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    shape = (1,) * lead + tuple(self.shape)
    # every size n becomes (times, n), stretched without a copy, then joined by one
    spread = [part for n in shape for part in (1, n)]
    wide = [part for k, n in zip(times, shape, strict=True) for part in (k, n)]
    made = self.reshape(spread).expand(wide).clone(memory_format="contiguous")
    return made.reshape([k * n for k, n in zip(times, shape, strict=True)])


@composite("tile")
def tile(input: Any, *repeats: Any, dims: Any = None) -> Any:
    """As ``repeat``, with missing leading repeats taken as 1. Reference: ``torch.tile``."""
    times = sizes(repeats, dims)
    times = (times,) if isinstance(times, int) else tuple(times)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@composite("repeat_interleave")
def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Every element (or slice along ``dim``) repeated; ``repeats`` is an int or a vector with a number for each.

    With one argument, the places of that vector, repeated as it says. Without ``dim`` the input is flattened.
    ``output_size`` is checked. Reference: ``torch.repeat_interleave``.
    """
    if repeats is None:
        if input.dtype not in (_dtypes.int32, _dtypes.int64):
            raise RuntimeError("repeats has to be Long or Int tensor")
        return _REPEAT_INDEX(input, output_size).to(input.dtype)
    if dim is None:
        input, dim = input.reshape(-1), 0
    if input.ndim == 0:
        input = input.reshape(1)
    dim = wrap_dim(dim, input.ndim)
    size = input.shape[dim]
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError(f"Repeats must be non-negative, got {repeats}")
        if output_size is not None and output_size != size * repeats:
            raise RuntimeError(
                f"repeat_interleave: Invalid output_size, expected {size * repeats} but got {output_size}"
            )
        wide = input.unsqueeze(dim + 1)
        shape = list(wide.shape)
        shape[dim + 1] = repeats
        return wide.expand(shape).clone(memory_format="contiguous").flatten(dim, dim + 1)
    if not isinstance(repeats, _C.TensorBase) or repeats.dtype not in (_dtypes.int32, _dtypes.int64):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats.ndim == 0 or (repeats.ndim == 1 and repeats.shape[0] == 1):
        repeats = repeats.reshape(1).expand(size)
    elif repeats.ndim == 1:
        if repeats.shape[0] != size:
            raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                               f"{repeats.shape[0]} and input.size({dim}) = {size}")  # fmt: skip
    else:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    return input.index_select(dim, _REPEAT_INDEX(repeats, output_size))
