"""Module: registration, state dicts, hooks, conversion, printing. Each scenario runs on both libraries."""

from __future__ import annotations

import copy
import functools
import pickle
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, neutral, same_outcome


def net(T):
    class Block(T.nn.Module):
        def __init__(self, size):
            super().__init__()
            self.first = T.nn.Linear(size, 3)
            self.act = T.nn.ReLU()
            self.register_buffer("count", T.zeros(2))
            self.register_buffer("scratch", T.ones(1), persistent=False)
            self.absent = None
            self.register_parameter("none", None)

        def forward(self, x):
            return self.act(self.first(x)) + self.count.sum()

    class Net(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(4)
            self.layers = T.nn.ModuleList([T.nn.Linear(3, 3), T.nn.Linear(3, 3)])
            self.scale = T.nn.Parameter(T.ones(3))
            self.shared = self.block.first

        def forward(self, x):
            x = self.block(x)
            for layer in self.layers:
                x = layer(x)
            return x * self.scale

    return Net()


@pytest.mark.parametrize(
    "look",
    [
        lambda m: [n for n, _ in m.named_parameters()],
        lambda m: [n for n, _ in m.named_parameters(recurse=False)],
        lambda m: [n for n, _ in m.named_parameters(prefix="p", remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_buffers()],
        lambda m: [(n, type(v).__name__) for n, v in m.named_modules()],
        lambda m: [(n, type(v).__name__) for n, v in m.named_modules(prefix="q", remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_children()],
        lambda m: len(list(m.modules())),
        lambda m: len(list(m.parameters())),
        lambda m: len(list(m.buffers())),
        lambda m: list(m.state_dict()),
        lambda m: list(m.state_dict(prefix="a.b.")),
        lambda m: {k: dict(v) for k, v in m.state_dict()._metadata.items()},
        lambda m: [(v.requires_grad, type(v).__name__) for v in m.state_dict().values()],
        lambda m: [(v.requires_grad, type(v).__name__) for v in m.state_dict(keep_vars=True).values()],
        repr,
        lambda m: [n for n in dir(m) if n in ("block", "scale", "layers", "shared", "training", "forward")],
        lambda m: m.get_submodule("block.first").in_features,
        lambda m: m.get_submodule("") is m,
        lambda m: m.get_submodule("block.other"),
        lambda m: m.get_submodule("block.count"),
        lambda m: tuple(m.get_parameter("block.first.weight").shape),
        lambda m: m.get_parameter("block.count"),
        lambda m: m.get_parameter("block.first.wheel"),
        lambda m: tuple(m.get_buffer("block.count").shape),
        lambda m: m.get_buffer("block.first.weight"),
        lambda m: m.block.nothing,
        lambda m: m.block.absent,
        lambda m: m.block.none,
        lambda m: m.train("yes"),
        lambda m: [x.training for x in m.eval().modules()],
        lambda m: [p.requires_grad for p in m.requires_grad_(False).parameters()],
        lambda m: m.half().block.first.weight.element_size(),
        lambda m: hasattr(m, "extra_repr") and m.extra_repr(),
    ],
)
def test_looking_at_a_module(look) -> None:
    same_outcome(lambda T: look(net(T)))


def change(T, action):
    m = net(T)
    action(T, m)
    return (
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_buffers()],
        list(m._modules),
        list(m.state_dict()),
    )


@pytest.mark.parametrize(
    "action",
    [
        lambda T, m: setattr(m, "extra", T.nn.Parameter(T.zeros(1))),
        lambda T, m: setattr(m, "scale", None),
        lambda T, m: setattr(m, "scale", 3),
        lambda T, m: setattr(m, "scale", T.zeros(2)),
        lambda T, m: setattr(m, "scale", T.nn.Linear(1, 1)),
        lambda T, m: setattr(m, "block", None),
        lambda T, m: setattr(m, "block", 5),
        lambda T, m: setattr(m, "block", T.nn.Parameter(T.zeros(1))),
        lambda T, m: setattr(m.block, "count", T.ones(5)),
        lambda T, m: setattr(m.block, "count", None),
        lambda T, m: setattr(m.block, "count", "text"),
        lambda T, m: setattr(m.block, "count", T.nn.Parameter(T.zeros(1))),
        lambda T, m: setattr(m.block, "scratch", T.zeros(3)),
        lambda T, m: setattr(m, "kept", T.nn.Buffer(T.zeros(1))),
        lambda T, m: setattr(m, "lost", T.nn.Buffer(T.zeros(1), persistent=False)),
        lambda T, m: setattr(m, "plain", T.zeros(1)),
        lambda T, m: delattr(m, "scale"),
        lambda T, m: delattr(m, "block"),
        lambda T, m: delattr(m.block, "count"),
        lambda T, m: delattr(m, "unknown"),
        lambda T, m: m.register_buffer("a.b", T.zeros(1)),
        lambda T, m: m.register_buffer("", T.zeros(1)),
        lambda T, m: m.register_buffer("scale", T.zeros(1)),
        lambda T, m: m.register_buffer(3, T.zeros(1)),
        lambda T, m: m.register_buffer("b", "text"),
        lambda T, m: m.register_parameter("a.b", None),
        lambda T, m: m.register_parameter("", None),
        lambda T, m: m.register_parameter("block", None),
        lambda T, m: m.register_parameter("w", T.zeros(1)),
        lambda T, m: m.register_parameter("w", 3),
        lambda T, m: m.add_module("a.b", T.nn.ReLU()),
        lambda T, m: m.add_module("", T.nn.ReLU()),
        lambda T, m: m.add_module("scale", T.nn.ReLU()),
        lambda T, m: m.add_module("r", 3),
        lambda T, m: m.add_module(3, T.nn.ReLU()),
        lambda T, m: m.register_module("r", T.nn.ReLU()),
        lambda T, m: m.set_submodule("block.act", T.nn.Tanh()),
        lambda T, m: m.set_submodule("block.new", T.nn.Linear(1, 1)),
        lambda T, m: m.set_submodule("block.new", T.nn.Linear(1, 1), strict=True),
        lambda T, m: m.set_submodule("block.count", T.nn.Linear(1, 1)),
        lambda T, m: m.set_submodule("", T.nn.Linear(1, 1)),
    ],
)
def test_changing_a_module(action) -> None:
    same_outcome(lambda T: change(T, action), message=True)


def test_assigning_before_init() -> None:
    def assign(value):
        def scenario(T):
            class Early(T.nn.Module):
                def __init__(self):
                    self.x = value(T)

            Early()

        return scenario

    same_outcome(assign(lambda T: T.nn.Parameter(T.zeros(1))))
    same_outcome(assign(lambda T: T.nn.Linear(1, 1)))


def test_constructor_arguments() -> None:
    same_outcome(lambda T: T.nn.Module(1), message=False)
    same_outcome(lambda T: T.nn.Module(a=1))


def test_forward_must_be_defined() -> None:
    same_outcome(lambda T: T.nn.Module()(1))


def test_non_leaf_parameter_is_refused() -> None:
    def scenario(T):
        m = T.nn.Module()
        grown = T.nn.Parameter(T.ones(1)) * 2
        m.register_parameter("w", grown)

    same_outcome(scenario)


# -- state dicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        lambda T, s: None,
        lambda T, s: s.pop("scale"),
        lambda T, s: (s.pop("scale"), s.pop("block.count")),
        lambda T, s: s.update(extra=T.zeros(1)),
        lambda T, s: s.update({"block.first.extra": T.zeros(1), "block.other.w": T.zeros(1)}),
        lambda T, s: s.update(scale=T.zeros(4)),
        lambda T, s: s.update({"scale": T.zeros(2, 3), "more": T.zeros(1), "block.count": T.zeros(3)}),
        lambda T, s: s.update(scale=[1, 2, 3]),
        lambda T, s: s.clear(),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_loading_reports_as_pytorch_does(edit, strict) -> None:
    def scenario(T):
        m = net(T)
        state = OrderedDict(m.state_dict())
        edit(T, state)
        try:
            return repr(m.load_state_dict(state, strict=strict))
        except RuntimeError as error:
            return neutral(str(error))

    assert scenario(dumbtorch) == scenario(torch)


def test_loading_copies_in_place_and_assign_takes_the_tensors() -> None:
    def scenario(T):
        m, other = T.nn.Linear(2, 2), T.nn.Linear(2, 2).double()
        weight = m.weight
        m.load_state_dict(other.state_dict())
        copied = m.weight is weight, bool((m.weight == other.weight.float()).all()), m.weight.element_size()
        m.load_state_dict(other.state_dict(), assign=True)
        assigned = m.weight is weight, m.weight.element_size(), type(m.weight).__name__, m.weight.requires_grad
        return copied, assigned

    same_outcome(scenario)


def test_loading_needs_a_mapping() -> None:
    same_outcome(lambda T: T.nn.Linear(1, 1).load_state_dict([1]))


def test_state_dict_shares_memory() -> None:
    m = dumbtorch.nn.Linear(2, 2)
    state = m.state_dict()
    with dumbtorch.no_grad():
        m.weight.fill_(3)
    assert as_numpy(state["weight"]).tolist() == [[3, 3], [3, 3]]


def test_extra_state() -> None:
    def scenario(T):
        class Counted(T.nn.Module):
            def __init__(self):
                super().__init__()
                self.n = 0

            def get_extra_state(self):
                return {"n": self.n}

            def set_extra_state(self, state):
                self.n = state["n"]

        m, other = Counted(), Counted()
        m.n = 5
        other.load_state_dict(m.state_dict())
        missing = other.load_state_dict({}, strict=False)
        unexpected = T.nn.ReLU().load_state_dict({"_extra_state": 1}, strict=False)
        return list(m.state_dict()), other.n, missing.missing_keys, unexpected.unexpected_keys

    same_outcome(scenario)


def test_state_dict_hooks() -> None:
    def scenario(T):
        m = net(T)
        log = []
        m.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))

        def drop(mod, state, prefix, meta):
            state.pop("block.count")
            log.append(("post", prefix, dict(meta)))

        m.block.register_state_dict_post_hook(drop)
        state = m.state_dict()
        m.register_load_state_dict_pre_hook(
            lambda mod, state, prefix, meta, strict, missing, unexpected, errors: state.update(
                {"block.count": T.ones(2)}
            )
        )
        m.register_load_state_dict_post_hook(lambda mod, keys: log.append(("loaded", list(keys.missing_keys))))
        m.load_state_dict(state)
        return log, list(state), m.block.count.tolist()

    same_outcome(scenario)


