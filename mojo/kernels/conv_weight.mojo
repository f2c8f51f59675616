"""The derivative of a convolution with respect to its weights.

One product for each pair of channel blocks: rows are the taps (input channel, kernel row, kernel column), whose factors
are read where they lie in the staged input; columns are output channels, for which the output's gradient is transposed;
the depth runs over the pixels. The pixels are cut into `parts` by the shapes alone, and the parts' sums are added in
order: the result does not depend on the number of threads.
"""
from std.sys import CompilationTarget, size_of
from std.sys.intrinsics import masked_load, masked_store

from kernels.conv_stage import Axis, Image, stage_slices
from kernels.conv_taps import Filter, SERIAL_WORK
from kernels.gemm_micro import Mat, acc_dtype, at, first_lanes, mul_add, ptr, width
from kernels.gemm_pack import pack, transpose
from kernels.gemm_tiles import ceildiv
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime TAP_ROWS = 9 if CompilationTarget.has_avx512f() or not CompilationTarget.is_x86() else 6
"""Taps of a register tile of two vectors of output channels."""

comptime MAX_PARTS = 16

comptime PART_BYTES = 8 << 20
"""How much memory the sums of all parts may take, beyond those of one."""

comptime BLOCK_BYTES = 256 << 10
"""Sums of one task: they stay in the L2 cache."""

comptime BLOCK_COLUMNS = 128

comptime BAND_PIXELS = 256
"""Pixels, at most, whose gradients are turned at a time: a panel of them stays in the L1 cache."""


@no_inline
def taps_tile[
    dt: DType, mr: Int, nv: Int
](base: Int, taps: Int, pixels: Int, b0: Int, bs: Int, count: Int, c0: Int, crs: Int, first: Bool):
    """C[mr, nv vectors] (+)= sum over pixels p of base[taps[i] + pixels[p]] * B[p]."""
    comptime W = width[dt]()
    var acc = Array[SIMD[dt, W], mr * nv](fill=0)
    if not first:
        comptime for i in range(mr):
            comptime for v in range(nv):
                acc[i * nv + v] = ptr[dt](at[dt](c0, i * crs + v * W)).unsafe_load[width=W](0)
    var tap = Array[Int, mr](fill=0)
    comptime for i in range(mr):
        tap[i] = Int(ptr[DType.int](taps)[unsafe_offset=i])
    var pixel = ptr[DType.int](pixels)
    var b = ptr[dt](b0)
    for p in range(count):
        var x = ptr[dt](at[dt](base, Int(pixel[unsafe_offset=p])))
        var bv = Array[SIMD[dt, W], nv](fill=0)
        comptime for v in range(nv):
            bv[v] = b.unsafe_load[width=W](v * W)
        comptime for i in range(mr):
            var av = SIMD[dt, W](x[unsafe_offset=tap[i]])
            comptime for v in range(nv):
                acc[i * nv + v] = mul_add(av, bv[v], acc[i * nv + v])
        b = b.unsafe_offset(bs)
    comptime for i in range(mr):
        comptime for v in range(nv):
            ptr[dt](at[dt](c0, i * crs + v * W)).unsafe_store(0, acc[i * nv + v])


