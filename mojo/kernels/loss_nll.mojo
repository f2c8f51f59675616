"""The negative log-likelihood of classes: the logarithms at the targets, weighed and reduced, and their gradient."""

from std.ffi import external_call
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, dtype_of
from tensor.memory import at, load, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil
from tensor.threads import Body, blocks_for, num_threads, parallel
from kernels.functor import compute
from kernels.pointwise import unsupported
from kernels.reduction import REDUCE_MEAN, REDUCE_NONE, reduction_of
from kernels.rows import get, set
from kernels.transfer_api import contiguous_of
from kernels.zeros import zero_bytes

comptime BLOCK = 1024  # targets that are summed together


struct _Likelihood:
    """Checked operands: x (C), (N, C) or (N, C, ...), its targets without C, and one weight a class, contiguous.

    They are references that `drop` gives back."""

    var x: Obj
    var target: Obj
    var weight: Obj
    var targets: Int  # the targets' memory
    var weights: Int  # the weights', or 0
    var rows: Int
    var classes: Int
    var inner: Int
    var ignore: Int
    var code: Int

    def __init__(out self, call: Call, first: Int) raises:
        """From parameters (input, target, weight, ignore_index) on."""
        var x = call.tensor(first)
        var target = call.tensor(first + 1)
        self.code = x[].code()
        if self.code < FLOAT16 or self.code > FLOAT64 or x[].device() != 0 or target[].device() != 0:
            raise unsupported(call.name(), self.code)
        if x[].rank() < 1 or target[].rank() != x[].rank() - 1:
            raise call.fail("RuntimeError", "expects input (C), (N, C) or (N, C, ...) and targets without C")
        var at_ = 0 if x[].rank() == 1 else 1
        self.rows = 1
        self.inner = 1
        self.classes = x[].shape[at_]
        for i in range(x[].rank()):
            if i < at_:
                self.rows *= x[].shape[i]
            elif i > at_:
                self.inner *= x[].shape[i]
            if i != at_ and target[].shape[i - Int(i > at_)] != x[].shape[i]:
                raise call.fail("RuntimeError", "input and target differ in size")
        self.ignore = call.int(first + 3)
        self.x = 0
        self.weight = 0
        self.weights = 0
        self.target = contiguous_of(target, INT64)
        self.targets = as_tensor(self.target)[].data()
        try:
            if not call.is_none(first + 2):
                if call.tensor(first + 2)[].numel != self.classes:
                    raise call.fail("RuntimeError", "expects one weight a class")
                self.weight = contiguous_of(call.tensor(first + 2), self.code)
                self.weights = as_tensor(self.weight)[].data()
            self.x = contiguous_of(x, self.code)
        except e:
            self.drop()
            raise e^

    def drop(self):
        for o in [self.x, self.target, self.weight]:
            if o != 0:
                decref(o)

    @always_inline
    def at_target(self, i: Int) -> Int:
        return load[Int](self.targets + 8 * i)

    def check(self) raises:
        """Refuses a target that is no class."""
        for i in range(self.rows * self.inner):
            var t = self.at_target(i)
            if t != self.ignore and (t < 0 or t >= self.classes):
                raise Error(t"IndexError|Target {t} is out of bounds.")


struct _Terms[dt: DType, grad: Bool](Body):
    """Blocks of targets: the losses and the weights of each block summed, or (`grad`) the gradient at the targets."""

    comptime C = compute[Self.dt]
    var x: Int
    var targets: Int
    var weights: Int
    var classes: Int
    var inner: Int
    var ignore: Int
    var count: Int
    var out: Int  # the losses or 0; the gradient
    var sums: Int  # float64: the loss and the weight of each block
    var grads: Int  # of one loss or of each
    var each: Bool
    var divisor: Float64
    var bad: Int  # address of a word: not 0 once a target is no class

    def __init__(out self, given: _Likelihood, table: Int):
        self.x = as_tensor(given.x)[].data()
        self.targets = given.targets
        self.weights = given.weights
        self.classes = given.classes
        self.inner = given.inner
        self.ignore = given.ignore
        self.count = given.rows * given.inner
        self.out = 0
        self.sums = table + 8
        self.grads = 0
        self.each = False
        self.divisor = 1
        self.bad = table

    def go(self):
        var blocks = blocks_for(self.count, BLOCK)
        if blocks < 8 or num_threads() == 1:
            for block in range(blocks):
                self.run(block, 0)
            return
        var held = release_gil()
        parallel(self, blocks)
        take_gil(held)

    def run(self, task: Int, worker: Int):
        var start = task * BLOCK
        var end = min(start + BLOCK, self.count)
        var loss = Float64(0)
        var weight = Float64(0)
        var i = start
        while i < end:
            # the targets of one row; without inner dimensions each row has one
            var row = i // self.inner
            var n = min(end - i, self.inner - i % self.inner)
            var base = (row * self.classes) * self.inner + i % self.inner
            var step = 1
            if self.inner == 1:
                n = end - i
                step = self.classes
            var part = self._run[True](i, n, base, step) if self.weights != 0 else self._run[False](i, n, base, step)
            loss += part[0]
            weight += part[1]
            i += n
        comptime if not Self.grad:
            store[Float64](self.sums + 16 * task, loss)
            store[Float64](self.sums + 16 * task + 8, weight)

    @always_inline
    def _run[weighed: Bool](self, first: Int, n: Int, base: Int, step: Int) -> Tuple[Float64, Float64]:
        """Targets whose classes' elements are `inner` apart, the first class's `step` from target to target."""
        var loss = Scalar[Self.C](0)
        var total = Float64(0)
        var wrong = False
        for k in range(n):
            var t = load[Int](self.targets + 8 * (first + k))
            var counts = t != self.ignore
            if counts and UInt64(t) >= UInt64(self.classes):
                wrong = True
                counts = False
            var place = base + k * step + t * self.inner
            var weight = Scalar[Self.C](1)
            comptime if Self.grad:
                if counts:
                    comptime if weighed:
                        weight = get[Self.dt, 1](self.weights, t)
                    var v = get[Self.dt, 1](self.grads, first + k if self.each else 0).cast[DType.float64]()
                    v *= weight.cast[DType.float64]() / self.divisor
                    set[Self.dt, 1](self.out, place, -v.cast[Self.C]())
            else:
                var here = Scalar[Self.C](0)
                if counts:
                    comptime if weighed:
                        weight = get[Self.dt, 1](self.weights, t)
                    here = -get[Self.dt, 1](self.x, place) * weight
                    total += weight.cast[DType.float64]()
                if self.out != 0:
                    set[Self.dt, 1](self.out, first + k, here)
                loss += here
        if wrong:
            store[Int](self.bad, 1)
        return (loss.cast[DType.float64](), total)


