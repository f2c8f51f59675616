"""Special functions, the rest of the pointwise operations, random numbers and creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, integers, normal

SIZES = {"1e3": 1000, "1e6": 1_000_000, "1e7": 10_000_000}
UNARY = (
    "special.erfcx", "special.ndtr", "special.log_ndtr", "special.ndtri", "special.entr", "logit", "sinc", "i0",
    "special.i0e", "special.i1", "special.bessel_j0", "special.bessel_y1", "special.modified_bessel_k0",
    "special.airy_ai", "lgamma", "digamma", "nan_to_num", "deg2rad", "frexp",
)  # fmt: skip
BINARY = (
    "xlogy", "special.xlog1py", "logaddexp", "hypot", "atan2", "copysign", "nextafter", "heaviside", "fmod", "igamma",
    "special.zeta", "special.chebyshev_polynomial_t", "special.legendre_polynomial_p",
)  # fmt: skip
#: PyTorch needs seconds for these at 1e7.
SLOW = ("igamma", "special.zeta", "special.airy_ai", "special.legendre_polynomial_p")
INTEGER = ("gcd", "lcm", "bitwise_and", "bitwise_left_shift")
COMPLEX = ("logaddexp(z, y)", "sinc(z)", "logsumexp(z, 0)", "logcumsumexp(z, 0)")
FILLS = (
    "uniform_()", "normal_()", "exponential_()", "cauchy_()", "geometric_(0.3)", "bernoulli_(0.3)", "random_(1000)",
)  # fmt: skip
FACTORIES = ("zeros(n)", "ones(n)", "full((n,), 2.5)", "arange(n)", "linspace(0, 1, n)", "hann_window(n)")


def _positive(size: int) -> Callable[[Any], dict[str, Any]]:
    """Two arguments within (0, 1) and (0, 6): where every one of the functions has a value."""

    def setup(t: Any) -> dict[str, Any]:
        a = (normal(t, size).abs() + 0.01) / 6
        return {"t": t, "a": a.clamp(max=0.99), "b": a.clamp(max=0.99) * 6 + 1, "g": t.ones(size)}

    return setup


def _whole(size: int) -> Callable[[Any], dict[str, Any]]:
    return lambda t: {"t": t, "a": integers(t, 1000, size), "b": integers(t, 20, size, seed=1)}


def _complex(size: int) -> Callable[[Any], dict[str, Any]]:
    def setup(t: Any) -> dict[str, Any]:
        parts = [normal(t, size // 10, 2, seed=seed) for seed in (0, 1)]
        return {"t": t, "z": t.view_as_complex(parts[0]), "y": t.view_as_complex(parts[1])}

    return setup


def _row(name: str, statement: str, setup: Any) -> Case:
    return Case(name, statement, setup, 1.0)


def special() -> list[Case]:
    """Elementwise functions beyond arithmetic."""
    cases = []
    for label, size in SIZES.items():
        for name in UNARY + BINARY:
            if size > 1_000_000 and name in SLOW:
                continue
            arguments = "b, a" if name in ("igamma", "special.zeta") else "a, b" if name in BINARY else "a"
            cases.append(_row(f"{name}, {label}", f"t.{name}({arguments})", _positive(size)))
        cases += [_row(f"{name}, int64, {label}", f"t.{name}(a, b)", _whole(size)) for name in INTEGER]
        cases += [_row(f"{statement}, complex64, {label}", f"t.{statement}", _complex(size)) for statement in COMPLEX]
    return cases


def random() -> list[Case]:
    """Random fills, counts and permutations, and tensors made from numbers."""
    cases = []
    for label, size in SIZES.items():
        setup = _positive(size)
        cases += [_row(f"{fill}, {label}", f"g.{fill}", setup) for fill in FILLS]
        cases += [
            _row(f"randperm, {label}", f"t.randperm({size})", setup),
            _row(f"poisson, {label}", "t.poisson(b)", setup),
            _row(f"multinomial, {label}", "t.multinomial(a[:1000], 1000, True)", setup),
        ]
        cases += [_row(f"{made}, {label}", f"t.{made}", lambda t, n=size: {"t": t, "n": n}) for made in FACTORIES]
    return cases
