"""Extremes of numbers, with and without their positions: amax, amin, max, min, aminmax, argmax, argmin; any and all."""

from std.ffi import external_call
from std.math import ceildiv
from std.sys.info import simd_width_of, size_of
from std.utils.numerics import isnan
from tensor.call import Call, register
from tensor.dtype import FLOAT32, FLOAT64, dtype_of, itemsize
from tensor.layout import no_dims, wrap_dim
from tensor.memory import address_of, at, function_at, store, zeroed
from tensor.object import as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil, tuple_new, tuple_set, xdecref
from tensor.threads import Body, num_threads, parallel

from kernels.folds import (
    AllFold, AnyFold, Fold, MaxFold, MinFold, SUM_DTYPES, _across, _better, _get, _prefetch_vectors, _put, element_of,
    fold_finish, fold_table, table_of,
)  # fmt: skip
from kernels.math_core import BitsOf, INF_BITS, nan, to_bits
from kernels.pointwise import compute, load_at, store_at, unsupported
from kernels.transfer_api import contiguous_of

from kernels.reduce import (
    BlockFn, FinishFn, LARGEST, MergeFn, OUT_BOOL, OUT_INDEX, OUT_SAME, ReductionPtr, Reduction, SMALLEST, STATE_BYTES,
    State, dims_mask, reduce_with, store_state,
)  # fmt: skip


# ---------------------------------------------------------------- elements with their positions


def extreme_block[largest: Bool, dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """State: f or i the value, j the position + 1 (0: none yet). The first of equals wins, NaN wins over all."""
    comptime E = element_of[dt]
    comptime C = compute[E]
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[C]]() <= 4 else simd_width_of[C]()
    comptime F = MaxFold if largest else MinFold
    ref s = at[State](state)[]
    var best = _get[C](s)
    if s.j != 0:
        comptime if C.is_floating_point():
            if isnan(best):
                return
    # pass 1: the extreme of the block, wide; pass 2, only when it improves: its first position
    var i = 0
    var v = load_at[E, 1](data, 0).cast[C]()
    if n >= 2 * W:
        var a0 = load_at[E, W](data, 0).cast[C]()
        var a1 = load_at[E, W](data, W).cast[C]()
        i = 2 * W
        while i + 2 * W <= n:
            comptime if largest:
                a0 = MaxFold.step(a0, load_at[E, W](data, i).cast[C]())
                a1 = MaxFold.step(a1, load_at[E, W](data, i + W).cast[C]())
            else:
                a0 = MinFold.step(a0, load_at[E, W](data, i).cast[C]())
                a1 = MinFold.step(a1, load_at[E, W](data, i + W).cast[C]())
            i += 2 * W
        comptime if largest:
            v = _across[MaxFold](MaxFold.step(a0, a1))
        else:
            v = _across[MinFold](MinFold.step(a0, a1))
    while i < n:
        comptime if largest:
            v = MaxFold.step(v, load_at[E, 1](data, i).cast[C]())
        else:
            v = MinFold.step(v, load_at[E, 1](data, i).cast[C]())
        i += 1
    var better = s.j == 0
    comptime if largest:
        better = better or Bool(v.gt(best))
    else:
        better = better or Bool(v.lt(best))
    var nan = False
    comptime if C.is_floating_point():
        nan = Bool(isnan(v))
    if not (better or nan):
        return
    var position = 0
    if nan:
        comptime if C.is_floating_point():
            while not Bool(isnan(load_at[E, 1](data, position).cast[C]())):
                position += 1
    else:
        while not Bool(load_at[E, 1](data, position).cast[C]().eq(v)):
            position += 1
    s = _put(v)
    s.j = index + position + 1


def extreme_merge[largest: Bool, dt: DType](state: Int, other: Int) abi("C") -> None:
    comptime C = compute[element_of[dt]]
    ref a = at[State](state)[]
    ref b = at[State](other)[]
    if b.j == 0:
        return
    var x = _get[C](a)
    var y = _get[C](b)
    var better = a.j == 0
    comptime if C.is_floating_point():
        if a.j != 0 and Bool(isnan(x)):
            return
        better = better or Bool(isnan(y))
    comptime if largest:
        better = better or Bool(y.gt(x))
    else:
        better = better or Bool(y.lt(x))
    if better:
        a = State(f=b.f, g=b.g, i=b.i, j=b.j)


