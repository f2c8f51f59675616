"""The driver of the pointwise ops: promotes, broadcasts, allocates, and runs a table's kernel over the operands.

The quickest way that fits: `_direct` for small contiguous tensors of one shape on the CPU, `_by_rows` with rows to
repeat, `_blocked` with numbers; `_general` for everything else, by the strided loop or the device's launcher.
"""

from std.memory import Pointer, stack_allocation
from kernels.device_api import different_devices
from kernels.functor import COUNT, FLOAT, OWN, SAME, SMALL_LOOP, TO_BOOL, Table, TablePtr, result_code

from kernels.pointwise import (
    broadcast_error, check_overlap, check_writable, launch, output_strides, resize_out, unsupported,
)  # fmt: skip
from kernels.transfer_api import copy_into
from tensor.allocator import pool
from tensor.call import Call, OpPtr, Scalar2, number_of
from tensor.dtype import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT64, category, itemsize
from tensor.errors import python_error, set_python_error
from tensor.layout import Dims, broadcast_into, no_dims, same_dims, shape_text
from tensor.loop import ElementwiseFn, Loop
from tensor.memory import Numbers, Words, at, function_at, load, memcpy
from tensor.object import TPtr, as_tensor, is_tensor, new_strided, new_tensor
from tensor.promote import ResultType, check_can_cast, put_number
from tensor.py import Obj, class_of, decref, error_occurred, incref
from tensor.runtime import runtime

comptime MAX_INPUTS = 4
comptime FILL = 512  # elements of a number that are laid out at a time


@export("dumbtorch_pointwise")
def run(op: OpPtr, slots: Words, result: Int, table: Int, params: Numbers) abi("C") -> Int:
    """Runs a table's op on the first slots. 0 with the Python error set when it fails."""
    var call = Call(op, slots, result)
    var t = TablePtr(unsafe_from_address=table)
    try:
        var r = _direct(call, t, params)
        if r != 0:
            return r
        return _general(call, t, params)
    except e:
        set_python_error(e)
        return 0


# ---------------------------------------------------------------- small and contiguous


@always_inline
def _plain(o: Obj) -> Bool:
    """A contiguous tensor on the CPU."""
    if not is_tensor(o):
        return False
    var t = as_tensor(o)
    return t[].contiguous() and t[].device() == 0


