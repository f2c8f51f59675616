"""Indexing: picking and writing elements by index tensors, masks and everything that ``x[...]`` takes."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops import sparse_grads
from dumbtorch.ops.broadcast import broadcast_shapes
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row

_I = "int64"


def index(*shape: int, below: int) -> T:
    """A sample of indices below a bound."""
    return T(*shape, low=0, high=below - 0.001, dtype=_I)


def _scatter_errors() -> Any:
    yield S(T(3, 4), 2, index(3, 4, below=3), T(3, 4), error="IndexError")
    yield S(T(3, 4), 0, index(3, below=3), T(3, 4), error="RuntimeError")
    yield S(T(2, 2), 0, T(1, 2, dtype=_I, values=[[2, 0]]), T(1, 2), error="RuntimeError")


row("index_select", "input, dim, index:i", dtypes="any",
    grad={"input": lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add(dim, index, g)},
    samples=lambda: (S(T(5, 3), 0, index(4, below=5)), S(T(5, 3), -1, index(2, below=3)), S(T(5), 0, index(0, below=5)),
                     S(T(5, 3), 0, index(below=5)), S(T(5, 0), 0, index(2, below=5))),
    errors=lambda: (S(T(5, 3), 2, index(2, below=3), error="IndexError"),
                    S(T(5, 3), 0, T(2, dtype=_I, values=[0, 5]), error="IndexError"),
                    S(T(5, 3), 0, index(2, 2, below=3), error="IndexError")),
    doc="The given indices (int64 or int32, one dimension) of a dimension.")  # fmt: skip
row("index_add", "input, dim, index:i, source, *, alpha=1", dtypes="any", inplace=True, function=True, grad={
        "input": lambda g: g,
        "source": lambda g, source_shape, dim, index, alpha: _times(g.index_select(dim, index), alpha).reshape(
            source_shape),
    }, samples=lambda: (S(T(5, 3), 0, index(4, below=5), T(4, 3)), S(T(5, 3), 1, index(2, below=3), T(5, 2)),
                        S(T(5, 3), 0, index(4, below=5), T(4, 3), alpha=2), S(T(5), 0, index(0, below=5), T(0))),
    errors=lambda: (S(T(5, 3), 0, index(4, below=5), T(3, 3), error="RuntimeError"),
                    S(T(5, 3), 0, index(4, below=5), T(4, 2), error="RuntimeError")),
    doc="``input`` with ``alpha * source`` added at the given indices of a dimension; repeated ones add up.",
)  # fmt: skip
row("index_copy", "input, dim, index:i, source", dtypes="any", inplace=True, grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "source": lambda g, source_shape, dim, index: g.index_select(dim, index).reshape(source_shape),
    }, samples=lambda: (S(T(5, 3), 0, T(3, dtype=_I, values=[4, 0, 2]), T(3, 3)),
                        S(T(5, 3), 1, T(2, dtype=_I, values=[2, 0]), T(5, 2))),
    errors=lambda: (S(T(5, 3), 0, index(4, below=5), T(3, 3), error="IndexError"),),
    doc="``input`` with ``source`` written at the given indices of a dimension.")  # fmt: skip
row("gather", "input, dim, index:i, *, sparse_grad=False", dtypes="any",
    grad={
        "input": lambda g, input_shape, dim, index, sparse_grad: (
            sparse_grads.of_elements(g, input_shape, dim, index) if sparse_grad
            else g.new_zeros(input_shape).scatter_add(dim, index, g)),
    },
    samples=lambda: (S(T(4, 3), 0, index(2, 3, below=4)), S(T(4, 3), 1, index(4, 5, below=3)),
                     S(T(), 0, index(below=1)),
                     S(T(4, 3), -1, index(0, 3, below=3))),
    errors=lambda: (S(T(4, 3), 2, index(2, 3, below=3), error="IndexError"),
                    S(T(4, 3), 0, index(2, below=3), error="RuntimeError"),
                    S(T(2, 2), 0, T(1, 2, dtype=_I, values=[[2, 0]]), error="RuntimeError")),
    doc="``out[i][j] = input[index[i][j]][j]`` for dim 0, and so on. ``sparse_grad``: the gradient is a sparse tensor.",
)  # fmt: skip
row("scatter", "input, dim, index:i, src", dtypes="any", inplace=True, function=False, method=False, grad={
        "input": lambda g, dim, index: g.scatter(dim, index, 0),
        "src": lambda g, src_shape, dim, index: _scatter_src(g, src_shape, dim, index),
    }, samples=lambda: (S(T(4, 3), 0, T(2, 3, dtype=_I, values=[[3, 0, 1], [0, 2, 2]]), T(2, 3)),
                        S(T(4, 3), 1, T(2, 2, dtype=_I, values=[[2, 0], [0, 1]]), T(2, 2)),
                        S(T(4, 3), 1, T(2, 1, dtype=_I, values=[[2], [0]]), 1)),
    errors=_scatter_errors, doc="``input`` with ``src`` (a tensor or number) written at ``index`` along a dimension.",
)  # fmt: skip
row("scatter_add", "input, dim, index:i, src", dtypes="any", inplace=True, grad={
        "input": lambda g: g,
        "src": lambda g, src_shape, dim, index: _scatter_src(g, src_shape, dim, index),
    }, samples=lambda: (S(T(4, 3), 0, index(5, 3, below=4), T(5, 3)), S(T(4, 3), 1, index(2, 2, below=3), T(2, 2)),
                        S(T(4), 0, index(0, below=4), T(0))),
    errors=_scatter_errors, doc="``input`` with ``src`` added at ``index`` along a dimension; repeated ones add up.",
)  # fmt: skip


def _times(g: Any, factor: Any) -> Any:
    return g if factor == 1 else g * (factor.conjugate() if isinstance(factor, complex) else factor)


def _scatter_src(g: Any, shape: Any, dim: int, index: Any) -> Any:
    """The gradient of scattered values; a ``src`` larger than ``index`` has zeros where it was not read."""
    taken = g.gather(dim, index)
    if taken.shape == shape:
        return taken
    whole = g.new_zeros(shape)
    part = tuple(slice(0, n) for n in taken.shape)
    whole[part] = taken
    return whole


@composite("index_fill")
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """``input`` with ``value`` (a number or 0-dim tensor) at the given indices. Reference: ``torch.index_fill``."""
    return input.index_copy(dim, *_filling("index_fill", input, dim, index, value))


@composite("index_fill_", function=False)
def index_fill_(self: Any, dim: int, index: Any, value: Any) -> Any:
    """``index_fill`` in place."""
    return self.index_copy_(dim, *_filling("index_fill_", self, dim, index, value))


def _filling(name: str, input: Any, dim: int, index: Any, value: Any) -> tuple[Any, Any]:
    """The index as a vector of int64, and the value spread over what it shows."""
    dim = wrap_dim(dim, input.ndim)
    if index.dtype is not _dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    if isinstance(value, _C.TensorBase):
        if value.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
        if value.requires_grad:  # it counts once, however often an index is repeated
            hit = index.new_zeros((input.shape[dim] if input.ndim else 1,), dtype=_dtypes.bool)
            hit[index.reshape(-1)] = True
            index = hit.nonzero().reshape(-1)
    else:
        if isinstance(value, complex) and not input.is_complex():
            raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
        value = input.new_full((), value)
    index = index.reshape(-1)
    bad = index.numel() and index.min() < 0
    if bad:  # here they count from the back, other than in index_copy
        size = input.shape[dim] if input.ndim else 1
        if index.min() < -size:
            raise IndexError("index out of range in self")
        index = FUNCTIONS["where"](index < 0, index + size, index)
    shape = list(input.shape)
    if shape:
        shape[dim] = index.numel()
    return index, value.expand(shape)


row("nonzero", "input", dtypes="any", function=False, method=False,
    samples=lambda: (S(T(3, 4, dtype="bool")), S(T(3, 4)), S(T()), S(T(0, 3))), doc="The indices of nonzero elements.",
)  # fmt: skip
_NONZERO = TABLE["nonzero"].op


@composite("nonzero")
def nonzero(input: Any, *, out: Any = None, as_tuple: bool = False) -> Any:
    """The indices of the nonzero elements: int64 of shape (count, ndim), or one vector for each dimension.

    Reference: ``torch.nonzero``.
    """
    if as_tuple:
        return tuple(_NONZERO(input if input.ndim else input.reshape(1)).unbind(1))
    return _NONZERO(input) if out is None else _NONZERO(input, out=out)


@composite("nonzero_static")
def nonzero_static(input: Any, *, size: int, fill_value: int = -1, out: Any = None) -> Any:
    """The first ``size`` rows of ``nonzero``, filled up with ``fill_value``. Reference: ``torch.nonzero_static``."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, but got {size}")
    found = _NONZERO(input)[:size]
    if found.shape[0] < size:
        rest = found.new_full((size - found.shape[0], input.ndim), fill_value)
        found = FUNCTIONS["cat"]([found, rest])
    return found if out is None else write(out, found)


