"""torch.fft and the short-time transforms against PyTorch: values, gradients, lengths, norms, errors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from dumbtorch.autograd import gradcheck, gradgradcheck

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = ("fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn")
TWO = ("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2")
REAL_ONLY = ("rfft", "ihfft", "rfftn", "ihfftn", "rfft2", "ihfft2")


def pair(*shape: int, seed: int = 0, dtype: str = "float64", complex_: bool = False) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if complex_:
        values = values + 1j * rng.standard_normal(shape)
        dtype = "complex128" if dtype == "float64" else "complex64"
    values = values.astype(dtype)
    return dumbtorch.from_numpy(values), torch.from_numpy(values)


def close(a: Any, b: Any, rtol: float = 1e-9) -> None:
    a, b = a.detach(), b.detach()
    assert str(a.dtype) == str(b.dtype)
    assert tuple(a.shape) == tuple(b.shape)
    a = a.resolve_conj().numpy() if a.is_complex() else a.numpy()
    np.testing.assert_allclose(a, b.resolve_conj().numpy(), rtol=rtol, atol=rtol * 10)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ONE)
def test_one_dimension(name: str, norm: str | None) -> None:
    for shape, n, dim in (((5,), None, -1), ((4, 6), None, 0), ((3, 4, 6), 5, 1), ((3, 8), 3, -1), ((2, 3), 9, 0)):
        for complex_ in (False, True):
            if complex_ and name in REAL_ONLY:
                continue
            a, b = pair(*shape, complex_=complex_)
            close(getattr(dumbtorch.fft, name)(a, n, dim, norm), getattr(torch.fft, name)(b, n, dim, norm))
            if a.ndim > 1:
                close(getattr(dumbtorch.fft, name)(a.mT, norm=norm), getattr(torch.fft, name)(b.mT, norm=norm))


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", MANY + TWO)
def test_several_dimensions(name: str, norm: str | None) -> None:
    calls: list[dict[str, Any]] = [{}, {"s": (3, 10), "dim": (1, 2)}, {"dim": (0, -1)}, {"s": (-1, 4), "dim": (2, 1)}]
    calls += [{"s": (4, 5)}] * (name in MANY)
    for kwargs in calls:
        for complex_ in (False, True):
            if complex_ and name in REAL_ONLY:
                continue
            a, b = pair(3, 4, 5, complex_=complex_)
            mine = getattr(dumbtorch.fft, name)(a, norm=norm, **kwargs)
            close(mine, getattr(torch.fft, name)(b, norm=norm, **kwargs))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_dtypes(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, (4, 6)).astype(dtype)
    a, b = dumbtorch.tensor(values.tolist(), dtype=getattr(dumbtorch, dtype)), torch.from_numpy(values)
    for name in ONE:
        close(getattr(dumbtorch.fft, name)(a), getattr(torch.fft, name)(b), 1e-5)


def _complex_results(name: str) -> bool:
    return name not in ("irfft", "hfft", "irfftn", "hfftn")


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "rfftn", "irfftn", "fftn"])
def test_gradient(name: str) -> None:
    for shape in ((5,), (3, 4)):
        for complex_ in (False, True):
            if complex_ and name in REAL_ONLY:
                continue
            a, b = (t.requires_grad_() for t in pair(*shape, complex_=complex_))
            mine, its = getattr(dumbtorch.fft, name)(a), getattr(torch.fft, name)(b)
            g, theirs = pair(*its.shape, seed=1, complex_=its.is_complex())
            close(dumbtorch.autograd.grad(mine, a, g)[0], torch.autograd.grad(its, b, theirs)[0])

            def call(x: Any) -> Any:
                return getattr(dumbtorch.fft, name)(x)

            assert gradcheck(call, (a,), check_undefined_grad=False)
            assert gradgradcheck(call, (a,), check_undefined_grad=False)


def test_frequencies_and_shifts() -> None:
    for n in (1, 4, 5):
        close(dumbtorch.fft.fftfreq(n, 0.5), torch.fft.fftfreq(n, 0.5), 1e-6)
        close(dumbtorch.fft.rfftfreq(n, 0.5), torch.fft.rfftfreq(n, 0.5), 1e-6)
    a, b = pair(4, 5)
    for name in ("fftshift", "ifftshift"):
        for dim in (None, 0, (0, 1)):
            close(getattr(dumbtorch.fft, name)(a, dim), getattr(torch.fft, name)(b, dim))


def test_out() -> None:
    a, b = pair(4, 5)
    out = dumbtorch.empty(0, dtype=dumbtorch.complex128)
    assert dumbtorch.fft.rfft(a, out=out) is out
    close(out, torch.fft.rfft(b))


ERRORS = (
    lambda t: t.fft.fft(t.ones(3), n=0),
    lambda t: t.fft.irfft(t.ones(1)),
    lambda t: t.fft.fft(t.ones(3), norm="other"),
    lambda t: t.fft.fft(t.ones(3), dim=2),
    lambda t: t.fft.fftn(t.ones(3, 3), dim=(0, 0)),
    lambda t: t.fft.fftn(t.ones(3), s=(2, 2)),
    lambda t: t.fft.fftn(t.ones(3, 3), s=(2, 2), dim=(0,)),
    lambda t: t.fft.fft(t.ones(3).half()),
    lambda t: t.fft.rfft(t.ones(3, dtype=t.complex64)),
    lambda t: t.stft(t.ones(30), 8),
    lambda t: t.stft(t.ones(30), 64, center=False, return_complex=True),
    lambda t: t.istft(t.ones(5, 4), 8),
)


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_those_of_pytorch(call: Any) -> None:
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(theirs.type) as mine:
        call(dumbtorch)
    assert len(str(mine.value)) > 8


@pytest.mark.parametrize("settings", [
    {}, {"hop_length": 3}, {"win_length": 6}, {"normalized": True}, {"onesided": False}, {"center": False},
    {"pad_mode": "constant"},
])  # fmt: skip
def test_short_time_transforms(settings: dict[str, Any]) -> None:
    a, b = pair(2, 40)
    w, tw = (t.hann_window(settings.get("win_length", 8), dtype=t.float64) + 0.1 if hasattr(t, "hann_window")
             else t.ones(settings.get("win_length", 8), dtype=t.float64) for t in (dumbtorch, torch))  # fmt: skip
    tw = torch.from_numpy(w.numpy())
    mine = dumbtorch.stft(a, 8, window=w, return_complex=True, **settings)
    its = torch.stft(b, 8, window=tw, return_complex=True, **settings)
    close(mine, its)
    back = {key: value for key, value in settings.items() if key != "pad_mode"}
    close(dumbtorch.istft(mine, 8, window=w, **back), torch.istft(its, 8, window=tw, **back))
    close(dumbtorch.istft(mine, 8, window=w, length=33, **back), torch.istft(its, 8, window=tw, length=33, **back))


def test_large_transforms_use_several_threads() -> None:
    a, b = pair(64, 4096, dtype="float32")
    close(dumbtorch.fft.rfft(a), torch.fft.rfft(b), 1e-4)


def _compare(shape: tuple[int, ...], dims: tuple[int, ...], single: bool) -> None:
    """All three kinds beside PyTorch in double precision; the error is measured against the largest value."""
    dtype, limit = ("float32", 2e-6) if single else ("float64", 4e-15)
    a, b = pair(*shape, dtype=dtype)
    c, d = pair(*shape, dtype=dtype, complex_=True, seed=1)
    h, g = pair(*(n // 2 + 1 if i == dims[-1] else n for i, n in enumerate(shape)), dtype=dtype, complex_=True, seed=2)
    b, d, g = b.double(), d.to(torch.complex128), g.to(torch.complex128)
    sizes = [shape[i] for i in dims]
    for mine, its in (
        (dumbtorch.fft.rfftn(a, dim=dims, norm="ortho"), torch.fft.rfftn(b, dim=dims, norm="ortho")),
        (dumbtorch.fft.fftn(c, dim=dims), torch.fft.fftn(d, dim=dims)),
        (dumbtorch.fft.ifftn(c, dim=dims), torch.fft.ifftn(d, dim=dims)),
        (dumbtorch.fft.fftn(a, dim=dims), torch.fft.fftn(b, dim=dims)),
        (dumbtorch.fft.irfftn(h, sizes, dim=dims), torch.fft.irfftn(g, sizes, dim=dims)),
    ):
        mine, its = mine.resolve_conj().numpy(), its.resolve_conj().numpy()
        assert mine.shape == its.shape
        assert np.abs(mine - its).max() <= limit * np.abs(its).max(), (shape, dims, dtype)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("start", range(1, 300, 20))
def test_lengths(start: int, single: bool) -> None:
    for n in range(start, start + 20):
        # one line, a few, rows and columns of more than a vector, an inner dimension smaller than a vector
        _compare((n,), (0,), single)
        shape, dims = (((3, n), (1,)), ((19, n), (1,)), ((n, 21), (0,)), ((2, n, 3), (1,)))[n % 4]
        _compare(shape, dims, single)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    "n", [1000, 1024, 1155, 1536, 2187, 4096, 5005, 6561, 10007, 16384, 20480, 30030, 65536, 1 << 18]
)
def test_long_lines(n: int, single: bool) -> None:
    _compare((n,), (0,), single)
    _compare((2, n), (1,), single)
    if n < 5000:
        _compare((40, n), (1,), single)
        _compare((n, 17), (0,), single)


@pytest.mark.parametrize("single", [True, False])
def test_many_dimensions(single: bool) -> None:
    for shape, dims in (
        ((16, 32, 20), (1, 2)), ((16, 32, 20), (2, 0)), ((3, 112, 56), (0, 1, 2)), ((5, 7, 9, 11), (1, 3)),
        ((9, 2, 3, 15), (3, 0, 2)), ((4, 17, 6), (0, 1)), ((0, 4), (1,)), ((3, 1, 1), (0, 1, 2)),
    ):  # fmt: skip
        if 0 not in shape:
            _compare(shape, dims, single)
        else:
            assert dumbtorch.fft.rfft(dumbtorch.zeros(shape)).shape == (0, 3)


def test_strides_and_marks() -> None:
    a, b = pair(12, 10, 8, complex_=True)
    for view in (lambda x: x.mT, lambda x: x[::2, 1:, ::3], lambda x: x.conj(), lambda x: x.permute(2, 0, 1),
                 lambda x: x[:, :1].expand(12, 10, 8)):  # fmt: skip
        for dim in (0, 1, 2):
            close(dumbtorch.fft.fft(view(a), dim=dim), torch.fft.fft(view(b), dim=dim))
            close(dumbtorch.fft.irfft(view(a), dim=dim), torch.fft.irfft(view(b), dim=dim))
            close(dumbtorch.fft.rfft(view(a).real, dim=dim), torch.fft.rfft(view(b).real, dim=dim))


def test_rows_do_not_touch_each_other() -> None:
    a = dumbtorch.randn(40, 64, dtype=dumbtorch.float64)
    whole = dumbtorch.fft.rfft(a)
    a[7] = float("nan")
    a[8] *= 1e200
    changed = dumbtorch.fft.rfft(a)
    rest = [i for i in range(40) if i not in (7, 8)]
    assert dumbtorch.equal(whole[rest], changed[rest])
    assert changed[7].isnan().all()


def test_the_number_of_threads_changes_nothing() -> None:
    a = dumbtorch.randn(96, 1024)
    b = dumbtorch.randn(1 << 17)
    threads = dumbtorch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            dumbtorch.set_num_threads(count)
            results.append((dumbtorch.fft.rfft2(a), dumbtorch.fft.rfft(b)))
    finally:
        dumbtorch.set_num_threads(threads)
    for other in results[1:]:
        assert all(dumbtorch.equal(x, y) for x, y in zip(results[0], other, strict=True))


def test_plans_are_dropped() -> None:
    a = dumbtorch.randn(1 << 19, dtype=dumbtorch.float64)
    for n in ((1 << 16) + (1 << 14) * i for i in range(20)):
        x = a[:n]
        np.testing.assert_allclose(dumbtorch.fft.irfft(dumbtorch.fft.rfft(x), n).numpy(), x.numpy(), atol=1e-12)


def test_own_lengths_need_no_package() -> None:
    code = (
        "import sys; sys.modules['ducc0'] = None; import dumbtorch as t\nt.fft.rfft(t.ones(1155))\n"
        "try: t.fft.fft(t.ones(17))\nexcept RuntimeError as e: assert 'ducc0' in str(e)\nelse: raise SystemExit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_does_not_import_numpy_or_ducc0() -> None:
    code = "import dumbtorch, sys; assert not {'numpy', 'ducc0'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