def test_post_hook_may_not_replace_the_state_dict() -> None:
    def scenario(T):
        m = T.nn.Linear(1, 1)
        m.register_state_dict_post_hook(lambda *a: {})
        m.state_dict()

    same_outcome(scenario)


# -- calling and hooks ---------------------------------------------------------------------------------------------


def test_forward_hooks_in_order_and_with_replacement() -> None:
    def scenario(T):
        m = T.nn.Identity()
        log = []
        m.register_forward_pre_hook(lambda mod, args: log.append(("pre", len(args))) or (args[0] + 1,))
        m.register_forward_pre_hook(lambda mod, args: args[0] * 2, prepend=True)
        m.register_forward_hook(lambda mod, args, out: log.append(("post", out.tolist())) or out * 10)
        m.register_forward_hook(lambda mod, args, kw, out: log.append((sorted(kw), out.tolist())), with_kwargs=True)
        handle = m.register_forward_hook(lambda mod, args, out: out + 1)
        first = m(T.tensor([1.0])).tolist()
        handle.remove()
        handle.remove()
        return first, m(T.tensor([1.0])).tolist(), log

    same_outcome(scenario)


def test_hooks_with_keywords() -> None:
    def scenario(T):
        class Scaled(T.nn.Module):
            def forward(self, x, factor=1.0):
                return x * factor

        m = Scaled()
        m.register_forward_pre_hook(lambda mod, a, k: (a, {"factor": k["factor"] + 1}), with_kwargs=True)
        return m(T.tensor([3.0]), factor=2.0).tolist()

    same_outcome(scenario)


