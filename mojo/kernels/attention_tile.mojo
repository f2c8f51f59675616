"""What the forward and the backward pass of attention share: the problem, masks, and rows of a tile of scores.

Attention is out = softmax(scale * q k^T + mask) v for each head of each batch. No pass ever holds more of the scores
than a tile: queries go in blocks of QUERIES, keys in blocks, and within them the panels of MR rows and NR columns of GEMM's
register tile. Query i sees the keys i + low .. i + high, which says causal masks (high = 0) and sliding windows; panels
without such keys are skipped. Dropout draws element (row, key) from the generator's stream by its place alone: it is
drawn again by the backward pass, and does not depend on the number of threads.

Dao et al. 2022 (FlashAttention), Milakov and Gimelshein 2018 (online softmax).
"""

from std.memory import bitcast
from tensor.call import Call
from tensor.dtype import BOOL, FLOAT16, FLOAT64
from tensor.layout import contiguous_strides, shape_text
from tensor.object import TPtr, new_strided
from kernels.functor import compute
from kernels.gemm_micro import MR, at, ptr, width
from kernels.held import Held
from kernels.narrow import narrow
from kernels.philox import LANES, blocks_32, philox
from kernels.pointwise import unsupported
from kernels.stream import Stream
from kernels.transfer_api import contiguous_of

comptime QUERIES = 128
"""Queries of a block."""

comptime FAR = 1 << 40
"""A distance between query and key that no tensor reaches."""


@fieldwise_init
struct Operand(ImplicitlyCopyable, Movable):
    """A (batch, heads, length, depth) tensor, contiguous along the depth."""

    var address: Int
    var batch: Int  # strides in elements
    var head: Int
    var row: Int

    @always_inline
    def at_row[dt: DType](self, b: Int, h: Int, i: Int) -> Int:
        """The address of row i."""
        return at[dt](self.address, b * self.batch + h * self.head + i * self.row)


def new_like(t: TPtr, depth: Int, code: Int, mut held: Held) raises -> TPtr:
    """A new tensor of another depth and dtype in the layout of `t`: heads inside of the rows, or rows inside of heads.
    """
    var shape = t[].shape.copy()
    shape[3] = depth
    var strides = contiguous_strides(shape, 4)
    if t[].strides[1] < t[].strides[2] and t[].shape[1] > 1:
        strides[1] = max(1, depth)
        strides[2] = max(1, depth) * shape[1]
    return held.keep(new_strided(code, shape, strides, 4))


def operand(t: TPtr, mut held: Held) raises -> Operand:
    """A tensor of four dimensions as an operand; copied where its last stride is not 1."""
    var x = t
    if t[].strides[3] != 1 and t[].shape[3] > 1:
        x = held.keep(contiguous_of(t, t[].code()))
    return Operand(x[].data(), x[].strides[0], x[].strides[1], x[].strides[2])


@fieldwise_init
struct Mask(ImplicitlyCopyable, Movable):
    """A mask that broadcasts to the scores: bools of who may be seen, or numbers that are added. Strides in elements.
    """

    var address: Int  # 0: none
    var bools: Bool
    var batch: Int
    var head: Int
    var row: Int
    var column: Int

    @always_inline
    def apply[dt: DType](self, b: Int, h: Int, i: Int, j: Int, scores: Int, n: Int):
        """Masks n scores of query i, from key j on."""
        comptime acc = compute[dt]
        comptime W = width[acc]()
        var start = b * self.batch + h * self.head + i * self.row + j * self.column
        var s = ptr[acc](scores)
        var c = 0
        if self.bools:
            var m = ptr[DType.uint8](self.address + start)
            if self.column == 1:
                while c + W <= n:
                    var seen = m.unsafe_load[width=W](c).ne(0)
                    s.unsafe_store(c, seen.select(s.unsafe_load[width=W](c), SIMD[acc, W](Scalar[acc].MIN)))
                    c += W
            while c < n:
                if m[unsafe_offset=c * self.column] == 0:
                    s[unsafe_offset=c] = Scalar[acc].MIN
                c += 1
            return
        var m = ptr[dt](at[dt](self.address, start))
        if self.column == 1:
            while c + W <= n:
                s.unsafe_store(c, s.unsafe_load[width=W](c) + m.unsafe_load[width=W](c).cast[acc]())
                c += W
        while c < n:
            s[unsafe_offset=c] += m[unsafe_offset=c * self.column].cast[acc]()
            c += 1


