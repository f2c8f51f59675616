"""From indices to one batch; the same code in the calling process and in workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import int64
from dumbtorch._tensor import Tensor

from ._utils.collate import collate_tensor_fn, default_collate, default_collate_fn_map
from .dataset import IterableDataset, Samples, Subset, TensorDataset

Fetcher = Callable[[Any], Any]
Collate = Callable[[Any], Any]


def make_fetcher(dataset: Samples[Any], auto_collation: bool, collate: Collate, drop_last: bool) -> Fetcher:
    """A function from what the sampler yields (an index, or a list of them under auto_collation) to a batch.

    For an :class:`IterableDataset` it raises StopIteration once the stream is used up.
    """
    if isinstance(dataset, IterableDataset):
        return _IterableFetcher(dataset, auto_collation, collate, drop_last)
    if not auto_collation:
        return lambda index: collate(dataset[index])
    stacks = collate is default_collate and default_collate_fn_map.get(Tensor) is collate_tensor_fn
    if stacks and _is_plain_tensor_dataset(dataset):
        return lambda indices: _select(dataset, indices)
    return lambda indices: collate(_samples(dataset, indices))


def _samples(dataset: Samples[Any], indices: Sequence[Any]) -> Sequence[Any]:
    batched = getattr(dataset, "__getitems__", None)
    if batched:
        samples: Sequence[Any] = batched(indices)
        return samples
    return [dataset[i] for i in indices]


def _is_plain_tensor_dataset(dataset: Samples[Any]) -> bool:
    # Only where selecting rows is what __getitem__ and __getitems__ would have done: no subclass that changes them.
    if isinstance(dataset, Subset):
        plain = type(dataset).__getitem__ is Subset.__getitem__ and type(dataset).__getitems__ is Subset.__getitems__
        return plain and _is_plain_tensor_dataset(dataset.dataset)
    return (
        isinstance(dataset, TensorDataset)
        and type(dataset).__getitem__ is TensorDataset.__getitem__
        and not hasattr(dataset, "__getitems__")
        and len(dataset.tensors) > 0
    )


def _select(dataset: Samples[Any], indices: Sequence[int]) -> Any:
    while isinstance(dataset, Subset):
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    assert isinstance(dataset, TensorDataset)
    if not indices or not all(isinstance(i, int) for i in indices):
        return default_collate([dataset[i] for i in indices])
    if min(indices) < 0:
        length = len(dataset)
        if min(indices) < -length:
            raise IndexError(f"index {min(indices)} is out of bounds for dimension 0 with size {length}")
        indices = [i + length if i < 0 else i for i in indices]
    rows: dict[Any, Any] = {}  # one index tensor a device
    for tensor in dataset.tensors:
        if tensor.device not in rows:
            rows[tensor.device] = ops.tensor(indices, dtype=int64, device=tensor.device)
    return [ops.index_select(tensor, 0, rows[tensor.device]) for tensor in dataset.tensors]


class _IterableFetcher:
    def __init__(self, dataset: IterableDataset[Any], auto_collation: bool, collate: Collate, drop_last: bool) -> None:
        self._stream = iter(dataset)
        self._auto_collation = auto_collation
        self._collate = collate
        self._drop_last = drop_last
        self._ended = False

    def __call__(self, indices: Any) -> Any:
        if self._ended:
            raise StopIteration
        if not self._auto_collation:
            return self._collate(next(self._stream))
        samples = []
        for _ in indices:
            try:
                samples.append(next(self._stream))
            except StopIteration:
                self._ended = True
                break
        if not samples or (self._drop_last and len(samples) < len(indices)):
            raise StopIteration
        return self._collate(samples)
