"""Sequences of different lengths: from padded to packed rows and back, for `nn.utils.rnn`."""

from __future__ import annotations

from typing import Any

from dumbtorch._dtypes import int64
from dumbtorch.ops.table import FUNCTIONS, composite


def _grid(sizes: Any, batch: int) -> Any:
    """Which places of (steps, batch) hold an element, for sequences that are sorted by length."""
    return FUNCTIONS["arange"](batch).unsqueeze(0) < sizes.unsqueeze(1)


def _places(grid: Any, device: Any) -> Any:
    """Those places, counted along the rows."""
    return grid.reshape(-1).nonzero().squeeze(1).to(device)


@composite("_pack_padded_sequence", method=False)
def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool) -> tuple[Any, Any]:
    """The elements of padded sequences step by step, and how many there are at each step.

    Raises RuntimeError for lengths that are not one for each sequence, not sorted, not above zero, or too large.
    Reference: ``torch._pack_padded_sequence``.
    """
    if input.ndim < 2:
        raise RuntimeError(f"pack_padded_sequence(): Expected at least 2 dimensions, got {input.ndim}")
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if lengths.ndim != 1 or lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.ndim}D {lengths.device} {lengths.dtype} tensor"
        )
    counts = lengths.tolist()
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} (batch_size={batch})"
        )
    if counts[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(one < next_ for one, next_ in zip(counts, counts[1:], strict=False)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if counts[0] > steps:
        raise RuntimeError(f"pack_padded_sequence(): a length of {counts[0]} is above the {steps} steps of the input")
    grid = FUNCTIONS["arange"](counts[0]).unsqueeze(1) < lengths.unsqueeze(0)
    rows = input.reshape(steps * batch, *input.shape[2:])
    return rows.index_select(0, _places(grid, input.device)), grid.sum(1, dtype=int64)


@composite("_pad_packed_sequence", method=False)
def pad_packed_sequence(
    data: Any, batch_sizes: Any, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Any, Any]:
    """The padded sequences of packed rows, and their lengths.

    Raises RuntimeError for a total length below the longest one. Reference: ``torch._pad_packed_sequence``.
    """
    steps, batch = batch_sizes.shape[0], int(batch_sizes[0])
    if 0 < total_length < steps:
        raise RuntimeError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    total = max(total_length, steps)
    grid = _grid(batch_sizes, batch)
    padded = data.new_full((total * batch, *data.shape[1:]), padding_value)
    padded = padded.index_copy(0, _places(grid, data.device), data).reshape(total, batch, *data.shape[1:])
    return padded.transpose(0, 1) if batch_first else padded, grid.sum(0, dtype=int64)
