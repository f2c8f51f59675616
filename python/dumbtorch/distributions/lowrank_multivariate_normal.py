"""Normal vectors whose covariance is of low rank but for its diagonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import linalg, ops
from dumbtorch.distributions import constraints
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.multivariate_normal import mahalanobis
from dumbtorch.distributions.utils import lazy_property, standard_normal

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors with the covariance ``cov_factor @ cov_factor.mT + diag(cov_diag)``: n m^2 operations, not n^3.

    ValueError for shapes that do not fit. Reference: ``torch.distributions.LowRankMultivariateNormal``.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _expands = {
        "loc": 1, "cov_factor": 2, "cov_diag": 1, "_capacitance": 2, "scale_tril": 2, "covariance_matrix": 2,
        "precision_matrix": 2,
    }  # fmt: skip

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        event_shape = loc.shape[-1:]
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m")
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        try:
            batch = ops.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand((*batch, -1))
        self.cov_factor = cov_factor.expand((*batch, -1, -1))
        self.cov_diag = cov_diag.expand((*batch, -1))
        # The factor of I + W^T D^-1 W, which stands for the whole matrix (Woodbury).
        inner = cov_factor.mT / cov_diag.unsqueeze(-2) @ cov_factor
        identity = ops.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
        self._capacitance = linalg.cholesky(inner + identity).expand((*batch, -1, -1))
        super().__init__(batch, event_shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy_property
    def scale_tril(self) -> Any:
        """The lower triangular factor of the covariance."""
        root = self.cov_diag.sqrt().unsqueeze(-1)
        scaled = self.cov_factor / root
        identity = ops.eye(self._event_shape[0], dtype=root.dtype, device=root.device)
        return root * linalg.cholesky(scaled @ scaled.mT + identity)

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        part = self._whiten(self._event_identity())
        return self.cov_diag.reciprocal().diag_embed() - part.mT @ part

    def _event_identity(self) -> Any:
        return ops.eye(self._event_shape[0], dtype=self.loc.dtype, device=self.loc.device)

    def _whiten(self, matrix: Any) -> Any:
        """C^-1 W^T D^-1 times the matrix, C the capacitance: what the inverse has less than D^-1."""
        return linalg.solve_triangular(
            self._capacitance, self.cov_factor.mT / self.cov_diag.unsqueeze(-2) @ matrix, upper=False
        )

    def _mahalanobis(self, x: Any) -> Any:
        inner = (self.cov_factor.mT / self.cov_diag.unsqueeze(-2) @ x.unsqueeze(-1)).squeeze(-1)
        return (x.pow(2) / self.cov_diag).sum(-1) - mahalanobis(self._capacitance, inner)

    def _half_log_det(self) -> Any:
        return self._capacitance.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * self.cov_diag.log().sum(-1)

    def _trace_with(self, factor: Any) -> Any:
        """tr(S^-1 F F^T) for the covariance S."""
        whole = (factor.pow(2) / self.cov_diag.unsqueeze(-1)).sum((-2, -1))
        return whole - self._whiten(factor).pow(2).sum((-2, -1))

    def _factors(self) -> list[Any]:
        """Matrices whose products with their transposes sum to the covariance."""
        return [self.cov_factor, self.cov_diag.sqrt().diag_embed()]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        inner = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc)
        own = standard_normal(shape, self.loc)
        return self.loc + (self.cov_factor @ inner.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = self._mahalanobis(value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + away) - self._half_log_det()

    def entropy(self) -> Any:
        return 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
