"""Selecting along a dimension: topk, kthvalue, median, mode."""

from std.math import ceildiv
from tensor.call import Call, register
from tensor.dtype import BOOL, FLOAT16, INT32, INT64, is_complex, itemsize
from tensor.layout import no_dims, wrap_dim
from tensor.memory import at, load, memcpy, memset, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import (
    Obj,
    decref,
    release_gil,
    take_gil,
    tuple_new,
    tuple_set,
    xdecref,
)
from tensor.threads import Body, num_threads, parallel
from kernels.functor import ALL, REAL
from kernels.keys import Keys, position_of
from kernels.lines import (
    check_order,
    drop_dim,
    line_shape,
    lines_back,
    lines_of,
)
from kernels.radix import BUCKETS, COUNT_BYTES, DIGIT, Sorter, insertion
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace

comptime TOP = 0  # the first k in order
comptime NTH = 1  # the k-th
comptime MEDIAN = 2  # the lower of the two in the middle; NaN if there is one
comptime NAN_MEDIAN = 3  # of those that are not NaN
comptime MODE = 4  # the most frequent

comptime _FEW = 48  # candidates that are sorted at once
comptime _SHORT = 32  # the k for which the best are kept in order
comptime _ROW = 8192  # the length up to which the k-th is looked for first
comptime _UNLOCK = 4096


