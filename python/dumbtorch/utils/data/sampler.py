"""In which order samples are visited."""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

from dumbtorch import ops
from dumbtorch._dtypes import float64, int64
from dumbtorch.random import Generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base class: ``__iter__`` yields indices (or lists of indices), ``__len__`` may say how many.

    Reference: ``torch.utils.data.Sampler``.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler[int]):
    """0, 1, ..., len(data_source) - 1. Reference: ``torch.utils.data.SequentialSampler``."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A random order, drawn anew for each pass.

    replacement: draw with replacement (default False). num_samples: how many to draw (default ``len(data_source)``;
    more than that without replacement runs through several permutations). generator: without one, a fresh generator is
    seeded from the default one at each pass. TypeError for a replacement that is no bool, ValueError for
    ``num_samples <= 0``. Reference: ``torch.utils.data.RandomSampler``.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices a pass draws."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = Generator()
            generator.manual_seed(draw_seed(None))
        if self.replacement:
            # Blocks: drawing all at once would hold num_samples integers for a loop that may stop early.
            for start in range(0, self.num_samples, _BLOCK):
                size = min(_BLOCK, self.num_samples - start)
                yield from ops.randint(0, count, (size,), generator=generator).tolist()
        else:
            for start in range(0, self.num_samples, count):
                order: list[int] = ops.randperm(count, generator=generator).tolist()
                yield from order[: self.num_samples - start]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in a random order. Reference: ``torch.utils.data.SubsetRandomSampler``."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in ops.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Index ``i`` with a probability proportional to ``weights[i]``.

    weights: a 1-d sequence of numbers >= 0, not all zero. num_samples: how many to draw. replacement: default True;
    without it, at most as many as there are weights, those of zero last. ValueError for malformed arguments at
    construction, RuntimeError for weights that are no distribution when drawing.
    Reference: ``torch.utils.data.WeightedRandomSampler``.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_positive_int("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = ops.as_tensor(weights, dtype=float64)
        if self.weights.dim() != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights: list[float] = self.weights.tolist()
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if sum(weights) <= 0:
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        draw = self._draw_with_replacement if self.replacement else self._draw_without_replacement
        yield from draw(weights)

    def _uniform(self, count: int) -> list[float]:
        values: list[float] = ops.rand(count, dtype=float64, generator=self.generator).tolist()
        return values

    def _draw_with_replacement(self, weights: list[float]) -> list[int]:
        # Inverse of the cumulative distribution; bisect_right steps over zero weights.
        upper = list(itertools.accumulate(weights))
        last = bisect.bisect_left(upper, upper[-1])
        return [min(bisect.bisect_right(upper, u * upper[-1]), last) for u in self._uniform(self.num_samples)]

    def _draw_without_replacement(self, weights: list[float]) -> list[int]:
        # Exponential race: the smallest Exp(1)/weight come out as successive draws without replacement would.
        if self.num_samples > len(weights):
            raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        arrival = [
            (-math.log1p(-u) / weight if weight > 0 else math.inf, i)
            for i, (u, weight) in enumerate(zip(self._uniform(len(weights)), weights, strict=True))
        ]
        return [i for _, i in heapq.nsmallest(self.num_samples, arrival)]

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Groups the indices of another sampler into lists of ``batch_size``.

    drop_last: leave out a last batch that is not full. ValueError for a batch size that is no positive int or a
    drop_last that is no bool. Reference: ``torch.utils.data.BatchSampler``.

    Example::

        list(BatchSampler(SequentialSampler(range(5)), 2, drop_last=False))   # [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_positive_int("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DistributedSampler(Sampler[int]):
    """The share of one process: every ``num_replicas``-th index, from ``rank`` on.

    num_replicas, rank: of the process group unless given (RuntimeError without one); ValueError for a rank outside.
    shuffle: in an order drawn from ``seed`` and the epoch, the same in every process; call :meth:`set_epoch` before
    each pass, else all have one order. drop_last: leave out what does not divide evenly; without it, indices from the
    start are repeated. Reference: ``torch.utils.data.distributed.DistributedSampler``.

    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = _process_group().get_world_size()
        if rank is None:
            rank = _process_group().get_rank()
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else -(-count // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        order: Sequence[int] = range(len(self.dataset))
        if self.shuffle:
            generator = Generator().manual_seed(self.seed + self.epoch)
            order = ops.randperm(len(self.dataset), generator=generator).tolist()
        return itertools.islice(itertools.cycle(order), self.rank, self.total_size, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass."""
        self.epoch = epoch


def _process_group() -> Any:
    # A group can only exist if somebody imported the package: it need not be imported here.
    distributed = sys.modules.get("dumbtorch.distributed")
    if distributed is None or not distributed.is_initialized():
        raise RuntimeError(
            "DistributedSampler: there is no process group to take num_replicas and rank from; give both, or call "
            "dumbtorch.distributed.init_process_group first"
        )
    return distributed


_BLOCK = 4096


def draw_seed(generator: Generator | None) -> int:
    """A non-negative 63-bit seed from ``generator`` (the default one when None)."""
    return int(ops.randint(0, 2**63 - 1, (), dtype=int64, generator=generator).item())


def _check_positive_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")
