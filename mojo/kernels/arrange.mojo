"""Elements in other places: `roll`, padding by the elements at the edges, and the index of `repeat_interleave`."""

from std.math import ceildiv
from std.memory import Pointer
from tensor.call import Call, int_of, register
from tensor.dtype import INT64, itemsize
from tensor.layout import Dims, no_dims, shape_text, wrap_dim
from tensor.memory import at, load, memcpy, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, is_sequence, release_gil, seq_item, seq_len, take_gil
from tensor.runtime import MAX_RANK
from tensor.threads import Body, num_threads, parallel
from kernels.constants import check_fits, number_bits
from kernels.transfer import fill_run
from kernels.transfer_api import contiguous_of, copy_strided, on_device, on_host

comptime ALONE = 1 << 18  # bytes that are not worth a second thread
comptime SMALL_PLANE = 1 << 14  # bytes that stay in the nearest cache


# ---------------------------------------------------------------- roll


def roll(mut call: Call) raises -> Obj:
    """Parameters (input, shifts, dims): one shift for each dimension (a dimension may come twice)."""
    var given = call.tensor(0)
    var shifts = no_dims()
    var dims = no_dims()
    var k = call.dims(1, shifts)
    var l = call.dims(2, dims)
    if k != l:
        raise Error(t"RuntimeError|shifts and dimensions must align. shifts: {k}, dims:{l}")
    var n = given[].rank()
    var cut = no_dims()  # for each dimension, where its elements begin in the result
    for i in range(k):
        var d = wrap_dim(dims[i], n)
        var size = given[].shape[d] if n > 0 else 1
        if size > 0:
            cut[d] = (cut[d] + shifts[i]) % size
    var host = on_host(given)
    var t = as_tensor(host)
    var made: Obj
    try:
        made = new_tensor(t[].code(), t[].shape, n)
        if t[].numel > 0:
            _blocks(as_tensor(made), t, cut, 0, 0, 0, t[].shape)
    finally:
        decref(host)
    return on_device(made, given[].device())


def _blocks(to: TPtr, t: TPtr, cut: Dims, dim: Int, to_offset: Int, from_offset: Int, shape: Dims):
    """Copies the block of `shape`, halved along the dimensions from `dim` on that are cut."""
    var d = dim
    while d < t[].rank() and cut[d] == 0:
        d += 1
    if d >= t[].rank():
        var size = itemsize(t[].code())
        copy_strided(
            to[].data() + to_offset * size, t[].code(), to[].strides, t[].data() + from_offset * size, t[].code(),
            t[].strides, shape, t[].rank()
        )  # fmt: skip
        return
    var n = t[].shape[d]
    var head = shape.copy()
    head[d] = n - cut[d]
    _blocks(to, t, cut, d + 1, to_offset + cut[d] * to[].strides[d], from_offset, head)
    head[d] = cut[d]
    _blocks(to, t, cut, d + 1, to_offset, from_offset + (n - cut[d]) * t[].strides[d], head)


# ---------------------------------------------------------------- edges

comptime REFLECT = 0
comptime REPLICATE = 1
comptime CIRCULAR = 2
comptime CONSTANT = 3
comptime OUTSIDE = Int.MIN  # in a table: a place that shows the constant


