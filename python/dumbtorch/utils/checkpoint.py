"""Activation checkpointing: what a part of a model keeps for its derivative is computed again when it is needed.

The usual kind (``use_reentrant=False``) records the graph as always, with hooks that put a number in the place of each
kept tensor; the first that a backward needs runs the function again, up to the last kept one, and gives each its
tensor. The reentrant kind records one node that runs the function, and a backward through it, inside of the backward.
Reference: ``torch.utils.checkpoint`` (Chen et al., 2016).
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from dumbtorch import _C, cuda
from dumbtorch.autograd import engine
from dumbtorch.autograd.backward import backward
from dumbtorch.autograd.function import Function
from dumbtorch.autograd.modes import enable_grad, is_grad_enabled, no_grad
from dumbtorch.autograd.saved import saved_tensors_hooks
from dumbtorch.random import get_rng_state, set_rng_state
from dumbtorch.utils._selective import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

__all__ = [
    "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "DefaultDeviceType", "SelectiveCheckpointContext",
    "check_backward_validity", "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts",
    "detach_variable", "get_device_states", "noop_context_fn", "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip

TensorBase = _C.TensorBase
_DETERMINISM: dict[str, Callable[[Any], Any]] = {
    "default": lambda t: {"shape": t.shape, "dtype": t.dtype, "device": t.device},
    "none": lambda t: None,
}


class CheckpointError(RuntimeError):
    """Raised when computing a part again kept other tensors than the first time."""


class _Stop(Exception):
    """Ends a recomputation that has all it needs."""


class _Settings(threading.local):
    early_stop: bool | None = None
    debug: bool | None = None


_SETTINGS = _Settings()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """A context in which recomputations stop at the last tensor needed, or do not, whatever `checkpoint` says."""
    outer, _SETTINGS.early_stop = _SETTINGS.early_stop, enable
    try:
        yield
    finally:
        _SETTINGS.early_stop = outer


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """A context in which errors of `checkpoint` list what was kept both times, or do not, whatever ``debug`` says."""
    outer, _SETTINGS.debug = _SETTINGS.debug, enabled
    try:
        yield
    finally:
        _SETTINGS.debug = outer


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing: the default of ``context_fn``."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors of a tuple outside of their graph, requiring gradients as before; other values as they are."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(
        value.detach().requires_grad_(value.requires_grad) if isinstance(value, TensorBase) else value
        for value in inputs
    )


def check_backward_validity(inputs: Any) -> None:
    """Warns where no tensor requires a gradient."""
    if not any(isinstance(value, TensorBase) and value.requires_grad for value in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


class DefaultDeviceType:
    """The type of the device that `checkpoint` asks where no argument lies on one; all draw from one generator here.

    Reference: ``torch.utils.checkpoint.DefaultDeviceType``.
    """

    _type: str | None = None

    @classmethod
    def set_device_type(cls, device: str = "cuda") -> None:
        """Sets the type."""
        cls._type = device

    @classmethod
    def get_device_type(cls) -> str:
        """The type; unless set, that of the accelerator, or ``"cpu"``."""
        return cls._type or ("cuda" if cuda.is_available() else "cpu")


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """The numbers of the devices that tensors among the arguments lie on, and states of generators.

    All devices draw from the default generator, so the states are all the same.
    """
    devices = sorted({t.get_device() for t in args if isinstance(t, TensorBase) and not t.is_cpu})
    return devices, [get_rng_state() for _ in devices]


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Sets the generator that the devices draw from to a state that `get_device_states` gave."""
    for state in states:
        set_rng_state(state)


