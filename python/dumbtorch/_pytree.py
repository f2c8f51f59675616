"""Nested containers as a list of leaves and a description of the nesting.

Lists, tuples, dictionaries, named tuples, ``OrderedDict``, ``defaultdict``, ``deque`` and what `register_pytree_node`
adds; anything else is a leaf. None is a leaf too. Reference: ``torch.utils._pytree``.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "LeafSpec", "PyTree", "TreeSpec", "register_pytree_node", "tree_all", "tree_all_only", "tree_any", "tree_any_only",
    "tree_flatten", "tree_iter", "tree_leaves", "tree_map", "tree_map_", "tree_map_only", "tree_map_only_",
    "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any
_T = TypeVar("_T")


class _Kind(NamedTuple):
    flatten: Callable[[Any], tuple[list[Any], Any]]
    unflatten: Callable[[Iterable[Any], Any], Any]


_KINDS: dict[Any, _Kind] = {
    list: _Kind(lambda t: (t, None), lambda leaves, _: list(leaves)),
    tuple: _Kind(lambda t: (list(t), None), lambda leaves, _: tuple(leaves)),
    dict: _Kind(lambda t: (list(t.values()), list(t)), lambda leaves, keys: dict(zip(keys, leaves, strict=True))),
    OrderedDict: _Kind(
        lambda t: (list(t.values()), list(t)), lambda leaves, keys: OrderedDict(zip(keys, leaves, strict=True))
    ),
    defaultdict: _Kind(
        lambda t: (list(t.values()), [t.default_factory, list(t)]),
        lambda leaves, context: defaultdict(context[0], zip(context[1], leaves, strict=True)),
    ),
    deque: _Kind(lambda t: (list(t), t.maxlen), lambda leaves, length: deque(leaves, maxlen=length)),
}
_NAMED = _Kind(lambda t: (list(t), type(t)), lambda leaves, cls: cls(*leaves))
_STRUCT = _Kind(lambda t: (list(t), type(t)), lambda leaves, cls: cls(list(leaves)))


def register_pytree_node(
    cls: type[Any],
    flatten_fn: Callable[[Any], tuple[list[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    **kwargs: Any,
) -> None:
    """Makes a class a container: ``flatten_fn(x) -> (children, context)``, ``unflatten_fn(children, context) -> x``.

    Raises ValueError for a class that is one already. Other keywords of PyTorch's (names for serialization) are taken
    and not used.
    """
    if cls in _KINDS:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _KINDS[cls] = _Kind(flatten_fn, unflatten_fn)


def _kind_of(tree: Any) -> tuple[Any, _Kind | None]:
    cls = type(tree)
    kind = _KINDS.get(cls)
    if kind is None and isinstance(tree, tuple):
        if hasattr(cls, "_fields"):
            return "namedtuple", _NAMED
        if hasattr(cls, "n_sequence_fields"):
            return cls, _STRUCT
    return cls, kind


class TreeSpec:
    """How a tree nests: the type of its root, what that needs to be made again, and the same for each child."""

    __slots__ = ("_children", "_context", "_type", "num_leaves")

    def __init__(self, type: Any, context: Any, children: Sequence[TreeSpec]) -> None:
        self._type, self._context, self._children = type, context, list(children)
        self.num_leaves: int = 1 if type is None else sum(child.num_leaves for child in children)

    type = property(lambda self: self._type)
    context = property(lambda self: self._context)
    num_children = property(lambda self: len(self._children))

    def children(self) -> list[TreeSpec]:
        """The descriptions of the children."""
        return list(self._children)

    def is_leaf(self) -> bool:
        """Whether the tree is a single leaf."""
        return self._type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves."""
        return tree_unflatten(leaves, self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and (self._type, self._context, self._children) == (
            other._type,
            other._context,
            other._children,
        )

    def __hash__(self) -> int:
        return hash((self._type, self.num_leaves))

    def __repr__(self) -> str:
        if self._type is None:
            return "*"
        name = self._type if isinstance(self._type, str) else self._type.__name__
        return f"TreeSpec({name}, {self._context}, [{', '.join(map(repr, self._children))}])"


def LeafSpec() -> TreeSpec:
    """The description of a single leaf."""
    return _LEAF


_LEAF = TreeSpec(None, None, ())


def _flatten(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool] | None) -> TreeSpec:
    name, kind = (None, None) if is_leaf is not None and is_leaf(tree) else _kind_of(tree)
    if kind is None:
        leaves.append(tree)
        return _LEAF
    children, context = kind.flatten(tree)
    return TreeSpec(name, context, [_flatten(child, leaves, is_leaf) for child in children])


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree in order, and its description."""
    leaves: list[Any] = []
    spec = _flatten(tree, leaves, is_leaf)
    return leaves, spec


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a description with the given leaves. Raises ValueError when their number differs."""
    values = list(leaves)
    if len(values) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(values)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items ({treespec})."
        )
    return _unflatten(iter(values), treespec)


