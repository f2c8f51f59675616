"""Pointwise kernels beyond the samples of the op table: accuracy over all floats, corner cases, dtypes, memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTS = ("uint8", "int8", "int16", "int32", "int64")
INF, NAN = float("inf"), float("nan")
SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-30, -1e-30, 88.7, -88.7, 1e30, -1e30, INF, -INF, NAN]


def both(values: Any, dtype: str) -> tuple[Any, Any]:
    """The same values for dumbtorch and for PyTorch."""
    theirs = torch.tensor(values).to(getattr(torch, dtype))
    ours = dumbtorch.empty(tuple(theirs.shape), dtype=getattr(dumbtorch, dtype))
    ours.copy_(dumbtorch.tensor(theirs.tolist(), dtype=getattr(dumbtorch, dtype)))
    return ours, theirs


def agree(ours: Any, theirs: torch.Tensor, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Same dtype, shape and values; NaN where PyTorch has NaN, zeros of the same sign."""
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    if theirs.dtype in (torch.float16, torch.bfloat16):
        ours, theirs = ours.to(dumbtorch.float32), theirs.to(torch.float32)
    a, b = np.asarray(ours.tolist()), np.asarray(theirs.tolist())
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    if a.dtype == np.float64 and not atol:
        exact = (a == b) & (a == 0)
        assert (np.signbit(a) == np.signbit(b))[exact].all()


# ---------------------------------------------------------------- accuracy


def every_float(step: int) -> np.ndarray:
    """Every step-th float32 bit pattern, and the numbers around every power of two."""
    bits = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32)
    borders = (np.arange(512, dtype=np.int64)[:, None] * (1 << 23) + np.arange(-3, 4)).reshape(-1) % (1 << 32)
    return np.concatenate([bits, borders.astype(np.uint32)]).view(np.float32)


def error_in_ulp(ours: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The distance to the float64 value in units of the float32 spacing there; 0 where both are the same special."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        spacing = np.maximum(np.spacing(np.abs(rounded)).astype(np.float64), 2.0**-149)
        error = np.abs(ours.astype(np.float64) - exact) / spacing
    same = (ours == rounded) | (np.isnan(ours) & np.isnan(rounded))
    return np.where(same, 0.0, error)


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "sin", "cos", "log", "erf"])
def test_at_most_two_ulp(name: str) -> None:
    values = every_float(4999)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        exact = getattr(torch, name)(torch.from_numpy(values.astype(np.float64))).numpy()
    ours = np.asarray(getattr(dumbtorch, name)(dumbtorch.tensor(values)).numpy())
    error = error_in_ulp(ours, exact)
    worst = int(np.nanargmax(error))
    assert not np.isnan(error).any()
    assert error[worst] <= 2.0, f"{name}({values[worst]!r}) is {error[worst]:.2f} ulp off"


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_close_everywhere(approximate: str) -> None:
    values = every_float(49999)
    values = values[np.isfinite(values)]
    ours = dumbtorch.nn.functional.gelu(dumbtorch.tensor(values), approximate=approximate).numpy()
    exact = torch.nn.functional.gelu(torch.from_numpy(values.astype(np.float64)), approximate=approximate).numpy()
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=4e-7)


# ---------------------------------------------------------------- corner cases

UNARY = [
    "abs", "neg", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf", "erfc", "erfinv",
    "lgamma", "floor", "ceil", "trunc", "round", "frac", "sign", "reciprocal", "square", "isnan", "isinf",
    "isfinite", "logical_not", "relu",
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name: str, dtype: str) -> None:
    ours, theirs = both(SPECIALS, dtype)
    tolerance = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-6, "float64": 1e-12}[dtype]
    # 1e30 is no multiple of pi that single-precision trigonometry of either library must agree on
    keep = slice(0, 11) if name in ("sin", "cos", "tan") else slice(None)
    ours, theirs = ours[keep], theirs[keep]
    # PyTorch's erf loses tiny bfloat16 numbers
    atol = 1e-20 if (name, dtype) == ("erf", "bfloat16") else 0.0
    agree(getattr(dumbtorch, name)(ours), getattr(torch, name)(theirs), tolerance, atol)


