"""``Variable``, what tensors with a gradient were called before they were all tensors."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C

__all__ = ["Variable", "VariableMeta"]


class VariableMeta(type):
    """Every tensor is a Variable."""

    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, _C.TensorBase)


class Variable(metaclass=VariableMeta):
    """A tensor on the memory of ``data``, outside of its graph. Reference: ``torch.autograd.Variable``.

    >>> import dumbtorch as torch
    >>> Variable(torch.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: Any = None) -> Any:
        """The tensor. Raises TypeError unless ``data`` is one."""
        if not isinstance(data, _C.TensorBase):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        made = data._alias()
        if requires_grad:
            made.requires_grad = True
        return made
