"""Diagonals put into matrices and taken out of them."""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.results import write
from dumbtorch.ops.shape import as_strided, wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite


@composite("diag_embed")
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices of zeros with the last dimension along a diagonal. Reference: ``torch.diag_embed``."""
    ndim = input.ndim + 1
    first, second = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    length = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, length)
    whole = input.new_zeros(shape)
    whole.diagonal(offset, first, second).copy_(input)
    return whole


@composite("diag")
def diag(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """A matrix with a vector on a diagonal; or a copy of a matrix's diagonal. Reference: ``torch.diag``."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    made = diag_embed(input, diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone()
    return made if out is None else write(out, made)


@composite("diagflat")
def diagflat(input: Any, offset: int = 0) -> Any:
    """A matrix with all the elements on a diagonal. Reference: ``torch.diagflat``."""
    return diag_embed(input.reshape(-1), offset)


@composite("fill_diagonal_", function=False)
def fill_diagonal_(self: Any, fill_value: Any, wrap: bool = False) -> Any:
    """Writes a number to the main diagonal; with ``wrap`` a tall matrix has it again after a row of rest.

    Reference: ``torch.Tensor.fill_diagonal_``.
    """
    shape, strides = self.shape, self.stride()
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and any(n != shape[0] for n in shape):
        raise RuntimeError("all dimensions of input must be of equal length")
    size = min(shape)
    step = sum(strides)
    as_strided(self, (size,), (step,)).fill_(fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        # the next diagonals begin one row below the end of the one before
        rest = -(-(shape[0] * shape[1]) // (shape[1] + 1)) - size
        offset = self.storage_offset() + (size + 1) * strides[0]
        while rest > 0:
            count = min(rest, size)
            as_strided(self, (count,), (step,), offset).fill_(fill_value)
            offset += (size + 1) * strides[0]
            rest -= count
    return self


def _triangle_indices(name: str, doc: str) -> None:
    def made(
        row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
        pin_memory: bool = False, requires_grad: bool = False,
    ) -> Any:  # fmt: skip
        if row < 0:
            raise RuntimeError(f"row must be non-negative, got{row}")
        if col < 0:
            raise RuntimeError(f"col must be non-negative, got{col}")
        whole = FUNCTIONS["ones"](row, col, dtype=_dtypes.bool, device=device)
        part = (whole.tril if name[:4] == "tril" else whole.triu)(offset)
        return part.nonzero().t().contiguous().to(dtype or _dtypes.int64)

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"{doc} Reference: ``torch.{name}``."
    composite(name, method=False)(made)


_triangle_indices("tril_indices", "Rows and columns of the elements on and below a diagonal, (2, count).")
_triangle_indices("triu_indices", "Rows and columns of the elements on and above a diagonal, (2, count).")


@composite("trace")
def trace(input: Any) -> Any:
    """The sum of the diagonal of a matrix. Raises RuntimeError for another number of dimensions. ``torch.trace``.

    >>> trace(tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return input.diagonal().sum()
