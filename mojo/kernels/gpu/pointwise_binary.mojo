"""The functors of two operands that accelerators have kernels for: arithmetic and comparisons."""

from kernels.binary import (
    Add, AddScaled, Cube, FloorDivide, Fmod, InverseRoot, InverseSquare, Mul, One, Pow, Reciprocal, Remainder, Root, Square, Sub,
    SubReversed, TrueDivide, TruncDivide,
)  # fmt: skip
from kernels.comparison import Eq, Ge, Gt, Le, LogicalAnd, LogicalOr, LogicalXor, Lt, Ne
from kernels.functor import ALL, EVERY, FLOATS, REAL
from kernels.gpu.pointwise import binary, comparison, unary


@export("dumbtorch_accelerator_register_binary")
def register_binary() abi("C") -> None:
    binary[Add, ALL]()
    binary[AddScaled, ALL]()
    binary[Sub, REAL]()
    binary[SubReversed, REAL]()
    binary[Mul, EVERY]()
    binary[TrueDivide, FLOATS]()
    binary[TruncDivide, REAL]()
    binary[FloorDivide, REAL]()
    binary[Remainder, REAL]()
    binary[Fmod, REAL]()
    binary[Pow, REAL]()
    unary[Square, FLOATS]()
    unary[One, EVERY]()
    unary[Cube, FLOATS]()
    unary[Root, FLOATS]()
    unary[Reciprocal, FLOATS]()
    unary[InverseSquare, FLOATS]()
    unary[InverseRoot, FLOATS]()
    comparison[Eq, EVERY]()
    comparison[Ne, EVERY]()
    comparison[Lt, ALL]()
    comparison[Le, ALL]()
    comparison[Gt, ALL]()
    comparison[Ge, ALL]()
    comparison[LogicalAnd, ALL]()
    comparison[LogicalOr, ALL]()
    comparison[LogicalXor, ALL]()
