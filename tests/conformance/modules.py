"""PyTorch's own module database (ModuleInfo) against dumbtorch: its samples, state dicts, gradients, error inputs.

    python -m tests.conformance.modules [--modules Linear,LSTM] [--limit N] [--errors] [-v]

Each sample builds the module in both frameworks, gives ours the state of PyTorch's, and compares `repr`, forward, the
gradients of inputs and parameters and the state afterwards, which then goes back into a new module of PyTorch's. It
does so in training and in evaluation mode, in float32 and float64. What may fail is listed, with the reason, in
modules_expected.toml; an entry that fails and is not listed, or is listed and does not, ends the run with status 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import dumbtorch
from tests.conformance import opinfo, runner
from tests.conformance.opinfo import Result, flat, forget, leaves, same, to_theirs, words

EXPECTED = Path(__file__).with_name("modules_expected.toml")
DTYPES = ("float32", "float64")
#: What these compute in training depends on chance: shapes and dtypes are compared.
RANDOM = words("RReLU")
#: Modules that samples take as arguments: their constructor's arguments are noted, to build ours from.
PARTS = (
    torch.nn.TransformerEncoderLayer,
    torch.nn.TransformerDecoderLayer,
    torch.nn.PairwiseDistance,
    torch.nn.LayerNorm,
)


def ours_of(info: Any) -> Any:
    """dumbtorch's class of the same name. AttributeError if there is none."""
    return getattr(dumbtorch.nn, info.module_cls.__name__)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Modules of the kinds that samples take as arguments remember what they were made with."""

    def noting(cls: Any, init: Any) -> Any:
        @functools.wraps(init)
        def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            if type(self) is cls:
                self.__dict__["made_with"] = args, kwargs

        return remembering

    originals = {cls: cls.__init__ for cls in PARTS}
    for cls, init in originals.items():
        cls.__init__ = noting(cls, init)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for cls, init in originals.items():
            cls.__init__ = init  # type: ignore[method-assign]


def to_ours(x: Any) -> Any:
    """An argument for dumbtorch: as opinfo has it, and modules and functions of PyTorch as ours."""
    if isinstance(x, torch.nn.Module):
        args, kwargs = x.__dict__["made_with"]
        made = getattr(dumbtorch.nn, type(x).__name__)(*to_ours(args), **to_ours(kwargs))
        made.load_state_dict(to_ours(x.state_dict()))
        return made.train(x.training)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        fields = {field.name: to_ours(getattr(x, field.name)) for field in dataclasses.fields(x)}
        return getattr(dumbtorch.nn, type(x).__name__)(**fields)
    if isinstance(x, torch.nn.utils.rnn.PackedSequence):
        return dumbtorch.nn.utils.rnn.PackedSequence(*map(to_ours, x))
    if isinstance(x, dict):
        return type(x)((key, to_ours(value)) for key, value in x.items())
    if isinstance(x, list | tuple) and not hasattr(x, "_fields") and not isinstance(x, torch.Size):
        return type(x)(map(to_ours, x))
    if callable(x) and not isinstance(x, type | types.FunctionType):
        return opinfo._builtin(x)
    if isinstance(x, types.FunctionType) and x.__module__ == "torch.nn.functional":
        return getattr(dumbtorch.nn.functional, x.__name__)
    return opinfo.to_ours(x)


def state_to_theirs(state: Any) -> dict[str, Any]:
    """A state dict of dumbtorch as PyTorch's."""
    return {key: to_theirs(value) if isinstance(value, dumbtorch.Tensor) else value for key, value in state.items()}


def same_state(module: Any, its: Any) -> str:
    """Why the state dicts of the two modules differ; empty if they do not."""
    mine, theirs = module.state_dict(), its.state_dict()
    if list(mine) != list(theirs):
        return f"state dict has {list(mine)} instead of {list(theirs)}"
    for key, value in theirs.items():
        if problem := same(mine[key], value, "", 10.0):
            return f"state {key}: {problem}"
    return ""


def run_sample(info: Any, sample: Any, dtype: str, training: bool) -> str:
    """Why the sample fails; empty if it does not."""
    built, call = sample.constructor_input, sample.forward_input
    its = info.module_cls(*built.args, **built.kwargs).to(getattr(torch, dtype)).train(training)
    forget()
    mine = ours_of(info)(*to_ours(built.args), **to_ours(built.kwargs))
    mine = mine.to(getattr(dumbtorch, dtype)).train(training)
    if call is None:
        return "" if repr(mine) == repr(its) else f"repr {mine!r} instead of {its!r}"
    if hasattr(its, "cls_to_become"):  # a lazy module: the state has its shapes only after a first call
        with torch.no_grad():
            its(*call.args, **call.kwargs)
    mine.load_state_dict(to_ours(its.state_dict()))
    forget()
    my_args, my_kwargs = to_ours(tuple(call.args)), to_ours(dict(call.kwargs))
    theirs = its(*call.args, **call.kwargs)
    ours = mine(*my_args, **my_kwargs)
    if repr(mine) != repr(its):
        return f"repr {mine!r} instead of {its!r}"
    chance = training and info.module_cls.__name__ in RANDOM
    if problem := same(ours, theirs, "", shape_only=chance):
        return problem
    if not chance and (problem := gradients(mine, its, (ours, my_args, my_kwargs), (theirs, call.args, call.kwargs))):
        return f"gradient {problem}"
    if problem := same_state(mine, its):
        return problem
    again = info.module_cls(*built.args, **built.kwargs).to(getattr(torch, dtype)).train(training)
    again.load_state_dict(state_to_theirs(mine.state_dict()))
    return same_state(mine, again)


