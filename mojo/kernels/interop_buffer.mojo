"""Memory of other Python objects as tensors, through the buffer protocol: no copy."""

from std.ffi import c_int, external_call
from tensor.buffer import PyBuffer

from tensor.dtype import (
    BOOL, COMPLEX128, COMPLEX64, FLOAT16, FLOAT32, FLOAT64, INT16, INT32, INT64, INT8, UINT16, UINT32, UINT64, UINT8,
    itemsize,
)  # fmt: skip
from tensor.errors import python_error
from tensor.layout import contiguous_strides, extent, is_dense, no_dims
from tensor.loop import cast_block
from tensor.memory import address_of, at, load, memcpy
from tensor.move import strided_copy
from tensor.object import TPtr, as_tensor, new_strided, new_tensor, wrap_storage
from tensor.py import Obj, decref, get_attr, string_of, type_name_of, xdecref
from tensor.runtime import MAX_RANK
from tensor.storage import StoragePtr, foreign_storage
from std.sys.info import size_of

comptime FORMAT_AND_STRIDES = 0x1C  # PyBUF_RECORDS_RO: any strides, read-only memory too
comptime NAME: StaticString = "dumbtorch.buffer"


def _release(capsule: Int) abi("C") -> None:
    """Destructor of the capsule that owns a buffer: gives the memory back to its exporter."""
    var view = load[Int](capsule + 16)  # PyCapsule: refcount, type, pointer
    external_call["PyBuffer_Release", NoneType](view)
    external_call["free", NoneType](view)


def open_buffer(o: Obj, flags: Int) raises -> Obj:
    """A capsule that holds o's buffer open. Raises what the exporter raises."""
    var view = external_call["calloc", Int](Int(1), size_of[PyBuffer]())
    if view == 0:
        raise Error("OutOfMemoryError|could not allocate a buffer record")
    if external_call["PyObject_GetBuffer", c_int](o, view, c_int(flags)) != 0:
        external_call["free", NoneType](view)
        raise python_error()
    var destructor: def(Int) thin abi("C") -> None = _release
    var capsule = external_call["PyCapsule_New", Int](view, Int(NAME.unsafe_ptr()), _function(destructor))
    if capsule == 0:
        external_call["PyBuffer_Release", NoneType](view)
        external_call["free", NoneType](view)
        raise python_error()
    return capsule


def _function(f: def(Int) thin abi("C") -> None) -> Int:
    var v = f
    return address_of(v)


@always_inline
def buffer_in(capsule: Obj) -> Int:
    return load[Int](capsule + 16)


def format_dtype(view_address: Int) -> Int:
    """The dtype code of a buffer's struct-module format; -1 for other kinds, -2 for the other byte order."""
    var format = at[PyBuffer](view_address)[].format
    var size = at[PyBuffer](view_address)[].itemsize
    if format == 0:
        return UINT8
    var c = Int(load[UInt8](format))
    if c == 64 or c == 61 or c == 60:  # '@', '=', '<': native on every machine that we build for
        format += 1
        c = Int(load[UInt8](format))
    elif c == 62 or c == 33:  # '>', '!'
        return -2 if size > 1 else -1
    var second = Int(load[UInt8](format + 1))
    if c == 90:  # 'Z': complex
        if second == 102:
            return COMPLEX64
        return COMPLEX128 if second == 100 else -1
    if second != 0:
        return -1
    if c == 63:  # '?'
        return BOOL
    if c == 101 and size == 2:  # 'e'
        return FLOAT16
    if c == 102:  # 'f'
        return FLOAT32
    if c == 100:  # 'd'
        return FLOAT64
    if c == 98 or c == 104 or c == 105 or c == 108 or c == 113:  # b h i l q
        return INT8 if size == 1 else INT16 if size == 2 else INT32 if size == 4 else INT64
    if c == 66 or c == 72 or c == 73 or c == 76 or c == 81:  # B H I L Q
        return UINT8 if size == 1 else UINT16 if size == 2 else UINT32 if size == 4 else UINT64
    return -1


def _unsupported(o: Obj) -> Error:
    var name = type_name_of(o)
    var dtype = get_attr(o, "dtype")
    var scalar = get_attr(dtype, "type") if dtype != 0 else 0
    external_call["PyErr_Clear", NoneType]()
    if scalar != 0:
        var text = get_attr(scalar, "__name__")
        name = String("numpy.") + string_of(text)
        xdecref(text)
        decref(scalar)
    xdecref(dtype)
    return Error(
        t"TypeError|can't convert np.ndarray of type {name}. The only supported types are: float64, float32,"
        t" float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
    )


