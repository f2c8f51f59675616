"""Tensors that several processes see."""

import os
import signal
from typing import Any

import numpy as np
import pytest

import dumbtorch
from dumbtorch import multiprocessing as mp
from dumbtorch import nn


@pytest.mark.parametrize("count", (1, 3, 100_000))
def test_a_forked_process_writes_into_shared_memory(count: int) -> None:
    x = dumbtorch.arange(float(count))
    view, parameter, copy = x[:1], nn.Parameter(x), x.clone()
    assert not x.is_shared() and not x.untyped_storage().is_shared()
    assert x.share_memory_() is x
    assert x.is_shared() and view.is_shared() and parameter.is_shared() and not copy.is_shared()
    process = mp.get_context("fork").Process(target=x.fill_, args=(77,))
    process.start()
    process.join()
    assert [t[0].item() for t in (x, view, parameter, copy)] == [77, 77, 77, 0]


def test_what_others_hold_is_not_moved() -> None:
    x = dumbtorch.ones(3)
    array = x.numpy()
    with pytest.raises(RuntimeError, match="another library holds its address"):
        x.share_memory_()
    array[0] = 5
    assert x[0] == 5
    y = dumbtorch.from_numpy(np.ones(3)).share_memory_()
    assert y.is_shared() and y.tolist() == [1, 1, 1]
    assert not dumbtorch.empty(0).share_memory_().is_shared()
    with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
        if not dumbtorch.cuda.is_available():
            dumbtorch.ones(1).pin_memory()
        raise RuntimeError("Cannot access accelerator device when none is available")


def work(index: int, model: Any, queue: Any, received: Any) -> None:
    with dumbtorch.no_grad():
        model.weight[index] = index + 10
    queue.put((index, model.weight[index].clone(), model.bias))
    received.wait(60)  # as in PyTorch, a sender must live until its tensors have arrived


def test_spawned_processes_share_a_module_and_send_tensors() -> None:
    model = nn.Linear(2, 2).share_memory()
    spawned = mp.get_context("spawn")
    queue, received = spawned.SimpleQueue(), spawned.Event()
    context = mp.spawn(work, (model, queue, received), nprocs=2, join=False)
    got = sorted((queue.get() for _ in range(2)), key=lambda item: item[0])
    received.set()
    while not context.join():
        pass
    assert model.weight.tolist() == [[10, 10], [11, 11]]
    assert [row.tolist() for _, row, _ in got] == [[10, 10], [11, 11]]
    got[0][2].data.fill_(3)
    assert model.bias.tolist() == [3, 3] and type(got[0][2]) is nn.Parameter


def fail(index: int, how: str) -> None:
    if index == 1:
        if how == "raise":
            raise ValueError("bad luck")
        if how == "exit":
            os._exit(4)
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@pytest.mark.parametrize(("how", "text"), (("raise", "ValueError: bad luck"), ("exit", "code 4"), ("kill", "SIGKILL")))
def test_the_failure_of_one_process_ends_all(how: str, text: str) -> None:
    kind = mp.ProcessRaisedException if how == "raise" else mp.ProcessExitedException
    with pytest.raises(kind, match=text) as caught:
        mp.start_processes(fail, (how,), nprocs=2, start_method="fork")
    assert caught.value.error_index == 1


def test_there_is_one_way_to_share() -> None:
    assert mp.get_all_sharing_strategies() == {mp.get_sharing_strategy()} == {"file_descriptor"}
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(AssertionError, match="file_system"):
        mp.set_sharing_strategy("file_system")
