"""Batching rules of the common classes of rows: pointwise, reductions, along a dimension, views, joining, leading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func import _batching
from dumbtorch.func._batching import RULES, Call, Rule
from dumbtorch.func._kinds import is_pointwise
from dumbtorch.ops.table import FUNCTIONS, TABLE


def _names(text: str, rule: Rule) -> None:
    RULES.update(dict.fromkeys(text.split(), rule))


def aligned(whole: Any, rank: int) -> Any:
    """A whole with dimensions of size 1 after its batch, until its samples have a rank."""
    missing = rank - (whole.ndim - 1)
    return whole if missing <= 0 else whole.reshape(whole.shape[0], *(1,) * missing, *whole.shape[1:])


def wrapped(dim: Any, rank: int) -> int:
    """A dimension of a sample as one of its whole. Raises IndexError as the op would."""
    d = int(dim)
    low = max(rank, 1)
    if not -low <= d < low:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-low}, {low - 1}], but got {d})")
    return d % low + 1


def _dims(value: Any, rank: int) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(wrapped(d, rank) for d in value)
    return wrapped(value, rank)


# ---------------------------------------------------------------- pointwise


def pointwise(call: Call) -> Any:
    """Operands aligned at the back, as broadcasting does for samples."""
    places = call.tensors()
    rank = max(call.rank(n) for n in places)
    args = list(call.args)
    kinds = {args[n].dtype for n in places}
    for n in places:
        if not call.row.broadcast and len(places) > 1:  # its operands have one shape, and so have its derivatives
            args[n] = aligned(call.whole(n), rank)
        elif call.is_whole[n]:
            if len(kinds) > 1 and not call.rank(n) and rank:
                args[n] = _as_scalar(args, places, n, call)
            args[n] = aligned(args[n], rank)
    return call.run(args)


def _as_scalar(args: Sequence[Any], places: Sequence[int], n: int, call: Call) -> Any:
    """A sample without dimensions counts less in type promotion than the dimension that it has as a whole."""
    others = [args[p] for p in places if p != n and call.rank(p)]
    if (
        args[n].dtype is _dtypes.bool
        or call.row.name in ("where", "masked_fill")
        and n == 1 - (call.row.name == "where")
    ):
        return args[n]
    kind = others[0].dtype
    for other in others[1:]:
        kind = _dtypes.promote_types(kind, other.dtype)
    if _category(args[n].dtype) <= _category(kind):
        return args[n].to(kind)
    return args[n]


def _category(kind: Any) -> int:
    if kind.is_complex:
        return 3
    return 2 if kind.is_floating_point else 0 if kind is _dtypes.bool else 1


def _masked_fill(call: Call) -> Any:
    if call.is_whole[2]:
        rank = max(call.rank(0), call.rank(1))
        made = FUNCTIONS["where"](*(aligned(call.whole(n), rank) for n in (1, 2, 0)))
        return call.args[0].copy_(made) if call.inplace else made.to(call.args[0].dtype)
    return pointwise(call)


RULES["masked_fill"] = _masked_fill


# ---------------------------------------------------------------- reductions, and work along a dimension


def reduction(call: Call) -> Any:
    """A reduction of all or some dimensions of its first argument: of all but the batch, or of the next ones."""
    args = list(call.args)
    place, keep = call.place("dim"), call.place("keepdim") if "keepdim" in call.row.params else -1
    rank, x = call.rank(0), args[0]
    dim = args[place]
    every = dim is None or (isinstance(dim, (tuple, list)) and not dim)
    if not rank:
        if not every:
            _dims(dim, 0)
        args[0] = x.unsqueeze(1)
        args[place] = 1
        if keep >= 0:
            args[keep] = False
        return call.run(args)
    if not every:
        args[place] = _dims(dim, rank)
        return call.run(args)
    if call.row.name in _SEVERAL:
        args[place] = tuple(range(1, rank + 1))
        return call.run(args)
    args[0], args[place] = x.reshape(call.size, -1), 1
    kept = keep >= 0 and args[keep]
    if keep >= 0:
        args[keep] = False
    result = call.run(args)
    return result.reshape(call.size, *(1,) * rank) if kept else result


#: Reductions that take several dimensions.
_SEVERAL = frozenset(
    ["sum", "mean", "nansum", "amax", "amin", "any", "all", "var", "std", "norm", "logsumexp", "count_nonzero"]
)
_names(
    "sum mean nansum prod amax amin any all var std norm logsumexp argmax argmin count_nonzero max_dim min_dim median "
    "nanmedian mode kthvalue",
    reduction,
)


def along(call: Call) -> Any:
    """An op along a dimension of its first argument; further tensors have the same rank."""
    rank = max(call.rank(n) for n in call.tensors())
    args = list(call.args)
    for n in call.tensors():
        args[n] = call.whole(n) if call.rank(n) else call.whole(n).unsqueeze(-1)
    for name in ("dim", "dims"):
        if name in call.row.params:
            place = call.place(name)
            if args[place] is not None:
                args[place] = _dims(args[place], rank)
    result = call.run(args)
    if call.rank(2 if call.row.name == "gather" else 0) or call.inplace:
        return result
    return tuple(r.squeeze(1) for r in result) if isinstance(result, tuple) else result.squeeze(1)


_names(
    "softmax log_softmax softmax_backward log_softmax_backward cumsum cumprod cummax cummin logcumsumexp sort argsort "
    "topk flip gather scatter_add scatter_reduce fft_c2c fft_r2c fft_c2r",
    along,
)


def _scatter(call: Call) -> Any:
    if isinstance(call.args[3], TensorBase):
        return along(call)
    rank = max(call.rank(0), call.rank(2))
    args = list(call.args)
    args[0], args[2] = call.whole(0), call.whole(2)
    args[1] = _dims(args[1], rank)
    if rank:
        return call.run(args)
    args[0], args[2] = args[0].unsqueeze(-1), args[2].unsqueeze(-1)
    result = call.run(args)
    return result if call.inplace else result.squeeze(1)


RULES["scatter"] = _scatter


# ---------------------------------------------------------------- views


def shifted(call: Call) -> Any:
    """A view whose arguments name dimensions."""
    args, rank = list(call.args), call.rank(0)
    extra = 1 if call.row.name == "unsqueeze" else 0
    for place, name in enumerate(call.row.params):
        if name in ("dim", "dim0", "dim1", "dim2", "dimension") and args[place] is not None:
            args[place] = _dims(args[place], rank + extra)
    if not rank and call.row.name in ("transpose", "squeeze", "unfold"):
        if call.row.name == "unfold":
            args[0] = args[0].unsqueeze(1)
            return call.run(args)
        return args[0]
    return call.run(args)


_names("transpose unsqueeze select slice diagonal unfold", shifted)


def _scattered(call: Call) -> Any:
    """The whole of a view written into: both tensors with their batch."""
    args = list(call.args)
    args[0], args[1] = call.whole(0), call.whole(1)
    rank = args[0].ndim - 1
    for place, name in enumerate(call.row.params):
        if name in ("dim", "dim1", "dim2"):
            args[place] = _dims(args[place], rank)
    return call.run(args)


_names("select_scatter slice_scatter diagonal_scatter", _scattered)


def _squeeze(call: Call) -> Any:
    x, dim = call.args
    rank = call.rank(0)
    if dim is None:
        dim = tuple(d for d in range(rank) if x.shape[d + 1] == 1)
    if not rank:
        _dims(dim, 0)
        return x
    return x.squeeze(_dims(dim, rank))


def _permute(call: Call) -> Any:
    x, dims = call.args
    return x.permute((0, *_dims(tuple(dims), call.rank(0)))) if call.rank(0) else x


def _sized(call: Call) -> Any:
    x, size = call.args
    size = (size,) if isinstance(size, int) else tuple(size)
    if -1 in size and not x.numel():  # nothing to infer a size from
        known = math.prod(n for n in size if n != -1)
        size = tuple(math.prod(x.shape[1:]) // max(1, known) if n == -1 else n for n in size)
    return call.run((x, (call.size, *size)))


def _expand(call: Call) -> Any:
    x, size = call.args
    size = (size,) if isinstance(size, int) else tuple(size)
    return aligned(x, len(size)).expand(call.size, *size)


def _getitem(call: Call) -> Any:
    x, key = call.args
    key = key if type(key) is tuple else (key,)
    return x[(slice(None), *key)]


def _as_strided(call: Call) -> Any:
    x, size, stride, offset = call.args  # a sample's storage is its whole's
    return x.as_strided((call.size, *size), (x._strides[0], *stride), offset)


RULES.update(squeeze=_squeeze, permute=_permute, view=_sized, reshape=_sized, expand=_expand, getitem=_getitem,
             as_strided=_as_strided)  # fmt: skip


def _split(call: Call) -> Any:
    x, lengths, dim = call.args
    return call.run((x, lengths, wrapped(dim, call.rank(0))))


def _unbind(call: Call) -> Any:
    x, dim = call.args
    return call.run((x, wrapped(dim, call.rank(0))))


RULES.update(split=_split, unbind=_unbind)


def _laid(call: Call) -> Any:
    """Zeros of a view's whole with a gradient laid in: shape and dimensions have the batch first."""
    args = list(call.args)
    shape = tuple(args[1])
    args[1] = (call.size, *shape)
    for place, name in enumerate(call.row.params):
        if name in ("dim", "dim1", "dim2"):
            args[place] = wrapped(args[place], len(shape))
        elif name == "index" and call.row.name == "getitem_backward":
            key = args[place] if type(args[place]) is tuple else (args[place],)
            args[place] = (slice(None), *key)
    return call.run(args)


