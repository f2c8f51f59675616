"""The loss of label sequences whose alignment with the input is not known."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor

__all__ = ["ctc_loss"]

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of the targets, summed over all alignments: connectionist temporal classification.

    `log_probs` (T, N, C), or (T, C) for one sample: logarithms of probabilities, as of `log_softmax`. `targets` (N, S)
    padded, or all of them one after the other; the class `blank` stands between labels. `input_lengths` and
    `target_lengths` are tensors or tuples of N. "mean" divides each loss by the length of its target first.
    `zero_infinity` makes losses of targets that are too long zero, and their gradients. Raises RuntimeError for lengths
    and targets that do not fit. Reference: `torch.nn.functional.ctc_loss` (Graves et al., 2006).

    >>> import dumbtorch as torch
    >>> log_probs = torch.zeros(3, 1, 2).log_softmax(2)
    >>> ctc_loss(log_probs, torch.tensor([[1]]), (3,), (1,)).exp()  # 6 of the 8 paths say "1" once
    tensor(1.3333)
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss: Tensor = ops.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _REDUCTIONS[reduction], zero_infinity
    )
    return loss
