"""The other functors of two operands, the derivatives of activations, and those of three, for accelerators."""

from kernels import activation_backward as backward
from kernels.binary_math import (
    Atan2,
    Copysign,
    Fmax,
    Fmin,
    Hypot,
    LogAddExp,
    LogAddExp2,
    Maximum,
    Minimum,
    Nextafter,
    Xlogy,
)
from kernels.bits import And, Gcd, Lcm, Or, ShiftLeft, ShiftRight, Xor
from kernels.functor import ALL, ALL_INTS, BOOLS, FLOATS, HALVES, INTS, REAL
from kernels.gpu.pointwise import binary, ternary, unary
from kernels.ternary import AddCDiv, AddCMul, Clamp, ClampMax, ClampMin, ClampNumbers, Lerp


@export("dumbtorch_accelerator_register_other")
def register_other() abi("C") -> None:
    binary[Maximum, ALL]()
    binary[Minimum, ALL]()
    binary[Fmax, ALL]()
    binary[Fmin, ALL]()
    binary[Atan2, FLOATS]()
    binary[Copysign, FLOATS]()
    binary[Xlogy, FLOATS]()
    binary[Nextafter, FLOATS ^ HALVES]()
    binary[Hypot, FLOATS]()
    binary[LogAddExp, FLOATS]()
    binary[LogAddExp2, FLOATS]()
    binary[And, BOOLS | ALL_INTS]()
    binary[Or, BOOLS | ALL_INTS]()
    binary[Xor, BOOLS | ALL_INTS]()
    # shifts by more than the width give what int64 gives: 0, or all sign
    binary[ShiftLeft, INTS]()
    binary[ShiftRight, INTS]()
    binary[Gcd, INTS]()
    binary[Lcm, INTS]()
    binary[ClampMin, REAL]()
    binary[ClampMax, REAL]()
    ternary[Clamp, REAL]()
    unary[ClampNumbers, REAL]()
    ternary[Lerp, FLOATS]()
    ternary[AddCMul, REAL]()
    ternary[AddCDiv, FLOATS]()
    binary[backward.Gelu, FLOATS]()
    binary[backward.GeluTanh, FLOATS]()
    binary[backward.Sigmoid, FLOATS]()
    binary[backward.Tanh, FLOATS]()
    binary[backward.Silu, FLOATS]()
    binary[backward.Mish, FLOATS]()
    binary[backward.LogSigmoid, FLOATS]()
    binary[backward.HardSigmoid, FLOATS]()
    binary[backward.HardSwish, FLOATS]()
    binary[backward.Softplus, FLOATS]()
    binary[backward.Elu, FLOATS]()
    binary[backward.LeakyRelu, FLOATS]()
    binary[backward.HardTanh, FLOATS]()
    binary[backward.Shrink, FLOATS]()
    binary[backward.Threshold, REAL]()
