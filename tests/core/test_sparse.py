"""Sparse tensors (COO) beside PyTorch: their parts, what ops make of them, how they print, copy and pickle."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

torch.sparse.check_sparse_tensor_invariants.disable()  # said aloud, it does not warn
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")

Function = Callable[[Any], Any]
REAL = ("uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
#: (shape, sparse dimensions, number of indices)
SHAPES = [
    ((4, 3), 2, 5), ((4, 3), 1, 6), ((5,), 1, 4), ((2, 3, 4), 2, 7), ((2, 3, 4), 3, 9), ((3, 1, 2), 1, 3),
    ((4, 3), 2, 1), ((4, 3), 2, 0), ((3, 0), 1, 2), ((), 0, 3), ((0, 3), 2, 0), ((70, 60), 2, 4000),
    ((900, 33), 1, 2000),
]  # fmt: skip


def parts(shape: Any, split: int, count: int, dtype: str = "float32", seed: int = 0) -> tuple[Any, Any]:
    """Indices, some of them repeated, and values: NumPy arrays."""
    random = np.random.default_rng(seed + count)
    indices = np.stack([random.integers(0, max(n, 1), count) for n in shape[:split]]) if split else np.zeros((0, count))
    values = random.integers(0, 5, (count, *shape[split:])).astype("float64")
    if dtype in COMPLEX:
        values = values + 1j * random.integers(0, 5, values.shape)
    return indices.astype("int64"), values


def made(t: Any, shape: Any, split: int, count: int, dtype: str = "float32", seed: int = 0, **options: Any) -> Any:
    """The same sparse tensor in either framework."""
    indices, values = parts(shape, split, count, dtype, seed)
    kind = getattr(t, dtype)
    return t.sparse_coo_tensor(t.tensor(indices), t.tensor(values).to(kind), shape, check_invariants=True, **options)


def dense(t: Any, *shape: int, dtype: str = "float32", seed: int = 3) -> Any:
    """The same dense tensor in either framework."""
    values = np.random.default_rng(seed).integers(-4, 5, shape).astype("float64")
    return t.tensor(values).to(getattr(t, dtype))


def array(x: Any) -> Any:
    """A dense tensor's elements, in a dtype that NumPy has."""
    wide = "complex128" if x.is_complex() else "float64"
    return x.detach().to(getattr(dumbtorch if isinstance(x, dumbtorch.Tensor) else torch, wide)).numpy()


def check(mine: Any, its: Any, exact: bool = True) -> None:
    """The same tensor: layout, shape, dtype, and where it is coalesced the same indices and values."""
    assert isinstance(mine, dumbtorch.Tensor) and isinstance(its, torch.Tensor)
    assert str(mine.layout) == str(its.layout) and str(mine.dtype) == str(its.dtype)
    assert tuple(mine.shape) == tuple(its.shape)
    if not its.is_sparse:
        np.testing.assert_allclose(array(mine), array(its), rtol=1e-6 if exact else 1e-2)
        return
    assert (mine.sparse_dim(), mine.dense_dim()) == (its.sparse_dim(), its.dense_dim())
    if mine.is_coalesced() and its.is_coalesced():
        np.testing.assert_array_equal(array(mine.indices()), array(its.indices()))
        np.testing.assert_allclose(array(mine.values()), array(its.values()), rtol=1e-6 if exact else 1e-2)
    np.testing.assert_allclose(array(mine.to_dense()), array(its.to_dense()), rtol=1e-6 if exact else 1e-2)


def compare(function: Function, exact: bool = True) -> None:
    """Both frameworks compute the same, or raise errors of the same type."""
    try:
        its = function(torch)
    except Exception as error:
        with pytest.raises(type(error)):
            function(dumbtorch)
        return
    check(function(dumbtorch), its, exact)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("dtype", ["bool", *REAL, *COMPLEX])
