"""Indexing beside PyTorch: dtypes, strides, empty tensors, duplicates, threads, malformed input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dumbtorch as dt
from dumbtorch import ops
from dumbtorch.autograd import gradcheck, gradgradcheck

DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
DTYPES += ("complex64", "complex128")
RNG = np.random.default_rng(0)


def pair(values: Any, dtype: str) -> tuple[Any, Any]:
    """The same numbers for both frameworks."""
    listed = np.asarray(values).tolist()
    shape = np.asarray(values).shape
    return (
        dt.tensor(listed, dtype=getattr(dt, dtype)).reshape(shape),
        torch.tensor(listed, dtype=getattr(torch, dtype)).reshape(shape),
    )


def ints(*shape: int, low: int = 0, high: int = 9) -> np.ndarray:
    return RNG.integers(low, high, shape)


def same(mine: Any, its: Any) -> None:
    assert tuple(mine.shape) == tuple(its.shape)
    assert str(mine.dtype) == str(its.dtype)
    assert mine.tolist() == its.tolist()


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = dt.get_num_threads()
    dt.set_num_threads(request.param)
    yield request.param
    dt.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_every_dtype_and_dimension(dtype: str, dim: int) -> None:
    """Moves know only the size of an element, sums know the dtype; views of every kind."""
    a, A = pair(ints(4, 5, 6), dtype)
    size = a.shape[dim]
    vector, VECTOR = pair(ints(7, high=size), "int64")
    cube, CUBE = pair(ints(3, 4, 5, high=min(4, size)), "int64")
    source_shape = list(a.shape)
    source_shape[dim] = 7
    s, S = pair(ints(*source_shape), dtype)
    c, C = pair(ints(4, 5, 6), dtype)
    for view in (lambda t: t, lambda t: t.transpose(0, 2).contiguous().transpose(0, 2)):
        x, X = view(a), view(A)
        same(x.index_select(dim, vector), X.index_select(dim, VECTOR))
        same(x.index_select(dim, vector.to(dt.int32)), X.index_select(dim, VECTOR.int()))
        same(x.index_add(dim, vector, s), X.index_add(dim, VECTOR, S))
        same(x.gather(dim, cube), X.gather(dim, CUBE))
        same(x.gather(dim, cube.to(dt.int32)), X.gather(dim, CUBE.int()))
        same(x.scatter_add(dim, cube, c), X.scatter_add(dim, CUBE, C))
        same(x.scatter(dim, cube, 1), X.scatter(dim, CUBE, 1))
        same(x.index_copy(dim, vector[:1], s.narrow(dim, 0, 1)), X.index_copy(dim, VECTOR[:1], S.narrow(dim, 0, 1)))
    same(ops.embedding(a[0], vector % 5), torch.embedding(A[0], VECTOR % 5))
    same(a.nonzero(), A.nonzero())
    mask, MASK = pair(ints(5, 6, high=2), "bool")
    same(a.masked_select(mask), A.masked_select(MASK))
    same(a.masked_scatter(mask, c), A.masked_scatter(MASK, C))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3)])
def test_empty(shape: tuple[int, ...]) -> None:
    a, A = pair(np.zeros(shape), "float32")
    none, NONE = pair(np.zeros(0, np.int64), "int64")
    cube, CUBE = pair(np.zeros(shape, np.int64), "int64")
    same(a.index_select(0, none), A.index_select(0, NONE))
    same(a.gather(-1, cube), A.gather(-1, CUBE))
    same(a.scatter_add(0, cube, a), A.scatter_add(0, CUBE, A))
    same(a.nonzero(), A.nonzero())
    same(a[none], A[NONE])
    same(a.cumsum(0), A.cumsum(0))


def test_scalars() -> None:
    a, A = pair(np.float64(3), "float64")
    zero, ZERO = pair(np.int64(0), "int64")
    same(a.index_select(0, zero), A.index_select(0, ZERO))
    same(a.gather(0, zero), A.gather(0, ZERO))
    same(a.scatter(0, zero, 2.5), A.scatter(0, ZERO, 2.5))
    same(a.index_add(0, zero, a), A.index_add(0, ZERO, A))
    same(a.nonzero(), A.nonzero())


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_gather_and_scatter_agree_with_numpy(data: st.DataObject) -> None:
    """Any rank, sizes, dimension and strides."""
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    picked = [data.draw(st.integers(0, n)) for n in shape]
    picked[dim] = data.draw(st.integers(0, 7))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    order = data.draw(st.permutations(range(len(shape))))
    values = rng.integers(-9, 9, shape)
    index = rng.integers(0, shape[dim], picked)
    backwards = np.argsort(order).tolist()
    x = dt.tensor(values.transpose(order).tolist(), dtype=dt.int64).permute(backwards)
    i = dt.tensor(index.tolist(), dtype=dt.int64).reshape(picked)
    expected = torch.tensor(values).gather(dim, torch.tensor(index))
    assert x.gather(dim, i).tolist() == expected.tolist()
    source = rng.integers(-9, 9, picked)
    added = torch.tensor(values).scatter_add(dim, torch.tensor(index), torch.tensor(source))
    s = dt.tensor(source.tolist(), dtype=dt.int64).reshape(picked)
    assert x.scatter_add(dim, i, s).tolist() == added.tolist()
    written = x.scatter(dim, i, s)
    # of several values for one place, one of them
    again = written.gather(dim, i)
    for place in np.ndindex(*picked):
        along = list(place)
        k = dim % len(shape)
        others = [tuple(along[:k] + [j] + along[k + 1 :]) for j in range(picked[dim])]
        rivals = [source[other] for other in others if index[other] == index[place]]
        assert again[place].item() in rivals


def test_duplicates_add_up_alike_for_any_number_of_threads(threads: int) -> None:
    rng = np.random.default_rng(1)
    index = dt.tensor(rng.integers(0, 50, 3000).tolist())
    rows = dt.tensor(rng.standard_normal((3000, 24)).tolist())
    got = dt.zeros(50, 24).index_add_(0, index, rows)
    expected = np.zeros((50, 24), np.float32)
    np.add.at(expected, np.asarray(index.tolist()), rows.numpy())
    assert got.tolist() == expected.tolist()  # the same order of additions, so the same bits
    spread = index.unsqueeze(1).expand(3000, 24)
    assert dt.zeros(50, 24).scatter_add_(0, spread, rows).tolist() == expected.tolist()
    weight = dt.zeros(50, 24, requires_grad=True)
    (ops.embedding(weight, index) * rows).sum().backward()
    assert weight.grad.tolist() == expected.tolist()


def test_large_moves_in_threads(threads: int) -> None:
    rng = np.random.default_rng(2)
    table = rng.standard_normal((300, 130)).astype(np.float32)
    index = rng.integers(0, 300, 700)
    x, i = dt.from_numpy(table), dt.from_numpy(index)
    assert np.array_equal(x.index_select(0, i).numpy(), table[index])
    assert np.array_equal(x.t().index_select(1, i).numpy(), table.T[:, index])
    assert np.array_equal(x[i].numpy(), table[index])
    flags = rng.random((300, 700)) < 0.3
    assert np.array_equal(dt.from_numpy(flags).nonzero().numpy(), np.argwhere(flags))
    mask = rng.random((300, 130)) < 0.5
    assert np.array_equal(x.masked_select(dt.from_numpy(mask)).numpy(), table[mask])


def test_assignment_by_a_tensor() -> None:
    """x[i] = v beside PyTorch: numbers, broadcast tensors, negative and repeated indices, views, gradients."""
    for index in ([0, 2], [-1, 1], [[0], [-3]], []):
        for value in (7, 2.5, [1.0, 2.0], [[1.0, 2.0]]):
            for turned in (False, True):
                results = []
                for m in (dt, torch):
                    x = m.arange(6.0).reshape(2, 3).t() if turned else m.arange(6.0).reshape(3, 2)
                    i = m.tensor(index, dtype=m.int64)
                    x[i] = m.tensor(value) if isinstance(value, list) else value
                    results.append(x.tolist())
                assert results[0] == results[1], (index, value, turned)
    grads = []
    for m in (dt, torch):
        x, v = m.ones(4, 2, requires_grad=True), m.ones(2, requires_grad=True)
        y = x * 3
        y[m.tensor([1, -1])] = v
        (y * y).sum().backward()
        grads.append((x.grad.tolist(), v.grad.tolist()))
    assert grads[0] == grads[1]
    x = dt.zeros(3, 2)
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        x[dt.tensor([0, 3])] = 1.0
    with pytest.raises(IndexError, match="dimension 1 with size 2"):
        x[:, dt.tensor([-3])] = 1.0
    with pytest.raises(RuntimeError, match="shape mismatch"):
        x[dt.tensor([0, 1])] = dt.ones(3)
    assert x.tolist() == dt.zeros(3, 2).tolist()


ERRORS: list[tuple[str, Callable[[Any], Any]]] = [
    ("select", lambda m: m.zeros(5, 3).index_select(0, m.tensor([0, 5]))),
    ("select negative", lambda m: m.zeros(5, 3).index_select(0, m.tensor([-1]))),
    ("select rank", lambda m: m.zeros(5, 3).index_select(0, m.tensor([[1]]))),
    ("select dtype", lambda m: m.zeros(5, 3).index_select(0, m.tensor([1.0]))),
    ("select int8", lambda m: m.zeros(5, 3).index_select(0, m.tensor([1], dtype=m.int8))),
    ("select scalar", lambda m: m.tensor(3.0).index_select(0, m.tensor([0, 0]))),
    ("gather", lambda m: m.zeros(5, 3).gather(0, m.tensor([[5, 0, 0]]))),
    ("gather negative", lambda m: m.zeros(5, 3).gather(0, m.tensor([[-1, 0, 0]]))),
    ("gather rank", lambda m: m.zeros(5, 3).gather(0, m.tensor([0]))),
    ("gather size", lambda m: m.zeros(5, 3).gather(0, m.zeros(2, 4, dtype=m.int64))),
    ("gather dtype", lambda m: m.zeros(5, 3).gather(0, m.zeros(2, 3))),
    ("scatter", lambda m: m.zeros(5, 3).scatter(0, m.tensor([[5, 0, 0]]), m.zeros(1, 3))),
    ("scatter size", lambda m: m.zeros(5, 3).scatter(0, m.zeros(2, 4, dtype=m.int64), m.zeros(2, 4))),
    ("scatter src", lambda m: m.zeros(5, 3).scatter(0, m.zeros(2, 3, dtype=m.int64), m.zeros(1, 3))),
    ("scatter dtype", lambda m: m.zeros(5, 3).scatter(0, m.zeros(2, 3, dtype=m.int64), m.zeros(2, 3, dtype=m.float64))),
    ("add count", lambda m: m.zeros(5, 3).index_add(0, m.tensor([1, 1]), m.zeros(1, 3))),
    ("add shape", lambda m: m.zeros(5, 3).index_add(0, m.tensor([1]), m.zeros(1, 2))),
    ("add index", lambda m: m.zeros(5, 3).index_add(0, m.tensor([5]), m.zeros(1, 3))),
    ("add dtype", lambda m: m.zeros(5, 3).index_add(0, m.tensor([1]), m.zeros(1, 3, dtype=m.float64))),
    ("copy", lambda m: m.zeros(5, 3).index_copy(0, m.tensor([5]), m.zeros(1, 3))),
    ("copy count", lambda m: m.zeros(5, 3).index_copy(0, m.tensor([1, 1]), m.zeros(1, 3))),
    ("rows", lambda m: m.zeros(5, 3)[m.tensor([5])]),
    ("rows negative", lambda m: m.zeros(5, 3)[m.tensor([0, -6])]),
    ("take", lambda m: m.zeros(5).take(m.tensor([5]))),
    ("masked_scatter", lambda m: m.zeros(3).masked_scatter(m.ones(3, dtype=m.bool), m.zeros(2))),
    ("cumsum", lambda m: m.zeros(3).cumsum(1)),
]


@pytest.mark.parametrize(("name", "function"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors_are_pytorchs(name: str, function: Callable[[Any], Any]) -> None:
    """The same exception; and where the numbers matter, they are in the message."""
    with pytest.raises((RuntimeError, IndexError)) as theirs:
        function(torch)
    with pytest.raises((RuntimeError, IndexError)) as ours:
        function(dt)
    assert type(ours.value) is type(theirs.value)
    if "out of bounds for dimension 0" in str(theirs.value) or "apart from" in str(theirs.value):
        assert str(ours.value) == str(theirs.value)


def test_a_refused_write_changes_nothing() -> None:
    x = dt.arange(6.0).reshape(2, 3)
    before = x.tolist()
    for write in (
        lambda: x.scatter_(0, dt.tensor([[0, 1, 2]]), 9.0),
        lambda: x.index_add_(0, dt.tensor([0, 2]), dt.ones(2, 3)),
        lambda: x.index_copy_(0, dt.tensor([0, -1]), dt.ones(2, 3)),
        lambda: x.masked_scatter_(dt.ones(2, 3, dtype=dt.bool), dt.ones(5)),
    ):
        with pytest.raises((RuntimeError, IndexError)):
            write()
        assert x.tolist() == before


def test_embedding_errors() -> None:
    weight = dt.zeros(5, 3)
    for bad in ([5], [-1]):
        with pytest.raises(IndexError, match="index out of range in self"):
            ops.embedding(weight, dt.tensor(bad))
    with pytest.raises(RuntimeError, match="scalar types: Long, Int"):
        ops.embedding(weight, dt.tensor([1.0]))
    with pytest.raises(RuntimeError, match="2-D"):
        ops.embedding(dt.zeros(5), dt.tensor([1]))
    back = ops.TABLE["embedding_backward"].op
    with pytest.raises(IndexError):
        back(dt.zeros(4, 3), dt.tensor([0, 1, 2, 3]), 3)
    with pytest.raises(RuntimeError):
        back(dt.zeros(4, 3), dt.tensor([0, 1, 2, 3]), -1)


def test_embedding_padding_and_frequency() -> None:
    index = [[1, 1, 0], [2, 1, 4]]
    for padding, scaled in ((-1, False), (1, False), (-1, True), (2, True)):
        w = dt.ones(5, 2, dtype=dt.float64, requires_grad=True)
        ops.embedding(w, dt.tensor(index), padding, scaled).sum().backward()
        W = torch.ones(5, 2, dtype=torch.float64, requires_grad=True)
        torch.embedding(W, torch.tensor(index), padding, scaled).sum().backward()
        np.testing.assert_allclose(w.grad.tolist(), W.grad.tolist(), rtol=1e-12)
        i = dt.tensor(index)
        g = dt.rand(2, 3, 2, dtype=dt.float64).requires_grad_()
        back = ops.TABLE["embedding_backward"].op
        assert gradcheck(lambda g: back(g, i, 5, padding, scaled), (g,))  # noqa: B023
        assert gradgradcheck(lambda g: back(g, i, 5, padding, scaled), (g,))  # noqa: B023


def test_overlap_is_refused() -> None:
    x = dt.zeros(1, 3).expand(4, 3)
    with pytest.raises(RuntimeError, match="single memory location"):
        x.scatter_(0, dt.zeros(1, 3, dtype=dt.int64), 1.0)
    y = dt.zeros(6)
    with pytest.raises(RuntimeError, match="single memory location"):
        y[:4].index_copy_(0, dt.tensor([0, 1]), y[3:5])


def test_out() -> None:
    x, i = dt.arange(6.0).reshape(3, 2), dt.tensor([2, 0])
    out = dt.empty(0)
    assert dt.index_select(x, 0, i, out=out) is out
    assert out.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    for wrong in (x, x[:2], dt.empty(2, 2, dtype=dt.float64), dt.empty(1, 2).expand(2, 2)):
        with pytest.raises(RuntimeError):
            dt.index_select(x, 0, i, out=wrong)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"])
def test_running_sums(dtype: str) -> None:
    a, A = pair(ints(5, 37, 3, high=3), dtype)
    for dim in (0, 1, 2):
        same(a.cumsum(dim), A.cumsum(dim))
        same(a.transpose(0, 1).cumsum(dim), A.transpose(0, 1).cumsum(dim))
    same(a.clone().cumsum_(1), A.clone().cumsum_(1))
    same(a.cumsum(1, dtype=dt.complex128), A.cumsum(1, dtype=torch.complex128))


def test_running_sums_in_threads(threads: int) -> None:
    x = RNG.standard_normal((200, 300))
    t = dt.from_numpy(x)
    for dim in (0, 1):
        np.testing.assert_allclose(t.cumsum(dim).numpy(), x.cumsum(dim), rtol=1e-12, atol=1e-12)
