"""The first samples of every op of PyTorch's database; `python -m tests.conformance.opinfo` runs all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.conformance import opinfo

#: Samples of each op and dtype: all of them take ten times as long.
LIMIT = 6
ENTRIES = {info.formatted_name: info for info in opinfo.entries()}
EXPECTED = opinfo.expected()


@pytest.mark.filterwarnings("ignore")  # what PyTorch's own samples use is deprecated here and there
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_samples(name: str) -> None:
    """Values, shapes, dtypes and gradients are PyTorch's, but where the list says otherwise."""
    info: Any = ENTRIES[name]
    for dtype in opinfo.DTYPES:
        if name in EXPECTED or f"{name}.{dtype}" in EXPECTED or not info.supports_dtype(getattr(torch, dtype), "cpu"):
            continue
        result = opinfo.run_op(info, dtype, LIMIT)
        assert not result.failed, f"{name} {dtype}: {result.failed} of {result.passed + result.failed}: {result.first}"


def test_the_list_names_ops() -> None:
    """Each line of the list names an op of the database and gives a reason."""
    for entry, reason in EXPECTED.items():
        name, _, dtype = entry.rpartition(".")
        assert entry in ENTRIES or (name in ENTRIES and dtype in (*opinfo.DTYPES, "error")), f"{entry}: no such op"
        assert len(reason) > 10, f"{entry}: why?"
