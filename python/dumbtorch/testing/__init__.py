"""Helpers of tests: `assert_close` compares, `make_tensor` makes inputs."""

from dumbtorch.testing._comparison import assert_close
from dumbtorch.testing._creation import make_tensor

__all__ = ["assert_close", "make_tensor"]