@composite("argwhere")
def argwhere(input: Any) -> Any:
    """The indices of the nonzero elements, (count, ndim). Reference: ``torch.argwhere``."""
    return _NONZERO(input)


row("masked_select", "input, mask:i", dtypes="any", grad={
        "input": lambda g, input_shape, mask: g.new_zeros(broadcast_shapes(input_shape, mask.shape)).masked_scatter(
            mask, g).sum_to_size(input_shape),
    }, samples=lambda: (S(T(3, 4), T(3, 4, dtype="bool")), S(T(3, 1), T(4, dtype="bool")), S(T(), T(dtype="bool")),
                        S(T(0, 3), T(3, dtype="bool"))),
    errors=lambda: (S(T(3, 4), T(3, 4), error="RuntimeError"), S(T(3, 4), T(3, dtype="bool"), error="RuntimeError")),
    doc="The elements where ``mask`` (bool) holds, in one dimension. The two broadcast.")  # fmt: skip
row("masked_scatter", "input, mask:i, source", dtypes="any", inplace=True, function=True, grad={
        "input": lambda g, input_shape, mask: g.masked_fill(mask, 0).sum_to_size(input_shape),
        "source": lambda g, source_shape, mask: _taken(g, mask, source_shape),
    }, samples=lambda: (S(T(3, 4), T(3, 4, dtype="bool"), T(12)), S(T(3, 4), T(4, dtype="bool"), T(3, 5)),
                        S(T(2, 0), T(2, 1, dtype="bool"), T(0))),
    errors=lambda: (S(T(2, 2), T(2, 2, dtype="bool", values=[[1, 1], [1, 0]]), T(2), error="RuntimeError"),
                    S(T(2), T(2), T(2), error="RuntimeError")),
    doc="``input`` with the elements of ``source``, in order, where ``mask`` (bool, broadcast) holds.")  # fmt: skip


