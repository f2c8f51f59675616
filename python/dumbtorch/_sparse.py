"""Sparse tensors in coordinate form (COO): a tensor of indices and one of values, which autograd works on.

A `SparseTensor` is a Tensor of its shape without elements of its own. The extension knows it by a mark and hands every
op that gets one to `call`, which looks the op up among the rules of dumbtorch/_sparse_ops.py. What the rules do are
dense ops on indices and values, so that gradients, devices and dtypes need nothing more: the gradient of a sparse
tensor is that of its values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import _C, _dtypes, _printing, ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import is_grad_enabled, watch
from dumbtorch.ops import creation, sparse_grads
from dumbtorch.ops.table import TABLE, primitive

__all__ = ["RULES", "SparseTensor", "make", "rule", "sparse_coo_tensor", "unsupported"]

_SPARSE = 64  # the mark: SPARSE of mojo/tensor/object.mojo
_ZEROS, _EXPAND = _C.raw(TABLE["zeros"].op), _C.raw(TABLE["expand"].op)


def unsupported(op: str, backend: str = "SparseCPU") -> NotImplementedError:
    """The error of an op that sparse tensors do not have."""
    return NotImplementedError(f"Could not run 'aten::{op}' with arguments from the '{backend}' backend.")


def _not_dense(text: str, error: type[Exception] = RuntimeError) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error(text)

    return refuse


class SparseTensor(Tensor):
    """What `sparse_coo_tensor` makes. Reference: ``torch.Tensor`` of the layout ``torch.sparse_coo``."""

    _ind: Any  # int64 (sparse dims, count)
    _val: Any  # (count, *dense dims)
    _coalesced: bool  # whether the indices are sorted and differ

    layout = _dtypes.sparse_coo
    is_sparse = True

    # ------------------------------------------------------------ autograd: all of it is the values'

    requires_grad = property(
        lambda self: self._val.requires_grad, lambda self, value: setattr(self._val, "requires_grad", value)
    )
    grad_fn = property(lambda self: self._val.grad_fn)
    is_leaf = property(lambda self: self._val.is_leaf)
    output_nr = property(lambda self: self._val.output_nr)
    _base = property(lambda self: None)
    _version = property(lambda self: self._val._version)
    retains_grad = property(lambda self: self._val.retains_grad)

    @property
    def grad(self) -> Any:
        """The gradient accumulated by backward, sparse at the same indices, or None."""
        grad = self._val.grad
        return None if grad is None else self._with(grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._val.grad = value if value is None else value.sparse_mask(self)._val

    def retain_grad(self) -> None:
        """Asks backward to keep the gradient of this non-leaf in ``.grad``."""
        self._val.retain_grad()

    def register_hook(self, hook: Any) -> Any:
        """Calls ``hook(grad)`` with the sparse gradient of this tensor; what it returns, sparse, replaces it."""

        def of_values(grad: Any) -> Any:
            changed = hook(self._with(grad))
            return None if changed is None else changed.sparse_mask(self)._val

        return self._val.register_hook(of_values)

    def _as_root(self, grad: Any) -> tuple[Any, Any]:
        """The values, and the gradient there, for a backward that starts here with one."""
        return self._val, grad if grad is None else grad.sparse_mask(self)._val

    def detach_(self) -> Any:
        """Takes this tensor out of its graph: it becomes a leaf."""
        self._val = self._val.detach()
        return self

    def _alias(self) -> Any:
        return make(self._ind, self._val._alias(), self.shape, self._coalesced)

    _unwatched = _alias

    def _as_class(self, cls: Any) -> Any:
        if cls is not SparseTensor:
            raise TypeError(f"a sparse tensor cannot become a {cls.__name__}: take to_dense()")
        return self._alias()

    def _set_data(self, other: Any) -> None:
        if not other.is_sparse or other.shape != self.shape:
            raise RuntimeError(
                f"the data of a sparse tensor of {list(self.shape)} can only be replaced by another such tensor"
            )
        self._take(other.detach())

    # ------------------------------------------------------------ parts

    def _with(self, values: Any) -> Any:
        """Other values at the same indices."""
        return make(self._ind, values, self.shape, self._coalesced)

    def _take(self, other: Any) -> Any:
        """Shows what another sparse tensor shows: the end of every write."""
        if is_grad_enabled() and self.is_leaf and self.requires_grad:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        self._ind, self._coalesced = other._ind, other._coalesced
        self._val = other._val if other.dtype is self.dtype else other._val.to(self.dtype)
        return self

    def _indices(self) -> Any:
        """The indices, coalesced or not: int64 of shape (sparse dims, count)."""
        return self._ind._alias()

    def _values(self) -> Any:
        """The values, coalesced or not, out of the graph: (count, *dense dims)."""
        return self._val._alias()

    def indices(self) -> Any:
        """The indices of a coalesced tensor, int64 (sparse dims, count). Raises RuntimeError for others."""
        self._want_coalesced("indices")
        return self._ind._alias()

    def values(self) -> Any:
        """The values of a coalesced tensor, (count, *dense dims), with history. Raises RuntimeError for others."""
        self._want_coalesced("values")
        return _VALUES(self._val)

    def _want_coalesced(self, what: str) -> None:
        if not self._coalesced:
            raise RuntimeError(f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first")

    def _nnz(self) -> int:
        """How many indices there are, repeated ones counted as often as they occur."""
        return int(self._ind.shape[1])

    def sparse_dim(self) -> int:
        """How many of the first dimensions have indices."""
        return int(self._ind.shape[0])

    def dense_dim(self) -> int:
        """How many of the last dimensions the values have."""
        return int(self._val.ndim - 1)

    def is_coalesced(self) -> bool:
        """Whether the indices are sorted and none is repeated."""
        return self._coalesced

    def _coalesced_(self, coalesced: bool) -> Any:
        """Says that the indices are sorted and none is repeated, which is not checked."""
        self._coalesced = coalesced
        return self

    def _keys(self) -> Any:
        """Each index as a number: its place among all elements of the sparse dimensions."""
        if self._ind.shape[0] == 1:
            return self._ind[0]
        keys = self._ind.new_zeros((self._ind.shape[1],))
        for size, row in zip(self.shape, self._ind, strict=False):
            keys = keys * size + row
        return keys

    def _unkeyed(self, keys: Any) -> Any:
        """The indices that `_keys` made numbers of."""
        rows = []
        for size in reversed(self.shape[: self._ind.shape[0]]):
            rows.append(keys % size if size else keys)
            keys = keys // size if size else keys
        return ops.stack(rows[::-1]) if rows else keys.new_empty((0, keys.shape[0]))

    def coalesce(self) -> Any:
        """The same elements with sorted indices, the values of repeated ones added up; itself if it is so already."""
        if self._coalesced:
            return self
        keys, place = ops.unique(self._keys(), return_inverse=True)
        values = self._val.new_zeros((keys.shape[0], *self._val.shape[1:])).index_add(0, place, self._val)
        indices = keys.unsqueeze(0) if self._ind.shape[0] == 1 else self._unkeyed(keys)
        return make(indices, values, self.shape, True)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Any:
        """The tensor with all its zeros. Reference: ``torch.Tensor.to_dense``."""
        made = _TO_DENSE(self._val, self._ind, self.shape)
        return made if dtype is None else made.to(dtype)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None) -> Any:
        """The tensor itself. Raises RuntimeError for another number of sparse dimensions or another layout."""
        _only_coo(layout)
        if sparse_dim is not None and sparse_dim != self.sparse_dim():
            raise RuntimeError(
                f"to_sparse: conversion from Sparse to Sparse with sparse_dim argument !=self.sparse_dim() is not "
                f"supported: {sparse_dim} and {self.sparse_dim()}"
            )
        return self

    def sparse_mask(self, mask: Any) -> Any:
        """The elements at the indices of another sparse tensor. Reference: ``torch.Tensor.sparse_mask``."""
        _same_size("sparse_mask", self, mask)
        if self._ind.shape == mask._ind.shape and (self._ind is mask._ind or self._ind.equal(mask._ind)):
            return mask._with(self._val)
        mine = self.coalesce()
        place, found = mine._places(mask)
        values = mine._val.new_zeros((mask._nnz(), *mine._val.shape[1:]))
        return mask._with(values.index_copy(0, found, mine._val.index_select(0, place)))

    def _places(self, other: Any) -> tuple[Any, Any]:
        """The common indices: where they are in this tensor, which is coalesced, and where in another."""
        keys, wanted = self._keys(), other._keys()
        if not keys.shape[0]:
            return keys, keys
        place = ops.searchsorted(keys, wanted).clamp(max=keys.shape[0] - 1)
        found = (keys.index_select(0, place) == wanted).nonzero().reshape(-1)
        return place.index_select(0, found), found

    # ------------------------------------------------------------ what only dense tensors have

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie one after the other: never."""
        return False

    contiguous = _not_dense("unsupported memory format option Contiguous")
    data_ptr = const_data_ptr = tolist = _not_dense("Cannot access data pointer of Tensor that doesn't have storage")
    untyped_storage = storage = share_memory_ = is_shared = _not_dense(
        "Cannot access storage of SparseTensorImpl", NotImplementedError
    )
    numpy = __array__ = __dlpack__ = _not_dense(
        "can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.", TypeError
    )
    nbytes = property(
        _not_dense(
            "nbytes is not defined for sparse tensors.  If you want the size of the constituent tensors, add the "
            "nbytes of the indices and values.  If you want the size of the  equivalent dense tensor, multiply numel() "
            "by element_size()"
        )
    )
    __array_interface__ = property(_not_dense("a sparse tensor is no array: use to_dense()", AttributeError))

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the tensor's type as a string, or the tensor in another dtype."""
        if dtype is None:
            return super().type().replace("torch.", "torch.sparse.", 1)
        return super().type(dtype)

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self.select(0, n) for n in range(self.shape[0]))

    def item(self) -> Any:
        """The only element as a number. Raises RuntimeError if there are several."""
        if self._numel != 1:
            raise RuntimeError(f"a Tensor with {self._numel} elements cannot be converted to Scalar")
        return self._val.sum(dtype=self.dtype).item()

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]  # mypy loses the name of a keyword of __repr__
        return _printing.sparse_repr(self)

    def __copy__(self) -> Any:
        return self._with(self._val)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            if not self.is_leaf:
                raise RuntimeError(
                    "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                    "moment."
                )
            made = make(self._ind.clone(), self._val.detach().clone(), self.shape, self._coalesced)
            made.requires_grad = self.requires_grad
            made._val.grad = None if self._val.grad is None else self._val.grad.clone()
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        shown = self.detach()
        parts = (shown._ind, shown._val, self.shape, self._coalesced)
        return _rebuild_sparse_tensor, (self.layout, parts)


