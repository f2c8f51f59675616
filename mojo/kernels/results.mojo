"""What the families that compute into new memory share: the result, or the `out=` tensor or argument that it goes to."""

from std.ffi import external_call
from tensor.call import Call
from tensor.errors import python_error
from tensor.layout import Dims, same_dims
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.promote import check_can_cast
from tensor.py import Obj, decref, new_ref
from kernels.pointwise import check_writable, resize_out


def write_into(dst: Obj, src: Obj) raises:
    if external_call["dumbtorch_write", Int](dst, src) != 0:
        raise python_error()


def result_for(call: Call, code: Int, shape: Dims, ndim: Int, device: Int) raises -> Obj:
    """A new reference to a contiguous tensor that the result can be computed into: out= itself where it fits."""
    if call.has_out():
        var o = as_tensor(call.out)
        check_can_cast(code, o[].code())
        if o[].rank() != ndim or not same_dims(o[].shape, shape, ndim):
            resize_out(o, shape, ndim)
        check_writable(o)
    return new_tensor(code, shape, ndim, device)


def finished(call: Call, result: Obj) raises -> Obj:
    """The result, or the out= tensor with the result written into it. Takes over the reference."""
    if not call.has_out():
        return result
    try:
        write_into(call.out, result)
    finally:
        decref(result)
    return new_ref(call.out)


def target_of(call: Call, t: TPtr) raises -> Obj:
    """What an op that changes its first argument writes to, as a new reference: the argument or a copy of it."""
    if call.inplace():
        check_writable(t)
        return new_ref(Int(t))
    var copy = result_for(call, t[].code(), t[].shape, t[].rank(), t[].device())
    try:
        write_into(copy, Int(t))
    except e:
        decref(copy)
        raise e^
    return copy


def done(call: Call, target: Obj) raises -> Obj:
    return target if call.inplace() else finished(call, target)
