"""Searching and counting: searchsorted, bucketize, isin, bincount, histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C, _dtypes, return_types
from dumbtorch.ops.results import write_out
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.table import FUNCTIONS, composite, row

# ---------------------------------------------------------------- searching

_FIVE = (-1.5, -0.5, 0.5, 0.5, 1.5)
_SEARCH = row("searchsorted", "sorted_sequence, input, sorter, right, out_int32", function=False, method=False,
    dtypes="number",
    samples=lambda: (S(T(values=[-2, -1, 0, 0, 1, 1]), T(3, 9), None, False, False),
                     S(T(values=[-2, -1, 0, 0, 1, 1]), T(3, 9), None, True, True),
                     S(T(values=[[-2, -1, 1], [0, 1, 1]]), T(2, 4), None, True, False),
                     S(T(values=[-2, -1]), T(), None, False, False)),
    doc="Where each value belongs among sorted boundaries.")  # fmt: skip


def _side(name: str, right: bool, side: str | None) -> bool:
    if side is None:
        return bool(right)
    if side not in ("left", "right"):
        raise RuntimeError(f"torch.{name}(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            f"torch.{name}(): side and right can't be set to opposites, got side of left while right was True"
        )
    return side == "right"


@composite("searchsorted", method=False)
def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
    out: Any = None,
) -> Any:
    """Where each element of ``input`` belongs among the sorted boundaries of its row: the first place, or the last.

    ``sorted_sequence`` has one dimension, or the leading ones of ``input``; ``sorter`` holds the indices that sort it.
    The result is int64, or int32. Reference: ``torch.searchsorted``.
    """
    right = _side("searchsorted", right, side)
    bounds = sorted_sequence
    if not isinstance(input, _C.TensorBase):
        kind = bounds.dtype if isinstance(input, int) or bounds.is_floating_point() else _dtypes.get_default_dtype()
        input = FUNCTIONS["full"]((), input, dtype=kind)
        if bounds.ndim != 1:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but got "
                f"boundaries tensor dim({bounds.ndim})"
            )
    if not bounds.ndim:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if bounds.ndim != 1 and tuple(bounds.shape[:-1]) != tuple(input.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(bounds.shape)} and input "
            f"value tensor {list(input.shape)}"
        )
    if sorter is not None:
        if sorter.shape != bounds.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(bounds.shape)}and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not _dtypes.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.dtype}"
            )
    if out is not None and out.dtype is not (_dtypes.int32 if out_int32 else _dtypes.int64):
        raise RuntimeError(
            "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) depending "
            f"on whether out_int32 flag is True, but we got output tensor's dtype {out.dtype} and out_int32 flag is "
            f"{out_int32}"
        )
    if bounds.dtype is not input.dtype:
        common = _dtypes.result_type(bounds, input)
        bounds, input = bounds.to(common), input.to(common)
    if out is None:
        return _SEARCH(bounds, input, sorter, right, out_int32)
    return _SEARCH(bounds, input, sorter, right, out_int32, out=out)


@composite("bucketize", method=False)
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False, out: Any = None) -> Any:
    """Between which of the sorted boundaries each element lies. Reference: ``torch.bucketize``."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


@composite("isin", method=False)
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False, out: Any = None
) -> Any:
    """Which elements are among the others; with ``invert`` which are not. Reference: ``torch.isin``."""
    if not isinstance(elements, _C.TensorBase) and not isinstance(test_elements, _C.TensorBase):
        raise TypeError("isin(): at least one of elements and test_elements must be a Tensor")
    if not isinstance(elements, _C.TensorBase):
        elements = FUNCTIONS["full"]((), elements, dtype=_dtypes.result_type(test_elements, elements))
    if not isinstance(test_elements, _C.TensorBase):
        test_elements = FUNCTIONS["full"]((), test_elements, dtype=_dtypes.result_type(elements, test_elements))
    common = _dtypes.result_type(elements, test_elements)
    for given in (elements, test_elements):
        if given.is_complex():
            raise RuntimeError(f"Unsupported input type encountered for isin(): {given.dtype}")
        if given.dtype is _dtypes.bool and common is _dtypes.bool:
            raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    elements, test_elements = elements.detach().to(common), test_elements.detach().to(common)
    count = test_elements.numel()
    if not count:
        found = FUNCTIONS["zeros"](tuple(elements.shape), dtype=_dtypes.bool)
    elif count <= 4:
        found = elements == test_elements.reshape(-1)[0]
        for place in range(1, count):
            found = found | (elements == test_elements.reshape(-1)[place])
    else:
        values = test_elements.reshape(-1).sort()[0]
        if common.is_floating_point:  # NaN, the largest, is equal to nothing
            values = values[: int((values == values).sum().item())]
        places = searchsorted(values, elements).clamp(max=max(values.numel() - 1, 0))
        found = values[places] == elements if values.numel() else FUNCTIONS["zeros_like"](elements).to(_dtypes.bool)
    if invert:
        found = found.logical_not()
    return found if out is None else write_out("isin", (out,), (found,))[0]


