"""Norms, condition numbers, powers and exponentials of matrices, and the small functions of ``torch.linalg``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops import linalg
from dumbtorch.ops.decompose import svdvals
from dumbtorch.ops.factor import solve_ex
from dumbtorch.ops.linalg_base import check_kind, check_matrix, check_square, constant_eye, eye_like, type_name
from dumbtorch.ops.results import done
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import TABLE, composite, primitive


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


# ---------------------------------------------------------------- norms


def _in_dtype(x: Any, dtype: Any, name: str) -> Any:
    if dtype is None:
        return x
    kind = x.dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"{name}: dtype should be floating point or complex. Got {dtype}")
    if kind.is_complex != dtype.is_complex:
        wanted = "complex" if kind.is_complex else "real"
        raise RuntimeError(f"{name}: dtype should be {wanted} for {wanted} inputs. Got {dtype}")
    if _dtypes.promote_types(kind, dtype) is not dtype:
        raise RuntimeError(
            f"{name}: the dtype of the input ({kind}) should be convertible without narrowing to the specified dtype "
            f"({dtype})"
        )
    return x if kind is dtype else x.to(dtype)


def vector_norm(
    input: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """The norm of order ``ord`` of all elements, or over the dimensions ``dim``. Reference: ``linalg.vector_norm``."""
    name = "linalg.vector_norm"
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(input)}")
    input = _in_dtype(input, dtype, name)
    if isinstance(ord, complex):
        raise RuntimeError(f"{name}: Expected a non-complex scalar as the order of norm.")
    dims = _dims(dim, input.ndim)
    if ord < 0 or ord == math.inf:
        if dim is None and not input.numel():
            raise RuntimeError(
                f"{name} cannot compute the {ord} norm on an empty tensor because the operation does not have an "
                "identity"
            )
        for d in dims:
            if input.ndim and not input.shape[d]:
                raise RuntimeError(
                    f"{name} cannot compute the {ord} norm on the dimension {d} because this dimension is empty and "
                    "the operation does not have an identity"
                )
    whole = dim is None or (isinstance(dim, Sequence) and not dim)
    if ord and input.ndim and all(input.shape[d] == 1 for d in dims):  # single numbers
        size = input.abs()
        left = [n for d, n in enumerate(input.shape) if d not in dims]
        return done(size if keepdim else size.reshape(left), out, name)
    if input.is_complex() and ord == 2 and input.ndim:  # that of all parts
        result = TABLE["norm"].op(F["view_as_real"](F["resolve_conj"](input)), 2.0, [*dims, input.ndim], keepdim, None)
        return done(result.squeeze(-1) if keepdim else result, out, name)
    values = input.abs() if input.is_complex() else input
    return done(TABLE["norm"].op(values, float(ord), None if whole else dims, keepdim, None), out, name)


def _dims(dim: Any, ndim: int) -> list[int]:
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return list(range(ndim))
    dims = [wrap_dim(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    if len(set(dims)) < len(dims):
        twice = next(d for d in dims if dims.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return dims


def _largest(t: Any, dim: int, keepdim: bool) -> Any:
    """The largest along a dimension; 0 of none."""
    return t.amax(dim, keepdim) if t.shape[dim] else t.sum(dim, keepdim)


def matrix_norm(
    input: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """The norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf, -inf. Reference: ``torch.linalg.matrix_norm``."""
    name = "linalg.matrix_norm"
    check_matrix(input, name)
    if not isinstance(dim, Sequence) or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    check_kind(input, name, low=ord == "fro" or (_number(ord) and abs(ord) != 2))
    rows, cols = (wrap_dim(d, input.ndim) for d in dim)
    if rows == cols:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{name}: Order {ord} not supported.")
        if ord == "fro":
            return done(vector_norm(input, 2, (rows, cols), keepdim, dtype=dtype), out, name)
    elif abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    input = _in_dtype(input, dtype, name)
    if ord == "nuc" or abs(ord) == 2:
        s = svdvals(input.movedim((rows, cols), (-2, -1)))
        if ord == "nuc":
            result = s.sum(-1)
        else:
            result = _largest(s, -1, False) if ord > 0 else s.amin(-1)
        if keepdim:
            for d in sorted((rows, cols)):
                result = result.unsqueeze(d)
        return done(result, out, name)
    first, second = (rows, cols) if abs(ord) == 1 else (cols, rows)
    sums = vector_norm(input, 1, first, keepdim=True)
    result = _largest(sums, second, True) if ord > 0 else sums.amin(second, True)
    if not keepdim:
        result = result.squeeze(max(rows, cols)).squeeze(min(rows, cols))
    return done(result, out, name)


def norm(
    input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Any = None, dtype: Any = None
) -> Any:
    """A vector norm, or a matrix norm where two dimensions and an order are given. Reference: ``torch.linalg.norm``."""
    name = "linalg.norm"
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2):
        raise RuntimeError(f"{name}: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
    if ord is None:
        return done(vector_norm(input, 2, dim, keepdim, dtype=dtype), out, name)
    if dim is None and input.ndim not in (1, 2):
        raise RuntimeError(
            f"{name}: If dim is not specified but ord is, the input must be 1D or 2D. Got {input.ndim}D."
        )
    if (dim is None and input.ndim == 2) or (dim is not None and not isinstance(dim, int) and len(dim) == 2):
        return done(matrix_norm(input, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype), out, name)
    if isinstance(ord, str):
        raise RuntimeError(f"{name}: Order {ord} is only supported for matrices")
    return done(vector_norm(input, ord, dim, keepdim, dtype=dtype), out, name)


@composite("norm", numpy=False)
def _norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None
) -> Any:
    """The vector norm of order ``p`` over all or the given dimensions; "nuc" and "fro" are matrix norms.

    Reference: ``torch.norm``.
    """
    if p == "nuc":
        if dim is None:
            dim = (0, 1) if input.ndim == 2 else (-2, -1)
        return done(matrix_norm(input, "nuc", dim, keepdim, dtype=dtype), out, "norm")
    if isinstance(p, str):
        if p != "fro":
            raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
        p = 2.0
    order = 2.0 if p is None else float(p)
    if not input.numel() and (order < 0 or order == math.inf) and dim is None:
        raise RuntimeError(f"norm(): cannot compute the {p} norm of an empty tensor")
    return done(vector_norm(input, order, dim, keepdim, dtype=dtype), out, "norm")


@composite(method=False)
def frobenius_norm(input: Any, dim: Any, keepdim: bool = False, *, out: Any = None) -> Any:
    """The square root of the sum of squares over one or two dimensions. Reference: ``torch.frobenius_norm``."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    if len(dims) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dims)} dimensions instead.")
    return done(vector_norm(input, 2, dims, keepdim), out, "frobenius_norm")


