"""Data types, creation and the description of the namespace."""

from __future__ import annotations

from typing import Any

from dumbtorch import _device, _dtypes, cuda, ops
from dumbtorch._tensor import Tensor
from dumbtorch.array_api._array import given, made

__all__ = [
    "__array_namespace_info__", "arange", "asarray", "astype", "can_cast", "empty", "empty_like", "eye", "finfo",
    "from_dlpack", "full", "full_like", "iinfo", "isdtype", "linspace", "meshgrid", "ones", "ones_like", "tril", "triu",
    "zeros", "zeros_like",
]  # fmt: skip

_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8",),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]


# ---------------------------------------------------------------- data types


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The array in another dtype: a copy, unless ``copy=False`` and nothing changes."""
    x = given(x)
    moved = x.to(device=device, dtype=dtype, copy=copy)
    return moved if moved is x else made(moved)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion of the two dtypes gives the second."""
    kind = from_.dtype if isinstance(from_, Tensor) else from_
    return _dtypes.promote_types(kind, to) is to


class _Limits:
    """`finfo` or `iinfo` with the dtype itself where PyTorch has its name."""

    def __init__(self, limits: Any, dtype: Any) -> None:
        self.__dict__.update({n: getattr(limits, n) for n in type(limits).__slots__}, dtype=dtype)

    def __repr__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.__dict__.items())


def _kind(type: Any) -> Any:
    return type.dtype if isinstance(type, Tensor) else type


def finfo(type: Any, /) -> Any:
    """The limits of a floating-point dtype, of a complex one's parts."""
    limits = _dtypes.finfo(_kind(type))
    return _Limits(limits, _dtypes.BY_NAME[limits.dtype])


def iinfo(type: Any, /) -> Any:
    """The limits of an integer dtype."""
    limits = _dtypes.iinfo(_kind(type))
    return _Limits(limits, _dtypes.BY_NAME[limits.dtype])


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind ("bool", "signed integer", ..., "numeric"), is that dtype, or any of a tuple."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, _dtypes.dtype):
        return dtype is kind
    if kind not in _KINDS:
        raise ValueError(f"isdtype: unknown kind {kind!r}; there are {', '.join(_KINDS)}")
    return dtype._name in _KINDS[kind]


# ---------------------------------------------------------------- creation


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """An array of numbers, sequences, arrays and buffers, sharing memory unless ``copy`` or where that is impossible.

    Raises ValueError where ``copy=False`` cannot be kept, and for integers beyond the default integer type.
    """
    if isinstance(obj, Tensor) and device is None:
        device = obj.device
    result = ops.asarray(obj, dtype=dtype, device=device, copy=copy)
    return given(result) if isinstance(obj, Tensor) else made(result)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
    """``start, start + step, ...`` below ``stop``; empty where the step leads away from it."""
    if stop is None:
        start, stop = 0, start
    if (stop - start) * step <= 0:
        if dtype is None:
            whole = all(isinstance(v, int) for v in (start, stop, step))
            dtype = _dtypes.int64 if whole else _dtypes.get_default_dtype()
        return made(ops.empty(0, dtype=dtype, device=device))
    return made(ops.arange(start, stop, step, dtype=dtype, device=device))


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """An array with arbitrary elements."""
    return made(ops.empty(_shape(shape), dtype=dtype, device=device))


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """An array of zeros."""
    return made(ops.zeros(_shape(shape), dtype=dtype, device=device))


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """An array of ones."""
    return made(ops.ones(_shape(shape), dtype=dtype, device=device))


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """An array of one value, of its dtype unless another is given."""
    return made(ops.full(_shape(shape), fill_value, dtype=dtype, device=device))


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """`empty` with the shape, dtype and device of ``x``."""
    return made(ops.empty_like(given(x), dtype=dtype, device=device))


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """`zeros` with the shape, dtype and device of ``x``."""
    return made(ops.zeros_like(given(x), dtype=dtype, device=device))


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """`ones` with the shape, dtype and device of ``x``."""
    return made(ops.ones_like(given(x), dtype=dtype, device=device))


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """`full` with the shape, dtype and device of ``x``."""
    return made(ops.full_like(given(x), fill_value, dtype=dtype, device=device))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Any:
    """Ones on the ``k``-th diagonal of a matrix of zeros."""
    columns = n_rows if n_cols is None else n_cols
    result = ops.zeros((n_rows, columns), dtype=dtype, device=device)
    if -n_rows < k < columns:
        result.diagonal(k).fill_(1)
    return made(result)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Any:
    """``num`` numbers evenly spaced from ``start`` to ``stop``, which ``endpoint=False`` leaves out."""
    if dtype is None:
        dtype = _dtypes.get_default_dtype()
        if isinstance(start, complex) or isinstance(stop, complex):
            dtype = dtype.to_complex()
    points = ops.linspace(start, stop, num if endpoint else num + 1, dtype=dtype, device=device)
    return made(points if endpoint else points[:num])


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Vectors stretched over the grid that they span."""
    return tuple(made(ops.meshgrid(*map(given, arrays), indexing=indexing))) if arrays else ()


def tril(x: Any, /, *, k: int = 0) -> Any:
    """The lower triangle of matrices, zeros elsewhere."""
    return made(ops.tril(given(x), k))


def triu(x: Any, /, *, k: int = 0) -> Any:
    """The upper triangle of matrices, zeros elsewhere."""
    return made(ops.triu(given(x), k))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """An array on the memory of another library's array."""
    return made(ops.from_dlpack(x, device=device, copy=copy))


# ---------------------------------------------------------------- description


class _Info:
    """What the namespace has: capabilities, devices and dtypes."""

    def capabilities(self) -> dict[str, Any]:
        """Masks, data-dependent shapes, and the highest number of dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 16}

    def default_device(self) -> Any:
        """The device of arrays that are made without one."""
        return _device.get_default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of arrays made from Python numbers and of indices."""
        real = _dtypes.get_default_dtype()
        return {
            "real floating": real, "complex floating": real.to_complex(), "integral": _dtypes.int64,
            "indexing": _dtypes.int64,
        }  # fmt: skip

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes of a kind, by name; all for None."""
        kinds = ("bool", "numeric") if kind is None else kind if isinstance(kind, tuple) else (kind,)
        for k in kinds:
            if k not in _KINDS:
                raise ValueError(f"dtypes: unknown kind {k!r}; there are {', '.join(_KINDS)}")
        return {name: _dtypes.BY_NAME[name] for k in kinds for name in _KINDS[k]}

    def devices(self) -> tuple[Any, ...]:
        """The devices that arrays can be made on."""
        return _device.device("cpu"), *(_device.device("cuda", n) for n in range(cuda.device_count()))


def __array_namespace_info__() -> Any:
    """What the namespace has: an object with ``capabilities``, ``devices``, ``dtypes`` and the defaults."""
    return _Info()
