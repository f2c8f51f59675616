"""Reductions on an accelerator, with the folds of kernels/reducers.mojo.

A result is cut into segments by the shapes alone; each segment is folded into a state, by a block of threads ("rows") or,
where neighbouring results lie side by side in memory, by one thread each ("columns"). Then one thread a result merges the
segments' states in their order. No atomic is used: the same input gives the same bits every time.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, sqrt
from std.memory import Pointer, stack_allocation
from max.gpu import block_dim, block_idx, global_idx, grid_dim, thread_idx
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier
from kernels.gpu.copy_api import copy
from kernels.gpu.device import device, fail
from kernels.gpu.elements import read, write
from kernels.gpu.launch import AS_BOOL, AS_FLOAT32, AS_FLOAT64, AS_INT64, LIMIT, class_of_code, class_type

from kernels.reduce import (
    ALL, ANY, DEVIATION, LARGEST, LOGSUMEXP, MAXIMUM, MEAN, MINIMUM, NORM, OUT_INDEX, PROD, Plan, SMALLEST, SUM, VARIANCE,
    result_code,
)  # fmt: skip
from kernels.math import exp, log, pow
from kernels.norms import (
    LARGEST as NORM_LARGEST,
    POWER as NORM_POWER,
    SMALLEST as NORM_SMALLEST,
    TWO as NORM_TWO,
    _norm_step,
)
from kernels.folds import AllFold, AnyFold, Fold, MaxFold, MinFold, ProdFold, SumFold
from std.utils.numerics import isnan
from tensor.dtype import BFLOAT16, BOOL, FLOAT16, INT64, UINT64, UINT8, itemsize
from tensor.layout import no_dims
from tensor.memory import address_of, at, load, store
from tensor.storage import DeviceTable
from tensor.runtime import MAX_RANK

comptime THREADS = 256
comptime ROW_SEGMENT = 1 << 13  # reduced elements of a segment folded by a block: enough blocks to fill a device
comptime COLUMN_SEGMENT = 1 << 7  # of one folded by a thread
comptime AHEAD = 8  # loads of a thread that are on their way at a time
comptime LONG = 32  # segments from which on a block merges them


struct State[A: DType](TrivialRegisterPassable):
    """A partial result: a fold's value; an extreme and its position; mean, squared differences and count."""

    var v: Scalar[Self.A]
    var w: Scalar[Self.A]
    var i: Int64

    @always_inline
    def __init__(out self, v: Scalar[Self.A], w: Scalar[Self.A], i: Int64):
        self.v = v
        self.w = w
        self.i = i


trait Reducer:
    comptime plain: Bool  # a state is its v alone

    @staticmethod
    def start[A: DType]() -> State[A]:
        ...

    @staticmethod
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        """Folds an element, the i-th of the reduced ones; `param` is the op's number."""
        ...

    @staticmethod
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        ...


struct Folding[F: Fold](Reducer):
    comptime plain = True

    @staticmethod
    @always_inline
    def start[A: DType]() -> State[A]:
        return State[A](Self.F.identity[A](), 0, 0)

    @staticmethod
    @always_inline
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        return State[A](Self.F.step(s.v, Self.F.prepare(x)), 0, 0)

    @staticmethod
    @always_inline
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        return State[A](Self.F.step(a.v, b.v), 0, 0)


struct Extreme[largest: Bool](Reducer):
    """i is the position, -1 before the first element. The first of equals wins, NaN wins over all."""

    comptime plain = False

    @staticmethod
    @always_inline
    def start[A: DType]() -> State[A]:
        return State[A](0, 0, -1)

    @staticmethod
    @always_inline
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        return Self.merge(s, State[A](x, 0, i))

    @staticmethod
    @always_inline
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        if a.i < 0:
            return b
        if b.i < 0:
            return a
        var better: Bool
        comptime if Self.largest:
            better = Bool(b.v > a.v)
        else:
            better = Bool(b.v < a.v)
        var equal = Bool(b.v == a.v)
        comptime if A.is_floating_point():
            var first = Bool(isnan(a.v))
            var second = Bool(isnan(b.v))
            if first or second:
                better = second and not first
                equal = first and second
        return b if better or (equal and b.i < a.i) else a