def make(indices: Any, values: Any, shape: Sequence[int], coalesced: bool = False) -> SparseTensor:
    """A sparse tensor of these parts, which are not checked."""
    device = None if values.is_cpu else values.device
    made: SparseTensor = _C.TensorBase._as_class(_EXPAND(_ZEROS((), values.dtype, device), shape), SparseTensor)
    made._flags |= _SPARSE
    made._ind, made._val, made._coalesced = indices, values, coalesced or indices.shape[1] < 2
    return made


# ---------------------------------------------------------------- what autograd sees of them


def _dense(values: Any, indices: Any, shape: Any) -> Any:
    return add_elements(values.new_zeros(shape), indices, values)


# named as PyTorch's nodes are
_TO_DENSE = primitive(
    "to_dense", "values, indices:i, shape", _dense, {"values": lambda g, indices: elements_at(g, indices)},
    doc="Sparse values among zeros.",
)  # fmt: skip
_VALUES, _OF_VALUES = (
    primitive(name, "values", lambda values: values._alias(), {"values": lambda g: g}, doc="The values themselves.")
    for name in ("values", "sparse_coo_tensor_with_dims_and_tensors")
)


sparse_grads.make = lambda indices, values, shape: make(indices, _OF_VALUES(values), shape)


# ---------------------------------------------------------------- making them


