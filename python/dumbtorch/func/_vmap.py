"""``vmap``: a function of single samples made a function of batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dumbtorch._pytree import TreeSpec, broadcast_prefix, tree_flatten, tree_unflatten
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func import (  # noqa: F401
    _rules,
    _rules_folded,
    _rules_index,
    _rules_losses,
    _rules_products,
    _rules_random,
    _rules_recurrent,
)
from dumbtorch.func._batching import Batching
from dumbtorch.func._wrappers import batched, lift
from dumbtorch.ops.table import FUNCTIONS

in_dims_t = int | tuple[Any, ...]
out_dims_t = int | tuple[int, ...]


def _name(func: Any) -> str:
    return getattr(func, "__name__", None) or repr(func)


def _places(func: Any, in_dims: Any, args: tuple[Any, ...]) -> tuple[int, list[Any], list[Any], TreeSpec]:
    """The size of the batch, where each leaf of the arguments has it, the leaves, and how the arguments nest."""
    name = _name(func)
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    leaves, spec = tree_flatten(args)
    dims = broadcast_prefix(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of "
            f"`inputs`. in_dims has structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    sizes = set()
    for n, (leaf, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for an input but in_dim must be "
                "either an integer dimension or None."
            )
        if not isinstance(leaf, TensorBase):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for an input but the input is of "
                f"type {type(leaf)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for some input, but that input is a "
                f"Tensor of dimensionality {leaf.ndim} so expected in_dim to satisfy -{leaf.ndim} <= in_dim < "
                f"{leaf.ndim}."
            )
        dims[n] = dim % leaf.ndim
        sizes.add(leaf.shape[dims[n]])
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over" if all(d is None for d in dims) else "")
    if len(sizes) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{[x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None]} for the mapped dimension"
        )
    return sizes.pop(), dims, leaves, spec


def _check_outputs(name: str, results: list[Any], out_dims: Any, spec: TreeSpec) -> list[Any]:
    for result in results:
        if not isinstance(result, TensorBase):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(result)}. Did you mean to set "
                "out_dims= to None for output?"
            )
    dims = broadcast_prefix(out_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims}): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    for dim in dims:
        if not isinstance(dim, int) and dim is not None:
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of "
                "them representing where in the outputs the vmapped dimension should appear."
            )
    return dims


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int |
    None = None ) -> Callable[..., Any]:  # fmt: skip
    """``func`` of single samples, as a function of batches of them.

    ``in_dims`` says which dimension of each argument (or of each leaf of nested arguments) is the batch, None for one
    that all samples share; ``out_dims`` where the results have it. Random numbers inside raise RuntimeError unless
    ``randomness`` is "different" (for each sample) or "same". ``chunk_size`` computes so many samples at a time.
    Keyword arguments are shared by all samples. Data-dependent control flow, ``.item()`` and results whose
    shape depends on values raise RuntimeError. A UserWarning names an op that is computed sample by sample.
    Reference: ``torch.vmap``.

    >>> import dumbtorch as torch
    >>> torch.vmap(torch.dot)(torch.ones(3, 4), torch.ones(3, 4))
    tensor([4., 4., 4.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        size, dims, leaves, spec = _places(func, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            return _run(func, size, dims, leaves, spec, out_dims, randomness, kwargs)
        parts = []
        for start in range(0, size, chunk_size):
            count = min(chunk_size, size - start)
            some = [x if d is None else x.narrow(d, start, count) for x, d in zip(leaves, dims, strict=True)]
            parts.append(_run(func, count, dims, some, spec, out_dims, randomness, kwargs))
        return _joined(parts, out_dims)

    return mapped


def _joined(parts: list[Any], out_dims: Any) -> Any:
    flat = [tree_flatten(part) for part in parts]
    spec = flat[0][1]
    dims = broadcast_prefix(out_dims, spec) or []
    columns = zip(*(leaves for leaves, _ in flat), strict=True)
    joined = [
        column[0] if d is None else FUNCTIONS["cat"](list(column), d) for column, d in zip(columns, dims, strict=True)
    ]
    return tree_unflatten(joined, spec)


def _run(
    func: Any, size: int, dims: list[Any], leaves: list[Any], spec: TreeSpec, out_dims: Any, randomness: str,
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    with Batching(size, randomness) as level:
        given = [
            x if d is None else batched(level, x.movedim(d, 0) if d else x) for x, d in zip(leaves, dims, strict=True)
        ]
        out = func(*tree_unflatten(given, spec), **kwargs)
        results, out_spec = tree_flatten(out)
        places = _check_outputs(_name(func), results, out_dims, out_spec)
        made = [_taken(level, r, d) for r, d in zip(results, places, strict=True)]
    return tree_unflatten(made, out_spec)


def _taken(level: Batching, result: Any, dim: int | None) -> Any:
    """A result outside of the level, with its batch where it is wanted."""
    if dim is None:
        if result._level is level:
            raise ValueError(
                "vmap: a result that depends on the batch cannot have out_dims=None: give the dimension of its batch"
            )
        return result
    whole = lift(result, level)
    ndim = whole.ndim
    if not -ndim <= dim < ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})")
    return whole.movedim(0, dim) if dim % ndim else whole
