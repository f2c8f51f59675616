"""Optimizer steps over many tensors at once: one pass over parameters, gradients and state, threads across all of them.

A step is cut into segments of at most `SEGMENT` elements; a task does some segments, so small and large parameters
share the threads. Half types compute in float32. Formulas: SGD with momentum as in Sutskever et al. 2013 (the PyTorch
variant), Adam of Kingma and Ba 2014, AdamW of Loshchilov and Hutter 2017, AMSGrad of Reddi et al. 2018.
"""

from std.ffi import external_call
from std.math import ceildiv, sqrt
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import FLOAT16, FLOAT64, dtype_of, itemsize, type_name
from tensor.errors import python_error
from tensor.layout import contiguous_strides, is_dense, no_dims, same_dims, shape_text
from tensor.memory import at, function_at, load, store
from tensor.object import TPtr, as_tensor, is_tensor, new_strided
from tensor.py import Obj, decref, incref, is_sequence, new_ref, release_gil, seq_item, seq_len, take_gil
from tensor.runtime import runtime
from tensor.storage import check_status, device_table
from tensor.threads import Body, num_threads, parallel
from kernels.functor import compute

comptime SEGMENT = 1 << 14
comptime ROLES = 5  # parameter, gradient, up to three state tensors


struct Item:
    """One parameter: the addresses of its tensors, their length, and the numbers that depend on its step."""

    var data: Array[Int, ROLES]
    var numel: Int
    var numbers: Array[Float64, NUMBERS]


comptime NUMBERS = 3  # numbers that a rule computes for each parameter on its own, from its count of steps
comptime ITEM_BYTES = 8 * (ROLES + 1 + NUMBERS)


struct Settings(Copyable):
    var lr: Float64
    var momentum: Float64
    var dampening: Float64
    var decay: Float64
    var nesterov: Bool
    var maximize: Bool
    var first: Bool
    var beta1: Float64
    var beta2: Float64
    var eps: Float64
    var amsgrad: Bool
    var decoupled: Bool
    var centered: Bool
    var low: Float64
    var high: Float64

    def __init__(out self):
        self.lr = 0
        self.momentum = 0
        self.dampening = 0
        self.decay = 0
        self.nesterov = False
        self.maximize = False
        self.first = False
        self.beta1 = 0
        self.beta2 = 0
        self.eps = 0
        self.amsgrad = False
        self.decoupled = False
        self.centered = False
        self.low = 0
        self.high = 0


trait Rule:
    comptime kind: Int  # its number, to an accelerator

    @staticmethod
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        """Updates w elements from the i-th of an item's tensors."""
        ...


@always_inline
def number[dt: DType, w: Int](item: Int, k: Int) -> SIMD[compute[dt], w]:
    """The k-th of an item's own numbers, in every lane."""
    return SIMD[compute[dt], w](load[Float64](item + 8 * (ROLES + 1 + k)).cast[compute[dt]]())


@always_inline
def lanes[dt: DType, w: Int](value: Float64) -> SIMD[compute[dt], w]:
    return SIMD[compute[dt], w](value.cast[compute[dt]]())


@always_inline
def read[dt: DType, w: Int](item: Int, role: Int, i: Int) -> SIMD[compute[dt], w]:
    return at[Scalar[dt]](load[Int](item + 8 * role)).unsafe_load[width=w](i).cast[compute[dt]]()


@always_inline
def write[dt: DType, w: Int](item: Int, role: Int, i: Int, value: SIMD[compute[dt], w]):
    at[Scalar[dt]](load[Int](item + 8 * role)).unsafe_store(i, value.cast[dt]())


struct Sgd(Rule):
    comptime kind = 0

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        comptime C = compute[dt]
        comptime V = SIMD[C, w]
        var p = read[dt, w](item, 0, i)
        var g = read[dt, w](item, 1, i)
        if s.maximize:
            g = -g
        if s.decay != 0:
            g += p * V(s.decay.cast[C]())
        if s.momentum != 0:
            var b = g
            if not s.first:
                b = read[dt, w](item, 2, i) * V(s.momentum.cast[C]()) + g * V((1 - s.dampening).cast[C]())
            write[dt, w](item, 2, i, b)
            g = g + b * V(s.momentum.cast[C]()) if s.nesterov else b
        write[dt, w](item, 0, i, p - g * V(s.lr.cast[C]()))


