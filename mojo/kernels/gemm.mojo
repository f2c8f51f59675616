"""GEMM: C = alpha * A @ B + beta * C (+ a row of bias), any strides, any real dtype, on the thread pool.

This chooses the way: tiles (gemm_tiles), dot products or axpy for few rows, the stack alone for tiny products. Half and
integer dtypes, and a C with no unit stride, are summed in a buffer of the accumulation dtype that is converted once at
the end. Results do not depend on the number of threads.
"""
from std.memory import Pointer
from std.sys import size_of

from kernels.gemm_micro import MR, Epilogue, acc_dtype, at, axpy_rows, dots, micro_rows, mul_add, ptr, width
from kernels.gemm_pack import pack
from kernels.gemm_tiles import CHUNK, KC, PACK_BYTES, SERIAL_WORK, ceildiv, multiply, pack_columns
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime BUFFER_CHUNK = 1008
"""The same where C is summed in a buffer."""

comptime TINY_DEPTH = 64
"""Depth up to which a serial product packs on the stack."""

comptime DOT_ROWS = 4
"""Rows of a tile of dot products. A k-contiguous A and B of so few rows need no packing; of up to four times as many
where k is at least DOT_DEPTH."""

comptime DOT_DEPTH = 128


@fieldwise_init
struct _Convert[dt: DType, acc: DType](Body, ImplicitlyCopyable, Movable):
    """C = s + beta * C + bias, from the buffer of sums to any dtype and strides."""

    var n: Int
    var rows: Int
    var s: Int
    var ss: Int
    var c: Int
    var crs: Int
    var ccs: Int
    var beta: Scalar[Self.acc]
    var bias: Int
    var group: Int

    def run(self, task: Int, worker: Int):
        comptime W = width[Self.acc]()
        for i in range(task * self.group, min((task + 1) * self.group, self.rows)):
            var s = ptr[Self.acc](at[Self.acc](self.s, i * self.ss))
            var c = ptr[Self.dt](at[Self.dt](self.c, i * self.crs))
            var bias = ptr[Self.dt](self.bias)
            var j = 0
            if self.ccs == 1:
                while j + W <= self.n:
                    var v = s.unsafe_load[width=W](j)
                    if self.beta != 0:
                        var old = c.unsafe_load[width=W](j).cast[Self.acc]()
                        v = mul_add(SIMD[Self.acc, W](self.beta), old, v)
                    if self.bias != 0:
                        v += bias.unsafe_load[width=W](j).cast[Self.acc]()
                    c.unsafe_store(j, v.cast[Self.dt]())
                    j += W
            while j < self.n:
                var v = s[unsafe_offset=j]
                if self.beta != 0:
                    v = mul_add[Self.acc, 1](self.beta, c[unsafe_offset=j * self.ccs].cast[Self.acc](), v)
                if self.bias != 0:
                    v += bias[unsafe_offset=j].cast[Self.acc]()
                c[unsafe_offset=j * self.ccs] = v.cast[Self.dt]()
                j += 1


def _scale[dt: DType](
    m: Int, n: Int, beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int, bias: Int
):
    """C = beta * C + bias: a product over nothing."""
    comptime acc = acc_dtype[dt]()
    for i in range(m):
        for j in range(n):
            var p = ptr[dt](at[dt](c, i * crs + j * ccs))
            var v = Scalar[acc](0)
            if beta != 0:
                v = beta * p[].cast[acc]()
            if bias != 0:
                v += ptr[dt](bias)[unsafe_offset=j].cast[acc]()
            p[] = v.cast[dt]()


@no_inline
def _plain[dt: DType](
    m: Int, n: Int, k: Int, alpha: Scalar[acc_dtype[dt]()], a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int,
    beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int, bias: Int,
):
    """Slow but without scratch memory: for when the system has none to give."""
    comptime acc = acc_dtype[dt]()
    for i in range(m):
        for j in range(n):
            var s = Scalar[acc](0)
            for p in range(k):
                var x = ptr[dt](at[dt](a, i * ars + p * acs))[].cast[acc]()
                s = mul_add[acc, 1](x, ptr[dt](at[dt](b, p * brs + j * bcs))[].cast[acc](), s)
            var out = ptr[dt](at[dt](c, i * crs + j * ccs))
            s *= alpha
            if beta != 0:
                s = mul_add[acc, 1](beta, out[].cast[acc](), s)
            if bias != 0:
                s += ptr[dt](bias)[unsafe_offset=j].cast[acc]()
            out[] = s.cast[dt]()


