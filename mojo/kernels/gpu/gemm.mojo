"""Matrix products on an accelerator: tiles in shared memory, a block of results in each thread's registers.

C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C (+ bias), any strides, batches by offsets. float16, bfloat16 and float32 sum in
float32, float64 in float64, integers in their own type. A block of 256 threads makes a tile of BM x BN results, BK deep at
a time; a thread reads each operand along the dimension in which it lies side by side, so that reads coalesce.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, fma
from std.memory import Pointer, stack_allocation
from std.sys.info import size_of
from max.gpu import block_idx, thread_idx
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier
from kernels.gpu.device import device, fail
from kernels.gpu.vendor import vendor_product
from kernels.matmul import Product
from tensor.dtype import dtype_of
from tensor.memory import address_of, at, load, store
from tensor.storage import DeviceTable

comptime THREADS = 256
comptime BATCH = 64  # products of one launch: their offsets travel by value
comptime acc_type[dt: DType]: DType = DType.float32 if dt == DType.float16 or dt == DType.bfloat16 else dt


struct Work(Copyable, DevicePassable):
    """Up to BATCH products of one shape; strides and offsets in elements. Passed by value."""

    var m: Int32
    var n: Int32
    var k: Int32
    var alpha: Float64
    var beta: Float64
    var a: Int64
    var ars: Int64
    var acs: Int64
    var b: Int64
    var brs: Int64
    var bcs: Int64
    var c: Int64
    var crs: Int64
    var ccs: Int64
    var bias: Int64
    var ao: Array[Int64, BATCH]
    var bo: Array[Int64, BATCH]
    var co: Array[Int64, BATCH]

    comptime device_type: AnyType = Self

    def __init__(out self, p: Product):
        self.m = Int32(p.m)
        self.n = Int32(p.n)
        self.k = Int32(p.k)
        self.alpha = p.alpha
        self.beta = p.beta
        self.a = Int64(p.a)
        self.ars = Int64(p.ars)
        self.acs = Int64(p.acs)
        self.b = Int64(p.b)
        self.brs = Int64(p.brs)
        self.bcs = Int64(p.bcs)
        self.c = Int64(p.c)
        self.crs = Int64(p.crs)
        self.ccs = Int64(p.ccs)
        self.bias = Int64(p.bias)
        self.ao = Array[Int64, BATCH](fill=0)
        self.bo = Array[Int64, BATCH](fill=0)
        self.co = Array[Int64, BATCH](fill=0)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Product"


def gemm_kernel[dt: DType, BM: Int, BN: Int, BK: Int, TM: Int, TN: Int](w: Work):
    """Thread (x, y) of a tile computes rows y * TM .. and columns x, x + BN / TN, ...: its stores coalesce."""
    comptime A = acc_type[dt]
    comptime COLUMNS = BN // TN  # threads side by side
    comptime PAD = 4  # keeps the transposed stores of A's tile off one bank
    comptime LDA = BM + PAD
    comptime LDB = BN + PAD
    var sa = stack_allocation[BK * LDA, Scalar[A], address_space=AddressSpace.SHARED]()
    var sb = stack_allocation[BK * LDB, Scalar[A], address_space=AddressSpace.SHARED]()
    var t = Int(thread_idx.x)
    var x = t % COLUMNS
    var y = t // COLUMNS
    var batch = Int(block_idx.z)
    var row0 = Int(block_idx.y) * BM
    var col0 = Int(block_idx.x) * BN
    var m = Int(w.m)
    var n = Int(w.n)
    var k = Int(w.k)
    var a = at[Scalar[dt]](Int(w.a)).unsafe_offset(Int(w.ao[batch]))
    var b = at[Scalar[dt]](Int(w.b)).unsafe_offset(Int(w.bo[batch]))
    var ars = Int(w.ars)
    var acs = Int(w.acs)
    var brs = Int(w.brs)
    var bcs = Int(w.bcs)
    # along which dimension neighbouring threads read
    var a_along_k = w.acs == 1
    var b_along_k = w.brs == 1 and w.bcs != 1
    var acc = Array[SIMD[A, TN], TM](fill=SIMD[A, TN](0))
    var start = 0
    while start < k:
        comptime for e in range(BM * BK // THREADS):
            var i = t + e * THREADS
            var kk = i % BK if a_along_k else i // BM
            var r = i // BK if a_along_k else i % BM
            var value = Scalar[A](0)
            if row0 + r < m and start + kk < k:
                value = a[unsafe_offset=(row0 + r) * ars + (start + kk) * acs].cast[A]()
            sa[unsafe_offset=kk * LDA + r] = value
        comptime for e in range(BN * BK // THREADS):
            var i = t + e * THREADS
            var kk = i % BK if b_along_k else i // BN
            var c = i // BK if b_along_k else i % BN
            var value = Scalar[A](0)
            if col0 + c < n and start + kk < k:
                value = b[unsafe_offset=(start + kk) * brs + (col0 + c) * bcs].cast[A]()
            sb[unsafe_offset=kk * LDB + c] = value
        barrier()
        comptime for kk in range(BK):
            var right = SIMD[A, TN](0)
            comptime for j in range(TN):
                right[j] = sb[unsafe_offset=kk * LDB + x + j * COLUMNS]
            comptime for i in range(TM):
                acc[i] = fma(SIMD[A, TN](sa[unsafe_offset=kk * LDA + y * TM + i]), right, acc[i])
        barrier()
        start += BK
    var c = at[Scalar[dt]](Int(w.c)).unsafe_offset(Int(w.co[batch]))
    var alpha = w.alpha.cast[A]()
    var beta = w.beta.cast[A]()
    comptime for i in range(TM):
        var row = row0 + y * TM + i
        comptime for j in range(TN):
            var col = col0 + x + j * COLUMNS
            if row < m and col < n:
                var place = row * Int(w.crs) + col * Int(w.ccs)
                var value = alpha * acc[i][j]
                if w.beta != 0:
                    # beta 0 means that C is not read: it may hold NaN
                    value += beta * c[unsafe_offset=place].cast[A]()
                if w.bias != 0:
                    value += at[Scalar[dt]](Int(w.bias))[unsafe_offset=col].cast[A]()
                c[unsafe_offset=place] = value.cast[dt]()


def _queue[dt: DType, BM: Int, BN: Int, BK: Int, TM: Int, TN: Int](index: Int, w: Work, batches: Int) raises:
    comptime kernel = gemm_kernel[dt, BM, BN, BK, TM, TN]
    var context = device(index)[].context()
    # grids are at most 65535 high: very tall products go in bands of rows
    comptime BAND = 65535 * BM
    var row = 0
    while row < Int(w.m):
        var part = w.copy()
        part.m = Int32(min(Int(w.m) - row, BAND))
        comptime size = Int64(size_of[Scalar[dt]]())
        part.a += Int64(row) * w.ars * size
        part.c += Int64(row) * w.crs * size
        context.enqueue_function[kernel](
            part, grid_dim=(ceildiv(Int(w.n), BN), ceildiv(Int(part.m), BM), batches), block_dim=THREADS
        )
        row += BAND


def _multiply[c: Int](index: Int, p: Product) raises:
    comptime dt = dtype_of[c]
    var processors = device(index)[].processors
    # large tiles reuse more, but must be enough of them to fill the device
    var tiles = ceildiv(p.m, 128) * ceildiv(p.n, 128) * p.count
    var done = 0
    while done < p.count:
        var w = Work(p)
        var batches = min(BATCH, p.count - done)
        if p.a_offsets != 0:
            for i in range(batches):
                w.ao[i] = Int64(load[Int](p.a_offsets + 8 * (done + i)))
                w.bo[i] = Int64(load[Int](p.b_offsets + 8 * (done + i)))
                w.co[i] = Int64(load[Int](p.c_offsets + 8 * (done + i)))
        comptime if dt == DType.float32 or dt == DType.float16 or dt == DType.bfloat16:
            if tiles >= processors:
                _queue[dt, 128, 128, 16, 8, 8](index, w, batches)
                done += batches
                continue
        _queue[dt, 64, 64, 16, 4, 4](index, w, batches)
        done += batches


def product(index: Int, p: Pointer[Product, MutAnyOrigin]) abi("C") -> Int:
    """See DeviceTable.product."""
    try:
        ref q = p[]
        if q.m == 0 or q.n == 0:
            return 0
        if vendor_product(index, q):
            return 0
        comptime for c in [1, 2, 3, 4, 5, 9, 10, 11, 12]:
            if q.code == c:
                _multiply[c](index, q)
                return 0
        return 1
    except e:
        return fail(e, "matrix product")


@export("dumbtorch_accelerator_register_gemm")
def register_gemm(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var product_: def(Int, Pointer[Product, MutAnyOrigin]) thin abi("C") -> Int = product
    at[DeviceTable](table)[].product = address_of(product_)
