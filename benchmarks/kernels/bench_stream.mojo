"""Memory bandwidth of a copy on the thread pool: what elementwise kernels can reach at best on this machine.

    mojo build -I mojo benchmarks/kernels/bench_stream.mojo -o build/bench_stream && build/bench_stream

GB/s counts the bytes read and the bytes written (10^9 bytes). Each figure is the best of many runs over memory that has
been touched before. `copy` writes through the caches, `copy, past caches` with non-temporal stores.
"""
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.sys import simd_width_of
from std.time import perf_counter_ns

from tensor.threads import Body, num_threads, parallel, set_num_threads, stop_threads, task_range, tasks_for

comptime F32 = DType.float32
comptime W = Int(simd_width_of[F32]())
comptime P = Pointer[Float32, MutUntrackedOrigin]


@fieldwise_init
struct Copy[past_caches: Bool](Body, Copyable):
    var source: P
    var target: P
    var n: Int
    var ntasks: Int

    def run(self, task: Int, worker: Int):
        var part = task_range(self.n, self.ntasks, task, 4 * W)
        var i = part[0]
        while i + 4 * W <= part[1]:
            comptime for u in range(4):
                var x = self.source.unsafe_load[width=W](i + u * W)
                self.target.unsafe_store[alignment=4 * W, non_temporal=Self.past_caches](i + u * W, x)
            i += 4 * W
        while i < part[1]:
            self.target[unsafe_offset=i] = self.source[unsafe_offset=i]
            i += 1


@fieldwise_init
struct Add(Body, Copyable):
    var a: P
    var b: P
    var target: P
    var n: Int
    var ntasks: Int

    def run(self, task: Int, worker: Int):
        var part = task_range(self.n, self.ntasks, task, 4 * W)
        var i = part[0]
        while i + W <= part[1]:
            self.target.unsafe_store(i, self.a.unsafe_load[width=W](i) + self.b.unsafe_load[width=W](i))
            i += W
        while i < part[1]:
            self.target[unsafe_offset=i] = self.a[unsafe_offset=i] + self.b[unsafe_offset=i]
            i += 1


def best[B: Body](body: B, ntasks: Int, bytes: Int) -> Float64:
    """GB/s of the fastest of the runs of a third of a second."""
    var fastest = Int.MAX
    var begin = perf_counter_ns()
    while perf_counter_ns() - begin < 300_000_000:
        var t = perf_counter_ns()
        parallel(body, ntasks)
        fastest = min(fastest, perf_counter_ns() - t)
    return Float64(bytes) / Float64(fastest)


def rounded(x: Float64) -> Float64:
    return Float64(Int(x * 10)) / 10


def main():
    var all = num_threads()
    var threads = 1
    while threads <= all:
        set_num_threads(threads)
        print(t"{threads} threads")
        for n in [10_000, 100_000, 1_000_000, 10_000_000]:
            var a = unsafe_alloc[Float32](n, alignment=64)
            var b = unsafe_alloc[Float32](n, alignment=64)
            var c = unsafe_alloc[Float32](n, alignment=64)
            for i in range(n):
                a[unsafe_offset=i] = Float32(i)
                b[unsafe_offset=i] = 1
                c[unsafe_offset=i] = 0
            var ntasks = tasks_for(n)
            var copy = best(Copy[False](a, c, n, ntasks), ntasks, 8 * n)
            var past = best(Copy[True](a, c, n, ntasks), ntasks, 8 * n)
            var add = best(Add(a, b, c, n, ntasks), ntasks, 12 * n)
            print(t"  {n} float32: copy {rounded(copy)}, copy past caches {rounded(past)}, add {rounded(add)} GB/s")
            a.unsafe_free()
            b.unsafe_free()
            c.unsafe_free()
        threads = all if threads < all else all + 1
    stop_threads()
