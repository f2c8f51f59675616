"""Storages: the memory behind tensors as objects of their own."""

from __future__ import annotations

import copy
import mmap
import os
import pickle
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from dumbtorch import _C, _device, _dtypes, _interop, _pinned

__all__ = ["CLASSES", "TypedStorage", "UntypedStorage", "from_file", "is_storage", "storage_of"]

_R = _C.required
_LAZY = 16  # a pending conjugation is a matter of the view, not of the memory
_BYTES = _C.make_op("storage_bytes", "_storage_bytes", ("self",), (_R,), 1, ".", _LAZY, "The whole storage as uint8.")
_RESIZE = _C.make_op("resize_", "_resize_storage", ("self", "nbytes"), (_R,) * 2, 2, "..", 0, "Another size.")


_ADOPT = _C.make_op("share_memory_", "_adopt_storage", ("self", "source"), (_R,) * 2, 2, "..", _LAZY, "Other memory.")


class SharedMemory(mmap.mmap):
    """Memory that processes share, of a file without a name; ``descriptor`` is the file's."""

    descriptor: int

    def __new__(cls, descriptor: int, size: int) -> SharedMemory:
        made: SharedMemory = super().__new__(cls, descriptor, size)
        made.descriptor = descriptor
        return made

    def __del__(self) -> None:
        os.close(self.descriptor)

    @staticmethod
    def of_size(size: int) -> SharedMemory:
        """New memory of that many bytes, all zero."""
        descriptor = os.memfd_create("dumbtorch-storage")
        os.ftruncate(descriptor, size)
        return SharedMemory(descriptor, size)


#: The shared memory of the storages that are there, by the storages' identities.
_shared: weakref.WeakValueDictionary[int, SharedMemory] = weakref.WeakValueDictionary()


