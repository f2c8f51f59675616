"""`x[i, j, ...]` and writes to it, with an index tensor for any of the dimensions.

The index tensors become one vector of offsets, checked and counted from the front; then the op is one walk along that
vector (kernels/walk.mojo).
"""

from std.ffi import external_call
from std.math import ceildiv
from std.sys.info import simd_width_of
from tensor.call import Call, register
from tensor.dtype import INT64, type_name
from tensor.errors import warn
from tensor.layout import Dims, broadcast_into, expanded_strides, has_internal_overlap, no_dims, same_dims, shape_text
from tensor.memory import at, load
from tensor.object import TPtr, as_tensor, is_tensor, new_tensor
from tensor.py import Obj, decref, is_sequence, new_ref, seq_item, seq_len
from tensor.runtime import MAX_RANK, runtime
from tensor.threads import Body
from kernels.index_api import as_indices, check_apart, check_out, is_index, walk, wrapped
from kernels.results import done, finished, result_for, write_into
from kernels.transfer_api import contiguous_of, on_device, on_host
from kernels.unlocked import run_tasks
from kernels.walk import ADD, PUT, Span3, TAKE

comptime BLOCK = 1 << 15


struct Offsets(Body):
    """Adds `index * stride`, negative indices counted from the back, to a vector of offsets (or begins it)."""

    comptime W = simd_width_of[DType.int64]()
    var to: Int
    var index: Int
    var n: Int
    var size: Int
    var stride: Int
    var begins: Bool
    var bad: Int  # not 0 once an index is outside

    def __init__(out self, to: Int, index: Int, n: Int, size: Int, stride: Int, begins: Bool):
        self.to = to
        self.index = index
        self.n = n
        self.size = size
        self.stride = stride
        self.begins = begins
        self.bad = 0

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * BLOCK, self.n)
        var i = task * BLOCK
        var bad = False
        while i + Self.W <= last:
            bad = bad or self._step[Self.W](i)
            i += Self.W
        while i < last:
            bad = bad or self._step[1](i)
            i += 1
        if bad:
            at[Int](self.bad)[] = 1

    @always_inline
    def _step[w: Int](self, i: Int) -> Bool:
        comptime V = SIMD[DType.int64, w]
        var v = at[Int64](self.index).unsafe_load[width=w](i)
        v += v.lt(V(0)).select(V(Int64(self.size)), V(0))
        var outside = v.lt(V(0)) | v.ge(V(Int64(self.size)))
        var sum = v * V(Int64(self.stride))
        if not self.begins:
            sum += at[Int64](self.to).unsafe_load[width=w](i)
        at[Int64](self.to).unsafe_store(i, sum)
        return outside.reduce_or()


def _add_offsets(to: Int, index: TPtr, dim: Int, size: Int, stride: Int, begins: Bool) raises:
    """`index` is contiguous int64 in host memory; IndexError where one is outside."""
    var flag = external_call["calloc", Int](1, Int(8))
    var work = Offsets(to, index[].data(), index[].numel, size, stride, begins)
    work.bad = flag
    var tasks = ceildiv(work.n, BLOCK)
    run_tasks(work, tasks, work.n)
    var bad = load[Int](flag) != 0
    external_call["free", NoneType](flag)
    if not bad:
        return
    for i in range(index[].numel):
        var v = load[Int](index[].data() + 8 * i)
        if v < -size or v >= size:
            raise Error(t"IndexError|index {v} is out of bounds for dimension {dim} with size {size}")


