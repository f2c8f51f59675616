"""Making tensors: from sizes, from one value, from a range; `interop` makes them from Python data."""

from std.ffi import external_call
from std.math import ceil, iota
from std.utils.numerics import isfinite, isnan
from std.os import abort
from tensor.call import Call, Scalar2, register

from tensor.dtype import (
    BOOL, COMPLEX128, COMPLEX64, FLOAT64, INT64, is_complex, is_integral, itemsize, type_name,
)  # fmt: skip
from tensor.layout import Dims, checked_numel, no_dims, shape_text
from tensor.loop import cast_block
from tensor.memory import at, memset, store
from tensor.object import as_tensor, is_tensor, new_tensor, wrap_storage
from tensor.py import Obj, decref
from tensor.runtime import runtime
from tensor.storage import new_storage
from tensor.threads import Body, parallel
from tensor.allocator import aligned_block
from kernels.constants import check_fits, number_bits
from kernels.transfer_api import copy_into, copy_strided, on_device
from kernels.zeros import zero_bytes

comptime BLOCK = 512


def _size(call: Call, i: Int, code: Int, mut shape: Dims) raises -> Int:
    var ndim = call.dims(i, shape)
    _ = checked_numel(shape, ndim, itemsize(code))
    return ndim


def empty(mut call: Call) raises -> Obj:
    """Uninitialised: (size, dtype, device)."""
    var shape = no_dims()
    var code = call.dtype(1, runtime()[].default_dtype)
    var ndim = _size(call, 0, code, shape)
    return new_tensor(code, shape, ndim, call.device(2, 0))


