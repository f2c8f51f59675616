"""Copying and pickling tensors with the memory behind them: tensors that share memory still share it afterwards."""

from __future__ import annotations

import copy
from typing import Any

from dumbtorch import _C
from dumbtorch.storage import UntypedStorage, storage_of

__all__ = ["deepcopied", "over", "reduced"]

_R = _C.required
_OVER = _C.make_op("over_storage", "_over_storage", ("memory", "dtype", "offset", "shape", "strides"), (_R,) * 5, 5,
                   ".....", 0, "A tensor on a storage, by its layout.")  # fmt: skip

# State of autograd that hangs on an instance and does not travel.
_PRIVATE = frozenset({"_leaf_hooks", "_accumulator", "_retains"})


def over(memory: UntypedStorage, dtype: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
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
    cls: Any, memory: UntypedStorage, dtype: Any, offset: int, shape: Any, strides: Any, requires_grad: bool, state: Any
) -> Any:
    """Makes a pickled tensor again."""
    return _finished(over(memory, dtype, offset, shape, strides), cls, requires_grad, state)


def _settled(self: Any) -> Any:
    """The tensor's memory, out of the graph; a pending conjugation or negation is carried out first."""
    return self.detach().resolve_conj().resolve_neg()


def reduced(self: Any) -> Any:
    """How a tensor pickles: its class, storage, layout and whether it requires grad; no history."""
    shown = _settled(self)
    layout = (self.dtype, shown._offset, tuple(shown.shape), shown.stride())
    return _rebuilt, (type(self), storage_of(shown), *layout, self.requires_grad, _state(self))


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
    shown = _settled(self)
    memory = copy.deepcopy(storage_of(shown), memo)
    t = over(memory, self.dtype, shown._offset, tuple(shown.shape), shown.stride())
    made = _finished(t, type(self), self.requires_grad, {})
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = copy.deepcopy(self.grad, memo)
    state = copy.deepcopy(_state(self), memo)
    if state:
        made.__dict__.update(state)
    return made
