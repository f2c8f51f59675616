"""The tensor object: a CPython type of our own whose fields the kernels read directly.

Python's class Tensor derives from it. The object is small on purpose: no second object holds the implementation.
"""

from std.ffi import external_call, c_int
from std.memory import Pointer
from std.sys.info import size_of
from .dtype import itemsize
from .layout import Dims, contiguous_strides, is_contiguous, no_dims, shape_text
from .memory import at, load, store
from .py import Obj, class_of, decref, incref, is_subtype, type_name_of, xdecref
from .runtime import MAX_RANK, RuntimePtr, runtime
from .storage import StoragePtr, make_writable, new_storage, release, retain

comptime _GRAD_FN = 48  # where TensorObj has its grad_fn
comptime REQUIRES_GRAD = 1
comptime CONTIGUOUS = 2
comptime INFERENCE_TENSOR = 4
# Pending work on every element: 8 is MADE_WITHOUT_GRAD of viewing.mojo
comptime CONJUGATE = 16
comptime NEGATIVE = 32
comptime LAZY = CONJUGATE | NEGATIVE
comptime SPARSE = 64  # its elements lie in other tensors: Python computes every op that it is given to
comptime UNWATCHED = 128  # what `.data` gave: writes through it and its views are counted in its own view_version


struct TensorObj:
    var ob_refcnt: Int
    var ob_type: Obj
    var storage_address: Int
    var offset: Int  # of the first element, in elements
    var numel: Int
    var dtype: UInt8
    var ndim: UInt8
    var flags: UInt16
    var output_nr: Int32
    var grad_fn: Obj
    var grad: Obj
    var base: Obj  # the tensor that this one is a view of, or 0
    var view_version: Int
    var shape: Dims
    var strides: Dims

    @always_inline
    def storage(self) -> StoragePtr:
        return StoragePtr(unsafe_from_address=self.storage_address)

    @always_inline
    def code(self) -> Int:
        return Int(self.dtype)

    @always_inline
    def rank(self) -> Int:
        return Int(self.ndim)

    @always_inline
    def device(self) -> Int:
        return Int(self.storage()[].device)

    @always_inline
    def contiguous(self) -> Bool:
        return self.flags & CONTIGUOUS != 0

    @always_inline
    def data(self) -> Int:
        """The address of the first element, for reading."""
        return self.storage()[].data + self.offset * itemsize(Int(self.dtype))

    @always_inline
    def writable(self) raises -> Int:
        """The address of the first element, for writing: ends copy-on-write sharing."""
        make_writable(self.storage())
        return self.storage()[].data + self.offset * itemsize(Int(self.dtype))

    @always_inline
    def lazy(self) -> Int:
        """What is still to be done to every element that is read: CONJUGATE, NEGATIVE."""
        return Int(self.flags) & LAZY

    @always_inline
    def requires_grad(self) -> Bool:
        if self.grad_fn != 0 or self.flags & REQUIRES_GRAD != 0:
            return True
        # a view made before its base joined the graph: the write that did it counts for the view too
        return self.base != 0 and load[Int](self.base + _GRAD_FN) != 0 and self.view_version != self.storage()[].version


comptime MAX_BYTES = Float64(1 << 62)
"""A bound on the bytes of a tensor, and on the elements of one that repeats its memory, with room to add offsets to."""


@no_inline
def _too_large(shape: Dims, ndim: Int) -> Error:
    return Error(t"RuntimeError|Storage size calculation overflowed with sizes={shape_text(shape, ndim)}")


comptime TPtr = Pointer[TensorObj, MutUntrackedOrigin]


@always_inline
def as_tensor(o: Obj) -> TPtr:
    return TPtr(unsafe_from_address=o)


@always_inline
def is_tensor(o: Obj) -> Bool:
    var tp = class_of(o)
    var rt = runtime()
    return tp == rt[].tensor_type or is_subtype(tp, rt[].base_type)


@always_inline
def is_sparse(o: Obj) -> Bool:
    return o != 0 and is_tensor(o) and as_tensor(o)[].flags & UInt16(SPARSE) != 0


@always_inline
def allocate_object(rt: RuntimePtr) -> Obj:
    """A zero-filled object of the Python class Tensor (0 with MemoryError set when there is no memory)."""
    rt[].live_tensors += 1
    return external_call["PyType_GenericAlloc", Int](rt[].tensor_type, Int(0))


