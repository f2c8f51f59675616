"""The buffer protocol: tensors as NumPy arrays without a copy, and memory of others as tensors."""

from std.ffi import external_call, c_int
from .dtype import dtype_name, itemsize
from .errors import set_python_error
from .memory import at, load, store
from .object import as_tensor, is_sparse
from .py import incref
from .runtime import MODE_NO_GRAD, runtime
from .storage import StoragePtr, release, retain


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


# Struct-module letters by dtype code; bfloat16, the half-complex and the float8 types have none.
comptime _FORMATS: StaticString = (
    "?\0\0B\0\0b\0\0h\0\0i\0\0l\0\0H\0\0I\0\0L\0\0e\0\0\0\0\0f\0\0d\0\0\0\0\0Zf\0Zd\0\0\0\0\0\0\0\0\0\0"
)
comptime WRITABLE = 1
comptime FORMAT = 4
comptime SHAPE = 8
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
        if t[].requires_grad() and runtime()[].mode() & MODE_NO_GRAD == 0:
            raise Error("BufferError|a tensor that requires grad has no buffer: use tensor.detach()")
        if t[].lazy() != 0:
            raise Error("BufferError|the tensor has a conjugate or negative bit set: resolve it first")
        if is_sparse(o):
            raise Error("BufferError|a sparse tensor has no buffer: use tensor.to_dense()")
        var format = Int(_FORMATS.unsafe_ptr()) + 3 * t[].code()
        if load[UInt8](format) == 0:
            raise Error(
                t"BufferError|the buffer protocol has no format for {dtype_name(t[].code())}: convert the tensor, or"
                t" view its memory as an integer dtype of the same size"
            )
        var n = t[].rank()
        var size = itemsize(t[].code())
        view[].buf = t[].writable()
        view[].readonly = Int32(t[].storage()[].readonly)
        if Int(flags) & WRITABLE != 0 and view[].readonly != 0:
            raise Error("BufferError|the tensor's memory is read-only")
        # sizes, strides and the storage that the consumer keeps alive, whatever becomes of the tensor meanwhile
        var record = external_call["malloc", Int](8 * (2 * n + 1))
        if record == 0:
            raise Error("OutOfMemoryError|could not allocate a buffer record")
        retain(t[].storage())
        t[].storage()[].exported += 1
        store[Int](record, t[].storage_address)
        var dims = record + 8
        for i in range(n):
            store[Int](dims + 8 * i, t[].shape[i])
            store[Int](dims + 8 * (n + i), t[].strides[i] * size)
        view[].len = t[].numel * size
        view[].itemsize = size
        view[].ndim = Int32(n)
        view[].format = format if Int(flags) & FORMAT != 0 else 0
        view[].shape = dims if Int(flags) & SHAPE != 0 else 0
        view[].strides = dims + 8 * n if Int(flags) & STRIDES == STRIDES else 0
        view[].suboffsets = 0
        view[].internal = record
        incref(o)
        view[].obj = o
        return 0
    except e:
        set_python_error(e)
        return -1


def release_buffer(o: Int, view_address: Int) abi("C") -> None:
    var view = at[PyBuffer](view_address)
    var storage = StoragePtr(unsafe_from_address=load[Int](view[].internal))
    storage[].exported -= 1
    release(storage)
    external_call["free", NoneType](view[].internal)
