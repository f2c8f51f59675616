"""Bessel functions of the first and second kind and Airy's function, of float64 values: float32 is computed in it.

By the rational functions of x and 1 / x of the Cephes library (Moshier, "Methods and programs for mathematical
functions", 1989), with the phase of the oscillation taken from the sine and cosine of x itself.
"""
from std.math import fma, sqrt

from kernels.math_bessel import F64, Lanes
from kernels.math_core import exp, fabs, infinity, log, nan, poly
from kernels.math_trig import cos, sin

comptime ROOT_2_PI = 0.79788456080286535588  # sqrt(2 / pi)
comptime ROOT_HALF = 0.70710678118654752440
comptime TWO_PI = 0.63661977236758134308  # 2 / pi


# ---------------------------------------------------------------- first and second kind


@always_inline
def _wave[order: Int, w: SIMDLength](x: Lanes[w]) -> Tuple[Lanes[w], Lanes[w]]:
    """For x > 5 the (cosine, sine) parts of the asymptotic form, whose phase is x - pi / 4 or x - 3 pi / 4."""
    var y = 5 / x
    var z = y * y
    var p: Lanes[w]
    var q: Lanes[w]
    comptime if order == 0:
        p = poly[
            1.0,
            5.303240382353949,
            8.74716500199817,
            5.447250030587687,
            1.239533716464143,
            0.08283523921074408,
            0.0007969367292973471,
        ](z) / poly[
            1.0,
            5.306052882353947,
            8.761908832370695,
            5.470977403304171,
            1.2535274390105895,
            0.08562884743544745,
            0.0009244088105588637,
        ](
            z
        )
        q = poly[
            -6.050143506007285,
            -51.41053267665993,
            -147.07750515495118,
            -177.68116798048806,
            -93.20601521237683,
            -19.553954425773597,
            -1.2825271867050931,
            -0.011366383889846916,
        ](z) / poly[
            242.0057402402914,
            2062.0933166032783,
            5930.727011873169,
            7240.467741956525,
            3882.4018360540163,
            856.4300259769806,
            64.3178256118178,
            1.0,
        ](
            z
        )
    else:
        p = poly[
            1.0,
            5.214515986823615,
            8.424045901417724,
            5.112079511468076,
            1.1271960812968493,
            0.07313970569409176,
            0.0007621256162081731,
        ](z) / poly[
            1.0,
            5.209828486823619,
            8.399855543276042,
            5.073863861286015,
            1.105142326340617,
            0.06884559087544954,
            0.0005713231280725487,
        ](
            z
        )
        q = poly[
            25.207020585802372,
            211.68875710057213,
            597.4896124006136,
            710.8563049989261,
            366.7796093601508,
            75.82382841325453,
            4.982138729512334,
            0.05108625947501766,
        ](z) / poly[
            336.0936078106983,
            2826.1927851763908,
            7997.041604473507,
            9562.318924047562,
            4986.410583376536,
            1056.4488603826283,
            74.23732770356752,
            1.0,
        ](
            z
        )
    return p, q * y


@always_inline
def _phase[order: Int, w: SIMDLength](x: Lanes[w]) -> Tuple[Lanes[w], Lanes[w]]:
    """The (cos, sin) of x - pi / 4 (order 0) or x - 3 pi / 4."""
    var s = sin(x)
    var c = cos(x)
    comptime if order == 0:
        return (c + s) * ROOT_HALF, (s - c) * ROOT_HALF
    else:
        return (s - c) * ROOT_HALF, (s + c) * -ROOT_HALF


