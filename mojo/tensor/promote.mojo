"""Result types: PyTorch's promotion over operands that are tensors, 0-d tensors and Python numbers."""

from .call import Call, Scalar2, number_of

from .dtype import (
    BOOL, COMPLEX128, COMPLEX64, COMPLEX32, BCOMPLEX32, BFLOAT16, FLOAT16, FLOAT64, INT64, UINT16, UINT64, category, dtype_of, is_complex, is_floating, promote, type_name,
)  # fmt: skip
from .object import TPtr
from .runtime import runtime


struct ResultType(Copyable):
    """Collects operands; dimensioned tensors outrank 0-d ones, which outrank Python numbers, within a category."""

    var dims: Int  # promoted dtype of the tensors with dimensions, -1 when there is none
    var zero: Int
    var number: Int

    def __init__(out self):
        self.dims = -1
        self.zero = -1
        self.number = -1

    @always_inline
    def add_tensor(mut self, t: TPtr) raises:
        if t[].rank() > 0:
            self.dims = _join(self.dims, t[].code())
        else:
            self.zero = _join(self.zero, t[].code())

    def add_number(mut self, s: Scalar2) raises:
        var code: Int
        if s.category == 0:
            code = BOOL
        elif s.category == 1:
            code = INT64
        elif s.category == 2:
            code = runtime()[].default_dtype
        else:
            code = to_complex(runtime()[].default_dtype)
        self.number = _join(self.number, code)

    def result(self) raises -> Int:
        return _combine(self.dims, _combine(self.zero, self.number))


@always_inline
def _join(a: Int, b: Int) raises -> Int:
    return b if a < 0 else promoted(a, b)


def promoted(a: Int, b: Int) raises -> Int:
    """`promote`, with PyTorch's error where the two have no common type."""
    var r = promote(a, b)
    if r < 0:
        var what: StaticString = "uint16, uint32, uint64" if a < 16 and b < 16 else "Float8"
        raise Error(
            t"RuntimeError|Promotion for {what} types is not supported, attempted to promote {type_name(a)} and"
            t" {type_name(b)}"
        )
    return r


def _combine(higher: Int, lower: Int) raises -> Int:
    if higher < 0:
        return lower
    if lower < 0 or is_complex(higher):
        return higher
    if category(higher) == 2:
        return to_complex(higher) if is_complex(lower) else higher
    if is_complex(lower) and higher >= UINT16 and higher <= UINT64:
        return lower
    if higher == BOOL or category(lower) >= 2:
        return promoted(higher, lower)
    return higher


def to_complex(code: Int) -> Int:
    """The complex dtype that a floating one becomes beside complex numbers: of bfloat16 complex64, as in PyTorch."""
    if code == FLOAT16:
        return COMPLEX32
    if code == FLOAT64:
        return COMPLEX128
    return COMPLEX64


def can_cast(source: Int, target: Int) -> Bool:
    """Whether a result may be written to an output of the other dtype: categories only go up."""
    if is_complex(source) and not is_complex(target):
        return False
    if category(source) == 2 and category(target) < 2:
        return False
    return not (source != BOOL and target == BOOL)


def check_can_cast(source: Int, target: Int) raises:
    if not can_cast(source, target):
        raise Error(
            t"RuntimeError|result type {type_name(source)} can't be cast to the desired output type {type_name(target)}"
        )


@always_inline
def _put[T: TrivialRegisterPassable](address: Pointer[UInt8, MutAnyOrigin], value: T):
    address.unsafe_bitcast[T]()[] = value


def put_number(address: Pointer[UInt8, MutAnyOrigin], code: Int, s: Scalar2):
    """Writes a Python number as one element of the dtype: integers wrap, as a cast does."""
    comptime for c in range(19):
        if code == c:
            comptime if c == BOOL:
                _put[UInt8](address, UInt8(1) if (s.d != 0 or s.im != 0 or s.i != 0) else UInt8(0))
            elif c >= 1 and c <= 8:
                _put[Scalar[dtype_of[c]]](address, Int64(s.i).cast[dtype_of[c]]())
            elif c == COMPLEX32:
                _put[Float16](address, s.d.cast[DType.float16]())
                _put[Float16](address.unsafe_offset(2), s.im.cast[DType.float16]())
            elif c == COMPLEX64:
                _put[Float32](address, s.d.cast[DType.float32]())
                _put[Float32](address.unsafe_offset(4), s.im.cast[DType.float32]())
            elif c == COMPLEX128:
                _put[Float64](address, s.d)
                _put[Float64](address.unsafe_offset(8), s.im)
            elif c == BCOMPLEX32:
                _put[BFloat16](address, s.d.cast[DType.bfloat16]())
                _put[BFloat16](address.unsafe_offset(2), s.im.cast[DType.bfloat16]())
            else:
                _put[Scalar[dtype_of[c]]](address, s.d.cast[dtype_of[c]]())
