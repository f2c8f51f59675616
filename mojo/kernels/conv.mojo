"""2-D convolution and its two derivatives: argument checks, and the choice of the kernel.

Wide products go to conv_taps, channels that do not mix to conv_depthwise, derivatives of weights to conv_weight. The
derivative with respect to the input is a convolution of the output's gradient: one for each residue of the stride, each
with the taps that meet that residue, so that no multiplication with an inserted zero is ever done.
"""
from std.memory import Pointer
from std.sys import size_of

from kernels.conv_depthwise import Depthwise
from kernels.conv_stage import Axis, Image
from kernels.conv_taps import Filter, TapConv
from kernels.conv_weight import WeightGrad
from kernels.device_api import device_entry
from kernels.gemm_micro import acc_dtype, ptr
from kernels.transfer_api import copy_into
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, itemsize, type_name
from tensor.layout import Dims, checked_numel, no_dims, shape_text
from tensor.memory import function_at, memset
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, release_gil, take_gil
from tensor.storage import check_status

comptime GIL_WORK = 1 << 18
"""Multiply-adds from which on other Python threads may run meanwhile."""

comptime DEPTHWISE_OUTPUTS = 4
"""Output channels for each single input channel up to which planes are convolved one by one."""


@fieldwise_init
struct Window(ImplicitlyCopyable, Movable):
    """The arguments that all three ops share."""

    var kh: Int
    var kw: Int
    var sh: Int
    var sw: Int
    var ph: Int
    var pw: Int
    var dh: Int
    var dw: Int
    var groups: Int

    def rows(self, size: Int, count: Int) -> Axis:
        return Axis.window(size, count, self.sh, self.ph, self.kh, self.dh)

    def cols(self, size: Int, count: Int) -> Axis:
        return Axis.window(size, count, self.sw, self.pw, self.kw, self.dw)

    def out_rows(self, size: Int) -> Int:
        return (size + 2 * self.ph - self.dh * (self.kh - 1) - 1) // self.sh + 1

    def out_cols(self, size: Int) -> Int:
        return (size + 2 * self.pw - self.dw * (self.kw - 1) - 1) // self.sw + 1


# The three ops, as an accelerator is told
comptime FORWARD = 0
comptime BY_INPUT = 1
comptime BY_WEIGHT = 2


@fieldwise_init
struct Convolution(Copyable):
    """What an accelerator is handed: the input (or its derivative), the output (or its gradient), the weight (or its
    derivative, contiguous); strides in elements."""

    var kind: Int
    var x: Image
    var y: Image
    var weight: Int
    var weight_ns: Int
    var weight_cs: Int
    var weight_hs: Int
    var weight_ws: Int
    var window: Window
    var bias: Int
    var bias_step: Int


def _launch(
    call: Call, kind: Int, x: Image, y: Image, weight: TPtr, window: Window, bias: Int = 0, bias_step: Int = 0
) raises:
    """Hands a convolution to the accelerator."""
    comptime LaunchFn = def(Int, Pointer[Convolution, MutAnyOrigin], Int) thin abi("C") -> Int
    ref s = weight[].strides
    var c = Convolution(kind, x, y, weight[].data(), s[0], s[1], s[2], s[3], window, bias, bias_step)
    var device = weight[].device()
    var f = function_at[LaunchFn](device_entry(device, "convolve"))
    check_status(f(device & 255, Pointer(to=c).as_unsafe_any_origin(), weight[].code()), device, call.name())


def _zero(t: TPtr) raises:
    """Zeros in a new contiguous tensor on any device."""
    if t[].device() == 0:
        memset(t[].data(), 0, t[].numel * itemsize(t[].code()))
        return
    var zero = new_tensor(t[].code(), no_dims(), 0)
    memset(as_tensor(zero)[].data(), 0, itemsize(t[].code()))
    try:
        copy_into(t, as_tensor(zero))
    finally:
        decref(zero)


def _pair(call: Call, i: Int) raises -> Tuple[Int, Int]:
    var d = no_dims()
    var n = call.dims(i, d)
    if n == 1:
        return (d[0], d[0])
    if n != 2:
        var name = call.param(i)
        raise Error(
            t"RuntimeError|expected {name} to be a single integer value or a list of 2 values to match the convolution"
            t" dimensions, but got {name}={shape_text(d, n)}"
        )
    return (d[0], d[1])


