"""Discrete Fourier transforms. Reference: ``torch.fft``.

float32, float64, complex64 and complex128; integers become the default dtype. Lengths with a prime factor above 13 are
computed by the package ducc0, which is imported, with NumPy, at the first such transform; RuntimeError without it.

>>> import dumbtorch as torch
>>> torch.fft.rfft(torch.tensor([1., 2., 3., 4.]))
tensor([10.+0.j, -2.+2.j, -2.+0.j])
"""

from __future__ import annotations

from dumbtorch.ops.fourier import *  # noqa: F403
from dumbtorch.ops.fourier import __all__
from dumbtorch.ops.table import numpy_names as _numpy_names

globals().update({name: _numpy_names(globals()[name]) for name in __all__})
