"""What the pointwise families share: functor traits, contiguous kernels made from them, and the op driver.

A pointwise op is a functor struct: one static `apply` over SIMD values. `unary_table`, `binary_table` and
`ternary_table` instantiate its contiguous kernel for each dtype that it supports, and `pointwise` (the function behind
every op) promotes, broadcasts, allocates and runs the strided loop over that table. Half types compute in float32.
"""

from std.memory import Pointer, stack_allocation
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, Scalar2, number_of
from tensor.dtype import (
    BFLOAT16, BOOL, COMPLEX32, FLOAT16, FLOAT32, FLOAT64, FLOAT8_E4M3FN, NUM_DTYPES, category, dtype_of, is_complex, itemsize, type_name,
)  # fmt: skip
from tensor.errors import python_error
from tensor.layout import (
    Dims, broadcast_into, extent, has_internal_overlap, is_dense, no_dims, same_dims, shape_text,
)  # fmt: skip
from tensor.loop import ElementwiseFn, Loop, sorted_dims
from tensor.memory import Numbers, Words, address_of, at, function_at, zeroed
from tensor.object import TPtr, as_tensor, is_tensor, new_strided, new_tensor, replace_storage
from tensor.promote import ResultType, check_can_cast
from tensor.py import Obj, error_occurred, incref, new_ref, release_gil, take_gil
from tensor.runtime import runtime
from tensor.storage import device_table

# How an op's result dtype follows from its operands' common dtype.
comptime SAME = 0  # the common dtype
comptime FLOAT = 1  # integers and bool become the default float
comptime TO_BOOL = 2  # computed in the common dtype, the result is bool

comptime MAX_INPUTS = 4
comptime SMALL_LOOP = 32768


struct Table:
    """One pointwise op: its contiguous kernel for every compute dtype (0: not supported), its dtype rule."""

    var kernels: Array[Int, NUM_DTYPES]
    var rule: Int
    var inputs: Int
    var grain: Int  # elements worth one parallel task
    var device: Int  # the accelerator's launch table for this op; filled in when its extension loads


comptime TablePtr = Pointer[Table, MutUntrackedOrigin]


def new_table(rule: Int, inputs: Int) -> TablePtr:
    var t = zeroed[Table]()
    t[].rule = rule
    t[].inputs = inputs
    t[].grain = SMALL_LOOP
    return t


# ---------------------------------------------------------------- functors and their contiguous kernels


trait Unary:
    """out = apply(x), computed in x's dtype (float32 for half types). `params` are the op's extra numbers."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        ...


trait Predicate:
    """out = apply(x), a bool."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait Binary:
    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        ...


trait Comparison:
    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait Ternary:
    @staticmethod
    def apply[dt: DType, w: SIMDLength](
        a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers
    ) -> SIMD[dt, w]:
        ...


comptime is_half[dt: DType]: Bool = dt == DType.float16 or dt == DType.bfloat16
comptime width_of[dt: DType]: Int = simd_width_of[DType.float32]() if size_of[Scalar[dt]]() < 4 else simd_width_of[dt]()


@always_inline
def load_at[dt: DType, w: Int](address: Int, i: Int) -> SIMD[dt, w]:
    """Elements i .. i + w. Bools are bytes in memory."""
    comptime if dt == DType.bool:
        return at[UInt8](address).unsafe_load[width=w](i).ne(SIMD[DType.uint8, w](0))._refine[dt, w]()
    else:
        return at[Scalar[dt]](address).unsafe_load[width=w](i)


@always_inline
def store_at[dt: DType, w: Int](address: Int, i: Int, value: SIMD[dt, w]):
    comptime if dt == DType.bool:
        at[UInt8](address).unsafe_store(i, value.cast[DType.uint8]())
    else:
        at[Scalar[dt]](address).unsafe_store(i, value)


comptime compute[dt: DType]: DType = DType.float32 if is_half[dt] else dt


