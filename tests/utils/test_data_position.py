"""The DataLoader's state: a pass that is left goes on elsewhere; samplers and datasets for that, nothing leaks."""

from __future__ import annotations

import gc
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch as reference
import torch.utils.data as reference_data

import dumbtorch
import dumbtorch.utils.data as data

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Python 3.12 on fork
]

NUMBERS = data.TensorDataset(dumbtorch.arange(23))


class Stream(data.IterableDataset[Any]):
    """Numbers with noise, dealt out to the workers."""

    def __iter__(self) -> Iterator[Any]:
        info = data.get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for i in range(first, 23, step):
            yield dumbtorch.tensor(float(i)) + dumbtorch.rand(())


class Noisy(data.Dataset[Any]):
    """Samples that every generator has changed."""

    def __getitem__(self, index: int) -> Any:
        noise = dumbtorch.rand(2).tolist() + [random.random(), np.random.rand()]
        return dumbtorch.tensor([index, *noise], dtype=dumbtorch.float64)

    def __len__(self) -> int:
        return 23


def own(seed: int = 5) -> Any:
    return dumbtorch.Generator().manual_seed(seed)


def shuffled(**options: Any) -> data.DataLoader[Any]:
    return data.DataLoader(NUMBERS, 4, shuffle=True, **options)


LOADERS: dict[str, Callable[[], data.DataLoader[Any]]] = {
    "in order": lambda: data.DataLoader(NUMBERS, 4),
    "shuffled by the default generator": shuffled,
    "shuffled by its own": lambda: shuffled(generator=own()),
    "the default generator by name": lambda: shuffled(generator=dumbtorch.default_generator),
    "generator of the sampler": lambda: data.DataLoader(
        NUMBERS, 4, sampler=data.RandomSampler(NUMBERS, generator=own())
    ),
    "two generators": lambda: data.DataLoader(
        NUMBERS, 4, sampler=data.RandomSampler(NUMBERS, True, 50, own(1)), generator=own(2)
    ),
    "subset": lambda: data.DataLoader(NUMBERS, 3, sampler=data.SubsetRandomSampler([1, 5, 7, 8, 9, 10, 11])),
    "weighted": lambda: data.DataLoader(NUMBERS, 3, sampler=data.WeightedRandomSampler([1.0] * 23, 30)),
    "batch sampler": lambda: data.DataLoader(
        NUMBERS, batch_sampler=data.BatchSampler(data.RandomSampler(NUMBERS, generator=own()), 5, False)
    ),
    "no batches": lambda: data.DataLoader(NUMBERS, None, shuffle=True),
    "workers": lambda: shuffled(num_workers=2, multiprocessing_context="fork"),
    "workers that stay": lambda: shuffled(
        num_workers=2, multiprocessing_context="fork", persistent_workers=True, generator=own()
    ),
    "random samples of workers": lambda: data.DataLoader(
        Noisy(), 4, True, num_workers=2, multiprocessing_context="fork"
    ),
    "random samples of workers that stay": lambda: data.DataLoader(
        Noisy(), 4, True, num_workers=3, multiprocessing_context="fork", persistent_workers=True, prefetch_factor=1
    ),
    "stream": lambda: data.DataLoader(Stream(), 4),
    "stream of workers": lambda: data.DataLoader(Stream(), 4, num_workers=2, multiprocessing_context="fork"),
}


def plain(batch: Any) -> Any:
    return batch.tolist() if isinstance(batch, dumbtorch.Tensor) else [plain(part) for part in batch]


def program(loader: data.DataLoader[Any], passes: int) -> Iterator[tuple[Any, float]]:
    """A program that draws numbers of its own between batches and passes."""
    for _ in range(passes):
        for batch in loader:
            yield plain(batch), dumbtorch.rand(()).item()
        dumbtorch.rand(3)


