"""Bags of rows: the sum, mean or maximum of the rows that each bag's indices name, and the gradient of the rows."""

from std.ffi import external_call
from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT32, FLOAT64, dtype_of
from tensor.layout import no_dims
from tensor.memory import at, load, memset
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from tensor.threads import Body, num_threads
from kernels.functor import compute
from kernels.index_api import as_indices, check_bounds, is_index
from kernels.pointwise import unsupported
from kernels.rows import get, get_some, set, set_some
from kernels.transfer_api import contiguous_of
from kernels.unlocked import run_tasks

comptime SUM = 0
comptime MEAN = 1
comptime MAX = 2
comptime PIECE = 65536
"""Elements that are worth one task."""


struct Bags[dt: DType](Body):
    """The bags' results, bag by bag; or the rows' gradient, a slice of the columns a task."""

    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    comptime V = SIMD[Self.C, Self.W]
    var weight: Int
    var indices: Int
    var offsets: Int
    var factors: Int  # one of dt for each index, or 0
    var bags: Int
    var count: Int
    var width: Int
    var mode: Int
    var padding: Int
    var out: Int  # forward: dt (bags, width)
    var grad: Int  # backward: dt (bags, width)
    var rows: Int  # backward: C (number of rows, width)
    var per_task: Int

    def __init__(
        out self, weight: Int, indices: Int, offsets: Int, factors: Int, bags: Int, count: Int, width: Int, mode: Int,
        padding: Int,
    ):  # fmt: skip
        self.weight = weight
        self.indices = indices
        self.offsets = offsets
        self.factors = factors
        self.bags = bags
        self.count = count
        self.width = width
        self.mode = mode
        self.padding = padding
        self.out = 0
        self.grad = 0
        self.rows = 0
        self.per_task = 0

    def execute(mut self):
        var whole = self.bags if self.grad == 0 else self.width
        var tasks = min(self.count * self.width // PIECE, 4 * num_threads()) if num_threads() > 1 else 1
        self.per_task = ceildiv(whole, max(tasks, 1))
        if self.grad != 0:
            self.per_task = ceildiv(self.per_task, Self.W) * Self.W
        self.per_task = max(min(self.per_task, whole), 1)
        run_tasks(self, max(ceildiv(whole, self.per_task), 1), self.count * self.width)

    def run(self, task: Int, worker: Int):
        var first = task * self.per_task
        if self.grad == 0:
            for bag in range(first, min(first + self.per_task, self.bags)):
                self._gather(bag)
            return
        for bag in range(self.bags):
            self._scatter(bag, first, min(first + self.per_task, self.width))

    @always_inline
    def _start(self, bag: Int) -> Int:
        return load[Int](self.offsets + 8 * bag)

    @always_inline
    def _stop(self, bag: Int) -> Int:
        return self._start(bag + 1) if bag + 1 < self.bags else self.count

    @always_inline
    def _row(self, k: Int) -> Int:
        return load[Int](self.indices + 8 * k)

    def _size(self, bag: Int) -> Int:
        """The indices of a bag that count."""
        var n = 0
        for k in range(self._start(bag), self._stop(bag)):
            n += Int(self._row(k) != self.padding)
        return n

    @always_inline
    def _factor(self, k: Int) -> Scalar[Self.C]:
        return get[Self.dt, 1](self.factors, k) if self.factors != 0 else 1

    def _gather(self, bag: Int):
        comptime PARTS = 4
        var start = self._start(bag)
        var stop = self._stop(bag)
        var scale = Scalar[Self.C](1)
        if self.mode == MEAN:
            scale = 1 / Scalar[Self.C](max(self._size(bag), 1))
        var i = 0
        while i + PARTS * Self.W <= self.width:
            var acc = Array[Self.V, PARTS](fill=Self.V(0))
            var empty = True
            for k in range(start, stop):
                var row = self._row(k)
                if row == self.padding:
                    continue
                var factor = Self.V(self._factor(k))
                comptime for p in range(PARTS):
                    var x = get[Self.dt, Self.W](self.weight, row * self.width + i + p * Self.W)
                    if self.mode == MAX:
                        acc[p] = x if empty else self._larger(acc[p], x)
                    else:
                        acc[p] += x * factor
                empty = False
            comptime for p in range(PARTS):
                set[Self.dt, Self.W](self.out, bag * self.width + i + p * Self.W, acc[p] * Self.V(scale))
            i += PARTS * Self.W
        while i < self.width:
            var n = self.width - i
            var acc = Self.V(0)
            var empty = True
            for k in range(start, stop):
                var row = self._row(k)
                if row == self.padding:
                    continue
                var x = get_some[Self.dt, Self.W](self.weight, row * self.width + i, n)
                if self.mode == MAX:
                    acc = x if empty else self._larger(acc, x)
                else:
                    acc += x * Self.V(self._factor(k))
                empty = False
            set_some[Self.dt, Self.W](self.out, bag * self.width + i, n, acc * Self.V(scale))
            i += Self.W

    @always_inline
    def _larger(self, a: Self.V, b: Self.V) -> Self.V:
        """The maximum; the first of equal ones, and NaN never replaces."""
        return b.gt(a).select(b, a)

    def _scatter(self, bag: Int, first: Int, last: Int):
        if self.mode == MAX:
            self._scatter_largest(bag, first, last)
            return
        var scale = Scalar[Self.C](1)
        if self.mode == MEAN:
            scale = 1 / Scalar[Self.C](max(self._size(bag), 1))
        for k in range(self._start(bag), self._stop(bag)):
            var row = self._row(k)
            if row == self.padding:
                continue
            var factor = scale * self._factor(k)
            var into = at[Scalar[Self.C]](self.rows).unsafe_offset(row * self.width)
            var i = first
            while i + Self.W <= last:
                var g = get[Self.dt, Self.W](self.grad, bag * self.width + i)
                into.unsafe_store(i, into.unsafe_load[width=Self.W](i) + g * Self.V(factor))
                i += Self.W
            while i < last:
                into[unsafe_offset=i] += get[Self.dt, 1](self.grad, bag * self.width + i) * factor
                i += 1

    def _scatter_largest(self, bag: Int, first: Int, last: Int):
        comptime Places = SIMD[DType.int64, Self.W]
        var i = first
        while i < last:
            var n = min(Self.W, last - i)
            var top = Self.V(0)
            var best = Places(-1)
            for k in range(self._start(bag), self._stop(bag)):
                var row = self._row(k)
                if row != self.padding:
                    var x = get_some[Self.dt, Self.W](self.weight, row * self.width + i, n)
                    var wins = best.lt(Places(0)) | x.gt(top)
                    top = wins.select(x, top)
                    best = wins.select(Places(row), best)
            for lane in range(n):
                if best[lane] >= 0:
                    var sum = at[Scalar[Self.C]](self.rows).unsafe_offset(Int(best[lane]) * self.width + i + lane)
                    sum[] += get[Self.dt, 1](self.grad, bag * self.width + i + lane)
            i += Self.W


struct _Arguments:
    """Checked operands as contiguous memory: references that `drop` gives back."""

    var weight: Obj
    var indices: Obj
    var offsets: Obj
    var factors: Obj
    var bags: Int

    def __init__(out self, call: Call, first: Int, weight: TPtr) raises:
        """From parameters (indices, offsets, per_sample_weights) on: int64 or int32, and None or of the weight's dtype.
        """
        var code = weight[].code()
        if code < FLOAT16 or code > FLOAT64 or weight[].device() != 0:
            raise unsupported(call.name(), code)
        if weight[].rank() != 2:
            raise call.fail("RuntimeError", "'weight' must be 2-D")
        var index = call.tensor(first)
        var offset = call.tensor(first + 1)
        if not is_index(index) or not is_index(offset):
            raise call.fail("RuntimeError", "expected indices and offsets of dtype int64 or int32")
        if index[].rank() != 1 or offset[].rank() != 1:
            raise call.fail("ValueError", "expected indices and offsets of one dimension")
        if not call.is_none(first + 2) and call.tensor(first + 2)[].numel != index[].numel:
            raise call.fail("ValueError", "expected one weight a sample")
        self.bags = offset[].numel
        self.weight = 0
        self.factors = 0
        self.offsets = 0
        self.indices = as_indices(index)
        try:
            check_bounds(self.indices, 0, weight[].shape[0])
            self.offsets = as_indices(offset)
            var previous = 0
            for b in range(self.bags):
                var v = load[Int](as_tensor(self.offsets)[].data() + 8 * b)
                if b == 0 and v != 0:
                    raise call.fail("RuntimeError", String(t"offsets[0] has to be 0, but it is {v}"))
                if v < previous or v > index[].numel:
                    raise call.fail(
                        "RuntimeError",
                        String(t"offsets must rise from 0 to the number of indices: offsets[{b}] is {v}"),
                    )
                previous = v
            if not call.is_none(first + 2):
                self.factors = contiguous_of(call.tensor(first + 2), code)
            self.weight = contiguous_of(weight, code)
        except e:
            self.drop()
            raise e^

    def drop(self):
        for o in [self.weight, self.indices, self.offsets, self.factors]:
            if o != 0:
                decref(o)

    def work[dt: DType](self, width: Int, mode: Int, padding: Int) -> Bags[dt]:
        return Bags[dt](
            as_tensor(self.weight)[].data(), as_tensor(self.indices)[].data(), as_tensor(self.offsets)[].data(),
            as_tensor(self.factors)[].data() if self.factors != 0 else 0, self.bags, as_tensor(self.indices)[].numel,
            width, mode, padding,
        )  # fmt: skip


def bags_of_rows(mut call: Call) raises -> Obj:
    """Parameters (weight, indices, offsets, per_sample_weights, mode, padding_idx): (bags, width)."""
    var weight = call.tensor(0)
    var given = _Arguments(call, 1, weight)
    var mode = call.int(4)
    var padding = call.int(5)
    var shape = no_dims()
    shape[0] = given.bags
    shape[1] = weight[].shape[1]
    var result = new_tensor(weight[].code(), shape, 2)
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if weight[].code() == c and given.bags > 0:
            var work = given.work[dtype_of[c]](shape[1], mode, padding)
            work.out = as_tensor(result)[].data()
            work.execute()
    given.drop()
    return result


def bags_of_rows_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, weight, indices, offsets, per_sample_weights, mode, padding_idx): the weight's gradient.

    Rows are added up in order, in float32 for half types, whatever the number of threads."""
    var g = call.tensor(0)
    var weight = call.tensor(1)
    var given = _Arguments(call, 2, weight)
    var mode = call.int(5)
    var padding = call.int(6)
    var code = weight[].code()
    if g[].rank() != 2 or g[].shape[0] != given.bags or g[].shape[1] != weight[].shape[1]:
        given.drop()
        raise call.fail("RuntimeError", "grad_output does not have the shape of the bags")
    var grad = contiguous_of(g, code)
    var sums = new_tensor(FLOAT64 if code == FLOAT64 else FLOAT32, weight[].shape, 2)
    var size = 8 if code == FLOAT64 else 4
    memset(as_tensor(sums)[].data(), 0, weight[].numel * size)
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c and weight[].numel > 0:
            var work = given.work[dtype_of[c]](weight[].shape[1], mode, padding)
            work.grad = as_tensor(grad)[].data()
            work.rows = as_tensor(sums)[].data()
            work.execute()
    given.drop()
    decref(grad)
    if as_tensor(sums)[].code() == code:
        return sums
    var narrow = contiguous_of(as_tensor(sums), code)
    decref(sums)
    return narrow


@export("dumbtorch_register_bags")
def register_bags() abi("C") -> None:
    register[bags_of_rows]("bags_of_rows")
    register[bags_of_rows_backward]("bags_of_rows_backward")
