"""The packing of the operands of GEMM into panels, by transposes in registers where the strides ask for it."""
from std.memory import bitcast
from std.sys.intrinsics import masked_load, masked_store
from std.utils.index import IndexList

from kernels.gemm_micro import Mat, first_lanes, ptr, width


def _exchange[w: Int, step: Int, high: Bool]() -> IndexList[w]:
    """Lanes of one butterfly of a transpose, as a shuffle of two vectors."""
    var r = IndexList[w]()
    for lane in range(w):
        comptime if high:
            r[lane] = lane + step if (lane & step) == 0 else w + lane
        else:
            r[lane] = lane if (lane & step) == 0 else w + lane - step
    return r


@always_inline
def transpose[dt: DType, w: Int](mut r: Array[SIMD[dt, w], w]):
    """Transposes w vectors of w lanes in registers."""
    comptime for stage in range(7):
        comptime step = 1 << stage
        comptime if step < w:
            comptime LOW = _exchange[w, step, False]()
            comptime HIGH = _exchange[w, step, True]()
            comptime for i in range(w):
                comptime if (i & step) == 0:
                    var lo = r[i].shuffle[mask=LOW](r[i + step])
                    var hi = r[i].shuffle[mask=HIGH](r[i + step])
                    r[i] = lo
                    r[i + step] = hi


@no_inline
def pack[src: DType, dst: DType, panel: Int](s: Mat, count: Int, kc: Int, d: Int):
    """Packs `count` (<= panel) rows of kc elements: d[p * panel + i] = s[i, p], and zeros for the rows past count.

    The rows are those of A, or the columns of B. Where either stride is 1 it goes by vectors.
    """
    var unit = s.rs
    var ks = s.cs
    comptime W = width[dst]()
    comptime NV = (panel + W - 1) // W
    var sp = ptr[src](s.address)
    var dp = ptr[dst](d)
    if unit == 1 and count == panel and panel % W == 0:
        for p in range(kc):
            comptime for v in range(NV):
                dp.unsafe_store(p * panel + v * W, sp.unsafe_load[width=W](p * ks + v * W).cast[dst]())
    elif unit == 1:
        comptime for v in range(NV):
            var inside = first_lanes[W](count - v * W)
            var room = first_lanes[W](panel - v * W)
            for p in range(kc):
                var x = masked_load[W](sp.unsafe_offset(p * ks + v * W), inside, SIMD[src, W](0))
                masked_store[W](x.cast[dst](), dp.unsafe_offset(p * panel + v * W), room)
    elif ks == 1:
        comptime for v in range(NV):
            var n = max(0, min(count - v * W, W))
            for p in range(0, kc, W):
                var depth = min(W, kc - p)
                var r = Array[SIMD[dst, W], W](fill=0)
                if depth == W:
                    comptime for i in range(W):
                        comptime if v * W + i < panel:
                            if i < n:
                                r[i] = sp.unsafe_load[width=W]((v * W + i) * unit + p).cast[dst]()
                else:
                    var inside = first_lanes[W](depth)
                    comptime for i in range(W):
                        comptime if v * W + i < panel:
                            if i < n:
                                var at_ = sp.unsafe_offset((v * W + i) * unit + p)
                                r[i] = masked_load[W](at_, inside, SIMD[src, W](0)).cast[dst]()
                transpose[dst, W](r)
                var room = first_lanes[W](panel - v * W)
                comptime for q in range(W):
                    if q < depth:
                        var to = dp.unsafe_offset((p + q) * panel + v * W)
                        comptime if (v + 1) * W <= panel:
                            to.unsafe_store(0, r[q])
                        else:
                            masked_store[W](r[q], to, room)
    else:
        for p in range(kc):
            for i in range(count):
                dp[unsafe_offset=p * panel + i] = sp[unsafe_offset=i * unit + p * ks].cast[dst]()
            for i in range(count, panel):
                dp[unsafe_offset=p * panel + i] = 0


@no_inline
def pack_pairs[panel: Int](s: Mat, count: Int, k: Int, d: Int):
    """As `pack`, for bfloat16 in pairs along k: word d[q * panel + i], a float32, is elements 2q and 2q + 1 of row i.

    Elements past k and rows past `count` are zeros.
    """
    var unit = s.rs
    var ks = s.cs
    comptime U16 = DType.uint16
    comptime F32 = DType.float32
    comptime W = width[F32]()
    comptime NV = (panel + W - 1) // W
    var sp = ptr[U16](s.address)
    var dp = ptr[F32](d)
    var words = (k + 1) // 2
    if unit == 1:
        comptime for v in range(NV):
            var inside = first_lanes[W](count - v * W)
            var room = first_lanes[W](panel - v * W)
            var zero = SIMD[U16, W](0)
            for q in range(words):
                var even = masked_load[W](sp.unsafe_offset(2 * q * ks + v * W), inside, zero)
                var odd = zero
                if 2 * q + 1 < k:
                    odd = masked_load[W](sp.unsafe_offset((2 * q + 1) * ks + v * W), inside, zero)
                masked_store[W](bitcast[F32, W](even.interleave(odd)), dp.unsafe_offset(q * panel + v * W), room)
    elif ks == 1:
        comptime for v in range(NV):
            var room = first_lanes[W](panel - v * W)
            for q in range(0, words, W):
                var r = Array[SIMD[F32, W], W](fill=0)
                var inside = first_lanes[2 * W](k - 2 * q)
                comptime for i in range(W):
                    if v * W + i < count:
                        var from_ = sp.unsafe_offset((v * W + i) * unit + 2 * q)
                        r[i] = bitcast[F32, W](masked_load[2 * W](from_, inside, SIMD[U16, 2 * W](0)))
                transpose[F32, W](r)
                comptime for j in range(W):
                    if q + j < words:
                        masked_store[W](r[j], dp.unsafe_offset((q + j) * panel + v * W), room)
    else:
        var to = ptr[U16](d)
        for q in range(words):
            for i in range(panel):
                comptime for half in range(2):
                    var x = UInt16(0)
                    if i < count and 2 * q + half < k:
                        x = sp[unsafe_offset=i * unit + (2 * q + half) * ks]
                    to[unsafe_offset=2 * (q * panel + i) + half] = x