struct Variance(Reducer):
    """v the mean, w the squared differences from it, i the count: Welford 1962, merged as Chan, Golub, LeVeque 1979."""

    comptime plain = False

    @staticmethod
    @always_inline
    def start[A: DType]() -> State[A]:
        return State[A](0, 0, 0)

    @staticmethod
    @always_inline
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        var n = s.i + 1
        var delta = x - s.v
        var mean = s.v + delta / n.cast[A]()
        return State[A](mean, s.w + delta * (x - mean), n)

    @staticmethod
    @always_inline
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        if a.i == 0:
            return b
        if b.i == 0:
            return a
        var n = a.i + b.i
        var delta = b.v - a.v
        var share = b.i.cast[A]() / n.cast[A]()
        return State[A](a.v + delta * share, a.w + b.w + delta * delta * a.i.cast[A]() * share, n)


struct Magnitudes[kind: Int](Reducer):
    """A vector norm without its root."""

    comptime plain = True
    comptime extreme = Self.kind == NORM_LARGEST or Self.kind == NORM_SMALLEST

    @staticmethod
    @always_inline
    def start[A: DType]() -> State[A]:
        return State[A](Scalar[A].MAX if Self.kind == NORM_SMALLEST else 0, 0, 0)

    @staticmethod
    @always_inline
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        return State[A](_norm_step[Self.kind](s.v, x, param), 0, 0)

    @staticmethod
    @always_inline
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        comptime if Self.extreme:
            return State[A](_norm_step[Self.kind](a.v, b.v, 0), 0, 0)
        else:
            return State[A](a.v + b.v, 0, 0)


struct LogSumExp(Reducer):
    """v the largest element, w the sum of exp(x - v), of nothing while v is -inf or not finite."""

    comptime plain = False

    @staticmethod
    @always_inline
    def start[A: DType]() -> State[A]:
        return State[A](Scalar[A].MIN, 0, 0)

    @staticmethod
    @always_inline
    def add[A: DType](s: State[A], x: Scalar[A], i: Int64, param: Float64) -> State[A]:
        return Self.merge(s, State[A](x, Scalar[A](1), 0))

    @staticmethod
    @always_inline
    def merge[A: DType](a: State[A], b: State[A]) -> State[A]:
        var high = b.v if Bool(b.v > a.v) or Bool(isnan(b.v)) else a.v
        if isnan(high) or high > Scalar[A].MAX_FINITE or high < Scalar[A].MIN_FINITE:
            return State[A](high, 0, 0)
        var sum = a.w * exp(a.v - high) if a.w != 0 else Scalar[A](0)
        return State[A](high, sum + (b.w * exp(b.v - high) if b.w != 0 else Scalar[A](0)), 0)


struct Work(Copyable, DevicePassable):
    """A planned reduction; passed by value. Strides are bytes; reduced dimensions fastest first, kept ones slowest first.
    """

    var data: Int64
    var states: Int64
    var out: Int64
    var second: Int64
    var code: Int32
    var out_code: Int32
    var kind: Int32
    var kept: Int32
    var reduced: Int32
    var segments: Int32
    var outputs: Int64
    var count: Int64
    var length: Int64  # reduced elements of a segment
    var param: Float64
    var kept_shape: Array[Int64, MAX_RANK]
    var kept_strides: Array[Int64, MAX_RANK]
    var reduced_shape: Array[Int64, MAX_RANK]
    var reduced_strides: Array[Int64, MAX_RANK]

    comptime device_type: AnyType = Self

    def __init__(out self, p: Plan, out_code: Int):
        self.data = Int64(p.data)
        self.states = 0
        self.out = Int64(p.out)
        self.second = Int64(p.second)
        self.code = Int32(p.code)
        self.out_code = Int32(out_code)
        self.kind = Int32(p.table[].kind)
        self.kept = Int32(p.kept)
        self.reduced = Int32(p.reduced)
        self.segments = 1
        self.outputs = Int64(p.outputs)
        self.count = Int64(p.count)
        self.length = Int64(p.count)
        self.param = p.param
        self.kept_shape = Array[Int64, MAX_RANK](fill=1)
        self.kept_strides = Array[Int64, MAX_RANK](fill=0)
        self.reduced_shape = Array[Int64, MAX_RANK](fill=1)
        self.reduced_strides = Array[Int64, MAX_RANK](fill=0)
        for d in range(p.kept):
            self.kept_shape[d] = Int64(p.kept_shape[d])
            self.kept_strides[d] = Int64(p.kept_strides[d])
        for d in range(p.reduced):
            self.reduced_shape[d] = Int64(p.reduced_shape[d])
            self.reduced_strides[d] = Int64(p.reduced_strides[d])

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Reduction"


