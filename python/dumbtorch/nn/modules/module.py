"""`Module`, the base class of every network."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Self, TypeVar

from dumbtorch._handles import RemovableHandle, add_hook
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn.modules import _hooks
from dumbtorch.nn.modules._hooks import (
    Hook,
    global_backward_hooks,
    global_backward_pre_hooks,
    global_forward_hooks,
    global_forward_pre_hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from dumbtorch.nn.modules._registration import _HOOK_REGISTRIES
from dumbtorch.nn.modules._state import Stateful
from dumbtorch.nn.parameter import Parameter

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _forward_unimplemented(self: Module, *input: Any) -> Any:
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


class Module(Stateful):
    """Base class of all networks: define `__init__` (layers as attributes) and `forward`, then call the object.

    Parameters, buffers and modules assigned as attributes are registered: they appear in `parameters()` and
    `state_dict()`, follow `to()`, `train()` and `eval()`, and are printed by `repr`.
    Reference: `torch.nn.Module`.

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = nn.Linear(784, 128)
        ...         self.out = nn.Linear(128, 10)
        ...
        ...     def forward(self, x):
        ...         return self.out(self.hidden(x).relu())
    """

    dump_patches: bool = False
    T_destination = TypeVar("T_destination", bound=dict[str, Any])
    forward: Callable[..., Any] = _forward_unimplemented

    # -- calling -----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or global_forward_hooks
            or global_forward_pre_hooks
            or global_backward_hooks
            or global_backward_pre_hooks
        ):
            return self.forward(*args, **kwargs)
        return _HookedCall(self).run(args, kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self.__call__(*args, **kwargs)

    # -- hooks -------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; what it returns, if anything, replaces the arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)` and returns both. `prepend` puts it first.
        Returns a handle with `remove()`. Reference: `torch.nn.Module.register_forward_pre_hook`.
        """
        flags = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return add_hook(self._forward_pre_hooks, hook, prepend=prepend, flags=flags)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; what it returns, if anything, replaces the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`. `always_call` runs it when forward raises,
        too. Returns a handle with `remove()`. Reference: `torch.nn.Module.register_forward_hook`.
        """
        flags = ((self._forward_hooks_with_kwargs, with_kwargs), (self._forward_hooks_always_called, always_call))
        return add_hook(self._forward_hooks, hook, prepend=prepend, flags=flags)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's gradients are computed; a result replaces it."""
        return add_hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once the input gradients are known; a result replaces them.

        Reference: `torch.nn.Module.register_full_backward_hook`.
        """
        _hooks.check_kind(self._backward_hooks, True, "on a single Module")
        self._is_full_backward_hook = True
        return add_hook(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The older kind of `register_full_backward_hook`: it sees the gradients of the last operation of forward.

        Warns where these are not all of the module's. RuntimeError for a module with hooks of both kinds.
        Reference: `torch.nn.Module.register_backward_hook`.
        """
        _hooks.check_kind(self._backward_hooks, False, "on a single Module")
        self._is_full_backward_hook = False
        return add_hook(self._backward_hooks, _hooks.PartialHook(hook))

    # -- lookup by dotted name ---------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """Return the module at dotted path `target` ("" is this module); AttributeError names what is missing."""
        module: Any = self
        for atom in target.split(".") if target else ():
            if not hasattr(module, atom):
                raise AttributeError(f"{module._get_name()} has no attribute `{atom}`")
            module = getattr(module, atom)
            if not isinstance(module, Module):
                raise AttributeError(f"`{atom}` is not an nn.Module")
        found: Module = module
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at dotted path `target`; with `strict` there must be one already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at dotted path `target`; AttributeError if there is none."""
        found = self._get_member(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{target.rpartition('.')[2]}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at dotted path `target`; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        found: Tensor = self._get_member(target)
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def _get_member(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        return getattr(owner, name)

    # -- conversion --------------------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace every parameter, its gradient and every buffer by `fn` of it, keeping the parameter objects."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                # Through `.data`, so that optimizers and ties that hold the object see the new values.
                param.data = fn(param.data)
                if param.grad is not None:
                    grad, wanted = param.grad, param.grad.requires_grad
                    param.grad = None
                    param.grad = fn(grad).requires_grad_(wanted)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below and then on this one; returns this module (for initialisation)."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move and convert parameters and buffers in place.

        `to(device)`, `to(dtype)`, `to(device, dtype)` or `to(tensor)`, as for a tensor; `memory_format=` is that of
        tensors with 4 and 5 dimensions.
        A dtype (floating or complex, else TypeError) is applied to floating and complex tensors only. Returns the
        module. Reference: `torch.nn.Module.to`.

            >>> model.to("cuda", dumbtorch.bfloat16)
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            wanted = dtype if tensor.is_floating_point() or tensor.is_complex() else None
            shaped = memory_format is not None and tensor.ndim in (4, 5)
            if device is None and wanted is None and not shaped:
                return tensor
            options: dict[str, Any] = {"non_blocking": non_blocking}
            if device is not None:
                options["device"] = device
            if wanted is not None:
                options["dtype"] = wanted
            if shaped:
                options["memory_format"] = memory_format
                options.setdefault("dtype", tensor.dtype)
            moved: Tensor = tensor.to(**options)
            return moved

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to `device` without copying: the new values are whatever the memory holds."""
        return self._apply(lambda t: t.new_empty(t.shape, device=device), recurse=recurse)

    def share_memory(self) -> Self:
        """Move parameters and buffers to memory that processes share: see `Tensor.share_memory_`."""
        return self._apply(lambda t: t.share_memory_())

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move all parameters and buffers to the accelerator (RuntimeError where there is none)."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Convert floating parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Convert floating parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Convert floating parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Convert floating parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    # -- training state ----------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below (dropout and the like act only in it); ValueError unless a bool."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say for every parameter whether autograd should compute its gradient (False freezes the module)."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros if `set_to_none=False`."""
        for param in self.parameters():
            clear_grad(param, set_to_none)

    # -- printing and copying ----------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of `repr`; override in a layer to show its settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        if not extra_lines and not child_lines:
            return f"{self._get_name()}()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra_lines[0]})"
        body = "\n  ".join([*extra_lines, *child_lines])
        return f"{self._get_name()}(\n  {body}\n)"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Modules pickled by older versions may lack a registry that is looked at in every call.
        for registry in _HOOK_REGISTRIES:
            self.__dict__.setdefault(registry, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)


class _HookedCall:
    """One call of a module that has hooks, with what is needed to run `always_call` hooks after an error."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.result: Any = None
        self.always_called: set[int] = set()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.args, self.kwargs = args, kwargs
        try:
            return self._run()
        except Exception:
            self._run_remaining_always_called()
            raise

    def _run(self) -> Any:
        module = self.module
        self._pre_hooks()
        hooks = [*global_backward_hooks.values(), *module._backward_hooks.values()]
        full = [hook for hook in hooks if not isinstance(hook, _hooks.PartialHook)]
        pre = [*global_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
        boundary = _hooks.BackwardHooks(module, full, pre) if full or pre else None
        if boundary is not None:
            self.args = boundary.wrap_inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for hook_id, hook, with_kwargs, always in self._forward_hooks():
            if always:
                self.always_called.add(hook_id)
            self._call_forward_hook(hook, with_kwargs)
        if boundary is not None:
            self.result = boundary.wrap_outputs(self.result)
        if len(full) < len(hooks):
            partial = [hook for hook in hooks if isinstance(hook, _hooks.PartialHook)]
            _hooks.attach_partial(module, partial, self.args, self.result)
        return self.result

    def _pre_hooks(self) -> None:
        module = self.module
        for hook_id, hook in (*global_forward_pre_hooks.items(), *module._forward_pre_hooks.items()):
            if hook_id in module._forward_pre_hooks_with_kwargs:
                replaced = hook(module, self.args, self.kwargs)
                if replaced is not None:
                    if not (isinstance(replaced, tuple) and len(replaced) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple "
                            f"of (new_args, new_kwargs), but got {replaced}."
                        )
                    self.args, self.kwargs = replaced
            else:
                replaced = hook(module, self.args)
                if replaced is not None:
                    self.args = replaced if isinstance(replaced, tuple) else (replaced,)

    def _forward_hooks(self) -> list[tuple[int, Hook, bool, bool]]:
        module = self.module
        kwargs_ids = {**_hooks.global_forward_hooks_with_kwargs, **module._forward_hooks_with_kwargs}
        always_ids = {**_hooks.global_forward_hooks_always_called, **module._forward_hooks_always_called}
        return [
            (hook_id, hook, hook_id in kwargs_ids, hook_id in always_ids)
            for hook_id, hook in (*global_forward_hooks.items(), *module._forward_hooks.items())
        ]

    def _call_forward_hook(self, hook: Hook, with_kwargs: bool) -> None:
        if with_kwargs:
            replaced = hook(self.module, self.args, self.kwargs, self.result)
        else:
            replaced = hook(self.module, self.args, self.result)
        if replaced is not None:
            self.result = replaced

    def _run_remaining_always_called(self) -> None:
        for hook_id, hook, with_kwargs, always in self._forward_hooks():
            if not always or hook_id in self.always_called:
                continue
            try:
                self._call_forward_hook(hook, with_kwargs)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception "
                    f"that was silenced as another error was raised in forward: {error}",
                    stacklevel=4,
                )


def clear_grad(param: Tensor, set_to_none: bool) -> None:
    """Drop a tensor's gradient, or detach and zero it."""
    grad = param.grad
    if grad is None:
        return
    if set_to_none:
        param.grad = None
        return
    if grad.grad_fn is not None:
        grad.detach_()
    else:
        grad.requires_grad_(False)
    grad.zero_()


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _parse_to(
    *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False, **other: Any
) -> tuple[Any, Any, bool, Any]:
    """Sort out the forms of `to`: (device, dtype, non_blocking), (dtype, non_blocking), (tensor, non_blocking)."""
    memory_format = other.pop("memory_format", None)
    tensor = other.pop("tensor", None)
    if other:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(other))}'")
    rest = list(args)
    if tensor is not None:
        rest.insert(0, tensor)
    if rest:
        first = rest.pop(0)
        if isinstance(first, Tensor):
            device, dtype = first.device, first.dtype
        elif hasattr(first, "is_floating_point"):
            dtype = first
        else:
            device = first
            if rest and not isinstance(rest[0], bool):
                dtype = rest.pop(0)
    if rest:
        non_blocking = bool(rest.pop(0))
    if rest:
        raise TypeError(f"to() received an invalid combination of arguments - got {args}")
    return device, dtype, non_blocking, memory_format
