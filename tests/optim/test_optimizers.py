"""SGD, Adam and AdamW over 20 steps beside PyTorch, for every option; state dicts both ways."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, copy_state, random, tensor_of

SGD = [
    {"lr": 0.1},
    {"lr": 0.05, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"lr": 0.05, "weight_decay": 0.1},
    {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1, "dampening": 0.1},
    {"lr": 0.001, "maximize": True},
    {"lr": 0.001, "maximize": True, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"lr": 0.05, "foreach": True},
    {"lr": 0.05, "fused": True, "momentum": 0.9},
    {"lr": 0.0},
]
ADAM = [
    {},
    {"lr": 0.05},
    {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3},
    {"lr": 0.05, "weight_decay": 0.1},
    {"lr": 0.05, "amsgrad": True},
    {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "maximize": True},
    {"lr": 0.01, "maximize": True},
    {"lr": 0.05, "foreach": True},
    {"lr": 0.05, "fused": True},
    {"lr": 0.05, "betas": (0.0, 0.0), "eps": 1e-2},  # with a small eps the step is a sign: rounding would show
]
#: Options that every other optimizer is tried with, beside its defaults.
RULES = {
    "RMSprop": [
        {"lr": 0.01, "alpha": 0.9},
        {"lr": 0.001, "momentum": 0.9},
        {"lr": 0.01, "centered": True},
        {"lr": 0.001, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
    ],
    "Adagrad": [
        {"lr": 0.05, "lr_decay": 0.1},
        {"lr": 0.05, "initial_accumulator_value": 0.3, "weight_decay": 0.1, "eps": 1e-3},
        {"maximize": True},
    ],
    "Adadelta": [{"lr": 0.5, "rho": 0.8, "eps": 1e-4}, {"weight_decay": 0.1, "maximize": True}],
    "Adamax": [{"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}, {"maximize": True, "eps": 1e-3}],
    "NAdam": [
        {"lr": 0.02, "betas": (0.8, 0.95), "momentum_decay": 0.01},
        {"weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "RAdam": [
        {"lr": 0.02, "betas": (0.8, 0.95)},
        {"weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "eps": 1e-3},
    ],
    "Rprop": [{"lr": 0.02, "etas": (0.3, 1.5)}, {"step_sizes": (1e-3, 0.05)}, {"maximize": True}],
    "ASGD": [{"lr": 0.05, "lambd": 0.01, "alpha": 0.5}, {"t0": 5, "weight_decay": 0.1}, {"t0": 0, "maximize": True}],
    "Adafactor": [{"lr": 0.05, "beta2_decay": -0.5, "d": 2.0}, {"weight_decay": 0.1, "eps": (1e-6, 1e-2)}],
}
CASES = [
    *(("SGD", options) for options in SGD),
    *(("Adam", options) for options in ADAM),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    *(("AdamW", options) for options in ADAM),
    *((name, options) for name, several in RULES.items() for options in [{}, *several, {"foreach": False}]),
]


def model(T, dtype: str = "float64"):
    layers = T.nn.Sequential(T.nn.Linear(6, 8), T.nn.Tanh(), T.nn.Linear(8, 5, bias=False), T.nn.Linear(5, 3))
    return layers.to(getattr(T, dtype))


def pair(dtype: str = "float64"):
    dumbtorch.manual_seed(0)
    mine, reference = model(dumbtorch, dtype), model(torch, dtype)
    copy_state(mine, reference)
    return mine, reference


def train(T, net, optimizer, steps: int, start: int = 0, dtype: str = "float64") -> None:
    for step in range(start, start + steps):
        x, y = (tensor_of(T, random((16, n), step * 2 + i, dtype)) for i, n in enumerate((6, 3)))
        optimizer.zero_grad()
        T.nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()


def assert_same_weights(mine, reference, dtype: str = "float64") -> None:
    for (name, a), (_, b) in zip(mine.named_parameters(), reference.named_parameters(), strict=True):
        assert_close(a, b, dtype, name)


def assert_same_state(mine, reference, dtype: str = "float64") -> None:
    a, b = mine.state_dict(), reference.state_dict()
    assert a.keys() == b.keys()
    assert a["param_groups"] == b["param_groups"]
    assert a["state"].keys() == b["state"].keys()
    for number, values in b["state"].items():
        assert a["state"][number].keys() == values.keys()
        for key, value in values.items():
            assert_close(a["state"][number][key], value, "float32" if key == "step" else dtype, key)


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else repr(v))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_twenty_steps(name: str, options: dict, dtype: str) -> None:
    mine, reference = pair(dtype)
    ours = getattr(dumbtorch.optim, name)(mine.parameters(), **options)
    theirs = getattr(torch.optim, name)(reference.parameters(), **options)
    assert repr(ours) == repr(theirs)
    train(dumbtorch, mine, ours, 20, dtype=dtype)
    train(torch, reference, theirs, 20, dtype=dtype)
    assert_same_weights(mine, reference, dtype)
    assert_same_state(ours, theirs, dtype)


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs(line_search: str | None) -> None:
    mine, reference = pair()
    options = {"lr": 0.5, "max_iter": 6, "history_size": 3, "line_search_fn": line_search}
    losses = []
    for T, net in ((dumbtorch, mine), (torch, reference)):
        optimizer = T.optim.LBFGS(net.parameters(), **options)
        x, y = (tensor_of(T, random((16, n), i)) for i, n in enumerate((6, 3)))

        def closure(T=T, net=net, x=x, y=y, optimizer=optimizer):
            optimizer.zero_grad()
            loss = T.nn.functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        losses.append([optimizer.step(closure).item() for _ in range(4)])
        losses[-1].append(optimizer.state_dict()["state"][0]["func_evals"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-8)
    assert losses[0][3] < losses[0][0]
    assert_same_weights(mine, reference)


@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False, "momentum": 0.5}, {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0}]
)
def test_muon(options: dict) -> None:
    # the iteration runs in bfloat16: its rounding is what the two may differ by
    start, grads = random((12, 7), 1), [random((12, 7), 2 + i) for i in range(5)]
    param, theirs = dumbtorch.nn.Parameter(tensor_of(dumbtorch, start)), torch.nn.Parameter(tensor_of(torch, start))
    ours, reference = dumbtorch.optim.Muon([param], lr=0.02, **options), torch.optim.Muon([theirs], lr=0.02, **options)
    assert repr(ours) == repr(reference)
    for grad in grads:
        param.grad, theirs.grad = tensor_of(dumbtorch, grad), tensor_of(torch, grad)
        ours.step()
        reference.step()
    np.testing.assert_allclose(as_numpy(param), as_numpy(theirs), atol=2e-3)
    assert_same_state(ours, reference)
    with pytest.raises(ValueError, match="2D parameters"):
        dumbtorch.optim.Muon([dumbtorch.nn.Parameter(dumbtorch.ones(3))])


@pytest.mark.parametrize("name", ["RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD"])
def test_a_recorded_step_is_the_fused_one(name: str) -> None:
    start, grads = random((3, 4), 1), [random((3, 4), 2 + i) for i in range(6)]
    fused = dumbtorch.nn.Parameter(tensor_of(dumbtorch, start))
    recorded = tensor_of(dumbtorch, start).requires_grad_().clone()
    scale = dumbtorch.ones((), dtype=dumbtorch.float64, requires_grad=True)
    make = getattr(dumbtorch.optim, name)
    ours, theirs = make([fused], lr=0.05), make([recorded], lr=0.05, differentiable=True)
    for grad in grads:
        fused.grad = tensor_of(dumbtorch, grad)
        recorded.grad = tensor_of(dumbtorch, grad) * scale
        ours.step()
        theirs.step()
    np.testing.assert_allclose(as_numpy(recorded), as_numpy(fused), rtol=1e-9)
    recorded.sum().backward()
    assert scale.grad is not None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("name", "options"), [("SGD", {"lr": 0.1, "momentum": 0.9}), ("AdamW", {"lr": 0.01})])
def test_half_types(name: str, options: dict, dtype: str) -> None:
    # A step in a half type rounds as it likes; it must stay near the step in float64.
    start, grads = random((64,), 1), [random((64,), 2 + i) for i in range(5)]
    param = dumbtorch.nn.Parameter(tensor_of(dumbtorch, start).to(getattr(dumbtorch, dtype)))
    exact = torch.nn.Parameter(tensor_of(torch, start))
    ours = getattr(dumbtorch.optim, name)([param], **options)
    theirs = getattr(torch.optim, name)([exact], **options)
    for grad in grads:
        param.grad = tensor_of(dumbtorch, grad).to(getattr(dumbtorch, dtype))
        exact.grad = tensor_of(torch, grad)
        ours.step()
        theirs.step()
    assert str(param.dtype).endswith(dtype)
    rough = {"float16": 0.01, "bfloat16": 0.08}[dtype]
    np.testing.assert_allclose(as_numpy(param.double()), as_numpy(exact), atol=rough, rtol=rough)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_groups_with_their_own_options(name: str) -> None:
    mine, reference = pair()

    def build(T, net):
        extra = {"momentum": 0.9} if name == "SGD" else {"betas": (0.8, 0.9)}
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].weight, "weight_decay": 0.2, **extra}]
        optimizer = getattr(T.optim, name)(groups, lr=0.01)
        optimizer.add_param_group({"params": list(net[3].named_parameters())[0][1]})
        return optimizer

    ours, theirs = build(dumbtorch, mine), build(torch, reference)
    assert repr(ours) == repr(theirs)
    train(dumbtorch, mine, ours, 10)
    train(torch, reference, theirs, 10)
    assert_same_weights(mine, reference)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_parameters_that_join_late_or_pause(name: str) -> None:
    mine, reference = pair()
    options = {"lr": 0.05, "momentum": 0.9} if name == "SGD" else {"lr": 0.05}
    ours = getattr(dumbtorch.optim, name)(mine.parameters(), **options)
    theirs = getattr(torch.optim, name)(reference.parameters(), **options)
    for step in range(8):
        for T, net, optimizer in ((dumbtorch, mine, ours), (torch, reference, theirs)):
            optimizer.zero_grad()
            net(tensor_of(T, random((4, 6), step))).sum().backward()
            if step < 3 or step == 6:
                net[0].weight.grad = None
            if step == 5:
                net[3].bias.grad = None
            optimizer.step()
    assert_same_weights(mine, reference)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize(("name", "options"), CASES[::4], ids=lambda v: v if isinstance(v, str) else repr(v))
def test_state_dict_resumes_exactly(name: str, options: dict) -> None:
    mine, twin = pair()[0], model(dumbtorch)
    first = getattr(dumbtorch.optim, name)(mine.parameters(), **options)
    train(dumbtorch, mine, first, 5)
    twin.load_state_dict(mine.state_dict())
    second = getattr(dumbtorch.optim, name)(twin.parameters(), lr=9.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(dumbtorch, mine, first, 5, start=5)
    train(dumbtorch, twin, second, 5, start=5)
    for a, b in zip(mine.parameters(), twin.parameters(), strict=True):
        assert (as_numpy(a) == as_numpy(b)).all()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_state_of_pytorch_can_be_taken_over(name: str) -> None:
    mine, reference = pair()
    options = {"lr": 0.05, "momentum": 0.9} if name == "SGD" else {"lr": 0.05, "amsgrad": True}
    theirs = getattr(torch.optim, name)(reference.parameters(), **options)
    train(torch, reference, theirs, 5)
    copy_state(mine, reference)
    state = theirs.state_dict()
    state["state"] = {
        number: {key: tensor_of(dumbtorch, as_numpy(value)) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    ours = getattr(dumbtorch.optim, name)(mine.parameters())
    ours.load_state_dict(state)
    train(dumbtorch, mine, ours, 5, start=5)
    train(torch, reference, theirs, 5, start=5)
    assert_same_weights(mine, reference)
    assert_same_state(ours, theirs)


def test_step_counts_that_are_numbers_become_tensors() -> None:
    def scenario(T):
        p = T.nn.Parameter(T.ones(1))
        optimizer = T.optim.Adam([p])
        p.grad = T.ones(1)
        optimizer.step()
        state = optimizer.state_dict()
        state["state"][0]["step"] = 7
        optimizer.load_state_dict(state)
        return optimizer.state_dict()["state"][0]["step"].item(), [round(v, 6) for v in p.tolist()]

    assert scenario(dumbtorch) == scenario(torch)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_lr_as_a_tensor(name: str) -> None:
    mine, reference = pair()
    ours = getattr(dumbtorch.optim, name)(mine.parameters(), lr=dumbtorch.tensor(0.05))
    theirs = getattr(torch.optim, name)(reference.parameters(), lr=torch.tensor(0.05))
    for T, net, optimizer in ((dumbtorch, mine, ours), (torch, reference, theirs)):
        train(T, net, optimizer, 3)
        optimizer.param_groups[0]["lr"].fill_(0.01)
        train(T, net, optimizer, 3, start=3)
    assert_same_weights(mine, reference, "float32")


def test_betas_as_tensors() -> None:
    mine, reference = pair()
    for T, net in ((dumbtorch, mine), (torch, reference)):
        betas = T.tensor(0.5, dtype=T.float64), T.tensor(0.75, dtype=T.float64)
        train(T, net, T.optim.Adam(net.parameters(), lr=0.05, betas=betas), 5)
    assert_same_weights(mine, reference, "float32")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "maximize": True}),
        ("Adam", {"weight_decay": 0.1}),
        ("AdamW", {"maximize": True}),
    ],
)
def test_differentiable_step(name: str, options: dict) -> None:
    """Two steps recorded; the gradient of what they lead to with respect to the start and the gradients."""
    start, g1, g2 = (np.abs(random((5,), i)) + 0.5 for i in range(3))

    def gradients(T):
        leaves = [tensor_of(T, a, grad=True) for a in (start, g1, g2)]
        param = leaves[0].clone()
        optimizer = getattr(T.optim, name)([param], lr=0.1, differentiable=True, **options)
        for grad in leaves[1:]:
            param.grad = grad * grad
            optimizer.step()
        (param**2).sum().backward()
        return [param, *(leaf.grad for leaf in leaves)]

    for mine, reference in zip(gradients(dumbtorch), gradients(torch), strict=True):
        # PyTorch's Adam corrects its averages in float32 here.
        assert_close(mine, reference, "float64") if name == "SGD" else np.testing.assert_allclose(
            as_numpy(mine), as_numpy(reference), rtol=1e-4
        )


def test_strided_and_empty_parameters() -> None:
    for name in ("SGD", "Adam"):
        results = []
        for T in (dumbtorch, torch):
            base = tensor_of(T, random((6, 8), 1))
            params = [T.nn.Parameter(base.t()), T.nn.Parameter(T.zeros(0, 3, dtype=T.float64))]
            params.append(T.nn.Parameter(tensor_of(T, np.array(2.0))))
            optimizer = getattr(T.optim, name)(params, lr=0.1, weight_decay=0.01)
            for step in range(3):
                params[0].grad = tensor_of(T, random((8, 6), 10 + step))
                params[1].grad = T.zeros(0, 3, dtype=T.float64)
                params[2].grad = tensor_of(T, np.array(0.5))
                optimizer.step()
            results.append(params)
        for a, b in zip(*results, strict=True):
            assert_close(a, b)


def test_parameters_of_several_dtypes_in_one_group() -> None:
    for name, options in (("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("AdamW", {})):
        results = []
        for T in (dumbtorch, torch):
            params = [T.nn.Parameter(T.ones(3, dtype=kind)) for kind in (T.float32, T.float64, T.float32)]
            optimizer = getattr(T.optim, name)(params, lr=0.1, **options)
            for _ in range(2):
                for factor, param in enumerate(params, 1):
                    param.grad = factor * param.detach()
                optimizer.step()
            results.append(params)
        for a, b in zip(*results, strict=True):
            assert_close(a, b, as_numpy(a).dtype.name)


def test_step_bumps_the_version_of_what_it_writes() -> None:
    param = dumbtorch.nn.Parameter(dumbtorch.ones(3))
    loss = (param * param).sum()
    param.grad = dumbtorch.ones(3)
    dumbtorch.optim.SGD([param], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_closure_runs_with_gradients() -> None:
    def scenario(T):
        p = T.nn.Parameter(T.tensor([2.0]))
        optimizer = T.optim.SGD([p], lr=0.25)

        def closure():
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            return loss

        with T.no_grad():
            return optimizer.step(closure).item(), p.tolist()

    assert scenario(dumbtorch) == scenario(torch)


def test_non_finite_gradients_pass_through() -> None:
    bad = np.array([np.nan, np.inf, -np.inf, 1.0])
    for (name, options), maximize in itertools.product([("SGD", {"momentum": 0.9}), ("Adam", {})], [False, True]):
        results = []
        for T in (dumbtorch, torch):
            p = T.nn.Parameter(T.ones(4, dtype=T.float64))
            p.grad = tensor_of(T, bad)
            optimizer = getattr(T.optim, name)([p], lr=0.1, maximize=maximize, **options)
            optimizer.step()
            results.append(p)
        assert_close(*results)
