"""The time loops of recurrent layers.

The input's products are done for several steps at once, not more than the cache holds. A step is then one parallel
region: a task takes a block of hidden units (and of rows), multiplies the state by the block's columns of every gate,
which were packed once for all steps, and goes on to the gates while the sums are in the L1 cache. Going back a step is
one region as well: the product that gives the state's gradient, and the gates' derivatives; the weights' gradients are
one GEMM over all steps at the end.
"""

from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import size_of
from tensor.memory import memcpy, memset
from tensor.threads import Body, parallel
from kernels.gemm import gemm
from kernels.gemm_micro import (
    MR,
    Epilogue,
    Mat,
    acc_dtype,
    at,
    micro_rows,
    ptr,
    width,
)
from kernels.gemm_pack import pack
from kernels.recurrent_cells import Cell, Unit, get, put
from kernels.math import tanh
from kernels.workspace import Workspace

comptime CHUNK = 4 * MR
"""Rows of the batch that a task takes at most."""

comptime DEPTH = 256
"""Depth of a block of a product: a packed panel of it stays in the L1 cache."""

comptime AHEAD = 128
"""Rows whose products of the input are done before their steps: the weights are read once for all of them."""

comptime SERIAL_WORK = 1 << 16
"""Multiply-adds of a step that one thread does alone."""


struct Layer(Movable):
    """One direction of one layer: sizes and addresses, all tensors dense and of one dtype. 0: not there.

    Rows of the steps stand one below the other, `sizes[t]` of them from `starts[t]` on. Sizes never grow.
    """

    var steps: Int
    var total: Int
    var batch: Int
    var inputs: Int
    var hidden: Int
    var width: Int  # of the state: the hidden units, or what they are projected to
    var reverse: Bool
    var sizes: List[Int]
    var starts: List[Int]
    var x: Int
    var h0: Int
    var c0: Int
    var w_ih: Int
    var w_hh: Int
    var b_ih: Int
    var b_hh: Int
    var w_hr: Int
    var output: Int
    var gates: Int
    var cells: Int

    def __init__(out self):
        self.steps = 0
        self.total = 0
        self.batch = 0
        self.inputs = 0
        self.hidden = 0
        self.width = 0
        self.reverse = False
        self.sizes = List[Int]()
        self.starts = List[Int]()
        self.x = 0
        self.h0 = 0
        self.c0 = 0
        self.w_ih = 0
        self.w_hh = 0
        self.b_ih = 0
        self.b_hh = 0
        self.w_hr = 0
        self.output = 0
        self.gates = 0
        self.cells = 0

    def nth(self, n: Int) -> Int:
        """Which step of the sequence is the n-th to be done."""
        return self.steps - 1 - n if self.reverse else n

    def preceded(self, n: Int) -> Int:
        """How many rows of the n-th step have one before it; they are the first ones. The others begin here."""
        return min(self.sizes[self.nth(n - 1)], self.sizes[self.nth(n)]) if n > 0 else 0


def _rows_before[dt: DType](k: Layer, n: Int, kept: Int, first: Int, columns: Int, to: Int):
    """Copies the rows that came before the n-th step's: of the step before it, or of the beginning."""
    comptime SIZE = size_of[Scalar[dt]]()
    var known = k.preceded(n)
    if known > 0:
        memcpy(
            to,
            at[dt](kept, k.starts[k.nth(n - 1)] * columns),
            known * columns * SIZE,
        )
    var begun = k.sizes[k.nth(n)] - known
    if begun > 0:
        memcpy(
            at[dt](to, known * columns),
            at[dt](first, known * columns),
            begun * columns * SIZE,
        )


@no_inline
def _panel_product[
    dt: DType
](a: Mat, rows: Int, depth: Int, panel: Int, c: Int, stride: Int, columns: Int, beta: Scalar[dt], bias: Int,):
    """C[rows, columns] = A @ panel + beta * C + bias, for a packed panel of the register tile's columns."""
    comptime NR = 2 * width[dt]()
    var groups = ceildiv(rows, MR)
    var e = Epilogue[dt](1, beta, bias)
    for p in range(0, depth, DEPTH):
        var kc = min(DEPTH, depth - p)
        for t in range(groups):
            var i = rows * t // groups
            var mr = rows * (t + 1) // groups - i
            micro_rows[dt](
                mr,
                a.part[dt](i, p),
                at[dt](panel, p * NR),
                NR,
                kc,
                at[dt](c, i * stride),
                stride,
                columns,
                e,
            )
        e = e.after_first()


