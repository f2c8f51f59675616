"""Reductions over any dimensions: the plan, the three ways to walk it, the op driver.

Every reduction is four small functions over a 32-byte `State` (see reducers.mojo): fold a contiguous block into a
state, fold rows into a row of states, merge two states, write a result. The driver sorts and merges the dimensions and
picks how to feed them:

- inner: the reduced elements lie in contiguous runs; each run is folded where it lies.
- vertical: the kept elements lie in contiguous rows; rows are folded side by side.
- gather: anything else (or another dtype): elements are collected into an L1 block first.

The order of the sums depends on the shapes alone, never on the number of threads: long reductions are cut into segments
of a fixed length whose states are merged in order.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.memory import Pointer
from tensor.allocator import aligned_block
from tensor.call import Call, ints_of, register
from tensor.dtype import BOOL, INT64, NUM_DTYPES, UINT8, category, itemsize, type_name
from tensor.layout import Dims, checked_numel, no_dims, same_dims, wrap_dim
from tensor.loop import BLOCK, cast_block
from tensor.memory import Ptr, at, function_at, load, store, zeroed
from tensor.move import strided_copy
from tensor.object import TPtr, as_tensor, is_tensor, new_tensor
from tensor.promote import check_can_cast
from tensor.py import Obj, decref, incref, release_gil, take_gil, tuple_new, tuple_set
from tensor.runtime import MAX_RANK, runtime
from tensor.storage import check_status, device_table
from tensor.threads import Body, num_threads, parallel
from kernels.transfer_api import copy_into
from kernels.pointwise import check_writable, resize_out, unsupported


struct State(TrivialRegisterPassable):
    """A partial result: two floats and two integers, used as the reduction likes."""

    var f: Float64
    var g: Float64
    var i: Int
    var j: Int

    @always_inline
    def __init__(out self, f: Float64 = 0, g: Float64 = 0, i: Int = 0, j: Int = 0):
        self.f = f
        self.g = g
        self.i = i
        self.j = j


comptime StatePtr = Ptr[State]
comptime STATE_BYTES = 32
# (state, address of the elements, how many, index of the first among the reduced): fold a contiguous block
comptime BlockFn = def(Int, Int, Int, Int) thin abi("C") -> None
# (states, address, byte stride between rows, rows, columns): fold rows side by side
comptime VerticalFn = def(Int, Int, Int, Int, Int) thin abi("C") -> None
# (state, other state): fold the other (later) one in
comptime MergeFn = def(Int, Int) thin abi("C") -> None
# (state, number of reduced elements, result address, second result address, parameter)
comptime FinishFn = def(Int, Int, Int, Int, Float64) thin abi("C") -> None

comptime SEGMENT = 1 << 16  # reduced elements of one state when a reduction is cut
comptime TILE = 16  # columns gathered side by side

# The reductions by name, for accelerators; 0, which a table has that names none, is not computed there
comptime SUM = 1
comptime PROD = 2
comptime MAXIMUM = 3
comptime MINIMUM = 4
comptime ANY = 5
comptime ALL = 6
comptime MEAN = 7
comptime LARGEST = 8  # with its position, or the position alone
comptime SMALLEST = 9
comptime VARIANCE = 10
comptime DEVIATION = 11
comptime LOGSUMEXP = 12
comptime NORM = 13  # and the next: one for each kind of norm in norms.mojo
comptime HOST_ONLY = 99  # no accelerator has it

# Result dtypes
comptime OUT_SAME = 0
comptime OUT_SUM = 1  # bool and integers become int64
comptime OUT_BOOL = 2  # bool; uint8 stays uint8
comptime OUT_INDEX = 3  # int64
comptime OUT_COUNT = 4  # int64, of no position


struct Reduction:
    """One reduction: its functions for each dtype (0: not supported) and its result rule."""

    var block: Array[Int, NUM_DTYPES]
    var vertical: Array[Int, NUM_DTYPES]
    var merge: Array[Int, NUM_DTYPES]
    var finish: Array[Int, NUM_DTYPES]
    var identity: Array[State, NUM_DTYPES]
    var rule: Int
    var second: Int  # a second int64 result (the indices)
    var empty_ok: Int  # an empty reduction has the identity as its result
    var seeded: Int  # states start with the op's parameter in `g`
    var kind: Int  # which reduction it is, to an accelerator: SUM, PROD, ...


comptime ReductionPtr = Pointer[Reduction, MutUntrackedOrigin]


struct Plan(Body, Copyable):
    """A reduction ready to run; every array is fastest first but the kept dimensions, which keep the result's order."""

    var table: ReductionPtr
    var code: Int  # dtype of the functions
    var source_code: Int
    var data: Int
    var out: Int
    var out_size: Int
    var second: Int
    var param: Float64
    var kept: Int
    var kept_shape: Dims
    var kept_strides: Dims  # bytes
    var reduced: Int
    var reduced_shape: Dims
    var reduced_strides: Dims  # bytes
    var outputs: Int
    var count: Int
    var vertical: Bool
    var segments: Int
    var states: Int  # partial states: [outputs][segments]
    var per_task: Int
    var units: Int

    def __init__(out self, table: ReductionPtr, code: Int, t: TPtr):
        self.table = table
        self.code = code
        self.source_code = t[].code()
        self.data = t[].data()
        self.out = 0
        self.out_size = 0
        self.second = 0
        self.param = 0
        self.kept = 0
        self.kept_shape = no_dims()
        self.kept_strides = no_dims()
        self.reduced = 0
        self.reduced_shape = no_dims()
        self.reduced_strides = no_dims()
        self.outputs = 1
        self.count = 1
        self.vertical = False
        self.segments = 1
        self.states = 0
        self.per_task = 1
        self.units = 1

    def split(mut self, t: TPtr, mask: Int):
        """Sorts the dimensions into kept and reduced ones and merges neighbours."""
        var size = itemsize(t[].code())
        for i in range(t[].rank()):
            var n = t[].shape[i]
            var step = t[].strides[i] * size
            if mask >> i & 1 != 0:
                self.count *= n
                if n != 1:
                    self.reduced_shape[self.reduced] = n
                    self.reduced_strides[self.reduced] = step
                    self.reduced += 1
            else:
                self.outputs *= n
                if n == 1:
                    continue
                var k = self.kept
                if k > 0 and self.kept_strides[k - 1] == step * n:
                    self.kept_shape[k - 1] *= n
                    self.kept_strides[k - 1] = step
                    continue
                self.kept_shape[k] = n
                self.kept_strides[k] = step
                self.kept += 1
        self._sort_reduced()
        self._merge_reduced()

    def _sort_reduced(mut self):
        # Reversed first, so that equal strides keep the row-major order: indices count in it.
        var shape = no_dims()
        var strides = no_dims()
        var n = self.reduced
        for i in range(n):
            shape[i] = self.reduced_shape[n - 1 - i]
            strides[i] = self.reduced_strides[n - 1 - i]
        self.reduced_shape = shape^
        self.reduced_strides = strides^
        if self.table[].second != 0 or self.table[].rule == OUT_INDEX:
            return  # the position of an element is part of the result
        for i in range(1, n):
            var j = i
            while j > 0 and self.reduced_strides[j] < self.reduced_strides[j - 1]:
                var s = self.reduced_strides[j]
                self.reduced_strides[j] = self.reduced_strides[j - 1]
                self.reduced_strides[j - 1] = s
                var m = self.reduced_shape[j]
                self.reduced_shape[j] = self.reduced_shape[j - 1]
                self.reduced_shape[j - 1] = m
                j -= 1

    def _merge_reduced(mut self):
        var n = 0
        for i in range(self.reduced):
            if n > 0 and self.reduced_strides[i] == self.reduced_strides[n - 1] * self.reduced_shape[n - 1]:
                self.reduced_shape[n - 1] *= self.reduced_shape[i]
            else:
                self.reduced_shape[n] = self.reduced_shape[i]
                self.reduced_strides[n] = self.reduced_strides[i]
                n += 1
        self.reduced = n

    def execute(mut self):
        """Runs the reduction. The result has at least one element."""
        var size = itemsize(self.source_code)
        var same = self.source_code == self.code
        var inner = self.reduced == 0 or self.reduced_strides[0] == size
        self.vertical = (
            not (inner and same) and self.reduced > 0 and self.kept > 0 and self.kept_strides[self.kept - 1] == size
            and self.kept_shape[self.kept - 1] >= 4
        )  # fmt: skip
        # Few results over many elements are cut into segments; by the shapes only, so that sums do not depend on threads.
        var columns = ceildiv(self.outputs, TILE) if self.vertical else self.outputs
        if self.count >= 2 * SEGMENT and columns < 64:
            self.segments = ceildiv(self.count, SEGMENT)
        elif self.vertical and columns < 16 and self.count >= 8192:
            self.segments = min(ceildiv(self.count, 4096), 64)
        var work = self.outputs * max(self.count, 1)
        if self.segments > 1:
            self.states = aligned_block(max(self.outputs * self.segments * STATE_BYTES, 64), 64)
        if self.states == 0:
            self.segments = 1
        self.units = self._unit_count()
        if work < 65536 or num_threads() == 1 or self.units == 1:
            var held = 0
            if work >= 1 << 18:
                held = release_gil()
            self._run_units(0, self.units)
            if held != 0:
                take_gil(held)
        else:
            var tasks = min(self.units, num_threads() * 8)
            self.per_task = ceildiv(self.units, tasks)
            var held = release_gil()
            parallel(self, ceildiv(self.units, self.per_task))
            take_gil(held)
        if self.segments > 1:
            self._merge_segments()
            external_call["free", NoneType](self.states)

    def _unit_count(self) -> Int:
        """What can run independently: a segment of a result, or of a tile of neighbouring results."""
        if self.vertical:
            var inner = self.kept_shape[self.kept - 1]
            return (self.outputs // inner) * ceildiv(inner, self._tile()) * self.segments
        return self.outputs * self.segments

    @always_inline
    def _tile(self) -> Int:
        # side-by-side folding takes wide rows; gathered columns go TILE by TILE
        return 256 if self.table[].vertical[self.code] != 0 and self.source_code == self.code else TILE

    def run(self, task: Int, worker: Int):
        self._run_units(task * self.per_task, min((task + 1) * self.per_task, self.units))

    def _rows(self) -> Bool:
        """Each result is made of one contiguous block of the functions' own dtype."""
        return (
            not self.vertical and self.segments == 1 and self.source_code == self.code and self.kept <= 1
            and (self.reduced == 0 or (self.reduced == 1 and self.reduced_strides[0] == itemsize(self.code)))
        )  # fmt: skip

    def _run_rows(self, start: Int, end: Int):
        var block = function_at[BlockFn](self.table[].block[self.code])
        var state = external_call["malloc", Int](STATE_BYTES)
        var step = self.kept_strides[0] if self.kept == 1 else 0
        for output in range(start, end):
            store_state(state, self._start())
            if self.count > 0:
                block(state, self.data + output * step, self.count, 0)
            self._finish(state, output)
        external_call["free", NoneType](state)

    def _run_units(self, start: Int, end: Int):
        if self._rows():
            self._run_rows(start, end)
            return
        # scratch on the heap: a block of raw elements, one of cast ones for each tile column, a row of states
        var bytes = BLOCK * 16
        var space = aligned_block((TILE + 2) * bytes + 256 * STATE_BYTES, 64)
        var states = space + (TILE + 2) * bytes
        for u in range(start, end):
            if self.vertical:
                self._vertical_unit(u, space, states)
            else:
                self._inner_unit(u, space, states)
        external_call["free", NoneType](space)

    @always_inline
    def _bounds(self, segment: Int) -> Tuple[Int, Int]:
        if self.segments == 1:
            return (0, self.count)
        var length = ceildiv(self.count, self.segments)
        return (min(segment * length, self.count), min((segment + 1) * length, self.count))

    def _kept_address(self, output: Int) -> Int:
        var a = self.data
        var rest = output
        for j in range(self.kept):
            var d = self.kept - 1 - j
            a += (rest % self.kept_shape[d]) * self.kept_strides[d]
            rest //= self.kept_shape[d]
        return a

    @always_inline
    def _start(self) -> State:
        var s = self.table[].identity[self.code]
        if self.table[].seeded != 0:
            s.g = self.param
        return s

    def _inner_unit(self, unit: Int, space: Int, states: Int):
        var output = unit // self.segments
        var segment = unit % self.segments
        var bounds = self._bounds(segment)
        var state = states
        if self.segments > 1:
            state = self.states + (output * self.segments + segment) * STATE_BYTES
        store_state(state, self._start())
        self._fold(state, self._kept_address(output), bounds[0], bounds[1], space)
        if self.segments == 1:
            self._finish(state, output)

    def _fold(self, state: Int, base: Int, start: Int, end: Int, space: Int):
        """Folds the reduced elements [start, end) of one result into its state."""
        var block = function_at[BlockFn](self.table[].block[self.code])
        var size = itemsize(self.source_code)
        if self.reduced == 0:
            if end > start:
                self._fold_run(block, state, base, size, 1, 0, space)
            return
        var index = no_dims()
        var rest = start
        for d in range(self.reduced):
            index[d] = rest % self.reduced_shape[d]
            rest //= self.reduced_shape[d]
        var i = start
        while i < end:
            var n = min(self.reduced_shape[0] - index[0], end - i)
            var a = base
            for d in range(self.reduced):
                a += index[d] * self.reduced_strides[d]
            self._fold_run(block, state, a, self.reduced_strides[0], n, i, space)
            i += n
            index[0] += n
            var d = 0
            while d + 1 < self.reduced and index[d] >= self.reduced_shape[d]:
                index[d] = 0
                index[d + 1] += 1
                d += 1

    @always_inline
    def _fold_run(self, block: BlockFn, state: Int, address: Int, step: Int, n: Int, index: Int, space: Int):
        var size = itemsize(self.source_code)
        var same = self.source_code == self.code
        if same and step == size:
            block(state, address, n, index)
            return
        var done = 0
        while done < n:
            var m = min(n - done, BLOCK)
            var source = address + done * step
            if step != size:
                strided_copy(source, step, space, size, size, m)
                source = space
            if not same:
                cast_block(self.source_code, self.code, source, space + BLOCK * 16, m)
                source = space + BLOCK * 16
            block(state, source, m, index + done)
            done += m

    def _vertical_unit(self, unit: Int, space: Int, states: Int):
        var segment = unit % self.segments
        var tile = unit // self.segments
        var inner = self.kept_shape[self.kept - 1]
        var width = self._tile()
        var tiles = ceildiv(inner, width)
        var column = (tile % tiles) * width
        var columns = min(width, inner - column)
        var output = (tile // tiles) * inner + column
        var bounds = self._bounds(segment)
        for c in range(columns):
            store_state(states + c * STATE_BYTES, self._start())
        self._fold_rows(states, self._kept_address(output), columns, bounds[0], bounds[1], space)
        for c in range(columns):
            if self.segments > 1:
                store_state(
                    self.states + ((output + c) * self.segments + segment) * STATE_BYTES,
                    load[State](states + c * STATE_BYTES),
                )
            else:
                self._finish(states + c * STATE_BYTES, output + c)

    def _fold_rows(self, states: Int, base: Int, columns: Int, start: Int, end: Int, space: Int):
        var side_by_side = self.table[].vertical[self.code]
        var size = itemsize(self.source_code)
        var index = no_dims()
        var rest = start
        for d in range(self.reduced):
            index[d] = rest % self.reduced_shape[d]
            rest //= self.reduced_shape[d]
        var i = start
        while i < end:
            var n = min(self.reduced_shape[0] - index[0], end - i)
            var a = base
            for d in range(self.reduced):
                a += index[d] * self.reduced_strides[d]
            var step = self.reduced_strides[0]
            if side_by_side != 0 and self.source_code == self.code:
                var f = function_at[VerticalFn](side_by_side)
                var done = 0
                while done < n:
                    # states are doubles: a bounded number of rows is summed in the element type
                    var m = min(n - done, 1024)
                    f(states, a + done * step, step, m, columns)
                    done += m
            else:
                self._gather_columns(states, a, step, n, columns, i, space, size)
            i += n
            index[0] += n
            var d = 0
            while d + 1 < self.reduced and index[d] >= self.reduced_shape[d]:
                index[d] = 0
                index[d + 1] += 1
                d += 1

    def _gather_columns(self, states: Int, a: Int, step: Int, n: Int, columns: Int, index: Int, space: Int, size: Int):
        """Transposes BLOCK rows of up to TILE columns into contiguous blocks, then folds each."""
        var block = function_at[BlockFn](self.table[].block[self.code])
        var bytes = BLOCK * 16
        var done = 0
        while done < n:
            var m = min(n - done, BLOCK)
            for c in range(columns):
                strided_copy(a + done * step + c * size, step, space + c * bytes, size, size, m)
            for c in range(columns):
                var source = space + c * bytes
                if self.source_code != self.code:
                    cast_block(self.source_code, self.code, source, space + TILE * bytes, m)
                    source = space + TILE * bytes
                block(states + c * STATE_BYTES, source, m, index + done)
            done += m

    def _merge_segments(self):
        var merge = function_at[MergeFn](self.table[].merge[self.code])
        for o in range(self.outputs):
            var first = self.states + o * self.segments * STATE_BYTES
            for s in range(1, self.segments):
                merge(first, first + s * STATE_BYTES)
            self._finish(first, o)

    @always_inline
    def _finish(self, state: Int, output: Int):
        var f = function_at[FinishFn](self.table[].finish[self.code])
        var second = self.second + output * 8 if self.second != 0 else 0
        f(state, self.count, self.out + output * self.out_size, second, self.param)


@always_inline
def store_state(address: Int, s: State):
    at[State](address)[] = s


# ---------------------------------------------------------------- the op driver


def dims_mask(call: Call, i: Int, ndim: Int) raises -> Int:
    """The reduced dimensions of a `dim` argument as bits: None and () mean all."""
    if call.is_none(i):
        return (1 << ndim) - 1
    var dims = no_dims()
    var n = call.dims(i, dims)
    if n == 0:
        return (1 << ndim) - 1
    var mask = 0
    for k in range(n):
        var d = wrap_dim(dims[k], ndim)
        if ndim > 0 and mask >> d & 1 != 0:
            raise Error(t"RuntimeError|dim {d} appears multiple times in the list of dims")
        mask |= 1 << d
    return mask & ((1 << ndim) - 1)


def result_code(table: ReductionPtr, code: Int) -> Int:
    if table[].rule == OUT_SUM:
        return INT64 if category(code) < 2 else code
    if table[].rule == OUT_BOOL:
        return UINT8 if code == UINT8 else BOOL
    if table[].rule == OUT_INDEX or table[].rule == OUT_COUNT:
        return INT64
    return code


def reduce_with(
    mut call: Call, table: ReductionPtr, t: TPtr, mask: Int, keepdim: Bool, code: Int, param: Float64
) raises -> Obj:
    """Reduces `t` over the dimensions in `mask`, computing in dtype `code`; a tuple when there are two results."""
    if table[].block[code] == 0:
        raise unsupported(call.name(), code)
    var plan = Plan(table, code, t)
    plan.param = param
    plan.split(t, mask)
    var shape = no_dims()
    var ndim = 0
    for i in range(t[].rank()):
        if mask >> i & 1 == 0:
            shape[ndim] = t[].shape[i]
            ndim += 1
        elif keepdim:
            shape[ndim] = 1
            ndim += 1
    if plan.count == 0 and plan.outputs > 0 and table[].empty_ok == 0:
        raise call.fail(
            "IndexError",
            (
                "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the"
                " 'dim' argument, and reduce over dimensions that are not empty."
            ),
        )
    var out_code = result_code(table, code)
    var result: Obj
    var target: Obj = 0
    var direct = False
    if call.has_out() and table[].second == 0:
        var o = as_tensor(call.out)
        check_can_cast(out_code, o[].code())
        if o[].rank() != ndim or not same_dims(o[].shape, shape, ndim):
            resize_out(o, shape, ndim)
        check_writable(o)
        target = call.out
        direct = o[].code() == out_code and o[].contiguous() and o[].storage_address != t[].storage_address
    if direct:
        plan_into(plan, call.out, out_code, t)
        if plan.outputs > 0:
            if t[].device() != 0:
                launch_reduction(call, t[].device(), plan)
            else:
                plan.execute()
        incref(target)
        return target
    result = new_tensor(out_code, shape, ndim, t[].device())
    var second: Obj = 0
    if table[].second != 0:
        second = new_tensor(INT64, shape, ndim, t[].device())
        plan.second = as_tensor(second)[].data()
    plan.out = as_tensor(result)[].data()
    plan.out_size = itemsize(out_code)
    if plan.outputs > 0:
        if t[].device() != 0:
            launch_reduction(call, t[].device(), plan)
        else:
            plan.execute()
    if target != 0:
        copy_into(as_tensor(target), as_tensor(result))
        decref(result)
        incref(target)
        return target
    if second == 0:
        return result
    var pair = tuple_new(2)
    tuple_set(pair, 0, result)
    tuple_set(pair, 1, second)
    return pair


def plan_into(mut plan: Plan, out_: Obj, out_code: Int, t: TPtr) raises:
    plan.out = as_tensor(out_)[].writable()
    plan.out_size = itemsize(out_code)


def launch_reduction(call: Call, device: Int, mut plan: Plan) raises:
    """Hands a planned reduction to the accelerator."""
    if plan.table[].kind == HOST_ONLY:
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    comptime LaunchFn = def(Int, Pointer[Plan, MutAnyOrigin]) thin abi("C") -> Int
    var f = function_at[LaunchFn](device_table(device)[].reduce)
    check_status(f(device & 255, Pointer(to=plan).as_unsafe_any_origin()), device, call.name())
