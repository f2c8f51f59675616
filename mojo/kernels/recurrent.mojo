"""Recurrent layers as ops: one direction of one layer over all steps, and its derivative.

Sequences lie in (steps, batch, inputs), or packed in (rows, inputs) with the sizes of the steps. Half types compute in
float32, and what is kept for the derivative stays so.
"""

from std.memory import Pointer
from tensor.call import Call, register
from tensor.dtype import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT64, type_name
from tensor.layout import no_dims, shape_text
from tensor.memory import load, memcpy, memset
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, new_ref, release_gil, take_gil, tuple_new, tuple_set
from kernels.held import Held
from kernels.pointwise import unsupported
from kernels.recurrent_cells import GRU, LSTM, Cell, Relu, Tanh
from kernels.recurrent_backward import Gradients, backward
from kernels.recurrent_forward import forward
from kernels.recurrent_pairs import MAY_PAIR, can_pair
from kernels.recurrent_steps import Layer
from kernels.transfer_api import contiguous_of

comptime IS_LSTM = 2
comptime IS_GRU = 3


def _computing(code: Int) -> Int:
    return FLOAT64 if code == FLOAT64 else FLOAT32


def _multiplied(code: Int, mode: Int, projected: Bool) -> Int:
    """The type that products take: bfloat16 as it is for LSTMs, where the processor multiplies pairs of it."""
    if code == BFLOAT16 and mode == IS_LSTM and not projected and can_pair():
        return BFLOAT16
    return _computing(code)


def _mode(call: Call, slot: Int) raises -> Int:
    var text = call.string(slot)
    if text == "RNN_TANH":
        return 0
    if text == "RNN_RELU":
        return 1
    if text == "LSTM":
        return IS_LSTM
    if text == "GRU":
        return IS_GRU
    raise call.fail("RuntimeError", String(t"Unknown recurrent mode: {text}"))


def _input(call: Call, slot: Int) raises -> TPtr:
    var t = call.tensor(slot)
    if t[].code() < FLOAT16 or t[].code() > FLOAT64:
        raise unsupported(call.name(), t[].code())
    if t[].device() != 0:
        raise call.fail("RuntimeError", "there is no kernel for this device")
    return t


def _matrix(call: Call, slot: Int, rows: Int, columns: Int, like: TPtr, code: Int, mut held: Held) raises -> Int:
    """The address of an argument of this many rows and columns (0: a vector), as this type; 0 for None."""
    if call.is_none(slot):
        return 0
    var t = call.tensor(slot)
    var fits = t[].rank() == 2 and t[].shape[0] == rows and t[].shape[1] == columns
    if columns == 0:
        fits = t[].rank() == 1 and t[].shape[0] == rows
    if not fits:
        var wanted = String(t"[{rows}]") if columns == 0 else String(t"[{rows}, {columns}]")
        raise call.fail(
            "RuntimeError",
            String(t"Expected '{call.param(slot)}' of shape {wanted}, got {shape_text(t[].shape, t[].rank())}"),
        )
    if t[].code() != like[].code():
        raise call.fail(
            "RuntimeError",
            String(
                t"Expected '{call.param(slot)}' of the input's type"
                t" {type_name(like[].code())}, got {type_name(t[].code())}"
            ),
        )
    if t[].device() != 0:
        raise call.fail("RuntimeError", "there is no kernel for this device")
    return held.keep(contiguous_of(t, code))[].data()


def _kept(call: Call, slot: Int, count: Int, code: Int, mut held: Held) raises -> Int:
    """The address of what the forward pass has kept, or of a gradient; 0 for None."""
    if call.is_none(slot):
        return 0
    var t = call.tensor(slot)
    if t[].numel != count or t[].device() != 0:
        raise call.fail(
            "RuntimeError", String(t"'{call.param(slot)}' has {t[].numel} elements and should have {count}")
        )
    return held.keep(contiguous_of(t, code))[].data()


def _required(call: Call, slot: Int, address: Int) raises -> Int:
    if address == 0 and call.is_none(slot):
        raise call.type_error(slot, "Tensor")
    return address


