"""Forward mode on the first samples of every op of PyTorch's database; `opinfo --forward --all` runs all of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance import opinfo, opinfo_forward

#: Samples of each op: all of them take ten times as long.
LIMIT = 4
ENTRIES = {info.formatted_name: info for info in opinfo.entries(everything=True) if opinfo_forward.wanted(info)}
EXPECTED = opinfo.expected(opinfo_forward.EXPECTED)


@pytest.mark.filterwarnings("ignore")  # what PyTorch's own samples use is deprecated here and there
@pytest.mark.parametrize("name", sorted(set(ENTRIES) - set(EXPECTED)))
def test_tangents(name: str) -> None:
    """The tangents are PyTorch's."""
    info: Any = ENTRIES[name]
    result = opinfo_forward.run_op(info, LIMIT)
    assert not result.failed, f"{name}: {result.failed} of {result.passed + result.failed}: {result.first}"


def test_the_list_names_ops() -> None:
    """Each line of the list names an op of the database and gives a reason."""
    for name, reason in EXPECTED.items():
        assert name in ENTRIES and len(reason) > 10, name
