"""Shapes that tensors are broadcast to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dumbtorch._size import Size
from dumbtorch.ops.shape import expand
from dumbtorch.ops.table import composite


@composite(method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of the given shapes (or sizes) broadcast to. Reference: ``torch.broadcast_shapes``.

    Raises RuntimeError where they do not, ValueError for negative sizes.
    """
    given = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    ndim = max(map(len, given), default=0)
    result = [1] * ndim
    for shape in given:
        for place, n in enumerate(shape, ndim - len(shape)):
            if n < 0:
                raise ValueError(f"Attempting to broadcast a dimension with negative length {n}: {list(shape)}")
            if n != 1:
                if result[place] not in (1, n):
                    raise RuntimeError(
                        "Shape mismatch: objects cannot be broadcast to a single shape: "
                        f"{' and '.join(str(list(s)) for s in given)}"
                    )
                result[place] = n
    return Size(result)


@composite("broadcast_to")
def broadcast_to(input: Any, size: Any) -> Any:
    """The tensor stretched to a shape without a copy. Reference: ``torch.broadcast_to``."""
    return expand(input, size)


@composite("broadcast_tensors", method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors stretched to their common shape. Reference: ``torch.broadcast_tensors``."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = common_shape(given)
    return tuple(expand(t, shape) for t in given)


def common_shape(tensors: Iterable[Any]) -> Size:
    """The shape that tensors broadcast to, with the error that PyTorch's pointwise ops raise."""
    shape: list[int] = []
    for t in tensors:
        mine = list(t.shape)
        wide = max(len(shape), len(mine))
        shape = [1] * (wide - len(shape)) + shape
        for place, n in enumerate(mine, wide - len(mine)):
            if n != 1:
                if shape[place] not in (1, n):
                    raise RuntimeError(
                        f"The size of tensor a ({shape[place]}) must match the size of tensor b ({n}) at non-singleton "
                        f"dimension {place}"
                    )
                shape[place] = n
    return Size(shape)
