"""Making a module without drawing its starting values."""

from __future__ import annotations

import inspect
from typing import Any

from dumbtorch.nn.init import skipped
from dumbtorch.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """`module_cls(*args, **kwargs)` whose parameters hold whatever the memory held: to be loaded or set anyway.

    RuntimeError unless it is a Module that takes `device`. Reference: `torch.nn.utils.skip_init`.

        >>> nn.utils.skip_init(nn.Linear, 5, 1).weight.shape
        torch.Size([1, 5])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with skipped():
        return module_cls(*args, **kwargs)
