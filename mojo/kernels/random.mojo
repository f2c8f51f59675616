"""Random fills: uniform, normal, exponential and others, integers, Bernoulli, dropout; permutations and sampling.

The words come from kernels/philox.mojo, their place in a generator's stream from kernels/stream.mojo.
"""

from std.math import ceildiv, fma
from std.memory import Pointer, bitcast
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import BOOL, FLOAT16, FLOAT32, FLOAT64, UINT64, dtype_of, is_floating, itemsize, type_name
from tensor.errors import python_error
from tensor.layout import broadcast_into, same_dims
from tensor.memory import at, function_at, load
from tensor.object import TPtr, as_tensor, is_tensor, new_tensor
from tensor.py import Obj, decref, new_ref, tuple_new, tuple_set, type_name_of
from tensor.storage import check_status
from tensor.threads import Body, num_threads
from kernels.device_api import device_entry
from kernels.functor import compute
from kernels.results import write_into
from kernels.math import exp, log, tan
from kernels.math_core import BitsOf
from kernels.philox import LANES, blocks_32, blocks_64, normals, philox, positive, unit
from kernels.pointwise import broadcast_error, check_writable, unsupported
from kernels.stream import SMALL, Stream, reserve, set_default_state
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime UNIFORM = 0  # from, to, largest value
comptime NORMAL = 1  # mean, std
comptime LOG_NORMAL = 2  # mean, std
comptime EXPONENTIAL = 3  # lambda
comptime CAUCHY = 4  # median, sigma
comptime GEOMETRIC = 5  # log(1 - p)
comptime BERNOULLI = 6  # p


# ---------------------------------------------------------------- fills


comptime work_type[dt: DType]: DType = DType.float64 if dt == DType.float64 else DType.float32


