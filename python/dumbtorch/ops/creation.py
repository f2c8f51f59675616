"""Making tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _device, _dtypes, _interop, _pinned
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import sizes
from dumbtorch.ops.table import composite, row


def maker(name: str, signature: str, doc: str) -> Any:
    """A row that makes a tensor from numbers; tests/ops/test_creation.py tries them."""
    return row(name, signature, method=False, function=False, out=False, dtypes="any", doc=doc)


_EMPTY = maker("empty", "size, dtype=None, device=None", "Uninitialised memory.")
_EMPTY_STRIDED = maker(
    "empty_strided",
    "size, stride, dtype=None, device=None",
    "Uninitialised memory with strides of the caller's choice.",
)
_ZEROS = maker("zeros", "size, dtype=None, device=None", "Zeros.")
_ONES = maker("ones", "size, dtype=None, device=None", "Ones.")
_FULL = maker("full", "size, fill_value, dtype=None, device=None", "One value everywhere.")
_EYE = maker("eye", "n, m=None, dtype=None, device=None", "Ones on the diagonal of a matrix of zeros.")
row("item", "input", function=False, out=False, dtypes="any", ref="Tensor.item",
    doc="The only element as a Python number. Raises RuntimeError for several elements.")  # fmt: skip
row("tolist", "input", function=False, out=False, dtypes="any", ref="Tensor.tolist",
    doc="The elements as nested lists, a number for a 0-dim tensor.")  # fmt: skip


def _place(device: Any) -> Any:
    """The device to make a tensor on; None for the CPU, which is what the kernels assume."""
    if device is None:
        device = _device.get_default_device()
        return None if device.type == "cpu" else device
    return device


#: Set by dumbtorch._sparse: (shape, dtype, device, requires_grad, sparse_dim) -> a sparse tensor without elements.
sparse_zeros: Any = None


def made(t: Any, requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Any:
    """A new tensor with the arguments that all factory functions have: checked, and the gradient wanted."""
    if layout is not None and getattr(layout, "name", "") != "strided" and str(layout) != "torch.strided":
        if not isinstance(layout, type(t.layout)):
            raise TypeError(f"argument 'layout' must be torch.layout, not {type(layout).__name__}")
        raise RuntimeError(f"only strided tensors can be made here, not ones of the layout {layout}")
    if pin_memory:
        t = _pinned.made(t)
    if requires_grad:
        if not (t.dtype.is_floating_point or t.dtype.is_complex):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t.requires_grad = True
    return t


def _size(name: str, given: tuple[Any, ...], size: Any) -> Any:
    """Sizes given one by one, as one sequence, or by the keyword ``size``."""
    if size is None:
        if not given:
            raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
        return sizes(given)
    if given:
        raise TypeError(f"{name}() received an invalid combination of arguments: sizes and the keyword size")
    return size


def into(out: Any, size: Any, dtype: Any) -> Any:
    """An ``out=`` tensor in the shape of the result."""
    if dtype is not None and dtype is not out.dtype:
        names = [_dtypes.TYPE_NAMES[kind] for kind in (dtype, out.dtype)]
        raise RuntimeError(f"dtype {names[0]} does not match dtype of out parameter ({names[1]})")
    return _resized(out, size)


@composite(method=False)
def empty(
    *args: Any, size: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """A tensor of uninitialised memory. ``dtype`` defaults to the default dtype. Reference: ``torch.empty``.

    >>> empty(2, 3).shape
    torch.Size([2, 3])
    """
    shape = _size("empty", args, size)
    if layout is _dtypes.sparse_coo:
        return sparse_zeros(shape, dtype, device, requires_grad)
    if out is not None:
        return made(into(out, shape, dtype), requires_grad, layout, pin_memory)
    if getattr(memory_format, "name", "contiguous_format") != "contiguous_format":
        if memory_format.name == "preserve_format":
            raise RuntimeError("unsupported memory format Preserve")
        t = _EMPTY(shape, dtype, _place(device)).contiguous(memory_format=memory_format)
    else:
        t = _EMPTY(shape, dtype, _place(device))
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def zeros(
    *args: Any, size: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A tensor of zeros. Reference: ``torch.zeros``."""
    shape = _size("zeros", args, size)
    if layout is _dtypes.sparse_coo:
        return sparse_zeros(shape, dtype, device, requires_grad)
    t = _ZEROS(shape, dtype, _place(device)) if out is None else into(out, shape, dtype).fill_(0)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def ones(
    *args: Any, size: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A tensor of ones. Reference: ``torch.ones``."""
    shape = _size("ones", args, size)
    t = _ONES(shape, dtype, _place(device)) if out is None else into(out, shape, dtype).fill_(1)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def full(
    size: Any, fill_value: Any, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A tensor of one value; its dtype follows the value's Python type unless given. Reference: ``torch.full``."""
    if isinstance(size, int):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
    if isinstance(fill_value, _C.TensorBase) and fill_value.ndim:
        raise TypeError("full(): argument 'fill_value' (position 2) must be Number, not Tensor")
    if out is not None:
        t = into(out, size, dtype).fill_(fill_value)
    elif isinstance(fill_value, _C.TensorBase):
        t = _EMPTY(size, dtype or fill_value.dtype, _place(device)).fill_(fill_value)
    else:
        t = _FULL(size, fill_value, dtype, _place(device))
    return made(t, requires_grad, layout, pin_memory)


def _resized(out: Any, size: Any) -> Any:
    """An ``out=`` tensor in the shape that is created; without a warning, as in PyTorch."""
    if tuple(out.shape) != tuple(size):
        out._set_data(_EMPTY(size, out.dtype, out.device))
    return out


# ---------------------------------------------------------------- strides of the caller's choice


@composite(method=False)
def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Uninitialised memory with the given strides. Reference: ``torch.empty_strided``."""
    return made(_EMPTY_STRIDED(size, stride, dtype, _place(device)), requires_grad, layout, pin_memory)


@composite(function=False)
def new_empty_strided(
    self: Any, size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """As ``empty_strided`` with this tensor's dtype and device. Reference: ``torch.Tensor.new_empty_strided``."""
    t = _EMPTY_STRIDED(size, stride, dtype or self.dtype, self.device if device is None else device)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def empty_permuted(
    size: Any, physical_layout: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Uninitialised memory without gaps, its dimensions in the order ``physical_layout``, the outermost first.

    RuntimeError unless that is a permutation. Reference: ``torch.empty_permuted``.
    """
    shape, order = tuple(size), tuple(physical_layout)
    if len(shape) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    strides, step = [0] * len(shape), 1
    seen: set[int] = set()
    for place, dim in enumerate(order):
        if not 0 <= dim < len(shape):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got {dim} at index "
                f"{place}).  NB: negative dims not currently supported; file an issue if you want it."
            )
        if dim in seen:
            raise RuntimeError("Duplicate dim not allowed")
        seen.add(dim)
    for dim in reversed(order):
        strides[dim] = step
        step *= max(shape[dim], 1)
    t = _EMPTY_STRIDED(shape, tuple(strides), dtype, _place(device))
    return made(t, requires_grad, layout, pin_memory)


def _strides_like(input: Any) -> tuple[int, ...]:
    """Strides without gaps in the order of a tensor's own: the smaller the stride, the further inside."""
    shape, old = input.shape, input.stride()
    order = list(range(len(shape) - 1, -1, -1))  # from the inside out
    for place in range(1, len(order)):
        at = place
        for below in range(place - 1, -1, -1):
            a, b = order[below], order[at]
            if not (old[a] and old[b]):  # a broadcast dimension has no place of its own
                continue
            if old[a] < old[b] or (old[a] == old[b] and shape[a] <= shape[b]):
                if old[a] < old[b]:
                    break
                continue
            order[below], order[at] = b, a
            at = below
    strides, step = [0] * len(shape), 1
    for dim in order:
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


def empty_as(input: Any, dtype: Any, device: Any, memory_format: Any = None) -> Any:
    """Uninitialised memory of a tensor's shape, and in the order of its dimensions unless a format says otherwise."""
    kind = input.dtype if dtype is None else dtype
    place = input.device if device is None else device
    if input.is_sparse:
        raise NotImplementedError("Could not run 'aten::empty_like' with arguments from the 'SparseCPU' backend.")
    if memory_format is None or memory_format.name == "preserve_format":
        if not input.is_contiguous():
            return _EMPTY_STRIDED(input.shape, _strides_like(input), kind, place)
    elif memory_format.name != "contiguous_format":
        return _EMPTY(input.shape, kind, place).contiguous(memory_format=memory_format)
    return _EMPTY(input.shape, kind, place)


def _sparse_as(
    input: Any, shape: Any, value: Any, dtype: Any, device: Any, requires_grad: bool, sparse_dim: int | None
) -> Any:
    if value:
        raise NotImplementedError("Could not run 'aten::fill_.Scalar' with arguments from the 'SparseCPU' backend.")
    kind, place = input.dtype if dtype is None else dtype, input.device if device is None else device
    return sparse_zeros(shape, kind, place, requires_grad, sparse_dim if input.is_sparse else None)


def _like(name: str, value: Any) -> None:
    def like(
        input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        pin_memory: bool = False, memory_format: Any = None,
    ) -> Any:  # fmt: skip
        if not isinstance(input, _C.TensorBase):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        if layout is _dtypes.sparse_coo or (layout is None and input.is_sparse):
            return _sparse_as(input, input.shape, value, dtype, device, requires_grad, input.sparse_dim())
        t = empty_as(input, dtype, device, memory_format)
        if value is not None:
            t.fill_(value)
        return made(t, requires_grad, layout, pin_memory)

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"As ``{name[:-5]}`` with the shape, dtype and device of ``input``. Reference: ``torch.{name}``."
    composite(name, method=False)(like)

    def new(
        self: Any, *args: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False,
        layout: Any = None, pin_memory: bool = False,
    ) -> Any:  # fmt: skip
        shape = _size(new.__name__, args, size)
        if layout is _dtypes.sparse_coo or (layout is None and self.is_sparse):
            return _sparse_as(self, shape, value, dtype, device, requires_grad, None)
        t = _EMPTY(shape, self.dtype if dtype is None else dtype, self.device if device is None else device)
        if value is not None:
            t.fill_(value)
        return made(t, requires_grad, layout, pin_memory)

    new.__name__ = new.__qualname__ = f"new_{name[:-5]}"
    new.__doc__ = f"As ``{name[:-5]}`` with the dtype and device of this tensor. Reference: ``Tensor.{new.__name__}``."
    composite(new.__name__, function=False)(new)


_like("empty_like", None)
_like("zeros_like", 0)
_like("ones_like", 1)


@composite(method=False)
def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """As ``full`` with the shape, dtype and device of ``input``. Reference: ``torch.full_like``."""
    t = empty_as(input, dtype, device, memory_format).fill_(fill_value)
    return made(t, requires_grad, layout, pin_memory)


@composite("new_full", function=False)
def new_full(
    self: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """As ``full`` with the dtype and device of this tensor. Reference: ``torch.Tensor.new_full``."""
    t = _EMPTY(size, self.dtype if dtype is None else dtype, self.device if device is None else device)
    return made(t.fill_(fill_value), requires_grad, layout, pin_memory)


@composite(method=False)
def fill(input: Any, value: Any) -> Any:
    """A tensor like ``input`` with ``value`` (a number or a 0-dim tensor) everywhere. Reference: ``torch.fill``."""
    return input.clone().fill_(value)


@composite(method=False)
def fill_(input: Any, value: Any) -> Any:
    """``fill`` in place."""
    return input.fill_(value)


tensor = composite(method=False)(_interop.tensor)


@composite("new_tensor", function=False)
def new_tensor(self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A copy of ``data`` with the dtype and device of this tensor. Reference: ``torch.Tensor.new_tensor``."""
    return tensor(
        data, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device,
        requires_grad=requires_grad,
    )  # fmt: skip


@composite(method=False)
def scalar_tensor(
    s: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A 0-dim tensor of the default dtype. Reference: ``torch.scalar_tensor``."""
    kind = _dtypes.get_default_dtype() if dtype is None else dtype
    return full((), s, dtype=kind, device=device, requires_grad=requires_grad, layout=layout, pin_memory=pin_memory)


# ---------------------------------------------------------------- matrices


@composite(method=False)
def eye(
    n: int, m: int | None = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Ones on the diagonal of an n x m matrix of zeros. Reference: ``torch.eye``."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {n} and {m}")
    t = _EYE(n, m, dtype if out is None else out.dtype, _place(device))
    return made(t if out is None else into(out, t.shape, dtype).copy_(t), requires_grad, layout, pin_memory)


def _triangle(name: str, words: str) -> None:
    op: Any = row(name, "input, diagonal=0", dtypes="any", out=False, function=False, method=False,
        grad={"input": (lambda g, diagonal: g.tril(diagonal)) if name == "tril" else (
            lambda g, diagonal: g.triu(diagonal))},
        samples=lambda: (S(T(3, 4)), S(T(3, 4), 1), S(T(2, 4, 3), -1), S(T(0, 3))),
        errors=lambda: (S(T(3), error="RuntimeError"),),
        doc=f"The {words} triangle of matrices (from the given diagonal on), zeros elsewhere.")  # fmt: skip

    def triangle(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
        result = op(input, diagonal)
        return result if out is None else write(out, result)

    def triangle_(self: Any, diagonal: int = 0) -> Any:
        return self.copy_(op(self, diagonal))

    triangle.__name__ = triangle.__qualname__ = name
    triangle.__doc__ = f"The {words} triangle of matrices, zeros elsewhere. Reference: ``torch.{name}``."
    composite(name)(triangle)
    triangle_.__name__ = triangle_.__qualname__ = name + "_"
    triangle_.__doc__ = f"``{name}`` in place."
    composite(name + "_", function=False)(triangle_)


_triangle("tril", "lower")
_triangle("triu", "upper")


for _function in (
    _interop.as_tensor,
    _interop.asarray,
    _interop.from_dlpack,
    _interop.from_numpy,
    _interop.frombuffer,
):
    composite(method=False)(_function)


@composite(method=False)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Vectors stretched over the grid that they span. ``indexing`` is "ij" or "xy". Reference: ``torch.meshgrid``."""
    vectors: Sequence[Any] = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if any(v.ndim > 1 for v in vectors):
        raise RuntimeError("meshgrid: Expected 0D or 1D tensors")
    count = len(vectors)
    shape = [v.numel() for v in vectors]
    grids = [v.reshape([-1 if d == n else 1 for d in range(count)]).expand(shape) for n, v in enumerate(vectors)]
    if indexing == "xy" and count > 1:
        grids = [_swapped(vectors, n) for n in range(count)]
    return tuple(grids)


def _swapped(vectors: Sequence[Any], n: int) -> Any:
    order = [1, 0, *range(2, len(vectors))]
    shape = [vectors[d].numel() for d in order]
    return vectors[n].reshape([-1 if d == n else 1 for d in order]).expand(shape)
