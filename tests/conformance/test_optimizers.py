"""Some samples of every optimizer of PyTorch's database; `python -m tests.conformance.optimizers` runs all of them."""

from __future__ import annotations

import pytest
from torch.testing._internal.common_optimizers import optim_db

import dumbtorch
from tests.conformance import optimizers, runner

ENTRIES = {info.optim_cls.__name__: info for info in optim_db}
EXPECTED = runner.listed(optimizers.EXPECTED)


@pytest.mark.parametrize("name", sorted(name for name in ENTRIES if hasattr(dumbtorch.optim, name)))
def test_samples(name: str) -> None:
    """Fifty steps, with the state dicts exchanged half way, are PyTorch's."""
    if name in EXPECTED or f"{name}.float32" in EXPECTED:
        pytest.skip(EXPECTED.get(name) or EXPECTED[f"{name}.float32"])
    result = optimizers.run_optimizer(ENTRIES[name], "float32", limit=2)
    assert not result.failed, f"{result.failed} of {result.passed + result.failed}: {result.first}"


@pytest.mark.parametrize("name", optimizers.SCHEDULES)
def test_schedules(name: str) -> None:
    """Fifty steps of every schedule are PyTorch's, with the state dicts exchanged half way."""
    result = optimizers.run_schedules(name)
    assert not result.failed, result.first


def test_the_list_names_entries() -> None:
    """Each line of the list names an optimizer or schedule and gives a reason."""
    for entry, reason in EXPECTED.items():
        assert entry.split(".")[0] in (*ENTRIES, *optimizers.SCHEDULES), f"{entry}: no such entry"
        assert len(reason) > 10, f"{entry}: why?"
