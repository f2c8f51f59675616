"""What the copy family offers to the others without their compiling it again."""

from std.ffi import external_call
from std.memory import Pointer
from tensor.errors import python_error
from tensor.layout import Dims
from tensor.memory import Words
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, new_ref


def copy_into(dst: TPtr, src: TPtr) raises:
    """`dst[...] = src`, broadcast and cast, on any devices; the caller has checked shapes and overlap."""
    if external_call["dumbtorch_write", Int](Int(dst), Int(src)) != 0:
        raise python_error()


def copy_strided(
    dst: Int, dst_code: Int, dst_strides: Dims, src: Int, src_code: Int, src_strides: Dims, shape: Dims, ndim: Int
):
    """Copies and casts between host addresses; strides in elements (the source's may be 0 or negative)."""
    var layout = Array[Dims, 3](fill=dst_strides)
    layout[1] = src_strides.copy()
    layout[2] = shape.copy()
    var p: Words = Pointer(to=layout).unsafe_bitcast[Int]().as_unsafe_any_origin()
    external_call["dumbtorch_transfer", NoneType](dst, dst_code, src, src_code, p, ndim)


def on_host(t: TPtr) raises -> Obj:
    """A new reference to the tensor where it is in host memory, else to a contiguous copy that is."""
    if t[].device() == 0:
        return new_ref(Int(t))
    var made = new_tensor(t[].code(), t[].shape, t[].rank())
    try:
        copy_into(as_tensor(made), t)
    except e:
        decref(made)
        raise e^
    return made


def on_device(made: Obj, device: Int) raises -> Obj:
    """The tensor (whose reference is taken), copied to a device if that is not the CPU."""
    if device == 0:
        return made
    var t = as_tensor(made)
    var there: Obj
    try:
        there = new_tensor(t[].code(), t[].shape, t[].rank(), device)
        try:
            copy_into(as_tensor(there), t)
        except e:
            decref(there)
            raise e^
    finally:
        decref(made)
    return there


def contiguous_of(t: TPtr, code: Int) raises -> Obj:
    """The tensor itself (a new reference) when it is contiguous and of the dtype, else such a copy."""
    if t[].contiguous() and t[].code() == code:
        return new_ref(Int(t))
    var copy = new_tensor(code, t[].shape, t[].rank(), t[].device())
    try:
        copy_into(as_tensor(copy), t)
    except e:
        decref(copy)
        raise e^
    return copy
