"""Sums of products in Einstein's notation, contracted pair by pair as matrix products.

An equation is planned once for each set of shapes, on sketches that stand for the tensors.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite

#: A dimension's name: a letter, or the place of a dimension of the ellipsis counted from the right.
Label = str | int


def _sublist(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The equation of ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""

    def text(labels: Sequence[Any]) -> str:
        parts = []
        for label in labels:
            if label is Ellipsis:
                parts.append("...")
            elif isinstance(label, int) and 0 <= label < 52:
                parts.append(chr(ord("A") + label) if label < 26 else chr(ord("a") + label - 26))
            else:
                raise ValueError(f"einsum(): subscript in operand list must be in the range [0, 52), but found {label}")
        return "".join(parts)

    pairs = len(operands) // 2
    left = ",".join(text(operands[2 * i + 1]) for i in range(pairs))
    tensors = [operands[2 * i] for i in range(pairs)]
    return (f"{left}->{text(operands[-1])}" if len(operands) % 2 else left), tensors


def _read(term: str, where: str) -> list[str]:
    """The letters and "..." of one operand's subscripts."""
    labels: list[str] = []
    i = 0
    while i < len(term):
        c = term[i]
        if c == " ":
            i += 1
        elif c == ".":
            if term[i : i + 3] != "...":
                raise RuntimeError(f"einsum(): found '.' for {where} that is not part of any ellipsis")
            if "..." in labels:
                raise RuntimeError(f"einsum(): found '.' for {where} for which an ellipsis was already found")
            labels.append("...")
            i += 3
        elif c.isascii() and c.isalpha():
            labels.append(c)
            i += 1
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, subscripts must be in [a-zA-Z]"
            )
    return labels


