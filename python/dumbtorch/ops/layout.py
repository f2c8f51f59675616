"""How a tensor lies in memory: formats, resizing, in-place changes of its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from dumbtorch import _C, _formats
from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.shape import as_strided, sizes
from dumbtorch.ops.table import METHODS, composite
from dumbtorch.storage import storage_of

_R = _C.required
_SHAPE = _C.make_op("set_", "_set_shape", ("input", "shape", "strides", "offset"), (_R,) * 4, 4, "....", 0, "Layout.")


# ---------------------------------------------------------------- memory formats

_ORDERS = {"channels_last": (1, 3, 2, 0), "channels_last_3d": (1, 4, 3, 2, 0)}


def dense_strides(shape: Sequence[int], format: Any = None) -> tuple[int, ...]:
    """The strides of a tensor without gaps, row-major or in a channels-last format."""
    name = getattr(format, "name", "contiguous_format")
    order = _ORDERS.get(name, tuple(range(len(shape) - 1, -1, -1)))
    if len(order) != len(shape):
        raise RuntimeError(f"required rank {len(order)} tensor to use {name} format")
    strides, step = [0] * len(shape), 1
    for d in order:
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


@composite("is_contiguous", function=False)
def is_contiguous(self: Any, memory_format: Any = _formats.contiguous_format) -> bool:
    """Whether the elements lie in order without gaps, in the given format. Reference: ``Tensor.is_contiguous``."""
    order = _ORDERS.get(getattr(memory_format, "name", ""))
    if order is None:
        return bool(self._contiguous)
    if self.ndim != len(order):
        return False
    step, shape, strides = 1, self.shape, self._strides
    for d in order:
        if shape[d] != 1:
            if strides[d] != step:
                return False
            step *= shape[d]
    return True


def suggested_format(t: Any) -> Any:
    """The format that a tensor's strides look like."""
    for name, order in _ORDERS.items():
        if t.ndim != len(order):
            continue
        least, shape, strides = 0, t.shape, t._strides
        if strides[1] == 0:
            break
        for d in order:
            if shape[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
                break
            least = strides[d] * max(shape[d], 1)
        else:
            return getattr(_formats, name)
    return _formats.contiguous_format


@composite("contiguous", function=False)
def contiguous(self: Any, memory_format: Any = _formats.contiguous_format) -> Any:
    """The tensor itself if its elements lie in order, else a copy where they do. Reference: ``Tensor.contiguous``."""
    if memory_format is _formats.contiguous_format or memory_format is None:
        return self if self._contiguous else self.clone(memory_format=_formats.contiguous_format)
    if is_contiguous(self, memory_format):
        return self
    if memory_format is _formats.preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return self.clone(memory_format=memory_format)


@composite("dim_order", function=False)
def dim_order(self: Any, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the slowest to the fastest in memory. Reference: ``torch.Tensor.dim_order``."""
    strides = self._strides
    return tuple(sorted(range(self.ndim), key=lambda d: -strides[d]))


# ---------------------------------------------------------------- in-place views


def _check_writable(self: Any) -> None:
    if is_grad_enabled() and self.requires_grad and self.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def _inplace(name: str, view: Callable[..., Any], aliases: tuple[str, ...] = (), function: bool = False) -> None:
    """Exports ``NAME_``: the tensor becomes what its view would be."""

    def made(self: Any, *args: Any, **kwargs: Any) -> Any:
        _check_writable(self)
        shown = view(self, *args, **kwargs)
        node, number = shown.grad_fn, shown.output_nr
        self._set_data(shown)
        self._bump()
        if node is not None:
            self._attach(node, number)
        return self

    made.__name__ = made.__qualname__ = name + "_"
    made.__doc__ = f"``{name}`` in place: the same object with another layout. Reference: ``torch.Tensor.{name}_``."
    composite(name + "_", *(f"{alias}_" for alias in aliases), function=function)(made)


_inplace("transpose", METHODS["transpose"], ("swapdims",))
_inplace("swapaxes", METHODS["swapaxes"])
_inplace("t", METHODS["t"])
_inplace("squeeze", METHODS["squeeze"])
_inplace("unsqueeze", METHODS["unsqueeze"])
_inplace("as_strided", as_strided, function=True)


# ---------------------------------------------------------------- storage


@composite("is_set_to", function=False)
def is_set_to(self: Any, tensor: Any) -> bool:
    """Whether two tensors show the same memory in the same layout. Reference: ``torch.Tensor.is_set_to``."""
    return bool(
        self._storage_id == tensor._storage_id
        and self._offset == tensor._offset
        and self.shape == tensor.shape
        and self._strides == tensor._strides
    )


@composite("resize_", function=False)
def resize_(self: Any, *size: Any, memory_format: Any = None) -> Any:
    """Gives the tensor another shape; its storage grows where that is needed, and keeps what it holds.

    New elements are not initialised. Raises RuntimeError for a tensor that requires grad, and where the memory belongs
    to somebody else. Reference: ``torch.Tensor.resize_``.
    """
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if memory_format is _formats.preserve_format:
        raise RuntimeError("Unsupported memory format Preserve")
    given = sizes(size)
    shape = tuple(given) if hasattr(given, "__len__") else (given,)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    if tuple(self.shape) == shape and memory_format is None:
        return self
    wanted = (prod(shape) + self._offset) * self.itemsize if prod(shape) else 0
    memory = storage_of(self)
    if wanted > memory.nbytes():
        memory.resize_(wanted)
    return _SHAPE(self, shape, dense_strides(shape, memory_format), self._offset)


@composite("resize_as_")
def resize_as_(input: Any, the_template: Any, *, memory_format: Any = None) -> Any:
    """``resize_`` to another tensor's shape. Reference: ``torch.Tensor.resize_as_``."""
    if memory_format is _formats.preserve_format:
        memory_format = suggested_format(the_template)
    return resize_(input, tuple(the_template.shape), memory_format=memory_format)


@composite("set_", function=False)
def set_(self: Any, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Any:
    """Makes the tensor show the memory of another tensor or of a storage, in the given layout.

    Without arguments it becomes empty. Dtypes must agree. Reference: ``torch.Tensor.set_``.
    """
    _check_writable(self)
    if source is None:
        self._set_data(self.new_empty((0,)))
        return self
    if isinstance(source, _C.TensorBase):
        if source.dtype is not self.dtype:
            raise RuntimeError(f"Could not set tensor of type {source.dtype} to a tensor of type {self.dtype}")
        if size is None:
            self._set_data(source.detach())
            return self
        memory = source.detach()
    else:
        flat = source.untyped().bytes
        if flat.numel() % self.itemsize:
            flat = flat[: flat.numel() // self.itemsize * self.itemsize]
        memory = flat.view(self.dtype)
        size = tuple(memory.shape) if size is None else size
    shape = (size,) if isinstance(size, int) else tuple(size)
    self._set_data(as_strided(memory, shape, stride or dense_strides(shape), storage_offset))
    return self
