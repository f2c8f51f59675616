"""Accelerators: what is there, the current device and stream, memory. The interface of ``torch.cuda``.

NVIDIA and AMD devices both answer as ``cuda``, as they do in PyTorch. Importing this module, or asking whether a
device is available, loads no kernel: the drivers are asked first, and the extension that holds the kernels for the
device found (``_G_sm_90a``, ``_G_sm_80``, ``_G_gfx942``) is loaded when the first tensor goes there.

>>> import dumbtorch
>>> x = dumbtorch.ones(3, device="cuda" if dumbtorch.cuda.is_available() else "cpu")
"""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dumbtorch import _C, _device, _pinned

__all__ = [
    "DeviceProperties",
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
]

_CODE = 1  # the device type "cuda" in the extension's device codes
_FOLDER = Path(__file__).resolve().parent
#: What an accelerator's extension needs beside Mojo's run-time library, in the order of loading.
_LIBRARIES = ("KGENCompilerRTShared", "MSupportGlobals", "AsyncRTRuntimeGlobals", "AsyncRTMojoBindings")


# ---------------------------------------------------------------- what is there


class _Found(NamedTuple):
    """The devices of one vendor: their architectures in order, or the reason why there are none."""

    vendor: str
    architectures: tuple[str, ...]
    reason: str


def _nvidia(library: str = "libcuda.so.1") -> _Found:
    """Ask the NVIDIA driver for its devices. CUDA_VISIBLE_DEVICES holds."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return _Found("NVIDIA", (), f"the NVIDIA driver library {library} was not found")
    status = driver.cuInit(0)
    if status != 0:
        return _Found("NVIDIA", (), f"the NVIDIA driver did not start (cuInit returned {status})")
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return _Found("NVIDIA", (), f"the NVIDIA driver found no device (status {status})")
    found = []
    for index in range(count.value):
        device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # compute capability, major and minor
        driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        found.append(f"sm_{major.value}{minor.value}")
    return _Found("NVIDIA", tuple(found), "")


def _amd(nodes: str = "/sys/class/kfd/kfd/topology/nodes") -> _Found:
    """Ask the kernel for its AMD devices; the processors among the nodes have no target version."""
    if not os.path.exists(nodes):
        return _Found("AMD", (), f"no AMD device was found (no {nodes.split('/topology', maxsplit=1)[0]})")
    found = []
    for file in sorted(glob.glob(f"{nodes}/*/properties"), key=lambda name: int(name.split("/")[-2])):
        with open(file, encoding="ascii", errors="replace") as lines:
            version = next((int(line.split()[1]) for line in lines if line.startswith("gfx_target_version")), 0)
        if version:
            found.append(f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}")
    return _Found("AMD", tuple(found), "" if found else "the AMD driver found no device")


def _extensions_for(architecture: str) -> list[str]:
    """The extensions that can run on an architecture, best first: NVIDIA's code for 8.0 runs on everything newer."""
    if architecture.startswith("gfx"):
        return [f"_G_{architecture}"]
    names = ["_G_sm_90a"] if architecture == "sm_90" else []
    return [*names, "_G_sm_80"] if int(architecture[3:]) >= 80 else []


def _built() -> dict[str, Path]:
    """The extensions for accelerators that lie beside this file."""
    return {file.name.split(".")[0]: file for file in sorted(_FOLDER.glob("_G_*.so"))}


class _Search(NamedTuple):
    """The devices that can be used and the extension for them, or what was looked for in vain."""

    architectures: tuple[str, ...]
    extension: Path | None
    reason: str


def _search(vendors: tuple[_Found, ...], built: dict[str, Path]) -> _Search:
    reasons = []
    for found in vendors:
        if not found.architectures:
            reasons.append(found.reason)
            continue
        names = _extensions_for(found.architectures[0])
        for name in names:
            if name in built:
                same = [a for a in found.architectures if name in _extensions_for(a)]
                return _Search(tuple(same), built[name], "")
        what = f"an {found.vendor} device of the architecture {found.architectures[0]} was found"
        if not names:
            reasons.append(f"{what}, which is older than any that dumbtorch has kernels for (8.0)")
        else:
            flag = names[0].removeprefix("_G_")
            reasons.append(
                f"{what}, but none of the extensions for it is built (looked for {' and '.join(names)} in {_FOLDER}; "
                f"in a source tree run `python tools/build.py -Daccelerators={flag}`)"
            )
    return _Search((), None, "; ".join(reasons))


@functools.cache
def _devices() -> _Search:
    return _search((_nvidia(), _amd()), _built())


