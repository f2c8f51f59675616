"""The elementwise loop: any strides, any dtypes, one contiguous kernel.

A `Loop` walks a broadcast iteration space. Its dimensions are sorted so that the fastest one is first, and merged
where every operand allows it. The kernel only ever sees contiguous blocks of its own dtype: an operand that is not
laid out so is gathered (and cast) into a block of L1-sized scratch first, an output is scattered back. No kernel has
a strided version.

An operand whose strides are all zero (a scalar) is expanded into scratch once for each task. Operands that run along
another dimension than the rest (transposed ones) are gathered by tiles of both dimensions. Results that are too large
for the caches are computed in scratch and stored around them.
"""

from std.ffi import external_call
from std.math import ceildiv
from std.os import abort
from std.memory import Pointer, stack_allocation
from .dtype import NUM_DTYPES, itemsize
from .layout import Dims, no_dims
from .allocator import aligned_block, pool
from .call import Scalar2
from .memory import Numbers, Words, function_at, memcpy, store, words
from .move import STREAM_BYTES, repeat_element, spread_rows, stream_copy, stream_fence, strided_copy, transpose
from .object import TPtr
from .operand import CONSTANT, DIRECT, GATHER, MAX_OPERANDS, ROW, Operand, sorted_dims
from .py import release_gil, take_gil
from .runtime import MAX_RANK, runtime
from .promote import put_number
from .threads import Body, num_threads, parallel

comptime BLOCK = 512
comptime TILE_ROWS = 16
comptime TILE_COLUMNS = 256
comptime STREAM_BLOCK = 1024

# (addresses of the blocks: outputs first, then inputs; elements; the op's parameters)
comptime ElementwiseFn = def(Words, Int, Numbers) thin abi("C") -> None
# (source, destination, elements): contiguous, casting
comptime CastFn = def(Int, Int, Int) thin abi("C") -> None


