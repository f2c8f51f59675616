"""Pointwise functions around the error function, the normal distribution and entropy.

Kernel slots: (self); logit (self, eps); special_xlog1py (self, other). Unary ones are computed in float64.
"""

from std.math import fma, sqrt
from std.memory import stack_allocation
from kernels import math
from kernels.double import Function, SINGLES, double_table
from kernels.functor import Binary, FLOAT, FLOATS, MAX_NUMBERS, TablePtr, Unary, binary_table, number, unary_table
from kernels.lanes import clip
from kernels.math_core import poly
from kernels.math_special import _erfc_positive, _sin_pi
from kernels.pointwise import pointwise, pointwise_with
from kernels.strict import pointwise_one
from tensor.call import Call, register
from tensor.memory import Numbers
from tensor.py import Obj

comptime F64 = DType.float64
comptime ROOT_HALF = 0.70710678118654752440


def erfcx[single: Bool, w: SIMDLength](x: SIMD[F64, w]) -> SIMD[F64, w]:
    """The product exp(x * x) * erfc(x), which does not underflow; infinite far below 0. float64: 6 ulp."""
    var a = math.fabs(x)
    var ce = _erfc_positive[single](a)
    var r = ce[0] / ce[1]
    var large = a.gt(26)
    if large.reduce_or():
        # the asymptotic series, in h = -1 / (2 a * a)
        var b = 1 / a
        var series = poly[1.0, 1.0, 3.0, 15.0, 105.0, 945.0, 10395.0, 135135.0](-0.5 * b * b)
        r = large.select(0.56418958354775628695 * b * series, r)
    if x.lt(0).reduce_or():
        # what x * x loses is a relative error of the result
        var h = x * x
        var e = math.exp(h)
        e = math.isinf(e).select(e, fma(e, fma(x, x, -h), e))
        r = x.lt(0).select(fma(e, 2.0, -r), r)
    return math.isnan(x).select(x, r)


def ndtri[w: SIMDLength](p: SIMD[F64, w]) -> SIMD[F64, w]:
    """The inverse of the normal distribution function, by Cephes' rational functions: infinite at 0 and 1, NaN outside.
    """
    comptime TAIL = 0.13533528323661269189  # exp(-2)
    var upper = p.gt(1 - TAIL)
    var y = upper.select(1 - p, p)
    var d = y - 0.5
    var z = d * d
    var r = (
        fma(
            d,
            z
            * poly[-1.2391658386738125, 13.931260938727968, -56.67628574690703, 98.00107541859997, -59.96335010141079](
                z
            )
            / poly[
                -1.1833162112133,
                15.90562251262117,
                -82.03722561683334,
                200.26021238006066,
                -225.46268785411937,
                86.36024213908905,
                4.676279128988815,
                1.9544885833814176,
                1.0,
            ](z),
            d,
        )
        * 2.50662827463100050242
    )
    var tail = y.le(TAIL)
    if tail.reduce_or():
        var x = sqrt(-2 * math.log(y))
        var b = 1 / x
        var near = (
            b
            * poly[
                -0.0008574567851546854,
                -0.03504246268278482,
                -0.1402560791713545,
                2.1866330685079025,
                14.684956192885803,
                44.08050738932008,
                57.16281922464213,
                31.525109459989388,
                4.0554489230596245,
            ](b)
            / poly[
                -0.0009332594808954574,
                -0.03808064076915783,
                -0.14218292285478779,
                2.504649462083094,
                15.04253856929075,
                41.3172038254672,
                45.39076351288792,
                15.779988325646675,
                1.0,
            ](b)
        )
        var far = (
            b
            * poly[
                6.239745391849833e-09,
                2.6580697468673755e-06,
                0.00030158155350823543,
                0.012371663481782003,
                0.20148538954917908,
                1.3330346081580755,
                3.9388102529247444,
                6.915228890689842,
                3.2377489177694603,
            ](b)
            / poly[
                6.790194080099813e-09,
                2.8924786474538068e-06,
                0.00032801446468212774,
                0.013420400608854318,
                0.21623699359449663,
                1.3770209948908132,
                3.6798356385616087,
                6.02427039364742,
                1.0,
            ](b)
        )
        var t = (x - math.log(x) * b) - x.lt(8).select(near, far)
        r = tail.select(upper.select(t, -t), r)
    r = p.eq(0).select(-math.infinity[F64, w](), p.eq(1).select(math.infinity[F64, w](), r))
    r = (p.lt(0) | p.gt(1)).select(math.nan[F64, w](), r)
    return math.isnan(p).select(p, r)


