"""A stand-in for torchvision: as much of it as the programs of `tests.conformance.programs` use."""

from torchvision import datasets, transforms, utils

__all__ = ["datasets", "transforms", "utils"]