def is_available() -> bool:
    """Whether there is a device, a driver for it and an extension with kernels for it. Loads no kernel.

    Returns:
        bool: False where anything of it is missing; never raises.

    Reference: ``torch.cuda.is_available``.

    >>> dumbtorch.cuda.is_available()
    False
    """
    return bool(_devices().architectures)


def device_count() -> int:
    """How many devices can be used; 0 without a GPU, a driver or an extension for it. Reference:
    ``torch.cuda.device_count``.

    >>> dumbtorch.cuda.device_count()
    0
    """
    return len(_devices().architectures)


def get_arch_list() -> list[str]:
    """The architectures that this installation has kernels for, ``["sm_80", "sm_90a"]``. Reference:
    ``torch.cuda.get_arch_list``."""
    return [name.removeprefix("_G_") for name in _built()]


# ---------------------------------------------------------------- the extension


def _preload_cublas() -> None:
    """Load NVIDIA's library of matrix products from its Python package, where that is installed: the extension opens it
    by its name, and computes products itself where there is none."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*/lib/libcublas.so.1[23]"), reverse=True):
            try:
                ctypes.CDLL(str(file))
            except OSError:
                continue
            return


@functools.cache
def _library() -> ctypes.CDLL:
    """The extension for the devices found, loaded and made known to `_C`. RuntimeError says what is missing."""
    found = _devices()
    if found.extension is None:
        raise RuntimeError(
            f"no cuda device is available: {found.reason}. Use device='cpu', or check dumbtorch.cuda.is_available()"
        )
    spec = importlib.util.find_spec("modular")
    folders = [_FOLDER, *(Path(folder) / "lib" for folder in (spec.submodule_search_locations or [] if spec else []))]
    for name in _LIBRARIES:
        file = next((f for folder in folders if (f := folder / f"lib{name}.so").exists()), None)
        if file is not None:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    _preload_cublas()
    try:
        # with the interpreter lock held: the extension's tables are one process's, not one thread's
        library = ctypes.PyDLL(str(found.extension))
    except OSError as error:
        raise RuntimeError(
            f"no cuda device is available: the extension {found.extension.name} could not be loaded ({error}); its "
            "run-time libraries come with the package max"
        ) from error
    library.dumbtorch_accelerator_table.restype = ctypes.c_void_p
    library.dumbtorch_accelerator_error.restype = ctypes.c_char_p
    for function in ("new_stream", "new_event", "lock"):
        getattr(library, f"dumbtorch_accelerator_{function}").restype = ctypes.c_int64
    table = library.dumbtorch_accelerator_table()
    if ctypes.c_int64.from_address(table + 8).value == 0:
        raise RuntimeError(
            f"no cuda device is available: {', '.join(found.architectures)} was found, but Mojo's run time opens none; "
            "on NVIDIA it wants a driver of version 580 or newer. Use device='cpu'"
        )
    _C.set_device_table(_CODE, table)
    return library


@functools.cache
def _waiting() -> ctypes.CDLL:
    """The same library for calls that wait: other threads run meanwhile."""
    return ctypes.CDLL(_library()._name)


def _load() -> None:
    _library()


_device._loaders["cuda"] = _load


def _call(function: str, *args: int) -> int:
    """Call a function of the extension; a negative result is an error."""
    library = _library()
    name = f"dumbtorch_accelerator_{function}"
    code = getattr(_waiting(), name) if function.startswith("synchronize") else getattr(library, name)
    result: int = code(*(ctypes.c_int64(a) for a in args))
    if result < 0:
        raise RuntimeError(f"cuda.{function}: {library.dumbtorch_accelerator_error().decode()}")
    return result


def init() -> None:
    """Load the kernels now instead of with the first tensor. Raises RuntimeError where there is no device. Reference:
    ``torch.cuda.init``."""
    _library()


def is_initialized() -> bool:
    """Whether the kernels have been loaded. Reference: ``torch.cuda.is_initialized``."""
    return _library.cache_info().currsize > 0


# ---------------------------------------------------------------- devices

_current = 0


def _index(device: Any) -> int:
    """The ordinal that a device argument means; None is the current device. Checked."""
    if device is None:
        index = _current
    else:
        d = device if isinstance(device, _device.device) else _device.device(device)
        if d.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {d}")
        index = _current if d.index is None else d.index
    _library()
    if not 0 <= index < device_count():
        raise RuntimeError(f"invalid device ordinal: cuda:{index}, there are {device_count()} devices")
    return index


def current_device() -> int:
    """The ordinal of the device that ``"cuda"`` without an index means. Reference: ``torch.cuda.current_device``."""
    _library()
    return _current


def set_device(device: Any) -> None:
    """Makes a device the current one: an ordinal or a ``device``; a negative ordinal does nothing. Raises RuntimeError
    for one that is not there. Reference: ``torch.cuda.set_device``."""
    global _current
    if isinstance(device, int) and device < 0:
        return
    index = _index(device)
    _call("set_current", index)
    _current = index


class device:
    """Makes a device the current one inside a ``with`` block: ``with cuda.device(1): ...``; None and a negative ordinal
    change nothing. Reference: ``torch.cuda.device``."""

    def __init__(self, device: Any) -> None:
        passive = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if passive else _index(device)
        self.prev_idx = -1

    def __enter__(self) -> device:
        self.prev_idx = _current
        set_device(self.idx)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.idx >= 0:
            set_device(self.prev_idx)


class DeviceProperties(NamedTuple):
    """What a device is; ``gcnArchName`` is the architecture, such as "sm_90" or "gfx942"."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    gcnArchName: str


