"""The time loop of a recurrent layer, backward: see recurrent_steps."""

from std.math import ceildiv
from std.sys.info import size_of
from tensor.memory import memcpy, memset
from tensor.threads import Body
from kernels.gemm import gemm
from kernels.gemm_micro import Mat, acc_dtype, at, ptr, width
from kernels.math import tanh
from kernels.recurrent_cells import Cell, Unit, get, put
from kernels.recurrent_steps import (
    CHUNK,
    Layer,
    no_memory,
    pack_panel,
    padded,
    panel_product,
    rows_before,
    spread,
    words,
)
from kernels.workspace import Workspace


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
    var gates: Int  # of what the gates are made from, a row a step and sample

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
        self.gates = 0


@fieldwise_init
struct BackwardStep[K: Cell, dt: DType, src: DType](Body, ImplicitlyCopyable, Movable):
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
            panel_product[Self.dt, Self.src](
                Mat(at[Self.src](self.later, first * self.stride), self.stride, 1),
                min(CHUNK, self.later_rows - first),
                depth,
                at[Self.dt](self.panels, block * NR * words[Self.src](depth)),
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
            at[Self.src](self.grads, r * self.stride + j),
        )
        Self.K.backward[Self.dt, Self.src, W, part](u, self.hidden, lanes, g)


def backward[K: Cell, dt: DType, src: DType](k: Layer, g: Gradients) raises:
    """Fills the gradients. Input, output, weights and first state are of type `src`, and so are the gradients of the input
    and the weights.
    """
    comptime NR = 2 * width[dt]()
    comptime SIZE = size_of[Scalar[dt]]()
    var h = k.hidden
    var stored = K.KEPT * h
    var columns = K.GATES * h
    var stride = padded(stored)
    var blocks = ceildiv(h, NR)
    var projects = k.w_hr != 0
    var fused = (k.steps > 1 or src != dt) and not projects
    var packed = blocks * NR * words[src](columns) if fused else 0
    var free = k.total * (k.width + h) + k.batch * h if projects else 0
    var ws = Workspace.take((packed + k.total * (stride + k.width) + free + 16) * SIZE)
    if ws.address == 0:
        raise no_memory()
    var grads = at[dt](ws.address, packed)
    var before = at[dt](grads, k.total * stride)
    var sums = at[dt](before, k.total * k.width)  # the state's gradients, where they are projected
    var unprojected = at[dt](sums, k.total * k.width)
    var d_free = at[dt](unprojected, k.total * h)
    if packed != 0:
        for block in range(blocks):
            # the columns of w_hh, along its rows
            var column = Mat(at[src](k.w_hh, block * NR), 1, k.width)
            var to = at[dt](ws.address, block * NR * words[src](columns))
            pack_panel[dt, src](column, min(NR, h - block * NR), columns, to)
    for n in range(k.steps):
        rows_before[src](k, n, k.output, k.h0, k.width, at[src](before, k.starts[k.nth(n)] * k.width))
    var step = BackwardStep[K, dt, src](
        hidden=h, blocks=blocks, panels=0, later_rows=0, later=0, grads=0, stride=stride, rows=0, gates=0, before=0,
        cells=0, known=0, cells_before=0, c0=k.c0, output=0, carry=d_free if projects else g.h, running=g.c,
    )  # fmt: skip
    for m in range(k.steps):
        var n = k.steps - 1 - m
        var t = k.nth(n)
        var start = k.starts[t]
        step.rows = k.sizes[t]
        step.grads = at[src](grads, start * stride)
        step.gates = at[dt](k.gates, start * stored)
        step.before = at[src](before, start * k.width)
        step.cells = at[dt](k.cells, start * h)
        step.known = k.preceded(n)
        step.cells_before = at[dt](k.cells, k.starts[k.nth(n - 1)] * h) if n > 0 else k.c0
        if projects:
            _project_back[K, dt, src](k, g, step, m, start, at[dt](sums, start * k.width), d_free)
        else:
            step.output = at[dt](g.output, start * h) if g.output != 0 else 0
            step.panels = ws.address if fused else 0
        var rows = max(step.rows, step.later_rows)
        spread(step, blocks * ceildiv(rows, CHUNK), rows * columns * k.width)
        step.later_rows = step.rows
        step.later = step.grads
    if fused:
        step.rows = 0
        spread(step, blocks * ceildiv(step.later_rows, CHUNK), step.later_rows * columns * k.width)
    else:
        gemm[dt](
            step.later_rows, k.width, columns, 1, step.later, stride, 1, k.w_hh, k.width, 1,
            Scalar[acc_dtype[dt]()](Int(K.CARRIES)), g.h, k.width, 1,
        )  # fmt: skip
    _weights[K, src](k, g, grads, stride, before)
    if g.gates != 0:
        var bytes = stored * size_of[Scalar[src]]()
        for row in range(k.total):
            memcpy(g.gates + row * bytes, at[src](grads, row * stride), bytes)
    if g.w_hr != 0:
        for row in range(k.total):
            _unproject[dt](
                at[dt](k.gates, row * stored + 3 * h), at[dt](k.cells, row * h), at[dt](unprojected, row * h), h
            )
        gemm[dt](k.width, h, k.total, 1, sums, 1, k.width, unprojected, h, 1, 0, g.w_hr, h, 1)
    ws.give()


def _project_back[
    K: Cell, dt: DType, src: DType
](k: Layer, g: Gradients, s: BackwardStep[K, dt, src], m: Int, start: Int, sums: Int, to: Int,):
    """The gradient of the state before its projection, into `to`; that of the state itself into `sums`."""
    if m > 0:
        gemm[dt](
            s.later_rows, k.width, K.GATES * k.hidden, 1, s.later, s.stride, 1, k.w_hh, k.width, 1, 0, g.h, k.width, 1
        )
    for i in range(s.rows * k.width):
        var v = ptr[dt](g.h)[unsafe_offset=i]
        if g.output != 0:
            v += ptr[dt](g.output)[unsafe_offset=start * k.width + i]
        ptr[dt](sums)[unsafe_offset=i] = v
    gemm[dt](s.rows, k.hidden, k.width, 1, sums, k.width, 1, k.w_hr, k.hidden, 1, 0, to, k.hidden, 1)


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
        gemm[dt](columns, k.width, k.total, 1, grads, 1, stride, before, k.width, 1, 0, g.w_hh, k.width, 1)
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
            gemm[dt](k.total, k.inputs, rows, 1, d, stride, 1, w, k.inputs, 1, beta, g.x, k.inputs, 1)
        if g.w_ih != 0:
            var c = at[dt](g.w_ih, at_gate * h * k.inputs)
            gemm[dt](rows, k.inputs, k.total, 1, d, 1, stride, k.x, k.inputs, 1, 0, c, k.inputs, 1)
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
