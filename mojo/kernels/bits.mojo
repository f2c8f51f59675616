"""Pointwise ops on the bits of integers, and their common divisors. Kernel slots: (self, other); bitwise_not (self)."""

from std.sys.info import size_of
from kernels.functor import ALL_INTS, BOOLS, Binary, INTS, SAME, Unary, binary_table, unary_table
from kernels.pointwise import pointwise
from kernels.strict import pointwise_one, pointwise_tensors
from tensor.call import register
from tensor.memory import Numbers


struct Not(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return ~x


struct And(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a & b


struct Or(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a | b


struct Xor(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a ^ b


struct ShiftLeft(Binary):
    """Doubles: a * 2**b; 0 where b is negative or not less than the number of bits."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime V = SIMD[dt, w]
        comptime bits = size_of[Scalar[dt]]() * 8
        var inside = b.ge(0) & b.lt(V(bits))
        return inside.select(a << inside.select(b, V(0)), V(0))


struct ShiftRight(Binary):
    """Halves: a / 2**b rounded down; all sign where b is negative or not less than the number of bits."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime V = SIMD[dt, w]
        comptime last = size_of[Scalar[dt]]() * 8 - 1
        var inside = b.ge(0) & b.le(V(last))
        comptime if dt.is_signed():
            return a >> inside.select(b, V(last))
        else:
            return inside.select(a >> inside.select(b, V(0)), V(0))


@always_inline
def _magnitude[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    comptime if dt.is_signed():
        return x.lt(0).select(0 - x, x)
    else:
        return x


def _gcd[dt: DType](x: Scalar[dt], y: Scalar[dt]) -> Scalar[dt]:
    """Euclid's, on the magnitudes as unsigned numbers: the lowest integer has one too."""
    comptime mask = ~UInt64(0) >> UInt64(64 - 8 * size_of[Scalar[dt]]())
    var a = x.cast[DType.uint64]() & mask
    var b = y.cast[DType.uint64]() & mask
    while b != 0:
        var r = a % b
        a = b
        b = r
    return a.cast[dt]()


struct Gcd(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var x = _magnitude(a)
        var y = _magnitude(b)
        var r = x
        for i in range(Int(w)):
            r[i] = _gcd(x[i], y[i])
        return r


struct Lcm(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var x = _magnitude(a)
        var y = _magnitude(b)
        var r = x
        for i in range(Int(w)):
            var g = _gcd(x[i], y[i])
            var divisor = (Scalar[dt](1) if g == 0 else g).cast[DType.uint64]()
            # the quotient is exact; the sign goes before the bits that do not fit
            var q = x[i].cast[DType.uint64]() // divisor
            r[i] = _magnitude((q * y[i].cast[DType.uint64]()).cast[DType.int64]()).cast[dt]()
        return r


@export("dumbtorch_register_bits")
def register_bits() abi("C") -> None:
    register[pointwise]("bitwise_not", unary_table[Not, BOOLS | INTS](SAME))
    register[pointwise_one]("bitwise_and", binary_table[And, BOOLS | ALL_INTS](SAME))
    register[pointwise_one]("bitwise_or", binary_table[Or, BOOLS | ALL_INTS](SAME))
    register[pointwise_one]("bitwise_xor", binary_table[Xor, BOOLS | ALL_INTS](SAME))
    register[pointwise_one]("bitwise_left_shift", binary_table[ShiftLeft, INTS](SAME, "lshift_cpu"))
    register[pointwise_one]("bitwise_right_shift", binary_table[ShiftRight, INTS](SAME, "rshift_cpu"))
    register[pointwise_tensors]("gcd", binary_table[Gcd, INTS](SAME))
    register[pointwise_tensors]("lcm", binary_table[Lcm, INTS](SAME))
