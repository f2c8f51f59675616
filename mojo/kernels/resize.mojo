"""Changing what a tensor object shows: its layout over its storage, and the size of the storage itself."""

from tensor.allocator import pool
from tensor.call import Call, register
from tensor.dtype import itemsize
from tensor.layout import checked_numel, extent, no_dims, shape_text
from tensor.memory import memcpy
from tensor.object import TPtr, set_layout
from tensor.py import Obj, new_ref, xdecref

from tensor.storage import (
    DEVICE, FOREIGN, HEADER, INLINE, POOLED, StoragePtr, device_alloc, device_copy, device_free, make_writable, out_of_memory
)  # fmt: skip


def set_shape(mut call: Call) raises -> Obj:
    """Parameters (self, shape, strides, offset): another layout over the same storage, which must hold it."""
    var t = call.tensor(0)
    var shape = no_dims()
    var strides = no_dims()
    var n = call.dims(1, shape)
    if call.dims(2, strides) != n:
        raise call.fail("RuntimeError", "shape and strides must have the same length")
    var offset = call.int(3)
    var size = itemsize(t[].code())
    _ = checked_numel(shape, n, size)
    var reach = extent(shape, strides, n)
    var far = Float64(offset)  # the reach again, where it does not fit a word
    for i in range(n):
        far += abs(Float64(strides[i]) * Float64(shape[i] - 1))
    if far > 1e17 or offset < 0 or offset + reach[0] < 0 or (offset + reach[1]) * size > t[].storage()[].nbytes:
        raise call.fail(
            "RuntimeError",
            String(t"shape {shape_text(shape, n)}, strides {shape_text(strides, n)} and offset {offset} do not fit"),
        )
    t[].offset = offset
    set_layout(t, shape, strides, n)
    return new_ref(Int(t))


def resize_storage(mut call: Call) raises -> Obj:
    """Parameters (self, nbytes): the storage with that many bytes; what was there stays, as far as it fits."""
    var t = call.tensor(0)
    var nbytes = call.int(1)
    if nbytes < 0:
        raise call.fail("RuntimeError", "a storage cannot have a negative size")
    var s = t[].storage()
    if s[].nbytes == nbytes:
        return new_ref(Int(t))
    if Int(s[].kind) == FOREIGN or s[].exported != 0:
        # somebody else knows the address
        raise Error("RuntimeError|Trying to resize storage that is not resizable")
    make_writable(s)
    var device = Int(s[].device)
    var data = pool()[].take(nbytes) if device == 0 else device_alloc(device, nbytes)
    if data == 0:
        raise out_of_memory(nbytes, device)
    var kept = min(nbytes, s[].nbytes)
    if device == 0:
        memcpy(data, s[].data, kept)
    elif kept > 0:
        device_copy(device, data, s[].data, kept, 2)
    _drop(s)
    s[].data = data
    s[].nbytes = nbytes
    return new_ref(Int(t))


def _drop(s: StoragePtr):
    """Gives back the storage's old memory; one that held it in its own block keeps the header of it."""
    var kind = Int(s[].kind)
    if kind == DEVICE:
        device_free(Int(s[].device), s[].data, s[].nbytes)
    elif kind == POOLED:
        pool()[].give(s[].data, s[].nbytes)
    elif kind == INLINE:
        # the block will be given back as a header: the pool forgets the rest of it
        var whole = max((HEADER + s[].nbytes + 63) >> 6, 1) << 6
        pool()[].allocated -= whole - (max((HEADER + 63) >> 6, 1) << 6)
        s[].kind = Int32(POOLED)


def adopt_storage(mut call: Call) raises -> Obj:
    """Parameters (self, source): the storage moves to the foreign memory of another, which must be as large."""
    var t = call.tensor(0)
    var s = t[].storage()
    var source = call.tensor(1)[].storage()
    if Int(source[].kind) != FOREIGN or source[].nbytes != s[].nbytes or Int(s[].device) != 0:
        raise call.fail("RuntimeError", "a storage moves only to foreign memory of its size")
    if s[].exported != 0:
        # somebody else knows the address
        raise Error(
            "RuntimeError|the storage cannot move: another library holds its address, or data_ptr() was asked for"
        )
    make_writable(s)
    var before = s[].owner if Int(s[].kind) == FOREIGN else 0
    _drop(s)
    s[].data = source[].data
    s[].owner = new_ref(source[].owner)
    s[].kind = Int32(FOREIGN)
    s[].readonly = source[].readonly
    xdecref(before)
    return new_ref(Int(t))


@export("dumbtorch_register_resize")
def register_resize() abi("C") -> None:
    register[set_shape]("_set_shape")
    register[resize_storage]("_resize_storage")
    register[adopt_storage]("_adopt_storage")
