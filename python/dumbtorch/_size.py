"""The type of a tensor's shape."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, SupportsIndex


class Size(tuple[int, ...]):
    """A shape: a tuple of ints that knows its product. Slices and sums of sizes are sizes.

    Raises TypeError for an item that is not an integer. Reference: ``torch.Size``.

    >>> Size([2, 3]).numel()
    6
    """

    __module__ = "dumbtorch"
    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = ()) -> Size:
        items = tuple(sizes)
        for place, item in enumerate(items):
            if type(item) is not int:
                try:
                    items = (*items[:place], item.__index__(), *items[place + 1 :])
                except AttributeError:
                    raise TypeError(
                        f"Size() takes an iterable of 'int' (item {place} is '{type(item).__name__}')"
                    ) from None
        return tuple.__new__(cls, items)

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return tuple.__new__(Size, item) if type(index) is slice else item

    def __add__(self, other: Any) -> Any:
        return tuple.__new__(Size, tuple.__add__(self, other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return tuple.__new__(Size, tuple.__add__(other, self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, count: SupportsIndex) -> Size:
        return tuple.__new__(Size, tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (tuple(self),))
