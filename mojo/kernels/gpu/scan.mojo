"""Running sums and products on an accelerator, with the accumulators of kernels/scan.mojo.

Many short scans: a thread each. Else a scan is cut into segments of a fixed length: a block folds each, one thread a scan
goes over the segments' totals, then blocks scan their segments from there. The same input gives the same bits every time.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer, stack_allocation
from max.gpu import block_dim, block_idx, global_idx, grid_dim, thread_idx
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.gpu.launch import AS_BOOL, AS_INT64, class_of_code
from kernels.gpu.pointwise import register_entry
from kernels.scan import PRODUCT, SUM, Scans
from tensor.dtype import FLOAT32, itemsize
from tensor.memory import address_of, at, load, store

comptime THREADS = 256
comptime EACH = 8  # neighbouring elements of a thread
comptime TILE = THREADS * EACH
comptime SEGMENT = 2 * TILE


struct Work(Copyable, DevicePassable):
    """Scans over (outer, n, inner), contiguous. Passed by value."""

    var a: Int64
    var out: Int64
    var n: Int64
    var inner: Int64
    var scans: Int64
    var segments: Int64
    var totals: Int64  # [scan][segment]: first folded, then what comes before each
    var code: Int32
    var size: Int64

    comptime device_type: AnyType = Self

    def __init__(out self, s: Scans, code: Int):
        self.a = Int64(s.a)
        self.out = Int64(s.out)
        self.n = Int64(s.n)
        self.inner = Int64(s.inner)
        self.scans = Int64(s.outer * s.inner)
        self.segments = Int64(ceildiv(s.n, SEGMENT))
        self.totals = 0
        self.code = Int32(code)
        self.size = Int64(itemsize(code))

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Scan"


@always_inline
def _join[kind: Int, C: DType](a: Scalar[C], b: Scalar[C]) -> Scalar[C]:
    comptime if kind == SUM:
        return a + b
    else:
        return a * b


comptime start[kind: Int]: Int = 0 if kind == SUM else 1


@always_inline
def _base(w: Work, scan: Int64) -> Int64:
    """The number of a scan's first element."""
    var outer = scan // w.inner
    return outer * w.n * w.inner + (scan - outer * w.inner)


def each_kernel[kind: Int, C: DType](w: Work):
    """A thread a scan."""
    var scan = Int64(global_idx.x)
    while scan < w.scans:
        var i = _base(w, scan) * w.size
        var acc = Scalar[C](start[kind])
        for _ in range(Int(w.n)):
            acc = _join[kind](acc, read[C](Int(w.a + i), Int(w.code)))
            write(Int(w.out + i), Int(w.code), acc)
            i += w.inner * w.size
        scan += Int64(grid_dim.x * block_dim.x)


@always_inline
def _block_scan[kind: Int, C: DType](value: Scalar[C]) -> Tuple[Scalar[C], Scalar[C]]:
    """What the threads before this one have together, and all of the block."""
    var space = stack_allocation[THREADS, Scalar[C], address_space=AddressSpace.SHARED]()
    var t = Int(thread_idx.x)
    barrier()
    space[unsafe_offset=t] = value
    barrier()
    var step = 1
    while step < THREADS:
        var own = space[unsafe_offset=t]
        if t >= step:
            own = _join[kind](space[unsafe_offset=t - step], own)
        barrier()
        space[unsafe_offset=t] = own
        barrier()
        step *= 2
    var before = space[unsafe_offset=t - 1] if t > 0 else Scalar[C](start[kind])
    return (before, space[unsafe_offset=THREADS - 1])


