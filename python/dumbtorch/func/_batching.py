"""Levels of vmap: how a call on single samples becomes a call on the whole batch.

A batching rule takes a `Call` and returns the whole result, its first dimension the batch. Rules are for classes of
rows (`_rules.py`); a row without one is computed sample by sample.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch.autograd import watch
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func import _wrappers
from dumbtorch.func._wrappers import EMPTY, Batched, batched
from dumbtorch.ops.table import FUNCTIONS

Rule = Callable[["Call"], Any]
#: Batching rules by the names of rows.
RULES: dict[str, Rule] = {}
#: What is derived from a row that has no rule of its own: set by dumbtorch.func._rules.
general: Callable[[Any], Rule | None] = lambda row: None  # noqa: E731

_INPLACE = (
    "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
    "that has more elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped "
    "over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic."
)

_SLOW = (
    "There is a performance drop because we have not yet implemented the batching rule for {0}: it is computed sample "
    "by sample."
)


class Call:
    """One call of a row under vmap: its arguments with wholes in place of wrappers, and which of them are wholes."""

    __slots__ = ("args", "inplace", "is_whole", "level", "row", "size")

    def __init__(self, level: Batching, row: Any, inplace: bool, args: Sequence[Any]) -> None:
        self.level, self.row, self.inplace, self.size = level, row, inplace, level.size
        self.args: list[Any] = []
        self.is_whole: list[Any] = []  # for a list of tensors a list
        for arg in args:
            value, flag = _opened(arg, level)
            self.args.append(value)
            self.is_whole.append(flag)

    def run(self, args: Sequence[Any] | None = None) -> Any:
        """Calls the row's op."""
        return watch.invoke(self.row, self.inplace, self.args if args is None else args)

    def rank(self, place: int) -> int:
        """The number of dimensions of a sample."""
        return int(self.args[place].ndim) - (self.is_whole[place] is True)

    def place(self, name: str) -> int:
        """The place of a parameter."""
        found: int = self.row.params.index(name)
        return found

    def tensors(self) -> list[int]:
        """The places of tensor arguments."""
        return [n for n, a in enumerate(self.args) if isinstance(a, TensorBase)]

    def whole(self, place: int) -> Any:
        """An argument with the batch, stretched if it has none."""
        value = self.args[place]
        if self.is_whole[place]:
            return value
        return value.unsqueeze(0).expand(self.size, *value.shape)

    def only_first(self) -> bool:
        """Whether the first argument is the only one with a batch."""
        return self.is_whole[0] is True and not any(self.is_whole[1:])


def _opened(arg: Any, level: Batching) -> tuple[Any, Any]:
    if isinstance(arg, TensorBase):
        return (arg._whole, True) if arg._level is level else (arg, False)
    if type(arg) in (tuple, list) and any(isinstance(a, TensorBase) and a._level is level for a in arg):
        pairs = [_opened(a, level) for a in arg]
        return type(arg)(value for value, _ in pairs), [flag for _, flag in pairs]
    return arg, False


class Batching(watch.Level):
    """A level of vmap over a batch of a size; ``randomness`` is "error", "different" or "same"."""

    __slots__ = ("made", "randomness", "size")

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size, self.randomness = size, randomness
        self.made: list[weakref.ref[Any]] = []  # the wrappers, which show a sample while the level lasts

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for reference in self.made:
            wrapper = reference()
            if wrapper is not None:  # it was put somewhere: from now on it shows nothing, rather than the first sample
                wrapper._set_data(EMPTY((0,), wrapper.dtype, None if wrapper.is_cpu else wrapper.device))

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        """Computes a call for all samples."""
        if out is not None:
            raise RuntimeError(f"{row.name}(): out= does not work inside vmap; use the returned tensor")
        target: Any = args[0] if inplace else None
        if inplace and target._level is not self and not _give_batch(target, self):
            raise RuntimeError(_INPLACE)
        rule = RULES.get(row.name)
        if rule is None:
            rule = RULES[row.name] = general(row) or loop
        with watch.below(self):
            result = rule(Call(self, row, inplace, args))
            if inplace:
                return target
            return self.close(result)

    def close(self, result: Any) -> Any:
        """The wrapper of a whole, or of each of several."""
        if isinstance(result, TensorBase):
            return batched(self, result)
        if isinstance(result, tuple):
            parts = [batched(self, r) if isinstance(r, TensorBase) else r for r in result]
            return tuple(parts) if type(result) is tuple else type(result)(parts)
        if isinstance(result, list):
            return [batched(self, r) if isinstance(r, TensorBase) else r for r in result]
        return result

    def held(self, value: Any) -> Any:
        """The whole of a wrapper."""
        return value._whole

    def lower(self, value: Any) -> Any:
        """The whole, stretched where the level did not wrap the value."""
        return _wrappers.lift(value, self)


_wrappers.BATCHING = Batching


def _give_batch(target: Any, level: Batching) -> bool:
    """Makes a tensor that was made in a level a wrapper of it, so that a sample's values can be written to it."""
    base = target._base
    if base is not None:
        if base._level is not level and not _give_batch(base, level):
            return False
        strides = (base._whole._strides[0], *target._strides)
        whole = base._whole.as_strided((level.size, *target.shape), strides, target._offset - base._offset)
    elif target._birth is not None and target._birth.alive and target._birth.number >= level.number:
        whole = target._alias().unsqueeze(0).expand(level.size, *target.shape).clone().contiguous()
    else:
        return False
    _set(target, level, whole)
    return True


def _set(target: Any, level: Batching, whole: Any) -> None:
    if target._base is None:
        target._set_data(batched(level, whole))
    target.__class__ = Batched
    target._level, target._whole = level, whole


def each(size: int, function: Callable[..., Any], *wholes: Any) -> Any:
    """The wholes of what a function of samples gives, called once for all of them; None stays None."""
    with Batching(size) as level:
        made = function(*(None if w is None else batched(level, w) for w in wholes))
        return tuple(None if m is None else level.lower(m) for m in made)


def loop(call: Call) -> Any:
    """The general rule: one call for each sample, with the warning that PyTorch gives."""
    warnings.warn(_SLOW.format(call.row.name), stacklevel=2)
    if not call.size:
        raise RuntimeError(f"vmap: {call.row.name} is computed sample by sample, which a batch of none does not allow")
    results = []
    for n in range(call.size):
        args = [_one(a, flag, n) for a, flag in zip(call.args, call.is_whole, strict=True)]
        results.append(call.run(args))
    return None if call.inplace else _together(results)


def _one(arg: Any, flag: Any, n: int) -> Any:
    if flag is True:
        return arg.select(0, n)
    if flag:
        return type(arg)(_one(a, f, n) for a, f in zip(arg, flag, strict=True))
    return arg


def _together(results: Sequence[Any]) -> Any:
    first = results[0]
    if isinstance(first, TensorBase):
        shapes = {tuple(r.shape) for r in results}
        if len(shapes) > 1:
            raise RuntimeError(
                "vmap: We do not support batching operators that can output dynamic shape: the samples gave results of "
                f"the shapes {sorted(shapes)}"
            )
        return FUNCTIONS["stack"](list(results))
    if isinstance(first, (tuple, list)):
        parts = [_together(column) for column in zip(*results, strict=True)]
        return tuple(parts) if type(first) is tuple else type(first)(parts)
    return first