struct Adam(Rule):
    comptime kind = 1

    @staticmethod
    @always_inline
    def apply[dt: DType, w: Int](s: Settings, item: Int, i: Int):
        comptime C = compute[dt]
        comptime V = SIMD[C, w]
        var p = read[dt, w](item, 0, i)
        var g = read[dt, w](item, 1, i)
        var m = read[dt, w](item, 2, i)
        var v = read[dt, w](item, 3, i)
        if s.maximize:
            g = -g
        if s.decay != 0:
            if s.decoupled:
                p *= V((1 - s.lr * s.decay).cast[C]())
            else:
                g += p * V(s.decay.cast[C]())
        m += (g - m) * V((1 - s.beta1).cast[C]())
        v = v * V(s.beta2.cast[C]()) + g * g * V((1 - s.beta2).cast[C]())
        write[dt, w](item, 2, i, m)
        write[dt, w](item, 3, i, v)
        if s.amsgrad:
            var largest = read[dt, w](item, 4, i)
            v = v.gt(largest).select(v, largest)
            write[dt, w](item, 4, i, v)
        var denominator = sqrt(v) / number[dt, w](item, 1) + V(s.eps.cast[C]())
        write[dt, w](item, 0, i, p - number[dt, w](item, 0) * (m / denominator))


struct Step[R: Rule, dt: DType](Body):
    var settings: Settings
    var items: Int
    var segments: Int  # (item, start) pairs
    var count: Int
    var per_task: Int

    def __init__(out self, settings: Settings, items: Int, segments: Int, count: Int, per_task: Int):
        self.settings = settings.copy()
        self.items = items
        self.segments = segments
        self.count = count
        self.per_task = per_task

    def run(self, task: Int, worker: Int):
        comptime W = simd_width_of[compute[Self.dt]]()
        for k in range(task * self.per_task, min((task + 1) * self.per_task, self.count)):
            var item = self.items + load[Int](self.segments + 16 * k) * ITEM_BYTES
            var i = load[Int](self.segments + 16 * k + 8)
            var end = min(i + SEGMENT, load[Int](item + 8 * ROLES))
            while i + W <= end:
                Self.R.apply[Self.dt, W](self.settings, item, i)
                i += W
            while i < end:
                Self.R.apply[Self.dt, 1](self.settings, item, i)
                i += 1


def sequence(call: Call, slot: Int, expected: Int) raises -> Obj:
    """A list argument of the right length, 0 for None."""
    var o = call.obj(slot)
    if o == runtime()[].none:
        return 0
    if not is_sequence(o):
        raise call.type_error(slot, "list of Tensors")
    if expected >= 0 and seq_len(o) != expected:
        raise call.fail(
            "ValueError",
            String(t"'{call.param(slot)}' has {seq_len(o)} tensors, but there are {expected} parameters"),
        )
    return o


def _check(call: Call, param: TPtr, o: Obj, slot: Int) raises -> TPtr:
    if not is_tensor(o):
        raise call.type_error(slot, "list of Tensors")
    var t = as_tensor(o)
    if t[].rank() != param[].rank() or not same_dims(t[].shape, param[].shape, t[].rank()):
        raise call.fail(
            "RuntimeError",
            String(
                t"'{call.param(slot)}' has a tensor of shape {shape_text(t[].shape, t[].rank())} for a parameter of"
                t" shape {shape_text(param[].shape, param[].rank())}"
            ),
        )
    if t[].code() != param[].code():
        raise call.fail(
            "RuntimeError",
            String(
                t"'{call.param(slot)}' has a tensor of dtype {type_name(t[].code())} for a parameter of dtype"
                t" {type_name(param[].code())}"
            ),
        )
    if t[].device() != param[].device():
        raise call.fail(
            "RuntimeError", String(t"'{call.param(slot)}' has a tensor on another device than its parameter")
        )
    return t


def _code_of(call: Call, params: Obj) raises -> Int:
    """The parameters' one dtype; -1 for no parameters, -2 if they differ in dtype or device."""
    var code = -1
    var device = 0
    for i in range(seq_len(params)):
        var o = seq_item(params, i)
        if not is_tensor(o):
            raise call.type_error(0, "list of Tensors")
        var t = as_tensor(o)
        if t[].code() < FLOAT16 or t[].code() > FLOAT64:
            raise call.fail("RuntimeError", String(t"a parameter of dtype {type_name(t[].code())} cannot be optimized"))
        if code >= 0 and (t[].code() != code or t[].device() != device):
            return -2
        code = t[].code()
        device = t[].device()
    return code


