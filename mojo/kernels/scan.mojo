"""Running sums, products and log-sum-exps along a dimension.

Half and single precision accumulate in float64, as PyTorch's do, and round once for each element written.
"""

from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import BOOL, COMPLEX64, COMPLEX128, FLOAT16, FLOAT64, INT64, category, dtype_of, itemsize
from tensor.layout import wrap_dim
from tensor.memory import at, function_at
from tensor.object import TPtr, as_tensor
from tensor.py import Obj, decref, new_ref
from tensor.storage import check_status
from tensor.threads import Body, num_threads
from kernels.complex_math import Z, log_add_exp
from kernels.device_api import device_entry
from kernels.math import exp, infinity, isnan, log, log1p
from kernels.results import finished, result_for, write_into
from kernels.pointwise import check_writable, unsupported
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime SUM = 0
comptime PRODUCT = 1
comptime LOG_SUM = 2  # the logarithm of the running sum of exponentials
comptime NEAR = 16.0  # how far from its base the logarithm of a sum may lie


@fieldwise_init
struct Scans(Copyable):
    """What an accelerator is handed: contiguous tensors (outer, n, inner)."""

    var a: Int
    var out: Int
    var outer: Int
    var n: Int
    var inner: Int


struct Scan[dt: DType, kind: Int, lanes: Int](Body):
    """A scan over (outer, n, inner); `lanes` is 2 for complex numbers."""

    comptime C = DType.float64 if Self.dt.is_floating_point() else Self.dt
    comptime W = simd_width_of[Self.C]()
    comptime COLUMNS = Self.W * 2
    var a: Int
    var out: Int
    var outer: Int
    var n: Int
    var inner: Int
    var groups: Int  # of columns that go down together, in one outer row
    var units: Int
    var per_task: Int

    def __init__(out self, a: Int, result: Int, outer: Int, n: Int, inner: Int):
        self.a = a
        self.out = result
        self.outer = outer
        self.n = n
        self.inner = inner
        self.groups = 1 if inner == 1 else ceildiv(inner, Self.COLUMNS)
        self.units = outer * self.groups
        self.per_task = max(self.units, 1)

    def execute(mut self):
        if self.units == 0 or self.n == 0 or self.inner == 0:
            return
        var threads = num_threads()
        var work = self.units * self.n * min(self.inner, Self.COLUMNS)
        if threads > 1 and work >= 16384:
            self.per_task = ceildiv(self.units, min(self.units, 4 * threads))
        run_tasks(self, ceildiv(self.units, self.per_task), work)

    def run(self, task: Int, worker: Int):
        for u in range(task * self.per_task, min((task + 1) * self.per_task, self.units)):
            var column = (u % self.groups) * Self.COLUMNS
            var start = (u // self.groups) * self.n * self.inner + column
            var left = self.inner - column
            comptime if Self.lanes == 1:
                comptime if Self.kind == SUM:
                    if self.inner == 1:
                        self._line(start)
                        continue
                elif Self.kind == LOG_SUM:
                    if self.inner == 1:
                        self._log_line(start)
                        continue
                if left >= Self.COLUMNS:
                    self._columns[Self.COLUMNS](start)
                    continue
                comptime if Self.kind == LOG_SUM:
                    # each step is dear enough for narrower vectors
                    comptime for k in range(1, 5):
                        comptime w = Self.COLUMNS >> k
                        comptime if w > 0:
                            if left >= w:
                                self._columns[w](start)
                                start += w
                                left -= w
                else:
                    for c in range(left):
                        self._columns[1](start + c)
            else:
                for c in range(min(left, Self.COLUMNS)):
                    self._pairs(start + c)

    @always_inline
    def _line(self, start: Int):
        """Running sums of one contiguous line, a vector at a time: sums within it, then those before it."""
        comptime W = Self.W
        var a = at[Scalar[Self.dt]](self.a).unsafe_offset(start)
        var o = at[Scalar[Self.dt]](self.out).unsafe_offset(start)
        var acc = Scalar[Self.C](0)
        var i = 0
        while i + W <= self.n:
            var x = a.unsafe_load[width=W](i).cast[Self.C]()
            comptime for k in range(6):
                comptime if 1 << k < W:
                    x += x.shift_right[1 << k]()
            x += SIMD[Self.C, W](acc)
            o.unsafe_store(i, x.cast[Self.dt]())
            acc = x[W - 1]
            i += W
        while i < self.n:
            acc += a[unsafe_offset=i].cast[Self.C]()
            o[unsafe_offset=i] = acc.cast[Self.dt]()
            i += 1

    @always_inline
    def _log_line(self, start: Int):
        """Running log-sum-exps of one contiguous line, a vector at a time: the sums of exp(x - base), where the base is
        moved when they leave exp(-NEAR) .. exp(NEAR). What would need it moved within a vector goes one by one."""
        comptime W = Self.W
        comptime V = SIMD[Self.C, W]
        comptime LEAST = Scalar[Self.C](1.1253517471925912e-07)  # exp(-NEAR)
        var a = at[Scalar[Self.dt]](self.a).unsafe_offset(start)
        var o = at[Scalar[Self.dt]](self.out).unsafe_offset(start)
        var base = -infinity[Self.C, 1]()
        var sum = Scalar[Self.C](0)  # of exp(x - base)
        var i = 0
        while i + W <= self.n:
            var x = a.unsafe_load[width=W](i).cast[Self.C]()
            var highest = x.reduce_max()
            var plain = x.lt(infinity[Self.C, W]()).reduce_and() and highest > -infinity[Self.C, 1]()
            if plain and (highest > base + NEAR or sum < LEAST):
                var total = base + log(sum)
                base = highest if not total > highest else total
                sum = exp(total - base)
            plain = plain and base < infinity[Self.C, 1]()
            if plain:
                var e = exp(x - V(base))
                comptime for k in range(6):
                    comptime if 1 << k < W:
                        e += e.shift_right[1 << k]()
                e += V(sum)
                plain = e[0] >= LEAST
                if plain:
                    o.unsafe_store(i, (V(base) + log(e)).cast[Self.dt]())
                    sum = e[W - 1]
            if not plain:
                base = self._log_few(i, i + W, start, base + log(sum))
                sum = 1
            i += W
        _ = self._log_few(i, self.n, start, base + log(sum))

    @always_inline
    def _log_few(self, first: Int, end: Int, start: Int, before: Scalar[Self.C]) -> Scalar[Self.C]:
        """Elements of a line one by one, after a running result; what it then is."""
        var acc = before
        for i in range(start + first, start + end):
            acc = _log_add[Self.C, 1](acc, at[Scalar[Self.dt]](self.a)[unsafe_offset=i].cast[Self.C]())
            at[Scalar[Self.dt]](self.out)[unsafe_offset=i] = acc.cast[Self.dt]()
        return acc

    @always_inline
    def _columns[w: Int](self, start: Int):
        var acc = SIMD[Self.C, w](1 if Self.kind == PRODUCT else 0)
        comptime if Self.kind == LOG_SUM:
            acc = -infinity[Self.C, w]()
        var i = start
        for _ in range(self.n):
            var x = at[Scalar[Self.dt]](self.a).unsafe_load[width=w](i).cast[Self.C]()
            comptime if Self.kind == SUM:
                acc += x
            elif Self.kind == PRODUCT:
                acc *= x
            else:
                acc = _log_add(acc, x)
            at[Scalar[Self.dt]](self.out).unsafe_store(i, acc.cast[Self.dt]())
            i += self.inner

    @always_inline
    def _pairs(self, start: Int):
        var re = Scalar[Self.C](1 if Self.kind == PRODUCT else 0)
        comptime if Self.kind == LOG_SUM:
            re = -infinity[Self.C, 1]()
        var im = Scalar[Self.C](0)
        var a = at[Scalar[Self.dt]](self.a)
        var o = at[Scalar[Self.dt]](self.out)
        var i = start
        for _ in range(self.n):
            var x = a[unsafe_offset=2 * i].cast[Self.C]()
            var y = a[unsafe_offset=2 * i + 1].cast[Self.C]()
            comptime if Self.kind == SUM:
                re += x
                im += y
            elif Self.kind == LOG_SUM:
                var z = log_add_exp(Z[Self.C, 1](re, im), Z[Self.C, 1](x, y))
                re = z.re
                im = z.im
            else:
                var t = re * x - im * y
                im = re * y + im * x
                re = t
            o[unsafe_offset=2 * i] = re.cast[Self.dt]()
            o[unsafe_offset=2 * i + 1] = im.cast[Self.dt]()
            i += self.inner


@always_inline
def _log_add[dt: DType, w: Int](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[dt, w]:
    """log(exp(a) + exp(b)); NaN if one is."""
    var larger = a.gt(b).select(a, b)
    var smaller = a.gt(b).select(b, a)
    # equal infinities have no difference
    var result = smaller.eq(larger).select(
        larger + SIMD[dt, w](0.6931471805599453), larger + log1p(exp(smaller - larger))
    )
    return isnan(a).select(a, isnan(b).select(b, result))


def _run_log(code: Int, s: Scans) -> Bool:
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            var work = Scan[dtype_of[c], LOG_SUM, 1](s.a, s.out, s.outer, s.n, s.inner)
            work.execute()
            return True
    if code == COMPLEX64:
        var work = Scan[DType.float32, LOG_SUM, 2](s.a, s.out, s.outer, s.n, s.inner)
        work.execute()
        return True
    if code == COMPLEX128:
        var work = Scan[DType.float64, LOG_SUM, 2](s.a, s.out, s.outer, s.n, s.inner)
        work.execute()
        return True
    return False


def _run[kind: Int](code: Int, a: Int, result: Int, outer: Int, n: Int, inner: Int) -> Bool:
    comptime for c in range(1, 13):
        if code == c:
            var work = Scan[dtype_of[c], kind, 1](a, result, outer, n, inner)
            work.execute()
            return True
    if code == COMPLEX64:
        var work = Scan[DType.float32, kind, 2](a, result, outer, n, inner)
        work.execute()
        return True
    if code == COMPLEX128:
        var work = Scan[DType.float64, kind, 2](a, result, outer, n, inner)
        work.execute()
        return True
    return False


def _compute[kind: Int](call: Call, device: Int, code: Int, s: Scans) raises:
    comptime if kind == LOG_SUM:
        if device != 0:
            raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
        if not _run_log(code, s):
            raise unsupported("logcumsumexp_out_cpu", code)
    else:
        if device == 0:
            if not _run[kind](code, s.a, s.out, s.outer, s.n, s.inner):
                raise unsupported(call.name(), code)
            return
        comptime LaunchFn = def(Int, Pointer[Scans, MutAnyOrigin], Int, Int) thin abi("C") -> Int
        var work = s.copy()
        var f = function_at[LaunchFn](device_entry(device, "scan"))
        check_status(f(device & 255, Pointer(to=work).as_unsafe_any_origin(), kind, code), device, call.name())


def _scan[kind: Int](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(1), t[].rank())
    var code = t[].code()
    comptime if kind != LOG_SUM:
        if not call.inplace():
            if call.has_out() and call.is_none(2):
                code = as_tensor(call.out)[].code()
            elif category(code) < 2:
                code = INT64
        code = call.dtype(2, code)
    if code == BOOL and call.inplace():
        raise unsupported(call.name(), code)
    var source = contiguous_of(t, code)
    var result: Obj = 0
    try:
        var a = as_tensor(source)
        if call.inplace():
            check_writable(t)
        var outer = 1
        var inner = 1
        for i in range(t[].rank()):
            if i < dim:
                outer *= t[].shape[i]
            elif i > dim:
                inner *= t[].shape[i]
        var n = t[].shape[dim] if t[].rank() > 0 else 1
        if call.inplace():
            if code != t[].code():
                raise call.fail("RuntimeError", "in place the dtype must be the tensor's own")
            # a contiguous tensor is its own source: each element is read before it is written
            var to = t[].writable() if source == Int(t) else a[].writable()
            _compute[kind](call, t[].device(), code, Scans(to, to, outer, n, inner))
            if source != Int(t):
                write_into(Int(t), source)
        else:
            result = result_for(call, code, t[].shape, t[].rank(), t[].device())
            _compute[kind](call, t[].device(), code, Scans(a[].data(), as_tensor(result)[].data(), outer, n, inner))
    except e:
        decref(source)
        if result != 0:
            decref(result)
        raise e^
    decref(source)
    if call.inplace():
        return new_ref(Int(t))
    return finished(call, result)


def cumsum(mut call: Call) raises -> Obj:
    """Parameters (input, dim, dtype): integers and bool give int64; also in place."""
    return _scan[SUM](call)


def cumprod(mut call: Call) raises -> Obj:
    """Parameters (input, dim, dtype): integers and bool give int64; also in place."""
    return _scan[PRODUCT](call)


def logcumsumexp(mut call: Call) raises -> Obj:
    """Parameters (input, dim): floats and complex numbers."""
    return _scan[LOG_SUM](call)


@export("dumbtorch_register_scan")
def register_scan() abi("C") -> None:
    register[cumsum]("cumsum")
    register[cumprod]("cumprod")
    register[logcumsumexp]("logcumsumexp")
