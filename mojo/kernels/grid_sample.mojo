"""Reading images and volumes at the points of a grid, and the derivatives by both.

A point is, along each axis, one, two or four elements with weights (and their derivatives by the coordinate); their
products are the taps of the point, the same for all channels. Taps outside of the image count as zeros.
"""
from std.math import ceildiv, floor
from std.sys import size_of
from std.utils.numerics import isnan

from kernels.gemm_micro import acc_dtype, at, mul_add, ptr, width
from kernels.math_arith import round
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of, itemsize, type_name
from tensor.layout import Dims, no_dims, shape_text
from tensor.memory import memset
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil, tuple_new, tuple_set
from tensor.threads import Body, num_threads, parallel

comptime GIL_ELEMENTS = 1 << 13
comptime MAX_TAPS = 16

# interpolation
comptime LINEAR = 0
comptime NEAREST = 1
comptime CUBIC = 2
# padding
comptime ZEROS = 0
comptime BORDER = 1
comptime REFLECTION = 2


comptime I32 = DType.int32


struct AxisTaps[dt: DType, w: Int](Movable):
    """For a vector of coordinates along one axis: the elements that they meet (-1: outside), their weights, and how
    these change."""

    var place: Array[SIMD[I32, Self.w], 4]
    var weight: Array[SIMD[Self.dt, Self.w], 4]
    var slope: Array[SIMD[Self.dt, Self.w], 4]

    def __init__(out self):
        self.place = Array[SIMD[I32, Self.w], 4](fill=0)
        self.weight = Array[SIMD[Self.dt, Self.w], 4](fill=1)
        self.slope = Array[SIMD[Self.dt, Self.w], 4](fill=0)


@always_inline
def _padded[
    dt: DType, w: Int
](x: SIMD[dt, w], size: Int, padding: Int, align: Bool, mut slope: SIMD[dt, w]) -> SIMD[dt, w]:
    """The coordinates brought into the image, and the change of that."""
    if padding == ZEROS:
        return x
    var v = x
    if padding == REFLECTION:
        var low = Scalar[dt](0) if align else Scalar[dt](-0.5)
        var span = Scalar[dt](size - 1) if align else Scalar[dt](size)
        if span <= 0:
            slope = 0
            return 0
        v -= low
        slope = v.lt(0).select(-slope, slope)
        v = abs(v)
        var turns = floor(v / span)
        var extra = v - turns * span
        var odd = (turns - 2 * floor(turns / 2)).gt(0.5)
        v = odd.select(span - extra + low, extra + low)
        slope = odd.select(-slope, slope)
    var most = Scalar[dt](size - 1)
    var inside = v.gt(0) & v.lt(most)
    slope = inside.select(slope, SIMD[dt, w](0))
    # not a number goes to the first element
    return inside.select(v, v.ge(most).select(SIMD[dt, w](most), SIMD[dt, w](0)))


@always_inline
def _index[dt: DType, w: Int](x: SIMD[dt, w], size: Int) -> SIMD[I32, w]:
    """The elements at whole coordinates, or -1."""
    var inside = x.ge(0) & x.lt(Scalar[dt](size))
    return inside.select(inside.select(x, SIMD[dt, w](0)).cast[I32](), SIMD[I32, w](-1))


