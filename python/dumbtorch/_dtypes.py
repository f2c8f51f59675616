"""The element types: one object each, in the order of the codes that the extension uses."""

from __future__ import annotations

import builtins
from typing import Any

from dumbtorch import _C


class dtype:
    """The type of a tensor's elements. There is one object for each type: compare with ``is`` or ``==``.

    Attributes: ``itemsize`` (bytes), ``is_floating_point``, ``is_complex``, ``is_signed``, ``abbr``.
    Reference: ``torch.dtype``.

    >>> float32.itemsize, float32.is_floating_point
    (4, True)
    """

    __module__ = "dumbtorch"
    __slots__ = ("_code", "_name", "abbr", "is_complex", "is_floating_point", "is_signed", "itemsize")

    def __init__(self, code: builtins.int, name: str, itemsize: builtins.int, kind: str, abbr: str) -> None:
        self._code = code
        self._name = name
        self.itemsize = itemsize
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.is_signed = kind in "fci"
        self.abbr = abbr

    def to_complex(self) -> dtype:
        """The complex type whose parts have this floating-point type (complex types return themselves)."""
        if self.is_complex:
            return self
        name = {"float16": "complex32", "bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}
        if self._name not in name:
            raise RuntimeError(f"Unknown Complex ScalarType for {TYPE_NAMES[self]}")
        return BY_NAME[name[self._name]]

    def to_real(self) -> dtype:
        """The type of the parts of a complex type (real types return themselves)."""
        if not self.is_complex:
            return self
        name = {"complex32": "float16", "complex64": "float32", "complex128": "float64", "bcomplex32": "bfloat16"}
        return BY_NAME[name[self._name]]

    def __repr__(self) -> str:
        return "torch." + self._name

    def __reduce__(self) -> str:
        return self._name  # pickled as the module's global of that name: identity survives

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: Any) -> dtype:
        return self


bool = dtype(0, "bool", 1, "b", "b8")
uint8 = dtype(1, "uint8", 1, "u", "u8")
int8 = dtype(2, "int8", 1, "i", "i8")
int16 = dtype(3, "int16", 2, "i", "i16")
int32 = dtype(4, "int32", 4, "i", "i32")
int64 = dtype(5, "int64", 8, "i", "i64")
uint16 = dtype(6, "uint16", 2, "u", "u16")
uint32 = dtype(7, "uint32", 4, "u", "u32")
uint64 = dtype(8, "uint64", 8, "u", "u64")
float16 = dtype(9, "float16", 2, "f", "f16")
bfloat16 = dtype(10, "bfloat16", 2, "f", "bf16")
float32 = dtype(11, "float32", 4, "f", "f32")
float64 = dtype(12, "float64", 8, "f", "f64")
complex32 = dtype(13, "complex32", 4, "c", "c32")
complex64 = dtype(14, "complex64", 8, "c", "c64")
complex128 = dtype(15, "complex128", 16, "c", "c128")
float8_e4m3fn = dtype(16, "float8_e4m3fn", 1, "f", "f8e4m3fn")
float8_e5m2 = dtype(17, "float8_e5m2", 1, "f", "f8e5m2")
bcomplex32 = dtype(18, "bcomplex32", 4, "c", "bc32")

ALL = (
    bool, uint8, int8, int16, int32, int64, uint16, uint32, uint64, float16, bfloat16, float32, float64,
    complex32, complex64, complex128, float8_e4m3fn, float8_e5m2, bcomplex32,
)  # fmt: skip
BY_NAME: dict[str, dtype] = {d._name: d for d in ALL}
_C.set_dtypes(ALL)

#: The types that Python's numbers stand for where a dtype is asked for.
PYTHON: dict[type, dtype] = {
    builtins.bool: bool, builtins.int: int64, builtins.float: float64, complex: complex128,
}  # fmt: skip

half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
chalf, cfloat, cdouble = complex32, complex64, complex128


class layout:
    """How a tensor's elements are arranged in memory: `strided` or `sparse_coo`. Reference: ``torch.layout``."""

    __module__ = "dumbtorch"
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return "torch." + self._name

    def __reduce__(self) -> str:
        return self._name


strided = layout("strided")
sparse_coo = layout("sparse_coo")

# the names of PyTorch's old typed tensors, which its error messages and Tensor.type() still print
TYPE_NAMES = {
    bool: "Bool", uint8: "Byte", int8: "Char", int16: "Short", int32: "Int", int64: "Long", uint16: "UInt16",
    uint32: "UInt32", uint64: "UInt64", float16: "Half", bfloat16: "BFloat16", float32: "Float", float64: "Double",
    complex32: "ComplexHalf", complex64: "ComplexFloat", complex128: "ComplexDouble",
    float8_e4m3fn: "Float8_e4m3fn", float8_e5m2: "Float8_e5m2", bcomplex32: "BComplexHalf",
}  # fmt: skip

# mantissa bits, smallest normal exponent, largest value, decimal digits kept
_FLOATS = {
    float16: (10, -14, 65504.0, 3),
    bfloat16: (7, -126, (2 - 2.0**-7) * 2.0**127, 2),
    float32: (23, -126, (2 - 2.0**-23) * 2.0**127, 6),
    float64: (52, -1022, (2 - 2.0**-52) * 2.0**1023, 15),
    float8_e4m3fn: (3, -6, 448.0, 0),
    float8_e5m2: (2, -14, 57344.0, 0),
}
_default = float32


