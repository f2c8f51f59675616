"""Putting tensors together (`cat`) and turning them round (`flip`)."""

from std.ffi import external_call
from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import itemsize, type_name
from tensor.layout import Dims, contiguous_strides, dense_strides, no_dims, same_dims, wrap_dim
from tensor.memory import at, load
from tensor.move import STREAM_BYTES, stream_copy, stream_fence, strided_copy
from tensor.object import TPtr, as_tensor, is_tensor, new_strided, view_of
from tensor.promote import ResultType, can_cast
from tensor.py import Obj, decref, is_sequence, new_ref, release_gil, seq_item, seq_len, take_gil, type_name_of
from tensor.threads import Body, num_threads, parallel
from kernels.copy_rows import copy_rows
from kernels.index_api import check_apart
from kernels.pointwise import check_writable, resize_out
from kernels.transfer_api import copy_into, copy_strided, on_host


@always_inline
def _skipped(t: TPtr) -> Bool:
    """An empty vector fits anywhere: code from before empty tensors had shapes relies on it."""
    return t[].rank() == 1 and t[].shape[0] == 0


def _is_channels_last(t: TPtr) -> Bool:
    var s = t[].shape.copy()
    return (
        t[].rank() == 4
        and not t[].contiguous()
        and t[].strides[1] == 1
        and t[].strides[3] == s[1]
        and t[].strides[2] == s[1] * s[3]
        and t[].strides[0] == s[1] * s[3] * s[2]
    )


def cat(mut call: Call) raises -> Obj:
    """(tensors, dim): the tensors one after the other along a dimension; dtypes are promoted."""
    var list = call.obj(0)
    if not is_sequence(list):
        raise call.type_error(0, "tuple of Tensors")
    var count = seq_len(list)
    if count == 0:
        raise Error("ValueError|torch.cat(): expected a non-empty list of Tensors")
    var types = ResultType()
    var model = -1
    var device = 0
    for i in range(count):
        var o = seq_item(list, i)
        if not is_tensor(o):
            raise Error(t"TypeError|expected Tensor as element {i} in argument 0, but got {type_name_of(o)}")
        var t = as_tensor(o)
        if t[].rank() == 0:
            raise Error(t"RuntimeError|zero-dimensional tensor (at position {i}) cannot be concatenated")
        types.add_tensor(t)
        if i == 0:
            device = t[].device()
        elif t[].device() != device:
            raise Error("RuntimeError|cat(): expected all tensors to be on the same device; move them with .to()")
        if model < 0 and not _skipped(t):
            model = i
    var code = types.result()
    var first = as_tensor(seq_item(list, max(model, 0)))
    var n = first[].rank()
    var dim = wrap_dim(call.int(1), n) if model >= 0 else 0
    var shape = first[].shape.copy()
    var channels_last = True
    var total = 0
    for i in range(count):
        var t = as_tensor(seq_item(list, i))
        if _skipped(t):
            continue
        if t[].rank() != n:
            raise Error(t"RuntimeError|Tensors must have same number of dimensions: got {n} and {t[].rank()}")
        for d in range(n):
            if d != dim and t[].shape[d] != shape[d]:
                raise Error(
                    t"RuntimeError|Sizes of tensors must match except in dimension {dim}. Expected size {shape[d]} but"
                    t" got size {t[].shape[d]} for tensor number {i} in the list."
                )
        total += t[].shape[dim]
        channels_last = channels_last and _is_channels_last(t)
    shape[dim] = total
    if call.out != 0:
        return _into(call, list, count, code, shape, n, dim)
    var strides = contiguous_strides(shape, n)
    if channels_last and model >= 0:
        strides[1] = 1
        strides[3] = shape[1]
        strides[2] = shape[1] * shape[3]
        strides[0] = strides[2] * shape[2]
    var made = new_strided(code, shape, strides, n, device)
    try:
        if device == 0:
            _fill(as_tensor(made), list, count, dim)
        else:
            _fill_views(as_tensor(made), list, count, dim)
    except e:
        decref(made)
        raise e^
    return made


def _into(call: Call, list: Obj, count: Int, code: Int, shape: Dims, n: Int, dim: Int) raises -> Obj:
    var t = as_tensor(call.out)
    if not can_cast(code, t[].code()):
        raise Error(
            t"TypeError|torch.cat(): input types can't be cast to the desired output type {type_name(t[].code())}"
        )
    for i in range(count):
        check_apart(t, as_tensor(seq_item(list, i)))
    if t[].rank() != n or not same_dims(t[].shape, shape, n):
        resize_out(t, shape, n)
    check_writable(t)
    if t[].device() == 0:
        _fill(t, list, count, dim)
        return new_ref(call.out)
    _fill_views(t, list, count, dim)
    return new_ref(call.out)


