"""2-D pooling ops: argument checks and the choice of the kernel (pool_max, pool_avg)."""
from std.memory import Pointer
from kernels.device_api import device_entry
from kernels.pool_avg import AvgPool
from kernels.pool_max import MaxPool, MaxPoolGrad
from kernels.pool_stage import Planes, Window
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, UINT8, dtype_of, itemsize, type_name
from tensor.layout import Dims, checked_numel, no_dims, shape_text
from tensor.memory import function_at
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil, tuple_new, tuple_set
from tensor.storage import check_status

comptime GIL_ELEMENTS = 1 << 16
"""Elements from which on other Python threads may run meanwhile."""

comptime MAX_PLANE = 1 << 31


def _pair(call: Call, i: Int, what: StaticString) raises -> Tuple[Int, Int]:
    var d = no_dims()
    var n = call.dims(i, d)
    if n == 1:
        return (d[0], d[0])
    if n != 2:
        raise Error(t"RuntimeError|{_public(call)}: {call.param(i)} must {what} a single int, or a tuple of two ints")
    return (d[0], d[1])


def _public(call: Call) -> String:
    """The name by which users know the op."""
    var name = call.name()
    return "max_pool2d" if name.startswith("max_pool2d") else "avg_pool2d"


def _stride(call: Call, i: Int, kernel: Tuple[Int, Int]) raises -> Tuple[Int, Int]:
    if call.is_none(i):
        return kernel
    var d = no_dims()
    if call.dims(i, d) == 0:
        return kernel
    return _pair(call, i, "either be omitted,")


def _planes(t: TPtr) -> Planes:
    """The tensor (C, H, W) or (N, C, H, W) as planes."""
    var d = t[].rank() - 3
    return Planes(
        t[].data(),
        t[].shape[0] if d > 0 else 1,
        t[].shape[d],
        t[].shape[d + 1],
        t[].shape[d + 2],
        t[].strides[0] if d > 0 else 0,
        t[].strides[d],
        t[].strides[d + 1],
        t[].strides[d + 2],
    )


def _check_input(t: TPtr) raises:
    var rank = t[].rank()
    if rank != 3 and rank != 4:
        raise Error("RuntimeError|non-empty 3D or 4D (batch mode) tensor expected for input")


# The ops, as an accelerator is told
comptime MAXIMUM = 0
comptime MAXIMUM_GRADIENT = 1
comptime AVERAGE = 2
comptime AVERAGE_GRADIENT = 3


@fieldwise_init
struct Pooling(Copyable):
    """What an accelerator is handed: planes of the input's size and of the output's; the positions' planes (contiguous
    where they are written); strides in elements."""

    var kind: Int
    var x: Planes
    var y: Planes
    var indices: Planes
    var window: Window
    var count_padding: Bool
    var divisor: Int


def _launch(call: Call, t: TPtr, p: Pooling, made: Obj, other: Obj = 0) raises:
    """Hands pooling to the accelerator that holds `t`; on failure the results are let go."""
    comptime LaunchFn = def(Int, Pointer[Pooling, MutAnyOrigin], Int) thin abi("C") -> Int
    var q = p.copy()
    var device = t[].device()
    try:
        var f = function_at[LaunchFn](device_entry(device, "pool"))
        check_status(f(device & 255, Pointer(to=q).as_unsafe_any_origin(), t[].code()), device, call.name())
    except e:
        decref(made)
        if other != 0:
            decref(other)
        raise e^


def _check_sizes(shape: Dims, rank: Int) raises:
    """Only the batch may be empty."""
    for i in range(rank - 3, rank):
        if shape[i] == 0:
            raise Error(
                t"RuntimeError|Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:"
                t"{shape_text(shape, rank)}"
            )


