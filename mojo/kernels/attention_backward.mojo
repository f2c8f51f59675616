"""The derivative of attention: tiles of weights are computed again from the kept sums (see attention_tile.mojo).

With P the weights, D what dropout does, g the output's gradient: dV = (P D)^T g, dS = P (g V^T D - sum(g out)),
dQ = scale dS K, dK = scale dS^T Q; a mask that is added has the gradient dS, summed where it broadcasts. One task does
all of it for a head of keys; where there are fewer of those than threads, tasks do parts of dK and dV, and of dQ, in
the same order, so that the sums are the same.
"""

from std.ffi import external_call
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT32, FLOAT64, INT64, dtype_of, itemsize
from tensor.layout import same_dims
from tensor.object import TPtr, new_tensor
from tensor.py import Obj, new_ref, release_gil, take_gil, tuple_new, tuple_set
from tensor.runtime import runtime
from tensor.threads import Body, num_threads, parallel

from kernels.attention_tile import (
    Operand, Problem, QUERIES, fill, in_place, narrow_row, new_like, operand, panels_of, problem_of, row_start, whole,
    widen_rows, zero
)  # fmt: skip
from kernels.functor import compute
from kernels.gemm_micro import Epilogue, Mat, at, micro_rows, ptr, width
from kernels.gemm_pack import pack
from kernels.held import Held
from kernels.math import exp
from kernels.stream import Stream
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace

comptime KEYS = 128
"""Keys of a block: two tiles of QUERIES x KEYS and what they are made of stay in the L2 cache."""

comptime SERIAL = 1 << 17
"""Scores times depth below which a second thread costs more than it gives."""


@fieldwise_init
struct Part(ImplicitlyCopyable, Movable):
    """What one task does: ranges of batches, heads of queries, blocks of keys and queries, and which derivatives."""

    var b0: Int
    var b1: Int
    var h0: Int
    var h1: Int
    var j0: Int
    var j1: Int
    var i0: Int
    var i1: Int
    var dq: Bool
    var dkv: Bool
    var dmask: Bool


