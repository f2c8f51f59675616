"""Helpers around training: data loading lives in :mod:`dumbtorch.utils.data`."""

from dumbtorch.utils import checkpoint, data, dlpack, hooks

__all__ = ["checkpoint", "data", "dlpack", "hooks"]
