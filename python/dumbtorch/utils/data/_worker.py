"""What runs inside a worker process of a :class:`DataLoader`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from dumbtorch._C import set_num_threads
from dumbtorch.random import manual_seed

from . import _transport
from ._fetch import Collate, Fetcher, make_fetcher
from .dataset import IterableDataset, Samples

_ORPHAN_CHECK_SECONDS = 5.0
_FIRST_BATCH = 1 << 20  # added to a base seed for the first batch of a pass: beyond all workers


@dataclass(frozen=True)
class WorkerInfo:
    """The worker process this code runs in: ``id`` of ``num_workers``, its ``seed`` and copy of ``dataset``."""

    id: int
    num_workers: int
    seed: int
    dataset: Samples[Any]


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The :class:`WorkerInfo` inside a :class:`DataLoader` worker, None elsewhere.

    Reference: ``torch.utils.data.get_worker_info``.

    Example::

        def __iter__(self):                    # of an IterableDataset: every worker its share
            info = get_worker_info()
            step, first = (info.num_workers, info.id) if info else (1, 0)
            return iter(range(first, self.end, step))
    """
    return _info


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told when it starts."""

    dataset: Samples[Any]
    auto_collation: bool
    collate: Collate
    drop_last: bool
    init: Callable[[int], None] | None
    base_seed: int
    id: int
    num_workers: int


@dataclass(frozen=True)
class Task:
    """Fetch the batch of ``indices``; ``number`` counts tasks over the life of the workers, ``place`` in the pass."""

    number: int
    place: int
    indices: Any


@dataclass(frozen=True)
class Restart:
    """A new pass begins: iterate over the dataset anew (persistent workers)."""

    base_seed: int


@dataclass(frozen=True)
class Result:
    """The answer to the task of that number: ``batch``, or ``error``, or ``exhausted`` for a stream that is used up."""

    number: int
    batch: Any = None
    error: RemoteError | None = None
    exhausted: bool = False


@dataclass(frozen=True)
class RemoteError:
    """An exception that happened in a worker: its type, its traceback as text, and where."""

    kind: type[BaseException]
    text: str
    where: str

    @classmethod
    def current(cls, where: str) -> RemoteError:
        """The exception being handled."""
        kind, error, trace = sys.exc_info()
        assert kind is not None
        return cls(kind, "".join(traceback.format_exception(kind, error, trace)), where)

    def reraise(self) -> None:
        """Raise it here: the same type where that takes one message, RuntimeError where it does not."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(_VerbatimRepr(message))
        try:
            error = self.kind(message)
        except Exception:  # a constructor with other arguments, which may do anything
            raise RuntimeError(message) from None
        raise error


class _VerbatimRepr(str):
    """A KeyError shows the repr of its message, which would put a traceback on one line."""

    def __repr__(self) -> str:
        return str(self)


def run_worker(settings: WorkerSettings, connection: Connection, inherited: Sequence[Connection]) -> None:
    """Answer the tasks on ``connection`` until it closes. ``inherited``: the parent's ends, after a fork."""
    for other in inherited:
        other.close()
    # Ctrl-C reaches the whole process group; the parent decides and takes the workers down. SIGTERM always ends us,
    # whatever handler the parent had installed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_num_threads(1)  # the workers are the parallelism
    _seed_everything(settings.base_seed, settings.id)
    global _info
    seed = settings.base_seed + settings.id
    _info = WorkerInfo(settings.id, settings.num_workers, seed, settings.dataset)
    failure = None
    if settings.init is not None:
        try:
            settings.init(settings.id)
        except Exception:
            failure = RemoteError.current(f"in DataLoader worker process {settings.id}")
    with contextlib.suppress(EOFError, ConnectionError):  # the parent closed the connection: we are done
        _serve(settings, connection, failure)


def _serve(settings: WorkerSettings, connection: Connection, failure: RemoteError | None) -> None:
    parent = os.getppid()
    where = f"in DataLoader worker process {settings.id}"
    fetch: Fetcher | None = None
    exhausted = False
    base_seed = settings.base_seed
    while True:
        # If the parent is killed, copies of its end of the pipe in other processes can keep the pipe open.
        while not connection.poll(_ORPHAN_CHECK_SECONDS):
            if os.getppid() != parent:
                return
        task = _transport.receive(connection)
        if isinstance(task, Restart):
            fetch, exhausted, base_seed = None, False, task.base_seed
            continue
        if exhausted:  # sent before the parent knew; it expects no answer
            continue
        if settings.init is None:  # it may have chosen seeds of its own
            _seed_everything(base_seed, _FIRST_BATCH + task.place)
        try:
            if failure is not None:
                result, failure = Result(task.number, error=failure), None
            else:
                if fetch is None:
                    fetch = make_fetcher(
                        settings.dataset, settings.auto_collation, settings.collate, settings.drop_last
                    )
                result = Result(task.number, fetch(task.indices))
        except StopIteration:
            if isinstance(settings.dataset, IterableDataset):
                result, exhausted = Result(task.number, exhausted=True), True
            else:
                result = Result(task.number, error=RemoteError.current(where))
        except Exception:
            result = Result(task.number, error=RemoteError.current(where))
        _answer(connection, result, where)
        del result  # the batch: not to be kept while waiting


def _answer(connection: Connection, result: Result, where: str) -> None:
    try:
        _transport.send(connection, result)
        return
    except ConnectionError:
        raise
    except Exception:  # a batch, or the class of an exception, that cannot be pickled
        error = result.error or RemoteError.current(where)
    _transport.send(connection, Result(result.number, error=RemoteError(RuntimeError, error.text, where)))


def _seed_everything(base_seed: int, number: int) -> None:
    """Seed every generator: for a worker by its id; then for each batch by its place in the pass, after all ids.

    Seeds of batches make their random numbers the same for any number of workers, and for a pass that goes on from its
    middle.
    """
    seed = (base_seed + number) % 2**64
    random.seed(seed)
    manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        # Both numbers: with their sum, worker 1 of one epoch could repeat worker 0 of another.
        numpy.random.seed([base_seed % 2**32, base_seed >> 32, number])
