"""QR of one matrix that the second cache holds, by Householder reflectors on its rows.

LAPACK's routines work on columns and spend such a matrix's time in the sums along them and in forming blocks. By rows a
reflector needs no sums across lanes, and one sweep over the matrix both applies a reflector and gathers what the next one
needs. For large matrices the blocks pay, and LAPACK is faster.
"""

from std.math import ceildiv, fma, sqrt
from std.sys import simd_width_of
from std.sys.info import size_of
from kernels.lapack import LONG_WORK, Matrices
from kernels.transfer_api import copy_strided
from kernels.workspace import Workspace
from tensor.dtype import FLOAT32, FLOAT64, itemsize
from tensor.layout import no_dims
from tensor.memory import Ptr, at, memset
from tensor.object import TPtr
from tensor.py import release_gil, take_gil
from tensor.threads import Body, num_threads, parallel

comptime MOST_BYTES = 1 << 19
"""The largest matrix that is factored here."""


def fits(code: Int, rows: Int, cols: Int) -> Bool:
    return (code == FLOAT32 or code == FLOAT64) and min(rows, cols) > 0 and rows * cols * itemsize(code) <= MOST_BYTES


@no_inline
def _sweep_block[
    dt: DType, w: Int, vectors: Int
](x: Int, ld: Int, start: Int, stop: Int, column: Int, by: Ptr[Scalar[dt]], row: Ptr[Scalar[dt]],
  next: Ptr[Scalar[dt]], sums: Ptr[Scalar[dt]]):  # fmt: skip
    """Rows start .. stop - 1 of some columns: subtracts by * row, and gathers the sum of next * the new rows."""
    comptime V = SIMD[dt, w]
    var change = Array[V, vectors](fill=0)
    var total = Array[V, vectors](fill=0)
    comptime for q in range(vectors):
        change[q] = row.unsafe_load[width=w](column + q * w)
    var p = at[Scalar[dt]](x).unsafe_offset(start * ld + column)
    for i in range(start, stop):
        var factor = V(-by[unsafe_offset=i])
        var weight = V(next[unsafe_offset=i])
        comptime for q in range(vectors):
            var v = fma(factor, change[q], p.unsafe_load[width=w](q * w))
            p.unsafe_store(q * w, v)
            total[q] = fma(weight, v, total[q])
        p = p.unsafe_offset(ld)
    comptime for q in range(vectors):
        sums.unsafe_store(column + q * w, total[q])


def sweep[
    dt: DType, w: Int
](x: Int, ld: Int, start: Int, stop: Int, first: Int, by: Ptr[Scalar[dt]], row: Ptr[Scalar[dt]],
  next: Ptr[Scalar[dt]], sums: Ptr[Scalar[dt]]):  # fmt: skip
    """All columns from `first` (rounded down to a vector) on."""
    var column = first // w * w
    comptime for vectors in [8, 4, 2, 1]:
        while column + vectors * w <= ld:
            _sweep_block[dt, w, vectors](x, ld, start, stop, column, by, row, next, sums)
            column += vectors * w


@always_inline
def reflector[
    dt: DType, w: Int
](c: Ptr[Scalar[dt]], k: Int, length: Int, v: Ptr[Scalar[dt]], mut tau: Scalar[dt]) -> Scalar[dt]:
    """The reflector that turns column c into a multiple of unit vector k: v, tau, the multiple. c is 0 before k and from its
    end to `length`, as v will be."""
    comptime V = SIMD[dt, w]
    comptime tiny = Scalar[dt](1e-25) if dt == DType.float32 else Scalar[dt](1e-250)
    comptime huge = Scalar[dt](1e25) if dt == DType.float32 else Scalar[dt](1e250)
    var start = k // w * w
    var alpha = c[unsafe_offset=k]
    c[unsafe_offset=k] = 0
    var below = V(0)
    for i in range(start, length, w):
        var x = c.unsafe_load[width=w](i)
        below = fma(x, x, below)
    var total = below.reduce_add()
    var scale = Scalar[dt](1)
    if not (total > tiny and total < huge and alpha * alpha < huge):
        # squares out of range: scaled by the largest number
        var size = Scalar[dt](0)
        for i in range(k + 1, length):
            var x = abs(c[unsafe_offset=i])
            if not x <= size:
                size = x
        if size == 0:
            for i in range(0, length, w):
                v.unsafe_store(i, V(0))
            v[unsafe_offset=k] = 1
            tau = 0
            return alpha
        if not abs(alpha) <= size:
            size = abs(alpha)
        scale = size
        total = 0
        for i in range(k + 1, length):
            var x = c[unsafe_offset=i] / scale
            c[unsafe_offset=i] = x
            total = fma(x, x, total)
    alpha = alpha / scale
    var root = sqrt(fma(alpha, alpha, total))
    var beta = root if alpha < 0 else -root
    tau = (beta - alpha) / beta
    var factor = V(1 / (alpha - beta))
    for i in range(0, start, w):
        v.unsafe_store(i, V(0))
    for i in range(start, length, w):
        v.unsafe_store(i, c.unsafe_load[width=w](i) * factor)
    v[unsafe_offset=k] = 1
    return beta * scale


