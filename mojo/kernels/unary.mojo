"""Pointwise ops of one operand that take a few instructions: signs, rounding, predicates.

Kernel slots: (self); round (self, decimals); nan_to_num (self, nan, posinf, neginf).
"""

from std.memory import stack_allocation
from kernels import math
from kernels.lanes import truth

from kernels.functor import (
    ALL, ALL_INTS, COUNT, EVERY, FLOAT, FLOATS, INTS, MAX_NUMBERS, PART, Predicate, REAL, SAME, TablePtr, Unary, number,
    predicate_table, tables, unary_table,
)  # fmt: skip
from kernels.pointwise import pointwise, pointwise_with
from tensor.call import Call, register
from tensor.dtype import BFLOAT16, BOOL, FLOAT16, FLOAT32, complex_part, is_complex
from tensor.memory import Numbers, at
from tensor.object import as_tensor, is_tensor
from tensor.py import Obj, new_ref


struct Itself(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x


struct Abs(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.fabs(x)
        elif dt.is_signed():
            return x.lt(0).select(0 - x, x)
        else:
            return x


struct Neg(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return -x
        else:
            return 0 - x


struct Sign(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime V = SIMD[dt, w]
        comptime if dt == DType.bool:
            return x
        elif dt.is_floating_point():
            return math.sign(x)
        elif dt.is_signed():
            return x.gt(0).select(V(1), x.lt(0).select(V(-1), V(0)))
        else:
            return x.gt(0).select(V(1), V(0))


struct Angle(Unary):
    """Pi of what is below zero; NaN stays."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var y = x.lt(0).select(SIMD[dt, w](3.14159265358979324), SIMD[dt, w](0))
        return math.isnan(x).select(x, y)


struct Floor(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.floor(x)
        else:
            return x


struct Ceil(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.ceil(x)
        else:
            return x


struct Trunc(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.trunc(x)
        else:
            return x


struct Round(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.round(x)
        else:
            return x


struct RoundDecimals(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        # params: 10**|decimals|, whether decimals is negative
        var p = number[dt, w](params, 0)
        return math.round(x / p) * p if params[unsafe_offset=1] != 0 else math.round(x * p) / p


struct Frac(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x - math.trunc(x)


struct Square(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * x


struct Reciprocal(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return 1 / x


struct Sqrt(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.sqrt(x)


struct Rsqrt(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.rsqrt(x)


struct Relu(Unary):
    """NaN stays."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_signed():
            return x.lt(0).select(SIMD[dt, w](0), x)
        else:
            return x


struct NanToNum(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            var r = math.isinf(x).select(x.gt(0).select(number[dt, w](params, 1), number[dt, w](params, 2)), x)
            return math.isnan(x).select(number[dt, w](params, 0), r)
        else:
            return x


struct IsNan(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.isnan(x)
        else:
            return SIMD[DType.bool, w](fill=False)


struct IsInf(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.isinf(x)
        else:
            return SIMD[DType.bool, w](fill=False)


struct IsFinite(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.isfinite(x)
        else:
            return SIMD[DType.bool, w](fill=True)


struct IsPosInf(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.isinf(x) & ~math.signbit(x)
        else:
            return SIMD[DType.bool, w](fill=False)


struct IsNegInf(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.isinf(x) & math.signbit(x)
        else:
            return SIMD[DType.bool, w](fill=False)


struct SignBit(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        comptime if dt.is_floating_point():
            return math.signbit(x)
        elif dt.is_signed():
            return x.lt(0)
        else:
            return SIMD[DType.bool, w](fill=False)


struct LogicalNot(Predicate):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        return ~truth(x)


# ---------------------------------------------------------------- the ops that check or have parameters


@always_inline
def _is_bool(call: Call) -> Bool:
    return is_tensor(call.obj(0)) and as_tensor(call.obj(0))[].code() == BOOL


def absolute(mut call: Call) raises -> Obj:
    """The absolute value, of complex numbers a real one: (self)."""
    if call.inplace() and is_tensor(call.obj(0)) and is_complex(as_tensor(call.obj(0))[].code()):
        raise Error("RuntimeError|In-place abs is not supported for complex tensors.")
    return pointwise(call)


def angle(mut call: Call) raises -> Obj:
    """The angle with the positive real axis: (self)."""
    var table = TablePtr(unsafe_from_address=call.data())
    # of a complex number it has the dtype of a part, of an integer the default float
    table[].rule = PART if is_complex(call.tensor(0)[].code()) else FLOAT
    return pointwise(call)


def sign(mut call: Call) raises -> Obj:
    """-1, 0 or 1: (self)."""
    if is_tensor(call.obj(0)) and is_complex(as_tensor(call.obj(0))[].code()):
        raise Error(
            "NotImplementedError|Unlike NumPy, torch.sign is not intended to support complex numbers. Please use"
            " torch.sgn instead."
        )
    return pointwise(call)


def neg(mut call: Call) raises -> Obj:
    """The negative of everything but bools: (self)."""
    if _is_bool(call):
        raise Error(
            "RuntimeError|Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a"
            " mask, use the `~` or `logical_not()` operator instead."
        )
    return pointwise(call)


def positive(mut call: Call) raises -> Obj:
    """The tensor itself: (self)."""
    var t = call.tensor(0)
    if t[].code() == BOOL:
        raise Error("RuntimeError|The `+` operator, on a bool tensor is not supported.")
    return new_ref(call.obj(0))


def relu(mut call: Call) raises -> Obj:
    """The positive part: (self)."""
    if _is_bool(call):
        raise Error("RuntimeError|Boolean inputs not supported for relu")
    return pointwise(call)


def round(mut call: Call) raises -> Obj:
    """To the nearest integer or decimal place, halves to even: (self, decimals)."""
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    var decimals = 0
    if call.op[].num_params > 1:
        decimals = call.int(1)
    params[unsafe_offset=0] = Float64(10) ** abs(decimals)
    params[unsafe_offset=1] = 1 if decimals < 0 else 0
    var which = 0 if decimals == 0 else 1
    var table = TablePtr(unsafe_from_address=at[Int](call.data())[unsafe_offset=which])
    return pointwise_with(call, table, params.as_unsafe_any_origin())


def nan_to_num(mut call: Call) raises -> Obj:
    """Finite numbers for NaN (0) and infinities (the dtype's extremes): (self, nan, posinf, neginf)."""
    var code = complex_part(call.tensor(0)[].code())
    var largest = Float64.MAX_FINITE
    if code == FLOAT32:
        largest = Float32.MAX_FINITE.cast[DType.float64]()
    elif code == FLOAT16:
        largest = 65504
    elif code == BFLOAT16:
        largest = 3.3895313892515355e38
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=0] = 0
    params[unsafe_offset=1] = largest
    params[unsafe_offset=2] = -largest
    for i in range(1, min(call.op[].num_params, 4)):
        if not call.is_none(i):
            params[unsafe_offset=i - 1] = call.float(i)
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), params.as_unsafe_any_origin())


@export("dumbtorch_register_unary")
def register_unary() abi("C") -> None:
    register[absolute]("abs", unary_table[Abs, REAL](PART))
    register[angle]("angle", unary_table[Angle, FLOATS](FLOAT))
    register[neg]("neg", unary_table[Neg, REAL](SAME))
    register[positive]("positive")
    register[sign]("sign", unary_table[Sign, ALL](SAME, "sign_cpu"))
    register[pointwise]("sgn", unary_table[Sign, ALL](SAME, "sign_cpu"))
    register[pointwise]("floor", unary_table[Floor, ALL_INTS | FLOATS](SAME, "floor_vml_cpu"))
    register[pointwise]("ceil", unary_table[Ceil, ALL_INTS | FLOATS](SAME, "ceil_vml_cpu"))
    register[pointwise]("trunc", unary_table[Trunc, ALL_INTS | FLOATS](SAME, "trunc_vml_cpu"))
    var whole = unary_table[Round, ALL_INTS | FLOATS](SAME, "round_vml_cpu")
    register[round]("round", tables([whole, unary_table[RoundDecimals, FLOATS](SAME)]))
    register[pointwise]("frac", unary_table[Frac, FLOATS](SAME))
    register[pointwise]("square", unary_table[Square, REAL](COUNT, "pow"))
    register[pointwise]("reciprocal", unary_table[Reciprocal, FLOATS](FLOAT))
    register[pointwise]("sqrt", unary_table[Sqrt, FLOATS](FLOAT))
    register[pointwise]("rsqrt", unary_table[Rsqrt, FLOATS](FLOAT))
    register[relu]("relu", unary_table[Relu, REAL](SAME, "clamp_min_scalar_cpu"))
    register[nan_to_num]("nan_to_num", unary_table[NanToNum, EVERY](SAME))
    register[pointwise]("logical_not", predicate_table[LogicalNot, ALL]())
    register[pointwise]("signbit", predicate_table[SignBit, EVERY]())
    register[pointwise]("isnan", predicate_table[IsNan, EVERY]())
    register[pointwise]("isinf", predicate_table[IsInf, EVERY]())
    register[pointwise]("isfinite", predicate_table[IsFinite, EVERY]())
    register[pointwise]("isposinf", predicate_table[IsPosInf, EVERY]())
    register[pointwise]("isneginf", predicate_table[IsNegInf, EVERY]())
