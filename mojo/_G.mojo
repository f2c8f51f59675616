"""An accelerator's extension: one shared library for each architecture, without any Python in it.

Python asks for the DeviceTable and hands its address to `_C`; the other functions here serve python/dumbtorch/cuda.py, which
calls them by ctypes. Results below 0 are errors, described by `dumbtorch_accelerator_error`.
"""

from std.ffi import external_call
from std.memory import Pointer
from max.gpu.host import DeviceBuffer, DeviceContext, DeviceEvent
from kernels.gpu.device import Buffer, device, devices, fail
from tensor.memory import address_of, at, memcpy, store, zeroed
from tensor.storage import DEVICE_ABI, DeviceTable


# ---------------------------------------------------------------- the table's own functions


def _alloc(index: Int, nbytes: Int) abi("C") -> Int:
    try:
        return device(index)[].alloc(nbytes)
    except e:
        _ = fail(e, "allocation")
        return 0


def _free(index: Int, address: Int, nbytes: Int) abi("C") -> None:
    try:
        device(index)[].free(address)
    except e:
        _ = fail(e, "free")


def _copy(index: Int, dst: Int, src: Int, nbytes: Int, kind: Int) abi("C") -> Int:
    try:
        if nbytes == 0:
            return 0
        var context = device(index)[].context()
        if kind == 0:
            device(index)[].upload(dst, src, nbytes)
            return 0
        if kind == 1:
            context.enqueue_copy(at[UInt8](dst), _buffer(context, src, nbytes))
        else:
            context.enqueue_copy(_buffer(context, dst, nbytes), _buffer(context, src, nbytes))
            return 0
        # host memory is pageable and the caller's: the copy must be over when this returns
        context.synchronize()
        return 0
    except e:
        return fail(e, "copy")


def _buffer(context: DeviceContext, address: Int, nbytes: Int) -> Buffer:
    return Buffer(context, at[UInt8](address), nbytes, owning=False)


@export("dumbtorch_accelerator_synchronize")
def synchronize(index: Int) abi("C") -> Int:
    """Waits for all streams of a device."""
    try:
        device(index)[].synchronize()
        return 0
    except e:
        return fail(e, "synchronize")


@export("dumbtorch_accelerator_error")
def error() abi("C") -> Int:
    """The last error, a C string."""
    return devices()[].error


comptime _Alloc = def(Int, Int) thin abi("C") -> Int
comptime _Free = def(Int, Int, Int) thin abi("C") -> None
comptime _Copy = def(Int, Int, Int, Int, Int) thin abi("C") -> Int
comptime _One = def(Int) thin abi("C") -> Int
comptime _None = def() thin abi("C") -> Int


@export("dumbtorch_accelerator_table")
def table() abi("C") -> Int:
    """The DeviceTable, made at the first call."""
    if devices()[].table != 0:
        return devices()[].table
    var t = zeroed[DeviceTable]()
    var alloc: _Alloc = _alloc
    var free: _Free = _free
    var copy: _Copy = _copy
    var wait: _One = synchronize
    var text: _None = error
    t[].abi = DEVICE_ABI
    t[].count = DeviceContext.number_of_devices()
    t[].alloc = address_of(alloc)
    t[].free = address_of(free)
    t[].copy = address_of(copy)
    t[].synchronize = address_of(wait)
    t[].error = address_of(text)
    external_call["dumbtorch_accelerator_register_pointwise", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_copy", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_reduce", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_gemm", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_softmax", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_optim", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_index", NoneType](Int(t))
    external_call["dumbtorch_accelerator_register_select", NoneType]()
    external_call["dumbtorch_accelerator_register_unary", NoneType]()
    external_call["dumbtorch_accelerator_register_math", NoneType]()
    external_call["dumbtorch_accelerator_register_binary", NoneType]()
    external_call["dumbtorch_accelerator_register_other", NoneType]()
    external_call["dumbtorch_accelerator_register_special", NoneType]()
    external_call["dumbtorch_accelerator_register_orthogonal", NoneType]()
    external_call["dumbtorch_accelerator_register_bodies", NoneType]()
    external_call["dumbtorch_accelerator_register_scan", NoneType]()
    external_call["dumbtorch_accelerator_register_conv", NoneType]()
    external_call["dumbtorch_accelerator_register_pool", NoneType]()
    devices()[].table = Int(t)
    return Int(t)


# ---------------------------------------------------------------- what python/dumbtorch/cuda.py calls


@export("dumbtorch_accelerator_set_current")
def set_current(index: Int) abi("C") -> Int:
    """Which device is meant when none is named."""
    at[DeviceTable](table())[].current = index
    return 0


@export("dumbtorch_accelerator_name")
def name(index: Int, text: Int, size: Int) abi("C") -> Int:
    """Writes the device's name, at most size - 1 bytes and a NUL."""
    try:
        var name = device(index)[].contexts[0].name()
        var n = min(name.byte_length(), size - 1)
        memcpy(text, Int(name.unsafe_ptr()), n)
        store[UInt8](text + n, 0)
        _ = name^
        return n
    except e:
        return fail(e, "name")