@pytest.mark.parametrize(("shape", "split", "count"), SHAPES)
def test_parts(shape: Any, split: int, count: int, dtype: str) -> None:
    mine, its = (made(t, shape, split, count, dtype) for t in (dumbtorch, torch))
    assert mine.is_sparse and mine.layout is dumbtorch.sparse_coo
    assert (mine._nnz(), mine.is_coalesced()) == (its._nnz(), its.is_coalesced())
    np.testing.assert_array_equal(array(mine._indices()), array(its._indices()))
    np.testing.assert_array_equal(array(mine._values()), array(its._values()))
    assert str(mine._indices().dtype) == "torch.int64"
    check(mine.coalesce(), its.coalesce(), exact=dtype not in ("float16", "bfloat16"))
    assert mine.coalesce().is_coalesced() and mine.coalesce()._nnz() == its.coalesce()._nnz()
    check(mine, its, exact=dtype not in ("float16", "bfloat16"))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "complex32"])
def test_dtypes_that_pytorch_can_do_less_with(dtype: str) -> None:
    s = made(dumbtorch, (5, 3), 1, 6, "float32").to(getattr(dumbtorch, dtype))
    want = array(made(torch, (5, 3), 1, 6, "float32").to_dense())
    np.testing.assert_array_equal(array(s.to_dense()), want)
    np.testing.assert_array_equal(array(s.coalesce().to_dense()), want)
    np.testing.assert_array_equal(array(s.sparse_mask(s.coalesce()).to_dense()), want)


def test_making() -> None:
    i, v = [[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0]
    compare(lambda t: t.sparse_coo_tensor(i, v))
    compare(lambda t: t.sparse_coo_tensor(i, v, (2, 4), dtype=t.float64))
    compare(lambda t: t.sparse_coo_tensor(t.tensor(i, dtype=t.int32), t.tensor(v), t.Size([2, 3])))
    compare(lambda t: t.sparse_coo_tensor(t.tensor(i).double(), v, [2, 3]))
    compare(lambda t: t.sparse_coo_tensor((2, 3)))
    compare(lambda t: t.sparse_coo_tensor(size=(2, 3), dtype=t.int16))
    compare(lambda t: t.sparse_coo_tensor(t.zeros(2, 0), t.zeros(0)))
    compare(lambda t: t.zeros(2, 3, layout=t.sparse_coo))
    compare(lambda t: t.empty((2, 3), layout=t.sparse_coo, dtype=t.float64))
    s = dumbtorch.sparse_coo_tensor(i, v, (2, 3), is_coalesced=True, requires_grad=True)
    assert s.is_coalesced() and s.requires_grad and s.is_leaf
    assert s._indices().tolist() == i and s.values().tolist() == v


@pytest.mark.parametrize(
    "function",
    [
        lambda t: t.sparse_coo_tensor([[0, 1], [0, 1]], [1.0, 2.0], (2,)),
        lambda t: t.sparse_coo_tensor([[0, 1]], [1.0, 2.0, 3.0], (2,)),
        lambda t: t.sparse_coo_tensor([[0, 1]], t.ones(2, 4), (2, 5)),
        lambda t: t.sparse_coo_tensor([[0, 2]], [1.0, 2.0], (2,), check_invariants=True),
        lambda t: t.sparse_coo_tensor([[0, -1]], [1.0, 2.0], (2,), check_invariants=True),
        lambda t: t.sparse_coo_tensor([[1, 0]], [1.0, 2.0], (2,), is_coalesced=True, check_invariants=True),
        lambda t: t.sparse_coo_tensor(t.zeros(1, 2, 3), [1.0, 2.0], (2,)),
        lambda t: t.sparse_coo_tensor([[0, 1]], [1, 2], (2,), requires_grad=True),
        lambda t: t.sparse_coo_tensor(t.tensor([[0, 1]])),
        lambda t: t.sparse_coo_tensor([[0]], [1.0], (-1,)),
        lambda t: t.ones(2, layout=t.sparse_coo),
        lambda t: made(t, (4, 3), 1, 6).indices(),
        lambda t: made(t, (4, 3), 1, 6).values(),
        lambda t: t.ones(2).indices(),
        lambda t: t.ones(2).values(),
        lambda t: t.ones(2)._nnz(),
        lambda t: t.ones(2).coalesce(),
        lambda t: t.ones(2, 2).to_sparse(0),
        lambda t: t.ones(2, 2).to_sparse(3),
    ],
)
def test_errors_of_making(function: Function) -> None:
    with pytest.raises(Exception) as its:
        function(torch)
    with pytest.raises(its.type if its.type is not NotImplementedError else RuntimeError):
        function(dumbtorch)


def test_indices_out_of_range_never_reach_memory() -> None:
    with pytest.raises(RuntimeError, match="size is 2 but found index 7"):
        dumbtorch.sparse_coo_tensor([[7]], [1.0], (2,))
    s = dumbtorch.sparse_coo_tensor([[7]], [1.0], (2,), check_invariants=False)
    for use in (s.to_dense, lambda: dumbtorch.ones(2).add_(s), lambda: dumbtorch.ones(2).sparse_mask(s)):
        with pytest.raises((RuntimeError, IndexError)):
            use()


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (5,), (), (0, 3), (3, 0)])
def test_to_sparse(shape: Any) -> None:
    for split in ((), *((n,) for n in range(len(shape) + 1))):
        compare(lambda t, split=split: (dense(t, *shape) * (dense(t, *shape) > 0)).to_sparse(*split))
    compare(lambda t: dense(t, *shape).mT.to_sparse() if len(shape) > 1 else dense(t, *shape).to_sparse())
    t = dumbtorch.ones(2)
    assert t.to_dense() is t and (t.sparse_dim(), t.dense_dim()) == (0, 1)


