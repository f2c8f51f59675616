"""Operations under the names that PyTorch's dispatcher has for them: ``ops.aten.mm.default``.

What watches or picks operations names them so, such as the policies of selective checkpointing. Overloads of one name
are equal here, for there is one kernel for all of them: ``ops.aten.add.Tensor == ops.aten.add.Scalar``.

>>> import dumbtorch as torch
>>> torch.ops.aten.mm.default(torch.ones(2, 3), torch.ones(3, 2)).shape
torch.Size([2, 2])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.ops.table import FUNCTIONS, TABLE

_NAMES = {
    "to_copy": "_to_copy", "softmax": "_softmax", "log_softmax": "_log_softmax", "row_norm": "native_layer_norm",
    "channel_norm": "native_batch_norm", "attention": "_scaled_dot_product_flash_attention_for_cpu",
    "nll": "nll_loss_forward", "reshape": "view", "split": "split_with_sizes", "max_dim": "max", "min_dim": "min",
}  # fmt: skip
_PRODUCTS = {(1, 1): "dot", (2, 1): "mv", (2, 2): "mm"}


def name_of(row: Any, args: Sequence[Any]) -> str:
    """The name that PyTorch's dispatcher has for a call of a row."""
    name: str = row.name
    if name == "linear":
        return "mm" if args[2] is None else "addmm"
    if name == "matmul":
        dims = (args[0].ndim, args[1].ndim)
        return _PRODUCTS.get(dims, "mm" if dims[1] == 2 else "bmm")
    if name == "attention" and args[0].is_cuda:
        return "_scaled_dot_product_flash_attention"
    return _NAMES.get(name, name.removeprefix("fused_"))


class OpOverload:
    """One operation. Equal to all overloads of its name, and to nothing else."""

    __slots__ = ("_opname", "_overloadname")

    def __init__(self, name: str, overload: str) -> None:
        self._opname, self._overloadname = name, overload

    def name(self) -> str:
        """``"aten::mm"``, with the overload where it has a name."""
        return f"aten::{self._opname}" + ("" if self._overloadname == "default" else f".{self._overloadname}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpOverload) and self._opname == other._opname

    def __hash__(self) -> int:
        return hash(self._opname)

    def __str__(self) -> str:
        return f"aten.{self._opname}.{self._overloadname}"

    def __repr__(self) -> str:
        return f"<OpOverload(op='aten.{self._opname}', overload='{self._overloadname}')>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The operation's result."""
        function = FUNCTIONS.get(self._opname)
        if function is None:
            ours = next((ours for ours, theirs in _NAMES.items() if theirs == self._opname), self._opname)
            row = TABLE.get(ours)
            if row is None:
                raise NotImplementedError(f"{self} is no operation of dumbtorch")
            function = row.op
        return function(*args, **kwargs)


class OpOverloadPacket:
    """The overloads of one name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, overload: str) -> OpOverload:
        if overload.startswith("__"):
            raise AttributeError(overload)
        return OpOverload(self._name, overload)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the operation of that name."""
        return self.default(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self._name}')>"


def __getattr__(name: str) -> OpOverloadPacket:
    if name.startswith("__"):
        raise AttributeError(name)
    return OpOverloadPacket(name)