class UntypedStorage:
    """The bytes behind tensors. There is one object for each storage while it is referenced.

    ``UntypedStorage(n)`` makes one of ``n`` bytes, ``UntypedStorage(sequence)`` one of these bytes. A tensor's is
    ``tensor.untyped_storage()``; pickle and deepcopy meet it once, so that what shares memory still does afterwards.
    Reference: ``torch.UntypedStorage``.
    """

    __slots__ = ("__weakref__", "bytes")
    bytes: Any

    def __init__(self, size_or_sequence: Any = 0, *, device: Any = None) -> None:
        if isinstance(size_or_sequence, int):
            data = _interop._FROM_BYTES(memoryview(bytearray(size_or_sequence)), _dtypes.uint8)
        else:
            data = _interop._FROM_DATA(list(size_or_sequence), _dtypes.uint8)
        self.bytes = data if device is None else data.to(device)

    @staticmethod
    def _of(data: Any) -> UntypedStorage:
        made: UntypedStorage = UntypedStorage.__new__(UntypedStorage)
        made.bytes = data
        return made

    @property
    def device(self) -> Any:
        """Where the memory is."""
        return self.bytes.device

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is that of a cuda device."""
        return bool(self.bytes.is_cuda)

    @property
    def filename(self) -> None:
        """The file that the memory maps: none."""
        return None

    is_hpu = is_sparse = is_sparse_csr = False

    @property
    def _shared_memory(self) -> SharedMemory | None:
        """The shared memory that the bytes lie in, if they do."""
        return _shared.get(self.bytes._storage_id)

    def is_shared(self) -> bool:
        """Whether other processes can see the memory."""
        return self._shared_memory is not None or self.is_cuda

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is page-locked, for copies to a device."""
        return _pinned.is_pinned(self.bytes._storage_id)

    def pin_memory(self, device: Any = None) -> UntypedStorage:
        """A copy in page-locked memory; itself if it is. Raises RuntimeError without an accelerator."""
        pinned = _pinned.pinned(self.bytes)
        return self if pinned is self.bytes else self._of(pinned)

    def share_memory_(self) -> UntypedStorage:
        """Moves the bytes, for all the tensors on them, to memory that processes share.

        Raises RuntimeError where somebody else holds the address, such as a NumPy array.
        """
        if not self.is_shared() and self.nbytes():
            memory = SharedMemory.of_size(self.nbytes())
            source = _interop._FROM_BYTES(memoryview(memory), _dtypes.uint8)
            source.copy_(self.bytes)
            _ADOPT(self.bytes, source)
            _shared[self.bytes._storage_id] = memory
        return self

    @staticmethod
    def from_file(filename: Any, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """A storage on the memory map of a file's first bytes (0: all); see `from_file`."""
        return UntypedStorage._of(from_file(filename, shared, nbytes, dtype=_dtypes.uint8))

    @staticmethod
    def _on(memory: SharedMemory) -> UntypedStorage:
        """The storage on shared memory."""
        made = UntypedStorage._of(_interop._FROM_BYTES(memoryview(memory), _dtypes.uint8))
        _shared[made.bytes._storage_id] = memory
        return made

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self.bytes.numel())

    size = nbytes
    __len__ = nbytes

    def element_size(self) -> int:
        """1: the elements are bytes."""
        return 1

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return int(self.bytes.data_ptr())

    def get_device(self) -> int:
        """The index of the device, -1 for the CPU."""
        return int(self.bytes.get_device())

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        numbers: list[int] = self.bytes.tolist()
        return numbers

    def clone(self) -> UntypedStorage:
        """A storage with a copy of the bytes."""
        return self._of(self.bytes.clone())

    def copy_(self, source: Any, non_blocking: bool | None = None) -> UntypedStorage:
        """Writes the bytes of another storage of this size. Raises RuntimeError for another size."""
        self.bytes.copy_(source.untyped().bytes)
        return self

    def resize_(self, size: int) -> UntypedStorage:
        """Gives the storage that many bytes, for all the tensors on it; what was there stays as far as it fits.

        Raises RuntimeError where the memory belongs to somebody else, such as a NumPy array.
        """
        _RESIZE(self.bytes, size)
        self.bytes = _BYTES(self.bytes)
        return self

    def fill_(self, value: int) -> UntypedStorage:
        """Writes one value into every byte."""
        self.bytes.fill_(value)
        return self

    def byteswap(self, dtype: Any) -> None:
        """Reverses the bytes of each element of this dtype, in place."""
        size = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
        self.bytes.copy_(self.bytes.reshape(-1, size).flip(1).flatten())

    def to(self, *, device: Any, non_blocking: bool = False) -> UntypedStorage:
        """The storage on a device: itself where it is there already."""
        moved = self.bytes.to(device)
        return self if moved is self.bytes else self._of(moved)

    def cpu(self) -> UntypedStorage:
        """The storage in the CPU's memory."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """The storage in a cuda device's memory."""
        return self.to(device="cuda" if device is None else device)

    def new(self) -> UntypedStorage:
        """An empty storage on the same device."""
        return UntypedStorage(0, device=self.device)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(self.bytes[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} out of range for storage of size {len(self)}")
        return self.bytes[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self.bytes[index] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self.bytes._storage_id == other.bytes._storage_id

    def __hash__(self) -> int:
        return hash(self.bytes._storage_id)

    def __repr__(self) -> str:
        text = " ..." if self.device.type == "meta" else "\n ".join(str(n) for n in self.tolist())
        return f" {text}\n[torch.storage.UntypedStorage(device={self.device}) of size {len(self)}]"

    def __copy__(self) -> UntypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> UntypedStorage:
        if id(self) not in memo:
            memo[id(self)] = self.clone()
        found: UntypedStorage = memo[id(self)]
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        here = self.bytes.to("cpu")
        view = memoryview(here)
        data = pickle.PickleBuffer(view) if int(protocol) >= 5 else view.tobytes()
        return _storage_from, (data, str(self.device))


def _storage_from(data: Any, device: str) -> UntypedStorage:
    view = memoryview(data)
    # a copy: the pickle's own bytes may be read-only or belong to somebody else
    if view.nbytes:
        made = _interop._FROM_BYTES(view, _dtypes.uint8).clone()
    else:
        made = _interop._FROM_DATA([], _dtypes.uint8)
    return UntypedStorage._of(made if device == "cpu" else made.to(device))


_known: weakref.WeakValueDictionary[int, UntypedStorage] = weakref.WeakValueDictionary()


def storage_of(t: Any) -> UntypedStorage:
    """The storage behind a tensor."""
    key = t._storage_id
    found = _known.get(key)
    if found is None:
        # it keeps the memory alive, so that the key stays its own
        found = _known[key] = UntypedStorage._of(_BYTES(t))
    return found


def _deprecated() -> None:
    if "storage" not in _interop._WARNED:
        _interop._WARNED.add("storage")
        warnings.warn(
            "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage "
            "class. This should only matter to you if you are using storages directly.  To access UntypedStorage "
            "directly, use tensor.untyped_storage() instead of tensor.storage()",
            UserWarning,
            stacklevel=3,
        )


class TypedStorage:
    """A storage read as elements of one dtype, as old programs do; `UntypedStorage` takes its place.

    Reference: ``torch.TypedStorage``.
    """

    dtype: Any = None

    def __init__(self, *args: Any, wrap_storage: Any = None, dtype: Any = None, device: Any = None) -> None:
        _deprecated()
        self.dtype = dtype or type(self).dtype or _dtypes.get_default_dtype()
        if wrap_storage is not None:
            self._untyped_storage: UntypedStorage = wrap_storage.untyped()
        elif not args or isinstance(args[0], int):
            self._untyped_storage = UntypedStorage((args[0] if args else 0) * self.dtype.itemsize, device=device)
        else:
            self._untyped_storage = storage_of(_interop._FROM_DATA(list(args[0]), self.dtype))

    @staticmethod
    def _of(memory: UntypedStorage, dtype: Any) -> TypedStorage:
        """The storage read as elements of this dtype, without the warning."""
        made = TypedStorage.__new__(CLASSES.get(f"{_dtypes.TYPE_NAMES[dtype]}Storage", TypedStorage))
        made._untyped_storage, made.dtype = memory, dtype
        return made

    @property
    def _elements(self) -> Any:
        data = self._untyped_storage.bytes
        return data.view(self.dtype) if self.dtype.itemsize > 1 or self.dtype is not _dtypes.uint8 else data

    @property
    def device(self) -> Any:
        """Where the memory is."""
        return self._untyped_storage.device

    is_cuda = UntypedStorage.is_cuda
    is_sparse = False

    def is_shared(self) -> bool:
        """Whether other processes can see the memory."""
        return self._untyped_storage.is_shared()

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is page-locked, for copies to a device."""
        return self._untyped_storage.is_pinned()

    def pin_memory(self, device: Any = None) -> TypedStorage:
        """A copy in page-locked memory; itself if it is. Raises RuntimeError without an accelerator."""
        pinned = self._untyped_storage.pin_memory()
        return self if pinned is self._untyped_storage else type(self)(wrap_storage=pinned, dtype=self.dtype)

    def share_memory_(self) -> TypedStorage:
        """Moves the elements to memory that processes share: see `UntypedStorage.share_memory_`."""
        self._untyped_storage.share_memory_()
        return self

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return self._untyped_storage

    def size(self) -> int:
        """The number of elements."""
        return self._untyped_storage.nbytes() // int(self.dtype.itemsize)

    __len__ = size

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._untyped_storage.nbytes()

    def element_size(self) -> int:
        """The bytes of one element."""
        return int(self.dtype.itemsize)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped_storage.data_ptr()

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        values: list[Any] = self._elements.tolist()
        return values

    def clone(self) -> TypedStorage:
        """A storage with a copy of the elements."""
        return type(self)(wrap_storage=self._untyped_storage.clone(), dtype=self.dtype)

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """Writes the elements of another storage, cast to this dtype."""
        self._elements.copy_(source._elements)
        return self

    def fill_(self, value: Any) -> TypedStorage:
        """Writes one value into every element."""
        self._elements.fill_(value)
        return self

    def type(self, dtype: Any = None) -> Any:
        """The name of the storage's class, or the elements as another dtype's."""
        if dtype is None:
            return f"torch.{_dtypes.TYPE_NAMES[self.dtype]}Storage"
        return TypedStorage(wrap_storage=storage_of(self._elements.to(dtype)), dtype=dtype)

    def cpu(self) -> TypedStorage:
        """The storage in the CPU's memory."""
        return type(self)(wrap_storage=self._untyped_storage.cpu(), dtype=self.dtype)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} out of range for storage of size {len(self)}")
        return self._elements[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._elements[index] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedStorage) and self._untyped_storage == other._untyped_storage

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        text = "\n ".join(str(v) for v in self.tolist())
        return f" {text}\n[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {len(self)}]"

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> TypedStorage:
        return type(self)(wrap_storage=copy.deepcopy(self._untyped_storage, memo), dtype=self.dtype)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _typed_from, (self._untyped_storage, self.dtype)


def _typed_from(memory: UntypedStorage, dtype: Any) -> TypedStorage:
    return TypedStorage(wrap_storage=memory, dtype=dtype)


def from_file(
    filename: Any, shared: bool | None = None, size: int = 0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A tensor of ``size`` elements on the memory map of a file; 0: as many as the file has.

    Unless ``shared``, what is written stays in memory. A shared file is made, and made longer, where needed. Raises
    RuntimeError for a file that is too short otherwise, OSError where it cannot be opened. Reference:
    ``torch.from_file``.
    """
    if pin_memory or (layout is not None and layout is not _dtypes.strided):
        raise RuntimeError("from_file(): a memory map is a strided tensor in pageable memory")
    if device is not None and _device._as_device(device).type != "cpu":
        raise RuntimeError(f"from_file(): a memory map lies on the CPU, not on {device}")
    kind = _dtypes.get_default_dtype() if dtype is None else dtype
    wanted = size * kind.itemsize
    handle = os.open(filename, os.O_RDWR | os.O_CREAT if shared else os.O_RDONLY, 0o666)
    try:
        there = os.fstat(handle).st_size
        if shared and there < wanted:
            os.ftruncate(handle, wanted)
        elif there < wanted:
            raise RuntimeError(f"from_file(): {filename!r} has {there} bytes, fewer than the {wanted} asked for")
        length = wanted or there - there % kind.itemsize
        if length == 0:
            return _interop._FROM_DATA([], kind)
        memory = mmap.mmap(handle, length, access=mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY)
    finally:
        os.close(handle)
    return _interop._FROM_BYTES(memoryview(memory), kind)


def is_storage(obj: Any) -> bool:
    """Whether the object is a storage. Reference: ``torch.is_storage``."""
    return isinstance(obj, (TypedStorage, UntypedStorage))


_TYPED = (
    _dtypes.bool, _dtypes.uint8, _dtypes.int8, _dtypes.int16, _dtypes.int32, _dtypes.int64, _dtypes.float16,
    _dtypes.bfloat16, _dtypes.float32, _dtypes.float64, _dtypes.complex64, _dtypes.complex128,
)  # fmt: skip
#: ``FloatStorage``, ...: the old classes, one for each dtype.
CLASSES: dict[str, type[TypedStorage]] = {
    (name := f"{_dtypes.TYPE_NAMES[kind]}Storage"): type(name, (TypedStorage,), {
        "dtype": kind, "__module__": __name__, "__doc__": f"A `TypedStorage` of {kind!r}."})
    for kind in _TYPED
}  # fmt: skip
globals().update(CLASSES)
