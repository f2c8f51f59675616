"""Lines of probes/*.txt, each evaluated with ``torch`` as PyTorch and as dumbtorch: odd inputs, names, wrong types.

Values, shapes and dtypes must agree to rounding, or the exceptions be of one type. Before the last ``;`` of a line
stand statements; what comes after it is compared.
"""

from __future__ import annotations

import copy
import io
import math
import operator
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dumbtorch

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).with_name("probes")
PROBES = [
    pytest.param(line, id=f"{path.stem}-{line}")
    for path in sorted(FOLDER.glob("*.txt"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def described(value: Any, depth: int = 0) -> Any:
    """A value as plain Python objects that compare across the frameworks."""
    if isinstance(value, (torch.Tensor, dumbtorch.Tensor)):
        plain = value.detach().resolve_conj().resolve_neg()
        values = plain.tolist() if plain.numel() <= 64 else plain.numel()
        return str(value.dtype).removeprefix("dumb"), tuple(value.shape), values, bool(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [described(item, depth + 1) for item in value]
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tolist()
    if isinstance(value, np.generic):
        return str(value.dtype), value.item()
    if value is None or isinstance(value, (bool, int, float, complex, bytes)):
        return value
    return str(value).replace("dumbtorch", "torch")


def alike(a: Any, b: Any) -> bool:
    """Whether two descriptions agree; numbers to rounding."""
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, complex):
        return alike(a.real, b.real) and alike(a.imag, b.imag) or abs(a - b) <= 2e-5 * max(abs(a), 1e-3)
    if isinstance(a, float):
        if math.isnan(a) or math.isinf(a) or math.isinf(b):
            return a == b or (math.isnan(a) and math.isnan(b))
        return abs(a - b) <= 2e-5 * max(abs(a), abs(b), 1e-3)
    return bool(a == b)


def outcome(line: str, framework: Any) -> tuple[str, Any]:
    """What a line gives: ("value", description) or ("error", type)."""
    scope = {
        "torch": framework, "np": np, "math": math, "copy": copy, "operator": operator, "pickle": pickle, "io": io,
    }  # fmt: skip
    framework.manual_seed(0)
    *before, last = line.split(";")
    try:
        for statement in before:
            exec(statement.strip(), scope)
        value = eval(last.strip(), scope)
        return "value", described(list(value) if hasattr(value, "__next__") else value)
    except Exception as raised:
        return "error", type(raised).__name__.removeprefix("_")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", PROBES)
def test_probe(line: str) -> None:
    """PyTorch and dumbtorch do the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = outcome(line, torch), outcome(line, dumbtorch)
    assert theirs[0] == ours[0] and alike(theirs[1], ours[1]), f"PyTorch: {theirs}\nhere: {ours}"
