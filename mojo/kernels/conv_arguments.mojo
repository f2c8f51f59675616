"""The arguments of convolutions of one, two or three spatial dimensions: parsing and PyTorch's checks.

Everything is brought to five sizes (batch, channels, depth, height, width); dimensions that are missing have the size 1.
"""
from kernels.conv_stage import Axis, Image
from tensor.call import Call
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT64, type_name
from tensor.layout import Dims, no_dims, shape_text
from tensor.object import TPtr


@fieldwise_init
struct Window(ImplicitlyCopyable, Movable):
    """Kernel, stride, padding and dilation of the three axes, and the groups."""

    var kh: Int
    var kw: Int
    var sh: Int
    var sw: Int
    var ph: Int
    var pw: Int
    var dh: Int
    var dw: Int
    var groups: Int
    var kd: Int
    var sd: Int
    var pd: Int
    var dd: Int

    def slabs(self, size: Int, count: Int) -> Axis:
        return Axis.window(size, count, self.sd, self.pd, self.kd, self.dd)

    def rows(self, size: Int, count: Int) -> Axis:
        return Axis.window(size, count, self.sh, self.ph, self.kh, self.dh)

    def cols(self, size: Int, count: Int) -> Axis:
        return Axis.window(size, count, self.sw, self.pw, self.kw, self.dw)

    def out_slabs(self, size: Int) -> Int:
        return (size + 2 * self.pd - self.dd * (self.kd - 1) - 1) // self.sd + 1

    def out_rows(self, size: Int) -> Int:
        return (size + 2 * self.ph - self.dh * (self.kh - 1) - 1) // self.sh + 1

    def out_cols(self, size: Int) -> Int:
        return (size + 2 * self.pw - self.dw * (self.kw - 1) - 1) // self.sw + 1


def spatial_of(weight: Int) raises -> Int:
    """The number of spatial dimensions of weights of so many dimensions."""
    if weight < 3 or weight > 5:
        raise Error(
            t"RuntimeError|expected a weight of 3 to 5 dimensions (out channels, in channels / groups, then the"
            t" kernel), but got one of {weight}"
        )
    return weight - 2


def _per_axis(call: Call, i: Int, spatial: Int, missing: Int) raises -> Tuple[Int, Int, Int]:
    """An argument for each axis: one number or as many as there are spatial dimensions."""
    var d = no_dims()
    var n = call.dims(i, d)
    if n != 1 and n != spatial:
        var name = call.param(i)
        raise Error(
            t"RuntimeError|expected {name} to be a single integer value or a list of {spatial} values to match the"
            t" convolution dimensions, but got {name}={shape_text(d, n)}"
        )
    var v = (missing, missing, d[n - 1])
    if spatial > 1:
        v[1] = d[max(0, n - 2)]
    if spatial > 2:
        v[0] = d[max(0, n - 3)]
    return v


def _list(v: Tuple[Int, Int, Int], spatial: Int) -> String:
    var d = no_dims()
    d[0] = v[0]
    d[1] = v[1]
    d[2] = v[2]
    for i in range(spatial):
        d[i] = d[i + 3 - spatial]
    return shape_text(d, spatial)


def window_of(call: Call, weight: Dims, spatial: Int, first: Int) raises -> Window:
    """Stride, padding, dilation and groups from the slots that begin at `first`; weights of five sizes."""
    var stride = _per_axis(call, first, spatial, 1)
    var padding = _per_axis(call, first + 1, spatial, 0)
    var dilation = _per_axis(call, first + 2, spatial, 1)
    var groups = call.int(first + 3)
    if min(padding[0], min(padding[1], padding[2])) < 0:
        raise Error("RuntimeError|negative padding is not supported")
    if min(stride[0], min(stride[1], stride[2])) <= 0:
        raise Error("RuntimeError|non-positive stride is not supported")
    if min(dilation[0], min(dilation[1], dilation[2])) <= 0:
        raise Error(t"RuntimeError|dilation should be greater than zero, but got {_list(dilation, spatial)}")
    if groups <= 0:
        raise Error("RuntimeError|non-positive groups is not supported")
    if min(weight[2], min(weight[3], weight[4])) <= 0:
        var kernel = (weight[2], weight[3], weight[4])
        raise Error(t"RuntimeError|kernel size should be greater than zero, but got {_list(kernel, spatial)}")
    return Window(
        weight[3],
        weight[4],
        stride[1],
        stride[2],
        padding[1],
        padding[2],
        dilation[1],
        dilation[2],
        groups,
        weight[2],
        stride[0],
        padding[0],
        dilation[0],
    )


def image_of(t: TPtr, spatial: Int) -> Image:
    """The tensor ([N,] C, [[D,] H,] W) as a batch of volumes."""
    var r = t[].rank()
    ref shape = t[].shape
    ref strides = t[].strides
    var batch = r > spatial + 1
    var c = r - spatial - 1
    return Image(
        t[].data(),
        shape[0] if batch else 1,
        shape[c],
        shape[r - 2] if spatial > 1 else 1,
        shape[r - 1],
        strides[0] if batch else 0,
        strides[c],
        strides[r - 2] if spatial > 1 else 0,
        strides[r - 1],
        shape[r - 3] if spatial > 2 else 1,
        strides[r - 3] if spatial > 2 else 0,
    )


def five_sizes(shape: Dims, rank: Int, spatial: Int) -> Dims:
    """(batch, channels, depth, height, width) of sizes with or without a batch."""
    var s = no_dims()
    for i in range(5):
        s[i] = 1
    for i in range(spatial):
        s[4 - i] = shape[rank - 1 - i]
    s[1] = shape[rank - spatial - 1]
    if rank > spatial + 1:
        s[0] = shape[0]
    return s^


