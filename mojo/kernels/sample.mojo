"""Random integers, permutations and draws from given probabilities. Each number is made of 64 random bits."""

from std.ffi import external_call
from std.math import ceildiv
from std.memory import Pointer
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, dtype_of, type_name
from tensor.layout import checked_numel, no_dims
from tensor.memory import at, function_at, load, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, new_ref, release_gil, take_gil
from tensor.storage import check_status
from tensor.threads import Body, num_threads
from kernels.device_api import device_entry
from kernels.results import write_into
from kernels.math import log
from kernels.math_core import infinity
from kernels.philox import LANES, LOW, Words8, blocks_64, philox, positive, unit
from kernels.pointwise import check_writable, unsupported
from kernels.stream import SMALL, Stream, reserve
from kernels.unlocked import run_tasks


@always_inline
def _scaled(words: Words8, count: UInt64) -> Words8:
    """The upper 64 bits of words * count: uniform in [0, count) but for one part in 2**64 / count."""
    var a0 = words & Words8(LOW)
    var a1 = words >> 32
    if count <= 1 << 32:
        return ((a0 * Words8(count) >> 32) + a1 * Words8(count)) >> 32
    var b0 = Words8(count & LOW)
    var b1 = Words8(count >> 32)
    var middle = a1 * b0 + (a0 * b0 >> 32)
    var other = a0 * b1 + (middle & Words8(LOW))
    return a1 * b1 + (middle >> 32) + (other >> 32)


struct Integers[dt: DType](Body, Copyable):
    """Fills n contiguous elements with low + [0, count); count 0 stands for 2**64."""

    var out: Int
    var n: Int
    var stream: Stream
    var low: UInt64
    var count: UInt64
    var per_task: Int

    def __init__(out self, result: Int, n: Int, stream: Stream, low: UInt64, count: UInt64):
        self.out = result
        self.n = n
        self.stream = stream
        self.low = low
        self.count = count
        self.per_task = 0

    def execute(mut self):
        var groups = ceildiv(self.n, 2 * LANES)
        self.per_task = groups
        if self.n >= SMALL and num_threads() > 1:
            self.per_task = ceildiv(groups, 4 * num_threads())
        run_tasks(self, ceildiv(groups, max(self.per_task, 1)), self.n)

    def run(self, task: Int, worker: Int):
        for g in range(task * self.per_task, min((task + 1) * self.per_task, ceildiv(self.n, 2 * LANES))):
            var d = philox(self.stream.seed, self.stream.block + UInt64(g * LANES))
            var a = self._value(d.low)
            var b = self._value(d.high)
            var start = g * 2 * LANES
            if start + 2 * LANES <= self.n:
                self._put[LANES](start, a)
                self._put[LANES](start + LANES, b)
            else:
                for k in range(min(self.n - start, LANES)):
                    self._put[1](start + k, SIMD[DType.uint64, 1](a[k]))
                for k in range(self.n - start - LANES):
                    self._put[1](start + LANES + k, SIMD[DType.uint64, 1](b[k]))

    @always_inline
    def _value(self, words: Words8) -> Words8:
        if self.count == 0:
            return words + Words8(self.low)
        return _scaled(words, self.count) + Words8(self.low)

    @always_inline
    def _put[w: Int](self, i: Int, v: SIMD[DType.uint64, w]):
        comptime if Self.dt == DType.bool:
            at[UInt8](self.out).unsafe_store(i, v.ne(0).cast[DType.uint8]())
        else:
            at[Scalar[Self.dt]](self.out).unsafe_store(i, v.cast[DType.int64]().cast[Self.dt]())


def random_(mut call: Call) raises -> Obj:
    """In place: (input, low, high, generator): integers of [low, high], both included."""
    var t = call.tensor(0)
    var low = UInt64(call.scalar(1).i)
    var high = UInt64(call.scalar(2).i)
    var code = t[].code()
    if code > FLOAT64:
        raise unsupported("random_", code)
    check_writable(t)
    var n = t[].numel
    var stream = reserve(call, 3, blocks_64(n))
    if n == 0:
        return new_ref(Int(t))
    if t[].device() != 0:
        return _random_there(call, t, stream, low, high - low + 1)
    var direct = t[].contiguous()
    var target = Int(t) if direct else new_tensor(code, t[].shape, t[].rank())
    var data: Int
    if direct:
        data = t[].writable()
    else:
        data = as_tensor(target)[].data()
    comptime for c in range(13):
        if code == c:
            var work = Integers[dtype_of[c]](data, n, stream, low, high - low + 1)
            work.execute()
    if not direct:
        try:
            write_into(Int(t), target)
        finally:
            decref(target)
    return new_ref(Int(t))


