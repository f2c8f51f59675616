"""Forward mode: levels whose wrappers carry a tangent, and the tangent of every row's result.

One rule serves every row: the row's derivative ``g -> d(g)`` is linear in ``g``, so the derivative of *that*, with the
tangents as the gradients of its results, is the transpose of the transpose, which is the tangent of the row's result.
No row needs a second formula, and tangents are recorded like anything else. Three kinds of rows need less work: linear
ones (the op of the tangents), products (the op twice), and real pointwise ones, whose derivative is its own transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import views, watch
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.autograd.modes import NO_GRAD, enable_grad
from dumbtorch.func._kinds import BILINEAR, CONSTANTS, LINEAR, VECTORS, is_pointwise
from dumbtorch.func._wrappers import Dual, dual, grads

_FACTS: dict[str, Callable[[Any], Any]] = {
    "_shape": lambda t: t.shape, "_dtype": lambda t: t.dtype, "_stride": lambda t: t._strides,
    "_offset": lambda t: t._offset, "_device": lambda t: t.device,
}  # fmt: skip


class Forward(watch.Level):
    """A level of forward mode."""

    __slots__ = ()

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        """Computes a call on the primals, and its tangent."""
        if out is not None:
            raise RuntimeError(f"{row.name}(): out= has no tangent in forward mode; use the returned tensor")
        primals, tangents = [], {}
        for name, arg in zip(row.params, args, strict=True):
            primal, tangent = _parts(arg, self)
            primals.append(primal)
            if tangent is not None and name in row.grad:
                tangents[name] = tangent
        if inplace:
            return self._write(row, args[0], primals, tangents)
        only = None
        if tangents and row.name in VECTORS and not primals[-1]:
            # the tangents of the values need the vectors, as their gradients do
            primals[-1], only = True, VECTORS[row.name]
        result = watch.invoke(row, False, primals)
        outs = result if isinstance(result, tuple) else (result,)
        if not tangents or not row.differentiable or not any(map(_moves, outs)):
            return result
        moved = tangents_of(row, primals, tangents, outs, only)
        made = [out if t is None else dual(self, out, t) for out, t in zip(outs, moved, strict=True)]
        return (
            (type(result)(made) if type(result) is tuple else type(result)(*made))
            if isinstance(result, tuple)
            else made[0]
        )

    def _write(self, row: Any, target: Any, primals: list[Any], tangents: dict[str, Any]) -> Any:
        """An in-place call: the primal is written to, then the tangent."""
        first = primals[0]
        tangent = None
        if tangents and _moves(first):
            if row.op is not None and row.name not in ("copy", "fill"):
                before = [first.clone(), *primals[1:]]
                (tangent,) = tangents_of(row, before, tangents, (watch.invoke(row, False, before),))
            else:
                tangent = tangents.get(row.params[1])
                tangent = None if tangent is None else tangent.to(first.dtype).expand(first.shape)
        watch.invoke(row, True, primals)
        if tangent is None:
            if target._level is self:
                tangent = target._tangent.new_zeros(first.shape)
            else:
                return target
        set_tangent(self, target, tangent)
        return target

    def held(self, value: Any) -> Any:
        """The primal of a wrapper."""
        return value._primal

    def lower(self, value: Any) -> Any:
        """The primal."""
        return _parts(value, self)[0]


def _moves(value: Any) -> bool:
    """Whether a result can have a tangent: integers have none, also those made of what has."""
    return isinstance(value, TensorBase) and (value.dtype.is_floating_point or value.dtype.is_complex)


def _parts(arg: Any, level: Forward) -> tuple[Any, Any]:
    """The primal and the tangent (or None) of an argument, also of a list of tensors."""
    if isinstance(arg, TensorBase):
        return (arg._primal, arg._tangent) if arg._level is level else (arg, None)
    if type(arg) in (tuple, list) and any(isinstance(a, TensorBase) and a._level is level for a in arg):
        pairs = [_parts(a, level) for a in arg]
        return type(arg)(p for p, _ in pairs), [t for _, t in pairs]
    return arg, None


def set_tangent(level: Forward, target: Any, tangent: Any) -> None:
    """Gives a tensor a new tangent; that of a view is a view of its base's, and is written to."""
    if target._level is level:
        old = target._tangent
        if old.shape == tangent.shape and old.dtype is tangent.dtype and not _fixed(old):
            old.copy_(tangent)
        else:
            target._tangent = tangent
        return
    # the tensor had no tangent so far: the object becomes a wrapper
    primal = target._alias() if not target.requires_grad else target.view(target.shape)
    base = target._base
    if base is not None and base is not target:
        if base._level is not level:
            whole = base.view(base.shape) if base.requires_grad else base._alias()
            _convert(level, base, whole, base.new_zeros(base.shape))
        whole = base._tangent
        view = whole.as_strided(target.shape, target._strides, target._offset - base._offset)
        view.copy_(tangent)
        tangent = view
    _convert(level, target, primal, tangent)


