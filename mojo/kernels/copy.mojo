"""Copies, conversions and writes: `copy_`, `clone`, `contiguous`, `to`, `fill_`, `zero_`."""

from std.ffi import external_call
from std.memory import Pointer, stack_allocation
from tensor.call import Call, Scalar2, register
from tensor.dtype import itemsize
from tensor.errors import python_error, set_python_error

from tensor.layout import (
    Dims, broadcast_into, contiguous_strides, dense_strides, expanded_strides, extent, is_dense, no_dims, same_dims, shape_text,
)  # fmt: skip
from tensor.memory import Words, function_at, memcpy
from tensor.object import TPtr, as_tensor, is_tensor, new_strided, new_tensor, wrap_storage
from tensor.py import Obj, decref, is_str, new_ref, string_of
from tensor.runtime import MAX_RANK
from tensor.storage import INLINE_LIMIT, check_status, device_copy, device_table, lazy_clone
from kernels.constants import check_fits, number_bits
from kernels.pointwise import broadcast_error, check_overlap, check_writable
from kernels.transfer import Transfer, fill_layout, transfer

comptime PRESERVE = 0
comptime CONTIGUOUS_FORMAT = 1
comptime CHANNELS_LAST = 2
comptime CHANNELS_LAST_3D = 3


# ---------------------------------------------------------------- writing one tensor into another


def write(dst: TPtr, src: TPtr) raises:
    """`dst[...] = src` with broadcasting and casting, on any devices. Shapes and overlap have been checked."""
    if dst[].numel == 0:
        return
    _write_bits(dst, src)
    var pending = dst[].lazy() ^ src[].lazy()
    if pending != 0:
        if external_call["dumbtorch_flip_signs", Int](Int(dst), pending) != 0:
            raise Error("P|")


@always_inline
def _write_bits(dst: TPtr, src: TPtr) raises:
    """`write`, whatever work is pending on the two."""
    # the destination's address first: it may move when it ends copy-on-write sharing
    var to = dst[].writable()
    if dst[].device() == 0 and src[].device() == 0:
        if (
            dst[].dtype == src[].dtype
            and dst[].numel == src[].numel
            and dst[].contiguous()
            and src[].contiguous()
            and dst[].numel <= 16384
        ):
            memcpy(to, src[].data(), dst[].numel * itemsize(dst[].code()))
            return
        _host(to, dst[].code(), dst[].strides, src[].data(), src, dst)
        return
    _across(dst, src)


def _host(to: Int, code: Int, strides: Dims, from_: Int, src: TPtr, dst: TPtr):
    var ndim = dst[].rank()
    var ss = expanded_strides(src[].shape, src[].strides, src[].rank(), dst[].shape, ndim)
    transfer(to, code, strides, from_, src[].code(), ss, dst[].shape, ndim)


@no_inline
def _across(dst: TPtr, src: TPtr) raises:
    """A copy that touches a device: blocks move whole, everything else happens in host memory."""
    var here = dst[].device()
    var there = src[].device()
    var nbytes = dst[].numel * itemsize(dst[].code())
    var same = (
        dst[].dtype == src[].dtype
        and dst[].rank() == src[].rank()
        and same_dims(dst[].shape, src[].shape, dst[].rank())
    )
    if same and _blockwise(dst, src):
        var kind = 0 if there == 0 else (1 if here == 0 else 2)
        if here == 0 or there == 0 or here == there:
            device_copy(there if kind == 1 else here, dst[].writable(), src[].data(), nbytes, kind)
            return
    if _onto_device(dst, src) if here != 0 else _from_device(dst, src):
        return
    # the source's stretch of memory on the host
    var source = _on_host(src)
    try:
        if here == 0:
            _host(dst[].writable(), dst[].code(), dst[].strides, as_tensor(source)[].data(), as_tensor(source), dst)
        elif is_dense(dst[].shape, dst[].strides, dst[].rank()):
            var made = new_strided(dst[].code(), dst[].shape, dst[].strides, dst[].rank())
            var m = as_tensor(made)
            _host(m[].data(), m[].code(), m[].strides, as_tensor(source)[].data(), as_tensor(source), m)
            try:
                device_copy(here, dst[].data(), m[].data(), nbytes, 0)
            finally:
                decref(made)
        else:
            # between the elements lie others: fetch, write, put back
            var made = _on_host(dst)
            var m = as_tensor(made)
            _host(m[].data(), m[].code(), m[].strides, as_tensor(source)[].data(), as_tensor(source), m)
            var e = extent(dst[].shape, dst[].strides, dst[].rank())
            try:
                device_copy(
                    here,
                    dst[].data() + e[0] * itemsize(m[].code()),
                    m[].storage()[].data,
                    (e[1] - e[0]) * itemsize(m[].code()),
                    0,
                )
            finally:
                decref(made)
    finally:
        decref(source)


