"""Storage: a reference-counted block of elements on one device, shared by views, cloned lazily.

A storage's version counts the writes made through any tensor that shares it, but for those through `.data`; autograd
compares versions to find a saved value that was overwritten. `clone` may share the block between two storages until one
of them is written (copy on write): whoever asks for a writable address first gets a copy.
"""

from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.memory import Pointer
from .allocator import pool
from .memory import at, function_at, load, memcpy, store
from .py import decref
from .runtime import runtime

comptime HEADER = 128
comptime INLINE_LIMIT = 4096 - HEADER

# Who owns the elements.
comptime INLINE = 0  # they follow the header in the same block
comptime POOLED = 1  # a block of the CPU pool
comptime FOREIGN = 2  # memory of a Python object that we hold
comptime DEVICE = 3  # a block of a device's allocator
comptime SHARED = 4  # a copy-on-write block

comptime DeviceFree = def(Int, Int, Int) thin abi("C") -> None
comptime DeviceAlloc = def(Int, Int) thin abi("C") -> Int
comptime DeviceCopy = def(Int, Int, Int, Int, Int) thin abi("C") -> Int
comptime DeviceFind = def(Int) thin abi("C") -> Int

comptime DEVICE_ABI = 1  # to be raised whenever DeviceTable or a struct that its functions take changes


struct DeviceTable:
    """What an accelerator's extension fills in: the whole contract between the extension `_C` and a type of device.

    Fields from `alloc` on are addresses of C functions. A device is named by its index, a dtype by its code. A status
    is 0 for success, 1 for "not compiled for this dtype or layout" (nothing was queued), -1 for an error that `error`
    describes. Work is queued on the device's current stream; the structs that describe it are read before the function
    returns. Their addresses travel as pointers, since they lie on the caller's stack.
    """

    var abi: Int  # DEVICE_ABI
    var count: Int
    var current: Int  # the device that is meant when no index is given
    var alloc: Int  # (index, nbytes) -> address, 0 when there is no memory
    var free: Int  # (index, address, nbytes)
    var copy: Int  # (index, dst, src, nbytes, kind) -> status; kind 0: host to device, 1: device to host, 2: on the device
    var synchronize: Int  # (index) -> status
    var error: Int  # () -> C string: the last error
    var find: Int  # (C string: a functor's name) -> the kernels compiled for it, 0: none
    var pointwise: Int  # (index, Loop*, kernels, dtype) -> status
    var transfer: Int  # (index, Transfer*, dtype of the target, dtype of the source) -> status
    var reduce: Int  # (index, Plan*) -> status
    var product: Int  # (index, Product*) -> status
    var rows: Int  # (index, Rows*, dtype) -> status
    var losses: Int  # (index, DeviceLosses*, dtype) -> status
    var walk: Int  # (index, Span3*, mode, dtype) -> status
    var step: Int  # (index, Settings*, rule, items, number of items, dtype) -> status


struct CowBlock:
    var count: Int
    var data: Int
    var nbytes: Int


struct Storage:
    var count: Atomic[Int64]
    var data: Int
    var nbytes: Int
    var owner: Int
    var version: Int
    var cow: Int
    var kind: Int32
    var device: Int32  # type << 8 | index; 0 is the CPU
    var readonly: Int
    var exported: Int  # how many others hold the address and may write there: such a block is not shared lazily


comptime StoragePtr = Pointer[Storage, MutUntrackedOrigin]


@always_inline
def new_storage(nbytes: Int, device: Int = 0) raises -> StoragePtr:
    """A storage of `nbytes` uninitialised bytes with one reference."""
    if device == 0 and nbytes <= INLINE_LIMIT:
        var block = pool()[].take(HEADER + nbytes)
        if block == 0:
            raise out_of_memory(nbytes, device)
        return _header(block, block + HEADER, nbytes, INLINE, 0)
    return _new_big(nbytes, device)


@no_inline
def _new_big(nbytes: Int, device: Int) raises -> StoragePtr:
    var data: Int
    if device == 0:
        data = pool()[].take(nbytes)
    else:
        data = device_alloc(device, nbytes)
    if data == 0:
        raise out_of_memory(nbytes, device)
    var block = pool()[].take(HEADER)
    if block == 0:
        if device == 0:
            pool()[].give(data, nbytes)
        raise out_of_memory(HEADER, 0)
    return _header(block, data, nbytes, POOLED if device == 0 else DEVICE, device)


def foreign_storage(data: Int, nbytes: Int, owner: Int, readonly: Bool) raises -> StoragePtr:
    """A storage over memory that the Python object `owner` (reference stolen) keeps alive."""
    var block = pool()[].take(HEADER)
    if block == 0:
        raise out_of_memory(HEADER, 0)
    var s = _header(block, data, nbytes, FOREIGN, 0)
    s[].owner = owner
    s[].readonly = Int(readonly)
    return s


@always_inline
def _header(block: Int, data: Int, nbytes: Int, kind: Int, device: Int) -> StoragePtr:
    var s = at[Storage](block)
    store[Int64](block, 1)
    s[].data = data
    s[].nbytes = nbytes
    s[].owner = 0
    s[].version = 0
    s[].cow = 0
    s[].kind = Int32(kind)
    s[].device = Int32(device)
    s[].readonly = 0
    s[].exported = 0
    return s


@always_inline
def retain(s: StoragePtr):
    _ = s[].count.fetch_add[ordering=Ordering.RELAXED](1)


