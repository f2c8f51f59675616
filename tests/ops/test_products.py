"""einsum, tensordot, kron, and the other products made of matrix products."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch.autograd import gradcheck, gradgradcheck
from tests.ops.harness import listed

SIZES = dict(zip("abcdefijklmnhq", [2, 3, 4, 2, 3, 2, 3, 3, 4, 2, 3, 2, 2, 3], strict=True))
EQUATIONS = (
    "ij,jk", "ij,jk->ik", "ii", "ii->i", "ij->ji", "i,j", "i,i->", "bij,bjk->bik", "...ij,...jk->...ik", "ij,kj->",
    "ijk,ilm,njm,nlk,abc->", "ab,cd,ef->fdbeca", "iij->j", "ibnd,jbnd->bnij", "bhqd,bhkd->bhqk", "abc,cd,de->abe",
    "i...->...", "...->...", "ij,ij->ij", "ij,j->i", "ij,j->ij", "abcd,ab->cd", "ab...,b...->a...", " i j , j k -> k i",
    "ab,bc,cd,da->", "i->", ",ij->ij", "ijji,jj->i",
)  # fmt: skip


def pair(*shape: int, seed: int = 0, dtype: str = "float64") -> tuple[Any, Any]:
    values = np.random.default_rng(seed).uniform(-2, 2, shape)
    if "int" in dtype:
        values = np.rint(values * 3).astype(np.int64)
    kind = getattr(dumbtorch, dtype)
    return dumbtorch.tensor(values.tolist(), dtype=kind).reshape(shape), torch.tensor(values)


def close(a: Any, b: Any) -> None:
    assert tuple(a.shape) == tuple(b.shape)
    np.testing.assert_allclose(listed(a), listed(b), rtol=1e-9, atol=1e-9)


def _shapes(equation: str) -> list[list[int]]:
    shapes = []
    for term in equation.replace(" ", "").split("->")[0].split(","):
        ellipsis = [5, 2] if "..." in term else []
        where = term.find("...")
        sizes = [SIZES[c] for c in term if c != "."]
        shapes.append(sizes[:where] + ellipsis + sizes[where:] if ellipsis else sizes)
    return shapes


@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str, dtype: str) -> None:
    pairs = [pair(*shape, seed=n, dtype=dtype) for n, shape in enumerate(_shapes(equation))]
    close(dumbtorch.einsum(equation, *[a for a, _ in pairs]), torch.einsum(equation, *[b for _, b in pairs]))


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ab,cd,ef->fdbeca", "iij->j", "...ij,...jk->...ik", "ab,bc,cd,da->"])
def test_einsum_gradients(equation: str) -> None:
    leaves = tuple(pair(*shape, seed=n)[0].requires_grad_() for n, shape in enumerate(_shapes(equation)))

    def call(*tensors: Any) -> Any:
        return dumbtorch.einsum(equation, *tensors)

    assert gradcheck(call, leaves, fast_mode=True, check_undefined_grad=False)
    assert gradgradcheck(call, leaves, fast_mode=True, check_undefined_grad=False)


def test_einsum_sublists_lists_and_sizes_of_one() -> None:
    (a, ta), (b, tb) = pair(2, 3), pair(3, 4, seed=1)
    close(dumbtorch.einsum(a, [0, 1], b, [1, 2], [2, 0]), torch.einsum(ta, [0, 1], tb, [1, 2], [2, 0]))
    close(dumbtorch.einsum(a, [..., 1], a, [0, 1]), torch.einsum(ta, [..., 1], ta, [0, 1]))
    close(dumbtorch.einsum("ij,jk", [a, b]), torch.einsum("ij,jk", [ta, tb]))
    (x, tx), (y, ty) = pair(2, 1, 3), pair(2, 5, 3, seed=1)
    for equation in ("abc,abc->abc", "abc,abc->c", "abc,abc->", "abc,abc->ab"):
        close(dumbtorch.einsum(equation, x, y), torch.einsum(equation, tx, ty))


def test_einsum_without_opt_einsum() -> None:
    code = (
        "import sys; sys.modules['opt_einsum'] = None; import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name: None if name == 'opt_einsum' else find(name);"
        "import dumbtorch as t; a = t.ones(2, 3); b = t.ones(3, 4); c = t.ones(4, 5); d = t.ones(5);"
        "assert t.einsum('ab,bc,cd,d->a', a, b, c, d).tolist() == [60.0, 60.0]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ERRORS = (
    lambda t: t.einsum("ij,jk->ik", t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.einsum("ii->j", t.ones(2, 2)),
    lambda t: t.einsum("ij->ii", t.ones(2, 2)),
    lambda t: t.einsum("ij", t.ones(2, 2, 2)),
    lambda t: t.einsum("ijk", t.ones(2, 2)),
    lambda t: t.einsum("i1", t.ones(2, 2)),
    lambda t: t.einsum("i,j", t.ones(2)),
    lambda t: t.einsum("i", t.ones(2), t.ones(2)),
    lambda t: t.einsum("ii", t.ones(2, 3)),
    lambda t: t.einsum("i.j", t.ones(2, 3)),
    lambda t: t.einsum(),
    lambda t: t.einsum("i"),
    lambda t: t.inner(t.ones(2, 3), t.ones(2, 4)),
    lambda t: t.tensordot(t.ones(2, 3), t.ones(2, 3), dims=1),
    lambda t: t.tensordot(t.ones(2, 3), t.ones(2, 3), dims=-1),
    lambda t: t.tensordot(t.ones(2, 3), t.ones(2, 3), dims=([0], [0, 1])),
    lambda t: t.addmv(t.ones(3), t.ones(2, 3), t.ones(3)),
    lambda t: t.addr(t.ones(3), t.ones(2, 3), t.ones(3)),
    lambda t: t.addbmm(t.ones(3), t.ones(2, 3, 2), t.ones(2, 3, 2)),
    lambda t: t.vdot(t.ones(3), t.ones(4)),
    lambda t: t.cdist(t.ones(3), t.ones(3)),
    lambda t: t.cdist(t.ones(3, 2), t.ones(3, 3)),
    lambda t: t.outer(t.ones(2, 2), t.ones(2)),
    lambda t: t.linalg.multi_dot([t.ones(2, 2)]),
    lambda t: t.linalg.cross(t.ones(2, 2), t.ones(2, 2)),
    lambda t: t.linalg.vecdot(t.ones(3), t.ones(4)),
    lambda t: t.matmul(t.ones(2, 2, dtype=t.bool), t.ones(2, 2, dtype=t.bool)),
)


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_those_of_pytorch(call: Any) -> None:
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(theirs.type) as mine:
        call(dumbtorch)
    assert len(str(mine.value)) > 8


PRODUCTS = {
    "tensordot": (lambda t, a, b: t.tensordot(a, b, 2), (2, 3, 4), (3, 4, 5)),
    "tensordot of lists": (lambda t, a, b: t.tensordot(a, b, ([2, 0], [0, 1])), (2, 3, 4), (4, 2, 5)),
    "tensordot of none": (lambda t, a, b: t.tensordot(a, b, 0), (2, 3), (2,)),
    "kron": (lambda t, a, b: t.kron(a, b), (2, 3), (4, 1, 2)),
    "inner": (lambda t, a, b: t.inner(a, b), (2, 3), (4, 3)),
    "inner of a number": (lambda t, a, b: t.inner(a, b), (), (4, 3)),
    "vdot": (lambda t, a, b: t.vdot(a, b), (4,), (4,)),
    "outer": (lambda t, a, b: t.outer(a, b), (3,), (4,)),
    "multi_dot": (lambda t, a, b: t.linalg.multi_dot([a, b, b.mT, a.mT, a[0]][:4]), (2, 3), (3, 4)),
    "multi_dot of vectors": (lambda t, a, b: t.linalg.multi_dot([a, b, b[0]]), (4,), (4, 4)),
    "cross": (lambda t, a, b: t.linalg.cross(a, b), (2, 1, 3), (1, 4, 3)),
    "vecdot": (lambda t, a, b: t.linalg.vecdot(a, b), (2, 1, 3), (4, 3)),
    "addmv": (lambda t, a, b: t.addmv(b[0], a, b[0], beta=0.5, alpha=2), (3, 3), (3, 3)),
    "addr": (lambda t, a, b: t.addr(a, b[0], b[1], beta=0.5, alpha=2), (3, 3), (3, 3)),
    "addbmm": (lambda t, a, b: t.addbmm(a[0], a, b, beta=0.5, alpha=2), (4, 3, 3), (4, 3, 3)),
    "block_diag": (lambda t, a, b: t.block_diag(a, b, b[0, 0]), (2, 3), (1, 2)),
    "cdist": (lambda t, a, b: t.cdist(a, b), (4, 3), (5, 3)),
    "cdist by products": (lambda t, a, b: t.cdist(a, b), (40, 3), (30, 3)),
    "cdist of order 1": (lambda t, a, b: t.cdist(a, b, 1.0), (2, 4, 3), (5, 3)),
    "cdist of order 3": (lambda t, a, b: t.cdist(a, b, 3.0), (4, 3), (2, 5, 3)),
    "matmul of nothing": (lambda t, a, b: a @ b, (2, 3, 0), (0, 4)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_and_gradients(name: str) -> None:
    function, first, second = PRODUCTS[name]
    (a, ta), (b, tb) = pair(*first), pair(*second, seed=1)
    leaves, theirs = [a.requires_grad_(), b.requires_grad_()], [ta.requires_grad_(), tb.requires_grad_()]
    mine, its = function(dumbtorch, *leaves), function(torch, *theirs)
    close(mine, its)
    got = dumbtorch.autograd.grad((mine * mine).sum(), leaves, allow_unused=True)
    for x, y in zip(got, torch.autograd.grad((its * its).sum(), theirs, allow_unused=True), strict=True):
        close(x, y)
    assert gradgradcheck(lambda *t: function(dumbtorch, *t), tuple(leaves), fast_mode=True, check_undefined_grad=False)


def test_beta_of_zero_ignores_what_was_there() -> None:
    nan = float("nan")
    for t in (dumbtorch, torch):
        bad = t.full((2, 2), nan)
        one = t.ones(2, 2)
        assert t.addmm(bad, one, one, beta=0).tolist() == [[2, 2], [2, 2]]
        assert t.addmv(bad[0], one, one[0], beta=0).tolist() == [2, 2]
        assert t.addr(bad, one[0], one[0], beta=0).tolist() == [[1, 1], [1, 1]]
        assert t.addbmm(bad, one.unsqueeze(0), one.unsqueeze(0), beta=0).tolist() == [[2, 2], [2, 2]]
        assert t.baddbmm(bad.unsqueeze(0), one.unsqueeze(0), one.unsqueeze(0), beta=0).tolist() == [[[2, 2], [2, 2]]]


def test_in_place() -> None:
    a, ta = pair(3, 3)
    for name, args in (("addmv_", ((3, 3), (3,))), ("addr_", ((3,), (3,))), ("addbmm_", ((2, 3, 3), (2, 3, 3)))):
        mine, its = (a[0] + 0, ta[0] + 0) if name == "addmv_" else (a + 0, ta + 0)
        parts = [pair(*shape, seed=n) for n, shape in enumerate(args)]
        assert getattr(mine, name)(*[x for x, _ in parts], alpha=2) is mine
        close(mine, getattr(its, name)(*[y for _, y in parts], alpha=2))


def test_out() -> None:
    a, ta = pair(3, 3)
    out = dumbtorch.empty(0, dtype=a.dtype)
    assert dumbtorch.kron(a, a, out=out) is out
    close(out, torch.kron(ta, ta))
    out = dumbtorch.empty(0, dtype=a.dtype)
    assert dumbtorch.tensordot(a, a, 1, out=out) is out
    close(out, ta @ ta)
