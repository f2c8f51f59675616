"""The backward walk: an explicit queue, newest operation first, no recursion."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import watch
from dumbtorch.autograd.anomaly_mode import guarded
from dumbtorch.autograd.graph import Extra, Node, TensorBase, edge_of
from dumbtorch.autograd.modes import INFERENCE, NO_GRAD

_accumulating = threading.Lock()


def added(old: Any, grad: Any) -> Any:
    """The sum of two gradients; a sparse and a dense one make a dense one, in the order that addition knows."""
    return grad + old if old.is_sparse and not grad.is_sparse else old + grad


def accumulate(leaf: Any, grad: Any, create: bool) -> None:
    """Adds a gradient into ``leaf.grad``."""
    with _accumulating:  # another thread may be adding to the same leaf
        old = leaf._grad
        if old is None:
            leaf._grad = grad.clone()  # lazy: nothing is copied unless somebody else still holds `grad`
        elif create or (old.is_sparse and not grad.is_sparse):
            leaf._grad = added(old, grad)
        else:
            old.add_(grad)


def accumulate_hooked(leaf: Any, extra: Extra, grad: Any, create: bool) -> None:
    """The same for a leaf with hooks, given the whole gradient of this walk."""
    for _, hook in tuple(extra.tensor.values()):
        grad = _replaced(hook, grad)
    for hook in tuple(extra.pre.values()):
        changed = hook((grad,))
        if changed is not None:
            grad = changed[0] if isinstance(changed, tuple) else changed
    accumulate(leaf, grad, create)
    for hook in tuple(extra.post.values()):
        hook((), (grad,))
    for hook in tuple(extra.after.values()):
        hook(leaf)


class _Hooked:
    """Leaves with hooks: those see the whole gradient, once, so each leaf's parts are summed until the last came."""

    def __init__(self, edges: Iterable[Any], stack: list[Node], create: bool) -> None:
        self.create = create
        self.sums: dict[int, Any] = {}
        self.left: dict[int, int] = {}  # id of a leaf -> how many edges to it have not been followed yet
        seen = set(stack)
        while True:
            for edge in edges:
                node = _node_of(edge)
                if node is None:
                    self.left[id(edge)] = self.left.get(id(edge), 0) + 1
                elif node not in seen:
                    seen.add(node)
                    stack.append(node)
            if not stack:
                return
            edges = stack.pop().edges

    def arrived(self, leaf: Any, grad: Any) -> None:
        """One edge to the leaf was followed."""
        key = id(leaf)
        if grad is not None:
            old = self.sums.get(key)
            self.sums[key] = grad if old is None else added(old, grad)
        self.left[key] -= 1
        if not self.left[key] and key in self.sums:
            accumulate_hooked(leaf, leaf._leaf_hooks, self.sums.pop(key), self.create)


def _replaced(hook: Any, grad: Any) -> Any:
    """What a tensor hook makes of a gradient."""
    result = hook(grad)
    if result is None:
        return grad
    name = getattr(hook, "__name__", type(hook).__name__)
    if not isinstance(result, TensorBase):
        raise TypeError(f"hook '{name}' returned {type(result).__name__}; a hook returns a tensor or None")
    if result.shape != grad.shape:
        raise RuntimeError(
            f"hook '{name}' has changed the size of value: from {list(grad.shape)} to {list(result.shape)}"
        )
    return result


def _before(node: Node, extra: Extra, grad: Any) -> Any:
    """Tensor hooks, kept gradients and node prehooks, in this order."""
    if extra.tensor or extra.retain:
        grads = list(grad) if node.several else [grad]
        for number, hook in tuple(extra.tensor.values()):
            if number < len(grads) and grads[number] is not None:
                grads[number] = _replaced(hook, grads[number])
        for number, reference in extra.retain.items():
            tensor = reference()
            if tensor is not None and number < len(grads) and grads[number] is not None:
                old = tensor.grad
                tensor.grad = grads[number].clone() if old is None else added(old, grads[number])
        grad = grads if node.several else grads[0]
    for hook in tuple(extra.pre.values()):
        changed = hook(tuple(grad) if node.several else (grad,))
        if changed is not None:
            if not isinstance(changed, tuple):
                changed = (changed,)
            grad = list(changed) if node.several else changed[0]
    return grad


def _after(node: Node, extra: Extra, grads: Any, grad: Any) -> Any:
    """Node hooks."""
    given = tuple(grad) if node.several else (grad,)
    for hook in tuple(extra.post.values()):
        changed = hook(tuple(grads), given)
        if changed is not None:
            if not isinstance(changed, tuple):
                changed = (changed,)
            if len(changed) != len(grads):
                raise RuntimeError(f"a hook of {node.name()} returned {len(changed)} gradients instead of {len(grads)}")
            grads = changed
    return grads


class _Wanted:
    """What ``inputs=`` restricts a walk to: the tensors to reach and the nodes on a way to them."""

    def __init__(self, roots: Iterable[Any], inputs: Sequence[Any], capture: bool) -> None:
        self.capture = capture
        self.grads: list[Any] = [None] * len(inputs)
        self.leaves: dict[int, list[int]] = {}  # id of a leaf -> places in `inputs`
        self.nodes: dict[tuple[Node, int], list[int]] = {}
        for place, tensor in enumerate(inputs):
            edge = edge_of(tensor)
            if isinstance(edge, Node):
                self.nodes.setdefault((edge, 0), []).append(place)
            elif type(edge) is tuple:
                self.nodes.setdefault(edge, []).append(place)
            else:
                self.leaves.setdefault(id(edge), []).append(place)
        self.numbers: dict[Node, list[int]] = {}
        for node, number in self.nodes:
            self.numbers.setdefault(node, []).append(number)
        # the nodes that have to run, and their edges without those that lead to none of the inputs
        self.ways = _C.find_ways(tuple(roots), (*self.numbers, *(edge_of(t) for t in inputs)))

    def take(self, node: Node, grad: Any) -> None:
        """Notes the gradient that arrived at a node one of the inputs came from."""
        for number in self.numbers[node]:
            value = grad if not node.several else grad[number] if number < len(grad) else None
            for place in self.nodes[node, number]:
                self.grads[place] = value

    def take_leaf(self, leaf: Any, grad: Any) -> None:
        """Adds a gradient that arrived at one of the inputs that is a leaf."""
        for place in self.leaves[id(leaf)]:
            old = self.grads[place]
            self.grads[place] = grad if old is None else added(old, grad)


