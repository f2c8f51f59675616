"""Single elements of any dtype, for kernels that do not work on neighbours: reductions, softmax, products."""

from std.sys.info import size_of

from tensor.dtype import (
    BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT16, INT32, INT64, INT8, UINT16, UINT32, UINT64, UINT8,
)  # fmt: skip
from tensor.memory import load, store


@always_inline
def read[C: DType](address: Int, code: Int) -> Scalar[C]:
    """The element of dtype `code` there, as C: float32 of the halves and float32 (or float64 of them), int64 of the integers and bool.
    """
    comptime if C == DType.float32:
        if code == FLOAT16:
            return load[Float16](address).cast[C]()
        if code == BFLOAT16:
            return load[BFloat16](address).cast[C]()
        return load[Float32](address).cast[C]()
    elif C == DType.float64:
        if code == FLOAT64:
            return load[Float64](address).cast[C]()
        return read[DType.float32](address, code).cast[C]()
    else:
        if code == INT64 or code == UINT64:
            return load[Int64](address).cast[C]()
        if code == INT32:
            return load[Int32](address).cast[C]()
        if code == UINT8 or code == BOOL:
            return load[UInt8](address).cast[C]()
        if code == INT8:
            return load[Int8](address).cast[C]()
        if code == INT16:
            return load[Int16](address).cast[C]()
        if code == UINT16:
            return load[UInt16](address).cast[C]()
        return load[UInt32](address).cast[C]()


@always_inline
def write[C: DType](address: Int, code: Int, value: Scalar[C]):
    """Stores an element as dtype `code`."""
    comptime if C.is_floating_point():
        if code == FLOAT16:
            store(address, value.cast[DType.float16]())
        elif code == BFLOAT16:
            store(address, value.cast[DType.bfloat16]())
        elif code == FLOAT32:
            store(address, value.cast[DType.float32]())
        else:
            store(address, value.cast[DType.float64]())
    else:
        if code == INT64 or code == UINT64:
            store(address, value.cast[DType.int64]())
        elif code == INT32 or code == UINT32:
            store(address, value.cast[DType.int32]())
        elif code == INT16 or code == UINT16:
            store(address, value.cast[DType.int16]())
        else:
            store(address, value.cast[DType.int8]())
