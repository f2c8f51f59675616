"""The CPU. Reference: ``torch.backends.cpu``."""

from __future__ import annotations

from dumbtorch import _load

__all__ = ["get_cpu_capability"]

_NAMES = {"_C_v4": "AVX512", "_C_v3": "AVX2"}


def get_cpu_capability() -> str:
    """The instructions that the kernels were compiled for: "AVX512", "AVX2" or "DEFAULT"."""
    return _NAMES.get(_load.chosen.rpartition(".")[2], "DEFAULT")
