"""The time loops of recurrent layers.

The input's products are done for several steps at once, not more than the cache holds. A step is then one parallel
region: a task takes a block of hidden units (and of rows), multiplies the state by the block's columns of every gate,
which were packed once for all steps, and goes on to the gates while the sums are in the L1 cache. Going back a step is
one region as well: the product that gives the state's gradient, and the gates' derivatives; the weights' gradients are
one GEMM over all steps at the end.

`src` is the type of what is multiplied, `dt` that of sums and all else: bfloat16 and float32 where the processor
multiplies pairs of bfloat16, else the same type. The loops are in recurrent_forward and recurrent_backward.
"""

from std.math import ceildiv
from std.sys.info import size_of
from tensor.memory import memcpy
from tensor.threads import Body, parallel
from kernels.gemm_micro import MR, Epilogue, Mat, at, micro_rows, width
from kernels.gemm_pack import pack, pack_pairs
from kernels.recurrent_pairs import pair_rows

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


def rows_before[dt: DType](k: Layer, n: Int, kept: Int, first: Int, columns: Int, to: Int):
    """Copies the rows that came before the n-th step's: of the step before it, or of the beginning."""
    comptime SIZE = size_of[Scalar[dt]]()
    var known = k.preceded(n)
    if known > 0:
        memcpy(to, at[dt](kept, k.starts[k.nth(n - 1)] * columns), known * columns * SIZE)
    var begun = k.sizes[k.nth(n)] - known
    if begun > 0:
        memcpy(at[dt](to, known * columns), at[dt](first, known * columns), begun * columns * SIZE)


def words[src: DType](depth: Int) -> Int:
    """Steps of a product of this depth: a word holds a pair of bfloat16."""
    return ceildiv(depth, 2) if src == DType.bfloat16 else depth


def pack_panel[dt: DType, src: DType](rows: Mat, count: Int, depth: Int, to: Int):
    """Packs as many columns of the right operand (the rows of `rows`) as the register tile has."""
    comptime NR = 2 * width[dt]()
    comptime if src == DType.bfloat16:
        pack_pairs[NR](rows, count, depth, to)
    else:
        pack[dt, dt, NR](rows, count, depth, to)


@no_inline
def panel_product[
    dt: DType, src: DType
](a: Mat, rows: Int, depth: Int, panel: Int, c: Int, stride: Int, columns: Int, beta: Scalar[dt], bias: Int):
    """C[rows, columns] = A @ panel + beta * C + bias, for a packed panel.

    The rows of A, of dtype `src`, are contiguous; of bfloat16 they begin at whole words and end with zeros.
    """
    comptime NR = 2 * width[dt]()
    comptime PAIRS = src == DType.bfloat16
    var words_of_a = Mat(a.address, a.rs // 2 if PAIRS else a.rs, 1)
    var steps = words[src](depth)
    var groups = ceildiv(rows, MR)
    var e = Epilogue[dt](1, beta, bias)
    for p in range(0, steps, DEPTH):
        var kc = min(DEPTH, steps - p)
        for t in range(groups):
            var i = rows * t // groups
            var mr = rows * (t + 1) // groups - i
            var to = at[dt](c, i * stride)
            var part = words_of_a.part[dt](i, p)
            comptime if PAIRS:
                var of_pairs = rebind[Epilogue[DType.float32]](e)
                pair_rows(mr, part, at[dt](panel, p * NR), NR, kc, to, stride, columns, of_pairs)
            else:
                micro_rows[dt](mr, part, at[dt](panel, p * NR), NR, kc, to, stride, columns, e)
        e = e.after_first()


@no_inline
def spread[B: Body](body: B, tasks: Int, work: Int):
    if work < SERIAL_WORK:
        for t in range(tasks):
            body.run(t, 0)
    else:
        parallel(body, tasks)


def padded(columns: Int) -> Int:
    """A distance of rows that does not put them all into one set of the cache."""
    return ceildiv(columns, 16) * 16 + 16


def no_memory() -> Error:
    return Error("OutOfMemoryError|recurrent(): no memory for the scratch of the steps")
