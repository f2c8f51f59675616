"""Pointwise entries that check more of their operands than `pointwise` does."""

from kernels.pointwise import pointwise
from tensor.call import Call
from tensor.py import Obj


def pointwise_first(mut call: Call) raises -> Obj:
    """As `pointwise`, where no number may stand for the first operand: (self, other)."""
    _ = call.tensor(0)
    return pointwise(call)


def pointwise_one(mut call: Call) raises -> Obj:
    """As `pointwise`, where a number may stand for one of two operands, but not for both."""
    if not call.is_tensor(0):
        _ = call.tensor(1)
    return pointwise(call)


def pointwise_tensors(mut call: Call) raises -> Obj:
    """As `pointwise`, where no number may stand for the second operand: (self, other)."""
    _ = call.tensor(0)
    _ = call.tensor(1)
    return pointwise(call)


def pointwise_alike(mut call: Call) raises -> Obj:
    """As `pointwise_tensors`, of one dtype."""
    var code = call.tensor(0)[].code()
    var other = call.tensor(1)[].code()
    if code != other:
        raise Error(t"RuntimeError|{call.name()} is not yet implemented for tensors with different dtypes.")
    return pointwise(call)