def _numbers(index: int) -> list[int]:
    """free and total memory, multiprocessors, allocated, its peak, reserved, its peak, allocations, frees."""
    space = (ctypes.c_int64 * 9)()
    _call("numbers", index, ctypes.addressof(space))
    return list(space)


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Name, compute capability, memory and multiprocessors of a device, the current one by default. Reference:
    ``torch.cuda.get_device_properties``."""
    index = _index(device)
    text = ctypes.create_string_buffer(256)
    _call("name", index, ctypes.addressof(text), len(text))
    architecture = _devices().architectures[index]
    major, minor = get_device_capability(index)
    numbers = _numbers(index)
    return DeviceProperties(text.value.decode(), major, minor, numbers[1], numbers[2], architecture)


def get_device_name(device: Any = None) -> str:
    """The name of a device, the current one by default. Reference: ``torch.cuda.get_device_name``."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, (9, 0) for an H200; of an AMD device the first two numbers of its architecture.
    Reference: ``torch.cuda.get_device_capability``."""
    architecture = _devices().architectures[_index(device)]
    digits = architecture.removeprefix("sm_").removeprefix("gfx")
    end = -1 if architecture.startswith("sm_") else -2
    return int(digits[:end]), int(digits[end])


def synchronize(device: Any = None) -> None:
    """Waits until everything queued on a device (the current one by default), on all its streams, is done. Errors of
    kernels appear here. Reference: ``torch.cuda.synchronize``."""
    _call("synchronize", _index(device))


# ---------------------------------------------------------------- memory


def memory_stats(device: Any = None) -> dict[str, int]:
    """Counters of a device's allocator, in bytes and calls: ``allocated_bytes.all.current`` and ``.peak``,
    ``reserved_bytes.all.current`` and ``.peak``, ``allocation.all.allocated`` and ``.freed``. Empty before the first
    use of the device. Reference: ``torch.cuda.memory_stats``."""
    if not is_initialized():
        return {}
    numbers = _numbers(_index(device))
    return {
        "allocated_bytes.all.current": numbers[3],
        "allocated_bytes.all.peak": numbers[4],
        "reserved_bytes.all.current": numbers[5],
        "reserved_bytes.all.peak": numbers[6],
        "allocation.all.allocated": numbers[7],
        "allocation.all.freed": numbers[8],
    }


def memory_allocated(device: Any = None) -> int:
    """Bytes of the tensors that live on a device; 0 before its first use. Reference:
    ``torch.cuda.memory_allocated``."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The highest :func:`memory_allocated` since the start or :func:`reset_peak_memory_stats`. Reference:
    ``torch.cuda.max_memory_allocated``."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from a device, in use or kept for the next tensors. Reference: ``torch.cuda.memory_reserved``."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The highest :func:`memory_reserved` since the start or :func:`reset_peak_memory_stats`. Reference:
    ``torch.cuda.max_memory_reserved``."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Sets the peaks to what is in use now. Reference: ``torch.cuda.reset_peak_memory_stats``."""
    if is_initialized():
        _call("reset_peaks", _index(device))