# ---------------------------------------------------------------- ops

A, B = ((4, 3), 2, 5), ((4, 3), 1, 6)
OPS: dict[str, Function] = {
    "add": lambda t: made(t, *A) + made(t, *A, seed=1),
    "add the same": lambda t: made(t, *A) + made(t, *A),
    "add hybrid": lambda t: made(t, *B).add(made(t, *B, seed=1), alpha=3),
    "add coalesced": lambda t: made(t, *A).coalesce() + made(t, *A, seed=1).coalesce(),
    "add dtypes": lambda t: made(t, *A, "int32") + made(t, *A, "float64", seed=1),
    "add dense": lambda t: dense(t, 4, 3) + made(t, *A),
    "add dense hybrid": lambda t: t.add(dense(t, 4, 3), made(t, *B), alpha=-2),
    "add dense dtypes": lambda t: dense(t, 4, 3, dtype="int64") + made(t, *B),
    "add dense out": lambda t: t.add(dense(t, 4, 3), made(t, *B), out=t.empty(4, 3)),
    "add dense strided": lambda t: dense(t, 3, 4).t() + made(t, *A),
    "add_ strided": lambda t: dense(t, 3, 4).t().add_(made(t, *B), alpha=2),
    "add_ sliced": lambda t: dense(t, 4, 6)[:, ::2].add_(made(t, *A), alpha=2),
    "add_ dense": lambda t: dense(t, 4, 3).add_(made(t, *A), alpha=2),
    "add_ dense hybrid": lambda t: dense(t, 4, 3).add_(made(t, *B), alpha=-0.5),
    "add_ dense cast": lambda t: dense(t, 4, 3, dtype="float16").add_(made(t, *B)),
    "add_ dense wrong cast": lambda t: dense(t, 4, 3, dtype="int32").add_(made(t, *B)),
    "add_ sparse": lambda t: made(t, *A).add_(made(t, *A, seed=1), alpha=2),
    "iadd": lambda t: made(t, *A).__iadd__(made(t, *A, seed=1)),
    "add scalar": lambda t: made(t, *A) + 1,
    "add sparse dense": lambda t: made(t, *A) + dense(t, 4, 3),
    "add_ sparse dense": lambda t: made(t, *A).add_(dense(t, 4, 3)),
    "add other shape": lambda t: made(t, *A) + made(t, (4, 4), 2, 5),
    "add other split": lambda t: made(t, *A) + made(t, *B),
    "add broadcast": lambda t: dense(t, 1, 3) + made(t, *A),
    "sub": lambda t: made(t, *A) - made(t, *A, seed=1),
    "sub itself": lambda t: made(t, *A) - made(t, *A),
    "sub dense": lambda t: dense(t, 4, 3) - made(t, *B),
    "sub_ dense": lambda t: dense(t, 4, 3).sub_(made(t, *B), alpha=2),
    "sub sparse dense": lambda t: made(t, *B) - dense(t, 4, 3),
    "mul": lambda t: made(t, *A) * 3,
    "rmul": lambda t: 0.5 * made(t, *B),
    "mul int": lambda t: made(t, *A, "int32") * 2.5,
    "mul 0-d": lambda t: made(t, *A) * t.tensor(3.0),
    "mul_": lambda t: made(t, *A).mul_(3),
    "mul sparse": lambda t: made(t, *A).coalesce() * made(t, *A, seed=1).coalesce(),
    "mul dense": lambda t: made(t, *A) * dense(t, 4, 3),
    "mul dense hybrid": lambda t: dense(t, 4, 3) * made(t, *B),
    "mul_ dense": lambda t: dense(t, 4, 3).mul_(made(t, *A).coalesce()),
    "div": lambda t: made(t, *A) / 2,
    "div_": lambda t: made(t, *B).div_(4),
    "div int": lambda t: made(t, *A, "int32") / 2,
    "div 0-d": lambda t: made(t, *A) / t.tensor(4.0),
    "div floor": lambda t: made(t, *A) // 2,
    "div dense": lambda t: made(t, *A) / dense(t, 4, 3),
    "div by sparse": lambda t: dense(t, 4, 3) / made(t, *A),
    "neg": lambda t: -made(t, *B),
    "conj": lambda t: made(t, *A, "complex64").conj() * 2,
    "pow": lambda t: made(t, *A) ** 2,
    "pow zero": lambda t: made(t, *A) ** 0,
    "abs": lambda t: abs(made(t, *A) - made(t, *A, seed=1)),
    "sqrt": lambda t: made(t, *A).sqrt(),
    "sqrt_": lambda t: made(t, *A).coalesce().sqrt_(),
    "sin": lambda t: t.sin(made(t, *B).coalesce()),
    "relu": lambda t: (made(t, *A) - 2 * made(t, *A, seed=1)).relu(),
    "isnan": lambda t: made(t, *A).isnan(),
    "exp": lambda t: made(t, *A).exp(),
    "equal": lambda t: made(t, *A) == made(t, *A),
    "view": lambda t: made(t, *A).view(12),
    "index": lambda t: made(t, *A)[t.tensor([0])],
    "select": lambda t: made(t, *A)[1],
    "select twice": lambda t: made(t, *A)[1, 2],
    "select hybrid": lambda t: made(t, *B)[-1],
    "select dense": lambda t: made(t, *B).select(1, -1),
    "select out of range": lambda t: made(t, *B)[4],
    "select too many": lambda t: made(t, *B)[0, 1, 2],
    "slice": lambda t: made(t, *A)[0:1],
    "iterate": lambda t: list(made(t, *A))[2],
    "index_select": lambda t: made(t, *A).index_select(0, t.tensor([3, 0, 3])),
    "index_select 1": lambda t: made(t, *A).index_select(-1, t.tensor([2, 1])),
    "index_select hybrid": lambda t: made(t, *B).index_select(0, t.tensor([1])),
    "index_select dense": lambda t: made(t, *B).index_select(1, t.tensor([2, 2])),
    "index_select none": lambda t: made(t, *B).index_select(0, t.zeros(0, dtype=t.int64)),
    "index_select out of range": lambda t: made(t, *B).index_select(0, t.tensor([4])),
    "unsqueeze": lambda t: made(t, *A).unsqueeze(1),
    "unsqueeze hybrid": lambda t: made(t, *B).unsqueeze(1),
    "unsqueeze dense": lambda t: made(t, *B).unsqueeze(-1),
    "cat": lambda t: t.cat([made(t, *A), made(t, *A, seed=1)]),
    "cat 1": lambda t: t.cat([made(t, *A), made(t, (4, 2), 2, 3)], 1),
    "cat hybrid": lambda t: t.cat([made(t, *B), made(t, *B, seed=1)], -1),
    "cat dense": lambda t: t.cat([made(t, *A), dense(t, 4, 3)]),
    "cat shapes": lambda t: t.cat([made(t, *A), made(t, (3, 4), 2, 3)]),
    "cat splits": lambda t: t.cat([made(t, *A), made(t, *B)]),
    "stack": lambda t: t.stack([made(t, *A), made(t, *A, seed=1)]),
    "resize_": lambda t: made(t, *A).resize_(3),
    "fill_": lambda t: made(t, *A).fill_(2),
    "zero_": lambda t: made(t, *B).zero_(),
    "any": lambda t: made(t, *A).any(),
    "sum": lambda t: made(t, *A).sum(),
    "sum int": lambda t: made(t, *A, "int32").sum(),
    "sum dim": lambda t: made(t, *A).sum(0),
    "sum dims": lambda t: made(t, *A).sum((0, 1)),
    "sum hybrid 0": lambda t: made(t, *B).sum(0),
    "sum hybrid 1": lambda t: made(t, *B).sum(-1),
    "sum three": lambda t: t.sparse.sum(made(t, (2, 3, 4), 2, 7), (0, 2)),
    "sparse.sum": lambda t: t.sparse.sum(made(t, *B)),
    "sparse.sum dtype": lambda t: t.sparse.sum(made(t, *A), 1, dtype=t.float64),
    "norm": lambda t: made(t, *A).norm(),
    "t": lambda t: made(t, *A).t(),
    "T": lambda t: made(t, *A).T,
    "transpose": lambda t: made(t, (2, 3, 4), 3, 9).transpose(0, 2),
    "transpose hybrid": lambda t: made(t, *B).transpose(0, 1),
    "permute": lambda t: made(t, (2, 3, 4), 2, 7).permute(1, 0, 2),
    "mm": lambda t: t.mm(made(t, *A), dense(t, 3, 5)),
    "matmul": lambda t: made(t, *A) @ dense(t, 5, 3).t(),
    "sparse.mm": lambda t: t.sparse.mm(made(t, (70, 60), 2, 4000, "float64"), dense(t, 60, 7, dtype="float64")),
    "mm empty": lambda t: t.sparse.mm(made(t, (4, 3), 2, 0), dense(t, 3, 5)),
    "mm dense sparse": lambda t: dense(t, 5, 4) @ made(t, *A),
    "mm sparse sparse": lambda t: made(t, *A) @ made(t, (3, 6), 2, 8),
    "mm sparse itself": lambda t: made(t, (70, 60), 2, 300, "float64") @ made(t, (70, 60), 2, 300, "float64").t(),
    "mv": lambda t: made(t, *A) @ dense(t, 3),
    "mm hybrid": lambda t: t.sparse.mm(made(t, *B), dense(t, 3, 3)),
    "mm shapes": lambda t: t.sparse.mm(made(t, *A), dense(t, 4, 3)),
    "mm dtypes": lambda t: t.sparse.mm(made(t, *A), dense(t, 3, 3, dtype="float64")),
    "addmm": lambda t: t.sparse.addmm(dense(t, 4, 5), made(t, *A), dense(t, 3, 5), beta=2, alpha=3),
    "clone": lambda t: made(t, *B).clone(),
    "detach": lambda t: made(t, *A).detach(),
    "to": lambda t: made(t, *A).to(t.float64),
    "int": lambda t: made(t, *B).int(),
    "copy_": lambda t: made(t, *A).copy_(made(t, *A, "float64", seed=1)),
    "copy_ dense": lambda t: dense(t, 4, 3).copy_(made(t, *A)),
    "copy_ to sparse": lambda t: made(t, *A).copy_(dense(t, 4, 3)),
    "zeros_like": lambda t: t.zeros_like(made(t, *B)),
    "empty_like": lambda t: t.empty_like(made(t, *B), dtype=t.float64),
    "ones_like": lambda t: t.ones_like(made(t, *B)),
    "new_zeros": lambda t: made(t, *B).new_zeros(3, 2),
    "rand_like": lambda t: t.rand_like(made(t, *B)),
    "sparse_mask": lambda t: dense(t, 4, 3).sparse_mask(made(t, *A)),
    "sparse_mask hybrid": lambda t: dense(t, 4, 3).sparse_mask(made(t, *B)),
    "sparse_mask sparse": lambda t: made(t, *A, seed=1).coalesce().sparse_mask(made(t, *A).coalesce()),
    "numpy": lambda t: made(t, *A).numpy(),
    "data_ptr": lambda t: made(t, *A).data_ptr(),
    "storage": lambda t: made(t, *A).untyped_storage(),
    "contiguous": lambda t: made(t, *A).contiguous(),
    "nbytes": lambda t: made(t, *A).nbytes,
    "bool": lambda t: bool(made(t, *A)),
    "item": lambda t: made(t, *A).item(),
    "tolist": lambda t: made(t, *A).tolist(),
}


