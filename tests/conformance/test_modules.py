"""The first samples of every module of PyTorch's database; `python -m tests.conformance.modules` runs all of them."""

from __future__ import annotations

import pytest

import dumbtorch
from tests.conformance import modules, runner

ENTRIES = {modules.name_of(info): info for info in modules.entries()}
#: Those that are there: `python -m tests.conformance.coverage` knows the others.
PRESENT = sorted(name for name in ENTRIES if hasattr(dumbtorch.nn, name))
EXPECTED = runner.listed(modules.EXPECTED)


@pytest.mark.parametrize("name", PRESENT)
def test_samples(name: str) -> None:
    """Forward, gradients and state are PyTorch's, but where the list says otherwise."""
    if name in EXPECTED or f"{name}.float32" in EXPECTED:
        pytest.skip(EXPECTED.get(name) or EXPECTED[f"{name}.float32"])
    result = modules.run_module(ENTRIES[name], "float32", limit=4)
    assert not result.failed, f"{result.failed} of {result.passed + result.failed}: {result.first}"


def test_the_list_names_modules() -> None:
    """Each line of the list names a module of the database and gives a reason."""
    for entry, reason in EXPECTED.items():
        assert entry.split(".")[0] in ENTRIES, f"{entry}: no such module"
        assert len(reason) > 10, f"{entry}: why?"