def _sizes(call: Call, slot: Int, x: TPtr, mut k: Layer, mut held: Held) raises:
    """The sizes of the steps, of a packed sequence or of (steps, batch, inputs)."""
    if call.is_none(slot):
        if x[].rank() != 3:
            raise call.fail("RuntimeError", String(t"expects input of 3 dimensions, got {x[].rank()}"))
        k.steps = x[].shape[0]
        for t in range(k.steps):
            k.sizes.append(x[].shape[1])
            k.starts.append(t * x[].shape[1])
        k.total = k.steps * x[].shape[1]
        k.batch = x[].shape[1]
    else:
        var t = call.tensor(slot)
        if x[].rank() != 2 or t[].rank() != 1 or t[].code() != INT64 or t[].device() != 0:
            raise call.fail(
                "RuntimeError", "a packed sequence is input of 2 dimensions with batch_sizes of type int64 on the CPU"
            )
        var sizes = held.keep(contiguous_of(t, INT64))[].data()
        k.steps = t[].shape[0]
        for i in range(k.steps):
            var n = load[Int](sizes + 8 * i)
            if n <= 0 or (i > 0 and n > k.sizes[i - 1]):
                raise call.fail("RuntimeError", "batch_sizes should be positive and not increasing")
            k.sizes.append(n)
            k.starts.append(k.total)
            k.total += n
        if k.total != x[].shape[0]:
            raise call.fail(
                "RuntimeError",
                String(t"Expected the sum of batch_sizes to be the number of rows {x[].shape[0]}, got {k.total}"),
            )
        k.batch = k.sizes[0] if k.steps > 0 else 0
    if k.steps == 0:
        raise Error("RuntimeError|Expected sequence length to be larger than 0 in RNN")
    k.inputs = x[].shape[x[].rank() - 1]


def _weights(call: Call, x: TPtr, mode: Int, first: Int, code: Int, mut k: Layer, mut held: Held) raises:
    """The states and the weights: hx, cx, w_ih, w_hh and w_hr from slot `first` on, as this type, biases excepted."""
    var state = call.tensor(first)
    var w_hh = call.tensor(first + 3)
    var gates = 4 if mode == IS_LSTM else (3 if mode == IS_GRU else 1)
    if w_hh[].rank() != 2 or w_hh[].shape[0] % gates != 0 or w_hh[].shape[0] == 0:
        raise call.fail(
            "RuntimeError", String(t"weights of {shape_text(w_hh[].shape, w_hh[].rank())} are not of {gates} gates")
        )
    k.hidden = w_hh[].shape[0] // gates
    k.width = w_hh[].shape[1]
    if state[].rank() != 2 or state[].shape[0] != k.batch or state[].shape[1] != k.width or k.width == 0:
        raise call.fail(
            "RuntimeError",
            String(t"Expected hidden size ({k.batch}, {k.width}), got {shape_text(state[].shape, state[].rank())}"),
        )
    var rows = gates * k.hidden
    k.h0 = _matrix(call, first, k.batch, k.width, x, code, held)
    k.w_ih = _required(call, first + 2, _matrix(call, first + 2, rows, k.inputs, x, code, held))
    k.w_hh = _matrix(call, first + 3, rows, k.width, x, code, held)
    if mode == IS_LSTM:
        var c0 = _matrix(call, first + 1, k.batch, k.hidden, x, _computing(code), held)
        k.c0 = _required(call, first + 1, c0)


def _projection(call: Call, slot: Int, x: TPtr, mode: Int, mut k: Layer, mut held: Held) raises:
    if mode == IS_LSTM:
        k.w_hr = _matrix(call, slot, k.width, k.hidden, x, _computing(x[].code()), held)
    if k.w_hr == 0 and k.width != k.hidden:
        raise call.fail("RuntimeError", String(t"a state of {k.width} does not fit {k.hidden} hidden units"))


def _new(code: Int, rows: Int, columns: Int, mut held: Held) raises -> TPtr:
    var shape = no_dims()
    shape[0] = rows
    shape[1] = columns
    return held.keep(new_tensor(code, shape, 2))


def _in_type(t: TPtr, code: Int, mut held: Held) raises -> Obj:
    """A reference for the caller, in the type of the input."""
    return new_ref(Int(held.keep(contiguous_of(t, code))))


def _run_forward[K: Cell](k: Layer, code: Int, hn: Int, cn: Int) raises:
    # a try around each, so that the lock is taken again whatever happens
    var saved = release_gil()
    try:
        if code == FLOAT64:
            forward[K, DType.float64, DType.float64](k, hn, cn)
        elif code == FLOAT32:
            forward[K, DType.float32, DType.float32](k, hn, cn)
        else:
            comptime if MAY_PAIR and K.HAS_CELL:
                forward[K, DType.float32, DType.bfloat16](k, hn, cn)
    finally:
        take_gil(saved)


