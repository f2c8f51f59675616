"""Parallel regions of the CPU families on an accelerator: a thread takes a task, where tasks are small.

The work is the families' own struct, whose tasks were made one unit long; it travels to the kernel by value. Random
numbers are therefore the CPU's, bit for bit up to the functions of kernels/math.
"""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer
from max.gpu import block_dim, global_idx, grid_dim
from kernels.gpu.device import device, fail
from kernels.gpu.pointwise import register_entry
from kernels.philox import LANES, blocks_32, blocks_64
from kernels.random import BERNOULLI, CAUCHY, Coins, EXPONENTIAL, Fill, GEOMETRIC, Kept, LOG_NORMAL, NORMAL, UNIFORM
from kernels.sample import Integers
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT64, dtype_of
from tensor.memory import address_of, at
from tensor.threads import Body

comptime THREADS = 128


struct Region[B: Body & Copyable & Deinitable](Copyable, DevicePassable):
    """A body and its number of tasks. Passed by value."""

    var body: Self.B
    var tasks: Int64

    comptime device_type: AnyType = Self

    def __init__(out self, body: Self.B, tasks: Int):
        self.body = body.copy()
        self.tasks = Int64(tasks)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Region"


def region_kernel[B: Body & Copyable & Deinitable](w: Region[B]):
    var task = Int64(global_idx.x)
    while task < w.tasks:
        w.body.run(Int(task), 0)
        task += Int64(grid_dim.x * block_dim.x)


def run[B: Body & Copyable & Deinitable](index: Int, body: B, tasks: Int) raises:
    """Queues all tasks of a body."""
    if tasks == 0:
        return
    var d = device(index)
    d[].context().enqueue_function[region_kernel[B]](
        Region[B](body, tasks), grid_dim=max(1, min(ceildiv(tasks, THREADS), d[].processors * 64)), block_dim=THREADS
    )


comptime AnyFill = Fill[DType.float32, UNIFORM]  # the fills of all dtypes and kinds have one layout
comptime KINDS = [UNIFORM, NORMAL, LOG_NORMAL, EXPONENTIAL, CAUCHY, GEOMETRIC, BERNOULLI]


def fill(index: Int, work: Pointer[AnyFill, MutAnyOrigin], kind: Int, code: Int) abi("C") -> Int:
    """Random numbers into contiguous memory; float16 and bfloat16 only uniform ones."""
    try:
        var address = Int(work)
        comptime for k in KINDS:
            comptime for c in range(FLOAT16, FLOAT64 + 1):
                comptime if c >= FLOAT32 or k == UNIFORM:
                    if kind == k and code == c:
                        var body = at[Fill[dtype_of[c], k, 1]](address)[].copy()
                        run(index, body, blocks_64(body.n) if c == FLOAT64 else blocks_32(body.n))
                        return 0
        return 1
    except e:
        return fail(e, "random numbers")


def integers(index: Int, work: Pointer[Integers[DType.int64], MutAnyOrigin]) abi("C") -> Int:
    """Random int64 numbers into contiguous memory."""
    try:
        var body = work[].copy()
        body.per_task = 1
        run(index, body, ceildiv(body.n, 2 * LANES))
        return 0
    except e:
        return fail(e, "random integers")


def coins(index: Int, work: Pointer[Coins[DType.float32], MutAnyOrigin], code: Int) abi("C") -> Int:
    """Dropout of contiguous memory."""
    try:
        var address = Int(work)
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if code == c:
                var body = at[Coins[dtype_of[c], 1]](address)[].copy()
                body.per_task = 1
                run(index, body, blocks_32(body.n))
                return 0
        return 1
    except e:
        return fail(e, "dropout")


def kept(index: Int, work: Pointer[Kept[DType.float32], MutAnyOrigin], code: Int) abi("C") -> Int:
    """The derivative of dropout."""
    try:
        var address = Int(work)
        comptime for c in range(FLOAT16, FLOAT64 + 1):
            if code == c:
                var body = at[Kept[dtype_of[c]]](address)[].copy()
                body.per_task = Kept[dtype_of[c]].W
                run(index, body, ceildiv(body.n, body.per_task))
                return 0
        return 1
    except e:
        return fail(e, "dropout")


@export("dumbtorch_accelerator_register_bodies")
def register_bodies() abi("C") -> None:
    var f: def(Int, Pointer[AnyFill, MutAnyOrigin], Int, Int) thin abi("C") -> Int = fill
    register_entry("random", address_of(f))
    var i: def(Int, Pointer[Integers[DType.int64], MutAnyOrigin]) thin abi("C") -> Int = integers
    register_entry("random_integers", address_of(i))
    var c: def(Int, Pointer[Coins[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int = coins
    register_entry("dropout", address_of(c))
    var k: def(Int, Pointer[Kept[DType.float32], MutAnyOrigin], Int) thin abi("C") -> Int = kept
    register_entry("dropout_backward", address_of(k))
