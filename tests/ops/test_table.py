"""Every row of the op table against PyTorch: values, gradients, second gradients, in-place and out= forms, errors."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch import ops
from dumbtorch.autograd import gradcheck, gradgradcheck
from dumbtorch.ops.samples import DTYPES
from tests.conformance import second_order
from tests.ops.harness import DEVICE, Pair, cases, compare, flat, layouts, listed, sample_of
from tests.ops.references import reference


def _op(name: str) -> Any:
    """The row's out-of-place op; one that only exists in place works on a copy."""
    row = ops.TABLE[name]
    if row.op is not None:
        return row.op
    return lambda first, *rest, **named: row.inplace_op(first.clone(), *rest, **named)


def _seed(name: str, number: int) -> int:
    return zlib.crc32(f"{name}{number}".encode())


def _supported(name: str, pair: Pair) -> Any:
    """PyTorch's result; skips nothing: a combination that PyTorch lacks is not declared in the row."""
    with torch.no_grad():
        return reference(name)(*pair.theirs, **pair.their_kwargs)


def test_every_row_has_a_kernel() -> None:
    assert ops.missing() == []


def test_every_row_has_samples_and_a_description() -> None:
    # made by hand in test_creation.py and test_convert.py: they take no tensor, or return none
    by_hand = {"empty", "empty_strided", "zeros", "ones", "full", "arange", "linspace", "eye"}
    by_hand |= {"item", "tolist", "to_copy"}
    # tested in tests/core/test_random.py: their results have no reference
    by_hand |= {"uniform", "normal", "log_normal", "exponential", "cauchy", "geometric", "bernoulli", "random"}
    by_hand |= {"randperm", "multinomial", "native_dropout", "dropout_backward"}
    # tested in test_linalg.py: unique only up to signs, or without a derivative in PyTorch
    by_hand |= {"linalg_ldl_solve", "linalg_qr", "linalg_svd", "linalg_eigh", "linalg_eig", "linalg_lstsq_lapack"}
    by_hand |= {"poisson", "binomial", "standard_gamma"}  # in tests/core/test_counts.py
    by_hand |= {"attention_kept", "attention_backward"}  # through attention, in tests/nn/test_attention.py
    for name, row in ops.TABLE.items():
        assert row.doc, name
        if name not in by_hand:
            assert row.samples is not None and len(list(row.samples())) > 0, name


def test_there_are_many_cases() -> None:
    assert len(cases()) >= 1500


@pytest.mark.parametrize(("name", "number", "dtype"), cases())
def test_value(name: str, number: int, dtype: str) -> None:
    sample = sample_of(name, number)
    for layout in layouts(name):
        pair = Pair(sample, dtype, layout, seed=_seed(name, number))
        before = [listed(t) for t in flat(pair.ours) if isinstance(t, dumbtorch.Tensor)]
        got = _op(name)(*pair.ours, **pair.kwargs)
        compare(got, _supported(name, pair), dtype, what=f"{name} {sample} {layout}")
        for was, now in zip(before, (t for t in flat(pair.ours) if isinstance(t, dumbtorch.Tensor)), strict=True):
            assert (was == listed(now)).all() or (was != was).any(), f"{name} changed an input"


def _numeric(number_of_cases: str, case: tuple[str, int, str]) -> bool:
    """Whether differences can show the derivative at this sample: not at a jump."""
    return number_of_cases == "all" or sample_of(case[0], case[1]).smooth


def _differentiable(number_of_cases: str) -> list[tuple[str, int, str]]:
    every = [case for case in cases(floats_only=True) if ops.TABLE[case[0]].grad and _numeric(number_of_cases, case)]
    if number_of_cases == "double":
        return [case for case in every if case[2] in ("float64", "complex128")]
    return [case for case in every if case[2] != "float16"]


def _carrying(name: str, result: Any) -> list[Any]:
    outputs = flat(result)
    row = ops.TABLE[name]
    return [outputs[n] for n in row.differentiable if n < len(outputs)]


