"""Sine, cosine, tangent and their inverses."""
from std.math import fma, sqrt

from kernels.math_core import (
    BIAS,
    BitsOf,
    MANTISSA,
    ROUNDER,
    SIGN,
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
    poly,
    signbit,
    to_bits,
)


@always_inline
def _two_over_pi_word(index: Int) -> UInt64:
    """Bits 64 * index .. of 2 / pi after one word of zeros; 1280 bits reach the largest float64."""
    comptime words: List[UInt64] = [
        0,
        0xA2F9836E4E441529,
        0xFC2757D1F534DDC0,
        0xDB6295993C439041,
        0xFE5163ABDEBBC561,
        0xB7246E3A424DD2E0,
        0x06492EEA09D1921C,
        0xFE1DEB1CB129A73E,
        0xE88235F52EBB4484,
        0xE99C7026B45F7E41,
        0x3991D639835339F4,
        0x9C845F8BBDF9283B,
        0x1FF897FFDE05980F,
        0xEF2F118B5A0A6D1F,
        0x6D367ECF27CB09B7,
        0x4F463F669E5FEA2D,
        0x7527BAC7EBE5F17B,
        0x3D0739F78A5292EA,
        0x6BFB5FB11F8D5D08,
        0x56033046FC7B6BAB,
        0xF0CFBC209AF4361D,
    ]
    var word: UInt64 = 0
    # a chain of comparisons, not an array: constant arrays in memory are awkward inside GPU kernels
    comptime for i in range(21):
        comptime value = words[i]
        if index == i:
            word = value
    return word


@no_inline
def _reduce_huge[dt: DType](x: Scalar[dt]) -> Tuple[Scalar[dt], Scalar[dt], Scalar[BitsOf[dt]]]:
    """Payne-Hanek: (r, low, q) with x = q pi/2 + r + low modulo 2 pi, |r| <= pi/4, for finite x > 2."""
    comptime mantissa = MANTISSA[dt]
    var u = to_bits(x)
    var m = (
        (u & bits_const[dt, 1, (UInt64(1) << UInt64(mantissa)) - 1]())
        | bits_const[dt, 1, UInt64(1) << UInt64(mantissa)]()
    ).cast[DType.uint64]()
    # x = m * 2**e. Bits of 2/pi worth 4 or more after the product are whole turns: start after them.
    var e = Int(u >> bits_const[dt, 1, UInt64(mantissa)]()) - BIAS[dt] - mantissa
    var at = e - 2 + 64
    var first = at >> 6
    var sh = UInt64(at & 63)
    var w0 = _two_over_pi_word(first)
    var w1 = _two_over_pi_word(first + 1)
    var w2 = _two_over_pi_word(first + 2)
    if sh != 0:
        w0 = (w0 << sh) | (w1 >> (64 - sh))
        w1 = (w1 << sh) | (w2 >> (64 - sh))
        w2 = (w2 << sh) | (_two_over_pi_word(first + 3) >> (64 - sh))
    # m * (w0, w1, w2) modulo 2**192: two bits of quadrant, 190 of fraction
    var wide = m.cast[DType.uint128]()
    var low = wide * w2.cast[DType.uint128]()
    var middle = wide * w1.cast[DType.uint128]() + (low >> 64)
    var top = m * w0 + (middle >> 64).cast[DType.uint64]()
    var quadrant = top >> 62
    var hi = (top << 2) | (middle.cast[DType.uint64]() >> 62)
    var lo = (middle.cast[DType.uint64]() << 2) | (low.cast[DType.uint64]() >> 62)
    var negative = (hi >> 63) != 0
    if negative:
        quadrant += 1
        lo = ~lo + 1
        hi = ~hi + UInt64(1 if lo == 0 else 0)
    # normalise, so that cancelled leading bits cost nothing
    var unit = Scalar[dt](5.421010862427522170037e-20)
    if hi == 0:
        hi = lo
        lo = 0
        unit *= 5.421010862427522170037e-20
    if hi == 0:
        return Scalar[dt](0), Scalar[dt](0), quadrant.cast[BitsOf[dt]]()
    while (hi >> 63) == 0:
        hi = (hi << 1) | (lo >> 63)
        lo <<= 1
        unit *= 0.5
    comptime spare = UInt64(63 - mantissa)
    var head = (hi >> spare).cast[dt]() * Scalar[dt]((1 << (63 - mantissa)))
    var rest = (hi & ((UInt64(1) << spare) - 1)).cast[dt]()
    if negative:
        unit = -unit
    head *= unit
    rest *= unit
    var p = const[dt, 1, 1.5707963705062866211, 1.570796326794896558]()
    var p_low = const[dt, 1, -4.3711388286737928865e-8, 6.1232339957367660359e-17]()
    var r = head * p
    return r, fma(head, p, -r) + fma(head, p_low, rest * p), quadrant.cast[BitsOf[dt]]()


