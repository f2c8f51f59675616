"""Complex matrix products by real ones.

Large ones by three products of planes (real parts, imaginary parts, their sums), a quarter less work than four. For the
others: a row-major complex matrix is a real one with pairs of columns, which one operand can stay:

- spread: A as m x 2k reals times B spread to 2k x 2n reals, [[br, bi], [-bi, br]], is C with its pairs of columns.
- split: the real and the imaginary parts of A as 2m rows times B as k x 2n reals; pairs of rows are combined to C.

Both are one call of the real GEMM with as many multiplications.
Conjugation, pending or asked for, only changes signs in the spread or the combination. Either operand may be the
left one: C' = B' A'.
"""

from std.ffi import external_call
from std.memory import Pointer
from std.sys.info import simd_width_of, size_of
from tensor.dtype import BCOMPLEX32, COMPLEX32, COMPLEX64, complex_part, itemsize
from tensor.layout import no_dims
from tensor.memory import at
from kernels.matmul import Product
from kernels.transfer_api import copy_strided
from kernels.workspace import Workspace

comptime THREE = 128  # smallest size of a product by three
comptime SPREAD_BYTES = 1 << 25  # at most, in one go over the columns of B


@fieldwise_init
struct Matrix[dt: DType](ImplicitlyCopyable, Movable):
    """A complex matrix: address, strides in elements, whether it stands for its conjugate."""

    var data: Int
    var rs: Int
    var cs: Int
    var conj: Bool

    @always_inline
    def t(self) -> Self:
        return Self(self.data, self.cs, self.rs, self.conj)

    @always_inline
    def at(self, i: Int, j: Int) -> Int:
        return self.data + (i * self.rs + j * self.cs) * 2 * size_of[Scalar[Self.dt]]()

    @always_inline
    def element(self, i: Int, j: Int) -> SIMD[Self.dt, 2]:
        var z = at[Scalar[Self.dt]](self.at(i, j)).unsafe_load[width=2](0)
        return SIMD[Self.dt, 2](z[0], -z[1]) if self.conj else z


@always_inline
def _times[dt: DType](a: SIMD[dt, 2], b: SIMD[dt, 2]) -> SIMD[dt, 2]:
    return SIMD[dt, 2](a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])


def _real_product[
    dt: DType
](
    m: Int, n: Int, k: Int, a: Int, ars: Int, b: Int, brs: Int, bcs: Int, beta: Scalar[dt], c: Int, crs: Int
):  # fmt: skip
    var p = Product(11 if dt == DType.float32 else 12, m, n, k)
    p.beta = beta.cast[DType.float64]()
    p.a = a
    p.ars = ars
    p.acs = 1
    p.b = b
    p.brs = brs
    p.bcs = bcs
    p.c = c
    p.crs = crs
    external_call["dumbtorch_real_product", NoneType](Pointer(to=p).as_unsafe_any_origin())


def _scale[dt: DType](m: Int, n: Int, c: Matrix[dt], beta: SIMD[dt, 2]):
    """C = beta C; beta 0 does not read it."""
    var zero = beta[0] == 0 and beta[1] == 0
    for i in range(m):
        for j in range(n):
            var z = SIMD[dt, 2](0) if zero else _times(beta, c.element(i, j))
            at[Scalar[dt]](c.at(i, j)).unsafe_store(0, z)


