"""The small data set in the format of MNIST."""

from tests.examples.conftest import small_mnist

__all__ = ["small_mnist"]
