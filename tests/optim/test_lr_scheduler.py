"""Schedules beside PyTorch: the rates over many epochs, state dicts, warnings, errors."""

from __future__ import annotations

import math

import pytest
import torch

import dumbtorch
from tests.nn.support import same_outcome


class Growing:
    """A schedule function with a state that belongs in the state dict."""

    def __init__(self) -> None:
        self.base = 1.1

    def __call__(self, epoch: int) -> float:
        return self.base**epoch


def sequential(S, o):
    return S.SequentialLR(o, [S.LinearLR(o, 0.2, total_iters=4), S.CosineAnnealingLR(o, 10), S.StepLR(o, 2)], [4, 12])


SCHEDULES = {
    "StepLR": lambda S, o: S.StepLR(o, 3, gamma=0.5),
    "MultiStepLR": lambda S, o: S.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3),
    "ExponentialLR": lambda S, o: S.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda S, o: S.CosineAnnealingLR(o, 7, eta_min=0.01),
    "LambdaLR": lambda S, o: S.LambdaLR(o, lambda e: 1 / (1 + e)),
    "LambdaLR list": lambda S, o: S.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1.0 - e / 50]),
    "LambdaLR object": lambda S, o: S.LambdaLR(o, Growing()),
    "MultiplicativeLR": lambda S, o: S.MultiplicativeLR(o, lambda e: 0.95),
    "LinearLR": lambda S, o: S.LinearLR(o, 0.25, 0.75, 6),
    "ConstantLR": lambda S, o: S.ConstantLR(o, 0.3, 4),
    "PolynomialLR": lambda S, o: S.PolynomialLR(o, 12, 2.0),
    "CosineAnnealingWarmRestarts": lambda S, o: S.CosineAnnealingWarmRestarts(o, 4, 2, 0.001),
    "CyclicLR": lambda S, o: S.CyclicLR(o, 0.01, 0.3, 4),
    "CyclicLR halving": lambda S, o: S.CyclicLR(o, [0.01, 0.02], [0.3, 0.2], 3, 5, mode="triangular2"),
    "CyclicLR shrinking": lambda S, o: S.CyclicLR(o, 0.01, 0.3, 3, mode="exp_range", gamma=0.97, cycle_momentum=False),
    "CyclicLR of Adam": lambda S, o: S.CyclicLR(o, 0.01, 0.3, 4, base_momentum=0.7, max_momentum=0.95),
    "CyclicLR scaled": lambda S, o: S.CyclicLR(o, 0.01, 0.3, 3, scale_fn=Growing(), scale_mode="iterations"),
    "OneCycleLR": lambda S, o: S.OneCycleLR(o, 0.3, total_steps=25),
    "OneCycleLR linear": lambda S, o: S.OneCycleLR(
        o, [0.3, 0.1], epochs=5, steps_per_epoch=5, anneal_strategy="linear"
    ),
    "OneCycleLR three": lambda S, o: S.OneCycleLR(o, 0.3, total_steps=25, three_phase=True, pct_start=0.2),
    "OneCycleLR without momentum": lambda S, o: S.OneCycleLR(o, 0.3, 25, cycle_momentum=False, div_factor=5.0),
    "ChainedScheduler": lambda S, o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 3), S.ExponentialLR(o, 0.9)]),
    "SequentialLR": sequential,
}


def build(T, name, make, tensor_lr=False):
    rates = [T.tensor(0.5, dtype=T.float64), T.tensor(0.2, dtype=T.float64)] if tensor_lr else [0.5, 0.2]
    groups = [{"params": [T.nn.Parameter(T.zeros(1))], "lr": rate} for rate in rates]
    optimizer = T.optim.Adam(groups) if "Adam" in name else T.optim.SGD(groups, momentum=0.9)
    return optimizer, make(T.optim.lr_scheduler, optimizer)


def rates(optimizer, scheduler, epochs):
    seen = []
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        seen.append([float(g["lr"]) for g in optimizer.param_groups])
        seen.append([float(g.get("momentum", 0)) for g in optimizer.param_groups])
        seen.append([float(r) for r in scheduler.get_last_lr()])
    return seen