def _fill_views(out_: TPtr, list: Obj, count: Int, dim: Int) raises:
    """Writes the parts into views of a tensor on a device."""
    var shape = out_[].shape.copy()
    var at = out_[].offset
    for i in range(count):
        var t = as_tensor(seq_item(list, i))
        if t[].numel == 0:
            continue
        shape[dim] = t[].shape[dim]
        var view = view_of(out_, at, shape, out_[].strides, out_[].rank())
        try:
            copy_into(as_tensor(view), t)
        finally:
            decref(view)
        at += t[].shape[dim] * out_[].strides[dim]


def _fill(out_: TPtr, list: Obj, count: Int, dim: Int) raises:
    """Writes the parts into a tensor in host memory."""
    if out_[].numel > 0 and out_[].contiguous() and _fill_rows(out_, list, count, dim):
        return
    var size = itemsize(out_[].code())
    var at = out_[].writable()
    for i in range(count):
        var given = as_tensor(seq_item(list, i))
        if given[].numel == 0:
            continue
        var host = on_host(given)
        var t = as_tensor(host)
        copy_strided(at, out_[].code(), out_[].strides, t[].data(), t[].code(), t[].strides, t[].shape, t[].rank())
        at += t[].shape[dim] * out_[].strides[dim] * size
        decref(host)


# ---------------------------------------------------------------- parts that are rows

comptime ALONE = 1 << 18  # bytes that are not worth a second thread
comptime BLOCK = 1 << 14  # bytes of whole rows that stay in the nearest cache
comptime FAR = 1024  # bytes of a run that are worth storing around the caches
comptime PART = 3  # words that describe a part: its address, the bytes from row to row and of a row