@no_inline
def _spread[B: Body](body: B, tasks: Int, work: Int):
    if work < SERIAL_WORK:
        for t in range(tasks):
            body.run(t, 0)
    else:
        parallel(body, tasks)


def _padded(columns: Int) -> Int:
    """A distance of rows that does not put them all into one set of the cache."""
    return ceildiv(columns, 16) * 16 + 16


def _no_memory() -> Error:
    return Error("OutOfMemoryError|recurrent(): no memory for the scratch of the steps")


# ---------------------------------------------------------------- forward


@fieldwise_init
struct ForwardStep[K: Cell, dt: DType](Body, ImplicitlyCopyable, Movable):
    var hidden: Int
    var width: Int
    var stride: Int  # of the rows of states
    var blocks: Int
    var panels: Int  # 0: the products have been added already
    var bias: Int  # of the product that is not added
    var rows: Int
    var gates: Int
    var cells: Int
    var running: Int
    var before: Int
    var after: Int  # the state again, for the next step; 0: a projection comes first
    var out_: Int

    def run(self, task: Int, worker: Int):
        comptime W = width[Self.dt]()
        comptime NR = 2 * W
        var block = task % self.blocks
        var j = block * NR
        var n = min(NR, self.hidden - j)
        var first = task // self.blocks * CHUNK
        var end = min(first + CHUNK, self.rows)
        if self.panels != 0:
            var a = Mat(at[Self.dt](self.before, first * self.stride), self.stride, 1)
            comptime for q in range(Self.K.GATES):
                comptime added = q < Self.K.ADDED
                comptime place = q if added else q + 1
                var panel = at[Self.dt](self.panels, (block * Self.K.GATES + q) * NR * self.width)
                var c = at[Self.dt](self.gates, (first * Self.K.KEPT + place) * self.hidden + j)
                var bias = at[Self.dt](self.bias, j) if not added and self.bias != 0 else 0
                _panel_product[Self.dt](
                    a,
                    end - first,
                    self.width,
                    panel,
                    c,
                    Self.K.KEPT * self.hidden,
                    n,
                    Scalar[Self.dt](Int(added)),
                    bias,
                )
        for r in range(first, end):
            var i = 0
            while i + W <= n:
                self._unit[False](r, j + i, W)
                i += W
            if i < n:
                self._unit[True](r, j + i, n - i)

    @always_inline
    def _unit[part: Bool](self, r: Int, j: Int, lanes: Int):
        comptime W = width[Self.dt]()
        var place = r * self.hidden + j
        var u = Unit(
            at[Self.dt](self.gates, r * Self.K.KEPT * self.hidden + j),
            at[Self.dt](self.before, r * self.stride + j),
            at[Self.dt](self.cells, place),
            at[Self.dt](self.running, place),
            0,
            0,
        )
        var y = Self.K.forward[Self.dt, W, part](u, self.hidden, lanes)
        put[Self.dt, W, part](self.out_, place, lanes, y)
        if self.after != 0:
            put[Self.dt, W, part](self.after, r * self.stride + j, lanes, y)


@fieldwise_init
struct InputProducts[K: Cell, dt: DType](Body, ImplicitlyCopyable, Movable):
    """The products of some rows of the input with the weights of all gates."""

    var hidden: Int
    var inputs: Int
    var blocks: Int
    var panels: Int
    var bias: Int
    var rows: Int
    var x: Int
    var stride: Int  # of the rows of `x`
    var gates: Int

    def run(self, task: Int, worker: Int):
        comptime NR = 2 * width[Self.dt]()
        var block = task % self.blocks
        var j = block * NR
        var first = task // self.blocks * CHUNK
        var a = Mat(at[Self.dt](self.x, first * self.stride), self.stride, 1)
        comptime for q in range(Self.K.GATES):
            _panel_product[Self.dt](
                a,
                min(CHUNK, self.rows - first),
                self.inputs,
                at[Self.dt](self.panels, (block * Self.K.GATES + q) * NR * self.inputs),
                at[Self.dt](self.gates, (first * Self.K.KEPT + q) * self.hidden + j),
                Self.K.KEPT * self.hidden,
                min(NR, self.hidden - j),
                0,
                at[Self.dt](self.bias, q * self.hidden + j),
            )


