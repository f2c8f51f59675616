"""Forward mode by hand: dual tensors, which carry a tangent through the operations of a level.

`torch.func.jvp` does the same for a whole function, and nests. Reference: ``torch.autograd.forward_ad``.

>>> import dumbtorch as torch
>>> with dual_level():
...     out = make_dual(torch.ones(2), torch.tensor([1.0, 2.0])).square()
...     unpack_dual(out).tangent
tensor([2., 4.])
"""

from __future__ import annotations

import importlib
import threading
from typing import Any, NamedTuple

from dumbtorch.autograd.modes import _Mode

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class _Current(threading.local):
    level: Any = None
    enabled = True


_CURRENT = _Current()


class UnpackedDualTensor(NamedTuple):
    """A primal, and its tangent or None."""

    primal: Any
    tangent: Any


def _module(name: str) -> Any:
    return importlib.import_module(f"dumbtorch.func.{name}")  # few programs need the transforms


def enter_dual_level() -> int:
    """Starts the level of forward mode and returns its number, 0. Raises RuntimeError inside of it."""
    if _CURRENT.level is not None:
        raise RuntimeError(
            "Nested forward mode AD is not supported at the moment: there is a level already. torch.func.jvp nests."
        )
    _CURRENT.level = _module("_forward").Forward()
    _CURRENT.level.__enter__()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: its dual tensors lose their tangents."""
    if _CURRENT.level is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    _CURRENT.level.__exit__()
    _CURRENT.level = None


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A tensor on the memory of ``tensor`` that carries ``tangent``, of the same shape and dtype.

    Raises RuntimeError outside of a level and for shapes that differ, ValueError for integers.
    """
    if _CURRENT.level is None or (level is not None and level < 0):
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    _module("_grad").check_tangent(tensor, tangent)
    here = _CURRENT.level
    primal = here.lower(tensor)
    return _module("_wrappers").dual(here, primal.view(primal.shape), tangent)


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The primal of a tensor and its tangent, None where it has none (always outside of a level)."""
    if _CURRENT.level is None or (level is not None and level < 0):
        return UnpackedDualTensor(tensor, None)
    primal, tangent = _module("_wrappers").split(tensor, _CURRENT.level)
    return UnpackedDualTensor(primal, tangent)


class dual_level(_Mode):
    """The level of forward mode as a context manager; inside of it, `make_dual` and `unpack_dual` work."""

    __slots__ = ()

    def __enter__(self) -> Any:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()
