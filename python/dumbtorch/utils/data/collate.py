"""From a list of samples to one batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import float64
from dumbtorch._tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack a list of samples into a batch, keeping the structure of the samples.

    Tensors are stacked in a new first dimension (RuntimeError where shapes differ); NumPy arrays and scalars become
    tensors of their dtype, floats float64, ints int64, bools bool; str and bytes stay lists; mappings, sequences, named
    tuples are collated field by field (RuntimeError where sequence lengths differ; plain tuples come back as lists).
    TypeError for anything else. Reference: ``torch.utils.data.default_collate``.

    Example::

        default_collate([(1, "a"), (2, "b")])   # [tensor([1, 2]), ("a", "b")]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return ops.stack(list(batch), 0)
    if _is_numpy(first):
        return _collate_numpy(batch)
    if isinstance(first, float):
        return ops.tensor(batch, dtype=float64)
    if isinstance(first, int):
        return ops.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _rebuild_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        _check_lengths(batch)
        return type(first)(*(default_collate(field) for field in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        _check_lengths(batch)
        fields = [default_collate(field) for field in zip(*batch, strict=True)]
        return fields if isinstance(first, tuple) else _rebuild_sequence(first, fields)
    raise _unknown("default_collate", first)


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


def _collate_numpy(batch: Sequence[Any]) -> Any:
    first = batch[0]
    if isinstance(first, (str, bytes)):  # numpy.str_ and numpy.bytes_
        return batch
    if _numpy_without_dtype(first):
        raise _unknown("default_collate", first.dtype)
    if first.shape == ():
        return ops.as_tensor(sys.modules["numpy"].asarray(batch, dtype=first.dtype))
    return ops.stack([ops.as_tensor(sample) for sample in batch], 0)


def _unknown(function: str, found: object) -> TypeError:
    what = found if not isinstance(found, type) and hasattr(found, "kind") else type(found)
    return TypeError(f"{function}: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {what}")