_names("select_backward slice_backward diagonal_backward getitem_backward", _laid)


# ---------------------------------------------------------------- joining, and what works on the last dimensions


def _cat(call: Call) -> Any:
    tensors, dim = call.args
    flags = call.is_whole[0]
    wholes = [t if f else t.unsqueeze(0).expand(call.size, *t.shape) for t, f in zip(tensors, flags, strict=True)]
    rank = max(t.ndim for t in wholes) - 1
    if rank > 1:  # an empty vector goes with anything
        wholes = [t for t in wholes if t.ndim > 2 or t.shape[1]]
    return call.run((wholes, wrapped(dim, rank)))


RULES["cat"] = _cat


def leading(**own: int) -> Rule:
    """An op on the last dimensions of tensors, which take any dimensions before them.

    ``own`` says how many dimensions the op itself has of a tensor, where they are not two: those before broadcast.
    """

    def rule(call: Call) -> Any:
        args = list(call.args)
        places = call.tensors()
        counts = {n: own.get(call.row.params[n], 2) for n in places}
        before = max(call.rank(n) - counts[n] for n in places)
        for n in places:
            if call.is_whole[n] or len(places) > 1:
                args[n] = aligned(call.whole(n), before + counts[n])
        return call.run(args)

    return rule


_names(
    "tril triu view_as_real view_as_complex linalg_cholesky_ex cholesky_inverse linalg_det linalg_slogdet linalg_eig "
    "linalg_eigh linalg_inv_ex linalg_lu_factor_ex linalg_qr linalg_svd matrix_exp constant_pad_nd geqrf "
    "linalg_ldl_factor_ex cdist linalg_solve_triangular cholesky_solve pad_edges resample resample_adjoint "
    "max_pool3d_with_indices linalg_lstsq",
    leading(),
)
_names("linalg_lu_solve linalg_ldl_solve", leading(pivots=1))
_names("linalg_householder_product ormqr", leading(tau=1))


