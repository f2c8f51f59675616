"""The negative log-likelihood of classes: the logarithms at the targets, weighed and reduced, and their gradient."""

from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, dtype_of
from tensor.memory import at, load, memset
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from kernels.functor import compute
from kernels.pointwise import unsupported
from kernels.reduction import REDUCE_MEAN, REDUCE_NONE, reduction_of
from kernels.rows import get, set
from kernels.transfer_api import contiguous_of


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
            for i in range(self.rows * self.inner):
                var t = self.at_target(i)
                if t != self.ignore and (t < 0 or t >= self.classes):
                    raise Error(t"IndexError|Target {t} is out of bounds.")
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

    @always_inline
    def weight_of[dt: DType](self, t: Int) -> Scalar[compute[dt]]:
        return get[dt, 1](self.weights, t) if self.weights != 0 else 1

    def total[dt: DType](self) -> Float64:
        """The weights of the targets that count."""
        var sum = Float64(0)
        if self.weight == 0:
            var count = 0
            for i in range(self.rows * self.inner):
                count += Int(self.at_target(i) != self.ignore)
            return Float64(count)
        for i in range(self.rows * self.inner):
            var t = self.at_target(i)
            if t != self.ignore:
                sum += self.weight_of[dt](t).cast[DType.float64]()
        return sum


def nll(mut call: Call) raises -> Obj:
    """Parameters (input, target, weight, ignore_index, reduction): of the target's shape, or one number."""
    var given = _Likelihood(call, 0)
    var reduction = reduction_of(call, 4)
    var target = call.tensor(1)
    var result = new_tensor(given.code, target[].shape, target[].rank() if reduction == REDUCE_NONE else 0)
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if given.code == c:
            comptime dt = dtype_of[c]
            var x = as_tensor(given.x)[].data()
            var out = as_tensor(result)[].data()
            var sum = Float64(0)
            for row in range(given.rows):
                var part = Scalar[compute[dt]](0)
                for k in range(given.inner):
                    var i = row * given.inner + k
                    var t = given.at_target(i)
                    var loss = Scalar[compute[dt]](0)
                    if t != given.ignore:
                        loss = -get[dt, 1](x, (row * given.classes + t) * given.inner + k) * given.weight_of[dt](t)
                    if reduction == REDUCE_NONE:
                        set[dt, 1](out, i, loss)
                    part += loss
                    if k % 1024 == 1023:
                        sum += part.cast[DType.float64]()
                        part = 0
                sum += part.cast[DType.float64]()
            if reduction != REDUCE_NONE:
                if reduction == REDUCE_MEAN:
                    sum /= given.total[dt]()
                at[Scalar[dt]](out)[] = sum.cast[dt]()
    given.drop()
    return result


def nll_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, input, target, weight, ignore_index, reduction): the gradient of the input."""
    var g = call.tensor(0)
    var given = _Likelihood(call, 1)
    var reduction = reduction_of(call, 5)
    var count = given.rows * given.inner
    if g[].numel != (count if reduction == REDUCE_NONE else 1) or g[].device() != 0:
        given.drop()
        raise call.fail("RuntimeError", String(t"grad_output has {g[].numel} elements for {count} losses"))
    var grad = contiguous_of(g, given.code)
    var result = new_tensor(given.code, call.tensor(1)[].shape, call.tensor(1)[].rank())
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if given.code == c:
            comptime dt = dtype_of[c]
            var out = as_tensor(result)[].data()
            memset(out, 0, as_tensor(result)[].numel * size_of[Scalar[dt]]())
            var divisor = given.total[dt]() if reduction == REDUCE_MEAN else Float64(1)
            var grads = as_tensor(grad)[].data()
            for row in range(given.rows):
                for k in range(given.inner):
                    var i = row * given.inner + k
                    var t = given.at_target(i)
                    if t != given.ignore:
                        var v = get[dt, 1](grads, i if reduction == REDUCE_NONE else 0).cast[DType.float64]()
                        v *= given.weight_of[dt](t).cast[DType.float64]() / divisor
                        set[dt, 1](out, (row * given.classes + t) * given.inner + k, -v.cast[compute[dt]]())
    given.drop()
    decref(grad)
    return result


@export("dumbtorch_register_loss_nll")
def register_loss_nll() abi("C") -> None:
    register[nll]("nll")
    register[nll_backward]("nll_backward")
