"""Tensors from Python data, NumPy arrays, buffers and DLPack, and back again."""

from __future__ import annotations

import enum
import sys
import warnings
from typing import Any

from dumbtorch import _C, _device, _dtypes, _pinned

__all__ = [
    "array_interface",
    "array_of",
    "as_tensor",
    "asarray",
    "cuda_array_interface",
    "dlpack_device",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "numpy_of",
    "tensor",
    "to_dlpack",
    "wrap_array",
]

_R = _C.required


def _op(name: str, kernel: str, names: tuple[str, ...], defaults: tuple[Any, ...], doc: str) -> Any:
    return _C.make_op(name, kernel, names, defaults, len(names), "." * len(names), 0, doc)


_FROM_DATA = _op("tensor", "_from_data", ("data", "dtype", "device"), (_R, None, None), "A tensor from Python data.")
_FROM_BUFFER = _op("from_numpy", "_from_buffer", ("buffer",), (_R,), "A tensor over a strided buffer.")
_FROM_BYTES = _op("frombuffer", "_from_bytes", ("buffer", "dtype"), (_R, _R), "A 1-d tensor over a buffer's bytes.")
_TO_DLPACK = _op("to_dlpack", "_to_dlpack", ("self", "versioned", "copied"), (_R, False, False), "A DLPack capsule.")
_FROM_DLPACK = _op("from_dlpack", "_from_dlpack", ("capsule",), (_R,), "A tensor over a DLPack capsule's memory.")

# What the data kernel reads without looking for array protocols first.
_PLAIN = frozenset({list, tuple, float, int, bool, complex})
_WARNED: set[str] = set()


def _warn_once(key: str, text: str) -> None:
    if key not in _WARNED:
        _WARNED.add(key)
        warnings.warn(text, UserWarning, stacklevel=3)


def _place(device: Any) -> Any:
    """The device to make a tensor on; None for the CPU, which is what the kernels assume."""
    if device is None:
        device = _device.get_default_device()
        return None if device.type == "cpu" else device
    return device


def _made(t: Any, requires_grad: bool) -> Any:
    if requires_grad:
        if not (t.dtype.is_floating_point or t.dtype.is_complex):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t.requires_grad = True
    return t


def _moved(t: Any, dtype: Any, device: Any) -> Any:
    return t if dtype is None and device is None else t.to(device=device, dtype=dtype)


def _is_array(data: Any) -> bool:
    """A NumPy array; False, without an import, when nothing has imported NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(data, numpy.ndarray)


def _array_like(data: Any) -> Any:
    """What another array library offers through `__array_interface__` or `__array__`, as an array; else the data."""
    kind = type(data)
    if kind in _PLAIN or not (hasattr(kind, "__array_interface__") or hasattr(kind, "__array__")):
        return data
    import numpy  # only somebody who has it defines these

    return data if isinstance(data, (numpy.ndarray, numpy.generic)) else numpy.asarray(data)


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Any:
    """A new tensor with a copy of ``data``: a number, nested sequences, an array or a tensor.

    The dtype follows the data unless given: bool, int64, the default dtype for floats, its complex type, or that of the
    arrays and tensors inside. A dense array keeps its layout. ``pin_memory`` puts it into page-locked memory, where
    there is a device (RuntimeError where not).
    Raises ValueError for ragged sequences, TypeError for what is no number, RuntimeError for a value that the dtype
    cannot hold. Reference: ``torch.tensor``.

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if type(data) not in _PLAIN:
        if isinstance(data, _C.TensorBase):
            warnings.warn(
                "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                "sourceTensor.detach().clone().requires_grad_(True), rather than tensor(sourceTensor).",
                UserWarning,
                stacklevel=2,
            )
            source: Any = data._alias()
            return _made(_moved(source.clone(), dtype, device), requires_grad)
        data = _array_like(data)
    t = _FROM_DATA(data, dtype, _place(device))
    if pin_memory:
        t = _pinned.made(t)
    return _made(t, requires_grad) if requires_grad else t


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """``data`` as a tensor: itself when it is one that fits, sharing memory when it is a NumPy array, else a copy.

    Errors are those of ``tensor`` and ``from_numpy``. Reference: ``torch.as_tensor``.

    >>> x = tensor([1, 2])
    >>> as_tensor(x) is x
    True
    """
    if isinstance(data, _C.TensorBase):
        return _moved(data, dtype, device)
    if type(data) not in _PLAIN:
        data = _array_like(data)
        if _is_array(data):
            return _moved(from_numpy(data), dtype, _place(device))
    return _FROM_DATA(data, dtype, _place(device))


