"""``rearrange``: dimensions transposed, split and merged by a pattern of names, as in einops (Rogozhnikov, 2022)."""

from __future__ import annotations

import math
import re
from typing import Any

from dumbtorch.autograd.graph import TensorBase
from dumbtorch.ops.table import FUNCTIONS


def _side(text: str, pattern: str) -> list[list[str]]:
    """The dimensions of one side of a pattern, each the names that are merged in it."""
    groups: list[list[str]] = []
    open_group: list[str] | None = None
    for token in re.findall(r"\.\.\.|[()]|[^\s()]+", text):
        if token == "(":
            if open_group is not None:
                raise ValueError(f"Invalid expression in '{pattern}': nested parentheses")
            open_group = []
        elif token == ")":
            if open_group is None:
                raise ValueError(f"Invalid expression in '{pattern}': unbalanced parentheses")
            groups.append(open_group)
            open_group = None
        else:
            if token != "..." and token != "1" and not token.isidentifier():
                raise ValueError(f"Invalid axis identifier in '{pattern}': {token}")
            names = [] if token == "1" else [token]
            if open_group is None:
                groups.append(names)
            else:
                open_group += names
    if open_group is not None:
        raise ValueError(f"Invalid expression in '{pattern}': unbalanced parentheses")
    return groups


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """A tensor (or a sequence of them, stacked) with its dimensions arranged as ``"before -> after"`` says.

    Names stand for dimensions, parentheses for merged ones, ``1`` for one of size 1, ``...`` for the rest. Of the sizes
    of a merged dimension all but one must be given. Raises ValueError for a pattern that does not fit.
    Reference: ``torch.func.rearrange``.

    >>> import dumbtorch as torch
    >>> torch.func.rearrange(torch.ones(2, 3, 4), "b h w -> b (w h)").shape
    torch.Size([2, 12])
    """
    if not isinstance(tensor, TensorBase):
        tensor = FUNCTIONS["stack"](list(tensor))
    parts = pattern.split("->")
    if len(parts) != 2:
        raise ValueError(f"Pattern '{pattern}' needs exactly one '->'")
    left, right = (_side(part, pattern) for part in parts)
    rest = [f"...{n}" for n in range(tensor.ndim - sum(group != ["..."] for group in left))]

    def spread(groups: list[list[str]]) -> list[list[str]]:
        made: list[list[str]] = []
        for group in groups:
            if group == ["..."]:
                made += [[name] for name in rest]
            else:
                made.append([n for name in group for n in (rest if name == "..." else [name])])
        return made

    left, right = spread(left), spread(right)
    if len(left) != tensor.ndim:
        raise ValueError(
            f"Number of dimensions in '{pattern}' ({len(left)}) and in tensor ({tensor.ndim}) are different"
        )
    names, sizes = [n for g in left for n in g], dict(axes_lengths)
    wanted = [n for g in right for n in g]
    if len(set(names)) != len(names) or set(names) != set(wanted) or len(set(wanted)) != len(wanted):
        raise ValueError(f"Identifiers in '{pattern}' must stand once on each side")
    if unknown := set(axes_lengths) - set(names):
        raise ValueError(f"axes {sorted(unknown)} do not stand in '{pattern}'")
    for group, size in zip(left, tensor.shape, strict=True):
        open_names = [n for n in group if n not in sizes]
        known = math.prod(sizes[n] for n in group if n in sizes)
        if len(open_names) > 1:
            raise ValueError(f"of the sizes of {group} in '{pattern}' all but one must be given")
        if open_names and known and size % known == 0:
            sizes[open_names[0]] = size // known
        elif open_names or known != size:
            raise ValueError(f"the sizes of {group} in '{pattern}' do not make {size}")
    split = tensor.reshape([sizes[n] for n in names])
    moved = split.permute([names.index(n) for n in wanted]) if names else split
    return moved.reshape([math.prod(sizes[n] for n in group) for group in right])