@pytest.mark.parametrize("name", OPS)
def test_ops(name: str) -> None:
    compare(OPS[name], exact="cast" not in name)


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_ops_of_each_dtype(dtype: str) -> None:
    exact = dtype not in ("float16", "bfloat16")
    kinds = (dumbtorch, dtype), (torch, dtype if exact else "float32")  # PyTorch adds no sparse half types
    a, b, d = ([f(*kind) for kind in kinds] for f in (
        lambda t, kind: made(t, *A, kind), lambda t, kind: made(t, *A, kind, seed=1),
        lambda t, kind: dense(t, 4, 3, dtype=kind),
    ))  # fmt: skip
    for f in (
        lambda a, b, d: a + b, lambda a, b, d: d + a, lambda a, b, d: d.clone().add_(a, alpha=2),
        lambda a, b, d: a * 2, lambda a, b, d: a * d, lambda a, b, d: a.sum(0), lambda a, b, d: a.t(),
    ):  # fmt: skip
        want = f(a[1], b[1], d[1])
        check(f(a[0], b[0], d[0]), want if exact else want.to(getattr(torch, dtype)), exact)
    # PyTorch has no such product for integers and half types
    wide = "complex128" if dtype in COMPLEX else "float64"
    its = torch.sparse.mm(a[1].to(getattr(torch, wide)), d[1].t().to(getattr(torch, wide)))
    mine = dumbtorch.sparse.mm(a[0], d[0].t())
    assert str(mine.dtype) == f"torch.{dtype}"
    want = its.to(getattr(torch, dtype))
    np.testing.assert_allclose(array(mine), array(want), rtol=1e-2 if not exact else 1e-6)


