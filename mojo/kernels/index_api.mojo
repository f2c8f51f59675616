"""What the families that move elements by index share: index tensors, their checks, and the walk itself.

The loops (kernels/walk.mojo) are compiled once, into the family `index`; the others call them through `walk`.
"""

from std.ffi import external_call
from std.memory import Pointer, stack_allocation
from tensor.call import Call, Scalar2
from tensor.dtype import INT32, INT64, dtype_name, itemsize
from tensor.layout import Dims, no_dims, same_dims, shape_text
from tensor.memory import at, load
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.promote import put_number
from tensor.py import Obj, decref
from kernels.device_api import check_devices, launch_walk
from kernels.pointwise import check_overlap, check_writable, unsupported
from kernels.results import write_into
from kernels.transfer_api import contiguous_of
from kernels.walk import Span3


def check_apart(written: TPtr, other: TPtr) raises:
    """Refuses to write to what is read by index: also where both are the same elements."""
    var same = Int(written) == Int(other) or (
        written[].storage_address == other[].storage_address
        and written[].offset == other[].offset
        and written[].numel > 0
        and written[].rank() == other[].rank()
        and same_dims(written[].shape, other[].shape, other[].rank())
        and same_dims(written[].strides, other[].strides, other[].rank())
    )
    if same:
        raise Error(
            "RuntimeError|unsupported operation: some elements of the input"
            " tensor and the written-to tensor refer to a single memory"
            " location. Please clone() the tensor before performing the"
            " operation."
        )
    check_overlap(written, other)


def check_out(call: Call, t: TPtr) raises:
    """The out= tensor of an op that moves elements of t: it has t's dtype, and is not t."""
    if not call.has_out() or call.inplace():
        return
    var o = as_tensor(call.out)
    if o[].code() != t[].code():
        raise Error(
            t"RuntimeError|Expected out tensor to have dtype"
            t" {dtype_name(t[].code())}, but got"
            t" {dtype_name(o[].code())} instead"
        )
    check_writable(o)
    check_apart(o, t)


def as_indices(t: TPtr) raises -> Obj:
    """An index tensor, whose dtype has been checked, as contiguous int64: a new reference."""
    return contiguous_of(t, INT64)


@always_inline
def is_index(t: TPtr) -> Bool:
    return t[].code() == INT64 or t[].code() == INT32


def outside(t: TPtr, size: Int) -> Int:
    """The place of the first of contiguous int64 indices in host memory that is not in [0, size), or -1."""
    return external_call["dumbtorch_first_outside", Int](t[].data(), t[].numel, size)


def check_bounds(indices: Obj, dim: Int, size: Int) raises:
    """Raises as gather and scatter do."""
    var t = as_tensor(indices)
    if t[].device() != 0:
        return  # the device's kernel checks them
    var bad = outside(t, size)
    if bad >= 0:
        var v = load[Int](t[].data() + 8 * bad)
        raise Error(t"RuntimeError|index {v} is out of bounds for dimension {dim} with size {size}")


def check_rows(indices: Obj, size: Int) raises:
    """Raises as index_select and embedding do."""
    var t = as_tensor(indices)
    if t[].device() == 0 and outside(t, size) >= 0:
        raise Error("IndexError|index out of range in self")


@always_inline
def size_at(t: TPtr, dim: Int) -> Int:
    """A size; a tensor without dimensions has one of size 1."""
    return t[].shape[dim] if t[].rank() > 0 else 1


def span_of(a: TPtr, data: Int, b: Int, index: Int, dim: Int) -> Span3:
    var span = Span3(data, b, index, a[].strides[dim] if a[].rank() > 0 else 1, dim)
    span.limit = size_at(a, dim)
    return span^


def walk(call: Call, a: TPtr, mut span: Span3, mode: Int) raises:
    """Runs a walk over `a`: on the CPU by the index family's loops, else on the accelerator."""
    check_devices(call, a[].device())
    if a[].device() != 0:
        launch_walk(call, a, span, mode)
    elif external_call["dumbtorch_walk", Int](Pointer(to=span).as_unsafe_any_origin(), mode, a[].code()) != 0:
        raise unsupported(call.name(), a[].code())


def wrapped(indices: Obj, dim: Int, size: Int) raises -> Obj:
    """Contiguous int64 indices counted from the front, checked: the same tensor or, in its place, a new one."""
    var t = as_tensor(indices)
    if t[].device() != 0 or outside(t, size) < 0:
        return indices
    for i in range(t[].numel):
        var v = load[Int](t[].data() + 8 * i)
        if v < -size or v >= size:
            raise Error(t"IndexError|index {v} is out of bounds for dimension {dim} with size {size}")
    var made = new_tensor(INT64, t[].shape, t[].rank())
    for i in range(t[].numel):
        var v = load[Int](t[].data() + 8 * i)
        at[Int](as_tensor(made)[].data())[unsafe_offset=i] = v + size if v < 0 else v
    decref(indices)
    return made


def check_rank(index: TPtr, t: TPtr, what: StaticString) raises:
    if max(index[].rank(), 1) != max(t[].rank(), 1):
        raise Error(t"RuntimeError|Index tensor must have the same number of dimensions as {what} tensor")


def element_dims(mut span: Span3, a: TPtr, sb: Dims, index: TPtr):
    """The shape of a contiguous `index`; `sb` are the other side's strides."""
    if index[].rank() == 0:
        span.add_dim(1, 1, 1, 1)
        return
    for i in range(index[].rank()):
        var sa = a[].strides[i] if a[].rank() > 0 else 1
        span.add_dim(index[].shape[i], sa, sb[i], index[].strides[i])


def check_sizes(t: TPtr, dim: Int, index: TPtr, source: TPtr, has_source: Bool) raises:
    check_rank(index, t, "self")
    if has_source:
        check_rank(index, source, "src")
    var fits = True
    for i in range(max(t[].rank(), 1)):
        var n = size_at(index, i)
        if i != dim and n > size_at(t, i):
            fits = False
        if has_source and n > size_at(source, i):
            fits = False
    if fits:
        return
    var text = String(
        t"Expected index {shape_text(index[].shape, index[].rank())} to be no"
        t" larger than self {shape_text(t[].shape, t[].rank())} apart from"
        t" dimension {dim}"
    )
    if has_source:
        text += String(t" and to be no larger size than src {shape_text(source[].shape, source[].rank())}")
    raise Error(t"RuntimeError|{text}")


def constant_of(s: Scalar2, like: TPtr) raises -> Obj:
    """A number as a tensor without dimensions, of the dtype and device of another one."""
    var made = new_tensor(like[].code(), no_dims(), 0)
    var space = stack_allocation[16, UInt8]()
    put_number(space.as_unsafe_any_origin(), like[].code(), s)
    for i in range(itemsize(like[].code())):
        at[UInt8](as_tensor(made)[].data())[unsafe_offset=i] = space[unsafe_offset=i]
    if like[].device() == 0:
        return made
    var there = new_tensor(like[].code(), no_dims(), 0, like[].device())
    try:
        write_into(there, made)
    except e:
        decref(there)
        decref(made)
        raise e^
    decref(made)
    return there
