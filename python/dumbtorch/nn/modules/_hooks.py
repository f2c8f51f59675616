"""Hook bookkeeping: removable handles, the hooks that apply to every module, and the backward-hook boundary."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch._handles import RemovableHandle, add_hook
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import Function

Hook = Callable[..., Any]
HookDict = OrderedDict[int, Hook]
Callback = Callable[[tuple[Any, ...]], tuple[Any, ...]]

# Hooks that run for every module (`register_module_*`). Truth-tested on each call, so they stay plain dictionaries.
global_backward_pre_hooks: HookDict = OrderedDict()
global_backward_hooks: HookDict = OrderedDict()
global_forward_pre_hooks: HookDict = OrderedDict()
global_forward_hooks: HookDict = OrderedDict()
global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
global_buffer_registration_hooks: HookDict = OrderedDict()
global_module_registration_hooks: HookDict = OrderedDict()
global_parameter_registration_hooks: HookDict = OrderedDict()


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, buffer)` whenever any module registers a buffer; a returned value replaces it."""
    return add_hook(global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, submodule)` whenever any module registers a child; a returned value replaces it."""
    return add_hook(global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, param)` whenever any module registers a parameter; a returned value replaces it."""
    return add_hook(global_parameter_registration_hooks, hook)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, args)` before every module's forward; a returned value replaces the arguments."""
    return add_hook(global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args[, kwargs], output)` after every module's forward; a returned value replaces it."""
    flags = ((global_forward_hooks_with_kwargs, with_kwargs), (global_forward_hooks_always_called, always_call))
    return add_hook(global_forward_hooks, hook, flags=flags)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_output)` before every module's gradients are computed."""
    return add_hook(global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` once every module's input gradients are known."""
    check_kind(global_backward_hooks, True, "as a global Module hook")
    return add_hook(global_backward_hooks, hook)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The older kind of `register_module_full_backward_hook`: see `Module.register_backward_hook`."""
    check_kind(global_backward_hooks, False, "as a global Module hook")
    return add_hook(global_backward_hooks, PartialHook(hook))


class PartialHook:
    """A backward hook of the older kind: it sees the gradients of the last operation alone."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, module: Any, grad_inputs: Any, grad_outputs: Any) -> Any:
        return self.hook(module, grad_inputs, grad_outputs)

    def attach(self, module: Any, node: Any) -> None:
        """Calls it with the gradients of a node."""
        node.register_hook(lambda grad_inputs, grad_outputs: self(module, grad_inputs, grad_outputs))


def check_kind(hooks: HookDict, full: bool, where: str) -> None:
    """Raises RuntimeError where there are backward hooks of the other kind."""
    if any(isinstance(hook, PartialHook) == full for hook in hooks.values()):
        raise RuntimeError(
            f"Cannot use both regular backward hooks and full backward hooks {where}. Please use only one of them."
        )


def attach_partial(module: Any, hooks: Sequence[Any], args: Any, result: Any) -> None:
    """Gives the hooks of the older kind to the node that made the result."""
    found = result
    while not isinstance(found, Tensor):
        found = next(v for v in found.values() if isinstance(v, Tensor)) if isinstance(found, dict) else found[0]
    node = found.grad_fn
    if node is None:
        return
    for hook in hooks:
        hook.attach(module, node)
    lacking = _lacks(args, result, node)
    if lacking:
        warnings.warn(
            f"{lacking}. Please use register_full_backward_hook to get the documented behavior.",
            FutureWarning,
            stacklevel=5,
        )


def _lacks(args: Any, result: Any, node: Any) -> str:
    """What hooks of the older kind do not see, if anything."""
    gone = "is deprecated and will be removed in future versions. This hook will be missing some"
    outputs = (result,) if isinstance(result, Tensor) else result
    if not isinstance(outputs, tuple) or not all(isinstance(r, Tensor) for r in outputs):
        return (
            "Using non-full backward hooks on a Module that does not return a single Tensor or a tuple of Tensors "
            f"{gone} of the grad_output"
        )
    if not all(isinstance(a, Tensor) for a in args):
        return (
            "Using non-full backward hooks on a Module that does not take as input a single Tensor or a tuple of "
            f"Tensors {gone} of the grad_input"
        )
    if {r.grad_fn for r in outputs} - {None, node}:
        return (
            f"Using a non-full backward hook when outputs are generated by different autograd Nodes {gone} grad_output"
        )
    before = {a.grad_fn for a in args if a.grad_fn is not None}
    if before != {edge[0] for edge in node.next_functions}:
        return f"Using a non-full backward hook when the forward contains multiple autograd Nodes {gone} grad_input"
    return ""


class _Boundary(Function):
    """Identity on tensors whose backward hands the gradients to a callback and passes on what that returns."""

    @staticmethod
    def forward(ctx: Any, callback: Callback, missing_as_zero: bool, *tensors: Tensor) -> Any:
        ctx.callback = callback
        ctx.set_materialize_grads(missing_as_zero)
        passed = tuple(t.view_as(t) for t in tensors)
        ctx.mark_non_differentiable(*(out for t, out in zip(tensors, passed, strict=True) if not t.requires_grad))
        return passed

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, None, *ctx.callback(grads))


class BackwardHooks:
    """The backward hooks of one call of one module.

    The module's inputs and outputs each pass through a `_Boundary`. In backward the outputs' boundary is met first:
    it runs the pre-hooks and keeps the output gradients; the inputs' boundary then has both ends and runs the hooks.
    """

    def __init__(self, module: Any, hooks: Sequence[Hook], pre_hooks: Sequence[Hook]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.input_positions: list[int] = []
        self.input_count = 0
        self.output_positions: list[int] = []
        self.output_count = 0
        self.inputs_recorded = False

    def wrap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return `args` with its tensors passed through the inputs' boundary."""
        self.input_count = len(args)
        wrapped, self.input_positions = _pass_tensors(self._on_inputs, True, args)
        self.inputs_recorded = any(wrapped[i].requires_grad for i in self.input_positions)
        return wrapped

    def wrap_outputs(self, result: Any) -> Any:
        """Return `result` (a tensor or a tuple) with its tensors passed through the outputs' boundary."""
        if isinstance(result, Tensor):
            outputs: tuple[Any, ...] = (result,)
        elif isinstance(result, tuple):
            outputs = result
        else:
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                f"but received {type(result)}",
                stacklevel=4,
            )
            return result
        self.output_count = len(outputs)
        wrapped, self.output_positions = _pass_tensors(self._on_outputs, False, outputs)
        if isinstance(result, Tensor):
            return wrapped[0]
        # Named tuples are rebuilt from their fields.
        return type(result)(*wrapped) if hasattr(result, "_fields") else wrapped

    def _on_outputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full = _spread(grads, self.output_positions, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook(self.module, full)
            if replaced is not None:
                full = _checked(replaced, len(full), "grad_output", self.module)
        self.grad_outputs = full
        if not self.inputs_recorded:
            # No input wants a gradient, so the inputs' boundary is never met: run the hooks here.
            if self.hooks:
                warnings.warn(
                    "Full backward hook is firing when gradients are computed with respect to module outputs since no "
                    "inputs require gradients.",
                    stacklevel=2,
                )
            inputs = (None,) * self.input_count
            for hook in self.hooks:
                replaced = hook(self.module, inputs, full)
                if replaced is not None and any(g is not None for g in replaced):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        f"for all gradients ({self.module._get_name()})."
                    )
            self.grad_outputs = None
        return tuple(full[i] for i in self.output_positions)

    def _on_inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_outputs is None:  # the gradient came another way than through the module's output
            return grads
        full = _spread(grads, self.input_positions, self.input_count)
        for hook in self.hooks:
            replaced = hook(self.module, full, self.grad_outputs)
            if replaced is not None:
                full = _checked(replaced, len(full), "grad_input", self.module)
        self.grad_outputs = None
        return tuple(full[i] for i in self.input_positions)


def _pass_tensors(
    callback: Callback, missing_as_zero: bool, values: tuple[Any, ...]
) -> tuple[tuple[Any, ...], list[int]]:
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not any(values[i].requires_grad for i in positions):
        return values, positions
    passed = _Boundary.apply(callback, missing_as_zero, *(values[i] for i in positions))
    mixed = list(values)
    for i, tensor in zip(positions, passed, strict=True):
        mixed[i] = tensor
    return tuple(mixed), positions


def _spread(grads: tuple[Any, ...], positions: list[int], count: int) -> tuple[Any, ...]:
    full: list[Any] = [None] * count
    for i, grad in zip(positions, grads, strict=True):
        full[i] = grad
    return tuple(full)


def _checked(replaced: Any, count: int, what: str, module: Any) -> tuple[Any, ...]:
    values = replaced if isinstance(replaced, tuple) else (replaced,)
    if len(values) != count:
        kind = "Backward hook" if what == "grad_input" else "Backward pre hook"
        raise RuntimeError(
            f"{kind} returned an invalid number of {what}, got {len(values)}, but expected {count} "
            f"({module._get_name()})"
        )
    return values
