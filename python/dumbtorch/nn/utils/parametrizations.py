"""Ready-made parametrizations: orthogonal matrices, weight normalization, spectral normalization."""

from __future__ import annotations

from typing import Any

from dumbtorch import linalg, ops
from dumbtorch._dtypes import finfo
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.utils import parametrize
from dumbtorch.nn.utils._norms import norm_except, normed, singular_dim

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


def _make_orthogonal(matrix: Tensor) -> Tensor:
    """The Q of the QR decomposition whose R has a positive diagonal."""
    factors, tau = ops.geqrf(matrix)
    q = linalg.householder_product(factors, tau)
    made: Tensor = q * factors.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)
    return made


def _is_orthogonal(q: Tensor) -> bool:
    rows, columns = q.shape[-2:]
    identity = ops.eye(columns, dtype=q.dtype, device=q.device)
    return bool(ops.allclose(q.mH @ q, identity, atol=10.0 * rows * finfo(q.dtype).eps))


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, if it is wide) from an unconstrained one.

    `base` is a fixed orthogonal matrix that the map's result is multiplied with, so that training starts at the
    identity of the map (a dynamic trivialization: Lezcano-Casado, 2019).
    """

    base: Any

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        rows, columns = X.shape[-2:]
        wide = rows < columns
        if wide:
            X, rows, columns = X.mT, columns, rows
        if self.orthogonal_map == "householder":
            below = X.tril(-1)
            tau = 2.0 / (1.0 + (below * below).sum(-2))
            # the diagonal holds signs, which are not trained
            q = linalg.householder_product(below, tau) * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            q = self._from_skew(X.tril(), rows, columns)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _from_skew(self, X: Tensor, rows: int, columns: int) -> Any:
        if rows != columns:
            zeros = X.new_zeros((rows, rows - columns)).expand(*X.shape[:-2], -1, -1)
            X = ops.cat([X, zeros], -1)
        skew = X - X.mH
        if self.orthogonal_map == "matrix_exp":
            q = linalg.matrix_exp(skew)
        else:
            identity = ops.eye(rows, dtype=skew.dtype, device=skew.device)
            q = linalg.solve(ops.add(identity, skew, alpha=-0.5), ops.add(identity, skew, alpha=0.5))
        return q[..., :columns] if rows != columns else q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """The unconstrained matrix for Q, which is made orthogonal first if it is not."""
        with no_grad():
            if Q.shape != self.shape:
                raise ValueError(
                    f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
                )
            given = Q
            rows, columns = Q.shape[-2:]
            wide = rows < columns
            if wide:
                Q, rows, columns = Q.mT, columns, rows
            if not hasattr(self, "base"):
                if self.orthogonal_map != "householder":
                    raise NotImplementedError(
                        "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                        "use_trivialization=False."
                    )
                factors, tau = ops.geqrf(Q)
                factors = factors.clone()
                diagonal = factors.diagonal(dim1=-2, dim2=-1)
                # LAPACK leaves a reflection out exactly where its tau is zero
                diagonal.copy_(diagonal.sign() * ops.where(tau == 0, -1.0, 1.0))
                return factors.mT if wide else factors
            if rows != columns:
                shape = (*Q.shape[:-2], rows, rows - columns)
                more = ops.randn(shape, dtype=Q.dtype, device=Q.device)
                Q = _make_orthogonal(ops.cat([Q, more], -1))
            else:
                Q = Q.clone() if _is_orthogonal(Q) else _make_orthogonal(Q)
            self.base = Q
            # -1 on the diagonal is the identity of all three maps
            start = ops.zeros_like(given)
            start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return start


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a matrix (or batch of matrices) orthogonal: orthonormal columns, or rows if it is wide.

    `orthogonal_map` is "matrix_exp", "cayley" or "householder" (default: the first for square and complex matrices,
    else the last). `use_trivialization=False` saves the fixed factor, and with the first two maps makes it impossible
    to assign to the tensor. ValueError for other ranks and maps.
    Reference: `torch.nn.utils.parametrizations.orthogonal`.

        >>> nn.utils.parametrizations.orthogonal(nn.Linear(20, 40))
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normed(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The norm and the direction."""
        return norm_except(weight, self.dim), weight


class _Compatible:
    """Before loading: the names of the older `weight_norm` become those of the parametrization."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{self.name}_{letter}" for letter in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{self.name}.original{i}"] = state_dict.pop(key)


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """w = g v / |v|, the norm over all dimensions but `dim` (None: over all); returns the module.

    Reference: `torch.nn.utils.parametrizations.weight_norm` (Salimans and Kingma, 2016).
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(_Compatible(name))
    return module


class _SpectralNorm(Module):
    """w over its largest singular value, which power iteration follows: one step a forward in training."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ranks = weight.ndim
        if not -ranks <= dim < ranks:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ranks}, {ranks - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ranks
        self.eps = eps
        if ranks > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight)
            for name, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                start = matrix.new_empty((size,)).normal_(0, 1)
                self.register_buffer(name, F.normalize(start.detach(), dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.ndim) if d != self.dim))
        return weight.flatten(1)

    def _iterate(self, matrix: Tensor, steps: int) -> None:
        with no_grad():
            for _ in range(steps):
                # in place, so that copies of the module on several devices stay alike
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        sigma = ops.vdot(u, matrix @ v)
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself: it may have any norm."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """w over its largest singular value, as a matrix of `dim` (0, or 1 for transposed convolutions) by the rest.

    Reference: `torch.nn.utils.parametrizations.spectral_norm` (Miyato et al., 2018).
    """
    weight = _tensor_of(module, name)
    made = _SpectralNorm(weight, n_power_iterations, singular_dim(module) if dim is None else dim, eps)
    return parametrize.register_parametrization(module, name, made)
