"""Order-preserving keys: the elements of every real dtype as unsigned integers that compare as PyTorch sorts.

Signed integers get their sign bit flipped; floats are mapped so that -0 equals 0 and every NaN is the largest key. What
sorts and selects works on `words`: a 32-bit key with a 32-bit position below it. Words all differ and compare as plain
integers, so whatever orders them is stable, and its code exists once for all dtypes. Keys of eight bytes enter a word by
their 32 highest bits that vary; `settle` orders the few that those do not tell apart.
"""

from std.bit import count_leading_zeros
from std.math import iota
from std.sys.info import simd_width_of, size_of
from std.sys.intrinsics import compressed_store
from tensor.dtype import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT64,
    INT8,
    itemsize,
)
from tensor.memory import at, load, store

comptime LIMIT = 1 << 32  # elements that words can number


@always_inline
def position_of(word: UInt64) -> Int:
    return Int(word & 0xFFFF_FFFF)


struct Keys(TrivialRegisterPassable):
    """How the elements of one row become keys, and keys words: `(key - low) >> shift`."""

    var size: Int  # bytes of an element
    var floats: Bool
    var flip: UInt64  # xored to the bits of integers
    var infinity: UInt64  # the bits of infinity
    var down: UInt64  # all ones where the order is reversed
    var low: UInt64  # the smallest key
    var bits: Int  # how many bits of a word's key vary
    var shift: Int  # low bits of the keys that words leave out

    def __init__(out self, code: Int, descending: Bool):
        self.size = itemsize(code)
        self.floats = code >= FLOAT16 and code <= FLOAT64
        var sign = UInt64(1) << UInt64(8 * self.size - 1)
        self.down = ~UInt64(0) if descending else 0
        self.flip = self.down ^ (sign if code >= INT8 and code <= INT64 else 0)
        self.infinity = 0x7C00
        if code == BFLOAT16:
            self.infinity = 0x7F80
        elif code == FLOAT32:
            self.infinity = 0x7F80_0000
        elif code == FLOAT64:
            self.infinity = 0x7FF0_0000_0000_0000
        self.low = 0
        self.bits = min(8 * self.size, 32)
        self.shift = 0

    @always_inline
    def narrow(mut self, low: UInt64, high: UInt64):
        """Keeps only the bits that tell keys of [low, high] apart, at most 32 of them."""
        self.low = low
        var varying = 64 - Int(count_leading_zeros(high - low))
        self.shift = max(varying - 32, 0)
        self.bits = varying - self.shift

    @always_inline
    def exact(self) -> Bool:
        """Words hold all of their keys."""
        return self.shift == 0

    @always_inline
    def of[U: DType, floats: Bool, w: Int](self, x: SIMD[U, w]) -> SIMD[U, w]:
        """The keys of elements, given as bits."""
        comptime TOP = SIMD[U, w](8 * size_of[Scalar[U]]() - 1)
        comptime if floats:
            var sign = SIMD[U, w](1) << TOP
            var magnitude = x & ~sign
            var b = magnitude.eq(0).select(SIMD[U, w](0), x)
            var key = b ^ ((SIMD[U, w](0) - (b >> TOP)) | sign)
            key = magnitude.gt(SIMD[U, w](self.infinity.cast[U]())).select(~SIMD[U, w](0), key)
            return key ^ SIMD[U, w](self.down.cast[U]())
        else:
            return x ^ SIMD[U, w](self.flip.cast[U]())

    @always_inline
    def element[U: DType, floats: Bool, w: Int](self, key: SIMD[U, w]) -> SIMD[U, w]:
        """The elements' bits from their keys, but that zeros are positive and NaNs of one kind."""
        comptime TOP = SIMD[U, w](8 * size_of[Scalar[U]]() - 1)
        comptime if floats:
            var k = key ^ SIMD[U, w](self.down.cast[U]())
            return k ^ (((k >> TOP) - 1) | (SIMD[U, w](1) << TOP))
        else:
            return key ^ SIMD[U, w](self.flip.cast[U]())

    @always_inline
    def nan_key(self) -> UInt64:
        """The key of NaN, in the width of the elements."""
        return ~self.down >> UInt64(64 - 8 * self.size)

    @always_inline
    def at(self, data: Int, i: Int) -> UInt64:
        """The key of one element."""
        if self.size == 4:
            var x = at[UInt32](data)[unsafe_offset=i]
            return (self.of[DType.uint32, True, 1](x) if self.floats else self.of[DType.uint32, False, 1](x)).cast[
                DType.uint64
            ]()
        if self.size == 8:
            var x = at[UInt64](data)[unsafe_offset=i]
            return self.of[DType.uint64, True, 1](x) if self.floats else self.of[DType.uint64, False, 1](x)
        if self.size == 2:
            var x = at[UInt16](data)[unsafe_offset=i]
            return (self.of[DType.uint16, True, 1](x) if self.floats else self.of[DType.uint16, False, 1](x)).cast[
                DType.uint64
            ]()
        return self.of[DType.uint8, False, 1](at[UInt8](data)[unsafe_offset=i]).cast[DType.uint64]()

    @always_inline
    def word(self, key: UInt64, position: Int) -> UInt64:
        return ((key - self.low) >> UInt64(self.shift)) << 32 | UInt64(position)

    @always_inline
    def key_of(self, word: UInt64, data: Int) -> UInt64:
        """The key of the element that a word stands for."""
        if self.exact():
            return (word >> 32) + self.low
        return self.at(data, position_of(word))

    # ------------------------------------------------------------ over rows: dispatched on size and kind once

    def range(self, data: Int, n: Int) -> Tuple[UInt64, UInt64]:
        """The smallest and the largest key of n > 0 elements."""
        if self.size == 4:
            return self._range[DType.uint32, True](data, n) if self.floats else self._range[DType.uint32, False](
                data, n
            )
        if self.size == 8:
            return self._range[DType.uint64, True](data, n) if self.floats else self._range[DType.uint64, False](
                data, n
            )
        if self.size == 2:
            return self._range[DType.uint16, True](data, n) if self.floats else self._range[DType.uint16, False](
                data, n
            )
        return self._range[DType.uint8, False](data, n)

    def _range[U: DType, floats: Bool](self, data: Int, n: Int) -> Tuple[UInt64, UInt64]:
        comptime W = simd_width_of[U]()
        var p = at[Scalar[U]](data)
        var i = 0
        var low = self.of[U, floats, 1](p[])
        var high = low
        if n >= W:
            var lows = self.of[U, floats, W](p.unsafe_load[width=W](0))
            var highs = lows
            i = W
            while i + W <= n:
                var k = self.of[U, floats, W](p.unsafe_load[width=W](i))
                lows = min(lows, k)
                highs = max(highs, k)
                i += W
            low = lows.reduce_min()
            high = highs.reduce_max()
        while i < n:
            var k = self.of[U, floats, 1](p[unsafe_offset=i])
            low = min(low, k)
            high = max(high, k)
            i += 1
        return (low.cast[DType.uint64](), high.cast[DType.uint64]())

    def encode(self, data: Int, start: Int, end: Int, words: Int):
        """Writes the words of the elements [start, end), each at its position."""
        if self.size == 4:
            if self.floats:
                self._encode[DType.uint32, True](data, start, end, words)
            else:
                self._encode[DType.uint32, False](data, start, end, words)
        elif self.size == 8:
            if self.floats:
                self._encode[DType.uint64, True](data, start, end, words)
            else:
                self._encode[DType.uint64, False](data, start, end, words)
        elif self.size == 2:
            if self.floats:
                self._encode[DType.uint16, True](data, start, end, words)
            else:
                self._encode[DType.uint16, False](data, start, end, words)
        else:
            self._encode[DType.uint8, False](data, start, end, words)

    def _encode[U: DType, floats: Bool](self, data: Int, start: Int, end: Int, words: Int):
        comptime W = simd_width_of[DType.uint64]()
        var p = at[Scalar[U]](data)
        var o = at[UInt64](words)
        var shift = SIMD[DType.uint64, W](UInt64(self.shift))
        var low = SIMD[DType.uint64, W](self.low)
        var i = start
        while i + W <= end:
            var k = self.of[U, floats, W](p.unsafe_load[width=W](i)).cast[DType.uint64]() - low
            o.unsafe_store(i, (k >> shift) << 32 | (iota[DType.uint64, W]() + UInt64(i)))
            i += W
        while i < end:
            o[unsafe_offset=i] = self.word(
                self.of[U, floats, 1](p[unsafe_offset=i]).cast[DType.uint64](),
                i,
            )
            i += 1

    def decode(self, words: Int, data: Int, start: Int, end: Int, values: Int):
        """Writes the elements that the words [start, end) stand for."""
        if not self.exact():
            for i in range(start, end):
                var j = position_of(at[UInt64](words)[unsafe_offset=i])
                at[UInt64](values)[unsafe_offset=i] = at[UInt64](data)[unsafe_offset=j]
        elif self.size == 4:
            if self.floats:
                self._decode[DType.uint32, True](words, data, start, end, values)
            else:
                self._decode[DType.uint32, False](words, data, start, end, values)
        elif self.size == 8:
            if self.floats:
                self._decode[DType.uint64, True](words, data, start, end, values)
            else:
                self._decode[DType.uint64, False](words, data, start, end, values)
        elif self.size == 2:
            if self.floats:
                self._decode[DType.uint16, True](words, data, start, end, values)
            else:
                self._decode[DType.uint16, False](words, data, start, end, values)
        else:
            self._decode[DType.uint8, False](words, data, start, end, values)

    def _decode[U: DType, floats: Bool](self, words: Int, data: Int, start: Int, end: Int, values: Int):
        comptime W = simd_width_of[DType.uint64]()
        var p = at[UInt64](words)
        var o = at[Scalar[U]](values)
        var low = SIMD[U, W](self.low.cast[U]())
        # zeros and NaNs are copied: their keys have lost a sign or a payload
        var zero = self.of[U, floats, 1](0)
        var nan = self.nan_key().cast[U]()
        var i = start
        while i + W <= end:
            var w = p.unsafe_load[width=W](i)
            var key = (w >> 32).cast[U]() + low
            o.unsafe_store(i, self.element[U, floats, W](key))
            comptime if floats:
                if (key.eq(SIMD[U, W](zero)) | key.eq(SIMD[U, W](nan))).reduce_or():
                    for k in range(W):
                        o[unsafe_offset=i + k] = at[Scalar[U]](data)[unsafe_offset=position_of(w[k])]
            i += W
        while i < end:
            o[unsafe_offset=i] = at[Scalar[U]](data)[unsafe_offset=position_of(p[unsafe_offset=i])]
            i += 1

    def count(self, data: Int, n: Int, shift: Int, counts: Int):
        """Counts elements (into UInt32) by the bits of their word keys from `shift` up."""
        if self.size == 4:
            if self.floats:
                self._count[DType.uint32, True](data, n, shift, counts)
            else:
                self._count[DType.uint32, False](data, n, shift, counts)
        elif self.size == 8:
            if self.floats:
                self._count[DType.uint64, True](data, n, shift, counts)
            else:
                self._count[DType.uint64, False](data, n, shift, counts)
        elif self.size == 2:
            if self.floats:
                self._count[DType.uint16, True](data, n, shift, counts)
            else:
                self._count[DType.uint16, False](data, n, shift, counts)
        else:
            self._count[DType.uint8, False](data, n, shift, counts)

    def _count[U: DType, floats: Bool](self, data: Int, n: Int, shift: Int, counts: Int):
        comptime W = simd_width_of[U]()
        var p = at[Scalar[U]](data)
        var c = at[UInt32](counts)
        var low = self.low.cast[U]()
        var by = Scalar[U](self.shift + shift)
        var i = 0
        while i + W <= n:
            var digits = (self.of[U, floats, W](p.unsafe_load[width=W](i)) - SIMD[U, W](low)) >> SIMD[U, W](by)
            comptime for k in range(W):
                c[unsafe_offset=Int(digits[k])] += 1
            i += W
        while i < n:
            c[unsafe_offset=Int((self.of[U, floats, 1](p[unsafe_offset=i]) - low) >> by)] += 1
            i += 1

    def collect(
        self,
        data: Int,
        start: Int,
        n: Int,
        first: UInt64,
        last: UInt64,
        words: Int,
        room: Int,
    ) -> Tuple[Int, Int]:
        """Appends the words of the elements from `start` on whose keys are in [first, last], until the elements or the
        room end (64 words more may be written). Returns where it stopped and how many it found.
        """
        if self.size == 4:
            if self.floats:
                return self._collect[DType.uint32, True](data, start, n, first, last, words, room)
            return self._collect[DType.uint32, False](data, start, n, first, last, words, room)
        if self.size == 8:
            if self.floats:
                return self._collect[DType.uint64, True](data, start, n, first, last, words, room)
            return self._collect[DType.uint64, False](data, start, n, first, last, words, room)
        if self.size == 2:
            if self.floats:
                return self._collect[DType.uint16, True](data, start, n, first, last, words, room)
            return self._collect[DType.uint16, False](data, start, n, first, last, words, room)
        return self._collect[DType.uint8, False](data, start, n, first, last, words, room)

    def _collect[
        U: DType, floats: Bool
    ](self, data: Int, start: Int, n: Int, first: UInt64, last: UInt64, words: Int, room: Int,) -> Tuple[Int, Int]:
        comptime W = 8  # words of a vector
        comptime BLOCK = 64
        var p = at[Scalar[U]](data)
        var o = at[UInt64](words)
        # in [first, last] by one unsigned comparison, which holds too where `last` is past the largest key
        var base = SIMD[U, BLOCK](first.cast[U]())
        var span = SIMD[U, BLOCK]((last - first).cast[U]())
        var shift = SIMD[DType.uint64, W](UInt64(self.shift))
        var found = 0
        var i = start
        while i + BLOCK <= n and found < room:
            var keys = self.of[U, floats, BLOCK](p.unsafe_load[width=BLOCK](i))
            if (keys - base).le(span).reduce_or():
                for j in range(i, i + BLOCK, W):
                    var k = self.of[U, floats, W](p.unsafe_load[width=W](j))
                    var fits = (k - SIMD[U, W](first.cast[U]())).le(SIMD[U, W]((last - first).cast[U]()))
                    var word = ((k.cast[DType.uint64]() - SIMD[DType.uint64, W](self.low)) >> shift) << 32
                    word |= iota[DType.uint64, W]() + UInt64(j)
                    compressed_store(word, o.unsafe_offset(found), fits)
                    found += Int(fits.cast[DType.uint8]().reduce_add())
            i += BLOCK
        if i + BLOCK > n:
            while i < n and found < room + BLOCK:
                var key = self.of[U, floats, 1](p[unsafe_offset=i]).cast[DType.uint64]()
                o[unsafe_offset=found] = self.word(key, i)
                found += Int(key - first <= last - first)
                i += 1
        return (i, found)
