"""What is called in place of an op while somebody watches the ops of this thread, or where an argument is sparse.

Watchers are the levels of the functional transforms (``vmap`` and forward mode, in dumbtorch/func), the hooks on saved
tensors, anomaly mode and what stands in for ops (`Mode`). While there is one, a bit of the thread's mode word is set
and the extension calls `traced` with the row and its arguments instead of the kernel; without one, nothing of this is
reached.

A level wraps tensors: a wrapper is a Tensor of the shape that the transformed function sees, with ``_level`` pointing
to its level. A call is handed to the highest level among its arguments, whose `process` computes it by calls on what
the wrappers hold, which may be wrappers of lower levels. The graph of reverse mode lies below all levels: what is
recorded are the calls on plain tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch import _C

TRACE = 4
TensorBase = _C.TensorBase
_get, _set = _C.get_mode, _C.set_mode


class Level:
    """One active transform of a thread."""

    __slots__ = ("alive", "number")
    number: int  # how many levels lie below it
    alive: bool

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        """Computes a call some of whose arguments are wrappers of this level, and none of a higher one."""
        raise AssertionError("every kind of level defines this")

    def held(self, value: Any) -> Any:
        """What a wrapper of this level holds: the whole, or the primal."""
        raise AssertionError("every kind of level defines this")

    def lower(self, value: Any) -> Any:
        """What is left of a value at the end of the level."""
        raise AssertionError("every kind of level defines this")

    def __enter__(self) -> Any:
        state = STATE
        state.levels.append(self)
        self.number = len(state.levels)
        self.alive = True
        refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.levels.remove(self)
        self.alive = False
        refresh()


class Mode:
    """A context in which every op of this thread that no level takes is computed by `process`."""

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        """Computes an op, usually by `compute`. No mode stands in for the ops that this calls but the outer ones."""
        raise AssertionError("every kind of mode defines this")

    def __enter__(self) -> Any:
        STATE.modes.append(self)
        refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.modes.remove(self)
        refresh()


class _State(threading.local):
    """The watchers of a thread."""

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.modes: list[Mode] = []
        self.hooks: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = []
        self.forbidden: list[str | None] = []  # messages of disable_saved_tensors_hooks
        self.anomaly = False
        self.check_nan = True
        self.evaluating: Any = None  # in anomaly mode the node whose derivative is being computed
        self.writing: Callable[[Any], None] | None = None  # what wants to know of a write before it is done


STATE = _State()
#: Names of rows that draw random numbers; while there are levels, calls of them with plain arguments go to `draw`.
RANDOM = frozenset(
    (
        "uniform", "normal", "exponential", "bernoulli", "random", "randperm", "multinomial", "native_dropout",
        "cauchy", "geometric", "log_normal", "poisson", "binomial", "standard_gamma", "dirichlet",
    )
)  # fmt: skip
#: Set by dumbtorch.func: (row, inplace, args) -> the result, or NotImplemented to compute it as it stands.
draw: Callable[[Any, bool, Sequence[Any]], Any] | None = None
#: Set by dumbtorch.func: what a call of a Function does whose arguments a level wraps: (cls, level, args, kwargs).
function: Callable[[Any, Any, Any, Any], Any] | None = None
#: Set by dumbtorch._sparse: computes a call some of whose arguments are sparse: (row, inplace, args, out).
sparse: Callable[[Any, bool, Sequence[Any], Any], Any] | None = None
#: Set by dumbtorch.autograd.saved: what saved-tensor hooks and anomaly mode do with a new node.
recorded: Callable[[Any], None] | None = None


def refresh() -> None:
    """Sets or clears the bit that makes the extension ask."""
    state = STATE
    mode = _get()
    on = TRACE if state.levels or state.hooks or state.anomaly or state.modes else 0
    _set(mode & ~TRACE | on)


def highest(args: Sequence[Any]) -> Level | None:
    """The highest level among arguments, looking into lists."""
    top, number = None, 0
    for arg in args:
        if isinstance(arg, TensorBase):
            level = arg._level
            if level is not None and level.number > number and level.alive:
                top, number = level, level.number
        elif type(arg) in (tuple, list):
            level = highest(arg)
            if level is not None and level.number > number:
                top, number = level, level.number
    return top


def beneath(value: Any) -> Any:
    """The tensor below all levels: all samples of it, for checks of values that fail for all where one fails."""
    while isinstance(value, TensorBase) and value._level is not None and value._level.alive:
        value = value._level.held(value)
    return value


def invoke(row: Any, inplace: bool, args: Sequence[Any], out: Any = None) -> Any:
    """Calls a row's op with all its arguments in the order of its parameters."""
    if not row.kernel:
        return row.op(*args)
    op = row.inplace_op if inplace or row.op is None else row.op
    count = row.positional
    if out is not None:
        return op(*args[:count], **dict(zip(row.params[count:], args[count:], strict=True)), out=out)
    if count == len(args):
        return op(*args)
    return op(*args[:count], **dict(zip(row.params[count:], args[count:], strict=True)))