def _parse(equation: str, ndims: Sequence[int]) -> tuple[list[list[Label]], list[Label]]:
    """The names of every operand's dimensions, and those of the result."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) > len(ndims):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(terms) < len(ndims):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    inputs: list[list[Label]] = []
    widest = 0
    for place, (term, ndim) in enumerate(zip(terms, ndims, strict=True)):
        names = _read(term, f"operand {place}")
        rest = ndim - sum(name != "..." for name in names)
        if rest < 0 or (rest and "..." not in names):
            relation = "is more than" if rest < 0 else "does not match"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(names) - ('...' in names)}) {relation} the "
                f"number of dimensions ({ndim}) for operand {place}"
                + ("" if rest < 0 else " and no ellipsis was given")
            )
        widest = max(widest, rest)
        labels: list[Label] = []
        for name in names:
            labels += list(range(rest - 1, -1, -1)) if name == "..." else [name]
        inputs.append(labels)
    ellipsis: list[Label] = list(range(widest - 1, -1, -1))
    if arrow:
        names = _read(right, "the output")
        output: list[Label] = []
        for name in names:
            output += ellipsis if name == "..." else [name]
        known = {label for labels in inputs for label in labels}
        for label in output:
            if output.count(label) > 1:
                raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
            if label not in known:
                raise RuntimeError(
                    f"einsum(): output subscript {label} does not appear in the equation for any input operand"
                )
        return inputs, output
    letters = [label for labels in inputs for label in labels if isinstance(label, str)]
    return inputs, [*ellipsis, *sorted(letter for letter in set(letters) if letters.count(letter) == 1)]


class Sketch:
    """A tensor to come: its shape, what it is made of, and the views and sums after that."""

    __slots__ = ("shape", "source", "steps")

    def __init__(self, shape: Sequence[int], source: Any, steps: tuple[Any, ...] = ()) -> None:
        self.shape = tuple(shape)
        self.source = source  # the place of an operand, or (product, sketch, sketch)
        self.steps = steps

    def _then(self, shape: Sequence[int], name: str, *args: Any) -> Sketch:
        return Sketch(shape, self.source, (*self.steps, (name, args)))

    def sum(self, dims: list[int]) -> Sketch:
        """Without these dimensions."""
        return self._then([n for d, n in enumerate(self.shape) if d not in dims], "sum", dims)

    def diagonal(self, i: int, j: int) -> Sketch:
        """Two dimensions become one, the last."""
        rest = [n for d, n in enumerate(self.shape) if d not in (i, j)]
        return self._then([*rest, self.shape[i]], "diagonal", 0, i, j)

    def squeeze(self, d: int) -> Sketch:
        """Without a dimension of size 1."""
        return self._then(self.shape[:d] + self.shape[d + 1 :], "squeeze", d)

    def permute(self, order: list[int]) -> Sketch:
        """The dimensions in another order."""
        if order == sorted(order):
            return self
        return self._then([self.shape[d] for d in order], "permute", order)

    def reshape(self, shape: Sequence[int]) -> Sketch:
        """The same elements in another shape."""
        return self if tuple(shape) == self.shape else self._then(shape, "reshape", tuple(shape))

    def make(self, tensors: Sequence[Any]) -> Any:
        """The tensor itself."""
        if isinstance(self.source, int):
            t = tensors[self.source]
        else:
            name, left, right = self.source
            t = F[name](left.make(tensors), right.make(tensors))
        for method, args in self.steps:
            t = getattr(t, method)(*args)
        return t


def _sum(t: Sketch, labels: list[Label], keep: set[Label]) -> tuple[Sketch, list[Label]]:
    """The dimensions that nobody needs, summed."""
    dims = [d for d, label in enumerate(labels) if label not in keep]
    if dims:
        t = t.sum(dims)
        labels = [label for label in labels if label in keep]
    return t, labels


def _diagonals(t: Sketch, labels: list[Label], place: int) -> tuple[Sketch, list[Label]]:
    """Dimensions of one name become their diagonal."""
    labels = list(labels)
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if t.shape[i] != t.shape[j]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {place} but the sizes don't match, "
                    f"{t.shape[j]} != {t.shape[i]}"
                )
            t = t.diagonal(i, j)
            labels = [name for d, name in enumerate(labels) if d not in (i, j)] + [label]
    return t, labels


def _contract(a: Sketch, la: list[Label], b: Sketch, lb: list[Label], keep: set[Label]) -> tuple[Sketch, list[Label]]:
    """The product of two operands, summed over the dimensions that nobody else needs."""
    a, la = _sum(a, la, keep | set(lb))
    b, lb = _sum(b, lb, keep | set(la))
    both = [label for label in la if label in lb]
    batch = [label for label in both if label in keep]
    summed = [label for label in both if label not in keep]
    free_a = [label for label in la if label not in lb]
    free_b = [label for label in lb if label not in la]
    order = [*batch, *free_a, *free_b]
    size = dict(zip(la + lb, [*a.shape, *b.shape], strict=True))
    shape = [size[label] for label in order]
    left = a.permute([la.index(label) for label in batch + free_a + summed])
    right = b.permute([lb.index(label) for label in batch + summed + free_b])
    if not summed:  # nothing to sum: a product of numbers
        n = len(batch)
        left = left.reshape([*left.shape, *[1] * len(free_b)])
        right = right.reshape([*right.shape[:n], *[1] * len(free_a), *right.shape[n:]])
        return Sketch(shape, ("mul", left, right)), order
    count, k = math.prod(size[label] for label in batch), math.prod(size[label] for label in summed)
    m, n = math.prod(size[label] for label in free_a), math.prod(size[label] for label in free_b)
    if batch:
        left, right = left.reshape([count, m, k]), right.reshape([count, k, n])
        return Sketch([count, m, n], ("bmm", left, right)).reshape(shape), order
    left, right = left.reshape([m, k]), right.reshape([k, n])
    return Sketch([m, n], ("mm", left, right)).reshape(shape), order


def _path(tensors: Sequence[Sketch], inputs: list[list[Label]], output: list[Label]) -> Sequence[tuple[int, ...]]:
    """The order of contractions: opt_einsum's where it is installed, else from left to right.

    Each takes operands by their places and appends its result.
    """
    count = len(tensors)
    if count > 2 and importlib.util.find_spec("opt_einsum") is not None:
        import opt_einsum

        names = {label: chr(0x100 + n) for n, label in enumerate(dict.fromkeys(x for labels in inputs for x in labels))}
        left = ",".join("".join(names[label] for label in labels) for labels in inputs)
        equation = f"{left}->{''.join(names[label] for label in output)}"
        shapes = [t.shape for t in tensors]
        return [tuple(pair) for pair in opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="auto")[0]]
    return [(0, 1)] + [(0, left - 1) for left in range(count - 1, 1, -1)]


@functools.lru_cache(4096)
def plan(equation: str, shapes: tuple[tuple[int, ...], ...]) -> Sketch:
    """How operands of these shapes become the result of an equation."""
    tensors = [Sketch(shape, place) for place, shape in enumerate(shapes)]
    inputs, output = _parse(equation, [len(shape) for shape in shapes])
    sizes: dict[Label, int] = {}
    operands: list[tuple[Sketch, list[Label]]] = []
    for place, (t, given) in enumerate(zip(tensors, inputs, strict=True)):
        t, labels = _diagonals(t, given, place)
        for label, n in zip(labels, t.shape, strict=True):
            known = sizes.get(label, 1)
            if n != known and n != 1 and known != 1:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {n} for operand {place} which does not broadcast with "
                    f"previously seen size {known}"
                )
            sizes[label] = max(n, known) if n and known else 0
        operands.append((t, labels))
    # a dimension of 1 that others have larger is none
    for place, (t, labels) in enumerate(operands):
        narrow = [d for d, label in enumerate(labels) if t.shape[d] == 1 and sizes[label] != 1]
        for d in reversed(narrow):
            t = t.squeeze(d)
        operands[place] = (t, [label for d, label in enumerate(labels) if d not in narrow])
    if len(operands) > 1:
        for pair in _path([t for t, _ in operands], [labels for _, labels in operands], output):
            chosen = [operands[i] for i in pair]
            operands = [item for i, item in enumerate(operands) if i not in pair]
            keep = {label for _, labels in operands for label in labels} | set(output)
            (t, labels), *rest = chosen
            for index, (other, names) in enumerate(rest):
                later = {label for _, more in rest[index + 1 :] for label in more}
                t, labels = _contract(t, labels, other, names, keep | later)
            operands.append((t, labels))
    t, labels = _sum(operands[0][0], operands[0][1], set(output))
    return t.permute([labels.index(label) for label in output])


@composite(method=False)
def einsum(*args: Any) -> Any:
    """Sums of products of the operands in Einstein's notation. Reference: ``torch.einsum``.

    ``einsum("ij,jk->ik", a, b)``, with "..." for further dimensions that broadcast; or ``einsum(a, [0, 1], b, [1, 2],
    [0, 2])``. More than two operands are contracted in the order that the package opt_einsum finds, if it is installed.

    >>> einsum("ii", eye(3))
    tensor(3.)
    """
    if not args or (len(args) < 2 and isinstance(args[0], str)):
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    if isinstance(args[0], _C.TensorBase):
        equation, tensors = _sublist(args)
    else:
        equation, tensors = args[0], list(args[1:])
        if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
            tensors = list(tensors[0])
    return plan(equation, tuple([tuple(t.shape) for t in tensors])).make(tensors)