struct Erfcx(Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        return erfcx[single](x)


struct Ndtr(Function):
    """The normal distribution function."""

    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        comptime if not single:
            return 0.5 * math.erfc(x * -ROOT_HALF)
        else:
            var lower = 0.5 * _erfc_positive[True](math.fabs(x) * ROOT_HALF)[0]
            return math.isnan(x).select(x, x.gt(0).select(1 - lower, lower))


struct LogNdtr(Function):
    """Its logarithm, in the lower tail by `erfcx`."""

    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        var t = x * -ROOT_HALF
        var low = x.lt(-1)
        var r = x
        if low.reduce_or():
            r = low.select(math.log(0.5 * erfcx[single](t)) - 0.5 * x * x, r)
        var high = x.ge(-1)
        if high.reduce_or():
            r = high.select(math.log1p(-0.5 * math.erfc(-t)), r)
        return r


struct Ndtri(Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        return ndtri(x)


struct Entr(Function):
    """The entropy -x log(x): 0 at 0, minus infinity below."""

    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        var r = -x * math.log(x)
        r = x.eq(0).select(SIMD[F64, w](0), r)
        return x.lt(0).select(-math.infinity[F64, w](), r)


struct Sinc(Function):
    """The quotient sin(pi x) / (pi x), 1 at 0."""

    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[F64, w], params: Numbers) -> SIMD[F64, w]:
        var a = math.fabs(x)
        var whole = math.floor(a)
        var odd = (whole - 2 * math.floor(0.5 * whole)).ne(0)
        var s = _sin_pi(a) / (a * 3.141592653589793116)
        return a.eq(0).select(SIMD[F64, w](1), odd.select(-s, s))


struct Logit(Unary):
    """The log(x / (1 - x)), x clamped to [params 1, params 2] if params 0 is set."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var y = x
        if params[] != 0:
            y = clip(y, number[dt, w](params, 1), number[dt, w](params, 2))
        var rest = 1 - y
        var u = y / rest
        # about 1/2 the quotient is about 1, and what it loses counts: 2 y - 1 is exact there, and so is u - 1
        var middle = y.gt(0.34) & y.lt(0.66)
        var lost = (y + y - 1) / rest - (u - 1)
        return math.log(u) + middle.select(lost, SIMD[dt, w](0))


struct Xlog1py(Binary):
    """The product a * log(1 + b), and 0 for a = 0 unless b is NaN."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var r = a.eq(0).select(SIMD[dt, w](0), a * math.log1p(b))
        return math.isnan(b).select(b, r)


def logit(mut call: Call) raises -> Obj:
    """Slots: (self, eps), eps None or negative for no limits."""
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=0] = 0
    if not call.is_none(1):
        var eps = call.float(1)
        params[unsafe_offset=0] = 1 if eps >= 0 else 0
        params[unsafe_offset=1] = eps
        params[unsafe_offset=2] = 1 - eps
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), params.as_unsafe_any_origin())


@export("dumbtorch_register_special_error")
def register_special_error() abi("C") -> None:
    register[pointwise]("special_erfcx", double_table[Erfcx, SINGLES]("erfcx_cpu"))
    register[pointwise]("special_ndtr", double_table[Ndtr, FLOATS]("erf_vml_cpu"))
    register[pointwise]("special_log_ndtr", double_table[LogNdtr, SINGLES]("log_ndtr_cpu"))
    register[pointwise]("special_ndtri", double_table[Ndtri, SINGLES]("ndtri_cpu"))
    register[pointwise]("special_entr", double_table[Entr, FLOATS]("entr_cpu"))
    register[pointwise]("sinc", double_table[Sinc, FLOATS]("sinc_cpu"))
    register[logit]("logit", unary_table[Logit, FLOATS, True](FLOAT, "logit_cpu"))
    register[pointwise_one]("special_xlog1py", binary_table[Xlog1py, FLOATS, True](FLOAT, "xlog1py_cpu"))
