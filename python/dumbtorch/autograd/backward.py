"""``autograd.backward`` and ``autograd.grad``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import engine, watch
from dumbtorch.autograd.edges import GradientEdge, source_of
from dumbtorch.autograd.graph import TensorBase, edge_of, reduce_to


def _as_tuple(value: Any) -> tuple[Any, ...]:
    several = isinstance(value, Iterable) and not isinstance(value, (TensorBase, GradientEdge))
    return tuple(map(source_of, value)) if several else (source_of(value),)


def _roots(outputs: tuple[Any, ...], grads: tuple[Any, ...], op: str) -> list[tuple[Any, Any]]:
    """The edges to start from with their gradients, checked."""
    if len(outputs) != len(grads):
        raise RuntimeError(f"{op}: got {len(outputs)} tensors and {len(grads)} gradients")
    roots = []
    for place, (output, grad) in enumerate(zip(outputs, grads, strict=True)):
        if isinstance(output, GradientEdge):
            if grad is None:
                raise RuntimeError(f"{op}: the gradient of a GradientEdge has to be given: its shape is not known")
            roots.append((edge_of(output), grad))
            continue
        if not isinstance(output, TensorBase):
            raise TypeError(f"{op}: element {place} is {type(output).__name__}, expected a Tensor")
        if grad is not None:
            if not isinstance(grad, TensorBase):
                raise TypeError(
                    f"{op}: gradients can be either Tensors or None, but got {type(grad).__name__} at place {place}"
                )
            if grad.shape != output.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{place}] has a shape of {grad.shape} and output[{place}] has a "
                    f"shape of {output.shape}."
                )
            if grad.dtype.is_complex != output.dtype.is_complex:
                raise RuntimeError(
                    f"For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch "
                    f"in dtype: grad_output[{place}] has a dtype of {grad.dtype} and output[{place}] has a dtype of "
                    f"{output.dtype}."
                )
        if output.is_sparse:
            output, grad = output._as_root(grad)
        edge = edge_of(output)
        if edge is None:
            raise RuntimeError(f"element {place} of tensors does not require grad and does not have a grad_fn")
        if grad is None:
            if output.numel() != 1:
                raise RuntimeError(
                    f"grad can be implicitly created only for scalar outputs; {op} got an output of shape "
                    f"{list(output.shape)}: give its gradient, or reduce it (sum, mean) first"
                )
            if not output.dtype.is_floating_point:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {output.dtype}"
                )
            grad = output._alias().new_ones(output.shape)
        elif grad.dtype is not output.dtype:
            grad = reduce_to(grad, (output.shape, output.dtype))
        roots.append((edge, grad))
    return roots


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Computes the gradients of ``tensors`` with respect to the leaves and adds them into their ``.grad``.

    ``grad_tensors`` are the gradients of the (non-scalar) ``tensors``. ``retain_graph`` keeps what the graph saved for
    another backward (default: as ``create_graph``). ``create_graph`` records the derivatives, for higher orders.
    ``inputs`` restricts the leaves. Raises RuntimeError for a non-scalar without gradient, a tensor without graph, a
    graph already freed, and a saved tensor that was overwritten. Reference: ``torch.autograd.backward``.

    >>> x = ones(2, requires_grad=True)
    >>> backward((x * x).sum())
    >>> x.grad
    tensor([2., 2.])
    """
    outputs = _as_tuple(tensors)
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError("backward: `grad_variables` is the old name of `grad_tensors`; give only one of them")
        grad_tensors = grad_variables
    grads = (None,) * len(outputs) if grad_tensors is None else _as_tuple(grad_tensors)
    chosen = None
    if inputs is not None:
        chosen = _as_tuple(inputs)
        if not chosen:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for place, tensor in enumerate(chosen):
            if not isinstance(tensor, TensorBase):
                raise TypeError(f"backward: inputs[{place}] is {type(tensor).__name__}, expected a Tensor")
            if not tensor.requires_grad:
                raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    engine.run(_roots(outputs, grads, "backward"), retain, create_graph, chosen)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, returned as a tuple; no ``.grad`` is touched.

    ``grad_outputs`` are the gradients of the (non-scalar) outputs. An input that the outputs do not depend on raises
    RuntimeError unless ``allow_unused`` (then None) or ``materialize_grads`` (then zeros). With
    ``is_grads_batched`` the first dimension of each of ``grad_outputs`` is a batch of gradients, and so is that of each
    result.
    Reference: ``torch.autograd.grad``.

    >>> x = ones(2, requires_grad=True)
    >>> grad((x * x).sum(), x)
    (tensor([2., 2.]),)
    """
    results = _as_tuple(outputs)
    chosen: Sequence[Any] = _as_tuple(inputs)
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: False")
    given = (None,) * len(results) if grad_outputs is None else _as_tuple(grad_outputs)
    if not chosen:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for place, tensor in enumerate(chosen):
        if not isinstance(tensor, (TensorBase, GradientEdge)):
            raise TypeError(f"grad: inputs[{place}] is {type(tensor).__name__}, expected a Tensor")
    if is_grads_batched:
        return _batched(results, chosen, given, retain_graph, create_graph, allow_unused, materialize_grads)
    if _C.get_mode() & watch.TRACE and watch.highest((*results, *chosen)) is not None:
        return _through_levels(results, chosen, given, retain_graph, create_graph, allow_unused, materialize_grads)
    roots = _roots(results, given, "grad")
    for tensor in chosen:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    if any(t.is_sparse for t in chosen):  # theirs are those of their values
        inner = [t._val if t.is_sparse else t for t in chosen]
        grads = engine.run(roots, retain, create_graph, inner, capture=True)
        grads = [g if g is None or not t.is_sparse else t._with(g) for t, g in zip(chosen, grads, strict=True)]
        return _complete(grads, chosen, allow_unused, materialize_grads)
    grads = engine.run(roots, retain, create_graph, chosen, capture=True)
    return _complete(grads, chosen, allow_unused, materialize_grads)


def _complete(
    grads: list[Any], chosen: Sequence[Any], allow_unused: bool | None, materialize_grads: bool
) -> tuple[Any, ...]:
    """The gradients, with what stands for those of unused inputs."""
    for place, (tensor, value) in enumerate(zip(chosen, grads, strict=True)):
        if value is None:
            if materialize_grads:
                grads[place] = tensor._alias().new_zeros(tensor.shape)
            elif not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {place} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
    return tuple(grads)


def _through_levels(
    outputs: tuple[Any, ...],
    inputs: Sequence[Any],
    given: tuple[Any, ...],
    retain: bool | None,
    create: bool,
    allow_unused: bool | None,
    materialize: bool,
) -> tuple[Any, ...]:
    """Gradients of tensors that a functional transform wraps."""
    wrappers = importlib.import_module("dumbtorch.func._wrappers")
    seeds = [t.new_ones(t.shape) if g is None else g for t, g in zip(outputs, given, strict=True)]
    for place, (output, g) in enumerate(zip(outputs, given, strict=True)):
        if g is None and output.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        if not output.requires_grad:
            raise RuntimeError(f"element {place} of tensors does not require grad and does not have a grad_fn")
    found = wrappers.grads(outputs, inputs, seeds, create if retain is None else retain, create)
    return _complete(found, inputs, allow_unused, materialize)


def _batched(
    outputs: tuple[Any, ...],
    inputs: Sequence[Any],
    given: tuple[Any, ...],
    retain: bool | None,
    create: bool,
    allow_unused: bool | None,
    materialize: bool,
) -> tuple[Any, ...]:
    """All gradients of a batch in one walk."""
    if any(g is None for g in given) or not given:
        raise RuntimeError("grad: is_grads_batched needs grad_outputs, each with a leading batch dimension")
    unused: list[int] = []

    def rows(*each: Any) -> tuple[Any, ...]:
        found = grad(outputs, inputs, each, retain, create, True, allow_unused, False, materialize)
        unused[:] = [n for n, value in enumerate(found) if value is None]
        return tuple(value for value in found if value is not None)

    found = iter(importlib.import_module("dumbtorch.func").vmap(rows)(*given))
    return tuple(None if n in unused else next(found) for n in range(len(inputs)))
