"""Rows of floats, read and written as vectors of the type they are computed in; their maximum and their sum of exponentials.
"""

from std.math import iota
from std.memory import bitcast
from std.sys.info import simd_width_of
from std.sys.intrinsics import masked_load, masked_store
from tensor.memory import at
from kernels.functor import compute, is_half
from kernels.narrow import narrow
from kernels.math import exp

comptime row_width[dt: DType]: Int = simd_width_of[compute[dt]]()
comptime _stored[dt: DType]: DType = DType.uint16 if is_half[dt] else dt


@always_inline
def lowest[dt: DType]() -> Scalar[dt]:
    return Scalar[dt].MIN


@always_inline
def get[dt: DType, w: Int](address: Int, i: Int) -> SIMD[compute[dt], w]:
    """Elements i .. i + w."""
    return at[Scalar[dt]](address).unsafe_load[width=w](i).cast[compute[dt]]()


@always_inline
def set[dt: DType, w: Int](address: Int, i: Int, value: SIMD[compute[dt], w]):
    at[Scalar[dt]](address).unsafe_store(i, narrow[dt](value))


@always_inline
def _lanes[w: Int](n: Int) -> SIMD[DType.bool, w]:
    return iota[DType.int32, w]().lt(SIMD[DType.int32, w](Int32(n)))


@always_inline
def get_some[dt: DType, w: Int](address: Int, i: Int, n: Int) -> SIMD[compute[dt], w]:
    """Elements i .. i + min(n, w), and -infinity in the lanes after them."""
    var rest = bitcast[_stored[dt]](SIMD[dt, w](lowest[dt]()))
    var p = at[Scalar[_stored[dt]]](address).unsafe_offset(i)
    return bitcast[dt](masked_load[w](p, _lanes[w](n), rest)).cast[compute[dt]]()


@always_inline
def set_some[dt: DType, w: Int](address: Int, i: Int, n: Int, value: SIMD[compute[dt], w]):
    """Writes the first n lanes, or all."""
    var p = at[Scalar[_stored[dt]]](address).unsafe_offset(i)
    masked_store(bitcast[_stored[dt]](narrow[dt](value)), p, _lanes[w](n))


@always_inline
def row_high[dt: DType](address: Int, start: Int, n: Int) -> Scalar[compute[dt]]:
    """The maximum of a row; a NaN does not count."""
    comptime W = row_width[dt]
    comptime V = SIMD[compute[dt], W]
    var top = Array[V, 4](fill=V(lowest[compute[dt]]()))
    var i = 0
    while i + 4 * W <= n:
        comptime for k in range(4):
            var x = get[dt, W](address, start + i + k * W)
            top[k] = x.gt(top[k]).select(x, top[k])
        i += 4 * W
    while i < n:
        var x = get_some[dt, W](address, start + i, n - i)
        top[0] = x.gt(top[0]).select(x, top[0])
        i += W
    comptime for k in range(1, 4):
        top[0] = top[k].gt(top[0]).select(top[k], top[0])
    return top[0].reduce_max()


@always_inline
def row_sum_exp[
    dt: DType, keep: Bool = False
](address: Int, start: Int, n: Int, high: Scalar[compute[dt]], into: Int = 0) -> Scalar[compute[dt]]:
    """The sum of exp(x - high) over a row; with `keep` the terms are written to a row of the same place at `into`."""
    comptime W = row_width[dt]
    comptime V = SIMD[compute[dt], W]
    var acc = V(0)
    var other = V(0)
    var i = 0
    while i + 2 * W <= n:
        var e = exp(get[dt, W](address, start + i) - V(high))
        var f = exp(get[dt, W](address, start + i + W) - V(high))
        comptime if keep:
            set[dt, W](into, start + i, e)
            set[dt, W](into, start + i + W, f)
        acc += e
        other += f
        i += 2 * W
    while i < n:
        # exp of the lanes after the row is 0
        var e = exp(get_some[dt, W](address, start + i, n - i) - V(high))
        comptime if keep:
            set_some[dt, W](into, start + i, n - i, e)
        acc += e
        i += W
    return (acc + other).reduce_add()
