"""Pointwise ops on the parts of numbers. Kernel slots: heaviside (self, values); frexp (self)."""

from std.memory import bitcast
from kernels import math
from kernels.functor import (
    ALL,
    Binary,
    SAME,
    binary_table,
    compute,
    load_lanes,
    load_some,
    store_lanes,
    store_some,
    width_of,
)
from kernels.math_core import BIAS, BitsOf, MANTISSA, from_bits, to_bits
from kernels.strict import pointwise_alike
from kernels.transfer_api import copy_into, on_device, on_host
from kernels.unlocked import run_tasks
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT32, dtype_of
from tensor.layout import dense_strides, same_dims
from tensor.memory import Numbers
from tensor.object import TPtr, as_tensor, new_strided
from tensor.py import Obj, decref, new_ref, tuple_new, tuple_set
from tensor.threads import Body

comptime TASK = 32768


struct Heaviside(Binary):
    """The step: 0 below 0 and for NaN, 1 above, b at 0."""

    @staticmethod
    @always_inline
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        comptime if dt == DType.bool:
            return (a._refine[DType.bool, w]() | b._refine[DType.bool, w]())._refine[dt, w]()
        else:
            return a.eq(0).select(b, a.gt(0).select(SIMD[dt, w](1), SIMD[dt, w](0)))


# ---------------------------------------------------------------- frexp


@always_inline
def split[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Tuple[SIMD[dt, w], SIMD[DType.int32, w]]:
    """(m, e) with x = m * 2**e and |m| in [1/2, 1); (x, 0) for zero, infinity and NaN."""
    comptime I = DType.int32 if dt == DType.float32 else DType.int64
    comptime B = Scalar[I]
    comptime bits = B(MANTISSA[dt])
    comptime field = B(2 * BIAS[dt] + 1)
    var plain = math.isfinite(x) & x.ne(0)
    var tiny = (bitcast[I](x) & SIMD[I, w](field << bits)).eq(0)
    # a denormal number is scaled to a normal one
    var y = tiny.select(x * SIMD[dt, w](Scalar[dt](1 << (MANTISSA[dt] + 1))), x)
    var u = bitcast[I](y)
    var e = ((u >> SIMD[I, w](bits)) & SIMD[I, w](field)) - SIMD[I, w](B(BIAS[dt] - 1))
    e = e - tiny.select(SIMD[I, w](bits + 1), SIMD[I, w](0))
    var m = bitcast[dt]((u & SIMD[I, w](~(field << bits))) | SIMD[I, w](B(BIAS[dt] - 1) << bits))
    return plain.select(m, x), plain.select(e, SIMD[I, w](0)).cast[DType.int32]()


@fieldwise_init
struct Frexp[dt: DType](Body):
    var source: Int
    var mantissa: Int
    var exponent: Int
    var n: Int

    def run(self, task: Int, worker: Int):
        comptime W = width_of[Self.dt]
        var i = task * TASK
        var end = min(i + TASK, self.n)
        while i + W <= end:
            var r = split(load_lanes[Self.dt, W](self.source, i))
            store_lanes[Self.dt, W](self.mantissa, i, r[0])
            store_lanes[DType.int32, W](self.exponent, i, r[1])
            i += W
        if i < end:
            var r = split(load_some[Self.dt, W](self.source, i, end))
            store_some[Self.dt, W](self.mantissa, i, end, r[0])
            store_some[DType.int32, W](self.exponent, i, end, r[1])


def _dense(t: TPtr) raises -> Obj:
    """A new reference to the tensor where its elements lie side by side in any order, else to a copy where they do."""
    var strides = dense_strides(t[].shape, t[].strides, t[].rank())
    if same_dims(strides, t[].strides, t[].rank()):
        return new_ref(Int(t))
    var made = new_strided(t[].code(), t[].shape, strides, t[].rank())
    try:
        copy_into(as_tensor(made), t)
    except e:
        decref(made)
        raise e^
    return made


def frexp(mut call: Call) raises -> Obj:
    """Mantissa and exponent (int32), in the input's order of dimensions: (self)."""
    var t = call.tensor(0)
    var code = t[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise Error("RuntimeError|torch.frexp() only supports floating-point dtypes")
    var device = t[].device()
    var here = on_host(t)
    var source: Obj
    try:
        source = _dense(as_tensor(here))
    finally:
        decref(here)
    var n = t[].numel
    ref s = as_tensor(source)[]
    var mantissa = new_strided(code, s.shape, s.strides, s.rank())
    var exponent = new_strided(INT32, s.shape, s.strides, s.rank())
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            var body = Frexp[dtype_of[c]](
                as_tensor(source)[].data(), as_tensor(mantissa)[].data(), as_tensor(exponent)[].data(), n
            )
            run_tasks(body, (n + TASK - 1) // TASK, n)
    decref(source)
    var both = tuple_new(2)
    tuple_set(both, 0, on_device(mantissa, device))
    tuple_set(both, 1, on_device(exponent, device))
    return both


@export("dumbtorch_register_numbers")
def register_numbers() abi("C") -> None:
    register[pointwise_alike]("heaviside", binary_table[Heaviside, ALL](SAME, "heaviside_cpu"))
    register[frexp]("frexp")
