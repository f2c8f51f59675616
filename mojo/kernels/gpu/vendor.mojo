"""Matrix products by NVIDIA's cuBLAS, where it is installed: it is looked for when the first product comes, never needed.

What does not fit its layouts (no side of a matrix contiguous, batches at irregular distances) or fails there is left to
gemm.mojo's kernels. cuBLAS stores by columns: a product by rows is the product of the transposes the other way round.
"""

from std.ffi import _Global, external_call
from std.memory import Pointer, stack_allocation
from max.gpu.host import DeviceContext
from max.gpu.host._nvidia_cuda import CUDA
from kernels.gpu.copy_api import copy
from kernels.gpu.device import device
from kernels.matmul import Product
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, itemsize
from tensor.layout import no_dims
from tensor.memory import Words, c_string, function_at, load, store, zeroed

comptime NAMES = ["libcublas.so.13", "libcublas.so.12", "libcublas.so"]
comptime RTLD_LAZY_LOCAL = 1
comptime DEFAULT_ALGORITHM: Int32 = -1
comptime COMPUTE_32F: Int32 = 68
comptime COMPUTE_64F: Int32 = 70

comptime CreateFn = def(Words) thin abi("C") -> Int32
comptime SetStreamFn = def(Int, Int) thin abi("C") -> Int32
comptime I = Int32
comptime GemmFn = def(
    Int, I, I, I, I, I, Words, Int, I, I, Int64, Int, I, I, Int64, Words, Int, I, I, Int64, I, I, I
) thin abi("C") -> I


struct Vendor(Movable):
    """The library's functions and a handle for each device; found 0: not looked for yet, -1: not there."""

    var found: Int
    var create: Int
    var set_stream: Int
    var gemm: Int
    var handles: Int  # by device, 64 of them

    def __init__(out self):
        self.found = 0
        self.create = 0
        self.set_stream = 0
        self.gemm = 0
        self.handles = 0


comptime _VENDOR = _Global[StorageType=Vendor, "DUMBTORCH_CUBLAS", Vendor.__init__]


def _symbol(library: Int, name: String) -> Int:
    var text = c_string(name)
    var address = external_call["dlsym", Int](library, text)
    external_call["free", NoneType](text)
    return address


def _look(mut v: Vendor):
    v.found = -1
    comptime for name in NAMES:
        var text = c_string(String(name))
        var library = external_call["dlopen", Int](text, Int32(RTLD_LAZY_LOCAL))
        external_call["free", NoneType](text)
        if library != 0:
            v.create = _symbol(library, "cublasCreate_v2")
            v.set_stream = _symbol(library, "cublasSetStream_v2")
            v.gemm = _symbol(library, "cublasGemmStridedBatchedEx")
            if v.create != 0 and v.set_stream != 0 and v.gemm != 0:
                v.handles = Int(zeroed[Int](64))
                v.found = 1
                return


@fieldwise_init
struct Side(TrivialRegisterPassable):
    """A matrix as cuBLAS is told: transposed or not, the distance of its columns; ok: it can be told so."""

    var transposed: Bool
    var distance: Int
    var ok: Bool


def _side(rows: Int, cols: Int, rs: Int, cs: Int) -> Side:
    """A matrix stored by rows is, by columns, its transpose: not transposed where its rows are contiguous."""
    if (cs == 1 or cols == 1) and (rs >= cols or rows == 1):
        return Side(False, max(rs if rows > 1 else cols, 1), True)
    if (rs == 1 or rows == 1) and (cs >= rows or cols == 1):
        return Side(True, max(cs if cols > 1 else rows, 1), True)
    return Side(False, 0, False)


def _step(offsets: Int, count: Int, mut step: Int) -> Bool:
    """The distance between batches, where there is one."""
    step = 0
    if offsets == 0 or count < 2:
        return True
    step = load[Int](offsets + 8) - load[Int](offsets)
    for i in range(1, count):
        if load[Int](offsets + 8 * i) - load[Int](offsets + 8 * (i - 1)) != step:
            return False
    return step >= 0