def _first_batched(rule: Rule) -> Rule:
    return lambda call: rule(call) if call.only_first() else _batching.loop(call)


RULES["linalg_pinv"] = _first_batched(leading())


def _solve(call: Call) -> Any:
    a = call.whole(0)
    before = max(call.rank(0), call.rank(1))
    x, lu, pivots, info = call.run((aligned(a, before), aligned(call.whole(1), before)))
    return x, lu.reshape(a.shape), pivots.reshape(a.shape[:-1]), info.reshape(a.shape[:-2])


RULES["linalg_solve_ex"] = _solve


def _middle(call: Call) -> Any:
    """The median of all elements: along the one dimension that they then have."""
    x = call.args[0].reshape(call.size, math.prod(call.args[0].shape[1:]))
    return TABLE[call.row.name[1:]].op(x, 1)[0] if x.shape[1] else x.new_full((call.size,), math.nan)


def _extremes(call: Call) -> Any:
    x = call.args[0].reshape(call.size, -1)
    return x.amin(1), x.amax(1)


RULES["aminmax_all"] = _extremes
RULES.update(_median=_middle, _nanmedian=_middle)


def _roll(call: Call) -> Any:
    x, shifts, dims = call.args
    if dims is None or dims == ():
        flat = x.reshape(call.size, -1)
        shift = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
        return call.run((flat, shift, (1,))).reshape(x.shape)
    return call.run((x, shifts, _dims(dims, call.rank(0)))) if call.rank(0) else x


RULES["roll"] = _roll


def _values(message: str) -> Rule:
    def refuse(call: Call) -> Any:
        raise RuntimeError(message.format(call.row.name))

    return refuse


_names("item tolist", _values(
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
    "please try to rewrite what you're doing with other operations."
))  # fmt: skip
_names("nonzero masked_select _unique", _values(
    "vmap: {0}: We do not support batching operators that can output dynamic shape."
))  # fmt: skip


def _row_of(row: Any) -> Rule | None:
    return pointwise if is_pointwise(row) else None


_batching.general = _row_of