@fieldwise_init
struct Factor[dt: DType, w: Int](Body, ImplicitlyCopyable, Movable):
    """Every matrix of a batch, each in a worker's scratch."""

    var src: Int
    var step: Int  # elements from matrix to matrix
    var rs: Int
    var cs: Int
    var rows: Int
    var cols: Int
    var q: Int
    var q_cols: Int
    var r: Int
    var r_rows: Int
    var code: Int
    var scratch: Int
    var per_worker: Int

    def bytes(self) -> Int:
        """Scratch of a worker."""
        var ld = ceildiv(max(self.cols, self.q_cols), Self.w) * Self.w
        var lv = ceildiv(self.rows, Self.w) * Self.w
        var count = self.rows * ld + min(self.rows, self.cols) * (lv + 1) + 3 * ld + 2 * lv + 2 * Self.w
        return (count * size_of[Scalar[Self.dt]]() + 63) // 64 * 64 + 192

    def _move(self, dst: Int, d_rs: Int, d_cs: Int, src: Int, s_rs: Int, s_cs: Int, rows: Int, cols: Int):
        var shape = no_dims()
        var there = no_dims()
        var here = no_dims()
        shape[0] = rows
        shape[1] = cols
        there[0] = d_rs
        there[1] = d_cs
        here[0] = s_rs
        here[1] = s_cs
        copy_strided(dst, self.code, there, src, self.code, here, shape, 2)

    def run(self, task: Int, worker: Int):
        comptime Number = Scalar[Self.dt]
        comptime size = size_of[Number]()
        var m = self.rows
        var n = self.cols
        var k = min(m, n)
        var lv = ceildiv(m, Self.w) * Self.w
        var reflectors = self.scratch + worker * self.per_worker
        var taus = at[Number](reflectors + k * lv * size)
        var zeros = at[Number](Int(taus) + ceildiv(k, Self.w) * Self.w * size)
        var c = zeros.unsafe_offset(lv)
        var row = c.unsafe_offset(lv)
        var ld = ceildiv(n, Self.w) * Self.w
        var most = ceildiv(max(n, self.q_cols), Self.w) * Self.w
        var sums = row.unsafe_offset(most)
        var x = Int(sums.unsafe_offset(most))
        memset(Int(zeros), 0, lv * size)
        memset(Int(row), 0, most * size)
        if ld != n:
            memset(x, 0, m * ld * size)
        self._move(x, ld, 1, self.src + task * self.step * size, self.rs, self.cs, m, n)
        var a = at[Number](x)
        var by = zeros
        for j in range(k):
            # column j as the sweep below will leave it
            memset(Int(c), 0, lv * size)
            var change = row[unsafe_offset=j]
            for i in range(j, m):
                c[unsafe_offset=i] = fma(-by[unsafe_offset=i], change, a[unsafe_offset=i * ld + j])
            var v = at[Number](reflectors + j * lv * size)
            var tau = Number(0)
            var beta = reflector[Self.dt, Self.w](c, j, lv, v, tau)
            taus[unsafe_offset=j] = tau
            sweep[Self.dt, Self.w](x, ld, max(j - 1, 0), m, j, by, row, v, sums)
            a[unsafe_offset=j * ld + j] = beta
            for i in range(j // Self.w * Self.w, ld, Self.w):
                row.unsafe_store(i, sums.unsafe_load[width=Self.w](i) * tau)
            for i in range(j // Self.w * Self.w, j + 1):
                row[unsafe_offset=i] = 0
            by = v
        if k > 0:
            sweep[Self.dt, Self.w](x, ld, k - 1, m, k, by, row, zeros, sums)
        for i in range(self.r_rows):
            memset(x + i * ld * size, 0, min(i, n) * size)
        self._move(self.r + task * self.r_rows * n * size, 1, self.r_rows, x, ld, 1, self.r_rows, n)
        if self.q_cols == 0:
            return
        ld = ceildiv(self.q_cols, Self.w) * Self.w
        memset(x, 0, m * ld * size)
        memset(Int(row), 0, most * size)
        for i in range(min(m, self.q_cols)):
            a[unsafe_offset=i * ld + i] = 1
        by = zeros
        for s in range(k):
            var j = k - 1 - s
            var v = at[Number](reflectors + j * lv * size)
            sweep[Self.dt, Self.w](x, ld, j, m, j, by, row, v, sums)
            for i in range(j // Self.w * Self.w, ld, Self.w):
                row.unsafe_store(i, sums.unsafe_load[width=Self.w](i) * taus[unsafe_offset=j])
            by = v
        sweep[Self.dt, Self.w](x, ld, 0, m, 0, by, row, zeros, sums)
        self._move(self.q + task * m * self.q_cols * size, 1, m, x, ld, 1, m, self.q_cols)


def _run[dt: DType](t: TPtr, count: Int, q: Int, q_cols: Int, r: Matrices) raises:
    comptime w = Int(simd_width_of[dt]())
    var n = t[].rank()
    var m = t[].shape[n - 2]
    var cols = t[].shape[n - 1]
    var job = Factor[dt, w](
        t[].data(),
        m * cols,
        t[].strides[n - 2],
        t[].strides[n - 1],
        m,
        cols,
        q,
        q_cols,
        r.data(),
        r.rows,
        t[].code(),
        0,
        0,
    )
    job.per_worker = job.bytes()
    var threads = min(num_threads(), count)
    var space = Workspace.take(threads * job.per_worker)
    if space.address == 0:
        raise Error("OutOfMemoryError|torch.linalg: no memory for a factorization")
    job.scratch = space.address
    var held = release_gil() if count * m * cols * min(m, cols) > LONG_WORK else 0
    parallel(job, count, threads)
    if held != 0:
        take_gil(held)
    space.give()


def qr_by_rows(t: TPtr, q: Int, q_cols: Int, r: Matrices) raises:
    """R, and the first columns of Q at an address (none: R alone), by columns. The matrices of t lie one after the other.
    """
    if t[].code() == FLOAT32:
        _run[DType.float32](t, r.count, q, q_cols, r)
    else:
        _run[DType.float64](t, r.count, q, q_cols, r)
