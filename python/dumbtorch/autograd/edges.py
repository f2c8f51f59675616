"""Edges of the graph by hand, and hooks on several tensors at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from dumbtorch import _C
from dumbtorch._handles import RemovableHandle
from dumbtorch.autograd import engine
from dumbtorch.autograd.graph import AccumulateGrad, as_pair, edge_of

TensorBase = _C.TensorBase


class _Edge(NamedTuple):
    node: Any
    output_nr: int
    ownership_token: Any = None


class GradientEdge(_Edge):
    """A node, and which of its outputs; it can stand for a tensor in ``autograd.grad`` and ``backward``.

    Reference: ``torch.autograd.graph.GradientEdge``.
    """

    # what the engine asks of a tensor to differentiate by
    grad_fn = property(lambda self: self.node)
    requires_grad = property(lambda self: True)
    _leaf_hooks = property(lambda self: None)
    is_sparse = False


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """Where the gradient of a tensor arrives: its node, or the accumulation of a leaf. RuntimeError without a graph."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    node, number = as_pair(edge_of(tensor))
    return GradientEdge(node, number, tensor if tensor.is_leaf else None)


def increment_version(tensor: Any) -> None:
    """Counts a write to a tensor, or to several, that no operation made, so that a derivative that kept it raises."""
    tensors: Iterable[Any] = (tensor,) if isinstance(tensor, TensorBase) else tensor
    for each in tensors:
        if each.is_inference():
            raise RuntimeError("Inference tensors do not track version counter.")
        each._bump()


class _MultiHandle(RemovableHandle):
    """Removes several hooks."""

    def __init__(self, handles: tuple[RemovableHandle, ...]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Takes all of the hooks away."""
        for handle in self.handles:
            handle.remove()

    def __getstate__(self) -> Any:
        return self.handles

    def __setstate__(self, state: Any) -> None:
        self.handles = state


def register_multi_grad_hook(
    tensors: Sequence[Any], fn: Callable[[Any], None], *, mode: str = "all"
) -> RemovableHandle:
    """Calls ``fn`` in a backward when the gradients of all ``tensors`` that it computes are there, or of the first.

    With ``mode="all"`` ``fn`` gets a list, None for a tensor that the backward does not reach; with "any" a gradient.
    Reference: ``torch.autograd.graph.register_multi_grad_hook``.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    if mode == "any":
        seen: set[int] = set()

        @functools.wraps(fn)
        def first(grad: Any) -> None:
            task = engine.current()
            with lock:
                if task.number in seen:
                    return
                seen.add(task.number)
            task.after.append(functools.partial(seen.discard, task.number))
            fn(grad)

        return _MultiHandle(tuple(t.register_hook(first) for t in tensors if t.requires_grad))
    buffers: dict[int, tuple[list[Any], int]] = {}  # number of a backward -> gradients, how many are missing

    def hook_of(place: int) -> Callable[[Any], None]:
        def hook(grad: Any) -> None:
            task = engine.current()
            with lock:
                if task.number not in buffers:
                    buffers[task.number] = [None] * len(tensors), sum(task.reaches(edge_of(t)) for t in tensors)
                    task.after.append(functools.partial(buffers.pop, task.number, None))
                grads, missing = buffers[task.number]
                grads[place] = grad
                buffers[task.number] = grads, missing - 1
            if missing == 1:
                fn(grads)

        return hook

    return _MultiHandle(tuple(t.register_hook(hook_of(n)) for n, t in enumerate(tensors)))


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Takes PyTorch's setting: gradients are accumulated on the stream that they were computed on, so nothing warns."""


def set_override_stale_capture_stream(enabled: bool) -> None:
    """Takes PyTorch's setting: there are no captured graphs, so no stream of a node is stale."""


def source_of(value: Any) -> Any:
    """What to differentiate by: a tensor, a `GradientEdge` inside of the graph, or for one at a leaf the leaf."""
    if isinstance(value, GradientEdge) and isinstance(value.node, AccumulateGrad):
        return value.node.variable
    return value