# ---------------------------------------------------------------- counting

_BINCOUNT = row("bincount", "input, weights=None, minlength=0", out=False, dtypes="int",
    samples=lambda: (S(T(30, low=0, high=5)), S(T(7, low=0, high=3), None, 9), S(T(0)),
                     S(T(30, low=0, high=5), T(30, dtype="float32")), S(T(30, low=0, high=5), T(30, dtype="int64"))),
    errors=lambda: (S(T(3, 4), error="RuntimeError"), S(T(values=[-1], dtype="int64"), error="RuntimeError"),
                    S(T(values=[1], dtype="int64"), None, -1, error="RuntimeError"),
                    S(T(values=[1], dtype="int64"), T(2), error="RuntimeError")),
    doc="How often each of 0, 1, ... comes in a vector; with ``weights`` their sums.")  # fmt: skip
_HISTOGRAM = row("_histogram", "input, edges, weight, lookup", out=False, function=False, method=False, dtypes="single",
    samples=lambda: (S(T(50, 1), [T(values=[-1.0, -0.5, 0.0, 1.0])], None, 2),
                     S(T(50, 2), [T(values=[-1.0, 0.0, 1.0]), T(values=[-1.0, -0.25, 0.5, 1.25])], T(50), 1)),
    doc="Counts (or sums of weights) of the points in the rows of a matrix, by the edges of each coordinate.",
)  # fmt: skip

_LINEAR, _NEAR, _EDGES = 0, 1, 2  # how the bin of a value is found: see mojo/kernels/histogram.mojo


def _number_of_bins(name: str, bins: int, d: int = 0) -> None:
    if bins <= 0:
        raise RuntimeError(f"torch.{name}(): bins must be > 0, but got {bins} for dimension {d}")


@composite("histc")
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Any:
    """Counts of the elements in equal bins from ``min`` to ``max`` (equal: from the smallest to the largest element).

    What lies outside, and NaN, is not counted. Floating point only. Reference: ``torch.histc``.
    """
    if not input.is_floating_point():
        names = {"bool": "Bool", "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte"}
        kind = str(input.dtype).rpartition(".")[2]
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{names.get(kind, kind)}'")
    _number_of_bins("histogram", bins)
    low, high = float(min), float(max)
    data = input.detach().reshape(-1)
    if low == high and data.numel():
        low, high = data.min().item(), data.max().item()
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    kind = input.dtype
    if kind in (_dtypes.float16, _dtypes.bfloat16):
        data = data.to(_dtypes.float32)
    edges = FUNCTIONS["linspace"](low, high, bins + 1, dtype=data.dtype)
    result = _HISTOGRAM(data.reshape(-1, 1), (edges,), None, _LINEAR).to(kind)
    return result if out is None else write_out("histc", (out,), (result,))[0]


@composite("histogram")
def histogram(
    input: Any, bins: Any = 100, *, range: Any = None, weight: Any = None, density: bool = False, out: Any = None
) -> Any:
    """Counts (or sums of ``weight``) in ``bins``, a number of equal ones or a vector of edges: (hist, bin_edges).

    ``density`` divides by the total and the widths of the bins. Reference: ``torch.histogram``.
    """
    many = bins if isinstance(bins, int) else (bins,)
    if not isinstance(bins, int) and range is not None:
        raise TypeError("histogram() received an invalid combination of arguments: edges of bins, and a range")
    flat = input.reshape(-1, 1)
    weights = None if weight is None else weight.reshape(-1)
    hist, edges = _histogramdd("histogram", flat, many, range, weights, density)
    results = (hist, edges[0])
    if out is not None:
        results = write_out("histogram", out, results)
    return return_types.histogram(results)


