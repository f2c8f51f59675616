"""Counting: bincount, and histograms of any number of dimensions."""

from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import FLOAT32, FLOAT64, INT64, UINT64, BOOL
from tensor.layout import no_dims
from tensor.memory import at, memcpy, memset
from tensor.object import as_tensor, is_tensor, new_tensor
from tensor.py import (
    Obj,
    decref,
    is_sequence,
    release_gil,
    seq_item,
    seq_len,
    take_gil,
    xdecref,
)
from tensor.runtime import MAX_RANK
from tensor.threads import Body, num_threads, parallel
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of
from kernels.unlocked import LONG
from kernels.workspace import Workspace

comptime RUN = 4096  # numbers that are checked, then counted while they are in the cache
comptime _CHUNK = 1 << 16  # elements of one partial histogram
comptime MAX_CHUNKS = 8

comptime LINEAR = 0  # evenly spaced edges: the bin is computed
comptime NEAR = 1  # and checked against the edges beside it
comptime SEARCH = 2  # any edges


struct Counts:
    """The tensor of counts, which grows with the numbers that are seen."""

    var made: Obj
    var code: Int
    var size: Int  # of the result so far
    var room: Int

    def __init__(out self, code: Int, least: Int) raises:
        self.code = code
        self.size = least
        self.room = max(least, 1)
        self.made = _zeros(code, self.room)

    def fit(mut self, numbers: Int, n: Int) raises -> Bool:
        """Checks that none of n > 0 numbers is negative; whether there is room for them, or `grow` must follow."""
        comptime W = simd_width_of[DType.int64]()
        var p = at[Int64](numbers)
        var low = SIMD[DType.int64, W](0)
        var high = low
        var i = 0
        while i + W <= n:
            var x = p.unsafe_load[width=W](i)
            low = min(low, x)
            high = max(high, x)
            i += W
        var lowest = low.reduce_min()
        var highest = high.reduce_max()
        while i < n:
            lowest = min(lowest, p[unsafe_offset=i])
            highest = max(highest, p[unsafe_offset=i])
            i += 1
        if lowest < 0:
            raise Error("RuntimeError|bincount only supports 1-d non-negative integral inputs.")
        self.size = max(self.size, Int(highest) + 1)
        return self.size <= self.room

    def grow(mut self) raises:
        """Makes room."""
        self._resize(max(self.size, 2 * self.room))

    def trim(mut self) raises:
        """Gives back the room that is not needed."""
        if self.size != self.room:
            self._resize(self.size)

    def _resize(mut self, room: Int) raises:
        var made = _zeros(self.code, room)
        memcpy(as_tensor(made)[].data(), as_tensor(self.made)[].data(), 8 * min(room, self.room))
        decref(self.made)
        self.made = made
        self.room = room


def _zeros(code: Int, n: Int) raises -> Obj:
    """A vector of 8-byte zeros."""
    var shape = no_dims()
    shape[0] = n
    var made = new_tensor(code, shape, 1)
    memset(as_tensor(made)[].data(), 0, 8 * n)
    return made


def add_ones(counts: Int, numbers: Int, n: Int):
    var to = at[Int](counts)
    var p = at[Int](numbers)
    for i in range(n):
        to[unsafe_offset=p[unsafe_offset=i]] += 1


def add_weights(sums: Int, numbers: Int, weights: Int, n: Int):
    var to = at[Float64](sums)
    var p = at[Int](numbers)
    var w = at[Float64](weights)
    for i in range(n):
        to[unsafe_offset=p[unsafe_offset=i]] += w[unsafe_offset=i]


def _count_all(mut counts: Counts, numbers: Int, weights: Int, n: Int) raises:
    """Counts n numbers, or adds their weights where there are any; without the interpreter's lock if they are many."""
    var held = release_gil() if n >= LONG else 0
    try:
        for start in range(0, n, RUN):
            var p = numbers + 8 * start
            var count = min(RUN, n - start)
            if not counts.fit(p, count):
                if held != 0:
                    take_gil(held)
                    held = 0
                counts.grow()
                if n >= LONG:
                    held = release_gil()
            var to = as_tensor(counts.made)[].data()
            if weights != 0:
                add_weights(to, p, weights + 8 * start, count)
            else:
                add_ones(to, p, count)
    finally:
        if held != 0:
            take_gil(held)