def index_finish(state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    store[Int](result, at[State](state)[].j - 1)


def extreme_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    comptime C = compute[element_of[dt]]
    store_at[element_of[dt], 1](result, 0, _get[C](at[State](state)[]).cast[element_of[dt]]())
    store[Int](second, at[State](state)[].j - 1)


# ---------------------------------------------------------------- both extremes of everything


comptime PIECE = 1 << 12  # elements that both folds see while they are in the cache


def _both[A: DType](low: Int, high: Int, data: Int, n: Int):
    """Both folds of a block of floats, which is read once; NaNs are looked for beside them."""
    comptime W = simd_width_of[A]()
    comptime V = SIMD[A, W]
    var least = Array[V, 4](fill=V(MinFold.identity[A]()))
    var most = Array[V, 4](fill=V(MaxFold.identity[A]()))
    var bits = SIMD[BitsOf[A], W](0)  # the largest without the sign: above infinity's is a NaN
    var i = 0
    while i + 4 * W <= n:
        _prefetch_vectors[A, 4 * W](data, i)
        comptime for k in range(4):
            var x = load_at[A, W](data, i + k * W)
            least[k] = _better[MinFold](x, least[k])
            most[k] = _better[MaxFold](x, most[k])
            bits = max(bits, to_bits(x) << 1)
        i += 4 * W
    var nans = bits.reduce_max()
    comptime for k in range(1, 4):
        least[0] = _better[MinFold](least[0], least[k])
        most[0] = _better[MaxFold](most[0], most[k])
    var lowest = _across[MinFold](least[0])
    var highest = _across[MaxFold](most[0])
    while i < n:
        var x = load_at[A, 1](data, i)
        lowest = x if x < lowest else lowest
        highest = x if x > highest else highest
        nans = max(nans, to_bits(x) << 1)
        i += 1
    if nans > 2 * INF_BITS[A].cast[BitsOf[A]]():
        lowest = nan[A, 1]()
        highest = lowest
    store_state(low, _put(lowest))
    store_state(high, _put(highest))


struct Pieces(Body):
    """The smallest and the largest of the pieces of a contiguous tensor, as two states for each."""

    var data: Int
    var n: Int
    var size: Int
    var smallest: ReductionPtr
    var largest: ReductionPtr
    var code: Int
    var states: Int
    var per_task: Int

    def __init__(out self, data: Int, n: Int, code: Int, smallest: ReductionPtr, largest: ReductionPtr, states: Int):
        self.data = data
        self.n = n
        self.size = itemsize(code)
        self.smallest = smallest
        self.largest = largest
        self.code = code
        self.states = states
        self.per_task = ceildiv(n, PIECE)

    def count(self) -> Int:
        return ceildiv(self.n, PIECE)

    def execute(mut self):
        var held = release_gil()
        self.per_task = max(ceildiv(self.count(), 4 * num_threads()), 4)
        parallel(self, ceildiv(self.count(), self.per_task))
        take_gil(held)

    def run(self, task: Int, worker: Int):
        var low = function_at[BlockFn](self.smallest[].block[self.code])
        var high = function_at[BlockFn](self.largest[].block[self.code])
        for p in range(task * self.per_task, min((task + 1) * self.per_task, self.count())):
            var first = p * PIECE
            var n = min(PIECE, self.n - first)
            var state = self.states + 2 * p * STATE_BYTES
            if self.code == FLOAT32:
                _both[DType.float32](state, state + STATE_BYTES, self.data + first * self.size, n)
                continue
            if self.code == FLOAT64:
                _both[DType.float64](state, state + STATE_BYTES, self.data + first * self.size, n)
                continue
            store_state(state, self.smallest[].identity[self.code])
            store_state(state + STATE_BYTES, self.largest[].identity[self.code])
            low(state, self.data + first * self.size, n, first)
            high(state + STATE_BYTES, self.data + first * self.size, n, first)

    def finish(self, smallest: Int, largest: Int):
        """Merges the pieces and writes the two results."""
        var low = function_at[MergeFn](self.smallest[].merge[self.code])
        var high = function_at[MergeFn](self.largest[].merge[self.code])
        for p in range(1, self.count()):
            low(self.states, self.states + 2 * p * STATE_BYTES)
            high(self.states + STATE_BYTES, self.states + (2 * p + 1) * STATE_BYTES)
        function_at[FinishFn](self.smallest[].finish[self.code])(self.states, self.n, smallest, 0, 0)
        function_at[FinishFn](self.largest[].finish[self.code])(self.states + STATE_BYTES, self.n, largest, 0, 0)


def extremes_of_all(mut call: Call) raises -> Obj:
    """Parameters (self): the smallest and the largest element, found in one pass."""
    var t = call.tensor(0)
    var tables = at[Int](call.data())
    var smallest = ReductionPtr(unsafe_from_address=tables[])
    var largest = ReductionPtr(unsafe_from_address=tables[unsafe_offset=1])
    var code = t[].code()
    if smallest[].block[code] == 0:
        raise unsupported(call.name(), code)
    if t[].device() != 0 or t[].numel == 0:
        raise call.fail("RuntimeError", "takes a tensor on the CPU that has elements")
    var source = contiguous_of(t, code)
    var low: Obj = 0
    var high: Obj = 0
    try:
        low = new_tensor(code, no_dims(), 0)
        high = new_tensor(code, no_dims(), 0)
        var states = external_call["malloc", Int](2 * STATE_BYTES * ceildiv(t[].numel, PIECE))
        if states == 0:
            raise Error("OutOfMemoryError|no memory for the extremes of the pieces of a tensor")
        var work = Pieces(as_tensor(source)[].data(), t[].numel, code, smallest, largest, states)
        work.execute()
        work.finish(as_tensor(low)[].data(), as_tensor(high)[].data())
        external_call["free", NoneType](states)
    except e:
        decref(source)
        xdecref(low)
        xdecref(high)
        raise e^
    decref(source)
    var pair = tuple_new(2)
    tuple_set(pair, 0, low)
    tuple_set(pair, 1, high)
    return pair


# ---------------------------------------------------------------- tables


def _same_table[F: Fold](rule: Int, empty_ok: Bool) -> ReductionPtr:
    """Results of the elements' own dtype (amax, amin), or bools (any, all: uint8 for uint8)."""
    var t = fold_table[F, SUM_DTYPES](rule, empty_ok)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        if rule == OUT_BOOL:
            var finish: FinishFn = fold_finish[F, D, DType.bool]
            t[].finish[c] = address_of(finish)
        else:
            var finish: FinishFn = fold_finish[F, D, D]
            t[].finish[c] = address_of(finish)
    return t


def _extreme_table[largest: Bool](pair: Bool) -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].kind = LARGEST if largest else SMALLEST
    t[].rule = OUT_SAME if pair else OUT_INDEX
    t[].second = Int(pair)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        var block: BlockFn = extreme_block[largest, D]
        var merge: MergeFn = extreme_merge[largest, D]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        if pair:
            var finish: FinishFn = extreme_finish[D]
            t[].finish[c] = address_of(finish)
        else:
            var finish: FinishFn = index_finish
            t[].finish[c] = address_of(finish)
    return t