def wrap_storage(storage: StoragePtr, offset: Int, dtype: Int, shape: Dims, strides: Dims, ndim: Int) raises -> Obj:
    """A new tensor over a storage whose reference it takes over."""
    var count = Float64(1)
    for i in range(ndim):
        count *= Float64(shape[i])
    if count > MAX_BYTES:
        release(storage)
        raise _too_large(shape, ndim)
    var o = allocate_object(runtime())
    if o == 0:
        release(storage)
        raise Error("P|")
    var t = as_tensor(o)
    t[].storage_address = Int(storage)
    t[].offset = offset
    t[].dtype = UInt8(dtype)
    set_layout(t, shape, strides, ndim)
    return o


@always_inline
def set_layout(t: TPtr, shape: Dims, strides: Dims, ndim: Int):
    """Sets sizes and strides and what is derived from them."""
    var n = 1
    for i in range(ndim):
        t[].shape[i] = shape[i]
        t[].strides[i] = strides[i]
        n *= shape[i]
    t[].numel = n
    t[].ndim = UInt8(ndim)
    var contig = UInt16(CONTIGUOUS) if is_contiguous(shape, strides, ndim) else UInt16(0)
    t[].flags = (t[].flags & ~UInt16(CONTIGUOUS)) | contig


@always_inline
def new_tensor(dtype: Int, shape: Dims, ndim: Int, device: Int = 0) raises -> Obj:
    """An uninitialised contiguous tensor. Sizes are not negative; what no address space can hold is refused."""
    var n = 1
    var size = Float64(itemsize(dtype))
    for i in range(ndim):
        n *= shape[i]
        size *= Float64(shape[i])
    if size > MAX_BYTES:
        raise _too_large(shape, ndim)
    var storage = new_storage(n * itemsize(dtype), device)
    var o = allocate_object(runtime())
    if o == 0:
        release(storage)
        raise Error("P|")
    var t = as_tensor(o)
    t[].storage_address = Int(storage)
    t[].dtype = UInt8(dtype)
    t[].ndim = UInt8(ndim)
    t[].numel = n
    t[].flags = UInt16(CONTIGUOUS)
    var step = 1
    for j in range(ndim):
        var i = ndim - 1 - j
        t[].shape[i] = shape[i]
        t[].strides[i] = step
        step *= max(shape[i], 1)
    return o


def new_strided(dtype: Int, shape: Dims, strides: Dims, ndim: Int, device: Int = 0) raises -> Obj:
    """An uninitialised tensor with dense strides of the caller's choice."""
    var n = 1
    var size = Float64(itemsize(dtype))
    for i in range(ndim):
        n *= shape[i]
        size *= Float64(shape[i])
    if size > MAX_BYTES:
        raise _too_large(shape, ndim)
    return wrap_storage(new_storage(n * itemsize(dtype), device), 0, dtype, shape, strides, ndim)


def view_of(t: TPtr, offset: Int, shape: Dims, strides: Dims, ndim: Int) raises -> Obj:
    """A tensor of the same dtype on the same storage; its base is the root of the view chain."""
    retain(t[].storage())
    var o = wrap_storage(t[].storage(), offset, t[].code(), shape, strides, ndim)
    var v = as_tensor(o)
    v[].base = t[].base if t[].base != 0 else Int(t)
    incref(v[].base)
    v[].view_version = t[].storage()[].version
    v[].flags |= t[].flags & UInt16(INFERENCE_TENSOR | LAZY)
    return o


def writes_of(t: TPtr) -> Pointer[Int, MutUntrackedOrigin]:
    """The count of the writes that autograd compares: the storage's, or that of what `.data` gave."""
    var root = t if t[].base == 0 else as_tensor(t[].base)
    if root[].flags & UInt16(UNWATCHED) != 0 and not root[].requires_grad():
        return at[Int](Int(Pointer(to=root[].view_version)))
    return at[Int](Int(Pointer(to=t[].storage()[].version)))


def alias_of(t: TPtr) raises -> Obj:
    """A tensor on the same elements with no history and no base (what detach returns)."""
    retain(t[].storage())
    var o = wrap_storage(t[].storage(), t[].offset, t[].code(), t[].shape, t[].strides, t[].rank())
    as_tensor(o)[].flags |= t[].flags & UInt16(LAZY)
    return o


def replace_storage(t: TPtr, dtype: Int, shape: Dims, ndim: Int) raises:
    """Gives a tensor fresh contiguous memory of another shape (the resize of an `out=` argument)."""
    var n = 1
    for i in range(ndim):
        n *= shape[i]
    var fresh = new_storage(n * itemsize(dtype), t[].device())
    release(t[].storage())
    t[].storage_address = Int(fresh)
    t[].offset = 0
    t[].dtype = UInt8(dtype)
    set_layout(t, shape, contiguous_strides(shape, ndim), ndim)
