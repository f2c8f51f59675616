"""Pickles as PyTorch writes and reads them: the names in them are PyTorch's, tensors name their storages."""

from __future__ import annotations

import importlib
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from dumbtorch import _dtypes, _formats, _storage, _utils, storage
from dumbtorch._tensor import Tensor
from dumbtorch.nn.modules._state import StateDict
from dumbtorch.nn.parameter import Buffer, Parameter
from dumbtorch.storage import CLASSES, TypedStorage, UntypedStorage

__all__ = ["Pickler", "Unpickler", "location_of"]

#: Element types that PyTorch's files write with an untyped storage: their classes came later.
V3_DTYPES = frozenset({
    _dtypes.float8_e4m3fn, _dtypes.float8_e5m2, _dtypes.uint16, _dtypes.uint32, _dtypes.uint64,
})  # fmt: skip


def location_of(memory: UntypedStorage) -> str:
    """The tag of a storage's device: ``cpu``, ``cuda:0``."""
    return str(memory.device)


def _get_layout(name: str) -> Any:  # named in pickles, called by whoever reads them
    for layout in (_dtypes.strided, _dtypes.sparse_coo):
        if name == str(layout):
            return layout
    raise RuntimeError(f"there is no layout {str(name)[:40]}")


#: Functions that PyTorch keeps elsewhere.
_MOVED: dict[tuple[str, str], Any] = {
    ("torch.serialization", "_get_layout"): _get_layout,
    ("torch._tensor", "_rebuild_from_type_v2"): _utils._rebuild_from_type_v2,
}
_NAMES = {id(value): name for name, value in _MOVED.items()}
_NAMES |= {id(kind): ("torch", name) for name, kind in CLASSES.items()}


def _public(module: str) -> str:
    """PyTorch's name of a module of ours: parts with an underscore of our own stand for the package around them."""
    parts = module.split(".")
    while len(parts) > 1 and parts[-1].startswith("_") and parts[-1] not in ("_utils", "_tensor"):
        parts.pop()
    return ".".join(["torch", *parts[1:]])


# mypy takes the undocumented class for the other one
_Base: Any = pickle._Pickler


class Pickler(_Base):  # type: ignore[misc]
    """Writes one object. `storages` gathers the storages that it needs, by their keys in the file.

    The Python version of the pickler: the other one insists that every name it writes can be imported.
    """

    def __init__(self, file: Any, protocol: int, identify: Callable[[UntypedStorage, Any, str, Any, int], Any]) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, UntypedStorage] = {}
        self._identify = identify
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, Any] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write one object."""
        if type(obj) is Tensor and self.proto >= 2 and id(obj) not in self.memo and not _storage._state(obj):
            function, args = _plain(obj)
            if function is _utils._rebuild_tensor_v2 and len(args) == 6:
                self._save_tensor(obj, *args)
                return
        super().save(obj, save_persistent_id)

    def _save_tensor(
        self, tensor: Any, memory: Any, offset: int, shape: Any, strides: Any, requires_grad: bool, hooks: Any
    ) -> None:
        """Write a plain tensor: what `save` would write of `_reduced`, in a third of the time, since nothing inside is
        looked up or noted as seen."""
        write = self.write
        self.save(_utils._rebuild_tensor_v2)
        write(pickle.MARK)
        tag, kind, key, location, *rest = self.persistent_id(memory)
        write(pickle.MARK)
        self.save(tag)
        self.save(kind)
        write(_text(key))
        self.save(sys.intern(location))
        for value in rest:
            self.save(value)
        write(pickle.TUPLE + pickle.BINPERSID + _whole(offset) + _wholes(shape) + _wholes(strides))
        write(pickle.NEWTRUE if requires_grad else pickle.NEWFALSE)
        self.save(OrderedDict)
        write(pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.TUPLE + pickle.REDUCE)
        self.memoize(tensor)

    def persistent_id(self, obj: Any) -> Any:
        """Storages are written outside of the pickle."""
        if isinstance(obj, TypedStorage):
            memory, dtype = obj.untyped(), obj.dtype
            kind: Any = CLASSES.get(f"{_dtypes.TYPE_NAMES[obj.dtype]}Storage")
            if kind is None:
                raise RuntimeError(f"storages of {dtype!r} cannot be saved: save their untyped() storage instead")
            count = obj.size()
        elif isinstance(obj, UntypedStorage):
            memory, dtype, kind, count = obj, _dtypes.uint8, UntypedStorage, obj.nbytes()
        else:
            return None
        token = memory.bytes._storage_id
        if memory.nbytes() and self._dtypes.setdefault(token, dtype) is not dtype:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        key = self._keys.setdefault(token, str(len(self._keys)))
        self.storages[key] = memory
        return self._identify(memory, kind, key, dtype, count)

    def reducer_override(self, obj: Any) -> Any:
        """Tensors and state dicts become what PyTorch makes of its own."""
        kind = type(obj)
        if isinstance(obj, Tensor):
            if kind.__reduce_ex__ not in _OWN_REDUCE:
                return NotImplemented  # a subclass that knows better
            return _reduced(obj)
        if kind is StateDict:
            state = {"_metadata": obj._metadata} if hasattr(obj, "_metadata") else None
            return OrderedDict, (), state, None, iter(obj.items())
        if kind is _dtypes.layout:
            return _get_layout, (str(obj),)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a name, a name of ours as PyTorch's."""
        found = _NAMES.get(id(obj))
        if found is None:
            if isinstance(obj, (_dtypes.dtype, _formats.memory_format)):
                found = ("torch", str(obj).removeprefix("torch."))
            else:
                module = getattr(obj, "__module__", None)
                if not isinstance(module, str) or module.split(".")[0] != "dumbtorch":
                    super().save_global(obj, name)
                    return
                found = (_public(module), name or obj.__qualname__)
        module, name = found
        if find_class(module, name) is not obj:
            raise pickle.PicklingError(f"Can't pickle {obj}: it is not found as {module}.{name}")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = _Base.dispatch.copy()
    dispatch[type(_get_layout)] = save_global


