"""The loop of all indexing (see kernels/walk.mojo), compiled once and called through kernels/index_api.mojo.

A run along which the index stays and both sides are contiguous is a block copy or a vector operation. Values move as
bits, by element size; only sums, products and extremes know the dtype.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.bit import pop_count
from std.memory import Pointer, pack_bits, stack_allocation
from std.sys import CompilationTarget, llvm_intrinsic
from std.sys.info import simd_width_of, size_of
from std.utils.numerics import isnan
from tensor.dtype import BCOMPLEX32, COMPLEX32, COMPLEX64, COMPLEX128, FLOAT64, dtype_of, itemsize
from tensor.layout import no_dims
from tensor.memory import at, load, memcpy, store
from tensor.threads import Body, MAX_THREADS, num_threads, parallel
from kernels.functor import compute
from kernels.narrow import narrow
from kernels.unlocked import run_tasks
from kernels.walk import ADD, MAXIMUM, MINIMUM, MULTIPLY, PUT, SMALL, Span3, TAKE, first_outside

# how the tasks of what writes are cut: by a dimension that is not indexed, or by the places that are written; then each
# task looks through all the indices, and what it writes is its own part of the memory
comptime BY_DIMENSION = 0
comptime BY_ROWS = 1
comptime BY_ELEMENTS = 2

comptime LONG = 1 << 16  # elements from which on two threads look through the indices
comptime MOST = 8  # threads that do
comptime SAMPLE = 512
comptime PICKED = 1024  # elements that are looked through at once


@always_inline
def _compressed[dt: DType, w: SIMDLength](x: SIMD[dt, w], mask: SIMD[DType.bool, w]) -> SIMD[dt, w]:
    """The elements of the mask side by side."""
    return llvm_intrinsic["llvm.experimental.vector.compress", SIMD[dt, w], has_side_effect=False](
        x, mask, SIMD[dt, w](0)
    )


struct Walk[dt: DType, lanes: Int, mode: Int](Body):
    """A walk over elements of `lanes` values of a dtype: two for complex numbers and for 16-byte elements."""

    comptime SIZE = size_of[Scalar[Self.dt]]() * Self.lanes
    comptime C = compute[Self.dt]
    comptime W = simd_width_of[Self.C]()
    # elements that a vector instruction can put side by side
    comptime PICKS = (
        Self.mode != TAKE and Self.lanes == 1 and size_of[Scalar[Self.dt]]() >= 4 and CompilationTarget.has_avx512f()
    )
    var span: Span3
    var way: Int
    var stretches: Int  # of the places that are written, where these are what is cut

    def __init__(out self, span: Span3):
        self.span = span.copy()
        self.way = BY_DIMENSION
        self.stretches = 1

    def execute(mut self):
        self.span.merge()
        if self.span.count() == 0:
            return
        var tasks = self.span.plan(Self.mode != TAKE, Self.SIZE)
        comptime if Self.mode != TAKE:
            if num_threads() > 1 and (self._stretches_of_rows() or self._stretches_of_elements()):
                tasks = self.stretches
        run_tasks(self, tasks, self.span.count())

    def _stretches_of_rows(mut self) -> Bool:
        """Whole rows are written, and each task can write to places of its own; not where few of them would have most of
        the work, or where it is little."""
        ref s = self.span
        if s.ndim != 2 or s.dim != 0 or s.si[1] != 0 or s.sa[1] != 1 or s.sb[1] != 1 or s.shape[1] * Self.SIZE < 256:
            return False
        var n = s.shape[0]
        var tasks = 4 * num_threads()
        if n < 4 * tasks or n * s.shape[1] < SMALL:
            return False
        var last = 0
        for i in range(n):
            last = max(last, load[Int](s.index + 8 * s.si[0] * i))
        return self._cut(BY_ROWS, n, s.si[0], last, tasks)

    def _stretches_of_elements(mut self) -> Bool:
        """The same for a long vector of elements: a task that looks through all the indices picks its own by vectors.
        """
        comptime if not Self.PICKS:
            return False
        ref s = self.span
        var n = s.shape[1]
        if s.ndim != 2 or s.shape[0] != 1 or s.dim != 1 or s.si[1] != 1 or s.sb[1] != 1 or n < LONG:
            return False
        # a sample of the indices: the last stretch has no end
        var step = n // SAMPLE
        var last = 0
        for i in range(SAMPLE):
            last = max(last, load[Int](s.index + 8 * step * i))
        return self._cut(BY_ELEMENTS, SAMPLE, step, last, min(num_threads(), MOST))

    def _cut(mut self, way: Int, n: Int, step: Int, last: Int, tasks: Int) -> Bool:
        """Cuts the places up to `last` if n of the indices, `step` from one to the next, fall evenly enough."""
        var each = last // tasks + 1
        var counts = Array[Int, 4 * MAX_THREADS](fill=0)
        var most = 0
        for i in range(n):
            var k = load[Int](self.span.index + 8 * step * i) // each
            counts[k] += 1
            most = max(most, counts[k])
        if most * tasks > (2 * n if way == BY_ROWS else n + n // 2):
            return False
        self.way = way
        self.span.per_task = each
        self.stretches = last // each + 1
        return True

    def _run_rows(self, task: Int):
        """The rows of one stretch, in the order of the indices."""
        var low = task * self.span.per_task
        var high = low + self.span.per_task
        for i in range(self.span.shape[0]):
            var k = load[Int](self.span.index + 8 * self.span.si[0] * i)
            if k >= low and k < high:
                self._block(
                    self.span.a + k * self.span.step * Self.SIZE,
                    self.span.b + i * self.span.sb[0] * Self.SIZE,
                    self.span.shape[1],
                )

    def _run_elements(self, task: Int):
        """The elements of one stretch, in the order of the indices: picked block by block, then written."""
        comptime E = Scalar[Self.dt]
        comptime V = 8
        var places = stack_allocation[PICKED + V, Int64]()
        var values = stack_allocation[PICKED + V, E]()
        var low = Int64(task * self.span.per_task)
        var size = UInt64(self.span.per_task if task + 1 < self.stretches else Int.MAX)
        var index = at[Int64](self.span.index)
        var b = at[E](self.span.b)
        var a = at[E](self.span.a)
        var n = self.span.shape[1]
        var i = 0
        while i < n:
            var end = min(i + PICKED, n)
            var found = 0
            while i + V <= end:
                var k = index.unsafe_load[width=V](i)
                var own = (k - SIMD[DType.int64, V](low)).cast[DType.uint64]().lt(SIMD[DType.uint64, V](size))
                places.unsafe_store(found, _compressed(k, own))
                values.unsafe_store(found, _compressed(b.unsafe_load[width=V](i), own))
                found += Int(pop_count(pack_bits[dtype=DType.uint8](own)))
                i += V
            while i < end:
                var k = index[unsafe_offset=i]
                places[unsafe_offset=found] = k
                values[unsafe_offset=found] = b[unsafe_offset=i]
                found += Int(UInt64(k - low) < size)
                i += 1
            for j in range(found):
                var to = a.unsafe_offset(Int(places[unsafe_offset=j]) * self.span.step)
                var value = values[unsafe_offset=j]
                comptime if Self.mode == PUT:
                    to[] = value
                else:
                    to[] = self._folded(to[].cast[Self.C](), value.cast[Self.C]()).cast[Self.dt]()

    def run(self, task: Int, worker: Int):
        comptime if Self.mode != TAKE:
            if self.way == BY_ROWS:
                self._run_rows(task)
                return
        comptime if Self.PICKS:
            if self.way == BY_ELEMENTS:
                self._run_elements(task)
                return
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
        if Self.mode == TAKE and sa == 0 and sb == Self.SIZE and si == 8:
            var left = rows
            if row_i == 0:
                while left >= 4:
                    self._picked_four(a, row_a, b, row_b, index, step, columns)
                    a += 4 * row_a
                    b += 4 * row_b
                    left -= 4
            for _ in range(left):
                self._picked(a, b, index, step, columns)
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
    def _picked(self, a: Int, b: Int, index: Int, step: Int, n: Int):
        """One row: elements at indices that lie side by side, to places that do."""
        comptime E = SIMD[Self.dt, Self.lanes]
        for i in range(n):
            store[E](b + i * Self.SIZE, load[E](a + load[Int](index + 8 * i) * step))

    @always_inline
    def _picked_four(self, a: Int, row_a: Int, b: Int, row_b: Int, index: Int, step: Int, n: Int):
        """The same of four rows at the same indices."""
        comptime E = SIMD[Self.dt, Self.lanes]
        for i in range(n):
            var from_ = a + load[Int](index + 8 * i) * step
            var to = b + i * Self.SIZE
            var x0 = load[E](from_)
            var x1 = load[E](from_ + row_a)
            var x2 = load[E](from_ + 2 * row_a)
            var x3 = load[E](from_ + 3 * row_a)
            store[E](to, x0)
            store[E](to + row_b, x1)
            store[E](to + 2 * row_b, x2)
            store[E](to + 3 * row_b, x3)

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
                    at[Scalar[Self.dt]](a).unsafe_store(i, narrow[Self.dt](self._folded(x, y)))
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
            comptime if Self.mode == MULTIPLY or Self.mode == MINIMUM:
                at[UInt8](a)[] = at[UInt8](a)[] & at[UInt8](b)[]
            else:
                if self.span.factor != 0:
                    at[UInt8](a)[] = at[UInt8](a)[] | at[UInt8](b)[]
        elif Self.lanes == 2:
            var f = self.span.factor.cast[Self.C]()
            var g = self.span.factor_im.cast[Self.C]()
            var re = at[E](b)[].cast[Self.C]()
            var im = at[E](b)[unsafe_offset=1].cast[Self.C]()
            var x = at[E](a)[].cast[Self.C]()
            var y = at[E](a)[unsafe_offset=1].cast[Self.C]()
            comptime if Self.mode == ADD:
                at[E](a)[] = (x + (re * f - im * g)).cast[Self.dt]()
                at[E](a)[unsafe_offset=1] = (y + (re * g + im * f)).cast[Self.dt]()
            else:
                at[E](a)[] = (x * re - y * im).cast[Self.dt]()
                at[E](a)[unsafe_offset=1] = (x * im + y * re).cast[Self.dt]()
        else:
            at[E](a)[] = self._folded(at[E](a)[].cast[Self.C](), at[E](b)[].cast[Self.C]()).cast[Self.dt]()

    @always_inline
    def _folded[w: SIMDLength](self, x: SIMD[Self.C, w], y: SIMD[Self.C, w]) -> SIMD[Self.C, w]:
        """What an element becomes when a value is put to it."""
        comptime if Self.mode == ADD:
            return x + y * SIMD[Self.C, w](self.span.factor.cast[Self.C]())
        elif Self.mode == MULTIPLY:
            return x * y
        else:
            var takes = y.gt(x) if Self.mode == MAXIMUM else y.lt(x)
            comptime if Self.C.is_floating_point():
                takes = takes | isnan(y)
            return takes.select(y, x)


def _move[mode: Int](span: Span3, size: Int):
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


def _fold[mode: Int](span: Span3, code: Int) -> Int:
    """Adds, multiplies, ... elements of a dtype; 1 for a dtype that cannot."""
    comptime for c in range(FLOAT64 + 1):
        if code == c:
            var w = Walk[dtype_of[c], 1, mode](span)
            w.execute()
            return 0
    comptime if mode == ADD or mode == MULTIPLY:
        comptime for c in [COMPLEX32, COMPLEX64, COMPLEX128, BCOMPLEX32]:
            if code == c:
                comptime part = (
                    DType.float16 if c
                    == COMPLEX32 else DType.float32 if c
                    == COMPLEX64 else DType.float64 if c
                    == COMPLEX128 else DType.bfloat16
                )
                var w = Walk[part, 2, mode](span)
                w.execute()
                return 0
    return 1


# ---------------------------------------------------------------- bounds

comptime BOUNDS = 1 << 15  # indices that a task looks at


@fieldwise_init
struct Bounds(Body):
    """Looks for indices that are not in [0, size)."""

    var index: Int
    var n: Int
    var size: Int
    var bad: Int  # address of a word that becomes 1 if there is one

    def run(self, task: Int, worker: Int):
        var start = task * BOUNDS
        if first_outside(self.index + 8 * start, min(BOUNDS, self.n - start), self.size) >= 0:
            store[Int](self.bad, 1)


@export("dumbtorch_first_outside")
def find_outside(index: Int, n: Int, size: Int) abi("C") -> Int:
    """As `first_outside`, on the threads."""
    if n < 2 * BOUNDS:
        return first_outside(index, n, size)
    var bad = external_call["calloc", Int](1, Int(8))
    if bad == 0:
        return first_outside(index, n, size)
    var work = Bounds(index, n, size, bad)
    parallel(work, ceildiv(n, BOUNDS))
    var found = load[Int](bad) != 0
    external_call["free", NoneType](bad)
    return first_outside(index, n, size) if found else -1


@export("dumbtorch_walk")
def walk(span: Pointer[Span3, MutAnyOrigin], mode: Int, code: Int) abi("C") -> Int:
    """A walk over host memory: 0, or 1 for a dtype that has no such operation."""
    if mode == TAKE:
        _move[TAKE](span[], itemsize(code))
    elif mode == PUT:
        _move[PUT](span[], itemsize(code))
    elif mode == ADD:
        return _fold[ADD](span[], code)
    elif mode == MULTIPLY:
        return _fold[MULTIPLY](span[], code)
    elif mode == MAXIMUM:
        return _fold[MAXIMUM](span[], code)
    else:
        return _fold[MINIMUM](span[], code)
    return 0