def _table(count: Int) raises -> Int:
    """Zeroed words: the flag, and two for each block."""
    var table = external_call["calloc", Int](1 + 2 * blocks_for(count, BLOCK), Int(8))
    if table == 0:
        raise Error("OutOfMemoryError|nll(): out of memory")
    return table


def _summed[dt: DType](given: _Likelihood, table: Int, losses: Int) -> Tuple[Float64, Float64]:
    """The losses, into `losses` if that is not 0, and the sums of all losses and weights."""
    var work = _Terms[dt, False](given, table)
    work.out = losses
    work.go()
    var loss = Float64(0)
    var weight = Float64(0)
    for block in range(blocks_for(work.count, BLOCK)):
        loss += load[Float64](work.sums + 16 * block)
        weight += load[Float64](work.sums + 16 * block + 8)
    return (loss, weight)


def nll(mut call: Call) raises -> Obj:
    """Parameters (input, target, weight, ignore_index, reduction): of the target's shape, or one number."""
    var given = _Likelihood(call, 0)
    var result: Obj = 0
    var table = 0
    try:
        var reduction = reduction_of(call, 4)
        var target = call.tensor(1)
        table = _table(given.rows * given.inner)
        result = new_tensor(given.code, target[].shape, target[].rank() if reduction == REDUCE_NONE else 0)
        var data = as_tensor(result)[].data()
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if given.code == c:
                comptime dt = dtype_of[c]
                var sums = _summed[dt](given, table, data if reduction == REDUCE_NONE else 0)
                if reduction != REDUCE_NONE:
                    var loss = sums[0] / sums[1] if reduction == REDUCE_MEAN else sums[0]
                    at[Scalar[dt]](data)[] = loss.cast[dt]()
        if load[Int](table) != 0:
            given.check()
    except e:
        given.drop()
        if table != 0:
            external_call["free", NoneType](table)
        if result != 0:
            decref(result)
        raise e^
    given.drop()
    external_call["free", NoneType](table)
    return result


def nll_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, input, target, weight, ignore_index, reduction): the gradient of the input."""
    var g = call.tensor(0)
    var given = _Likelihood(call, 1)
    var grad: Obj = 0
    var result: Obj = 0
    var table = 0
    try:
        var reduction = reduction_of(call, 5)
        var count = given.rows * given.inner
        if g[].numel != (count if reduction == REDUCE_NONE else 1) or g[].device() != 0:
            raise call.fail("RuntimeError", String(t"grad_output has {g[].numel} elements for {count} losses"))
        grad = contiguous_of(g, given.code)
        table = _table(count)
        result = new_tensor(given.code, call.tensor(1)[].shape, call.tensor(1)[].rank())
        var r = as_tensor(result)
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if given.code == c:
                comptime dt = dtype_of[c]
                var divisor = _summed[dt](given, table, 0)[1] if reduction == REDUCE_MEAN else Float64(1)
                zero_bytes(r[].data(), r[].numel * size_of[Scalar[dt]]())
                var work = _Terms[dt, True](given, table)
                work.out = r[].data()
                work.grads = as_tensor(grad)[].data()
                work.each = reduction == REDUCE_NONE
                work.divisor = divisor
                work.go()
        if load[Int](table) != 0:
            given.check()
    except e:
        given.drop()
        if table != 0:
            external_call["free", NoneType](table)
        for o in [grad, result]:
            if o != 0:
                decref(o)
        raise e^
    given.drop()
    external_call["free", NoneType](table)
    decref(grad)
    return result


@export("dumbtorch_register_loss_nll")
def register_loss_nll() abi("C") -> None:
    register[nll]("nll")
    register[nll_backward]("nll_backward")
