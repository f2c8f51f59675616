"""Elements in other places: `roll`, padding by the elements at the edges, and the index of `repeat_interleave`."""

from std.math import ceildiv
from std.memory import Pointer
from tensor.call import Call, int_of, register
from tensor.dtype import INT64, itemsize
from tensor.layout import Dims, no_dims, shape_text, wrap_dim
from tensor.memory import load, memcpy, store
from tensor.move import strided_copy
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, is_sequence, release_gil, seq_item, seq_len, take_gil
from tensor.runtime import MAX_RANK
from tensor.threads import Body, num_threads
from kernels.constants import check_fits, number_bits
from kernels.copy_rows import copy_rows
from kernels.transfer import fill_run, reversed_copy
from kernels.transfer_api import contiguous_of, copy_strided, on_device, on_host
from kernels.unlocked import LONG, run_tasks

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
comptime OUTSIDE = Int.MIN  # for an offset: the place shows the constant
comptime NARROW = 8  # places at a side that are written column by column


struct Edges(Body):
    """Rows of the padded tensor: a middle that is the input's row, and elements of it on both sides."""

    var to: Int
    var from_: Int
    var size: Int
    var kind: Int
    var rows: Int
    var per_task: Int
    var shape: Dims  # of the result
    var strides: Dims  # of the input, in bytes
    var sizes: Dims  # of the input
    var before: Dims  # places before those of the input, negative where it is cut
    var after: Dims
    var ndim: Int
    var value: Array[UInt64, 2]  # the bits of the constant

    def __init__(out self, to: Int, t: TPtr, shape: Dims, kind: Int):
        self.to = to
        self.from_ = t[].data()
        self.size = itemsize(t[].code())
        self.kind = kind
        self.ndim = t[].rank()
        self.rows = 1
        for i in range(self.ndim - 1):
            self.rows *= shape[i]
        self.per_task = max(self.rows, 1)
        self.shape = shape.copy()
        self.strides = no_dims()
        for i in range(self.ndim):
            self.strides[i] = t[].strides[i] * self.size
        self.sizes = t[].shape.copy()
        self.before = no_dims()
        self.after = no_dims()
        self.value = Array[UInt64, 2](fill=0)

    def execute(mut self):
        var bytes = self.rows * self.shape[self.ndim - 1] * self.size
        if num_threads() > 1 and bytes >= ALONE:
            self.per_task = ceildiv(self.rows, 4 * num_threads())
        run_tasks(self, ceildiv(self.rows, max(self.per_task, 1)), bytes // self.size)

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
    def _shown(self, d: Int) -> Tuple[Int, Int]:
        """The places of a dimension that show the input's own."""
        var first = max(self.before[d], 0)
        return (first, first + self.sizes[d] + min(self.before[d], 0) + min(self.after[d], 0))

    @always_inline
    def _rows[E: TrivialRegisterPassable](self, task: Int):
        var last = self.ndim - 1
        var n = self.shape[last]
        var line = n * self.size
        var inner = self.shape[last - 1] if last > 0 else 1  # rows of a plane
        var shown = self._shown(last - 1) if last > 0 else (0, 1)
        var most = max(SMALL_PLANE // line, 1)
        var whole = self.kind == CONSTANT and inner * line <= SMALL_PLANE and self.strides[last] == self.size
        var row = task * self.per_task
        var end = min(row + self.per_task, self.rows)
        var to = self.to + row * line
        while row < end:
            var place = row % inner
            var stop = min(place + end - row, inner)
            var plane = self._plane(row // inner)
            row += stop - place
            if whole and stop - place == inner:
                self._constant_plane(to, plane, inner * n)
                to += inner * line
                continue
            if self.kind != CONSTANT and stop - place == inner and last > 0 and inner * line <= SMALL_PLANE:
                self._part[E](to + shown[0] * line, self.from_ + plane, self.strides[last - 1], shown[1] - shown[0])
                self._repeat(to, line, 0, shown[0])
                self._repeat(to, line, shown[1], inner)
                to += inner * line
                continue
            while place < stop:
                # the rows before those of the input, these, and those after them each lie evenly apart
                var border = inner
                if place < shown[0]:
                    border = shown[0]
                elif place < shown[1]:
                    border = shown[1]
                var count = min(min(border, stop) - place, most)
                var offset = self._offset(last - 1, place) if last > 0 else 0
                if plane == OUTSIDE or offset == OUTSIDE:
                    fill_run(to, self.size, self.size, count * n, self.value[0], self.value[1])
                else:
                    var step = self._offset(last - 1, place + 1) - offset if count > 1 else 0
                    self._part[E](to, self.from_ + plane + offset, step, count)
                to += count * line
                place += count

    @always_inline
    def _repeat(self, to: Int, line: Int, first: Int, end: Int):
        """Rows outside of the input, from those of the same plane that show it."""
        if first == end:
            return
        var d = self.ndim - 2
        var n = self.sizes[d]
        var source = self.before[d] + _place(first - self.before[d], n, self.kind)
        var step = self.before[d] + _place(first + 1 - self.before[d], n, self.kind) - source if end - first > 1 else 0
        if step == 1:
            copy_rows(to + first * line, 0, to + source * line, 0, (end - first) * line, 1)
        else:
            copy_rows(to + first * line, line, to + source * line, step * line, line, end - first)

    def _constant_plane(self, to: Int, plane: Int, count: Int):
        """A plane that fits the nearest cache: filled as a whole, then the rows of the input."""
        fill_run(to, self.size, self.size, count, self.value[0], self.value[1])
        if plane == OUTSIDE:
            return
        var last = self.ndim - 1
        var line = self.shape[last] * self.size
        var columns = self._shown(last)
        var from_ = self.from_ + plane + max(-self.before[last], 0) * self.size
        if last == 0:
            copy_rows(to + columns[0] * self.size, 0, from_, 0, (columns[1] - columns[0]) * self.size, 1)
            return
        var rows = self._shown(last - 1)
        copy_rows(
            to + rows[0] * line + columns[0] * self.size, line,
            from_ + max(-self.before[last - 1], 0) * self.strides[last - 1], self.strides[last - 1],
            (columns[1] - columns[0]) * self.size, rows[1] - rows[0],
        )  # fmt: skip

    @always_inline
    def _offset(self, d: Int, place: Int) -> Int:
        """Where a place of a dimension is read, in bytes; OUTSIDE if it shows the constant."""
        var i = place - self.before[d]
        if i < 0 or i >= self.sizes[d]:
            if self.kind == CONSTANT:
                return OUTSIDE
            i = _place(i, self.sizes[d], self.kind)
        return i * self.strides[d]

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
    def _part[E: TrivialRegisterPassable](self, to: Int, from_: Int, step: Int, rows: Int):
        """Rows that are read `step` bytes apart."""
        var last = self.ndim - 1
        var line = self.shape[last] * self.size
        var along = self.strides[last]
        var shown = self._shown(last)
        var middle = to + shown[0] * self.size
        var source = from_ + max(-self.before[last], 0) * along
        if along == self.size:
            copy_rows(middle, line, source, step, (shown[1] - shown[0]) * self.size, rows)
        else:
            for r in range(rows):
                strided_copy(source + r * step, along, middle + r * line, self.size, self.size, shown[1] - shown[0])
        self._side[E](to, from_, step, rows, 0, shown[0])
        self._side[E](to, from_, step, rows, shown[1], self.shape[last])

    @always_inline
    def _side[E: TrivialRegisterPassable](self, to: Int, from_: Int, step: Int, rows: Int, first: Int, end: Int):
        """The places [first, end) of rows, all of them on one side of the middle: few by columns, many by rows."""
        var last = self.ndim - 1
        var line = self.shape[last] * self.size
        var value = Pointer(to=self.value).unsafe_bitcast[E]()[]
        if end - first <= NARROW:
            for i in range(first, end):
                var target = to + i * self.size
                var offset = self._offset(last, i)
                if offset == OUTSIDE:
                    for r in range(rows):
                        store[E](target + r * line, value)
                else:
                    for r in range(rows):
                        store[E](target + r * line, load[E](from_ + offset + r * step))
            return
        var offset = self._offset(last, first)
        var along = 0 if offset == OUTSIDE else self._offset(last, first + 1) - offset
        for r in range(rows):
            var target = to + r * line + first * self.size
            if offset == OUTSIDE:
                fill_run(target, self.size, self.size, end - first, self.value[0], self.value[1])
            elif along == -self.size:
                reversed_copy(target, from_ + offset + r * step, self.size, end - first)
            else:
                strided_copy(from_ + offset + r * step, along, target, self.size, self.size, end - first)


def _place(i: Int, n: Int, kind: Int) -> Int:
    """The element that stands at place i, counted from the first of n; at most n places before them and after."""
    if kind == REPLICATE:
        return min(max(i, 0), n - 1)
    if kind == CIRCULAR:
        return i + n if i < 0 else (i - n if i >= n else i)
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
    var made: Obj = 0
    try:
        made = new_tensor(t[].code(), shape, n)
        if n == 0:
            memcpy(as_tensor(made)[].data(), t[].data(), itemsize(t[].code()))
        elif as_tensor(made)[].numel > 0:
            var work = Edges(as_tensor(made)[].data(), t, shape, kind)
            work.value[0] = bits[0]
            work.value[1] = bits[1]
            for i in range(k // 2):
                work.before[n - 1 - i] = pairs[2 * i]
                work.after[n - 1 - i] = pairs[2 * i + 1]
            work.execute()
    except e:
        decref(host)
        if made != 0:
            decref(made)
        raise e^
    decref(host)
    return on_device(made, given[].device())


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
        var least = 0
        var held = release_gil() if given[].numel >= LONG else 0
        for i in range(given[].numel):
            var count = load[Int](counts + 8 * i)
            least = min(least, count)
            total += count
        if held != 0:
            take_gil(held)
        if least < 0:
            raise Error("RuntimeError|repeats can not be negative")
        if not call.is_none(1) and call.int(1) != total:
            raise Error(
                t"RuntimeError|repeat_interleave: Invalid output_size, expected"
                t" the sum of repeats, {total}, but got {call.int(1)}"
            )
        var shape = no_dims()
        shape[0] = total
        made = new_tensor(INT64, shape, 1)
        var to = as_tensor(made)[].data()
        held = release_gil() if total >= LONG else 0
        for i in range(given[].numel):
            for _ in range(load[Int](counts + 8 * i)):
                store[Int](to, i)
                to += 8
        if held != 0:
            take_gil(held)
    finally:
        decref(repeats)
    return on_device(made, given[].device())


@export("dumbtorch_register_arrange")
def register_arrange() abi("C") -> None:
    register[roll]("roll")
    register[pad_edges]("pad_edges")
    register[pad_constant]("pad_constant")
    register[repeat_index]("repeat_index")
