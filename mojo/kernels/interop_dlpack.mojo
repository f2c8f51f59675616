"""DLPack: tensors exchanged with other libraries without a copy, in the legacy and the versioned (1.x) form.

An exported tensor is a capsule around a malloc'ed record that holds a reference to the storage. The consumer renames
the capsule and later calls the record's deleter, from any thread; a capsule that nobody consumed calls it itself.
"""

from std.ffi import c_int, external_call

from tensor.dtype import (
    BCOMPLEX32, BFLOAT16, BOOL, COMPLEX128, COMPLEX32, COMPLEX64, FLOAT16, FLOAT32, FLOAT64, FLOAT8_E4M3FN, FLOAT8_E5M2,
    INT16, INT32, INT64, INT8, UINT16, UINT32, UINT64, UINT8, itemsize, type_name,
)  # fmt: skip
from tensor.errors import python_error
from tensor.layout import checked_numel, contiguous_strides, extent, no_dims
from tensor.memory import address_of, at, function_at, load, store
from tensor.object import TPtr, wrap_storage
from tensor.py import Obj, class_of, decref, symbol
from tensor.runtime import MAX_RANK, runtime
from tensor.storage import StoragePtr, foreign_storage, release, retain

comptime LEGACY: StaticString = "dltensor"
comptime VERSIONED: StaticString = "dltensor_versioned"
comptime USED_LEGACY: StaticString = "used_dltensor"
comptime USED_VERSIONED: StaticString = "used_dltensor_versioned"
comptime OWNER: StaticString = "dumbtorch.dlpack"

comptime READ_ONLY = 1
comptime IS_COPIED = 2

comptime CPU = 1
comptime CUDA = 2
comptime CUDA_HOST = 3
comptime METAL = 8
comptime ROCM = 10

# type codes of DLDataType
comptime INT = 0
comptime UINT = 1
comptime FLOAT = 2
comptime BFLOAT = 4
comptime COMPLEX = 5
comptime BOOLEAN = 6
comptime E4M3FN = 10
comptime E5M2 = 12

comptime Deleter = def(Int) thin abi("C") -> None


struct DLTensor:
    var data: Int
    var device_type: Int32
    var device_id: Int32
    var ndim: Int32
    var code: UInt8
    var bits: UInt8
    var lanes: UInt16
    var shape: Int
    var strides: Int
    var byte_offset: Int


struct Legacy:
    """DLManagedTensor."""

    var tensor: DLTensor
    var context: Int
    var deleter: Int


struct Versioned:
    """DLManagedTensorVersioned."""

    var major: UInt32
    var minor: UInt32
    var context: Int
    var deleter: Int
    var flags: Int
    var tensor: DLTensor


comptime RECORD = 80  # bytes of the larger of the two


# ---------------------------------------------------------------- out


def _free_record(record: Int, context: Int):
    # a consumer may drop the memory in a thread without the interpreter's lock, which guards the pool; after the
    # interpreter has gone there is no lock, and no pool to care for
    if external_call["Py_IsInitialized", c_int]() != 0:
        var state = external_call["PyGILState_Ensure", c_int]()
        var storage = StoragePtr(unsafe_from_address=context)
        storage[].exported -= 1
        release(storage)
        external_call["PyGILState_Release", NoneType](state)
    external_call["free", NoneType](record)


def _delete_legacy(record: Int) abi("C") -> None:
    _free_record(record, at[Legacy](record)[].context)


def _delete_versioned(record: Int) abi("C") -> None:
    _free_record(record, at[Versioned](record)[].context)


def _call_deleter(record: Int, versioned: Bool):
    """What the consumer of a record does when it is done."""
    var deleter = at[Versioned](record)[].deleter if versioned else at[Legacy](record)[].deleter
    if deleter != 0:
        function_at[Deleter](deleter)(record)


def _destroy_export(capsule: Int) abi("C") -> None:
    """Destructor of an exported capsule: one that was consumed has another name."""
    if _has_name(capsule, LEGACY):
        _call_deleter(_pointer(capsule), False)
    elif _has_name(capsule, VERSIONED):
        _call_deleter(_pointer(capsule), True)