def _convert(level: Forward, target: Any, primal: Any, tangent: Any) -> None:
    target.__class__ = Dual
    target._level, target._primal, target._tangent = level, primal, tangent


def _fixed(tangent: Any) -> bool:
    """Whether a tangent cannot be written to: it is a leaf of the graph, or shows elements several times."""
    if tangent.requires_grad and tangent.is_leaf:
        return True
    return any(stride == 0 and size > 1 for stride, size in zip(tangent._strides, tangent.shape, strict=True))


# ---------------------------------------------------------------- rules


def tangents_of(
    row: Any, args: Sequence[Any], tangents: dict[str, Any], outs: Sequence[Any], only: int | None = None
) -> list[Any]:
    """The tangent of each result of a row (or of one alone), None for one that carries none."""
    if row.name == "as_strided":  # the tangent has a storage of its own, laid out as it likes
        (primal, size, stride, offset), tangent = args, tangents["input"]
        whole = primal.shape, primal._strides, primal._offset
        return [views.strided_gather(tangent, whole, (size, stride, primal._offset if offset is None else offset))]
    if row.name in LINEAR:
        moved = _linear(row, args, tangents)
        if moved is not None:
            return moved
    elif row.name in BILINEAR:
        return [_bilinear(row, args, tangents, BILINEAR[row.name])]
    elif is_pointwise(row) and len(outs) == 1 and not _complex(args, outs):
        moved = _diagonal(row, args, tangents, outs)
        if moved is not None:
            return moved
    return _transposed_twice(row, args, tangents, outs, only)


def _complex(args: Sequence[Any], outs: Sequence[Any]) -> bool:
    return any(isinstance(t, TensorBase) and t.dtype.is_complex for t in (*args, *outs))


def _zeros(like: Any) -> Any:
    return like.new_zeros(like.shape)


def _linear(row: Any, args: Sequence[Any], tangents: dict[str, Any]) -> list[Any] | None:
    """The op of the tangents, with zeros for inputs that have none; numbers in a place for tensors count as such."""
    given = list(args)
    for name, value in CONSTANTS.get(row.name, {}).items():
        given[row.params.index(name)] = value
    for place, (name, kind) in enumerate(zip(row.params, row.kinds, strict=True)):
        if name not in row.grad:
            continue
        arg, tangent = args[place], tangents.get(name)
        if kind == "T":
            parts = tangent if tangent is not None else [None] * len(arg)
            given[place] = type(arg)(_zeros(a) if t is None else t for a, t in zip(arg, parts, strict=True))
        elif tangent is not None:
            if isinstance(arg, TensorBase) and tangent.dtype is not arg.dtype:
                tangent = tangent.to(arg.dtype)
            given[place] = tangent
        elif isinstance(arg, TensorBase):
            if not (arg.dtype.is_floating_point or arg.dtype.is_complex):
                return None
            given[place] = _zeros(arg)
        elif isinstance(arg, (int, float, complex)) and not isinstance(arg, bool):
            given[place] = 0
    result = watch.invoke(row, False, given)
    return list(result) if isinstance(result, tuple) else [result]


def _bilinear(row: Any, args: Sequence[Any], tangents: dict[str, Any], pair: tuple[str, str]) -> Any:
    """``op(ta, b) + op(a, tb)``, and what further inputs add."""
    total = None
    extra = [n for n in row.grad if n not in pair]
    for name in pair:
        if name not in tangents:
            continue
        given = list(args)
        for place, param in enumerate(row.params):
            if param == name:
                arg = args[place]
                given[place] = tangents[name].to(arg.dtype) if tangents[name].dtype is not arg.dtype else tangents[name]
            elif param in extra:
                given[place] = tangents.pop(param, None)
        part = watch.invoke(row, False, given)
        total = part if total is None else total + part
    for name in extra:
        if name in tangents:  # only the bias has a tangent
            total = _transposed_twice(row, args, {name: tangents[name]}, (watch.invoke(row, False, args),))[0]
    return total


