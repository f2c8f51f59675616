"""2-D convolution and its derivatives on an accelerator: matrix products whose operands are picked while they are loaded.

A product C[m, n] = sum over k of A[m, k] * B[k, n] for each group of channels:

| | m | n | k | A | B |
|---|---|---|---|---|---|
| forward | output channel | batch, pixel of the output | input channel, tap | weight | input |
| by the input | input channel | batch, pixel of the input | output channel, tap | weight | gradient |
| by the weight | output channel | input channel, tap | batch, pixel of the output | gradient | input |

An element of B is named by a column and a k, each of which adds to an offset, a row and a column of the image; both sums
stand in tables in shared memory, so that no division is done in the inner loop. Sums over a long k are cut into parts,
whose number depends on the sizes alone, and added in order.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, fma
from std.memory import Pointer, stack_allocation
from std.sys.info import size_of
from max.gpu import block_dim, block_idx, global_idx, grid_dim, thread_idx
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier
from kernels.conv import BY_INPUT, BY_WEIGHT, Convolution, FORWARD
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.gpu.gemm import acc_type
from kernels.gpu.pointwise import register_entry
from tensor.dtype import FLOAT16, FLOAT64, dtype_of, itemsize
from tensor.memory import address_of, load, store

comptime THREADS = 256
comptime PART = 1024  # the least k of a part
comptime BLOCKS = 512  # the number of blocks that parts are made for


struct Work(Copyable, DevicePassable):
    """A convolution and the sizes of its products. Passed by value."""

    var c: Convolution
    var size: Int64  # of an element
    var code: Int32
    var m: Int32
    var n: Int32
    var k: Int32
    var parts: Int32
    var part: Int32  # k of a part
    var sums: Int64  # the parts' sums: [part][group][m][n]

    comptime device_type: AnyType = Self

    def __init__(out self, c: Convolution, code: Int):
        self.c = c.copy()
        self.size = Int64(itemsize(code))
        self.code = Int32(code)
        var taps = c.window.kh * c.window.kw
        var cin = c.x.c // c.window.groups
        var cout = c.y.c // c.window.groups
        var m = cout
        var n = c.y.n * c.y.h * c.y.w
        var k = cin * taps
        if c.kind == BY_INPUT:
            m = cin
            n = c.x.n * c.x.h * c.x.w
            k = cout * taps
        elif c.kind == BY_WEIGHT:
            k = n
            n = cin * taps
        self.m = Int32(m)
        self.n = Int32(n)
        self.k = Int32(k)
        self.parts = 1
        self.part = Int32(k)
        self.sums = 0

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Convolution"


@fieldwise_init
struct Place(TrivialRegisterPassable):
    """What a column or a k adds: to the offset in B's tensor, to the image's row and column, to the offset in A or C.
    """

    var offset: Int64
    var row: Int32
    var col: Int32
    var other: Int64


@always_inline
def _pixel(w: Work, i: Int32, height: Int32, width: Int32) -> Tuple[Int32, Int32, Int32]:
    var line = UInt32(i) // UInt32(width)
    var image = line // UInt32(height)
    return (
        Int32(image),
        Int32(line - image * UInt32(height)),
        Int32(UInt32(i) - line * UInt32(width)),
    )


@always_inline
def _output_place(w: Work, i: Int32) -> Place:
    """Pixel i of the batch of outputs: where its window begins in the input, and its own offset."""
    var p = _pixel(w, i, Int32(w.c.y.h), Int32(w.c.y.w))
    var window = w.c.window
    return Place(
        Int64(p[0]) * Int64(w.c.x.ns),
        p[1] * Int32(window.sh) - Int32(window.ph),
        p[2] * Int32(window.sw) - Int32(window.pw),
        Int64(p[0]) * Int64(w.c.y.ns) + Int64(p[1]) * Int64(w.c.y.hs) + Int64(p[2]) * Int64(w.c.y.ws),
    )


@always_inline
def _tap_place[kind: Int](w: Work, i: Int32) -> Place:
    """Channel and tap i: what they add in the image and in the weight."""
    var window = w.c.window
    var taps = UInt32(window.kh * window.kw)
    var channel = UInt32(i) // taps
    var tap = UInt32(i) - channel * taps
    var r = tap // UInt32(window.kw)
    var s = tap - r * UInt32(window.kw)
    var row = Int32(r) * Int32(window.dh)
    var col = Int32(s) * Int32(window.dw)
    var weight = Int64(r) * Int64(w.c.weight_hs) + Int64(s) * Int64(w.c.weight_ws)
    comptime if kind == BY_INPUT:
        return Place(Int64(channel) * Int64(w.c.y.cs), -row, -col, weight + Int64(channel) * Int64(w.c.weight_ns))
    else:
        return Place(Int64(channel) * Int64(w.c.x.cs), row, col, weight + Int64(channel) * Int64(w.c.weight_cs))


@always_inline
def _column[kind: Int](w: Work, i: Int32) -> Place:
    comptime if kind == FORWARD:
        return _output_place(w, i)
    elif kind == BY_INPUT:
        var p = _pixel(w, i, Int32(w.c.x.h), Int32(w.c.x.w))
        return Place(
            Int64(p[0]) * Int64(w.c.y.ns),
            p[1] + Int32(w.c.window.ph),
            p[2] + Int32(w.c.window.pw),
            Int64(p[0]) * Int64(w.c.x.ns) + Int64(p[1]) * Int64(w.c.x.hs) + Int64(p[2]) * Int64(w.c.x.ws),
        )
    else:
        return _tap_place[kind](w, i)


comptime run_bytes[A: DType, n: Int]: Int = min(16, n * size_of[Scalar[A]]())


@fieldwise_init
struct View(TrivialRegisterPassable):
    """The image that B is picked from."""

    var height: Int32
    var width: Int32
    var hs: Int64
    var ws: Int64


comptime Shared[T: AnyType] = Pointer[T, MutUntrackedOrigin, address_space=AddressSpace.SHARED]


@always_inline
def _depths[kind: Int, BK: Int](w: Work, depths: Shared[Place], start: Int32):
    """Fills the table of the k of a step."""
    var t = Int(thread_idx.x)
    if t < BK:
        var k = min(start + Int32(t), w.k - 1)
        comptime if kind == BY_WEIGHT:
            depths[unsafe_offset=t] = _output_place(w, k)
        else:
            depths[unsafe_offset=t] = _tap_place[kind](w, k)


@always_inline
def _left[
    dt: DType, BM: Int, BK: Int, A: DType, n: Int
](
    w: Work,
    depths: Shared[Place],
    a: Int64,
    stride: Int64,
    row0: Int32,
    start: Int32,
    last: Int32,
    mut held: Array[Scalar[A], n],
):
    """Loads a thread's elements of A. Loads stand under no condition, so that all are on their way at a time."""
    comptime for e in range(n):
        var i = Int(thread_idx.x) + e * THREADS
        var row = row0 + Int32(i // BK)
        var inside = i < BM * BK and row < w.m and start + Int32(i % BK) < last
        var place = depths[unsafe_offset=i % BK].other + Int64(row) * stride
        held[e] = _load[dt, A](a, place, inside)


@always_inline
def _load[dt: DType, A: DType](base: Int64, place: Int64, inside: Bool) -> Scalar[A]:
    comptime size = Int64(size_of[Scalar[dt]]())
    var value = load[Scalar[dt]](Int(base + (place if inside else 0) * size)).cast[A]()
    return value if inside else Scalar[A](0)


@always_inline
def _right[
    kind: Int, dt: DType, BN: Int, BK: Int, A: DType, n: Int
](
    w: Work,
    columns: Shared[Place],
    depths: Shared[Place],
    b: Int64,
    col0: Int32,
    start: Int32,
    last: Int32,
    view: View,
    mut held: Array[Scalar[A], n],
):
    """Loads a thread's elements of B: neighbouring threads take neighbouring pixels."""
    comptime for e in range(n):
        var i = Int(thread_idx.x) + e * THREADS
        var kk = i % BK if kind == BY_WEIGHT else i // BN
        var c = i // BK if kind == BY_WEIGHT else i % BN
        var exists = i < BN * BK and col0 + Int32(c) < w.n and start + Int32(kk) < last
        comptime if BN * BK % THREADS != 0:
            kk = min(kk, BK - 1)
            c = min(c, BN - 1)
        var column = columns[unsafe_offset=c]
        var depth = depths[unsafe_offset=kk]
        var row = column.row + depth.row
        var col = column.col + depth.col
        var inside = exists and row >= 0 and col >= 0
        comptime if kind == BY_INPUT:
            var sh = Int32(w.c.window.sh)
            var sw = Int32(w.c.window.sw)
            if sh > 1 or sw > 1:
                inside = inside and row % sh == 0 and col % sw == 0
                row = row // sh
                col = col // sw
        inside = inside and row < view.height and col < view.width
        var place = column.offset + depth.offset + Int64(row) * view.hs + Int64(col) * view.ws
        held[e] = _load[dt, A](b, place, inside)


def conv_kernel[kind: Int, dt: DType, BM: Int, BN: Int, BK: Int, TM: Int, TN: Int](w: Work):
    """A block makes a tile of BM x BN results of one group and one part, as gemm.mojo's kernel does."""
    comptime A = acc_type[dt]
    comptime COLUMNS = BN // TN
    # a thread's columns are runs of RUN, so that it reads shared memory in vectors
    comptime RUN = 4 if TN % 4 == 0 else TN
    comptime LDA = BM + 4
    comptime LDB = BN + (4 if kind == BY_WEIGHT else 0)
    var sa = stack_allocation[BK * LDA, Scalar[A], address_space=AddressSpace.SHARED, alignment=16]()
    var sb = stack_allocation[BK * LDB, Scalar[A], address_space=AddressSpace.SHARED, alignment=16]()
    var columns = stack_allocation[BN, Place, address_space=AddressSpace.SHARED]()
    var depths = stack_allocation[BK, Place, address_space=AddressSpace.SHARED]()
    var t = Int(thread_idx.x)
    var x = t % COLUMNS
    var y = t // COLUMNS
    var row0 = Int32(Int(block_idx.y) * BM)
    var col0 = Int32(Int(block_idx.x) * BN)
    var groups = Int32(w.c.window.groups)
    var unit = Int32(block_idx.z)
    var stride_m = Int64(w.c.weight_ns)
    var a0 = Int64(w.c.weight)
    var image = Int64(w.c.x.data)
    var view = View(Int32(w.c.x.h), Int32(w.c.x.w), Int64(w.c.x.hs), Int64(w.c.x.ws))
    comptime if kind == BY_INPUT:
        stride_m = Int64(w.c.weight_cs)
        image = Int64(w.c.y.data)
        view = View(Int32(w.c.y.h), Int32(w.c.y.w), Int64(w.c.y.hs), Int64(w.c.y.ws))
    elif kind == BY_WEIGHT:
        stride_m = Int64(w.c.y.cs)
        a0 = Int64(w.c.y.data)
    var i = t
    while i < BN:
        columns[unsafe_offset=i] = _column[kind](w, min(col0 + Int32(i), w.n - 1))
        i += THREADS
    while unit < groups * w.parts:
        var group = unit % groups
        var part = unit // groups
        var first = part * w.part
        var last = min(first + w.part, w.k)
        # where the group begins: its weights' rows (or the gradient's channels), its channels of the image
        var a = a0
        var b = image
        comptime if kind == FORWARD:
            a += Int64(group) * Int64(w.m) * stride_m * w.size
            b += Int64(group) * Int64(w.c.x.c // w.c.window.groups) * Int64(w.c.x.cs) * w.size
        elif kind == BY_INPUT:
            var channels = Int64(w.c.y.c // w.c.window.groups)
            a += Int64(group) * channels * Int64(w.c.weight_ns) * w.size
            b += Int64(group) * channels * Int64(w.c.y.cs) * w.size
        else:
            a += Int64(group) * Int64(w.m) * stride_m * w.size
            b += Int64(group) * Int64(w.c.x.c // w.c.window.groups) * Int64(w.c.x.cs) * w.size
        var acc = Array[SIMD[A, TN], TM](fill=SIMD[A, TN](0))
        var left = Array[Scalar[A], ceildiv(BM * BK, THREADS)](fill=0)
        var right = Array[Scalar[A], ceildiv(BN * BK, THREADS)](fill=0)
        # while a step is computed, the elements of the next one are on their way into registers
        _depths[kind, BK](w, depths, first)
        barrier()
        _left[dt, BM, BK](w, depths, a, stride_m, row0, first, last, left)
        _right[kind, dt, BN, BK](w, columns, depths, b, col0, first, last, view, right)
        barrier()
        var start = first
        while start < last:
            comptime for e in range(ceildiv(BM * BK, THREADS)):
                var i = t + e * THREADS
                if i < BM * BK:
                    sa[unsafe_offset=(i % BK) * LDA + i // BK] = left[e]
            comptime for e in range(ceildiv(BN * BK, THREADS)):
                var i = t + e * THREADS
                if i < BN * BK:
                    var kk = i % BK if kind == BY_WEIGHT else i // BN
                    var c = i // BK if kind == BY_WEIGHT else i % BN
                    sb[unsafe_offset=kk * LDB + c] = right[e]
            start += Int32(BK)
            _depths[kind, BK](w, depths, start)
            barrier()
            if start < last:
                _left[dt, BM, BK](w, depths, a, stride_m, row0, start, last, left)
                _right[kind, dt, BN, BK](w, columns, depths, b, col0, start, last, view, right)
            comptime for kk in range(BK):
                var y_run = sa.unsafe_load[width=TM, alignment=run_bytes[A, TM]](kk * LDA + y * TM)
                var x_run = SIMD[A, TN](0)
                comptime for j in range(TN // RUN):
                    var part = sb.unsafe_load[width=RUN, alignment=run_bytes[A, RUN]](
                        kk * LDB + x * RUN + j * COLUMNS * RUN
                    )
                    comptime for e in range(RUN):
                        x_run[j * RUN + e] = part[e]
                comptime for i in range(TM):
                    acc[i] = fma(SIMD[A, TN](y_run[i]), x_run, acc[i])
            barrier()
        comptime for i in range(TM):
            var row = row0 + Int32(y * TM + i)
            comptime for j in range(TN):
                var c = (j // RUN) * COLUMNS * RUN + x * RUN + j % RUN
                if row < w.m and col0 + Int32(c) < w.n:
                    _store[kind, A](w, group, part, row, col0 + Int32(c), columns[unsafe_offset=c], acc[i][j])
        unit += Int32(grid_dim.z)


@always_inline
def _store[
    kind: Int, A: DType
](w: Work, group: Int32, part: Int32, m: Int32, n: Int32, column: Place, value: Scalar[A]):
    var channel = Int64(group) * Int64(w.m) + Int64(m)
    comptime if kind == FORWARD:
        var v = value
        if w.c.bias != 0:
            v += read[A](Int(Int64(w.c.bias) + channel * Int64(w.c.bias_step) * w.size), Int(w.code))
        write(Int(Int64(w.c.y.data) + (channel * Int64(w.c.y.cs) + column.other) * w.size), Int(w.code), v)
    elif kind == BY_INPUT:
        write(Int(Int64(w.c.x.data) + (channel * Int64(w.c.x.cs) + column.other) * w.size), Int(w.code), value)
    else:
        # the weight is contiguous: a row of n for each channel
        if w.parts == 1:
            write(Int(Int64(w.c.weight) + (channel * Int64(w.n) + Int64(n)) * w.size), Int(w.code), value)
        else:
            comptime bytes = Int64(8 if A == DType.float64 else 4)
            var row = Int64(part) * Int64(w.c.window.groups) * Int64(w.m) + channel
            store(Int(w.sums + (row * Int64(w.n) + Int64(n)) * bytes), value)


def merge_kernel[A: DType](w: Work):
    """Adds the parts of a weight's derivative, in order."""
    comptime bytes = Int64(8 if A == DType.float64 else 4)
    var total = Int64(w.c.window.groups) * Int64(w.m) * Int64(w.n)
    var i = Int64(global_idx.x)
    while i < total:
        var sum = Scalar[A](0)
        for part in range(Int(w.parts)):
            sum += load[Scalar[A]](Int(w.sums + (Int64(part) * total + i) * bytes))
        write(Int(Int64(w.c.weight) + i * w.size), Int(w.code), sum)
        i += Int64(grid_dim.x * block_dim.x)


def _queue[kind: Int, dt: DType, BM: Int, BN: Int, BK: Int, TM: Int, TN: Int](index: Int, mut w: Work) raises:
    comptime A = acc_type[dt]
    var d = device(index)
    var context = d[].context()
    var rows = ceildiv(Int(w.m), BM)
    var columns = ceildiv(Int(w.n), BN)
    var groups = w.c.window.groups
    var sums = 0
    comptime if kind == BY_WEIGHT:
        var parts = max(1, min(ceildiv(BLOCKS, rows * columns * groups), Int(w.k) // PART))
        w.part = Int32(ceildiv(ceildiv(Int(w.k), parts), BK) * BK)
        w.parts = Int32(ceildiv(Int(w.k), Int(w.part)))
        if w.parts > 1:
            sums = d[].alloc(Int(w.parts) * groups * Int(w.m) * Int(w.n) * (8 if A == DType.float64 else 4))
            w.sums = Int64(sums)
    try:
        context.enqueue_function[conv_kernel[kind, dt, BM, BN, BK, TM, TN]](
            w, grid_dim=(columns, rows, min(groups * Int(w.parts), 65535)), block_dim=THREADS
        )
        if w.parts > 1:
            var total = groups * Int(w.m) * Int(w.n)
            context.enqueue_function[merge_kernel[A]](
                w, grid_dim=max(1, min(ceildiv(total, THREADS), d[].processors * 16)), block_dim=THREADS
            )
    finally:
        if sums != 0:
            d[].free(sums)


def _convolve[kind: Int, dt: DType](index: Int, mut w: Work) raises:
    comptime if kind == BY_WEIGHT:
        if w.m <= 32 and w.n <= 32:
            _queue[kind, dt, 32, 32, 32, 2, 2](index, w)
        else:
            _queue[kind, dt, 64, 64, 16, 4, 4](index, w)
    else:
        comptime if dt == DType.float32:
            if w.m > 32 and ceildiv(Int(w.m), 64) * (Int(w.n) // 128) * w.c.window.groups >= BLOCKS:
                # enough tiles to fill a device: large ones reuse more
                _queue[kind, dt, 64, 128, 16, 4, 8](index, w)
                return
        if w.m <= 16:
            _queue[kind, dt, 16, 256, 16, 4, 4](index, w)
        elif w.m <= 32:
            _queue[kind, dt, 32, 128, 16, 4, 4](index, w)
        else:
            _queue[kind, dt, 64, 64, 16, 4, 4](index, w)


def convolve(index: Int, c: Pointer[Convolution, MutAnyOrigin], code: Int) abi("C") -> Int:
    """The entry "convolve": nothing is empty."""
    try:
        ref conv = c[]
        var w = Work(conv, code)
        comptime most = 0x7FFF0000
        var pixels = max(conv.x.n * conv.x.h * conv.x.w, conv.y.n * conv.y.h * conv.y.w)
        if pixels > most or max(conv.x.c, conv.y.c) * conv.window.kh * conv.window.kw > most:
            return 1
        comptime for kind in range(3):
            if conv.kind == kind:
                comptime for c in range(FLOAT16, FLOAT64 + 1):
                    if code == c:
                        _convolve[kind, dtype_of[c]](index, w)
        return 0
    except e:
        return fail(e, "convolution")


@export("dumbtorch_accelerator_register_conv")
def register_conv() abi("C") -> None:
    var f: def(Int, Pointer[Convolution, MutAnyOrigin], Int) thin abi("C") -> Int = convolve
    register_entry("convolve", address_of(f))
