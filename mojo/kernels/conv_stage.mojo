"""What convolutions read: the geometry of taps along an axis, and images laid out so that every tap is a plain offset.

A convolution is seen as out[t] = sum over taps of w[tap] * staged[t * step + position(tap)] along each axis. `stage`
copies the part of an image that a task needs into scratch memory: padded with zeros, converted to the dtype of the
sums, and split by `position % step`, so that for any stride the pixels of a row lie next to each other.
"""
from std.sys import size_of
from std.sys.intrinsics import PrefetchOptions, masked_load, prefetch

from kernels.gemm_micro import at, first_lanes, ptr, width


@fieldwise_init
struct Image(ImplicitlyCopyable, Movable):
    """A batch of images, or of volumes: address, sizes, strides in elements. A slice is an image of a volume; slices
    are counted through the batch."""

    var data: Int
    var n: Int
    var c: Int
    var h: Int
    var w: Int
    var ns: Int
    var cs: Int
    var hs: Int
    var ws: Int
    var d: Int  # slices of a volume, 1 for images
    var ds: Int

    @always_inline
    def slices(self) -> Int:
        return self.n * self.d

    @always_inline
    def slice_at(self, s: Int) -> Int:
        """The offset of slice s."""
        return s // self.d * self.ns + s % self.d * self.ds


