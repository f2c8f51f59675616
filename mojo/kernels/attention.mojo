"""Scaled dot product attention, forward: keeps the output and the log of each row's sum.

kernels/attention_tile.mojo says how.

A task is a range of (batch, head, block of queries); it packs the keys of a head once, for all of its blocks.
"""

from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import BOOL, FLOAT32, FLOAT64, INT64, dtype_of
from tensor.layout import no_dims
from tensor.memory import store
from tensor.object import as_tensor, new_tensor
from tensor.py import Obj, new_ref, tuple_new, tuple_set
from tensor.threads import Body, num_threads

from kernels.attention_tile import (
    Mask, Operand, Problem, QUERIES, in_place, narrow_row, new_like, operand, panels_of, problem_of, row_start, whole,
    widen_rows, zero
)  # fmt: skip
from kernels.functor import compute
from kernels.gemm import DOT_ROWS
from kernels.gemm_micro import Epilogue, MR, Mat, at, dots, micro_rows, ptr, width
from kernels.gemm_pack import pack
from kernels.held import Held
from kernels.math import exp, log
from kernels.philox import blocks_32
from kernels.stream import Stream, reserve
from kernels.unlocked import run_tasks
from kernels.workspace import Workspace

comptime KEYS = 256
"""Keys of a block: a panel of scores stays in the L1 cache, packed keys and values of a block in the L2."""

comptime SERIAL = 1 << 18
"""Scores times depth below which a second thread costs more than it gives."""


