"""Where samples come from: map-style and iterable-style datasets and ways to combine them."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.random import Generator, default_generator

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Samples(Protocol[T_co]):
    """Whatever gives a sample for a key: a `Dataset`, but also a list or a tensor."""

    def __getitem__(self, index: Any, /) -> T_co: ...


class Dataset(Generic[T_co]):
    """A map from keys (usually 0 .. len-1) to samples.

    Subclasses define ``__getitem__(index)`` and, for the default samplers, ``__len__()``. They may define
    ``__getitems__(indices) -> list`` to fetch a whole batch of samples in one call.
    Reference: ``torch.utils.data.Dataset``.

    Example::

        class Squares(Dataset):
            def __getitem__(self, i): return i * i
            def __len__(self): return 100
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """A stream of samples: subclasses define ``__iter__()``.

    With worker processes every worker iterates over its own copy; use :func:`get_worker_info` to give each its share.
    Reference: ``torch.utils.data.IterableDataset``.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[T_co]) -> ChainDataset[T_co]:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample ``i`` is ``(t[i] for t in tensors)``.

    tensors: one or more tensors of any dtype with the same length of dimension 0; AssertionError otherwise.
    A :class:`DataLoader` with the default collation takes a whole batch with one ``index_select`` per tensor.
    Reference: ``torch.utils.data.TensorDataset``.

    Example::

        TensorDataset(torch.rand(10, 3), torch.arange(10))[4]   # (tensor of shape (3,), tensor(4))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        if any(tensor.size(0) != tensors[0].size(0) for tensor in tensors):
            sizes = [tuple(tensor.shape) for tensor in tensors]
            raise AssertionError(f"Size mismatch between tensors: dimension 0 must be the same, got shapes {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].size(0))


class StackDataset(Dataset[Any]):
    """Sample ``i`` is the tuple (positional arguments) or dictionary (named ones) of the datasets' samples ``i``.

    ValueError unless all have one length, for both kinds at once and for none.
    Reference: ``torch.utils.data.StackDataset``.

    >>> StackDataset(image=[10, 20], text=["a", "b"])[1]
    {'image': 20, 'text': 'b'}
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or"
                "``dict``- (via ``kwargs``) like input/output, but both types are given."
            )
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: they have {lengths} samples")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        if isinstance(self.datasets, dict):
            columns = [_fetch_all(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, row, strict=True)) for row in zip(*columns, strict=True)]
        return list(zip(*(_fetch_all(dataset, indices) for dataset in self.datasets), strict=True))

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """Several map-style datasets one after the other.

    datasets: at least one, none of them iterable-style; AssertionError otherwise. Negative indices count from the end;
    ValueError when they reach before the start. Reference: ``torch.utils.data.ConcatDataset``.
    """

    datasets: list[Samples[T_co]]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Samples[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """Where each of the datasets ends."""
        return list(itertools.accumulate(map(_length, sequence)))

    @property
    def cummulative_sizes(self) -> list[int]:
        """``cumulative_sizes`` under the name that it once had."""
        warnings.warn("`cummulative_sizes` attribute is renamed to `cumulative_sizes`", FutureWarning, stacklevel=2)
        return self.cumulative_sizes

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        if which == len(self.datasets):
            raise IndexError(f"index {index} is out of range for a ConcatDataset of length {len(self)}")
        start = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - start]


class ChainDataset(IterableDataset[T_co]):
    """Several iterable-style datasets one after the other. Reference: ``torch.utils.data.ChainDataset``."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        super().__init__()
        self.datasets = datasets

    def __iter__(self) -> Iterator[T_co]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield from dataset

    def __len__(self) -> int:
        total = 0
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            total += _length(dataset)
        return total


class Subset(Dataset[T_co]):
    """The samples of ``dataset`` at ``indices``, in that order. Reference: ``torch.utils.data.Subset``."""

    dataset: Samples[T_co]
    indices: Sequence[int]

    def __init__(self, dataset: Samples[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        own = type(self)
        if own.__getitem__ is not Subset.__getitem__ and own.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{own.__name__} overrides __getitem__ but not __getitems__, which the DataLoader calls: define both, "
                "the second for example as `return [self.__getitem__(idx) for idx in indices]`"
            )

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        return cast("list[T_co]", _fetch_all(self.dataset, [self.indices[i] for i in indices]))

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Samples[T],
    lengths: Sequence[int | float],
    generator: Generator | None = default_generator,
) -> list[Subset[T]]:
    """Split a dataset at random into disjoint subsets.

    lengths: counts that sum to ``len(dataset)``, or fractions in [0, 1] that sum to at most 1 with the remainder dealt
    out one each to the first subsets (ValueError otherwise; a warning where a subset comes out empty). generator: the
    source of the permutation. Reference: ``torch.utils.data.random_split``.

    Example::

        train, valid = random_split(data, [0.9, 0.1], generator=torch.Generator().manual_seed(0))
    """
    total = _length(dataset)
    counts = list(lengths)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        counts = _counts_from_fractions(lengths, total)
    if sum(counts) != total:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset: {sum(counts)} and {total}"
        )
    order: list[int] = ops.randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(int(count) for count in counts)
    return [Subset(dataset, order[end - int(count) : end]) for count, end in zip(counts, ends, strict=True)]


def _counts_from_fractions(fractions: Sequence[float], total: int) -> list[int | float]:
    for i, fraction in enumerate(fractions):
        if fraction < 0 or fraction > 1:
            raise ValueError(f"Fraction at index {i} is not between 0 and 1")
    counts: list[int | float] = [math.floor(total * fraction) for fraction in fractions]
    for i in range(int(total - sum(counts))):
        counts[i % len(counts)] += 1
    for i, count in enumerate(counts):
        if count == 0:
            warnings.warn(f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=3)
    return counts


def _fetch_all(dataset: Any, indices: list[Any]) -> list[Any]:
    """The samples of all indices, by the dataset's own ``__getitems__`` where it has one."""
    batched = getattr(dataset, "__getitems__", None)
    if not callable(batched):
        return [dataset[i] for i in indices]
    samples: list[Any] = batched(indices)
    if len(samples) != len(indices):
        raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(samples)}")
    return samples


def _length(dataset: Samples[Any]) -> int:
    return len(dataset)  # type: ignore[arg-type]
