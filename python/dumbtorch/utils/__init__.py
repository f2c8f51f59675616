"""Helpers around training: data loading lives in :mod:`dumbtorch.utils.data`."""

from dumbtorch.utils import data, dlpack

__all__ = ["data", "dlpack"]
