"""Causal masks that are described instead of stored, for `scaled_dot_product_attention(attn_mask=...)`."""

from __future__ import annotations

import enum
import warnings
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.ops.attention import FAR

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Which corner the triangle of a causal mask starts in: query i sees the keys up to i, or up to i + S - L."""

    UPPER_LEFT = enum.auto()
    LOWER_RIGHT = enum.auto()


class CausalBias:
    """A causal mask of `seq_len_q` rows and `seq_len_kv` columns. AssertionError unless `variant` is a CausalVariant.

    Reference: `torch.nn.attention.bias.CausalBias`, which is a kind of tensor; this is not, and only attention takes
    it.
    """

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        self.variant = variant
        self.seq_len_q = seq_len_q
        self.seq_len_kv = seq_len_kv
        if seq_len_q > seq_len_kv and variant == CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!", stacklevel=2
            )

    def _bounds(self) -> tuple[int, int]:
        """How far from itself a query sees: the kernel's `low` and `high`."""
        lower_right = self.variant == CausalVariant.LOWER_RIGHT
        return -FAR, self.seq_len_kv - self.seq_len_q if lower_right else 0

    def _materialize(self, device: Any = None) -> Tensor:
        """The mask as a bool tensor."""
        ones = ops.ones((self.seq_len_q, self.seq_len_kv), dtype=_dtypes.bool, device=device)
        mask: Tensor = ops.tril(ones, self._bounds()[1])
        return mask

    def __repr__(self) -> str:
        return repr(self._materialize())


def causal_upper_left(*size: int) -> CausalBias:
    """The mask that `is_causal=True` means. AssertionError unless two sizes are given."""
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask of queries that are the last ones of the keys' sequence. AssertionError unless two sizes are given."""
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
