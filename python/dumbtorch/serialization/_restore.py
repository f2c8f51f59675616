"""Where the storages of a file go: location tags, devices, byte order."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any

from dumbtorch import _device, _dtypes
from dumbtorch.serialization._archive import ArchiveError, Reader
from dumbtorch.storage import TypedStorage, UntypedStorage

__all__ = [
    "LoadEndianness",
    "Storages",
    "default_restore_location",
    "get_default_load_endianness",
    "location_tag",
    "register_package",
    "restorer",
    "set_default_load_endianness",
    "storage_dtype",
]


class LoadEndianness(enum.Enum):
    """The byte order of files that do not name theirs. Reference: ``torch.serialization.LoadEndianness``."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_endianness: list[LoadEndianness | None] = [None]


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order taken for files that do not name theirs; None: little."""
    return _endianness[0]


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Sets the byte order taken for files that do not name theirs. Raises TypeError for another type."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _endianness[0] = endianness


# ---------------------------------------------------------------- devices

Tagger = Callable[[Any], "str | None"]
Restorer = Callable[[Any, str], Any]
_packages: list[tuple[int, Tagger, Restorer]] = []


def register_package(priority: int, tagger: Tagger, deserializer: Restorer) -> None:
    """Adds a kind of location: `tagger` names a storage's, `deserializer` brings a storage there.

    Both return None for what is not theirs; the lowest priority is asked first. Reference:
    ``torch.serialization.register_package``.
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda entry: entry[0])


def location_tag(storage: Any) -> str:
    """The name of a storage's location in files: ``cpu``, ``cuda:0``. Raises RuntimeError if nobody knows it."""
    for _, tagger, _ in _packages:
        tag = tagger(storage)
        if tag:
            return tag
    raise RuntimeError("don't know how to determine data location of " + type(storage).__name__)


def default_restore_location(storage: Any, location: str) -> Any:
    """Brings a storage to the location of that name. Raises RuntimeError where there is no such device."""
    for _, _, deserializer in _packages:
        found = deserializer(storage, location)
        if found is not None:
            return found
    raise RuntimeError(
        f"don't know how to restore data location of {type(storage).__name__} (tagged with {str(location)[:80]})"
    )


def _device_tag(storage: Any) -> str | None:
    return str(storage.device)


def _to_device(storage: Any, location: Any) -> Any:
    if location == "cpu":
        return storage
    if not isinstance(location, str):
        return None
    try:
        place = _device.device(location)
    except RuntimeError:
        return None
    try:
        return storage.to(device=place)
    except RuntimeError as error:
        kind = place.type.upper()
        raise RuntimeError(
            f"Attempting to deserialize object on a {kind} device, but it cannot be used here ({error}). If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU."
        ) from None


register_package(10, _device_tag, _to_device)


def restorer(map_location: Any) -> Restorer:
    """The function that brings a storage where `map_location` wants the storages of a location to be."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, map_location.get(location, location))
    if isinstance(map_location, bytes):
        map_location = map_location.decode("ascii")
    if isinstance(map_location, (str, _device.device)):
        place = str(map_location)
        return lambda storage, location: default_restore_location(storage, place)
    if isinstance(map_location, int) and not isinstance(map_location, bool):
        return lambda storage, location: default_restore_location(storage, f"cuda:{map_location}")

    def restore(storage: Any, location: str) -> Any:
        found = map_location(storage, location)
        return default_restore_location(storage, location) if found is None else found

    return restore


# ---------------------------------------------------------------- the storages of an archive


def storage_dtype(kind: Any) -> Any:
    """The dtype of a storage class. Raises ArchiveError for anything else."""
    if kind is UntypedStorage:
        return _dtypes.uint8
    if isinstance(kind, type) and issubclass(kind, TypedStorage) and kind.dtype is not None:
        return kind.dtype
    raise ArchiveError(f"a storage's class is expected, not {str(kind)[:80]}")


class Storages:
    """Answers the persistent ids of an archive's pickle: each record becomes one storage, read when first named."""

    def __init__(self, reader: Reader, map_location: Any) -> None:
        self._reader = reader
        self._restore = restorer(map_location)
        self._known: dict[str, tuple[Any, Any]] = {}
        self._swap = self._order() != sys.byteorder

    def _order(self) -> str:
        if "byteorder" in self._reader:
            if self._reader.size("byteorder") > 16:
                raise ArchiveError("the record 'byteorder' is no byte order")
            order = self._reader.read("byteorder")
            if order not in (b"little", b"big"):
                raise ArchiveError(f"Unknown endianness type: {order!r}")
            return order.decode()
        default = get_default_load_endianness()
        if default is LoadEndianness.NATIVE:
            return sys.byteorder
        return "big" if default is LoadEndianness.BIG else "little"

    def __call__(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] not in ("storage", b"storage"):
            raise ArchiveError(f"unknown persistent id: {str(pid)[:80]}")
        _, kind, key, location, numel = pid
        dtype = storage_dtype(kind)
        if type(key) is not str or type(numel) is not int or numel < 0:
            raise ArchiveError("a storage's persistent id has a key or a size of a wrong type")
        if isinstance(location, bytes):
            location = location.decode("ascii")
        record = f"data/{key}"
        if numel * dtype.itemsize > self._reader.size(record):
            raise ArchiveError(
                f"the storage {key[:40]!r} of {numel} elements of {dtype!r} is larger than its record in the file "
                f"({self._reader.size(record)} bytes)"
            )
        if key not in self._known:
            memory = UntypedStorage._of(self._reader.tensor(record))
            if self._swap and dtype.itemsize > 1:
                memory.byteswap(dtype)
            self._known[key] = self._restore(memory, location), dtype
        found, first = self._known[key]
        if self._swap and dtype is not first:
            raise ArchiveError(f"the storage {key[:40]!r} is used with two dtypes and in foreign byte order")
        if isinstance(found, TypedStorage):
            found = found.untyped()
        return TypedStorage._of(found, dtype)
