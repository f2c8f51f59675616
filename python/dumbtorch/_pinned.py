"""Page-locked memory of the host: a device can copy from it while the program goes on.

The memory comes from the devices' module, which sets `host` when it is imported; without a device there is none.
"""

from __future__ import annotations

import ctypes
import warnings
import weakref
from typing import Any, NamedTuple, Protocol

from dumbtorch import _C, _device, _dtypes


class Host(Protocol):
    """Who has page-locked memory."""

    def is_available(self) -> bool:
        """Whether there is a device that needs it."""

    def lock(self, nbytes: int) -> tuple[int, int]:
        """The number of a device, and the address of a new block for it."""

    def unlock(self, index: int, address: int) -> None:
        """Takes a block back, perhaps before the copies from it are over."""

    def upload(self, index: int, target: int, source: int, nbytes: int, block: int) -> None:
        """Queues a copy from inside of a block to the address of a device."""


class Block(NamedTuple):
    """A block that a storage lies in."""

    memory: weakref.ref[Any]
    device: int
    address: int


_R = _C.required
_FROM_BYTES = _C.make_op(
    "frombuffer", "_from_bytes", ("buffer", "dtype"), (_R, _R), 2, "..", 0, "A 1-d tensor over a buffer's bytes."
)
host: Host | None = None
_blocks: dict[int, Block] = {}  # by the storages' identities


def available() -> bool:
    """Whether there is a device that page-locked memory is for."""
    return host is not None and host.is_available()


def is_pinned(storage_id: int) -> bool:
    """Whether a storage lies in page-locked memory."""
    block = _blocks.get(storage_id)
    return block is not None and block.memory() is not None


def pinned(tensor: Any) -> Any:
    """A copy of a CPU's tensor in page-locked memory; itself if it lies there."""
    if host is None or not host.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")
    if not tensor.is_cpu:
        kind = f"torch.{tensor.device.type}.{_dtypes.TYPE_NAMES[tensor.dtype]}Tensor"
        raise RuntimeError(f"cannot pin '{kind}' only dense CPU tensors can be pinned")
    if is_pinned(tensor._storage_id) or not tensor.numel():
        return tensor
    reach = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    flat = _new(host, reach * tensor.dtype.itemsize).view(tensor.dtype)
    return flat.as_strided(tuple(tensor.shape), tensor.stride()).copy_(tensor)


def made(tensor: Any) -> Any:
    """A new tensor in page-locked memory, for the argument ``pin_memory`` of factory functions."""
    if not available():
        raise RuntimeError(
            "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory allocator is available on "
            "this system."
        )
    return pinned(tensor)


def _new(source: Host, nbytes: int) -> Any:
    index, address = source.lock(nbytes)
    memory = (ctypes.c_char * nbytes).from_address(address)
    returned = weakref.finalize(memory, source.unlock, index, address)
    returned.atexit = False  # the process gives everything back
    made = _FROM_BYTES(memoryview(memory).cast("B"), _dtypes.uint8)
    key = made._storage_id
    _blocks[key] = Block(weakref.ref(memory, lambda ref: _forget(key, ref)), index, address)
    return made


def _forget(key: int, memory: weakref.ref[Any]) -> None:
    if key in _blocks and _blocks[key].memory is memory:
        del _blocks[key]


def uploaded(tensor: Any, device: _device.device) -> Any:
    """The tensor on a device without waiting for the copy, or None where it must be waited for.

    That takes page-locked memory without gaps and no graph.
    """
    block = _blocks.get(tensor._storage_id)
    if block is None or host is None or device.type != "cuda":
        return None
    if tensor.requires_grad or tensor.is_conj() or not tensor.is_contiguous():
        return None
    target = tensor.new_empty(tuple(tensor.shape), device=device)
    if target.get_device() != block.device:
        return None
    nbytes = tensor.numel() * tensor.dtype.itemsize
    host.upload(block.device, target.data_ptr(), tensor.data_ptr(), nbytes, block.address)
    return target


def warn_device(function: str) -> None:
    """The argument ``device`` of a function of tensors is going away in PyTorch."""
    warnings.warn(
        f"The argument 'device' of Tensor.{function}() is deprecated. Please do not pass this argument.",
        DeprecationWarning,
        stacklevel=3,
    )
