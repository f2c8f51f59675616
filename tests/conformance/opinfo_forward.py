"""Forward mode over PyTorch's op database: the tangents of its samples, beside PyTorch's. See opinfo.py, ``--forward``.

Only ops that PyTorch itself can push tangents through are compared; what may fail is in opinfo_forward_expected.toml.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import dumbtorch
from tests.conformance import opinfo

EXPECTED = Path(__file__).with_name("opinfo_forward_expected.toml")


def with_tangents(x: Any, framework: Any, tangents: list[Any]) -> Any:
    """Arguments with a dual tensor in the place of each that asks for a gradient, its tangents from a list."""
    if isinstance(x, framework.Tensor):
        if not x.requires_grad:
            return x
        return framework.autograd.forward_ad.make_dual(x.detach(), tangents.pop(0))
    if isinstance(x, dict):
        return {key: with_tangents(value, framework, tangents) for key, value in x.items()}
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return type(x)(with_tangents(value, framework, tangents) for value in x)
    return x


def pushed(framework: Any, op: Callable[..., Any], args: Any, kwargs: Any, tangents: list[Any]) -> list[Any]:
    """The tangents of the results, zeros for one without."""
    fw = framework.autograd.forward_ad
    tangents = list(tangents)
    with fw.dual_level():
        result = op(*with_tangents(args, framework, tangents), **with_tangents(kwargs, framework, tangents))
        made = []
        for value in opinfo.flat(result):
            if isinstance(value, framework.Tensor) and (value.is_floating_point() or value.is_complex()):
                primal, tangent = fw.unpack_dual(value)
                made.append(framework.zeros_like(primal) if tangent is None else tangent.clone())
        return made


def run_sample(info: Any, ours: Callable[..., Any], sample: Any) -> str:
    """Why the tangents of a sample differ; empty if they do not, or PyTorch has none."""
    arguments = (sample.input, *sample.args)
    leaves = opinfo.leaves([arguments, sample.kwargs], torch.Tensor)
    if not leaves:
        return ""
    opinfo.forget()
    my_args, my_kwargs = opinfo.to_ours(arguments), opinfo.to_ours(sample.kwargs)
    tangents = [torch.randn_like(leaf) for leaf in leaves]
    opinfo.forget()
    my_tangents = opinfo.to_ours(tangents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = pushed(torch, info.op, arguments, sample.kwargs, tangents)
        except (RuntimeError, NotImplementedError):
            return ""  # not there in PyTorch
        mine = pushed(dumbtorch, ours, my_args, my_kwargs, my_tangents)
    if info.name in opinfo.TIES and len(theirs) > 1:
        mine, theirs = mine[:1], theirs[:1]
    return opinfo.same(mine, theirs, info.name, 10.0)


def run_op(info: Any, limit: int = 0, verbose: bool = False) -> opinfo.Result:
    """All samples of an op in float64."""
    passed, failed, first = 0, 0, ""
    ours = opinfo.ours_of(info)
    torch.manual_seed(7)
    for number, sample in enumerate(info.sample_inputs("cpu", torch.float64, requires_grad=True)):
        if limit and number >= limit:
            break
        try:
            problem = run_sample(info, ours, sample)
        except BaseException as raised:  # a failure of whatever kind is this op's
            problem = opinfo.describe(raised)
        passed, failed = passed + (not problem), failed + bool(problem)
        if problem:
            first = first or f"#{number} {problem}"
            if verbose:
                print(f"    {info.formatted_name} #{number}: {problem}", flush=True)
    return opinfo.Result(passed, failed, first)


def wanted(info: Any) -> bool:
    """Whether there is something to compare."""
    try:
        opinfo.ours_of(info)
    except AttributeError:
        return False
    return bool(
        info.supports_forward_ad
        and info.name not in opinfo.UNDEFINED | opinfo.SIGNS
        and torch.float64 in info.supported_backward_dtypes("cpu")
    )
