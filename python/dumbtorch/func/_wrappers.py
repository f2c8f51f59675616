"""Wrappers of the two kinds of levels, and what moves tensors in and out of them.

A `Batched` shows one sample of a batch: it lies on the first sample's memory, so that shape, dtype and device are the
sample's, and holds the whole, whose first dimension is the batch. A `Dual` lies on its primal's memory and holds the
primal and its tangent.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import watch
from dumbtorch.autograd.backward import grad as grad_of
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.autograd.modes import NO_GRAD
from dumbtorch.ops.table import TABLE

_SAMPLE = _C.raw(TABLE["select"].op)
EMPTY = _C.raw(TABLE["empty"].op)

_CONTROL_FLOW = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that "
    "yet: use torch.where, or do it outside of vmap"
)
_ITEM = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
    "please try to rewrite what you're doing with other operations."
)
_VALUES = (
    "vmap: the values of a tensor are not one sample's inside vmap; take {0} outside of vmap, or write it with ops"
)


class Batched(Tensor):
    """One sample of a batch, as a function under `vmap` sees it."""

    _whole: Any

    requires_grad = property(
        lambda self: self._whole.requires_grad, lambda self, value: setattr(self._whole, "requires_grad", value)
    )
    grad_fn = property(lambda self: self._whole.grad_fn)
    is_leaf = property(lambda self: self._whole.is_leaf)
    output_nr = property(lambda self: self._whole.output_nr)
    _base = property(lambda self: None)

    def _alias(self) -> Any:
        return batched(self._level, self._whole._alias())

    _unwatched = _alias

    def item(self) -> Any:
        """Raises: there is one value for each sample."""
        raise RuntimeError(_ITEM)

    def __bool__(self) -> bool:
        raise RuntimeError(_CONTROL_FLOW)

    def _values(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(_VALUES.format("them"))

    _number = __index__ = tolist = numpy = __array__ = __dlpack__ = data_ptr = _values

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]  # mypy loses the name of a keyword of __repr__
        level = self._level
        if not level.alive:
            return "<a tensor of a vmap that has ended>"
        return f"BatchedTensor(lvl={level.number}, bdim=0, value=\n    {self._whole!r}\n)"


class Dual(Tensor):
    """A tensor with a tangent."""

    _primal: Any
    _tangent: Any

    requires_grad = property(
        lambda self: self._primal.requires_grad or self._tangent.requires_grad,
        lambda self, value: setattr(self._primal, "requires_grad", value),
    )
    grad_fn = property(lambda self: self._primal.grad_fn)
    is_leaf = property(lambda self: self._primal.is_leaf)
    output_nr = property(lambda self: self._primal.output_nr)
    _base = property(lambda self: None)

    def _alias(self) -> Any:
        return self._primal._alias()

    _unwatched = _alias

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]  # mypy loses the name of a keyword of __repr__
        if not self._level.alive:
            return repr(self._primal)
        return f"{repr(self._primal)[:-1]}, tangent={self._tangent!r})"


def batched(level: Any, whole: Any) -> Any:
    """A wrapper of a level for a tensor whose first dimension is the batch."""
    if level.size:
        sample = _SAMPLE(whole, 0, 0)
    else:
        sample = EMPTY(whole.shape[1:], whole.dtype, None if whole.is_cpu else whole.device)
    made = sample._as_class(Batched)
    made._level, made._whole = level, whole
    level.made.append(weakref.ref(made))
    return made


def dual(level: Any, primal: Any, tangent: Any) -> Any:
    """A wrapper of a level for a primal and its tangent."""
    made = primal._as_class(Dual)
    made._level, made._primal, made._tangent = level, primal, tangent
    if not isinstance(primal, (Batched, Dual)):
        node = primal.grad_fn
        if node is not None:  # so that it stays in the graph once the level has ended
            made._attach(node, primal.output_nr)
    return made


def is_at(value: Any, level: Any) -> bool:
    """Whether a value is a wrapper of a level."""
    return isinstance(value, TensorBase) and value._level is level


def lift(value: Any, level: Any) -> Any:
    """A tensor with a level's batch as its first dimension, stretched where the level did not wrap it."""
    if value._level is level:
        return value._whole
    if isinstance(value, Batched) and value._level.number > level.number and value._level.alive:
        # the whole has its own batch first: the level's dimension comes second, and they change places
        inner = lift(value._whole, level)
        return batched(value._level, inner.transpose(0, 1))
    if isinstance(value, Dual) and value._level.number > level.number and value._level.alive:
        return dual(value._level, lift(value._primal, level), lift(value._tangent, level))
    return value.unsqueeze(0).expand(level.size, *value.shape)


def unlift(value: Any, level: Any) -> Any:
    """The reverse of `lift`: the first dimension becomes a level's batch, below the wrappers of higher levels."""
    over = value._level
    if over is not None and over.alive and over.number > level.number:
        if isinstance(value, Batched):
            return batched(over, unlift(value._whole.transpose(0, 1), level))
        return dual(over, unlift(value._primal, level), unlift(value._tangent, level))
    return batched(level, value)


