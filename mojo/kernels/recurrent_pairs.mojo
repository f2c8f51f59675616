"""The register tile of GEMM for pairs of bfloat16, on processors that multiply them (AVX512-BF16, from Zen 4 on).

The compiler knows nothing of the instruction at the level that the extension is built for, so it is written as assembly;
whether the processor has it is asked at run time.
"""

from std.sys import CompilationTarget
from std.sys._assembly import inlined_assembly

from kernels.cpu import has_bfloat16_pairs
from kernels.gemm_micro import MR, Epilogue, Mat, _finish, at, load_first, ptr

comptime F32 = DType.float32
comptime W = 16

comptime MAY_PAIR = CompilationTarget.has_avx512f()
"""Whether the target may have the instruction."""


def can_pair() -> Bool:
    """Whether this processor has it."""
    return MAY_PAIR and has_bfloat16_pairs()


@always_inline
def _dot(a: SIMD[F32, W], b: SIMD[F32, W], c: SIMD[F32, W]) -> SIMD[F32, W]:
    """c + a * b, where the lanes of a and b are the bits of two bfloat16 that follow each other along k."""
    return inlined_assembly["vdpbf16ps $2, $1, $0", SIMD[F32, W], constraints="=v,v,v,0", has_side_effect=False](
        a, b, c
    )


@no_inline
def _micro[mr: Int, nv: Int](am: Mat, b0: Int, bs: Int, kc: Int, c0: Int, crs: Int, nr: Int, ep: Epilogue[F32]):
    """C[mr, nr] from A[mr, kc words] and B[kc words, nv vectors], as the kernel of gemm_micro."""
    var acc = Array[SIMD[F32, W], mr * nv](fill=0)
    var a = ptr[F32](am.address)
    var b = ptr[F32](b0)
    for _ in range(kc):
        var bv = Array[SIMD[F32, W], nv](fill=0)
        comptime for v in range(nv):
            bv[v] = b.unsafe_load[width=W](v * W)
        comptime for i in range(mr):
            var av = SIMD[F32, W](a[unsafe_offset=i * am.rs])
            comptime for v in range(nv):
                acc[i * nv + v] = _dot(av, bv[v], acc[i * nv + v])
        a = a.unsafe_offset(am.cs)
        b = b.unsafe_offset(bs)
    comptime for v in range(nv):
        var lanes = min(nr - v * W, W)
        if lanes > 0:
            var bias = SIMD[F32, W](0)
            if ep.bias != 0:
                bias = load_first[F32, W](ptr[F32](at[F32](ep.bias, v * W)), lanes)
            comptime for i in range(mr):
                _finish[F32, W, True](acc[i * nv + v], ptr[F32](at[F32](c0, i * crs + v * W)), ep, bias, lanes)


@always_inline
def pair_rows(mr: Int, a: Mat, b: Int, bs: Int, kc: Int, c: Int, crs: Int, nr: Int, ep: Epilogue[F32]):
    """The kernel for mr rows, 1..MR, and nr columns, 1..2 W."""
    comptime for q in reversed(range(1, MR + 1)):
        if mr == q:
            if nr > W:
                _micro[q, 2](a, b, bs, kc, c, crs, nr, ep)
            else:
                _micro[q, 1](a, b, bs, kc, c, crs, nr, ep)
            return
