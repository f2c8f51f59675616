"""Views, and what is made of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.autograd import views
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, METHODS, composite, primitive, row


def sizes(values: tuple[Any, ...], named: Any = None) -> Any:
    """Sizes given one by one or as one sequence, or by keyword."""
    if named is not None:
        return named
    if len(values) == 1 and not hasattr(values[0], "__index__"):
        return values[0]
    return values


def _view(name: str, signature: str, grad: Any, samples: Any, doc: str, errors: Any = None, **kwargs: Any) -> Any:
    kwargs.setdefault("dtypes", "any")
    return row(name, signature, grad={"input": grad}, view=True, samples=samples, errors=errors, doc=doc, **kwargs)


_VIEW = _view("view", "input, size", lambda g, input_shape: g.reshape(input_shape),
              lambda: (S(T(2, 6), (3, 4)), S(T(2, 6), (-1,)), S(T(2, 3), (2, 1, 3)), S(T(), (1, 1)),
                       S(T(0, 3), (3, 0))),
              "The same elements in another shape, without a copy; -1 is inferred.",
              lambda: (S(T(2, 3), (4,), error="RuntimeError"), S(T(2, 3), (-1, -1), error="RuntimeError")),
              function=False, method=False, ref="Tensor.view")  # fmt: skip
_VIEW_DTYPE = _C.make_op("view", "view_dtype", ("input", "dtype"), (_C.required,) * 2, 2, "..", 8,
                         "The same memory as elements of another dtype. Carries no gradient.")  # fmt: skip
_RESHAPE = _view("reshape", "input, shape", lambda g, input_shape: g.reshape(input_shape),
                 lambda: (S(T(2, 6), (3, 4)), S(T(2, 6), (-1,)), S(T(2, 3), (2, 1, 3)), S(T(), (1, 1)),
                          S(T(0, 3), (3, 0))),
                 "The same elements in another shape: a view where the strides allow it, else a copy.",
                 lambda: (S(T(2, 3), (4,), error="RuntimeError"),), method=False)  # fmt: skip
_TRANSPOSE = _view("transpose", "input, dim0, dim1", lambda g, dim0, dim1: g.transpose(dim0, dim1),
      lambda: (S(T(2, 3, 4), 0, 2), S(T(2, 3), -1, 0), S(T(), 0, -1), S(T(0, 3), 0, 1)),
      "Two dimensions exchanged.", lambda: (S(T(2, 3), 0, 2, error="IndexError"),), aliases=("swapdims",))  # fmt: skip


@composite()
def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """As ``transpose``. Reference: ``torch.swapaxes``."""
    return _TRANSPOSE(input, axis0, axis1)


def _inverse(dims: Sequence[int]) -> list[int]:
    ndim = len(dims)
    order = [0] * ndim
    for place, d in enumerate(dims):
        order[d % ndim] = place
    return order


_PERMUTE = _view("permute", "input, dims", lambda g, dims: g.permute(_inverse(dims)),
                 lambda: (S(T(2, 3, 4), (2, 0, 1)), S(T(2, 3), (-1, 0)), S(T(), ()), S(T(0, 3), (1, 0))),
                 "The dimensions in another order.",
                 lambda: (S(T(2, 3), (0, 0), error="RuntimeError"), S(T(2, 3), (0,), error="RuntimeError")),
                 method=False)  # fmt: skip
_EXPAND = _view("expand", "input, size", lambda g, input_shape: g.sum_to_size(input_shape),
                lambda: (S(T(3, 1), (3, 4)), S(T(3), (2, -1)), S(T(), (2, 2)), S(T(1, 3), (0, 3))),
                "Dimensions of size 1 stretched without a copy; -1 keeps a size.",
                lambda: (S(T(2, 3), (2, 4), error="RuntimeError"), S(T(2, 3), (3,), error="RuntimeError")),
                function=False, method=False, ref="Tensor.expand")  # fmt: skip
_view("squeeze", "input, dim=None", lambda g, input_shape: g.reshape(input_shape),
      lambda: (S(T(1, 3, 1)), S(T(1, 3, 1), 0), S(T(1, 3), 1), S(T(1, 3, 1), (0, 2)), S(T()), S(T(), 0)),
      "Without the dimensions of size 1, all or the given ones.",
      lambda: (S(T(2, 3), 2, error="IndexError"),))  # fmt: skip
_view("unsqueeze", "input, dim", lambda g, dim: g.squeeze(dim),
      lambda: (S(T(2, 3), 0), S(T(2, 3), -1), S(T(), 0), S(T(0, 3), 1)), "A new dimension of size 1.",
      lambda: (S(T(2, 3), 4, error="IndexError"),))  # fmt: skip


def _zeros_with(g: Any, shape: Any, place: Any) -> Any:
    whole = g.new_zeros(shape)
    place(whole).copy_(g)
    return whole


def _linear(name: str, signature: str, take: Any, doc: str) -> Any:
    """The derivative of a view: zeros of the whole with the part laid in; its own derivative is the view again."""
    names = [part.partition(":")[0] for part in signature.split(", ")][2:]
    arguments = ", ".join(names)
    scope = {"take": take, "_zeros_with": _zeros_with}
    exec(
        f"def forward(g, shape, {arguments}): return _zeros_with(g, shape, lambda t: take(t, {arguments}))\n"
        f"def back(g, {arguments}): return take(g, {arguments})",
        scope,
    )
    return primitive(name, signature, scope["forward"], {"input": scope["back"]}, doc=doc)


_select_back = _linear("select_backward", "input, shape, dim, index", lambda t, dim, index: t.select(dim, index),
                       "The derivative of select.")  # fmt: skip
_slice_back = _linear("slice_backward", "input, shape, dim, start, end, step",
                      lambda t, dim, start, end, step: SLICE(t, dim, start, end, step),
                      "The derivative of slice.")  # fmt: skip
_diagonal_back = _linear("diagonal_backward", "input, shape, offset, dim1, dim2",
                         lambda t, offset, dim1, dim2: t.diagonal(offset, dim1, dim2), "The derivative of diagonal.",
                     )  # fmt: skip
_getitem_back = _linear("getitem_backward", "input, shape, index", lambda t, index: t[index],
                        "The derivative of basic indexing.")  # fmt: skip

select = _view("select", "input, dim, index",
      lambda g, input_shape, dim, index: _select_back(g, input_shape, dim, index),
      lambda: (S(T(3, 4), 0, 1), S(T(3, 4), -1, -2), S(T(5), 0, 4), S(T(0, 3), 1, 2)),
      "One index of a dimension, which goes away.",
      lambda: (S(T(2, 3), 0, 2, error="IndexError"), S(T(2, 3), 2, 0, error="IndexError")))  # fmt: skip
SLICE: Any = _view("slice", "input, dim=0, start=None, end=None, step=1",
               lambda g, input_shape, dim, start, end, step: _slice_back(g, input_shape, dim, start, end, step),
               lambda: (S(T(6, 4), 0, 1, 5, 2), S(T(6, 4), 1, -3, None, 1), S(T(6), 0, 4, 2, 1),
                        S(T(0, 3), 0, 0, 9, 1)),
               "A range of a dimension.", lambda: (S(T(3), 0, 0, 2, 0, error="RuntimeError"),),
               function=False, method=False, ref="ops.aten.slice")  # fmt: skip
diagonal = _view("diagonal", "input, offset=0, dim1=0, dim2=1",
      lambda g, input_shape, offset, dim1, dim2: _diagonal_back(g, input_shape, offset, dim1, dim2),
      lambda: (S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), -1, 2, 1), S(T(3, 4), 5)), "A diagonal.",
      lambda: (S(T(2, 3), 0, 0, 0, error="RuntimeError"), S(T(2), error="IndexError")))  # fmt: skip


# ---------------------------------------------------------------- any strides


def _extent(shape: Any, strides: Any) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if all(shape) else 0


def _field(whole: Any, *parts: Any) -> tuple[int, int]:
    """Offset and size of the stretch of memory that a whole and its parts lie in."""
    low = min(offset for _, _, offset in (whole, *parts))
    high = max(offset + _extent(shape, strides) for shape, strides, offset in (whole, *parts))
    return low, high - low


def _strided(t: Any, geometry: Any, low: int) -> Any:
    shape, strides, offset = geometry
    return t.as_strided(shape, strides, offset - low)


def _gather(t: Any, whole: Any, part: Any) -> Any:
    low, size = _field(whole, part)
    field = t.new_zeros((size,))
    _strided(field, whole, low).copy_(t)
    return _strided(field, part, low).clone()


def _overlaps(geometry: Any) -> bool:
    """Whether a layout may show an element twice."""
    shape, strides, _ = geometry
    reach = 0
    for stride, n in sorted((s, n) for n, s in zip(shape, strides, strict=True) if n != 1):
        if stride <= reach:
            return True
        reach += stride * (n - 1)
    return False


def _scatter(g: Any, whole: Any, part: Any) -> Any:
    low, size = _field(whole, part)
    if not _overlaps(part):
        field = g.new_zeros((size,))
        _strided(field, part, low).copy_(g)
        return _strided(field, whole, low).clone()
    index = _strided(FUNCTIONS["arange"](size, device=g.device), part, low).reshape(-1)
    field = g.new_zeros((size,)).index_add(0, index, g.reshape(-1))
    return _strided(field, whole, low).clone()


def _put(t: Any, value: Any, whole: Any, part: Any) -> Any:
    low, size = _field(whole, part)
    field = t.new_zeros((size,))
    _strided(field, whole, low).copy_(t)
    _strided(field, part, low).copy_(value)
    return _strided(field, whole, low).clone()


views.strided_gather = primitive(
    "strided_gather", "input, whole, part", _gather,
    {"input": lambda g, whole, part: views.strided_scatter(g, whole, part)},
    doc="The elements of a whole that a part of its memory shows.")  # fmt: skip
views.strided_scatter = primitive(
    "strided_scatter", "input, whole, part", _scatter,
    {"input": lambda g, whole, part: views.strided_gather(g, whole, part)},
    doc="A part laid into zeros of the whole; what the part shows twice is added up.")  # fmt: skip
views.strided_put = primitive(
    "strided_put", "input, value, whole, part", _put, {
        "input": lambda g, whole, part, value_shape: views.strided_put(g, g.new_zeros(value_shape), whole, part),
        "value": lambda g, whole, part: views.strided_gather(g, whole, part),
    }, doc="A copy of the whole with the part overwritten.")  # fmt: skip


def _as_strided_back(g: Any, shape: Any, strides: Any, offset: int, size: Any, stride: Any, start: Any) -> Any:
    return views.strided_scatter(g, (shape, strides, offset), (size, stride, offset if start is None else start))


as_strided = row("as_strided", "input, size, stride, storage_offset=None", view=True, dtypes="any", grad={
        "input": lambda g, input_shape, input_stride, input_offset, size, stride, storage_offset: _as_strided_back(
            g, input_shape, input_stride, input_offset, size, stride, storage_offset),
    }, samples=lambda: (S(T(6), (2, 3), (3, 1)), S(T(6), (2, 2), (1, 1), 1), S(T(3, 4), (2,), (5,), 2)),
    errors=lambda: (S(T(6), (3, 3), (3, 1), error="RuntimeError"), S(T(6), (3,), (1, 1), error="RuntimeError")),
    doc="A view with any sizes, strides and offset (in elements) that lie inside the storage.")  # fmt: skip


def _unfold_geometry(shape: Any, dim: int, size: int, step: int) -> tuple[Any, Any]:
    """The contiguous whole, and the unfolded part of it."""
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * max(shape[d + 1], 1)
    if not shape:
        return ((), (), 0), ((size,), (1,), 0)
    dim %= len(shape)
    part_shape, part_strides = list(shape), list(strides)
    part_shape[dim] = (shape[dim] - size) // step + 1
    part_strides[dim] = strides[dim] * step
    return (shape, strides, 0), ((*part_shape, size), (*part_strides, strides[dim]), 0)


_view("unfold", "input, dimension, size, step",
      lambda g, input_shape, dimension, size, step: views.strided_scatter(
          g, *_unfold_geometry(input_shape, dimension, size, step)),
      lambda: (S(T(7), 0, 3, 2), S(T(3, 6), 1, 2, 1), S(T(4, 3), 0, 4, 1)),
      "Windows of ``size`` elements every ``step`` along a dimension, in a new last dimension.",
      lambda: (S(T(3), 0, 4, 1, error="RuntimeError"),), function=False, ref="Tensor.unfold")  # fmt: skip
row("getitem", "input, index", view=True, function=False, method=False, dtypes="any", ref="Tensor.__getitem__",
    grad={"input": lambda g, input_shape, index: _getitem_back(g, input_shape, index)},
    samples=lambda: (S(T(3, 4), 1), S(T(3, 4), (slice(None), 2)), S(T(3, 4), (Ellipsis, slice(1, None, 2))),
                     S(T(3, 4), (None, slice(0, 2))), S(T(3, 4), (-1, -1)), S(T(3, 4), ()), S(T(0, 3), (slice(0, 5),))),
    errors=lambda: (S(T(3), 3, error="IndexError"), S(T(3), (0, 0), error="IndexError")),
    doc="Basic indexing: ints, slices, None and Ellipsis.")  # fmt: skip


# ---------------------------------------------------------------- methods with sizes one by one


@composite("view", function=False)
def view(self: Any, *shape: Any, size: Any = None, dtype: Any = None) -> Any:
    """The same elements in another shape, without a copy; one size may be -1. A dtype reinterprets the memory.

    Raises RuntimeError where the strides do not allow it (``reshape`` then copies). Reference: ``torch.Tensor.view``.
    """
    if len(shape) == 1 and isinstance(shape[0], _dtypes.dtype):
        dtype = shape[0]
    if not shape and size is None and dtype is None:
        raise TypeError("view() takes a dtype or sizes: none of them was given")
    return _VIEW(self, sizes(shape, size)) if dtype is None else _VIEW_DTYPE(self, dtype)


@composite("reshape", function=False)
def reshape(self: Any, *sizes_: Any, shape: Any = None) -> Any:
    """The same elements in another shape: a view where possible, else a copy. Reference: ``torch.Tensor.reshape``."""
    if not sizes_ and shape is None:
        raise TypeError('reshape() missing 1 required positional arguments: "shape"')
    return _RESHAPE(self, sizes(sizes_, shape))


@composite("permute", function=False)
def permute(self: Any, *order: Any, dims: Any = None) -> Any:
    """The dimensions in another order. Reference: ``torch.Tensor.permute``."""
    return _PERMUTE(self, sizes(order, dims))


@composite("expand", function=False)
def expand(self: Any, *shape: Any, size: Any = None, implicit: bool = False) -> Any:
    """Dimensions of size 1 stretched without a copy; -1 keeps a size. Reference: ``torch.Tensor.expand``."""
    return _EXPAND(self, sizes(shape, size))


@composite("view_as", function=False)
def view_as(self: Any, other: Any) -> Any:
    """``self.view(other.shape)``. Reference: ``torch.Tensor.view_as``."""
    return _VIEW(self, other.shape)


@composite("reshape_as", function=False)
def reshape_as(self: Any, other: Any) -> Any:
    """``self.reshape(other.shape)``. Reference: ``torch.Tensor.reshape_as``."""
    return _RESHAPE(self, other.shape)


@composite("expand_as", function=False)
def expand_as(self: Any, other: Any) -> Any:
    """``self.expand(other.shape)``. Reference: ``torch.Tensor.expand_as``."""
    return _EXPAND(self, other.shape)


@composite("t")
def t(input: Any) -> Any:
    """The transpose of a matrix; vectors and scalars as they are. Reference: ``torch.t``."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D; use mT or transpose")
    return input if input.ndim < 2 else _TRANSPOSE(input, 0, 1)