def _pack_gates[K: Cell, dt: DType](w: Int, h: Int, columns: Int, to: Int):
    """Packs weights (gates * h, columns): for each block of hidden units a panel of each gate."""
    comptime NR = 2 * width[dt]()
    for block in range(ceildiv(h, NR)):
        for q in range(K.GATES):
            var row = Mat(at[dt](w, (q * h + block * NR) * columns), columns, 1)
            var panel = at[dt](to, (block * K.GATES + q) * NR * columns)
            pack[dt, dt, NR](row, min(NR, h - block * NR), columns, panel)


def forward[K: Cell, dt: DType](k: Layer, hn: Int, cn: Int) raises:
    """Fills output, gates and cells, and the last state of each row; `cn` begins as the first cell.

    Where gates and cells are not there, nothing is kept of them for longer than it is needed.
    """
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    var h = k.hidden
    var stored = K.KEPT * h
    var columns = K.GATES * h
    var blocks = ceildiv(h, NR)
    var stride = _padded(k.width)
    var packed = blocks * K.GATES * NR * k.width if k.steps > 1 else 0
    var ahead = k.steps > 1 and k.total >= AHEAD // 2
    var x_stride = _padded(k.inputs)
    var x_rows = min(k.total, AHEAD + k.batch)
    var of_input = blocks * K.GATES * NR * k.inputs + x_rows * x_stride if ahead else 0
    var free = k.batch * h if k.w_hr != 0 else 0
    var passing = (x_rows if ahead else k.total) * stored if k.gates == 0 else 0
    var passing_cells = k.batch * h if k.cells == 0 and K.HAS_CELL else 0
    var scratch = packed + of_input + columns + 2 * k.batch * stride + free + passing + passing_cells + 16
    var ws = Workspace.take(scratch * SIZE)
    if ws.address == 0:
        raise _no_memory()
    var input_panels = at[dt](ws.address, packed)
    var bias = at[dt](input_panels, of_input)
    var states = at[dt](bias, columns)
    var projected = at[dt](states, 2 * k.batch * stride)
    var gates = k.gates if k.gates != 0 else at[dt](projected, free)
    var cells = k.cells if k.cells != 0 else at[dt](projected, free + passing)
    var origin = 0  # the row that `gates` begins with
    for j in range(columns):
        var b = Scalar[dt](0)
        if k.b_ih != 0:
            b = ptr[dt](k.b_ih)[unsafe_offset=j]
            if j < K.ADDED * h:
                b += ptr[dt](k.b_hh)[unsafe_offset=j]
        ptr[dt](bias)[unsafe_offset=j] = b
    if packed != 0:
        _pack_gates[K, dt](k.w_hh, h, k.width, ws.address)
    var products = InputProducts[K, dt](
        hidden=h, inputs=k.inputs, blocks=blocks, panels=input_panels, bias=bias, rows=0,
        x=at[dt](input_panels, blocks * K.GATES * NR * k.inputs), stride=x_stride, gates=0,
    )  # fmt: skip
    if ahead:
        _pack_gates[K, dt](k.w_ih, h, k.inputs, input_panels)
    else:
        gemm[dt](k.total, columns, k.inputs, 1, k.x, k.inputs, 1, k.w_ih, 1, k.inputs, 0, gates, stored, 1, bias)
    var done = 0  # steps whose products of the input are there
    for r in range(k.batch):
        for s in range(2):
            memcpy(
                at[dt](states, (s * k.batch + r) * stride),
                at[dt](k.h0, r * k.width),
                k.width * SIZE,
            )
    var hidden_bias = at[dt](k.b_hh, K.ADDED * h) if k.b_hh != 0 else 0
    var step = ForwardStep[K, dt](
        hidden=h, width=k.width, stride=stride, blocks=blocks, panels=ws.address if packed != 0 else 0,
        bias=hidden_bias, rows=0, gates=0, cells=0, running=cn, before=0, after=0, out_=projected,
    )  # fmt: skip
    for n in range(k.steps):
        var t = k.nth(n)
        if ahead and n == done:
            var rows = 0
            while done < k.steps and rows < AHEAD:
                rows += k.sizes[k.nth(done)]
                done += 1
            var first = min(k.starts[t], k.starts[k.nth(done - 1)])
            for r in range(rows):
                var row = at[dt](k.x, (first + r) * k.inputs)
                memcpy(at[dt](products.x, r * x_stride), row, k.inputs * SIZE)
            products.rows = rows
            origin = 0 if k.gates != 0 else first
            products.gates = at[dt](gates, (first - origin) * stored)
            _spread(products, blocks * ceildiv(rows, CHUNK), rows * columns * k.inputs)
        step.rows = k.sizes[t]
        step.gates = at[dt](gates, (k.starts[t] - origin) * stored)
        step.cells = at[dt](cells, k.starts[t] * h if k.cells != 0 else 0)
        step.before = at[dt](states, (n & 1) * k.batch * stride)
        var after = at[dt](states, (1 - (n & 1)) * k.batch * stride)
        var out_ = at[dt](k.output, k.starts[t] * k.width)
        if k.w_hr == 0:
            step.out_ = out_
            step.after = after
        if packed == 0:
            _products[K, dt](step, k.w_hh)
        _spread(
            step,
            blocks * ceildiv(step.rows, CHUNK),
            step.rows * columns * k.width,
        )
        if k.w_hr != 0:
            gemm[dt](
                step.rows,
                k.width,
                h,
                1,
                projected,
                h,
                1,
                k.w_hr,
                1,
                h,
                0,
                out_,
                k.width,
                1,
            )
            for r in range(step.rows):
                memcpy(
                    at[dt](after, r * stride),
                    at[dt](out_, r * k.width),
                    k.width * SIZE,
                )
    # the last step of each row
    for t in range(1 if k.reverse else k.steps):
        var later = k.sizes[t + 1] if t + 1 < k.steps and not k.reverse else 0
        var from_ = at[dt](k.output, (k.starts[t] + later) * k.width)
        memcpy(
            at[dt](hn, later * k.width),
            from_,
            (k.sizes[t] - later) * k.width * SIZE,
        )
    ws.give()


