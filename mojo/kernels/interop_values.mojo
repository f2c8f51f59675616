"""Single elements as Python objects and numbers: what item, tolist and reading a 0-d tensor share."""

from std.ffi import external_call
from tensor.call import Scalar2

from tensor.dtype import (
    BCOMPLEX32, BOOL, COMPLEX128, COMPLEX32, COMPLEX64, FLOAT64, INT64, NUM_DTYPES, UINT64, dtype_of, is_complex,
    is_floating, itemsize,
)  # fmt: skip
from tensor.layout import extent
from tensor.memory import load, memcpy
from tensor.object import TPtr
from tensor.py import Obj, new_ref, py_float, py_int
from tensor.runtime import runtime
from tensor.storage import device_copy


@always_inline
def real_at[code: Int](address: Int) -> Float64:
    """A floating element as a double: exact for every floating dtype."""
    return load[Scalar[dtype_of[code]]](address).cast[DType.float32]().cast[
        DType.float64
    ]() if code != FLOAT64 else load[Float64](address)


@always_inline
def complex_at[code: Int](address: Int) -> Tuple[Float64, Float64]:
    """The two parts of a complex element as doubles."""
    comptime if code == COMPLEX32:
        return (load[Float16](address).cast[DType.float64](), load[Float16](address + 2).cast[DType.float64]())
    elif code == BCOMPLEX32:
        return (
            load[BFloat16](address).cast[DType.float32]().cast[DType.float64](),
            load[BFloat16](address + 2).cast[DType.float32]().cast[DType.float64](),
        )
    elif code == COMPLEX64:
        return (load[Float32](address).cast[DType.float64](), load[Float32](address + 4).cast[DType.float64]())
    else:
        return (load[Float64](address), load[Float64](address + 8))


@always_inline
def object_at[code: Int](address: Int) -> Obj:
    """A new Python bool, int, float or complex with the element's value."""
    comptime if code == BOOL:
        var rt = runtime()
        return new_ref(rt[].true_ if load[UInt8](address) != 0 else rt[].false_)
    elif code == UINT64:
        return external_call["PyLong_FromUnsignedLongLong", Int](load[Int](address))
    elif is_complex(code):
        var z = complex_at[code](address)
        return external_call["PyComplex_FromDoubles", Int](z[0], z[1])
    elif is_floating(code):
        return py_float(real_at[code](address))
    else:
        return py_int(Int(load[Scalar[dtype_of[code]]](address)))


def object_of(code: Int, address: Int) -> Obj:
    comptime for c in range(NUM_DTYPES):
        if code == c:
            return object_at[c](address)
    return 0


def scalar_of(code: Int, address: Int) -> Scalar2:
    """An element as a number: its category and its value in each."""
    comptime for c in range(NUM_DTYPES):
        if code == c:
            comptime if is_complex(c):
                var z = complex_at[c](address)
                return Scalar2(3, 0, z[0], z[1])
            elif is_floating(c):
                return Scalar2(2, 0, real_at[c](address), 0)
            elif c == BOOL:
                var b = Int(load[UInt8](address) != 0)
                return Scalar2(0, b, Float64(b), 0)
            elif c == UINT64:
                var u = load[UInt64](address)
                return Scalar2(1, Int(u), u.cast[DType.float64](), 0)
            else:
                var i = Int(load[Scalar[dtype_of[c]]](address))
                return Scalar2(1, i, Float64(i), 0)
    return Scalar2(1, 0, 0, 0)


struct HostView(Movable):
    """A tensor's elements where the CPU can read them: in place, or a staged copy of a device's memory."""

    var first: Int  # address of the first element
    var staging: Int  # the copy, 0 when there is none

    def __init__(out self, t: TPtr) raises:
        self.first = t[].data()
        self.staging = 0
        if t[].device() != 0 and t[].numel > 0:
            var size = itemsize(t[].code())
            var reach = extent(t[].shape, t[].strides, t[].rank())
            var nbytes = (reach[1] - reach[0]) * size
            self.staging = external_call["malloc", Int](nbytes)
            if self.staging == 0:
                raise Error(t"OutOfMemoryError|could not allocate {nbytes} bytes to read a device tensor")
            self.first = self.staging - reach[0] * size
            try:
                device_copy(t[].device(), self.staging, t[].data() + reach[0] * size, nbytes, 1)
            except e:
                external_call["free", NoneType](self.staging)
                self.staging = 0
                raise e^

    def __deinit__(deinit self):
        if self.staging != 0:
            external_call["free", NoneType](self.staging)


def scalar_in(t: TPtr) raises -> Scalar2:
    """The value of a one-element tensor."""
    var view = HostView(t)
    var s = scalar_of(t[].code(), view.first)
    _ = view^
    return s
