"""Making tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _device, _dtypes, _interop
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import sizes
from dumbtorch.ops.table import FUNCTIONS, composite, row


def _maker(name: str, signature: str, doc: str) -> Any:
    """A row that makes a tensor from numbers; tests/ops/test_creation.py tries them."""
    return row(name, signature, method=False, function=False, out=False, dtypes="real", doc=doc)


_EMPTY = _maker("empty", "size, dtype=None, device=None", "Uninitialised memory.")
_EMPTY_STRIDED = _maker(
    "empty_strided",
    "size, stride, dtype=None, device=None",
    "Uninitialised memory with strides of the caller's choice.",
)
_ZEROS = _maker("zeros", "size, dtype=None, device=None", "Zeros.")
_ONES = _maker("ones", "size, dtype=None, device=None", "Ones.")
_FULL = _maker("full", "size, fill_value, dtype=None, device=None", "One value everywhere.")
_ARANGE = _maker("arange", "start, end, step, dtype=None, device=None", "``start, start + step, ...`` below ``end``.")
_LINSPACE = _maker(
    "linspace", "start, end, steps, dtype=None, device=None", "Evenly spaced numbers from ``start`` to ``end``."
)
_EYE = _maker("eye", "n, m=None, dtype=None, device=None", "Ones on the diagonal of a matrix of zeros.")
row("item", "input", function=False, out=False, dtypes="real", ref="Tensor.item",
    doc="The only element as a Python number. Raises RuntimeError for several elements.")  # fmt: skip
row("tolist", "input", function=False, out=False, dtypes="real", ref="Tensor.tolist",
    doc="The elements as nested lists, a number for a 0-dim tensor.")  # fmt: skip


def _place(device: Any) -> Any:
    """The device to make a tensor on; None for the CPU, which is what the kernels assume."""
    if device is None:
        device = _device.get_default_device()
        return None if device.type == "cpu" else device
    return device


def _made(t: Any, requires_grad: bool) -> Any:
    if requires_grad:
        if not (t.dtype.is_floating_point or t.dtype.is_complex):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t.requires_grad = True
    return t


@composite(method=False)
def empty(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """A tensor of uninitialised memory. ``dtype`` defaults to the default dtype. Reference: ``torch.empty``.

    >>> empty(2, 3).shape
    torch.Size([2, 3])
    """
    return _made(_EMPTY(sizes(size), dtype, _place(device)), requires_grad)


@composite(method=False)
def zeros(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """A tensor of zeros. Reference: ``torch.zeros``."""
    if out is not None:
        return _resized(out, sizes(size)).fill_(0)
    return _made(_ZEROS(sizes(size), dtype, _place(device)), requires_grad)


@composite(method=False)
def ones(
    *size: Any, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """A tensor of ones. Reference: ``torch.ones``."""
    if out is not None:
        return _resized(out, sizes(size)).fill_(1)
    return _made(_ONES(sizes(size), dtype, _place(device)), requires_grad)


@composite(method=False)
def full(
    size: Any, fill_value: Any, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """A tensor of one value; its dtype follows the value's Python type unless given. Reference: ``torch.full``."""
    if out is not None:
        return _resized(out, size).fill_(fill_value)
    if isinstance(fill_value, _C.TensorBase):
        return _made(_EMPTY(size, dtype or fill_value.dtype, _place(device)).fill_(fill_value), requires_grad)
    return _made(_FULL(size, fill_value, dtype, _place(device)), requires_grad)


def _resized(out: Any, size: Any) -> Any:
    """An ``out=`` tensor in the shape of the result: empty ones and others take new memory."""
    if tuple(out.shape) != tuple(size):
        out._set_data(_EMPTY(size, out.dtype, out.device))
    return out


