"""Complex numbers as pairs of SIMD values, and their elementary functions.

`Z` has the arithmetic; the functions are C99's with PyTorch's branch cuts. The inverse functions follow W. Kahan, "Branch
cuts for complex elementary functions" (1987): compositions of real functions that keep the signs of zeros.
"""

from std.math import fma
from kernels import math


@fieldwise_init
struct Z[dt: DType, w: SIMDLength](TrivialRegisterPassable):
    """Complex numbers: real and imaginary parts."""

    comptime V = SIMD[Self.dt, Self.w]
    var re: Self.V
    var im: Self.V

    @always_inline
    def __add__(self, b: Self) -> Self:
        return Self(self.re + b.re, self.im + b.im)

    @always_inline
    def __sub__(self, b: Self) -> Self:
        return Self(self.re - b.re, self.im - b.im)

    @always_inline
    def __neg__(self) -> Self:
        return Self(-self.re, -self.im)

    @always_inline
    def __mul__(self, b: Self) -> Self:
        return Self(
            fma(self.re, b.re, -(self.im * b.im)),
            fma(self.re, b.im, self.im * b.re),
        )

    @always_inline
    def __truediv__(self, b: Self) -> Self:
        """Scaled by the larger part of the divisor, against overflow."""
        var s = math.maximum(math.fabs(b.re), math.fabs(b.im))
        var x = self.over(s)
        var y = b.over(s)
        var norm = fma(y.re, y.re, y.im * y.im)
        return Self(
            fma(x.re, y.re, x.im * y.im) / norm,
            fma(x.im, y.re, -(x.re * y.im)) / norm,
        )

    @always_inline
    def scaled(self, k: Self.V) -> Self:
        return Self(self.re * k, self.im * k)

    @always_inline
    def over(self, k: Self.V) -> Self:
        return Self(self.re / k, self.im / k)

    @always_inline
    def plus(self, x: Self.V) -> Self:
        return Self(self.re + x, self.im)

    @always_inline
    def times_i(self) -> Self:
        return Self(-self.im, self.re)

    @always_inline
    def over_i(self) -> Self:
        return Self(self.im, -self.re)

    @always_inline
    def conj(self) -> Self:
        return Self(self.re, -self.im)

    @always_inline
    def is_zero(self) -> SIMD[DType.bool, Self.w]:
        return self.re.eq(0) & self.im.eq(0)


@always_inline
def select[dt: DType, w: SIMDLength](mask: SIMD[DType.bool, w], a: Z[dt, w], b: Z[dt, w]) -> Z[dt, w]:
    return Z[dt, w](mask.select(a.re, b.re), mask.select(a.im, b.im))


