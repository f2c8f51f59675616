"""Pointwise functions of two operands: extremes, angles, logarithms of sums. Kernel slots: (self, other)."""

from kernels import math
from kernels.functor import ALL, Binary, FLOAT, FLOATS, HALVES, SAME, TablePtr, binary_kernel, binary_table
from kernels.strict import pointwise_first, pointwise_one, pointwise_tensors
from tensor.call import register
from tensor.dtype import BFLOAT16, FLOAT16
from tensor.loop import ElementwiseFn
from tensor.memory import Numbers, address_of


struct Maximum(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() | b._refine[DType.bool, w]())._refine[dt, w]()
        elif dt.is_floating_point():
            return math.maximum(a, b)
        else:
            return b.gt(a).select(b, a)


struct Minimum(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() & b._refine[DType.bool, w]())._refine[dt, w]()
        elif dt.is_floating_point():
            return math.minimum(a, b)
        else:
            return b.lt(a).select(b, a)


struct Fmax(Binary):
    """The other one where one is NaN."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.fmax(a, b)
        else:
            return Maximum.apply(a, b, params)


struct Fmin(Binary):
    """The other one where one is NaN."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.fmin(a, b)
        else:
            return Minimum.apply(a, b, params)


struct Atan2(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.atan2(a, b)


struct Hypot(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.hypot(a, b)


struct Copysign(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.copysign(a, b)


struct Nextafter(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.nextafter(a, b)


struct LogAddExp(Binary):
    """The log(exp(a) + exp(b))."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var high = math.fmax(a, b)
        var low = math.fmin(a, b)
        var r = high + math.log1p(math.exp(low - high))
        # equal infinities have no difference
        r = (math.isinf(a) & a.eq(b)).select(a, r)
        return (math.isnan(a) | math.isnan(b)).select(a + b, r)


struct LogAddExp2(Binary):
    """The log2(2**a + 2**b)."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var high = math.fmax(a, b)
        var low = math.fmin(a, b)
        var r = high + math.log1p(math.exp2(low - high)) * 1.4426950408889634
        r = (math.isinf(a) & a.eq(b)).select(a, r)
        return (math.isnan(a) | math.isnan(b)).select(a + b, r)


struct Xlogy(Binary):
    """The product a * log(b), and 0 for a = 0 unless b is NaN."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var r = a.eq(0).select(SIMD[dt, w](0), a * math.log(b))
        return math.isnan(b).select(b, r)


struct HalfNext[infinity: Int](Binary):
    """`nextafter` of half-precision numbers on their bits; `infinity` is the bits of +infinity."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime V = SIMD[dt, w]
        comptime top = V(Self.infinity)
        # without sign; then as numbers of one scale
        var x = a & 0x7FFF
        var y = b & 0x7FFF
        var i = a.ge(0x8000).select(0x8000 - x, x + 0x8000)
        var j = b.ge(0x8000).select(0x8000 - y, y + 0x8000)
        var up = i.lt(j)
        var outward = up ^ a.ge(0x8000)
        var r = outward.select(a + 1, a - 1)
        r = x.eq(0).select((b & 0x8000) | 1, r)
        r = i.eq(j).select(b, r)
        return (x.gt(top) | y.gt(top)).select(V(0x7E00 if Self.infinity == 0x7C00 else 0x7FC0), r)


def nextafter_table() -> Int:
    var address = binary_table[Nextafter, FLOATS ^ HALVES](SAME)
    var half: ElementwiseFn = binary_kernel[HalfNext[0x7C00], DType.uint16]
    var brain: ElementwiseFn = binary_kernel[HalfNext[0x7F80], DType.uint16]
    var t = TablePtr(unsafe_from_address=address)
    t[].kernels[FLOAT16] = address_of(half)
    t[].kernels[BFLOAT16] = address_of(brain)
    return address


@export("dumbtorch_register_binary_math")
def register_binary_math() abi("C") -> None:
    register[pointwise_tensors]("maximum", binary_table[Maximum, ALL](SAME, "maximum_cpu"))
    register[pointwise_tensors]("minimum", binary_table[Minimum, ALL](SAME, "minimum_cpu"))
    register[pointwise_tensors]("fmax", binary_table[Fmax, ALL](SAME, "maximum_cpu"))
    register[pointwise_tensors]("fmin", binary_table[Fmin, ALL](SAME, "minimum_cpu"))
    register[pointwise_tensors]("atan2", binary_table[Atan2, FLOATS, True](FLOAT))
    register[pointwise_first]("copysign", binary_table[Copysign, FLOATS](FLOAT))
    register[pointwise_one]("xlogy", binary_table[Xlogy, FLOATS, True](FLOAT))
    register[pointwise_tensors]("hypot", binary_table[Hypot, FLOATS, True](SAME))
    register[pointwise_tensors]("nextafter", nextafter_table())
    register[pointwise_tensors]("logaddexp", binary_table[LogAddExp, FLOATS, True](SAME))
    register[pointwise_tensors]("logaddexp2", binary_table[LogAddExp2, FLOATS, True](SAME))
