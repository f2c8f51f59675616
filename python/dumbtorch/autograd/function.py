"""``Function``: operations with a derivative that the user writes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import graph, saved, views, watch
from dumbtorch.autograd.graph import Node, TensorBase, edge_of, reduce_to, start, with_history
from dumbtorch.autograd.modes import NO_GRAD


class FunctionCtx(Node):
    """What ``forward`` and ``backward`` of a Function share; it is also the Function's node in the graph.

    Any attribute may be set on it. Tensors go through ``save_for_backward``, which guards them against later writes.
    """

    __slots__ = (
        "__dict__", "_dirty", "_fixed", "_forward", "_kept", "_later", "_metas", "_numbers", "_zeros",
        "needs_input_grad",
    )  # fmt: skip
    keeps = True
    several = True
    materialize = True
    _function: type[Function]
    needs_input_grad: tuple[bool, ...]
    _metas: tuple[Any, ...]  # for each output an alias and its shape, to make zeros like it
    _numbers: tuple[int | None, ...]  # for each argument the number of its edge, None for what is no tensor

    def __init__(self) -> None:
        self._kept: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._fixed: tuple[Any, ...] = ()
        self._later: tuple[Any, ...] = ()  # what save_for_forward keeps
        self._forward: tuple[Any, ...] | None = None  # while jvp runs: what `saved_tensors` gives it
        self._zeros = True
        self.saved = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None) for ``backward``, where ``saved_tensors`` gives them back."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, TensorBase):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}; keep "
                    "it as an attribute of ctx"
                )
        self._kept = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keeps tensors (or None) for ``jvp``, where ``saved_tensors`` gives them back."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, TensorBase):
                raise TypeError(
                    "save_for_forward can only save tensors, but argument is of type "
                    f"{type(tensor).__name__}; keep it as an attribute of ctx"
                )
        self._later = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Says which inputs ``forward`` wrote to."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Says which outputs carry no gradient."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros for an output without gradient (the default) or None."""
        self._zeros = bool(value)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What ``save_for_backward`` kept. Raises RuntimeError once freed, or when a tensor was overwritten since."""
        if self._forward is not None:
            return self._forward
        if self.saved is None:
            raise graph.freed(self)
        result = []
        for tensor, version, edge, own in self.saved:
            if isinstance(tensor, saved.Packed):
                tensor = tensor.unpack()
                if edge is not None and not own and not _C.get_mode() & NO_GRAD:
                    tensor = with_history(tensor, edge)
            elif tensor is not None and tensor._version != version:
                raise graph.stale(self, tensor, version, own)
            if own and edge is not None and not _C.get_mode() & NO_GRAD:
                tensor = with_history(tensor, edge)
            result.append(tensor)
        return tuple(result)

    saved_variables = saved_tensors

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """Runs the user's ``backward`` and checks what it returns."""
        metas = self._metas
        grads = [*(grad or ()), *[None] * (len(metas) - len(grad or ()))]
        if self._zeros:
            grads = [
                like.new_zeros(shape) if g is None and like is not None else g
                for g, (like, shape) in zip(grads, metas, strict=True)
            ]
        function = self._function
        results = function.backward(self, *grads)
        if not isinstance(results, tuple):
            results = tuple(results) if isinstance(results, list) else (results,)
        count = len(self._numbers)
        if len(results) > count and any(extra is not None for extra in results[count:]) or len(results) < count:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got "
                f"{len(results)})"
            )
        checked: list[Any] = []
        for place, number in enumerate(self._numbers):
            value = results[place]
            if number is None:
                if value is not None:
                    raise RuntimeError(
                        f"function {self.name()} returned a gradient different from None at position {place + 1}, but "
                        "the corresponding forward input was not a Variable"
                    )
                continue
            checked.append(None if edges[number] is None else self._check(value, number))
        return tuple(checked)

    def _check(self, value: Any, number: int) -> Any:
        """A gradient in its input's shape and dtype."""
        if value is None:
            return None
        if not isinstance(value, TensorBase):
            raise RuntimeError(f"{self.name()}: expected Variable or None (got {type(value).__name__})")
        shape, dtype = self.meta[number]
        if value.shape != shape:
            extra = value.dim() - len(shape)
            if extra < 0 or any(want not in (1, got) for want, got in zip(shape, value.shape[extra:], strict=True)):
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {number} - got {list(value.shape)} "
                    f"but expected shape compatible with {list(shape)}"
                )
        return reduce_to(value, (shape, dtype))