def empty_cache() -> None:
    """Gives memory that is kept for reuse back to the devices; does nothing before their first use. Reference:
    ``torch.cuda.empty_cache``."""
    if is_initialized():
        for index in range(device_count()):
            _call("empty_cache", index)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a device, whoever uses them. Reference: ``torch.cuda.mem_get_info``."""
    numbers = _numbers(_index(device))
    return numbers[0], numbers[1]


# ---------------------------------------------------------------- streams and events


class Stream:
    """A queue of work on a device; work on different streams may overlap. ``Stream(device=None)``: a new one.

    Inside ``with cuda.stream(s):`` operations queue on ``s``. Memory that was allocated on one stream and is used on
    another must not be freed before that use is done: synchronize first. Reference: ``torch.cuda.Stream``.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, _id: int | None = None) -> None:
        self.device_index = _index(device)
        self.stream_id = _call("new_stream", self.device_index, priority) if _id is None else _id

    @property
    def device(self) -> _device.device:
        """The stream's device."""
        return _device.device("cuda", self.device_index)

    def synchronize(self) -> None:
        """Waits until the stream's work is done."""
        _call("synchronize_stream", self.device_index, self.stream_id)

    def wait_stream(self, stream: Stream) -> None:
        """Work queued here from now on starts after what is queued on `stream` now."""
        _call("wait_stream", self.device_index, self.stream_id, stream.stream_id)

    def wait_event(self, event: Event) -> None:
        """Work queued here from now on starts after the event."""
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """Marks this point of the stream with an event (a new one by default), which it returns."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def _record(self, address: int) -> None:
        _call("record_stream", self.device_index, address, self.stream_id)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.device_index, self.stream_id) == (other.device_index, other.stream_id)

    def __hash__(self) -> int:
        return hash((self.device_index, self.stream_id))

    def __repr__(self) -> str:
        return f"<dumbtorch.cuda.Stream device=cuda:{self.device_index} id={self.stream_id}>"


class Event:
    """A mark in a stream that others can wait for. Reference: ``torch.cuda.Event``, but without timing: events that
    measure are refused (ValueError); measure with :func:`synchronize` and ``time.perf_counter``."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if enable_timing or interprocess:
            raise ValueError("Event: no timing or interprocess events here; time between two synchronize() calls")
        self._place: tuple[int, int] | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Marks the present end of a stream, the current one by default."""
        stream = current_stream() if stream is None else stream
        event = self._place[1] if self._place and self._place[0] == stream.device_index else -1
        if event < 0:
            event = _call("new_event", stream.device_index)
        _call("record_event", stream.device_index, event, stream.stream_id)
        self._place = (stream.device_index, event)

    def wait(self, stream: Stream | None = None) -> None:
        """Makes a stream, the current one by default, wait for the mark; an event never recorded is no wait."""
        stream = current_stream() if stream is None else stream
        if self._place:
            _call("wait_event", self._place[0], self._place[1], stream.stream_id)

    def synchronize(self) -> None:
        """Waits here until the mark is reached."""
        if self._place:
            _call("synchronize_event", *self._place)


def default_stream(device: Any = None) -> Stream:
    """The stream that a device's work queues on unless another one is chosen. Reference:
    ``torch.cuda.default_stream``."""
    return Stream(_index(device), _id=0)


def current_stream(device: Any = None) -> Stream:
    """The stream that operations queue on now, one for the whole process. Reference:
    ``torch.cuda.current_stream``, which keeps one for each thread."""
    index = _index(device)
    return Stream(index, _id=_call("current_stream", index))


def set_stream(stream: Stream | None) -> None:
    """Makes a stream the current one of its device; None does nothing. Reference: ``torch.cuda.set_stream``."""
    if stream is not None:
        _call("set_stream", stream.device_index, stream.stream_id)


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Operations inside the ``with`` block queue on `stream`; None changes nothing. Reference:
    ``torch.cuda.stream``."""
    if stream is None:
        yield
        return
    before = current_stream(stream.device_index)
    set_stream(stream)
    try:
        yield
    finally:
        set_stream(before)


# ---------------------------------------------------------------- page-locked memory


class _Host:
    """Gives page-locked memory for the current device."""

    @staticmethod
    def is_available() -> bool:
        return is_available()

    @staticmethod
    def lock(nbytes: int) -> tuple[int, int]:
        index = _index(None)
        return index, _call("lock", index, nbytes)

    @staticmethod
    def unlock(index: int, address: int) -> None:
        _call("unlock", index, address)

    @staticmethod
    def upload(index: int, target: int, source: int, nbytes: int, block: int) -> None:
        _call("upload_locked", index, target, source, nbytes, block)


_pinned.host = _Host()


# ---------------------------------------------------------------- random numbers


def manual_seed(seed: int) -> None:
    """Seeds the one generator that dumbtorch has for all devices, where a device is available; does nothing without
    one. Reference: ``torch.cuda.manual_seed``."""
    if is_available():
        sys.modules["dumbtorch"].manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """As :func:`manual_seed`: there is one generator. Reference: ``torch.cuda.manual_seed_all``."""
    manual_seed(seed)
