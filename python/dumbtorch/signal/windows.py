"""Window functions under SciPy's names. Reference: ``torch.signal.windows``.

All take the number of points ``M``, ``sym=True`` (False: the last point of a window one longer is left out, for
spectra) and the arguments of a factory: float32 or float64. They raise ValueError for a negative ``M``, another dtype,
another layout than strided, and parameters outside of their range.

>>> import dumbtorch as torch
>>> torch.signal.windows.hann(5)
tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import pi, sqrt
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.table import FUNCTIONS as F

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]

Curve = Callable[[Any, int], Any]


def _window(
    name: str, M: int, sym: bool, dtype: Any, layout: Any, device: Any, requires_grad: bool, curve: Curve,
    single: bool = True,
) -> Any:  # fmt: skip
    """The curve at points 0 .. M - 1; it also gets the number of points that it has when it is symmetric.

    ``single``: a window of one point is 1.
    """
    dtype = _dtypes.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not _dtypes.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (_dtypes.float32, _dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M == 0 or (M == 1 and single):
        made = F["ones"](M, dtype=dtype, device=device)
    else:
        points = F["arange"](M, dtype=_dtypes.float64, device=device)
        made = curve(points, M if sym or M == 1 else M + 1).to(dtype)
    return made.requires_grad_() if requires_grad else made


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    layout: Any = _dtypes.strided, device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``exp(-|n - center| / tau)``; a ``center`` other than the middle is for ``sym=False``."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def curve(n: Any, count: int) -> Any:
        return (-(n - ((count - 1) / 2 if center is None else center)).abs() / tau).exp()

    return _window("exponential", M, sym, dtype, layout, device, requires_grad, curve, single=False)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Half a sine, ``sin(pi (n + 1/2) / M)``."""
    return _window("cosine", M, sym, dtype, layout, device, requires_grad,
                   lambda n, count: ((n + 0.5) * (pi / count)).sin(), single=False)  # fmt: skip


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``exp(-(n - middle)**2 / (2 std**2))``."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def curve(n: Any, count: int) -> Any:
        return (-(((n - (count - 1) / 2) / (std * sqrt(2))) ** 2)).exp()

    return _window("gaussian", M, sym, dtype, layout, device, requires_grad, curve, single=False)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``i0(beta * sqrt(1 - x * x)) / i0(beta)``, x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def curve(n: Any, count: int) -> Any:
        x = n * (2 / (count - 1)) - 1
        return F["i0"]((1 - x * x).clamp(min=0).sqrt() * beta) / F["i0"](n.new_full((), beta))

    return _window("kaiser", M, sym, dtype, layout, device, requires_grad, curve)


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """A triangle with zeros at the ends."""
    return _window("bartlett", M, sym, dtype, layout, device, requires_grad,
                   lambda n, count: 1 - (n * (2 / (count - 1)) - 1).abs())  # fmt: skip


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """The sum of ``(-1)**k * a[k] * cos(2 pi k n / (M - 1))``; raises TypeError where ``a`` is no sequence."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")

    def curve(n: Any, count: int) -> Any:
        angle = n * (2 * pi / (count - 1))
        return sum((-1) ** k * weight * (angle * k).cos() for k, weight in enumerate(weights))

    return _window("general_cosine", M, sym, dtype, layout, device, requires_grad, curve)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided,
    device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``alpha - (1 - alpha) cos(2 pi n / (M - 1))``."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)  # fmt: skip


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``general_hamming`` of 0.54."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``general_hamming`` of 1/2, which is 0 at the ends."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device,
                           requires_grad=requires_grad)  # fmt: skip


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Three cosines, of 0.42, 0.5 and 0.08."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)  # fmt: skip


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _dtypes.strided, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Four cosines, the least of Blackman and Harris's after Nuttall (1981)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)  # fmt: skip
