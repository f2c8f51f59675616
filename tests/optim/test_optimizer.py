"""The base class: groups, errors, hooks, printing, copying. Each scenario runs on both libraries."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from importlib import import_module

import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, same_outcome


def ones(T, n=2):
    return T.nn.Parameter(T.ones(n))


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.optim.SGD(ones(T), lr=0.1),
        lambda T: T.optim.SGD([], lr=0.1),
        lambda T: T.optim.SGD([1], lr=0.1),
        lambda T: T.optim.SGD([ones(T) * 2], lr=0.1),
        lambda T: T.optim.SGD([{"params": {ones(T)}}], lr=0.1),
        lambda T: T.optim.SGD([ones(T)], lr=-1),
        lambda T: T.optim.SGD([ones(T)], momentum=-1),
        lambda T: T.optim.SGD([ones(T)], weight_decay=-1),
        lambda T: T.optim.SGD([ones(T)], nesterov=True),
        lambda T: T.optim.SGD([ones(T)], nesterov=True, momentum=0.9, dampening=0.1),
        lambda T: T.optim.SGD([ones(T)], lr=T.ones(2)),
        lambda T: T.optim.SGD([ones(T)], fused=True, foreach=True),
        lambda T: T.optim.SGD([ones(T)], fused=True, differentiable=True),
        lambda T: T.optim.Adam([ones(T)], lr=-1),
        lambda T: T.optim.Adam([ones(T)], eps=-1),
        lambda T: T.optim.Adam([ones(T)], betas=(1.0, 0.9)),
        lambda T: T.optim.Adam([ones(T)], betas=(0.9, -0.1)),
        lambda T: T.optim.Adam([ones(T)], betas=(0.9, T.tensor(0.9))),
        lambda T: T.optim.Adam([ones(T)], weight_decay=-1),
        lambda T: T.optim.Adam([ones(T)], lr=T.tensor(0.1), foreach=True),
        lambda T: T.optim.Adam([ones(T)], lr=T.ones(2)),
        lambda T: T.optim.AdamW([ones(T)], fused=True, foreach=True),
        lambda T: T.optim.SGD([ones(T)]).add_param_group([ones(T)]),
    ],
)
def test_bad_arguments(scenario) -> None:
    same_outcome(lambda T: scenario(T) and None)


def test_a_parameter_belongs_to_one_group() -> None:
    def scenario(T):
        p = ones(T)
        T.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)

    same_outcome(scenario)


def test_duplicates_warn() -> None:
    def scenario(T):
        p = ones(T)
        return len(T.optim.SGD([p, p], lr=0.1).param_groups[0]["params"])

    same_outcome(scenario)


def test_names() -> None:
    def scenario(T):
        m = T.nn.Linear(2, 2)
        optimizer = T.optim.SGD(m.named_parameters(), lr=0.1)
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        return state["param_groups"], optimizer.param_groups[0]["param_names"]

    same_outcome(scenario)
    same_outcome(lambda T: T.optim.SGD([("a", ones(T)), ones(T)], lr=0.1))
    same_outcome(lambda T: T.optim.SGD([("a", ones(T))]).add_param_group({"params": ones(T)}), message=False)


def test_loading_the_wrong_state() -> None:
    def scenario(T, change):
        optimizer = T.optim.SGD([{"params": [ones(T)]}, {"params": [ones(T)]}], lr=0.1)
        state = optimizer.state_dict()
        change(state)
        optimizer.load_state_dict(state)

    same_outcome(partial(scenario, change=lambda s: s["param_groups"].pop()))
    same_outcome(partial(scenario, change=lambda s: s["param_groups"][0]["params"].append(7)))


def test_loaded_state_takes_the_dtype_of_the_parameter() -> None:
    def scenario(T):
        p, q = T.nn.Parameter(T.ones(2)), T.nn.Parameter(T.ones(2, dtype=T.float64))
        first, second = T.optim.Adam([p]), T.optim.Adam([q])
        p.grad = T.ones(2)
        first.step()
        second.load_state_dict(first.state_dict())
        state = second.state[q]
        return {k: str(v.dtype).split(".")[1] for k, v in state.items()}

    same_outcome(scenario)


def test_zero_grad() -> None:
    def scenario(T):
        p, q = ones(T), ones(T)
        p.grad = T.ones(2)
        optimizer = T.optim.SGD([p, q], lr=0.1)
        optimizer.zero_grad(set_to_none=False)
        zeros = p.grad.tolist(), q.grad
        optimizer.zero_grad()
        return zeros, p.grad

    same_outcome(scenario)


def test_step_hooks() -> None:
    def scenario(T):
        p = ones(T)
        p.grad = T.ones(2)
        optimizer = T.optim.SGD([p], lr=0.5)
        log = []
        optimizer.register_step_pre_hook(lambda o, a, k: log.append(("pre", len(a), sorted(k))))
        handle = optimizer.register_step_post_hook(lambda o, a, k: log.append(("post", p.tolist())))
        optimizer.step(closure=None)
        handle.remove()
        optimizer.step()
        return log

    same_outcome(scenario)


def test_pre_hook_may_replace_the_arguments() -> None:
    def scenario(T):
        optimizer = T.optim.SGD([ones(T)], lr=0.5)
        optimizer.register_step_pre_hook(lambda o, a, k: ((o, lambda: "from the hook"), k))
        return optimizer.step()

    same_outcome(scenario)


def test_pre_hook_must_return_a_pair() -> None:
    def scenario(T):
        optimizer = T.optim.SGD([ones(T)], lr=0.5)
        optimizer.register_step_pre_hook(lambda o, a, k: 3)
        optimizer.step()

    same_outcome(scenario, message=False)


def test_global_step_hooks() -> None:
    def scenario(T):
        log = []
        where = import_module(f"{T.__name__}.optim.optimizer")
        handles = [
            where.register_optimizer_step_pre_hook(lambda o, a, k: log.append("pre")),
            where.register_optimizer_step_post_hook(lambda o, a, k: log.append("post")),
        ]
        optimizer = T.optim.AdamW([ones(T)])
        try:
            optimizer.step()
        finally:
            for handle in handles:
                handle.remove()
        optimizer.step()
        return log

    same_outcome(scenario)


def test_state_dict_hooks() -> None:
    def scenario(T):
        optimizer = T.optim.SGD([ones(T)], lr=0.5)
        log = []
        optimizer.register_state_dict_pre_hook(lambda o: log.append("pre"))
        optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1})
        optimizer.register_state_dict_post_hook(lambda o, s: log.append(sorted(s)), prepend=True)
        optimizer.register_load_state_dict_pre_hook(lambda o, s: {k: v for k, v in s.items() if k != "extra"})
        optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        return log, sorted(state)

    same_outcome(scenario)


def test_own_optimizer() -> None:
    def scenario(T):
        class Signed(T.optim.Optimizer):
            def __init__(self, params, lr=1.0):
                super().__init__(params, {"lr": lr})

            @T.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(group["lr"] * p.grad.sign())

        p = ones(T)
        p.grad = T.tensor([3.0, -2.0])
        optimizer = Signed([p], lr=0.5)
        log = []
        optimizer.register_step_post_hook(lambda o, a, k: log.append("post"))
        optimizer.step()
        return p.tolist(), log, repr(optimizer)

    same_outcome(scenario)


def test_required_option() -> None:
    def scenario(T):
        required = import_module(f"{T.__name__}.optim.optimizer").required
        T.optim.Optimizer([ones(T)], {"lr": required})

    same_outcome(scenario)


def test_copies_continue_alike() -> None:
    p = dumbtorch.nn.Parameter(dumbtorch.ones(2))
    optimizer = dumbtorch.optim.Adam([p], lr=0.1)
    p.grad = dumbtorch.ones(2)
    optimizer.step()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        q = twin.param_groups[0]["params"][0]
        assert q is not p
        assert repr(twin) == repr(optimizer)
        assert twin.state[q]["step"].item() == 1
        q.grad = dumbtorch.ones(2)
        twin.step()
        fresh = torch.nn.Parameter(torch.ones(2))
        reference = torch.optim.Adam([fresh], lr=0.1)
        fresh.grad = torch.ones(2)
        reference.step()
        reference.step()
        assert as_numpy(q) == pytest.approx(as_numpy(fresh))
