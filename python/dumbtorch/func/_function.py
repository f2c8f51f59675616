"""What a call of an ``autograd.Function`` does inside of the transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dumbtorch.autograd import watch
from dumbtorch.autograd.function import Function
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func._batching import Batching
from dumbtorch.func._forward import Forward, set_tangent
from dumbtorch.func._wrappers import batched, dual, lift


class VmapInfo(NamedTuple):
    """What a Function's ``vmap`` is told of the batch."""

    batch_size: int
    randomness: str


def _call(cls: Any, level: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _forward(cls, level, args, kwargs) if isinstance(level, Forward) else _batch(cls, level, args)


watch.function = _call


def _forward(cls: Any, level: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward mode: the user's ``jvp`` gives the tangents."""
    if cls.jvp is Function.jvp:
        raise RuntimeError(
            f"You are trying to use forward mode with {cls.__name__}, a custom autograd.Function without a jvp: "
            f"implement "
            "the jvp static method"
        )
    primals = tuple(a._primal if isinstance(a, TensorBase) and a._level is level else a for a in args)
    tangents = [a._tangent if isinstance(a, TensorBase) and a._level is level else None for a in args]
    top = watch.highest(primals)
    if top is not None:
        raise RuntimeError(f"{cls.__name__}: a custom jvp inside of several transforms is not supported")
    ctx, output = cls._apply(primals, kwargs)
    later = ctx._later
    ctx._forward = later
    try:
        moved = cls.jvp(ctx, *tangents)
    finally:
        ctx._forward = None
    outputs = output if isinstance(output, tuple) else (output,)
    moved = moved if isinstance(moved, tuple) else (moved,)
    if len(moved) != len(outputs):
        raise RuntimeError(
            f"{cls.__name__}.jvp returned an incorrect number of tangents (expected {len(outputs)}, got {len(moved)})"
        )
    made = []
    for out, tangent in zip(outputs, moved, strict=True):
        if tangent is not None and isinstance(out, TensorBase):
            if tangent.shape != out.shape:
                raise RuntimeError(
                    f"{cls.__name__}.jvp: a tangent has the shape {list(tangent.shape)}, its output {list(out.shape)}"
                )
            source = next((a for a, p in zip(args, primals, strict=True) if p is out and a is not p), None)
            if source is not None:  # written to in place
                set_tangent(level, source, tangent)
                made.append(source)
                continue
            out = dual(level, out, tangent)
        made.append(out)
    return tuple(made) if isinstance(output, tuple) else made[0]


def _batch(cls: Any, level: Batching, args: tuple[Any, ...]) -> Any:
    """vmap: the user's ``vmap``, or one made of ``forward`` and ``backward``."""
    own = cls.vmap is not Function.vmap
    if own and cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overriden vmap "
            "staticmethod. Please set generate_vmap_rule=False or delete the overriden vmap staticmethod to avoid "
            "ambiguity."
        )
    if not own and not cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement "
            "the vmap staticmethod or set generate_vmap_rule=True."
        )
    at = [isinstance(a, TensorBase) and a._level is level for a in args]
    wholes = tuple(a._whole if here else a for a, here in zip(args, at, strict=True))
    with watch.below(level):
        if own:
            info = VmapInfo(level.size, level.randomness)
            result = cls.vmap(info, tuple(0 if here else None for here in at), *wholes)
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    f"Expected the vmap staticmethod of {cls.__name__} to have two returns, an output and out_dims "
                    f"with "
                    "pytree structure compatible with the output."
                )
            output, dims = result
            several = isinstance(output, tuple)
            outputs = output if several else (output,)
            dims = dims if isinstance(dims, tuple) else (dims,) * len(outputs)
            made = [y if d is None else batched(level, y.movedim(d, 0)) for y, d in zip(outputs, dims, strict=True)]
        else:
            vmapped = _vmapped(cls, at, level)
            output = vmapped.apply(*wholes)
            several = isinstance(output, tuple)
            made = [batched(level, y) if isinstance(y, TensorBase) else y for y in (output if several else (output,))]
    return tuple(made) if several else made[0]


class _Context:
    """The ctx of a Function whose forward and backward run under vmap."""

    def __init__(self, needs: Sequence[bool]) -> None:
        self.needs_input_grad = tuple(needs)
        self.kept: tuple[Any, ...] = ()
        self.later: tuple[Any, ...] = ()
        self.fixed: tuple[Any, ...] = ()
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors for ``backward``."""
        self.kept = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keeps tensors for ``jvp``."""
        self.later = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Raises: in-place Functions write their own vmap."""
        raise RuntimeError("generate_vmap_rule=True does not support mark_dirty: implement the vmap staticmethod")

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Says which outputs carry no gradient."""
        self.fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros for missing gradients."""
        self.materialize = value


def _vmapped(cls: Any, at: Sequence[bool], outer: Batching) -> Any:
    """A Function of wholes whose forward and backward are those of ``cls`` under vmap."""

    def wrapped(level: Batching, values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
        return [batched(level, v) if flag else v for v, flag in zip(values, flags, strict=True)]

    def lowered(level: Batching, value: Any) -> Any:
        return lift(value, level) if isinstance(value, TensorBase) else value

    class Vmapped(Function):
        @staticmethod
        def forward(ctx: Any, *wholes: Any) -> Any:
            inner = _Context(ctx.needs_input_grad)
            with Batching(outer.size, outer.randomness) as level:
                args = wrapped(level, wholes, at)
                if cls.setup_context is Function.setup_context:
                    output = cls.forward(inner, *args)
                else:
                    output = cls.forward(*args)
                    cls.setup_context(inner, tuple(args), output)
                fixed = {id(t) for t in inner.fixed}
                outputs = output if isinstance(output, tuple) else (output,)
                made = [lowered(level, y) for y in outputs]
                ctx.mark_non_differentiable(*(m for m, y in zip(made, outputs, strict=True) if id(y) in fixed))
                flags = [isinstance(t, TensorBase) and t._level is level for t in inner.kept]
                ctx.flags = flags
                same = {id(y): m for y, m in zip(outputs, made, strict=True)}
                same |= {id(a): w for a, w in zip(args, wholes, strict=True) if isinstance(a, TensorBase)}
                kept = [
                    same.get(id(t), lift(t, level) if flag else t) for t, flag in zip(inner.kept, flags, strict=True)
                ]
                ctx.save_for_backward(*kept)
                ctx.inner = inner
                inner.kept = ()
                inner.saved_tensors = ()
                for name, value in vars(inner).items():
                    if isinstance(value, TensorBase) and value._level is level:
                        raise RuntimeError(
                            f"{cls.__name__}: generate_vmap_rule=True needs tensors to go through save_for_backward, "
                            f"but ctx.{name} holds one"
                        )
            ctx.set_materialize_grads(getattr(inner, "materialize", True))
            return tuple(made) if isinstance(output, tuple) else made[0]

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            inner = ctx.inner
            with Batching(outer.size, outer.randomness) as level:
                inner.saved_tensors = tuple(wrapped(level, ctx.saved_tensors, ctx.flags))
                given = [None if g is None else batched(level, g) for g in grads]
                results = cls.backward(inner, *given)
                inner.saved_tensors = ()
                results = results if isinstance(results, tuple) else (results,)
                made: list[Any] = []
                for value, here in zip(results, at, strict=False):
                    if value is None:
                        made.append(None)
                        continue
                    whole = lift(value, level)
                    made.append(whole if here else whole.sum(0))
            return tuple(made)

    Vmapped.__name__ = Vmapped.__qualname__ = f"Vmapped{cls.__name__}"
    return Vmapped