struct WeightGrad[src: DType](Body):
    """Ready to run; first the sums of each part, then (`adding`) their total in the layout of the weights."""

    comptime dt = acc_dtype[Self.src]()
    comptime W = width[Self.dt]()
    comptime NR = 2 * Self.W
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var x: Image
    var g: Image  # gradient of the output
    var slabs: Axis
    var rows: Axis
    var cols: Axis
    var groups: Int
    var cin: Int
    var cout: Int
    var taps: Int
    var out: Int  # contiguous (groups * cout, cin, taps)
    var depth: Int
    var columns: Int  # cout rounded up to whole vectors
    var in_place: Bool
    var band: Int
    var bands: Int
    var images: Int  # of one unit: several where they are small
    var parts: Int
    var channel_block: Int
    var column_block: Int
    var height: Int
    var pitch: Int
    var plane: Int
    var offsets: List[Int]
    var pixels: List[Int]
    var sums: Int
    var scratch: Int
    var worker_bytes: Int
    var adding: Bool

    def __init__(
        out self,
        x: Image,
        g: Image,
        var slabs: Axis,
        var rows: Axis,
        var cols: Axis,
        groups: Int,
        cin: Int,
        cout: Int,
        out_data: Int,
    ):
        self.x = x
        self.g = g
        self.groups = groups
        self.cin = cin
        self.cout = cout
        self.taps = len(slabs.positions) * len(rows.positions) * len(cols.positions)
        self.out = out_data
        self.depth = cin * self.taps
        self.columns = ceildiv(cout, Self.W) * Self.W
        self.in_place = Self.src == Self.dt and x.ws == 1 and rows.inside() and cols.inside() and slabs.never_outside()
        # By the shapes alone.
        self.band = max(1, min(rows.count, BAND_PIXELS // max(1, cols.count)))
        self.bands = ceildiv(rows.count, self.band)
        self.band = ceildiv(rows.count, self.bands)
        var bytes = groups * self.depth * self.columns * Self.SIZE
        var slices = g.slices()
        self.images = min(slices, BAND_PIXELS // max(1, rows.count * cols.count)) if self.bands == 1 else 1
        self.images = 1 if x.d > 1 and self.in_place else max(1, self.images)
        self.column_block = min(self.columns, BLOCK_COLUMNS)
        self.channel_block = max(1, min(cin, BLOCK_BYTES // (self.column_block * self.taps * Self.SIZE)))
        self.channel_block = ceildiv(cin, ceildiv(cin, self.channel_block))
        var blocks = groups * ceildiv(cin, self.channel_block) * ceildiv(self.columns, self.column_block)
        var most = min(min(MAX_PARTS, ceildiv(MAX_PARTS, blocks)), PART_BYTES // max(1, bytes))
        self.parts = max(1, min(most, ceildiv(slices, self.images) * self.bands))
        # How the sums are cut into tasks changes none of them.
        var nt = num_threads()
        var fixed = self.parts * groups
        while fixed * ceildiv(cin, self.channel_block) * ceildiv(self.columns, self.column_block) < 4 * nt:
            if self.channel_block * self.taps > 2 * TAP_ROWS and self.channel_block > 1:
                self.channel_block = ceildiv(self.channel_block, 2)
            elif self.column_block > Self.NR:
                self.column_block = ceildiv(ceildiv(self.column_block, 2), Self.NR) * Self.NR
            else:
                break
        self.height = rows.length(self.band)
        self.pitch = cols.length(cols.count) * len(cols.residues)
        var slice = len(rows.residues) * self.height * self.pitch
        self.plane = len(slabs.positions) * slice
        if self.in_place:
            self.pitch = x.hs
            self.plane = x.cs
        self.offsets = List[Int](capacity=self.depth)
        for c in range(cin):
            for z in range(len(slabs.positions)):
                var start = c * self.plane + (slabs.positions[z] * x.ds if self.in_place else z * slice)
                for i in range(len(rows.positions)):
                    for j in range(len(cols.positions)):
                        var row = rows.place(i, self.height)
                        var col = cols.place(j, cols.length(cols.count))
                        self.offsets.append(start + row * self.pitch + col)
        self.pixels = List[Int](capacity=self.images * self.band * cols.count)
        for n in range(self.images):
            var start = n * (x.ns if self.in_place else self.channel_block * self.plane)
            for i in range(self.band):
                for j in range(cols.count):
                    self.pixels.append(start + i * self.pitch + j)
        self.slabs = slabs^
        self.rows = rows^
        self.cols = cols^
        self.sums = 0
        self.scratch = 0
        self.worker_bytes = 0
        self.adding = False

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var nt = num_threads()
        var sum_bytes = self.parts * self.groups * self.depth * self.columns * Self.SIZE
        var staged = 0 if self.in_place else (self.images * self.channel_block * self.plane + Self.NR) * Self.SIZE
        var pixels = self.images * self.band * self.cols.count
        var turned = pixels * ceildiv(self.column_block, Self.NR) * Self.NR * Self.SIZE
        self.worker_bytes = ceildiv(ceildiv(staged, 64) * 64 + turned, 4096) * 4096 + 64
        var ws = Workspace.take(ceildiv(sum_bytes, 64) * 64 + nt * self.worker_bytes)
        if ws.address == 0:
            return False
        self.sums = ws.address
        self.scratch = ws.address + ceildiv(sum_bytes, 64) * 64
        var work = self.g.slices() * self.rows.count * self.cols.count * self.groups * self.cout * self.depth
        var workers = 1 if work < SERIAL_WORK else nt
        var blocks = ceildiv(self.cin, self.channel_block) * ceildiv(self.columns, self.column_block)
        self.adding = False
        parallel(self, self.parts * self.groups * blocks, workers)
        self.adding = True
        parallel(self, self.groups * ceildiv(self.columns, Self.W), workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        if self.adding:
            self._add(task)
        else:
            self._sum(task, self.scratch + worker * self.worker_bytes)

    def _sum(self, task: Int, space: Int):
        """One part, one group, one block of input channels, one block of output channels."""
        var channel_blocks = ceildiv(self.cin, self.channel_block)
        var column_blocks = ceildiv(self.columns, self.column_block)
        var rest = task
        var column = rest % column_blocks * self.column_block
        rest //= column_blocks
        var channel = rest % channel_blocks * self.channel_block
        rest //= channel_blocks
        var group = rest % self.groups
        var part = rest // self.groups
        var channels = min(self.channel_block, self.cin - channel)
        var columns = min(self.column_block, self.columns - column)
        var units = ceildiv(self.g.slices(), self.images) * self.bands
        var turned = space
        if not self.in_place:
            turned = space + ceildiv((self.images * self.channel_block * self.plane + Self.NR) * Self.SIZE, 64) * 64
        var c = at[Self.dt](
            self.sums, ((part * self.groups + group) * self.depth + channel * self.taps) * self.columns + column
        )
        var first = True
        for unit in range(units * part // self.parts, units * (part + 1) // self.parts):
            var n = unit // self.bands * self.images
            var images = min(self.images, self.g.slices() - n)
            var row = unit % self.bands * self.band
            var rows = min(self.band, self.rows.count - row)
            var base = space
            if self.in_place:
                var channel0 = group * self.cin + channel
                base = at[Self.dt](
                    self.x.data,
                    n // self.slabs.count * self.x.ns
                    + (n % self.slabs.count * self.slabs.step - self.slabs.before) * self.x.ds
                    + channel0 * self.x.cs
                    + (row - self.rows.before) * self.x.hs
                    - self.cols.before,
                )
            else:
                for i in range(images):
                    stage_slices[Self.src, Self.dt](
                        self.x,
                        n + i,
                        group * self.cin + channel,
                        channels,
                        self.slabs,
                        self.rows,
                        row,
                        self.height,
                        self.cols,
                        at[Self.dt](space, i * self.channel_block * self.plane),
                    )
            self._turn(n, images, group * self.cout + column, min(columns, self.cout - column), row, rows, turned)
            self._multiply(base, turned, channels * self.taps, columns, images * rows * self.cols.count, c, first)
            first = False

    def _turn(self, n: Int, images: Int, channel: Int, channels: Int, row: Int, rows: Int, to: Int):
        """The output's gradient with channels innermost, in panels of two vectors (or one), zeros past the last."""
        var pixels = images * rows * self.cols.count
        for j in range(0, channels, Self.NR):
            var d = at[Self.dt](to, j * pixels)
            var s = at[Self.src](self.g.data, (channel + j) * self.g.cs + row * self.g.hs)
            if channels - j > Self.W:
                self._turn_panel[Self.NR](s, n, images, min(Self.NR, channels - j), rows, d)
            else:
                self._turn_panel[Self.W](s, n, images, channels - j, rows, d)

    def _turn_panel[panel: Int](self, s: Int, n: Int, images: Int, channels: Int, rows: Int, to: Int):
        var line = self.cols.count
        var d = to
        for i in range(images):
            var from_ = at[Self.src](s, self.g.slice_at(n + i))
            if self.g.hs == line * self.g.ws or rows == 1:
                pack[Self.src, Self.dt, panel](Mat(from_, self.g.cs, self.g.ws), channels, rows * line, d)
                d = at[Self.dt](d, rows * line * panel)
                continue
            for r in range(rows):
                var start = at[Self.src](from_, r * self.g.hs)
                pack[Self.src, Self.dt, panel](Mat(start, self.g.cs, self.g.ws), channels, line, d)
                d = at[Self.dt](d, line * panel)

    def _multiply(self, base: Int, turned: Int, taps: Int, columns: Int, pixels: Int, c: Int, first: Bool):
        var panels = ceildiv(taps, TAP_ROWS)
        var offsets = Int(self.offsets.unsafe_ptr())
        var pixel = Int(self.pixels.unsafe_ptr())
        for j in range(0, columns, Self.NR):
            var b = at[Self.dt](turned, j * pixels)
            for t in range(panels):
                var row = taps * t // panels
                var mr = taps * (t + 1) // panels - row
                var to = at[Self.dt](c, row * self.columns + j)
                comptime for q in reversed(range(1, TAP_ROWS + 1)):
                    if mr == q:
                        if columns - j > Self.W:
                            taps_tile[Self.dt, q, 2](
                                base, offsets + 8 * row, pixel, b, Self.NR, pixels, to, self.columns, first
                            )
                        else:
                            taps_tile[Self.dt, q, 1](
                                base, offsets + 8 * row, pixel, b, Self.W, pixels, to, self.columns, first
                            )

    def _add(self, task: Int):
        """Adds the parts in order, for one vector of output channels, and turns it into rows of weights."""
        comptime W = Self.W
        var vectors = ceildiv(self.columns, W)
        var group = task // vectors
        var column = task % vectors * W
        var channels = min(W, self.cout - column)
        var step = self.groups * self.depth * self.columns
        var from_ = at[Self.dt](self.sums, group * self.depth * self.columns + column)
        for k in range(0, self.depth, W):
            var r = Array[SIMD[Self.dt, W], W](fill=0)
            comptime for i in range(W):
                if k + i < self.depth:
                    var p = ptr[Self.dt](at[Self.dt](from_, (k + i) * self.columns))
                    var s = p.unsafe_load[width=W](0)
                    for part in range(1, self.parts):
                        s += p.unsafe_load[width=W](part * step)
                    r[i] = s
            transpose[Self.dt, W](r)
            var mask = first_lanes[W](self.depth - k)
            comptime for i in range(W):
                if i < channels:
                    var d = ptr[Self.src](at[Self.src](self.out, (group * self.cout + column + i) * self.depth + k))
                    masked_store[W](r[i].cast[Self.src](), d, mask)
