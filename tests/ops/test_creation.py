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