def _only_coo(layout: Any) -> None:
    if layout is not None and layout is not _dtypes.sparse_coo:
        raise RuntimeError(f"to_sparse: there are sparse tensors of the layout torch.sparse_coo, not {layout!r}")


def _same_size(op: str, a: Any, b: Any) -> None:
    if a.shape != b.shape:
        raise RuntimeError(
            f"{op}: expected sizes of 'self' and 'other' to match, but {list(a.shape)} != {list(b.shape)}"
        )


def sparse_zeros(
    shape: Sequence[int], dtype: Any, device: Any, requires_grad: bool = False, sparse_dim: int | None = None
) -> SparseTensor:
    """A sparse tensor without elements; all its dimensions have indices unless ``sparse_dim`` says how many."""
    split = len(shape) if sparse_dim is None else sparse_dim
    values = ops.zeros((0, *shape[split:]), dtype=dtype, device=device)
    made = make(ops.zeros((split, 0), dtype=_dtypes.int64, device=values.device), values, shape, True)
    if requires_grad:
        made.requires_grad = True
    return made


creation.sparse_zeros = sparse_zeros


def _inferred(indices: Any, values: Any) -> tuple[int, ...]:
    if indices.shape[1]:
        if int(indices.min()) < 0:
            raise RuntimeError("found negative index in a sparse tensor whose size is to be inferred")
        return (*(indices.amax(1) + 1).tolist(), *values.shape[1:])
    return (*(0 for _ in range(indices.shape[0])), *values.shape[1:])


