"""In-place operations and views: who may be written to, and how the graph changes when it is."""

from __future__ import annotations

from typing import Any

from dumbtorch.autograd import graph
from dumbtorch.autograd.graph import Node, edge_of, extra_of, start

# bits of Tensor._flags
NO_GRAD_VIEW_FLAG, CONJUGATE_FLAG, NEGATIVE_FLAG = 8, 16, 32
NO_GRAD_VIEW = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case "
    "is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace "
    "either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want "
    "the inplace to be tracked)."
)


def raw_clone(tensor: Any) -> Any:
    """A copy outside of the graph."""
    return tensor._alias().clone()


def check_inplace(tensor: Any) -> bool:
    """Whether a write to this tensor is recorded; raises where PyTorch forbids it."""
    base = tensor._base
    if base is None:
        if tensor.requires_grad and tensor.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    else:
        if tensor._flags & NO_GRAD_VIEW_FLAG:
            raise RuntimeError(NO_GRAD_VIEW)
        node = tensor.grad_fn
        if node is not None and node.several:
            raise RuntimeError(
                f"Output {tensor.output_nr} of {node.name()} is a view and is being modified inplace. This view is the "
                "output of a function that returns multiple views. Such functions do not allow the output views to be "
                "modified inplace. You should replace the inplace operation by an out-of-place one."
            )
        if base.requires_grad and base.is_leaf:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    kind = tensor.dtype
    return bool(kind.is_floating_point or kind.is_complex)


class Window:
    """Which elements of its base a view shows, and how: parts of complex numbers, conjugates, negatives."""

    __slots__ = ("by_parts", "complex", "conjugate", "negative", "part", "whole")

    def __init__(self, base: Any, view: Any) -> None:
        self.complex = base.dtype.is_complex, view.dtype.is_complex
        self.by_parts = self.complex[0] != self.complex[1]
        self.whole, self.part = self._geometry(base), self._geometry(view)
        pending = base._flags ^ view._flags
        self.conjugate = all(self.complex) and pending & CONJUGATE_FLAG
        self.negative = pending & NEGATIVE_FLAG
        if self.by_parts and (base._flags | view._flags) & CONJUGATE_FLAG:
            self.negative = view._flags & NEGATIVE_FLAG  # as an imaginary part has it

    def _geometry(self, tensor: Any) -> tuple[Any, Any, int]:
        """Shape, strides and offset, in real numbers where one of the two is complex."""
        if self.by_parts and tensor.dtype.is_complex:
            return (*tensor.shape, 2), (*(2 * s for s in tensor._strides), 1), 2 * tensor._offset
        return tensor.shape, tensor._strides, tensor._offset

    def _numbers(self, t: Any, which: int) -> Any:
        return graph.parts_of(t) if self.by_parts and self.complex[which] else t

    def _whole_numbers(self, t: Any, which: int) -> Any:
        return graph.complex_of(t) if self.by_parts and self.complex[which] else t

    def _worked(self, t: Any) -> Any:
        if self.conjugate:
            t = t.conj()
        return -t if self.negative else t

    def read(self, whole: Any) -> Any:
        """What the view shows of a tensor laid out as the base."""
        part = strided_gather(self._numbers(whole, 0), self.whole, self.part)
        return self._worked(self._whole_numbers(part, 1))

    def lay(self, part: Any) -> Any:
        """Zeros laid out as the base, with what the view shows added in."""
        whole = strided_scatter(self._numbers(self._worked(part), 1), self.whole, self.part)
        return self._whole_numbers(whole, 0)

    def put(self, whole: Any, part: Any) -> Any:
        """A copy of a tensor laid out as the base, with what the view shows overwritten."""
        made = strided_put(self._numbers(whole, 0), self._numbers(self._worked(part), 1), self.whole, self.part)
        return self._whole_numbers(made, 0)


def rebase(tensor: Any, node: Node) -> None:
    """Puts a tensor that was just written to behind the node of that write."""
    base = tensor._base
    if base is None:
        move_retained(tensor, node)
        tensor._attach(node, 0)
        return
    copy = CopySlices()
    copy.inner = node
    copy.window = Window(base, tensor)
    start(copy, (edge_of(base), *node.edges[1:]))
    move_retained(base, copy)
    base._attach(copy, 0)
    regenerate(tensor)


def move_retained(tensor: Any, node: Node) -> None:
    """``retain_grad`` follows the tensor, not the node that made its earlier value."""
    old = tensor.grad_fn
    if old is not None and old.extra is not None:
        number = tensor.output_nr
        kept = old.extra.retain.get(number)
        if kept is not None and kept() is tensor:
            del old.extra.retain[number]
            extra_of(node).retain[0] = kept


def regenerate(view: Any) -> Any:
    """A view's place in the graph after its base was written to: the base's new history, seen through the view.

    Called by the extension when ``grad_fn`` of a view is asked for and its version is behind the storage's.
    """
    base = view._base
    if not base.requires_grad:
        return None
    node = AsStridedBackward0()
    node.window = Window(base, view)
    start(node, (edge_of(base),))
    view._attach(node, 0)
    return node


class AsStridedBackward0(Node):
    """A view of its base, by geometry: the gradient is laid into zeros of the base's shape."""

    __slots__ = ("window",)
    window: Window

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """The gradient of the base."""
        return (self.window.lay(grad),)


class CopySlices(Node):
    """A write through a view: the base's gradient with the written part replaced by that write's own gradient."""

    __slots__ = ("inner", "window")
    inner: Node
    window: Window
    keeps = True

    def release(self) -> None:
        """Frees what the write kept."""
        self.inner.release()

    def apply(self, grad: Any, edges: tuple[Any, ...], create: bool) -> Any:
        """The gradients of the base before the write, and of the write's other inputs."""
        inner = self.inner
        wanted = (None if edges[0] is None else inner.edges[0], *edges[1:])
        written = self.window.read(grad)
        grads = inner.apply([written] if inner.several else written, wanted, create)
        rest = None
        if edges[0] is not None:
            first = grads[0]
            rest = self.window.put(grad, written.new_zeros(written.shape) if first is None else first)
        return (rest, *grads[1:])


# Set by the op table: this module only knows that such operations exist. A geometry is (shape, strides, offset).
strided_gather: Any = None  # (whole tensor, whole, part) -> the part
strided_scatter: Any = None  # (part, whole, part) -> zeros with the part added in
strided_put: Any = None  # (whole tensor, part, whole, part) -> a copy with the part overwritten