def vendor_product(index: Int, p: Product) raises -> Bool:
    """Queues a product; False: it was not, gemm.mojo's kernels are to do it."""
    if p.code < FLOAT16 or p.code > FLOAT64 or index >= 64 or p.k == 0:
        return False
    var v = _VENDOR.get_or_create_ptr()
    if v[].found == 0:
        if device(index)[].contexts[0].api() == "cuda":
            _look(v[])
        else:
            v[].found = -1
    if v[].found < 0:
        return False
    comptime most = 0x7FFFFFFF
    if max(p.m, max(p.n, p.k)) > most or p.count > 65535:
        return False
    var a = _side(p.m, p.k, p.ars, p.acs)
    var b = _side(p.k, p.n, p.brs, p.bcs)
    var c = _side(p.m, p.n, p.crs, p.ccs)
    var as_ = 0
    var bs = 0
    var cs = 0
    if not a.ok or not b.ok or not c.ok or c.transposed or max(a.distance, max(b.distance, c.distance)) > most:
        return False
    if not (_step(p.a_offsets, p.count, as_) and _step(p.b_offsets, p.count, bs) and _step(p.c_offsets, p.count, cs)):
        return False
    if p.bias != 0 and (p.beta != 0 or p.count > 1 or p.alpha != 1):
        return False
    var size = itemsize(p.code)
    var to = p.c + (load[Int](p.c_offsets) * size if p.c_offsets != 0 else 0)
    var beta = p.beta
    if p.bias != 0:
        # the bias first, and the product added to it
        var shape = no_dims()
        var ds = no_dims()
        var ss = no_dims()
        shape[0] = p.n
        shape[1] = p.m
        ds[0] = size
        ds[1] = p.crs * size
        ss[0] = size
        if copy(index, to, p.code, ds, p.bias, p.code, ss, shape, 2) != 0:
            return False
        beta = 1
    var context = device(index)[].context()
    with context.push_context():
        var handle = load[Int](v[].handles + 8 * index)
        var word = stack_allocation[1, Int]()
        if handle == 0:
            word[] = 0
            if function_at[CreateFn](v[].create)(word.as_unsafe_any_origin()) != 0:
                v[].found = -1
                return False
            handle = word[]
            store(v[].handles + 8 * index, handle)
        var stream = CUDA(context.stream())
        _ = function_at[SetStreamFn](v[].set_stream)(handle, Int(stream.value()))
        var wide = p.code == FLOAT64
        var factors = stack_allocation[2, Int]()
        if wide:
            factors.unsafe_bitcast[Float64]()[unsafe_offset=0] = p.alpha
            factors.unsafe_bitcast[Float64]()[unsafe_offset=1] = beta
        else:
            factors.unsafe_bitcast[Float32]()[unsafe_offset=0] = p.alpha.cast[DType.float32]()
            factors.unsafe_bitcast[Float32]()[unsafe_offset=2] = beta.cast[DType.float32]()
        # cudaDataType's numbers
        var kind = Int32(1 if wide else 0 if p.code == FLOAT32 else 2 if p.code == FLOAT16 else 14)
        var status = function_at[GemmFn](v[].gemm)(
            handle, Int32(Int(b.transposed)), Int32(Int(a.transposed)), Int32(p.n), Int32(p.m), Int32(p.k),
            factors.as_unsafe_any_origin(),
            p.b + (load[Int](p.b_offsets) * size if p.b_offsets != 0 else 0), kind, Int32(b.distance), Int64(bs),
            p.a + (load[Int](p.a_offsets) * size if p.a_offsets != 0 else 0), kind, Int32(a.distance), Int64(as_),
            factors.unsafe_offset(1).as_unsafe_any_origin(),
            to, kind, Int32(c.distance), Int64(cs), Int32(p.count), COMPUTE_64F if wide else COMPUTE_32F,
            DEFAULT_ALGORITHM,
        )  # fmt: skip
        if status != 0 and p.bias != 0:
            raise Error(t"cuBLAS: status {status}")
        return status == 0
