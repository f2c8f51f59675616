"""CUDA devices. Reference: ``torch.backends.cuda``."""

from __future__ import annotations

from dumbtorch import cuda

__all__ = ["is_built", "matmul"]


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
