"""Batching rules of recurrent layers: one walk over the steps for all samples.

Where the samples share the weights (also as the leaves that `grad` made of them), they are more rows of the batch, and
the gradients of the weights are products of each sample's steps. Where each has its own, the layer is computed in
operations, all samples at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.func._batching import RULES, Call, each, loop
from dumbtorch.func._rules_folded import fold, unfold
from dumbtorch.func._rules_products import shared
from dumbtorch.ops.recurrent import GATES, in_operations
from dumbtorch.ops.rederive import through_graph
from dumbtorch.ops.table import FUNCTIONS, TABLE, primitive

_LAYER, _LAYER_BACKWARD = TABLE["recurrent"].op, TABLE["recurrent_backward"].op
_INPUT, _W_IH, _W_HH, _BIAS, _GATES = 1, 2, 4, 8, 32  # the kernel's bits of what is needed


def _first(weight: Any) -> Any:
    return None if weight is None else weight.select(0, 0)


def _folded(whole: Any, dim: int = 0) -> Any:
    return None if whole is None else fold(whole, dim)


def _layer(
    input: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, mode: str, reverse: bool, keep: bool
) -> Any:
    size = input.shape[0]
    weights = map(_first, (w_ih, w_hh, b_ih, b_hh))
    output, hn, cn, gates, cells = _LAYER(
        _folded(input, 1), _folded(hx), _folded(cx), *weights, None, None, mode, reverse, keep
    )
    return unfold(output, size, 1), unfold(hn, size), unfold(cn, size), gates, cells


def _gradients(
    gs: Any, input: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, output: Any, gates: Any, cells: Any, mode: str,
    reverse: bool, needs: int,
) -> list[Any]:  # fmt: skip
    """The gradients of the samples of (input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr) and of their gates, None where not
    needed."""
    size, steps, batch = input.shape[:3]
    given = [_folded(g, 1 if n == 0 else 0) for n, g in enumerate(gs)]
    x, h, c = _folded(input, 1), _folded(hx), _folded(cx)
    wanted = needs & _INPUT | (_GATES if needs & ~_INPUT else 0)
    d_x, d_h, d_c, *_, slopes = _LAYER_BACKWARD(
        *given, x, h, c, w_ih, w_hh, None, _folded(output, 1), gates, cells, None, mode, reverse, wanted
    )
    made = [unfold(d_x, size, 1) if needs & _INPUT else None, unfold(d_h, size), unfold(d_c, size)]
    if not wanted & _GATES:
        return [*made, None, None, None, None, None, None]
    slopes = slopes.reshape(steps, size, batch, -1).movedim(1, 0).reshape(size, steps * batch, -1)
    by_x = by_h = slopes
    if mode == "GRU":  # its new gate has the state's product times the reset gate
        hidden = slopes.shape[2] // 4
        by_h = slopes[:, :, : 3 * hidden]
        by_x = FUNCTIONS["cat"]([slopes[:, :, : 2 * hidden], slopes[:, :, 3 * hidden :]], 2)
    d_ih = d_hh = d_bias = d_bias_hh = None
    if needs & _W_IH:
        d_ih = by_x.transpose(1, 2) @ input.reshape(size, steps * batch, -1)
    if needs & _W_HH:
        state = hx.unsqueeze(1)
        before = [output[:, 1:], state] if reverse else [state, output[:, :-1]]
        d_hh = by_h.transpose(1, 2) @ FUNCTIONS["cat"](before, 1).reshape(size, steps * batch, -1)
    if needs & _BIAS:
        d_bias, d_bias_hh = by_x.sum(1), by_h.sum(1)
    return [*made, d_ih, d_hh, d_bias, d_bias_hh, None, slopes if needs & _GATES else None]


def _in_operations(mode: str, reverse: bool, *wholes: Any) -> Any:
    return each(wholes[0].shape[0], partial(in_operations, None, mode, reverse), *wholes, None)


def _backward(
    gs: Any, input: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, mode: str, reverse: bool,
    keep: bool, output: Any, gates: Any, cells: Any, needed: list[bool],
) -> Any:  # fmt: skip
    if is_grad_enabled() or not keep:
        again = partial(_in_operations, mode, reverse)
        return through_graph(again, (input, hx, cx, w_ih, w_hh, b_ih, b_hh), gs[:3], needed)
    needs = needed[0] | needed[3] << 1 | needed[4] << 2 | (needed[5] or needed[6]) << 3
    made = _gradients(gs[:3], input, hx, cx, _first(w_ih), _first(w_hh), output, gates, cells, mode, reverse, needs)
    return [g if need else None for g, need in zip(made[:7], needed, strict=True)]


_TENSORS = ("input", "hx", "cx", "w_ih", "w_hh", "b_ih", "b_hh")
_EACH: Any = primitive(
    "recurrent_each", "input, hx, cx, w_ih, w_hh, b_ih, b_hh, mode, reverse, keep", _layer,
    dict.fromkeys(_TENSORS, _backward), outputs=("output", "hn", "cn", "gates", "cells"), differentiable=(0, 1, 2),
    doc="A recurrent layer for each of a batch, with weights that are one, stretched.",
)  # fmt: skip


def _by_sample(kept: Any, size: int, steps: int) -> Any:
    """What the layer keeps for its derivative, a row a step and sample, as each sample would have it."""
    if not kept.numel():
        return kept.unsqueeze(0).expand(size, *kept.shape)
    return kept.reshape(steps, size, -1, kept.shape[1]).movedim(1, 0).reshape(size, -1, kept.shape[1])


def _by_step(whole: Any, steps: int) -> Any:
    """The reverse."""
    if whole is None or not whole.numel():
        return None if whole is None else whole.select(0, 0)
    return whole.reshape(whole.shape[0], steps, -1, whole.shape[2]).movedim(1, 0).flatten(0, 2)


def _one_for_all(call: Call, places: range) -> bool:
    return all(call.is_whole[n] is not True or call.size == 1 or shared(call.args[n]) for n in places)


def _whole(call: Call, n: int) -> Any:
    return None if call.args[n] is None else call.whole(n)


def _recurrent(call: Call) -> Any:
    batch_sizes, mode, reverse, keep = call.args[8:]
    if not call.size or call.is_whole[8]:
        return loop(call)
    states = [_whole(call, n) for n in range(3)]
    own = any(call.is_whole[3:8])
    if batch_sizes is None and not own:
        made = _LAYER(_folded(states[0], 1), *map(_folded, states[1:]), *call.args[3:8], None, mode, reverse, keep)
        made = (unfold(made[0], call.size, 1), unfold(made[1], call.size), unfold(made[2], call.size), *made[3:])
    elif batch_sizes is None and call.args[7] is None and _one_for_all(call, range(3, 8)):
        made = _EACH(*states, *(_whole(call, n) for n in range(3, 7)), mode, reverse, keep)
    else:
        tensors = [*states, *(_whole(call, n) for n in range(3, 8))]
        if keep and not any(t is not None and t.requires_grad for t in tensors):
            return loop(call)  # someone wants what a derivative needs, and no derivative
        output, hn, cn = each(call.size, partial(in_operations, batch_sizes, mode, reverse), *tensors)
        hidden = tensors[3].shape[1] // GATES[mode]
        none = output.new_empty((call.size, 0, hidden))
        return output, hn, none if cn is None else cn, output.new_empty((call.size, 0, 4 * hidden)), none
    return (*made[:3], *(_by_sample(kept, call.size, states[0].shape[1]) for kept in made[3:]))


def _recurrent_backward(call: Call) -> Any:
    """Where the weights are no sample's own; else sample by sample."""
    batch_sizes, mode, reverse, needs = call.args[12:]
    if not call.size or batch_sizes is not None or call.args[8] is not None or not _one_for_all(call, range(6, 8)):
        return loop(call)
    weights = [w.select(0, 0) if call.is_whole[n] else w for n, w in enumerate(call.args) if n in (6, 7)]
    gs, states = [_whole(call, n) for n in range(3)], [_whole(call, n) for n in range(3, 6)]
    steps = states[0].shape[1]
    kept = [_by_step(_whole(call, n), steps) for n in (10, 11)]
    given = [*states, *weights, call.whole(9), *kept, mode, reverse, needs]
    made = _gradients(gs, *given)
    rows, hidden = weights[1].shape[0], weights[1].shape[0] // GATES[mode]
    kept = 4 * hidden if mode in ("LSTM", "GRU") else hidden
    for n in (5, 6):
        made[n] = None if made[n] is None else made[n].unsqueeze(1)
    widths = (states[0].shape[-1], 0, 0, states[0].shape[-1], weights[1].shape[1], rows, rows, hidden, kept)
    made = [states[0].new_empty((call.size, 0, n)) if m is None else m for m, n in zip(made, widths, strict=True)]
    return tuple(made)


def _each_of_each(call: Call) -> Any:
    """More of the batch that `recurrent_each` has."""
    if not call.size or not _one_for_all(call, range(3, 7)):
        return loop(call)
    steps = call.whole(0).shape[2]
    output, hn, cn, *kept = call.run((*(_folded(_whole(call, n)) for n in range(7)), *call.args[7:]))
    made = (unfold(m, call.size) for m in (output, hn, cn))
    return (*made, *(_by_sample(k, call.size, steps) for k in kept))


RULES["recurrent_each"] = _each_of_each
RULES.update(recurrent=_recurrent, recurrent_backward=_recurrent_backward)
