"""Normalization: rows by their own mean and deviation (layer, group, instance, RMS), channels by theirs (batch).

A row is `n` neighbouring elements; every `inner` of them share one weight, and the rows go through the weights in turn: a
layer norm has inner == 1 and as many weights as elements, a group norm inner == the size of a plane. A channel is what
has the same place in the middle of (outer, channels, inner). Half types compute in float32; weights and statistics are of
the type that is computed in. Sums over rows are cut into a fixed number of parts, so that the result is the same for any
number of threads.

Ba et al. 2016, Wu and He 2018, Zhang and Sennrich 2019, Ioffe and Szegedy 2015.
"""

from std.ffi import external_call
from std.math import ceildiv, sqrt
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT32, FLOAT64, dtype_of
from tensor.layout import no_dims, same_dims, shape_text
from tensor.memory import at
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, new_ref, tuple_new, tuple_set
from tensor.runtime import runtime
from tensor.threads import Body, num_threads
from kernels.functor import compute
from kernels.held import Held
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime PARTS = 16  # how many parts the rows are cut into where sums over them are taken
comptime SMALL = 32768  # elements that one thread does alone
comptime BLOCK = 4096  # elements summed in the computing type before the sum goes on in float64


@always_inline
def _get[dt: DType, w: Int](address: Int, i: Int) -> SIMD[compute[dt], w]:
    return at[Scalar[dt]](address).unsafe_load[width=w](i).cast[compute[dt]]()


@always_inline
def _set[dt: DType, w: Int](address: Int, i: Int, v: SIMD[compute[dt], w]):
    at[Scalar[dt]](address).unsafe_store(i, v.cast[dt]())


@always_inline
def _read[dt: DType, w: Int](address: Int, i: Int) -> SIMD[dt, w]:
    return at[Scalar[dt]](address).unsafe_load[width=w](i)


@always_inline
def _write[dt: DType, w: Int](address: Int, i: Int, v: SIMD[dt, w]):
    at[Scalar[dt]](address).unsafe_store(i, v)


def _sums[dt: DType](a: Int, b: Int, start: Int, n: Int, shift: Scalar[compute[dt]]) -> Tuple[Float64, Float64]:
    """Of n neighbouring elements: the sum of a - shift, and that of its square, or of (a - shift) * b for an address b.
    """
    comptime C = compute[dt]
    comptime W = simd_width_of[C]()
    comptime V = SIMD[C, W]
    var first = Float64(0)
    var second = Float64(0)
    var i = 0
    while i < n:
        var end = min(i + BLOCK, n)
        var s = V(0)
        var s2 = V(0)
        var t = V(0)
        var t2 = V(0)
        while i + 2 * W <= end:
            var x = _get[dt, W](a, start + i) - V(shift)
            var y = _get[dt, W](a, start + i + W) - V(shift)
            s += x
            t += y
            if b != 0:
                s2 += x * _get[dt, W](b, start + i)
                t2 += y * _get[dt, W](b, start + i + W)
            else:
                s2 += x * x
                t2 += y * y
            i += 2 * W
        s += t
        s2 += t2
        var rest = Scalar[C](0)
        var rest2 = Scalar[C](0)
        while i < end:
            var x = _get[dt, 1](a, start + i) - shift
            rest += x
            rest2 += x * (_get[dt, 1](b, start + i) if b != 0 else x)
            i += 1
        first += (s.reduce_add() + rest).cast[DType.float64]()
        second += (s2.reduce_add() + rest2).cast[DType.float64]()
    return (first, second)


@always_inline
def _scale_shift[dt: DType](x: Int, y: Int, start: Int, n: Int, scale: Scalar[compute[dt]], shift: Scalar[compute[dt]]):
    """`y = x * scale + shift` over neighbouring elements."""
    comptime W = simd_width_of[compute[dt]]()
    comptime V = SIMD[compute[dt], W]
    var i = start
    while i + W <= start + n:
        _set[dt, W](y, i, _get[dt, W](x, i) * V(scale) + V(shift))
        i += W
    while i < start + n:
        _set[dt, 1](y, i, _get[dt, 1](x, i) * scale + shift)
        i += 1


