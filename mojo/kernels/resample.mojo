"""Resizing signals, images and volumes, and its derivative: a band (resample_band) along each axis, one axis at a time.

Planes go through scratch memory in the dtype of the sums, the axes that shrink first. Where what follows an axis is long,
whole vectors of it are added up; else a vector of results is picked out of the elements around its first one.
"""
from std.math import ceildiv
from std.sys import CompilationTarget, llvm_intrinsic, size_of
from std.sys.intrinsics import masked_load, masked_store

from kernels.gemm_micro import acc_dtype, at, first_lanes, mul_add, ptr, width
from kernels.math_arith import round
from kernels.pool_stage import Tasks
from kernels.resample_band import Band, LANCZOS_SMOOTH, NEAREST_EXACT, band
from kernels.transfer_api import contiguous_of, copy_into
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, UINT8, dtype_of, itemsize, type_name
from tensor.layout import Dims, checked_numel, no_dims, shape_text
from tensor.object import TPtr, as_tensor, new_strided, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil
from tensor.threads import Body, parallel

comptime GIL_ELEMENTS = 1 << 14


@always_inline
def _rounded[src: DType, dt: DType, w: Int](x: SIMD[dt, w]) -> SIMD[src, w]:
    """To the dtype of the tensor; bytes are rounded and kept in their range."""
    comptime if src.is_integral() and dt.is_floating_point():
        return max(min(round(x), 255), 0).cast[src]()
    else:
        return x.cast[src]()


@always_inline
def _load[src: DType, dt: DType](p: Int, left: Int) -> SIMD[dt, width[dt]()]:
    """A vector of which `left` elements exist."""
    comptime W = width[dt]()
    if left >= W:
        return ptr[src](p).unsafe_load[width=W](0).cast[dt]()
    return masked_load[W](ptr[src](p), first_lanes[W](left), SIMD[src, W](0)).cast[dt]()


@always_inline
def _store[src: DType, dt: DType](p: Int, x: SIMD[dt, width[dt]()], left: Int):
    comptime W = width[dt]()
    var v = _rounded[src](x)
    if left >= W:
        ptr[src](p).unsafe_store(0, v)
        return
    comptime if size_of[Scalar[src]]() >= 4:
        masked_store[W](v, ptr[src](p), first_lanes[W](left))
    else:
        for i in range(left):
            ptr[src](p)[unsafe_offset=i] = v[i]


