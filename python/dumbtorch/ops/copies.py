"""Views as copies (``view_copy``, ...), and copies with a view overwritten (``select_scatter``, ...)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.ops import shape, split
from dumbtorch.ops.results import write
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import SLICE, as_strided, diagonal, select, view, wrap_dim
from dumbtorch.ops.table import FUNCTIONS, composite, primitive
from dumbtorch.storage import storage_of


def _copied(name: str, viewed: Callable[..., Any]) -> None:
    """Exports ``NAME_copy``: what the view shows, as a tensor (or tensors) of its own."""

    def made(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = viewed(*args, **kwargs)
        if isinstance(result, tuple):
            if out is None:
                return tuple(part.clone(memory_format="contiguous") for part in result)
            for target, part in zip(out, result, strict=True):
                write(target, part)
            return None
        return result.clone(memory_format="contiguous") if out is None else write(out, result)

    made.__name__ = made.__qualname__ = name + "_copy"
    made.__doc__ = f"``{name}`` as a copy, which shares no memory. Reference: ``torch.{name}_copy``."
    composite(name + "_copy", method=False)(made)


_copied("view", lambda input, size=None, dtype=None: view(input, size if dtype is None else dtype))
_copied("expand", lambda input, size, *, implicit=False: shape.expand(input, size))
_copied("slice", SLICE)
_copied("unfold", lambda input, dimension, size, step: input.unfold(dimension, size, step))
_copied("alias", lambda input: input)
_copied("detach", lambda input: input.detach())
_copied("as_strided", as_strided)
_copied("diagonal", diagonal)
_copied("select", select)
_copied("t", shape.t)
_copied("permute", shape.permute)
for _name in ("transpose", "squeeze", "unsqueeze"):
    _copied(_name, FUNCTIONS[_name])
_copied("view_as_real", lambda input: FUNCTIONS["view_as_real"](input))
_copied("view_as_complex", lambda input: FUNCTIONS["view_as_complex"](input))
_copied("split", split.split)
_copied("split_with_sizes", split.split_with_sizes)
_copied("unbind", split.unbind)


@composite("narrow_copy")
def narrow_copy(input: Any, dim: int, start: int, length: int, *, out: Any = None) -> Any:
    """``narrow`` as a copy. Reference: ``torch.narrow_copy``."""
    if dim >= max(input.ndim, 1):
        raise RuntimeError(f"Expected dim < input.dim() to be true, but got dim {dim} of {input.ndim} dimensions")
    made = shape.narrow(input, dim, start, length)
    return made.clone(memory_format="contiguous") if out is None else write(out, made)


# ---------------------------------------------------------------- a view overwritten


def _overlaid(
    name: str, signature: str, look: Callable[..., Any], samples: Any, errors: Any, dtypes: str = "any"
) -> Any:
    """A row ``(input, src, *where)``: a copy of the input whose view ``look(copy, *where)`` holds ``src``.

    Its derivatives are the view, and the same with zeros for ``src``.
    """
    names = [part.partition("=")[0] for part in signature.split(", ")][2:]
    given = ", ".join(names)
    scope: dict[str, Any] = {"look": look, "check": _check_source}
    exec(
        f"def forward(input, src, {given}):\n"
        f"    made = input.clone()\n"
        f"    part = look(made, {given})\n"
        f"    check(part, src)\n"
        f"    part.copy_(src)\n"
        f"    return made\n"
        f"def back(g, src_shape, {given}): return row(g, g.new_zeros(src_shape), {given})\n"
        f"def src_back(g, {given}): return look(g, {given})\n",
        scope,
    )
    scope["row"] = primitive(
        name, signature, scope["forward"], {"input": scope["back"], "src": scope["src_back"]}, dtypes=dtypes,
        doc="A copy of the input with a view of it overwritten.", samples=samples, errors=errors)  # fmt: skip
    return scope["row"]


def _check_source(part: Any, src: Any) -> None:
    if not isinstance(src, _C.TensorBase):
        raise TypeError(f"argument 'src' must be Tensor, not {type(src).__name__}")
    if part.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(part.shape)}"
        )


_SELECT = _overlaid("select_scatter", "input, src, dim, index", select, lambda: (
    S(T(3, 4), T(4), 0, 1), S(T(3, 4), T(3), -1, -2)),
    lambda: (S(T(3, 4), T(3), 0, 1, error="RuntimeError"), S(T(3, 4), T(4), 0, 3, error="IndexError")),
    "real")  # fmt: skip
_SLICED = _overlaid("slice_scatter", "input, src, dim=0, start=None, end=None, step=1", SLICE, lambda: (
    S(T(6, 4), T(2, 4), 0, 1, 5, 2), S(T(6, 4), T(6, 2), 1, -2, None, 1), S(T(3), T(3))),
    lambda: (S(T(3), T(2), 0, 0, 3, 1, error="RuntimeError"),), "real")  # fmt: skip
_DIAGONAL = _overlaid("diagonal_scatter", "input, src, offset=0, dim1=0, dim2=1", diagonal, lambda: (
    S(T(3, 4), T(3)), S(T(3, 4), T(2), -1), S(T(2, 3, 4), T(3, 1), 1, 2, 0)),
    lambda: (S(T(3, 4), T(4), error="RuntimeError"),))  # fmt: skip


@composite("select_scatter")
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy with ``src`` as the given index of a dimension. Reference: ``torch.select_scatter``."""
    return _SELECT(input, src, wrap_dim(dim, input.ndim), index)


@composite("slice_scatter")
def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """A copy with ``src`` as a range of a dimension. Reference: ``torch.slice_scatter``."""
    return _SLICED(input, src, dim, start, end, step)


@composite("diagonal_scatter")
def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy with ``src`` as a diagonal. Reference: ``torch.diagonal_scatter``."""
    return _DIAGONAL(input, src, offset, dim1, dim2)


def _lay_strided(input: Any, src: Any, size: Any, stride: Any, storage_offset: Any) -> Any:
    # the whole memory, not only what the input shows of it
    count = storage_of(input).nbytes() // input.itemsize
    made = as_strided(as_strided(input, (count,), (1,), 0).clone(), input.shape, input.stride(), input._offset)
    part = as_strided(made, size, stride, storage_offset)
    _check_source(part, src)
    part.copy_(src)
    return made


def _alone(g: Any) -> Any:
    """A gradient in a storage of its own: what it is a part of may lie before it."""
    return g.contiguous() if g._offset == 0 and g._base is None else g.contiguous() * 1


_STRIDED: Any = primitive(
    "as_strided_scatter", "input, src, size, stride, storage_offset=None", _lay_strided, dtypes="any", grad={
        "input": lambda g, src_shape, size, stride, storage_offset: _STRIDED(
            _alone(g), g.new_zeros(src_shape), size, stride, storage_offset),
        "src": lambda g, size, stride, storage_offset: as_strided(_alone(g), size, stride, storage_offset),
    }, samples=lambda: (S(T(6), T(2, 2), (2, 2), (2, 1), 1), S(T(3, 4), T(3), (3,), (5,))),
    doc="A copy of the input with a strided view of it overwritten.")  # fmt: skip


@composite("as_strided_scatter")
def as_strided_scatter(
    input: Any, src: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Any:
    """A copy with ``src`` where ``as_strided`` looks. Reference: ``torch.as_strided_scatter``."""
    return _STRIDED(input, src, size, stride, storage_offset)
