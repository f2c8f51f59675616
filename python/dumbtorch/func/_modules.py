"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.nn.modules import Module
from dumbtorch.nn.modules.batchnorm import _BatchNorm
from dumbtorch.nn.utils.stateless import call_with
from dumbtorch.ops.table import FUNCTIONS


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with the given parameters and buffers in place of its own.

    They come as a dictionary by name, or several without common keys (ValueError else). What the module assigns to them
    shows in the dictionary. ``tie_weights``: a tensor that the module knows by several names is replaced under all of
    them; ``strict``: every name must be given, and no other (RuntimeError). Reference: ``torch.func.functional_call``.

    >>> import dumbtorch as torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> torch.func.functional_call(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, torch.ones(2))
    tensor([2.])
    """
    if isinstance(parameter_and_buffer_dicts, dict):
        given = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, Sequence):
        if not all(isinstance(d, dict) for d in parameter_and_buffer_dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        keys = [key for d in parameter_and_buffer_dicts for key in d]
        repeated = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {key: value for d in parameter_and_buffer_dicts for key, value in d.items()}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(parameter_and_buffer_dicts)}"
        )
    return call_with(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Takes the running statistics from every batch normalization of a module, which `vmap` cannot update.

    Changes the module in place and returns it. Reference: ``torch.func.replace_all_batch_norm_modules_``.
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def _stacked(tensors: Sequence[Any], name: str) -> Any:
    wanted = {t.requires_grad for t in tensors}
    if len(wanted) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    made = FUNCTIONS["stack"](list(tensors))
    return made.detach().requires_grad_() if wanted == {True} else made


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of several models of one class, each stacked along a new first dimension.

    With `vmap` over `functional_call` they make an ensemble. Raises RuntimeError for no model, for different classes
    and for different modes. Reference: ``torch.func.stack_module_state``.
    """
    if not len(models):
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    result = []
    for source in ("named_parameters", "named_buffers"):
        every = [dict(getattr(model, source)()) for model in models]
        result.append({key: _stacked([d[key] for d in every], key) for key in every[0]})
    return result[0], result[1]
