"""Views as users make them: those made where nothing is recorded are marked, for autograd to refuse writes to them."""

from .layout import Dims
from .object import TPtr, as_tensor, view_of as unmarked_view_of
from .py import Obj
from .runtime import MODE_NO_GRAD, runtime

comptime MADE_WITHOUT_GRAD = 8  # a bit of TensorObj.flags; autograd/views.py knows it


@always_inline
def view_of(t: TPtr, offset: Int, shape: Dims, strides: Dims, ndim: Int) raises -> Obj:
    """A tensor of the same dtype on the same storage; its base is the root of the view chain."""
    var o = unmarked_view_of(t, offset, shape, strides, ndim)
    if runtime()[].mode() & MODE_NO_GRAD != 0:
        as_tensor(o)[].flags |= UInt16(MADE_WITHOUT_GRAD)
    return o