@always_inline
def _base(w: Work, output: Int64) -> Int64:
    var a = w.data
    var rest = output
    for j in range(Int(w.kept)):
        var d = Int(w.kept) - 1 - j
        var quotient = rest // w.kept_shape[d]
        a += (rest - quotient * w.kept_shape[d]) * w.kept_strides[d]
        rest = quotient
    return a


@always_inline
def _offset(w: Work, element: Int64) -> Int64:
    if w.reduced == 1:
        return element * w.reduced_strides[0]
    var a = Int64(0)
    # 32-bit division is several times quicker, and a reduction of 2^32 elements is rare
    if w.count < 0x7FFFFFFF:
        var rest = element.cast[DType.uint32]()
        for d in range(Int(w.reduced)):
            var size = w.reduced_shape[d].cast[DType.uint32]()
            var quotient = rest // size
            a += (rest - quotient * size).cast[DType.int64]() * w.reduced_strides[d]
            rest = quotient
        return a
    var rest = element
    for d in range(Int(w.reduced)):
        var quotient = rest // w.reduced_shape[d]
        a += (rest - quotient * w.reduced_shape[d]) * w.reduced_strides[d]
        rest = quotient
    return a


comptime STATE_BYTES = 24  # of the widest state: both values in float64 or int64, and the position


@always_inline
def _keep[R: Reducer, A: DType](w: Work, unit: Int64, s: State[A]):
    comptime if R.plain:
        store(Int(w.states + unit * 8), s.v)
    else:
        var a = Int(w.states + unit * STATE_BYTES)
        store(a, s.v)
        store(a + 8, s.w)
        store(a + 16, s.i)


@always_inline
def _state[R: Reducer, A: DType](w: Work, unit: Int64) -> State[A]:
    comptime if R.plain:
        return State[A](load[Scalar[A]](Int(w.states + unit * 8)), 0, 0)
    var a = Int(w.states + unit * STATE_BYTES)
    return State[A](load[Scalar[A]](a), load[Scalar[A]](a + 8), load[Int64](a + 16))


@always_inline
def _together[R: Reducer, A: DType](own: State[A]) -> State[A]:
    """The states of a block's threads merged in a fixed tree; valid in the first thread."""
    var values = stack_allocation[THREADS, Scalar[A], address_space=AddressSpace.SHARED]()
    var others = stack_allocation[THREADS, Scalar[A], address_space=AddressSpace.SHARED]()
    var positions = stack_allocation[THREADS, Int64, address_space=AddressSpace.SHARED]()
    var t = Int(thread_idx.x)
    var s = own
    values[unsafe_offset=t] = s.v
    comptime if not R.plain:
        others[unsafe_offset=t] = s.w
        positions[unsafe_offset=t] = s.i
    barrier()
    var half = THREADS // 2
    while half > 0:
        if t < half:
            var k = t + half
            s = R.merge(s, State[A](values[unsafe_offset=k], others[unsafe_offset=k], positions[unsafe_offset=k]))
            values[unsafe_offset=t] = s.v
            comptime if not R.plain:
                others[unsafe_offset=t] = s.w
                positions[unsafe_offset=t] = s.i
        barrier()
        half //= 2
    return s


