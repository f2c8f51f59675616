"""A stand-in for torchvision: as much of it as the programs of `tests.conformance.programs` use."""

from torchvision import datasets, models, transforms, utils

__all__ = ["datasets", "models", "transforms", "utils"]
