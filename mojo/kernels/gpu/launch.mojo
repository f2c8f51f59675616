"""From the descriptions that the CPU families hand over to launches: sizes, modes, temporaries."""

from std.math import ceildiv
from max.gpu.host import DeviceContext
from kernels.gpu.work import FLAT, LANES, MAX_OPERANDS, NUMBER, STRIDED, THREADS, Work
from tensor.dtype import BOOL, FLOAT16, FLOAT32, FLOAT64, INT64, UINT16, UINT32, UINT64, UINT8, itemsize
from tensor.layout import Dims
from tensor.runtime import MAX_RANK

comptime LIMIT = 1 << 30  # elements of one launch: indices are 32 bits wide

# The types that kernels are compiled for.
comptime AS_FLOAT32 = 0
comptime AS_FLOAT64 = 1
comptime AS_INT64 = 2
comptime AS_BOOL = 3
comptime CLASSES = 4
comptime class_type[c: Int]: DType = (
    DType.float32 if c
    == AS_FLOAT32 else DType.float64 if c
    == AS_FLOAT64 else DType.int64 if c
    == AS_INT64 else DType.bool
)


def class_of_code(code: Int) -> Int:
    """The type that a dtype is computed in, -1: none."""
    if code == BOOL:
        return AS_BOOL
    if code <= UINT64:
        return AS_INT64
    if code <= FLOAT32:
        return AS_FLOAT32
    return AS_FLOAT64 if code == FLOAT64 else -1


def bits_code(size: Int) -> Int:
    """The unsigned integer of an element size, for work that only moves bits; -1 where there is none."""
    if size == 1:
        return UINT8
    if size == 2:
        return UINT16
    if size == 4:
        return UINT32
    return UINT64 if size == 8 else -1


def set_operand(mut w: Work, k: Int, data: Int, code: Int, strides: Dims):
    """Operand k of a work whose shape is set; strides in bytes, fastest first."""
    w.data[k] = Int64(data)
    w.code[k] = Int32(code)
    var size = itemsize(code)
    var flat = data % min(16, LANES * size) == 0
    var step = size
    for d in range(Int(w.ndim)):
        w.strides[k * MAX_RANK + d] = Int64(strides[d])
        if w.shape[d] != 1:
            flat = flat and strides[d] == step
        step *= Int(w.shape[d])
    w.mode[k] = Int32(FLAT if flat else STRIDED)


def set_shape(mut w: Work, shape: Dims, ndim: Int, numel: Int):
    w.n = Int32(numel)
    w.ndim = Int32(ndim)
    for d in range(ndim):
        w.shape[d] = UInt32(shape[d])


def grid(numel: Int, processors: Int) -> Int:
    """Blocks of a grid-stride kernel: enough to fill the device several times over."""
    return max(1, min(ceildiv(numel, LANES * THREADS), processors * 32))


@fieldwise_init
struct Piece(Copyable):
    """A part of a loop: its sizes, and how many bytes each operand's start is moved."""

    var shape: Dims
    var numel: Int
    var moved: Array[Int, MAX_OPERANDS]


def pieces(shape: Dims, ndim: Int, strides: List[Dims]) -> List[Piece]:
    """Cuts a loop along its outermost dimensions until every part has fewer than `LIMIT` elements."""
    var numel = 1
    for d in range(ndim):
        numel *= shape[d]
    var result: List[Piece] = [Piece(shape.copy(), numel, Array[Int, MAX_OPERANDS](fill=0))]
    var i = 0
    while i < len(result):
        if result[i].numel < LIMIT:
            i += 1
            continue
        var d = ndim - 1
        while result[i].shape[d] == 1:
            d -= 1
        var first = result[i].shape[d] // 2
        var rest = result[i].copy()
        rest.numel = rest.numel // rest.shape[d] * (rest.shape[d] - first)
        rest.shape[d] -= first
        for k in range(len(strides)):
            rest.moved[k] += first * strides[k][d]
        result[i].numel = result[i].numel // result[i].shape[d] * first
        result[i].shape[d] = first
        result.append(rest^)
    return result^
