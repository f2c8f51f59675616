"""Sorting words (see keys.mojo): least-significant-digit radix sort, and merging for short rows.

Keys are sorted by digits of at most 11 bits of those that vary at all. Short rows are sorted by their highest bits only,
which puts nearly everything in place, and finished by insertion; where that turns out to move too much, by all bits.
"""

from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.memory import at, load, memset, store
from tensor.threads import Body, num_threads, parallel
from kernels.keys import Keys, position_of

comptime DIGIT = 11
comptime BUCKETS = 1 << DIGIT
comptime MAX_CHUNKS = 16
comptime COUNT_BYTES = 4 * BUCKETS  # of one chunk
comptime MERGED = 192  # rows up to this length are merged
comptime FEW = 32  # rows up to this length are sorted by insertion alone
comptime _BLOCK = 16
comptime _LONG = 1 << 16  # words worth a second thread

comptime _COUNT = 0
comptime _SCATTER = 1
comptime _ENCODE = 2
comptime _DECODE = 3


def chunks_for(n: Int) -> Int:
    """Into how many chunks, for as many threads, a row of n is cut."""
    return 1 if n < _LONG else min(num_threads(), MAX_CHUNKS)


struct Sorter(Body):
    """Sorts one row of n elements: words in `a`, scratch in `b` and, COUNT_BYTES a chunk, in `counts`."""

    var keys: Keys
    var data: Int
    var n: Int
    var a: Int
    var b: Int
    var counts: Int
    var chunks: Int
    var chunk: Int  # words of each
    var phase: Int
    var shift: Int  # of the digit, in words
    var buckets: Int
    var values: Int  # where decoded elements go, 0: nowhere

    def __init__(
        out self,
        keys: Keys,
        data: Int,
        n: Int,
        a: Int,
        b: Int,
        counts: Int,
        chunks: Int = 1,
    ):
        self.keys = keys
        self.data = data
        self.n = n
        self.a = a
        self.b = b
        self.counts = counts
        self.chunks = chunks
        self.chunk = ceildiv(n, chunks)
        self.phase = 0
        self.shift = 0
        self.buckets = 0
        self.values = 0

    def sort(mut self):
        """Encodes and sorts: afterwards the words lie in order in `a` (which may have changed places with `b`)."""
        if self.n == 0:
            return
        var ends = self.keys.range(self.data, self.n)
        self.keys.narrow(ends[0], ends[1])
        self._all(_ENCODE)
        self.order(self.keys.bits)
        if not self.keys.exact():
            self.settle()

    def decode(mut self, values: Int):
        """Writes the sorted elements."""
        self.values = values
        self._all(_DECODE)

    def sort_marked(mut self) -> Int:
        """Sorts and marks runs (see `mark_runs`)."""
        self.sort()
        return self.mark_runs()

    def mark_runs(self) -> Int:
        """Turns sorted words into marks and positions: the top bit is set on the first of equal elements, and on every
        NaN. Returns how many are marked."""
        var words = at[UInt64](self.a)
        var nan = self.keys.nan_key()
        var found = 0
        var last = UInt64(0)
        for i in range(self.n):
            var word = words[unsafe_offset=i]
            var key = self.keys.key_of(word, self.data)
            var new = i == 0 or key != last or (self.keys.floats and key == nan)
            words[unsafe_offset=i] = (word & 0xFFFF_FFFF) | UInt64(Int(new)) << 63
            found += Int(new)
            last = key
        return found

    def order(mut self, bits: Int):
        """Sorts the words by the low `bits` bits of their keys, those that vary."""
        if bits == 0 or self.n < 2:
            return
        if self.n <= MERGED:
            self._merge()
            return
        # enough of the highest bits to put a short row nearly in order
        var enough = 20 if self.n <= 4096 else 22 if self.n <= 32768 else 32
        if bits > enough:
            self._passes(bits - enough, bits)
            if self._insert():
                return
        self._passes(0, bits)

    def _passes(mut self, low: Int, high: Int):
        var count = ceildiv(high - low, DIGIT)
        var width = ceildiv(high - low, count)
        var at_bit = low
        while at_bit < high:
            self.shift = 32 + at_bit
            self.buckets = 1 << min(width, high - at_bit)
            self._all(_COUNT)
            self._offsets()
            self._all(_SCATTER)
            swap(self.a, self.b)
            at_bit += width

    def _all(mut self, phase: Int):
        self.phase = phase
        if self.chunks == 1:
            self.run(0, 0)
        else:
            parallel(self, self.chunks)

    def run(self, task: Int, worker: Int):
        var start = min(task * self.chunk, self.n)
        var end = min(start + self.chunk, self.n)
        if self.phase == _ENCODE:
            self.keys.encode(self.data, start, end, self.a)
        elif self.phase == _DECODE:
            self.keys.decode(self.a, self.data, start, end, self.values)
        else:
            var counts = at[UInt32](self.counts + task * COUNT_BYTES)
            var source = at[UInt64](self.a)
            var shift = UInt64(self.shift)
            var mask = UInt64(self.buckets - 1)
            if self.phase == _COUNT:
                memset(Int(counts), 0, 4 * self.buckets)
                for i in range(start, end):
                    counts[unsafe_offset=Int((source[unsafe_offset=i] >> shift) & mask)] += 1
            else:
                var target = at[UInt64](self.b)
                for i in range(start, end):
                    var word = source[unsafe_offset=i]
                    var digit = Int((word >> shift) & mask)
                    var place = counts[unsafe_offset=digit]
                    counts[unsafe_offset=digit] = place + 1
                    target[unsafe_offset=Int(place)] = word

    def _offsets(self):
        """Turns the counts of all chunks into where each writes the words of each digit."""
        var total = UInt32(0)
        for digit in range(self.buckets):
            for c in range(self.chunks):
                var p = at[UInt32](self.counts + c * COUNT_BYTES + 4 * digit)
                var count = p[]
                p[] = total
                total += count

    def _insert(self) -> Bool:
        """Finishes words that are nearly in order; gives up (False) when that takes too many moves."""
        var p = at[UInt64](self.a)
        var budget = 4 * self.n
        for i in range(1, self.n):
            var word = p[unsafe_offset=i]
            var j = i
            while j > 0 and p[unsafe_offset=j - 1] > word:
                p[unsafe_offset=j] = p[unsafe_offset=j - 1]
                j -= 1
            p[unsafe_offset=j] = word
            budget -= i - j
            if budget < 0:
                return False
        return True

    def _merge(mut self):
        """Sorts blocks by insertion and merges them."""
        var start = 0
        while start < self.n:
            insertion(self.a, start, min(start + _BLOCK, self.n))
            start += _BLOCK
        var width = _BLOCK
        while width < self.n:
            start = 0
            while start < self.n:
                var middle = min(start + width, self.n)
                _merge_runs(self.a, self.b, start, middle, min(middle + width, self.n))
                start += 2 * width
            swap(self.a, self.b)
            width *= 2

    def settle(mut self):
        """Orders the words whose keys are equal but for the bits that words leave out."""
        var words = at[UInt64](self.a)
        var rest = (UInt64(1) << UInt64(self.keys.shift)) - 1
        var i = 0
        while i < self.n:
            var window = words[unsafe_offset=i] >> 32
            var j = i + 1
            while j < self.n and words[unsafe_offset=j] >> 32 == window:
                j += 1
            if j - i > 1:
                var low = ~UInt64(0)
                var high = UInt64(0)
                for k in range(i, j):
                    var position = position_of(words[unsafe_offset=k])
                    var key = (self.keys.at(self.data, position) - self.keys.low) & rest
                    low = min(low, key)
                    high = max(high, key)
                    words[unsafe_offset=k] = key << 32 | UInt64(position)
                if low != high:
                    self._settle_run(i, j)
            i = j

    def _settle_run(self, start: Int, end: Int):
        if end - start <= 2 * _BLOCK:
            insertion(self.a, start, end)
            return
        var run = Sorter(
            self.keys,
            0,
            end - start,
            self.a + 8 * start,
            self.b + 8 * start,
            self.counts,
        )
        run.order(self.keys.shift)
        if run.a != self.a + 8 * start:
            for k in range(end - start):
                at[UInt64](run.b)[unsafe_offset=k] = at[UInt64](run.a)[unsafe_offset=k]


