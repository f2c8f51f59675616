"""The rules of the less common optimizers, as PyTorch 2.13 has them, in the frame of kernels/optim.mojo.

RMSprop (Tieleman and Hinton 2012), Adagrad (Duchi et al. 2011), Adadelta (Zeiler 2012), Adamax (Kingma and Ba 2014), NAdam
(Dozat 2016), RAdam (Liu et al. 2019), Rprop (Riedmiller and Braun 1993), ASGD (Polyak and Juditsky 1992). The numbers of
an item, which depend on its count of steps, are computed by the caller.
"""

from std.ffi import external_call
from std.math import sqrt
from kernels.functor import compute
from kernels.optim import NUMBERS, ROLES, Rule, Settings, lanes, number, read, sequence, step, write
from tensor.call import Call, register
from tensor.errors import python_error
from tensor.memory import load, store
from tensor.py import Obj, seq_item, seq_len


@always_inline
def _gradient[dt: DType, w: Int](s: Settings, item: Int, i: Int, p: SIMD[compute[dt], w]) -> SIMD[compute[dt], w]:
    """The gradient to follow: turned round to climb, with the penalty on the size of the parameter."""
    var g = read[dt, w](item, 1, i)
    if s.maximize:
        g = -g
    if s.decay != 0 and not s.decoupled:
        g += p * lanes[dt, w](s.decay)
    return g


struct Rmsprop(Rule):
    comptime kind = 2  # state: square average, momentum, average

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        var v = read[dt, w](item, 2, i) * lanes[dt, w](s.beta2) + g * g * lanes[dt, w](1 - s.beta2)
        write[dt, w](item, 2, i, v)
        if s.centered:
            var m = read[dt, w](item, 4, i)
            m += (g - m) * lanes[dt, w](1 - s.beta2)
            write[dt, w](item, 4, i, m)
            v -= m * m
        var d = g / (sqrt(v) + lanes[dt, w](s.eps))
        if s.momentum > 0:
            d += read[dt, w](item, 3, i) * lanes[dt, w](s.momentum)
            write[dt, w](item, 3, i, d)
        write[dt, w](item, 0, i, p - d * lanes[dt, w](s.lr))


struct Adagrad(Rule):
    comptime kind = 3  # state: sum; numbers: the step's rate

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        var sum = read[dt, w](item, 2, i) + g * g
        write[dt, w](item, 2, i, sum)
        write[dt, w](item, 0, i, p - number[dt, w](item, 0) * (g / (sqrt(sum) + lanes[dt, w](s.eps))))


struct Adadelta(Rule):
    comptime kind = 4  # state: square average, average of the squared steps

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        var rho = lanes[dt, w](s.beta2)
        var rest = lanes[dt, w](1 - s.beta2)
        var eps = lanes[dt, w](s.eps)
        var v = read[dt, w](item, 2, i) * rho + g * g * rest
        var steps = read[dt, w](item, 3, i)
        var delta = sqrt(steps + eps) / sqrt(v + eps) * g
        write[dt, w](item, 2, i, v)
        write[dt, w](item, 3, i, steps * rho + delta * delta * rest)
        write[dt, w](item, 0, i, p - delta * lanes[dt, w](s.lr))


struct Adamax(Rule):
    comptime kind = 5  # state: average, largest; numbers: the step's rate

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        var m = read[dt, w](item, 2, i)
        m += (g - m) * lanes[dt, w](1 - s.beta1)
        var size = g.lt(0).select(-g, g) + lanes[dt, w](s.eps)
        var norm = read[dt, w](item, 3, i) * lanes[dt, w](s.beta2)
        norm = norm.gt(size).select(norm, size)
        write[dt, w](item, 2, i, m)
        write[dt, w](item, 3, i, norm)
        write[dt, w](item, 0, i, p - number[dt, w](item, 0) * (m / norm))


struct Nadam(Rule):
    comptime kind = 6  # state: average, square average; numbers: rates of the gradient and the average, correction

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        if s.decoupled:
            p *= lanes[dt, w](1 - s.lr * s.decay)
        var m = read[dt, w](item, 2, i)
        m += (g - m) * lanes[dt, w](1 - s.beta1)
        var v = read[dt, w](item, 3, i) * lanes[dt, w](s.beta2) + g * g * lanes[dt, w](1 - s.beta2)
        write[dt, w](item, 2, i, m)
        write[dt, w](item, 3, i, v)
        var d = sqrt(v / number[dt, w](item, 2)) + lanes[dt, w](s.eps)
        write[dt, w](item, 0, i, p - number[dt, w](item, 0) * (g / d) - number[dt, w](item, 1) * (m / d))


struct Radam(Rule):
    comptime kind = 7  # state: average, square average; numbers: correction, rectified rate (0: none), plain rate

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        if s.decoupled:
            p *= lanes[dt, w](1 - s.lr * s.decay)
        var m = read[dt, w](item, 2, i)
        m += (g - m) * lanes[dt, w](1 - s.beta1)
        var v = read[dt, w](item, 3, i) * lanes[dt, w](s.beta2) + g * g * lanes[dt, w](1 - s.beta2)
        write[dt, w](item, 2, i, m)
        write[dt, w](item, 3, i, v)
        var corrected = m / number[dt, w](item, 0)
        var rectified = number[dt, w](item, 1) / (sqrt(v) + lanes[dt, w](s.eps))
        write[dt, w](item, 0, i, p - corrected * (rectified + number[dt, w](item, 2)))


