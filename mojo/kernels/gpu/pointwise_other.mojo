"""The other functors of two operands, the derivatives of activations, and those of three, for accelerators."""

from kernels import activation_backward as backward
from kernels.binary_math import Atan2, Copysign, Fmax, Fmin, Hypot, LogAddExp, LogAddExp2, Maximum, Minimum, Xlogy
from kernels.bits import And, Gcd, Lcm, Or, Xor
from kernels.functor import ALL, ALL_INTS, BOOLS, FLOATS, INTS, REAL
from kernels.gpu.pointwise import binary, ternary
from kernels.ternary import AddCDiv, AddCMul, Clamp, ClampMax, ClampMin, Lerp


@export("dumbtorch_accelerator_register_other")
def register_other() abi("C") -> None:
    binary[Maximum, ALL]()
    binary[Minimum, ALL]()
    binary[Fmax, ALL]()
    binary[Fmin, ALL]()
    binary[Atan2, FLOATS]()
    binary[Copysign, FLOATS]()
    binary[Xlogy, FLOATS]()
    binary[Hypot, FLOATS]()
    binary[LogAddExp, FLOATS]()
    binary[LogAddExp2, FLOATS]()
    binary[And, BOOLS | ALL_INTS]()
    binary[Or, BOOLS | ALL_INTS]()
    binary[Xor, BOOLS | ALL_INTS]()
    # shifts depend on the operands' width, which int64 does not keep: they have no kernels here
    binary[Gcd, INTS]()
    binary[Lcm, INTS]()
    binary[ClampMin, REAL]()
    binary[ClampMax, REAL]()
    ternary[Clamp, REAL]()
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