@export("dumbtorch_accelerator_numbers")
def numbers(index: Int, space: Int) abi("C") -> Int:
    """Nine int64: free and total memory, multiprocessors, allocated, peak, reserved, peak, allocations, frees."""
    try:
        var d = device(index)
        var memory = d[].contexts[0].get_memory_info()
        store(space, Int(memory[0]))
        store(space + 8, Int(memory[1]))
        store(space + 16, d[].processors)
        store(space + 24, d[].allocated)
        store(space + 32, d[].allocated_peak)
        store(space + 40, d[].reserved)
        store(space + 48, d[].reserved_peak)
        store(space + 56, d[].allocations)
        store(space + 64, d[].frees)
        return 0
    except e:
        return fail(e, "memory information")


@export("dumbtorch_accelerator_reset_peaks")
def reset_peaks(index: Int) abi("C") -> Int:
    try:
        var d = device(index)
        d[].allocated_peak = d[].allocated
        d[].reserved_peak = d[].reserved
        return 0
    except e:
        return fail(e, "reset_peaks")


@export("dumbtorch_accelerator_empty_cache")
def empty_cache(index: Int) abi("C") -> Int:
    try:
        device(index)[].trim()
        return 0
    except e:
        return fail(e, "empty_cache")


@export("dumbtorch_accelerator_new_stream")
def new_stream(index: Int, priority: Int) abi("C") -> Int:
    """Another stream's number."""
    try:
        var d = device(index)
        return d[].new_stream(priority)
    except e:
        return fail(e, "new stream")


@export("dumbtorch_accelerator_current_stream")
def current_stream(index: Int) abi("C") -> Int:
    try:
        return device(index)[].stream
    except e:
        return fail(e, "current stream")


@export("dumbtorch_accelerator_set_stream")
def set_stream(index: Int, stream: Int) abi("C") -> Int:
    try:
        device(index)[].stream = stream
        return 0
    except e:
        return fail(e, "set stream")


@export("dumbtorch_accelerator_synchronize_stream")
def synchronize_stream(index: Int, stream: Int) abi("C") -> Int:
    try:
        device(index)[].contexts[stream].synchronize()
        return 0
    except e:
        return fail(e, "synchronize")


@export("dumbtorch_accelerator_wait_stream")
def wait_stream(index: Int, stream: Int, other: Int) abi("C") -> Int:
    """`stream` goes on after what is queued on `other` now."""
    try:
        var d = device(index)
        d[].contexts[stream].enqueue_wait_for(d[].contexts[other])
        return 0
    except e:
        return fail(e, "wait")


@export("dumbtorch_accelerator_new_event")
def new_event(index: Int) abi("C") -> Int:
    try:
        var d = device(index)
        d[].events.append(d[].contexts[0].create_event())
        return len(d[].events) - 1
    except e:
        return fail(e, "new event")


@export("dumbtorch_accelerator_record_event")
def record_event(index: Int, event: Int, stream: Int) abi("C") -> Int:
    try:
        var d = device(index)
        d[].contexts[stream].stream().record_event(d[].events[event])
        return 0
    except e:
        return fail(e, "record event")


@export("dumbtorch_accelerator_wait_event")
def wait_event(index: Int, event: Int, stream: Int) abi("C") -> Int:
    try:
        var d = device(index)
        d[].contexts[stream].stream().enqueue_wait_for(d[].events[event])
        return 0
    except e:
        return fail(e, "wait for event")


@export("dumbtorch_accelerator_synchronize_event")
def synchronize_event(index: Int, event: Int) abi("C") -> Int:
    try:
        device(index)[].events[event].synchronize()
        return 0
    except e:
        return fail(e, "synchronize event")


# ---------------------------------------------------------------- page-locked memory


@export("dumbtorch_accelerator_lock")
def lock(index: Int, nbytes: Int) abi("C") -> Int:
    """The address of page-locked host memory."""
    try:
        return device(index)[].lock(nbytes)
    except e:
        return fail(e, "page-locked memory")


@export("dumbtorch_accelerator_unlock")
def unlock(index: Int, address: Int) abi("C") -> Int:
    try:
        device(index)[].unlock(address)
        return 0
    except e:
        return fail(e, "page-locked memory")


@export("dumbtorch_accelerator_upload_locked")
def upload_locked(index: Int, dst: Int, src: Int, nbytes: Int, block: Int) abi("C") -> Int:
    """Queues a copy from page-locked memory."""
    try:
        device(index)[].upload_locked(dst, src, nbytes, block)
        return 0
    except e:
        return fail(e, "copy")


@export("dumbtorch_accelerator_record_stream")
def record_stream(index: Int, address: Int, stream: Int) abi("C") -> Int:
    try:
        device(index)[].record_stream(address, stream)
        return 0
    except e:
        return fail(e, "record stream")
