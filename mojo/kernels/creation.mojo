"""Making tensors: from sizes, from values, from Python data and other libraries' memory."""

from tensor.call import Call, register
from tensor.dtype import itemsize
from tensor.layout import checked_numel, no_dims
from tensor.object import new_tensor
from tensor.py import Obj
from tensor.runtime import runtime


def empty(mut call: Call) raises -> Obj:
    """Uninitialised: (size, dtype, device)."""
    var shape = no_dims()
    var ndim = call.dims(0, shape)
    var code = call.dtype(1, runtime()[].default_dtype)
    _ = checked_numel(shape, ndim, itemsize(code))
    return new_tensor(code, shape, ndim, call.device(2, 0))


@export("dumbtorch_register_creation")
def register_creation() abi("C") -> None:
    register[empty]("empty")
