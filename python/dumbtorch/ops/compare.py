"""Whether tensors are the same, or nearly."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.table import FUNCTIONS, composite


def _check(name: str, input: Any, other: Any) -> None:
    for position, (what, value) in enumerate((("input", input), ("other", other)), 1):
        if not isinstance(value, _C.TensorBase):
            kind = type(value).__name__
            raise TypeError(f"{name}(): argument '{what}' (position {position}) must be Tensor, not {kind}")
    if input.device != other.device:
        raise RuntimeError(f"{name}(): tensors on {input.device} and {other.device}; move one with .to()")


@composite()
def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and equal elements; dtypes promote, NaN equals nothing.

    Raises RuntimeError for tensors on different devices. Reference: ``torch.equal``.

    >>> equal(tensor([1, 2]), tensor([1, 2]))
    True
    """
    _check("equal", input, other)
    return input.shape == other.shape and bool((input == other).all())


@composite()
def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where ``|input - other| <= atol + rtol * |other|``, of bool dtype; the tensors broadcast.

    Infinities are close to themselves only, NaN to NaN with ``equal_nan``. Raises RuntimeError for tensors of two
    dtypes or devices and for a negative tolerance. Reference: ``torch.isclose``.
    """
    _check("isclose", input, other)
    if input.dtype is not other.dtype:
        names = [_dtypes.TYPE_NAMES[t.dtype] for t in (input, other)]
        raise RuntimeError(f"isclose(): {names[0]} did not match {names[1]}; convert one with .to()")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not tolerance >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    input, other = input.detach(), other.detach()
    close = input == other
    inexact = input.dtype.is_floating_point or input.dtype.is_complex
    if equal_nan and inexact:
        close = close | ((input != input) & (other != other))
    if rtol == 0 and atol == 0:
        return close
    if not inexact:  # differences of integers may overflow
        input, other = (t.to(_dtypes.get_default_dtype()) for t in (input, other))
    difference = (input - other).abs()
    return close | (FUNCTIONS["isfinite"](difference) & (difference <= atol + (rtol * other).abs()))


@composite()
def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close: see ``isclose``. Reference: ``torch.allclose``."""
    _check("allclose", input, other)
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@composite()
def is_nonzero(input: Any) -> bool:
    """Whether the one element of a tensor is not zero. RuntimeError unless there is one element.

    Reference: ``torch.is_nonzero``.
    """
    return bool(input)


@composite(method=False)
def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor. Reference: ``torch.is_tensor``."""
    return isinstance(obj, _C.TensorBase)
