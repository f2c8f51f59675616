"""The inner loops of GEMM: the register tile, and the dot and axpy loops for products of few rows.

The register tile is MR x NR accumulators, MR rows by two vectors. Both operands may be packed (panels of MR rows or NR
columns, k outermost) or used in place through their strides; the same kernel does both.
"""
from std.math import fma, iota
from std.memory import Pointer
from std.sys import CompilationTarget, simd_width_of, size_of
from std.sys.intrinsics import PrefetchOptions, masked_load, masked_store, prefetch

comptime Ptr[dt: DType] = Pointer[Scalar[dt], MutUntrackedOrigin]

comptime _AVX512 = CompilationTarget.has_avx512f()


def acc_dtype[dt: DType]() -> DType:
    """The dtype that products of `dt` are summed in."""
    comptime if dt == DType.bfloat16 or dt == DType.float16:
        return DType.float32
    elif dt == DType.int8 or dt == DType.uint8 or dt == DType.int16 or dt == DType.uint16:
        return DType.int32
    else:
        return dt


comptime _FOR_WRITE = PrefetchOptions().for_write().high_locality().to_data_cache()

comptime MR = 14 if _AVX512 else (6 if CompilationTarget.is_x86() else 12)
"""Rows of the register tile: two vectors a row, and enough registers left for a row of B and a broadcast of A."""


@always_inline
def width[dt: DType]() -> Int:
    return Int(simd_width_of[dt]())


@always_inline
def ptr[dt: DType](address: Int) -> Ptr[dt]:
    return Ptr[dt](unsafe_from_address=address)


@always_inline
def at[dt: DType](address: Int, offset: Int) -> Int:
    """The address of element `offset`."""
    return address + offset * size_of[Scalar[dt]]()


@fieldwise_init
struct Mat(ImplicitlyCopyable, Movable):
    """A matrix in memory: the address of its first element, row and column strides in elements."""

    var address: Int
    var rs: Int
    var cs: Int

    @always_inline
    def t(self) -> Self:
        """Its transpose."""
        return Self(self.address, self.cs, self.rs)

    @always_inline
    def where[dt: DType](self, i: Int, j: Int) -> Int:
        """The address of element (i, j)."""
        return at[dt](self.address, i * self.rs + j * self.cs)

    @always_inline
    def part[dt: DType](self, i: Int, j: Int) -> Self:
        """The part of it that begins at (i, j)."""
        return Self(self.where[dt](i, j), self.rs, self.cs)


@always_inline
def first_lanes[w: Int](n: Int) -> SIMD[DType.bool, w]:
    return iota[DType.int32, w]().lt(SIMD[DType.int32, w](Int32(n)))


@always_inline
def load_first[dt: DType, w: Int](p: Ptr[dt], n: Int) -> SIMD[dt, w]:
    """The first n lanes, the rest zero; reads nothing past them."""
    return masked_load[w](p, first_lanes[w](n), SIMD[dt, w](0))


@always_inline
def mul_add[dt: DType, w: Int](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w]) -> SIMD[dt, w]:
    comptime if dt.is_floating_point():
        return fma(a, b, c)
    else:
        return a * b + c


@fieldwise_init
struct Epilogue[dt: DType](ImplicitlyCopyable, Movable):
    """What becomes of a sum s of products: alpha*s + beta*C + bias. With beta == 0 the old C is not read."""

    var alpha: Scalar[Self.dt]
    var beta: Scalar[Self.dt]
    var bias: Int  # address of a row over the columns, or 0

    @always_inline
    def from_column(self, j: Int) -> Self:
        """For the part of C that begins at column j."""
        return Self(self.alpha, self.beta, at[Self.dt](self.bias, j) if self.bias != 0 else 0)

    def after_first(self) -> Self:
        """For the later parts of a sum that is done in several parts."""
        return Self(self.alpha, 1, 0)


