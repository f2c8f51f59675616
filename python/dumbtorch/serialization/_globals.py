"""The names that a pickle may use: what each stands for, and what may be called.

The table holds what tensors and state dicts are made of. `add_safe_globals` adds to it what a program trusts.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from dumbtorch import _device, _dtypes, _formats, _legacy, _utils, storage
from dumbtorch._size import Size
from dumbtorch._tensor import Tensor
from dumbtorch.nn.parameter import Parameter
from dumbtorch.serialization._machine import UnpicklingError, checked_key

__all__ = ["Allowed", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "safe_globals"]

_BLOCKED = ("sys", "os", "posix", "nt")
_user: set[Any] = set()
_lock = threading.Lock()


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets `load` with ``weights_only=True`` make objects of these classes and call these functions.

    An entry may be a pair of the object and the name that files use for it. Reference:
    ``torch.serialization.add_safe_globals``.
    """
    with _lock:
        _user.update(safe_globals)


def get_safe_globals() -> list[Any]:
    """What `add_safe_globals` has added. Reference: ``torch.serialization.get_safe_globals``."""
    return list(_user)


def clear_safe_globals() -> None:
    """Takes back all that `add_safe_globals` has added. Reference: ``torch.serialization.clear_safe_globals``."""
    with _lock:
        _user.clear()


