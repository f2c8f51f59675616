"""A generated corpus of tensors and print options: repr of PyTorch beside dumbtorch's.

    python -m tests.core.printing_corpus [COUNT]

`differences` goes through it; test_printing.py runs a few hundred, the command any number.
"""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch

import dumbtorch

FLOATS = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
INTS = ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
COMPLEX = ("complex32", "complex64", "complex128")
SPECIAL = (
    0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, -1.0, 1e-5, 1e9, 123456.75, 1e-40, 65504.0, 0.1, 1e-4, 99999999.0,
    1e8, 1.0001e8, 0.00009999, 1e3, 1e38,
)  # fmt: skip
STYLES = ("plain", "whole", "wide", "small", "special", "big", "halves")
SIZES = (0, 1, 1, 2, 3, 3, 4, 5, 7, 12)


def _number(rng: random.Random, style: str) -> float:
    if style == "mixed":
        style = rng.choice(STYLES[:5])
    if style == "special" and rng.random() < 0.5:
        return rng.choice(SPECIAL)
    if style == "whole":
        return float(rng.randint(-20, 20))
    if style == "wide":
        return rng.uniform(-1, 1) * 10.0 ** rng.randint(-9, 9)
    if style == "small":
        return rng.uniform(-1, 1) * 10.0 ** -rng.randint(2, 7)
    if style == "big":
        return float(rng.randint(-(10 ** rng.randint(1, 9)), 10**9))
    if style == "halves":
        return rng.randint(-50, 50) / 2
    return rng.uniform(-3, 3)


def tensor(rng: random.Random) -> torch.Tensor:
    """A tensor of any dtype and shape, summarised or not."""
    kind = rng.choice(("bool", *INTS, *FLOATS, *FLOATS, *COMPLEX, "float32", "float64"))
    rank = rng.choice((0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5))
    shape = [rng.choice(SIZES) if rng.random() < 0.9 else rng.choice((20, 40, 101, 1001)) for _ in range(rank)]
    while math.prod(shape) > 20000:
        shape[shape.index(max(shape))] = 2
    count, style = math.prod(shape), rng.choice((*STYLES, "mixed"))
    data: list[Any]
    if kind == "bool":
        data = [rng.random() < 0.5 for _ in range(count)]
    elif kind in INTS:
        limits = torch.iinfo(getattr(torch, kind))
        low, high = rng.choice(((0, 9), (0, 100), (limits.min, limits.max), (-5, 5)))
        data = [rng.randint(max(low, limits.min), high) for _ in range(count)]
    elif kind in COMPLEX:
        data = [complex(_number(rng, style), _number(rng, style)) for _ in range(count)]
    else:
        data = [_number(rng, style) for _ in range(count)]
    return torch.tensor(data, dtype=getattr(torch, kind)).reshape(shape)


def options(rng: random.Random) -> dict[str, Any]:
    """Arguments of set_printoptions: none for one half."""
    if rng.random() < 0.5:
        return {}
    choices = {
        "profile": ("default", "short", "full", None, None, None, None),
        "precision": range(11),
        "threshold": (0, 1, 5, 50, 1000, math.inf),
        "edgeitems": range(6),
        "linewidth": (1, 5, 20, 40, 80, 120, 200, 1000),
        "sci_mode": (True, False, None),
    }
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.5}


def _varied(x: Any, choice: float) -> Any:
    """The tensor as a view, with a history, conjugated, or as it is."""
    if x.dim() and choice < 0.15:
        return x.transpose(0, -1)
    if x.dim() and choice < 0.3:
        return x[::2]
    if choice < 0.4 and (x.is_floating_point() or x.is_complex()) and x.element_size() > 1:
        return x.clone().requires_grad_()
    if choice < 0.5 and x.is_floating_point() and x.element_size() > 2:
        return x.clone().requires_grad_() * 1
    if choice < 0.55 and x.is_complex():
        return x.conj()
    return x


def differences(count: int, seed: int = 0) -> Iterator[str]:
    """The cases among ``count`` that print differently."""
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        theirs, given, choice = tensor(rng), options(rng), rng.random()
        pair = {torch: theirs, dumbtorch: dumbtorch.from_dlpack(theirs)}
        texts = []
        for package, x in pair.items():
            package.set_printoptions(profile="default")
            package.set_printoptions(**given)
            try:
                texts.append(repr(_varied(x, choice)))
            except Exception as error:
                texts.append(type(error).__name__)
        if texts[0] != texts[1]:
            yield f"case {number} of seed {seed}: {theirs.dtype} {tuple(theirs.shape)} {given}\n{texts[0]}\n{texts[1]}"
    for package in pair:
        package.set_printoptions(profile="default")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    found = list(differences(total))
    print("\n\n".join(found[:10]))
    print(f"{total} tensors, {len(found)} print differently")
    sys.exit(bool(found))
