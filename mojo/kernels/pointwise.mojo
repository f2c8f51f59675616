"""The entry of every pointwise op, and the checks that ops with outputs share.

`pointwise` is the function registered for an op whose slots are its operands; an op with more parameters calls
`pointwise_with` with its numbers. Both hand the call to the driver (kernels/driver.mojo), which is an object of its own:
a family holds nothing but functors.
"""

from std.ffi import external_call
from std.memory import Pointer, stack_allocation
from kernels.functor import FAULT, IMAGINARY, MAX_NUMBERS, Table, TablePtr, compute, is_half, load_at, store_at
from tensor.call import Call
from tensor.dtype import itemsize, type_name
from tensor.errors import warn
from tensor.layout import Dims, extent, has_internal_overlap, is_dense, no_dims, same_dims, shape_text
from tensor.loop import Loop
from tensor.memory import Numbers, at, function_at, words
from tensor.object import TPtr, replace_storage
from tensor.operand import sorted_dims
from tensor.py import Obj, decref
from tensor.storage import DeviceFind, check_status, device_table


def pointwise(mut call: Call) raises -> Obj:
    """Runs the op's table on its slots."""
    var none = stack_allocation[MAX_NUMBERS, Float64]()
    return pointwise_with(call, TablePtr(unsafe_from_address=call.data()), none.as_unsafe_any_origin())


@always_inline
def pointwise_with(mut call: Call, table: TablePtr, params: Numbers) raises -> Obj:
    """Runs a table on the first slots: promotes, broadcasts, allocates (or checks `out`), loops."""
    var r = external_call["dumbtorch_pointwise", Int](call.op, words(call.slots), call.out, Int(table), params)
    if r == 0:
        raise Error("P|")
    return r


def pointwise_numbers(mut call: Call) raises -> Obj:
    """As `pointwise`, for ops with numbers after their operands: they are the functor's numbers, in order."""
    var table = TablePtr(unsafe_from_address=call.data())
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    var inputs = table[].inputs
    for i in range(inputs, min(call.op[].num_params, inputs + FAULT)):
        var s = call.scalar(i)
        params[unsafe_offset=i - inputs] = s.d
        if i - inputs + IMAGINARY < FAULT and call.op[].num_params <= inputs + IMAGINARY:
            params[unsafe_offset=i - inputs + IMAGINARY] = s.im
    return pointwise_with(call, table, params.as_unsafe_any_origin())


def table_of(call: Call, i: Int) -> TablePtr:
    """The i-th table of an op that has several (see `tables`)."""
    return TablePtr(unsafe_from_address=at[Int](call.data())[unsafe_offset=i])


def pointwise_checked(mut call: Call) raises -> Obj:
    """As `pointwise`, for functors that mark elements that cannot be computed: integer division by zero."""
    return divide_with(call, TablePtr(unsafe_from_address=call.data()))


@always_inline
def divide_with(mut call: Call, table: TablePtr) raises -> Obj:
    """Runs a table whose functor marks a division by zero; the message is PyTorch's."""
    var params = stack_allocation[MAX_NUMBERS, Float64]()
    params[unsafe_offset=FAULT] = 0
    var r = pointwise_with(call, table, params.as_unsafe_any_origin())
    if params[unsafe_offset=FAULT] != 0:
        decref(r)
        raise Error("RuntimeError|ZeroDivisionError")
    return r


def launch(call: Call, device: Int, mut loop: Loop, table: TablePtr, code: Int) raises:
    """Hands a planned loop to the accelerator."""
    comptime LaunchFn = def(Int, Pointer[Loop, MutAnyOrigin], Int, Int) thin abi("C") -> Int
    var functions = device_table(device)
    if table[].device == 0:
        var found = function_at[DeviceFind](functions[].find)(table[].functor)
        table[].device = found if found != 0 else -1
    var status = 1
    if table[].device != -1:
        var f = function_at[LaunchFn](functions[].pointwise)
        status = f(device & 255, Pointer(to=loop).as_unsafe_any_origin(), table[].device, code)
    check_status(status, device, call.name())


def output_strides(loop: Loop) -> Dims:
    """Strides (in elements) of a new output: dense, in the order of the inputs' dimensions."""
    var order = sorted_dims(loop.operands, loop.num_operands, loop.shape, loop.ndim)
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
        t"RuntimeError|The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension"
        t" {bad}"
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
    """Gives an `out=` tensor the result's shape; a non-empty one with a warning, as in PyTorch."""
    if t[].numel > 0:
        warn(
            String(
                "An output with one or more elements was resized since it had shape ",
                shape_text(t[].shape, t[].rank()),
                ", which does not match the required output shape ",
                shape_text(shape, ndim),
                (
                    ". This behavior is deprecated, and in a future PyTorch release outputs will not be resized unless"
                    " they have zero elements. You can explicitly reuse an out tensor t by resizing it, inplace, to"
                    " zero elements with t.resize_(0)."
                ),
            )
        )
    replace_storage(t, t[].code(), shape, ndim)
