"""The format of ``.pt`` files before PyTorch 1.6: pickles one after the other, then the bytes of the storages."""

from __future__ import annotations

import pickle
import struct
import sys
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import uint8
from dumbtorch.serialization._archive import ArchiveError, fill
from dumbtorch.serialization._pickler import Pickler
from dumbtorch.serialization._restore import location_tag, restorer, storage_dtype
from dumbtorch.storage import CLASSES, TypedStorage, UntypedStorage

__all__ = ["load", "save"]

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Storages:
    """Answers the persistent ids: storages that are filled later. All together are never larger than the file."""

    def __init__(self, size: int, map_location: Any) -> None:
        self._left = size
        self._restore = restorer(map_location)
        self.known: dict[str, tuple[UntypedStorage, UntypedStorage, Any]] = {}

    def __call__(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] in ("module", b"module"):
            return pid[1]  # a class with its source text, which is not looked at
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] not in ("storage", b"storage"):
            raise ArchiveError(f"unknown persistent id: {str(pid)[:80]}")
        _, kind, key, location, numel, view = pid
        dtype = storage_dtype(kind)
        if view is not None:
            raise ArchiveError(
                "the file has views of storages, as PyTorch wrote before 0.4: save it again with a newer"
            )
        if type(key) is not str or type(numel) is not int or numel < 0:
            raise ArchiveError("a storage's persistent id has a key or a size of a wrong type")
        if key not in self.known:
            size = numel * dtype.itemsize
            if size > self._left:
                raise ArchiveError(f"the storage {key[:40]!r} of {size} bytes is larger than the file")
            self._left -= size
            memory = UntypedStorage._of(ops.empty(size, dtype=uint8))
            memory.fill_(0)
            place = location.decode("ascii") if isinstance(location, bytes) else location
            self.known[key] = memory, self._restore(memory, place), dtype
        found: Any = self.known[key][1]
        if isinstance(found, TypedStorage):
            found = found.untyped()
        return TypedStorage._of(found, dtype)


def load(file: Any, map_location: Any, run: Any) -> Any:
    """Read the format; `run(file, persistent)` reads one pickle."""
    start = file.tell()
    size = file.seek(0, 2) - start
    file.seek(start)
    if size == 0:
        raise EOFError("Ran out of input: the file is empty")

    def nothing(pid: Any) -> Any:
        raise ArchiveError(f"unknown persistent id: {str(pid)[:80]}")

    if run(file, nothing) != MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = run(file, nothing)
    if version != PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {str(version)[:40]}")
    system = run(file, nothing)
    little = system.get("little_endian", True) if isinstance(system, dict) else True
    storages = _Storages(size, map_location)
    result = run(file, storages)
    keys = run(file, nothing)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages.known):
        raise RuntimeError("the file does not list the storages that its tensors need; corrupt file?")
    for key in keys:
        memory, placed, dtype = storages.known[key]
        head = memoryview(bytearray(8))
        fill(file, None, head)
        (count,) = struct.unpack("<q" if little else ">q", head)
        if count * dtype.itemsize != memory.nbytes():
            raise RuntimeError(
                f"the storage {key[:40]!r} has {count} elements in the file and another number in its tensor"
            )
        if count:
            fill(file, None, memoryview(memory.bytes))
        if little != (sys.byteorder == "little"):
            memory.byteswap(dtype)
        if placed is not memory:
            placed.copy_(memory)
    return result


def save(obj: Any, file: Any, protocol: int) -> None:
    """Write the format."""
    system = {
        "protocol_version": PROTOCOL,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for head in (MAGIC, PROTOCOL, system):
        pickle.dump(head, file, protocol)
    dtypes = {}

    def identify(memory: UntypedStorage, kind: Any, key: str, dtype: Any, count: int) -> Any:
        dtypes[key] = dtype
        kind = CLASSES["ByteStorage"] if kind is UntypedStorage else kind  # the readers of this format know no other
        return "storage", kind, key, location_tag(memory), count, None

    pickler = Pickler(file, protocol, identify)
    pickler.dump(obj)
    keys = sorted(pickler.storages)
    pickle.dump(keys, file, protocol)
    for key in keys:
        memory = pickler.storages[key].cpu()
        file.write(struct.pack("=q", memory.nbytes() // dtypes[key].itemsize))
        if memory.nbytes():
            file.write(memoryview(memory.bytes))
