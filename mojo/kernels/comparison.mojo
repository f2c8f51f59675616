"""Pointwise comparisons and logic of two operands; the results are bools. Kernel slots: (self, other)."""

from kernels.functor import ALL, Comparison, EVERY, comparison_table
from kernels.lanes import truth
from kernels.strict import pointwise_first, pointwise_tensors
from tensor.call import register


struct Eq(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.eq(b)


struct Ne(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        # not `ne`: that one is False for NaN
        return ~a.eq(b)


struct Lt(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.lt(b)


struct Le(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.le(b)


struct Gt(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.gt(b)


struct Ge(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.ge(b)


struct LogicalAnd(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return truth(a) & truth(b)


struct LogicalOr(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return truth(a) | truth(b)


struct LogicalXor(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return truth(a) ^ truth(b)


@export("dumbtorch_register_comparison")
def register_comparison() abi("C") -> None:
    register[pointwise_first]("eq", comparison_table[Eq, EVERY]())
    register[pointwise_first]("ne", comparison_table[Ne, EVERY]())
    register[pointwise_first]("lt", comparison_table[Lt, ALL]())
    register[pointwise_first]("le", comparison_table[Le, ALL]())
    register[pointwise_first]("gt", comparison_table[Gt, ALL]())
    register[pointwise_first]("ge", comparison_table[Ge, ALL]())
    register[pointwise_tensors]("logical_and", comparison_table[LogicalAnd, ALL]())
    register[pointwise_tensors]("logical_or", comparison_table[LogicalOr, ALL]())
    register[pointwise_tensors]("logical_xor", comparison_table[LogicalXor, ALL]())