class finfo:
    """The limits of a floating-point type; a complex type answers for its parts.

    Attributes: ``bits, eps, min, max, tiny, smallest_normal, resolution, dtype``. Without an argument: the default
    dtype. Raises TypeError for a type that is not floating point. Reference: ``torch.finfo``.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    __module__ = "dumbtorch"
    __slots__ = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: dtype | None = None) -> None:
        kind = get_default_dtype() if type is None else type
        if not isinstance(kind, dtype) or not (kind.is_floating_point or kind.is_complex):
            raise TypeError(
                f"torch.finfo() requires a floating point input type, got {kind!r}. Use torch.iinfo for integer types"
            )
        kind = kind.to_real()
        mantissa, exponent, largest, digits = _FLOATS[kind]
        self.bits = kind.itemsize * 8
        self.eps = 2.0**-mantissa
        self.max = largest
        self.min = -largest
        self.tiny = self.smallest_normal = 2.0**exponent
        self.resolution = 10.0**-digits
        self.dtype = kind._name

    def __eq__(self, other: object) -> builtins.bool:
        return isinstance(other, finfo) and other.dtype == self.dtype

    def __hash__(self) -> builtins.int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer type. Attributes: ``bits, min, max, dtype``.

    Raises TypeError for a type that is not an integer. Reference: ``torch.iinfo``.

    >>> iinfo(uint8).max
    255
    """

    __module__ = "dumbtorch"
    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: dtype) -> None:
        if type is bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if not isinstance(type, dtype) or type.is_floating_point or type.is_complex:
            raise TypeError(
                f"torch.iinfo() requires an integer input type, got {type!r}. Use torch.finfo for floating-point types"
            )
        self.bits = type.itemsize * 8
        self.min = -(2 ** (self.bits - 1)) if type.is_signed else 0
        self.max = 2 ** (self.bits - 1) - 1 if type.is_signed else 2**self.bits - 1
        self.dtype = type._name

    def __eq__(self, other: object) -> builtins.bool:
        return isinstance(other, iinfo) and other.dtype == self.dtype

    def __hash__(self) -> builtins.int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type that holds values of both. Reference: ``torch.promote_types``.

    Raises RuntimeError where there is none: uint16 to uint64 with other integers, float8 types with anything else.

    >>> promote_types(int32, float16)
    torch.float16
    """
    if not isinstance(type1, dtype) or not isinstance(type2, dtype):
        raise TypeError(f"promote_types() needs two dtypes, got {type1!r} and {type2!r}")
    code = _C.promote(type1._code, type2._code)
    if code < 0:
        kinds = "Float8" if {"float8_e4m3fn", "float8_e5m2"} & {type1._name, type2._name} else "uint16, uint32, uint64"
        raise RuntimeError(
            f"Promotion for {kinds} types is not supported, attempted to promote {TYPE_NAMES[type1]} and "
            f"{TYPE_NAMES[type2]}"
        )
    return ALL[code]


def _category(kind: dtype) -> Any:
    return 3 if kind.is_complex else 2 if kind.is_floating_point else 0 if kind is bool else 1


def result_type(tensor: Any, other: Any) -> dtype:
    """The type of the result of an operation on two tensors or Python numbers.

    A dimensioned tensor outranks a 0-dim one, which outranks a Python number, within one category (bool, integer,
    floating point, complex). Reference: ``torch.result_type``.
    """
    ranks: list[dtype | None] = [None, None, None]  # dimensioned tensors, 0-dim tensors, Python numbers
    for operand in (tensor, other):
        if isinstance(operand, _C.TensorBase):
            place, kind = (0 if operand.ndim else 1), operand.dtype
        elif operand is True or operand is False:
            place, kind = 2, bool
        elif isinstance(operand, complex):
            place, kind = 2, get_default_dtype().to_complex()
        elif isinstance(operand, builtins.float):
            place, kind = 2, get_default_dtype()
        elif isinstance(operand, builtins.int):
            place, kind = 2, int64
        else:
            raise TypeError(f"result_type() needs tensors or numbers, got {type(operand).__name__}")
        seen = ranks[place]
        ranks[place] = kind if seen is None else promote_types(seen, kind)
    result = None
    for candidate in ranks:
        if candidate is None:
            continue
        if result is None:
            result = candidate
        elif _category(candidate) > _category(result):
            # only the category is taken from the lower rank, except that real -> complex keeps the precision
            if candidate.is_complex and result.is_floating_point:
                result = result.to_complex()
            elif candidate.is_complex and result in (uint16, uint32, uint64):
                result = candidate
            else:
                result = promote_types(result, candidate)
    assert result is not None
    return result


def can_cast(from_: dtype, to: dtype) -> Any:
    """Whether a value of one type may be stored as the other without dropping its category.

    >>> can_cast(float64, int32)
    False
    """
    if to is bool:
        return from_ is bool
    return _category(from_) <= _category(to)


def get_default_dtype() -> dtype:
    """The floating-point type of tensors made from Python numbers: float32 unless set."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Sets the floating-point type of tensors made from Python numbers.

    Raises TypeError unless ``d`` is float16, bfloat16, float32 or float64. Reference: ``torch.set_default_dtype``.
    """
    global _default
    if d not in (float16, bfloat16, float32, float64):
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    _C.set_default_dtype(d._code)
    _default = d