def _onto_device(dst: TPtr, src: TPtr) raises -> Bool:
    """Copies, casts and broadcasts on the target's device; False when that has no kernel for the dtypes."""
    var here = dst[].device()
    if src[].device() == here:
        return _on_device(dst, src)
    if not src[].contiguous() and not is_dense(src[].shape, src[].strides, src[].rank()):
        return False
    # the source as it is, at the other side
    var moved = new_strided(src[].code(), src[].shape, src[].strides, src[].rank(), here)
    try:
        write(as_tensor(moved), src)
        return _on_device(dst, as_tensor(moved))
    finally:
        decref(moved)


def _from_device(dst: TPtr, src: TPtr) raises -> Bool:
    """Makes what the target wants on the source's device, then moves it as one block."""
    if not dst[].contiguous() and not is_dense(dst[].shape, dst[].strides, dst[].rank()):
        return False
    var made = new_strided(dst[].code(), dst[].shape, dst[].strides, dst[].rank(), src[].device())
    try:
        if not _on_device(as_tensor(made), src):
            return False
        write(dst, as_tensor(made))
        return True
    finally:
        decref(made)


def _on_device(dst: TPtr, src: TPtr) raises -> Bool:
    comptime LaunchFn = def(Int, Pointer[Transfer, MutAnyOrigin], Int, Int) thin abi("C") -> Int
    var device = dst[].device()
    var ndim = dst[].rank()
    var ss = expanded_strides(src[].shape, src[].strides, src[].rank(), dst[].shape, ndim)
    var work = Transfer(dst[].writable(), dst[].code(), src[].data(), src[].code())
    if not work.layout(dst[].shape, dst[].strides, ss, ndim):
        return True
    var f = function_at[LaunchFn](device_table(device)[].transfer)
    var status = f(device & 255, Pointer(to=work).as_unsafe_any_origin(), dst[].code(), src[].code())
    if status == 1:
        return False
    check_status(status, device, "copying between layouts or dtypes")
    return True


def _blockwise(a: TPtr, b: TPtr) -> Bool:
    """The same dense layout on both sides: one block can move as it is."""
    if a[].contiguous() and b[].contiguous():
        return True
    return same_dims(a[].strides, b[].strides, a[].rank()) and is_dense(a[].shape, a[].strides, a[].rank())


def _on_host(t: TPtr) raises -> Obj:
    """A host tensor with the same strides: its memory is the stretch that the elements span."""
    if t[].device() == 0:
        return new_ref(Int(t))
    var e = extent(t[].shape, t[].strides, t[].rank())
    var count = e[1] - e[0]
    var one = no_dims()
    one[0] = count
    var flat = new_tensor(t[].code(), one, 1)
    var f = as_tensor(flat)
    try:
        if count > 0:
            var size = itemsize(t[].code())
            device_copy(t[].device(), f[].data(), t[].data() + e[0] * size, count * size, 1)
    except err:
        decref(flat)
        raise err^
    from tensor.object import set_layout

    set_layout(f, t[].shape, t[].strides, t[].rank())
    f[].offset = -e[0]  # strides may be negative
    return flat


