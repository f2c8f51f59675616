"""Indexing along a dimension: index_select, gather, scatter, their sums, embedding; nonzero and masks.

Indices are int64 or int32 and are all checked before anything is written. The loops are in kernels/walk.mojo.
"""

from std.ffi import external_call
from std.memory import Pointer, stack_allocation
from tensor.call import Call, Scalar2, register
from tensor.dtype import FLOAT16, FLOAT64, INT32, INT64, dtype_of, is_complex, itemsize, type_name
from tensor.errors import python_error
from tensor.layout import Dims, contiguous_strides, no_dims, same_dims, shape_text, wrap_dim
from tensor.memory import at, load
from tensor.object import TPtr, as_tensor, is_tensor, new_tensor, view_of
from tensor.promote import check_can_cast, put_number
from tensor.py import Obj, decref, new_ref
from kernels.device_api import check_devices, launch_walk
from kernels.pointwise import check_overlap, check_writable, resize_out, unsupported
from kernels.results import done, finished, result_for, target_of, write_into
from kernels.transfer_api import contiguous_of, on_device, on_host
from kernels.walk import ADD, PUT, Span3, TAKE, accumulate, first_outside, move


# ---------------------------------------------------------------- shared by the ops


def as_indices(t: TPtr) raises -> Obj:
    """An index tensor, whose dtype has been checked, as contiguous int64: a new reference."""
    return contiguous_of(t, INT64)


@always_inline
def is_index(t: TPtr) -> Bool:
    return t[].code() == INT64 or t[].code() == INT32


def check_bounds(indices: Obj, dim: Int, size: Int) raises:
    """Raises as gather and scatter do."""
    var t = as_tensor(indices)
    if t[].device() != 0:
        return  # the device's kernel checks them
    var bad = first_outside(t[].data(), t[].numel, size)
    if bad >= 0:
        var v = load[Int](t[].data() + 8 * bad)
        raise Error(t"RuntimeError|index {v} is out of bounds for dimension {dim} with size {size}")


def check_rows(indices: Obj, size: Int) raises:
    """Raises as index_select and embedding do."""
    var t = as_tensor(indices)
    if t[].device() == 0 and first_outside(t[].data(), t[].numel, size) >= 0:
        raise Error("IndexError|index out of range in self")


@always_inline
def size_at(t: TPtr, dim: Int) -> Int:
    """A size; a tensor without dimensions has one of size 1."""
    return t[].shape[dim] if t[].rank() > 0 else 1


def span_of(a: TPtr, data: Int, b: Int, index: Int, dim: Int) -> Span3:
    var span = Span3(data, b, index, a[].strides[dim] if a[].rank() > 0 else 1, dim)
    span.limit = size_at(a, dim)
    return span^


def run_move[mode: Int](call: Call, a: TPtr, mut span: Span3) raises:
    check_devices(call, a[].device())
    if a[].device() != 0:
        launch_walk(call, a, span, mode)
    else:
        move[mode](span, itemsize(a[].code()))


def run_add(call: Call, a: TPtr, mut span: Span3) raises:
    check_devices(call, a[].device())
    if a[].device() != 0:
        launch_walk(call, a, span, ADD)
    elif not accumulate(span, a[].code()):
        raise unsupported(call.name(), a[].code())


# ---------------------------------------------------------------- a vector of indices along a dimension


