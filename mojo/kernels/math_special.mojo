"""The error function and its kin, the logarithm of the gamma function and its derivative."""
from std.math import floor, fma, sqrt, trunc
from std.sys.info import is_apple_gpu

from kernels.math_core import (
    _clamp,
    _exp_split,
    _exp_tail,
    bits_const,
    const,
    copysign,
    exp,
    fabs,
    from_bits,
    infinity,
    isinf,
    isnan,
    log,
    nan,
    poly,
)
from kernels.math_trig import _cos_poly, _sin_poly


@always_inline
def _erfc_positive[single: Bool, dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Tuple[SIMD[dt, w], SIMD[dt, w]]:
    """(erfc(x), exp(-x**2)) for x >= 0; erfc is the exponential times a slow function of q = (x - k) / (x + k).

    `single` asks for a relative error of 2**-29 only.
    """
    var a = _clamp(x, SIMD[dt, w](0), SIMD[dt, w](28))
    var g: SIMD[dt, w]
    comptime if single:
        g = poly[
            1.27697838230670757,
            -0.0927638148223558084,
            -0.166030484951172758,
            0.164050879607611971,
            -0.0542184372283716423,
            -0.00802978425990106062,
            0.00871278567874164689,
            0.00125062103331671369,
            -0.00143014992719223523,
            -0.000401834516421945248,
            0.000177807876999981792,
            0.0000838381821243309761,
        ]((a - 2) / (a + 2))
    else:
        g = poly[
            1.23299511862555256,
            -0.139621116840562526,
            0.0153796521026195575,
            0.0680970542546932289,
            -0.101039066036294589,
            0.093732834998330225,
            -0.066330365812409503,
            0.0371675155377702571,
            -0.0161977340559944886,
            0.00503196997575317603,
            -0.000757773297366914618,
            -0.00019925668432389153,
            0.000150621697046783554,
            -0.0000243992442831298789,
            -0.0000112220463166690046,
            5.70978476096650582e-6,
            2.93778549434437857e-7,
            -8.25469974487116158e-7,
            7.47195278050097119e-8,
            1.1005996198640057e-7,
            -1.79994754590314207e-8,
            -1.40919828225557554e-8,
            1.86848738547351898e-9,
            1.26378285804213698e-9,
        ]((a - 4) / (a + 4))
    var h = a * a
    var e = exp(-h)
    # what a * a lost matters: it is a relative error of the result
    e = fma(e, -fma(a, a, -h), e)
    return e * (g / fma(a, 2.0, 1.0)), e


@always_inline
def _erf_small[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """erf for |x| < 0.92 (float32), 1 (float64)."""
    var z = x * x
    comptime if dt == DType.float32:
        return fma(
            x,
            poly[0.128379166, -0.376126319, 0.112836748, -0.026858395, 0.00519872131, -0.000811778009, 8.26884425e-5](
                z
            ),
            x,
        )
    else:
        return fma(
            x,
            poly[
                0.128379167095512586,
                -0.376126389031837483,
                0.112837916709548791,
                -0.0268661706450767923,
                0.00522397762481801448,
                -0.000854832698083379003,
                0.000120553311116427105,
                -0.0000149255952668311818,
                1.64610004841213676e-6,
                -1.63503127010546952e-7,
                1.46597752740474363e-8,
                -1.13728488567916737e-9,
                5.95717614774891131e-11,
            ](z),
            x,
        )


@always_inline
def erf[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The error function. float32: 1 ulp; float64: 1.3 ulp."""
    var a = fabs(x)
    var small = _erf_small(a)
    comptime if dt == DType.float32:
        # erfc(t) = exp(t p(t)); from 3.95 on erf rounds to 1
        var t = _clamp(a, SIMD[dt, w](0.92), SIMD[dt, w](3.95))
        var p = poly[
            -1.12854886,
            -0.635636985,
            -0.105243668,
            0.0226585343,
            -0.00292363227,
            4.8489168e-5,
            4.55207191e-5,
            -4.90826687e-6,
        ](t)
        var rn = _exp_split(p * t)
        var r = rn[0]
        var s = from_bits[dt]((rn[1] + bits_const[dt, w, 127]()) << bits_const[dt, w, 23]())
        return copysign(a.lt(0.925).select(small, fma(-s, fma(r * r, _exp_tail(r), r) + 1, 1)), x)
    else:
        return copysign(a.lt(1).select(small, 1 - _erfc_positive[False](a)[0]), x)


@always_inline
def erfc[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """1 - erf(x), accurate in the tail. float32: 0.6 ulp; float64: 5 ulp."""
    comptime if dt == DType.float32 and not is_apple_gpu():
        var y = x.cast[DType.float64]()
        var c = _erfc_positive[True](fabs(y))[0]
        return y.lt(0).select(2 - c, c).cast[dt]()
    else:
        var a = fabs(x)
        var c = _erfc_positive[False](a)[0]
        return a.lt(0.5).select(1 - _erf_small(x), x.lt(0).select(2 - c, c))


@always_inline
def _erfinv_positive[refine: Bool, dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse of erf for 0 <= a < 1, to 2**-25, or with one step of Halley's method to the last bits."""
    var wide = -log(fma(-a, a, 1.0))
    # the leading constants are short and added last, so that float32 rounds them nowhere
    var centre = poly[
        0.00140936045032891,
        0.246640279054636619,
        -0.00417739287520314893,
        -0.00125272639177322911,
        0.00021834938623976644,
        -4.97241968945475143e-6,
        -3.46398526763337166e-6,
        4.68131348055341232e-7,
        2.3335967195708108e-8,
        -8.931925970244222e-9,
    ](wide - 2.5)
    var tail = poly[
        0.08978381075213715,
        1.00949321457790098,
        0.0012594643458011005,
        -0.000868436364393923121,
        0.000322674448066160842,
        -0.000120018024800080286,
        0.0000530043533434701136,
        -0.0000290489832857881839,
        0.0000202744391058974281,
        -0.0000116476298528696576,
        2.9001315300742884e-6,
        6.5017470697009654e-7,
        -5.31701716631506374e-7,
        8.9187573115833599e-8,
        -1.49058175600652381e-9,
    ](sqrt(wide) - 4)
    var inner = wide.lt(5)
    var y = fma(a, inner.select(SIMD[dt, w](1.5), SIMD[dt, w](3.75)), a * inner.select(centre, tail))
    comptime if refine:
        # near 1 the residual is taken from erfc, where it does not cancel
        var ce = _erfc_positive[False](y)
        var miss = a.lt(0.5).select(_erf_small(y) - a, (1 - a) - ce[0])
        var u = miss * const[dt, w, 0.88622692545, 0.88622692545275801365]() / ce[1]
        y = y - u / fma(y, u, 1.0)
    return y


@always_inline
def erfinv[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The inverse of erf: infinite at -1 and 1, NaN outside. float32: 1.8 ulp; float64: 3.5 ulp."""
    var a = fabs(x)
    var y = _erfinv_positive[dt == DType.float64](a)
    comptime if dt == DType.float32:
        var p = poly[-0.113773078, 0.232013971, 0.127553001, 0.0864444152, 0.0672949478, 0.0350059606, 0.0914402232](
            a * a
        )
        y = a.lt(0.5).select(fma(a, p, a), y)
    else:
        # denormals, which the sum above would round twice
        y = a.lt(1e-30).select(a * const[dt, w, 0.88622692545, 0.88622692545275801365](), y)
    y = a.lt(1).select(y, a.eq(1).select(infinity[dt, w](), nan[dt, w]()))
    return copysign(y, x)


@always_inline
def _sin_pi[dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """|sin(pi a)| for a >= 0; exactly 0 for integers."""
    var f = a - floor(a)
    f = f.gt(0.5).select(1 - f, f)
    var upper = f.gt(0.25)
    var r = upper.select(0.5 - f, f) * const[dt, w, 3.14159274101, 3.141592653589793116]()
    var z = r * r
    var zero = SIMD[dt, w](0)
    return upper.select(_cos_poly(r, zero, z), _sin_poly(r, zero, z))


@always_inline
def lgamma[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The logarithm of |gamma(x)|, infinite at 0, -1, -2, ...

    float32: 0.6 ulp; float64: 5 ulp for x > 0; near the zeros between negative integers the
    error is absolute.
    """
    comptime if dt == DType.float32 and not is_apple_gpu():
        return lgamma(x.cast[DType.float64]()).cast[dt]()
    else:
        var a = fabs(x)
        var large = a.ge(8)
        # below 8: gamma(a) = product * gamma(y) with y in [1, 2], or gamma(a + 1) / a below 1
        var y = a
        var product = SIMD[dt, w](1)
        comptime for _ in range(6):
            var step = y.ge(2)
            y = step.select(y - 1, y)
            product = step.select(product * y, product)
        var below = a.lt(1)
        var t = below.select(a, y - 1)
        # lgamma(1 + t) = t (t - 1) p(t - 1/2); for y just under 2, y - 2 is the exact t - 1
        var p = poly[
            0.483128950540980873,
            -0.145959895914306081,
            0.0629114010745816798,
            -0.0313084875010216993,
            0.0167970986289827616,
            -0.00942562244706107721,
            0.00544645795685019807,
            -0.00321207414896835294,
            0.0019229132430031888,
            -0.00116441262240415022,
            0.000711565025030427866,
            -0.00043802245287081511,
            0.000270895029628035594,
            -0.000168650162262251656,
            0.000107715453938866281,
            -0.0000676502080938093327,
            0.0000349889646402748152,
            -0.0000220628678711366062,
            0.0000283405473510582321,
            -0.0000180427627375008693,
        ](t - 0.5)
        var logarithm = log(large.select(a, below.select(a, product)))
        var r = fma(t * (t - 1), p, below.select(-logarithm, logarithm))
        # from 8 on: Stirling's series
        var inv = 1 / a
        var series = poly[
            0.0833333333333333287,
            -0.00277777777777767467,
            0.000793650793511728242,
            -0.000595238023429125389,
            0.000841732526802240486,
            -0.00191496591216290708,
            0.00620813676622979354,
            -0.0208558208374631168,
        ](inv * inv)
        r = large.select(fma(a - 0.5, logarithm - 1, fma(inv, series, 0.41893853320467274178)), r)
        # gamma(-a) gamma(a) = -pi / (a sin(pi a))
        var negative = x.lt(0)
        if negative.reduce_or():
            var s = _sin_pi(a)
            var left = (
                const[dt, w, 1.14472988585, 1.14472988584940017414]()
                - log(s)
                - below.select(SIMD[dt, w](0), log(a) + r)
                - below.select(fma(t * (t - 1), p, SIMD[dt, w](0)), SIMD[dt, w](0))
            )
            left = (floor(a).eq(a)).select(infinity[dt, w](), left)
            # sin(pi a) of a denormal a would round: the pole at 0 is symmetric there
            r = (negative & a.gt(1e-17)).select(left, r)
        r = isinf(x).select(a, r)
        return isnan(x).select(x, r)


@always_inline
def digamma[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """The derivative of lgamma: minus infinity at 0 (plus at -0), NaN at -1, -2, ...

    float32: 0.6 ulp; float64: 25 ulp for x > 0; near the zeros the error is absolute.
    """
    comptime if dt == DType.float32 and not is_apple_gpu():
        return digamma(x.cast[DType.float64]()).cast[dt]()
    else:
        var negative = x.lt(0)
        var y = negative.select(1 - x, x)
        # psi(y) = psi(y + 1) - 1 / y up to y >= 10
        var sum = SIMD[dt, w](0)
        for _ in range(10):
            var step = y.lt(10)
            sum = step.select(sum + 1 / y, sum)
            y = step.select(y + 1, y)
        var inv = 1 / y
        var z = inv * inv
        var p = poly[
            0.083333333333333333333,
            -0.0083333333333333333333,
            0.003968253968253968254,
            -0.0041666666666666666667,
            0.0075757575757575757576,
            -0.021092796092796092796,
            0.083333333333333333333,
        ](z)
        var r = log(y) - fma(z, p, 0.5 * inv) - sum
        if negative.reduce_or():
            # psi(x) = psi(1 - x) - pi / tan(pi x); tan has period 1 in x
            var f = x - trunc(x)
            f = f.lt(-0.5).select(f + 1, f)
            var a = fabs(f)
            var upper = a.gt(0.25)
            var angle = upper.select(0.5 - a, a) * const[dt, w, 3.14159274101, 3.141592653589793116]()
            var zero = SIMD[dt, w](0)
            var s = _sin_poly(angle, zero, angle * angle)
            var c = _cos_poly(angle, zero, angle * angle)
            var cot = upper.select(s, c) / upper.select(c, s)
            cot = copysign(cot, f) * const[dt, w, 3.14159274101, 3.141592653589793116]()
            r = negative.select(trunc(x).eq(x).select(nan[dt, w](), r - cot), r)
        return x.eq(0).select(copysign(infinity[dt, w](), -x), r)
