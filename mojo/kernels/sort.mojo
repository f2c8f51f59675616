"""Sorting along a dimension, unique elements, and the order of rows."""

from std.ffi import external_call
from std.math import ceildiv
from tensor.call import Call, register
from tensor.dtype import INT64
from tensor.layout import dense_strides, no_dims, wrap_dim
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
from kernels.functor import EVERY
from kernels.keys import Keys, position_of
from kernels.lines import check_order, lines_into, lines_of
from kernels.results import finished, result_for, write_into
from kernels.radix import (
    COUNT_BYTES,
    FEW,
    Sorter,
    chunks_for,
    insertion,
    strip_keys,
)
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace

comptime _UNLOCK = 4096  # elements whose sorting is worth giving up the interpreter lock


struct Rows(Body):
    """Sorts contiguous rows: values (where wanted) and positions."""

    var keys: Keys
    var data: Int
    var n: Int
    var rows: Int
    var values: Int  # 0: only positions
    var indices: Int
    var chunks: Int
    var per_task: Int

    def __init__(
        out self,
        keys: Keys,
        data: Int,
        n: Int,
        rows: Int,
        values: Int,
        indices: Int,
    ):
        self.keys = keys
        self.data = data
        self.n = n
        self.rows = rows
        self.values = values
        self.indices = indices
        self.chunks = 1
        self.per_task = rows

    def execute(mut self):
        if self.n * self.rows < _UNLOCK:
            self.run(0, 0)
            return
        var held = release_gil()
        var threads = num_threads()
        if self.rows < threads:
            # few rows: threads share each of them
            self.chunks = chunks_for(self.n)
            self.run(0, 0)
        else:
            self.per_task = ceildiv(self.rows, min(self.rows, 4 * threads))
            parallel(self, ceildiv(self.rows, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        if self.n <= FEW and self.keys.size <= 4:
            self._short_rows(task)
            return
        # the words lie where the positions will
        var scratch = Workspace.take(8 * self.n + self.chunks * COUNT_BYTES)
        var width = self.n * self.keys.size
        for row in range(task * self.per_task, min((task + 1) * self.per_task, self.rows)):
            var indices = self.indices + 8 * self.n * row
            var counts = scratch.address + 8 * self.n
            var work = Sorter(
                self.keys,
                self.data + row * width,
                self.n,
                indices,
                scratch.address,
                counts,
                self.chunks,
            )
            work.sort()
            if self.values != 0:
                work.decode(self.values + row * width)
            strip_keys(work.a, indices, self.n)
        scratch.give()

    def _short_rows(self, task: Int):
        """Rows of a few elements, whose words hold any key."""
        var width = self.n * self.keys.size
        for row in range(task * self.per_task, min((task + 1) * self.per_task, self.rows)):
            var words = self.indices + 8 * self.n * row
            self.keys.encode(self.data + row * width, 0, self.n, words)
            insertion(words, 0, self.n)
            if self.values != 0:
                self.keys.decode(
                    words,
                    self.data + row * width,
                    0,
                    self.n,
                    self.values + row * width,
                )
            strip_keys(words, words, self.n)


def _sort[with_values: Bool](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(1), t[].rank())
    var n = t[].shape[dim] if t[].rank() > 0 else 1
    check_order(call, t, n, EVERY, "Sort")
    var keys = Keys(t[].code(), call.bool(2))
    var lines = lines_of(t, dim)
    var values: Obj = 0
    var indices: Obj = 0
    try:
        var shape = as_tensor(lines)[].shape.copy()
        var strides = dense_strides(t[].shape, t[].strides, t[].rank())
        indices = new_tensor(INT64, shape, t[].rank())
        comptime if with_values:
            values = new_tensor(t[].code(), shape, t[].rank())
        if t[].numel > 0:
            var to = as_tensor(values)[].data() if with_values else 0
            var work = Rows(
                keys,
                as_tensor(lines)[].data(),
                n,
                t[].numel // n,
                to,
                as_tensor(indices)[].data(),
            )
            work.execute()
        var taken = indices
        indices = 0
        indices = lines_into(taken, dim, strides)
        comptime if with_values:
            taken = values
            values = 0
            values = lines_into(taken, dim, strides)
    except e:
        xdecref(values)
        xdecref(indices)
        decref(lines)
        raise e^
    decref(lines)
    comptime if not with_values:
        return indices
    var pair = tuple_new(2)
    tuple_set(pair, 0, values)
    tuple_set(pair, 1, indices)
    return pair


def sort(mut call: Call) raises -> Obj:
    """Parameters (input, dim, descending): the sorted elements and where they were; equal elements keep their order."""
    return _sort[True](call)


def argsort(mut call: Call) raises -> Obj:
    """Parameters (input, dim, descending)."""
    return _sort[False](call)


# ---------------------------------------------------------------- unique


def unique(mut call: Call) raises -> Obj:
    """Parameters (input, inverse, counts): the sorted different elements; where each element went; how often each came.

    A NaN differs from every other."""
    var t = call.tensor(0)
    var n = t[].numel
    check_order(call, t, n, EVERY, "unique")
    var source = contiguous_of(t, t[].code())
    var work = Unique(t[].code(), as_tensor(source)[].data(), n)
    var values: Obj = 0
    var inverse: Obj = 0
    var counts: Obj = 0
    try:
        var want_inverse = call.bool(1)
        var want_counts = call.bool(2)
        var shape = no_dims()
        shape[0] = work.found
        values = new_tensor(t[].code(), shape, 1)
        shape[0] = work.found if want_counts else 0
        counts = new_tensor(INT64, shape, 1)
        shape[0] = 0
        if want_inverse:
            inverse = new_tensor(INT64, t[].shape, t[].rank())
        else:
            inverse = new_tensor(INT64, shape, 1)
        work.write(
            as_tensor(values)[].data(),
            as_tensor(inverse)[].data() if want_inverse else 0,
            as_tensor(counts)[].data() if want_counts else 0,
        )
    except e:
        work.scratch.give()
        decref(source)
        xdecref(values)
        xdecref(inverse)
        xdecref(counts)
        raise e^
    work.scratch.give()
    decref(source)
    var result = tuple_new(3)
    tuple_set(result, 0, values)
    tuple_set(result, 1, inverse)
    tuple_set(result, 2, counts)
    return result


struct Unique:
    """The different elements of a row: integers of a small range are counted, others are sorted."""

    var sorter: Sorter
    var scratch: Workspace
    var counted: Bool
    var found: Int

    def __init__(out self, code: Int, data: Int, n: Int):
        var keys = Keys(code, False)
        if n > 0:
            var ends = keys.range(data, n)
            keys.narrow(ends[0], ends[1])
        self.counted = not keys.floats and keys.exact() and keys.bits <= 16 and n > 0 and n >> keys.bits > 0
        var held = release_gil() if n >= _UNLOCK else 0
        if self.counted:
            self.scratch = Workspace.take(4 << keys.bits)
            self.sorter = Sorter(keys, data, n, self.scratch.address, 0, 0)
            memset(self.scratch.address, 0, 4 << keys.bits)
            keys.count(data, n, 0, self.scratch.address)
            self.found = 0
            for k in range(1 << keys.bits):
                self.found += Int(at[UInt32](self.scratch.address)[unsafe_offset=k] != 0)
        else:
            var chunks = chunks_for(n)
            self.scratch = Workspace.take(16 * n + chunks * COUNT_BYTES)
            var b = self.scratch.address + 8 * n
            self.sorter = Sorter(keys, data, n, self.scratch.address, b, b + 8 * n, chunks)
            self.found = self.sorter.sort_marked()
        if held != 0:
            take_gil(held)

    def write(self, values: Int, inverse: Int, counts: Int):
        """Writes the different elements; and unless 0, where each went and how often each came."""
        if not self.counted:
            _fill_unique(self.sorter, values, inverse, counts)
            return
        var keys = self.sorter.keys
        var table = at[UInt32](self.scratch.address)
        var run = 0
        for k in range(1 << keys.bits):
            var count = table[unsafe_offset=k]
            table[unsafe_offset=k] = UInt32(run)
            if count == 0:
                continue
            var bits = (UInt64(k) + keys.low) ^ keys.flip
            if keys.size == 8:
                at[UInt64](values)[unsafe_offset=run] = bits
            elif keys.size == 4:
                at[UInt32](values)[unsafe_offset=run] = bits.cast[DType.uint32]()
            elif keys.size == 2:
                at[UInt16](values)[unsafe_offset=run] = bits.cast[DType.uint16]()
            else:
                at[UInt8](values)[unsafe_offset=run] = bits.cast[DType.uint8]()
            if counts != 0:
                store[Int](counts + 8 * run, Int(count))
            run += 1
        if inverse != 0:
            for i in range(self.sorter.n):
                var k = Int(keys.at(self.sorter.data, i) - keys.low)
                store[Int](inverse + 8 * i, Int(table[unsafe_offset=k]))


def _fill_unique(work: Sorter, values: Int, inverse: Int, counts: Int):
    """From words whose top bit marks the first of each run."""
    var size = work.keys.size
    var words = at[UInt64](work.a)
    var run = -1
    var start = 0
    for i in range(work.n):
        var word = words[unsafe_offset=i]
        var position = position_of(word)
        if word >> 63 != 0:
            if run >= 0 and counts != 0:
                store[Int](counts + 8 * run, i - start)
            run += 1
            start = i
            if size == 4:
                at[UInt32](values)[unsafe_offset=run] = at[UInt32](work.data)[unsafe_offset=position]
            elif size == 8:
                at[UInt64](values)[unsafe_offset=run] = at[UInt64](work.data)[unsafe_offset=position]
            else:
                memcpy(values + size * run, work.data + size * position, size)
        if inverse != 0:
            store[Int](inverse + 8 * position, run)
    if run >= 0 and counts != 0:
        store[Int](counts + 8 * run, work.n - start)


# ---------------------------------------------------------------- the order of rows


def lexsort(mut call: Call) raises -> Obj:
    """Parameters (input): the order (int64) that sorts the rows of a matrix, first column first; stable."""
    var t = call.tensor(0)
    if t[].rank() != 2:
        raise call.fail("RuntimeError", "expects a matrix")
    var rows = t[].shape[0]
    check_order(call, t, rows, EVERY, "unique_dim")
    var columns = t[].shape[1]
    var source = contiguous_of(t, t[].code())
    var shape = no_dims()
    shape[0] = rows
    var result: Obj
    try:
        result = new_tensor(INT64, shape, 1)
    except e:
        decref(source)
        raise e^
    var keys = Keys(t[].code(), False)
    var order = as_tensor(result)[].data()
    var held = release_gil()
    # rows as strings of big-endian keys: memcmp compares them
    var width = columns * keys.size
    var scratch = Workspace.take(rows * width + 8 * rows + 64)
    var strings = scratch.address + 8 * rows
    for i in range(rows * columns):
        var key = keys.at(as_tensor(source)[].data(), i)
        for byte in range(keys.size):
            var shift = UInt64(8 * (keys.size - 1 - byte))
            at[UInt8](strings)[unsafe_offset=i * keys.size + byte] = ((key >> shift) & 255).cast[DType.uint8]()
    for i in range(rows):
        store[Int](order + 8 * i, i)
    _merge_order(order, scratch.address, rows, strings, width)
    scratch.give()
    take_gil(held)
    decref(source)
    return result


def _merge_order(order: Int, spare: Int, n: Int, strings: Int, width: Int):
    """Merges runs of 1, 2, 4, ... positions until they are in order."""
    var a = order
    var b = spare
    var run = 1
    while run < n:
        var start = 0
        while start < n:
            var i = start
            var middle = min(start + run, n)
            var j = middle
            var end = min(middle + run, n)
            for k in range(start, end):
                var first = j >= end
                if i < middle and j < end:
                    var x = strings + load[Int](a + 8 * i) * width
                    first = compare(x, strings + load[Int](a + 8 * j) * width, width) <= 0
                if first:
                    store[Int](b + 8 * k, load[Int](a + 8 * i))
                    i += 1
                else:
                    store[Int](b + 8 * k, load[Int](a + 8 * j))
                    j += 1
            start = end
        swap(a, b)
        run *= 2
    if a != order:
        memcpy(order, a, 8 * n)


@always_inline
def compare(a: Int, b: Int, n: Int) -> Int:
    return Int(external_call["memcmp", Int32](a, b, n))


def result(mut call: Call) raises -> Obj:
    """Parameters (input): what Python writes into an `out=` tensor, which takes its shape."""
    var t = call.tensor(0)
    var made = result_for(call, t[].code(), t[].shape, t[].rank(), t[].device())
    try:
        write_into(made, Int(t))
    except e:
        decref(made)
        raise e^
    return finished(call, made)


@export("dumbtorch_register_sort")
def register_sort() abi("C") -> None:
    register[sort]("sort")
    register[argsort]("argsort")
    register[unique]("_unique")
    register[lexsort]("_lexsort")
    register[result]("_result")