def _out_size(size: Int, kernel: Int, stride: Int, padding: Int, dilation: Int, ceil_mode: Bool) raises -> Int:
    if stride == 0:
        raise Error("RuntimeError|stride should not be zero")
    if padding < 0:
        raise Error(t"RuntimeError|pad must be non-negative, but got pad: {padding}")
    if padding > ((kernel - 1) * dilation + 1) // 2:
        raise Error(
            t"RuntimeError|pad should be at most half of effective kernel size, but got pad={padding},"
            t" kernel_size={kernel} and dilation={dilation}"
        )
    var room = size + 2 * padding - dilation * (kernel - 1) - 1
    var count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    # The last window begins inside of the input or its left padding.
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def _out_shape(call: Call, shape: Dims, rank: Int, w: Window, ceil_mode: Bool) raises -> Dims:
    """The sizes of the result, after PyTorch's checks."""
    if w.dh <= 0 or w.dw <= 0:
        raise Error(t"RuntimeError|dilation should be greater than zero, but got dilationH: {w.dh} dilationW: {w.dw}")
    var result = shape.copy()
    var h = shape[rank - 2]
    var width = shape[rank - 1]
    result[rank - 2] = _out_size(h, w.kh, w.sh, w.ph, w.dh, ceil_mode)
    result[rank - 1] = _out_size(width, w.kw, w.sw, w.pw, w.dw, ceil_mode)
    if w.kh <= 0 or w.kw <= 0:
        raise Error(t"RuntimeError|kernel size should be greater than zero, but got kH: {w.kh} kW: {w.kw}")
    if w.sh < 0 or w.sw < 0:
        raise Error(t"RuntimeError|stride should be greater than zero, but got dH: {w.sh} dW: {w.sw}")
    _check_sizes(shape, rank)
    if w.ph > w.kh // 2 or w.pw > w.kw // 2:
        raise Error(
            t"RuntimeError|pad should be smaller than or equal to half of kernel size, but got padW = {w.pw}, padH ="
            t" {w.ph}, kW = {w.kw}, kH = {w.kh}"
        )
    if result[rank - 2] < 1 or result[rank - 1] < 1:
        var c = shape[rank - 3]
        raise Error(
            t"RuntimeError|Given input size: ({c}x{h}x{width}). Calculated output size:"
            t" ({c}x{result[rank - 2]}x{result[rank - 1]}). Output size is too small"
        )
    if h * width >= MAX_PLANE:
        raise call.fail("RuntimeError", String(t"planes of {MAX_PLANE} elements or more are not supported"))
    return result^


def _unsupported(call: Call, code: Int) -> Error:
    return Error(t"NotImplementedError|\"{_public(call)}\" not implemented for '{type_name(code)}'")


def _no_memory(call: Call) -> Error:
    return call.fail("OutOfMemoryError", "there is no memory for the working space")


def max_pool2d_with_indices(mut call: Call) raises -> Obj:
    """The maximum of each window and where it is: (input, kernel_size, stride, padding, dilation, ceil_mode).

    input (N, C, H, W) or (C, H, W): floats, signed integers, uint8. The result is a tuple (values, int64 positions in
    the plane). stride None or () is the kernel's size.
    """
    var input = call.tensor(0)
    var kernel = _pair(call, 1, "either be")
    var stride = _stride(call, 2, kernel)
    var padding = _pair(call, 3, "either be")
    var dilation = _pair(call, 4, "be either")
    var ceil_mode = call.bool(5)
    _check_input(input)
    var w = Window(kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1])
    var rank = input[].rank()
    var code = input[].code()
    var shape = _out_shape(call, input[].shape, rank, w, ceil_mode)
    if not ((code >= UINT8 and code <= INT64) or (code >= FLOAT16 and code <= FLOAT64)):
        raise _unsupported(call, code)
    _ = checked_numel(shape, rank, 8)
    var device = input[].device()
    var values = new_tensor(code, shape, rank, device)
    var indices: Obj
    try:
        indices = new_tensor(INT64, shape, rank, device)
    except e:
        decref(values)
        raise e^
    var n = as_tensor(values)[].numel
    var ok = True
    if n > 0 and device != 0:
        var to = _planes(as_tensor(values))
        var p = Pooling(MAXIMUM, _planes(input), to, _planes(as_tensor(indices)), w, False, 0)
        _launch(call, input, p, values, indices)
    elif n > 0:
        var x = _planes(input)
        var out_values = as_tensor(values)[].data()
        var out_indices = as_tensor(indices)[].data()
        var held = release_gil() if input[].numel >= GIL_ELEMENTS else 0
        comptime for c in range(UINT8, FLOAT64 + 1):
            comptime if c <= INT64 or c >= FLOAT16:
                if code == c:
                    var pool = MaxPool[dtype_of[c]](x, w, shape[rank - 2], shape[rank - 1], out_values, out_indices)
                    ok = pool.go()
        if held != 0:
            take_gil(held)
    if not ok:
        decref(values)
        decref(indices)
        raise _no_memory(call)
    var pair = tuple_new(2)
    tuple_set(pair, 0, values)
    tuple_set(pair, 1, indices)
    return pair


