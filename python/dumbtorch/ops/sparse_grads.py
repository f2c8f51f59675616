"""Gradients of lookups as sparse tensors: the rows that were looked up, and where they belong."""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.table import FUNCTIONS as F

#: Set by dumbtorch._sparse: (indices, values, shape) -> a sparse tensor.
make: Any = None


def of_rows(op: str, rows: Any, indices: Any, shape: Any, padding_idx: int, scale_grad_by_freq: bool) -> Any:
    """The gradient of a table: ``rows`` (count, width) at ``indices`` (count,), without those at ``padding_idx``.

    Raises RuntimeError for ``scale_grad_by_freq``.
    """
    if scale_grad_by_freq:
        raise RuntimeError(f"{op}: scale_grad_by_freq not supported with sparse gradients")
    indices = indices.to(_dtypes.int64)
    if padding_idx >= 0:
        kept = (indices != padding_idx).nonzero().reshape(-1)
        if kept.numel() != indices.numel():
            indices, rows = indices.index_select(0, kept), rows.index_select(0, kept)
    return make(indices.unsqueeze(0), rows, shape)


def of_elements(g: Any, shape: Any, dim: int, index: Any) -> Any:
    """The gradient of ``gather``: one element for each that was read."""
    if not shape:
        return make(index.new_empty((0, g.numel())), g.reshape(-1), shape)
    dim %= len(shape)
    places = []
    for d, size in enumerate(index.shape):
        if d == dim:
            places.append(index.reshape(-1).to(_dtypes.int64))
            continue
        steps = F["arange"](size, device=index.device)
        steps = steps.reshape([-1 if n == d else 1 for n in range(index.ndim)])
        places.append(steps.expand(index.shape).reshape(-1))
    return make(F["stack"](places), g.reshape(-1), shape)
