"""Basic indexing (`x[1, :, None, ...]`) in one step, and the ops that cut a dimension into several views."""

from std.ffi import c_int, external_call
from std.memory import Pointer
from tensor.call import Call, int_of, register
from tensor.errors import python_error
from tensor.layout import Dims, no_dims, shape_text, wrap_dim
from tensor.object import TPtr

from tensor.py import (
    Obj, class_of, decref, error_occurred, is_long, is_sequence, is_tuple, seq_item, seq_len, tuple_new, tuple_set, type_name_of,
)  # fmt: skip
from tensor.runtime import MAX_RANK, runtime
from tensor.viewing import view_of
from kernels.views import clip_range, sliced, selected


struct _Cursor:
    """The layout of the view so far: sizes and strides of the dimensions already passed, and the next one."""

    var shape: Dims
    var strides: Dims
    var offset: Int
    var made: Int  # dimensions of the result
    var dim: Int  # the tensor's next dimension

    def __init__(out self, offset: Int):
        self.shape = no_dims()
        self.strides = no_dims()
        self.offset = offset
        self.made = 0
        self.dim = 0

    @always_inline
    def keep(mut self, size: Int, stride: Int) raises:
        if self.made == MAX_RANK:
            raise Error(t"RuntimeError|at most {MAX_RANK} dimensions are supported")
        self.shape[self.made] = size
        self.strides[self.made] = stride
        self.made += 1


def getitem(mut call: Call) raises -> Obj:
    """(self, index): ints, slices, None and Ellipsis, alone or in a tuple."""
    var t = call.tensor(0)
    var key = call.obj(1)
    var c = _Cursor(t[].offset)
    if is_tuple(key):
        var n = seq_len(key)
        var specified = _count(key)
        if specified > t[].rank():
            raise Error(t"IndexError|too many indices for tensor of dimension {t[].rank()}")
        for i in range(n):
            _step(call, c, t, seq_item(key, i), specified, i)
    else:
        _step(call, c, t, key, 1, 0)
    for i in range(c.dim, t[].rank()):
        c.keep(t[].shape[i], t[].strides[i])
    return view_of(t, c.offset, c.shape, c.strides, c.made)


def _count(key: Obj) -> Int:
    """Items that stand for a dimension."""
    var rt = runtime()
    var count = 0
    for i in range(seq_len(key)):
        var o = seq_item(key, i)
        if o != rt[].none and o != rt[].ellipsis:
            count += 1
    return count


@always_inline
def _step(call: Call, mut c: _Cursor, t: TPtr, o: Obj, specified: Int, place: Int) raises:
    var rt = runtime()
    if is_long(o) and class_of(o) != rt[].bool_type:
        _pick(c, t, place, external_call["PyLong_AsSsize_t", Int](o))
    elif class_of(o) == rt[].slice_type:
        _range(c, t, o)
    elif o == rt[].none:
        if c.dim > t[].rank():
            raise _no_dimension(c, t, 1)
        c.keep(1, t[].shape[c.dim] * t[].strides[c.dim] if c.dim < t[].rank() else 1)
    elif o == rt[].ellipsis:
        var skip = t[].rank() - (specified if is_tuple(call.obj(1)) else 0)
        for _ in range(skip):
            if c.dim < t[].rank():
                c.keep(t[].shape[c.dim], t[].strides[c.dim])
            c.dim += 1
    else:
        _pick(c, t, place, _index_of(o))


@no_inline
def _index_of(o: Obj) raises -> Int:
    if external_call["PyIndex_Check", c_int](o) == 0 or class_of(o) == runtime()[].bool_type:
        raise Error(
            t"IndexError|only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid"
            t" indices (got {type_name_of(o)})"
        )
    var number = external_call["PyNumber_Index", Int](o)
    if number == 0:
        raise python_error()
    var v = external_call["PyLong_AsSsize_t", Int](number)
    decref(number)
    return v


@always_inline
def _pick(mut c: _Cursor, t: TPtr, place: Int, index: Int) raises:
    if index == -1 and error_occurred():
        raise python_error()
    var n = t[].rank()
    if c.dim >= n:
        if n == 0 and index != 0:
            raise Error(t"IndexError|index {index} is out of bounds for dimension 0 with size 0")
        if n == 0:
            raise Error(
                "IndexError|invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++"
                " to convert a 0-dim tensor to a number"
            )
        raise _no_dimension(c, t, 0)
    var length = t[].shape[c.dim]
    if index < -length or index >= length:
        raise Error(t"IndexError|index {index} is out of bounds for dimension {place} with size {length}")
    c.offset += (index + length if index < 0 else index) * t[].strides[c.dim]
    c.dim += 1


@no_inline
def _no_dimension(c: _Cursor, t: TPtr, more: Int) -> Error:
    """A second `...` went past the last dimension."""
    var n = c.made + more
    return Error(
        t"IndexError|Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got"
        t" {c.made + c.dim - t[].rank()})"
    )


