"""The derivatives of activation functions, as pointwise ops of the output's gradient and one more operand.

Kernel slots: (grad_output, self), then the forward op's numbers: gelu_backward (.., approximate); softplus_backward
(.., beta, threshold); elu_backward (.., alpha, scale, input_scale); leaky_relu_backward (.., negative_slope);
hardtanh_backward (.., min_val, max_val); threshold_backward (.., threshold); softshrink_backward, hardshrink_backward
(.., lambd). sigmoid_backward and tanh_backward take the output instead of the input; threshold_backward takes either.
"""

from std.memory import stack_allocation
from kernels import math
from kernels.activation import gelu_kind, normal_cdf
from kernels.functor import Binary, FLOATS, MAX_NUMBERS, REAL, SAME, binary_table, number, tables
from kernels.pointwise import pointwise, pointwise_numbers, pointwise_with, table_of
from tensor.call import Call, register
from tensor.memory import Numbers
from tensor.py import Obj


struct Sigmoid(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a * (1 - b) * b


struct Tanh(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a * (1 - b * b)


struct Threshold(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return b.le(number[dt, w](params, 0)).select(SIMD[dt, w](0), a)


struct Gelu(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var both = normal_cdf(b)
        return a * (both[0] + b * (0.39894228040143268 * both[1]))


struct GeluTanh(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime k = 0.79788456080286536
        var t = math.tanh(k * (b + 0.044715 * b * b * b))
        var slope = k * (1 + 0.134145 * b * b)
        return a * 0.5 * (1 + t + b * (1 - t * t) * slope)


struct Silu(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var s = math.sigmoid(b)
        return a * s * (1 + b * (1 - s))


struct Mish(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var s = math.sigmoid(b)
        var t = math.tanh(math.softplus(b))
        return a * (t + b * s * (1 - t * t))


struct LogSigmoid(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return a * math.sigmoid(-b)


struct HardSigmoid(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return (b.gt(-3) & b.lt(3)).select(a / 6, SIMD[dt, w](0))


struct HardSwish(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return b.le(-3).select(SIMD[dt, w](0), b.lt(3).select(a * (b / 3 + 0.5), a))


struct Softplus(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var z = b * number[dt, w](params, 0)
        return z.gt(number[dt, w](params, 1)).select(a, a * math.sigmoid(z))


struct Elu(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var alpha = number[dt, w](params, 0)
        var scale = number[dt, w](params, 1)
        var input_scale = number[dt, w](params, 2)
        return a * scale * b.le(0).select(input_scale * alpha * math.exp(b * input_scale), SIMD[dt, w](1))


struct LeakyRelu(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return b.gt(0).select(a, a * number[dt, w](params, 0))


struct HardTanh(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        return (b.le(number[dt, w](params, 0)) | b.ge(number[dt, w](params, 1))).select(SIMD[dt, w](0), a)


struct Shrink(Binary):
    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        var l = number[dt, w](params, 0)
        return (b.ge(-l) & b.le(l)).select(SIMD[dt, w](0), a)


def gelu_backward(mut call: Call) raises -> Obj:
    """Slots: (grad_output, self, approximate)."""
    var which = 0
    if call.op[].num_params > 2:
        which = gelu_kind(call, 2)
    var none = stack_allocation[MAX_NUMBERS, Float64]()
    return pointwise_with(call, table_of(call, which), none.as_unsafe_any_origin())


@export("dumbtorch_register_activation_backward")
def register_activation_backward() abi("C") -> None:
    register[gelu_backward](
        "gelu_backward", tables([binary_table[Gelu, FLOATS, True](SAME), binary_table[GeluTanh, FLOATS, True](SAME)])
    )
    register[pointwise]("sigmoid_backward", binary_table[Sigmoid, FLOATS](SAME))
    register[pointwise]("tanh_backward", binary_table[Tanh, FLOATS](SAME))
    register[pointwise]("silu_backward", binary_table[Silu, FLOATS, True](SAME))
    register[pointwise]("mish_backward", binary_table[Mish, FLOATS, True](SAME))
    register[pointwise]("log_sigmoid_backward", binary_table[LogSigmoid, FLOATS, True](SAME))
    register[pointwise]("hardsigmoid_backward", binary_table[HardSigmoid, FLOATS](SAME))
    register[pointwise]("hardswish_backward", binary_table[HardSwish, FLOATS](SAME))
    register[pointwise_numbers]("softplus_backward", binary_table[Softplus, FLOATS, True](SAME))
    register[pointwise_numbers]("elu_backward", binary_table[Elu, FLOATS, True](SAME))
    register[pointwise_numbers]("leaky_relu_backward", binary_table[LeakyRelu, FLOATS](SAME))
    register[pointwise_numbers]("hardtanh_backward", binary_table[HardTanh, FLOATS](SAME))
    register[pointwise_numbers]("softshrink_backward", binary_table[Shrink, FLOATS](SAME))
    register[pointwise_numbers]("hardshrink_backward", binary_table[Shrink, FLOATS](SAME))
    register[pointwise_numbers]("threshold_backward", binary_table[Threshold, REAL](SAME))