def ceil_div(a: Int, b: Int) -> Int:
    """Rounds up, for negative `a` too."""
    return -((-a) // b)


struct Axis(Copyable, Movable):
    """One spatial axis: `count` results at a distance of `step`, each with the same taps.

    Result t and a tap at position p meet source element t * step + p - before; outside of the source it is zero.
    """

    var size: Int
    var count: Int
    var step: Int
    var before: Int
    var positions: List[Int]
    var slots: List[Int]  # for each tap: which of the residues below its position has
    var residues: List[Int]  # the values of position % step that occur
    var reach: Int  # the largest position // step
    var first: List[Int]  # for each residue: the staged elements [first, last) lie inside of the source
    var last: List[Int]

    def __init__(out self, size: Int, count: Int, step: Int, before: Int, var positions: List[Int]):
        self.size = size
        self.count = count
        self.step = step
        self.before = before
        self.slots = List[Int]()
        self.residues = List[Int]()
        self.first = List[Int]()
        self.last = List[Int]()
        self.reach = 0
        for i in range(len(positions)):
            var residue = positions[i] % step
            var slot = len(self.residues)
            for j in range(len(self.residues)):
                if self.residues[j] == residue:
                    slot = j
            if slot == len(self.residues):
                self.residues.append(residue)
            self.slots.append(slot)
            self.reach = max(self.reach, positions[i] // step)
        self.positions = positions^
        var length = self.length(count)
        for j in range(len(self.residues)):
            var shift = before - self.residues[j]
            var first = max(0, min(length, ceil_div(shift, step)))
            self.first.append(first)
            self.last.append(max(first, min(length, ceil_div(size + shift, step))))

    @staticmethod
    def window(size: Int, count: Int, step: Int, before: Int, kernel: Int, dilation: Int) -> Self:
        """The axis of a plain convolution or pooling."""
        var positions = List[Int]()
        for i in range(kernel):
            positions.append(i * dilation)
        return Self(size, count, step, before, positions^)

    @always_inline
    def length(self, count: Int) -> Int:
        """Staged elements of one residue for `count` neighbouring results."""
        return count + self.reach

    def place(self, tap: Int, length: Int) -> Int:
        """Where the tap of result 0 lies in staged memory with `length` elements a residue."""
        return self.slots[tap] * length + self.positions[tap] // self.step

    def inside(self) -> Bool:
        """No tap ever leaves the source, and the source is used element by element: it needs no staging."""
        return self.step == 1 and self.never_outside()

    def never_outside(self) -> Bool:
        """No tap ever leaves the source."""
        var furthest = 0
        for i in range(len(self.positions)):
            furthest = max(furthest, self.positions[i])
        return self.before <= 0 and (self.count - 1) * self.step + furthest - self.before < self.size


@always_inline
def _fill[dt: DType](d: Int, n: Int, value: Scalar[dt]):
    comptime W = width[dt]()
    for j in range(0, n, W):
        ptr[dt](d).unsafe_store(j, SIMD[dt, W](value))


comptime _FOR_READ = PrefetchOptions().for_read().high_locality().to_data_cache()


@always_inline
def _fetch[src: DType](s: Int, n: Int):
    """Begins to read n elements into the cache; they need not exist."""
    comptime LINE = 64 // size_of[Scalar[src]]()
    for j in range(0, n, LINE):
        prefetch[_FOR_READ](ptr[src](at[src](s, j)))


@always_inline
def copy_run[src: DType, dt: DType](s: Int, step: Int, d: Int, n: Int):
    """Elements at a distance of `step` next to each other; writes whole vectors, so up to one past the end."""
    comptime W = width[dt]()
    var sp = ptr[src](s)
    var dp = ptr[dt](d)
    var j = 0
    if step == 1:
        while j + W <= n:
            dp.unsafe_store(j, sp.unsafe_load[width=W](j).cast[dt]())
            j += W
        if j < n:
            var part = masked_load[W](sp.unsafe_offset(j), first_lanes[W](n - j), SIMD[src, W](0))
            dp.unsafe_store(j, part.cast[dt]())
        return
    if step == 2:
        # The last element of the second vector is not needed and may not exist.
        while j + W < n:
            var pair = sp.unsafe_load[width=2 * W](2 * j).deinterleave()
            dp.unsafe_store(j, pair[0].cast[dt]())
            j += W
        if j < n:
            var inside = first_lanes[2 * W](2 * (n - j) - 1)
            var pair = masked_load[2 * W](sp.unsafe_offset(2 * j), inside, SIMD[src, 2 * W](0)).deinterleave()
            dp.unsafe_store(j, pair[0].cast[dt]())
        return
    while j < n:
        dp[unsafe_offset=j] = sp[unsafe_offset=j * step].cast[dt]()
        j += 1


@always_inline
def _part[
    src: DType, dt: DType
](s: Int, inside: SIMD[DType.bool, width[dt]()], outside: Scalar[dt]) -> SIMD[dt, width[dt]()]:
    """A vector of which only some lanes exist, and `outside` for the rest."""
    comptime W = width[dt]()
    comptime if src == dt:
        return masked_load[W](ptr[dt](s), inside, SIMD[dt, W](outside))
    else:
        var v = masked_load[W](ptr[src](s), inside, SIMD[src, W](0)).cast[dt]()
        return inside.select(v, SIMD[dt, W](outside))


@always_inline
def _rows[
    src: DType, dt: DType, nv: Int
](s: Int, step: Int, d: Int, count: Int, length: Int, first: Int, last: Int, outside: Scalar[dt], next: Int):
    """Rows of nv vectors at most: the elements [first, last) of each exist. The same rows `next` elements further on are
    fetched meanwhile."""
    comptime W = width[dt]()
    var inside = Array[SIMD[DType.bool, W], nv](uninitialized=True)
    comptime for v in range(nv):
        inside[v] = first_lanes[W](last - v * W) & ~first_lanes[W](first - v * W)
    var from_ = s
    var to = ptr[dt](d)
    for _ in range(count):
        _fetch[src](at[src](from_, next), length)
        comptime for v in range(nv):
            to.unsafe_store(v * W, _part[src, dt](at[src](from_, v * W), inside[v], outside))
        from_ = at[src](from_, step)
        to = to.unsafe_offset(length)


@always_inline
def _long_rows[
    src: DType, dt: DType
](s: Int, step: Int, d: Int, count: Int, length: Int, first: Int, last: Int, outside: Scalar[dt], next: Int):
    comptime W = width[dt]()
    for i in range(count):
        var from_ = at[src](s, i * step)
        _fetch[src](at[src](from_, next), length)
        var to = ptr[dt](at[dt](d, i * length))
        for j in range(0, length, W):
            if j >= first and j + W <= last:
                to.unsafe_store(j, ptr[src](from_).unsafe_load[width=W](j).cast[dt]())
            else:
                var inside = first_lanes[W](last - j) & ~first_lanes[W](first - j)
                to.unsafe_store(j, _part[src, dt](at[src](from_, j), inside, outside))


@always_inline
def _stage_plain[
    src: DType, dt: DType
](
    image: Image,
    n: Int,
    channel: Int,
    channels: Int,
    rows: Axis,
    first_row: Int,
    height: Int,
    cols: Axis,
    to: Int,
    outside: Scalar[dt],
):
    """`stage` without strides: a row is copied by vectors whose first and last lanes may lie outside."""
    comptime W = width[dt]()
    var length = cols.length(cols.count)
    var first = cols.first[0]
    var last = cols.last[0]
    var y0 = first_row - rows.before
    # Rows [top, bottom) of the staged ones lie inside of the image.
    var top = max(0, min(height, -y0))
    var bottom = max(top, min(height, rows.size - y0))
    var d = to
    for c in range(channel, channel + channels):
        var plane = at[src](image.data, n * image.ns + c * image.cs)
        _fill[dt](d, top * length, outside)
        d = at[dt](d, top * length)
        var s = at[src](plane, (y0 + top) * image.hs - cols.before)
        if length <= W:
            _rows[src, dt, 1](s, image.hs, d, bottom - top, length, first, last, outside, image.cs)
        elif length <= 2 * W:
            _rows[src, dt, 2](s, image.hs, d, bottom - top, length, first, last, outside, image.cs)
        else:
            _long_rows[src, dt](s, image.hs, d, bottom - top, length, first, last, outside, image.cs)
        d = at[dt](d, (bottom - top) * length)
        _fill[dt](d, (height - bottom) * length, outside)
        d = at[dt](d, (height - bottom) * length)


@always_inline
def _stage_pairs[
    src: DType, dt: DType
](
    image: Image,
    n: Int,
    channel: Int,
    channels: Int,
    rows: Axis,
    first_row: Int,
    height: Int,
    cols: Axis,
    to: Int,
    outside: Scalar[dt],
):
    """`stage` of every second pixel of rows of at most a vector: one read of two vectors gives both residues."""
    comptime W = width[dt]()
    var length = cols.length(cols.count)
    var inside = first_lanes[2 * W](cols.size + cols.before) & ~first_lanes[2 * W](cols.before)
    inside &= first_lanes[2 * W](2 * length)
    var fill = SIMD[src, 2 * W](outside.cast[src]())
    var odd_first = cols.residues[0] == 1
    var both = len(cols.residues) == 2
    var d = to
    for c in range(channel, channel + channels):
        var plane = at[src](image.data, n * image.ns + c * image.cs - cols.before)
        for slot in range(len(rows.residues)):
            for i in range(height):
                var y = (first_row + i) * rows.step + rows.residues[slot] - rows.before
                var even = SIMD[src, W](outside.cast[src]())
                var odd = even
                if y >= 0 and y < rows.size:
                    var line = at[src](plane, y * image.hs)
                    _fetch[src](at[src](line, image.cs), 2 * length)
                    var pair = masked_load[2 * W](ptr[src](line), inside, fill).deinterleave()
                    even = rebind[SIMD[src, W]](pair[0])
                    odd = rebind[SIMD[src, W]](pair[1])
                var p = ptr[dt](d)
                p.unsafe_store(0, (odd if odd_first else even).cast[dt]())
                if both:
                    p.unsafe_store(length, (even if odd_first else odd).cast[dt]())
                d = at[dt](d, len(cols.residues) * length)


@no_inline
def stage[
    src: DType, dt: DType
](
    image: Image,
    n: Int,
    channel: Int,
    channels: Int,
    rows: Axis,
    first_row: Int,
    height: Int,
    cols: Axis,
    to: Int,
    outside: Scalar[dt] = 0,
):
    """Lays out some channels of image n for the results from row `first_row` on.

    The order in memory is (channel, residue of the row, row, residue of the column, column), with `height` rows and
    `cols.length(cols.count)` columns of each residue. Up to one vector past the end is written. Elements outside of
    the image are `outside`.
    """
    if rows.step == 1 and cols.step == 1 and image.ws == 1:
        _stage_plain[src, dt](image, n, channel, channels, rows, first_row, height, cols, to, outside)
        return
    var length = cols.length(cols.count)
    if cols.step == 2 and image.ws == 1 and length <= width[dt]() and cols.before >= 0:
        _stage_pairs[src, dt](image, n, channel, channels, rows, first_row, height, cols, to, outside)
        return
    var d = to
    for c in range(channel, channel + channels):
        var plane = at[src](image.data, n * image.ns + c * image.cs)
        for slot in range(len(rows.residues)):
            for i in range(height):
                var y = (first_row + i) * rows.step + rows.residues[slot] - rows.before
                if y < 0 or y >= rows.size:
                    _fill[dt](d, len(cols.residues) * length, outside)
                    d = at[dt](d, len(cols.residues) * length)
                    continue
                var line = at[src](plane, y * image.hs)
                if slot == 0 or rows.step > 1:
                    _fetch[src](at[src](line, image.cs), cols.size * image.ws)
                for s in range(len(cols.residues)):
                    var first = cols.first[s]
                    var last = cols.last[s]
                    _fill[dt](d, first, outside)
                    var x = first * cols.step + cols.residues[s] - cols.before
                    copy_run[src, dt](at[src](line, x * image.ws), cols.step * image.ws, at[dt](d, first), last - first)
                    _fill[dt](at[dt](d, last), length - last, outside)
                    d = at[dt](d, length)


def one_slice() -> Axis:
    """The axis of the slices of images: there is one."""
    return Axis.window(1, 1, 1, 0, 1, 1)


@no_inline
def stage_slices[
    src: DType, dt: DType
](
    image: Image,
    s: Int,
    channel: Int,
    channels: Int,
    slabs: Axis,
    rows: Axis,
    first_row: Int,
    height: Int,
    cols: Axis,
    to: Int,
):
    """`stage` for slice s of the results: of each channel all slices that the taps along the depth meet."""
    var n = s // slabs.count
    if slabs.size == 1 and len(slabs.positions) == 1 and slabs.before == 0:
        stage[src, dt](image, n, channel, channels, rows, first_row, height, cols, to)
        return
    var size = len(rows.residues) * height * len(cols.residues) * cols.length(cols.count)
    var z0 = s % slabs.count * slabs.step - slabs.before
    var d = to
    for c in range(channel, channel + channels):
        for i in range(len(slabs.positions)):
            var z = z0 + slabs.positions[i]
            if z < 0 or z >= slabs.size:
                _fill[dt](d, size, 0)
            else:
                var slice = image
                slice.data = at[src](image.data, z * image.ds)
                stage[src, dt](slice, n, c, 1, rows, first_row, height, cols, d)
            d = at[dt](d, size)