@always_inline
def release(s: StoragePtr):
    if s[].count.fetch_sub[ordering=Ordering.ACQUIRE_RELEASE](1) == 1:
        if s[].kind == INLINE:
            pool()[].give(Int(s), HEADER + s[].nbytes)
        else:
            _free(s)


@no_inline
def _free(s: StoragePtr):
    if s[].kind == POOLED:
        pool()[].give(s[].data, s[].nbytes)
    elif s[].kind == SHARED:
        _drop_cow(s[].cow)
    elif s[].kind == DEVICE:
        device_free(Int(s[].device), s[].data, s[].nbytes)
    elif s[].owner != 0:
        decref(s[].owner)
    pool()[].give(Int(s), HEADER)


def _drop_cow(address: Int):
    var block = at[CowBlock](address)
    block[].count -= 1
    if block[].count == 0:
        pool()[].give(block[].data, block[].nbytes)
        pool()[].give(address, 64)


def lazy_clone(s: StoragePtr) raises -> StoragePtr:
    """A storage with the same contents: the block is shared until either one is written, where that is possible."""
    if (s[].kind != POOLED and s[].kind != SHARED) or s[].exported != 0:
        var fresh = new_storage(s[].nbytes, Int(s[].device))
        if s[].device == 0:
            memcpy(fresh[].data, s[].data, s[].nbytes)
        else:
            device_copy(Int(s[].device), fresh[].data, s[].data, s[].nbytes, 2)
        return fresh
    var header = pool()[].take(HEADER)
    if header == 0:
        raise out_of_memory(HEADER, 0)
    if s[].kind == POOLED:
        var address = pool()[].take(64)
        if address == 0:
            pool()[].give(header, HEADER)
            raise out_of_memory(64, 0)
        var block = at[CowBlock](address)
        block[].count = 1
        block[].data = s[].data
        block[].nbytes = s[].nbytes
        s[].cow = address
        s[].kind = Int32(SHARED)
    at[CowBlock](s[].cow)[].count += 1
    var clone = _header(header, s[].data, s[].nbytes, SHARED, 0)
    clone[].cow = s[].cow
    return clone


@always_inline
def make_writable(s: StoragePtr) raises:
    """Ends sharing of the block: to be called before any write and before an address is handed out."""
    if s[].kind == SHARED:
        _materialise(s)


@no_inline
def _materialise(s: StoragePtr) raises:
    var block = at[CowBlock](s[].cow)
    if block[].count == 1:
        pool()[].give(s[].cow, 64)
    else:
        var data = pool()[].take(s[].nbytes)
        if data == 0:
            raise out_of_memory(s[].nbytes, 0)
        memcpy(data, block[].data, s[].nbytes)
        _drop_cow(s[].cow)
        s[].data = data
    s[].cow = 0
    s[].kind = Int32(POOLED)


def out_of_memory(nbytes: Int, device: Int) -> Error:
    if device != 0:
        return Error(
            t"OutOfMemoryError|dumbtorch: the device could not allocate {nbytes} bytes; free tensors or call"
            t" empty_cache()"
        )
    var p = pool()
    return Error(
        t"OutOfMemoryError|dumbtorch: could not allocate {nbytes} bytes on the CPU: {p[].allocated} bytes are in use"
        t" and the limit is {p[].limit}; free tensors, work in smaller pieces, or raise it with set_memory_limit()"
    )


# ---- devices: calls through the table that the accelerator's extension registered


def device_table(device: Int) raises -> Pointer[DeviceTable, MutUntrackedOrigin]:
    var address = runtime()[].device_tables[device >> 8]
    if address == 0:
        raise Error("RuntimeError|no accelerator extension is loaded for this device")
    return at[DeviceTable](address)


def device_error(device: Int, what: String) -> Error:
    """The error of a call through the device's table that returned -1; 1 means that there is no kernel for it."""
    var text = String()
    var address = runtime()[].device_tables[device >> 8]
    if address != 0:
        comptime ErrorFn = def() thin abi("C") -> Int
        text = String(unsafe_from_utf8_ptr=at[UInt8](function_at[ErrorFn](at[DeviceTable](address)[].error)()))
    return Error(t"RuntimeError|{what} failed on device {device & 255}: {text}")


def check_status(status: Int, device: Int, what: String) raises:
    """Raises for a status of a function of the table that is not 0."""
    if status == 1:
        raise Error(
            t"RuntimeError|{what} has no kernel for these dtypes on device {device & 255}; compute it on the CPU:"
            t" .cpu()"
        )
    if status != 0:
        raise device_error(device, what)


def device_alloc(device: Int, nbytes: Int) raises -> Int:
    var f = function_at[DeviceAlloc](device_table(device)[].alloc)
    return f(device & 255, max(nbytes, 1))


def device_free(device: Int, data: Int, nbytes: Int):
    var address = runtime()[].device_tables[device >> 8]
    if address != 0:  # the table cannot vanish while a storage of the device lives
        function_at[DeviceFree](at[DeviceTable](address)[].free)(device & 255, data, nbytes)


def device_copy(device: Int, dst: Int, src: Int, nbytes: Int, kind: Int) raises:
    var f = function_at[DeviceCopy](device_table(device)[].copy)
    if f(device & 255, dst, src, nbytes, kind) != 0:
        raise device_error(device, String(t"copying {nbytes} bytes"))