def _input_shape(call: Call, i: Int, grad: TPtr, mut shape: Dims) raises:
    """The sizes of the input, which agree with the gradient's batch and channels."""
    var rank = grad[].rank()
    var n = call.dims(i, shape)
    var fits = n == rank
    if fits:
        for j in range(rank - 2):
            fits = fits and shape[j] == grad[].shape[j]
    if not fits:
        raise call.fail(
            "RuntimeError",
            String(
                t"expected an input of {rank} dimensions with the batch and channels of grad_output"
                t" {shape_text(grad[].shape, rank)}, got {shape_text(shape, n)}"
            ),
        )


def max_pool2d_backward(mut call: Call) raises -> Obj:
    """The derivative by the input: (grad_output, indices, input_size)."""
    var grad = call.tensor(0)
    var indices = call.tensor(1)
    _check_input(grad)
    _check_input(indices)
    var rank = grad[].rank()
    var code = grad[].code()
    if indices[].code() != INT64:
        raise call.fail("RuntimeError", String(t"expected int64 indices, got {type_name(indices[].code())}"))
    for i in range(max(rank, indices[].rank())):
        if rank != indices[].rank() or grad[].shape[i] != indices[].shape[i]:
            raise call.fail(
                "RuntimeError",
                String(
                    t"expected indices of grad_output's size {shape_text(grad[].shape, rank)}, got"
                    t" {shape_text(indices[].shape, indices[].rank())}"
                ),
            )
    var shape = no_dims()
    _input_shape(call, 2, grad, shape)
    if code < FLOAT16 or code > FLOAT64:
        raise _unsupported(call, code)
    if grad[].device() != indices[].device():
        raise Error("RuntimeError|Expected all tensors to be on the same device, but found at least two devices")
    _ = checked_numel(shape, rank, 8)
    var result = new_tensor(code, shape, rank, grad[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    var g = _planes(grad)
    var at_ = _planes(indices)
    if grad[].device() != 0:
        var none = Window(0, 0, 0, 0, 0, 0, 0, 0)
        _launch(call, grad, Pooling(MAXIMUM_GRADIENT, _planes(out), g, at_, none, False, 0), result)
        return result
    var target = out[].data()
    var size = shape[rank - 2] * shape[rank - 1]
    var held = release_gil() if out[].numel >= GIL_ELEMENTS else 0
    var status = 0
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            var work = MaxPoolGrad[dtype_of[c]](g, at_, target, size)
            status = work.go()
    if held != 0:
        take_gil(held)
    if status != 0:
        decref(result)
        if status < 0:
            raise _no_memory(call)
        raise Error(
            t"RuntimeError|max_pool2d_backward(): found an index outside of its plane of {shape[rank - 2]} x"
            t" {shape[rank - 1]} elements"
        )
    return result


def _avg_arguments(
    call: Call, first: Int, mut window: Window, mut ceil_mode: Bool, mut count_padding: Bool, mut divisor: Int
) raises:
    """kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override from slot `first` on."""
    var kernel = _pair(call, first, "either be")
    var stride = _stride(call, first + 1, kernel)
    var padding = (0, 0)
    var d = no_dims()
    if call.dims(first + 2, d) > 0:
        padding = _pair(call, first + 2, "either be")
    window = Window(kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1], 1, 1)
    ceil_mode = call.bool(first + 3)
    count_padding = call.bool(first + 4)
    divisor = 0
    if not call.is_none(first + 5):
        divisor = call.int(first + 5)
        if divisor == 0:
            raise Error("RuntimeError|divisor must be not zero")


def avg_pool2d(mut call: Call) raises -> Obj:
    """The mean of each window: (input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).

    input (N, C, H, W) or (C, H, W), floats. stride None or () is the kernel's size.
    """
    var input = call.tensor(0)
    var w = Window(0, 0, 0, 0, 0, 0, 0, 0)
    var ceil_mode = False
    var count_padding = False
    var divisor = 0
    _avg_arguments(call, 1, w, ceil_mode, count_padding, divisor)
    _check_input(input)
    var rank = input[].rank()
    var code = input[].code()
    var shape = _out_shape(call, input[].shape, rank, w, ceil_mode)
    if code < FLOAT16 or code > FLOAT64:
        raise _unsupported(call, code)
    _ = checked_numel(shape, rank, 8)
    var result = new_tensor(code, shape, rank, input[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    if input[].device() != 0:
        var y = _planes(out)
        _launch(call, input, Pooling(AVERAGE, _planes(input), y, y, w, count_padding, divisor), result)
        return result
    if not _average(code, _planes(input), _planes(out), False, w, count_padding, divisor, input[].numel):
        decref(result)
        raise _no_memory(call)
    return result


def _average(
    code: Int, x: Planes, other: Planes, grad: Bool, w: Window, count_padding: Bool, divisor: Int, elements: Int
) -> Bool:
    var held = release_gil() if elements >= GIL_ELEMENTS else 0
    var ok = True
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            var pool = AvgPool[dtype_of[c]](x, other, grad, w, count_padding, divisor)
            ok = pool.go()
    if held != 0:
        take_gil(held)
    return ok


def avg_pool2d_backward(mut call: Call) raises -> Obj:
    """The derivative by the input: (grad_output, input_size, and the arguments of avg_pool2d after its input)."""
    var grad = call.tensor(0)
    var w = Window(0, 0, 0, 0, 0, 0, 0, 0)
    var ceil_mode = False
    var count_padding = False
    var divisor = 0
    _avg_arguments(call, 2, w, ceil_mode, count_padding, divisor)
    _check_input(grad)
    var rank = grad[].rank()
    var code = grad[].code()
    var shape = no_dims()
    _input_shape(call, 1, grad, shape)
    var expected = _out_shape(call, shape, rank, w, ceil_mode)
    for i in range(rank - 2, rank):
        if expected[i] != grad[].shape[i]:
            raise call.fail(
                "RuntimeError",
                String(
                    t"expected grad_output of size {shape_text(expected, rank)} for an input of size"
                    t" {shape_text(shape, rank)}, got {shape_text(grad[].shape, rank)}"
                ),
            )
    if code < FLOAT16 or code > FLOAT64:
        raise _unsupported(call, code)
    _ = checked_numel(shape, rank, 8)
    var result = new_tensor(code, shape, rank, grad[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    if grad[].device() != 0:
        var y = _planes(grad)
        _launch(call, grad, Pooling(AVERAGE_GRADIENT, _planes(out), y, y, w, count_padding, divisor), result)
        return result
    if not _average(code, _planes(out), _planes(grad), True, w, count_padding, divisor, out[].numel):
        decref(result)
        raise _no_memory(call)
    return result


@export("dumbtorch_register_pool")
def register_pool() abi("C") -> None:
    register[max_pool2d_with_indices]("max_pool2d_with_indices")
    register[max_pool2d_backward]("max_pool2d_backward")
    register[avg_pool2d]("avg_pool2d")
    register[avg_pool2d_backward]("avg_pool2d_backward")
