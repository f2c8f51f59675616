"""Random counts and gamma numbers with a parameter for each element.

Kernel slots: poisson, standard_gamma (self, generator); binomial (count, prob, generator), which have one shape.

How many random numbers an element takes depends on them, so each element has a stream of its own: element i of a call
takes block `start + i` of the generator, and the number of its draw stands in the third word of Philox's counter, which
is 0 in all other fills. The numbers depend neither on the number of threads nor on the other elements.
"""

from std.math import floor, sqrt
from kernels import math
from kernels.philox import LOW, M0, M1, unit
from kernels.pointwise import unsupported
from kernels.stream import Stream, reserve
from kernels.transfer_api import contiguous_of, on_device, on_host
from kernels.unlocked import run_tasks
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of
from tensor.memory import at, load
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from tensor.threads import Body

comptime TASK = 128
comptime F = Float64

comptime POISSON = 0
comptime BINOMIAL = 1
comptime GAMMA = 2


struct Draws:
    """The uniform numbers in [0, 1) of one element."""

    var seed: UInt64
    var block: UInt64
    var draw: UInt64
    var spare: UInt64
    var has_spare: Bool

    def __init__(out self, seed: UInt64, block: UInt64):
        self.seed = seed
        self.block = block
        self.draw = 1
        self.spare = 0
        self.has_spare = False

    def next(mut self) -> F:
        if self.has_spare:
            self.has_spare = False
            return unit[DType.float64, 1](self.spare)
        var c0 = self.block & LOW
        var c1 = self.block >> 32
        var c2 = self.draw & LOW
        var c3 = self.draw >> 32
        var k0 = self.seed & LOW
        var k1 = self.seed >> 32
        comptime for _ in range(10):
            var p0 = c0 * M0
            var p1 = c2 * M1
            c0 = (p1 >> 32) ^ c1 ^ k0
            c1 = p1 & LOW
            c2 = (p0 >> 32) ^ c3 ^ k1
            c3 = p0 & LOW
            k0 = (k0 + 0x9E3779B9) & LOW
            k1 = (k1 + 0xBB67AE85) & LOW
        self.draw += 1
        self.spare = c2 | (c3 << 32)
        self.has_spare = True
        return unit[DType.float64, 1](c0 | (c1 << 32))

    def normal(mut self) -> F:
        """A standard normal number: Marsaglia's polar method."""
        while True:
            var x = 2 * self.next() - 1
            var y = 2 * self.next() - 1
            var s = x * x + y * y
            if s < 1 and s > 0:
                return x * sqrt(-2 * math.log(s) / s)


def poisson_draw(rate: F, mut draws: Draws) -> F:
    """For small rates by adding up the probabilities, else by Hörmann's transformed rejection with squeeze (PTRS, 1993).
    """
    if rate < 10:
        # the distribution function reaches every uniform number before k = 100
        var u = draws.next()
        var k: F = 0
        var p = math.exp(-rate)
        var sum = p
        while u >= sum and k < 100:
            k += 1
            p *= rate / k
            sum += p
        return k
    if not math.isfinite(rate):
        return rate
    var log_rate = math.log(rate)
    var b = 0.931 + 2.53 * sqrt(rate)
    var a = -0.059 + 0.02483 * b
    var alpha = 1.1239 + 1.1328 / (b - 3.4)
    var reach = 0.9277 - 3.6224 / (b - 2)
    while True:
        var u = draws.next() - 0.5
        var v = draws.next()
        var us = 0.5 - abs(u)
        var k = floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= reach:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v) + math.log(alpha) - math.log(a / (us * us) + b) <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def _stirling(k: F) -> F:
    """The rest of Stirling's series of log(k!)."""
    return math.lgamma(k + 1) - ((k + 0.5) * math.log(k + 1) - (k + 1) + 0.91893853320467274178)


def _binomial_small(count: F, p: F, mut draws: Draws) -> F:
    """Failures between successes are geometric: their sum passes `count`."""
    var sum: F = 0
    var k: F = 0
    var base = math.log1p(-p)
    while True:
        sum += math.floor(math.log(1 - draws.next()) / base) + 1
        if sum > count:
            return k
        k += 1


