"""Several results: PyTorch's named tuples, and ``out=`` tensors for all of them."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch import _dtypes, return_types
from dumbtorch.ops.samples import unary
from dumbtorch.ops.table import row

_RESULT = row("_result", "input", function=False, method=False, dtypes="real", samples=unary(),
              doc="What is written into an ``out=`` tensor, which takes its shape.")  # fmt: skip


def write_out(name: str, out: Any, results: Any) -> tuple[Any, ...]:
    """Writes several results into the tensors of ``out=``: of the same dtypes; they take the results' shapes."""
    if not isinstance(out, (tuple, list)) or len(out) != len(results):
        kind = type(out).__name__
        raise TypeError(f"{name}(): argument 'out' must be a tuple of {len(results)} Tensors, not {kind}")
    for target, result in zip(out, results, strict=True):
        if target.dtype is not result.dtype:
            raise RuntimeError(f"Expected out tensor to have dtype {result.dtype}, but got {target.dtype} instead")
        if target.requires_grad:
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad."
            )
    return tuple(_RESULT(result, out=target) for target, result in zip(out, results, strict=True))


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


def write(out: Any, result: Any) -> Any:
    """Writes a result into an ``out=`` tensor, which takes its shape; one that has elements with a warning, as the
    kernels do."""
    if out.shape != result.shape:
        if out.numel():
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)}. This behavior is deprecated, and in a future "
                "PyTorch release outputs will not be resized unless they have zero elements. You can explicitly reuse "
                "an out tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
                UserWarning,
                stacklevel=4,
            )
        out._set_data(out.new_empty(result.shape))
    return out.copy_(result)


def into(out: Any, result: Any, name: str) -> Any:
    """Writes a result (or several) to what ``out=`` named, and returns that.

    Raises RuntimeError where the result carries gradient, or where its dtype cannot be cast to that of ``out``.
    """
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors")
        written = [into(o, r, name) for o, r in zip(out, result, strict=True)]
        return type(result)(written)
    if result.requires_grad or out.requires_grad:
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if not _dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"{name}: Expected result to be safely castable from {_dtypes.TYPE_NAMES[result.dtype]} dtype, but got "
            f"result with dtype {_dtypes.TYPE_NAMES[out.dtype]}"
        )
    if result.device != out.device:
        raise RuntimeError(f"{name}: Expected result and input tensors to be on the same device")
    return write(out, result)


def done(result: Any, out: Any, name: str) -> Any:
    """The result, or ``out`` with the result written into it."""
    return result if out is None else into(out, result, name)