def _range(mut c: _Cursor, t: TPtr, o: Obj) raises:
    var start = 0
    var end = 0
    var step = 0
    if external_call["PySlice_Unpack", c_int](o, Pointer(to=start), Pointer(to=end), Pointer(to=step)) != 0:
        raise python_error()
    if step <= 0:
        raise Error("ValueError|step must be greater than zero")
    if c.dim >= t[].rank():
        if t[].rank() == 0:
            raise Error("IndexError|slice() cannot be applied to a 0-dim tensor.")
        raise _no_dimension(c, t, 0)
    var bounds = clip_range(start, end, t[].shape[c.dim])
    c.keep((bounds[1] - bounds[0] + step - 1) // step, t[].strides[c.dim] * step)
    c.offset += bounds[0] * t[].strides[c.dim]
    c.dim += 1


# ---------------------------------------------------------------- several views


def _pieces(t: TPtr, dim: Int, starts: List[Int], lengths: List[Int]) raises -> Obj:
    var made = tuple_new(len(lengths))
    if made == 0:
        raise python_error()
    try:
        for i in range(len(lengths)):
            tuple_set(made, i, sliced(t, dim, starts[i], lengths[i]))
    except e:
        decref(made)
        raise e^
    return made


def _even(t: TPtr, dim: Int, step: Int, least: Int) raises -> Obj:
    """Ranges of `step` indices; the last may be shorter. At least `least` of them (empty ones)."""
    var starts = List[Int]()
    var lengths = List[Int]()
    var length = t[].shape[dim]
    var at = 0
    while at < length:
        starts.append(at)
        lengths.append(min(step, length - at))
        at += step
    while len(starts) < least:
        starts.append(length)
        lengths.append(0)
    return _pieces(t, dim, starts, lengths)


def split(mut call: Call) raises -> Obj:
    """(self, split_size_or_sections, dim): ranges of one size, or of the given sizes."""
    var t = call.tensor(0)
    var n = t[].rank()
    if n == 0:
        raise Error("RuntimeError|split expects at least a 1-dimensional tensor")
    var o = call.obj(1)
    if not is_sequence(o) and call.int(1) < 0:
        raise Error(t"RuntimeError|split expects split_size be non-negative, but got split_size={call.int(1)}")
    var dim = wrap_dim(call.int(2), n)
    var length = t[].shape[dim]
    if not is_sequence(o):
        var step = call.int(1)
        if step == 0 and length > 0:
            raise Error(
                t"RuntimeError|split_size can only be 0 if dimension size is 0, but got dimension size of {length}"
            )
        return _even(t, dim, max(step, 1), 1)
    var starts = List[Int]()
    var lengths = List[Int]()
    var total = 0
    var negative = False
    for i in range(seq_len(o)):
        var size = int_of(seq_item(o, i), call, 1)
        negative = negative or size < 0
        starts.append(total)
        lengths.append(size)
        total += size
    if negative:
        raise Error(
            t"RuntimeError|split_with_sizes expects split_sizes have only non-negative entries, but got"
            t" split_sizes={_text(lengths)}"
        )
    if total != length:
        raise Error(
            t"RuntimeError|split_with_sizes expects split_sizes to sum exactly to {length} (input tensor's size at"
            t" dimension {call.int(2)}), but got split_sizes={_text(lengths)}"
        )
    return _pieces(t, dim, starts, lengths)


def _text(values: List[Int]) -> String:
    var s = String("[")
    for i in range(len(values)):
        if i > 0:
            s += ", "
        s += String(values[i])
    return s + "]"


def chunk(mut call: Call) raises -> Obj:
    """(self, chunks, dim): at most `chunks` ranges of one size; the last may be shorter."""
    var t = call.tensor(0)
    var n = t[].rank()
    var chunks = call.int(1)
    if n == 0:
        raise Error("RuntimeError|chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise Error(t"RuntimeError|chunk expects `chunks` to be greater than 0, got: {chunks}")
    var dim = wrap_dim(call.int(2), n)
    var step = (t[].shape[dim] + chunks - 1) // chunks
    if step == 0:
        return _even(t, dim, 1, chunks)
    return _even(t, dim, step, 0)


def tensor_split(mut call: Call) raises -> Obj:
    """(self, indices_or_sections, dim): that many ranges, the first ones longer by one; or cuts at the given indices.
    """
    var t = call.tensor(0)
    var n = t[].rank()
    if n == 0:
        raise Error("RuntimeError|tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    var dim = wrap_dim(call.int(2), n)
    var length = t[].shape[dim]
    var o = call.obj(1)
    var starts = List[Int]()
    var lengths = List[Int]()
    if not is_sequence(o):
        var sections = call.int(1)
        if sections <= 0:
            raise Error(t"RuntimeError|number of sections must be larger than 0, got {sections}")
        var at = 0
        for i in range(sections):
            var size = length // sections + (1 if i < length % sections else 0)
            starts.append(at)
            lengths.append(size)
            at += size
        return _pieces(t, dim, starts, lengths)
    var before = 0
    for i in range(seq_len(o) + 1):
        var cut = Int.MAX if i == seq_len(o) else int_of(seq_item(o, i), call, 1)
        var bounds = clip_range(before, cut, length)
        starts.append(bounds[0])
        lengths.append(bounds[1] - bounds[0])
        before = cut
    return _pieces(t, dim, starts, lengths)


def unbind(mut call: Call) raises -> Obj:
    """(self, dim): a view for each index of a dimension."""
    var t = call.tensor(0)
    var n = t[].rank()
    var dim = wrap_dim(call.int(1), n)
    if n == 0:
        raise Error("IndexError|Dimension specified as 0 but tensor has no dimensions")
    var made = tuple_new(t[].shape[dim])
    if made == 0:
        raise python_error()
    try:
        for i in range(t[].shape[dim]):
            tuple_set(made, i, selected(t, dim, i))
    except e:
        decref(made)
        raise e^
    return made


@export("dumbtorch_register_slicing")
def register_slicing() abi("C") -> None:
    register[getitem]("getitem")
    register[split]("split")
    register[chunk]("chunk")
    register[tensor_split]("tensor_split")
    register[unbind]("unbind")
