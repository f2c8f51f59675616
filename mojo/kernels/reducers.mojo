"""The reductions themselves: sum, mean, prod, amax, amin, max, min, argmax, argmin, any, all, var, std.

A reducer folds SIMD vectors into its accumulator; the functions that reduce.mojo wants are made from it. Float sums of
a block run in four vector accumulators of at most 128 steps each, blocks add up in float64.
"""

from std.math import iota, sqrt
from std.memory import Pointer, bitcast
from std.sys.info import simd_width_of, size_of
from std.sys.intrinsics import masked_load, prefetch
from std.utils.numerics import isnan
from tensor.call import Call, register
from tensor.dtype import BOOL, FLOAT32, INT64, NUM_DTYPES, UINT8, category, dtype_of, dtype_name, type_name
from tensor.layout import no_dims, wrap_dim
from tensor.memory import Ptr, address_of, at, load, store, zeroed
from tensor.object import as_tensor
from tensor.py import Obj, decref
from tensor.runtime import runtime
from kernels.math_core import BitsOf, INF_BITS, nan, to_bits
from kernels.pointwise import compute, is_half, load_at, store_at

from kernels.transfer_api import contiguous_of

from kernels.reduce import (
    ALL, ANY, BlockFn, DEVIATION, FinishFn, HOST_ONLY, LARGEST, MAXIMUM, MEAN, MINIMUM, MergeFn, OUT_BOOL, OUT_COUNT, OUT_INDEX,
    OUT_SAME, OUT_SUM, PROD, Reduction, ReductionPtr, SMALLEST, SUM, State, VARIANCE, VerticalFn, dims_mask, reduce_with,
)  # fmt: skip


comptime AHEAD = 4096
"""How many bytes ahead a block is prefetched."""

# The type in which vectors accumulate: floats in float32 or float64, integers in int64.
comptime acc_of[dt: DType]: DType = (
    compute[dt] if dt.is_floating_point() else DType.uint64 if dt == DType.uint64 else DType.int64
)


trait Fold:
    """A reduction whose accumulator is one element: associative, with an identity."""

    comptime same_type: Bool  # accumulates in the elements' own (compute) type, not in acc_of
    comptime kind: Int  # which reduction it is, to an accelerator

    @staticmethod
    def identity[dt: DType]() -> Scalar[dt]:
        ...

    @staticmethod
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        ...

    @staticmethod
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        ...


struct SumFold(Fold):
    comptime same_type = False
    comptime kind = SUM

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return acc + x

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x


struct ProdFold(Fold):
    comptime same_type = False
    comptime kind = PROD

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 1

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return acc * x

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x


struct MaxFold(Fold):
    """NaN wins, as in PyTorch."""

    comptime same_type = True
    comptime kind = MAXIMUM

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return Scalar[dt].MIN

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return (x.gt(acc) | isnan(x)).select(x, acc)
        else:
            return x.gt(acc).select(x, acc)

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x


struct MinFold(Fold):
    comptime same_type = True
    comptime kind = MINIMUM

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return Scalar[dt].MAX

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return (x.lt(acc) | isnan(x)).select(x, acc)
        else:
            return x.lt(acc).select(x, acc)

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x