def test_pre_hook_with_keywords_must_return_a_pair() -> None:
    def scenario(T):
        m = T.nn.Identity()
        m.register_forward_pre_hook(lambda mod, a, k: 5, with_kwargs=True)
        m(T.zeros(1))

    same_outcome(scenario)


def test_always_called_hook_runs_after_an_error() -> None:
    def scenario(T):
        class Broken(T.nn.Module):
            def forward(self, x):
                raise ValueError("broken")

        m = Broken()
        log = []
        m.register_forward_hook(lambda mod, args, out: log.append(("always", out)), always_call=True)
        m.register_forward_hook(lambda mod, args, out: log.append("never"))
        try:
            m(1)
        except ValueError as error:
            log.append(str(error))
        return log

    same_outcome(scenario)


def test_handle_as_context() -> None:
    def scenario(T):
        m = T.nn.Identity()
        with m.register_forward_hook(lambda mod, args, out: out + 1):
            inside = m(T.zeros(1)).tolist()
        return inside, m(T.zeros(1)).tolist()

    same_outcome(scenario)


def test_global_hooks() -> None:
    def scenario(T):
        log = []
        where = T.nn.modules.module
        handles = [
            where.register_module_forward_pre_hook(lambda mod, args: log.append("pre")),
            where.register_module_forward_hook(lambda mod, args, out: log.append("post")),
            where.register_module_parameter_registration_hook(lambda mod, name, p: log.append(name)),
            where.register_module_module_registration_hook(lambda mod, name, p: log.append(name)),
            where.register_module_buffer_registration_hook(lambda mod, name, p: log.append(name)),
        ]
        try:
            m = T.nn.Sequential(T.nn.Linear(1, 1))
            m.register_buffer("b", T.zeros(1))
            m(T.zeros(1, 1))
        finally:
            for handle in handles:
                handle.remove()
        m(T.zeros(1, 1))
        return log

    same_outcome(scenario)


