"""The inner loops of convolution: register tiles whose vectors are pixels or output channels, and what moves pixels."""
from std.sys import size_of
from std.sys.intrinsics import masked_load, masked_store

from kernels.gemm_micro import MR, at, first_lanes, mul_add, ptr, width
from kernels.gemm_pack import transpose

comptime MAX_NR = 32


struct Segments:
    """The pixels of one panel as runs that are contiguous in the staged input."""

    var count: Int
    var joined: Bool  # the pixels are one run in the output
    var source: Array[Int, MAX_NR]
    var lane: Array[Int, MAX_NR]
    var length: Array[Int, MAX_NR]
    var target: Array[Int, MAX_NR]

    def __init__(out self):
        self.count = 0
        self.joined = True
        self.source = Array[Int, MAX_NR](uninitialized=True)
        self.lane = Array[Int, MAX_NR](uninitialized=True)
        self.length = Array[Int, MAX_NR](uninitialized=True)
        self.target = Array[Int, MAX_NR](uninitialized=True)


@always_inline
def _gather[dt: DType, count: Int, exact: Bool](base: Int, offsets: Int, kc: Int, segments: Segments, d: Int):
    comptime W = width[dt]()
    comptime NR = 2 * W
    var op = ptr[DType.int](offsets)
    var dp = ptr[dt](d)
    var source = Array[Int, count](fill=0)
    var lane = Array[Int, count](fill=0)
    var mask = Array[SIMD[DType.bool, W], count](fill=first_lanes[W](W))
    comptime for i in range(count):
        source[i] = segments.source[i]
        lane[i] = segments.lane[i]
        comptime if exact:
            mask[i] = first_lanes[W](segments.length[i])
    for _ in range(kc):
        var s = ptr[dt](at[dt](base, Int(op[])))
        comptime for i in range(count):
            var from_ = s.unsafe_offset(source[i])
            # A short run is written as a whole vector: the next run, or the next row, covers what is too much.
            comptime if exact:
                dp.unsafe_store(lane[i], masked_load[W](from_, mask[i], SIMD[dt, W](0)))
            else:
                dp.unsafe_store(lane[i], from_.unsafe_load[width=W](0))
        op = op.unsafe_offset(1)
        dp = dp.unsafe_offset(NR)


@no_inline
def gather_panel[dt: DType, exact: Bool](base: Int, offsets: Int, kc: Int, segments: Segments, d: Int):
    """d[k, lane] = base[offsets[k] + pixel], for kc rows of NR lanes; `exact` reads nothing but the pixels."""
    comptime W = width[dt]()
    comptime for n in range(1, 7):
        if segments.count == n:
            _gather[dt, n, exact](base, offsets, kc, segments, d)
            return
    var op = ptr[DType.int](offsets)
    for k in range(kc):
        var s = ptr[dt](at[dt](base, Int(op[unsafe_offset=k])))
        var row = ptr[dt](at[dt](d, k * 2 * W))
        for i in range(segments.count):
            var from_ = s.unsafe_offset(segments.source[i])
            comptime if exact:
                var mask = first_lanes[W](segments.length[i])
                row.unsafe_store(segments.lane[i], masked_load[W](from_, mask, SIMD[dt, W](0)))
            else:
                row.unsafe_store(segments.lane[i], from_.unsafe_load[width=W](0))


@fieldwise_init
struct Spot(ImplicitlyCopyable, Movable):
    """Where a panel of two vectors of pixels is read and written: addresses, and how many lanes of each are pixels."""

    var b0: Int
    var b1: Int
    var c0: Int
    var c1: Int
    var lanes0: Int
    var lanes1: Int


@no_inline
def tile[
    dt: DType, mr: Int, nv: Int, direct: Bool
](a0: Int, spot: Spot, offsets: Int, kc: Int, crs: Int, bias: Int, first: Bool):
    """C[mr, nv vectors] (+)= A[kc][MR] (packed) times B[kc, nv vectors]; the first block starts from each row's bias.

    Row k of B is offsets[k] elements after its first with `direct`, else k panel widths.
    """
    comptime W = width[dt]()
    var acc = Array[SIMD[dt, W], mr * nv](fill=0)
    if first:
        if bias != 0:
            comptime for i in range(mr):
                var start = SIMD[dt, W](ptr[dt](bias)[unsafe_offset=i])
                comptime for v in range(nv):
                    acc[i * nv + v] = start
    else:
        comptime for v in range(nv):
            var mask = first_lanes[W](spot.lanes0 if v == 0 else spot.lanes1)
            var c = spot.c0 if v == 0 else spot.c1
            comptime for i in range(mr):
                acc[i * nv + v] = masked_load[W](ptr[dt](at[dt](c, i * crs)), mask, SIMD[dt, W](0))
    var a = ptr[dt](a0)
    var b0 = ptr[dt](spot.b0)
    var b1 = ptr[dt](spot.b1)
    for k in range(kc):
        var offset: Int
        comptime if direct:
            offset = Int(ptr[DType.int](offsets)[unsafe_offset=k])
        else:
            offset = k * 2 * W
        var bv = Array[SIMD[dt, W], nv](fill=0)
        bv[0] = b0.unsafe_load[width=W](offset)
        comptime if nv == 2:
            bv[1] = b1.unsafe_load[width=W](offset)
        comptime for i in range(mr):
            var av = SIMD[dt, W](a[unsafe_offset=i])
            comptime for v in range(nv):
                acc[i * nv + v] = mul_add(av, bv[v], acc[i * nv + v])
        a = a.unsafe_offset(MR)
    comptime for v in range(nv):
        var lanes = spot.lanes0 if v == 0 else spot.lanes1
        var c = spot.c0 if v == 0 else spot.c1
        if lanes >= W:
            comptime for i in range(mr):
                ptr[dt](at[dt](c, i * crs)).unsafe_store(0, acc[i * nv + v])
        else:
            var mask = first_lanes[W](lanes)
            comptime for i in range(mr):
                masked_store[W](acc[i * nv + v], ptr[dt](at[dt](c, i * crs)), mask)