@pytest.mark.parametrize(("name", "number", "dtype"), _differentiable("all"))
def test_gradient(name: str, number: int, dtype: str) -> None:
    sample = sample_of(name, number)
    for layout in layouts(name)[:2]:
        pair = Pair(sample, dtype, layout, grad=True, seed=_seed(name, number))
        if not pair.ours_leaves:
            return
        ours = _carrying(name, _op(name)(*pair.ours, **pair.kwargs))
        theirs = _carrying(name, reference(name)(*pair.theirs, **pair.their_kwargs))
        kinds = [torch.complex128 if t.is_complex() else torch.float64 for t in theirs]
        seeds = [
            torch.rand(t.shape, generator=torch.Generator().manual_seed(7), dtype=kind)
            for t, kind in zip(theirs, kinds, strict=True)
        ]
        their_seeds = [s.to(t.dtype) for s, t in zip(seeds, theirs, strict=True)]
        our_seeds = [
            dumbtorch.tensor(s.tolist(), dtype=t.dtype, device=t.device).reshape(tuple(s.shape))
            for s, t in zip(seeds, ours, strict=True)
        ]
        mine = dumbtorch.autograd.grad(ours, pair.ours_leaves, our_seeds, allow_unused=True)
        its = torch.autograd.grad(theirs, pair.theirs_leaves, their_seeds, allow_unused=True)
        for leaf, a, b in zip(pair.theirs_leaves, mine, its, strict=True):
            if b is None:
                b = torch.zeros_like(leaf)
            if a is None:
                assert not b.any(), f"{name}: a gradient is missing"
                continue
            compare(a, b + 0, dtype, 10, f"gradient of {name} {sample} {layout}")


def _closed(name: str, pair: Pair) -> Any:
    """The op as a function of the leaves alone."""

    def call(*leaves: Any) -> Any:
        given = iter(leaves)
        chosen = {id(leaf) for leaf in pair.ours_leaves}

        def put(arg: Any) -> Any:
            if isinstance(arg, list):
                return [put(item) for item in arg]
            return next(given) if id(arg) in chosen else arg

        args = [put(arg) for arg in pair.ours]
        kwargs = {key: put(arg) for key, arg in pair.kwargs.items()}
        return tuple(_carrying(name, _op(name)(*args, **kwargs)))

    return call


@pytest.mark.parametrize(("name", "number", "dtype"), _differentiable("double"))
def test_gradcheck(name: str, number: int, dtype: str) -> None:
    pair = Pair(sample_of(name, number), dtype, grad=True, seed=_seed(name, number))
    if pair.ours_leaves:
        fast = sum(leaf.numel() for leaf in pair.ours_leaves) > 40
        assert gradcheck(_closed(name, pair), tuple(pair.ours_leaves), fast_mode=fast, check_undefined_grad=False)


#: Whose derivative cannot be differentiated, in PyTorch as here.
ONCE = second_order.expected(forward=False)


@pytest.mark.parametrize(
    ("name", "number", "dtype"), [case for case in _differentiable("double") if case[0] not in ONCE]
)
def test_gradgradcheck(name: str, number: int, dtype: str) -> None:
    pair = Pair(sample_of(name, number), dtype, grad=True, seed=_seed(name, number))
    if pair.ours_leaves:
        assert gradgradcheck(
            _closed(name, pair), tuple(pair.ours_leaves), fast_mode=True, check_undefined_grad=False, atol=1e-4
        )


def same(mine: Any, its: Any) -> None:
    """Two tensors of ours with the same values, up to rounding."""
    np.testing.assert_allclose(listed(mine), listed(its), rtol=1e-6, atol=1e-9)


def _inplace() -> list[tuple[str, int, str]]:
    return [case for case in cases() if ops.TABLE[case[0]].inplace_op is not None and ops.TABLE[case[0]].op is not None]


@pytest.mark.parametrize(
    ("name", "number", "dtype"), [c for c in _inplace() if c[2] in ("float32", "int64", "bool", "complex64")]
)
def test_inplace(name: str, number: int, dtype: str) -> None:
    """NAME_ writes what NAME returns, or raises where the result does not fit."""
    sample = sample_of(name, number)
    for layout in layouts(name)[:2]:
        pair = Pair(sample, dtype, layout, seed=_seed(name, number))
        out_of_place = ops.TABLE[name].op(*pair.ours, **pair.kwargs)
        target = pair.ours[0]
        if not isinstance(target, dumbtorch.Tensor):
            return
        fits = tuple(out_of_place.shape) == tuple(target.shape) and (
            dumbtorch.can_cast(out_of_place.dtype, target.dtype) or out_of_place.dtype is dumbtorch.bool
        )
        version = target._version
        fits = fits and not (name == "abs" and target.is_complex())  # the result is real
        if not fits:
            with pytest.raises(RuntimeError):
                ops.TABLE[name].inplace_op(*pair.ours, **pair.kwargs)
            continue
        got = ops.TABLE[name].inplace_op(*pair.ours, **pair.kwargs)
        assert got is target
        assert target._version > version
        same(target, out_of_place.to(target.dtype))


