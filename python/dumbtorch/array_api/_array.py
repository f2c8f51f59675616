"""The standard's array: a tensor whose operators promote and index as the standard says where PyTorch's differ."""

from __future__ import annotations

import sys
from math import prod
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor

__all__ = ["Array", "given", "made", "pair", "result_type"]


def given(x: Any) -> Array:
    """The argument as an `Array` of its own: a tensor is seen through a view, so that its class stays as it is."""
    if isinstance(x, Array):
        return x
    if not isinstance(x, Tensor):
        raise TypeError(f"expected an array, got {type(x).__name__}")
    result: Array = made(x.view(x.shape))
    return result


def made(result: Any) -> Any:
    """A fresh result as an `Array`; results of several parts, each."""
    if isinstance(result, Tensor):
        result.__class__ = Array
        return result
    return tuple(made(part) for part in result)


def _kind(dtype: Any) -> int:
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else 0 if dtype is _dtypes.bool else 1


def _scalar_dtype(value: Any, dtype: Any) -> Any:
    """The dtype of a Python number beside an array of ``dtype``: the array's unless the number's kind is higher."""
    if isinstance(value, complex):
        if dtype.is_complex:
            return dtype
        return (dtype if dtype.is_floating_point else _dtypes.get_default_dtype()).to_complex()
    if isinstance(value, float) and _kind(dtype) < 2:
        return _dtypes.get_default_dtype()
    if isinstance(value, int) and not isinstance(value, bool) and dtype is _dtypes.bool:
        return _dtypes.int64
    return dtype


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype of an operation on these arrays, dtypes and Python numbers, whatever the arrays' shapes."""
    kinds = [x.dtype if isinstance(x, Tensor) else x for x in arrays_and_dtypes]
    dtypes = [k for k in kinds if isinstance(k, _dtypes.dtype)]
    if not dtypes:
        raise ValueError("result_type: at least one array or dtype is required")
    result = dtypes[0]
    for other in dtypes[1:]:
        result = _dtypes.promote_types(result, other)
    for value in kinds:
        if not isinstance(value, _dtypes.dtype):
            result = _scalar_dtype(value, result)
    return result


def pair(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two operands as arrays of one dtype."""
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        raise TypeError(f"at least one operand must be an array, got {type(x1).__name__} and {type(x2).__name__}")
    dtype = result_type(x1, x2)
    device = (x1 if isinstance(x1, Tensor) else x2).device
    return _operand(x1, dtype, device), _operand(x2, dtype, device)


def _operand(x: Any, dtype: Any, device: Any) -> Any:
    if not isinstance(x, Tensor):
        return ops.full((), x, dtype=dtype, device=device)
    x = given(x)
    return x if x.dtype is dtype else made(x.to(dtype))


_NUMBERS = (Tensor, bool, int, float, complex)


def _binary(name: str) -> Any:
    def operator(self: Any, other: Any, /) -> Any:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        return getattr(sys.modules[__package__], name)(self, other)

    return operator


def _reflected(name: str) -> Any:
    def operator(self: Any, other: Any, /) -> Any:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        return getattr(sys.modules[__package__], name)(other, self)

    return operator


def _inplace(name: str) -> Any:
    def operator(self: Any, other: Any, /) -> Any:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        result = getattr(sys.modules[__package__], name)(self, other)
        if result.dtype is not self.dtype or result.shape != self.shape:
            raise TypeError(
                f"{name}: a result of {result.dtype!r} {tuple(result.shape)} cannot be written into an array of "
                f"{self.dtype!r} {tuple(self.shape)}"
            )
        return self.copy_(result)

    return operator


def _unary(name: str) -> Any:
    def operator(self: Any, /) -> Any:
        return getattr(sys.modules[__package__], name)(self)

    return operator


def _forward(x: Any, key: Any) -> tuple[Any, Any, list[int]]:
    """The array with the dimensions flipped that ``key`` walks backwards, the key for it, and these dimensions."""
    keys = key if isinstance(key, tuple) else (key,)
    if not any(isinstance(k, slice) and k.step is not None and k.step < 0 for k in keys):
        return x, key, []
    taken = [0 if k is None or k is Ellipsis else k.ndim if _is_mask(k) else 1 for k in keys]
    dim, turned, flipped = 0, [], []
    for k, size in zip(keys, taken, strict=True):
        if isinstance(k, slice) and k.step is not None and k.step < 0:
            n = x.shape[dim]
            walk = range(n)[k]
            flipped.append(dim)
            k = slice(n - 1 - walk[0], n - walk[-1], -k.step) if len(walk) else slice(0, 0)
        dim += x.ndim - sum(taken) if k is Ellipsis else size
        turned.append(k)
    return x.flip(flipped), tuple(turned), flipped


def _is_mask(key: Any) -> bool:
    return isinstance(key, Tensor) and key.dtype is _dtypes.bool


_getitem: Any = Tensor.__getitem__


class Array(Tensor):
    """A `Tensor` that keeps to the Python array API standard, version 2025.12, where PyTorch does not.

    0-dim arrays take part in promotion as any other, ``//`` and ``%`` treat infinities as the standard says, slices may
    have negative steps, and ``size`` is the number of elements. Functions of `dumbtorch.array_api` make it, of tensors
    too; everything else of a tensor, gradients among it, works as ever. ``x.as_subclass(Tensor)`` leads back.
    Reference: https://data-apis.org/array-api/2025.12/
    """

    __slots__ = ()

    @property
    def size(self) -> Any:
        """The number of elements."""
        return prod(self.shape)

    @property
    def T(self) -> Any:
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ValueError(f"T: expected a 2-dim array, got {self.ndim} dimensions")
        return made(self.transpose(0, 1))

    @property
    def mT(self) -> Any:
        """The transposes of the matrices of the last two dimensions."""
        if self.ndim < 2:
            raise ValueError(f"mT: expected at least 2 dimensions, got {self.ndim}")
        return made(self.transpose(-2, -1))

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The array on a device; itself where it is there already. Raises ValueError for a stream."""
        if stream is not None:
            raise ValueError("to_device: streams of other libraries are not supported")
        moved = self.to(device)
        return moved if moved is self else made(moved)

    def __getitem__(self, key: Any, /) -> Any:
        base, key, _ = _forward(self, key)
        return made(_getitem(base, key))

    def __setitem__(self, key: Any, value: Any, /) -> None:
        base, key, flipped = _forward(self, key)
        Tensor.__setitem__(base, key, value)
        if flipped:  # a flipped array is a copy
            self.copy_(base.flip(flipped))

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return iter(made(self.unbind(0)))

    __hash__ = Tensor.__hash__


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
for _slot, _name in _OPERATORS.items():
    setattr(Array, f"__{_slot}__", _binary(_name))
    setattr(Array, f"__r{_slot}__", _reflected(_name))
    setattr(Array, f"__i{_slot}__", _inplace(_name))
for _slot, _name in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(Array, f"__{_slot}__", _binary(_name))
for _slot, _name in {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}.items():
    setattr(Array, f"__{_slot}__", _unary(_name))
