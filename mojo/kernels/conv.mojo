"""Convolution and its two derivatives in one to three dimensions: the choice of the kernel.

Wide products go to conv_taps, channels that do not mix to conv_depthwise, derivatives of weights to conv_weight. The
derivative with respect to the input is a convolution of the output's gradient: one for each residue of the stride, each
with the taps that meet that residue, so that no multiplication with an inserted zero is ever done. With a bias it is a
transposed convolution. A signal is an image of height 1, an image a volume of depth 1.
"""
from std.memory import Pointer
from std.sys import size_of

from kernels.conv_arguments import (
    Window,
    bias_of,
    check_gradient,
    check_pair,
    check_rank,
    check_shapes,
    five_sizes,
    image_of,
    own_sizes,
    result_sizes,
    sizes_argument,
    spatial_of,
    window_of,
)
from kernels.conv_depthwise import Depthwise
from kernels.conv_stage import Axis, Image
from kernels.conv_taps import Filter, TapConv
from kernels.conv_weight import WeightGrad
from kernels.device_api import device_entry
from kernels.gemm_micro import acc_dtype, at, ptr
from kernels.transfer_api import contiguous_of, copy_into
from kernels.workspace import Workspace
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, INT64, itemsize
from tensor.layout import Dims, checked_numel, no_dims
from tensor.memory import function_at, memset
from tensor.object import TPtr, as_tensor, new_strided, new_tensor
from tensor.py import Obj, decref, new_ref, release_gil, take_gil
from tensor.storage import check_status

comptime GIL_WORK = 1 << 18
"""Multiply-adds from which on other Python threads may run meanwhile."""

comptime DEPTHWISE_OUTPUTS = 4
"""Output channels for each single input channel up to which planes are convolved one by one."""

# The three ops, as an accelerator is told
comptime FORWARD = 0
comptime BY_INPUT = 1
comptime BY_WEIGHT = 2

comptime _DTYPES = [DType.float16, DType.bfloat16, DType.float32, DType.float64]


@fieldwise_init
struct Convolution(Copyable):
    """What an accelerator is handed: the input (or its derivative), the output (or its gradient), the weight (or its
    derivative, contiguous); strides in elements. Volumes have a depth of 1."""

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
    var spatial = weight[].rank() - 2
    if spatial == 3 or (kind == BY_INPUT and bias != 0):
        raise call.fail("RuntimeError", "is computed on the CPU; move the tensor with .cpu()")
    var w = image_of(weight, spatial)
    var c = Convolution(kind, x, y, w.data, w.ns, w.cs, w.hs, w.ws, window, bias, bias_step)
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


def _no_memory(call: Call) -> Error:
    return call.fail("OutOfMemoryError", "there is no memory for the working space")


def _channels_last(t: TPtr, spatial: Int) -> Bool:
    """Whether PyTorch would say that the channels of this batch of images or volumes run fastest."""
    if spatial < 2 or t[].rank() != spatial + 2:
        return False
    ref shape = t[].shape
    ref strides = t[].strides
    var least = 0
    for j in range(spatial + 2):
        var d = 1 if j == 0 else (0 if j == spatial + 1 else spatial + 2 - j)
        if shape[d] == 0 or strides[d] < least or strides[d] == 0:
            return False
        if d == 0 and least == strides[1]:
            return False  # ambiguous
        least = strides[d] * max(shape[d], 1) if shape[d] > 1 else strides[d]
    return True


def _with_channels_last(made: Obj) raises -> Obj:
    """The tensor, whose reference is taken, with its channels running fastest."""
    var t = as_tensor(made)
    var rank = t[].rank()
    var strides = no_dims()
    strides[1] = 1
    var step = max(1, t[].shape[1])
    for j in range(rank - 2):
        strides[rank - 1 - j] = step
        step *= max(1, t[].shape[rank - 1 - j])
    strides[0] = step
    try:
        var result = new_strided(t[].code(), t[].shape, strides, rank, t[].device())
        try:
            copy_into(as_tensor(result), t)
        except e:
            decref(result)
            raise e^
        return result
    finally:
        decref(made)


def _prepared(t: TPtr, spatial: Int) raises -> Obj:
    """A new reference to the tensor, or to a contiguous copy where its pixels are far apart."""
    if t[].device() == 0 and t[].rank() == spatial + 2 and t[].strides[spatial + 1] != 1:
        return contiguous_of(t, t[].code())
    return new_ref(Int(t))


def _taps(w: Image, window: Window) -> List[Int]:
    """Where the taps of a channel lie."""
    var taps = List[Int](capacity=window.kd * window.kh * window.kw)
    for z in range(window.kd):
        for i in range(window.kh):
            for j in range(window.kw):
                taps.append(z * w.ds + i * w.hs + j * w.ws)
    return taps^


def _forward[src: DType](x: Image, weight: Image, w: Window, bias: Int, bias_step: Int, out_image: Image) -> Bool:
    var cin = x.c // w.groups
    var cout = out_image.c // w.groups
    var filter = Filter(weight.data, cout * weight.ns, weight.ns, weight.cs, _taps(weight, w))
    var slabs = w.slabs(x.d, out_image.d)
    var rows = w.rows(x.h, out_image.h)
    var cols = w.cols(x.w, out_image.w)
    if cin == 1 and cout <= DEPTHWISE_OUTPUTS:
        var d = Depthwise[src](x, out_image, slabs^, rows^, cols^, cout, filter^, bias, bias_step, 0)
        return d.go()
    var conv = TapConv[src](x, slabs^, rows^, cols^, w.groups, cin, cout, filter^, out_image)
    return conv.go(bias, bias_step)


def convolution(mut call: Call) raises -> Obj:
    """Parameters (input, weight, bias, stride, padding, dilation, groups).

    input ([N,] C, [[D,] H,] W); weight (out, C / groups, [[kD,] kH,] kW); bias (out,) or None; stride, padding and
    dilation a number or one for each dimension. float16, bfloat16 (both summed in float32), float32, float64 and int64.
    """
    var input = call.tensor(0)
    var weight = call.tensor(1)
    var spatial = spatial_of(weight[].rank())
    check_rank(input, spatial)
    var w_shape = five_sizes(weight[].shape, weight[].rank(), spatial)
    var w = window_of(call, w_shape, spatial, 3)
    var x_shape = five_sizes(input[].shape, input[].rank(), spatial)
    check_shapes(x_shape, w_shape, w, spatial)
    var bias = bias_of(call, 2, input, w_shape, w_shape[0], spatial)
    check_pair(input, weight, spatial)
    var rank = input[].rank()
    var code = input[].code()
    var shape = own_sizes(result_sizes(x_shape, w_shape, w), rank, spatial)
    _ = checked_numel(shape, rank, itemsize(code))
    var result = new_tensor(code, shape, rank, input[].device())
    var out = as_tensor(result)
    var last = _channels_last(input, spatial) or _channels_last(weight, spatial)
    if out[].numel > 0:
        try:
            var o = image_of(out, spatial)
            if input[].device() != 0:
                _launch(call, FORWARD, image_of(input, spatial), o, weight, w, bias[0], bias[1])
            else:
                var source = _prepared(input, spatial)
                var x = image_of(as_tensor(source), spatial)
                var kernel = image_of(weight, spatial)
                var held = release_gil() if out[].numel * w_shape[1] * w.kd * w.kh * w.kw >= GIL_WORK else 0
                var ok = False
                comptime for c in range(FLOAT16, FLOAT64 + 1):
                    if code == c:
                        ok = _forward[_DTYPES[c - FLOAT16]](x, kernel, w, bias[0], bias[1], o)
                if code == INT64:
                    ok = _forward[DType.int64](x, kernel, w, bias[0], bias[1], o)
                if held != 0:
                    take_gil(held)
                decref(source)
                if not ok:
                    raise _no_memory(call)
        except e:
            decref(result)
            raise e^
    return _with_channels_last(result) if last else result


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


