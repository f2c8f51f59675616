"""Grad modes: whether operations are recorded. Each thread has its own, kept in one word of the extension."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import GeneratorType
from typing import Any, TypeVar, cast

from dumbtorch import _C
from dumbtorch.autograd.watch import TRACE

NO_GRAD = 1
INFERENCE = 2
_F = TypeVar("_F", bound=Callable[..., Any])
_get, _set = _C.get_mode, _C.set_mode


class _Mode:
    """A context manager that is also a decorator, of functions and of generators."""

    __slots__ = ("_outer",)

    def _enter(self) -> int:
        """Sets the mode and returns the previous one."""
        raise AssertionError("every mode defines this")

    def _again(self) -> _Mode:
        """A fresh context of the same kind, so that a decorated function may recurse."""
        return type(self)()

    def clone(self) -> _Mode:
        """A fresh context of the same kind."""
        return self._again()

    def __enter__(self) -> None:
        self._outer = self._enter()

    def __exit__(self, *exc: object) -> None:
        _set(self._outer & ~TRACE | _get() & TRACE)  # what watches the ops comes and goes by itself

    def __call__(self, function: _F) -> _F:
        if isinstance(function, type):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. To preserve the current behavior of class decoration, you can directly decorate "
                "the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                result = function(*args, **kwargs)
            return self._generate(result) if isinstance(result, GeneratorType) else result

        return cast(_F, wrapped)

    def _generate(self, inner: GeneratorType[Any, Any, Any]) -> Any:
        """Runs a generator's body in this mode and its consumer outside of it."""
        resume: Callable[[], Any] = functools.partial(next, inner)
        while True:
            try:
                with self._again():
                    item = resume()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                with self._again():
                    inner.close()
                raise
            except BaseException as error:
                resume = functools.partial(inner.throw, error)
            else:
                resume = functools.partial(inner.send, sent)


class no_grad(_Mode):
    """Nothing inside is recorded: results do not require gradients.

    A context manager and a decorator. Results may still be used in recorded operations later.
    Reference: ``torch.no_grad``.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """

    __slots__ = ()

    def __new__(cls, function: Any = None) -> Any:
        """A mode, or ``function`` decorated with it."""
        mode = object.__new__(cls)
        return mode if function is None else mode(function)

    def _enter(self) -> int:
        return _set(_get() | NO_GRAD)


class enable_grad(_Mode):
    """Operations inside are recorded, also within an outer ``no_grad``. Reference: ``torch.enable_grad``.

    >>> with no_grad(), enable_grad():
    ...     is_grad_enabled()
    True
    """

    __slots__ = ()

    def __new__(cls, function: Any = None) -> Any:
        """A mode, or ``function`` decorated with it."""
        mode = object.__new__(cls)
        return mode if function is None else mode(function)

    def _enter(self) -> int:
        return _set(_get() & ~NO_GRAD)


class set_grad_enabled(_Mode):
    """Switches recording on or off, at once; as a context manager the earlier mode returns at the end.

    Reference: ``torch.set_grad_enabled``.

    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    """

    __slots__ = ("mode",)

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._outer = self._enter()

    def _enter(self) -> int:
        old = _get()
        _set(old & ~NO_GRAD if self.mode else old | NO_GRAD)
        return old

    def _again(self) -> _Mode:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        self._enter()  # the mode to return to was noted when this was made

    def __call__(self, function: _F) -> _F:
        """``function`` decorated with the mode."""
        _set(self._outer)  # used as a decorator: the mode is wanted inside the function only
        return super().__call__(function)

    def __repr__(self) -> str:
        return f"set_grad_enabled(mode={self.mode})"


class inference_mode(_Mode):
    """Nothing inside is recorded, and tensors made inside can never be part of a graph.

    ``mode=False`` leaves inference mode. A context manager and a decorator. Reference: ``torch.inference_mode``.

    >>> with inference_mode():
    ...     is_inference_mode_enabled()
    True
    """

    __slots__ = ("mode",)

    def __new__(cls, mode: Any = True) -> Any:
        """A mode, or a function decorated with it."""
        if callable(mode):
            return cls(True)(mode)
        return object.__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        self.mode = bool(mode)

    def _enter(self) -> int:
        return _set(_get() | NO_GRAD | INFERENCE if self.mode else _get() & ~(NO_GRAD | INFERENCE))

    def _again(self) -> _Mode:
        return cast(_Mode, inference_mode(self.mode))


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require gradients are recorded now."""
    return not _get() & NO_GRAD


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside ``inference_mode``."""
    return bool(_get() & INFERENCE)
