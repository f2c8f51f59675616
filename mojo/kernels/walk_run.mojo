"""The loop of all indexing (see kernels/walk.mojo), compiled once and called through kernels/index_api.mojo.

A run along which the index stays and both sides are contiguous is a block copy or a vector operation. Values move as
bits, by element size; only sums, products and extremes know the dtype.
"""

from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from std.utils.numerics import isnan
from tensor.dtype import BCOMPLEX32, COMPLEX32, COMPLEX64, COMPLEX128, FLOAT64, dtype_of, itemsize
from tensor.layout import no_dims
from tensor.memory import at, load, memcpy, store
from tensor.py import release_gil, take_gil
from tensor.threads import Body, parallel
from kernels.functor import compute
from kernels.walk import ADD, MAXIMUM, MINIMUM, MULTIPLY, PUT, Span3, TAKE


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
        if Self.mode == TAKE and sa == 0 and sb == Self.SIZE and si == 8:
            for _ in range(rows):
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
        var i = 0
        while i + 4 <= n:
            var v = at[Int64](index).unsafe_load[width=4](i) * Int64(step)
            var x0 = load[E](a + Int(v[0]))
            var x1 = load[E](a + Int(v[1]))
            var x2 = load[E](a + Int(v[2]))
            var x3 = load[E](a + Int(v[3]))
            store[E](b + i * Self.SIZE, x0)
            store[E](b + (i + 1) * Self.SIZE, x1)
            store[E](b + (i + 2) * Self.SIZE, x2)
            store[E](b + (i + 3) * Self.SIZE, x3)
            i += 4
        while i < n:
            store[E](b + i * Self.SIZE, load[E](a + load[Int](index + 8 * i) * step))
            i += 1

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
                    at[Scalar[Self.dt]](a).unsafe_store(i, self._folded(x, y).cast[Self.dt]())
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
