"""Checkpointing that keeps the results of some operations: which ones, a policy says.

In the first run a mode that watches every operation asks the policy, and keeps a result or a note that there is none.
In the second run another mode takes the kept results, and records them as if they had just been computed.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import record, watch
from dumbtorch.autograd.modes import is_grad_enabled
from dumbtorch.ops.aten import OpOverload, OpOverloadPacket, name_of

TensorBase = _C.TensorBase


class CheckpointPolicy(enum.Enum):
    """What becomes of an operation's result: kept, or computed again (an offload to the CPU is that too, as in eager
    PyTorch). Reference: ``torch.utils.checkpoint.CheckpointPolicy``."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_SAVED = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)


class SelectiveCheckpointContext:
    """What a policy is told besides the operation: its result. ``is_recompute`` is always False."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute = is_recompute
        self.op_output = op_output


class _Kept:
    """A result, and the version that it had."""

    def __init__(self, value: Any) -> None:
        self.value = value.detach() if isinstance(value, TensorBase) else value
        self.version = value._version if isinstance(value, TensorBase) else None

    def get(self, mutation: bool) -> Any:
        if self.version is None:
            return self.value
        if not mutation and self.value._version != self.version:
            raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        return self.value._alias()


_AGAIN = object()  # to be computed again
_TAKEN = object()
_MISMATCH = (
    "This can happen if the operations in the checkpointed region are nondeterministic or depend on global state that "
    "changed between forward and backward."
)
_Storage = defaultdict[str, list[Any]]


def _elements(result: Any) -> tuple[Any, ...]:
    return tuple(result) if type(result) in (tuple, list) else (result,)


class _Keeping(watch.Mode):
    """The first run."""

    def __init__(self, policy: Callable[..., Any], storage: _Storage) -> None:
        self.policy, self.storage = policy, storage

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        result = watch.compute(row, inplace, args, out)
        if inplace or out is not None:
            return result
        name = name_of(row, args)
        context = SelectiveCheckpointContext(is_recompute=False, op_output=result)
        policy = self.policy(context, OpOverload(name, "default"), *args)
        keep = policy in _SAVED if isinstance(policy, CheckpointPolicy) else policy
        values = _elements(result)
        # a view costs nothing, and has to stay one
        if keep and not any(isinstance(v, TensorBase) and v._base is not None for v in values):
            self.storage[name].append([_Kept(v) for v in values])
        else:
            self.storage[name].append(_AGAIN)
        return result


class _Taking(watch.Mode):
    """The second run."""

    def __init__(self, storage: _Storage, mutation: bool) -> None:
        self.storage, self.mutation = storage, mutation
        self.counts: defaultdict[str, int] = defaultdict(int)

    def __enter__(self) -> Any:
        self.counts.clear()
        return super().__enter__()

    def process(self, row: Any, inplace: bool, args: Sequence[Any], out: Any) -> Any:
        if inplace or out is not None:
            return watch.compute(row, inplace, args, out)
        name = name_of(row, args)
        number = self.counts[name]
        self.counts[name] += 1
        if number >= len(self.storage[name]):
            raise RuntimeError(
                f"aten.{name} invocation index {number} encountered during backward but not found in storage. "
                f"{_MISMATCH}"
            )
        entry = self.storage[name][number]
        if entry is _AGAIN:
            return watch.compute(row, inplace, args, out)
        if entry is _TAKEN:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any region computed under "
                "selective activation checkpoint."
            )
        self.storage[name][number] = _TAKEN
        values = tuple(kept.get(self.mutation) for kept in entry)
        result = values if len(row.outputs) > 1 or row.outputs == ("*",) else values[0]
        if row.grad and is_grad_enabled() and any(_wants_gradient(a) for a in args):
            watch.stand_in(result, record.recorder(row), args)
        return result


def _wants_gradient(value: Any) -> bool:
    if type(value) in (tuple, list):
        return any(map(_wants_gradient, value))
    return isinstance(value, TensorBase) and value.requires_grad


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """The two contexts of a ``context_fn`` for `checkpoint`, with which some results are kept.

    ``policy_fn(ctx, op, *args)`` gives a `CheckpointPolicy` (or whether to keep) for each operation, named as
    ``ops.aten.mm.default``; a list of these names what is kept. What changes a tensor in place, views and results
    written to ``out=`` are always computed again. Raises RuntimeError in the backward for a second backward through a
    part, for kept results that were written to unless ``allow_cache_entry_mutation``, and for a run that does other
    operations; ValueError for a list of something else, TypeError for neither a list nor a function.
    Reference: ``torch.utils.checkpoint.create_selective_checkpoint_contexts``.

    >>> import functools
    >>> import dumbtorch as torch
    >>> from dumbtorch.utils.checkpoint import checkpoint
    >>> contexts = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    >>> x = torch.ones(2, 2, requires_grad=True)
    >>> checkpoint(lambda x: (x @ x).sin().sum(), x, use_reentrant=False, context_fn=contexts).backward()
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, OpOverload):
                hint = f" Name one of its overloads: {op}.default" if isinstance(op, OpOverloadPacket) else ""
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op).__name__}.{hint}"
                )
        chosen = frozenset(policy_fn_or_list)

        def policy(context: Any, op: Any, *args: Any) -> bool:
            return op in chosen
    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    storage: _Storage = defaultdict(list)
    return _Keeping(policy, storage), _Taking(storage, allow_cache_entry_mutation)