@always_inline
def real[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Z[dt, w]:
    return Z[dt, w](x, SIMD[dt, w](0))


@always_inline
def size_of_z[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
    """The absolute value."""
    return math.hypot(z.re, z.im)


@always_inline
def angle[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
    return math.atan2(z.im, z.re)


@always_inline
def reciprocal[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    return real(SIMD[dt, w](1)) / z


@no_inline
def exp[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var e = math.exp(z.re)
    var c = math.cos(z.im)
    var s = math.sin(z.im)
    # of a real number the result is real; of -inf it is zero whatever the angle
    var re = z.im.eq(0).select(e, e * c)
    var im = z.im.eq(0).select(z.im, e * s)
    var lost = ~math.isfinite(z.im)
    var gone = z.re.eq(-math.infinity[dt, w]()) & lost
    re = (z.re.eq(math.infinity[dt, w]()) & lost).select(z.re, re)
    return Z[dt, w](gone.select(SIMD[dt, w](0), re), gone.select(SIMD[dt, w](0), im))


@no_inline
def log_size[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
    """The logarithm of the absolute value, without overflow, and exact near 1."""
    comptime V = SIMD[dt, w]
    var x = math.fabs(z.re)
    var y = math.fabs(z.im)
    var high = math.maximum(x, y)
    var low = math.minimum(x, y)
    var near = high.gt(0.5) & high.lt(2)
    var ratio = low / high
    var rest = near.select(fma(low, low, (high - 1) * (high + 1)), ratio * ratio)
    var out = fma(math.log1p(rest), V(0.5), near.select(V(0), math.log(high)))
    out = high.eq(0).select(-math.infinity[dt, w](), out)
    return (math.isinf(x) | math.isinf(y)).select(math.infinity[dt, w](), out)


@always_inline
def log[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    return Z[dt, w](log_size(z), angle(z))


@no_inline
def sqrt[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    """The root with a positive real part."""
    comptime V = SIMD[dt, w]
    var x = math.fabs(z.re)
    var m = math.sqrt(fma(x, V(0.5), size_of_z(z) * 0.5))
    var other = math.fabs(z.im) / (m + m)
    other = m.eq(0).select(V(0), other)
    var right = ~math.signbit(z.re)
    var re = right.select(m, other)
    var im = math.copysign(right.select(other, m), z.im)
    var tall = math.isinf(z.im)
    re = tall.select(math.infinity[dt, w](), re)
    im = tall.select(z.im, im)
    # of infinite real numbers: no NaN from inf / inf
    var wide = math.isinf(z.re) & ~tall & ~math.isnan(z.im)
    re = wide.select(right.select(x, V(0)), re)
    im = wide.select(math.copysign(right.select(V(0), x), z.im), im)
    return Z[dt, w](re, im)


@no_inline
def sinh[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var re = math.sinh(z.re) * math.cos(z.im)
    var im = math.cosh(z.re) * math.sin(z.im)
    # a zero or an infinity is one whatever the angle; of a real number the result is real
    re = ((z.re.eq(0) | math.isinf(z.re)) & ~math.isfinite(z.im)).select(z.re, re)
    return Z[dt, w](re, z.im.eq(0).select(z.im, im))


@no_inline
def cosh[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    comptime V = SIMD[dt, w]
    var re = math.cosh(z.re) * math.cos(z.im)
    var im = math.sinh(z.re) * math.sin(z.im)
    re = (math.isinf(z.re) & ~math.isfinite(z.im)).select(math.infinity[dt, w](), re)
    var zero = math.copysign(V(0), z.re) * math.copysign(V(1), z.im)
    return Z[dt, w](re, (z.re.eq(0) | z.im.eq(0)).select(zero, im))


@no_inline
def tanh[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    comptime V = SIMD[dt, w]
    var t = math.tan(z.im)
    var beta = fma(t, t, V(1))
    var s = math.sinh(z.re)
    var rho = math.sqrt(fma(s, s, V(1)))
    var den = fma(beta * s, s, V(1))
    var flat = math.isinf(t)
    var re = flat.select(rho / s, beta * rho * s / den)
    var im = flat.select(1 / t, t / den)
    # far out the real part is 1 and the imaginary part vanishes
    var x = math.fabs(z.re)
    comptime limit = 10.0 if dt == DType.float32 else 20.0
    var far = x.gt(V(limit))
    re = far.select(math.copysign(V(1), z.re), re)
    im = far.select(4 * math.sin(z.im) * math.cos(z.im) * math.exp(-2 * x), im)
    # without an angle there is no value, but of zero and at infinity
    var lost = ~math.isfinite(z.im) & ~math.isinf(z.re)
    re = lost.select(z.re.eq(0).select(z.re, math.sin(z.im)), re)
    im = z.im.eq(0).select(z.im, im)
    return Z[dt, w](re, math.isinf(z.re).select(math.copysign(V(0), z.im), im))


comptime HALF_PI = 1.57079632679489661923


@always_inline
def is_infinite[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
    """Whether a part is infinite: then the number is, even beside a NaN."""
    return math.isinf(z.re) | math.isinf(z.im)


@always_inline
def _cross[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[dt, w]:
    """The imaginary part of conj(a) * b."""
    return fma(a.re, b.im, -(a.im * b.re))


@no_inline
def asin[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var below = sqrt(Z[dt, w](1 - z.re, -z.im))
    var above = sqrt(z.plus(1))
    var re = math.atan2(z.re, fma(below.re, above.re, -(below.im * above.im)))
    var im = math.asinh(_cross(below, above))
    var far = is_infinite(z)
    re = far.select(math.atan2(z.re, math.fabs(z.im)), re)
    im = far.select(math.copysign(math.infinity[dt, w](), z.im), im)
    return Z[dt, w]((z.re.eq(0) & math.isnan(z.im)).select(z.re, re), im)


@no_inline
def acos[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var below = sqrt(Z[dt, w](1 - z.re, -z.im))
    var above = sqrt(z.plus(1))
    var re = 2 * math.atan2(below.re, above.re)
    var im = math.asinh(_cross(above, below))
    var far = is_infinite(z)
    re = far.select(math.atan2(math.fabs(z.im), z.re), re)
    im = far.select(-math.copysign(math.infinity[dt, w](), z.im), im)
    return Z[dt, w]((z.re.eq(0) & math.isnan(z.im)).select(SIMD[dt, w](HALF_PI), re), im)


@no_inline
def acosh[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var below = sqrt(z.plus(-1))
    var above = sqrt(z.plus(1))
    var re = math.asinh(fma(below.re, above.re, below.im * above.im))
    var im = 2 * math.atan2(below.im, above.re)
    var far = is_infinite(z)
    re = far.select(math.infinity[dt, w](), re)
    im = far.select(math.atan2(z.im, z.re), im)
    return Z[dt, w](re, (z.re.eq(0) & math.isnan(z.im)).select(SIMD[dt, w](HALF_PI), im))


@no_inline
def atanh[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var x = math.fabs(z.re)
    var gap = 1 - x
    var y2 = z.im * z.im
    var re = math.copysign(0.25 * math.log1p(4 * x / fma(gap, gap, y2)), z.re)
    var im = 0.5 * math.atan2(2 * z.im, fma(gap, 1 + x, -y2))
    var far = is_infinite(z)
    re = (far | (z.re.eq(0) & math.isnan(z.im))).select(math.copysign(SIMD[dt, w](0), z.re), re)
    im = (far & ~math.isnan(z.im)).select(math.copysign(SIMD[dt, w](HALF_PI), z.im), im)
    return Z[dt, w](re, im)


@no_inline
def log1p[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    comptime V = SIMD[dt, w]
    var moved = z.plus(1)
    var small = math.fabs(z.re).lt(0.5) & math.fabs(z.im).lt(0.5)
    var near = 0.5 * math.log1p(fma(z.re, z.re + 2, z.im * z.im))
    return Z[dt, w](small.select(near, log_size(moved)), angle(moved))


@no_inline
def log_add_exp[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> Z[dt, w]:
    """log(exp(a) + exp(b)), without overflow; a NaN in either makes both parts NaN."""
    var less = a.re.lt(b.re)
    var low = select(less, a, b)
    var high = select(less, b, a)
    var r = log1p(exp(low - high)) + high
    # equal infinities have no difference
    var same = math.isinf(a.re) & a.re.eq(b.re)
    if same.reduce_or():
        r = select(same, select(a.re.lt(0), low, log(exp(a) + exp(b))), r)
    var lost = math.isnan(a.re) | math.isnan(a.im) | math.isnan(b.re) | math.isnan(b.im)
    var nan = math.nan[dt, w]()
    return select(lost, Z[dt, w](nan, nan), r)


@no_inline
def expm1[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    var half = math.sin(z.im * 0.5)
    var re = fma(math.expm1(z.re), math.cos(z.im), -2 * half * half)
    var im = math.exp(z.re) * math.sin(z.im)
    # of infinite numbers as `exp` has them; of real ones the result is real
    re = math.isinf(z.re).select(exp(z).re - 1, re)
    im = (z.re.eq(-math.infinity[dt, w]()) & ~math.isfinite(z.im)).select(SIMD[dt, w](0), im)
    return Z[dt, w](re, z.im.eq(0).select(z.im, im))


@no_inline
def sigmoid[dt: DType, w: SIMDLength](z: Z[dt, w]) -> Z[dt, w]:
    return reciprocal(exp(-z).plus(1))


@no_inline
def pow[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> Z[dt, w]:
    """exp(b log a); anything to the power of 0 is 1."""
    comptime V = SIMD[dt, w]
    var r = exp(b * log(a))
    return select(b.is_zero(), real(V(1)), r)
