"""Cross-entropy of logits and class indices in one pass over the logits, and its derivative."""

from std.ffi import external_call
from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, UINT8, dtype_of, type_name
from tensor.layout import no_dims, shape_text
from tensor.memory import at, function_at, load
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from tensor.storage import check_status, device_table
from tensor.threads import Body, num_threads
from kernels.device_api import different_devices
from kernels.functor import compute
from kernels.math import exp, log
from kernels.pointwise import unsupported
from kernels.reduction import REDUCE_MEAN, REDUCE_NONE, reduction_of
from kernels.rows import get, get_some, row_high, row_sum_exp, set, set_some
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks


struct Losses[dt: DType](Body):
    """Row losses log(sum(exp(x))) - x[target], or their gradient softmax(x) - one at target, scaled."""

    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    var x: Int
    var target: Int
    var rows: Int
    var classes: Int
    var ignore: Int
    var losses: Int  # forward: one element of C for each row
    var out: Int  # backward: (rows, classes)
    var scale: Int  # backward: one element of C, or one for each row
    var scale_step: Int
    var per_task: Int

    def __init__(out self, x: Int, target: Int, rows: Int, classes: Int, ignore: Int):
        self.x = x
        self.target = target
        self.rows = rows
        self.classes = classes
        self.ignore = ignore
        self.losses = 0
        self.out = 0
        self.scale = 0
        self.scale_step = 0
        self.per_task = rows

    def execute(mut self):
        var work = self.rows * self.classes
        if work >= 16384 and num_threads() > 1:
            self.per_task = ceildiv(self.rows, min(self.rows, num_threads() * 8))
        run_tasks(self, ceildiv(self.rows, max(self.per_task, 1)), work)

    def run(self, task: Int, worker: Int):
        for r in range(task * self.per_task, min((task + 1) * self.per_task, self.rows)):
            var t = load[Int](self.target + 8 * r)
            if self.losses != 0:
                var loss = Scalar[Self.C](0)
                if t != self.ignore:
                    var s = self._sum_exp(r)
                    loss = log(s[1]) - (get[Self.dt, 1](self.x, r * self.classes + t) - s[0])
                at[Scalar[Self.C]](self.losses)[unsafe_offset=r] = loss
            else:
                self._gradient(r, t)

    @always_inline
    def _sum_exp(self, r: Int) -> SIMD[Self.C, 2]:
        """The row's maximum and the sum of exp(x - maximum)."""
        var start = r * self.classes
        var high = row_high[Self.dt](self.x, start, self.classes)
        return SIMD[Self.C, 2](high, row_sum_exp[Self.dt](self.x, start, self.classes, high))

    @always_inline
    def _gradient(self, r: Int, t: Int):
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var start = r * self.classes
        var n = self.classes
        var i = 0
        if t == self.ignore:
            while i + W <= n:
                set[Self.dt, W](self.out, start + i, V(0))
                i += W
            if i < n:
                set_some[Self.dt, W](self.out, start + i, n - i, V(0))
            return
        var scale = at[Scalar[Self.C]](self.scale)[unsafe_offset=r * self.scale_step]
        var s = self._sum_exp(r)
        var factor = scale / s[1]
        while i + W <= n:
            set[Self.dt, W](self.out, start + i, exp(get[Self.dt, W](self.x, start + i) - V(s[0])) * V(factor))
            i += W
        if i < n:
            var x = get_some[Self.dt, W](self.x, start + i, n - i)
            set_some[Self.dt, W](self.out, start + i, n - i, exp(x - V(s[0])) * V(factor))
        var own = get[Self.dt, 1](self.x, start + t)
        set[Self.dt, 1](self.out, start + t, (exp(own - s[0]) / s[1] - 1) * scale)


def _check_targets(call: Call, x: TPtr, target: TPtr, ignore: Int) raises -> Obj:
    """The targets as contiguous int64 on the CPU, each checked against the number of classes. A new reference."""
    if x[].rank() != 2:
        raise call.fail(
            "RuntimeError", String(t"expects logits of shape (N, C), got {shape_text(x[].shape, x[].rank())}")
        )
    var code = target[].code()
    if code != INT64 and code != UINT8:
        raise Error(t"RuntimeError|expected scalar type Long but found {type_name(code)}")
    if target[].rank() != 1 or target[].shape[0] != x[].shape[0]:
        raise Error(
            t"ValueError|Expected input batch_size ({x[].shape[0]}) to match target batch_size"
            t" ({target[].shape[0] if target[].rank() > 0 else 0})."
        )
    if target[].device() != x[].device():
        raise different_devices(x[].device(), target[].device())
    var indices = contiguous_of(target, INT64)
    if target[].device() != 0:
        return indices  # the device's kernel checks them
    var data = as_tensor(indices)[].data()
    for i in range(x[].shape[0]):
        var v = load[Int](data + 8 * i)
        if v != ignore and (v < 0 or v >= x[].shape[1]):
            decref(indices)
            raise Error(t"IndexError|Target {v} is out of bounds.")
    return indices


def _counted(data: Int, n: Int, ignore: Int) -> Int:
    var count = 0
    for i in range(n):
        count += Int(load[Int](data + 8 * i) != ignore)
    return count


