"""Examples in docstrings that state a result give it; the others are at least Python."""

from __future__ import annotations

import builtins
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import dumbtorch
from dumbtorch import distributions, nn, ops, optim

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(dumbtorch.__path__, "dumbtorch.")
    if "._C" not in module.name and not module.name.endswith("__main__")
)


def names(module: object) -> dict[str, object]:
    """What an example may use without making it: its module's names, the package's, and a small network."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    tools = {"torch": dumbtorch, "dumbtorch": dumbtorch, "nn": nn, "optim": optim, "F": nn.functional}
    made = {"model": model, "optimizer": optim.SGD(model.parameters(), lr=0.1)}
    known = {**ops.FUNCTIONS, **vars(distributions), **vars(dumbtorch), **vars(module)}
    # range and sum are Python's
    return {name: value for name, value in known.items() if not hasattr(builtins, name)} | tools | made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names(module)):
        if any(example.want for example in test.examples):
            runner.run(test, out=said.append)
        for example in test.examples:
            compile(example.source, test.name, "single")
    assert not runner.failures, "".join(said)


def test_there_are_examples() -> None:
    found = [test for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) > 100