def gradients(mine: Any, its: Any, ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> str:
    """Why the gradients of inputs and parameters differ; empty if they do not."""
    pairs = [(a, b) for a, b in zip(flat(ours[0]), flat(theirs[0]), strict=True) if isinstance(b, torch.Tensor)]
    pairs = [(a, b) for a, b in pairs if b.requires_grad]
    named = [(name, p) for name, p in its.named_parameters() if p.requires_grad]
    my_leaves = leaves(list(ours[1:]), dumbtorch.Tensor) + [p for p in mine.parameters() if p.requires_grad]
    their_leaves = leaves(list(theirs[1:]), torch.Tensor) + [p for _, p in named]
    if not pairs or not their_leaves:
        return ""
    if not all(a.requires_grad for a, _ in pairs):
        return "a result does not require grad"
    labels = [f"of input {n}" for n in range(len(their_leaves) - len(named))] + [f"of {name}" for name, _ in named]
    seeds = [torch.randn_like(b) for _, b in pairs]
    forget()
    my_grads = opinfo.gradients(dumbtorch, [a for a, _ in pairs], my_leaves, to_ours(seeds))
    their_grads = opinfo.gradients(torch, [b for _, b in pairs], their_leaves, seeds)
    for label, a, b in zip(labels, my_grads, their_grads, strict=True):
        if (a is None) != (b is None):
            if not bool((b if a is None else to_theirs(a)).any()):
                continue
            return f"{label}: {'None' if a is None else 'a tensor'} instead of {'None' if b is None else 'a tensor'}"
        if a is not None and (problem := same(a, b, "", 10.0)):
            return f"{label}: {problem}"
    return ""


def samples(info: Any, dtype: str, training: bool) -> list[Any]:
    """The samples of a module in a mode."""
    torch.manual_seed(7)
    made: list[Any] = info.module_inputs_func(
        info, device="cpu", dtype=getattr(torch, dtype), requires_grad=True, training=training
    )
    return made


def run_module(info: Any, dtype: str, limit: int = 0, verbose: bool = False) -> Result:
    """All samples of a module in a dtype, in both modes where they differ."""
    passed, failed, first = 0, 0, ""
    with warnings.catch_warnings(), noted():
        warnings.simplefilter("ignore")
        for training in (True, False) if info.train_and_eval_differ else (True,):
            label = f"{info.name} {dtype} {'training' if training else 'evaluation'}"
            result = runner.count(
                samples(info, dtype, training),
                lambda sample, training=training: run_sample(info, sample, dtype, training),
                label,
                limit,
                verbose,
            )
            passed, failed, first = passed + result.passed, failed + result.failed, first or result.first
    return Result(passed, failed, first)


def run_error(info: Any, case: Any) -> str:
    """Why an error input fails: ours must raise the same type, when it is built or when it is called."""
    built, call = case.module_error_input.constructor_input, case.module_error_input.forward_input
    wanted = f"instead of {case.error_type.__name__} ({str(case.error_regex)[:80]})"
    forget()
    try:
        mine = ours_of(info)(*to_ours(built.args), **to_ours(built.kwargs))
        if case.error_on == ModuleErrorEnum.FORWARD_ERROR:
            mine(*to_ours(tuple(call.args)), **to_ours(dict(call.kwargs)))
    except BaseException as raised:  # the type is what is looked at
        return "" if isinstance(raised, case.error_type) else f"{opinfo.describe(raised)} {wanted}"
    return f"no error {wanted}"


def run_errors(info: Any, verbose: bool = False) -> Result:
    """The error inputs of a module, if it has any."""
    if info.module_error_inputs_func is None:
        return Result(0, 0, "")
    with warnings.catch_warnings(), noted():
        warnings.simplefilter("ignore")
        cases = info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
        )
        return runner.count(cases, lambda case: run_error(info, case), f"{info.name} error", 0, verbose)


def name_of(info: Any) -> str:
    """An entry's name in the list: that of its class."""
    return str(info.module_cls.__name__)


def entries(names: list[str] | None = None) -> list[Any]:
    """The entries of the database to run."""
    return [info for info in module_db if not names or name_of(info) in names]


def main() -> int:
    """Run what the command line asks for."""
    options = runner.options("PyTorch's module database against dumbtorch.", "modules")
    torch.set_num_threads(1)
    names = options.names.split(",") if options.names else None

    def work(info: Any) -> dict[str, Result]:
        if options.errors:
            return {"error": run_errors(info, options.verbose)}
        kinds = [dtype for dtype in DTYPES if getattr(torch, dtype) in info.dtypes]
        return {dtype: run_module(info, dtype, options.limit, options.verbose) for dtype in kinds}

    found = [(name_of(info), functools.partial(work, info)) for info in entries(names)]
    return runner.run(found, EXPECTED, not (names or options.limit or options.errors))


if __name__ == "__main__":
    sys.exit(main())