def _flat(t: TPtr, leader: TPtr) raises -> Obj:
    """The tensor itself when its elements lie as the leader's do, without gaps, else a copy that does."""
    var n = t[].rank()
    var dense = is_dense(leader[].shape, leader[].strides, n)
    if dense and same_dims(t[].strides, leader[].strides, n):
        return new_ref(Int(t))
    var strides = leader[].strides.copy() if dense else contiguous_strides(t[].shape, n)
    var copy = new_strided(t[].code(), t[].shape, strides, n, t[].device())
    if external_call["dumbtorch_write", Int](copy, Int(t)) != 0:
        raise python_error()
    return copy


def step[
    R: Rule
](mut call: Call, settings: Settings, roles: Int, numbers: Int, params: Obj, lists: Array[Obj, ROLES]) raises -> Obj:
    """Runs a rule over all parameters: `lists` are the sequences by role, `numbers` are `NUMBERS` doubles for each item.

    Gives True, or False for parameters of several dtypes or devices: then nothing was done.
    """
    var n = seq_len(params)
    var code = _code_of(call, params)
    if n == 0:
        return new_ref(runtime()[].true_)
    if code == -2:
        return new_ref(runtime()[].false_)
    # every check comes before the first write
    var total = 0
    for i in range(n):
        var p = as_tensor(seq_item(params, i))
        for r in range(1, roles):
            if lists[r] != 0:
                _ = _check(call, p, seq_item(lists[r], i), r)
        total += ceildiv(p[].numel, SEGMENT)
    var items = external_call["calloc", Int](1, n * (ITEM_BYTES + 8 * ROLES) + total * 16 + 64)
    if items == 0:
        raise call.fail("OutOfMemoryError", "no memory for the table of parameters")
    var held = items + n * ITEM_BYTES  # the objects in use: the tensors or their flat copies
    try:
        _fill_and_run[R](call, settings, roles, numbers, params, lists, items, held, code)
    except e:
        _release(items, held, n)
        raise e
    _release(items, held, n)
    return new_ref(runtime()[].true_)


def _release(items: Int, held: Int, n: Int):
    """Lets go what the table holds, and the table."""
    for k in range(n * ROLES):
        var o = load[Int](held + 8 * k)
        if o != 0:
            decref(o)
    external_call["free", NoneType](items)


def _fill_and_run[
    R: Rule
](
    call: Call,
    settings: Settings,
    roles: Int,
    numbers: Int,
    params: Obj,
    lists: Array[Obj, ROLES],
    items: Int,
    held: Int,
    code: Int,
) raises:
    """Describes every parameter in the table, runs the rule, writes flat copies back."""
    var n = seq_len(params)
    var segments = held + n * 8 * ROLES
    var count = 0
    for i in range(n):
        var p = as_tensor(seq_item(params, i))
        var item = items + i * ITEM_BYTES
        # a parameter with gaps is worked on in a contiguous copy, and so is everything beside it
        var dense = is_dense(p[].shape, p[].strides, p[].rank())
        var leader = new_ref(Int(p)) if dense else _flat(p, p)
        store[Int](held + 8 * i * ROLES, leader)
        for r in range(ROLES):
            var o = leader if r == 0 else 0
            if r > 0 and r < roles and lists[r] != 0:
                o = _flat(as_tensor(seq_item(lists[r], i)), as_tensor(leader))
                store[Int](held + 8 * (i * ROLES + r), o)
            store[Int](item + 8 * r, 0 if o == 0 else (as_tensor(o)[].data() if r == 1 else as_tensor(o)[].writable()))
        store[Int](item + 8 * ROLES, p[].numel)
        if numbers != 0:
            for k in range(NUMBERS):
                store[Float64](item + 8 * (ROLES + 1 + k), load[Float64](numbers + 8 * (NUMBERS * i + k)))
        for s in range(ceildiv(p[].numel, SEGMENT)):
            store[Int](segments + 16 * count, i)
            store[Int](segments + 16 * count + 8, s * SEGMENT)
            count += 1
    var device = as_tensor(seq_item(params, 0))[].device()
    if device != 0:
        _launch[R](call, device, code, items, n, settings)
    else:
        comptime for c in range(9, 13):
            if code == c:
                _run[R, dtype_of[c]](settings, items, segments, count)
    for i in range(n):
        for r in range(ROLES):
            var o = load[Int](held + 8 * (i * ROLES + r))
            if o == 0 or r == 1:
                continue
            var original = seq_item(params, i) if r == 0 else seq_item(lists[r], i)
            if o != original and external_call["dumbtorch_write", Int](original, o) != 0:
                raise python_error()
            as_tensor(original)[].storage()[].version += 1


