"""Lines: a tensor with one dimension moved last and contiguous, for kernels that work along a dimension."""

from tensor.call import Call
from tensor.dtype import BOOL, is_complex
from tensor.layout import Dims, contiguous_strides, no_dims, same_dims
from tensor.object import TPtr, as_tensor, new_strided, set_layout, view_of
from tensor.py import Obj, decref
from kernels.keys import LIMIT
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of, copy_into


def lines_of(t: TPtr, dim: Int) raises -> Obj:
    """A new reference to a contiguous tensor with `dim` moved last: the tensor itself where it is that."""
    var n = t[].rank()
    if dim >= n - 1:
        return contiguous_of(t, t[].code())
    var shape = no_dims()
    var strides = no_dims()
    for i in range(n - 1):
        var j = i if i < dim else i + 1
        shape[i] = t[].shape[j]
        strides[i] = t[].strides[j]
    shape[n - 1] = t[].shape[dim]
    strides[n - 1] = t[].strides[dim]
    var moved = view_of(t, t[].offset, shape, strides, n)
    try:
        return contiguous_of(as_tensor(moved), t[].code())
    finally:
        decref(moved)


def line_shape(t: TPtr, dim: Int, count: Int) -> Dims:
    """The shape of lines along `dim` with `count` elements in each."""
    var n = t[].rank()
    var shape = t[].shape.copy()
    for i in range(dim, n - 1):
        shape[i] = t[].shape[i + 1]
    if n > 0:
        shape[n - 1] = count
    return shape^


def lines_back(lines: Obj, dim: Int) raises -> Obj:
    """Lines (whose reference is taken) as a contiguous tensor with the last dimension moved back to `dim`."""
    var t = as_tensor(lines)
    var shape = no_dims()
    moved_back(t[].shape, t[].rank(), dim, shape)
    return lines_into(lines, dim, contiguous_strides(shape, t[].rank()))


def lines_into(lines: Obj, dim: Int, strides: Dims) raises -> Obj:
    """As `lines_back`, with these (dense) strides."""
    var t = as_tensor(lines)
    var n = t[].rank()
    if n < 2:
        return lines
    var shape = no_dims()
    var own = no_dims()
    moved_back(t[].shape, n, dim, shape)
    moved_back(t[].strides, n, dim, own)
    if same_dims(own, strides, n):
        set_layout(t, shape, own, n)
        return lines
    try:
        var result = new_strided(t[].code(), shape, strides, n)
        set_layout(t, shape, own, n)
        copy_into(as_tensor(result), t)
        return result
    finally:
        decref(lines)


def moved_back(values: Dims, n: Int, dim: Int, mut result: Dims):
    for i in range(n):
        var j = i if i < dim else n - 1 if i == dim else i - 1
        result[i] = values[j]


def drop_dim(t: TPtr, dim: Int, keepdim: Bool):
    """Reshapes lines of one element each to a reduction's result: without their last dimension, or with `dim` kept."""
    var n = t[].rank()
    if n == 0:
        return
    var shape = no_dims()
    if keepdim:
        moved_back(t[].shape, n, dim, shape)
    else:
        shape = t[].shape.copy()
        n -= 1
    set_layout(t, shape, contiguous_strides(shape, n), n)


def check_order(call: Call, t: TPtr, n: Int, dtypes: Int, label: StaticString) raises:
    """What sorts and selects refuse; `dtypes` has a bit for each dtype that they take."""
    if dtypes >> t[].code() & 1 == 0:
        if is_complex(t[].code()) and (label == "Sort" or label == "topk"):
            raise Error(t"RuntimeError| {label} does not support complex dtypes on CPU")
        if t[].code() == BOOL and label == "topk":
            raise Error("RuntimeError|topk does not support bool dtypes on CPU")
        raise unsupported(String(label), t[].code())
    if t[].device() != 0:
        raise call.fail(
            "RuntimeError",
            "is computed on the CPU; move the tensor with .cpu()",
        )
    if n >= LIMIT:
        raise call.fail(
            "RuntimeError",
            String(t"at most {LIMIT - 1} elements can be put in order, got {n}"),
        )