@composite("movedim", "moveaxis")
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved to other places, the rest in order. Reference: ``torch.movedim``."""
    ndim = input.ndim
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({sources} dims) should contain the same number of "
            f"dims as destination ({targets} dims)"
        )
    sources = [wrap_dim(d, ndim) for d in sources]
    targets = [wrap_dim(d, ndim) for d in targets]
    for word, dims in (("source", sources), ("destination", targets)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{word}` ({dims})")
    rest = iter(d for d in range(ndim) if d not in sources)
    placed = dict(zip(targets, sources, strict=True))
    return _PERMUTE(input, [placed[d] if d in placed else next(rest) for d in range(ndim)])


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the front; raises IndexError outside of ``-ndim .. ndim - 1``."""
    count = max(ndim, 1)
    if not -count <= dim < count:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-count}, {count - 1}], but got {dim})")
    return dim % count


@composite("flatten")
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions ``start_dim`` to ``end_dim`` made one. Reference: ``torch.flatten``."""
    ndim = input.ndim
    start, end = wrap_dim(start_dim, ndim), wrap_dim(end_dim, ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if ndim == 0:
        return _RESHAPE(input, (1,))
    if start == end:
        return input
    shape = input.shape
    count = 1
    for n in shape[start : end + 1]:
        count *= n
    return _RESHAPE(input, (*shape[:start], count, *shape[end + 1 :]))


@composite("unflatten", numpy=False)
def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """One dimension split into several; one size may be -1. Reference: ``torch.unflatten``."""
    dim = wrap_dim(dim, input.ndim)
    shape = input.shape
    known = 1
    for n in sizes:
        known *= n if n >= 0 else 1
    if -1 in sizes and known:
        sizes = [shape[dim] // known if n == -1 else n for n in sizes]
    return _VIEW(input, (*shape[:dim], *sizes, *shape[dim + 1 :]))


@composite("ravel")
def ravel(input: Any) -> Any:
    """All elements in one dimension. Reference: ``torch.ravel``."""
    return _RESHAPE(input, (-1,))


@composite("narrow", numpy=False)
def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """``length`` indices of a dimension from ``start`` on. Reference: ``torch.narrow``."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    size = input.shape[wrap_dim(dim, input.ndim)]
    if isinstance(start, _C.TensorBase):
        kind = start.dtype
        if start.ndim or kind is _dtypes.bool or kind.is_floating_point or kind.is_complex:
            raise RuntimeError("start must be an 0-dim integral Tensor.")
        start = int(start)
    if not -size <= start <= size:
        raise IndexError(f"narrow(): start ({start}) is out of range for a dimension of size {size}")
    start = start + size if start < 0 else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > size:
        raise RuntimeError(f"narrow(): start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return SLICE(input, dim, start, start + length, 1)


METHODS["T"] = property(
    lambda self: self if self.ndim < 2 else _PERMUTE(self, tuple(range(self.ndim - 1, -1, -1))),
    doc="All dimensions in reverse order.",
)


def _matrix_transpose(self: Any) -> Any:
    if self.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor.")
    return _TRANSPOSE(self, -2, -1)


METHODS["mT"] = property(_matrix_transpose, doc="The last two dimensions exchanged.")