struct AnyFold(Fold):
    """1 where an element is not zero (NaN is not)."""

    comptime same_type = True
    comptime kind = ANY

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return (acc.ne(0) | x.ne(0)).select(SIMD[dt, w](1), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return (x.ne(0) | isnan(x)).select(SIMD[dt, w](1), SIMD[dt, w](0))
        else:
            return x.ne(0).select(SIMD[dt, w](1), SIMD[dt, w](0))


struct AllFold(Fold):
    comptime same_type = True
    comptime kind = ALL

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 1

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return (acc.ne(0) & x.ne(0)).select(SIMD[dt, w](1), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return AnyFold.prepare(x)


struct NanSumFold(Fold):
    """A NaN counts as 0."""

    comptime same_type = False
    comptime kind = HOST_ONLY

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return acc + x

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return isnan(x).select(SIMD[dt, w](0), x)
        else:
            return x


struct CountFold(Fold):
    """How many elements are not zero."""

    comptime same_type = False
    comptime kind = HOST_ONLY

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def step[dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
        return acc + x

    @staticmethod
    @always_inline
    def prepare[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return AnyFold.prepare(x)


# Bools are bytes to the folds: 0 and 1.
comptime element_of[dt: DType]: DType = DType.uint8 if dt == DType.bool else dt
comptime fold_type[F: Fold, dt: DType]: DType = compute[element_of[dt]] if F.same_type else acc_of[element_of[dt]]


@always_inline
def _get[dt: DType](s: State) -> Scalar[dt]:
    comptime if dt.is_floating_point():
        return s.f.cast[dt]()
    elif dt == DType.uint64:
        return UInt64(s.i).cast[dt]()
    else:
        return Int64(s.i).cast[dt]()


@always_inline
def _put[dt: DType](v: Scalar[dt]) -> State:
    comptime if dt.is_floating_point():
        return State(f=v.cast[DType.float64]())
    else:
        return State(i=Int(v.cast[DType.int64]()))


@always_inline
def _join[F: Fold, A: DType](state: Int, v: Scalar[A]):
    """Folds one accumulator into a state: float sums and products in float64."""
    comptime if A.is_floating_point() and not F.same_type:
        at[State](state)[].f = F.step(at[State](state)[].f, v.cast[DType.float64]())
    else:
        at[State](state)[] = _put(F.step(_get[A](at[State](state)[]), v))


@always_inline
def _across[F: Fold, A: DType, w: SIMDLength](v: SIMD[A, w]) -> Scalar[A]:
    """One value from a vector, halves against halves."""
    comptime if w == 1:
        return v[0]
    else:
        comptime half = Int(w) // 2
        return _across[F, A, half](F.step(v.slice[half, offset=0](), v.slice[half, offset=half]()))


@always_inline
def _rest[F: Fold, E: DType, A: DType, w: Int](data: Int, i: Int, n: Int) -> SIMD[A, w]:
    """Elements i .. n, fewer than w, prepared; the identity in the other lanes."""
    comptime S = DType.uint16 if is_half[E] else E
    var identity = SIMD[E, w](F.identity[A]().cast[E]())
    var lanes = iota[DType.int32, w]().lt(SIMD[DType.int32, w](Int32(n - i)))
    var x = masked_load[w](at[Scalar[S]](data).unsafe_offset(i), lanes, bitcast[S](identity))
    return F.prepare(bitcast[E](x).cast[A]())


@always_inline
def _prefetch_vectors[dt: DType, count: Int](data: Int, i: Int):
    """Asks for the lines that lie as far ahead as memory is away."""
    comptime bytes = count * size_of[Scalar[dt]]()
    comptime for k in range((bytes + 63) // 64):
        prefetch(at[UInt8](data + i * size_of[Scalar[dt]]() + AHEAD + 64 * k))


def _fold_extremes[F: Fold, A: DType](state: Int, data: Int, n: Int):
    """The extreme of a block of floats in one step a vector; NaNs are looked for beside it."""
    comptime W = simd_width_of[A]()
    comptime V = SIMD[A, W]
    comptime U = SIMD[BitsOf[A], W]
    var best = Array[V, 4](fill=V(F.identity[A]()))
    var bits = U(0)  # the largest without the sign: above infinity's is a NaN
    var i = 0
    while i + 4 * W <= n:
        _prefetch_vectors[A, 4 * W](data, i)
        comptime for k in range(4):
            var x = load_at[A, W](data, i + k * W)
            best[k] = _better[F](x, best[k])
            bits = max(bits, to_bits(x) << 1)
        i += 4 * W
    while i < n:
        var x = _rest[F, A, A, W](data, i, n)
        best[0] = _better[F](x, best[0])
        bits = max(bits, to_bits(x) << 1)
        i += W
    if bits.reduce_max() > 2 * INF_BITS[A].cast[BitsOf[A]]():
        at[State](state)[] = _put(nan[A, 1]())
    else:
        var best01 = _better[F](best[0], best[1])
        _join[F, A](state, _across[F](_better[F](best01, _better[F](best[2], best[3]))))


@always_inline
def _better[A: DType, w: Int, //, F: Fold](x: SIMD[A, w], y: SIMD[A, w]) -> SIMD[A, w]:
    """The larger (MaxFold) or smaller of numbers that are not NaN."""
    comptime if F.kind == MAXIMUM:
        return x.gt(y).select(x, y)
    else:
        return x.lt(y).select(x, y)


def fold_block[F: Fold, dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    comptime E = element_of[dt]
    comptime A = fold_type[F, dt]
    comptime if A.is_floating_point() and A == E and (F.kind == MAXIMUM or F.kind == MINIMUM):
        _fold_extremes[F, A](state, data, n)
        return
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[A]]() <= 4 else simd_width_of[A]()
    var i = 0
    while i < n:
        # at most 512 vectors before the accumulators join the state
        var stop = min(n, i + 512 * W)
        var a0 = SIMD[A, W](F.identity[A]())
        var a1 = a0
        var a2 = a0
        var a3 = a0
        while i + 4 * W <= stop:
            _prefetch_vectors[E, 4 * W](data, i)
            a0 = F.step(a0, F.prepare(load_at[E, W](data, i).cast[A]()))
            a1 = F.step(a1, F.prepare(load_at[E, W](data, i + W).cast[A]()))
            a2 = F.step(a2, F.prepare(load_at[E, W](data, i + 2 * W).cast[A]()))
            a3 = F.step(a3, F.prepare(load_at[E, W](data, i + 3 * W).cast[A]()))
            i += 4 * W
        while i + W <= stop:
            a0 = F.step(a0, F.prepare(load_at[E, W](data, i).cast[A]()))
            i += W
        if i < stop:
            a1 = F.step(a1, _rest[F, E, A, W](data, i, stop))
            i = stop
        _join[F, A](state, _across[F](F.step(F.step(a0, a1), F.step(a2, a3))))


def fold_rows[F: Fold, dt: DType](states: Int, data: Int, step: Int, rows: Int, columns: Int) abi("C") -> None:
    comptime E = element_of[dt]
    comptime A = fold_type[F, dt]
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[A]]() <= 4 else simd_width_of[A]()
    var c = 0
    while c + 4 * W <= columns:
        var a0 = SIMD[A, W](F.identity[A]())
        var a1 = a0
        var a2 = a0
        var a3 = a0
        for r in range(rows):
            var p = data + r * step
            a0 = F.step(a0, F.prepare(load_at[E, W](p, c).cast[A]()))
            a1 = F.step(a1, F.prepare(load_at[E, W](p, c + W).cast[A]()))
            a2 = F.step(a2, F.prepare(load_at[E, W](p, c + 2 * W).cast[A]()))
            a3 = F.step(a3, F.prepare(load_at[E, W](p, c + 3 * W).cast[A]()))
        for k in range(W):
            _join[F, A](states + (c + k) * 32, a0[k])
            _join[F, A](states + (c + W + k) * 32, a1[k])
            _join[F, A](states + (c + 2 * W + k) * 32, a2[k])
            _join[F, A](states + (c + 3 * W + k) * 32, a3[k])
        c += 4 * W
    while c + W <= columns:
        var a0 = SIMD[A, W](F.identity[A]())
        for r in range(rows):
            a0 = F.step(a0, F.prepare(load_at[E, W](data + r * step, c).cast[A]()))
        for k in range(W):
            _join[F, A](states + (c + k) * 32, a0[k])
        c += W
    while c < columns:
        var a0 = F.identity[A]()
        for r in range(rows):
            a0 = F.step(a0, F.prepare(load_at[E, 1](data + r * step, c).cast[A]()))
        _join[F, A](states + c * 32, a0)
        c += 1


def fold_merge[F: Fold, dt: DType](state: Int, other: Int) abi("C") -> None:
    comptime A = fold_type[F, dt]
    comptime if A.is_floating_point():
        at[State](state)[].f = F.step(at[State](state)[].f, at[State](other)[].f)
    else:
        at[State](state)[] = _put(F.step(_get[A](at[State](state)[]), _get[A](at[State](other)[])))


def fold_finish[
    F: Fold, dt: DType, out: DType
](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    comptime A = fold_type[F, dt]
    store_at[element_of[out], 1](result, 0, _get[A](at[State](state)[]).cast[element_of[out]]())


def mean_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    store_at[dt, 1](result, 0, (at[State](state)[].f / Float64(count)).cast[dt]())


# ---------------------------------------------------------------- positions of extremes


def extreme_block[largest: Bool, dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """State: f or i the value, j the position + 1 (0: none yet). The first of equals wins, NaN wins over all."""
    comptime E = element_of[dt]
    comptime C = compute[E]
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[C]]() <= 4 else simd_width_of[C]()
    comptime F = MaxFold if largest else MinFold
    ref s = at[State](state)[]
    var best = _get[C](s)
    if s.j != 0:
        comptime if C.is_floating_point():
            if isnan(best):
                return
    # pass 1: the extreme of the block, wide; pass 2, only when it improves: its first position
    var i = 0
    var v = load_at[E, 1](data, 0).cast[C]()
    if n >= 2 * W:
        var a0 = load_at[E, W](data, 0).cast[C]()
        var a1 = load_at[E, W](data, W).cast[C]()
        i = 2 * W
        while i + 2 * W <= n:
            comptime if largest:
                a0 = MaxFold.step(a0, load_at[E, W](data, i).cast[C]())
                a1 = MaxFold.step(a1, load_at[E, W](data, i + W).cast[C]())
            else:
                a0 = MinFold.step(a0, load_at[E, W](data, i).cast[C]())
                a1 = MinFold.step(a1, load_at[E, W](data, i + W).cast[C]())
            i += 2 * W
        comptime if largest:
            v = _across[MaxFold](MaxFold.step(a0, a1))
        else:
            v = _across[MinFold](MinFold.step(a0, a1))
    while i < n:
        comptime if largest:
            v = MaxFold.step(v, load_at[E, 1](data, i).cast[C]())
        else:
            v = MinFold.step(v, load_at[E, 1](data, i).cast[C]())
        i += 1
    var better = s.j == 0
    comptime if largest:
        better = better or Bool(v.gt(best))
    else:
        better = better or Bool(v.lt(best))
    var nan = False
    comptime if C.is_floating_point():
        nan = Bool(isnan(v))
    if not (better or nan):
        return
    var position = 0
    if nan:
        comptime if C.is_floating_point():
            while not Bool(isnan(load_at[E, 1](data, position).cast[C]())):
                position += 1
    else:
        while not Bool(load_at[E, 1](data, position).cast[C]().eq(v)):
            position += 1
    s = _put(v)
    s.j = index + position + 1


def extreme_merge[largest: Bool, dt: DType](state: Int, other: Int) abi("C") -> None:
    comptime C = compute[element_of[dt]]
    ref a = at[State](state)[]
    ref b = at[State](other)[]
    if b.j == 0:
        return
    var x = _get[C](a)
    var y = _get[C](b)
    var better = a.j == 0
    comptime if C.is_floating_point():
        if a.j != 0 and Bool(isnan(x)):
            return
        better = better or Bool(isnan(y))
    comptime if largest:
        better = better or Bool(y.gt(x))
    else:
        better = better or Bool(y.lt(x))
    if better:
        a = State(f=b.f, g=b.g, i=b.i, j=b.j)


def index_finish(state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    store[Int](result, at[State](state)[].j - 1)


def extreme_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    comptime C = compute[element_of[dt]]
    store_at[element_of[dt], 1](result, 0, _get[C](at[State](state)[]).cast[element_of[dt]]())
    store[Int](second, at[State](state)[].j - 1)


# ---------------------------------------------------------------- variance: Chan's merge of block means and squares


def variance_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """State: f the mean, g the sum of squared differences from it, i the count. Chan, Golub and LeVeque 1979."""
    comptime C = compute[dt]
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[C]]() <= 4 else simd_width_of[C]()
    var done = 0
    while done < n:
        var m = min(n - done, 2048)
        # two passes over a block that stays in L1
        var a0 = SIMD[C, W](0)
        var a1 = a0
        var i = 0
        while i + 2 * W <= m:
            a0 += load_at[dt, W](data, done + i).cast[C]()
            a1 += load_at[dt, W](data, done + i + W).cast[C]()
            i += 2 * W
        var total = (a0 + a1).cast[DType.float64]().reduce_add()
        while i < m:
            total += load_at[dt, 1](data, done + i).cast[DType.float64]()
            i += 1
        var mean = total / Float64(m)
        var center = SIMD[C, W](mean.cast[C]())
        a0 = SIMD[C, W](0)
        a1 = a0
        i = 0
        while i + 2 * W <= m:
            var x = load_at[dt, W](data, done + i).cast[C]() - center
            var y = load_at[dt, W](data, done + i + W).cast[C]() - center
            a0 += x * x
            a1 += y * y
            i += 2 * W
        var squares = (a0 + a1).cast[DType.float64]().reduce_add()
        while i < m:
            var x = load_at[dt, 1](data, done + i).cast[DType.float64]() - center[0].cast[DType.float64]()
            squares += x * x
            i += 1
        # the center was rounded to the element type: bring the squares back to the exact mean
        var shift = center[0].cast[DType.float64]() - mean
        squares -= Float64(m) * shift * shift
        _merge_variance(state, State(f=mean, g=max(squares, 0.0) if squares == squares else squares, i=m))
        done += m


@always_inline
def _merge_variance(state: Int, b: State):
    ref a = at[State](state)[]
    if a.i == 0:
        a = b
        return
    var n = a.i + b.i
    var delta = b.f - a.f
    a.f += delta * Float64(b.i) / Float64(n)
    a.g += b.g + delta * delta * Float64(a.i) * Float64(b.i) / Float64(n)
    a.i = n


def variance_merge(state: Int, other: Int) abi("C") -> None:
    var b = load[State](other)
    if b.i != 0:
        _merge_variance(state, b)


def variance_finish[
    dt: DType, root: Bool
](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    var s = load[State](state)
    # 0 / 0 and x / 0 give NaN and infinity, as PyTorch (with its warning) has them
    var v = s.g / max(Float64(count) - param, 0.0)
    comptime if root:
        v = sqrt(v)
    store_at[dt, 1](result, 0, v.cast[dt]())


# ---------------------------------------------------------------- tables


comptime SUM_DTYPES = 0x1FFF
comptime FLOAT_DTYPES = 0x1E00


def _fold_table[F: Fold, dtypes: Int](rule: Int, empty_ok: Bool) -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].kind = F.kind
    t[].rule = rule
    t[].empty_ok = Int(empty_ok)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            comptime D = dtype_of[c]
            var block: BlockFn = fold_block[F, D]
            var rows: VerticalFn = fold_rows[F, D]
            var merge: MergeFn = fold_merge[F, D]
            t[].block[c] = address_of(block)
            t[].vertical[c] = address_of(rows)
            t[].merge[c] = address_of(merge)
            t[].identity[c] = _put(F.identity[fold_type[F, D]]())
    return t


def _sum_table[F: Fold]() -> ReductionPtr:
    var t = _fold_table[F, SUM_DTYPES](OUT_SUM, True)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        var finish: FinishFn = fold_finish[F, D, D if D.is_floating_point() else DType.int64]
        t[].finish[c] = address_of(finish)
    return t


def _same_table[F: Fold](rule: Int, empty_ok: Bool) -> ReductionPtr:
    """Results of the elements' own dtype (amax, amin), or bools (any, all: uint8 for uint8)."""
    var t = _fold_table[F, SUM_DTYPES](rule, empty_ok)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        if rule == OUT_BOOL:
            var finish: FinishFn = fold_finish[F, D, DType.bool]
            t[].finish[c] = address_of(finish)
        else:
            var finish: FinishFn = fold_finish[F, D, D]
            t[].finish[c] = address_of(finish)
    return t


def _count_table() -> ReductionPtr:
    var t = _fold_table[CountFold, SUM_DTYPES](OUT_COUNT, True)
    comptime for c in range(13):
        var finish: FinishFn = fold_finish[CountFold, dtype_of[c], DType.int64]
        t[].finish[c] = address_of(finish)
    return t


def _mean_table() -> ReductionPtr:
    var t = _fold_table[SumFold, FLOAT_DTYPES](OUT_SAME, True)
    t[].kind = MEAN
    comptime for c in range(9, 13):
        var finish: FinishFn = mean_finish[dtype_of[c]]
        t[].finish[c] = address_of(finish)
    return t


def _extreme_table[largest: Bool](pair: Bool) -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].kind = LARGEST if largest else SMALLEST
    t[].rule = OUT_SAME if pair else OUT_INDEX
    t[].second = Int(pair)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        var block: BlockFn = extreme_block[largest, D]
        var merge: MergeFn = extreme_merge[largest, D]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        if pair:
            var finish: FinishFn = extreme_finish[D]
            t[].finish[c] = address_of(finish)
        else:
            var finish: FinishFn = index_finish
            t[].finish[c] = address_of(finish)
    return t


def _variance_table[root: Bool]() -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].kind = DEVIATION if root else VARIANCE
    t[].rule = OUT_SAME
    t[].empty_ok = 1
    comptime for c in range(9, 13):
        comptime D = dtype_of[c]
        var block: BlockFn = variance_block[D]
        var merge: MergeFn = variance_merge
        var finish: FinishFn = variance_finish[D, root]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        t[].finish[c] = address_of(finish)
    return t


# ---------------------------------------------------------------- ops


@always_inline
def _table(call: Call) -> ReductionPtr:
    return ReductionPtr(unsafe_from_address=call.data())


def sum_like(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim, dtype): sum, prod."""
    var t = call.tensor(0)
    var code = call.dtype(3, t[].code() if category(t[].code()) >= 2 else INT64)
    # integers are read as they are; another dtype is cast while it is gathered
    if call.is_none(3) or (code == INT64 and category(t[].code()) < 2):
        code = t[].code()
    var wanted = call.dtype(3, INT64)
    var result = reduce_with(call, _table(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), code, 0)
    if call.has_out() or category(code) >= 2 or wanted == INT64:
        return result
    # integers are summed in int64, whatever they become
    try:
        return contiguous_of(as_tensor(result), wanted)
    finally:
        decref(result)


def mean(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim, dtype)."""
    var t = call.tensor(0)
    var code = call.dtype(3, t[].code())
    if category(code) < 2:
        var why: StaticString = "could not infer output dtype" if call.is_none(3) else "wrong dtype"
        var which: StaticString = "Input" if call.is_none(3) else "Optional"
        raise Error(
            t"RuntimeError|mean(): {why}. {which} dtype must be either a floating point or complex dtype. Got:"
            t" {type_name(code)}"
        )
    return reduce_with(call, _table(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), code, 0)


def extreme_values(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim): amax, amin, any, all over any dims; max and min of everything."""
    var t = call.tensor(0)
    if t[].numel == 0 and _table(call)[].empty_ok == 0:
        var dims = no_dims()
        if call.is_none(1) or call.dims(1, dims) == 0:
            raise call.fail(
                "RuntimeError",
                (
                    "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the"
                    " 'dim' argument."
                ),
            )
    return reduce_with(call, _table(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), t[].code(), 0)


def count_nonzero(mut call: Call) raises -> Obj:
    """Parameters (self, dim)."""
    var t = call.tensor(0)
    return reduce_with(call, _table(call), t, dims_mask(call, 1, t[].rank()), False, t[].code(), 0)


def all_elements(mut call: Call) raises -> Obj:
    """Parameters (self): max and min of a whole tensor."""
    var t = call.tensor(0)
    if t[].numel == 0:
        raise call.fail(
            "RuntimeError",
            (
                "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the"
                " 'dim' argument."
            ),
        )
    return reduce_with(call, _table(call), t, (1 << t[].rank()) - 1, False, t[].code(), 0)


def one_dim(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim), dim an int or None: argmax, argmin; max and min with positions."""
    var t = call.tensor(0)
    var mask = (1 << t[].rank()) - 1
    if not call.is_none(1):
        var d = wrap_dim(call.int(1), t[].rank())
        mask &= 1 << d
        if t[].rank() > 0 and t[].shape[d] == 0 and t[].numel == 0:
            raise call.fail("IndexError", String(t"Expected reduction dim {d} to have non-zero size."))
    elif t[].numel == 0:
        raise call.fail("IndexError", "Expected reduction dim to be specified for input.numel() == 0.")
    return reduce_with(call, _table(call), t, mask, call.bool(2), t[].code(), 0)


def variance(mut call: Call) raises -> Obj:
    """Parameters (self, dim, correction, keepdim): var, std."""
    var t = call.tensor(0)
    if category(t[].code()) != 2:
        raise Error(
            t"RuntimeError|{call.name()}(): {call.name()} only support floating point and complex dtypes, got"
            t" {type_name(t[].code())}"
        )
    var correction = 1.0 if call.is_none(2) else call.float(2)
    return reduce_with(call, _table(call), t, dims_mask(call, 1, t[].rank()), call.bool(3), t[].code(), correction)


@export("dumbtorch_register_reducers")
def register_reducers() abi("C") -> None:
    register[sum_like]("sum", Int(_sum_table[SumFold]()))
    register[sum_like]("prod", Int(_sum_table[ProdFold]()))
    register[sum_like]("nansum", Int(_sum_table[NanSumFold]()))
    register[count_nonzero]("count_nonzero", Int(_count_table()))
    register[mean]("mean", Int(_mean_table()))
    var amax = Int(_same_table[MaxFold](OUT_SAME, False))
    var amin = Int(_same_table[MinFold](OUT_SAME, False))
    register[extreme_values]("amax", amax)
    register[extreme_values]("amin", amin)
    register[all_elements]("max", amax)
    register[all_elements]("min", amin)
    register[extreme_values]("any", Int(_same_table[AnyFold](OUT_BOOL, True)))
    register[extreme_values]("all", Int(_same_table[AllFold](OUT_BOOL, True)))
    register[one_dim]("argmax", Int(_extreme_table[True](False)))
    register[one_dim]("argmin", Int(_extreme_table[False](False)))
    register[one_dim]("max_dim", Int(_extreme_table[True](True)))
    register[one_dim]("min_dim", Int(_extreme_table[False](True)))
    register[variance]("var", Int(_variance_table[False]()))
    register[variance]("std", Int(_variance_table[True]()))
