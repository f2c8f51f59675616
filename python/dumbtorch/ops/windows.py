"""Window functions for spectra: ``hann_window`` and its like. Half types are computed in float32."""

from __future__ import annotations

from math import pi
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.creation import made
from dumbtorch.ops.table import FUNCTIONS, composite


def _cosines(steps: Any, last: int, *weights: float) -> Any:
    """The sum of ``weights[k] * cos(2 pi k n / last)``."""
    total: Any = None
    for k, weight in enumerate(weights[1:], 1):
        term = (steps * (2 * pi * k / last)).cos_().mul_(weight)
        total = term if total is None else total.add_(term)
    return total.add_(weights[0])


def _hann(steps: Any, last: int) -> Any:
    return _cosines(steps, last, 0.5, -0.5)


def _blackman(steps: Any, last: int) -> Any:
    # the ends would be -1e-17
    return _cosines(steps, last, 0.42, -0.5, 0.08).abs()


def _bartlett(steps: Any, last: int) -> Any:
    return 1 - (steps * (2 / last) - 1).abs()


def _kaiser(steps: Any, last: int, beta: float) -> Any:
    place = steps * (2 / last) - 1
    i0 = FUNCTIONS["i0"]
    top = i0(steps.new_full((), beta))
    return i0((1 - place * place).clamp(min=0).sqrt() * beta) / top


def _window(
    name: str, curve: Any, window_length: int, periodic: bool, dtype: Any, device: Any, rest: tuple[Any, ...]
) -> Any:
    """A window of a curve of (n, last n); ``periodic`` leaves out the last point of a window one longer."""
    kind = _dtypes.get_default_dtype() if dtype is None else dtype
    if not kind.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {str(kind).removeprefix('torch.')}")
    if window_length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
    if window_length <= 1:
        return made(FUNCTIONS["ones"](window_length, dtype=kind, device=device), *rest)
    wide = _dtypes.float64 if kind is _dtypes.float64 else _dtypes.float32
    steps = FUNCTIONS["arange"](window_length, dtype=wide, device=device)
    return made(curve(steps, window_length - (not periodic)).to(kind), *rest)


@composite(method=False)
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Half a cosine, raised: ``sin(pi n / N)**2``. Reference: ``torch.hann_window``.

    ``periodic`` leaves out the last point of a window one longer, for spectra. Raises RuntimeError for a negative
    length or a dtype that is not floating-point.
    """
    rest = (requires_grad, layout, pin_memory)
    return _window("hann_window", _hann, window_length, periodic, dtype, device, rest)


@composite(method=False)
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``alpha - beta * cos(2 pi n / N)``. Reference: ``torch.hamming_window``.

    ``periodic`` leaves out the last point of a window one longer, for spectra. Raises RuntimeError for a negative
    length or a dtype that is not floating-point.
    """
    rest = (requires_grad, layout, pin_memory)
    return _window(
        "hamming_window", lambda n, last: _cosines(n, last, alpha, -beta), window_length, periodic, dtype, device, rest
    )


@composite(method=False)
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``. Reference: ``torch.blackman_window``.

    ``periodic`` leaves out the last point of a window one longer, for spectra. Raises RuntimeError for a negative
    length or a dtype that is not floating-point.
    """
    rest = (requires_grad, layout, pin_memory)
    return _window("blackman_window", _blackman, window_length, periodic, dtype, device, rest)


@composite(method=False)
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """A triangle. Reference: ``torch.bartlett_window``.

    ``periodic`` leaves out the last point of a window one longer, for spectra. Raises RuntimeError for a negative
    length or a dtype that is not floating-point.
    """
    rest = (requires_grad, layout, pin_memory)
    return _window("bartlett_window", _bartlett, window_length, periodic, dtype, device, rest)


@composite(method=False)
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``i0(beta * sqrt(1 - x * x)) / i0(beta)``, x from -1 to 1. Reference: ``torch.kaiser_window``.

    ``periodic`` leaves out the last point of a window one longer, for spectra. Raises RuntimeError for a negative
    length or a dtype that is not floating-point.
    """
    rest = (requires_grad, layout, pin_memory)
    return _window(
        "kaiser_window", lambda n, last: _kaiser(n, last, beta), window_length, periodic, dtype, device, rest
    )
