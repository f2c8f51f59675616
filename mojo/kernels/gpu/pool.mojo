"""2-D pooling on an accelerator: a thread makes one element of the result.

The gradient of max pooling adds into the positions of the maxima with atomics: where windows overlap, the sums' last bits may
differ from run to run, as they do in PyTorch.
"""

from std.atomic import Atomic, Ordering
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer
from std.utils.numerics import isnan
from max.gpu import block_dim, global_idx, grid_dim
from max.gpu.host import DeviceBuffer
from kernels.gpu.copy_api import copy
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.gpu.launch import AS_BOOL, class_of_code, class_type
from kernels.gpu.pointwise import register_entry
from kernels.pool import AVERAGE, AVERAGE_GRADIENT, MAXIMUM, MAXIMUM_GRADIENT, Pooling
from kernels.pool_avg import share
from kernels.pool_max import first_inside
from kernels.pool_stage import Planes
from tensor.dtype import FLOAT32, FLOAT64, INT64, itemsize
from tensor.layout import no_dims
from tensor.memory import address_of, at, load, store
from tensor.storage import DeviceTable

comptime THREADS = 256


struct Work(Copyable, DevicePassable):
    """Pooling of one dtype. Passed by value."""

    var p: Pooling
    var code: Int32
    var size: Int64
    var count: Int64  # elements that have a thread

    comptime device_type: AnyType = Self

    def __init__(out self, p: Pooling, code: Int):
        self.p = p.copy()
        self.code = Int32(code)
        self.size = Int64(itemsize(code))
        ref over = self.p.x if p.kind == AVERAGE_GRADIENT else self.p.y
        self.count = Int64(over.n * over.c * over.h * over.w)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Pooling"


@always_inline
def _element(p: Planes, i: Int) -> Tuple[Int, Int, Int]:
    """Plane, row and column of an element."""
    var line = i // p.w
    var plane = line // p.h
    return (plane, line - plane * p.h, i - line * p.w)


@always_inline
def _at(p: Planes, e: Tuple[Int, Int, Int]) -> Int:
    return p.offset(e[0]) + e[1] * p.hs + e[2] * p.ws


def maximum_kernel[C: DType](w: Work):
    ref p = w.p
    var win = p.window
    var size = Int(w.size)
    var i = Int(global_idx.x)
    while i < Int(w.count):
        var e = _element(p.y, i)
        var top = e[1] * win.sh - win.ph
        var left = e[2] * win.sw - win.pw
        var plane = p.x.data + p.x.offset(e[0]) * size
        var m = Scalar[C].MIN
        # with nothing but the lowest value there: the first element of the window that is in the plane
        var place = first_inside(top, win.dh) * p.x.w + first_inside(left, win.dw)
        for r in range(win.kh):
            var row = top + r * win.dh
            if row < 0 or row >= p.x.h:
                continue
            for s in range(win.kw):
                var col = left + s * win.dw
                if col < 0 or col >= p.x.w:
                    continue
                var v = read[C](plane + (row * p.x.hs + col * p.x.ws) * size, Int(w.code))
                var better = Bool(v > m)
                comptime if C.is_floating_point():
                    better = better or Bool(isnan(v))
                if better:
                    m = v
                    place = row * p.x.w + col
        write(p.y.data + _at(p.y, e) * size, Int(w.code), m)
        store(p.indices.data + _at(p.indices, e) * 8, Int64(place))
        i += Int(grid_dim.x * block_dim.x)


def maximum_gradient_kernel[C: DType](w: Work):
    """Adds to `x`, contiguous zeros of C."""
    ref p = w.p
    var area = p.x.h * p.x.w
    var i = Int(global_idx.x)
    while i < Int(w.count):
        var e = _element(p.y, i)
        var place = Int(load[Int64](p.indices.data + _at(p.indices, e) * 8))
        if place >= 0 and place < area:
            var g = read[C](p.y.data + _at(p.y, e) * Int(w.size), Int(w.code))
            var to = at[Scalar[C]](p.x.data).unsafe_offset(e[0] * area + place)
            _ = Atomic.fetch_add[ordering=Ordering.RELAXED](to, g)
        i += Int(grid_dim.x * block_dim.x)


def average_kernel[C: DType](w: Work):
    ref p = w.p
    var win = p.window
    var size = Int(w.size)
    var i = Int(global_idx.x)
    while i < Int(w.count):
        var e = _element(p.y, i)
        var top = e[1] * win.sh - win.ph
        var left = e[2] * win.sw - win.pw
        var plane = p.x.data + p.x.offset(e[0]) * size
        var sum = Scalar[C](0)
        for row in range(max(top, 0), min(top + win.kh, p.x.h)):
            for col in range(max(left, 0), min(left + win.kw, p.x.w)):
                sum += read[C](plane + (row * p.x.hs + col * p.x.ws) * size, Int(w.code))
        write(p.y.data + _at(p.y, e) * size, Int(w.code), sum / _divisor[C](w, top, left))
        i += Int(grid_dim.x * block_dim.x)