def _text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _whole(value: int) -> bytes:
    if 0 <= value < 256:
        return pickle.BININT1 + bytes((value,))
    if -(2**31) <= value < 2**31:
        return pickle.BININT + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes((len(data),)) + data


_TUPLES = (pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)


def _wholes(values: Any) -> bytes:
    body = b"".join(map(_whole, values))
    return body + _TUPLES[len(values)] if len(values) <= 3 else pickle.MARK + body + pickle.TUPLE


_OWN_REDUCE = {Tensor.__reduce_ex__, Parameter.__reduce_ex__, Buffer.__reduce_ex__}


def _plain(t: Any) -> tuple[Any, tuple[Any, ...]]:
    """How a tensor's elements are written: the function that makes it again, and what that needs."""
    memory = storage.storage_of(t)
    layout: tuple[Any, ...] = (t._offset, tuple(t.shape), t.stride(), t.requires_grad, OrderedDict())
    marks = {name: True for name, bit in (("conj", 16), ("neg", 32)) if t._flags & bit}
    last = (marks,) if marks else ()
    if t.dtype in V3_DTYPES:
        return _utils._rebuild_tensor_v3, (memory, *layout, t.dtype, *last)
    typed = TypedStorage._of(memory, t.dtype)
    return _utils._rebuild_tensor_v2, (typed, *layout, *last)


def _reduced(t: Any) -> tuple[Any, tuple[Any, ...]]:
    state = _storage._state(t)
    if isinstance(t, Parameter):
        data = t._alias() if type(t) is Parameter else t.detach()
        if not state and type(t) is Parameter:
            return _utils._rebuild_parameter, (data, t.requires_grad, OrderedDict())
        if type(t) is Parameter:
            return _utils._rebuild_parameter_with_state, (data, t.requires_grad, OrderedDict(), state)
    function, args = _plain(t)
    kind = type(t)
    if kind is Buffer:  # a plain tensor with two attributes, as PyTorch's buffers are
        kind, state = Tensor, {**state, "persistent": t.persistent, "_is_buffer": True}
    if kind is Tensor and not state:
        return function, args
    return _utils._rebuild_from_type_v2, (function, kind, args, state)


# ---------------------------------------------------------------- reading


def find_class(module: str, name: str) -> Any:
    """What a name of PyTorch's stands for here. Raises AttributeError or ImportError where there is nothing."""
    moved = _MOVED.get((module, name))
    if moved is not None:
        return moved
    value: Any = importlib.import_module("dumbtorch" + module.removeprefix("torch"))
    for part in name.split("."):
        value = getattr(value, part)
    return value


class Unpickler(pickle.Unpickler):
    """Reads a pickle as the pickle module does, which may run any code; PyTorch's names mean ours."""

    def __init__(self, file: Any, persistent: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(file, **options)
        self._persistent = persistent

    def persistent_load(self, pid: Any) -> Any:
        """Storages lie outside of the pickle."""
        return self._persistent(pid)

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up, one of PyTorch's among ours."""
        if module.split(".")[0] != "torch":
            return super().find_class(module, name)
        try:
            return find_class(module, name)
        except (AttributeError, ImportError) as error:
            raise pickle.UnpicklingError(f"the file needs {module}.{name}, which dumbtorch has not: {error}") from error