def _check_parts(indices: Any, values: Any, shape: Sequence[int]) -> None:
    split, dense = indices.shape[0], values.ndim - 1
    if len(shape) != split + dense:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {split}, "
            f"dense_dim = {dense}"
        )
    if indices.shape[1] != values.shape[0]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {indices.shape[1]}, nnz from values: "
            f"{values.shape[0]}"
        )
    wanted = [values.shape[0], *shape[split:]]
    if list(values.shape) != wanted:
        raise RuntimeError(f"values has incorrect size, expected {wanted}, got {list(values.shape)}")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")


def _check_range(indices: Any, shape: Sequence[int]) -> None:
    if not indices.numel():
        return
    for dim, (low, high) in enumerate(zip(indices.amin(1).tolist(), indices.amax(1).tolist(), strict=True)):
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {dim}")
        if high >= shape[dim]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {dim}, size is {shape[dim]} but found index {high}"
            )


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A sparse tensor with ``values`` (count, *dense dims) at ``indices`` (sparse dims, count); values add up.

    ``size`` defaults to the smallest that holds the indices; given alone it makes a tensor without elements.
    ``is_coalesced`` says that the indices are sorted and differ. RuntimeError for parts that do not fit, and for
    indices out of range unless ``check_invariants`` is False; with True also for a wrong ``is_coalesced``.
    Reference: ``torch.sparse_coo_tensor``.

    >>> sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    if values is None:
        shape = indices if size is None else size
        if isinstance(shape, _C.TensorBase) or not isinstance(shape, Sequence):
            raise TypeError(
                f"sparse_coo_tensor(): argument 'size' (position 1) must be tuple of ints, not {type(shape).__name__}"
            )
        return sparse_zeros(tuple(shape), dtype, device, requires_grad)
    if not isinstance(values, _C.TensorBase):
        values = ops.tensor(values, dtype=dtype, device=device)
    elif dtype is not None or device is not None:
        values = values.to(device=device, dtype=dtype)
    if not isinstance(indices, _C.TensorBase):
        indices = ops.tensor(indices, device=values.device)
    indices = indices.to(device=values.device, dtype=_dtypes.int64).detach()
    if indices.ndim == 1:
        indices = indices.unsqueeze(1)
    if indices.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if values.ndim == 0:
        values = values.expand(indices.shape[1])
    shape = _inferred(indices, values) if size is None else tuple(size)
    _check_parts(indices, values, shape)
    if check_invariants is not False:
        _check_range(indices, shape)
    # what was given must not become a leaf with this tensor, nor this tensor be one where that has a history
    values = _OF_VALUES(values)
    made = make(indices, values, shape, bool(is_coalesced))
    if is_coalesced and check_invariants and made._nnz() > 1:
        keys = made._keys()
        if not bool((keys[1:] > keys[:-1]).all()):
            raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
    if requires_grad:
        made.requires_grad = True
    return made


def _rebuild_sparse_tensor(layout: Any, data: Any) -> SparseTensor:
    """Makes a pickled sparse tensor again; its parts may come from a stranger's file, so they are checked."""
    if layout is not _dtypes.sparse_coo:
        raise NotImplementedError(f"rebuilding sparse tensor for layout {layout}")
    if not isinstance(data, tuple) or len(data) not in (3, 4):
        raise RuntimeError("a sparse tensor is made of its indices, values and size")
    indices, values, size, *coalesced = data
    if not all(isinstance(t, Tensor) and not t.is_sparse for t in (indices, values)) or not isinstance(size, tuple):
        raise RuntimeError("a sparse tensor is made of two dense tensors and a size")
    if indices.dtype is not _dtypes.int64 or indices.ndim != 2 or not values.ndim:
        raise RuntimeError(f"a sparse tensor's indices must be a matrix of int64, not {indices.dtype!r}")
    return sparse_coo_tensor(
        indices, values, size, check_invariants=True, is_coalesced=bool(coalesced and coalesced[0])
    )


_rebuild_sparse_tensor.__module__ = "dumbtorch._utils"  # where PyTorch has it, which its files say


# ---------------------------------------------------------------- what dense tensors have of it