def empty_strided(mut call: Call) raises -> Obj:
    """Uninitialised with strides of the caller's choice: (size, stride, dtype, device)."""
    var shape = no_dims()
    var strides = no_dims()
    var code = call.dtype(2, runtime()[].default_dtype)
    var ndim = _size(call, 0, code, shape)
    var k = call.dims(1, strides)
    if k != ndim:
        raise Error(t"RuntimeError|dimensionality of sizes ({ndim}) must match dimensionality of strides ({k})")
    var reach = 1
    for i in range(ndim):
        if strides[i] < 0:
            raise Error(
                t"RuntimeError|Storage size calculation overflowed with sizes={shape_text(shape, ndim)} and"
                t" strides={shape_text(strides, ndim)}"
            )
        if shape[i] == 0:
            reach = 0
        elif reach > 0:
            if strides[i] > 0 and shape[i] - 1 > (Int.MAX // itemsize(code) - reach) // strides[i]:
                raise Error(
                    t"RuntimeError|Storage size calculation overflowed with sizes={shape_text(shape, ndim)} and"
                    t" strides={shape_text(strides, ndim)}"
                )
            reach += (shape[i] - 1) * strides[i]
    var storage = new_storage(reach * itemsize(code), call.device(3, 0))
    return wrap_storage(storage, 0, code, shape, strides, ndim)


def _filled(code: Int, shape: Dims, ndim: Int, s: Scalar2, device: Int) raises -> Obj:
    var made = new_tensor(code, shape, ndim)
    var t = as_tensor(made)
    var bits = number_bits(code, s)
    if bits[0] == 0 and bits[1] == 0:
        zero_bytes(t[].data(), t[].numel * itemsize(code))
        return on_device(made, device)
    var one = aligned_block(64, 64)
    if one == 0:
        decref(made)
        raise Error("OutOfMemoryError|full(): out of memory")
    store[UInt64](one, bits[0])
    store[UInt64](one + 8, bits[1])
    copy_strided(t[].data(), code, t[].strides, one, code, no_dims(), shape, ndim)
    external_call["free", NoneType](one)
    return on_device(made, device)


def zeros(mut call: Call) raises -> Obj:
    """(size, dtype, device)."""
    var shape = no_dims()
    var code = call.dtype(1, runtime()[].default_dtype)
    var ndim = call.dims(0, shape)
    for i in range(ndim):
        if shape[i] < 0:
            raise Error("RuntimeError|zeros: Dimension size must be non-negative.")
    _ = checked_numel(shape, ndim, itemsize(code))
    return _filled(code, shape, ndim, Scalar2(1, 0, 0, 0), call.device(2, 0))


def ones(mut call: Call) raises -> Obj:
    """(size, dtype, device)."""
    var shape = no_dims()
    var code = call.dtype(1, runtime()[].default_dtype)
    var ndim = _size(call, 0, code, shape)
    return _filled(code, shape, ndim, Scalar2(1, 1, 1, 0), call.device(2, 0))


def full(mut call: Call) raises -> Obj:
    """(size, fill_value, dtype, device): one number; None for the dtype takes the number's own."""
    var shape = no_dims()
    var s = call.scalar(1)
    var rt = runtime()
    var own = BOOL
    if is_tensor(call.obj(1)):
        own = as_tensor(call.obj(1))[].code()
    elif s.category == 1:
        own = INT64
    elif s.category == 2:
        own = rt[].default_dtype
    elif s.category == 3:
        own = COMPLEX128 if rt[].default_dtype == FLOAT64 else COMPLEX64
    var code = call.dtype(2, own)
    var ndim = _size(call, 0, code, shape)
    check_fits(code, s)
    return _filled(code, shape, ndim, s, call.device(3, 0))


# ---------------------------------------------------------------- ranges


@fieldwise_init
struct _Ramp(Body):
    """`start + i * step`, or from both ends as `linspace` does it, in int64 or float64, then cast."""

    var data: Int
    var code: Int
    var n: Int
    var half: Int  # elements counted from the start; the others from the end
    var whole: Bool  # int64 arithmetic
    var start: Scalar2
    var step: Scalar2
    var end: Scalar2

    def run(self, task: Int, worker: Int):
        var space = aligned_block(BLOCK * 16, 64)
        if space == 0:
            abort("out of memory for the scratch of a range")
        var first = task * 65536
        var last = min(first + 65536, self.n)
        while first < last:
            var count = min(BLOCK, last - first)
            self._block(space, first, count)
            first += count
        external_call["free", NoneType](space)

    def _block(self, space: Int, first: Int, count: Int):
        var to = self.data + first * itemsize(self.code)
        if self.whole:
            var lanes = iota[DType.int64, 8]() * Int64(self.step.i)
            # whole vectors: the scratch has room for the last one
            for i in range(0, count, 8):
                at[Int64](space).unsafe_store(i, lanes + Int64(self.start.i + (first + i) * self.step.i))
            cast_block(INT64, self.code, space, to, count)
            return
        if first + count <= self.half and not is_complex(self.code):
            var lanes = iota[DType.float64, 8]()
            for i in range(0, count, 8):
                at[Float64](space).unsafe_store(i, (lanes + Float64(first + i)) * self.step.d + self.start.d)
            cast_block(FLOAT64, self.code, space, to, count)
            return
        var pairs = is_complex(self.code)
        var width = 16 if pairs else 8
        for i in range(count):
            var k = first + i
            var back = Float64(self.n - 1 - k)
            var low = k < self.half
            store[Float64](
                space + width * i, self.start.d + Float64(k) * self.step.d if low else self.end.d - back * self.step.d
            )
            if pairs:
                store[Float64](
                    space + 16 * i + 8,
                    self.start.im + Float64(k) * self.step.im if low else self.end.im - back * self.step.im,
                )
        cast_block(COMPLEX128 if pairs else FLOAT64, self.code, space, to, count)


def _ramp(
    code: Int, n: Int, half: Int, whole: Bool, start: Scalar2, step: Scalar2, end: Scalar2, device: Int
) raises -> Obj:
    var shape = no_dims()
    shape[0] = n
    _ = checked_numel(shape, 1, itemsize(code))
    var made = new_tensor(code, shape, 1)
    var body = _Ramp(as_tensor(made)[].data(), code, n, half, whole, start, step, end)
    parallel(body, (n + 65535) // 65536)
    return on_device(made, device)


def arange(mut call: Call) raises -> Obj:
    """(start, end, step, dtype, device): int64 when all three are integers, else the default dtype."""
    var start = call.scalar(0)
    var end = call.scalar(1)
    var step = call.scalar(2)
    var whole = start.category <= 1 and end.category <= 1 and step.category <= 1
    var code = call.dtype(3, INT64 if whole else runtime()[].default_dtype)
    if code == BOOL or is_complex(code):
        raise Error(t"NotImplementedError|\"arange_cpu\" not implemented for '{type_name(code)}'")
    if max(start.category, max(end.category, step.category)) == 3:
        raise Error("RuntimeError|value cannot be converted to type double without overflow")
    var n: Int
    if code == INT64:
        # everything is an int64 from here on
        if not (isfinite(start.d) and isfinite(end.d)):
            raise Error(t"RuntimeError|unsupported range: {_number(start)} -> {_number(end)}")
        for s in [start, end, step]:
            check_fits(INT64, s)
        if step.i == 0:
            raise Error("ValueError|step must be nonzero" if step.d != 0 else "RuntimeError|step must be nonzero")
        if (step.i > 0 and start.i > end.i) or (step.i < 0 and start.i < end.i):
            raise Error("RuntimeError|upper bound and lower bound inconsistent with step sign")
        var span = end.i - start.i
        n = (span + step.i - (1 if step.i > 0 else -1)) // step.i
    else:
        if step.d == 0:
            raise Error("RuntimeError|step must be nonzero")
        if not (isfinite(start.d) and isfinite(end.d)):
            raise Error(t"RuntimeError|unsupported range: {_number(start)} -> {_number(end)}")
        if (step.d > 0 and start.d > end.d) or (step.d < 0 and start.d < end.d):
            raise Error("RuntimeError|upper bound and lower bound inconsistent with step sign")
        var count = ceil((end.d - start.d) / step.d)
        if not (count >= 0 and count < 9.0e18):
            raise Error("RuntimeError|invalid size, possible overflow?")
        n = Int(count)
    return _ramp(code, n, n, is_integral(code), start, step, end, call.device(4, 0))


def _number(s: Scalar2) -> String:
    if s.category <= 1:
        return String(s.i)
    if isnan(s.d):
        return String("nan")
    if not isfinite(s.d):
        return String("inf") if s.d > 0 else String("-inf")
    if s.d == Float64(Int(s.d)):
        return String(Int(s.d))
    return String(s.d)


def linspace(mut call: Call) raises -> Obj:
    """(start, end, steps, dtype, device): evenly spaced numbers, both ends included, computed from both ends."""
    var start = call.scalar(0)
    var end = call.scalar(1)
    var n = call.int(2)
    if n < 0:
        raise Error("RuntimeError|number of steps must be non-negative")
    var rt = runtime()
    var own = rt[].default_dtype
    if start.category == 3 or end.category == 3:
        own = COMPLEX128 if own == FLOAT64 else COMPLEX64
    var code = call.dtype(3, own)
    if code == BOOL:
        raise Error("NotImplementedError|\"linspace_cpu\" not implemented for 'Bool'")
    check_fits(code, start)
    check_fits(code, end)
    var step = Scalar2(3, 0, 0, 0)
    if n > 1:
        step.d = (end.d - start.d) / Float64(n - 1)
        step.im = (end.im - start.im) / Float64(n - 1)
    return _ramp(code, n, n if n == 1 else n // 2, False, start, step, end, call.device(4, 0))


# ---------------------------------------------------------------- matrices


def eye(mut call: Call) raises -> Obj:
    """(n, m, dtype, device): ones on the diagonal of an n x m matrix of zeros; None for m means n."""
    var n = call.int(0)
    var m = n if call.is_none(1) else call.int(1)
    if n < 0:
        raise Error(t"RuntimeError|n must be greater or equal to 0, got {n}")
    if m < 0:
        raise Error(t"RuntimeError|m must be greater or equal to 0, got {m}")
    var code = call.dtype(2, runtime()[].default_dtype)
    var shape = no_dims()
    shape[0] = n
    shape[1] = m
    _ = checked_numel(shape, 2, itemsize(code))
    var made = _filled(code, shape, 2, Scalar2(1, 0, 0, 0), 0)
    var size = itemsize(code)
    var bits = number_bits(code, Scalar2(1, 1, 1, 0))
    for i in range(min(n, m)):
        _put(as_tensor(made)[].data() + i * (m + 1) * size, size, bits[0])
    return on_device(made, call.device(3, 0))


def _put(address: Int, size: Int, bits: UInt64):
    if size == 1:
        store[UInt8](address, bits.cast[DType.uint8]())
    elif size == 2:
        store[UInt16](address, bits.cast[DType.uint16]())
    elif size == 4:
        store[UInt32](address, bits.cast[DType.uint32]())
    else:
        # the upper half of a complex128 one is zero already
        store[UInt64](address, bits)


def triangle(mut call: Call) raises -> Obj:
    """(self, diagonal): the lower (or upper) triangle of matrices, zeros elsewhere."""
    var t = call.tensor(0)
    var k = call.int(1)
    var lower = call.data() != 0
    var n = t[].rank()
    if n < 2:
        raise Error(t"RuntimeError|{call.name()}: input tensor must have at least 2 dimensions")
    var rows = t[].shape[n - 2]
    var columns = t[].shape[n - 1]
    var made = new_tensor(t[].code(), t[].shape, n)
    try:
        copy_into(as_tensor(made), t)
    except e:
        decref(made)
        raise e^
    var size = itemsize(t[].code())
    var data = as_tensor(made)[].data()
    if t[].numel > 0:
        for r in range(t[].numel // columns):
            var cut = min(max(r % rows + k + (1 if lower else 0), 0), columns)
            var row = data + r * columns * size
            if lower:
                memset(row + cut * size, 0, (columns - cut) * size)
            else:
                memset(row, 0, cut * size)
    return on_device(made, t[].device())


@export("dumbtorch_register_creation")
def register_creation() abi("C") -> None:
    register[empty]("empty")
    register[empty_strided]("empty_strided")
    register[zeros]("zeros")
    register[ones]("ones")
    register[full]("full")
    register[arange]("arange")
    register[linspace]("linspace")
    register[eye]("eye")
    register[triangle]("tril", 1)
    register[triangle]("triu", 0)