class _Random:
    """The state of the generator, to be had again."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        if keep:
            self.state = get_rng_state()

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """A context with the state as it was; the one from before returns at its end."""
        if not self.keep:
            yield
            return
        state = get_rng_state()
        set_rng_state(self.state)
        try:
            yield
        finally:
            set_rng_state(state)


# ---------------------------------------------------------------- reentrant


class CheckpointFunction(Function):
    """The node of a reentrant checkpoint."""

    @staticmethod
    def forward(ctx: Any, run_function: Any, preserve_rng_state: bool, *args: Any) -> Any:
        """Runs the function without recording."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.random = _Random(preserve_rng_state)
        ctx.others = [None if isinstance(value, TensorBase) else value for value in args]
        ctx.places = [n for n, value in enumerate(args) if isinstance(value, TensorBase)]
        ctx.save_for_backward(*(args[n] for n in ctx.places))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Runs the function again, recorded, and a backward through it."""
        if not engine.in_plain_backward():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        inputs = list(ctx.others)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = tensor
        given = detach_variable(tuple(inputs))
        with ctx.random.again(), enable_grad():
            outputs = ctx.run_function(*given)
        outputs = (outputs,) if isinstance(outputs, TensorBase) else outputs
        pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if isinstance(y, TensorBase) and y.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([y for y, _ in pairs], [g for _, g in pairs])
        return (None, None, *(value.grad if isinstance(value, TensorBase) else None for value in given))


# ---------------------------------------------------------------- by hooks


class _Frame:
    """One call of a checkpointed function: how many tensors it kept, and those that were computed again."""

    def __init__(self, run: Callable[[], Any], early_stop: bool, check: Callable[[Any], Any], debug: bool) -> None:
        self.run, self.early_stop, self.check, self.debug = run, early_stop, check, debug
        self.notes: list[Any] = []  # what the determinism check compares, for each kept tensor
        self.ready: dict[int, Any] = {}
        self.last: tuple[int, Any] = (-1, None)

    def pack(self, tensor: Any) -> int:
        """The number of a kept tensor."""
        self.notes.append(self.check(tensor))
        return len(self.notes) - 1

    def unpack(self, number: int) -> Any:
        """A kept tensor, computed again with all the others unless it is there."""
        if number == self.last[0]:
            return self.last[1]  # `ctx.saved_tensors` may be read twice
        if number not in self.ready:
            self.compute()
        tensor = self.ready.pop(number)
        self.last = (number, tensor) if self.ready else (-1, None)
        return tensor

    def compute(self) -> None:
        """Runs the function again. Raises CheckpointError where it keeps other tensors."""
        made: list[Any] = []
        wanted = len(self.notes)

        def pack(tensor: Any) -> Any:
            if len(made) < wanted:
                made.append(tensor.detach())
            elif self.early_stop:
                raise self.error(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                    "forward pass.", made)  # fmt: skip
            else:
                made.append(None)
            if self.early_stop and len(made) == wanted:
                raise _Stop
            return tensor.detach()

        with contextlib.suppress(_Stop), saved_tensors_hooks(pack, lambda tensor: tensor), enable_grad():
            self.run()
        if len(made) != wanted:
            raise self.error(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {wanted}\nNumber of tensors saved during "
                f"recomputation: {len(made)}.", made)  # fmt: skip
        wrong = [
            f"tensor at position {n}:\nsaved metadata: {note}\nrecomputed metadata: {self.check(tensor)}\n"
            for n, (note, tensor) in enumerate(zip(self.notes, made, strict=True))
            if note != self.check(tensor)
        ]
        if wrong:
            raise self.error(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                "during the forward pass.\n" + "".join(wrong), made)  # fmt: skip
        self.ready = dict(enumerate(made))

    def error(self, text: str, made: list[Any]) -> CheckpointError:
        """The error, with what was kept both times where that is asked for."""
        if self.debug:
            text += f"\nSaved during the original forward: {self.notes}\nSaved during recomputation: {made}"
        else:
            text += (
                "\nTip: To see a more detailed error message, either pass `debug=True` to "
                "`torch.utils.checkpoint.checkpoint(...)` or wrap the code block with `with "
                "torch.utils.checkpoint.set_checkpoint_debug_enabled(True):`."
            )
        return CheckpointError(text)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, keeping the arguments alone for the derivative: the rest is computed again.

    ``preserve_rng_state`` (True) gives random operations the same numbers both times. ``context_fn`` returns the
    contexts of the first and of the second run. ``determinism_check`` ("default" or "none") compares shapes, dtypes and
    devices of what both keep; a difference raises `CheckpointError`. ``early_stop`` ends the second run at the last
    tensor that is needed. Without ``use_reentrant`` it warns and takes the reentrant kind, as PyTorch does; that kind
    serves only ``backward()`` without ``inputs``. Reference: ``torch.utils.checkpoint.checkpoint``.

    >>> import dumbtorch as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin().sum(), x, use_reentrant=False).backward()
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in _DETERMINISM:
        raise ValueError(f"determinism_check should be one of {list(_DETERMINISM)}, but got {determinism_check}")
    first, second = context_fn()
    if not is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    random = _Random(preserve)

    def again() -> None:
        with random.again(), second:
            function(*args, **kwargs)

    frame = _Frame(
        again,
        early_stop if _SETTINGS.early_stop is None else _SETTINGS.early_stop,
        _DETERMINISM[determinism_check],
        debug if _SETTINGS.debug is None else _SETTINGS.debug,
    )
    with saved_tensors_hooks(frame.pack, frame.unpack), first:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Functions or layers one after the other, in so many parts; all but the last part are checkpointed.

    Reference: ``torch.utils.checkpoint.checkpoint_sequential``.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    layers = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(layers) // segments

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(value: Any) -> Any:
            for layer in layers[start:end]:
                value = layer(value)
            return value

        return run

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(part(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(end, len(layers))(input)
