"""The buffer protocol: tensors as NumPy arrays without a copy, and memory of others as tensors."""

from std.ffi import external_call, c_int
from std.memory import Pointer
from .dtype import BFLOAT16, BOOL, itemsize
from .errors import set_python_error
from .memory import at, c_string, store
from .object import as_tensor
from .py import incref
from .runtime import MAX_RANK, runtime


struct PyBuffer:
    var buf: Int
    var obj: Int
    var len: Int
    var itemsize: Int
    var readonly: Int32
    var ndim: Int32
    var format: Int
    var shape: Int
    var strides: Int
    var suboffsets: Int
    var internal: Int


# Struct-module letters by dtype code; bfloat16, the half-complex and the float8 types have none: they go out as raw bytes.
comptime _FORMATS: StaticString = "?\0\0B\0\0b\0\0h\0\0i\0\0q\0\0H\0\0I\0\0Q\0\0e\0\0H\0\0f\0\0d\0\0I\0\0Zf\0Zd\0B\0\0B\0\0I\0\0"
comptime WRITABLE = 1
comptime C_CONTIGUOUS = 0x38
comptime STRIDES = 0x18


def get_buffer(o: Int, view_address: Int, flags: c_int) abi("C") -> c_int:
    """Exports the tensor's memory as it is: shape, byte strides and all."""
    var view = at[PyBuffer](view_address)
    var t = as_tensor(o)
    view[].obj = 0
    try:
        if t[].device() != 0:
            raise Error("TypeError|can't convert a device tensor to numpy: copy it to the CPU first with .cpu()")
        if Int(flags) & STRIDES != STRIDES and not t[].contiguous():
            raise Error("BufferError|the tensor is not contiguous: ask for strides, or call .contiguous() first")
        var n = t[].rank()
        var size = itemsize(t[].code())
        view[].buf = t[].writable()
        view[].readonly = Int32(t[].storage()[].readonly)
        if Int(flags) & WRITABLE != 0 and view[].readonly != 0:
            raise Error("BufferError|the tensor's memory is read-only")
        var dims = external_call["malloc", Int](2 * 8 * max(n, 1))
        for i in range(n):
            store[Int](dims + 8 * i, t[].shape[i])
            store[Int](dims + 8 * (n + i), t[].strides[i] * size)
        view[].len = t[].numel * size
        view[].itemsize = size
        view[].ndim = Int32(n)
        view[].format = Int(_FORMATS.unsafe_ptr()) + 3 * t[].code()
        view[].shape = dims
        view[].strides = dims + 8 * n
        view[].suboffsets = 0
        view[].internal = dims
        incref(o)
        view[].obj = o
        return 0
    except e:
        set_python_error(e)
        return -1


def release_buffer(o: Int, view_address: Int) abi("C") -> None:
    external_call["free", NoneType](at[PyBuffer](view_address)[].internal)
