"""Containers, beside PyTorch: the same program on both, the same printed results."""

# ruff: noqa: E501 - a table of one-line programs
from __future__ import annotations

from collections import OrderedDict

import pytest

from tests.nn.support import same_outcome


def sequence(T):
    return T.nn.Sequential(T.nn.Linear(2, 3), T.nn.ReLU(), T.nn.Linear(3, 2), T.nn.Tanh())


def modules(T):
    return T.nn.ModuleList([T.nn.Linear(2, 2), T.nn.Linear(2, 2), T.nn.ReLU(), T.nn.Linear(2, 2)])


def table(T):
    return T.nn.ModuleDict({"b": T.nn.ReLU(), "a": T.nn.Linear(2, 2)})


def params(T):
    return T.nn.ParameterList([T.ones(2), T.nn.Parameter(T.zeros(1, 2)), "text", 5])


def named_params(T):
    return T.nn.ParameterDict({"b": T.ones(2), "a": T.zeros(()), "c": 3})


def after(make, *steps):
    """The container's repr, its own names and parameter names, once each step has run on it."""

    def scenario(T):
        box = [make(T)]
        results = []
        for step in steps:
            value = step(T, box)
            results.append(value if isinstance(value, int | str | list | bool | type(None)) else repr(value))
        return repr(box[0]), list(box[0]._modules), [n for n, _ in box[0].named_parameters()], results

    return scenario


def assign(T, box, value):
    box[0] = value


