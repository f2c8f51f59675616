"""Indexing: picking and writing elements by index tensors, masks and everything that ``x[...]`` takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
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


row("index_select", "input, dim, index:i", dtypes="real",
    grad={"input": lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add(dim, index, g)},
    samples=lambda: (S(T(5, 3), 0, index(4, below=5)), S(T(5, 3), -1, index(2, below=3)), S(T(5), 0, index(0, below=5)),
                     S(T(5, 3), 0, index(below=5)), S(T(5, 0), 0, index(2, below=5))),
    errors=lambda: (S(T(5, 3), 2, index(2, below=3), error="IndexError"),
                    S(T(5, 3), 0, T(2, dtype=_I, values=[0, 5]), error="IndexError"),
                    S(T(5, 3), 0, index(2, 2, below=3), error="IndexError")),
    doc="The given indices (int64 or int32, one dimension) of a dimension.")  # fmt: skip
row("index_add", "input, dim, index:i, source, *, alpha=1", dtypes="real", inplace=True, function=True, grad={
        "input": lambda g: g,
        "source": lambda g, source_shape, dim, index, alpha: _times(g.index_select(dim, index), alpha).reshape(
            source_shape),
    }, samples=lambda: (S(T(5, 3), 0, index(4, below=5), T(4, 3)), S(T(5, 3), 1, index(2, below=3), T(5, 2)),
                        S(T(5, 3), 0, index(4, below=5), T(4, 3), alpha=2), S(T(5), 0, index(0, below=5), T(0))),
    errors=lambda: (S(T(5, 3), 0, index(4, below=5), T(3, 3), error="RuntimeError"),
                    S(T(5, 3), 0, index(4, below=5), T(4, 2), error="RuntimeError")),
    doc="``input`` with ``alpha * source`` added at the given indices of a dimension; repeated ones add up.",
)  # fmt: skip
row("index_copy", "input, dim, index:i, source", dtypes="real", inplace=True, grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "source": lambda g, source_shape, dim, index: g.index_select(dim, index).reshape(source_shape),
    }, samples=lambda: (S(T(5, 3), 0, T(3, dtype=_I, values=[4, 0, 2]), T(3, 3)),
                        S(T(5, 3), 1, T(2, dtype=_I, values=[2, 0]), T(5, 2))),
    errors=lambda: (S(T(5, 3), 0, index(4, below=5), T(3, 3), error="IndexError"),),
    doc="``input`` with ``source`` written at the given indices of a dimension.")  # fmt: skip
row("gather", "input, dim, index:i, *, sparse_grad=False", dtypes="real",
    grad={"input": lambda g, input_shape, dim, index: g.new_zeros(input_shape).scatter_add(dim, index, g)},
    samples=lambda: (S(T(4, 3), 0, index(2, 3, below=4)), S(T(4, 3), 1, index(4, 5, below=3)),
                     S(T(), 0, index(below=1)),
                     S(T(4, 3), -1, index(0, 3, below=3))),
    errors=lambda: (S(T(4, 3), 2, index(2, 3, below=3), error="IndexError"),
                    S(T(4, 3), 0, index(2, below=3), error="RuntimeError"),
                    S(T(2, 2), 0, T(1, 2, dtype=_I, values=[[2, 0]]), error="RuntimeError")),
    doc="``out[i][j] = input[index[i][j]][j]`` for dim 0, and so on.")  # fmt: skip
row("scatter", "input, dim, index:i, src", dtypes="real", inplace=True, grad={
        "input": lambda g, dim, index: g.scatter(dim, index, 0),
        "src": lambda g, src_shape, dim, index: _scatter_src(g, src_shape, dim, index),
    }, samples=lambda: (S(T(4, 3), 0, T(2, 3, dtype=_I, values=[[3, 0, 1], [0, 2, 2]]), T(2, 3)),
                        S(T(4, 3), 1, T(2, 2, dtype=_I, values=[[2, 0], [0, 1]]), T(2, 2)),
                        S(T(4, 3), 1, T(2, 1, dtype=_I, values=[[2], [0]]), 1)),
    errors=_scatter_errors, doc="``input`` with ``src`` (a tensor or number) written at ``index`` along a dimension.",
)  # fmt: skip
row("scatter_add", "input, dim, index:i, src", dtypes="real", inplace=True, grad={
        "input": lambda g: g,
        "src": lambda g, src_shape, dim, index: _scatter_src(g, src_shape, dim, index),
    }, samples=lambda: (S(T(4, 3), 0, index(5, 3, below=4), T(5, 3)), S(T(4, 3), 1, index(2, 2, below=3), T(2, 2)),
                        S(T(4), 0, index(0, below=4), T(0))),
    errors=_scatter_errors, doc="``input`` with ``src`` added at ``index`` along a dimension; repeated ones add up.",
)  # fmt: skip


def _times(g: Any, factor: Any) -> Any:
    return g if factor == 1 else g * factor


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
    dim = wrap_dim(dim, input.ndim)
    if isinstance(value, _C.TensorBase):
        source = value
    else:
        source = input.new_full((), value)
    shape = list(input.shape)
    if shape:
        shape[dim] = index.numel()
    return input.index_copy(dim, index, source.expand(shape))


@composite("index_fill_", function=False)
def index_fill_(self: Any, dim: int, index: Any, value: Any) -> Any:
    """``index_fill`` in place."""
    return self.copy_(index_fill(self, dim, index, value))


@composite(method=False)
def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that tensors of the given shapes broadcast to. Reference: ``torch.broadcast_shapes``."""
    ndim = max((len(shape) for shape in shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        for place, n in enumerate(shape, ndim - len(shape)):
            if n != 1:
                if result[place] not in (1, n):
                    raise RuntimeError(
                        f"Shape mismatch: objects cannot be broadcast to a single shape: {[list(s) for s in shapes]}"
                    )
                result[place] = n
    return tuple(result)


row("nonzero", "input", dtypes="real", function=False, method=False,
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


@composite("argwhere")
def argwhere(input: Any) -> Any:
    """The indices of the nonzero elements, (count, ndim). Reference: ``torch.argwhere``."""
    return _NONZERO(input)


row("masked_select", "input, mask:i", dtypes="real", grad={
        "input": lambda g, input_shape, mask: g.new_zeros(broadcast_shapes(input_shape, mask.shape)).masked_scatter(
            mask, g).sum_to_size(input_shape),
    }, samples=lambda: (S(T(3, 4), T(3, 4, dtype="bool")), S(T(3, 1), T(4, dtype="bool")), S(T(), T(dtype="bool")),
                        S(T(0, 3), T(3, dtype="bool"))),
    errors=lambda: (S(T(3, 4), T(3, 4), error="RuntimeError"), S(T(3, 4), T(3, dtype="bool"), error="RuntimeError")),
    doc="The elements where ``mask`` (bool) holds, in one dimension. The two broadcast.")  # fmt: skip
row("masked_scatter", "input, mask:i, source", dtypes="real", inplace=True, function=True, grad={
        "input": lambda g, mask: g.masked_fill(mask, 0),
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


@composite("take")
def take(input: Any, index: Any) -> Any:
    """Elements by their place in the flattened input. Reference: ``torch.take``."""
    if index.dtype is not _dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {_dtypes.TYPE_NAMES[index.dtype]}")
    return _ROWS(input.reshape(-1), index)


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


row("embedding_backward", "grad, indices:i, num_weights, padding_idx=-1, scale_grad_by_freq=False", method=False,
    function=False, out=False, grad={
        "grad": lambda g, indices, num_weights, padding_idx, scale_grad_by_freq: _embedding_second(
            g, indices, num_weights, padding_idx, scale_grad_by_freq),
    }, samples=lambda: (S(T(4, 3), index(4, below=5), 5), S(T(2, 3, 2), index(2, 3, below=5), 5, 2),
                        S(T(4, 3, grad=False), T(4, dtype=_I, values=[1, 1, 0, 1]), 3, -1, True),
                        S(T(0, 3, grad=False), index(0, below=5), 5)),
    errors=lambda: (S(T(3, 3), index(4, below=5), 5, error="RuntimeError"),),
    doc="The gradient of an embedding's weight: the rows of ``grad`` added up by their index.")  # fmt: skip
row("embedding", "weight, indices:i, padding_idx=-1, scale_grad_by_freq=False", method=False, out=False,
    ref="embedding", grad={
        "weight": lambda g, indices, weight_shape, padding_idx, scale_grad_by_freq: _EMBEDDING_BACKWARD(
            g, indices, weight_shape[0], padding_idx, scale_grad_by_freq),
    }, samples=lambda: (S(T(5, 3), index(4, below=5)), S(T(5, 3), index(2, 3, below=5), 2, smooth=False),
                        S(T(5, 3), T(4, dtype=_I, values=[1, 1, 0, 1]), -1, True, smooth=False),
                        S(T(5, 3), index(0, below=5))),
    errors=lambda: (S(T(5, 3), T(1, dtype=_I, values=[5]), error="IndexError"),),
    doc="The rows of ``weight`` at ``indices``; the row ``padding_idx`` gets no gradient.")  # fmt: skip
EMBEDDING = TABLE["embedding"].op
_EMBEDDING_BACKWARD: Any = TABLE["embedding_backward"].op


# ---------------------------------------------------------------- x[...] and x[...] = y


# (index, dim, size): contiguous int64 indices counted from the front; IndexError, naming the dimension, outside
_wrapped = _C.make_op(
    "_wrapped", "_wrap_indices", ("index", "dim", "size"), (_C.required,) * 3, 3, "...", 0, "Indices from the front."
)


def _rows_back(g: Any, shape: Any, index: Any) -> Any:
    rest = tuple(shape[1:])
    flat = _wrapped(index.reshape(-1), 0, shape[0])
    return g.new_zeros(shape).index_add(0, flat, g.reshape((flat.numel(), *rest)))


row("index", "input, index:i", kernel="index_rows", function=False, method=False, out=False, dtypes="real",
    grad={"input": lambda g, input_shape, index: _rows_back(g, input_shape, index)},
    samples=lambda: (S(T(5, 3), index(4, below=5)), S(T(5, 3, 2), T(2, 2, dtype=_I, values=[[-1, 0], [4, -5]])),
                     S(T(5), index(below=5)), S(T(5, 3), index(0, below=5)), S(T(5, 0), index(2, below=5))),
    errors=lambda: (S(T(5, 3), T(1, dtype=_I, values=[5]), error="IndexError"),
                    S(T(5, 3), T(1, dtype=_I, values=[-6]), error="IndexError"), S(T(5, 3), T(1), error="IndexError"),
                    S(T(), index(2, below=1), error="IndexError")),
    doc="``input[index]`` along the first dimension; negative indices count from the end.")  # fmt: skip
_ROWS, _SELECT = TABLE["index"].op, TABLE["masked_select"].op


def _as_index(item: Any, like: Any) -> Any:
    """A list, array or tensor given as an index, as a tensor."""
    if not isinstance(item, _C.TensorBase):
        item = FUNCTIONS["tensor"](item) if len(item) else FUNCTIONS["tensor"](item, dtype=_dtypes.int64)
    kind = item.dtype
    if kind.is_floating_point or kind.is_complex:
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {kind}")
    return item.to(like.device) if item.device != like.device else item


def _groups(item: Any) -> bool:
    """Whether an item of a list makes that list a tuple of indices."""
    return item is None or item is Ellipsis or isinstance(item, (list, tuple, slice, _C.TensorBase))


def _parse(self: Any, key: Any) -> tuple[Any, list[Any]]:
    """Applies the basic parts of an index: a view, and for each of its dimensions an index tensor or None."""
    if isinstance(key, list) and len(key) < 32 and any(map(_groups, key)):
        key = tuple(key)  # a list of lists is read as a tuple of indices, as PyTorch does
    items = list(key) if isinstance(key, tuple) else [key]
    for place, item in enumerate(items):
        if isinstance(item, (list, range, _C.TensorBase)) or hasattr(item, "__array__"):
            items[place] = _as_index(item, self)
    used = 0
    for item in items:
        if isinstance(item, _C.TensorBase) and item.dtype in (_dtypes.bool, _dtypes.uint8):
            used += item.ndim
        elif item is not None and item is not Ellipsis and not isinstance(item, bool):
            used += 1
    if used > self.ndim:
        raise IndexError(f"too many indices for tensor of dimension {self.ndim}")
    if Ellipsis in (item for item in items if not isinstance(item, _C.TensorBase)):
        at = next(n for n, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (self.ndim - used)
    view, dim = self, 0
    picks: list[Any] = []
    for item in items:
        if item is None:
            view = view.unsqueeze(dim)
            picks.append(None)
            dim += 1
        elif isinstance(item, bool):
            view = view.unsqueeze(dim)
            picks.append(FUNCTIONS["tensor"]([0] if item else [], dtype=_dtypes.int64, device=self.device))
            dim += 1
        elif isinstance(item, slice):
            view = view[(slice(None),) * dim + (item,)]
            picks.append(None)
            dim += 1
        elif isinstance(item, _C.TensorBase):
            if item.dtype in (_dtypes.bool, _dtypes.uint8):
                for d in range(item.ndim):
                    if item.shape[d] != view.shape[dim + d]:
                        raise IndexError(
                            f"The shape of the mask {list(item.shape)} at index {d} does not match the shape of the "
                            f"indexed tensor {list(self.shape)} at index {dim + d}"
                        )
                if item.ndim == 0:
                    view = view.unsqueeze(dim)
                    item = item.reshape(1)
                picks += nonzero(item, as_tuple=True)
                dim += max(item.ndim, 1)
            else:
                picks.append(_wrapped(item.to(_dtypes.int64), dim, view.shape[dim]))
                dim += 1
        elif hasattr(item, "__index__"):
            view = view.select(dim, item.__index__())
        elif isinstance(item, str):
            raise TypeError("a tensor cannot be indexed by text; use integers, slices, None, ... or tensors")
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                f"{type(item).__name__})"
            )
    picks += [None] * (view.ndim - len(picks))
    return view, picks


class _Plan:
    """An advanced index: the view with its indexed dimensions in front, flattened, and the rows to take."""

    def __init__(self, view: Any, picks: Sequence[Any]) -> None:
        self.dims = [d for d, pick in enumerate(picks) if pick is not None]
        rest = [d for d in range(view.ndim) if d not in self.dims]
        self.view = view.permute([*self.dims, *rest])
        given = [pick for pick in picks if pick is not None]
        try:
            self.shape = broadcast_shapes(*(pick.shape for pick in given))
        except RuntimeError:
            shapes = ", ".join(str(list(pick.shape)) for pick in given)
            raise IndexError(
                f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
            ) from None
        sizes = self.view.shape[: len(given)]
        self.count = 1
        rows: Any = None
        for pick, size in zip(given, sizes, strict=True):
            rows = pick if rows is None else rows * size + pick
            self.count *= size
        self.rows = rows.expand(self.shape).reshape(-1)
        self.rest = tuple(self.view.shape[len(given) :])
        self.adjacent = self.dims == list(range(self.dims[0], self.dims[-1] + 1))
        self.first = self.dims[0] if self.adjacent else 0

    def placed(self, result: Any) -> Any:
        """The indexed dimensions moved to where they stood, if they stood together."""
        if not self.first:
            return result
        count = len(self.shape)
        order = [*range(count, count + self.first), *range(count), *range(count + self.first, result.ndim)]
        return result.permute(order)

    def unplaced(self, value: Any) -> Any:
        """The inverse, for a value to be written."""
        if not self.first:
            return value
        count = len(self.shape)
        order = [*range(self.first, self.first + count), *range(self.first), *range(self.first + count, value.ndim)]
        return value.permute(order)


def getitem(self: Any, key: Any) -> Any:
    """``x[key]`` where the key holds tensors, lists or bools: a copy, differentiable."""
    if isinstance(key, _C.TensorBase) and self.ndim:
        # the two common cases, in one call
        kind = key.dtype
        if kind is _dtypes.int64 or kind is _dtypes.int32:
            return _ROWS(self, key if key.device == self.device else key.to(self.device))
        if kind is _dtypes.bool and key.shape == self.shape:
            return _SELECT(self, key)
    view, picks = _parse(self, key)
    if not any(pick is not None for pick in picks):
        return view
    plan = _Plan(view, picks)
    flat = plan.view.reshape((plan.count, *plan.rest))
    return plan.placed(flat.index_select(0, plan.rows).reshape((*plan.shape, *plan.rest)))


def setitem(self: Any, key: Any, value: Any) -> None:
    """``x[key] = value``: a number, a tensor or a sequence, broadcast to the place."""
    if not isinstance(value, (_C.TensorBase, int, float, complex)):
        value = FUNCTIONS["tensor"](value, dtype=self.dtype, device=self.device)
    if isinstance(value, _C.TensorBase) and value.device != self.device and value.ndim == 0:
        value = value.to(self.device)
    if _is_basic(key):
        _write(_GETITEM(self, key), value)
        return
    if (
        isinstance(key, _C.TensorBase)
        and key.dtype is _dtypes.bool
        and key.shape == self.shape
        and (not isinstance(value, _C.TensorBase) or value.ndim == 0)
    ):
        self.masked_fill_(key, value)
        return
    if isinstance(key, _C.TensorBase) and self.ndim and key.dtype in (_dtypes.int64, _dtypes.int32):
        rest = tuple(self.shape[1:])
        values = _spread(self, value, (*key.shape, *rest))
        rows = _wrapped(key.reshape(-1), 0, self.shape[0])
        if rows.numel():
            self.index_copy_(0, rows, values.reshape((rows.numel(), *rest)))
        return
    view, picks = _parse(self, key)
    if not any(pick is not None for pick in picks):
        _write(view, value)
        return
    plan = _Plan(view, picks)
    value = _spread(self, value, plan.placed(_Shape((*plan.shape, *plan.rest))).shape)
    values = plan.unplaced(value).reshape((-1, *plan.rest)) if plan.rows.numel() else None
    if values is None:
        return
    shape = (plan.count, *plan.rest)
    if plan.view.is_contiguous():
        plan.view.view(shape).index_copy_(0, plan.rows, values)
    else:
        changed = plan.view.reshape(shape).index_copy(0, plan.rows, values)
        plan.view.copy_(changed.reshape(plan.view.shape))


def _spread(self: Any, value: Any, shape: tuple[int, ...]) -> Any:
    """A value to be written as a tensor of the target's dtype, expanded to the shape of the place."""
    if not isinstance(value, _C.TensorBase):
        value = self.new_full((), value)
    if value.dtype is not self.dtype:
        value = value.to(self.dtype)
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value.squeeze(0)
    try:
        return value.expand(shape)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        ) from None


class _Shape:
    """A shape that can be permuted, to find the shape of an indexing result without making it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)

    def permute(self, order: Sequence[int]) -> _Shape:
        return _Shape(tuple(self.shape[d] for d in order))


def _is_basic(key: Any) -> bool:
    return all(
        item is None
        or item is Ellipsis
        or isinstance(item, slice)
        or (isinstance(item, int) and not isinstance(item, bool))
        for item in (key if isinstance(key, tuple) else (key,))
    )


def _write(view: Any, value: Any) -> None:
    if isinstance(value, _C.TensorBase):
        while value.ndim > view.ndim and value.shape[0] == 1:
            value = value.squeeze(0)
        view.copy_(value)
    else:
        view.fill_(value)


_GETITEM = TABLE["getitem"].op