def recurrent(mut call: Call) raises -> Obj:
    """(input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, mode, reverse, keep) -> (output, hn, cn, gates,
    cells); without `keep` the last two are empty, and there is no derivative.
    """
    var x = _input(call, 0)
    var mode = _mode(call, 9)
    var held = Held()
    try:
        var k = Layer()
        k.reverse = call.bool(10)
        _sizes(call, 8, x, k, held)
        var code = x[].code()
        var computing = _computing(code)
        var multiplied = _multiplied(code, mode, not call.is_none(7))
        _weights(call, x, mode, 1, multiplied, k, held)
        _projection(call, 7, x, mode, k, held)
        var gates = 4 if mode == IS_LSTM else (3 if mode == IS_GRU else 1)
        k.b_ih = _matrix(call, 5, gates * k.hidden, 0, x, computing, held)
        k.b_hh = _matrix(call, 6, gates * k.hidden, 0, x, computing, held)
        if (k.b_ih == 0) != (k.b_hh == 0):
            raise call.fail("RuntimeError", "expects both biases or none")
        k.x = held.keep(contiguous_of(x, multiplied))[].data()
        var shape = x[].shape.copy()
        shape[x[].rank() - 1] = k.width
        var output = held.keep(new_tensor(computing, shape, x[].rank()))
        var hn = _new(computing, k.batch, k.width, held)
        var cn = _new(computing, k.batch if mode == IS_LSTM else 0, k.hidden, held)
        var keep = call.bool(11)
        var kept = _new(computing, k.total if keep and mode >= IS_LSTM else 0, 4 * k.hidden, held)
        var cells = _new(computing, k.total if keep and mode == IS_LSTM else 0, k.hidden, held)
        k.output = output[].data()
        k.gates = k.output if mode < IS_LSTM else (kept[].data() if keep else 0)
        k.cells = cells[].data() if keep else 0
        if mode == IS_LSTM:
            memcpy(cn[].data(), k.c0, k.batch * k.hidden * (8 if computing == FLOAT64 else 4))
        if k.batch > 0:
            if mode == 0:
                _run_forward[Tanh](k, multiplied, hn[].data(), 0)
            elif mode == 1:
                _run_forward[Relu](k, multiplied, hn[].data(), 0)
            elif mode == IS_LSTM:
                _run_forward[LSTM](k, multiplied, hn[].data(), cn[].data())
            else:
                _run_forward[GRU](k, multiplied, hn[].data(), 0)
        var made = tuple_new(5)
        tuple_set(made, 0, _in_type(output, code, held))
        tuple_set(made, 1, _in_type(hn, code, held))
        tuple_set(made, 2, _in_type(cn, code, held))
        tuple_set(made, 3, new_ref(Int(kept)))
        tuple_set(made, 4, new_ref(Int(cells)))
        held.release()
        return made
    except e:
        held.release()
        raise e^


comptime NEEDS_INPUT = 1
comptime NEEDS_W_IH = 2
comptime NEEDS_W_HH = 4
comptime NEEDS_BIAS = 8
comptime NEEDS_W_HR = 16
comptime NEEDS_GATES = 32


def _state_gradient(
    call: Call, slot: Int, rows: Int, columns: Int, code: Int, mut held: Held
) raises -> TPtr:  # fmt: skip
    """What a state's gradient begins as: that of the last one, or zeros."""
    var made = _new(code, rows, columns, held)
    var bytes = rows * columns * (8 if code == FLOAT64 else 4)
    var given = _kept(call, slot, rows * columns, code, held)
    if bytes > 0:
        if given != 0:
            memcpy(made[].data(), given, bytes)
        else:
            memset(made[].data(), 0, bytes)
    return made


def _run_backward[K: Cell](k: Layer, code: Int, g: Gradients) raises:
    var saved = release_gil()
    try:
        if code == FLOAT64:
            backward[K, DType.float64, DType.float64](k, g)
        elif code == FLOAT32:
            backward[K, DType.float32, DType.float32](k, g)
        else:
            comptime if MAY_PAIR and K.HAS_CELL:
                backward[K, DType.float32, DType.bfloat16](k, g)
    finally:
        take_gil(saved)


