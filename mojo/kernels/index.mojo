"""Indexing along a dimension: index_select, gather, scatter, their sums; embedding.

Indices are int64 or int32 and are all checked before anything is written. The loops are in kernels/walk_run.mojo.
"""

from std.ffi import external_call
from tensor.call import Call, Scalar2, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, dtype_of, is_complex, type_name
from tensor.layout import no_dims, same_dims, shape_text, wrap_dim
from tensor.memory import at, load
from tensor.object import TPtr, as_tensor, new_tensor, view_of
from tensor.py import Obj, decref
from kernels.pointwise import unsupported
from kernels.results import done, finished, result_for, target_of, write_into
from kernels.transfer_api import contiguous_of, on_device, on_host
from kernels.walk import ADD, PUT, Span3, TAKE, first_outside

from kernels.index_api import (
    as_indices, check_apart, check_bounds, check_out, check_rank, check_rows, check_sizes, constant_of, element_dims, is_index, size_at, span_of, walk,
    wrapped
)  # fmt: skip


# ---------------------------------------------------------------- a vector of indices along a dimension


def index_select(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index)."""
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index):
        raise call.fail("RuntimeError", "Expected dtype int32 or int64 for index")
    if index[].rank() > 1:
        raise call.fail("IndexError", "Index is supposed to be a vector")
    if call.has_out():
        check_out(call, t)
        check_apart(as_tensor(call.out), index)
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
        walk(call, t, span, TAKE)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return finished(call, result)


def _check_vector(call: Call, t: TPtr, dim: Int, index: TPtr, source: TPtr, name: StaticString) raises:
    if index[].rank() > 1:
        raise Error(
            t"IndexError|{name}: Index is supposed to be a vector, but got dim:"
            t" {index[].rank()} with type: {type_name(index[].code())} and"
            t" size: {shape_text(index[].shape, index[].rank())}"
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
            t"RuntimeError|index_add_(): self ({type_name(t[].code())}) and"
            t" source ({type_name(source[].code())}) must have the same scalar"
            t" type"
        )
    var n = size_at(source, dim) if dim < max(source[].rank(), 1) else -1
    if n != index[].numel:
        raise Error(
            t"RuntimeError|index_add_(): Number of indices ({index[].numel})"
            t" should be equal to source.size(dim): ({n}), for dim: {dim}"
        )
    var same = source[].rank() == t[].rank() or (source[].rank() == 0 and t[].rank() == 1)
    for i in range(t[].rank()):
        same = same and (i == dim or source[].shape[i] == t[].shape[i])
    if not same:
        raise Error(
            t"RuntimeError|source tensor shape must match self tensor shape,"
            t" excluding the specified dimension. Got self.shape ="
            t" {shape_text(t[].shape, t[].rank())} source.shape ="
            t" {shape_text(source[].shape, source[].rank())}"
        )
    if alpha.category == 3 and not is_complex(t[].code()):
        raise call.fail("RuntimeError", "a complex alpha needs complex tensors")
    var indices = as_indices(index)
    var target: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        if call.inplace():
            check_apart(t, source)
            check_apart(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        var data = a[].writable()
        var span = span_of(a, data, source[].data(), as_tensor(indices)[].data(), dim)
        span.factor = alpha.d
        span.factor_im = alpha.im
        _vector_dims(span, a, source, dim)
        walk(call, a, span, ADD)
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
            t"IndexError|index_copy_(): When source and destination are not"
            t" scalars, their dimensionality must match. Source dimensionality"
            t" ({source[].rank()}), destination dimensionality ({t[].rank()})"
        )
    if index[].code() != INT64:
        raise Error(
            t"RuntimeError|index_copy_(): Expected a long tensor for index, but got {type_name(index[].code())}"
        )
    if t[].code() != source[].code():
        raise Error(
            t"RuntimeError|index_copy_(): self and source expected to have the"
            t" same dtype, but got (self) {type_name(t[].code())} and (source)"
            t" {type_name(source[].code())}"
        )
    var same = source[].rank() == t[].rank() or (source[].rank() == 0 and t[].rank() == 1) or source[].numel == 1
    if same and source[].rank() == t[].rank():
        for i in range(t[].rank()):
            same = same and (i == dim or source[].shape[i] == t[].shape[i])
    elif same:
        same = t[].rank() <= 1
    if not same:
        raise Error(
            t"RuntimeError|index_copy_(): Source/destination tensor must have"
            t" same slice shapes. Destination shape:"
            t" {shape_text(t[].shape, t[].rank())} at dimension {dim} and"
            t" source shape: {shape_text(source[].shape, source[].rank())}."
        )
    if size_at(source, dim) != index[].numel:
        raise Error(
            t"IndexError|index_copy_(): Number of indices ({index[].numel})"
            t" should be equal to source.size(dim) ({size_at(source, dim)})"
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
            check_apart(t, source)
            check_apart(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        var data = a[].writable()
        var span = span_of(a, data, source[].data(), as_tensor(indices)[].data(), dim)
        if t[].rank() == 0:
            span.add_dim(1, 1, 1, 1)
        else:
            _vector_dims(span, a, source, dim)
        walk(call, a, span, PUT)
    except e:
        decref(indices)
        if target != 0:
            decref(target)
        raise e^
    decref(indices)
    return done(call, target)


# ---------------------------------------------------------------- an index for each element


def gather(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, sparse_grad)."""
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index) and index[].numel != 0:
        raise call.fail("RuntimeError", "Expected dtype int32/int64 for index")
    if call.has_out():
        check_out(call, t)
        check_apart(as_tensor(call.out), index)
    var dim = wrap_dim(call.int(1), t[].rank())
    if index[].numel != 0:
        check_rank(index, t, "input")
        for i in range(t[].rank()):
            if i != dim and size_at(index, i) > t[].shape[i]:
                raise Error(
                    t"RuntimeError|Size does not match at dimension"
                    t" {i} expected index"
                    t" {shape_text(index[].shape, index[].rank())} to be no"
                    t" larger than self"
                    t" {shape_text(t[].shape, t[].rank())} apart from dimension"
                    t" {dim}"
                )
    var indices = as_indices(index)
    var result: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        result = result_for(call, t[].code(), index[].shape, index[].rank(), t[].device())
        if index[].numel != 0:
            var r = as_tensor(result)
            var span = span_of(t, t[].data(), r[].data(), as_tensor(indices)[].data(), dim)
            element_dims(span, t, r[].strides, as_tensor(indices))
            walk(call, t, span, TAKE)
    except e:
        decref(indices)
        if result != 0:
            decref(result)
        raise e^
    decref(indices)
    return finished(call, result)


