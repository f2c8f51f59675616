"""What a kernel of an accelerator is given, and how it reads and writes elements of any dtype and stride.

A kernel is compiled for the few types that it computes in (float32, float64, int64, bool). Elements are widened to that
type when they are loaded and narrowed when they are stored: one kernel serves float16, bfloat16 and float32, and one
serves all integers. A thread works on `LANES` neighbouring elements; contiguous, aligned operands move as vectors.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import iota
from std.memory import Pointer, bitcast
from std.sys.info import size_of

from tensor.dtype import (
    BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT16, INT32, INT64, INT8, UINT16, UINT32, UINT64, UINT8,
)  # fmt: skip
from tensor.memory import at, load, store
from tensor.runtime import MAX_RANK
from kernels.functor import MAX_NUMBERS

comptime LANES = 8
comptime aligned[size: Int]: Int = min(16, LANES * size)  # bytes that vectors of elements of a size are aligned to
comptime THREADS = 256
comptime MAX_OPERANDS = 4

# How an operand is reached.
comptime FLAT = 0  # element i of all lies at i, aligned for vectors
comptime STRIDED = 1
comptime NUMBER = 2  # no memory: the same value everywhere, its bits in `data`


struct Work(Copyable, DevicePassable):
    """One launch over fewer than 2^31 elements of up to four operands, the output first; passed to the kernel by value.
    """

    var n: Int32
    var ndim: Int32
    var shape: Array[UInt32, MAX_RANK]  # fastest first
    var data: Array[Int64, MAX_OPERANDS]
    var code: Array[Int32, MAX_OPERANDS]
    var mode: Array[Int32, MAX_OPERANDS]
    var strides: Array[Int64, MAX_OPERANDS * MAX_RANK]  # bytes
    var params: Array[Float64, MAX_NUMBERS]

    comptime device_type: AnyType = Self

    def __init__(out self):
        self.n = 0
        self.ndim = 0
        self.shape = Array[UInt32, MAX_RANK](fill=1)
        self.data = Array[Int64, MAX_OPERANDS](fill=0)
        self.code = Array[Int32, MAX_OPERANDS](fill=0)
        self.mode = Array[Int32, MAX_OPERANDS](fill=0)
        self.strides = Array[Int64, MAX_OPERANDS * MAX_RANK](fill=0)
        self.params = Array[Float64, MAX_NUMBERS](fill=0)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Work"


@always_inline
def _places[k: Int](w: Work, i: Int32) -> SIMD[DType.int64, LANES]:
    """Byte offsets of the elements i .. i + LANES of a strided operand (the last element's past the end)."""
    var result = SIMD[DType.int64, LANES](0)
    var index = iota[DType.int32, LANES]() + i
    index = index.lt(SIMD[DType.int32, LANES](w.n)).select(index, SIMD[DType.int32, LANES](w.n - 1))
    var rest = index.cast[DType.uint32]()
    for d in range(Int(w.ndim)):
        var size = SIMD[DType.uint32, LANES](w.shape[d])
        var quotient = rest // size
        var place = (rest - quotient * size).cast[DType.int64]()
        result += place * SIMD[DType.int64, LANES](w.strides[k * MAX_RANK + d])
        rest = quotient
    return result


@always_inline
def _fetch[T: DType, k: Int](w: Work, i: Int32) -> SIMD[T, LANES]:
    comptime size = size_of[Scalar[T]]()
    var base = Int(w.data[k])
    if w.mode[k] == FLAT and i + LANES <= w.n:
        return at[Scalar[T]](base).unsafe_load[width=LANES, alignment=aligned[size]](Int(i))
    var value = SIMD[T, LANES](0)
    if w.mode[k] == FLAT:
        comptime for lane in range(LANES):
            value[lane] = load[Scalar[T]](base + Int(min(i + Int32(lane), w.n - 1)) * size)
        return value
    var p = _places[k](w, i)
    comptime for lane in range(LANES):
        value[lane] = load[Scalar[T]](base + Int(p[lane]))
    return value


@always_inline
def _put[T: DType, k: Int](w: Work, i: Int32, value: SIMD[T, LANES]):
    comptime size = size_of[Scalar[T]]()
    var base = Int(w.data[k])
    if w.mode[k] == FLAT and i + LANES <= w.n:
        at[Scalar[T]](base).unsafe_store[alignment=aligned[size]](Int(i), value)
        return
    if w.mode[k] == FLAT:
        comptime for lane in range(LANES):
            if i + Int32(lane) < w.n:
                store[Scalar[T]](base + Int(i + Int32(lane)) * size, value[lane])
        return
    var p = _places[k](w, i)
    comptime for lane in range(LANES):
        if i + Int32(lane) < w.n:
            store[Scalar[T]](base + Int(p[lane]), value[lane])


@always_inline
def get[C: DType, k: Int](w: Work, i: Int32) -> SIMD[C, LANES]:
    """Elements i .. i + LANES of operand k in the type C that the kernel computes in."""
    var code = Int(w.code[k])
    comptime if C == DType.bool:
        if w.mode[k] == NUMBER:
            return SIMD[DType.bool, LANES](fill=w.data[k] != 0)._refine[C, LANES]()
        return (~_fetch[DType.uint8, k](w, i).eq(0))._refine[C, LANES]()
    elif C == DType.float32:
        if w.mode[k] == NUMBER:
            return SIMD[C, LANES](bitcast[DType.float32](w.data[k].cast[DType.uint32]()).cast[C]())
        if code == FLOAT16:
            return _fetch[DType.float16, k](w, i).cast[C]()
        if code == BFLOAT16:
            return _fetch[DType.bfloat16, k](w, i).cast[C]()
        return _fetch[C, k](w, i)
    elif C == DType.float64:
        if w.mode[k] == NUMBER:
            return SIMD[C, LANES](bitcast[DType.float64](w.data[k]).cast[C]())
        return _fetch[C, k](w, i)
    else:
        if w.mode[k] == NUMBER:
            return SIMD[C, LANES](w.data[k].cast[C]())
        if code == INT64 or code == UINT64:
            return _fetch[C, k](w, i)
        if code == INT32:
            return _fetch[DType.int32, k](w, i).cast[C]()
        if code == UINT8 or code == BOOL:
            return _fetch[DType.uint8, k](w, i).cast[C]()
        if code == INT8:
            return _fetch[DType.int8, k](w, i).cast[C]()
        if code == INT16:
            return _fetch[DType.int16, k](w, i).cast[C]()
        if code == UINT16:
            return _fetch[DType.uint16, k](w, i).cast[C]()
        return _fetch[DType.uint32, k](w, i).cast[C]()


@always_inline
def set[C: DType](w: Work, i: Int32, value: SIMD[C, LANES]):
    """Writes elements i .. i + LANES of the output, which is operand 0."""
    var code = Int(w.code[0])
    comptime if C == DType.bool:
        _put[DType.uint8, 0](w, i, value.cast[DType.uint8]())
    elif C == DType.float32:
        if code == FLOAT16:
            _put[DType.float16, 0](w, i, value.cast[DType.float16]())
        elif code == BFLOAT16:
            _put[DType.bfloat16, 0](w, i, value.cast[DType.bfloat16]())
        else:
            _put[C, 0](w, i, value)
    elif C == DType.float64:
        _put[C, 0](w, i, value)
    else:
        if code == INT64 or code == UINT64:
            _put[C, 0](w, i, value)
        elif code == INT32 or code == UINT32:
            _put[DType.int32, 0](w, i, value.cast[DType.int32]())
        elif code == INT16 or code == UINT16:
            _put[DType.int16, 0](w, i, value.cast[DType.int16]())
        else:
            _put[DType.int8, 0](w, i, value.cast[DType.int8]())
