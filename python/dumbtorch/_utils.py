"""How tensors are made again from what a file says: the functions that ``torch.save`` names in its pickles.

Everything they are given may come from a stranger's file: each checks what it gets.
"""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes, _storage
from dumbtorch._sparse import _rebuild_sparse_tensor  # noqa: F401  # pickles name it here
from dumbtorch._tensor import Tensor
from dumbtorch.nn.parameter import Parameter
from dumbtorch.storage import TypedStorage, UntypedStorage

__all__: list[str] = []

_LIMIT = 1 << 62


def _int(value: Any, what: str) -> int:
    if type(value) is not int or not -_LIMIT < value < _LIMIT:
        raise RuntimeError(f"a tensor's {what} must be a 64-bit integer, got {str(value)[:40]}")
    return value


def _ints(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)):
        raise RuntimeError(f"a tensor's {what} must be a tuple, got {type(values).__name__}")
    return tuple(_int(value, what) for value in values)


def _layout(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Any:
    if not isinstance(storage, (TypedStorage, UntypedStorage)):
        raise RuntimeError(f"a tensor needs a storage, got {type(storage).__name__}")
    if not isinstance(dtype, _dtypes.dtype):
        raise RuntimeError(f"a tensor's dtype must be a torch.dtype, got {type(dtype).__name__}")
    shape, strides = _ints(size, "size"), _ints(stride, "stride")
    return _storage.over(storage.untyped(), dtype, _int(offset, "storage offset"), shape, strides)


def _marked(t: Any, metadata: Any) -> Any:
    """A tensor with the pending conjugation and negation that a file noted."""
    if metadata:
        if not isinstance(metadata, dict):
            raise RuntimeError(f"a tensor's metadata must be a dict, got {type(metadata).__name__}")
        if metadata.get("conj"):
            t = t.conj()
        if metadata.get("neg"):
            t = t._neg_view()
    return t


def _grad_wanted(t: Any, requires_grad: Any) -> Any:
    if requires_grad:
        t.requires_grad = True
    return t


def _rebuild_tensor(storage: Any, storage_offset: Any, size: Any, stride: Any) -> Any:
    """A tensor on a typed storage."""
    return _layout(storage, getattr(storage, "dtype", None), storage_offset, size, stride)


def _rebuild_tensor_v2(
    storage: Any, storage_offset: Any, size: Any, stride: Any, requires_grad: Any, backward_hooks: Any,
    metadata: Any = None,
) -> Any:  # fmt: skip
    """A tensor on a typed storage, as most are written."""
    t = _marked(_rebuild_tensor(storage, storage_offset, size, stride), metadata)
    return _grad_wanted(t, requires_grad)


def _rebuild_tensor_v3(
    storage: Any, storage_offset: Any, size: Any, stride: Any, requires_grad: Any, backward_hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Any:  # fmt: skip
    """A tensor of a dtype without a storage class of its own."""
    t = _marked(_layout(storage, dtype, storage_offset, size, stride), metadata)
    return _grad_wanted(t, requires_grad)


def _rebuild_parameter(data: Any, requires_grad: Any, backward_hooks: Any) -> Any:
    """A parameter on a tensor."""
    if not isinstance(data, Tensor):
        raise RuntimeError(f"a parameter needs a tensor, got {type(data).__name__}")
    return Parameter(data, bool(requires_grad))


def _rebuild_parameter_with_state(data: Any, requires_grad: Any, backward_hooks: Any, state: Any) -> Any:
    """A parameter on a tensor, with attributes of its own."""
    return _set_obj_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _set_obj_state(obj: Any, state: Any) -> Any:
    """Gives an object its attributes: a dict, or a dict and one for its slots."""
    slots: Any = None
    if isinstance(state, tuple):
        if len(state) != 2:
            raise RuntimeError(f"Invalid serialized state: a tuple of {len(state)}, not of a dict and slots")
        state, slots = state
    for attributes in (state, slots):
        if attributes is None:
            continue
        if not isinstance(attributes, dict) or not all(type(name) is str for name in attributes):
            raise RuntimeError("Invalid serialized state: attributes must be a dict with names as keys")
    if state:
        obj.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)
    return obj


def _rebuild_from_type_v2(func: Any, new_type: Any, args: Any, state: Any) -> Any:
    """A tensor of a subclass, or one with attributes of its own."""
    if not (isinstance(new_type, type) and issubclass(new_type, Tensor)):
        raise RuntimeError(f"a tensor's class must be a subclass of Tensor, got {new_type!r}")
    made = func(*args)
    if not isinstance(made, Tensor):
        raise RuntimeError(f"a tensor was expected, got {type(made).__name__}")
    if type(made) is not new_type:
        # an object of the class on the same memory, without the history that as_subclass would give it
        made = Tensor._make_subclass(new_type, made.detach(), made.requires_grad)
    own = getattr(new_type, "__setstate__", None)
    if own is not None and own is not getattr(Tensor, "__setstate__", None):
        made.__setstate__(state)
        return made
    return _set_obj_state(made, state)
