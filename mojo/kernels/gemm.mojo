"""GEMM: C = alpha * A @ B + beta * C (+ a row of bias), any strides, any real dtype, on the thread pool.

This chooses the way: tiles (gemm_tiles), dot products or axpy for few rows, the stack alone for tiny products. Half and
integer dtypes, and a C with no unit stride, are summed in a buffer of the accumulation dtype that is converted once at
the end. Results do not depend on the number of threads.
"""
from std.memory import Pointer
from std.sys import size_of

from kernels.gemm_bfloat16 import gemm_bfloat16
from kernels.gemm_micro import MR, Epilogue, Mat, acc_dtype, at, axpy_rows, dots, micro_rows, mul_add, ptr, width
from kernels.gemm_pack import pack
from kernels.gemm_tiles import CHUNK, KC, PACK_BYTES, SERIAL_WORK, ceildiv, multiply, pack_columns
from kernels.narrow import narrow
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime BUFFER_CHUNK = 1008
"""Rows and columns of one pass at most where C is summed in a buffer."""

comptime ROW_WORK = 1 << 16
"""Multiply-adds that are worth a task of a product of few rows, where memory is what the threads share."""

comptime BFLOAT16_WORK = 1 << 15
"""Multiply-adds of bfloat16 from which instructions of their own pay for the packing, where there are any."""

comptime TINY_DEPTH = 64
"""Depth up to which a serial product packs on the stack."""

comptime DOT_ROWS = 4
"""Rows of a tile of dot products. A k-contiguous A and B of so few rows need no packing; of up to four times as many
where k is at least DOT_DEPTH."""

comptime DOT_DEPTH = 128

# In what follows the Epilogue is of the accumulation dtype, and the bias it points to of the dtype of A, B and C.


def _scale[dt: DType, acc: DType](m: Int, n: Int, c: Mat, ep: Epilogue[acc]):
    """C = beta * C + bias: a product over nothing."""
    for i in range(m):
        for j in range(n):
            _put[dt, acc](0, c.where[dt](i, j), j, ep)


@always_inline
def _put[dt: DType, acc: DType](s: Scalar[acc], c: Int, column: Int, ep: Epilogue[acc]):
    """One element of C from its sum, alpha applied."""
    var p = ptr[dt](c)
    var v = s
    if ep.beta != 0:
        v = mul_add[acc, 1](ep.beta, p[].cast[acc](), v)
    if ep.bias != 0:
        v += ptr[dt](ep.bias)[unsafe_offset=column].cast[acc]()
    p[] = narrow[dt](v)


@no_inline
def _plain[dt: DType, acc: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[acc]):
    """Slow but without scratch memory: for when the system has none to give."""
    for i in range(m):
        for j in range(n):
            var s = Scalar[acc](0)
            for p in range(k):
                var x = ptr[dt](a.where[dt](i, p))[].cast[acc]()
                s = mul_add[acc, 1](x, ptr[dt](b.where[dt](p, j))[].cast[acc](), s)
            _put[dt, acc](s * ep.alpha, c.where[dt](i, j), j, ep)


# --- through a buffer ------------------------------------------------------------------------------------------------


@fieldwise_init
struct _Convert[dt: DType, acc: DType](Body, ImplicitlyCopyable, Movable):
    """C = s + beta * C + bias, from the buffer of sums to any dtype and strides; a task is a group of rows."""

    var n: Int
    var rows: Int
    var sums: Mat
    var c: Mat
    var ep: Epilogue[Self.acc]
    var group: Int

    def run(self, task: Int, worker: Int):
        comptime W = width[Self.acc]()
        for i in range(task * self.group, min((task + 1) * self.group, self.rows)):
            var s = ptr[Self.acc](self.sums.where[Self.acc](i, 0))
            var j = 0
            if self.c.cs == 1:
                var c = ptr[Self.dt](self.c.where[Self.dt](i, 0))
                var bias = ptr[Self.dt](self.ep.bias)
                while j + W <= self.n:
                    var v = s.unsafe_load[width=W](j)
                    if self.ep.beta != 0:
                        var old = c.unsafe_load[width=W](j).cast[Self.acc]()
                        v = mul_add(SIMD[Self.acc, W](self.ep.beta), old, v)
                    if self.ep.bias != 0:
                        v += bias.unsafe_load[width=W](j).cast[Self.acc]()
                    c.unsafe_store(j, narrow[Self.dt](v))
                    j += W
            while j < self.n:
                _put[Self.dt, Self.acc](s[unsafe_offset=j], self.c.where[Self.dt](i, j), j, self.ep)
                j += 1


