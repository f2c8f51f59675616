"""A machine for pickles that can only make what it was given a builder for.

Pickle is a small language whose GLOBAL and REDUCE can call anything. This machine knows its opcodes but looks names up
in a table, calls nothing outside of it, and never reads or allocates more than the file has.
Reference: ``pickletools`` of the standard library, which describes the language.
"""

from __future__ import annotations

import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from pickle import UnpicklingError
from typing import Any

__all__ = ["Machine", "Source", "UnpicklingError", "checked_key"]

_KEY_LIMIT = 1000  # parts of a key of a dictionary: hashing what nests deeper takes for ever


class Source:
    """A file that is read from where it stands and never asked for more than it has."""

    def __init__(self, file: Any) -> None:
        self._file = file
        here = file.tell()
        self._left = file.seek(0, 2) - here
        file.seek(here)

    def read(self, size: int) -> bytes:
        """Exactly that many bytes. Raises UnpicklingError where the file ends before."""
        if size > self._left:
            raise UnpicklingError(f"pickle data was truncated: {size} bytes wanted, {self._left} left")
        data: bytes = self._file.read(size)
        if len(data) != size:
            raise UnpicklingError("pickle data was truncated")
        self._left -= size
        return data

    def line(self) -> bytes:
        """The bytes up to the next end of line."""
        data: bytes = self._file.readline(min(self._left, 1 << 16))
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise UnpicklingError("pickle data was truncated, or has a line that is too long")
        return data[:-1]


def checked_key(key: Any) -> Any:
    """A key of a dictionary or an element of a set. Raises UnpicklingError for what cannot be hashed, or not soon."""
    todo, seen = [key], 0
    while todo:
        part = todo.pop()
        seen += 1
        if isinstance(part, (tuple, frozenset)):
            todo.extend(part)
        if seen + len(todo) > _KEY_LIMIT:
            raise UnpicklingError("a key of a dictionary has too many parts")
    try:
        hash(key)
    except TypeError as error:
        raise UnpicklingError(f"a key of a dictionary: {error}") from None
    return key