def flat(nested):
    return [value for row in nested for value in row]


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_equal_pytorchs(name: str) -> None:
    epochs = 24 if "OneCycle" in name else 30
    mine = build(dumbtorch, name, SCHEDULES[name])
    reference = build(torch, name, SCHEDULES[name])
    assert mine[1].get_last_lr() == pytest.approx(reference[1].get_last_lr(), rel=1e-12)
    ours, theirs = rates(*mine, epochs), rates(*reference, epochs)
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-9, abs=1e-15)
    assert mine[1].last_epoch == reference[1].last_epoch if name != "ChainedScheduler" else True


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "LinearLR", "SequentialLR"])
def test_tensor_rates_change_in_place(name: str) -> None:
    optimizer, scheduler = build(dumbtorch, name, SCHEDULES[name], tensor_lr=True)
    held = optimizer.param_groups[0]["lr"]
    reference = build(torch, name, SCHEDULES[name], tensor_lr=True)
    ours, theirs = rates(optimizer, scheduler, 10), rates(*reference, 10)
    assert optimizer.param_groups[0]["lr"] is held
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_dict_resumes(name: str) -> None:
    first = build(dumbtorch, name, SCHEDULES[name])
    rates(*first, 7)
    second = build(dumbtorch, name, SCHEDULES[name])
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    assert rates(*second, 10) == rates(*first, 10)


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n != "LambdaLR object"])
def test_state_dict_has_pytorchs_entries(name: str) -> None:
    def entries(T):
        optimizer, scheduler = build(T, name, SCHEDULES[name])
        rates(optimizer, scheduler, 3)
        return sorted(scheduler.state_dict())

    mine, reference = entries(dumbtorch), entries(torch)
    # `_anneal_func_type` and the like must be there, so that states can be exchanged.
    assert mine == reference


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 1, "factor": 0.5},
        {"mode": "max", "patience": 1},
        {"patience": 0, "cooldown": 2, "threshold": 0.1, "threshold_mode": "abs"},
        {"mode": "max", "patience": 1, "threshold": 0.2, "threshold_mode": "rel", "min_lr": 0.05},
        {"mode": "max", "patience": 1, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.05, 0.1]},
        {"patience": 0, "eps": 0.1},
    ],
)
def test_reduce_on_plateau(options) -> None:
    metrics = [1.0, 0.9, 0.9, 0.95, 0.89, 0.89, 0.5, 0.6, math.nan, 0.6, 0.6, 0.4999, 0.4, 0.4, 0.4, 0.41, 0.4, 0.4]

    def run(T):
        optimizer, scheduler = build(T, "", lambda S, o: S.ReduceLROnPlateau(o, **options))
        seen = []
        for i, metric in enumerate(metrics):
            scheduler.step(T.tensor(metric) if i % 2 else metric)
            seen += [g["lr"] for g in optimizer.param_groups]
            seen += [
                scheduler.num_bad_epochs,
                scheduler.cooldown_counter,
                scheduler.in_cooldown,
                *scheduler.get_last_lr(),
            ]
            if i == 8:
                state = scheduler.state_dict()
                scheduler = T.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                scheduler.load_state_dict(state)
        return seen, sorted(scheduler.state_dict())

    mine, reference = run(dumbtorch), run(torch)
    assert mine[0] == pytest.approx(reference[0])
    assert mine[1] == reference[1]


def test_resuming_with_last_epoch() -> None:
    def scenario(T):
        optimizer, scheduler = build(T, "", SCHEDULES["StepLR"])
        rates(optimizer, scheduler, 4)
        again = T.optim.lr_scheduler.StepLR(optimizer, 3, 0.5, last_epoch=scheduler.last_epoch)
        return [round(v, 9) for v in flat(rates(optimizer, again, 5))], again.base_lrs

    same_outcome(scenario)


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "CosineAnnealingLR", "LinearLR", "PolynomialLR"])
def test_going_to_an_epoch(name: str) -> None:
    def scenario(T):
        optimizer, scheduler = build(T, name, SCHEDULES[name])
        optimizer.step()
        scheduler.step(5)
        return [round(g["lr"], 9) for g in optimizer.param_groups]

    same_outcome(scenario)


def test_warm_restarts_by_fractions() -> None:
    def scenario(T):
        optimizer, scheduler = build(T, "", SCHEDULES["CosineAnnealingWarmRestarts"])
        optimizer.step()
        seen = []
        for epoch in (0.0, 0.5, 3.9, 4.0, 7.5, 13.0):
            scheduler.step(epoch)
            seen.append(round(optimizer.param_groups[0]["lr"], 9))
        return seen

    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda S, o: S.StepLR(3, 2),
        lambda S, o: S.StepLR(o, 2, last_epoch=4),
        lambda S, o: S.LambdaLR(o, [lambda e: 1]),
        lambda S, o: S.MultiplicativeLR(o, 3),
        lambda S, o: S.LinearLR(o, 0.0),
        lambda S, o: S.LinearLR(o, 0.5, 2.0),
        lambda S, o: S.ConstantLR(o, 2.0),
        lambda S, o: S.CosineAnnealingWarmRestarts(o, 0),
        lambda S, o: S.CosineAnnealingWarmRestarts(o, 2, 0),
        lambda S, o: S.CosineAnnealingWarmRestarts(o, 2).step(-1),
        lambda S, o: S.OneCycleLR(o, 0.1),
        lambda S, o: S.OneCycleLR(o, 0.1, total_steps=-1),
        lambda S, o: S.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0),
        lambda S, o: S.OneCycleLR(o, 0.1, 5, pct_start=2.0),
        lambda S, o: S.OneCycleLR(o, 0.1, 5, anneal_strategy="exp"),
        lambda S, o: S.OneCycleLR(o, [0.1], 5),
        lambda S, o: [S.OneCycleLR(o, 0.1, 2)] and [s.step() for s in [S.OneCycleLR(o, 0.1, 2)] for _ in range(3)],
        lambda S, o: S.ReduceLROnPlateau(o, factor=1.0),
        lambda S, o: S.ReduceLROnPlateau(o, mode="best"),
        lambda S, o: S.ReduceLROnPlateau(o, threshold_mode="some"),
        lambda S, o: S.ReduceLROnPlateau(o, min_lr=[0.1]),
        lambda S, o: S.SequentialLR(o, [], []),
        lambda S, o: S.SequentialLR(o, [S.StepLR(o, 1)], [1]),
        lambda S, o: S.SequentialLR(o, [S.StepLR(o, 1), S.ReduceLROnPlateau(o)], [1]),
        lambda S, o: S.ChainedScheduler([]),
        lambda S, o: S.LRScheduler(o),
    ],
)
def test_errors_are_of_the_same_type(scenario) -> None:
    same_outcome(lambda T: scenario(T.optim.lr_scheduler, build(T, "", lambda S, o: None)[0]) and None, message=False)


def test_warns_when_stepped_before_the_optimizer() -> None:
    def scenario(T):
        _, scheduler = build(T, "", SCHEDULES["StepLR"])
        scheduler.step()
        scheduler.step()

    same_outcome(scenario)


def test_warns_when_get_lr_is_called_outside() -> None:
    same_outcome(lambda T: build(T, "", SCHEDULES["StepLR"])[1].get_lr())