def join(level: Any, primal: Any, tangent: Any) -> Any:
    """The reverse of `split`: a dual at a level, below the wrappers of higher levels."""
    over = watch.highest((primal, tangent))
    if over is None or over.number <= level.number:
        return dual(level, primal, tangent)
    if isinstance(over, BATCHING):
        return batched(over, join(level, lift(primal, over), lift(tangent, over)))
    (p, dp), (t, dt) = split(primal, over), split(tangent, over)
    dp, dt = (x if x is not None else like * 0 for x, like in ((dp, p), (dt, t)))
    return dual(over, join(level, p, t), join(level, dp, dt))


def split(value: Any, level: Any) -> tuple[Any, Any]:
    """The primal of a tensor at a level of forward mode, and its tangent or None."""
    if value._level is level:
        return value._primal, value._tangent
    if isinstance(value, Batched) and value._level.number > level.number and value._level.alive:
        primal, tangent = split(value._whole, level)
        return batched(value._level, primal), None if tangent is None else batched(value._level, tangent)
    if isinstance(value, Dual) and value._level.number > level.number and value._level.alive:
        primal, tangent = split(value._primal, level)
        over, over_tangent = split(value._tangent, level)
        if tangent is None and over_tangent is None:
            return value, None
        tangents = [t if t is not None else p * 0 for p, t in ((primal, tangent), (over, over_tangent))]
        return dual(value._level, primal, over), dual(value._level, *tangents)
    return value, None


def grads(outputs: Sequence[Any], inputs: Sequence[Any], given: Sequence[Any], retain: bool, create: bool) -> list[Any]:
    """Gradients through the graph that lies below the levels, None for what the outputs do not depend on.

    ``given`` are the gradients of the outputs. An input that a level of vmap does not wrap, while it wraps an output,
    would get the sum over the batch: that raises RuntimeError.
    """
    top = watch.highest((*outputs, *inputs))
    if top is None:
        return _plain(outputs, inputs, given, retain, create)
    if isinstance(top, _batching()):
        for tensor in inputs:
            if tensor._level is not top:
                raise RuntimeError(
                    "autograd.grad inside vmap: an input comes from outside of vmap, so that its gradient would be a "
                    "sum over the batch; use torch.func.grad, or pass the input as an argument of the function"
                )
        over = [lift(t, top) for t in outputs], [t._whole for t in inputs], [lift(g, top) for g in given]
        return [None if g is None else unlift(g, top) for g in grads(*over, retain, create)]
    pairs = [split(t, top) for t in outputs]
    sources = [split(t, top)[0] for t in inputs]
    over_given = [split(g, top) for g in given]
    firsts = [primal for primal, _ in pairs]
    values = grads(firsts, sources, [g for g, _ in over_given], True, create)
    # the derivative of the gradient: of both what the outputs are and how they change
    changing = [(y, g) for (y, _), (_, g) in zip(pairs, over_given, strict=True) if g is not None]
    changing += [(t, g) for (_, t), (g, _) in zip(pairs, over_given, strict=True) if t is not None]
    tangents: list[Any] = [None] * len(inputs)
    if changing:
        tangents = grads([y for y, _ in changing], sources, [g for _, g in changing], retain, create)
    result = []
    for value, tangent in zip(values, tangents, strict=True):
        if value is None and tangent is not None:
            value = tangent * 0
        result.append(value if value is None or tangent is None else join(top, value, tangent))
    return result


def _plain(
    outputs: Sequence[Any], inputs: Sequence[Any], given: Sequence[Any], retain: bool, create: bool
) -> list[Any]:
    used = [(y, g) for y, g in zip(outputs, given, strict=True) if y.requires_grad]
    if not used:
        return [None] * len(inputs)
    return list(grad_of([y for y, _ in used], inputs, [g for _, g in used], retain, create, allow_unused=True))


def _batching() -> Any:
    return BATCHING


def leaf(value: Any, levels: Sequence[Any]) -> Any:
    """A tensor to differentiate by: a new place in the graph below all levels, wrapped by each as the value was.

    A level of vmap that did not wrap the value does now: each sample has its own gradient.
    """
    if not levels:
        if value.requires_grad and not _C.get_mode() & NO_GRAD:
            return value.clone()
        made = value._alias()
        made.requires_grad = True
        return made
    level = levels[-1]
    if isinstance(level, BATCHING):
        return batched(level, leaf(lift(value, level), levels[:-1]))
    primal, tangent = split(value, level)
    primal = leaf(primal, levels[:-1])
    return primal if tangent is None else dual(level, primal, tangent)


#: The class of the levels of vmap, set by dumbtorch.func._batching.
BATCHING: Any = ()
