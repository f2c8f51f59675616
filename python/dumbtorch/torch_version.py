"""Versions that compare as numbers, not as text. Reference: ``torch.torch_version``."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["TorchVersion"]


def _parts(version: Any) -> tuple[int, ...]:
    """The numbers of a version, its last zeros left out: ``2.13.0+cpu`` is (2, 13)."""
    if isinstance(version, (tuple, list)):
        version = ".".join(map(str, version))
    found = re.match(r"v?(\d+(?:\.\d+)*)", str(version).strip())
    if found is None:
        raise ValueError(f"{version!r} is no version")
    numbers = [int(part) for part in found.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class TorchVersion(str):
    """A version as text, which compares with text and tuples by its numbers. Reference: ``torch.TorchVersion``.

    >>> TorchVersion("2.13.0") > "2.4", TorchVersion("2.13.0") >= (2, 13)
    (True, True)
    """

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return _parts(self) < _parts(other)

    def __le__(self, other: Any) -> bool:
        return _parts(self) <= _parts(other)

    def __gt__(self, other: Any) -> bool:
        return _parts(self) > _parts(other)

    def __ge__(self, other: Any) -> bool:
        return _parts(self) >= _parts(other)

    def __eq__(self, other: object) -> bool:
        try:
            return _parts(self) == _parts(other)
        except ValueError:
            return False

    def __hash__(self) -> int:
        return str.__hash__(self)
