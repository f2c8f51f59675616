"""Transforms of vectors and matrices, and transforms side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import linalg, ops
from dumbtorch._dtypes import finfo
from dumbtorch._size import Size
from dumbtorch.distributions import constraints
from dumbtorch.distributions._transform import Fixed, Transform, check_dims, inside
from dumbtorch.distributions.utils import sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix
from dumbtorch.nn.functional import logsigmoid, softplus


class SoftmaxTransform(Fixed):
    """The softmax of the last dimension; no bijection, the inverse takes the logarithm."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Any) -> Any:
        return x.softmax(-1)

    def _inverse(self, y: Any) -> Any:
        return y.log()

    def forward_shape(self, shape: Sequence[int]) -> Any:
        check_dims(len(shape), 1)
        return shape

    inverse_shape = forward_shape


class StickBreakingTransform(Fixed):
    """n numbers to the simplex of n + 1: each takes a share of what the ones before have left."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _call(self, x: Any) -> Any:
        share = inside((x - self._offset(x)).sigmoid())
        one = share.new_ones((*share.shape[:-1], 1))
        return ops.cat([share, one], -1) * ops.cat([one, (1 - share).cumprod(-1)], -1)

    def _inverse(self, y: Any) -> Any:
        first = y[..., :-1]
        left = (1 - first.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return first.log() - left.log() + self._offset(first)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        x = x - self._offset(x)
        return (-x + logsigmoid(x) + y[..., :-1].log()).sum(-1)

    @staticmethod
    def _offset(x: Any) -> Any:
        """So that zeros go to the middle of the simplex."""
        n = x.shape[-1]
        return ops.arange(n, 0, -1, dtype=x.dtype, device=x.device).log()

    def forward_shape(self, shape: Sequence[int]) -> Any:
        check_dims(len(shape), 1)
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Sequence[int]) -> Any:
        check_dims(len(shape), 1)
        return Size((*shape[:-1], shape[-1] - 1))


def _log_sech_squared(x: Any) -> Any:
    """log(1 - tanh(x)^2) without its cancellation."""
    return 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))


class CorrCholeskyTransform(Transform):
    """D (D - 1) / 2 numbers to the triangular factor of a D x D correlation matrix.

    Each row is a point of the half sphere, made by breaking sticks of canonical partial correlations tanh(x)
    (Lewandowski, Kurowicka and Joe, 2009).
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Any) -> Any:
        eps = finfo(x.dtype).eps
        partial = vec_to_tril_matrix(x.tanh().clamp(-1 + eps, 1 - eps), diag=-1)
        left = (1 - partial**2).sqrt().cumprod(-1)  # of the row's length, after each column
        n = partial.shape[-1]
        one = left.new_ones((*left.shape[:-1], 1))
        unit = partial + ops.eye(n, dtype=x.dtype, device=x.device)
        return unit * ops.cat([one, left[..., :-1]], -1)

    def _inverse(self, y: Any) -> Any:
        left = 1 - (y * y).cumsum(-1)
        one = left.new_ones((*left.shape[:-1], 1))
        before = tril_matrix_to_vec(ops.cat([one, left[..., :-1]], -1), diag=-1)
        partial = tril_matrix_to_vec(y, diag=-1) / before.sqrt()
        return (partial.log1p() - (-partial).log1p()) / 2

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        left = tril_matrix_to_vec(1 - (y * y).cumsum(-1), diag=-2)
        return 0.5 * left.log().sum(-1) + _log_sech_squared(x).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> Any:
        check_dims(len(shape), 1)
        count = shape[-1]
        n = round((0.25 + 2 * count) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != count:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: Sequence[int]) -> Any:
        check_dims(len(shape), 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


class LowerCholeskyTransform(Fixed):
    """Square matrices to lower triangular ones with a positive diagonal (by exp); the rest is dropped."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Any) -> Any:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Any) -> Any:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Fixed):
    """Square matrices to positive definite ones: the product of what :class:`LowerCholeskyTransform` makes of them."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Any) -> Any:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Any) -> Any:
        return LowerCholeskyTransform().inv(linalg.cholesky(y))


class _Several(Transform):
    """Transforms of parts of a tensor along one dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        if not all(isinstance(one, Transform) for one in tseq):
            raise AssertionError("All elements of tseq must be Transform instances")
        super().__init__(cache_size)
        self.transforms = [one.with_cache(cache_size) for one in tseq] if cache_size else list(tseq)
        self.dim = dim

    @property
    def bijective(self) -> Any:
        """Whether all are."""
        return all(one.bijective for one in self.transforms)

    def _check(self, x: Any, length: int, what: str) -> None:
        if not -x.dim() <= self.dim < x.dim():
            raise AssertionError(f"dim {self.dim} out of range for tensor with {x.dim()} dimensions")
        if x.size(self.dim) != length:
            raise AssertionError(f"x.size({self.dim}) = {x.size(self.dim)} must equal {what} {length}")


class CatTransform(_Several):
    """Transforms of the parts of ``lengths`` (default 1 each) along ``dim``."""

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(f"lengths ({len(self.lengths)}) must match transforms ({len(self.transforms)})")

    @property
    def event_dim(self) -> int:
        """The largest of the parts."""
        return max(one.event_dim for one in self.transforms)

    @property
    def length(self) -> int:
        """The sum of the lengths."""
        return sum(self.lengths)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.cat([one.domain for one in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.cat([one.codomain for one in self.transforms], self.dim, self.lengths)

    def _parts(self, x: Any) -> Any:
        self._check(x, self.length, "length")
        return x.split(self.lengths, self.dim)

    def _call(self, x: Any) -> Any:
        return ops.cat([one(part) for one, part in zip(self.transforms, self._parts(x), strict=True)], self.dim)

    def _inverse(self, y: Any) -> Any:
        return ops.cat([one.inv(part) for one, part in zip(self.transforms, self._parts(y), strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        each = [
            sum_rightmost(one.log_abs_det_jacobian(a, b), self.event_dim - one.event_dim)
            for one, a, b in zip(self.transforms, self._parts(x), self._parts(y), strict=True)
        ]
        dim = (self.dim if self.dim < 0 else self.dim - x.dim()) + self.event_dim
        return ops.cat(each, dim) if dim < 0 else sum(each)


class StackTransform(_Several):
    """Transforms of the slices along ``dim``, one each."""

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.stack([one.domain for one in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.stack([one.codomain for one in self.transforms], self.dim)

    def _parts(self, x: Any) -> Any:
        self._check(x, len(self.transforms), "len(transforms)")
        return x.unbind(self.dim)

    def _call(self, x: Any) -> Any:
        return ops.stack([one(part) for one, part in zip(self.transforms, self._parts(x), strict=True)], self.dim)

    def _inverse(self, y: Any) -> Any:
        return ops.stack([one.inv(part) for one, part in zip(self.transforms, self._parts(y), strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        parts = zip(self.transforms, self._parts(x), self._parts(y), strict=True)
        return ops.stack([one.log_abs_det_jacobian(a, b) for one, a, b in parts], self.dim)
