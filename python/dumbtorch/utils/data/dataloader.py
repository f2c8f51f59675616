"""The :class:`DataLoader`: batches from a dataset, in order or shuffled, with or without worker processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from dumbtorch import cuda
from dumbtorch.random import Generator, default_generator

from ._delivery import Delivery, Position, generators_of, skip
from ._iterators import MultiProcessIterator, SingleProcessIterator
from ._utils.collate import default_collate, default_convert
from ._utils.pin_memory import pin_memory as to_pinned
from ._worker import WorkerSettings
from .dataset import IterableDataset, Samples
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches.

    dataset: map-style (anything with ``__getitem__`` and ``__len__``: a :class:`Dataset`, a list, a tensor) or an
    :class:`IterableDataset`. batch_size: samples a batch,
    default 1; None hands out single samples. shuffle: a new random order each pass, default False. sampler,
    batch_sampler: own order of indices or of lists of them. num_workers: processes that fetch batches, default 0 (this
    process). collate_fn: from a list of samples to a batch, default :func:`default_collate` (:func:`default_convert`
    without batching). pin_memory: batches in page-locked memory, made by a thread where there are workers; without a
    GPU a warning and no more. drop_last: leave out a last batch that is not full. timeout: seconds to wait for a batch
    of the workers, 0 for no limit (RuntimeError beyond). worker_init_fn: called with the worker id in each worker after
    seeding. multiprocessing_context: a start method or context. generator: source of the order and of the workers'
    seeds (worker ``i`` gets ``base_seed + i``; without a worker_init_fn each batch has a seed of its own, so that the
    number of workers changes nothing). prefetch_factor: batches under way a worker, default 2. persistent_workers: keep
    workers for the next pass. in_order: with workers, hand batches out in the order of the sampler, default True.

    ValueError for options that contradict each other. An exception in a worker is raised here with its traceback; a
    worker that dies is a RuntimeError with its pid and exit code. A :class:`TensorDataset` with the default collation
    is fetched by one ``index_select`` a tensor and batch. Reference: ``torch.utils.data.DataLoader``.

    Example::

        for x, y in DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True):
            loss = F.cross_entropy(model(x), y)
    """

    dataset: Samples[T_co]
    batch_size: int | None
    num_workers: int
    drop_last: bool
    sampler: Sampler[Any] | Iterable[Any]
    batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None
    prefetch_factor: int | None
    timeout: float

    __initialized = False

    def __init__(
        self,
        dataset: Samples[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | multiprocessing.context.BaseContext | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.generator = generator

        streaming = isinstance(dataset, IterableDataset)
        if streaming:
            _check_streaming_options(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")

        if sampler is None:
            if streaming:
                sampler = _EndlessSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self._promised: int | None = None  # batches of a stream, once somebody has asked
        self._iterator: MultiProcessIterator | None = None  # of persistent workers
        self._position: Position | None = None  # of the newest pass
        self._resume: dict[str, Any] | None = None  # what the next pass goes on from
        self.__initialized = True
        self._check_worker_count()

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> multiprocessing.context.BaseContext | None:
        """The context that makes the worker processes; None for the system's default."""
        return self.__context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: str | multiprocessing.context.BaseContext | None) -> None:
        if context is not None:
            if self.num_workers <= 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                valid = multiprocessing.get_all_start_methods()
                if context not in valid:
                    raise ValueError(
                        f"multiprocessing_context option should specify a valid start method in {valid!r}, "
                        f"but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the "
                    f"start method, but got multiprocessing_context={context}"
                )
        self.__context = context

    def __iter__(self) -> Iterator[Any]:
        state, self._resume = self._resume, None
        if state is None:
            return self._begin(0)
        # Replay the beginning of the pass with the generators as they were then. The default generator serves the
        # whole program: it is put back to where the program has it now.
        now = default_generator.get_state()
        sources, saved = self._sources(), state["generators"]
        for generator, value in zip(sources, saved, strict=False):
            generator.set_state(value)
        try:
            return self._begin(state["batches"])
        finally:
            if len(saved) == len(sources):  # of the middle of a pass: the default one's numbers were drawn before
                default_generator.set_state(now)

    def _begin(self, passed: int) -> Iterator[Any]:
        """Start a pass after its first ``passed`` batches."""
        self._position = Position([one.get_state() for one in self._sources()], passed)
        source: Iterable[Any] = self.sampler if self.batch_sampler is None else self.batch_sampler
        base_seed = draw_seed(self.generator)  # also without workers: the order must not depend on their number
        streaming = isinstance(self.dataset, IterableDataset)
        if passed and not streaming:
            source = skip(source, passed)
        batches = self._fetching(source, base_seed, 0 if streaming else passed)
        if passed and streaming:
            batches = skip(batches, passed)
        return Delivery(batches, self._position, self._expected_samples())

    def _fetching(self, source: Iterable[Any], base_seed: int, first: int) -> Iterator[Any]:
        pin = to_pinned if self._should_pin() else None
        settings = [self._worker_settings(base_seed, i) for i in range(max(1, self.num_workers))]
        if self.num_workers == 0:
            return SingleProcessIterator(settings[0], source, pin)
        if self.persistent_workers and self._iterator is not None and not self._iterator.closed:
            self._iterator.restart(source, base_seed, first)
            return self._iterator
        batches = MultiProcessIterator(
            settings,
            source,
            first=first,
            prefetch_factor=self.prefetch_factor or 1,
            timeout=self.timeout,
            in_order=self.in_order,
            persistent=self.persistent_workers,
            context=self.multiprocessing_context,
            pin=pin,
        )
        if self.persistent_workers:
            self._iterator = batches
        return batches

    def __len__(self) -> int:
        """Batches a pass; for an :class:`IterableDataset` with a length an estimate that ignores the workers."""
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is not None:
                count = count // self.batch_size if self.drop_last else -(-count // self.batch_size)
            self._promised = count
            return count
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def check_worker_number_rationality(self) -> None:
        """Warn when there are more workers than processors. Reference: the method of this name in PyTorch."""
        self._check_worker_count()

    def _check_worker_count(self) -> None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.num_workers > processors:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes, more than the {processors} "
                "processors this process may use, which can make it slower.",
                stacklevel=3,
            )

    def _worker_settings(self, base_seed: int, worker_id: int) -> WorkerSettings:
        return WorkerSettings(
            dataset=self.dataset,
            auto_collation=self.batch_sampler is not None,
            collate=self.collate_fn,
            drop_last=self.drop_last,
            init=self.worker_init_fn,
            base_seed=base_seed,
            id=worker_id,
            num_workers=self.num_workers,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the newest pass stands, to go on from there with :meth:`load_state_dict`.

        Counts the batches that were handed out, not those that workers have prepared, and keeps the states that the
        generators of the order had when the pass began. Between two passes it is the start of the next one. The numbers
        of the default generator belong to the program: save ``get_rng_state()`` beside it.
        """
        if self._resume is not None:
            return dict(self._resume)
        if self._position is not None and not self._position.ended:
            return self._position.state_dict()
        return Position([one.get_state() for one in self._sources()[:-1]]).state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next pass goes on where the saved one stood: same order, same batches, from the next one on.

        For a loader of the same dataset and options. A map-style dataset is not asked for the batches that are passed
        over; a stream is read again up to there. With a worker_init_fn, random numbers of the workers start anew.

        Example::

            loader.load_state_dict(state)
            for batch in loader:        # the rest of the pass that was left
                ...
        """
        if not {"batches", "generators"} <= state_dict.keys():
            raise ValueError(
                f"DataLoader.load_state_dict: not a state of a DataLoader, its keys are {list(state_dict)}"
            )
        expected, found = len(self._sources()), len(state_dict["generators"])
        if not expected - 1 <= found <= expected:
            raise ValueError(
                f"DataLoader.load_state_dict: the state is of a loader with {found} generators, this one and its "
                f"samplers have {expected - 1} beside the default one"
            )
        self._resume = dict(state_dict)

    def _sources(self) -> list[Generator]:
        """The generators that the order and the workers' seeds come from; the last is the default one, in any case."""
        inner = getattr(self.batch_sampler, "sampler", None)
        own = generators_of(self, self.sampler, self.batch_sampler, inner)
        return [*(one for one in own if one is not default_generator), default_generator]

    def _should_pin(self) -> bool:
        if not self.pin_memory:
            return False
        if self.pin_memory_device:
            warnings.warn(
                "pin_memory_device is deprecated, the current accelerator will be used as the device,"
                f"ignore pin_memory_device='{self.pin_memory_device}'.",
                stacklevel=5,
            )
        if not cuda.is_available():
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, "
                "then device pinned memory won't be used.",
                stacklevel=5,
            )
            return False
        return True

    def _expected_samples(self) -> int | None:
        """How many batches an :class:`IterableDataset` has promised to whoever asked for the length."""
        return self._promised if isinstance(self.dataset, IterableDataset) else None


class _EndlessSampler(Sampler[Any]):
    """Stands for the indices of a stream, which has none."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield None


_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "Let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_streaming_options(shuffle: bool | None, sampler: object, batch_sampler: object) -> None:
    for name, value, unset in (
        ("shuffle", shuffle, (None, False)),
        ("sampler", sampler, (None,)),
        ("batch_sampler", batch_sampler, (None,)),
    ):
        if value not in unset:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )
