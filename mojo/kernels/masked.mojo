"""What depends on where a mask holds: nonzero, masked_select, masked_scatter.

The elements are cut into blocks of a fixed size; the first pass counts in each block, the second one writes from where
the blocks before end. The results do not depend on the number of threads.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import BOOL, INT64, is_complex, is_floating, itemsize, type_name
from tensor.errors import python_error
from tensor.layout import Dims, broadcast_into, no_dims, same_dims
from tensor.memory import at, load, memcpy, store
from tensor.object import TPtr, as_tensor, new_strided, new_tensor, set_layout
from tensor.py import Obj, decref, new_ref
from tensor.threads import Body
from kernels.results import done, finished, result_for, target_of, write_into
from kernels.index_api import check_apart, check_out
from kernels.pointwise import broadcast_error, unsupported
from kernels.device_api import launch_walk
from kernels.transfer_api import contiguous_of, on_device
from kernels.unlocked import run_tasks
from kernels.walk import PUT, Span3, TAKE

comptime BLOCK = 1 << 16

comptime COUNT = 0
comptime PLACES = 1  # the numbers of the elements
comptime SELECT = 2  # the elements of another tensor at these places
comptime SCATTER = 3  # values, in order, to these places of another tensor


struct Blocks[T: DType](Body):
    """Where elements of an unsigned type have a bit of `bits`; `lanes` of them make one element."""

    var mask: Int
    var bits: Scalar[Self.T]
    var lanes: Int
    var n: Int
    var counts: Int  # of each block, then where each block's results start, and where the last one's end
    var kind: Int
    var a: Int  # SELECT reads here, SCATTER writes here
    var out: Int  # PLACES and SELECT write here, SCATTER reads here
    var size: Int  # bytes of an element of `a`

    def __init__(out self, mask: Int, bits: Scalar[Self.T], lanes: Int, n: Int):
        self.mask = mask
        self.bits = bits
        self.lanes = lanes
        self.n = n
        self.counts = 0
        self.kind = COUNT
        self.a = 0
        self.out = 0
        self.size = 0

    def blocks(self) -> Int:
        return ceildiv(self.n, BLOCK)

    def count(mut self) raises -> Int:
        """How many there are; prepares `execute`, after which `release` must follow."""
        self.counts = external_call["malloc", Int](8 * (self.blocks() + 1))
        if self.counts == 0:
            raise Error("OutOfMemoryError|no memory for the counts of a mask")
        self.kind = COUNT
        self.execute()
        var total = 0
        for i in range(self.blocks()):
            var here = load[Int](self.counts + 8 * i)
            store[Int](self.counts + 8 * i, total)
            total += here
        store[Int](self.counts + 8 * self.blocks(), total)
        return total

    def execute(mut self):
        run_tasks(self, self.blocks(), self.n)

    def release(self):
        external_call["free", NoneType](self.counts)

    @always_inline
    def _holds(self, i: Int) -> Bool:
        var p = at[Scalar[Self.T]](self.mask)
        if self.lanes == 1:
            return (p[unsafe_offset=i] & self.bits) != 0
        return ((p[unsafe_offset=2 * i] | p[unsafe_offset=2 * i + 1]) & self.bits) != 0

    def run(self, task: Int, worker: Int):
        var first = task * BLOCK
        var last = min(first + BLOCK, self.n)
        if self.kind == COUNT:
            store[Int](self.counts + 8 * task, self._counted(first, last))
            return
        var k = load[Int](self.counts + 8 * task)
        var end = load[Int](self.counts + 8 * task + 8)
        if self.kind == PLACES:
            # without a branch, which would be guessed wrong as often as the mask is irregular
            var i = first
            while k < end:
                store[Int](self.out + 8 * k, i)
                k += Int(self._holds(i))
                i += 1
        elif self.size == 1:
            self._move[DType.uint8, 1](first, last, k, end)
        elif self.size == 2:
            self._move[DType.uint16, 1](first, last, k, end)
        elif self.size == 4:
            self._move[DType.uint32, 1](first, last, k, end)
        elif self.size == 8:
            self._move[DType.uint64, 1](first, last, k, end)
        else:
            self._move[DType.uint64, 2](first, last, k, end)

    @always_inline
    def _counted(self, first: Int, last: Int) -> Int:
        comptime W = simd_width_of[Self.T]()
        var total = 0
        var i = first
        if self.lanes == 1:
            var p = at[Scalar[Self.T]](self.mask)
            var bits = SIMD[Self.T, W](self.bits)
            while i + W <= last:
                var hit = (p.unsafe_load[width=W](i) & bits).ne(0)
                total += Int(hit.cast[DType.uint8]().reduce_add())
                i += W
        while i < last:
            total += Int(self._holds(i))
            i += 1
        return total

    @always_inline
    def _move[E: DType, lanes: Int](self, first: Int, last: Int, start: Int, end: Int):
        var a = at[Scalar[E]](self.a)
        var out_ = at[Scalar[E]](self.out)
        var k = start
        if self.kind == SELECT:
            var i = first
            while k < end:
                comptime for j in range(lanes):
                    out_[unsafe_offset=k * lanes + j] = a[unsafe_offset=i * lanes + j]
                k += Int(self._holds(i))
                i += 1
            return
        for i in range(first, last):
            if self._holds(i):
                comptime for j in range(lanes):
                    a[unsafe_offset=i * lanes + j] = out_[unsafe_offset=k * lanes + j]
                k += 1


# ---------------------------------------------------------------- nonzero


def _sign_mask(code: Int, size: Int) -> UInt64:
    """The bits of an element, but for the sign of floats: -0 is zero."""
    if is_complex(code):
        if size == 4:
            return 0x7FFF7FFF
        return 0x7FFFFFFF7FFFFFFF if size == 8 else 0x7FFFFFFFFFFFFFFF
    var all = UInt64.MAX if size == 8 else (UInt64(1) << UInt64(8 * size)) - 1
    return all >> 1 if is_floating(code) else all


def _places[T: DType](t: TPtr) raises -> Obj:
    """The numbers of the nonzero elements of a contiguous tensor, an int64 vector."""
    var size = itemsize(t[].code())
    var mask = _sign_mask(t[].code(), size)
    var work = Blocks[T](t[].data(), mask.cast[T](), 2 if size == 16 else 1, t[].numel)
    var shape = no_dims()
    shape[0] = work.count()
    var made: Obj
    try:
        made = new_tensor(INT64, shape, 1)
    except e:
        work.release()
        raise e^
    work.kind = PLACES
    work.out = as_tensor(made)[].data()
    work.execute()
    work.release()
    return made


def _to_host(t: TPtr) raises -> Obj:
    """A contiguous tensor on the CPU: a new reference."""
    if t[].device() == 0:
        return contiguous_of(t, t[].code())
    var copy = new_tensor(t[].code(), t[].shape, t[].rank())
    try:
        write_into(copy, Int(t))
    except e:
        decref(copy)
        raise e^
    return copy


def nonzero(mut call: Call) raises -> Obj:
    """Parameters (input): int64 of shape (count, ndim), the columns contiguous as in PyTorch."""
    var t = call.tensor(0)
    var ndim = t[].rank()
    var device = t[].device()
    var source = _to_host(t)
    var s = as_tensor(source)
    var flat: Obj
    try:
        var size = itemsize(t[].code())
        if size == 1:
            flat = _places[DType.uint8](s)
        elif size == 2:
            flat = _places[DType.uint16](s)
        elif size == 4:
            flat = _places[DType.uint32](s)
        else:
            flat = _places[DType.uint64](s)
    finally:
        decref(source)
    var count = as_tensor(flat)[].numel
    var shape = no_dims()
    var strides = no_dims()
    shape[0] = count
    shape[1] = ndim
    strides[0] = 1
    strides[1] = max(count, 1)
    var made = flat
    if ndim == 1:
        set_layout(as_tensor(flat), shape, strides, 2)
    else:
        try:
            made = new_strided(INT64, shape, strides, 2)
            if ndim > 0:
                _unravel(as_tensor(flat)[].data(), count, t[].shape, ndim, as_tensor(made)[].data())
        finally:
            decref(flat)
    if device != 0:
        var there: Obj
        try:
            there = new_tensor(INT64, shape, 2, device)
            write_into(there, made)
        finally:
            decref(made)
        made = there
    if not call.has_out():
        return made
    try:
        decref(result_for(call, INT64, shape, 2, 0))
    except e:
        decref(made)
        raise e^
    return finished(call, made)


def _unravel(places: Int, count: Int, shape: Dims, ndim: Int, to: Int):
    """Element numbers, ascending, to coordinates: one column for each dimension."""
    var here = no_dims()
    var before = 0
    for k in range(count):
        var i = load[Int](places + 8 * k)
        var d = ndim - 1
        here[d] += i - before
        before = i
        while here[d] >= shape[d] and d > 0:
            here[d - 1] += here[d] // shape[d]
            here[d] %= shape[d]
            d -= 1
        for j in range(ndim):
            store[Int](to + 8 * (j * count + k), here[j])


# ---------------------------------------------------------------- masks


def _spread(t: TPtr, shape: Dims, ndim: Int) raises -> Obj:
    """A contiguous tensor with t's values in the broadcast shape: a new reference."""
    if t[].rank() == ndim and same_dims(t[].shape, shape, ndim):
        return contiguous_of(t, t[].code())
    var made = new_tensor(t[].code(), shape, ndim, t[].device())
    try:
        write_into(made, Int(t))
    except e:
        decref(made)
        raise e^
    return made


