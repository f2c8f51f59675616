"""Recurrent layers and cells: Elman networks, long short-term memory, gated recurrent units.

One direction of one layer is a row with a kernel for all steps; layers, directions and cells are made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.rederive import through_graph
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row

#: How many blocks of hidden units the weights of a mode have.
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _step(mode: str, x: Any, h: Any, c: Any, w_hh: Any, b_hh: Any, w_hr: Any) -> tuple[Any, Any]:
    """The states after one step, from the input's products."""
    s = h @ w_hh.t()
    if b_hh is not None:
        s = s + b_hh
    if mode == "GRU":
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3, 1), s.chunk(3, 1)
        z = (xz + hz).sigmoid()
        n = (xn + (xr + hr).sigmoid() * hn).tanh()
        return n + z * (h - n), c
    if mode == "LSTM":
        i, f, g, o = (x + s).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h if w_hr is None else h @ w_hr.t(), c
    return (x + s).tanh() if mode == "RNN_TANH" else (x + s).relu(), c


def in_operations(
    batch_sizes: Any, mode: str, reverse: bool, input: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, b_ih: Any,
    b_hh: Any, w_hr: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """What the kernel computes, in differentiable operations."""
    products = input @ w_ih.t()
    if b_ih is not None:
        products = products + b_ih
    steps = list(products.unbind(0) if batch_sizes is None else products.split(batch_sizes.tolist()))
    outputs = steps.copy()
    order = range(len(steps) - 1, -1, -1) if reverse else range(len(steps))
    h, c = hx, cx
    for t in order:
        rows = steps[t].shape[0]
        new_h, new_c = _step(mode, steps[t], h[:rows], None if c is None else c[:rows], w_hh, b_hh, w_hr)
        outputs[t] = new_h
        h = FUNCTIONS["cat"]([new_h, h[rows:]])
        c = None if c is None else FUNCTIONS["cat"]([new_c, c[rows:]])
    return FUNCTIONS["stack"](outputs) if batch_sizes is None else FUNCTIONS["cat"](outputs), h, c


def _backward(
    gs: Any, input: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, batch_sizes: Any,
    mode: str, reverse: bool, keep: bool, output: Any, gates: Any, cells: Any, needed: list[bool],
) -> Any:  # fmt: skip
    """All gradients in one walk over the steps; in differentiable operations where they are differentiated again."""
    if is_grad_enabled() or not keep:
        again = partial(in_operations, batch_sizes, mode, reverse)
        return through_graph(again, (input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr), gs[:3], needed)
    # in the order of the kernel's bits
    needs = needed[0] | needed[3] << 1 | needed[4] << 2 | (needed[5] or needed[6]) << 3 | needed[7] << 4
    made = FUNCTIONS["recurrent_backward"](
        gs[0], gs[1], gs[2], input, hx, cx, w_ih, w_hh, w_hr, output, gates, cells, batch_sizes, mode, reverse, needs
    )
    return [
        None if not need else g.reshape(-1) if n in (5, 6) else g
        for n, (g, need) in enumerate(zip(made, needed, strict=False))
    ]


def _small(*shape: int) -> Any:
    return T(*shape, low=-0.6, high=0.6)


def _arguments(
    mode: str, steps: int = 3, batch: int = 2, inputs: int = 3, hidden: int = 4, proj: int = 0, bias: bool = True
) -> list[Any]:
    rows, width = GATES[mode] * hidden, proj or hidden
    b = _small(rows) if bias else None
    return [
        T(steps, batch, inputs), _small(batch, width), _small(batch, hidden) if mode == "LSTM" else None,
        _small(rows, inputs), _small(rows, width), b, b, _small(proj, hidden) if proj else None,
    ]  # fmt: skip


def _samples() -> Any:
    for mode in GATES:
        yield S(*_arguments(mode), None, mode, False, True)
    yield S(*_arguments("LSTM"), None, "LSTM", True, False)
    yield S(*_arguments("LSTM", proj=2, bias=False), None, "LSTM", True, True)
    packed = _arguments("GRU")
    packed[0] = T(4, 3)
    yield S(*packed, T(3, dtype="int64", values=[2, 1, 1]), "GRU", True, True)


def _errors() -> Any:
    lstm = _arguments("LSTM")
    yield S(*lstm, None, "RNN", False, True, error="RuntimeError")
    yield S(T(3, 2, 5), *lstm[1:], None, "LSTM", False, True, error="RuntimeError")
    yield S(lstm[0], T(3, 4), *lstm[2:], None, "LSTM", False, True, error="RuntimeError")
    yield S(T(4, 3), *lstm[1:], T(2, dtype="int64", values=[2, 3]), "LSTM", False, True, error="RuntimeError")


_TENSORS = ("input", "hx", "cx", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
_LAYER = row("recurrent", "input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes:i, mode, reverse, keep",
    outputs=("output", "hn", "cn", "gates", "cells"), differentiable=(0, 1, 2), method=False, function=False,
    out=False, ref=None, grad=dict.fromkeys(_TENSORS, _backward), samples=_samples, errors=_errors,
    doc="One direction of one recurrent layer over (steps, batch, inputs), or over packed rows with ``batch_sizes``.",
)  # fmt: skip


def _backward_samples() -> Any:
    for mode in GATES:
        arguments = _arguments(mode)
        kept = [_small(6, 16) if mode in ("LSTM", "GRU") else None, _small(6, 4) if mode == "LSTM" else None]
        cell = _small(2, 4) if mode == "LSTM" else None
        yield S(
            _small(3, 2, 4), _small(2, 4), cell, *arguments[:5], None, _small(3, 2, 4), *kept, None, mode, False, 63
        )
        yield S(None, _small(2, 4), None, *arguments[:5], None, _small(3, 2, 4), *kept, None, mode, True, 0)


row("recurrent_backward", "grad_output, grad_hn, grad_cn, input, hx, cx, w_ih, w_hh, w_hr, output, gates, cells, "
    "batch_sizes:i, mode, reverse, needs", outputs=(*(f"d_{name}" for name in _TENSORS), "d_gates"), method=False,
    out=False, ref=None, samples=_backward_samples, errors=lambda: (
        S(T(3, 2, 5), None, None, *_arguments("GRU")[:5], None, T(3, 2, 4), _small(6, 16), None, None, "GRU", False, 0,
          error="RuntimeError"),
    ), doc="The derivative of recurrent by all its tensors and its gates; ``needs`` says which.")  # fmt: skip


def _layer(*given: Any) -> tuple[Any, Any, Any]:
    """The row; what the derivative needs is kept only where there will be one."""
    keep = is_grad_enabled() and any(t is not None and t.requires_grad for t in given[: len(_TENSORS)])
    output, hn, cn, _, _ = _LAYER(*given, keep)
    return output, hn, cn


def _one_direction(
    input: Any, batch_sizes: Any, h: Any, c: Any, params: Sequence[Any], has_biases: bool, mode: str, reverse: bool
) -> tuple[Any, Any, Any]:
    w_ih, w_hh, *rest = params
    b_ih, b_hh = (rest.pop(0), rest.pop(0)) if has_biases else (None, None)
    return _layer(input, h, c, w_ih, w_hh, b_ih, b_hh, rest[0] if rest else None, batch_sizes, mode, reverse)


def _stacked(states: list[Any]) -> Any:
    return states[0].unsqueeze(0) if len(states) == 1 else FUNCTIONS["stack"](states)


def _layers(
    name: str, mode: str, input: Any, batch_sizes: Any, states: Sequence[Any], params: Sequence[Any], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """All layers and directions: the output and the last states of each."""
    directions = 2 if bidirectional else 1
    count = num_layers * directions
    each, rest = divmod(len(params), count)
    if rest or each not in ((4, 5) if has_biases else (2, 3)):
        raise RuntimeError(f"{name}(): {len(params)} weights do not fit {num_layers} layers of {directions} directions")
    wanted = 3 if batch_sizes is None else 2
    if input.ndim != wanted:
        raise RuntimeError(f"{name}(): input must have {wanted} dimensions, got {input.ndim}")
    for state in states:
        if state.ndim != 3 or state.shape[0] != count:
            raise RuntimeError(f"{name}(): Expected hidden states of shape ({count}, batch, hidden), got {state.shape}")
    if batch_first:
        input = input.transpose(0, 1)
    split = [state.unbind(0) for state in states]
    last: list[list[Any]] = [[] for _ in states]
    for layer in range(num_layers):
        outputs = []
        for n in range(layer * directions, (layer + 1) * directions):
            h, c = split[0][n], split[1][n] if len(split) > 1 else None
            output, *ends = _one_direction(
                input, batch_sizes, h, c, params[n * each : (n + 1) * each], has_biases, mode, n % directions == 1
            )
            outputs.append(output)
            for kept, end in zip(last, ends, strict=False):
                kept.append(end)
        input = outputs[0] if directions == 1 else FUNCTIONS["cat"](outputs, -1)
        if dropout and train and layer + 1 < num_layers:
            input = FUNCTIONS["dropout"](input, dropout, True)
    if batch_first:
        input = input.transpose(0, 1)
    return (input, *(_stacked(kept) for kept in last))


def _is_tensor(x: Any) -> bool:
    return hasattr(x, "ndim")


def _call(name: str, mode: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    """Reads the two forms of the call: (input, hx, params, ...) and (data, batch_sizes, hx, params, ...)."""
    padded = ("input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first")
    packed = ("data", "batch_sizes", *padded[1:-1])
    third = args[2] if len(args) > 2 else options.get("params")
    is_packed = "batch_sizes" in options or (len(args) > 1 and _is_tensor(args[1]) and (
        mode == "LSTM" or _is_tensor(third)))  # fmt: skip
    names = packed if is_packed else padded
    if len(args) > len(names):
        raise TypeError(f"{name}() takes {len(names)} positional arguments but {len(args)} were given")
    given = dict(zip(names, args, strict=False)) | options
    for key in names:
        if key not in given:
            raise TypeError(f'{name}() missing 1 required positional arguments: "{key}"')
    if len(given) > len(names):
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(k for k in given if k not in names)}'")
    states = tuple(given["hx"]) if mode == "LSTM" else (given["hx"],)
    if mode == "LSTM" and len(states) != 2:
        raise RuntimeError("lstm expects two hidden states")
    return _layers(
        name, mode, given["data" if is_packed else "input"], given.get("batch_sizes"), states, given["params"],
        given["has_biases"], given["num_layers"], given["dropout"], given["train"], given["bidirectional"],
        given.get("batch_first", False),
    )  # fmt: skip


@composite(method=False)
def lstm(*args: Any, **options: Any) -> tuple[Any, Any, Any]:
    """All layers of a long short-term memory: the output and the last states h and c.

    ``lstm(input, (h0, c0), params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or with
    ``(data, batch_sizes, (h0, c0), ...)`` and without ``batch_first`` for a packed sequence. ``params`` are the weights
    of each layer and direction: w_ih, w_hh, then b_ih, b_hh, then a projection, where there are any. Raises
    RuntimeError for shapes and dtypes that do not fit. Reference: ``torch.lstm`` (Hochreiter and Schmidhuber, 1997).
    """
    output, h, c = _call("lstm", "LSTM", args, options)
    return output, h, c


@composite(method=False)
def gru(*args: Any, **options: Any) -> tuple[Any, Any]:
    """All layers of gated recurrent units: the output and the last state. Arguments as `lstm`, with one state.

    Reference: ``torch.gru`` (Cho et al., 2014; the reset gate multiplies the state's product, as in cuDNN).
    """
    output, h = _call("gru", "GRU", args, options)
    return output, h


@composite(method=False)
def rnn_tanh(*args: Any, **options: Any) -> tuple[Any, Any]:
    """All layers of an Elman network with tanh: the output and the last state. Arguments as `gru`.

    Reference: ``torch.rnn_tanh`` (Elman, 1990).
    """
    output, h = _call("rnn_tanh", "RNN_TANH", args, options)
    return output, h


@composite(method=False)
def rnn_relu(*args: Any, **options: Any) -> tuple[Any, Any]:
    """All layers of an Elman network with relu: the output and the last state. Arguments as `gru`.

    Reference: ``torch.rnn_relu``.
    """
    output, h = _call("rnn_relu", "RNN_RELU", args, options)
    return output, h


def _cell(
    name: str, mode: str, input: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> tuple[Any, Any]:
    if input.ndim != 2 or h.ndim != 2:
        raise RuntimeError(f"{name}(): expects input and states of 2 dimensions, got {input.ndim} and {h.ndim}")
    if (b_ih is None) != (b_hh is None):
        b_ih, b_hh = (b_hh.new_zeros(b_hh.shape), b_hh) if b_ih is None else (b_ih, b_ih.new_zeros(b_ih.shape))
    return _layer(input.unsqueeze(0), h, c, w_ih, w_hh, b_ih, b_hh, None, None, mode, False)[1:]


@composite(method=False)
def lstm_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    """One step of a long short-term memory: (N, I) and states (N, H) -> the new states h and c.

    Raises RuntimeError for shapes and dtypes that do not fit. Reference: ``torch.lstm_cell``.
    """
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    return _cell("lstm_cell", "LSTM", input, hx[0], hx[1], w_ih, w_hh, b_ih, b_hh)


@composite(method=False)
def gru_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of gated recurrent units: (N, I) and (N, H) -> (N, H). Reference: ``torch.gru_cell``."""
    return _cell("gru_cell", "GRU", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


@composite(method=False)
def rnn_tanh_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of an Elman network with tanh: (N, I) and (N, H) -> (N, H). Reference: ``torch.rnn_tanh_cell``."""
    return _cell("rnn_tanh_cell", "RNN_TANH", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


@composite(method=False)
def rnn_relu_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of an Elman network with relu: (N, I) and (N, H) -> (N, H). Reference: ``torch.rnn_relu_cell``."""
    return _cell("rnn_relu_cell", "RNN_RELU", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]
