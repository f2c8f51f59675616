"""Conjugation and negation by sign bits: pending (a view that says so) or at once.

A tensor marked CONJUGATE or NEGATIVE holds the opposite signs in some places. Kernels that do not mind the marks get a
resolved copy (tensor/call.mojo); writing into such a tensor flips the signs of what was written.
"""

from std.ffi import external_call
from std.math import ceildiv
from tensor.call import Call, register
from tensor.dtype import complex_part, is_complex, is_floating, itemsize, type_name
from tensor.errors import set_python_error
from tensor.layout import Dims, dense_strides, is_dense, no_dims, same_dims
from tensor.memory import at, function_at, load, store
from tensor.object import CONJUGATE, LAZY, NEGATIVE, TPtr, as_tensor, new_strided
from tensor.promote import check_can_cast
from tensor.py import Obj, decref, new_ref, release_gil, take_gil
from tensor.runtime import runtime
from tensor.storage import check_status
from tensor.threads import Body, parallel
from tensor.viewing import view_of
from kernels.pointwise import check_writable, resize_out
from kernels.device_api import device_entry
from kernels.transfer_api import copy_into, copy_strided

comptime CHUNK = 1 << 18  # bytes of one task


def _signs(code: Int, work: Int) -> SIMD[DType.uint64, 2]:
    """The sign bits to flip in 16 bytes of elements."""
    var part = itemsize(complex_part(code))
    var sign = UInt64(1) << UInt64(8 * part - 1)
    var even = sign if work & NEGATIVE != 0 else 0
    var odd = even
    if is_complex(code) and work & CONJUGATE != 0:
        odd = even ^ sign
    if part == 8:
        return SIMD[DType.uint64, 2](even, odd)
    var word = even | odd << UInt64(8 * part)
    var filled = 2 * part
    while filled < 8:
        word |= word << UInt64(8 * filled)
        filled *= 2
    return SIMD[DType.uint64, 2](word, word)


@fieldwise_init
struct _Flip(Body):
    """`dst = src` with signs flipped, over contiguous bytes."""

    var dst: Int
    var src: Int
    var nbytes: Int
    var signs: SIMD[DType.uint64, 2]

    def run(self, task: Int, worker: Int):
        var start = task * CHUNK
        var n = min(CHUNK, self.nbytes - start)
        var d = self.dst + start
        var s = self.src + start
        var mask = self.signs.join(self.signs)
        var wide = mask.join(mask)
        var i = 0
        while i + 64 <= n:
            at[UInt64](d + i).unsafe_store(0, at[UInt64](s + i).unsafe_load[width=8](0) ^ wide)
            i += 64
        while i + 8 <= n:
            store[UInt64](d + i, load[UInt64](s + i) ^ self.signs[(i >> 3) & 1])
            i += 8
        while i < n:
            var bits = (self.signs[0] >> UInt64(8 * (i & 7))).cast[DType.uint8]()
            store[UInt8](d + i, load[UInt8](s + i) ^ bits)
            i += 1

    def execute(self):
        var tasks = ceildiv(self.nbytes, CHUNK)
        if tasks < 4:
            for i in range(tasks):
                self.run(i, 0)
            return
        var held = release_gil()
        parallel(self, tasks)
        take_gil(held)


def _flip_strided(data: Int, size: Int, signs: SIMD[DType.uint64, 2], shape: Dims, strides: Dims, ndim: Int, dim: Int):
    """The same in place, element by element."""
    if dim == ndim:
        _Flip(data, data, size, signs).run(0, 0)
        return
    for i in range(shape[dim]):
        _flip_strided(data + i * strides[dim] * size, size, signs, shape, strides, ndim, dim + 1)


def _flip_on_device(dst: TPtr, src: TPtr, work: Int) raises:
    """`dst = src` with signs flipped, on the device of both, in one dense layout."""
    comptime FlipFn = def(Int, Int, Int, Int, Int, Int) thin abi("C") -> Int
    var device = dst[].device()
    var f = function_at[FlipFn](device_entry(device, "flip_signs"))
    var code = dst[].code()
    var part = itemsize(complex_part(code))
    var even = work & NEGATIVE != 0
    var odd = even != (is_complex(code) and work & CONJUGATE != 0)
    var parts = dst[].numel * itemsize(code) // part
    check_status(
        f(device & 255, dst[].data(), src[].data(), parts, part, Int(even) + 2 * Int(odd)), device, "flipping signs"
    )


def _flip_inside_device(t: TPtr, work: Int) raises:
    """Flips signs in place, on a device."""
    if t[].contiguous() or is_dense(t[].shape, t[].strides, t[].rank()):
        _flip_on_device(t, t, work)
        return
    # between the elements lie others: flip a dense copy, write it back
    var plain = view_of(t, t[].offset, t[].shape, t[].strides, t[].rank())
    try:
        as_tensor(plain)[].flags &= ~UInt16(LAZY)
        var made = flipped(as_tensor(plain), work)
        try:
            copy_into(as_tensor(plain), as_tensor(made))
        finally:
            decref(made)
    finally:
        decref(plain)


