"""The maximum of each region of a plane: adaptive and fractional pooling. Regions are products of one interval per axis."""
from std.math import ceildiv, iota
from std.sys.intrinsics import masked_load
from std.utils.numerics import isnan

from kernels.gemm_micro import acc_dtype, at, first_lanes, ptr, width
from kernels.pool_stage import Tasks
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, dtype_of, type_name
from tensor.layout import Dims, checked_numel, no_dims, shape_text
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil, tuple_new, tuple_set
from tensor.threads import Body, parallel

comptime GIL_ELEMENTS = 1 << 14
comptime I64 = DType.int64


struct Regions[src: DType](Body):
    """Ready to run: a task is some planes. As PyTorch compares: a later element wins if it is greater or NaN."""

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()

    var source: Int
    var values: Int
    var indices: Int
    var sizes: Dims
    var counts: Dims
    var starts: Int  # int64: those along the depth, the height and the width, for each plane or for all
    var ends: Int
    var step: Int  # from plane to plane of them
    var tasks: Tasks
    var scratch: Int
    var room: Int  # bytes of the maxima of a row of columns; as many again for their places

    def __init__(
        out self,
        source: Int,
        values: Int,
        indices: Int,
        planes: Int,
        sizes: Dims,
        counts: Dims,
        starts: Int,
        ends: Int,
        step: Int,
    ):
        self.source = source
        self.values = values
        self.indices = indices
        self.sizes = sizes.copy()
        self.counts = counts.copy()
        self.starts = starts
        self.ends = ends
        self.step = step
        self.tasks = Tasks.of(planes, sizes[0] * sizes[1] * sizes[2])
        self.scratch = 0
        self.room = ceildiv((sizes[2] + 2 * Self.W) * 8, 64) * 64

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var ws = Workspace.take(2 * self.room * self.tasks.workers)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        parallel(self, self.tasks.count(), self.tasks.workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        for plane in range(task * self.tasks.per_task, last):
            self._plane(plane, self.scratch + 2 * self.room * worker)

    def _plane(self, plane: Int, space: Int):
        """Row by row of results: the maxima of the columns first, vectors of them, then those of the regions."""
        var h = self.sizes[1]
        var w = self.sizes[2]
        var x = at[Self.src](self.source, plane * self.sizes[0] * h * w)
        var n = plane * self.counts[0] * self.counts[1] * self.counts[2]
        var starts = ptr[I64](self.starts + 8 * plane * self.step)
        var ends = ptr[I64](self.ends + 8 * plane * self.step)
        var places = space + self.room
        for i in range(self.counts[0]):
            for j in range(self.counts[1]):
                var row = self.counts[0] + j
                var z0 = Int(starts[unsafe_offset=i])
                var z1 = Int(ends[unsafe_offset=i])
                var y0 = Int(starts[unsafe_offset=row])
                var y1 = Int(ends[unsafe_offset=row])
                for col in range(0, w, Self.W):
                    self._column_maxima(x, z0, z1, y0, y1, col, space, places)
                for k in range(self.counts[2]):
                    var col = self.counts[0] + self.counts[1] + k
                    var place = self._region(
                        space, places, Int(starts[unsafe_offset=col]), Int(ends[unsafe_offset=col])
                    )
                    ptr[Self.src](self.values)[unsafe_offset=n] = ptr[Self.src](x)[unsafe_offset=place]
                    ptr[I64](self.indices)[unsafe_offset=n] = Int64(place)
                    n += 1

    @always_inline
    def _column_maxima(self, x: Int, z0: Int, z1: Int, y0: Int, y1: Int, col: Int, values: Int, places: Int):
        comptime W = Self.W
        var h = self.sizes[1]
        var w = self.sizes[2]
        var left = first_lanes[W](w - col)
        var best = SIMD[Self.dt, W](Scalar[Self.dt].MIN)
        var place = SIMD[DType.int32, W](Int32((z0 * h + y0) * w))
        for z in range(z0, z1):
            for y in range(y0, y1):
                var line = (z * h + y) * w
                var p = ptr[Self.src](at[Self.src](x, line + col))
                var v: SIMD[Self.dt, W]
                if w - col >= W:
                    v = p.unsafe_load[width=W](0).cast[Self.dt]()
                else:
                    v = masked_load[W](p, left, SIMD[Self.src, W](0)).cast[Self.dt]()
                var wins = v.gt(best) | isnan(v)
                best = wins.select(v, best)
                place = wins.select(SIMD[DType.int32, W](Int32(line)), place)
        ptr[Self.dt](at[Self.dt](values, col)).unsafe_store(0, best)
        ptr[DType.int32](places + 4 * col).unsafe_store(0, place + Int32(col) + iota[DType.int32, W]())

    @always_inline
    def _region(self, values: Int, places: Int, x0: Int, x1: Int) -> Int:
        """Of equal columns the one whose maximum comes first in memory, of several NaN the last."""
        var best = ptr[Self.dt](values)[unsafe_offset=x0]
        var place = ptr[DType.int32](places)[unsafe_offset=x0]
        for p in range(x0 + 1, x1):
            var v = ptr[Self.dt](values)[unsafe_offset=p]
            var at_ = ptr[DType.int32](places)[unsafe_offset=p]
            if isnan(v):
                if not isnan(best) or at_ > place:
                    best = v
                    place = at_
            elif v > best or (v == best and at_ < place):
                best = v
                place = at_
        return Int(place)


def _check(call: Call, i: Int, t: TPtr, total: Int, planes: Int) raises:
    if (
        t[].code() != INT64
        or t[].rank() != 2
        or t[].shape[1] != total
        or (t[].shape[0] != 1 and t[].shape[0] != planes)
    ):
        raise call.fail(
            "RuntimeError",
            String(
                t"expected '{call.param(i)}' to be int64 of size [1 or {planes}, {total}], got"
                t" {type_name(t[].code())} {shape_text(t[].shape, t[].rank())}"
            ),
        )


def max_regions(mut call: Call) raises -> Obj:
    """Parameters (input, starts, ends, output_size); the result is a tuple (values, int64 positions in the plane)."""
    var input = call.tensor(0)
    var code = input[].code()
    if input[].device() != 0:
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    if code < FLOAT16 or code > FLOAT64:
        raise Error(t"NotImplementedError|\"adaptive_max_pool\" not implemented for '{type_name(code)}'")
    var given = no_dims()
    var spatial = call.dims(3, given)
    var rank = input[].rank()
    if spatial < 1 or spatial > 3 or rank <= spatial:
        raise call.fail("RuntimeError", String(t"expected 1 to 3 sizes and an input of more dimensions, got {rank}"))
    var shape = input[].shape.copy()
    var sizes = no_dims()
    var counts = no_dims()
    for j in range(3):
        sizes[j] = 1
        counts[j] = 1
        if j >= 3 - spatial:
            sizes[j] = shape[rank - 3 + j]
            counts[j] = given[j - 3 + spatial]
            shape[rank - 3 + j] = counts[j]
    _ = checked_numel(shape, rank, 8)
    var planes = 1
    for j in range(rank - spatial):
        planes *= shape[j]
    if sizes[0] * sizes[1] * sizes[2] >= 1 << 31:
        raise call.fail("RuntimeError", "planes of 2**31 elements or more are not supported")
    var total = counts[0] + counts[1] + counts[2]
    for i in range(1, 3):
        _check(call, i, call.tensor(i), total, planes)
    if call.tensor(1)[].shape[0] != call.tensor(2)[].shape[0]:
        raise call.fail("RuntimeError", "expected as many rows of 'starts' as of 'ends'")
    var source: Obj = 0
    var starts: Obj = 0
    var ends: Obj = 0
    var values: Obj = 0
    var indices: Obj = 0
    try:
        source = contiguous_of(input, code)
        starts = contiguous_of(call.tensor(1), INT64)
        ends = contiguous_of(call.tensor(2), INT64)
        var s = as_tensor(starts)
        var e = as_tensor(ends)
        for i in range(s[].numel):
            var axis = i % total
            var size = sizes[0] if axis < counts[0] else (sizes[1] if axis < counts[0] + counts[1] else sizes[2])
            var from_ = ptr[I64](s[].data())[unsafe_offset=i]
            var to = ptr[I64](e[].data())[unsafe_offset=i]
            if from_ < 0 or from_ >= to or to > Int64(size):
                raise call.fail("RuntimeError", String(t"the region [{from_}, {to}) does not lie in a size of {size}"))
        values = new_tensor(code, shape, rank)
        indices = new_tensor(INT64, shape, rank)
        if as_tensor(values)[].numel > 0:
            var step = 0 if s[].shape[0] == 1 else total
            var x = as_tensor(source)[].data()
            var ok = True
            var held = release_gil() if input[].numel >= GIL_ELEMENTS else 0
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if code == c:
                    var work = Regions[dtype_of[c]](
                        x,
                        as_tensor(values)[].data(),
                        as_tensor(indices)[].data(),
                        planes,
                        sizes,
                        counts,
                        s[].data(),
                        e[].data(),
                        step,
                    )
                    ok = work.go()
            if held != 0:
                take_gil(held)
            if not ok:
                raise call.fail("OutOfMemoryError", "there is no memory for the working space")
    except e:
        for o in [source, starts, ends, values, indices]:
            if o != 0:
                decref(o)
        raise e^
    decref(source)
    decref(starts)
    decref(ends)
    var pair = tuple_new(2)
    tuple_set(pair, 0, values)
    tuple_set(pair, 1, indices)
    return pair


@export("dumbtorch_register_regions")
def register_regions() abi("C") -> None:
    register[max_regions]("max_regions")