def from_numpy(ndarray: Any) -> Any:
    """A tensor on the memory of a NumPy array, any strides >= 0: writes to one show in the other.

    Raises TypeError for what is no array and for dtypes without a counterpart, ValueError for negative strides or a
    foreign byte order. Warns (once) for a read-only array. Reference: ``torch.from_numpy``.

    >>> import numpy
    >>> a = numpy.zeros(2, "float32")
    >>> from_numpy(a).add_(1)
    tensor([1., 1.])
    >>> a
    array([1., 1.], dtype=float32)
    """
    if not _is_array(ndarray):
        kind = type(ndarray)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"expected np.ndarray (got {name})")
    t = _FROM_BUFFER(ndarray)
    if not ndarray.flags.writeable:
        _warn_once(
            "array",
            "The given NumPy array is not writable, and dumbtorch does not support non-writable tensors. This means "
            "writing to this tensor will result in undefined behavior. You may want to copy the array to protect its "
            "data or make it writable before converting it to a tensor. This type of warning will be suppressed for "
            "the rest of this program.",
        )
    return t


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Any:
    """A 1-dim tensor over the memory of a buffer (bytes, bytearray, memoryview, array.array, mmap, ...), kept alive.

    ``offset`` bytes are left out, then ``count`` elements taken (-1: all). Raises ValueError when they do not fit or
    the object has no contiguous buffer. Warns (once) for read-only memory. Reference: ``torch.frombuffer``.

    >>> frombuffer(bytearray(b"abcd"), dtype=_dtypes.uint8, offset=1, count=2)
    tensor([98, 99], dtype=torch.uint8)
    """
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    if not view.c_contiguous:
        raise RuntimeError("frombuffer: could not retrieve buffer from object: its memory is not contiguous")
    if not isinstance(dtype, _dtypes.dtype):
        raise TypeError(f"frombuffer(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    size, length = dtype.itemsize, view.nbytes
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} bytes) minus 1"
        )
    if count < 0:
        if (length - offset) % size:
            raise ValueError(
                f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of element "
                f"size ({size})"
            )
        count = (length - offset) // size
    elif count * size > length - offset:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({length} bytes)"
        )
    if view.readonly:
        _warn_once(
            "buffer",
            "The given buffer is not writable, and dumbtorch does not support non-writable tensors. This means you can "
            "write to the underlying (supposedly non-writable) buffer using the tensor. You may want to copy the "
            "buffer to protect its data or make it writable before converting it to a tensor. This type of warning "
            "will be suppressed for the rest of this program.",
        )
    # a 0-d or multi-dimensional view cannot be sliced by bytes before it is flat
    flat = view.cast("B") if view.ndim == 1 or not view.shape else view.cast("B", (length,))
    return _made(_FROM_BYTES(flat[offset : offset + count * size], dtype), requires_grad)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None
) -> Any:
    """``obj`` as a tensor, sharing memory where that is possible: a tensor, an array, DLPack, a buffer, numbers.

    ``requires_grad`` defaults to that of ``obj``; False detaches.

    ``copy``: True always copies, False raises ValueError where a copy would be needed, None copies when needed. A
    buffer (bytes and the like) is read as ``dtype``, by default the default dtype. Reference: ``torch.asarray``.

    >>> x = tensor([1.0, 2.0])
    >>> asarray(x) is x, asarray(x, copy=True) is x
    (True, False)
    """
    t: Any = obj
    if not isinstance(obj, _C.TensorBase):
        obj = _array_like(obj)
    if isinstance(obj, _C.TensorBase):
        pass
    elif _is_array(obj):
        t = from_numpy(obj)
    elif type(obj) in _PLAIN or _is_number(obj):
        t = None
    elif hasattr(type(obj), "__dlpack__") or type(obj).__name__ == "PyCapsule":
        t = from_dlpack(obj)
    elif _has_buffer(obj):
        t = frombuffer(obj, dtype=_dtypes.get_default_dtype() if dtype is None else dtype)
    else:
        t = None
    if t is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return tensor(obj, dtype=dtype, device=device, requires_grad=bool(requires_grad))
    other_dtype = dtype is not None and dtype is not t.dtype
    wanted = None if device is None else _device._as_device(device)
    here = t.device
    other_device = wanted is not None and (
        wanted.type != here.type or (wanted.index is not None and wanted.index != (here.index or 0))
    )
    if copy is False and other_device:
        raise ValueError(f"can't alias tensor from device '{here}' to '{wanted}'.")
    if copy is False and other_dtype:
        names = _dtypes.TYPE_NAMES
        raise ValueError(f"can't alias tensor with dtype '{names[t.dtype]}' into dtype '{names[dtype]}'.")
    if copy or other_dtype or other_device:
        t = t.to(device=wanted, dtype=dtype, copy=True)
    if requires_grad is False and t.requires_grad:
        t = t.detach()
    return _made(t, True) if requires_grad and not t.requires_grad else t