def test_writes_keep_the_object() -> None:
    s = made(dumbtorch, *A)
    values = s._values()
    before = s
    s += made(dumbtorch, *A, seed=1)
    assert s is before and s._nnz() == 10
    s = made(dumbtorch, *A)
    values = s._values()
    s.mul_(2)
    np.testing.assert_array_equal(array(values), array(s._values()))  # written where they lie


def test_a_sparse_tensor_has_no_elements_of_its_own() -> None:
    s = made(dumbtorch, *A)
    for use in (memoryview, np.asarray, dumbtorch.from_dlpack, dumbtorch.nn.Parameter):
        with pytest.raises((TypeError, RuntimeError, BufferError)):
            use(s)
    for name in ("cumsum", "flip", "unfold", "set_", "bernoulli_"):
        with pytest.raises((RuntimeError, TypeError)):
            getattr(s, name)()
    with pytest.raises(NotImplementedError, match="aten::exp"):
        dumbtorch.exp(s)
    with pytest.raises(NotImplementedError):
        dumbtorch.hstack([s.relu(), s]).cumsum(0)
    with pytest.raises(NotImplementedError):
        dumbtorch.sin(dumbtorch.ones(4, 3), out=s)
    assert s.type() == "torch.sparse.FloatTensor" and not s.is_contiguous()


# ---------------------------------------------------------------- text, copies, files


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64", "complex64"])
@pytest.mark.parametrize(("shape", "split", "count"), SHAPES)
def test_repr(shape: Any, split: int, count: int, dtype: str) -> None:
    mine, its = (made(t, shape, split, count, dtype) for t in (dumbtorch, torch))
    assert repr(mine) == repr(its) and str(mine) == str(its)
    assert repr(mine.coalesce()) == repr(its.coalesce())
    if dtype.startswith("float"):
        assert repr(mine.requires_grad_()) == repr(its.requires_grad_())


def test_repr_with_history() -> None:
    def text(t: Any) -> list[str]:
        v = t.ones(2, requires_grad=True)
        s = t.sparse_coo_tensor([[0, 1]], v, (2,), check_invariants=True)
        return [repr(x) for x in (s, s.to_dense(), s.coalesce().values())]

    assert text(dumbtorch) == text(torch)


@pytest.mark.parametrize(("shape", "split", "count"), SHAPES)
def test_copies(shape: Any, split: int, count: int) -> None:
    s = made(dumbtorch, shape, split, count, requires_grad=True)
    for same in (copy.copy(s), copy.deepcopy(s), pickle.loads(pickle.dumps(s)), s.clone()):
        assert type(same) is type(s) and repr(same.detach()) == repr(s.detach())
        assert same.is_coalesced() == s.is_coalesced()
    assert copy.deepcopy(s).requires_grad
    deep = copy.deepcopy([s, s])
    assert deep[0] is deep[1]
    changed = copy.deepcopy(s.detach())
    changed.mul_(2)
    np.testing.assert_array_equal(2 * array(s.to_dense()), array(changed.to_dense()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "complex64"])