@always_inline
def _fold[R: Reducer, A: DType](w: Work, base: Int64, start: Int64, end: Int64, step: Int64) -> State[A]:
    """Folds elements start, start + step, ...; the dtype is looked at once."""
    comptime if A == DType.float32:
        if w.code == FLOAT16:
            return _fold_as[R, A, DType.float16](w, base, start, end, step)
        if w.code == BFLOAT16:
            return _fold_as[R, A, DType.bfloat16](w, base, start, end, step)
        return _fold_as[R, A, DType.float32](w, base, start, end, step)
    else:
        if itemsize(Int(w.code)) == 8:
            return _fold_as[R, A, A](w, base, start, end, step)
        return _fold_as[R, A, DType.bool](w, base, start, end, step)


@always_inline
def _element[A: DType, dt: DType](address: Int64, code: Int32) -> Scalar[A]:
    comptime if dt == DType.bool:
        return read[A](Int(address), Int(code))
    else:
        return load[Scalar[dt]](Int(address)).cast[A]()


@always_inline
def _fold_as[R: Reducer, A: DType, dt: DType](w: Work, base: Int64, start: Int64, end: Int64, step: Int64) -> State[A]:
    """Elements of dtype dt (bool: any): several states, so that several loads are on their way at a time."""
    var s = Array[State[A], AHEAD](fill=R.start[A]())
    var i = start
    while i + (AHEAD - 1) * step < end:
        var x = Array[Scalar[A], AHEAD](fill=0)
        comptime for k in range(AHEAD):
            x[k] = _element[A, dt](base + _offset(w, i + Int64(k) * step), w.code)
        comptime for k in range(AHEAD):
            s[k] = R.add(s[k], x[k], i + Int64(k) * step, w.param)
        i += AHEAD * step
    while i < end:
        s[0] = R.add(s[0], _element[A, dt](base + _offset(w, i), w.code), i, w.param)
        i += step
    comptime for k in range(1, AHEAD):
        s[0] = R.merge(s[0], s[k])
    return s[0]


def rows_kernel[R: Reducer, A: DType](w: Work):
    """One block for each (output, segment)."""
    var t = Int(thread_idx.x)
    var unit = Int64(block_idx.x)
    var units = w.outputs * w.segments.cast[DType.int64]()
    while unit < units:
        var output = unit // w.segments.cast[DType.int64]()
        var start = (unit - output * w.segments.cast[DType.int64]()) * w.length
        var end = min(start + w.length, w.count)
        var s = _together[R](_fold[R, A](w, _base(w, output), start + Int64(t), end, THREADS))
        if t == 0:
            if w.segments == 1:
                _finish(w, output, s)
            else:
                _keep[R](w, unit, s)
        barrier()
        unit += Int64(grid_dim.x)


def columns_kernel[R: Reducer, A: DType](w: Work):
    """One thread for each (segment, output): neighbouring threads read neighbouring elements."""
    var unit = Int64(global_idx.x)
    var units = w.outputs * w.segments.cast[DType.int64]()
    while unit < units:
        var segment = unit // w.outputs
        var output = unit - segment * w.outputs
        var start = segment * w.length
        var end = min(start + w.length, w.count)
        var s = _fold[R, A](w, _base(w, output), start, end, 1)
        if w.segments == 1:
            _finish(w, output, s)
        else:
            _keep[R](w, output * w.segments.cast[DType.int64]() + segment, s)
        unit += Int64(grid_dim.x * block_dim.x)


def merge_kernel[R: Reducer, A: DType](w: Work):
    """One thread for each output: its segments' states in order, then the result."""
    var output = Int64(global_idx.x)
    while output < w.outputs:
        var s = R.start[A]()
        for k in range(Int(w.segments)):
            s = R.merge(s, _state[R, A](w, output * w.segments.cast[DType.int64]() + Int64(k)))
        _finish(w, output, s)
        output += Int64(grid_dim.x * block_dim.x)