def _products[K: Cell, dt: DType](s: ForwardStep[K, dt], w_hh: Int):
    """A single step's products of the state, with the weights as they are."""
    var h = s.hidden
    var stored = K.KEPT * h
    gemm[dt](
        s.rows,
        K.ADDED * h,
        s.width,
        1,
        s.before,
        s.stride,
        1,
        w_hh,
        1,
        s.width,
        1,
        s.gates,
        stored,
        1,
    )
    comptime if K.ADDED < K.GATES:
        var w = at[dt](w_hh, K.ADDED * h * s.width)
        var c = at[dt](s.gates, (K.ADDED + 1) * h)
        gemm[dt](
            s.rows,
            h,
            s.width,
            1,
            s.before,
            s.stride,
            1,
            w,
            1,
            s.width,
            0,
            c,
            stored,
            1,
            s.bias,
        )


# ---------------------------------------------------------------- backward


struct Gradients(ImplicitlyCopyable, Movable):
    """Addresses: the output's gradient (0: none), and where those of the arguments go (0: not wanted).

    `h` and `c` begin as the gradients of the last states.
    """

    var output: Int
    var x: Int
    var h: Int
    var c: Int
    var w_ih: Int
    var w_hh: Int
    var b_ih: Int
    var b_hh: Int
    var w_hr: Int

    def __init__(out self):
        self.output = 0
        self.x = 0
        self.h = 0
        self.c = 0
        self.w_ih = 0
        self.w_hh = 0
        self.b_ih = 0
        self.b_hh = 0
        self.w_hr = 0


@fieldwise_init
struct BackwardStep[K: Cell, dt: DType](Body, ImplicitlyCopyable, Movable):
    """The product with the gates' gradients of the step after this one (the one done before), then this step's."""

    var hidden: Int
    var blocks: Int
    var panels: Int  # 0: the state's gradient is there already
    var later_rows: Int
    var later: Int  # the gates' gradients of the later step
    var grads: Int
    var stride: Int  # of the rows of gates' gradients
    var rows: Int
    var gates: Int
    var before: Int
    var cells: Int
    var known: Int  # rows whose cell before this step is in cells_before; the others' is in c0
    var cells_before: Int
    var c0: Int
    var output: Int  # the output's gradient, 0: none
    var carry: Int  # the state's gradient
    var running: Int  # the cell's

    def run(self, task: Int, worker: Int):
        comptime W = width[Self.dt]()
        comptime NR = 2 * W
        var block = task % self.blocks
        var j = block * NR
        var n = min(NR, self.hidden - j)
        var first = task // self.blocks * CHUNK
        if self.panels != 0 and self.later_rows > first:
            var depth = Self.K.GATES * self.hidden
            _panel_product[Self.dt](
                Mat(at[Self.dt](self.later, first * self.stride), self.stride, 1),
                min(CHUNK, self.later_rows - first),
                depth,
                at[Self.dt](self.panels, block * NR * depth),
                at[Self.dt](self.carry, first * self.hidden + j),
                self.hidden,
                n,
                Scalar[Self.dt](Int(Self.K.CARRIES)),
                0,
            )
        for r in range(first, min(first + CHUNK, self.rows)):
            var i = 0
            while i + W <= n:
                self._unit[False](r, j + i, W)
                i += W
            if i < n:
                self._unit[True](r, j + i, n - i)

    @always_inline
    def _unit[part: Bool](self, r: Int, j: Int, lanes: Int):
        comptime W = width[Self.dt]()
        var place = r * self.hidden + j
        var g = get[Self.dt, W, part](self.carry, place, lanes)
        if self.output != 0:
            g += get[Self.dt, W, part](self.output, place, lanes)
        var u = Unit(
            at[Self.dt](self.gates, r * Self.K.KEPT * self.hidden + j),
            at[Self.dt](self.before, place),
            at[Self.dt](self.cells, place),
            at[Self.dt](self.running if Self.K.HAS_CELL else self.carry, place),
            at[Self.dt](self.cells_before if r < self.known else self.c0, place),
            at[Self.dt](self.grads, r * self.stride + j),
        )
        Self.K.backward[Self.dt, W, part](u, self.hidden, lanes, g)


