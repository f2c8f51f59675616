"""The time loop of a recurrent layer, forward: see recurrent_steps."""

from std.math import ceildiv
from std.sys.info import size_of
from tensor.memory import memcpy, memset
from tensor.threads import Body
from kernels.gemm import gemm
from kernels.gemm_micro import Mat, at, ptr, width
from kernels.narrow import narrow
from kernels.recurrent_cells import Cell, Unit, put
from kernels.recurrent_steps import AHEAD, CHUNK, Layer, no_memory, pack_panel, padded, panel_product, spread, words
from kernels.workspace import Workspace


@fieldwise_init
struct ForwardStep[K: Cell, dt: DType, src: DType](Body, ImplicitlyCopyable, Movable):
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
            var a = Mat(at[Self.src](self.before, first * self.stride), self.stride, 1)
            comptime for q in range(Self.K.GATES):
                comptime added = q < Self.K.ADDED
                comptime place = q if added else q + 1
                var panel = at[Self.dt](self.panels, (block * Self.K.GATES + q) * NR * words[Self.src](self.width))
                var c = at[Self.dt](self.gates, (first * Self.K.KEPT + place) * self.hidden + j)
                var bias = at[Self.dt](self.bias, j) if not added and self.bias != 0 else 0
                panel_product[Self.dt, Self.src](
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
            at[Self.src](self.before, r * self.stride + j),
            at[Self.dt](self.cells, place),
            at[Self.dt](self.running, place),
            0,
            0,
        )
        var y = Self.K.forward[Self.dt, W, part](u, self.hidden, lanes)
        put[Self.dt, W, part](self.out_, place, lanes, y)
        if self.after != 0:
            put[Self.src, W, part](self.after, r * self.stride + j, lanes, narrow[Self.src](y))


@fieldwise_init
struct InputProducts[K: Cell, dt: DType, src: DType](Body, ImplicitlyCopyable, Movable):
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
        var a = Mat(at[Self.src](self.x, first * self.stride), self.stride, 1)
        comptime for q in range(Self.K.GATES):
            panel_product[Self.dt, Self.src](
                a,
                min(CHUNK, self.rows - first),
                self.inputs,
                at[Self.dt](self.panels, (block * Self.K.GATES + q) * NR * words[Self.src](self.inputs)),
                at[Self.dt](self.gates, (first * Self.K.KEPT + q) * self.hidden + j),
                Self.K.KEPT * self.hidden,
                min(NR, self.hidden - j),
                0,
                at[Self.dt](self.bias, q * self.hidden + j),
            )


def _pack_gates[K: Cell, dt: DType, src: DType](w: Int, h: Int, columns: Int, to: Int):
    """Packs weights (gates * h, columns): for each block of hidden units a panel of each gate."""
    comptime NR = 2 * width[dt]()
    for block in range(ceildiv(h, NR)):
        for q in range(K.GATES):
            var row = Mat(at[src](w, (q * h + block * NR) * columns), columns, 1)
            var panel = at[dt](to, (block * K.GATES + q) * NR * words[src](columns))
            pack_panel[dt, src](row, min(NR, h - block * NR), columns, panel)


