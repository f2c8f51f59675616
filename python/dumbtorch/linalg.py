"""Linear algebra: norms, products, solvers, factorizations. Reference: ``torch.linalg``.

Matrices are the last two dimensions, those before them are batches. float32, float64, complex64 and complex128.
Factorizations are LAPACK's, as the package scipy-openblas64 brings it; it is opened at the first use.

>>> import dumbtorch as torch
>>> torch.linalg.solve(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([2., 2.]))
tensor([1.0000, 0.5000])
"""

from __future__ import annotations

from dumbtorch.ops import decompose as _decompose
from dumbtorch.ops import linalg as _linalg
from dumbtorch.ops import norms as _norms
from dumbtorch.ops.decompose import *  # noqa: F403
from dumbtorch.ops.linalg import *  # noqa: F403
from dumbtorch.ops.norms import *  # noqa: F403
from dumbtorch.ops.products import linalg_cross as cross
from dumbtorch.ops.products import multi_dot, vecdot
from dumbtorch.ops.table import numpy_names as _numpy_names

__all__ = [*_linalg.__all__, *_decompose.__all__, *_norms.__all__, "cross", "multi_dot", "vecdot"]  # noqa: PLE0604

globals().update({name: _numpy_names(globals()[name]) for name in __all__ if hasattr(globals()[name], "__code__")})
