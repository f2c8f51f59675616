"""Softmax, log-softmax, their derivatives and cross-entropy on an accelerator.

The input is (outer, n, inner), as on the CPU. A block of threads works on a row when inner is 1; otherwise a thread goes down
a column, beside its neighbours. Sums over a block are merged in a fixed tree.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer, stack_allocation
from max.gpu import block_dim, block_idx, global_idx, grid_dim, thread_idx
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.math import exp, isnan, log
from kernels.loss import DeviceLosses
from kernels.softmax import LOG_SOFTMAX, LOG_SOFTMAX_BACKWARD, Rows, SOFTMAX, SOFTMAX_BACKWARD
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT64, itemsize
from tensor.memory import address_of, at, load, store
from tensor.storage import DeviceTable

comptime THREADS = 256
comptime HELD = 16  # elements of a row that a thread holds in registers: rows of up to HELD * THREADS are read once
comptime REDUCE_NONE = 0
comptime REDUCE_MEAN = 1


struct Work(Copyable, DevicePassable):
    """Softmax work, or a cross-entropy: addresses on the device and sizes. Passed by value."""

    var kind: Int32
    var code: Int32
    var size: Int32  # of an element
    var reduction: Int32
    var a: Int64
    var b: Int64
    var out: Int64
    var outer: Int64
    var n: Int64
    var inner: Int64
    var target: Int64
    var ignore: Int64
    var losses: Int64  # scratch: a loss for each row, in the type computed in
    var total: Int64  # scratch: how many rows count

    comptime device_type: AnyType = Self

    def __init__(out self, code: Int, a: Int, result: Int, outer: Int, n: Int):
        self.kind = 0
        self.code = Int32(code)
        self.size = Int32(itemsize(code))
        self.reduction = 0
        self.a = Int64(a)
        self.b = 0
        self.out = Int64(result)
        self.outer = Int64(outer)
        self.n = Int64(n)
        self.inner = 1
        self.target = 0
        self.ignore = 0
        self.losses = 0
        self.total = 0

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Rows"


@always_inline
def _get[C: DType](w: Work, base: Int64, i: Int64) -> Scalar[C]:
    return read[C](Int(base + i * w.size.cast[DType.int64]()), Int(w.code))


@always_inline
def _set[C: DType](w: Work, i: Int64, value: Scalar[C]):
    write(Int(w.out + i * w.size.cast[DType.int64]()), Int(w.code), value)


@always_inline
def _larger[C: DType](a: Scalar[C], b: Scalar[C]) -> Scalar[C]:
    return b if Bool(b > a) or Bool(isnan(b)) else a


@always_inline
def _together[C: DType, largest: Bool](value: Scalar[C]) -> Scalar[C]:
    """The block's maximum or sum, in every thread."""
    var space = stack_allocation[THREADS, Scalar[C], address_space=AddressSpace.SHARED]()
    var t = Int(thread_idx.x)
    var own = value
    barrier()
    space[unsafe_offset=t] = own
    barrier()
    var half = THREADS // 2
    while half > 0:
        if t < half:
            var other = space[unsafe_offset=t + half]
            comptime if largest:
                own = _larger(own, other)
            else:
                own += other
            space[unsafe_offset=t] = own
        barrier()
        half //= 2
    return space[unsafe_offset=0]


@always_inline
def _row_statistics[C: DType](w: Work, start: Int64) -> Tuple[Scalar[C], Scalar[C]]:
    """A row's maximum and its sum of exp(x - maximum), in every thread of the block."""
    var t = Int64(thread_idx.x)
    var high = Scalar[C].MIN
    var i = t
    while i < w.n:
        high = _larger(high, _get[C](w, w.a, start + i))
        i += THREADS
    high = _together[C, True](high)
    var total = Scalar[C](0)
    i = t
    while i < w.n:
        total += exp(_get[C](w, w.a, start + i) - high)
        i += THREADS
    return (high, _together[C, False](total))


def rows_kernel[C: DType](w: Work):
    var t = Int64(thread_idx.x)
    var row = Int64(block_idx.x)
    while row < w.outer:
        var start = row * w.n
        if w.kind >= SOFTMAX_BACKWARD:
            var total = Scalar[C](0)
            var i = t
            while i < w.n:
                var g = _get[C](w, w.a, start + i)
                total += g * _get[C](w, w.b, start + i) if w.kind == SOFTMAX_BACKWARD else g
                i += THREADS
            total = _together[C, False](total)
            i = t
            while i < w.n:
                _back[C](w, start + i, total)
                i += THREADS
        else:
            var s = _row_statistics[C](w, start)
            var i = t
            while i < w.n:
                _forward[C](w, start + i, s[0], s[1])
                i += THREADS
        row += Int64(grid_dim.x)