@fieldwise_init
struct Joined(Body):
    """Rows of the result, each a run of bytes of every part; tasks are stretches of the result."""

    var to: Int
    var line: Int  # bytes of a row
    var total: Int
    var parts: Int  # address of their descriptions
    var count: Int
    var size: Int  # bytes of an element
    var streams: Bool
    var per_task: Int

    def execute(mut self):
        if self.total < ALONE or num_threads() == 1:
            self.per_task = self.total
            self.run(0, 0)
            return
        self.per_task = ceildiv(ceildiv(self.total, 4 * num_threads()), 64) * 64
        var held = release_gil()
        parallel(self, ceildiv(self.total, self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        var start = task * self.per_task
        var end = min(start + self.per_task, self.total)
        while start < end:
            var row = start // self.line
            var offset = start % self.line
            if offset != 0 or end - start < self.line:
                var n = min(self.line - offset, end - start)
                self._piece(row, offset, n)
                start += n
                continue
            var rows = min((end - start) // self.line, max(BLOCK // self.line, 1))
            self._whole(row, rows)
            start += rows * self.line
        if self.streams:
            stream_fence()

    def _piece(self, row: Int, offset: Int, n: Int):
        """Some bytes of one row."""
        var begin = 0
        for k in range(self.count):
            var part = at[Int](self.parts + 8 * PART * k)
            var bytes = part[unsafe_offset=2]
            var low = max(offset, begin)
            var high = min(offset + n, begin + bytes)
            if low < high:
                var from_ = part[] + row * part[unsafe_offset=1] + low - begin
                self._copy(self.to + row * self.line + low, 0, from_, 0, high - low, 1)
            begin += bytes

    def _whole(self, row: Int, rows: Int):
        var to = self.to + row * self.line
        if self._is_pair():
            var first = load[Int](self.parts) + row * self.size
            interleave(to, first, load[Int](self.parts + 8 * PART) + row * self.size, self.size, rows)
            return
        for k in range(self.count):
            var part = at[Int](self.parts + 8 * PART * k)
            var step = part[unsafe_offset=1]
            self._copy(to, self.line, part[] + row * step, step, part[unsafe_offset=2], rows)
            to += part[unsafe_offset=2]

    @always_inline
    def _is_pair(self) -> Bool:
        """The rows are an element of each of two vectors."""
        if self.count != 2 or self.line != 2 * self.size or self.size > 8:
            return False
        return load[Int](self.parts + 8) == self.size and load[Int](self.parts + 8 * PART + 8) == self.size

    @always_inline
    def _copy(self, to: Int, to_step: Int, from_: Int, from_step: Int, bytes: Int, rows: Int):
        if self.streams and bytes >= FAR:
            for r in range(rows):
                stream_copy(to + r * to_step, from_ + r * from_step, bytes)
        elif bytes == self.size:
            strided_copy(from_, from_step, to, to_step, bytes, rows)
        else:
            copy_rows(to, to_step, from_, from_step, bytes, rows)


def _interleave[T: DType](to: Int, a: Int, b: Int, n: Int):
    comptime W = simd_width_of[T]()
    var p = at[Scalar[T]](a)
    var q = at[Scalar[T]](b)
    var d = at[Scalar[T]](to)
    var i = 0
    while i + W <= n:
        d.unsafe_store(2 * i, p.unsafe_load[width=W](i).interleave(q.unsafe_load[width=W](i)))
        i += W
    while i < n:
        d[unsafe_offset=2 * i] = p[unsafe_offset=i]
        d[unsafe_offset=2 * i + 1] = q[unsafe_offset=i]
        i += 1


def interleave(to: Int, a: Int, b: Int, size: Int, n: Int):
    """Elements of two vectors in turn; sizes up to 8 bytes."""
    if size == 4:
        _interleave[DType.uint32](to, a, b, n)
    elif size == 8:
        _interleave[DType.uint64](to, a, b, n)
    elif size == 2:
        _interleave[DType.uint16](to, a, b, n)
    else:
        _interleave[DType.uint8](to, a, b, n)


def _row_step(t: TPtr, dim: Int) -> Int:
    """Elements from row to row, where all from `dim` on is one run and all before it one dimension; else -1."""
    var run = 1
    for j in range(t[].rank() - dim):
        var d = t[].rank() - 1 - j
        if t[].shape[d] != 1 and t[].strides[d] != run:
            return -1
        run *= t[].shape[d]
    var step = 0
    var rows = 1
    for j in range(dim):
        var d = dim - 1 - j
        if t[].shape[d] == 1:
            continue
        if rows == 1:
            step = t[].strides[d]
        elif t[].strides[d] != step * rows:
            return -1
        rows *= t[].shape[d]
    return step


def _fill_rows(out_: TPtr, list: Obj, count: Int, dim: Int) raises -> Bool:
    """Writes a contiguous result row by row, if the parts are rows of its dtype in host memory."""
    var size = itemsize(out_[].code())
    var to = out_[].writable()
    var table = external_call["malloc", Int](8 * PART * count)
    if table == 0:
        return False
    var line = 0
    var n = 0
    for i in range(count):
        var t = as_tensor(seq_item(list, i))
        if t[].numel == 0:
            continue
        var step = _row_step(t, dim) if t[].device() == 0 and t[].dtype == out_[].dtype else -1
        if step < 0:
            external_call["free", NoneType](table)
            return False
        var bytes = size
        for d in range(dim, t[].rank()):
            bytes *= t[].shape[d]
        var part = at[Int](table + 8 * PART * n)
        part[] = t[].data()
        part[unsafe_offset=1] = step * size
        part[unsafe_offset=2] = bytes
        line += bytes
        n += 1
    var total = out_[].numel * size
    var work = Joined(to, line, total, table, n, size, total >= STREAM_BYTES, 0)
    work.execute()
    external_call["free", NoneType](table)
    return True


# ---------------------------------------------------------------- flip


def flip(mut call: Call) raises -> Obj:
    """(self, dims): the order of the elements along the dimensions reversed; always a copy."""
    var given = call.tensor(0)
    var dims = no_dims()
    var k = call.dims(1, dims)
    var n = given[].rank()
    var turned = 0
    for i in range(k):
        var d = wrap_dim(dims[i], n)
        if turned & (1 << d) != 0:
            raise Error(t"RuntimeError|dim {d} appears multiple times in the list of dims")
        turned |= 1 << d
    # dense, in the order of the dimensions that the input has
    var dense = dense_strides(given[].shape, given[].strides, n)
    var made = new_strided(given[].code(), given[].shape, dense, n, given[].device())
    var m = as_tensor(made)
    var from_ = 0
    var strides = given[].strides.copy()
    for d in range(n):
        if turned & (1 << d) != 0 and given[].shape[d] > 1:
            from_ += (given[].shape[d] - 1) * strides[d]
            strides[d] = -strides[d]
    if given[].device() == 0:
        var start = given[].data() + from_ * itemsize(given[].code())
        copy_strided(m[].data(), m[].code(), m[].strides, start, m[].code(), strides, m[].shape, n)
        return made
    var turned_view: Obj = 0
    try:
        turned_view = view_of(given, given[].offset + from_, given[].shape, strides, n)
        copy_into(m, as_tensor(turned_view))
    except e:
        decref(made)
        if turned_view != 0:
            decref(turned_view)
        raise e^
    decref(turned_view)
    return made


@export("dumbtorch_register_join")
def register_join() abi("C") -> None:
    register[cat]("cat")
    register[flip]("flip")