def _open_array(o: Obj) raises -> Obj:
    """`open_buffer` of an array: datetimes, objects and the like export none."""
    try:
        return open_buffer(o, FORMAT_AND_STRIDES)
    except:
        external_call["PyErr_Clear", NoneType]()
        raise _unsupported(o)


def buffer_dtype(o: Obj) raises -> Int:
    """The dtype of a NumPy scalar or array."""
    var capsule = _open_array(o)
    var code = format_dtype(buffer_in(capsule))
    decref(capsule)
    if code < 0:
        raise _unsupported(o)
    return code


def tensor_over(o: Obj) raises -> Obj:
    """A tensor over the memory of an object with a strided buffer, kept alive by the storage."""
    var capsule = _open_array(o)
    try:
        var view = at[PyBuffer](buffer_in(capsule))
        var code = format_dtype(Int(view))
        if code == -2:
            raise Error(
                "ValueError|given numpy array has byte order different from the native byte order. Conversion between"
                " byte orders is currently not supported."
            )
        if code < 0:
            raise _unsupported(o)
        var n = Int(view[].ndim)
        if n > MAX_RANK:
            raise Error(t"ValueError|at most {MAX_RANK} dimensions are supported, got {n}")
        var size = itemsize(code)
        var shape = no_dims()
        var strides = no_dims()
        for i in range(n):
            shape[i] = load[Int](view[].shape + 8 * i)
            var step = load[Int](view[].strides + 8 * i)
            if step < 0:
                raise Error(
                    "ValueError|At least one stride in the given numpy array is negative, and tensors with negative"
                    " strides are not currently supported. (You can probably work around this by making a copy of your"
                    " array  with array.copy().) "
                )
            if step % size != 0:
                raise Error(
                    "ValueError|given numpy array strides not a multiple of the element byte size. Copy the numpy array"
                    " to reallocate the memory."
                )
            strides[i] = step // size
        var reach = extent(shape, strides, n)
        var storage = foreign_storage(view[].buf, reach[1] * size, capsule, view[].readonly != 0)
        # the storage owns the capsule from here on
        capsule = 0
        return wrap_storage(storage, 0, code, shape, strides, n)
    except e:
        if capsule != 0:
            decref(capsule)
        raise e^


def tensor_over_bytes(o: Obj, code: Int) raises -> Obj:
    """A 1-d tensor of `code` over a contiguous buffer, whatever the buffer's own format."""
    var capsule = open_buffer(o, 0)
    var view = at[PyBuffer](buffer_in(capsule))
    var nbytes = view[].len
    var storage: StoragePtr
    try:
        storage = foreign_storage(view[].buf, nbytes, capsule, view[].readonly != 0)
    except e:
        decref(capsule)
        raise e^
    var shape = no_dims()
    shape[0] = nbytes // itemsize(code)
    return wrap_storage(storage, 0, code, shape, contiguous_strides(shape, 1), 1)


def copy_of_array(o: Obj, dtype: Int) raises -> Obj:
    """A tensor with its own copy of an array's elements, cast to `dtype` (-1: as they are). Dense layouts are kept."""
    var borrowed = tensor_over(o)
    try:
        var t = as_tensor(borrowed)
        var n = t[].rank()
        var r: Obj
        if is_dense(t[].shape, t[].strides, n):
            r = new_strided(t[].code(), t[].shape, t[].strides, n)
            memcpy(as_tensor(r)[].data(), t[].data(), t[].numel * itemsize(t[].code()))
        else:
            r = new_tensor(t[].code(), t[].shape, n)
            if t[].numel > 0:
                _ = _gather(t, 0, t[].data(), as_tensor(r)[].data(), itemsize(t[].code()))
        if dtype < 0 or dtype == t[].code():
            return r
        try:
            var c = as_tensor(r)
            var result = new_strided(dtype, c[].shape, c[].strides, n)
            if c[].numel > 0:
                cast_block(c[].code(), dtype, c[].data(), as_tensor(result)[].data(), c[].numel)
            return result
        finally:
            decref(r)
    finally:
        decref(borrowed)


def _gather(t: TPtr, dim: Int, source: Int, target: Int, size: Int) -> Int:
    """Copies the elements from `dim` on in row-major order; the address after the last one written."""
    var n = t[].shape[dim]
    var step = t[].strides[dim] * size
    if dim == t[].rank() - 1:
        strided_copy(source, step, target, size, size, n)
        return target + n * size
    var to = target
    for i in range(n):
        to = _gather(t, dim + 1, source + i * step, to, size)
    return to
