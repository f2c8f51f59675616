"""The maximum of each region of a plane: adaptive and fractional pooling. Regions are products of one interval per axis."""
from std.utils.numerics import isnan

from kernels.gemm_micro import at, ptr
from kernels.pool_stage import Tasks
from kernels.transfer_api import contiguous_of
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

    var source: Int
    var values: Int
    var indices: Int
    var sizes: Dims
    var counts: Dims
    var starts: Int  # int64: those along the depth, the height and the width, for each plane or for all
    var ends: Int
    var step: Int  # from plane to plane of them
    var tasks: Tasks

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

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        for plane in range(task * self.tasks.per_task, last):
            self._plane(plane)

    def _plane(self, plane: Int):
        var h = self.sizes[1]
        var w = self.sizes[2]
        var x = ptr[Self.src](at[Self.src](self.source, plane * self.sizes[0] * h * w))
        var n = plane * self.counts[0] * self.counts[1] * self.counts[2]
        var starts = ptr[I64](self.starts + 8 * plane * self.step)
        var ends = ptr[I64](self.ends + 8 * plane * self.step)
        for i in range(self.counts[0]):
            for j in range(self.counts[1]):
                var row = self.counts[0] + j
                for k in range(self.counts[2]):
                    var col = self.counts[0] + self.counts[1] + k
                    var x0 = Int(starts[unsafe_offset=col])
                    var x1 = Int(ends[unsafe_offset=col])
                    var best = Scalar[Self.src].MIN
                    var place = -1
                    for z in range(Int(starts[unsafe_offset=i]), Int(ends[unsafe_offset=i])):
                        for y in range(Int(starts[unsafe_offset=row]), Int(ends[unsafe_offset=row])):
                            var line = (z * h + y) * w
                            if place < 0:
                                place = line + x0
                            for p in range(line + x0, line + x1):
                                var v = x[unsafe_offset=p]
                                if v > best or isnan(v):
                                    best = v
                                    place = p
                    ptr[Self.src](self.values)[unsafe_offset=n] = x[unsafe_offset=place]
                    ptr[I64](self.indices)[unsafe_offset=n] = Int64(place)
                    n += 1


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
                    parallel(work, work.tasks.count(), work.tasks.workers)
            if held != 0:
                take_gil(held)
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
