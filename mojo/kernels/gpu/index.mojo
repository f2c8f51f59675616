"""Indexed reads and writes on an accelerator: the walk of kernels/walk.mojo, one thread an element.

Additions by index are done by one thread for each place of the other dimensions, which goes along the index in order: no
atomics, and the same bits every time. Indices below 0 count from the end; those out of range read zeros and write nothing
(the CPU raises).
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer
from max.gpu import block_dim, global_idx, grid_dim
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.gpu.launch import AS_FLOAT32, AS_FLOAT64, AS_INT64, bits_code, class_of_code, class_type
from kernels.walk import ADD, PUT, Span3, TAKE
from tensor.dtype import BOOL, itemsize
from tensor.memory import address_of, at, load
from tensor.storage import DeviceTable

comptime THREADS = 256


struct Work(Copyable, DevicePassable):
    """A walk, its dtype and the number of threads that it is cut for. Passed by value."""

    var span: Span3
    var code: Int32
    var mode: Int32
    var size: Int64
    var units: Int64

    comptime device_type: AnyType = Self

    def __init__(out self, span: Span3, code: Int, mode: Int, units: Int):
        self.span = span.copy()
        self.code = Int32(code)
        self.mode = Int32(mode)
        self.size = Int64(itemsize(code))
        self.units = Int64(units)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Walk"


@always_inline
def _places(w: Work, unit: Int64, skip: Int) -> Tuple[Int64, Int64, Int64]:
    """Offsets, in elements, of a unit in `a`, `b` and the indices; dimension `skip` is not counted."""
    var a = Int64(0)
    var b = Int64(0)
    var index = Int64(0)
    var rest = unit
    for j in range(w.span.ndim):
        var d = w.span.ndim - 1 - j
        if d == skip:
            continue
        var size = Int64(w.span.shape[d])
        var quotient = rest // size
        var place = rest - quotient * size
        a += place * Int64(w.span.sa[d])
        b += place * Int64(w.span.sb[d])
        index += place * Int64(w.span.si[d])
        rest = quotient
    return (a, b, index)


@always_inline
def _picked(w: Work, place: Int) -> Int64:
    """The index there, counted from the front; below 0 or at least `limit`: out of range."""
    var picked = load[Int64](w.span.index + 8 * place)
    return picked + Int64(w.span.limit) if picked < 0 else picked


def move_kernel(w: Work):
    """Takes or puts one element a thread, as bits."""
    var unit = Int64(global_idx.x)
    while unit < w.units:
        var p = _places(w, unit, -1)
        var picked = _picked(w, Int(p[2]))
        var inside = picked >= 0 and picked < Int64(w.span.limit)
        var a = w.span.a + Int((p[0] + (picked if inside else 0) * Int64(w.span.step)) * w.size)
        var b = w.span.b + Int(p[1] * w.size)
        if w.mode == TAKE:
            var value = read[DType.int64](a, Int(w.code)) if inside else Int64(0)
            write(b, Int(w.code), value)
        elif inside:
            write(a, Int(w.code), read[DType.int64](b, Int(w.code)))
        unit += Int64(grid_dim.x * block_dim.x)


def add_kernel[C: DType](w: Work):
    """Goes along the indexed dimension in order, one thread for each place of the others."""
    var factor = w.span.factor.cast[C]()
    var unit = Int64(global_idx.x)
    while unit < w.units:
        var p = _places(w, unit, w.span.dim)
        for k in range(w.span.shape[w.span.dim]):
            var picked = _picked(w, Int(p[2]) + k * w.span.si[w.span.dim])
            if picked < 0 or picked >= Int64(w.span.limit):
                continue
            var a = w.span.a + Int((p[0] + picked * Int64(w.span.step)) * w.size)
            var b = w.span.b + Int((p[1] + Int64(k * w.span.sb[w.span.dim])) * w.size)
            var sum = read[C](a, Int(w.code)) + read[C](b, Int(w.code)) * factor
            if w.code == BOOL:
                sum = Scalar[C](1) if sum != 0 else Scalar[C](0)
            write(a, Int(w.code), sum)
        unit += Int64(grid_dim.x * block_dim.x)


def _walk(index: Int, span: Span3, mode: Int, code: Int) raises -> Int:
    var units = 1
    for i in range(span.ndim):
        if mode != ADD or i != span.dim:
            units *= span.shape[i]
    if units == 0 or (mode == ADD and span.shape[span.dim] == 0):
        return 0
    var kind = class_of_code(code)
    var own = code
    if mode == ADD:
        if kind < 0:
            return 1
        if code == BOOL:
            kind = AS_INT64
    else:
        own = bits_code(itemsize(code))
        if own < 0:
            return 1
    var d = device(index)
    var context = d[].context()
    var w = Work(span, own, mode, units)
    var blocks = max(1, min(ceildiv(units, THREADS), d[].processors * 32))
    if mode != ADD:
        context.enqueue_function[move_kernel](w, grid_dim=blocks, block_dim=THREADS)
        return 0
    comptime for c in range(AS_INT64 + 1):
        if kind == c:
            context.enqueue_function[add_kernel[class_type[c]]](w, grid_dim=blocks, block_dim=THREADS)
    return 0


def walk(index: Int, span: Pointer[Span3, MutAnyOrigin], mode: Int, code: Int) abi("C") -> Int:
    """See DeviceTable.walk."""
    try:
        return _walk(index, span[], mode, code)
    except e:
        return fail(e, "indexing")


@export("dumbtorch_accelerator_register_index")
def register_index(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var f: def(Int, Pointer[Span3, MutAnyOrigin], Int, Int) thin abi("C") -> Int = walk
    at[DeviceTable](table)[].walk = address_of(f)