def test_backward_hooks_see_and_replace_gradients() -> None:
    def scenario(T):
        m = T.nn.Linear(2, 1, bias=False)
        with T.no_grad():
            m.weight.copy_(T.tensor([[2.0, 3.0]]))
        log = []
        m.register_full_backward_pre_hook(lambda mod, g: log.append(("pre", g[0].tolist())) or (g[0] * 2,))
        m.register_full_backward_hook(lambda mod, gi, go: log.append((gi[0].tolist(), go[0].tolist())) or (gi[0] * 10,))
        x = T.tensor([[1.0, 1.0]], requires_grad=True)
        m(x).sum().backward()
        return log, x.grad.tolist(), m.weight.grad.tolist()

    same_outcome(scenario)


def test_backward_hook_without_an_input_gradient() -> None:
    def scenario(T):
        m = T.nn.Linear(2, 1)
        log = []
        m.register_full_backward_hook(lambda mod, gi, go: log.append((gi, go[0].tolist())))
        m(T.ones(1, 2)).sum().backward()
        m.eval()
        with T.no_grad():
            m(T.ones(1, 2))
        return log

    same_outcome(scenario)


def test_backward_hook_of_several_inputs_and_outputs() -> None:
    def scenario(T):
        class Pair(T.nn.Module):
            def forward(self, x, n, y):
                return x * n, "text", y + 1

        m = Pair()
        log = []
        m.register_full_backward_hook(
            lambda mod, gi, go: log.append([None if g is None else g.tolist() for g in (*gi, *go)])
        )
        x, y = T.ones(2, requires_grad=True), T.ones(2)
        a, _, b = m(x, 3, y)
        (a.sum() + b.sum()).backward()
        return log, x.grad.tolist()

    same_outcome(scenario)


