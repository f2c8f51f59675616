"""GEMM: C = alpha * A @ B + beta * C (+ a row of bias), any strides, any real dtype, on the thread pool.

Large products are packed once (A into panels of MR rows, B into panels of NR columns) and cut into tiles that the
threads claim; a tile stays in the L2 cache while k is walked in blocks of KC. Small operands are used in place, few rows
go to dot products or axpy. Half and integer dtypes, and a C with no unit stride, are summed in a buffer of the
accumulation dtype that is converted once at the end. Results do not depend on the number of threads.
"""
from std.memory import Pointer
from std.sys import size_of

from kernels.gemm_micro import (
    BF16_PAIRS, MR, Epilogue, acc_dtype, at, axpy_rows, dots, micro_rows, mul_add, pack, pack_pairs,
    ptr, width,
)
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime KC = 256
"""Depth of a block: a panel of B (KC x NR) stays in the L1 cache."""

comptime TILE_ROWS = 16
comptime TILE_COLS = 8
"""Panels of a tile at most: A and B blocks and the C tile fit the L2 cache together."""

comptime PACK_BYTES = 16 << 20
"""How much packed memory one pass may take before k is cut."""

comptime CHUNK = 8064
"""Rows and columns of one pass at most; a multiple of every MR and NR here."""

comptime BUFFER_CHUNK = 1008
"""The same where C is summed in a buffer."""

comptime SERIAL_WORK = 1 << 16
"""Multiply-adds below which a second thread costs more than it gives."""

comptime TINY_DEPTH = 64
"""Depth up to which a serial product packs on the stack."""

comptime DOT_ROWS = 4
"""Rows of a tile of dot products. A k-contiguous A and B of so few rows need no packing; of up to four times as many
where k is at least DOT_DEPTH."""

comptime DOT_DEPTH = 128


def _ceildiv(a: Int, b: Int) -> Int:
    return (a + b - 1) // b


