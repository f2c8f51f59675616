"""Fourier transforms: the standard's extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch import fft as _fft
from dumbtorch.array_api._array import given, made

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip


def _one(name: str) -> Callable[..., Any]:
    op = getattr(_fft, name)

    def transform(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
        return made(op(given(x), n=n, dim=axis, norm=norm))

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"``{name}`` along one axis, cut or padded to ``n`` elements."
    return transform


def _many(name: str) -> Callable[..., Any]:
    op = getattr(_fft, name)

    def transform(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
        return made(op(given(x), s=s, dim=axes, norm=norm))

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"``{name}`` along several axes, cut or padded to the sizes ``s``."
    return transform


fft, ifft, rfft, irfft, hfft, ihfft = map(_one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = map(_many, ("fftn", "ifftn", "rfftn", "irfftn"))


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
    """The frequencies of the elements of a transform of ``n`` samples at distance ``d``."""
    return made(_fft.fftfreq(n, d, dtype=dtype, device=device))


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
    """`fftfreq` for a transform of real samples."""
    return made(_fft.rfftfreq(n, d, dtype=dtype, device=device))


def fftshift(x: Any, /, *, axes: Any = None) -> Any:
    """The elements with that of frequency 0 moved to the middle."""
    return made(_fft.fftshift(given(x), dim=axes))


def ifftshift(x: Any, /, *, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return made(_fft.ifftshift(given(x), dim=axes))