struct Selection(Body):
    """Selects `out_n` elements from each of many contiguous rows: their values and positions."""

    var kind: Int
    var keys: Keys
    var k: Int
    var data: Int
    var n: Int
    var rows: Int
    var values: Int
    var indices: Int
    var out_n: Int
    var per_task: Int

    def __init__(out self, kind: Int, keys: Keys, k: Int, data: Int, n: Int, rows: Int):
        self.kind = kind
        self.keys = keys
        self.k = k
        self.data = data
        self.n = n
        self.rows = rows
        self.values = 0
        self.indices = 0
        self.out_n = k if kind == TOP else 1
        self.per_task = rows

    def execute(mut self):
        var work = self.n * self.rows
        if work < _UNLOCK:
            self.run(0, 0)
            return
        var held = release_gil()
        if work >= 32768:
            self.per_task = ceildiv(self.rows, min(self.rows, 4 * num_threads()))
        parallel(self, ceildiv(self.rows, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        for row in range(task * self.per_task, min((task + 1) * self.per_task, self.rows)):
            var data = self.data + row * self.n * self.keys.size
            var values = self.values + row * self.out_n * self.keys.size
            var indices = self.indices + row * self.out_n * 8
            if self.kind == TOP:
                self._top(data, values, indices)
            else:
                var position: Int
                if self.kind == MODE:
                    position = self._mode(data)
                else:
                    position = self._ranked(data)
                store[Int](indices, position)
                memcpy(values, data + position * self.keys.size, self.keys.size)

    def _ranked(self, data: Int) -> Int:
        var keys = self.keys
        var ends = keys.range(data, self.n)
        keys.narrow(ends[0], ends[1])
        if self.kind == NTH:
            return nth(keys, data, self.n, self.k)
        var nans = 0
        if keys.floats and ends[1] == keys.nan_key():
            for i in range(self.n):
                if keys.at(data, i) == ends[1]:
                    if self.kind == MEDIAN:
                        return i
                    nans += 1
        return nth(keys, data, self.n, max(self.n - nans - 1, 0) // 2)

    def _mode(self, data: Int) -> Int:
        """The last position of the smallest of the most frequent elements."""
        var scratch = Workspace.take(16 * self.n + COUNT_BYTES)
        var b = scratch.address + 8 * self.n
        var work = Sorter(self.keys, data, self.n, scratch.address, b, b + 8 * self.n)
        _ = work.sort_marked()
        var words = at[UInt64](work.a)
        var most = 0
        var best = 0
        var start = 0
        for i in range(1, self.n + 1):
            if i == self.n or words[unsafe_offset=i] >> 63 != 0:
                if i - start > most:
                    most = i - start
                    best = position_of(words[unsafe_offset=i - 1])
                start = i
        scratch.give()
        return best

    def _top(self, data: Int, values: Int, indices: Int):
        var n = self.n
        if self.k == 0:
            return
        if n <= 128 or 8 * self.k > n:
            var all = Workspace.take(16 * n + COUNT_BYTES)
            var b = all.address + 8 * n
            var work = Sorter(self.keys, data, n, all.address, b, b + 8 * n)
            work.sort()
            self._write(work.a, data, values, indices)
            all.give()
            return
        if self.k <= _SHORT:
            self._top_few(data, values, indices)
            return
        var keys = self.keys
        if n <= _ROW:
            self._top_short(data, values, indices)
            return
        if keys.size == 8:
            var ends = keys.range(data, n)
            keys.narrow(ends[0], ends[1])
        # words better than the k-th so far gather in a buffer; when it is full, it is sorted and cut to k
        var room = max(4 * self.k, 128 if n < 8192 else 512)
        var space = room + 128
        var scratch = Workspace.take(16 * space + COUNT_BYTES)
        var b = scratch.address + 8 * space
        var count = 0
        var i = 0
        var last = ~UInt64(0) >> UInt64(64 - 8 * keys.size)
        while True:
            var step = keys.collect(data, i, n, 0, last, scratch.address + 8 * count, room - count)
            i = step[0]
            count += step[1]
            var work = Sorter(keys, data, count, scratch.address, b, b + 8 * space)
            work.order(keys.bits)
            if not keys.exact():
                work.settle()
            count = min(count, self.k)
            if i >= n:
                self._write(work.a, data, values, indices)
                break
            # later elements of the same key lose to earlier ones
            var worst = keys.at(data, position_of(at[UInt64](work.a)[unsafe_offset=self.k - 1]))
            if worst == 0:
                self._write(work.a, data, values, indices)
                break
            last = worst - 1
            if keys.exact():
                if work.a != scratch.address:
                    memcpy(scratch.address, work.a, 8 * count)
            else:
                for j in range(count):
                    var position = position_of(at[UInt64](work.a)[unsafe_offset=j])
                    at[UInt64](scratch.address)[unsafe_offset=j] = keys.word(keys.at(data, position), position)
        scratch.give()

    def _top_short(self, data: Int, values: Int, indices: Int):
        """A short row: what is better than the k-th, and the first of its equals, are picked and sorted."""
        var keys = self.keys
        var ends = keys.range(data, self.n)
        keys.narrow(ends[0], ends[1])
        var worst = keys.at(data, nth(keys, data, self.n, self.k - 1))
        var space = self.k + 128
        var scratch = Workspace.take(16 * space + COUNT_BYTES)
        var b = scratch.address + 8 * space
        var count = 0
        if worst > 0:
            count = keys.collect(data, 0, self.n, 0, worst - 1, scratch.address, self.k)[1]
        if count < self.k:
            _ = keys.collect(data, 0, self.n, worst, worst, scratch.address + 8 * count, self.k - count)
        var work = Sorter(keys, data, self.k, scratch.address, b, b + 8 * space)
        work.order(keys.bits)
        if not keys.exact():
            work.settle()
        self._write(work.a, data, values, indices)
        scratch.give()

    def _top_few(self, data: Int, values: Int, indices: Int):
        """The k best so far stay in order; what is better than the last of them is inserted."""
        var keys = self.keys
        var scratch = Workspace.take(8 * 2 * _SHORT + 8 * 256)
        var best = at[UInt64](scratch.address)
        var where_ = at[UInt64](scratch.address + 8 * _SHORT)
        var found = at[UInt64](scratch.address + 8 * 2 * _SHORT)
        var count = 0
        var i = 0
        var last = ~UInt64(0) >> UInt64(64 - 8 * keys.size)
        while i < self.n:
            var step = keys.collect(data, i, self.n, 0, last, Int(found), 1)
            i = step[0]
            for f in range(step[1]):
                var position = found[unsafe_offset=f] & 0xFFFF_FFFF
                var key = keys.at(data, Int(position))
                if count == self.k:
                    # later elements of the same key lose to earlier ones
                    if key >= best[unsafe_offset=count - 1]:
                        continue
                else:
                    count += 1
                var j = count - 1
                while j > 0 and best[unsafe_offset=j - 1] > key:
                    best[unsafe_offset=j] = best[unsafe_offset=j - 1]
                    where_[unsafe_offset=j] = where_[unsafe_offset=j - 1]
                    j -= 1
                best[unsafe_offset=j] = key
                where_[unsafe_offset=j] = position
            if count == self.k:
                if best[unsafe_offset=count - 1] == 0:
                    break
                last = best[unsafe_offset=count - 1] - 1
        self._write(Int(where_), data, values, indices)
        scratch.give()

    def _write(self, words: Int, data: Int, values: Int, indices: Int):
        for j in range(self.k):
            var position = position_of(at[UInt64](words)[unsafe_offset=j])
            store[Int](indices + 8 * j, position)
            if self.keys.size == 4:
                at[UInt32](values)[unsafe_offset=j] = at[UInt32](data)[unsafe_offset=position]
            elif self.keys.size == 8:
                at[UInt64](values)[unsafe_offset=j] = at[UInt64](data)[unsafe_offset=position]
            else:
                memcpy(
                    values + j * self.keys.size,
                    data + position * self.keys.size,
                    self.keys.size,
                )


def nth(keys: Keys, data: Int, n: Int, k: Int) -> Int:
    """The position of the element that stands at k when the row is in (stable) order. `keys` is narrowed to it."""
    var rank = k
    var counts = Workspace.take(COUNT_BYTES)
    # the first digit is counted, and its candidates are picked, where the elements lie
    var digit = min(keys.bits, 8 if n < 2048 else DIGIT)
    var left = keys.bits - digit
    memset(counts.address, 0, 4 << digit)
    keys.count(data, n, left, counts.address)
    var bucket = _find(counts.address, rank)
    var m = Int(at[UInt32](counts.address)[unsafe_offset=bucket])
    var words = Workspace.take(8 * (m + 64))
    var first = keys.low + (UInt64(bucket) << UInt64(left + keys.shift))
    var last = first + ((UInt64(1) << UInt64(left + keys.shift)) - 1)
    _ = keys.collect(data, 0, n, first, last, words.address, m)
    var p = at[UInt64](words.address)
    var rest = keys.shift  # bits of the keys that are not in the words
    while m > _FEW and left + rest > 0:
        if left == 0:
            for i in range(m):
                var position = position_of(p[unsafe_offset=i])
                p[unsafe_offset=i] = (keys.at(data, position) - keys.low) << 32 | UInt64(position)
            left = rest
            rest = 0
        digit = min(left, 8 if m < 2048 else DIGIT)
        left -= digit
        m = _narrow(words.address, m, 32 + left, (1 << digit) - 1, counts.address, rank)
    if left + rest > 0:
        if rest > 0:
            for i in range(m):
                var position = position_of(p[unsafe_offset=i])
                p[unsafe_offset=i] = (keys.at(data, position) - keys.low) << 32 | UInt64(position)
            _insertion_wide(words.address, m, keys, data)
        else:
            insertion(words.address, 0, m)
    var position = position_of(p[unsafe_offset=rank])
    words.give()
    counts.give()
    return position


def _find(counts: Int, mut rank: Int) -> Int:
    """The bucket that holds the element of this rank; the rank becomes that within the bucket."""
    var bucket = 0
    while True:
        var count = Int(at[UInt32](counts)[unsafe_offset=bucket])
        if rank < count:
            return bucket
        rank -= count
        bucket += 1


def _narrow(words: Int, m: Int, shift: Int, mask: Int, counts: Int, mut rank: Int) -> Int:
    """Keeps the candidates whose digit is that of the element wanted; how many there are."""
    var p = at[UInt64](words)
    var by = UInt64(shift)
    memset(counts, 0, 4 * (mask + 1))
    for i in range(m):
        at[UInt32](counts)[unsafe_offset=Int(p[unsafe_offset=i] >> by) & mask] += 1
    var bucket = _find(counts, rank)
    var kept = 0
    for i in range(m):
        var word = p[unsafe_offset=i]
        p[unsafe_offset=kept] = word
        kept += Int(Int(word >> by) & mask == bucket)
    return kept


def _insertion_wide(words: Int, m: Int, keys: Keys, data: Int):
    """Sorts a few words by their elements' whole keys."""
    var p = at[UInt64](words)
    for i in range(1, m):
        var word = p[unsafe_offset=i]
        var key = keys.at(data, position_of(word))
        var j = i
        while j > 0 and keys.at(data, position_of(p[unsafe_offset=j - 1])) > key:
            p[unsafe_offset=j] = p[unsafe_offset=j - 1]
            j -= 1
        p[unsafe_offset=j] = word


# ---------------------------------------------------------------- ops


def _select(mut call: Call, kind: Int, t: TPtr, dim: Int, k: Int, keys: Keys) raises -> Obj:
    """A pair of lines, `k` (of TOP) or one element long, with `dim` still last."""
    var n = t[].shape[dim] if t[].rank() > 0 else 1
    var lines = lines_of(t, dim)
    var values: Obj = 0
    var indices: Obj = 0
    try:
        var shape = line_shape(t, dim, k if kind == TOP else 1)
        values = new_tensor(t[].code(), shape, t[].rank())
        indices = new_tensor(INT64, shape, t[].rank())
        if as_tensor(values)[].numel > 0:
            var work = Selection(kind, keys, k, as_tensor(lines)[].data(), n, t[].numel // n)
            work.values = as_tensor(values)[].data()
            work.indices = as_tensor(indices)[].data()
            work.execute()
    except e:
        decref(lines)
        xdecref(values)
        xdecref(indices)
        raise e^
    decref(lines)
    var pair = tuple_new(2)
    tuple_set(pair, 0, values)
    tuple_set(pair, 1, indices)
    return pair


def topk(mut call: Call) raises -> Obj:
    """Parameters (input, k, dim, largest)."""
    var t = call.tensor(0)
    var k = call.int(1)
    var dim = wrap_dim(call.int(2), t[].rank())
    var n = t[].shape[dim] if t[].rank() > 0 else 1
    var named = is_complex(t[].code()) or t[].code() == BOOL
    check_order(
        call,
        t,
        n,
        REAL,
        StaticString("topk") if named else StaticString("topk_cpu"),
    )
    if k < 0 or k > n:
        raise Error("RuntimeError|selected index k out of range")
    var lines = _select(call, TOP, t, dim, k, Keys(t[].code(), call.bool(3)))
    var pair = tuple_new(2)
    try:
        for i in range(2):
            var item = load[Int](lines + 24 + 8 * i)
            store[Int](lines + 24 + 8 * i, 0)
            tuple_set(pair, i, lines_back(item, dim))
    except e:
        decref(lines)
        decref(pair)
        raise e^
    decref(lines)
    return pair


def _one[kind: Int](mut call: Call, slot: Int, k: Int) raises -> Obj:
    """One element along a dimension: parameters (..., dim, keepdim) from `slot` on."""
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(slot), t[].rank())
    var n = t[].shape[dim] if t[].rank() > 0 else 1
    comptime LABEL = StaticString("kthvalue_cpu") if kind == NTH else StaticString(
        "mode_cpu"
    ) if kind == MODE else "median_cpu"
    check_order(call, t, n, ALL if kind == MODE else REAL, LABEL)
    if n == 0:
        raise call.fail(
            "IndexError",
            String(t"Expected reduction dim {dim} to have non-zero size."),
        )
    comptime if kind == NTH:
        if k < 1 or k > n:
            raise call.fail(
                "RuntimeError",
                String(t"selected number k out of range for dimension {dim}"),
            )
    var pair = _select(call, kind, t, dim, k - 1, Keys(t[].code(), False))
    var keepdim = call.bool(slot + 1)
    for i in range(2):
        drop_dim(as_tensor(load[Int](pair + 24 + 8 * i)), dim, keepdim)
    return pair


def kthvalue(mut call: Call) raises -> Obj:
    """Parameters (input, k, dim, keepdim)."""
    return _one[NTH](call, 2, call.int(1))


def median(mut call: Call) raises -> Obj:
    """Parameters (input, dim, keepdim)."""
    return _one[MEDIAN](call, 1, 0)


def nanmedian(mut call: Call) raises -> Obj:
    """Parameters (input, dim, keepdim)."""
    return _one[NAN_MEDIAN](call, 1, 0)


def _median_of_all[kind: Int](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var n = t[].numel
    var code = t[].code()
    check_order(call, t, n, REAL, "median_cpu")
    var result = new_tensor(code, no_dims(), 0)
    var to = as_tensor(result)[].data()
    if n == 0:
        # NaN, and what a cast of it gives where there is none
        memset(to, 0, 8)
        if code >= FLOAT16:
            memset(to, 255, itemsize(code))
            at[UInt8](to)[unsafe_offset=itemsize(code) - 1] = 127
        elif code == INT32 or code == INT64:
            at[UInt8](to)[unsafe_offset=itemsize(code) - 1] = 128
        return result
    var lines: Obj
    try:
        lines = contiguous_of(t, code)
    except e:
        decref(result)
        raise e^
    var index = Workspace.take(8)
    var work = Selection(kind, Keys(code, False), 0, as_tensor(lines)[].data(), n, 1)
    work.values = to
    work.indices = index.address
    work.execute()
    index.give()
    decref(lines)
    return result


def median_of_all(mut call: Call) raises -> Obj:
    """Parameters (input): the median of all elements, without its position."""
    return _median_of_all[MEDIAN](call)


def nanmedian_of_all(mut call: Call) raises -> Obj:
    """Parameters (input)."""
    return _median_of_all[NAN_MEDIAN](call)


def mode(mut call: Call) raises -> Obj:
    """Parameters (input, dim, keepdim)."""
    return _one[MODE](call, 1, 0)


@export("dumbtorch_register_select")
def register_select() abi("C") -> None:
    register[topk]("topk")
    register[kthvalue]("kthvalue")
    register[median]("median")
    register[nanmedian]("nanmedian")
    register[mode]("mode")
    register[median_of_all]("_median")
    register[nanmedian_of_all]("_nanmedian")