def held_kernel[C: DType](w: Work):
    """Softmax and log-softmax of rows that fit into the registers of a block; the dtype is looked at once."""
    comptime if C == DType.float64:
        _held[C, DType.float64](w)
    else:
        if w.code == FLOAT16:
            _held[C, DType.float16](w)
        elif w.code == BFLOAT16:
            _held[C, DType.bfloat16](w)
        else:
            _held[C, DType.float32](w)


@always_inline
def _held[C: DType, dt: DType](w: Work):
    var t = Int(thread_idx.x)
    var n = Int(w.n)
    var row = Int(block_idx.x)
    while row < Int(w.outer):
        var from_ = at[Scalar[dt]](Int(w.a)).unsafe_offset(row * n)
        var to = at[Scalar[dt]](Int(w.out)).unsafe_offset(row * n)
        # no branch stands between the loads, so that all of them are on their way at a time
        var x = SIMD[C, HELD](0)
        comptime for k in range(HELD):
            x[k] = from_[unsafe_offset=min(t + k * THREADS, n - 1)].cast[C]()
        comptime for k in range(HELD):
            x[k] = x[k] if t + k * THREADS < n else Scalar[C].MIN
        var high = x[0]
        comptime for k in range(1, HELD):
            high = _larger(high, x[k])
        high = _together[C, True](high)
        x -= high
        var e = exp(x)
        var total = Scalar[C](0)
        comptime for k in range(HELD):
            total += e[k] if t + k * THREADS < n else Scalar[C](0)
        total = _together[C, False](total)
        var y = e / total if w.kind == SOFTMAX else x - log(total)
        comptime for k in range(HELD):
            if t + k * THREADS < n:
                to[unsafe_offset=t + k * THREADS] = y[k].cast[dt]()
        row += Int(grid_dim.x)


@always_inline
def _forward[C: DType](w: Work, i: Int64, high: Scalar[C], total: Scalar[C]):
    var x = _get[C](w, w.a, i) - high
    _set[C](w, i, exp(x) / total if w.kind == SOFTMAX else x - log(total))


@always_inline
def _back[C: DType](w: Work, i: Int64, total: Scalar[C]):
    var g = _get[C](w, w.a, i)
    var y = _get[C](w, w.b, i)
    _set[C](w, i, y * (g - total) if w.kind == SOFTMAX_BACKWARD else g - exp(y) * total)


def columns_kernel[C: DType](w: Work):
    var unit = Int64(global_idx.x)
    while unit < w.outer * w.inner:
        var outer = unit // w.inner
        var start = outer * w.n * w.inner + unit - outer * w.inner
        var end = start + w.n * w.inner
        var i = start
        var total = Scalar[C](0)
        if w.kind >= SOFTMAX_BACKWARD:
            while i < end:
                var g = _get[C](w, w.a, i)
                total += g * _get[C](w, w.b, i) if w.kind == SOFTMAX_BACKWARD else g
                i += w.inner
            i = start
            while i < end:
                _back[C](w, i, total)
                i += w.inner
        else:
            var high = Scalar[C].MIN
            while i < end:
                high = _larger(high, _get[C](w, w.a, i))
                i += w.inner
            i = start
            while i < end:
                total += exp(_get[C](w, w.a, i) - high)
                i += w.inner
            i = start
            while i < end:
                _forward[C](w, i, high, total)
                i += w.inner
        unit += Int64(grid_dim.x * block_dim.x)


# ---------------------------------------------------------------- cross-entropy


def losses_kernel[C: DType](w: Work):
    """A loss for each row; NaN where a target is no class (the CPU raises: a device cannot)."""
    comptime size = Int64(8 if C == DType.float64 else 4)
    var row = Int64(block_idx.x)
    while row < w.outer:
        var target = load[Int64](Int(w.target + 8 * row))
        var s = _row_statistics[C](w, row * w.n)
        if thread_idx.x == 0:
            var loss = Scalar[C](0)
            if target != w.ignore:
                if target < 0 or target >= w.n:
                    loss = Scalar[C](0) / Scalar[C](0)
                else:
                    loss = log(s[1]) - (_get[C](w, w.a, row * w.n + target) - s[0])
            if w.reduction == REDUCE_NONE:
                _set[C](w, row, loss)
            else:
                store(Int(w.losses + row * size), loss)
        row += Int64(grid_dim.x)


