"""Nodes of the recorded graph.

A node's ``edges`` say where the gradient of each of its inputs goes: None (nowhere), a Node, ``(Node, output_nr)`` for
an output other than the first, or a leaf tensor itself. A leaf stands for its own AccumulateGrad, so recording an
operation on parameters makes no object for them; ``next_functions`` makes the AccumulateGrad that users may ask for.

Nodes carry a number that only grows, and edges lead from higher to lower numbers: taking the highest pending number
first is a reverse topological order, and needs no count of dependencies.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch._handles import RemovableHandle, add_hook

TensorBase = _C.TensorBase
tick: Callable[[], int] = _C.tick


class Extra:
    """What few nodes and leaves have: hooks, tensors that keep their gradient, the user's metadata."""

    __slots__ = ("after", "metadata", "node", "post", "pre", "retain", "tensor")

    def __init__(self, node: Any = None) -> None:
        self.node = node  # a leaf's AccumulateGrad: hooks on it must live as long as the leaf
        self.after: OrderedDict[int, Any] = OrderedDict()  # Tensor.register_post_accumulate_grad_hook
        self.tensor: OrderedDict[int, tuple[int, Any]] = (
            OrderedDict()
        )  # handle id -> (output_nr, hook): Tensor.register_hook
        self.pre: OrderedDict[int, Any] = OrderedDict()
        self.post: OrderedDict[int, Any] = OrderedDict()
        self.retain: dict[int, Any] = {}  # output_nr -> weak reference to the tensor
        self.metadata: dict[Any, Any] = {}


class Node(_C.NodeBase):
    """One recorded operation: where its input gradients go and what it kept to compute them.

    Subclasses are made one per row of the op table and one per ``Function``. Reference: ``torch.autograd.graph.Node``.
    """

    __slots__ = ("__weakref__",)
    # the fields of NodeBase:
    edges: tuple[Any, ...]
    saved: Any  # what the derivative needs; None once freed
    meta: Any  # for rows that broadcast: (shape, dtype) of each input that differs from the output; else None
    seq: int
    extra: Extra | None

    keeps = False  # whether `saved` holds tensors, which a backward without retain_graph frees
    several = False  # whether there are several outputs: gradients then arrive as a tuple
    kept: tuple[str | None, ...] = ()  # the names of what `saved` holds; None for a version
    materialize = False  # whether `apply` wants to run although no gradient arrived

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """The gradients of the inputs, None where the edge is None."""
        raise AssertionError("every kind of node defines this")

    def name(self) -> str:
        """The operation's name, as in ``MulBackward0``."""
        return type(self).__name__

    def release(self) -> None:
        """Frees what was kept for the derivative."""
        if self.keeps:
            self.saved = None

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input the node that its gradient goes to and the output number there."""
        return tuple(as_pair(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's own notes."""
        return extra_of(self).metadata

    def __getattr__(self, name: str) -> Any:
        """``_saved_NAME``: what was kept under a name (``self`` for the input, ``result`` for the result)."""
        if name.startswith("_saved_"):
            wanted = {"self": "input", "result": "out"}.get(name[7:], name[7:])
            if wanted in self.kept:
                if self.saved is None:
                    raise freed(self)
                value = self.saved[self.kept.index(wanted)]
                return value.unpack() if hasattr(value, "unpack") else value
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def requires_grad(self) -> bool:
        """True: only what requires a gradient has a node."""
        return True

    def _sequence_nr(self) -> int:
        return self.seq

    def register_hook(self, fn: Callable[[Any, Any], Any]) -> RemovableHandle:
        """Calls ``fn(grad_inputs, grad_outputs)`` after this node; what it returns replaces the input gradients."""
        return add_hook(extra_of(self).post, fn)

    def register_prehook(self, fn: Callable[[Any], Any]) -> RemovableHandle:
        """Calls ``fn(grad_outputs)`` before this node; what it returns replaces the output gradients."""
        return add_hook(extra_of(self).pre, fn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


class AccumulateGrad(Node):
    """The end of the graph at a leaf: what adds the gradient into ``variable.grad``."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any) -> None:
        self.variable = variable
        self.edges = ()
        self.saved = ()
        self.meta = None
        self.seq = 1 << 62
        self.extra = None

    def name(self) -> str:
        """The name that PyTorch gives it."""
        return "torch::autograd::AccumulateGrad"


def accumulator(leaf: Any) -> AccumulateGrad:
    """The AccumulateGrad of a leaf: one object as long as somebody holds it, or it has hooks."""
    known = leaf._accumulator
    node = None if known is None else known()
    if node is None:
        node = AccumulateGrad(leaf)
        leaf._accumulator = weakref.ref(node)
    return node


def extra_of(node: Node) -> Extra:
    """The node's hooks and notes, made when first asked for."""
    extra = node.extra
    if extra is None:
        extra = node.extra = Extra(node if isinstance(node, AccumulateGrad) else None)
        if isinstance(node, AccumulateGrad):
            node.variable._leaf_hooks = extra
    return extra


def as_pair(edge: Any) -> tuple[Any, int]:
    """An edge as PyTorch shows it: (function or None, output number)."""
    if edge is None:
        return (None, 0)
    if type(edge) is tuple:
        return edge
    return (edge, 0) if isinstance(edge, Node) else (accumulator(edge), 0)


def edge_of(tensor: Any) -> Any:
    """Where a gradient of this tensor goes."""
    node = tensor.grad_fn
    if node is None:
        return tensor if tensor.requires_grad else None
    if node.several:
        number = tensor.output_nr
        if number:
            return (node, number)
    return node


def start(node: Node, edges: tuple[Any, ...], saved: Any = (), meta: Any = None) -> Node:
    """Fills a new node in; its number comes last, after those of everything it leads to."""
    node.edges = edges
    node.saved = saved
    node.meta = meta
    node.extra = None
    node.seq = tick()
    return node


class _Refusing(Node):
    """Stands behind a derivative that cannot be differentiated."""

    __slots__ = ("operation",)
    several = True
    operation: str

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """Raises."""
        raise NotImplementedError(
            f"derivative for {self.operation}_backward is not implemented: {self.operation} cannot be differentiated "
            "twice"
        )


def only_once(operation: str, results: Any, sources: Any) -> Any:
    """Derivatives computed by a kernel without a derivative: where one is asked for, that is an error, not zero."""
    carrying = [t for t in sources if isinstance(t, TensorBase) and t.requires_grad]
    if _C.get_mode() & 1 or not carrying:  # nothing is recorded
        return results
    node = _Refusing()
    node.operation = operation
    start(node, tuple(map(edge_of, carrying)))
    made = [None if r is None else r._alias() for r in results]
    for number, result in enumerate(made):
        if result is not None:
            result._attach(node, number)
    return tuple(made)


FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved "
    "tensors after calling backward."
)