struct Pass[dt: DType](Copyable, Movable):
    """One axis: (outer, size, inner) becomes (outer, count, inner)."""

    comptime W = width[Self.dt]()

    var outer: Int
    var inner: Int
    var band: Band
    var weights: List[Scalar[Self.dt]]  # by result and element, or by chunk, element and lane
    # chunks of a vector of results, where rows are short
    var choice: Bool  # each result is one of the elements: no sum
    var chunks: Int
    var bases: List[Int]
    var spans: List[Int]  # how far the lanes of a chunk are apart; with full lanes only
    var full: List[Bool]  # every lane has `reach` elements
    var lanes: List[Int32]
    var runs: Bool  # the elements of a result are added up side by side

    def __init__(out self, outer: Int, inner: Int, var b: Band):
        comptime W = Self.W
        self.outer = outer
        self.inner = inner
        self.choice = b.choice()
        self.weights = List[Scalar[Self.dt]]()
        self.chunks = 0
        self.bases = List[Int]()
        self.spans = List[Int]()
        self.full = List[Bool]()
        self.lanes = List[Int32]()
        # Where results are further apart than two vectors of elements reach
        self.runs = inner == 1 and b.size * (W - 1) >= b.count * 2 * W and b.reach >= 3
        if inner >= W or self.runs:
            for i in range(len(b.weights)):
                self.weights.append(b.weights[i].cast[Self.dt]())
            self.band = b^
            return
        self.chunks = ceildiv(b.count * inner, W)
        for chunk in range(self.chunks):
            var base = Int.MAX
            var end = 0
            var full = True
            for lane in range(W):
                var column = min(chunk * W + lane, b.count * inner - 1)
                var place = b.starts[column // inner] * inner + column % inner
                full = full and b.counts[column // inner] == b.reach
                base = min(base, place)
                end = max(end, place)
            self.bases.append(base)
            self.spans.append(end - base)
            self.full.append(full)
            for lane in range(W):
                var column = min(chunk * W + lane, b.count * inner - 1)
                self.lanes.append(Int32(b.starts[column // inner] * inner + column % inner - base))
            for k in range(b.reach):
                for lane in range(W):
                    var i = min(chunk * W + lane, b.count * inner - 1) // inner
                    self.weights.append(b.weights[i * b.reach + k].cast[Self.dt]() if k < b.counts[i] else 0)
        self.band = b^

    def run[a: DType, c: DType](self, source: Int, target: Int):
        """All of it, from dtype `a` to dtype `c`."""
        var size = self.band.size * self.inner
        var count = self.band.count * self.inner
        var left = self.outer * size
        for o in range(self.outer):
            var s = at[a](source, o * size)
            var d = at[c](target, o * count)
            if self.runs:
                self._sums[a, c](s, d)
            elif self.chunks == 0:
                for i in range(self.band.count):
                    self._row[a, c](i, s, at[c](d, i * self.inner))
            else:
                self._picked[a, c](s, left - o * size, d, count)

    @always_inline
    def _row[a: DType, c: DType](self, i: Int, s: Int, d: Int):
        """A row of results: rows of elements, added up."""
        comptime W = Self.W
        var w = self.weights.unsafe_ptr().unsafe_offset(i * self.band.reach)
        var n = self.band.counts[i]
        var p = at[a](s, self.band.starts[i] * self.inner)
        var one = n == 1 and w[unsafe_offset=0] == 1
        for j in range(0, self.inner, W):
            var left = self.inner - j
            var acc = SIMD[Self.dt, W](0)
            if one:
                acc = _load[a, Self.dt](at[a](p, j), left)
            elif n == 2:
                var x = _load[a, Self.dt](at[a](p, j), left)
                var y = _load[a, Self.dt](at[a](p, self.inner + j), left)
                acc = mul_add(SIMD[Self.dt, W](w[unsafe_offset=1]), y, SIMD[Self.dt, W](w[unsafe_offset=0]) * x)
            else:
                for k in range(n):
                    var x = _load[a, Self.dt](at[a](p, k * self.inner + j), left)
                    acc = mul_add(SIMD[Self.dt, W](w[unsafe_offset=k]), x, acc)
            _store[c, Self.dt](at[c](d, j), acc, left)

    @always_inline
    def _sums[a: DType, c: DType](self, s: Int, d: Int):
        """A row of results, each the sum of a run of elements."""
        comptime W = Self.W
        var reach = self.band.reach
        for i in range(self.band.count):
            var w = self.weights.unsafe_ptr().unsafe_offset(i * reach)
            var start = self.band.starts[i]
            var n = self.band.counts[i]
            var acc = SIMD[Self.dt, W](0)
            for k in range(0, n, W):
                var inside = first_lanes[W](n - k)
                var weight = masked_load[W](w.unsafe_offset(k), inside, SIMD[Self.dt, W](0))
                var x = masked_load[W](ptr[a](at[a](s, start + k)), inside, SIMD[a, W](0)).cast[Self.dt]()
                acc = mul_add(weight, x, acc)
            ptr[c](at[c](d, i))[] = _rounded[c, Self.dt, 1](acc.reduce_add())

    @always_inline
    def _picked[a: DType, c: DType](self, s: Int, room: Int, d: Int, count: Int):
        """A row of results whose elements lie next to each other; `room` elements exist from `s` on."""
        comptime W = Self.W
        var reach = self.band.reach
        for chunk in range(self.chunks):
            var base = self.bases[chunk]
            var span = self.spans[chunk]
            var full = self.full[chunk]
            var index = self.lanes.unsafe_ptr().unsafe_offset(chunk * W).unsafe_load[width=W](0)
            var w = self.weights.unsafe_ptr().unsafe_offset(chunk * reach * W)
            var acc = SIMD[Self.dt, W](0)
            for k in range(reach):
                var from_ = base + k * self.inner
                var x = _pick[a, Self.dt](at[a](s, from_), index, span, room - from_)
                var weight = w.unsafe_load[width=W](k * W)
                if not full:
                    # what a lane does not have must not count, not even as an infinity
                    x = weight.eq(0).select(SIMD[Self.dt, W](0), x)
                acc = x if self.choice else mul_add(weight, x, acc)
            _store[c, Self.dt](at[c](d, chunk * W), acc, count - chunk * W)


@always_inline
def _pick[
    a: DType, dt: DType
](p: Int, index: SIMD[DType.int32, width[dt]()], span: Int, room: Int) -> SIMD[dt, width[dt]()]:
    """The elements at `index`, at most `span` far; `room` elements exist."""
    comptime W = width[dt]()
    comptime if dt == DType.float32 and CompilationTarget.has_avx512f() and W == 16:
        if span < W:
            var x = _load[a, dt](p, room)
            return llvm_intrinsic["llvm.x86.avx512.permvar.sf.512", SIMD[dt, W], has_side_effect=False](x, index)
        if span < 2 * W:
            var x = _load[a, dt](p, room)
            var y = _load[a, dt](at[a](p, W), room - W)
            return llvm_intrinsic["llvm.x86.avx512.vpermi2var.ps.512", SIMD[dt, W], has_side_effect=False](x, index, y)
    var x = SIMD[dt, W](0)
    comptime for lane in range(W):
        if Int(index[lane]) < room:
            x[lane] = ptr[a](p)[unsafe_offset=Int(index[lane])].cast[dt]()
    return x


struct Resample[src: DType, dt: DType](Body):
    """Ready to run: a task is some planes."""

    var source: Int
    var target: Int
    var size: Int  # elements of a plane
    var count: Int  # results of one
    var passes: List[Pass[Self.dt]]
    var tasks: Tasks
    var scratch: Int
    var room: Int  # bytes of one of the two buffers

    def __init__(
        out self, source: Int, target: Int, planes: Int, sizes: Dims, counts: Dims, inner: Int, bands: List[Band]
    ):
        self.source = source
        self.target = target
        self.passes = List[Pass[Self.dt]]()
        var now = sizes.copy()
        var done = Array[Bool, 3](fill=False)
        var most = 1
        for _ in range(3):
            var best = -1
            for axis in range(3):
                if done[axis] or bands[axis].identity():
                    continue
                # what shrinks most first; of equal ones the outer one, by vectors, where fewer rows are left then
                var here = 0 if best < 0 else counts[axis] * sizes[best]
                var there = 0 if best < 0 else counts[best] * sizes[axis]
                if best < 0 or here < there or (here == there and counts[axis] >= sizes[axis]):
                    best = axis
            if best < 0:
                break
            done[best] = True
            var before = 1
            var after = inner
            for axis in range(3):
                if axis < best:
                    before *= now[axis]
                elif axis > best:
                    after *= now[axis]
            self.passes.append(Pass[Self.dt](before, after, bands[best].copy()))
            now[best] = counts[best]
            most = max(most, before * counts[best] * after)
        self.size = sizes[0] * sizes[1] * sizes[2] * inner
        self.count = counts[0] * counts[1] * counts[2] * inner
        self.tasks = Tasks.of(planes, max(self.size, self.count))
        self.scratch = 0
        self.room = ceildiv((most + 2 * width[Self.dt]()) * size_of[Scalar[Self.dt]](), 64) * 64

    def go(mut self) -> Bool:
        """Runs it; False when there is no memory for the scratch."""
        var ws = Workspace.take(2 * self.room * self.tasks.workers)
        if ws.address == 0:
            return False
        self.scratch = ws.address
        parallel(self, self.tasks.count(), self.tasks.workers)
        ws.give()
        return True

    def run(self, task: Int, worker: Int):
        var last = min((task + 1) * self.tasks.per_task, self.tasks.planes)
        var space = self.scratch + 2 * self.room * worker
        var end = len(self.passes) - 1
        for plane in range(task * self.tasks.per_task, last):
            var s = at[Self.src](self.source, plane * self.size)
            var d = at[Self.src](self.target, plane * self.count)
            if end == 0:
                self.passes[0].run[Self.src, Self.src](s, d)
                continue
            self.passes[0].run[Self.src, Self.dt](s, space)
            if end == 1:
                self.passes[1].run[Self.dt, Self.src](space, d)
                continue
            self.passes[1].run[Self.dt, Self.dt](space, space + self.room)
            self.passes[2].run[Self.dt, Self.src](space + self.room, d)


def _bands(code: Int, mode: Int, sizes: Dims, counts: Dims, align: Bool, factors: Array[Float64, 3]) -> List[Band]:
    var made = List[Band]()
    for axis in range(3):
        if code == FLOAT64:
            made.append(band[DType.float64](mode, sizes[axis], counts[axis], align, factors[axis]))
        else:
            made.append(band[DType.float32](mode, sizes[axis], counts[axis], align, factors[axis]))
    return made^


def _three(call: Call, i: Int, mut v: Dims) raises -> Int:
    """One to three sizes in slot i as three, ones in front."""
    var d = no_dims()
    var n = call.dims(i, d)
    if n < 1 or n > 3:
        raise call.fail("RuntimeError", String(t"expected '{call.param(i)}' to have 1 to 3 sizes"))
    for j in range(3):
        v[j] = d[j - 3 + n] if j >= 3 - n else 1
        if v[j] <= 0:
            raise call.fail(
                "RuntimeError", String(t"sizes should be greater than 0, but got {call.param(i)} {shape_text(d, n)}")
            )
    return n


def _last(t: TPtr, spatial: Int) -> Bool:
    """Whether the channels of the batch run fastest."""
    if spatial < 2 or t[].rank() != spatial + 2 or t[].contiguous():
        return False
    var step = 1
    for j in range(spatial + 2):
        var d = 1 if j == 0 else (0 if j == spatial + 1 else spatial + 2 - j)
        if t[].shape[d] != 1 and t[].strides[d] != step:
            return False
        step *= t[].shape[d]
    return True


def _resample[adjoint: Bool](mut call: Call) raises -> Obj:
    """Parameters (input, size, mode, align_corners, factors): factors as floats, 0 where none was given."""
    var input = call.tensor(0)
    var code = input[].code()
    if input[].device() != 0:
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    var counts = no_dims()
    var spatial = _three(call, 1, counts)
    var rank = input[].rank()
    if rank <= spatial:
        raise call.fail("RuntimeError", String(t"expected more than {spatial} dimensions, got {rank}"))
    var mode = call.int(2)
    var align = call.bool(3)
    var factors = Array[Float64, 3](fill=0)
    for j in range(spatial):
        factors[3 - spatial + j] = call.float(4 + j)
    if mode < 0 or mode > LANCZOS_SMOOTH:
        raise call.fail("RuntimeError", String(t"there is no mode {mode}"))
    if not (code == UINT8 and not adjoint) and (code < FLOAT16 or code > FLOAT64):
        raise Error(t"NotImplementedError|\"upsample\" not implemented for '{type_name(code)}'")
    var sizes = no_dims()
    var shape = input[].shape.copy()
    var planes = 1
    for j in range(3):
        sizes[j] = shape[rank - 3 + j] if j >= 3 - spatial else 1
        if j >= 3 - spatial:
            shape[rank - 3 + j] = counts[j]
            if sizes[j] <= 0:
                raise call.fail(
                    "RuntimeError", String(t"cannot resize nothing: input of size {shape_text(input[].shape, rank)}")
                )
    for j in range(rank - spatial):
        planes *= shape[j]
    _ = checked_numel(shape, rank, itemsize(code))
    var inner = 1
    var last = _last(input, spatial)
    var result: Obj
    if last:
        inner = shape[1]
        planes = shape[0]
        var strides = no_dims()
        var step = 1
        for j in range(spatial + 2):
            var d = 1 if j == 0 else (0 if j == spatial + 1 else spatial + 2 - j)
            strides[d] = step
            step *= shape[d]
        result = new_strided(code, shape, strides, rank, 0)
    else:
        result = new_tensor(code, shape, rank, 0)
    if as_tensor(result)[].numel == 0:
        return result
    try:
        var bands: List[Band]
        comptime if adjoint:
            var forward = _bands(code, mode, counts, sizes, align, factors)
            bands = [forward[0].transposed(), forward[1].transposed(), forward[2].transposed()]
        else:
            bands = _bands(code, mode, sizes, counts, align, factors)
        var source = input
        var held_source: Obj = 0
        if not last:
            held_source = contiguous_of(input, code)
            source = as_tensor(held_source)
        var to = as_tensor(result)
        var ok = True
        if bands[0].identity() and bands[1].identity() and bands[2].identity():
            copy_into(to, source)
        else:
            var from_ = source[].data()
            var target = to[].data()
            var held = release_gil() if to[].numel + source[].numel >= GIL_ELEMENTS else 0
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if code == c:
                    comptime src = dtype_of[c]
                    var work = Resample[src, acc_dtype[src]()](from_, target, planes, sizes, counts, inner, bands)
                    ok = work.go()
            comptime if not adjoint:
                if code == UINT8:
                    if mode <= NEAREST_EXACT:
                        var work = Resample[DType.uint8, DType.uint8](
                            from_, target, planes, sizes, counts, inner, bands
                        )
                        ok = work.go()
                    else:
                        var work = Resample[DType.uint8, DType.float32](
                            from_, target, planes, sizes, counts, inner, bands
                        )
                        ok = work.go()
            if held != 0:
                take_gil(held)
        if held_source != 0:
            decref(held_source)
        if not ok:
            raise call.fail("OutOfMemoryError", "there is no memory for the working space")
    except e:
        decref(result)
        raise e^
    return result


def resample(mut call: Call) raises -> Obj:
    """Parameters (input, output_size, mode, align_corners, factor, factor, factor)."""
    return _resample[False](call)


def resample_adjoint(mut call: Call) raises -> Obj:
    """Parameters (grad_output, input_size, mode, align_corners, factor, factor, factor)."""
    return _resample[True](call)


@export("dumbtorch_register_resample")
def register_resample() abi("C") -> None:
    register[resample]("resample")
    register[resample_adjoint]("resample_adjoint")
