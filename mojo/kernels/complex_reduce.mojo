"""Complex kernels of sum, mean, prod, logsumexp, any and all: they join the reductions of reducers.mojo and norms.mojo.

A state's f and g are the real and imaginary parts; any and all keep a bool in i. For logsumexp they are those of a sum
of exp(z - base), i holds the bits of the base, and j whether there is any.
"""

from std.memory import bitcast
from std.os import abort
from std.sys.info import simd_width_of
from kernels import complex_math as cm
from kernels import math
from kernels.functor import compute, load_at

from kernels.reduce import (
    BlockFn, FinishFn, MergeFn, Reduction, ReductionPtr, STATE_BYTES, State, VerticalFn,
)  # fmt: skip
from tensor.dtype import BCOMPLEX32, COMPLEX128, COMPLEX32, COMPLEX64, complex_part, dtype_of, is_complex
from tensor.memory import address_of, at, load, store
from tensor.runtime import runtime

comptime RUN = 512  # vectors that are summed in the elements' type before they join the state


@always_inline
def _add(state: Int, re: Float64, im: Float64):
    ref s = at[State](state)[]
    s.f += re
    s.g += im


def sum_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    var count = 2 * n
    var i = 0
    while i + 4 * W <= count:
        var stop = min(count, i + RUN * W)
        var a = SIMD[C, W](0)
        var b = a
        var c = a
        var d = a
        while i + 4 * W <= stop:
            a += load_at[dt, W](data, i).cast[C]()
            b += load_at[dt, W](data, i + W).cast[C]()
            c += load_at[dt, W](data, i + 2 * W).cast[C]()
            d += load_at[dt, W](data, i + 3 * W).cast[C]()
            i += 4 * W
        var parts = ((a + b) + (c + d)).cast[DType.float64]().deinterleave()
        _add(state, parts[0].reduce_add(), parts[1].reduce_add())
    var re = Float64(0)
    var im = Float64(0)
    while i < count:
        re += load_at[dt, 1](data, i).cast[DType.float64]()
        im += load_at[dt, 1](data, i + 1).cast[DType.float64]()
        i += 2
    _add(state, re, im)


