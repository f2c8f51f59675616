"""x[...] and x[...] = y against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch as reference

import dumbtorch as torch

# A list of lists, which PyTorch takes as a tuple of indices and warns of; dumbtorch takes it the same way, silently.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")


def keys(t: Any) -> list[Any]:
    """Everything that an index may be, for a tensor of shape (3, 4, 5)."""
    i, j = t.tensor([0, 2, 1]), t.tensor([[1], [0]])
    mask3, mask2 = t.arange(60).reshape(3, 4, 5) % 7 == 0, t.arange(12).reshape(3, 4) % 5 == 0
    row = t.tensor([True, False, True])
    return [
        1, -1, slice(None), slice(1, None), slice(None, None, 2), Ellipsis, None, (), (1, 2), (1, slice(None), -1),
        (Ellipsis, 0), (slice(None), None, 1), (None, Ellipsis, None), (slice(0, 0),), (0, Ellipsis, slice(1, 4, 2)),
        i, [0, 2], [[0, 1], [2, 0]], (i, 1), (slice(None), i), (i, i), (i, slice(None), i), (slice(None), i, i),
        (Ellipsis, i), (j, i), (slice(1, 3), [0, 1], None), (None, i, 0), t.tensor(1), (t.tensor(1), t.tensor(2)),
        mask3, mask2, row, (row, 0), (slice(None), t.tensor([True, False, True, True])), (mask2, slice(1, 3)),
        (row, [0, 1]), True, False, (True, 1), t.tensor([-1, -3]), t.tensor([], dtype=t.int64),
        (0, t.tensor([[0, 3], [1, 2]]), slice(None, None, 3)), range(2), (i.to(t.int32), i.to(t.uint8) * 0 == 1)[0],
    ]  # fmt: skip


COUNT = len(keys(reference))


@pytest.mark.parametrize("number", range(COUNT))
def test_read(number: int) -> None:
    for permuted in (False, True):
        mine, its = (
            t.arange(60, dtype=t.float32).reshape(5, 4, 3).permute(2, 1, 0) if permuted
            else t.arange(60, dtype=t.float32).reshape(3, 4, 5)
            for t in (torch, reference)
        )  # fmt: skip
        a, b = mine[keys(torch)[number]], its[keys(reference)[number]]
        assert tuple(a.shape) == tuple(b.shape)
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("number", range(COUNT))
def test_write(number: int) -> None:
    for permuted in (False, True):
        made = []
        for t in (torch, reference):
            x = t.arange(60, dtype=t.float32).reshape(3, 4, 5)
            if permuted:
                x = t.arange(60, dtype=t.float32).reshape(5, 4, 3).permute(2, 1, 0)
            key = keys(t)[number]
            x[key] = -7
            x[key] = t.ones(()) * 3
            value = x[key]
            # values that do not depend on the order of repeated writes
            x[key] = value * 2 if value.numel() else value
            made.append(x.tolist())
        assert made[0] == made[1]


@pytest.mark.parametrize("number", range(COUNT))
def test_gradients(number: int) -> None:
    grads = []
    for t in (torch, reference):
        x = t.arange(60, dtype=t.float64).reshape(3, 4, 5).requires_grad_()
        y = x[keys(t)[number]]
        (y * y).sum().backward()
        grads.append(x.grad.reshape(-1).tolist())
    assert grads[0] == grads[1]


@pytest.mark.parametrize(
    "key",
    [
        3, (0, 4), (0, 0, 0, 0), (0, 0, 5), "a", 1.5, [0, 3], (Ellipsis, [7]), ([0, 1], [0, 1, 2]), [True, False],
    ],
)  # fmt: skip
def test_errors(key: Any) -> None:
    kinds = []
    for t in (torch, reference):
        x = t.zeros(3, 4, 5)
        with pytest.raises((IndexError, TypeError, RuntimeError)) as caught:
            x[key]
        kinds.append(caught.type)
        with pytest.raises((IndexError, TypeError, RuntimeError)):
            x[key] = 1
    assert kinds[0] is kinds[1]


def test_values_of_other_kinds() -> None:
    for t in (torch, reference):
        x = t.zeros(2, 3)
        x[0] = t.tensor([1, 2, 3])
        x[1] = t.tensor([[4.0, 5.0, 6.0]], dtype=t.float64)
        assert x.tolist() == [[1, 2, 3], [4, 5, 6]]
        x[:, 1:] = t.tensor([[1.0], [2.0]])
        assert x.tolist() == [[1, 1, 1], [4, 2, 2]]
        x[[0, 1], [0, 0]] = t.tensor([8.0, 9.0])
        assert x.tolist() == [[8, 1, 1], [9, 2, 2]]
        with pytest.raises(RuntimeError):
            x[0] = t.ones(2)
        with pytest.raises((RuntimeError, IndexError)):
            x[[0, 1]] = t.ones(5)


def test_iteration_and_membership() -> None:
    x = torch.arange(6).reshape(2, 3)
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    assert 4 in x and 9 not in x
    assert len(x) == 2
    with pytest.raises(TypeError, match="0-d"):
        iter(torch.tensor(1))
    with pytest.raises(TypeError):
        len(torch.tensor(1))
    assert [1, 2, 3][torch.tensor(1)] == 2
    assert bool(torch.tensor([1.0])) and not bool(torch.tensor(0))
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(torch.ones(2))
