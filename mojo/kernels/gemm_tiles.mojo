"""Large products: packed once, cut into tiles that the threads claim.

A is packed into panels of MR rows and B into panels of NR columns, unless they are better used in place. A tile stays
in the L2 cache while k is walked in blocks of KC.
"""
from std.sys import size_of

from kernels.gemm_micro import MR, Epilogue, Mat, at, micro_rows, width
from kernels.gemm_pack import pack
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

comptime SERIAL_WORK = 1 << 19
"""Multiply-adds below which a second thread costs more than it gives."""


def ceildiv(a: Int, b: Int) -> Int:
    return (a + b - 1) // b


@fieldwise_init
struct Pass[src: DType, dt: DType](Body, ImplicitlyCopyable, Movable):
    """One pass over k of one chunk of C: what the packing and the tile tasks share."""

    comptime NR = 2 * width[Self.dt]()

    var m: Int
    var n: Int
    var k: Int
    var a: Mat
    var b: Mat
    var c: Mat  # unit column stride
    var ep: Epilogue[Self.dt]
    var row_panels: Int
    var col_panels: Int
    var packed_a: Int  # address of the packed panels, 0: A is used in place
    var packed_b: Int
    var first_packed: Int  # the column panel that packed_b begins with; those before it are used in place
    var grid_rows: Int
    var grid_cols: Int
    var packing: Bool  # which of the two kinds of task `run` does
    var pack_tasks: Int

    @always_inline
    def row_start(self, t: Int) -> Int:
        """Panels of rows differ by one row at most, so that none is much shorter than the kernel likes."""
        return t * (self.m // self.row_panels) + min(t, self.m % self.row_panels)

    def packed_panels(self) -> Int:
        return (self.row_panels if self.packed_a != 0 else 0) + self.col_panels - self.first_packed

    def run(self, task: Int, worker: Int):
        if self.packing:
            # Both operands are shared out alike, so that most of what a thread packs it also multiplies.
            var cols = self.col_panels - self.first_packed
            var rows = self.packed_panels() - cols
            for i in range(task * cols // self.pack_tasks, (task + 1) * cols // self.pack_tasks):
                self.pack_panel(i)
            for i in range(task * rows // self.pack_tasks, (task + 1) * rows // self.pack_tasks):
                self.pack_panel(cols + i)
        else:
            self.tile(task)

    def pack_panel(self, index: Int):
        """Packs the panel, all of its k blocks; first come those of B, then those of A."""
        var cols = self.col_panels - self.first_packed
        if index < cols:
            var j = (self.first_packed + index) * Self.NR
            var count = min(Self.NR, self.n - j)
            for p in range(0, self.k, KC):
                var kc = min(KC, self.k - p)
                var to = at[Self.dt](self.packed_b, (p * cols + index * kc) * Self.NR)
                pack[Self.src, Self.dt, Self.NR](self.b.t().part[Self.src](j, p), count, kc, to)
        else:
            var t = index - cols
            var i = self.row_start(t)
            var count = self.row_start(t + 1) - i
            for p in range(0, self.k, KC):
                var kc = min(KC, self.k - p)
                var to = at[Self.dt](self.packed_a, (p * self.row_panels + t * kc) * MR)
                pack[Self.src, Self.dt, MR](self.a.part[Self.src](i, p), count, kc, to)

    def tile(self, task: Int):
        var gi = task % self.grid_rows
        var gj = task // self.grid_rows
        var row0 = self.row_panels * gi // self.grid_rows
        var row1 = self.row_panels * (gi + 1) // self.grid_rows
        var col0 = self.col_panels * gj // self.grid_cols
        var col1 = self.col_panels * (gj + 1) // self.grid_cols
        var packed_cols = self.col_panels - self.first_packed
        var ep = self.ep
        for p in range(0, self.k, KC):
            var kc = min(KC, self.k - p)
            for jt in range(col0, col1):
                var j = jt * Self.NR
                var nr = min(Self.NR, self.n - j)
                var b: Int
                var bs: Int
                if jt >= self.first_packed:
                    b = at[Self.dt](self.packed_b, (p * packed_cols + (jt - self.first_packed) * kc) * Self.NR)
                    bs = Self.NR
                else:
                    b = self.b.where[Self.dt](p, j)
                    bs = self.b.rs
                var e = ep.from_column(j)
                for it in range(row0, row1):
                    var i = self.row_start(it)
                    var mr = self.row_start(it + 1) - i
                    var a: Mat
                    if self.packed_a != 0:
                        a = Mat(at[Self.dt](self.packed_a, (p * self.row_panels + it * kc) * MR), 1, MR)
                    else:
                        a = self.a.part[Self.dt](i, p)
                    var c = self.c.where[Self.dt](i, j)
                    micro_rows[Self.dt](mr, a, b, bs, kc, c, self.c.rs, nr, e)
            ep = ep.after_first()

    def go(mut self):
        """Packs and multiplies."""
        var nt = num_threads()
        if self.m * self.n * self.k < SERIAL_WORK:
            nt = 1
        var panels = self.packed_panels()
        if panels > 0:
            self.packing = True
            var tasks = min(panels, max(1, panels * Self.NR * self.k // 16384)) if nt > 1 else 1
            self.pack_tasks = min(tasks, 8 * nt)
            _spread(self, self.pack_tasks)
        self.packing = False
        self.grid_rows = ceildiv(self.row_panels, TILE_ROWS)
        self.grid_cols = ceildiv(self.col_panels, TILE_COLS)
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


@no_inline
def _spread[B: Body](body: B, ntasks: Int):
    parallel(body, ntasks)


def multiply[
    src: DType, dt: DType
](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[dt], spare: Int, spare_bytes: Int):
    """C[m, n] with unit column stride and m, n <= CHUNK; packs into the spare memory, whose size limits a pass."""
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    var row_panels = ceildiv(m, MR)
    var col_panels = ceildiv(n, NR)
    var columns = pack_columns[src, dt](m, n, a, b)
    var pass_k = k
    if columns[0] + columns[1] > 0:
        pass_k = min(k, max(KC, spare_bytes // SIZE // (columns[0] + columns[1]) // KC * KC))
    var e = ep
    for p in range(0, k, pass_k):
        var pk = min(pass_k, k - p)
        var work = Pass[src, dt](
            m=m,
            n=n,
            k=pk,
            a=a.part[src](0, p),
            b=b.part[src](p, 0),
            c=c,
            ep=e,
            row_panels=row_panels,
            col_panels=col_panels,
            packed_a=at[dt](spare, columns[1] * pk) if columns[0] > 0 else 0,
            packed_b=spare,
            first_packed=col_panels - columns[1] // NR,
            grid_rows=1,
            grid_cols=1,
            packing=False,
            pack_tasks=1,
        )
        work.go()
        e = e.after_first()


def pack_columns[src: DType, dt: DType](m: Int, n: Int, a: Mat, b: Mat) -> Tuple[Int, Int]:
    """Elements for each step of k that A and B take packed; 0 for one that is used in place."""
    comptime NR = 2 * width[dt]()
    var of_a = 0
    if src != dt or (a.rs != 1 and a.cs != 1) or n >= 8 * NR:
        of_a = ceildiv(m, MR) * MR
    var of_b = 0
    if src != dt or b.cs != 1 or m >= 6 * MR:
        of_b = ceildiv(n, NR) * NR
    elif n % width[dt]() != 0:
        of_b = NR  # the kernel reads whole vectors: the last panel is packed
    return (of_a, of_b)
