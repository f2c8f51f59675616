"""GEMM speed: GFLOP/s of float32 products beside the peak of this machine, which a loop of register FMAs measures.

    mojo build -I mojo benchmarks/kernels/bench_gemm.mojo -o build/bench_gemm && build/bench_gemm

Each figure is the best of many runs. `share` is of the peak with the same number of threads.
"""
from std.math import fma
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.time import perf_counter_ns

from kernels.gemm import gemm
from kernels.gemm_micro import MR, width
from tensor.threads import Body, num_threads, parallel, set_num_threads, stop_threads

comptime F32 = DType.float32
comptime W = width[F32]()
comptime CHAINS = 24 if W == 16 else 12
comptime ROUNDS = 1_000_000


@fieldwise_init
struct Peak(Body, Copyable):
    """Independent chains of fused multiply-adds that touch no memory."""

    var out: Pointer[Float32, MutUntrackedOrigin]

    def run(self, task: Int, worker: Int):
        var acc = Array[SIMD[F32, W], CHAINS](fill=0)
        var x = SIMD[F32, W](self.out[])
        var y = x * 0.5
        for _ in range(ROUNDS):
            comptime for i in range(CHAINS):
                acc[i] = fma(x, y, acc[i])
        var sum = SIMD[F32, W](0)
        comptime for i in range(CHAINS):
            sum += acc[i]
        self.out[unsafe_offset=16 * (task + 1)] = sum.reduce_add()


def peak(threads: Int) -> Float64:
    var out = unsafe_alloc[Float32](16 * (threads + 1))
    out[] = 1.25
    var best = 0.0
    for _ in range(10):
        var t = perf_counter_ns()
        parallel(Peak(out), threads)
        var ns = Float64(perf_counter_ns() - t)
        best = max(best, Float64(threads * ROUNDS * CHAINS * W * 2) / ns)
    out.unsafe_free()
    return best


def speed(m: Int, n: Int, k: Int, a_by_columns: Bool, b_by_columns: Bool) -> Float64:
    var a = unsafe_alloc[Float32](m * k, alignment=64)
    var b = unsafe_alloc[Float32](k * n, alignment=64)
    var c = unsafe_alloc[Float32](m * n, alignment=64)
    for i in range(m * k):
        a[unsafe_offset=i] = Float32(i % 7)
    for i in range(k * n):
        b[unsafe_offset=i] = Float32(i % 5)
    var flops = Float64(2 * m * n * k)
    var inner = max(1, Int(2e7 / flops))
    var best = 0.0
    var begin = perf_counter_ns()
    while perf_counter_ns() - begin < 300_000_000:
        var t = perf_counter_ns()
        for _ in range(inner):
            gemm[F32](
                m,
                n,
                k,
                1,
                Int(a),
                1 if a_by_columns else k,
                m if a_by_columns else 1,
                Int(b),
                1 if b_by_columns else n,
                k if b_by_columns else 1,
                0,
                Int(c),
                n,
                1,
            )
        best = max(best, flops * Float64(inner) / Float64(perf_counter_ns() - t))
    a.unsafe_free()
    b.unsafe_free()
    c.unsafe_free()
    return best


def line(name: String, m: Int, n: Int, k: Int, a_by_columns: Bool, b_by_columns: Bool, top: Float64):
    var s = speed(m, n, k, a_by_columns, b_by_columns)
    print(t"  {name} {m}x{k}x{n}: {Int(s)} GFLOP/s, share {Int(100 * s / top)} %")


def main():
    var all = num_threads()
    var threads = 1
    while threads <= all:
        set_num_threads(threads)
        var top = peak(threads)
        print(t"{threads} threads, vectors of {W}, tile {MR}x{2 * W}: FMA peak {Int(top)} GFLOP/s")
        for s in [64, 128, 256, 512, 1024, 2048]:
            line("square", s, s, s, False, False, top)
        for m in [64, 512]:
            line("X @ W.T ", m, 256, 784, False, True, top)
            line("dY @ W  ", m, 784, 256, False, False, top)
            line("dY.T @ X", 256, 784, m, True, False, top)
            line("X @ W.T ", m, 10, 128, False, True, top)
            line("dY @ W  ", m, 128, 10, False, False, top)
            line("dY.T @ X", 10, 128, m, True, False, top)
        threads = all if threads < all else all + 1
    stop_threads()
