"""Products made of the matrix products: tensordot, kron, inner, addmv, addr, addbmm, chains, cross products, cdist."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.linalg_base import check_kind, type_name
from dumbtorch.ops.norms import vector_norm
from dumbtorch.ops.results import done
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import TABLE, composite, primitive


def _is_tensor(x: Any) -> bool:
    return isinstance(x, _C.TensorBase)


# ---------------------------------------------------------------- of vectors


@composite("outer", "ger")
def outer(input: Any, vec2: Any, *, out: Any = None) -> Any:
    """The outer product of two vectors. Reference: ``torch.outer``."""
    for name, t in (("self", input), ("vec2", vec2)):
        if not _is_tensor(t):
            raise TypeError(f"outer(): argument '{name}' must be Tensor, not {type(t).__name__}")
        if t.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.ndim}-D")
    kind = input.dtype
    if out is None and kind is vec2.dtype and kind.is_floating_point:
        return TABLE["outer"].op(input, vec2)
    column = input.unsqueeze(1)
    return column * vec2 if out is None else F["mul"](column, vec2, out=out)


@composite()
def vdot(input: Any, other: Any, *, out: Any = None) -> Any:
    """The inner product of two vectors, the first one conjugated. Reference: ``torch.vdot``."""
    return done(F["dot"](input.conj() if input.is_complex() else input, other), out, "vdot")


@composite()
def inner(input: Any, other: Any, *, out: Any = None) -> Any:
    """The products of rows: sums over the last dimensions of both. Reference: ``torch.inner``."""
    if not input.ndim or not other.ndim:
        return input * other if out is None else F["mul"](input, other, out=out)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]), out=out)


def vecdot(x: Any, y: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The inner products along a dimension, x conjugated; batches broadcast. Reference: ``torch.linalg.vecdot``."""
    check_kind(x, "linalg.vecdot", low=True)
    check_kind(y, "linalg.vecdot", low=True)
    if x.ndim and y.ndim and x.shape[wrap_dim(dim, x.ndim)] != y.shape[wrap_dim(dim, y.ndim)]:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same size along dim {dim}, but got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    return done((x.conj() * y).sum(dim), out, "linalg.vecdot")


