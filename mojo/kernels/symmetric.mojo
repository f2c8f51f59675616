"""Eigenvalues and eigenvectors of small symmetric matrices: to tridiagonal form by reflectors on the rows, then implicit QL.

The eigenvectors are kept as rows, so that a rotation is a few vector operations. Matrices of extreme size, with NaN, or
that do not converge are left to LAPACK.
"""

from std.math import ceildiv, fma, sqrt
from std.memory import bitcast
from std.sys import simd_width_of
from std.sys.info import size_of
from kernels.lapack import LONG_WORK, Matrices
from kernels.reflectors import reflector, sweep
from kernels.workspace import Workspace
from tensor.dtype import FLOAT32, FLOAT64
from tensor.memory import Ptr, at, memcpy, memset, store
from tensor.py import release_gil, take_gil
from tensor.threads import Body, num_threads, parallel

comptime LARGEST = 128
"""Rows up to which matrices are small."""


def is_small_symmetric(code: Int, n: Int) -> Bool:
    return (code == FLOAT32 or code == FLOAT64) and n > 0 and n <= LARGEST


@no_inline
def _update_block[
    dt: DType, w: Int, vectors: Int
](a: Int, ld: Int, start: Int, n: Int, column: Int, v: Ptr[Scalar[dt]], u: Ptr[Scalar[dt]],
  next: Ptr[Scalar[dt]], sums: Ptr[Scalar[dt]]):  # fmt: skip
    """Rows from `start` on of some columns: subtracts v u^T + u v^T, and gathers the sum of next * the new rows."""
    comptime V = SIMD[dt, w]
    var vs = Array[V, vectors](fill=0)
    var us = Array[V, vectors](fill=0)
    var total = Array[V, vectors](fill=0)
    comptime for q in range(vectors):
        vs[q] = v.unsafe_load[width=w](column + q * w)
        us[q] = u.unsafe_load[width=w](column + q * w)
    var p = at[Scalar[dt]](a).unsafe_offset(start * ld + column)
    for i in range(start, n):
        var x = V(-v[unsafe_offset=i])
        var y = V(-u[unsafe_offset=i])
        var weight = V(next[unsafe_offset=i])
        comptime for q in range(vectors):
            var value = fma(x, us[q], fma(y, vs[q], p.unsafe_load[width=w](q * w)))
            p.unsafe_store(q * w, value)
            total[q] = fma(weight, value, total[q])
        p = p.unsafe_offset(ld)
    comptime for q in range(vectors):
        sums.unsafe_store(column + q * w, total[q])


