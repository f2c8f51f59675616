"""Copying and pickling tensors with the memory behind them: tensors that share memory still share it afterwards."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

from dumbtorch import _C, _dtypes, _interop

__all__ = ["Memory", "deepcopied", "memory_of", "over", "reduced"]

_R = _C.required
_BYTES = _C.make_op("storage_bytes", "_storage_bytes", ("self",), (_R,), 1, ".", 0, "The whole storage as uint8.")
_OVER = _C.make_op("over_storage", "_over_storage", ("memory", "dtype", "offset", "shape", "strides"), (_R,) * 5, 5,
                   ".....", 0, "A tensor on a storage, by its layout.")  # fmt: skip

# State of autograd that hangs on an instance and does not travel.
_PRIVATE = frozenset({"_leaf_hooks", "_accumulator", "_retains"})


class Memory:
    """The storage behind tensors as one object, so that pickle and deepcopy meet it once.

    ``bytes`` is a 1-dim uint8 tensor over all of it. There is one object for each storage while it is referenced.
    """

    __slots__ = ("__weakref__", "bytes")

    def __init__(self, data: Any) -> None:
        self.bytes = data

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        made = Memory(self.bytes.clone())
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        here = self.bytes.to("cpu")
        view = memoryview(here)
        data = pickle.PickleBuffer(view) if int(protocol) >= 5 else view.tobytes()
        return _memory_from, (data, str(self.bytes.device))


_memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()


def _memory_from(data: Any, device: str) -> Memory:
    view = memoryview(data)
    # a copy: the pickle's own bytes may be read-only or belong to somebody else
    if view.nbytes:
        made = _interop._FROM_BYTES(view, _dtypes.uint8).clone()
    else:
        made = _interop._FROM_DATA([], _dtypes.uint8)
    return Memory(made if device == "cpu" else made.to(device))


def memory_of(t: Any) -> Memory:
    """The storage behind a tensor."""
    key = t._storage_id
    found = _memories.get(key)
    if found is None:
        # it keeps the storage alive, so that the key stays its own
        found = _memories[key] = Memory(_BYTES(t))
    return found


def over(memory: Memory, dtype: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The tensor that shows a storage in this layout. Raises RuntimeError where it would reach outside."""
    return _OVER(memory.bytes, dtype, offset, shape, strides)


def _state(t: Any) -> dict[str, Any]:
    return {name: value for name, value in getattr(t, "__dict__", {}).items() if name not in _PRIVATE}


def _finished(made: Any, cls: Any, requires_grad: bool, state: dict[str, Any]) -> Any:
    if type(made) is not cls:
        made = made._as_class(cls)
    if requires_grad:
        made.requires_grad = True
    if state:
        made.__dict__.update(state)
    return made


def _rebuilt(
    cls: Any, memory: Memory, dtype: Any, offset: int, shape: Any, strides: Any, requires_grad: bool, state: Any
) -> Any:
    """Makes a pickled tensor again."""
    return _finished(over(memory, dtype, offset, shape, strides), cls, requires_grad, state)


def reduced(self: Any) -> Any:
    """How a tensor pickles: its class, storage, layout and whether it requires grad; no history."""
    layout = (self.dtype, self._offset, tuple(self.shape), self.stride())
    return _rebuilt, (type(self), memory_of(self), *layout, self.requires_grad, _state(self))


def deepcopied(self: Any, memo: dict[int, Any]) -> Any:
    """A copy of a leaf tensor, its memory and its gradient; what shares memory inside one deepcopy still does.

    Raises RuntimeError for a tensor with a history.
    """
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a parametrization or a cached result: "
            "detach the tensor first."
        )
    memory = copy.deepcopy(memory_of(self), memo)
    t = over(memory, self.dtype, self._offset, tuple(self.shape), self.stride())
    made = _finished(t, type(self), self.requires_grad, {})
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = copy.deepcopy(self.grad, memo)
    state = copy.deepcopy(_state(self), memo)
    if state:
        made.__dict__.update(state)
    return made
