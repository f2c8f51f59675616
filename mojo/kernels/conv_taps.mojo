"""Convolution as a matrix product that never builds its matrix: weights times the pixels under each tap.

The depth of the product runs over (input channel, tap). A task stages its part of the input. Where the depth is great,
the vectors are output channels: a tile broadcasts neighbouring pixels from where they lie, and the sums are turned into
planes at the end. Else the vectors are output pixels: those under 2 vectors of columns are gathered, for a block of the
depth, into a panel that stays in the L1 cache, and multiplied with panels of packed weights. No more than a few panels
exist at a time.
"""
from std.sys import size_of

from kernels.conv_stage import Axis, Image, stage_slices
from kernels.conv_tiles import Segments, Spot, gather_panel, pixel_row, store_run, tile_rows, turn_pixels
from kernels.gemm_micro import MR, Mat, acc_dtype, at, ptr, width
from kernels.gemm_pack import pack
from kernels.gemm_tiles import ceildiv
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime DEPTH = 288
"""Depth of a block: a panel of pixels (DEPTH x NR) stays in the L1 cache."""

comptime STAGED_BYTES = 512 << 10
"""About how much staged input a task may have; it is to stay in the L2 cache."""

comptime WEIGHT_BYTES = 256 << 10
"""Packed weights above this are read once for several panels of pixels."""

comptime GATHER_ROWS = 4
"""Gathering a panel costs as much time as this many rows of the product."""

comptime GROUP_PANELS = 6
"""Panels that are multiplied with the same panel of weights before the next one is read."""

comptime TASK_PIXELS = 512

comptime LONG_ROW = 1024

comptime SERIAL_WORK = 1 << 17
"""Multiply-adds below which a second thread costs more than it gives."""

comptime PIXEL_SUMS = 1024
"""Pixels, at most, of which a task keeps the sums of two vectors of output channels: they stay in the L2 cache."""

comptime PIXEL_DEPTH = 256
"""Depth from which on it pays to turn the sums of channel vectors into planes."""


@fieldwise_init
struct Filter(Copyable, Movable):
    """Weights: element (group, row, channel, tap) is at g * gs + row * rs + channel * cs + taps[tap]."""

    var data: Int
    var gs: Int
    var rs: Int
    var cs: Int
    var taps: List[Int]

    def in_order(self) -> Bool:
        """Whether the taps of a channel follow each other in memory."""
        for i in range(len(self.taps)):
            if self.taps[i] != i:
                return False
        return True

    def dense(self) -> Bool:
        """Whether (channel, tap) does."""
        return self.in_order() and self.cs == len(self.taps)