def own_sizes(five: Dims, rank: Int, spatial: Int) -> Dims:
    """The way back from `five_sizes`, to so many dimensions."""
    var s = no_dims()
    var batch = rank - spatial - 1
    s[0] = five[0]
    s[batch] = five[1]
    for i in range(spatial):
        s[batch + 1 + i] = five[5 - spatial + i]
    return s^


def five_text(five: Dims, spatial: Int) -> String:
    """Sizes with a batch, as a user knows them."""
    return shape_text(own_sizes(five, spatial + 2, spatial), spatial + 2)


def check_rank(t: TPtr, spatial: Int) raises:
    if t[].rank() != spatial + 1 and t[].rank() != spatial + 2:
        raise Error(
            t"RuntimeError|Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to conv{spatial}d, but"
            t" got input of size: {shape_text(t[].shape, t[].rank())}"
        )


def c_name(code: Int) -> String:
    if code == FLOAT32:
        return "float"
    if code == FLOAT64:
        return "double"
    if code == FLOAT16:
        return "c10::Half"
    return "c10::BFloat16" if code == BFLOAT16 else type_name(code)


def check_pair(a: TPtr, b: TPtr, spatial: Int) raises:
    """Both operands are on one device and of one dtype that there are kernels for."""
    if a[].device() != b[].device():
        raise Error("RuntimeError|Expected all tensors to be on the same device, but found at least two devices")
    if a[].code() != b[].code():
        raise Error(t"RuntimeError|expected scalar type {type_name(a[].code())} but found {type_name(b[].code())}")
    if (a[].code() < FLOAT16 or a[].code() > FLOAT64) and a[].code() != INT64:
        raise Error(t"NotImplementedError|\"conv{spatial}d\" not implemented for '{type_name(a[].code())}'")


def _times(v: Tuple[Int, Int, Int], spatial: Int) -> String:
    if spatial == 1:
        return String(t"{v[2]}")
    if spatial == 2:
        return String(t"{v[1]} x {v[2]}")
    return String(t"{v[0]} x {v[1]} x {v[2]}")


def check_shapes(input: Dims, weight: Dims, w: Window, spatial: Int) raises:
    """PyTorch's checks of the five sizes of an input and of weights."""
    var shape = five_text(weight, spatial)
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
            t"RuntimeError|Given groups={w.groups}, weight of size {shape}, expected"
            t" input{five_text(input, spatial)} to have {weight[1] * w.groups} channels, but got {input[1]} channels"
            t" instead"
        )
    var room = (input[2] + 2 * w.pd, input[3] + 2 * w.ph, input[4] + 2 * w.pw)
    var kernel = (w.dd * (w.kd - 1) + 1, w.dh * (w.kh - 1) + 1, w.dw * (w.kw - 1) + 1)
    if room[0] < kernel[0] or room[1] < kernel[1] or room[2] < kernel[2]:
        raise Error(
            t"RuntimeError|Calculated padded input size per channel: ({_times(room, spatial)}). Kernel size:"
            t" ({_times(kernel, spatial)}). Kernel size can't be greater than actual input size"
        )
    if input[2] == 0 or input[3] == 0 or input[4] == 0:
        raise Error(
            t"RuntimeError|Only zero batch or zero channel inputs are supported, but got input shape:"
            t" {five_text(input, spatial)}"
        )


def result_sizes(x: Dims, weight: Dims, w: Window) -> Dims:
    """The five sizes of what a convolution makes; as in PyTorch, of no input channels come none."""
    var s = no_dims()
    s[0] = x[0]
    s[1] = weight[0] if x[1] > 0 else 0
    s[2] = w.out_slabs(x[2])
    s[3] = w.out_rows(x[3])
    s[4] = w.out_cols(x[4])
    return s^


def bias_of(call: Call, i: Int, input: TPtr, weight: Dims, channels: Int, spatial: Int) raises -> Tuple[Int, Int]:
    """Address and step of the biases in slot i, zeros for None."""
    if call.is_none(i):
        return (0, 0)
    var b = call.tensor(i)
    if b[].rank() != 1 or b[].shape[0] != channels:
        raise Error(
            t"RuntimeError|Given weight of size {five_text(weight, spatial)}, expected bias to be 1-dimensional with"
            t" {channels} elements, but got bias of size {shape_text(b[].shape, b[].rank())} instead"
        )
    if b[].code() != input[].code():
        raise Error(
            t"RuntimeError|Input type ({c_name(input[].code())}) and bias type ({c_name(b[].code())}) should be the"
            t" same"
        )
    check_pair(input, b, spatial)
    return (b[].data(), b[].strides[0])


def sizes_argument(call: Call, i: Int, spatial: Int, exact: Bool, mut shape: Dims) raises -> Int:
    """Sizes as an argument, as five; how many they were: with the batch, or without unless `exact`."""
    var given = no_dims()
    var n = call.dims(i, given)
    if n != spatial + 2 and (n != spatial + 1 or exact):
        var found = shape_text(given, n)
        raise call.fail("RuntimeError", String(t"expected '{call.param(i)}' to have {spatial + 2} sizes, got {found}"))
    shape = five_sizes(given, n, spatial)
    return n


def check_gradient(call: Call, g: TPtr, x: Dims, weight: Dims, w: Window, spatial: Int) raises:
    var expected = result_sizes(x, weight, w)
    expected[1] = weight[0]
    var found = five_sizes(g[].shape, g[].rank(), spatial)
    for i in range(5):
        if found[i] != expected[i]:
            raise call.fail(
                "RuntimeError",
                String(
                    t"expected grad_output of size {five_text(expected, spatial)} for an input of size"
                    t" {five_text(x, spatial)} and weights of size {five_text(weight, spatial)}, but got"
                    t" {shape_text(g[].shape, g[].rank())}"
                ),
            )