@always_inline
def tile_rows[
    dt: DType, direct: Bool
](mr: Int, a: Int, spot: Spot, offsets: Int, kc: Int, crs: Int, bias: Int, first: Bool):
    """`tile` for 1..MR rows."""
    comptime for q in reversed(range(1, MR + 1)):
        if mr == q:
            if spot.lanes1 > 0:
                tile[dt, q, 2, direct](a, spot, offsets, kc, crs, bias, first)
            else:
                tile[dt, q, 1, direct](a, spot, offsets, kc, crs, bias, first)
            return


@always_inline
def store_run[src: DType, dt: DType](s: Int, d: Int, step: Int, n: Int):
    """n sums to memory of dtype `src`, `step` elements apart; a whole vector is read past the last."""
    comptime W = width[dt]()
    var sp = ptr[dt](s)
    var dp = ptr[src](d)
    var j = 0
    if step == 1:
        while j + W <= n:
            dp.unsafe_store(j, sp.unsafe_load[width=W](j).cast[src]())
            j += W
        comptime if size_of[Scalar[src]]() >= 4:
            if j < n:
                masked_store[W](sp.unsafe_load[width=W](j).cast[src](), dp.unsafe_offset(j), first_lanes[W](n - j))
            return
    while j < n:
        dp[unsafe_offset=j * step] = sp[unsafe_offset=j].cast[src]()
        j += 1


@no_inline
def pixel_tile[dt: DType, mr: Int, nv: Int](x0: Int, offsets: Int, kc: Int, b0: Int, c0: Int, first: Bool):
    """C[mr, nv vectors] (+)= sum over k of x[offsets[k] + pixel] * B[k]: neighbouring pixels by output channels.

    Rows of B and C are two vectors apart.
    """
    comptime W = width[dt]()
    var acc = Array[SIMD[dt, W], mr * nv](fill=0)
    var b = ptr[dt](b0)
    var c = ptr[dt](c0)
    for k in range(kc):
        var x = ptr[dt](at[dt](x0, Int(ptr[DType.int](offsets)[unsafe_offset=k])))
        var bv = Array[SIMD[dt, W], nv](fill=0)
        comptime for v in range(nv):
            bv[v] = b.unsafe_load[width=W](v * W)
        comptime for i in range(mr):
            var av = SIMD[dt, W](x[unsafe_offset=i])
            comptime for v in range(nv):
                acc[i * nv + v] = mul_add(av, bv[v], acc[i * nv + v])
        b = b.unsafe_offset(2 * W)
    comptime for i in range(mr):
        comptime for v in range(nv):
            comptime place = (2 * i + v) * W
            if not first:
                acc[i * nv + v] += c.unsafe_load[width=W](place)
            c.unsafe_store(place, acc[i * nv + v])


@always_inline
def pixel_row[dt: DType, nv: Int](x: Int, count: Int, offsets: Int, kc: Int, b: Int, c: Int, first: Bool):
    """`pixel_tile` for a row of `count` pixels, cut into tiles that differ by one pixel at most."""
    comptime NR = 2 * width[dt]()
    var tiles = (count + MR - 1) // MR
    for t in range(tiles):
        var pixel = count * t // tiles
        var mr = count * (t + 1) // tiles - pixel
        comptime for q in reversed(range(1, MR + 1)):
            if mr == q:
                pixel_tile[dt, q, nv](at[dt](x, pixel), offsets, kc, b, at[dt](c, pixel * NR), first)


@no_inline
def turn_pixels[
    src: DType, dt: DType
](sums: Int, pixels: Int, channels: Int, to: Int, step: Int, channel_step: Int, bias: Int):
    """Pixels by channels (a vector of them; rows two vectors apart) to planes of pixels, which are `step` apart.

    Rows up to a whole vector past the last pixel are read.
    """
    comptime W = width[dt]()
    var bias_of = SIMD[dt, W](0)
    if bias != 0:
        bias_of = masked_load[W](ptr[dt](bias), first_lanes[W](channels), bias_of)
    var turned = Array[Scalar[dt], W](uninitialized=True)
    for p in range(0, pixels, W):
        var r = Array[SIMD[dt, W], W](fill=0)
        comptime for i in range(W):
            r[i] = ptr[dt](sums).unsafe_load[width=W]((p + i) * 2 * W) + bias_of
        transpose[dt, W](r)
        var count = min(W, pixels - p)
        comptime for i in range(W):
            if i < channels:
                var place = at[src](to, i * channel_step + p * step)
                if count == W and step == 1:
                    ptr[src](place).unsafe_store(0, r[i].cast[src]())
                else:
                    Pointer(to=turned).unsafe_bitcast[Scalar[dt]]().unsafe_store(0, r[i])
                    store_run[src, dt](Int(Pointer(to=turned)), place, step, count)
    _ = turned
