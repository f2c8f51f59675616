"""Names for type annotations. Reference: ``torch.types``."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from dumbtorch._device import device
from dumbtorch._dtypes import dtype, layout
from dumbtorch._size import Size
from dumbtorch._tensor import Tensor
from dumbtorch.storage import UntypedStorage

__all__ = ["Device", "FileLike", "Number", "Storage", "Tensor"]

_TensorOrTensors: TypeAlias = Tensor | Sequence[Tensor]
_dtype = dtype
_device = device
_layout = layout
_size: TypeAlias = Size | list[int] | tuple[int, ...]
_symsize = _size
_int = builtins.int
_float = builtins.float
_bool = builtins.bool
_complex = builtins.complex

#: What stands for a device: an object, its name, its index, or None for the default.
Device: TypeAlias = device | str | int | None
#: A Python number.
Number: TypeAlias = int | float | bool
FileLike: TypeAlias = Any
Storage = UntypedStorage
PathLike: TypeAlias = str | os.PathLike[str]