def _long_rows(pixels: Int, vector: Int) -> Int:
    """A length of rows that a plane can be cut into: all of it or some whole vectors; 0 if there is none."""
    if pixels <= LONG_ROW:
        return pixels
    for n in range(2, pixels // vector):
        if pixels % n == 0 and pixels // n % vector == 0 and pixels // n <= LONG_ROW:
            return pixels // n
    return 0


def _recut(image: Image, size: Int) -> Image:
    var cut = image
    cut.h = image.h * image.w // size
    cut.w = size
    cut.hs = size
    return cut


struct TapConv[src: DType](Body):
    """A convolution that is ready to run. A task is (part of the pixels, group, part of the output channels)."""

    comptime dt = acc_dtype[Self.src]()
    comptime NR = 2 * width[Self.dt]()
    comptime SIZE = size_of[Scalar[Self.dt]]()

    var x: Image
    var slabs: Axis
    var rows: Axis
    var cols: Axis
    var groups: Int
    var cin: Int  # channels of a group
    var cout: Int
    var filter: Filter
    var out: Image
    var bias: Int  # address of the biases in the dtype of the sums, or 0
    var depth: Int
    var kc: Int
    var offsets: List[Int]  # of each (channel, tap), in elements of the staged input
    # layout of the input: staged, or the tensor itself
    var in_place: Bool
    var wide: Bool  # the vectors are output channels
    var direct: Bool  # vectors of pixels are read where they lie, not gathered into panels
    var height: Int
    var pitch: Int
    var plane: Int
    var image: Int
    # tasks
    var images: Int
    var band: Int
    var bands: Int
    var blocks: Int
    var group_panels: Int  # panels of pixels that are gathered at a time
    # scratch memory
    var weights: Int
    var scratch: Int
    var worker_bytes: Int
    var packing: Bool
    var starts: List[Int]  # the first row of each panel of rows, and the end
    var chunks: Int  # vectors of a row of results

    def __init__(
        out self,
        x: Image,
        var slabs: Axis,
        var rows: Axis,
        var cols: Axis,
        groups: Int,
        cin: Int,
        cout: Int,
        var filter: Filter,
        out_image: Image,
    ):
        self.x = x
        self.groups = groups
        self.cin = cin
        self.cout = cout
        self.out = out_image
        self.bias = 0
        self.depth = cin * len(filter.taps)
        self.kc = max(1, ceildiv(self.depth, max(1, ceildiv(self.depth, DEPTH))))
        var taps = max(1, len(filter.taps))
        if taps < DEPTH:
            self.kc = ceildiv(self.kc, taps) * taps
        self.filter = filter^
        self.in_place = (
            Self.src == Self.dt and x.ws == 1 and rows.inside() and cols.inside() and slabs.never_outside()
            and x.hs >= 0 and x.cs >= 0
        )  # fmt: skip
        if self.in_place and self.depth == cin and rows.count == x.h and cols.count == x.w and x.hs == x.w:
            var size = _long_rows(x.h * x.w, width[Self.dt]())
            if size > x.w and out_image.hs == out_image.w and out_image.ws == 1:
                # Nothing but whole planes is read: any cut into rows will do.
                self.x = _recut(x, size)
                self.out = _recut(out_image, size)
                rows = Axis.window(self.x.h, self.x.h, 1, 0, 1, 1)
                cols = Axis.window(size, size, 1, 0, 1, 1)
        var nt = num_threads()
        self.band = rows.count
        self.direct = False
        self.height = 0
        self.pitch = 0
        self.plane = 0
        self.image = 0
        self.images = 1
        self.blocks = 1
        self.bands = 1
        self.group_panels = 1
        self.weights = 0
        self.scratch = 0
        self.worker_bytes = 0
        self.packing = False
        self.chunks = 1
        self.wide = False
        comptime if Self.dt.is_floating_point():
            # Little waste in the last vector, rows that fill tiles. Rows of whole vectors of pixels need no gathering;
            # then it is only weights beyond the cache that are better read for many pixels.
            comptime W = width[Self.dt]()
            var lanes = ceildiv(cout, W) * W
            var full = lanes * 16 <= cout * 17 and lanes >= Self.NR and 2 * cols.count >= MR
            var gathers = cols.count % W != 0 or cout * self.depth * Self.SIZE > 4 * WEIGHT_BYTES
            self.wide = full and gathers and len(self.filter.taps) > 1 and self.depth >= PIXEL_DEPTH
        # Panels of rows differ by one row at most, so that none is much shorter than the kernel likes.
        var panels = ceildiv(cout, Self.NR if self.wide else MR)
        self.starts = List[Int](capacity=panels + 1)
        for t in range(panels + 1):
            self.starts.append(min(t * Self.NR, cout) if self.wide else t * (cout // panels) + min(t, cout % panels))
        self.offsets = List[Int](capacity=self.depth)
        self.slabs = slabs^
        self.rows = rows^
        self.cols = cols^
        self._split(nt)
        self._layout()

    def _split(mut self, nt: Int):
        """Chooses the tasks: enough of them for the threads, not more staged input than fits the cache."""
        var line = self.cols.length(self.cols.count) * len(self.cols.residues)
        line *= len(self.rows.residues) * len(self.slabs.positions)
        var row_bytes = 0 if self.in_place else self.cin * line * Self.SIZE
        var slices = self.out.slices()
        var few = slices * self.groups
        while self.band * self.cols.count > 4 * Self.NR and self.band > 1:
            var bands = ceildiv(self.rows.count, self.band)
            var fits = self.rows.length(self.band) * row_bytes <= STAGED_BYTES
            if few * bands >= 4 * nt and fits and (not self.wide or self.band * self.cols.count <= PIXEL_SUMS):
                break
            self.band = ceildiv(self.band, 2)
        self.bands = ceildiv(self.rows.count, self.band)
        self.band = ceildiv(self.rows.count, self.bands)
        if self.bands == 1:
            var pixels = self.rows.count * self.cols.count
            var most = max(1, TASK_PIXELS // max(1, pixels))
            # Weights that no cache holds are read once for each part of the pixels: better few parts of them, and
            # the threads share the rows.
            var heavy = self.cout * self.depth * Self.SIZE > 4 * WEIGHT_BYTES
            if row_bytes > 0:
                var room = 4 * STAGED_BYTES if heavy else STAGED_BYTES
                most = min(most, room // (self.rows.length(self.band) * row_bytes))
            self.images = max(1, min(most, slices if heavy else slices * self.groups // (4 * nt)))
            if self.in_place and self.x.d > 1:
                self.images = 1  # slices are not all the same distance apart
        var tasks = ceildiv(slices, self.images) * self.bands * self.groups
        var panels = len(self.starts) - 1
        if tasks < 4 * nt:
            self.blocks = max(1, min(panels, 4 * nt // max(1, tasks)))
        if self.cout * self.depth * Self.SIZE > WEIGHT_BYTES:
            self.group_panels = GROUP_PANELS

    def _layout(mut self):
        if self.in_place:
            self.pitch = self.x.hs
            self.plane = self.x.cs
            self.image = self.x.ns
        else:
            self.height = self.rows.length(self.band)
            self.pitch = self.cols.length(self.cols.count) * len(self.cols.residues)
            self.plane = len(self.slabs.positions) * len(self.rows.residues) * self.height * self.pitch
            self.image = self.cin * self.plane
        # What the last vector of a row has beyond its end is multiplied in vain; gathering the pixels into full
        # vectors costs as much as a few rows of the product. A tensor that is used in place must not be read past it.
        comptime W = width[Self.dt]()
        var lanes = ceildiv(self.cols.count, W) * W
        var waste = lanes - self.cols.count
        self.direct = waste * self.cout <= lanes * GATHER_ROWS and (not self.in_place or waste == 0)
        self.chunks = lanes // W
        if self.direct:
            self.group_panels = GROUP_PANELS
        var slabs = len(self.slabs.positions)
        for c in range(self.cin):
            for z in range(slabs):
                var start = c * self.plane
                start += self.slabs.positions[z] * self.x.ds if self.in_place else z * (self.plane // slabs)
                for i in range(len(self.rows.positions)):
                    for j in range(len(self.cols.positions)):
                        var row = self.rows.place(i, self.height)
                        var col = self.cols.place(j, self.cols.length(self.cols.count))
                        self.offsets.append(start + row * self.pitch + col)

    @always_inline
    def panel_rows(self, t: Int) -> Int:
        """The first output channel of panel t."""
        return self.starts.unsafe_ptr()[unsafe_offset=t]

    def go(mut self, bias: Int, bias_step: Int) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var panels = len(self.starts) - 1
        var weight_bytes = self.groups * self.depth * panels * (Self.NR if self.wide else MR) * Self.SIZE
        var bias_bytes = ceildiv(self.groups * self.cout * Self.SIZE, 64) * 64
        var nt = num_threads()
        var staged = 0 if self.in_place else (self.images * self.image + 2 * Self.NR) * Self.SIZE
        var panel = 0 if self.direct else (self.kc + 1) * Self.NR * Self.SIZE
        var block_rows = ceildiv(panels, self.blocks) * MR
        self.worker_bytes = ceildiv(staged, 64) * 64
        if self.wide:
            self.worker_bytes += (self.images * self.band * self.cols.count + Self.NR) * Self.NR * Self.SIZE
        else:
            self.worker_bytes += self.group_panels * (panel + block_rows * Self.NR * Self.SIZE)
        self.worker_bytes = ceildiv(self.worker_bytes + 64, 4096) * 4096 + 64
        var ws = Workspace.take(weight_bytes + bias_bytes + nt * self.worker_bytes)
        if ws.address == 0:
            return False
        self.weights = ws.address
        self.scratch = ws.address + weight_bytes + bias_bytes
        if bias != 0:
            self.bias = ws.address + weight_bytes
            for i in range(self.groups * self.cout):
                var b = ptr[Self.src](bias)[unsafe_offset=i * bias_step]
                ptr[Self.dt](self.bias)[unsafe_offset=i] = b.cast[Self.dt]()
        var work = self.out.slices() * self.rows.count * self.cols.count * self.groups * self.cout * self.depth
        var workers = 1 if work < SERIAL_WORK else nt
        self.packing = True
        parallel(self, self.groups * panels, workers if self.cout * self.groups * self.depth > 16384 else 1)
        self.packing = False
        var tasks = ceildiv(self.out.slices(), self.images) * self.bands * self.groups * self.blocks
        parallel(self, tasks, workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        if self.packing and self.wide:
            self._pack_weights[Self.NR](task)
        elif self.packing:
            self._pack_weights[MR](task)
        else:
            self._multiply(task, self.scratch + worker * self.worker_bytes)

    def _pack_weights[panel: Int](self, task: Int):
        """Packs one panel of output channels of one group, every block of the depth."""
        var panels = len(self.starts) - 1
        var g = task // panels
        var t = task % panels
        var row = self.panel_rows(t)
        var count = self.panel_rows(t + 1) - row
        var from_ = at[Self.src](self.filter.data, g * self.filter.gs + row * self.filter.rs)
        var dense = self.filter.dense()
        var taps = len(self.filter.taps)
        for k0 in range(0, self.depth, self.kc):
            var kc = min(self.kc, self.depth - k0)
            var to = at[Self.dt](self.weights, ((g * self.depth + k0) * panels + t * kc) * panel)
            if dense:
                pack[Self.src, Self.dt, panel](Mat(at[Self.src](from_, k0), self.filter.rs, 1), count, kc, to)
                continue
            if taps == 1:
                var start = at[Self.src](from_, k0 * self.filter.cs + self.filter.taps[0])
                var m = Mat(start, self.filter.rs, self.filter.cs)
                pack[Self.src, Self.dt, panel](m, count, kc, to)
                continue
            if self.filter.in_order() and self.kc % taps == 0:
                for c in range(kc // taps):
                    var m = Mat(at[Self.src](from_, (k0 // taps + c) * self.filter.cs), self.filter.rs, 1)
                    pack[Self.src, Self.dt, panel](m, count, taps, at[Self.dt](to, c * taps * panel))
                continue
            var s = ptr[Self.src](from_)
            var d = ptr[Self.dt](to)
            var c = k0 // taps
            var tap = k0 % taps
            for k in range(kc):
                var p = s.unsafe_offset(c * self.filter.cs + self.filter.taps[tap])
                for i in range(count):
                    d[unsafe_offset=k * panel + i] = p[unsafe_offset=i * self.filter.rs].cast[Self.dt]()
                tap += 1
                if tap == taps:
                    tap = 0
                    c += 1

    @always_inline
    def _target(self, n0: Int, n: Int) -> Int:
        """From slice n0 of the output to slice n0 + n."""
        if self.out.d == 1:
            return n * self.out.ns
        return self.out.slice_at(n0 + n) - self.out.slice_at(n0)

    def _segments(self, first: Int, lanes: Int, n0: Int, image_rows: Int, mut segments: Segments):
        """Cuts the pixels [first, first + lanes) of a task into runs of at most a vector."""
        comptime W = width[Self.dt]()
        var line = self.cols.count
        var n = first // (image_rows * line)
        var rest = first % (image_rows * line)
        var row = rest // line
        var col = rest % line
        var lane = 0
        var i = 0
        segments.joined = self.out.ws == 1
        while lane < lanes:
            var length = min(line - col, min(lanes - lane, W))
            segments.source[i] = n * self.image + row * self.pitch + col
            segments.target[i] = self._target(n0, n) + row * self.out.hs + col * self.out.ws
            segments.lane[i] = lane
            segments.length[i] = length
            segments.joined = segments.joined and segments.target[i] == segments.target[0] + lane
            lane += length
            col += length
            i += 1
            if col == line:
                col = 0
                row += 1
                if row == image_rows:
                    row = 0
                    n += 1
        segments.count = i

    def _multiply(self, task: Int, space: Int):
        var block = task % self.blocks
        var g = task // self.blocks % self.groups
        var part = task // self.blocks // self.groups
        var n = part // self.bands * self.images
        var images = min(self.images, self.out.slices() - n)
        var row = part % self.bands * self.band
        var rows = min(self.band, self.rows.count - row)
        var staged = 0 if self.in_place else (self.images * self.image + 2 * Self.NR) * Self.SIZE
        var panels = space + ceildiv(staged, 64) * 64
        var sums = panels if self.direct else panels + self.group_panels * (self.kc + 1) * Self.NR * Self.SIZE
        var base = space
        if self.in_place:
            var z = n % self.slabs.count * self.slabs.step - self.slabs.before
            base = at[Self.dt](
                self.x.data,
                n // self.slabs.count * self.x.ns
                + z * self.x.ds
                + g * self.cin * self.x.cs
                + (row - self.rows.before) * self.x.hs
                - self.cols.before,
            )
        else:
            for i in range(images):
                stage_slices[Self.src, Self.dt](
                    self.x,
                    n + i,
                    g * self.cin,
                    self.cin,
                    self.slabs,
                    self.rows,
                    row,
                    self.height,
                    self.cols,
                    at[Self.dt](space, i * self.image),
                )
        var target = at[Self.src](self.out.data, self.out.slice_at(n) + g * self.cout * self.out.cs + row * self.out.hs)
        if self.wide:
            self._by_pixels(g, block, n, images, rows, base, panels, target)
            return
        if not self.direct:
            var pixels = images * rows * self.cols.count
            var count = ceildiv(pixels, Self.NR)
            var step = ceildiv(count, ceildiv(count, self.group_panels)) * Self.NR
            for first in range(0, pixels, step):
                self._panels[False](g, block, first, pixels, n, rows, base, panels, sums, target)
            return
        var vectors = images * rows * ceildiv(self.cols.count, width[Self.dt]())
        for first in range(0, vectors, 2 * self.group_panels):
            self._panels[True](g, block, first, vectors, n, rows, base, panels, sums, target)

    def _by_pixels(self, g: Int, block: Int, n0: Int, images: Int, rows: Int, base: Int, sums: Int, target: Int):
        """One block of output channels, panel by panel, for all pixels of a task."""
        comptime NR = Self.NR
        comptime W = width[Self.dt]()
        var panels = len(self.starts) - 1
        var line = self.cols.count
        var joined = self.out.hs == line * self.out.ws
        var run = rows * line if joined else line
        for t in range(panels * block // self.blocks, panels * (block + 1) // self.blocks):
            var channel = self.panel_rows(t)
            var channels = self.panel_rows(t + 1) - channel
            for k0 in range(0, self.depth, self.kc):
                var kc = min(self.kc, self.depth - k0)
                var offsets = Int(self.offsets.unsafe_ptr()) + k0 * 8
                var b = at[Self.dt](self.weights, ((g * self.depth + k0) * panels + t * kc) * NR)
                for i in range(images):
                    for r in range(rows):
                        var x = at[Self.dt](base, i * self.image + r * self.pitch)
                        var c = at[Self.dt](sums, (i * rows + r) * line * NR)
                        if channels > W:
                            pixel_row[Self.dt, 2](x, line, offsets, kc, b, c, k0 == 0)
                        else:
                            pixel_row[Self.dt, 1](x, line, offsets, kc, b, c, k0 == 0)
            for v in range(0, channels, W):
                var bias = at[Self.dt](self.bias, g * self.cout + channel + v) if self.bias != 0 else 0
                for i in range(images):
                    for r in range(0, rows, rows if joined else 1):
                        var place = self._target(n0, i) + (channel + v) * self.out.cs + r * self.out.hs
                        turn_pixels[Self.src, Self.dt](
                            at[Self.dt](sums, (i * rows + r) * line * NR + v),
                            run,
                            min(W, channels - v),
                            at[Self.src](target, place),
                            self.out.ws,
                            self.out.cs,
                            bias,
                        )

    def _vector(self, index: Int, n0: Int, image_rows: Int) -> Tuple[Int, Int, Int]:
        """Vector `index` of a task that uses the staged rows as they are: offsets in input and output, its pixels."""
        comptime W = width[Self.dt]()
        var row = index
        if self.chunks > 1:
            row = index // self.chunks
        var col = (index - row * self.chunks) * W
        var n = 0
        if row >= image_rows:
            n = row // image_rows
            row -= n * image_rows
        return (
            n * self.image + row * self.pitch + col,
            self._target(n0, n) + row * self.out.hs + col * self.out.ws,
            min(W, self.cols.count - col),
        )

    def _panels[
        direct: Bool
    ](
        self,
        g: Int,
        block: Int,
        first: Int,
        end: Int,
        n0: Int,
        image_rows: Int,
        base: Int,
        panels: Int,
        sums: Int,
        target: Int,
    ):
        """All of the depth for a few panels and one block of rows, from pixel (`direct`: vector) `first` on."""
        comptime NR = Self.NR
        comptime W = width[Self.dt]()
        comptime STEP = 2 if direct else NR
        var row_panels = len(self.starts) - 1
        var t0 = row_panels * block // self.blocks
        var t1 = row_panels * (block + 1) // self.blocks
        var row0 = self.panel_rows(t0)
        var sum_size = ceildiv(row_panels, self.blocks) * MR * NR
        var count = min(self.group_panels, ceildiv(end - first, STEP))
        var segments = Segments()
        var spots = Array[Spot, GROUP_PANELS](uninitialized=True)
        var written = Array[Bool, GROUP_PANELS](fill=False)  # panels whose sums go to the output at once
        for q in range(count):
            var spot = Spot(0, 0, 0, 0, 0, 0)
            comptime if direct:
                var v = self._vector(first + 2 * q, n0, image_rows)
                spot.b0 = at[Self.dt](base, v[0])
                spot.c0 = v[1]
                spot.lanes0 = v[2]
                if first + 2 * q + 1 < end:
                    v = self._vector(first + 2 * q + 1, n0, image_rows)
                    spot.b1 = at[Self.dt](base, v[0])
                    spot.c1 = v[1]
                    spot.lanes1 = v[2]
                written[q] = Self.src == Self.dt and self.out.ws == 1
            else:
                var lanes = min(NR, end - first - q * NR)
                self._segments(first + q * NR, lanes, n0, image_rows, segments)
                spot.b0 = at[Self.dt](panels, q * (self.kc + 1) * NR)
                spot.b1 = at[Self.dt](spot.b0, W)
                spot.c0 = segments.target[0]
                spot.c1 = spot.c0 + W
                spot.lanes0 = min(lanes, W)
                spot.lanes1 = max(0, lanes - W)
                written[q] = Self.src == Self.dt and segments.joined
            if written[q]:
                spot.c0 = at[Self.dt](target, spot.c0)
                spot.c1 = at[Self.dt](target, spot.c1)
            else:
                spot.c0 = at[Self.dt](sums, q * sum_size - row0 * NR)
                spot.c1 = at[Self.dt](spot.c0, W)
            spots[q] = spot
        for k0 in range(0, self.depth, self.kc):
            var kc = min(self.kc, self.depth - k0)
            var offsets = Int(self.offsets.unsafe_ptr()) + k0 * 8
            comptime if not direct:
                for q in range(count):
                    if k0 > 0 or count > 1:
                        self._segments(first + q * NR, min(NR, end - first - q * NR), n0, image_rows, segments)
                    if self.in_place:
                        gather_panel[Self.dt, True](base, offsets, kc, segments, spots[q].b0)
                    else:
                        gather_panel[Self.dt, False](base, offsets, kc, segments, spots[q].b0)
            for t in range(t0, t1):
                var row = self.panel_rows(t)
                var mr = self.panel_rows(t + 1) - row
                var a = at[Self.dt](self.weights, ((g * self.depth + k0) * row_panels + t * kc) * MR)
                var bias = at[Self.dt](self.bias, g * self.cout + row) if self.bias != 0 else 0
                for q in range(count):
                    var spot = spots[q]
                    var crs = self.out.cs if written[q] else NR
                    spot.c0 = at[Self.dt](spot.c0, row * crs)
                    spot.c1 = at[Self.dt](spot.c1, row * crs)
                    tile_rows[Self.dt, direct](mr, a, spot, offsets, kc, crs, bias, k0 == 0)
        for q in range(count):
            if written[q]:
                continue
            comptime if direct:
                segments.count = 0
                for v in range(first + 2 * q, min(first + 2 * q + 2, end)):
                    var at_ = self._vector(v, n0, image_rows)
                    segments.target[segments.count] = at_[1]
                    segments.lane[segments.count] = segments.count * W
                    segments.length[segments.count] = at_[2]
                    segments.count += 1
            else:
                self._segments(first + q * NR, min(NR, end - first - q * NR), n0, image_rows, segments)
            self._write(at[Self.dt](sums, q * sum_size), row0, self.panel_rows(t1), segments, target)

    def _write(self, sums: Int, row0: Int, row1: Int, segments: Segments, target: Int):
        """Writes rows of sums to where their pixels are in the output."""
        for row in range(row0, row1):
            var s = at[Self.dt](sums, (row - row0) * Self.NR)
            for i in range(segments.count):
                store_run[Self.src, Self.dt](
                    at[Self.dt](s, segments.lane[i]),
                    at[Self.src](target, row * self.out.cs + segments.target[i]),
                    self.out.ws,
                    segments.length[i],
                )
