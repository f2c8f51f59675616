"""Calling a module with other parameters and buffers than its own, which stay as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.nn.modules.module import Module

__all__ = ["functional_call"]


_ABSENT = object()


def _tied_names(module: Module) -> list[set[str]]:
    """The names that stand for one and the same tensor, together."""
    groups: dict[int, set[str]] = {}
    for members in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
        for name, tensor in members:
            groups.setdefault(id(tensor), set()).add(name)
    return [names for names in groups.values() if len(names) > 1]


def _untied(module: Module, given: dict[str, Any]) -> dict[str, Any]:
    """`given` with a value for every other name of each tensor. ValueError if two names of one get different values."""
    full = dict(given)
    for names in _tied_names(module):
        values = {name: given[name] for name in names if name in given}
        if len({id(value) for value in values.values()}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(values)}, which are tied. "
                "Consider using tie_weights=False"
            )
        for value in list(values.values())[:1]:
            full.update(dict.fromkeys(names, value))
    return full


@contextmanager
def reparametrized(
    module: Module, given: Mapping[str, Any], tie_weights: bool = True, strict: bool = False
) -> Iterator[None]:
    """Within it, the module's tensors of these names are the given ones.

    RuntimeError, with `strict`, for missing and unexpected names.
    """
    values = _untied(module, dict(given)) if tie_weights else dict(given)
    if strict:
        own = {name for members in (module.named_parameters(remove_duplicate=False),
                                    module.named_buffers(remove_duplicate=False)) for name, _ in members}  # fmt: skip
        missing, unexpected = sorted(own - set(values)), sorted(set(values) - own)
        problems = [f"{kind} key(s): {', '.join(map(repr, names))}." for kind, names in
                    (("Unexpected", unexpected), ("Missing", missing)) if names]  # fmt: skip
        if problems:
            raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t" + "\n\t".join(problems))
    undo: list[tuple[dict[str, Any], str, str, Any]] = []
    try:
        for path, value in values.items():
            registry, name = _registry_of(module, path, value)
            undo.append((registry, name, path, registry.get(name, _ABSENT)))
            registry[name] = value
        yield
    finally:
        for registry, name, path, before in reversed(undo):
            # what forward assigned in place of a tensor (running statistics that were replaced) is handed back
            if isinstance(given, dict) and path in given and registry.get(name) is not values[path]:
                given[path] = registry[name]
            if before is _ABSENT:
                del registry[name]
            else:
                registry[name] = before


def _registry_of(module: Module, path: str, value: Any) -> tuple[dict[str, Any], str]:
    """The dictionary that holds the tensor of this dotted name, and its name there."""
    owner_path, _, name = path.rpartition(".")
    owner: Any = module.get_submodule(owner_path)
    if not isinstance(value, Tensor) and value is not None:
        raise TypeError(f"{path} should be a dumbtorch.Tensor, got {type(value).__name__}")
    for registry in (owner._parameters, owner._buffers, owner.__dict__):
        if name in registry:
            return registry, name
    return owner.__dict__, name  # an attribute for the time of the call


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with the given tensors, by dotted name, in place of its own.

    `tie_weights`: a tensor that the module has under several names is replaced under all of them. `strict`: all names
    must be given. Reference: `torch.nn.utils.stateless.functional_call`, now `torch.func.functional_call`.

        >>> functional_call(model, {"weight": w, "bias": b}, (x,))
    """
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future "
        "version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return call_with(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)


def call_with(
    module: Module,
    tensors: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What `functional_call` does."""
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with reparametrized(module, tensors, tie_weights, strict):
        return module(*given, **(kwargs or {}))
