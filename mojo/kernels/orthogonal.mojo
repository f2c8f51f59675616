"""Pointwise orthogonal polynomials of any degree, by their recurrences. Kernel slots: (x, n).

Degrees are truncated to integers; below 0 (and for NaN or infinity) the value is 0. The Chebyshev polynomials of high
degree inside of (-1, 1) are their trigonometric form, as PyTorch has it.
"""

from kernels import math
from kernels.double import SINGLES
from kernels.functor import Binary, FLOAT, binary_table
from kernels.strict import pointwise_one
from tensor.call import register
from tensor.memory import Numbers

# The families of Chebyshev polynomials: they differ in the first degree, 2x - shift, and in the trigonometric form.
comptime T = 0
comptime U = 1
comptime V = 2
comptime W = 3


@always_inline
def _degree[dt: DType, w: SIMDLength](n: SIMD[dt, w]) -> SIMD[dt, w]:
    """The degree as a whole number, -1 for what is none."""
    var whole = math.trunc(n)
    return (whole.ge(0) & whole.lt(9.0e18)).select(whole, SIMD[dt, w](-1))


@always_inline
def _odd[dt: DType, w: SIMDLength](n: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    var half = n * 0.5
    return math.floor(half).ne(half)


@always_inline
def _trigonometric[kind: Int, dt: DType, w: SIMDLength](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    var angle = math.acos(x)
    comptime if kind == T:
        return math.cos(n * angle)
    elif kind == U:
        return math.sin((n + 1) * angle) / math.sin(angle)
    elif kind == V:
        return math.cos((n + 0.5) * angle) / math.cos(angle * 0.5)
    else:
        return math.sin((n + 0.5) * angle) / math.sin(angle * 0.5)


@always_inline
def _at_ends[kind: Int, dt: DType, w: SIMDLength](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """The value at x = 1 or x = -1."""
    comptime Lanes = SIMD[dt, w]
    var sign = _odd(n).select(Lanes(-1), Lanes(1))
    comptime if kind == T:
        return x.gt(0).select(Lanes(1), sign)
    elif kind == U:
        return (n + 1) * x.gt(0).select(Lanes(1), sign)
    elif kind == V:
        return x.gt(0).select(Lanes(1), (2 * n + 1) * sign)
    else:
        return x.gt(0).select(2 * n + 1, sign)


struct Chebyshev[kind: Int, shifted: Bool](Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime Lanes = SIMD[dt, w]
        comptime high = 6 if Self.kind == T or Self.shifted else 8
        var x = a
        comptime if Self.shifted:
            x = a + a - 1
        var n = _degree(b)
        var first = x
        comptime if Self.kind == U:
            first = x + x
        elif Self.kind == V:
            first = x + x - 1
        elif Self.kind == W:
            first = x + x + 1
        var r = n.eq(0).select(Lanes(1), first)
        var closed = math.fabs(x).lt(1) & n.gt(Lanes(high))
        var ends = math.fabs(x).eq(1)
        var p = Lanes(1)
        var q = first
        var k = Lanes(2)
        # what grows without limit ends in NaN
        var left = n.ge(2) & ~closed & ~ends & ~math.isnan(q)
        while left.reduce_or():
            var following = (x + x) * q - p
            r = left.select(following, r)
            p = q
            q = following
            k = k + 1
            left = left & k.le(n) & ~math.isnan(q)
        if closed.reduce_or():
            r = closed.select(_trigonometric[Self.kind](x, n), r)
        r = ends.select(_at_ends[Self.kind](x, n), r)
        return n.lt(0).select(Lanes(0), r)


struct Hermite[physical: Bool](Binary):
    """The physicists' polynomials H, or the probabilists' He."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime Lanes = SIMD[dt, w]
        # from here on PyTorch gives up too
        comptime limit = 128 if dt == DType.float32 else 512
        comptime step = 2 if Self.physical else 1
        var x = a * Lanes(step)
        var n = _degree(b)
        var r = n.eq(0).select(Lanes(1), x)
        var p = Lanes(1)
        var q = x
        var k = Lanes(1)
        var left = n.ge(2) & n.le(Lanes(limit))
        while left.reduce_or():
            var following = x * q - Lanes(step) * k * p
            r = left.select(following, r)
            p = q
            q = following
            k = k + 1
            left = left & k.lt(n)
        r = n.gt(Lanes(limit)).select(math.nan[dt, w](), r)
        return n.lt(0).select(Lanes(0), r)


struct Laguerre(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime Lanes = SIMD[dt, w]
        var n = _degree(b)
        var q = 1 - a
        var r = n.eq(0).select(Lanes(1), q)
        var p = Lanes(1)
        var k = Lanes(1)
        var left = n.ge(2) & a.ne(0) & ~math.isnan(a)
        while left.reduce_or():
            var following = ((k + k + (1 - a)) * q - k * p) / (k + 1)
            r = left.select(following, r)
            p = q
            q = following
            k = k + 1
            left = left & k.lt(n) & ~math.isnan(q)
        return n.lt(0).select(Lanes(0), r)


struct Legendre(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime Lanes = SIMD[dt, w]
        var n = _degree(b)
        var r = n.eq(0).select(Lanes(1), a)
        var p = Lanes(1)
        var q = a
        var k = Lanes(1)
        var ends = math.fabs(a).eq(1)
        var left = n.ge(2) & ~ends & ~math.isnan(a)
        while left.reduce_or():
            var following = ((k + k + 1) * a * q - k * p) / (k + 1)
            r = left.select(following, r)
            p = q
            q = following
            k = k + 1
            left = left & k.lt(n) & ~math.isnan(q)
        r = ends.select(_at_ends[T](a, n), r)
        return n.lt(0).select(Lanes(0), r)


def _chebyshev[kind: Int](letter: StaticString, plain: StaticString, shifted: StaticString):
    register[pointwise_one](
        String(t"special_chebyshev_polynomial_{letter}"), binary_table[Chebyshev[kind, False], SINGLES](FLOAT, plain)
    )
    register[pointwise_one](
        String(t"special_shifted_chebyshev_polynomial_{letter}"),
        binary_table[Chebyshev[kind, True], SINGLES](FLOAT, shifted),
    )


@export("dumbtorch_register_orthogonal")
def register_orthogonal() abi("C") -> None:
    _chebyshev[T]("t", "chebyshev_polynomial_t_cpu", "shifted_chebyshev_polynomial_t_cpu")
    _chebyshev[U]("u", "chebyshev_polynomial_u_cpu", "shifted_chebyshev_polynomial_u_cpu")
    _chebyshev[V]("v", "chebyshev_polynomial_v_cpu", "shifted_chebyshev_polynomial_v_cpu")
    _chebyshev[W]("w", "chebyshev_polynomial_w_cpu", "shifted_chebyshev_polynomial_w_cpu")
    register[pointwise_one](
        "special_hermite_polynomial_h", binary_table[Hermite[True], SINGLES](FLOAT, "hermite_polynomial_h_cpu")
    )
    register[pointwise_one](
        "special_hermite_polynomial_he", binary_table[Hermite[False], SINGLES](FLOAT, "hermite_polynomial_he_cpu")
    )
    register[pointwise_one](
        "special_laguerre_polynomial_l", binary_table[Laguerre, SINGLES](FLOAT, "laguerre_polynomial_l_cpu")
    )
    register[pointwise_one](
        "special_legendre_polynomial_p", binary_table[Legendre, SINGLES](FLOAT, "legendre_polynomial_p_cpu")
    )
