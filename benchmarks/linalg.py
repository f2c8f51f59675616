"""Linear algebra, sums of products, Fourier transforms."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case, normal

SIDES = (32, 128, 512, 1000)
#: statement on a square matrix `a`, a positive-definite one `p`, a right-hand side `b`
FACTORIZATIONS = (
    ("solve", "t.linalg.solve(a, b)", 1000),
    ("inv", "t.linalg.inv(a)", 1000),
    ("det", "t.linalg.det(a)", 1000),
    ("cholesky", "t.linalg.cholesky(p)", 1000),
    ("qr", "t.linalg.qr(a)", 1000),
    ("svd", "t.linalg.svd(a)", 512),
    ("eigh", "t.linalg.eigh(p)", 512),
)
POINTS = (64, 1000, 1024, 4096, 65536, 1 << 20)


def _matrices(*shape: int) -> Any:
    def setup(t: Any) -> dict[str, Any]:
        a = normal(t, *shape)
        eye = t.eye(shape[-1])
        return {"t": t, "a": a + 3 * eye, "p": a @ a.mT / shape[-1] + eye, "b": normal(t, *shape[:-1], 8, seed=1)}

    return setup


def cases() -> list[Case]:
    """Factorizations of one matrix and of many small ones."""
    rows = [
        Case(f"{name}, {side} x {side}", statement, _matrices(side, side), None if side > 200 else 1.0)
        for name, statement, largest in FACTORIZATIONS
        for side in SIDES
        if side <= largest
    ]
    rows += [Case(f"{name}, 500 of 8 x 8", statement, _matrices(500, 8, 8)) for name, statement, _ in FACTORIZATIONS]
    return rows


def sums() -> list[Case]:
    """einsum."""
    return [
        Case("bhqd,bhkd->bhqk", 't.einsum("bhqd,bhkd->bhqk", a, b)', lambda t: {
            "t": t, "a": normal(t, 4, 8, 64, 32), "b": normal(t, 4, 8, 64, 32, seed=1)}),
        Case("ij,jk->ik, 256", 't.einsum("ij,jk->ik", a, b)', lambda t: {
            "t": t, "a": normal(t, 256, 256), "b": normal(t, 256, 256, seed=1)}),
        Case("ij,jk->ik, 16", 't.einsum("ij,jk->ik", a, b)', lambda t: {
            "t": t, "a": normal(t, 16, 16), "b": normal(t, 16, 16, seed=1)}),
        Case("ab,bc,cd,d->a, 128", 't.einsum("ab,bc,cd,d->a", a, a, a, b)', lambda t: {
            "t": t, "a": normal(t, 128, 128), "b": normal(t, 128, seed=1)}),
        Case("ibnd,jbnd->ijbn", 't.einsum("ibnd,jbnd->ijbn", a, b)', lambda t: {
            "t": t, "a": normal(t, 64, 4, 8, 32), "b": normal(t, 64, 4, 8, 32, seed=1)}),
    ]  # fmt: skip


def fourier() -> list[Case]:
    """Transforms of real and complex numbers."""
    rows = [
        Case(f"rfft of {n}", "t.fft.rfft(a)", lambda t, n=n: {"t": t, "a": normal(t, n)}) for n in POINTS
    ]  # fmt: skip
    rows += [
        Case(f"fft of {n} (complex)", "t.fft.fft(a)", lambda t, n=n: {
            "t": t, "a": t.view_as_complex(normal(t, n, 2))}) for n in POINTS
    ]  # fmt: skip
    rows += [
        Case("rfft2 of 16 x 224 x 224", "t.fft.rfft2(a)", lambda t: {"t": t, "a": normal(t, 16, 224, 224)}),
        Case("fftn of 64 x 64 x 64", "t.fft.fftn(a)", lambda t: {"t": t, "a": normal(t, 64, 64, 64)}),
        Case("256 x rfft of 1024", "t.fft.rfft(a)", lambda t: {"t": t, "a": normal(t, 256, 1024)}),
    ]
    return rows
