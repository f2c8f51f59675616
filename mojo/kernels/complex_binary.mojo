"""Complex kernels of the pointwise ops of two and three operands, and what makes complex numbers of two real ones."""

from std.math import fma
from kernels import complex_math as cm
from kernels import math

from kernels.complex_functor import (
    ComplexBinary, ComplexComparison, ComplexTernary, RealPair, binary, binary_by_parts, comparison, real_pair_kernel,
    ternary,
)  # fmt: skip
from kernels.complex_math import Z
from kernels.functor import Binary, IMAGINARY, PAIR, TablePtr, functor_name, new_table, number
from kernels.pointwise import pointwise
from tensor.call import Call, register
from tensor.dtype import COMPLEX32, COMPLEX64, FLOAT16, FLOAT32, FLOAT64, type_name
from tensor.loop import ElementwiseFn
from tensor.memory import Numbers, address_of
from tensor.object import as_tensor
from tensor.py import Obj


@always_inline
def _number[dt: DType, w: SIMDLength](params: Numbers, i: Int) -> Z[dt, w]:
    """The i-th extra number, a complex one."""
    return Z[dt, w](number[dt, w](params, i), number[dt, w](params, IMAGINARY + i))


struct Add(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a + b


struct Sub(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a - b


struct AddScaled(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return a + _number[dt, w](params, 0) * b


struct SubReversed(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return b - _number[dt, w](params, 0) * a


struct Mul(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return a * b


struct Div(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return a / b


struct Pow(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.pow(a, b)


struct LogAddExp(ComplexBinary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return cm.log_add_exp(a, b)


struct Eq(ComplexComparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        return a.re.eq(b.re) & a.im.eq(b.im)


struct Ne(ComplexComparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        return ~(a.re.eq(b.re) & a.im.eq(b.im))


struct LogicalAnd(ComplexComparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        return ~(a.is_zero() | b.is_zero())


struct LogicalOr(ComplexComparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        return ~(a.is_zero() & b.is_zero())


struct LogicalXor(ComplexComparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        return a.is_zero() ^ b.is_zero()


struct Lerp(ComplexTernary):
    """From the nearer end, so that weight 1 gives `end` exactly."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], c: Z[dt, w], params: Numbers) -> Z[dt, w]:
        var d = b - a
        var small = fma(c.re, c.re, c.im * c.im).lt(0.25)
        return cm.select(small, a + c * d, b - d * Z[dt, w](1 - c.re, -c.im))


struct AddCMul(ComplexTernary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], c: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return a + _number[dt, w](params, 0) * b * c


struct AddCDiv(ComplexTernary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], c: Z[dt, w], params: Numbers) -> Z[dt, w]:
        return a + _number[dt, w](params, 0) * b / c


struct Parts(RealPair):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> Z[dt, w]:
        return Z[dt, w](a, b)


struct Polar(RealPair):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> Z[dt, w]:
        return Z[dt, w](a * math.cos(b), a * math.sin(b))


def _pair_table[F: RealPair]() -> Int:
    var t = new_table(PAIR, 2, "", functor_name[F]())
    var single: ElementwiseFn = real_pair_kernel[F, DType.float32]
    var double: ElementwiseFn = real_pair_kernel[F, DType.float64]
    t[].kernels[FLOAT32] = address_of(single)
    t[].kernels[FLOAT64] = address_of(double)
    return Int(t)


def _check_parts(call: Call) raises:
    var a = call.tensor(0)[].code()
    var b = call.tensor(1)[].code()
    if not (a == FLOAT16 or a == FLOAT32 or a == FLOAT64) or not (b == FLOAT16 or b == FLOAT32 or b == FLOAT64):
        raise Error(
            t"RuntimeError|Expected both inputs to be Half, Float or Double"
            t" tensors but got {type_name(a)} and {type_name(b)}"
        )
    if a != b:
        raise Error(
            t"RuntimeError|Expected object of scalar type {type_name(a)} but"
            t" got scalar type {type_name(b)} for second argument"
        )


def _check_out(call: Call) raises:
    """Refuses an out= of another dtype than the complex one of the parts."""
    if not call.has_out():
        return
    var given = as_tensor(call.out)[].code()
    var wanted = call.tensor(0)[].code() + COMPLEX64 - FLOAT32
    if call.tensor(0)[].code() == FLOAT16:
        wanted = COMPLEX32
    if given != wanted:
        raise Error(
            t"RuntimeError|Expected object of scalar type {type_name(wanted)} but got scalar type {type_name(given)}"
            t" for argument 'out'"
        )


def from_parts(mut call: Call) raises -> Obj:
    """(real, imag): complex numbers of their parts."""
    _check_parts(call)
    _check_out(call)
    return pointwise(call)


def polar(mut call: Call) raises -> Obj:
    """(abs, angle): complex numbers of their absolute values and angles."""
    _check_parts(call)
    _check_out(call)
    return pointwise(call)


@export("dumbtorch_register_complex_binary")
def register_complex_binary() abi("C") -> None:
    binary_by_parts[Add]("add", 0)
    binary[AddScaled]("add", 1)
    binary_by_parts[Sub]("sub", 0)
    binary[SubReversed]("rsub", 0)
    binary[Mul]("mul")
    binary[Div]("div", 0)
    binary[Pow]("pow", 0)
    binary[LogAddExp]("logaddexp")
    comparison[Eq]("eq")
    comparison[Ne]("ne")
    comparison[LogicalAnd]("logical_and")
    comparison[LogicalOr]("logical_or")
    comparison[LogicalXor]("logical_xor")
    ternary[Lerp]("lerp")
    ternary[AddCMul]("addcmul")
    ternary[AddCDiv]("addcdiv")
    var parts = _pair_table[Parts]()
    # halves only move, as what they are
    var half: ElementwiseFn = real_pair_kernel[Parts, DType.int16]
    TablePtr(unsafe_from_address=parts)[].kernels[FLOAT16] = address_of(half)
    register[from_parts]("complex", parts)
    register[polar]("polar", _pair_table[Polar]())
