"""One pass over a :class:`DataLoader`: in this process, or spread over worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection as mp_connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from . import _transport
from ._fetch import make_fetcher
from ._worker import Restart, Result, Task, WorkerSettings, run_worker

# A message may be half sent or received then: nothing after it would make sense.
_INTERRUPTED = "DataLoader was interrupted while it talked to a worker; start a new iteration"
# Tasks that a worker has not answered: with more of them, both sides could wait for the other to empty a full pipe.
_IN_FLIGHT = 64
Pin = Callable[[Any], Any]
_GRACE_SECONDS = 5.0  # for a worker to finish the batch it is busy with, before it is terminated


class SingleProcessIterator(Iterator[Any]):
    """Fetches each batch when it is asked for, and gives it to ``pin`` if there is such a function."""

    def __init__(self, settings: WorkerSettings, index_source: Iterable[Any], pin: Pin | None) -> None:
        self._pin = pin
        self._indices = iter(index_source)
        self._fetch = make_fetcher(settings.dataset, settings.auto_collation, settings.collate, settings.drop_last)

    def __next__(self) -> Any:
        batch = self._fetch(next(self._indices))
        return batch if self._pin is None else self._pin(batch)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    load: int = 0  # tasks it has not answered
    active: bool = True  # False once its stream is used up in this pass


class MultiProcessIterator(Iterator[Any]):
    """Keeps ``prefetch_factor`` batches a worker under way.

    Each worker has a pipe of its own and there are no locks between processes, so a worker that dies at any point takes
    nothing with it: its exit is seen at once and named. Tasks go to the workers in turn, which fixes which worker makes
    which batch; with ``in_order`` they are handed out in the order of the sampler. With ``pin`` a thread brings the
    batches that have arrived into page-locked memory, while the program works on the one before.
    """

    def __init__(
        self,
        settings: Sequence[WorkerSettings],
        index_source: Iterable[Any],
        *,
        first: int,
        prefetch_factor: int,
        timeout: float,
        in_order: bool,
        persistent: bool,
        context: Any,
        pin: Pin | None,
    ) -> None:
        self._pin = pin
        self._pinning = None if pin is None else ThreadPoolExecutor(1, "DataLoader pinning")
        self._limit = max(1, prefetch_factor) * len(settings)
        self._timeout = timeout
        self._in_order = in_order
        self._persistent = persistent
        self._failure: str | None = None
        self._workers: list[_Worker] = []
        self._close = weakref.finalize(self, _close, self._workers, os.getpid())
        try:
            for one in settings:
                self._workers.append(_start(one, [worker.connection for worker in self._workers], context))
        except BaseException:
            self._close()
            raise
        self._sent = 0
        self._begin(index_source, first)

    @property
    def closed(self) -> bool:
        """Whether the workers are gone."""
        return not self._close.alive

    def restart(self, index_source: Iterable[Any], base_seed: int, first: int) -> None:
        """Begin another pass with the same workers."""
        for number, worker in enumerate(self._workers):
            self._send(number, Restart(base_seed))
            worker.load, worker.active = 0, True
        self._begin(index_source, first)

    def _begin(self, index_source: Iterable[Any], first: int) -> None:
        self._indices = enumerate(index_source, first)  # the places of the batches in the pass
        self._turn = 0
        self._next = self._sent
        self._waiting: dict[int, int] = {}  # task number -> worker
        self._done: dict[int, Result] = {}
        self._fill()

    def __next__(self) -> Any:
        if self._failure is not None:
            raise RuntimeError(self._failure)
        if self._held_back or self._pinning is not None:
            self._collect(wait=False)
        while (result := self._take()) is None:
            if not self._waiting:
                if not self._persistent:
                    self._close()
                raise StopIteration
            self._collect()
        self._fill()
        if result.error is not None:
            result.error.reraise()
        return result.batch.result() if self._pinning is not None else result.batch

    def _take(self) -> Result | None:
        if not self._in_order:
            return self._done.pop(next(iter(self._done))) if self._done else None
        while self._next < self._sent:
            if self._next in self._waiting:
                return None
            self._next += 1
            if self._next - 1 in self._done:
                return self._done.pop(self._next - 1)
        return None  # the rest were tasks of workers whose stream had ended

    def _fill(self) -> None:
        self._held_back = False
        while len(self._waiting) + len(self._done) < self._limit:
            number = self._choose()
            if number is None:
                return
            if self._workers[number].load >= _IN_FLIGHT:
                self._held_back = True
                return
            try:
                place, indices = next(self._indices)
            except StopIteration:
                return
            self._turn = number + 1
            self._waiting[self._sent] = number
            self._workers[number].load += 1
            self._sent += 1
            self._send(number, Task(self._sent - 1, place, indices))

    def _choose(self) -> int | None:
        count = len(self._workers)
        in_turn = [(self._turn + i) % count for i in range(count)]
        active = [number for number in in_turn if self._workers[number].active]
        if not active:
            return None
        return active[0] if self._in_order else min(active, key=lambda number: self._workers[number].load)

    def _send(self, number: int, message: Any) -> None:
        try:
            _transport.send(self._workers[number].connection, message)
        except ConnectionError:
            self._report_death(number)
        except KeyboardInterrupt:
            self._fail(_INTERRUPTED)
            raise

    def _collect(self, wait: bool = True) -> None:
        """Take the answers that are there; wait for at least one, or for something to go wrong."""
        sources: dict[Any, int] = {worker.connection: number for number, worker in enumerate(self._workers)}
        sentinels = {worker.process.sentinel: number for number, worker in enumerate(self._workers)}
        ready = mp_connection.wait([*sources, *sentinels], (self._timeout or None) if wait else 0)
        if not ready:
            if not wait:
                return
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        dead = [sentinels[source] for source in ready if source in sentinels]
        answered = False
        for source in ready:
            if source not in sources:
                continue
            try:
                self._accept(sources[source], self._receive(self._workers[sources[source]].connection))
                answered = True
            except (EOFError, ConnectionError):
                dead.append(sources[source])
        if dead and wait and not answered:  # what a dead worker had sent before comes first
            self._report_death(dead[0])

    def _receive(self, source: Connection) -> Result:
        try:
            result: Result = _transport.receive(source)
            return result
        except KeyboardInterrupt:
            self._fail(_INTERRUPTED)
            raise

    def _accept(self, number: int, result: Result) -> None:
        if result.number not in self._waiting:
            return  # of an earlier pass that was left half-way
        worker = self._workers[number]
        del self._waiting[result.number]
        worker.load -= 1
        if not result.exhausted:
            if self._pinning is not None and self._pin is not None and result.error is None:
                result = Result(result.number, self._pinning.submit(self._pin, result.batch))
            self._done[result.number] = result
            return
        worker.active, worker.load = False, 0
        self._waiting = {task: owner for task, owner in self._waiting.items() if owner != number}
        self._fill()

    def _report_death(self, number: int) -> None:
        process = self._workers[number].process
        process.join(_GRACE_SECONDS)
        code = process.exitcode
        if code is not None and code < 0:
            how = f"it was killed by signal {signal.Signals(-code).name} (exit code {code})"
        else:
            how = f"exit code {code}"
        message = f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly: {how}"
        self._fail(message)
        raise RuntimeError(message)

    def _fail(self, message: str) -> None:
        self._failure = message
        self._close()


def _start(settings: WorkerSettings, parent_ends: list[Connection], context: Any) -> _Worker:
    context = multiprocessing if context is None else context
    ours, theirs = context.Pipe(duplex=True)
    try:
        if context.get_start_method() == "fork":
            # A forked child holds copies of our ends: it closes them, else no worker would see the end of its pipe.
            arguments: tuple[Any, ...] = (settings, theirs, [*parent_ends, ours])
        else:
            arguments = (_transport.Portable(settings), theirs, [])
        process = context.Process(target=_run, args=arguments, daemon=True, name=f"DataLoader worker {settings.id}")
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Worker(process, ours)


def _run(
    settings: WorkerSettings | _transport.Portable, connection: Connection, inherited: Sequence[Connection]
) -> None:
    value = settings.value if isinstance(settings, _transport.Portable) else settings
    run_worker(value, connection, inherited)


def _close(workers: list[_Worker], owner: int) -> None:
    """End the workers: hang up, wait a little, terminate. Called once; not by a forked copy of the iterator."""
    if os.getpid() != owner:
        return
    for worker in workers:
        # shutdown reaches the worker even if some other process holds a copy of our end.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(worker.connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as pipe,
        ):
            pipe.shutdown(socket.SHUT_RDWR)
        worker.connection.close()
    deadline = time.monotonic() + _GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    for stop in (BaseProcess.terminate, BaseProcess.kill):
        for worker in workers:
            if worker.process.is_alive():
                stop(worker.process)
                worker.process.join(1.0)
