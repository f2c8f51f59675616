"""Pointwise exponentials, logarithms and hyperbolic functions.

Kernel slots: (self). Integers and bools are computed in the default float.
"""

from kernels import math
from kernels.functor import FLOAT, FLOATS, Unary, unary_table
from kernels.pointwise import pointwise
from tensor.call import register
from tensor.memory import Numbers


struct Exp(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.exp(x)


struct Exp2(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.exp2(x)


struct Expm1(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.expm1(x)


struct Log(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.log(x)


struct Log2(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.log2(x)


struct Log10(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.log10(x)


struct Log1P(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.log1p(x)


struct Sinh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.sinh(x)


struct Cosh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.cosh(x)


struct Tanh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.tanh(x)


struct Asinh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.asinh(x)


struct Acosh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.acosh(x)


struct Atanh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.atanh(x)


struct Sigmoid(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.sigmoid(x)


@export("dumbtorch_register_unary_exp")
def register_unary_exp() abi("C") -> None:
    register[pointwise]("exp", unary_table[Exp, FLOATS, True](FLOAT))
    register[pointwise]("exp2", unary_table[Exp2, FLOATS, True](FLOAT))
    register[pointwise]("expm1", unary_table[Expm1, FLOATS, True](FLOAT))
    register[pointwise]("log", unary_table[Log, FLOATS, True](FLOAT))
    register[pointwise]("log2", unary_table[Log2, FLOATS, True](FLOAT))
    register[pointwise]("log10", unary_table[Log10, FLOATS, True](FLOAT))
    register[pointwise]("log1p", unary_table[Log1P, FLOATS, True](FLOAT))
    register[pointwise]("sinh", unary_table[Sinh, FLOATS, True](FLOAT))
    register[pointwise]("cosh", unary_table[Cosh, FLOATS, True](FLOAT))
    register[pointwise]("tanh", unary_table[Tanh, FLOATS, True](FLOAT))
    register[pointwise]("asinh", unary_table[Asinh, FLOATS, True](FLOAT))
    register[pointwise]("acosh", unary_table[Acosh, FLOATS, True](FLOAT))
    register[pointwise]("atanh", unary_table[Atanh, FLOATS, True](FLOAT))
    register[pointwise]("sigmoid", unary_table[Sigmoid, FLOATS, True](FLOAT))
