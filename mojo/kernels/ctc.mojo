"""Connectionist temporal classification: the forward and the backward variables of each sequence, and the gradient.

The states of a target of S labels are those labels with blanks around them, 2 S + 1 of them. A row of states is a
vector loop: the three ways into a state are the same row, shifted by none, one and two. The samples of the batch are the
tasks. Everything is in logarithms, and in the type of the input.

Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with RNNs", 2006, section 4.
"""

from std.math import ceildiv
from std.sys.info import size_of
from std.sys.intrinsics import masked_store
from tensor.call import Call, register
from tensor.dtype import FLOAT32, FLOAT64, INT32, INT64, type_name
from tensor.layout import no_dims, shape_text
from tensor.memory import load, memcpy, memset, store
from tensor.object import TPtr, new_tensor
from tensor.py import Obj, new_ref, release_gil, take_gil, tuple_new, tuple_set
from tensor.threads import Body, num_threads, parallel
from kernels.gemm_micro import at, first_lanes, load_first, ptr, width
from kernels.held import Held
from kernels.math import exp, infinity, log, nan
from kernels.pointwise import unsupported
from kernels.transfer_api import contiguous_of
from kernels.workspace import Workspace

comptime EDGE = 64
"""Elements around a row of states that a shifted vector may read."""


struct Batch(Copyable):
    """Sizes and addresses; the lengths and labels are int64."""

    var steps: Int
    var count: Int
    var classes: Int
    var states: Int  # of the longest target: the distance of rows of `alphas`
    var blank: Int
    var log_probs: Int  # (steps, count, classes)
    var labels: Int
    var starts: List[Int]  # of each target
    var label_step: Int  # between the labels of one
    var input_lengths: Int
    var target_lengths: Int
    var losses: Int
    var alphas: Int  # (count, steps, states)
    var grad: Int  # of the losses, backward only
    var result: Int  # (steps, count, classes), backward only
    var zero_infinity: Bool

    def __init__(out self):
        self.steps = 0
        self.count = 0
        self.classes = 0
        self.states = 0
        self.blank = 0
        self.log_probs = 0
        self.labels = 0
        self.starts = List[Int]()
        self.label_step = 1
        self.input_lengths = 0
        self.target_lengths = 0
        self.losses = 0
        self.alphas = 0
        self.grad = 0
        self.result = 0
        self.zero_infinity = False

    def row_bytes[dt: DType](self) -> Int:
        """Of one row of states with its edges."""
        return (ceildiv(self.states, 64) * 64 + 2 * EDGE) * size_of[Scalar[dt]]()

    def worker_bytes[dt: DType](self) -> Int:
        """Scratch of one worker: two rows, the emissions, the shortcuts, and the states' labels."""
        return 4 * self.row_bytes[dt]() + (ceildiv(self.states, 8) * 8) * 8


@always_inline
def _sum3[dt: DType, w: Int](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w]) -> SIMD[dt, w]:
    """log(exp(a) + exp(b) + exp(c))."""
    var high = a.gt(b).select(a, b)
    high = high.gt(c).select(high, c)
    var shift = high.eq(-infinity[dt, w]()).select(SIMD[dt, w](0), high)
    return log(exp(a - shift) + exp(b - shift) + exp(c - shift)) + shift


