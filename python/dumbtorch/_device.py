"""Device objects."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dumbtorch import _C

_TYPES = ("cpu", "cuda", "hip", "mps")  # in the order of the extension's codes
#: Types that are names only: programs ask whether a tensor is there. Their codes are those of indices of "mps".
_NAMES = ("meta", "xpu", "xla", "ipu", "mtia", "hpu", "vulkan", "privateuseone")
_FIRST_NAME = 3 << 8 | 128


class device:
    """Where a tensor's elements live: ``device("cpu")``, ``device("cuda:1")``, ``device("cuda", 1)``, ``device(1)``.

    ``type`` is the kind ("cpu", "cuda", ...), ``index`` the ordinal or None for the current one; a bare ordinal means
    the accelerator ``cuda``. Devices are equal when both are equal. As a context manager it is the default device of
    the factory functions inside. Raises RuntimeError for a malformed string. Reference: ``torch.device``.

    >>> device("cuda", 1)
    device(type='cuda', index=1)
    """

    __module__ = "dumbtorch"
    __slots__ = ("_code", "index", "type")
    _code: int
    type: str
    index: int | None

    def __init__(self, type: str | int | device, index: int | None = None) -> None:
        if isinstance(type, device):
            if index is not None:
                raise RuntimeError("device(): an index cannot be given together with a device object")
            name, index = type.type, type.index
        elif isinstance(type, int):
            if index is not None:
                raise RuntimeError(f"device(): the type must be a string when an index is given, got {type!r}")
            name, index = "cuda", type
        elif isinstance(type, str):
            name, colon, ordinal = type.partition(":")
            if colon:
                if index is not None:
                    raise RuntimeError(f"device(): the index is given twice: {type!r} and {index}")
                if not (ordinal.isascii() and ordinal.isdigit()) or (len(ordinal) > 1 and ordinal[0] == "0"):
                    raise RuntimeError(f"Invalid device string: {type!r}")
                index = int(ordinal)
        else:
            raise TypeError(f"device(): expected a string, an ordinal or a device, got {type.__class__.__name__}")
        if name not in _TYPES and name not in _NAMES:
            raise RuntimeError(
                f"Expected one of {', '.join(_TYPES + _NAMES)} device type at start of device string: {name}"
            )
        if index is not None:
            if not isinstance(index, int):
                raise TypeError(f"device(): the index must be an int, got {index.__class__.__name__}")
            if index < 0:
                raise RuntimeError("Device index must not be negative")
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", index)
        if name in _NAMES:
            object.__setattr__(self, "_code", _FIRST_NAME + _NAMES.index(name))
            return
        # 255: whichever device of the type is the current one when the device is used
        code = _TYPES.index(name) << 8 | (255 if index is None else index & 255)
        object.__setattr__(self, "_code", code if name != "cpu" else 0)

    @staticmethod
    def _from_code(code: int) -> device:
        """The device of the extension's code."""
        return device("cpu") if code == 0 else device(_TYPES[code >> 8], code & 255)

    @staticmethod
    def _load(code: int) -> None:
        """Loads the accelerator of the extension's code; RuntimeError says what was looked for, and what to do."""
        place = code - _FIRST_NAME
        name = _NAMES[place] if 0 <= place < len(_NAMES) else _TYPES[code >> 8]
        loader = _loaders.get(name)
        if loader is None:
            raise RuntimeError(f"no {name} device is available: dumbtorch has no kernels for {name}; use device='cpu'")
        loader()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attribute {name!r} of device objects is not writable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        return (
            f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (device, (self.type,) if self.index is None else (self.type, self.index))

    def __enter__(self) -> device:
        _stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _stack.pop()


#: Makes a type of device ready, or raises the RuntimeError that explains why there is none; see cuda.py.
_loaders: dict[str, Callable[[], None]] = {}
_stack: list[device] = []
_default = device("cpu")


def get_default_device() -> device:
    """The device of factory functions that are given none: the innermost ``with device(...)``, else the one set."""
    return _stack[-1] if _stack else _default


def set_default_device(device: Any) -> None:
    """Sets the device of factory functions that are given none; None means the CPU again."""
    global _default
    _default = _as_device("cpu" if device is None else device)


def _as_device(value: Any) -> device:
    return value if isinstance(value, device) else named(value)


@functools.lru_cache(maxsize=64)
def named(value: str | int) -> device:
    """The device of a name or an index: devices do not change, so one object serves all who ask."""
    return device(value)


_C.set_types(None, None, device, None)