@always_inline
def _j_small[order: Int, w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """J0 or J1 for 0 <= x <= 5."""
    var z = x * x
    comptime if order == 0:
        var r = poly[9708622510473064.0, -249248344360967.72, 1956174919465.5657, -4794432209.782018](z) / poly[
            1.7108629408104315e18,
            3.1812195594320496e16,
            310518229857422.56,
            2112775201154.892,
            11185553704.535683,
            48440965.83399621,
            173785.4016763747,
            499.563147152651,
            1.0,
        ](z)
        return (z - 5.78318596294678452118) * (z - 30.4712623436620863991) * r
    else:
        var r = poly[3682957328638529.0, -72749424522181.83, 452228297998.19403, -899971225.7055594](z) / poly[
            5.322786203326801e18,
            8.952223361846274e16,
            784369607876235.9,
            4749141220799.914,
            22151159547.97925,
            83514679.14319493,
            256987.25675774884,
            620.8364781180543,
            1.0,
        ](z)
        return r * x * (z - 14.6819706421238932572) * (z - 49.2184563216946036703)


def bessel_j[order: Int, w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """The Bessel function of the first kind of order 0 or 1."""
    var a = fabs(x)
    var small = a.le(5)
    var r = a
    if small.reduce_or():
        r = small.select(_j_small[order](a), r)
    var large = a.gt(5)
    if large.reduce_or():
        var pq = _wave[order](a)
        var cs = _phase[order](a)
        r = large.select((pq[0] * cs[0] - pq[1] * cs[1]) * ROOT_2_PI / sqrt(a), r)
    comptime if order == 1:
        r = x.lt(0).select(-r, r)
    return r


def bessel_y[order: Int, w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """The Bessel function of the second kind of order 0 or 1: NaN below 0, minus infinity at 0."""
    var small = x.le(5)
    var r = x
    if small.reduce_or():
        var z = x * x
        var y: Lanes[w]
        comptime if order == 0:
            y = poly[
                -1.8495080043698668e16,
                4.4273326857256984e16,
                -3466283033847297.0,
                87590639439536.7,
                -982136065717.9115,
                5435264770.518765,
                -14663929.59039716,
                15592.436785523574,
            ](z) / poly[
                2.5059625617265306e17,
                3171577528429750.5,
                20297961275010.555,
                86400248710.3935,
                268919633.39381415,
                626107.330137135,
                1041.2835366425984,
                1.0,
            ](
                z
            )
            y = fma(TWO_PI * log(x), _j_small[0](x), y)
        else:
            y = (
                x
                * poly[
                    -7.788771962659501e17,
                    2.024394757135949e17,
                    -8127702555013251.0,
                    114509511541823.73,
                    -647355876379.1603,
                    1263204747.9017804,
                ](z)
                / poly[
                    3.9727060811656064e18,
                    6.871410873553005e16,
                    620557727146953.8,
                    3882312774962.3857,
                    18760131610.870617,
                    73481194.44597217,
                    235564.09294306856,
                    594.3015923461282,
                    1.0,
                ](z)
            )
            y = fma(fma(_j_small[1](x), log(x), -1 / x), TWO_PI, y)
        r = small.select(y, r)
    var large = x.gt(5)
    if large.reduce_or():
        var pq = _wave[order](x)
        var cs = _phase[order](x)
        r = large.select((pq[0] * cs[1] + pq[1] * cs[0]) * ROOT_2_PI / sqrt(x), r)
    r = x.lt(0).select(nan[F64, w](), r)
    return x.eq(0).select(-infinity[F64, w](), r)


@always_inline
def spherical_j0[w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """sin(x) / x; 1 at 0, 0 at infinity."""
    var r = sin(x) / x
    r = x.eq(0).select(Lanes[w](1), r)
    return fabs(x).eq(infinity[F64, w]()).select(Lanes[w](0), r)


# ---------------------------------------------------------------- Airy


def airy[w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """Airy's function Ai; NaN at the infinities, as PyTorch has it."""
    var a = fabs(x)
    var r = x
    var middle = a.le(2.09)
    if middle.reduce_or():
        # the power series: Ai(0) f + Ai'(0) g
        var z = x * x * x
        var f = Lanes[w](1)
        var g = x
        var m = f
        var n = g
        comptime for k in range(1, 15):
            m = m * z * (1.0 / Float64((3 * k - 1) * 3 * k))
            n = n * z * (1.0 / Float64(3 * k * (3 * k + 1)))
            f = f + m
            g = g + n
        r = middle.select(0.355028053887817239260 * f - 0.258819403792806798405 * g, r)
    var root = sqrt(a)
    var t = (2.0 / 3.0) * a * root
    var z = 1 / t
    comptime SCALE = 0.564189583547756286948
    var large = x.gt(2.09)
    if large.reduce_or():
        var q = poly[
            1.0,
            14.026469116338967,
            70.53609068404442,
            159.75639135016442,
            168.08922493463058,
            76.27960536152345,
            12.007595273964581,
            0.346538101525629,
        ](z) / poly[
            1.0,
            14.095913560783403,
            71.47784008255756,
            164.2346928715297,
            177.31808814540045,
            84.51389701414746,
            14.75625625848472,
            0.5675945326387702,
        ](
            z
        )
        r = large.select((0.5 * SCALE) * q * exp(-t) / sqrt(root), r)
        r = x.gt(103.892).select(Lanes[w](0), r)
    var negative = x.lt(-2.09)
    if negative.reduce_or():
        var zz = z * z
        var f = 1 + zz * poly[
            -1.6778769848911465e-08,
            -2.776491081552329e-06,
            -0.0001592764962392621,
            -0.004062659235948854,
            -0.04919001326095003,
            -0.2797799815451191,
            -0.6931580360369335,
            -0.6264565444319123,
            -0.1316963234183318,
        ](zz) / poly[
            4.5185009297058035e-07,
            7.547203482874142e-05,
            0.004402916416152112,
            0.11568717379518804,
            1.4752914677166642,
            9.187074029072596,
            26.736704094149957,
            32.682503279522464,
            13.356042070655324,
            1.0,
        ](
            zz
        )
        var g = (
            z
            * poly[
                3.415517847659236e-10,
                8.117892395543892e-08,
                6.98793669997261e-06,
                0.000282851600836737,
                0.005858041130483885,
                0.06338889196289255,
                0.35146565610554764,
                0.9391692298166502,
                1.0657989759959559,
                0.39110302961568827,
                0.01973399320916857,
            ](zz)
            / poly[
                4.9183457006293e-09,
                1.1716673321441352e-06,
                0.00010125908511650914,
                0.004126565238242226,
                0.08645808263523921,
                0.9542936116189619,
                5.476860694229755,
                15.564662893286462,
                19.835292871831214,
                9.30892908077442,
                1.0,
            ](zz)
        )
        # the sine and cosine of t + pi / 4
        var s = sin(t)
        var c = cos(t)
        var y = ROOT_HALF * ((s + c) * f - (c - s) * g)
        r = negative.select(SCALE / sqrt(root) * y, r)
    return a.eq(infinity[F64, w]()).select(nan[F64, w](), r)
