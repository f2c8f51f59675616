"""Small parts of the distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

from dumbtorch import ops
from dumbtorch._dtypes import finfo, get_default_dtype
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import enable_grad

euler_constant = 0.57721566490153286060

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

Number = bool | int | float
S = TypeVar("S")
R = TypeVar("R")


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the dtype and device of the first tensor.

    ValueError for anything else. Reference: ``torch.distributions.utils.broadcast_all``.
    """
    if not all(isinstance(value, Tensor | Number) for value in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    first = next((value for value in values if isinstance(value, Tensor)), None)
    place = {"dtype": get_default_dtype()} if first is None else {"dtype": first.dtype, "device": first.device}
    tensors = [value if isinstance(value, Tensor) else ops.tensor(value, **place) for value in values]
    return tuple(ops.broadcast_tensors(*tensors))


def standard_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Normal numbers of that shape in the dtype and on the device of ``like``."""
    return like.new_empty(shape).normal_()


def sum_rightmost(value: Any, dims: int) -> Any:
    """The sum over the last ``dims`` dimensions."""
    return value if dims == 0 else value.reshape(value.shape[:-dims] + (-1,)).sum(-1)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities: of log odds (binary), or of log probabilities along the last dimension, normalized or not."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities moved into [eps, 1 - eps] of their dtype."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of :func:`logits_to_probs`; finite, since probabilities are clamped."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class lazy_property(Generic[S, R]):
    """A property that is computed once, with gradients, and kept."""

    def __init__(self, wrapped: Callable[[S], R]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__
        self.__name__ = wrapped.__name__

    @overload
    def __get__(self, instance: None, owner: Any = None) -> lazy_property[S, R]: ...
    @overload
    def __get__(self, instance: S, owner: Any = None) -> R: ...
    def __get__(self, instance: S | None, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.__name__, value)
        return value


def _tril_mask(n: int, diag: int, like: Tensor) -> Tensor:
    return like.new_ones((n, n)).tril(diag).bool()


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle of square matrices, row by row, as vectors. ValueError for a diagonal outside."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _tril_mask(n, diag, mat)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of :func:`tril_matrix_to_vec`. ValueError unless the length is that of a triangle."""
    length = vec.shape[-1]
    # n (n + 1) / 2 elements, and (for diag != 0) those between the diagonals more or fewer
    root: float = ((1 + 2 * diag) ** 2 + 8 * length + 4 * abs(diag) * (diag + 1)) ** 0.5
    side = (root - (1 + 2 * diag)) / 2
    n = round(side)
    if abs(n - side) > finfo(vec.dtype).eps * max(1.0, side):
        raise ValueError(
            f"The size of last dimension is {length} which cannot be expressed as the lower triangular part of a "
            "square D x D matrix."
        )
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., _tril_mask(n, diag, vec)] = vec
    return mat
