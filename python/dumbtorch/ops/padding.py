"""Room around a tensor: constant, reflect, replicate, circular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import TABLE, composite, row

_KINDS = {"reflect": 0, "replicate": 1, "circular": 2}


def _edges_back(g: Any, shape: Any, pad: Sequence[int], kind: int) -> Any:
    """The middle, with what was shown at the edges added to the elements that it is."""
    for n in range(len(pad) // 2):
        left, right, dim = pad[2 * n], pad[2 * n + 1], len(shape) - 1 - n
        size = shape[dim]
        if not left and not right:
            continue
        middle = g.narrow(dim, left, size).clone()
        for start, count in ((0, left), (left + size, right)):
            if not count:
                continue
            edge = g.narrow(dim, start, count)
            if kind == 1:
                place, edge, count = (0 if start == 0 else size - 1), edge.sum(dim, keepdim=True), 1
            elif kind == 0:
                place, edge = (1 if start == 0 else size - 1 - count), edge.flip(dim)
            else:
                place = size - count if start == 0 else 0
            middle.narrow(dim, place, count).add_(edge)
        g = middle
    return g


row("pad_edges", "input, pad, kind", method=False, function=False, out=False, dtypes="number+complex",
    grad={"input": lambda g, input_shape, pad, kind: _edges_back(g, input_shape, pad, kind)}, samples=lambda: (
        S(T(2, 4), (2, 1), 0), S(T(2, 3, 4), (1, 3, 0, 2), 0), S(T(2, 4), (2, 5), 1), S(T(2, 1, 2), (0, 3, 2, 1), 1),
        S(T(2, 4), (4, 1), 2), S(T(2, 3, 4), (1, 2, 3, 0), 2)),
    errors=lambda: (S(T(2, 3), (3, 0), 0, error="RuntimeError"), S(T(2, 3), (4, 0), 2, error="RuntimeError")),
    doc="Room at the ends of the last dimensions, filled by the elements there: 0 reflected, 1 repeated, 2 from the "
        "other end.")  # fmt: skip
_EDGES: Any = TABLE["pad_edges"].op


row("constant_pad_nd", "input, pad, value=0", kernel="pad_constant", method=False, function=False, out=False,
    dtypes="any", grad={"input": lambda g, pad: _CONSTANT(g, [-n for n in pad], 0)},
    samples=lambda: (S(T(2, 3), (1, 2)), S(T(2, 3), (1, 2, 0, 3), 1), S(T(3, 4), (-1, 2, 1, -2)), S(T(2, 0), (1, 1)),
                     S(T(2, 3), (-3, 1, 2, 0)), S(T(), ())),
    errors=lambda: (S(T(2, 3), (-2, -2), error="RuntimeError"), S(T(2, 3), (1, 2, 3), error="RuntimeError")),
    doc="Room filled with one number; negative room cuts.")  # fmt: skip
_CONSTANT: Any = TABLE["constant_pad_nd"].op


@composite("constant_pad_nd", method=False)
def constant(input: Any, pad: Sequence[int], value: Any = 0) -> Any:
    """Room filled with ``value``: ``pad`` holds (left, right) of the last dimension, of the one before, ...

    Negative numbers cut. Reference: ``torch.constant_pad_nd``.
    """
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(pad)} while the input has {input.ndim} dimensions."
        )
    return _CONSTANT(input, tuple(pad), value)


@composite("pad", method=False)
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    """Room around the last dimensions: ``pad`` is (left, right) of the last one, then of the one before, and so on.

    Negative numbers cut. Modes: constant (filled with ``value``, default 0) for any number of dimensions; reflect,
    replicate and circular for the last one to three of 2 to 5. Reference: ``torch.nn.functional.pad``.
    """
    pad = tuple(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        return constant(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _KINDS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    count = len(pad) // 2
    if not (1 <= count <= 3 and input.ndim in (count + 1, count + 2)):
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {input.ndim}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    return _fill_edges(input, pad, mode, count)


def _fill_edges(input: Any, pad: tuple[int, ...], mode: str, count: int) -> Any:
    shape = list(input.shape)
    ndim = len(shape)
    if mode != "circular" and 0 in shape[1 if ndim == count + 2 else 0 :]:
        raise RuntimeError(
            f"Expected {count + 1}D or {count + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {shape}"
        )
    for n in range(count):
        dim, left, right = ndim - 1 - n, pad[2 * n], pad[2 * n + 1]
        size = shape[dim]
        if mode == "reflect" and (left >= size or right >= size):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({left}, {right}) at dimension {dim} of input {shape}"
            )
        if mode == "circular" and (left > size or right > size):
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if size + left + right < (0 if mode == "circular" else 1):
            raise RuntimeError(
                f"input (size {size} in dimension {dim}) is too small. Calculated output size: {size + left + right}"
                + (" Negative padding value is resulting in an empty dimension" if mode == "circular" else "")
            )
    if min(pad) < 0:
        cut, room = [min(n, 0) for n in pad], [max(n, 0) for n in pad]
        if mode == "circular":  # goes round in what is left after cutting
            return _EDGES(constant(input, cut), room, _KINDS[mode])
        return constant(_EDGES(input, room, _KINDS[mode]), cut)
    return _EDGES(input, pad, _KINDS[mode])