def index_select(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index)."""
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index):
        raise call.fail("RuntimeError", "Expected dtype int32 or int64 for index")
    if index[].rank() > 1:
        raise call.fail("IndexError", "Index is supposed to be a vector")
    var dim = wrap_dim(call.int(1), t[].rank())
    if t[].rank() == 0 and index[].numel != 1:
        raise call.fail("RuntimeError", String(t"Index to scalar can have only 1 value, got {index[].numel} value(s)"))
    var shape = t[].shape.copy()
    if t[].rank() > 0:
        shape[dim] = index[].numel
    var indices = as_indices(index)
    var result: Obj = 0
    try:
        check_rows(indices, size_at(t, dim))
        result = result_for(call, t[].code(), shape, t[].rank(), t[].device())
        var r = as_tensor(result)
        var span = span_of(t, t[].data(), r[].data(), as_tensor(indices)[].data(), dim)
        for i in range(t[].rank()):
            span.add_dim(shape[i], t[].strides[i], r[].strides[i], Int(i == dim))
        run_move[TAKE](call, t, span)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return finished(call, result)


def index_rows(mut call: Call) raises -> Obj:
    """Parameters (input, index): input[index] along the first dimension; negative indices count from the end."""
    var t = call.tensor(0)
    var index = call.tensor(1)
    if not is_index(index):
        raise Error("IndexError|tensors used as indices must be long, int, byte or bool tensors")
    if t[].rank() == 0:
        raise Error("IndexError|too many indices for tensor of dimension 0")
    var n = index[].rank()
    if n + t[].rank() - 1 > 16:
        raise call.fail("RuntimeError", "the result would have more than 16 dimensions")
    var shape = index[].shape.copy()
    for i in range(1, t[].rank()):
        shape[n + i - 1] = t[].shape[i]
    var indices = as_indices(index)
    var result: Obj = 0
    try:
        indices = wrapped(indices, 0, t[].shape[0])
        result = result_for(call, t[].code(), shape, n + t[].rank() - 1, t[].device())
        var r = as_tensor(result)
        var span = span_of(t, t[].data(), r[].data(), as_tensor(indices)[].data(), 0)
        span.add_dim(index[].numel, 0, _row_size(t), 1)
        for i in range(1, t[].rank()):
            span.add_dim(t[].shape[i], t[].strides[i], r[].strides[n + i - 1], 0)
        run_move[TAKE](call, t, span)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return finished(call, result)


def _row_size(t: TPtr) -> Int:
    """Elements of one row, as a contiguous tensor's first stride has it."""
    var n = 1
    for i in range(1, t[].rank()):
        n *= max(t[].shape[i], 1)
    return n


def wrapped(indices: Obj, dim: Int, size: Int) raises -> Obj:
    """Contiguous int64 indices counted from the front, checked: the same tensor or, in its place, a new one."""
    var t = as_tensor(indices)
    if t[].device() != 0 or first_outside(t[].data(), t[].numel, size) < 0:
        return indices
    for i in range(t[].numel):
        var v = load[Int](t[].data() + 8 * i)
        if v < -size or v >= size:
            raise Error(t"IndexError|index {v} is out of bounds for dimension {dim} with size {size}")
    var made = new_tensor(INT64, t[].shape, t[].rank())
    for i in range(t[].numel):
        var v = load[Int](t[].data() + 8 * i)
        at[Int](as_tensor(made)[].data())[unsafe_offset=i] = v + size if v < 0 else v
    decref(indices)
    return made


def wrap_indices(mut call: Call) raises -> Obj:
    """Parameters (index, dim, size): the indices as contiguous int64, counted from the front and checked."""
    var index = call.tensor(0)
    if not is_index(index):
        raise Error("IndexError|tensors used as indices must be long, int, byte or bool tensors")
    var indices = as_indices(index)
    try:
        return wrapped(indices, call.int(1), call.int(2))
    except e:
        decref(indices)
        raise e^


def _check_vector(call: Call, t: TPtr, dim: Int, index: TPtr, source: TPtr, name: StaticString) raises:
    if index[].rank() > 1:
        raise Error(
            t"IndexError|{name}: Index is supposed to be a vector, but got dim: {index[].rank()} with type:"
            t" {type_name(index[].code())} and size: {shape_text(index[].shape, index[].rank())}"
        )


