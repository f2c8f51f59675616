"""Matrix products: square ones and those of the MNIST networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, normal

SIDES = (64, 96, 128, 256, 512, 1024, 2048)
#: batch, inputs, outputs of the linear layers of the MNIST networks
LAYERS = ((64, 784, 256), (64, 256, 128), (64, 128, 10), (512, 784, 256), (512, 256, 128), (64, 1568, 10))


def _into(left: tuple[int, int], right: tuple[int, int], turned: str = "") -> Callable[[Any], dict[str, Any]]:
    """Operands of a product; `turned` names those that are stored the other way round."""

    def setup(t: Any) -> dict[str, Any]:
        a = normal(t, *reversed(left)).t() if "a" in turned else normal(t, *left)
        b = normal(t, *reversed(right), seed=1).t() if "b" in turned else normal(t, *right, seed=1)
        return {"t": t, "a": a, "b": b, "out": t.zeros(left[0], right[1])}

    return setup


def cases() -> list[Case]:
    """The rows of this family."""
    rows = [
        Case(f"{side} x {side} x {side}", "t.mm(a, b, out=out)", _into((side, side), (side, side))) for side in SIDES
    ]
    rows += [
        Case(f"512 x 512 x 512, {text}", "t.mm(a, b, out=out)", _into((512, 512), (512, 512), turned))
        for turned, text in (("a", "first transposed"), ("b", "second transposed"), ("ab", "both transposed"))
    ]
    for batch, inputs, outputs in LAYERS:
        layer = f"{batch} x {inputs} -> {outputs}"
        rows += [
            Case(f"{layer}: x W^T", "t.mm(a, b, out=out)", _into((batch, inputs), (inputs, outputs), "b")),
            Case(f"{layer}: g W", "t.mm(a, b, out=out)", _into((batch, outputs), (outputs, inputs))),
            Case(f"{layer}: g^T x", "t.mm(a, b, out=out)", _into((outputs, batch), (batch, inputs), "a")),
        ]
    rows += [
        Case("32 of 64 x 64 x 64 (bmm)", "t.bmm(a, b)", lambda t: {
            "t": t, "a": normal(t, 32, 64, 64), "b": normal(t, 32, 64, 64, seed=1)}),
        Case("1024 x 1024 times a vector", "t.mv(a, b)", lambda t: {
            "t": t, "a": normal(t, 1024, 1024), "b": normal(t, 1024, seed=1)}),
        Case("512 x 512 x 512, float64", "t.mm(a, b)", lambda t: {
            "t": t, "a": normal(t, 512, 512, dtype="float64"), "b": normal(t, 512, 512, dtype="float64", seed=1)}),
        Case("512 x 512 x 512, bfloat16", "t.mm(a, b)", lambda t: {
            "t": t, "a": normal(t, 512, 512).bfloat16(), "b": normal(t, 512, 512, seed=1).bfloat16()}),
    ]  # fmt: skip
    return rows