@always_inline
def _direct(call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    """Runs small contiguous operands without a loop object; 0 when they are something else."""
    var inputs = table[].inputs
    var first = call.obj(0)
    if not _plain(first):
        return _blocked(call, table, params) if inputs > 1 else 0
    var a = as_tensor(first)
    var b = a
    if inputs > 1:
        if inputs > 2:
            return _blocked(call, table, params)
        var second = call.obj(1)
        if not _plain(second):
            return _blocked(call, table, params)
        b = as_tensor(second)
        if b[].dtype != a[].dtype:
            return 0
        if b[].ndim != a[].ndim or not same_dims(a[].shape, b[].shape, a[].rank()):
            if b[].rank() == 0 or a[].rank() == 0:
                return _blocked(call, table, params)
            return _by_rows(call, table, params, a, b)
    var code = a[].code()
    var kernel = table[].kernels[code]
    if a[].numel >= SMALL_LOOP or kernel == 0 or (table[].rule == FLOAT and category(code) < 2):
        return 0
    var made = _output(call, table, a, code)
    if made == 0:
        return 0
    var run = function_at[ElementwiseFn](kernel)
    var blocks = stack_allocation[3, Int]()
    blocks[unsafe_offset=0] = as_tensor(made)[].data()
    blocks[unsafe_offset=1] = a[].data()
    blocks[unsafe_offset=2] = b[].data()
    run(blocks.as_unsafe_any_origin(), a[].numel, params)
    return made


@always_inline
def _output(call: Call, table: TablePtr, a: TPtr, operand_code: Int) raises -> Obj:
    """A new reference to a contiguous output of a's shape: a new tensor, or `out` if it fits; 0 if it does not."""
    var code = result_code(table[].rule, operand_code)
    if call.out == 0:
        return new_tensor(code, a[].shape, a[].rank())
    return _given_output(call, table, a, code)


@no_inline
def _given_output(call: Call, table: TablePtr, a: TPtr, code: Int) raises -> Obj:
    var t = as_tensor(call.out)
    if (
        t[].code() != code
        or not t[].contiguous()
        or t[].device() != 0
        or t[].ndim != a[].ndim
        or not same_dims(t[].shape, a[].shape, a[].rank())
    ):
        return 0
    for k in range(table[].inputs):
        var o = call.obj(k)
        if is_tensor(o) and o != call.out:
            var operand = as_tensor(o)
            if operand[].storage_address == t[].storage_address and (
                operand[].offset != t[].offset or operand[].numel != t[].numel or operand[].dtype != t[].dtype
            ):
                return 0
    _ = t[].writable()
    incref(call.out)
    return call.out


@no_inline
def _by_rows(call: Call, table: TablePtr, params: Numbers, a: TPtr, b: TPtr) raises -> Obj:
    """b, repeated over the leading dimensions of a, as a bias is; 0 when the shapes are not so."""
    var n = b[].numel
    var shift = a[].rank() - b[].rank()
    var code = a[].code()
    var kernel = table[].kernels[code]
    if shift <= 0 or n < 4 or a[].numel >= SMALL_LOOP or kernel == 0 or (table[].rule == FLOAT and category(code) < 2):
        return 0
    for i in range(b[].rank()):
        if b[].shape[i] != a[].shape[i + shift]:
            return 0
    var made = _output(call, table, a, code)
    if made == 0:
        return 0
    var run = function_at[ElementwiseFn](kernel)
    var blocks = stack_allocation[3, Int]()
    blocks[unsafe_offset=0] = as_tensor(made)[].data()
    blocks[unsafe_offset=1] = a[].data()
    blocks[unsafe_offset=2] = b[].data()
    var step = n * itemsize(code)
    var out_step = n * itemsize(as_tensor(made)[].code())
    for _ in range(a[].numel // n):
        run(blocks.as_unsafe_any_origin(), n, params)
        blocks[unsafe_offset=0] += out_step
        blocks[unsafe_offset=1] += step
    return made


@no_inline
def _blocked(call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    """Contiguous operands of one shape among numbers and 0-d tensors that do not change the dtype; else 0.

    What has one element is laid out `FILL` times in scratch, and the kernel runs by so many elements."""
    var inputs = table[].inputs
    var shape = 0  # the tensor that gives the shape
    var code = -1
    for k in range(inputs):
        var o = call.obj(k)
        if is_tensor(o):
            var t = as_tensor(o)
            if shape == 0 or t[].rank() > as_tensor(shape)[].rank():
                shape = o
            if k != table[].mask and (code < 0 or t[].rank() > 0):
                code = t[].code()
    if shape == 0 or code < 0:
        return 0
    var first = as_tensor(shape)
    var kernel = table[].kernels[code]
    if (
        first[].numel >= SMALL_LOOP
        or kernel == 0
        or (table[].rule == FLOAT and category(code) < 2)
        or (table[].rule == OWN and (not is_tensor(call.obj(0)) or as_tensor(call.obj(0))[].code() != code))
        or (table[].wide and (code == FLOAT16 or code == BFLOAT16))
    ):
        return 0
    var numbers = Array[Scalar2, 3](fill=Scalar2(0, 0, 0, 0))
    for k in range(inputs):
        var o = call.obj(k)
        if is_tensor(o):
            var t = as_tensor(o)
            if t[].device() != 0 or t[].code() != (BOOL if k == table[].mask else code):
                return 0
            if t[].rank() == 0 and first[].rank() > 0:
                continue
            if not t[].contiguous() or t[].ndim != first[].ndim or not same_dims(t[].shape, first[].shape, t[].rank()):
                return 0
        else:
            var rt = runtime()
            var kind = class_of(o)
            if kind != rt[].float_type and kind != rt[].long_type and kind != rt[].bool_type:
                return 0
            if not number_of(o, numbers[k]):
                raise python_error()
            if numbers[k].category > category(code) and table[].rule != OWN:
                return 0
    var made = _output(call, table, first, code)
    if made == 0:
        return 0
    var size = itemsize(code)
    var length = min(first[].numel, FILL)
    var stride = (length * size + 127) // 128 * 128
    var space = pool()[].take(3 * stride)
    if space == 0:
        raise Error("OutOfMemoryError|no memory for the scratch of a pointwise op")
    var blocks = stack_allocation[4, Int]()
    var steps = Array[Int, 4](fill=0)
    blocks[unsafe_offset=0] = as_tensor(made)[].data()
    steps[0] = FILL * itemsize(as_tensor(made)[].code())
    for k in range(inputs):
        var o = call.obj(k)
        if is_tensor(o) and (as_tensor(o)[].rank() > 0 or first[].rank() == 0):
            blocks[unsafe_offset=k + 1] = as_tensor(o)[].data()
            steps[k + 1] = FILL * itemsize(as_tensor(o)[].code())
        else:
            var block = space + k * stride
            blocks[unsafe_offset=k + 1] = block
            var own = BOOL if k == table[].mask else code
            if is_tensor(o):
                memcpy(block, as_tensor(o)[].data(), itemsize(own))
                _repeat(block, own, length)
            else:
                _fill(block, own, numbers[k], length)
    var run = function_at[ElementwiseFn](kernel)
    var left = first[].numel
    while left > 0:
        run(blocks.as_unsafe_any_origin(), min(left, FILL), params)
        for k in range(inputs + 1):
            blocks[unsafe_offset=k] += steps[k]
        left -= FILL
    pool()[].give(space, 3 * stride)
    return made


@always_inline
def _fill(space: Int, code: Int, s: Scalar2, count: Int):
    """At least `count` elements of a number; whole vectors are written."""
    if code == FLOAT32:
        _splat[DType.float32](space, s.d.cast[DType.float32](), count)
    elif code == FLOAT64:
        _splat[DType.float64](space, s.d, count)
    elif code == INT64:
        _splat[DType.int64](space, Int64(s.i), count)
    else:
        put_number(Pointer[UInt8, MutAnyOrigin](unsafe_from_address=space), code, s)
        _repeat(space, code, count)


def _repeat(space: Int, code: Int, count: Int):
    """Repeats the first element of a block."""
    var size = itemsize(code)
    if size == 1:
        _splat[DType.uint8](space, load[UInt8](space), count)
    elif size == 2:
        _splat[DType.uint16](space, load[UInt16](space), count)
    elif size == 4:
        _splat[DType.uint32](space, load[UInt32](space), count)
    elif size == 8:
        _splat[DType.uint64](space, load[UInt64](space), count)
    else:
        for i in range(1, count):
            memcpy(space + i * size, space, size)


@always_inline
def _splat[dt: DType](space: Int, value: Scalar[dt], count: Int):
    var i = 0
    while i < count:
        at[Scalar[dt]](space).unsafe_store(i, SIMD[dt, 8](value))
        i += 8


# ---------------------------------------------------------------- any strides, dtypes, devices


def table_name(call: Call, table: TablePtr) -> String:
    """What "not implemented" errors call the op."""
    if table[].label != 0:
        return String(unsafe_from_utf8_ptr=at[UInt8](table[].label))
    return call.name() + "_cpu"


@no_inline
def _common_device(device: Int, t: TPtr) raises -> Int:
    """The device of the tensors so far and one more, where one has none or lies on the CPU."""
    if device == 0:
        return t[].device()
    if t[].device() != 0:
        raise different_devices(device, t[].device())
    return device


@no_inline
def _add_element(mut loop: Loop, t: TPtr, code: Int) raises:
    """Adds a tensor without dimensions that lies on the CPU to the loop of a device: its element travels as a number.
    """
    var k = loop.num_operands
    loop.add_number(code, Scalar2(0, 0, 0, 0))
    var cast = new_tensor(code, no_dims(), 0)
    try:
        copy_into(as_tensor(cast), t)
        var address = as_tensor(cast)[].data()
        var size = itemsize(code)
        if size == 1:
            loop.numbers[2 * k] = load[UInt8](address).cast[DType.uint64]()
        elif size == 2:
            loop.numbers[2 * k] = load[UInt16](address).cast[DType.uint64]()
        elif size == 4:
            loop.numbers[2 * k] = load[UInt32](address).cast[DType.uint64]()
        else:
            loop.numbers[2 * k] = load[UInt64](address)
            if size == 16:
                loop.numbers[2 * k + 1] = load[UInt64](address + 8)
    finally:
        decref(cast)


@no_inline
def _general(mut call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    var inputs = table[].inputs
    var numbers = Array[Scalar2, MAX_INPUTS](fill=Scalar2(0, 0, 0, 0))
    var tensors = Array[Int, MAX_INPUTS](fill=0)
    var scalars = False
    var dimensioned = ~0  # the one dtype of the tensors with dimensions, as a bit; 0 if there are several
    var types = ResultType()
    var shape = no_dims()
    var ndim = 0
    var device = 0
    for i in range(inputs):
        var o = call.obj(i)
        if is_tensor(o):
            var t = as_tensor(o)
            tensors[i] = o
            scalars = scalars or t[].rank() == 0
            if t[].rank() > 0:
                dimensioned = dimensioned & (1 << t[].code())
            if i != table[].mask:
                types.add_tensor(t)
            if t[].device() != device:
                device = _common_device(device, t)
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
            scalars = True
    for i in range(inputs):
        if tensors[i] != 0 and as_tensor(tensors[i])[].device() != device and as_tensor(tensors[i])[].rank() > 0:
            raise different_devices(as_tensor(tensors[i])[].device(), device)
    if call.out != 0 and as_tensor(call.out)[].device() != device:
        raise different_devices(as_tensor(call.out)[].device(), device)
    var code = as_tensor(tensors[0])[].code() if table[].rule == OWN and tensors[0] != 0 else types.result()
    if table[].rule == FLOAT and category(code) < 2:
        code = runtime()[].default_dtype
    elif table[].rule == COUNT and code == BOOL:
        code = INT64
    if table[].kernels[code] == 0:
        raise unsupported(table_name(call, table), code)
    var natural = result_code(table[].rule, code)
    var out_code = natural
    # a number keeps its digits and its range beside half types
    var kernel_code = code
    if table[].wide and scalars and (code == FLOAT16 or code == BFLOAT16) and dimensioned & (1 << code) != 0:
        kernel_code = FLOAT32
    var made_code = result_code(table[].rule, kernel_code)

    # the output: given, or allocated in the inputs' dimension order
    var result: Obj
    if call.out != 0:
        var t = as_tensor(call.out)
        # a comparison may be written to any dtype: its bools are cast
        if not (table[].rule == TO_BOOL):
            check_can_cast(natural, t[].code())
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

    var loop = Loop(table[].kernels[kernel_code], params, shape, ndim, 1)
    loop.grain = table[].grain
    if result != 0:
        var t = as_tensor(result)
        check_writable(t)
        for i in range(inputs):
            if tensors[i] != 0:
                check_overlap(t, as_tensor(tensors[i]))
        loop.add(t[].writable(), t[].code(), made_code, t[].shape, t[].strides, t[].rank())
    else:
        loop.num_operands = 1
        loop.operands[0].code = out_code
        loop.operands[0].kernel_code = made_code
    for i in range(inputs):
        var operand_code = BOOL if i == table[].mask else kernel_code
        if tensors[i] != 0 and as_tensor(tensors[i])[].device() != device:
            _add_element(loop, as_tensor(tensors[i]), operand_code)
        elif tensors[i] != 0:
            loop.add_tensor(as_tensor(tensors[i]), operand_code)
        else:
            loop.add_number(operand_code, numbers[i])
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
        launch(call, device, loop, table, kernel_code)
    return result
