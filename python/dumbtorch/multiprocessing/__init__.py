"""Processes that share tensors: the standard library's ``multiprocessing``, whose queues and arguments carry tensors.

A tensor that is sent moves to shared memory, and both sides then see the same elements; its gradient does not travel.
As in PyTorch, the sender must live until the tensor has arrived.
Reference: ``torch.multiprocessing``.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing import *  # noqa: F403
from multiprocessing import reduction
from typing import Any

from dumbtorch.multiprocessing.spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)
from dumbtorch.storage import SharedMemory, UntypedStorage

__all__ = list(multiprocessing.__all__)
__all__ += ["ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException", "SpawnContext"]
__all__ += ["get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn", "start_processes"]

_STRATEGY = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The ways to share memory: descriptors of files without names, of which a crash leaves nothing behind."""
    return {_STRATEGY}


def get_sharing_strategy() -> str:
    """The way memory is shared: "file_descriptor"."""
    return _STRATEGY


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepts "file_descriptor". Raises AssertionError for another: there is none here."""
    if new_strategy != _STRATEGY:
        raise AssertionError(f"there is no sharing strategy {new_strategy!r}, only {_STRATEGY!r}")


def _reduce(memory: UntypedStorage) -> tuple[Any, ...]:
    """How a storage goes to another process: by the descriptor of its shared memory."""
    if memory.device.type == "cpu" and memory.nbytes():
        with contextlib.suppress(RuntimeError):  # somebody else holds the address: a copy travels
            memory.share_memory_()
    shared = memory._shared_memory
    if shared is None:
        found: tuple[Any, ...] = memory.__reduce_ex__(2)
        return found
    return _rebuilt, (reduction.DupFd(shared.descriptor), len(shared))


def _rebuilt(descriptor: Any, size: int) -> UntypedStorage:
    return UntypedStorage._on(SharedMemory(descriptor.detach(), size))


reduction.ForkingPickler.register(UntypedStorage, _reduce)