def _input_grad[src: DType](g: Image, weight: Image, w: Window, bias: Int, bias_step: Int, out_image: Image) -> Bool:
    """Residue by residue; where no tap meets one there is the bias, or nothing."""
    var cin = g.c // w.groups
    var cout = out_image.c // w.groups
    for slab in range(min(w.sd, out_image.d)):
        var kernel_slabs = List[Int]()
        var slabs = _residue_axis(out_image.d, g.d, slab, w.sd, w.pd, w.kd, w.dd, kernel_slabs)
        for row in range(min(w.sh, out_image.h)):
            var kernel_rows = List[Int]()
            var rows = _residue_axis(out_image.h, g.h, row, w.sh, w.ph, w.kh, w.dh, kernel_rows)
            for col in range(min(w.sw, out_image.w)):
                var kernel_cols = List[Int]()
                var cols = _residue_axis(out_image.w, g.w, col, w.sw, w.pw, w.kw, w.dw, kernel_cols)
                var taps = List[Int]()
                for z in range(len(kernel_slabs)):
                    for i in range(len(kernel_rows)):
                        for j in range(len(kernel_cols)):
                            taps.append(
                                kernel_slabs[z] * weight.ds + kernel_rows[i] * weight.hs + kernel_cols[j] * weight.ws
                            )
                if len(taps) == 0:
                    continue
                var part = out_image
                var first = slab * out_image.ds + row * out_image.hs + col * out_image.ws
                part.data = at[src](part.data, first)
                part.d = slabs.count
                part.h = rows.count
                part.w = cols.count
                part.ds *= w.sd
                part.hs *= w.sh
                part.ws *= w.sw
                if cin == 1 and cout == 1:
                    var filter = Filter(weight.data, weight.ns, weight.ns, 0, taps^)
                    var d = Depthwise[src](g, part, slabs.copy(), rows.copy(), cols^, cout, filter^, bias, bias_step, 0)
                    if not d.go():
                        return False
                    continue
                var filter = Filter(weight.data, cin * weight.ns, weight.cs, weight.ns, taps^)
                var conv = TapConv[src](g, slabs.copy(), rows.copy(), cols^, w.groups, cin, cout, filter^, part)
                if not conv.go(bias, bias_step):
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


def _fill_bias(out_image: Image, size: Int, bias: Int, bias_step: Int):
    """Every plane of a contiguous result filled with its bias."""
    var plane = out_image.d * out_image.h * out_image.w
    for p in range(out_image.n * out_image.c):
        var b = bias + p % out_image.c * bias_step * size
        for i in range(plane):
            var to = out_image.data + (p * plane + i) * size
            if size == 2:
                ptr[DType.uint16](to)[] = ptr[DType.uint16](b)[]
            elif size == 4:
                ptr[DType.uint32](to)[] = ptr[DType.uint32](b)[]
            else:
                ptr[DType.uint64](to)[] = ptr[DType.uint64](b)[]


def convolution_input(mut call: Call) raises -> Obj:
    """Derivative by the input: (grad_output, weight, input_size, stride, padding, dilation, groups, bias).

    input_size: with the batch, or without it (then grad_output has none either). A bias, one for each input channel, is
    added: that makes it a transposed convolution.
    """
    var grad = call.tensor(0)
    var weight = call.tensor(1)
    var spatial = spatial_of(weight[].rank())
    check_rank(grad, spatial)
    var w_shape = five_sizes(weight[].shape, weight[].rank(), spatial)
    var x_shape = no_dims()
    var rank = sizes_argument(call, 2, spatial, False, x_shape)
    var w = window_of(call, w_shape, spatial, 3)
    check_shapes(x_shape, w_shape, w, spatial)
    check_gradient(call, grad, x_shape, w_shape, w, spatial)
    var bias = bias_of(call, 7, grad, w_shape, w_shape[1] * w.groups, spatial)
    check_pair(grad, weight, spatial)
    var code = grad[].code()
    var shape = own_sizes(x_shape, rank, spatial)
    _ = checked_numel(shape, rank, itemsize(code))
    var result = new_tensor(code, shape, rank, grad[].device())
    var out = as_tensor(result)
    var last = _channels_last(grad, spatial) or _channels_last(weight, spatial)
    if out[].numel > 0:
        try:
            var o = image_of(out, spatial)
            if grad[].device() != 0:
                _launch(call, BY_INPUT, o, image_of(grad, spatial), weight, w, bias[0], bias[1])
            else:
                var covered = _covered(w.sd, w.kd, w.dd) and _covered(w.sh, w.kh, w.dh) and _covered(w.sw, w.kw, w.dw)
                if not covered and bias[0] != 0:
                    _fill_bias(o, itemsize(code), bias[0], bias[1])
                elif not covered:
                    memset(out[].data(), 0, out[].numel * itemsize(code))
                var source = _prepared(grad, spatial)
                var g = image_of(as_tensor(source), spatial)
                var kernel = image_of(weight, spatial)
                var held = release_gil() if grad[].numel * w_shape[1] * w.kd * w.kh * w.kw >= GIL_WORK else 0
                var ok = False
                comptime for c in range(FLOAT16, FLOAT64 + 1):
                    if code == c:
                        ok = _input_grad[_DTYPES[c - FLOAT16]](g, kernel, w, bias[0], bias[1], o)
                if code == INT64:
                    ok = _input_grad[DType.int64](g, kernel, w, bias[0], bias[1], o)
                if held != 0:
                    take_gil(held)
                decref(source)
                if not ok:
                    raise _no_memory(call)
        except e:
            decref(result)
            raise e^
    return _with_channels_last(result) if last else result


