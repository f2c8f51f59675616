"""``x[...]`` and ``x[...] = y`` with tensors, masks and lists; index_put, take and put."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.index import index, nonzero
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import view as view_
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS, TABLE, composite, row

_I = "int64"

row("index", "input, indices:I", function=False, method=False, dtypes="any",
    grad={"input": lambda g, input_shape, indices: _PUT(g.new_zeros(input_shape), indices, g, True)},
    samples=lambda: (S(T(5, 3), [index(4, below=5)]), S(T(5, 3, 2), [T(2, 2, dtype=_I, values=[[-1, 0], [4, -5]])]),
                     S(T(5), [index(below=5)]), S(T(5, 3), [index(0, below=5)]), S(T(5, 0), [index(2, below=5)]),
                     S(T(5, 3, 2), [None, index(4, below=3), index(2, 1, below=2)]),
                     S(T(5, 3, 2), [index(4, below=5), None, index(4, below=2)])),
    errors=lambda: (S(T(5, 3), [T(1, dtype=_I, values=[5])], error="IndexError"),
                    S(T(5, 3), [T(1, dtype=_I, values=[-6])], error="IndexError"),
                    S(T(5, 3), [T(1)], error="IndexError"),
                    S(T(5, 3), [index(2, below=5), index(3, below=3)], error="IndexError"),
                    S(T(), [index(2, below=1)], error="IndexError")),
    doc="``input[indices]``: an index tensor, or None, for each of the first dimensions; they broadcast.")  # fmt: skip
row("index_put", "input, indices:I, values, accumulate=False", function=False, method=False, dtypes="any", inplace=True,
    grad={
        "input": lambda g, indices, accumulate: g if accumulate else _PUT(g, indices, g.new_zeros(()), False),
        "values": lambda g, indices, values_shape: _values_back(g, indices, values_shape),
    }, samples=lambda: (S(T(5, 3), [T(2, dtype=_I, values=[3, -5])], T(2, 3)),
                        S(T(5, 3), [index(6, below=5)], T(6, 3), True),
                        S(T(5, 3, 2), [None, T(2, dtype=_I, values=[2, 0]), T(2, dtype=_I, values=[1, 0])], T(5, 1)),
                        S(T(5, 3, 2), [index(4, below=5), None, index(3, 1, below=2)], T(3), True)),
    errors=lambda: (S(T(5, 3), [T(1, dtype=_I, values=[5])], T(3), error="IndexError"),
                    S(T(5, 3), [index(2, below=5)], T(4), error="RuntimeError")),
    doc="``input`` with ``values`` (broadcast) written, or added, at the places that ``input[indices]`` shows.",
)  # fmt: skip
_INDEX: Any = TABLE["index"].op
_PUT: Any = TABLE["index_put"].op
_PUT_: Any = TABLE["index_put"].inplace_op
_GETITEM: Any = TABLE["getitem"].op
_SELECT: Any = TABLE["masked_select"].op
_MASKS = (_dtypes.bool, _dtypes.uint8)


def _values_back(g: Any, indices: Any, shape: Any) -> Any:
    taken = _INDEX(g, indices)
    extra = len(shape) - taken.ndim
    return taken.sum_to_size(shape) if extra <= 0 else taken.sum_to_size(shape[extra:]).reshape(shape)


# ---------------------------------------------------------------- what a key means


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


def _warn_of_bytes() -> None:
    warnings.warn(
        "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", stacklevel=5
    )


def _masked(view: Any, mask: Any, dim: int, whole: Any) -> tuple[Any, list[Any]]:
    """A mask over some dimensions from ``dim`` on, as index vectors; several dimensions become one where they can."""
    if mask.dtype is _dtypes.uint8:
        _warn_of_bytes()
    for d in range(mask.ndim):
        if mask.shape[d] != view.shape[dim + d]:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {d} does not match the shape of the indexed tensor "
                f"{list(whole.shape)} at index {dim + d}"
            )
    if mask.ndim == 0:
        return view.unsqueeze(dim), [nonzero(mask.reshape(1)).reshape(-1)]
    last = dim + mask.ndim - 1
    shape, strides = view.shape, view._strides
    if mask.ndim > 1 and all(strides[d] == strides[d + 1] * shape[d + 1] for d in range(dim, last)):
        size = math.prod(shape[dim : last + 1])
        return view_(view, (*shape[:dim], size, *shape[last + 1 :])), [nonzero(mask.reshape(-1)).reshape(-1)]
    return view, list(nonzero(mask, as_tuple=True))


def _parse(self: Any, key: Any) -> tuple[Any, list[Any]]:
    """Applies the basic parts of an index: a view, and for each of its dimensions an index tensor or None."""
    if isinstance(key, list) and len(key) < 32 and any(map(_groups, key)):
        key = tuple(key)  # a list of lists is read as a tuple of indices, as PyTorch does
    items = list(key) if isinstance(key, tuple) else [key]
    for place, item in enumerate(items):
        if isinstance(item, (list, range, _C.TensorBase)):
            items[place] = _as_index(item, self)
        elif hasattr(item, "__array__"):
            # a number of NumPy's is a number (one that is no index stays, to be named below), an array an index tensor
            if getattr(item, "ndim", None) != 0:
                items[place] = _as_index(item, self)
            elif isinstance(item.item(), int):
                items[place] = item.item()
    used = 0
    for item in items:
        if isinstance(item, _C.TensorBase) and item.dtype in _MASKS:
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
        elif isinstance(item, bool):
            view = view.unsqueeze(dim)
            picks.append(FUNCTIONS["tensor"]([0] if item else [], dtype=_dtypes.int64, device=self.device))
        elif isinstance(item, slice):
            view = _GETITEM(view, (slice(None),) * dim + (item,)) if item != _ALL else view
            picks.append(None)
        elif isinstance(item, _C.TensorBase):
            if item.dtype in _MASKS:
                view, found = _masked(view, item, dim, self)
                picks += found
            else:
                picks.append(item)
        elif hasattr(item, "__index__"):
            view = view.select(dim, item.__index__())
        elif isinstance(item, str):
            raise TypeError("a tensor cannot be indexed by text; use integers, slices, None, ... or tensors")
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                f"{type(item).__name__})"
            )
        dim = len(picks)
    return view, picks


_ALL = slice(None)


def _plain(self: Any, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The indices of a key of whole dimensions and index tensors alone, which needs no view."""
    found: list[Any] = []
    some = False
    for item in key:
        if isinstance(item, _C.TensorBase):
            if item.dtype is not _dtypes.int64 or item.device != self.device:
                return None
            some = True
            found.append(item)
        elif type(item) is slice and item == _ALL:
            found.append(None)
        else:
            return None
    return tuple(found) if some and len(found) <= self.ndim else None


