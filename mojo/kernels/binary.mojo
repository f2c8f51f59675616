"""Pointwise ops of two operands: arithmetic, comparison, logic, bits."""

from tensor.call import register
from tensor.memory import Numbers
from kernels.pointwise import ALL, Binary, SAME, binary_table, pointwise


struct Add(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() | b._refine[DType.bool, w]())._refine[dt, w]()
        else:
            return a + b


@export("dumbtorch_register_binary")
def register_binary() abi("C") -> None:
    register[pointwise]("add", binary_table[Add, ALL](SAME))