class safe_globals:
    """`add_safe_globals` for the time of a ``with`` block. Reference: ``torch.serialization.safe_globals``."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.safe_globals = list(safe_globals)

    def __enter__(self) -> None:
        add_safe_globals(self.safe_globals)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            _user.difference_update(self.safe_globals)


def user_globals() -> dict[str, Any]:
    """What the program trusts, by the names that files use."""
    found = {}
    for entry in _user:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError(
                    "Expected tuple of length 2 (global, str of callable full path), but got tuple of length: "
                    f"{len(entry)}"
                )
            value, name = entry
            if type(name) is not str:
                raise TypeError(f"Expected second item in tuple to be str of callable full path, but got: {type(name)}")
            found[name] = value
        else:
            name = f"{entry.__module__}.{entry.__qualname__}"
            found[name] = entry
            if name.startswith("dumbtorch."):
                found["torch" + name[9:]] = entry
    return found


# ---------------------------------------------------------------- the builders: each checks what a file gives it


def _pairs(*args: Any) -> list[tuple[Any, Any]]:
    """The items that a dictionary is made of."""
    if not args:
        return []
    (given,) = args
    items = list(given.items()) if isinstance(given, dict) else given
    if type(items) not in (list, tuple):
        raise UnpicklingError(f"a dictionary is made of a list of pairs, not of {type(given).__name__}")
    for item in items:
        if type(item) not in (list, tuple) or len(item) != 2:
            raise UnpicklingError("a dictionary is made of a list of pairs")
        checked_key(item[0])
    return list(items)


def _ordered_dict(*args: Any) -> Any:
    return OrderedDict(_pairs(*args))


def _counter(*args: Any) -> Any:
    return Counter(dict(_pairs(*args)))


def _set(*args: Any) -> Any:
    (given,) = args or ((),)
    if type(given) not in (list, tuple, set, frozenset):
        raise UnpicklingError(f"a set is made of a list, not of {type(given).__name__}")
    return {checked_key(value) for value in given}


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """``_codecs.encode``, with which pickles of protocol 2 write bytes."""
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise UnpicklingError("bytes are made of a text and the name of its encoding")
    return text.encode(encoding)


def _bytearray(*args: Any) -> bytearray:
    if not args:
        return bytearray()
    if len(args) == 1 and isinstance(args[0], bytes):
        return bytearray(args[0])
    return bytearray(_encode(*args))  # an integer would ask for that many zeros


def _complex(*args: Any) -> complex:
    if not all(type(part) in (int, float) for part in args):
        raise UnpicklingError("a complex number is made of two numbers")
    return complex(*args)


def _get_layout(name: Any) -> Any:
    for layout in (_dtypes.strided, _dtypes.sparse_coo):
        if name == str(layout):
            return layout
    raise UnpicklingError(
        f"dumbtorch has no tensors of the layout {str(name)[:40]}: only torch.strided and torch.sparse_coo"
    )


def _tensor(*args: Any) -> Any:
    if args:
        raise UnpicklingError("a file makes tensors from storages")
    return Tensor()


def _parameter(data: Any = None, requires_grad: Any = True) -> Any:
    return _utils._rebuild_parameter(data, requires_grad, None)


def _refused(what: str) -> Callable[..., Any]:
    def refuse(*args: Any) -> Any:
        raise UnpicklingError(f"dumbtorch has no {what}; convert them in PyTorch before saving")

    return refuse


class Allowed:
    """The table of one call of `load`: `find` looks a name up, `build` holds what may be called."""

    def __init__(self) -> None:
        user = user_globals()
        self._values: dict[str, Any] = {**_VALUES, **user}
        self.build: dict[int, Callable[..., Any]] = dict(_BUILD)
        self.user = {id(value) for value in user.values()}
        for value in user.values():
            if callable(value):
                self.build.setdefault(id(value), value)
        self.build[id(_utils._rebuild_from_type_v2)] = self._of_class

    def _of_class(self, func: Any, new_type: Any, args: Any, state: Any) -> Any:
        """A tensor of a subclass: the function inside must be one that may be called, too."""
        inner = self.build.get(id(func))
        if inner is None or type(args) is not tuple:
            raise UnpicklingError(f"Trying to call reduce for unrecognized function {str(func)[:100]}")
        if new_type not in (Tensor, Parameter) and id(new_type) not in self.user:
            raise UnpicklingError(f"Can only build Tensor, Parameter or types allowlisted, but got {new_type}")
        return _utils._rebuild_from_type_v2(inner, new_type, args, state)

    def knows(self, full: str) -> bool:
        """Whether the table has this name."""
        return full in self._values

    def find(self, module: str, name: str) -> Any:
        """The value of a global. Raises UnpicklingError for a name that is not in the table."""
        full = f"{module}.{name}"
        if module in _BLOCKED:
            raise UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
        if full not in self._values:
            shown = full.removeprefix("builtins.")[:200]
            raise UnpicklingError(
                f"Unsupported global: GLOBAL {shown} was not an allowed global by default. Please use "
                f"`torch.serialization.add_safe_globals([{shown}])` or the "
                f"`torch.serialization.safe_globals([{shown}])` context manager to allowlist this global if you trust "
                "this class/function."
            )
        return self._values[full]

    def state(self, target: Any, state: Any) -> None:
        """BUILD: attributes for an object that may have some."""
        kind = type(target)
        if kind is OrderedDict:
            _utils._set_obj_state(target, state)
        elif id(kind) in self.user:
            own = getattr(target, "__setstate__", None)
            if own is not None:
                own(state)
            else:
                _utils._set_obj_state(target, state)
        else:
            raise UnpicklingError(
                f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, but got "
                f"{kind}"
            )


_VALUES: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "builtins.set": set,
    "builtins.complex": complex,
    "builtins.bytearray": bytearray,
    "_codecs.encode": _encode,
    "torch.Size": Size,
    "torch.device": _device.device,
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Parameter,
    "torch.serialization._get_layout": _get_layout,
    "torch._tensor._rebuild_from_type_v2": _utils._rebuild_from_type_v2,
    "torch.storage.UntypedStorage": storage.UntypedStorage,
    "torch.storage.TypedStorage": storage.TypedStorage,
}
_VALUES |= {f"torch.{name}": kind for name, kind in _dtypes.BY_NAME.items()}
_VALUES |= {f"torch.{name}": kind for name, kind in storage.CLASSES.items()}
_VALUES |= {f"torch.{name}": kind for name, kind in _legacy.TYPES.items()}
_VALUES |= {f"torch.{name}": getattr(_formats, name) for name in _formats.__all__ if name != "memory_format"}
_REBUILD = (
    "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
    "_rebuild_parameter_with_state", "_rebuild_sparse_tensor",
)  # fmt: skip
_VALUES |= {f"torch._utils.{name}": getattr(_utils, name) for name in _REBUILD}
_VALUES |= {
    "torch._utils._rebuild_qtensor": _refused("quantized tensors"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refused("meta tensors"),
}

_CALLS: Iterable[tuple[Any, Callable[..., Any]]] = (
    (OrderedDict, _ordered_dict), (Counter, _counter), (set, _set), (complex, _complex), (bytearray, _bytearray),
    (Size, Size), (_device.device, _device.device), (Tensor, _tensor), (Parameter, _parameter),
)  # fmt: skip
_BUILD: dict[int, Callable[..., Any]] = {id(value): builder for value, builder in _CALLS}
# functions stand for themselves
_BUILD |= {id(value): value for name, value in _VALUES.items() if name.rpartition(".")[2][0] == "_" or value is _encode}