def cross_entropy(mut call: Call) raises -> Obj:
    """Parameters (input, target, ignore_index, reduction): logits (N, C), classes (N,)."""
    var x = call.tensor(0)
    var code = x[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    var ignore = call.int(2)
    var reduction = reduction_of(call, 3)
    var indices = _check_targets(call, x, call.tensor(1), ignore)
    var source = contiguous_of(x, code)
    var rows = x[].shape[0]
    var shape = no_dims()
    shape[0] = rows
    var result = new_tensor(code, shape, 1 if reduction == REDUCE_NONE else 0, x[].device())
    if x[].device() != 0:
        _device_losses(call, as_tensor(source), indices, 0, result, ignore, reduction)
    else:
        comptime for c in range(9, 13):
            if code == c:
                _forward_losses[dtype_of[c]](as_tensor(source), indices, as_tensor(result), ignore, reduction)
    decref(source)
    decref(indices)
    return result


def _forward_losses[dt: DType](x: TPtr, indices: Obj, result: TPtr, ignore: Int, reduction: Int) raises:
    comptime C = compute[dt]
    var rows = x[].shape[0]
    var target = as_tensor(indices)[].data()
    var work = Losses[dt](x[].data(), target, rows, x[].shape[1], ignore)
    var losses = external_call["malloc", Int](max(rows, 1) * size_of[Scalar[C]]())
    if losses == 0:
        raise Error("OutOfMemoryError|cross_entropy(): no memory for the losses")
    work.losses = losses
    if rows > 0:
        work.execute()
    if reduction == REDUCE_NONE:
        for i in range(rows):
            at[Scalar[dt]](result[].data())[unsafe_offset=i] = at[Scalar[C]](losses)[unsafe_offset=i].cast[dt]()
    else:
        # in order, in float64: the same for any number of threads
        var total = Float64(0)
        for i in range(rows):
            total += at[Scalar[C]](losses)[unsafe_offset=i].cast[DType.float64]()
        if reduction == REDUCE_MEAN:
            total /= Float64(_counted(target, rows, ignore))
        at[Scalar[dt]](result[].data())[] = total.cast[dt]()
    external_call["free", NoneType](losses)


def cross_entropy_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, input, target, ignore_index, reduction): the gradient of the logits."""
    var g = call.tensor(0)
    var x = call.tensor(1)
    var code = x[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    var ignore = call.int(3)
    var reduction = reduction_of(call, 4)
    var rows = x[].shape[0] if x[].rank() > 0 else 0
    if g[].numel != (rows if reduction == REDUCE_NONE else 1):
        raise call.fail("RuntimeError", String(t"grad_output has {g[].numel} elements for {rows} rows"))
    if g[].device() != x[].device():
        raise different_devices(g[].device(), x[].device())
    var indices = _check_targets(call, x, call.tensor(2), ignore)
    var source = contiguous_of(x, code)
    var grad = contiguous_of(g, code)
    var result = new_tensor(code, x[].shape, 2, x[].device())
    if x[].device() != 0:
        _device_losses(call, as_tensor(source), indices, grad, result, ignore, reduction)
    elif rows > 0:
        comptime for c in range(9, 13):
            if code == c:
                _backward_losses[dtype_of[c]](
                    as_tensor(source), indices, as_tensor(grad), as_tensor(result), ignore, reduction
                )
    decref(source)
    decref(grad)
    decref(indices)
    return result


def _backward_losses[dt: DType](x: TPtr, indices: Obj, g: TPtr, result: TPtr, ignore: Int, reduction: Int) raises:
    comptime C = compute[dt]
    var rows = x[].shape[0]
    var target = as_tensor(indices)[].data()
    var work = Losses[dt](x[].data(), target, rows, x[].shape[1], ignore)
    var count = rows if reduction == REDUCE_NONE else 1
    var scale = external_call["malloc", Int](count * size_of[Scalar[C]]())
    if scale == 0:
        raise Error("OutOfMemoryError|cross_entropy_backward(): no memory for the scales")
    var divisor = Float64(1)
    if reduction == REDUCE_MEAN:
        divisor = Float64(_counted(target, rows, ignore))
    for i in range(count):
        var v = at[Scalar[dt]](g[].data())[unsafe_offset=i].cast[DType.float64]() / divisor
        at[Scalar[C]](scale)[unsafe_offset=i] = v.cast[C]()
    work.out = result[].data()
    work.scale = scale
    work.scale_step = 1 if reduction == REDUCE_NONE else 0
    work.execute()
    external_call["free", NoneType](scale)


struct DeviceLosses:
    """What an accelerator's cross-entropy kernels are given: addresses on the device and sizes."""

    var x: Int
    var target: Int
    var grad: Int  # 0 forward
    var out: Int
    var rows: Int
    var classes: Int
    var ignore: Int
    var reduction: Int

    def __init__(
        out self, x: Int, target: Int, grad: Int, result: Int, rows: Int, classes: Int, ignore: Int, reduction: Int
    ):
        self.x = x
        self.target = target
        self.grad = grad
        self.out = result
        self.rows = rows
        self.classes = classes
        self.ignore = ignore
        self.reduction = reduction


def _device_losses(call: Call, x: TPtr, indices: Obj, grad: Obj, result: Obj, ignore: Int, reduction: Int) raises:
    comptime LaunchFn = def(Int, Pointer[DeviceLosses, MutAnyOrigin], Int) thin abi("C") -> Int
    var work = DeviceLosses(
        x[].data(), as_tensor(indices)[].data(), as_tensor(grad)[].data() if grad != 0 else 0,
        as_tensor(result)[].data(), x[].shape[0], x[].shape[1], ignore, reduction,
    )  # fmt: skip
    var device = x[].device()
    var f = function_at[LaunchFn](device_table(device)[].losses)
    check_status(f(device & 255, Pointer(to=work).as_unsafe_any_origin(), x[].code()), device, call.name())


@export("dumbtorch_register_loss")
def register_loss() abi("C") -> None:
    register[cross_entropy]("cross_entropy")
    register[cross_entropy_backward]("cross_entropy_backward")