def _to_sparse(self: Any, sparse_dim: int | None = None, *, layout: Any = None) -> Any:
    """The elements that are not zero as a sparse tensor, coalesced; ``sparse_dim`` dimensions (all) have indices.

    RuntimeError for a number of dimensions that there are not. Reference: ``torch.Tensor.to_sparse``.
    """
    _only_coo(layout)
    split = self.ndim if sparse_dim is None else sparse_dim
    if not 0 <= split <= self.ndim:
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be in [0,{self.ndim}] range, but {split} is given"
        )
    if split == 0 and self.ndim:
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    shape = self.shape
    blocks = self.reshape(math.prod(shape[:split]), *shape[split:])
    here = blocks.detach() != 0
    if split < self.ndim:
        here = here.flatten(1).any(1) if here.numel() else here.new_zeros((blocks.shape[0],))
    keys = here.nonzero().reshape(-1)
    made = make(keys.new_empty((split, 0)), blocks.index_select(0, keys), shape, True)
    made._ind = made._unkeyed(keys)
    return made


def _sparse_mask(self: Any, mask: Any) -> Any:
    """The elements at the indices of a sparse tensor, as one. Reference: ``torch.Tensor.sparse_mask``."""
    _same_size("sparse_mask", self, mask)
    return mask._with(elements_at(self, mask._ind))


def elements_at(dense: Any, indices: Any) -> Any:
    """The elements (or blocks) of a dense tensor at the indices of a sparse one."""
    if indices.shape[0] == 1:
        return dense.index_select(0, indices[0])
    if not indices.shape[0]:
        return dense.unsqueeze(0).repeat(indices.shape[1], *(1 for _ in dense.shape))
    return dense[tuple(indices)]


def add_elements(dense: Any, indices: Any, values: Any, alpha: Any = 1) -> Any:
    """Adds ``alpha`` times values of the same dtype into a dense tensor, where their indices say."""
    if indices.shape[0] == 1:
        return dense.index_add_(0, indices[0], values, alpha=alpha)
    if alpha != 1:
        values = (values * alpha).to(dense.dtype)
    if not indices.shape[0]:
        return dense.add_(values.sum(0).to(dense.dtype))
    return dense.index_put_(tuple(indices), values, accumulate=True)


def _wants_sparse(name: str, kind: str = "coordinate ") -> None:
    message = f"{name} expected sparse {kind}tensor layout but got Strided"
    setattr(Tensor, name, _not_dense(message))


def _to_dense(self: Any, dtype: Any = None, *, masked_grad: bool | None = None) -> Any:
    """The tensor itself, which is dense (in another dtype if one is given). Reference: ``torch.Tensor.to_dense``."""
    return self if dtype is None else self.to(dtype)


def _no_dim(self: Any) -> int:
    """The number of dimensions with indices: none of a dense tensor."""
    return 0


def _each_dim(self: Any) -> int:
    """The number of dimensions without indices: all of a dense tensor."""
    return int(self.ndim)


for _name in ("coalesce", "is_coalesced", "indices"):
    _wants_sparse(_name)
_wants_sparse("values", "")
for _name in ("_indices", "_values", "_nnz"):
    setattr(Tensor, _name, _not_dense(str(unsupported(_name, "CPU")), NotImplementedError))
for _name, _method in (
    ("to_sparse", _to_sparse), ("to_dense", _to_dense), ("sparse_mask", _sparse_mask), ("sparse_dim", _no_dim),
    ("dense_dim", _each_dim),
):  # fmt: skip
    setattr(Tensor, _name, _method)


# ---------------------------------------------------------------- ops with sparse arguments

#: The name of a row, with an underscore for its in-place form -> what computes it, given all its parameters.
RULES: dict[str, Callable[..., Any]] = {}


def rule(*names: str) -> Callable[[Any], Any]:
    """Declares what computes rows where an argument is sparse."""

    def declare(made: Any) -> Any:
        RULES.update(dict.fromkeys(names, made))
        return made

    return declare


def call(row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
    """Computes a row some of whose arguments are sparse. Raises NotImplementedError for one without a rule."""
    if inplace and row.name + "_" in RULES:
        return RULES[row.name + "_"](*args)
    if row.name not in RULES or not watch.any_sparse(args):
        raise unsupported(row.name + "_" if inplace else row.name)
    result = RULES[row.name](*args)
    target = args[0] if inplace else out
    if target is None:
        return result
    if target.is_sparse != result.is_sparse:
        if target.is_sparse:
            raise unsupported(row.name + "_" if inplace else row.name + ".out")
        result = result.to_dense()
    if target.is_sparse:
        return target._take(result)
    if not inplace and target.shape != result.shape:
        target.resize_(result.shape)
    return target.copy_(result)


watch.sparse = call
