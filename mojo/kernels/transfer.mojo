"""Copying between two strided layouts, whatever their dtypes: the machine behind `copy_`, `clone`, `cat`, `fill_`.

A `Transfer` sorts the dimensions by the destination's strides, merges them and picks how an innermost stretch is moved:
as it lies, cast, element by element, or, where the source runs along another dimension, transposed in registers.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.os import abort
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.allocator import aligned_block
from tensor.dtype import BOOL, NUM_DTYPES, UINT64, UINT8, itemsize
from tensor.layout import Dims, no_dims
from tensor.loop import CastFn
from tensor.memory import at, function_at, load, memcpy, store
from tensor.move import STREAM_BYTES, stream_copy, stream_fence, strided_copy, transpose
from tensor.py import release_gil, take_gil
from tensor.runtime import runtime
from tensor.threads import Body, num_threads, parallel

comptime ROWS = 0  # both run along the innermost dimension
comptime REPEAT = 1  # the source has one element for the whole innermost dimension
comptime TILES = 2  # the source runs along another dimension: blocks are transposed
comptime STRIDED = 3
comptime VALUE = 4  # no source: a constant
comptime SPREAD = 5  # each element of a contiguous source a few times, side by side

comptime TASK_BYTES = 1 << 18
comptime ALONE_BYTES = 1 << 20  # less than this is not worth a second thread
comptime TILE = 64  # columns of the source in one unit of a transposing copy
comptime STAGE = 512
comptime FEW = 16  # repetitions of an element that a vector holds


def same_bits(a: Int, b: Int) -> Bool:
    """A cast between the two dtypes changes no bit."""
    return a == b or (a >= UINT8 and a <= UINT64 and b >= UINT8 and b <= UINT64 and itemsize(a) == itemsize(b))


struct Transfer(Body):
    var dst: Int
    var src: Int
    var dst_size: Int
    var src_size: Int
    var cast: Int  # the cast's function, 0 where bits are kept
    var mode: Int
    var ndim: Int
    var tile_dim: Int
    var shape: Dims  # fastest first, in the destination's order; strides in bytes
    var ds: Dims
    var ss: Dims
    var chunk: Int  # elements of the innermost dimension in a unit (TILES: of the tile dimension)
    var chunks: Int
    var units: Int
    var units_per_task: Int
    var streams: Bool  # what is written is too large for the caches and goes around them
    var low: UInt64  # the constant
    var high: UInt64

    def __init__(out self, dst: Int, dst_code: Int, src: Int, src_code: Int):
        self.dst = dst
        self.src = src
        self.dst_size = itemsize(dst_code)
        self.src_size = itemsize(src_code)
        self.cast = 0 if same_bits(dst_code, src_code) else runtime()[].casts[src_code * NUM_DTYPES + dst_code]
        self.mode = ROWS
        self.ndim = 0
        self.tile_dim = 0
        self.shape = no_dims()
        self.ds = no_dims()
        self.ss = no_dims()
        self.chunk = 1
        self.chunks = 1
        self.units = 1
        self.units_per_task = 1
        self.streams = False
        self.low = 0
        self.high = 0

    def layout(mut self, shape: Dims, ds: Dims, ss: Dims, ndim: Int) -> Bool:
        """Takes sizes and element strides, sorts and merges; False when there is nothing to move."""
        var n = 0
        for j in range(ndim):
            var i = ndim - 1 - j
            if shape[i] == 0:
                return False
            if shape[i] == 1:
                continue
            # insertion by the destination's stride, then the source's
            var k = n
            while k > 0 and (
                self.ds[k - 1] > ds[i] * self.dst_size
                or (self.ds[k - 1] == ds[i] * self.dst_size and self.ss[k - 1] > ss[i] * self.src_size)
            ):
                self.shape[k] = self.shape[k - 1]
                self.ds[k] = self.ds[k - 1]
                self.ss[k] = self.ss[k - 1]
                k -= 1
            self.shape[k] = shape[i]
            self.ds[k] = ds[i] * self.dst_size
            self.ss[k] = ss[i] * self.src_size
            n += 1
        var m = 0
        for i in range(n):
            if (
                m > 0
                and self.ds[i] == self.ds[m - 1] * self.shape[m - 1]
                and self.ss[i] == self.ss[m - 1] * self.shape[m - 1]
            ):
                self.shape[m - 1] *= self.shape[i]
                continue
            self.shape[m] = self.shape[i]
            self.ds[m] = self.ds[i]
            self.ss[m] = self.ss[i]
            m += 1
        if m == 0:
            self.shape[0] = 1
            self.ds[0] = self.dst_size
            self.ss[0] = self.src_size
            m = 1
        self.ndim = m
        return True

    def execute(mut self, constant: Bool):
        """Chooses the way and runs it, over threads when there is much to move."""
        self._choose(constant)
        var total = max(self.dst_size, self.src_size)
        for i in range(self.ndim):
            total *= self.shape[i]
        var along = (self.mode == ROWS or self.mode == VALUE) and self.ds[0] == self.dst_size and self.shape[0] >= STAGE
        self.streams = along and total // max(self.dst_size, self.src_size) * self.dst_size >= STREAM_BYTES
        if total < ALONE_BYTES:
            self._run(0, self.units)
            return
        var held = release_gil()
        var threads = num_threads()
        var tasks = 1
        if threads > 1:
            tasks = min(min(ceildiv(total, TASK_BYTES), threads * 8), self.units)
        self.units_per_task = ceildiv(self.units, tasks)
        parallel(self, ceildiv(self.units, self.units_per_task))
        take_gil(held)

    def _choose(mut self, constant: Bool):
        var across = 0
        if constant:
            self.mode = VALUE
        elif self.ds[0] == self.dst_size and self.ss[0] == self.src_size:
            self.mode = ROWS
        elif self.ss[0] == 0:
            self.mode = REPEAT
            var size = self.dst_size
            if (
                self.cast == 0 and size <= 8 and self.ndim > 1 and self.shape[0] <= FEW and self.ds[0] == size
                and self.ds[1] == self.shape[0] * size and self.ss[1] == size
            ):  # fmt: skip
                self.mode = SPREAD
                across = 1
        else:
            self.mode = STRIDED
            if self.ds[0] == self.dst_size and self.shape[0] >= 2:
                for i in range(1, self.ndim):
                    if self.ss[i] == self.src_size and self.shape[i] >= 4:
                        across = i
                        self.mode = TILES
        self.tile_dim = across
        var along = self.shape[across]
        self.chunk = along
        if self.mode == TILES:
            self.chunk = min(along, TILE)
        elif along * self.dst_size >= 2 * TASK_BYTES:
            self.chunk = 32768
        self.chunks = ceildiv(along, self.chunk)
        self.units = self.chunks
        for i in range(1, self.ndim):
            if i != across:
                self.units *= self.shape[i]

    def run(self, task: Int, worker: Int):
        var start = task * self.units_per_task
        self._run(start, min(start + self.units_per_task, self.units))

    def _run(self, start: Int, end: Int):
        var scratch = 0
        if self.streams or self.cast != 0 and (self.mode == STRIDED or self.mode == REPEAT or self.mode == TILES):
            scratch = aligned_block(TILE * TILE * 16 + 2 * STAGE * 16, 64)
            if scratch == 0:
                abort("out of memory for the scratch of a copy")
        var d = self.dst
        var s = self.src
        var index = no_dims()
        var rest = start // self.chunks
        var chunk = start % self.chunks
        for i in range(1, self.ndim):
            if i != self.tile_dim:
                index[i] = rest % self.shape[i]
                rest //= self.shape[i]
                d += index[i] * self.ds[i]
                s += index[i] * self.ss[i]
        for _ in range(start, end):
            self._move(d, s, chunk, scratch)
            chunk += 1
            if chunk < self.chunks:
                continue
            chunk = 0
            for i in range(1, self.ndim):
                if i == self.tile_dim:
                    continue
                index[i] += 1
                d += self.ds[i]
                s += self.ss[i]
                if index[i] < self.shape[i]:
                    break
                index[i] = 0
                d -= self.shape[i] * self.ds[i]
                s -= self.shape[i] * self.ss[i]
        if self.streams:
            stream_fence()
        if scratch != 0:
            external_call["free", NoneType](scratch)

    @always_inline
    def _move(self, d_: Int, s_: Int, chunk: Int, scratch: Int):
        var first = chunk * self.chunk
        var d = d_ + first * self.ds[self.tile_dim]
        var s = s_ + first * self.ss[self.tile_dim]
        var n = min(self.chunk, self.shape[self.tile_dim] - first)
        if self.streams:
            self._stream(d, s, n, scratch)
        elif self.mode == ROWS:
            if self.cast != 0:
                function_at[CastFn](self.cast)(s, d, n)
            elif n * self.dst_size <= 64 and self.dst_size == 4:
                for i in range(n):
                    store[UInt32](d + 4 * i, load[UInt32](s + 4 * i))
            else:
                memcpy(d, s, n * self.dst_size)
        elif self.mode == TILES:
            self._tile(d, s, n, scratch)
        elif self.mode == VALUE:
            fill_run(d, self.ds[0], self.dst_size, n, self.low, self.high)
        elif self.mode == SPREAD:
            spread(d, s, self.dst_size, self.shape[0], n)
        elif self.mode == REPEAT:
            var from_ = s
            if self.cast != 0:
                function_at[CastFn](self.cast)(s, scratch, 1)
                from_ = scratch
            var value = _element(from_, self.dst_size)
            fill_run(d, self.ds[0], self.dst_size, n, value[0], value[1])
        elif self.cast == 0 and self.ss[0] == -self.dst_size and self.ds[0] == self.dst_size:
            reversed_copy(d, s, self.dst_size, n)
        elif self.cast == 0:
            strided_copy(s, self.ss[0], d, self.ds[0], self.dst_size, n)
        else:
            self._strided_cast(d, s, n, scratch)

    @no_inline
    def _stream(self, d: Int, s: Int, n: Int, scratch: Int):
        """A contiguous run; casts and constants are made in scratch."""
        if self.mode == ROWS and self.cast == 0:
            stream_copy(d, s, n * self.dst_size)
            return
        if self.mode == VALUE:
            fill_run(scratch, self.dst_size, self.dst_size, STAGE, self.low, self.high)
        var i = 0
        while i < n:
            var count = min(STAGE, n - i)
            if self.mode == ROWS:
                function_at[CastFn](self.cast)(s + i * self.src_size, scratch, count)
            stream_copy(d + i * self.dst_size, scratch, count * self.dst_size)
            i += count

    @no_inline
    def _strided_cast(self, d_: Int, s_: Int, n: Int, scratch: Int):
        var f = function_at[CastFn](self.cast)
        var i = 0
        while i < n:
            var count = min(STAGE, n - i)
            var s = s_ + i * self.ss[0]
            var d = d_ + i * self.ds[0]
            var from_ = s
            if self.ss[0] != self.src_size:
                strided_copy(s, self.ss[0], scratch, self.src_size, self.src_size, count)
                from_ = scratch
            if self.ds[0] == self.dst_size:
                f(from_, d, count)
            else:
                var made = scratch + STAGE * 16
                f(from_, made, count)
                strided_copy(made, self.dst_size, d, self.ds[0], self.dst_size, count)
            i += count

    @no_inline
    def _tile(self, d: Int, s: Int, columns: Int, scratch: Int):
        """Destination rows `0 .. columns` (along the tile dimension), all of the innermost dimension."""
        var rows = self.shape[0]
        var row_step = self.ss[0]
        var column_step = self.ds[self.tile_dim]
        if self.cast == 0:
            transpose(d, column_step, s, row_step, rows, columns, self.dst_size)
            return
        var f = function_at[CastFn](self.cast)
        var size = self.src_size
        var i = 0
        while i < rows:
            var count = min(TILE, rows - i)
            transpose(scratch, TILE * size, s + i * row_step, row_step, count, columns, size)
            for j in range(columns):
                f(scratch + j * TILE * size, d + j * column_step + i * self.dst_size, count)
            i += count


@always_inline
def _element(address: Int, size: Int) -> Tuple[UInt64, UInt64]:
    if size == 1:
        return (UInt64(load[UInt8](address)), UInt64(0))
    if size == 2:
        return (UInt64(load[UInt16](address)), UInt64(0))
    if size == 4:
        return (UInt64(load[UInt32](address)), UInt64(0))
    if size == 8:
        return (load[UInt64](address), UInt64(0))
    return (load[UInt64](address), load[UInt64](address + 8))


def _fill[T: DType](d: Int, step: Int, n: Int, value: Scalar[T]):
    comptime W = simd_width_of[T]()
    if step == size_of[Scalar[T]]():
        var p = at[Scalar[T]](d)
        var v = SIMD[T, W](value)
        var i = 0
        while i + W <= n:
            p.unsafe_store(i, v)
            i += W
        while i < n:
            p[unsafe_offset=i] = value
            i += 1
    else:
        for i in range(n):
            store[Scalar[T]](d + i * step, value)


def fill_run(d: Int, step: Int, size: Int, n: Int, low: UInt64, high: UInt64):
    """Writes one value n times, `step` bytes apart."""
    if size == 4:
        _fill[DType.uint32](d, step, n, low.cast[DType.uint32]())
    elif size == 8:
        _fill[DType.uint64](d, step, n, low)
    elif size == 1:
        _fill[DType.uint8](d, step, n, low.cast[DType.uint8]())
    elif size == 2:
        _fill[DType.uint16](d, step, n, low.cast[DType.uint16]())
    else:
        for i in range(n):
            store[UInt64](d + i * step, low)
            store[UInt64](d + i * step + 8, high)


def _spread[T: DType](d: Int, s: Int, times: Int, n: Int):
    comptime W = simd_width_of[T]()
    var p = at[Scalar[T]](s)
    var q = at[Scalar[T]](d)
    var i = 0
    if times == 2:
        while i + W <= n:
            var x = p.unsafe_load[width=W](i)
            q.unsafe_store(2 * i, x.interleave(x))
            i += W
    else:
        # a whole vector each time: the next one overwrites what is too much of it
        comptime for w in [4, 8, FEW]:
            if (w == 4 or times > w // 2) and times <= w:
                while i * times + w <= n * times:
                    q.unsafe_store(i * times, SIMD[T, w](p[unsafe_offset=i]))
                    i += 1
    while i < n:
        for k in range(times):
            q[unsafe_offset=i * times + k] = p[unsafe_offset=i]
        i += 1


def spread(d: Int, s: Int, size: Int, times: Int, n: Int):
    """Writes each of n contiguous elements `times` times, 1 to FEW; sizes up to 8 bytes."""
    if size == 4:
        _spread[DType.uint32](d, s, times, n)
    elif size == 8:
        _spread[DType.uint64](d, s, times, n)
    elif size == 2:
        _spread[DType.uint16](d, s, times, n)
    else:
        _spread[DType.uint8](d, s, times, n)


def _reverse[T: DType](d: Int, s: Int, n: Int):
    comptime W = simd_width_of[T]()
    comptime size = size_of[Scalar[T]]()
    var i = 0
    while i + W <= n:
        at[Scalar[T]](d + i * size).unsafe_store(
            0, at[Scalar[T]](s - (i + W - 1) * size).unsafe_load[width=W](0).reversed()
        )
        i += W
    while i < n:
        store[Scalar[T]](d + i * size, load[Scalar[T]](s - i * size))
        i += 1


def reversed_copy(d: Int, s: Int, size: Int, n: Int):
    """`d[i] = s[-i]` for contiguous elements; `s` is the address of the first one read."""
    if size == 4:
        _reverse[DType.uint32](d, s, n)
    elif size == 8:
        _reverse[DType.uint64](d, s, n)
    elif size == 2:
        _reverse[DType.uint16](d, s, n)
    elif size == 1:
        _reverse[DType.uint8](d, s, n)
    else:
        strided_copy(s, -size, d, size, size, n)


# ---------------------------------------------------------------- the entries


def transfer(dst: Int, dst_code: Int, ds: Dims, src: Int, src_code: Int, ss: Dims, shape: Dims, ndim: Int):
    """Copies and casts; strides in elements, both for `shape` (0 where the source is broadcast)."""
    var t = Transfer(dst, dst_code, src, src_code)
    if t.layout(shape, ds, ss, ndim):
        t.execute(False)


def fill_layout(dst: Int, code: Int, ds: Dims, shape: Dims, ndim: Int, low: UInt64, high: UInt64):
    """Writes one element's bits everywhere."""
    var t = Transfer(dst, code, dst, code)
    t.low = low
    t.high = high
    if t.layout(shape, ds, ds, ndim):
        t.execute(True)
