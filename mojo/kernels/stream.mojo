"""The stream of a generator: which blocks of random words a call may use.

The state of a generator is an int64 tensor (seed, number of the next block) that the Python class Generator holds as
`_state`; a call takes the blocks it needs while it holds the interpreter's lock.
"""

from std.ffi import _Global, external_call
from tensor.call import Call
from tensor.dtype import INT64
from tensor.memory import load, store
from tensor.object import as_tensor, is_tensor
from tensor.py import Obj, decref, get_attr, incref, new_ref
from tensor.runtime import runtime

comptime SMALL = 16384


struct _Default(Movable):
    var state: Obj

    def __init__(out self):
        self.state = 0


comptime _DEFAULT = _Global[StorageType=_Default, "DUMBTORCH_RANDOM", _Default.__init__]


@fieldwise_init
struct Stream(TrivialRegisterPassable):
    """Where a fill's numbers start."""

    var seed: UInt64
    var block: UInt64


def set_default_state(mut call: Call) raises -> Obj:
    """Parameters (state): the state that is used where no generator is given."""
    _ = call.tensor(0)
    var d = _DEFAULT.get_or_create_ptr()
    incref(call.obj(0))
    if d[].state != 0:
        decref(d[].state)
    d[].state = call.obj(0)
    return new_ref(runtime()[].none)


def reserve(call: Call, i: Int, blocks: Int) raises -> Stream:
    """Takes blocks from the generator in a slot, or from the default one."""
    var state: Obj
    if call.is_none(i):
        state = _DEFAULT.get_or_create_ptr()[].state
        if state == 0:
            raise call.fail("RuntimeError", "there is no default generator; import dumbtorch.random")
        incref(state)
    else:
        state = get_attr(call.obj(i), "_state")
        if state == 0:
            external_call["PyErr_Clear", NoneType]()
            raise call.type_error(i, "torch.Generator")
    if not is_tensor(state) or as_tensor(state)[].code() != INT64 or as_tensor(state)[].numel != 2:
        decref(state)
        raise call.type_error(i, "torch.Generator")
    var data = as_tensor(state)[].writable()
    var stream = Stream(load[UInt64](data), load[UInt64](data + 8))
    store[UInt64](data + 8, stream.block + UInt64(blocks))
    decref(state)
    return stream
