"""Limits, promotion and casting rules of all dtypes as PyTorch has them; the operations of 8-bit floats."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import dumbtorch as dt

NAMES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support")


def outcome(call: Callable[[], Any]) -> str:
    """The result's text, or the kind of the exception."""
    try:
        return str(call())
    except (TypeError, RuntimeError, ValueError) as error:
        return type(error).__name__


@pytest.mark.parametrize("name", NAMES)
def test_limits(name: str) -> None:
    mine, its = getattr(dt, name), getattr(torch, name)
    assert outcome(lambda: dt.finfo(mine)) == outcome(lambda: torch.finfo(its))
    assert outcome(lambda: dt.iinfo(mine)) == outcome(lambda: torch.iinfo(its))
    for field in ("bits", "eps", "max", "min", "resolution", "smallest_normal", "tiny", "dtype"):
        assert outcome(lambda f=field: getattr(dt.finfo(mine), f)) == outcome(
            lambda f=field: getattr(torch.finfo(its), f)
        )
    for field in ("bits", "max", "min", "dtype"):
        assert outcome(lambda f=field: getattr(dt.iinfo(mine), f)) == outcome(
            lambda f=field: getattr(torch.iinfo(its), f)
        )
    for field in ("itemsize", "is_floating_point", "is_complex", "is_signed"):
        assert getattr(mine, field) == getattr(its, field)
    for method in ("to_real", "to_complex"):
        assert outcome(getattr(mine, method)) == outcome(getattr(its, method))


def test_promotion_of_all_pairs() -> None:
    for a, b in itertools.product(NAMES, NAMES):
        mine, its = (getattr(dt, a), getattr(dt, b)), (getattr(torch, a), getattr(torch, b))
        assert outcome(lambda p=mine: dt.promote_types(*p)) == outcome(lambda p=its: torch.promote_types(*p)), (a, b)
        assert dt.can_cast(*mine) == torch.can_cast(*its), (a, b)


@pytest.mark.parametrize("name", NAMES)
def test_result_types(name: str) -> None:
    """Of tensors with and without dimensions, and beside Python numbers."""
    for other in (*NAMES, True, 1, 1.5, 1j):
        for first, second in itertools.product(((), (2,)), ((), (2,))):
            args = []
            for framework in (dt, torch):
                one = framework.zeros(first, dtype=getattr(framework, name))
                two = framework.zeros(second, dtype=getattr(framework, other)) if isinstance(other, str) else other
                args.append((one, two))
            want = outcome(lambda p=args[1]: torch.result_type(*p))
            assert outcome(lambda p=args[0]: dt.result_type(*p)) == want, (name, other, first, second)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float8(name: str) -> None:
    values = [1.5, -2.0, 0.0, 300.0, float("nan"), 1e9, 0.013]
    mine = dt.tensor(values, dtype=getattr(dt, name))
    its = torch.tensor(values, dtype=getattr(torch, name))
    for call in (
        lambda t, x: x.abs(), lambda t, x: x * x, lambda t, x: x.float() * 2, lambda t, x: x.clone(),
        lambda t, x: x[1:], lambda t, x: t.cat([x, x]),
    ):  # fmt: skip
        got, want = call(dt, mine), call(torch, its)
        assert str(got.dtype) == str(want.dtype)
        assert repr(got) == repr(want)
    for call in (
        lambda t, x: x == x,
        lambda t, x: x != 1.5,
        lambda t, x: t.isnan(x),
        lambda t, x: x.any(),
        lambda t, x: x.all(),
    ):
        assert call(dt, mine).tolist() == call(torch, its).tolist()
    for op in ("isinf", "isfinite", "exp", "add"):
        arguments = 2 if op == "add" else 1
        got = outcome(lambda o=op, n=arguments: getattr(dt, o)(*[mine] * n).tolist())
        assert got == outcome(lambda o=op, n=arguments: getattr(torch, o)(*[its] * n).tolist())