def merge_long_kernel[R: Reducer, A: DType](w: Work):
    """One block for each output: a thread merges neighbouring segments, then the block its threads."""
    var output = Int64(block_idx.x)
    var segments = w.segments.cast[DType.int64]()
    var share = (segments + THREADS - 1) // THREADS
    while output < w.outputs:
        var k = Int64(thread_idx.x) * share
        var end = min(k + share, segments)
        var s = R.start[A]()
        while k < end:
            s = R.merge(s, _state[R, A](w, output * segments + k))
            k += 1
        s = _together[R](s)
        if thread_idx.x == 0:
            _finish(w, output, s)
        barrier()
        output += Int64(grid_dim.x)


@always_inline
def _finish[A: DType](w: Work, output: Int64, s: State[A]):
    var kind = Int(w.kind)
    var code = Int(w.out_code)
    var address = Int(w.out) + Int(output) * itemsize(code)
    if kind == LARGEST or kind == SMALLEST:
        if w.second == 0:
            store(address, s.i)
            return
        store(Int(w.second + output * 8), s.i)
        write(address, code, s.v)
        return
    comptime if A.is_floating_point():
        if kind == MEAN:
            write(address, code, s.v / w.count.cast[A]())
            return
        if kind == VARIANCE or kind == DEVIATION:
            var divisor = max(w.count.cast[DType.float64]() - w.param, 0.0)
            var v = s.w / divisor.cast[A]()
            write(address, code, sqrt(v) if kind == DEVIATION else v)
            return
        if kind == LOGSUMEXP:
            var finite = s.v <= Scalar[A].MAX_FINITE and s.v >= Scalar[A].MIN_FINITE
            write(address, code, s.v + log(s.w) if finite else s.v)
            return
        if kind == NORM + NORM_TWO:
            write(address, code, sqrt(s.v))
            return
        if kind == NORM + NORM_POWER:
            write(address, code, pow(s.v, (1 / w.param).cast[A]()))
            return
        if kind == ANY or kind == ALL:
            store(address, UInt8(1) if s.v != 0 else UInt8(0))
            return
    write(address, code, s.v)


def _run[R: Reducer, c: Int](index: Int, mut w: Work, columns: Bool) raises:
    comptime A = class_type[c]
    var d = device(index)
    var context = d[].context()
    var most = d[].processors * 64
    var units = Int(w.outputs) * Int(w.segments)
    if columns:
        context.enqueue_function[columns_kernel[R, A]](
            w, grid_dim=max(1, min(ceildiv(units, THREADS), most)), block_dim=THREADS
        )
    else:
        context.enqueue_function[rows_kernel[R, A]](w, grid_dim=max(1, min(units, most * 4)), block_dim=THREADS)
    if w.segments >= LONG:
        context.enqueue_function[merge_long_kernel[R, A]](
            w, grid_dim=max(1, min(Int(w.outputs), most)), block_dim=THREADS
        )
    elif w.segments > 1:
        context.enqueue_function[merge_kernel[R, A]](
            w, grid_dim=max(1, min(ceildiv(Int(w.outputs), THREADS), most)), block_dim=THREADS
        )


def _choose[R: Reducer](index: Int, mut w: Work, kind: Int, columns: Bool) raises:
    comptime for c in range(AS_BOOL):
        if kind == c:
            _run[R, c](index, w, columns)