def backward[K: Cell, dt: DType](k: Layer, g: Gradients) raises:
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    var h = k.hidden
    var stored = K.KEPT * h
    var columns = K.GATES * h
    var stride = _padded(stored)
    var blocks = ceildiv(h, NR)
    var projects = k.w_hr != 0
    var packed = blocks * NR * columns if k.steps > 1 and not projects else 0
    var free = k.total * (k.width + h) + k.batch * h if projects else 0
    var ws = Workspace.take((packed + k.total * (stride + k.width) + free + 16) * SIZE)
    if ws.address == 0:
        raise _no_memory()
    var grads = at[dt](ws.address, packed)
    var before = at[dt](grads, k.total * stride)
    var sums = at[dt](before, k.total * k.width)  # the state's gradients, where they are projected
    var unprojected = at[dt](sums, k.total * k.width)
    var d_free = at[dt](unprojected, k.total * h)
    if packed != 0:
        for block in range(blocks):
            # the columns of w_hh, along its rows
            var column = Mat(at[dt](k.w_hh, block * NR), 1, k.width)
            var to = at[dt](ws.address, block * NR * columns)
            pack[dt, dt, NR](column, min(NR, h - block * NR), columns, to)
    for n in range(k.steps):
        _rows_before[dt](
            k,
            n,
            k.output,
            k.h0,
            k.width,
            at[dt](before, k.starts[k.nth(n)] * k.width),
        )
    var step = BackwardStep[K, dt](
        hidden=h, blocks=blocks, panels=0, later_rows=0, later=0, grads=0, stride=stride, rows=0, gates=0, before=0,
        cells=0, known=0, cells_before=0, c0=k.c0, output=0, carry=d_free if projects else g.h, running=g.c,
    )  # fmt: skip
    for m in range(k.steps):
        var n = k.steps - 1 - m
        var t = k.nth(n)
        var start = k.starts[t]
        step.rows = k.sizes[t]
        step.grads = at[dt](grads, start * stride)
        step.gates = at[dt](k.gates, start * stored)
        step.before = at[dt](before, start * k.width)
        step.cells = at[dt](k.cells, start * h)
        step.known = k.preceded(n)
        step.cells_before = at[dt](k.cells, k.starts[k.nth(n - 1)] * h) if n > 0 else k.c0
        if projects:
            _project_back[K, dt](k, g, step, m, start, at[dt](sums, start * k.width), d_free)
        else:
            step.output = at[dt](g.output, start * h) if g.output != 0 else 0
            step.panels = ws.address if m > 0 else 0
        var rows = max(step.rows, step.later_rows)
        _spread(step, blocks * ceildiv(rows, CHUNK), rows * columns * k.width)
        step.later_rows = step.rows
        step.later = step.grads
    if k.steps > 0:
        gemm[dt](
            step.later_rows, k.width, columns, 1, step.later, stride, 1, k.w_hh, k.width, 1,
            Scalar[acc_dtype[dt]()](Int(K.CARRIES)), g.h, k.width, 1,
        )  # fmt: skip
    _weights[K, dt](k, g, grads, stride, before)
    if g.w_hr != 0:
        for row in range(k.total):
            _unproject[dt](
                at[dt](k.gates, row * stored + 3 * h),
                at[dt](k.cells, row * h),
                at[dt](unprojected, row * h),
                h,
            )
        gemm[dt](
            k.width,
            h,
            k.total,
            1,
            sums,
            1,
            k.width,
            unprojected,
            h,
            1,
            0,
            g.w_hr,
            h,
            1,
        )
    ws.give()


