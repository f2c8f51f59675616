"""Losses of an element and its target, reduced in the pass that computes them, and their derivatives by the element."""

from std.ffi import external_call
from std.math import ceildiv, iota
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of
from tensor.layout import shape_text
from tensor.memory import at, load, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from tensor.threads import Body, num_threads
from kernels.functor import compute
from kernels.math import exp, fabs, log, log1p, sigmoid
from kernels.pointwise import unsupported
from kernels.reduction import REDUCE_MEAN, REDUCE_NONE, reduction_of
from kernels.rows import get, get_some, set, set_some
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime BLOCK = 4096
"""Elements that are added up in the compute type; the sums of the blocks are added in float64, in order."""


trait Loss:
    """A loss of x and its target y, with one number p."""

    comptime unit: Bool
    """Whether x must lie in [0, 1]."""

    @staticmethod
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        ...

    @staticmethod
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        """The derivative of the value by x."""
        ...


@always_inline
def _sign[dt: DType, w: SIMDLength](d: SIMD[dt, w], size: SIMD[dt, w]) -> SIMD[dt, w]:
    """`size` with the sign of d, 0 where d is 0; NaN stays."""
    return d.gt(0).select(size, d.lt(0).select(-size, d))


struct Square(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return (x - y) * (x - y)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return (x - y) + (x - y)


struct Absolute(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return fabs(x - y)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return _sign(x - y, SIMD[dt, w](1))


struct SmoothAbsolute(Loss):
    comptime unit = False  # p: where the square ends

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var d = fabs(x - y)
        return d.lt(p).select(0.5 * d * d / p, d - 0.5 * p)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var d = x - y
        return fabs(d).lt(p).select(d / p, _sign(d, SIMD[dt, w](1)))


struct Huber(Loss):
    comptime unit = False  # p: where the square ends

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var d = fabs(x - y)
        return d.lt(p).select(0.5 * d * d, p * (d - 0.5 * p))

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var d = x - y
        return fabs(d).lt(p).select(d, _sign(d, p))


struct BinaryEntropy(Loss):
    comptime unit = True  # logarithms are held at -100 and up, the derivative's denominator away from 0

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var low = SIMD[dt, w](-100)
        var yes = log(x)
        var no = log1p(-x)
        return (y - 1) * no.lt(low).select(low, no) - y * yes.lt(low).select(low, yes)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        var low = SIMD[dt, w](1e-12)
        var spread = (1 - x) * x
        return (x - y) / spread.lt(low).select(low, spread)


struct LogitEntropy(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return _softplus(-x) + (1 - y) * x

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return sigmoid(x) - y


@always_inline
def _softplus[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """log(1 + exp(x)) without overflow."""
    return x.gt(0).select(x, x - x) + log1p(exp(-fabs(x)))


struct Divergence(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return y.eq(0).select(y, y * log(y)) - y * x  # 0 log 0 is 0

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return -y


struct LogDivergence(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return exp(y) * (y - x)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return -exp(y)


struct SoftMargin(Loss):
    comptime unit = False

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return _softplus(-y * x)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return -y * sigmoid(-y * x)


struct LogPoisson(Loss):
    comptime unit = False  # x is the logarithm of the rate

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return exp(x) - y * x

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return exp(x) - y


struct Poisson(Loss):
    comptime unit = False  # x is the rate, p what keeps its logarithm finite

    @staticmethod
    @always_inline
    def value[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return x - y * log(x + p)

    @staticmethod
    @always_inline
    def slope[dt: DType, w: SIMDLength](x: SIMD[dt, w], y: SIMD[dt, w], p: SIMD[dt, w]) -> SIMD[dt, w]:
        return 1 - y / (x + p)


struct Elements[L: Loss, dt: DType](Body):
    """A loss, or its derivative, of all elements: written, or added up block by block."""

    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    comptime V = SIMD[Self.C, Self.W]
    var x: Int
    var y: Int
    var n: Int
    var p: Float64
    var out: Int  # one value an element; 0: they are added up
    var sums: Int  # one float64 a block
    var grad: Int  # 0: the value; else the derivative times this gradient
    var step: Int  # 1: a gradient an element, 0: one for all
    var factor: Float64  # of the gradient
    var outside: Int  # set if an element is not in [0, 1] and must be
    var blocks: Int  # of a task

    def __init__(out self, x: Int, y: Int, n: Int, p: Float64):
        self.x = x
        self.y = y
        self.n = n
        self.p = p
        self.out = 0
        self.sums = 0
        self.grad = 0
        self.step = 0
        self.factor = 1
        self.outside = 0
        self.blocks = 0

    def execute(mut self):
        var blocks = ceildiv(self.n, BLOCK)
        self.blocks = blocks if blocks < 4 or num_threads() == 1 else ceildiv(blocks, num_threads() * 4)
        run_tasks(self, ceildiv(blocks, max(self.blocks, 1)), self.n)

    def run(self, task: Int, worker: Int):
        var first = task * self.blocks
        for block in range(first, min(first + self.blocks, ceildiv(self.n, BLOCK))):
            var start = block * BLOCK
            var stop = min(start + BLOCK, self.n)
            if self.grad != 0:
                self._slopes(start, stop)
            elif self.out != 0:
                self._values(start, stop)
            else:
                at[Float64](self.sums)[unsafe_offset=block] = self._sum(start, stop)

    @always_inline
    def _check(self, x: Self.V, n: Int):
        comptime if Self.L.unit:
            var inside = x.ge(0) & x.le(1)
            if not (inside | iota[DType.int32, Self.W]().ge(SIMD[DType.int32, Self.W](Int32(n)))).reduce_and():
                store[Int](self.outside, 1)

    @always_inline
    def _value(self, i: Int, n: Int) -> Self.V:
        """The values of elements i .. i + min(n, W); 0 in the lanes after them."""
        var p = Self.V(self.p.cast[Self.C]())
        if n >= Self.W:
            var x = get[Self.dt, Self.W](self.x, i)
            self._check(x, n)
            return Self.L.value(x, get[Self.dt, Self.W](self.y, i), p)
        var x = get_some[Self.dt, Self.W](self.x, i, n)
        self._check(x, n)
        var v = Self.L.value(x, get_some[Self.dt, Self.W](self.y, i, n), p)
        return iota[DType.int32, Self.W]().lt(SIMD[DType.int32, Self.W](Int32(n))).select(v, Self.V(0))

    def _sum(self, start: Int, stop: Int) -> Float64:
        var a = Self.V(0)
        var b = Self.V(0)
        var i = start
        while i + 2 * Self.W <= stop:
            a += self._value(i, Self.W)
            b += self._value(i + Self.W, Self.W)
            i += 2 * Self.W
        while i < stop:
            a += self._value(i, stop - i)
            i += Self.W
        return (a + b).reduce_add().cast[DType.float64]()

    def _values(self, start: Int, stop: Int):
        var i = start
        while i + Self.W <= stop:
            set[Self.dt, Self.W](self.out, i, self._value(i, Self.W))
            i += Self.W
        if i < stop:
            set_some[Self.dt, Self.W](self.out, i, stop - i, self._value(i, stop - i))

    def _slopes(self, start: Int, stop: Int):
        var p = Self.V(self.p.cast[Self.C]())
        var factor = self.factor.cast[Self.C]()
        var one = Self.V(get[Self.dt, 1](self.grad, 0) * factor)
        var i = start
        while i + Self.W <= stop:
            var g = one if self.step == 0 else get[Self.dt, Self.W](self.grad, i)
            var s = Self.L.slope(get[Self.dt, Self.W](self.x, i), get[Self.dt, Self.W](self.y, i), p)
            set[Self.dt, Self.W](self.out, i, s * g)
            i += Self.W
        if i < stop:
            var n = stop - i
            var g = one if self.step == 0 else get_some[Self.dt, Self.W](self.grad, i, n)
            var s = Self.L.slope(get_some[Self.dt, Self.W](self.x, i, n), get_some[Self.dt, Self.W](self.y, i, n), p)
            set_some[Self.dt, Self.W](self.out, i, n, s * g)


def _checked(call: Call, x: TPtr, y: TPtr) raises -> Int:
    """The dtype of both, which must have one shape."""
    var code = x[].code()
    if code < FLOAT16 or code > FLOAT64 or y[].code() != code or x[].device() != 0 or y[].device() != 0:
        raise unsupported(call.name(), code if y[].code() == code else y[].code())
    var same = x[].rank() == y[].rank()
    for i in range(x[].rank()):
        same = same and x[].shape[i] == y[].shape[i]
    if not same:
        raise call.fail(
            "RuntimeError",
            String(t"input {shape_text(x[].shape, x[].rank())} and target {shape_text(y[].shape, y[].rank())} differ"),
        )
    return code


def value_of[L: Loss](mut call: Call) raises -> Obj:
    """Parameters (input, target, number, reduction)."""
    var x = call.tensor(0)
    var y = call.tensor(1)
    var code = _checked(call, x, y)
    var p = call.float(2)
    var reduction = reduction_of(call, 3)
    var first = contiguous_of(x, code)
    var second = contiguous_of(y, code)
    var rank = x[].rank() if reduction == REDUCE_NONE else 0
    var result = new_tensor(code, x[].shape, rank)
    var sums = external_call["malloc", Int](8 * ceildiv(x[].numel, BLOCK) + 16)
    if sums == 0:
        raise call.fail("OutOfMemoryError", "no memory for the sums of the blocks")
    store[Int](sums, 0)
    comptime for c in range(9, 13):
        if code == c:
            comptime dt = dtype_of[c]
            var work = Elements[L, dt](as_tensor(first)[].data(), as_tensor(second)[].data(), x[].numel, p)
            work.outside = sums
            work.sums = sums + 8
            if reduction == REDUCE_NONE:
                work.out = as_tensor(result)[].data()
            work.execute()
            if reduction != REDUCE_NONE:
                var total = Float64(0)
                for block in range(ceildiv(x[].numel, BLOCK)):
                    total += at[Float64](work.sums)[unsafe_offset=block]
                if reduction == REDUCE_MEAN:
                    total /= Float64(x[].numel)
                at[Scalar[dt]](as_tensor(result)[].data())[] = total.cast[dt]()
    var outside = load[Int](sums)
    external_call["free", NoneType](sums)
    decref(first)
    decref(second)
    if outside != 0:
        decref(result)
        raise call.fail("RuntimeError", "all elements of input should be between 0 and 1")
    return result


def slope_of[L: Loss](mut call: Call) raises -> Obj:
    """Parameters (grad_output, input, target, number, reduction): the gradient of the input."""
    var g = call.tensor(0)
    var x = call.tensor(1)
    var y = call.tensor(2)
    var code = _checked(call, x, y)
    var p = call.float(3)
    var reduction = reduction_of(call, 4)
    if g[].numel != (x[].numel if reduction == REDUCE_NONE else 1) or g[].device() != 0:
        raise call.fail("RuntimeError", String(t"grad_output has {g[].numel} elements for {x[].numel} losses"))
    var first = contiguous_of(x, code)
    var second = contiguous_of(y, code)
    var grad = contiguous_of(g, code)
    var result = new_tensor(code, x[].shape, x[].rank())
    comptime for c in range(9, 13):
        if code == c and x[].numel > 0:
            comptime dt = dtype_of[c]
            var work = Elements[L, dt](as_tensor(first)[].data(), as_tensor(second)[].data(), x[].numel, p)
            work.out = as_tensor(result)[].data()
            work.grad = as_tensor(grad)[].data()
            work.step = Int(reduction == REDUCE_NONE)
            if reduction == REDUCE_MEAN:
                work.factor = 1 / Float64(x[].numel)
            work.execute()
    decref(first)
    decref(second)
    decref(grad)
    return result


def _register[L: Loss](name: String):
    register[value_of[L]](name)
    register[slope_of[L]](name + "_backward")


@export("dumbtorch_register_loss_pointwise")
def register_loss_pointwise() abi("C") -> None:
    _register[Square]("fused_mse_loss")
    _register[Absolute]("fused_l1_loss")
    _register[SmoothAbsolute]("fused_smooth_l1_loss")
    _register[Huber]("fused_huber_loss")
    _register[BinaryEntropy]("fused_binary_cross_entropy")
    _register[LogitEntropy]("fused_binary_cross_entropy_with_logits")
    _register[Divergence]("fused_kl_div")
    _register[LogDivergence]("fused_kl_div_log_target")
    _register[SoftMargin]("fused_soft_margin_loss")
    _register[LogPoisson]("fused_poisson_nll_log_input")
    _register[Poisson]("fused_poisson_nll")
