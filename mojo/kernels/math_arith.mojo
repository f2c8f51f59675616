"""Rounding, division with remainder, ordering, roots."""
import std.math
from std.math import fma
from std.sys.intrinsics import llvm_intrinsic

from kernels.math_core import (
    BitsOf,
    MANTISSA,
    bits_const,
    const,
    copysign,
    fabs,
    from_bits,
    infinity,
    isfinite,
    isinf,
    isnan,
    nan,
    to_bits,
)


@always_inline
def sqrt[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The square root, correctly rounded; NaN below 0, -0 stays."""
    return std.math.sqrt(x)


@always_inline
def rsqrt[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """1 / sqrt(x) from two correctly rounded steps: at most 1.5 ulp."""
    return 1 / std.math.sqrt(x)


@always_inline
def floor[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The largest integer not above x."""
    return std.math.floor(x)


@always_inline
def ceil[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The smallest integer not below x."""
    return std.math.ceil(x)


@always_inline
def trunc[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """x without its fraction; the sign of x stays, also on 0."""
    return std.math.trunc(x)


@always_inline
def round[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The nearest integer, halves to even; the sign of x stays, also on 0."""
    return llvm_intrinsic["llvm.rint", SIMD[dt, w], has_side_effect=False](x)


@always_inline
def frac[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """x - trunc(x), NaN for infinities."""
    return x - std.math.trunc(x)


@no_inline
def _fmod_slow[dt: DType](x: Scalar[dt], y: Scalar[dt]) -> Scalar[dt]:
    """fmod of finite x, y > 0 by long division of the mantissas."""
    comptime m = MANTISSA[dt]
    comptime U = Scalar[BitsOf[dt]]
    comptime chunk = (8 if dt == DType.float32 else 11)
    comptime implicit = U(1) << U(m)
    var ux = to_bits(x)
    var uy = to_bits(y)
    var ex = Int(ux >> U(m))
    var ey = Int(uy >> U(m))
    var mx = ux & (implicit - 1)
    var my = uy & (implicit - 1)
    if ex == 0:
        ex = 1
    else:
        mx |= implicit
    if ey == 0:
        ey = 1
    else:
        my |= implicit
    if ex < ey:
        return x
    mx %= my
    while ex > ey and mx != 0:
        var step = min(ex - ey, chunk)
        mx = (mx << U(step)) % my
        ex -= step
    while mx != 0 and mx < implicit and ey > 1:
        mx <<= U(1)
        ey -= 1
    var bits = (mx & (implicit - 1)) | (U(ey) << U(m)) if mx >= implicit else mx
    return from_bits[dt](bits)


@always_inline
def fmod[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The remainder of x / y truncated, with the sign of x; exact. NaN for infinite x and for y = 0."""
    var a = fabs(x)
    var b = fabs(y)
    var q = std.math.trunc(a / b)
    # q is right or one too large: the remainder is exact, then corrected
    var r = fma(-q, b, a)
    r = r.lt(0).select(r + b, r)
    r = a.lt(b).select(a, r)
    # The quotient has too many digits. The same where a tiny b loses bits of q * b.
    var slow = (
        (q.ge(const[dt, w, 8388608.0, 4503599627370496.0]()) | b.lt(const[dt, w, 1e-30, 1e-290]()))
        & isfinite(x)
        & b.gt(0)
        & a.ge(b)
    )
    if slow.reduce_or():
        for i in range(Int(w)):
            if slow[i]:
                r[i] = _fmod_slow(a[i], b[i])
    r = (isfinite(x) & b.gt(0)).select(copysign(r, x), nan[dt, w]())
    return (isnan(x) | isnan(y)).select(x + y, r)


@always_inline
def remainder[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """x modulo y with the sign of y, as Python's % and PyTorch have it; NaN for infinite x and for y = 0."""
    var r = fmod(x, y)
    return (r.ne(0) & (y.lt(0) ^ r.lt(0))).select(r + y, r)


@always_inline
def floor_divide[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The floor of the exact quotient as PyTorch rounds it; x / y for y = 0, NaN for infinite x."""
    comptime V = SIMD[dt, w]
    var r = fmod(x, y)
    var d = (x - r) / y
    d = (r.ne(0) & (y.lt(0) ^ r.lt(0))).select(d - 1, d)
    var f = std.math.floor(d)
    f = (d - f).gt(0.5).select(f + 1, f)
    f = d.eq(0).select(copysign(V(0), x / y), f)
    return y.eq(0).select(x / y, f)


@always_inline
def hypot[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """sqrt(x**2 + y**2) without overflow; infinite if one is, even beside NaN.

    float32: 1.3 ulp; float64: 1.3 ulp.
    """
    comptime V = SIMD[dt, w]
    var a = fabs(x)
    var b = fabs(y)
    var large = a.gt(b).select(a, b)
    # powers of two, 100 and 600, that bring the squares of all numbers into range
    var up = large.lt(const[dt, w, 1e-12, 1e-140]())
    var down = large.gt(const[dt, w, 1e12, 1e140]())
    var big = const[dt, w, 1267650600228229401496703205376.0, 4.149515568880993e180]()
    var little = const[dt, w, 7.888609052210118e-31, 2.409919865102884e-181]()
    var scale = up.select(big, down.select(little, V(1)))
    var back = up.select(little, down.select(big, V(1)))
    a = a * scale
    b = b * scale
    var r = std.math.sqrt(fma(a, a, b * b)) * back
    return (isinf(x) | isinf(y)).select(infinity[dt, w](), r)


@always_inline
def maximum[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The larger; NaN if either is NaN; x if they are equal."""
    return (y.gt(x) | isnan(y)).select(y, x)


@always_inline
def minimum[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The smaller; NaN if either is NaN; x if they are equal."""
    return (y.lt(x) | isnan(y)).select(y, x)


@always_inline
def fmax[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The larger; NaN only if both are NaN."""
    return isnan(x).select(y, y.gt(x).select(y, x))


@always_inline
def fmin[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The smaller; NaN only if both are NaN."""
    return isnan(x).select(y, y.lt(x).select(y, x))


@always_inline
def sign[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """-1, 0 or 1; 0 for NaN, as PyTorch has it."""
    comptime V = SIMD[dt, w]
    return x.gt(0).select(V(1), x.lt(0).select(V(-1), V(0)))


@always_inline
def nextafter[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """The next number after x in the direction of y; y if they are equal, NaN if either is."""
    var one = bits_const[dt, w, 1]()
    var u = to_bits(x)
    # magnitudes grow away from zero
    var outward = x.gt(0) ^ x.gt(y)
    var r = from_bits[dt](outward.select(u + one, u - one))
    r = x.eq(0).select(copysign(from_bits[dt](one), y), r)
    r = x.eq(y).select(y, r)
    return (isnan(x) | isnan(y)).select(x + y, r)
