"""Softmax, log-softmax and their derivatives along any dimension.

The input is seen as (outer, n, inner) with the reduced dimension in the middle. For inner == 1 a row is handled along
its length; otherwise vectors of neighbouring columns go down the rows together. Half types compute in float32.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of
from tensor.errors import python_error
from tensor.layout import same_dims, shape_text, wrap_dim
from tensor.memory import function_at
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, new_ref
from tensor.storage import check_status, device_table
from tensor.threads import Body, num_threads
from kernels.device_api import different_devices
from kernels.functor import compute
from kernels.math import exp, log
from kernels.pointwise import unsupported
from kernels.rows import get, get_some, lowest, row_high, row_sum_exp, row_width, set, set_some
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime SOFTMAX = 0
comptime LOG_SOFTMAX = 1
comptime SOFTMAX_BACKWARD = 2
comptime LOG_SOFTMAX_BACKWARD = 3

comptime GROUP = 16  # vectors of neighbouring columns that are one unit of work


struct Rows[dt: DType](Body):
    """Softmax work over (outer, n, inner), cut into tasks of rows or of column vectors."""

    comptime C = compute[Self.dt]
    comptime W = row_width[Self.dt]
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
        self.units = outer if inner == 1 else outer * ceildiv(inner, GROUP * Self.W)
        self.per_task = 1

    def execute(mut self):
        var work = self.outer * self.n * self.inner
        if work == 0:
            return
        var tasks = 1 if work < 16384 or num_threads() == 1 else min(self.units, num_threads() * 8)
        self.per_task = ceildiv(self.units, tasks)
        run_tasks(self, ceildiv(self.units, self.per_task), work)

    def run(self, task: Int, worker: Int):
        var start = task * self.per_task
        var end = min(start + self.per_task, self.units)
        if self.kind == SOFTMAX:
            self._units[SOFTMAX](start, end)
        elif self.kind == LOG_SOFTMAX:
            self._units[LOG_SOFTMAX](start, end)
        elif self.kind == SOFTMAX_BACKWARD:
            self._units[SOFTMAX_BACKWARD](start, end)
        else:
            self._units[LOG_SOFTMAX_BACKWARD](start, end)

    @no_inline
    def _units[kind: Int](self, start: Int, end: Int):
        comptime W = Self.W
        for u in range(start, end):
            if self.inner == 1:
                comptime if kind < SOFTMAX_BACKWARD:
                    self._row[kind](u * self.n)
                else:
                    self._row_backward[kind](u * self.n)
                continue
            var groups = ceildiv(self.inner, GROUP * W)
            var column = u % groups * GROUP * W
            var stop = min(column + GROUP * W, self.inner)
            var first = u // groups * self.n * self.inner
            while column + 4 * W <= stop:
                self._columns[kind, 4](first + column, 4 * W)
                column += 4 * W
            while column < stop:
                self._columns[kind, 1](first + column, stop - column)
                column += W

    @always_inline
    def _row[kind: Int](self, start: Int):
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var n = self.n
        # a NaN is no maximum, but it makes the sum NaN; so does a row of -inf alone, as in PyTorch
        var high = row_high[Self.dt](self.a, start, n)
        var i = 0
        comptime if kind == LOG_SOFTMAX:
            var shift = V(log(row_sum_exp[Self.dt](self.a, start, n, high)))
            while i + W <= n:
                set[Self.dt, W](self.out, start + i, get[Self.dt, W](self.a, start + i) - V(high) - shift)
                i += W
            if i < n:
                var x = get_some[Self.dt, W](self.a, start + i, n - i)
                set_some[Self.dt, W](self.out, start + i, n - i, x - V(high) - shift)
            return
        # the exponentials are kept in the result, where its type does not round them
        comptime keep = size_of[Scalar[Self.dt]]() >= 4
        var scale: V
        comptime if keep:
            scale = V(1 / row_sum_exp[Self.dt, True](self.a, start, n, high, self.out))
        else:
            scale = V(1 / row_sum_exp[Self.dt](self.a, start, n, high))
        while i + W <= n:
            comptime if keep:
                set[Self.dt, W](self.out, start + i, get[Self.dt, W](self.out, start + i) * scale)
            else:
                set[Self.dt, W](self.out, start + i, exp(get[Self.dt, W](self.a, start + i) - V(high)) * scale)
            i += W
        if i < n:
            comptime if keep:
                var e = get_some[Self.dt, W](self.out, start + i, n - i)
                set_some[Self.dt, W](self.out, start + i, n - i, e * scale)
            else:
                var x = get_some[Self.dt, W](self.a, start + i, n - i)
                set_some[Self.dt, W](self.out, start + i, n - i, exp(x - V(high)) * scale)

    @always_inline
    def _row_backward[kind: Int](self, start: Int):
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var n = self.n
        # the sum of g * out (softmax) or of g (log-softmax)
        var acc = Array[V, 4](fill=V(0))
        var i = 0
        while i + 4 * W <= n:
            comptime for k in range(4):
                acc[k] += self._product[kind, W](start + i + k * W)
            i += 4 * W
        while i + W <= n:
            acc[0] += self._product[kind, W](start + i)
            i += W
        var total = ((acc[0] + acc[1]) + (acc[2] + acc[3])).reduce_add()
        while i < n:
            total += self._product[kind, 1](start + i)
            i += 1
        i = 0
        while i + W <= n:
            var y = get[Self.dt, W](self.b, start + i)
            set[Self.dt, W](self.out, start + i, _derivative[kind](get[Self.dt, W](self.a, start + i), y, V(total)))
            i += W
        if i < n:
            var g = get_some[Self.dt, W](self.a, start + i, n - i)
            var y = get_some[Self.dt, W](self.b, start + i, n - i)
            set_some[Self.dt, W](self.out, start + i, n - i, _derivative[kind](g, y, V(total)))

    @always_inline
    def _product[kind: Int, w: Int](self, i: Int) -> SIMD[Self.C, w]:
        var g = get[Self.dt, w](self.a, i)
        comptime if kind == SOFTMAX_BACKWARD:
            return g * get[Self.dt, w](self.b, i)
        else:
            return g

    @always_inline
    def _columns[kind: Int, B: Int](self, start: Int, columns: Int):
        """B vectors of columns; of a single one the first `columns` lanes."""
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        var step = self.inner
        var total = Array[V, B](fill=V(0))
        comptime if kind >= SOFTMAX_BACKWARD:
            for r in range(self.n):
                comptime for k in range(B):
                    var i = start + r * step + k * W
                    var g = _read[Self.dt, B](self.a, i, columns)
                    comptime if kind == SOFTMAX_BACKWARD:
                        total[k] += g * _read[Self.dt, B](self.b, i, columns)
                    else:
                        total[k] += g
            for r in range(self.n):
                comptime for k in range(B):
                    var i = start + r * step + k * W
                    var g = _read[Self.dt, B](self.a, i, columns)
                    var y = _read[Self.dt, B](self.b, i, columns)
                    _write[Self.dt, B](self.out, i, columns, _derivative[kind](g, y, total[k]))
            return
        var high = Array[V, B](fill=V(lowest[Self.C]()))
        for r in range(self.n):
            comptime for k in range(B):
                var x = _read[Self.dt, B](self.a, start + r * step + k * W, columns)
                high[k] = x.gt(high[k]).select(x, high[k])
        for r in range(self.n):
            comptime for k in range(B):
                var i = start + r * step + k * W
                var e = exp(_read[Self.dt, B](self.a, i, columns) - high[k])
                total[k] += e
                comptime if kind == SOFTMAX and size_of[Scalar[Self.dt]]() >= 4:
                    _write[Self.dt, B](self.out, i, columns, e)
        comptime for k in range(B):
            comptime if kind == SOFTMAX:
                total[k] = 1 / total[k]
            else:
                total[k] = log(total[k])
        for r in range(self.n):
            comptime for k in range(B):
                var i = start + r * step + k * W
                comptime if kind == LOG_SOFTMAX:
                    var x = _read[Self.dt, B](self.a, i, columns)
                    _write[Self.dt, B](self.out, i, columns, x - high[k] - total[k])
                elif size_of[Scalar[Self.dt]]() >= 4:
                    _write[Self.dt, B](self.out, i, columns, _read[Self.dt, B](self.out, i, columns) * total[k])
                else:
                    var e = exp(_read[Self.dt, B](self.a, i, columns) - high[k])
                    _write[Self.dt, B](self.out, i, columns, e * total[k])


@always_inline
def _derivative[dt: DType, w: Int, //, kind: Int](g: SIMD[dt, w], y: SIMD[dt, w], total: SIMD[dt, w]) -> SIMD[dt, w]:
    comptime if kind == SOFTMAX_BACKWARD:
        return y * (g - total)
    else:
        return g - exp(y) * total


@always_inline
def _read[dt: DType, B: Int](address: Int, i: Int, columns: Int) -> SIMD[compute[dt], row_width[dt]]:
    """A vector, whole where there are several, else its first lanes."""
    comptime if B > 1:
        return get[dt, row_width[dt]](address, i)
    else:
        return get_some[dt, row_width[dt]](address, i, columns)


@always_inline
def _write[dt: DType, B: Int](address: Int, i: Int, columns: Int, value: SIMD[compute[dt], row_width[dt]]):
    comptime if B > 1:
        set[dt, row_width[dt]](address, i, value)
    else:
        set_some[dt, row_width[dt]](address, i, columns, value)


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


@export("dumbtorch_register_softmax")
def register_softmax() abi("C") -> None:
    register[softmax]("softmax")
    register[log_softmax]("log_softmax")
    register[softmax_backward]("softmax_backward")
    register[log_softmax_backward]("log_softmax_backward")
