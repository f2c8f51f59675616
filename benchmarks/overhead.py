"""What one operation costs beside its arithmetic, and one step of backward."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case, normal

CHAIN = 200


def _pair(grad: bool) -> Any:
    return lambda t: {"a": normal(t, 16, grad=grad), "b": normal(t, 16, seed=1)}


def _chain(t: Any) -> dict[str, Any]:
    x = normal(t, 16, grad=True)

    def forward() -> Any:
        y = x
        for _ in range(CHAIN):
            y = y * 0.5
        return y

    y = forward()
    return {"y": y, "g": normal(t, 16), "grad": t.autograd.grad, "x": x}


def cases() -> list[Case]:
    """The rows of this family."""
    return [
        Case("a + b, 16 elements, nothing recorded", "a + b", _pair(False), 0.2),
        Case("a * 2, 16 elements, nothing recorded", "a * 2", _pair(False), 0.2),
        Case("a.relu(), 16 elements, nothing recorded", "a.relu()", _pair(False), 0.2),
        Case("a.sum(), 16 elements, nothing recorded", "a.sum()", _pair(False), None),
        Case("a[3], nothing recorded", "a[3]", _pair(False), None),
        Case("a.reshape(4, 4), nothing recorded", "a.reshape(4, 4)", _pair(False), None),
        Case("a + b, 16 elements, recorded", "a + b", _pair(True), 0.35),
        Case("a * b, 16 elements, recorded", "a * b", _pair(True), 0.35),
        Case("a.relu(), 16 elements, recorded", "a.relu()", _pair(True), 0.35),
        Case(
            "backward, for each node of a chain",
            "grad(y, x, g, retain_graph=True)",
            _chain,
            0.5,
            inner=CHAIN,
        ),
    ]