class Function:
    """Base of operations with a hand-written derivative: subclass it, write the static methods, call ``apply``.

    ``forward(ctx, *args)`` computes; or ``forward(*args)`` together with ``setup_context(ctx, inputs, output)``.
    ``backward(ctx, *grad_outputs)`` returns one gradient (or None) for each argument. Reference:
    ``torch.autograd.Function``.

    >>> class Double(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> Double.apply(ones(2))
    tensor([2., 2.])
    """

    _backward_cls: type[FunctionCtx]
    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._backward_cls = type(cls.__name__ + "Backward", (FunctionCtx,), {"__slots__": (), "_function": cls})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the result. With ``setup_context`` it takes no ctx."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keeps in ctx what ``backward`` needs, when ``forward`` takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments of ``forward``."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    #: The same as ``backward``, under the name that it has beside ``jvp``.
    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs, from those of the arguments (None where there is none)."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        """``apply`` for a batch: (outputs, where each of them has its batch).

        ``info`` has ``batch_size`` and ``randomness``; ``in_dims`` says which dimension of each argument is the batch.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap static method or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs ``forward`` and records it."""
        if _C.get_mode() & watch.TRACE and watch.STATE.levels:
            top = watch.highest(args)
            if top is not None and watch.function is not None:
                return watch.function(cls, top, args, kwargs)
        return cls._apply(args, kwargs)[1]

    @classmethod
    def _apply(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[FunctionCtx, Any]:
        """The context and what `apply` returns."""
        ctx = cls._backward_cls()
        mode = _C.get_mode()
        tensors = [arg for arg in args if isinstance(arg, TensorBase)]
        wanted = tuple(isinstance(arg, TensorBase) and arg.requires_grad for arg in args)
        recorded = any(wanted) and not mode & NO_GRAD
        ctx.needs_input_grad = wanted
        _C.set_mode(mode | NO_GRAD)
        try:
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args, **kwargs)
            else:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
        finally:
            _C.set_mode(mode)
        if not recorded:
            return ctx, output
        edges = tuple(edge_of(t) for t in tensors)
        places = iter(range(len(tensors)))
        ctx._numbers = tuple(next(places) if isinstance(arg, TensorBase) else None for arg in args)
        start(ctx, edges, (), tuple((t.shape, t.dtype) for t in tensors))
        output = _wrap(ctx, tensors, output)
        if mode & watch.TRACE and watch.STATE.anomaly and watch.recorded is not None:
            watch.recorded(ctx)
        return ctx, output


def _wrap(ctx: FunctionCtx, inputs: list[Any], output: Any) -> Any:
    """Puts the outputs of ``forward`` into the graph, and what it kept under guard."""
    single = not isinstance(output, tuple)
    outputs = [output] if single else list(output)
    fixed = {id(t) for t in ctx._fixed}
    dirty = {id(t) for t in ctx._dirty}
    given = {id(t) for t in inputs}
    for tensor in ctx._dirty:
        if not any(tensor is out for out in outputs):
            raise RuntimeError(
                f"{ctx.name()}: a tensor given to mark_dirty was not returned from forward; return what was modified "
                "in place"
            )
        if id(tensor) in given:
            views.check_inplace(tensor)
    own: dict[int, int] = {}
    results = []
    for number, out in enumerate(outputs):
        if not isinstance(out, TensorBase):
            results.append(out)
            continue
        carries = id(out) not in fixed and (out.dtype.is_floating_point or out.dtype.is_complex)
        result = out
        if id(out) in dirty:
            if carries:
                _rebase(out, inputs, ctx, number)
        elif id(out) in given:  # returned as it came: an alias, so that the input keeps its own history
            result = out._alias()
            if carries:
                result._attach(ctx, number)
        elif carries:
            if out._base is not None:
                result = out._alias()  # a view made in forward must not carry a history of its own
            result._attach(ctx, number)
        if carries:
            own[id(out)] = number
        results.append(result)
    ctx._metas = tuple((r._alias(), r.shape) if isinstance(r, TensorBase) else (None, None) for r in results)
    kept: list[tuple[Any, ...]] = []
    hooks = saved.current()
    for tensor in ctx._kept:
        if tensor is None:
            kept.append((None, 0, None, False))
        elif id(tensor) in own:
            number = own[id(tensor)]
            alias = tensor._alias()
            kept.append((saved.Packed(alias, hooks) if hooks else alias, tensor._version, (ctx, number), True))
        else:
            version = tensor._version
            if hooks:
                kept.append((saved.Packed(tensor, hooks), version, edge_of(tensor), False))
            else:
                kept.append((tensor, version, None, False))
    ctx.saved = tuple(kept)
    ctx._kept = ctx._dirty = ctx._fixed = ()
    return results[0] if single else tuple(results)


def _rebase(tensor: Any, inputs: list[Any], ctx: FunctionCtx, number: int) -> None:
    """An input that forward wrote to continues behind this Function."""
    if tensor._base is not None:
        if number or not inputs or inputs[0] is not tensor:
            raise RuntimeError(
                f"{ctx.name()}: a view that was modified in place must be the first tensor argument and the first "
                "output of forward"
            )
        views.rebase(tensor, ctx)
    else:
        views.move_retained(tensor, ctx)
        tensor._attach(ctx, number)


FunctionMeta = type(Function)
#: What the contexts of Functions are: `FunctionCtx` as the node of a graph.
BackwardCFunction = FunctionCtx


class InplaceFunction(Function):
    """A Function that may work in place; kept for programs that derive from it. Use Function and ``mark_dirty``."""


class _Once(Node):
    """Stands behind gradients that were computed outside of the graph: differentiating them is an error."""

    __slots__ = ()

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """Raises."""
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a ``backward`` that cannot itself be differentiated: a second derivative through it is an error.

    Reference: ``torch.autograd.function.once_differentiable``.
    """

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        mode = _C.set_mode(_C.get_mode() | NO_GRAD)
        try:
            results = function(ctx, *grads)
        finally:
            _C.set_mode(mode)
        if mode & NO_GRAD:
            return results
        carrying = [g for g in grads if isinstance(g, TensorBase) and g.requires_grad]
        if not carrying:
            return results
        single = not isinstance(results, tuple)
        guarded = []
        for result in (results,) if single else results:
            if isinstance(result, TensorBase) and result.dtype.is_floating_point:
                result = result._alias()
                result._attach(start(_Once(), tuple(map(edge_of, carrying))), 0)
            guarded.append(result)
        return guarded[0] if single else tuple(guarded)

    return wrapped