def _marked(mask: TPtr) raises -> Obj:
    """The numbers of a device's contiguous mask's true elements, an int64 vector there: counted in host memory, since the
    host must know how many there are."""
    var host = _to_host(mask)
    try:
        return on_device(_places[DType.uint8](as_tensor(host)), mask[].device())
    finally:
        decref(host)


def _moved_there[mode: Int](call: Call, flat: TPtr, other: TPtr, places: TPtr) raises:
    """Takes or puts the elements of a contiguous tensor at some numbers, on a device; `other` is contiguous."""
    var span = Span3(flat[].data() if mode == TAKE else flat[].writable(), other[].data(), places[].data(), 1, 0)
    span.limit = flat[].numel
    span.add_dim(places[].numel, 0, 1, 1)
    launch_walk(call, flat, span, mode)


def _select_there(call: Call, t: TPtr, m: TPtr, shape: Dims, ndim: Int) raises -> Obj:
    var made: List[Obj] = []
    try:
        made.append(_spread(m, shape, ndim))
        made.append(_spread(t, shape, ndim))
        made.append(_marked(as_tensor(made[0])))
        var places = as_tensor(made[2])
        made.append(result_for(call, t[].code(), places[].shape, 1, t[].device()))
        _moved_there[TAKE](call, as_tensor(made[1]), as_tensor(made[3]), places)
        return finished(call, new_ref(made[3]))
    finally:
        for o in made:
            decref(o)