@composite("histogramdd", method=False)
def histogramdd(input: Any, bins: Any, range: Any = None, weight: Any = None, density: bool = False) -> Any:
    """A histogram of points (..., D) in D dimensions: a pair (hist, bin_edges), the second a tuple.

    ``bins`` is a number, a list of numbers or a list of vectors of edges; ``range`` the lowest and highest edge of
    each dimension, one after the other. Reference: ``torch.histogramdd``.
    """
    if input.ndim < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    points = input.reshape(-1, input.shape[-1])
    weights = weight
    if weight is not None:
        if tuple(weight.shape) != tuple(input.shape[:-1]):
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
                f"excluding its innermost dimension, but got input with shape {list(input.shape)} and weight with "
                f"shape {list(weight.shape)}"
            )
        weights = weight.reshape(-1)
    return return_types.histogramdd(_histogramdd("histogramdd", points, bins, range, weights, density))


def _histogramdd(name: str, points: Any, bins: Any, range_: Any, weight: Any, density: bool) -> tuple[Any, Any]:
    points = points.detach()
    dims = points.shape[1]
    if weight is not None:
        if weight.shape[0] != points.shape[0]:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
                f"excluding its innermost dimension, but got input with shape {list(points.shape)} and weight with "
                f"shape {list(weight.shape)}"
            )
        if weight.dtype is not points.dtype:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same "
                f"dtype, but got input({points.dtype}), and weight({weight.dtype})"
            )
        weight = weight.detach()
    counts: list[Any] = [bins] * dims if isinstance(bins, int) else list(bins)
    if len(counts) != dims:
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    given = [isinstance(b, _C.TensorBase) for b in counts]
    if any(given) and not all(given):
        place = given.index(False)
        raise TypeError(f"expected Tensor as element {place} in argument 1, but got {type(counts[place]).__name__}")
    if all(given):
        edges = []
        for d, vector in enumerate(counts):
            if vector.ndim != 1:
                raise RuntimeError(
                    f"torch.histogramdd: bins tensor should have one dimension, but got {vector.ndim} dimensions in "
                    f"the bins tensor for dimension {d}"
                )
            if vector.dtype is not points.dtype:
                raise RuntimeError(
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
                    f"dtype {points.dtype} and bins for dimension {d} with dtype {vector.dtype}"
                )
            _number_of_bins(name, vector.shape[0] - 1, d)
            edges.append(vector.detach().contiguous())
        lookup = _EDGES
    else:
        ends = _ends(points, range_)
        for d, count in enumerate(counts):
            _number_of_bins(name, count, d)
        edges = [
            FUNCTIONS["linspace"](low, high, count + 1, dtype=points.dtype)
            for (low, high), count in zip(ends, counts, strict=True)
        ]
        lookup = _NEAR
    hist = _HISTOGRAM(points, tuple(edges), weight, lookup)
    if density:
        hist = hist / hist.sum()
        for d, vector in enumerate(edges):
            hist = hist / vector.diff().reshape(-1, *(1,) * (dims - 1 - d))
    return hist, tuple(edges)


def _ends(points: Any, given: Sequence[float] | None) -> list[tuple[float, float]]:
    """The lowest and the highest edge of each dimension."""
    dims = points.shape[1]
    if given is not None:
        if len(given) != 2 * dims:
            raise RuntimeError(
                f"torch.histogramdd: for a {dims}-dimensional histogram range should have {2 * dims} elements, but got "
                f"{len(given)}"
            )
        ends = [(float(given[2 * d]), float(given[2 * d + 1])) for d in range(dims)]
    elif points.shape[0]:
        ends = list(zip(points.amin(0).tolist(), points.amax(0).tolist(), strict=True))
    else:
        ends = [(0.0, 1.0)] * dims
    result = []
    for d, (low, high) in enumerate(ends):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise RuntimeError(f"torch.histogramdd: dimension {d}'s range [{low}, {high}] is not finite")
        if low > high:
            raise RuntimeError(
                f"torch.histogramdd: min should not exceed max, but got min {low} max {high} for dimension {d}"
            )
        # a range of no width gets one
        result.append((low - 0.5, high + 0.5) if low == high else (low, high))
    return result
