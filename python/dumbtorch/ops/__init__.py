"""The ops: primitives by family, each a row of the table, and the composites beside them.

Every function of the package's namespace (``dumbtorch.add``, ...) is an attribute here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dumbtorch import _C
from dumbtorch.ops import (  # noqa: F401
    activation,
    arrange,
    aten,
    attention,
    bags,
    binary,
    broadcast,
    columns,
    compare,
    complex,
    conv,
    copies,
    copy,
    counts,
    creation,
    ctc,
    decompose,
    diagonals,
    einsum,
    factor,
    fourier,
    getitem,
    histogram,
    index,
    join,
    layout,
    linalg,
    losses,
    lowrank,
    matmul,
    normalize,
    norms,
    numeric,
    order,
    padding,
    pool,
    products,
    random,
    ranges,
    recurrent,
    reduce,
    resample,
    scans,
    scatter,
    segments,
    sequences,
    shape,
    softmax,
    special,
    spectral,
    spectrogram,
    split,
    statistics,
    unary,
    windows,
)
from dumbtorch.ops.table import FUNCTIONS, METHODS, MISSING, TABLE, Row

_SLOTS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "true_divide": "div", "floor_divide": "floor_divide",
    "remainder": "remainder", "power": "pow", "matrix_multiply": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift", "negative": "neg",
    "absolute": "abs", "invert": "bitwise_not", "positive": "positive", "lt": "lt", "le": "le", "eq": "eq", "ne": "ne",
    "gt": "gt", "ge": "ge", "getitem": "getitem",
}  # fmt: skip


def _bind_slots() -> None:
    """Puts ops behind the operators of the tensor type."""
    for slot, name in _SLOTS.items():
        op = TABLE[name].op if name in TABLE else None
        if op is not None:
            _C.set_slot(slot, op)
        if "inplace_" + slot in _INPLACE and TABLE[name].inplace_op is not None:
            _C.set_slot("inplace_" + slot, TABLE[name].inplace_op)


_INPLACE = frozenset(
    "inplace_" + slot for slot in ("add", "subtract", "multiply", "true_divide", "floor_divide", "remainder", "power",
                                   "and", "or", "xor", "lshift", "rshift")
)  # fmt: skip
_bind_slots()


def missing() -> list[str]:
    """The rows whose kernel is not in the extension: none in a complete build."""
    return sorted(MISSING)


# The functions become plain attributes: a module's __getattr__ would cost more than a small op. They take the place of
# the submodules `softmax` and `matmul`, which nobody needs by that name.
globals().update(FUNCTIONS)

if TYPE_CHECKING:
    # mypy meets uses of these names before it has read a function's types; a variable's it knows.
    __getattr__: Callable[[str], Any]

__all__ = ["FUNCTIONS", "METHODS", "TABLE", "Row", "missing"]