class Task:
    """One backward: what hooks may ask about it."""

    __slots__ = ("_reached", "after", "inputs", "number", "roots", "wanted")

    def __init__(self, roots: Sequence[tuple[Any, Any]], inputs: Sequence[Any] | None, wanted: _Wanted | None) -> None:
        self.number = _C.tick()
        self.roots, self.inputs, self.wanted = roots, inputs, wanted
        self.after: list[Any] = []  # called at its end
        self._reached: set[Any] | None = None

    def reaches(self, edge: Any) -> bool:
        """Whether a gradient arrives at an edge in this backward."""
        node = _node_of(edge)
        if self.wanted is not None:
            if node is None:
                return edge is not None and id(edge) in self.wanted.leaves
            return node in self.wanted.ways or node in self.wanted.numbers
        if self._reached is None:
            self._reached = set()
            stack = [root for root, _ in self.roots]
            while stack:
                step = stack.pop()
                found = _node_of(step)
                key = id(step) if found is None else found
                if step is None or key in self._reached:
                    continue
                self._reached.add(key)
                if found is not None:
                    stack.extend(found.edges)
        return edge is not None and (id(edge) if node is None else node) in self._reached


class _Tasks(threading.local):
    def __init__(self) -> None:
        self.running: list[Task] = []


_TASKS = _Tasks()


def current() -> Task:
    """The innermost backward of this thread. Raises AssertionError outside of one."""
    if not _TASKS.running:
        raise AssertionError("expected this hook to be called inside a backward call")
    return _TASKS.running[-1]


def in_plain_backward() -> bool:
    """Whether no backward of this thread is restricted to some inputs: reentrant checkpoints need that."""
    return all(task.inputs is None for task in _TASKS.running)


def _node_of(edge: Any) -> Node | None:
    if type(edge) is tuple:
        node: Node = edge[0]
        return node
    return edge if isinstance(edge, Node) else None


def run(
    roots: Sequence[tuple[Any, Any]],
    retain: bool,
    create: bool,
    inputs: Sequence[Any] | None = None,
    capture: bool = False,
) -> list[Any]:
    """Walks the graph back from ``(edge, gradient)`` pairs.

    Leaves get their gradients accumulated; with ``inputs`` only those, and with ``capture`` the gradients of ``inputs``
    are returned instead.
    """
    wanted = None if inputs is None else _Wanted([edge for edge, _ in roots], inputs, capture)
    task = Task(roots, inputs, wanted)
    _TASKS.running.append(task)
    old_mode = _C.get_mode()
    _C.set_mode(old_mode & ~(NO_GRAD | INFERENCE) | (0 if create else NO_GRAD))
    try:
        _walk(roots, retain, create, wanted)
        if wanted is None:
            return []
        for place, (tensor, grad) in enumerate(zip(inputs or (), wanted.grads, strict=True)):
            extra = tensor._leaf_hooks
            if grad is None:
                continue
            if capture:
                for _, hook in () if extra is None else tuple(extra.tensor.values()):
                    wanted.grads[place] = _replaced(hook, wanted.grads[place])
            elif extra is None:
                accumulate(tensor, grad, create)
            else:
                accumulate_hooked(tensor, extra, grad, create)
        return wanted.grads
    finally:
        _C.set_mode(old_mode)
        _TASKS.running.pop()
        for call in task.after:
            call()


def _walk(roots: Sequence[tuple[Any, Any]], retain: bool, create: bool, wanted: _Wanted | None) -> None:
    hooked: _Hooked | None = None

    def arrive(leaf: Any, grad: Any) -> None:
        """Takes a gradient that arrived at a leaf."""
        nonlocal hooked
        if wanted is not None:
            if grad is not None and id(leaf) in wanted.leaves:
                wanted.take_leaf(leaf, grad)
        elif leaf._leaf_hooks is not None:
            if hooked is None:
                hooked = _Hooked(edges, _C.waiting_nodes(walk), create)
            hooked.arrived(leaf, grad)
        elif grad is not None:
            accumulate(leaf, grad, create)

    walk, follow = _C.new_walk(create), _C.follow
    anomaly = watch.STATE.anomaly
    edges: Any = tuple(edge for edge, _ in roots)
    grads: Any = [grad for _, grad in roots]
    while (step := follow(walk, edges, grads, arrive)) is not None:
        node, grad = step
        grads = step = None  # what was passed on must not live while the next derivative runs
        extra = node.extra
        if extra is not None and grad is not None:
            grad = _before(node, extra, grad)
        edges = node.edges
        if wanted is not None:
            if node in wanted.numbers and grad is not None:
                wanted.take(node, grad)
            edges = wanted.ways.get(node)
            if edges is None:
                edges = grads = ()
                continue
        if grad is None and not node.materialize:
            grads = (None,) * len(edges)  # nothing arrived, but a Function further on may want to know
            continue
        grads = node.apply(grad, edges, create) if not anomaly else guarded(node, grad, edges, create)
        if extra is not None and extra.post:
            grads = _after(node, extra, grads, grad)
        if not retain:
            node.release()
