"""Conversions between dtypes, and the value types that name them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch as reference

import dumbtorch as torch

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
WIDE = [*NAMES, "uint16", "uint32", "uint64", "complex64", "complex128"]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_to(source: str, target: str) -> None:
    values = [0, 1, 2, 100] if source == "uint8" else [0, 1, -2, 100]
    if target == "uint8":
        values = [abs(v) for v in values]
    mine = torch.tensor(values, dtype=getattr(torch, source)).to(getattr(torch, target))
    its = reference.tensor(values, dtype=getattr(reference, source)).to(getattr(reference, target))
    assert str(mine.dtype) == str(its.dtype)
    assert mine.tolist() == its.tolist()


def test_to_returns_itself_when_nothing_changes() -> None:
    x = torch.ones(2)
    assert x.to(torch.float32) is x
    assert x.to("cpu") is x
    assert x.to(x) is x
    assert x.float() is x
    assert x.to(torch.float32, copy=True) is not x
    assert x.to("cpu", torch.float64).dtype is torch.float64
    assert x.to(torch.ones(1, dtype=torch.int8)).dtype is torch.int8
    with pytest.raises(TypeError):
        x.to([])


def test_named_casts() -> None:
    x = torch.tensor([1.7, 0.0])
    for name in ("bool", "half", "bfloat16", "double", "short", "int", "long"):
        mine, its = getattr(x, name)(), getattr(reference.tensor([1.7, 0.0]), name)()
        assert str(mine.dtype) == str(its.dtype) and mine.tolist() == its.tolist()
    assert x.type() == "torch.FloatTensor"
    assert x.type("torch.LongTensor").tolist() == [1, 0]
    assert x.type(torch.float64).dtype is torch.float64


def test_casts_differentiate() -> None:
    x = torch.ones(2, requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype is torch.float32 and x.grad.tolist() == [3, 3]
    assert not x.long().requires_grad


@pytest.mark.parametrize("a", WIDE)
def test_promotion(a: str) -> None:
    for b in WIDE:
        try:
            its = reference.promote_types(getattr(reference, a), getattr(reference, b))
        except RuntimeError:  # PyTorch promotes no wide unsigned integers with signed ones
            with pytest.raises(RuntimeError, match="not supported"):
                torch.promote_types(getattr(torch, a), getattr(torch, b))
            continue
        mine = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert str(mine) == str(its), (a, b)
        assert torch.can_cast(getattr(torch, a), getattr(torch, b)) == reference.can_cast(
            getattr(reference, a), getattr(reference, b)
        ), (a, b)


def operands(t: Any) -> list[Any]:
    made: list[Any] = [True, 2, 2.5, 1j]
    for name in ("bool", "uint8", "int64", "float16", "float64", "complex64"):
        kind = getattr(t, name)
        made += [t.ones(2, dtype=kind), t.ones((), dtype=kind)]
    return made


def test_result_type() -> None:
    for (a, i), (b, j) in zip(
        [(a, i) for a in operands(torch) for i in range(16)], [(b, j) for b in operands(reference) for j in range(16)],
        strict=True,
    ):  # fmt: skip
        assert i == j
        others = operands(torch)[i], operands(reference)[i]
        assert str(torch.result_type(a, others[0])) == str(reference.result_type(b, others[1])), (b, others[1])


def test_dtype_objects() -> None:
    for name in WIDE:
        mine, its = getattr(torch, name), getattr(reference, name)
        assert repr(mine) == repr(its)
        for fact in ("itemsize", "is_floating_point", "is_complex", "is_signed"):
            assert getattr(mine, fact) == getattr(its, fact), (name, fact)
        assert pickle.loads(pickle.dumps(mine)) is mine
        assert copy.deepcopy(mine) is mine
    assert torch.float is torch.float32 and torch.long is torch.int64 and torch.cdouble is torch.complex128
    assert torch.float64.to_complex() is torch.complex128 and torch.complex64.to_real() is torch.float32


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"])
def test_finfo(name: str) -> None:
    mine, its = torch.finfo(getattr(torch, name)), reference.finfo(getattr(reference, name))
    for fact in ("bits", "eps", "min", "max", "tiny", "smallest_normal", "resolution"):
        assert getattr(mine, fact) == pytest.approx(getattr(its, fact), rel=1e-12), fact
    assert mine.dtype == its.dtype
    assert repr(mine) == repr(its)


def test_iinfo() -> None:
    for name in ("uint8", "int8", "int16", "int32", "int64", "uint64"):
        mine, its = torch.iinfo(getattr(torch, name)), reference.iinfo(getattr(reference, name))
        assert (mine.bits, mine.min, mine.max, mine.dtype) == (its.bits, its.min, its.max, its.dtype)
    with pytest.raises(TypeError):
        torch.iinfo(torch.float32)
    with pytest.raises(TypeError):
        torch.finfo(torch.int8)


def test_devices() -> None:
    d = torch.device
    assert repr(d("cuda:1")) == repr(reference.device("cuda:1")) == repr(d("cuda", 1))
    assert str(d("cuda", 1)) == "cuda:1" and d("cpu") == d("cpu") and d("cpu") != d("cpu:0")
    assert d(d("cuda:0")).index == 0 and d(1) == d("cuda", 1)
    assert len({d("cpu"), d("cpu"), d("cuda")}) == 2
    assert pickle.loads(pickle.dumps(d("cuda:1"))) == d("cuda:1")
    for bad in ("foo", "cpu:-1", "cuda:x", "cuda:"):
        with pytest.raises(RuntimeError):
            d(bad)
    with pytest.raises(RuntimeError):
        d("cuda", -1)
    assert torch.ones(1).device == d("cpu")


def test_sizes() -> None:
    s = torch.Size([2, 3])
    assert repr(s) == "torch.Size([2, 3])" and s == (2, 3) and s.numel() == 6 and hash(s) == hash((2, 3))
    for made in (s[1:], s + (4,), (1,) + s, s * 2):
        assert type(made) is torch.Size
    assert s[0] == 2 and pickle.loads(pickle.dumps(s)) == s
    assert torch.ones(s).size() == s and torch.ones(s).size(-1) == 3
    with pytest.raises(TypeError):
        torch.Size(["a"])
