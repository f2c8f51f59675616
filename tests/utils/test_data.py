"""Datasets, samplers, collation and the DataLoader without workers, beside torch.utils.data."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch as reference
import torch.utils.data as reference_data

import dumbtorch
import dumbtorch.utils.data as data


class Squares(data.Dataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, index: int) -> int:
        return index * index

    def __len__(self) -> int:
        return self.count


class Stream(data.IterableDataset[int]):
    def __init__(self, count: int, promised: int | None = None) -> None:
        self.count = count
        if promised is not None:
            self.promised = promised

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class SizedStream(Stream):
    def __len__(self) -> int:
        return self.promised


def generator(seed: int = 0) -> Any:
    return dumbtorch.Generator().manual_seed(seed)


def same_error(ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    with pytest.raises(Exception) as expected:
        theirs()
    with pytest.raises(expected.type):
        ours()


# --- datasets


def test_tensor_dataset() -> None:
    dataset = data.TensorDataset(dumbtorch.arange(6).reshape(3, 2), dumbtorch.tensor([7, 8, 9]))
    assert len(dataset) == 3
    x, y = dataset[1]
    assert x.tolist() == [2, 3] and y.item() == 8
    with pytest.raises(IndexError):
        dataset[3]
    same_error(
        lambda: data.TensorDataset(dumbtorch.zeros(3), dumbtorch.zeros(2)),
        lambda: reference_data.TensorDataset(reference.zeros(3), reference.zeros(2)),
    )


def test_concat_dataset() -> None:
    both = Squares(3) + Squares(0) + Squares(2)
    assert isinstance(both, data.ConcatDataset)
    assert [both[i] for i in range(len(both))] == [0, 1, 4, 0, 1]
    assert both[-1] == 1 and both[-5] == 0
    theirs = reference_data.ConcatDataset([range(3), range(2)])
    for bad in (5, -6):
        same_error(lambda: both[bad], lambda: theirs[bad])  # noqa: B023
    same_error(lambda: data.ConcatDataset([]), lambda: reference_data.ConcatDataset([]))
    with pytest.raises(AssertionError, match="IterableDataset"):
        data.ConcatDataset([Stream(3)])


def test_chain_dataset() -> None:
    chained = SizedStream(2, 2) + SizedStream(3, 3)
    assert isinstance(chained, data.ChainDataset)
    assert list(chained) == [0, 1, 0, 1, 2] and len(chained) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(data.ChainDataset([Squares(2)]))


def test_subset() -> None:
    subset = data.Subset(Squares(10), [5, 3, 3])
    assert [subset[i] for i in range(len(subset))] == [25, 9, 9]
    assert subset.__getitems__([2, 0]) == [9, 25]
    nested = data.Subset(subset, [0, 2])
    assert nested.__getitems__([1, 0]) == [9, 25]


@pytest.mark.parametrize(
    "lengths", [[3, 7], [0, 10], [0.3, 0.7], [0.33, 0.33, 0.34], [1 / 3, 1 / 3, 1 / 3], [1.0], [0.95, 0.05]]
)
def test_random_split_lengths(lengths: list[float]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = data.random_split(Squares(10), lengths, generator=generator())
    ours = len(caught)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        expected = [len(part) for part in reference_data.random_split(range(10), lengths)]
    assert ours == len(caught)
    assert [len(part) for part in parts] == expected
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = data.random_split(Squares(10), lengths, generator=generator())
    assert [list(part.indices) for part in again] == [list(part.indices) for part in parts]


@pytest.mark.parametrize("lengths", [[3, 6], [0.5, 0.6], [-0.5, 1.5], [11]])
def test_random_split_errors(lengths: list[float]) -> None:
    same_error(lambda: data.random_split(Squares(10), lengths), lambda: reference_data.random_split(range(10), lengths))


# --- samplers


def test_random_sampler() -> None:
    sampler = data.RandomSampler(range(100), generator=generator(3))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert list(data.RandomSampler(range(100), generator=generator(3))) == first
    dumbtorch.manual_seed(5)
    unseeded = list(data.RandomSampler(range(100)))
    dumbtorch.manual_seed(5)
    assert list(data.RandomSampler(range(100))) == unseeded


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25])
def test_random_sampler_counts(count: int) -> None:
    drawn = list(data.RandomSampler(range(10), num_samples=count))
    assert len(drawn) == len(data.RandomSampler(range(10), num_samples=count)) == count
    assert max(collections.Counter(drawn).values()) == -(-count // 10)
    with_replacement = list(data.RandomSampler(range(10), replacement=True, num_samples=count))
    assert len(with_replacement) == count and set(with_replacement) <= set(range(10))


def test_random_sampler_with_replacement_is_uniform() -> None:
    counts = collections.Counter(data.RandomSampler(range(10), True, 20_000, generator=generator()))
    assert all(1800 < counts[i] < 2200 for i in range(10))  # 2000 expected, deviation 42


@pytest.mark.parametrize("options", [{"replacement": 1}, {"num_samples": 0}, {"num_samples": 1.5}, {"num_samples": -1}])
def test_random_sampler_errors(options: dict[str, Any]) -> None:
    same_error(
        lambda: data.RandomSampler(range(3), **options), lambda: reference_data.RandomSampler(range(3), **options)
    )


def test_subset_random_sampler() -> None:
    sampler = data.SubsetRandomSampler([3, 5, 9, 11], generator=generator())
    assert sorted(sampler) == [3, 5, 9, 11] and len(sampler) == 4


def test_weighted_sampler_with_replacement() -> None:
    counts = collections.Counter(data.WeightedRandomSampler([0, 1, 3, 0, 6, 0], 20_000, generator=generator()))
    assert set(counts) == {1, 2, 4}
    for index, expected in ((1, 2000), (2, 6000), (4, 12_000)):
        assert abs(counts[index] - expected) < 0.06 * expected + 100


def test_weighted_sampler_without_replacement() -> None:
    firsts = collections.Counter()
    source = generator()
    for _ in range(2000):
        drawn = list(data.WeightedRandomSampler([1, 0, 3, 6], 3, replacement=False, generator=source))
        assert sorted(drawn) == [0, 2, 3]
        firsts[drawn[0]] += 1
    for index, expected in ((0, 200), (2, 600), (3, 1200)):
        assert abs(firsts[index] - expected) < 0.12 * expected + 30


def test_weighted_sampler_draws_zero_weights_last() -> None:
    for sampler in (data.WeightedRandomSampler, reference_data.WeightedRandomSampler):
        drawn = list(sampler([0, 2, 1, 0], 4, replacement=False))
        assert sorted(drawn[:2]) == [1, 2] and sorted(drawn) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("weights", "options"),
    [
        ([1, 2], {"num_samples": 0}),
        ([1, 2], {"num_samples": True}),
        ([1, 2], {"num_samples": 1, "replacement": 1}),
        ([[1, 2]], {"num_samples": 1}),
        ([1, -2], {"num_samples": 1}),
        ([1, float("nan")], {"num_samples": 1}),
        ([1, float("inf")], {"num_samples": 1}),
        ([0, 0], {"num_samples": 1}),
        ([1, 2], {"num_samples": 3, "replacement": False}),
    ],
)
def test_weighted_sampler_errors(weights: Any, options: dict[str, Any]) -> None:
    same_error(
        lambda: list(data.WeightedRandomSampler(weights, **options)),
        lambda: list(reference_data.WeightedRandomSampler(weights, **options)),
    )


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8])
def test_batch_sampler(count: int, drop_last: bool) -> None:
    ours = data.BatchSampler(data.SequentialSampler(range(count)), 4, drop_last)
    theirs = reference_data.BatchSampler(range(count), 4, drop_last)
    assert list(ours) == list(theirs) and len(ours) == len(theirs)


@pytest.mark.parametrize(("size", "drop_last"), [(0, False), (-1, False), (2.0, False), (True, False), (2, 1)])
def test_batch_sampler_errors(size: Any, drop_last: Any) -> None:
    with pytest.raises(ValueError, match="should be a"):
        data.BatchSampler(range(3), size, drop_last)


# --- collation


class Point(NamedTuple):
    x: Any
    y: Any


SAMPLES: dict[str, list[Any]] = {
    "ints": [1, 2],
    "bools": [True, False],
    "floats": [1.5, 2.5],
    "strings": ["a", "b"],
    "bytes": [b"a", b"b"],
    "tuples": [(1, 2.0), (3, 4.0)],
    "lists": [[1, "a"], [2, "b"]],
    "dicts": [{"a": 1, "b": (2, 3)}, {"a": 4, "b": (5, 6)}],
    "named": [Point(1, 2.0), Point(3, 4.0)],
    "ranges": [range(2), range(1, 3)],
    "arrays": [np.arange(3, dtype=np.int16), np.arange(1, 4, dtype=np.int16)],
    "0-d arrays": [np.array(1.5, dtype=np.float32), np.array(2.5, dtype=np.float32)],
    "numpy floats": [np.float64(1.5), np.float64(2.5)],
    "numpy ints": [np.int32(1), np.int32(2)],
    "defaultdicts": [collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)],
    "deques": [collections.deque([1, 2]), collections.deque([3, 4])],
}


def plain(value: Any) -> Any:
    """A description of nested data in which tensors of both libraries are alike."""
    if isinstance(value, (dumbtorch.Tensor, reference.Tensor)):
        return ("tensor", str(value.dtype).split(".")[-1], tuple(value.shape), value.tolist())
    if isinstance(value, dict):
        return (type(value).__name__, {key: plain(item) for key, item in value.items()})
    if isinstance(value, (list, tuple, collections.deque)):
        return (type(value).__name__, [plain(item) for item in value])
    return value


@pytest.mark.parametrize("name", SAMPLES)
def test_default_collate(name: str) -> None:
    assert plain(data.default_collate(SAMPLES[name])) == plain(reference_data.default_collate(SAMPLES[name]))


@pytest.mark.parametrize("name", SAMPLES)
def test_default_convert(name: str) -> None:
    for sample in (SAMPLES[name], SAMPLES[name][0]):
        assert plain(data.default_convert(sample)) == plain(reference_data.default_convert(sample))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64"])
def test_collate_tensors(dtype: str) -> None:
    kind = getattr(dumbtorch, dtype)
    batch = data.default_collate([dumbtorch.tensor([0, 1], dtype=kind), dumbtorch.tensor([1, 0], dtype=kind)])
    assert batch.dtype == kind and batch.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "batch", [[object(), object()], [[1], [1, 2]], [(1,), (1, 2)], [np.array(["a"])] * 2, [None], [], [1 + 2j]]
)
def test_collate_errors(batch: list[Any]) -> None:
    same_error(lambda: data.default_collate(batch), lambda: reference_data.default_collate(batch))


def test_collate_names_the_shapes() -> None:
    with pytest.raises(RuntimeError, match="3"):
        data.default_collate([dumbtorch.zeros(2), dumbtorch.zeros(3)])


# --- the loader in one process


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 11])
def test_sequential_batches(batch_size: int, drop_last: bool) -> None:
    ours = data.DataLoader(Squares(10), batch_size, drop_last=drop_last)
    theirs = reference_data.DataLoader([i * i for i in range(10)], batch_size, drop_last=drop_last)
    assert len(ours) == len(theirs)
    assert [plain(batch) for batch in ours] == [plain(batch) for batch in theirs]


def test_no_batching() -> None:
    assert list(data.DataLoader(Squares(4), batch_size=None)) == [0, 1, 4, 9]
    loader = data.DataLoader(Squares(4), batch_size=None, sampler=[3, 1])
    assert list(loader) == [9, 1] and len(loader) == 2


def test_shuffle_is_reproducible_and_complete() -> None:
    def one_pass(seed: int) -> list[int]:
        loader = data.DataLoader(Squares(50), 8, shuffle=True, generator=generator(seed))
        return [value for batch in loader for value in batch.tolist()]

    assert one_pass(1) == one_pass(1) != one_pass(2)
    assert sorted(one_pass(1)) == [i * i for i in range(50)]


def test_sampler_and_batch_sampler() -> None:
    assert [batch.tolist() for batch in data.DataLoader(Squares(9), 2, sampler=[4, 2, 0])] == [[16, 4], [0]]
    assert [batch.tolist() for batch in data.DataLoader(Squares(9), batch_sampler=[[1], [2, 3]])] == [[1], [4, 9]]


def test_getitems_is_used() -> None:
    class Batched(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-i for i in indices]

    assert [batch.tolist() for batch in data.DataLoader(Batched(4), 2)] == [[0, -1], [-2, -3]]


class Doubling(data.TensorDataset):
    def __getitem__(self, index: Any) -> Any:
        return tuple(2 * value for value in super().__getitem__(index))


def test_tensor_dataset_takes_one_index_select(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = data._fetch.ops.index_select

    def spy(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(data._fetch.ops, "index_select", spy)
    tensors = dumbtorch.arange(20.0).reshape(10, 2), dumbtorch.arange(10)
    subset = data.Subset(data.TensorDataset(*tensors), [9, 8, 7])
    for dataset, batches in ((data.TensorDataset(*tensors), 3), (subset, 1)):
        calls.clear()
        fast = [plain(batch) for batch in data.DataLoader(dataset, 4)]
        assert len(calls) == 2 * batches
        slow = [plain(batch) for batch in data.DataLoader(dataset, 4, collate_fn=lambda b: data.default_collate(b))]
        assert fast == slow
    calls.clear()
    doubled = list(data.DataLoader(Doubling(*tensors), 5))
    assert not calls and doubled[1][1].tolist() == [10, 12, 14, 16, 18]


def test_tensor_dataset_odd_indices() -> None:
    dataset = data.TensorDataset(dumbtorch.arange(5))
    assert [b[0].tolist() for b in data.DataLoader(dataset, batch_sampler=[[-1, 0], [2, -5]])] == [[4, 0], [2, 0]]
    for bad in ([5], [-6]):
        with pytest.raises(IndexError):
            list(data.DataLoader(dataset, batch_sampler=[bad]))


def test_batches_do_not_alias_the_dataset() -> None:
    tensor = dumbtorch.zeros(4)
    for (batch,) in data.DataLoader(data.TensorDataset(tensor), 4):
        batch += 1
    assert tensor.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [0, 5, 6])
def test_stream(count: int, drop_last: bool) -> None:
    class Theirs(reference_data.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(count))

    ours = data.DataLoader(Stream(count), 3, drop_last=drop_last)
    theirs = reference_data.DataLoader(Theirs(), 3, drop_last=drop_last)
    assert [plain(batch) for batch in ours] == [plain(batch) for batch in theirs]
    assert list(data.DataLoader(Stream(count), batch_size=None)) == list(range(count))
    with pytest.raises(TypeError):
        len(ours)


def test_stream_longer_than_promised_warns() -> None:
    loader = data.DataLoader(SizedStream(5, promised=4), 2)
    assert len(list(loader)) == 3  # nobody has asked yet
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2"):
        assert len(list(loader)) == 3


MAP_ERRORS: list[dict[str, Any]] = [
    {"num_workers": -1},
    {"timeout": -1},
    {"prefetch_factor": 2},
    {"num_workers": 1, "prefetch_factor": -1},
    {"persistent_workers": True},
    {"shuffle": True, "sampler": [1]},
    {"batch_sampler": [[1]], "batch_size": 2},
    {"batch_sampler": [[1]], "shuffle": True},
    {"batch_sampler": [[1]], "sampler": [1]},
    {"batch_sampler": [[1]], "drop_last": True},
    {"batch_size": None, "drop_last": True},
    {"batch_size": 0},
    {"multiprocessing_context": "fork"},
    {"num_workers": 1, "multiprocessing_context": "thread"},
    {"num_workers": 1, "multiprocessing_context": 3},
]


@pytest.mark.parametrize("options", MAP_ERRORS, ids=str)
def test_option_errors(options: dict[str, Any]) -> None:
    same_error(lambda: data.DataLoader(Squares(4), **options), lambda: reference_data.DataLoader(range(4), **options))


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}], ids=str)
def test_stream_option_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="DataLoader with IterableDataset"):
        data.DataLoader(Stream(4), **options)


def test_shuffling_nothing() -> None:
    same_error(lambda: data.DataLoader(Squares(0), shuffle=True), lambda: reference_data.DataLoader([], shuffle=True))
    assert list(data.DataLoader(Squares(0))) == []


@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset"])
def test_fixed_attributes(name: str) -> None:
    with pytest.raises(ValueError, match="should not be set after DataLoader is initialized"):
        setattr(data.DataLoader(Squares(3)), name, None)


@pytest.mark.skipif(dumbtorch.cuda.is_available(), reason="shows what happens without a GPU")
def test_pin_memory_without_gpu_warns() -> None:
    with pytest.warns(UserWarning, match="pin_memory"):
        assert len(list(data.DataLoader(Squares(4), 2, pin_memory=True))) == 2


def test_worker_info_is_none_here() -> None:
    assert data.get_worker_info() is None


# --- collation by a map


class Graph:
    def __init__(self, value: int) -> None:
        self.value = value


@pytest.mark.parametrize("framework", [dumbtorch, reference], ids=["dumbtorch", "torch"])
def test_collate_by_a_map(framework: Any) -> None:
    collate = framework.utils.data._utils.collate
    table = {**collate.default_collate_fn_map, Graph: lambda batch, *, collate_fn_map: [g.value for g in batch]}
    batch = [{"g": Graph(i), "x": np.float32(i), "y": np.ones(2), "z": (i, "a")} for i in range(2)]
    made = collate.collate(batch, collate_fn_map=table)
    assert made["g"] == [0, 1] and made["x"].dtype == framework.float32 and made["y"].shape == (2, 2)
    assert made["z"][0].tolist() == [0, 1] and made["z"][1] == ("a", "a")
    with pytest.raises(TypeError, match="Graph"):
        collate.default_collate(batch)
    assert collate.collate(["a", "b"], collate_fn_map={str: lambda batch, *, collate_fn_map: "".join(batch)}) == "ab"


def test_a_changed_map_changes_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    table = data._utils.collate.default_collate_fn_map
    monkeypatch.setitem(table, dumbtorch.Tensor, lambda batch, *, collate_fn_map: len(batch))
    assert list(data.DataLoader(data.TensorDataset(dumbtorch.ones(5)), 2)) == [[2], [2], [1]]


@pytest.mark.parametrize("source", [[3, 1, 2], range(3), {0: 3, 1: 1, 2: 2}, "abc", np.arange(3.0)], ids=str)
def test_a_loader_of_what_is_no_dataset(source: Any) -> None:
    assert [plain(b) for b in data.DataLoader(source, 2)] == [plain(b) for b in reference_data.DataLoader(source, 2)]