struct Backward[dt: DType](Body, Copyable):
    comptime acc = compute[Self.dt]
    comptime W = width[Self.acc]()
    comptime NR = 2 * Self.W
    comptime SIZE = size_of[Scalar[Self.acc]]()

    var p: Problem
    var g: Operand
    var out: Operand
    var lse: Int
    var dq: Operand  # of the type that is computed in
    var dk: Operand
    var dv: Operand
    var dmask: Operand  # of the type that is computed in; address 0: not wanted
    var key_blocks: Int
    var query_blocks: Int
    var whole_tasks: Int  # tasks that do all for a head of keys
    var key_tasks: Int
    var query_tasks: Int
    var mask_tasks: Int
    var with_mask: Bool  # the tasks above do the mask's gradient too, because no two of them at once add to one place
    var mask_batches: Int
    var mask_heads: Int
    var scratch: Int
    var scratch_bytes: Int

    def __init__(
        out self, p: Problem, g: Operand, result: Operand, lse: Int, dq: Operand, dk: Operand, dv: Operand,
        dmask: Operand, mask_batches: Int, mask_heads: Int
    ):  # fmt: skip
        self.p = p.copy()
        self.g = g
        self.out = result
        self.lse = lse
        self.dq = dq
        self.dk = dk
        self.dv = dv
        self.dmask = dmask
        self.key_blocks = (p.keys + KEYS - 1) // KEYS
        self.query_blocks = p.query_blocks()
        self.whole_tasks = p.batch * (p.heads // p.group)
        self.key_tasks = 0
        self.query_tasks = 0
        self.with_mask = False
        self.mask_batches = mask_batches
        self.mask_heads = mask_heads
        self.mask_tasks = mask_batches * mask_heads * self.key_blocks if dmask.address != 0 else 0
        self.scratch = 0
        self.scratch_bytes = 0
        self.scratch_bytes = at[Self.acc](self.value_sums(0), KEYS * self.value_row())

    # A worker's scratch: weights, their derivative, row sums, packed keys and values, copies of rows, sums, words.

    def row(self) -> Int:
        return whole[Self.acc](self.p.depth)

    def value_row(self) -> Int:
        return whole[Self.acc](self.p.value_depth)

    def slopes(self, base: Int) -> Int:
        return at[Self.acc](base, QUERIES * KEYS)

    def deltas(self, base: Int) -> Int:
        return at[Self.acc](self.slopes(base), QUERIES * KEYS)

    def words(self, base: Int) -> Int:
        return at[Self.acc](self.deltas(base), QUERIES)

    def packed_keys(self, base: Int) -> Int:
        return self.words(base) + 4 * KEYS

    def packed_values(self, base: Int) -> Int:
        return at[Self.acc](self.packed_keys(base), KEYS * self.p.depth)

    def key_copy(self, base: Int) -> Int:
        return at[Self.acc](self.packed_values(base), KEYS * self.p.value_depth)

    def query_copy(self, base: Int) -> Int:
        return at[Self.acc](self.key_copy(base), KEYS * self.row())

    def gradient_copy(self, base: Int) -> Int:
        return at[Self.acc](self.query_copy(base), QUERIES * self.row())

    def key_sums(self, base: Int) -> Int:
        return at[Self.acc](self.gradient_copy(base), QUERIES * self.value_row())

    def value_sums(self, base: Int) -> Int:
        return at[Self.acc](self.key_sums(base), KEYS * self.row())

    def execute(mut self) -> Bool:
        """Whether there was memory for it."""
        ref p = self.p
        var nt = num_threads()
        if p.batch * p.heads * p.queries * p.keys * max(1, p.depth) < SERIAL:
            nt = 1
        if self.whole_tasks < nt and self.key_blocks * self.query_blocks > 1:
            self.key_tasks = self.whole_tasks * self.key_blocks
            self.query_tasks = p.batch * p.heads * self.query_blocks
            self.whole_tasks = 0
        if self.mask_tasks > 0 and (nt == 1 or self.mask_batches == p.batch and self.mask_heads == p.heads):
            self.with_mask = True
            self.mask_tasks = 0
        var tasks = self.whole_tasks + self.key_tasks + self.query_tasks + self.mask_tasks
        var ws = Workspace.take(self.scratch_bytes * nt)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        if nt == 1:
            for t in range(tasks):
                self.run(t, 0)
        else:
            var held = release_gil()
            parallel(self, tasks, nt)
            take_gil(held)
        ws.give()
        return True

    def part(self, task: Int) -> Part:
        ref p = self.p
        var owners = p.heads // p.group
        var t = task
        if t < self.whole_tasks:
            var h = t % owners * p.group
            var b = t // owners
            return Part(b, b + 1, h, h + p.group, 0, self.key_blocks, 0, self.query_blocks, True, True, self.with_mask)
        t -= self.whole_tasks
        if t < self.key_tasks:
            var j = t % self.key_blocks
            var h = t // self.key_blocks % owners * p.group
            var b = t // self.key_blocks // owners
            return Part(b, b + 1, h, h + p.group, j, j + 1, 0, self.query_blocks, False, True, self.with_mask)
        t -= self.key_tasks
        if t < self.query_tasks:
            var i = t % self.query_blocks
            var h = t // self.query_blocks % p.heads
            var b = t // self.query_blocks // p.heads
            return Part(b, b + 1, h, h + 1, 0, self.key_blocks, i, i + 1, True, False, False)
        t -= self.query_tasks
        var j = t % self.key_blocks
        var h = t // self.key_blocks % self.mask_heads
        var b = t // self.key_blocks // self.mask_heads
        var b1 = b + 1 if self.mask_batches == p.batch else p.batch
        var h1 = h + 1 if self.mask_heads == p.heads else p.heads
        return Part(b, b1, h, h1, j, j + 1, 0, self.query_blocks, False, False, True)

    def run(self, task: Int, worker: Int):
        ref p = self.p
        var base = self.scratch + worker * self.scratch_bytes
        var part = self.part(task)
        for b in range(part.b0, part.b1):
            for owner in range(part.h0 // p.group, (part.h1 + p.group - 1) // p.group):
                for j in range(part.j0, part.j1):
                    var keys = min(KEYS, p.keys - j * KEYS)
                    self.prepare(base, b, owner, j * KEYS, keys)
                    if part.dkv:
                        zero[Self.acc](self.key_sums(base), keys * self.row())
                        zero[Self.acc](self.value_sums(base), keys * self.value_row())
                    for h in range(max(part.h0, owner * p.group), min(part.h1, (owner + 1) * p.group)):
                        for i in range(part.i0, part.i1):
                            self.tile(base, part, b, h, i * QUERIES, j * KEYS, keys)
                    if part.dkv:
                        for c in range(keys):
                            var from_ = at[Self.acc](self.key_sums(base), c * self.row())
                            narrow_row[Self.dt](from_, p.depth, self.dk.at_row[Self.dt](b, owner, j * KEYS + c), 1)
                            from_ = at[Self.acc](self.value_sums(base), c * self.value_row())
                            var to = self.dv.at_row[Self.dt](b, owner, j * KEYS + c)
                            narrow_row[Self.dt](from_, p.value_depth, to, 1)

    def prepare(self, base: Int, b: Int, h: Int, j: Int, keys: Int):
        """Packs the keys and the values of a block."""
        ref p = self.p
        for c in range(0, keys, Self.NR):
            var count = min(Self.NR, keys - c)
            var k = Mat(p.k.at_row[Self.dt](b, h, j + c), p.k.row, 1)
            pack[Self.dt, Self.acc, Self.NR](k, count, p.depth, at[Self.acc](self.packed_keys(base), c * p.depth))
            var v = Mat(p.v.at_row[Self.dt](b, h, j + c), p.v.row, 1)
            var to = at[Self.acc](self.packed_values(base), c * p.value_depth)
            pack[Self.dt, Self.acc, Self.NR](v, count, p.value_depth, to)

    @always_inline
    def rows_of(self, x: Operand, b: Int, h: Int, i: Int, rows: Int, depth: Int, copy: Int) -> Mat:
        """Rows as the kernel reads them: in place, or copied."""
        if in_place[Self.dt](depth):
            return Mat(x.at_row[Self.dt](b, h, i), x.row, 1)
        widen_rows[Self.dt](x.at_row[Self.dt](b, h, i), x.row, rows, depth, copy, whole[Self.acc](depth))
        return Mat(copy, whole[Self.acc](depth), 1)

    def tile(self, base: Int, part: Part, b: Int, h: Int, i0: Int, j: Int, keys: Int):
        """The weights of a block of queries for a block of keys, and what the derivatives get from them."""
        ref p = self.p
        var rows = min(QUERIES, p.queries - i0)
        if p.end_key(i0 + rows - 1) <= j or p.first_key(i0) >= j + keys:
            return
        var q = self.rows_of(p.q, b, h, i0, rows, p.depth, self.query_copy(base))
        var g = self.rows_of(self.g, b, h, i0, rows, p.value_depth, self.gradient_copy(base))
        var k = Mat(0, 0, 0)
        if part.dq:
            k = self.rows_of(p.k, b, h // p.group, j, keys, p.depth, self.key_copy(base))
        self.row_sums(base, g, b, h, i0, rows)
        var scale = p.scale.cast[Self.acc]()
        var panels = panels_of(rows)
        for t in range(panels):
            var r0 = row_start(rows, panels, t)
            var count = row_start(rows, panels, t + 1) - r0
            var first = max(0, p.first_key(i0 + r0) - j) // Self.NR * Self.NR
            var end = min(keys, p.end_key(i0 + r0 + count - 1) - j)
            self.weigh(base, part, q, g, b, h, i0, r0, count, j, keys, first, end)
            if part.dq and end > first:
                var a = Mat(at[Self.acc](self.slopes(base), r0 * KEYS + first), KEYS, 1)
                var to = self.dq.at_row[Self.acc](b, h, i0 + r0)
                self.add(count, a, k.part[Self.acc](first, 0), end - first, to, self.dq.row, p.depth, scale)
        if not part.dkv:
            return
        panels = panels_of(keys)
        for t in range(panels):
            var c0 = row_start(keys, panels, t)
            var count = row_start(keys, panels, t + 1) - c0
            # the rows that may see any of these keys
            var first = max(0, j + c0 - p.high - i0)
            var end = min(rows, j + c0 + count - p.low - i0)
            if end <= first:
                continue
            var weights = Mat(at[Self.acc](base, first * KEYS + c0), 1, KEYS)
            var to = at[Self.acc](self.value_sums(base), c0 * self.value_row())
            self.add(count, weights, g.part[Self.acc](first, 0), end - first, to, self.value_row(), p.value_depth, 1)
            var slopes = Mat(at[Self.acc](self.slopes(base), first * KEYS + c0), 1, KEYS)
            to = at[Self.acc](self.key_sums(base), c0 * self.row())
            self.add(count, slopes, q.part[Self.acc](first, 0), end - first, to, self.row(), p.depth, scale)

    @always_inline
    def add(self, rows: Int, a: Mat, x: Mat, k: Int, to: Int, stride: Int, columns: Int, scale: Scalar[Self.acc]):
        """Adds scale * a @ x to `to`, for rows of a panel."""
        var ep = Epilogue[Self.acc](scale, 1, 0)
        for c in range(0, columns, Self.NR):
            var nr = min(Self.NR, columns - c)
            micro_rows[Self.acc](rows, a, x.where[Self.acc](0, c), x.rs, k, at[Self.acc](to, c), stride, nr, ep)

    def row_sums(self, base: Int, g: Mat, b: Int, h: Int, i0: Int, rows: Int):
        """For each row the sum of gradient times output."""
        ref p = self.p
        var delta = ptr[Self.acc](self.deltas(base))
        for r in range(rows):
            var x = ptr[Self.acc](g.where[Self.acc](r, 0))
            var y = ptr[Self.dt](self.out.at_row[Self.dt](b, h, i0 + r))
            var s = SIMD[Self.acc, Self.W](0)
            var c = 0
            while c + Self.W <= p.value_depth:
                s += x.unsafe_load[width=Self.W](c) * y.unsafe_load[width=Self.W](c).cast[Self.acc]()
                c += Self.W
            var total = s.reduce_add()
            while c < p.value_depth:
                total += x[unsafe_offset=c] * y[unsafe_offset=c].cast[Self.acc]()
                c += 1
            delta[unsafe_offset=r] = total

    @always_inline
    def weigh(
        self, base: Int, part: Part, q: Mat, g: Mat, b: Int, h: Int, i0: Int, r0: Int, rows: Int, j: Int, keys: Int,
        first: Int, end: Int
    ):  # fmt: skip
        """Weights of a panel of rows, dropout in them, and the derivative of the scores; zeros for what is not seen."""
        ref p = self.p
        var all = whole[Self.acc](keys)
        var weights = at[Self.acc](base, r0 * KEYS)
        var slopes = at[Self.acc](self.slopes(base), r0 * KEYS)
        if end <= first:
            for r in range(rows):
                zero[Self.acc](at[Self.acc](weights, r * KEYS), all)
                zero[Self.acc](at[Self.acc](slopes, r * KEYS), all)
            return
        var scaled = Epilogue[Self.acc](p.scale.cast[Self.acc](), 0, 0)
        var plain = Epilogue[Self.acc](1, 0, 0)
        for c in range(first, end, Self.NR):
            var nr = min(Self.NR, end - c)
            var k = at[Self.acc](self.packed_keys(base), c * p.depth)
            var a = q.part[Self.acc](r0, 0)
            micro_rows[Self.acc](rows, a, k, Self.NR, p.depth, at[Self.acc](weights, c), KEYS, nr, scaled)
            var v = at[Self.acc](self.packed_values(base), c * p.value_depth)
            a = g.part[Self.acc](r0, 0)
            micro_rows[Self.acc](rows, a, v, Self.NR, p.value_depth, at[Self.acc](slopes, c), KEYS, nr, plain)
        for r in range(rows):
            self.weigh_row(base, part, b, h, i0, r0 + r, j, all, first, end)

    @always_inline
    def weigh_row(self, base: Int, part: Part, b: Int, h: Int, i0: Int, r: Int, j: Int, all: Int, first: Int, end: Int):
        comptime V = SIMD[Self.acc, Self.W]
        ref p = self.p
        var i = i0 + r
        var weights = at[Self.acc](base, r * KEYS)
        var slopes = at[Self.acc](self.slopes(base), r * KEYS)
        p.mask_row[Self.dt](b, h, i, j, weights, first, end)
        var w = ptr[Self.acc](weights)
        var s = ptr[Self.acc](slopes)
        var words = ptr[DType.uint32](self.words(base))
        if p.dropout > 0:
            p.draw(b, h, i, j, first, end, self.words(base))
        var limit = SIMD[DType.uint32, Self.W](p.limit())
        var kept_scale = V(p.kept_scale().cast[Self.acc]())
        var lse = V(ptr[Self.acc](self.lse)[unsafe_offset=(b * p.heads + h) * p.queries + i])
        var delta = V(ptr[Self.acc](self.deltas(base))[unsafe_offset=r])
        var last = whole[Self.acc](end)
        for c in range(first, last, Self.W):
            var x = exp(w.unsafe_load[width=Self.W](c) - lse)
            var by = s.unsafe_load[width=Self.W](c)
            var used = x
            if p.dropout > 0:
                var kept = words.unsafe_load[width=Self.W](c).lt(limit)
                used = kept.select(x * kept_scale, V(0))
                by = kept.select(by * kept_scale, V(0))
            w.unsafe_store(c, used)
            # lanes past the end hold what the tile had before
            s.unsafe_store(c, x.eq(0).select(V(0), x * (by - delta)))
        if part.dmask:
            var m = ptr[Self.acc](
                self.dmask.at_row[Self.acc](b if self.mask_batches > 1 else 0, h if self.mask_heads > 1 else 0, i)
            )
            for c in range(first, end):
                m[unsafe_offset=j + c] += s[unsafe_offset=c]
        fill[Self.acc](weights, 0, first, 0)
        fill[Self.acc](slopes, 0, first, 0)
        fill[Self.acc](weights, last, all, 0)
        fill[Self.acc](slopes, last, all, 0)


def _cleared(t: TPtr) -> TPtr:
    """The tensor, which is dense, with all zeros."""
    if t[].numel > 0:
        _ = external_call["memset", Int](t[].data(), 0, t[].numel * itemsize(t[].code()))
    return t


def attention_backward(mut call: Call) raises -> Obj:
    """The gradients of query, key and value, and the mask's or None.

    (grad, query, key, value, mask, dropout, low, high, scale, out, lse, stream, mask_grad); the mask's gradient is
    (1 or batch, 1 or heads, queries, keys), in the type that is computed in.
    """
    var held = Held()
    try:
        var s = call.tensor(11)
        if s[].code() != INT64 or s[].numel != 2 or not s[].contiguous() or s[].device() != 0:
            raise call.type_error(11, "a stream: two int64 numbers")
        var words = ptr[DType.uint64](s[].data())
        var stream = Stream(words[unsafe_offset=0], words[unsafe_offset=1])
        var p = problem_of(call, 1, 2, 3, 4, held, stream)
        var g = call.tensor(0)
        var out = call.tensor(9)
        var lse = call.tensor(10)
        var q = call.tensor(1)
        var code = q[].code()
        var computing = FLOAT64 if code == FLOAT64 else FLOAT32
        var shape = q[].shape.copy()
        shape[3] = p.value_depth
        var fits = g[].rank() == 4 and out[].rank() == 4 and lse[].rank() == 3
        fits = fits and same_dims(g[].shape, shape, 4) and same_dims(out[].shape, shape, 4)
        fits = fits and same_dims(lse[].shape, shape, 3) and lse[].code() == computing and lse[].contiguous()
        if not fits or g[].code() != code or out[].code() != code:
            raise call.fail("RuntimeError", "gradient, output and sums do not fit query and value")
        if g[].device() != 0 or out[].device() != 0 or lse[].device() != 0:
            raise call.fail("RuntimeError", "there is no kernel for this device")
        var sums = _cleared(new_like(q, p.depth, computing, held))
        var dk = new_like(call.tensor(2), p.depth, code, held)
        var dv = new_like(call.tensor(3), p.value_depth, code, held)
        var dmask = Int(runtime()[].none)
        var by_mask = Operand(0, 0, 0, 0)
        var batches = 1
        var heads = 1
        if call.bool(12) and not call.is_none(4):
            var m = call.tensor(4)
            shape[0] = m[].shape[0]
            shape[1] = m[].shape[1]
            shape[3] = p.keys
            batches = shape[0]
            heads = shape[1]
            var made = _cleared(held.keep(new_tensor(computing, shape, 4)))
            dmask = Int(made)
            by_mask = operand(made, held)
        comptime for c in range(9, 13):
            if code == c:
                var work = Backward[dtype_of[c]](
                    p, operand(g, held), operand(out, held), lse[].data(), operand(sums, held), operand(dk, held),
                    operand(dv, held), by_mask, batches, heads
                )  # fmt: skip
                if not work.execute():
                    raise Error("OutOfMemoryError|attention_backward: there is no memory for a tile of weights")
        var dq = sums
        if code != computing:
            dq = held.keep(contiguous_of(sums, code))
        var made = tuple_new(4)
        tuple_set(made, 0, new_ref(Int(dq)))
        tuple_set(made, 1, new_ref(Int(dk)))
        tuple_set(made, 2, new_ref(Int(dv)))
        tuple_set(made, 3, new_ref(dmask))
        held.release()
        return made
    except e:
        held.release()
        raise e


@export("dumbtorch_register_attention_backward")
def register_attention_backward() abi("C") -> None:
    register[attention_backward]("attention_backward")