def _is_number(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.generic)


def _has_buffer(obj: Any) -> bool:
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


# ---------------------------------------------------------------- NumPy


def numpy_of(self: Any, *, force: bool = False) -> Any:
    """The tensor as a NumPy array on the same memory, which it keeps alive.

    ``force`` copies what cannot be shared: it detaches and moves to the CPU first. Raises TypeError for a dtype that
    NumPy lacks (bfloat16, the half complex and float8 types) or a tensor on another device, RuntimeError for a tensor
    that requires grad. Reference: ``torch.Tensor.numpy``.

    >>> tensor([1, 2]).numpy()
    array([1, 2])
    """
    if force:
        self = self.resolve_conj().resolve_neg()
        self = self._alias() if self.device.type == "cpu" else self._alias().to(_device.device("cpu"))
    if self._device_code != 0:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )
    if self.requires_grad and _C.is_grad_enabled():
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self._flags & 48:
        kind = "conj" if self._flags & 16 else "neg"
        name = "conjugate" if kind == "conj" else "negative"
        raise RuntimeError(
            f"Can't call numpy() on Tensor that has {name} bit set. Use tensor.resolve_{kind}().numpy() instead."
        )
    if self._dtype_code not in _NUMPY_CODES:
        raise TypeError(f"Got unsupported ScalarType {_dtypes.TYPE_NAMES[self.dtype]}")
    import numpy  # the one function that needs it, and only when called

    return numpy.asarray(memoryview(self))


_NUMPY_CODES = frozenset({*range(10), 11, 12, 14, 15})


def array_of(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    """What NumPy asks for: ``Tensor.__array__``. Errors are those of ``numpy``; ``copy`` as in ``numpy.asarray``."""
    array = numpy_of(self)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"__array__: cannot give {self.dtype!r} as {dtype} without a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def array_interface(self: Any) -> dict[str, Any]:
    """The tensor's memory as NumPy's array interface: ``Tensor.__array_interface__``. Errors are those of ``numpy``."""
    interface: dict[str, Any] = numpy_of(self).__array_interface__
    return interface


def cuda_array_interface(self: Any) -> dict[str, Any]:
    """The tensor's memory for other CUDA libraries: ``Tensor.__cuda_array_interface__``.

    Raises AttributeError for a tensor of another device, RuntimeError for one that requires grad.
    """
    if not self.is_cuda:
        raise AttributeError(
            f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()} If CUDA data is required use "
            "tensor.cuda() to copy tensor to device memory."
        )
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't required, use "
            "var.detach() to get Variable that doesn't require grad."
        )
    kind = self.dtype
    letter = "b" if kind is _dtypes.bool else "c" if kind.is_complex else "f" if kind.is_floating_point else "i"
    size = self.itemsize
    if letter == "i" and not kind.is_signed:
        letter = "u"
    if kind is _dtypes.bfloat16:  # as PyTorch has it: NumPy has no such type
        letter = "V"
    strides = None if self._contiguous else tuple(s * size for s in self.stride())
    data = (self.data_ptr() if self._numel else 0, False)
    return {
        "typestr": f"{'|' if size == 1 else '<'}{letter}{size}", "shape": tuple(self.shape), "strides": strides,
        "data": data, "version": 2,
    }  # fmt: skip


