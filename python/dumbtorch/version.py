"""The version of the package."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
#: The toolkits of accelerators that PyTorch names here: dumbtorch's kernels are built without them.
cuda = hip = xpu = None
debug = False
git_version = "Unknown"
