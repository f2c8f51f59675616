"""The sum of windows that are given as columns, where they were in their image: col2im."""
from std.math import ceildiv
from std.sys import size_of
from std.sys.intrinsics import masked_load, masked_store

from kernels.conv_stage import ceil_div
from kernels.gemm_micro import Ptr, acc_dtype, at, first_lanes, ptr, width
from kernels.pool_stage import Tasks
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of, itemsize, type_name
from tensor.layout import checked_numel, no_dims, shape_text
from tensor.memory import memset
from tensor.object import as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil
from tensor.threads import Body, parallel

comptime GIL_ELEMENTS = 1 << 14


@fieldwise_init
struct Side(ImplicitlyCopyable, Movable):
    """One axis: its size, the number of windows, and how they lie."""

    var size: Int
    var count: Int
    var kernel: Int
    var dilation: Int
    var padding: Int
    var stride: Int

    @always_inline
    def first(self, tap: Int) -> Int:
        """The first window whose tap lies in the image."""
        return max(0, ceil_div(self.padding - tap * self.dilation, self.stride))

    @always_inline
    def last(self, tap: Int) -> Int:
        """One past the last such window."""
        return max(0, min(self.count, ceil_div(self.size + self.padding - tap * self.dilation, self.stride)))


struct Columns[src: DType](Body):
    """Ready to run: a task is some planes. Half types are summed in float32."""

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()

    var source: Int
    var target: Int
    var rows: Side
    var cols: Side
    var tasks: Tasks
    var scratch: Int
    var room: Int

    def __init__(out self, source: Int, target: Int, planes: Int, rows: Side, cols: Side):
        self.source = source
        self.target = target
        self.rows = rows
        self.cols = cols
        self.tasks = Tasks.of(planes, rows.count * cols.count * rows.kernel * cols.kernel)
        self.scratch = 0
        self.room = ceildiv(rows.size * cols.size * size_of[Scalar[Self.dt]](), 64) * 64

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var ws = Workspace.take(0 if Self.src == Self.dt else self.room * self.tasks.workers)
        if ws.address == 0 and Self.src != Self.dt:
            return False
        self.scratch = ws.address
        parallel(self, self.tasks.count(), self.tasks.workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var size = self.rows.size * self.cols.size
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        for plane in range(task * self.tasks.per_task, last):
            var to = at[Self.src](self.target, plane * size)
            comptime if Self.src == Self.dt:
                self._plane(plane, to)
            else:
                var sums = self.scratch + worker * self.room
                self._plane(plane, sums)
                for i in range(size):
                    ptr[Self.src](to)[unsafe_offset=i] = ptr[Self.dt](sums)[unsafe_offset=i].cast[Self.src]()

    def _plane(self, plane: Int, to: Int):
        var rows = self.rows
        var cols = self.cols
        memset(to, 0, rows.size * cols.size * size_of[Scalar[Self.dt]]())
        var windows = rows.count * cols.count
        for i in range(rows.kernel):
            for j in range(cols.kernel):
                var tap = at[Self.src](self.source, ((plane * rows.kernel + i) * cols.kernel + j) * windows)
                var first = cols.first(j)
                var count = cols.last(j) - first
                var x = first * cols.stride - cols.padding + j * cols.dilation
                for row in range(rows.first(i), rows.last(i)):
                    var y = row * rows.stride - rows.padding + i * rows.dilation
                    var s = ptr[Self.src](at[Self.src](tap, row * cols.count + first))
                    var d = ptr[Self.dt](at[Self.dt](to, y * cols.size + x))
                    if cols.stride == 1:
                        self._add(s, d, count)
                        continue
                    for q in range(count):
                        d[unsafe_offset=q * cols.stride] += s[unsafe_offset=q].cast[Self.dt]()

    @always_inline
    def _add(self, s: Ptr[Self.src], d: Ptr[Self.dt], count: Int):
        comptime W = Self.W
        var q = 0
        while q + W <= count:
            d.unsafe_store(q, d.unsafe_load[width=W](q) + s.unsafe_load[width=W](q).cast[Self.dt]())
            q += W
        if q < count:
            var inside = first_lanes[W](count - q)
            var x = masked_load[W](s.unsafe_offset(q), inside, SIMD[Self.src, W](0)).cast[Self.dt]()
            var sum = masked_load[W](d.unsafe_offset(q), inside, SIMD[Self.dt, W](0)) + x
            masked_store[W](sum, d.unsafe_offset(q), inside)


def _side(call: Call, axis: Int, size: Int) raises -> Side:
    """From the slots kernel_size, dilation, padding, stride that begin at 2."""
    var v = Array[Int, 4](fill=0)
    for i in range(4):
        var d = no_dims()
        if call.dims(2 + i, d) != 2:
            raise call.fail("RuntimeError", String(t"expected '{call.param(2 + i)}' to have two numbers"))
        v[i] = d[axis]
        if d[axis] < (0 if i == 2 else 1):
            raise call.fail("RuntimeError", String(t"'{call.param(2 + i)}' is too small: {d[axis]}"))
    var count = (size + 2 * v[2] - v[1] * (v[0] - 1) - 1) // v[3] + 1
    return Side(size, count, v[0], v[1], v[2], v[3])


def sum_columns(mut call: Call) raises -> Obj:
    """Parameters (input, output_size, kernel_size, dilation, padding, stride): columns (N, C kH kW, windows)."""
    var input = call.tensor(0)
    var code = input[].code()
    if input[].device() != 0:
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    if code < FLOAT16 or code > FLOAT64:
        raise Error(t"NotImplementedError|\"col2im\" not implemented for '{type_name(code)}'")
    var size = no_dims()
    if call.dims(1, size) != 2 or size[0] < 0 or size[1] < 0:
        raise call.fail("RuntimeError", "expected two sizes of the output")
    var rows = _side(call, 0, size[0])
    var cols = _side(call, 1, size[1])
    var taps = rows.kernel * cols.kernel
    var fits = input[].rank() == 3 and input[].shape[1] % taps == 0 and rows.count > 0 and cols.count > 0
    if not fits or input[].shape[2] != rows.count * cols.count:
        raise call.fail(
            "RuntimeError",
            String(
                t"expected columns (N, C * {taps}, {rows.count} * {cols.count}), got"
                t" {shape_text(input[].shape, input[].rank())}"
            ),
        )
    var shape = no_dims()
    shape[0] = input[].shape[0]
    shape[1] = input[].shape[1] // taps
    shape[2] = size[0]
    shape[3] = size[1]
    _ = checked_numel(shape, 4, itemsize(code))
    var result = new_tensor(code, shape, 4)
    if as_tensor(result)[].numel == 0:
        return result
    try:
        var source = contiguous_of(input, code)
        var from_ = as_tensor(source)[].data()
        var to = as_tensor(result)[].data()
        var planes = shape[0] * shape[1]
        var ok = True
        var held = release_gil() if input[].numel >= GIL_ELEMENTS else 0
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if code == c:
                var work = Columns[dtype_of[c]](from_, to, planes, rows, cols)
                ok = work.go()
        if held != 0:
            take_gil(held)
        decref(source)
        if not ok:
            raise call.fail("OutOfMemoryError", "there is no memory for the working space")
    except e:
        decref(result)
        raise e^
    return result


@export("dumbtorch_register_columns")
def register_columns() abi("C") -> None:
    register[sum_columns]("sum_columns")
