"""Builds a row's samples for dumbtorch and for PyTorch, and compares what comes out."""

from __future__ import annotations

import functools
import itertools
import math
import os
from typing import Any

import numpy as np
import torch

import dumbtorch
from dumbtorch import ops
from dumbtorch.ops.samples import DTYPES, S, T

#: Where our side computes: pytest's option --device.
DEVICE = os.environ.get("DUMBTORCH_TEST_DEVICE", "cpu")
HALVES = ("float16", "bfloat16")
COMPLEX = ("complex64", "complex128")
#: The dtypes that carry gradient.
FLOATS = ("float16", "bfloat16", "float32", "float64", *COMPLEX)
#: (rtol, atol) of values; gradients get ten times as much.
TOLERANCE = {
    "float16": (4e-3, 4e-3), "bfloat16": (3e-2, 3e-2), "float32": (2e-5, 2e-5), "float64": (1e-9, 1e-9),
    "complex32": (4e-3, 4e-3), "complex64": (2e-5, 2e-5), "complex128": (1e-9, 1e-9),
}  # fmt: skip
LAYOUTS = ("contiguous", "strided", "transposed")
#: Rows that read the storage itself: other strides mean another result, or none.
CONTIGUOUS_ONLY = ("_histogram", "view", "as_strided", "as_strided_scatter", "view_as_complex")


def layout_of(tensor: Any, layout: str, empty: Any) -> Any:
    """The same values laid out otherwise; the same code for both frameworks."""
    if layout == "contiguous":
        return tensor
    if layout == "transposed":
        if tensor.ndim < 2:
            return tensor
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if tensor.ndim == 0:
        room = empty((3,), dtype=tensor.dtype)
        view = room[1]
    else:
        room = empty((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1), dtype=tensor.dtype)
        view = room[..., 1::2]
    view.copy_(tensor)
    return view


def layouts(name: str) -> tuple[str, ...]:
    """The layouts that a row's inputs are tried in."""
    return LAYOUTS[:1] if name in CONTIGUOUS_ONLY else LAYOUTS


def values_of(spec: T, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Numbers in the range that a sample asks for, in float64, complex128 or int64.

    The imaginary parts of complex ones lie in the same range."""
    if spec.values is not None:
        return np.asarray(spec.values)
    count = math.prod(spec.shape)
    low, high = spec.low, spec.high
    if dtype == "uint8":
        low = max(low, 0)
    high = max(low, high)
    if spec.distinct:
        values = np.linspace(low, high, count) if count else np.zeros(0)
        values = rng.permutation(values)
    else:
        values = rng.uniform(low, high, count)
    if dtype in COMPLEX:
        values = values + 1j * rng.uniform(low, high, count)
    elif dtype == "bool":
        values = values > (low + high) / 2
    elif dtype not in FLOATS:
        values = np.floor(values).astype(np.int64) if low >= 0 else np.rint(values).astype(np.int64)
        if low >= 0.5:
            values = np.maximum(values, 1)
    return values.reshape(spec.shape)


class Pair:
    """One sample as arguments of both frameworks, made of the same numbers."""

    def __init__(self, sample: S, dtype: str, layout: str = "contiguous", grad: bool = False, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype, self.layout, self.grad = dtype, layout, grad
        self.ours_leaves: list[Any] = []
        self.theirs_leaves: list[Any] = []
        self.ours: list[Any] = []
        self.theirs: list[Any] = []
        for arg in sample.args:
            mine, its = self._make(arg)
            self.ours.append(mine)
            self.theirs.append(its)
        self.kwargs, self.their_kwargs = {}, {}
        for name, arg in sample.kwargs.items():
            self.kwargs[name], self.their_kwargs[name] = self._make(arg)

    def _make(self, arg: Any) -> tuple[Any, Any]:
        if isinstance(arg, list):
            pairs = [self._make(item) for item in arg]
            return [mine for mine, _ in pairs], [its for _, its in pairs]
        if not isinstance(arg, T):
            return arg, arg
        dtype = arg.dtype or self.dtype
        values = values_of(arg, dtype, self.rng)
        # through Python numbers: exact, and independent of either framework's reading of arrays
        own = getattr(dumbtorch, dtype)
        mine = dumbtorch.tensor(values.tolist(), dtype=own, device=DEVICE).reshape(values.shape)
        its = torch.tensor(values.tolist(), dtype=getattr(torch, dtype)).reshape(values.shape)
        mine = layout_of(mine, self.layout, functools.partial(dumbtorch.empty, device=DEVICE)).detach()
        its = layout_of(its, self.layout, torch.empty).detach()
        if self.grad and arg.grad and dtype in FLOATS:
            mine.requires_grad_()
            its.requires_grad_()
            self.ours_leaves.append(mine)
            self.theirs_leaves.append(its)
        return mine, its


def listed(tensor: Any) -> np.ndarray:
    """A tensor of either framework as an array of float64 or complex128 (or its integers)."""
    name = str(tensor.dtype).removeprefix("torch.")
    framework = torch if isinstance(tensor, torch.Tensor) else dumbtorch
    if name in HALVES:
        tensor = tensor.to(framework.float64)
    return np.asarray(tensor.detach().tolist()).reshape(tuple(tensor.shape))


def flat(result: Any) -> list[Any]:
    """The tensors of a result."""
    if isinstance(result, (tuple, list)):
        return list(itertools.chain.from_iterable(map(flat, result)))
    return [result]


def compare(mine: Any, its: Any, dtype: str, factor: float = 1.0, what: str = "") -> None:
    """Same shape, same dtype, close values."""
    ours, theirs = flat(mine), flat(its)
    assert len(ours) == len(theirs), f"{what}: {len(ours)} results instead of {len(theirs)}"
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert isinstance(a, dumbtorch.Tensor), f"{what}: result {place} is {type(a)}"
        assert tuple(a.shape) == tuple(b.shape), f"{what}: shape {tuple(a.shape)} instead of {tuple(b.shape)}"
        assert str(a.dtype) == str(b.dtype), f"{what}: dtype {a.dtype} instead of {b.dtype}"
        rtol, atol = TOLERANCE.get(dtype if dtype in TOLERANCE else str(b.dtype).removeprefix("torch."), (2e-5, 2e-5))
        np.testing.assert_allclose(listed(a), listed(b), rtol=rtol * factor, atol=atol * factor, err_msg=what)


def cases(floats_only: bool = False) -> list[tuple[str, int, str]]:
    """Every (row, number of sample, dtype) that the table declares."""
    made = []
    for name, row in ops.TABLE.items():
        for number, sample in enumerate(row.samples() if row.samples else ()):
            for dtype in DTYPES[row.dtypes]:
                if sample.only and dtype not in DTYPES[sample.only]:
                    continue
                if not floats_only or dtype in FLOATS:
                    made.append((name, number, dtype))
    return made


def sample_of(name: str, number: int) -> S:
    """A row's sample by its number."""
    return list(ops.TABLE[name].samples())[number]
