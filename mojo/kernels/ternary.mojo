"""Pointwise ops of three operands.

Kernel slots: where (condition, self, other); masked_fill (self, mask, value); clamp (self, min, max), one of them may be
None; clamp_min (self, min); clamp_max (self, max); lerp (self, end, weight); addcmul, addcdiv (self, tensor1, tensor2,
value). Numbers may stand for tensors.
"""

from std.math import fma
from std.memory import stack_allocation
from kernels import math

from kernels.constants import check_fits

from kernels.functor import (
    ALL, Binary, FLOATS, INTS, MAX_NUMBERS, OWN, REAL, SAME, TablePtr, Ternary, Unary, binary_table, number, select_table, tables,
    ternary_table, unary_table, wide,
)  # fmt: skip
from kernels.interop_values import scalar_in
from kernels.lanes import clip
from kernels.pointwise import pointwise, pointwise_numbers, pointwise_with, table_of, unsupported
from kernels.strict import pointwise_first
from tensor.call import Call, register
from tensor.dtype import BOOL, UINT8, category, type_name
from tensor.memory import Numbers
from tensor.object import as_tensor, is_tensor
from tensor.py import Obj


@always_inline
def at_least[dt: DType, w: SIMDLength](x: SIMD[dt, w], low: SIMD[dt, w]) -> SIMD[dt, w]:
    """The larger one; NaN if either is."""
    comptime if dt == DType.bool:
        return (x._refine[DType.bool, w]() | low._refine[DType.bool, w]())._refine[dt, w]()
    elif dt.is_floating_point():
        return math.maximum(x, low)
    else:
        return x.lt(low).select(low, x)