STEPS = {
    "sequential plain": after(sequence),
    "sequential named": after(lambda T: T.nn.Sequential(OrderedDict(a=T.nn.ReLU(), b=T.nn.Tanh())), lambda T, b: b[0].a),
    "sequential index": after(sequence, lambda T, b: b[0][-1], lambda T, b: b[0][1:3], lambda T, b: len(b[0])),
    "sequential index out": after(sequence, lambda T, b: b[0][4]),
    "sequential set": after(sequence, lambda T, b: b[0].__setitem__(1, T.nn.Sigmoid())),
    "sequential delete": after(sequence, lambda T, b: b[0].__delitem__(1)),
    "sequential delete slice": after(sequence, lambda T, b: b[0].__delitem__(slice(0, 3, 2))),
    "sequential append": after(sequence, lambda T, b: b[0].append(T.nn.GELU()) is b[0]),
    "sequential insert": after(sequence, lambda T, b: b[0].insert(1, T.nn.GELU()) is b[0]),
    "sequential insert back": after(sequence, lambda T, b: b[0].insert(-1, T.nn.GELU()) is b[0]),
    "sequential insert out": after(sequence, lambda T, b: b[0].insert(9, T.nn.GELU())),
    "sequential insert wrong": after(sequence, lambda T, b: b[0].insert(0, 3)),
    "sequential extend": after(sequence, lambda T, b: b[0].extend([T.nn.ELU()]) is b[0]),
    "sequential pop": after(sequence, lambda T, b: b[0].pop(0), lambda T, b: b[0].pop(-1)),
    "sequential add": after(sequence, lambda T, b: b[0] + T.nn.Sequential(T.nn.ReLU())),
    "sequential add wrong": after(sequence, lambda T, b: b[0] + [T.nn.ReLU()]),
    "sequential iadd": after(sequence, lambda T, b: b[0].__iadd__(T.nn.Sequential(T.nn.ReLU())) is b[0]),
    "sequential times": after(sequence, lambda T, b: b[0] * 2, lambda T, b: 2 * b[0]),
    "sequential itimes": after(sequence, lambda T, b: b[0].__imul__(2) is b[0]),
    "sequential times zero": after(sequence, lambda T, b: b[0] * 0),
    "sequential times text": after(sequence, lambda T, b: b[0] * "a"),
    "sequential iterates": after(sequence, lambda T, b: [type(m).__name__ for m in b[0]]),
    "sequential empty": after(lambda T: T.nn.Sequential(), lambda T, b: b[0](5)),
    "sequential nested": after(lambda T: T.nn.Sequential(sequence(T), sequence(T))),
    "list plain": after(modules, lambda T, b: len(b[0]), lambda T, b: [type(m).__name__ for m in b[0]]),
    "list empty": after(lambda T: T.nn.ModuleList()),
    "list of lists": after(lambda T: T.nn.ModuleList([modules(T), modules(T), sequence(T)])),
    "list index": after(modules, lambda T, b: b[0][-1], lambda T, b: b[0][1:], lambda T, b: b[0][0]),
    "list index out": after(modules, lambda T, b: b[0][-5]),
    "list set": after(modules, lambda T, b: b[0].__setitem__(-1, T.nn.Sigmoid())),
    "list delete": after(modules, lambda T, b: b[0].__delitem__(1), lambda T, b: b[0].__delitem__(slice(1, None))),
    "list append": after(modules, lambda T, b: b[0].append(T.nn.GELU()) is b[0]),
    "list append wrong": after(modules, lambda T, b: b[0].append(3)),
    "list insert": after(modules, lambda T, b: b[0].insert(1, T.nn.GELU())),
    "list extend": after(modules, lambda T, b: b[0].extend(modules(T)) is b[0]),
    "list extend wrong": after(modules, lambda T, b: b[0].extend(3)),
    "list add": after(modules, lambda T, b: b[0] + [T.nn.ReLU()]),
    "list iadd": after(modules, lambda T, b: assign(T, b, b[0].__iadd__([T.nn.ReLU()]))),
    "list pop": after(modules, lambda T, b: b[0].pop(1)),
    "list contains": after(modules, lambda T, b: b[0][0] in b[0]),
    "list call": after(modules, lambda T, b: b[0](1)),
    "dict plain": after(table, lambda T, b: list(b[0].keys()), lambda T, b: list(b[0]), lambda T, b: "a" in b[0]),
    "dict get": after(table, lambda T, b: b[0]["b"], lambda T, b: len(b[0]), lambda T, b: b[0].a),
    "dict missing": after(table, lambda T, b: b[0]["c"]),
    "dict set": after(table, lambda T, b: b[0].__setitem__("c", T.nn.Tanh())),
    "dict set wrong": after(table, lambda T, b: b[0].__setitem__("c", 3)),
    "dict delete": after(table, lambda T, b: b[0].__delitem__("b")),
    "dict pop": after(table, lambda T, b: b[0].pop("b"), lambda T, b: [type(m).__name__ for m in b[0].values()]),
    "dict clear": after(table, lambda T, b: b[0].clear()),
    "dict items": after(table, lambda T, b: [k for k, _ in b[0].items()]),
    "dict update pairs": after(table, lambda T, b: b[0].update([("z", T.nn.ELU()), ["y", T.nn.ReLU()]])),
    "dict update dict": after(table, lambda T, b: b[0].update(table(T))),
    "dict update wrong": after(table, lambda T, b: b[0].update(3)),
    "dict update short": after(table, lambda T, b: b[0].update([("a",)])),
    "parameter list plain": after(params, lambda T, b: len(b[0]), lambda T, b: [type(v).__name__ for v in b[0]]),
    "parameter list index": after(params, lambda T, b: b[0][-1], lambda T, b: b[0][1:3], lambda T, b: b[0][0].tolist()),
    "parameter list set": after(params, lambda T, b: b[0].__setitem__(0, T.zeros(5))),
    "parameter list append": after(params, lambda T, b: b[0].append(T.zeros(5)) is b[0]),
    "parameter list extend": after(params, lambda T, b: b[0].extend([T.zeros(5), 1]) is b[0]),
    "parameter list extend tensor": after(params, lambda T, b: b[0].extend(T.zeros(5))),
    "parameter list out": after(params, lambda T, b: b[0][7]),
    "parameter list iadd": after(params, lambda T, b: assign(T, b, b[0].__iadd__([T.zeros(2)]))),
    "parameter list call": after(params, lambda T, b: b[0](1)),
    "parameter dict plain": after(named_params, lambda T, b: list(b[0].keys()), lambda T, b: len(b[0])),
    "parameter dict get": after(named_params, lambda T, b: b[0]["a"].tolist(), lambda T, b: b[0].get("q", 7)),
    "parameter dict set": after(named_params, lambda T, b: b[0].__setitem__("z", T.zeros(2))),
    "parameter dict delete": after(named_params, lambda T, b: b[0].__delitem__("b")),
    "parameter dict pop": after(named_params, lambda T, b: b[0].pop("b").tolist(), lambda T, b: b[0].popitem()[0]),
    "parameter dict default": after(named_params, lambda T, b: b[0].setdefault("n", T.ones(1)).tolist()),
    "parameter dict copy": after(named_params, lambda T, b: list(b[0].copy()), lambda T, b: list(reversed(b[0]))),
    "parameter dict or": after(named_params, lambda T, b: list(b[0] | T.nn.ParameterDict({"d": T.ones(1)}))),
    "parameter dict ior": after(named_params, lambda T, b: assign(T, b, b[0].__ior__({"d": T.ones(1)}))),
    "parameter dict fromkeys": after(named_params, lambda T, b: list(b[0].fromkeys(["x", "y"], 1).values())),
    "parameter dict clear": after(named_params, lambda T, b: b[0].clear()),
    "parameter dict update": after(named_params, lambda T, b: b[0].update([("e", T.ones(1))])),
    "parameter dict update wrong": after(named_params, lambda T, b: b[0].update(3)),
    "parameter dict number": after(named_params, lambda T, b: b[0].__getitem__(3)),
    "parameter dict contains": after(named_params, lambda T, b: "a" in b[0], lambda T, b: "q" in b[0]),
    "parameter dict call": after(named_params, lambda T, b: b[0](1)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_container(name: str) -> None:
    # Words of errors that Python itself raises, or that advise, may differ.
    same_outcome(STEPS[name], message=False)


def test_sequential_runs_in_order() -> None:
    def scenario(T):
        m = T.nn.Sequential(T.nn.Flatten(), T.nn.Identity(), T.nn.ReLU())
        return m(T.tensor([[[-1.0, 2.0]]])).tolist()

    same_outcome(scenario)
