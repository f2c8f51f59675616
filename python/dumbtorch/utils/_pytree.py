"""Nested containers. Reference: ``torch.utils._pytree``."""

from __future__ import annotations

from dumbtorch._pytree import (
    LeafSpec,
    PyTree,
    TreeSpec,
    _broadcast_to_and_flatten,
    register_pytree_node,
    tree_all,
    tree_all_only,
    tree_any,
    tree_any_only,
    tree_flatten,
    tree_iter,
    tree_leaves,
    tree_map,
    tree_map_,
    tree_map_only,
    tree_map_only_,
    tree_structure,
    tree_unflatten,
)

__all__ = [
    "LeafSpec", "PyTree", "TreeSpec", "_broadcast_to_and_flatten", "register_pytree_node", "tree_all", "tree_all_only",
    "tree_any", "tree_any_only", "tree_flatten", "tree_iter", "tree_leaves", "tree_map", "tree_map_", "tree_map_only",
    "tree_map_only_", "tree_structure", "tree_unflatten",
]  # fmt: skip
