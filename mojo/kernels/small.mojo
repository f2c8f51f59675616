"""Factorizations of many small matrices, one a lane of a vector: LU, Cholesky, QR, inverses, triangular systems.

LAPACK is called once for a matrix, and of 8 x 8 numbers it computes for less time than it takes to call it. Here a group of
as many matrices as a vector has lanes lies in a buffer [element][lane], and the textbook's loops run on vectors. Where the
matrices differ (the row of a pivot, a failure) lanes are selected. What is returned is what LAPACK returns: the same pivots,
signs, status and contents, but for rounding.
"""

from std.math import ceildiv, fma, iota, sqrt
from std.sys import simd_width_of
from std.sys.info import size_of
from std.sys.intrinsics import masked_load, masked_store
from kernels.gemm_micro import first_lanes
from kernels.gemm_pack import transpose
from kernels.lapack import LONG_WORK, Matrices, SPREAD_WORK, new_matrices, readable
from kernels.workspace import Workspace
from tensor.dtype import FLOAT32, FLOAT64
from tensor.memory import Ptr, at, load, store
from tensor.object import TPtr, as_tensor
from tensor.py import Obj, decref, new_ref, release_gil, take_gil
from tensor.threads import Body, num_threads, parallel

comptime LARGEST = 32
"""Rows and columns up to which matrices are small."""

comptime LU = 0
comptime INVERSE = 1
comptime CHOLESKY = 2
comptime LU_SOLVE = 3
comptime TRIANGULAR = 4
comptime QR = 5


def is_small(code: Int, rows: Int, cols: Int, count: Int) -> Bool:
    """Whether a batch of matrices is worth computing here."""
    if code != FLOAT32 and code != FLOAT64:
        return False
    var lanes = Int(simd_width_of[DType.float32]()) if code == FLOAT32 else Int(simd_width_of[DType.float64]())
    return rows > 0 and cols > 0 and rows <= LARGEST and cols <= LARGEST and 2 * count >= lanes


@fieldwise_init
struct Lay(ImplicitlyCopyable, Movable):
    """A matrix in a buffer: where it begins and the distances of its rows and columns, in vectors; in memory its sizes.
    """

    var start: Int
    var rs: Int
    var cs: Int
    var rows: Int
    var cols: Int

    @always_inline
    def t(self) -> Self:
        return Self(self.start, self.cs, self.rs, self.cols, self.rows)

    @always_inline
    def at(self, i: Int, j: Int) -> Int:
        return self.start + i * self.rs + j * self.cs


def by_columns(start: Int, rows: Int, cols: Int) -> Lay:
    return Lay(start, 1, rows, rows, cols)


@fieldwise_init
struct Lanes[dt: DType, w: Int](ImplicitlyCopyable, Movable):
    """The vectors of a buffer."""

    var buffer: Int

    @always_inline
    def get(self, place: Int) -> SIMD[Self.dt, Self.w]:
        return at[Scalar[Self.dt]](self.buffer + place * Self.w * size_of[Scalar[Self.dt]]()).unsafe_load[width=Self.w](
            0
        )

    @always_inline
    def set(self, place: Int, value: SIMD[Self.dt, Self.w]):
        at[Scalar[Self.dt]](self.buffer + place * Self.w * size_of[Scalar[Self.dt]]()).unsafe_store(0, value)


# ---------------------------------------------------------------- between memory and a buffer


@no_inline
def _take[dt: DType, w: Int](x: Lanes[dt, w], start: Int, src: Int, count: Int, lanes: Int):
    """Elements of matrices that follow each other in memory, in its order."""
    for c in range(0, count, w):
        var depth = min(w, count - c)
        var mask = first_lanes[w](depth)
        var r = Array[SIMD[dt, w], w](fill=0)
        comptime for i in range(w):
            if i < lanes:
                var p = at[Scalar[dt]](src + (i * count + c) * size_of[Scalar[dt]]())
                r[i] = masked_load[w](p, mask, SIMD[dt, w](0))
        transpose[dt, w](r)
        comptime for i in range(w):
            if i < depth:
                x.set(start + c + i, r[i])


