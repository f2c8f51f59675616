"""Pointwise kernels beside the copy bandwidth of this machine.

    python -m benchmarks.kernels elementwise

GB/s counts the bytes read and the bytes written (10^9 bytes) of float32 operands that were touched before; the percentage
compares with a copy of the same amount of memory. Cheap kernels should reach 85 % of it; `exp` and its kind compute longer
than the memory takes.
"""
from std.memory.alloc import unsafe_alloc
from std.time import perf_counter_ns

from kernels.activation import Gelu, Silu
from kernels.binary import Add, Mul, TrueDivide
from kernels.comparison import Lt
from kernels.functor import MAX_NUMBERS, binary_kernel, comparison_kernel, unary_kernel
from kernels.unary import Itself, Neg, Relu, Sqrt
from kernels.unary_exp import Exp, Log, Sigmoid, Tanh
from kernels.unary_special import Erf, Sin
from tensor.loop import ElementwiseFn
from tensor.memory import Numbers, words
from tensor.threads import Body, num_threads, parallel, set_num_threads, stop_threads, task_range, tasks_for

comptime MOST = 10_000_000


@fieldwise_init
struct Run(Body, Copyable):
    """A contiguous kernel over blocks of memory, in parts."""

    var kernel: ElementwiseFn
    var blocks: Int  # four words a task: where its operands start
    var numbers: Int
    var n: Int
    var ntasks: Int
    var memory: Int
    var out_size: Int

    def run(self, task: Int, worker: Int):
        var part = task_range(self.n, self.ntasks, task, 64)
        var own = words(self.blocks + 32 * task)
        own[unsafe_offset=0] = self.memory + self.out_size * part[0]
        own[unsafe_offset=1] = self.memory + 4 * MOST + 4 * part[0]
        own[unsafe_offset=2] = self.memory + 8 * MOST + 4 * part[0]
        self.kernel(own, part[1] - part[0], Numbers(unsafe_from_address=self.numbers))


def best(body: Run, bytes: Int) -> Float64:
    """GB/s of the fastest of the runs of a fifth of a second."""
    var fastest = Int.MAX
    var begin = perf_counter_ns()
    while perf_counter_ns() - begin < 200_000_000:
        var t = perf_counter_ns()
        parallel(body, body.ntasks)
        fastest = min(fastest, perf_counter_ns() - t)
    return Float64(bytes) / Float64(fastest)


def rounded(x: Float64) -> Float64:
    return Float64(Int(x * 10)) / 10


def main():
    var memory = Int(unsafe_alloc[Float32](3 * MOST, alignment=64))
    for i in range(3 * MOST):
        words(memory).unsafe_bitcast[Float32]()[unsafe_offset=i] = Float32(i % 1000) * 0.01 - 5
    var blocks = Int(unsafe_alloc[Int](4 * 256))
    var numbers = Int(unsafe_alloc[Float64](MAX_NUMBERS))
    var names: List[String] = [
        "copy",
        "neg",
        "relu",
        "sqrt",
        "add",
        "mul",
        "div",
        "lt",
        "exp",
        "log",
        "tanh",
        "sigmoid",
        "sin",
        "erf",
        "gelu",
        "silu",
    ]
    var copy: ElementwiseFn = unary_kernel[Itself, DType.float32]
    var kernels: List[ElementwiseFn] = [
        copy,
        unary_kernel[Neg, DType.float32],
        unary_kernel[Relu, DType.float32],
        unary_kernel[Sqrt, DType.float32],
        binary_kernel[Add, DType.float32],
        binary_kernel[Mul, DType.float32],
        binary_kernel[TrueDivide, DType.float32],
        comparison_kernel[Lt, DType.float32],
        unary_kernel[Exp, DType.float32],
        unary_kernel[Log, DType.float32],
        unary_kernel[Tanh, DType.float32],
        unary_kernel[Sigmoid, DType.float32],
        unary_kernel[Sin, DType.float32],
        unary_kernel[Erf, DType.float32],
        unary_kernel[Gelu, DType.float32],
        unary_kernel[Silu, DType.float32],
    ]
    var all = num_threads()
    var threads = 1
    while threads <= all:
        set_num_threads(threads)
        for n in [100_000, 1_000_000, MOST]:
            print(t"{threads} threads, {n} elements: GB/s, percent of the copy")
            var reference: Float64 = 0
            for k in range(len(names)):
                var inputs = 2 if k >= 4 and k <= 7 else 1
                var out_size = 1 if k == 7 else 4
                var body = Run(kernels[k], blocks, numbers, n, min(tasks_for(n), 256), memory, out_size)
                var speed = best(body, (4 * inputs + out_size) * n)
                if k == 0:
                    reference = speed
                print(t"  {names[k]} {rounded(speed)} {Int(100 * speed / reference)}")
        threads *= 2
    stop_threads()