def _cross(a: Any, b: Any, dim: int) -> Any:
    a0, a1, a2 = a.unbind(dim)
    b0, b1, b2 = b.unbind(dim)
    return F["stack"]([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim)


def linalg_cross(input: Any, other: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The cross products of vectors of 3 numbers along a dimension. Reference: ``torch.linalg.cross``."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    shape = F["broadcast_shapes"](input.shape, other.shape)
    dim = wrap_dim(dim, len(shape))
    return done(_cross(input.expand(shape), other.expand(shape), dim), out, "linalg.cross")


@composite()
def cross(input: Any, other: Any, dim: Any = None, *, out: Any = None) -> Any:
    """As `linalg.cross`; ``dim`` defaults to the first dimension of size 3. Reference: ``torch.cross``."""
    if dim is None:
        warnings.warn(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly "
            "or simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of "
            "linalg.cross in a future release.",
            UserWarning,
            stacklevel=2,
        )
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(input, other, dim=dim, out=out)


# ---------------------------------------------------------------- of matrices


def _scalars(t: Any, beta: Any, alpha: Any) -> None:
    """Refuses fractions for integers, as PyTorch does."""
    kind = t.dtype
    if not (kind.is_floating_point or kind.is_complex):
        for word, value in (("beta", beta), ("alpha", alpha)):
            if isinstance(value, float | complex):
                raise RuntimeError(f"For integral input tensors, argument {word} must not be a floating point number.")


@composite()
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * (mat @ vec)``; ``input`` broadcasts. Reference: ``torch.addmv``."""
    return done(_addmv(input, mat, vec, beta, alpha, False), out, "addmv")


@composite()
def addmv_(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """`addmv` in place; the only one of them that is a function too. Reference: ``torch.addmv_``."""
    return _addmv(input, mat, vec, beta, alpha, True)


@composite()
def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * outer(vec1, vec2)``; ``input`` broadcasts. Reference: ``torch.addr``."""
    return done(_addr(input, vec1, vec2, beta, alpha, False), out, "addr")


@composite(function=False)
def addr_(self: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """`addr` in place. Reference: ``torch.Tensor.addr_``."""
    return _addr(self, vec1, vec2, beta, alpha, True)


@composite()
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * sum of batch1[i] @ batch2[i]``; ``input`` broadcasts. Reference: ``torch.addbmm``."""
    return done(_addbmm(input, batch1, batch2, beta, alpha, False), out, "addbmm")


@composite(function=False)
def addbmm_(self: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """`addbmm` in place. Reference: ``torch.Tensor.addbmm_``."""
    return _addbmm(self, batch1, batch2, beta, alpha, True)


def _addmv(input: Any, mat: Any, vec: Any, beta: Any, alpha: Any, inplace: bool) -> Any:
    if mat.ndim != 2 or vec.ndim != 1 or input.ndim > 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}, {mat.ndim}, {vec.ndim}")
    if mat.shape[1] != vec.shape[0] or (input.ndim and input.shape[0] not in (1, mat.shape[0])):
        raise RuntimeError(
            f"size mismatch, got input ({mat.shape[0]}), mat ({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )
    start = input.unsqueeze(-1) if input.ndim else input
    if inplace:
        start.addmm_(mat, vec.unsqueeze(-1), beta=beta, alpha=alpha)
        return input
    return F["addmm"](start, mat, vec.unsqueeze(-1), beta=beta, alpha=alpha).squeeze(-1)


def _addr(input: Any, vec1: Any, vec2: Any, beta: Any, alpha: Any, inplace: bool) -> Any:
    for name, t in (("vec1", vec1), ("vec2", vec2)):
        if t.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {t.ndim}-D")
    product = vec1.unsqueeze(1) * vec2
    kind = _dtypes.promote_types(product.dtype, input.dtype)
    if kind is _dtypes.bool:
        if not (isinstance(beta, bool | int) and isinstance(alpha, bool | int)):
            raise RuntimeError("For bool input tensors, arguments beta and alpha must be bool or integers.")
        product = product & bool(alpha)
        result = product.expand(F["broadcast_shapes"](product.shape, input.shape)) if not beta else input | product
    else:
        _scalars(product, beta, alpha)
        product = product if alpha == 1 else product * alpha
        if beta == 0:  # what input holds, NaN too, is ignored
            result = product.to(kind)
        else:
            result = (input if beta == 1 else input * beta) + product
    shape = (vec1.shape[0], vec2.shape[0])
    if tuple(result.shape) != shape:
        raise RuntimeError(
            f"The expanded size of the tensor {list(shape)} must match the existing size {list(input.shape)}"
        )
    return input.copy_(result) if inplace else result


def _addbmm(input: Any, batch1: Any, batch2: Any, beta: Any, alpha: Any, inplace: bool) -> Any:
    if batch1.ndim != 3 or batch2.ndim != 3:
        which, t = ("batch1", batch1) if batch1.ndim != 3 else ("batch2", batch2)
        raise RuntimeError(f"{which} must be a 3D tensor, but got {t.ndim}D")
    b, n, m = batch1.shape
    if batch2.shape[0] != b:
        raise RuntimeError(f"batch1 and batch2 must have same number of batches, got {b} and {batch2.shape[0]}")
    if batch2.shape[1] != m:
        raise RuntimeError(f"Incompatible matrix sizes for bmm ({n}x{m} and {batch2.shape[1]}x{batch2.shape[2]})")
    left = batch1.transpose(0, 1).reshape(n, b * m)
    right = batch2.reshape(b * m, batch2.shape[2])
    if inplace:
        return input.addmm_(left, right, beta=beta, alpha=alpha)
    return F["addmm"](input, left, right, beta=beta, alpha=alpha)


def _cheapest(sizes: Sequence[int]) -> Any:
    """Where to split each part of a chain of matrices of these sizes (Cormen et al., 15.2)."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


def multi_dot(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """The product of matrices in the cheapest order; the first and last may be vectors. ``torch.linalg.multi_dot``."""
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    first, last = tensors[0], tensors[-1]
    for place, t in enumerate(tensors):
        allowed = (1, 2) if place in (0, n - 1) else (2,)
        if t.ndim not in allowed:
            words = "1D or 2D" if len(allowed) == 2 else "2D"
            raise RuntimeError(f"multi_dot(): tensor {place} must be {words} but got {t.ndim}D")
        if t.dtype is not first.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {type_name(first)} and tensor "
                f"{place} {type_name(t)}"
            )
    chain = list(tensors)
    if first.ndim == 1:
        chain[0] = first.unsqueeze(0)
    if last.ndim == 1:
        chain[-1] = last.unsqueeze(-1)
    for place in range(n - 1):
        a, b = chain[place], chain[place + 1]
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {place} and {place + 1} with shapes {list(tensors[place].shape)} and "
                f"{list(tensors[place + 1].shape)} cannot be multiplied"
            )
    split = _cheapest([t.shape[0] for t in chain] + [chain[-1].shape[1]])

    def product(i: int, j: int) -> Any:
        if i == j:
            return chain[i]
        k = split[i][j]
        return product(i, k) @ product(k + 1, j)

    result = product(0, n - 1)
    if first.ndim == 1:
        result = result.squeeze(0)
    if last.ndim == 1:
        result = result.squeeze(-1)
    return done(result, out, "multi_dot")


@composite(method=False)
def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """The product of matrices in the cheapest order: the older form of `linalg.multi_dot`. ``torch.chain_matmul``."""
    warnings.warn(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use "
        "torch.linalg.multi_dot instead, which accepts a list of two or more tensors rather than multiple parameters.",
        UserWarning,
        stacklevel=2,
    )
    chain = list(matrices[0]) if len(matrices) == 1 and isinstance(matrices[0], list | tuple) else list(matrices)
    if not chain:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for place, t in enumerate(chain):
        if t.ndim != 2:
            raise RuntimeError(f"Tensor {place} must be 2-dimensional (for chain_matmul), but got {t.ndim}-D")
    return done(chain[0], out, "chain_matmul") if len(chain) == 1 else multi_dot(chain, out=out)


# ---------------------------------------------------------------- of tensors


@composite(method=False)
def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Sums of products over dimensions of both: the last and first ``dims``, or two lists. ``torch.tensordot``."""
    if _is_tensor(dims):
        dims = dims.tolist() if dims.ndim else int(dims.item())
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(left) != len(right):
        raise RuntimeError(f"both dimension lists should have same length, got {len(left)} and {len(right)}")
    left, right = [wrap_dim(d, a.ndim) for d in left], [wrap_dim(d, b.ndim) for d in right]
    for listed in (left, right):
        if len(set(listed)) < len(listed):
            twice = next(d for d in listed if listed.count(d) > 1)
            raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"both inputs should have same dtype, got {a.dtype} and {b.dtype}")
    for i, j in zip(left, right, strict=True):
        if a.shape[i] == b.shape[j]:
            continue
        if a.shape[i] == 1:  # a broadcast dimension: the other one is summed first
            b = b.sum(j, True)
        elif b.shape[j] == 1:
            a = a.sum(i, True)
        else:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has size "
                f"{b.shape[j]} in dim {j}"
            )
    free_a = [d for d in range(a.ndim) if d not in left]
    free_b = [d for d in range(b.ndim) if d not in right]
    shape = [a.shape[d] for d in free_a] + [b.shape[d] for d in free_b]
    size = math.prod(a.shape[d] for d in left)
    rows = a.permute(free_a + left).reshape(math.prod(shape[: len(free_a)]), size)
    cols = b.permute(right + free_b).reshape(size, math.prod(shape[len(free_a) :]))
    return done(F["mm"](rows, cols).reshape(shape), out, "tensordot")


@composite()
def kron(input: Any, other: Any, *, out: Any = None) -> Any:
    """The Kronecker product: every element of ``input`` times all of ``other``. Reference: ``torch.kron``."""
    ndim = max(input.ndim, other.ndim)
    mine = (1,) * (ndim - input.ndim) + tuple(input.shape)
    its = (1,) * (ndim - other.ndim) + tuple(other.shape)
    left = input.reshape([n for size in mine for n in (size, 1)])
    right = other.reshape([n for size in its for n in (1, size)])
    shape = [m * n for m, n in zip(mine, its, strict=True)]
    return done((left * right).reshape(shape), out, "kron")


@composite(method=False)
def block_diag(*tensors: Any) -> Any:
    """A matrix with the matrices on its diagonal and zeros elsewhere. Reference: ``torch.block_diag``."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tuple(tensors[0])
    if not tensors:
        return F["empty"](1, 0)
    blocks = []
    for place, t in enumerate(tensors):
        if t.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{place} has {t.ndim} dimensions"
            )
        blocks.append(t.reshape(1, -1) if t.ndim < 2 else t)
    kind = blocks[0].dtype
    for block in blocks:
        kind = _dtypes.promote_types(kind, block.dtype)
    width, before, rows = sum(block.shape[1] for block in blocks), 0, []
    for block in blocks:
        n, m = block.shape
        block = block.to(kind)
        rows.append(F["cat"]([block.new_zeros((n, before)), block, block.new_zeros((n, width - before - m))], 1))
        before += m
    return F["cat"](rows, 0)


# ---------------------------------------------------------------- distances

_TEMPORARY = 1 << 24  # elements of differences that are worth holding at once


def _cdist(x1: Any, x2: Any, p: float, direct: bool) -> Any:
    if p == 2 and not direct:
        squares = x1.square().sum(-1, True) + x2.square().sum(-1, True).mT - 2 * (x1 @ x2.mT)
        return squares.clamp(min=0).sqrt()
    rows = x1.shape[-2]
    per_row = max(math.prod(x2.shape), 1) * max(math.prod(x1.shape[:-2]) // max(math.prod(x2.shape[:-2]), 1), 1)
    step = max(_TEMPORARY // per_row, 1)
    parts = []
    for start in range(0, max(rows, 1), step):
        part = x1.narrow(-2, start, min(step, rows - start)) if rows else x1
        parts.append(vector_norm(part.unsqueeze(-2) - x2.unsqueeze(-3), p, -1))
    return parts[0] if len(parts) == 1 else F["cat"](parts, -2)


def _cdist_back(g: Any, x1: Any, x2: Any, out: Any, p: float, side: int) -> Any:
    """The gradient of distances: 0 where a distance is."""
    if side:
        x1, x2, g, out = x2, x1, g.mT, out.mT
    if p == 2:
        share = F["where"](out == 0, 0.0, g / out)
        back = share.sum(-1, True) * x1 - share @ x2
    else:
        difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
        wide, size = g.unsqueeze(-1), out.unsqueeze(-1)
        if p == 0:
            part = difference * 0
        elif p == 1:
            part = difference.sgn() * wide
        elif p == math.inf:
            part = difference.sgn() * (difference.abs() == size).to(g.dtype) * wide
        else:
            part = difference.sgn() * difference.abs().pow(p - 1) * wide / size.pow(p - 1)
            part = F["where"](size == 0, 0.0, part)
        back = part.sum(-2)
    return back if back.shape == x1.shape else back.sum_to_size(x1.shape)


_CDIST = primitive(
    "cdist", "x1, x2, p=2.0, direct=True", _cdist, {
        "x1": lambda g, x1, x2, out, p: _cdist_back(g, x1, x2, out, p, 0),
        "x2": lambda g, x1, x2, out, p: _cdist_back(g, x1, x2, out, p, 1),
    }, dtypes="single", doc="The distances of all pairs of rows in the norm of order ``p``.",
    samples=lambda: (S(T(4, 3), T(5, 3)), S(T(2, 4, 3), T(2, 5, 3), 1.0), S(T(4, 3), T(5, 3), 3.0), S(T(0, 3), T(2, 3)),
                     S(T(4, 3), T(2, 5, 3), float("inf"))),
)  # fmt: skip


@composite(method=False)
def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Any:
    """The distances of all pairs of rows, (..., P, M) and (..., R, M) to (..., P, R). Reference: ``torch.cdist``.

    ``compute_mode`` says whether distances for ``p=2`` come of a matrix product: always, never, or above 25 rows.
    """
    for name, t in (("X1", x1), ("X2", x2)):
        if not t.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {type_name(t)}")
    for name, t in (("X1", x1), ("X2", x2)):
        if t.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {t.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    modes = {"use_mm_for_euclid_dist_if_necessary": 0, "use_mm_for_euclid_dist": 1, "donot_use_mm_for_euclid_dist": 2}
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    mode = modes[compute_mode]
    direct = mode == 2 or (mode == 0 and x1.shape[-2] <= 25 and x2.shape[-2] <= 25)
    batch = F["broadcast_shapes"](x1.shape[:-2], x2.shape[:-2])
    if not x1.shape[-1]:
        return x1.new_zeros((*batch, x1.shape[-2], x2.shape[-2]))
    kind = _dtypes.promote_types(x1.dtype, x2.dtype)
    return _CDIST(x1.to(kind), x2.to(kind), float(p), direct)


__all__ = ["cross", "multi_dot", "vecdot"]