struct Edges(Body):
    """Rows of the padded tensor: a middle that is the input's row, and elements of it on both sides."""

    var to: Int
    var from_: Int
    var size: Int
    var rows: Int
    var per_task: Int
    var shape: Dims  # of the result
    var strides: Dims  # of the input, in bytes
    var tables: Dims  # for each dimension: where each place is read, in bytes; 0 where it is not padded
    var ndim: Int
    var left: Int  # in the last dimension
    var middle: Int
    var skip: Int  # bytes from where a row begins to its middle: what is cut off at the left
    var top: Int  # rows of a plane before those of the input
    var shown: Int  # rows of the input in a plane
    var top_skip: Int  # bytes from where a plane begins to the first of them
    var constant: Bool
    var value: Array[UInt64, 2]  # the bits of the constant

    def __init__(out self, to: Int, t: TPtr, shape: Dims):
        self.to = to
        self.from_ = t[].data()
        self.size = itemsize(t[].code())
        self.ndim = t[].rank()
        self.rows = 1
        for i in range(self.ndim - 1):
            self.rows *= shape[i]
        self.per_task = max(self.rows, 1)
        self.shape = shape.copy()
        self.strides = no_dims()
        for i in range(self.ndim):
            self.strides[i] = t[].strides[i] * self.size
        self.tables = no_dims()
        self.left = 0
        self.middle = t[].shape[self.ndim - 1]
        self.skip = 0
        self.top = 0
        self.shown = shape[self.ndim - 2] if self.ndim > 1 else 1
        self.top_skip = 0
        self.constant = False
        self.value = Array[UInt64, 2](fill=0)

    def execute(mut self):
        var bytes = self.rows * self.shape[self.ndim - 1] * self.size
        if num_threads() == 1 or bytes < ALONE or self.rows < 2:
            self.run(0, 0)
            return
        self.per_task = ceildiv(self.rows, 4 * num_threads())
        var held = release_gil()
        parallel(self, ceildiv(self.rows, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        if self.size == 1:
            self._rows[UInt8](task)
        elif self.size == 2:
            self._rows[UInt16](task)
        elif self.size == 4:
            self._rows[UInt32](task)
        elif self.size == 8:
            self._rows[UInt64](task)
        else:
            self._rows[SIMD[DType.uint64, 2]](task)

    @always_inline
    def _rows[E: TrivialRegisterPassable](self, task: Int):
        var last = self.ndim - 1
        var n = self.shape[last]
        var inner = self.shape[last - 1] if last > 0 else 1  # rows of a plane
        var row = task * self.per_task
        var end = min(row + self.per_task, self.rows)
        var value = Pointer(to=self.value).unsafe_bitcast[E]()[]
        var to = self.to + row * n * self.size
        while row < end:
            var place = row % inner
            var stop = min(place + end - row, inner)
            row += stop - place
            var plane = self._plane(row // inner if stop < inner else row // inner - 1)
            if self.constant and stop - place == inner and inner * n * self.size <= SMALL_PLANE:
                self._constant_plane(to, plane, inner * n)
                to += inner * n * self.size
                continue
            while place < stop:
                var offset = plane if last == 0 else self._offset(last - 1, place)
                if plane == OUTSIDE or offset == OUTSIDE:
                    for i in range(n):
                        store[E](to + i * self.size, value)
                else:
                    self._row[E](to, self.from_ + (0 if last == 0 else plane + offset), n, value)
                to += n * self.size
                place += 1

    def _constant_plane(self, to_: Int, plane: Int, count: Int):
        """A plane that fits the nearest cache: filled as a whole, then the rows of the input."""
        fill_run(to_, self.size, self.size, count, self.value[0], self.value[1])
        if plane == OUTSIDE:
            return
        var last = self.ndim - 1
        var bytes = self.middle * self.size
        var line = self.shape[last] * self.size
        var step = self.strides[last - 1] if last > 0 else 0
        var to = to_ + self.top * line + self.left * self.size
        var from_ = self.from_ + plane + self.top_skip + self.skip
        for _ in range(self.shown):
            _copy_row(to, from_, bytes)
            to += line
            from_ += step

    @always_inline
    def _offset(self, d: Int, place: Int) -> Int:
        """Where a place of a dimension is read, in bytes."""
        if self.tables[d] == 0:
            return place * self.strides[d]
        return load[Int](self.tables[d] + 8 * place)

    def _plane(self, index: Int) -> Int:
        """Where the plane of this number is read; OUTSIDE if any of its places is."""
        var offset = 0
        var rest = index
        for j in range(self.ndim - 2):
            var d = self.ndim - 3 - j
            var here = self._offset(d, rest % self.shape[d])
            if here == OUTSIDE:
                return OUTSIDE
            offset += here
            rest //= self.shape[d]
        return offset

    @always_inline
    def _row[E: TrivialRegisterPassable](self, to_: Int, from_: Int, n: Int, value: E):
        var last = self.ndim - 1
        var to = to_
        var table = self.tables[last]
        for i in range(self.left):
            var offset = load[Int](table + 8 * i)
            store[E](to + i * self.size, value if offset == OUTSIDE else load[E](from_ + offset))
        for i in range(self.left + self.middle, n):
            var offset = load[Int](table + 8 * i)
            store[E](to + i * self.size, value if offset == OUTSIDE else load[E](from_ + offset))
        to += self.left * self.size
        var source = from_ + self.skip
        if self.strides[last] == self.size:
            _copy_row(to, source, self.middle * self.size)
        else:
            for i in range(self.middle):
                store[E](to + i * self.size, load[E](source + i * self.strides[last]))


@always_inline
def _copy_row(to: Int, from_: Int, bytes: Int):
    """memcpy, without the call for few bytes."""
    var t = at[UInt8](to)
    var f = at[UInt8](from_)
    if bytes > 128:
        memcpy(to, from_, bytes)
    elif bytes >= 16:
        for i in range(0, bytes - 16, 16):
            t.unsafe_store(i, f.unsafe_load[width=16](i))
        t.unsafe_store(bytes - 16, f.unsafe_load[width=16](bytes - 16))
    else:
        var i = 0
        while i + 4 <= bytes:
            store[UInt32](to + i, load[UInt32](from_ + i))
            i += 4
        while i < bytes:
            store[UInt8](to + i, load[UInt8](from_ + i))
            i += 1


def _place(i: Int, n: Int, kind: Int) -> Int:
    """The element that stands at place i, counted from the first of n."""
    if kind == REPLICATE:
        return min(max(i, 0), n - 1)
    if kind == CIRCULAR:
        return i % n
    # a size of 1 has nothing to reflect, and the caller has refused it
    var v = -i if i < 0 else i
    return 2 * (n - 1) - v if v >= n else v


def pad_edges(mut call: Call) raises -> Obj:
    """Parameters (input, pad, kind): (left, right) of the last dimension, of the one before, ...; not negative."""
    return _pad(call, call.int(2))


def pad_constant(mut call: Call) raises -> Obj:
    """Parameters (input, pad, value): the same with one number around; negative numbers cut."""
    return _pad(call, CONSTANT)


def _pad(call: Call, kind: Int) raises -> Obj:
    var given = call.tensor(0)
    var n = given[].rank()
    if is_sequence(call.obj(1)) and seq_len(call.obj(1)) > 2 * n:
        raise call.fail("RuntimeError", String(t"{seq_len(call.obj(1))} numbers for {n} dimensions"))
    var pairs = Array[Int, 2 * MAX_RANK](fill=0)
    var k = 1
    if is_sequence(call.obj(1)):
        k = seq_len(call.obj(1))
        for i in range(k):
            pairs[i] = int_of(seq_item(call.obj(1), i), call, 1)
    else:
        pairs[0] = call.int(1)
    if k % 2 != 0:
        raise call.fail("RuntimeError", "the padding must hold a pair for each dimension")
    var shape = given[].shape.copy()
    for i in range(k // 2):
        var d = n - 1 - i
        var left = pairs[2 * i]
        var right = pairs[2 * i + 1]
        var size = given[].shape[d]
        shape[d] = size + left + right
        if kind == CONSTANT:
            if shape[d] < 0 or -left > size or -right > size:
                raise Error(
                    t"RuntimeError|The input size {size}, plus negative padding"
                    t" {left} and {right} resulted in a negative output size,"
                    t" which is invalid. Check dimension {d} of your input."
                )
            continue
        var most = size - 1 if kind == REFLECT else (size if kind == CIRCULAR else Int.MAX)
        if left < 0 or right < 0 or max(left, right) > most or (size == 0 and left + right > 0):
            raise call.fail(
                "RuntimeError",
                String(t"padding ({left}, {right}) of dimension {d} does not fit {shape_text(given[].shape, n)}"),
            )
    var bits: Tuple[UInt64, UInt64] = (UInt64(0), UInt64(0))
    if kind == CONSTANT:
        var number = call.scalar(2)
        check_fits(given[].code(), number)
        bits = number_bits(given[].code(), number)
    var host = on_host(given)
    var t = as_tensor(host)
    var tables = List[Int]()
    var made: Obj = 0
    try:
        made = new_tensor(t[].code(), shape, n)
        if n == 0:
            memcpy(as_tensor(made)[].data(), t[].data(), itemsize(t[].code()))
        elif as_tensor(made)[].numel > 0:
            var work = Edges(as_tensor(made)[].data(), t, shape)
            work.value[0] = bits[0]
            work.value[1] = bits[1]
            for i in range(k // 2):
                var d = n - 1 - i
                var left = pairs[2 * i]
                if left == 0 and pairs[2 * i + 1] == 0:
                    continue
                if i == 0:
                    work.left = max(left, 0)
                    work.skip = max(-left, 0) * work.strides[d]
                    work.middle = t[].shape[d] + min(left, 0) + min(pairs[1], 0)
                elif i == 1:
                    work.top = max(left, 0)
                    work.top_skip = max(-left, 0) * work.strides[d]
                    work.shown = t[].shape[d] + min(left, 0) + min(pairs[3], 0)
                var table = _table(shape[d], left, t[].shape[d], kind, work.strides[d])
                tables.append(table)
                work.tables[d] = as_tensor(table)[].data()
            work.constant = kind == CONSTANT and work.strides[n - 1] == work.size
            work.execute()
    except e:
        decref(host)
        if made != 0:
            decref(made)
        for table in tables:
            decref(table)
        raise e^
    decref(host)
    for table in tables:
        decref(table)
    return on_device(made, given[].device())


def _table(n: Int, left: Int, size: Int, kind: Int, step: Int) raises -> Obj:
    """Where each of n places is read, in bytes: an int64 vector."""
    var shape = no_dims()
    shape[0] = n
    var made = new_tensor(INT64, shape, 1)
    var p = at[Int](as_tensor(made)[].data())
    for i in range(n):
        if kind == CONSTANT:
            p[unsafe_offset=i] = (i - left) * step if i >= left and i - left < size else OUTSIDE
        else:
            p[unsafe_offset=i] = _place(i - left, size, kind) * step
    return made


# ---------------------------------------------------------------- repeat_interleave


def repeat_index(mut call: Call) raises -> Obj:
    """Parameters (repeats, output_size): each number n of a vector's places, repeated `repeats[n]` times."""
    var given = call.tensor(0)
    if given[].rank() != 1:
        raise Error("RuntimeError|repeat_interleave only accept 1D vector as repeat")
    var repeats = contiguous_of(given, INT64)
    if given[].device() != 0:
        var moved = on_host(as_tensor(repeats))
        decref(repeats)
        repeats = moved
    var counts = as_tensor(repeats)[].data()
    var made: Obj
    try:
        var total = 0
        for i in range(given[].numel):
            var count = load[Int](counts + 8 * i)
            if count < 0:
                raise Error("RuntimeError|repeats can not be negative")
            total += count
        if not call.is_none(1) and call.int(1) != total:
            raise Error(
                t"RuntimeError|repeat_interleave: Invalid output_size, expected"
                t" the sum of repeats, {total}, but got {call.int(1)}"
            )
        var shape = no_dims()
        shape[0] = total
        made = new_tensor(INT64, shape, 1)
        var to = as_tensor(made)[].data()
        for i in range(given[].numel):
            for _ in range(load[Int](counts + 8 * i)):
                store[Int](to, i)
                to += 8
    finally:
        decref(repeats)
    return on_device(made, given[].device())


@export("dumbtorch_register_arrange")
def register_arrange() abi("C") -> None:
    register[roll]("roll")
    register[pad_edges]("pad_edges")
    register[pad_constant]("pad_constant")
    register[repeat_index]("repeat_index")