def _has_name(capsule: Obj, name: StaticString) -> Bool:
    return external_call["PyCapsule_IsValid", c_int](capsule, Int(name.unsafe_ptr())) != 0


def _pointer(capsule: Obj) -> Int:
    return load[Int](capsule + 16)  # PyCapsule: refcount, type, pointer


def _type_of(code: Int) -> Tuple[Int, Int]:
    """Type code and bits of a dtype; -1 for a dtype that DLPack has no code for."""
    var bits = itemsize(code) * 8
    if code == BOOL:
        return (BOOLEAN, bits)
    if code == BFLOAT16:
        return (BFLOAT, bits)
    if code == FLOAT8_E4M3FN:
        return (E4M3FN, bits)
    if code == FLOAT8_E5M2:
        return (E5M2, bits)
    if code == BCOMPLEX32:
        return (-1, bits)
    if code >= COMPLEX32 and code <= COMPLEX128:
        return (COMPLEX, bits)
    if code >= FLOAT16:
        return (FLOAT, bits)
    return (UINT if code == UINT8 or code >= UINT16 else INT, bits)


def _device_of(code: Int) -> Int:
    """DLPack's device type of a device code's type (cpu, cuda, hip, mps)."""
    var kind = code >> 8
    return CPU if kind == 0 else CUDA if kind == 1 else ROCM if kind == 2 else METAL


def capsule_of(t: TPtr, versioned: Bool, copied: Bool) raises -> Obj:
    """A capsule that shares the tensor's memory."""
    var kind = _type_of(t[].code())
    if kind[0] < 0:
        raise Error(t"BufferError|DLPack has no type for {type_name(t[].code())}: convert the tensor first")
    var data = t[].writable()
    var n = t[].rank()
    var record = external_call["malloc", Int](RECORD + 16 * MAX_RANK)
    if record == 0:
        raise Error("OutOfMemoryError|could not allocate a DLPack record")
    var dims = record + RECORD
    for i in range(n):
        store[Int](dims + 8 * i, t[].shape[i])
        store[Int](dims + 8 * (n + i), t[].strides[i])
    var readonly = t[].storage()[].readonly != 0
    var tensor: Int
    if versioned:
        var v = at[Versioned](record)
        v[].major = 1
        v[].minor = 0
        v[].context = t[].storage_address
        var f: Deleter = _delete_versioned
        v[].deleter = address_of(f)
        v[].flags = (READ_ONLY if readonly else 0) | (IS_COPIED if copied else 0)
        tensor = record + 32
    else:
        var v = at[Legacy](record)
        v[].context = t[].storage_address
        var f: Deleter = _delete_legacy
        v[].deleter = address_of(f)
        tensor = record
    var d = at[DLTensor](tensor)
    d[].data = data
    d[].device_type = Int32(_device_of(t[].device()))
    d[].device_id = Int32(t[].device() & 255)
    d[].ndim = Int32(n)
    d[].code = UInt8(kind[0])
    d[].bits = UInt8(kind[1])
    d[].lanes = 1
    d[].shape = dims
    d[].strides = dims + 8 * n
    d[].byte_offset = 0
    retain(t[].storage())
    t[].storage()[].exported += 1
    var destructor: Deleter = _destroy_export
    var name = VERSIONED if versioned else LEGACY
    var capsule = external_call["PyCapsule_New", Int](record, Int(name.unsafe_ptr()), address_of(destructor))
    if capsule == 0:
        _call_deleter(record, versioned)
        raise python_error()
    return capsule


# ---------------------------------------------------------------- in


def _destroy_legacy(capsule: Int) abi("C") -> None:
    _call_deleter(_pointer(capsule), False)


def _destroy_versioned(capsule: Int) abi("C") -> None:
    _call_deleter(_pointer(capsule), True)


