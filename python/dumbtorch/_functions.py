"""Methods of Tensor that are functions of the package too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch._tensor import Tensor

__all__ = ["METHODS"]


def _function(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        return method(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = method.__doc__
    return function


METHODS: dict[str, Callable[..., Any]] = {
    name: _function(name)
    for name in (
        "detach", "detach_", "get_device", "is_complex", "is_distributed", "is_floating_point", "is_inference",
        "is_same_size", "is_signed", "numel",
    )
}  # fmt: skip