BINARY = [
    "add", "sub", "mul", "div", "maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "copysign", "fmod",
    "remainder", "pow", "eq", "ne", "lt", "le", "gt", "ge",
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_special_pairs(name: str, dtype: str) -> None:
    numbers = [v for v in SPECIALS if not 80 < abs(v) < INF]
    pairs = list(itertools.product(numbers, repeat=2))
    a, ta = both([p[0] for p in pairs], dtype)
    b, tb = both([p[1] for p in pairs], dtype)
    tolerance = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-6, "float64": 1e-12}[dtype]
    ours, theirs = getattr(dumbtorch, name)(a, b), getattr(torch, name)(ta, tb)
    if name in ("maximum", "minimum", "fmax", "fmin"):
        # of zeros that differ in sign, either one is the larger
        ours, theirs = ours + 0.0, theirs + 0.0
    agree(ours, theirs, rtol=tolerance)


# ---------------------------------------------------------------- integers


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "div_floor", "div_trunc"])
def test_integer_division(name: str, dtype: str) -> None:
    """Every sign, the extremes, and what C would trap on."""
    info = torch.iinfo(getattr(torch, dtype))
    numbers = (info.min, info.min + 1, -7, -2, -1, 0, 1, 2, 3, 100, info.max - 1, info.max)
    numbers = tuple(n for n in numbers if n >= info.min)
    pairs = [(a, b) for a in numbers for b in numbers if b != 0]
    if dtype in ("int32", "int64"):
        # PyTorch's own truncation traps here
        lowest = dumbtorch.full((9,), info.min, dtype=getattr(dumbtorch, dtype))
        assert dumbtorch.div(lowest, -1, rounding_mode="trunc").tolist() == [info.min] * 9
        assert dumbtorch.fmod(lowest, -1).tolist() == [0] * 9
        pairs.remove((info.min, -1))
    a, ta = both([p[0] for p in pairs], dtype)
    b, tb = both([p[1] for p in pairs], dtype)
    if name.startswith("div_"):
        mode = name[4:]
        agree(dumbtorch.div(a, b, rounding_mode=mode), torch.div(ta, tb, rounding_mode=mode))
    else:
        agree(getattr(dumbtorch, name)(a, b), getattr(torch, name)(ta, tb))


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("size", [1, 5, 100, 100_000])
def test_division_of_integers_by_zero_raises(dtype: str, size: int) -> None:
    a = dumbtorch.full((size,), 7, dtype=getattr(dumbtorch, dtype))
    b = dumbtorch.full((size,), 1, dtype=getattr(dumbtorch, dtype))
    b[size // 2] = 0
    for divide in (dumbtorch.floor_divide, dumbtorch.remainder, dumbtorch.fmod):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            divide(a, b)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            divide(a, 0)
    assert (a == 7).all()
    assert dumbtorch.isinf(a / b).sum() == 1


def test_integer_powers() -> None:
    base, theirs = both([-3, -2, -1, 0, 1, 2, 3, 7], "int64")
    for exponent in range(-3, 64):
        exponents, their_exponents = both([exponent] * 8, "int64")
        agree(base**exponents, theirs**their_exponents)
        if exponent >= 0:
            agree(base**exponent, theirs**exponent)
    with pytest.raises(RuntimeError, match="negative integer powers"):
        base**-1


@pytest.mark.parametrize("dtype", INTS)
def test_shifts(dtype: str) -> None:
    info = torch.iinfo(getattr(torch, dtype))
    values, counts = [info.min, -9 if info.min else 9, 1, info.max], list(range(-2 if info.min else 0, 70))
    pairs = list(itertools.product(values, counts))
    a, ta = both([p[0] for p in pairs], dtype)
    b, tb = both([p[1] for p in pairs], dtype)
    agree(a << b, ta << tb)
    agree(a >> b, ta >> tb)


# ---------------------------------------------------------------- dtypes

ALL = ("bool", *INTS, *FLOATS)


@pytest.mark.parametrize("name", ["add", "mul", "div", "eq", "lt", "maximum", "where", "atan2"])
@pytest.mark.parametrize(("left", "right"), list(itertools.product(ALL, ALL)))
def test_mixed_dtypes(name: str, left: str, right: str) -> None:
    a, ta = both([[0, 1, 2, 3, 1], [1, 0, 5, 2, 1]], left)
    b, tb = both([1, 1, 0, 2, 1], right)
    zero, tzero = both(3, right)
    for x, tx in ((b, tb), (zero, tzero), (2, 2), (1.5, 1.5), (True, True)):
        if name == "where":
            mask, tmask = both([True, False, True, False, True], "bool")
            agree(dumbtorch.where(mask, a, x), torch.where(tmask, ta, tx))
        elif name in ("maximum", "atan2") and not isinstance(tx, torch.Tensor):
            continue
        else:
            tolerance = 1e-2 if "16" in left + right else 1e-6
            agree(getattr(dumbtorch, name)(a, x), getattr(torch, name)(ta, tx), rtol=tolerance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t & t, "\"bitwise_and_cpu\" not implemented for 'Float'"),
        (lambda t: t.bitwise_not(), "\"bitwise_not_cpu\" not implemented for 'Float'"),
        (lambda t: t << 1, "\"lshift_cpu\" not implemented for 'Float'"),
        (lambda t: (t > 0) % (t > 0), "\"remainder_cpu\" not implemented for 'Bool'"),
        (lambda t: (t > 0).floor(), "\"floor_vml_cpu\" not implemented for 'Bool'"),
    ],
)
def test_unsupported_dtypes(call: Any, message: str) -> None:
    for tensor in (dumbtorch.ones(3), torch.ones(3)):
        with pytest.raises(NotImplementedError) as caught:
            call(tensor)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: -(t > 0),
        lambda t: (t > 0) - (t > 0),
        lambda t: t - (t > 0),
        lambda t: t.int().add(t.int(), alpha=1.5),
        lambda t: t.int().add(t.int(), alpha=True),
        lambda t: t.int().add_(1.5),
        lambda t: t.add_(t.new_ones(2, 3)),
        lambda t: t.clamp(),
        lambda t: t.div(t, rounding_mode="up"),
        lambda t: t.expand(4, 3).add_(1),
        lambda t: t.lerp(t.int(), 0.5),
    ],
)
def test_errors_are_those_of_pytorch(call: Any) -> None:
    caught = []
    for tensor in (dumbtorch.ones(3), torch.ones(3)):
        with pytest.raises(RuntimeError) as error:
            call(tensor)
        caught.append(str(error.value).split("\n")[0].split(" Please")[0])
    assert caught[0][:60] == caught[1][:60]


def test_numbers_beside_half_types_keep_their_range() -> None:
    ours, theirs = both([1.0, 0.5, 2.0], "float16")
    agree(ours * 1e-3 * 1000, theirs * 1e-3 * 1000, rtol=1e-3)
    agree(ours * 100000.0, theirs * 100000.0)
    agree(ours / 100000.0, theirs / 100000.0, rtol=1e-2)


# ---------------------------------------------------------------- sizes, layouts, memory

SIZES = (0, 1, 3, 15, 16, 17, 31, 33, 511, 512, 513, 1025, 32767, 32768, 70_001)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_every_length(size: int, dtype: str) -> None:
    """Ends of vectors, of blocks, of tasks."""
    values = (torch.arange(size + 3) % 5).to(getattr(torch, dtype))
    ours = dumbtorch.empty(size + 3, dtype=getattr(dumbtorch, dtype))
    ours.copy_(dumbtorch.arange(size + 3) % 5)
    for start, step in ((0, 1), (1, 1), (0, 2), (2, 3)):
        x, tx = ours[start : start + size : step], values[start : start + size : step]
        agree(x + x, tx + tx)
        agree(x * 3, tx * 3)
        agree(x == x.flip(0), tx == tx.flip(0))
        target = dumbtorch.full_like(ours, 1)
        target[start : start + size : step].add_(x)
        expected = torch.full_like(values, 1)
        expected[start : start + size : step].add_(tx)
        agree(target, expected)


