"""Tensors as text: the same characters as PyTorch, without NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dumbtorch import _dtypes

__all__ = ["get_printoptions", "printoptions", "set_printoptions", "tensor_repr"]


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print: digits after the point, the size above which they are cut, items kept at each edge, width.

    ``profile`` ("default", "short", "full") sets these four first. ``sci_mode`` forces scientific notation on or off;
    None (which every call without it restores) decides by the values. Raises ValueError for an unknown profile.
    Reference: ``torch.set_printoptions``.

    >>> set_printoptions(precision=2)
    >>> tensor([1.12345])
    tensor([1.12])
    >>> set_printoptions(profile="default")
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: unknown profile {profile!r}; there are {', '.join(_PROFILES)}")
        for name, value in _PROFILES[profile].items():
            setattr(_options, name, value)
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, number in given.items():
        if number is not None:
            setattr(_options, name, number)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options as keyword arguments of ``set_printoptions``. Reference: ``torch.get_printoptions``.

    >>> get_printoptions()["edgeitems"]
    3
    """
    return dataclasses.asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Other print options (those of ``set_printoptions``) inside a ``with`` block.

    >>> with printoptions(precision=1):
    ...     print(tensor([0.25]))
    tensor([0.2])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


class _Formatter:
    """The common width and notation of the numbers that are shown."""

    def __init__(self, values: list[Any], floating: bool) -> None:
        self.floating = floating
        self.whole = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max((len(str(value)) for value in values), default=1)
            return
        shown = [value for value in values if value != 0 and math.isfinite(value)]
        if not shown:
            return
        magnitudes = [abs(value) for value in shown]
        low, high = min(magnitudes), max(magnitudes)
        self.whole = all(value == math.floor(value) for value in shown)
        if _options.sci_mode is None:
            self.scientific = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
        else:
            self.scientific = _options.sci_mode
        if self.scientific:
            spec, extra = f".{_options.precision}e", 0
        elif self.whole:
            spec, extra = ".0f", 1  # the point that follows a whole number
        else:
            spec, extra = f".{_options.precision}f", 0
        self.width = max(1, max(len(format(value, spec)) for value in shown) + extra)

    def __call__(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = format(value, f".{_options.precision}e")
        elif self.whole:
            text = format(value, ".0f") + ("." if math.isfinite(value) else "")
        else:
            text = format(value, f".{_options.precision}f")
        return text.rjust(self.width)


class _ComplexFormatter:
    """Both parts of complex numbers, each with its own width."""

    def __init__(self, values: list[complex]) -> None:
        self.real = _Formatter([value.real for value in values], True)
        self.imag = _Formatter([value.imag for value in values], True)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + (imag if imag[0] in "+-" else "+" + imag)


def _edges(t: Any, shape: tuple[int, ...], edge: int) -> Any:
    """The elements at the edges as nested lists: 2 * edge items of each dimension that is longer than that."""
    if not shape:
        return t.tolist()
    size = shape[0]
    cut = size > 2 * edge
    if len(shape) == 1:
        return t[:edge].tolist() + t[size - edge :].tolist() if cut else t.tolist()
    places = [*range(edge), *range(size - edge, size)] if cut else range(size)
    return [_edges(t[i], shape[1:], edge) for i in places]


def _flat(values: Any, ndim: int) -> list[Any]:
    if ndim == 0:
        return [values]
    for _ in range(ndim - 1):
        values = [value for part in values for value in part]
    return list(values)


def _row(values: list[Any], cut: bool, indent: int, form: Any) -> str:
    edge = _options.edgeitems
    if cut and not edge:
        words = ["..."]
    elif cut:
        words = [*map(form, values[:edge]), " ...", *map(form, values[edge:])]
    else:
        words = [form(value) for value in values]
    width = max(1, math.floor((_options.linewidth - indent) / (form.width + 2)))
    lines = [", ".join(words[i : i + width]) for i in range(0, len(words), width)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(values: Any, shape: tuple[int, ...], summarize: bool, indent: int, form: Any) -> str:
    if not shape:
        return str(form(values))
    edge = _options.edgeitems
    # with no edge items nothing of any dimension is shown
    cut = summarize and (shape[0] > 2 * edge or (not edge and len(shape) == 1))
    if len(shape) == 1:
        return _row(values, cut, indent, form)
    parts = [_block(value, shape[1:], summarize, indent + 1, form) for value in values]
    if cut:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


def _contents(t: Any, indent: int) -> str:
    shape = tuple(t.shape)
    edge = _options.edgeitems
    summarize = t._numel > _options.threshold
    values = _edges(t, shape, edge) if summarize else t.tolist()
    flat = _flat(values, len(shape))
    if summarize and not edge and len(shape) == 1:
        flat = t.tolist()  # PyTorch looks at every element here, though it shows none
    kind = t.dtype
    form = _ComplexFormatter(flat) if kind.is_complex else _Formatter(flat, kind.is_floating_point)
    return _block(values, shape, summarize, indent, form)


def _graph_suffix(t: Any) -> str | None:
    try:
        node = t.grad_fn
    except RuntimeError:  # a view whose history can no longer be made
        return "grad_fn=<Invalid>"
    if node is not None:
        return f"grad_fn=<{node.name().rpartition('::')[2]}>"
    return "requires_grad=True" if t.requires_grad else None


def tensor_repr(self: Any, *, tensor_contents: str | None = None) -> str:
    """The text of a tensor: its elements (or ``tensor_contents``), and what is not the default: ``Tensor.__repr__``.

    >>> tensor([1.0, 2.5])
    tensor([1.0000, 2.5000])
    """
    kind = type(self)
    plain = kind.__module__ in ("dumbtorch", "dumbtorch.nn.parameter")
    prefix = "tensor(" if plain else f"{kind.__name__}("
    indent = len(prefix)
    t = self._alias()
    suffixes = _place_suffix(t)
    if t._numel == 0:
        text = "[]"
        if t.ndim != 1:
            suffixes.append(f"size={tuple(t.shape)}")
        shown = t.dtype is not _dtypes.get_default_dtype()
    else:
        text = _contents(t, indent) if tensor_contents is None else tensor_contents
        if not _options.edgeitems:
            suffixes.append(f"size={tuple(t.shape)}")
        shown = not _is_default(t.dtype)
    if shown:
        suffixes.append(f"dtype={t.dtype!r}")
    history = _graph_suffix(self)
    if history is not None:
        suffixes.append(history)
    return _finished(prefix + (text if tensor_contents is None else tensor_contents), suffixes, indent)


def sparse_repr(self: Any) -> str:
    """The text of a sparse tensor: its indices and values, and what is not the default."""
    prefix = "tensor("
    indent = len(prefix)
    parts = []
    for name, t in (("indices", self._indices()), ("values", self._values())):
        text = f"{name}=tensor("
        text += _contents(t, indent + len(text)) if t._numel else f"[], size={tuple(t.shape)}"
        parts.append(text + ")")
    suffixes = _place_suffix(self)
    suffixes += [f"size={tuple(self.shape)}", f"nnz={self._nnz()}"]
    if not _is_default(self.dtype):
        suffixes.append(f"dtype={self.dtype!r}")
    suffixes.append(f"layout={self.layout!r}")
    history = _graph_suffix(self)
    if history is not None:
        suffixes.append(history)
    return _finished(prefix + (",\n" + " " * indent).join(parts), suffixes, indent, newline=True)


def _place_suffix(t: Any) -> list[str]:
    return [f"device='{t.device}'"] if t._device_code != 0 else []


def _is_default(kind: Any) -> bool:
    default = _dtypes.get_default_dtype()
    wide = _dtypes.complex128 if default is _dtypes.float64 else _dtypes.complex64
    return kind in (default, wide, _dtypes.int64, _dtypes.bool)


def _finished(result: str, suffixes: list[str], indent: int, newline: bool = False) -> str:
    """A tensor's text with what follows its elements; with ``newline`` that begins a line."""
    column = len(result) - result.rfind("\n") + 1
    for suffix in suffixes:
        if newline or column + len(suffix) + 2 > _options.linewidth:
            result += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
            newline = False
        else:
            result += ", " + suffix
            column += len(suffix) + 2
    return result + ")"