def copy_(mut call: Call) raises -> Obj:
    """In place: (self, src, non_blocking): writes src, broadcast and cast, into self."""
    var dst = call.tensor(0)
    var src = call.tensor(1)
    if Int(dst) == Int(src):
        return new_ref(Int(dst))
    var ndim = dst[].rank()
    if src[].rank() != ndim or not same_dims(dst[].shape, src[].shape, ndim):
        var shape = dst[].shape.copy()
        var n = ndim
        var bad = broadcast_into(shape, n, src[].shape, src[].rank())
        if bad >= 0:
            raise broadcast_error(dst[].shape, ndim, src, bad, n)
        if n != ndim or not same_dims(shape, dst[].shape, n):
            raise Error(
                t"RuntimeError|output with shape {shape_text(dst[].shape, ndim)} doesn't match the broadcast shape"
                t" {shape_text(shape, n)}"
            )
    check_writable(dst)
    if dst[].storage_address == src[].storage_address:
        if dst[].dtype == src[].dtype and dst[].offset == src[].offset and dst[].lazy() == src[].lazy():
            if (
                src[].rank() == ndim
                and same_dims(dst[].shape, src[].shape, ndim)
                and same_dims(dst[].strides, src[].strides, ndim)
            ):
                return new_ref(Int(dst))
        check_overlap(dst, src)
    write(dst, src)
    return new_ref(Int(dst))


@export("dumbtorch_write")
def write_export(dst: Int, src: Int) abi("C") -> Int:
    """`write` for other families: 0, or -1 with the Python error set."""
    try:
        write(as_tensor(dst), as_tensor(src))
        return 0
    except e:
        set_python_error(e)
        return -1


@export("dumbtorch_transfer")
def transfer_export(dst: Int, dst_code: Int, src: Int, src_code: Int, layout: Words, ndim: Int) abi("C") -> None:
    """`transfer` for other families; `layout` holds the strides of both and the shape, MAX_RANK words each."""
    var ds = no_dims()
    var ss = no_dims()
    var shape = no_dims()
    for i in range(ndim):
        ds[i] = layout[unsafe_offset=i]
        ss[i] = layout[unsafe_offset=MAX_RANK + i]
        shape[i] = layout[unsafe_offset=2 * MAX_RANK + i]
    transfer(dst, dst_code, ds, src, src_code, ss, shape, ndim)


# ---------------------------------------------------------------- new tensors


def memory_format(call: Call, i: Int) raises -> Int:
    """None, "preserve", "contiguous", "channels_last", or an object that prints as one of PyTorch's formats."""
    if call.is_none(i):
        return PRESERVE
    from std.ffi import external_call

    var text: String
    if is_str(call.obj(i)):
        text = string_of(call.obj(i))
    else:
        var s = external_call["PyObject_Str", Int](call.obj(i))
        if s == 0:
            raise python_error()
        text = string_of(s)
        decref(s)
    if text.find("channels_last_3d") >= 0:
        return CHANNELS_LAST_3D
    if text.find("channels_last") >= 0:
        return CHANNELS_LAST
    if text.find("contiguous") >= 0:
        return CONTIGUOUS_FORMAT
    if text.find("preserve") >= 0:
        return PRESERVE
    raise call.type_error(i, "torch.memory_format")


def format_strides(call: Call, t: TPtr, format: Int) raises -> Dims:
    var n = t[].rank()
    if format == PRESERVE:
        return dense_strides(t[].shape, t[].strides, t[].rank())
    if format == CONTIGUOUS_FORMAT:
        return contiguous_strides(t[].shape, n)
    var wanted = 4 if format == CHANNELS_LAST else 5
    if n != wanted:
        raise Error(t"RuntimeError|required rank {wanted} tensor to use channels_last format")
    var strides = no_dims()
    strides[1] = 1
    var step = t[].shape[1]
    for j in range(n - 2):
        strides[n - 1 - j] = step
        step *= t[].shape[n - 1 - j]
    strides[0] = step
    return strides^


def clone(mut call: Call) raises -> Obj:
    """(self, memory_format): a copy, lazy (copy on write) where the tensor fills its storage."""
    var t = call.tensor(0)
    return cloned(t, format_strides(call, t, memory_format(call, 1)))


def cloned(t: TPtr, strides: Dims) raises -> Obj:
    var n = t[].rank()
    var nbytes = t[].numel * itemsize(t[].code())
    if (
        t[].offset == 0
        and nbytes > INLINE_LIMIT
        and t[].storage()[].nbytes == nbytes
        and t[].device() == 0
        and same_dims(strides, t[].strides, n)
    ):
        return wrap_storage(lazy_clone(t[].storage()), 0, t[].code(), t[].shape, strides, n)
    return converted(t, t[].code(), strides, t[].device())


