"""Convolution where every output channel reads one input channel: loops over whole planes, with no product to build."""
from std.sys import size_of
from std.sys.intrinsics import masked_load

from kernels.conv_stage import Axis, Image, stage_slices
from kernels.conv_taps import Filter, SERIAL_WORK
from kernels.conv_tiles import store_run
from kernels.gemm_micro import acc_dtype, at, first_lanes, mul_add, ptr, width
from kernels.gemm_tiles import ceildiv
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime MAX_TAPS = 1024
"""Taps of a kernel at most (larger ones go the general way)."""


struct Depthwise[src: DType](Body):
    """Planes of results, `multiplier` of them from each plane of the input; a task is one input plane of one image.

    With `grad` set it computes the derivative of the weights instead; then a task is one channel in all images.
    """

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var x: Image
    var out: Image  # results, or the gradient of the output
    var slabs: Axis
    var rows: Axis
    var cols: Axis
    var multiplier: Int
    var filter: Filter
    var bias: Int  # address in dtype `src`, 0 for none
    var bias_step: Int
    var grad: Int  # address of the weights' derivative, contiguous (channels, taps)
    var height: Int
    var pitch: Int
    var offsets: List[Int]
    var plane_bytes: Int
    var worker_bytes: Int
    var scratch: Int

    def __init__(
        out self,
        x: Image,
        out_image: Image,
        var slabs: Axis,
        var rows: Axis,
        var cols: Axis,
        multiplier: Int,
        var filter: Filter,
        bias: Int,
        bias_step: Int,
        grad: Int,
    ):
        self.x = x
        self.out = out_image
        self.multiplier = multiplier
        self.filter = filter^
        self.bias = bias
        self.bias_step = bias_step
        self.grad = grad
        self.height = rows.length(rows.count)
        self.pitch = cols.length(cols.count) * len(cols.residues)
        self.offsets = List[Int]()
        var slice = len(rows.residues) * self.height * self.pitch
        for z in range(len(slabs.positions)):
            for i in range(len(rows.positions)):
                for j in range(len(cols.positions)):
                    var row = rows.place(i, self.height)
                    self.offsets.append(z * slice + row * self.pitch + cols.place(j, cols.length(cols.count)))
        # Whole vectors are read and written past the ends.
        self.plane_bytes = (len(slabs.positions) * slice + 4 * Self.W) * Self.SIZE
        self.plane_bytes = ceildiv(self.plane_bytes, 64) * 64
        var sums = rows.count * (ceildiv(cols.count, Self.W) + 1) * Self.W * Self.SIZE
        self.worker_bytes = ceildiv(self.plane_bytes + sums, 4096) * 4096 + 64
        self.slabs = slabs^
        self.rows = rows^
        self.cols = cols^
        self.scratch = 0

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var nt = num_threads()
        var ws = Workspace.take(nt * self.worker_bytes)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        var work = self.out.slices() * self.out.c * self.rows.count * self.cols.count * len(self.offsets)
        var tasks = self.x.c if self.grad != 0 else self.out.slices() * self.x.c
        parallel(self, tasks, 1 if work < SERIAL_WORK else nt)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var space = self.scratch + worker * self.worker_bytes
        if self.grad != 0:
            self._channel_grad(task, space)
            return
        var n = task // self.x.c
        var c = task % self.x.c
        stage_slices[Self.src, Self.dt](self.x, n, c, 1, self.slabs, self.rows, 0, self.height, self.cols, space)
        for m in range(self.multiplier):
            self._plane(n, c * self.multiplier + m, space)

    def _plane(self, n: Int, channel: Int, space: Int):
        comptime W = Self.W
        var w = at[Self.src](self.filter.data, channel * self.filter.rs)
        var start = Scalar[Self.dt](0)
        if self.bias != 0:
            start = ptr[Self.src](self.bias)[unsafe_offset=channel * self.bias_step].cast[Self.dt]()
        var line = at[Self.dt](space + self.plane_bytes, 0)
        var out = at[Self.src](self.out.data, self.out.slice_at(n) + channel * self.out.cs)
        for row in range(0, self.rows.count, 4):
            var rows = min(4, self.rows.count - row)
            for j in range(0, self.cols.count, W):
                comptime for q in range(1, 5):
                    if rows == q:
                        self._chunk[q](space, row, j, w, start, line)
                for i in range(rows):
                    store_run[Self.src, Self.dt](
                        at[Self.dt](line, i * W),
                        at[Self.src](out, (row + i) * self.out.hs + j * self.out.ws),
                        self.out.ws,
                        min(W, self.cols.count - j),
                    )

    @always_inline
    def _chunk[count: Int](self, space: Int, row: Int, col: Int, w: Int, start: Scalar[Self.dt], line: Int):
        """A vector of results in each of `count` rows."""
        comptime W = Self.W
        var acc = Array[SIMD[Self.dt, W], count](fill=SIMD[Self.dt, W](start))
        var x = ptr[Self.dt](at[Self.dt](space, row * self.pitch + col))
        var offsets = self.offsets.unsafe_ptr()
        var taps = self.filter.taps.unsafe_ptr()
        for tap in range(len(self.offsets)):
            var weight = SIMD[Self.dt, W](ptr[Self.src](w)[unsafe_offset=taps[unsafe_offset=tap]].cast[Self.dt]())
            var p = x.unsafe_offset(offsets[unsafe_offset=tap])
            comptime for i in range(count):
                acc[i] = mul_add(weight, p.unsafe_load[width=W](i * self.pitch), acc[i])
        comptime for i in range(count):
            ptr[Self.dt](line).unsafe_store(i * W, acc[i])

    def _channel_grad(self, channel: Int, space: Int):
        """The derivative of the weights of one input channel, image after image."""
        comptime W = Self.W
        var taps = len(self.offsets)
        var pitch = ceildiv(self.cols.count, W) * W
        var grads = space + self.plane_bytes
        for n in range(self.out.slices()):
            stage_slices[Self.src, Self.dt](
                self.x, n, channel, 1, self.slabs, self.rows, 0, self.height, self.cols, space
            )
            for m in range(self.multiplier):
                var out_channel = channel * self.multiplier + m
                self._stage_grad(n, out_channel, grads, pitch)
                for tap in range(taps):
                    var d = ptr[Self.dt](at[Self.dt](self.grad, out_channel * taps + tap))
                    var s = self._tap_sum(at[Self.dt](space, self.offsets[tap]), grads, pitch)
                    if n == 0:
                        d[] = s
                    else:
                        d[] += s

    def _stage_grad(self, n: Int, channel: Int, to: Int, pitch: Int):
        """One plane of the output's gradient in the dtype of the sums, its rows filled up with zeros."""
        var plane = at[Self.src](self.out.data, self.out.slice_at(n) + channel * self.out.cs)
        for i in range(self.rows.count):
            var d = ptr[Self.dt](at[Self.dt](to, i * pitch))
            var s = ptr[Self.src](at[Self.src](plane, i * self.out.hs))
            for j in range(0, self.cols.count, Self.W):
                var left = self.cols.count - j
                var v = SIMD[Self.dt, Self.W](0)
                if self.out.ws == 1:
                    var zero = SIMD[Self.src, Self.W](0)
                    v = masked_load[Self.W](s.unsafe_offset(j), first_lanes[Self.W](left), zero).cast[Self.dt]()
                else:
                    for e in range(min(left, Self.W)):
                        v[e] = s[unsafe_offset=(j + e) * self.out.ws].cast[Self.dt]()
                d.unsafe_store(j, v)

    def _tap_sum(self, x0: Int, grads: Int, pitch: Int) -> Scalar[Self.dt]:
        comptime W = Self.W
        comptime U = 4
        var acc = Array[SIMD[Self.dt, W], U](fill=0)
        var row = 0
        while row < self.rows.count:
            var rows = min(U, self.rows.count - row)
            var x = ptr[Self.dt](at[Self.dt](x0, row * self.pitch))
            var g = ptr[Self.dt](at[Self.dt](grads, row * pitch))
            for j in range(0, self.cols.count, W):
                # Past the end of a row the gradient is zero; what is read there of the input must not be NaN.
                var inside = first_lanes[W](self.cols.count - j)
                comptime for u in range(U):
                    if u < rows:
                        var v = masked_load[W](x.unsafe_offset(u * self.pitch + j), inside, SIMD[Self.dt, W](0))
                        acc[u] = mul_add(v, g.unsafe_load[width=W](u * pitch + j), acc[u])
            row += U
        return ((acc[0] + acc[1]) + (acc[2] + acc[3])).reduce_add()
