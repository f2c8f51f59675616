"""What the ops of the table do with sparse tensors: one rule for a row, made of dense ops on indices and values."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes, ops
from dumbtorch._sparse import _same_size, add_elements, elements_at, make, rule, unsupported
from dumbtorch.autograd import watch
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import TABLE

# ---------------------------------------------------------------- sums and differences


def _cast_values(t: Any, kind: Any) -> Any:
    return t if t.dtype is kind else t._with(t._val.to(kind))


@rule("add")
def _add(input: Any, other: Any, alpha: Any) -> Any:
    if not isinstance(input, _C.TensorBase) or (input.is_sparse and not getattr(other, "is_sparse", False)):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    common = _dtypes.result_type(input, other)
    if not input.is_sparse:
        _check_dense(input, other)
        return _add_(input.to(common, copy=True), other, alpha)
    _same_size("add", input, other)
    if input.sparse_dim() != other.sparse_dim():
        raise RuntimeError(
            "add: expected 'self' and 'other' to have same number of sparse dimensions, but self has "
            f"{input.sparse_dim()} sparse dimensions while other has {other.sparse_dim()} sparse dimensions"
        )
    a, b = _cast_values(input, common), _cast_values(other, common)
    both = a._coalesced and b._coalesced
    if a._ind.shape == b._ind.shape and (a._ind is b._ind or a._ind.equal(b._ind)):
        return make(a._ind, a._val.add(b._val, alpha=alpha), a.shape, both)
    scaled = b._val if alpha == 1 else b._val * alpha
    made = make(ops.cat([a._ind, b._ind], 1), ops.cat([a._val, scaled.to(common)]), a.shape)
    return made.coalesce() if both else made


def _check_dense(input: Any, other: Any) -> None:
    if input.shape != other.shape:
        raise RuntimeError(
            f"add: expected 'self' and 'other' to have same size, but self has size {list(input.shape)} while other "
            f"has size {list(other.shape)} (FYI: dense-sparse addition does not currently support broadcasting)"
        )


@rule("add_")
def _add_(input: Any, other: Any, alpha: Any) -> Any:
    """Adds into a dense tensor only the rows or elements that there are, or into a sparse one."""
    if not getattr(other, "is_sparse", False):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    common = _dtypes.result_type(input, other)
    if not _dtypes.can_cast(common, input.dtype):
        raise RuntimeError(
            f"result type {_dtypes.TYPE_NAMES[common]} can't be cast to the desired output type "
            f"{_dtypes.TYPE_NAMES[input.dtype]}"
        )
    if input.is_sparse:
        return input._take(_add(input, other, alpha))
    _check_dense(input, other)
    return add_elements(input, other._ind, other._val.to(input.dtype), alpha)


@rule("sub")
def _sub(input: Any, other: Any, alpha: Any) -> Any:
    return _add(input, other, -alpha)


@rule("sub_")
def _sub_(input: Any, other: Any, alpha: Any) -> Any:
    return _add_(input, other, -alpha)


# ---------------------------------------------------------------- products


def _is_number(other: Any) -> bool:
    return not isinstance(other, _C.TensorBase) or (other.ndim == 0 and not other.is_sparse)


@rule("mul")
def _mul(input: Any, other: Any) -> Any:
    if not isinstance(input, _C.TensorBase) or not input.is_sparse:
        input, other = other, input
    if _is_number(other):
        return input._with(input._val * other)
    if not other.is_sparse:
        if other.ndim > input.ndim:
            raise RuntimeError(f"mul: a sparse tensor of {list(input.shape)} does not broadcast to {list(other.shape)}")
        return input._with(input._val * elements_at(other.expand(input.shape), input._ind))
    _same_size("mul", input, other)
    if input.sparse_dim() != other.sparse_dim():
        raise RuntimeError("mul: expected 'self' and 'other' to have same number of sparse dimensions")
    a, b = input.coalesce(), other.coalesce()
    if b._nnz() < a._nnz():
        a, b = b, a
    there, here = b._places(a)
    values = a._val.index_select(0, here) * b._val.index_select(0, there)
    return make(a._ind.index_select(1, here), values, a.shape, True)


def _scale_in_place(name: str) -> None:
    op = TABLE[name].inplace_op

    @rule(name + "_")
    def scale(input: Any, other: Any, *rest: Any) -> Any:
        if not input.is_sparse:
            made = watch.invoke(TABLE[name], False, (input, other, *rest))
            return input.copy_(made.to_dense())
        if not _is_number(other) or rest not in ((), (None,)):
            return input._take(watch.invoke(TABLE[name], False, (input, other, *rest)))
        if input._val.is_contiguous():  # written where it lies: others see these values too
            op(input._val, other)
            return input
        return input._take(input._with(TABLE[name].op(input._val, other)))


_scale_in_place("mul")
_scale_in_place("div")


@rule("div")
def _div(input: Any, other: Any, rounding_mode: Any) -> Any:
    if not _is_number(other):
        raise RuntimeError(
            "Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
            f"{list(other.shape)} for divisor)"
        )
    if rounding_mode is not None:
        input = input.coalesce()
    return input._with(input._val.div(other, rounding_mode=rounding_mode))


@rule("floor_divide")
def _floor_divide(input: Any, other: Any) -> Any:
    return _div(input, other, "floor")


@rule("pow")
def _pow(input: Any, exponent: Any) -> Any:
    if not input.is_sparse if isinstance(input, _C.TensorBase) else True:
        raise unsupported("pow")
    if not _is_number(exponent):
        raise unsupported("pow.Tensor_Tensor")
    if exponent == 0:
        raise RuntimeError("cannot raise to zeroth power on sparse tensor; it would make the result tensor dense")
    made = input.coalesce()
    return made._with(made._val**exponent)


# ---------------------------------------------------------------- element by element


@rule("neg")
def _neg(input: Any) -> Any:
    return input._with(-input._val)


def _elementwise(name: str) -> None:
    row = TABLE[name]

    @rule(name)
    def compute(input: Any, *rest: Any) -> Any:
        made = input.coalesce()
        return made._with(watch.invoke(row, False, (made._val, *rest)))


for _name in (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "deg2rad", "erf", "erfinv", "expm1", "floor", "frac", "isinf",
    "isnan", "isneginf", "isposinf", "log1p", "nan_to_num", "rad2deg", "relu", "round", "sgn", "sign", "sin", "sinh",
    "sqrt", "square", "tan", "tanh", "trunc",
):  # fmt: skip  # what maps zero to zero
    if _name in TABLE:
        _elementwise(_name)


# ---------------------------------------------------------------- copies


@rule("clone")
def _clone(input: Any, memory_format: Any) -> Any:
    return make(input._ind.clone(), input._val.clone(), input.shape, input._coalesced)


@rule("to_copy")
def _to_copy(input: Any, dtype: Any, device: Any) -> Any:
    values = TABLE["to_copy"].op(input._val, dtype, device)
    return make(input._ind.to(values.device), values, input.shape, input._coalesced)


@rule("copy_")
def _copy_(input: Any, src: Any, non_blocking: bool) -> Any:
    if input.is_sparse is not src.is_sparse:
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{input.type()} and src type = {src.type()}"
        )
    _same_size("copy_", input, src)
    return input._take(src.to(input.device, copy=True))


@rule("fill_")
def _fill_(input: Any, value: Any) -> Any:
    """``zero_``: no element is left."""
    if isinstance(value, _C.TensorBase) or value != 0:
        raise unsupported("fill_.Scalar")
    made = make(input._ind[:, :0].clone(), input._val[:0].detach().clone(), input.shape, True)
    return input._take(made)


@rule("conj")
def _conj(input: Any) -> Any:
    return input._with(input._val.conj())


@rule("resolve_conj", "resolve_neg")
def _resolve(input: Any) -> Any:
    return input._with(input._val.resolve_conj().resolve_neg())


@rule("positive")
def _positive(input: Any) -> Any:
    return input


# ---------------------------------------------------------------- reductions


@rule("sum")
def _sum(input: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    """Over all dimensions that have indices a dense tensor, else a sparse one."""
    if dtype is None:
        dtype = _dtypes.int64 if not (input.is_floating_point() or input.is_complex()) else input.dtype
    dims = [dim] if isinstance(dim, int) else list(dim or range(input.ndim))
    dims = sorted({wrap_dim(d, input.ndim) for d in dims})
    split = input.sparse_dim()
    dense = [d - split + 1 for d in dims if d >= split]
    values = input._val.sum(dense, keepdim, dtype=dtype) if dense else input._val.to(dtype)
    kept = [d for d in range(split) if d not in dims]
    if not kept:
        values = values.sum(0, dtype=dtype)
        for _ in range(split if keepdim else 0):
            values = values.unsqueeze(0)
        return values
    if keepdim:
        sizes = [1 if d in dims else n for d, n in enumerate(input.shape)]
        rows = input._ind.clone()
        rows[[d for d in dims if d < split]] = 0
    else:
        sizes = [n for d, n in enumerate(input.shape) if d not in dims]
        rows = input._ind.index_select(0, ops.tensor(kept, device=input.device))
    return make(rows, values, sizes).coalesce()


@rule("any")
def _any(input: Any, dim: Any, keepdim: bool) -> Any:
    if dim is not None:
        raise unsupported("any.dim")
    return input._val.any()


@rule("norm")
def _norm(input: Any, p: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    if dim is not None:
        raise unsupported("norm.ScalarOpt_dim")
    return TABLE["norm"].op(input.coalesce()._val, p, None, False, dtype)


# ---------------------------------------------------------------- parts, and what is made of several


@rule("index_select")
def _index_select(input: Any, dim: int, index: Any) -> Any:
    if not input.is_sparse or index.is_sparse:
        raise unsupported("index_select")
    dim, split = wrap_dim(dim, input.ndim), input.sparse_dim()
    sizes = [index.numel() if d == dim else n for d, n in enumerate(input.shape)]
    if dim >= split:
        return make(input._ind, input._val.index_select(dim - split + 1, index), sizes, input._coalesced)
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < input.shape[dim]:
        raise IndexError("index_select(): index out of range")
    wanted, order = index.reshape(-1).to(_dtypes.int64).sort(stable=True)
    here = input._ind[dim].contiguous()
    first = ops.searchsorted(wanted, here)
    counts = ops.searchsorted(wanted, here, right=True) - first
    source = ops.repeat_interleave(ops.arange(input._nnz(), device=here.device), counts)
    turn = ops.arange(source.shape[0], device=here.device) - (counts.cumsum(0) - counts)[source]
    indices = input._ind.index_select(1, source)
    indices[dim] = order[first[source] + turn]
    return make(indices, input._val.index_select(0, source), sizes)


@rule("select")
def _select(input: Any, dim: int, index: int) -> Any:
    """One index of a dimension; dense where no other dimension has indices."""
    dim, split = wrap_dim(dim, input.ndim), input.sparse_dim()
    if not -input.shape[dim] <= index < input.shape[dim]:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input.shape)} at dim {dim}")
    index %= input.shape[dim]
    sizes = [n for d, n in enumerate(input.shape) if d != dim]
    if dim >= split:
        return make(input._ind, input._val.select(dim - split + 1, index), sizes, input._coalesced)
    found = (input._ind[dim] == index).nonzero().reshape(-1)
    values = input._val.index_select(0, found)
    if split == 1:
        return values.sum(0, dtype=values.dtype)
    kept = ops.tensor([d for d in range(split) if d != dim], device=found.device)
    return make(input._ind.index_select(0, kept).index_select(1, found), values, sizes, input._coalesced)


@rule("getitem")
def _getitem(input: Any, index: Any) -> Any:
    """Numbers alone: other keys would need views."""
    key = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(k, int) and not isinstance(k, bool) for k in key):
        raise unsupported("as_strided")
    if len(key) > input.ndim:
        raise IndexError(f"too many indices for tensor of dimension {input.ndim} (got {len(key)})")
    for k in key:
        input = input.select(0, k)
    return input


@rule("unsqueeze")
def _unsqueeze(input: Any, dim: int) -> Any:
    dim, split = wrap_dim(dim, input.ndim + 1), input.sparse_dim()
    sizes = [*input.shape[:dim], 1, *input.shape[dim:]]
    if dim > split:
        return make(input._ind, input._val.unsqueeze(dim - split + 1), sizes, input._coalesced)
    row = input._ind.new_zeros((1, input._nnz()))
    return make(ops.cat([input._ind[:dim], row, input._ind[dim:]]), input._val, sizes, input._coalesced)


@rule("cat")
def _cat(tensors: Any, dim: int) -> Any:
    for n, t in enumerate(tensors):
        if not t.is_sparse:
            raise RuntimeError(f"Concatenating sparse tensors, but a dense tensor was found at position {n}.")
    first = tensors[0]
    dim, split = wrap_dim(dim, first.ndim), first.sparse_dim()
    others = [n for d, n in enumerate(first.shape) if d != dim]
    for n, t in enumerate(tensors):
        if t.sparse_dim() != split or [m for d, m in enumerate(t.shape) if d != dim] != others:
            raise RuntimeError(
                f"All tensors must have the same shape: {list(first.shape)} (except in the concatenating dimension) "
                f"and sparse_dim, got {list(t.shape)} at position {n}"
            )
    indices, values, size = [], [], 0
    whole = sum(t.shape[dim] for t in tensors)
    for t in tensors:
        shift = [0] * split
        block = t._val
        if dim < split:
            shift[dim] = size
        else:  # each has its part of the values' dimension, and zeros around it
            shape = [*block.shape[: dim - split + 1], whole, *block.shape[dim - split + 2 :]]
            block = block.new_zeros(shape)
            block.narrow(dim - split + 1, size, t.shape[dim]).copy_(t._val)
        size += t.shape[dim]
        indices.append(t._ind + ops.tensor(shift, dtype=_dtypes.int64, device=t.device).reshape(split, 1))
        values.append(block)
    sizes = [whole if d == dim else n for d, n in enumerate(first.shape)]
    return make(ops.cat(indices, 1), ops.cat(values), sizes)


# ---------------------------------------------------------------- transposes and matrix products


@rule("transpose")
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    if a != b and max(a, b) >= input.sparse_dim():
        raise RuntimeError(
            f"sparse transpose: transposed dimensions must be sparse Got sparse_dim: {input.sparse_dim()}, d0: {a}, "
            f"d1: {b}"
        )
    order = list(range(input.ndim))
    order[a], order[b] = b, a
    return _permute(input, order)


@rule("permute")
def _permute(input: Any, dims: Any) -> Any:
    split = input.sparse_dim()
    order = [wrap_dim(d, input.ndim) for d in dims]
    if sorted(order) != list(range(input.ndim)):
        raise RuntimeError(f"permute(sparse_coo): {tuple(dims)} is no order of {input.ndim} dimensions")
    if any(d >= split for d in order[:split]):
        raise RuntimeError(f"permute(sparse_coo): dimensions {tuple(dims)} mix sparse with dense ones")
    if order == sorted(order):
        return input
    rows = input._ind.index_select(0, ops.tensor(order[:split], dtype=_dtypes.int64, device=input.device))
    values = input._val.permute(0, *(d - split + 1 for d in order[split:]))
    in_order = order[:split] == sorted(order[:split])
    return make(rows, values, [input.shape[d] for d in order], input._coalesced and in_order)


def _check_product(a: Any, b: Any) -> None:
    for t in (a, b):
        if t.is_sparse and t.dense_dim():
            raise RuntimeError(f"addmm: matrices expected, got {t.sparse_dim()}D tensor")
    if a.dtype is not b.dtype:
        names = [_dtypes.TYPE_NAMES[t.dtype] for t in (a, b)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError(f"mm: matrices expected, got {a.ndim}D and {b.ndim}D tensors")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"addmm: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}")


@rule("mm")
def _mm(input: Any, mat2: Any) -> Any:
    _check_product(input, mat2)
    if not input.is_sparse:
        return _mm(mat2.transpose(0, 1), input.transpose(0, 1)).transpose(0, 1)
    if mat2.is_sparse:
        return _product_of_sparse(input, mat2)
    m = input.coalesce()
    rows, columns = m._ind
    if m.dtype.is_floating_point:  # a bag of rows of mat2 for each row
        starts = ops.searchsorted(rows, ops.arange(m.shape[0], device=rows.device))
        return TABLE["bags_of_rows"].op(mat2, columns, starts, m._val, 0, -1, False, False)
    products = m._val.unsqueeze(1) * mat2.index_select(0, columns)
    return mat2.new_zeros((m.shape[0], mat2.shape[1])).index_add(0, rows, products)


def _product_of_sparse(input: Any, mat2: Any) -> Any:
    """Each element of the first with each of the second's row that it meets."""
    a, b = input.coalesce(), mat2.coalesce()
    starts = ops.searchsorted(b._ind[0], ops.arange(b.shape[0] + 1, device=b.device))
    counts = (starts[1:] - starts[:-1]).index_select(0, a._ind[1])
    left = ops.repeat_interleave(ops.arange(a._nnz(), device=a.device), counts)
    ends = counts.cumsum(0)
    right = ops.arange(left.shape[0], device=a.device) - (ends - counts - starts[:-1].index_select(0, a._ind[1]))[left]
    values = a._val.index_select(0, left) * b._val.index_select(0, right)
    indices = ops.stack([a._ind[0].index_select(0, left), b._ind[1].index_select(0, right)])
    return make(indices, values, (a.shape[0], b.shape[1])).coalesce()


@rule("mv")
def _mv(input: Any, vec: Any) -> Any:
    if vec.is_sparse or vec.ndim != 1:
        raise RuntimeError(f"mv: expected a dense vector, got a tensor of {list(vec.shape)}")
    return _mm(input, vec.unsqueeze(1)).squeeze(1)


@rule("matmul")
def _matmul(input: Any, other: Any) -> Any:
    if other.ndim == 1:
        return _mv(input, other)
    if input.ndim == 1 and not input.is_sparse:
        return _mm(input.unsqueeze(0), other).squeeze(0)
    return _mm(input, other)


@rule("addmm")
def _addmm(input: Any, mat1: Any, mat2: Any, beta: Any, alpha: Any) -> Any:
    if input.is_sparse or (mat1.is_sparse and mat2.is_sparse):
        raise unsupported("addmm")
    return input * beta + _mm(mat1, mat2) * alpha