@pytest.mark.parametrize("name", LOADERS)
def test_any_batch_is_a_place_to_go_on_from(name: str) -> None:
    dumbtorch.manual_seed(3)
    whole = list(program(LOADERS[name](), 2))
    places = [1, len(whole) // 2 - 1, len(whole) // 2, len(whole) // 2 + 1, len(whole) - 1]
    for place in places if "workers" not in name else places[1:3]:
        dumbtorch.manual_seed(3)
        loader = LOADERS[name]()
        begun = program(loader, 2)
        first = list(itertools.islice(begun, place))
        state, rng = loader.state_dict(), dumbtorch.get_rng_state()
        per_pass = len(whole) // 2
        dumbtorch.manual_seed(99)  # another process
        fresh = LOADERS[name]()
        fresh.load_state_dict(state)
        assert fresh.state_dict()["batches"] == state["batches"] == (place - 1) % per_pass + 1
        dumbtorch.set_rng_state(rng)
        rest = list(program(fresh, 2 if place <= per_pass else 1))
        assert first + rest == whole, (name, place)


def test_random_samples_do_not_depend_on_the_number_of_workers() -> None:
    def batches(workers: int) -> list[Any]:
        loader = data.DataLoader(
            Noisy(), 4, True, num_workers=workers, multiprocessing_context="fork", generator=own()
        )  # fmt: skip
        return [plain(batch) for _ in range(2) for batch in loader]

    one = batches(1)
    assert one == batches(3)
    assert len({number for batch in one for row in batch for number in row[1:]}) == 2 * 23 * 4  # all differ


def test_seeds_of_worker_init_fn_hold() -> None:
    def init(worker: int) -> None:
        random.seed(7)

    loader = data.DataLoader(Noisy(), 4, num_workers=2, multiprocessing_context="fork", worker_init_fn=init)
    first, second, third = (plain(batch)[0][3] for batch in itertools.islice(loader, 3))
    assert first == second == random.Random(7).random() != third


def test_state_between_passes() -> None:
    source = own()
    loader = shuffled(generator=source)
    first, state = [plain(b) for b in loader], loader.state_dict()
    second = [plain(b) for b in loader]
    assert state["batches"] == 0 and first != second
    other = shuffled(generator=own(77))
    other.load_state_dict(state)
    assert [plain(b) for b in other] == second


def test_samples_passed_over_are_not_fetched() -> None:
    fetched = []

    class Watched(data.Dataset[int]):
        def __getitem__(self, index: int) -> int:
            fetched.append(index)
            return index

        def __len__(self) -> int:
            return 10

    loader = data.DataLoader(Watched(), 2)
    loader.load_state_dict({"batches": 3, "generators": []})
    assert [plain(b) for b in loader] == [[6, 7], [8, 9]] and fetched == [6, 7, 8, 9]
    assert len(list(loader)) == 5  # the next pass is whole


def test_bad_states() -> None:
    loader = shuffled()
    with pytest.raises(ValueError, match="not a state of a DataLoader"):
        loader.load_state_dict({"epoch": 1})
    with pytest.raises(ValueError, match="3 generators"):
        loader.load_state_dict({"batches": 1, "generators": [None] * 3})
    loader.load_state_dict({"batches": 7, "generators": []})
    with pytest.raises(RuntimeError, match="only 6 in a pass"):
        next(iter(loader))


# --- datasets and samplers


def test_stack_dataset() -> None:
    rows = {"x": list(range(4)), "y": "abcd"}
    for T in (reference_data, data):
        assert T.StackDataset(**rows)[2] == {"x": 2, "y": "c"} and T.StackDataset(*rows.values())[3] == (3, "d")
        assert T.StackDataset(**rows).__getitems__([1, 3]) == [{"x": 1, "y": "b"}, {"x": 3, "y": "d"}]
        assert T.StackDataset(rows["x"]).__getitems__([1]) == [(1,)] and len(T.StackDataset("ab")) == 2
        for wrong in (lambda T=T: T.StackDataset(), lambda T=T: T.StackDataset("ab", "c")):
            with pytest.raises(ValueError):
                wrong()
        with pytest.raises(ValueError, match="both types"):
            T.StackDataset("ab", x="cd")
    nested = data.StackDataset(image=data.Subset(NUMBERS, [5, 6, 7]), index=range(3))
    batch = next(iter(data.DataLoader(nested, 3)))
    assert batch["image"][0].tolist() == [5, 6, 7] and batch["index"].tolist() == [0, 1, 2]

    class Short(data.Dataset[int]):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return indices[1:]

        def __len__(self) -> int:
            return 3

    with pytest.raises(ValueError, match="Expected 2, got 1"):
        data.StackDataset(Short()).__getitems__([0, 1])


def test_subset_with_half_of_its_methods() -> None:
    for T in (reference_data, data):

        class Half(T.Subset):  # type: ignore[name-defined, misc]
            def __getitem__(self, index: int) -> int:
                return -index

        with pytest.raises(NotImplementedError, match="Half overrides __getitem__ but not __getitems__"):
            Half([1, 2], [0])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "replicas"), [(0, 2), (1, 4), (10, 3), (12, 4), (5, 8)])