# -- conversion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda T, m: m.double(),
        lambda T, m: m.half(),
        lambda T, m: m.bfloat16(),
        lambda T, m: m.double().float(),
        lambda T, m: m.to(T.float64),
        lambda T, m: m.to("cpu", T.float16),
        lambda T, m: m.to(device="cpu", dtype=T.float64, non_blocking=True),
        lambda T, m: m.to(T.zeros(1, dtype=T.float64)),
        lambda T, m: m.to(T.device("cpu")),
        lambda T, m: m.cpu(),
        lambda T, m: m.type(T.float64),
        lambda T, m: m.to(T.int32),
        lambda T, m: m.to(nonsense=1),
        lambda T, m: m.to_empty(device="cpu"),
    ],
)
def test_conversion(convert) -> None:
    def scenario(T):
        m = T.nn.Linear(2, 2)
        m.register_buffer("whole", T.zeros(1, dtype=T.int64))
        m.register_buffer("real", T.zeros(1))
        m(T.ones(1, 2)).sum().backward()
        weight = m.weight
        returned = convert(T, m)
        kinds = [str(t.dtype).split(".")[1] for t in (m.weight, m.bias, m.whole, m.real, m.weight.grad)]
        return returned is m, m.weight is weight, kinds, m.weight.requires_grad, m.weight.grad.requires_grad

    # The words for an unknown keyword are PyTorch's argument parser's.
    same_outcome(scenario, message=False)


def test_apply_visits_children_first() -> None:
    def scenario(T):
        log = []
        net(T).apply(lambda m: log.append(type(m).__name__))
        return log

    same_outcome(scenario)


def test_zero_grad() -> None:
    def scenario(T):
        m = T.nn.Linear(2, 1)
        m(T.ones(1, 2)).sum().backward()
        m.zero_grad(set_to_none=False)
        zeros = m.weight.grad.tolist()
        m.zero_grad()
        return zeros, m.weight.grad

    same_outcome(scenario)


def test_deepcopy_and_pickle_keep_values_and_ties() -> None:
    m = dumbtorch.nn.Sequential(dumbtorch.nn.Linear(2, 2), dumbtorch.nn.Tanh(), dumbtorch.nn.Embedding(3, 2))
    m.add_module("tied", m[0])
    m[0].register_forward_hook(repr)
    m[2].weight.requires_grad_(False)
    m[0].register_buffer("state", dumbtorch.nn.Buffer(dumbtorch.ones(2), persistent=False))
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert repr(other) == repr(m)
        assert other.tied is other[0]
        assert other[0].weight is not m[0].weight
        assert isinstance(other[0].weight, dumbtorch.nn.Parameter)
        assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in m.parameters()]
        for a, b in zip(other.parameters(), m.parameters(), strict=True):
            assert (as_numpy(a) == as_numpy(b)).all()
        with dumbtorch.no_grad():
            other[0].weight.fill_(9)
        assert not (as_numpy(m[0].weight) == 9).any()
        assert isinstance(other[0].state, dumbtorch.nn.Buffer)
        assert other[0].state.persistent is False
        assert len(other[0]._forward_hooks) == 1


def test_parameter_copies() -> None:
    def scenario(T):
        p = T.nn.Parameter(T.tensor([1.0, 2.0]), requires_grad=False)
        twin = copy.deepcopy([p, p])
        back = pickle.loads(pickle.dumps(p))
        doubled = T.nn.Parameter(T.tensor([1.0])) * 2
        return (
            repr(p),
            repr(T.nn.Parameter(T.tensor([1.0]))),
            twin[0] is twin[1],
            type(twin[0]).__name__,
            back.tolist(),
            back.requires_grad,
            type(doubled).__name__,
            T.nn.Parameter().tolist(),
            T.nn.Parameter(T.ones(1)).is_leaf,
        )

    same_outcome(scenario)