def converted(t: TPtr, code: Int, strides: Dims, device: Int) raises -> Obj:
    """A new tensor with t's values in another dtype, layout or place."""
    var made = new_strided(code, t[].shape, strides, t[].rank(), device)
    try:
        write(as_tensor(made), t)
    except e:
        decref(made)
        raise e^
    return made


def contiguous(mut call: Call) raises -> Obj:
    """(self, memory_format): self if it lies so already, else a copy that does."""
    var t = call.tensor(0)
    var format = memory_format(call, 1)
    if format == PRESERVE:
        if not call.is_none(1):
            raise Error("RuntimeError|preserve memory format is unsupported by the contiguous operator")
        format = CONTIGUOUS_FORMAT
    if format == CONTIGUOUS_FORMAT and t[].contiguous():
        return new_ref(Int(t))
    var strides = format_strides(call, t, format)
    var same = True
    for i in range(t[].rank()):
        if t[].shape[i] > 1 and strides[i] != t[].strides[i]:
            same = False
    if same and t[].numel > 0:
        return new_ref(Int(t))
    return converted(t, t[].code(), strides, t[].device())


def to_dtype(mut call: Call) raises -> Obj:
    """(self, dtype, copy): self in another dtype; self itself when that changes nothing, unless `copy`."""
    var t = call.tensor(0)
    var code = call.dtype(1, t[].code())
    if code == t[].code():
        if not call.bool(2):
            return new_ref(Int(t))
        return cloned(t, dense_strides(t[].shape, t[].strides, t[].rank()))
    return converted(t, code, dense_strides(t[].shape, t[].strides, t[].rank()), t[].device())


def to_copy(mut call: Call) raises -> Obj:
    """(self, dtype, device): always a new tensor."""
    var t = call.tensor(0)
    var code = call.dtype(1, t[].code())
    var device = call.device(2, t[].device())
    if code == t[].code() and device == t[].device():
        return cloned(t, dense_strides(t[].shape, t[].strides, t[].rank()))
    return converted(t, code, dense_strides(t[].shape, t[].strides, t[].rank()), device)


# ---------------------------------------------------------------- constants


def fill_number(t: TPtr, s: Scalar2) raises:
    """Writes a number into every element."""
    if t[].numel == 0:
        return
    var bits = number_bits(t[].code(), s)
    var to = t[].writable()
    if t[].device() == 0:
        fill_layout(to, t[].code(), t[].strides, t[].shape, t[].rank(), bits[0], bits[1])
        return
    var host = new_tensor(t[].code(), no_dims(), 0)
    var h = as_tensor(host)
    fill_layout(h[].data(), h[].code(), h[].strides, h[].shape, 0, bits[0], bits[1])
    try:
        write(t, h)
    finally:
        decref(host)


def fill_(mut call: Call) raises -> Obj:
    """In place: (self, value): a number, or a tensor without dimensions, into every element."""
    var t = call.tensor(0)
    if is_tensor(call.obj(1)):
        var v = call.tensor(1)
        if v[].rank() != 0:
            raise Error(
                t"RuntimeError|fill_ only supports 0-dimension value tensor but got tensor with"
                t" {v[].rank()} dimensions."
            )
        check_writable(t)
        if v[].storage_address == t[].storage_address:
            # the value lies among what is overwritten
            var kept = converted(v, v[].code(), v[].strides, v[].device())
            try:
                write(t, as_tensor(kept))
            finally:
                decref(kept)
        else:
            write(t, v)
        return new_ref(Int(t))
    var s = call.scalar(1)
    check_fits(t[].code(), s)
    check_writable(t)
    fill_number(t, s)
    return new_ref(Int(t))


def zero_(mut call: Call) raises -> Obj:
    """In place: (self)."""
    var t = call.tensor(0)
    check_writable(t)
    fill_number(t, Scalar2(1, 0, 0, 0))
    return new_ref(Int(t))


@export("dumbtorch_register_copy")
def register_copy() abi("C") -> None:
    register[copy_]("copy_")
    register[copy_]("copy")
    register[clone]("clone")
    register[contiguous]("contiguous")
    register[to_dtype]("_to_dtype")
    register[to_copy]("to_copy")
    register[fill_]("fill_")
    register[fill_]("fill")
    register[zero_]("zero_")
    register[zero_]("zero")
