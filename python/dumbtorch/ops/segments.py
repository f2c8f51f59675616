"""Reductions of segments of a dimension, and of the bits of a tensor."""

from __future__ import annotations

from math import inf, nan, prod
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.results import write_out
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite

_STARTS = {"sum": 0.0, "mean": nan, "max": -inf, "min": inf, "prod": 1.0}
_FOLDS = {"max": "amax", "min": "amin", "prod": "prod"}


def _offsets(data: Any, lengths: Any, offsets: Any, dim: int, unsafe: bool) -> Any:
    """Where the segments begin and where the last of them ends, along the last dimension."""
    given = lengths if offsets is None else offsets
    if data.ndim < given.ndim:
        raise RuntimeError(
            f"segment_reduce(): data of {data.ndim} dimensions has no segments of {given.ndim} dimensions"
        )
    if dim != given.ndim - 1:
        raise RuntimeError(
            f"segment_reduce(): Expected axis to be the last dimension of lengths, {given.ndim - 1}, but got {dim}."
        )
    if given.dtype not in (_dtypes.int32, _dtypes.int64):
        raise NotImplementedError(
            f"\"segment_reduce\" not implemented for segments of '{_dtypes.TYPE_NAMES[given.dtype]}'"
        )
    if offsets is not None:
        return offsets.long()
    if not unsafe:
        if (lengths < 0).any().item():
            raise RuntimeError("lengths contains negative value!")
        if (lengths.sum(-1) != data.shape[dim]).any().item():
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when "
                "!unsafe."
            )
    ends = lengths.long().cumsum(-1)
    return F["cat"]([ends.new_zeros((*ends.shape[:-1], 1)), ends], -1)


@composite("segment_reduce", "_segment_reduce", method=False)
def segment_reduce(
    data: Any, reduce: str, *, lengths: Any = None, indices: Any = None, offsets: Any = None, axis: int = 0,
    unsafe: bool = False, initial: Any = None,
) -> Any:  # fmt: skip
    """The sum, mean, max, min or prod of segments of the dimension ``axis``, of these lengths or between ``offsets``.

    Lengths of several dimensions give each row of ``data`` segments of its own; ``axis`` is their last dimension.
    ``initial`` takes part in each segment. An empty segment has it, or 0, NaN, minus infinity, infinity, 1. Raises
    RuntimeError where the lengths do not add up, unless ``unsafe``. Reference: ``torch.segment_reduce``.

    >>> segment_reduce(torch.arange(6.0), "max", lengths=torch.tensor([2, 0, 4]))
    tensor([1., -inf, 5.])
    """
    if reduce not in _STARTS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, max or min, got {reduce}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not data.is_floating_point():
        raise NotImplementedError(f"\"segment_reduce\" not implemented for '{_dtypes.TYPE_NAMES[data.dtype]}'")
    dim = wrap_dim(axis, data.ndim)
    bounds = _offsets(data, lengths, offsets, dim, unsafe)
    lead, tail, size, count = data.shape[:dim], data.shape[dim + 1 :], data.shape[dim], bounds.shape[-1] - 1
    rows = data.reshape(lead.numel(), size, tail.numel())
    bounds = bounds.reshape(rows.shape[0], count + 1)
    places = F["arange"](size, device=data.device).expand(rows.shape[0], size)
    segments = F["searchsorted"](bounds, places, right=True) - 1
    segments = segments.masked_fill((segments < 0) | (segments >= count), count)  # the one that is thrown away
    index = segments.unsqueeze(-1).expand(rows.shape)
    shape = (rows.shape[0], count + 1, rows.shape[2])
    if reduce in _FOLDS:
        start = _STARTS[reduce] if initial is None or reduce != "prod" else initial
        made = rows.new_full(shape, start).scatter_reduce(1, index, rows, _FOLDS[reduce])[:, :count]
        if initial is not None and reduce != "prod":
            low, high = (made, initial) if reduce == "max" else (initial, made)
            made = made.masked_fill(low < high, initial)
    else:
        made = rows.new_full(shape, initial or 0.0).scatter_add(1, index, rows)[:, :count]
        if reduce == "mean":
            number = bounds.diff(dim=-1).unsqueeze(-1)
            empty = nan if initial is None else initial
            made = F["where"](number > 0, made / number.clamp(min=1).to(made.dtype), empty)
    return made.reshape(*lead, count, *tail)


@composite(method=True)
def hash_tensor(input: Any, dim: Any = (), *, keepdim: bool = False, mode: int = 0, out: Any = None) -> Any:
    """The exclusive or of the elements' bits, as float64 or int64, over all or the given dimensions: uint64.

    Raises RuntimeError for a ``mode`` other than 0 and for an empty tensor without ``dim``, NotImplementedError for
    complex numbers. Reference: ``torch.hash_tensor``.

    >>> hash_tensor(torch.tensor([5, 6]))
    tensor(3, dtype=torch.uint64)
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input.is_complex():
        raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for '{_dtypes.TYPE_NAMES[input.dtype]}'")
    dims = [dim] if isinstance(dim, int) else list(dim)
    if not dims and not input.numel():
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
            "with the 'dim' argument."
        )
    dims = [wrap_dim(d, input.ndim) for d in dims]
    dims = sorted(set(dims)) if dims and input.ndim else list(range(input.ndim))
    for d in dims:
        if not input.shape[d]:
            raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    input = input.detach()
    bits = input.double().view(_dtypes.int64) if input.is_floating_point() else input.long()
    kept = [d for d in range(input.ndim) if d not in dims]
    bits = bits.permute((*kept, *dims)).reshape((*(input.shape[d] for d in kept), prod(input.shape[d] for d in dims)))
    while bits.shape[-1] > 1:
        half = bits.shape[-1] // 2
        rest = bits[..., 2 * half :]
        bits = F["cat"]([bits[..., :half] ^ bits[..., half : 2 * half], rest], -1)
    shape = [1 if d in dims else n for d, n in enumerate(input.shape) if keepdim or d not in dims]
    made = bits.reshape(shape).view(_dtypes.uint64)
    return made if out is None else write_out("hash_tensor", (out,), (made,))[0]
