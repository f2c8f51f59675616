"""Moving elements in host memory, the same code for every dtype of a size: strided runs, transposed blocks, and stores
that go around the cache.
"""

from std.memory import Pointer
from std.sys import CompilationTarget, llvm_intrinsic
from std.sys.info import simd_width_of, size_of
from .memory import at, load, memcpy, store

comptime STREAM_BYTES = 16 << 20
"""A result of this size leaves the caches before anybody can read it: it is better not to bring its lines in first."""


@always_inline
def _copy_elements[T: TrivialRegisterPassable](src: Int, src_step: Int, dst: Int, dst_step: Int, n: Int):
    for i in range(n):
        store[T](dst + i * dst_step, load[T](src + i * src_step))


def repeat_element(block: Int, size: Int, n: Int):
    """Copies the first element of a block to the n - 1 after it."""
    var filled = size
    while filled < n * size:
        var step = min(filled, n * size - filled)
        memcpy(block + filled, block, step)
        filled += step


def _spread[dt: DType](src: Int, step: Int, dst: Int, n: Int, rows: Int):
    comptime W = simd_width_of[dt]()
    var p = at[Scalar[dt]](dst)
    if n >= W:
        for r in range(rows):
            var value = SIMD[dt, W](at[Scalar[dt]](src + r * step)[])
            var i = 0
            while i + W < n:
                p.unsafe_store(r * n + i, value)
                i += W
            p.unsafe_store(r * n + n - W, value)
        return
    for r in range(rows):
        var value = at[Scalar[dt]](src + r * step)[]
        for i in range(n):
            p[unsafe_offset=r * n + i] = value


def spread_rows(src: Int, step: Int, dst: Int, size: Int, n: Int, rows: Int):
    """Writes each of some elements, `step` bytes apart, n times, one after another."""
    if size == 4:
        _spread[DType.uint32](src, step, dst, n, rows)
    elif size == 8:
        _spread[DType.uint64](src, step, dst, n, rows)
    elif size == 2:
        _spread[DType.uint16](src, step, dst, n, rows)
    elif size == 1:
        _spread[DType.uint8](src, step, dst, n, rows)
    else:
        for r in range(rows):
            strided_copy(src + r * step, 0, dst + r * n * size, size, size, n)


def _copy_vectors[dt: DType](src: Int, src_step: Int, dst: Int, n: Int):
    comptime W = simd_width_of[dt]()
    var i = 0
    var p = at[Scalar[dt]](src)
    var q = at[Scalar[dt]](dst)
    if src_step == 0:
        var value = SIMD[dt, W](p[])
        while i + W <= n:
            q.unsafe_store(i, value)
            i += W
        while i < n:
            q[unsafe_offset=i] = value[0]
            i += 1
        return
    # not the last vector: the element after the last pair's first may lie outside
    while i + W < n:
        q.unsafe_store(i, p.unsafe_load[width=2 * W](2 * i).deinterleave()[0])
        i += W
    while i < n:
        q[unsafe_offset=i] = p[unsafe_offset=2 * i]
        i += 1


@no_inline
def strided_copy(src: Int, src_step: Int, dst: Int, dst_step: Int, size: Int, n: Int):
    """Copies n elements of `size` bytes between two strided runs; the same code for every dtype."""
    if src_step == size and dst_step == size:
        memcpy(dst, src, n * size)
    elif dst_step == size and size <= 8 and (src_step == 0 or src_step == 2 * size):
        # a repeated element, or every second one (as of pairs)
        if size == 4:
            _copy_vectors[DType.uint32](src, src_step, dst, n)
        elif size == 8:
            _copy_vectors[DType.uint64](src, src_step, dst, n)
        elif size == 2:
            _copy_vectors[DType.uint16](src, src_step, dst, n)
        else:
            _copy_vectors[DType.uint8](src, src_step, dst, n)
    elif size == 4:
        _copy_elements[UInt32](src, src_step, dst, dst_step, n)
    elif size == 8:
        _copy_elements[UInt64](src, src_step, dst, dst_step, n)
    elif size == 2:
        _copy_elements[UInt16](src, src_step, dst, dst_step, n)
    elif size == 1:
        _copy_elements[UInt8](src, src_step, dst, dst_step, n)
    else:
        for i in range(n):
            store[UInt64](dst + i * dst_step, load[UInt64](src + i * src_step))
            store[UInt64](dst + i * dst_step + 8, load[UInt64](src + i * src_step + 8))


