"""Sparse tensors: products and sums. Reference: ``torch.sparse``."""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes, _legacy, _sparse_ops, ops  # noqa: F401  # the rules are declared when they are imported
from dumbtorch._sparse import sparse_coo_tensor
from dumbtorch._tensor import Tensor

__all__ = ["addmm", "mm", "sum"]


class _SparseType(_legacy.tensortype):
    """The class of ``sparse.FloatTensor`` and its kin: its instances are the sparse tensors of one dtype."""

    layout = _dtypes.sparse_coo
    is_sparse = True

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        if not args or isinstance(args[0], int):
            return ops.zeros(*(args or (0,)), dtype=cls.dtype, layout=_dtypes.sparse_coo, device=device)
        return sparse_coo_tensor(*args, dtype=cls.dtype, device=device)

    def __repr__(cls) -> str:
        return f"<class 'torch.sparse.{cls.__name__}'>"


def __getattr__(name: str) -> Any:
    """The constructors of old programs, such as ``sparse.FloatTensor(indices, values, size)``."""
    dense = _legacy.TYPES.get(name)
    if dense is None:
        raise AttributeError(f"module 'dumbtorch.sparse' has no attribute {name!r}")
    made = _SparseType(name, (), {"dtype": dense.dtype, "__module__": __name__, "__doc__": f"Sparse {dense.__doc__}"})
    globals()[name] = made
    return made


def _want_sparse(op: str, input: Any) -> None:
    if not isinstance(input, Tensor) or not input.is_sparse:
        raise TypeError(f"{op}: expected a sparse tensor, got {type(input).__name__}")


def mm(sparse: Any, dense: Any) -> Any:
    """The product of two matrices, one or both of them sparse; sparse only if both are. Gradients flow to both.

    RuntimeError for other shapes or different dtypes. Reference: ``torch.sparse.mm``.

    >>> s = sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    >>> sparse.mm(s, ones(3, 2))
    tensor([[3., 3.],
            [4., 4.]])
    """
    return ops.mm(sparse, dense)


def addmm(mat: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * mat + alpha * (mat1 @ mat2)`` with a sparse ``mat1``. Reference: ``torch.sparse.addmm``."""
    return ops.addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def sum(input: Any, dim: Any = None, dtype: Any = None) -> Any:
    """The sum over all or some dimensions: dense if no dimension with indices is left, else sparse.

    TypeError for a dense tensor. Reference: ``torch.sparse.sum``.

    >>> sparse.sum(sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)))
    tensor(7.)
    """
    _want_sparse("sum", input)
    return input.sum(dtype=dtype) if dim is None else input.sum(dim, dtype=dtype)
