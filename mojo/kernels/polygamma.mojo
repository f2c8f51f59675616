"""The polygamma function: (self, n), n a positive int."""

from std.memory import stack_allocation
from kernels import math
from kernels.functor import FLOAT, FLOATS, MAX_NUMBERS, TablePtr, Unary, unary_table
from kernels.pointwise import pointwise_with
from tensor.call import Call, register
from tensor.memory import Numbers
from tensor.py import Obj


def zeta(s: Float64, q: Float64) -> Float64:
    """Hurwitz's zeta function, the sum of (q + k)**-s over k >= 0, for q > 0 and s > 1.

    The first terms are added up, the rest is the Euler-Maclaurin series. Relative error below 1e-15 for s <= 60."""
    if math.isinf(q):
        return 0
    var sum: Float64 = 0
    var a = q
    # the series converges fast from here on; large s needs more
    var start = 10 + s * 0.5
    while a < start:
        sum += math.pow(a, -s)
        a += 1
    var term = math.pow(a, -s)
    sum += term * a / (s - 1) + 0.5 * term
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
    var power = term / a
    comptime for j in range(8):
        comptime c = COEFFICIENTS[j]
        sum += Float64(c) * factor * power
        factor *= (s + Float64(2 * j + 1)) * (s + Float64(2 * j + 2))
        power /= a * a
    return sum


def polygamma_of(n: Int, x: Float64) -> Float64:
    """The n-th derivative of the logarithmic derivative of the gamma function."""
    var s = Float64(n + 1)
    if math.isnan(x):
        return x
    var sign: Float64 = 1 if n % 2 == 1 else -1
    var total: Float64
    if x > 0:
        total = zeta(s, x)
    elif x == math.floor(x):
        return math.infinity[DType.float64, 1]() * sign
    else:
        # the terms below zero are a piece of the same sum of -x
        var below = math.ceil(-x)
        var mirrored = zeta(s, -x - (below - 1)) - zeta(s, -x + 1)
        total = zeta(s, x + below) + (mirrored if n % 2 == 1 else -mirrored)
    return sign * math.exp(math.lgamma(s)) * total


struct Polygamma(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var r = x
        for i in range(Int(w)):
            r[i] = polygamma_of(Int(params[]), x[i].cast[DType.float64]()).cast[dt]()
        return r


def polygamma(mut call: Call) raises -> Obj:
    """Slots: (self, n)."""
    var n = call.int(1)
    if n < 1:
        raise Error(t"RuntimeError|polygamma(n, x) does not support negative n: it needs n >= 1 here, got {n}")
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=0] = Float64(n)
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), params.as_unsafe_any_origin())


@export("dumbtorch_register_polygamma")
def register_polygamma() abi("C") -> None:
    register[polygamma]("polygamma", unary_table[Polygamma, FLOATS, True](FLOAT))
