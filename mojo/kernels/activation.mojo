"""Pointwise activation functions.

Kernel slots: the input, then the numbers in PyTorch's order: gelu (self, approximate); softplus (self, beta, threshold);
elu (self, alpha, scale, input_scale); leaky_relu (self, negative_slope); hardtanh (self, min_val, max_val);
threshold (self, threshold, value); softshrink, hardshrink (self, lambd); silu, mish, hardsigmoid, hardswish,
log_sigmoid (self). The op declares the defaults.
"""

from std.memory import stack_allocation
from kernels import math
from kernels.functor import FLOATS, MAX_NUMBERS, REAL, SAME, TablePtr, Unary, number, tables, unary_table
from kernels.pointwise import pointwise, pointwise_numbers, pointwise_with, table_of
from tensor.call import Call, register
from tensor.dtype import BOOL, UINT8
from tensor.memory import Numbers
from tensor.object import as_tensor
from tensor.py import Obj


@always_inline
def clip[dt: DType, w: SIMDLength](x: SIMD[dt, w], low: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """The number within [low, high]; NaN stays."""
    var y = x.lt(low).select(low, x)
    return y.gt(high).select(high, y)


struct Gelu(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return 0.5 * x * math.erfc(-0.70710678118654752 * x)


struct GeluTanh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var inner = 0.79788456080286536 * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + math.tanh(inner))


struct Silu(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * math.sigmoid(x)


struct Mish(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * math.tanh(math.softplus(x))


struct LogSigmoid(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return math.logsigmoid(x)


struct HardSigmoid(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return clip(x + 3, SIMD[dt, w](0), SIMD[dt, w](6)) / 6


struct HardSwish(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * clip(x + 3, SIMD[dt, w](0), SIMD[dt, w](6)) / 6


struct Softplus(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var beta = number[dt, w](params, 0)
        var z = x * beta
        return z.gt(number[dt, w](params, 1)).select(x, math.log1p(math.exp(z)) / beta)


struct Elu(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var alpha = number[dt, w](params, 0)
        var scale = number[dt, w](params, 1)
        var input_scale = number[dt, w](params, 2)
        return x.le(0).select(math.expm1(x * input_scale) * alpha, x) * scale


struct LeakyRelu(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x.gt(0).select(x, x * number[dt, w](params, 0))


struct HardTanh(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return clip(x, number[dt, w](params, 0), number[dt, w](params, 1))


struct Threshold(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x.le(number[dt, w](params, 0)).select(number[dt, w](params, 1), x)


struct SoftShrink(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var l = number[dt, w](params, 0)
        # x * 0 in between: NaN stays
        return x.gt(l).select(x - l, x.lt(-l).select(x + l, x * 0))


struct HardShrink(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var l = number[dt, w](params, 0)
        return (x.ge(-l) & x.le(l)).select(SIMD[dt, w](0), x)


# ---------------------------------------------------------------- the ops that check


def gelu(mut call: Call) raises -> Obj:
    """The input times the normal distribution's cumulative function: (self, approximate), "none" or "tanh"."""
    var which = 0
    if call.op[].num_params > 1:
        which = gelu_kind(call, 1)
    var none = stack_allocation[MAX_NUMBERS, Float64]()
    return pointwise_with(call, table_of(call, which), none.as_unsafe_any_origin())


def gelu_kind(call: Call, i: Int) raises -> Int:
    """0 for approximate="none", 1 for "tanh"."""
    var approximate = call.string(i)
    if approximate == "none":
        return 0
    if approximate == "tanh":
        return 1
    raise Error("RuntimeError|approximate argument must be either none or tanh.")


def hardtanh(mut call: Call) raises -> Obj:
    """The input within [min_val, max_val]: (self, min_val, max_val)."""
    var code = call.tensor(0)[].code()
    if code == BOOL:
        raise Error("RuntimeError|Bool inputs not supported for hardtanh")
    if code == UINT8 and (call.float(1) < 0 or call.float(2) < 0):
        raise Error("RuntimeError|cannot do hardtanh on an unsigned type with negative limits")
    return pointwise_numbers(call)


def softshrink(mut call: Call) raises -> Obj:
    """Moves the input towards 0 by lambd: (self, lambd)."""
    if not (call.float(1) >= 0):
        raise Error(t"RuntimeError|lambda must be greater or equal to 0, but found to be {call.float(1)}.")
    return pointwise_numbers(call)


@export("dumbtorch_register_activation")
def register_activation() abi("C") -> None:
    register[gelu]("gelu", tables([unary_table[Gelu, FLOATS, True](SAME, "GeluKernelImpl"), unary_table[GeluTanh, FLOATS, True](SAME, "GeluKernelImpl")]))
    register[pointwise]("silu", unary_table[Silu, FLOATS, True](SAME))
    register[pointwise]("mish", unary_table[Mish, FLOATS, True](SAME))
    var log_sigmoid = unary_table[LogSigmoid, FLOATS, True](SAME, "log_sigmoid_cpu")
    register[pointwise]("log_sigmoid", log_sigmoid)
    register[pointwise]("logsigmoid", log_sigmoid)
    register[pointwise]("hardsigmoid", unary_table[HardSigmoid, FLOATS](SAME))
    register[pointwise]("hardswish", unary_table[HardSwish, FLOATS](SAME))
    register[pointwise_numbers]("softplus", unary_table[Softplus, FLOATS, True](SAME))
    register[pointwise_numbers]("elu", unary_table[Elu, FLOATS, True](SAME))
    register[pointwise_numbers]("leaky_relu", unary_table[LeakyRelu, FLOATS](SAME))
    register[hardtanh]("hardtanh", unary_table[HardTanh, REAL](SAME, "clamp_scalar_cpu"))
    register[pointwise_numbers]("threshold", unary_table[Threshold, REAL](SAME))
    register[softshrink]("softshrink", unary_table[SoftShrink, FLOATS](SAME, "softshrink_check"))
    register[pointwise_numbers]("hardshrink", unary_table[HardShrink, FLOATS](SAME))
