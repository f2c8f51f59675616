"""Complex kernels of the pointwise ops of one operand: they join the tables of unary.mojo and its neighbours."""

from kernels import complex_math as cm
from kernels import math
from kernels.complex_functor import ComplexPart, ComplexPredicate, ComplexUnary, part, predicate, unary, unary_by_parts
from kernels.complex_math import Z
from kernels.functor import Unary, number
from tensor.memory import Numbers


struct Itself(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return z


struct Neg(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return -z


struct Square(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return z * z


struct Cube(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return z * z * z


struct Reciprocal(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.reciprocal(z)


struct InverseSquare(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.reciprocal(z * z)


struct One(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.real(SIMD[dt, w](1))


struct Sqrt(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.sqrt(z)


struct Rsqrt(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.reciprocal(cm.sqrt(z))


struct Sgn(ComplexUnary):
    """The number of size 1 with the same angle; 0 of 0."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.select(z.is_zero(), cm.real(SIMD[dt, w](0)), z.over(cm.size_of_z(z)))


struct Exp(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.exp(z)


struct Exp2(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.exp(z.scaled(0.693147180559945309))


struct Expm1(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.expm1(z)


struct Log(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.log(z)


struct Log2(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.log(z).scaled(1.44269504088896341)


struct Log10(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.log(z).scaled(0.434294481903251828)


struct Log1p(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.log1p(z)


struct Sigmoid(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.sigmoid(z)


struct Sin(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.sinh(z.times_i()).over_i()


struct Sinc(ComplexUnary):
    """The quotient sin(pi z) / (pi z), 1 at 0."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        var angle = z.scaled(3.141592653589793116)
        return cm.select(z.is_zero(), cm.real(SIMD[dt, w](1)), cm.sinh(angle.times_i()).over_i() / angle)


struct Cos(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.cosh(z.times_i())


struct Tan(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.tanh(z.times_i()).over_i()


struct Asin(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.asin(z)


struct Acos(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.acos(z)


struct Atan(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.atanh(z.times_i()).over_i()


struct Sinh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.sinh(z)


struct Cosh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.cosh(z)


struct Tanh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.tanh(z)


struct Asinh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.asin(z.times_i()).over_i()


struct Acosh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.acosh(z)


struct Atanh(ComplexUnary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.atanh(z)


struct NanToNum(Unary):
    """Numbers for NaN and infinities: see unary.mojo."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var r = math.isinf(x).select(x.gt(0).select(number[dt, w](params, 1), number[dt, w](params, 2)), x)
        return math.isnan(x).select(number[dt, w](params, 0), r)


struct Size(ComplexPart):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
        return cm.size_of_z(z)


struct Angle(ComplexPart):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
        return cm.angle(z)


struct IsNan(ComplexPredicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
        return math.isnan(z.re) | math.isnan(z.im)


struct IsInf(ComplexPredicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
        return math.isinf(z.re) | math.isinf(z.im)


struct IsFinite(ComplexPredicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
        return math.isfinite(z.re) & math.isfinite(z.im)


struct LogicalNot(ComplexPredicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
        return z.is_zero()


@export("dumbtorch_register_complex_unary")
def register_complex_unary() abi("C") -> None:
    part[Size]("abs")
    part[Angle]("angle")
    unary[Neg]("neg")
    unary[Sgn]("sgn")
    unary[Square]("square")
    unary[Reciprocal]("reciprocal")
    unary[Sqrt]("sqrt")
    unary[Rsqrt]("rsqrt")
    unary[Exp]("exp")
    unary[Exp2]("exp2")
    unary[Expm1]("expm1")
    unary[Log]("log")
    unary[Log2]("log2")
    unary[Log10]("log10")
    unary[Log1p]("log1p")
    unary[Sigmoid]("sigmoid")
    unary[Sin]("sin")
    unary[Cos]("cos")
    unary[Sinc]("sinc")
    unary[Tan]("tan")
    unary[Asin]("asin")
    unary[Acos]("acos")
    unary[Atan]("atan")
    unary[Sinh]("sinh")
    unary[Cosh]("cosh")
    unary[Tanh]("tanh")
    unary[Asinh]("asinh")
    unary[Acosh]("acosh")
    unary[Atanh]("atanh")
    unary_by_parts[NanToNum]("nan_to_num")
    predicate[IsNan]("isnan")
    predicate[IsInf]("isinf")
    predicate[IsFinite]("isfinite")
    predicate[LogicalNot]("logical_not")
    # the kernels that pow has for common exponents, see binary.mojo
    unary[Square]("pow", 1)
    unary[Cube]("pow", 2)
    unary[Sqrt]("pow", 3)
    unary[Reciprocal]("pow", 4)
    unary[InverseSquare]("pow", 5)
    unary[Rsqrt]("pow", 6)
    unary[Itself]("pow", 7)
    unary[One]("pow", 8)
