"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from dumbtorch import linalg, ops
from dumbtorch._dtypes import finfo
from dumbtorch.distributions import constraints
from dumbtorch.distributions.chi2 import Chi2
from dumbtorch.distributions.exp_family import ExponentialFamily
from dumbtorch.distributions.multivariate_normal import scale_factor
from dumbtorch.distributions.utils import Number, lazy_property, standard_normal

__all__ = ["Wishart"]


class Wishart(ExponentialFamily):
    """Sums of ``df`` outer products of normal vectors, given by one of covariance_matrix, precision_matrix, scale_tril.

    ``df`` must be above the number of dimensions less 1, else ValueError.
    Reference: ``torch.distributions.Wishart`` (sampling: Bartlett, 1933; Sawyer, "Wishart distributions", 2007).
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _expands = {
        "df": 0, "scale_tril": 2, "covariance_matrix": 2, "precision_matrix": 2, "_factor": 2,
    }  # fmt: skip

    @property
    def arg_constraints(self) -> Any:
        """With the bound of ``df``."""
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = [(name, matrix) for name, matrix in matrices.items() if matrix is not None]
        if len(given) != 1:
            raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        if isinstance(df, Number):
            df = ops.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch_shape = ops.broadcast_shapes(matrix.shape[:-2], df.shape)
        self.df = df.expand(batch_shape)
        n = matrix.shape[-1]
        if (self.df <= n - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        if (self.df < n).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        setattr(self, name, matrix.expand((*batch_shape, -1, -1)))
        super().__init__(batch_shape, matrix.shape[-2:], validate_args=validate_args)
        self._factor = scale_factor(name, matrix).expand((*batch_shape, -1, -1))

    @lazy_property
    def scale_tril(self) -> Any:
        """The lower triangular factor of the covariance."""
        return self._factor

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance of the vectors."""
        return self._factor @ self._factor.mT

    @lazy_property
    def precision_matrix(self) -> Any:
        """Its inverse."""
        return ops.cholesky_inverse(self._factor)

    @property
    def mean(self) -> Any:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Any:
        factor = self.df - self._event_shape[-1] - 1
        return ops.where(factor <= 0, math.nan, factor)[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Any:
        diagonal = self.covariance_matrix.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df[..., None, None] * (self.covariance_matrix.pow(2) + products)

    def _bartlett(self, sample_shape: Sequence[int]) -> Any:
        n = self._event_shape[-1]
        row = ops.arange(n, dtype=self.df.dtype, device=self.df.device)
        diagonal = Chi2(self.df.unsqueeze(-1) - row).rsample(sample_shape).sqrt()
        diagonal = diagonal.clamp(min=finfo(diagonal.dtype).eps)
        below = standard_normal(self._extended_shape(sample_shape), self._factor).tril(-1)
        factor = self._factor @ (below + diagonal.diag_embed())
        return factor @ factor.mT

    def rsample(self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None) -> Any:
        """Matrices; those that rounding has made singular are drawn again, up to ``max_try_correction`` (10) times."""
        sample = self._bartlett(sample_shape)
        for _ in range(10 if max_try_correction is None else max_try_correction):
            valid = self.support.check(sample.detach())
            if valid.all():
                break
            sample = ops.where(valid[..., None, None], sample, self._bartlett(sample_shape))
        return sample

    def _half_log_det(self) -> Any:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n = self._event_shape[-1]
        normalizer = self.df * (n * math.log(2) / 2 + self._half_log_det()) + (self.df / 2).mvlgamma(n)
        trace = ops.cholesky_solve(value, self._factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        return (self.df - n - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2 - normalizer

    def entropy(self) -> Any:
        n = self._event_shape[-1]
        half = self.df / 2
        mvdigamma = (half.unsqueeze(-1) - ops.arange(n, dtype=half.dtype, device=half.device) / 2).digamma().sum(-1)
        spread = (n + 1) * (n * math.log(2) / 2 + self._half_log_det())
        return spread + half.mvlgamma(n) - (self.df - n - 1) / 2 * mvdigamma + self.df * n / 2

    @property
    def _natural_params(self) -> tuple[Any, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Any, y: Any) -> Any:
        n = self._event_shape[-1]
        half = y + (n + 1) / 2
        return half * (math.log(2) * n - linalg.slogdet(-2 * x).logabsdet) + half.mvlgamma(n)