def _dtype_from(code: Int, bits: Int, lanes: Int) raises -> Int:
    if lanes == 1:
        if code == BOOLEAN and bits == 8:
            return BOOL
        if code == INT:
            if bits == 8 or bits == 16 or bits == 32 or bits == 64:
                return INT8 if bits == 8 else INT16 if bits == 16 else INT32 if bits == 32 else INT64
        elif code == UINT:
            if bits == 8 or bits == 16 or bits == 32 or bits == 64:
                return UINT8 if bits == 8 else UINT16 if bits == 16 else UINT32 if bits == 32 else UINT64
        elif code == FLOAT:
            if bits == 16 or bits == 32 or bits == 64:
                return FLOAT16 if bits == 16 else FLOAT32 if bits == 32 else FLOAT64
        elif code == BFLOAT and bits == 16:
            return BFLOAT16
        elif code == COMPLEX:
            if bits == 32 or bits == 64 or bits == 128:
                return COMPLEX32 if bits == 32 else COMPLEX64 if bits == 64 else COMPLEX128
        elif code == E4M3FN and bits == 8:
            return FLOAT8_E4M3FN
        elif code == E5M2 and bits == 8:
            return FLOAT8_E5M2
    raise Error(
        t"BufferError|from_dlpack: there is no dtype for DLPack type code {code} with {bits} bits and {lanes} lanes"
    )


def _device_from(kind: Int, index: Int) raises -> Int:
    if kind == CPU or kind == CUDA_HOST:
        return 0
    var type_ = 1 if kind == CUDA else 2 if kind == ROCM else 3 if kind == METAL else 0
    if type_ == 0 or runtime()[].device_tables[type_] == 0:
        raise Error(t"BufferError|from_dlpack: no device here for DLPack device type {kind}, index {index}")
    return type_ << 8 | index


def tensor_of(capsule: Obj) raises -> Obj:
    """A tensor over a capsule's memory; consumes the capsule."""
    var is_capsule = class_of(capsule) == symbol("PyCapsule_Type")
    var versioned = is_capsule and _has_name(capsule, VERSIONED)
    if not versioned and not (is_capsule and _has_name(capsule, LEGACY)):
        raise Error(
            "RuntimeError|from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only"
            " once, so you might have already constructed a tensor from it once."
        )
    var record = _pointer(capsule)
    if versioned and at[Versioned](record)[].major != 1:
        var major = Int(at[Versioned](record)[].major)
        raise Error(t"BufferError|from_dlpack: the capsule has DLPack version {major}; versions up to 1 are understood")
    var readonly = versioned and at[Versioned](record)[].flags & READ_ONLY != 0
    var d = at[DLTensor](record + 32 if versioned else record)
    var code = _dtype_from(Int(d[].code), Int(d[].bits), Int(d[].lanes))
    var device = _device_from(Int(d[].device_type), Int(d[].device_id))
    var n = Int(d[].ndim)
    if n > MAX_RANK:
        raise Error(t"BufferError|from_dlpack: at most {MAX_RANK} dimensions are supported, got {n}")
    var shape = no_dims()
    for i in range(n):
        shape[i] = load[Int](d[].shape + 8 * i)
    var strides = contiguous_strides(shape, n)
    if d[].strides != 0:
        for i in range(n):
            strides[i] = load[Int](d[].strides + 8 * i)
            if strides[i] < 0 and shape[i] > 1:
                raise Error(
                    "BufferError|from_dlpack: tensors with negative strides are not supported; export a copy of the"
                    " array"
                )
    _ = checked_numel(shape, n, itemsize(code))
    var nbytes = extent(shape, strides, n)[1] * itemsize(code)
    # from here on the record is ours: a capsule that calls its deleter owns it
    var destructor: Deleter = _destroy_versioned if versioned else _destroy_legacy
    var owner = external_call["PyCapsule_New", Int](record, Int(OWNER.unsafe_ptr()), address_of(destructor))
    if owner == 0:
        raise python_error()
    var used = USED_VERSIONED if versioned else USED_LEGACY
    _ = external_call["PyCapsule_SetName", c_int](capsule, Int(used.unsafe_ptr()))
    var storage: StoragePtr
    try:
        storage = foreign_storage(d[].data + d[].byte_offset, nbytes, owner, readonly)
    except e:
        decref(owner)
        raise e^
    storage[].device = Int32(device)
    return wrap_storage(storage, 0, code, shape, strides, n)
