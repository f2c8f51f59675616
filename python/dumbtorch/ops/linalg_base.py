"""What the functions of linear algebra share: checks with PyTorch's words, errors of LAPACK, small helpers."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.autograd.modes import NO_GRAD
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops.table import FUNCTIONS as F

HALVES = (_dtypes.float16, _dtypes.bfloat16, _dtypes.complex32)


class LinAlgError(RuntimeError):
    """A matrix for which a factorization or a solution does not exist. Reference: ``torch.linalg.LinAlgError``."""


def type_name(t: Any) -> str:
    """The dtype as PyTorch's errors name it."""
    return _dtypes.TYPE_NAMES[t.dtype]


def check_matrix(a: Any, name: str, what: str = "A") -> None:
    """Refuses what has no two dimensions."""
    if not isinstance(a, _C.TensorBase):
        raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(a).__name__}")
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {what} must have at least 2 dimensions.")


def check_square(a: Any, name: str, what: str = "A") -> None:
    """Refuses what is no batch of square matrices."""
    check_matrix(a, name, what)
    m, n = a.shape[-2:]
    if m != n:
        raise RuntimeError(f"{name}: {what} must be batches of square matrices, but they are {m} by {n} matrices")


def check_kind(a: Any, name: str, low: bool = False) -> None:
    """Refuses integers, and half types unless ``low``."""
    kind = a.dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(a)}")
    if not low and kind in HALVES:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(a)}")


def check_lapack(a: Any, kernel: str) -> None:
    """Refuses dtypes that LAPACK does not have, as PyTorch's dispatch does."""
    kind = a.dtype
    if kind in HALVES or not (kind.is_floating_point or kind.is_complex):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(a)}'")


def check_same(a: Any, b: Any, name: str) -> None:
    """Refuses two tensors of different dtypes or devices."""
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(a)} and B of type "
            f"{type_name(b)} instead"
        )
    if a.device != b.device:
        raise RuntimeError(
            f"{name}: Expected A and B to be on the same device, but found A on {a.device} and B on {b.device} instead."
        )


def check_equation(a: Any, b: Any, left: bool, name: str) -> None:
    """Refuses an A and a B that are no A X = B, or X A = B."""
    if a.shape[-2] != b.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )


_WORDS = (
    ("inv", "The diagonal element {0} is zero, the inversion could not be completed because the input matrix is "
     "singular."),
    ("solve", "The solver failed because the input matrix is singular."),
    ("cholesky", "The factorization could not be completed because the input is not positive-definite (the leading "
     "minor of order {0} is not positive-definite)."),
    ("svd", "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
     "singular values (error code: {0})."),
    ("eig", "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
     "eigenvalues (error code: {0})."),
    ("lstsq", "The least squares solution could not be computed because the input matrix does not have full rank "
     "(error code: {0})."),
    ("lu_factor", "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want "
     "to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"),
)  # fmt: skip


def check_info(info: Any, name: str) -> None:
    """Raises `LinAlgError` where LAPACK's status is not 0, for the first matrix of a batch."""
    info = beneath(info)
    if info.ndim == 0:
        code, place = info.item(), ""
        if not code:
            return
    else:
        if not info.any().item():
            return
        codes = info.reshape(-1).tolist()
        first = next(n for n, code in enumerate(codes) if code)
        code, place = codes[first], f"(Batch element {first}): "
    if code < 0:
        if "svd" in name:
            raise LinAlgError(
                f"{name}: {place}The algorithm failed to converge because the input matrix contained non-finite values."
            )
        raise RuntimeError(f"{name}: {place}Argument {-code} has illegal value.")
    words = next(text for key, text in _WORDS if key in name)
    error = RuntimeError if "lu_factor" in name else LinAlgError
    raise error(f"{name}: {place}{words.format(code)}")


def recording() -> bool:
    """Whether what is computed now may be differentiated: a derivative then has to depend on the inputs themselves."""
    return not _C.get_mode() & NO_GRAD


def eye_like(a: Any) -> Any:
    """The identity of the matrices' size, dtype and device."""
    return F["eye"](a.shape[-1], dtype=a.dtype, device=a.device)


def constant_eye(a: Any) -> Any:
    """Identity matrices of a tensor's shape, which carry its history: the gradient is zero."""
    m, n = a.shape[-2:]
    mask = F["eye"](m, n, dtype=_dtypes.bool, device=a.device)
    return a.masked_fill(~mask, 0).masked_fill(mask, 1)


def diag(v: Any) -> Any:
    """Matrices with these diagonals."""
    n = v.shape[-1]
    mask = F["eye"](n, dtype=_dtypes.bool, device=v.device)
    return v.unsqueeze(-1).expand(*v.shape, n).masked_fill(~mask, 0)


def halved_diagonal(a: Any, part: str = "") -> Any:
    """The matrices with half of their diagonal, of its real or imaginary part."""
    d = a.diagonal(0, -2, -1)
    if part and a.is_complex():
        d = (d + d.conj()) * 0.5 if part == "real" else (d - d.conj()) * 0.5
    return a - diag(d * 0.5)


def unbroadcast(g: Any, shape: Any) -> Any:
    """A gradient summed over the dimensions that an input was broadcast along."""
    return g if g.shape == shape else g.sum_to_size(shape)


def real_part(t: Any) -> Any:
    """The real parts of complex numbers."""
    return F["view_as_real"](F["resolve_conj"](t)).select(-1, 0)