def _scatter[add: Bool](mut call: Call) raises -> Obj:
    var t = call.tensor(0)
    var index = call.tensor(2)
    if not is_index(index) and index[].numel != 0:
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
        check_sizes(t, dim, index, source, by_tensor)
    var indices = as_indices(index)
    var target: Obj = 0
    var constant: Obj = 0
    try:
        check_bounds(indices, dim, size_at(t, dim))
        if call.inplace():
            if by_tensor:
                check_apart(t, source)
            check_apart(t, index)
        target = target_of(call, t)
        var a = as_tensor(target)
        if index[].numel != 0:
            var data = a[].writable()
            var strides = source[].strides.copy() if by_tensor else no_dims()
            if not by_tensor:
                constant = constant_of(value, t)
            var b = source[].data() if by_tensor else as_tensor(constant)[].data()
            var span = span_of(a, data, b, as_tensor(indices)[].data(), dim)
            element_dims(span, a, strides, as_tensor(indices))
            comptime if add:
                walk(call, a, span, ADD)
            else:
                walk(call, a, span, PUT)
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
            t"RuntimeError|Expected tensor for argument #1 'indices' to have"
            t" one of the following scalar types: Long, Int; but got"
            t" torch.{type_name(index[].code())}Tensor instead (while checking"
            t" arguments for embedding)"
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
        walk(call, t, span, TAKE)
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
                t"a gradient of shape {shape_text(g[].shape, g[].rank())} does"
                t" not match indices of shape {shape_text(index[].shape, n)}"
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
        walk(call, r, span, ADD)
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
    register[index_add]("index_add")
    register[index_copy]("index_copy")
    register[gather]("gather")
    register[scatter]("scatter")
    register[scatter_add]("scatter_add")
    register[embedding]("embedding")
    register[embedding_backward]("embedding_backward")
