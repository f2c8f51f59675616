"""Bags of embeddings: rows added, averaged or compared, without the rows in between."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.autograd.modes import NO_GRAD
from dumbtorch.ops import sparse_grads
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite, row

SUM, MEAN, MAX = range(3)


def _bag_of(indices: Any, offsets: Any) -> Any:
    """The bag of each index."""
    positions = F["arange"](indices.shape[0], device=indices.device)
    return F["searchsorted"](offsets, positions.to(offsets.dtype), right=True) - 1


def _weights(g: Any, indices: Any, offsets: Any, weights: Any, mode: int, padding_idx: int) -> Any:
    """What each index's row is multiplied with in its bag's sum or mean."""
    kept = (indices != padding_idx).to(g.dtype)
    each = kept if weights is None else kept * weights
    if mode == MEAN:
        bag = _bag_of(indices, offsets)
        sizes = g.new_zeros((offsets.shape[0],)).index_add(0, bag, kept).clamp(min=1)
        each = each / sizes[bag]
    return each


def _largest(weight: Any, indices: Any, offsets: Any, padding_idx: int) -> Any:
    """For each bag and column the row of the maximum, the first of equal ones; the number of rows for none."""
    bag = _bag_of(indices, offsets)
    values = weight.detach()[indices]
    kept = (indices != padding_idx).unsqueeze(1)
    shape = (offsets.shape[0], weight.shape[1])
    to = bag.unsqueeze(1).expand_as(values)
    low = F["full"](shape, float("-inf"), dtype=weight.dtype, device=weight.device)
    top = low.scatter_reduce(0, to, values.masked_fill(~kept, float("-inf")), "amax")
    count = indices.shape[0]
    positions = F["arange"](count, device=indices.device).unsqueeze(1).expand_as(values)
    hit = (values == top.gather(0, to)) & kept
    none = F["full"](shape, count, dtype=positions.dtype, device=weight.device)
    first = none.scatter_reduce(0, to, positions.masked_fill(~hit, count), "amin")
    rows = F["cat"]([indices.to(positions.dtype), indices.new_full((1,), weight.shape[0]).to(positions.dtype)])
    return rows[first]


def _of_weight(
    g: Any,
    weight: Any,
    indices: Any,
    offsets: Any,
    per_sample_weights: Any,
    mode: int,
    padding_idx: int,
    scale_grad_by_freq: bool,
    sparse: bool,
) -> Any:
    if sparse:
        rows = g.index_select(0, _bag_of(indices, offsets))
        if mode == MEAN or per_sample_weights is not None:
            rows = rows * _weights(g, indices, offsets, per_sample_weights, mode, padding_idx).unsqueeze(1)
        return sparse_grads.of_rows("embedding_backward", rows, indices, weight.shape, padding_idx, scale_grad_by_freq)
    factors = per_sample_weights
    if scale_grad_by_freq:
        often = F["bincount"](indices, minlength=weight.shape[0])[indices].to(weight.dtype)
        factors = 1 / often if factors is None else factors / often
    if _C.get_mode() & NO_GRAD:
        return _BACKWARD(g, weight, indices, offsets, factors, mode, padding_idx)
    if mode == MAX:
        best = _largest(weight, indices, offsets, padding_idx)
        return g.new_zeros((weight.shape[0] + 1, weight.shape[1])).scatter_add(0, best, g)[:-1]
    each = _weights(g, indices, offsets, factors, mode, padding_idx)
    return weight.new_zeros(weight.shape).index_add(0, indices, g[_bag_of(indices, offsets)] * each.unsqueeze(1))


def _of_samples(g: Any, weight: Any, indices: Any, offsets: Any, padding_idx: int) -> Any:
    kept = (indices != padding_idx).to(g.dtype)
    return (g[_bag_of(indices, offsets)] * weight[indices]).sum(1) * kept


def _samples() -> Any:
    indices, offsets = T(6, dtype="int64", values=[0, 3, 1, 3, 2, 4]), T(3, dtype="int64", values=[0, 2, 2])
    for mode in (SUM, MEAN, MAX):
        yield S(T(5, 3, distinct=True), indices, offsets, None, mode, -1)
    yield S(T(5, 3), indices, offsets, T(6), SUM, 4)
    yield S(T(5, 3), indices, offsets, None, MEAN, 3)


def _errors() -> Any:
    for index, offset in ((5, 0), (1, 1)):
        indices, offsets = T(2, dtype="int64", values=[0, index]), T(1, dtype="int64", values=[offset])
        yield S(T(5, 3), indices, offsets, error="RuntimeError")


def _backward_samples() -> Any:
    for sample in _samples():
        yield S(T(3, 3, grad=False), *sample.args)


_BACKWARD: Any = row(
    "bags_of_rows_backward",
    "grad_output, weight, indices:i, offsets:i, per_sample_weights:i, mode, padding_idx",
    method=False, function=False, out=False, samples=_backward_samples,
    doc="The gradient of the weight of bags of embeddings.",
)  # fmt: skip
row("bags_of_rows", "weight, indices:i, offsets:i, per_sample_weights=None, mode=0, padding_idx=-1, "
    "scale_grad_by_freq=False, sparse=False", method=False, function=False, out=False, grad={
        "weight": _of_weight,
        "per_sample_weights": lambda g, weight, indices, offsets, padding_idx: _of_samples(
            g, weight, indices, offsets, padding_idx),
    }, samples=_samples,
    errors=_errors,
    doc="The sum, mean or maximum (mode 0, 1, 2) of the rows at each bag's indices. ``sparse``: the weight's gradient "
    "is a sparse tensor.")  # fmt: skip


@composite(method=False)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """``x1 . x2 / (|x1| |x2|)`` along a dimension, each norm held at ``eps`` and above.

    The operands broadcast. RuntimeError unless the result is floating. Reference: `torch.cosine_similarity`.
    """
    common = _dtypes.result_type(x1, x2)
    if not common.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common}")
    x1, x2 = F["broadcast_tensors"](x1.to(common), x2.to(common))
    if common.itemsize < 4:  # products of half types would overflow soon
        return (x1 / _length(x1, dim, eps, True) * (x2 / _length(x2, dim, eps, True))).sum(dim)
    return (x1 * x2).sum(dim) / _length(x1, dim, eps) / _length(x2, dim, eps)


def _length(x: Any, dim: int, eps: float, keepdim: bool = False) -> Any:
    length = F["norm"](x, 2.0, dim, keepdim).clone()
    mode = _C.set_mode(_C.get_mode() | NO_GRAD)
    try:
        length.clamp_(min=eps)  # below it the gradient is that of the norm, as in PyTorch
    finally:
        _C.set_mode(mode)
    return length