def _unflatten(leaves: Any, spec: TreeSpec) -> Any:
    if spec._type is None:
        return next(leaves)
    children = [_unflatten(leaves, child) for child in spec._children]
    kind = _NAMED if spec._type == "namedtuple" else _KINDS.get(spec._type, _STRUCT)
    return kind.unflatten(children, spec._context)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterable[Any]:
    """An iterator over the leaves."""
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The description of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """A tree of what ``func`` makes of each leaf (and of the leaves of ``rests`` in the same places).

    >>> tree_map(lambda x: x + 1, {"a": [1, 2], "b": 3})
    {'a': [2, 3], 'b': 4}
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(flatten_up_to(spec, rest) for rest in rests)]
    return tree_unflatten([func(*row) for row in zip(*columns, strict=True)], spec)


def flatten_up_to(spec: TreeSpec, tree: Any) -> list[Any]:
    """What stands in a tree where a description has its leaves. Raises ValueError where the nesting differs."""
    if spec._type is None:
        return [tree]
    name, kind = _kind_of(tree)
    if kind is None or name != spec._type:
        raise ValueError(f"Type mismatch; expected {spec._type!r}, but got {type(tree)!r}.")
    children, context = kind.flatten(tree)
    if len(children) != len(spec._children):
        raise ValueError(
            f"Node arity mismatch; expected {len(spec._children)}, but got {len(children)}: {spec} and {tree!r}"
        )
    if isinstance(tree, dict):
        keys = spec._context[1] if isinstance(tree, defaultdict) else spec._context
        if set(keys) != set(tree):
            raise ValueError(f"Node keys mismatch; expected {keys}, but got {list(tree)}.")
        children = [tree[key] for key in keys]
    elif name == "namedtuple" and context != spec._context:
        raise ValueError(f"Node context mismatch; expected {spec._context}, but got {context}.")
    return [leaf for child, part in zip(spec._children, children, strict=True) for leaf in flatten_up_to(child, part)]


def tree_map_(func: Callable[..., Any], tree: _T, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> _T:
    """Calls ``func`` on each leaf and returns the tree as it came."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _tester(kind: Any) -> Callable[[Any], bool]:
    return kind if callable(kind) and not isinstance(kind, type) else lambda leaf: isinstance(leaf, kind)


def tree_map_only(kind: Any, func: Any, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree_map`` on the leaves of a type, of one of several types, or that a predicate chooses."""
    chosen = _tester(kind)
    return tree_map(lambda leaf: func(leaf) if chosen(leaf) else leaf, tree, is_leaf=is_leaf)


def tree_map_only_(kind: Any, func: Any, tree: _T, is_leaf: Callable[[Any], bool] | None = None) -> _T:
    """``tree_map_`` on the leaves that `tree_map_only` would take."""
    tree_map_only(kind, func, tree, is_leaf)
    return tree


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether a predicate holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether a predicate holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(kind: Any, pred: Any, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """`tree_all` over the leaves of a type."""
    return all(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, kind))


def tree_any_only(kind: Any, pred: Any, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """`tree_any` over the leaves of a type."""
    return any(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, kind))


def broadcast_prefix(prefix: Any, spec: TreeSpec) -> list[Any] | None:
    """One value for each leaf of a description, from a tree that ends where the described one goes on, or None."""
    name, kind = _kind_of(prefix)
    if kind is None:
        return [prefix] * spec.num_leaves
    if spec._type is None or name != spec._type:
        return None
    children, context = kind.flatten(prefix)
    if len(children) != len(spec._children) or context != spec._context:
        return None
    result: list[Any] = []
    for child, part in zip(spec._children, children, strict=True):
        leaves = broadcast_prefix(part, child)
        if leaves is None:
            return None
        result += leaves
    return result


_broadcast_to_and_flatten = broadcast_prefix
