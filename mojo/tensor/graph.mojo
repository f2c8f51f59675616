"""The queue of a backward walk: gradients that wait at their nodes, the newest node first.

Python's engine runs derivatives and hooks; what happens between two of them, for each edge of each node, is here.
An edge is None, a node, (node, output number) or a leaf tensor, as autograd/graph.py says.
"""

from std.collections import Dict
from std.ffi import external_call
from std.memory.alloc import unsafe_alloc
from .errors import set_python_error
from .memory import Ptr, address_of, load
from .node import NodePtr
from .object import is_sparse, is_tensor
from .py import (
    Obj,
    call2,
    decref,
    incref,
    is_sequence,
    is_tuple,
    new_ref,
    seq_item,
    seq_len,
    tuple_new,
    tuple_set,
    xdecref,
)
from .runtime import runtime


@fieldwise_init
struct Waiting(Copyable, ImplicitlyCopyable, Movable):
    """A node's gradient so far."""

    var node: Obj  # both are references of ours
    var grad: Obj
    var several: Bool  # the node has several outputs: the gradient is a list
    var owned: Bool  # the gradient is a sum made here, which later ones may be added to in place


struct Walk(Movable):
    var heap: List[Int]  # the numbers of the nodes that wait, a binary heap with the largest first
    var waiting: Dict[Int, Waiting]
    var create: Bool

    def __init__(out self, create: Bool):
        self.heap = List[Int]()
        self.waiting = Dict[Int, Waiting]()
        self.create = create

    def push(mut self, number: Int):
        self.heap.append(number)
        var i = len(self.heap) - 1
        while i > 0 and self.heap[(i - 1) // 2] < number:
            self.heap[i] = self.heap[(i - 1) // 2]
            i = (i - 1) // 2
        self.heap[i] = number

    def pop(mut self) -> Int:
        var first = self.heap[0]
        var last = self.heap.pop()
        var n = len(self.heap)
        if n == 0:
            return first
        var i = 0
        while True:
            var child = 2 * i + 1
            if child >= n:
                break
            if child + 1 < n and self.heap[child + 1] > self.heap[child]:
                child += 1
            if self.heap[child] <= last:
                break
            self.heap[i] = self.heap[child]
            i = child
        self.heap[i] = last
        return first

    def arrive(mut self, node: Obj, output: Int, grad: Obj) raises -> Bool:
        """Notes a gradient (maybe None) for an output of a node; False when Python raised."""
        var none = runtime()[].none
        var number = external_call["PyLong_AsSsize_t", Int](NodePtr(unsafe_from_address=node)[].seq)
        if number not in self.waiting:
            var flag = external_call["PyObject_GetAttrString", Int](node, Int(StaticString("several").unsafe_ptr()))
            if flag == 0:
                return False
            var several = external_call["PyObject_IsTrue", Int32](flag) != 0
            decref(flag)
            var first = external_call["PyList_New", Int](Int(0)) if several else new_ref(grad)
            self.waiting[number] = Waiting(new_ref(node), first, several, False)
            self.push(number)
            if not several:
                return True
        ref entry = self.waiting[number]
        if entry.several:
            return _put(entry.grad, output, grad)
        if grad == none:
            return True
        var old = entry.grad
        if old == none:
            entry.grad = new_ref(grad)
        elif entry.owned and not is_sparse(old):
            entry.grad = external_call["PyNumber_InPlaceAdd", Int](old, grad)
        else:
            entry.grad = _sum(old, grad)
            entry.owned = not self.create
        if entry.grad == 0:
            entry.grad = old
            return False
        decref(old)
        return True


def _sum(old: Obj, grad: Obj) -> Obj:
    """A new gradient; a dense and a sparse one make a dense one, added in the order that there is."""
    if is_sparse(old) and not is_sparse(grad):
        return external_call["PyNumber_Add", Int](grad, old)
    return external_call["PyNumber_Add", Int](old, grad)


def _put(grads: Obj, output: Int, grad: Obj) -> Bool:
    """Adds a gradient for one of several outputs of a node."""
    var none = runtime()[].none
    while seq_len(grads) <= output:
        if external_call["PyList_Append", Int32](grads, none) != 0:
            return False
    var old = seq_item(grads, output)
    if grad == none:
        return True
    var sum = new_ref(grad) if old == none else _sum(old, grad)
    return sum != 0 and external_call["PyList_SetItem", Int32](grads, output, sum) == 0


comptime WalkPtr = Ptr[Walk]


@always_inline
def _walk_of(capsule: Obj) -> WalkPtr:
    # PyCapsule: refcount, type, pointer
    return WalkPtr(unsafe_from_address=load[Int](capsule + 16))


def _destroy(capsule: Obj) abi("C") -> None:
    var walk = _walk_of(capsule)
    for entry in walk[].waiting.values():
        decref(entry.node)
        decref(entry.grad)
    _ = walk.unsafe_take_pointee()
    walk.unsafe_free()


def new_walk(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """new_walk(create) -> the queue of a walk."""
    var walk = unsafe_alloc[Walk](1)
    walk.unsafe_write(Walk(load[Int](args) == runtime()[].true_))
    var destroy: def(Obj) thin abi("C") -> None = _destroy
    return external_call["PyCapsule_New", Int](Int(walk), Int(0), address_of(destroy))


def follow(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """follow(walk, edges, grads, leaf) -> (node, gradient), or None at the end of the walk.

    Passes the gradients along a node's edges, `leaf(tensor, gradient)` taking those of leaves, and gives the next node
    to run."""
    var walk = _walk_of(load[Int](args))
    var edges = load[Int](args + 8)
    var leaf = load[Int](args + 24)
    var none = runtime()[].none
    var text = StaticString("a derivative must give a sequence of gradients")
    var grads = external_call["PySequence_Fast", Int](load[Int](args + 16), Int(text.unsafe_ptr()))
    if grads == 0:
        return 0
    try:
        for i in range(min(seq_len(edges), seq_len(grads))):
            var edge = seq_item(edges, i)
            var grad = seq_item(grads, i)
            if edge == none:
                continue
            var ok: Bool
            if is_tuple(edge):
                var number = external_call["PyLong_AsSsize_t", Int](seq_item(edge, 1))
                ok = walk[].arrive(seq_item(edge, 0), number, grad)
            elif is_tensor(edge):
                var done = call2(leaf, edge, grad)
                ok = done != 0
                xdecref(done)
            else:
                ok = walk[].arrive(edge, 0, grad)
            if not ok:
                decref(grads)
                return 0
        decref(grads)
        if len(walk[].heap) == 0:
            return new_ref(none)
        var entry = walk[].waiting.pop(walk[].pop())
        var pair = tuple_new(2)
        tuple_set(pair, 0, entry.node)
        tuple_set(pair, 1, entry.grad)
        return pair
    except e:
        set_python_error(e)
        return 0


def waiting_nodes(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """waiting_nodes(walk) -> a list of the nodes that have a gradient and have not run."""
    var nodes = external_call["PyList_New", Int](Int(0))
    for entry in _walk_of(load[Int](args))[].waiting.values():
        _ = external_call["PyList_Append", Int32](nodes, entry.node)
    return nodes


# ---------------------------------------------------------------- walks towards some tensors


@always_inline
def _target(edge: Obj) -> Obj:
    """The node or the leaf at the end of an edge that is not None."""
    return seq_item(edge, 0) if is_tuple(edge) else edge


def find_ways(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """find_ways(roots, targets) -> a dict of the nodes that lead to one of the targets (nodes and leaves), each with
    its edges: None instead of those that lead to none."""
    var ways = external_call["PyDict_New", Int]()
    try:
        if not _find_ways(ways, load[Int](args), load[Int](args + 8)):
            decref(ways)
            return 0
    except e:
        decref(ways)
        set_python_error(e)
        return 0
    return ways


def _find_ways(ways: Obj, roots: Obj, targets: Obj) raises -> Bool:
    var none = runtime()[].none
    var good = Dict[Int, Bool]()  # a target, or a node on the way to one; False: a node that is known to be neither
    for i in range(seq_len(targets)):
        good[seq_item(targets, i)] = True
    var seen = Dict[Int, Bool]()
    # a node is visited twice: pushed with a 1 it waits for what it leads to (addresses are even)
    var stack = List[Int]()
    for i in range(seq_len(roots)):
        var edge = seq_item(roots, i)
        if edge != none and not is_tensor(_target(edge)):
            stack.append(_target(edge))
    while len(stack) > 0:
        var top = stack.pop()
        var node = top & -2
        var edges = NodePtr(unsafe_from_address=node)[].edges
        var n = seq_len(edges)
        if top == node:
            if node in seen:
                continue
            seen[node] = True
            stack.append(node | 1)
            for i in range(n):
                var edge = seq_item(edges, i)
                if edge == none:
                    continue
                var target = _target(edge)
                if not is_tensor(target) and target not in seen:
                    stack.append(target)
            continue
        var leading = 0
        for i in range(n):
            var edge = seq_item(edges, i)
            if edge == none or _target(edge) in good:
                leading += 1
        var kept = new_ref(edges)
        var some = False
        if leading < n:
            decref(kept)
            kept = tuple_new(n)
        for i in range(n):
            var edge = seq_item(edges, i)
            var leads = edge != none and _target(edge) in good
            some = some or leads
            if leading < n:
                tuple_set(kept, i, new_ref(edge if leads else none))
        if some:
            good[node] = True
            if external_call["PyDict_SetItem", Int32](ways, node, kept) != 0:
                decref(kept)
                return False
        decref(kept)
    return True