def total_kernel[C: DType](w: Work):
    """One block: how many rows count, and (forward) the sum or mean of the losses, in a fixed order."""
    comptime size = Int64(8 if C == DType.float64 else 4)
    var sum = Scalar[C](0)
    var count = Int64(0)
    var row = Int64(thread_idx.x)
    while row < w.outer:
        if load[Int64](Int(w.target + 8 * row)) != w.ignore:
            count += 1
        if w.losses != 0:
            sum += load[Scalar[C]](Int(w.losses + row * size))
        row += THREADS
    sum = _together[C, False](sum)
    count = _together[DType.int64, False](count)
    if thread_idx.x == 0:
        store(Int(w.total), count)
        if w.losses != 0:
            _set[C](w, 0, sum / count.cast[C]() if w.reduction == REDUCE_MEAN else sum)


def losses_backward_kernel[C: DType](w: Work):
    """softmax(x) less one at the target, times the loss's gradient (`b`)."""
    var row = Int64(block_idx.x)
    while row < w.outer:
        var target = load[Int64](Int(w.target + 8 * row))
        var start = row * w.n
        var s = _row_statistics[C](w, start)
        var scale = _get[C](w, w.b, row if w.reduction == REDUCE_NONE else 0)
        if w.reduction == REDUCE_MEAN:
            scale /= load[Int64](Int(w.total)).cast[C]()
        var i = Int64(thread_idx.x)
        while i < w.n:
            var p = exp(_get[C](w, w.a, start + i) - s[0]) / s[1]
            if i == target:
                p -= 1
            _set[C](w, start + i, Scalar[C](0) if target == w.ignore else p * scale)
            i += THREADS
        row += Int64(grid_dim.x)


# ---------------------------------------------------------------- launches


def _rows[C: DType](index: Int, w: Work) raises:
    var d = device(index)
    if w.inner == 1 and w.n <= HELD * THREADS and w.kind < SOFTMAX_BACKWARD:
        d[].context().enqueue_function[held_kernel[C]](
            w, grid_dim=min(Int(w.outer), d[].processors * 64), block_dim=THREADS
        )
    elif w.inner == 1:
        d[].context().enqueue_function[rows_kernel[C]](
            w, grid_dim=min(Int(w.outer), d[].processors * 64), block_dim=THREADS
        )
    else:
        var units = Int(w.outer * w.inner)
        d[].context().enqueue_function[columns_kernel[C]](
            w, grid_dim=min(ceildiv(units, THREADS), d[].processors * 64), block_dim=THREADS
        )


def rows(index: Int, p: Pointer[Rows[DType.float32], MutAnyOrigin], code: Int) abi("C") -> Int:
    """See DeviceTable.rows."""
    try:
        ref r = p[]
        var w = Work(code, r.a, r.out, r.outer, r.n)
        w.kind = Int32(r.kind)
        w.b = Int64(r.b)
        w.inner = Int64(r.inner)
        if r.outer * r.n * r.inner == 0:
            return 0
        if code == FLOAT64:
            _rows[DType.float64](index, w)
        else:
            _rows[DType.float32](index, w)
        return 0
    except e:
        return fail(e, "softmax")


def _losses[C: DType](index: Int, mut w: Work) raises:
    var d = device(index)
    var context = d[].context()
    var blocks = max(1, min(Int(w.outer), d[].processors * 64))
    var space = d[].alloc(16 + Int(w.outer) * 8)
    w.total = Int64(space)
    try:
        if w.b == 0:
            if w.reduction != REDUCE_NONE:
                w.losses = Int64(space + 16)
            context.enqueue_function[losses_kernel[C]](w, grid_dim=blocks, block_dim=THREADS)
            if w.reduction != REDUCE_NONE:
                context.enqueue_function[total_kernel[C]](w, grid_dim=1, block_dim=THREADS)
        elif w.outer > 0:
            if w.reduction == REDUCE_MEAN:
                context.enqueue_function[total_kernel[C]](w, grid_dim=1, block_dim=THREADS)
            context.enqueue_function[losses_backward_kernel[C]](w, grid_dim=blocks, block_dim=THREADS)
    finally:
        d[].free(space)


def losses(index: Int, p: Pointer[DeviceLosses, MutAnyOrigin], code: Int) abi("C") -> Int:
    """See DeviceTable.losses."""
    try:
        ref l = p[]
        var w = Work(code, l.x, l.out, l.rows, l.classes)
        w.target = Int64(l.target)
        w.b = Int64(l.grad)
        w.ignore = Int64(l.ignore)
        w.reduction = Int32(l.reduction)
        if code == FLOAT64:
            _losses[DType.float64](index, w)
        else:
            _losses[DType.float32](index, w)
        return 0
    except e:
        return fail(e, "cross-entropy")


@export("dumbtorch_accelerator_register_softmax")
def register_softmax(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var rows_: def(Int, Pointer[Rows[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int = rows
    at[DeviceTable](table)[].rows = address_of(rows_)
    var losses_: def(Int, Pointer[DeviceLosses, MutAnyOrigin], Int) thin abi("C") -> Int = losses
    at[DeviceTable](table)[].losses = address_of(losses_)