@fieldwise_init
struct Problem(Copyable):
    """The sizes and the inputs that both passes read."""

    var batch: Int
    var heads: Int
    var group: Int  # query heads that share a head of keys and values
    var queries: Int
    var keys: Int
    var depth: Int
    var value_depth: Int
    var q: Operand
    var k: Operand
    var v: Operand
    var mask: Mask
    var low: Int
    var high: Int
    var scale: Float64
    var dropout: Float64
    var stream: Stream

    @always_inline
    def first_key(self, i: Int) -> Int:
        """The first key that query i sees, if it sees any."""
        return max(0, i + self.low)

    @always_inline
    def end_key(self, i: Int) -> Int:
        """The key after the last one that query i sees."""
        return min(self.keys, i + self.high + 1)

    def query_blocks(self) -> Int:
        return (self.queries + QUERIES - 1) // QUERIES

    @always_inline
    def mask_row[dt: DType](self, b: Int, h: Int, i: Int, j: Int, scores: Int, first: Int, end: Int):
        """Masks the scores first .. end (columns, of which 0 is key j) of query i; what it does not see is -inf.

        Lanes up to a whole vector after `end` are written too.
        """
        comptime acc = compute[dt]
        var lo = min(max(first, i + self.low - j), end)
        var hi = max(lo, min(end, i + self.high + 1 - j))
        if self.mask.address != 0 and hi > lo:
            self.mask.apply[dt](b, h, i, j + lo, at[acc](scores, lo), hi - lo)
        fill[acc](scores, first, lo, Scalar[acc].MIN)
        fill[acc](scores, hi, whole[acc](end), Scalar[acc].MIN)

    def draw(self, b: Int, h: Int, i: Int, j: Int, first: Int, end: Int, words: Int):
        """The random words of query i for the columns first .. end of a tile whose first column is key j."""
        var row = (b * self.heads + h) * self.queries + i
        var block = self.stream.block + UInt64(row * blocks_32(self.keys))
        for c in range(first // 32 * 32, end, 32):
            var d = philox(self.stream.seed, block + UInt64((j + c) // 32 * LANES))
            var to = ptr[DType.uint32](words + 4 * c)
            to.unsafe_store(0, bitcast[DType.uint32, 2 * LANES](d.low))
            to.unsafe_store(2 * LANES, bitcast[DType.uint32, 2 * LANES](d.high))

    def limit(self) -> UInt32:
        """Words below it are kept."""
        return UInt32(min((1 - self.dropout) * 4294967296.0, 4294967295.0))

    def kept_scale(self) -> Float64:
        return 1 / (1 - self.dropout) if self.dropout < 1 else 0.0


@always_inline
def whole[dt: DType](n: Int) -> Int:
    """n rounded up to whole vectors."""
    comptime W = width[dt]()
    return (n + W - 1) // W * W


@always_inline
def fill[dt: DType](row: Int, first: Int, end: Int, value: Scalar[dt]):
    var p = ptr[dt](row)
    for c in range(first, end):
        p[unsafe_offset=c] = value


def zero[dt: DType](address: Int, count: Int):
    comptime W = width[dt]()
    var p = ptr[dt](address)
    var i = 0
    while i + W <= count:
        p.unsafe_store(i, SIMD[dt, W](0))
        i += W
    while i < count:
        p[unsafe_offset=i] = 0
        i += 1


@always_inline
def row_start(rows: Int, panels: Int, t: Int) -> Int:
    """Where panel t begins: panels differ by one row at most."""
    return t * (rows // panels) + min(t, rows % panels)


@always_inline
def panels_of(rows: Int) -> Int:
    return (rows + MR - 1) // MR


def in_place[dt: DType](depth: Int) -> Bool:
    """Whether rows of this dtype and length serve the kernel, which reads whole vectors, as they are."""
    return dt == compute[dt] and depth % width[dt]() == 0


def widen_rows[dt: DType](source: Int, stride: Int, rows: Int, n: Int, to: Int, to_stride: Int):
    """Copies rows of n elements to the type that is computed in."""
    comptime acc = compute[dt]
    comptime W = width[acc]()
    for r in range(rows):
        var x = ptr[dt](at[dt](source, r * stride))
        var y = ptr[acc](at[acc](to, r * to_stride))
        var c = 0
        while c + W <= n:
            y.unsafe_store(c, x.unsafe_load[width=W](c).cast[acc]())
            c += W
        while c < n:
            y[unsafe_offset=c] = x[unsafe_offset=c].cast[acc]()
            c += 1


def narrow_row[dt: DType](source: Int, n: Int, to: Int, scale: Scalar[compute[dt]]):
    """Writes n elements, times scale, from the type that is computed in."""
    comptime acc = compute[dt]
    comptime W = width[acc]()
    var x = ptr[acc](source)
    var y = ptr[dt](to)
    var c = 0
    while c + W <= n:
        y.unsafe_store(c, narrow[dt](x.unsafe_load[width=W](c) * SIMD[acc, W](scale)))
        c += W
    while c < n:
        y[unsafe_offset=c] = narrow[dt](x[unsafe_offset=c] * scale)
        c += 1


# ---------------------------------------------------------------- arguments


def problem_of(
    call: Call, query: Int, key: Int, value: Int, mask: Int, mut held: Held, stream: Stream
) raises -> Problem:
    """Checks and reads the tensors in these slots; dropout, low, high and scale follow the mask's."""
    var q = call.tensor(query)
    var k = call.tensor(key)
    var v = call.tensor(value)
    var code = q[].code()
    if code < FLOAT16 or code > FLOAT64:
        raise unsupported(call.name(), code)
    for i in range(4):
        var slot = query if i == 0 else (key if i == 1 else (value if i == 2 else mask))
        if slot == mask and call.is_none(mask):
            continue
        var t = call.tensor(slot)
        if t[].device() != 0:
            raise call.fail("RuntimeError", "there is no kernel for this device")
        if t[].rank() != 4:
            raise call.fail("RuntimeError", String(t"'{call.param(slot)}' must have 4 dimensions, not {t[].rank()}"))
        if t[].code() != code and not (slot == mask and t[].code() == BOOL):
            raise call.fail("RuntimeError", String(t"'{call.param(slot)}' must have the query's dtype"))
    var fits = q[].shape[0] == k[].shape[0] and k[].shape[0] == v[].shape[0] and k[].shape[1] == v[].shape[1]
    fits = fits and k[].shape[2] == v[].shape[2] and q[].shape[3] == k[].shape[3]
    fits = fits and (q[].shape[1] == k[].shape[1] or k[].shape[1] > 0 and q[].shape[1] % k[].shape[1] == 0)
    if not fits:
        raise call.fail(
            "RuntimeError",
            String(
                t"query {shape_text(q[].shape, 4)}, key"
                t" {shape_text(k[].shape, 4)} and value"
                t" {shape_text(v[].shape, 4)} do not fit: they are (batch,"
                t" heads, length, depth)"
            ),
        )
    var m = Mask(0, False, 0, 0, 0, 0)
    if not call.is_none(mask):
        var t = call.tensor(mask)
        var s = Array[Int, 4](fill=0)
        for d in range(4):
            var size = q[].shape[d] if d < 3 else k[].shape[2]
            if t[].shape[d] != size and t[].shape[d] != 1:
                raise call.fail(
                    "RuntimeError", String(t"a mask of shape {shape_text(t[].shape, 4)} does not fit the scores")
                )
            s[d] = t[].strides[d] if t[].shape[d] != 1 else 0
        m = Mask(t[].data(), t[].code() == BOOL, s[0], s[1], s[2], s[3])
    var dropout = call.float(mask + 1)
    if not (dropout >= 0 and dropout <= 1):
        raise call.fail("RuntimeError", String(t"dropout probability has to be between 0 and 1, but got {dropout}"))
    return Problem(
        batch=q[].shape[0],
        heads=q[].shape[1],
        group=max(1, q[].shape[1] // max(1, k[].shape[1])),
        queries=q[].shape[2],
        keys=k[].shape[2],
        depth=q[].shape[3],
        value_depth=v[].shape[3],
        q=operand(q, held),
        k=operand(k, held),
        v=operand(v, held),
        mask=m,
        low=max(-FAR, min(FAR, call.int(mask + 2))),
        high=max(-FAR, min(FAR, call.int(mask + 3))),
        scale=call.float(mask + 4),
        dropout=dropout,
        stream=stream,
    )