def sum_rows[dt: DType](states: Int, data: Int, step: Int, rows: Int, columns: Int) abi("C") -> None:
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    var c = 0
    while c < columns:
        if 2 * (columns - c) >= 2 * W:
            var a = SIMD[C, W](0)
            var b = a
            for r in range(rows):
                a += load_at[dt, W](data + r * step, 2 * c).cast[C]()
                b += load_at[dt, W](data + r * step, 2 * c + W).cast[C]()
            comptime for k in range(W // 2):
                _add(states + (c + k) * STATE_BYTES, a[2 * k].cast[DType.float64](), a[2 * k + 1].cast[DType.float64]())
                _add(
                    states + (c + W // 2 + k) * STATE_BYTES, b[2 * k].cast[DType.float64](),
                    b[2 * k + 1].cast[DType.float64](),
                )  # fmt: skip
            c += W
        else:
            var re = Float64(0)
            var im = Float64(0)
            for r in range(rows):
                re += load_at[dt, 1](data + r * step, 2 * c).cast[DType.float64]()
                im += load_at[dt, 1](data + r * step, 2 * c + 1).cast[DType.float64]()
            _add(states + c * STATE_BYTES, re, im)
            c += 1


def sum_merge(state: Int, other: Int) abi("C") -> None:
    _add(state, at[State](other)[].f, at[State](other)[].g)


@always_inline
def _times(state: Int, re: Float64, im: Float64):
    ref s = at[State](state)[]
    var f = s.f * re - s.g * im
    s.g = s.f * im + s.g * re
    s.f = f


def prod_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    var i = 0
    if n >= W:
        var re = SIMD[C, W](1)
        var im = SIMD[C, W](0)
        while i + W <= n:
            var parts = load_at[dt, 2 * W](data, 2 * i).cast[C]().deinterleave()
            var x = rebind[SIMD[C, W]](parts[0])
            var y = rebind[SIMD[C, W]](parts[1])
            var f = re * x - im * y
            im = re * y + im * x
            re = f
            i += W
        comptime for k in range(W):
            _times(state, re[k].cast[DType.float64](), im[k].cast[DType.float64]())
    while i < n:
        _times(
            state, load_at[dt, 1](data, 2 * i).cast[DType.float64](), load_at[dt, 1](data, 2 * i + 1).cast[DType.float64]()
        )  # fmt: skip
        i += 1


def prod_merge(state: Int, other: Int) abi("C") -> None:
    _times(state, at[State](other)[].f, at[State](other)[].g)


def finish[dt: DType, mean: Bool](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    ref s = at[State](state)[]
    var k = 1.0
    comptime if mean:
        k = Float64(count)
    at[Scalar[dt]](result)[] = (s.f / k).cast[dt]()
    at[Scalar[dt]](result)[unsafe_offset=1] = (s.g / k).cast[dt]()


@always_inline
def _base_of(s: State) -> Float64:
    return bitcast[DType.float64](Int64(s.i))


@always_inline
def _add_exponentials(state: Int, re: Float64, im: Float64, base: Float64):
    """Adds a sum of exp(z - base); of the two bases the larger one stays."""
    ref s = at[State](state)[]
    var a = Float64(1)
    var b = Float64(1)
    var least = base
    if s.j != 0:
        least = max(base, _base_of(s))
        a = math.exp(_base_of(s) - least)
        b = math.exp(base - least)
    s.f = s.f * a + re * b
    s.g = s.g * a + im * b
    s.i = Int(bitcast[DType.int64](least))
    s.j = 1


def log_sum_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """The base is the largest real part, or 0 where that is infinite."""
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    var highest = -math.infinity[C, 1]()
    for i in range(n):
        var x = load_at[dt, 1](data, 2 * i).cast[C]()
        highest = x if x > highest else highest
    var base = highest if math.isfinite(highest) else Scalar[C](0)
    var re = Float64(0)
    var im = Float64(0)
    var i = 0
    while i < n:
        var z: cm.Z[C, W]
        if i + W <= n:
            var parts = load_at[dt, 2 * W](data, 2 * i).cast[C]().deinterleave()
            z = cm.Z[C, W](rebind[SIMD[C, W]](parts[0]), rebind[SIMD[C, W]](parts[1]))
        else:
            z = cm.Z[C, W](-math.infinity[C, W](), SIMD[C, W](0))
            for k in range(n - i):
                z.re[k] = load_at[dt, 1](data, 2 * (i + k)).cast[C]()
                z.im[k] = load_at[dt, 1](data, 2 * (i + k) + 1).cast[C]()
        var e = cm.exp(z.plus(SIMD[C, W](-base)))
        re += e.re.cast[DType.float64]().reduce_add()
        im += e.im.cast[DType.float64]().reduce_add()
        i += W
    # a block of nothing but minus infinity says nothing about the base
    if highest > -math.infinity[C, 1]() or re != 0 or im != 0:
        _add_exponentials(state, re, im, base.cast[DType.float64]())


def log_sum_merge(state: Int, other: Int) abi("C") -> None:
    var o = load[State](other)
    if o.j != 0:
        _add_exponentials(state, o.f, o.g, _base_of(o))


def log_sum_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    ref s = at[State](state)[]
    var z = cm.log(cm.Z[DType.float64, 1](s.f, s.g)).plus(_base_of(s) if s.j != 0 else 0.0)
    at[Scalar[dt]](result)[] = z.re.cast[dt]()
    at[Scalar[dt]](result)[unsafe_offset=1] = z.im.cast[dt]()


def truth_block[dt: DType, every: Bool](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """Whether every element (or some element) is not zero; NaN is not."""
    ref s = at[State](state)[]
    if s.i != Int(every):
        return
    for i in range(n):
        var zero = load_at[dt, 1](data, 2 * i).eq(0) and load_at[dt, 1](data, 2 * i + 1).eq(0)
        if zero == every:
            s.i = 1 - s.i
            return


def truth_merge[every: Bool](state: Int, other: Int) abi("C") -> None:
    comptime if every:
        at[State](state)[].i &= at[State](other)[].i
    else:
        at[State](state)[].i |= at[State](other)[].i


def truth_finish(state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    store[UInt8](result, UInt8(at[State](state)[].i))


def reduction_of(name: StaticString) -> ReductionPtr:
    var rt = runtime()
    for i in range(len(rt[].kernels)):
        if rt[].kernels[i].name == name:
            return ReductionPtr(unsafe_from_address=rt[].kernels[i].data)
    abort(String("no reduction to give complex kernels: ") + name)


def put_reduction(
    table: ReductionPtr, code: Int, block: BlockFn, merge: MergeFn, finish: FinishFn, identity: State, rows: Int = 0
):
    table[].block[code] = address_of(block)
    table[].merge[code] = address_of(merge)
    table[].finish[code] = address_of(finish)
    table[].identity[code] = identity
    table[].vertical[code] = rows


@export("dumbtorch_register_complex_reduce")
def register_complex_reduce() abi("C") -> None:
    comptime for c in [COMPLEX32, COMPLEX64, COMPLEX128, BCOMPLEX32]:
        comptime D = dtype_of[complex_part(c)]
        var side_by_side: VerticalFn = sum_rows[D]
        var rows = address_of(side_by_side)
        put_reduction(reduction_of("sum"), c, sum_block[D], sum_merge, finish[D, False], State(), rows)
        put_reduction(reduction_of("mean"), c, sum_block[D], sum_merge, finish[D, True], State(), rows)
        put_reduction(reduction_of("prod"), c, prod_block[D], prod_merge, finish[D, False], State(f=1))
        comptime if c == COMPLEX64 or c == COMPLEX128:
            put_reduction(reduction_of("logsumexp"), c, log_sum_block[D], log_sum_merge, log_sum_finish[D], State())
        put_reduction(reduction_of("any"), c, truth_block[D, False], truth_merge[False], truth_finish, State())
        put_reduction(reduction_of("all"), c, truth_block[D, True], truth_merge[True], truth_finish, State(i=1))