@fieldwise_init
struct _Pass[src: DType, dt: DType](Body, ImplicitlyCopyable, Movable):
    """One pass over k of one chunk of C: what the packing and the tile tasks share."""

    comptime NR = 2 * width[Self.dt]()
    comptime PAIRS = _pairs[Self.src]()
    comptime DEPTH = 2 if Self.PAIRS else 1  # elements along k of one step

    var m: Int
    var n: Int
    var k: Int
    var steps: Int  # k in steps
    var a: Int
    var ars: Int
    var acs: Int
    var b: Int
    var brs: Int
    var bcs: Int
    var c: Int
    var crs: Int
    var ep: Epilogue[Self.dt]
    var row_panels: Int
    var col_panels: Int
    var packed_a: Int  # address of the packed panels, 0: A is used in place
    var packed_b: Int
    var first_packed: Int  # the column panel that packed_b begins with; those before it are used in place
    var grid_rows: Int
    var grid_cols: Int
    var packing: Bool  # which of the two kinds of task `run` does
    var pack_group: Int

    @always_inline
    def row_start(self, t: Int) -> Int:
        """Panels of rows differ by one row at most, so that none is much shorter than the kernel likes."""
        return t * (self.m // self.row_panels) + min(t, self.m % self.row_panels)

    def packed_panels(self) -> Int:
        return (self.row_panels if self.packed_a != 0 else 0) + self.col_panels - self.first_packed

    def run(self, task: Int, worker: Int):
        if self.packing:
            var panels = self.packed_panels()
            for i in range(task * self.pack_group, min((task + 1) * self.pack_group, panels)):
                self.pack_panel(i)
        else:
            self.tile(task)

    def pack_panel(self, index: Int):
        """Packs the panel, all of its k blocks; first come those of B, then those of A."""
        var cols = self.col_panels - self.first_packed
        if index < cols:
            var j = (self.first_packed + index) * Self.NR
            var count = min(Self.NR, self.n - j)
            for p in range(0, self.steps, KC):
                var kc = min(KC, self.steps - p)
                self.pack_block[Self.NR](
                    at[Self.src](self.b, p * Self.DEPTH * self.brs + j * self.bcs), self.bcs, self.brs, count, p, kc,
                    at[Self.dt](self.packed_b, (p * cols + index * kc) * Self.NR),
                )
        else:
            var t = index - cols
            var i = self.row_start(t)
            var count = self.row_start(t + 1) - i
            for p in range(0, self.steps, KC):
                var kc = min(KC, self.steps - p)
                self.pack_block[MR](
                    at[Self.src](self.a, i * self.ars + p * Self.DEPTH * self.acs), self.ars, self.acs, count, p, kc,
                    at[Self.dt](self.packed_a, (p * self.row_panels + t * kc) * MR),
                )

    @always_inline
    def pack_block[panel: Int](self, s: Int, unit: Int, ks: Int, count: Int, p: Int, kc: Int, d: Int):
        comptime if Self.PAIRS:
            pack_pairs[panel](s, unit, ks, count, min(2 * kc, self.k - 2 * p), d)
        else:
            pack[Self.src, Self.dt, panel](s, unit, ks, count, kc, d)

    def tile(self, task: Int):
        var gi = task % self.grid_rows
        var gj = task // self.grid_rows
        var row0 = self.row_panels * gi // self.grid_rows
        var row1 = self.row_panels * (gi + 1) // self.grid_rows
        var col0 = self.col_panels * gj // self.grid_cols
        var col1 = self.col_panels * (gj + 1) // self.grid_cols
        var packed_cols = self.col_panels - self.first_packed
        var ep = self.ep
        for p in range(0, self.steps, KC):
            var kc = min(KC, self.steps - p)
            for jt in range(col0, col1):
                var j = jt * Self.NR
                var nr = min(Self.NR, self.n - j)
                var b: Int
                var bs: Int
                if jt >= self.first_packed:
                    b = at[Self.dt](self.packed_b, (p * packed_cols + (jt - self.first_packed) * kc) * Self.NR)
                    bs = Self.NR
                else:
                    b = at[Self.dt](self.b, p * self.brs + j)
                    bs = self.brs
                var e = ep
                if e.bias != 0:
                    e.bias = at[Self.dt](e.bias, j)
                for it in range(row0, row1):
                    var i = self.row_start(it)
                    var mr = self.row_start(it + 1) - i
                    var c = at[Self.dt](self.c, i * self.crs + j)
                    if self.packed_a != 0:
                        var a = at[Self.dt](self.packed_a, (p * self.row_panels + it * kc) * MR)
                        micro_rows[Self.dt, Self.PAIRS](mr, a, 1, MR, b, bs, kc, c, self.crs, nr, e)
                    else:
                        var a = at[Self.dt](self.a, i * self.ars + p * self.acs)
                        micro_rows[Self.dt, Self.PAIRS](mr, a, self.ars, self.acs, b, bs, kc, c, self.crs, nr, e)
            ep = ep.after_first()

    def go(mut self):
        """Packs and multiplies."""
        var nt = num_threads()
        if self.m * self.n * self.k < SERIAL_WORK:
            nt = 1
        var panels = self.packed_panels()
        if panels > 0:
            self.packing = True
            var tasks = min(panels, max(1, panels * Self.NR * self.steps // 16384)) if nt > 1 else 1
            self.pack_group = _ceildiv(panels, min(tasks, 8 * nt))
            _spread(self, _ceildiv(panels, self.pack_group))
        self.packing = False
        self.grid_rows = _ceildiv(self.row_panels, TILE_ROWS)
        self.grid_cols = _ceildiv(self.col_panels, TILE_COLS)
        # More and smaller tiles while that is cheap, so that the threads finish together.
        while nt > 1 and self.grid_rows * self.grid_cols < 4 * nt:
            var rows = self.row_panels // self.grid_rows
            var cols = self.col_panels // self.grid_cols
            if rows <= 1 and cols <= 1:
                break
            var count = self.grid_rows * self.grid_cols
            if count >= nt and count % nt == 0 and self.m * self.n * self.k // count < (1 << 19):
                break
            if rows * MR > cols * Self.NR or cols <= 1:
                self.grid_rows += 1 if self.grid_rows * 2 > self.row_panels else self.grid_rows
            else:
                self.grid_cols += 1 if self.grid_cols * 2 > self.col_panels else self.grid_cols
        if nt == 1:
            for t in range(self.grid_rows * self.grid_cols):
                self.tile(t)
        else:
            _spread(self, self.grid_rows * self.grid_cols)


def _pairs[src: DType]() -> Bool:
    """Whether operands of this dtype are packed in pairs along k."""
    return BF16_PAIRS and src == DType.bfloat16


@no_inline
def _spread[B: Body](body: B, ntasks: Int):
    parallel(body, ntasks)


def _multiply[src: DType, dt: DType](
    m: Int, n: Int, k: Int, a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int, c: Int, crs: Int, ep: Epilogue[dt],
    spare: Int, spare_bytes: Int,
):
    """C[m, n] with unit column stride and m, n <= CHUNK; packs into the spare memory, whose size limits a pass."""
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    comptime DEPTH = 2 if _pairs[src]() else 1
    var row_panels = _ceildiv(m, MR)
    var col_panels = _ceildiv(n, NR)
    var depth = _pack_columns[src, dt](m, n, k, ars, acs, brs, bcs)
    var pass_k = k
    if depth[0] + depth[1] > 0:
        pass_k = min(k, max(KC, spare_bytes // SIZE // (depth[0] + depth[1]) // KC * KC) * DEPTH)
    var e = ep
    for p in range(0, k, pass_k):
        var pk = min(pass_k, k - p)
        var steps = _ceildiv(pk, DEPTH)
        var packed_b = spare
        var packed_a = at[dt](spare, depth[1] * steps) if depth[0] > 0 else 0
        var work = _Pass[src, dt](
            m, n, pk, steps, at[src](a, p * acs), ars, acs, at[src](b, p * brs), brs, bcs, c, crs, e,
            row_panels, col_panels, packed_a, packed_b, col_panels - depth[1] // NR, 1, 1, False, 1,
        )
        work.go()
        e = e.after_first()


def _pack_columns[src: DType, dt: DType](
    m: Int, n: Int, k: Int, ars: Int, acs: Int, brs: Int, bcs: Int
) -> Tuple[Int, Int]:
    """Elements for each step of k that A and B take packed; 0 for one that is used in place."""
    comptime NR = 2 * width[dt]()
    var a = 0
    if src != dt or (ars != 1 and acs != 1) or n >= 8 * NR:
        a = _ceildiv(m, MR) * MR
    var b = 0
    if src != dt or bcs != 1 or m >= 6 * MR:
        b = _ceildiv(n, NR) * NR
    elif n % NR != 0 and n % width[dt]() != 0:
        b = NR  # the kernel reads whole vectors: the last panel is packed
    elif n % NR != 0 and n % NR > width[dt]():
        b = NR
    return (a, b)


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


def _buffered[dt: DType](
    m: Int, n: Int, k: Int, alpha: Scalar[acc_dtype[dt]()], a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int,
    beta: Scalar[acc_dtype[dt]()], c: Int, crs: Int, ccs: Int, bias: Int,
):
    comptime acc = acc_dtype[dt]()
    comptime NR = 2 * width[acc]()
    comptime SIZE = size_of[Scalar[acc]]()
    var rows = min(m, BUFFER_CHUNK)
    var cols = _ceildiv(min(n, BUFFER_CHUNK), 16) * 16
    var buffer_bytes = rows * cols * SIZE
    var panels = (_ceildiv(rows, MR) * MR + _ceildiv(cols, NR) * NR) * SIZE
    var pack_bytes = panels * k if panels * k <= PACK_BYTES else max(PACK_BYTES, panels * KC)
    var ws = Workspace.take(buffer_bytes + pack_bytes)
    for j in range(0, n, BUFFER_CHUNK):
        var nc = min(BUFFER_CHUNK, n - j)
        for i in range(0, m, BUFFER_CHUNK):
            var mc = min(BUFFER_CHUNK, m - i)
            _multiply[dt, acc](
                mc, nc, k, at[dt](a, i * ars), ars, acs, at[dt](b, j * bcs), brs, bcs, ws.address, cols,
                Epilogue[acc](alpha, 0, 0), ws.address + buffer_bytes, pack_bytes,
            )
            var tasks = min(mc, max(1, mc * nc // 32768))
            var group = _ceildiv(mc, tasks)
            parallel(
                _Convert[dt, acc](
                    nc, mc, ws.address, cols, at[dt](c, i * crs + j * ccs), crs, ccs, beta,
                    at[dt](bias, j) if bias != 0 else 0, group,
                ),
                _ceildiv(mc, group),
            )
    ws.give()


@fieldwise_init
struct _Dots[dt: DType](Body, ImplicitlyCopyable, Movable):
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
                e.bias = at[Self.dt](e.bias, j)
            var b = at[Self.dt](self.b, j * self.bcs)
            for i in range(0, self.m, DOT_ROWS):
                var rows = min(DOT_ROWS, self.m - i)
                var a = at[Self.dt](self.a, i * self.ars)
                var c = at[Self.dt](self.c, i * self.crs + j * self.ccs)
                comptime for q in range(1, DOT_ROWS + 1):
                    if rows == q:
                        if cols == 4:
                            dots[Self.dt, q, 4](a, self.ars, b, self.bcs, self.k, c, self.crs, self.ccs, e)
                        else:
                            dots[Self.dt, q, 1](a, self.ars, b, self.bcs, self.k, c, self.crs, self.ccs, e)
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


def _few_rows[dt: DType](
    m: Int, n: Int, k: Int, a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int, c: Int, crs: Int, ccs: Int,
    ep: Epilogue[dt],
) -> Bool:
    """Does products of few rows whose operands allow it without packing; False: not this one."""
    var work = m * n * k
    if brs == 1 and (acs == 1 or k == 1) and (m <= DOT_ROWS or k >= DOT_DEPTH) and (bcs != 1 or m == 1):
        var group = max(4, _ceildiv(n, max(1, work // SERIAL_WORK)) // 4 * 4)
        parallel(_Dots[dt](m, n, k, a, ars, b, bcs, c, crs, ccs, ep, group), _ceildiv(n, group))
        return True
    if m == 1 and bcs == 1 and ccs == 1:
        # A group of columns whose part of C stays in the L1 cache while the rows of B stream by; as wide as the
        # threads allow, because long runs of memory are what the prefetchers like.
        var tasks = min(max(1, work // SERIAL_WORK), 2 * num_threads())
        var group = min(4096, max(256, _ceildiv(n, tasks * 64) * 64))
        parallel(_Axpy[dt](n, k, a, acs, b, brs, c, ep, group), _ceildiv(n, group))
        return True
    return False


@no_inline
def _tiny[dt: DType](
    m: Int, n: Int, k: Int, a: Int, ars: Int, acs: Int, b: Int, brs: Int, bcs: Int, c: Int, crs: Int, ep: Epilogue[dt],
):
    """C with unit column stride and k <= TINY_DEPTH, with no other memory than the stack: the cost of a call matters."""
    comptime NR = 2 * width[dt]()
    comptime SIZE = TINY_DEPTH * NR
    var panel = Array[Scalar[dt], SIZE](uninitialized=True)
    var panels = _ceildiv(m, MR)
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

    a, b, c, bias: addresses of the first elements, all of dtype `dt` (`bias` contiguous, 0 for none). ars, acs, ...: the
    row and column strides of A, B and C in elements, of any value for A and B (0 and negative too); the elements of C
    must be distinct and apart from A and B. float16 and bfloat16 are summed in float32 and rounded once; integers wrap.
    beta == 0 does not read C, and k == 0 or alpha == 0 does not read A and B.
    """
    comptime acc = acc_dtype[dt]()
    if m <= 0 or n <= 0:
        return
    if k <= 0 or alpha == 0:
        _scale[dt](m, n, beta, c, crs, ccs, bias)
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
        if m <= 4 * DOT_ROWS and _few_rows[dt](m, n, k, a, ars, acs, b, brs, bcs, c, crs, ccs, ep):
            return
        if n <= 4 * DOT_ROWS and bias == 0 and _few_rows[dt](n, m, k, b, bcs, brs, a, acs, ars, c, ccs, crs, ep):
            return
        if ccs == 1 or n == 1:
            comptime NR = 2 * width[dt]()
            comptime SIZE = size_of[Scalar[dt]]()
            var per_k = _pack_columns[dt, dt](min(m, CHUNK), min(n, CHUNK), k, ars, acs, brs, bcs)
            # The last chunk may have a tail to pack that a whole one has not.
            var bytes = (per_k[0] + per_k[1] + (NR if n > CHUNK else 0)) * SIZE
            bytes = bytes * k if bytes * k <= PACK_BYTES else max(PACK_BYTES, bytes * KC)
            var ws = Workspace.take(bytes)
            for j in range(0, n, CHUNK):
                for i in range(0, m, CHUNK):
                    var e = ep
                    if bias != 0:
                        e.bias = at[dt](bias, j)
                    _multiply[dt, dt](
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
    var group = max(1, min(_ceildiv(count, 4 * nt), _ceildiv(1 << 18, work)))
    var tasks = _ceildiv(count, group)
    var body = _Batch[dt](
        m, n, k, alpha, a, ars, acs, a_offsets, b, brs, bcs, b_offsets, beta, c, crs, ccs, c_offsets, count, group
    )
    # Two big products on four threads: each in turn, all threads on it.
    if tasks >= 4 * nt or work < (1 << 19):
        parallel(body, tasks)
    else:
        for t in range(tasks):
            body.run(t, 0)
