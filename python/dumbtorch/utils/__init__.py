"""Helpers around training: data loading lives in :mod:`dumbtorch.utils.data`."""
