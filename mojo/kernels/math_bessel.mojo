"""Bessel and Airy functions of float64 values: float32 is computed in it.

The approximations are those of the Cephes library (Moshier, "Methods and programs for mathematical functions", 1989), so
that results agree with PyTorch's and SciPy's: Chebyshev series for the modified functions, rational functions of x and
1 / x for the others, with the phase of the oscillation taken from the sine and cosine of x itself. `single` asks for
float32's digits only and leaves out terms that do not reach it.
"""
from std.math import fma, sqrt

from kernels.math_core import copysign, exp, fabs, infinity, isnan, log, nan, poly
from kernels.math_trig import cos, sin

comptime F64 = DType.float64
comptime Lanes[w: SIMDLength] = SIMD[DType.float64, w]
comptime ROOT_2_PI = 0.79788456080286535588  # sqrt(2 / pi)
comptime ROOT_HALF = 0.70710678118654752440
comptime TWO_PI = 0.63661977236758134308  # 2 / pi


@always_inline
def chebyshev[w: SIMDLength, //, single: Bool, *cs: Float64](x: Lanes[w]) -> Lanes[w]:
    """The Chebyshev series in x / 2, the coefficients from the last to the first; Clenshaw's rule."""
    comptime N = len(cs)
    var b0 = Lanes[w](0)
    var b1 = Lanes[w](0)
    var b2 = Lanes[w](0)
    comptime for i in range(N):
        # the first coefficients are the smallest
        comptime if not single or abs(cs[i]) > 1e-10:
            b2 = b1
            b1 = b0
            b0 = fma(x, b1, cs[i] - b2)
    return 0.5 * (b0 - b2)


# ---------------------------------------------------------------- modified, first kind


@always_inline
def _i0e_small[single: Bool, w: SIMDLength](a: Lanes[w]) -> Lanes[w]:
    """exp(-a) I0(a) for 0 <= a <= 8."""
    return chebyshev[single, -4.4153416464793395e-18, 3.3307945188222384e-17, -2.431279846547955e-16, 1.715391285555133e-15, -1.1685332877993451e-14, 7.676185498604936e-14, -4.856446783111929e-13, 2.95505266312964e-12, -1.726826291441556e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-09, -1.300025009986248e-08, 6.046995022541919e-08, -2.670793853940612e-07, 1.1173875391201037e-06, -4.4167383584587505e-06, 1.6448448070728896e-05, -5.754195010082104e-05, 0.00018850288509584165, -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998, -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877, -0.3046826723431984, 0.6767952744094761](0.5 * a - 2)


@always_inline
def _i1e_small[single: Bool, w: SIMDLength](a: Lanes[w]) -> Lanes[w]:
    """exp(-a) I1(a) for 0 <= a <= 8."""
    return a * chebyshev[single, 2.7779141127610464e-18, -2.111421214358166e-17, 1.5536319577362005e-16, -1.1055969477353862e-15, 7.600684294735408e-15, -5.042185504727912e-14, 3.223793365945575e-13, -1.9839743977649436e-12, 1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10, -1.8872497517228294e-09, 9.381537386495773e-09, -4.445059128796328e-08, 2.0032947535521353e-07, -8.568720264695455e-07, 3.4702513081376785e-06, -1.3273163656039436e-05, 4.781565107550054e-05, -0.00016176081582589674, 0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888, -0.010564084894626197, 0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406, 0.25258718644363365](0.5 * a - 2)


def bessel_i[order: Int, single: Bool, scaled: Bool, w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """The modified Bessel function of the first kind of order 0 or 1, times exp(-|x|) if `scaled`."""
    var a = fabs(x)
    var small = a.le(8)
    var r = a  # NaN stays
    if small.reduce_or():
        comptime if order == 0:
            r = small.select(_i0e_small[single](a), r)
        else:
            r = small.select(_i1e_small[single](a), r)
    var large = a.gt(8)
    if large.reduce_or():
        var y = 32 / a - 2
        var c: Lanes[w]
        comptime if order == 0:
            c = chebyshev[single, -7.233180487874754e-18, -4.830504485944182e-18, 4.46562142029676e-17, 3.461222867697461e-17, -2.8276239805165836e-16, -3.425485619677219e-16, 1.7725601330565263e-15, 3.8116806693526224e-15, -9.554846698828307e-15, -4.150569347287222e-14, 1.54008621752141e-14, 3.8527783827421426e-13, 7.180124451383666e-13, -1.7941785315068062e-12, -1.3215811840447713e-11, -3.1499165279632416e-11, 1.1889147107846439e-11, 4.94060238822497e-10, 3.3962320257083865e-09, 2.266668990498178e-08, 2.0489185894690638e-07, 2.8913705208347567e-06, 6.889758346916825e-05, 0.0033691164782556943, 0.8044904110141088](y)
        else:
            c = chebyshev[single, 7.517296310842105e-18, 4.414348323071708e-18, -4.6503053684893586e-17, -3.209525921993424e-17, 2.96262899764595e-16, 3.3082023109209285e-16, -1.8803547755107825e-15, -3.8144030724370075e-15, 1.0420276984128802e-14, 4.272440016711951e-14, -2.1015418427726643e-14, -4.0835511110921974e-13, -7.198551776245908e-13, 2.0356285441470896e-12, 1.4125807436613782e-11, 3.2526035830154884e-11, -1.8974958123505413e-11, -5.589743462196584e-10, -3.835380385964237e-09, -2.6314688468895196e-08, -2.512236237870209e-07, -3.882564808877691e-06, -0.00011058893876262371, -0.009761097491361469, 0.7785762350182801](y)
        r = large.select(c / sqrt(a), r)
    comptime if not scaled:
        r = r * exp(a)
    comptime if order == 1:
        r = copysign(r, x)
    return r


# ---------------------------------------------------------------- modified, second kind


def bessel_k[order: Int, single: Bool, scaled: Bool, w: SIMDLength](x: Lanes[w]) -> Lanes[w]:
    """The modified Bessel function of the second kind of order 0 or 1, times exp(x) if `scaled`."""
    var small = x.le(2)
    var r = x
    if small.reduce_or():
        var z = fma(x, x, -2.0)
        var y: Lanes[w]
        comptime if order == 0:
            y = chebyshev[single, 1.374465435613523e-16, 4.25981614279661e-14, 1.0349695257633842e-11, 1.904516377220209e-09, 2.5347910790261494e-07, 2.286212103119452e-05, 0.001264615411446926, 0.0359799365153615, 0.3442898999246285, -0.5353273932339028](z) - log(0.5 * x) * exp(x) * _i0e_small[single](x)
        else:
            y = (
                chebyshev[single, -7.023863479386288e-18, -2.427449850519366e-15, -6.666901694199329e-13, -1.4114883926335278e-10, -2.213387630734726e-08, -2.4334061415659684e-06, -0.0001730288957513052, -0.006975723859639864, -0.12261118082265715, -0.3531559607765449, 1.5253002273389478](z) / x
                + log(0.5 * x) * exp(x) * _i1e_small[single](x)
            )
        comptime if scaled:
            y = y * exp(x)
        r = small.select(y, r)
    var large = x.gt(2)
    if large.reduce_or():
        var z = 8 / x - 2
        var y: Lanes[w]
        comptime if order == 0:
            y = chebyshev[single, 5.300433772686263e-18, -1.6475804301524212e-17, 5.2103915050390274e-17, -1.678231096805412e-16, 5.512055978524319e-16, -1.848593377343779e-15, 6.3400764774050706e-15, -2.2275133269916698e-14, 8.032890775363575e-14, -2.9800969231727303e-13, 1.140340588208475e-12, -4.514597883373944e-12, 1.8559491149547177e-11, -7.957489244477107e-11, 3.577397281400301e-10, -1.69753450938906e-09, 8.574034017414225e-09, -4.660489897687948e-08, 2.766813639445015e-07, -1.8317555227191195e-06, 1.39498137188765e-05, -0.00012849549581627802, 0.0015698838857300533, -0.0314481013119645, 2.4403030820659555](z)
        else:
            y = chebyshev[single, -5.756744483665017e-18, 1.7940508731475592e-17, -5.689462558442859e-17, 1.838093544366639e-16, -6.057047248373319e-16, 2.038703165624334e-15, -7.019837090418314e-15, 2.4771544244813043e-14, -8.976705182324994e-14, 3.3484196660784293e-13, -1.2891739609510289e-12, 5.13963967348173e-12, -2.1299678384275683e-11, 9.218315187605006e-11, -4.1903547593418965e-10, 2.015049755197033e-09, -1.0345762465678097e-08, 5.7410841254500495e-08, -3.5019606030878126e-07, 2.406484947837217e-06, -1.936197974166083e-05, 0.00019521551847135162, -0.002857816859622779, 0.10392373657681724, 2.7206261904844427](z)
        y = y / sqrt(x)
        comptime if not scaled:
            y = y * exp(-x)
        r = large.select(y, r)
    r = x.lt(0).select(nan[F64, w](), r)
    return x.eq(0).select(infinity[F64, w](), r)


# ---------------------------------------------------------------- first and second kind


@always_inline
def _wave[order: Int, w: SIMDLength](x: Lanes[w]) -> Tuple[Lanes[w], Lanes[w]]:
    """For x > 5 the (cosine, sine) parts of the asymptotic form, whose phase is x - pi / 4 or x - 3 pi / 4."""
    var y = 5 / x
    var z = y * y
    var p: Lanes[w]
    var q: Lanes[w]
    comptime if order == 0:
        p = poly[1.0, 5.303240382353949, 8.74716500199817, 5.447250030587687, 1.239533716464143, 0.08283523921074408, 0.0007969367292973471](z) / poly[1.0, 5.306052882353947, 8.761908832370695, 5.470977403304171, 1.2535274390105895, 0.08562884743544745, 0.0009244088105588637](z)
        q = poly[-6.050143506007285, -51.41053267665993, -147.07750515495118, -177.68116798048806, -93.20601521237683, -19.553954425773597, -1.2825271867050931, -0.011366383889846916](z) / poly[242.0057402402914, 2062.0933166032783, 5930.727011873169, 7240.467741956525, 3882.4018360540163, 856.4300259769806, 64.3178256118178, 1.0](z)
    else:
        p = poly[1.0, 5.214515986823615, 8.424045901417724, 5.112079511468076, 1.1271960812968493, 0.07313970569409176, 0.0007621256162081731](z) / poly[1.0, 5.209828486823619, 8.399855543276042, 5.073863861286015, 1.105142326340617, 0.06884559087544954, 0.0005713231280725487](z)
        q = poly[25.207020585802372, 211.68875710057213, 597.4896124006136, 710.8563049989261, 366.7796093601508, 75.82382841325453, 4.982138729512334, 0.05108625947501766](z) / poly[336.0936078106983, 2826.1927851763908, 7997.041604473507, 9562.318924047562, 4986.410583376536, 1056.4488603826283, 74.23732770356752, 1.0](z)
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
        var r = poly[9708622510473064.0, -249248344360967.72, 1956174919465.5657, -4794432209.782018](z) / poly[1.7108629408104315e+18, 3.1812195594320496e+16, 310518229857422.56, 2112775201154.892, 11185553704.535683, 48440965.83399621, 173785.4016763747, 499.563147152651, 1.0](z)
        return (z - 5.78318596294678452118) * (z - 30.4712623436620863991) * r
    else:
        var r = poly[3682957328638529.0, -72749424522181.83, 452228297998.19403, -899971225.7055594](z) / poly[5.322786203326801e+18, 8.952223361846274e+16, 784369607876235.9, 4749141220799.914, 22151159547.97925, 83514679.14319493, 256987.25675774884, 620.8364781180543, 1.0](z)
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
            y = poly[-1.8495080043698668e+16, 4.4273326857256984e+16, -3466283033847297.0, 87590639439536.7, -982136065717.9115, 5435264770.518765, -14663929.59039716, 15592.436785523574](z) / poly[2.5059625617265306e+17, 3171577528429750.5, 20297961275010.555, 86400248710.3935, 268919633.39381415, 626107.330137135, 1041.2835366425984, 1.0](z)
            y = fma(TWO_PI * log(x), _j_small[0](x), y)
        else:
            y = x * poly[-7.788771962659501e+17, 2.024394757135949e+17, -8127702555013251.0, 114509511541823.73, -647355876379.1603, 1263204747.9017804](z) / poly[3.9727060811656064e+18, 6.871410873553005e+16, 620557727146953.8, 3882312774962.3857, 18760131610.870617, 73481194.44597217, 235564.09294306856, 594.3015923461282, 1.0](z)
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
        var q = poly[1.0, 14.026469116338967, 70.53609068404442, 159.75639135016442, 168.08922493463058, 76.27960536152345, 12.007595273964581, 0.346538101525629](z) / poly[1.0, 14.095913560783403, 71.47784008255756, 164.2346928715297, 177.31808814540045, 84.51389701414746, 14.75625625848472, 0.5675945326387702](z)
        r = large.select((0.5 * SCALE) * q * exp(-t) / sqrt(root), r)
        r = x.gt(103.892).select(Lanes[w](0), r)
    var negative = x.lt(-2.09)
    if negative.reduce_or():
        var zz = z * z
        var f = 1 + zz * poly[-1.6778769848911465e-08, -2.776491081552329e-06, -0.0001592764962392621, -0.004062659235948854, -0.04919001326095003, -0.2797799815451191, -0.6931580360369335, -0.6264565444319123, -0.1316963234183318](zz) / poly[4.5185009297058035e-07, 7.547203482874142e-05, 0.004402916416152112, 0.11568717379518804, 1.4752914677166642, 9.187074029072596, 26.736704094149957, 32.682503279522464, 13.356042070655324, 1.0](zz)
        var g = z * poly[3.415517847659236e-10, 8.117892395543892e-08, 6.98793669997261e-06, 0.000282851600836737, 0.005858041130483885, 0.06338889196289255, 0.35146565610554764, 0.9391692298166502, 1.0657989759959559, 0.39110302961568827, 0.01973399320916857](zz) / poly[4.9183457006293e-09, 1.1716673321441352e-06, 0.00010125908511650914, 0.004126565238242226, 0.08645808263523921, 0.9542936116189619, 5.476860694229755, 15.564662893286462, 19.835292871831214, 9.30892908077442, 1.0](zz)
        # the sine and cosine of t + pi / 4
        var s = sin(t)
        var c = cos(t)
        var y = ROOT_HALF * ((s + c) * f - (c - s) * g)
        r = negative.select(SCALE / sqrt(root) * y, r)
    return a.eq(infinity[F64, w]()).select(nan[F64, w](), r)