def _like(name: str, value: Any) -> None:
    def like(
        input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:  # fmt: skip
        t = _EMPTY(input.shape, input.dtype if dtype is None else dtype, input.device if device is None else device)
        if value is not None:
            t.fill_(value)
        return _made(t, requires_grad)

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"As ``{name[:-5]}`` with the shape, dtype and device of ``input``. Reference: ``torch.{name}``."
    composite(name, method=False)(like)

    def new(
        self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
        pin_memory: bool = False,
    ) -> Any:  # fmt: skip
        t = _EMPTY(sizes(size), self.dtype if dtype is None else dtype, self.device if device is None else device)
        if value is not None:
            t.fill_(value)
        return _made(t, requires_grad)

    new.__name__ = new.__qualname__ = f"new_{name[:-5]}"
    new.__doc__ = f"As ``{name[:-5]}`` with the dtype and device of this tensor. Reference: ``Tensor.{new.__name__}``."
    composite(new.__name__, function=False)(new)


_like("empty_like", None)
_like("zeros_like", 0)
_like("ones_like", 1)


@composite(method=False)
def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """As ``full`` with the shape, dtype and device of ``input``. Reference: ``torch.full_like``."""
    t = _EMPTY(input.shape, input.dtype if dtype is None else dtype, input.device if device is None else device)
    t.fill_(fill_value)
    return _made(t, requires_grad)


@composite("new_full", function=False)
def new_full(
    self: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """As ``full`` with the dtype and device of this tensor. Reference: ``torch.Tensor.new_full``."""
    t = _EMPTY(size, self.dtype if dtype is None else dtype, self.device if device is None else device)
    t.fill_(fill_value)
    return _made(t, requires_grad)


tensor = composite(method=False)(_interop.tensor)


@composite("new_tensor", function=False)
def new_tensor(self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A copy of ``data`` with the dtype and device of this tensor. Reference: ``torch.Tensor.new_tensor``."""
    return tensor(
        data, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device,
        requires_grad=requires_grad,
    )  # fmt: skip


@composite(method=False)
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A 0-dim tensor of the default dtype. Reference: ``torch.scalar_tensor``."""
    return full((), s, dtype=_dtypes.get_default_dtype() if dtype is None else dtype, device=device,
                requires_grad=requires_grad)  # fmt: skip


@composite(method=False)
def arange(
    start: Any, end: Any = None, step: Any = 1, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``start, start + step, ...`` below ``end`` (``arange(end)`` starts at 0). Reference: ``torch.arange``.

    int64 when all three are integers, else the default dtype. Raises RuntimeError for a step of 0 or in the wrong
    direction.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, _C.TensorBase) else v for v in (start, end, step))
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: upper bound and lower bound inconsistent with step sign: {start}, {end}, {step}")
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        dtype = (_dtypes.int64 if whole else _dtypes.get_default_dtype()) if out is None else out.dtype
    t = _ARANGE(start, end, step, dtype, _place(device))
    if out is not None:
        return _resized(out, t.shape).copy_(t)
    return _made(t, requires_grad)


@composite(method=False)
def linspace(
    start: Any, end: Any, steps: int, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``steps`` numbers evenly spaced from ``start`` to ``end``, both included. Reference: ``torch.linspace``."""
    if steps < 0:
        raise RuntimeError("linspace: number of steps must be non-negative")
    start, end = (v.item() if isinstance(v, _C.TensorBase) else v for v in (start, end))
    t = _LINSPACE(start, end, steps, dtype, _place(device))
    return _made(t if out is None else _resized(out, t.shape).copy_(t), requires_grad)


@composite(method=False)
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``base`` to the powers ``linspace(start, end, steps)``. Reference: ``torch.logspace``."""
    powers = linspace(start, end, steps, dtype=_dtypes.float64, device=device)
    t = FUNCTIONS["pow"](base, powers).to(_dtypes.get_default_dtype() if dtype is None else dtype)
    return _made(t if out is None else _resized(out, t.shape).copy_(t), requires_grad)


@composite(method=False)
def eye(
    n: int, m: int | None = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Ones on the diagonal of an n x m matrix of zeros. Reference: ``torch.eye``."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {n} and {m}")
    t = _EYE(n, m, dtype, _place(device))
    return _made(t if out is None else _resized(out, t.shape).copy_(t), requires_grad)


def _triangle(name: str, words: str) -> None:
    op: Any = row(name, "input, diagonal=0", dtypes="real", out=False, function=False, method=False,
        grad={"input": (lambda g, diagonal: g.tril(diagonal)) if name == "tril" else (
            lambda g, diagonal: g.triu(diagonal))},
        samples=lambda: (S(T(3, 4)), S(T(3, 4), 1), S(T(2, 4, 3), -1), S(T(0, 3))),
        errors=lambda: (S(T(3), error="RuntimeError"),),
        doc=f"The {words} triangle of matrices (from the given diagonal on), zeros elsewhere.")  # fmt: skip

    def triangle(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
        result = op(input, diagonal)
        return result if out is None else _resized(out, result.shape).copy_(result)

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