def wrap_array(self: Any, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
    """What NumPy's functions make of a tensor, as a tensor again: ``Tensor.__array_wrap__``; booleans become uint8."""
    if array.dtype == bool:
        array = array.astype("uint8")
    return from_numpy(array)


# ---------------------------------------------------------------- DLPack


class DLDeviceType(enum.IntEnum):
    """The device types of DLPack. Reference: ``torch.utils.dlpack.DLDeviceType``."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17
    kDLTrn = 18


_DLPACK_TYPES = {
    "cpu": DLDeviceType.kDLCPU, "cuda": DLDeviceType.kDLCUDA, "mps": DLDeviceType.kDLMetal, "hip": DLDeviceType.kDLROCM,
}  # fmt: skip
_DEVICE_TYPES = {1: "cpu", 2: "cuda", 3: "cpu", 8: "mps", 10: "hip"}


def dlpack_device(self: Any) -> tuple[DLDeviceType, int]:
    """The DLPack device type and index: ``Tensor.__dlpack_device__``."""
    device = self.device
    return _DLPACK_TYPES[device.type], device.index or 0


def to_dlpack(
    self: Any, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """A DLPack capsule that shares the tensor's memory: ``Tensor.__dlpack__``.

    The versioned form when the consumer's ``max_version`` is (1, 0) or later, else the legacy one. ``copy=True`` hands
    out a copy, ``dl_device`` moves it. Raises BufferError for a tensor that requires grad or a dtype without a DLPack
    type, ValueError when ``copy=False`` cannot be kept. Reference: ``torch.Tensor.__dlpack__``.

    >>> from_dlpack(tensor([1, 2]).__dlpack__())
    tensor([1, 2])
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if self._flags & 16:
        raise BufferError("Can't export tensors with the conjugate bit set")
    if self._flags & 32:
        self = self.resolve_neg()
    if stream is not None and type(stream) is not int:
        raise TypeError("stream must be ``int`` or ``none``")
    if self._device_code == 0:
        if stream is not None and stream != -1:
            raise AssertionError("stream should be None on cpu.")
    elif stream != -1:
        # the consumer's stream is not ours to wait on: what is queued here is finished first
        sys.modules["dumbtorch.cuda"].synchronize(self.device)
    copied = bool(copy)
    here = dlpack_device(self)
    if dl_device is not None and (int(dl_device[0]), int(dl_device[1])) != here:
        kind = _DEVICE_TYPES.get(int(dl_device[0]))
        if kind is None:
            raise BufferError(f"__dlpack__: unknown DLPack device type {int(dl_device[0])}")
        if copy is False:
            raise ValueError(f"cannot move tensor from {self.device} to DLPack device {dl_device} without copying")
        target = _device.device(kind) if kind == "cpu" else _device.device(kind, int(dl_device[1]))
        self, copied = self.to(target), True
    elif copied:
        self = self.clone()
    return _TO_DLPACK(self, max_version is not None and max_version[0] >= 1, copied)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Any:
    """A tensor on the memory of another library's array that speaks DLPack, or of a capsule.

    ``device`` and ``copy`` are passed on to the producer; a producer on another device is copied. Raises RuntimeError
    for a capsule that was used before, BufferError for dtypes, devices and strides that a tensor cannot have.
    Reference: ``torch.from_dlpack``.

    >>> import numpy
    >>> from_dlpack(numpy.arange(3))
    tensor([0, 1, 2])
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        if device is not None or copy is not None:
            raise AssertionError("device and copy kwargs not supported when ext_tensor is already a DLPack capsule.")
        return _FROM_DLPACK(ext_tensor)
    kind, index = ext_tensor.__dlpack_device__()
    options: dict[str, Any] = {"max_version": (1, 0)}
    if copy is not None:
        options["copy"] = copy
    moves = False
    if device is not None:
        device = _device._as_device(device)
        target = (_DLPACK_TYPES[device.type], device.index or 0)
        moves = target != (int(kind), index)
        if not moves:
            options["dl_device"] = target
        elif copy is False:
            raise ValueError(
                f"cannot move DLPack tensor from device {(int(kind), index)} to {target} without copying. Set "
                "copy=None or copy=True."
            )
    if int(kind) in (2, 10):
        options["stream"] = 1 if int(kind) == 2 else 0  # the default stream, on which our kernels run
    copied_by_producer = True
    # older producers know fewer arguments
    for dropped in ("", "max_version", "copy", "dl_device"):
        if dropped and options.pop(dropped, None) is None:
            continue
        copied_by_producer = "copy" in options or copy is None
        try:
            capsule = ext_tensor.__dlpack__(**options)
            break
        except TypeError:
            if not options or set(options) == {"stream"}:
                raise
    t = _FROM_DLPACK(capsule)
    if moves:
        return t.to(device)
    return t.clone() if copy and not copied_by_producer else t
