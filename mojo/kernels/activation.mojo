"""Pointwise activation functions.

Kernel slots: the input, then the numbers in PyTorch's order: gelu (self, approximate); softplus (self, beta, threshold);
elu (self, alpha, scale, input_scale); leaky_relu (self, negative_slope); hardtanh (self, min_val, max_val);
threshold (self, threshold, value); softshrink, hardshrink (self, lambd); silu, mish, hardsigmoid, hardswish,
log_sigmoid (self). The op declares the defaults.
"""

from std.math import fma
from std.memory import stack_allocation
from kernels import math
from kernels.lanes import clip
from kernels.functor import FLOATS, MAX_NUMBERS, REAL, SAME, TablePtr, Unary, number, tables, unary_table
from kernels.math_core import _exp_split, _exp_tail, bits_const, from_bits, poly
from kernels.pointwise import pointwise, pointwise_numbers, pointwise_with, table_of
from tensor.call import Call, register
from tensor.dtype import BOOL, UINT8
from tensor.memory import Numbers
from tensor.object import as_tensor
from tensor.py import Obj


@always_inline
def normal_cdf[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Tuple[SIMD[dt, w], SIMD[dt, w]]:
    """The normal distribution's cumulative function, and exp(-x**2 / 2).

    float32: 2 ulp above -1; relative 5e-6 in the far lower tail, which ends (with 0) at -13.1."""
    comptime V = SIMD[dt, w]
    comptime if dt == DType.float32:
        var a = math.fabs(x)
        var out = a.gt(13.1)
        a = out.select(V(13.1), a)
        # the exponential of [-86, 0] needs no care for its ends
        var rn = _exp_split(-0.5 * a * a)
        var r = rn[0]
        var power = from_bits[dt]((rn[1] + bits_const[dt, w, 127]()) << bits_const[dt, w, 23]())
        var e = fma(fma(r * r, _exp_tail(r), r), power, power)
        # the tail as exp(-a**2 / 2) t P(t) with t = 1 / (1 + a / 4); P fitted to a relative 4e-8
        var t = 1 / fma(a, V(0.25), V(1))
        var p = poly[
            0.09973556672,
            0.09973643172,
            0.09346635169,
            0.08160315583,
            0.05897485434,
            0.06370012464,
            -0.03171951534,
            0.09559932,
            -0.08087863968,
            0.01978233312,
        ](t)
        e = out.select(V(0), e)
        var tail = e * t * p
        return x.gt(0).select(1 - tail, tail), e
    else:
        return 0.5 * math.erfc(-0.70710678118654752 * x), math.exp(-0.5 * x * x)


struct Gelu(Unary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return x * normal_cdf(x)[0]


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
    register[gelu](
        "gelu",
        tables(
            [
                unary_table[Gelu, FLOATS, True](SAME, "GeluKernelImpl"),
                unary_table[GeluTanh, FLOATS, True](SAME, "GeluKernelImpl"),
            ]
        ),
    )
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
