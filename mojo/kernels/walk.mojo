"""The loop of all indexing: elements of one tensor, picked by indices along a dimension, against those of another.

Three tensors are walked together: `a`, the one that is indexed, `b`, the values taken from or put into it, and the
indices. Their layouts are strides over one shape, so that broadcasting (an index vector against whole rows) and any
strides are the same loop; a run along which the index stays and both sides are contiguous is a block copy or a vector
addition. Values move as bits, by element size; only additions know the dtype.

Tasks cut a dimension other than the indexed one when elements are written by index: elements with the same index are
handled in order by one task, so that sums do not depend on the number of threads.
"""

from std.math import ceildiv
from std.sys.info import simd_width_of, size_of
from tensor.dtype import dtype_of
from tensor.layout import Dims, no_dims
from tensor.memory import at, load, memcpy
from tensor.py import release_gil, take_gil
from tensor.threads import Body, num_threads, parallel
from kernels.functor import compute

comptime TAKE = 0  # b = a[index]
comptime PUT = 1  # a[index] = b
comptime ADD = 2  # a[index] += factor * b

comptime SMALL = 16384  # elements below which one thread does it


@fieldwise_init
struct Span3(Copyable):
    """Addresses and layouts of a walk: what every kind of it shares, and what an accelerator is handed."""

    var a: Int
    var b: Int
    var index: Int  # int64
    var step: Int  # of `a` along the indexed dimension
    var limit: Int  # its size there, for accelerators, which check the indices themselves
    var shape: Dims
    var sa: Dims  # 0 in the indexed dimension
    var sb: Dims
    var si: Dims
    var ndim: Int
    var dim: Int  # the indexed dimension, -1 when merging has removed it
    var factor: Float64  # of ADD
    var factor_im: Float64
    var split: Int
    var per_task: Int

    def __init__(out self, a: Int, b: Int, index: Int, step: Int, dim: Int):
        self.a = a
        self.b = b
        self.index = index
        self.step = step
        self.limit = Int.MAX
        self.shape = no_dims()
        self.sa = no_dims()
        self.sb = no_dims()
        self.si = no_dims()
        self.ndim = 0
        self.dim = dim
        self.factor = 1
        self.factor_im = 0
        self.split = 0
        self.per_task = 0

    def add_dim(mut self, size: Int, sa: Int, sb: Int, si: Int):
        """One more dimension, inside of those before."""
        var n = self.ndim
        self.shape[n] = size
        self.sa[n] = 0 if n == self.dim else sa
        self.sb[n] = sb
        self.si[n] = si
        self.ndim = n + 1

    def merge(mut self):
        """Drops dimensions of size 1 and joins neighbours that all three layouts walk as one; at least two remain."""
        var n = 0
        var dim = -1
        for i in range(self.ndim):
            if self.shape[i] == 1:
                continue
            var is_dim = i == self.dim
            if n > 0 and not is_dim and dim != n - 1:
                var k = n - 1
                var size = self.shape[i]
                if (
                    self.sa[k] == self.sa[i] * size
                    and self.sb[k] == self.sb[i] * size
                    and self.si[k] == self.si[i] * size
                ):
                    self.shape[k] *= size
                    self.sa[k] = self.sa[i]
                    self.sb[k] = self.sb[i]
                    self.si[k] = self.si[i]
                    continue
            if is_dim:
                dim = n
            self.shape[n] = self.shape[i]
            self.sa[n] = self.sa[i]
            self.sb[n] = self.sb[i]
            self.si[n] = self.si[i]
            n += 1
        var pad = max(2 - n, 0)
        if pad > 0:
            for j in range(n):
                var i = n - 1 - j
                self.shape[i + pad] = self.shape[i]
                self.sa[i + pad] = self.sa[i]
                self.sb[i + pad] = self.sb[i]
                self.si[i + pad] = self.si[i]
            for i in range(pad):
                self.shape[i] = 1
                self.sa[i] = 0
                self.sb[i] = 0
                self.si[i] = 0
            if dim >= 0:
                dim += pad
            n = 2
        self.ndim = n
        self.dim = dim

    def count(self) -> Int:
        var n = 1
        for i in range(self.ndim):
            n *= self.shape[i]
        return n

    def plan(mut self, writes: Bool, size: Int) -> Int:
        """Chooses the dimension to cut; how many tasks. One that is written by index is never cut."""
        self.split = 0
        self.per_task = self.shape[0]
        var threads = num_threads()
        if threads == 1 or self.count() < SMALL:
            return 1
        var best = -1
        var last = self.ndim - 1
        for i in range(self.ndim):
            if writes and i == self.dim:
                continue
            if best < 0 or (self.shape[i] > self.shape[best] and self.shape[best] < 4 * threads):
                best = i
        if best < 0:
            return 1
        var n = self.shape[best]
        var each = max(ceildiv(n, 4 * threads), 1)
        if best == last:
            # whole cache lines, and enough of them to be worth walking all the indices
            each = max(ceildiv(n, threads), 256 // size)
            each = ceildiv(each, 64) * 64
        self.split = best
        self.per_task = each
        return ceildiv(n, each)


struct Walk[dt: DType, lanes: Int, mode: Int](Body):
    """A walk over elements of `lanes` values of a dtype: two for complex numbers and for 16-byte elements."""

    comptime SIZE = size_of[Scalar[Self.dt]]() * Self.lanes
    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    var span: Span3

    def __init__(out self, span: Span3):
        self.span = span.copy()

    def execute(mut self):
        self.span.merge()
        if self.span.count() == 0:
            return
        var tasks = self.span.plan(Self.mode != TAKE, Self.SIZE)
        if tasks == 1:
            self.run(0, 0)
            return
        var held = release_gil()
        parallel(self, tasks)
        take_gil(held)

    def run(self, task: Int, worker: Int):
        var shape = self.span.shape.copy()
        var p = self.span.split
        var first = task * self.span.per_task
        shape[p] = min(first + self.span.per_task, shape[p]) - first
        var a = self.span.a + first * self.span.sa[p] * Self.SIZE
        var b = self.span.b + first * self.span.sb[p] * Self.SIZE
        var index = self.span.index + first * self.span.si[p] * 8
        var n = self.span.ndim
        var place = no_dims()
        while True:
            self._plane(a, b, index, shape[n - 2], shape[n - 1])
            var d = n - 3
            while d >= 0:
                place[d] += 1
                a += self.span.sa[d] * Self.SIZE
                b += self.span.sb[d] * Self.SIZE
                index += self.span.si[d] * 8
                if place[d] < shape[d]:
                    break
                a -= shape[d] * self.span.sa[d] * Self.SIZE
                b -= shape[d] * self.span.sb[d] * Self.SIZE
                index -= shape[d] * self.span.si[d] * 8
                place[d] = 0
                d -= 1
            if d < 0:
                return

    @always_inline
    def _plane(self, a0: Int, b0: Int, index0: Int, rows: Int, columns: Int):
        """The two inner dimensions."""
        var n = self.span.ndim
        var a = a0
        var b = b0
        var index = index0
        var sa = self.span.sa[n - 1] * Self.SIZE
        var sb = self.span.sb[n - 1] * Self.SIZE
        var si = self.span.si[n - 1] * 8
        var step = self.span.step * Self.SIZE
        var row_a = self.span.sa[n - 2] * Self.SIZE
        var row_b = self.span.sb[n - 2] * Self.SIZE
        var row_i = self.span.si[n - 2] * 8
        if si == 0 and sa == Self.SIZE and sb == Self.SIZE:
            for _ in range(rows):
                self._block(a + load[Int](index) * step, b, columns)
                a += row_a
                b += row_b
                index += row_i
            return
        for _ in range(rows):
            var x = a
            var y = b
            var i = index
            for _ in range(columns):
                self._element(x + load[Int](i) * step, y)
                x += sa
                y += sb
                i += si
            a += row_a
            b += row_b
            index += row_i

    @always_inline
    def _block(self, a: Int, b: Int, n: Int):
        comptime if Self.mode == TAKE:
            memcpy(b, a, n * Self.SIZE)
        elif Self.mode == PUT:
            memcpy(a, b, n * Self.SIZE)
        else:
            comptime W = Self.W
            var i = 0
            comptime if Self.lanes == 1 and Self.dt != DType.bool:
                while i + W <= n:
                    var x = at[Scalar[Self.dt]](a).unsafe_load[width=W](i).cast[Self.C]()
                    var y = at[Scalar[Self.dt]](b).unsafe_load[width=W](i).cast[Self.C]()
                    x += y * SIMD[Self.C, W](self.span.factor.cast[Self.C]())
                    at[Scalar[Self.dt]](a).unsafe_store(i, x.cast[Self.dt]())
                    i += W
            while i < n:
                self._element(a + i * Self.SIZE, b + i * Self.SIZE)
                i += 1

    @always_inline
    def _element(self, a: Int, b: Int):
        comptime E = Scalar[Self.dt]
        comptime if Self.mode == TAKE:
            comptime for k in range(Self.lanes):
                at[E](b)[unsafe_offset=k] = at[E](a)[unsafe_offset=k]
        elif Self.mode == PUT:
            comptime for k in range(Self.lanes):
                at[E](a)[unsafe_offset=k] = at[E](b)[unsafe_offset=k]
        elif Self.dt == DType.bool:
            if self.span.factor != 0:
                at[UInt8](a)[] = at[UInt8](a)[] | at[UInt8](b)[]
        elif Self.lanes == 2:
            var f = self.span.factor.cast[Self.C]()
            var g = self.span.factor_im.cast[Self.C]()
            var re = at[E](b)[].cast[Self.C]()
            var im = at[E](b)[unsafe_offset=1].cast[Self.C]()
            at[E](a)[] = (at[E](a)[].cast[Self.C]() + (re * f - im * g)).cast[Self.dt]()
            at[E](a)[unsafe_offset=1] = (at[E](a)[unsafe_offset=1].cast[Self.C]() + (re * g + im * f)).cast[Self.dt]()
        else:
            var y = at[E](b)[].cast[Self.C]() * self.span.factor.cast[Self.C]()
            at[E](a)[] = (at[E](a)[].cast[Self.C]() + y).cast[Self.dt]()


def move[mode: Int](span: Span3, size: Int):
    """Takes or puts elements of a size in bytes."""
    if size == 1:
        var w = Walk[DType.uint8, 1, mode](span)
        w.execute()
    elif size == 2:
        var w = Walk[DType.uint16, 1, mode](span)
        w.execute()
    elif size == 4:
        var w = Walk[DType.uint32, 1, mode](span)
        w.execute()
    elif size == 8:
        var w = Walk[DType.uint64, 1, mode](span)
        w.execute()
    else:
        var w = Walk[DType.uint64, 2, mode](span)
        w.execute()


def accumulate(span: Span3, code: Int) -> Bool:
    """Adds elements of a dtype; False for a dtype that has no addition."""
    comptime for c in range(13):
        if code == c:
            var w = Walk[dtype_of[c], 1, ADD](span)
            w.execute()
            return True
    comptime for c in range(13, 16):
        if code == c:
            comptime part = DType.float16 if c == 13 else DType.float32 if c == 14 else DType.float64
            var w = Walk[part, 2, ADD](span)
            w.execute()
            return True
    if code == 18:
        var w = Walk[DType.bfloat16, 2, ADD](span)
        w.execute()
        return True
    return False


def first_outside(index: Int, n: Int, size: Int) -> Int:
    """The place of the first of n int64 indices that is not in [0, size), or -1."""
    comptime W = simd_width_of[DType.uint64]() * 4
    var limit = SIMD[DType.uint64, W](UInt64(size))
    var i = 0
    while i + W <= n:
        # as unsigned numbers, negative ones are too large
        if at[UInt64](index).unsafe_load[width=W](i).ge(limit).reduce_or():
            break
        i += W
    while i < n:
        var v = load[Int](index + 8 * i)
        if v < 0 or v >= size:
            return i
        i += 1
    return -1
