"""One tensor as several: split, chunk, unbind and their kin. The parts are views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from dumbtorch import _C, _dtypes
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import narrow, wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite, primitive

_R = _C.required
# the views in one call; `primitive` records them
_PIECES = _C.make_op("split", "split", ("input", "split_size_or_sections", "dim"), (_R,) * 3, 3, "...", 8, "Ranges.")
_EACH = _C.make_op("unbind", "unbind", ("input", "dim"), (_R,) * 2, 2, "..", 8, "Every index.")

_split: Callable[..., tuple[Any, ...]] = primitive(
    "split", "input, lengths, dim", _PIECES, {"input": lambda g, dim: FUNCTIONS["cat"](g, dim)},
    outputs=("*",), doc="Consecutive ranges of a dimension.", dtypes="any", ref="Tensor.split",
    samples=lambda: (S(T(5, 3), 2, 0), S(T(5, 3), [1, 0, 4], 0), S(T(4, 3), 2, -1), S(T(0, 3), 2, 0)))  # fmt: skip
_unbind: Callable[..., tuple[Any, ...]] = primitive(
    "unbind", "input, dim", _EACH, {"input": lambda g, dim: FUNCTIONS["stack"](g, dim)},
    outputs=("*",), doc="Every index of a dimension.", dtypes="any",
    samples=lambda: (S(T(3, 2), 0), S(T(3, 2), -1), S(T(2, 0), 0)))  # fmt: skip


@composite("split", method=False, numpy=False)
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Ranges of a dimension: all of one size (the last may be smaller), or of the given sizes. Views.

    Raises RuntimeError when given sizes do not add up. Reference: ``torch.split``.
    """
    if not tensor.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    return _split(tensor, split_size_or_sections, wrap_dim(dim, tensor.ndim))


@composite("split", function=False, numpy=False)
def _split_method(self: Any, split_size: Any, dim: int = 0) -> tuple[Any, ...]:
    """Ranges of a dimension, see `split`. Reference: ``torch.Tensor.split``."""
    return cast("tuple[Any, ...]", split(self, split_size, dim))


@composite("split_with_sizes")
def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Ranges of the given sizes along a dimension. Reference: ``torch.split_with_sizes``."""
    if not input.ndim:
        raise RuntimeError("split_with_sizes expects at least a 1-dimensional tensor")
    return _split(input, list(split_sizes), wrap_dim(dim, input.ndim))


@composite("chunk", numpy=False)
def chunk(input: Any, chunks: int, dim: int = 0, *, axis: int | None = None) -> tuple[Any, ...]:
    """At most ``chunks`` ranges of equal size, the last may be smaller. Reference: ``torch.chunk``."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    dim = wrap_dim(dim if axis is None else axis, input.ndim)
    step = -(-input.shape[dim] // chunks)
    return _split(input, step or [0] * chunks, dim)


@composite("unbind", numpy=False)
def unbind(input: Any, dim: int = 0, *, axis: int | None = None) -> tuple[Any, ...]:
    """A view for each index of a dimension. Reference: ``torch.unbind``."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return _unbind(input, wrap_dim(dim if axis is None else axis, input.ndim))


def _single(input: Any, lengths: Sequence[int], dim: int) -> tuple[Any, ...]:
    """Ranges that are views of their own: they may be written to one by one."""
    parts, start = [], 0
    for length in lengths:
        parts.append(narrow(input, dim, start, length))
        start += length
    return tuple(parts)


@composite("unsafe_split")
def unsafe_split(input: Any, split_size: int, dim: int = 0) -> tuple[Any, ...]:
    """``split``, whose parts may be written to in place. Reference: ``torch.unsafe_split``."""
    dim = wrap_dim(dim, input.ndim)
    return _single(input, [part.shape[dim] for part in split(input.detach(), split_size, dim)], dim)


@composite("unsafe_split_with_sizes")
def unsafe_split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """``split_with_sizes``, whose parts may be written to in place. Reference: ``torch.unsafe_split_with_sizes``."""
    dim = wrap_dim(dim, input.ndim)
    return _single(input, [part.shape[dim] for part in split_with_sizes(input.detach(), split_sizes, dim)], dim)


@composite("unsafe_chunk")
def unsafe_chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """``chunk``, whose parts may be written to in place. Reference: ``torch.unsafe_chunk``."""
    dim = wrap_dim(dim, input.ndim)
    return _single(input, [part.shape[dim] for part in chunk(input.detach(), chunks, dim)], dim)


def _numbers(given: Any) -> Any:
    """An int, or a list of ints, from what tensor_split takes."""
    if not isinstance(given, _C.TensorBase):
        return given if isinstance(given, int) else list(given)
    if given.device.type != "cpu":
        raise RuntimeError("tensor_split expected tensor_indices_or_sections to be on cpu")
    if given.dtype is not _dtypes.int64:
        raise RuntimeError(
            f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {given.dtype}"
        )
    if given.ndim > 1:
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but "
            f"got a tensor with {given.ndim} dims"
        )
    return given.tolist()


@composite("tensor_split")
def tensor_split(
    input: Any, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None,
    tensor_indices_or_sections: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """So many ranges of a dimension, the first ones longer by one; or cuts at the given indices, as a list or tensor.

    Reference: ``torch.tensor_split``.
    """
    if input.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = wrap_dim(dim, input.ndim)
    size = input.shape[dim]
    named = (indices_or_sections, indices, sections, tensor_indices_or_sections)
    cuts = _numbers(next(value for value in named if value is not None))
    if isinstance(cuts, int):
        if cuts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cuts}")
        return _single(input, [size // cuts + (n < size % cuts) for n in range(cuts)], dim)
    bounds = [0, *cuts, size]
    parts = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        first, last, _ = slice(start, end).indices(size)
        parts.append(narrow(input, dim, first, max(last - first, 0)))
    return tuple(parts)


def _axis_split(name: str, least: int, dim: int, doc: str) -> None:
    def made(input: Any, indices_or_sections: Any = None, *, indices: Any = None, sections: Any = None) -> Any:
        given = next(value for value in (indices_or_sections, indices, sections) if value is not None)
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension{'s' * (least > 1)}, but got a tensor "
                f"with {input.ndim} dimensions!"
            )
        place = 0 if input.ndim == 1 else dim
        if isinstance(given, int) and (given < 1 or input.shape[place] % given):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {place}, but the size of the dimension "
                f"{input.shape[place]} is not divisible by the split_size {given}!"
            )
        return tensor_split(input, given, place)

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"{doc} Reference: ``torch.{name}``."
    composite(name)(made)


_axis_split("hsplit", 1, 1, "``tensor_split`` along dimension 1 (0 of a vector).")
_axis_split("vsplit", 2, 0, "``tensor_split`` along dimension 0.")
_axis_split("dsplit", 3, 2, "``tensor_split`` along dimension 2.")