def recurrent_backward(mut call: Call) raises -> Obj:
    """(grad_output, grad_hn, grad_cn, input, hx, cx, w_ih, w_hh, w_hr, output, gates, cells, batch_sizes, mode, reverse,
    needs) -> the gradients of (input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr) and of the gates before their functions (a
    row a step and sample; GRU's last block is the new gate's by the input), empty where not needed.
    """
    var x = _input(call, 3)
    var mode = _mode(call, 13)
    var needs = call.int(15)
    var held = Held()
    try:
        var k = Layer()
        k.reverse = call.bool(14)
        _sizes(call, 12, x, k, held)
        var code = x[].code()
        var computing = _computing(code)
        var multiplied = _multiplied(code, mode, not call.is_none(8))
        _weights(call, x, mode, 4, multiplied, k, held)
        _projection(call, 8, x, mode, k, held)
        var gates = 4 if mode == IS_LSTM else (3 if mode == IS_GRU else 1)
        k.x = held.keep(contiguous_of(x, multiplied))[].data()
        k.output = _required(call, 9, _kept(call, 9, k.total * k.width, multiplied, held))
        k.gates = k.output
        if mode >= IS_LSTM:
            k.gates = _required(call, 10, _kept(call, 10, k.total * 4 * k.hidden, computing, held))
        if mode == IS_LSTM:
            k.cells = _required(call, 11, _kept(call, 11, k.total * k.hidden, computing, held))
        var g = Gradients()
        g.output = _kept(call, 0, k.total * k.width, computing, held)
        var d_h = _state_gradient(call, 1, k.batch, k.width, computing, held)
        var d_c = _state_gradient(call, 2, k.batch if mode == IS_LSTM else 0, k.hidden, computing, held)
        var rows = gates * k.hidden
        var d_x: TPtr
        if needs & NEEDS_INPUT != 0:
            d_x = held.keep(new_tensor(multiplied, x[].shape, x[].rank()))
        else:
            d_x = _new(multiplied, 0, k.inputs, held)
        var d_w_ih = _new(multiplied, rows if needs & NEEDS_W_IH != 0 else 0, k.inputs, held)
        var d_w_hh = _new(multiplied, rows if needs & NEEDS_W_HH != 0 else 0, k.width, held)
        var d_b_ih = _new(multiplied, 1 if needs & NEEDS_BIAS != 0 else 0, rows, held)
        var d_b_hh = _new(multiplied, 1 if needs & NEEDS_BIAS != 0 else 0, rows, held)
        var d_w_hr = _new(computing, k.width if needs & NEEDS_W_HR != 0 and k.w_hr != 0 else 0, k.hidden, held)
        var stored = 4 * k.hidden if mode >= IS_LSTM else k.hidden
        var d_gates = _new(multiplied, k.total if needs & NEEDS_GATES != 0 else 0, stored, held)
        g.h = d_h[].data()
        g.c = d_c[].data()
        g.x = d_x[].data() if d_x[].numel > 0 else 0
        g.w_ih = d_w_ih[].data() if d_w_ih[].numel > 0 else 0
        g.w_hh = d_w_hh[].data() if d_w_hh[].numel > 0 else 0
        g.b_ih = d_b_ih[].data() if d_b_ih[].numel > 0 else 0
        g.b_hh = d_b_hh[].data() if d_b_hh[].numel > 0 else 0
        g.w_hr = d_w_hr[].data() if d_w_hr[].numel > 0 else 0
        g.gates = d_gates[].data() if d_gates[].numel > 0 else 0
        if mode == 0:
            _run_backward[Tanh](k, multiplied, g)
        elif mode == 1:
            _run_backward[Relu](k, multiplied, g)
        elif mode == IS_LSTM:
            _run_backward[LSTM](k, multiplied, g)
        else:
            _run_backward[GRU](k, multiplied, g)
        var made = tuple_new(9)
        tuple_set(made, 0, _in_type(d_x, code, held))
        tuple_set(made, 1, _in_type(d_h, code, held))
        tuple_set(made, 2, _in_type(d_c, code, held))
        tuple_set(made, 3, _in_type(d_w_ih, code, held))
        tuple_set(made, 4, _in_type(d_w_hh, code, held))
        tuple_set(made, 5, _in_type(d_b_ih, code, held))
        tuple_set(made, 6, _in_type(d_b_hh, code, held))
        tuple_set(made, 7, _in_type(d_w_hr, code, held))
        tuple_set(made, 8, _in_type(d_gates, code, held))
        held.release()
        return made
    except e:
        held.release()
        raise e^


@export("dumbtorch_register_recurrent")
def register_recurrent() abi("C") -> None:
    register[recurrent]("recurrent")
    register[recurrent_backward]("recurrent_backward")
