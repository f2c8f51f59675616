"""PyTorch's own optimizer database (OptimizerInfo) and all learning-rate schedules against dumbtorch.

    python -m tests.conformance.optimizers [--optimizers Adam,LBFGS] [--limit N] [--errors] [-v]

Each sample takes fifty steps in both frameworks on the same gradients (LBFGS: on the same loss) and compares parameters
and state dicts. Half way, each framework's state dict goes into a new optimizer of the other, which takes the rest of
the steps. Each schedule runs fifty steps the same way. What may fail is listed, with the reason, in
optimizers_expected.toml; an entry that fails and is not listed, or is listed and does not, ends the run with status 1.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import dumbtorch
from tests.conformance import opinfo, runner
from tests.conformance.opinfo import Result, forget, same, to_ours, to_theirs

EXPECTED = Path(__file__).with_name("optimizers_expected.toml")
DTYPES = ("float32", "float64", "complex64")
STEPS = 50
SHAPES = ((4, 5), (7, 3), (5,), (), (3, 2, 2))
#: State that PyTorch converts to the parameter's dtype when it is loaded, and ours leaves: the values are compared.
COUNTS = ("mu_product", "eta", "mu")
#: Its products are in bfloat16, whose rounding differs with the order of the sums.
COARSE = {"Muon": 200.0}


def back(x: Any) -> Any:
    """Nested state of dumbtorch as PyTorch's."""
    if isinstance(x, dumbtorch.Tensor):
        return to_theirs(x)
    if isinstance(x, dict):
        return {key: back(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(map(back, x))
    return x


def differ(mine: Any, its: Any, factor: float, place: str = "") -> str:
    """Why two nested states differ; empty if they do not."""
    if isinstance(its, dict):
        if not isinstance(mine, dict) or set(mine) != set(its):
            return f"{place}: {sorted(map(str, mine))} instead of {sorted(map(str, its))}"
        pairs: Any = [(f"{place}.{key}", mine[key], its[key]) for key in its]
    elif isinstance(its, list | tuple):
        if len(mine) != len(its):
            return f"{place}: {len(mine)} values instead of {len(its)}"
        pairs = [(f"{place}.{n}", a, b) for n, (a, b) in enumerate(zip(mine, its, strict=True))]
    else:
        if place.endswith(COUNTS) and isinstance(its, torch.Tensor):
            mine, its = mine.item(), its.item()
        problem = same(mine, its, "", factor)
        return f"{place}: {problem}" if problem else ""
    for where, a, b in pairs:
        if problem := differ(a, b, factor, where):
            return problem
    return ""


class Run:
    """The parameters and the optimizer of one framework."""

    def __init__(self, framework: Any, cls: Any, start: list[Any], kwargs: dict[str, Any]) -> None:
        self.framework = framework
        self.cls, self.kwargs = cls, kwargs
        self.params = [framework.nn.Parameter(x.clone()) for x in start]
        self.optimizer = cls(self.params, **kwargs)

    def renewed(self) -> Run:
        """The same parameters with a new optimizer."""
        return Run(self.framework, self.cls, [p.detach() for p in self.params], self.kwargs)

    def loss(self) -> Any:
        """For optimizers that call back: a bowl that is not round."""
        self.optimizer.zero_grad()
        total = sum(((p - 1) * (p - 1).conj() * (n + 1)).abs().sum() for n, p in enumerate(self.params))
        total.backward()
        return total


def _sparse(grad: Any, step: int) -> Any:
    """A gradient of which every third row is there, in turns: rows or elements, some of them twice."""
    if not grad.ndim:
        return grad.to_sparse()
    kept = (torch.arange(len(grad)) + step) % 3 == 0
    grad = torch.where(kept.reshape(-1, *(1 for _ in grad.shape[1:])), grad, 0).to_sparse(1 + step % grad.ndim)
    parts = torch.cat([grad.indices()] * 2, 1), torch.cat([grad.values()] * 2)
    return torch.sparse_coo_tensor(*parts, grad.shape, check_invariants=True)


def copied(kwargs: Any, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Options of a sample: tensors of their own, since some steps write to them."""
    return {key: convert(value.clone() if isinstance(value, torch.Tensor) else value) for key, value in kwargs.items()}


def run_sample(info: Any, sample: Any, dtype: str) -> str:
    """Why the sample fails; empty if it does not."""
    name = info.optim_cls.__name__
    factor = 20 * COARSE.get(name, 1.0)
    shapes = [s for s in SHAPES if len(s) == 2] if name == "Muon" else SHAPES
    random = torch.Generator().manual_seed(11)
    kind = getattr(torch, dtype)
    start = [torch.randn(shape, dtype=kind, generator=random) for shape in shapes]
    forget()
    its = Run(torch, info.optim_cls, start, copied(sample.kwargs, lambda x: x))
    mine = Run(dumbtorch, getattr(dumbtorch.optim, name), to_ours(start), copied(sample.kwargs, to_ours))
    runs = [(mine, its)]
    for step in range(STEPS):
        if step == STEPS // 2:  # swap the states: two more runs go on from the other framework's
            forget()
            crossed = mine.renewed(), its.renewed()
            crossed[0].optimizer.load_state_dict(to_ours(its.optimizer.state_dict()))
            crossed[1].optimizer.load_state_dict(back(mine.optimizer.state_dict()))
            runs.append(crossed)
        grads = [torch.randn(shape, dtype=kind, generator=random) for shape in shapes]
        if info.only_supports_sparse_grads:
            grads = [_sparse(grad, step) for grad in grads]
        for pair in runs:
            forget()
            for run, given in zip(pair, (to_ours(grads), grads), strict=True):
                if info.step_requires_closure:
                    run.optimizer.step(run.loss)
                    continue
                for p, grad in zip(run.params, given, strict=True):
                    p.grad = grad.clone()
                run.optimizer.step()
    for what, (a, b) in zip(("", "crossed "), runs, strict=True):
        for n, (p, q) in enumerate(zip(a.params, b.params, strict=True)):
            if problem := same(p, q, "", factor):
                return f"{what}parameter {n}: {problem}"
        if info.step_requires_closure:
            continue  # it has converged: what is left of its search is noise
        if problem := differ(a.optimizer.state_dict(), b.optimizer.state_dict(), factor, f"{what}state dict"):
            return problem
    return ""


def run_optimizer(info: Any, dtype: str, limit: int = 0, verbose: bool = False) -> Result:
    """All samples of an optimizer in a dtype."""
    samples = [s for s in info.optim_inputs_func(device="cpu") if not s.kwargs.get("differentiable")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        label = f"{info.optim_cls.__name__} {dtype}"
        return runner.count(samples, lambda sample: run_sample(info, sample, dtype), label, limit, verbose)


def run_error(info: Any, case: Any) -> str:
    """Why an error input fails: ours must raise the same type."""
    sample = case.optimizer_error_input
    wanted = f"instead of {case.error_type.__name__} ({str(case.error_regex)[:80]})"
    forget()
    _parameters.clear()
    try:
        params = [torch.nn.Parameter(torch.ones(2, 2))] if sample.params is None else sample.params
        with warnings.catch_warnings():
            warnings.simplefilter("error" if issubclass(case.error_type, Warning) else "ignore")
            optimizer = getattr(dumbtorch.optim, info.optim_cls.__name__)(_ours(params), **to_ours(sample.kwargs))
        if case.error_on == OptimizerErrorEnum.STEP_ERROR:
            optimizer.step()
    except BaseException as raised:  # the type is what is looked at
        return "" if isinstance(raised, case.error_type) else f"{opinfo.describe(raised)} {wanted}"
    return f"no error {wanted}"


_parameters: dict[int, Any] = {}


def _ours(x: Any) -> Any:
    """Arguments of an optimizer, where a parameter that comes twice is one object."""
    if isinstance(x, torch.Tensor):
        if x.is_sparse:
            return to_ours(x)
        made = _parameters.setdefault(id(x), dumbtorch.nn.Parameter(to_ours(x.detach())))
        made.grad = None if x.grad is None else to_ours(x.grad)
        return made
    if isinstance(x, dict):
        return {key: _ours(value) for key, value in x.items()}
    return type(x)(map(_ours, x)) if isinstance(x, list | tuple | set) else to_ours(x)


def run_errors(info: Any, verbose: bool = False) -> Result:
    """The error inputs of an optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
        return runner.count(cases, lambda case: run_error(info, case), f"{info.optim_cls.__name__} error", 0, verbose)


# ---------------------------------------------------------------- schedules


def _halved(epoch: int) -> float:
    return 0.5 ** (epoch // 10)


def _shrinking(epoch: int) -> float:
    return 0.97


def _schedules(framework: Any, optimizer: Any) -> dict[str, Callable[[], Any]]:
    """Every schedule, with its options in several ways."""
    s = framework.optim.lr_scheduler
    swa = framework.optim.swa_utils
    return {
        "LambdaLR": lambda: s.LambdaLR(optimizer, _halved),
        "LambdaLR two": lambda: s.LambdaLR(optimizer, [_halved, _shrinking]),
        "MultiplicativeLR": lambda: s.MultiplicativeLR(optimizer, _shrinking),
        "StepLR": lambda: s.StepLR(optimizer, 7, gamma=0.5),
        "MultiStepLR": lambda: s.MultiStepLR(optimizer, [5, 5, 20, 33], gamma=0.3),
        "ConstantLR": lambda: s.ConstantLR(optimizer, factor=0.25, total_iters=12),
        "LinearLR": lambda: s.LinearLR(optimizer, start_factor=0.1, end_factor=0.8, total_iters=30),
        "ExponentialLR": lambda: s.ExponentialLR(optimizer, 0.93),
        "PolynomialLR": lambda: s.PolynomialLR(optimizer, total_iters=40, power=2.0),
        "CosineAnnealingLR": lambda: s.CosineAnnealingLR(optimizer, 13, eta_min=0.001),
        "CosineAnnealingWarmRestarts": lambda: s.CosineAnnealingWarmRestarts(optimizer, 5, T_mult=2, eta_min=0.001),
        "CyclicLR triangular": lambda: s.CyclicLR(optimizer, 0.01, 0.1, step_size_up=6, step_size_down=9),
        "CyclicLR triangular2": lambda: s.CyclicLR(optimizer, [0.01, 0.02], 0.1, step_size_up=5, mode="triangular2"),
        "CyclicLR exp_range": lambda: s.CyclicLR(optimizer, 0.01, 0.1, 8, mode="exp_range", gamma=0.98),
        "CyclicLR own": lambda: s.CyclicLR(optimizer, 0.01, 0.1, 8, scale_fn=_halved, scale_mode="iterations"),
        "OneCycleLR": lambda: s.OneCycleLR(optimizer, 0.3, total_steps=60),
        "OneCycleLR three phases": lambda: s.OneCycleLR(
            optimizer, [0.3, 0.2], epochs=6, steps_per_epoch=10, anneal_strategy="linear", three_phase=True
        ),
        "ReduceLROnPlateau": lambda: s.ReduceLROnPlateau(optimizer, patience=3, cooldown=2, factor=0.5),
        "ReduceLROnPlateau max": lambda: s.ReduceLROnPlateau(
            optimizer, mode="max", patience=2, threshold_mode="abs", min_lr=[0.001, 0.01]
        ),
        "SequentialLR": lambda: s.SequentialLR(
            optimizer,
            [s.ConstantLR(optimizer, 0.1, 10), s.ExponentialLR(optimizer, 0.9), s.StepLR(optimizer, 4)],
            milestones=[10, 30],
        ),
        "ChainedScheduler": lambda: s.ChainedScheduler(
            [s.ConstantLR(optimizer, 0.1, 10), s.ExponentialLR(optimizer, 0.95)], optimizer
        ),
        "SWALR cos": lambda: swa.SWALR(optimizer, swa_lr=0.05, anneal_epochs=15),
        "SWALR linear": lambda: swa.SWALR(optimizer, swa_lr=[0.05, 0.2], anneal_epochs=15, anneal_strategy="linear"),
    }


SCHEDULES = tuple(_schedules(torch, None))


def _prepared(framework: Any, name: str, kind: str) -> tuple[Any, Any]:
    groups = [{"params": [framework.nn.Parameter(framework.ones(2))], "lr": lr} for lr in (0.1, 0.5)]
    optimizer = framework.optim.SGD(groups, momentum=0.9) if kind == "SGD" else framework.optim.Adam(groups)
    return optimizer, _schedules(framework, optimizer)[name]()


def run_schedule(name: str, kind: str) -> str:
    """Why a schedule on an optimizer of this kind fails; empty if it does not."""
    pairs = [(_prepared(dumbtorch, name, kind), _prepared(torch, name, kind))]
    for step in range(STEPS):
        if step == STEPS // 2:
            mine, its = _prepared(dumbtorch, name, kind), _prepared(torch, name, kind)
            for n in (0, 1):  # the optimizer, then the schedule
                mine[n].load_state_dict(to_ours(pairs[0][1][n].state_dict()))
                its[n].load_state_dict(back(pairs[0][0][n].state_dict()))
            pairs.append((mine, its))
        for what, (mine, its) in zip(("", "crossed "), pairs, strict=False):
            for optimizer, schedule in (mine, its):
                optimizer.step()
                value = abs(step % 17 - 8) / (1 + step)
                schedule.step(*([value] if name.startswith("ReduceLROnPlateau") else []))
            if problem := differ(mine[1].get_last_lr(), its[1].get_last_lr(), 1e-3, f"{what}step {step}"):
                return problem
            if problem := differ(_options(mine[0]), _options(its[0]), 1e-3, f"{what}groups, step {step}"):
                return problem
    if problem := differ(_plain(pairs[0][0][1].state_dict()), _plain(pairs[0][1][1].state_dict()), 1.0, "state dict"):
        return problem
    return ""


def _options(optimizer: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def _plain(state: Any) -> Any:
    """State without functions, which are the frameworks' own."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items() if not callable(value)}
    return [_plain(x) for x in state if not callable(x)] if isinstance(state, list | tuple) else state


def run_schedules(name: str, verbose: bool = False) -> Result:
    """A schedule on both kinds of optimizer: with a momentum, and with betas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return runner.count(("SGD", "Adam"), lambda kind: run_schedule(name, kind), name, 0, verbose)


# ---------------------------------------------------------------- running


def kinds_of(info: Any) -> list[str]:
    """The dtypes that an optimizer takes."""
    return [dtype for dtype in DTYPES if dtype != "complex64" or info.supports_complex]


def main() -> int:
    """Run what the command line asks for."""
    options = runner.options("PyTorch's optimizer database and schedules against dumbtorch.", "optimizers")
    torch.set_num_threads(1)
    names = options.names.split(",") if options.names else None

    def optimizer(info: Any) -> dict[str, Result]:
        if options.errors:
            return {"error": run_errors(info, options.verbose)}
        return {dtype: run_optimizer(info, dtype, options.limit, options.verbose) for dtype in kinds_of(info)}

    def schedule(name: str) -> dict[str, Result]:
        return {"schedule": run_schedules(name, options.verbose)}

    entries = [(info.optim_cls.__name__, functools.partial(optimizer, info)) for info in optim_db]
    if not options.errors:
        entries += [(name, functools.partial(schedule, name)) for name in SCHEDULES]
    chosen = [(name, work) for name, work in entries if not names or name.split()[0] in names]
    return runner.run(chosen, EXPECTED, not (names or options.limit or options.errors))


if __name__ == "__main__":
    sys.exit(main())