def unary_kernel[F: Unary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    comptime C = compute[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var i = 0
    while i + W <= n:
        store_at[dt, W](o, i, F.apply(load_at[dt, W](a, i).cast[C](), params).cast[dt]())
        i += W
    while i < n:
        store_at[dt, 1](o, i, F.apply(load_at[dt, 1](a, i).cast[C](), params).cast[dt]())
        i += 1


def predicate_kernel[F: Predicate, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    comptime C = compute[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var i = 0
    while i + W <= n:
        store_at[DType.bool, W](o, i, F.apply(load_at[dt, W](a, i).cast[C]()))
        i += W
    while i < n:
        store_at[DType.bool, 1](o, i, F.apply(load_at[dt, 1](a, i).cast[C]()))
        i += 1


def binary_kernel[F: Binary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    comptime C = compute[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var i = 0
    while i + W <= n:
        store_at[dt, W](o, i, F.apply(load_at[dt, W](a, i).cast[C](), load_at[dt, W](b, i).cast[C](), params).cast[dt]())
        i += W
    while i < n:
        store_at[dt, 1](o, i, F.apply(load_at[dt, 1](a, i).cast[C](), load_at[dt, 1](b, i).cast[C](), params).cast[dt]())
        i += 1


def comparison_kernel[F: Comparison, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    comptime C = compute[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var i = 0
    while i + W <= n:
        store_at[DType.bool, W](o, i, F.apply(load_at[dt, W](a, i).cast[C](), load_at[dt, W](b, i).cast[C]()))
        i += W
    while i < n:
        store_at[DType.bool, 1](o, i, F.apply(load_at[dt, 1](a, i).cast[C](), load_at[dt, 1](b, i).cast[C]()))
        i += 1


def ternary_kernel[F: Ternary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    comptime C = compute[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var c = blocks[unsafe_offset=3]
    var i = 0
    while i + W <= n:
        var r = F.apply(
            load_at[dt, W](a, i).cast[C](), load_at[dt, W](b, i).cast[C](), load_at[dt, W](c, i).cast[C](), params
        )
        store_at[dt, W](o, i, r.cast[dt]())
        i += W
    while i < n:
        var r = F.apply(
            load_at[dt, 1](a, i).cast[C](), load_at[dt, 1](b, i).cast[C](), load_at[dt, 1](c, i).cast[C](), params
        )
        store_at[dt, 1](o, i, r.cast[dt]())
        i += 1


# Which dtypes an op supports: bit i for dtype code i.
comptime BOOLS = 1
comptime INTS = 0x3E  # uint8, int8 .. int64
comptime UINTS = 0x1C0  # uint16, uint32, uint64
comptime HALVES = 0x600
comptime FLOATS = 0x1E00
comptime ALL_INTS = INTS | UINTS
comptime REAL = ALL_INTS | FLOATS
comptime ALL = BOOLS | REAL


def unary_table[F: Unary, dtypes: Int](rule: Int) -> Int:
    var t = new_table(rule, 1)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = unary_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def predicate_table[F: Predicate, dtypes: Int]() -> Int:
    var t = new_table(TO_BOOL, 1)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = predicate_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def binary_table[F: Binary, dtypes: Int](rule: Int) -> Int:
    var t = new_table(rule, 2)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = binary_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def comparison_table[F: Comparison, dtypes: Int]() -> Int:
    var t = new_table(TO_BOOL, 2)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = comparison_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def ternary_table[F: Ternary, dtypes: Int](rule: Int) -> Int:
    var t = new_table(rule, 3)
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = ternary_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


# ---------------------------------------------------------------- the driver


def pointwise(mut call: Call) raises -> Obj:
    """The function of every pointwise op whose slots are its operands: see `pointwise_with`."""
    var none = stack_allocation[1, Float64]()
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), none.as_unsafe_any_origin())


@always_inline
def pointwise_with(mut call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    """Runs a table's op on the first slots: promote, broadcast, allocate (or check `out`), loop."""
    # The common case, without a loop object: same dtype, same shape, contiguous, on the CPU.
    var inputs = table[].inputs
    var first = call.obj(0)
    if is_tensor(first) and call.out == 0:
        var a = as_tensor(first)
        var b = a
        var plain = a[].contiguous() and a[].device() == 0
        if inputs == 2:
            var second = call.obj(1)
            plain = plain and is_tensor(second)
            if plain:
                b = as_tensor(second)
                plain = (
                    b[].dtype == a[].dtype
                    and b[].contiguous()
                    and b[].ndim == a[].ndim
                    and b[].device() == 0
                    and same_dims(a[].shape, b[].shape, a[].rank())
                )
        elif inputs > 2:
            plain = False
        var code = a[].code()
        if plain and a[].numel < SMALL_LOOP and table[].kernels[code] != 0 and (table[].rule != FLOAT or code > 8):
            var result = new_tensor(BOOL if table[].rule == TO_BOOL else code, a[].shape, a[].rank())
            var blocks = stack_allocation[3, Int]()
            blocks[unsafe_offset=0] = as_tensor(result)[].data()
            blocks[unsafe_offset=1] = a[].data()
            blocks[unsafe_offset=2] = b[].data()
            var f = function_at[ElementwiseFn](table[].kernels[code])
            f(blocks.as_unsafe_any_origin(), a[].numel, params)
            return result
    return _general(call, table, params)


@no_inline
def _general(mut call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    var inputs = table[].inputs
    var numbers = Array[Scalar2, MAX_INPUTS](fill=Scalar2(0, 0, 0, 0))
    var tensors = Array[Int, MAX_INPUTS](fill=0)
    var types = ResultType()
    var shape = no_dims()
    var ndim = 0
    var device = 0
    for i in range(inputs):
        var o = call.obj(i)
        if is_tensor(o):
            var t = as_tensor(o)
            tensors[i] = o
            types.add_tensor(t)
            if t[].device() != 0:
                device = t[].device()
            var before = shape.copy()
            var before_ndim = ndim
            var bad = broadcast_into(shape, ndim, t[].shape, t[].rank())
            if bad >= 0:
                raise broadcast_error(before, before_ndim, t, bad, ndim)
        else:
            if not number_of(o, numbers[i]):
                if error_occurred():
                    raise python_error()
                raise call.type_error(i, "Tensor")
            types.add_number(numbers[i])
    var common = types.result()
    var code = common
    if table[].rule == FLOAT and category(code) < 2:
        code = runtime()[].default_dtype
    if table[].kernels[code] == 0:
        raise unsupported(call.name(), code)
    var result_code = BOOL if table[].rule == TO_BOOL else code
    var out_code = result_code

    # the output: given, or allocated in the inputs' dimension order
    var result: Obj
    if call.out != 0:
        var t = as_tensor(call.out)
        # a comparison may be written to any dtype: its bools are cast
        if not (table[].rule == TO_BOOL):
            check_can_cast(result_code, t[].code())
        out_code = t[].code()
        if t[].rank() != ndim or not same_dims(t[].shape, shape, ndim):
            if call.inplace():
                raise Error(
                    t"RuntimeError|output with shape {shape_text(t[].shape, t[].rank())} doesn't match the broadcast"
                    t" shape {shape_text(shape, ndim)}"
                )
            resize_out(t, shape, ndim)
        result = call.out
    else:
        result = 0

    var loop = Loop(table[].kernels[code], params, shape, ndim, 1)
    loop.grain = table[].grain
    if result != 0:
        var t = as_tensor(result)
        check_writable(t)
        for i in range(inputs):
            if tensors[i] != 0:
                check_overlap(t, as_tensor(tensors[i]))
        loop.add(t[].writable(), t[].code(), result_code, t[].shape, t[].strides, t[].rank())
    else:
        loop.num_operands = 1
        loop.operands[0].code = out_code
        loop.operands[0].kernel_code = result_code
    for i in range(inputs):
        if tensors[i] != 0:
            loop.add_tensor(as_tensor(tensors[i]), code)
        else:
            loop.add_number(code, numbers[i])
    if result == 0:
        var strides = output_strides(loop)
        var made = new_strided(out_code, shape, strides, ndim, device)
        var t = as_tensor(made)
        loop.operands[0].data = t[].data()
        var size = itemsize(out_code)
        for i in range(ndim):
            loop.operands[0].strides[i] = 0 if shape[i] == 1 else strides[i] * size
        result = made
    else:
        incref(result)
    if device == 0:
        loop.execute()
    else:
        loop.plan()
        launch(call, device, loop, Int(table), code)
    return result


def launch(call: Call, device: Int, mut loop: Loop, table: Int, code: Int) raises:
    """Hands a loop to the accelerator: see `DeviceTable.launch`."""
    comptime LaunchFn = def(Int, Int, Int, Int) thin abi("C") -> Int
    var f = function_at[LaunchFn](device_table(device)[].launch)
    # the address is used while `loop` lives: the caller's variable outlasts the call
    if f(call.op[].name, Int(Pointer(to=loop)), table, code) != 0:
        raise call.fail("RuntimeError", "the kernel failed to launch on the device")


def output_strides(loop: Loop) -> Dims:
    """Strides (in elements) of a new output: dense, in the order of the inputs' dimensions."""
    var order = sorted_dims(loop)
    var strides = no_dims()
    var step = 1
    for i in range(loop.ndim):
        strides[order[i]] = step
        step *= max(loop.shape[order[i]], 1)
    return strides^


def broadcast_error(shape: Dims, ndim: Int, t: TPtr, bad: Int, out_ndim: Int) -> Error:
    var a = shape[bad - (out_ndim - ndim)]
    var b = t[].shape[bad - (out_ndim - t[].rank())]
    return Error(
        t"RuntimeError|The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension {bad}"
    )


def unsupported(name: String, code: Int) -> Error:
    return Error(t"NotImplementedError|\"{name}\" not implemented for '{type_name(code)}'")


def check_writable(t: TPtr) raises:
    """Refuses to write where two elements share one place."""
    if has_internal_overlap(t[].shape, t[].strides, t[].rank()):
        raise Error(
            "RuntimeError|unsupported operation: more than one element of the written-to tensor refers to a single"
            " memory location. Please clone() the tensor before performing the operation."
        )


def check_overlap(out_: TPtr, t: TPtr) raises:
    """Refuses an output that shares some, but not the same, elements with an input."""
    if out_[].storage_address != t[].storage_address or Int(out_) == Int(t):
        return
    if out_[].numel == 0 or t[].numel == 0:
        return
    if (
        out_[].offset == t[].offset
        and out_[].rank() == t[].rank()
        and same_dims(out_[].shape, t[].shape, t[].rank())
        and same_dims(out_[].strides, t[].strides, t[].rank())
    ):
        return
    # exact only for layouts without gaps: the others are too hard to tell, and allowed, as in PyTorch
    if not is_dense(out_[].shape, out_[].strides, out_[].rank()) or not is_dense(t[].shape, t[].strides, t[].rank()):
        return
    var a = extent(out_[].shape, out_[].strides, out_[].rank())
    var b = extent(t[].shape, t[].strides, t[].rank())
    var size_a = itemsize(out_[].code())
    var size_b = itemsize(t[].code())
    var a0 = (out_[].offset + a[0]) * size_a
    var a1 = (out_[].offset + a[1]) * size_a
    var b0 = (t[].offset + b[0]) * size_b
    var b1 = (t[].offset + b[1]) * size_b
    if a0 < b1 and b0 < a1:
        raise Error(
            "RuntimeError|unsupported operation: some elements of the input tensor and the written-to tensor refer to a"
            " single memory location. Please clone() the tensor before performing the operation."
        )


def resize_out(t: TPtr, shape: Dims, ndim: Int) raises:
    """Gives an `out=` tensor the result's shape (PyTorch resizes it; a non-empty one with a warning)."""
    replace_storage(t, t[].code(), shape, ndim)
