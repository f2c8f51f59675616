"""Putting tensors together (`cat`) and turning them round (`flip`)."""

from tensor.call import Call, register
from tensor.dtype import itemsize, type_name
from tensor.layout import Dims, contiguous_strides, dense_strides, no_dims, same_dims, wrap_dim
from tensor.memory import memcpy
from tensor.object import TPtr, as_tensor, is_tensor, new_strided, view_of
from tensor.promote import ResultType, can_cast
from tensor.py import Obj, decref, is_list, is_sequence, new_ref, seq_item, seq_len, type_name_of
from kernels.index_api import check_apart
from kernels.pointwise import check_writable, resize_out
from kernels.transfer_api import copy_into, copy_strided, on_host


@always_inline
def _skipped(t: TPtr) -> Bool:
    """An empty vector fits anywhere: code from before empty tensors had shapes relies on it."""
    return t[].rank() == 1 and t[].shape[0] == 0


def _is_channels_last(t: TPtr) -> Bool:
    var s = t[].shape.copy()
    return (
        t[].rank() == 4
        and not t[].contiguous()
        and t[].strides[1] == 1
        and t[].strides[3] == s[1]
        and t[].strides[2] == s[1] * s[3]
        and t[].strides[0] == s[1] * s[3] * s[2]
    )


def cat(mut call: Call) raises -> Obj:
    """(tensors, dim): the tensors one after the other along a dimension; dtypes are promoted."""
    var list = call.obj(0)
    if not is_sequence(list):
        raise call.type_error(0, "tuple of Tensors")
    var count = seq_len(list)
    if count == 0:
        raise Error("ValueError|torch.cat(): expected a non-empty list of Tensors")
    var types = ResultType()
    var model = -1
    var device = 0
    for i in range(count):
        var o = seq_item(list, i)
        if not is_tensor(o):
            raise Error(t"TypeError|expected Tensor as element {i} in argument 0, but got {type_name_of(o)}")
        var t = as_tensor(o)
        if t[].rank() == 0:
            raise Error(t"RuntimeError|zero-dimensional tensor (at position {i}) cannot be concatenated")
        types.add_tensor(t)
        if i == 0:
            device = t[].device()
        elif t[].device() != device:
            raise Error("RuntimeError|cat(): expected all tensors to be on the same device; move them with .to()")
        if model < 0 and not _skipped(t):
            model = i
    var code = types.result()
    var first = as_tensor(seq_item(list, max(model, 0)))
    var n = first[].rank()
    var dim = wrap_dim(call.int(1), n) if model >= 0 else 0
    var shape = first[].shape.copy()
    var channels_last = True
    var total = 0
    for i in range(count):
        var t = as_tensor(seq_item(list, i))
        if _skipped(t):
            continue
        if t[].rank() != n:
            raise Error(t"RuntimeError|Tensors must have same number of dimensions: got {n} and {t[].rank()}")
        for d in range(n):
            if d != dim and t[].shape[d] != shape[d]:
                raise Error(
                    t"RuntimeError|Sizes of tensors must match except in dimension {dim}. Expected size {shape[d]} but"
                    t" got size {t[].shape[d]} for tensor number {i} in the list."
                )
        total += t[].shape[dim]
        channels_last = channels_last and _is_channels_last(t)
    shape[dim] = total
    if call.out != 0:
        return _into(call, list, count, code, shape, n, dim)
    var strides = contiguous_strides(shape, n)
    if channels_last and model >= 0:
        strides[1] = 1
        strides[3] = shape[1]
        strides[2] = shape[1] * shape[3]
        strides[0] = strides[2] * shape[2]
    var made = new_strided(code, shape, strides, n, device)
    try:
        if device == 0:
            _fill(as_tensor(made), list, count, dim)
        else:
            _fill_views(as_tensor(made), list, count, dim)
    except e:
        decref(made)
        raise e^
    return made


