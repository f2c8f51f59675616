"""Page-locked memory, with a stand-in for the device that gives it."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch as reference

import dumbtorch as torch
from dumbtorch import _pinned, cuda
from dumbtorch.nn.utils.rnn import pack_sequence
from dumbtorch.utils.data import DataLoader, TensorDataset


class Host:
    """Gives ordinary memory, and notes what is asked of it."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.threads: set[str] = set()

    def is_available(self) -> bool:
        return True

    def lock(self, nbytes: int) -> tuple[int, int]:
        block = (ctypes.c_char * nbytes)()
        self.held[ctypes.addressof(block)] = block
        self.threads.add(threading.current_thread().name)
        return 0, ctypes.addressof(block)

    def unlock(self, index: int, address: int) -> None:
        del self.held[address]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host()
    monkeypatch.setattr(_pinned, "host", made)
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    yield made
    gc.collect()
    assert not made.held


@pytest.mark.skipif(cuda.is_available() or reference.cuda.is_available(), reason="there is a device")
@pytest.mark.parametrize("call", [
    "torch.ones(3).pin_memory()", "torch.ones(3).is_pinned()", "torch.zeros(3, pin_memory=True)",
    "torch.tensor([1], pin_memory=True)", "torch.ones(3).new_zeros(2, pin_memory=True)",
    "torch.arange(3, pin_memory=True)", "torch.ones(3).untyped_storage().pin_memory()",
    "torch.ones(3).untyped_storage().is_pinned()", "torch.nn.Linear(2, 2).weight.pin_memory()",
    "torch.nn.utils.rnn.pack_sequence([torch.ones(3)]).pin_memory()",
])  # fmt: skip
def test_without_a_device(call: str) -> None:
    def result(framework: Any) -> Any:
        try:
            return eval(call, {"torch": framework})
        except Exception as error:
            return type(error), str(error) if type(error) is RuntimeError else ""

    assert result(torch) == result(reference)


def test_the_argument_device_is_deprecated(host: Host) -> None:
    with pytest.warns(DeprecationWarning, match="is_pinned"):
        torch.ones(3).is_pinned("cuda")
    with pytest.warns(DeprecationWarning, match="pin_memory"):
        torch.ones(3).pin_memory("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.int64])
def test_a_pinned_copy(host: Host, dtype: Any) -> None:
    x = (torch.arange(24) % 3).to(dtype).reshape(2, 3, 4).permute(2, 0, 1)
    y = x.pin_memory()
    assert y.stride() == x.stride() and y.dtype is dtype and bool((x == y).all())
    assert y.is_pinned() and y[1:].is_pinned() and y.pin_memory() is y and y.untyped_storage().is_pinned()
    assert not x.is_pinned() and not y.clone().is_pinned()
    part = y[1]
    del y
    assert part.is_pinned() and len(host.held) == 1
    del part
    assert not host.held and not _pinned._blocks


def test_who_makes_pinned_tensors(host: Host) -> None:
    for x in (
        torch.zeros(3, pin_memory=True), torch.tensor([1.0], pin_memory=True), torch.ones(2).new_full((2,), 1,
        pin_memory=True), pack_sequence([torch.ones(3)]).pin_memory(),
        torch.ones(2).untyped_storage().pin_memory(),
    ):  # fmt: skip
        assert x.is_pinned()
    del x
    assert not torch.empty(0).pin_memory().is_pinned()
    w = torch.ones(3, requires_grad=True)
    (w.pin_memory() * 2).sum().backward()
    assert w.grad.tolist() == [2, 2, 2]
    lasting = torch.zeros(3, pin_memory=True).numpy()
    lasting[:] = 3
    gc.collect()
    assert lasting.tolist() == [3, 3, 3] and len(host.held) == 1


class Pair(NamedTuple):
    x: Any
    name: str


class Own:
    def __init__(self) -> None:
        self.pinned = False

    def pin_memory(self) -> Own:
        self.pinned = True
        return self


def everything(samples: list[Any]) -> Any:
    x = torch.stack(samples)
    return {"pair": Pair(x, "a"), "tuple": (x, "text", 3), "list": [x], "own": Own(), "range": range(2)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_pins_all_kinds_of_batches(host: Host, workers: int) -> None:
    loader = DataLoader(
        torch.arange(6.0), 2, collate_fn=everything, pin_memory=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    for _ in range(2):
        seen = []
        for batch in loader:
            seen += batch["list"][0].tolist()
            assert type(batch["pair"]) is Pair and batch["pair"].x.is_pinned() and batch["pair"].name == "a"
            assert type(batch["tuple"]) is tuple and batch["tuple"][0].is_pinned() and batch["tuple"][1:] == ("text", 3)
            assert batch["list"][0].is_pinned() and batch["own"].pinned and list(batch["range"]) == [0, 1]
        assert seen == [0, 1, 2, 3, 4, 5]
        del batch
    here = threading.current_thread().name
    assert (here in host.threads) == (workers == 0)
    del loader


def test_a_failure_of_pinning_is_raised(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(nbytes: int) -> Any:
        raise MemoryError("no page-locked memory")

    monkeypatch.setattr(host, "lock", full)
    for workers in (0, 1):
        with pytest.raises(MemoryError, match="page-locked"):
            list(DataLoader(TensorDataset(torch.ones(4)), 2, pin_memory=True, num_workers=workers))


def test_the_device_of_a_loader_is_deprecated(host: Host) -> None:
    with pytest.warns(UserWarning, match="pin_memory_device is deprecated"):
        assert next(iter(DataLoader([1, 2], pin_memory=True, pin_memory_device="cuda"))).is_pinned()