@no_inline
def stream_copy(dst: Int, src: Int, n: Int):
    """Copies n bytes, whole cache lines of the target without reading them first. `stream_fence` must follow."""
    var head = min(-dst & 63, n)
    if head > 0:
        memcpy(dst, src, head)
    var i = head
    comptime W = min(simd_width_of[DType.float32](), 16)
    while i + 64 <= n:
        comptime for k in range(16 // W):
            var x = at[UInt32](src + i).unsafe_load[width=W, alignment=4](k * W)
            at[UInt32](dst + i).unsafe_store[alignment=4 * W, non_temporal=True](k * W, x)
        i += 64
    if i < n:
        memcpy(dst + i, src + i, n - i)


@always_inline
def stream_fence():
    """Makes what `stream_copy` wrote visible to other threads in order with what is written after it."""
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse.sfence", NoneType]()


# ---------------------------------------------------------------- transposing


@always_inline
def _block[T: DType, B: Int](d: Int, d_step: Int, s: Int, s_step: Int):
    """Transposes B by B elements: B perfect shuffles of row i with row i + B/2, log2(B) times."""
    var r = Array[SIMD[T, B], B](fill=SIMD[T, B](0))
    comptime for k in range(B):
        r[k] = at[Scalar[T]](s + k * s_step).unsafe_load[width=B](0)
    comptime stages = 1 if B == 2 else (2 if B == 4 else (3 if B == 8 else 4))
    comptime for _ in range(stages):
        var q = Array[SIMD[T, B], B](fill=SIMD[T, B](0))
        comptime for k in range(B // 2):
            var mixed = r[k].interleave(r[k + B // 2])
            q[2 * k] = rebind[SIMD[T, B]](mixed.slice[B, offset=0]())
            q[2 * k + 1] = rebind[SIMD[T, B]](mixed.slice[B, offset=B]())
        comptime for k in range(B):
            r[k] = q[k]
    comptime for k in range(B):
        at[Scalar[T]](d + k * d_step).unsafe_store(0, r[k])


def _transpose[T: DType, B: Int](d: Int, d_step: Int, s: Int, s_step: Int, rows: Int, columns: Int):
    comptime size = size_of[Scalar[T]]()
    var i = 0
    while i + B <= rows:
        var j = 0
        while j + B <= columns:
            _block[T, B](d + j * d_step + i * size, d_step, s + i * s_step + j * size, s_step)
            j += B
        while j < columns:
            for k in range(B):
                store[Scalar[T]](d + j * d_step + (i + k) * size, load[Scalar[T]](s + (i + k) * s_step + j * size))
            j += 1
        i += B
    if i < rows:
        for j in range(columns):
            for k in range(i, rows):
                store[Scalar[T]](d + j * d_step + k * size, load[Scalar[T]](s + k * s_step + j * size))


def transpose(d: Int, d_step: Int, s: Int, s_step: Int, rows: Int, columns: Int, size: Int):
    """`d[j][i] = s[i][j]` for `rows` rows of `columns` elements; the steps are bytes between rows."""
    comptime B4 = min(simd_width_of[DType.float32](), 16)
    comptime B8 = min(simd_width_of[DType.float64](), 8)
    if size == 4:
        _transpose[DType.uint32, B4](d, d_step, s, s_step, rows, columns)
    elif size == 8:
        _transpose[DType.uint64, B8](d, d_step, s, s_step, rows, columns)
    elif size == 2:
        _transpose[DType.uint16, 16](d, d_step, s, s_step, rows, columns)
    elif size == 1:
        _transpose[DType.uint8, 16](d, d_step, s, s_step, rows, columns)
    else:
        for i in range(rows):
            strided_copy(s + i * s_step, 16, d + i * 16, d_step, 16, columns)
