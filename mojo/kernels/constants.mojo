"""Python numbers as elements: their bits in a dtype, and whether they fit."""

from std.memory import stack_allocation
from tensor.call import Scalar2
from tensor.dtype import BFLOAT16, BOOL, FLOAT16, FLOAT32, INT64, UINT64, UINT8, complex_part, is_complex, itemsize
from tensor.promote import put_number


def number_bits(code: Int, s: Scalar2) -> Tuple[UInt64, UInt64]:
    """The bits of a number as one element of the dtype."""
    var space = stack_allocation[2, UInt64]()
    space[unsafe_offset=0] = 0
    space[unsafe_offset=1] = 0
    put_number(space.unsafe_bitcast[UInt8]().as_unsafe_any_origin(), code, s)
    return (space[unsafe_offset=0], space[unsafe_offset=1])


def check_fits(code: Int, s: Scalar2) raises:
    """Refuses a number that the dtype cannot hold (a negative one may wrap into an unsigned type), as PyTorch."""
    if code == BOOL or code >= 16:
        return
    var fits = True
    if s.category == 3 and s.im != 0 and not is_complex(code):
        fits = False
    elif code >= UINT8 and code <= UINT64:
        var bits = 8 * itemsize(code)
        var signed = code >= 2 and code <= INT64
        if s.category <= 1:
            if s.category == 1 and bits < 64:
                var top = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
                var bottom = -top - 1 if signed else -top
                fits = s.i >= bottom and s.i <= top
            elif code == INT64 and s.i < 0 and s.d > 0:
                fits = False
        else:
            var top = Float64(1 << (bits - 1)) if bits < 64 or signed else 9223372036854775808.0
            if not signed:
                top *= 2
            if bits == 64 and signed:
                top = 9223372036854775808.0
            fits = s.d < top and (s.d > -top - 1 if bits < 64 else s.d >= -top)
    elif s.category >= 1:
        var part = complex_part(code)
        var largest = 1.7976931348623157e308
        if part == FLOAT32:
            largest = 3.4028234663852886e38
        elif part == FLOAT16:
            largest = 65504.0
        elif part == BFLOAT16:
            largest = 3.3895313892515355e38
        var size = abs(s.d)
        if size > largest and size <= 1.7976931348623157e308:
            fits = False
    if not fits:
        raise Error(t"RuntimeError|value cannot be converted to type {_c_name(code)} without overflow")


def _c_name(code: Int) -> String:
    comptime NAMES = [
        "bool",
        "uint8_t",
        "int8_t",
        "int16_t",
        "int",
        "int64_t",
        "uint16_t",
        "uint32_t",
        "uint64_t",
        "c10::Half",
        "c10::BFloat16",
        "float",
        "double",
        "c10::complex<c10::Half>",
        "c10::complex<float>",
        "c10::complex<double>",
    ]
    var names = materialize[NAMES]()
    return String(names[min(code, 15)])