def _buffered[dt: DType](
    m: Int, n: Int, k: Int, alpha: Scalar[acc_dtype[dt]()], a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int,
    beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int, bias: Int,
):
    comptime acc = acc_dtype[dt]()
    comptime NR = 2 * width[acc]()
    comptime SIZE = size_of[Scalar[acc]]()
    var rows = min(m, BUFFER_CHUNK)
    var cols = ceildiv(min(n, BUFFER_CHUNK), 16) * 16
    var buffer_bytes = rows * cols * SIZE
    var panels = (ceildiv(rows, MR) * MR + ceildiv(cols, NR) * NR) * SIZE
    var pack_bytes = panels * k if panels * k <= PACK_BYTES else max(PACK_BYTES, panels * KC)
    var ws = Workspace.take(buffer_bytes + pack_bytes)
    if ws.address == 0:
        _plain[dt](m, n, k, alpha, a, ars, acs, b, brs, bcs, beta, c, crs, ccs, bias)
        return
    for j in range(0, n, BUFFER_CHUNK):
        var nc = min(BUFFER_CHUNK, n - j)
        for i in range(0, m, BUFFER_CHUNK):
            var mc = min(BUFFER_CHUNK, m - i)
            multiply[dt, acc](
                mc, nc, k, at[dt](a, i * ars), ars, acs, at[dt](b, j * bcs), brs, bcs, ws.address, cols,
                Epilogue[acc](alpha, 0, 0), ws.address + buffer_bytes, pack_bytes,
            )
            var tasks = min(mc, max(1, mc * nc // 32768))
            var group = ceildiv(mc, tasks)
            parallel(
                _Convert[dt, acc](
                    nc, mc, ws.address, cols, at[dt](c, i * crs + j * ccs), crs, ccs, beta,
                    at[dt](bias, j) if bias != 0 else 0, group,
                ),
                ceildiv(mc, group),
            )
    ws.give()


@fieldwise_init
struct _Dots[src: DType, dt: DType](Body, ImplicitlyCopyable, Movable):
    """Few rows by dot products; a task is a group of columns."""

    var m: Int
    var n: Int
    var k: Int
    var a: Int
    var ars: Int
    var b: Int
    var bcs: Int
    var c: Int
    var crs: Int
    var ccs: Int
    var ep: Epilogue[Self.dt]
    var group: Int

    def run(self, task: Int, worker: Int):
        var j = task * self.group
        var end = min(j + self.group, self.n)
        while j < end:
            var cols = 4 if end - j >= 4 else 1
            var e = self.ep
            if e.bias != 0:
                e.bias = at[Self.src](e.bias, j)
            var b = at[Self.src](self.b, j * self.bcs)
            for i in range(0, self.m, DOT_ROWS):
                var rows = min(DOT_ROWS, self.m - i)
                var a = at[Self.src](self.a, i * self.ars)
                var c = at[Self.src](self.c, i * self.crs + j * self.ccs)
                comptime for q in range(1, DOT_ROWS + 1):
                    if rows == q:
                        if cols == 4:
                            dots[Self.src, Self.dt, q, 4](a, self.ars, b, self.bcs, self.k, c, self.crs, self.ccs, e)
                        else:
                            dots[Self.src, Self.dt, q, 1](a, self.ars, b, self.bcs, self.k, c, self.crs, self.ccs, e)
            j += cols


@fieldwise_init
struct _Axpy[dt: DType](Body, ImplicitlyCopyable, Movable):
    """One row times a matrix with contiguous rows; a task is a range of columns."""

    var n: Int
    var k: Int
    var x: Int
    var xs: Int
    var b: Int
    var brs: Int
    var c: Int
    var ep: Epilogue[Self.dt]
    var group: Int

    def run(self, task: Int, worker: Int):
        var j = task * self.group
        var e = self.ep
        if e.bias != 0:
            e.bias = at[Self.dt](e.bias, j)
        axpy_rows[Self.dt](
            self.x, self.xs, at[Self.dt](self.b, j), self.brs, self.k, min(self.group, self.n - j),
            at[Self.dt](self.c, j), e,
        )


def _few_rows[src: DType, dt: DType](
    m: Int, n: Int, k: Int, a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int, c: Int, crs: Int, ccs: Int,
    ep: Epilogue[dt],
) -> Bool:
    """Does products of few rows whose operands allow it without packing; False: not this one."""
    var work = m * n * k
    if brs == 1 and (acs == 1 or k == 1) and (m <= DOT_ROWS or k >= DOT_DEPTH) and (bcs != 1 or m == 1):
        var group = max(4, ceildiv(n, max(1, work // SERIAL_WORK)) // 4 * 4)
        parallel(_Dots[src, dt](m, n, k, a, ars, b, bcs, c, crs, ccs, ep, group), ceildiv(n, group))
        return True
    comptime if src != dt:
        return False
    if m == 1 and bcs == 1 and ccs == 1:
        # A group of columns whose part of C stays in the L1 cache while the rows of B stream by; as wide as the
        # threads allow, because long runs of memory are what the prefetchers like.
        var tasks = min(max(1, work // SERIAL_WORK), 2 * num_threads())
        var group = min(4096, max(256, ceildiv(n, tasks * 64) * 64))
        parallel(_Axpy[dt](n, k, a, acs, b, brs, c, ep, group), ceildiv(n, group))
        return True
    return False


@no_inline
def _tiny[dt: DType](
    m: Int, n: Int, k: Int, a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int, c: Int, crs: Int, ep: Epilogue[dt],
):
    """C with unit column stride, k <= TINY_DEPTH: no memory but the stack, since here the cost of a call matters."""
    comptime NR = 2 * width[dt]()
    comptime SIZE = TINY_DEPTH * NR
    var panel = Array[Scalar[dt], SIZE](uninitialized=True)
    var panels = ceildiv(m, MR)
    for j in range(0, n, NR):
        var nr = min(NR, n - j)
        var bj = at[dt](b, j * bcs)
        var bs = brs
        if bcs != 1 or nr % width[dt]() != 0:
            pack[dt, dt, NR](bj, bcs, brs, nr, k, Int(Pointer(to=panel)))
            bj = Int(Pointer(to=panel))
            bs = NR
        var e = ep
        if e.bias != 0:
            e.bias = at[dt](e.bias, j)
        for t in range(panels):
            var i = m * t // panels
            var mr = m * (t + 1) // panels - i
            micro_rows[dt](mr, at[dt](a, i * ars), ars, acs, bj, bs, k, at[dt](c, i * crs + j), crs, nr, e)
    # The packed panel is only seen through its address.
    _ = panel


def gemm[dt: DType](
    m: Int, n: Int, k: Int, alpha: Scalar[acc_dtype[dt]()], a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int,
    beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int, bias: Int = 0,
):
    """C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C + bias[n].

    a, b, c, bias: addresses of the first elements, all of dtype `dt` (`bias` contiguous, 0 for none). ars, acs, ...:
    the row and column strides of A, B and C in elements, of any value for A and B (0 and negative too); the elements of
    C must be distinct and apart from A and B. float16 and bfloat16 are summed in float32 and rounded once; integers wrap.
    beta == 0 does not read C, and k == 0 or alpha == 0 does not read A and B.
    """
    comptime acc = acc_dtype[dt]()
    if m <= 0 or n <= 0:
        return
    if k <= 0 or alpha == 0:
        _scale[dt](m, n, beta, c, crs, ccs, bias)
        return
    comptime if dt.is_floating_point():
        # The bias is a row: it cannot go with the product transposed.
        var sums = Epilogue[acc](alpha, beta, bias)
        if m <= 4 * DOT_ROWS and _few_rows[dt, acc](m, n, k, a, ars, acs, b, brs, bcs, c, crs, ccs, sums):
            return
        if n <= 4 * DOT_ROWS and bias == 0:
            if _few_rows[dt, acc](n, m, k, b, bcs, brs, a, acs, ars, c, ccs, crs, sums):
                return
    comptime if dt.is_floating_point() and acc == dt:
        # With a bias along the other axis the swap would need a column of bias.
        if bias == 0 and n > 1 and (m == 1 or crs == 1) and ccs != 1:
            gemm[dt](n, m, k, alpha, b, bcs, brs, a, acs, ars, beta, c, ccs, crs)
            return
        var ep = Epilogue[dt](rebind[Scalar[dt]](alpha), rebind[Scalar[dt]](beta), bias)
        if m > 1 and n > 1 and ccs == 1 and k <= TINY_DEPTH and m * n * k < SERIAL_WORK:
            _tiny[dt](m, n, k, a, ars, acs, b, brs, bcs, c, crs, ep)
            return
        if ccs == 1 or n == 1:
            comptime NR = 2 * width[dt]()
            comptime SIZE = size_of[Scalar[dt]]()
            var per_k = pack_columns[dt, dt](min(m, CHUNK), min(n, CHUNK), k, ars, acs, brs, bcs)
            # The last chunk may have a tail to pack that a whole one has not.
            var bytes = (per_k[0] + per_k[1] + (NR if n > CHUNK else 0)) * SIZE
            bytes = bytes * k if bytes * k <= PACK_BYTES else max(PACK_BYTES, bytes * KC)
            var ws = Workspace.take(bytes)
            if ws.address == 0 and bytes > 0:
                _plain[dt](m, n, k, alpha, a, ars, acs, b, brs, bcs, beta, c, crs, ccs, bias)
                return
            for j in range(0, n, CHUNK):
                for i in range(0, m, CHUNK):
                    var e = ep
                    if bias != 0:
                        e.bias = at[dt](bias, j)
                    multiply[dt, dt](
                        min(CHUNK, m - i), min(CHUNK, n - j), k, at[dt](a, i * ars), ars, acs, at[dt](b, j * bcs), brs,
                        bcs, at[dt](c, i * crs + j), crs, e, ws.address, bytes,
                    )
            ws.give()
            return
    _buffered[dt](m, n, k, alpha, a, ars, acs, b, brs, bcs, beta, c, crs, ccs, bias)


@fieldwise_init
struct _Batch[dt: DType](Body, ImplicitlyCopyable, Movable):
    comptime acc = acc_dtype[Self.dt]()
    var m: Int
    var n: Int
    var k: Int
    var alpha: Scalar[Self.acc]
    var a: Int
    var ars: Int
    var acs: Int
    var a_offsets: Int
    var b: Int
    var brs: Int
    var bcs: Int
    var b_offsets: Int
    var beta: Scalar[Self.acc]
    var c: Int
    var crs: Int
    var ccs: Int
    var c_offsets: Int
    var count: Int
    var group: Int

    def run(self, task: Int, worker: Int):
        for i in range(task * self.group, min((task + 1) * self.group, self.count)):
            gemm[Self.dt](
                self.m, self.n, self.k, self.alpha,
                at[Self.dt](self.a, _offset(self.a_offsets, i)), self.ars, self.acs,
                at[Self.dt](self.b, _offset(self.b_offsets, i)), self.brs, self.bcs, self.beta,
                at[Self.dt](self.c, _offset(self.c_offsets, i)), self.crs, self.ccs,
            )


@always_inline
def _offset(offsets: Int, i: Int) -> Int:
    return Pointer[Int, MutUntrackedOrigin](unsafe_from_address=offsets)[unsafe_offset=i]


def gemm_batched[dt: DType](
    count: Int, m: Int, n: Int, k: Int, alpha: Scalar[acc_dtype[dt]()], a: Int, ars: Int, acs: Int, a_offsets: Int,
    b: Int, brs: Int, bcs: Int, b_offsets: Int, beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int,
    c_offsets: Int,
):
    """`count` products as `gemm` does one; matrix i of A begins a_offsets[i] elements after `a`, and so on.

    a_offsets, b_offsets, c_offsets: addresses of `count` Ints (so a broadcast batch dimension costs nothing). The
    threads share out the batch where it is large enough, else each product in turn.
    """
    if count <= 0 or m <= 0 or n <= 0:
        return
    var work = max(1, m * n * max(k, 1))
    # A group of products for a task, so that a task is worth the claim; enough tasks for a good balance.
    var nt = num_threads()
    var group = max(1, min(ceildiv(count, 4 * nt), ceildiv(1 << 18, work)))
    var tasks = ceildiv(count, group)
    var body = _Batch[dt](
        m, n, k, alpha, a, ars, acs, a_offsets, b, brs, bcs, b_offsets, beta, c, crs, ccs, c_offsets, count, group
    )
    # Two big products on four threads: each in turn, all threads on it.
    if tasks >= 4 * nt or work < (1 << 19):
        parallel(body, tasks)
    else:
        for t in range(tasks):
            body.run(t, 0)
