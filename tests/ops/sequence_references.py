"""References of the rows for sequences, one step after the other."""

from __future__ import annotations

from typing import Any

import torch


def _wide(t: Any) -> Any:
    return t if t is None or t.dtype == torch.float64 else t.float()


def recurrent(
    x: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Any, mode: str,
    reverse: bool, keep: bool,
) -> Any:  # fmt: skip
    dtype, width = x.dtype, w_hh.shape[1]
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = (_wide(t) for t in (x, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr))
    steps = list(x.unbind(0) if sizes is None else x.split(sizes.tolist()))
    if len(hx) != len(steps[0]):
        raise RuntimeError("a state for each row")
    hidden = w_hh.shape[0] // {"LSTM": 4, "GRU": 3}.get(mode, 1)
    outputs, gates, cells = list(steps), [x.new_zeros(0, 4 * hidden)], [x.new_zeros(0, hidden)]
    gates, cells = (gates * len(steps) if mode in ("LSTM", "GRU") else gates), cells * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        n = len(steps[t])
        a, b = torch.nn.functional.linear(steps[t], w_ih, b_ih), torch.nn.functional.linear(h[:n], w_hh, b_hh)
        if mode == "LSTM":
            i, f, g, o = (a + b).chunk(4, 1)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            cells[t] = f * c[:n] + i * g
            gates[t] = torch.cat([i, f, g, o], 1)
            new = o * cells[t].tanh()
            new = new if w_hr is None else new @ w_hr.t()
            c = torch.cat([cells[t], c[n:]])
        elif mode == "GRU":
            r, z = (a + b)[:, : 2 * hidden].sigmoid().chunk(2, 1)
            own = b[:, 2 * hidden :]
            candidate = (a[:, 2 * hidden :] + r * own).tanh()
            gates[t] = torch.cat([r, z, candidate, own], 1)
            new = (1 - z) * candidate + z * h[:n]
        else:
            new = (a + b).tanh() if mode == "RNN_TANH" else (a + b).relu()
        outputs[t] = new
        h = torch.cat([new, h[n:]])
    output = torch.stack(outputs) if sizes is None else torch.cat(outputs)
    cn = x.new_zeros(0, hidden) + 0 * h.sum() if c is None else c
    assert h.shape[1] == width
    kept = (torch.cat(gates), torch.cat(cells)) if keep else (x.new_zeros(0, 4 * hidden), x.new_zeros(0, hidden))
    return output.to(dtype), h.to(dtype), cn.to(dtype), *kept


def recurrent_backward(
    g_output: Any, g_h: Any, g_c: Any, x: Any, hx: Any, cx: Any, w_ih: Any, w_hh: Any, w_hr: Any, output: Any,
    gates: Any, cells: Any, sizes: Any, mode: str, reverse: bool, needs: int,
) -> Any:  # fmt: skip
    """From what was kept, which need not be what a forward pass would have kept; without projections and packing."""
    assert w_hr is None and sizes is None
    dtype, (steps, batch, inputs) = x.dtype, x.shape
    g_output, g_h, g_c, x, hx, cx, w_ih, w_hh, output, gates, cells = (
        _wide(t) for t in (g_output, g_h, g_c, x, hx, cx, w_ih, w_hh, output, gates, cells)
    )
    rows, hidden = w_hh.shape
    gates = None if gates is None else gates.reshape(steps, batch, -1)
    cells = None if cells is None else cells.reshape(steps, batch, -1)
    dh = torch.zeros_like(hx) if g_h is None else g_h
    dc = (torch.zeros_like(cx) if g_c is None else g_c) if mode == "LSTM" else x.new_zeros(0, hx.shape[1])
    by_input, by_state, before = [x.new_zeros(batch, rows)] * steps, [x.new_zeros(batch, rows)] * steps, [hx] * steps
    for t in range(steps) if reverse else reversed(range(steps)):
        past = t + 1 if reverse else t - 1
        known = 0 <= past < steps
        before[t] = output[past] if known else hx
        g = dh if g_output is None else dh + g_output[t]
        own = 0
        if mode == "LSTM":
            i, f, n, o = gates[t].chunk(4, 1)
            tanh = cells[t].tanh()
            dc = dc + g * o * (1 - tanh * tanh)
            parts = [dc * n * i * (1 - i), dc * (cells[past] if known else cx) * f * (1 - f), dc * i * (1 - n * n),
                     g * tanh * o * (1 - o)]  # fmt: skip
            by_input[t] = by_state[t] = torch.cat(parts, 1)
            dc = dc * f
        elif mode == "GRU":
            r, z, n, product = gates[t].chunk(4, 1)
            dn = g * (1 - z) * (1 - n * n)
            dr, dz = dn * product * r * (1 - r), g * (before[t] - n) * z * (1 - z)
            by_input[t], by_state[t] = torch.cat([dr, dz, dn], 1), torch.cat([dr, dz, dn * r], 1)
            own = g * z
        else:
            y = output[t]
            by_input[t] = by_state[t] = g * (1 - y * y) if mode == "RNN_TANH" else g * (y > 0)
        dh = own + by_state[t] @ w_hh
    d_input, d_state = torch.cat(by_input), torch.cat(by_state)
    d_gates = torch.cat([d_state, d_input[:, 2 * hidden :]], 1) if mode == "GRU" else d_input
    nothing = (x.new_zeros(0, inputs), x.new_zeros(0, hidden), x.new_zeros(0, rows))
    found = (
        torch.stack(by_input) @ w_ih if needs & 1 else nothing[0], dh, dc,
        d_input.t() @ x.reshape(-1, inputs) if needs & 2 else nothing[0],
        d_state.t() @ torch.cat(before) if needs & 4 else nothing[1],
        d_input.sum(0, True) if needs & 8 else nothing[2], d_state.sum(0, True) if needs & 8 else nothing[2],
        nothing[1], d_gates if needs & 32 else d_gates[:0],
    )  # fmt: skip
    return tuple(t.to(dtype) for t in found)


def ctc_forward(log_probs: Any, targets: Any, inputs: Any, lengths: Any, blank: int) -> Any:
    """What lies past a sample's steps and states is nothing, and zero."""
    targets = targets.contiguous()  # PyTorch misreads others
    losses, alphas = torch.ops.aten._ctc_loss(log_probs, targets, inputs.tolist(), lengths.tolist(), blank)
    for alpha, steps, length in zip(alphas, inputs.tolist(), lengths.tolist(), strict=True):
        alpha[steps:] = 0
        alpha[:, 2 * length + 1 :] = 0
    return losses, alphas


def ctc_backward(
    g: Any, log_probs: Any, targets: Any, inputs: Any, lengths: Any, blank: int, losses: Any, alphas: Any, zero: bool
) -> Any:
    if g.shape != losses.shape:
        raise RuntimeError("a gradient for each loss")
    return torch.ops.aten._ctc_loss_backward(
        g, log_probs, targets.contiguous(), inputs.tolist(), lengths.tolist(), losses, alphas, blank, zero
    )