@composite(method=False)
def nuclear_norm(input: Any, dim: Any = (-2, -1), keepdim: bool = False, *, out: Any = None) -> Any:
    """The sum of the singular values of matrices. Reference: ``torch.nuclear_norm``."""
    if isinstance(dim, bool):  # nuclear_norm(input, keepdim)
        dim, keepdim = (-2, -1), dim
    return done(matrix_norm(input, "nuc", dim, keepdim), out, "nuclear_norm")


def cond(input: Any, p: Any = None, *, out: Any = None) -> Any:
    """The condition number in the norm ``p`` (default 2); infinite for a singular matrix.

    Reference: ``torch.linalg.cond``.
    """
    name = "linalg.cond"
    check_matrix(input, name)
    check_kind(input, name)
    if p is None or p in (2, -2):
        if input.numel() == 0:
            return done(_real_zeros(input), out, name)
        s = svdvals(input)
        top, low = s.select(-1, 0), s.select(-1, -1)
        return done(low / top if p == -2 else top / low, out, name)
    if p not in ("fro", "nuc", 1, -1, math.inf, -math.inf):
        raise RuntimeError(f"{name} got an invalid norm type: {p}")
    check_square(input, f"{name}({p})")
    if input.numel() == 0:
        return done(_real_zeros(input), out, name)
    inverse, info = linalg.inv_ex(input)
    result = matrix_norm(input, p) * matrix_norm(inverse, p)
    return done(F["where"](info > 0, math.inf, result), out, name)


def _real_zeros(A: Any) -> Any:
    zeros = A.new_zeros(A.shape[:-2])
    return zeros.real if A.is_complex() else zeros


# ---------------------------------------------------------------- powers and exponentials


def matrix_power(input: Any, n: int, *, out: Any = None) -> Any:
    """The n-th power of square matrices, of their inverses if n is negative. Reference: ``linalg.matrix_power``."""
    name = "linalg.matrix_power"
    check_square(input, name)
    if n == 0:
        return done(constant_eye(input), out, name)
    if n < 0:
        input, n = linalg.inv(input), -n
    result, square = None, input
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        if n:
            square = square @ square
    return done(result.clone() if result is input else result, out, name)


composite("matrix_power")(matrix_power)

# Higham, "The scaling and squaring method for the matrix exponential revisited" (2005): bounds of the 1-norm up to
# which the Padé approximant of this degree has the dtype's accuracy, and its coefficients.
_BOUNDS = {
    _dtypes.float32: ((3, 4.258730016922831e-1), (5, 1.880152677804762), (7, 3.925724783138660)),
    _dtypes.float64: ((3, 1.495585217958292e-2), (5, 2.539398330063230e-1), (7, 9.504178996162932e-1),
                      (9, 2.097847961257068), (13, 5.371920351148152)),
}  # fmt: skip


def _pade(m: int) -> list[float]:
    """The numerator's coefficients of the diagonal Padé approximant of degree m."""
    f = math.factorial
    return [f(2 * m - k) * f(m) / (f(2 * m) * f(k) * f(m - k)) for k in range(m + 1)]