SHAPES = [((3, 4), (4,)), ((3, 4), (3, 1)), ((3, 1), (1, 4)), ((2, 3, 700), (3, 1)), ((2, 3, 700), (700,)), ((5,), ()),
          ((), (2, 2)), ((0, 3), (3,)), ((1, 1), (3, 3)), ((300, 1), (1, 300)), ((2, 1, 3, 1), (4, 1, 70))]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_broadcasting(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    ta, tb = torch.rand(left), torch.rand(right)
    a, b = dumbtorch.tensor(ta.numpy()).reshape(left), dumbtorch.tensor(tb.numpy()).reshape(right)
    agree(a - b, ta - tb)
    agree(b - a, tb - ta)
    agree(dumbtorch.where(a > 0.5, a, b), torch.where(ta > 0.5, ta, tb))
    out = dumbtorch.empty(0)
    assert dumbtorch.add(a, b, out=out) is out
    agree(out, ta + tb)


def test_transposed_operands_keep_their_order() -> None:
    ta, tb = torch.rand(64, 700), torch.rand(700, 64)
    a, b = dumbtorch.tensor(ta.numpy()), dumbtorch.tensor(tb.numpy())
    agree(a.t() + b, ta.t() + tb)
    agree(a + b.t(), ta + tb.t())
    agree(a.t() * a.t(), ta.t() * ta.t())
    assert (a.t() * a.t()).stride() == (ta.t() * ta.t()).stride()


def test_writing_over_an_operand() -> None:
    a = dumbtorch.arange(10.0)
    dumbtorch.mul(a, a, out=a)
    assert a.tolist() == [float(n * n) for n in range(10)]
    a.sub_(a)
    assert not a.any()
    a = dumbtorch.arange(10.0)
    for overlapping in (a[1:], a[:-1]):
        with pytest.raises(RuntimeError, match="single memory location"):
            dumbtorch.add(a[:-1] if overlapping.data_ptr() != a.data_ptr() else a[1:], 1.0, out=overlapping)
    assert a.tolist() == [float(n) for n in range(10)]


@pytest.mark.parametrize("size", [4, 100_000])
def test_out_of_another_dtype(size: int) -> None:
    a, b = dumbtorch.ones(size), dumbtorch.full((size,), 2.0)
    out = dumbtorch.empty(size, dtype=dumbtorch.float64)
    dumbtorch.add(a, b, out=out)
    assert (out == 3).all()
    flags = dumbtorch.empty(size, dtype=dumbtorch.int32)
    dumbtorch.lt(a, b, out=flags)
    assert flags.sum() == size
    with pytest.raises(RuntimeError, match="can't be cast"):
        dumbtorch.add(a, b, out=flags)


def test_clamp_limits() -> None:
    ours, theirs = both(SPECIALS, "float32")
    for low, high in ((-1, 1), (0.5, None), (None, 0.5), (3, 1), (NAN, 1), (0, NAN), (-INF, INF)):
        agree(ours.clamp(low, high), theirs.clamp(low, high))
    whole, their_whole = both([-5, 0, 5, 9], "int64")
    for low, high in ((-1, 6), (0.5, 6), (None, 2), (1 << 60, None), (-(1 << 62), (1 << 62) + 1)):
        agree(whole.clamp(low, high), their_whole.clamp(low, high))
    limits, their_limits = both([0, 1, 2, 3], "int64")
    agree(whole.clamp(limits, limits + 1), their_whole.clamp(their_limits, their_limits + 1))