def _into(call: Call, list: Obj, count: Int, code: Int, shape: Dims, n: Int, dim: Int) raises -> Obj:
    var t = as_tensor(call.out)
    if not can_cast(code, t[].code()):
        raise Error(
            t"TypeError|torch.cat(): input types can't be cast to the desired output type {type_name(t[].code())}"
        )
    for i in range(count):
        check_apart(t, as_tensor(seq_item(list, i)))
    if t[].rank() != n or not same_dims(t[].shape, shape, n):
        resize_out(t, shape, n)
    check_writable(t)
    if t[].device() == 0:
        _fill(t, list, count, dim)
        return new_ref(call.out)
    _fill_views(t, list, count, dim)
    return new_ref(call.out)


def _fill_views(out_: TPtr, list: Obj, count: Int, dim: Int) raises:
    """Writes the parts into views of a tensor on a device."""
    var shape = out_[].shape.copy()
    var at = out_[].offset
    for i in range(count):
        var t = as_tensor(seq_item(list, i))
        if t[].numel == 0:
            continue
        shape[dim] = t[].shape[dim]
        var view = view_of(out_, at, shape, out_[].strides, out_[].rank())
        try:
            copy_into(as_tensor(view), t)
        finally:
            decref(view)
        at += t[].shape[dim] * out_[].strides[dim]


def _fill(out_: TPtr, list: Obj, count: Int, dim: Int) raises:
    """Writes the parts into a tensor in host memory."""
    var size = itemsize(out_[].code())
    var at = out_[].writable()
    var outer = 1
    for d in range(dim):
        outer *= out_[].shape[d]
    var plain = outer == 1 and out_[].contiguous()
    for i in range(count):
        var given = as_tensor(seq_item(list, i))
        if given[].numel == 0:
            continue
        var host = on_host(given)
        var t = as_tensor(host)
        if plain and t[].contiguous() and t[].dtype == out_[].dtype and t[].numel * size <= 262144:
            memcpy(at, t[].data(), t[].numel * size)
        else:
            copy_strided(at, out_[].code(), out_[].strides, t[].data(), t[].code(), t[].strides, t[].shape, t[].rank())
        at += t[].shape[dim] * out_[].strides[dim] * size
        decref(host)


def flip(mut call: Call) raises -> Obj:
    """(self, dims): the order of the elements along the dimensions reversed; always a copy."""
    var given = call.tensor(0)
    var dims = no_dims()
    var k = call.dims(1, dims)
    var n = given[].rank()
    var turned = 0
    for i in range(k):
        var d = wrap_dim(dims[i], n)
        if turned & (1 << d) != 0:
            raise Error(t"RuntimeError|dim {d} appears multiple times in the list of dims")
        turned |= 1 << d
    # dense, in the order of the dimensions that the input has
    var dense = dense_strides(given[].shape, given[].strides, n)
    var made = new_strided(given[].code(), given[].shape, dense, n, given[].device())
    var m = as_tensor(made)
    var from_ = 0
    var strides = given[].strides.copy()
    for d in range(n):
        if turned & (1 << d) != 0 and given[].shape[d] > 1:
            from_ += (given[].shape[d] - 1) * strides[d]
            strides[d] = -strides[d]
    if given[].device() == 0:
        var start = given[].data() + from_ * itemsize(given[].code())
        copy_strided(m[].data(), m[].code(), m[].strides, start, m[].code(), strides, m[].shape, n)
        return made
    var turned_view: Obj = 0
    try:
        turned_view = view_of(given, given[].offset + from_, given[].shape, strides, n)
        copy_into(m, as_tensor(turned_view))
    except e:
        decref(made)
        if turned_view != 0:
            decref(turned_view)
        raise e^
    decref(turned_view)
    return made


@export("dumbtorch_register_join")
def register_join() abi("C") -> None:
    register[cat]("cat")
    register[flip]("flip")
