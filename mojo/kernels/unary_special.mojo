"""Pointwise trigonometric and special functions.

Kernel slots: (self). Integers and bools are computed in the default float.
"""

from kernels import math
from kernels.functor import FLOAT, FLOATS, Unary, unary_table
from kernels.pointwise import pointwise
from tensor.call import register
from tensor.memory import Numbers


struct Sin(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.sin(x)


struct Cos(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.cos(x)


struct Tan(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.tan(x)


struct Asin(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.asin(x)


struct Acos(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.acos(x)


struct Atan(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.atan(x)


struct Erf(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.erf(x)


struct Erfc(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.erfc(x)


struct Erfinv(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.erfinv(x)


struct Lgamma(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.lgamma(x)


struct Digamma(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.digamma(x)


@export("dumbtorch_register_unary_special")
def register_unary_special() abi("C") -> None:
    register[pointwise]("sin", unary_table[Sin, FLOATS, True](FLOAT))
    register[pointwise]("cos", unary_table[Cos, FLOATS, True](FLOAT))
    register[pointwise]("tan", unary_table[Tan, FLOATS, True](FLOAT))
    register[pointwise]("asin", unary_table[Asin, FLOATS, True](FLOAT))
    register[pointwise]("acos", unary_table[Acos, FLOATS, True](FLOAT))
    register[pointwise]("atan", unary_table[Atan, FLOATS, True](FLOAT))
    register[pointwise]("erf", unary_table[Erf, FLOATS, True](FLOAT))
    register[pointwise]("erfc", unary_table[Erfc, FLOATS, True](FLOAT))
    register[pointwise]("erfinv", unary_table[Erfinv, FLOATS, True](FLOAT))
    register[pointwise]("lgamma", unary_table[Lgamma, FLOATS, True](FLOAT))
    register[pointwise]("digamma", unary_table[Digamma, FLOATS, True](FLOAT))
