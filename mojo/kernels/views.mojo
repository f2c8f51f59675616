"""Views: other sizes, strides and offsets over the same storage. Nothing is copied (`reshape` excepted, where it must)."""

from tensor.call import Call, dtype_code, int_of, register

from tensor.dtype import (
    BCOMPLEX32, BFLOAT16, COMPLEX128, COMPLEX32, COMPLEX64, FLOAT16, FLOAT32, FLOAT64, complex_part, dtype_name, is_complex,
    itemsize, type_name,
)  # fmt: skip
from tensor.layout import Dims, contiguous_strides, no_dims, shape_text, view_strides, wrap_dim
from tensor.object import CONJUGATE, INFERENCE_TENSOR, NEGATIVE, TPtr, alias_of, as_tensor, new_tensor, wrap_storage
from tensor.py import Obj, decref, incref, is_sequence, new_ref, seq_item, seq_len
from tensor.runtime import MAX_RANK
from tensor.storage import retain
from tensor.viewing import view_of
from kernels.transfer_api import copy_into


# ---------------------------------------------------------------- sizes


def infer_size(size: Dims, n: Int, numel: Int, mut shape: Dims) raises:
    """Replaces the one size -1 by what makes the product right."""
    var known = 1
    var unknown = -1
    for i in range(n):
        var d = size[i]
        shape[i] = d
        if d == -1:
            if unknown >= 0:
                raise Error("RuntimeError|only one dimension can be inferred")
            unknown = i
        elif d < 0:
            raise Error(t"RuntimeError|invalid shape dimension {d} at index {i} of shape {shape_text(size, n)}")
        else:
            known *= d
    if unknown < 0:
        if known != numel:
            raise _bad_shape(size, n, numel)
        return
    if known == 0:
        if numel == 0:
            raise Error(
                t"RuntimeError|cannot reshape tensor of 0 elements into shape {shape_text(size, n)} because the"
                t" unspecified dimension size -1 can be any value and is ambiguous"
            )
        raise _bad_shape(size, n, numel)
    if numel % known != 0:
        raise _bad_shape(size, n, numel)
    shape[unknown] = numel // known


@no_inline
def _bad_shape(size: Dims, n: Int, numel: Int) -> Error:
    return Error(t"RuntimeError|shape '{shape_text(size, n)}' is invalid for input of size {numel}")


def _viewed(t: TPtr, size: Dims, n: Int) raises -> Obj:
    """The view in that shape (-1 inferred), or 0 where strides do not allow it."""
    var shape = no_dims()
    infer_size(size, n, t[].numel, shape)
    var strides = no_dims()
    if not view_strides(t[].shape, t[].strides, t[].rank(), shape, n, strides):
        return 0
    return view_of(t, t[].offset, shape, strides, n)


def view(mut call: Call) raises -> Obj:
    """(self, size): sizes, one of them may be -1; or a dtype, see `view_dtype`."""
    var t = call.tensor(0)
    var o = call.obj(1)
    if not is_sequence(o) and dtype_code(o) >= 0:
        return _view_dtype(t, dtype_code(o))
    var size = no_dims()
    var n = call.dims(1, size)
    var made = _viewed(t, size, n)
    if made == 0:
        raise Error(
            "RuntimeError|view size is not compatible with input tensor's size and stride (at least one dimension spans"
            " across two contiguous subspaces). Use .reshape(...) instead."
        )
    return made


def reshape(mut call: Call) raises -> Obj:
    """(self, shape): a view where possible, else a contiguous copy."""
    var size = no_dims()
    var n = call.dims(1, size)
    return reshaped(call.tensor(0), size, n)


def reshaped(t: TPtr, size: Dims, n: Int) raises -> Obj:
    var made = _viewed(t, size, n)
    if made != 0:
        return made
    var shape = no_dims()
    infer_size(size, n, t[].numel, shape)
    # written through a tensor of the old shape on the new memory
    var flat = new_tensor(t[].code(), t[].shape, t[].rank(), t[].device())
    var f = as_tensor(flat)
    try:
        copy_into(f, t)
    except e:
        decref(flat)
        raise e^
    from tensor.object import set_layout

    set_layout(f, shape, contiguous_strides(shape, n), n)
    return flat


