"""Parametrizations: a parameter or buffer of a module computed, at each access, from other tensors.

`register_parametrization(layer, "weight", Symmetric())` moves `layer.weight` to
`layer.parametrizations.weight.original` and makes `layer.weight` a property that is `Symmetric()(original)`. The module
gets a class of its own for it, `ParametrizedLinear`, a subclass of the one it had.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn.modules.container import ModuleDict, ModuleList
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

# how many `cached()` are open, and what was computed in them, by module and name
_open = 0
_values: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within it, each parametrized tensor is computed once. Reference: `torch.nn.utils.parametrize.cached`."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1
        if not _open:
            _values.clear()


def _maybe_set(tensor: Tensor, value: Tensor) -> None:
    """Give the tensor the memory of `value`, or its numbers where it cannot have another dtype."""
    tensor.data = value.detach()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the tensor (or tensors) that they start from.

    The start is `original`, or `original0`, `original1`, ... where the last parametrization's `right_inverse` gives
    several. `unsafe` leaves out the checks that shape and dtype stay. Reference:
    `torch.nn.utils.parametrize.ParametrizationList`.
    """

    original: Any
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            start: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):  # as if it had none: the tensor itself is the start
                        start = module.right_inverse(start)
        if not isinstance(start, Tensor | Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(start).__name__}"
            )
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        if isinstance(start, Tensor):
            if original.dtype != start.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {start.dtype}"
                )
            if original.device != start.device:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the device.\n"
                    f"original.device: {original.device}\nright_inverse(original).device: {start.device}"
                )
            # the object stays: optimizers that have it go on with it
            with no_grad():
                _maybe_set(original, start)
            _register(self, "original", original)
        else:
            for i, part in enumerate(start):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                        f"Got element {i} of the sequence with type {type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                part.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", part)
        if not self.unsafe:
            value = self()
            if not isinstance(value, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
            if value.dtype != dtype:
                raise ValueError(
                    "Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized dtype: {dtype}\nparametrized dtype: {value.dtype}"
                )
            if value.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized shape: {shape}\nparametrized shape: {value.shape}"
                )

    def right_inverse(self, value: Tensor) -> None:
        """Set the start so that the parametrized tensor becomes `value`: the inverses in reverse order."""
        with no_grad():
            start: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                start = module.right_inverse(start)
            if self.is_tensor:
                self._check_part(start, self.original, "right_inverse")
                _maybe_set(self.original, start)
                return
            if not isinstance(start, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(start)}.")
            if len(start) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. "
                    f"Got a sequence of length {len(start)}."
                )
            for i, part in enumerate(start):
                own = getattr(self, f"original{i}")
                self._check_part(part, own, f"Tensor {i} returned by `right_inverse`")
                _maybe_set(own, part)

    @staticmethod
    def _check_part(part: Any, own: Tensor, what: str) -> None:
        if not isinstance(part, Tensor):
            raise ValueError(f"`{what}` should return a tensor. Got {type(part).__name__}")
        if part.dtype != own.dtype:
            raise ValueError(f"{what}: the tensor has dtype {part.dtype} while `original` has dtype {own.dtype}")

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        if self.is_tensor:
            value = self[0](self.original)
        else:
            value = self[0](*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for module in list(self)[1:]:
            value = module(value)
        return value


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _own_class(module: Module) -> None:
    """Give the module a class of its own, on which properties can be defined."""
    cls: Any = type(module)

    def refuse(self: Any) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(): "
            "save the state dict, and parametrize a new module before loading it"
        )

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        made = self.__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        # the copy has properties of its own, so that changing one does not change the other
        made.__class__ = type(type(self).__name__, type(self).__bases__, dict(vars(type(self))))
        return made

    body: dict[str, Any] = {"__getstate__": refuse}
    if not hasattr(cls, "__deepcopy__"):
        body["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), body)


def _make_property(module: Module, name: str) -> None:
    def computed(self: Any) -> Tensor:
        if not _open:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _values:
            _values[key] = self.parametrizations[name]()
        return _values[key]

    def get(self: Any) -> Tensor:
        try:
            return computed(self)
        except AttributeError as error:
            # __getattr__ of the module would be asked next, and hide what is wrong
            raise RuntimeError(f"parametrization of '{name}': {error}") from error

    def set(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute `module.tensor_name` as `parametrization(original)` from now on; returns the module.

    Another call puts another parametrization behind the first. If it has `right_inverse`, the present value is
    assigned through it, and so is what is assigned to the tensor later. ValueError if dtype or shape would change,
    unless `unsafe`, and for a name that is neither parameter nor buffer.
    Reference: `torch.nn.utils.parametrize.register_parametrization`.

        >>> parametrize.register_parametrization(layer, "weight", Symmetric())
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        there = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            given = parametrization(value)
            if not isinstance(given, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(given).__name__}.")
            if given.dtype != value.dtype:
                raise ValueError(
                    "Registering a parametrization may not change the dtype of the tensor, unless the `unsafe` flag is "
                    f"enabled.\nmodule.{tensor_name}.dtype: {value.dtype}\n"
                    f"parametrization(module.{tensor_name}).dtype: {given.dtype}"
                )
            if given.shape != value.shape:
                raise ValueError(
                    "Registering a parametrization may not change the shape of the tensor, unless the `unsafe` flag is "
                    f"enabled.\nmodule.{tensor_name}.shape: {value.shape}\n"
                    f"parametrization(module.{tensor_name}).shape: {given.shape}"
                )
            if hasattr(parametrization, "right_inverse"):
                try:
                    back = parametrization.right_inverse(given)
                except NotImplementedError:
                    pass
                else:
                    if not isinstance(back, Tensor):
                        raise ValueError(
                            f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
                        )
                    if back.dtype != value.dtype:
                        raise ValueError(
                            "The tensor returned by parametrization.right_inverse must have the same dtype as "
                            f"module.{tensor_name}, unless the `unsafe` flag is enabled."
                        )
                    if back.shape != value.shape:
                        raise ValueError(
                            "The tensor returned by parametrization.right_inverse must have the same shape as "
                            f"module.{tensor_name}, unless the `unsafe` flag is enabled."
                        )
        there.append(parametrization)
        there.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        made = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()
        _make_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrized tensor, or this one."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the tensor an ordinary one again: of its present value, or of its original's.

    ValueError if it is not parametrized, or if `leave_parametrized=False` and it has several originals.
    Reference: `torch.nn.utils.parametrize.remove_parametrizations`.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    there = module.parametrizations[tensor_name]
    original: Any = there.original if there.is_tensor else there.original0
    if there.is_tensor:
        if leave_parametrized:
            with no_grad():
                value = getattr(module, tensor_name)
            _maybe_set(original, value)
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize `to_module` as `from_module` is, with the values of its tensors; returns `to_module`.

    Reference: `torch.nn.utils.parametrize.transfer_parametrizations_and_params`.
    """
    if not is_parametrized(from_module):
        return to_module
    found = from_module.parametrizations
    if tensor_name is not None and tensor_name not in found:
        return to_module
    for name in [tensor_name] if tensor_name is not None else list(found):
        there = found[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in there:
            register_parametrization(to_module, name, parametrization, unsafe=there.unsafe)
        own = to_module.parametrizations[name]
        for key in ["original"] if there.is_tensor else [f"original{i}" for i in range(there.ntensors)]:
            setattr(own, key, getattr(there, key))
    return to_module