def segments_kernel[kind: Int, C: DType, scanning: Bool](w: Work):
    """A block a segment: writes its total, or, `scanning`, its elements after what comes before it."""
    var t = Int64(thread_idx.x)
    var unit = Int64(block_idx.x)
    while unit < w.scans * w.segments:
        var scan = unit // w.segments
        var first = (unit - scan * w.segments) * SEGMENT
        var last = min(first + SEGMENT, w.n)
        var base = _base(w, scan)
        var carry = Scalar[C](start[kind])
        comptime if scanning:
            carry = load[Scalar[C]](Int(w.totals + unit * 8))
        comptime if not scanning:
            # folded in the order that reads neighbouring elements by neighbouring threads
            var own = Array[Scalar[C], EACH](fill=Scalar[C](start[kind]))
            while first < last:
                comptime for e in range(EACH):
                    var i = first + t + Int64(e * THREADS)
                    if i < last:
                        own[e] = _join[kind](own[e], read[C](Int(w.a + (base + i * w.inner) * w.size), Int(w.code)))
                first += TILE
            comptime for e in range(1, EACH):
                own[0] = _join[kind](own[0], own[e])
            var total = _block_scan[kind](own[0])[1]
            if t == 0:
                store(Int(w.totals + unit * 8), total)
        while first < last:
            var own = Array[Scalar[C], EACH](fill=Scalar[C](start[kind]))
            var total = Scalar[C](start[kind])
            var i = first + t * EACH
            var from_ = Int(w.a + (base + i * w.inner) * w.size)
            var to = Int(w.out + (base + i * w.inner) * w.size)
            var vector = w.code == FLOAT32 and w.inner == 1 and i + EACH <= last and (from_ | to) % 16 == 0
            if vector:
                var x = at[Float32](from_).unsafe_load[width=EACH, alignment=16](0)
                comptime for e in range(EACH):
                    own[e] = x[e].cast[C]()
            else:
                comptime for e in range(EACH):
                    if i + Int64(e) < last:
                        own[e] = read[C](from_ + Int(Int64(e) * w.inner * w.size), Int(w.code))
            comptime for e in range(EACH):
                total = _join[kind](total, own[e])
            var scanned = _block_scan[kind](total)
            var acc = _join[kind](carry, scanned[0])
            comptime for e in range(EACH):
                acc = _join[kind](acc, own[e])
                own[e] = acc
            if vector:
                var y = SIMD[DType.float32, EACH](0)
                comptime for e in range(EACH):
                    y[e] = own[e].cast[DType.float32]()
                at[Float32](to).unsafe_store[alignment=16](0, y)
            else:
                comptime for e in range(EACH):
                    if i + Int64(e) < last:
                        write(to + Int(Int64(e) * w.inner * w.size), Int(w.code), own[e])
            carry = _join[kind](carry, scanned[1])
            first += TILE
        unit += Int64(grid_dim.x)


def totals_kernel[kind: Int, C: DType](w: Work):
    """A block a scan: the totals become what comes before each segment."""
    var t = Int64(thread_idx.x)
    var scan = Int64(block_idx.x)
    while scan < w.scans:
        var base = w.totals + scan * w.segments * 8
        var carry = Scalar[C](start[kind])
        var first = Int64(0)
        while first < w.segments:
            var own = Array[Scalar[C], EACH](fill=Scalar[C](start[kind]))
            var total = Scalar[C](start[kind])
            comptime for e in range(EACH):
                var i = first + t * EACH + Int64(e)
                if i < w.segments:
                    own[e] = load[Scalar[C]](Int(base + i * 8))
                total = _join[kind](total, own[e])
            var scanned = _block_scan[kind](total)
            var acc = _join[kind](carry, scanned[0])
            comptime for e in range(EACH):
                var i = first + t * EACH + Int64(e)
                if i < w.segments:
                    store(Int(base + i * 8), acc)
                acc = _join[kind](acc, own[e])
            carry = _join[kind](carry, scanned[1])
            first += TILE
        scan += Int64(grid_dim.x)


def _scan[kind: Int, C: DType](index: Int, mut w: Work) raises:
    var d = device(index)
    var context = d[].context()
    var most = d[].processors * 32
    if w.n <= 64 or w.scans >= 16384:
        context.enqueue_function[each_kernel[kind, C]](
            w, grid_dim=max(1, min(ceildiv(Int(w.scans), THREADS), most)), block_dim=THREADS
        )
        return
    var units = Int(w.scans * w.segments)
    var totals = d[].alloc(units * 8)
    w.totals = Int64(totals)
    try:
        context.enqueue_function[segments_kernel[kind, C, False]](w, grid_dim=min(units, most), block_dim=THREADS)
        context.enqueue_function[totals_kernel[kind, C]](w, grid_dim=min(Int(w.scans), most), block_dim=THREADS)
        context.enqueue_function[segments_kernel[kind, C, True]](w, grid_dim=min(units, most), block_dim=THREADS)
    finally:
        d[].free(totals)


def scan(index: Int, s: Pointer[Scans, MutAnyOrigin], kind: Int, code: Int) abi("C") -> Int:
    """The entry "scan"."""
    try:
        var w = Work(s[], code)
        var compute = class_of_code(code)
        if compute < 0 or compute == AS_BOOL:
            return 1
        if w.scans * w.n == 0:
            return 0
        comptime for k in range(2):
            if kind == k:
                if compute == AS_INT64:
                    _scan[k, DType.int64](index, w)
                else:
                    _scan[k, DType.float64](index, w)
        return 0
    except e:
        return fail(e, "scan")


@export("dumbtorch_accelerator_register_scan")
def register_scan() abi("C") -> None:
    var f: def(Int, Pointer[Scans, MutAnyOrigin], Int, Int) thin abi("C") -> Int = scan
    register_entry("scan", address_of(f))