class Machine:
    """Runs one pickle.

    `find(module, name)` gives the value of a global, `persistent(id)` that of a persistent id. `build` holds the
    functions that may be called, by the ``id`` of the value that stands for them; `state(object, state)` is BUILD, and
    `appendable(object)` says whether APPEND may call its method.
    """

    def __init__(
        self,
        source: Source,
        find: Callable[[str, str], Any],
        persistent: Callable[[Any], Any],
        build: Mapping[int, Callable[..., Any]],
        state: Callable[[Any, Any], None],
        encoding: str = "utf-8",
    ) -> None:
        self._source = source
        self._find = find
        self._persistent = persistent
        self._build = build
        self._state = state
        self._encoding = encoding
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle. Raises UnpicklingError for a broken pickle and for what it may not make."""
        try:
            while True:
                code = self._source.read(1)
                if code == b".":
                    return self._pop()
                step = _STEPS.get(code[0])
                if step is None:
                    raise UnpicklingError(f"Unsupported operand {code[0]}")
                step(self)
        except UnpicklingError:
            raise
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
            raise UnpicklingError(f"the pickle is damaged ({type(error).__name__}: {str(error)[:200]})") from error

    # ------------------------------------------------------------ the stack

    def _mark(self) -> None:
        self.marks.append(len(self.stack))

    def _to_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        if not self.marks:
            raise UnpicklingError("the pickle is damaged: no mark is on the stack")
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise UnpicklingError("the pickle is damaged: a value was expected on the stack")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _drop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._pop()

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._source.read(struct.calcsize(form)))[0]

    def _text(self, form: str) -> None:
        self.stack.append(str(self._source.read(self._number(form)), "utf-8", "surrogatepass"))

    def _old_text(self, form: str) -> None:
        data = self._source.read(self._number(form))
        self.stack.append(data if self._encoding == "bytes" else str(data, self._encoding))

    def _long(self, form: str) -> None:
        size = self._number(form)
        if size < 0:
            raise UnpicklingError("the pickle is damaged: a number of negative length")
        self.stack.append(int.from_bytes(self._source.read(size), "little", signed=True))

    # ------------------------------------------------------------ containers

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise UnpicklingError(f"Can only append to lists, but got {type(target)}")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict):
            raise UnpicklingError(f"Can only set items of dictionaries, but got {type(target)}")
        if len(values) % 2:
            raise UnpicklingError("the pickle is damaged: a key without a value")
        for place in range(0, len(values), 2):
            target[checked_key(values[place])] = values[place + 1]

    def _add_items(self) -> None:
        values = self._to_mark()
        target = self._top()
        if type(target) is not set:
            raise UnpicklingError(f"Can only add to sets, but got {type(target)}")
        target.update(checked_key(value) for value in values)

    def _tuple(self, size: int) -> None:
        values = [self._pop() for _ in range(size)]
        self.stack.append(tuple(reversed(values)))

    def _dict(self) -> None:
        values = self._to_mark()
        self.stack.append({})
        self._set_items(values)

    # ------------------------------------------------------------ names and calls

    def _global(self) -> None:
        module, name = self._source.line().decode("utf-8"), self._source.line().decode("utf-8")
        # a pickle of protocol 2 names things as Python 2 did
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        elif module in IMPORT_MAPPING:
            module = IMPORT_MAPPING[module]
        self.stack.append(self._find(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError("the pickle is damaged: a name that is no text")
        self.stack.append(self._find(module, name))

    def _call(self, function: Any, args: Any, what: str) -> Any:
        builder = self._build.get(id(function))
        if builder is None:
            raise UnpicklingError(f"Trying to call {what} for unrecognized function {str(function)[:100]}")
        if type(args) is not tuple:
            raise UnpicklingError("the pickle is damaged: the arguments of a call are no tuple")
        try:
            return builder(*args)
        except RuntimeError as error:
            raise UnpicklingError(str(error)) from error

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        self.stack.append(self._call(function, args, "reduce"))

    def _new(self) -> None:
        args, cls = self._pop(), self._pop()
        if type(args) is not tuple:
            raise UnpicklingError("the pickle is damaged: the arguments of a call are no tuple")
        if isinstance(cls, type) and self._build.get(id(cls)) is cls:
            self.stack.append(cls.__new__(cls, *args))
        else:
            self.stack.append(self._call(cls, args, "new"))

    def _new_with_names(self) -> None:
        names = self._pop()
        args, cls = self._pop(), self._pop()
        trusted = isinstance(cls, type) and self._build.get(id(cls)) is cls
        if not trusted or type(args) is not tuple or type(names) is not dict:
            raise UnpicklingError(f"Can only create new object for classes allowlisted, but got {str(cls)[:100]}")
        self.stack.append(cls.__new__(cls, *args, **names))

    def _build_state(self) -> None:
        state = self._pop()
        try:
            self._state(self._top(), state)
        except RuntimeError as error:
            raise UnpicklingError(str(error)) from error

    # ------------------------------------------------------------ the memo

    def _get(self, key: int) -> None:
        if key not in self.memo:
            raise UnpicklingError(f"Memo value not found at index {key}")
        self.stack.append(self.memo[key])

    def _put(self, key: int) -> None:
        self.memo[key] = self._top()

    def _protocol(self) -> None:
        version = self._number("<B")
        if version > 5:
            raise UnpicklingError(f"unsupported pickle protocol: {version}")


def _push(make: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(make())


def _flag(line: bytes) -> Any:
    """INT of protocol 0, which also writes booleans."""
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line)


_STEPS: dict[int, Callable[[Machine], None]] = {
    code[0]: step
    for code, step in (
        (b"\x80", Machine._protocol), (b"\x95", lambda m: m._number("<Q")),
        (b"(", Machine._mark), (b"0", Machine._drop), (b"1", lambda m: m._to_mark()),
        (b"2", lambda m: m.stack.append(m._top())),
        (b"N", _push(lambda: None)), (b"\x88", _push(lambda: True)), (b"\x89", _push(lambda: False)),
        (b"I", lambda m: m.stack.append(_flag(m._source.line()))),
        (b"L", lambda m: m.stack.append(int(m._source.line().rstrip(b"L")))),
        (b"F", lambda m: m.stack.append(float(m._source.line()))),
        (b"J", lambda m: m.stack.append(m._number("<i"))), (b"K", lambda m: m.stack.append(m._number("<B"))),
        (b"M", lambda m: m.stack.append(m._number("<H"))), (b"G", lambda m: m.stack.append(m._number(">d"))),
        (b"\x8a", lambda m: m._long("<B")), (b"\x8b", lambda m: m._long("<i")),
        (b"X", lambda m: m._text("<I")), (b"\x8c", lambda m: m._text("<B")), (b"\x8d", lambda m: m._text("<Q")),
        (b"V", lambda m: m.stack.append(str(m._source.line(), "raw-unicode-escape"))),
        (b"U", lambda m: m._old_text("<B")), (b"T", lambda m: m._old_text("<I")),
        (b"C", lambda m: m.stack.append(m._source.read(m._number("<B")))),
        (b"B", lambda m: m.stack.append(m._source.read(m._number("<I")))),
        (b"\x8e", lambda m: m.stack.append(m._source.read(m._number("<Q")))),
        (b"\x96", lambda m: m.stack.append(bytearray(m._source.read(m._number("<Q"))))),
        (b"]", _push(list)), (b"}", _push(dict)), (b")", _push(tuple)), (b"\x8f", _push(set)),
        (b"l", lambda m: m.stack.append(m._to_mark())), (b"t", lambda m: m.stack.append(tuple(m._to_mark()))),
        (b"d", Machine._dict),
        (b"\x85", lambda m: m._tuple(1)), (b"\x86", lambda m: m._tuple(2)), (b"\x87", lambda m: m._tuple(3)),
        (b"a", lambda m: m._append([m._pop()])), (b"e", lambda m: m._append(m._to_mark())),
        (b"s", lambda m: m._set_items([m._pop(), m._pop()][::-1])), (b"u", lambda m: m._set_items(m._to_mark())),
        (b"\x90", Machine._add_items),
        (b"\x91", lambda m: m.stack.append(frozenset(checked_key(v) for v in m._to_mark()))),
        (b"c", Machine._global), (b"\x93", Machine._stack_global),
        (b"R", Machine._reduce), (b"\x81", Machine._new), (b"\x92", Machine._new_with_names),
        (b"b", Machine._build_state), (b"Q", lambda m: m.stack.append(m._persistent(m._pop()))),
        (b"g", lambda m: m._get(int(m._source.line()))), (b"h", lambda m: m._get(m._number("<B"))),
        (b"j", lambda m: m._get(m._number("<I"))),
        (b"p", lambda m: m._put(int(m._source.line()))), (b"q", lambda m: m._put(m._number("<B"))),
        (b"r", lambda m: m._put(m._number("<I"))), (b"\x94", lambda m: m._put(len(m.memo))),
    )
}  # fmt: skip