@always_inline
def _reduce[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Tuple[SIMD[dt, w], SIMD[dt, w], SIMD[BitsOf[dt], w]]:
    """(r, low, q) with x = q pi/2 + r + low for x >= 0 (q modulo 4), |r| <= pi/4 or a little more."""
    var rounder = const[dt, w, ROUNDER[dt], ROUNDER[dt]]()
    var t = fma(x, const[dt, w, 0.636619772367581343, 0.636619772367581343](), rounder)
    var q = to_bits(t) - to_bits(rounder)
    var n = -(t - rounder)
    # Cody and Waite in three parts. The first step is exact; what the second rounds away, where r1 and p may cancel or
    # either be the larger, is kept in `low`.
    var c2 = const[dt, w, -4.3711388286737928865e-8, 6.1232339957367660359e-17]()
    var r1 = fma(n, const[dt, w, 1.5707963705062866211, 1.570796326794896558](), x)
    var p = n * c2
    var r = r1 + p
    var back = r - r1
    var low = fma(n, const[dt, w, -1.7151245100058818728e-15, -1.4973849048591698329e-33](), fma(n, c2, -p))
    low = low + ((r1 - (r - back)) + (p - back))
    var huge = x.gt(const[dt, w, 65536.0, 16777216.0]()) & isfinite(x)
    if huge.reduce_or():
        for i in range(Int(w)):
            if huge[i]:
                var s = _reduce_huge(x[i])
                r[i] = s[0]
                low[i] = s[1]
                q[i] = s[2]
    return r, low, q


@always_inline
def _sin_tail[dt: DType, w: SIMDLength](r: SIMD[dt, w], low: SIMD[dt, w], z: SIMD[dt, w]) -> SIMD[dt, w]:
    """sin(r + low) - r, z = r * r, |r| <= pi/4."""
    comptime if dt == DType.float32:
        return fma(r * z, poly[-0.166666538, 0.00833209325, -0.000195055574](z), low)
    else:
        return fma(
            r * z,
            poly[
                -0.166666666666666657,
                0.00833333333333333148,
                -0.000198412698412650166,
                2.75573192193019189e-6,
                -2.50521062195218949e-8,
                1.60585295722678766e-10,
                -7.58657658817107251e-13,
            ](z),
            low,
        )


@always_inline
def _cos_tail[dt: DType, w: SIMDLength](r: SIMD[dt, w], low: SIMD[dt, w], z: SIMD[dt, w]) -> SIMD[dt, w]:
    """cos(r + low) - fl(1 - z / 2), z = r * r, |r| <= pi/4."""
    var lost = fma(z, -0.5, 1.0 - fma(z, -0.5, 1.0))
    var tail: SIMD[dt, w]
    comptime if dt == DType.float32:
        tail = poly[0.0416666456, -0.00138872943, 2.44295497e-5](z)
    else:
        tail = poly[
            0.0416666666666666644,
            -0.00138888888888873824,
            0.00002480158729874307,
            -2.7557317260008837e-7,
            2.08761438279931326e-9,
            -1.13824567780613059e-11,
        ](z)
    return fma(z * z, tail, fma(-r, low, lost))


@always_inline
def _sin_poly[dt: DType, w: SIMDLength](r: SIMD[dt, w], low: SIMD[dt, w], z: SIMD[dt, w]) -> SIMD[dt, w]:
    """sin(r + low), z = r * r, |r| <= pi/4."""
    return r + _sin_tail(r, low, z)


@always_inline
def _cos_poly[dt: DType, w: SIMDLength](r: SIMD[dt, w], low: SIMD[dt, w], z: SIMD[dt, w]) -> SIMD[dt, w]:
    """cos(r + low), z = r * r, |r| <= pi/4."""
    return fma(z, -0.5, 1.0) + _cos_tail(r, low, z)


@always_inline
def _sin_quadrant[dt: DType, w: SIMDLength](r: SIMD[dt, w], low: SIMD[dt, w], q: SIMD[BitsOf[dt], w]) -> SIMD[dt, w]:
    """sin(r + low + q pi/2)."""
    var z = r * r
    var one = bits_const[dt, w, 1]()
    var y = (q & one).eq(one).select(_cos_poly(r, low, z), _sin_poly(r, low, z))
    comptime top = UInt64(30 if dt == DType.float32 else 62)
    return from_bits[dt](to_bits(y) ^ ((q << bits_const[dt, w, top]()) & bits_const[dt, w, SIGN[dt]]()))


@always_inline
def sin[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The sine, x in radians of any size. float32: 1 ulp; float64: 1.1 ulp."""
    var p = _reduce(fabs(x))
    var y = _sin_quadrant(p[0], p[1], p[2])
    y = from_bits[dt](to_bits(y) ^ (to_bits(x) & bits_const[dt, w, SIGN[dt]]()))
    return isfinite(x).select(y, nan[dt, w]())


@always_inline
def cos[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The cosine, x in radians of any size. float32: 1 ulp; float64: 1.1 ulp."""
    var p = _reduce(fabs(x))
    return isfinite(x).select(_sin_quadrant(p[0], p[1], p[2] + bits_const[dt, w, 1]()), nan[dt, w]())


@always_inline
def tan[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The tangent, x in radians of any size. float32: 1.3 ulp; float64: 1.5 ulp."""
    var p = _reduce(fabs(x))
    var r = p[0]
    var z = r * r
    # sine and cosine as sums of two, so that only the division rounds
    var st = _sin_tail(r, p[1], z)
    var s = r + st
    var s_lo = (r - s) + st
    var ct = _cos_tail(r, p[1], z)
    var head = fma(z, -0.5, 1.0)
    var c = head + ct
    var c_lo = (head - c) + ct
    var one = bits_const[dt, w, 1]()
    var odd = (p[2] & one).eq(one)
    var num = odd.select(-c, s)
    var den = odd.select(s, c)
    var inv = 1 / den
    var y = num * inv
    y = fma(fma(-y, den, num) + fma(-y, odd.select(s_lo, c_lo), odd.select(-c_lo, s_lo)), inv, y)
    y = from_bits[dt](to_bits(y) ^ (to_bits(x) & bits_const[dt, w, SIGN[dt]]()))
    return isfinite(x).select(y, nan[dt, w]())


# -------------------------------------------------------------------------------------------------------- inverses
@always_inline
def _asin_tail[dt: DType, w: SIMDLength](z: SIMD[dt, w]) -> SIMD[dt, w]:
    """asin(sqrt(z)) / sqrt(z) - 1 for z in [0, 1/4]."""
    comptime if dt == DType.float32:
        return z * poly[0.166666612, 0.0750046447, 0.0445205122, 0.031802278, 0.0143903848, 0.037658859](z)
    else:
        return z * poly[
            0.166666666666666685,
            0.0749999999999843292,
            0.0446428571463554288,
            0.0303819441385312465,
            0.0223721729421498886,
            0.0173523927208699726,
            0.0139712129735529329,
            0.0114791774151849057,
            0.0103228143501857793,
            0.00545750671864035815,
            0.0174008794426940214,
            -0.0148518870712472037,
            0.0287578513674215663,
        ](z)


@always_inline
def _half_pi[dt: DType, w: SIMDLength]() -> Tuple[SIMD[dt, w], SIMD[dt, w]]:
    """pi/2 as a sum of two."""
    return (
        const[dt, w, 1.5707963705062866211, 1.570796326794896558](),
        const[dt, w, -4.3711388286737928865e-8, 6.1232339957367660359e-17](),
    )


@always_inline
def asin[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse sine, NaN outside [-1, 1]. float32: 1.5 ulp; float64: 1.6 ulp."""
    var a = fabs(x)
    var outer = a.gt(0.5)
    # asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2))
    var z = outer.select(fma(a, -0.5, 0.5), a * a)
    var s = outer.select(sqrt(z), a)
    var t = s * _asin_tail(z)
    var h = _half_pi[dt, w]()
    var big = h[0] - fma(s, 2.0, fma(t, 2.0, -h[1]))
    return copysign(outer.select(big, s + t), x)


@always_inline
def acos[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse cosine, NaN outside [-1, 1]. float32: 1.1 ulp; float64: 1.1 ulp."""
    var a = fabs(x)
    var outer = a.gt(0.5)
    var z = outer.select(fma(a, -0.5, 0.5), a * a)
    var s = outer.select(sqrt(z), x)
    var t = s * _asin_tail(z)
    var h = _half_pi[dt, w]()
    var inner = h[0] - (s + (t - h[1]))
    var right = (s + t) * 2
    var left = (h[0] - (s + (t - h[1]))) * 2
    return outer.select(signbit(x).select(left, right), inner)


@always_inline
def _atan_ratio[dt: DType, w: SIMDLength](y: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The angle of (x, y) in the first quadrant; x, y >= 0, neither NaN."""
    var swap = y.gt(x)
    var small = swap.select(x, y)
    var large = swap.select(y, x)
    # Keep the sum below finite and denormals precise; infinity over infinity is 45 degrees, 0 over 0 is 0.
    var up = large.lt(const[dt, w, 1e-30, 1e-290]())
    var scale = up.select(const[dt, w, 1.8446744073709552e19, 1.8446744073709552e19](), SIMD[dt, w](1))
    scale = large.gt(const[dt, w, 1e37, 1e307]()).select(SIMD[dt, w](0.25), scale)
    small = small * scale
    large = large * scale
    var both = isinf(small)
    small = both.select(SIMD[dt, w](1), small)
    large = (both | large.eq(0)).select(SIMD[dt, w](1), large)
    # above 0.66 use atan(t) = pi/4 + atan((t - 1) / (t + 1)), with the same single division
    var upper = small.gt(large * const[dt, w, 0.66, 0.66]())
    var t = upper.select(small - large, small) / upper.select(small + large, large)
    var z = t * t
    var p: SIMD[dt, w]
    comptime if dt == DType.float32:
        p = poly[-0.333333224, 0.199993089, -0.142711684, 0.109653562, -0.082906656, 0.0513143763, -0.0175778344](z)
    else:
        p = poly[
            -0.333333333333333315,
            0.199999999999984523,
            -0.142857142854479535,
            0.111111110929477064,
            -0.0909090843956397165,
            0.0769229355912982443,
            -0.0666646533150116183,
            0.0588037120560462451,
            -0.0524923029387325338,
            0.0469055587314416017,
            -0.040781797057545012,
            0.032436825813390531,
            -0.0212387505530367733,
            0.00970711144353444792,
            -0.00223198913522065258,
        ](z)
    var tail = t * z * p
    # angle = base + sign * (t + tail), base one of 0, pi/4, pi/2
    var h = _half_pi[dt, w]()
    var zero = SIMD[dt, w](0)
    var base = upper.select(h[0] * 0.5, swap.select(h[0], zero))
    var base_low = upper.select(h[1] * 0.5, swap.select(h[1], zero))
    t = swap.select(-t, t)
    tail = swap.select(-tail, tail)
    return base + (t + (tail + base_low))


@always_inline
def atan[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse tangent. float32: 1 ulp; float64: 1.1 ulp."""
    return isnan(x).select(x, copysign(_atan_ratio(fabs(x), SIMD[dt, w](1)), x))


@always_inline
def atan2[dt: DType, w: SIMDLength](y: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The angle of the point (x, y), in [-pi, pi]; signed zeros and infinities as in C.

    float32: 1.5 ulp; float64: 1.5 ulp.
    """
    var a = _atan_ratio(fabs(y), fabs(x))
    var h = _half_pi[dt, w]()
    a = signbit(x).select(fma(h[0], 2.0, fma(h[1], 2.0, -a)), a)
    return (isnan(x) | isnan(y)).select(x + y, copysign(a, y))
