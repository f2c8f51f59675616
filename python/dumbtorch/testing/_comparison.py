"""assert_close: tensors, numbers and structures of them, compared with a tolerance."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from dumbtorch import _dtypes, ops
from dumbtorch._tensor import Tensor

__all__ = ["assert_close"]

# relative and absolute tolerance; other dtypes must be equal
_TOLERANCES = {
    _dtypes.float16: (0.001, 1e-5),
    _dtypes.bfloat16: (0.016, 1e-5),
    _dtypes.float32: (1.3e-6, 1e-5),
    _dtypes.float64: (1e-7, 1e-7),
    _dtypes.complex32: (0.001, 1e-5),
    _dtypes.complex64: (1.3e-6, 1e-5),
    _dtypes.complex128: (1e-7, 1e-7),
}
_NUMBERS = {bool: _dtypes.bool, int: _dtypes.int64, float: _dtypes.float64, complex: _dtypes.complex128}

Message = str | Callable[[str], str] | None
Path = tuple[Any, ...]


class _Difference(Exception):
    """What was found to differ, and where in the structure."""

    def __init__(self, kind: type[Exception], text: str, path: Path) -> None:
        super().__init__(text)
        self.kind, self.text, self.path = kind, text, path

    def shown(self, msg: Message) -> Exception:
        """The exception for the user."""
        text = self.text
        if self.path:
            text += f"\n\nThe failure occurred for item {''.join(f'[{key!r}]' for key in self.path)}"
        return self.kind(msg if isinstance(msg, str) else text if msg is None else msg(text))


class _Options:
    """The keyword arguments of assert_close."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def tolerances(self, dtypes: Sequence[Any], path: Path) -> tuple[float, float]:
        """The given tolerances, else the loosest of the dtypes."""
        if (self.rtol is None) != (self.atol is None):
            missing = "rtol" if self.rtol is None else "atol"
            text = f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}."
            raise _Difference(ValueError, text, path)
        if self.rtol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(dtype, (0.0, 0.0)) for dtype in dtypes]
        return max(r for r, _ in found), max(a for _, a in found)


def _leaves(actual: Any, expected: Any, path: Path) -> Iterator[tuple[Any, Any, Path]]:
    """The pairs of a structure that are compared by value. Raises where the structures differ."""
    if _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            text = f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            raise _Difference(AssertionError, text, path)
        for n in range(len(actual)):
            yield from _leaves(actual[n], expected[n], (*path, n))
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or extra:
            text = (
                f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {sorted(missing)}\n"
                f"Additional keys in the actual mapping: {sorted(extra)}"
            )
            raise _Difference(AssertionError, text, path)
        try:
            keys = sorted(actual)
        except TypeError:
            keys = list(actual)
        for key in keys:
            yield from _leaves(actual[key], expected[key], (*path, key))
    else:
        yield actual, expected, path


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's, tensors and everything else as they are."""
    if hasattr(value, "dtype") and not isinstance(value, Tensor) and not hasattr(value, "__setitem__"):
        return value.item()
    return value


def _prepared(actual: Any, expected: Any, path: Path, options: _Options) -> Callable[[], None]:
    """The comparison of one pair. Raises for what cannot be compared."""

    def unsupported() -> NoReturn:
        text = f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
        raise _Difference(TypeError, text, path)

    def fail(text: str) -> NoReturn:
        raise _Difference(AssertionError, text, path)

    if actual is None or expected is None:
        return lambda: None if actual is expected else fail(f"None mismatch: {actual} is not {expected}")
    a, b = _plain(actual), _plain(expected)
    if isinstance(a, bool) and isinstance(b, bool):
        return lambda: None if a is b else fail(f"Booleans mismatch: {a} is not {b}")
    if isinstance(a, (int, float, complex)) and isinstance(b, (int, float, complex)):
        tolerances = options.tolerances([_NUMBERS.get(type(v), _dtypes.float64) for v in (a, b)], path)
        return lambda: _compare_numbers(a, b, *tolerances, options, fail)
    if not (isinstance(actual, type(expected)) or isinstance(expected, type(actual))):
        unsupported()
    if not options.allow_subclasses and type(actual) is not type(expected):
        unsupported()
    try:
        a, b = (v if isinstance(v, Tensor) else ops.as_tensor(v) for v in (actual, expected))
    except Exception:
        unsupported()
    tolerances = options.tolerances([a.dtype, b.dtype], path)
    return lambda: _compare_tensors(a, b, *tolerances, options, fail)