@always_inline
def _axis_taps[
    dt: DType, w: Int
](g: SIMD[dt, w], size: Int, mode: Int, padding: Int, align: Bool, mut taps: AxisTaps[dt, w]):
    var scale = SIMD[dt, w](Scalar[dt](size - 1) / 2 if align else Scalar[dt](size) / 2)
    var x = (g + 1) * scale
    if not align:
        x -= 0.5
    if mode == CUBIC:
        var low = floor(x)
        var t = x - low
        comptime A = Scalar[dt](-0.75)
        comptime for k in range(4):
            var d: SIMD[dt, w]
            comptime if k == 0:
                d = t + 1
            elif k == 1:
                d = t
            elif k == 2:
                d = 1 - t
            else:
                d = 2 - t
            var v: SIMD[dt, w]
            var s: SIMD[dt, w]
            comptime if k == 1 or k == 2:
                v = ((A + 2) * d - (A + 3)) * d * d + 1
                s = (3 * (A + 2) * d - 2 * (A + 3)) * d
            else:
                v = ((A * d - 5 * A) * d + 8 * A) * d - 4 * A
                s = (3 * A * d - 10 * A) * d + 8 * A
            var none = SIMD[dt, w](0)
            taps.place[k] = _index(_padded(low + Scalar[dt](k - 1), size, padding, align, none), size)
            taps.weight[k] = v
            taps.slope[k] = s * scale if k < 2 else -s * scale
        return
    x = _padded(x, size, padding, align, scale)
    if mode == NEAREST:
        taps.place[0] = _index(round(x), size)
        taps.weight[0] = 1
        taps.slope[0] = 0
        return
    var low = floor(x)
    var t = x - low
    taps.place[0] = _index(low, size)
    taps.place[1] = _index(low + 1, size)
    taps.weight[0] = 1 - t
    taps.weight[1] = t
    taps.slope[0] = -scale
    taps.slope[1] = scale


