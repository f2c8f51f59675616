"""The plan of all indexing: elements of one tensor, picked by indices along a dimension, against those of another.

Three tensors are walked together: `a`, the one that is indexed, `b`, the values taken from or put into it, and the
indices. Their layouts are strides over one shape, so that broadcasting (an index vector against whole rows) and any
strides are the same loop; a run along which the index stays and both sides are contiguous is a block copy or a vector
addition. Values move as bits, by element size; only additions know the dtype.

Tasks cut a dimension other than the indexed one when elements are written by index: elements with the same index are
handled in order by one task, so that sums do not depend on the number of threads.
"""

from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.layout import Dims, no_dims
from tensor.memory import at, load
from tensor.threads import num_threads

comptime TAKE = 0  # b = a[index]
comptime PUT = 1  # a[index] = b
comptime ADD = 2  # a[index] += factor * b
comptime MULTIPLY = 3  # a[index] *= b
comptime MAXIMUM = 4  # a[index] = max(a[index], b), NaN if either is
comptime MINIMUM = 5

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