@fieldwise_init
struct Sequences[dt: DType](Body, Copyable, Movable):
    var batch: Batch
    var scratch: Int

    def run(self, task: Int, worker: Int):
        ref k = self.batch
        comptime SIZE = size_of[Scalar[Self.dt]]()
        var row = k.row_bytes[Self.dt]()
        var base = self.scratch + worker * k.worker_bytes[Self.dt]()
        var target = load[Int](k.target_lengths + 8 * task)
        var states = 2 * target + 1
        var labels = base + 4 * row
        for s in range(states):
            var label = k.blank
            if s % 2 == 1:
                label = load[Int](k.labels + 8 * (k.starts[task] + s // 2 * k.label_step))
            store[Int](labels + 8 * s, label)
        # all rows begin as impossible, their edges stay so
        var impossible = -infinity[Self.dt, 1]()
        for i in range(3 * row // SIZE):
            ptr[Self.dt](base)[unsafe_offset=i] = impossible
        var a = base + EDGE * SIZE
        var shortcut = a + 2 * row
        var emitted = a + 3 * row
        var steps = load[Int](k.input_lengths + 8 * task)
        if k.result == 0:
            for s in range(2, states):
                if load[Int](labels + 8 * s) != load[Int](labels + 8 * (s - 2)):
                    ptr[Self.dt](shortcut)[unsafe_offset=s] = 0
            self._forward(task, steps, states, labels, a, a + row, shortcut, emitted)
        else:
            for s in range(states - 2):
                if load[Int](labels + 8 * s) != load[Int](labels + 8 * (s + 2)):
                    ptr[Self.dt](shortcut)[unsafe_offset=s] = 0
            self._backward(task, steps, states, labels, a, a + row, shortcut, emitted)

    @always_inline
    def _emissions(self, task: Int, t: Int, states: Int, labels: Int, to: Int) -> Int:
        """Gathers the states' logarithms of probability at one step; returns the address of the step's classes."""
        ref k = self.batch
        var here = at[Self.dt](k.log_probs, (t * k.count + task) * k.classes)
        var blank = ptr[Self.dt](here)[unsafe_offset=k.blank]
        ptr[Self.dt](to)[] = blank
        for s in range(1, states, 2):
            ptr[Self.dt](to)[unsafe_offset=s] = ptr[Self.dt](here)[unsafe_offset=load[Int](labels + 8 * s)]
            ptr[Self.dt](to)[unsafe_offset=s + 1] = blank
        return here

    def _forward(
        self, task: Int, steps: Int, states: Int, labels: Int, first: Int, second: Int, shortcut: Int, emitted: Int
    ):
        comptime W = width[Self.dt]()
        ref k = self.batch
        var kept = at[Self.dt](k.alphas, task * k.steps * k.states)
        var old = first
        var new = second
        for t in range(steps):
            _ = self._emissions(task, t, states, labels, emitted)
            if t == 0:
                for s in range(min(2, states)):
                    ptr[Self.dt](new)[unsafe_offset=s] = ptr[Self.dt](emitted)[unsafe_offset=s]
            else:
                for s in range(0, states, W):
                    var o = ptr[Self.dt](old)
                    var by_two = o.unsafe_load[width=W](s - 2) + ptr[Self.dt](shortcut).unsafe_load[width=W](s)
                    var v = _sum3(o.unsafe_load[width=W](s), o.unsafe_load[width=W](s - 1), by_two)
                    _put[Self.dt](new, s, states - s, v + ptr[Self.dt](emitted).unsafe_load[width=W](s))
            memcpy(at[Self.dt](kept, t * k.states), new, states * size_of[Scalar[Self.dt]]())
            swap(old, new)
        var loss = Scalar[Self.dt](0)
        if steps > 0:
            var last = ptr[Self.dt](old)
            var none = -infinity[Self.dt, 1]()
            loss = -_sum3[Self.dt, 1](
                last[unsafe_offset=states - 1], last[unsafe_offset=states - 2] if states > 1 else none, none
            )
        elif states > 1:
            loss = infinity[Self.dt, 1]()
        ptr[Self.dt](k.losses)[unsafe_offset=task] = loss

    def _backward(
        self, task: Int, steps: Int, states: Int, labels: Int, first: Int, second: Int, shortcut: Int, emitted: Int
    ):
        comptime W = width[Self.dt]()
        comptime SIZE = size_of[Scalar[Self.dt]]()
        ref k = self.batch
        var loss = ptr[Self.dt](k.losses)[unsafe_offset=task]
        var g = ptr[Self.dt](k.grad)[unsafe_offset=task]
        var impossible = loss == infinity[Self.dt, 1]()
        for t in range(k.steps):
            var to = at[Self.dt](k.result, (t * k.count + task) * k.classes)
            memset(to, 0, k.classes * SIZE)
            if impossible and not k.zero_infinity and t < steps:
                for c in range(k.classes):
                    ptr[Self.dt](to)[unsafe_offset=c] = nan[Self.dt, 1]()
        if impossible:
            return
        var kept = at[Self.dt](k.alphas, task * k.steps * k.states)
        var old = first
        var new = second
        for back in range(steps):
            var t = steps - 1 - back
            var here = self._emissions(task, t, states, labels, emitted)
            if back == 0:
                for s in range(max(0, states - 2), states):
                    ptr[Self.dt](new)[unsafe_offset=s] = ptr[Self.dt](emitted)[unsafe_offset=s]
            else:
                for s in range(0, states, W):
                    var o = ptr[Self.dt](old)
                    var by_two = o.unsafe_load[width=W](s + 2) + ptr[Self.dt](shortcut).unsafe_load[width=W](s)
                    var v = _sum3(o.unsafe_load[width=W](s), o.unsafe_load[width=W](s + 1), by_two)
                    _put[Self.dt](new, s, states - s, v + ptr[Self.dt](emitted).unsafe_load[width=W](s))
            var to = at[Self.dt](k.result, (t * k.count + task) * k.classes)
            self._occupied(at[Self.dt](kept, t * k.states), new, emitted, loss, states, labels, to)
            var c = 0
            while c + W <= k.classes:
                var p = exp(ptr[Self.dt](here).unsafe_load[width=W](c)) - ptr[Self.dt](to).unsafe_load[width=W](c)
                ptr[Self.dt](to).unsafe_store(c, p * g)
                c += W
            if c < k.classes:
                var lanes = k.classes - c
                var p = exp(load_first[Self.dt, W](ptr[Self.dt](at[Self.dt](here, c)), lanes))
                p -= load_first[Self.dt, W](ptr[Self.dt](at[Self.dt](to, c)), lanes)
                _put[Self.dt](to, c, lanes, p * g)
            swap(old, new)

    @always_inline
    def _occupied(self, alpha: Int, beta: Int, emitted: Int, loss: Scalar[Self.dt], states: Int, labels: Int, to: Int):
        """Adds to each class the probability that its states are passed at this step, given the target."""
        comptime W = width[Self.dt]()
        var blanks = Scalar[Self.dt](0)
        for s in range(0, states, W):
            var lanes = states - s
            var a = load_first[Self.dt, W](ptr[Self.dt](at[Self.dt](alpha, s)), lanes)
            a += ptr[Self.dt](beta).unsafe_load[width=W](s)
            var p = exp(a - ptr[Self.dt](emitted).unsafe_load[width=W](s) + loss)
            p = a.eq(-infinity[Self.dt, W]()).select(SIMD[Self.dt, W](0), p)
            comptime for i in range(W):
                if i < lanes:
                    comptime if i % 2 == 0:
                        blanks += p[i]
                    else:
                        ptr[Self.dt](to)[unsafe_offset=load[Int](labels + 8 * (s + i))] += p[i]
        ptr[Self.dt](to)[unsafe_offset=self.batch.blank] += blanks


@always_inline
def _put[dt: DType](to: Int, i: Int, lanes: Int, v: SIMD[dt, width[dt]()]):
    """Stores the first lanes: past the states a row stays impossible."""
    comptime W = width[dt]()
    masked_store[W](v, ptr[dt](at[dt](to, i)), first_lanes[W](lanes))


def _run[dt: DType](k: Batch) raises:
    if k.count == 0:
        return
    var workers = num_threads()
    var ws = Workspace.take(workers * k.worker_bytes[dt]())
    if ws.address == 0:
        raise Error("OutOfMemoryError|ctc_loss(): no memory for the states")
    var body = Sequences[dt](k.copy(), ws.address)
    if k.count == 1 or k.steps * k.count * (k.states + k.classes) < 4096:
        for i in range(k.count):
            body.run(i, 0)
    else:
        var held = release_gil()
        parallel(body, k.count, workers)
        take_gil(held)
    ws.give()


def _lengths(call: Call, slot: Int, count: Int, highest: Int, mut held: Held) raises -> Int:
    """The address of one length for each sample, each from 0 to `highest`."""
    var t = call.tensor(slot)
    if t[].rank() != 1 or t[].shape[0] != count:
        raise call.fail("RuntimeError", String(t"{call.param(slot)} must be of size batch_size"))
    if t[].device() != 0:
        raise call.fail("RuntimeError", "there is no kernel for this device")
    var data = held.keep(contiguous_of(t, INT64))[].data()
    for i in range(count):
        var n = load[Int](data + 8 * i)
        if n < 0:
            raise Error(t"RuntimeError|Expected {call.param(slot)} to have value at least 0, but got value {n}")
        if highest >= 0 and n > highest:
            raise Error(t"RuntimeError|Expected {call.param(slot)} to have value at most {highest}, but got value {n}")
    return data


def _batch(call: Call, first: Int, mut k: Batch, mut held: Held) raises -> TPtr:
    """Reads (log_probs, targets, input_lengths, target_lengths, blank) from slot `first` on, all checked."""
    var x = call.tensor(first)
    var code = x[].code()
    if code != FLOAT32 and code != FLOAT64:
        raise unsupported("ctc_loss", code)
    if x[].rank() != 3:
        raise call.fail("RuntimeError", String(t"expects log_probs of 3 dimensions, got {x[].rank()}"))
    var targets = call.tensor(first + 1)
    if targets[].code() != INT64 and targets[].code() != INT32:
        raise call.fail(
            "RuntimeError", String(t"targets must be of type int32 or int64, not {type_name(targets[].code())}")
        )
    if x[].device() != 0 or targets[].device() != 0:
        raise call.fail("RuntimeError", "there is no kernel for this device")
    k.steps = x[].shape[0]
    k.count = x[].shape[1]
    k.classes = x[].shape[2]
    k.blank = call.int(first + 4)
    if x[].numel == 0:
        raise Error("RuntimeError|log_probs tensor must not be empty")
    if k.blank < 0 or k.blank >= k.classes:
        raise Error("RuntimeError|blank must be in label range")
    k.input_lengths = _lengths(call, first + 2, k.count, k.steps, held)
    k.target_lengths = _lengths(call, first + 3, k.count, -1, held)
    var longest = 0
    var total = 0
    var padded = targets[].rank() == 2
    for i in range(k.count):
        var n = load[Int](k.target_lengths + 8 * i)
        k.starts.append(i * targets[].shape[1] if padded else total)
        longest = max(longest, n)
        total += n
    if padded:
        if targets[].shape[0] != k.count or targets[].shape[1] < longest:
            raise call.fail(
                "RuntimeError",
                String(
                    t"Expected targets of {k.count} rows and at least"
                    t" {longest} columns, but got"
                    t" {shape_text(targets[].shape, 2)}"
                ),
            )
    elif targets[].rank() != 1 or targets[].shape[0] != total:
        raise call.fail(
            "RuntimeError",
            String(
                t"Expected targets of size {total}, the sum of target_lengths,"
                t" but got {shape_text(targets[].shape, targets[].rank())}"
            ),
        )
    k.labels = held.keep(contiguous_of(targets, INT64))[].data()
    for i in range(k.count):
        for s in range(load[Int](k.target_lengths + 8 * i)):
            var label = load[Int](k.labels + 8 * (k.starts[i] + s))
            if label < 0 or label >= k.classes:
                raise call.fail("RuntimeError", String(t"target {label} is not a label: there are {k.classes} classes"))
    k.states = 2 * longest + 1
    k.log_probs = held.keep(contiguous_of(x, code))[].data()
    return x


def ctc_forward(mut call: Call) raises -> Obj:
    """(log_probs, targets, input_lengths, target_lengths, blank) -> (losses, forward variables)."""
    var k = Batch()
    var held = Held()
    try:
        var x = _batch(call, 0, k, held)
        var shape = no_dims()
        shape[0] = k.count
        shape[1] = k.steps
        shape[2] = k.states
        var losses = held.keep(new_tensor(x[].code(), shape, 1))
        var alphas = held.keep(new_tensor(x[].code(), shape, 3))
        k.losses = losses[].data()
        k.alphas = alphas[].data()
        memset(k.alphas, 0, alphas[].numel * (8 if x[].code() == FLOAT64 else 4))
        if x[].code() == FLOAT64:
            _run[DType.float64](k)
        else:
            _run[DType.float32](k)
        var made = tuple_new(2)
        tuple_set(made, 0, new_ref(Int(losses)))
        tuple_set(made, 1, new_ref(Int(alphas)))
        held.release()
        return made
    except e:
        held.release()
        raise e^


def ctc_backward(mut call: Call) raises -> Obj:
    """(grad_output, log_probs, targets, input_lengths, target_lengths, blank, losses, alphas, zero_infinity)."""
    var k = Batch()
    var held = Held()
    try:
        var x = _batch(call, 1, k, held)
        var code = x[].code()
        var g = call.tensor(0)
        var losses = call.tensor(6)
        var alphas = call.tensor(7)
        if g[].numel != k.count or losses[].numel != k.count or alphas[].numel != k.count * k.steps * k.states:
            raise call.fail("RuntimeError", "the gradient or the variables kept do not fit log_probs and targets")
        k.grad = held.keep(contiguous_of(g, code))[].data()
        k.losses = held.keep(contiguous_of(losses, code))[].data()
        k.alphas = held.keep(contiguous_of(alphas, code))[].data()
        k.zero_infinity = call.bool(8)
        var result = held.keep(new_tensor(code, x[].shape, 3))
        k.result = result[].data()
        if code == FLOAT64:
            _run[DType.float64](k)
        else:
            _run[DType.float32](k)
        var made = new_ref(Int(result))
        held.release()
        return made
    except e:
        held.release()
        raise e^


@export("dumbtorch_register_ctc")
def register_ctc() abi("C") -> None:
    register[ctc_forward]("ctc_forward")
    register[ctc_backward]("ctc_backward")
