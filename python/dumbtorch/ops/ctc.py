"""Connectionist temporal classification: the loss of label sequences whose alignment is not known."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch._dtypes import int64
from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.rederive import through_graph
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, primitive, row

_ARGUMENTS = (
    T(5, 2, 4, low=-3, high=-0.5, grad=False), T(3, dtype="int64", values=[1, 1, 2]),
    T(2, dtype="int64", values=[5, 4]), T(2, dtype="int64", values=[2, 1]), 0,
)  # fmt: skip
_FORWARD = row("ctc_forward", "log_probs:i, targets:i, input_lengths:i, target_lengths:i, blank",
    outputs=("losses", "alphas"), method=False, function=False, out=False, ref=None, dtypes="single",
    samples=lambda: (S(*_ARGUMENTS),),
    errors=lambda: (S(*_ARGUMENTS[:4], 9, error="RuntimeError"),),
    doc="The loss of each sample of (steps, batch, classes), and the forward variables.")  # fmt: skip
_BACKWARD = row("ctc_backward", "grad_output:i, log_probs:i, targets:i, input_lengths:i, target_lengths:i, blank, "
    "losses:i, alphas:i, zero_infinity", method=False, function=False, out=False, ref=None, dtypes="single",
    samples=lambda: (S(T(2, grad=False), *_ARGUMENTS, T(2, low=1, high=2, grad=False),
                       T(2, 5, 5, low=-3, high=-1, grad=False), False),),
    errors=lambda: (S(T(3, grad=False), *_ARGUMENTS, T(2, grad=False), T(2, 5, 5, grad=False), False,
                      error="RuntimeError"),),
    doc="The derivative of ctc_forward, for log_probs that are normalized.")  # fmt: skip


def _states(targets: Any, start: int, step: int, length: int, blank: int) -> list[int]:
    """The labels of one target with blanks around them."""
    states = [blank]
    for n in range(length):
        states += [int(targets[start + n * step]), blank]
    return states


def _in_operations(log_probs: Any, targets: Any, inputs: list[int], lengths: list[int], blank: int) -> Any:
    """The losses in differentiable operations, with a term that makes the derivative that of the kernel.

    The kernel's derivative is probability less occupation: right for normalized log_probs and, unlike the occupation
    alone, small where the network is right.
    """
    labels, padded, start, losses = targets.reshape(-1), targets.ndim == 2, 0, []
    for sample, (steps, length) in enumerate(zip(inputs, lengths, strict=True)):
        first = sample * targets.shape[1] if padded else start
        start += length
        states = _states(labels, first, 1, length, blank)
        emitted = log_probs[:steps, sample][:, states]
        shortcut = [n > 1 and states[n] != states[n - 2] for n in range(len(states))]
        alpha = [emitted[0, n] if n < 2 else None for n in range(len(states))] if steps else []
        for t in range(1, steps):
            new: list[Any] = []
            for n in range(len(states)):
                before = [alpha[m] for m in (n, n - 1, n - 2)[: 3 if shortcut[n] else 2] if m >= 0]
                ways = [a for a in before if a is not None]
                new.append(FUNCTIONS["stack"](ways).logsumexp(0) + emitted[t, n] if ways else None)
            alpha = new
        ends = [a for a in alpha[-2:] if a is not None]
        mass = log_probs[:steps, sample].exp().sum()
        loss = -FUNCTIONS["stack"](ends).logsumexp(0) if ends else mass * 0
        losses.append(loss + mass)
    return FUNCTIONS["stack"](losses)


def _derivative(
    g: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, zero_infinity: bool,
    losses: Any, alphas: Any,
) -> Any:  # fmt: skip
    if not is_grad_enabled():
        return _BACKWARD(g[0], log_probs, targets, input_lengths, target_lengths, blank, losses, alphas, zero_infinity)
    infinite = losses.detach() == math.inf
    inputs = FUNCTIONS["where"](infinite, 0, input_lengths).tolist() if zero_infinity else input_lengths.tolist()
    return through_graph(
        lambda x: (_in_operations(x, targets, inputs, target_lengths.tolist(), blank),), (log_probs,), (g[0],), [True]
    )[0]


_ctc = primitive(
    "ctc_loss", "log_probs, targets:i, input_lengths:i, target_lengths:i, blank, zero_infinity",
    lambda x, targets, inputs, lengths, blank, zero: _FORWARD(x, targets, inputs, lengths, blank),
    {"log_probs": _derivative}, outputs=("losses", "alphas"), differentiable=(0,), doc="The losses of the samples.",
)  # fmt: skip


def _as_lengths(name: str, lengths: Any) -> Any:
    if hasattr(lengths, "ndim"):
        if lengths.dtype.is_floating_point or lengths.dtype.is_complex:
            raise RuntimeError(f"{name} must be integral")
        return lengths.to(device="cpu", dtype=int64)
    return FUNCTIONS["tensor"](list(lengths), dtype=int64)


@composite("ctc_loss", method=False)
def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """Minus the log probability of the targets over all alignments; ``reduction``: 0 none, 1 mean, 2 sum.

    Arguments as `nn.functional.ctc_loss`. Reference: ``torch.ctc_loss`` (Graves et al., 2006).
    """
    inputs, lengths = _as_lengths("input_lengths", input_lengths), _as_lengths("target_lengths", target_lengths)
    targets = targets.to(int64)
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.unsqueeze(0) if targets.ndim == 1 else targets
        inputs, lengths = inputs.reshape(-1), lengths.reshape(-1)
    losses = _ctc(log_probs, targets, inputs, lengths, blank, zero_infinity)[0]
    if zero_infinity:
        losses = FUNCTIONS["where"](losses == math.inf, 0.0, losses)
    if reduction == 1:
        return (losses / lengths.clamp(min=1).to(losses.dtype)).mean()
    if reduction == 2:
        return losses.sum()
    return losses.squeeze(0) if single else losses
