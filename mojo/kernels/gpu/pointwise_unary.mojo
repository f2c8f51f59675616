"""The functors of one operand that take a few instructions, for accelerators."""

from kernels.activation import (
    HardShrink, HardSigmoid, HardSwish, HardTanh, LeakyRelu, SoftShrink, Threshold,
)  # fmt: skip
from kernels.bits import Not
from kernels.functor import ALL, ALL_INTS, BOOLS, EVERY, FLOATS, INTS, REAL
from kernels.gpu.pointwise import predicate, unary

from kernels.unary import (
    Abs, Ceil, Floor, Frac, IsFinite, IsInf, IsNan, IsNegInf, IsPosInf, LogicalNot, NanToNum, Neg, Reciprocal, Relu, Round,
    RoundDecimals, Rsqrt, Sign, SignBit, Sqrt, Square, Trunc,
)  # fmt: skip

comptime UINT64_BIT = 1 << 8


@export("dumbtorch_accelerator_register_unary")
def register_unary() abi("C") -> None:
    unary[Abs, REAL]()
    unary[Neg, REAL]()
    unary[Sign, ALL]()
    unary[Floor, ALL_INTS | FLOATS]()
    unary[Ceil, ALL_INTS | FLOATS]()
    unary[Trunc, ALL_INTS | FLOATS]()
    unary[Round, ALL_INTS | FLOATS]()
    unary[RoundDecimals, FLOATS]()
    unary[Frac, FLOATS]()
    unary[Square, REAL]()
    unary[Reciprocal, FLOATS]()
    unary[Sqrt, FLOATS]()
    unary[Rsqrt, FLOATS]()
    unary[Relu, REAL]()
    unary[NanToNum, EVERY]()
    unary[Not, BOOLS | INTS]()
    unary[HardSigmoid, FLOATS]()
    unary[HardSwish, FLOATS]()
    unary[LeakyRelu, FLOATS]()
    unary[HardTanh, REAL]()
    unary[Threshold, REAL]()
    unary[SoftShrink, FLOATS]()
    unary[HardShrink, FLOATS]()
    predicate[LogicalNot, ALL]()
    # computed as int64, a large uint64 would have a sign
    predicate[SignBit, EVERY ^ UINT64_BIT]()
    predicate[IsNan, EVERY]()
    predicate[IsInf, EVERY]()
    predicate[IsFinite, EVERY]()
    predicate[IsPosInf, EVERY]()
    predicate[IsNegInf, EVERY]()
