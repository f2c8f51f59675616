"""The constructors of old programs: ``Tensor(2, 3)``, ``FloatTensor([1, 2])``, ``set_default_tensor_type``."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _device, _dtypes, ops
from dumbtorch._size import Size
from dumbtorch.storage import TypedStorage, UntypedStorage

__all__ = ["TYPES", "construct", "set_default_tensor_type", "typename"]


def construct(dtype: Any, args: tuple[Any, ...], device: Any = None) -> Any:
    """What ``Tensor(...)`` makes: of sizes, an uninitialised tensor; of a sequence or an array, one of its elements.

    A tensor of that dtype is shown again. Raises TypeError for another tensor and for what is no sequence.
    """
    if not args:
        return ops.empty(0, dtype=dtype, device=device)
    first = args[0]
    if len(args) == 1 and (not isinstance(first, int) or isinstance(first, bool)):
        if isinstance(first, _C.TensorBase):
            if first.dtype is not dtype:
                raise TypeError(f"new(): expected a tensor of {dtype!r} (got {first.dtype!r})")
            return first.detach()
        if isinstance(first, (UntypedStorage, TypedStorage)):
            return first.untyped().bytes.view(dtype)
        if isinstance(first, Size):
            return ops.empty(tuple(first), dtype=dtype, device=device)
        if not (hasattr(first, "__len__") and hasattr(first, "__getitem__")) and not hasattr(first, "__index__"):
            raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
        if isinstance(first, (list, tuple)) or getattr(first, "ndim", 1) != 0:
            # integers take the whole part of numbers here, which `tensor` refuses
            return ops.tensor(first, device=device).to(dtype)
    for place, size in enumerate(args):
        if not hasattr(size, "__index__"):
            raise TypeError(
                f"new(): argument 'size' must be tuple of ints, but found element of type {type(size).__name__} at pos "
                f"{place}"
            )
    return ops.empty(*args, dtype=dtype, device=device)


class tensortype(type):
    """The class of ``FloatTensor`` and its kin: its instances are the tensors of one dtype."""

    dtype: Any
    layout = _dtypes.strided
    is_cuda = is_sparse = False

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, _C.TensorBase)
            and instance.dtype is cls.dtype
            and bool(instance.is_cpu)
            and cls.is_sparse == instance.is_sparse
        )

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        if device is not None and _device._as_device(device).type != "cpu":
            raise RuntimeError(f"legacy constructor expects device type: cpu but device type: {device} was passed")
        return construct(cls.dtype, args)

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


#: ``FloatTensor``, ``LongTensor``, ...: by name.
TYPES: dict[str, tensortype] = {
    (name := f"{_dtypes.TYPE_NAMES[kind]}Tensor"): tensortype(name, (), {
        "dtype": kind, "__module__": "dumbtorch", "__doc__": f"Tensors of {kind!r} on the CPU, as a type."})
    for kind in (
        _dtypes.bool, _dtypes.uint8, _dtypes.int8, _dtypes.int16, _dtypes.int32, _dtypes.int64, _dtypes.float16,
        _dtypes.bfloat16, _dtypes.float32, _dtypes.float64,
    )
}  # fmt: skip


def set_default_tensor_type(t: Any) -> None:
    """Sets the default dtype by a tensor type or its name. Use ``set_default_dtype``, as PyTorch recommends too."""
    if isinstance(t, str):
        found = TYPES.get(t.rpartition(".")[2])
        if found is None:
            raise TypeError(f"invalid type name: {t!r}")
        t = found
    if not isinstance(t, tensortype):
        raise TypeError("invalid type object")
    _dtypes.set_default_dtype(t.dtype)


def typename(obj: Any, /) -> str:
    """The name of an object's type, a tensor's with its dtype. Reference: ``torch.typename``.

    >>> typename([]), typename(ops.ones(1))
    ('list', 'torch.FloatTensor')
    """
    if isinstance(obj, _C.TensorBase):
        return str(obj.type())
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", "") or ""
    if module == "builtins":
        return str(kind.__qualname__)
    return f"{module}.{kind.__qualname__}" if module else str(kind.__qualname__)
