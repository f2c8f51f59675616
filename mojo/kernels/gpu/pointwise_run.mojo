"""Runs a planned loop on an accelerator: DeviceTable.find and DeviceTable.pointwise."""

from std.ffi import external_call
from std.memory import Pointer, bitcast
from max.gpu import block_dim, global_idx, grid_dim
from kernels.gpu.copy_api import copy
from kernels.gpu.device import device, fail
from kernels.gpu.launch import (
    AS_BOOL,
    AS_FLOAT32,
    AS_FLOAT64,
    AS_INT64,
    bits_code,
    class_of_code,
    pieces,
    set_operand,
    set_shape,
)
from kernels.gpu.pointwise import (
    BITS,
    Kernels,
    KernelsPtr,
    LaunchFn,
    ON_INT64,
    new_kernels,
    queue,
    registry,
    short_name,
)
from kernels.gpu.work import LANES, MAX_OPERANDS, NUMBER, Work, get, set
from kernels.functor import MAX_NUMBERS
from tensor.dtype import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT16, INT32, INT64, INT8, UINT8, itemsize
from tensor.layout import Dims, no_dims
from tensor.loop import Loop
from tensor.memory import Numbers, address_of, at, c_string, function_at, load
from tensor.storage import DeviceTable

# ---------------------------------------------------------------- where and masked_fill: bits are moved


def select_kernel[mask_at: Int](w: Work):
    """The first of the two other operands where operand `mask_at` is true, else the second; in masked_fill's order
    (mask_at 2) the replacement comes last."""
    comptime first = 2 if mask_at == 1 else 3
    comptime second = 3 if mask_at == 1 else 1
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        var mask = ~get[DType.int64, mask_at](w, i).eq(0)
        set[DType.int64](w, i, mask.select(get[DType.int64, first](w, i), get[DType.int64, second](w, i)))
        i += step


def _select[mask_at: Int](index: Int, w: Pointer[Work, MutAnyOrigin], reserved: Int) abi("C") -> Int:
    try:
        queue[select_kernel[mask_at]](index, w[])
        return 0
    except e:
        return fail(e, "where")


@export("dumbtorch_accelerator_register_select")
def register_select() abi("C") -> None:
    comptime for mask_at in range(1, 3):
        var k = new_kernels(String(t"select{mask_at}"), -1, BITS)
        var f: LaunchFn = _select[mask_at]
        k[].launch[AS_INT64] = address_of(f)


# ---------------------------------------------------------------- the table's functions


def find(name: Int) abi("C") -> Int:
    """See DeviceTable.find; a name that a family registered an entry under gives that function's address."""
    var wanted = c_string(short_name(String(unsafe_from_utf8_ptr=at[UInt8](name))))
    var address = registry()[].first
    while address != 0:
        var k = at[Kernels](address)
        if external_call["strcmp", Int32](k[].name, wanted) == 0:
            break
        address = k[].next
    external_call["free", NoneType](wanted)
    if address != 0 and at[Kernels](address)[].entry != 0:
        return at[Kernels](address)[].entry
    return address


def _number(bits: UInt64, code: Int, by_bits: Bool) -> Int64:
    """A number given as one element of a dtype, as a kernel's NUMBER operand: the bits of the type computed in."""
    var size = itemsize(code)
    var low = bits if size == 8 else bits & ((UInt64(1) << UInt64(8 * size)) - 1)
    if by_bits or code == BOOL:
        return low.cast[DType.int64]()
    if code == FLOAT16:
        var x = bitcast[DType.float16](low.cast[DType.uint16]()).cast[DType.float32]()
        return bitcast[DType.uint32](x).cast[DType.int64]()
    if code == BFLOAT16:
        return (low << 16).cast[DType.int64]()
    if code == INT8:
        return low.cast[DType.int8]().cast[DType.int64]()
    if code == INT16:
        return low.cast[DType.int16]().cast[DType.int64]()
    if code == INT32:
        return low.cast[DType.int32]().cast[DType.int64]()
    return low.cast[DType.int64]()


def pointwise(index: Int, loop: Pointer[Loop, MutAnyOrigin], kernels: Int, code: Int) abi("C") -> Int:
    """See DeviceTable.pointwise."""
    try:
        return _run(index, loop[], at[Kernels](kernels), code)
    except e:
        return fail(e, "pointwise")


def _run(index: Int, loop: Loop, k: KernelsPtr, code: Int) raises -> Int:
    var by_bits = k[].flags & BITS != 0
    var kind = class_of_code(code)
    if by_bits:
        kind = AS_INT64 if bits_code(itemsize(code)) >= 0 else -1
    elif kind == AS_BOOL and k[].flags & ON_INT64 != 0:
        kind = AS_INT64
    if kind < 0 or (not by_bits and k[].dtypes >> code & 1 == 0) or k[].launch[kind] == 0:
        return 1
    if loop.numel == 0:
        return 0
    # operands of other dtypes are cast into temporaries, laid out as the loop walks
    var d = device(index)
    var n = loop.num_operands
    var data = Array[Int, MAX_OPERANDS](fill=0)
    var temporary = Array[Int, MAX_OPERANDS](fill=0)
    var codes = Array[Int, MAX_OPERANDS](fill=0)
    var strides = List[Dims]()
    var status = 0
    for i in range(n):
        ref operand = loop.operands[i]
        data[i] = operand.data
        codes[i] = operand.kernel_code
        strides.append(operand.strides.copy())
        if operand.data == 0 or operand.code == operand.kernel_code:
            continue
        temporary[i] = d[].alloc(loop.numel * itemsize(operand.kernel_code))
        data[i] = temporary[i]
        var step = itemsize(operand.kernel_code)
        for j in range(loop.ndim):
            strides[i][j] = step
            step *= loop.shape[j]
        if i > 0 and status == 0:
            status = copy(
                index, data[i], codes[i], strides[i], operand.data, operand.code, operand.strides, loop.shape, loop.ndim
            )
    if status == 0:
        for piece in pieces(loop.shape, loop.ndim, strides):
            var w = Work()
            set_shape(w, piece.shape, loop.ndim, piece.numel)
            for i in range(n):
                if data[i] == 0:
                    w.mode[i] = Int32(NUMBER)
                    w.code[i] = Int32(codes[i])
                    w.data[i] = _number(loop.numbers[2 * i], codes[i], by_bits)
                    continue
                var own = bits_code(itemsize(codes[i])) if by_bits else codes[i]
                set_operand(w, i, data[i] + piece.moved[i], own, strides[i])
            var params = Numbers(unsafe_from_address=loop.params)
            for i in range(MAX_NUMBERS):
                w.params[i] = params[unsafe_offset=i]
            status = function_at[LaunchFn](k[].launch[kind])(index, Pointer(to=w).as_unsafe_any_origin(), 0)
            if status != 0:
                break
    if status == 0 and temporary[0] != 0:
        ref target = loop.operands[0]
        status = copy(
            index, target.data, target.code, target.strides, data[0], codes[0], strides[0], loop.shape, loop.ndim
        )
    for i in range(n):
        if temporary[i] != 0:
            d[].free(temporary[i])
    return status


@export("dumbtorch_accelerator_register_pointwise")
def register_pointwise(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var find_: def(Int) thin abi("C") -> Int = find
    at[DeviceTable](table)[].find = address_of(find_)
    var pointwise_: def(Int, Pointer[Loop, MutAnyOrigin], Int, Int) thin abi("C") -> Int = pointwise
    at[DeviceTable](table)[].pointwise = address_of(pointwise_)