def _matrix_exp(A: Any) -> Any:
    n = A.shape[-1]
    if A.numel() == 0:
        return A.clone()
    if n == 1:
        return A.exp()
    half = A.dtype in (_dtypes.float16, _dtypes.bfloat16)
    kind = A.dtype
    A = A.float() if half else A
    bounds = _BOUNDS[_dtypes.float32 if A.dtype in (_dtypes.float32, _dtypes.complex64) else _dtypes.float64]
    sizes = A.abs().sum(-2).amax(-1)
    largest = sizes.max().item() if sizes.numel() else 0.0
    if not math.isfinite(largest):
        return A * math.nan
    degree, bound = next(((m, b) for m, b in bounds if largest <= b), bounds[-1])
    times = F["ceil"](F["log2"]((sizes / bound).clamp(min=1.0)))
    steps = int(times.max().item())
    if steps:
        A = A * F["exp2"](-times).unsqueeze(-1).unsqueeze(-1)
    c = _pade(degree)
    one = eye_like(A)
    square = A @ A
    even, odd, power = one * c[0], one * c[1], None
    for k in range(1, degree // 2 + 1):
        power = square if power is None else power @ square
        even = even + c[2 * k] * power
        if 2 * k + 1 <= degree:
            odd = odd + c[2 * k + 1] * power
    odd = A @ odd
    result = solve_ex(even - odd, even + odd)[0]
    for step in range(steps):
        squared = result @ result
        if sizes.numel() > 1:
            squared = F["where"]((times > step).unsqueeze(-1).unsqueeze(-1), squared, result)
        result = squared
    return result.to(kind) if half else result


def _matrix_exp_back(g: Any, A: Any) -> Any:
    """The derivative in direction G is a block of the exponential of [[A^H, G], [0, A^H]] (Al-Mohy, Higham 2009)."""
    n = A.shape[-1]
    ah = A.mH
    top = F["cat"]([ah, g], -1)
    low = F["cat"]([ah * 0, ah], -1)
    return _MATRIX_EXP(F["cat"]([top, low], -2)).narrow(-2, 0, n).narrow(-1, n, n)


_MATRIX_EXP = primitive(
    "matrix_exp", "A", _matrix_exp, {"A": _matrix_exp_back}, dtypes="single+complex",
    samples=lambda: (S(T(3, 3)), S(T(2, 2, 2, low=-6, high=6)), S(T(1, 1)), S(T(2, 0, 0))),
    doc="The exponentials of square matrices, by scaling, squaring and Padé approximants.",
)  # fmt: skip


def matrix_exp(input: Any) -> Any:
    """The exponentials of square matrices. Reference: ``torch.linalg.matrix_exp``."""
    check_square(input, "linalg.matrix_exp")
    check_kind(input, "linalg.matrix_exp", low=True)
    return _MATRIX_EXP(input)


composite("matrix_exp")(matrix_exp)


# ---------------------------------------------------------------- tensors as matrices, small functions


def tensorinv(input: Any, ind: int = 2, *, out: Any = None) -> Any:
    """The inverse of ``tensordot(A, ., ind)``. Reference: ``torch.linalg.tensorinv``."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    front, back = input.shape[:ind], input.shape[ind:]
    n, m = math.prod(front), math.prod(back)
    if n != m:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{m} != {n}"
        )
    return done(linalg.inv(input.reshape(n, m)).reshape((*back, *front)), out, "linalg.tensorinv")


def tensorsolve(input: Any, other: Any, dims: Any = None, *, out: Any = None) -> Any:
    """X with ``tensordot(A, X, X.ndim) = B``. Reference: ``torch.linalg.tensorsolve``."""
    if dims is not None:
        input = input.movedim(tuple(dims), tuple(range(input.ndim - len(dims), input.ndim)))
    shape = input.shape[other.ndim :]
    size = math.prod(shape)
    if size * size != input.numel() and math.prod(input.shape[: other.ndim]) != size:
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {size} != {math.prod(input.shape[: other.ndim])}"
        )
    return done(linalg.solve(input.reshape(-1, size), other.flatten()).reshape(shape), out, "linalg.tensorsolve")


def vander(x: Any, N: Any = None) -> Any:
    """Rows of powers 0 to N - 1 of the numbers in the last dimension. Reference: ``torch.linalg.vander``."""
    x = x.reshape(1) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        x = x.to(_dtypes.int64)
    powers = [F["ones_like"](x), x]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    return F["stack"](powers, -1)


@composite("vander", method=False)
def _vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """Rows of powers of the numbers of a vector, descending unless ``increasing``. Reference: ``torch.vander``."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    kind = x.dtype if x.dtype.is_floating_point or x.dtype.is_complex else _dtypes.int64
    x = x.to(kind)
    powers = [F["ones_like"](x)]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    powers = powers[:n]
    if not powers:
        return x.new_empty((x.shape[0], 0))
    return F["stack"](powers if increasing else powers[::-1], -1)


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices, a view. Reference: ``torch.linalg.diagonal``."""
    return A.diagonal(offset, dim1, dim2)


def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """The matrix product, as `dumbtorch.matmul`. Reference: ``torch.linalg.matmul``."""
    return F["matmul"](input, other) if out is None else F["matmul"](input, other, out=out)


__all__ = [
    "cond", "diagonal", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "norm", "tensorinv", "tensorsolve",
    "vander", "vector_norm",
]  # fmt: skip
