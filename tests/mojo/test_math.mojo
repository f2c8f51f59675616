"""The math functions of the kernels: special values, signs of zero, spot values, both dtypes, several widths."""
from std.testing import TestSuite, assert_equal, assert_false, assert_true

from kernels.math import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    ceil,
    copysign,
    cos,
    cosh,
    digamma,
    erf,
    erfc,
    erfinv,
    exp,
    exp2,
    expm1,
    fabs,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    frac,
    hypot,
    infinity,
    isfinite,
    isinf,
    isnan,
    lgamma,
    log,
    log10,
    log1p,
    log2,
    logsigmoid,
    maximum,
    minimum,
    nan,
    nextafter,
    pow,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    signbit,
    sin,
    sinh,
    softplus,
    sqrt,
    tan,
    tanh,
    trunc,
)

comptime F32 = DType.float32
comptime F64 = DType.float64


def near[dt: DType](got: Scalar[dt], want: Scalar[dt], what: String, ulp: Int = 4) raises:
    """Equal to a few units in the last place, and with the same sign."""
    comptime eps = Float64(1.2e-7) if dt == F32 else Float64(2.3e-16)
    assert_true(
        got == want or fabs(got - want) <= fabs(want) * eps.cast[dt]() * Scalar[dt](ulp),
        String(what, ": ", got, " instead of ", want),
    )
    assert_equal(signbit(got), signbit(want), what)


def same[dt: DType](got: Scalar[dt], want: Scalar[dt], what: String) raises:
    """The same number, or NaN for NaN; -0 is not 0."""
    assert_true(Bool(isnan(got)) if isnan(want) else got == want, String(what, ": ", got, " instead of ", want))
    if not isnan(want):
        assert_equal(signbit(got), signbit(want), String(what, ": sign"))


def exponentials[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(exp(none), none, "exp(nan)")
    same(exp(inf), inf, "exp(inf)")
    same(exp(-inf), S(0), "exp(-inf)")
    same(exp(S(-0.0)), S(1), "exp(-0)")
    same(exp(S(1000)), inf, "exp(1000)")
    same(exp(S(-1000)), S(0), "exp(-1000)")
    near(exp(S(1)), S(2.718281828459045), "exp(1)")
    same(exp2(S(10)), S(1024), "exp2(10)")
    same(exp2(none), none, "exp2(nan)")
    same(exp2(inf), inf, "exp2(inf)")
    same(exp2(-inf), S(0), "exp2(-inf)")
    same(expm1(S(-0.0)), S(-0.0), "expm1(-0)")
    same(expm1(-inf), S(-1), "expm1(-inf)")
    same(expm1(inf), inf, "expm1(inf)")
    same(expm1(none), none, "expm1(nan)")
    near(expm1(S(1e-12)), S(1.0000000000005e-12), "expm1(1e-12)")


def logarithms[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(log(S(1)), S(0), "log(1)")
    same(log(S(0)), -inf, "log(0)")
    same(log(S(-0.0)), -inf, "log(-0)")
    same(log(S(-1)), none, "log(-1)")
    same(log(-inf), none, "log(-inf)")
    same(log(inf), inf, "log(inf)")
    same(log(none), none, "log(nan)")
    near(log(S(10)), S(2.302585092994046), "log(10)")
    same(log2(S(0.125)), S(-3), "log2(1/8)")
    same(log2(S(1)), S(0), "log2(1)")
    same(log10(S(0)), -inf, "log10(0)")
    near(log10(S(1000)), S(3), "log10(1000)")
    same(log1p(S(-0.0)), S(-0.0), "log1p(-0)")
    same(log1p(S(-1)), -inf, "log1p(-1)")
    same(log1p(S(-2)), none, "log1p(-2)")
    same(log1p(inf), inf, "log1p(inf)")
    near(log1p(S(1e-20)), S(1e-20), "log1p(1e-20)")
    near(log1p(S(1e30)), S(69.07755278982137), "log1p(1e30)")


def trigonometry[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(sin(S(-0.0)), S(-0.0), "sin(-0)")
    same(sin(inf), none, "sin(inf)")
    same(cos(-inf), none, "cos(-inf)")
    same(tan(none), none, "tan(nan)")
    same(cos(S(0)), S(1), "cos(0)")
    near(sin(S(1)), S(0.8414709848078965), "sin(1)")
    near(cos(S(1)), S(0.5403023058681398), "cos(1)")
    near(tan(S(1)), S(1.5574077246549023), "tan(1)")
    # 2**100: nothing but Payne and Hanek's method gets these
    near(sin(S(1.2676506002282294e30)), S(-0.8721836054182673), "sin(2**100)")
    near(cos(S(1.2676506002282294e30)), S(0.48917865697472145), "cos(2**100)")
    same(asin(S(2)), none, "asin(2)")
    same(asin(S(-0.0)), S(-0.0), "asin(-0)")
    near(asin(S(-1)), S(-1.5707963267948966), "asin(-1)")
    same(acos(S(1)), S(0), "acos(1)")
    near(acos(S(-1)), S(3.141592653589793), "acos(-1)")
    same(acos(S(1.5)), none, "acos(1.5)")
    near(atan(inf), S(1.5707963267948966), "atan(inf)")
    same(atan(S(-0.0)), S(-0.0), "atan(-0)")
    near(atan2(S(0), S(-1)), S(3.141592653589793), "atan2(0, -1)")
    near(atan2(S(-0.0), S(-0.0)), S(-3.141592653589793), "atan2(-0, -0)")
    same(atan2(S(-0.0), S(0)), S(-0.0), "atan2(-0, 0)")
    near(atan2(inf, -inf), S(2.356194490192345), "atan2(inf, -inf)")
    near(atan2(S(1), S(0)), S(1.5707963267948966), "atan2(1, 0)")
    same(atan2(none, S(1)), none, "atan2(nan, 1)")


def hyperbolic[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(tanh(none), none, "tanh(nan)")
    same(tanh(-inf), S(-1), "tanh(-inf)")
    same(tanh(S(-0.0)), S(-0.0), "tanh(-0)")
    near(tanh(S(0.5)), S(0.46211715726000976), "tanh(0.5)")
    near(tanh(S(1)), S(0.7615941559557649), "tanh(1)")
    same(sinh(-inf), -inf, "sinh(-inf)")
    near(sinh(S(2)), S(3.626860407847019), "sinh(2)")
    same(cosh(-inf), inf, "cosh(-inf)")
    near(cosh(S(2)), S(3.7621956910836314), "cosh(2)")
    same(asinh(-inf), -inf, "asinh(-inf)")
    near(asinh(S(1e10)), S(23.718998110500402), "asinh(1e10)")
    same(acosh(S(1)), S(0), "acosh(1)")
    same(acosh(S(0.5)), none, "acosh(0.5)")
    same(acosh(-inf), none, "acosh(-inf)")
    near(acosh(S(2)), S(1.3169578969248166), "acosh(2)")
    same(atanh(S(-1)), -inf, "atanh(-1)")
    same(atanh(S(2)), none, "atanh(2)")
    near(atanh(S(0.5)), S(0.5493061443340549), "atanh(0.5)")
    same(sigmoid(inf), S(1), "sigmoid(inf)")
    same(sigmoid(-inf), S(0), "sigmoid(-inf)")
    same(sigmoid(none), none, "sigmoid(nan)")
    same(sigmoid(S(0)), S(0.5), "sigmoid(0)")
    near(sigmoid(S(-80)), S(1.8048513878454153e-35), "sigmoid(-80)")
    near(logsigmoid(S(-1000)), S(-1000), "logsigmoid(-1000)")
    same(logsigmoid(none), none, "logsigmoid(nan)")
    near(softplus(S(0)), S(0.6931471805599453), "softplus(0)")
    same(softplus(-inf), S(0), "softplus(-inf)")


def special[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(erf(none), none, "erf(nan)")
    same(erf(-inf), S(-1), "erf(-inf)")
    same(erf(S(-0.0)), S(-0.0), "erf(-0)")
    near(erf(S(0.5)), S(0.5204998778130465), "erf(0.5)")
    near(erf(S(1.5)), S(0.9661051464753108), "erf(1.5)")
    same(erfc(inf), S(0), "erfc(inf)")
    same(erfc(-inf), S(2), "erfc(-inf)")
    near(erfc(S(5)), S(1.5374597944280349e-12), "erfc(5)")
    same(erfinv(S(1)), inf, "erfinv(1)")
    same(erfinv(S(-1)), -inf, "erfinv(-1)")
    same(erfinv(S(1.5)), none, "erfinv(1.5)")
    near(erfinv(S(0.5)), S(0.4769362762044699), "erfinv(0.5)")
    same(lgamma(S(1)), S(0), "lgamma(1)")
    same(lgamma(S(2)), S(0), "lgamma(2)")
    same(lgamma(S(0)), inf, "lgamma(0)")
    same(lgamma(S(-3)), inf, "lgamma(-3)")
    same(lgamma(-inf), inf, "lgamma(-inf)")
    near(lgamma(S(0.5)), S(0.5723649429247001), "lgamma(0.5)")
    near(lgamma(S(100)), S(359.1342053695754), "lgamma(100)")
    near(lgamma(S(-0.5)), S(1.2655121234846454), "lgamma(-0.5)")
    same(digamma(S(0)), -inf, "digamma(0)")
    same(digamma(S(-0.0)), inf, "digamma(-0)")
    same(digamma(S(-2)), none, "digamma(-2)")
    near(digamma(S(1)), S(-0.5772156649015329), "digamma(1)", 8)
    near(digamma(S(-0.5)), S(0.03648997397857652), "digamma(-0.5)", 200)


def powers[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(pow(none, S(0)), S(1), "nan**0")
    same(pow(S(1), none), S(1), "1**nan")
    same(pow(S(-1), inf), S(1), "(-1)**inf")
    same(pow(S(-2), S(3)), S(-8), "(-2)**3")
    same(pow(S(-2), S(0.5)), none, "(-2)**0.5")
    same(pow(S(-0.0), S(-1)), -inf, "(-0)**-1")
    same(pow(S(-0.0), S(-2)), inf, "(-0)**-2")
    same(pow(S(-0.0), S(3)), S(-0.0), "(-0)**3")
    same(pow(S(0), S(0.5)), S(0), "0**0.5")
    same(pow(-inf, S(3)), -inf, "(-inf)**3")
    same(pow(-inf, S(-3)), S(-0.0), "(-inf)**-3")
    same(pow(-inf, S(0.5)), inf, "(-inf)**0.5")
    same(pow(S(0.5), inf), S(0), "0.5**inf")
    same(pow(S(0.5), -inf), inf, "0.5**-inf")
    same(pow(S(2), S(10)), S(1024), "2**10")
    near(pow(S(10), S(-3)), S(0.001), "10**-3")
    same(sqrt(S(-1)), none, "sqrt(-1)")
    same(sqrt(S(-0.0)), S(-0.0), "sqrt(-0)")
    same(rsqrt(S(0)), inf, "rsqrt(0)")
    same(rsqrt(S(4)), S(0.5), "rsqrt(4)")
    same(hypot(inf, none), inf, "hypot(inf, nan)")
    same(hypot(S(1), none), none, "hypot(1, nan)")
    near(hypot(S(3e30), S(4e30)), S(5e30), "hypot(3e30, 4e30)")
    near(hypot(S(3e-30), S(4e-30)), S(5e-30), "hypot(3e-30, 4e-30)")


def arithmetic[dt: DType]() raises:
    comptime S = Scalar[dt]
    var inf = infinity[dt, 1]()
    var none = nan[dt, 1]()
    same(round(S(2.5)), S(2), "round(2.5)")
    same(round(S(-0.5)), S(-0.0), "round(-0.5)")
    same(round(S(3.5)), S(4), "round(3.5)")
    same(floor(S(-0.5)), S(-1), "floor(-0.5)")
    same(ceil(S(-0.5)), S(-0.0), "ceil(-0.5)")
    same(trunc(S(-1.5)), S(-1), "trunc(-1.5)")
    same(frac(S(-1.5)), S(-0.5), "frac(-1.5)")
    same(fmod(S(-7), S(3)), S(-1), "fmod(-7, 3)")
    same(fmod(S(-6), S(3)), S(-0.0), "fmod(-6, 3)")
    same(fmod(S(1e30), S(3)), fmod(fmod(S(1e30), S(3 * 4194304)), S(3)), "fmod(1e30, 3)")
    same(fmod(S(1), S(0)), none, "fmod(1, 0)")
    same(fmod(inf, S(1)), none, "fmod(inf, 1)")
    same(fmod(S(1), inf), S(1), "fmod(1, inf)")
    same(remainder(S(-7), S(3)), S(2), "remainder(-7, 3)")
    same(remainder(S(7), S(-3)), S(-2), "remainder(7, -3)")
    same(remainder(S(1), S(0)), none, "remainder(1, 0)")
    same(floor_divide(S(-7), S(3)), S(-3), "-7 // 3")
    same(floor_divide(S(7), S(0)), inf, "7 // 0")
    same(floor_divide(S(0), S(-3)), S(-0.0), "0 // -3")
    same(floor_divide(inf, S(3)), none, "inf // 3")
    same(maximum(none, S(1)), none, "maximum(nan, 1)")
    same(maximum(S(1), none), none, "maximum(1, nan)")
    same(minimum(S(1), none), none, "minimum(1, nan)")
    same(minimum(S(1), S(2)), S(1), "minimum(1, 2)")
    same(maximum(S(-0.0), S(0)), S(-0.0), "maximum(-0, 0)")
    same(minimum(S(0), S(-0.0)), S(0), "minimum(0, -0)")
    same(fmax(none, S(1)), S(1), "fmax(nan, 1)")
    same(fmin(S(1), none), S(1), "fmin(1, nan)")
    same(fmax(none, none), none, "fmax(nan, nan)")
    same(sign(S(-3)), S(-1), "sign(-3)")
    same(copysign(S(3), S(-0.0)), S(-3), "copysign(3, -0)")
    same(nextafter(nextafter(S(1), S(2)), S(0)), S(1), "nextafter there and back")
    assert_true(nextafter(S(0), S(-1)) < 0)
    assert_true(isnan(none) and isinf(-inf) and isfinite(S(1)))
    assert_false(isfinite(inf) or isfinite(none) or isinf(none) or isnan(inf))


def widths_agree[dt: DType, w: Int]() raises:
    """A vector gives in every lane what the scalar gives, also with lanes that need the slow paths."""
    var x = SIMD[dt, w]()
    var y = SIMD[dt, w]()
    for i in range(w):
        x[i] = Scalar[dt](0.37 * Float64(i) + 0.1) * (Scalar[dt](1e12) if i % 3 == 2 else Scalar[dt](1))
        y[i] = Scalar[dt](0.7 + Float64(i))
    for i in range(w):
        same(sin(x)[i], sin(x[i]), "sin")
        same(exp(x)[i], exp(x[i]), "exp")
        same(log(x)[i], log(x[i]), "log")
        same(erf(x)[i], erf(x[i]), "erf")
        same(tanh(x)[i], tanh(x[i]), "tanh")
        same(pow(x, y)[i], pow(x[i], y[i]), "pow")
        same(fmod(x, y)[i], fmod(x[i], y[i]), "fmod")
        same(lgamma(-x)[i], lgamma(-x[i]), "lgamma")


def test_exponentials() raises:
    exponentials[F32]()
    exponentials[F64]()


def test_denormal_results() raises:
    near(exp(Float32(-100)), Float32(3.783506e-44), "exp(-100)")
    same(exp2(Float32(-149)), nextafter(Float32(0), Float32(1)), "exp2(-149)")
    near(exp(Float64(-740)), Float64(4.2e-322), "exp(-740)")
    near(log(nextafter(Float32(0), Float32(1))), Float32(-103.27893), "log of the smallest float32")
    near(log(nextafter(Float64(0), Float64(1))), Float64(-744.4400719213812), "log of the smallest float64")


def test_denormal_arguments() raises:
    var f = nextafter(Float32(0), Float32(1))
    var d = nextafter(Float64(0), Float64(1))
    same(hypot(f, Float32(0)), f, "hypot of a denormal float32")
    same(hypot(d, Float64(0)), d, "hypot of a denormal float64")
    same(erfinv(-f), -f, "erfinv of a denormal float32")
    same(erfinv(d), d, "erfinv of a denormal float64")
    same(expm1(f), f, "expm1 of a denormal float32")
    same(log1p(-d), -d, "log1p of a denormal float64")
    same(lgamma(-d), lgamma(d), "lgamma of a denormal float64")
    same(sin(-d), -d, "sin of a denormal float64")
    same(fmod(Float32(1), f), Float32(0), "fmod by a denormal float32")
    same(remainder(Float64(-1), d * 3), fmod(d * 2, d * 3), "remainder by a denormal float64")


def test_logarithms() raises:
    logarithms[F32]()
    logarithms[F64]()


def test_trigonometry() raises:
    trigonometry[F32]()
    trigonometry[F64]()


def test_hyperbolic() raises:
    hyperbolic[F32]()
    hyperbolic[F64]()


def test_special() raises:
    special[F32]()
    special[F64]()


def test_powers() raises:
    powers[F32]()
    powers[F64]()


def test_arithmetic() raises:
    arithmetic[F32]()
    arithmetic[F64]()


def test_widths() raises:
    widths_agree[F32, 4]()
    widths_agree[F32, 16]()
    widths_agree[F64, 2]()
    widths_agree[F64, 8]()


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