def _reduce(index: Int, p: Plan) raises -> Int:
    if p.outputs == 0:
        return 0
    var kind = class_of_code(p.code)
    if kind == AS_BOOL:
        kind = AS_INT64
    var what = p.table[].kind
    # as int64, a large uint64 would be the smallest
    var ordered = what == MAXIMUM or what == MINIMUM or what == LARGEST or what == SMALLEST
    if kind < 0 or what == 0 or (p.code == UINT64 and ordered) or (what >= VARIANCE and kind == AS_INT64):
        return 1
    if p.source_code != p.code:
        return _cast_first(index, p)
    var d = device(index)
    var w = Work(p, result_code(p.table, p.code))
    # results side by side, read by neighbouring threads; else a block folds one together
    var size = itemsize(p.code)
    var inner = p.reduced == 0 or p.reduced_strides[0] == size
    var columns = (
        not inner and p.kept > 0 and p.kept_strides[p.kept - 1] == size and p.kept_shape[p.kept - 1] >= 32
    ) or p.count < 32
    var length = COLUMN_SEGMENT if columns else ROW_SEGMENT
    if p.count > length:
        w.length = Int64(length)
        w.segments = Int32(ceildiv(p.count, length))
    var states = d[].alloc(p.outputs * Int(w.segments) * STATE_BYTES if w.segments > 1 else 0)
    w.states = Int64(states)
    try:
        if what == SUM or what == MEAN:
            _choose[Folding[SumFold]](index, w, kind, columns)
        elif what == PROD:
            _choose[Folding[ProdFold]](index, w, kind, columns)
        elif what == MAXIMUM:
            _choose[Folding[MaxFold]](index, w, kind, columns)
        elif what == MINIMUM:
            _choose[Folding[MinFold]](index, w, kind, columns)
        elif what == ANY:
            _choose[Folding[AnyFold]](index, w, kind, columns)
        elif what == ALL:
            _choose[Folding[AllFold]](index, w, kind, columns)
        elif what == LARGEST:
            _choose[Extreme[True]](index, w, kind, columns)
        elif what == SMALLEST:
            _choose[Extreme[False]](index, w, kind, columns)
        elif what == LOGSUMEXP:
            _run[LogSumExp, AS_FLOAT64](index, w, columns)
        elif what >= NORM:
            comptime for norm in range(6):
                if what == NORM + norm:
                    _run[Magnitudes[norm], AS_FLOAT64](index, w, columns)
        elif kind == AS_FLOAT64:
            _run[Variance, AS_FLOAT64](index, w, columns)
        else:
            _run[Variance, AS_FLOAT32](index, w, columns)
    finally:
        d[].free(states)
    return 0


def _cast_first(index: Int, p: Plan) raises -> Int:
    """A reduction that computes in another dtype than its input's: reduces a copy, laid out kept dimensions first."""
    if p.outputs * p.count == 0 or p.kept + p.reduced > MAX_RANK:
        return 1
    var d = device(index)
    var q = p.copy()
    var size = itemsize(p.code)
    var shape = no_dims()
    var ss = no_dims()
    var ds = no_dims()
    var n = 0
    var step = size
    for i in range(p.reduced):
        shape[n] = p.reduced_shape[i]
        ss[n] = p.reduced_strides[i]
        ds[n] = step
        q.reduced_strides[i] = step
        step *= shape[n]
        n += 1
    for j in range(p.kept):
        var i = p.kept - 1 - j
        shape[n] = p.kept_shape[i]
        ss[n] = p.kept_strides[i]
        ds[n] = step
        q.kept_strides[i] = step
        step *= shape[n]
        n += 1
    if n == 0:
        shape[0] = 1
        n = 1
        ds[0] = size
    var temporary = d[].alloc(step)
    q.data = temporary
    q.source_code = p.code
    var status: Int
    try:
        status = copy(index, temporary, p.code, ds, p.data, p.source_code, ss, shape, n)
        if status == 0:
            status = _reduce(index, q)
    finally:
        d[].free(temporary)
    return status


def reduce(index: Int, plan: Pointer[Plan, MutAnyOrigin]) abi("C") -> Int:
    """See DeviceTable.reduce."""
    try:
        return _reduce(index, plan[])
    except e:
        return fail(e, "reduction")


@export("dumbtorch_accelerator_register_reduce")
def register_reduce(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var reduce_: def(Int, Pointer[Plan, MutAnyOrigin]) thin abi("C") -> Int = reduce
    at[DeviceTable](table)[].reduce = address_of(reduce_)
