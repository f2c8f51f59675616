"""Special functions: how exact they are, against SciPy; their values at the ends; the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special as scipy_special

import dumbtorch
from dumbtorch import special

#: name: SciPy's function, and the range of the arguments
UNARY: dict[str, tuple[Callable[..., Any], float, float]] = {
    "erfcx": (scipy_special.erfcx, -9, 60),
    "ndtr": (scipy_special.ndtr, -12, 6),
    "log_ndtr": (scipy_special.log_ndtr, -60, 4),
    "ndtri": (scipy_special.ndtri, 1e-9, 1 - 1e-9),
    "entr": (scipy_special.entr, 0.01, 9),
    "sinc": (np.sinc, -20, 20),
    "logit": (scipy_special.logit, 0.01, 0.99),
    "i0": (scipy_special.i0, -40, 40),
    "i0e": (scipy_special.i0e, -90, 90),
    "i1": (scipy_special.i1, -40, 40),
    "i1e": (scipy_special.i1e, -90, 90),
    "modified_bessel_i0": (scipy_special.i0, -40, 40),
    "modified_bessel_i1": (scipy_special.i1, -40, 40),
    "modified_bessel_k0": (scipy_special.k0, 1e-3, 60),
    "modified_bessel_k1": (scipy_special.k1, 1e-3, 60),
    "scaled_modified_bessel_k0": (scipy_special.k0e, 1e-3, 60),
    "scaled_modified_bessel_k1": (scipy_special.k1e, 1e-3, 60),
    "bessel_j0": (scipy_special.j0, -60, 60),
    "bessel_j1": (scipy_special.j1, -60, 60),
    "bessel_y0": (scipy_special.y0, 1e-3, 60),
    "bessel_y1": (scipy_special.y1, 1e-3, 60),
    "spherical_bessel_j0": (lambda x: scipy_special.spherical_jn(0, x), 0.01, 60),
    "airy_ai": (lambda x: scipy_special.airy(x)[0], -20, 20),
}
#: name: SciPy's function, and the ranges of both arguments
BINARY: dict[str, tuple[Callable[..., Any], float, float, float, float]] = {
    "gammainc": (scipy_special.gammainc, 0.1, 60, 0.1, 60),
    "gammaincc": (scipy_special.gammaincc, 0.1, 60, 0.1, 60),
    "zeta": (scipy_special.zeta, 1.1, 20, 0.2, 20),
    "xlog1py": (scipy_special.xlog1py, -9, 9, -0.9, 20),
    "xlogy": (scipy_special.xlogy, -9, 9, 0.01, 20),
}


def _exact(name: str, function: Callable[..., Any], *ranges: float) -> None:
    rng = np.random.default_rng(5)
    arguments = [rng.uniform(low, high, 20_000) for low, high in zip(ranges[::2], ranges[1::2], strict=True)]
    single = [a.astype(np.float32) for a in arguments]
    want = np.asarray(function(*(a.astype(np.float64) for a in single)))
    got = np.asarray(getattr(special, name)(*map(dumbtorch.tensor, single)).tolist())
    # denormal results have no digits to be exact in; beside the zeros of a wave an error is absolute
    unit = np.spacing(np.maximum(np.abs(want), 1e-37).astype(np.float32)).astype(np.float64)
    finite = np.abs(want) < np.finfo(np.float32).max
    # logit is a logarithm of a quotient in float32: PyTorch loses all digits near 1/2
    assert np.max((np.abs(got - want) / unit)[finite]) <= (4 if name == "logit" else 2), name
    want = np.asarray(function(*arguments))
    got = np.asarray(getattr(special, name)(*map(dumbtorch.tensor, arguments)).tolist())
    np.testing.assert_allclose(got, want, rtol=1e-11 if name == "airy_ai" else 2e-13, atol=1e-14)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    """Float32: at most 2 ulp. Float64: as SciPy, to 13 digits."""
    function, low, high = UNARY[name]
    _exact(name, function, low, high)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    function, *ranges = BINARY[name]
    _exact(name, function, *ranges)


def test_large_arguments_of_the_incomplete_gamma_functions() -> None:
    a = np.array([30.0, 150.0, 300.0, 1e4, 1e6, 1e9, 0.5, 1e-3])
    for factor in (0.2, 0.9, 0.999, 1.0, 1.001, 1.2, 4.0):
        for name in ("gammainc", "gammaincc"):
            got = getattr(special, name)(dumbtorch.tensor(a), dumbtorch.tensor(a * factor))
            want = getattr(scipy_special, name)(a, a * factor)
            np.testing.assert_allclose(got.tolist(), want, rtol=1e-10, atol=1e-300)


EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, float("inf"), float("-inf"), float("nan"), 1e-40, 700.0, -700.0]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges(name: str, dtype: str) -> None:
    """Zeros, infinities, NaN and the ends of domains as PyTorch has them."""
    mine = getattr(special, name)(dumbtorch.tensor(EDGES, dtype=getattr(dumbtorch, dtype))).tolist()
    its = getattr(torch.special, name)(torch.tensor(EDGES, dtype=getattr(torch, dtype))).tolist()
    for x, a, b in zip(EDGES, mine, its, strict=True):
        if abs(x) == 700 and dtype == "float32" and np.isinf(b):
            continue  # PyTorch's intermediate results overflow, ours in float64 do not
        if name == "airy_ai" and x == -700:
            continue  # PyTorch's phase is off there
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6, nan_ok=True), (name, x)


PAIRS = [(a, b) for a in (0.0, 0.5, 1.0, 3.0, -1.0, float("inf"), float("nan")) for b in (0.0, 2.0, -1.5, -2.0, 1e9)]
BY_DEGREE = [name for name in special.__all__ if "polynomial" in name]


@pytest.mark.parametrize("name", [*BINARY, *BY_DEGREE])
def test_edges_of_two(name: str) -> None:
    pairs = PAIRS
    if name in BY_DEGREE:  # a high degree beside 1 takes PyTorch minutes
        pairs = [(a, b) for a, b in PAIRS if abs(b) < 1e9 and a == a]
    if name == "zeta":  # PyTorch has NaN for zeta(inf, 2), which is 0
        pairs = [(a, b) for a, b in PAIRS if np.isfinite(a)]
    arguments = [list(column) for column in zip(*pairs, strict=True)]
    mine = getattr(special, name)(*(dumbtorch.tensor(c, dtype=dumbtorch.float64) for c in arguments)).tolist()
    its = getattr(torch.special, name)(*(torch.tensor(c, dtype=torch.float64) for c in arguments)).tolist()
    assert mine == pytest.approx(its, rel=1e-9, nan_ok=True)


def test_module_has_everything() -> None:
    public = {n for n in dir(torch.special) if not n.startswith("_") and callable(getattr(torch.special, n))}
    assert public - {"Tensor"} <= set(special.__all__)


def test_mvlgamma() -> None:
    x = np.array([2.5, 3.0, 9.0])
    for p in (1, 2, 4):
        want = [scipy_special.multigammaln(v, p) for v in x]
        got = special.multigammaln(dumbtorch.tensor(x), p).tolist()
        assert got == pytest.approx(want, rel=1e-12)
    with pytest.raises(RuntimeError, match="greater than or equal to 1"):
        dumbtorch.mvlgamma(dumbtorch.ones(2), 0)


def test_missing_derivatives_say_so() -> None:
    a = dumbtorch.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="igamma: input"):
        dumbtorch.igamma(a, dumbtorch.ones(2)).sum().backward()
    assert not special.bessel_j0(a).requires_grad
