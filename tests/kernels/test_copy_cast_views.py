"""Copies, casts, views and what tensors are made from, against PyTorch and NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dumbtorch

NUMERIC = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64")


def dtype(name: str, module: Any = dumbtorch) -> Any:
    return getattr(module, name)


def ours(t: torch.Tensor) -> Any:
    """The same elements as a dumbtorch tensor, by way of bytes: no cast of ours takes part."""
    name = str(t.dtype)[6:]
    flat = np.ascontiguousarray(t.contiguous().reshape(-1).view(torch.uint8).numpy())
    whole = dumbtorch.from_numpy(flat.copy()).view(dtype(name)) if flat.size else dumbtorch.empty(0, dtype=dtype(name))
    return whole.reshape(tuple(t.shape))


def theirs(t: Any) -> torch.Tensor:
    name = str(t.dtype)[6:]
    if t.numel() == 0:
        return torch.empty(tuple(t.shape), dtype=getattr(torch, name))
    flat = t.contiguous().reshape(-1).view(dumbtorch.uint8)
    return torch.from_numpy(np.array(flat)).view(getattr(torch, name)).reshape(tuple(t.shape))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    if not a.dtype.is_floating_point:
        return torch.equal(a, b)
    a, b = a.double(), b.double()
    return bool((((a == b) & (torch.signbit(a) == torch.signbit(b))) | (a.isnan() & b.isnan())).all())


EDGES = (
    float("nan"), float("inf"), -float("inf"), 300.5, -1.5, -300.0, 70000.0, -70000.0, 3e9, -3e9, 3000000001.0, 1e10,
    1e19, -1e19, 3e38, 0.0, -0.0, 1e-45, 1e-40, 1 + 2**-8 + 2**-40, 1 + 2**-11 + 2**-30, 2**-24, 65519.0, 65520.0,
)  # fmt: skip


@pytest.mark.parametrize("source", NUMERIC)
@pytest.mark.parametrize("target", NUMERIC)
def test_cast_gives_the_bits_that_pytorch_gives(source: str, target: str) -> None:
    generator = torch.Generator().manual_seed(1)
    spread = torch.randn(100, dtype=torch.float64, generator=generator) * 10.0 ** torch.randint(
        -8, 12, (100,), generator=generator
    )
    values = torch.cat([torch.tensor(EDGES, dtype=torch.float64), spread])
    kind = getattr(torch, source)
    if kind.is_complex:
        given_ = torch.complex(values, values.flip(0)).to(kind)
    elif kind.is_floating_point or source == "bool":
        given_ = values.to(kind)
    else:
        width = torch.iinfo(kind).bits // 8
        given_ = torch.randint(0, 256, (200 * width,), dtype=torch.uint8, generator=generator).view(kind)
    with _quiet():
        expected = given_.to(getattr(torch, target))
        result = theirs(ours(given_).to(dtype(target)))
    assert same(result, expected)


class _quiet:
    def __enter__(self) -> None:
        import warnings

        self.catch = warnings.catch_warnings()
        self.catch.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *exc: object) -> None:
        self.catch.__exit__(None, None, None)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_codes_and_rounding(name: str) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(getattr(torch, name))
    assert same(theirs(ours(codes).to(dumbtorch.float32)), codes.float())
    values = torch.cat(
        [torch.tensor(EDGES[1:], dtype=torch.float32), torch.linspace(-500, 500, 4001), 2.0 ** torch.arange(-20.0, 17)]
    )
    got, expected = theirs(ours(values).to(dtype(name))), values.to(getattr(torch, name))
    assert same(got.float(), expected.float())


# ---------------------------------------------------------------- strided copies


@st.composite
def layouts(draw: Any, most: int = 6) -> np.ndarray:
    """A NumPy array with sizes 0..most, sliced, permuted or broadcast."""
    ndim = draw(st.integers(0, 4))
    steps = [draw(st.integers(1, 3)) for _ in range(ndim)]
    shape = [draw(st.integers(0, most)) for _ in range(ndim)]
    base = np.arange(int(np.prod([n * s + 1 for n, s in zip(shape, steps, strict=True)])), dtype=np.float32)
    a = base.reshape([n * s + 1 for n, s in zip(shape, steps, strict=True)])
    a = a[tuple(slice(draw(st.integers(0, 1)), None, s) for s in steps)]
    a = a[tuple(slice(0, n) for n in shape)]
    return np.asarray(a).transpose(draw(st.permutations(range(ndim))))


def laid_out(a: np.ndarray) -> Any:
    """A dumbtorch tensor with the same strides."""
    if a.size == 0:
        return dumbtorch.zeros(a.shape)
    steps = [s // 4 for s in a.strides]
    length = 1 + sum((n - 1) * s for n, s in zip(a.shape, steps, strict=True))
    flat = np.lib.stride_tricks.as_strided(a, (length,), (4,))
    return dumbtorch.from_numpy(flat.copy()).as_strided(a.shape, steps)


def model_of(a: np.ndarray) -> torch.Tensor:
    """A PyTorch tensor of zeros with the same strides."""
    if not a.size:
        return torch.zeros(a.shape)
    steps = [s // 4 for s in a.strides]
    return torch.as_strided(
        torch.zeros(1 + sum((n - 1) * s for n, s in zip(a.shape, steps, strict=True))), a.shape, steps
    )


@given(layouts(), layouts())
@settings(max_examples=150, deadline=None)
def test_copy_broadcasts_as_numpy_assigns(target: np.ndarray, source: np.ndarray) -> None:
    t = laid_out(target)
    expected = np.array(target)
    try:
        expected[...] = source
        fits = source.ndim <= target.ndim
    except ValueError:
        fits = False
    if fits:
        t.copy_(laid_out(source))
        assert np.array_equal(np.asarray(t.contiguous()), expected)
    elif target.size or source.ndim > target.ndim:
        with pytest.raises(RuntimeError, match="size|shape"):
            t.copy_(laid_out(source))


@pytest.mark.parametrize("kind", ["uint8", "bfloat16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (64, 64), (130, 257), (2, 33, 65), (5, 1, 40)])
def test_transposed_copies(kind: str, shape: tuple[int, ...]) -> None:
    x = (torch.rand(shape) * 100).to(getattr(torch, kind))
    for order in itertools.permutations(range(len(shape))):
        assert torch.equal(theirs(ours(x).permute(order).contiguous()), x.permute(order).contiguous())
        with _quiet():
            cast = ours(x).permute(order).to(dumbtorch.float32 if kind != "float32" else dumbtorch.int32).contiguous()
            assert torch.equal(theirs(cast), x.permute(order).to(torch.float32 if kind != "float32" else torch.int32))


@given(layouts())
@settings(max_examples=100, deadline=None)
def test_clone_keeps_values_and_dense_strides(a: np.ndarray) -> None:
    t = laid_out(a).clone()
    assert np.array_equal(np.asarray(t.contiguous()), a)
    assert tuple(t.stride()) == model_of(a).clone().stride()


def test_clone_is_lazy_and_safe() -> None:
    x = dumbtorch.arange(5000.0)
    copy = x.clone()
    x.fill_(1)
    assert float(copy[4999].item()) == 4999.0
    other = copy.clone()
    other[0] = -1.0
    assert float(copy[0].item()) == 0.0
    part = copy[10:20].clone()
    copy.zero_()
    assert float(part[0].item()) == 10.0


def test_copy_refuses_overlap_and_expanded_targets() -> None:
    x = dumbtorch.arange(6.0)
    with pytest.raises(RuntimeError, match="single memory location"):
        x[1:].copy_(x[:-1])
    with pytest.raises(RuntimeError, match="more than one element"):
        dumbtorch.zeros(1).expand(3).copy_(x[:3])
    with pytest.raises(TypeError):
        x.copy_(3)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("kind", "value"), [("uint8", 300), ("int8", -129), ("float32", 1e300), ("int64", float("nan")), ("float32", 1j)]
)
def test_fill_refuses_what_does_not_fit(kind: str, value: Any) -> None:
    x = dumbtorch.zeros(3, dtype=dtype(kind))
    with pytest.raises(RuntimeError, match="without overflow"):
        x.fill_(value)
    assert not bool(x.any().item())
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.zeros(3, dtype=getattr(torch, kind)).fill_(value)


# ---------------------------------------------------------------- views


_slices = st.slices(7).map(lambda s: slice(s.start, s.stop, abs(s.step) if s.step else None))
_items = st.one_of(st.integers(-7, 6), _slices, st.none(), st.just(Ellipsis))


@given(layouts(), st.one_of(_items, st.lists(_items, max_size=5).map(tuple)))
@settings(max_examples=400, deadline=None)
def test_basic_indexing(a: np.ndarray, index: Any) -> None:
    if isinstance(index, tuple) and sum(i is Ellipsis for i in index) > 1:
        return  # PyTorch alone allows it
    t = laid_out(a)
    try:
        expected = a[index]
    except IndexError:
        with pytest.raises(IndexError):
            t[index]
        return
    got = t[index]
    assert tuple(got.shape) == np.shape(expected)
    assert np.array_equal(np.asarray(got.contiguous()), expected)


@given(layouts(), st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 6, 12]), max_size=4))
@settings(max_examples=300, deadline=None)
def test_reshape_and_view(a: np.ndarray, size: list[int]) -> None:
    t = laid_out(a)
    model = model_of(a)
    try:
        shape = tuple(model.reshape(size).shape)
    except RuntimeError as error:
        with pytest.raises(RuntimeError) as caught:
            t.reshape(size)
        assert str(caught.value) == str(error)
        return
    assert np.array_equal(np.asarray(t.reshape(size).contiguous()), a.reshape(shape))
    try:
        strides = model.view(size).stride()
    except RuntimeError as error:
        with pytest.raises(RuntimeError) as caught:
            t.view(size)
        assert str(caught.value) == str(error)
        return
    assert t.view(size).stride() == strides
    assert t.view(size).data_ptr() == t.data_ptr()


@given(layouts(), st.integers(-4, 3), st.integers(-4, 3), st.integers(-4, 4))
@settings(max_examples=200, deadline=None)
def test_view_ops_agree_with_pytorch(a: np.ndarray, p: int, q: int, k: int) -> None:
    t, model = laid_out(a), torch.from_numpy(np.array(a, order="C"))
    for name, args in [
        ("transpose", (p, q)), ("select", (p, k)), ("narrow", (p, k, 1)), ("unsqueeze", (p,)), ("squeeze", (p,)),
        ("diagonal", (k, p, q)), ("unfold", (p, max(k, 0), 2)), ("flatten", (p, q)), ("movedim", (p, q)),
        ("split", (max(k, 1), p)), ("chunk", (max(k, 1), p)), ("unbind", (p,)),
    ]:  # fmt: skip
        try:
            expected = getattr(model, name)(*args)
        except (RuntimeError, IndexError) as error:
            with pytest.raises(type(error)):
                getattr(t, name)(*args)
            continue
        got = getattr(t, name)(*args)
        several = isinstance(expected, tuple)
        assert not several or len(got) == len(expected)
        for one, other in zip(got, expected, strict=True) if several else [(got, expected)]:
            assert tuple(one.shape) == tuple(other.shape), name
            assert np.array_equal(np.asarray(one.contiguous()), other.numpy()), name


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda m, x: x.view(5), RuntimeError, "shape '[5]' is invalid for input of size 6"),
        (lambda m, x: x.t().view(6), RuntimeError, "view size is not compatible with input tensor's size and stride"),
        (lambda m, x: x[5], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (lambda m, x: x[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
        (lambda m, x: x[::-1], ValueError, "step must be greater than zero"),
        (lambda m, x: x.expand(3, 3), RuntimeError, "size of the tensor (3) must match the existing size (2)"),
        (lambda m, x: x.as_strided((4, 4), (3, 1)), RuntimeError, "out of bounds for storage of size 24"),
        (lambda m, x: x.permute(0, 0), RuntimeError, "duplicate dims are not allowed"),
        (lambda m, x: m.cat([]), ValueError, "expected a non-empty list of Tensors"),
        (lambda m, x: m.cat([x, m.zeros(3, 2)]), RuntimeError, "Expected size 3 but got size 2 for tensor number 1"),
        (lambda m, x: m.arange(0, 10, -1), RuntimeError, "upper bound and lower bound inconsistent with step sign"),
    ],
)  # fmt: skip
def test_errors_are_those_of_pytorch(make: Any, error: type[Exception], text: str) -> None:
    for module in (dumbtorch, torch):
        with pytest.raises(error) as caught:
            make(module, module.ones(2, 3))
        assert text in str(caught.value)


def test_view_as_another_dtype() -> None:
    x = torch.randn(3, 4)
    for kind in ("int32", "uint8", "float64", "int16"):
        assert torch.equal(theirs(ours(x).view(dtype(kind))), x.view(getattr(torch, kind)))
    with pytest.raises(RuntimeError, match=r"self.size\(-1\) must be divisible by 2"):
        ours(x)[:, :3].view(dumbtorch.float64)


# ---------------------------------------------------------------- joining and making


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(-3, 2), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_cat(lengths: list[int], dim: int, other: int) -> None:
    arrays = [
        np.random.default_rng(n).random([n if d == dim % 3 else other for d in range(3)], dtype=np.float32)
        for n in lengths
    ]
    got = dumbtorch.cat([dumbtorch.from_numpy(a) for a in arrays], dim)
    assert np.array_equal(np.asarray(got), np.concatenate(arrays, dim))


@pytest.mark.parametrize("kinds", [("int64", "float32"), ("float16", "float64"), ("bool", "uint8")])
def test_cat_promotes(kinds: tuple[str, str]) -> None:
    parts = [torch.ones(2, 3).to(getattr(torch, k)) for k in kinds]
    assert torch.equal(theirs(dumbtorch.cat([ours(p).t() for p in parts], 1)), torch.cat([p.t() for p in parts], 1))


@pytest.mark.parametrize(
    "bounds", [(0, 10, 1), (10, 0, -3), (0.0, 1.0, 0.1), (0, 100000, 3), (-5, 5, 2), (3, 3, 1), (0.5, 3.0, 0.7)]
)
@pytest.mark.parametrize("kind", [None, "float32", "float64", "int32", "int64"])
def test_arange(bounds: tuple[Any, ...], kind: str | None) -> None:
    if kind == "int64" and int(bounds[2]) == 0:
        with pytest.raises((ValueError, RuntimeError), match="step must be nonzero"):
            dumbtorch.arange(*bounds, dtype=dumbtorch.int64)
        return
    got = theirs(dumbtorch.arange(*bounds, dtype=None if kind is None else dtype(kind)))
    expected = torch.arange(*bounds, dtype=None if kind is None else getattr(torch, kind))
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("flip", ((0, 2),)), ("flip", (-1,)), ("roll", (1, 0)), ("roll", ((1, -2), (0, 2))), ("roll", (5,)),
        ("repeat", (2, 1, 3)), ("repeat", (2, 1, 1, 2)), ("tile", ((2,),)), ("rot90", (1, (0, 1))),
        ("rot90", (-1, (1, 2))),
        ("fliplr", ()), ("flipud", ()),
    ],
)  # fmt: skip
def test_rearrangements(name: str, args: tuple[Any, ...]) -> None:
    for shape in ((3, 2, 4), (1, 0, 2)):
        x = torch.arange(float(np.prod(shape))).reshape(shape)
        assert torch.equal(theirs(getattr(ours(x), name)(*args)), getattr(x, name)(*args))


def test_flip_carries_gradient() -> None:
    x = dumbtorch.arange(6.0).reshape(2, 3).requires_grad_()
    weight = dumbtorch.arange(6.0).reshape(2, 3)
    (x.flip(1) * weight).sum().backward()
    assert x.grad.tolist() == [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
