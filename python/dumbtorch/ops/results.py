"""Several results: PyTorch's named tuples, and ``out=`` tensors for all of them."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch import return_types
from dumbtorch.ops.samples import unary
from dumbtorch.ops.table import row

_RESULT = row("_result", "input", function=False, method=False, dtypes="real", samples=unary(),
              doc="What is written into an ``out=`` tensor, which takes its shape.")  # fmt: skip


def write_out(name: str, out: Any, results: Any) -> tuple[Any, ...]:
    """Writes several results into the tensors of ``out=``: of the same dtypes; they take the results' shapes."""
    if not isinstance(out, (tuple, list)) or len(out) != len(results):
        kind = type(out).__name__
        raise TypeError(f"{name}(): argument 'out' must be a tuple of {len(results)} Tensors, not {kind}")
    for into, result in zip(out, results, strict=True):
        if into.dtype is not result.dtype:
            raise RuntimeError(f"Expected out tensor to have dtype {result.dtype}, but got {into.dtype} instead")
        if into.requires_grad:
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad."
            )
        if into.numel() and into.shape != result.shape:
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(into.shape)}, which does not match the required output shape {list(result.shape)}.",
                stacklevel=4,
            )
    return tuple(_RESULT(result, out=into) for into, result in zip(out, results, strict=True))


def named(name: str, op: Any) -> Any:
    """The call of a row with several results that makes PyTorch's named tuple of them; takes ``out`` last."""
    kind = getattr(return_types, name)
    new = tuple.__new__

    def call(*args: Any) -> Any:
        results = op(*args[:-1])
        if args[-1] is not None:
            results = write_out(name, args[-1], results)
        return new(kind, results)

    return call