def flip_signs(t: TPtr, work: Int) raises:
    """Flips signs in place; the tensor's memory is its own already."""
    if t[].device() != 0:
        _flip_inside_device(t, work)
        return
    var signs = _signs(t[].code(), work)
    var size = itemsize(t[].code())
    if t[].contiguous() or is_dense(t[].shape, t[].strides, t[].rank()):
        _Flip(t[].data(), t[].data(), t[].numel * size, signs).execute()
    else:
        _flip_strided(t[].data(), size, signs, t[].shape, t[].strides, t[].rank(), 0)


def flipped(t: TPtr, work: Int) raises -> Obj:
    """A new tensor with the same elements, signs flipped."""
    var n = t[].rank()
    var strides = dense_strides(t[].shape, t[].strides, n)
    var made = new_strided(t[].code(), t[].shape, strides, n, t[].device())
    var m = as_tensor(made)
    if m[].numel == 0:
        return made
    if t[].device() != 0:
        try:
            var plain = view_of(t, t[].offset, t[].shape, t[].strides, n)
            as_tensor(plain)[].flags &= ~UInt16(LAZY)
            try:
                copy_into(m, as_tensor(plain))
            finally:
                decref(plain)
            _flip_on_device(m, m, work)
        except e:
            decref(made)
            raise e^
    elif same_dims(strides, t[].strides, n):
        _Flip(m[].data(), t[].data(), m[].numel * itemsize(m[].code()), _signs(m[].code(), work)).execute()
    else:
        copy_strided(m[].data(), m[].code(), strides, t[].data(), t[].code(), t[].strides, t[].shape, n)
        flip_signs(m, work)
    return made


@export("dumbtorch_resolved")
def resolved_export(o: Int) abi("C") -> Int:
    """A copy without pending work, for tensor/call.mojo; 0 with the Python error set."""
    try:
        return flipped(as_tensor(o), as_tensor(o)[].lazy())
    except e:
        set_python_error(e)
        return 0


@export("dumbtorch_flip_signs")
def flip_export(o: Int, work: Int) abi("C") -> Int:
    """`flip_signs`, for what was just written into a tensor with pending work; below 0 with the Python error set."""
    try:
        flip_signs(as_tensor(o), work)
        return 0
    except e:
        set_python_error(e)
        return -1


def _pending(t: TPtr, work: Int) raises -> Obj:
    runtime()[].lazy = True
    var o = view_of(t, t[].offset, t[].shape, t[].strides, t[].rank())
    as_tensor(o)[].flags ^= UInt16(work)
    return o


def conj(mut call: Call) raises -> Obj:
    """(self): a view of a complex tensor that reads as its conjugate; a real one itself."""
    var t = call.tensor(0)
    if not is_complex(t[].code()):
        return new_ref(Int(t))
    return _pending(t, CONJUGATE)


def resolve[work: Int](mut call: Call) raises -> Obj:
    """(self): the tensor itself, or a copy without pending work if some of this kind is."""
    var t = call.tensor(0)
    return flipped(t, t[].lazy()) if t[].lazy() & work != 0 else new_ref(Int(t))


def neg_view(mut call: Call) raises -> Obj:
    """(self): a view that reads as the negative."""
    var t = call.tensor(0)
    if not is_complex(t[].code()) and not is_floating(t[].code()):
        raise call.fail(
            "RuntimeError", String(t"needs a floating point or complex tensor, got {type_name(t[].code())}")
        )
    return _pending(t, NEGATIVE)


def conj_physical(mut call: Call) raises -> Obj:
    """(self): the conjugate, computed."""
    var t = call.tensor(0)
    if call.inplace():
        check_writable(t)
        if is_complex(t[].code()) and t[].numel > 0:
            _ = t[].writable()
            flip_signs(t, CONJUGATE)
        return new_ref(Int(t))
    if not call.has_out():
        return flipped(t, CONJUGATE) if is_complex(t[].code()) else new_ref(Int(t))
    var o = as_tensor(call.out)
    check_can_cast(t[].code(), o[].code())
    if o[].rank() != t[].rank() or not same_dims(o[].shape, t[].shape, t[].rank()):
        resize_out(o, t[].shape, t[].rank())
    check_writable(o)
    var made = flipped(t, CONJUGATE if is_complex(t[].code()) else 0)
    var status = external_call["dumbtorch_write", Int](Int(o), made)
    decref(made)
    if status != 0:
        raise Error("P|")
    return new_ref(Int(o))


@export("dumbtorch_register_conjugate")
def register_conjugate() abi("C") -> None:
    register[conj]("conj")
    register[resolve[CONJUGATE]]("resolve_conj")
    register[resolve[NEGATIVE]]("resolve_neg")
    register[neg_view]("neg_view")
    register[conj_physical]("conj_physical")