def traced(row: Any, inplace: bool, *given: Any) -> Any:
    """What the extension calls: the arguments, after the ``out=`` tensor if there is one."""
    args, out = given[-1], given[0] if len(given) > 1 else None
    if sparse is not None and any_sparse((*args, out)):
        return sparse(row, inplace, args, out)
    return call(row, inplace, args, out)


def any_sparse(args: Sequence[Any]) -> bool:
    """Whether there is a sparse tensor among arguments, looking into lists."""
    for arg in args:
        if isinstance(arg, TensorBase):
            if arg.is_sparse:
                return True
        elif type(arg) in (tuple, list) and any_sparse(arg):
            return True
    return False


def call(row: Any, inplace: bool, args: Sequence[Any], out: Any = None) -> Any:
    """Computes a call that is watched."""
    state = STATE
    if state.levels:
        top = highest(args)
        if out is not None and out._level is not None:
            raise RuntimeError(
                f"{row.name}(): out= does not work inside a functional transform, where the result has more elements "
                "than it shows; use the returned tensor"
            )
        if top is not None:
            return top.process(row, inplace, args, out)
        if row.name in RANDOM and draw is not None:
            result = draw(row, inplace, args)
            if result is not NotImplemented:
                return result
    if state.modes:
        mode = state.modes.pop()
        try:
            return mode.process(row, inplace, args, out)
        finally:
            state.modes.append(mode)
    return compute(row, inplace, args, out)


def compute(row: Any, inplace: bool, args: Sequence[Any], out: Any = None) -> Any:
    """Computes a call on plain tensors, for the hooks and modes that watch."""
    state = STATE
    if state.modes:
        return call(row, inplace, args, out)
    if state.writing is not None and (inplace or out is not None):
        state.writing(args[0] if inplace else out)
    mode = _get()
    before = _C.tick() if state.hooks or state.anomaly else 0
    _set(mode & ~TRACE)
    try:
        result = invoke(row, inplace, args, out)
        if before:
            _new_node(result, before)
    finally:
        _set(mode | TRACE)
    if state.levels and not inplace:
        _born(result, state.levels[-1])
    return result


def stand_in(result: Any, record: Callable[[Any, Any], Any], args: Sequence[Any]) -> None:
    """Records a call whose result is there already."""
    before = _C.tick()
    record(result, tuple(args))
    _new_node(result, before)


def _born(result: Any, level: Level) -> None:
    """Notes which level a new tensor was made in: `vmap` may give it a batch dimension when it is written to."""
    if isinstance(result, TensorBase):
        if result._base is None:
            result._birth = level
    elif type(result) is tuple:
        for item in result:
            _born(item, level)


def _new_node(result: Any, before: int) -> None:
    while type(result) in (tuple, list):
        if not result:
            return
        result = result[0]
    if not isinstance(result, TensorBase) or recorded is None:
        return
    for tensor in (result, result._base):
        node = None if tensor is None else tensor._grad_fn
        if node is not None and node.seq > before:
            recorded(node)


class below:
    """A context without a level and those above it; where nothing else watches, the ops are computed as always."""

    __slots__ = ("level", "levels", "mode")

    def __init__(self, level: Level) -> None:
        self.level = level

    def __enter__(self) -> None:
        state = STATE
        self.levels, self.mode = state.levels, _get()
        state.levels = state.levels[: self.level.number - 1]
        refresh()

    def __exit__(self, *exc: object) -> None:
        STATE.levels = self.levels
        _set(_get() & ~TRACE | self.mode & TRACE)
