"""Searching sorted boundaries: searchsorted and bucketize."""

from std.math import ceildiv
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT32, FLOAT64, INT32, INT64
from tensor.memory import at, load, store
from tensor.object import as_tensor
from tensor.py import Obj, decref, release_gil, take_gil, xdecref
from tensor.threads import Body, num_threads, parallel
from kernels.functor import ALL_INTS, FLOATS, UINTS
from kernels.pointwise import unsupported
from kernels.results import finished, result_for
from kernels.transfer_api import contiguous_of


@always_inline
def _after[dt: DType, //, right: Bool](x: Scalar[dt], value: Scalar[dt]) -> Bool:
    """Whether the value belongs after the boundary x."""
    comptime if right:
        return not (x > value)
    else:
        return not (x >= value)


struct Search[dt: DType](Body):
    """Where values belong among the boundaries of their row (one row for all of them: `row` is their number)."""

    var values: Int
    var bounds: Int
    var sorter: Int  # 0: none
    var out: Int
    var n: Int  # values
    var row: Int  # values of one row of boundaries
    var m: Int  # boundaries of a row
    var right: Bool
    var short: Bool  # results are int32
    var sorted: Bool  # the boundaries are in order and there is no NaN among them
    var per_task: Int

    def __init__(
        out self,
        values: Int,
        bounds: Int,
        sorter: Int,
        result: Int,
        n: Int,
        row: Int,
        m: Int,
    ):
        self.values = values
        self.bounds = bounds
        self.sorter = sorter
        self.out = result
        self.n = n
        self.row = row
        self.m = m
        self.right = False
        self.short = False
        self.sorted = False
        self.per_task = n

    def execute(mut self):
        self.sorted = self.sorter == 0 and self.m > 0 and self._in_order()
        if self.n < 2048:
            self.run(0, 0)
            return
        var held = release_gil()
        self.per_task = max(ceildiv(self.n, 4 * num_threads()), 1024)
        parallel(self, ceildiv(self.n, self.per_task))
        take_gil(held)

    def _in_order(self) -> Bool:
        comptime W = 16
        for row in range(self.n // self.row):
            var p = at[Scalar[Self.dt]](self.bounds).unsafe_offset(row * self.m)
            var i = 0
            while i + W < self.m:
                if not p.unsafe_load[width=W](i).le(p.unsafe_load[width=W](i + 1)).reduce_and():
                    return False
                i += W
            while i + 1 < self.m:
                if not p[unsafe_offset=i] <= p[unsafe_offset=i + 1]:
                    return False
                i += 1
            if not p[unsafe_offset=i] <= p[unsafe_offset=i]:
                return False
        return True

    def run(self, task: Int, worker: Int):
        var start = task * self.per_task
        var end = min(start + self.per_task, self.n)
        # several values at a time: their searches do not wait for each other
        comptime TOGETHER = 16
        var i = start
        while i < end:
            var base = (i // self.row) * self.m
            var stop = min(end, (i // self.row + 1) * self.row)
            while i + TOGETHER <= stop:
                self._find[TOGETHER](i, base)
                i += TOGETHER
            while i < stop:
                self._find[1](i, base)
                i += 1

    @always_inline
    def _find[w: Int](self, i: Int, base: Int):
        if self.sorted and self.right:
            self._find_sorted[w, True](i, base)
        elif self.sorted:
            self._find_sorted[w, False](i, base)
        else:
            self._find_any[w](i, base)

    @always_inline
    def _find_sorted[w: Int, right: Bool](self, i: Int, base: Int):
        """Halves of the same length for all values, with no branch."""
        var values = at[Scalar[Self.dt]](self.values).unsafe_load[width=w](i)
        var bounds = at[Scalar[Self.dt]](self.bounds).unsafe_offset(base)
        var low = Array[Int, w](fill=0)
        var length = self.m
        while length > 1:
            var half = length >> 1
            comptime for k in range(w):
                low[k] += half if _after[right](bounds[unsafe_offset=low[k] + half - 1], values[k]) else 0
            length -= half
        comptime for k in range(w):
            low[k] += Int(_after[right](bounds[unsafe_offset=low[k]], values[k]))
            self._put(i + k, low[k])

    @always_inline
    def _put(self, i: Int, place: Int):
        if self.short:
            store[Int32](self.out + 4 * i, Int32(place))
        else:
            store[Int](self.out + 8 * i, place)

    @always_inline
    def _find_any[w: Int](self, i: Int, base: Int):
        var values = at[Scalar[Self.dt]](self.values).unsafe_load[width=w](i)
        var low = Array[Int, w](fill=0)
        var high = Array[Int, w](fill=self.m)
        # the very steps of PyTorch's search: they show where boundaries are NaN, or not in order
        var longest = self.m
        while longest > 0:
            comptime for k in range(w):
                var middle = low[k] + ((high[k] - low[k]) >> 1)
                var open = low[k] < high[k]
                var x = self._bound(base, min(middle, self.m - 1))
                var after = _after[True](x, values[k]) if self.right else _after[False](x, values[k])
                low[k] = middle + 1 if open and after else low[k]
                high[k] = middle if open and not after else high[k]
            longest >>= 1
        comptime for k in range(w):
            self._put(i + k, low[k])

    @always_inline
    def _bound(self, base: Int, j: Int) -> Scalar[Self.dt]:
        var place = j
        if self.sorter != 0:
            place = load[Int](self.sorter + 8 * (base + j))
        return at[Scalar[Self.dt]](self.bounds)[unsafe_offset=base + place]


def searchsorted(mut call: Call) raises -> Obj:
    """Parameters (boundaries, input, sorter, right, out_int32): shapes and dtypes have been checked."""
    var b = call.tensor(0)
    var v = call.tensor(1)
    var code = b[].code()
    if (ALL_INTS & ~UINTS | FLOATS) >> code & 1 == 0:
        raise unsupported("searchsorted_out_cpu", code)
    if b[].device() != 0 or v[].device() != 0:
        raise call.fail(
            "RuntimeError",
            "is computed on the CPU; move the tensors with .cpu()",
        )
    # few types are compiled: the others convert to them without loss
    if code < INT32:
        code = INT32
    elif code >= FLOAT16 and code < FLOAT32:
        code = FLOAT32
    var result_code = INT32 if call.bool(4) else INT64
    var result = result_for(call, result_code, v[].shape, v[].rank(), 0)
    var bounds: Obj = 0
    var values: Obj = 0
    var sorter: Obj = 0
    try:
        bounds = contiguous_of(b, code)
        values = contiguous_of(v, code)
        if not call.is_none(2):
            sorter = contiguous_of(call.tensor(2), INT64)
        var m = b[].shape[b[].rank() - 1]
        if sorter != 0:
            var p = as_tensor(sorter)[].data()
            for i in range(as_tensor(sorter)[].numel):
                var place = load[Int](p + 8 * i)
                if place < 0 or place >= m:
                    raise Error("RuntimeError|torch.searchsorted(): sorter index out of range")
        if v[].numel > 0:
            var rows = max(b[].numel // max(m, 1), 1)
            var row = v[].numel // rows if m > 0 and b[].rank() > 1 else v[].numel
            comptime for c in range(13):
                comptime if c == INT32 or c == INT64 or c == FLOAT32 or c == FLOAT64:
                    if code == c:
                        comptime D = (
                            DType.int32 if c
                            == INT32 else DType.int64 if c
                            == INT64 else DType.float32 if c
                            == FLOAT32 else DType.float64
                        )
                        var work = Search[D](
                            as_tensor(values)[].data(),
                            as_tensor(bounds)[].data(),
                            as_tensor(sorter)[].data() if sorter != 0 else 0,
                            as_tensor(result)[].data(),
                            v[].numel,
                            row,
                            m,
                        )
                        work.right = call.bool(3)
                        work.short = result_code == INT32
                        work.execute()
    except e:
        xdecref(bounds)
        xdecref(values)
        xdecref(sorter)
        decref(result)
        raise e^
    decref(bounds)
    decref(values)
    xdecref(sorter)
    return finished(call, result)


@export("dumbtorch_register_search")
def register_search() abi("C") -> None:
    register[searchsorted]("searchsorted")