@always_inline
def insertion(words: Int, start: Int, end: Int):
    """Sorts the words [start, end) by insertion."""
    var p = at[UInt64](words)
    for i in range(start + 1, end):
        var word = p[unsafe_offset=i]
        var j = i
        while j > start and p[unsafe_offset=j - 1] > word:
            p[unsafe_offset=j] = p[unsafe_offset=j - 1]
            j -= 1
        p[unsafe_offset=j] = word


@always_inline
def _merge_runs(source: Int, target: Int, start: Int, middle: Int, end: Int):
    var p = at[UInt64](source)
    var o = at[UInt64](target)
    var i = start
    var j = middle
    var k = start
    while i < middle and j < end:
        # without a branch on the words: which is smaller is a coin toss
        var x = p[unsafe_offset=i]
        var y = p[unsafe_offset=j]
        var first = x < y
        o[unsafe_offset=k] = min(x, y)
        i += Int(first)
        j += 1 - Int(first)
        k += 1
    while i < middle:
        o[unsafe_offset=k] = p[unsafe_offset=i]
        i += 1
        k += 1
    while j < end:
        o[unsafe_offset=k] = p[unsafe_offset=j]
        j += 1
        k += 1


@always_inline
def strip_keys(words: Int, positions: Int, n: Int):
    """Writes the positions (int64) of words; may be where the words lie."""
    comptime W = simd_width_of[DType.uint64]()
    var i = 0
    while i + W <= n:
        at[UInt64](positions).unsafe_store(i, at[UInt64](words).unsafe_load[width=W](i) & 0xFFFF_FFFF)
        i += W
    while i < n:
        at[UInt64](positions)[unsafe_offset=i] = at[UInt64](words)[unsafe_offset=i] & 0xFFFF_FFFF
        i += 1