struct Work(Copyable):
    """Addresses and sizes; 0 stands for a tensor that is not there. What each is, the op that runs says."""

    var x: Int
    var g: Int
    var y: Int
    var weight: Int
    var bias: Int
    var mean: Int
    var rstd: Int
    var sum_weight: Int  # [PARTS][weights]
    var sum_bias: Int
    var rows: Int
    var n: Int
    var inner: Int
    var weights: Int
    var eps: Float64
    var flag: Bool  # rows: no mean is taken away; channels: the statistics are those of the input

    def __init__(out self):
        self.x = 0
        self.g = 0
        self.y = 0
        self.weight = 0
        self.bias = 0
        self.mean = 0
        self.rstd = 0
        self.sum_weight = 0
        self.sum_bias = 0
        self.rows = 0
        self.n = 0
        self.inner = 1
        self.weights = 0
        self.eps = 0
        self.flag = False


trait Part:
    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        """Does the units first .. last; `part` is which of the parts they are."""
        ...


struct Parts[P: Part, dt: DType](Body):
    var work: Work
    var units: Int
    var each: Int

    def __init__(out self, work: Work, units: Int, tasks: Int):
        self.work = work.copy()
        self.units = units
        self.each = ceildiv(units, max(tasks, 1))

    def run(self, task: Int, worker: Int):
        Self.P.apply[Self.dt](self.work, task * self.each, min((task + 1) * self.each, self.units), task)


def _run[P: Part, dt: DType](work: Work, units: Int, elements: Int, tasks: Int):
    if units == 0:
        return
    var body = Parts[P, dt](work, units, min(tasks, units))
    var count = ceildiv(units, body.each)
    if elements < SMALL:
        for t in range(count):
            body.run(t, 0)
        return
    run_tasks(body, count, elements)


def _start[P: Part](code: Int, work: Work, units: Int, elements: Int, tasks: Int):
    comptime for c in range(9, 13):
        if code == c:
            _run[P, dtype_of[c]](work, units, elements, tasks)


# ---------------------------------------------------------------- rows


