"""GEMM of bfloat16 on instructions beyond the level that the extension is compiled for, chosen at run time: the tile
registers of AMX (Intel, from Sapphire Rapids on), or the vectors of pairs of AVX512-BF16 (AMD, from Zen 4 on).

A block of C is 32 x 32: four tiles of 16 x 16 float32 sums, fed by two tiles of A (16 rows of 32 elements) and two of B
(32 rows of 16 columns, in pairs along k). The compiler knows nothing of the instructions: the loop over k is one piece
of assembly, so the extension still runs on every CPU of its level.
"""
from std.memory import bitcast
from std.sys import CompilationTarget
from std.sys._assembly import inlined_assembly
from std.sys.intrinsics import masked_load, masked_store

from kernels.cpu import has_amx, has_bfloat16_pairs
from kernels.gemm_micro import Epilogue, Mat, at, first_lanes, mul_add, ptr
from kernels.gemm_pack import pack_pairs
from kernels.narrow import narrow, to_bfloat16
from kernels.workspace import Workspace
from tensor.memory import memcpy, memset
from tensor.move import transpose
from tensor.threads import Body, num_threads, parallel

comptime B16 = DType.bfloat16
comptime F32 = DType.float32
comptime TILE = 16  # rows of a tile, columns of a tile of sums
comptime DEPTH = 32  # elements along k in a tile
comptime BLOCK = 2 * TILE
comptime STRIP = 8  # rows of a block that AVX512-BF16 sums at a time: 16 registers, which hide the latency
comptime PACK_BYTES = 16 << 20
comptime TASK_BYTES = 64 * 8 + 4 * 1024  # the tile configuration, the kernel's arguments, four tiles of sums


@always_inline
def _load_configuration(address: Int):
    """Eight tiles of 16 rows of 64 bytes."""
    memset(address, 0, 64)
    ptr[DType.uint8](address)[] = 1
    for t in range(8):
        ptr[DType.uint16](address + 16)[unsafe_offset=t] = 64
        ptr[DType.uint8](address + 48)[unsafe_offset=t] = TILE
    inlined_assembly["ldtilecfg ($0)", NoneType, constraints="r,~{memory}", has_side_effect=True](address)


@always_inline
def _release():
    inlined_assembly["tilerelease", NoneType, constraints="~{memory}", has_side_effect=True]()


@always_inline
def _block(arguments: Int):
    """Sums of a block; `arguments` is the address of: two addresses in A and the bytes between its rows, two in B, the
    steps along k, where the four tiles of sums go."""
    inlined_assembly[
        """movq ($0), %rax
movq 8($0), %rcx
movq 16($0), %rdx
movq 24($0), %rsi
movq 32($0), %rdi
movq 40($0), %r8
movq 48($0), %r9
movq $$64, %r10
tilezero %tmm0
tilezero %tmm1
tilezero %tmm2
tilezero %tmm3
1:
tileloadd (%rsi,%r10), %tmm6
tileloadd (%rax,%rdx), %tmm4
tdpbf16ps %tmm6, %tmm4, %tmm0
tileloadd (%rdi,%r10), %tmm7
tdpbf16ps %tmm7, %tmm4, %tmm1
tileloadd (%rcx,%rdx), %tmm5
tdpbf16ps %tmm6, %tmm5, %tmm2
tdpbf16ps %tmm7, %tmm5, %tmm3
addq $$64, %rax
addq $$64, %rcx
addq $$1024, %rsi
addq $$1024, %rdi
decq %r8
jnz 1b
tilestored %tmm0, (%r9,%r10)
tilestored %tmm1, 1024(%r9,%r10)
tilestored %tmm2, 2048(%r9,%r10)
tilestored %tmm3, 3072(%r9,%r10)""",
        NoneType,
        constraints="r,~{rax},~{rcx},~{rdx},~{rsi},~{rdi},~{r8},~{r9},~{r10},~{memory},~{flags}",
        has_side_effect=True,
    ](arguments)


