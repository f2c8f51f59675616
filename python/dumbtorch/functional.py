"""Functions of tensors, as in ``torch.functional``: the same that dumbtorch itself has.

>>> from dumbtorch import functional, ones
>>> functional.atleast_2d(ones(3)).shape
torch.Size([1, 3])
"""

from __future__ import annotations

from dumbtorch.ops import FUNCTIONS

_NAMES = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors", "cartesian_prod",
    "cdist", "chain_matmul", "einsum", "istft", "lu", "meshgrid", "norm", "pca_lowrank", "split", "stft", "svd_lowrank",
    "tensordot", "unique", "unique_consecutive", "unravel_index",
]  # fmt: skip

globals().update({name: FUNCTIONS[name] for name in _NAMES})
__all__ = list(_NAMES)
