"""Unary functors computed in float64 whatever the dtype: special functions whose approximations need its digits."""

from kernels.functor import FLOATS, HALVES, Unary, unary_table, FLOAT
from tensor.memory import Numbers

comptime SINGLES = FLOATS ^ HALVES  # many special functions have no half types, in PyTorch as here


trait Function:
    """y = apply(x) in float64; `single` asks for float32's digits only. `params` are the op's extra numbers."""

    @staticmethod
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        ...


struct Double[F: Function](Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return Self.F.apply[dt == DType.float32](x.cast[DType.float64](), params).cast[dt]()


def double_table[F: Function, dtypes: Int](label: StaticString) -> Int:
    return unary_table[Double[F], dtypes, True](FLOAT, label)