struct Rprop(Rule):
    comptime kind = 8  # state: last gradient, step size; beta1, beta2: the factors that shrink and stretch it

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        comptime V = SIMD[compute[dt], w]
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        var agree = g * read[dt, w](item, 2, i)
        var factor = agree.gt(0).select(lanes[dt, w](s.beta2), agree.lt(0).select(lanes[dt, w](s.beta1), V(1)))
        var low = lanes[dt, w](s.low)
        var high = lanes[dt, w](s.high)
        var size = read[dt, w](item, 3, i) * factor
        size = size.lt(low).select(low, size)
        size = size.gt(high).select(high, size)
        g = agree.lt(0).select(V(0), g)
        write[dt, w](item, 2, i, g)
        write[dt, w](item, 3, i, size)
        write[dt, w](item, 0, i, p - g.gt(0).select(size, g.lt(0).select(-size, V(0))))


struct Asgd(Rule):
    comptime kind = 9  # state: average parameter; numbers: 1 - lambd * eta, eta, mu

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        var p = read[dt, w](item, 0, i)
        var g = _gradient[dt, w](s, item, i, p)
        p = p * number[dt, w](item, 0) - g * number[dt, w](item, 1)
        var mu = number[dt, w](item, 2)
        var average = read[dt, w](item, 2, i)
        write[dt, w](item, 0, i, p)
        # with mu == 1 the average is the parameter itself, whatever it was before
        write[dt, w](item, 2, i, mu.eq(1).select(p, average + (p - average) * mu))


comptime SETTINGS = 11


def _numbers(call: Call, slot: Int, count: Int, target: Int) raises:
    """Reads a list of so many floats."""
    var given = sequence(call, slot, -1)
    if given == 0 or seq_len(given) != count:
        raise call.type_error(slot, "list of floats")
    for k in range(count):
        var value = external_call["PyFloat_AsDouble", Float64](seq_item(given, k))
        if value == -1 and external_call["PyErr_Occurred", Int]() != 0:
            raise python_error()
        store[Float64](target + 8 * k, value)


def fused_rule(mut call: Call) raises -> Obj:
    """In place: (rule, params, grads, first, second, third, numbers, settings). `first` .. `third` are lists of state tensors
    or None, `numbers` three floats a parameter, `settings` the floats lr, momentum, weight_decay, maximize, decoupled, beta1,
    beta2, eps, centered, low, high."""
    var params = sequence(call, 1, -1)
    if params == 0:
        raise call.type_error(1, "list of Tensors")
    var n = seq_len(params)
    var lists = Array[Obj, ROLES](fill=0)
    lists[1] = sequence(call, 2, n)
    if lists[1] == 0:
        raise call.type_error(2, "list of Tensors")
    for r in range(2, ROLES):
        lists[r] = sequence(call, r + 1, n)
    var rule = call.int(0)
    var numbers = external_call["malloc", Int](8 * (NUMBERS * n + SETTINGS))
    if numbers == 0:
        raise call.fail("OutOfMemoryError", "no memory for the numbers of the parameters")
    try:
        var given = numbers + 8 * NUMBERS * n
        _numbers(call, 6, NUMBERS * n, numbers)
        _numbers(call, 7, SETTINGS, given)
        var s = Settings()
        s.lr = load[Float64](given)
        s.momentum = load[Float64](given + 8)
        s.decay = load[Float64](given + 16)
        s.maximize = load[Float64](given + 24) != 0
        s.decoupled = load[Float64](given + 32) != 0
        s.beta1 = load[Float64](given + 40)
        s.beta2 = load[Float64](given + 48)
        s.eps = load[Float64](given + 56)
        s.centered = load[Float64](given + 64) != 0
        s.low = load[Float64](given + 72)
        s.high = load[Float64](given + 80)
        # what a rule writes to must be there
        var last = 2 if rule == Adagrad.kind or rule == Asgd.kind or rule == Rmsprop.kind else 3
        for r in range(2, last + 1):
            if lists[r] == 0:
                raise call.type_error(r + 1, "list of Tensors")
        if rule == Rmsprop.kind and ((s.momentum > 0 and lists[3] == 0) or (s.centered and lists[4] == 0)):
            raise call.fail("ValueError", "rmsprop needs a momentum buffer for momentum and an average to be centered")
        var done: Obj
        if rule == Rmsprop.kind:
            done = step[Rmsprop](call, s, ROLES, numbers, params, lists)
        elif rule == Adagrad.kind:
            done = step[Adagrad](call, s, ROLES, numbers, params, lists)
        elif rule == Adadelta.kind:
            done = step[Adadelta](call, s, ROLES, numbers, params, lists)
        elif rule == Adamax.kind:
            done = step[Adamax](call, s, ROLES, numbers, params, lists)
        elif rule == Nadam.kind:
            done = step[Nadam](call, s, ROLES, numbers, params, lists)
        elif rule == Radam.kind:
            done = step[Radam](call, s, ROLES, numbers, params, lists)
        elif rule == Rprop.kind:
            done = step[Rprop](call, s, ROLES, numbers, params, lists)
        elif rule == Asgd.kind:
            done = step[Asgd](call, s, ROLES, numbers, params, lists)
        else:
            raise call.fail("ValueError", String(t"there is no rule {rule}"))
        external_call["free", NoneType](numbers)
        return done
    except e:
        external_call["free", NoneType](numbers)
        raise e


@export("dumbtorch_register_optim_rules")
def register_optim_rules() abi("C") -> None:
    register[fused_rule]("fused_rule")
