"""The DataLoader with worker processes: order, seeds, failures, death, and cleaning up."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dumbtorch
import dumbtorch.utils.data as data

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Python 3.12 on fork
]


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Nothing here may hang: after a minute the test process is interrupted."""
    timer = threading.Timer(60, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.cancel()


def load(dataset: data.Dataset[Any], *arguments: Any, **options: Any) -> data.DataLoader[Any]:
    """A loader whose workers are forked, unless told otherwise: most functions here could not be pickled."""
    if options.get("num_workers"):
        options.setdefault("multiprocessing_context", "fork")
    return data.DataLoader(dataset, *arguments, **options)


class Calls(data.Dataset[Any]):
    """Sample ``i`` is ``function(i)``."""

    def __init__(self, function: Callable[[int], Any], count: int = 16) -> None:
        self.function = function
        self.count = count

    def __getitem__(self, index: int) -> Any:
        return self.function(index)

    def __len__(self) -> int:
        return self.count


class Shards(data.IterableDataset[int]):
    """0 .. count - 1, dealt out to the workers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        info = data.get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(first, self.count, step))


def first_of(batch: list[Any]) -> Any:
    return batch[0]


def square(index: int) -> int:
    return index * index


def child_pids() -> set[int]:
    tasks = Path("/proc/self/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state in "ZX"


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# --- the same batches as without workers


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_same_batches(workers: int, shuffle: bool) -> None:
    dataset = data.TensorDataset(dumbtorch.arange(46.0).reshape(23, 2), dumbtorch.arange(23))

    def batches(num_workers: int) -> list[Any]:
        source = dumbtorch.Generator().manual_seed(4)
        loader = load(dataset, 4, shuffle=shuffle, num_workers=num_workers, generator=source)
        assert len(loader) == 6
        return [(x.tolist(), y.tolist()) for _ in range(2) for x, y in loader]

    assert batches(workers) == batches(0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(method: str) -> None:
    dataset = data.TensorDataset(dumbtorch.arange(5))
    loader = load(dataset, 2, num_workers=2, multiprocessing_context=method)
    assert [batch[0].tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_every_dtype_and_shape_crosses(dtype: str, shape: tuple[int, ...]) -> None:
    kind = getattr(dumbtorch, dtype)
    sent = (dumbtorch.arange(int(np.prod(shape))) % 7).reshape(shape).to(kind)
    (got,) = load(Calls(lambda i: sent, 1), batch_size=None, num_workers=1)
    assert got.dtype == kind and got.shape == sent.shape and got.tolist() == sent.tolist()
    got.fill_(1)  # what arrives can be written to
    assert got.tolist() == dumbtorch.ones(shape, dtype=kind).tolist()


def test_strided_and_gradient_tensors_cross() -> None:
    base = dumbtorch.arange(12.0).reshape(3, 4)
    sent = {"columns": base.t()[1:], "expanded": base[0].expand(2, 4), "leaf": dumbtorch.ones(2, requires_grad=True)}
    (got,) = load(Calls(lambda i: sent, 1), batch_size=None, num_workers=1)
    assert {key: value.tolist() for key, value in got.items()} == {key: value.tolist() for key, value in sent.items()}
    assert got["leaf"].requires_grad and not got["columns"].requires_grad


@pytest.mark.parametrize(
    "sample",
    [
        "x" * 3_000_000,
        [np.arange(i) for i in range(300)],
        {"a": [np.float32(1), None], "b": (b"bytes", 2**80)},
        np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    ],
    ids=["long string", "many arrays", "nested", "fortran order"],
)
def test_other_objects_cross(sample: Any) -> None:
    loader = load(Calls(lambda i: sample, 6), collate_fn=first_of, num_workers=2, prefetch_factor=3)
    for got in loader:
        np.testing.assert_equal(got, sample)


def test_batches_outlive_the_workers_and_each_other() -> None:
    batches = list(load(Calls(lambda i: dumbtorch.full((1000,), i)), 1, num_workers=2))
    gc.collect()
    assert [batch[0, -1].item() for batch in batches] == list(range(16))


def test_large_indices_do_not_block() -> None:
    batch_sampler = [list(range(20_000))] * 8
    loader = load(Calls(str), batch_sampler=batch_sampler, collate_fn=list, num_workers=1, prefetch_factor=8)
    assert [len(batch) for batch in loader] == [20_000] * 8


@pytest.mark.parametrize("in_order", [True, False])
def test_far_ahead(in_order: bool) -> None:
    """More batches under way than a pipe can hold: neither side waits for the other for ever."""
    loader = load(Calls(square, 3000), None, num_workers=2, prefetch_factor=3000, in_order=in_order)
    got = list(loader)
    assert sorted(got) == [i * i for i in range(3000)] and (not in_order or got == sorted(got))
    assert next(iter(loader)) in (0, 1)  # and left at once


# --- streams


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_stream_shards(workers: int) -> None:
    got = [batch.tolist() for batch in load(Shards(23), 4, num_workers=workers)]
    assert sorted(value for batch in got for value in batch) == list(range(23))
    assert got == [batch.tolist() for batch in load(Shards(23), 4, num_workers=workers)]


def test_stream_order_over_workers() -> None:
    # As PyTorch: the workers take turns; one that has ended is passed over.
    got = [batch.tolist() for batch in load(Shards(10), 2, num_workers=2)]
    assert got == [[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]


# --- seeds and worker_init_fn


def test_seeds() -> None:
    def draw(_: int) -> tuple[Any, ...]:
        info = data.get_worker_info()
        assert info is not None and info.num_workers == 2 and len(info.dataset) == 4
        return info.id, info.seed, random.random(), np.random.rand(), dumbtorch.rand(()).item()

    def one_pass(seed: int) -> list[Any]:
        source = dumbtorch.Generator().manual_seed(seed)
        return list(load(Calls(draw, 4), None, num_workers=2, generator=source))

    first = one_pass(0)
    assert [sample[0] for sample in first] == [0, 1, 0, 1]
    assert first[1][1] == first[0][1] + 1
    assert first == one_pass(0)
    for column in (2, 3, 4):
        assert len({sample[column] for sample in first + one_pass(1)}) == 8


def test_worker_init_fn() -> None:
    state: list[int] = []
    loader = load(Calls(lambda i: list(state), 2), None, num_workers=2, worker_init_fn=state.append)
    assert list(loader) == [[0], [1]]
    assert state == []  # it ran over there


def test_one_thread_in_a_worker() -> None:
    loader = load(Calls(lambda i: dumbtorch.get_num_threads(), 1), None, num_workers=1)
    assert list(loader) == [1]


def test_fork_with_a_running_thread_pool() -> None:
    a = dumbtorch.rand(300, 300)
    expected = (a @ a).sum().item()  # the pool of this process runs now
    loader = load(Calls(lambda i: (a @ a).sum().item(), 4), None, num_workers=2)
    assert list(loader) == pytest.approx([expected] * 4, rel=1e-4)
    assert (a @ a).sum().item() == expected


# --- persistent workers, unordered batches, early ends


def test_persistent_workers() -> None:
    loader = load(Calls(lambda i: os.getpid()), None, num_workers=2, persistent_workers=True)
    first = set(loader)
    half = iter(loader)
    next(half)
    assert set(loader) == first and len(first) == 2
    assert [batch.tolist() for batch in load(Shards(5), 2, num_workers=2, persistent_workers=True)]
    stream = load(Shards(5), 2, num_workers=2, persistent_workers=True)
    assert [[b.tolist() for b in stream] for _ in range(2)] == [[[0, 2], [1, 3], [4]]] * 2
    del loader, half, stream
    gc.collect()
    assert wait_until(lambda: all(gone(pid) for pid in first))


def test_not_in_order() -> None:
    def slow_start(index: int) -> int:
        time.sleep(0.5 if index == 0 else 0)
        return index

    loader = load(Calls(slow_start, 8), None, num_workers=2, in_order=False)
    got = list(loader)
    assert sorted(got) == list(range(8)) and got[0] != 0
    assert list(load(Calls(slow_start, 8), None, num_workers=2)) == list(range(8))


def test_leaving_the_loop_ends_the_workers() -> None:
    before = child_pids()
    for _ in load(Calls(square, 1000), 2, num_workers=2):
        break
    gc.collect()
    assert wait_until(lambda: child_pids() <= before)


def test_no_descriptors_are_lost() -> None:
    dataset = data.TensorDataset(dumbtorch.rand(64, 100))

    def run() -> int:
        for _ in load(dataset, 4, num_workers=2):
            pass
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    assert run() == run() == run()


def test_two_loaders_at_once() -> None:
    a, b = (load(Calls(square), 2, num_workers=2) for _ in range(2))
    for x, y in zip(a, b, strict=True):
        assert x.tolist() == y.tolist()


def test_forking_while_iterating() -> None:
    """A child that ends must not take the workers of its parent with it."""
    batches = iter(load(Calls(square), 2, num_workers=2))
    assert next(batches).tolist() == [0, 1]
    child = os.fork()
    if child == 0:
        del batches
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(batches)) == 7


# --- failures


class Picky(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


def fail_with(error: Exception) -> Callable[[int], int]:
    def function(index: int) -> int:
        if index == 5:
            raise error
        return index

    return function


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("broken sample"), ValueError),
        (KeyError("broken sample"), KeyError),
        (StopIteration("broken sample"), StopIteration),
        (Picky(1, 2), RuntimeError),
        (UnicodeDecodeError("utf8", b"x", 0, 1, "broken"), RuntimeError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_error_in_a_worker_is_raised_here(error: Exception, expected: type[Exception]) -> None:
    loader = iter(load(Calls(fail_with(error)), 2, num_workers=2))
    assert [next(loader).tolist(), next(loader).tolist()] == [[0, 1], [2, 3]]
    with pytest.raises(expected) as caught:
        next(loader)
    text = str(caught.value)
    assert f"Caught {type(error).__name__} in DataLoader worker process 0" in text
    assert "Original Traceback" in text and "raise error" in text and "\n" in text
    assert next(loader).tolist() == [6, 7]  # the others are still there


def test_error_of_a_local_class() -> None:
    class Local(Exception):
        pass

    with pytest.raises(RuntimeError, match="Local"):
        list(load(Calls(fail_with(Local("broken sample"))), 2, num_workers=1))


def test_error_in_init_stream_and_collate() -> None:
    def refuse(_: object) -> None:
        raise ArithmeticError("refused")

    for options in ({"worker_init_fn": refuse}, {"collate_fn": refuse}):
        with pytest.raises(ArithmeticError, match=r"worker process 0(.|\n)*refused"):
            list(load(Calls(square), 2, num_workers=2, **options))

    class Broken(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1
            raise ArithmeticError("refused")

    with pytest.raises(ArithmeticError, match="refused"):
        list(load(Broken(), None, num_workers=1))


def test_a_batch_that_cannot_be_pickled() -> None:
    with pytest.raises(RuntimeError, match=r"worker process 0(.|\n)*pickle"):
        list(load(Calls(lambda i: lambda: i), None, num_workers=1))


@pytest.mark.parametrize("in_order", [True, False])
def test_killed_worker(in_order: bool) -> None:
    def die(index: int) -> int:
        if index == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    start = time.monotonic()
    loader = load(Calls(die), None, num_workers=2, in_order=in_order)
    seen = []
    with pytest.raises(RuntimeError, match=r"worker \(pid\(s\) \d+\) exited unexpectedly.*SIGKILL.*-9") as caught:
        for pid in loader:
            seen.append(pid)
    assert any(f"pid(s) {pid})" in str(caught.value) for pid in seen)
    assert time.monotonic() - start < 10
    assert wait_until(lambda: all(gone(pid) for pid in seen))


def test_idle_persistent_worker_killed() -> None:
    loader = load(Calls(lambda i: os.getpid(), 4), None, num_workers=2, persistent_workers=True)
    victim = list(loader)[1]
    os.kill(victim, signal.SIGKILL)
    assert wait_until(lambda: gone(victim))
    with pytest.raises(RuntimeError, match=rf"pid\(s\) {victim}\)"):
        list(loader)
    assert len(list(loader)) == 4  # a new pass starts new workers


def test_exiting_worker() -> None:
    with pytest.raises(RuntimeError, match="exited unexpectedly: exit code 7"):
        list(load(Calls(lambda i: os._exit(7)), 2, num_workers=1))


def test_timeout() -> None:
    loader = iter(load(Calls(lambda i: time.sleep(2)), None, num_workers=1, timeout=0.3))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"timed out after 0\.3 seconds"):
        next(loader)
    assert time.monotonic() - start < 1.5


SCRIPT = """
import os, sys, time
from dumbtorch.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep(0.05)
        return os.getpid()

pids = set()
for batch in DataLoader(Slow(), 2, num_workers=2, multiprocessing_context="fork"):
    pids |= set(batch.tolist())
    if len(pids) == 2:
        print(*pids, flush=True)
"""


def start_script(new_group: bool) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=new_group,
    )
    assert process.stdout is not None
    return process, [int(pid) for pid in process.stdout.readline().split()]


def test_ctrl_c_ends_everything_with_one_traceback() -> None:
    process, workers = start_script(new_group=True)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1 and errors.strip().endswith("KeyboardInterrupt")
    assert len(workers) == 2 and wait_until(lambda: all(gone(pid) for pid in workers))


def test_workers_of_a_killed_parent_end() -> None:
    process, workers = start_script(new_group=True)
    process.kill()
    process.communicate(timeout=20)
    assert len(workers) == 2 and wait_until(lambda: all(gone(pid) for pid in workers))
