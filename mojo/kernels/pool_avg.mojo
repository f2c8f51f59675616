"""Average pooling and its derivative, for every floating dtype."""
from std.sys import size_of
from std.sys.intrinsics import masked_load, masked_store

from kernels.conv_stage import Axis, Image, stage
from kernels.gemm_micro import acc_dtype, at, first_lanes, ptr, width
from kernels.gemm_tiles import ceildiv
from kernels.pool_stage import Planes, Tasks, Window
from kernels.workspace import Workspace
from tensor.memory import memset
from tensor.threads import Body, parallel

comptime FAR = 3
"""Columns between windows from which on staging them side by side costs more than adding them one by one."""


def share(size: Int, start: Int, kernel: Int, padding: Int, count_padding: Bool) -> Int:
    """How many elements of one axis of a window its mean counts."""
    var end = min(start + kernel, size + padding)
    if count_padding:
        return max(1, end - start)
    return max(1, min(end, size) - max(start, 0))


struct AvgPool[src: DType](Body):
    """Ready to run: a task is some planes. Sums and divides in float32 or float64, in the order of the window.

    `grad`: the other way, `x` is then the gradient to be written and `other` the gradient of the output.
    """

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var x: Planes
    var other: Planes
    var grad: Bool
    var window: Window
    var rows: Axis
    var cols: Axis
    var tasks: Tasks
    var height: Int
    var length: Int
    var pitch: Int
    var row_share: List[Scalar[Self.dt]]  # what a sum is divided by: the product of a row's and a column's number
    var col_share: List[Scalar[Self.dt]]
    var scratch: Int
    var staged_bytes: Int
    var worker_bytes: Int
    var pairs: Bool
    var apart: Bool  # windows far apart: the sums of the columns first

    def __init__(out self, x: Planes, other: Planes, grad: Bool, window: Window, count_padding: Bool, divisor: Int):
        self.x = x
        self.other = other
        self.grad = grad
        self.window = window
        var out_rows = other.h
        var out_cols = other.w
        self.rows = Axis.window(x.h, out_rows, window.sh, window.ph, window.kh, 1)
        self.cols = Axis.window(x.w, out_cols, window.sw, window.pw, window.kw, 1)
        self.tasks = Tasks.of(x.n * x.c, x.h * x.w)
        self.height = self.rows.length(out_rows)
        self.length = self.cols.length(out_cols)
        self.pitch = self.length * len(self.cols.residues)
        self.row_share = List[Scalar[Self.dt]]()
        self.col_share = List[Scalar[Self.dt]]()
        for i in range(out_rows):
            var n = share(x.h, i * window.sh - window.ph, window.kh, window.ph, count_padding)
            self.row_share.append(1 if divisor != 0 else Scalar[Self.dt](n))
        for j in range(ceildiv(out_cols, Self.W) * Self.W):
            var n = share(x.w, j * window.sw - window.pw, window.kw, window.pw, count_padding)
            self.col_share.append(Scalar[Self.dt](divisor) if divisor != 0 else Scalar[Self.dt](n))
        self.apart = not grad and x.ws == 1 and window.sw >= FAR
        var line = max((out_cols - 1) * window.sw + window.kw, window.pw + x.w) + 2 * Self.W
        # Whole vectors are read and written past the end.
        var elements = line if self.apart else len(self.rows.residues) * self.height * self.pitch + 6 * Self.W
        self.staged_bytes = ceildiv(elements * Self.SIZE, 64) * 64
        self.worker_bytes = ceildiv(self.staged_bytes, 4096) * 4096 + 64
        self.scratch = 0
        self.pairs = (
            window.plain_pairs() and window.ph == 0 and window.pw == 0 and x.ws == 1 and other.ws == 1
            and 2 * out_rows <= x.h and 2 * out_cols <= x.w
        )  # fmt: skip

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var ws = Workspace.take(self.tasks.workers * self.worker_bytes)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        parallel(self, self.tasks.count(), self.tasks.workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        var space = self.scratch + worker * self.worker_bytes
        for plane in range(task * self.tasks.per_task, last):
            if self.grad and self.pairs:
                self._spread_pairs(plane)
            elif self.grad:
                self._spread(plane, space)
            elif self.pairs:
                self._pairs(plane)
            elif self.apart:
                self._columns(plane, space)
            else:
                self._plane(plane, space)

    @always_inline
    def _store(self, plane: Int, row: Int, col: Int, v: SIMD[Self.dt, Self.W]):
        """A vector of results (contiguous); a short one is completed by the next row, save in the last."""
        comptime W = Self.W
        var left = self.cols.count - col
        var to = ptr[Self.src](at[Self.src](self.other.data, (plane * self.rows.count + row) * self.cols.count + col))
        if left >= W or (self.rows.count - 1 - row) * self.cols.count + left >= W:
            to.unsafe_store(0, v.cast[Self.src]())
        else:
            for i in range(left):
                to[unsafe_offset=i] = v[i].cast[Self.src]()

    @always_inline
    def _divisor(self, row: Int, col: Int) -> SIMD[Self.dt, Self.W]:
        var cols = self.col_share.unsafe_ptr().unsafe_load[width=Self.W](col)
        return cols * self.row_share.unsafe_ptr()[unsafe_offset=row]

    def _pairs(self, plane: Int):
        """2 x 2 windows side by side, straight from the input."""
        comptime W = Self.W
        var base = at[Self.src](self.x.data, self.x.offset(plane))
        for row in range(self.rows.count):
            for col in range(0, self.cols.count, W):
                var top = at[Self.src](base, 2 * row * self.x.hs + 2 * col)
                var bottom = at[Self.src](top, self.x.hs)
                var a: SIMD[Self.dt, 2 * W]
                var b: SIMD[Self.dt, 2 * W]
                var left = self.cols.count - col
                if left >= W:
                    a = ptr[Self.src](top).unsafe_load[width=2 * W](0).cast[Self.dt]()
                    b = ptr[Self.src](bottom).unsafe_load[width=2 * W](0).cast[Self.dt]()
                else:
                    var zero = SIMD[Self.src, 2 * W](0)
                    var inside = first_lanes[2 * W](2 * left)
                    a = masked_load[2 * W](ptr[Self.src](top), inside, zero).cast[Self.dt]()
                    b = masked_load[2 * W](ptr[Self.src](bottom), inside, zero).cast[Self.dt]()
                var x = a.deinterleave()
                var y = b.deinterleave()
                var sum = ((x[0] + x[1]) + y[0]) + y[1]
                self._store(plane, row, col, rebind[SIMD[Self.dt, W]](sum) / self._divisor(row, col))

    def _columns(self, plane: Int, space: Int):
        """Windows far apart: for each row of results the sums of its columns, with zeros around them, then the windows'.
        """
        comptime W = Self.W
        var base = at[Self.src](self.x.data, self.x.offset(plane))
        var sums = ptr[Self.dt](space)
        memset(space, 0, self.staged_bytes)
        var to = ptr[Self.src](at[Self.src](self.other.data, plane * self.rows.count * self.cols.count))
        for row in range(self.rows.count):
            var top = row * self.window.sh - self.window.ph
            var first = max(top, 0)
            var last = max(min(top + self.window.kh, self.x.h), first)
            for col in range(0, self.x.w, W):
                var sum = SIMD[Self.dt, W](0)
                if col + W <= self.x.w:
                    for y in range(first, last):
                        var line = ptr[Self.src](at[Self.src](base, y * self.x.hs + col))
                        sum += line.unsafe_load[width=W](0).cast[Self.dt]()
                else:
                    for y in range(first, last):
                        var line = ptr[Self.src](at[Self.src](base, y * self.x.hs + col))
                        var inside = first_lanes[W](self.x.w - col)
                        sum += masked_load[W](line, inside, SIMD[Self.src, W](0)).cast[Self.dt]()
                sums.unsafe_store(self.window.pw + col, sum)
            for col in range(self.cols.count):
                var part = sums.unsafe_offset(col * self.window.sw)
                var sum = Scalar[Self.dt](0)
                for j in range(self.window.kw):
                    sum += part[unsafe_offset=j]
                var divisor = self.row_share[row] * self.col_share[col]
                to[unsafe_offset=row * self.cols.count + col] = (sum / divisor).cast[Self.src]()

    def _plane(self, plane: Int, space: Int):
        """Any window: the plane is staged with zeros around it."""
        comptime W = Self.W
        var x = self.x
        var image = Image(x.data, x.n, x.c, x.h, x.w, x.ns, x.cs, x.hs, x.ws, 1, 0)
        stage[Self.src, Self.dt](image, plane // x.c, plane % x.c, 1, self.rows, 0, self.height, self.cols, space)
        for row in range(self.rows.count):
            for col in range(0, self.cols.count, W):
                var sum = SIMD[Self.dt, W](0)
                for i in range(self.window.kh):
                    var line = self.rows.place(i, self.height) + row
                    for j in range(self.window.kw):
                        var p = at[Self.dt](space, line * self.pitch + self.cols.place(j, self.length) + col)
                        sum += ptr[Self.dt](p).unsafe_load[width=W](0)
                self._store(plane, row, col, sum / self._divisor(row, col))

    def _spread_pairs(self, plane: Int):
        """The derivative of 2 x 2 windows side by side, straight into the result (contiguous)."""
        comptime W = Self.W
        var to = at[Self.src](self.x.data, plane * self.x.h * self.x.w)
        if 2 * self.rows.count < self.x.h or 2 * self.cols.count < self.x.w:
            memset(to, 0, self.x.h * self.x.w * size_of[Scalar[Self.src]]())
        for row in range(self.rows.count):
            var g = ptr[Self.src](at[Self.src](self.other.data, self.other.offset(plane) + row * self.other.hs))
            var top = ptr[Self.src](at[Self.src](to, 2 * row * self.x.w))
            for col in range(0, self.cols.count, W):
                var inside = first_lanes[W](self.cols.count - col)
                var v = masked_load[W](g.unsafe_offset(col), inside, SIMD[Self.src, W](0)).cast[Self.dt]()
                var share = (v / self._divisor(row, col)).cast[Self.src]()
                var twice = share.interleave(share)
                var left = 2 * (self.cols.count - col)
                comptime for line in range(2):
                    var d = top.unsafe_offset(line * self.x.w + 2 * col)
                    if left >= 2 * W:
                        d.unsafe_store(0, twice)
                    else:
                        masked_store[2 * W](twice, d, first_lanes[2 * W](left))

    def _spread(self, plane: Int, space: Int):
        """Adds each gradient's share to its window in staged memory, then puts the plane together from there."""
        comptime W = Self.W
        memset(space, 0, self.staged_bytes)
        for row in range(self.rows.count):
            var g = ptr[Self.src](at[Self.src](self.other.data, self.other.offset(plane) + row * self.other.hs))
            for col in range(0, self.cols.count, W):
                var left = min(W, self.cols.count - col)
                var v = SIMD[Self.dt, W](0)
                if self.other.ws == 1 and left == W:
                    v = g.unsafe_load[width=W](col).cast[Self.dt]()
                else:
                    for e in range(left):
                        v[e] = g[unsafe_offset=(col + e) * self.other.ws].cast[Self.dt]()
                v = v / self._divisor(row, col)
                for i in range(self.window.kh):
                    var line = self.rows.place(i, self.height) + row
                    for j in range(self.window.kw):
                        var p = ptr[Self.dt](
                            at[Self.dt](space, line * self.pitch + self.cols.place(j, self.length) + col)
                        )
                        p.unsafe_store(0, p.unsafe_load[width=W](0) + v)
        self._collect(plane, space)

    def _collect(self, plane: Int, space: Int):
        """The plane of the result (contiguous) from the staged sums; zeros where no window reaches."""
        var to = at[Self.src](self.x.data, plane * self.x.h * self.x.w)
        var size = self.x.h * self.x.w
        memset(to, 0, size * size_of[Scalar[Self.src]]())
        for slot in range(len(self.rows.residues)):
            for i in range(self.height):
                var y = i * self.rows.step + self.rows.residues[slot] - self.rows.before
                if y < 0 or y >= self.x.h:
                    continue
                var line = at[Self.dt](space, (slot * self.height + i) * self.pitch)
                var d = ptr[Self.src](at[Self.src](to, y * self.x.w))
                for s in range(len(self.cols.residues)):
                    var from_ = ptr[Self.dt](at[Self.dt](line, s * self.length))
                    var first = self.cols.first[s]
                    var x = first * self.cols.step + self.cols.residues[s] - self.cols.before
                    for j in range(self.cols.last[s] - first):
                        d[unsafe_offset=x + j * self.cols.step] = from_[unsafe_offset=first + j].cast[Self.src]()