def flatten(mut call: Call) raises -> Obj:
    """(self, start_dim, end_dim): those dimensions made one."""
    var t = call.tensor(0)
    var n = t[].rank()
    var first = wrap_dim(call.int(1), n)
    var last = wrap_dim(call.int(2), n)
    if first > last:
        raise Error("RuntimeError|flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        var one = no_dims()
        one[0] = 1
        return reshaped(t, one, 1)
    if first == last:
        return new_ref(Int(t))
    var shape = no_dims()
    var product = 1
    for i in range(first, last + 1):
        product *= t[].shape[i]
    for i in range(first):
        shape[i] = t[].shape[i]
    shape[first] = product
    for i in range(last + 1, n):
        shape[i - last + first] = t[].shape[i]
    return reshaped(t, shape, n - (last - first))


def unflatten(mut call: Call) raises -> Obj:
    """(self, dim, sizes): one dimension split; one size may be -1."""
    var t = call.tensor(0)
    var n = t[].rank()
    var dim = wrap_dim(call.int(1), n)
    var sizes = no_dims()
    var k = call.dims(2, sizes)
    if k == 0:
        raise Error("RuntimeError|unflatten: sizes must be non-empty")
    _check_rank(n + k - 1)
    var inferred = no_dims()
    var length = t[].shape[dim]
    try:
        infer_size(sizes, k, length, inferred)
    except:
        raise Error(
            t"RuntimeError|unflatten: Provided sizes {shape_text(sizes, k)} don't multiply up to the size of dim"
            t" {dim} ({length}) in the input tensor"
        )
    var shape = t[].shape.copy()
    for i in range(dim + 1, n):
        shape[i + k - 1] = t[].shape[i]
    for i in range(k):
        shape[dim + i] = inferred[i]
    return _viewed(t, shape, n + k - 1)


def _check_rank(n: Int) raises:
    if n > MAX_RANK:
        raise Error(t"RuntimeError|at most {MAX_RANK} dimensions are supported, the result would have {n}")


# ---------------------------------------------------------------- the order of dimensions


def transpose(mut call: Call) raises -> Obj:
    """(self, dim0, dim1): two dimensions exchanged."""
    var t = call.tensor(0)
    var n = t[].rank()
    return _swapped(t, wrap_dim(call.int(1), n), wrap_dim(call.int(2), n))


@always_inline
def _swapped(t: TPtr, a: Int, b: Int) raises -> Obj:
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    shape[a] = t[].shape[b]
    shape[b] = t[].shape[a]
    strides[a] = t[].strides[b]
    strides[b] = t[].strides[a]
    return view_of(t, t[].offset, shape, strides, t[].rank())


def matrix_t(mut call: Call) raises -> Obj:
    """(self): the transpose of a matrix, a vector or scalar as it is."""
    var t = call.tensor(0)
    if t[].rank() > 2:
        raise Error(t"RuntimeError|t() expects a tensor with <= 2 dimensions, but self is {t[].rank()}D")
    if t[].rank() < 2:
        return view_of(t, t[].offset, t[].shape, t[].strides, t[].rank())
    return _swapped(t, 0, 1)


def permute(mut call: Call) raises -> Obj:
    """(self, dims): the dimensions in another order."""
    var t = call.tensor(0)
    var dims = no_dims()
    var k = call.dims(1, dims)
    var n = t[].rank()
    if k != n:
        raise Error(
            t"RuntimeError|permute(sparse_coo): number of dimensions in the tensor input does not match the length of"
            t" the desired ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {k}"
        )
    return _permuted(t, dims)


def _permuted(t: TPtr, dims: Dims) raises -> Obj:
    var n = t[].rank()
    var shape = no_dims()
    var strides = no_dims()
    var seen = 0
    for i in range(n):
        var d = wrap_dim(dims[i], n)
        if seen & (1 << d) != 0:
            raise Error("RuntimeError|permute(): duplicate dims are not allowed.")
        seen |= 1 << d
        shape[i] = t[].shape[d]
        strides[i] = t[].strides[d]
    return view_of(t, t[].offset, shape, strides, n)


def movedim(mut call: Call) raises -> Obj:
    """(self, source, destination): dimensions moved, the rest in order."""
    var t = call.tensor(0)
    var n = t[].rank()
    var source = no_dims()
    var target = no_dims()
    var k = call.dims(1, source)
    var l = call.dims(2, target)
    if k != l:
        raise Error(
            t"RuntimeError|movedim: Invalid source or destination dims: source ({shape_text(source, k)} dims) should"
            t" contain the same number of dims as destination ({shape_text(target, l)} dims)"
        )
    var order = no_dims()
    var used = 0
    var placed = 0
    for i in range(k):
        _ = wrap_dim(source[i], n)
    for i in range(k):
        var s = wrap_dim(source[i], n)
        var d = wrap_dim(target[i], n)
        if used & (1 << s) != 0:
            raise Error(t"RuntimeError|movedim: repeated dim in `source` ({shape_text(source, k)})")
        if placed & (1 << d) != 0:
            raise Error(t"RuntimeError|movedim: repeated dim in `destination` ({shape_text(target, l)})")
        used |= 1 << s
        placed |= 1 << d
        order[d] = s
    if n == 0:
        return view_of(t, t[].offset, t[].shape, t[].strides, 0)
    var next = 0
    for i in range(n):
        if placed & (1 << i) != 0:
            continue
        while used & (1 << next) != 0:
            next += 1
        order[i] = next
        next += 1
    return _permuted(t, order)


# ---------------------------------------------------------------- dimensions that come and go


def expand(mut call: Call) raises -> Obj:
    """(self, size): dimensions of size 1 stretched; -1 keeps a size."""
    var t = call.tensor(0)
    var size = no_dims()
    var k = call.dims(1, size)
    var n = t[].rank()
    if k < n:
        raise Error(
            t"RuntimeError|expand(torch.{type_name(t[].code())}Tensor{{{shape_text(t[].shape, n)}}},"
            t" size={shape_text(size, k)}): the number of sizes provided ({k}) must be greater or equal to the number"
            t" of dimensions in the tensor ({n})"
        )
    var shape = no_dims()
    var strides = no_dims()
    for j in range(k):
        var i = k - 1 - j
        var d = i - (k - n)
        var have = t[].shape[d] if d >= 0 else 1
        var step = 1
        if d >= 0:
            step = t[].strides[d]
        elif i + 1 < k:
            step = shape[i + 1] * strides[i + 1]
        var wanted = size[i]
        if wanted == -1:
            if d < 0:
                raise Error(
                    t"RuntimeError|The expanded size of the tensor (-1) isn't allowed in a leading, non-existing"
                    t" dimension {i}"
                )
            wanted = have
        if have != wanted:
            if have != 1 or wanted < 0:
                raise Error(
                    t"RuntimeError|The expanded size of the tensor ({wanted}) must match the existing size ({have}) at"
                    t" non-singleton dimension {i}.  Target sizes: {shape_text(size, k)}.  Tensor sizes:"
                    t" {shape_text(t[].shape, n)}"
                )
            step = 0
        shape[i] = wanted
        strides[i] = step if n > 0 else 0
    return view_of(t, t[].offset, shape, strides, k)


def squeeze(mut call: Call) raises -> Obj:
    """(self, dim): without dimensions of size 1: all of them (None), one, or those of a tuple."""
    var t = call.tensor(0)
    var n = t[].rank()
    var drop = -1
    if not call.is_none(1):
        var dims = no_dims()
        var k = call.dims(1, dims)
        drop = 0
        for i in range(k):
            var bit = 1 << wrap_dim(dims[i], n)
            if drop & bit != 0:
                raise Error(t"RuntimeError|dim {wrap_dim(dims[i], n)} appears multiple times in the list of dims")
            drop |= bit
    var shape = no_dims()
    var strides = no_dims()
    var m = 0
    for i in range(n):
        if t[].shape[i] == 1 and drop & (1 << i) != 0:
            continue
        shape[m] = t[].shape[i]
        strides[m] = t[].strides[i]
        m += 1
    return view_of(t, t[].offset, shape, strides, m)


def unsqueeze(mut call: Call) raises -> Obj:
    """(self, dim): a new dimension of size 1."""
    var t = call.tensor(0)
    var n = t[].rank()
    var dim = wrap_dim(call.int(1), n + 1)
    _check_rank(n + 1)
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    for i in range(dim, n):
        shape[i + 1] = t[].shape[i]
        strides[i + 1] = t[].strides[i]
    shape[dim] = 1
    strides[dim] = t[].shape[dim] * t[].strides[dim] if dim < n else 1
    return view_of(t, t[].offset, shape, strides, n + 1)


# ---------------------------------------------------------------- parts


def select(mut call: Call) raises -> Obj:
    """(self, dim, index): one index of a dimension, which goes away."""
    var t = call.tensor(0)
    var n = t[].rank()
    if n == 0:
        raise Error("IndexError|select() cannot be applied to a 0-dim tensor.")
    var dim = wrap_dim(call.int(1), n)
    var index = call.int(2)
    var length = t[].shape[dim]
    if index < -length or index >= length:
        raise Error(
            t"IndexError|select(): index {index} out of range for tensor of size {shape_text(t[].shape, n)} at"
            t" dimension {dim}"
        )
    return selected(t, dim, index + length if index < 0 else index)


@always_inline
def selected(t: TPtr, dim: Int, index: Int) raises -> Obj:
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    var n = t[].rank()
    for i in range(dim + 1, n):
        shape[i - 1] = t[].shape[i]
        strides[i - 1] = t[].strides[i]
    return view_of(t, t[].offset + index * t[].strides[dim], shape, strides, n - 1)


@always_inline
def sliced(t: TPtr, dim: Int, start: Int, length: Int, step: Int = 1) raises -> Obj:
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    shape[dim] = length
    strides[dim] = t[].strides[dim] * step
    return view_of(t, t[].offset + start * t[].strides[dim], shape, strides, t[].rank())


@always_inline
def clip_range(start_: Int, end_: Int, length: Int) -> Tuple[Int, Int]:
    """A slice's bounds inside 0 .. length, the end not before the start."""
    var start = start_ + length if start_ < 0 else start_
    var end = end_ + length if end_ < 0 else end_
    start = min(max(start, 0), length)
    return (start, min(max(end, start), length))


def slice_(mut call: Call) raises -> Obj:
    """(self, dim, start, end, step): a range of a dimension; None for start and end means all."""
    var t = call.tensor(0)
    var n = t[].rank()
    if n == 0:
        raise Error("IndexError|slice() cannot be applied to a 0-dim tensor.")
    var dim = wrap_dim(call.int(1), n)
    var step = 1 if call.is_none(4) else call.int(4)
    if step <= 0:
        raise Error("RuntimeError|slice step must be positive")
    var bounds = clip_range(
        0 if call.is_none(2) else call.int(2), Int.MAX if call.is_none(3) else call.int(3), t[].shape[dim]
    )
    return sliced(t, dim, bounds[0], (bounds[1] - bounds[0] + step - 1) // step, step)


def narrow(mut call: Call) raises -> Obj:
    """(self, dim, start, length): `length` indices from `start` on."""
    var t = call.tensor(0)
    var n = t[].rank()
    if n == 0:
        raise Error("RuntimeError|narrow() cannot be applied to a 0-dim tensor.")
    var start = call.int(2)
    var length = call.int(3)
    if length < 0:
        raise Error("RuntimeError|narrow(): length must be non-negative.")
    var dim = wrap_dim(call.int(1), n)
    var size = t[].shape[dim]
    if start < -size or start > size:
        raise Error(t"IndexError|start out of range (expected to be in range of [{-size}, {size}], but got {start})")
    if start < 0:
        start += size
    if start + length > size:
        raise Error(t"RuntimeError|start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return sliced(t, dim, start, length)


def diagonal(mut call: Call) raises -> Obj:
    """(self, offset, dim1, dim2): a diagonal, in a new last dimension."""
    var t = call.tensor(0)
    var n = t[].rank()
    var offset = call.int(1)
    var a = wrap_dim(call.int(2), n)
    var b = wrap_dim(call.int(3), n)
    if a == b:
        raise Error(t"RuntimeError|diagonal dimensions cannot be identical {call.int(2)}, {call.int(3)}")
    var length: Int
    var start = t[].offset
    if offset >= 0:
        length = max(min(t[].shape[a], t[].shape[b] - offset), 0)
        if length > 0:
            start += offset * t[].strides[b]
    else:
        length = max(min(t[].shape[a] + offset, t[].shape[b]), 0)
        if length > 0:
            start -= offset * t[].strides[a]
    var shape = no_dims()
    var strides = no_dims()
    var m = 0
    for i in range(n):
        if i != a and i != b:
            shape[m] = t[].shape[i]
            strides[m] = t[].strides[i]
            m += 1
    shape[m] = length
    strides[m] = t[].strides[a] + t[].strides[b]
    return view_of(t, start, shape, strides, m + 1)


def unfold(mut call: Call) raises -> Obj:
    """(self, dimension, size, step): windows of `size` every `step`, in a new last dimension."""
    var t = call.tensor(0)
    var n = t[].rank()
    var dim = wrap_dim(call.int(1), n)
    var size = call.int(2)
    var step = call.int(3)
    var length = t[].shape[dim] if n > 0 else 1
    if size < 0:
        raise Error(t"RuntimeError|size is {size} but must be >= 0")
    if size > length:
        raise Error(t"RuntimeError|maximum size for tensor at dimension {dim} is {length} but size is {size}")
    if step <= 0:
        raise Error(t"RuntimeError|step is {step} but must be > 0")
    _check_rank(n + 1)
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    shape[n] = size
    strides[n] = t[].strides[dim] if n > 0 else 1
    if n > 0:
        shape[dim] = (length - size) // step + 1
        strides[dim] = t[].strides[dim] * step
    return view_of(t, t[].offset, shape, strides, n + 1)


def size_text(bytes: Float64) -> String:
    """A number of bytes; rounded where it does not fit a word."""
    return String(Int(bytes)) if bytes < 9e15 else String(bytes)


def as_strided(mut call: Call) raises -> Obj:
    """(self, size, stride, storage_offset): any layout that stays inside the storage; the offset defaults to self's."""
    var t = call.tensor(0)
    var shape = no_dims()
    var strides = no_dims()
    var n = call.dims(1, shape)
    if call.dims(2, strides) != n:
        raise Error("RuntimeError|mismatch in length of strides and shape")
    var offset = t[].offset if call.is_none(3) else call.int(3)
    var size = itemsize(t[].code())
    var room = t[].storage()[].nbytes // size
    var reach = 1
    var outside = False  # one dimension alone leaves the storage: its reach is not added, as it may not fit a word
    for i in range(n):
        if shape[i] < 0:
            raise Error(
                t"RuntimeError|Trying to create tensor with negative dimension {shape[i]}: {shape_text(shape, n)}"
            )
        if strides[i] < 0:
            raise Error(
                t"RuntimeError|as_strided: Negative strides are not supported at the moment, got strides:"
                t" {shape_text(strides, n)}"
            )
        if shape[i] == 0:
            reach = 0
        elif strides[i] > 0 and shape[i] - 1 > room // strides[i]:
            outside = True
        elif reach > 0:
            reach += (shape[i] - 1) * strides[i]
    if offset < 0:
        raise Error(t"RuntimeError|Tensor: invalid storage offset {offset}")
    outside = outside or offset > room or offset + reach > room
    if reach > 0 and outside:
        var needed = Float64(offset) + 1
        for i in range(n):
            needed += Float64(shape[i] - 1) * Float64(strides[i])
        raise Error(
            t"RuntimeError|setStorage: sizes {shape_text(shape, n)}, strides {shape_text(strides, n)}, storage offset"
            t" {offset}, and itemsize {size} requiring a storage size of {size_text(needed * Float64(size))} are out of"
            t" bounds for storage of size {t[].storage()[].nbytes}"
        )
    return view_of(t, offset, shape, strides, n)


# ---------------------------------------------------------------- the same memory, other meaning


def view_with_dtype(t: TPtr, code: Int, offset: Int, shape: Dims, strides: Dims, n: Int) raises -> Obj:
    retain(t[].storage())
    var o = wrap_storage(t[].storage(), offset, code, shape, strides, n)
    var v = as_tensor(o)
    v[].base = t[].base if t[].base != 0 else Int(t)
    incref(v[].base)
    v[].view_version = t[].storage()[].version
    v[].flags |= t[].flags & UInt16(INFERENCE_TENSOR | NEGATIVE)
    return o


def view_dtype(mut call: Call) raises -> Obj:
    """(self, dtype): the same bits as elements of another dtype."""
    return _view_dtype(call.tensor(0), call.dtype(1, -1))


def _view_dtype(t: TPtr, code: Int) raises -> Obj:
    if t[].lazy() != 0:
        var what: StaticString = "conjugate" if t[].lazy() & CONJUGATE != 0 else "negated"
        raise Error(
            t"RuntimeError|torch.Tensor.view is not supported for {what} view tensors when converting to a different"
            t" dtype."
        )
    var n = t[].rank()
    var old = itemsize(t[].code())
    var new = itemsize(code)
    if old == new:
        return view_with_dtype(t, code, t[].offset, t[].shape, t[].strides, n)
    var what = String(t"to view {type_name(t[].code())} as {type_name(code)} (different element sizes)")
    if n == 0:
        raise Error(t"RuntimeError|self.dim() cannot be 0 {what}")
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    var offset = t[].offset
    if old > new:
        var k = old // new
        if strides[n - 1] != 1:
            raise Error(t"RuntimeError|self.stride(-1) must be 1 {what}, but got {strides[n - 1]}")
        shape[n - 1] *= k
        offset *= k
        for i in range(n - 1):
            strides[i] *= k
    else:
        var k = new // old
        if shape[n - 1] % k != 0:
            raise Error(t"RuntimeError|self.size(-1) must be divisible by {k} {what}, but got {shape[n - 1]}")
        if offset % k != 0:
            raise Error(t"RuntimeError|self.storage_offset() must be divisible by {k} {what}, but got {offset}")
        if strides[n - 1] != 1:
            raise Error(t"RuntimeError|self.stride(-1) must be 1 {what}, but got {strides[n - 1]}")
        shape[n - 1] //= k
        offset //= k
        for i in range(n - 1):
            if strides[i] % k != 0:
                raise Error(t"RuntimeError|self.stride({i}) must be divisible by {k} {what}, but got {strides[i]}")
            strides[i] //= k
    return view_with_dtype(t, code, offset, shape, strides, n)


def _part(t: TPtr, which: Int) raises -> Obj:
    var n = t[].rank()
    var strides = t[].strides.copy()
    for i in range(n):
        strides[i] *= 2
    var made = view_with_dtype(t, complex_part(t[].code()), 2 * t[].offset + which, t[].shape, strides, n)
    if which == 1 and t[].lazy() & CONJUGATE != 0:
        # the imaginary part of a pending conjugate is a pending negative
        as_tensor(made)[].flags ^= UInt16(NEGATIVE)
    return made


def real(mut call: Call) raises -> Obj:
    """(self): the real parts of a complex tensor; a real one is returned itself."""
    var t = call.tensor(0)
    if not is_complex(t[].code()):
        return new_ref(Int(t))
    return _part(t, 0)


def imag(mut call: Call) raises -> Obj:
    """(self): the imaginary parts of a complex tensor."""
    var t = call.tensor(0)
    if not is_complex(t[].code()):
        raise Error("RuntimeError|imag is not implemented for tensors with non-complex dtypes.")
    return _part(t, 1)


def view_as_real(mut call: Call) raises -> Obj:
    """(self): a complex tensor with its parts in a new last dimension of size 2."""
    var t = call.tensor(0)
    if not is_complex(t[].code()):
        raise Error("RuntimeError|view_as_real is only supported for complex tensors")
    if t[].lazy() & CONJUGATE != 0:
        raise Error(
            "RuntimeError|view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate tensor"
            " so you can view it as real, use self.resolve_conj(); however, be warned that the resulting tensor will"
            " NOT alias the original."
        )
    var n = t[].rank()
    _check_rank(n + 1)
    var shape = t[].shape.copy()
    var strides = t[].strides.copy()
    for i in range(n):
        strides[i] *= 2
    shape[n] = 2
    strides[n] = 1
    return view_with_dtype(t, complex_part(t[].code()), 2 * t[].offset, shape, strides, n + 1)


def view_as_complex(mut call: Call) raises -> Obj:
    """(self): a floating tensor whose last dimension holds the two parts, as a complex one."""
    var t = call.tensor(0)
    var code = t[].code()
    var made: Int
    if code == FLOAT16:
        made = COMPLEX32
    elif code == BFLOAT16:
        made = BCOMPLEX32
    elif code == FLOAT32:
        made = COMPLEX64
    elif code == FLOAT64:
        made = COMPLEX128
    else:
        raise Error(
            t"RuntimeError|view_as_complex is only supported for half, float and double tensors, but got a tensor of"
            t" scalar type: {type_name(code)}"
        )
    var n = t[].rank()
    if n == 0:
        raise Error("RuntimeError|Input tensor must have one or more dimensions")
    if t[].shape[n - 1] != 2:
        raise Error("RuntimeError|Tensor must have a last dimension of size 2")
    if t[].strides[n - 1] != 1:
        raise Error("RuntimeError|Tensor must have a last dimension with stride 1")
    var strides = t[].strides.copy()
    for i in range(n - 1):
        if strides[i] % 2 != 0 and t[].shape[i] != 1:
            raise Error("RuntimeError|Tensor must have a stride divisible by 2 for all but last dimension")
        strides[i] //= 2
    if t[].offset % 2 != 0:
        raise Error("RuntimeError|Tensor must have a storage_offset divisible by 2")
    return view_with_dtype(t, made, t[].offset // 2, t[].shape, strides, n - 1)


def detach(mut call: Call) raises -> Obj:
    """(self): the same elements with no history and no base."""
    return alias_of(call.tensor(0))


def alias(mut call: Call) raises -> Obj:
    """(self): a view of everything."""
    var t = call.tensor(0)
    return view_of(t, t[].offset, t[].shape, t[].strides, t[].rank())


@export("dumbtorch_register_views")
def register_views() abi("C") -> None:
    register[view]("view")
    register[view_dtype]("view_dtype")
    register[reshape]("reshape")
    register[flatten]("flatten")
    register[unflatten]("unflatten")
    register[transpose]("transpose")
    register[transpose]("swapdims")
    register[transpose]("swapaxes")
    register[matrix_t]("t")
    register[permute]("permute")
    register[movedim]("movedim")
    register[expand]("expand")
    register[squeeze]("squeeze")
    register[unsqueeze]("unsqueeze")
    register[select]("select")
    register[slice_]("slice")
    register[narrow]("narrow")
    register[diagonal]("diagonal")
    register[unfold]("unfold")
    register[as_strided]("as_strided")
    register[real]("real")
    register[imag]("imag")
    register[view_as_real]("view_as_real")
    register[view_as_complex]("view_as_complex")
    register[detach]("detach")
    register[alias]("alias")