struct Sampler[src: DType](Body):
    """Ready to run; forward a task is some points of an image, backward it is an image."""

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var axes: Int
    var mode: Int
    var padding: Int
    var align: Bool
    var n: Int
    var c: Int
    var sizes: Dims  # of the image: depth, height, width
    var plane: Int
    var points: Int
    var x: Int
    var grid: Int
    var out: Int  # results, or the gradient of them
    var by_x: Int  # the derivatives, 0: not wanted
    var by_grid: Int
    var sums: Int  # by_x in the dtype of the sums
    var scratch: Int
    var worker_bytes: Int
    var chunks: Int

    def __init__(out self, axes: Int, mode: Int, padding: Int, align: Bool, x: TPtr, grid: TPtr):
        self.axes = axes
        self.mode = mode
        self.padding = padding
        self.align = align
        self.n = x[].shape[0]
        self.c = x[].shape[1]
        self.sizes = no_dims()
        self.plane = 1
        self.points = 1
        for j in range(3):
            self.sizes[j] = x[].shape[axes - 1 + j] if j >= 3 - axes else 1
            self.plane *= self.sizes[j]
        for j in range(axes):
            self.points *= grid[].shape[1 + j]
        self.x = x[].data()
        self.grid = grid[].data()
        self.out = 0
        self.by_x = 0
        self.by_grid = 0
        self.sums = 0
        self.scratch = 0
        # of a chunk of points: places, weights, slopes along each axis; a vector of parts
        self.worker_bytes = (5 * MAX_TAPS + 1) * Self.W * 8 + 64
        self.chunks = max(1, ceildiv(self.points, Self.W))

    def taps(self) -> Int:
        var each = 1 if self.mode == NEAREST else (4 if self.mode == CUBIC else 2)
        return each**self.axes

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var half = self.by_x != 0 and Self.src != Self.dt
        var room = self.n * self.c * self.plane * Self.SIZE if half else 0
        var ws = Workspace.take(num_threads() * self.worker_bytes + room)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        self.sums = ws.address + num_threads() * self.worker_bytes if half else self.by_x
        if self.by_x != 0:
            memset(self.sums, 0, self.n * self.c * self.plane * Self.SIZE)
        var workers = 1 if self.n * self.c * self.points < 8192 else num_threads()
        parallel(self, self.n if self.out_is_gradient() else self.n * ceildiv(self.chunks, 64), workers)
        if half:
            for i in range(self.n * self.c * self.plane):
                ptr[Self.src](self.by_x)[unsafe_offset=i] = ptr[Self.dt](self.sums)[unsafe_offset=i].cast[Self.src]()
        ws.give()
        return True

    @always_inline
    def out_is_gradient(self) -> Bool:
        return self.by_x != 0 or self.by_grid != 0

    def run(self, task: Int, worker: Int):
        var space = self.scratch + worker * self.worker_bytes
        if self.out_is_gradient():
            for chunk in range(self.chunks):
                self._backward(task, chunk, space)
            return
        var groups = ceildiv(self.chunks, 64)
        var group = task % groups
        for chunk in range(64 * group, min(64 * (group + 1), self.chunks)):
            self._forward(task // groups, chunk, space)

    def _prepare(self, n: Int, chunk: Int, space: Int) -> Bool:
        """The taps of a chunk of points: places (those outside are 0), places again (those outside are -1), weights,
        slopes. Whether all of them are inside."""
        var all_inside = True
        comptime W = Self.W
        var place = ptr[I32](space)
        var weight = ptr[Self.dt](space + 8 * MAX_TAPS * W)
        var slope = ptr[Self.dt](space + 16 * MAX_TAPS * W)
        var point = Array[SIMD[Self.dt, W], 3](fill=0)
        for lane in range(W):
            var first = (n * self.points + min(chunk * W + lane, self.points - 1)) * self.axes
            var g = ptr[Self.src](at[Self.src](self.grid, first))
            comptime for axis in range(3):
                if axis < self.axes:
                    point[axis][lane] = g[unsafe_offset=axis].cast[Self.dt]()
        var z = AxisTaps[Self.dt, W]()
        var y = AxisTaps[Self.dt, W]()
        var x = AxisTaps[Self.dt, W]()
        var m = self.mode
        var p = self.padding
        _axis_taps(point[0], self.sizes[2], m, p, self.align, x)
        _axis_taps(point[1], self.sizes[1], m, p, self.align, y)
        var each = 1 if self.mode == NEAREST else (4 if self.mode == CUBIC else 2)
        var deep = 1
        if self.axes == 3:
            _axis_taps(point[2], self.sizes[0], m, p, self.align, z)
            deep = each
        var t = 0
        for i in range(deep):
            for j in range(each):
                var to = (z.place[i] * Int32(self.sizes[1]) + y.place[j]) * Int32(self.sizes[2])
                var sides = z.place[i].ge(0) & y.place[j].ge(0)
                var both = z.weight[i] * y.weight[j]
                for k in range(each):
                    var inside = sides & x.place[k].ge(0)
                    all_inside = all_inside and inside.reduce_and()
                    place.unsafe_store(t * W, inside.select(to + x.place[k], SIMD[I32, W](0)))
                    place.unsafe_store((t + MAX_TAPS) * W, inside.select(to + x.place[k], SIMD[I32, W](-1)))
                    weight.unsafe_store(t * W, both * x.weight[k])
                    if self.by_grid != 0:
                        slope.unsafe_store(t * W, both * x.slope[k])
                        slope.unsafe_store((t + MAX_TAPS) * W, z.weight[i] * y.slope[j] * x.weight[k])
                        slope.unsafe_store((t + 2 * MAX_TAPS) * W, z.slope[i] * y.weight[j] * x.weight[k])
                    t += 1
        return all_inside

    @always_inline
    def _read(self, plane: Int, place: Int, all_inside: Bool) -> SIMD[Self.dt, Self.W]:
        """The elements of a plane at a vector of places, zero for those outside."""
        comptime W = Self.W
        var x = ptr[Self.src](plane)
        var places = ptr[I32](place)
        var v = SIMD[Self.dt, W](0)
        comptime for lane in range(W):
            v[lane] = x[unsafe_offset=Int(places[unsafe_offset=lane])].cast[Self.dt]()
        if all_inside:
            return v
        return places.unsafe_load[width=W](MAX_TAPS * W).ge(0).select(v, SIMD[Self.dt, W](0))

    def _forward(self, n: Int, chunk: Int, space: Int):
        comptime W = Self.W
        var all_inside = self._prepare(n, chunk, space)
        var count = min(W, self.points - chunk * W)
        var weight = ptr[Self.dt](space + 8 * MAX_TAPS * W)
        var taps = self.taps()
        for c in range(self.c):
            var plane = at[Self.src](self.x, (n * self.c + c) * self.plane)
            var acc = SIMD[Self.dt, W](0)
            for t in range(taps):
                var x = self._read(plane, space + 4 * t * W, all_inside)
                acc = mul_add(x, weight.unsafe_load[width=W](t * W), acc)
            var d = ptr[Self.src](at[Self.src](self.out, (n * self.c + c) * self.points + chunk * W))
            if count == W:
                d.unsafe_store(0, acc.cast[Self.src]())
            else:
                for lane in range(count):
                    d[unsafe_offset=lane] = acc[lane].cast[Self.src]()

    def _backward(self, n: Int, chunk: Int, space: Int):
        comptime W = Self.W
        var all_inside = self._prepare(n, chunk, space)
        var count = min(W, self.points - chunk * W)
        var place = ptr[I32](space)
        var weight = ptr[Self.dt](space + 8 * MAX_TAPS * W)
        var slope = ptr[Self.dt](space + 16 * MAX_TAPS * W)
        var taps = self.taps()
        var by_axis = Array[SIMD[Self.dt, W], 3](fill=0)
        for c in range(self.c):
            var g = SIMD[Self.dt, W](0)
            var from_ = ptr[Self.src](at[Self.src](self.out, (n * self.c + c) * self.points + chunk * W))
            for lane in range(count):
                g[lane] = from_[unsafe_offset=lane].cast[Self.dt]()
            var plane = (n * self.c + c) * self.plane
            for t in range(taps):
                if self.by_grid != 0:
                    var gx = g * self._read(at[Self.src](self.x, plane), space + 4 * t * W, all_inside)
                    comptime for axis in range(3):
                        if axis < self.axes:
                            var s = slope.unsafe_load[width=W](axis * MAX_TAPS * W + t * W)
                            by_axis[axis] = mul_add(gx, s, by_axis[axis])
                if self.by_x != 0:
                    var part = ptr[Self.dt](space + 40 * MAX_TAPS * W)
                    part.unsafe_store(0, g * weight.unsafe_load[width=W](t * W))
                    var d = ptr[Self.dt](at[Self.dt](self.sums, plane))
                    if all_inside and count == W:
                        comptime for lane in range(W):
                            d[unsafe_offset=Int(place[unsafe_offset=t * W + lane])] += part[unsafe_offset=lane]
                        continue
                    for lane in range(count):
                        var to = Int(place[unsafe_offset=(t + MAX_TAPS) * W + lane])
                        if to >= 0:
                            d[unsafe_offset=to] += part[unsafe_offset=lane]
        if self.by_grid != 0:
            for lane in range(count):
                var d = ptr[Self.src](at[Self.src](self.by_grid, (n * self.points + chunk * W + lane) * self.axes))
                for axis in range(self.axes):
                    d[unsafe_offset=axis] = by_axis[axis][lane].cast[Self.src]()


def _check(call: Call, x: TPtr, grid: TPtr, mode: Int, padding: Int) raises -> Int:
    """The number of axes."""
    var axes = x[].rank() - 2
    var fits = (axes == 2 or axes == 3) and grid[].rank() == axes + 2 and grid[].shape[0] == x[].shape[0]
    if not fits or grid[].shape[axes + 1] != axes or grid[].code() != x[].code():
        raise call.fail(
            "RuntimeError",
            String(
                t"expected an image of 4 or 5 dimensions and a grid of the same dtype and batch with a coordinate for"
                t" each axis, got {type_name(x[].code())} {shape_text(x[].shape, x[].rank())} and"
                t" {type_name(grid[].code())} {shape_text(grid[].shape, grid[].rank())}"
            ),
        )
    for j in range(axes):
        if x[].shape[2 + j] <= 0:
            raise Error(
                t"RuntimeError|grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes"
                t" {shape_text(x[].shape, x[].rank())} with dimension {2 + j} being empty"
            )
    if x[].device() != 0 or grid[].device() != 0:
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    if x[].code() < FLOAT16 or x[].code() > FLOAT64:
        raise Error(t"NotImplementedError|\"grid_sampler\" not implemented for '{type_name(x[].code())}'")
    if x[].numel >= 1 << 31:
        raise call.fail("RuntimeError", "images of 2**31 elements or more are not supported")
    if mode < 0 or mode > 2 or padding < 0 or padding > 2 or (mode == CUBIC and axes == 3):
        raise Error("RuntimeError|grid_sampler(): bicubic interpolation only supports 4D input")
    return axes


def grid_sampler(mut call: Call) raises -> Obj:
    """Parameters (input, grid, interpolation_mode, padding_mode, align_corners)."""
    var mode = call.int(2)
    var padding = call.int(3)
    var align = call.bool(4)
    var axes = _check(call, call.tensor(0), call.tensor(1), mode, padding)
    var code = call.tensor(0)[].code()
    var x: Obj = 0
    var grid: Obj = 0
    var result: Obj = 0
    try:
        x = contiguous_of(call.tensor(0), code)
        grid = contiguous_of(call.tensor(1), code)
        var shape = as_tensor(x)[].shape.copy()
        for j in range(axes):
            shape[2 + j] = as_tensor(grid)[].shape[1 + j]
        result = new_tensor(code, shape, axes + 2)
        var ok = True
        if as_tensor(result)[].numel > 0:
            var held = release_gil() if as_tensor(result)[].numel >= GIL_ELEMENTS else 0
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if code == c:
                    var work = Sampler[dtype_of[c]](axes, mode, padding, align, as_tensor(x), as_tensor(grid))
                    work.out = as_tensor(result)[].data()
                    ok = work.go()
            if held != 0:
                take_gil(held)
        if not ok:
            raise call.fail("OutOfMemoryError", "there is no memory for the working space")
    except e:
        for o in [x, grid, result]:
            if o != 0:
                decref(o)
        raise e^
    decref(x)
    decref(grid)
    return result


def grid_sampler_backward(mut call: Call) raises -> Obj:
    """Parameters (grad_output, input, grid, interpolation_mode, padding_mode, align_corners); both derivatives."""
    var mode = call.int(3)
    var padding = call.int(4)
    var align = call.bool(5)
    var axes = _check(call, call.tensor(1), call.tensor(2), mode, padding)
    var code = call.tensor(1)[].code()
    var g = call.tensor(0)
    var fits = g[].rank() == axes + 2 and g[].code() == code and g[].device() == 0
    for j in range(min(g[].rank(), axes + 2)):
        var wanted = call.tensor(2)[].shape[j - 1] if j >= 2 else call.tensor(1)[].shape[j]
        fits = fits and g[].shape[j] == wanted
    if not fits:
        raise call.fail("RuntimeError", String(t"grad_output of size {shape_text(g[].shape, g[].rank())} does not fit"))
    var x: Obj = 0
    var grid: Obj = 0
    var grad: Obj = 0
    var by_x: Obj = 0
    var by_grid: Obj = 0
    try:
        x = contiguous_of(call.tensor(1), code)
        grid = contiguous_of(call.tensor(2), code)
        grad = contiguous_of(g, code)
        by_x = new_tensor(code, as_tensor(x)[].shape, axes + 2)
        by_grid = new_tensor(code, as_tensor(grid)[].shape, axes + 2)
        var ok = True
        if as_tensor(grad)[].numel > 0:
            var held = release_gil() if as_tensor(grad)[].numel >= GIL_ELEMENTS else 0
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if code == c:
                    var work = Sampler[dtype_of[c]](axes, mode, padding, align, as_tensor(x), as_tensor(grid))
                    work.out = as_tensor(grad)[].data()
                    work.by_x = as_tensor(by_x)[].data()
                    work.by_grid = as_tensor(by_grid)[].data()
                    ok = work.go()
            if held != 0:
                take_gil(held)
        else:
            for o in [by_x, by_grid]:
                var t = as_tensor(o)
                if t[].numel > 0:
                    memset(t[].data(), 0, t[].numel * itemsize(code))
        if not ok:
            raise call.fail("OutOfMemoryError", "there is no memory for the working space")
    except e:
        for o in [x, grid, grad, by_x, by_grid]:
            if o != 0:
                decref(o)
        raise e^
    decref(x)
    decref(grid)
    decref(grad)
    var pair = tuple_new(2)
    tuple_set(pair, 0, by_x)
    tuple_set(pair, 1, by_grid)
    return pair


@export("dumbtorch_register_grid_sample")
def register_grid_sample() abi("C") -> None:
    register[grid_sampler]("grid_sampler")
    register[grid_sampler_backward]("grid_sampler_backward")