@pytest.mark.parametrize(
    ("name", "number", "dtype"),
    [c for c in _inplace() if c[2] in ("float64", "complex128") and ops.TABLE[c[0]].grad],
)
def test_inplace_gradient(name: str, number: int, dtype: str) -> None:
    """Recorded in place on a non-leaf, and through a view: the same gradients as out of place."""
    pair = Pair(sample_of(name, number), dtype, grad=True, seed=_seed(name, number))
    row = ops.TABLE[name]
    first = pair.ours[0]
    if not isinstance(first, dumbtorch.Tensor) or not pair.ours_leaves:
        return
    expected = row.op(*pair.ours, **pair.kwargs)
    if expected.shape != first.shape or expected.dtype is not first.dtype:
        return

    def total(t: Any) -> Any:
        t = (t * (3 + 1j if t.is_complex() else 3)).sum()
        return t.real if t.is_complex() else t

    want = dumbtorch.autograd.grad(total(expected), pair.ours_leaves, allow_unused=True)
    for through_view in (False, True):
        target = first * 1.0
        place = target.view(first.shape) if through_view else target
        row.inplace_op(place, *pair.ours[1:], **pair.kwargs)
        got = dumbtorch.autograd.grad(total(target), pair.ours_leaves, allow_unused=True)
        for a, b in zip(got, want, strict=True):
            if a is None or b is None:
                assert not any(listed(t).any() for t in (a, b) if t is not None)
            else:
                same(a, b)


def _with_out() -> list[tuple[str, int, str]]:
    chosen = []
    for name, number, dtype in cases():
        row = ops.TABLE[name]
        if (
            row.op is not None
            and row.flags & 4
            and len(row.outputs) == 1
            and dtype in ("float32", "int64", "bool", "complex64")
        ):
            chosen.append((name, number, dtype))
    return chosen


@pytest.mark.parametrize(("name", "number", "dtype"), _with_out())
def test_out(name: str, number: int, dtype: str) -> None:
    """out= receives the result, strided or not, and is what is returned."""
    pair = Pair(sample_of(name, number), dtype, seed=_seed(name, number))
    expected = ops.TABLE[name].op(*pair.ours, **pair.kwargs)
    for strided in (False, True):
        room = dumbtorch.empty((*expected.shape, 2), dtype=expected.dtype, device=expected.device)
        out = room.select(-1, 1) if strided else dumbtorch.empty_like(expected)
        got = ops.TABLE[name].op(*pair.ours, **pair.kwargs, out=out)
        assert got is out
        same(out, expected)


#: Ops whose indices a device's kernel reads: the host does not wait to learn that one is out of range.
READ_THERE = {"index", "index_select", "embedding", "gather", "scatter", "scatter_add", "max_pool2d_backward"}


def _errors() -> list[tuple[str, int]]:
    return [(name, n) for name, row in ops.TABLE.items() if row.errors for n, _ in enumerate(row.errors())]


class Unseen(Exception):
    """The op did not raise."""


@pytest.mark.parametrize(("name", "number"), _errors())
def test_error(name: str, number: int) -> None:
    """The exception of PyTorch, with a message that says something."""
    row = ops.TABLE[name]
    sample = list(row.errors())[number]
    dtype = DTYPES[row.dtypes][-1]
    pair = Pair(sample, dtype)
    kinds = {"RuntimeError": RuntimeError, "TypeError": TypeError, "IndexError": IndexError, "ValueError": ValueError}
    expected = pytest.raises(kinds[sample.error or "TypeError"])
    if DEVICE != "cpu" and name in READ_THERE:
        expected = pytest.raises((kinds[sample.error or "TypeError"], Unseen))
    with expected as caught:
        _op(name)(*pair.ours, **pair.kwargs)
        raise Unseen(f"{name} did not see the error of {sample}")
    assert len(str(caught.value)) > 8
    if name not in ("mv",) and pair.theirs and isinstance(pair.theirs[0], torch.Tensor):
        with pytest.raises(kinds[sample.error or "TypeError"]):
            reference(name)(*pair.theirs, **pair.their_kwargs)