def _compare_numbers(a: Any, b: Any, rtol: float, atol: float, options: _Options, fail: Callable[[str], Any]) -> None:
    if options.check_dtype and type(a) is not type(b):
        fail(f"The (d)types do not match: {type(a)} != {type(b)}.")
    if a == b or (options.equal_nan and cmath.isnan(a) and cmath.isnan(b)):
        return
    difference = abs(a - b)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(b):
        return
    relative = float("inf") if b == 0 else difference / abs(b)
    fail(_numbers_differ(a, b, difference, relative, rtol, atol))


def _numbers_differ(a: Any, b: Any, difference: Any, relative: Any, rtol: float, atol: float) -> str:
    exact = rtol == 0 and atol == 0
    allowed = ("", "") if exact else (f" (up to {atol} allowed)", f" (up to {rtol} allowed)")
    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {b} but got {a}.\n"
        f"Absolute difference: {difference}{allowed[0]}\nRelative difference: {relative}{allowed[1]}"
    )


def _compare_tensors(a: Any, b: Any, rtol: float, atol: float, options: _Options, fail: Callable[[str], Any]) -> None:
    def attribute(name: str, mine: Any, wanted: Any) -> None:
        if mine != wanted:
            fail(f"The values for attribute '{name}' do not match: {mine} != {wanted}.")

    attribute("shape", a.shape, b.shape)
    if options.check_stride:
        attribute("stride()", a.stride(), b.stride())
    if options.check_device:
        attribute("device", a.device, b.device)
    if options.check_dtype:
        attribute("dtype", a.dtype, b.dtype)
    a, b = a.detach(), b.detach()
    if a.device != b.device:
        a, b = a.cpu(), b.cpu()
    if a.dtype is not b.dtype:
        common = _dtypes.promote_types(a.dtype, b.dtype)
        a, b = a.to(common), b.to(common)
    if a.dtype.is_floating_point and a.dtype.itemsize == 1:
        if rtol or atol:
            fail(
                f"Rtol={rtol} and atol={atol} are not supported for bitwise comparison of low dimensional floats. "
                "Please use rtol=0.0 and atol=0.0."
            )
        a, b = a.float(), b.float()
    matches = ops.isclose(a, b, rtol=rtol, atol=atol, equal_nan=options.equal_nan)
    if bool(matches.all()):
        return
    if not a.shape:
        a, b = a.item(), b.item()
        difference = abs(a - b)
        fail(_numbers_differ(a, b, difference, difference / abs(b) if b else float("inf"), rtol, atol))
    fail(_tensors_differ(a, b, matches, rtol, atol))


def _tensors_differ(a: Any, b: Any, matches: Any, rtol: float, atol: float) -> str:
    exact = rtol == 0 and atol == 0
    wrong, total = int((~matches).sum()), matches.numel()
    lines = [f"Mismatched elements: {wrong} / {total} ({wrong / total:.1%})"]
    if not a.dtype.is_floating_point and not a.dtype.is_complex:
        a, b = a.to(_dtypes.int64), b.to(_dtypes.int64)
    flat = matches.flatten()
    absolute = ops.FUNCTIONS["abs"](a - b).flatten()
    relative = absolute / ops.FUNCTIONS["abs"](b).flatten()
    for name, values, allowed in (("absolute", absolute, atol), ("relative", relative, rtol)):
        values = values.masked_fill(flat, 0)
        place = int(values.argmax())
        index: list[int] = []
        rest = place
        for size in reversed(matches.shape):
            rest, here = divmod(rest, size)
            index.insert(0, here)
        limit = "" if exact else f" (up to {allowed} allowed)"
        lines.append(f"Greatest {name} difference: {values[place].item()} at index {tuple(index)}{limit}")
    return f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n" + "\n".join(lines)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Raises AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` for every element.

    Both are tensors, arrays, numbers, or sequences and mappings of them with the same structure; shapes, devices and
    dtypes must agree unless the option is off. The tolerances default by dtype (float32: 1.3e-6 and 1e-5; integers must
    be equal); give both or neither. ``msg`` replaces the message, or makes one of it. Raises TypeError for what cannot
    be compared. Reference: ``torch.testing.assert_close``.

    >>> assert_close(tensor([1.0, 2.0]), tensor([1.0, 2.0000001]))
    """
    options = _Options(
        allow_subclasses=allow_subclasses, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=check_device,
        check_dtype=check_dtype, check_stride=check_stride,
    )  # fmt: skip
    try:
        # the structure first: a difference in it is told before one of values
        comparisons = [_prepared(*leaf, options) for leaf in _leaves(actual, expected, ())]
        for compare in comparisons:
            compare()
    except _Difference as difference:
        raise difference.shown(msg) from None