def _window(call: Call, weight: Dims, first: Int) raises -> Window:
    """Stride, padding, dilation and groups from the slots that begin at `first`."""
    var stride = _pair(call, first)
    var padding = _pair(call, first + 1)
    var dilation = _pair(call, first + 2)
    var groups = call.int(first + 3)
    if padding[0] < 0 or padding[1] < 0:
        raise Error("RuntimeError|negative padding is not supported")
    if stride[0] <= 0 or stride[1] <= 0:
        raise Error("RuntimeError|non-positive stride is not supported")
    if dilation[0] <= 0 or dilation[1] <= 0:
        raise Error(t"RuntimeError|dilation should be greater than zero, but got [{dilation[0]}, {dilation[1]}]")
    if groups <= 0:
        raise Error("RuntimeError|non-positive groups is not supported")
    if weight[2] <= 0 or weight[3] <= 0:
        raise Error(t"RuntimeError|kernel size should be greater than zero, but got [{weight[2]}, {weight[3]}]")
    return Window(weight[2], weight[3], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1], groups)


def _image(t: TPtr) -> Image:
    """The tensor (C, H, W) or (N, C, H, W) as a batch of images."""
    var d = t[].rank() - 3
    return Image(
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


def _check_rank(call: Call, t: TPtr) raises:
    if t[].rank() != 3 and t[].rank() != 4:
        raise Error(
            t"RuntimeError|Expected 3D (unbatched) or 4D (batched) input to {call.name()}, but got input of size:"
            t" {shape_text(t[].shape, t[].rank())}"
        )


def _c_name(code: Int) -> String:
    if code == FLOAT32:
        return "float"
    if code == FLOAT64:
        return "double"
    if code == FLOAT16:
        return "c10::Half"
    return "c10::BFloat16" if code == BFLOAT16 else type_name(code)


def _check_pair(call: Call, a: TPtr, b: TPtr) raises:
    """Both operands are on one device and of one floating dtype."""
    if a[].device() != b[].device():
        raise Error("RuntimeError|Expected all tensors to be on the same device, but found at least two devices")
    if a[].code() != b[].code():
        raise Error(t"RuntimeError|expected scalar type {type_name(a[].code())} but found {type_name(b[].code())}")
    if a[].code() < FLOAT16 or a[].code() > FLOAT64:
        raise Error(t"NotImplementedError|\"{call.name()}\" not implemented for '{type_name(a[].code())}'")


def _check_shapes(input: Dims, weight: Dims, w: Window) raises:
    """PyTorch's checks of the four sizes of an input and of weights."""
    var shape = shape_text(weight, 4)
    if weight[0] < w.groups or weight[0] == 0:
        raise Error(
            t"RuntimeError|Given groups={w.groups}, expected weight to be at least {w.groups} at dimension 0, but got"
            t" weight of size {shape} instead"
        )
    if weight[0] % w.groups != 0:
        raise Error(
            t"RuntimeError|Given groups={w.groups}, expected weight to be divisible by {w.groups} at dimension 0, but"
            t" got weight of size [{shape}] instead"
        )
    if input[1] != weight[1] * w.groups:
        raise Error(
            t"RuntimeError|Given groups={w.groups}, weight of size {shape}, expected input{shape_text(input, 4)} to"
            t" have {weight[1] * w.groups} channels, but got {input[1]} channels instead"
        )
    var h = input[2] + 2 * w.ph
    var width = input[3] + 2 * w.pw
    var kh = w.dh * (w.kh - 1) + 1
    var kw = w.dw * (w.kw - 1) + 1
    if h < kh or width < kw:
        raise Error(
            t"RuntimeError|Calculated padded input size per channel: ({h} x {width}). Kernel size: ({kh} x {kw})."
            t" Kernel size can't be greater than actual input size"
        )
    if input[2] == 0 or input[3] == 0:
        raise Error(
            t"RuntimeError|Only zero batch or zero channel inputs are supported, but got input shape:"
            t" {shape_text(input, 4)}"
        )


def _four(t: TPtr) -> Dims:
    """The sizes with a batch dimension in front if there is none."""
    var s = no_dims()
    var d = 4 - t[].rank()
    s[0] = 1
    for i in range(t[].rank()):
        s[i + d] = t[].shape[i]
    return s^


def _no_memory(call: Call) -> Error:
    return call.fail("OutOfMemoryError", "there is no memory for the working space")


def _weight_rank(weight: TPtr) raises:
    if weight[].rank() != 4:
        var spatial = weight[].rank() - 2
        raise Error(
            t"RuntimeError|expected a weight of 4 dimensions (out channels, in channels / groups, height, width) for 2"
            t" spatial dimensions, but got {spatial} of them: weight of size"
            t" {shape_text(weight[].shape, weight[].rank())}"
        )


def _forward[src: DType](x: Image, weight: TPtr, w: Window, bias: Int, bias_step: Int, out_image: Image) -> Bool:
    var taps = List[Int]()
    for i in range(w.kh):
        for j in range(w.kw):
            taps.append(i * weight[].strides[2] + j * weight[].strides[3])
    var cin = x.c // w.groups
    var cout = out_image.c // w.groups
    var rs = weight[].strides[0]
    var filter = Filter(weight[].data(), cout * rs, rs, weight[].strides[1], taps^)
    var rows = w.rows(x.h, out_image.h)
    var cols = w.cols(x.w, out_image.w)
    if cin == 1 and cout <= DEPTHWISE_OUTPUTS:
        var d = Depthwise[src](x, out_image, rows^, cols^, cout, filter^, bias, bias_step, 0)
        return d.go()
    var conv = TapConv[src](x, rows^, cols^, w.groups, cin, cout, filter^, out_image)
    return conv.go(bias, bias_step)


def conv2d(mut call: Call) raises -> Obj:
    """2-D convolution: (input, weight, bias, stride, padding, dilation, groups).

    input (N, C, H, W) or (C, H, W); weight (out, C / groups, kH, kW); bias (out,) or None; stride, padding and dilation
    an int or two. float16, bfloat16 (both summed in float32), float32 and float64.
    """
    var input = call.tensor(0)
    var weight = call.tensor(1)
    _check_rank(call, input)
    _weight_rank(weight)
    var w = _window(call, weight[].shape, 3)
    var x_shape = _four(input)
    _check_shapes(x_shape, weight[].shape, w)
    var bias = 0
    var bias_step = 0
    if not call.is_none(2):
        var b = call.tensor(2)
        if b[].rank() != 1 or b[].shape[0] != weight[].shape[0]:
            raise Error(
                t"RuntimeError|Given weight of size {shape_text(weight[].shape, 4)}, expected bias to be 1-dimensional"
                t" with {weight[].shape[0]} elements, but got bias of size {shape_text(b[].shape, b[].rank())} instead"
            )
        if b[].code() != input[].code():
            raise Error(
                t"RuntimeError|Input type ({_c_name(input[].code())}) and bias type ({_c_name(b[].code())}) should be"
                t" the same"
            )
        _check_pair(call, input, b)
        bias = b[].data()
        bias_step = b[].strides[0]
    _check_pair(call, input, weight)
    var x = _image(input)
    var shape = no_dims()
    shape[0] = x.n
    # As PyTorch: of no input channels come none.
    shape[1] = weight[].shape[0] if x.c > 0 else 0
    shape[2] = w.out_rows(x.h)
    shape[3] = w.out_cols(x.w)
    var out_rank = input[].rank()
    if out_rank == 3:
        for i in range(3):
            shape[i] = shape[i + 1]
    _ = checked_numel(shape, out_rank, itemsize(input[].code()))
    var result = new_tensor(input[].code(), shape, out_rank, input[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    var o = _image(out)
    if input[].device() != 0:
        try:
            _launch(call, FORWARD, x, o, weight, w, bias, bias_step)
        except e:
            decref(result)
            raise e^
        return result
    var held = release_gil() if out[].numel * weight[].shape[1] * w.kh * w.kw >= GIL_WORK else 0
    var ok = False
    var code = input[].code()
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            ok = _forward[_DTYPES[c - FLOAT16]](x, weight, w, bias, bias_step, o)
    if held != 0:
        take_gil(held)
    if not ok:
        decref(result)
        raise _no_memory(call)
    return result


comptime _DTYPES = [DType.float16, DType.bfloat16, DType.float32, DType.float64]


def _residue_axis(
    size: Int, out_size: Int, residue: Int, stride: Int, padding: Int, kernel: Int, dilation: Int, mut taps: List[Int]
) -> Axis:
    """The axis of the input's elements residue, residue + stride, ...: which taps meet them, and where."""
    var lowest = Int.MAX
    for k in range(kernel):
        var place = residue + padding - k * dilation
        if place % stride == 0:
            taps.append(k)
            lowest = min(lowest, place // stride)
    var positions = List[Int]()
    for i in range(len(taps)):
        positions.append((residue + padding - taps[i] * dilation) // stride - lowest)
    if len(taps) == 0:
        lowest = 0
    return Axis(out_size, (size - residue + stride - 1) // stride, 1, -lowest, positions^)


def _input_grad[src: DType](g: Image, weight: TPtr, w: Window, out_image: Image) -> Bool:
    var cin = g.c // w.groups
    var cout = out_image.c // w.groups
    for row in range(min(w.sh, out_image.h)):
        var kernel_rows = List[Int]()
        var rows = _residue_axis(out_image.h, g.h, row, w.sh, w.ph, w.kh, w.dh, kernel_rows)
        for col in range(min(w.sw, out_image.w)):
            var kernel_cols = List[Int]()
            var cols = _residue_axis(out_image.w, g.w, col, w.sw, w.pw, w.kw, w.dw, kernel_cols)
            var taps = List[Int]()
            for i in range(len(kernel_rows)):
                for j in range(len(kernel_cols)):
                    taps.append(kernel_rows[i] * weight[].strides[2] + kernel_cols[j] * weight[].strides[3])
            if len(taps) == 0:
                continue
            var part = out_image
            part.data += (row * out_image.hs + col * out_image.ws) * size_of[Scalar[src]]()
            part.h = rows.count
            part.w = cols.count
            part.hs *= w.sh
            part.ws *= w.sw
            var rs = weight[].strides[0]
            if cin == 1 and cout == 1:
                var filter = Filter(weight[].data(), rs, rs, 0, taps^)
                var d = Depthwise[src](g, part, rows.copy(), cols^, 1, filter^, 0, 0, 0)
                if not d.go():
                    return False
                continue
            var filter = Filter(weight[].data(), cin * rs, weight[].strides[1], rs, taps^)
            var conv = TapConv[src](g, rows.copy(), cols^, w.groups, cin, cout, filter^, part)
            if not conv.go(0, 0):
                return False
    return True


def _covered(stride: Int, kernel: Int, dilation: Int) -> Bool:
    """Whether every residue of the stride meets a tap."""
    var met = 0
    for r in range(stride):
        for k in range(kernel):
            if (r - k * dilation) % stride == 0:
                met += 1
                break
    return met == stride


def _sizes(call: Call, i: Int, exact: Bool, mut shape: Dims) raises -> Int:
    """A size argument: four numbers, or three (a batch of one goes in front) unless `exact`."""
    var n = call.dims(i, shape)
    if n != 4 and (n != 3 or exact):
        var found = shape_text(shape, n)
        raise call.fail("RuntimeError", String(t"expected '{call.param(i)}' to have 4 sizes, got {found}"))
    if n == 3:
        for j in range(3):
            shape[3 - j] = shape[2 - j]
        shape[0] = 1
    return n


def _check_gradient(call: Call, g: TPtr, x: Dims, weight: Dims, w: Window) raises:
    var expected = no_dims()
    expected[0] = x[0]
    expected[1] = weight[0]
    expected[2] = w.out_rows(x[2])
    expected[3] = w.out_cols(x[3])
    var found = _four(g)
    for i in range(4):
        if found[i] != expected[i]:
            raise call.fail(
                "RuntimeError",
                String(
                    t"expected grad_output of size {shape_text(expected, 4)} for an input of size {shape_text(x, 4)}"
                    t" and weights of size {shape_text(weight, 4)}, but got {shape_text(g[].shape, g[].rank())}"
                ),
            )


def conv2d_input_grad(mut call: Call) raises -> Obj:
    """Derivative by the input: (grad_output, weight, input_size, stride, padding, dilation, groups).

    input_size: four sizes, or three without the batch (grad_output then has three dimensions as well).
    """
    var grad = call.tensor(0)
    var weight = call.tensor(1)
    _check_rank(call, grad)
    _weight_rank(weight)
    var shape = no_dims()
    var rank = _sizes(call, 2, False, shape)
    var w = _window(call, weight[].shape, 3)
    _check_shapes(shape, weight[].shape, w)
    _check_gradient(call, grad, shape, weight[].shape, w)
    _check_pair(call, grad, weight)
    var code = grad[].code()
    _ = checked_numel(shape, 4, itemsize(code))
    if rank == 3:
        for i in range(3):
            shape[i] = shape[i + 1]
    var result = new_tensor(code, shape, rank, grad[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    var g = _image(grad)
    var o = _image(out)
    if grad[].device() != 0:
        try:
            _launch(call, BY_INPUT, o, g, weight, w)
        except e:
            decref(result)
            raise e^
        return result
    if not _covered(w.sh, w.kh, w.dh) or not _covered(w.sw, w.kw, w.dw):
        memset(out[].data(), 0, out[].numel * itemsize(code))
    var held = release_gil() if grad[].numel * weight[].shape[1] * w.kh * w.kw >= GIL_WORK else 0
    var ok = False
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            ok = _input_grad[_DTYPES[c - FLOAT16]](g, weight, w, o)
    if held != 0:
        take_gil(held)
    if not ok:
        decref(result)
        raise _no_memory(call)
    return result


def _weight_grad[src: DType](x: Image, g: Image, w: Window, out_data: Int) -> Bool:
    comptime dt = acc_dtype[src]()
    var cin = x.c // w.groups
    var cout = g.c // w.groups
    var rows = w.rows(x.h, g.h)
    var cols = w.cols(x.w, g.w)
    if cin == 1 and cout <= DEPTHWISE_OUTPUTS and w.groups > 1:
        var n = g.c * w.kh * w.kw
        var ws = Workspace.take(0 if src == dt else n * 4)
        if ws.address == 0 and src != dt:
            return False
        var sums = out_data if src == dt else ws.address
        var d = Depthwise[src](x, g, rows^, cols^, cout, Filter(0, 0, 0, 0, List[Int]()), 0, 0, sums)
        var ok = d.go()
        comptime if src != dt:
            for i in range(n):
                ptr[src](out_data)[unsafe_offset=i] = ptr[dt](sums)[unsafe_offset=i].cast[src]()
        ws.give()
        return ok
    var work = WeightGrad[src](x, g, rows^, cols^, w.groups, cin, cout, out_data)
    return work.go()


def conv2d_weight_grad(mut call: Call) raises -> Obj:
    """Derivative by the weight: (grad_output, input, weight_size, stride, padding, dilation, groups)."""
    var grad = call.tensor(0)
    var input = call.tensor(1)
    _check_rank(call, grad)
    _check_rank(call, input)
    var shape = no_dims()
    _ = _sizes(call, 2, True, shape)
    var w = _window(call, shape, 3)
    var x_shape = _four(input)
    _check_shapes(x_shape, shape, w)
    _check_gradient(call, grad, x_shape, shape, w)
    _check_pair(call, grad, input)
    var code = grad[].code()
    _ = checked_numel(shape, 4, itemsize(code))
    var result = new_tensor(code, shape, 4, grad[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    var x = _image(input)
    var g = _image(grad)
    if grad[].numel == 0 or grad[].device() != 0:
        try:
            if grad[].numel == 0:
                _zero(out)
            else:
                _launch(call, BY_WEIGHT, x, g, out, w)
        except e:
            decref(result)
            raise e^
        return result
    var held = release_gil() if grad[].numel * shape[1] * w.kh * w.kw >= GIL_WORK else 0
    var ok = False
    comptime for c in range(FLOAT16, FLOAT64 + 1):
        if code == c:
            ok = _weight_grad[_DTYPES[c - FLOAT16]](x, g, w, out[].data())
    if held != 0:
        take_gil(held)
    if not ok:
        decref(result)
        raise _no_memory(call)
    return result


@export("dumbtorch_register_conv")
def register_conv() abi("C") -> None:
    register[conv2d]("conv2d")
    register[conv2d_input_grad]("conv2d_input_grad")
    register[conv2d_weight_grad]("conv2d_weight_grad")
