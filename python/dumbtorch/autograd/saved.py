"""What happens to tensors that the graph keeps: hooks that pack them, and writes to them that are allowed.

Nodes are recorded as always; while hooks are set, the kept tensors of a new node are then replaced by what the hooks
make of them, and its class by one that unpacks them first.
"""

from __future__ import annotations

import contextlib
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import watch
from dumbtorch.autograd.modes import NO_GRAD

TensorBase = _C.TensorBase
Hooks = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def current() -> Hooks | None:
    """The innermost hooks of this thread."""
    hooks = watch.STATE.hooks
    return hooks[-1] if hooks else None


class Packed:
    """A kept tensor as its pack hook left it."""

    __slots__ = ("content", "open")

    def __init__(self, tensor: Any, hooks: Hooks) -> None:
        pack, self.open = hooks
        version = tensor._version
        mode = _C.get_mode()
        _C.set_mode(mode & ~watch.TRACE | NO_GRAD)
        try:
            self.content = pack(tensor)
        finally:
            _C.set_mode(mode)
        if tensor._version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook "
                "can not be modified by in-place operations as this can lead to unexpected side-effects. Please open "
                "an issue if you need to perform in-place operations on the input to a pack hook."
            )

    def unpack(self) -> Any:
        """What the unpack hook gives back. Raises TypeError unless that is a tensor."""
        tensor = self.open(self.content)
        if not isinstance(tensor, TensorBase):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(tensor).__name__}"
            )
        return tensor


def _pack(value: Any, hooks: Hooks) -> Any:
    if isinstance(value, TensorBase):
        return Packed(value, hooks)
    if type(value) is tuple and any(isinstance(v, TensorBase) for v in value):
        return tuple(_pack(v, hooks) for v in value)
    return value


def _unpack(value: Any) -> tuple[Any, Any]:
    """A value without packed tensors, and the version(s) of what was unpacked or None."""
    if isinstance(value, Packed):
        tensor = value.unpack()
        return tensor, tensor._version
    if type(value) is tuple and any(isinstance(v, Packed) for v in value):
        parts = [_unpack(v) for v in value]
        return tuple(p for p, _ in parts), [-1 if v is None else v for _, v in parts]
    return value, None


def unpacked(saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a node kept, unpacked, the versions beside the tensors made to agree."""
    made: list[Any] = []
    versions = None
    for value in saved:
        if versions is not None:
            kind = type(value)
            made.append(versions if kind is list or kind is int else kind(versions))
            versions = None
            continue
        value, versions = _unpack(value)
        made.append(value)
    return tuple(made)


_CLASSES: dict[Any, Any] = {}


def _packing(cls: Any) -> Any:
    """The class of a node that unpacks what it kept before it computes its derivative."""
    made = _CLASSES.get(cls)
    if made is None:

        def apply(self: Any, grad: Any, edges: Any, create: bool) -> Any:
            packed = self.saved
            if packed is None:
                return cls.apply(self, grad, edges, create)
            self.saved = unpacked(packed)
            try:
                return cls.apply(self, grad, edges, create)
            finally:
                self.saved = packed

        made = type(cls.__name__, (cls,), {"__slots__": (), "apply": apply, "packing": True})
        _CLASSES[cls] = made
    return made


def _recorded(node: Any) -> None:
    """A new node, while somebody watches."""
    node = getattr(node, "inner", node)  # a write through a view is recorded in another node
    hooks = current()
    if hooks is not None and node.kept and node.saved:
        node.saved = tuple(
            _pack(value, hooks) if name is not None else value
            for name, value in zip(_slots(node), node.saved, strict=True)
        )
        node.__class__ = _packing(type(node))
    if watch.STATE.anomaly:
        node.metadata["traceback_"] = traceback.format_stack(limit=40)
        parent = watch.STATE.evaluating
        if parent is not None:
            node.metadata["parent_"] = parent


def _slots(node: Any) -> tuple[str | None, ...]:
    """A name for each entry of what a node kept, None for what is no value: versions and notes."""
    names: tuple[str | None, ...] = node.kept
    return names + (None,) * (len(node.saved) - len(names))


watch.recorded = _recorded


# ---------------------------------------------------------------- public


class saved_tensors_hooks:
    """A context in which tensors that the graph keeps are packed, and unpacked when a derivative needs them.

    ``pack_hook(tensor)`` gives what is kept in a tensor's place, ``unpack_hook`` the tensor back. The innermost context
    counts. Raises RuntimeError where `disable_saved_tensors_hooks` forbids it.
    Reference: ``torch.autograd.graph.saved_tensors_hooks``.

    >>> import dumbtorch as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), torch.tensor):
    ...     y = x.exp()
    >>> y.sum().backward()
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        state = watch.STATE
        if state.forbidden:
            raise RuntimeError(state.forbidden[-1])
        state.hooks.append((self.pack_hook, self.unpack_hook))
        watch.refresh()

    def __exit__(self, *exc: object) -> None:
        watch.STATE.hooks.pop()
        watch.refresh()


class save_on_cpu(saved_tensors_hooks):
    """A context in which the graph keeps tensors in the CPU's memory; a derivative brings them back to their device.

    ``pin_memory`` asks for page-locked memory, which makes the copies faster where a device is there.
    Reference: ``torch.autograd.graph.save_on_cpu``.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Any) -> tuple[Any, Any]:
            copy = tensor.cpu()
            if pin_memory and not tensor.is_cpu and hasattr(copy, "pin_memory"):
                copy = copy.pin_memory()
            return tensor.device, copy

        def unpack(packed: tuple[Any, Any]) -> Any:
            device, tensor = packed
            return tensor.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """A context in which `saved_tensors_hooks` raises RuntimeError with this message."""
    state = watch.STATE
    if state.hooks:
        raise RuntimeError(error_message)
    state.forbidden.append(error_message)
    try:
        yield
    finally:
        state.forbidden.pop()


class _Handle:
    """A kept tensor: as it is until it is written to, then a copy of what it was."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


class _Allowing:
    """What `allow_mutation_on_saved_tensors` knows: the kept tensors by the storage that they lie in."""

    def __init__(self) -> None:
        self.kept: dict[int, list[weakref.ref[_Handle]]] = {}
        self.alive = True

    def pack(self, tensor: Any) -> _Handle:
        """Notes a tensor that is kept."""
        handle = _Handle(tensor)
        self.kept.setdefault(tensor._storage_id, []).append(weakref.ref(handle))
        return handle

    def unpack(self, handle: _Handle) -> Any:
        """The tensor as it was when it was kept."""
        if not self.alive:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was "
                "originally recorded."
            )
        return handle.tensor

    def writing(self, target: Any) -> None:
        """Copies the kept tensors that a write is about to change."""
        for reference in self.kept.pop(target._storage_id, ()):
            handle = reference()
            if handle is not None:
                handle.tensor = handle.tensor._alias().clone().contiguous()
                handle.tensor.data_ptr()  # now: the copy would else be made when the write is

    def clear(self) -> None:
        """Forgets everything."""
        self.kept.clear()
        self.alive = False


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_Allowing]:
    """A context in which tensors that the graph keeps may be written to: they are copied before they are.

    Forward and backward must both lie in it. Raises RuntimeError when nested.
    Reference: ``torch.autograd.graph.allow_mutation_on_saved_tensors``.
    """
    state = watch.STATE
    if state.writing is not None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    context = _Allowing()
    state.writing = context.writing
    try:
        with saved_tensors_hooks(context.pack, context.unpack):
            yield context
    finally:
        state.writing = None
        context.clear()
