"""Windows of signals and Vandermonde matrices against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.ops.harness import listed

WINDOWS = ("hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window")


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str, periodic: bool) -> None:
    for n in (0, 1, 2, 7, 64):
        for dtype in ("float32", "float64"):
            mine = getattr(dumbtorch, name)(n, periodic, dtype=getattr(dumbtorch, dtype))
            its = getattr(torch, name)(n, periodic, dtype=getattr(torch, dtype))
            assert str(mine.dtype) == str(its.dtype)
            np.testing.assert_allclose(listed(mine), listed(its), atol=1e-6)


@pytest.mark.parametrize("name", WINDOWS)
def test_window_errors(name: str) -> None:
    for t in (dumbtorch, torch):
        with pytest.raises(RuntimeError):
            getattr(t, name)(-1)
        with pytest.raises(RuntimeError):
            getattr(t, name)(4, dtype=t.int64)


def test_other_window_settings() -> None:
    for t in (dumbtorch, torch):
        assert t.hann_window(4, requires_grad=True).requires_grad
    np.testing.assert_allclose(
        listed(dumbtorch.hamming_window(8, True, 0.5, 0.4)), listed(torch.hamming_window(8, True, 0.5, 0.4)), atol=1e-6
    )
    np.testing.assert_allclose(
        listed(dumbtorch.kaiser_window(8, False, 5.0)), listed(torch.kaiser_window(8, False, 5.0)), atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_vander(dtype: str) -> None:
    def made(t: Any) -> Any:
        return t.tensor([2, 3, -1], dtype=getattr(t, dtype))

    for n in (None, 0, 1, 2, 5):
        for increasing in (False, True):
            mine = dumbtorch.vander(made(dumbtorch), n, increasing)
            its = torch.vander(made(torch), n, increasing)
            assert tuple(mine.shape) == tuple(its.shape)
            assert (listed(mine) == listed(its)).all()