def _spread[
    dt: DType
](
    m: Int, n: Int, k: Int, a: Matrix[dt], b: Matrix[dt], alpha: SIMD[dt, 2], beta: Scalar[dt], c: Matrix[dt]
) -> Bool:  # fmt: skip
    """A has contiguous rows, C too. False: no memory."""
    comptime S = size_of[Scalar[dt]]()
    var columns = n if 4 * k * n * S <= SPREAD_BYTES else max(SPREAD_BYTES // (4 * k * S) // 32 * 32, 32)
    columns = min(columns, n)
    var scratch = Workspace.take(4 * k * columns * S)
    var space = scratch.address
    if space == 0:
        return False
    # few columns are spread as rows: the real product then needs no packing
    var rs = 1 if n <= 4 else 2 * columns
    var cs = 2 * k if n <= 4 else 1
    var sign = Scalar[dt](-1 if a.conj else 1)
    for first in range(0, n, columns):
        var width = min(columns, n - first)
        for i in range(k):
            for j in range(width):
                var z = _times(alpha, b.element(i, first + j))
                var p = at[Scalar[dt]](space)
                var top = 2 * i * rs + 2 * j * cs
                p[unsafe_offset=top] = z[0]
                p[unsafe_offset=top + cs] = z[1]
                p[unsafe_offset=top + rs] = -sign * z[1]
                p[unsafe_offset=top + rs + cs] = sign * z[0]
        _real_product[dt](m, 2 * width, 2 * k, a.data, 2 * a.rs, space, rs, cs, beta, c.at(0, first), 2 * c.rs)
    scratch.give()
    return True


def _split[
    dt: DType
](
    m: Int, n: Int, k: Int, a: Matrix[dt], b: Matrix[dt], alpha: SIMD[dt, 2], beta: Scalar[dt], c: Matrix[dt]
) -> Bool:  # fmt: skip
    """B has contiguous rows. False: no memory."""
    comptime S = size_of[Scalar[dt]]()
    var scratch = Workspace.take((2 * m * k + 4 * m * n) * S + 128)
    var space = scratch.address
    if space == 0:
        return False
    var parts = at[Scalar[dt]](space)
    for i in range(m):
        for j in range(k):
            var z = _times(alpha, a.element(i, j))
            parts[unsafe_offset=i * k + j] = z[0]
            parts[unsafe_offset=(m + i) * k + j] = z[1]
    var made = space + 2 * m * k * S
    _real_product[dt](2 * m, 2 * n, k, space, k, b.data, 2 * b.rs, 1, 0, made, 2 * n)
    var sign = Scalar[dt](-1 if b.conj else 1)
    for i in range(m):
        var x = at[Scalar[dt]](made + 2 * i * n * S)
        var y = at[Scalar[dt]](made + 2 * (m + i) * n * S)
        for j in range(n):
            var re = x[unsafe_offset=2 * j] - sign * y[unsafe_offset=2 * j + 1]
            var im = sign * x[unsafe_offset=2 * j + 1] + y[unsafe_offset=2 * j]
            var z = SIMD[dt, 2](re, im)
            var p = at[Scalar[dt]](c.at(i, j))
            if beta != 0:
                z += beta * p.unsafe_load[width=2](0)
            p.unsafe_store(0, z)
    scratch.give()
    return True


def _planes[dt: DType](rows: Int, columns: Int, x: Matrix[dt], alpha: SIMD[dt, 2], to: Int) -> Bool:
    """Real parts, imaginary parts and their sums, times alpha, one plane behind the other; True: by columns."""
    comptime W = simd_width_of[dt]()
    comptime S = size_of[Scalar[dt]]()
    if x.cs != 1 and x.rs == 1:
        _ = _planes(columns, rows, x.t(), alpha, to)
        return True
    var plane = rows * columns
    var sign = Scalar[dt](-1 if x.conj else 1)
    for i in range(rows):
        var p = at[Scalar[dt]](to + i * columns * S)
        var j = 0
        while x.cs == 1 and j + W <= columns:
            var parts = at[Scalar[dt]](x.at(i, j)).unsafe_load[width=2 * W](0).deinterleave()
            var re = rebind[SIMD[dt, W]](parts[0])
            var im = sign * rebind[SIMD[dt, W]](parts[1])
            var f = alpha[0] * re - alpha[1] * im
            im = alpha[0] * im + alpha[1] * re
            p.unsafe_store(j, f)
            p.unsafe_store(plane + j, im)
            p.unsafe_store(2 * plane + j, f + im)
            j += W
        while j < columns:
            var z = _times(alpha, x.element(i, j))
            p[unsafe_offset=j] = z[0]
            p[unsafe_offset=plane + j] = z[1]
            p[unsafe_offset=2 * plane + j] = z[0] + z[1]
            j += 1
    return False


def _by_three[
    dt: DType
](
    m: Int, n: Int, k: Int, a: Matrix[dt], b: Matrix[dt], alpha: SIMD[dt, 2], beta: Scalar[dt], c: Matrix[dt]
) -> Bool:  # fmt: skip
    """C's parts from ar br, ai bi and (ar + ai)(br + bi). False: no memory."""
    comptime W = simd_width_of[dt]()
    comptime S = size_of[Scalar[dt]]()
    var scratch = Workspace.take((3 * m * k + 3 * k * n + 3 * m * n) * S + 64)
    var space = scratch.address
    if space == 0:
        return False
    var right = space + 3 * m * k * S
    var made = right + 3 * k * n * S
    var a_turned = _planes(m, k, a, alpha, space)
    var b_turned = _planes(k, n, b, SIMD[dt, 2](1, 0), right)
    for i in range(3):
        var p = Product(11 if dt == DType.float32 else 12, m, n, k)
        p.a = space + i * m * k * S
        p.ars = 1 if a_turned else k
        p.acs = m if a_turned else 1
        p.b = right + i * k * n * S
        p.brs = 1 if b_turned else n
        p.bcs = k if b_turned else 1
        p.c = made + i * m * n * S
        external_call["dumbtorch_real_product", NoneType](Pointer(to=p).as_unsafe_any_origin())
    for i in range(m):
        var p = at[Scalar[dt]](made + i * n * S)
        var j = 0
        while c.cs == 1 and j + W <= n:
            var x = p.unsafe_load[width=W](j)
            var y = p.unsafe_load[width=W](m * n + j)
            var both = (x - y).interleave(p.unsafe_load[width=W](2 * m * n + j) - x - y)
            var to = at[Scalar[dt]](c.at(i, j))
            if beta != 0:
                both += beta * to.unsafe_load[width=2 * W](0)
            to.unsafe_store(0, both)
            j += W
        while j < n:
            var x = p[unsafe_offset=j]
            var y = p[unsafe_offset=m * n + j]
            var z = SIMD[dt, 2](x - y, p[unsafe_offset=2 * m * n + j] - x - y)
            var to = at[Scalar[dt]](c.at(i, j))
            if beta != 0:
                z += beta * to.unsafe_load[width=2](0)
            to.unsafe_store(0, z)
            j += 1
    scratch.give()
    return True


def _packed[dt: DType](rows: Int, columns: Int, x: Matrix[dt], space: Int) -> Matrix[dt]:
    """A copy with contiguous rows."""
    comptime code = COMPLEX64 if dt == DType.float32 else COMPLEX64 + 1
    var ds = no_dims()
    var ss = no_dims()
    var shape = no_dims()
    ds[0] = columns
    ds[1] = 1
    ss[0] = x.rs
    ss[1] = x.cs
    shape[0] = rows
    shape[1] = columns
    copy_strided(space, code, ds, x.data, code, ss, shape, 2)
    return Matrix[dt](space, columns, 1, x.conj)


def _multiply[
    dt: DType
](
    m: Int, n: Int, k: Int, a: Matrix[dt], b: Matrix[dt], alpha: SIMD[dt, 2], beta: Scalar[dt], c: Matrix[dt]
) -> Bool:  # fmt: skip
    """Chooses the way that moves least; copies an operand when neither lies right."""
    if min(m, min(n, k)) >= THREE:
        return _by_three(m, n, k, a, b, alpha, beta, c)
    var left = a.cs == 1 or k == 1
    var right = b.cs == 1 or n == 1
    # the same product transposed has the operands' rows and columns exchanged
    var flat = c.cs == 1 or n == 1
    var upright = c.rs == 1 or m == 1
    var spread_cost = 4 * k * n
    var split_cost = 4 * m * k + 10 * m * n
    if left and flat and (spread_cost <= split_cost or not right):
        return _spread(m, n, k, a, b, alpha, beta, c)
    if (b.rs == 1 or k == 1) and upright and (4 * k * m <= split_cost or not right):
        return _spread(n, m, k, b.t(), a.t(), alpha, beta, c.t())
    if right:
        return _split(m, n, k, a, b, alpha, beta, c)
    if a.rs == 1 or m == 1:
        return _split(n, m, k, b.t(), a.t(), alpha, beta, c.t())
    var scratch = Workspace.take((m if flat else n) * k * 2 * size_of[Scalar[dt]]())
    var ok = scratch.address != 0
    if ok and flat:
        ok = _spread(m, n, k, _packed(m, k, a, scratch.address), b, alpha, beta, c)
    elif ok:
        ok = _split(m, n, k, a, _packed(k, n, b, scratch.address), alpha, beta, c)
    scratch.give()
    return ok


def _run[dt: DType](p: Product) -> Bool:
    comptime S = 2 * size_of[Scalar[dt]]()
    var alpha = SIMD[dt, 2](p.alpha.cast[dt](), p.alpha_im.cast[dt]())
    var beta = SIMD[dt, 2](p.beta.cast[dt](), p.beta_im.cast[dt]())
    for i in range(p.count):
        var offsets = Array[Int, 3](fill=0)
        if p.a_offsets != 0:
            offsets[0] = at[Int](p.a_offsets)[unsafe_offset=i] * S
            offsets[1] = at[Int](p.b_offsets)[unsafe_offset=i] * S
            offsets[2] = at[Int](p.c_offsets)[unsafe_offset=i] * S
        var a = Matrix[dt](p.a + offsets[0], p.ars, p.acs, p.conj & 1 != 0)
        var b = Matrix[dt](p.b + offsets[1], p.brs, p.bcs, p.conj & 2 != 0)
        var c = Matrix[dt](p.c + offsets[2], p.crs, p.ccs, False)
        if p.bias != 0:
            var bias = Matrix[dt](p.bias, 0, 1, False)
            for r in range(p.m):
                for j in range(p.n):
                    at[Scalar[dt]](c.at(r, j)).unsafe_store(0, bias.element(0, j))
        var rest = SIMD[dt, 2](1, 0) if p.bias != 0 else beta
        if p.k == 0 or (rest[1] != 0):
            _scale(p.m, p.n, c, rest)
            rest = SIMD[dt, 2](1, 0)
        if p.k != 0 and not _multiply(p.m, p.n, p.k, a, b, alpha, rest[0], c):
            return False
    return True


def _widened(p: Product) -> Bool:
    """complex32 and bcomplex32: operands and result pass through complex64."""
    var q = p.copy()
    var sizes = [p.m * p.k, p.k * p.n, p.m * p.n]
    var scratch = Workspace.take((sizes[0] + sizes[1] + sizes[2]) * 8 + 64)
    var space = scratch.address
    if space == 0:
        return False
    q.code = COMPLEX64
    q.count = 1
    q.a_offsets = 0
    q.a = space
    q.ars = p.k
    q.acs = 1
    q.b = space + sizes[0] * 8
    q.brs = p.n
    q.bcs = 1
    q.c = q.b + sizes[1] * 8
    q.crs = p.n
    q.ccs = 1
    var biased = p.bias != 0
    q.bias = 0
    var ok = True
    for i in range(p.count):
        var offsets = Array[Int, 3](fill=0)
        if p.a_offsets != 0:
            offsets[0] = at[Int](p.a_offsets)[unsafe_offset=i] * 4
            offsets[1] = at[Int](p.b_offsets)[unsafe_offset=i] * 4
            offsets[2] = at[Int](p.c_offsets)[unsafe_offset=i] * 4
        _convert(q.a, q.ars, 1, COMPLEX64, p.a + offsets[0], p.ars, p.acs, p.code, p.m, p.k)
        _convert(q.b, q.brs, 1, COMPLEX64, p.b + offsets[1], p.brs, p.bcs, p.code, p.k, p.n)
        if biased:
            _convert(q.c, q.crs, 1, COMPLEX64, p.bias, 0, 1, p.code, p.m, p.n)
            q.beta = 1
            q.beta_im = 0
        elif p.beta != 0 or p.beta_im != 0:
            _convert(q.c, q.crs, 1, COMPLEX64, p.c + offsets[2], p.crs, p.ccs, p.code, p.m, p.n)
        ok = ok and _run[DType.float32](q)
        _convert(p.c + offsets[2], p.crs, p.ccs, p.code, q.c, q.crs, 1, COMPLEX64, p.m, p.n)
    scratch.give()
    return ok


def _convert(
    dst: Int, drs: Int, dcs: Int, dst_code: Int, src: Int, srs: Int, scs: Int, src_code: Int, rows: Int, columns: Int
):
    var ds = no_dims()
    var ss = no_dims()
    var shape = no_dims()
    ds[0] = drs
    ds[1] = dcs
    ss[0] = srs
    ss[1] = scs
    shape[0] = rows
    shape[1] = columns
    copy_strided(dst, dst_code, ds, src, src_code, ss, shape, 2)


@export("dumbtorch_complex_product")
def complex_product(address: Int) abi("C") -> Int:
    """Runs a `Product` of complex matrices. 0, or -1 when there is no memory for scratch."""
    ref p = at[Product](address)[]
    if p.m == 0 or p.n == 0:
        return 0
    var ok: Bool
    if p.code == COMPLEX32 or p.code == BCOMPLEX32:
        ok = _widened(p)
    elif p.code == COMPLEX64:
        ok = _run[DType.float32](p)
    else:
        ok = _run[DType.float64](p)
    return 0 if ok else -1
