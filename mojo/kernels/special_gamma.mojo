"""Pointwise functions around the gamma function: its incomplete integrals, Hurwitz's zeta, polygamma.

Kernel slots: igamma, igammac, special_zeta (self, other); polygamma (self, n), n a positive int. They are computed in
float64, series element by element: they end where they have converged.
"""

from std.memory import stack_allocation
from kernels import math
from kernels.double import SINGLES
from kernels.functor import Binary, FLOAT, FLOATS, MAX_NUMBERS, SAME, TablePtr, Unary, binary_table, unary_table
from kernels.math_igamma import far_factor, gamma_p, gamma_q
from kernels.pointwise import pointwise_with
from kernels.strict import pointwise_one, pointwise_tensors
from tensor.call import Call, register
from tensor.memory import Numbers
from tensor.py import Obj


comptime F64 = DType.float64


@always_inline
def _power[single: Bool, w: SIMDLength](a: SIMD[F64, w], s: SIMD[F64, w]) -> SIMD[F64, w]:
    """The power a**-s."""
    comptime if single:
        return math.exp(-s * math.log(a))
    else:
        return math.pow(a, -s)


def zeta[single: Bool, w: SIMDLength](s: SIMD[F64, w], q: SIMD[F64, w]) -> SIMD[F64, w]:
    """Hurwitz's zeta function, the sum of (q + k)**-s over k >= 0, for q > 0 and s > 1.

    The first terms are added up, the rest is the Euler-Maclaurin series. Relative error below 1e-15 for s <= 60, or
    below 1e-9 if `single`."""
    comptime first: Float64 = 6 if single else 10
    var sum = SIMD[F64, w](0)
    var a = q
    # the series converges fast from here on; large s needs more
    var start = first + s * 0.5
    var left = a.lt(start)
    var open = ~math.isinf(q)
    while left.reduce_or():
        var term = _power[single](a, s)
        sum = left.select(sum + term, sum)
        open = open & ~(left & term.le(1e-17 * sum))
        a = left.select(a + 1, a)
        left = left & open & a.lt(start)
    var term = _power[single](a, s)
    var rest = term * a / (s - 1) + 0.5 * term
    # B(2j) / (2j)!
    comptime COEFFICIENTS = [
        1.0 / 12,
        -1.0 / 720,
        1.0 / 30240,
        -1.0 / 1209600,
        1.0 / 47900160,
        -691.0 / 1307674368000,
        1.0 / 74724249600,
        -3617.0 / 10670622842880000,
    ]
    var factor = s
    var inverse = 1 / a
    var step = term * inverse
    comptime for j in range(8):
        comptime c = COEFFICIENTS[j]
        rest = rest + Float64(c) * factor * step
        factor = factor * (s + Float64(2 * j + 1)) * (s + Float64(2 * j + 2))
        step = step * inverse * inverse
    return open.select(sum + rest, sum)


def hurwitz(s: Float64, q: Float64) -> Float64:
    """The same sum for any q: infinite at 0, -1, ..., NaN for other q < 0 unless s is an integer, and for s < 1."""
    if math.isnan(s) or math.isnan(q):
        return s + q
    if s <= 1:
        return math.infinity[DType.float64, 1]() if s == 1 else math.nan[DType.float64, 1]()
    if q > 0:
        return zeta[False, 1](s, q)
    if q == math.floor(q):
        return math.infinity[DType.float64, 1]()
    if s != math.floor(s):
        return math.nan[DType.float64, 1]()
    # the terms below zero are a piece of the same sum of -q
    var below = math.ceil(-q)
    var mirrored = zeta[False, 1](s, -q - (below - 1)) - zeta[False, 1](s, -q + 1)
    return zeta[False, 1](s, q + below) + (mirrored if math.floor(s * 0.5) * 2 == s else -mirrored)


def polygamma_of(n: Int, x: Float64) -> Float64:
    """The n-th derivative of the logarithmic derivative of the gamma function."""
    var r = math.exp(math.lgamma(Float64(n + 1))) * hurwitz(Float64(n + 1), x)
    return r if n % 2 == 1 else -r


struct Polygamma(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime Wide = SIMD[F64, w]
        var n = Int(params[])
        var y = x.cast[F64]()
        var factor = math.exp(math.lgamma(Float64(n + 1)))
        # other lanes would not end
        var inside = y.gt(0).select(y, Wide(1))
        var r = zeta[dt == DType.float32](Wide(Float64(n + 1)), inside) * (factor if n % 2 == 1 else -factor)
        if not y.gt(0).reduce_and():
            for i in range(Int(w)):
                if not y[i] > 0:
                    r[i] = polygamma_of(n, y[i])
        return r.cast[dt]()


def polygamma(mut call: Call) raises -> Obj:
    """Slots: (self, n)."""
    var n = call.int(1)
    if n < 1:
        raise Error(t"RuntimeError|polygamma(n, x) does not support negative n: it needs n >= 1 here, got {n}")
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=0] = Float64(n)
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), params.as_unsafe_any_origin())


struct Igamma[upper: Bool](Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime single = dt == DType.float32
        var x = a.cast[DType.float64]()
        var y = b.cast[DType.float64]()
        var far = far_factor(x, y)
        var r = a
        for i in range(Int(w)):
            comptime if Self.upper:
                r[i] = gamma_q[single](x[i], y[i], far[i]).cast[dt]()
            else:
                r[i] = gamma_p[single](x[i], y[i], far[i]).cast[dt]()
        return r


struct Zeta(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var s = a.cast[F64]()
        var q = b.cast[F64]()
        var plain = s.gt(1) & q.gt(0) & math.isfinite(s)
        # other lanes would not end
        var r = zeta[dt == DType.float32](plain.select(s, SIMD[F64, w](2)), plain.select(q, SIMD[F64, w](1)))
        if not plain.reduce_and():
            for i in range(Int(w)):
                if not plain[i]:
                    r[i] = hurwitz(s[i], q[i])
        return r.cast[dt]()


@export("dumbtorch_register_special_gamma")
def register_special_gamma() abi("C") -> None:
    register[polygamma]("polygamma", unary_table[Polygamma, FLOATS, True](FLOAT))
    register[pointwise_tensors]("igamma", binary_table[Igamma[False], FLOATS, True](SAME, "igamma_cpu"))
    register[pointwise_tensors]("igammac", binary_table[Igamma[True], FLOATS, True](SAME, "igammac_cpu"))
    register[pointwise_one]("special_zeta", binary_table[Zeta, SINGLES](FLOAT, "zeta_cpu"))
