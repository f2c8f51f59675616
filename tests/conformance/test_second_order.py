"""The first sample of every row: its second derivative and its forward mode; `second_order` runs all of them."""

from __future__ import annotations

import pytest

from tests.conformance import second_order


@pytest.mark.parametrize("name", second_order.rows())
def test_first_sample(name: str) -> None:
    """The derivatives are those of differences, but where the list says otherwise."""
    for forward in (False, True):
        if name not in second_order.expected(forward):
            assert not second_order.run(name, forward, 1)


@pytest.mark.parametrize("forward", [False, True])
def test_the_list_names_rows(forward: bool) -> None:
    """Each line names a row and gives a reason."""
    for name, reason in second_order.expected(forward).items():
        assert name in second_order.rows() and len(reason) > 10