def index_add(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, source, alpha); also in place."""
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(1), t[].rank())
    var index = call.tensor(2)
    var source = call.tensor(3)
    var alpha = call.scalar(4)
    _check_vector(call, t, dim, index, source, "index_add_()")
    if not is_index(index):
        raise Error(
            t"RuntimeError|index_add_(): Expected dtype int32/int64 for index but got: {type_name(index[].code())}"
        )
    if t[].code() != source[].code():
        raise Error(
            t"RuntimeError|index_add_(): self ({type_name(t[].code())}) and source ({type_name(source[].code())}) must"
            t" have the same scalar type"
        )
    var n = size_at(source, dim) if dim < max(source[].rank(), 1) else -1
    if n != index[].numel:
        raise Error(
            t"RuntimeError|index_add_(): Number of indices ({index[].numel}) should be equal to source.size(dim):"
            t" ({n}), for dim: {dim}"
        )
    var same = source[].rank() == t[].rank() or (source[].rank() == 0 and t[].rank() == 1)
    for i in range(t[].rank()):
        same = same and (i == dim or source[].shape[i] == t[].shape[i])
    if not same:
        raise Error(
            t"RuntimeError|source tensor shape must match self tensor shape, excluding the specified dimension. Got"
            t" self.shape = {shape_text(t[].shape, t[].rank())} source.shape ="
            t" {shape_text(source[].shape, source[].rank())}"
        )
    if alpha.category == 3 and not is_complex(t[].code()):
        raise call.fail("RuntimeError", "a complex alpha needs complex tensors")
    var indices = as_indices(index)
    var target: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        if call.inplace():
            check_overlap(t, source)
            check_overlap(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        var data = a[].writable()
        var span = span_of(a, data, source[].data(), as_tensor(indices)[].data(), dim)
        span.factor = alpha.d
        span.factor_im = alpha.im
        _vector_dims(span, a, source, dim)
        run_add(call, a, span)
    except e:
        decref(indices)
        if target != 0:
            decref(target)
        raise e^
    decref(indices)
    return done(call, target)


def _vector_dims(mut span: Span3, a: TPtr, source: TPtr, dim: Int):
    """The shape of `source`, the index a vector along `dim`."""
    if source[].rank() == 0:
        span.add_dim(1, 1, 1, 1)
        return
    for i in range(source[].rank()):
        span.add_dim(source[].shape[i], a[].strides[i], source[].strides[i], Int(i == dim))


def index_copy(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, source); also in place."""
    var t = call.tensor(0)
    var dim = wrap_dim(call.int(1), t[].rank())
    var index = call.tensor(2)
    var source = call.tensor(3)
    if index[].rank() > 1:
        raise Error(t"IndexError|index_copy_(): Index should have dimension 1 or 0 (got {index[].rank()})")
    if source[].rank() == 0 and index[].numel != 1:
        raise Error(
            t"IndexError|index_copy_(): When source is scalar, index should have one element (got {index[].numel})"
        )
    if source[].rank() != t[].rank() and source[].rank() != 0 and t[].rank() != 0:
        raise Error(
            t"IndexError|index_copy_(): When source and destination are not scalars, their dimensionality must match."
            t" Source dimensionality ({source[].rank()}), destination dimensionality ({t[].rank()})"
        )
    if index[].code() != INT64:
        raise Error(
            t"RuntimeError|index_copy_(): Expected a long tensor for index, but got {type_name(index[].code())}"
        )
    if t[].code() != source[].code():
        raise Error(
            t"RuntimeError|index_copy_(): self and source expected to have the same dtype, but got (self)"
            t" {type_name(t[].code())} and (source) {type_name(source[].code())}"
        )
    var same = source[].rank() == t[].rank() or (source[].rank() == 0 and t[].rank() == 1) or source[].numel == 1
    if same and source[].rank() == t[].rank():
        for i in range(t[].rank()):
            same = same and (i == dim or source[].shape[i] == t[].shape[i])
    elif same:
        same = t[].rank() <= 1
    if not same:
        raise Error(
            t"RuntimeError|index_copy_(): Source/destination tensor must have same slice shapes. Destination shape:"
            t" {shape_text(t[].shape, t[].rank())} at dimension {dim} and source shape:"
            t" {shape_text(source[].shape, source[].rank())}."
        )
    if size_at(source, dim) != index[].numel:
        raise Error(
            t"IndexError|index_copy_(): Number of indices ({index[].numel}) should be equal to source.size(dim)"
            t" ({size_at(source, dim)})"
        )
    var indices = as_indices(index)
    var target: Obj = 0
    try:
        var bad = (
            first_outside(as_tensor(indices)[].data(), index[].numel, size_at(t, dim)) if t[].device() == 0 else -1
        )
        if bad >= 0:
            var v = load[Int](as_tensor(indices)[].data() + 8 * bad)
            raise Error(
                t"IndexError|index_copy_(): index {v} is out of bounds for dimension {dim} with size {size_at(t, dim)}"
            )
        if call.inplace():
            check_overlap(t, source)
            check_overlap(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        var data = a[].writable()
        var span = span_of(a, data, source[].data(), as_tensor(indices)[].data(), dim)
        if t[].rank() == 0:
            span.add_dim(1, 1, 1, 1)
        else:
            _vector_dims(span, a, source, dim)
        run_move[PUT](call, a, span)
    except e:
        decref(indices)
        if target != 0:
            decref(target)
        raise e^
    decref(indices)
    return done(call, target)


# ---------------------------------------------------------------- an index for each element


def _check_rank(index: TPtr, t: TPtr, what: StaticString) raises:
    if max(index[].rank(), 1) != max(t[].rank(), 1):
        raise Error(t"RuntimeError|Index tensor must have the same number of dimensions as {what} tensor")


def _element_dims(mut span: Span3, a: TPtr, sb: Dims, index: TPtr):
    """The shape of a contiguous `index`; `sb` are the other side's strides."""
    if index[].rank() == 0:
        span.add_dim(1, 1, 1, 1)
        return
    for i in range(index[].rank()):
        var sa = a[].strides[i] if a[].rank() > 0 else 1
        span.add_dim(index[].shape[i], sa, sb[i], index[].strides[i])


def gather(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, sparse_grad)."""
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index):
        raise call.fail("RuntimeError", "Expected dtype int32/int64 for index")
    var dim = wrap_dim(call.int(1), t[].rank())
    if index[].numel != 0:
        _check_rank(index, t, "input")
        for i in range(t[].rank()):
            if i != dim and size_at(index, i) > t[].shape[i]:
                raise Error(
                    t"RuntimeError|Size does not match at dimension {i} expected index"
                    t" {shape_text(index[].shape, index[].rank())} to be no larger than self"
                    t" {shape_text(t[].shape, t[].rank())} apart from dimension {dim}"
                )
    var indices = as_indices(index)
    var result: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        result = result_for(call, t[].code(), index[].shape, index[].rank(), t[].device())
        if index[].numel != 0:
            var r = as_tensor(result)
            var span = span_of(t, t[].data(), r[].data(), as_tensor(indices)[].data(), dim)
            _element_dims(span, t, r[].strides, as_tensor(indices))
            run_move[TAKE](call, t, span)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return finished(call, result)


def _check_sizes(t: TPtr, dim: Int, index: TPtr, source: TPtr, has_source: Bool) raises:
    _check_rank(index, t, "self")
    if has_source:
        _check_rank(index, source, "src")
    var fits = True
    for i in range(max(t[].rank(), 1)):
        var n = size_at(index, i)
        if i != dim and n > size_at(t, i):
            fits = False
        if has_source and n > size_at(source, i):
            fits = False
    if fits:
        return
    var text = String(
        t"Expected index {shape_text(index[].shape, index[].rank())} to be no larger than self"
        t" {shape_text(t[].shape, t[].rank())} apart from dimension {dim}"
    )
    if has_source:
        text += String(t" and to be no larger size than src {shape_text(source[].shape, source[].rank())}")
    raise Error(t"RuntimeError|{text}")


def _scatter[add: Bool](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index):
        raise call.fail("RuntimeError", "Expected dtype int32/int64 for index")
    var dim = wrap_dim(call.int(1), t[].rank())
    var by_tensor = add or call.is_tensor(3)
    var source = call.tensor(3) if by_tensor else t
    var value = Scalar2(0, 0, 0, 0)
    if not by_tensor:
        value = call.scalar(3)
    elif source[].code() != t[].code():
        raise Error("RuntimeError|scatter(): Expected self.dtype to be equal to src.dtype")
    if index[].numel != 0:
        _check_sizes(t, dim, index, source, by_tensor)
    var indices = as_indices(index)
    var target: Obj = 0
    var constant: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        if call.inplace():
            if by_tensor:
                check_overlap(t, source)
            check_overlap(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        if index[].numel != 0:
            var data = a[].writable()
            var strides = source[].strides.copy() if by_tensor else no_dims()
            if not by_tensor:
                constant = constant_of(value, t)
            var b = source[].data() if by_tensor else as_tensor(constant)[].data()
            var span = span_of(a, data, b, as_tensor(indices)[].data(), dim)
            _element_dims(span, a, strides, as_tensor(indices))
            comptime if add:
                run_add(call, a, span)
            else:
                run_move[PUT](call, a, span)
    except e:
        decref(indices)
        if target != 0:
            decref(target)
        if constant != 0:
            decref(constant)
        raise e^
    decref(indices)
    if constant != 0:
        decref(constant)
    return done(call, target)


def constant_of(s: Scalar2, like: TPtr) raises -> Obj:
    """A number as a tensor without dimensions, of the dtype and device of another one."""
    var made = new_tensor(like[].code(), no_dims(), 0)
    var space = stack_allocation[16, UInt8]()
    put_number(space.as_unsafe_any_origin(), like[].code(), s)
    for i in range(itemsize(like[].code())):
        at[UInt8](as_tensor(made)[].data())[unsafe_offset=i] = space[unsafe_offset=i]
    if like[].device() == 0:
        return made
    var there = new_tensor(like[].code(), no_dims(), 0, like[].device())
    try:
        write_into(there, made)
    except e:
        decref(there)
        decref(made)
        raise e^
    decref(made)
    return there


def scatter(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, src): src a tensor or a number; also in place."""
    return _scatter[False](call)


def scatter_add(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, src); also in place."""
    return _scatter[True](call)


# ---------------------------------------------------------------- embedding


def _check_embedding(call: Call, index: TPtr) raises:
    if not is_index(index):
        raise Error(
            t"RuntimeError|Expected tensor for argument #1 'indices' to have one of the following scalar types: Long,"
            t" Int; but got torch.{type_name(index[].code())}Tensor instead (while checking arguments for embedding)"
        )


def embedding(mut call: Call) raises -> Obj:
    """Parameters (weight, indices, padding_idx, scale_grad_by_freq): rows of a (V, D) weight."""
    var t = call.tensor(0)
    var index = call.tensor(1)
    _check_embedding(call, index)
    if t[].rank() != 2:
        raise Error("RuntimeError|'weight' must be 2-D")
    var n = index[].rank()
    if n + 1 > 16:
        raise call.fail("RuntimeError", "the result would have more than 16 dimensions")
    var shape = index[].shape.copy()
    shape[n] = t[].shape[1]
    var indices = as_indices(index)
    var result: Obj = 0
    try:
        check_rows(indices, t[].shape[0])
        result = new_tensor(t[].code(), shape, n + 1, t[].device())
        var r = as_tensor(result)
        var span = span_of(t, t[].data(), r[].data(), as_tensor(indices)[].data(), 0)
        span.add_dim(index[].numel, 0, t[].shape[1], 1)
        span.add_dim(t[].shape[1], t[].strides[1], 1, 0)
        run_move[TAKE](call, t, span)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return result


def embedding_backward(mut call: Call) raises -> Obj:
    """Parameters (grad, indices, num_weights, padding_idx, scale_grad_by_freq): the dense gradient of the weight.

    Rows of one index are added in order, whatever the number of threads."""
    var g = call.tensor(0)
    var index = call.tensor(1)
    _check_embedding(call, index)
    var n = index[].rank()
    if g[].rank() != n + 1 or not same_dims(g[].shape, index[].shape, n):
        raise call.fail(
            "RuntimeError",
            String(
                t"a gradient of shape {shape_text(g[].shape, g[].rank())} does not match indices of shape"
                t" {shape_text(index[].shape, n)}"
            ),
        )
    if g[].code() < FLOAT16 or g[].code() > FLOAT64:
        raise unsupported(call.name(), g[].code())
    var padding = call.int(3)
    var scaled = call.bool(4)
    var shape = no_dims()
    shape[0] = call.int(2)
    shape[1] = g[].shape[n]
    if shape[0] < 0:
        raise call.fail("RuntimeError", "num_weights must not be negative")
    var indices = as_indices(index)
    var grad: Obj = 0
    var kept: Obj = 0
    var result: Obj = 0
    try:
        check_rows(indices, shape[0])
        grad = contiguous_of(g, g[].code())
        result = new_tensor(g[].code(), shape, 2, g[].device())
        var zero = constant_of(Scalar2(1, 0, 0, 0), g)
        try:
            write_into(result, zero)
        finally:
            decref(zero)
        var there = g[].device() != 0
        if scaled or (padding >= 0 and not there):
            # rows of padding add nothing; with scaling each row is divided by how often its index occurs
            kept = _weighted(as_tensor(grad), as_tensor(indices), shape[0], padding, scaled)
        var from_ = as_tensor(kept if kept != 0 else grad)
        var r = as_tensor(result)
        var span = span_of(r, r[].writable(), from_[].data(), as_tensor(indices)[].data(), 0)
        span.add_dim(index[].numel, 0, shape[1], 1)
        span.add_dim(shape[1], 1, 1, 0)
        run_add(call, r, span)
        if there and padding >= 0 and padding < shape[0]:
            var one = shape.copy()
            one[0] = 1
            var row = view_of(r, r[].offset + padding * shape[1], one, r[].strides, 2)
            var nothing: Obj = 0
            try:
                nothing = constant_of(Scalar2(1, 0, 0, 0), g)
                write_into(row, nothing)
            finally:
                decref(row)
                if nothing != 0:
                    decref(nothing)
    except e:
        for o in [indices, grad, kept, result]:
            if o != 0:
                decref(o)
        raise e^
    decref(indices)
    decref(grad)
    if kept != 0:
        decref(kept)
    return result


def _weighted(g: TPtr, indices: TPtr, rows: Int, padding: Int, scaled: Bool) raises -> Obj:
    """A copy of the gradient with its padding rows zero and, if asked, each row over its index's count."""
    if g[].device() != 0:
        # counted in host memory
        var own = on_host(g)
        var places = on_host(indices)
        try:
            return on_device(_weighted(as_tensor(own), as_tensor(places), rows, padding, scaled), g[].device())
        finally:
            decref(own)
            decref(places)
    var copy = new_tensor(g[].code(), g[].shape, g[].rank())
    var n = indices[].numel
    var counts = external_call["calloc", Int](max(rows, 1), Int(8))
    if counts == 0:
        decref(copy)
        raise Error("OutOfMemoryError|embedding_backward(): no memory for the counts")
    for i in range(n):
        at[Int](counts)[unsafe_offset=load[Int](indices[].data() + 8 * i)] += 1
    var width = g[].numel // max(n, 1)
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if g[].code() == c:
            for i in range(n):
                var row = load[Int](indices[].data() + 8 * i)
                var f = 1.0 / Float64(at[Int](counts)[unsafe_offset=row]) if scaled else Float64(1)
                if row == padding:
                    f = 0
                _scale_row[dtype_of[c]](as_tensor(copy)[].data(), g[].data(), i * width, width, f)
    external_call["free", NoneType](counts)
    return copy


def _scale_row[dt: DType](to: Int, from_: Int, start: Int, n: Int, factor: Float64):
    for k in range(start, start + n):
        # times 0 would keep an infinity
        var v = at[Scalar[dt]](from_)[unsafe_offset=k].cast[DType.float64]() * factor if factor != 0 else Float64(0)
        at[Scalar[dt]](to)[unsafe_offset=k] = v.cast[dt]()


@export("dumbtorch_register_index")
def register_index() abi("C") -> None:
    register[index_select]("index_select")
    register[index_rows]("index_rows")
    register[wrap_indices]("_wrap_indices")
    register[index_add]("index_add")
    register[index_copy]("index_copy")
    register[gather]("gather")
    register[scatter]("scatter")
    register[scatter_add]("scatter_add")
    register[embedding]("embedding")
    register[embedding_backward]("embedding_backward")