struct Forward[dt: DType](Body, Copyable):
    comptime acc = compute[Self.dt]
    comptime W = width[Self.acc]()
    comptime NR = 2 * Self.W
    comptime SIZE = size_of[Scalar[Self.acc]]()

    var p: Problem
    var out: Operand
    var lse: Int
    var units: Int
    var tasks: Int
    var packs: Bool  # keys are packed; else few queries take dot products with the keys in place
    var copies_values: Bool
    var scratch: Int
    var scratch_bytes: Int  # of a worker

    def __init__(out self, p: Problem, result: Operand, lse: Int):
        self.p = p.copy()
        self.out = result
        self.lse = lse
        self.units = p.batch * p.heads * p.query_blocks()
        self.tasks = 1
        self.packs = Self.dt != Self.acc or p.queries > DOT_ROWS
        self.copies_values = not in_place[Self.dt](p.value_depth)
        self.scratch = 0
        self.scratch_bytes = 0
        self.scratch_bytes = (
            self.value_copy(0) + (self.padded() * self.value_row() if self.copies_values else 0) * Self.SIZE
        )

    # A worker's scratch: scores, output, maximum and sum of the rows, random words, queries, packed keys, values.

    def padded(self) -> Int:
        return (self.p.keys + KEYS - 1) // KEYS * KEYS

    def value_row(self) -> Int:
        return whole[Self.acc](self.p.value_depth)

    def query_row(self) -> Int:
        return whole[Self.acc](self.p.depth)

    def output(self, base: Int) -> Int:
        return at[Self.acc](base, MR * KEYS)

    def maxima(self, base: Int) -> Int:
        return at[Self.acc](self.output(base), QUERIES * self.value_row())

    def sums(self, base: Int) -> Int:
        return at[Self.acc](self.maxima(base), QUERIES)

    def words(self, base: Int) -> Int:
        return at[Self.acc](self.sums(base), QUERIES)

    def queries(self, base: Int) -> Int:
        return self.words(base) + 4 * KEYS

    def packed(self, base: Int) -> Int:
        return at[Self.acc](self.queries(base), QUERIES * self.query_row())

    def value_copy(self, base: Int) -> Int:
        return at[Self.acc](self.packed(base), self.padded() * self.p.depth if self.packs else 0)

    def execute(mut self) -> Bool:
        """Whether there was memory for it."""
        ref p = self.p
        if self.units == 0:
            return True
        var nt = num_threads()
        if p.batch * p.heads * p.queries * p.keys * max(1, p.depth) < SERIAL:
            nt = 1
        self.tasks = min(self.units, 1 if nt == 1 else 4 * nt)
        var ws = Workspace.take(self.scratch_bytes * nt)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        run_tasks(self, self.tasks, p.batch * p.heads * p.queries * p.keys, nt)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        ref p = self.p
        var base = self.scratch + worker * self.scratch_bytes
        var blocks = p.query_blocks()
        var owner = -1  # the head whose keys lie packed, from block `first` up to block `end`
        var first = 0
        var end = 0
        for u in range(self.units * task // self.tasks, self.units * (task + 1) // self.tasks):
            var block = u % blocks
            var h = u // blocks % p.heads
            var b = u // (blocks * p.heads)
            var i0 = block * QUERIES
            var rows = min(QUERIES, p.queries - i0)
            var from_key = p.first_key(i0)
            var to_key = p.end_key(i0 + rows - 1)
            var j0 = from_key // KEYS
            var j1 = max(j0, (to_key + KEYS - 1) // KEYS)
            var head = b * p.heads + h // p.group
            if head != owner or j0 < first or j0 > end:
                owner = head
                first = j0
                end = j0
            while end < j1:
                self.prepare(base, b, h // p.group, end * KEYS)
                end += 1
            self.rows(base, b, h, i0, rows, j0, j1)

    def prepare(self, base: Int, b: Int, h: Int, j: Int):
        """Packs the keys from j on, and copies the values that cannot be used in place."""
        ref p = self.p
        var count = min(KEYS, p.keys - j)
        if self.packs:
            for c in range(0, count, Self.NR):
                var to = at[Self.acc](self.packed(base), (j + c) * p.depth)
                var rows = Mat(p.k.at_row[Self.dt](b, h, j + c), p.k.row, 1)
                pack[Self.dt, Self.acc, Self.NR](rows, min(Self.NR, count - c), p.depth, to)
        if self.copies_values:
            var to = at[Self.acc](self.value_copy(base), j * self.value_row())
            widen_rows[Self.dt](p.v.at_row[Self.dt](b, h, j), p.v.row, count, p.value_depth, to, self.value_row())

    def rows(self, base: Int, b: Int, h: Int, i0: Int, rows: Int, j0: Int, j1: Int):
        """Attention of a block of queries to the blocks of keys j0 .. j1."""
        ref p = self.p
        var q = Mat(p.q.at_row[Self.dt](b, h, i0), p.q.row, 1)
        comptime if Self.dt != Self.acc:
            widen_rows[Self.dt](q.address, q.rs, rows, p.depth, self.queries(base), self.query_row())
            q = Mat(self.queries(base), self.query_row(), 1)
        zero[Self.acc](self.output(base), rows * self.value_row())
        for r in range(rows):
            ptr[Self.acc](self.maxima(base))[unsafe_offset=r] = Scalar[Self.acc].MIN
            ptr[Self.acc](self.sums(base))[unsafe_offset=r] = 0
        var panels = panels_of(rows)
        for jb in range(j0, j1):
            for t in range(panels):
                var r = row_start(rows, panels, t)
                self.panel(base, q, b, h, i0, r, row_start(rows, panels, t + 1) - r, jb * KEYS)
        for r in range(rows):
            var sum = ptr[Self.acc](self.sums(base))[unsafe_offset=r]
            var top = ptr[Self.acc](self.maxima(base))[unsafe_offset=r]
            # a row that sees nothing: zeros, and a sum so large that no weight is left in the derivative
            var none = sum == 0
            var scale = Scalar[Self.acc](0) if none else 1 / sum
            var lse = ptr[Self.acc](self.lse).unsafe_offset((b * p.heads + h) * p.queries + i0 + r)
            lse[] = Scalar[Self.acc].MAX if none else top + log(sum)
            var to = self.out.at_row[Self.dt](b, h, i0 + r)
            narrow_row[Self.dt](at[Self.acc](self.output(base), r * self.value_row()), p.value_depth, to, scale)

    def panel(self, base: Int, q: Mat, b: Int, h: Int, i0: Int, r0: Int, rows: Int, j: Int):
        """Adds what rows r0 .. r0 + rows of the block see of the block of keys from j on."""
        ref p = self.p
        var first = max(0, p.first_key(i0 + r0) - j) // Self.NR * Self.NR
        var end = min(KEYS, p.end_key(i0 + r0 + rows - 1) - j)
        if end <= first:
            return
        var a = q.part[Self.acc](r0, 0)
        var ep = Epilogue[Self.acc](p.scale.cast[Self.acc](), 0, 0)
        if self.packs:
            for c in range(first, end, Self.NR):
                var keys = at[Self.acc](self.packed(base), (j + c) * p.depth)
                var to = at[Self.acc](base, c)
                micro_rows[Self.acc](rows, a, keys, Self.NR, p.depth, to, KEYS, min(Self.NR, end - c), ep)
        else:
            self.few(base, a, b, h, rows, j, first, end, ep)
        var out = at[Self.acc](self.output(base), r0 * self.value_row())
        for r in range(rows):
            self.weigh(base, b, h, i0, r0, r, j, first, end, at[Self.acc](out, r * self.value_row()))
        var values = p.v.at_row[Self.dt](b, h // p.group, j + first)
        var stride = p.v.row
        if self.copies_values:
            stride = self.value_row()
            values = at[Self.acc](self.value_copy(base), (j + first) * stride)
        var weights = Mat(at[Self.acc](base, first), KEYS, 1)
        var add = Epilogue[Self.acc](1, 1, 0)
        for c in range(0, p.value_depth, Self.NR):
            var nr = min(Self.NR, p.value_depth - c)
            var v = at[Self.acc](values, c)
            micro_rows[Self.acc](rows, weights, v, stride, end - first, at[Self.acc](out, c), self.value_row(), nr, add)

    def few(self, base: Int, a: Mat, b: Int, h: Int, rows: Int, j: Int, first: Int, end: Int, ep: Epilogue[Self.acc]):
        """The scores of few rows, by dot products."""
        ref p = self.p
        var c = first
        while c < end:
            var cols = 4 if end - c >= 4 else 1
            var keys = Mat(p.k.at_row[Self.dt](b, h // p.group, j + c), 1, p.k.row)
            var to = Mat(at[Self.acc](base, c), KEYS, 1)
            comptime for q in range(1, DOT_ROWS + 1):
                if rows == q:
                    if cols == 4:
                        dots[Self.acc, Self.acc, q, 4](a, keys, p.depth, to, ep)
                    else:
                        dots[Self.acc, Self.acc, q, 1](a, keys, p.depth, to, ep)
            c += cols

    @always_inline
    def weigh(self, base: Int, b: Int, h: Int, i0: Int, r0: Int, r: Int, j: Int, first: Int, end: Int, to: Int):
        """Turns a row of scores to weights by the largest score so far, and rescales what was summed before."""
        comptime V = SIMD[Self.acc, Self.W]
        ref p = self.p
        var i = i0 + r0 + r
        var scores = at[Self.acc](base, r * KEYS)
        p.mask_row[Self.dt](b, h, i, j, scores, first, end)
        var s = ptr[Self.acc](scores)
        var last = whole[Self.acc](end)
        var tops = V(Scalar[Self.acc].MIN)
        for c in range(first, last, Self.W):
            var x = s.unsafe_load[width=Self.W](c)
            tops = x.gt(tops).select(x, tops)
        var old = ptr[Self.acc](self.maxima(base)).unsafe_offset(r0 + r)
        var sum = ptr[Self.acc](self.sums(base)).unsafe_offset(r0 + r)
        var top = max(old[], tops.reduce_max())
        var shift = top if top > Scalar[Self.acc].MIN else 0
        var total = V(0)
        for c in range(first, last, Self.W):
            var x = exp(s.unsafe_load[width=Self.W](c) - V(shift))
            s.unsafe_store(c, x)
            total += x
        if sum[] != 0 and top != old[]:
            var by = exp(old[] - shift)
            sum[] *= by
            var o = ptr[Self.acc](to)
            for c in range(0, self.value_row(), Self.W):
                o.unsafe_store(c, o.unsafe_load[width=Self.W](c) * V(by))
        sum[] += total.reduce_add()
        old[] = top
        if p.dropout > 0:
            var words = self.words(base)
            p.draw(b, h, i, j, first, end, words)
            var w = ptr[DType.uint32](words)
            var scale = V(p.kept_scale().cast[Self.acc]())
            for c in range(first, last, Self.W):
                var kept = w.unsafe_load[width=Self.W](c).lt(SIMD[DType.uint32, Self.W](p.limit()))
                s.unsafe_store(c, kept.select(s.unsafe_load[width=Self.W](c) * scale, V(0)))


def computing(code: Int) -> Int:
    return FLOAT64 if code == FLOAT64 else FLOAT32


def attention(mut call: Call) raises -> Obj:
    """(query, key, value, mask, dropout, low, high, scale, generator) -> (output, log of the rows' sums, the stream).
    """
    var held = Held()
    try:
        var p = problem_of(call, 0, 1, 2, 3, held, Stream(0, 0))
        if p.dropout > 0:
            p.stream = reserve(call, 8, p.batch * p.heads * p.queries * blocks_32(p.keys))
        var code = call.tensor(0)[].code()
        var out = new_like(call.tensor(0), p.value_depth, code, held)
        var lse = held.keep(new_tensor(computing(code), call.tensor(0)[].shape, 3))
        var one = no_dims()
        one[0] = 2
        var stream = held.keep(new_tensor(INT64, one, 1))
        store[UInt64](stream[].data(), p.stream.seed)
        store[UInt64](stream[].data() + 8, p.stream.block)
        comptime for c in range(9, 13):
            if code == c:
                var work = Forward[dtype_of[c]](p, operand(out, held), lse[].data())
                if not work.execute():
                    raise Error("OutOfMemoryError|attention: there is no memory for the keys of a head")
        var made = tuple_new(3)
        tuple_set(made, 0, new_ref(Int(out)))
        tuple_set(made, 1, new_ref(Int(lse)))
        tuple_set(made, 2, new_ref(Int(stream)))
        held.release()
        return made
    except e:
        held.release()
        raise e


def attention_kept(mut call: Call) raises -> Obj:
    """(stream, batch, heads, queries, keys, dropout) -> the bools of what dropout keeps of the weights."""
    var t = call.tensor(0)
    if t[].code() != INT64 or t[].numel != 2 or not t[].contiguous() or t[].device() != 0:
        raise call.type_error(0, "a stream: two int64 numbers")
    var shape = no_dims()
    for d in range(4):
        shape[d] = call.int(1 + d)
        if shape[d] < 0:
            raise call.fail("RuntimeError", "negative sizes")
    var made = new_tensor(BOOL, shape, 4)
    var none = Operand(0, 0, 0, 0)
    var data = ptr[DType.uint64](t[].data())
    var p = Problem(
        shape[0], shape[1], 1, shape[2], shape[3], 0, 0, none, none, none, Mask(0, False, 0, 0, 0, 0), 0, 0, 0.0,
        call.float(5), Stream(data[unsafe_offset=0], data[unsafe_offset=1])
    )  # fmt: skip
    var ws = Workspace.take(128)
    var words = ptr[DType.uint32](ws.address)
    var to = ptr[DType.uint8](as_tensor(made)[].data())
    for b in range(p.batch):
        for h in range(p.heads):
            for i in range(p.queries):
                for j in range(0, p.keys, 32):
                    p.draw(b, h, i, j, 0, min(32, p.keys - j), ws.address)
                    for c in range(min(32, p.keys - j)):
                        to[unsafe_offset=((b * p.heads + h) * p.queries + i) * p.keys + j + c] = UInt8(
                            Int(words[unsafe_offset=c] < p.limit())
                        )
    ws.give()
    return made


@export("dumbtorch_register_attention")
def register_attention() abi("C") -> None:
    register[attention]("attention")
    register[attention_kept]("attention_kept")