@always_inline
def _strip(arguments: Int):
    """Sums of 8 rows of a block by AVX512-BF16; `arguments` is the address of: the first row of A, the bytes between its
    rows, two addresses in B, the pairs along k, where the sums go (as those of `_block`)."""
    inlined_assembly[
        """movq ($0), %rax
movq 8($0), %rdx
movq 16($0), %rsi
movq 24($0), %rdi
movq 32($0), %r9
movq 40($0), %r10
leaq (%rdx,%rdx,2), %r8
leaq (%rax,%r8), %rcx
addq %rcx, %r8
vpxord %zmm0, %zmm0, %zmm0
vpxord %zmm1, %zmm1, %zmm1
vpxord %zmm2, %zmm2, %zmm2
vpxord %zmm3, %zmm3, %zmm3
vpxord %zmm4, %zmm4, %zmm4
vpxord %zmm5, %zmm5, %zmm5
vpxord %zmm6, %zmm6, %zmm6
vpxord %zmm7, %zmm7, %zmm7
vpxord %zmm8, %zmm8, %zmm8
vpxord %zmm9, %zmm9, %zmm9
vpxord %zmm10, %zmm10, %zmm10
vpxord %zmm11, %zmm11, %zmm11
vpxord %zmm12, %zmm12, %zmm12
vpxord %zmm13, %zmm13, %zmm13
vpxord %zmm14, %zmm14, %zmm14
vpxord %zmm15, %zmm15, %zmm15
1:
vmovups (%rsi), %zmm16
vmovups (%rdi), %zmm17
vpbroadcastd (%rax), %zmm18
vdpbf16ps %zmm16, %zmm18, %zmm0
vdpbf16ps %zmm17, %zmm18, %zmm1
vpbroadcastd (%rax,%rdx), %zmm19
vdpbf16ps %zmm16, %zmm19, %zmm2
vdpbf16ps %zmm17, %zmm19, %zmm3
vpbroadcastd (%rax,%rdx,2), %zmm20
vdpbf16ps %zmm16, %zmm20, %zmm4
vdpbf16ps %zmm17, %zmm20, %zmm5
vpbroadcastd (%rcx), %zmm21
vdpbf16ps %zmm16, %zmm21, %zmm6
vdpbf16ps %zmm17, %zmm21, %zmm7
vpbroadcastd (%rcx,%rdx), %zmm18
vdpbf16ps %zmm16, %zmm18, %zmm8
vdpbf16ps %zmm17, %zmm18, %zmm9
vpbroadcastd (%rcx,%rdx,2), %zmm19
vdpbf16ps %zmm16, %zmm19, %zmm10
vdpbf16ps %zmm17, %zmm19, %zmm11
vpbroadcastd (%r8), %zmm20
vdpbf16ps %zmm16, %zmm20, %zmm12
vdpbf16ps %zmm17, %zmm20, %zmm13
vpbroadcastd (%r8,%rdx), %zmm21
vdpbf16ps %zmm16, %zmm21, %zmm14
vdpbf16ps %zmm17, %zmm21, %zmm15
addq $$4, %rax
addq $$4, %rcx
addq $$4, %r8
addq $$64, %rsi
addq $$64, %rdi
decq %r9
jnz 1b
vmovups %zmm0, 0(%r10)
vmovups %zmm1, 1024(%r10)
vmovups %zmm2, 64(%r10)
vmovups %zmm3, 1088(%r10)
vmovups %zmm4, 128(%r10)
vmovups %zmm5, 1152(%r10)
vmovups %zmm6, 192(%r10)
vmovups %zmm7, 1216(%r10)
vmovups %zmm8, 256(%r10)
vmovups %zmm9, 1280(%r10)
vmovups %zmm10, 320(%r10)
vmovups %zmm11, 1344(%r10)
vmovups %zmm12, 384(%r10)
vmovups %zmm13, 1408(%r10)
vmovups %zmm14, 448(%r10)
vmovups %zmm15, 1472(%r10)""",
        NoneType,
        constraints="r,~{rax},~{rcx},~{rdx},~{rsi},~{rdi},~{r8},~{r9},~{r10},~{zmm0},~{zmm1},~{zmm2},~{zmm3},~{zmm4},~{zmm5},~{zmm6},~{zmm7},~{zmm8},~{zmm9},~{zmm10},~{zmm11},~{zmm12},~{zmm13},~{zmm14},~{zmm15},~{zmm16},~{zmm17},~{zmm18},~{zmm19},~{zmm20},~{zmm21},~{memory},~{flags}",
        has_side_effect=True,
    ](arguments)


