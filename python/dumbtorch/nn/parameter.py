"""Tensors that a module owns: `Parameter` (trained) and `Buffer` (kept, not trained)."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A tensor that a `Module` registers as a parameter when it is assigned as an attribute.

    Shares memory with `data` (default: an empty float tensor) and requires gradient unless `requires_grad=False`,
    whatever the grad mode at creation. Ops on a parameter return plain tensors.
    Reference: `torch.nn.Parameter`.

        >>> layer.scale = nn.Parameter(dumbtorch.ones(3))
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        source = ops.empty(0) if data is None else data
        made: Parameter = Tensor._make_subclass(cls, source, requires_grad)
        return made

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]  # mypy loses the name of a keyword of __repr__
        return "Parameter containing:\n" + super().__repr__(**kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            found: Parameter = memo[id(self)]
            return found
        copied = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild_parameter, (type(self), self.data, self.requires_grad)


class Buffer(Tensor):
    """A tensor that a `Module` registers as a buffer when it is assigned as an attribute.

    `persistent=False` keeps it out of the state dict. Reference: `torch.nn.Buffer`.

        >>> layer.running_mean = nn.Buffer(dumbtorch.zeros(8))
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        source = ops.empty(0) if data is None else data
        made: Buffer = Tensor._make_subclass(cls, source.detach(), source.requires_grad)
        made.persistent = persistent
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) in memo:
            found: Buffer = memo[id(self)]
            return found
        copied = _rebuild_buffer(type(self), self.data.clone(), self.requires_grad, self.persistent)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild_buffer, (type(self), self.data, self.requires_grad, self.persistent)


def _rebuild_parameter(cls: type[Parameter], data: Tensor, requires_grad: bool) -> Parameter:
    return cls(data, requires_grad)


def _rebuild_buffer(cls: type[Buffer], data: Tensor, requires_grad: bool, persistent: bool) -> Buffer:
    buffer = cls(data, persistent=persistent)
    buffer.requires_grad_(requires_grad)
    return buffer