def freed(node: Node) -> RuntimeError:
    """The error of a second backward through a node whose saved values are gone."""
    return RuntimeError(f"{FREED} The operation is {node.name()}.")


def stale(node: Node, tensor: Any, version: int, is_output: bool = False) -> RuntimeError:
    """The error of a derivative whose saved tensor was written to after it was saved."""
    kind = _dtypes.TYPE_NAMES[tensor.dtype]
    maker = node if is_output else tensor.grad_fn
    where = (
        f", which is output {tensor.output_nr} of {maker.name().removesuffix('Backward0')},"
        if maker is not None
        else ""
    )
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[torch.{kind}Tensor {list(tensor.shape)}]{where} is at version {tensor._version}; expected version "
        f"{version} instead. {node.name()} saved it. Hint: replace the in-place operation by an out-of-place one, or "
        "clone the tensor before it."
    )


def with_history(tensor: Any, edge: Any) -> Any:
    """An alias of a saved tensor with the place in the graph that it had when it was saved."""
    alias = tensor._alias()
    if edge is None:
        return alias
    if type(edge) is tuple:
        alias._attach(edge[0], edge[1])
    elif isinstance(edge, Node):
        alias._attach(edge, 0)
    else:
        return edge  # a leaf: the tensor itself
    return alias


def reduce_to(grad: Any, meta: Any) -> Any:
    """A gradient brought to its input's shape (summed where the input was broadcast) and dtype."""
    if meta is None or grad is None:
        return grad
    shape, dtype = meta
    if grad.shape != shape:
        grad = grad.sum_to_size(shape)
    if grad.dtype is not dtype:
        if grad.dtype.is_complex and not dtype.is_complex:
            grad = grad.real
        grad = grad.to(dtype)
    return grad


# Set by the op table: complex numbers as pairs in a new last dimension, and back.
parts_of: Any = None
complex_of: Any = None