def _scatter_there(call: Call, t: TPtr, m: TPtr, source: TPtr, shape: Dims, ndim: Int) raises -> Obj:
    var made: List[Obj] = []
    try:
        made.append(_spread(m, shape, ndim))
        made.append(contiguous_of(source, source[].code()))
        made.append(_marked(as_tensor(made[0])))
        var places = as_tensor(made[2])
        if places[].numel > source[].numel:
            raise Error("RuntimeError|Number of elements of source < number of ones in mask")
        made.append(new_tensor(t[].code(), shape, ndim, t[].device()))
        write_into(made[3], Int(t))
        _moved_there[PUT](call, as_tensor(made[3]), as_tensor(made[1]), places)
        if call.inplace():
            decref(target_of(call, t))
            write_into(Int(t), made[3])
            return new_ref(Int(t))
        if call.has_out():
            decref(result_for(call, t[].code(), shape, ndim, t[].device()))
        return finished(call, new_ref(made[3]))
    finally:
        for o in made:
            decref(o)


def _common_shape(a: TPtr, b: TPtr, mut shape: Dims) raises -> Int:
    shape = a[].shape.copy()
    var n = a[].rank()
    var bad = broadcast_into(shape, n, b[].shape, b[].rank())
    if bad >= 0:
        raise broadcast_error(a[].shape, a[].rank(), b, bad, n)
    return n