@always_inline
def _finish[dt: DType, w: Int, part: Bool](s: SIMD[dt, w], c: Ptr[dt], ep: Epilogue[dt], bias: SIMD[dt, w], lanes: Int):
    var v = s * ep.alpha
    comptime if part:
        var mask = first_lanes[w](lanes)
        if ep.beta != 0:
            v = mul_add(SIMD[dt, w](ep.beta), masked_load[w](c, mask, SIMD[dt, w](0)), v)
        masked_store[w](v + bias, c, mask)
    else:
        if ep.beta != 0:
            v = mul_add(SIMD[dt, w](ep.beta), c.unsafe_load[width=w](0), v)
        c.unsafe_store(0, v + bias)


@no_inline
def micro[
    dt: DType, mr: Int, nv: Int
](am: Mat, b0: Int, bs: Int, kc: Int, c0: Int, crs: Int, nr: Int, ep: Epilogue[dt]):
    """C[mr, nr] from A[mr, kc] (any strides) and B[kc, nv vectors] (row stride bs, full vectors readable)."""
    comptime W = width[dt]()
    var acc = Array[SIMD[dt, W], mr * nv](fill=0)
    var a = ptr[dt](am.address)
    var b = ptr[dt](b0)
    comptime for i in range(mr):
        comptime for v in range(nv):
            prefetch[_FOR_WRITE](ptr[dt](at[dt](c0, i * crs + v * W)))
    for _ in range(kc):
        var bv = Array[SIMD[dt, W], nv](fill=0)
        comptime for v in range(nv):
            bv[v] = b.unsafe_load[width=W](v * W)
        comptime for i in range(mr):
            var av = SIMD[dt, W](a[unsafe_offset=i * am.rs])
            comptime for v in range(nv):
                acc[i * nv + v] = mul_add(av, bv[v], acc[i * nv + v])
        a = a.unsafe_offset(am.cs)
        b = b.unsafe_offset(bs)
    comptime for v in range(nv):
        var lanes = nr - v * W
        var c = ptr[dt](at[dt](c0, v * W))
        var bias = SIMD[dt, W](0)
        if lanes >= W:
            if ep.bias != 0:
                bias = ptr[dt](ep.bias).unsafe_load[width=W](v * W)
            comptime for i in range(mr):
                _finish[dt, W, False](acc[i * nv + v], c.unsafe_offset(i * crs), ep, bias, W)
        elif lanes > 0:
            if ep.bias != 0:
                bias = load_first[dt, W](ptr[dt](at[dt](ep.bias, v * W)), lanes)
            comptime for i in range(mr):
                _finish[dt, W, True](acc[i * nv + v], c.unsafe_offset(i * crs), ep, bias, lanes)


@always_inline
def micro_rows[dt: DType](mr: Int, a: Mat, b: Int, bs: Int, kc: Int, c: Int, crs: Int, nr: Int, ep: Epilogue[dt]):
    """The kernel for mr rows, 1..MR, and nr columns, 1..NR."""
    if nr > width[dt]():
        comptime for q in reversed(range(1, MR + 1)):
            if mr == q:
                micro[dt, q, 2](a, b, bs, kc, c, crs, nr, ep)
                return
    else:
        comptime for q in reversed(range(1, MR + 1)):
            if mr == q:
                micro[dt, q, 1](a, b, bs, kc, c, crs, nr, ep)
                return