def bincount(mut call: Call) raises -> Obj:
    """Parameters (input, weights, minlength): how often each of 0, 1, ... comes; float64 sums of weights (float32 for those).
    """
    var t = call.tensor(0)
    if t[].device() != 0 or (not call.is_none(1) and call.tensor(1)[].device() != 0):
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensors with .cpu()")
    if t[].code() == BOOL or t[].code() > 5:
        raise unsupported("bincount_cpu", t[].code())
    var least = call.int(2)
    if least < 0:
        raise Error("RuntimeError|minlength should be >= 0")
    if t[].rank() != 1:
        raise Error("RuntimeError|bincount only supports 1-d non-negative integral inputs.")
    var n = t[].numel
    var weighted = not call.is_none(1)
    var weight_code = FLOAT64
    if weighted:
        var w = call.tensor(1)
        if w[].rank() != 1 or w[].numel != n:
            raise Error("RuntimeError|weights should be 1-d and have the same length as input")
        if w[].code() == FLOAT32:
            weight_code = FLOAT32
    var input = contiguous_of(t, INT64)
    var weights: Obj = 0
    var result: Obj = 0
    try:
        if weighted:
            weights = contiguous_of(call.tensor(1), FLOAT64)
        var p = as_tensor(input)[].data()
        var w = as_tensor(weights)[].data() if weighted else 0
        # of nothing at all PyTorch counts in int64, whatever the weights
        var counts = Counts(FLOAT64 if weighted and n > 0 else INT64, least)
        try:
            _count_all(counts, p, w, n)
            counts.trim()
        finally:
            result = counts.made
        if weighted and n > 0 and weight_code == FLOAT32:
            var narrow = contiguous_of(as_tensor(result), FLOAT32)
            decref(result)
            result = narrow
    except e:
        decref(input)
        xdecref(weights)
        xdecref(result)
        raise e^
    decref(input)
    xdecref(weights)
    return result


struct Histogram[dt: DType](Body):
    """Counts points of `dims` coordinates in bins; each chunk of points in sums of its own, which are added in order.
    """

    var points: Int
    var weights: Int  # 0: each counts 1
    var n: Int
    var dims: Int
    var lookup: Int
    var edges: Array[Int, MAX_RANK]  # addresses
    var bins: Array[Int, MAX_RANK]
    var total: Int  # bins of all dimensions
    var sums: Int
    var chunks: Int

    def __init__(out self, points: Int, weights: Int, n: Int, dims: Int, lookup: Int):
        self.points = points
        self.weights = weights
        self.n = n
        self.dims = dims
        self.lookup = lookup
        self.edges = Array[Int, MAX_RANK](fill=0)
        self.bins = Array[Int, MAX_RANK](fill=0)
        self.total = 1
        self.sums = 0
        self.chunks = 1

    def execute(mut self, result: Int):
        # chunks depend on the number of points alone, so that sums do not depend on threads
        self.chunks = max(min(ceildiv(self.n, _CHUNK), MAX_CHUNKS), 1)
        if self.total > self.n:
            self.chunks = 1
        var space = Workspace.take(8 * self.total * self.chunks)
        self.sums = space.address
        memset(self.sums, 0, 8 * self.total * self.chunks)
        var held = release_gil()
        parallel(self, self.chunks)
        for c in range(1, self.chunks):
            for b in range(self.total):
                at[Float64](self.sums)[unsafe_offset=b] += at[Float64](self.sums)[unsafe_offset=c * self.total + b]
        for b in range(self.total):
            at[Scalar[Self.dt]](result)[unsafe_offset=b] = at[Float64](self.sums)[unsafe_offset=b].cast[Self.dt]()
        take_gil(held)
        space.give()

    def run(self, task: Int, worker: Int):
        var each = ceildiv(self.n, self.chunks)
        var sums = at[Float64](self.sums + 8 * self.total * task)
        for i in range(task * each, min((task + 1) * each, self.n)):
            var place = 0
            for d in range(self.dims):
                var bin = self._bin(
                    d,
                    at[Scalar[Self.dt]](self.points)[unsafe_offset=i * self.dims + d],
                )
                if bin < 0:
                    place = -1
                    break
                place = place * self.bins[d] + bin
            if place >= 0:
                var weight = Float64(1)
                if self.weights != 0:
                    weight = at[Scalar[Self.dt]](self.weights)[unsafe_offset=i].cast[DType.float64]()
                sums[unsafe_offset=place] += weight

    @always_inline
    def _bin(self, d: Int, x: Scalar[Self.dt]) -> Int:
        """The bin of a coordinate, -1 outside of all (and for NaN). The last edge belongs to the last bin."""
        var edges = at[Scalar[Self.dt]](self.edges[d])
        var bins = self.bins[d]
        var left = edges[]
        var right = edges[unsafe_offset=bins]
        if not (x >= left and x <= right):
            return -1
        var low = 0
        var high = bins + 1
        if self.lookup != SEARCH:
            var place = Int(((x - left) * Scalar[Self.dt](bins) / (right - left)).cast[DType.int64]())
            if self.lookup == LINEAR:
                return min(place, bins - 1)
            low = max(place - 1, 0)
            high = min(place + 2, bins + 1)
        while low < high:
            var middle = (low + high) >> 1
            if edges[unsafe_offset=middle] > x:
                high = middle
            else:
                low = middle + 1
        return max(min(low - 1, bins - 1), 0)