def _random_there(call: Call, t: TPtr, stream: Stream, low: UInt64, count: UInt64) raises -> Obj:
    """The same numbers into a tensor on an accelerator: as int64, then cast."""
    comptime LaunchFn = def(Int, Pointer[Integers[DType.int64], MutAnyOrigin]) thin abi("C") -> Int
    var device = t[].device()
    var direct = t[].contiguous() and t[].code() == INT64
    var target = new_ref(Int(t)) if direct else new_tensor(INT64, t[].shape, t[].rank(), device)
    try:
        var work = Integers[DType.int64](as_tensor(target)[].writable(), t[].numel, stream, low, count)
        var launch = function_at[LaunchFn](device_entry(device, "random_integers"))
        check_status(launch(device & 255, Pointer(to=work).as_unsafe_any_origin()), device, call.name())
        if not direct:
            write_into(Int(t), target)
    finally:
        decref(target)
    return new_ref(Int(t))


# ---------------------------------------------------------------- permutations


def _words(call: Call, slot: Int, count: Int) raises -> Int:
    """Random 64-bit words in memory that the caller frees."""
    var space = external_call["malloc", Int](8 * max(count, 1))
    if space == 0:
        raise Error(t"OutOfMemoryError|{call.name()}(): no memory for {count} random numbers")
    var stream: Stream
    try:
        stream = reserve(call, slot, blocks_64(count))
    except e:
        external_call["free", NoneType](space)
        raise e^
    var work = Integers[DType.uint64](space, count, stream, 0, 0)
    if count > 0:
        work.execute()
    return space