def test_distributed_sampler_shares(count: int, replicas: int, drop_last: bool) -> None:
    for rank in range(replicas):
        options = {"num_replicas": replicas, "rank": rank, "shuffle": False, "drop_last": drop_last}
        if count == 0:
            assert list(data.DistributedSampler(range(count), **options)) == []
            continue
        ours = data.DistributedSampler(range(count), **options)
        theirs = reference_data.DistributedSampler(range(count), **options)
        assert list(ours) == list(theirs) and len(ours) == len(theirs), (rank, count)


def test_distributed_sampler_shuffles_alike() -> None:
    shares = [data.DistributedSampler(range(10), 2, rank, seed=3) for rank in range(2)]
    first = [list(share) for share in shares]
    assert sorted(first[0] + first[1]) == list(range(10)) and first == [list(share) for share in shares]
    for share in shares:
        share.set_epoch(1)
    assert [list(share) for share in shares] != first
    with pytest.raises(ValueError, match=r"Invalid rank 2, rank should be in the interval \[0, 1\]"):
        data.DistributedSampler(range(10), 2, 2)
    with pytest.raises(RuntimeError, match="no process group"):
        data.DistributedSampler(range(10))


def test_names() -> None:
    pipes = {name for name in reference_data.__all__ if "DataPipe" in name} | {
        "DataChunk", "_DatasetKind", "argument_validation", "functional_datapipe", "guaranteed_datapipes_determinism",
        "non_deterministic", "runtime_validation", "runtime_validation_disabled",
    }  # fmt: skip
    assert set(reference_data.__all__) - set(data.__all__) == pipes
    assert data.distributed.DistributedSampler is data.DistributedSampler
    assert reference.utils.data.distributed is not None


# --- a hundred passes


def own_memory() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_hundred_passes_leave_nothing_behind(persistent: bool) -> None:
    dataset = data.TensorDataset(dumbtorch.rand(64, 5000), dumbtorch.arange(64))
    loader = data.DataLoader(
        dataset, 16, True, num_workers=2, multiprocessing_context="fork", persistent_workers=persistent
    )

    def passes(count: int) -> None:
        for _ in range(count):
            assert sum(len(y) for _, y in loader) == 64
        gc.collect()

    shared = set(os.listdir("/dev/shm"))
    passes(5)
    files, memory = len(os.listdir("/proc/self/fd")), own_memory()
    maps = Path("/proc/self/maps").read_text().count("dumbtorch-batch")
    passes(95)
    assert len(os.listdir("/proc/self/fd")) == files
    assert Path("/proc/self/maps").read_text().count("dumbtorch-batch") <= maps
    assert set(os.listdir("/dev/shm")) <= shared
    assert own_memory() - memory < 8 << 20
