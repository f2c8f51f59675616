"""Elementary and special functions on SIMD values: float32 and float64, any width, CPU and GPU.

The standard library's are not used: several lose accuracy, NaN or infinities. The parts:
math_core (bits, exponentials, logarithms), math_trig, math_hyper (with sigmoid and pow), math_special (erf, gamma),
math_arith (rounding, remainders, ordering, roots). Half types are computed in float32 by the caller.
"""
from kernels.math_arith import (
    ceil,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    frac,
    hypot,
    maximum,
    minimum,
    nextafter,
    remainder,
    round,
    rsqrt,
    sign,
    sqrt,
    trunc,
)
from kernels.math_core import (
    copysign,
    exp,
    exp2,
    expm1,
    fabs,
    infinity,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    nan,
    signbit,
)
from kernels.math_hyper import acosh, asinh, atanh, cosh, logsigmoid, pow, sigmoid, sinh, softplus, tanh
from kernels.math_special import digamma, erf, erfc, erfinv, lgamma
from kernels.math_trig import acos, asin, atan, atan2, cos, sin, tan
