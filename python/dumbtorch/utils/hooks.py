"""Handles of hooks, and what says that a hook is not to be pickled. Reference: ``torch.utils.hooks``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from dumbtorch._handles import RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]

_F = TypeVar("_F", bound=Callable[..., Any])


def unserializable_hook(f: _F) -> _F:
    """Marks a hook that `warn_if_has_hooks` does not mind, because it is made anew where it is needed."""
    vars(f)["__torch_unserializable__"] = True
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warns of each hook of a tensor that would be lost when the tensor is pickled."""
    for _, hook in tensor._extra().tensor.values() if tensor.requires_grad else ():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the "
                "function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )
