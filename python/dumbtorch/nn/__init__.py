"""Neural networks: modules, parameters, functions, initialisation."""

from typing import Any

from dumbtorch.nn import attention, functional, grad, init, modules, parameter, utils  # isort: skip
from dumbtorch.nn.modules import *

from dumbtorch.nn import blocks, parallel  # isort: skip  # built of the layers
from dumbtorch.nn.parallel import DataParallel
from dumbtorch.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The `device`, `dtype` and `memory_format` of a layer's keywords, also from `factory_kwargs=` among them.

    TypeError for other keywords, and for one that is given twice. Reference: `torch.nn.factory_kwargs`.

        >>> nn.factory_kwargs({"dtype": dumbtorch.float64})
        {'dtype': torch.float64}
    """
    if kwargs is None:
        return {}
    simple = ("device", "dtype", "memory_format")
    if unexpected := kwargs.keys() - {*simple, "factory_kwargs"}:
        raise TypeError(f"unexpected kwargs {unexpected}")
    found: dict[str, Any] = dict(kwargs.get("factory_kwargs", {}))
    for key in simple:
        if key in kwargs:
            if key in found:
                raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
            found[key] = kwargs[key]
    return found
