"""Complex tensors beside PyTorch: pending conjugation, parts as views, products, scalars, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch as dt

VALUES = [[1 + 2j, 3 - 1j, -0.5j], [0.25 + 0j, 2 + 2j, -1 - 1j]]


def both(values: Any = VALUES, dtype: str = "complex64") -> tuple[Any, Any]:
    """The same tensor in both frameworks."""
    return dt.tensor(values, dtype=getattr(dt, dtype)), torch.tensor(values, dtype=getattr(torch, dtype))


def same(mine: Any, its: Any, tolerance: float = 2e-6) -> None:
    """Shape, dtype, marks and values."""
    assert str(mine.dtype) == str(its.dtype)
    assert tuple(mine.shape) == tuple(its.shape)
    assert (mine.is_conj(), mine.is_neg()) == (its.is_conj(), its.is_neg())
    np.testing.assert_allclose(np.asarray(mine.tolist()), np.asarray(its.tolist()), tolerance, tolerance)


PENDING: dict[str, Callable[[Any], Any]] = {
    "conj": lambda x: x.conj(),
    "conj twice": lambda x: x.conj().conj(),
    "imag of conj": lambda x: x.conj().imag,
    "real of conj": lambda x: x.conj().real,
    "mH": lambda x: x.mH,
    "H": lambda x: x.H,
    "adjoint": lambda x: x.adjoint(),
    "view": lambda x: x.conj().view(-1),
    "reshape": lambda x: x.conj().reshape(3, 2),
    "reshaped copy": lambda x: x.mH.reshape(-1),
    "row": lambda x: x.conj()[1],
    "element": lambda x: x.conj()[0, 1],
    "step": lambda x: x.conj()[:, ::2],
    "unbind": lambda x: x.conj().unbind()[0],
    "expand": lambda x: x.conj().expand(2, 2, 3),
    "diagonal": lambda x: x.conj().diagonal(),
    "detach": lambda x: x.conj().detach(),
    "data": lambda x: x.conj().data,
    "contiguous": lambda x: x.conj().contiguous(),
    "clone": lambda x: x.conj().clone(),
    "to": lambda x: x.conj().to(x.dtype.to_complex() if hasattr(x.dtype, "to_complex") else x.dtype),
    "wider": lambda x: x.conj().cdouble(),
    "add": lambda x: x.conj() + x,
    "sum": lambda x: x.conj().sum(0),
    "stack": lambda x: type(x).stack([x.conj(), x]) if hasattr(type(x), "stack") else x.conj().unsqueeze(0),
    "product": lambda x: x.mH @ x,
    "product of two": lambda x: x.conj() @ x.mH,
    "dot": lambda x: x[0].conj().dot(x[1].conj()).resolve_conj(),
    "resolved": lambda x: x.conj().resolve_conj(),
    "resolved negative": lambda x: x.conj().imag.resolve_neg(),
    "physical": lambda x: x.conj().conj_physical(),
    "negative": lambda x: x._neg_view(),
    "negative conj": lambda x: x.conj()._neg_view() + 1,
    "negative product": lambda x: x._neg_view() @ x.mH,
}


@pytest.mark.parametrize("name", PENDING)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_pending_work_reads_as_computed(name: str, dtype: str) -> None:
    mine, its = both(dtype=dtype)
    same(PENDING[name](mine), PENDING[name](its))


WRITES: dict[str, Callable[[Any], Any]] = {
    "mul_": lambda x: x.conj().mul_(1j),
    "add_": lambda x: x.mH.add_(x.mH),
    "copy_": lambda x: x.conj().copy_(x.clone()),
    "copy of own conj": lambda x: x.copy_(x.conj()),
    "fill_": lambda x: x.conj()[0].fill_(1 + 1j),
    "item": lambda x: x.conj().__setitem__((0, 0), 5j),
    "imag": lambda x: x.conj().imag.add_(1),
    "conj_physical_": lambda x: x.conj().conj_physical_(),
    "exp_": lambda x: x.t().conj().exp_(),
    "step": lambda x: x.conj()[:, ::2].neg_(),
    "part": lambda x: x.real.mul_(2),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_through_pending_views(name: str) -> None:
    mine, its = both()
    WRITES[name](mine)
    WRITES[name](its)
    same(mine, its)


def test_out_with_pending_conjugation() -> None:
    mine, its = both()
    for framework, x in ((dt, mine), (torch, its)):
        framework.mul(x, 2, out=x.conj())
        framework.matmul(x[:, :2].clone(), x[:, :2].clone(), out=x[:, :2].conj())
    same(mine, its)


def test_conj_shares_memory_and_marks() -> None:
    x = dt.tensor(VALUES)
    y = x.conj()
    assert y.is_conj() and not x.is_conj() and y.data_ptr() == x.data_ptr() and y._base is x
    r = dt.ones(2)
    assert r.conj() is r and r.resolve_conj() is r and not r.is_conj()
    with pytest.raises(RuntimeError, match="conjugate bit"):
        y.numpy()
    with pytest.raises(RuntimeError, match="negative bit"):
        y.imag.numpy()
    with pytest.raises(BufferError):
        memoryview(y)
    with pytest.raises(BufferError, match="conjugate bit"):
        y.__dlpack__()
    with pytest.raises(RuntimeError, match="unresolved conjugated"):
        dt.view_as_real(y)
    with pytest.raises(RuntimeError, match="conjugate view"):
        y.view(dt.float32)
    assert (np.asarray(y.resolve_conj()) == np.conj(np.asarray(x))).all()
    assert copy.deepcopy(y).resolve_conj().tolist() == y.tolist()
    assert repr(y) == repr(torch.tensor(VALUES).conj())


@pytest.mark.parametrize(
    "function",
    [
        lambda t, x: (x.conj() * x).real.sum(),
        lambda t, x: x.abs().sum(),
        lambda t, x: x.angle().sum(),
        lambda t, x: (x.real * 3 + x.imag.exp()).sum(),
        lambda t, x: t.view_as_real(x).pow(2).sum(),
        lambda t, x: (x.mH @ x).abs().sum(),
        lambda t, x: (x.real.clone() * x).imag.sum(),
        lambda t, x: t.complex(x.imag, x.real).exp().real.sum(),
        lambda t, x: t.polar(x.abs(), x.angle()).imag.sum(),
        lambda t, x: x.to(t.complex128).sin().real.sum(),
        lambda t, x: x.var() + x.std(0).sum() + x.norm() + x.norm(1) + x.norm(3, 1).sum(),
        lambda t, x: x.prod().real + x.cumsum(1).imag.sum() + x.mean().real,
    ],
)
def test_gradients_as_pytorch(function: Any) -> None:
    mine, its = both()
    mine.requires_grad_()
    its.requires_grad_()
    function(dt, mine).backward()
    function(torch, its).backward()
    same(mine.grad, its.grad, 1e-5)


def _through_views(t: Any, x: Any) -> Any:
    y = x * 1
    y.real.mul_(2)
    y.conj().imag.add_(3)
    y.mH[0].mul_(1j)
    t.view_as_real(y)[..., 0].pow_(2)
    return (y * y.conj()).real.sum()


def test_writes_through_views_are_recorded() -> None:
    mine, its = both(dtype="complex128")
    mine.requires_grad_()
    its.requires_grad_()
    _through_views(dt, mine).backward()
    _through_views(torch, its).backward()
    same(mine.grad, its.grad)


def test_real_inputs_get_real_gradients() -> None:
    for t in (dt, torch):
        a = t.tensor([1.0, 2.0], requires_grad=True)
        z = t.tensor([1 + 1j, 2j], requires_grad=True)
        (a * z * 2j).abs().sum().backward()
        assert a.grad.dtype is t.float32 and z.grad.dtype is t.complex64


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (1, 40, 33), (40, 33, 1), (5, 0, 3), (17, 65, 33), (64, 3, 70)])
def test_products_of_all_layouts(dtype: str, m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(m + 10 * k + 100 * n)

    def matrix(rows: int, columns: int) -> Any:
        return rng.normal(size=(rows, columns)) + 1j * rng.normal(size=(rows, columns))

    kind = getattr(dt, dtype)
    for turned_a in (False, True):
        for turned_b in (False, True):
            a, b = matrix(m, k), matrix(k, n)
            x = dt.tensor(np.conj(a.T).copy(), dtype=kind).mH if turned_a else dt.tensor(a, dtype=kind)
            y = dt.tensor(b.T.copy(), dtype=kind).t() if turned_b else dt.tensor(b.conj(), dtype=kind).conj()
            tolerance = 1e-4 if dtype == "complex64" else 1e-12
            np.testing.assert_allclose(np.asarray((x @ y).tolist()).reshape(m, n), a @ b, tolerance, tolerance)
            c = matrix(m, n)
            got = dt.addmm(dt.tensor(c, dtype=kind), x, y, beta=0.5j, alpha=2 - 1j)
            want = 0.5j * c + (2 - 1j) * (a @ b)
            np.testing.assert_allclose(np.asarray(got.tolist()).reshape(m, n), want, 5 * tolerance, 5 * tolerance)


def test_half_complex() -> None:
    x = dt.tensor(VALUES, dtype=dt.complex32)
    wide = dt.tensor(VALUES)
    for got, want in (
        (x + x, wide + wide), (x * x, wide * wide), (x.exp(), wide.exp()), (x.sum(0), wide.sum(0)),
        (x.prod(), wide.prod()), (x @ x.mH, wide @ wide.mH), (x / (x + 1j), wide / (wide + 1j)),
        (x.conj(), wide.conj()),
    ):  # fmt: skip
        assert got.dtype is dt.complex32
        np.testing.assert_allclose(np.asarray(got.tolist()), np.asarray(want.tolist()), 1e-2, 1e-2)
    assert x.abs().dtype is dt.float16
    y = dt.tensor(VALUES, dtype=dt.bcomplex32)
    assert (y * y).dtype is dt.bcomplex32 and y.real.dtype is dt.bfloat16
    np.testing.assert_allclose(np.asarray((y * y).tolist()), np.asarray((wide * wide).tolist()), 3e-2, 3e-2)


SCALARS: dict[str, Callable[[Any], Any]] = {
    "full": lambda t: t.full((2,), 1j),
    "tensor": lambda t: t.tensor([1, 1j]),
    "float + 1j": lambda t: t.tensor([0.5]) + 1j,
    "int * 1j": lambda t: t.tensor([2]) * 1j,
    "uint16 * 1j": lambda t: t.tensor([2], dtype=t.uint16) * 1j,
    "half + 1j": lambda t: t.tensor([0.5], dtype=t.float16) + 1j,
    "bfloat16 + 1j": lambda t: t.tensor([0.5], dtype=t.bfloat16) + 1j,
    "double + 1j": lambda t: t.tensor([0.5], dtype=t.float64) + 1j,
    "1j - t": lambda t: 1j - t.tensor([0.5]),
    "1j / t": lambda t: 1j / t.tensor([0.5]),
    "2 ** z": lambda t: 2 ** t.tensor([1j, 2 + 1j]),
    "z ** 0": lambda t: t.tensor([0j, 1j]) ** 0,
    "z ** 1j": lambda t: t.tensor([1j, 2 + 1j]) ** 1j,
    "alpha": lambda t: t.tensor([1j]).add(t.tensor([2.0]), alpha=1j),
    "eq": lambda t: t.tensor([1j, 1.0]) == 1j,
    "float eq": lambda t: t.tensor([1.0]) == 1j,
    "where": lambda t: t.where(t.tensor([True, False]), t.tensor([1j, 2j]), 0.5),
    "masked_fill": lambda t: t.tensor([1j, 2j]).masked_fill(t.tensor([True, False]), 3 - 1j),
    "isreal": lambda t: t.isreal(t.tensor([1j, 2.0])),
    "angle of reals": lambda t: t.angle(t.tensor([1.0, -2.0, 0.0])),
    "angle of integers": lambda t: t.angle(t.tensor([1, -2, 0])),
    "sum as complex": lambda t: t.tensor([1.0, 2.0]).sum(dtype=t.complex64),
    "any": lambda t: t.tensor([0j, 1j]).any(),
    "all": lambda t: t.tensor([0j, 1j]).all(),
}


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("name", SCALARS)
def test_scalars_and_promotion(name: str) -> None:
    same(SCALARS[name](dt), SCALARS[name](torch))


ERRORS: dict[str, Callable[[Any], Any]] = {
    "lt": lambda t: t.tensor([1j]) < 1,
    "sign": lambda t: t.tensor([1j]).sign(),
    "floor": lambda t: t.tensor([1j]).floor(),
    "clamp": lambda t: t.tensor([1j]).clamp(0, 1),
    "maximum": lambda t: t.maximum(t.tensor([1j]), t.tensor([1j])),
    "amax": lambda t: t.tensor([1j]).amax(),
    "argmax": lambda t: t.tensor([1j]).argmax(),
    "abs_": lambda t: t.tensor([1j]).abs_(),
    "imag of reals": lambda t: t.ones(1).imag,
    "in-place result": lambda t: t.ones(1).add_(1j),
    "full": lambda t: t.full((2,), 1j, dtype=t.float32),
    "real alpha": lambda t: t.ones(1).add(t.ones(1), alpha=1j),
    "parts of two dtypes": lambda t: t.complex(t.ones(1), t.ones(1, dtype=t.float64)),
    "parts of integers": lambda t: t.polar(t.tensor([1]), t.tensor([1])),
    "backward of complex": lambda t: t.tensor(1j, requires_grad=True).backward(),
    "H of a vector": lambda t: t.tensor([1j]).H,
    "mH of a vector": lambda t: t.tensor([1j]).mH,
    "int": lambda t: int(t.tensor(1j)),
    "float": lambda t: float(t.tensor(1j)),
    "matmul of two dtypes": lambda t: t.tensor([[1j]]) @ t.ones(1, 1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(RuntimeError) as ours:
        ERRORS[name](dt)
    assert issubclass(ours.type, theirs.type)


def test_casts_to_real_warn() -> None:
    x = dt.tensor(VALUES)
    for cast in (lambda: x.float(), lambda: x.to(dt.int64)):
        with pytest.warns(UserWarning, match="discards the imaginary part"):
            cast()


SPECIAL = ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
           "atanh", "log1p", "expm1", "reciprocal", "sigmoid")  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_functions_over_a_wide_range(name: str) -> None:
    """Against NumPy (whose log1p loses digits) in complex128, on and beside the branch cuts, small and large."""
    rng = np.random.default_rng(3)
    size = 10.0 ** rng.uniform(-8, 1, 400)
    z = size * np.exp(1j * rng.uniform(-np.pi, np.pi, 400))
    z = np.concatenate([z, size[:40] + 0j, -size[:40] + 0j, 1j * size[:40], -1j * size[:40], 1 + 1e-3 * z[:40]])
    got = np.asarray(getattr(dt, name)(dt.tensor(z, dtype=dt.complex128)).tolist())
    numpy_name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
                  "atanh": "arctanh"}.get(name, name)  # fmt: skip
    if name in ("log1p", "sigmoid"):
        want = np.asarray(getattr(torch, name)(torch.tensor(z)).tolist())
    else:
        want = getattr(np, numpy_name)(z)
    assert (np.abs(got - want) <= 4e-15 * np.abs(want) + 1e-300).all(), name
