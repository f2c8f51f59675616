"""CUDA devices. Reference: ``torch.backends.cuda``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dumbtorch import cuda
from dumbtorch.nn.attention import ENABLED, SDPBackend, sdpa_kernel

__all__ = [
    "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip


class _Products:
    """How matrix products are computed: always in full precision. What is set is remembered."""

    def __init__(self) -> None:
        self.allow_tf32 = False
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True
        self.allow_fp16_accumulation = False
        self.fp32_precision = "none"


matmul = _Products()


def is_built() -> bool:
    """Whether an extension with kernels for CUDA devices lies beside the package."""
    return bool(cuda.get_arch_list() or cuda._built())


def _enable(backend: SDPBackend, enabled: bool) -> None:
    (ENABLED.add if enabled else ENABLED.discard)(backend)


def flash_sdp_enabled() -> bool:
    """Whether this way to compute attention is enabled; dumbtorch has one kernel, which always computes."""
    return SDPBackend.FLASH_ATTENTION in ENABLED


def enable_flash_sdp(enabled: bool) -> None:
    """What `flash_sdp_enabled` says from now on."""
    _enable(SDPBackend.FLASH_ATTENTION, enabled)


def mem_efficient_sdp_enabled() -> bool:
    """As `flash_sdp_enabled`."""
    return SDPBackend.EFFICIENT_ATTENTION in ENABLED


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """What `mem_efficient_sdp_enabled` says from now on."""
    _enable(SDPBackend.EFFICIENT_ATTENTION, enabled)


def math_sdp_enabled() -> bool:
    """As `flash_sdp_enabled`."""
    return SDPBackend.MATH in ENABLED


def enable_math_sdp(enabled: bool) -> None:
    """What `math_sdp_enabled` says from now on."""
    _enable(SDPBackend.MATH, enabled)


def cudnn_sdp_enabled() -> bool:
    """As `flash_sdp_enabled`."""
    return SDPBackend.CUDNN_ATTENTION in ENABLED


def enable_cudnn_sdp(enabled: bool) -> None:
    """What `cudnn_sdp_enabled` says from now on."""
    _enable(SDPBackend.CUDNN_ATTENTION, enabled)


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[dict[str, object]]:
    """`nn.attention.sdpa_kernel` by four switches. Deprecated, as in PyTorch: warns with FutureWarning."""
    warnings.warn(
        "`torch.backends.cuda.sdp_kernel()` is deprecated. In the future, this context manager will be removed. "
        "Please see `torch.nn.attention.sdpa_kernel()` for the new context manager, with updated signature.",
        FutureWarning,
        stacklevel=3,
    )
    wanted = {
        SDPBackend.FLASH_ATTENTION: enable_flash,
        SDPBackend.EFFICIENT_ATTENTION: enable_mem_efficient,
        SDPBackend.MATH: enable_math,
        SDPBackend.CUDNN_ATTENTION: enable_cudnn,
    }
    with sdpa_kernel([backend for backend, enabled in wanted.items() if enabled]) as context:
        yield context
