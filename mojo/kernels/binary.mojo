"""Pointwise arithmetic of two operands: +, -, *, /, //, %, **.

Kernel slots: add, sub, rsub (self, other, alpha); mul, true_divide, floor_divide, remainder, fmod, pow (self, other);
div (self, other, rounding_mode). Trailing parameters may be left out of an op.
"""

from std.math import fma
from std.memory import stack_allocation
from std.sys.info import size_of
from kernels import math

from kernels.functor import (
    ALL, Binary, EVERY, FAULT, FLOAT, FLOATS, IMAGINARY, INTS, MAX_NUMBERS, REAL, SAME, Unary, binary_table, number, tables,
    unary_table, wide,
)  # fmt: skip
from kernels.pointwise import divide_with, pointwise, pointwise_checked, pointwise_with, table_of
from kernels.unary import Itself
from tensor.call import Call, Scalar2, register
from tensor.dtype import BOOL, FLOAT16, category
from tensor.memory import Numbers
from tensor.object import as_tensor, is_tensor
from tensor.py import Obj, class_of
from tensor.runtime import runtime


struct Add(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() | b._refine[DType.bool, w]())._refine[dt, w]()
        else:
            return a + b


struct AddScaled(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            var scaled = b._refine[DType.bool, w]() & number[DType.bool, w](params, 0)
            return (a._refine[DType.bool, w]() | scaled)._refine[dt, w]()
        else:
            return fma(number[dt, w](params, 0), b, a)


struct Sub(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a - b


struct SubReversed(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return fma(-number[dt, w](params, 0), a, b)


struct Mul(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() & b._refine[DType.bool, w]())._refine[dt, w]()
        else:
            return a * b


struct TrueDivide(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a / b


# ---------------------------------------------------------------- division with remainder


@always_inline
def int_quotient[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
    """The quotient, truncated. Never traps: division by zero is marked in `params`, the lowest number / -1 wraps."""
    comptime V = SIMD[dt, w]
    var zero = b.eq(0)
    if zero.reduce_or():
        params[unsafe_offset=FAULT] = 1
    var minus = zero
    comptime if dt.is_signed():
        minus = b.eq(-1)
    var divisor = (zero | minus).select(V(1), b)
    var q: V
    # the quotient of floats with twice the digits, truncated, is exact
    comptime if size_of[Scalar[dt]]() <= 2:
        q = (a.cast[DType.float32]() / divisor.cast[DType.float32]()).cast[DType.int32]().cast[dt]()
    elif dt == DType.int32:
        q = (a.cast[DType.float64]() / divisor.cast[DType.float64]()).cast[DType.int32]().cast[dt]()
    else:
        q = V(0)
        for i in range(Int(w)):
            var x = a[i].cast[DType.int64]()
            var y = divisor[i].cast[DType.int64]()
            var ux = UInt64(0) - x.cast[DType.uint64]() if x < 0 else x.cast[DType.uint64]()
            var uy = UInt64(0) - y.cast[DType.uint64]() if y < 0 else y.cast[DType.uint64]()
            var r = (ux // uy).cast[DType.int64]()
            q[i] = (0 - r if (x < 0) != (y < 0) else r).cast[dt]()
    comptime if dt.is_signed():
        q = minus.select(0 - a, q)
    return q


@always_inline
def _signs_differ[dt: DType, w: SIMDLength](r: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    comptime if dt.is_signed():
        return r.ne(0) & (r.lt(0) ^ b.lt(0))
    else:
        return SIMD[DType.bool, w](fill=False)


struct TruncDivide(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.trunc(a / b)
        else:
            return int_quotient(a, b, params)


struct FloorDivide(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.floor_divide(a, b)
        else:
            var q = int_quotient(a, b, params)
            return _signs_differ(a - q * b, b).select(q - 1, q)


struct Remainder(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.remainder(a, b)
        else:
            var r = a - int_quotient(a, b, params) * b
            return _signs_differ(r, b).select(r + b, r)


struct Fmod(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt.is_floating_point():
            return math.fmod(a, b)
        else:
            return a - int_quotient(a, b, params) * b


# ---------------------------------------------------------------- powers


struct Pow(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime V = SIMD[dt, w]
        comptime if dt.is_floating_point():
            return math.pow(a, b)
        else:
            # by squaring; the exponent's bits as unsigned, so that a negative one ends too
            comptime U = DType.uint64 if size_of[Scalar[dt]]() == 8 else DType.uint32
            var e = b.cast[U]()
            comptime if dt.is_signed():
                e = b.lt(0).select(SIMD[U, w](0), e)
            var r = V(1)
            var base = a
            while e.ne(0).reduce_or():
                r = (e & 1).ne(0).select(r * base, r)
                base = base * base
                e = e >> 1
            comptime if dt.is_signed():
                # 1 / a**-b truncated
                var odd = (b & 1).ne(0)
                var unit = a.eq(1).select(V(1), a.eq(-1).select(odd.select(V(-1), V(1)), V(0)))
                return b.lt(0).select(unit, r)
            else:
                return r


struct Square(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * x


struct Cube(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * x * x


struct Root(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.sqrt(x)


struct Reciprocal(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return 1 / x


struct InverseSquare(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return 1 / (x * x)


struct One(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return SIMD[DType.uint8, w](1).cast[dt]()


struct InverseRoot(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return 1 / math.sqrt(x)


# ---------------------------------------------------------------- the ops


@always_inline
def _default(call: Call, i: Int) -> Bool:
    """Parameter i was left out, or the op has no such parameter."""
    return call.op[].num_params <= i or call.obj(i) == call.op[].defaults[i]


@always_inline
def _is_bool(o: Obj) -> Bool:
    if is_tensor(o):
        return as_tensor(o)[].code() == BOOL
    return class_of(o) == runtime()[].bool_type


def _check_sub(call: Call) raises:
    """Bools are not subtracted."""
    var a = _is_bool(call.obj(0))
    var b = _is_bool(call.obj(1))
    if a and b:
        raise Error(
            "RuntimeError|Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or"
            " `logical_xor()` operator instead."
        )
    if a or b:
        raise Error(
            "RuntimeError|Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to"
            " invert a mask, use the `~` or `logical_not()` operator instead."
        )


def _alpha(call: Call) raises -> Scalar2:
    """The factor of `other`: an integer for integers, a real number for real ones."""
    var alpha = call.scalar(2)
    var highest = 0
    for i in range(2):
        var o = call.obj(i)
        if is_tensor(o):
            highest = max(highest, category(as_tensor(o)[].code()))
        elif class_of(o) == runtime()[].float_type:
            highest = max(highest, 2)
        elif class_of(o) == runtime()[].complex_type:
            highest = max(highest, 3)
        elif not _is_bool(o):
            highest = max(highest, 1)
    if alpha.category >= 2 and highest < 2:
        raise Error("RuntimeError|For integral input tensors, argument alpha must not be a floating point number.")
    if alpha.category == 0 and highest > 0:
        raise Error("RuntimeError|Boolean alpha only supported for Boolean results.")
    if alpha.category == 3 and highest < 3:
        raise Error("RuntimeError|For non-complex input tensors, argument alpha must not be a complex number.")
    return alpha


@always_inline
def _is_one(s: Scalar2) -> Bool:
    return s.d == 1 and s.im == 0


def add(mut call: Call) raises -> Obj:
    """Adds: self + alpha * other: (self, other, alpha)."""
    if _default(call, 2):
        return pointwise_plain(call, 0)
    var alpha = _alpha(call)
    if _is_one(alpha):
        return pointwise_plain(call, 0)
    return _scaled(call, 1, alpha.d, alpha.im)


def sub(mut call: Call) raises -> Obj:
    """Subtracts: self - alpha * other: (self, other, alpha)."""
    if _is_bool(call.obj(0)) or _is_bool(call.obj(1)):
        _check_sub(call)
    if _default(call, 2):
        return pointwise_plain(call, 0)
    var alpha = _alpha(call)
    if _is_one(alpha):
        return pointwise_plain(call, 0)
    return _scaled(call, 1, -alpha.d, -alpha.im)


def rsub(mut call: Call) raises -> Obj:
    """Subtracts: other - alpha * self: (self, other, alpha)."""
    _ = call.tensor(0)
    _check_sub(call)
    if _default(call, 2):
        return _scaled(call, 0, 1, 0)
    var alpha = _alpha(call)
    return _scaled(call, 0, alpha.d, alpha.im)


def pointwise_plain(mut call: Call, table: Int) raises -> Obj:
    var none = stack_allocation[MAX_NUMBERS, Float64]()
    return pointwise_with(call, table_of(call, table), none.as_unsafe_any_origin())


def _scaled(mut call: Call, table: Int, alpha: Float64, imaginary: Float64) raises -> Obj:
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=0] = alpha
    params[unsafe_offset=IMAGINARY] = imaginary
    return pointwise_with(call, table_of(call, table), params.as_unsafe_any_origin())


def div(mut call: Call) raises -> Obj:
    """Divides: self / other: (self, other, rounding_mode), the mode None, "trunc" or "floor"."""
    if _default(call, 2) or call.is_none(2):
        return pointwise_plain(call, 0)
    var mode = call.string(2)
    if mode == "trunc":
        return divide_with(call, table_of(call, 1))
    if mode == "floor":
        return divide_with(call, table_of(call, 2))
    raise Error(t"RuntimeError|div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'")


def fmod(mut call: Call) raises -> Obj:
    """The remainder with the sign of self: (self, other), self no number."""
    _ = call.tensor(0)
    return pointwise_checked(call)


def remainder(mut call: Call) raises -> Obj:
    """The remainder with the sign of other: (self, other), not both numbers."""
    if not call.is_tensor(0):
        _ = call.tensor(1)
    return pointwise_checked(call)


def pow(mut call: Call) raises -> Obj:
    """Powers: self ** other: (self, other). Common numeric exponents of floating tensors have kernels of their own."""
    var first = call.obj(0)
    var second = call.obj(1)
    if not is_tensor(first):
        _ = call.tensor(1)
    if is_tensor(first) and not is_tensor(second):
        var s = call.scalar(1)
        var kind = category(as_tensor(first)[].code())
        if kind < 2 and s.category == 1 and s.i < 0:
            raise Error("RuntimeError|Integers to negative integer powers are not allowed.")
        if s.category <= kind and s.im == 0 and as_tensor(first)[].device() == 0:
            if s.d == 1:
                return pointwise_plain(call, 7)
            if s.d == 0:
                return pointwise_plain(call, 8)
        if kind >= 2 and s.im == 0 and s.category <= kind:
            var special = 0
            # of -inf the root is NaN, the power inf: PyTorch has the power for float16 alone
            var root = as_tensor(first)[].code() != FLOAT16
            if s.d == 2:
                special = 1
            elif s.d == 3:
                special = 2
            elif s.d == 0.5 and root:
                special = 3
            elif s.d == -1:
                special = 4
            elif s.d == -2:
                special = 5
            elif s.d == -0.5 and root:
                special = 6
            return pointwise_plain(call, special)
    return pointwise_plain(call, 0)


@export("dumbtorch_register_binary")
def register_binary() abi("C") -> None:
    var plus = binary_table[Add, ALL](SAME, "add_stub")
    var scaled = binary_table[AddScaled, ALL](SAME, "add_stub")
    register[add]("add", tables([plus, scaled]))
    register[sub]("sub", tables([binary_table[Sub, REAL](SAME, "add_stub"), scaled]))
    register[rsub]("rsub", tables([binary_table[SubReversed, REAL](SAME, "add_stub")]))
    register[pointwise]("mul", wide(binary_table[Mul, EVERY](SAME, "mul_cpu")))
    var quotient = wide(binary_table[TrueDivide, FLOATS](FLOAT, "div_true_cpu"))
    var truncated = binary_table[TruncDivide, REAL](SAME, "div_trunc_cpu")
    var floored = binary_table[FloorDivide, REAL, True](SAME, "div_floor_cpu")
    register[div]("div", tables([quotient, truncated, floored]))
    register[pointwise]("true_divide", quotient)
    register[pointwise_checked]("floor_divide", floored)
    register[remainder]("remainder", binary_table[Remainder, REAL, True](SAME))
    register[fmod]("fmod", binary_table[Fmod, REAL, True](SAME))
    register[pow](
        "pow",
        tables(
            [
                binary_table[Pow, REAL, True](SAME, "pow"),
                unary_table[Square, FLOATS](SAME, "pow"),
                unary_table[Cube, FLOATS](SAME, "pow"),
                unary_table[Root, FLOATS](SAME, "pow"),
                unary_table[Reciprocal, FLOATS](SAME, "pow"),
                unary_table[InverseSquare, FLOATS](SAME, "pow"),
                unary_table[InverseRoot, FLOATS](SAME, "pow"),
                unary_table[Itself, EVERY](SAME, "pow"),
                unary_table[One, EVERY](SAME, "pow"),
            ]
        ),
    )
