"""Hyperbolic functions and their inverses, the logistic function, powers."""
from std.math import fma, sqrt, trunc
from std.sys.info import is_apple_gpu

from kernels.math_core import (
    _clamp,
    _exp_split,
    _exp_tail,
    _log_split,
    _scale,
    bits_const,
    const,
    copysign,
    exp,
    fabs,
    from_bits,
    infinity,
    isinf,
    isnan,
    log1p,
    nan,
    poly,
    signbit,
    BIAS,
    MANTISSA,
)


@always_inline
def _half_exp[dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """exp(a) / 2 for a >= 0, which overflows later than exp(a)."""
    var rn = _exp_split(_clamp(a, SIMD[dt, w](0), const[dt, w, 90.0, 711.0]()))
    var r = rn[0]
    return _scale(fma(r * r, _exp_tail(r), r) + 1, rn[1] - bits_const[dt, w, 1]())


@always_inline
def sinh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The hyperbolic sine. float32: 1.7 ulp; float64: 1.6 ulp."""
    var a = fabs(x)
    var h = _half_exp(a)
    var z = a * a
    var p: SIMD[dt, w]
    comptime if dt == DType.float32:
        p = poly[0.166666672, 0.008333317, 0.000198410882, 2.7940664e-6](z)
    else:
        p = poly[
            0.166666666666666657,
            0.00833333333333333322,
            0.000198412698412697735,
            2.75573192240403398e-6,
            2.50521083640580393e-8,
            1.60590483963505625e-10,
            7.64662536165665731e-13,
            2.84452641698952845e-15,
        ](z)
    return copysign(a.lt(1).select(fma(a * z, p, a), h - 0.25 / h), x)


@always_inline
def cosh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The hyperbolic cosine. float32: 1.4 ulp; float64: 1.5 ulp."""
    var h = _half_exp(fabs(x))
    return h + 0.25 / h


@always_inline
def tanh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The hyperbolic tangent. float32: 1.4 ulp; float64: 1.5 ulp."""
    var a = fabs(x)
    # 1 from 9.01 (float32) and 19.06 (float64) on
    var c = _clamp(a, SIMD[dt, w](0), const[dt, w, 10.0, 20.0]())
    var rn = _exp_split(c + c)
    var r = rn[0]
    comptime m = UInt64(MANTISSA[dt])
    comptime b = UInt64(BIAS[dt])
    var s = from_bits[dt]((rn[1] + bits_const[dt, w, b]()) << bits_const[dt, w, m]())
    var e = s * (fma(r * r, _exp_tail(r), r) + 1)
    var z = a * a
    var p: SIMD[dt, w]
    comptime if dt == DType.float32:
        p = poly[-0.333333164, 0.133324921, -0.0538386591, 0.0210047252, -0.00616863975](z)
    else:
        p = poly[
            -0.333333333333333315,
            0.133333333333323895,
            -0.0539682539670564357,
            0.0218694884768332841,
            -0.00886323401867945143,
            0.00359210549621210564,
            -0.00145562370293894584,
            0.000588752417787762289,
            -0.000234101898183500815,
            0.000084259469598254997,
            -0.0000200229192317411464,
        ](z)
    return copysign(a.lt(0.5625).select(fma(a * z, p, a), 1 - 2 / (e + 1)), x)


@always_inline
def asinh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse hyperbolic sine. float32: 0.6 ulp; float64: 1.8 ulp."""
    comptime if dt == DType.float32 and not is_apple_gpu():
        return asinh(x.cast[DType.float64]()).cast[dt]()
    else:
        var a = fabs(x)
        var big = a.gt(268435456.0)
        var z = a * a
        var y = log1p(big.select(a - 1, a + z / (1 + sqrt(z + 1))))
        return copysign(y + big.select(const[dt, w, 0.69314718246, 0.69314718055994530942](), SIMD[dt, w](0)), x)


@always_inline
def acosh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse hyperbolic cosine, NaN below 1. float32: 0.6 ulp; float64: 2 ulp."""
    comptime if dt == DType.float32 and not is_apple_gpu():
        return acosh(x.cast[DType.float64]()).cast[dt]()
    else:
        var big = x.gt(268435456.0)
        var t = x - 1
        var y = log1p(big.select(t, t + sqrt(t * (t + 2))))
        y += big.select(const[dt, w, 0.69314718246, 0.69314718055994530942](), SIMD[dt, w](0))
        return x.lt(1).select(nan[dt, w](), y)


@always_inline
def atanh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse hyperbolic tangent, NaN outside [-1, 1]. float32: 1.8 ulp; float64: 1.8 ulp."""
    var a = fabs(x)
    # log1p(q) with q = 2 a / (1 - a), and what the rounding of 1 - a and of q changes in it
    var d = 1 - a
    var q = (a + a) / d
    var miss = fma(-q, d, a + a) - q * ((1 - d) - a)
    var y = log1p(q) + a.lt(1).select(miss / (1 + a), SIMD[dt, w](0))
    return copysign(0.5 * y, x)


@always_inline
def sigmoid[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """1 / (1 + exp(-x)), accurate in both tails. float32: 1.5 ulp; float64: 2.4 ulp."""
    comptime if dt == DType.float64:
        var e = exp(-fabs(x))
        return x.lt(0).select(e, SIMD[dt, w](1)) / (e + 1)
    else:
        # exp(-|x|) as m * 2**n, keeping what the rounding of m = 1 + p lost
        var c = -fabs(x)
        var lowest = const[dt, w, -104.0, -746.0]()
        var rn = _exp_split(c.lt(lowest).select(lowest, c))
        var r = rn[0]
        var p = fma(r * r, _exp_tail(r), r)
        var m = p + 1
        var e = _scale(m, rn[1])
        var lost = (1 - m) + p
        var negative = x.lt(0)
        var d = e + 1
        # the losses matter most in the left tail, where d is near 1; elsewhere a rough correction does
        var y = negative.select(e, SIMD[dt, w](1)) / d
        return fma(y, negative.select(lost, SIMD[dt, w](0)) - ((1 - d) + e), y)


@always_inline
def softplus[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """log(1 + exp(x)) without overflow. float32: 1.6 ulp; float64: 1.7 ulp."""
    return x.gt(0).select(x, SIMD[dt, w](0)) + log1p(exp(-fabs(x)))


@always_inline
def logsigmoid[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """log(sigmoid(x)) without underflow. float32: 1.6 ulp; float64: 1.7 ulp."""
    return x.lt(0).select(x, SIMD[dt, w](0)) - log1p(exp(-fabs(x)))


@always_inline
def pow[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """x**y with the special cases of C: pow(x, 0) and pow(1, y) are 1 even for NaN, a negative x needs an integer y.

    float32: 1.2 ulp; float64: 1.2 ulp.
    """
    comptime V = SIMD[dt, w]
    var a = fabs(x)
    # log(a) as hi + lo: m = (1 + s) / (1 - s), log(m) = 2 s + s**3 (2/3 + s**2 Q(s**2)), everything above Q doubled
    var me = _log_split(a)
    var e = me[1]
    var f = me[0] - 1
    var den = f + 2
    var inv = 1 / den
    var s = f * inv
    var s_lo = fma(-s, f - (den - 2), fma(-s, den, f)) * inv
    var z = s * s
    var z_lo = fma(s, s, -z) + 2 * s * s_lo
    var q: V
    comptime if dt == DType.float32:
        q = poly[0.400001705, 0.285452902, 0.234616771](z)
    else:
        q = poly[
            0.400000000000000244,
            0.285714285713383254,
            0.222222222711853129,
            0.181818082340031439,
            0.153855757828200435,
            0.132859246572421985,
            0.12914022716948359,
        ](z)
    # c + c_lo = 2/3 + z q
    var third = const[dt, w, 0.6666666865348815918, 0.66666666666666662966]()
    var zq = z * q
    var c = third + zq
    var c_lo = (
        (zq - (c - third))
        + fma(z, q, -zq)
        + fma(z_lo, const[dt, w, 0.4, 0.4](), const[dt, w, -1.98682155172491548e-8, 3.7007434154171882626e-17]())
    )
    # t + t_lo = s**3 c
    var u = s * z
    var u_lo = fma(s, z, -u) + fma(s, z_lo, s_lo * z)
    var t = u * c
    var t_lo = fma(u, c, -t) + fma(u, c_lo, u_lo * c)
    # e log(2) + 2 s + t, from large to small
    var e_hi = e * const[dt, w, 0.693145751953125, 0.69314718056011770386]()
    var d = s + s
    var h1 = e_hi + d
    var l1 = (e_hi - h1) + d
    var h2 = h1 + t
    var l2 = (h1 - h2) + t
    var lo = l2 + (l1 + (fma(e, const[dt, w, 1.428606765330187045e-6, -1.7239444525614834793e-13](), t_lo) + 2 * s_lo))
    var hi = h2 + lo
    lo = (h2 - hi) + lo
    hi = a.eq(0).select(-infinity[dt, w](), a.lt(infinity[dt, w]()).select(hi, a))
    # y log(a), then exp
    var p = y * hi
    var p_lo = fma(y, hi, -p) + y * lo
    var bound = const[dt, w, 105.0, 746.0]()
    var inside = fabs(p).lt(bound)
    p_lo = inside.select(p_lo, V(0))
    var rn = _exp_split(_clamp(p, -bound, bound))
    var r = rn[0] + p_lo
    var res = _scale(fma(r * r, _exp_tail(r), r) + 1, rn[1])
    # signs and special cases
    var whole = trunc(y).eq(y)
    var half = y * 0.5
    var odd = whole & trunc(half).ne(half)
    var minus = signbit(x)
    res = (minus & odd).select(-res, res)
    res = (x.lt(0) & ~whole & a.lt(infinity[dt, w]())).select(nan[dt, w](), res)
    res = (isnan(x) | isnan(y)).select(x + y, res)
    return (x.eq(1) | y.eq(0) | (x.eq(-1) & isinf(y))).select(V(1), res)