def _pack_rows(a: Mat, rows: Int, k: Int, d: Int, depth: Int):
    """Copies rows of A to rows of `depth` elements, contiguous along k; zeros after k and in the rows up to a tile."""
    if a.rs == 1 and a.cs != 1:
        transpose(d, 2 * depth, a.address, 2 * a.cs, k, rows, 2)
    for i in range(TILE):
        var to = at[B16](d, i * depth)
        if i >= rows:
            memset(to, 0, 2 * depth)
            continue
        if a.cs == 1:
            memcpy(to, a.where[B16](i, 0), 2 * k)
        elif a.rs != 1:
            for p in range(k):
                ptr[DType.uint16](to)[unsafe_offset=p] = ptr[DType.uint16](a.where[B16](i, p))[]
        memset(at[B16](to, k), 0, 2 * (depth - k))


@fieldwise_init
struct _Pack(Body, ImplicitlyCopyable, Movable):
    """A task packs its share of the panels, of 16 columns of B or 16 rows of A each. Both operands are shared out alike, so
    that most of what a thread packs it also multiplies."""

    var b: Mat
    var n: Int
    var a: Mat
    var m: Int
    var k: Int
    var depth: Int
    var packed_b: Int
    var packed_a: Int
    var b_panels: Int
    var a_panels: Int
    var tasks: Int

    def run(self, task: Int, worker: Int):
        for t in range(task * self.b_panels // self.tasks, (task + 1) * self.b_panels // self.tasks):
            var j = t * TILE
            var to = at[B16](self.packed_b, j * self.depth)
            var words = (self.k + 1) // 2
            pack_pairs[TILE](self.b.t().part[B16](j, 0), min(TILE, self.n - j), self.k, to)
            memset(to + words * TILE * 4, 0, (self.depth // 2 - words) * TILE * 4)
        for t in range(task * self.a_panels // self.tasks, (task + 1) * self.a_panels // self.tasks):
            var i = t * TILE
            var to = at[B16](self.packed_a, i * self.depth)
            _pack_rows(self.a.part[B16](i, 0), max(0, min(TILE, self.m - i)), self.k, to, self.depth)


@fieldwise_init
struct _Multiply[amx: Bool](Body, ImplicitlyCopyable, Movable):
    """A task is a group of row blocks in one strip of 32 columns."""

    var m: Int
    var n: Int
    var depth: Int
    var a: Int  # rows of A: the address, the elements from row to row
    var a_step: Int
    var packed_b: Int
    var c: Mat
    var ep: Epilogue[F32]
    var scratch: Int  # TASK_BYTES for each worker
    var group: Int
    var groups: Int

    def run(self, task: Int, worker: Int):
        var space = self.scratch + worker * TASK_BYTES
        var sums = space + 512
        comptime if Self.amx:
            _load_configuration(space)
        var j = task // self.groups * BLOCK
        var first = task % self.groups * self.group * BLOCK
        for i in range(first, min(first + self.group * BLOCK, self.m), BLOCK):
            var a = at[B16](self.a, i * self.a_step)
            var b = at[B16](self.packed_b, j * self.depth)
            self._sum(a, b, space + 64, sums, min(BLOCK, self.m - i))
            for t in range(4):
                var row = i + t // 2 * TILE
                var column = j + t % 2 * TILE
                if row < self.m and column < self.n:
                    self._finish(sums + 1024 * t, row, column)
        comptime if Self.amx:
            _release()

    @always_inline
    def _sum(self, a: Int, b: Int, arguments: Int, sums: Int, rows: Int):
        """The sums of a block, of which AVX512-BF16 leaves out strips of rows that are not there."""
        var words = ptr[DType.int64](arguments)
        var next_b = at[B16](b, TILE * self.depth)
        comptime if Self.amx:
            words[unsafe_offset=0] = Int64(a)
            words[unsafe_offset=1] = Int64(at[B16](a, TILE * self.a_step))
            words[unsafe_offset=2] = Int64(2 * self.a_step)
            words[unsafe_offset=3] = Int64(b)
            words[unsafe_offset=4] = Int64(next_b)
            words[unsafe_offset=5] = Int64(self.depth // DEPTH)
            words[unsafe_offset=6] = Int64(sums)
            _block(arguments)
        else:
            words[unsafe_offset=1] = Int64(2 * self.a_step)
            words[unsafe_offset=2] = Int64(b)
            words[unsafe_offset=3] = Int64(next_b)
            words[unsafe_offset=4] = Int64(self.depth // 2)
            for r in range(0, rows, STRIP):
                words[unsafe_offset=0] = Int64(at[B16](a, r * self.a_step))
                words[unsafe_offset=5] = Int64(sums + r // TILE * 2048 + r % TILE * 64)
                _strip(arguments)

    @always_inline
    def _finish(self, sums: Int, row: Int, column: Int):
        """A tile of sums into C."""
        comptime W = 16
        var columns = min(TILE, self.n - column)
        var mask = first_lanes[W](columns)
        var zero = SIMD[DType.uint16, W](0)
        var bias = SIMD[F32, W](0)
        if self.ep.bias != 0:
            bias = _widened(masked_load[W](ptr[DType.uint16](at[B16](self.ep.bias, column)), mask, zero))
        for r in range(min(TILE, self.m - row)):
            var v = ptr[F32](sums).unsafe_load[width=W](r * W) * self.ep.alpha
            if self.c.cs == 1:
                var to = ptr[DType.uint16](self.c.where[B16](row + r, column))
                if self.ep.beta != 0:
                    v = mul_add[F32, W](SIMD[F32, W](self.ep.beta), _widened(masked_load[W](to, mask, zero)), v)
                masked_store[W](_narrowed(v + bias), to, mask)
                continue
            for q in range(columns):
                var to = ptr[B16](self.c.where[B16](row + r, column + q))
                var s = v[q] + bias[q]
                if self.ep.beta != 0:
                    s = mul_add[F32, 1](self.ep.beta, to[].cast[F32](), v[q]) + bias[q]
                to[] = narrow[B16](s)


@always_inline
def _widened(x: SIMD[DType.uint16, 16]) -> SIMD[F32, 16]:
    return bitcast[B16](x).cast[F32]()


@always_inline
def _narrowed(x: SIMD[F32, 16]) -> SIMD[DType.uint16, 16]:
    return to_bfloat16(x)


def gemm_bfloat16(m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[F32]) -> Bool:
    """C = alpha * A @ B + beta * C + bias with k >= 1; False when the CPU has no instructions for it, or the system no
    memory."""
    comptime if not CompilationTarget.has_avx512f():
        return False
    if has_amx():
        return _multiply[True](m, n, k, a, b, c, ep)
    return has_bfloat16_pairs() and _multiply[False](m, n, k, a, b, c, ep)


def _multiply[amx: Bool](m: Int, n: Int, k: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[F32]) -> Bool:
    var depth = (k + DEPTH - 1) // DEPTH * DEPTH
    var per_chunk = max(BLOCK, PACK_BYTES // (2 * depth) // BLOCK * BLOCK)
    for j in range(0, n, per_chunk):
        var nc = min(per_chunk, n - j)
        for i in range(0, m, per_chunk):
            var e = ep
            if e.bias != 0:
                e.bias = at[B16](e.bias, j)
            var mc = min(per_chunk, m - i)
            if not _chunk[amx](mc, nc, k, depth, a.part[B16](i, 0), b.part[B16](0, j), c.part[B16](i, j), e):
                return False
    return True


def _chunk[amx: Bool](m: Int, n: Int, k: Int, depth: Int, a: Mat, b: Mat, c: Mat, ep: Epilogue[F32]) -> Bool:
    var strips = (n + BLOCK - 1) // BLOCK
    var blocks = (m + BLOCK - 1) // BLOCK
    # rows of A that are whole tiles already are used where they lie
    var in_place = a.cs == 1 and k == depth and m % BLOCK == 0
    var a_bytes = 0 if in_place else blocks * BLOCK * depth * 2
    var b_bytes = strips * BLOCK * depth * 2
    var workers = num_threads()
    var ws = Workspace.take(a_bytes + b_bytes + workers * TASK_BYTES)
    if ws.address == 0:
        return False
    var packed_a = ws.address + b_bytes
    var a_panels = 0 if in_place else 2 * blocks
    var packs = max(2 * strips, a_panels)
    parallel(_Pack(b, n, a, m, k, depth, ws.address, packed_a, 2 * strips, a_panels, packs), packs, workers)
    var groups = min(blocks, max(1, 4 * workers // strips))
    var group = (blocks + groups - 1) // groups
    groups = (blocks + group - 1) // group
    var rows = a.address if in_place else packed_a
    var step = a.rs if in_place else depth
    parallel(
        _Multiply[amx](m, n, depth, rows, step, ws.address, c, ep, packed_a + a_bytes, group, groups),
        strips * groups,
        workers,
    )
    ws.give()
    return True
