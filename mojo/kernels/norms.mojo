"""Vector norms and log-sum-exp as reductions: see reduce.mojo for how they are driven."""

from std.math import sqrt
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import category, dtype_of, type_name
from tensor.memory import address_of, at, load
from tensor.object import as_tensor
from tensor.py import Obj
from tensor.runtime import runtime
from tensor.memory import zeroed
from kernels.functor import compute, load_at, store_at
from kernels.math import exp, fabs, isnan, log, pow

from kernels.reduce import (
    BlockFn, FinishFn, LOGSUMEXP, MergeFn, NORM, OUT_SAME, Reduction, ReductionPtr, State, dims_mask, reduce_with,
)  # fmt: skip

comptime TWO = 0  # the root of the sum of squares
comptime ONE = 1  # the sum of magnitudes
comptime ZERO = 2  # how many are not zero
comptime LARGEST = 3
comptime SMALLEST = 4
comptime POWER = 5  # the order is the state's g


def norm_block[kind: Int, dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    comptime C = compute[dt]
    # squares of large or small floats leave float32's range: they are summed in float64
    comptime A = DType.float64 if kind == TWO or kind == POWER else C
    comptime W = simd_width_of[A]()
    ref s = at[State](state)[]
    var order = s.g
    var acc = SIMD[A, W](s.f.cast[A]() if kind >= LARGEST and kind != POWER else 0)
    var i = 0
    while i + W <= n:
        acc = _norm_step[kind](acc, load_at[dt, W](data, i).cast[C]().cast[A](), order)
        i += W
    var total = acc[0]
    comptime for k in range(1, W):
        comptime if kind >= LARGEST and kind != POWER:
            total = _norm_step[kind](total, acc[k], order)
        else:
            total += acc[k]
    while i < n:
        total = _norm_step[kind](total, load_at[dt, 1](data, i).cast[C]().cast[A](), order)
        i += 1
    comptime if kind >= LARGEST and kind != POWER:
        s.f = total.cast[DType.float64]()
    else:
        s.f += total.cast[DType.float64]()


@always_inline
def _norm_step[kind: Int, dt: DType, w: SIMDLength](acc: SIMD[dt, w], x: SIMD[dt, w], order: Float64) -> SIMD[dt, w]:
    var m = fabs(x)
    comptime if kind == TWO:
        return acc + x * x
    elif kind == ONE:
        return acc + m
    elif kind == ZERO:
        return acc + (x.ne(0) | isnan(x)).select(SIMD[dt, w](1), SIMD[dt, w](0))
    elif kind == LARGEST:
        return (m.gt(acc) | isnan(m)).select(m, acc)
    elif kind == SMALLEST:
        return (m.lt(acc) | isnan(m)).select(m, acc)
    else:
        return acc + pow(m, SIMD[dt, w](order.cast[dt]()))


def norm_merge[kind: Int](state: Int, other: Int) abi("C") -> None:
    ref s = at[State](state)[]
    var x = at[State](other)[].f
    comptime if kind >= LARGEST and kind != POWER:
        s.f = _norm_step[kind](s.f, x, 0)
    else:
        s.f += x


def norm_finish[
    kind: Int, dt: DType
](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    var v = at[State](state)[].f
    comptime if kind == TWO:
        v = sqrt(v)
    elif kind == POWER:
        v = pow(v, 1 / param)
    store_at[dt, 1](result, 0, v.cast[dt]())


def _norm_table[kind: Int]() -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].rule = OUT_SAME
    t[].kind = NORM + kind
    # an extreme of nothing does not exist
    t[].empty_ok = Int(kind != LARGEST and kind != SMALLEST)
    t[].seeded = Int(kind == POWER)
    comptime for c in range(9, 13):
        comptime D = dtype_of[c]
        var block: BlockFn = norm_block[kind, D]
        var merge: MergeFn = norm_merge[kind]
        var finish: FinishFn = norm_finish[kind, D]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        t[].finish[c] = address_of(finish)
        t[].identity[c] = State(f=Float64.MAX if kind == SMALLEST else 0.0)
    return t


def norm(mut call: Call) raises -> Obj:
    """Parameters (input, p, dim, keepdim, dtype)."""
    var t = call.tensor(0)
    var p = call.float(1)
    var code = call.dtype(4, t[].code())
    if category(code) != 2:
        raise Error(
            t"RuntimeError|linalg.vector_norm: Expected a floating point or complex tensor as input. Got"
            t" {type_name(code)}"
        )
    var kind = POWER
    if p == 2:
        kind = TWO
    elif p == 1:
        kind = ONE
    elif p == 0:
        kind = ZERO
    elif p > Float64.MAX_FINITE:
        kind = LARGEST
    elif p < Float64.MIN_FINITE:
        kind = SMALLEST
    var tables = at[Int](call.data())
    var table = ReductionPtr(unsafe_from_address=tables[unsafe_offset=kind])
    return reduce_with(call, table, t, dims_mask(call, 2, t[].rank()), call.bool(3), code, p)


# ---------------------------------------------------------------- log-sum-exp


def logsumexp_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """State: f the largest element so far, g the sum of exp(x - f) (of nothing while f is -inf)."""
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    comptime V = SIMD[C, W]
    ref s = at[State](state)[]
    var top = V(Scalar[C].MIN)
    var i = 0
    while i + W <= n:
        var x = load_at[dt, W](data, i).cast[C]()
        top = (x.gt(top) | isnan(x)).select(x, top)
        i += W
    var high = top[0]
    comptime for k in range(1, W):
        high = top[k] if Bool(top[k].gt(high)) or Bool(isnan(top[k])) else high
    while i < n:
        var x = load_at[dt, 1](data, i).cast[C]()
        high = x if Bool(x.gt(high)) or Bool(isnan(x)) else high
        i += 1
    var new = high.cast[DType.float64]()
    if not (new > s.f or isnan(new)):
        new = s.f
    if isnan(new) or new > Float64.MAX_FINITE or new < Float64.MIN_FINITE:
        # NaN, +inf: the result. -inf: nothing to add yet.
        s.f = new
        return
    var shift = V(new.cast[C]())
    var acc = V(0)
    i = 0
    while i + W <= n:
        acc += exp(load_at[dt, W](data, i).cast[C]() - shift)
        i += W
    var total = acc.cast[DType.float64]().reduce_add()
    while i < n:
        total += exp(load_at[dt, 1](data, i).cast[C]() - shift[0]).cast[DType.float64]()
        i += 1
    s.g = (s.g * exp(s.f - new) if s.g != 0 else 0.0) + total
    s.f = new


def logsumexp_merge(state: Int, other: Int) abi("C") -> None:
    ref a = at[State](state)[]
    var b = load[State](other)
    if isnan(a.f) or a.f > Float64.MAX_FINITE or b.g == 0 and not isnan(b.f) and b.f < Float64.MAX_FINITE:
        return
    if isnan(b.f) or b.f > Float64.MAX_FINITE or a.g == 0:
        a = b
        return
    var high = max(a.f, b.f)
    a.g = a.g * exp(a.f - high) + b.g * exp(b.f - high)
    a.f = high


def logsumexp_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    var s = load[State](state)
    var v = s.f
    if not (isnan(v) or v > Float64.MAX_FINITE or v < Float64.MIN_FINITE):
        v += log(s.g)
    store_at[dt, 1](result, 0, v.cast[dt]())


def _logsumexp_table() -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].rule = OUT_SAME
    t[].kind = LOGSUMEXP
    t[].empty_ok = 1
    comptime for c in range(9, 13):
        comptime D = dtype_of[c]
        var block: BlockFn = logsumexp_block[D]
        var merge: MergeFn = logsumexp_merge
        var finish: FinishFn = logsumexp_finish[D]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        t[].finish[c] = address_of(finish)
        t[].identity[c] = State(f=Float64.MIN)
    return t


def logsumexp(mut call: Call) raises -> Obj:
    """Parameters (input, dim, keepdim); integers compute in the default float."""
    var t = call.tensor(0)
    var code = t[].code()
    if category(code) < 2:
        code = runtime()[].default_dtype
    var table = ReductionPtr(unsafe_from_address=call.data())
    return reduce_with(call, table, t, dims_mask(call, 1, t[].rank()), call.bool(2), code, 0)


@export("dumbtorch_register_norms")
def register_norms() abi("C") -> None:
    var tables = zeroed[Int](6)
    comptime for kind in range(6):
        tables[unsafe_offset=kind] = Int(_norm_table[kind]())
    register[norm]("norm", Int(tables))
    register[logsumexp]("logsumexp", Int(_logsumexp_table()))