@always_inline
def _divisor[C: DType](w: Work, top: Int, left: Int) -> Scalar[C]:
    ref p = w.p
    if p.divisor != 0:
        return Scalar[C](p.divisor)
    var rows = share(p.x.h, top, p.window.kh, p.window.ph, p.count_padding)
    var cols = share(p.x.w, left, p.window.kw, p.window.pw, p.count_padding)
    return Scalar[C](rows * cols)


def average_gradient_kernel[C: DType](w: Work):
    """An element of the input collects from the windows that it lies in, in order."""
    ref p = w.p
    var win = p.window
    var size = Int(w.size)
    var i = Int(global_idx.x)
    while i < Int(w.count):
        var e = _element(p.x, i)
        var plane = p.y.data + p.y.offset(e[0]) * size
        var sum = Scalar[C](0)
        # row r's window holds the element: r * sh - ph <= row < r * sh - ph + kh
        var row = e[1] + win.ph
        var col = e[2] + win.pw
        var r0 = (row - win.kh) // win.sh + 1 if row >= win.kh else 0
        var c0 = (col - win.kw) // win.sw + 1 if col >= win.kw else 0
        for r in range(r0, min(row // win.sh + 1, p.y.h)):
            for c in range(c0, min(col // win.sw + 1, p.y.w)):
                var g = read[C](plane + (r * p.y.hs + c * p.y.ws) * size, Int(w.code))
                sum += g / _divisor[C](w, r * win.sh - win.ph, c * win.sw - win.pw)
        write(p.x.data + _at(p.x, e) * size, Int(w.code), sum)
        i += Int(grid_dim.x * block_dim.x)


def _queue[kernel: def(Work) thin -> None](index: Int, w: Work) raises:
    var d = device(index)
    d[].context().enqueue_function[kernel](
        w, grid_dim=max(1, min(ceildiv(Int(w.count), THREADS), d[].processors * 64)), block_dim=THREADS
    )


def _scatter[C: DType](index: Int, p: Pooling, code: Int) raises -> Int:
    """The gradient of max pooling: sums in C, then cast where that is not the dtype."""
    comptime own = FLOAT64 if C == DType.float64 else FLOAT32
    var d = device(index)
    var q = p.copy()
    var n = p.x.n * p.x.c * p.x.h * p.x.w
    var direct = code == own
    if not direct:
        q.x.data = d[].alloc(n * itemsize(own))
    try:
        var bytes = n * itemsize(own)
        var context = d[].context()
        var buffer = DeviceBuffer[DType.uint8](context, at[UInt8](q.x.data), bytes, owning=False)
        context.enqueue_memset(buffer, UInt8(0))
        _queue[maximum_gradient_kernel[C]](index, Work(q, code))
        if direct:
            return 0
        var shape = no_dims()
        var from_ = no_dims()
        var to = no_dims()
        shape[0] = n
        from_[0] = itemsize(own)
        to[0] = itemsize(code)
        return copy(index, p.x.data, code, to, q.x.data, own, from_, shape, 1)
    finally:
        if not direct:
            d[].free(q.x.data)


def pool(index: Int, p: Pointer[Pooling, MutAnyOrigin], code: Int) abi("C") -> Int:
    """The entry "pool": nothing is empty."""
    try:
        ref q = p[]
        var w = Work(q, code)
        var kind = class_of_code(code)
        if q.kind == MAXIMUM:
            comptime for c in range(AS_BOOL):
                if kind == c:
                    _queue[maximum_kernel[class_type[c]]](index, w)
            return 0
        if q.kind == MAXIMUM_GRADIENT:
            if code == FLOAT64:
                return _scatter[DType.float64](index, q, code)
            return _scatter[DType.float32](index, q, code)
        comptime for c in range(2):
            comptime C = class_type[c]
            if kind == c:
                if q.kind == AVERAGE:
                    _queue[average_kernel[C]](index, w)
                else:
                    _queue[average_gradient_kernel[C]](index, w)
        return 0
    except e:
        return fail(e, "pooling")


@export("dumbtorch_accelerator_register_pool")
def register_pool() abi("C") -> None:
    var f: def(Int, Pointer[Pooling, MutAnyOrigin], Int) thin abi("C") -> Int = pool
    register_entry("pool", address_of(f))
