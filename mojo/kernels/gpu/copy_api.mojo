"""What copy.mojo offers to the other families without their compiling it again."""

from std.ffi import external_call
from std.memory import Pointer
from tensor.layout import Dims


def copy(
    index: Int, dst: Int, dst_code: Int, ds: Dims, src: Int, src_code: Int, ss: Dims, shape: Dims, ndim: Int
) -> Int:
    """Queues dst = src, cast: byte strides and shape, fastest first. A status as DeviceTable's functions give it."""
    var to = ds.copy()
    var from_ = ss.copy()
    var size = shape.copy()
    return external_call["dumbtorch_accelerator_copy", Int](
        index, dst, dst_code, Pointer(to=to).as_unsafe_any_origin(), src, src_code,
        Pointer(to=from_).as_unsafe_any_origin(), Pointer(to=size).as_unsafe_any_origin(), ndim,
    )  # fmt: skip
