"""Where a token stands.

Added to the tokens (learned, sinusoidal), turned into queries and keys (rotary), or added to the scores of attention
(ALiBi, T5).
"""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor
from dumbtorch.nn import init
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.parameter import Parameter


class LearnedPositions(Module):
    """x + a learned vector for each place: (..., length, dim), length <= max_length.

    The vectors are the parameter `weight` (max_length, dim), normal with deviation 0.02 at first. `offset` is the place
    of the first token. IndexError for places past max_length.

        >>> nn.blocks.LearnedPositions(128, 16)(dumbtorch.zeros(2, 10, 16)).shape
        torch.Size([2, 10, 16])
    """

    weight: Tensor

    def __init__(self, max_length: int, dim: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.weight = Parameter(ops.empty((max_length, dim), device=device, dtype=dtype))
        init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        end = offset + x.shape[-2]
        if offset < 0 or end > len(self.weight):
            raise IndexError(f"LearnedPositions: places {offset} to {end - 1}, but there are {len(self.weight)}")
        return x + self.weight[offset:end]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class SinusoidalPositions(Module):
    """x + sines (even features) and cosines (odd ones) of the place over geometric wavelengths: (..., length, dim).

    Feature 2i of place p is sin(p / base^(2i / dim)), feature 2i + 1 its cosine. No parameters. ValueError for an odd
    dim. Reference: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(self, dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"SinusoidalPositions: dim must be even, not {dim}")
        self.dim = dim
        self.base = base

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        angles = _angles(offset, x.shape[-2], self.dim, self.base)
        return x + ops.stack((angles.sin(), angles.cos()), -1).flatten(-2).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}"


def _angles(offset: int, length: int, dim: int, base: float) -> Tensor:
    """(length, dim / 2): places over wavelengths, in float32 whatever the tokens are, since places may be large."""
    places = ops.arange(offset, offset + length, dtype=_dtypes.float32)
    rates = ops.exp(ops.arange(0, dim, 2, dtype=_dtypes.float32) * (-math.log(base) / dim))
    angles: Tensor = places.unsqueeze(1) * rates
    return angles


class RotaryEmbedding(Module):
    """Turns pairs of features of queries and keys (..., length, dim) by angles that grow with the place.

    The product of a query and a key then depends on their distance. A pair is features i and i + dim / 2 (as in
    GPT-NeoX and Llama), or 2i and 2i + 1 with `interleaved` (as in the paper); its angle is place / base^(2i / dim).
    `offset` is the place of the first token, as when a cache holds the earlier ones. No parameters; ValueError for an
    odd dim. Reference: Su et al., "RoFormer", 2021.

        >>> rotary = nn.blocks.RotaryEmbedding(64)
        >>> rotary(dumbtorch.rand(2, 8, 10, 64)).shape
        torch.Size([2, 8, 10, 64])
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"RotaryEmbedding: dim must be even, not {dim}")
        self.dim = dim
        self.base = base
        self.interleaved = interleaved

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        if x.shape[-1] != self.dim:
            raise ValueError(f"RotaryEmbedding: the last dimension must be {self.dim}, not {x.shape[-1]}")
        angles = _angles(offset, x.shape[-2], self.dim, self.base)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        if self.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return ops.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return ops.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}, interleaved={self.interleaved}"


class ALiBi(Module):
    """A bias for the scores that falls with the distance, another slope for each head: (1, heads, queries, keys).

    To be added as `attn_mask`. The slopes of n heads, n a power of two, are 2^(-8 / n), 2^(-16 / n), ...; for other n
    those of the next smaller power and every other one of the next larger. `offset` is the place of the first query.
    Reference: Press et al., "Train short, test long", 2022.
    """

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", ops.tensor(self._slopes(num_heads)), persistent=False)

    @classmethod
    def _slopes(cls, heads: int) -> list[float]:
        power = 1 << (heads.bit_length() - 1)
        slopes = [2.0 ** (-8 * (i + 1) / power) for i in range(power)]
        return slopes + cls._slopes(2 * power)[0::2][: heads - power] if heads > power else slopes

    def forward(self, queries: int, keys: int | None = None, offset: int = 0) -> Tensor:
        keys = queries + offset if keys is None else keys
        distance = ops.arange(keys) - ops.arange(offset, offset + queries).unsqueeze(1)
        bias: Tensor = (self.slopes.reshape(1, -1, 1, 1) * -distance.abs()).to(self.slopes.dtype)
        return bias

    def extra_repr(self) -> str:
        return f"{len(self.slopes)}"


class RelativePositionBias(Module):
    """A learned bias for the scores by the bucket that their distance falls into: (1, heads, queries, keys).

    To be added as `attn_mask`. Small distances have buckets of their own; larger ones share logarithmic buckets up to
    `max_distance`. With `bidirectional` half of the buckets are for keys after the query; else those count as
    distance 0. `weight` (num_buckets, num_heads) starts normal with deviation 0.02. Reference: Raffel et al. (T5),
    2020.
    """

    weight: Tensor

    def __init__(
        self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.weight = Parameter(ops.empty((num_buckets, num_heads), device=device, dtype=dtype))
        init.normal_(self.weight, std=0.02)

    def buckets(self, queries: int, keys: int, offset: int = 0) -> Tensor:
        """The bucket of each pair (queries, keys)."""
        distance = ops.arange(keys) - ops.arange(offset, offset + queries).unsqueeze(1)
        count = self.num_buckets
        first: Any = 0
        if self.bidirectional:
            count //= 2
            first = (distance > 0) * count
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = count // 2
        log = ops.log(distance.clamp(min=1).to(_dtypes.float32) / exact) / math.log(self.max_distance / exact)
        far = (exact + (log * (count - exact)).to(_dtypes.int64)).clamp(max=count - 1)
        bucket: Tensor = first + ops.where(distance < exact, distance, far)
        return bucket

    def forward(self, queries: int, keys: int | None = None, offset: int = 0) -> Tensor:
        keys = queries + offset if keys is None else keys
        return self.weight[self.buckets(queries, keys, offset)].permute(2, 0, 1).unsqueeze(0)

    def extra_repr(self) -> str:
        buckets, heads = self.weight.shape
        return f"{heads}, num_buckets={buckets}, max_distance={self.max_distance}, bidirectional={self.bidirectional}"