def randperm(mut call: Call) raises -> Obj:
    """Parameters (n, generator): the numbers 0 .. n in random order, int64; Fisher and Yates' shuffle."""
    var n = call.int(0)
    var shape = no_dims()
    shape[0] = n
    _ = checked_numel(shape, 1, 8)
    var result = new_tensor(INT64, shape, 1)
    var data = as_tensor(result)[].data()
    var stream: Stream
    try:
        stream = reserve(call, 1, blocks_64(n))
    except e:
        decref(result)
        raise e^
    var held = release_gil()
    for i in range(n):
        store[Int](data + 8 * i, i)
    var i = 0
    while i < n:
        var d = philox(stream.seed, stream.block + UInt64(i // 2))
        comptime for half in range(2):
            comptime for k in range(LANES):
                if i < n:
                    var word = d.low[k] if half == 0 else d.high[k]
                    var step = (word.cast[DType.uint128]() * UInt128(n - i)) >> 64
                    var j = data + 8 * (i + Int(step))
                    var swap = load[Int](j)
                    store[Int](j, load[Int](data + 8 * i))
                    store[Int](data + 8 * i, swap)
                    i += 1
    take_gil(held)
    return result


# ---------------------------------------------------------------- multinomial


def multinomial(mut call: Call) raises -> Obj:
    """Parameters (input, num_samples, replacement, generator): category numbers drawn with the given weights."""
    var t = call.tensor(0)
    var count = call.int(1)
    var replacement = call.bool(2)
    if t[].rank() < 1 or t[].rank() > 2:
        raise Error("RuntimeError|prob_dist must be 1 or 2 dim")
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise Error(
            t"RuntimeError|multinomial only supports floating-point dtypes for input, got: {type_name(t[].code())}"
        )
    if count <= 0:
        raise Error("RuntimeError|cannot sample n_sample <= 0 samples")
    var k = t[].shape[t[].rank() - 1]
    if not replacement and count > k:
        raise Error("RuntimeError|cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    var rows = t[].shape[0] if t[].rank() == 2 else 1
    if k == 0 and rows > 0:
        raise Error("RuntimeError|invalid multinomial distribution (sum of probabilities <= 0)")
    var weights = _weights(t)
    var result: Obj = 0
    var words = 0
    try:
        var p = as_tensor(weights)[].data()
        for r in range(rows):
            _check_weights(p + 8 * r * k, k)
        var shape = no_dims()
        shape[0] = rows
        if t[].rank() == 1:
            shape[0] = count
        shape[t[].rank() - 1] = count
        _ = checked_numel(shape, t[].rank(), 8)
        result = new_tensor(INT64, shape, t[].rank())
        words = _words(call, 3, rows * (count if replacement else k))
        var out_ = as_tensor(result)[].data()
        for r in range(rows):
            if replacement:
                _with_replacement(p + 8 * r * k, k, words + 8 * r * count, count, out_ + 8 * r * count)
            else:
                _without(p + 8 * r * k, k, words + 8 * r * k, count, out_ + 8 * r * count)
    except e:
        decref(weights)
        if result != 0:
            decref(result)
        if words != 0:
            external_call["free", NoneType](words)
        raise e^
    decref(weights)
    external_call["free", NoneType](words)
    return result


def _weights(t: TPtr) raises -> Obj:
    """A copy of the weights in float64 on the CPU: it is overwritten."""
    var copy = new_tensor(FLOAT64, t[].shape, t[].rank())
    try:
        write_into(copy, Int(t))
    except e:
        decref(copy)
        raise e^
    return copy


def _check_weights(p: Int, k: Int) raises:
    var total = Float64(0)
    for i in range(k):
        var v = load[Float64](p + 8 * i)
        if not (v >= 0 and v <= 1.7976931348623157e308):
            raise Error("RuntimeError|probability tensor contains either `inf`, `nan` or element < 0")
        total += v
    if not total > 0:
        raise Error("RuntimeError|invalid multinomial distribution (sum of probabilities <= 0)")


def _with_replacement(p: Int, k: Int, words: Int, count: Int, result: Int):
    """By binary search in the running sums, which replace the weights."""
    var total = Float64(0)
    var last = 0  # the last category that can be drawn
    for i in range(k):
        var v = load[Float64](p + 8 * i)
        if v > 0:
            last = i
        total += v
        store[Float64](p + 8 * i, total)
    for j in range(count):
        var x = unit[DType.float64, 1](load[UInt64](words + 8 * j)) * total
        var low = 0
        var high = last
        # the first category whose sum is above x
        while low < high:
            var middle = (low + high) // 2
            if load[Float64](p + 8 * middle) > x:
                high = middle
            else:
                low = middle + 1
        store[Int](result + 8 * j, low)


@always_inline
def _before(p: Int, a: Int, b: Int) -> Bool:
    var x = load[Float64](p + 8 * a)
    var y = load[Float64](p + 8 * b)
    return x < y or (x == y and a < b)


def _without(p: Int, k: Int, words: Int, count: Int, result: Int):
    """The first of exponential clocks that run at the speed of the weights: the smallest of E / p, in order.

    The clocks replace the weights, a heap of their numbers the words."""
    var never = infinity[DType.float64, 1]()
    for i in range(k):
        var e = -log(positive[DType.float64, 1](load[UInt64](words + 8 * i)))
        var v = load[Float64](p + 8 * i)
        store[Float64](p + 8 * i, max(e, 5.5e-17) / v if v > 0 else never)
        store[Int](words + 8 * i, i)
    var size = k
    for j in range(k // 2):
        _sift(p, words, k // 2 - 1 - j, size)
    for j in range(count):
        store[Int](result + 8 * j, load[Int](words))
        size -= 1
        store[Int](words, load[Int](words + 8 * size))
        _sift(p, words, 0, size)


def _sift(p: Int, heap: Int, start: Int, size: Int):
    var i = start
    while True:
        var child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and _before(p, load[Int](heap + 8 * (child + 1)), load[Int](heap + 8 * child)):
            child += 1
        var own = load[Int](heap + 8 * i)
        var other = load[Int](heap + 8 * child)
        if not _before(p, other, own):
            return
        store[Int](heap + 8 * i, other)
        store[Int](heap + 8 * child, own)
        i = child


@export("dumbtorch_register_sample")
def register_sample() abi("C") -> None:
    register[random_]("random")
    register[randperm]("randperm")
    register[multinomial]("multinomial")
