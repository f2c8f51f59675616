"""The few pointwise ops and reductions that 8-bit floats have: abs, mul, comparisons for equality, predicates, any, all.

They are computed in float32. Everything else converts them first.
"""

from kernels import math
from kernels.complex_functor import BOOLS, PARTS, narrow, table_of_op
from kernels.complex_reduce import put_reduction, reduction_of, truth_finish, truth_merge

from kernels.functor import (
    Binary, Comparison, Predicate, Unary, binary_kernel, comparison_kernel, predicate_kernel, unary_kernel,
)  # fmt: skip
from kernels.reduce import State
from tensor.dtype import FLOAT8_E4M3FN, FLOAT8_E5M2
from tensor.loop import ElementwiseFn
from tensor.memory import Numbers, Words, address_of, at, load


struct Abs(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.fabs(x)


struct Mul(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a * b


struct Eq(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return a.eq(b)


struct Ne(Comparison):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return ~a.eq(b)


struct IsNan(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return math.isnan(x)


struct IsInf(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return math.isinf(x)


struct IsFinite(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return math.isfinite(x)


def _put[
    f: def(Words, Int, Numbers) thin abi("C") -> None, code: Int, inputs: Int, results: Int
](name: StaticString):  # fmt: skip
    var kernel: ElementwiseFn = narrow[f, code, 1, inputs, results]
    table_of_op(name, -1)[].kernels[code] = address_of(kernel)


def truth_block[every: Bool](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """Whether every (or some) element is not zero of either sign."""
    ref s = at[State](state)[]
    for i in range(n):
        if (load[UInt8](data + i) & 0x7F == 0) == every:
            s.i = 1 - Int(every)
            return


@export("dumbtorch_register_float8")
def register_float8() abi("C") -> None:
    comptime for code in [FLOAT8_E4M3FN, FLOAT8_E5M2]:
        _put[unary_kernel[Abs, DType.float32], code, 1, PARTS]("abs")
        _put[binary_kernel[Mul, DType.float32], code, 2, PARTS]("mul")
        _put[comparison_kernel[Eq, DType.float32], code, 2, BOOLS]("eq")
        _put[comparison_kernel[Ne, DType.float32], code, 2, BOOLS]("ne")
        _put[predicate_kernel[IsNan, DType.float32], code, 1, BOOLS]("isnan")
        put_reduction(reduction_of("any"), code, truth_block[False], truth_merge[False], truth_finish, State())
        put_reduction(reduction_of("all"), code, truth_block[True], truth_merge[True], truth_finish, State(i=1))
    # the other type has no infinities, and PyTorch no kernel
    _put[predicate_kernel[IsInf, DType.float32], FLOAT8_E5M2, 1, BOOLS]("isinf")
    _put[predicate_kernel[IsFinite, DType.float32], FLOAT8_E5M2, 1, BOOLS]("isfinite")
