"""Windows of signals, as `stft` wants them: hann, hamming, blackman, bartlett, kaiser."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite


def _cosines(n: int, weights: Any, periodic: bool, settings: dict[str, Any], name: str) -> Any:
    """A sum of cosines over the window, as all but one window are."""
    dtype = settings.pop("dtype", None) or _dtypes.get_default_dtype()
    grad = settings.pop("requires_grad", False)
    settings.pop("layout", None)
    settings.pop("pin_memory", None)
    if n < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={n}")
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if n == 0:
        return F["empty"](0, dtype=dtype, **settings)
    if n == 1:
        return F["ones"](1, dtype=dtype, **settings)
    steps = F["arange"](n, dtype=_dtypes.float64, **settings)
    made = weights(steps, n if periodic else n - 1).to(dtype)
    return made.requires_grad_() if grad else made


def _window(name: str, text: str, weights: Any) -> None:
    def window(window_length: int, periodic: bool = True, **settings: Any) -> Any:
        return _cosines(window_length, weights, periodic, settings, name)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = f"{text} ``periodic`` drops the last point of a symmetric one. Reference: ``torch.{name}``."
    composite(name, method=False)(window)


_window("hann_window", "The window ``(1 - cos)/ 2``.", lambda t, n: 0.5 - 0.5 * (t * (2 * math.pi / n)).cos())
_window(
    "blackman_window",
    "The window ``0.42 - 0.5 cos + 0.08 cos 2``.",
    lambda t, n: 0.42 - 0.5 * (t * (2 * math.pi / n)).cos() + 0.08 * (t * (4 * math.pi / n)).cos(),
)
_window("bartlett_window", "The triangular window.", lambda t, n: 1 - (t * (2 / n) - 1).abs())


@composite(method=False)
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **settings: Any
) -> Any:
    """The window ``alpha - beta cos``. Reference: ``torch.hamming_window``."""
    return _cosines(
        window_length, lambda t, n: alpha - beta * (t * (2 * math.pi / n)).cos(), periodic, settings, "hamming_window"
    )


@composite(method=False)
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **settings: Any) -> Any:
    """The window of the Bessel function I0. Reference: ``torch.kaiser_window``."""

    def weights(t: Any, n: int) -> Any:
        place = t * (2 / n) - 1
        return F["i0"](beta * (1 - place * place).clamp(min=0).sqrt()) / F["i0"](
            F["scalar_tensor"](beta, dtype=t.dtype)
        )

    return _cosines(window_length, weights, periodic, settings, "kaiser_window")
