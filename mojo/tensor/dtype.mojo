"""Element types: one code per dtype, its size, its name and the one promotion table."""

from std.memory import Pointer

comptime BOOL = 0
comptime UINT8 = 1
comptime INT8 = 2
comptime INT16 = 3
comptime INT32 = 4
comptime INT64 = 5
comptime UINT16 = 6
comptime UINT32 = 7
comptime UINT64 = 8
comptime FLOAT16 = 9
comptime BFLOAT16 = 10
comptime FLOAT32 = 11
comptime FLOAT64 = 12
comptime COMPLEX32 = 13
comptime COMPLEX64 = 14
comptime COMPLEX128 = 15
comptime FLOAT8_E4M3FN = 16
comptime FLOAT8_E5M2 = 17
comptime BCOMPLEX32 = 18
comptime NUM_DTYPES = 19

# log2 of the element size, three bits a code.
comptime _LOG2_SIZES = _pack_sizes()


def _pack_sizes() -> Int:
    var sizes = [0, 0, 0, 1, 2, 3, 1, 2, 3, 1, 1, 2, 3, 2, 3, 4, 0, 0, 2]
    var packed = 0
    for i in range(len(sizes)):
        packed |= sizes[i] << (3 * i)
    return packed


@always_inline
def itemsize(code: Int) -> Int:
    """Bytes of one element."""
    return 1 << ((_LOG2_SIZES >> (3 * code)) & 7)


@always_inline
def is_floating(code: Int) -> Bool:
    return (code >= FLOAT16 and code <= FLOAT64) or code == FLOAT8_E4M3FN or code == FLOAT8_E5M2


@always_inline
def is_complex(code: Int) -> Bool:
    return (code >= COMPLEX32 and code <= COMPLEX128) or code == BCOMPLEX32


@always_inline
def is_integral(code: Int) -> Bool:
    """An integer type; bool is not one."""
    return code >= UINT8 and code <= UINT64


@always_inline
def category(code: Int) -> Int:
    """0 bool, 1 integer, 2 floating, 3 complex: PyTorch's promotion order."""
    if code == BOOL:
        return 0
    if code <= UINT64:
        return 1
    if is_complex(code):
        return 3
    return 2


# Row a, column b: the letter ('a' + code) of the promoted type, '-' where PyTorch refuses.
comptime _PROMOTE: StaticString = (
    "abcdef---jklmnop--s"
    "bbddef---jklmnop--s"
    "cdcdef---jklmnop--s"
    "ddddef---jklmnop--s"
    "eeeeef---jklmnop--s"
    "ffffff---jklmnop--s"
    "------g--jklm------"
    "-------h-jklm------"
    "--------ijklm------"
    "jjjjjjjjjjllmnop--o"
    "kkkkkkkkklklmoop--s"
    "llllllllllllmoop--o"
    "mmmmmmmmmmmmmppp--p"
    "nnnnnn---noopnop--o"
    "oooooo---ooopoop--o"
    "pppppp---ppppppp--p"
    "----------------q--"
    "-----------------r-"
    "ssssss---osopoop--s"
)


@always_inline
def promote(a: Int, b: Int) -> Int:
    """The dtype that holds both; -1 where there is none (as PyTorch's promote_types)."""
    if a == b:
        return a
    var letter = Int(_PROMOTE.unsafe_ptr()[unsafe_offset=a * NUM_DTYPES + b])
    return -1 if letter == 45 else letter - 97


def dtype_name(code: Int) -> String:
    """The name after 'torch.' of a dtype."""
    comptime NAMES = [
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex32",
        "complex64",
        "complex128",
        "float8_e4m3fn",
        "float8_e5m2",
        "bcomplex32",
    ]
    var names = materialize[NAMES]()
    return String(names[code])


def type_name(code: Int) -> String:
    """PyTorch's scalar-type name, as its error messages spell it."""
    comptime NAMES = [
        "Bool",
        "Byte",
        "Char",
        "Short",
        "Int",
        "Long",
        "UInt16",
        "UInt32",
        "UInt64",
        "Half",
        "BFloat16",
        "Float",
        "Double",
        "ComplexHalf",
        "ComplexFloat",
        "ComplexDouble",
        "Float8_e4m3fn",
        "Float8_e5m2",
        "BComplex32",
    ]
    var names = materialize[NAMES]()
    return String(names[code])


def complex_part(code: Int) -> Int:
    """The real dtype of a complex dtype's parts; the dtype itself when it is real."""
    if code == COMPLEX32:
        return FLOAT16
    if code == COMPLEX64:
        return FLOAT32
    if code == COMPLEX128:
        return FLOAT64
    if code == BCOMPLEX32:
        return BFLOAT16
    return code


def complex_of(code: Int) -> Int:
    """The complex dtype whose parts have this floating dtype."""
    if code == FLOAT16:
        return COMPLEX32
    if code == BFLOAT16:
        return BCOMPLEX32
    return COMPLEX128 if code == FLOAT64 else COMPLEX64


comptime dtype_of[code: Int]: DType = (
    DType.bool if code
    == BOOL else DType.uint8 if code
    == UINT8 else DType.int8 if code
    == INT8 else DType.int16 if code
    == INT16 else DType.int32 if code
    == INT32 else DType.int64 if code
    == INT64 else DType.uint16 if code
    == UINT16 else DType.uint32 if code
    == UINT32 else DType.uint64 if code
    == UINT64 else DType.float16 if code
    == FLOAT16 else DType.bfloat16 if code
    == BFLOAT16 else DType.float32 if code
    == FLOAT32 else DType.float64 if code
    == FLOAT64 else DType.float8_e4m3fn if code
    == FLOAT8_E4M3FN else DType.float8_e5m2
)
