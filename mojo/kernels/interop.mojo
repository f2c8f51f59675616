"""To and from Python and other libraries: numbers, lists, buffers, DLPack capsules."""

from std.ffi import external_call
from std.memory import stack_allocation
from std.sys import CompilationTarget, llvm_intrinsic

from tensor.call import Call, register
from tensor.dtype import BOOL, NUM_DTYPES, UINT8, itemsize
from tensor.errors import python_error
from tensor.layout import (
    checked_numel,
    contiguous_strides,
    extent,
    no_dims,
    shape_text,
)
from tensor.memory import load, store
from tensor.object import TPtr, as_tensor, new_tensor, wrap_storage
from tensor.py import Obj, decref, new_ref
from tensor.runtime import runtime
from tensor.storage import device_copy, retain
from kernels.interop_buffer import tensor_over, tensor_over_bytes
from kernels.interop_data import tensor_from
from kernels.interop_dlpack import capsule_of, tensor_of
from kernels.interop_values import HostView, object_at, object_of


def item(mut call: Call) raises -> Obj:
    """The value of a one-element tensor as a Python number: (self)."""
    var t = call.tensor(0)
    if t[].numel != 1:
        raise Error(t"RuntimeError|a Tensor with {t[].numel} elements cannot be converted to Scalar")
    if t[].device() == 0:
        return object_of(t[].code(), t[].data())
    var view = HostView(t)
    var r = object_of(t[].code(), view.first)
    _ = view^
    return r


def tolist(mut call: Call) raises -> Obj:
    """Nested Python lists of the elements; a 0-d tensor's number: (self)."""
    var t = call.tensor(0)
    var view = HostView(t)
    var r: Obj = 0
    comptime for c in range(NUM_DTYPES):
        if t[].code() == c:
            r = object_at[c](view.first) if t[].rank() == 0 else _list[c](t, 0, view.first)
    _ = view^
    if r == 0:
        raise python_error()
    return r


def _list[code: Int](t: TPtr, dim: Int, first: Int) -> Obj:
    """The list of one dimension; 0 with the Python error set when there is no memory."""
    var n = t[].shape[dim]
    var step = t[].strides[dim] * itemsize(code)
    var r = external_call["PyList_New", Int](n)
    if r == 0:
        return 0
    var items = load[Int](r + 24)
    comptime if code == BOOL:
        if dim == t[].rank() - 1:
            var rt = runtime()
            for i in range(n):
                store[Int](
                    items + 8 * i,
                    new_ref(rt[].true_ if load[UInt8](first + i * step) != 0 else rt[].false_),
                )
            return r
    var inner = dim == t[].rank() - 1
    for i in range(n):
        var o = object_at[code](first + i * step) if inner else _list[code](t, dim + 1, first + i * step)
        if o == 0:
            decref(r)
            return 0
        store[Int](items + 8 * i, o)
    return r


def from_data(mut call: Call) raises -> Obj:
    """A new tensor from nested sequences or a number: (data, dtype, device)."""
    var code = call.dtype(1, -1)
    var device = call.device(2, 0)
    var t = tensor_from(call.obj(0), code)
    if device == 0:
        return t
    try:
        return _to_device(as_tensor(t), device)
    finally:
        decref(t)


def _to_device(t: TPtr, device: Int) raises -> Obj:
    var r = new_tensor(t[].code(), t[].shape, t[].rank(), device)
    if t[].numel > 0:
        try:
            device_copy(
                device,
                as_tensor(r)[].data(),
                t[].data(),
                t[].numel * itemsize(t[].code()),
                0,
            )
        except e:
            decref(r)
            raise e^
    return r


def from_buffer(mut call: Call) raises -> Obj:
    """A tensor over the memory of an object with the buffer protocol: (buffer)."""
    return tensor_over(call.obj(0))


def from_bytes(mut call: Call) raises -> Obj:
    """A 1-d tensor over the bytes of a C-contiguous buffer: (buffer, dtype)."""
    return tensor_over_bytes(call.obj(0), call.dtype(1, 0))


def to_dlpack(mut call: Call) raises -> Obj:
    """A DLPack capsule that shares the tensor's memory: (self, versioned, copied)."""
    return capsule_of(call.tensor(0), call.bool(1), call.bool(2))


def from_dlpack(mut call: Call) raises -> Obj:
    """A tensor over the memory of a DLPack capsule, which is used up: (capsule)."""
    return tensor_of(call.obj(0))


def storage_bytes(mut call: Call) raises -> Obj:
    """The whole storage behind a tensor, as a 1-d uint8 tensor: (self)."""
    var t = call.tensor(0)
    var shape = no_dims()
    shape[0] = t[].storage()[].nbytes
    retain(t[].storage())
    return wrap_storage(t[].storage(), 0, UINT8, shape, contiguous_strides(shape, 1), 1)


def over_storage(mut call: Call) raises -> Obj:
    """A tensor on the storage of another, by its layout: (memory, dtype, offset, shape, strides)."""
    var t = call.tensor(0)
    var code = call.dtype(1, UINT8)
    var offset = call.int(2)
    var shape = no_dims()
    var strides = no_dims()
    var n = call.dims(3, shape)
    if call.dims(4, strides) != n:
        raise call.fail(
            "RuntimeError",
            String("shape and strides must have the same length"),
        )
    _ = checked_numel(shape, n, itemsize(code))
    var reach = extent(shape, strides, n)
    var nbytes = t[].storage()[].nbytes
    if offset < 0 or offset + reach[0] < 0 or (offset + reach[1]) * itemsize(code) > nbytes:
        raise call.fail(
            "RuntimeError",
            String(
                t"shape {shape_text(shape, n)}, strides"
                t" {shape_text(strides, n)} and offset {offset} reach outside"
                t" of a storage of {nbytes} bytes"
            ),
        )
    retain(t[].storage())
    return wrap_storage(t[].storage(), offset, code, shape, strides, n)


def set_flush_denormal(mut call: Call) raises -> Obj:
    """Sets whether this thread's arithmetic takes denormal numbers for zeros; False where the CPU cannot: (mode)."""
    var rt = runtime()
    comptime if not CompilationTarget.is_x86():
        return new_ref(rt[].false_)
    comptime FLUSH: UInt32 = 0x8040  # results (bit 15) and operands (bit 6)
    var control = stack_allocation[1, UInt32]()
    llvm_intrinsic["llvm.x86.sse.stmxcsr", NoneType](control)
    control[] = (control[] | FLUSH) if call.bool(0) else (control[] & ~FLUSH)
    llvm_intrinsic["llvm.x86.sse.ldmxcsr", NoneType](control)
    return new_ref(rt[].true_)


@export("dumbtorch_register_interop")
def register_interop() abi("C") -> None:
    register[item]("item")
    register[tolist]("tolist")
    register[from_data]("_from_data")
    register[from_buffer]("_from_buffer")
    register[from_bytes]("_from_bytes")
    register[to_dlpack]("_to_dlpack")
    register[from_dlpack]("_from_dlpack")
    register[storage_bytes]("_storage_bytes")
    register[over_storage]("_over_storage")
    register[set_flush_denormal]("_set_flush_denormal")