def _project_back[
    K: Cell, dt: DType
](k: Layer, g: Gradients, s: BackwardStep[K, dt], m: Int, start: Int, sums: Int, to: Int,):
    """The gradient of the state before its projection, into `to`; that of the state itself into `sums`."""
    if m > 0:
        gemm[dt](
            s.later_rows,
            k.width,
            K.GATES * k.hidden,
            1,
            s.later,
            s.stride,
            1,
            k.w_hh,
            k.width,
            1,
            0,
            g.h,
            k.width,
            1,
        )
    for i in range(s.rows * k.width):
        var v = ptr[dt](g.h)[unsafe_offset=i]
        if g.output != 0:
            v += ptr[dt](g.output)[unsafe_offset=start * k.width + i]
        ptr[dt](sums)[unsafe_offset=i] = v
    gemm[dt](
        s.rows,
        k.hidden,
        k.width,
        1,
        sums,
        k.width,
        1,
        k.w_hr,
        k.hidden,
        1,
        0,
        to,
        k.hidden,
        1,
    )


def _unproject[dt: DType](o: Int, cell: Int, to: Int, n: Int):
    """An LSTM's state before its projection, once more."""
    comptime W = width[dt]()
    for j in range(0, n, W):
        var lanes = n - j
        var y = get[dt, W, True](o, j, lanes) * tanh(get[dt, W, True](cell, j, lanes))
        put[dt, W, True](to, j, lanes, y)


def _weights[K: Cell, dt: DType](k: Layer, g: Gradients, grads: Int, stride: Int, before: Int):
    """The gradients that are sums over all steps."""
    comptime SIZE = size_of[Scalar[dt]]()
    var h = k.hidden
    var columns = K.GATES * h
    if g.w_hh != 0:
        gemm[dt](
            columns,
            k.width,
            k.total,
            1,
            grads,
            1,
            stride,
            before,
            k.width,
            1,
            0,
            g.w_hh,
            k.width,
            1,
        )
    if g.b_hh != 0:
        _sum_rows[dt](k.total, columns, grads, stride, g.b_hh)
    # the gates that are only added have one gradient for both products, another has its own in the last block
    comptime for part in range(2 if K.ADDED < K.GATES else 1):
        comptime gates = K.ADDED if part == 0 else K.GATES - K.ADDED
        comptime at_gate = 0 if part == 0 else K.ADDED
        var d = at[dt](grads, 0 if part == 0 else K.GATES * h)
        comptime beta = Scalar[acc_dtype[dt]()](part)
        var rows = gates * h
        var w = at[dt](k.w_ih, at_gate * h * k.inputs)
        if g.x != 0:
            gemm[dt](
                k.total,
                k.inputs,
                rows,
                1,
                d,
                stride,
                1,
                w,
                k.inputs,
                1,
                beta,
                g.x,
                k.inputs,
                1,
            )
        if g.w_ih != 0:
            var c = at[dt](g.w_ih, at_gate * h * k.inputs)
            gemm[dt](
                rows,
                k.inputs,
                k.total,
                1,
                d,
                1,
                stride,
                k.x,
                k.inputs,
                1,
                0,
                c,
                k.inputs,
                1,
            )
        if g.b_ih != 0:
            var to = at[dt](g.b_ih, at_gate * h)
            if part == 0:
                memcpy(to, g.b_hh, rows * SIZE)
            else:
                _sum_rows[dt](k.total, rows, d, stride, to)


def _sum_rows[dt: DType](rows: Int, columns: Int, a: Int, stride: Int, to: Int):
    """The sum of the rows, as a product with a row of ones (one number, repeated)."""
    var ones = Workspace.take(size_of[Scalar[dt]]())
    if ones.address == 0:
        memset(to, 0, columns * size_of[Scalar[dt]]())
        for r in range(rows):
            for j in range(columns):
                ptr[dt](to)[unsafe_offset=j] += ptr[dt](a)[unsafe_offset=r * stride + j]
        return
    ptr[dt](ones.address)[] = 1
    gemm[dt](1, columns, rows, 1, ones.address, 0, 0, a, stride, 1, 0, to, columns, 1)
    ones.give()