def histogram(mut call: Call) raises -> Obj:
    """Parameters (input, edges, weight, lookup): points in the rows of `input`, a tuple of one vector of edges for each
    coordinate, weights or None; all of one dtype, float32 or float64. The result has a dimension for each coordinate.
    """
    var t = call.tensor(0)
    var code = t[].code()
    var list = call.obj(1)
    if (code != FLOAT32 and code != FLOAT64) or t[].device() != 0:
        raise unsupported("histogram_cpu", code)
    if t[].rank() != 2 or not is_sequence(list) or seq_len(list) != t[].shape[1] or seq_len(list) > MAX_RANK:
        raise call.fail(
            "RuntimeError",
            "expects a matrix of points, and the edges of each coordinate",
        )
    var dims = seq_len(list)
    var shape = no_dims()
    var total = 1
    for d in range(dims):
        if not is_tensor(seq_item(list, d)):
            raise call.type_error(1, "tuple of Tensors")
        var e = as_tensor(seq_item(list, d))
        if e[].code() != code or not e[].contiguous() or e[].rank() != 1 or e[].numel < 2:
            raise call.fail(
                "RuntimeError",
                "edges must be contiguous vectors of the input's dtype",
            )
        shape[d] = e[].numel - 1
        total *= shape[d]
    var points = contiguous_of(t, code)
    var weights: Obj = 0
    var result: Obj = 0
    try:
        if not call.is_none(2):
            weights = contiguous_of(call.tensor(2), code)
            if as_tensor(weights)[].numel != t[].shape[0]:
                raise call.fail("RuntimeError", "as many weights as points are expected")
        result = new_tensor(code, shape, dims)
        if code == FLOAT32:
            _count[DType.float32](call, points, weights, result, dims, total)
        else:
            _count[DType.float64](call, points, weights, result, dims, total)
    except e:
        decref(points)
        xdecref(weights)
        xdecref(result)
        raise e^
    decref(points)
    xdecref(weights)
    return result


def _count[dt: DType](call: Call, points: Obj, weights: Obj, result: Obj, dims: Int, total: Int) raises:
    var t = as_tensor(points)
    var work = Histogram[dt](
        t[].data(),
        as_tensor(weights)[].data() if weights != 0 else 0,
        t[].shape[0],
        dims,
        call.int(3),
    )
    work.total = total
    for d in range(dims):
        var e = as_tensor(seq_item(call.obj(1), d))
        work.edges[d] = e[].data()
        work.bins[d] = e[].numel - 1
    work.execute(as_tensor(result)[].data())


@export("dumbtorch_register_histogram")
def register_histogram() abi("C") -> None:
    register[bincount]("bincount")
    register[histogram]("_histogram")
