"""Convolution speed: GFLOP/s of float32 beside the peak of this machine, which a loop of register FMAs measures.

    mojo build -I mojo benchmarks/kernels/bench_conv.mojo -o build/bench_conv && build/bench_conv

Each figure is the best of many runs, for the result, the derivative by the input and the derivative by the weights.
`share` is of the peak with the same number of threads.
"""
from std.math import fma
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.sys import argv
from std.time import perf_counter_ns

from kernels.conv_stage import Axis, Image
from kernels.conv_taps import Filter, TapConv
from kernels.conv_weight import WeightGrad
from kernels.gemm_micro import width
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


@fieldwise_init
struct Shape(ImplicitlyCopyable, Movable):
    var n: Int
    var c: Int
    var size: Int
    var out: Int
    var kernel: Int
    var stride: Int
    var padding: Int


def filled(n: Int) -> Int:
    var p = unsafe_alloc[Float32](n, alignment=64)
    for i in range(n):
        p[unsafe_offset=i] = Float32(i % 7 - 3) * 0.1
    return Int(p)


def image(data: Int, n: Int, c: Int, h: Int, w: Int) -> Image:
    return Image(data, n, c, h, w, c * h * w, h * w, w, 1, 1, 0)


def run(kind: Int, s: Shape, x: Int, weight: Int, y: Int):
    """0: the result; 1: the derivative by the input (stride 1 only); 2: by the weights."""
    var o = (s.size + 2 * s.padding - s.kernel) // s.stride + 1
    var xi = image(x, s.n, s.c, s.size, s.size)
    var yi = image(y, s.n, s.out, o, o)
    var taps = List[Int]()
    for i in range(s.kernel * s.kernel):
        taps.append(i)
    var step = s.kernel * s.kernel
    var slabs = Axis.window(1, 1, 1, 0, 1, 1)
    if kind == 0:
        var axis = Axis.window(s.size, o, s.stride, s.padding, s.kernel, 1)
        var filter = Filter(weight, 0, s.c * step, step, taps^)
        var conv = TapConv[F32](xi, slabs^, axis.copy(), axis.copy(), 1, s.c, s.out, filter^, yi)
        _ = conv.go(0, 0)
    elif kind == 1:
        var positions = List[Int]()
        for k in range(s.kernel):
            positions.append(s.kernel - 1 - k)
        var axis = Axis(o, s.size, 1, s.kernel - 1 - s.padding, positions^)
        var filter = Filter(weight, 0, step, s.c * step, taps^)
        var conv = TapConv[F32](yi, slabs^, axis.copy(), axis.copy(), 1, s.out, s.c, filter^, xi)
        _ = conv.go(0, 0)
    else:
        var axis = Axis.window(s.size, o, s.stride, s.padding, s.kernel, 1)
        var grad = WeightGrad[F32](xi, yi, slabs^, axis.copy(), axis.copy(), 1, s.c, s.out, weight)
        _ = grad.go()


def line(s: Shape, top: Float64, kinds: String):
    var o = (s.size + 2 * s.padding - s.kernel) // s.stride + 1
    var flops = Float64(2 * s.n * s.out * o * o * s.c * s.kernel * s.kernel)
    var x = filled(s.n * s.c * s.size * s.size)
    var weight = filled(s.out * s.c * s.kernel * s.kernel)
    var y = filled(s.n * s.out * o * o)
    var text = String(
        t"  {s.n}x{s.c}x{s.size}x{s.size} -> {s.out}, kernel {s.kernel}, stride {s.stride}: {Int(flops / 1e6)} MFLOP;"
    )
    comptime NAMES = ["result", "input", "weight"]
    var names = materialize[NAMES]()
    for kind in range(3):
        if kind == 1 and s.stride != 1 or String(kind) not in kinds:
            continue
        var best = 0.0
        var begin = perf_counter_ns()
        while perf_counter_ns() - begin < 300_000_000:
            var t = perf_counter_ns()
            run(kind, s, x, weight, y)
            best = max(best, flops / Float64(perf_counter_ns() - t))
        text += String(t" {names[kind]} {Int(best)} GFLOP/s ({Int(100 * best / top)} %)")
    print(text)
    for p in [x, weight, y]:
        Pointer[Float32, MutUntrackedOrigin](unsafe_from_address=p).unsafe_free()


def main():
    """Arguments, all optional: which shapes (their numbers), which kinds (such as 02), how many threads."""
    var shapes = [
        Shape(64, 1, 28, 16, 3, 1, 1), Shape(64, 16, 14, 32, 3, 1, 1), Shape(8, 64, 56, 64, 3, 1, 1),
        Shape(8, 128, 28, 128, 3, 1, 1), Shape(8, 256, 14, 256, 3, 1, 1), Shape(8, 512, 7, 512, 3, 1, 1),
        Shape(8, 64, 56, 256, 1, 1, 0), Shape(8, 256, 14, 1024, 1, 1, 0), Shape(8, 3, 112, 64, 7, 2, 3),
        Shape(8, 64, 56, 128, 3, 2, 1),
    ]  # fmt: skip
    var arguments = argv()
    var chosen = String(arguments[1]) if len(arguments) > 1 else String("0123456789")
    var kinds = String(arguments[2]) if len(arguments) > 2 else String("012")
    var only = String(arguments[3]) if len(arguments) > 3 else String("")
    var all = num_threads()
    for threads in [1, all]:
        if only != "" and String(threads) != only:
            continue
        set_num_threads(threads)
        var top = peak(threads)
        print(t"{threads} threads, vectors of {W}: FMA peak {Int(top)} GFLOP/s")
        for i in range(len(shapes)):
            if String(i) in chosen:
                line(shapes[i], top, kinds)
        if threads == all:
            break
    stop_threads()