def test_files_are_pytorchs(dtype: str) -> None:
    mine, its = ({"s": made(t, *B, dtype), "c": made(t, *A, dtype).coalesce()} for t in (dumbtorch, torch))
    ours, theirs = io.BytesIO(), io.BytesIO()
    dumbtorch.save(mine, ours)
    torch.save(its, theirs)
    for stream in (ours, theirs):
        stream.seek(0)
        for read in (dumbtorch, torch):
            stream.seek(0)
            back = read.load(stream)
            for name in ("s", "c"):
                assert back[name].is_coalesced() == its[name].is_coalesced()
                np.testing.assert_array_equal(array(back[name].to_dense()), array(its[name].to_dense()))


def test_hostile_parts_are_refused() -> None:
    from dumbtorch._utils import _rebuild_sparse_tensor as rebuild

    i, v = dumbtorch.tensor([[0, 9]]), dumbtorch.ones(2)
    for layout, data in (
        (dumbtorch.strided, (i, v, (10,))), (dumbtorch.sparse_coo, (i, v, (3,), True)),
        (dumbtorch.sparse_coo, (i.flip(1), v, (10,), True)), (dumbtorch.sparse_coo, (i.float(), v, (10,))),
        (dumbtorch.sparse_coo, (i, 3, (10,))), (dumbtorch.sparse_coo, (i, v)), (dumbtorch.sparse_coo, [i, v, (10,)]),
        (dumbtorch.sparse_coo, (i, v, ("x",))),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            rebuild(layout, data)


# ---------------------------------------------------------------- gradients of sparse tensors


GRADS: dict[str, Function] = {
    "to_dense": lambda s: s.to_dense(),
    "coalesce": lambda s: s.coalesce().to_dense(),
    "mul": lambda s: (s * 3).to_dense(),
    "mm": lambda s: s @ s.to_dense().detach().t(),
    "add": lambda s: (s + s * 2).to_dense(),
    "t": lambda s: s.t().to_dense(),
    "neg": lambda s: (-s / 4).to_dense(),
    "sum": lambda s: s.sum(),
}


@pytest.mark.parametrize("name", GRADS)
def test_gradients(name: str) -> None:
    def grad(t: Any) -> Any:
        v = t.arange(1.0, 6.0, dtype=t.float64, requires_grad=True)
        s = t.sparse_coo_tensor(t.tensor([[0, 3, 1, 0, 2], [0, 1, 2, 2, 1]]), v, (4, 3), check_invariants=True)
        made = GRADS[name](s)
        (made * t.arange(float(made.numel()), dtype=t.float64).reshape(made.shape)).sum().backward()
        return v.grad

    np.testing.assert_allclose(array(grad(dumbtorch)), array(grad(torch)), rtol=1e-9)


def test_sparse_leaves() -> None:
    def leaf(t: Any) -> Any:
        return made(t, *A, requires_grad=True)

    mine, its = leaf(dumbtorch), leaf(torch)
    for t, s in ((dumbtorch, mine), (torch, its)):
        t.sparse.mm(s, dense(t, 3, 5)).square().sum().backward()
        t.sparse.mm(s, dense(t, 3, 5)).sum().backward()
    check(mine.grad, its.grad)
    d, e = (dense(t, 3, 5).requires_grad_() for t in (dumbtorch, torch))
    dumbtorch.sparse.mm(mine, d).square().sum().backward()
    torch.sparse.mm(its, e).square().sum().backward()
    np.testing.assert_allclose(array(d.grad), array(e.grad), rtol=1e-5)
    (g,) = dumbtorch.autograd.grad(mine.to_dense().square().sum(), mine)
    (h,) = torch.autograd.grad(its.to_dense().square().sum(), its)
    check(g, h)
    seen: list[Any] = []
    mine.register_hook(seen.append)
    (mine * 2).to_dense().sum().backward()
    assert seen[0].is_sparse and array(seen[0]._values()).tolist() == [2.0] * 5
    with pytest.raises(RuntimeError, match="leaf Variable"):
        mine.mul_(2)
    with pytest.raises(RuntimeError, match="scalar outputs"):
        mine.clone().backward()
    other = mine * 3
    other.retain_grad()
    other.backward(dumbtorch.ones(4, 3).sparse_mask(mine))
    assert array(other.grad._values()).tolist() == [1.0] * 5
    mine.grad = None
    assert mine.grad is None


def test_constructors_of_old_programs() -> None:
    """As types and as functions; PyTorch warns that they are old, we do not."""
    shown = []
    for t in (torch, dumbtorch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            i, v = t.tensor([[0, 1], [2, 0]]), t.tensor([3.0, 4.0])
            x = t.sparse.FloatTensor(i, v, t.Size([2, 3]))
            kinds = [
                isinstance(y, k) for y in (x, v) for k in (t.sparse.FloatTensor, t.FloatTensor, t.sparse.IntTensor)
            ]
            sizes = [t.sparse.DoubleTensor(i, v.double()).shape, t.sparse.FloatTensor(2, 3).shape]
            sizes.append(t.sparse.FloatTensor().shape)
        shown.append((repr(x), kinds, [tuple(size) for size in sizes], t.spmm(x, t.ones(3, 2)).tolist()))
    assert shown[0] == shown[1]
