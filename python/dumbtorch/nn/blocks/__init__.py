"""Building blocks of transformers that PyTorch has no names for: positions, gated feed-forwards, caches, experts.

They are additions: `nn` itself has PyTorch's names only. Each is a plain module; its code is its formula.
"""

from dumbtorch.nn.blocks.cache import KVCache
from dumbtorch.nn.blocks.experts import MixtureOfExperts
from dumbtorch.nn.blocks.feedforward import FeedForward, GeGLU, Parallel, Residual, SwiGLU
from dumbtorch.nn.blocks.positions import (
    ALiBi,
    LearnedPositions,
    RelativePositionBias,
    RotaryEmbedding,
    SinusoidalPositions,
)
from dumbtorch.nn.functional._attention import sliding_window_attention

__all__ = [
    "ALiBi", "FeedForward", "GeGLU", "KVCache", "LearnedPositions", "MixtureOfExperts", "Parallel",
    "RelativePositionBias", "Residual", "RotaryEmbedding", "SinusoidalPositions", "SwiGLU", "sliding_window_attention",
]  # fmt: skip
