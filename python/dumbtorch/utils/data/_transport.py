"""Objects over a pipe between two processes, with tensor and array contents in shared memory.

``pickle`` protocol 5 hands out the large buffers of an object one by one. They are laid side by side into one anonymous
memory file whose descriptor travels over the pipe; the receiver maps it and rebuilds tensors on top, without a copy.
Nothing has a name in a file system, so nothing is left behind when either side is killed.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import uint8
from dumbtorch._tensor import Tensor

_ALIGNMENT = 64  # of each buffer: what kernels like best
_INLINE_LIMIT = 512  # bytes that may travel in the pipe itself


def send(connection: Connection, value: Any) -> None:
    """Send ``value``. Whatever its size, the pipe carries under a kilobyte.

    That is what keeps both sides from waiting for each other to empty a full pipe. ``value`` is pickled completely
    before anything is sent: an object that cannot be pickled raises and leaves the connection as it was.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = _dump(value, buffers.append).getbuffer()
    if not buffers and len(body) <= _INLINE_LIMIT:
        connection.send((bytes(body), None))
        return
    parts = [body, *(buffer.raw() for buffer in buffers)]
    sizes = [part.nbytes for part in parts]
    descriptor = _anonymous_file()
    try:
        with _map(descriptor, max(1, sum(map(_padded, sizes)))) as memory:
            start = 0
            for part, size in zip(parts, sizes, strict=True):
                memory[start : start + size] = part
                start += _padded(size)
        # A batch of very many arrays: their sizes go into the file too, so that the message stays small.
        connection.send((None, sizes if len(sizes) <= 16 else _append_sizes(descriptor, sizes)))
        with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as pipe:
            socket.send_fds(pipe, [b"+"], [descriptor])
    finally:
        os.close(descriptor)


def receive(connection: Connection) -> Any:
    """The next value sent, its tensors on top of the mapping. EOFError or ConnectionError: the other side is gone."""
    body, sizes = connection.recv()
    if body is not None:
        return pickle.loads(body)
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as pipe:
        _, descriptors, _, _ = socket.recv_fds(pipe, 1, 1)
    if not descriptors:
        raise EOFError("the other side closed the connection in the middle of a message")
    descriptor = descriptors[0]
    try:
        if isinstance(sizes, int):
            sizes = _read_sizes(descriptor, sizes)
        memory = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size))
    finally:
        os.close(descriptor)
    parts = []
    start = 0
    for size in sizes:
        parts.append(memory[start : start + size])
        start += _padded(size)
    return pickle.loads(parts[0], buffers=parts[1:])


class Portable:
    """Holds a value that goes to a new process as an argument; pickles it with its tensors as plain bytes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return _load_portable, (_dump(self.value, None).getvalue(),)


def _load_portable(data: bytes) -> Portable:
    return Portable(pickle.loads(data))


def _dump(value: Any, take_buffer: Callable[[pickle.PickleBuffer], Any] | None) -> io.BytesIO:
    stream = io.BytesIO()
    _Pickler(stream, 5, True, take_buffer).dump(value)
    return stream


class _Pickler(reduction.ForkingPickler):
    def reducer_override(self, value: Any) -> Any:
        # Subclasses (Parameter among them) and tensors of other devices know themselves how they are pickled.
        if type(value) is not Tensor or value.device.type != "cpu":
            return NotImplemented
        flat = value.detach().contiguous().reshape(-1)
        content = pickle.PickleBuffer(_bytes_of(flat)) if flat.numel() else None
        return _rebuild_tensor, (content, value.dtype, tuple(value.shape), value.requires_grad)


def _bytes_of(flat: Tensor) -> memoryview:
    # Through uint8: the buffer protocol has no code for bfloat16.
    content: Any = flat.view(uint8)
    return memoryview(content)


def _rebuild_tensor(content: Any, dtype: Any, shape: tuple[int, ...], requires_grad: bool) -> Tensor:
    flat = ops.empty(0, dtype=dtype) if content is None else ops.frombuffer(content, dtype=dtype)
    tensor: Tensor = flat.reshape(shape)
    return tensor.requires_grad_() if requires_grad else tensor


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dumbtorch-batch")
    with tempfile.TemporaryFile() as file:  # already without a name
        return os.dup(file.fileno())


def _map(descriptor: int, size: int) -> mmap.mmap:
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size)


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _append_sizes(descriptor: int, sizes: Sequence[int]) -> int:
    os.lseek(descriptor, 0, os.SEEK_END)
    _write_all(descriptor, b"".join(size.to_bytes(8, "little") for size in sizes))
    return len(sizes)


def _read_sizes(descriptor: int, count: int) -> list[int]:
    os.lseek(descriptor, -8 * count, os.SEEK_END)
    data = b""
    while len(data) < 8 * count:
        data += os.read(descriptor, 8 * count - len(data))
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
