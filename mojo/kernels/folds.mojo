"""Folds: reductions whose partial result is one element, and the functions that reduce.mojo wants, made from them.

A fold takes SIMD vectors into its accumulator. Float sums of a block run in four vector accumulators of at most 128
steps each, blocks add up in float64.
"""

from std.math import iota
from std.memory import Pointer, bitcast
from std.sys.info import simd_width_of, size_of
from std.sys.intrinsics import masked_load, prefetch
from std.utils.numerics import isnan
from tensor.call import Call
from tensor.dtype import dtype_of
from tensor.memory import address_of, at, zeroed
from kernels.math_core import BitsOf, INF_BITS, nan, to_bits
from kernels.pointwise import compute, is_half, load_at, store_at

from kernels.reduce import (
    ALL, ANY, BlockFn, FinishFn, HOST_ONLY, MAXIMUM, MINIMUM, MergeFn, PROD, Reduction, ReductionPtr, SUM, State, VerticalFn,
)  # fmt: skip

comptime SUM_DTYPES = 0x1FFF
comptime FLOAT_DTYPES = 0x1E00

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


# ---------------------------------------------------------------- tables


def fold_table[F: Fold, dtypes: Int](rule: Int, empty_ok: Bool) -> ReductionPtr:
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


@always_inline
def table_of(call: Call) -> ReductionPtr:
    return ReductionPtr(unsafe_from_address=call.data())
