"""Running extremes along a dimension, with their positions: cummax and cummin."""

from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import INT64, dtype_of
from tensor.layout import wrap_dim
from tensor.memory import at
from tensor.object import as_tensor, new_tensor
from tensor.py import (
    Obj,
    decref,
    release_gil,
    take_gil,
    tuple_new,
    tuple_set,
    xdecref,
)
from tensor.threads import Body, num_threads, parallel
from kernels.functor import ALL, compute, load_at, store_at
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of


struct Running[dt: DType, largest: Bool](Body):
    """Over (outer, n, inner): the last of equal elements counts, and a NaN stays."""

    comptime E = DType.uint8 if Self.dt == DType.bool else Self.dt
    comptime C = compute[Self.E]
    comptime COLUMNS = simd_width_of[DType.int64]()
    var a: Int
    var values: Int
    var indices: Int
    var n: Int
    var inner: Int
    var groups: Int  # of columns that go down together
    var units: Int
    var per_task: Int

    def __init__(
        out self,
        a: Int,
        values: Int,
        indices: Int,
        outer: Int,
        n: Int,
        inner: Int,
    ):
        self.a = a
        self.values = values
        self.indices = indices
        self.n = n
        self.inner = inner
        self.groups = ceildiv(inner, Self.COLUMNS)
        self.units = outer * self.groups
        self.per_task = max(self.units, 1)

    def execute(mut self):
        if self.units * self.n < 8192:
            self.run(0, 0)
            return
        var held = release_gil()
        self.per_task = ceildiv(self.units, min(self.units, 4 * num_threads()))
        parallel(self, ceildiv(self.units, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        for u in range(task * self.per_task, min((task + 1) * self.per_task, self.units)):
            var column = (u % self.groups) * Self.COLUMNS
            var start = (u // self.groups) * self.n * self.inner + column
            if self.inner == 1:
                self._line(start)
            elif self.inner - column >= Self.COLUMNS:
                self._columns[Self.COLUMNS](start)
            else:
                for c in range(self.inner - column):
                    self._columns[1](start + c)

    @always_inline
    def _better[w: SIMDLength](self, x: SIMD[Self.C, w], best: SIMD[Self.C, w]) -> SIMD[DType.bool, w]:
        """Where x takes the place of the best so far."""
        var better = x.ge(best) if Self.largest else x.le(best)
        comptime if Self.C.is_floating_point():
            better |= ~x.eq(x)
        return better

    @always_inline
    def _line(self, start: Int):
        """One contiguous line: vectors in which nothing changes, which most are, are written as a whole."""
        comptime W = 16
        var best = load_at[Self.E, 1](self.a, start).cast[Self.C]()
        var place = Int64(0)
        var i = 0
        while i < self.n:
            var stop = min(i + W, self.n)
            if stop - i == W:
                var x = load_at[Self.E, W](self.a, start + i).cast[Self.C]()
                if not self._better(x, SIMD[Self.C, W](best)).reduce_or():
                    store_at[Self.E, W](self.values, start + i, SIMD[Self.E, W](best.cast[Self.E]()))
                    at[Int64](self.indices).unsafe_store(start + i, SIMD[DType.int64, W](place))
                    i = stop
                    continue
            while i < stop:
                var x = load_at[Self.E, 1](self.a, start + i).cast[Self.C]()
                var better = Bool(self._better(x, best))
                best = x if better else best
                place = Int64(i) if better else place
                store_at[Self.E, 1](self.values, start + i, best.cast[Self.E]())
                at[Int64](self.indices)[unsafe_offset=start + i] = place
                i += 1

    @always_inline
    def _columns[w: Int](self, start: Int):
        var best = load_at[Self.E, w](self.a, start).cast[Self.C]()
        var place = SIMD[DType.int64, w](0)
        var i = start
        for k in range(self.n):
            var x = load_at[Self.E, w](self.a, i).cast[Self.C]()
            var better = self._better(x, best)
            best = better.select(x, best)
            place = better.select(SIMD[DType.int64, w](Int64(k)), place)
            store_at[Self.E, w](self.values, i, best.cast[Self.E]())
            at[Int64](self.indices).unsafe_store(i, place)
            i += self.inner


def _running[largest: Bool](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(1), t[].rank())
    var code = t[].code()
    if ALL >> code & 1 == 0:
        raise unsupported(call.name() + "_cpu", code)
    if t[].device() != 0:
        raise call.fail(
            "RuntimeError",
            "is computed on the CPU; move the tensor with .cpu()",
        )
    var outer = 1
    var inner = 1
    for i in range(t[].rank()):
        if i < dim:
            outer *= t[].shape[i]
        elif i > dim:
            inner *= t[].shape[i]
    var n = t[].shape[dim] if t[].rank() > 0 else 1
    var source = contiguous_of(t, code)
    var values: Obj = 0
    var indices: Obj = 0
    try:
        values = new_tensor(code, t[].shape, t[].rank())
        indices = new_tensor(INT64, t[].shape, t[].rank())
    except e:
        decref(source)
        xdecref(values)
        raise e^
    if t[].numel > 0:
        comptime for c in range(13):
            comptime if ALL >> c & 1 != 0:
                if code == c:
                    var work = Running[dtype_of[c], largest](
                        as_tensor(source)[].data(),
                        as_tensor(values)[].data(),
                        as_tensor(indices)[].data(),
                        outer,
                        n,
                        inner,
                    )
                    work.execute()
    decref(source)
    var pair = tuple_new(2)
    tuple_set(pair, 0, values)
    tuple_set(pair, 1, indices)
    return pair


def cummax(mut call: Call) raises -> Obj:
    """Parameters (input, dim)."""
    return _running[True](call)


def cummin(mut call: Call) raises -> Obj:
    """Parameters (input, dim)."""
    return _running[False](call)


@export("dumbtorch_register_running")
def register_running() abi("C") -> None:
    register[cummax]("cummax")
    register[cummin]("cummin")
