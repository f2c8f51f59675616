"""Softmax, log-softmax and their derivatives along any dimension; cross-entropy of logits and class indices in one pass.

The input is seen as (outer, n, inner) with the reduced dimension in the middle. For inner == 1 a row is handled along
its length; otherwise a vector of neighbouring columns goes down the rows together. Half types compute in float32.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT32, INT64, UINT8, category, dtype_of, itemsize, type_name
from tensor.errors import python_error
from tensor.layout import no_dims, same_dims, shape_text, wrap_dim
from tensor.memory import address_of, at, function_at, load, store
from tensor.object import TPtr, as_tensor, is_tensor, new_tensor
from tensor.py import Obj, decref, incref, new_ref, release_gil, take_gil
from tensor.runtime import runtime
from tensor.storage import check_status, device_table
from tensor.threads import Body, num_threads, parallel
from kernels.device_api import different_devices
from kernels.functor import compute
from kernels.math import exp, isnan, log
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of

comptime SOFTMAX = 0
comptime LOG_SOFTMAX = 1
comptime SOFTMAX_BACKWARD = 2
comptime LOG_SOFTMAX_BACKWARD = 3


@always_inline
def _get[dt: DType, w: Int](address: Int, i: Int) -> SIMD[compute[dt], w]:
    return at[Scalar[dt]](address).unsafe_load[width=w](i).cast[compute[dt]]()


@always_inline
def _set[dt: DType, w: Int](address: Int, i: Int, v: SIMD[compute[dt], w]):
    at[Scalar[dt]](address).unsafe_store(i, v.cast[dt]())


@always_inline
def _larger[dt: DType, w: Int](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[dt, w]:
    return (b.gt(a) | isnan(b)).select(b, a)


def _lowest[dt: DType]() -> Scalar[dt]:
    return Scalar[dt].MIN


struct Rows[dt: DType](Body):
    """Softmax work over (outer, n, inner), cut into tasks of rows or of column vectors."""

    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    var kind: Int
    var a: Int  # the input; for a derivative the output's gradient
    var b: Int  # a derivative: the output
    var out: Int
    var outer: Int
    var n: Int
    var inner: Int
    var units: Int
    var per_task: Int

    def __init__(out self, kind: Int, a: Int, b: Int, result: Int, outer: Int, n: Int, inner: Int):
        self.kind = kind
        self.a = a
        self.b = b
        self.out = result
        self.outer = outer
        self.n = n
        self.inner = inner
        self.units = outer if inner == 1 else outer * ceildiv(inner, Self.W)
        self.per_task = 1

    def execute(mut self):
        var work = self.outer * self.n * self.inner
        if work == 0:
            return
        if work < 16384 or num_threads() == 1:
            self.per_task = self.units
            self.run(0, 0)
            return
        var tasks = min(self.units, num_threads() * 8)
        self.per_task = ceildiv(self.units, tasks)
        var held = release_gil()
        parallel(self, ceildiv(self.units, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        var end = min((task + 1) * self.per_task, self.units)
        for u in range(task * self.per_task, end):
            if self.inner == 1:
                self._row(u * self.n)
            else:
                var vectors = ceildiv(self.inner, Self.W)
                var column = (u % vectors) * Self.W
                var start = (u // vectors) * self.n * self.inner + column
                if column + Self.W <= self.inner:
                    self._columns[Self.W](start)
                else:
                    for c in range(self.inner - column):
                        self._columns[1](start + c)

    @always_inline
    def _row(self, start: Int):
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var n = self.n
        if self.kind >= SOFTMAX_BACKWARD:
            # the sum of g * out (softmax) or of g (log-softmax)
            var acc = V(0)
            var i = 0
            while i + W <= n:
                var g = _get[Self.dt, W](self.a, start + i)
                acc += g * _get[Self.dt, W](self.b, start + i) if self.kind == SOFTMAX_BACKWARD else g
                i += W
            var total = acc.reduce_add()
            while i < n:
                var g = _get[Self.dt, 1](self.a, start + i)
                total += g * _get[Self.dt, 1](self.b, start + i) if self.kind == SOFTMAX_BACKWARD else g
                i += 1
            i = 0
            while i + W <= n:
                self._back[W](start + i, V(total))
                i += W
            while i < n:
                self._back[1](start + i, total)
                i += 1
            return
        var top = V(_lowest[Self.C]())
        var i = 0
        while i + W <= n:
            top = _larger(top, _get[Self.dt, W](self.a, start + i))
            i += W
        var high = top[0]
        comptime for k in range(1, W):
            high = _larger[Self.C, 1](high, top[k])
        while i < n:
            high = _larger[Self.C, 1](high, _get[Self.dt, 1](self.a, start + i))
            i += 1
        # a row of -inf alone: exp(-inf - -inf) is NaN, as it is in PyTorch
        var acc = V(0)
        i = 0
        var keep = self.kind == SOFTMAX and size_of[Scalar[Self.dt]]() >= 4
        while i + W <= n:
            var e = exp(_get[Self.dt, W](self.a, start + i) - V(high))
            if keep:
                _set[Self.dt, W](self.out, start + i, e)
            acc += e
            i += W
        var total = acc.reduce_add()
        while i < n:
            var e = exp(_get[Self.dt, 1](self.a, start + i) - high)
            if keep:
                _set[Self.dt, 1](self.out, start + i, e)
            total += e
            i += 1
        i = 0
        if self.kind == SOFTMAX:
            var scale = 1 / total
            while i + W <= n:
                var e = _get[Self.dt, W](self.out, start + i) if keep else exp(
                    _get[Self.dt, W](self.a, start + i) - V(high)
                )
                _set[Self.dt, W](self.out, start + i, e * V(scale))
                i += W
            while i < n:
                var e = _get[Self.dt, 1](self.out, start + i) if keep else exp(
                    _get[Self.dt, 1](self.a, start + i) - high
                )
                _set[Self.dt, 1](self.out, start + i, e * scale)
                i += 1
        else:
            var shift = log(total)
            while i + W <= n:
                _set[Self.dt, W](self.out, start + i, _get[Self.dt, W](self.a, start + i) - V(high) - V(shift))
                i += W
            while i < n:
                _set[Self.dt, 1](self.out, start + i, _get[Self.dt, 1](self.a, start + i) - high - shift)
                i += 1

    @always_inline
    def _back[w: Int](self, i: Int, total: SIMD[Self.C, w]):
        var g = _get[Self.dt, w](self.a, i)
        var y = _get[Self.dt, w](self.b, i)
        if self.kind == SOFTMAX_BACKWARD:
            _set[Self.dt, w](self.out, i, y * (g - total))
        else:
            _set[Self.dt, w](self.out, i, g - exp(y) * total)

    @always_inline
    def _columns[w: Int](self, start: Int):
        comptime V = SIMD[Self.C, w]
        var step = self.inner
        if self.kind >= SOFTMAX_BACKWARD:
            var total = V(0)
            for r in range(self.n):
                var g = _get[Self.dt, w](self.a, start + r * step)
                total += g * _get[Self.dt, w](self.b, start + r * step) if self.kind == SOFTMAX_BACKWARD else g
            for r in range(self.n):
                self._back[w](start + r * step, total)
            return
        var high = V(_lowest[Self.C]())
        for r in range(self.n):
            high = _larger(high, _get[Self.dt, w](self.a, start + r * step))
        var total = V(0)
        for r in range(self.n):
            total += exp(_get[Self.dt, w](self.a, start + r * step) - high)
        if self.kind == SOFTMAX:
            var scale = 1 / total
            for r in range(self.n):
                var e = exp(_get[Self.dt, w](self.a, start + r * step) - high)
                _set[Self.dt, w](self.out, start + r * step, e * scale)
        else:
            var shift = log(total)
            for r in range(self.n):
                _set[Self.dt, w](self.out, start + r * step, _get[Self.dt, w](self.a, start + r * step) - high - shift)


# ---------------------------------------------------------------- ops


def _launch(call: Call, kind: Int, a: TPtr, b: Int, result: TPtr, outer: Int, n: Int, inner: Int) raises:
    """Runs on the CPU or hands over to the tensor's device."""
    var code = a[].code()
    if a[].device() != 0:
        comptime LaunchFn = def(Int, Pointer[Rows[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int
        var rows = Rows[DType.float32](kind, a[].data(), b, result[].data(), outer, n, inner)
        var device = a[].device()
        var f = function_at[LaunchFn](device_table(device)[].rows)
        check_status(f(device & 255, Pointer(to=rows).as_unsafe_any_origin(), code), device, call.name())
        return
    comptime for c in range(9, 13):
        if code == c:
            var rows = Rows[dtype_of[c]](kind, a[].data(), b, result[].data(), outer, n, inner)
            rows.execute()


def _forward(mut call: Call, kind: Int) raises -> Obj:
    var t = call.tensor(0)
    var code = call.dtype(2, t[].code())
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    var d = wrap_dim(call.int(1), t[].rank())
    var source = contiguous_of(t, code)
    var a = as_tensor(source)
    var result = new_tensor(code, a[].shape, a[].rank(), a[].device())
    try:
        var outer = 1
        var inner = 1
        for i in range(a[].rank()):
            if i < d:
                outer *= a[].shape[i]
            elif i > d:
                inner *= a[].shape[i]
        if a[].numel > 0:
            _launch(call, kind, a, 0, as_tensor(result), outer, a[].shape[d] if a[].rank() > 0 else 1, inner)
    except e:
        decref(source)
        decref(result)
        raise e
    decref(source)
    if call.has_out():
        return _into_out(call, result)
    return result


def _into_out(call: Call, result: Obj) raises -> Obj:
    from kernels.pointwise import check_writable, resize_out
    from tensor.promote import check_can_cast

    var o = as_tensor(call.out)
    var r = as_tensor(result)
    check_can_cast(r[].code(), o[].code())
    if o[].rank() != r[].rank() or not same_dims(o[].shape, r[].shape, r[].rank()):
        resize_out(o, r[].shape, r[].rank())
    check_writable(o)
    var status = external_call["dumbtorch_write", Int](call.out, result)
    decref(result)
    if status != 0:
        raise python_error()
    return new_ref(call.out)


def _backward(mut call: Call, kind: Int) raises -> Obj:
    var g = call.tensor(0)
    var y = call.tensor(1)
    var code = y[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    if g[].rank() != y[].rank() or not same_dims(g[].shape, y[].shape, g[].rank()):
        raise call.fail(
            "RuntimeError",
            String(
                t"grad_output of shape {shape_text(g[].shape, g[].rank())} does not match output of shape"
                t" {shape_text(y[].shape, y[].rank())}"
            ),
        )
    if g[].device() != y[].device():
        raise different_devices(g[].device(), y[].device())
    var d = wrap_dim(call.int(2), y[].rank())
    var first = contiguous_of(g, code)
    var second = contiguous_of(y, code)
    var a = as_tensor(first)
    var result = new_tensor(code, a[].shape, a[].rank(), a[].device())
    var outer = 1
    var inner = 1
    for i in range(a[].rank()):
        if i < d:
            outer *= a[].shape[i]
        elif i > d:
            inner *= a[].shape[i]
    try:
        if a[].numel > 0:
            _launch(
                call, kind, a, as_tensor(second)[].data(), as_tensor(result), outer,
                a[].shape[d] if a[].rank() > 0 else 1, inner,
            )  # fmt: skip
    except e:
        decref(first)
        decref(second)
        decref(result)
        raise e
    decref(first)
    decref(second)
    return result


def softmax(mut call: Call) raises -> Obj:
    """Parameters (input, dim, dtype)."""
    return _forward(call, SOFTMAX)


def log_softmax(mut call: Call) raises -> Obj:
    """Parameters (input, dim, dtype)."""
    return _forward(call, LOG_SOFTMAX)


def softmax_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, output, dim)."""
    return _backward(call, SOFTMAX_BACKWARD)


def log_softmax_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, output, dim)."""
    return _backward(call, LOG_SOFTMAX_BACKWARD)


# ---------------------------------------------------------------- cross-entropy


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
        if self.rows * self.classes < 16384 or num_threads() == 1 or self.rows == 1:
            self.run(0, 0)
            return
        var tasks = min(self.rows, num_threads() * 8)
        self.per_task = ceildiv(self.rows, tasks)
        var held = release_gil()
        parallel(self, ceildiv(self.rows, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        for r in range(task * self.per_task, min((task + 1) * self.per_task, self.rows)):
            var t = load[Int](self.target + 8 * r)
            if self.losses != 0:
                var loss = Scalar[Self.C](0)
                if t != self.ignore:
                    var s = self._sum_exp(r)
                    loss = log(s[1]) - (_get[Self.dt, 1](self.x, r * self.classes + t) - s[0])
                at[Scalar[Self.C]](self.losses)[unsafe_offset=r] = loss
            else:
                self._gradient(r, t)

    @always_inline
    def _sum_exp(self, r: Int) -> SIMD[Self.C, 2]:
        """The row's maximum and the sum of exp(x - maximum)."""
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var start = r * self.classes
        var n = self.classes
        var top = V(_lowest[Self.C]())
        var i = 0
        while i + W <= n:
            top = _larger(top, _get[Self.dt, W](self.x, start + i))
            i += W
        var high = top[0]
        comptime for k in range(1, W):
            high = _larger[Self.C, 1](high, top[k])
        while i < n:
            high = _larger[Self.C, 1](high, _get[Self.dt, 1](self.x, start + i))
            i += 1
        var acc = V(0)
        i = 0
        while i + W <= n:
            acc += exp(_get[Self.dt, W](self.x, start + i) - V(high))
            i += W
        var total = acc.reduce_add()
        while i < n:
            total += exp(_get[Self.dt, 1](self.x, start + i) - high)
            i += 1
        return SIMD[Self.C, 2](high, total)

    @always_inline
    def _gradient(self, r: Int, t: Int):
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var start = r * self.classes
        var n = self.classes
        var i = 0
        if t == self.ignore:
            while i < n:
                _set[Self.dt, 1](self.out, start + i, 0)
                i += 1
            return
        var scale = at[Scalar[Self.C]](self.scale)[unsafe_offset=r * self.scale_step]
        var s = self._sum_exp(r)
        var factor = scale / s[1]
        while i + W <= n:
            _set[Self.dt, W](self.out, start + i, exp(_get[Self.dt, W](self.x, start + i) - V(s[0])) * V(factor))
            i += W
        while i < n:
            _set[Self.dt, 1](self.out, start + i, exp(_get[Self.dt, 1](self.x, start + i) - s[0]) * factor)
            i += 1
        var own = _get[Self.dt, 1](self.x, start + t)
        _set[Self.dt, 1](self.out, start + t, (exp(own - s[0]) / s[1] - 1) * scale)


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


comptime REDUCE_NONE = 0
comptime REDUCE_MEAN = 1
comptime REDUCE_SUM = 2


def _reduction(call: Call, i: Int) raises -> Int:
    var text = call.string(i)
    if text == "mean":
        return REDUCE_MEAN
    if text == "sum":
        return REDUCE_SUM
    if text == "none":
        return REDUCE_NONE
    raise Error(t"ValueError|{text} is not a valid value for reduction")


def cross_entropy(mut call: Call) raises -> Obj:
    """Parameters (input, target, ignore_index, reduction): logits (N, C), classes (N,)."""
    var x = call.tensor(0)
    var code = x[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    var ignore = call.int(2)
    var reduction = _reduction(call, 3)
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
    var reduction = _reduction(call, 4)
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


@export("dumbtorch_register_softmax")
def register_softmax() abi("C") -> None:
    register[softmax]("softmax")
    register[log_softmax]("log_softmax")
    register[softmax_backward]("softmax_backward")
    register[log_softmax_backward]("log_softmax_backward")
    register[cross_entropy]("cross_entropy")
    register[cross_entropy_backward]("cross_entropy_backward")