def masked_select(mut call: Call) raises -> Obj:
    """Parameters (input, mask): the elements where the mask holds, in one dimension; the two broadcast."""
    var t = call.tensor(0)
    var m = call.tensor(1)
    if m[].code() != BOOL:
        raise Error(t"RuntimeError|masked_select: expected BoolTensor for mask, got {type_name(m[].code())}")
    if call.has_out():
        check_out(call, t)
        check_apart(as_tensor(call.out), m)
    var shape = no_dims()
    var ndim = _common_shape(m, t, shape)
    if t[].device() != 0:
        return _select_there(call, t, m, shape, ndim)
    var mask: Obj = 0
    var source: Obj = 0
    var result: Obj = 0
    try:
        mask = _spread(m, shape, ndim)
        source = _spread(t, shape, ndim)
        var work = Blocks[DType.uint8](as_tensor(mask)[].data(), 0xFF, 1, as_tensor(mask)[].numel)
        var one = no_dims()
        one[0] = work.count()
        try:
            result = result_for(call, t[].code(), one, 1, 0)
            work.kind = SELECT
            work.a = as_tensor(source)[].data()
            work.out = as_tensor(result)[].data()
            work.size = itemsize(t[].code())
            work.execute()
        finally:
            work.release()
    except e:
        if mask != 0:
            decref(mask)
        if source != 0:
            decref(source)
        if result != 0:
            decref(result)
        raise e^
    decref(mask)
    decref(source)
    return finished(call, result)


def masked_scatter(mut call: Call) raises -> Obj:
    """Parameters (input, mask, source): the elements of source, in order, where the mask holds; also in place."""
    var t = call.tensor(0)
    var m = call.tensor(1)
    var source = call.tensor(2)
    if m[].code() != BOOL:
        raise Error(
            t"RuntimeError|masked_scatter_ only supports boolean masks, but got mask with dtype {type_name(m[].code())}"
        )
    if source[].code() != t[].code():
        raise Error(
            t"RuntimeError|masked_scatter: expected self and source to have same dtypes but got {type_name(t[].code())}"
            t" and {type_name(source[].code())}"
        )
    var shape = no_dims()
    var ndim = _common_shape(t, m, shape)
    if call.inplace() and (ndim != t[].rank() or not same_dims(shape, t[].shape, ndim)):
        raise call.fail("RuntimeError", "the mask must broadcast to the shape of the tensor that is written")
    if call.inplace():
        check_apart(t, m)
        check_apart(t, source)
    if t[].device() != 0:
        return _scatter_there(call, t, m, source, shape, ndim)
    var mask: Obj = 0
    var values: Obj = 0
    var room: Obj = 0
    try:
        mask = _spread(m, shape, ndim)
        values = contiguous_of(source, source[].code())
        var work = Blocks[DType.uint8](as_tensor(mask)[].data(), 0xFF, 1, as_tensor(mask)[].numel)
        var count = work.count()
        try:
            if count > source[].numel:
                raise Error("RuntimeError|Number of elements of source < number of ones in mask")
            room = new_tensor(t[].code(), shape, ndim)
            write_into(room, Int(t))
            work.kind = SCATTER
            work.a = as_tensor(room)[].writable()
            work.out = as_tensor(values)[].data()
            work.size = itemsize(t[].code())
            work.execute()
        finally:
            work.release()
        if call.inplace():
            decref(target_of(call, t))
            write_into(Int(t), room)
        elif call.has_out():
            decref(result_for(call, t[].code(), shape, ndim, 0))
    except e:
        for o in [mask, values, room]:
            if o != 0:
                decref(o)
        raise e^
    decref(mask)
    decref(values)
    if call.inplace():
        decref(room)
        return new_ref(Int(t))
    return finished(call, room)


@export("dumbtorch_register_masked")
def register_masked() abi("C") -> None:
    register[nonzero]("nonzero")
    register[masked_select]("masked_select")
    register[masked_scatter]("masked_scatter")
