"""Sample arguments of the rows, free of any framework: the tests build them for dumbtorch and the reference alike."""

from __future__ import annotations

from typing import Any


class T:
    """A tensor to be made: its shape, and the range of its values.

    ``dtype`` fixes the type ("int64", "bool", ...) that otherwise the test chooses; ``values`` fixes the values;
    ``grad=False`` keeps it out of gradient checks; ``distinct`` asks for values that differ from each other clearly.
    """

    __slots__ = ("distinct", "dtype", "grad", "high", "low", "shape", "values")

    def __init__(
        self,
        *shape: int,
        low: float = -2.0,
        high: float = 2.0,
        dtype: str | None = None,
        grad: bool = True,
        distinct: bool = False,
        values: Any = None,
    ) -> None:
        self.shape = shape
        self.low = low
        self.high = high
        self.dtype = dtype
        self.grad = grad and dtype is None
        self.distinct = distinct
        self.values = values

    def __repr__(self) -> str:
        return f"T{self.shape}"


class S:
    """One sample: positional and keyword arguments.

    ``only`` restricts it to some dtypes (see `DTYPES`), ``error`` names the exception of an error sample, and
    ``smooth=False`` marks a point where the declared derivative is not the limit of differences.
    """

    __slots__ = ("args", "error", "kwargs", "only", "smooth")

    def __init__(
        self, *args: Any, only: str | None = None, error: str | None = None, smooth: bool = True, **kwargs: Any
    ) -> None:
        self.smooth = smooth
        self.args = args
        self.kwargs = kwargs
        self.only = only
        self.error = error

    def __repr__(self) -> str:
        return f"S{self.args}{self.kwargs or ''}"


_FLOAT = ("float16", "bfloat16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")
_INT = ("uint8", "int8", "int16", "int32", "int64")
DTYPES: dict[str, tuple[str, ...]] = {
    "float": _FLOAT,
    "full": ("float32", "float64", "bfloat16"),
    "single": ("float32", "float64"),
    "int": _INT,
    "integral": ("bool", *_INT),
    "integral+single": ("bool", *_INT, "float32", "float64"),
    "number": (*_INT, *_FLOAT),
    "real": ("bool", *_INT, *_FLOAT),
    "real+float": ("bool", *_INT, *_FLOAT),
    "complex": _COMPLEX,
    "float+complex": (*_COMPLEX, *_FLOAT),
    "single+complex": (*_COMPLEX, "float32", "float64"),
    "full+complex": (*_COMPLEX, "float32", "float64", "bfloat16"),
    "number+complex": (*_COMPLEX, *_INT, *_FLOAT),
    "any": (*_COMPLEX, "bool", *_INT, *_FLOAT),
}


def unary(low: float = -2.0, high: float = 2.0, **kwargs: Any) -> Any:
    """Samples of an operation of one tensor: a matrix, a scalar, an empty one."""

    def make() -> Any:
        yield S(T(3, 5, low=low, high=high), **kwargs)
        yield S(T(low=low, high=high), **kwargs)
        yield S(T(2, 0, 3, low=low, high=high), **kwargs)

    return make


def binary(low: float = -2.0, high: float = 2.0, low2: float | None = None, high2: float | None = None) -> Any:
    """Samples of an operation of two tensors: equal shapes, broadcasting, a scalar tensor, empty ones."""
    low2 = low if low2 is None else low2
    high2 = high if high2 is None else high2

    def make() -> Any:
        yield S(T(3, 4, low=low, high=high), T(3, 4, low=low2, high=high2))
        yield S(T(3, 1, low=low, high=high), T(4, low=low2, high=high2))
        yield S(T(2, 3, low=low, high=high), T(low=low2, high=high2))
        yield S(T(0, 3, low=low, high=high), T(3, low=low2, high=high2))

    return make


def binary_errors() -> Any:
    """Shapes that do not broadcast, and an operand that is no number."""
    yield S(T(3, 4), T(3, 5), error="RuntimeError")
    yield S(T(3), "text", error="TypeError")
    yield S(T(3), error="TypeError")


def unary_errors() -> Any:
    """No argument, and one that is no tensor."""
    yield S(error="TypeError")
    yield S("text", error="TypeError")