def _buffered[dt: DType, acc: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[acc]):
    comptime NR = 2 * width[acc]()
    comptime SIZE = size_of[Scalar[acc]]()
    var rows = min(m, BUFFER_CHUNK)
    var cols = ceildiv(min(n, BUFFER_CHUNK), 16) * 16
    var buffer_bytes = rows * cols * SIZE
    var panels = (ceildiv(rows, MR) * MR + ceildiv(cols, NR) * NR) * SIZE
    var pack_bytes = panels * k if panels * k <= PACK_BYTES else max(PACK_BYTES, panels * KC)
    var ws = Workspace.take(buffer_bytes + pack_bytes)
    if ws.address == 0:
        _plain[dt, acc](m, n, k, a, b, c, ep)
        return
    var sums = Mat(ws.address, cols, 1)
    var to_sums = Epilogue[acc](ep.alpha, 0, 0)
    for j in range(0, n, BUFFER_CHUNK):
        var nc = min(BUFFER_CHUNK, n - j)
        var bj = b.part[dt](0, j)
        var e = ep
        if e.bias != 0:
            e.bias = at[dt](e.bias, j)
        for i in range(0, m, BUFFER_CHUNK):
            var mc = min(BUFFER_CHUNK, m - i)
            var ai = a.part[dt](i, 0)
            multiply[dt, acc](mc, nc, k, ai, bj, sums, to_sums, ws.address + buffer_bytes, pack_bytes)
            var group = ceildiv(mc, min(mc, max(1, mc * nc // 32768)))
            parallel(_Convert[dt, acc](nc, mc, sums, c.part[dt](i, j), e, group), ceildiv(mc, group))
    ws.give()


# --- few rows --------------------------------------------------------------------------------------------------------


@fieldwise_init
struct _Dots[dt: DType, acc: DType](Body, ImplicitlyCopyable, Movable):
    """Few rows by dot products; a task is a group of columns."""

    var m: Int
    var n: Int
    var k: Int
    var a: Mat
    var b: Mat
    var c: Mat
    var ep: Epilogue[Self.acc]
    var group: Int

    def run(self, task: Int, worker: Int):
        var j = task * self.group
        var end = min(j + self.group, self.n)
        while j < end:
            var cols = 4 if end - j >= 4 else 1
            var e = self.ep
            if e.bias != 0:
                e.bias = at[Self.dt](e.bias, j)
            var b = self.b.part[Self.dt](0, j)
            for i in range(0, self.m, DOT_ROWS):
                var rows = min(DOT_ROWS, self.m - i)
                var a = self.a.part[Self.dt](i, 0)
                var c = self.c.part[Self.dt](i, j)
                comptime for q in range(1, DOT_ROWS + 1):
                    if rows == q:
                        if cols == 4:
                            dots[Self.dt, Self.acc, q, 4](a, b, self.k, c, e)
                        else:
                            dots[Self.dt, Self.acc, q, 1](a, b, self.k, c, e)
            j += cols


@fieldwise_init
struct _Axpy[dt: DType](Body, ImplicitlyCopyable, Movable):
    """One row times a matrix with contiguous rows; a task is a range of columns."""

    var n: Int
    var k: Int
    var x: Mat
    var b: Mat
    var c: Mat
    var ep: Epilogue[Self.dt]
    var group: Int

    def run(self, task: Int, worker: Int):
        var j = task * self.group
        var b = self.b.part[Self.dt](0, j)
        var cols = min(self.group, self.n - j)
        axpy_rows[Self.dt](self.x, b, self.k, cols, self.c.where[Self.dt](0, j), self.ep.from_column(j))


def _few_rows[dt: DType, acc: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[acc]) -> Bool:
    """Does products of few rows whose operands allow it without packing; False: not this one."""
    var tasks = max(1, m * n * k // ROW_WORK)
    if b.rs == 1 and (a.cs == 1 or k == 1) and (m <= DOT_ROWS or k >= DOT_DEPTH) and (b.cs != 1 or m == 1):
        var group = max(4, ceildiv(n, tasks) // 4 * 4)
        parallel(_Dots[dt, acc](m, n, k, a, b, c, ep, group), ceildiv(n, group))
        return True
    comptime if dt == acc:
        if m == 1 and b.cs == 1 and c.cs == 1:
            # A group of columns whose part of C stays in the L1 cache while the rows of B stream by; as wide as the
            # threads allow, because long runs of memory are what the prefetchers like.
            var group = min(4096, max(256, ceildiv(n, min(tasks, 2 * num_threads()) * 64) * 64))
            parallel(_Axpy[acc](n, k, a, b, c, ep, group), ceildiv(n, group))
            return True
    return False


# --- the choice ------------------------------------------------------------------------------------------------------


@no_inline
def _tiny[dt: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[dt]):
    """C with unit column stride, k <= TINY_DEPTH: no memory but the stack, since here the cost of a call matters."""
    comptime NR = 2 * width[dt]()
    comptime SIZE = TINY_DEPTH * NR
    var panel = Array[Scalar[dt], SIZE](uninitialized=True)
    var panels = ceildiv(m, MR)
    for j in range(0, n, NR):
        var nr = min(NR, n - j)
        var bj = b.where[dt](0, j)
        var bs = b.rs
        if b.cs != 1 or nr % width[dt]() != 0:
            bs = NR
            pack[dt, dt, NR](b.t().part[dt](j, 0), nr, k, Int(Pointer(to=panel)))
            bj = Int(Pointer(to=panel))
        var e = ep.from_column(j)
        for t in range(panels):
            var i = m * t // panels
            var mr = m * (t + 1) // panels - i
            micro_rows[dt](mr, a.part[dt](i, 0), bj, bs, k, c.where[dt](i, j), c.rs, nr, e)
    # The panel is only seen through its address: it lives until here.
    _ = panel


def _tiled[dt: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[dt]):
    """Straight into a C with unit column stride."""
    comptime NR = 2 * width[dt]()
    var columns = pack_columns[dt, dt](min(m, CHUNK), min(n, CHUNK), a, b)
    # The last chunk may have a tail to pack that a whole one has not.
    var bytes = (columns[0] + columns[1] + (NR if n > CHUNK else 0)) * size_of[Scalar[dt]]()
    bytes = bytes * k if bytes * k <= PACK_BYTES else max(PACK_BYTES, bytes * KC)
    var ws = Workspace.take(bytes)
    if ws.address == 0 and bytes > 0:
        _plain[dt, dt](m, n, k, a, b, c, ep)
        return
    for j in range(0, n, CHUNK):
        var nc = min(CHUNK, n - j)
        var bj = b.part[dt](0, j)
        var e = ep.from_column(j)
        for i in range(0, m, CHUNK):
            var ai = a.part[dt](i, 0)
            multiply[dt, dt](min(CHUNK, m - i), nc, k, ai, bj, c.part[dt](i, j), e, ws.address, bytes)
    ws.give()


def _gemm[dt: DType, acc: DType](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[acc]):
    if m <= 0 or n <= 0:
        return
    if k <= 0 or ep.alpha == 0:
        _scale[dt, acc](m, n, c, ep)
        return
    comptime if dt.is_floating_point():
        if m <= 4 * DOT_ROWS and _few_rows[dt, acc](m, n, k, a, b, c, ep):
            return
        # The bias is a row: it cannot go with the product transposed.
        if n <= 4 * DOT_ROWS and ep.bias == 0 and _few_rows[dt, acc](n, m, k, b.t(), a.t(), c.t(), ep):
            return
    comptime if dt == DType.bfloat16:
        if m * n * k >= BFLOAT16_WORK and gemm_bfloat16(m, n, k, a, b, c, rebind[Epilogue[DType.float32]](ep)):
            return
    comptime if dt.is_floating_point() and acc == dt:
        if ep.bias == 0 and n > 1 and (m == 1 or c.rs == 1) and c.cs != 1:
            _gemm[dt, acc](n, m, k, b.t(), a.t(), c.t(), ep)
            return
        if m > 1 and n > 1 and c.cs == 1 and k <= TINY_DEPTH and m * n * k < SERIAL_WORK:
            _tiny[acc](m, n, k, a, b, c, ep)
            return
        if c.cs == 1 or n == 1:
            _tiled[acc](m, n, k, a, b, c, ep)
            return
    _buffered[dt, acc](m, n, k, a, b, c, ep)


def gemm[
    dt: DType
](
    m: Int,
    n: Int,
    k: Int,
    alpha: Scalar[acc_dtype[dt]()],
    a: Int,
    ars: Int,
    acs: Int,
    b: Int,
    brs: Int,
    bcs: Int,
    beta: Scalar[acc_dtype[dt]()],
    c: Int,
    crs: Int,
    ccs: Int,
    bias: Int = 0,
):
    """C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C + bias[n].

    a, b, c, bias: addresses of the first elements, all of dtype `dt` (`bias` contiguous, 0 for none). ars, acs, ...:
    the row and column strides of A, B and C in elements, of any value for A and B (0 and negative too); the elements of
    C must be distinct and apart from A and B. float16 and bfloat16 are summed in float32 and rounded once, integers
    wrap. beta == 0 does not read C, and k == 0 or alpha == 0 does not read A and B.
    """
    comptime acc = acc_dtype[dt]()
    _gemm[dt, acc](m, n, k, Mat(a, ars, acs), Mat(b, brs, bcs), Mat(c, crs, ccs), Epilogue[acc](alpha, beta, bias))


@fieldwise_init
struct _Batch[dt: DType, acc: DType](Body, ImplicitlyCopyable, Movable):
    var m: Int
    var n: Int
    var k: Int
    var a: Mat
    var b: Mat
    var c: Mat
    var ep: Epilogue[Self.acc]
    var a_offsets: Int
    var b_offsets: Int
    var c_offsets: Int
    var count: Int
    var group: Int

    def run(self, task: Int, worker: Int):
        for i in range(task * self.group, min((task + 1) * self.group, self.count)):
            var a = _moved[Self.dt](self.a, self.a_offsets, i)
            var b = _moved[Self.dt](self.b, self.b_offsets, i)
            var c = _moved[Self.dt](self.c, self.c_offsets, i)
            _gemm[Self.dt, Self.acc](self.m, self.n, self.k, a, b, c, self.ep)


@always_inline
def _moved[dt: DType](x: Mat, offsets: Int, i: Int) -> Mat:
    var offset = Pointer[Int, MutUntrackedOrigin](unsafe_from_address=offsets)[unsafe_offset=i]
    return Mat(at[dt](x.address, offset), x.rs, x.cs)


def gemm_batched[
    dt: DType
](
    count: Int,
    m: Int,
    n: Int,
    k: Int,
    alpha: Scalar[acc_dtype[dt]()],
    a: Int,
    ars: Int,
    acs: Int,
    a_offsets: Int,
    b: Int,
    brs: Int,
    bcs: Int,
    b_offsets: Int,
    beta: Scalar[acc_dtype[dt]()],
    c: Int,
    crs: Int,
    ccs: Int,
    c_offsets: Int,
    bias: Int = 0,
):
    """`count` products as `gemm` does one; matrix i of A begins a_offsets[i] elements after `a`, and so on.

    a_offsets, b_offsets, c_offsets: addresses of `count` Ints (so a broadcast batch dimension costs nothing). The
    threads share out the batch where it is large enough, else they work together on each product in turn.
    """
    comptime acc = acc_dtype[dt]()
    if count <= 0 or m <= 0 or n <= 0:
        return
    var work = m * n * max(k, 1)
    # A group of products for a task, so that a task is worth the claim; enough tasks for a good balance.
    var nt = num_threads()
    var group = max(1, min(ceildiv(count, 4 * nt), ceildiv(1 << 18, work)))
    var tasks = ceildiv(count, group)
    var ep = Epilogue[acc](alpha, beta, bias)
    var ma = Mat(a, ars, acs)
    var mb = Mat(b, brs, bcs)
    var mc = Mat(c, crs, ccs)
    var body = _Batch[dt, acc](m, n, k, ma, mb, mc, ep, a_offsets, b_offsets, c_offsets, count, group)
    # A few big products: all threads on each.
    if tasks >= 4 * nt or work < SERIAL_WORK:
        parallel(body, tasks)
    else:
        for t in range(tasks):
            body.run(t, 0)