def test_parameter_shares_memory_with_its_data() -> None:
    data = dumbtorch.zeros(3)
    param = dumbtorch.nn.Parameter(data)
    data[0] = 5
    assert param.tolist() == [5, 0, 0]


def test_a_freed_module_frees_its_parameters() -> None:
    import gc
    import weakref

    gc.disable()
    try:
        m = dumbtorch.nn.Sequential(dumbtorch.nn.Linear(3, 3), dumbtorch.nn.ReLU())
        m(dumbtorch.ones(1, 3)).sum().backward()
        gone = weakref.ref(m[0])
        del m
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous_format"])
def test_memory_formats_are_converted(memory_format: str) -> None:
    def strides(T: Any) -> Any:
        model = T.nn.Sequential(T.nn.Conv2d(3, 4, 2), T.nn.Linear(2, 2)).to(memory_format=T.channels_last)
        model = model.to(T.float64, memory_format=getattr(T, memory_format))
        return [(str(p.dtype), p.stride()) for p in model.parameters()]

    assert strides(dumbtorch) == strides(torch)


# ---------------------------------------------------------------- backward hooks of the older kind, and both frameworks


def _note(lines: list[str], *values: Any) -> None:
    lines.append(str(values))


def _both(snippet: str) -> None:
    """Prints the same under both frameworks, errors and warnings included."""
    results = []
    for framework in (dumbtorch, torch):
        lines: list[str] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                exec(snippet, {"torch": framework, "nn": framework.nn, "show": functools.partial(_note, lines)})
            except (RuntimeError, TypeError, AttributeError) as error:
                lines.append(type(error).__name__)
        results.append((lines, [w.category for w in caught]))
    assert results[0] == results[1]


_LINEAR = "m = nn.Linear(2, 2)\nx = torch.ones(1, 2, requires_grad=True)\n"


@pytest.mark.parametrize("snippet", [
    "m.register_backward_hook(lambda m, gi, go: show(len(gi), len(go)))\nm(x).sum().backward()",
    "m.register_backward_hook(lambda *a: None)\nm.register_full_backward_hook(lambda *a: None)",
    "m.register_full_backward_hook(lambda *a: None)\nm.register_backward_hook(lambda *a: None)",
    "h = m.register_backward_hook(lambda *a: show(1))\nh.remove()\nm(x).sum().backward()\nshow(m._backward_hooks)",
    "s = nn.Sequential(m, nn.Tanh())\ns.register_backward_hook(lambda m, gi, go: show(len(gi)))\ns(x).sum().backward()",
    "h = nn.modules.module.register_module_backward_hook(lambda m, gi, go: show(type(m).__name__))\n"
    "m(x).sum().backward()\nh.remove()\nm(x).sum().backward()",
    "m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))\nm(x).sum().backward()",
    "m.register_full_backward_pre_hook(lambda m, go: (go[0], go[0]))\nm(x).sum().backward()",
    "class D(nn.Module):\n    def forward(self, x): return {'a': x * 2, 'b': x}\nd = D()\n"
    "d.register_full_backward_hook(lambda m, gi, go: show(1))\nd(x)['b'].sum().backward()\nshow(x.grad.tolist())",
    "m.requires_grad_(False)\nm.register_full_backward_hook(lambda m, gi, go: show(gi))\nm(x.detach()).sum()",
    "show(m.dump_patches, repr(nn.Sequential(nn.ReLU()).state_dict()), m.T_destination.__name__)",
    "nn.Sequential(nn.ReLU)",
])  # fmt: skip
def test_hooks_as_in_pytorch(snippet: str) -> None:
    _both(_LINEAR + snippet)