def getitem(self: Any, key: Any) -> Any:
    """``x[key]`` where the key holds tensors, lists or bools: a copy, differentiable."""
    if isinstance(key, _C.TensorBase) and self.ndim:
        # the two common cases, in one call
        kind = key.dtype
        if kind is _dtypes.int64 or kind is _dtypes.int32:
            return _INDEX(self, (key if key.device == self.device else key.to(self.device),))
        if kind is _dtypes.bool and key.shape == self.shape:
            return _SELECT(self, key)
    elif type(key) is tuple:
        plain = _plain(self, key)
        if plain is not None:
            return _INDEX(self, plain)
    view, picks = _parse(self, key)
    if all(pick is None for pick in picks):
        return view
    return _INDEX(view, tuple(picks))


def setitem(self: Any, key: Any, value: Any) -> None:
    """``x[key] = value``: a number, a tensor or a sequence, broadcast to the place."""
    if not isinstance(value, (_C.TensorBase, int, float, complex)):
        value = FUNCTIONS["tensor"](value, dtype=self.dtype, device=self.device)
    if isinstance(value, _C.TensorBase) and value.device != self.device and value.ndim == 0:
        value = value.to(self.device)
    if _is_basic(key):
        _write(_GETITEM(self, key), value)
        return
    scalar = not isinstance(value, _C.TensorBase) or value.ndim == 0
    if scalar and isinstance(key, _C.TensorBase) and key.dtype is _dtypes.bool and key.shape == self.shape:
        self.masked_fill_(key, value)
        return
    plain = _plain(self, key) if type(key) is tuple else None
    view, picks = (self, plain) if plain is not None else _parse(self, key)
    if all(pick is None for pick in picks):
        _write(view, value)
        return
    if not isinstance(value, _C.TensorBase):
        value = self.new_full((), value)
    elif value.dtype is not self.dtype:
        value = value.to(self.dtype)
    _PUT_(view, tuple(picks), value, False)


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


# ---------------------------------------------------------------- the same by name