def _weight_grad[src: DType](x: Image, g: Image, w: Window, out_data: Int) -> Bool:
    comptime dt = acc_dtype[src]()
    var cin = x.c // w.groups
    var cout = g.c // w.groups
    var slabs = w.slabs(x.d, g.d)
    var rows = w.rows(x.h, g.h)
    var cols = w.cols(x.w, g.w)
    if cin == 1 and cout <= DEPTHWISE_OUTPUTS and w.groups > 1:
        var n = g.c * w.kd * w.kh * w.kw
        var ws = Workspace.take(0 if src == dt else n * 4)
        if ws.address == 0 and src != dt:
            return False
        var sums = out_data if src == dt else ws.address
        var none = Filter(0, 0, 0, 0, List[Int]())
        var d = Depthwise[src](x, g, slabs^, rows^, cols^, cout, none^, 0, 0, sums)
        var ok = d.go()
        comptime if src != dt:
            for i in range(n):
                ptr[src](out_data)[unsafe_offset=i] = ptr[dt](sums)[unsafe_offset=i].cast[src]()
        ws.give()
        return ok
    var work = WeightGrad[src](x, g, slabs^, rows^, cols^, w.groups, cin, cout, out_data)
    return work.go()


def convolution_weight(mut call: Call) raises -> Obj:
    """Derivative by the weight: (grad_output, input, weight_size, stride, padding, dilation, groups)."""
    var grad = call.tensor(0)
    var input = call.tensor(1)
    var given = no_dims()
    var rank = call.dims(2, given)
    var spatial = spatial_of(rank)
    check_rank(grad, spatial)
    check_rank(input, spatial)
    var w_shape = no_dims()
    _ = sizes_argument(call, 2, spatial, True, w_shape)
    var w = window_of(call, w_shape, spatial, 3)
    var x_shape = five_sizes(input[].shape, input[].rank(), spatial)
    check_shapes(x_shape, w_shape, w, spatial)
    check_gradient(call, grad, x_shape, w_shape, w, spatial)
    check_pair(grad, input, spatial)
    if grad[].code() == INT64:
        raise call.fail("NotImplementedError", "integers have no derivative")
    var code = grad[].code()
    _ = checked_numel(given, rank, itemsize(code))
    var result = new_tensor(code, given, rank, grad[].device())
    var out = as_tensor(result)
    if out[].numel == 0:
        return result
    try:
        if grad[].numel == 0:
            _zero(out)
        elif grad[].device() != 0:
            _launch(call, BY_WEIGHT, image_of(input, spatial), image_of(grad, spatial), out, w)
        else:
            var source = _prepared(input, spatial)
            var x = image_of(as_tensor(source), spatial)
            var g = image_of(grad, spatial)
            var held = release_gil() if grad[].numel * w_shape[1] * w.kd * w.kh * w.kw >= GIL_WORK else 0
            var ok = False
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                if code == c:
                    ok = _weight_grad[_DTYPES[c - FLOAT16]](x, g, w, out[].data())
            if held != 0:
                take_gil(held)
            decref(source)
            if not ok:
                raise _no_memory(call)
    except e:
        decref(result)
        raise e^
    return result


@export("dumbtorch_register_conv")
def register_conv() abi("C") -> None:
    register[convolution]("convolution")
    register[convolution_input]("convolution_input")
    register[convolution_weight]("convolution_weight")