struct Loop(Body):
    var kernel: Int
    var params: Int  # address of the op's parameters, for the kernel
    var numbers: Array[UInt64, 2 * MAX_OPERANDS]  # operands that are Python numbers, in the kernel's dtype
    var num_operands: Int
    var num_outputs: Int
    var ndim: Int
    var numel: Int
    var shape: Dims  # fastest first once planned
    var operands: Array[Operand, MAX_OPERANDS]
    var span: Int  # what is divided among tasks: the elements, with tiles at the edges counted as if they were whole
    var task_elements: Int
    var grain: Int
    var all_direct: Bool
    var tiled: Bool  # an input runs along the second dimension
    var streams: Bool  # results are stored around the caches
    var scratch: Int  # memory for the blocks of a run in the calling thread, 0: each run takes its own

    def __init__(out self, kernel: Int, params: Numbers, shape: Dims, ndim: Int, num_outputs: Int):
        self.kernel = kernel
        self.params = Int(params)
        self.numbers = Array[UInt64, 2 * MAX_OPERANDS](fill=0)
        self.num_operands = 0
        self.num_outputs = num_outputs
        self.ndim = ndim
        self.shape = shape.copy()
        self.numel = 1
        for i in range(ndim):
            self.numel *= shape[i]
        self.operands = Array[Operand, MAX_OPERANDS](fill=Operand())
        self.span = 0
        self.task_elements = 0
        self.grain = 32768
        self.all_direct = False
        self.tiled = False
        self.streams = False
        self.scratch = 0

    def add(mut self, data: Int, code: Int, kernel_code: Int, shape: Dims, strides: Dims, ndim: Int):
        """Adds an operand (outputs first); its dimensions are aligned to the loop's from the back."""
        var k = self.num_operands
        self.operands[k].data = data
        self.operands[k].code = code
        self.operands[k].kernel_code = kernel_code
        var size = itemsize(code)
        var shift = self.ndim - ndim
        for i in range(ndim):
            if shape[i] != 1:
                self.operands[k].strides[i + shift] = strides[i] * size
        self.num_operands += 1

    def add_tensor(mut self, t: TPtr, kernel_code: Int):
        self.add(t[].data(), t[].code(), kernel_code, t[].shape, t[].strides, t[].rank())

    def add_number(mut self, kernel_code: Int, number: Scalar2):
        """Adds a Python number as an operand of the kernel's dtype."""
        var k = self.num_operands
        self.operands[k].code = kernel_code
        self.operands[k].kernel_code = kernel_code
        put_number(
            Pointer(to=self.numbers).unsafe_bitcast[UInt8]().as_unsafe_any_origin().unsafe_offset(16 * k),
            kernel_code,
            number,
        )
        self.num_operands += 1

    def plan(mut self):
        """Sorts the dimensions (fastest first), merges them, and decides how each operand is read."""
        var order = sorted_dims(self.operands, self.num_operands, self.shape, self.ndim)
        self._permute(order)
        self._merge()
        self.tiled = self._find_tiles()
        self.span = self.numel
        if self.tiled:
            self.span = self.numel // self.shape[1] * ceildiv(self.shape[1], TILE_ROWS) * TILE_ROWS
        self.all_direct = True
        for k in range(self.num_operands):
            self._classify(k)
            if self.operands[k].mode != DIRECT:
                self.all_direct = False
        self.streams = self._streams()

    def _find_tiles(mut self) -> Bool:
        """Whether an input runs along another dimension than the first; that one is made the second."""
        if self.ndim < 2 or self.numel < 4096 or self.shape[0] < TILE_ROWS:
            return False
        for k in range(self.num_outputs, self.num_operands):
            ref operand = self.operands[k]
            var size = itemsize(operand.code)
            if operand.data == 0 or operand.strides[0] == size or operand.strides[0] == 0:
                continue
            for d in range(1, self.ndim):
                if operand.strides[d] == size and self.shape[d] >= TILE_ROWS:
                    self._exchange(1, d)
                    return True
        return False

    def _exchange(mut self, a: Int, b: Int):
        _swap(self.shape, a, b)
        for k in range(self.num_operands):
            _swap(self.operands[k].strides, a, b)

    def _streams(self) -> Bool:
        for k in range(self.num_outputs):
            if self.numel * itemsize(self.operands[k].code) < STREAM_BYTES or self.operands[k].mode > ROW:
                return False
            for i in range(self.num_outputs, self.num_operands):
                if self.operands[i].data == self.operands[k].data:
                    return False  # in place: the lines are there
        return True

    def _permute(mut self, order: Dims):
        var shape = no_dims()
        for i in range(self.ndim):
            shape[i] = self.shape[order[i]]
        for k in range(self.num_operands):
            var strides = no_dims()
            for i in range(self.ndim):
                strides[i] = self.operands[k].strides[order[i]]
            self.operands[k].strides = strides^
        self.shape = shape^

    def _merge(mut self):
        var n = 0
        for i in range(self.ndim):
            if self.shape[i] == 1:
                continue
            if n > 0 and self._can_merge(n - 1, i):
                self.shape[n - 1] *= self.shape[i]
                continue
            if n != i:
                self.shape[n] = self.shape[i]
                for k in range(self.num_operands):
                    self.operands[k].strides[n] = self.operands[k].strides[i]
            n += 1
        self.ndim = n

    def _can_merge(self, a: Int, b: Int) -> Bool:
        for k in range(self.num_operands):
            if self.operands[k].strides[b] != self.operands[k].strides[a] * self.shape[a]:
                return False
        return True

    def _classify(mut self, k: Int):
        var size = itemsize(self.operands[k].code)
        if self.ndim == 0:
            # one element: contiguous by definition, unless it must be cast
            self.operands[k].strides[0] = size
        var all_zero = self.ndim > 0
        for i in range(self.ndim):
            if self.operands[k].strides[i] != 0:
                all_zero = False
        if (all_zero or self.operands[k].data == 0) and k >= self.num_outputs:
            self.operands[k].mode = CONSTANT
            return
        if self.operands[k].code != self.operands[k].kernel_code:
            self.operands[k].mode = GATHER
            return
        var step = size
        var full = True
        for i in range(self.ndim):
            if self.operands[k].strides[i] != step:
                full = False
            step *= self.shape[i]
        if full:
            self.operands[k].mode = DIRECT
        elif self.operands[k].strides[0] == size:
            self.operands[k].mode = ROW
        else:
            self.operands[k].mode = GATHER

    def execute(mut self):
        """Plans and runs the loop, over threads when it is long."""
        if self.numel == 0:
            return
        self.plan()
        self.execute_planned()

    def execute_planned(mut self):
        var threads = num_threads()
        if self.numel < 2 * self.grain or threads == 1:
            if self.numel < 8 * self.grain:
                self._run_here()
                return
            var held = release_gil()
            self.run_range(0, self.span)
            take_gil(held)
            return
        # a few tasks a thread, so that a thread that is held up costs little
        var tasks = min(ceildiv(self.numel, self.grain), threads * 4)
        var unit = TILE_ROWS * self.shape[0] if self.tiled else STREAM_BLOCK
        self.task_elements = ceildiv(ceildiv(self.span, tasks), unit) * unit
        tasks = ceildiv(self.span, self.task_elements)
        if self.numel >= 8 * self.grain:
            var held = release_gil()
            parallel(self, tasks)
            take_gil(held)
        else:
            parallel(self, tasks)

    def _run_here(mut self):
        """Runs all of it with the interpreter lock held: scratch comes from the pool."""
        if self.all_direct or self.tiled:
            self.run_range(0, self.span)
            return
        var nbytes = _scratch_bytes(self.num_operands, min(BLOCK, self.numel))
        self.scratch = pool()[].take(nbytes)
        self.run_range(0, self.span)
        if self.scratch != 0:
            pool()[].give(self.scratch, nbytes)
            self.scratch = 0

    def run(self, task: Int, worker: Int):
        var start = task * self.task_elements
        self.run_range(start, min(start + self.task_elements, self.span))

    def run_range(self, start: Int, end: Int):
        """Runs the elements [start, end) of the planned space."""
        var kernel = function_at[ElementwiseFn](self.kernel)
        if self.tiled:
            self._run_tiles(start, end)
        elif self.all_direct and self.streams:
            self._run_streamed(start, end)
        elif self.all_direct:
            var blocks = stack_allocation[MAX_OPERANDS, Int]()
            for k in range(self.num_operands):
                blocks[unsafe_offset=k] = self.operands[k].data + start * itemsize(self.operands[k].code)
            kernel(blocks.as_unsafe_any_origin(), end - start, Numbers(unsafe_from_address=self.params))
        elif self._goes_by_rows():
            self._run_rows(start, end)
        else:
            self._run_blocks(start, end)

    @always_inline
    def _is_spread(self, k: Int) -> Bool:
        """The input has one element for a whole row."""
        ref operand = self.operands[k]
        return (
            operand.mode == GATHER
            and k >= self.num_outputs
            and operand.strides[0] == 0
            and operand.code == operand.kernel_code
        )

    @always_inline
    def _is_tiled(self, k: Int) -> Bool:
        """The input is one short row, the same for all."""
        ref operand = self.operands[k]
        if operand.mode != ROW or k < self.num_outputs or 2 * self.shape[0] > self._capacity():
            return False
        for d in range(1, self.ndim):
            if operand.strides[d] != 0:
                return False
        return True

    def _capacity(self) -> Int:
        """The elements of the kernel's dtypes that a block of scratch holds."""
        var size = 1
        for k in range(self.num_operands):
            size = max(size, itemsize(self.operands[k].kernel_code))
        return BLOCK * 16 // size

    def _joins_rows(self) -> Bool:
        """Several rows can be one block: what is not contiguous as a whole is spread or tiled."""
        for k in range(self.num_operands):
            if self.operands[k].mode == ROW and not self._is_tiled(k):
                return False
        return True

    def _goes_by_rows(self) -> Bool:
        """`_run_rows` can do it and has something to repeat."""
        var spread = False
        var tiled = False
        for k in range(self.num_operands):
            if self.operands[k].mode == GATHER:
                if not self._is_spread(k):
                    return False
                spread = True
            tiled = tiled or self._is_tiled(k)
        return (spread and self.shape[0] >= 64) or ((spread or tiled) and self._joins_rows())

    @no_inline
    def _run_streamed(self, start: Int, end: Int):
        """All operands contiguous: results pass through scratch that stays in the nearest cache."""
        var kernel = function_at[ElementwiseFn](self.kernel)
        var space = _space(64 + self.num_outputs * STREAM_BLOCK * 16)
        var blocks = words(space)
        var i = start
        while i < end:
            var n = min(STREAM_BLOCK, end - i)
            for k in range(self.num_operands):
                blocks[unsafe_offset=k] = self.operands[k].data + i * itemsize(self.operands[k].code)
            for k in range(self.num_outputs):
                blocks[unsafe_offset=k] = space + 64 + k * STREAM_BLOCK * 16
            kernel(blocks, n, Numbers(unsafe_from_address=self.params))
            for k in range(self.num_outputs):
                var size = itemsize(self.operands[k].code)
                stream_copy(self.operands[k].data + i * size, blocks[unsafe_offset=k], n * size)
            i += n
        stream_fence()
        external_call["free", NoneType](space)

    @no_inline
    def _run_tiles(self, start: Int, end: Int):
        """Goes over the first two dimensions by tiles; the range is whole groups of TILE_ROWS rows."""
        var kernel = function_at[ElementwiseFn](self.kernel)
        var tile_bytes = self._tile_bytes()
        var space = _space(64 + (self.num_operands + 2) * tile_bytes)
        var blocks = words(space)
        var scratch_at = space + 64
        var raw_at = scratch_at + self.num_operands * tile_bytes
        for k in range(self.num_operands):
            if self.operands[k].mode == CONSTANT:
                self._fill_constant(k, scratch_at + k * tile_bytes, raw_at, min(TILE_COLUMNS, self.shape[0]))
        var groups = ceildiv(self.shape[1], TILE_ROWS)
        var per_group = TILE_ROWS * self.shape[0]
        for g in range(start // per_group, end // per_group):
            var index = no_dims()
            var rest = g // groups
            for d in range(2, self.ndim):
                index[d] = rest % self.shape[d]
                rest //= self.shape[d]
            index[1] = g % groups * TILE_ROWS
            var rows = min(TILE_ROWS, self.shape[1] - index[1])
            while index[0] < self.shape[0]:
                var n = min(TILE_COLUMNS, self.shape[0] - index[0])
                self._run_tile(kernel, blocks, index, rows, n, scratch_at, raw_at)
                index[0] += n
        external_call["free", NoneType](space)

    def _run_tile(
        self, kernel: ElementwiseFn, blocks: Words, index: Dims, rows: Int, n: Int, scratch_at: Int, raw_at: Int
    ):
        var tile_bytes = self._tile_bytes()
        for k in range(self.num_outputs, self.num_operands):
            if self._is_across(k):
                self._gather_tile(k, index, rows, n, scratch_at + k * tile_bytes, raw_at)
        var position = index.copy()
        for r in range(rows):
            position[1] = index[1] + r
            for k in range(self.num_operands):
                ref operand = self.operands[k]
                var own = scratch_at + k * tile_bytes
                if (
                    operand.mode != CONSTANT
                    and operand.strides[0] == itemsize(operand.kernel_code)
                    and operand.code == operand.kernel_code
                ):
                    own = self._address(k, position)
                elif self._is_across(k) and k >= self.num_outputs:
                    own += r * TILE_COLUMNS * itemsize(operand.kernel_code)
                elif operand.mode != CONSTANT and k >= self.num_outputs:
                    self._gather(k, position, n, own, raw_at)
                blocks[unsafe_offset=k] = own
            kernel(blocks, n, Numbers(unsafe_from_address=self.params))
            for k in range(self.num_outputs):
                if blocks[unsafe_offset=k] == scratch_at + k * tile_bytes:
                    self._scatter(k, position, n, blocks[unsafe_offset=k], raw_at)

    def _tile_bytes(self) -> Int:
        var size = 1
        for k in range(self.num_operands):
            size = max(size, max(itemsize(self.operands[k].code), itemsize(self.operands[k].kernel_code)))
        return TILE_ROWS * TILE_COLUMNS * size

    @always_inline
    def _is_across(self, k: Int) -> Bool:
        """The operand runs along the second dimension."""
        ref operand = self.operands[k]
        var size = itemsize(operand.code)
        return operand.mode != CONSTANT and operand.strides[1] == size and operand.strides[0] != size

    def _gather_tile(self, k: Int, index: Dims, rows: Int, n: Int, block: Int, raw: Int):
        """Collects n elements of each of some rows, in the kernel's dtype, TILE_COLUMNS elements from row to row."""
        ref operand = self.operands[k]
        var size = itemsize(operand.code)
        var same = operand.code == operand.kernel_code
        var target = block if same else raw
        transpose(target, TILE_COLUMNS * size, self._address(k, index), operand.strides[0], n, rows, size)
        if not same:
            for r in range(rows):
                var into = block + r * TILE_COLUMNS * itemsize(operand.kernel_code)
                cast_block(operand.code, operand.kernel_code, raw + r * TILE_COLUMNS * size, into, n)

    @no_inline
    def _run_rows(self, start: Int, end: Int):
        """Where operands repeat their elements or rows: blocks that hold these repeated, for several rows at once if all
        else is contiguous."""
        var kernel = function_at[ElementwiseFn](self.kernel)
        var inner = self.shape[0]
        var block_bytes = (min(BLOCK, self.numel) * 16 + 63) & -64
        var count = min(self._capacity(), self.numel)
        var space = self.scratch
        if space == 0:
            space = _space(_scratch_bytes(self.num_operands, min(BLOCK, self.numel)))
        var scratch_at = space + 64
        var blocks = words(space)
        var joins = self._joins_rows() and 2 * inner <= count
        var tiles = False
        for k in range(self.num_operands):
            var block = scratch_at + k * block_bytes
            blocks[unsafe_offset=k] = block
            if self.operands[k].mode == CONSTANT:
                self._fill_constant(k, block, scratch_at + self.num_operands * block_bytes, count)
            elif joins and self.operands[k].mode == ROW:
                tiles = True
                var nbytes = inner * itemsize(self.operands[k].code)
                for r in range(count // inner):
                    memcpy(block + r * nbytes, self.operands[k].data, nbytes)
        var unit = count // inner * inner if tiles else count
        var held = Array[Int, MAX_OPERANDS](fill=0)  # the address of the element that a block repeats, how often
        var times = Array[Int, MAX_OPERANDS](fill=0)
        var index = self._position(start)
        var i = start
        while i < end:
            var n = min(unit, end - i)
            if not joins:
                n = min(n, inner - index[0])
            elif tiles:
                n = min(n, unit - index[0])
            for k in range(self.num_operands):
                ref operand = self.operands[k]
                if operand.mode == DIRECT:
                    blocks[unsafe_offset=k] = operand.data + i * itemsize(operand.code)
                elif operand.mode == ROW:
                    if joins:
                        blocks[unsafe_offset=k] = scratch_at + k * block_bytes + index[0] * itemsize(operand.code)
                    else:
                        blocks[unsafe_offset=k] = self._address(k, index)
            var done = 0
            while done < n:
                var run = min(inner - index[0], n - done)
                # rows that follow each other along the second dimension
                var rows = 1
                if run == inner and self.ndim > 1:
                    rows = min((n - done) // inner, self.shape[1] - index[1])
                for k in range(self.num_outputs, self.num_operands):
                    if self._is_spread(k):
                        ref operand = self.operands[k]
                        var source = self._address(k, index)
                        if run == n and held[k] == source and times[k] >= n:
                            continue
                        var size = itemsize(operand.code)
                        spread_rows(source, operand.strides[1], blocks[unsafe_offset=k] + done * size, size, run, rows)
                        held[k] = source if run == n else 0
                        times[k] = n
                done += run * rows
                index[0] += run
                if index[0] == inner and self.ndim > 1:
                    index[0] = 0
                    index[1] += rows
                var d = 1
                while d + 1 < self.ndim and index[d] == self.shape[d]:
                    index[d] = 0
                    index[d + 1] += 1
                    d += 1
            kernel(blocks, n, Numbers(unsafe_from_address=self.params))
            i += n
        if space != self.scratch:
            external_call["free", NoneType](space)

    def _position(self, start: Int) -> Dims:
        """The indices of an element of the planned space."""
        var index = no_dims()
        var rest = start
        for i in range(self.ndim):
            index[i] = rest % self.shape[i]
            rest //= self.shape[i]
        return index^

    @no_inline
    def _run_blocks(self, start: Int, end: Int):
        var kernel = function_at[ElementwiseFn](self.kernel)
        # on the heap: addresses of the stack do not travel as Int (see memory.mojo)
        var count = min(BLOCK, end - start)
        var block_bytes = (count * 16 + 63) & -64
        var space = self.scratch
        if space == 0:
            space = _space(_scratch_bytes(self.num_operands, count))
        var scratch_at = space + 64
        var raw_at = scratch_at + self.num_operands * block_bytes
        var blocks = words(space)
        for k in range(self.num_operands):
            if self.operands[k].mode == CONSTANT:
                self._fill_constant(k, scratch_at + k * block_bytes, raw_at, count)
        var index = self._position(start)
        var inner = self.shape[0] if self.ndim > 0 else 1
        var by_row = inner >= 64
        var whole_rows = True
        for k in range(self.num_operands):
            if self.operands[k].mode >= GATHER:
                whole_rows = False
        var i = start
        while i < end:
            var n = end - i
            if by_row:
                n = min(n, inner - index[0])
            if not (by_row and whole_rows):
                n = min(n, BLOCK)
            for k in range(self.num_operands):
                ref operand = self.operands[k]
                if operand.mode == DIRECT:
                    blocks[unsafe_offset=k] = operand.data + i * itemsize(operand.code)
                elif operand.mode == CONSTANT:
                    blocks[unsafe_offset=k] = scratch_at + k * block_bytes
                elif operand.mode == ROW and by_row:
                    blocks[unsafe_offset=k] = self._address(k, index)
                else:
                    blocks[unsafe_offset=k] = scratch_at + k * block_bytes
                    if k >= self.num_outputs:
                        self._gather(k, index, n, blocks[unsafe_offset=k], raw_at)
            kernel(blocks, n, Numbers(unsafe_from_address=self.params))
            for k in range(self.num_outputs):
                if blocks[unsafe_offset=k] == scratch_at + k * block_bytes:
                    self._scatter(k, index, n, blocks[unsafe_offset=k], raw_at)
            i += n
            # advance the position by n
            index[0] += n
            var d = 0
            while d + 1 < self.ndim and index[d] >= self.shape[d]:
                index[d + 1] += index[d] // self.shape[d]
                index[d] %= self.shape[d]
                d += 1
        if space != self.scratch:
            external_call["free", NoneType](space)

    @always_inline
    def _address(self, k: Int, index: Dims) -> Int:
        var a = self.operands[k].data
        for i in range(self.ndim):
            a += index[i] * self.operands[k].strides[i]
        return a

    def _fill_constant(self, k: Int, block: Int, raw: Int, count: Int):
        ref operand = self.operands[k]
        var size = itemsize(operand.code)
        var target = block if operand.code == operand.kernel_code else raw
        if operand.data == 0:
            # a number: it lies in this struct
            for i in range(size):
                store[UInt8](target + i, Pointer(to=self.numbers).unsafe_bitcast[UInt8]()[unsafe_offset=16 * k + i])
        else:
            memcpy(target, operand.data, size)
        if target != block:
            cast_block(operand.code, operand.kernel_code, raw, block, 1)
        repeat_element(block, itemsize(operand.kernel_code), count)

    def _gather(self, k: Int, index: Dims, n: Int, block: Int, raw: Int):
        """Collects n elements, from the position on, into the block, in the kernel's dtype."""
        ref operand = self.operands[k]
        var size = itemsize(operand.code)
        var same = operand.code == operand.kernel_code
        # a contiguous run of another dtype is cast straight from where it lies
        if not same and operand.strides[0] == size and index[0] + n <= (self.shape[0] if self.ndim > 0 else 1):
            cast_block(operand.code, operand.kernel_code, self._address(k, index), block, n)
            return
        var target = block if same else raw
        self._walk(k, index, n, target, size, True)
        if not same:
            cast_block(operand.code, operand.kernel_code, raw, block, n)

    def _scatter(self, k: Int, index: Dims, n: Int, block: Int, raw: Int):
        ref operand = self.operands[k]
        var size = itemsize(operand.code)
        var source = block
        if operand.code != operand.kernel_code:
            if operand.strides[0] == size and index[0] + n <= (self.shape[0] if self.ndim > 0 else 1):
                cast_block(operand.kernel_code, operand.code, block, self._address(k, index), n)
                return
            cast_block(operand.kernel_code, operand.code, block, raw, n)
            source = raw
        self._walk(k, index, n, source, size, False)

    def _walk(self, k: Int, index: Dims, n: Int, block: Int, size: Int, gather: Bool):
        """Moves n elements between their strided places and a contiguous block."""
        ref operand = self.operands[k]
        if self.ndim == 0:
            memcpy(block if gather else operand.data, operand.data if gather else block, size)
            return
        var position = index.copy()
        var done = 0
        while done < n:
            var run = min(self.shape[0] - position[0], n - done)
            var a = self._address(k, position)
            if gather:
                strided_copy(a, operand.strides[0], block + done * size, size, size, run)
            else:
                strided_copy(block + done * size, size, a, operand.strides[0], size, run)
            done += run
            position[0] += run
            var d = 0
            while d + 1 < self.ndim and position[d] >= self.shape[d]:
                position[d] = 0
                position[d + 1] += 1
                d += 1


def _swap(mut dims: Dims, a: Int, b: Int):
    var first = dims[a]
    dims[a] = dims[b]
    dims[b] = first


def _space(nbytes: Int) -> Int:
    var space = aligned_block(nbytes, 64)
    if space == 0:
        abort("out of memory for the scratch of an elementwise loop")
    return space


def _scratch_bytes(operands: Int, count: Int) -> Int:
    """A line for the blocks' addresses, a block for each operand and one for what is cast."""
    return (operands + 1) * ((count * 16 + 63) & -64) + 64


@no_inline
def cast_block(source_code: Int, target_code: Int, source: Int, target: Int, n: Int):
    """Casts n contiguous elements through the cast family's table."""
    var f = function_at[CastFn](runtime()[].casts[source_code * NUM_DTYPES + target_code])
    f(source, target, n)
