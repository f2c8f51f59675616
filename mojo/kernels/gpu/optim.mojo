"""Optimizer steps on an accelerator, with the rules of kernels/optim.mojo: one launch for all parameters of a step."""

from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv
from std.memory import Pointer
from max.gpu import block_dim, block_idx, grid_dim, thread_idx
from kernels.gpu.device import device, fail
from kernels.optim import Adam, ITEM_BYTES, ROLES, Rule, Settings, Sgd
from kernels.optim_rules import Adadelta, Adagrad, Adamax, Asgd, Nadam, Radam, Rmsprop, Rprop
from tensor.dtype import dtype_of
from tensor.memory import address_of, at, load
from tensor.storage import DeviceTable

comptime THREADS = 256


struct Work(Copyable, DevicePassable):
    """A step: its numbers, and the table of parameters in the device's memory. Passed by value."""

    var settings: Settings
    var items: Int64
    var count: Int32

    comptime device_type: AnyType = Self

    def __init__(out self, settings: Settings, items: Int, count: Int):
        self.settings = settings.copy()
        self.items = Int64(items)
        self.count = Int32(count)

    def _to_device_type[
        Encoder: DeviceTypeEncoder
    ](self, mut encoder: Encoder, target: Pointer[mut=True, T=NoneType, origin=_]):
        target.unsafe_bitcast[Self]()[] = self.copy()

    @staticmethod
    def get_type_name() -> String:
        return "Step"


def step_kernel[R: Rule, dt: DType](w: Work):
    """Row y of the grid works on parameter y, the blocks of a row share its elements."""
    var k = Int(block_idx.y)
    while k < Int(w.count):
        var item = Int(w.items) + k * ITEM_BYTES
        var n = load[Int](item + 8 * ROLES)
        var i = Int(block_idx.x * block_dim.x + thread_idx.x)
        while i < n:
            R.apply[dt, 1](w.settings, item, i)
            i += Int(grid_dim.x * block_dim.x)
        k += Int(grid_dim.y)


def _step[R: Rule](index: Int, settings: Settings, items: Int, n: Int, code: Int) raises:
    var d = device(index)
    var context = d[].context()
    var longest = 0
    for k in range(n):
        longest = max(longest, load[Int](items + k * ITEM_BYTES + 8 * ROLES))
    if longest == 0:
        return
    var bytes = n * ITEM_BYTES
    var table = d[].alloc(bytes)
    try:
        d[].upload(table, items, bytes)
        var w = Work(settings, table, n)
        var wide = max(1, min(ceildiv(longest, THREADS), d[].processors * 16))
        comptime for c in range(9, 13):
            if code == c:
                context.enqueue_function[step_kernel[R, dtype_of[c]]](
                    w, grid_dim=(wide, min(n, 65535)), block_dim=THREADS
                )
    finally:
        d[].free(table)


def step(
    index: Int, settings: Pointer[Settings, MutAnyOrigin], rule: Int, items: Int, n: Int, code: Int
) abi("C") -> Int:
    """See DeviceTable.step."""
    try:
        if rule == Sgd.kind:
            _step[Sgd](index, settings[], items, n, code)
        elif rule == Adam.kind:
            _step[Adam](index, settings[], items, n, code)
        elif rule == Rmsprop.kind:
            _step[Rmsprop](index, settings[], items, n, code)
        elif rule == Adagrad.kind:
            _step[Adagrad](index, settings[], items, n, code)
        elif rule == Adadelta.kind:
            _step[Adadelta](index, settings[], items, n, code)
        elif rule == Adamax.kind:
            _step[Adamax](index, settings[], items, n, code)
        elif rule == Nadam.kind:
            _step[Nadam](index, settings[], items, n, code)
        elif rule == Radam.kind:
            _step[Radam](index, settings[], items, n, code)
        elif rule == Rprop.kind:
            _step[Rprop](index, settings[], items, n, code)
        elif rule == Asgd.kind:
            _step[Asgd](index, settings[], items, n, code)
        else:
            return 1
        return 0
    except e:
        return fail(e, "optimizer step")


@export("dumbtorch_accelerator_register_optim")
def register_optim(table: Int) abi("C") -> None:
    """Fills in this family's functions of a DeviceTable."""
    var step_: def(Int, Pointer[Settings, MutAnyOrigin], Int, Int, Int, Int) thin abi("C") -> Int = step
    at[DeviceTable](table)[].step = address_of(step_)