struct Fill[dt: DType, kind: Int, lanes: Int = LANES](Body, Copyable):
    """Fills n contiguous elements. Integers and bool (Bernoulli, geometric) are computed in float32.

    With one lane a task is a single block of the generator: so accelerators take it."""

    comptime C = work_type[Self.dt]
    comptime WIDE = Self.C == DType.float64
    comptime HALF = Self.lanes if Self.WIDE else 2 * Self.lanes  # elements of one half of the blocks taken together
    comptime U = BitsOf[Self.C]
    comptime V = SIMD[Self.C, Self.HALF]
    var out: Int
    var n: Int
    var stream: Stream
    var p0: Float64
    var p1: Float64
    var p2: Float64
    var per_task: Int  # groups of two halves

    def __init__(out self, result: Int, n: Int, stream: Stream, p0: Float64, p1: Float64, p2: Float64):
        self.out = result
        self.n = n
        self.stream = stream
        self.p0 = p0
        self.p1 = p1
        self.p2 = p2
        self.per_task = 0

    def execute(mut self):
        var groups = ceildiv(self.n, 2 * Self.HALF)
        self.per_task = groups
        if self.n >= SMALL and num_threads() > 1:
            self.per_task = ceildiv(groups, 4 * num_threads())
        run_tasks(self, ceildiv(groups, max(self.per_task, 1)), self.n)

    def run(self, task: Int, worker: Int):
        comptime if Self.lanes == 1:
            self._block(task)
            return
        var last = min((task + 1) * self.per_task, self.n // (2 * Self.HALF))
        var g = task * self.per_task
        while g < last:
            var pair = self._group(g)
            self._put[Self.HALF](g * 2 * Self.HALF, pair[0])
            self._put[Self.HALF](g * 2 * Self.HALF + Self.HALF, pair[1])
            g += 1
        var start = g * 2 * Self.HALF
        if start < self.n and g < (task + 1) * self.per_task:
            var pair = self._group(g)
            for k in range(min(self.n - start, Self.HALF)):
                self._put[1](start + k, SIMD[Self.C, 1](pair[0][k]))
            for k in range(self.n - start - Self.HALF):
                self._put[1](start + Self.HALF + k, SIMD[Self.C, 1](pair[1][k]))

    @always_inline
    def _block(self, b: Int):
        """The elements of one block: where they lie among those of its eight, see philox.mojo."""
        var pair = self._group(b)
        var first = b // LANES * (2 * LANES * Self.HALF) + b % LANES * Self.HALF
        comptime for k in range(Self.HALF):
            if first + k < self.n:
                self._put[1](first + k, SIMD[Self.C, 1](pair[0][k]))
            if first + LANES * Self.HALF + k < self.n:
                self._put[1](first + LANES * Self.HALF + k, SIMD[Self.C, 1](pair[1][k]))

    @always_inline
    def _put[w: Int](self, i: Int, v: SIMD[Self.C, w]):
        comptime if Self.dt == DType.bool:
            at[UInt8](self.out).unsafe_store(i, v.ne(0).cast[DType.uint8]())
        elif Self.dt.is_integral():
            at[Scalar[Self.dt]](self.out).unsafe_store(i, v.cast[DType.int64]().cast[Self.dt]())
        else:
            at[Scalar[Self.dt]](self.out).unsafe_store(i, v.cast[Self.dt]())

    @always_inline
    def _group(self, g: Int) -> Tuple[Self.V, Self.V]:
        var d = philox[Self.lanes](self.stream.seed, self.stream.block + UInt64(g * Self.lanes))
        var a = bitcast[Self.U, Self.HALF](d.low)
        var b = bitcast[Self.U, Self.HALF](d.high)
        comptime if Self.kind == NORMAL or Self.kind == LOG_NORMAL:
            var z = normals[Self.C, Self.HALF](a, b)
            var mean = Self.V(self.p0.cast[Self.C]())
            var std = Self.V(self.p1.cast[Self.C]())
            var x = fma(z[0], std, mean)
            var y = fma(z[1], std, mean)
            comptime if Self.kind == LOG_NORMAL:
                return (exp(x), exp(y))
            else:
                return (x, y)
        else:
            return (self._value(a), self._value(b))

    @always_inline
    def _value(self, words: SIMD[Self.U, Self.HALF]) -> Self.V:
        comptime C = Self.C
        comptime V = Self.V
        comptime if Self.kind == UNIFORM:
            var u: V
            # a half type's own number of bits, so that rounding does not reach the upper end
            comptime if Self.dt == DType.float16:
                u = (words >> 21).cast[DType.int32]().cast[C]() * V(0.00048828125)
            elif Self.dt == DType.bfloat16:
                u = (words >> 24).cast[DType.int32]().cast[C]() * V(0.00390625)
            else:
                u = unit[C, Self.HALF](words)
            var v = fma(u, V((self.p1 - self.p0).cast[C]()), V(self.p0.cast[C]()))
            var top = V(self.p2.cast[C]())
            return v.gt(top).select(top, v)
        elif Self.kind == EXPONENTIAL:
            var e = -log(positive[C, Self.HALF](words))
            # never 0: what divides by it stays finite
            var least = V(2.98e-8 if C == DType.float32 else 5.5e-17)
            return e.lt(least).select(least, e) * V((1.0 / self.p0).cast[C]())
        elif Self.kind == CAUCHY:
            var u = positive[C, Self.HALF](words)
            var t = tan((u - V(0.5)) * V(3.14159265358979323846))
            return fma(t, V(self.p1.cast[C]()), V(self.p0.cast[C]()))
        elif Self.kind == GEOMETRIC:
            var t = log(positive[C, Self.HALF](words)) * V((1.0 / self.p0).cast[C]())
            var low = t.cast[DType.int64]().cast[C]()
            var up = t.gt(low).select(low + 1, low)
            return up.lt(1).select(V(1), up)
        else:
            # all 32 bits, or the upper 53, against p
            var hit: SIMD[DType.bool, Self.HALF]
            comptime if Self.WIDE:
                hit = unit[C, Self.HALF](words).lt(V(self.p0.cast[C]()))
            else:
                var limit = UInt32(min(self.p0 * 4294967296.0, 4294967295.0))
                hit = words.lt(SIMD[Self.U, Self.HALF](limit.cast[Self.U]()))
                if self.p0 == 1:
                    hit = SIMD[DType.bool, Self.HALF](fill=True)
            return hit.select(V(1), V(0))


def _fill[kind: Int, floats: Bool](call: Call, t: TPtr, slot: Int, p0: Float64, p1: Float64, p2: Float64) raises -> Obj:
    """Fills `t` (or a contiguous copy that is then written into it) from the generator in a slot; a new reference to t.
    """
    check_writable(t)
    var code = t[].code()
    var wide = code == FLOAT64
    var n = t[].numel
    var stream = reserve(call, slot, blocks_64(n) if wide else blocks_32(n))
    if n == 0:
        return new_ref(Int(t))
    if t[].device() != 0:
        return _fill_there[kind](call, t, stream, p0, p1, p2)
    var direct = t[].contiguous()
    var target = Int(t) if direct else new_tensor(code, t[].shape, t[].rank())
    var data: Int
    if direct:
        data = t[].writable()
    else:
        data = as_tensor(target)[].data()
    comptime for c in range(0, 13):
        comptime if c >= FLOAT16 or not floats:
            if code == c:
                var work = Fill[dtype_of[c], kind](data, n, stream, p0, p1, p2)
                work.execute()
    if not direct:
        try:
            write_into(Int(t), target)
        finally:
            decref(target)
    return new_ref(Int(t))


def _fill_there[kind: Int](call: Call, t: TPtr, stream: Stream, p0: Float64, p1: Float64, p2: Float64) raises -> Obj:
    """Fills a tensor on an accelerator with the numbers that the CPU would give it."""
    comptime LaunchFn = def(Int, Pointer[Fill[DType.float32, UNIFORM], MutAnyOrigin], Int, Int) thin abi("C") -> Int
    # but for uniform ones, numbers of half types and integers are rounded from float32
    var own = t[].code()
    var code = own if own >= FLOAT32 or (kind == UNIFORM and own >= FLOAT16) else FLOAT32
    var device = t[].device()
    var direct = t[].contiguous() and code == own
    var target = new_ref(Int(t)) if direct else new_tensor(code, t[].shape, t[].rank(), device)
    try:
        var work = Fill[DType.float32, UNIFORM](as_tensor(target)[].writable(), t[].numel, stream, p0, p1, p2)
        var launch = function_at[LaunchFn](device_entry(device, "random"))
        var status = launch(device & 255, Pointer(to=work).as_unsafe_any_origin(), kind, code)
        check_status(status, device, call.name())
        if not direct:
            write_into(Int(t), target)
    finally:
        decref(target)
    return new_ref(Int(t))


def _number(v: Float64) -> String:
    """A number as C++ prints it: 2, not 2.0."""
    if v == v and abs(v) < 1e6 and Float64(Int(v)) == v:
        return String(Int(v))
    return String(v)


def _largest(code: Int) -> Float64:
    if code == FLOAT16:
        return 65504.0
    if code == 10:
        return 3.3895313892515355e38
    return 3.4028234663852886e38 if code == 11 else 1.7976931348623157e308


def _below(code: Int, to: Float64) -> Float64:
    """The largest number of the dtype that is less than `to`."""
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            comptime T = dtype_of[c]
            comptime U = DType.uint64 if c == FLOAT64 else DType.uint32 if c == 11 else DType.uint16
            var x = to.cast[T]()
            if x.cast[DType.float64]() < to:
                return x.cast[DType.float64]()
            var bits = bitcast[U](x)
            comptime sign = Scalar[U](1) << Scalar[U](8 * size_of[Scalar[U]]() - 1)
            if (bits & ~sign) == 0:
                bits = sign | 1
            elif (bits & sign) != 0:
                bits += 1
            else:
                bits -= 1
            return bitcast[T](bits).cast[DType.float64]()
    return to


def _c_name(code: Int) -> String:
    return "float" if code == 11 else "double" if code == FLOAT64 else type_name(code)


def uniform_(mut call: Call) raises -> Obj:
    """In place: (input, from, to, generator)."""
    var t = call.tensor(0)
    var code = t[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported("check_uniform_bounds", code)
    var low = call.float(1)
    var high = call.float(2)
    var most = _largest(code)
    if not (low >= -most and low <= most):
        raise Error(t"RuntimeError|from is out of bounds for {_c_name(code)}")
    if not (high >= -most and high <= most):
        raise Error(t"RuntimeError|to is out of bounds for {_c_name(code)}")
    if low > high:
        raise Error(
            t"RuntimeError|uniform_ expects to return a [from, to) range, but found from={_number(low)} >"
            t" to={_number(high)}"
        )
    if high - low > most:
        raise Error(
            t"RuntimeError|uniform_ expects to-from <= std::numeric_limits<{type_name(code)}>::max(), but found"
            t" to={_number(high)} and from={_number(low)} which result in to-from to exceed the limit"
        )
    return _fill[UNIFORM, True](call, t, 3, low, high, high if low == high else _below(code, high))


def _checked(call: Call, t: TPtr, label: StaticString) raises:
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise unsupported(String(label), t[].code())


def normal_(mut call: Call) raises -> Obj:
    """In place: (input, mean, std, generator)."""
    var t = call.tensor(0)
    var std = call.float(2)
    if not std >= 0:
        raise Error(t"RuntimeError|normal expects std >= 0.0, but found std {_number(std)}")
    _checked(call, t, "normal_kernel_cpu")
    return _fill[NORMAL, True](call, t, 3, call.float(1), std, 0)


def log_normal_(mut call: Call) raises -> Obj:
    """In place: (input, mean, std, generator)."""
    var t = call.tensor(0)
    var std = call.float(2)
    if not std > 0:
        raise Error(t"RuntimeError|log_normal_ expects std > 0.0, but found std={_number(std)}")
    _checked(call, t, "log_normal_cpu")
    return _fill[LOG_NORMAL, True](call, t, 3, call.float(1), std, 0)


def exponential_(mut call: Call) raises -> Obj:
    """In place: (input, lambd, generator)."""
    var t = call.tensor(0)
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise Error(
            t"RuntimeError|Exponential distribution is a continuous probability distribution. dtype must be a floating"
            t" point but you specified {type_name(t[].code())}"
        )
    var rate = call.float(1)
    if not rate > 0:
        raise Error(t"RuntimeError|exponential_ expects lambda > 0.0, but found lambda={_number(rate)}")
    return _fill[EXPONENTIAL, True](call, t, 2, rate, 0, 0)


def cauchy_(mut call: Call) raises -> Obj:
    """In place: (input, median, sigma, generator)."""
    var t = call.tensor(0)
    var sigma = call.float(2)
    if not sigma > 0:
        raise Error(t"RuntimeError|cauchy_ expects sigma > 0.0, but found sigma={_number(sigma)}")
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise Error(
            t"RuntimeError|Cauchy distribution is a continuous probability distribution. dtype must be a floating point"
            t" but you specified {type_name(t[].code())}"
        )
    return _fill[CAUCHY, True](call, t, 3, call.float(1), sigma, 0)


def geometric_(mut call: Call) raises -> Obj:
    """In place: (input, p, generator)."""
    var t = call.tensor(0)
    var p = call.float(1)
    if not (p > 0 and p < 1):
        raise Error(t"RuntimeError|geometric_ expects p to be in (0, 1), but got p={_number(p)}")
    if t[].code() == BOOL or t[].code() > FLOAT64:
        raise unsupported("geometric_cpu", t[].code())
    var base = log(SIMD[DType.float64, 1](1 - p)) if p > 1e-8 else -p
    return _fill[GEOMETRIC, False](call, t, 2, base, 0, 0)


# ---------------------------------------------------------------- Bernoulli and dropout


struct Coins[dt: DType, lanes: Int = LANES](Body, Copyable):
    """Dropout: out = keep ? x * scale : 0 and the mask; or Bernoulli numbers whose probabilities are x."""

    comptime C = compute[Self.dt]
    comptime W = 2 * Self.lanes
    var x: Int
    var out: Int
    var mask: Int  # 0: Bernoulli numbers into `out`
    var n: Int
    var stream: Stream
    var keep: Float64
    var scale: Float64
    var per_task: Int

    def __init__(out self, x: Int, result: Int, mask: Int, n: Int, stream: Stream, keep: Float64):
        self.x = x
        self.out = result
        self.mask = mask
        self.n = n
        self.stream = stream
        self.keep = keep
        self.scale = 1.0 / keep if keep > 0 else 0
        self.per_task = 0

    def execute(mut self):
        var groups = ceildiv(self.n, 2 * Self.W)
        self.per_task = groups
        if self.n >= SMALL and num_threads() > 1:
            self.per_task = ceildiv(groups, 4 * num_threads())
        run_tasks(self, ceildiv(groups, max(self.per_task, 1)), self.n)

    def run(self, task: Int, worker: Int):
        for g in range(task * self.per_task, min((task + 1) * self.per_task, blocks_32(self.n) // Self.lanes)):
            var d = philox[Self.lanes](self.stream.seed, self.stream.block + UInt64(g * Self.lanes))
            var a = bitcast[DType.uint32, Self.W](d.low)
            var b = bitcast[DType.uint32, Self.W](d.high)
            var start = g * 2 * Self.W
            comptime if Self.lanes == 1:
                # a single block, as Fill has it
                start = g // LANES * (4 * LANES) + g % LANES * Self.W
                comptime for k in range(Self.W):
                    if start + k < self.n:
                        self._toss[1](start + k, SIMD[DType.uint32, 1](a[k]))
                    if start + 2 * LANES + k < self.n:
                        self._toss[1](start + 2 * LANES + k, SIMD[DType.uint32, 1](b[k]))
                continue
            if start + 2 * Self.W <= self.n:
                self._toss[Self.W](start, a)
                self._toss[Self.W](start + Self.W, b)
            else:
                for k in range(min(self.n - start, Self.W)):
                    self._toss[1](start + k, SIMD[DType.uint32, 1](a[k]))
                for k in range(self.n - start - Self.W):
                    self._toss[1](start + Self.W + k, SIMD[DType.uint32, 1](b[k]))

    @always_inline
    def _toss[w: Int](self, i: Int, words: SIMD[DType.uint32, w]):
        comptime V = SIMD[Self.C, w]
        var x = at[Scalar[Self.dt]](self.x).unsafe_load[width=w](i).cast[Self.C]()
        if self.mask == 0:
            var hit = words.cast[DType.float64]().lt(x.cast[DType.float64]() * 4294967296.0)
            at[Scalar[Self.dt]](self.out).unsafe_store(i, hit.select(V(1), V(0)).cast[Self.dt]())
            return
        var limit = UInt32(min(self.keep * 4294967296.0, 4294967295.0))
        var hit = words.lt(SIMD[DType.uint32, w](limit))
        var y = hit.select(x * V(self.scale.cast[Self.C]()), V(0))
        at[Scalar[Self.dt]](self.out).unsafe_store(i, y.cast[Self.dt]())
        at[UInt8](self.mask).unsafe_store(i, hit.cast[DType.uint8]())


def bernoulli_(mut call: Call) raises -> Obj:
    """In place: (input, p, generator): p a number, or a tensor that broadcasts to the input."""
    var t = call.tensor(0)
    if call.is_tensor(1) and as_tensor(call.obj(1))[].rank() > 0:
        return _bernoulli_of(call, t, call.tensor(1))
    var p = call.float(1)
    if not (p >= 0 and p <= 1):
        raise Error(t"RuntimeError|bernoulli_ expects p to be in [0, 1], but got p={_number(p)}")
    if t[].code() > FLOAT64:
        raise unsupported("bernoulli_scalar_cpu_", t[].code())
    return _fill[BERNOULLI, False](call, t, 2, p, 0, 0)


def _bernoulli_of(call: Call, t: TPtr, p: TPtr) raises -> Obj:
    if p[].code() < FLOAT16 or p[].code() > FLOAT64:
        raise unsupported("bernoulli_tensor_cpu_p_", p[].code())
    check_writable(t)
    if t[].code() > FLOAT64:
        raise unsupported("bernoulli_tensor_cpu_self_", t[].code())
    # the probabilities in the tensor's shape, in float64; the result replaces them
    var room = new_tensor(FLOAT64, t[].shape, t[].rank())
    try:
        var shape = t[].shape.copy()
        var n = t[].rank()
        var bad = broadcast_into(shape, n, p[].shape, p[].rank())
        if bad >= 0:
            raise broadcast_error(t[].shape, t[].rank(), p, bad, n)
        if n != t[].rank() or not same_dims(shape, t[].shape, n):
            raise Error("RuntimeError|bernoulli_(): the probabilities must broadcast to the shape of the tensor")
        write_into(room, Int(p))
        var data = as_tensor(room)[].data()
        for i in range(t[].numel):
            var v = load[Float64](data + 8 * i)
            if not (v >= 0 and v <= 1):
                raise Error("RuntimeError|Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        var work = Coins[DType.float64](data, data, 0, t[].numel, reserve(call, 2, blocks_32(t[].numel)), 0)
        if t[].numel > 0:
            work.execute()
            write_into(Int(t), room)
    finally:
        decref(room)
    return new_ref(Int(t))


def native_dropout(mut call: Call) raises -> Obj:
    """Parameters (input, p, generator): (the input with elements dropped and the rest over 1 - p, the mask of those kept).
    """
    var t = call.tensor(0)
    var p = call.float(1)
    if not (p >= 0 and p <= 1):
        raise Error(t"RuntimeError|dropout probability has to be between 0 and 1, but got {_number(p)}")
    var code = t[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise Error(t"RuntimeError|result type Float can't be cast to the desired output type {type_name(code)}")
    var stream = reserve(call, 2, blocks_32(t[].numel))
    var source = contiguous_of(t, code)
    var result: Obj = 0
    var mask: Obj = 0
    try:
        result = new_tensor(code, t[].shape, t[].rank(), t[].device())
        mask = new_tensor(BOOL, t[].shape, t[].rank(), t[].device())
        if t[].device() != 0 and t[].numel > 0:
            comptime LaunchFn = def(Int, Pointer[Coins[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int
            var work = Coins[DType.float32](
                as_tensor(source)[].data(),
                as_tensor(result)[].data(),
                as_tensor(mask)[].data(),
                t[].numel,
                stream,
                1 - p,
            )
            var launch = function_at[LaunchFn](device_entry(t[].device(), "dropout"))
            var status = launch(t[].device() & 255, Pointer(to=work).as_unsafe_any_origin(), code)
            check_status(status, t[].device(), call.name())
    except e:
        decref(source)
        if result != 0:
            decref(result)
        if mask != 0:
            decref(mask)
        raise e^
    if t[].numel > 0 and t[].device() == 0:
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if code == c:
                var work = Coins[dtype_of[c]](
                    as_tensor(source)[].data(), as_tensor(result)[].data(), as_tensor(mask)[].data(), t[].numel,
                    stream, 1 - p,
                )  # fmt: skip
                work.execute()
    decref(source)
    var pair = tuple_new(2)
    tuple_set(pair, 0, result)
    tuple_set(pair, 1, mask)
    return pair


struct Kept[dt: DType](Body, Copyable):
    """A derivative of dropout: x * scale where the mask holds, else 0."""

    comptime C = compute[Self.dt]
    comptime W = 2 * LANES
    var x: Int
    var mask: Int
    var out: Int
    var n: Int
    var scale: Float64
    var per_task: Int

    def __init__(out self, x: Int, mask: Int, result: Int, n: Int, scale: Float64):
        self.x = x
        self.mask = mask
        self.out = result
        self.n = n
        self.scale = scale
        self.per_task = n

    def execute(mut self):
        if self.n >= 2 * SMALL and num_threads() > 1:
            self.per_task = ceildiv(ceildiv(self.n, 4 * num_threads()), 64) * 64
        run_tasks(self, ceildiv(self.n, max(self.per_task, 1)), self.n)

    def run(self, task: Int, worker: Int):
        var i = task * self.per_task
        var last = min(i + self.per_task, self.n)
        while i + Self.W <= last:
            self._step[Self.W](i)
            i += Self.W
        while i < last:
            self._step[1](i)
            i += 1

    @always_inline
    def _step[w: Int](self, i: Int):
        comptime V = SIMD[Self.C, w]
        var hit = at[UInt8](self.mask).unsafe_load[width=w](i).ne(0)
        var x = at[Scalar[Self.dt]](self.x).unsafe_load[width=w](i).cast[Self.C]()
        var y = hit.select(x * V(self.scale.cast[Self.C]()), V(0))
        at[Scalar[Self.dt]](self.out).unsafe_store(i, y.cast[Self.dt]())


def dropout_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, mask, scale): the gradient where the mask holds, times scale."""
    var g = call.tensor(0)
    var m = call.tensor(1)
    var code = g[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    if m[].code() != BOOL or m[].rank() != g[].rank() or not same_dims(m[].shape, g[].shape, g[].rank()):
        raise call.fail("RuntimeError", "the mask must be of dtype bool and of the gradient's shape")
    if m[].device() != g[].device():
        raise Error("RuntimeError|Expected all tensors to be on the same device, but found at least two devices")
    var scale = call.float(2)
    var source = contiguous_of(g, code)
    var mask: Obj = 0
    var result: Obj = 0
    try:
        mask = contiguous_of(m, BOOL)
        result = new_tensor(code, g[].shape, g[].rank(), g[].device())
        if g[].device() != 0 and g[].numel > 0:
            comptime LaunchFn = def(Int, Pointer[Kept[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int
            var work = Kept[DType.float32](
                as_tensor(source)[].data(), as_tensor(mask)[].data(), as_tensor(result)[].data(), g[].numel, scale
            )
            var launch = function_at[LaunchFn](device_entry(g[].device(), "dropout_backward"))
            var status = launch(g[].device() & 255, Pointer(to=work).as_unsafe_any_origin(), code)
            check_status(status, g[].device(), call.name())
    except e:
        decref(source)
        if mask != 0:
            decref(mask)
        if result != 0:
            decref(result)
        raise e^
    if g[].numel > 0 and g[].device() == 0:
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if code == c:
                var work = Kept[dtype_of[c]](
                    as_tensor(source)[].data(), as_tensor(mask)[].data(), as_tensor(result)[].data(), g[].numel, scale
                )
                work.execute()
    decref(source)
    decref(mask)
    return result


@export("dumbtorch_register_random")
def register_random() abi("C") -> None:
    register[set_default_state]("_set_default_state")
    register[uniform_]("uniform")
    register[normal_]("normal")
    register[log_normal_]("log_normal")
    register[exponential_]("exponential")
    register[cauchy_]("cauchy")
    register[geometric_]("geometric")
    register[bernoulli_]("bernoulli")
    register[native_dropout]("native_dropout")
    register[dropout_backward]("dropout_backward")