@always_inline
def at_most[dt: DType, w: SIMDLength](x: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """The smaller one; NaN if either is."""
    comptime if dt == DType.bool:
        return (x._refine[DType.bool, w]() & high._refine[DType.bool, w]())._refine[dt, w]()
    elif dt.is_floating_point():
        return math.minimum(x, high)
    else:
        return x.gt(high).select(high, x)


struct Clamp(Ternary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return at_most(at_least(a, b), c)


struct ClampNumbers(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        # the numbers are not NaN
        return clip(x, number[dt, w](params, 0), number[dt, w](params, 1))


struct ClampMin(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return at_least(a, b)


struct ClampMax(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return at_most(a, b)


struct Lerp(Ternary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        # from the nearer end, so that weight 1 gives `end` exactly
        var d = b - a
        return math.fabs(c).lt(0.5).select(fma(c, d, a), b - d * (1 - c))


struct AddCMul(Ternary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a + number[dt, w](params, 0) * b * c


struct AddCDiv(Ternary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a + number[dt, w](params, 0) * b / c


def select(mut call: Call) raises -> Obj:
    """Elements of self where the condition is true, else of other: (condition, self, other)."""
    var code = call.tensor(0)[].code()
    if code != BOOL and code != UINT8:
        raise Error(
            t"RuntimeError|where expected condition to be a boolean tensor, but got a tensor with dtype"
            t" {type_name(code)}"
        )
    return pointwise(call)


def masked_fill(mut call: Call) raises -> Obj:
    """The tensor with `value` where the mask is true: (self, mask, value)."""
    var code = call.tensor(1)[].code()
    if code != BOOL:
        raise Error(t"RuntimeError|masked_fill_ only supports boolean masks, but got mask with dtype {c_name(code)}")
    if call.is_tensor(2):
        var rank = call.tensor(2)[].rank()
        if rank != 0:
            raise Error(
                t"RuntimeError|masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {rank}"
                t" dimension(s)."
            )
        if call.tensor(2)[].device() == 0:
            check_fits(call.tensor(0)[].code(), scalar_in(call.tensor(2)))
    else:
        check_fits(call.tensor(0)[].code(), call.scalar(2))
    return pointwise(call)


def clamp(mut call: Call) raises -> Obj:
    """The tensor within [min, max]: (self, min, max)."""
    var none = stack_allocation[MAX_NUMBERS, Float64]()
    if not call.is_none(1) and not call.is_none(2):
        if is_tensor(call.obj(0)) and not is_tensor(call.obj(1)) and not is_tensor(call.obj(2)):
            # two numbers that do not change the dtype, and that a double holds exactly, on the CPU: one operand to read
            var low = call.scalar(1)
            var high = call.scalar(2)
            comptime exact = 1 << 53
            if (
                max(low.category, high.category) <= category(as_tensor(call.obj(0))[].code())
                and max(low.category, high.category) < 3
                and as_tensor(call.obj(0))[].device() == 0
                and abs(low.d) <= Float64(exact)
                and abs(high.d) <= Float64(exact)
            ):
                none[unsafe_offset=0] = low.d
                none[unsafe_offset=1] = high.d
                return pointwise_with(call, table_of(call, 3), none.as_unsafe_any_origin())
        return pointwise_with(call, table_of(call, 0), none.as_unsafe_any_origin())
    if call.is_none(1) and call.is_none(2):
        raise Error("RuntimeError|torch.clamp: At least one of 'min' or 'max' must not be None")
    if call.is_none(2):
        return pointwise_with(call, table_of(call, 1), none.as_unsafe_any_origin())
    var slots = stack_allocation[2, Int]()
    slots[unsafe_offset=0] = call.obj(0)
    slots[unsafe_offset=1] = call.obj(2)
    var upper = Call(call.op, slots.as_unsafe_any_origin(), call.out)
    return pointwise_with(upper, table_of(call, 2), none.as_unsafe_any_origin())


def c_name(code: Int) -> String:
    """The C name of a dtype, as some of PyTorch's errors spell it."""
    comptime NAMES = [
        "bool",
        "unsigned char",
        "signed char",
        "short int",
        "int",
        "long int",
        "unsigned short",
        "unsigned int",
        "unsigned long",
        "c10::Half",
        "c10::BFloat16",
        "float",
        "double",
        "c10::complex<c10::Half>",
        "c10::complex<float>",
        "c10::complex<double>",
    ]
    if code > 15:
        return type_name(code)
    var names = materialize[NAMES]()
    return String(names[code])


def lerp(mut call: Call) raises -> Obj:
    """The point between self and end: (self, end, weight). Tensors have one dtype."""
    var code = call.tensor(0)[].code()
    var end = call.tensor(1)[].code()
    if category(code) < 2:
        raise unsupported("lerp_kernel_tensor" if call.is_tensor(2) else "lerp_kernel_scalar", code)
    if end != code:
        raise Error(t"RuntimeError|expected dtype {c_name(code)} for `end` but got dtype {c_name(end)}")
    if call.is_tensor(2):
        var weight = call.tensor(2)[].code()
        if weight != code:
            raise Error(t"RuntimeError|expected dtype {c_name(code)} for `weight` but got dtype {c_name(weight)}")
    return pointwise(call)


def addcdiv(mut call: Call) raises -> Obj:
    """Adds a quotient: self + value * tensor1 / tensor2; slots (self, tensor1, tensor2, value)."""
    var integers = True
    for i in range(1, 3):
        if call.is_tensor(i):
            integers = integers and category(call.tensor(i)[].code()) < 2
    if integers:
        raise Error(
            "RuntimeError|Integer division with addcdiv is no longer supported, and in a future  release addcdiv will"
            " perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as"
            " (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value"
            " * tensor1 / tensor2) for float inputs. The future addcdiv behavior is just the latter implementation:"
            " (input + value * tensor1 / tensor2), for all dtypes."
        )
    return pointwise_numbers(call)


@export("dumbtorch_register_ternary")
def register_ternary() abi("C") -> None:
    register[select]("where", select_table[1](SAME, "where_cpu"))
    register[masked_fill]("masked_fill", select_table[2](OWN, "masked_fill"))
    var low = binary_table[ClampMin, ALL](SAME, "clamp_min_cpu")
    var high = binary_table[ClampMax, ALL](SAME, "clamp_max_cpu")
    register[clamp](
        "clamp",
        tables(
            [ternary_table[Clamp, REAL](SAME), low, high, unary_table[ClampNumbers, REAL](SAME, "clamp_scalar_cpu")]
        ),
    )
    register[pointwise_first]("clamp_min", low)
    register[pointwise_first]("clamp_max", high)
    register[lerp]("lerp", wide(ternary_table[Lerp, FLOATS](SAME, "lerp_kernel_scalar")))
    register[pointwise_numbers]("addcmul", ternary_table[AddCMul, REAL](SAME, "addcmul_cpu_out"))
    register[addcdiv]("addcdiv", ternary_table[AddCDiv, FLOATS](SAME, "addcdiv_cpu_out"))
