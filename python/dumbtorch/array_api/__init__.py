"""The Python array API standard, version 2025.12, on dumbtorch's tensors.

``x.__array_namespace__()`` gives this module, so that libraries written for the standard (array-api-compat, SciPy,
scikit-learn, ...) take dumbtorch tensors. Its functions return `Array`, a tensor that promotes and indexes as the
standard says; everything differentiable stays so. The dtypes uint16, uint32 and uint64 are left out: as in PyTorch,
they are there to store numbers, with few operations. Reference: https://data-apis.org/array-api/2025.12/

>>> import dumbtorch
>>> xp = dumbtorch.ones(2).__array_namespace__()
>>> xp.concat([xp.zeros(1), xp.arange(3)])
Array([0., 0., 1., 2.])
"""

from __future__ import annotations

from dumbtorch._dtypes import (
    bool,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from dumbtorch.array_api import _arrange, _data, _elementwise, _products, _reduce, fft, linalg
from dumbtorch.array_api._arrange import *  # noqa: F403
from dumbtorch.array_api._array import Array, result_type
from dumbtorch.array_api._data import *  # noqa: F403
from dumbtorch.array_api._elementwise import *  # noqa: F403
from dumbtorch.array_api._products import *  # noqa: F403
from dumbtorch.array_api._reduce import *  # noqa: F403

__array_api_version__ = "2025.12"

e = 2.718281828459045
inf = float("inf")
nan = float("nan")
newaxis = None
pi = 3.141592653589793

__all__ = [
    "Array", "bool", "complex128", "complex64", "e", "fft", "float32", "float64", "inf", "int16", "int32", "int64",
    "int8", "linalg", "nan", "newaxis", "pi", "result_type", "uint8",
]  # fmt: skip


for _part in (_arrange, _data, _elementwise, _products, _reduce):
    __all__ += _part.__all__