def _run[R: Rule, dt: DType](settings: Settings, items: Int, segments: Int, count: Int):
    var tasks = min(count, num_threads() * 8)
    var work = Step[R, dt](settings, items, segments, count, ceildiv(count, max(tasks, 1)))
    if count <= 2:
        for t in range(ceildiv(count, work.per_task) if count > 0 else 0):
            work.run(t, 0)
        return
    var state = release_gil()
    parallel(work, ceildiv(count, work.per_task))
    take_gil(state)


def _launch[R: Rule](call: Call, device: Int, code: Int, items: Int, n: Int, settings: Settings) raises:
    comptime LaunchFn = def(Int, Pointer[Settings, MutAnyOrigin], Int, Int, Int, Int) thin abi("C") -> Int
    var s = settings.copy()
    var f = function_at[LaunchFn](device_table(device)[].step)
    var status = f(device & 255, Pointer(to=s).as_unsafe_any_origin(), R.kind, items, n, code)
    check_status(status, device, call.name())


def fused_sgd(mut call: Call) raises -> Obj:
    """In place: (params, grads, buffers or None, lr, momentum, dampening, weight_decay, nesterov, maximize, first_step).
    """
    var params = sequence(call, 0, -1)
    if params == 0:
        raise call.type_error(0, "list of Tensors")
    var n = seq_len(params)
    var lists = Array[Obj, ROLES](fill=0)
    lists[1] = sequence(call, 1, n)
    if lists[1] == 0:
        raise call.type_error(1, "list of Tensors")
    lists[2] = sequence(call, 2, n)
    var s = Settings()
    s.lr = call.float(3)
    s.momentum = call.float(4)
    s.dampening = call.float(5)
    s.decay = call.float(6)
    s.nesterov = call.bool(7)
    s.maximize = call.bool(8)
    s.first = call.bool(9)
    if s.momentum != 0 and lists[2] == 0:
        raise call.fail("ValueError", "momentum needs the momentum buffers")
    return step[Sgd](call, s, 3, 0, params, lists)


def fused_adam(mut call: Call) raises -> Obj:
    """In place: (params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs or None, steps, lr, beta1, beta2, eps, weight_decay,
    amsgrad, maximize, decoupled); `steps` counts from 1, one for each parameter."""
    var params = sequence(call, 0, -1)
    if params == 0:
        raise call.type_error(0, "list of Tensors")
    var n = seq_len(params)
    var lists = Array[Obj, ROLES](fill=0)
    for r in range(1, ROLES):
        lists[r] = sequence(call, r, n)
        if lists[r] == 0 and r < 4:
            raise call.type_error(r, "list of Tensors")
    var s = Settings()
    s.lr = call.float(6)
    s.beta1 = call.float(7)
    s.beta2 = call.float(8)
    s.eps = call.float(9)
    s.decay = call.float(10)
    s.amsgrad = call.bool(11)
    s.maximize = call.bool(12)
    s.decoupled = call.bool(13)
    if s.amsgrad and lists[4] == 0:
        raise call.fail("ValueError", "amsgrad needs max_exp_avg_sqs")
    if not s.amsgrad:
        lists[4] = 0
    var steps = sequence(call, 5, n)
    if steps == 0:
        raise call.type_error(5, "list of ints")
    var corrections = external_call["malloc", Int](n * 8 * NUMBERS + 16)
    if corrections == 0:
        raise call.fail("OutOfMemoryError", "no memory for the table of steps")
    for i in range(n):
        var k = Float64(external_call["PyLong_AsSsize_t", Int](seq_item(steps, i)))
        store[Float64](corrections + 8 * NUMBERS * i, s.lr / (1 - s.beta1**k))
        store[Float64](corrections + 8 * NUMBERS * i + 8, sqrt(1 - s.beta2**k))
    try:
        var r = step[Adam](call, s, ROLES, corrections, params, lists)
        external_call["free", NoneType](corrections)
        return r
    except e:
        external_call["free", NoneType](corrections)
        raise e


@export("dumbtorch_register_optim")
def register_optim() abi("C") -> None:
    register[fused_sgd]("fused_sgd")
    register[fused_adam]("fused_adam")
