"""Copies between any strides, casts between the real dtypes and flips of signs, on an accelerator."""

from std.memory import Pointer
from std.sys.info import _accelerator_arch, size_of
from max.gpu import block_dim, global_idx, grid_dim
from kernels.gpu.device import device, fail

from kernels.gpu.pointwise import register_entry

from kernels.gpu.launch import (
    AS_BOOL, AS_FLOAT32, AS_FLOAT64, AS_INT64, CLASSES, bits_code, class_of_code, class_type, grid, pieces, set_operand,
    set_shape,
)  # fmt: skip
from kernels.gpu.work import LANES, THREADS, Work, get, set
from kernels.transfer import Transfer, same_bits
from tensor.dtype import BOOL, UINT64, itemsize
from tensor.memory import address_of, at, load, store
from tensor.runtime import MAX_RANK
from tensor.storage import DeviceTable
from tensor.layout import Dims


comptime DOUBLES = not ("apple" in _accelerator_arch() or "metal" in _accelerator_arch())  # Apple's devices have none


def cast_kernel[S: DType, T: DType](w: Work):
    """Operand 1, computed in S, to operand 0, computed in T."""
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        var x = get[S, 1](w, i)
        comptime if T == DType.bool and S != DType.bool:
            set[DType.bool](w, i, ~x.eq(0))
        else:
            set[T](w, i, x.cast[T]())
        i += step


def copy(
    index: Int, dst: Int, dst_code: Int, ds: Dims, src: Int, src_code: Int, ss: Dims, shape: Dims, ndim: Int
) raises -> Int:
    """Queues dst = src: shape and byte strides fastest first. 1: there is no kernel for these dtypes."""
    if dst_code == src_code and itemsize(dst_code) == 16 and ndim < MAX_RANK:
        return _halves(index, dst, ds, src, ss, shape, ndim)
    var to = dst_code
    var from_ = src_code
    if same_bits(to, from_):
        to = bits_code(itemsize(to))
        from_ = to
    var target = class_of_code(to) if to >= 0 else -1
    var source = class_of_code(from_) if from_ >= 0 else -1
    # uint64 is computed as int64: a float made of it, or it of a float, would be wrong beyond 2^63
    if not DOUBLES and (target == AS_FLOAT64 or source == AS_FLOAT64):
        return 1
    if target < 0 or source < 0 or (to != from_ and (from_ == UINT64 or to == UINT64) and source != target):
        return 1
    var d = device(index)
    var context = d[].context()
    for piece in pieces(shape, ndim, [ds.copy(), ss.copy()]):
        var w = Work()
        set_shape(w, piece.shape, ndim, piece.numel)
        set_operand(w, 0, dst + piece.moved[0], to, ds)
        set_operand(w, 1, src + piece.moved[1], from_, ss)
        comptime for s in range(CLASSES):
            comptime for t in range(CLASSES):
                comptime if DOUBLES or (s != AS_FLOAT64 and t != AS_FLOAT64):
                    if source == s and target == t:
                        context.enqueue_function[cast_kernel[class_type[s], class_type[t]]](
                            w, grid_dim=grid(piece.numel, d[].processors), block_dim=THREADS
                        )
    return 0


def _halves(index: Int, dst: Int, ds: Dims, src: Int, ss: Dims, shape: Dims, ndim: Int) raises -> Int:
    """Copies elements of 16 bytes as two of 8 each: one more dimension, the fastest."""
    var to = ds.copy()
    var from_ = ss.copy()
    var sizes = shape.copy()
    for i in range(ndim):
        var d = ndim - i
        to[d] = ds[d - 1]
        from_[d] = ss[d - 1]
        sizes[d] = shape[d - 1]
    to[0] = 8
    from_[0] = 8
    sizes[0] = 2
    return copy(index, dst, UINT64, to, src, UINT64, from_, sizes, ndim + 1)


def flip_kernel[T: DType](dst: Int64, src: Int64, parts: Int64, which: Int64):
    """Flips the sign bits of the even parts (`which` & 1) and the odd ones (2)."""
    comptime SIZE = size_of[Scalar[T]]()
    comptime SIGN = Scalar[T](1) << Scalar[T](8 * SIZE - 1)
    var i = Int(global_idx.x)
    while i < Int(parts):
        var x = load[Scalar[T]](Int(src) + i * SIZE)
        if (Int(which) >> (i & 1)) & 1 != 0:
            x ^= SIGN
        store[Scalar[T]](Int(dst) + i * SIZE, x)
        i += Int(grid_dim.x * block_dim.x)


def flip(index: Int, dst: Int, src: Int, parts: Int, size: Int, which: Int) abi("C") -> Int:
    """The entry "flip_signs": contiguous floats of `size` bytes."""
    try:
        var d = device(index)
        comptime for T in [DType.uint16, DType.uint32, DType.uint64]:
            if size == size_of[Scalar[T]]():
                d[].context().enqueue_function[flip_kernel[T]](
                    Int64(dst),
                    Int64(src),
                    Int64(parts),
                    Int64(which),
                    grid_dim=grid(parts, d[].processors),
                    block_dim=THREADS,
                )
                return 0
        return 1
    except e:
        return fail(e, "flip_signs")


@export("dumbtorch_accelerator_copy")
def copy_words(
    index: Int, dst: Int, dst_code: Int, ds: Pointer[Dims, MutAnyOrigin], src: Int, src_code: Int,
    ss: Pointer[Dims, MutAnyOrigin], shape: Pointer[Dims, MutAnyOrigin], ndim: Int,
) abi("C") -> Int:  # fmt: skip
    """`copy` for the other objects of the extension."""
    try:
        return copy(index, dst, dst_code, ds[], src, src_code, ss[], shape[], ndim)
    except e:
        return fail(e, "copy")


def transfer(index: Int, work: Pointer[Transfer, MutAnyOrigin], dst_code: Int, src_code: Int) abi("C") -> Int:
    """See DeviceTable.transfer."""
    try:
        ref t = work[]
        return copy(index, t.dst, dst_code, t.ds, t.src, src_code, t.ss, t.shape, t.ndim)
    except e:
        return fail(e, "copy")


@export("dumbtorch_accelerator_register_copy")
def register_copy(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var transfer_: def(Int, Pointer[Transfer, MutAnyOrigin], Int, Int) thin abi("C") -> Int = transfer
    at[DeviceTable](table)[].transfer = address_of(transfer_)
    var flip_: def(Int, Int, Int, Int, Int, Int) thin abi("C") -> Int = flip
    register_entry("flip_signs", address_of(flip_))