def _expanded(self: Any, indices: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Index tensors with masks replaced by what they stand for, and the tensor with a dimension for each."""
    view = self
    picks: list[Any] = []
    used = sum(i.ndim if i is not None and i.dtype in _MASKS else 1 for i in indices)
    if used > self.ndim:
        raise IndexError(f"too many indices for tensor of dimension {self.ndim} (got {used})")
    for item in indices:
        if item is not None and item.dtype in _MASKS:
            view, found = _masked(view, item, len(picks), self)
            picks += found
        else:
            picks.append(item)
    return view, tuple(picks)


def _tensor_value(name: str, self: Any, values: Any) -> Any:
    if isinstance(values, _C.TensorBase):
        return values
    raise TypeError(f"{name}(): argument 'values' must be Tensor, not {type(values).__name__}")


def _check_indices(name: str, indices: Any) -> None:
    if isinstance(indices, _C.TensorBase):
        raise TypeError(f"{name}(): argument 'indices' (position 2) must be tuple of Tensors, not Tensor")


@composite("index_put")
def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """A copy with ``values`` written (or added, with ``accumulate``) where ``input[indices]`` shows.

    Values broadcast; of equal places, the last one written stays. Reference: ``torch.index_put``.
    """
    _check_indices("index_put", indices)
    view, picks = _expanded(input, indices)
    made = _PUT(view, picks, _tensor_value("index_put", input, values), accumulate)
    return made if view is input else made.reshape(input.shape)


@composite("index_put_")
def index_put_(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """``index_put`` in place. Reference: ``torch.Tensor.index_put_``."""
    _check_indices("index_put_", indices)
    view, picks = _expanded(input, indices)
    _PUT_(view, picks, _tensor_value("index_put_", input, values), accumulate)
    return input


@composite("_index_put_impl_", method=False)
def _index_put_impl_(
    self: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, unsafe: bool = False
) -> Any:
    """``index_put_`` by the name that PyTorch has inside."""
    return index_put_(self, indices, values, accumulate)


@composite("take")
def take(input: Any, index: Any, *, out: Any = None) -> Any:
    """Elements by their place in the flattened input. Reference: ``torch.take``."""
    if index.dtype is not _dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {_dtypes.TYPE_NAMES[index.dtype]}")
    if not input.numel() and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    flat = input.reshape(-1)
    return _INDEX(flat, (index,)) if out is None else _INDEX(flat, (index,), out=out)


def _into(out: Any, made: Any) -> Any:
    """Writes a result to an ``out=`` tensor."""
    if not isinstance(out, _C.TensorBase):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if not _dtypes.can_cast(made.dtype, out.dtype):
        raise RuntimeError(f"result type {made.dtype} can't be cast to the desired output type {out.dtype}")
    return write(out, made)


@composite("take_along_dim")
def take_along_dim(input: Any, indices: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """``input.gather`` with broadcast indices; without ``dim`` from the flattened input.

    Reference: ``torch.take_along_dim``.
    """
    if indices.dtype is not _dtypes.int64:
        raise RuntimeError("torch.take_along_dim(): dtype of indices should be Long but got " + str(indices.dtype))
    if dim is None:
        made = input.reshape(-1).gather(0, indices.reshape(-1))
    else:
        if input.ndim != indices.ndim:
            raise RuntimeError(
                "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
                f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
            )
        if not input.ndim:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        shapes = [list(t.shape) for t in (input, indices)]
        place = wrap_dim(dim, input.ndim)
        for shape in shapes:
            shape[place] = 1
        common = FUNCTIONS["broadcast_shapes"](*map(tuple, shapes))
        wide = [tuple(common[:place]) + (t.shape[place],) + tuple(common[place + 1 :]) for t in (input, indices)]
        source = input.expand(wide[0])
        # other than in gather, indices go round
        made = source.gather(place, indices.expand(wide[1]) % max(source.shape[place], 1))
    return made if out is None else _into(out, made)


def _unravel(flat: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    parts: list[Any] = []
    for size in reversed(shape):
        parts.append(flat % max(size, 1))
        flat = flat.div(max(size, 1), rounding_mode="floor")
    return tuple(reversed(parts))


def _check_put(name: str, self: Any, index: Any, source: Any) -> None:
    if index.dtype is not _dtypes.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {_dtypes.TYPE_NAMES[index.dtype]}")
    if self.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got self.dtype = "
            f"{_dtypes.TYPE_NAMES[self.dtype]} and source.dtype = {_dtypes.TYPE_NAMES[source.dtype]}"
        )
    if index.numel() != source.numel():
        raise RuntimeError(
            f"{name}(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    if not self.numel() and index.numel():
        raise IndexError(f"{name}(): tried to put elements into an empty tensor")


@composite("put")
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """A copy with ``source`` written at places of the flattened input. Reference: ``torch.Tensor.put``."""
    _check_put("put_", input, index, source)
    flat = _PUT(input.reshape(-1), (index.reshape(-1),), source.reshape(-1), accumulate)
    return flat.reshape(input.shape)


@composite("put_", function=False)
def put_(self: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """``put`` in place. Reference: ``torch.Tensor.put_``."""
    _check_put("put_", self, index, source)
    index, source = index.reshape(-1), source.reshape(-1)
    if self._contiguous and self.ndim == 1:
        return _PUT_(self, (index,), source, accumulate)
    if self.ndim == 0:
        _PUT_(self.unsqueeze(0), (index,), source, accumulate)
        return self
    size = self.numel()
    bad = ((index < -size) | (index >= size)).nonzero()
    if bad.numel():
        raise IndexError(
            f"out of range: tried to access index {index[bad[0, 0]].item()} on a tensor of {size} elements."
        )
    return _PUT_(self, _unravel(index % max(size, 1), self.shape), source, accumulate)


@composite("unravel_index", method=False)
def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Coordinates, one tensor for each dimension, of places in a flattened tensor of ``shape``.

    Reference: ``torch.unravel_index``.
    """
    if not isinstance(indices, _C.TensorBase):
        raise TypeError(f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}")
    kind = indices.dtype
    if kind.is_floating_point or kind.is_complex or kind is _dtypes.bool:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {kind}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for size in sizes:
        if not isinstance(size, int):
            raise TypeError(f"unravel_index(): shape must hold integers, got {type(size).__name__}")
        if size < 0:
            raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    return _unravel(indices, sizes)