def forward[K: Cell, dt: DType, src: DType](k: Layer, hn: Int, cn: Int) raises:
    """Fills output, gates and cells, and the last state of each row; `cn` begins as the first cell.

    Where gates and cells are not there, nothing is kept of them for longer than it is needed. Input, weights and first
    state are of type `src`, all else of `dt`; no projection where they differ.
    """
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    comptime SOURCE = size_of[Scalar[src]]()
    comptime PAIRS = src != dt
    var h = k.hidden
    var stored = K.KEPT * h
    var columns = K.GATES * h
    var blocks = ceildiv(h, NR)
    var stride = padded(k.width)
    var packed = blocks * K.GATES * NR * words[src](k.width) if k.steps > 1 or PAIRS else 0
    var ahead = (k.steps > 1 and k.total >= AHEAD // 2) or PAIRS
    var x_stride = padded(k.inputs)
    var x_rows = min(k.total, AHEAD + k.batch)
    var input_panel_size = blocks * K.GATES * NR * words[src](k.inputs)
    var of_input = input_panel_size + x_rows * x_stride if ahead else 0
    var free = k.batch * h if k.w_hr != 0 else 0
    var passing = (x_rows if ahead else k.total) * stored if k.gates == 0 else 0
    var passing_cells = k.batch * h if k.cells == 0 and K.HAS_CELL else 0
    var scratch = packed + of_input + columns + 2 * k.batch * stride + free + passing + passing_cells + 16
    var ws = Workspace.take(scratch * SIZE)
    if ws.address == 0:
        raise no_memory()
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
        _pack_gates[K, dt, src](k.w_hh, h, k.width, ws.address)
    var products = InputProducts[K, dt, src](
        hidden=h, inputs=k.inputs, blocks=blocks, panels=input_panels, bias=bias, rows=0,
        x=at[dt](input_panels, input_panel_size), stride=x_stride, gates=0,
    )  # fmt: skip
    if ahead:
        _pack_gates[K, dt, src](k.w_ih, h, k.inputs, input_panels)
    else:
        gemm[dt](k.total, columns, k.inputs, 1, k.x, k.inputs, 1, k.w_ih, 1, k.inputs, 0, gates, stored, 1, bias)
    var done = 0  # steps whose products of the input are there
    comptime if PAIRS:
        # what stands behind the rows is multiplied as well
        memset(states, 0, 2 * k.batch * stride * SIZE)
        memset(products.x, 0, x_rows * x_stride * SIZE)
    for r in range(k.batch):
        for s in range(2):
            memcpy(at[src](states, (s * k.batch + r) * stride), at[src](k.h0, r * k.width), k.width * SOURCE)
    var hidden_bias = at[dt](k.b_hh, K.ADDED * h) if k.b_hh != 0 else 0
    var step = ForwardStep[K, dt, src](
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
                var row = at[src](k.x, (first + r) * k.inputs)
                memcpy(at[src](products.x, r * x_stride), row, k.inputs * SOURCE)
            products.rows = rows
            origin = 0 if k.gates != 0 else first
            products.gates = at[dt](gates, (first - origin) * stored)
            spread(products, blocks * ceildiv(rows, CHUNK), rows * columns * k.inputs)
        step.rows = k.sizes[t]
        step.gates = at[dt](gates, (k.starts[t] - origin) * stored)
        step.cells = at[dt](cells, k.starts[t] * h if k.cells != 0 else 0)
        step.before = at[src](states, (n & 1) * k.batch * stride)
        var after = at[src](states, (1 - (n & 1)) * k.batch * stride)
        var out_ = at[dt](k.output, k.starts[t] * k.width)
        if k.w_hr == 0:
            step.out_ = out_
            step.after = after
        if packed == 0:
            _products[K, dt, src](step, k.w_hh)
        spread(step, blocks * ceildiv(step.rows, CHUNK), step.rows * columns * k.width)
        if k.w_hr != 0:
            gemm[dt](step.rows, k.width, h, 1, projected, h, 1, k.w_hr, 1, h, 0, out_, k.width, 1)
            for r in range(step.rows):
                memcpy(at[dt](after, r * stride), at[dt](out_, r * k.width), k.width * SIZE)
    # the last step of each row
    for t in range(1 if k.reverse else k.steps):
        var later = k.sizes[t + 1] if t + 1 < k.steps and not k.reverse else 0
        var from_ = at[dt](k.output, (k.starts[t] + later) * k.width)
        memcpy(at[dt](hn, later * k.width), from_, (k.sizes[t] - later) * k.width * SIZE)
    ws.give()


def _products[K: Cell, dt: DType, src: DType](s: ForwardStep[K, dt, src], w_hh: Int):
    """A single step's products of the state, with the weights as they are."""
    var h = s.hidden
    var stored = K.KEPT * h
    gemm[dt](s.rows, K.ADDED * h, s.width, 1, s.before, s.stride, 1, w_hh, 1, s.width, 1, s.gates, stored, 1)
    comptime if K.ADDED < K.GATES:
        var w = at[dt](w_hh, K.ADDED * h * s.width)
        var c = at[dt](s.gates, (K.ADDED + 1) * h)
        gemm[dt](s.rows, h, s.width, 1, s.before, s.stride, 1, w, 1, s.width, 0, c, stored, 1, s.bias)
