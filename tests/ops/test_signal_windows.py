"""torch.signal.windows against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch

NAMES = sorted(dumbtorch.signal.windows.__all__)
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "exponential": [{}, {"tau": 3.5}, {"center": 2, "sym": False}],
    "gaussian": [{}, {"std": 2.5}],
    "kaiser": [{}, {"beta": 3.0}],
    "general_cosine": [{"a": [0.5, 0.3, 0.2]}, {"a": (1.0,)}],
    "general_hamming": [{}, {"alpha": 0.7}],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_pytorch(name: str, dtype: str) -> None:
    ours, theirs = getattr(dumbtorch.signal.windows, name), getattr(torch.signal.windows, name)
    for arguments in ARGUMENTS.get(name, [{}]):
        for count in (0, 1, 2, 5, 64):
            for sym in (True, False):
                kwargs = {"sym": sym, **arguments}
                a = ours(count, dtype=getattr(dumbtorch, dtype), **kwargs)
                b = theirs(count, dtype=getattr(torch, dtype), **kwargs)
                assert a.shape == b.shape and str(a.dtype).split(".")[1] == dtype
                tolerance = 2e-6 if dtype == "float32" else 1e-12
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "count", "arguments"),
    [
        ("hann", -1, {}),
        ("kaiser", 5, {"beta": -1}),
        ("gaussian", 5, {"std": 0}),
        ("exponential", 5, {"tau": -1}),
        ("exponential", 5, {"center": 2}),
        ("general_cosine", 5, {"a": []}),
        ("general_cosine", 5, {"a": 3}),
    ],
)
def test_errors(name: str, count: int, arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as theirs:
        getattr(torch.signal.windows, name)(count, **arguments)
    with pytest.raises(theirs.type, match=str(theirs.value)[:20]):
        getattr(dumbtorch.signal.windows, name)(count, **arguments)
    with pytest.raises(ValueError, match="float32 or float64"):
        dumbtorch.signal.windows.hann(5, dtype=dumbtorch.float16)
    assert dumbtorch.signal.windows.hann(5, requires_grad=True).requires_grad