def _diagonal(row: Any, args: Sequence[Any], tangents: dict[str, Any], outs: Sequence[Any]) -> list[Any] | None:
    """The derivative applied to the tangents themselves."""
    (out,) = outs
    total = None
    for name, tangent in tangents.items():
        g = tangent.to(out.dtype) if tangent.dtype is not out.dtype else tangent
        if g.shape != out.shape:
            g = g.expand(out.shape)
        part = derivative(row, name, args, outs, [g], [name])
        part = part if type(part) is not tuple else part[list(row.grad).index(name)]
        if part.shape != out.shape:
            return None
        total = part if total is None else total + part
    return [total]


def derivative(
    row: Any, name: str, args: Sequence[Any], outs: Sequence[Any], gs: Sequence[Any], wanted: Sequence[str]
) -> Any:
    """What a row's derivative gives for one input, from the values that its parameters name."""
    fn = row.grad[name]
    known = dict(zip(row.params, args, strict=True))
    several = len(row.outputs) > 1 or row.outputs == ("*",)
    given = []
    for param in fn.__code__.co_varnames[: fn.__code__.co_argcount]:
        if param == "g":
            given.append(tuple(gs) if several else gs[0])
        elif param == "gs":
            # an empty result is one that was not asked for
            given.append(tuple(g if g is not None and g.numel() else None for g in gs))
        elif param == "needed":
            given.append([n in wanted for n in row.params if n in row.grad])
        elif param in row.outputs:
            given.append(outs[row.outputs.index(param)])
        elif param in known:
            given.append(known[param])
        else:
            source, _, suffix = param.rpartition("_")
            given.append(_fact(known[source], _FACTS["_" + suffix]))
    return fn(*given)


def _fact(value: Any, fact: Callable[[Any], Any]) -> Any:
    if isinstance(value, TensorBase):
        return fact(value)
    return [fact(item) for item in value] if isinstance(value, (tuple, list)) else None


def _transposed_twice(
    row: Any, args: Sequence[Any], tangents: dict[str, Any], outs: Sequence[Any], only: int | None = None
) -> list[Any]:
    """The general rule: the derivative of the derivative by the gradient that it is given."""
    create = not _C.get_mode() & NO_GRAD and any(_tracked(t) for t in (*args, *tangents.values()))
    numbers = range(len(outs)) if row.outputs == ("*",) else row.differentiable
    seeds: list[Any] = []
    sources: list[Any] = []
    for number, out in enumerate(outs):
        if not isinstance(out, TensorBase) or only not in (None, number):
            seeds.append(None)
            continue
        seed = out.new_ones(out.shape)  # some derivatives work with the logarithm of what they are given
        if number in numbers and (seed.dtype.is_floating_point or seed.dtype.is_complex):
            seed.requires_grad = True
            sources.append(seed)
        seeds.append(seed)
    with enable_grad():
        results: list[Any] = []
        given: list[Any] = []
        names = list(row.grad)
        joint = len(names) > 1 and len({id(fn) for fn in row.grad.values()}) == 1
        called: Any = derivative(row, names[0], args, outs, seeds, list(tangents)) if joint else None
        for name, tangent in tangents.items():
            value = called[names.index(name)] if joint else derivative(row, name, args, outs, seeds, [name])
            pairs = zip(value, tangent, strict=True) if isinstance(tangent, list) else ((value, tangent),)
            for v, t in pairs:
                if v is None or t is None or not v.requires_grad:
                    continue
                if t.dtype is not v.dtype:
                    t = t.to(v.dtype)
                results.append(v)
                given.append(t if t.shape == v.shape else t.expand(v.shape))
    found = grads(results, sources, given, create, create) if results else [None] * len(sources)
    left = iter(found)
    moved: list[Any] = []
    for number, out in enumerate(outs):
        if seeds[number] is None or not any(seeds[number] is s for s in sources):
            moved.append(None)
            continue
        value = next(left)
        moved.append(_zeros(out) if value is None else value)
    return moved


def _tracked(value: Any) -> bool:
    if isinstance(value, TensorBase):
        return bool(value.requires_grad)
    return isinstance(value, (tuple, list)) and any(map(_tracked, value))