# ---------------------------------------------------------------- ops


def extreme_values(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim): amax, amin, any, all over any dims; max and min of everything."""
    var t = call.tensor(0)
    if t[].numel == 0 and table_of(call)[].empty_ok == 0:
        var dims = no_dims()
        if call.is_none(1) or call.dims(1, dims) == 0:
            raise call.fail(
                "RuntimeError",
                (
                    "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the"
                    " 'dim' argument."
                ),
            )
    return reduce_with(call, table_of(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), t[].code(), 0)


def all_elements(mut call: Call) raises -> Obj:
    """Parameters (self): max and min of a whole tensor."""
    var t = call.tensor(0)
    if t[].numel == 0:
        raise call.fail(
            "RuntimeError",
            (
                "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the"
                " 'dim' argument."
            ),
        )
    return reduce_with(call, table_of(call), t, (1 << t[].rank()) - 1, False, t[].code(), 0)


def one_dim(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim), dim an int or None: argmax, argmin; max and min with positions."""
    var t = call.tensor(0)
    var mask = (1 << t[].rank()) - 1
    if not call.is_none(1):
        var d = wrap_dim(call.int(1), t[].rank())
        mask &= 1 << d
        if t[].rank() > 0 and t[].shape[d] == 0 and t[].numel == 0:
            raise call.fail("IndexError", String(t"Expected reduction dim {d} to have non-zero size."))
    elif t[].numel == 0:
        raise call.fail("IndexError", "Expected reduction dim to be specified for input.numel() == 0.")
    return reduce_with(call, table_of(call), t, mask, call.bool(2), t[].code(), 0)


@export("dumbtorch_register_extremes")
def register_extremes() abi("C") -> None:
    var amax = Int(_same_table[MaxFold](OUT_SAME, False))
    var amin = Int(_same_table[MinFold](OUT_SAME, False))
    register[extreme_values]("amax", amax)
    register[extreme_values]("amin", amin)
    register[all_elements]("max", amax)
    register[all_elements]("min", amin)
    var both = zeroed[Array[Int, 2]]()
    both[][0] = amin
    both[][1] = amax
    register[extremes_of_all]("aminmax_all", Int(both))
    register[extreme_values]("any", Int(_same_table[AnyFold](OUT_BOOL, True)))
    register[extreme_values]("all", Int(_same_table[AllFold](OUT_BOOL, True)))
    register[one_dim]("argmax", Int(_extreme_table[True](False)))
    register[one_dim]("argmin", Int(_extreme_table[False](False)))
    register[one_dim]("max_dim", Int(_extreme_table[True](True)))
    register[one_dim]("min_dim", Int(_extreme_table[False](True)))
