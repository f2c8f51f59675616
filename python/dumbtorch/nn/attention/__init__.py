"""Choosing how `scaled_dot_product_attention` computes, as PyTorch's programs do: here one kernel does all.

`sdpa_kernel` takes what PyTorch's takes and checks it; whatever it names, results and memory are those of the one
kernel.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

from dumbtorch.nn.attention import bias

__all__ = ["WARN_FOR_UNFUSED_KERNELS", "SDPBackend", "bias", "sdpa_kernel"]

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.IntEnum):
    """PyTorch's ways to compute attention. Reference: `torch.nn.attention.SDPBackend`."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


#: What is enabled, which `backends.cuda` shows and changes too. There is one kernel: nothing is chosen by it.
ENABLED: set[SDPBackend] = {backend for backend in SDPBackend if backend != SDPBackend.ERROR}


@contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict[str, object]]:
    """A context in which PyTorch computes attention by one of the `backends`. AssertionError for anything else.

    There is one kernel here, so that results are the same inside. Reference: `torch.nn.attention.sdpa_kernel`.
    """
    if not isinstance(backends, list | SDPBackend):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, "
            f"got {type(backends).__name__}"
        )
    before = set(ENABLED)
    ENABLED.clear()
    ENABLED.update([backends] if isinstance(backends, SDPBackend) else backends)
    try:
        yield {}
    finally:
        ENABLED.clear()
        ENABLED.update(before)