struct Indexed(Movable):
    """An advanced index made ready: the offsets of the places, and the shape of what they show."""

    var offsets: Obj  # contiguous int64, one for each place
    var step: Int  # elements that an offset counts
    var count: Int
    var shape: Dims
    var ndim: Int
    var first: Int  # where the dimensions of the index stand in `shape`, and how many they are
    var depth: Int
    var source: Dims  # for each dimension of `shape` outside of them: the tensor's dimension

    def __init__(out self, t: TPtr, list: Obj) raises:
        self.offsets = 0
        self.step = 1
        self.count = 1
        self.shape = no_dims()
        self.ndim = 0
        self.first = 0
        self.depth = 0
        self.source = no_dims()
        var n = seq_len(list)
        if n > t[].rank():
            raise Error(t"IndexError|too many indices for tensor of dimension {t[].rank()} (got {n})")
        var shape = no_dims()
        var depth = 0
        var given = no_dims()  # the dimensions that are indexed
        var k = 0
        for d in range(n):
            var o = seq_item(list, d)
            if o == runtime()[].none:
                continue
            if not is_tensor(o) or not is_index(as_tensor(o)):
                raise Error("IndexError|tensors used as indices must be long, int, byte or bool tensors")
            if broadcast_into(shape, depth, as_tensor(o)[].shape, as_tensor(o)[].rank()) >= 0:
                raise _mismatch(list)
            given[k] = d
            k += 1
        if k == 0:
            raise Error("IndexError|an index must hold a tensor")
        if depth + t[].rank() - k > MAX_RANK:
            raise Error(t"RuntimeError|at most {MAX_RANK} dimensions are supported")
        # index dimensions that stand together stay where they are, others go to the front
        self.first = given[0] if given[k - 1] - given[0] == k - 1 else 0
        self.depth = depth
        var taken = 0
        for i in range(k):
            taken |= 1 << given[i]
        var d = 0
        for i in range(t[].rank() - k + depth):
            if i >= self.first and i < self.first + depth:
                self.shape[i] = shape[i - self.first]
                self.count *= self.shape[i]
                continue
            while taken & (1 << d) != 0:
                d += 1
            self.shape[i] = t[].shape[d]
            self.source[i] = d
            d += 1
        self.ndim = t[].rank() - k + depth
        if k == 1 and t[].device() == 0:
            var at = given[0]
            self.step = t[].strides[at]
            self.offsets = as_indices(as_tensor(seq_item(list, at)))
            try:
                self.offsets = wrapped(self.offsets, at, t[].shape[at])
            except e:
                decref(self.offsets)
                raise e^
            return
        var made = new_tensor(INT64, shape, depth)
        try:
            for i in range(k):
                var dim = given[i]
                var spread = _spread(as_tensor(seq_item(list, dim)), shape, depth)
                try:
                    _add_offsets(
                        as_tensor(made)[].data(), as_tensor(spread), dim, t[].shape[dim], t[].strides[dim], i == 0
                    )
                finally:
                    decref(spread)
        except e:
            decref(made)
            raise e^
        self.offsets = on_device(made, t[].device())

    def span(self, t: TPtr, data: Int, b: Int, sb: Dims) -> Span3:
        """The walk over t and a tensor of this shape, whose strides are `sb`; see `_joined`."""
        var span = Span3(data, b, as_tensor(self.offsets)[].data(), self.step, self.first)
        var i = 0
        while i < self.ndim or i == self.first:
            if i == self.first:
                span.add_dim(self.count, 0, sb[self.first + self.depth - 1] if self.depth > 0 else 0, 1)
                i += self.depth
                if i >= self.ndim:
                    break
            span.add_dim(self.shape[i], t[].strides[self.source[i]], sb[i], 0)
            i += 1
        return span^

    def joined(self, strides: Dims) -> Bool:
        """Whether a tensor of this shape walks the dimensions of the index as one."""
        for i in range(self.first, self.first + self.depth - 1):
            if strides[i] != strides[i + 1] * self.shape[i + 1]:
                return False
        return True


def _mismatch(list: Obj) -> Error:
    var text = String()
    for i in range(seq_len(list)):
        var o = seq_item(list, i)
        if is_tensor(o):
            if text != "":
                text += ", "
            text += shape_text(as_tensor(o)[].shape, as_tensor(o)[].rank())
    return Error(t"IndexError|shape mismatch: indexing tensors could not be broadcast together with shapes {text}")


def _spread(t: TPtr, shape: Dims, ndim: Int) raises -> Obj:
    """Contiguous int64 in host memory with t's values in the broadcast shape."""
    if t[].rank() == ndim and same_dims(t[].shape, shape, ndim) and t[].device() == 0:
        return contiguous_of(t, INT64)
    var made = new_tensor(INT64, shape, ndim)
    try:
        write_into(made, Int(t))
    except e:
        decref(made)
        raise e^
    return made


def _indices(call: Call, i: Int) raises -> Obj:
    var list = call.obj(i)
    if not is_sequence(list):
        raise call.type_error(i, "tuple of Tensors")
    return list