struct RowForward(Part):
    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        comptime C = compute[dt]
        comptime W = simd_width_of[C]()
        comptime V = SIMD[C, W]
        for r in range(first, last):
            var start = r * k.n
            var mean = Float64(0)
            if not k.flag:
                mean = _sums[dt](k.x, 0, start, k.n, 0)[0] / Float64(k.n)
            var square = _sums[dt](k.x, 0, start, k.n, mean.cast[C]())[1] / Float64(k.n)
            var m = mean.cast[C]()
            var s = (1 / sqrt(square + k.eps)).cast[C]()
            at[Scalar[C]](k.mean)[unsafe_offset=r] = m
            at[Scalar[C]](k.rstd)[unsafe_offset=r] = s
            var place = (r * (k.n // k.inner)) % k.weights
            if k.inner == 1:
                var i = 0
                while i + W <= k.n:
                    var v = (_get[dt, W](k.x, start + i) - V(m)) * V(s)
                    if k.weight != 0:
                        v *= _read[C, W](k.weight, place + i)
                    if k.bias != 0:
                        v += _read[C, W](k.bias, place + i)
                    _set[dt, W](k.y, start + i, v)
                    i += W
                while i < k.n:
                    var v = (_get[dt, 1](k.x, start + i) - m) * s
                    if k.weight != 0:
                        v *= _read[C, 1](k.weight, place + i)
                    if k.bias != 0:
                        v += _read[C, 1](k.bias, place + i)
                    _set[dt, 1](k.y, start + i, v)
                    i += 1
            else:
                for c in range(k.n // k.inner):
                    var w = s * _read[C, 1](k.weight, place + c) if k.weight != 0 else s
                    var b = _read[C, 1](k.bias, place + c) if k.bias != 0 else 0
                    _scale_shift[dt](k.x, k.y, start + c * k.inner, k.inner, w, b - m * w)


struct RowBackward(Part):
    """Writes the input's gradient: rstd * (h - mean(h) - z * mean(h * z)), h = g * weight and z the normalized input.
    """

    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        comptime C = compute[dt]
        comptime W = simd_width_of[C]()
        comptime V = SIMD[C, W]
        var sw = k.sum_weight + part * k.weights * size_of[Scalar[C]]() if k.sum_weight != 0 else 0
        var sb = k.sum_bias + part * k.weights * size_of[Scalar[C]]() if k.sum_bias != 0 else 0
        for r in range(first, last):
            var start = r * k.n
            var m = at[Scalar[C]](k.mean)[unsafe_offset=r]
            var s = at[Scalar[C]](k.rstd)[unsafe_offset=r]
            var place = (r * (k.n // k.inner)) % k.weights
            var c1 = Float64(0)  # the sum of h
            var c2 = Float64(0)  # the sum of h * z
            if k.inner == 1:
                var i = 0
                while i < k.n:
                    var end = min(i + BLOCK, k.n)
                    var t1 = V(0)
                    var t2 = V(0)
                    while i + W <= end:
                        var g = _get[dt, W](k.g, start + i)
                        var z = (_get[dt, W](k.x, start + i) - V(m)) * V(s)
                        if sw != 0:
                            _write[C, W](sw, place + i, _read[C, W](sw, place + i) + g * z)
                        if sb != 0:
                            _write[C, W](sb, place + i, _read[C, W](sb, place + i) + g)
                        var h = g * _read[C, W](k.weight, place + i) if k.weight != 0 else g
                        t1 += h
                        t2 += h * z
                        i += W
                    var r1 = t1.reduce_add()
                    var r2 = t2.reduce_add()
                    while i < end:
                        var g = _get[dt, 1](k.g, start + i)
                        var z = (_get[dt, 1](k.x, start + i) - m) * s
                        if sw != 0:
                            _write[C, 1](sw, place + i, _read[C, 1](sw, place + i) + g * z)
                        if sb != 0:
                            _write[C, 1](sb, place + i, _read[C, 1](sb, place + i) + g)
                        var h = g * _read[C, 1](k.weight, place + i) if k.weight != 0 else g
                        r1 += h
                        r2 += h * z
                        i += 1
                    c1 += r1.cast[DType.float64]()
                    c2 += r2.cast[DType.float64]()
            else:
                for c in range(k.n // k.inner):
                    # the sums of (x - m) * g and of g over a plane
                    var at_plane = start + c * k.inner
                    var products = _sums[dt](k.x, k.g, at_plane, k.inner, m)[1] * s.cast[DType.float64]()
                    var plain = _sums[dt](k.g, 0, at_plane, k.inner, 0)[0]
                    var w = _read[C, 1](k.weight, place + c).cast[DType.float64]() if k.weight != 0 else Float64(1)
                    if sw != 0:
                        _write[C, 1](sw, place + c, _read[C, 1](sw, place + c) + products.cast[C]())
                    if sb != 0:
                        _write[C, 1](sb, place + c, _read[C, 1](sb, place + c) + plain.cast[C]())
                    c1 += w * plain
                    c2 += w * products
            if k.y == 0:
                continue
            var mean_h = (c1 / Float64(k.n)).cast[C]() if not k.flag else Scalar[C](0)
            var mean_hz = (c2 / Float64(k.n)).cast[C]()
            if k.inner == 1:
                var i = 0
                while i + W <= k.n:
                    var z = (_get[dt, W](k.x, start + i) - V(m)) * V(s)
                    var h = _get[dt, W](k.g, start + i)
                    if k.weight != 0:
                        h *= _read[C, W](k.weight, place + i)
                    _set[dt, W](k.y, start + i, V(s) * (h - V(mean_h) - z * V(mean_hz)))
                    i += W
                while i < k.n:
                    var z = (_get[dt, 1](k.x, start + i) - m) * s
                    var h = _get[dt, 1](k.g, start + i)
                    if k.weight != 0:
                        h *= _read[C, 1](k.weight, place + i)
                    _set[dt, 1](k.y, start + i, s * (h - mean_h - z * mean_hz))
                    i += 1
            else:
                for c in range(k.n // k.inner):
                    var w = _read[C, 1](k.weight, place + c) if k.weight != 0 else Scalar[C](1)
                    _plane_back[dt](k, start + c * k.inner, k.inner, s * w, s * s * mean_hz, m, s * mean_h)


@always_inline
def _plane_back[
    dt: DType
](
    k: Work, start: Int, n: Int, by_g: Scalar[compute[dt]], by_x: Scalar[compute[dt]], m: Scalar[compute[dt]],
    shift: Scalar[compute[dt]],
):  # fmt: skip
    """`y = g * by_g - (x - m) * by_x - shift` over neighbouring elements."""
    comptime W = simd_width_of[compute[dt]]()
    comptime V = SIMD[compute[dt], W]
    var i = start
    while i + W <= start + n:
        var d = _get[dt, W](k.x, i) - V(m)
        _set[dt, W](k.y, i, _get[dt, W](k.g, i) * V(by_g) - d * V(by_x) - V(shift))
        i += W
    while i < start + n:
        _set[dt, 1](k.y, i, _get[dt, 1](k.g, i) * by_g - (_get[dt, 1](k.x, i) - m) * by_x - shift)
        i += 1


# ---------------------------------------------------------------- channels


struct ChannelStatistics(Part):
    """Mean and variance (divided by the number of elements) of each channel."""

    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        comptime C = compute[dt]
        comptime W = simd_width_of[C]()
        var count = Float64(k.rows * k.inner)
        if k.inner == 1:
            # neighbouring channels side by side
            var c = first
            while c < last:
                if c + W <= last:
                    _column_statistics[dt, W](k, c)
                    c += W
                else:
                    _column_statistics[dt, 1](k, c)
                    c += 1
            return
        for c in range(first, last):
            var total = Float64(0)
            for r in range(k.rows):
                total += _sums[dt](k.x, 0, (r * k.weights + c) * k.inner, k.inner, 0)[0]
            var mean = total / count
            var square = Float64(0)
            for r in range(k.rows):
                square += _sums[dt](k.x, 0, (r * k.weights + c) * k.inner, k.inner, mean.cast[C]())[1]
            at[Scalar[C]](k.mean)[unsafe_offset=c] = mean.cast[C]()
            at[Scalar[C]](k.rstd)[unsafe_offset=c] = (square / count).cast[C]()


def _column_statistics[dt: DType, w: Int](k: Work, c: Int):
    comptime C = compute[dt]
    comptime V = SIMD[C, w]
    comptime D = SIMD[DType.float64, w]
    var total = D(0)
    for r in range(k.rows):
        total += _get[dt, w](k.x, r * k.weights + c).cast[DType.float64]()
    var mean = total / D(Float64(k.rows))
    var square = D(0)
    for r in range(k.rows):
        var d = _get[dt, w](k.x, r * k.weights + c).cast[DType.float64]() - mean
        square += d * d
    _write[C, w](k.mean, c, mean.cast[C]())
    _write[C, w](k.rstd, c, (square / D(Float64(k.rows))).cast[C]())


struct ChannelForward(Part):
    """Units are rows: y = (x - mean) * rstd * weight + bias."""

    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        comptime C = compute[dt]
        comptime W = simd_width_of[C]()
        for r in range(first, last):
            if k.inner > 1:
                for c in range(k.weights):
                    var s = _read[C, 1](k.rstd, c)
                    var w = s * _read[C, 1](k.weight, c) if k.weight != 0 else s
                    var b = _read[C, 1](k.bias, c) if k.bias != 0 else 0
                    var start = (r * k.weights + c) * k.inner
                    _scale_shift[dt](k.x, k.y, start, k.inner, w, b - _read[C, 1](k.mean, c) * w)
                continue
            var c = 0
            while c < k.weights:
                if c + W <= k.weights:
                    _columns_forward[dt, W](k, r, c)
                    c += W
                else:
                    _columns_forward[dt, 1](k, r, c)
                    c += 1


@always_inline
def _columns_forward[dt: DType, w: Int](k: Work, r: Int, c: Int):
    comptime C = compute[dt]
    var v = (_get[dt, w](k.x, r * k.weights + c) - _read[C, w](k.mean, c)) * _read[C, w](k.rstd, c)
    if k.weight != 0:
        v *= _read[C, w](k.weight, c)
    if k.bias != 0:
        v += _read[C, w](k.bias, c)
    _set[dt, w](k.y, r * k.weights + c, v)


struct ChannelBackward(Part):
    """Units are channels. The statistics' own gradient is in it where they are those of the input."""

    @staticmethod
    def apply[dt: DType](k: Work, first: Int, last: Int, part: Int):
        comptime C = compute[dt]
        var count = Float64(k.rows * k.inner)
        for c in range(first, last):
            var m = _read[C, 1](k.mean, c)
            var s = _read[C, 1](k.rstd, c)
            var w = _read[C, 1](k.weight, c) if k.weight != 0 else Scalar[C](1)
            var products = Float64(0)
            var plain = Float64(0)
            if k.inner == 1:
                for r in range(k.rows):
                    var g = _get[dt, 1](k.g, r * k.weights + c)
                    plain += g.cast[DType.float64]()
                    products += (g * (_get[dt, 1](k.x, r * k.weights + c) - m)).cast[DType.float64]()
            else:
                for r in range(k.rows):
                    var start = (r * k.weights + c) * k.inner
                    products += _sums[dt](k.x, k.g, start, k.inner, m)[1]
                    plain += _sums[dt](k.g, 0, start, k.inner, 0)[0]
            var z = products * s.cast[DType.float64]()
            if k.sum_weight != 0:
                _write[C, 1](k.sum_weight, c, z.cast[C]())
            if k.sum_bias != 0:
                _write[C, 1](k.sum_bias, c, plain.cast[C]())
            if k.y == 0:
                continue
            var by_x = Scalar[C](0)
            var shift = Scalar[C](0)
            if k.flag:
                by_x = s * s * w * (z / count).cast[C]()
                shift = s * w * (plain / count).cast[C]()
            if k.inner == 1:
                for r in range(k.rows):
                    _plane_back[dt](k, r * k.weights + c, 1, s * w, by_x, m, shift)
            else:
                for r in range(k.rows):
                    _plane_back[dt](k, (r * k.weights + c) * k.inner, k.inner, s * w, by_x, m, shift)


# ---------------------------------------------------------------- ops


def _computing(code: Int) -> Int:
    return FLOAT64 if code == FLOAT64 else FLOAT32


def _input(call: Call, slot: Int, like: TPtr, mut held: Held) raises -> TPtr:
    """An argument as a contiguous tensor of the input's dtype and number of elements, on the CPU."""
    var t = call.tensor(slot)
    if t[].numel != like[].numel:
        raise call.fail(
            "RuntimeError",
            String(
                t"'{call.param(slot)}' has the shape {shape_text(t[].shape, t[].rank())}, which does not fit the"
                t" input's {shape_text(like[].shape, like[].rank())}"
            ),
        )
    return held.keep(contiguous_of(t, like[].code()))


def _vector(call: Call, slot: Int, count: Int, code: Int, mut held: Held) raises -> Int:
    """The address of an argument's elements in the computing type, 0 for None; one for each weight."""
    if call.is_none(slot):
        return 0
    var t = call.tensor(slot)
    if t[].numel != count:
        raise call.fail(
            "RuntimeError",
            String(
                t"Expected '{call.param(slot)}' to have {count} elements, but it has the shape"
                t" {shape_text(t[].shape, t[].rank())}"
            ),
        )
    return held.keep(contiguous_of(t, code))[].data()


def _checked(call: Call, slot: Int) raises -> TPtr:
    var t = call.tensor(slot)
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise unsupported(call.name(), t[].code())
    if t[].device() != 0:
        raise call.fail("RuntimeError", "there is no kernel for this device")
    return t


def _flat(code: Int, count: Int) raises -> Obj:
    var shape = no_dims()
    shape[0] = count
    return new_tensor(code, shape, 1)


def _tuple(a: Obj, b: Obj, c: Obj) -> Obj:
    var made = tuple_new(3)
    tuple_set(made, 0, a)
    tuple_set(made, 1, b)
    tuple_set(made, 2, c)
    return made


def _sizes(call: Call, t: TPtr, n: Int, inner: Int, weights: Int) raises:
    if n < 0 or inner < 1 or weights < 0 or (n > 0 and (n % inner != 0 or t[].numel % n != 0)):
        raise call.fail("RuntimeError", String(t"rows of {n} elements do not fit a tensor of {t[].numel}"))
    if weights > 0 and n > 0 and weights % (n // inner) != 0:
        raise call.fail("RuntimeError", String(t"{weights} weights do not fit rows of {n // inner} channels"))


def row_norm(mut call: Call) raises -> Obj:
    """(input, weight, bias, n, inner, weights, eps, rms) -> (output, mean, rstd)."""
    var t = _checked(call, 0)
    var k = Work()
    k.n = call.int(3)
    k.inner = call.int(4)
    k.weights = call.int(5)
    k.eps = call.float(6)
    k.flag = call.bool(7)
    _sizes(call, t, k.n, k.inner, k.weights)
    var code = t[].code()
    var held = Held()
    try:
        k.x = held.keep(contiguous_of(t, code))[].data()
        k.weight = _vector(call, 1, k.weights, _computing(code), held)
        k.bias = _vector(call, 2, k.weights, _computing(code), held)
        k.rows = t[].numel // k.n if k.n > 0 else 0
        var y = held.keep(new_tensor(code, t[].shape, t[].rank()))
        var mean = held.keep(_flat(_computing(code), k.rows))
        var rstd = held.keep(_flat(_computing(code), k.rows))
        if t[].numel > 0:
            k.y = y[].data()
            k.mean = mean[].data()
            k.rstd = rstd[].data()
            _start[RowForward](code, k, k.rows, t[].numel, num_threads() * 4)
        var made = _tuple(new_ref(Int(y)), new_ref(Int(mean)), new_ref(Int(rstd)))
        held.release()
        return made
    except e:
        held.release()
        raise e


def row_norm_backward(mut call: Call) raises -> Obj:
    """(grad, input, mean, rstd, weight, n, inner, weights, rms, affine) -> (input's gradient, weight's, bias's)."""
    var t = _checked(call, 1)
    var k = Work()
    k.n = call.int(5)
    k.inner = call.int(6)
    k.weights = call.int(7)
    k.flag = call.bool(8)
    var affine = call.bool(9)
    _sizes(call, t, k.n, k.inner, k.weights)
    var code = t[].code()
    var computing = _computing(code)
    var held = Held()
    try:
        k.g = _input(call, 0, t, held)[].data()
        k.x = held.keep(contiguous_of(t, code))[].data()
        k.rows = t[].numel // k.n if k.n > 0 else 0
        k.mean = _vector(call, 2, k.rows, computing, held)
        k.rstd = _vector(call, 3, k.rows, computing, held)
        if k.mean == 0 or k.rstd == 0:
            raise call.type_error(2, "Tensor")
        k.weight = _vector(call, 4, k.weights, computing, held)
        var y = held.keep(new_tensor(code, t[].shape, t[].rank()))
        var count = k.weights if affine else 0
        var sum_weight = held.keep(_zeros(computing, count))
        var sum_bias = held.keep(_zeros(computing, count))
        var parts = min(PARTS, k.rows)
        if t[].numel > 0:
            k.y = y[].data()
            if affine:
                k.sum_weight = held.keep(_zeros(computing, parts * count))[].data()
                k.sum_bias = held.keep(_zeros(computing, parts * count))[].data()
            _start[RowBackward](code, k, k.rows, t[].numel, parts)
            if affine:
                _merge(computing, k.sum_weight, sum_weight[].data(), parts, count)
                _merge(computing, k.sum_bias, sum_bias[].data(), parts, count)
        var made = _tuple(new_ref(Int(y)), new_ref(Int(sum_weight)), new_ref(Int(sum_bias)))
        held.release()
        return made
    except e:
        held.release()
        raise e


def _zeros(code: Int, count: Int) raises -> Obj:
    var made = _flat(code, count)
    if count > 0:
        _ = external_call["memset", Int](as_tensor(made)[].data(), 0, count * (8 if code == FLOAT64 else 4))
    return made


def _merge(code: Int, source: Int, target: Int, parts: Int, count: Int):
    """Adds the parts up, in their order."""
    if code == FLOAT64:
        _add_parts[DType.float64](source, target, parts, count)
    else:
        _add_parts[DType.float32](source, target, parts, count)


def _add_parts[dt: DType](source: Int, target: Int, parts: Int, count: Int):
    comptime W = simd_width_of[dt]()
    for p in range(parts):
        var i = 0
        while i + W <= count:
            _write[dt, W](target, i, _read[dt, W](target, i) + _read[dt, W](source, p * count + i))
            i += W
        while i < count:
            _write[dt, 1](target, i, _read[dt, 1](target, i) + _read[dt, 1](source, p * count + i))
            i += 1


def _channels(call: Call, t: TPtr, channels: Int, inner: Int) raises -> Int:
    """How many rows of channels there are."""
    var unit = channels * inner
    if channels < 0 or inner < 0 or (unit > 0 and t[].numel % unit != 0) or (unit == 0 and t[].numel > 0):
        raise call.fail(
            "RuntimeError", String(t"{channels} channels of {inner} elements do not fit a tensor of {t[].numel}")
        )
    return t[].numel // unit if unit > 0 else 0


def channel_statistics(mut call: Call) raises -> Obj:
    """(input, channels, inner) -> (mean, biased variance), in the computing type."""
    var t = _checked(call, 0)
    var k = Work()
    k.weights = call.int(1)
    k.inner = call.int(2)
    k.rows = _channels(call, t, k.weights, k.inner)
    var code = t[].code()
    var held = Held()
    try:
        k.x = held.keep(contiguous_of(t, code))[].data()
        var mean = held.keep(_flat(_computing(code), k.weights))
        var square = held.keep(_flat(_computing(code), k.weights))
        k.mean = mean[].data()
        k.rstd = square[].data()
        _start[ChannelStatistics](code, k, k.weights, t[].numel, num_threads() * 4)
        var made = tuple_new(2)
        tuple_set(made, 0, new_ref(Int(mean)))
        tuple_set(made, 1, new_ref(Int(square)))
        held.release()
        return made
    except e:
        held.release()
        raise e


def channel_norm(mut call: Call) raises -> Obj:
    """(input, mean, rstd, weight, bias, channels, inner) -> output."""
    var t = _checked(call, 0)
    var k = Work()
    k.weights = call.int(5)
    k.inner = call.int(6)
    k.rows = _channels(call, t, k.weights, k.inner)
    var code = t[].code()
    var held = Held()
    try:
        k.x = held.keep(contiguous_of(t, code))[].data()
        k.mean = _vector(call, 1, k.weights, _computing(code), held)
        k.rstd = _vector(call, 2, k.weights, _computing(code), held)
        if k.mean == 0 or k.rstd == 0:
            raise call.type_error(1, "Tensor")
        k.weight = _vector(call, 3, k.weights, _computing(code), held)
        k.bias = _vector(call, 4, k.weights, _computing(code), held)
        var y = new_tensor(code, t[].shape, t[].rank())
        k.y = as_tensor(y)[].data()
        if t[].numel > 0:
            _start[ChannelForward](code, k, k.rows, t[].numel, num_threads() * 4)
        held.release()
        return y
    except e:
        held.release()
        raise e


def channel_norm_backward(mut call: Call) raises -> Obj:
    """(grad, input, mean, rstd, weight, channels, inner, own_statistics) -> (input's gradient, weight's, bias's)."""
    var t = _checked(call, 1)
    var k = Work()
    k.weights = call.int(5)
    k.inner = call.int(6)
    k.flag = call.bool(7)
    k.rows = _channels(call, t, k.weights, k.inner)
    var code = t[].code()
    var computing = _computing(code)
    var held = Held()
    try:
        k.g = _input(call, 0, t, held)[].data()
        k.x = held.keep(contiguous_of(t, code))[].data()
        k.mean = _vector(call, 2, k.weights, computing, held)
        k.rstd = _vector(call, 3, k.weights, computing, held)
        if k.mean == 0 or k.rstd == 0:
            raise call.type_error(2, "Tensor")
        k.weight = _vector(call, 4, k.weights, computing, held)
        var y = held.keep(new_tensor(code, t[].shape, t[].rank()))
        var sum_weight = held.keep(_zeros(computing, k.weights))
        var sum_bias = held.keep(_zeros(computing, k.weights))
        if t[].numel > 0:
            k.y = y[].data()
            k.sum_weight = sum_weight[].data()
            k.sum_bias = sum_bias[].data()
            _start[ChannelBackward](code, k, k.weights, t[].numel, num_threads() * 4)
        var made = _tuple(new_ref(Int(y)), new_ref(Int(sum_weight)), new_ref(Int(sum_bias)))
        held.release()
        return made
    except e:
        held.release()
        raise e


@export("dumbtorch_register_normalize")
def register_normalize() abi("C") -> None:
    register[row_norm]("row_norm")
    register[row_norm_backward]("row_norm_backward")
    register[channel_statistics]("channel_statistics")
    register[channel_norm]("channel_norm")
    register[channel_norm_backward]("channel_norm_backward")