@fieldwise_init
struct Symmetric[dt: DType, w: Int](Body, ImplicitlyCopyable, Movable):
    """Every matrix of a batch; where it lies come its eigenvectors, by columns. `done` has a word for each: whether."""

    var matrices: Int
    var values: Int
    var done: Int
    var n: Int
    var lower: Bool
    var scratch: Int
    var per_worker: Int
    var count: Int
    var per_task: Int

    def bytes(self) -> Int:
        var ld = ceildiv(self.n, Self.w) * Self.w
        return ((3 * self.n + 10) * ld * size_of[Scalar[Self.dt]]() + 63) // 64 * 64 + 192

    def run(self, task: Int, worker: Int):
        for b in range(task * self.per_task, min((task + 1) * self.per_task, self.count)):
            self._one(b, self.scratch + worker * self.per_worker)

    def _one(self, b: Int, space: Int):
        comptime Number = Scalar[Self.dt]
        comptime size = size_of[Number]()
        comptime limit = Number(1e30) if Self.dt == DType.float32 else Number(1e290)
        var n = self.n
        var ld = ceildiv(n, Self.w) * Self.w
        var place = self.matrices + b * n * n * size
        var m = at[Number](place)
        var a = at[Number](space)
        memset(space, 0, (3 * n + 10) * ld * size)
        # one triangle makes the whole; by columns, element (i, j) of the matrix is m[j n + i]
        var largest = Number(0)
        for i in range(n):
            for j in range(i + 1):
                var x = m[unsafe_offset=j * n + i] if self.lower else m[unsafe_offset=i * n + j]
                a[unsafe_offset=i * ld + j] = x
                a[unsafe_offset=j * ld + i] = x
                if not abs(x) <= largest:
                    largest = abs(x)
        if largest != 0 and not (largest > 1 / limit and largest < limit):
            return
        # scaled by a power of two, which rounds nothing, to numbers about 1
        var unit = _power_of_two(largest) if largest != 0 else Number(1)
        if unit != 1:
            var factor = SIMD[Self.dt, Self.w](1 / unit)
            for i in range(0, n * ld, Self.w):
                a.unsafe_store(i, a.unsafe_load[width=Self.w](i) * factor)
        var rest = space + n * ld * size
        var reflectors = at[Number](rest)
        var q = rest + n * ld * size
        var c = at[Number](q + n * ld * size)
        var u = c.unsafe_offset(ld)
        var sums = u.unsafe_offset(ld)
        var zeros = sums.unsafe_offset(ld)
        var d = zeros.unsafe_offset(ld)
        var e = d.unsafe_offset(ld)
        var taus = e.unsafe_offset(ld)
        var change = taus.unsafe_offset(ld)
        var v = zeros
        for k in range(n):
            # row k as the update that is still due leaves it
            var start = k // Self.w * Self.w
            var x = SIMD[Self.dt, Self.w](-v[unsafe_offset=k])
            var y = SIMD[Self.dt, Self.w](-u[unsafe_offset=k])
            for i in range(start, ld, Self.w):
                var due = fma(x, u.unsafe_load[width=Self.w](i), a.unsafe_load[width=Self.w](k * ld + i))
                c.unsafe_store(i, fma(y, v.unsafe_load[width=Self.w](i), due))
            d[unsafe_offset=k] = c[unsafe_offset=k]
            if k + 1 >= n:
                break
            for i in range(start, k + 1):
                c[unsafe_offset=i] = 0
            for i in range(0, start, Self.w):
                c.unsafe_store(i, SIMD[Self.dt, Self.w](0))
            if k + 2 >= n:
                e[unsafe_offset=k] = c[unsafe_offset=k + 1]
                # the last row wants the update that is due, not a new one
                continue
            var next = reflectors.unsafe_offset(k * ld)
            var tau = Number(0)
            e[unsafe_offset=k] = reflector[Self.dt, Self.w](c, k + 1, ld, next, tau)
            taus[unsafe_offset=k] = tau
            var column = (k + 1) // Self.w * Self.w
            comptime for vectors in [4, 2, 1]:
                while column + vectors * Self.w <= ld:
                    _update_block[Self.dt, Self.w, vectors](space, ld, k + 1, n, column, v, u, next, sums)
                    column += vectors * Self.w
            column = (k + 1) // Self.w * Self.w
            for i in range(column, k + 1):
                sums[unsafe_offset=i] = 0
            var dot = SIMD[Self.dt, Self.w](0)
            for i in range(column, ld, Self.w):
                dot = fma(sums.unsafe_load[width=Self.w](i), next.unsafe_load[width=Self.w](i), dot)
            var shift = -tau * tau * dot.reduce_add() / 2
            for i in range(0, column, Self.w):
                u.unsafe_store(i, SIMD[Self.dt, Self.w](0))
            for i in range(column, ld, Self.w):
                var p = sums.unsafe_load[width=Self.w](i) * tau
                u.unsafe_store(i, fma(next.unsafe_load[width=Self.w](i), SIMD[Self.dt, Self.w](shift), p))
            v = next
        # the product of the reflectors
        var z = at[Number](q)
        for i in range(n):
            z[unsafe_offset=i * ld + i] = 1
        var by = zeros
        for s in range(2, n):
            var k = n - 1 - s
            var following = reflectors.unsafe_offset(k * ld)
            sweep[Self.dt, Self.w](q, ld, k + 1, n, k + 1, by, change, following, sums)
            for i in range((k + 1) // Self.w * Self.w, ld, Self.w):
                change.unsafe_store(i, sums.unsafe_load[width=Self.w](i) * taus[unsafe_offset=k])
            by = following
        sweep[Self.dt, Self.w](q, ld, 0, n, 0, by, change, zeros, sums)
        for i in range(n):
            for j in range(i):
                var x = z[unsafe_offset=i * ld + j]
                z[unsafe_offset=i * ld + j] = z[unsafe_offset=j * ld + i]
                z[unsafe_offset=j * ld + i] = x
        if not _ql[Self.dt, Self.w](d, e, z, n, ld):
            return
        # in ascending order
        var w_out = at[Number](self.values + b * n * size)
        for i in range(n):
            var least = i
            for j in range(i + 1, n):
                if d[unsafe_offset=j] < d[unsafe_offset=least]:
                    least = j
            if least != i:
                var x = d[unsafe_offset=i]
                d[unsafe_offset=i] = d[unsafe_offset=least]
                d[unsafe_offset=least] = x
                for j in range(0, ld, Self.w):
                    var row = z.unsafe_load[width=Self.w](i * ld + j)
                    z.unsafe_store(i * ld + j, z.unsafe_load[width=Self.w](least * ld + j))
                    z.unsafe_store(least * ld + j, row)
            w_out[unsafe_offset=i] = d[unsafe_offset=i] * unit
        for i in range(n):
            memcpy(place + i * n * size, q + i * ld * size, n * size)
        store[Int](self.done + 8 * b, 1)


def _power_of_two[dt: DType](x: Scalar[dt]) -> Scalar[dt]:
    """The largest one that is not above x, which is positive."""
    comptime if dt == DType.float32:
        return bitcast[dt](bitcast[DType.uint32](x) & 0x7F800000)
    else:
        return bitcast[dt](bitcast[DType.uint64](x) & 0x7FF0000000000000)


@no_inline
def _length[dt: DType](f: Scalar[dt], g: Scalar[dt]) -> Scalar[dt]:
    """The root of f^2 + g^2 where the squares are too small for it; 0 for what has no reciprocal."""
    comptime least = Scalar[dt](1e-36) if dt == DType.float32 else Scalar[dt](1e-300)
    var m = max(abs(f), abs(g))
    if m < least:
        return 0
    var x = f / m
    var y = g / m
    return m * sqrt(fma(x, x, y * y))


@no_inline
def _ql[dt: DType, w: Int](d: Ptr[Scalar[dt]], e: Ptr[Scalar[dt]], z: Ptr[Scalar[dt]], n: Int, ld: Int) -> Bool:
    """Eigenvalues of a tridiagonal matrix into its diagonal d; the rows of z turn along. False without convergence."""
    comptime eps = Scalar[dt](5.9604645e-08) if dt == DType.float32 else Scalar[dt](1.1102230246251565e-16)
    # the matrix is about 1 in size: what is far below its rounding errors is 0
    comptime floor = Scalar[dt](1e-15) if dt == DType.float32 else Scalar[dt](1e-150)
    comptime small = Scalar[dt](1e-28) if dt == DType.float32 else Scalar[dt](1e-280)
    comptime V = SIMD[dt, w]
    e[unsafe_offset=n - 1] = 0
    for l in range(n):
        var rounds = 0
        while True:
            var m = l
            while m < n - 1:
                if abs(e[unsafe_offset=m]) <= floor:
                    break
                if abs(e[unsafe_offset=m]) <= eps * (abs(d[unsafe_offset=m]) + abs(d[unsafe_offset=m + 1])):
                    break
                m += 1
            if m == l:
                break
            rounds += 1
            if rounds > 50:
                return False
            var g = (d[unsafe_offset=l + 1] - d[unsafe_offset=l]) / (2 * e[unsafe_offset=l])
            var r = sqrt(fma(g, g, Scalar[dt](1)))
            g = d[unsafe_offset=m] - d[unsafe_offset=l] + e[unsafe_offset=l] / (g + (r if g >= 0 else -r))
            var s = Scalar[dt](1)
            var c = Scalar[dt](1)
            var p = Scalar[dt](0)
            var i = m - 1
            var underflow = False
            while i >= l:
                var f = s * e[unsafe_offset=i]
                var b = c * e[unsafe_offset=i]
                var square = fma(f, f, g * g)
                r = sqrt(square) if square > small else _length(f, g)
                e[unsafe_offset=i + 1] = r
                if r == 0:
                    d[unsafe_offset=i + 1] -= p
                    e[unsafe_offset=m] = 0
                    underflow = True
                    break
                var inverse = 1 / r
                s = f * inverse
                c = g * inverse
                g = d[unsafe_offset=i + 1] - p
                r = fma(d[unsafe_offset=i] - g, s, 2 * c * b)
                p = s * r
                d[unsafe_offset=i + 1] = g + p
                g = fma(c, r, -b)
                var upper = z.unsafe_offset(i * ld)
                var below = upper.unsafe_offset(ld)
                for j in range(0, ld, w):
                    var x = upper.unsafe_load[width=w](j)
                    var y = below.unsafe_load[width=w](j)
                    below.unsafe_store(j, fma(V(s), x, V(c) * y))
                    upper.unsafe_store(j, fma(V(c), x, -(V(s) * y)))
                i -= 1
            if underflow:
                continue
            d[unsafe_offset=l] -= p
            e[unsafe_offset=l] = g
            e[unsafe_offset=m] = 0
    return True


def _run[dt: DType](a: Matrices, values: Int, lower: Bool, done: Int) raises:
    var job = Symmetric[dt, Int(simd_width_of[dt]())](a.data(), values, done, a.rows, lower, 0, 0, a.count, 1)
    job.per_worker = job.bytes()
    var work = a.count * (500 + 10 * a.rows * a.rows * a.rows)
    var threads = min(num_threads(), a.count) if work >= 1 << 16 else 1
    var space = Workspace.take(threads * job.per_worker)
    if space.address == 0:
        return
    job.scratch = space.address
    job.per_task = ceildiv(a.count, 4 * threads)
    var held = release_gil() if work > LONG_WORK else 0
    parallel(job, ceildiv(a.count, job.per_task), threads)
    if held != 0:
        take_gil(held)
    space.give()


def eigen_small(a: Matrices, values: Int, lower: Bool, done: Int) raises:
    """Turns matrices into their eigenvectors and writes the eigenvalues; `done` has a zeroed word for each, which stays 0
    where the matrix is left as it was."""
    if a.code == FLOAT32:
        _run[DType.float32](a, values, lower, done)
    else:
        _run[DType.float64](a, values, lower, done)