@no_inline
def dots[src: DType, dt: DType, mr: Int, nc: Int](a: Mat, b: Mat, k: Int, c: Mat, ep: Epilogue[dt]):
    """C[mr, nc] of dot products, A and B both contiguous along k: for products of few rows, where packing is waste.

    A, B, C and the bias are of dtype `src`, the sums of dtype `dt`.
    """
    comptime W = width[dt]()
    # One output needs several sums in flight to hide the latency of the additions.
    comptime U = 4 if mr * nc <= 4 else (2 if mr * nc <= 8 else 1)
    var acc = Array[SIMD[dt, W], mr * nc * U](fill=0)
    var ap = ptr[src](a.address)
    var bp = ptr[src](b.address)
    var p = 0
    while p + U * W <= k:
        comptime for u in range(U):
            var av = Array[SIMD[dt, W], mr](fill=0)
            comptime for i in range(mr):
                av[i] = ap.unsafe_load[width=W](i * a.rs + p + u * W).cast[dt]()
            comptime for j in range(nc):
                var bv = bp.unsafe_load[width=W](j * b.cs + p + u * W).cast[dt]()
                comptime for i in range(mr):
                    comptime q = (u * mr + i) * nc + j
                    acc[q] = mul_add(av[i], bv, acc[q])
        p += U * W
    while p < k:
        var mask = first_lanes[W](k - p)
        var zero = SIMD[src, W](0)
        comptime for j in range(nc):
            var bv = masked_load[W](bp.unsafe_offset(j * b.cs + p), mask, zero).cast[dt]()
            comptime for i in range(mr):
                var av = masked_load[W](ap.unsafe_offset(i * a.rs + p), mask, zero).cast[dt]()
                acc[i * nc + j] = mul_add(av, bv, acc[i * nc + j])
        p += W
    comptime for i in range(mr):
        comptime for j in range(nc):
            var s = acc[i * nc + j]
            comptime for u in range(1, U):
                s += acc[(u * mr + i) * nc + j]
            var out = ptr[src](c.where[src](i, j))
            var v = s.reduce_add() * ep.alpha
            if ep.beta != 0:
                v = mul_add[dt, 1](ep.beta, out[].cast[dt](), v)
            if ep.bias != 0:
                v += ptr[src](ep.bias)[unsafe_offset=j].cast[dt]()
            out[] = v.cast[src]()


@no_inline
def axpy_rows[dt: DType](x: Mat, b: Mat, k: Int, n: Int, c: Int, ep: Epilogue[dt]):
    """One row C[n] = x[1, k] times B[k, n] with contiguous rows, read as eight streams at a time."""
    comptime W = width[dt]()
    comptime U = 8
    var xp = ptr[dt](x.address)
    var bp = ptr[dt](b.address)
    var cp = ptr[dt](c)
    var e = ep
    var p = 0
    while p + U <= k:
        var xv = Array[SIMD[dt, W], U](fill=0)
        comptime for u in range(U):
            xv[u] = SIMD[dt, W](xp[unsafe_offset=(p + u) * x.cs])
        var row = bp.unsafe_offset(p * b.rs)
        for j in range(0, n - W + 1, W):
            var s = SIMD[dt, W](0)
            comptime for u in range(U):
                s = mul_add(xv[u], row.unsafe_load[width=W](u * b.rs + j), s)
            var bias = SIMD[dt, W](0)
            if e.bias != 0:
                bias = ptr[dt](e.bias).unsafe_load[width=W](j)
            _finish[dt, W, False](s, cp.unsafe_offset(j), e, bias, W)
        if n % W != 0:
            var j = n // W * W
            var s = SIMD[dt, W](0)
            comptime for u in range(U):
                s = mul_add(xv[u], load_first[dt, W](row.unsafe_offset(u * b.rs + j), n - j), s)
            var bias = SIMD[dt, W](0)
            if e.bias != 0:
                bias = load_first[dt, W](ptr[dt](at[dt](e.bias, j)), n - j)
            _finish[dt, W, True](s, cp.unsafe_offset(j), e, bias, n - j)
        e = e.after_first()
        p += U
    while p < k:
        var xv = SIMD[dt, W](xp[unsafe_offset=p * x.cs])
        var row = bp.unsafe_offset(p * b.rs)
        for j in range(0, n, W):
            var bias = SIMD[dt, W](0)
            if e.bias != 0:
                bias = load_first[dt, W](ptr[dt](at[dt](e.bias, j)), n - j)
            _finish[dt, W, True](
                xv * load_first[dt, W](row.unsafe_offset(j), n - j), cp.unsafe_offset(j), e, bias, n - j
            )
        e = e.after_first()
        p += 1
