"""Fourier transforms along any dimensions: complex, of reals to half of the points, and back.

Along a dimension the tensor is [outer, points, inner]. Lines are transformed as many at once as a vector has lanes
(fft_lanes), as columns where inner is large, as rows where it is 1; lines too few or too long for that go one by one
(fft_long). Where inner is small the dimension is moved to the end and back. Lengths with large prime factors are ducc0's (fft_other).
"""

from std.math import ceildiv, sqrt
from std.sys import simd_width_of
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    itemsize,
    type_name,
)
from tensor.layout import Dims, no_dims
from tensor.memory import Ptr
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil
from tensor.threads import Body, num_threads, parallel

from kernels.fft_lanes import (
    columns_in, columns_out, half_in, half_out, mirrored_in, real_columns_in, real_columns_out, rows_in, rows_out,
    transform,
)  # fmt: skip
from kernels.fft_long import (
    C2C, C2R, R2C, Line, after, before, first_step, groups_in, groups_out, middle_of, second_step, turned_reals, whole_line,
)  # fmt: skip
from kernels.fft_other import by_ducc
from kernels.fft_plan import (
    Plan,
    can_transform,
    drop_plans,
    halves_of,
    long_plan_of,
    plan_of,
)
from kernels.transfer_api import contiguous_of, copy_into, copy_strided
from kernels.workspace import Workspace

comptime LONG_WORK = 1 << 16  # points worth releasing the interpreter's lock
comptime SPREAD = 1 << 13  # points worth several threads
comptime SHORT = 16  # lines up to this length are never worth parts
comptime LONGEST_ROW = 256  # lines of which several go at once
comptime LONGEST_COLUMN = 8192

comptime COLUMNS = 0
comptime ROWS = 1
comptime LONG = 2
comptime BEFORE = 0  # the steps of one long line
comptime FIRST = 1
comptime SECOND = 2
comptime AFTER = 3
comptime ALL = 4