def _binomial_large(count: F, p: F, mut draws: Draws) -> F:
    """Hörmann's transformed rejection (BTRS, 1993), for count * p >= 10 and p <= 1/2."""
    var deviation = sqrt(count * p * (1 - p))
    var b = 1.15 + 2.53 * deviation
    var a = -0.0873 + 0.0248 * b + 0.01 * p
    var c = count * p + 0.5
    var reach = 0.92 - 4.2 / b
    var r = p / (1 - p)
    var alpha = (2.83 + 5.1 / b) * deviation
    var m = floor((count + 1) * p)
    while True:
        var u = draws.next() - 0.5
        var v = draws.next()
        var us = 0.5 - abs(u)
        var k = floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= reach:
            return k
        if k < 0 or k > count:
            continue
        v = math.log(v * alpha / (a / (us * us) + b))
        var bound = (
            (m + 0.5) * math.log((m + 1) / (r * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(r * (count - k + 1) / (k + 1))
            + _stirling(m)
            + _stirling(count - m)
            - _stirling(k)
            - _stirling(count - k)
        )
        if v <= bound:
            return k


def binomial_draw(count: F, p: F, mut draws: Draws) -> F:
    if math.isnan(count) or math.isnan(p):
        return math.nan[DType.float64, 1]()
    if count <= 0 or p <= 0:
        return 0
    if p >= 1 or not math.isfinite(count):
        return count
    var q = p if p <= 0.5 else 1 - p
    var k = _binomial_large(count, q, draws) if count * q >= 10 else _binomial_small(count, q, draws)
    return k if p <= 0.5 else count - k


def gamma_draw(shape: F, mut draws: Draws) -> F:
    """Marsaglia and Tsang's method (2000), boosted below 1."""
    if not shape > 0 or not math.isfinite(shape):
        return shape if shape == 0 or math.isinf(shape) else math.nan[DType.float64, 1]()
    var alpha = shape
    var scale: F = 1
    if shape < 1:
        scale = math.pow(1 - draws.next(), 1 / shape)
        alpha += 1
    var d = alpha - 1.0 / 3
    var c = 1 / sqrt(9 * d)
    while True:
        var x = draws.normal()
        var y = 1 + c * x
        if y <= 0:
            continue
        var v = y * y * y
        var u = 1 - draws.next()
        var xx = x * x
        if u < 1 - 0.0331 * xx * xx or math.log(u) < 0.5 * xx + d * (1 - v + math.log(v)):
            return scale * d * v


@fieldwise_init
struct Fill[kind: Int](Body):
    var out: Int
    var code: Int
    var first: Int
    var second: Int
    var n: Int
    var stream: Stream

    def run(self, task: Int, worker: Int):
        for i in range(task * TASK, min((task + 1) * TASK, self.n)):
            var draws = Draws(self.stream.seed, self.stream.block + UInt64(i))
            var x = load[F](self.first + 8 * i)
            var value: F
            comptime if Self.kind == POISSON:
                value = poisson_draw(x, draws)
            elif Self.kind == BINOMIAL:
                value = binomial_draw(x, load[F](self.second + 8 * i), draws)
            else:
                value = gamma_draw(x, draws)
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if self.code == c:
                    at[Scalar[dtype_of[c]]](self.out)[unsafe_offset=i] = value.cast[dtype_of[c]]()


def _on_host_in_double(t: TPtr) raises -> Obj:
    var here = on_host(t)
    try:
        return contiguous_of(as_tensor(here), FLOAT64)
    finally:
        decref(here)


def _filled[kind: Int](call: Call, first: Obj, second: Obj, slot: Int) raises -> Obj:
    """A new tensor like the first parameter."""
    var t = call.tensor(0)
    var stream = reserve(call, slot, t[].numel)
    var made = new_tensor(t[].code(), t[].shape, t[].rank())
    var work = Fill[kind](
        as_tensor(made)[].data(),
        t[].code(),
        as_tensor(first)[].data(),
        as_tensor(second)[].data() if second != 0 else 0,
        t[].numel,
        stream,
    )
    var tasks = (t[].numel + TASK - 1) // TASK
    run_tasks(work, tasks, t[].numel)
    return on_device(made, t[].device())


def poisson(mut call: Call) raises -> Obj:
    """Poisson numbers of the given rates: (self, generator)."""
    var t = call.tensor(0)
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise unsupported("poisson_cpu", t[].code())
    var rates = _on_host_in_double(t)
    try:
        for i in range(t[].numel):
            if not load[F](as_tensor(rates)[].data() + 8 * i) >= 0:
                raise Error("RuntimeError|invalid Poisson rate, expected rate to be non-negative")
        return _filled[POISSON](call, rates, 0, 1)
    finally:
        decref(rates)


def standard_gamma(mut call: Call) raises -> Obj:
    """Gamma numbers of the given shapes and scale 1: (self, generator)."""
    var t = call.tensor(0)
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise unsupported("gamma", t[].code())
    var shapes = _on_host_in_double(t)
    try:
        return _filled[GAMMA](call, shapes, 0, 1)
    finally:
        decref(shapes)


def binomial(mut call: Call) raises -> Obj:
    """Successes of `count` trials of probability `prob`: (count, prob, generator)."""
    var counts = _on_host_in_double(call.tensor(0))
    try:
        var chances = _on_host_in_double(call.tensor(1))
        try:
            if as_tensor(counts)[].numel != as_tensor(chances)[].numel:
                raise call.fail("RuntimeError", "count and prob have different shapes")
            return _filled[BINOMIAL](call, counts, chances, 2)
        finally:
            decref(chances)
    finally:
        decref(counts)


@export("dumbtorch_register_counts")
def register_counts() abi("C") -> None:
    register[poisson]("poisson")
    register[binomial]("binomial")
    register[standard_gamma]("standard_gamma")