def index(mut call: Call) raises -> Obj:
    """Parameters (input, indices): an int64 or int32 tensor, or None, for each of the first dimensions."""
    var t = call.tensor(0)
    var list = _indices(call, 1)
    if call.has_out():
        check_out(call, t)
        for i in range(seq_len(list)):
            if is_tensor(seq_item(list, i)):
                check_apart(as_tensor(call.out), as_tensor(seq_item(list, i)))
    var key = Indexed(t, list)
    var result: Obj = 0
    try:
        result = result_for(call, t[].code(), key.shape, key.ndim, t[].device())
        var r = as_tensor(result)
        if r[].numel > 0:
            var span = key.span(t, t[].data(), r[].data(), r[].strides)
            span.limit = Int.MAX
            walk(call, t, span, TAKE)
    except e:
        decref(key.offsets)
        if result != 0:
            decref(result)
        raise e^
    decref(key.offsets)
    return finished(call, result)


def _warn_expanded() raises:
    warn(
        String(
            "Use of index_put_ on expanded tensors is deprecated. Please clone() the tensor before performing this"
            " operation. This also applies to advanced indexing e.g. tensor[indices] = tensor"
        )
    )


def index_put(mut call: Call) raises -> Obj:
    """Parameters (input, indices, values, accumulate): also in place; values broadcast to what the index shows."""
    var t = call.tensor(0)
    var values = call.tensor(2)
    if values[].code() != t[].code():
        raise Error(
            t"RuntimeError|Index put requires the source and destination dtypes"
            t" match, got {type_name(t[].code())} for the destination and"
            t" {type_name(values[].code())} for the source."
        )
    var accumulate = call.bool(3)
    var list = _indices(call, 1)
    var key = Indexed(t, list)
    var target: Obj = 0
    var kept: Obj = 0
    try:
        var shape = key.shape.copy()
        var n = key.ndim
        # leading dimensions of size 1 do not count
        var shift = 0
        while values[].rank() - shift > n and values[].shape[shift] == 1:
            shift += 1
        var own = no_dims()
        var strides = no_dims()
        for i in range(shift, values[].rank()):
            own[i - shift] = values[].shape[i]
            strides[i - shift] = values[].strides[i]
        var bad = broadcast_into(shape, n, own, values[].rank() - shift)
        if bad >= 0 or n != key.ndim or not same_dims(shape, key.shape, n):
            raise Error(
                t"RuntimeError|shape mismatch: value tensor of shape"
                t" {shape_text(values[].shape, values[].rank())} cannot be"
                t" broadcast to indexing result of shape"
                t" {shape_text(key.shape, key.ndim)}"
            )
        if call.inplace():
            if has_internal_overlap(t[].shape, t[].strides, t[].rank()):
                _warn_expanded()
            check_apart(t, values)
            for i in range(seq_len(list)):
                if is_tensor(seq_item(list, i)):
                    check_apart(t, as_tensor(seq_item(list, i)))
            target = new_ref(Int(t))
        else:
            target = result_for(call, t[].code(), t[].shape, t[].rank(), t[].device())
            write_into(target, Int(t))
        var a = as_tensor(target)
        var data = a[].writable()
        var from_ = values[].data()
        var sb = expanded_strides(own, strides, values[].rank() - shift, key.shape, key.ndim)
        if not key.joined(sb) or values[].storage_address == t[].storage_address:
            kept = new_tensor(t[].code(), key.shape, key.ndim, t[].device())
            write_into(kept, Int(values))
            from_ = as_tensor(kept)[].data()
            sb = as_tensor(kept)[].strides.copy()
        if not call.inplace():
            # the offsets were counted in the strides of the input
            if not same_dims(a[].strides, t[].strides, t[].rank()):
                decref(key.offsets)
                key.offsets = 0
                key = Indexed(a, list)
        var span = key.span(a, data, from_, sb)
        span.limit = Int.MAX
        walk(call, a, span, ADD if accumulate else PUT)
    except e:
        for o in [key.offsets, target, kept]:
            if o != 0:
                decref(o)
        raise e^
    decref(key.offsets)
    if kept != 0:
        decref(kept)
    return done(call, target)


@export("dumbtorch_register_index_joint")
def register_index_joint() abi("C") -> None:
    register[index]("index")
    register[index_put]("index_put")
