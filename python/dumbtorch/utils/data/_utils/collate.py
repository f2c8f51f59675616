"""From a list of samples to one batch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import float64
from dumbtorch._tensor import Tensor

CollateMap = dict[Any, Callable[..., Any]]  # the keys are types and tuples of types


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack a list of samples into a batch, keeping the structure of the samples.

    Tensors are stacked in a new first dimension (RuntimeError where shapes differ); NumPy arrays and scalars become
    tensors of their dtype, floats float64, ints int64, bools bool; str and bytes stay lists; mappings, sequences, named
    tuples are collated field by field (RuntimeError where sequence lengths differ; plain tuples come back as lists).
    TypeError for anything else that has no entry in ``default_collate_fn_map``.
    Reference: ``torch.utils.data.default_collate``.

    Example::

        default_collate([(1, "a"), (2, "b")])   # [tensor([1, 2]), ("a", "b")]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Collate by a map from types to functions ``f(batch, *, collate_fn_map)``; structures are collated by field.

    The type itself is looked up first, then, in their order, the types that the first sample is an instance of.
    Reference: ``torch.utils.data._utils.collate.collate``.

    Example::

        collate(batch, collate_fn_map={**default_collate_fn_map, Graph: collate_graphs})
    """
    first = batch[0]
    if collate_fn_map is not None:
        function = collate_fn_map.get(type(first))
        if function is None:
            function = next((f for kind, f in collate_fn_map.items() if isinstance(first, kind)), None)
        if function is None and Tensor in collate_fn_map and _is_numpy(first):
            function = collate_numpy_array_fn if first.shape else collate_numpy_scalar_fn
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    fields = functools.partial(collate, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return _rebuild_mapping(first, {key: fields([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        _check_lengths(batch)
        return type(first)(*map(fields, zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        _check_lengths(batch)
        columns = [fields(column) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuild_sequence(first, columns)
    raise _unknown(type(first))


def collate_tensor_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Tensors, stacked."""
    return ops.stack(list(batch), 0)


def collate_numpy_array_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """NumPy arrays as tensors, stacked. TypeError for strings and objects."""
    if _numpy_without_dtype(batch[0]):
        raise _unknown(batch[0].dtype)
    return collate([ops.as_tensor(sample) for sample in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """NumPy scalars as one tensor. TypeError for strings and objects."""
    if _numpy_without_dtype(batch[0]):
        raise _unknown(batch[0].dtype)
    return ops.as_tensor(sys.modules["numpy"].asarray(batch, dtype=batch[0].dtype))


def collate_float_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Floats as float64."""
    return ops.tensor(batch, dtype=float64)


def collate_int_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Ints as int64, bools as bool."""
    return ops.tensor(batch)


def collate_str_fn(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Strings, as they are."""
    return batch


#: How `default_collate` collates which type; NumPy's types have no entries, so that
#: nothing imports NumPy: in a map with an entry for tensors they are collated by the functions above.
default_collate_fn_map: CollateMap = {
    Tensor: collate_tensor_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_convert(data: Any) -> Any:
    """NumPy arrays inside ``data`` become tensors; everything else stays. The default without batching.

    Reference: ``torch.utils.data.default_convert``.
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if _is_numpy(data):
        return data if _numpy_without_dtype(data) else ops.as_tensor(data)
    return map_structure(default_convert, data)


def map_structure(function: Callable[[Any], Any], data: Any) -> Any:
    """Apply ``function`` to each element of a mapping or sequence, keeping its type; other data comes back as it is."""
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: function(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(function(value) for value in data))
    if isinstance(data, tuple):
        return [function(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuild_sequence(data, [function(value) for value in data])
    return data


def _rebuild_mapping(like: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    # A copy keeps what a subclass carries besides its items (the default factory of a defaultdict, attributes).
    try:
        if isinstance(like, MutableMapping):
            clone = copy(like)
            clone.update(items)
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:  # a constructor or update with another signature
        return items


def _rebuild_sequence(like: Sequence[Any], values: list[Any]) -> Any:
    if isinstance(like, range):
        return values
    try:
        if isinstance(like, MutableSequence):
            clone = copy(like)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _check_lengths(batch: Sequence[Any]) -> None:
    length = len(batch[0])
    if any(len(sample) != length for sample in batch):
        raise RuntimeError(
            "each element in list of batch should be of equal size, "
            f"got lengths {sorted({len(sample) for sample in batch})}"
        )


def _is_numpy(value: object) -> bool:
    # A value can only be NumPy's if NumPy is already imported: importing it here would slow down everybody else.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def _numpy_without_dtype(value: Any) -> bool:
    return value.dtype.kind in "SUOMmV"


def _unknown(found: object) -> TypeError:
    return TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"
    )
