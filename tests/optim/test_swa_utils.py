"""Averages of weights beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, copy_state, random, same_outcome, tensor_of

AVERAGES = {
    "plain": lambda U: {},
    "plain over lists": lambda U: {"multi_avg_fn": U.get_swa_multi_avg_fn()},
    "plain, given": lambda U: {"avg_fn": U.get_swa_avg_fn()},
    "exponential": lambda U: {"avg_fn": U.get_ema_avg_fn(0.7)},
    "exponential over lists": lambda U: {"multi_avg_fn": U.get_ema_multi_avg_fn(0.7)},
    "with buffers": lambda U: {"multi_avg_fn": U.get_ema_multi_avg_fn(0.5), "use_buffers": True},
}


def model(T):
    return T.nn.Sequential(T.nn.Linear(4, 3), T.nn.BatchNorm1d(3), T.nn.Linear(3, 2)).double()


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_model(name: str) -> None:
    torch.manual_seed(0)  # some weights make five steps amplify rounding
    mine, reference = model(dumbtorch), model(torch)
    copy_state(mine, reference)
    averages = []
    for T, net in ((dumbtorch, mine), (torch, reference)):
        average = T.optim.swa_utils.AveragedModel(net, **AVERAGES[name](T.optim.swa_utils))
        optimizer = T.optim.SGD(net.parameters(), lr=0.1)
        for step in range(5):
            optimizer.zero_grad()
            net(tensor_of(T, random((8, 4), step))).square().sum().backward()
            optimizer.step()
            average.update_parameters(net)
        averages.append(average)
    ours, theirs = (a.state_dict() for a in averages)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(as_numpy(ours[key]), as_numpy(value), rtol=1e-7, atol=1e-8, err_msg=key)
    x = random((5, 4), 9)
    a, b = (average.eval()(tensor_of(T, x)) for T, average in zip((dumbtorch, torch), averages, strict=True))
    np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-7, atol=1e-8)


def test_update_bn() -> None:
    mine, reference = model(dumbtorch), model(torch)
    copy_state(mine, reference)
    for T, net in ((dumbtorch, mine), (torch, reference)):
        T.optim.swa_utils.update_bn([(tensor_of(T, random((6, 4), i)), 0) for i in range(3)], net.eval())
        assert not net.training
        assert net[1].momentum == 0.1
    for (name, a), (_, b) in zip(mine.named_buffers(), reference.named_buffers(), strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-7, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"anneal_strategy": "linear", "anneal_epochs": 4}, {"anneal_epochs": 0}])
def test_swalr(options: dict) -> None:
    rates = []
    for T in (dumbtorch, torch):
        optimizer = T.optim.SGD([T.nn.Parameter(T.zeros(1))], lr=0.5)
        schedule = T.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, **options)
        rates.append([])
        for _ in range(14):
            optimizer.step()
            schedule.step()
            rates[-1].append(schedule.get_last_lr()[0])
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.optim.swa_utils.get_ema_avg_fn(1.5),
        lambda T: T.optim.swa_utils.get_ema_multi_avg_fn(-0.1),
        lambda T: T.optim.swa_utils.SWALR(T.optim.SGD([T.zeros(1)], lr=1), 0.1, anneal_strategy="steps"),
        lambda T: T.optim.swa_utils.SWALR(T.optim.SGD([T.zeros(1)], lr=1), 0.1, anneal_epochs=-1),
        lambda T: T.optim.swa_utils.AveragedModel(T.nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max),
    ],
)
def test_errors(scenario) -> None:
    same_outcome(scenario)
