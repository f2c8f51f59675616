"""Tensors made from numbers: each factory function against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch as reference

import dumbtorch as torch

Program = Callable[[Any], Any]

PROGRAMS: dict[str, Program] = {
    "zeros": lambda t: t.zeros(2, 3),
    "zeros of a tuple": lambda t: t.zeros((2, 0), dtype=t.int8),
    "zeros of nothing": lambda t: t.zeros(()),
    "ones": lambda t: t.ones(3, dtype=t.float64, requires_grad=True),
    "full with an int": lambda t: t.full((2, 2), 7),
    "full with a float": lambda t: t.full((2,), 1.5),
    "full with a bool": lambda t: t.full((2,), True),
    "full with a dtype": lambda t: t.full((2,), 1, dtype=t.float16),
    "full with a size": lambda t: t.full(t.ones(2, 3).shape, 3.0),
    "arange of the end": lambda t: t.arange(5),
    "arange of a float": lambda t: t.arange(2.5),
    "arange with a step": lambda t: t.arange(1, 10, 3),
    "arange down": lambda t: t.arange(5, -5, -2),
    "arange of floats": lambda t: t.arange(0, 1, 0.3),
    "arange with a dtype": lambda t: t.arange(3, dtype=t.float64),
    "arange of nothing": lambda t: t.arange(3, 3),
    "linspace": lambda t: t.linspace(-1, 1, 5),
    "linspace of one": lambda t: t.linspace(2, 7, 1),
    "linspace of none": lambda t: t.linspace(2, 7, 0),
    "linspace of ints": lambda t: t.linspace(0, 10, 5, dtype=t.int64),
    "logspace": lambda t: t.logspace(-2, 2, 5),
    "logspace of base 2": lambda t: t.logspace(0, 4, 5, base=2),
    "eye": lambda t: t.eye(3),
    "eye with columns": lambda t: t.eye(2, 4, dtype=t.int32),
    "eye of nothing": lambda t: t.eye(0),
    "tril": lambda t: t.ones(3, 4).tril(-1),
    "triu of a batch": lambda t: t.triu(t.ones(2, 3, 3), 1),
    "tril in place": lambda t: t.ones(3, 3).tril_(),
    "zeros_like": lambda t: t.zeros_like(t.ones(2, 3, dtype=t.int16)),
    "ones_like with a dtype": lambda t: t.ones_like(t.ones(2, 3), dtype=t.bool),
    "full_like": lambda t: t.full_like(t.ones(2, 3), 2.5),
    "new_zeros": lambda t: t.ones(2, dtype=t.float64).new_zeros(2, 3),
    "new_ones": lambda t: t.ones(2, dtype=t.int8).new_ones((4,)),
    "new_full": lambda t: t.ones(2, dtype=t.int8).new_full((4,), 3),
    "new_tensor": lambda t: t.ones(2, dtype=t.float64).new_tensor([1, 2]),
    "tensor of a list": lambda t: t.tensor([[1, 2], [3, 4]]),
    "tensor of floats": lambda t: t.tensor([1.5, 2]),
    "tensor of bools": lambda t: t.tensor([True, False]),
    "tensor of a number": lambda t: t.tensor(3.5),
    "tensor of nothing": lambda t: t.tensor([]),
    "tensor of a tensor": lambda t: t.tensor(3, dtype=t.float64, requires_grad=True),
    "scalar_tensor": lambda t: t.scalar_tensor(3),
    "meshgrid ij": lambda t: t.meshgrid(t.arange(2), t.arange(3), indexing="ij"),
    "meshgrid xy": lambda t: t.meshgrid(t.arange(2), t.arange(3), t.arange(2), indexing="xy"),
    "out": lambda t: t.zeros(2, 2, out=t.ones(2, 2)),
    "arange out": lambda t: t.arange(3, out=t.zeros(3)),
    "arange by keywords": lambda t: t.arange(start=1, end=4, step=2),
    "arange of an end by keyword": lambda t: t.arange(end=3),
    "zeros by keyword": lambda t: t.zeros(size=(2, 3), layout=t.strided, pin_memory=False),
    "ones by keyword": lambda t: t.ones(size=(2,)),
    "new_ones by keyword": lambda t: t.ones(2, dtype=t.int8).new_ones(size=(4,)),
    "linspace of tensors": lambda t: t.linspace(t.tensor(1), t.tensor(2.5), 4),
    "linspace to ints from a fraction": lambda t: t.linspace(4.3, -3, 9, dtype=t.int64),
    "logspace to ints": lambda t: t.logspace(1.2, 4.3, 4, dtype=t.int64),
    "logspace of one": lambda t: t.logspace(1.2, 4.3, 1, dtype=t.int64),
    "vander": lambda t: t.vander(t.tensor([1, 2, 3])),
    "vander of bools": lambda t: t.vander(t.tensor([True, False]), N=3, increasing=True),
    "vander of floats": lambda t: t.vander(t.tensor([1.5, -2.0]), 4),
    "vander of nothing": lambda t: t.vander(t.tensor([1.5, -2.0]), 0),
    "fill": lambda t: t.fill(t.ones(2, dtype=t.int16), 3),
    "hann_window": lambda t: t.hann_window(7, dtype=t.float64),
    "hann_window, symmetric": lambda t: t.hann_window(7, False, requires_grad=True),
    "hamming_window": lambda t: t.hamming_window(6),
    "hamming_window with numbers": lambda t: t.hamming_window(6, False, 0.5, 0.4, dtype=t.float64),
    "blackman_window": lambda t: t.blackman_window(6, periodic=False, dtype=t.float64),
    "bartlett_window": lambda t: t.bartlett_window(6),
    "kaiser_window": lambda t: t.kaiser_window(9, True, 8.0, dtype=t.float64),
    "window of one": lambda t: t.kaiser_window(1),
    "window of none": lambda t: t.hann_window(0),
}


def facts(result: Any) -> Any:
    if isinstance(result, tuple):
        return [facts(item) for item in result]
    return str(result.dtype), tuple(result.shape), result.requires_grad, result.tolist()


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_pytorch(name: str) -> None:
    mine, its = facts(PROGRAMS[name](torch)), facts(PROGRAMS[name](reference))
    if isinstance(mine, tuple):
        assert mine[:3] == its[:3]
        mine_values, its_values = (torch.tensor(v).reshape(-1).tolist() for v in (mine[3], its[3]))
        assert mine_values == pytest.approx(its_values, rel=1e-6)
    else:
        assert mine == its


ERRORS: dict[str, Program] = {
    "negative size": lambda t: t.zeros(-1),
    "step 0": lambda t: t.arange(0, 5, 0),
    "wrong direction": lambda t: t.arange(0, 5, -1),
    "negative steps": lambda t: t.linspace(0, 1, -1),
    "negative eye": lambda t: t.eye(-1),
    "integer with gradient": lambda t: t.zeros(2, dtype=t.int64, requires_grad=True),
    "ragged": lambda t: t.tensor([[1, 2], [3]]),
    "text": lambda t: t.tensor("abc"),
    "nested text": lambda t: t.tensor([1, "a"]),
    "size of text": lambda t: t.zeros("2"),
    "grid of matrices": lambda t: t.meshgrid(t.ones(2, 2), indexing="ij"),
    "dtype of out": lambda t: t.zeros(2, dtype=t.int64, out=t.empty(2)),
    "no layout": lambda t: t.zeros(2, layout=3),
    "no size": lambda t: t.ones(),
    "permuted twice": lambda t: t.empty_permuted((2, 3), (0, 0)),
    "permuted past the end": lambda t: t.empty_permuted((2, 3), (0, 5)),
    "permuted too few": lambda t: t.empty_permuted((2, 3), (0,)),
    "vander of a matrix": lambda t: t.vander(t.ones(2, 2)),
    "vander of less than none": lambda t: t.vander(t.ones(2), -1),
    "window of integers": lambda t: t.hann_window(5, dtype=t.int64),
    "window of less than none": lambda t: t.hann_window(-1),
    "linspace between vectors": lambda t: t.linspace(t.ones(1), t.ones(1), 3),
    "grid of another kind": lambda t: t.meshgrid(t.ones(2), indexing="ab"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    kinds = []
    for framework in (torch, reference):
        with pytest.raises((RuntimeError, TypeError, ValueError, IndexError)) as caught:
            ERRORS[name](framework)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


def test_range() -> None:
    for framework in (torch, reference):
        with pytest.warns(UserWarning, match="torch.range is deprecated"):
            results = [
                framework.range(1, 3),
                framework.range(0, 1, 0.25),
                framework.range(5, 1, -2, dtype=framework.int64),
            ]
        assert [r.tolist() for r in results] == [[1, 2, 3], [0, 0.25, 0.5, 0.75, 1], [5, 3, 1]]
        assert [str(r.dtype) for r in results] == ["torch.float32", "torch.float32", "torch.int64"]


LAYOUTS: dict[str, Program] = {
    "strided": lambda t: t.empty_strided((2, 3), (1, 2)),
    "permuted": lambda t: t.empty_permuted((2, 3, 4), (1, 2, 0)),
    "new strided": lambda t: t.ones(1).new_empty_strided((2, 3), (3, 1)),
    "like a transposed one": lambda t: t.zeros_like(t.ones(2, 3, 4).permute(2, 0, 1)),
    "like a slice": lambda t: t.ones_like(t.ones(4, 6).t()[::2, ::2]),
    "like an expanded one": lambda t: t.empty_like(t.ones(3, 1, 2).expand(3, 4, 2).transpose(0, 2)),
    "like a broadcast number": lambda t: t.rand_like(t.ones(()).expand(2, 3)),
    "full_like": lambda t: t.full_like(t.ones(5, 2).t(), 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_strides(name: str) -> None:
    mine, its = LAYOUTS[name](torch), LAYOUTS[name](reference)
    assert (tuple(mine.shape), mine.stride(), str(mine.dtype)) == (tuple(its.shape), its.stride(), str(its.dtype))


def test_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.ones(2).dtype is torch.float64
        assert torch.tensor([1.5]).dtype is torch.float64
        assert (torch.arange(3) / 2).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError):
        torch.set_default_dtype(torch.int32)


def test_tensor_copies_and_as_tensor_does_not() -> None:
    x = torch.ones(2)
    assert torch.as_tensor(x) is x
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        y = torch.tensor(x)
    y.add_(1)
    assert x.tolist() == [1, 1]


def test_item_and_tolist() -> None:
    assert torch.tensor([[2.5]]).item() == 2.5
    assert torch.tensor([[1, 2], [3, 4]]).t().tolist() == [[1, 3], [2, 4]]
    assert torch.tensor(True).item() is True
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        torch.ones(2).item()