@fieldwise_init
struct Lines[number: DType, width: Int](Body, ImplicitlyCopyable, Movable):
    """All lines of a dimension."""

    var line: Line  # the first one
    var scale: Scalar[Self.number]
    var layout: Int
    var inner: Int
    var rows: Int
    var in_points: Int
    var out_points: Int
    var scratch: Int
    var per_worker: Int  # bytes
    var step: Int
    var units: Int
    var per_task: Int

    def run(self, task: Int, worker: Int):
        var buffer = self.scratch + worker * self.per_worker
        for u in range(task * self.per_task, min((task + 1) * self.per_task, self.units)):
            if self.layout == COLUMNS:
                self._columns(u, buffer)
            elif self.layout == ROWS:
                self._rows(u, buffer)
            elif self.step == ALL:
                self._long(u, buffer)
            else:
                self._step(u, buffer)

    @always_inline
    def _in_size(self) -> Int:
        return size_of[Scalar[Self.number]]() * (1 if self.line.kind == R2C else 2)

    @always_inline
    def _out_size(self) -> Int:
        return size_of[Scalar[Self.number]]() * (1 if self.line.kind == C2R else 2)

    def _between(self, buffer: Int) -> Int:
        """From the filled buffer to the result's points; the table of their places."""
        comptime dt = Self.number
        comptime w = Self.width
        var plan = self.line.plan
        if self.line.kind == C2R:
            if self.line.n % 2 == 0:
                half_in[dt, w](buffer, plan[].n, self.line.halves)
            else:
                mirrored_in[dt, w](buffer, plan[].n)
        transform[dt, w](plan, buffer)
        if self.line.kind == R2C and self.line.n % 2 == 0:
            half_out[dt, w](buffer, plan[].order, plan[].n, self.line.halves)
        return plan[].order

    def _columns(self, u: Int, buffer: Int):
        comptime dt = Self.number
        comptime w = Self.width
        var groups = ceildiv(self.inner, w)
        var column = u % groups * w
        var lanes = min(w, self.inner - column)
        var src = self.line.src + (u // groups * self.in_points * self.inner + column) * self._in_size()
        var dst = self.line.dst + (u // groups * self.out_points * self.inner + column) * self._out_size()
        var gap = 1 + self.line.n % 2
        if self.line.kind == R2C:
            real_columns_in[dt, w](src, self.inner, self.in_points, lanes, gap, buffer)
        else:
            var flip = self.line.flip if self.line.kind == C2C else 0
            columns_in[dt, w](src, 2 * self.inner, self.in_points, lanes, flip, buffer)
        var order = self._between(buffer)
        if self.line.kind == C2R:
            real_columns_out[dt, w](
                buffer,
                order,
                dst,
                self.inner,
                self.out_points,
                lanes,
                gap,
                1,
                self.scale,
            )
        else:
            columns_out[dt, w](
                buffer,
                order,
                dst,
                2 * self.inner,
                self.out_points,
                lanes,
                self.line.flip,
                self.scale,
            )

    def _rows(self, u: Int, buffer: Int):
        comptime dt = Self.number
        comptime w = Self.width
        var lanes = min(w, self.rows - u * w)
        var src = self.line.src + u * w * self.in_points * self._in_size()
        var dst = self.line.dst + u * w * self.out_points * self._out_size()
        var gap = 1 + self.line.n % 2
        if self.line.kind == R2C:
            rows_in[dt, w](src, self.in_points, self.in_points, lanes, gap, 0, buffer)
        else:
            var flip = self.line.flip if self.line.kind == C2C else 0
            rows_in[dt, w](
                src,
                2 * self.in_points,
                2 * self.in_points,
                lanes,
                1,
                flip,
                buffer,
            )
        var order = self._between(buffer)
        if self.line.kind == C2R:
            rows_out[dt, w](
                buffer,
                order,
                dst,
                self.out_points,
                self.out_points,
                lanes,
                gap,
                1,
                self.scale,
            )
        else:
            rows_out[dt, w](
                buffer,
                order,
                dst,
                2 * self.out_points,
                2 * self.out_points,
                lanes,
                1,
                self.line.flip,
                self.scale,
            )

    def _line(self, row: Int) -> Line:
        var line = self.line
        line.src += row * self.in_points * self._in_size()
        line.dst += row * self.out_points * self._out_size()
        return line

    def _memory(self, mut line: Line, start: Int):
        """Places what a long line needs behind the buffer that begins at `start`."""
        comptime size = size_of[Scalar[Self.number]]()
        line.turned = start
        line.whole = start + turned_reals[Self.width](line.plan) * size

    def _long(self, row: Int, buffer: Int):
        var line = self._line(row)
        self._memory(
            line,
            buffer + line.plan[].first[].n * 2 * Self.width * size_of[Scalar[Self.number]](),
        )
        whole_line[Self.number, Self.width](line, self.scale, buffer)

    def _step(self, u: Int, buffer: Int):
        """A unit of the step at hand of the one line."""
        comptime dt = Self.number
        comptime w = Self.width
        if self.step == FIRST:
            first_step[dt, w](self.line, u, buffer)
        elif self.step == SECOND:
            second_step[dt, w](self.line, u, self.scale)
        else:
            var start = 1 + u * 4096
            var stop = min(start + 4096, middle_of(self.line))
            if self.step == BEFORE:
                before[dt, w](self.line, start, stop)
            else:
                after[dt, w](self.line, start, stop)

    def _spread(mut self, units: Int, threads: Int):
        self.units = units
        self.per_task = 1 if threads > 1 and units < 8 * threads else ceildiv(units, 8 * threads)
        if threads > 1:
            parallel(self, ceildiv(units, self.per_task), threads)
        else:
            self.per_task = units
            self.run(0, 0)

    def go(mut self, threads: Int) raises:
        """Takes the scratch and runs everything."""
        comptime size = size_of[Scalar[Self.number]]()
        var plan = self.line.plan
        var single = self.layout == LONG and self.rows < threads
        var shared = 0
        if self.layout == LONG:
            self.per_worker = plan[].first[].n * 2 * Self.width * size
            shared = (turned_reals[Self.width](plan) + 2 * (plan[].n + 1)) * size
            shared = ceildiv(shared, 64) * 64
            if not single:
                self.per_worker += shared
        else:
            self.per_worker = (plan[].n + 1) * 2 * Self.width * size
        # not a multiple of a page, so that the workers' buffers do not share sets of the cache
        self.per_worker += 192
        var space = Workspace.take(threads * self.per_worker + (shared if single else 0))
        if space.address == 0:
            raise Error("OutOfMemoryError|torch.fft: no memory for the buffers of a transform")
        self.scratch = space.address
        if not single:
            self.step = ALL
            var units = self.rows
            if self.layout == COLUMNS:
                units = self.rows * ceildiv(self.inner, Self.width)
            elif self.layout == ROWS:
                units = ceildiv(self.rows, Self.width)
            self._spread(units, min(threads, units))
        else:
            var first = self.line
            for row in range(self.rows):
                self.line = first
                self.line = self._line(row)
                var line = self.line
                self._memory(line, self.scratch + threads * self.per_worker)
                self.line = line
                var parts = ceildiv(middle_of(line) - 1, 4096)
                if line.kind == C2R:
                    self.step = BEFORE
                    self._spread(parts, threads)
                self.step = FIRST
                self._spread(groups_in[Self.width](plan), threads)
                self.step = SECOND
                self._spread(groups_out[Self.width](plan), threads)
                if line.kind == R2C or (line.kind == C2R and line.n % 2 == 1):
                    self.step = AFTER
                    self._spread(parts, threads)
            self.line = first
        space.give()


@fieldwise_init
struct Dimension(ImplicitlyCopyable, Movable):
    """One dimension's part of a transform."""

    var kind: Int
    var n: Int
    var outer: Int
    var inner: Int
    var in_points: Int
    var out_points: Int
    var inverse: Bool
    var scale: Float64


def _code(real: DType, kind_is_real: Bool) -> Int:
    if real == DType.float32:
        return FLOAT32 if kind_is_real else COMPLEX64
    return FLOAT64 if kind_is_real else COMPLEX128


def _moved[dt: DType](d: Dimension, src: Int, dst: Int) raises:
    """Moves the dimension to the end, transforms, and moves it back."""
    var in_code = _code(dt, d.kind == R2C)
    var out_code = _code(dt, d.kind == C2R)
    var in_bytes = ceildiv(d.outer * d.inner * d.in_points * itemsize(in_code), 64) * 64
    var space = Workspace.take(in_bytes + d.outer * d.inner * d.out_points * itemsize(out_code))
    if space.address == 0:
        raise Error("OutOfMemoryError|torch.fft: no memory for the buffers of a transform")
    var shape = no_dims()
    var across = no_dims()
    var along = no_dims()
    shape[0] = d.outer
    shape[1] = d.inner
    shape[2] = d.in_points
    across[0] = d.inner * d.in_points
    across[1] = 1
    across[2] = d.inner
    along[0] = d.inner * d.in_points
    along[1] = d.in_points
    along[2] = 1
    copy_strided(space.address, in_code, along, src, in_code, across, shape, 3)
    var rows = d
    rows.outer = d.outer * d.inner
    rows.inner = 1
    try:
        run_dimension[dt](rows, space.address, space.address + in_bytes)
        shape[2] = d.out_points
        across[0] = d.inner * d.out_points
        along[0] = d.inner * d.out_points
        along[1] = d.out_points
        copy_strided(
            dst,
            out_code,
            across,
            space.address + in_bytes,
            out_code,
            along,
            shape,
            3,
        )
    finally:
        space.give()


def run_dimension[dt: DType](d: Dimension, src: Int, dst: Int) raises:
    """Transforms all lines of a dimension; `dst` may be `src` where points stay as many and complex."""
    comptime w = Int(simd_width_of[dt]())
    var halved = d.kind != C2C and d.n % 2 == 0
    var points = d.n // 2 if halved else d.n
    if d.inner > 1 and (2 * d.inner < w or points > LONGEST_COLUMN):
        _moved[dt](d, src, dst)
        return
    var layout = COLUMNS
    if d.inner == 1:
        var several = 2 * d.outer >= w and points <= LONGEST_ROW
        layout = ROWS if points <= SHORT or several else LONG
    var plan: Ptr[Plan]
    if layout == LONG:
        plan = long_plan_of[dt, w](points)
    else:
        plan = plan_of[dt](points)
    var halves = halves_of[dt](plan) if halved else 0
    plan[].users += 1
    var flip = Int(d.inverse)
    var line = Line(d.kind, d.n, flip, src, dst, plan, halves, 0, 0)
    var lines = Lines[dt, w](
        line,
        d.scale.cast[dt](),
        layout,
        d.inner,
        d.outer,
        d.in_points,
        d.out_points,
        0,
        0,
        ALL,
        0,
        1,
    )
    var total = d.outer * d.inner * points
    var threads = num_threads() if total >= SPREAD else 1
    var held = release_gil() if total > LONG_WORK else 0
    try:
        lines.go(threads)
    finally:
        if held != 0:
            take_gil(held)
        plan[].users -= 1
        drop_plans()


# ---------------------------------------------------------------- ops


def _check(call: Call, t: TPtr, real: Bool, complex: Bool) raises:
    var code = t[].code()
    var fits = (real and (code == FLOAT32 or code == FLOAT64)) or (
        complex and (code == COMPLEX64 or code == COMPLEX128)
    )
    if not fits:
        raise call.fail("RuntimeError", String(t"not implemented for '{type_name(code)}'"))
    if t[].device() != 0:
        raise call.fail(
            "RuntimeError",
            String("computed on the CPU only; move the tensor with .cpu()"),
        )


def _dims(call: Call, i: Int, t: TPtr, mut dims: Dims) raises -> Int:
    var count = call.dims(i, dims)
    for j in range(count):
        if dims[j] < 0 or dims[j] >= t[].rank():
            raise call.fail("IndexError", String(t"dimension {dims[j]} out of range"))
    return count


def _can_all(shape: Dims, dims: Dims, count: Int) -> Bool:
    """Whether all these sizes are ours."""
    for j in range(count):
        if not can_transform(shape[dims[j]]):
            return False
    return True


def _scale(norm: Int, count: Float64) -> Float64:
    if norm == 0:
        return 1.0
    return 1.0 / count if norm == 2 else 1.0 / sqrt(count)


def _around(shape: Dims, rank: Int, dim: Int, mut d: Dimension):
    d.outer = 1
    d.inner = 1
    for i in range(rank):
        if i < dim:
            d.outer *= shape[i]
        elif i > dim:
            d.inner *= shape[i]


def _complex_dims(
    code: Int,
    shape: Dims,
    rank: Int,
    dims: Dims,
    count: Int,
    src: Int,
    dst: Int,
    inverse: Bool,
    scale: Float64,
) raises:
    """Complex transforms over dimensions, the last one first."""
    var source = src
    for j in reversed(range(count)):
        var n = shape[dims[j]]
        var d = Dimension(C2C, n, 1, 1, n, n, inverse, scale if j == 0 else 1.0)
        _around(shape, rank, dims[j], d)
        _along(code, d, source, dst)
        source = dst


def _scale_of(call: Call, i: Int, shape: Dims, dims: Dims, count: Int) raises -> Float64:
    """The factor of a normalization: 0 none, 1 by the root of the number of points, 2 by that number."""
    var total = Float64(1)
    for j in range(count):
        total *= Float64(shape[dims[j]])
    return _scale(call.int(i), total)


def _as_complex(t: TPtr) raises -> Obj:
    """A contiguous tensor of complex numbers with these values."""
    if t[].code() == FLOAT32 or t[].code() == FLOAT64:
        var made = new_tensor(_other_code(t[].code()), t[].shape, t[].rank())
        try:
            if t[].numel > 0:
                copy_into(as_tensor(made), t)
        except e:
            decref(made)
            raise e^
        return made
    return contiguous_of(t, t[].code())


def _other_code(code: Int) -> Int:
    """The complex dtype of a real one and the other way round."""
    if code == FLOAT32:
        return COMPLEX64
    if code == FLOAT64:
        return COMPLEX128
    return FLOAT32 if code == COMPLEX64 else FLOAT64


def _along(code: Int, d: Dimension, src: Int, dst: Int) raises:
    """Transforms along a dimension; the code is the real or the complex one of the precision."""
    if code == COMPLEX64 or code == FLOAT32:
        run_dimension[DType.float32](d, src, dst)
    else:
        run_dimension[DType.float64](d, src, dst)


def c2c(mut call: Call) raises -> Obj:
    """Parameters (input, dims, norm, forward). Of real numbers too."""
    var t = call.tensor(0)
    _check(call, t, True, True)
    var dims = no_dims()
    var count = _dims(call, 1, t, dims)
    var scale = _scale_of(call, 2, t[].shape, dims, count)
    var forward = call.bool(3)
    var input = _as_complex(t)
    var code = as_tensor(input)[].code()
    if t[].numel == 0:
        return input
    try:
        var result = new_tensor(code, t[].shape, t[].rank())
        try:
            var dst = as_tensor(result)[].data()
            if count == 0:
                copy_into(as_tensor(result), as_tensor(input))
            elif _can_all(t[].shape, dims, count):
                var src = as_tensor(input)[].data()
                _complex_dims(
                    code,
                    t[].shape,
                    t[].rank(),
                    dims,
                    count,
                    src,
                    dst,
                    not forward,
                    scale,
                )
            else:
                by_ducc("c2c", input, result, call.obj(1), -1, forward, call.int(2))
            return result
        except e:
            decref(result)
            raise e^
    finally:
        decref(input)


def r2c(mut call: Call) raises -> Obj:
    """Parameters (input, dims, norm): the last of the dimensions keeps the points up to the middle."""
    var t = call.tensor(0)
    _check(call, t, True, False)
    var dims = no_dims()
    var count = _dims(call, 1, t, dims)
    if count == 0:
        raise call.fail("RuntimeError", String("at least one dimension must be transformed"))
    var scale = _scale_of(call, 2, t[].shape, dims, count)
    var last = dims[count - 1]
    var n = t[].shape[last]
    var shape = t[].shape.copy()
    shape[last] = n // 2 + 1
    var code = _other_code(t[].code())
    var result = new_tensor(code, shape, t[].rank())
    if t[].numel == 0:
        return result
    var input: Obj
    try:
        input = contiguous_of(t, t[].code())
    except e:
        decref(result)
        raise e^
    try:
        if _can_all(t[].shape, dims, count):
            var dst = as_tensor(result)[].data()
            var d = Dimension(R2C, n, 1, 1, n, n // 2 + 1, False, scale if count == 1 else 1.0)
            _around(shape, t[].rank(), last, d)
            _along(code, d, as_tensor(input)[].data(), dst)
            _complex_dims(code, shape, t[].rank(), dims, count - 1, dst, dst, False, scale)
        else:
            by_ducc("r2c", input, result, call.obj(1), -1, True, call.int(2))
    except e:
        decref(result)
        raise e^
    finally:
        decref(input)
    return result


def c2r(mut call: Call) raises -> Obj:
    """Parameters (input, dims, norm, size): the real result of a Hermitian input, the last dimension of this size."""
    var t = call.tensor(0)
    _check(call, t, False, True)
    var dims = no_dims()
    var count = _dims(call, 1, t, dims)
    var n = call.int(3)
    if count == 0 or t[].shape[dims[count - 1]] != n // 2 + 1:
        raise call.fail("RuntimeError", String(t"the input does not determine {n} points"))
    var last = dims[count - 1]
    var shape = t[].shape.copy()
    shape[last] = n
    var scale = _scale_of(call, 2, shape, dims, count)
    var code = _other_code(t[].code())
    var result = new_tensor(code, shape, t[].rank())
    if t[].numel == 0:
        return result
    var input: Obj
    try:
        input = contiguous_of(t, t[].code())
    except e:
        decref(result)
        raise e^
    try:
        if _can_all(shape, dims, count):
            if count > 1:
                var middle = new_tensor(t[].code(), t[].shape, t[].rank())
                var source = input
                input = middle
                try:
                    _complex_dims(
                        t[].code(), t[].shape, t[].rank(), dims, count - 1, as_tensor(source)[].data(),
                        as_tensor(middle)[].data(), True, 1.0,
                    )  # fmt: skip
                finally:
                    decref(source)
            var d = Dimension(C2R, n, 1, 1, n // 2 + 1, n, True, scale)
            _around(shape, t[].rank(), last, d)
            _along(code, d, as_tensor(input)[].data(), as_tensor(result)[].data())
        else:
            by_ducc("c2r", input, result, call.obj(1), n, False, call.int(2))
    except e:
        decref(result)
        raise e^
    finally:
        decref(input)
    return result


@export("dumbtorch_register_fft")
def register_fft() abi("C") -> None:
    register[c2c]("fft_c2c")
    register[r2c]("fft_r2c")
    register[c2r]("fft_c2r")