def _taken(g: Any, mask: Any, shape: Any) -> Any:
    """The gradient of the source of a masked_scatter: what was not used has none."""
    used = g.masked_select(mask)
    whole = g.new_zeros((math.prod(shape),))
    whole[: used.numel()] = used
    return whole.reshape(shape)


def _embedding_second(g: Any, indices: Any, num_weights: int, padding_idx: int, scale_grad_by_freq: bool) -> Any:
    """The derivative of the embedding's gradient by what came from above: the gradient's rows, weighted alike."""
    rows = EMBEDDING(g, indices)
    if padding_idx >= 0:
        rows = rows.masked_fill((indices == padding_idx).unsqueeze(-1), 0)
    if scale_grad_by_freq:
        flat = indices.reshape(-1).to(_dtypes.int64)
        ones = g.new_ones(flat.shape)
        counts = ones.new_zeros((num_weights,)).index_add(0, flat, ones)
        rows = rows / counts.index_select(0, flat).reshape(indices.shape).unsqueeze(-1)
    return rows


def _of_table(g: Any, indices: Any, shape: Any, padding_idx: int, scale_grad_by_freq: bool, sparse: bool) -> Any:
    if not sparse:
        return _EMBEDDING_BACKWARD(g, indices, shape[0], padding_idx, scale_grad_by_freq)
    rows = g.reshape(indices.numel(), *shape[1:])
    return sparse_grads.of_rows("embedding_backward", rows, indices.reshape(-1), shape, padding_idx, scale_grad_by_freq)


row("embedding_backward", "grad, indices:i, num_weights, padding_idx=-1, scale_grad_by_freq=False", method=False,
    function=False, out=False, grad={
        "grad": lambda g, indices, num_weights, padding_idx, scale_grad_by_freq: _embedding_second(
            g, indices, num_weights, padding_idx, scale_grad_by_freq),
    }, samples=lambda: (S(T(4, 3), index(4, below=5), 5), S(T(2, 3, 2), index(2, 3, below=5), 5, 2),
                        S(T(4, 3, grad=False), T(4, dtype=_I, values=[1, 1, 0, 1]), 3, -1, True),
                        S(T(0, 3, grad=False), index(0, below=5), 5)),
    errors=lambda: (S(T(3, 3), index(4, below=5), 5, error="RuntimeError"),),
    doc="The gradient of an embedding's weight: the rows of ``grad`` added up by their index.")  # fmt: skip
row("embedding", "weight, indices:i, padding_idx=-1, scale_grad_by_freq=False, sparse=False", method=False, out=False,
    ref="embedding", grad={
        "weight": lambda g, indices, weight_shape, padding_idx, scale_grad_by_freq, sparse: _of_table(
            g, indices, weight_shape, padding_idx, scale_grad_by_freq, sparse),
    }, samples=lambda: (S(T(5, 3), index(4, below=5)), S(T(5, 3), index(2, 3, below=5), 2, smooth=False),
                        S(T(5, 3), T(4, dtype=_I, values=[1, 1, 0, 1]), -1, True, smooth=False),
                        S(T(5, 3), index(0, below=5))),
    errors=lambda: (S(T(5, 3), T(1, dtype=_I, values=[5]), error="IndexError"),),
    doc="The rows of ``weight`` at ``indices``; the row ``padding_idx`` gets no gradient. ``sparse``: the gradient is "
        "a sparse tensor of the rows looked up.")  # fmt: skip
EMBEDDING = TABLE["embedding"].op
_EMBEDDING_BACKWARD: Any = TABLE["embedding_backward"].op