@no_inline
def _give[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, dst: Int, lanes: Int):
    """Matrices, by columns, one after the other."""
    var count = m.rows * m.cols
    for c in range(0, count, w):
        var depth = min(w, count - c)
        var r = Array[SIMD[dt, w], w](fill=0)
        comptime for i in range(w):
            if i < depth:
                r[i] = x.get(m.at((c + i) % m.rows, (c + i) // m.rows))
        transpose[dt, w](r)
        var mask = first_lanes[w](depth)
        comptime for i in range(w):
            if i < lanes:
                masked_store[w](r[i], at[Scalar[dt]](dst + (i * count + c) * size_of[Scalar[dt]]()), mask)


# ---------------------------------------------------------------- the loops


@always_inline
def _swap[dt: DType, w: Int](x: Lanes[dt, w], a: Int, b: Int, which: SIMD[DType.bool, w]):
    var p = x.get(a)
    var q = x.get(b)
    x.set(a, which.select(q, p))
    x.set(b, which.select(p, q))


@no_inline
def _exchange[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, k: Int, first: Int, pivot: SIMD[DType.int32, w]):
    """Exchanges row k with the row that each lane names; no row above the first one is named."""
    for i in range(first, m.rows):
        var which = pivot.eq(Int32(i))
        if i != k and which.reduce_or():
            for j in range(m.cols):
                _swap(x, m.at(k, j), m.at(i, j), which)


@no_inline
def _factor_lu[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, pivots: Ptr[Int32]) -> SIMD[DType.int32, w]:
    """LU with partial pivoting, in place. Pivots count from 0, [step][lane]; returns the place of the first zero one.
    """
    comptime V = SIMD[dt, w]
    var info = SIMD[DType.int32, w](0)
    for k in range(min(m.rows, m.cols)):
        var best = abs(x.get(m.at(k, k)))
        var pivot = SIMD[DType.int32, w](Int32(k))
        for i in range(k + 1, m.rows):
            var v = abs(x.get(m.at(i, k)))
            var larger = v.gt(best)
            best = larger.select(v, best)
            pivot = larger.select(SIMD[DType.int32, w](Int32(i)), pivot)
        pivots.unsafe_store(k * w, pivot)
        _exchange(x, m, k, k + 1, pivot)
        var d = x.get(m.at(k, k))
        var zero = d.eq(0)
        info = (zero & info.eq(0)).select(SIMD[DType.int32, w](Int32(k + 1)), info)
        d = zero.select(V(1), d)
        for i in range(k + 1, m.rows):
            var factor = x.get(m.at(i, k)) / d
            x.set(m.at(i, k), factor)
            for j in range(k + 1, m.cols):
                x.set(m.at(i, j), fma(-factor, x.get(m.at(k, j)), x.get(m.at(i, j))))
    return info


@no_inline
def _substitute_columns[
    dt: DType, w: Int, columns: Int
](x: Lanes[dt, w], a: Lay, b: Lay, c: Int, upper: Bool, unit: Bool):
    """The substitution for some columns of B from column c on, which stay in registers."""
    var n = a.rows
    for s in range(n):
        var i = n - 1 - s if upper else s
        var sums = Array[SIMD[dt, w], columns](fill=0)
        comptime for q in range(columns):
            sums[q] = x.get(b.at(i, c + q))
        for t in range(s):
            var j = n - 1 - t if upper else t
            var factor = -x.get(a.at(i, j))
            comptime for q in range(columns):
                sums[q] = fma(factor, x.get(b.at(j, c + q)), sums[q])
        if not unit:
            var d = x.get(a.at(i, i))
            comptime for q in range(columns):
                sums[q] = sums[q] / d
        comptime for q in range(columns):
            x.set(b.at(i, c + q), sums[q])


def _substitute[dt: DType, w: Int](x: Lanes[dt, w], a: Lay, b: Lay, upper: Bool, unit: Bool):
    """B becomes the X of A X = B, for a triangle A."""
    var c = 0
    while c + 8 <= b.cols:
        _substitute_columns[dt, w, 8](x, a, b, c, upper, unit)
        c += 8
    while c < b.cols:
        _substitute_columns[dt, w, 1](x, a, b, c, upper, unit)
        c += 1


@no_inline
def _factor_cholesky[dt: DType, w: Int](x: Lanes[dt, w], m: Lay) -> SIMD[DType.int32, w]:
    """The lower factor, in place, zeros above it; returns the first minor that is not positive. A matrix that has one is
    left as it is from there on."""
    var info = SIMD[DType.int32, w](0)
    var n = m.rows
    for j in range(n):
        var d = x.get(m.at(j, j))
        for k in range(j):
            var v = x.get(m.at(j, k))
            d = fma(-v, v, d)
        var live = info.eq(0)
        var positive = d.gt(0)
        info = (live & ~positive).select(SIMD[DType.int32, w](Int32(j + 1)), info)
        var next = live & positive
        var root = sqrt(positive.select(d, SIMD[dt, w](1)))
        x.set(m.at(j, j), live.select(positive.select(root, d), x.get(m.at(j, j))))
        for i in range(j + 1, n):
            var old = x.get(m.at(i, j))
            var v = old
            for k in range(j):
                v = fma(-x.get(m.at(i, k)), x.get(m.at(j, k)), v)
            x.set(m.at(i, j), next.select(v / root, old))
        for i in range(j):
            x.set(m.at(i, j), SIMD[dt, w](0))
    return info


@always_inline
def _reflect[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, k: Int, j: Int, to: Lay, tau: SIMD[dt, w]):
    """Applies reflector k, which lies below the diagonal of m, to a column of a matrix."""
    var dot = x.get(to.at(k, j))
    for i in range(k + 1, m.rows):
        dot = fma(x.get(m.at(i, k)), x.get(to.at(i, j)), dot)
    dot = dot * tau
    x.set(to.at(k, j), x.get(to.at(k, j)) - dot)
    for i in range(k + 1, m.rows):
        x.set(to.at(i, j), fma(-dot, x.get(m.at(i, k)), x.get(to.at(i, j))))


@no_inline
def _factor_qr[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, taus: Int):
    """R above and the reflectors below the diagonal; their factors as vectors."""
    comptime V = SIMD[dt, w]
    for k in range(min(m.rows, m.cols)):
        var alpha = x.get(m.at(k, k))
        var below = V(0)
        for i in range(k + 1, m.rows):
            var v = abs(x.get(m.at(i, k)))
            below = v.le(below).select(below, v)  # NaN stays
        var still = below.eq(0)
        var size = abs(alpha)
        size = size.le(below).select(below, size)
        size = still.select(V(1), size)
        # scaled by the largest one, no square is out of range
        var first = alpha / size
        var total = first * first
        for i in range(k + 1, m.rows):
            var v = x.get(m.at(i, k)) / size
            total = fma(v, v, total)
        var root = sqrt(total)
        var beta = first.lt(0).select(root, -root)
        var tau = still.select(V(0), (beta - first) / beta)
        x.set(taus + k, tau)
        x.set(m.at(k, k), still.select(alpha, beta * size))
        var divisor = still.select(V(1), first - beta)
        for i in range(k + 1, m.rows):
            x.set(m.at(i, k), x.get(m.at(i, k)) / size / divisor)
        for j in range(k + 1, m.cols):
            _reflect(x, m, k, j, m, tau)


@no_inline
def _form_q[dt: DType, w: Int](x: Lanes[dt, w], m: Lay, taus: Int, q: Lay):
    """The first columns of the product of the reflectors."""
    for i in range(q.rows):
        for j in range(q.cols):
            x.set(q.at(i, j), SIMD[dt, w](1 if i == j else 0))
    for k in reversed(range(min(m.rows, m.cols))):
        for j in range(k, q.cols):
            _reflect(x, m, k, j, q, x.get(taus + k))


# ---------------------------------------------------------------- groups of a batch


struct Small[dt: DType, w: Int](Body, Movable):
    """What to do with every matrix of a batch."""

    var what: Int
    var a: Int  # the matrices
    var by_rows: Bool  # how they lie
    var rows: Int
    var cols: Int
    var count: Int
    var result: Int  # the same sizes, by columns; or Q
    var columns: Int  # of Q
    var second: Int  # X (read and written), or R
    var second_rows: Int
    var second_cols: Int
    var pivots: Int  # words, from 1
    var infos: Int  # words
    var upper: Bool
    var left: Bool
    var unit: Bool
    var transposed: Bool
    var vectors: Int
    var scratch: Int
    var per_worker: Int
    var per_task: Int

    def __init__(out self, what: Int, a: Int, by_rows: Bool, rows: Int, cols: Int, count: Int):
        self.what = what
        self.a = a
        self.by_rows = by_rows
        self.rows = rows
        self.cols = cols
        self.count = count
        self.result = self.second = self.pivots = self.infos = 0
        self.columns = self.second_rows = self.second_cols = 0
        self.upper = self.left = self.unit = self.transposed = False
        self.vectors = self.scratch = self.per_worker = self.per_task = 0

    def go(mut self) raises:
        comptime size = size_of[Scalar[Self.dt]]()
        self.vectors = self.rows * self.cols + min(self.rows, self.cols)
        self.vectors += self.second_rows * self.second_cols + self.rows * max(self.columns, self.cols)
        # behind the vectors the pivots of a group
        self.per_worker = self.vectors * Self.w * size + 4 * LARGEST * Self.w + 192
        var k = min(self.rows, self.cols)
        var work = self.count * (self.rows * self.cols * k + self.rows * self.second_cols * k)
        var groups = ceildiv(self.count, Self.w)
        var threads = min(num_threads(), groups) if work >= SPREAD_WORK else 1
        var space = Workspace.take(self.per_worker * threads)
        if space.address == 0:
            raise Error("OutOfMemoryError|torch.linalg: no memory for a group of matrices")
        self.scratch = space.address
        var held = release_gil() if work > LONG_WORK else 0
        self.per_task = ceildiv(groups, 4 * threads) if threads > 1 else groups
        parallel(self, ceildiv(groups, self.per_task), threads)
        if held != 0:
            take_gil(held)
        space.give()

    def run(self, task: Int, worker: Int):
        for g in range(task * self.per_task, min((task + 1) * self.per_task, ceildiv(self.count, Self.w))):
            self._group(g * Self.w, self.scratch + worker * self.per_worker)

    def _group(self, first: Int, buffer: Int):
        comptime size = size_of[Scalar[Self.dt]]()
        var x = Lanes[Self.dt, Self.w](buffer)
        var lanes = min(Self.w, self.count - first)
        var area = self.rows * self.cols
        var m = by_columns(0, self.rows, self.cols)
        if self.by_rows:
            m = by_columns(0, self.cols, self.rows).t()
        _take(x, 0, self.a + first * area * size, area, lanes)
        var k = min(self.rows, self.cols)
        var pivots = at[Int32](buffer + self.vectors * Self.w * size)
        var second = by_columns(area, self.second_rows, self.second_cols)
        var second_at = self.second + first * self.second_rows * self.second_cols * size
        if self.what == LU:
            self._infos(first, lanes, _factor_lu(x, m, pivots))
            self._pivots_out(first, lanes, k, pivots)
            _give(x, m, self.result + first * area * size, lanes)
        elif self.what == INVERSE:
            var info = _factor_lu(x, m, pivots)
            self._infos(first, lanes, info)
            var inverse = by_columns(area, k, k)
            for i in range(k):
                for j in range(k):
                    x.set(inverse.at(i, j), SIMD[Self.dt, Self.w](1 if i == j else 0))
            for i in range(k):
                _exchange(x, inverse, i, i + 1, pivots.unsafe_load[width=Self.w](i * Self.w))
            _substitute(x, m, inverse, False, True)
            _substitute(x, m, inverse, True, False)
            var failed = info.ne(0)
            if failed.reduce_or():
                for i in range(k):
                    for j in range(k):
                        var at_ = inverse.at(i, j)
                        x.set(at_, failed.select(x.get(m.at(i, j)), x.get(at_)))
            _give(x, inverse, self.result + first * area * size, lanes)
        elif self.what == CHOLESKY:
            var lower = m.t() if self.upper else m
            self._infos(first, lanes, _factor_cholesky(x, lower))
            _give(x, m, self.result + first * area * size, lanes)
        elif self.what == LU_SOLVE:
            _take(x, area, second_at, self.second_rows * self.second_cols, lanes)
            self._pivots_in(first, lanes, k, pivots)
            if not self.transposed:
                for i in range(k):
                    _exchange(x, second, i, 0, pivots.unsafe_load[width=Self.w](i * Self.w))
                _substitute(x, m, second, False, True)
                _substitute(x, m, second, True, False)
            else:
                _substitute(x, m.t(), second, False, False)
                _substitute(x, m.t(), second, True, True)
                for i in reversed(range(k)):
                    _exchange(x, second, i, 0, pivots.unsafe_load[width=Self.w](i * Self.w))
            _give(x, second, second_at, lanes)
        elif self.what == TRIANGULAR:
            _take(x, area, second_at, self.second_rows * self.second_cols, lanes)
            if self.left:
                _substitute(x, m, second, self.upper, self.unit)
            else:
                _substitute(x, m.t(), second.t(), not self.upper, self.unit)
            _give(x, second, second_at, lanes)
        else:
            var taus = area + self.rows * self.columns
            _factor_qr(x, m, taus)
            if self.columns > 0:
                var q = by_columns(area, self.rows, self.columns)
                _form_q(x, m, taus, q)
                _give(x, q, self.result + first * self.rows * self.columns * size, lanes)
            for j in range(self.cols):
                for i in range(j + 1, self.rows):
                    x.set(m.at(i, j), SIMD[Self.dt, Self.w](0))
            var r = m
            r.rows = self.second_rows
            _give(x, r, second_at, lanes)

    def _infos(self, first: Int, lanes: Int, info: SIMD[DType.int32, Self.w]):
        for lane in range(lanes):
            store[Int](self.infos + 8 * (first + lane), Int(info[lane]))

    def _pivots_out(self, first: Int, lanes: Int, k: Int, pivots: Ptr[Int32]):
        for lane in range(lanes):
            for i in range(k):
                var p = Int(pivots[unsafe_offset=i * Self.w + lane]) + 1
                store[Int](self.pivots + 8 * ((first + lane) * k + i), p)

    def _pivots_in(self, first: Int, lanes: Int, k: Int, pivots: Ptr[Int32]):
        for i in range(k):
            pivots.unsafe_store(i * Self.w, SIMD[DType.int32, Self.w](Int32(i)))
        for lane in range(lanes):
            for i in range(k):
                var p = load[Int](self.pivots + 8 * ((first + lane) * k + i))
                pivots[unsafe_offset=i * Self.w + lane] = Int32(p - 1)


# ---------------------------------------------------------------- what the families call


struct Source(Movable):
    """The matrices of a tensor in one piece: the tensor itself where it lies so, else a copy."""

    var tensor: Obj
    var by_rows: Bool
    var rows: Int
    var cols: Int
    var count: Int

    def __init__(out self, t: TPtr) raises:
        var r = t[].rank()
        self.rows = t[].shape[r - 2]
        self.cols = t[].shape[r - 1]
        self.count = t[].numel // (self.rows * self.cols)
        self.by_rows = t[].contiguous()
        self.tensor = new_ref(Int(t)) if self.by_rows else readable(t, t[].shape, r - 2).tensor

    def __deinit__(deinit self):
        decref(self.tensor)

    def job[dt: DType](self, what: Int) -> Small[dt, Int(simd_width_of[dt]())]:
        return Small[dt, Int(simd_width_of[dt]())](
            what, as_tensor(self.tensor)[].data(), self.by_rows, self.rows, self.cols, self.count
        )


def _factor[dt: DType](what: Int, s: Source, result: Int, pivots: Int, infos: Int, upper: Bool) raises:
    var job = s.job[dt](what)
    job.result = result
    job.pivots = pivots
    job.infos = infos
    job.upper = upper
    job.go()


def _factored(what: Int, t: TPtr, pivots: Int, infos: Int, upper: Bool) raises -> Matrices:
    var s = Source(t)
    var a = new_matrices(t[].code(), t[].shape, t[].rank() - 2, s.rows, s.cols)
    if t[].code() == FLOAT32:
        _factor[DType.float32](what, s, a.data(), pivots, infos, upper)
    else:
        _factor[DType.float64](what, s, a.data(), pivots, infos, upper)
    return a


def small_lu(t: TPtr, pivots: Int, infos: Int) raises -> Matrices:
    """What getrf makes of the matrices; pivots and status as words."""
    return _factored(LU, t, pivots, infos, False)


def small_inverse(t: TPtr, infos: Int) raises -> Matrices:
    """The inverses; where a matrix is singular, its factors."""
    return _factored(INVERSE, t, 0, infos, False)


def small_cholesky(t: TPtr, upper: Bool, infos: Int) raises -> Matrices:
    """The factors, with zeros in the other triangle."""
    return _factored(CHOLESKY, t, 0, infos, upper)


def _solve[
    dt: DType
](what: Int, a: Matrices, x: Matrices, pivots: Int, transposed: Bool, upper: Bool, left: Bool, unit: Bool) raises:
    var job = Small[dt, Int(simd_width_of[dt]())](what, a.data(), False, a.rows, a.cols, a.count)
    job.second = x.data()
    job.second_rows = x.rows
    job.second_cols = x.cols
    job.pivots = pivots
    job.transposed = transposed
    job.upper = upper
    job.left = left
    job.unit = unit
    job.go()


def small_lu_solve(a: Matrices, pivots: Int, x: Matrices, transposed: Bool) raises:
    """What getrs does."""
    if x.code == FLOAT32:
        _solve[DType.float32](LU_SOLVE, a, x, pivots, transposed, False, True, False)
    else:
        _solve[DType.float64](LU_SOLVE, a, x, pivots, transposed, False, True, False)


def small_triangular(a: Matrices, x: Matrices, upper: Bool, left: Bool, unit: Bool) raises:
    """What trsm does."""
    if x.code == FLOAT32:
        _solve[DType.float32](TRIANGULAR, a, x, 0, False, upper, left, unit)
    else:
        _solve[DType.float64](TRIANGULAR, a, x, 0, False, upper, left, unit)


def _qr[dt: DType](s: Source, q: Int, columns: Int, r: Matrices) raises:
    var job = s.job[dt](QR)
    job.result = q
    job.columns = columns
    job.second = r.data()
    job.second_rows = r.rows
    job.second_cols = r.cols
    job.go()


def small_qr(t: TPtr, q: Int, columns: Int, r: Matrices) raises:
    """R, and the first columns of Q at an address (none: R alone)."""
    var s = Source(t)
    if t[].code() == FLOAT32:
        _qr[DType.float32](s, q, columns, r)
    else:
        _qr[DType.float64](s, q, columns, r)
