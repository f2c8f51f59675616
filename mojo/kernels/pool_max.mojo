"""Max pooling with the position of each maximum, and its derivative.

As PyTorch compares: a later element replaces the maximum if it is greater or NaN. Positions count in the plane.
"""
from std.math import iota
from std.sys import size_of
from std.sys.intrinsics import masked_load, masked_store
from std.utils.numerics import isnan

from kernels.conv_stage import Axis, Image, stage
from kernels.gemm_micro import acc_dtype, at, first_lanes, ptr, width
from kernels.gemm_tiles import ceildiv
from kernels.pool_stage import Planes, Tasks, Window, lanes
from kernels.workspace import Workspace
from tensor.memory import memset
from tensor.threads import Body, parallel

comptime I64 = DType.int64


@always_inline
def _replaces[dt: DType, w: Int](x: SIMD[dt, w], m: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    comptime if dt.is_floating_point():
        return x.gt(m) | isnan(x)
    else:
        return x.gt(m)


struct MaxPool[src: DType](Body):
    """Ready to run: a task is some planes. Compares half types in float32, the others as they are."""

    comptime dt = DType.float32 if Self.src == DType.bfloat16 or Self.src == DType.float16 else Self.src
    comptime W = lanes[Self.dt]()
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var x: Planes
    var window: Window
    var rows: Axis
    var cols: Axis
    var out: Int
    var indices: Int
    var tasks: Tasks
    var height: Int
    var length: Int
    var pitch: Int
    var scratch: Int
    var worker_bytes: Int
    var pairs: Bool

    def __init__(out self, x: Planes, window: Window, out_rows: Int, out_cols: Int, values: Int, indices: Int):
        self.x = x
        self.window = window
        self.rows = Axis.window(x.h, out_rows, window.sh, window.ph, window.kh, window.dh)
        self.cols = Axis.window(x.w, out_cols, window.sw, window.pw, window.kw, window.dw)
        self.out = values
        self.indices = indices
        self.tasks = Tasks.of(x.n * x.c, x.h * x.w)
        self.height = self.rows.length(out_rows)
        self.length = self.cols.length(out_cols)
        self.pitch = self.length * len(self.cols.residues)
        # Whole vectors are read past the end.
        var elements = len(self.rows.residues) * self.height * self.pitch + 4 * Self.W + 4 * width[Self.dt]()
        self.worker_bytes = ceildiv(elements * Self.SIZE, 4096) * 4096 + 64
        self.scratch = 0
        self.pairs = (
            window.plain_pairs() and window.ph == 0 and window.pw == 0 and x.ws == 1
            and 2 * out_rows <= x.h and 2 * out_cols <= x.w
        )  # fmt: skip

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        if self.pairs:
            parallel(self, self.tasks.count(), self.tasks.workers)
            return True
        var ws = Workspace.take(self.tasks.workers * self.worker_bytes)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        parallel(self, self.tasks.count(), self.tasks.workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        for plane in range(task * self.tasks.per_task, last):
            if self.pairs:
                self._pairs(plane)
            else:
                self._plane(plane, self.scratch + worker * self.worker_bytes)

    @always_inline
    def _store(self, plane: Int, row: Int, col: Int, m: SIMD[Self.dt, Self.W], index: SIMD[I64, Self.W]):
        """A vector of results; a short one at the end of a row is completed by the next row, save in the last."""
        comptime W = Self.W
        var at_ = (plane * self.rows.count + row) * self.cols.count + col
        var left = self.cols.count - col
        var values = ptr[Self.src](at[Self.src](self.out, at_))
        var positions = ptr[I64](self.indices + 8 * at_)
        if left >= W or (self.rows.count - 1 - row) * self.cols.count + left >= W:
            values.unsafe_store(0, m.cast[Self.src]())
            positions.unsafe_store(0, index)
            return
        comptime if size_of[Scalar[Self.src]]() >= 4:
            masked_store[W](m.cast[Self.src](), values, first_lanes[W](left))
            masked_store[W](index, positions, first_lanes[W](left))
        else:
            for i in range(left):
                values[unsafe_offset=i] = m[i].cast[Self.src]()
                positions[unsafe_offset=i] = index[i]

    @always_inline
    def _two[part: Bool](self, p: Int, n: Int) -> Tuple[SIMD[Self.dt, Self.W], SIMD[Self.dt, Self.W]]:
        """The even and the odd of the next 2W elements (with `part` only n exist)."""
        comptime W = Self.W
        comptime if part:
            comptime if size_of[Scalar[Self.src]]() >= 4:
                var v = masked_load[2 * W](ptr[Self.src](p), first_lanes[2 * W](n), SIMD[Self.src, 2 * W](0))
                var d = v.cast[Self.dt]().deinterleave()
                return (rebind[SIMD[Self.dt, W]](d[0]), rebind[SIMD[Self.dt, W]](d[1]))
            else:
                var even = SIMD[Self.dt, W](0)
                var odd = SIMD[Self.dt, W](0)
                for i in range(n // 2):
                    even[i] = ptr[Self.src](p)[unsafe_offset=2 * i].cast[Self.dt]()
                    odd[i] = ptr[Self.src](p)[unsafe_offset=2 * i + 1].cast[Self.dt]()
                return (even, odd)
        else:
            var d = ptr[Self.src](p).unsafe_load[width=2 * W](0).cast[Self.dt]().deinterleave()
            return (rebind[SIMD[Self.dt, W]](d[0]), rebind[SIMD[Self.dt, W]](d[1]))

    @always_inline
    def _pair_step[part: Bool](self, plane: Int, row: Int, col: Int, top: Int):
        comptime W = Self.W
        var bottom = at[Self.src](top, self.x.hs)
        var n = 2 * (self.cols.count - col)
        var a = self._two[part](top, n)
        var b = self._two[part](bottom, n)
        var m = a[0]
        var place = SIMD[DType.int32, W](0)
        var r = _replaces(a[1], m)
        m = r.select(a[1], m)
        place = r.select(SIMD[DType.int32, W](1), place)
        r = _replaces(b[0], m)
        m = r.select(b[0], m)
        place = r.select(SIMD[DType.int32, W](Int32(self.x.w)), place)
        r = _replaces(b[1], m)
        m = r.select(b[1], m)
        place = r.select(SIMD[DType.int32, W](Int32(self.x.w + 1)), place)
        var index = place.cast[I64]() + 2 * iota[I64, W]() + Int64(2 * row * self.x.w + 2 * col)
        self._store(plane, row, col, m, index)

    def _pairs(self, plane: Int):
        """2 x 2 windows side by side, straight from the input."""
        comptime W = Self.W
        var base = at[Self.src](self.x.data, self.x.offset(plane))
        for row in range(self.rows.count):
            var line = at[Self.src](base, 2 * row * self.x.hs)
            var col = 0
            while col + W <= self.cols.count:
                self._pair_step[False](plane, row, col, at[Self.src](line, 2 * col))
                col += W
            if col < self.cols.count:
                self._pair_step[True](plane, row, col, at[Self.src](line, 2 * col))

    def _plane(self, plane: Int, space: Int):
        """Any window: the plane is staged with the lowest value around it."""
        comptime W = Self.W
        var x = self.x
        var w = self.window
        var image = Image(x.data, x.n, x.c, x.h, x.w, x.ns, x.cs, x.hs, x.ws, 1, 0)
        stage[Self.src, Self.dt](
            image, plane // x.c, plane % x.c, 1, self.rows, 0, self.height, self.cols, space, Scalar[Self.dt].MIN
        )
        for row in range(self.rows.count):
            for col in range(0, self.cols.count, W):
                var m = SIMD[Self.dt, W](Scalar[Self.dt].MIN)
                var place = SIMD[DType.int32, W](-1)
                for i in range(w.kh):
                    var line = self.rows.place(i, self.height) + row
                    for j in range(w.kw):
                        var p = at[Self.dt](space, line * self.pitch + self.cols.place(j, self.length) + col)
                        var v = ptr[Self.dt](p).unsafe_load[width=W](0)
                        var r = _replaces(v, m)
                        m = r.select(v, m)
                        place = r.select(SIMD[DType.int32, W](Int32(i * w.dh * x.w + j * w.dw)), place)
                var corner = (row * w.sh - w.ph) * x.w + col * w.sw - w.pw
                var index = place.cast[I64]() + iota[I64, W]() * Int64(w.sw) + Int64(corner)
                if place.reduce_min() < 0:
                    # Nothing but the lowest value there: the first element of the window that is in the plane.
                    for e in range(min(W, self.cols.count - col)):
                        if place[e] < 0:
                            index[e] = Int64(
                                first_inside(row * w.sh - w.ph, w.dh) * x.w
                                + first_inside((col + e) * w.sw - w.pw, w.dw)
                            )
                self._store(plane, row, col, m, index)


def first_inside(start: Int, dilation: Int) -> Int:
    return start if start >= 0 else start + (dilation - 1 - start) // dilation * dilation


struct MaxPoolGrad[src: DType](Body):
    """Adds each gradient to the element that was the maximum; half types are summed in float32."""

    comptime dt = acc_dtype[Self.src]() if Self.src.is_floating_point() else Self.src
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var g: Planes
    var indices: Planes
    var out: Int
    var size: Int  # elements of a plane of the result
    var tasks: Tasks
    var scratch: Int
    var flat: Bool  # the planes of both operands are contiguous
    var bad: Int  # address of a word: 1 + the first wrong position that was found

    def __init__(out self, g: Planes, indices: Planes, target: Int, size: Int):
        self.g = g
        self.indices = indices
        self.out = target
        self.size = size
        self.tasks = Tasks.of(g.n * g.c, size)
        self.scratch = 0
        self.flat = g.flat() and indices.flat()
        self.bad = 0

    def go(mut self) -> Int:
        """Runs it: 0, or -1 when there is no memory for the scratch, or 1 when an index is outside of its plane."""
        var bytes = ceildiv(self.size * Self.SIZE, 64) * 64
        var ws = Workspace.take(64 + self.tasks.workers * bytes)
        if ws.address == 0:
            return -1
        self.bad = ws.address
        self.scratch = ws.address + 64
        ptr[I64](self.bad)[] = 0
        parallel(self, self.tasks.count(), self.tasks.workers)
        var wrong = ptr[I64](self.bad)[]
        ws.give()
        return Int(wrong != 0)

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        for plane in range(task * self.tasks.per_task, last):
            var to = at[Self.src](self.out, plane * self.size)
            comptime if Self.src == Self.dt:
                self._scatter(plane, to)
            else:
                var sums = self.scratch + worker * (ceildiv(self.size * Self.SIZE, 64) * 64)
                self._scatter(plane, sums)
                for i in range(self.size):
                    ptr[Self.src](to)[unsafe_offset=i] = ptr[Self.dt](sums)[unsafe_offset=i].cast[Self.src]()

    def _scatter(self, plane: Int, to: Int):
        memset(to, 0, self.size * Self.SIZE)
        var d = ptr[Self.dt](to)
        var size = UInt64(self.size)
        var wrong = False
        if self.flat:
            var n = self.g.h * self.g.w
            var g = ptr[Self.src](at[Self.src](self.g.data, self.g.offset(plane)))
            var places = ptr[DType.uint64](self.indices.data + 8 * self.indices.offset(plane))
            var i = 0
            while i + 4 <= n:
                var four = places.unsafe_load[width=4](i)
                if four.reduce_max() >= size:
                    break
                comptime for j in range(4):
                    d[unsafe_offset=Int(four[j])] += g[unsafe_offset=i + j].cast[Self.dt]()
                i += 4
            while i < n:
                if places[unsafe_offset=i] < size:
                    d[unsafe_offset=Int(places[unsafe_offset=i])] += g[unsafe_offset=i].cast[Self.dt]()
                else:
                    wrong = True
                i += 1
            if wrong:
                ptr[I64](self.bad)[] = 1
            return
        for row in range(self.g.h):
            var g = ptr[Self.src](at[Self.src](self.g.data, self.g.offset(plane) + row * self.g.hs))
            var at_ = ptr[I64](self.indices.data + 8 * (self.indices.offset(plane) + row * self.indices.hs))
            for col in range(self.g.w):
                var i = at_[unsafe_offset=col * self.indices.ws]
                if UInt64(i) >= size:
                    wrong = True
                    continue
                d[unsafe_offset=Int(i)] += g[unsafe_offset=col * self.g.ws].cast[Self.dt]()
        if wrong:
            ptr[I64](self.bad)[] = 1
