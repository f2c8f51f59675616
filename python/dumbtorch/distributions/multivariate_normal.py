"""The multivariate normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import linalg, ops
from dumbtorch.distributions import constraints
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.utils import lazy_property, standard_normal

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Distribution):
    """Normal vectors with the mean ``loc`` and one of covariance_matrix, precision_matrix and scale_tril.

    scale_tril: the lower triangular factor of the covariance, which is the cheapest to give.
    Reference: ``torch.distributions.MultivariateNormal``.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _expands = {"loc": 1, "scale_tril": 2, "covariance_matrix": 2, "precision_matrix": 2, "_factor": 2}

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = [(name, matrix) for name, matrix in matrices.items() if matrix is not None]
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given
        if matrix.dim() < 2:
            label = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(f"{label} must be at least two-dimensional, with optional leading batch dimensions")
        batch_shape = ops.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch_shape, -1, -1)))
        self.loc = loc.expand((*batch_shape, -1))
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args)
        self._factor = scale_factor(name, matrix).expand((*batch_shape, -1, -1))

    @lazy_property
    def scale_tril(self) -> Any:
        """The lower triangular factor of the covariance."""
        return self._factor

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        return self._factor @ self._factor.mT

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        return ops.cholesky_inverse(self._factor)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self._factor.pow(2).sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        normal = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._factor @ normal.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Any:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def _mahalanobis(self, x: Any) -> Any:
        return mahalanobis(self._factor, x)

    def _trace_with(self, factor: Any) -> Any:
        """tr(S^-1 F F^T) for the covariance S."""
        return linalg.solve_triangular(self._factor, factor, upper=False).pow(2).sum((-2, -1))

    def _factors(self) -> list[Any]:
        """Matrices whose products with their transposes sum to the covariance."""
        return [self._factor]

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = self._mahalanobis(value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + away) - self._half_log_det()

    def entropy(self) -> Any:
        return 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()


def scale_factor(name: str, matrix: Any) -> Any:
    """The lower triangular factor of a covariance that is given as the parameter of that name."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return linalg.cholesky(matrix)
    # The factor of the precision, upper triangular, inverted.
    upper = linalg.cholesky(matrix.flip((-2, -1))).flip((-2, -1))
    identity = ops.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return linalg.solve_triangular(upper.mT, identity, upper=False)


def mahalanobis(scale_tril: Any, x: Any) -> Any:
    """The squared length of each ``x`` in units of the distribution."""
    solved = linalg.solve_triangular(scale_tril, x.unsqueeze(-1), upper=False)
    return solved.squeeze(-1).pow(2).sum(-1)
